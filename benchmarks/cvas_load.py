"""Loading a day of cvas into its month, and importing history; 60,000 renewals into 1.35 million, 31 million in all.

The day lies in the middle of the month, so that neither end of the file is spared. Months outside of it are hard links:
a load never changes a file that is in place.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measure import Way, measure
from benchmarks.report import Goal, Report
from include.common.files import sync
from include.common.journal import RunLog
from include.cvas.config import Lake, Settings
from include.cvas.contract import RENO, TYPES
from include.cvas.history import import_history
from include.cvas.lake import LoadedDay, in_order, partition_path, writing
from include.cvas.load import load_transactions
from include.cvas.manifest import daily_file
from include.cvas.parse import parse_transactions

DAY = date(2025, 10, 16)
MONTH = "2025-10"
NOW = datetime(2025, 11, 1, tzinfo=UTC)
ROWS = 1_350_000
OF_A_DAY = 60_000
MONTHS = {"0.3 months": 0.3, "1 month": 1.0, "4 months": 4.0}
LEAST, MIDDLE, MOST = "1 month", "7 months", "24 months"
OUTSIDE = {LEAST: 0, MIDDLE: 6, MOST: 23}
FILES = {"1 million": 1_000_000, "4 million": 4_000_000, "16 million": 16_000_000}

LIMIT, LOAD, RERUN, PARSE = (
    "read + write of the month",
    "load of the day",
    "the same files again",
    "read and type the file",
)
RESORT, DUCKDB, PANDAS = "polars, whole month sorted", "duckdb", "pandas (its parquet by duckdb)"
TEXT, IMPORT = "read as text", "import"

GOALS = (
    Goal("load of a day / read + write of its month", ("day", LOAD), ("day", LIMIT), at_most=1.5),
    Goal("pandas / load of a day", ("day", PANDAS), ("day", LOAD), at_least=2.5),
    Goal("the same files again / load", ("day", RERUN), ("day", LOAD), at_most=0.5),
    Goal("memory of the load, MB", ("day", LOAD), by="peak_mb", at_most=700),
    Goal("24 months in the lake / 1 month", ("history", MOST), ("history", LEAST), at_most=1.1),
    Goal("24 months in the lake / 1 month", ("history", MOST), ("history", LEAST), by="peak_mb", at_most=1.1),
    Goal(
        "memory of the import of 16 million / 4 million",
        ("import", "16 million"),
        ("import", "4 million"),
        by="peak_mb",
        at_most=1.25,
    ),
    Goal("import of 16 million / 4 million rows", ("import", "16 million"), ("import", "4 million"), at_most=4.4),
)


def run(report: Report, kept: Path, *, quick: bool) -> None:
    """Measure everything; ``quick`` leaves out what grows."""
    folder = kept / "cvas_load"
    times = partial(measure, repetitions=3 if quick else 7, slow_repetitions=1 if quick else 3)
    months = {name: Station(folder, share) for name, share in MONTHS.items() if not quick or share == 1.0}
    station = months["1 month"]
    title = f"Load {OF_A_DAY:,} renewals into a month of {ROWS:,}"
    report.job("day", title, times(_loads(station)), limit=LIMIT, ours=LOAD)
    if quick:
        return
    loads = [each for name, at in months.items() for each in (our_load(at, name), _limit(at, f"{LIMIT}, {name}"))]
    report.job("month", "Load a day: growth with its month", times(loads), ours="1 month")
    histories = {name: Station(folder, 1.0, outside=count) for name, count in OUTSIDE.items()}
    loads = [our_load(at, name) for name, at in histories.items()]
    report.job("history", "Load a day: growth with the months around it", times(loads), ours=LEAST)
    files = {name: Past(folder, rows) for name, rows in FILES.items()}
    ways = [each for name, past in files.items() for each in (our_import(past, name), _text(past, f"{TEXT}, {name}"))]
    report.job("import", "Import history: growth with the file", times(ways), ours="1 million")


# --- data ---------------------------------------------------------------------------------------------------------


def renewals(rows: int, first: date, days: int, *, seed: int) -> pl.DataFrame:
    """Renewals that compress as real ones do: few prices and price points, skewed campaigns, ids all over."""
    chance = np.random.default_rng(seed)
    begin = np.datetime64(first, "us")
    seconds = np.sort(chance.integers(0, days * 86_400, rows)).astype("timedelta64[s]")
    ages = (chance.exponential(400 * 86_400, rows)).astype("int64").astype("timedelta64[s]")
    campaigns = np.array([f"{number:07x}" for number in chance.integers(0, 16**7, 3_000)])
    users = pl.Series(chance.integers(10**17, 9 * 10**17, rows)).cast(pl.String)
    return pl.DataFrame(
        {
            "tmuserid": "0" + users,
            "msisdn": pl.Series(34_600_000_000 + chance.integers(0, 10**8, rows)).cast(pl.String),
            "cpc": 44_000 + chance.zipf(1.6, rows) % 145,
            "trans_type_id": np.full(rows, 2),
            "channel_id": chance.integers(1, 90, rows),
            "channel_act": np.array(["WEB", "WAP", "VOICE"])[chance.integers(0, 3, rows)],
            "trans_date": begin + seconds,
            "act_date": begin - ages,
            "reno_date": begin + seconds + np.timedelta64(7, "D"),
            "camp_name": campaigns[chance.zipf(1.3, rows) % 3_000],
            "tef_prov": np.array([2, 7, 28])[chance.integers(0, 3, rows)],
            "campana_medium": np.array(["campana", "organico"])[chance.integers(0, 2, rows)],
            "campana_id": campaigns[chance.zipf(1.3, rows) % 3_000],
            "subscription_id": chance.integers(7_000_000, 12_700_000, rows),
            "rev": np.array([0.99, 1.23, 1.64, 5.36])[chance.integers(0, 4, rows)],
        }
    ).cast(RENO.schema())  # type: ignore[arg-type]


def write_csv(rows: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")


class Station:
    """A lake with one month of a size, without the day, ``outside`` other months, and the files of the day.

    It is made once; ``work`` is the copy that is loaded into.
    """

    def __init__(self, folder: Path, share: float, *, outside: int = 0) -> None:
        self.rows = int(ROWS * share)
        self.kept = Lake(folder / f"station {share:g} {outside}")
        self.work = Lake(folder / f"work {share:g} {outside}")
        if self.kept.root.exists():
            return
        building = Lake(folder / "building")
        shutil.rmtree(building.root, ignore_errors=True)
        for kind in TYPES:
            write_csv(pl.DataFrame(schema=kind.schema()), daily_file(building, DAY, kind))
        write_csv(renewals(OF_A_DAY, DAY, 1, seed=2), daily_file(building, DAY, RENO))
        month = renewals(self.rows, DAY.replace(day=1), 31, seed=1)
        without = month.filter(pl.col("trans_date").dt.date() != DAY)
        with writing(building, "benchmark", RunLog()) as change:
            change.write(RENO, MONTH, in_order(without, RENO))
            for number in range(outside):
                first = date(2023 + number // 12, 1 + number % 12, 1)
                rows = in_order(renewals(ROWS, first, 28, seed=10 + number), RENO)
                change.write(RENO, f"{first:%Y-%m}", rows)
                for day in range(1, 29):
                    change.state.record(first.replace(day=day), RENO, LoadedDay(ROWS // 28, "daily"))
            change.publish(None)
        building.root.rename(self.kept.root)

    def reset(self) -> None:
        shutil.rmtree(self.work.root, ignore_errors=True)
        shutil.copytree(self.kept.root, self.work.root, copy_function=os.link, ignore=shutil.ignore_patterns("_locks"))

    def loaded(self) -> None:
        self.reset()
        load_day(self.work.root)

    def outcome(self) -> str:
        rows = pl.read_parquet(partition_path(self.work, RENO, MONTH), hive_partitioning=False)
        of_day = rows.filter(pl.col("trans_date").dt.date() == DAY)
        return f"{rows.height:,} rows, {of_day.height:,} of the day, {of_day['rev'].sum():,.2f} euro"


class Past:
    """One historical file of renewals over 20 months, every sixteenth of it spanning all of them; made once."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.lake = Lake(folder / f"past {rows}")
        self.file = self.lake.historical / "reno_atlas.csv"
        if self.file.exists():
            return
        parts = self.file.with_suffix(".building")
        parts.parent.mkdir(parents=True, exist_ok=True)
        with parts.open("wb") as stream:
            for number in range(16):
                part = renewals(rows // 16, date(2024, 1, 1 + number), 600, seed=50 + number)
                part.write_csv(stream, datetime_format="%Y-%m-%d %H:%M:%S", include_header=number == 0)
        parts.rename(self.file)

    def reset(self) -> None:
        for path in self.lake.root.iterdir():
            if path != self.lake.historical:
                shutil.rmtree(path)

    def outcome(self) -> str:
        files = [*self.lake.transactions.rglob("*.parquet")]
        rows = sum(pl.scan_parquet(file).select(pl.len()).collect().item() for file in files)
        return f"{rows:,} rows in {len(files)} partitions"


# --- our ways -----------------------------------------------------------------------------------------------------


def load_day(root: Path) -> None:
    load_transactions(Lake(root), day=DAY, now=NOW, settings=Settings())


def import_file(root: Path) -> None:
    lake = Lake(root)
    import_history(lake, lake.historical, types=[RENO], day=DAY, now=NOW, settings=Settings())


def parse_file(path: Path) -> None:
    parse_transactions(path, RENO, days=(DAY, DAY))


def our_load(station: Station, name: str, *, before: Callable[[], object] | None = None) -> Way:
    return Way(name, load_day, (station.work.root,), ("polars", "numpy"), before or station.reset, station.outcome)


def our_import(past: Past, name: str) -> Way:
    return Way(name, import_file, (past.lake.root,), ("polars", "numpy"), past.reset, past.outcome, slow=True)


# --- limits -------------------------------------------------------------------------------------------------------


def read_and_write(month: Path, target: Path) -> None:
    pl.read_parquet(month, hive_partitioning=False).write_parquet(target, compression="snappy")
    sync(target)


def read_text(file: Path) -> None:
    pl.scan_csv(file, infer_schema=False).select(pl.all().count()).collect(engine="streaming")


def _limit(station: Station, name: str) -> Way:
    arguments = (partition_path(station.work, RENO, MONTH), station.work.root / "copy")
    return Way(name, read_and_write, arguments, ("polars",), before=station.loaded)


def _text(past: Past, name: str) -> Way:
    return Way(name, read_text, (past.file,), ("polars",), slow=True)


# --- the usual ways -----------------------------------------------------------------------------------------------


def load_by_sorting(month: Path, file: Path) -> None:
    """What most would write with polars: no checks, the whole month sorted again."""
    day = pl.read_csv(file, schema=RENO.schema(), try_parse_dates=True)
    rows = pl.read_parquet(month, hive_partitioning=False).filter(pl.col("trans_date").dt.date() != DAY)
    rows = pl.concat([rows, day.unique(RENO.key, keep="last", maintain_order=True)])
    _replace(
        month,
        lambda temporary: rows.sort("trans_date", "subscription_id").write_parquet(temporary, compression="snappy"),
    )


def load_by_duckdb(month: Path, file: Path) -> None:
    import duckdb

    types = ", ".join(f"'{name}': '{_sql_type(str(dtype))}'" for name, dtype in RENO.schema().items())
    query = f"""
        COPY (
            SELECT * FROM (
                SELECT * FROM read_parquet('{month}', hive_partitioning = false) WHERE trans_date::DATE <> DATE '{DAY}'
                UNION ALL
                SELECT * FROM read_csv('{file}', header = true, columns = {{{types}}})
            ) ORDER BY trans_date, subscription_id
        ) TO $target (FORMAT parquet, COMPRESSION snappy)
    """
    with duckdb.connect() as engine:
        _replace(month, lambda temporary: engine.execute(query.replace("$target", f"'{temporary}'")))


def load_by_pandas(month: Path, file: Path) -> None:
    import duckdb
    import pandas as pd

    dates = ["trans_date", "act_date", "reno_date"]
    day = pd.read_csv(file, dtype={"tmuserid": str, "msisdn": str}, parse_dates=dates)
    with duckdb.connect() as engine:
        rows = engine.execute(f"SELECT * FROM read_parquet('{month}', hive_partitioning = false)").df()
        rows = rows[rows["trans_date"].dt.date != DAY]
        rows = pd.concat([rows, day.drop_duplicates(list(RENO.key), keep="last")])
        engine.register("rows", rows.sort_values(["trans_date", "subscription_id"]))
        _replace(
            month, lambda temporary: engine.execute(f"COPY rows TO '{temporary}' (FORMAT parquet, COMPRESSION snappy)")
        )


def _sql_type(dtype: str) -> str:
    return {"String": "VARCHAR", "Int64": "BIGINT", "Float64": "DOUBLE"}.get(dtype, "TIMESTAMP")


def _replace(target: Path, write: Callable[[Path], object]) -> None:
    temporary = target.with_name("new")
    write(temporary)
    sync(temporary)
    temporary.replace(target)


def _loads(station: Station) -> Sequence[Way]:
    month, file = partition_path(station.work, RENO, MONTH), daily_file(station.work, DAY, RENO)

    def usual_load(name: str, load: Callable[..., Any], *imports: str) -> Way:
        return Way(name, load, (month, file), imports, station.reset, station.outcome, slow=True)

    return [
        _limit(station, LIMIT),
        Way(PARSE, parse_file, (file,), ("polars", "numpy"), before=station.reset),
        our_load(station, LOAD),
        our_load(station, RERUN, before=station.loaded),
        usual_load(RESORT, load_by_sorting, "polars"),
        usual_load(DUCKDB, load_by_duckdb, "duckdb"),
        usual_load(PANDAS, load_by_pandas, "duckdb", "pandas"),
    ]
