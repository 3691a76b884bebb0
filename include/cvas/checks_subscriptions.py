"""Is the subscription view what it should be: one row per id, the agreed columns, the same as a rebuild (R62)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from include.common import locks
from include.common.journal import RunLog
from include.common.results import StepResult
from include.cvas.checks import LISTED, conclude, time_queries
from include.cvas.config import Lake, Settings
from include.cvas.engine import open_engine
from include.cvas.stage import stage
from include.cvas.tables import rows_of, show_subscriptions
from include.cvas.view import compare_with_rebuild
from include.cvas.view_query import COLUMNS
from include.errors import SourceMissing, StaleInput

if TYPE_CHECKING:
    import duckdb

JOB = "cvas_check_subscriptions"
DATES = ("activation_date", "last_renewal_date", "deactivation_date", "cancellation_date")
RANGES = (*DATES, "first_renewal_date", "activation_trans_date", "last_activity_date", "last_refund_date", "end_date")
FIRST_EVENTS = ("activation_date", "first_renewal_date")
MONTHS = 12
BY_MONTH = ("activations", "renewals", "deactivations", "cancellations", "refunds")
TIMINGS = ("active", "first_cpcs", "lifetime", "last_week", "most_renewed")


def check_subscriptions(lake: Lake, *, day: date, now: datetime, today: date, settings: Settings) -> StepResult:
    """Look at the subscription view, compare it with a full rebuild, and report to ``Reports/D/subscriptions.json``.

    ``day`` is the day of the run, ``today`` the local calendar day: days are looked for up to the one before it, months
    are the twelve up to that day's. A day on which no subscription began, renewed for the last time or ended is only a
    warning: other than a day without transactions it can happen. Memory: that of a full rebuild.

    Re-run: safe; reads only, and replaces the report.
    Raises SourceMissing if there is no view, CheckFailed, after the report is written, for columns that are not as
    agreed, ids that are not unique, and a view that differs from a rebuild (R64); StoreBusy, AlreadyRunning, StoreFull.
    """
    until = today - timedelta(days=1)
    failures: list[str] = []
    with stage(lake, JOB, day, now=now, settings=settings) as run:
        with locks.hold(lake.view_lock, JOB, shared=True), open_engine(lake, settings) as engine:
            show_subscriptions(engine, lake)
            with run.phase("figures", percent=30):
                found = _look_into(engine, until, failures, run)
        with run.phase("rebuild", percent=100):
            found["differences_from_rebuild"] = None if found["schema_faults"] else _compare(lake, settings, failures)
        read = found.get("quality", {}).get("subscriptions", 0)
        return conclude(lake, run, "subscriptions", found, day=day, now=now, failures=failures, read=read)


def _look_into(engine: duckdb.DuckDBPyConnection, until: date, failures: list[str], run: RunLog) -> dict[str, Any]:
    """What the view says about itself; adds to ``failures`` what must not be."""
    if faults := _schema_faults(engine):
        failures.append(f"Its columns are not as agreed: {' '.join(faults)}")
        return {"schema_faults": faults}
    (quality,) = rows_of(engine, "check_subscription_quality")
    if quality["duplicate_ids"] or quality["null_ids"]:
        failures.append(
            f"{quality['duplicate_ids']:,} subscriptions have the id of another one, {quality['null_ids']:,} have none."
        )
    if quality["negative_lifetime"]:
        run.warn(f"{quality['negative_lifetime']:,} subscriptions ended before they began.")
    first, last = rows_of(engine, "check_subscription_ranges", dates=list(RANGES))
    month = {"first_month": _first_month(until)}
    (revenue,) = rows_of(engine, "check_subscription_revenue")
    return {
        "schema_faults": [],
        "quality": quality,
        "status": rows_of(engine, "check_subscription_status"),
        "ranges": {name: [first[name], last[name]] for name in RANGES},
        "missing_days": _missing_days(engine, first, until, run),
        "revenue": revenue,
        "months": {what: rows_of(engine, f"check_subscription_{what}", **month) for what in BY_MONTH},
        "queries": time_queries(
            engine,
            {f"check_subscription_{what}_timing": {"until": until} if what == "last_week" else {} for what in TIMINGS},
        ),
    }


def _compare(lake: Lake, settings: Settings, failures: list[str]) -> list[str] | None:
    """In what the view differs from a full rebuild; adds to ``failures`` that it does, or cannot be compared."""
    try:
        differences = compare_with_rebuild(lake, settings=settings)
    except (SourceMissing, StaleInput) as error:
        failures.append(f"It cannot be compared with a full rebuild: {error.what}")
        return None
    if differences:
        failures.append(f"It differs from a full rebuild: {' '.join(differences)}")
    return differences


def _missing_days(
    engine: duckdb.DuckDBPyConnection, first: dict[str, datetime | None], until: date, run: RunLog
) -> dict[str, Any]:
    """By event the days on which it happened to no subscription, from the first that all events could have."""
    begin = max((moment.date() for name in FIRST_EVENTS if (moment := first[name])), default=None)
    happened: dict[str, set[date]] = {name.removesuffix("_date"): set() for name in DATES}
    for row in rows_of(engine, "check_subscription_days"):
        happened[row["event"]].add(row["day"])
    report = {}
    for event, days in happened.items():
        expected = [begin + timedelta(days=n) for n in range((until - begin).days + 1)] if begin else []
        missing = [day for day in expected if day not in days]
        report[event] = {"total": len(missing), "first": missing[:LISTED]}
        if missing:
            run.warn(f"No {event.replace('_', ' ')} on {len(missing):,} days, the first is {missing[0]}.")
    return report


def _schema_faults(engine: duckdb.DuckDBPyConnection) -> list[str]:
    """In what the view's columns differ from what is agreed (section 4.2)."""
    found = {name: kind for name, kind, *_ in engine.execute("DESCRIBE subscriptions").fetchall()}
    differences = [
        *(f"{name} is missing." for name in COLUMNS if name not in found),
        *(f"{name} is unknown." for name in found if name not in COLUMNS),
        *(f"{name} is {found[name]}, not {kind}." for name, kind in COLUMNS.items() if found.get(name, kind) != kind),
    ]
    return differences or ([] if list(found) == list(COLUMNS) else ["They are in another order."])


def _first_month(until: date) -> str:
    """The first of the twelve months that end with the month of ``until``."""
    year, month = divmod(until.year * 12 + until.month - MONTHS, 12)
    return f"{year}-{month + 1:02}"
