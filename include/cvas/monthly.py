"""The monthly reports: refunds per price point, revenue per service, how long subscriptions last (section 7, B22)."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from include.common import locks
from include.common.files import atomic_write
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.contract import RFND
from include.cvas.counters import BY_SERVICE, missing_days, read_counters
from include.cvas.engine import open_engine
from include.cvas.lake import reading
from include.cvas.stage import stage
from include.cvas.tables import export, show_subscriptions, show_transactions, write_csv
from include.errors import SourceMissing

JOB = "cvas_monthly_reports"
REFUNDS, REVENUE, LIFETIME = "refunds_monthly.csv", "revenue_monthly.csv", "lifetime_monthly.csv"


def write_reports(lake: Lake, *, day: date, now: datetime, settings: Settings) -> StepResult:
    """Write the three reports, all months in each, to ``Reports/<day>/``; money in euro, nothing personal.

    ``refunds_monthly.csv`` per month and CPC: amount, number of refunds, distinct users, those with regular and those
    with automatic refunds. ``revenue_monthly.csv`` per service and month, from the counters, with a warning if they
    lack days of the lake. ``lifetime_monthly.csv`` per service and month of activation, from the view: subscriptions,
    average days, average of total_revenue_with_upgrade.

    Re-run: safe; the reports are replaced.
    Raises SourceMissing naming what has to be made first, before anything is written; StoreFull, StoreBusy while the
    lake or the view is written.
    """
    folder = lake.reports(day)
    with stage(lake, JOB, day, now=now, settings=settings) as run:
        if not (lake.counters / BY_SERVICE).exists():
            raise SourceMissing(
                f"cvas: there is no {lake.counters / BY_SERVICE}.",
                next_step="Count the days (cvas_counters with missing), then try again.",
            )
        rows: dict[str, int] = {}
        with locks.hold(lake.view_lock, JOB, shared=True), reading(lake, JOB), open_engine(lake, settings) as engine:
            show_subscriptions(engine, lake)
            show_transactions(engine, lake, [RFND])
            rows[LIFETIME] = export(engine, "select_lifetime_by_month", folder / LIFETIME, {})
            rows[REFUNDS] = export(engine, "select_refunds_by_month", folder / REFUNDS, {})
        if uncounted := missing_days(lake):
            run.warn(
                f"{REVENUE} lacks {len(uncounted):,} days that were never counted, the first is {uncounted[0]}; "
                "trigger cvas_counters with missing, then this again."
            )
        rows[REVENUE] = _write_revenue(lake, folder / REVENUE)
        run.facts.update(rows)
        return StepResult(
            where=str(folder),
            written=sum(rows.values()),
            bytes=sum((folder / name).stat().st_size for name in rows),
            warnings=tuple(run.warnings),
            facts={"rows": rows},
        )


def _write_revenue(lake: Lake, target: Path) -> int:
    import polars as pl

    key = [pl.col("date").dt.strftime("%Y-%m").alias("month"), "service_name", "tme_category"]
    months = (
        read_counters(lake)
        .by_service.group_by(key)
        .agg(pl.col("rev").sum().round(2))
        .sort("month", "service_name", "tme_category")
    )
    with atomic_write(target) as temporary:
        write_csv(months, temporary)
    return months.height
