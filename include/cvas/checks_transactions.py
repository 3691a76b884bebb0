"""Does the lake hold what it should: every day, no row twice, the agreed columns, in the right months (R61)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.common.journal import RunLog
from include.common.results import StepResult
from include.cvas.checks import LISTED, conclude, time_queries
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, RENO, RFND, TYPES, TransactionType
from include.cvas.engine import open_engine
from include.cvas.gaps import COMPLETE_EVERY_DAY, missing_days
from include.cvas.lake import UNDATED, partition_files, read_state, reading, told_losses
from include.cvas.privacy import masked
from include.cvas.stage import stage
from include.cvas.tables import rows_of, show_transactions
from include.errors import CheckFailed

if TYPE_CHECKING:
    import duckdb

JOB = "cvas_check_transactions"
CHANNELS = {ACT: "channel_act", RENO: "channel_act", DCT: "channel_dct"}
TIMINGS = {
    "check_activations_timing": ACT,
    "check_activation_revenue_timing": ACT,
    "check_latest_renewals_timing": RENO,
    "check_cancellations_timing": CNR,
    "check_refunds_timing": RFND,
}
MB = 1_000_000
NAMED = 5  # faults told in the message; the report has all


def check_transactions(lake: Lake, *, day: date, now: datetime, today: date, settings: Settings) -> StepResult:
    """Look at the partitions of the six types, one at a time, and report to ``Reports/D/transactions.json``.

    ``day`` is the day of the run, ``today`` the local calendar day: days have to be there up to the one before it. A
    type whose files or columns are not as agreed fails the check and is not looked into any further. Memory: the keys
    of one month of one type, at most ``memory_limit``.

    Re-run: safe; reads only, and replaces the report.
    Raises CheckFailed, after the report is written, for days without rows that nobody confirmed empty, rows of any type
    that something else than the pipeline took away, duplicates, and files, columns or months that are not as agreed
    (R64); StoreBusy while the lake is written, AlreadyRunning.
    """
    failures: list[str] = []
    with (
        stage(lake, JOB, day, now=now, settings=settings) as run,
        reading(lake, JOB),
        open_engine(lake, settings) as engine,
    ):
        failures += _strangers(lake)
        with run.phase("partitions", percent=60):
            types = {kind: _look_into(engine, lake, kind, failures, run) for kind in TYPES}
        sound = [kind for kind, report in types.items() if not report["schema_faults"]]
        with run.phase("days", percent=80):
            state = read_state(lake)
            failures += filter(None, [told_losses(lake, state)])
            checked = [kind for kind in COMPLETE_EVERY_DAY if kind in sound]
            missing = missing_days(engine, lake, checked, state=state, until=today - timedelta(days=1))
            for kind in checked:
                days = missing[kind.name]
                types[kind]["missing_days"] = {"total": len(days), "first": days[:LISTED]}
                if days:
                    failures.append(f"{kind.name} has no rows on {len(days):,} days, the first is {days[0]}.")
        with run.phase("timings", percent=100):
            show_transactions(engine, lake, sound)
            queries = time_queries(engine, {query: {} for query, kind in TIMINGS.items() if kind in sound})
        rows, mb = (sum(report[figure] for report in types.values()) for figure in ("rows", "mb"))
        found = {
            "total": {"rows": rows, "mb": round(mb, 3)},
            "types": {kind.name: report for kind, report in types.items()},
            "queries": queries,
        }
        return conclude(lake, run, "transactions", found, day=day, now=now, failures=failures, read=rows)


def _strangers(lake: Lake) -> list[str]:
    """Files that readers of the whole folder would take for ours although they belong to no type (section 4.1)."""
    known = {kind.folder for kind in TYPES}
    found = [path.relative_to(lake.transactions) for path in sorted(lake.transactions.rglob("*.parquet"))]
    return [f"{path} belongs to no type." for path in found if path.parts[0] not in known]


def _look_into(
    engine: duckdb.DuckDBPyConnection, lake: Lake, kind: TransactionType, failures: list[str], run: RunLog
) -> dict[str, Any]:
    """The report of one type; adds to ``failures`` what must not be."""
    partitions: dict[str, list[Path]] = {}
    try:
        partitions = partition_files(lake, kind)
        files = [file for each in partitions.values() for file in each]
        faults = [fault for file in files if (fault := _schema_fault(file, kind))]
    except CheckFailed as stray:
        faults = [stray.what]
    months = [month for month in partitions if month != UNDATED]
    report: dict[str, Any] = {
        "rows": 0,
        "mb": round(sum(file.stat().st_size for each in partitions.values() for file in each) / MB, 3),
        "partitions": len(partitions),
        "first_partition": months[0] if months else None,
        "last_partition": months[-1] if months else None,
        "schema_faults": faults,
    }
    if partitions and not faults:
        report |= _look_at_rows(engine, kind, partitions)
        pattern = str(lake.transactions / kind.folder / "**" / "*.parquet")
        report["year_month"] = rows_of(engine, "check_year_month", pattern=pattern)[0]["seen_as"]
        if report["year_month"] not in ("VARCHAR", None):
            faults.append(f"readers see year_month as {report['year_month']} instead of text.")
        if report["misplaced"]:
            faults.append(f"{report['misplaced']:,} rows lie in a month that is not theirs.")
    if faults:
        more = f" And {len(faults) - NAMED:,} more." if len(faults) > NAMED else ""
        failures.append(f"{kind.name} is not as agreed: {' '.join(faults[:NAMED])}{more}")
    if report.get("duplicates"):
        failures.append(f"{kind.name} has {report['duplicates']:,} rows whose key another row has.")
    if report.get("undated_rows"):
        run.warn(f"{kind.name} has {report['undated_rows']:,} rows in the partition of undated rows.")
    return report


def _schema_fault(file: Path, kind: TransactionType) -> str | None:
    """In what the columns of a file differ from what is agreed."""
    import polars as pl

    place = f"{kind.folder}/{file.parent.name}/{file.name}"
    try:
        found = pl.read_parquet_schema(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return f"{place} cannot be read."
    agreed = kind.schema()
    differences = [
        *(f"lacks {name}" for name in agreed if name not in found),
        *(f"has {name}" for name in found if name not in agreed),
        *(
            f"has {name} as {found[name]}, not {agreed[name]}"
            for name in agreed
            if found.get(name, agreed[name]) != agreed[name]
        ),
    ]
    if not differences and list(found) != list(agreed):
        differences = ["has its columns in another order"]
    return f"{place} {masked(', '.join(differences))}." if differences else None


def _look_at_rows(
    engine: duckdb.DuckDBPyConnection, kind: TransactionType, partitions: dict[str, list[Path]]
) -> dict[str, Any]:
    """What the rows of a type say, put together from its partitions."""
    channel = CHANNELS.get(kind)
    looked_for = ["cpc", *([channel] if channel else [])]
    found: dict[str, dict[str, Any]] = {}
    for month, paths in partitions.items():
        files = [str(path) for path in paths]
        (partition,) = rows_of(
            engine, "check_partition", files=files, date=[kind.event_date], month=None if month == UNDATED else month
        )
        (nulls,) = rows_of(engine, "check_nulls", files=files, columns=looked_for)
        (repeated,) = rows_of(engine, "check_duplicates", files=files, key=list(kind.key))
        found[month] = partition | nulls | repeated

    def total(name: str) -> int:
        return sum(each[name] for each in found.values())

    rows = total("n_rows")
    dated = [each for each in found.values() if each["first_event"]]
    return {
        "rows": rows,
        "first": min((each["first_event"] for each in dated), default=None),
        "last": max((each["last_event"] for each in dated), default=None),
        "duplicates": total("duplicates"),
        "duplicates_by_month": {month: each["duplicates"] for month, each in found.items() if each["duplicates"]},
        "undated_rows": found[UNDATED]["n_rows"] if UNDATED in found else 0,
        # Those with a date among the undated wait for the repair (R29).
        "misplaced": sum(each["misplaced"] for month, each in found.items() if month != UNDATED),
        "null_cpc_share": _share(total("cpc"), rows),
        "null_channel_share": _share(total(channel), rows) if channel else None,
    }


def _share(count: int, rows: int) -> float:
    return round(count / rows, 6) if rows else 0.0
