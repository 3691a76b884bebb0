"""The audit of every load: one row in import_batches from start to end, rejects and warnings beside it."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from include.commercial_log import workbook
from include.commercial_log.cells import month_start
from include.commercial_log.choice import Mode
from include.commercial_log.database import SYSTEM, timestamp
from include.commercial_log.transform import ParsedSheet, Remark
from include.common.files import sha256_of
from include.common.sql import read_sql, transaction

REJECTS_KEPT = timedelta(days=400)
INTERRUPTED = "Import timed out or was interrupted"


def begin_batch(db: sqlite3.Connection, path: Path, *, mode: Mode, now: datetime, started_by: str) -> str:
    """Write the RUNNING row before the load's own transaction, so that even a killed run leaves a trace; its id.

    The caller holds the only writer's lock, so whoever is still marked RUNNING is gone and becomes FAILED.
    """
    dated = workbook.date_of(path.name)
    prefix = f"{mode.lower()}_{int(now.timestamp())}"
    with transaction(db):
        mark_interrupted(db, now=now)
        same = db.execute("SELECT count(*) FROM import_batches WHERE batch_id GLOB ?", (f"{prefix}*",)).fetchone()[0]
        batch_id = f"{prefix}_{same + 1}" if same else prefix
        db.execute(
            read_sql(SYSTEM, "insert_batch"),
            {
                "batch_id": batch_id,
                "now": timestamp(now),
                "mode": mode,
                "source_file": path.name,
                "source_date": dated.isoformat() if dated else None,
                "source_sha256": sha256_of(path),
                "started_by": started_by,
            },
        )
    return batch_id


def mark_interrupted(db: sqlite3.Connection, *, now: datetime) -> int:
    """Mark every batch still RUNNING as FAILED; how many there were. For a caller that holds the writer's lock."""
    binds = {"batch_id": None, "now": timestamp(now), "error": INTERRUPTED}
    return db.execute(read_sql(SYSTEM, "update_batch_failed"), binds).rowcount


def fail_batch(db: sqlite3.Connection, batch_id: str, error: BaseException, *, now: datetime) -> None:
    """Mark the batch FAILED with what went wrong, in a transaction of its own: that of the load was rolled back.

    Raises StoreBusy, StoreFull.
    """
    with transaction(db):
        binds = {"batch_id": batch_id, "now": timestamp(now), "error": str(error)[:2000]}
        db.execute(read_sql(SYSTEM, "update_batch_failed"), binds)


def complete_batch(
    db: sqlite3.Connection,
    batch_id: str,
    parsed: ParsedSheet,
    months: Sequence[str],
    counters: Mapping[str, int],
    *,
    now: datetime,
    notes: str | None,
) -> None:
    """Mark the batch COMPLETED inside the transaction of the load it describes; rejects of old batches go.

    ``counters``: records_imported, records_deleted, rows_inserted, rows_removed, rows_unchanged.
    """
    db.execute(
        read_sql(SYSTEM, "update_batch_completed"),
        {
            "batch_id": batch_id,
            "now": timestamp(now),
            "months": json.dumps(sorted(months, key=month_start)),
            "rows_read": parsed.read,
            "rows_filtered_closed": parsed.closed.total(),
            "rows_filtered_trade": parsed.trade,
            "rows_rejected": parsed.rejected,
            "notes": notes,
            **counters,
        },
    )
    db.execute(read_sql(SYSTEM, "delete_old_rejects"), {"before": timestamp(now - REJECTS_KEPT)})


def keep_remarks(db: sqlite3.Connection, batch_id: str, file: str, remarks: Iterable[Remark], *, now: datetime) -> None:
    """Keep rejects and warnings; runs in the caller's transaction."""
    created = timestamp(now)
    db.executemany(read_sql(SYSTEM, "insert_rejects"), ((batch_id, file, *remark, created) for remark in remarks))
