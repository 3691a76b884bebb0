"""The monthly reports: refunds per price point, revenue per service, how long subscriptions last (section 7, B22)."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from include.common import locks
from include.common.files import atomic_write, require_space
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.contract import RFND
from include.cvas.counter_files import BY_SERVICE, read_counters
from include.cvas.counters import missing_days
from include.cvas.engine import open_engine
from include.cvas.lake import reading
from include.cvas.stage import stage
from include.cvas.tables import export, show_transactions, write_csv
from include.cvas.view import show_view
from include.errors import SourceMissing

if TYPE_CHECKING:
    import polars as pl

JOB = "cvas_monthly_reports"
REFUNDS, REVENUE, LIFETIME = "refunds_monthly.csv", "revenue_monthly.csv", "lifetime_monthly.csv"


def write_reports(lake: Lake, *, day: date, now: datetime, settings: Settings) -> StepResult:
    """Write the three reports, all months in each, to ``Reports/<day>/``; money in euro, nothing personal.

    ``refunds_monthly.csv`` per month and CPC: amount, number of refunds, distinct users, those with regular and those
    with automatic refunds. ``revenue_monthly.csv`` per service and month, from the counters, with a warning if they
    lack days of the lake. ``lifetime_monthly.csv`` per service and month of activation, from the view: subscriptions,
    average days, average of total_revenue_with_upgrade.

    Re-run: safe; the reports are replaced.
    Raises SourceMissing naming what has to be made first, ContractViolation or CheckFailed naming a file that is not as
    agreed, StoreFull, StoreBusy while the lake or the view is written; no report was written or replaced then.
    """
    folder = lake.reports(day)
    with stage(lake, JOB, day, now=now, settings=settings) as run:
        if not (lake.counters / BY_SERVICE).exists():
            raise SourceMissing(
                f"cvas: there is no {lake.counters / BY_SERVICE}.",
                next_step="Count the days (cvas_counters with missing), then try again.",
            )
        revenue = _revenue_by_month(lake)
        if uncounted := missing_days(lake):
            run.warn(
                f"{REVENUE} lacks {len(uncounted):,} days that were never counted, the first is {uncounted[0]}; "
                "trigger cvas_counters with missing, then this again."
            )
        require_space(lake.root, (lake.counters / BY_SERVICE).stat().st_size)
        rows: dict[str, int] = {}
        # All three appear when the last one is finished.
        with (
            locks.hold(lake.view_lock, JOB, shared=True),
            reading(lake, JOB),
            open_engine(lake, settings) as engine,
        ):
            show_view(engine, lake)
            show_transactions(engine, lake, [RFND])
            with (
                atomic_write(folder / LIFETIME) as lifetimes,
                atomic_write(folder / REFUNDS) as refunds,
                atomic_write(folder / REVENUE) as revenues,
            ):
                rows[LIFETIME] = export(engine, "select_lifetime_by_month", lifetimes, {})
                rows[REFUNDS] = export(engine, "select_refunds_by_month", refunds, {})
                write_csv(revenue, revenues)
                rows[REVENUE] = revenue.height
        run.facts.update(rows)
        return StepResult(
            where=str(folder),
            written=sum(rows.values()),
            bytes=sum((folder / name).stat().st_size for name in rows),
            warnings=tuple(run.warnings),
            facts={"rows": rows},
        )


def _revenue_by_month(lake: Lake) -> pl.DataFrame:
    import polars as pl

    key = [pl.col("date").dt.strftime("%Y-%m").alias("month"), "service_name", "tme_category"]
    return (
        read_counters(lake)
        .by_service.group_by(key)
        .agg(pl.col("rev").sum().round(2))
        .sort("month", "service_name", "tme_category")
    )
