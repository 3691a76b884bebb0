"""Copies of what no source gives back as it was: the view, the catalogue, the lake's state; and the way back.

The partitions themselves can be had again from the source or the historical files. Who wants more has old months copied
to the same place, see :func:`archive_months`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from include.common import locks
from include.common.backups import Generations
from include.common.files import require_space, sha256_of
from include.common.filesets import JOURNAL, finish, publish_together
from include.common.journal import RunLog
from include.common.objectstores import ObjectStore
from include.common.results import StepResult
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import TYPES
from include.cvas.lake import UNDATED, partition_files, read_state, reading, staging_of
from include.cvas.mastercpc import read_mastercpc
from include.cvas.stage import stage
from include.cvas.view import read_view_state
from include.errors import CheckFailed, RequestRefused, SourceMissing, StoreBusy

JOB = "cvas_backup"
RESTORE_JOB = "cvas_restore"
ARCHIVE_JOB = "cvas_archive"
_BACKUPS = Generations("cvas_backup", ".zip", ZONE)
_BEFORE = Generations("cvas_before_restore", ".zip", ZONE)
_MEMBER = re.compile(r"Parquet_Data/aggregated/subscriptions\.parquet|MASTERCPC\.csv|_state/(?!.*\.\.).+[^/]")
_ARCHIVED = re.compile(r"([a-z]+_\d{4}-\d{2})_[0-9a-f]{16}\.parquet")


def back_up(store: ObjectStore, lake: Lake, *, day: date, now: datetime, settings: Settings) -> StepResult:
    """Store ``subscriptions.parquet``, ``MASTERCPC.csv`` and ``_state`` as ``cvas_backup_YYYYMMDD_HHMMSS.zip``.

    All of it is of one moment: nobody changes view, lake or user base while it is packed. The view is compared with its
    own manifest first, the archive is read from end to end, and what arrived is compared by its hash; only then backups
    beyond ``keep_backups`` are deleted. What is not there yet is left out, with a warning. Needs free disk space of the
    view's size below the lake.

    Re-run: safe; makes another backup.
    Raises SourceMissing if there is nothing at all, CheckFailed if something is damaged, StoreBusy, StoreFull,
    AlreadyRunning, and what the store raises; in every case all older backups are still there.
    """
    with stage(lake, JOB, day, now=now, settings=settings) as run, _workplace(lake, JOB) as folder:
        name = _BACKUPS.name_at(now)
        packed = folder / name
        with run.phase("pack", percent=40), _standing_still(lake, JOB):
            _require_sound(lake, run)
            files = _pack(lake, packed)
        with run.phase("check", percent=50):
            _members(packed, name)
        with run.phase("upload and verify", percent=90):
            store.put(packed, name)
        with run.phase("delete old backups", percent=100):
            kept, deleted = _BACKUPS.prune(store, newest=name, keep=settings.keep_backups)
        size = packed.stat().st_size
        run.say(f"{store.where}/{name}: {files} files, {size:,} bytes; deleted {', '.join(deleted) or 'none'}")
        run.facts.update(backup=name, bytes=f"{size:,}")
        return StepResult(
            where=f"{store.where}/{name}",
            read=files,
            written=1,
            bytes=size,
            warnings=tuple(run.warnings),
            facts={"backup": name, "kept": kept, "deleted": deleted, **run.durations},
        )


def list_backups(store: ObjectStore) -> list[str]:
    """The names of all backups, newest first, then what restores replaced; other objects in that place are not ours."""
    return [*_BACKUPS.names(store), *_BEFORE.names(store)]


def restore_backup(
    store: ObjectStore,
    lake: Lake,
    *,
    confirm: bool,
    name: str | None = None,
    day: date,
    now: datetime,
    settings: Settings,
) -> StepResult:
    """Put view, catalogue and state of a backup, the newest unless ``name`` says which, in place, all at once.

    The backup is fetched and read from end to end before anything is touched. What was there goes to the store first,
    as ``cvas_before_restore_YYYYMMDD_HHMMSS.zip``, until the next restore; that name as ``name`` undoes the restore.
    Partitions stay as they are: those that are newer than the state are taken as they are by the next load, and the
    next view is built from nothing.

    Needs free disk space of three views below the lake. Re-run: safe; a kill leaves the old or, once the next load has
    begun, the new files.
    Raises RequestRefused without ``confirm``, SourceMissing if there is no such backup, CheckFailed if it is damaged,
    StoreBusy while a run is at work, StoreFull, AlreadyRunning, and what the store raises; in every case everything is
    as it was.
    """
    if not confirm:
        raise RequestRefused(
            "cvas: restoring replaces view, catalogue and state.", next_step="Give confirm if that is what you want."
        )
    with stage(lake, RESTORE_JOB, day, now=now, settings=settings) as run, _workplace(lake, RESTORE_JOB) as folder:
        fetched = folder / "backup.zip"
        with run.phase("fetch and verify", percent=40):
            chosen = name if name in _BEFORE.names(store) else _BACKUPS.choose(store, name, others=_BEFORE.names(store))
            store.fetch(chosen, fetched)
            members = _members(fetched, chosen)
        with _standing_still(lake, RESTORE_JOB, alone=True):
            with run.phase("keep what is there", percent=80):
                before = _keep(store, lake, folder / _BEFORE.name_at(now))
            with run.phase("replace", percent=100):
                _replace(lake, fetched, members)
        run.say(f"{lake.root} has view, catalogue and state of {chosen} now; what was there is {before or 'nothing'}")
        run.facts.update(backup=chosen, files=len(members))
        return StepResult(
            where=str(lake.root),
            read=1,
            written=len(members),
            warnings=tuple(run.warnings),
            facts={"backup": chosen, "before": before, **run.durations},
        )


def archive_months(store: ObjectStore, lake: Lake, *, day: date, now: datetime, settings: Settings) -> StepResult:
    """Copy the partitions more than ``archive_after_months`` before ``day`` to the store; 0 is never (the default).

    They stay in the lake as well: a full rebuild of the view needs every month (R53 i), and 2 GB of history are no
    burden. An object is named after type, month and the file's SHA-256, so that only what is new or was changed is
    copied; what a changed file replaces is deleted when the new one has arrived and was compared.

    Re-run: safe; copies what is missing. Raises StoreBusy while the lake is written, AlreadyRunning, and what the store
    raises.
    """
    with stage(lake, ARCHIVE_JOB, day, now=now, settings=settings) as run, _workplace(lake, ARCHIVE_JOB) as folder:
        due: dict[str, Path] = {}
        if settings.archive_after_months:
            with reading(lake, ARCHIVE_JOB):
                due = _link_old_partitions(lake, folder, day, settings.archive_after_months)
        present = set(store.names()) if due else set()
        copied = sorted(due.keys() - present)
        for name in copied:
            store.put(due[name], name)
            run.say(f"{store.where}/{name}: {due[name].stat().st_size:,} bytes")
        # An object is superseded when its month has another one now.
        months = {_month_of_object(name) for name in due}
        superseded = sorted(name for name in present - due.keys() if _month_of_object(name) in months)
        for name in superseded:
            store.delete(name)
        run.facts.update(partitions=len(due), copied=len(copied), deleted=len(superseded))
        return StepResult(
            where=store.where,
            read=len(due),
            written=len(copied),
            bytes=sum(due[name].stat().st_size for name in copied),
            warnings=tuple(run.warnings),
            facts={"copied": copied, "deleted": superseded},
        )


@contextmanager
def _workplace(lake: Lake, job: str) -> Iterator[Path]:
    """An empty folder beside the lake for one run at a time."""
    folder = lake.staging / "backup"
    with locks.hold(lake.backup_lock, job):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


@contextmanager
def _standing_still(lake: Lake, job: str, *, alone: bool = False) -> Iterator[None]:
    """Nobody changes view, lake and user base; ``alone`` keeps readers out, too, and finishes what was killed."""
    with ExitStack() as held:
        owners = ("load", "view", "user_base")
        for owner in owners:
            held.enter_context(locks.hold(lake.staging_locks[owner], job, shared=not alone))
        for owner in owners:
            journal = lake.staging / owner / JOURNAL
            if not journal.exists():
                continue
            if not alone:
                raise StoreBusy(
                    f"{job} has to wait: a run was killed before all files of its {owner} were in place.",
                    next_step=f"Let the {owner} run again, for any day: it finishes them first.",
                )
            finish(journal)
            shutil.rmtree(journal.parent)
        yield


def _files(lake: Lake) -> list[Path]:
    """What a backup holds, as far as it is there; hidden files are unfinished ones."""
    return [*(path for path in (lake.subscriptions, lake.mastercpc) if path.exists()), *_state_files(lake)]


def _state_files(lake: Lake) -> list[Path]:
    return sorted(path for path in lake.state.rglob("*") if path.is_file() and not path.name.startswith("."))


def _pack(lake: Lake, target: Path) -> int:
    """Put all files into one archive, uncompressed, as Parquet is compressed already; how many."""
    files = _files(lake)
    require_space(target.parent, sum(path.stat().st_size for path in files))
    with ZipFile(target, "w", ZIP_STORED, strict_timestamps=False) as archive:
        for path in files:
            archive.write(path, path.relative_to(lake.root).as_posix())
    return len(files)


def _members(packed: Path, name: str) -> list[str]:
    """The names of all files in an archive, every one of them read and compared with its CRC.

    Raises CheckFailed if one is damaged or lies where no backup puts one.
    """
    try:
        with ZipFile(packed) as archive:
            members = archive.namelist()
            damaged = archive.testzip()
    except (BadZipFile, OSError, EOFError) as error:
        damaged = str(error)
    if damaged or not members or not all(_MEMBER.fullmatch(member) for member in members):
        raise CheckFailed(
            f"cvas: {name} is no sound backup ({damaged or 'it holds something else'}); nothing was changed.",
            next_step="Restore another one; a backup that was just made: check the disk, then clear the task.",
        )
    return members


def _require_sound(lake: Lake, run: RunLog) -> None:
    """Nothing damaged goes into a backup, or a week of it would push the last good one out."""
    if not _files(lake):
        raise SourceMissing(
            f"cvas: there is neither view nor catalogue nor state below {lake.root}.",
            next_step="Correct the path in the connection cvas_lake; a new lake has something after its first load.",
        )
    read_state(lake)
    if lake.mastercpc.exists():
        read_mastercpc(lake.mastercpc)
    else:
        run.warn(f"There is no {lake.mastercpc.name} to back up.")
    if not lake.subscriptions.exists():
        run.warn(f"There is no {lake.subscriptions.name} to back up.")
        return
    built = read_view_state(lake)
    if built is None:
        run.warn(f"Whether {lake.subscriptions.name} is sound is not known: nothing says what it should be.")
    elif sha256_of(lake.subscriptions) != built.sha256:
        raise CheckFailed(
            f"cvas: {lake.subscriptions} is not what the pipeline wrote; nothing was stored.",
            next_step="Trigger cvas_process with 'view only' and full_rebuild, then clear this task.",
        )


def _keep(store: ObjectStore, lake: Lake, packed: Path) -> str | None:
    """Store what a restore replaces, in place of what the last one replaced; its name, None if there is nothing."""
    if not _pack(lake, packed):
        return None
    store.put(packed, packed.name)
    _BEFORE.prune(store, newest=packed.name, keep=1)
    packed.unlink()
    return packed.name


def _replace(lake: Lake, packed: Path, members: list[str]) -> None:
    """Put the members of an archive in place, and take away what the state has besides."""
    # After a kill the next load goes on with this journal, and until then nobody reads (R35).
    staged = staging_of(lake)
    journal = staged / JOURNAL
    shutil.rmtree(staged, ignore_errors=True)
    try:
        with ZipFile(packed) as archive:
            archive.extractall(staged, members)
        files = {lake.root / member: staged / member for member in members}
        publish_together(journal, files, remove=[path for path in _state_files(lake) if path not in files])
    finally:
        if not journal.exists():
            shutil.rmtree(staged, ignore_errors=True)


def _link_old_partitions(lake: Lake, folder: Path, day: date, months: int) -> dict[str, Path]:
    """The old partitions' files by the name of their object, under links that no load takes away."""
    due = {}
    for kind in TYPES:
        for month, files in partition_files(lake, kind).items():
            if month == UNDATED or _months_between(month, day) <= months:
                continue
            for file in files:
                name = f"{kind.folder}_{month}_{sha256_of(file)[:16]}.parquet"
                due[name] = folder / name
                due[name].hardlink_to(file)
    return due


def _months_between(month: str, day: date) -> int:
    year, number = map(int, month.split("-"))
    return (day.year - year) * 12 + day.month - number


def _month_of_object(name: str) -> str:
    """``act_2024-01`` of ``act_2024-01_0123456789abcdef.parquet``; a name that is none of ours stays what it is."""
    match = _ARCHIVED.fullmatch(name)
    return match[1] if match else name
