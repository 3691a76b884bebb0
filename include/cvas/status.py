"""What an operator asks first, answered without changing anything (section 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from include.common.files import RESERVE
from include.common.journal import JournalLine
from include.common.reports import MB, RUNS_HEADER, read_runs, render_report, render_runs
from include.common.results import StepResult
from include.common.tables import render_table
from include.cvas import (
    backup,
    checks_subscriptions,
    checks_transactions,
    checks_users,
    counters,
    fetch,
    housekeeping,
    load,
    mastercpc,
    monthly,
    snapshots,
    user_base,
    view,
)
from include.cvas.config import ZONE, Lake
from include.cvas.contract import TYPES
from include.cvas.counter_files import read_counters
from include.cvas.daily import AT_REST, compare_day, fetched_days
from include.cvas.deadlines import missed_deadlines
from include.cvas.lake import UNDATED, LakeState, read_state, reading, told_losses
from include.cvas.manifest import is_complete, read_manifest
from include.errors import CheckFailed, PermanentError, SourceMissing

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

DAY_JOB = "cvas_status"
SCHEDULED = (
    snapshots.JOB,
    user_base.JOB,
    fetch.JOB,
    load.JOB,
    view.JOB,
    counters.JOB,
    monthly.JOB,
    checks_transactions.JOB,
    checks_subscriptions.JOB,
    checks_users.JOB,
    housekeeping.JOB,
    backup.JOB,
    backup.ARCHIVE_JOB,
    mastercpc.JOB,
)


def report_status(lake: Lake, *, now: datetime, today: date) -> StepResult:
    """How far every stage is, how its last runs went, what the lake holds and what the disk has left, in ``facts``;
    ``warnings`` are what needs attention, also every file that should tell and cannot be read. See ``render_status``.

    ``today`` is the local calendar day. Moments in ``facts`` are ISO texts in the system's zone, sizes are MB (10**6
    bytes).

    Re-run: read only, also while other runs work.
    Raises SourceMissing if there is no lake.
    """
    if not lake.root.is_dir():
        raise SourceMissing(
            f"cvas: there is no folder {lake.root}.",
            next_step="Correct the path in the connection cvas_lake, or on the command line.",
        )
    runs = read_runs(lake.logs, SCHEDULED, zone=ZONE, now=now, today=today)
    warnings: list[str] = []
    state = _unless_damaged(lambda: read_state(lake), warnings) or LakeState()
    done = _days_done(lake, state, runs.journals, warnings)
    disk = housekeeping.disk_use(lake)
    shape = _unless_damaged(lambda: _view_shape(lake), warnings)
    missed = _unless_damaged(lambda: missed_deadlines(lake, day=today - timedelta(days=1), now=now), warnings)
    warnings = [*dict.fromkeys(warnings), *(missed or ()), *runs.failures]
    warnings += filter(None, [told_losses(lake, state)])
    facts = {
        "at": now.astimezone(ZONE).isoformat(timespec="seconds"),
        "stages": {job: {"day": day, "rows": rows, "runs": runs.jobs[job]} for job, (day, rows) in done.items()},
        "lake": _partitions(state),
        "view": shape,
        "disk_mb": disk,
        "today": runs.today,
    }
    needed = round((2 * shape["mb"] if shape else 0) + RESERVE / MB, 2)
    if disk["free"] < needed:
        warnings.append(
            f"Only {disk['free']:,.0f} MB are free below {lake.root}; the next view needs {needed:,.0f} MB."
        )
    return StepResult(where=str(lake.root), warnings=tuple(warnings), facts=facts)


def render_status(report: StepResult) -> str:
    """The report of ``report_status`` as plain text: what needs attention comes first."""
    facts = report.facts
    now = datetime.fromisoformat(facts["at"])
    stages = [
        (job, stage["day"] or "never", stage["rows"], *render_runs(stage["runs"], now))
        for job, stage in facts["stages"].items()
    ]
    view, disk = facts["view"], facts["disk_mb"]
    shape = f"{view['rows']:,} rows x {view['columns']} columns, {view['mb']:,.1f} MB" if view else "never built"
    sections = (
        render_table(("Stage", "Last day", "Rows", *RUNS_HEADER), stages),
        render_table(
            ("Type", "Rows", "MB", "Partitions", "First", "Last"),
            [(name, *figures.values()) for name, figures in facts["lake"].items()],
        ),
        render_table((), [("View", shape), *((name, f"{mb:,.1f} MB") for name, mb in disk.items())]),
    )
    title = f"Subscriptions (cvas), {now:%A %Y-%m-%d %H:%M} {now.tzname()}"
    return render_report(title, report, sections, with_days=True)


def report_day(lake: Lake, *, day: date) -> StepResult:
    """The six types of a day, from the fetched file to the lake; ``warnings`` are those that do not fit together.

    See ``render_day``. Re-run: read only.
    Raises StoreBusy while the lake is written, CheckFailed or ContractViolation for a file that cannot be read.
    """
    with reading(lake, DAY_JOB):
        types = compare_day(lake, day, read_state(lake))
    return StepResult(
        where=str(lake.daily(day)),
        read=sum(each.fetched or 0 for each in types),
        warnings=tuple(f"{each.name} of {day}: {each.verdict}." for each in types if each.verdict not in AT_REST),
        facts={"day": day.isoformat(), "types": [asdict(each) for each in types]},
    )


def render_day(report: StepResult) -> str:
    """The report of ``report_day`` as plain text."""
    rows = [
        (each["name"], each["fetched"], each["recorded"], each["stored"], each["verdict"])
        for each in report.facts["types"]
    ]
    header = ("Type", "Rows fetched", "Rows loaded", "Rows in the lake", "Verdict")
    return f"{report.facts['day']} in {report.where}\n\n{render_table(header, rows)}"


def _unless_damaged(read: Callable[[], T], warnings: list[str]) -> T | None:
    """What ``read`` returns; None where a file cannot be read, and the warnings gain what is wrong with it."""
    try:
        return read()
    except PermanentError as damaged:
        warnings.append(str(damaged))
        return None


def _days_done(
    lake: Lake, state: LakeState, journals: Mapping[str, Sequence[JournalLine]], warnings: list[str]
) -> dict[str, tuple[str | None, int | None]]:
    """By job the newest day it is done with, as what it made tells, else its journal; and that day's rows."""
    loaded = state.newest_full_day()
    built = view.read_view_state(lake)
    made: dict[str, Callable[[], tuple[date | None, int | None]]] = {
        snapshots.JOB: lambda: (max(snapshots.list_snapshots(lake), default=None), None),
        user_base.JOB: lambda: _newest(user_base.read_user_base_by_cpc(lake)),
        fetch.JOB: lambda: _newest_fetched(lake),
        load.JOB: lambda: (loaded, sum(each.rows for each in state.days[loaded].values()) if loaded else None),
        view.JOB: lambda: (built.as_of - timedelta(days=1), built.rows) if built else (None, None),
        counters.JOB: lambda: _newest(read_counters(lake).by_cpc),
    }
    days = {job: _unless_damaged(read, warnings) or (None, None) for job, read in made.items()}
    done: dict[str, tuple[str | None, int | None]] = {}
    for job in SCHEDULED:
        if job in days:
            day, rows = days[job]
            done[job] = (day.isoformat() if day else None, rows)
        else:
            good = (line.day for line in journals.get(job, ()) if line.state == "SUCCESS")
            done[job] = (max(good, default=None), None)
    return done


def _newest_fetched(lake: Lake) -> tuple[date | None, int | None]:
    """The newest day with all its files, and their rows."""
    day = next((day for day in reversed(fetched_days(lake)) if is_complete(lake, day)), None)
    return day, sum(each.rows for each in read_manifest(lake, day).values()) if day else None


def _newest(frame: pl.DataFrame) -> tuple[date | None, int | None]:
    """The newest date of a frame and its rows."""
    if frame.is_empty():
        return None, None
    newest: date = frame["date"].max()  # type: ignore[assignment]  # the column holds dates
    return newest, frame.filter(date=newest).height


def _partitions(state: LakeState) -> dict[str, dict[str, Any]]:
    """What the pipeline knows of the partitions, by type."""
    known = state.partitions
    figures = {}
    for kind in TYPES:
        months = {name.partition("/")[2]: each for name, each in known.items() if name.startswith(f"{kind.folder}/")}
        dated = sorted(month for month in months if month != UNDATED)
        figures[kind.name] = {
            "rows": sum(each.rows for each in months.values()),
            "mb": round(sum(each.bytes for each in months.values()) / MB, 3),
            "partitions": len(months),
            "first": dated[0] if dated else None,
            "last": dated[-1] if dated else None,
        }
    return figures


def _view_shape(lake: Lake) -> dict[str, Any] | None:
    import polars as pl

    if not lake.subscriptions.exists():
        return None
    try:
        scan = pl.scan_parquet(lake.subscriptions, glob=False)
        rows, columns = scan.select(pl.len()).collect().item(), len(scan.collect_schema())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise CheckFailed(
            f"cvas: {lake.subscriptions} cannot be read ({type(error).__name__}).",
            next_step="Build it from nothing (cvas_process, 'view only' and full_rebuild).",
        ) from None
    return {"rows": rows, "columns": columns, "mb": round(lake.subscriptions.stat().st_size / MB, 3)}
