"""The nightly copy of the booked-business database in another place, and the way back (R49, R50)."""

import fcntl
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from include.commercial_log.cells import month_start
from include.commercial_log.config import ZONE, DataRoot, Settings
from include.commercial_log.database import FIRST_TABLES, open_database
from include.commercial_log.languages import MANUAL
from include.common import locks
from include.common.backups import Generations
from include.common.files import GROUP_READABLE, publish
from include.common.journal import RunLog
from include.common.objectstores import ObjectStore
from include.common.results import StepResult
from include.common.sql import file_of, sqlite_code, sqlite_errors
from include.errors import CheckFailed, ContractViolation, RequestRefused, SourceMissing, StoreBusy, StoreFull

JOB = "commercial_log_backup"
VERIFY_JOB = "commercial_log_backup_verify"
RESTORE_JOB = "commercial_log_restore"
PATIENCE = 30.0  # seconds to wait for another writer
_BACKUPS = Generations("database_backup", ".db", ZONE)

# Where SQLite's own locks lie: in the database file, and in its -shm, where every open connection shares one byte.
_DATABASE_LOCKS = (0x40000000, 512)
_SHM_IN_USE = (128, 1)
_COMPANIONS = ("-wal", "-journal", "-shm")
_HEADER_BYTES = 100
_CHUNK = 1 << 20
# What SQLite says of a file it cannot work with; READONLY is what it says of another page size, too. No other error of
# the disk is a reason to give a database up: a full one hinders even reading.
_NOT_USABLE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY)
_NOT_READABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)


def back_up_database(
    db_path: Path, store: ObjectStore, data: DataRoot, *, day: date, now: datetime, settings: Settings
) -> StepResult:
    """Store a snapshot of the database as ``database_backup_YYYYMMDD_HHMMSS.db``, local time, and keep the newest few.

    The snapshot is one state of the database between two commits; readers and writers go on meanwhile. It is a single
    file without write-ahead log, checked before it leaves and compared by its hash after it arrived; only then backups
    beyond ``keep_backups`` are deleted. Needs free disk space of one database below the data root.

    Re-run: safe; makes another snapshot.
    Raises SourceMissing or ContractViolation for the database, CheckFailed if the snapshot or what arrived is damaged,
    StoreBusy, StoreFull, AlreadyRunning, and what the store raises; in every case all older backups are still there.
    """
    with (
        data.recording(JOB, day) as run,
        locks.hold(data.backup_lock, JOB),
        _empty_folder(data.root / "snapshot") as folder,
    ):
        name = _BACKUPS.name_at(now)
        snapshot = folder / name
        # Not read-only: such a connection would leave an empty log behind, which others may not be allowed to write.
        with run.phase("snapshot", percent=25), closing(open_database(db_path, tables=FIRST_TABLES)) as db:
            _copy_database(db, snapshot)
        with run.phase("check", percent=50):
            _require_sound(snapshot, "quick_check", f"The snapshot of {db_path}")
        with run.phase("upload and verify", percent=90):
            store.put(snapshot, name)
        with run.phase("delete old backups", percent=100):
            kept, deleted = _BACKUPS.prune(store, newest=name, keep=settings.keep_backups)
        size = snapshot.stat().st_size
        run.say(f"{store.where}/{name}: {size:,} bytes; deleted {', '.join(deleted) or 'none'}")
        run.facts.update(backup=name, bytes=size)
        return StepResult(
            where=f"{store.where}/{name}",
            read=1,
            written=1,
            bytes=size,
            warnings=tuple(run.warnings),
            facts={"backup": name, "kept": kept, "deleted": deleted, **run.durations},
        )


def list_backups(store: ObjectStore) -> list[str]:
    """The names of all backups, newest first; other objects in that place are not ours."""
    return _BACKUPS.names(store)


def verify_backup(store: ObjectStore, data: DataRoot, *, name: str | None = None, day: date) -> StepResult:
    """Fetch a backup, the newest unless ``name`` says which, compare its hash and check it from end to end.

    ``facts['backups']`` names all there are, newest first. Needs free disk space of one database below the data root.
    The nightly backup does not wait for it, however long it takes: each has a lock and a folder of its own.

    Re-run: safe; changes nothing.
    Raises SourceMissing, CheckFailed, StoreFull, AlreadyRunning, and what the store raises.
    """
    with (
        data.recording(VERIFY_JOB, day) as run,
        locks.hold(data.backup_lock.with_name("backup_verify"), VERIFY_JOB),
        _empty_folder(data.root / "fetched") as folder,
    ):
        fetched = folder / "backup.db"
        with run.phase("fetch and verify", percent=50):
            chosen = _fetch(store, name, fetched, kept=[])
        with run.phase("check", percent=100):
            _require_sound(fetched, "integrity_check", f"The backup {chosen}")
        run.facts["backup"] = chosen
        return StepResult(
            where=f"{store.where}/{chosen}",
            read=1,
            bytes=fetched.stat().st_size,
            facts={"backup": chosen, "backups": list_backups(store), **run.durations},
        )


def restore_database(
    db_path: Path,
    store: ObjectStore,
    data: DataRoot,
    *,
    confirm: bool,
    name: str | None = None,
    now: datetime,
    day: date,
) -> StepResult:
    """Put a backup, the newest unless ``name`` says which, in the place of the database, all at once.

    The backup is fetched beside the database, compared by its hash and checked from end to end before anything is
    touched. What was there before stays beside it as ``<database>.before-restore-YYYYMMDD_HHMMSS``, until another
    backup is restored; that name as ``name`` undoes the restore, and can be undone in turn. A backup from before a
    migration is brought up to date.

    ``warnings`` name the months closed and count the languages decided since the backup was made. The months have to be
    closed again before the next load, which would replace them.

    The web application may stay connected: the backup is copied into the existing file page by page in one SQLite
    transaction, so that a reader sees all of the old or all of the new database and a kill leaves the old. Renaming a
    file over a database in use would not do: connections go on with the removed file, would write to it, and take away
    the write-ahead log of the new file, which bears the same name. Only where there is no database, or one that SQLite
    cannot work with, the file and its log are moved aside and the backup is renamed into place, and only when nobody
    has it open. The calling process must have no connection to the database.

    Needs free disk space of three databases. Re-run: safe.
    Raises RequestRefused without ``confirm``, SourceMissing if there is no such backup, CheckFailed if it is damaged,
    StoreBusy while a job or another program writes, StoreFull, AlreadyRunning, and what the store raises; in every case
    the database is as it was, unless StoreFull or StoreBusy say that it is the backup already and has to be brought up
    to date.
    """
    if not confirm:
        raise RequestRefused(
            "commercial_log: restoring replaces the whole database.", next_step="Give confirm if that is what you want."
        )
    with (
        data.recording(RESTORE_JOB, day) as run,
        locks.hold(data.database_lock, RESTORE_JOB),
        locks.hold(data.backup_lock, RESTORE_JOB),
        _empty_folder(db_path.with_name(f".{db_path.name}.restore")) as folder,
    ):
        incoming = folder / db_path.name
        with run.phase("fetch and verify", percent=50):
            chosen = _fetch(store, name, incoming, kept=_kept_databases(db_path))
        with run.phase("check", percent=75):
            _require_sound(incoming, "integrity_check", f"The backup {chosen}")
        known = _decisions_in(incoming)
        gone = not db_path.is_file()
        with run.phase("replace", percent=90):
            kept = _replace(db_path, incoming, _new_kept(db_path, now), run)
        _warn_of_losses(None if gone else kept, chosen, known, run)
        with run.phase("bring up to date", percent=100):
            _bring_up_to_date(db_path, chosen)
        size = db_path.stat().st_size
        before = kept.name if kept.exists() else None
        run.say(f"{db_path} is {chosen} now; what was there before is {before or 'gone'}")
        run.facts.update(backup=chosen, bytes=size)
        return StepResult(
            where=str(db_path),
            read=1,
            written=1,
            bytes=size,
            warnings=tuple(run.warnings),
            facts={"backup": chosen, "before": before, **run.durations},
        )


class _Decisions(NamedTuple):
    """What people decided and no workbook brings back: who closed which month, and the languages of spots."""

    closed: dict[str, str]
    languages: Counter[tuple[str, str, str]]


def _decisions_in(file: Path) -> _Decisions:
    with closing(_connect(file)) as db:
        closed = dict(db.execute("SELECT broadcast_month, closed_by FROM month_closures"))
        # Without the spot: a decision stays the same one when it passes to the row that replaces its spot.
        query = "SELECT language_code, assigned_date, notes FROM spot_language_assignments WHERE assignment_method = ?"
        return _Decisions(closed, Counter(db.execute(query, (MANUAL,))))


def _warn_of_losses(kept: Path | None, chosen: str, known: _Decisions, run: RunLog) -> None:
    """Say what people decided since the backup was made: the next load goes on as if they had not."""
    try:
        before = _decisions_in(kept) if kept else None
    except sqlite3.DatabaseError:
        before = None
    if kept is None or before is None:
        run.warn(
            f"What was there before cannot be read: ask who closed months since {chosen} was made and close them again "
            "before the next import; language decisions since then are lost."
        )
        return
    if reopened := sorted(before.closed.keys() - known.closed.keys(), key=month_start):
        run.warn(
            f"{chosen} does not know of months closed since; close again before the next import: "
            + "; ".join(f"{month}, closed by {before.closed[month]}" for month in reopened)
            + "."
        )
    if lost := (before.languages - known.languages).total():
        run.warn(
            f"{chosen} lacks {lost:,} language decisions of people; decide again where needed: {kept.name} has them."
        )


@contextmanager
def _empty_folder(folder: Path) -> Iterator[Path]:
    """A folder for the time being. What a killed run left in it goes first: it can be as large as the database.

    A folder and not a hidden name beside the database: a log left by a killed run would be taken for that of a new
    file of the same name.
    """
    if not folder.parent.is_dir():
        raise SourceMissing(
            f"There is no folder {folder.parent}.", next_step="Correct the path of the database or of the data."
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _copy_database(original: sqlite3.Connection, target: Path) -> None:
    """Copy one state of a database, log included, into a new single file."""
    with sqlite_errors(file_of(original)), closing(sqlite3.connect(target, isolation_level=None)) as copy:
        # A read transaction first: backup() itself would wait for a locked database for ever.
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM sqlite_master").fetchone()
        # Nobody needs what is left of the copy after a crash.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # the pages copied say WAL


def _require_sound(file: Path, check: str, what: str) -> None:
    try:
        with closing(open_database(file, read_only=True, tables=FIRST_TABLES)) as db:
            found = str(db.execute(f"PRAGMA {check}(1)").fetchone()[0])
    except ContractViolation as error:
        found = error.what
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise CheckFailed(
            f"{what} is not a sound booked-business database: {found}",
            next_step="Restore a backup that is; a restore changes nothing when one is not.",
        )


def _fetch(store: ObjectStore, name: str | None, target: Path, *, kept: list[Path]) -> str:
    """Bring the backup or the kept database that is meant; its name."""
    for path in kept:
        if path.name == name:
            _copy_kept(path, target)
            return name
    chosen = _BACKUPS.choose(store, name, others=[path.name for path in kept])
    store.fetch(chosen, target)
    return chosen


def _copy_kept(path: Path, target: Path) -> None:
    try:
        with closing(_connect(path)) as db:
            _copy_database(db, target)
    except sqlite3.DatabaseError as error:
        raise CheckFailed(
            f"{path} cannot be read ({error}).", next_step="Restore a backup; this file was damaged when it was kept."
        ) from error


def _replace(db_path: Path, incoming: Path, kept: Path, run: RunLog) -> Path:
    """Make the database what ``incoming`` is and ``kept`` what the database was; drop what was kept before.

    Returns the file that is kept in the end: an older one if a killed run had already taken the database's place.
    """
    before = _kept_databases(db_path)
    problem = _overwrite(db_path, incoming, kept, again=bool(before)) if db_path.is_file() else "there is none"
    if problem:
        run.warn(f"{db_path} cannot be overwritten ({problem}): the backup was put in its place as a new file.")
        _swap(db_path, incoming, kept)
    if before and not kept.exists():
        kept = before.pop()
    for path in before:
        for suffix in ("", *_COMPANIONS):
            _beside(path, suffix).unlink(missing_ok=True)
    return kept


def _bring_up_to_date(db_path: Path, chosen: str) -> None:
    """Apply the migrations that the backup lacks."""
    try:
        with closing(open_database(db_path, create=True)) as db:
            # If a reader is in the way, whoever closes the database last does it.
            db.execute("PRAGMA busy_timeout = 0")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (StoreBusy, StoreFull) as error:
        reason = "no space is left" if isinstance(error, StoreFull) else "another program keeps it locked"
        raise type(error)(
            f"{db_path} is {chosen} now, but could not be brought up to date: {reason}.",
            next_step="Look into that, then restore it again, which only does what is left.",
        ) from error


def _overwrite(db_path: Path, incoming: Path, kept: Path, *, again: bool) -> str | None:
    """Keep a copy of the database, then copy the backup into it in one transaction; what prevented it, if anything.

    If the database is what the backup is and ``again`` says that something was kept before, that is left alone.
    """
    copy = incoming.with_name("before.db")
    try:
        with sqlite_errors(db_path):
            with closing(_connect(db_path)) as original:
                _copy_database(original, copy)
            if again and _same_pages(copy, incoming):
                return None
            publish(copy, kept)
            try:
                with closing(_connect(incoming)) as source, closing(_connect(db_path)) as target:
                    source.backup(target, progress=_give_up_when_locked)
            except Exception:
                kept.unlink()  # it is what the database still is
                raise
    except sqlite3.DatabaseError as error:
        code = sqlite_code(error)
        if code & 0xFF not in _NOT_USABLE and code not in _NOT_READABLE:
            raise
        return str(error)
    return None


def _same_pages(one: Path, other: Path) -> bool:
    """Whether two single-file databases hold the same; the header counts changes and may differ."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        left.seek(_HEADER_BYTES)
        right.seek(_HEADER_BYTES)
        chunks = zip(iter(partial(left.read, _CHUNK), b""), iter(partial(right.read, _CHUNK), b""), strict=True)
        return all(a == b for a, b in chunks)


def _give_up_when_locked(status: int, _remaining: int, _total: int) -> None:
    """Python's backup() would go on trying for ever."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise StoreBusy(
            "Another program keeps writing to the database; it was left as it is.",
            next_step="Try again; if it stays, stop the program that writes.",
        )


def _swap(db_path: Path, incoming: Path, kept: Path) -> None:
    """Move what is left of the database aside, its log with it, and rename the backup into its place."""
    _require_not_open(db_path)
    mode = GROUP_READABLE
    if db_path.exists():
        mode = db_path.stat().st_mode
        db_path.replace(kept)
    for suffix in _COMPANIONS:
        if _beside(db_path, suffix).exists():
            _beside(db_path, suffix).replace(_beside(kept, suffix))
    publish(incoming, db_path)
    db_path.chmod(mode)


def _require_not_open(db_path: Path) -> None:
    """Raise StoreBusy if another process has the database open; SQLite itself can no longer say so."""
    for file, (start, length) in ((db_path, _DATABASE_LOCKS), (_beside(db_path, "-shm"), _SHM_IN_USE)):
        if not file.exists():
            continue
        with file.open("r+b") as stream:
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
            except OSError as error:
                raise StoreBusy(
                    f"The damaged database {db_path} is still open in another program; it was left as it is.",
                    next_step="Stop the web application, restore, and start it again.",
                ) from error


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to whatever is there, without asking for our tables."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)


def _kept_prefix(db_path: Path) -> str:
    return f"{db_path.name}.before-restore-"


def _new_kept(db_path: Path, now: datetime) -> Path:
    """A name for what a restore keeps that no other restore has used."""
    stamp = f"{_kept_prefix(db_path)}{now.astimezone(ZONE):%Y%m%d_%H%M%S}"
    names = (f"{stamp}_{n}" if n > 1 else stamp for n in count(1))
    return next(path for name in names if not (path := db_path.with_name(name)).exists())


def _kept_databases(db_path: Path) -> list[Path]:
    """What earlier restores kept: one, or more after a kill."""
    prefix = _kept_prefix(db_path)
    return sorted(
        path
        for path in db_path.parent.iterdir()
        if path.name.startswith(prefix) and path.name.removeprefix(prefix).replace("_", "").isdigit()
    )


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(f"{database.name}{suffix}")
