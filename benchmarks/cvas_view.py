"""The subscription view of cvas: a full rebuild and a normal day, of 1.7, 7 and 28 million renewals.

The day is a Monday, the heaviest of the week, and the newest of 680. There is no catalogue: joining it is the same
small work in every way.
"""

import hashlib
import os
import shutil
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.cvas_view_usual import nine_windows
from benchmarks.measure import Way, measure
from benchmarks.report import Goal, Report
from include.common.journal import RunLog
from include.cvas import view_query
from include.cvas.config import Lake, Settings
from include.cvas.contract import PPD, RENO, TYPES
from include.cvas.engine import open_engine
from include.cvas.lake import LoadedDay, in_order, month_of, read_partition, read_state, touched_file, writing
from include.cvas.view import build_subscriptions
from sandbox.cvas.generator import Telecom

FIRST = date(2024, 1, 1)
LAST = FIRST + timedelta(days=679)
AS_OF = LAST + timedelta(days=1)
NOW = datetime(2025, 11, 11, 10, 30, tzinfo=UTC)
LEAST, MIDDLE, MOST = "1.7 million", "7 million", "28 million"
SCALES = {LEAST: 0.06, MIDDLE: 0.25, MOST: 1.0}
DISTINCT, REWRITE, FULL, DAY = "scan + distinct ids", "rewrite of the file", "full rebuild", "one new day"
WINDOWS = "nine windows"

GOALS = (
    Goal("nine windows / full rebuild", (MIDDLE, WINDOWS), (MIDDLE, FULL), at_least=2),
    Goal("nine windows / full rebuild", (MIDDLE, WINDOWS), (MIDDLE, FULL), by="peak_mb", at_least=2),
    Goal("one new day / nine windows (B6)", (MIDDLE, DAY), (MIDDLE, WINDOWS), at_most=0.2),
    Goal("one new day / full rebuild", (MOST, DAY), (MOST, FULL), at_most=0.25),
    Goal("one new day, s (R74)", (MOST, DAY), by="wall", at_most=30),
    Goal("full rebuild, s (R74)", (MOST, FULL), by="wall", at_most=300),
    Goal("memory of one new day, MB (R74)", (MOST, DAY), by="peak_mb", at_most=2000),
    Goal("memory of a full rebuild, MB (R74)", (MOST, FULL), by="peak_mb", at_most=2000),
)


def run(report: Report, kept: Path, *, quick: bool) -> None:
    """Measure everything; ``quick`` takes the smallest lake alone."""
    folder = _current(kept)
    for name in (LEAST,) if quick else SCALES:
        lake = History(folder / f"{SCALES[name]:g}", SCALES[name])
        slow = name == MOST
        ways = [
            Way(DISTINCT, count_ids, (lake.lake.transactions,), ("duckdb",)),
            Way(REWRITE, rewrite, (lake.lake.subscriptions, lake.made), ("duckdb",)),
            lake.build(FULL, full=True, slow=slow),
            lake.build(DAY, full=False),
        ]
        if not slow:  # it would need more memory than there is
            arguments = (lake.lake.transactions, lake.lake.staging, lake.made, AS_OF)
            ways.append(Way(WINDOWS, nine_windows, arguments, ("duckdb",), outcome=lake.differences, slow=True))
        figures = measure(ways, repetitions=3 if quick or slow else 5, slow_repetitions=1 if quick else 2)
        report.job(name, f"{lake.renewals:,} renewals", figures, limit=DISTINCT, rewrite=REWRITE, ours=FULL)


# --- data --------------------------------------------------------------------------------------------------------


def _current(kept: Path) -> Path:
    """The folder for lakes and views made by generator and rules as they are; that of older ones is removed."""
    import duckdb

    import sandbox

    sources = sorted(Path(sandbox.__path__[0], "cvas").glob("*.py"))
    made_by = [view_query.definition(), duckdb.__version__, *(path.read_text() for path in sources)]
    current = kept / f"cvas_view-{hashlib.sha256(''.join(made_by).encode()).hexdigest()[:12]}"
    current.mkdir(parents=True, exist_ok=True)
    for folder in kept.glob("cvas_view-*"):
        if folder != current:
            shutil.rmtree(folder)
    return current


class History:
    """A lake of 680 days and the view of 679 of them, made once; a repetition starts from the latter."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.folder = folder
        self.lake = Lake(folder / "lake")
        self.made = folder / "made.parquet"
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            self._fill(scale)
            (folder / "ready").touch()

    def _fill(self, scale: float) -> None:
        telecom = Telecom(seed=1, scale=scale, first=FIRST, last=LAST)
        telecom.write_lake(self.lake, LAST - timedelta(days=1))
        build(self.lake.root, full=True)
        with writing(self.lake, "benchmark", RunLog()) as change:
            ids = []
            for kind, rows in ((kind, telecom.events(LAST, LAST)[kind.name]) for kind in TYPES):
                month = read_partition(self.lake, kind, month_of(LAST))
                change.write(kind, month_of(LAST), in_order(pl.concat([month, rows]), kind))
                change.state.record(LAST, kind, LoadedDay(rows.height, "daily"))
                if kind is not PPD:
                    ids.append(rows[kind.subscription])
            change.publish(pl.concat(ids))
        for path in self._start():
            os.link(path, self.folder / path.name)

    def _start(self) -> list[Path]:
        change = read_state(self.lake).change
        return [self.lake.subscriptions, self.lake.state / "view.json", touched_file(self.lake, change)]

    @property
    def renewals(self) -> int:
        known = read_state(self.lake).partitions
        return sum(each.rows for name, each in known.items() if name.startswith(RENO.folder))

    def reset(self) -> None:
        """The view of the day before, and what has changed since."""
        for path in self._start():
            path.unlink(missing_ok=True)
            path.parent.mkdir(exist_ok=True)  # goes with the last of its files
            os.link(self.folder / path.name, path)

    def build(self, name: str, *, full: bool, slow: bool = False) -> Way:
        run = partial(build, self.lake.root, full=full)
        return Way(
            name, run, imports=("duckdb", "polars"), before=self.reset, outcome=partial(_shown, self.lake), slow=slow
        )

    def differences(self) -> str:
        """Whether the other way comes to the same."""
        with open_engine(self.lake, Settings()) as engine:
            found = view_query.differences(
                engine, self.made, self.lake.subscriptions, list(view_query.COLUMNS), named=1
            )
        return f"{len(found)} columns differ: {found[0]}" if found else "equal"


def _shown(lake: Lake) -> str:
    rows = pl.scan_parquet(lake.subscriptions).select(pl.len(), pl.sum("total_revenue")).collect().row(0)
    return f"{rows[0]:,} subscriptions, {rows[1]:,.2f} euro"


# --- ways --------------------------------------------------------------------------------------------------------


def build(root: Path, *, full: bool) -> None:
    build_subscriptions(Lake(root), day=LAST, now=NOW, settings=Settings(), full=full)


def count_ids(transactions: Path) -> Any:
    import duckdb

    with duckdb.connect() as engine:
        files = [f"{transactions / kind}/*/*.parquet" for kind in ("act", "reno")]
        return engine.execute("SELECT count(DISTINCT subscription_id) FROM read_parquet(?)", [files]).fetchall()


def rewrite(view: Path, target: Path) -> None:
    import duckdb

    with duckdb.connect() as engine:
        engine.read_parquet(str(view)).write_parquet(str(target), compression="snappy")
