"""Do phones and user ids look like what they are, and does one belong to one of the other (R63). Counts only (R5)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from include.common.results import StepResult
from include.common.sql import read_sql
from include.cvas.checks import conclude
from include.cvas.config import Lake, Settings
from include.cvas.engine import open_engine
from include.cvas.lake import reading
from include.cvas.stage import stage
from include.cvas.tables import rows_of, show_transactions

JOB = "cvas_check_users"


def check_users(lake: Lake, *, day: date, now: datetime, settings: Settings) -> StepResult:
    """Look at the users of all transactions and report to ``Reports/D/users.json``; nothing fails this check (R64).

    ``day`` is the day of the run. Memory: every pair of user id and phone once per type, at
    most ``memory_limit``.

    Re-run: safe; reads only, and replaces the report.
    Raises ContractViolation for a partition that cannot be read, StoreBusy while the lake is written, AlreadyRunning.
    """
    with (
        stage(lake, JOB, day, now=now, settings=settings) as run,
        reading(lake, JOB),
        open_engine(lake, settings) as engine,
    ):
        show_transactions(engine, lake)
        with run.phase("pairs", percent=80):
            engine.execute(read_sql("cvas", "check_user_pairs"))
        with run.phase("counts", percent=100):
            types = {row.pop("type"): row for row in rows_of(engine, "check_users")}
            (shared,) = rows_of(engine, "check_shared_users")
        for name, counts in types.items():
            for odd, what in (("odd_tmuserid", "user ids"), ("odd_msisdn", "phones")):
                if counts[odd]:
                    run.warn(f"{name} has {counts[odd]:,} rows with {what} that do not look like one.")
        rows = sum(counts["n_rows"] for counts in types.values())
        found = {"types": {name: _with_shares(counts) for name, counts in types.items()}, "users": shared}
        return conclude(lake, run, "users", found, day=day, now=now, failures=(), read=rows)


def _with_shares(counts: dict[str, Any]) -> dict[str, Any]:
    rows = counts.pop("n_rows")
    return {
        "rows": rows,
        **counts,
        "null_tmuserid_share": round(counts["null_tmuserid"] / rows, 6),
        "null_msisdn_share": round(counts["null_msisdn"] / rows, 6) if counts["null_msisdn"] is not None else None,
    }
