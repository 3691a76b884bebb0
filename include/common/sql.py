"""SQL kept in its own files: reading a statement, one transaction, and bringing a store's schema up to date."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from include.errors import ContractViolation, StoreBusy, StoreFull

# To SQLite only a write without space is FULL. One beyond a quota is WRITE, and where the 32 KB of the -shm file do not
# fit, not even a reader gets in.
_NO_ROOM = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
)
_SQL_ROOT = Path(__file__).resolve().parents[1] / "sql"


@cache
def read_sql(system: str, name: str) -> str:
    """The text of ``include/sql/<system>/<name>.sql``. Raises FileNotFoundError when there is no such file."""
    return (_SQL_ROOT / system / f"{name}.sql").read_text(encoding="utf-8")


@contextmanager
def transaction(db: sqlite3.Connection, *, commit: bool = True) -> Iterator[None]:
    """One ``BEGIN IMMEDIATE`` transaction: committed when the block ends, rolled back when it raises.

    With ``commit`` off it is rolled back in any case: a rehearsal that sees exactly what the real thing would do.

    Raises StoreBusy when another connection holds the lock longer than the connection's busy timeout, StoreFull when
    the disk is full.
    """
    with sqlite_errors(file_of(db)):
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT" if commit else "ROLLBACK")
        except BaseException:
            # SQLite has already rolled back by itself after some errors, a full disk for one.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def file_of(db: sqlite3.Connection) -> str:
    """The path of the file a connection is to."""
    return str(db.execute("PRAGMA database_list").fetchone()[2])


@contextmanager
def sqlite_errors(file: str | Path) -> Iterator[None]:
    """The two ways in which SQLite fails that an operator can do something about, as StoreBusy and StoreFull.

    For a block that leaves the database as it was when it fails.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = sqlite_code(error)
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusy(
                f"The database {file} is locked by another reader or writer; nothing was changed.",
                next_step="Try again; if it stays locked, look for a job or program that keeps a transaction open.",
            ) from error
        if code in _NO_ROOM:
            raise StoreFull(
                f"No space left for the database {file} ({error}); nothing was changed.",
                next_step="Free disk space there (the status report lists what is kept), then clear the task; if "
                "there is space, check quota and disk.",
            ) from error
        raise


def sqlite_code(error: sqlite3.Error) -> int:
    """The extended code of an error; its low byte is the primary one. Those of the Python module itself carry none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)


def migrate(db: sqlite3.Connection, system: str) -> list[str]:
    """Apply the files of ``include/sql/<system>/migrations`` that ``db`` has not seen, in the order of their names.

    Each file and its row in ``schema_migrations`` are one transaction. Returns the names applied by this call.
    Re-run: safe, also by two processes at once.
    Raises ContractViolation when a file was changed after it had been applied, StoreBusy when the database is locked.
    """
    migrations = _migrations(system)
    applied = _applied(db)
    for migration in migrations:
        _refuse_change(migration, applied)
    return [migration.name for migration in migrations if migration.name not in applied and _apply(db, migration)]


@dataclass(frozen=True)
class _Migration:
    name: str
    script: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.script.encode()).hexdigest()


def _migrations(system: str) -> list[_Migration]:
    files = sorted((_SQL_ROOT / system / "migrations").glob("*.sql"))
    return [_Migration(file.stem, file.read_text(encoding="utf-8")) for file in files]


def _applied(db: sqlite3.Connection) -> dict[str, str]:
    """Name and SHA-256 of every applied migration."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone() is None:
        return {}
    return dict(db.execute("SELECT name, sha256 FROM schema_migrations"))


def _refuse_change(migration: _Migration, applied: dict[str, str]) -> None:
    if applied.get(migration.name, migration.sha256) != migration.sha256:
        raise ContractViolation(
            f"Migration {migration.name} is not the file that was applied to this database.",
            next_step="Restore the file as it was and put the change into a new, higher numbered migration.",
        )


def _apply(db: sqlite3.Connection, migration: _Migration) -> bool:
    """Whether this call applied it; False when another process did in the meantime."""
    with transaction(db):
        db.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations ("
            "name TEXT NOT NULL PRIMARY KEY, sha256 TEXT NOT NULL, applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        applied = _applied(db)
        if migration.name in applied:
            _refuse_change(migration, applied)
            return False
        # executescript() would commit first and so break the transaction.
        for statement in _statements(migration.script):
            db.execute(statement)
        db.execute("INSERT INTO schema_migrations (name, sha256) VALUES (?, ?)", (migration.name, migration.sha256))
    return True


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; a trigger with its inner semicolons is one. A statement ends at the end of a line."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement  # without its semicolon, or a trailing comment, which SQLite takes as nothing to do
