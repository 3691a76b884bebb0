"""The user base of cvas: 1,164 snapshots of 2,000 rows from scratch, and one new one; growth with history.

The snapshots have what the real ones have: 145 price points of 110 services, several rows each, one name in forty with
a comma, 3 % of the counts as decimal numbers, and every twentieth file in cp1252.
"""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from benchmarks.measure import Way, measure
from benchmarks.report import Goal, Report
from include.cvas.config import Lake, Settings
from include.cvas.snapshots import COLUMNS, decode, list_snapshots, snapshot_path
from include.cvas.user_base import CATEGORIES, KEYS, aggregate_user_base

if TYPE_CHECKING:
    import polars as pl

FIRST = date(2022, 11, 14)
FILES = 1_164
ROWS, FEW_ROWS = 2_000, 150
SCALES = (0.25, 1.0, 4.0)
NOW = datetime(2026, 1, 28, 7, 5, tzinfo=UTC)
POINTS, SERVICES, ACCENTED, WITH_COMMA, OTHER_CODE_PAGE = 145, 110, 9, 40, 20
NAMES = (
    "Light",
    "Games",
    "Music",
    "Free Time",
    "news",
    "Beauty and Health",
    "Kids",
    "Education",
    "images",
    "Sports",
    "",
)
EXCLUDED = Settings().excluded_services

PARSED, ONE_BUFFER = "each file decoded, one buffer parsed", "polars, one buffer"
SCRATCH, SMALL = "all snapshots", f"{FILES:,} snapshots"
ROW_LOOP, PANDAS = "csv module and dicts", "pandas, file by file"
COPIED, NEW_DAY, UNCHANGED = "the three files read and written", "one new snapshot", "no new snapshot"

GOALS = (
    Goal("all snapshots / polars, one buffer", ("all", SCRATCH), ("all", ONE_BUFFER), at_most=1.5),
    Goal("the same with small snapshots", ("growth of all", SMALL), ("growth of all", ONE_BUFFER), at_most=1.5),
    Goal("pandas file by file / all snapshots", ("all", PANDAS), ("all", SCRATCH), at_least=4),
    Goal("one new snapshot, CPU seconds", ("day", NEW_DAY), at_most=0.15),
    Goal("one new snapshot / all snapshots", ("day", NEW_DAY), ("all", SCRATCH), at_most=0.1),
    Goal("memory of all snapshots, MB", ("all", SCRATCH), by="peak_mb", at_most=400),
    Goal("memory of one new snapshot, MB", ("day", NEW_DAY), by="peak_mb", at_most=300),
)


def run(report: Report, kept: Path, *, quick: bool) -> None:
    """Measure everything; ``quick`` takes a tenth of the files and leaves out what grows."""
    times = partial(measure, repetitions=3 if quick else 5, slow_repetitions=1 if quick else 2)
    host = Host(kept / "cvas_user_base", FILES // 10 if quick else FILES, ROWS)
    title = f"{host.files:,} snapshots of {ROWS:,} rows"
    report.job("all", f"{title}: from scratch", times(_from_scratch(host)), limit=PARSED, ours=SCRATCH)
    report.job("day", f"{title}: what a day costs", times(_days(host)), limit=COPIED, ours=NEW_DAY)
    if quick:
        return
    hosts = [Host(kept / "cvas_user_base", int(FILES * scale), FEW_ROWS) for scale in SCALES]
    names = [f"{each.files:,} snapshots" for each in hosts]
    title = f"Growth with the number of snapshots, of {FEW_ROWS} rows"
    scratch = [our_scratch(each, name) for each, name in zip(hosts, names, strict=True)]
    report.job("growth of all", f"{title}: from scratch", times([*scratch, one_buffer(hosts[1])]), ours=SMALL)
    days = [our_day(each, name) for each, name in zip(hosts, names, strict=True)]
    report.job("growth of a day", f"{title}: one new", times(days), ours=names[1])


# --- data -------------------------------------------------------------------------------------------------------------


class Host:
    """A lake with this many snapshots, made once."""

    def __init__(self, folder: Path, files: int, rows: int) -> None:
        self.files = files
        self.lake = Lake(folder / f"{files} snapshots of {rows} rows")
        self.usual = self.lake.root / "usual"
        self.newest = FIRST + timedelta(days=files - 1)
        if not snapshot_path(self.lake, self.newest).exists():
            shutil.rmtree(self.lake.root, ignore_errors=True)
            self._write(rows)
        self.usual.mkdir(exist_ok=True)
        self.content = snapshot_path(self.lake, self.newest).read_bytes()

    def forget(self) -> None:
        """As before the first aggregation."""
        for path in (*(self.lake.user_base / name for name in KEYS), self.lake.state / "user_base.json"):
            path.unlink(missing_ok=True)

    def expect(self) -> None:
        """As on a morning: all days but the newest are aggregated, and its snapshot is there."""
        newest = snapshot_path(self.lake, self.newest)
        newest.unlink()
        aggregate(self.lake.root, self.newest - timedelta(days=1))
        newest.write_bytes(self.content)

    def _write(self, rows: int) -> None:
        chance = Random(1)
        services = [self._service(number) for number in range(SERVICES)]
        self.lake.snapshots.mkdir(parents=True)
        for number in range(self.files):
            lines = [",".join(COLUMNS)]
            for row in range(rows):
                name, category = services[row % POINTS % SERVICES]
                decimal = ".0" * (chance.random() < 0.03)
                lines.append(
                    f"{40_000 + row % POINTS},ExampleMedia,{name},{0.99 + row % 3},{category},"
                    f"{('ACTIVE', 'CCC-CR')[row % 2]},{chance.randrange(3_000)}{decimal}"
                )
            text = "\n".join([*lines, ""])
            encoding = "utf-8" if number % OTHER_CODE_PAGE else "cp1252"
            snapshot_path(self.lake, FIRST + timedelta(days=number)).write_bytes(text.encode(encoding))

    @staticmethod
    def _service(number: int) -> tuple[str, str]:
        name = f"{' ' * (number % 7 == 0)}Servicio {number}"
        if number % ACCENTED == 0:
            name += " Canción"
        if number % WITH_COMMA == 0:
            name = f'"{name}, y más"'
        return name, NAMES[number % len(NAMES)]


def outcome(folder: Path) -> str:
    """What the three files of a folder hold, in short."""
    lines = [line for name in KEYS for line in (folder / name).read_text().splitlines()[1:]]
    return f"{len(lines):,} lines, {sum(int(line.rpartition('|')[2]) for line in lines):,} users"


# --- our ways ---------------------------------------------------------------------------------------------------------


def aggregate(root: Path, day: date) -> None:
    aggregate_user_base(Lake(root), day=day, now=NOW, settings=Settings())


def our_scratch(host: Host, name: str) -> Way:
    arguments = (host.lake.root, host.newest)
    return Way(name, aggregate, arguments, ("polars",), host.forget, partial(outcome, host.lake.user_base))


def our_day(host: Host, name: str) -> Way:
    arguments = (host.lake.root, host.newest)
    return Way(name, aggregate, arguments, ("polars",), host.expect, partial(outcome, host.lake.user_base))


# --- limits and the usual ways ----------------------------------------------------------------------------------------


def parse_one_buffer(root: Path) -> tuple[list[tuple[date, bytes]], pl.DataFrame]:
    import polars as pl

    texts = [
        (day, decode(path.read_bytes()).partition("\n")[2].encode()) for day, path in list_snapshots(Lake(root)).items()
    ]
    joined = b"".join(text for _, text in texts)
    return texts, pl.read_csv(joined, has_header=False, schema=dict.fromkeys(COLUMNS, pl.String))


def with_one_buffer(root: Path, target: Path) -> None:
    """As short as it can be written: all files parsed at once, and nothing made sure of."""
    import polars as pl

    texts, rows = parse_one_buffer(root)
    days = [(day, text.count(b"\n")) for day, text in texts]
    category = pl.col("tme_category").fill_null("").str.strip_chars()
    users = rows.select(
        pl.DataFrame(days, ["date", "lines"], orient="row").select(pl.col("date").repeat_by("lines").explode())["date"],
        pl.col("cpc").cast(pl.Int64),
        pl.col("service_name").fill_null("").str.strip_chars(),
        category.str.to_lowercase().replace_strict(CATEGORIES, default=category).alias("tme_category"),
        User_Base=pl.col("count").cast(pl.Float64).cast(pl.Int64),
    ).filter(~pl.col("service_name").str.to_lowercase().str.contains_any(EXCLUDED))
    for name, keys in KEYS.items():
        sums = users.group_by("date", *keys).agg(pl.col("User_Base").sum()).sort("date", *keys)
        sums.write_csv(target / name, separator="|", quote_style="never")


def copy_outputs(source: Path, target: Path) -> None:
    for name in KEYS:
        (target / name).write_bytes((source / name).read_bytes())


def with_pandas(root: Path, target: Path) -> None:
    import pandas as pd

    frames = []
    for day, path in list_snapshots(Lake(root)).items():
        try:
            frame = pd.read_csv(path)
        except UnicodeDecodeError:
            frame = pd.read_csv(path, encoding="cp1252")
        frame["date"] = day.isoformat()
        frame["service_name"] = frame["service_name"].fillna("").str.strip()
        category = frame["tme_category"].fillna("").str.strip()
        frame["tme_category"] = category.str.lower().map(CATEGORIES).fillna(category)
        frame["User_Base"] = frame["count"].astype(float).astype(int)
        frames.append(frame[~frame["service_name"].str.lower().str.contains("|".join(EXCLUDED))])
    every = pd.concat(frames)
    for name, keys in KEYS.items():
        every.groupby(["date", *keys], as_index=False)["User_Base"].sum().to_csv(target / name, sep="|", index=False)


def with_row_loop(root: Path, target: Path) -> None:
    totals: dict[str, dict[tuple[object, ...], int]] = {name: defaultdict(int) for name in KEYS}
    for day, path in list_snapshots(Lake(root)).items():
        for row in csv.DictReader(decode(path.read_bytes()).splitlines()):
            service, category = row["service_name"].strip(), row["tme_category"].strip()
            if any(word in service.lower() for word in EXCLUDED):
                continue
            cells = {
                "service_name": service,
                "tme_category": CATEGORIES.get(category.lower(), category),
                "cpc": int(row["cpc"]),
            }
            for name, keys in KEYS.items():
                totals[name][(str(day), *(cells[key] for key in keys))] += int(float(row["count"]))
    for name, keys in KEYS.items():
        lines = ["|".join(["date", *keys, "User_Base"])]
        lines += ["|".join(map(str, (*key, users))) for key, users in sorted(totals[name].items())]  # type: ignore[type-var]
        (target / name).write_text("\n".join([*lines, ""]))


def _from_scratch(host: Host) -> list[Way]:
    root, target = host.lake.root, host.usual
    made = partial(outcome, target)
    return [
        Way(PARSED, parse_one_buffer, (root,), ("polars",)),
        one_buffer(host),
        our_scratch(host, SCRATCH),
        Way(ROW_LOOP, with_row_loop, (root, target), outcome=made, slow=True),
        Way(PANDAS, with_pandas, (root, target), ("pandas",), outcome=made, slow=True),
    ]


def one_buffer(host: Host) -> Way:
    arguments, made = (host.lake.root, host.usual), partial(outcome, host.usual)
    return Way(ONE_BUFFER, with_one_buffer, arguments, ("polars",), outcome=made)


def _days(host: Host) -> list[Way]:
    unchanged = partial(aggregate, host.lake.root, host.newest)
    return [
        Way(COPIED, copy_outputs, (host.lake.user_base, host.usual)),
        our_day(host, NEW_DAY),
        Way(UNCHANGED, aggregate, (host.lake.root, host.newest), ("polars",), unchanged),
    ]
