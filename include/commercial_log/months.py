"""Closing a month: from then on the nightly update never touches it, for good (R17, R36)."""

import re
import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import date

from include.commercial_log.cells import MONTH_TEXT, month_start
from include.commercial_log.config import DataRoot
from include.commercial_log.database import SYSTEM
from include.common import locks
from include.common.results import StepResult
from include.common.sql import read_sql, transaction
from include.errors import RequestRefused

JOB = "commercial_log_month_close"


def close_months(
    database: AbstractContextManager[sqlite3.Connection],
    data: DataRoot,
    labels: Iterable[str],
    *,
    closed_by: str,
    today: date,
    notes: str | None = None,
) -> StepResult:
    """Close months ``Mmm-YY`` in the name of ``closed_by``; each is closed completely or not at all, permanently.

    Re-run: safe; a month that is closed already is reported and left alone.
    Raises RequestRefused if ``closed_by`` is empty, a label is malformed or a month has no spots; months named before
    it in the list stay closed. AlreadyRunning, StoreBusy while another run writes, and what opening ``database``
    raises.
    """
    with data.recording(JOB, today) as run, locks.hold(data.database_lock, JOB), database as db:
        if not closed_by.strip():
            raise RequestRefused("commercial_log: closing a month needs a name.", next_step="Give closed_by.")
        closed: list[str] = []
        already: list[str] = []
        failed: dict[str, str] = {}
        for label in dict.fromkeys(labels):
            month = _canonical(label)
            if month is None:
                failed[label] = "not a month like Sep-25"
                continue
            with transaction(db):
                if month not in month_states(db):
                    failed[month] = "no spots"
                elif close_in_transaction(db, month, closed_by=closed_by, closed_on=today, notes=notes):
                    closed.append(month)
                else:
                    already.append(month)
        run.say(f"closed {closed or 'nothing'}, already closed {already or 'none'}, failed {failed or 'none'}")
        if failed:
            raise RequestRefused(
                "commercial_log: not closed: "
                + ", ".join(f"{month} ({why})" for month, why in failed.items())
                + f"; closed: {', '.join(closed) or 'none'}; already closed: {', '.join(already) or 'none'}.",
                next_step="Correct the months and run it again; closed ones stay closed.",
            )
        run.facts["closed"] = ", ".join(closed) or "none"
        return StepResult(
            where="month_closures", written=len(closed), facts={"closed": closed, "already_closed": already}
        )


def close_in_transaction(
    db: sqlite3.Connection, month: str, *, closed_by: str, closed_on: date, notes: str | None = None
) -> bool:
    """Close one month inside the caller's transaction: mark its spots historical, record what it holds.

    False if it was closed before: what it held then stays on record.
    """
    closing = {"month": month, "closed_date": closed_on.isoformat(), "closed_by": closed_by.strip(), "notes": notes}
    added = db.execute(read_sql(SYSTEM, "insert_month_closure"), closing).rowcount
    db.execute(read_sql(SYSTEM, "update_spots_historical"), {"month": month})
    if added:
        record_totals(db, month)
    return bool(added)


def record_totals(db: sqlite3.Connection, month: str) -> None:
    """Put on record what a closed month holds, for the validation to compare with."""
    db.execute(read_sql(SYSTEM, "upsert_month_closure_totals"), {"month": month})


def closed_months(db: sqlite3.Connection) -> list[str]:
    """The closed months, ``Mmm-YY``, in no order; those without spots as well."""
    return [month for (month,) in db.execute("SELECT broadcast_month FROM month_closures")]


def month_states(db: sqlite3.Connection) -> dict[str, bool]:
    """Whether each month that has spots is closed, in calendar order."""
    states = {month: closed is not None for month, closed in db.execute(read_sql(SYSTEM, "select_months"))}
    return dict(sorted(states.items(), key=lambda state: month_start(state[0])))


def _canonical(label: str) -> str | None:
    match = re.fullmatch(MONTH_TEXT, label.strip())
    return f"{match[1].title()}-{match[2]}" if match else None
