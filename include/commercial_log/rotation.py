"""Dated workbooks older than a week move into monthly ZIP archives, archives older than a year go (R44-R47)."""

import copy
import hashlib
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import IO
from zipfile import ZipFile, ZipInfo

from include.commercial_log import workbook
from include.commercial_log.config import DataRoot, Settings
from include.common import locks
from include.common.days import refuse_day_to_come
from include.common.files import GROUP_READABLE, publish, sha256_of, temporary_beside
from include.common.journal import RunLog
from include.common.results import StepResult
from include.errors import CheckFailed, PermanentError

JOB = "commercial_log_rotation"
_ARCHIVE = re.compile(r"^commercial-logs-(\d{4})-(0[1-9]|1[0-2])\.zip$")


def archive_of(data: DataRoot, day: date) -> Path:
    """Where the workbook of a day lies once it is archived."""
    return data.archive / f"commercial-logs-{day:%Y-%m}.zip"


def list_archives(data: DataRoot) -> dict[date, Path]:
    """The monthly archives by the first day of their month, oldest first."""
    if not data.archive.is_dir():
        return {}
    named = ((_ARCHIVE.match(path.name), path) for path in data.archive.iterdir())
    return dict(sorted((date(int(match[1]), int(match[2]), 1), path) for match, path in named if match))


def rotate_files(data: DataRoot, *, day: date, today: date, settings: Settings) -> StepResult:
    """Move dated workbooks past ``keep_days`` into their month's archive and delete archives past ``keep_months``.

    ``day`` is the run date, ``today`` the local calendar day, whose file is never archived. A workbook is removed, its
    sidecar with it, only after the published archive was proven to hold it byte for byte. An archive that cannot be
    extended is left as it is, its workbooks too, and fails the run when everything else is done.

    Re-run: safe; nothing is left to do. After a kill at any point the next run finishes the work.
    Raises CheckFailed for damaged archives, StoreFull, RequestRefused for a day to come, AlreadyRunning, StoreBusy
    while another job reads or writes dated workbooks.
    """
    with data.recording(JOB, day) as run, locks.hold(data.files_lock, JOB):
        refuse_day_to_come(
            day, today, what="commercial_log", next_step="Trigger the rotation without a date, or with today's."
        )
        due = _due_by_month(data, before=min(day - timedelta(days=settings.keep_days), today))
        archived: dict[str, int] = {}
        size = 0
        failures: list[PermanentError] = []
        with run.phase("archive", percent=75):
            for archive, workbooks in due.items():
                try:
                    size += _archive(archive, workbooks, run)
                    archived[archive.name] = len(workbooks)
                except PermanentError as error:
                    run.warn(str(error))
                    failures.append(error)
        with run.phase("delete old archives", percent=100):
            deleted = _delete_expired(data, day, settings.keep_months, run)
        if failures:
            raise _all_of(failures)
        run.facts.update(archived=sum(archived.values()), deleted=len(deleted))
        return StepResult(
            where=str(data.archive),
            read=sum(map(len, due.values())),
            written=sum(archived.values()),
            bytes=size,
            warnings=tuple(run.warnings),
            facts={"archived": archived, "archives_deleted": deleted, **run.durations},
        )


def _due_by_month(data: DataRoot, *, before: date) -> dict[Path, dict[date, Path]]:
    """The workbooks named for a day before ``before``, by day, by the archive they belong to, oldest first."""
    due: dict[Path, dict[date, Path]] = defaultdict(dict)
    for day, path in workbook.list_dated(data.daily).items():
        if day < before:
            due[archive_of(data, day)][day] = path
    return due


def _archive(archive: Path, workbooks: Mapping[date, Path], run: RunLog) -> int:
    """Make sure that the archive holds the workbooks, then remove them; returns the bytes written."""
    size = 0
    if damage := _damage(archive):
        raise CheckFailed(
            f"commercial_log: the archive {archive.name} is damaged ({damage}); its month was skipped, the workbooks "
            "were kept.",
            next_step=f"Restore {archive} from a backup or move it away, then clear the task.",
        )
    if missing := _not_held(archive, workbooks):
        with temporary_beside(archive) as temporary:
            _write(temporary, archive, missing)
            _verify(temporary, archive, workbooks)
            size = temporary.stat().st_size
            publish(temporary, archive)
    for path in workbooks.values():
        # The sidecar first: a workbook that outlives a kill is found again, a lonely sidecar is not.
        workbook.sidecar_path(path).unlink(missing_ok=True)
        path.unlink()
    run.say(f"{archive.name}: {len(missing)} workbooks written, {len(workbooks)} removed")
    return size


def _write(new: Path, old: Path, workbooks: Mapping[date, Path]) -> None:
    """Write the members of ``old``, if there is one, and the workbooks, which replace members of their name."""
    added = {path.name for path in workbooks.values()}
    with ZipFile(new, "w") as target:  # stored: a workbook is compressed already
        if old.exists():
            with ZipFile(old) as source:
                for name, member in _by_name(source).items():
                    if name not in added:
                        with source.open(member) as content:
                            _add(target, copy.copy(member), content)
        for day, path in workbooks.items():
            # Dated as the name says: the same workbooks make the same archive.
            member = ZipInfo(path.name, date_time=(day.year, day.month, day.day, 0, 0, 0))
            member.external_attr = GROUP_READABLE << 16
            with path.open("rb") as content:
                _add(target, member, content)


def _add(target: ZipFile, member: ZipInfo, content: IO[bytes]) -> None:
    with target.open(member, "w") as sink:
        shutil.copyfileobj(content, sink)


def _verify(new: Path, old: Path, workbooks: Mapping[date, Path]) -> None:
    fault = _damage(new) or ", ".join(_not_arrived(new, old, workbooks))
    if fault:
        raise CheckFailed(
            f"commercial_log: {old.name} was not changed, its new copy failed the check ({fault}); the workbooks were "
            "kept.",
            next_step="Check the disk and its log, then clear the task.",
        )


def _not_arrived(new: Path, old: Path, workbooks: Mapping[date, Path]) -> list[str]:
    """The workbooks, and the members that were to stay, that the new archive does not hold as they are."""
    missing = [path.name for path in _not_held(new, workbooks).values()]
    if not old.exists():
        return missing
    with ZipFile(old) as source, ZipFile(new) as target:
        present = {name: (member.CRC, member.file_size) for name, member in _by_name(target).items()}
        replaced = {path.name for path in workbooks.values()}
        return missing + [
            name
            for name, member in _by_name(source).items()
            if name not in replaced and present.get(name) != (member.CRC, member.file_size)
        ]


def _damage(archive: Path) -> str | None:
    """What is wrong with an archive if not every member can be read and has the CRC it was stored with."""
    if not archive.exists():
        return None
    try:
        with ZipFile(archive) as members:
            damaged = members.testzip()
    except Exception as error:  # zipfile raises half a dozen kinds for a damaged file
        return f"{type(error).__name__}: {error}"
    return f"the CRC of {damaged} is wrong" if damaged else None


def _not_held(archive: Path, workbooks: Mapping[date, Path]) -> dict[date, Path]:
    """The workbooks that a readable archive does not hold byte for byte."""
    if not archive.exists():
        return dict(workbooks)
    with ZipFile(archive) as members:
        names = members.namelist()
        return {
            day: path
            for day, path in workbooks.items()
            if path.name not in names or _sha256_of_member(members, path.name) != sha256_of(path)
        }


def _by_name(members: ZipFile) -> dict[str, ZipInfo]:
    """The members by name; of several with one name the last, as every reader takes it."""
    return {member.filename: member for member in members.infolist()}


def _sha256_of_member(members: ZipFile, name: str) -> str:
    with members.open(name) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # it has readinto


def _delete_expired(data: DataRoot, day: date, keep_months: int, run: RunLog) -> list[str]:
    deleted = []
    for month, archive in list_archives(data).items():
        if (day.year - month.year) * 12 + day.month - month.month > keep_months:
            archive.unlink()
            run.say(f"{archive.name} deleted: older than {keep_months} months")
            deleted.append(archive.name)
    return deleted


def _all_of(failures: list[PermanentError]) -> PermanentError:
    if len(failures) == 1:
        return failures[0]
    return CheckFailed(
        " ".join(failure.what for failure in failures),
        next_step=" ".join(failure.next_step for failure in failures),
    )
