"""Opening the booked-business database, one SQLite file that a web application reads while the update writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from include.common.sql import migrate, sqlite_code, sqlite_errors
from include.errors import ContractViolation, SourceMissing

SYSTEM = "commercial_log"
# Every booked-business database ever made has these, a backup from before a migration too.
FIRST_TABLES = (
    "agencies",
    "customers",
    "entity_aliases",
    "import_batches",
    "import_rejects",
    "language_blocks",
    "languages",
    "market_aliases",
    "markets",
    "month_closures",
    "programming_schedules",
    "schedule_collision_log",
    "schedule_market_assignments",
    "sectors",
    "spot_language_assignments",
    "spot_language_blocks",
    "spots",
)
TABLES = (*FIRST_TABLES, "month_closure_totals")


def open_database(
    path: Path, *, create: bool = False, read_only: bool = False, tables: Sequence[str] = TABLES
) -> sqlite3.Connection:
    """A connection in autocommit mode (use ``common.sql.transaction``) with foreign keys on and a busy timeout of 30 s.

    ``create`` makes the file where there is none and applies the migrations it lacks. Without it the file has to be
    there and to hold all ``tables``: a mistyped path must never become an empty database that jobs then write into.

    Raises SourceMissing when there is no file, ContractViolation when it is not a booked-business database,
    StoreBusy when another connection keeps it locked, StoreFull when the disk is too full even to read it.
    """
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.is_file():
        raise SourceMissing(
            f"There is no booked-business database at {path}.",
            next_step="Correct the path (connection commercial_log_db, or --database); only the command init "
            "makes a new database.",
        )
    mode = "ro" if read_only else "rwc" if create else "rw"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30, isolation_level=None)
    try:
        with sqlite_errors(path):
            if not read_only:
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA foreign_keys = ON")
            # 64 MB hold the open months and their indexes; with the default of 2 MB each statement reads them anew.
            db.execute("PRAGMA cache_size = -65536")
            if create:
                migrate(db, SYSTEM)
            _require_tables(db, path, tables)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error) and sqlite_code(error) == sqlite3.SQLITE_NOTADB:
            raise ContractViolation(
                f"The file {path} is not an SQLite database.",
                next_step="Correct the path (connection commercial_log_db, or --database), or restore the latest "
                "backup.",
            ) from error
        raise
    return db


def timestamp(moment: datetime) -> str:
    """A moment as the database keeps it: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _require_tables(db: sqlite3.Connection, path: Path, tables: Sequence[str]) -> None:
    present = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = [table for table in tables if table not in present]
    if missing:
        raise ContractViolation(
            f"The database {path} lacks the tables {', '.join(missing)}.",
            next_step="Correct the path (connection commercial_log_db, or --database); if it is right, the "
            "command init brings the database up to date: python -m include.scripts commercial_log init.",
        )
