"""The commercial log: copying the sheet, loading it, archiving a month; 15,576 accepted rows, up to 4.4 million spots.

The update loads the workbook of a day onto the state the day before has left (4 % of the rows differ), next to years of
closed months.
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks import commercial_log_usual as usual
from benchmarks.measure import Way, measure
from benchmarks.report import Goal, Report
from include.commercial_log import workbook
from include.commercial_log.cells import READERS
from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.contract import COLUMNS, SHEET
from include.commercial_log.database import open_database
from include.commercial_log.extract import copy_workbook
from include.commercial_log.load import load_bookings
from include.commercial_log.rotation import rotate_files
from include.commercial_log.transform import parse_rows
from include.common.shares import LocalShare
from sandbox.commercial_log.history import fill_history
from sandbox.commercial_log.people import load_people, make_people
from sandbox.commercial_log.share import WORKBOOK, publish

DAY = date(2025, 8, 28)
NEXT_DAY = DAY + timedelta(days=1)
OLDEST_OPEN = date(2025, 7, 1)
LEAST, FULL, MOST = "110 thousand", "1.1 million", "4.4 million"
HISTORIES = {LEAST: 110_000, FULL: 1_100_000, MOST: 4_400_000}
SCALES = (0.25, 1.0, 4.0)
ARCHIVED = date(2025, 7, 1)
ARCHIVED_DAYS = 30
BLOCK = 1 << 20

READ = "one calamine read of the sheet"
COPY = "exact copy, verified"
TYPED = "calamine read + typing"
PARSED = "read, type, validate, hash; no database"
LOAD, FIRST, RERUN = "next day's file to commit", "first load of all rows", "unchanged rerun"
ROTATION = "stored and verified"
OPENPYXL_COPY, STREAMED = "openpyxl read + write", "openpyxl streamed"
PANDAS_COPY = "pandas + openpyxl"
EXECUTEMANY, TO_SQL, ROW_LOOP = "openpyxl + delete/insert", "pandas + to_sql", "openpyxl + row loop with lookups"

GOALS = (
    Goal("exact copy with verification / one calamine read", ("copy", COPY), ("copy", READ), at_most=1.5),
    Goal("openpyxl read + write / exact copy", ("copy", OPENPYXL_COPY), ("copy", COPY), at_least=20),
    Goal("file to commit / bare calamine read + typing", ("update", LOAD), ("update", TYPED), at_most=2),
    Goal("openpyxl + delete/insert / file to commit", ("update", EXECUTEMANY), ("update", LOAD), at_least=4),
    Goal("unchanged rerun / its own reading and typing", ("update", RERUN), ("update", PARSED), at_most=1.1),
    Goal("4.4 million / 110 thousand closed spots", ("history", MOST), ("history", LEAST), at_most=1.1),
    Goal("memory of the import, MB", ("copy", COPY), by="peak_mb", at_most=400),
    Goal("memory of the update, MB", ("update", LOAD), by="peak_mb", at_most=400),
    Goal("memory of the first load, MB", ("update", FIRST), by="peak_mb", at_most=400),
    Goal("memory of the rotation, MB", ("archive", ROTATION), by="peak_mb", at_most=400),
)


def run(report: Report, kept: Path, *, quick: bool) -> None:
    """Measure everything; ``quick`` leaves out what grows and takes the smallest history."""
    folder = _current(kept)
    times = partial(measure, repetitions=3 if quick else 7, slow_repetitions=1 if quick else 3)
    stations = {scale: Station(folder, scale) for scale in ((1.0,) if quick else SCALES)}
    databases = {name: Database(folder, spots) for name, spots in HISTORIES.items() if not quick or name == LEAST}
    history = LEAST if quick else FULL
    station, database = stations[1.0], databases[history]

    report.job("copy", "Copy the sheet", times(_copies(station)), limit=READ, ours=COPY)
    title = f"Load the workbook next to {history} closed spots"
    report.job("update", title, times(_loads(station, database)), limit=TYPED, ours=LOAD)
    report.job("archive", f"Archive {ARCHIVED_DAYS} workbooks", times(_archives(station)), limit="copy", ours=ROTATION)
    if quick:
        return
    rows = {scale: f"{round(15_576 * scale):,} rows" for scale in SCALES}
    copies = [our_copy(stations[scale], rows[scale]) for scale in SCALES]
    report.job("copy rows", "Copy the sheet: growth with its rows", times(copies), ours=rows[1.0])
    loads = [our_load(stations[scale], database, rows[scale]) for scale in SCALES]
    report.job("rows", "Next day's file: growth with its rows", times(loads), ours=rows[1.0])
    loads = [our_load(station, each, name) for name, each in databases.items()]
    report.job("history", "Next day's file: growth with closed spots", times(loads), ours=LEAST)
    loads = [our_load(station, each, name, day=DAY) for name, each in databases.items()]
    report.job("reruns", "Unchanged rerun: growth with closed spots", times(loads), ours=LEAST)


# --- data --------------------------------------------------------------------------------------------------------


def _current(kept: Path) -> Path:
    """The folder for data made by the generators and the schema as they are; that of older ones is removed."""
    import include
    import sandbox

    made_by = (
        *Path(include.__path__[0], "sql", "commercial_log", "migrations").glob("*.sql"),
        *Path(sandbox.__path__[0], "commercial_log").glob("*.[ps][yq]*"),
    )
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(made_by))).hexdigest()[:12]
    current = kept / f"commercial_log-{digest}"
    current.mkdir(parents=True, exist_ok=True)
    for folder in kept.glob("commercial_log-*"):
        if folder != current:
            shutil.rmtree(folder)
    return current


class Station:
    """Two days of one scale: what is on the share, and the dated copies of it."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.root = folder / f"station {scale:g}"
        self.scale = scale
        self.data.root.mkdir(parents=True, exist_ok=True)
        for day in (DAY, NEXT_DAY):
            if not (self.share(day) / WORKBOOK).exists():
                publish(self.share(day), day, scale=scale)
            copy_sheet(self.share(day), self.data.root, day)

    def share(self, day: date) -> Path:
        return self.root / f"share {day}"

    @property
    def data(self) -> DataRoot:
        return DataRoot(self.root / "data")

    def dated(self, day: date) -> Path:
        return self.data.daily / workbook.dated_name(day)


class Database:
    """56 closed months with this many spots, made once; ``work`` is the copy that is loaded into."""

    def __init__(self, folder: Path, spots: int) -> None:
        self.kept = folder / f"history-{spots}.db"
        self.work = folder / f"work-{spots}.db"
        if self.kept.exists():
            return
        building = self.kept.with_suffix(".building")
        building.unlink(missing_ok=True)
        with closing(open_database(building, create=True)) as db:
            load_people(db, make_people(1))
            fill_history(db, months=56, spots=spots, before=OLDEST_OPEN)
        building.rename(self.kept)

    def reset(self) -> None:
        """Make ``work`` equal to ``kept`` again, writing what differs only: copying gigabytes would keep the disk busy
        during the measurement."""
        for suffix in ("-wal", "-shm"):
            self.work.with_name(self.work.name + suffix).unlink(missing_ok=True)
        self.work.touch()
        with self.kept.open("rb") as kept, self.work.open("r+b") as work:
            while block := kept.read(BLOCK):
                if work.read(len(block)) != block:
                    work.seek(kept.tell() - len(block))
                    work.write(block)
            work.truncate(kept.tell())
            os.fsync(work.fileno())

    def booked(self) -> str:
        with closing(sqlite3.connect(self.work)) as db:
            spots, gross, assigned = db.execute(
                "SELECT count(*), sum(gross_rate), count(a.spot_id) FROM spots AS s"
                " LEFT JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id WHERE s.is_historical = 0"
            ).fetchone()
        return f"{spots:,} spots, ${gross:,.2f}, {assigned:,} languages"


# --- our ways ----------------------------------------------------------------------------------------------------


def copy_sheet(share: Path, data: Path, day: date) -> None:
    copy_workbook(nullcontext(LocalShare("the share", share)), DataRoot(data), day=day, today=day, settings=Settings())


def load_day(data: Path, database: Path, day: date) -> None:
    now = datetime.combine(day, time(9, 30), UTC)
    with closing(open_database(database)) as db:
        load_bookings(db, DataRoot(data), day=day, now=now, settings=Settings())


def archive_month(data: Path) -> None:
    rotate_files(DataRoot(data), day=DAY, today=DAY, settings=Settings())


def parse_only(path: Path) -> None:
    parse_rows(workbook.read_sheet(path), closed=frozenset())


def our_copy(station: Station, name: str) -> Way:
    return Way(
        name,
        copy_sheet,
        (station.share(DAY), station.data.root, DAY),
        imports=("python_calamine",),
        before=lambda: station.dated(DAY).unlink(missing_ok=True),
        outcome=partial(_differences, station.share(DAY) / WORKBOOK, station.dated(DAY)),
    )


def our_load(station: Station, database: Database, name: str, *, day: date = NEXT_DAY) -> Way:
    return Way(
        name,
        load_day,
        (station.data.root, database.work, day),
        imports=("python_calamine",),
        before=partial(_load_first_day, station, database),
        outcome=database.booked,
    )


def _load_first_day(station: Station, database: Database) -> None:
    database.reset()
    load_day(station.data.root, database.work, DAY)


# --- limits ------------------------------------------------------------------------------------------------------


def read_sheet(path: Path) -> list[list[Any]]:
    from python_calamine import CalamineWorkbook

    return CalamineWorkbook.from_path(path).get_sheet_by_name(SHEET).to_python(skip_empty_area=False)


def read_and_type(path: Path) -> list[list[Any]]:
    """The leanest there is: every cell to its stored value, each distinct one once, and nothing else."""
    readers = [cache(READERS[column.kind]) for column in COLUMNS]
    return [[read(cell)[0] for read, cell in zip(readers, row, strict=True)] for row in read_sheet(path)[1:]]


def copy_files(paths: list[Path], folder: Path) -> None:
    for path in paths:
        shutil.copyfile(path, folder / path.name)


# --- jobs --------------------------------------------------------------------------------------------------------


def _copies(station: Station) -> list[Way]:
    source = station.share(DAY) / WORKBOOK
    made = station.root / "usual.xlsx"

    def usual_copy(name: str, copy: Callable[..., None], *imports: str) -> Way:
        return Way(name, copy, (source, made), imports, outcome=partial(_differences, source, made), slow=True)

    return [
        Way(READ, read_sheet, (source,), ("python_calamine",)),
        our_copy(station, COPY),
        usual_copy(OPENPYXL_COPY, usual.copy_with_openpyxl, "openpyxl"),
        usual_copy(STREAMED, usual.copy_streaming, "openpyxl"),
        usual_copy(PANDAS_COPY, usual.copy_with_pandas, "pandas", "openpyxl"),
    ]


def _loads(station: Station, database: Database) -> list[Way]:
    path = station.dated(NEXT_DAY)

    def usual_load(name: str, load: Callable[..., None], *imports: str) -> Way:
        arguments = (path, database.work, NEXT_DAY)
        before = partial(_load_first_day, station, database)
        return Way(name, load, arguments, imports, before, database.booked, slow=True)

    return [
        Way(TYPED, read_and_type, (path,), ("python_calamine",)),
        Way(PARSED, parse_only, (path,), ("python_calamine",)),
        our_load(station, database, LOAD),
        our_load(station, database, RERUN, day=DAY),
        Way(
            FIRST,
            load_day,
            (station.data.root, database.work, NEXT_DAY),
            ("python_calamine",),
            before=database.reset,
            outcome=database.booked,
        ),
        usual_load(EXECUTEMANY, usual.load_with_executemany, "openpyxl"),
        usual_load(TO_SQL, usual.load_with_pandas, "pandas", "openpyxl"),
        usual_load(ROW_LOOP, usual.load_with_row_loop, "openpyxl"),
    ]


def _archives(station: Station) -> list[Way]:
    data = DataRoot(station.root / "rotation")
    workbooks = [data.daily / workbook.dated_name(ARCHIVED + timedelta(days=number)) for number in range(ARCHIVED_DAYS)]
    archive = data.archive / f"commercial-logs-{ARCHIVED:%Y-%m}.zip"

    def fill() -> None:
        data.daily.mkdir(parents=True, exist_ok=True)
        data.archive.mkdir(exist_ok=True)
        for path in workbooks:
            shutil.copyfile(station.dated(DAY), path)
        archive.unlink(missing_ok=True)

    def size() -> str:
        return f"{archive.stat().st_size / 1e6:.1f} MB"

    return [
        Way("copy", copy_files, (workbooks, data.archive), before=fill),
        Way(ROTATION, archive_month, (data.root,), before=fill, outcome=size),
        Way("ZIP_DEFLATED", usual.archive_deflated, (workbooks, archive), before=fill, outcome=size, slow=True),
    ]


def _differences(source: Path, copy: Path) -> str:
    """How many cells of the copy have another value or type than in the source."""
    rows, copied = read_sheet(source), read_sheet(copy)
    pairs = (pair for old, new in zip(rows, copied, strict=True) for pair in zip(old, new, strict=True))
    return f"{sum((type(old), old) != (type(new), new) for old, new in pairs):,} cells differ"
