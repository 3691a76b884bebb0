"""Stage 1, first half: the reporting host's list of users becomes the snapshot of a day, kept for good (R6-R9).

The host holds the newest list only. What is not taken on its day is lost.
"""

import codecs
import json
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

from include.common import locks, shares
from include.common.files import require_space, sha256_of, temporary_beside
from include.common.filesets import JOURNAL, publish_together, staging, write_staged
from include.common.journal import RunLog
from include.common.results import StepResult
from include.common.shares import FetchedFile, Share
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.privacy import masked
from include.cvas.records import read_records, unreadable
from include.cvas.stage import stage
from include.errors import (
    ContractViolation,
    PipelineError,
    RequestRefused,
    SourceChanging,
    SourceMissing,
    SourceUnavailable,
    StaleInput,
)

JOB = "cvas_snapshot"
FETCHED = "fetched.csv"
COLUMNS = ("cpc", "content_provider", "service_name", "last_billed_amount", "tme_category", "channel_desc", "count")
SMALLEST = 100
# On the day after the snapshot's, in ZONE.
WAIT_UNTIL = time(23)
# The first half of a file can look like all of it; who writes pauses for less.
QUIET = timedelta(minutes=2)
# From there on a number is none: doubles hold smaller ones exactly, and 64 bits their sums.
LARGEST = 10**12

_NAME = re.compile(r"(?P<day>[0-9]{8}).*_NBS_Base\.csv", re.DOTALL)
_CPC = re.compile(r"[+-]?[0-9]+(?:\.0*)?")
_COUNT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class SnapshotRow(NamedTuple):
    """What counts of a row: names as they stand in the file, users without a fraction."""

    cpc: int
    service: str
    category: str
    users: int


@dataclass(frozen=True)
class Accepted:
    """The newest file that was taken from the host: for which day, and how it was recognised."""

    day: str
    source: str
    mtime: float
    size: int
    sha256: str


# --- the folder -------------------------------------------------------------------------------------------------------


def list_snapshots(lake: Lake) -> dict[date, Path]:
    """The snapshots by their day, oldest first (R10).

    Raises ContractViolation naming both files if a day has two.
    """
    return {day: _only(day, paths) for day, paths in _files_by_day(lake).items()}


def has_snapshot(lake: Lake, day: date) -> bool:
    """Whether a file is there for the day, whatever else the folder holds."""
    return day in _files_by_day(lake)


def _files_by_day(lake: Lake) -> dict[date, list[Path]]:
    """Every file that is named like a snapshot, by its day, oldest first; more than one of a day is an error, but not
    everybody's."""
    by_day: dict[date, list[Path]] = defaultdict(list)
    for path in _files(lake.snapshots):
        if day := _day_of(path.name):
            by_day[day].append(path)
    return dict(sorted(by_day.items()))


def _only(day: date, paths: Sequence[Path]) -> Path:
    if len(paths) > 1:
        raise ContractViolation(
            f"{paths[0].parent} holds {len(paths)} snapshots of {day}: "
            f"{' and '.join(path.name for path in sorted(paths))}; nothing was changed.",
            next_step="Move the wrong one out of the folder, then clear the task.",
        )
    return paths[0]


def snapshot_path(lake: Lake, day: date) -> Path:
    """Where the snapshot of a day is stored."""
    return lake.snapshots / f"{day:%Y%m%d}_NBS_Base.csv"


def list_strangers(lake: Lake) -> list[str]:
    """The names in the snapshots' folder that are none of a snapshot."""
    return sorted(path.name for path in _files(lake.snapshots) if _day_of(path.name) is None)


@contextmanager
def writing_user_base(lake: Lake, job: str, run: RunLog) -> Iterator[Path]:
    """Hold the lock of snapshots and aggregates, and finish what a killed run had begun to publish; yields the
    staging folder, empty, in which JOURNAL is the journal of what is published.

    Raises AlreadyRunning or StoreBusy.
    """
    with (
        locks.hold(lake.user_base_lock, job),
        staging(lake.staging / "user_base", run, what="A run of the user base") as folder,
    ):
        yield folder


def _files(folder: Path) -> list[Path]:
    """Hidden ones are nobody's concern."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_file() and not entry.name.startswith(".")]


def _day_of(name: str) -> date | None:
    match = _NAME.fullmatch(name)
    if not match:
        return None
    try:
        return date.fromisoformat(match["day"])
    except ValueError:
        return None


# --- one file ---------------------------------------------------------------------------------------------------------


def decode(data: bytes) -> str:
    """The text of a snapshot, which as a whole is UTF-8, else cp1252, else latin-1 (R11)."""
    data = data.removeprefix(codecs.BOM_UTF8)
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def read_rows(data: bytes, *, name: str) -> list[SnapshotRow]:
    """Every row of a snapshot, in file order; errors call it ``name``.

    Raises ContractViolation naming line and column if the header is another one, there is no row, or one row cannot
    be read: a snapshot counts as a whole or not at all (R15).
    """
    text = decode(data)
    if text.lstrip()[:1] == "<":
        raise unreadable(f"{name}, line 1: a web page instead of a snapshot", name)
    records = read_records(text, name=name)
    header = next(records, None)
    if header is None or tuple(header.cells) != COLUMNS:
        raise unreadable(f"{name}, line 1: {_wrong_header(header.cells if header else [])}", name)
    rows = [
        SnapshotRow(
            _number(_CPC, cells[0], "cpc", line, name),
            cells[2],
            cells[4],
            _number(_COUNT, cells[6], "count", line, name),
        )
        for line, cells in records
    ]
    if not rows:
        raise unreadable(f"{name}: no row below the header", name)
    return rows


def _wrong_header(found: list[str]) -> str:
    missing = [each for each in COLUMNS if each not in found]
    unknown = [each for each in found if each not in COLUMNS]
    faults = [f"{', '.join(map(repr, missing))} missing"] * bool(missing)
    faults += [f"{', '.join(map(repr, unknown))[:120]} not known"] * bool(unknown)
    return f"not the header of a snapshot: {', '.join(faults) or 'columns in another order'}"


def total_users(rows: Iterable[SnapshotRow]) -> int:
    return sum(row.users for row in rows)


def ends_complete(data: bytes) -> bool:
    """Whether the last line ends like one: without its end it may have lost the last digits."""
    return data.endswith((b"\n", b"\r"))


def _number(form: re.Pattern[str], cell: str, column: str, line: int, name: str) -> int:
    """The integer part, toward zero (R14)."""
    text = cell.strip()
    if not form.fullmatch(text) or not -LARGEST < (number := float(text)) < LARGEST:
        raise unreadable(f"{name}, line {line}, column '{column}': {cell[:40]!r} is no number", name)
    return int(number)


# --- from the host ----------------------------------------------------------------------------------------------------


def snapshot_delay(
    share: AbstractContextManager[Share], lake: Lake, *, day: date, now: datetime, settings: Settings
) -> str | None:
    """Why the host's file is not yet that of ``day``; None if it is, or if there is nothing to wait for (R7).

    Only yesterday's file can be waited for, until a snapshot of the day is there, and not after WAIT_UNTIL: what is
    missing by then, the download says while the day can still be told from an old one. The file is read whole: one that
    is no complete snapshot, or that was written a moment ago, is not ready either. A host that cannot be reached is
    waited for as well, as a snapshot that nobody fetched that day is lost for good (B12).

    Raises CredentialRefused.
    """
    accepted, local = _read_accepted(lake), now.astimezone(ZONE)
    if day != local.date() - timedelta(days=1) or local.time() >= WAIT_UNTIL or has_snapshot(lake, day):
        return None
    with tempfile.TemporaryDirectory(prefix="cvas-") as folder:
        staged = Path(folder) / FETCHED
        try:
            fetched = _fetch(share, staged, settings)
            if stale := _staleness(fetched, accepted, day=day, now=now, settings=settings):
                return stale
            _checked_rows(staged, fetched.source)
        except (SourceMissing, SourceChanging, SourceUnavailable, ContractViolation) as error:
            return masked(error.what)  # no stage does it here (R5)
    if now.timestamp() - fetched.mtime < QUIET.total_seconds():
        written = datetime.fromtimestamp(fetched.mtime, ZONE)
        minutes = QUIET // timedelta(minutes=1)
        return (
            f"{fetched.source} was written {written:%Y-%m-%d %H:%M}, less than {minutes} minutes ago: it may not be "
            "all."
        )
    return None


def check_host(share: AbstractContextManager[Share], *, settings: Settings) -> StepResult:
    """Find the host's file without fetching it: ``bytes`` is its size, ``facts["written_at"]`` when it was written, an
    ISO text in ZONE.

    Raises SourceMissing naming what is there instead, SourceUnavailable, CredentialRefused.
    """
    with share as host:
        path = shares.resolve(host, settings.snapshot_path)
        try:
            found = host.stat(path)
        except OSError as error:
            raise SourceUnavailable(
                f"{host.name}: '{path}' cannot be looked at ({type(error).__name__}).",
                next_step="Try again; if it stays, ask the owner of the host.",
            ) from error
        written = datetime.fromtimestamp(found.st_mtime, ZONE)
        return StepResult(
            where=f"{host.name}:/{path}",
            bytes=found.st_size,
            facts={"written_at": written.isoformat(timespec="seconds")},
        )


def download_snapshot(
    share: AbstractContextManager[Share],
    lake: Lake,
    *,
    day: date,
    now: datetime,
    today: date,
    settings: Settings,
    force: bool = False,
) -> StepResult:
    """Keep the host's file as the snapshot of ``day``, which has to be yesterday; ``force`` accepts any total (R6-R9).

    ``today`` is the local calendar day. For an earlier day the host has nothing any more: the snapshot that is there
    stays as it is, one that is not there is a warning. A file that a person stored for the day is its snapshot as long
    as the host has no fit one.

    Re-run: safe; the same file changes nothing, a newer one of the same day replaces it.
    Raises StaleInput for a file too old, or not newer than the one accepted before; ContractViolation for one that is
    no complete snapshot or whose total is far from the one before, and if ``day`` has two already; RequestRefused for a
    day that is not over; SourceMissing, SourceChanging, SourceUnavailable or CredentialRefused for the host;
    AlreadyRunning, StoreBusy, StoreFull.
    """
    with stage(lake, JOB, day, now=now, settings=settings) as run, writing_user_base(lake, JOB, run) as folder:
        if day >= today:
            raise RequestRefused(
                f"cvas: {day} is not over (today is {today}), so there is no snapshot of it.",
                next_step="Use a day before today.",
            )
        if day < today - timedelta(days=1):
            return _old_day(lake, day, run)
        newest = next(reversed(_files_by_day(lake).values()), [])
        require_space(lake.root, sum(path.stat().st_size for path in newest))
        try:
            with run.phase("fetch from the host", percent=50):
                fetched = _fetch(share, folder / FETCHED, settings)
            return _accept(fetched, folder, lake, run, settings, day=day, now=now, force=force)
        except (SourceMissing, SourceChanging, SourceUnavailable, StaleInput, ContractViolation) as error:
            if not (stored := _stored_by_hand(lake, day)):
                raise
            return _keep_stored(stored, error, lake, run, settings, day=day, force=force)


def _stored_by_hand(lake: Lake, day: date) -> Path | None:
    """The day's file, unless it is the one that was taken from the host."""
    paths, accepted = _files_by_day(lake).get(day), _read_accepted(lake)
    if not paths:
        return None
    path = _only(day, paths)
    return None if accepted and (accepted.day, accepted.sha256) == (str(day), sha256_of(path)) else path


def _keep_stored(
    path: Path, error: PipelineError, lake: Lake, run: RunLog, settings: Settings, *, day: date, force: bool
) -> StepResult:
    rows = _checked_rows(path, path.name)
    _check_total(rows, path.name, _earlier(lake, day), run, settings, force=force)
    run.warn(
        f"{path.name}, which somebody stored, is the snapshot of {day}; that of the host was not taken: {error.what}"
    )
    run.facts.update(rows=len(rows), users=total_users(rows), snapshot="kept")
    return StepResult(
        where=str(path),
        read=len(rows),
        bytes=path.stat().st_size,
        warnings=tuple(run.warnings),
        facts={"action": "kept", "day": str(day), "users": total_users(rows), **run.durations},
    )


def _earlier(lake: Lake, day: date) -> list[Path]:
    """The snapshots of the days before, oldest first; of two snapshots of a day nobody knows the right one."""
    return [paths[0] for each, paths in _files_by_day(lake).items() if each < day and len(paths) == 1]


def _old_day(lake: Lake, day: date, run: RunLog) -> StepResult:
    paths = _files_by_day(lake).get(day)
    path = _only(day, paths) if paths else None
    if path:
        run.say(f"{path.name} is there and {day} is over: left as it is")
    else:
        run.warn(
            f"snapshot missing for {day}: the host only keeps the newest, so it cannot be fetched any more and the day "
            f"goes on without it. If somebody has kept that file, store it as {snapshot_path(lake, day)} and clear the "
            "run."
        )
    action = "kept" if path else "missing"
    run.facts["snapshot"] = action
    return StepResult(
        where=str(path or lake.snapshots), warnings=tuple(run.warnings), facts={"action": action, "day": str(day)}
    )


def _fetch(share: AbstractContextManager[Share], target: Path, settings: Settings) -> FetchedFile:
    with temporary_beside(target) as temporary, share as opened:
        fetched = shares.fetch(opened, shares.resolve(opened, settings.snapshot_path), temporary)
        temporary.replace(target)
    return fetched


def _accept(
    fetched: FetchedFile,
    folder: Path,
    lake: Lake,
    run: RunLog,
    settings: Settings,
    *,
    day: date,
    now: datetime,
    force: bool,
) -> StepResult:
    """Put the fetched file in place if it is all it has to be."""
    by_day, state = _files_by_day(lake), _state_path(lake)
    existed = day in by_day
    target = _only(day, by_day[day]) if existed else snapshot_path(lake, day)
    staged = folder / FETCHED
    sha256 = sha256_of(staged)
    accepted, new = _read_accepted(lake), Accepted(str(day), fetched.source, fetched.mtime, fetched.size, sha256)
    if accepted is None and state.exists():
        run.warn(f"{state} is damaged; that the host's file is a new one is only known from its age.")
    unchanged = existed and sha256_of(target) == sha256
    if not (unchanged and accepted == new) and (
        stale := _staleness(fetched, accepted, day=day, now=now, settings=settings)
    ):
        raise StaleInput(
            f"stale snapshot: {stale} Nothing was stored for {day}.",
            next_step="Ask the reporting team to write the file; clear the task on the same day, later it is lost.",
        )
    rows = _checked_rows(staged, fetched.source)
    if not unchanged:
        _check_total(rows, fetched.source, _earlier(lake, day), run, settings, force=force)
    files = {} if unchanged else {target: staged}
    if accepted != new:
        files[state] = write_staged(folder / state.name, (json.dumps(asdict(new), indent=1) + "\n").encode())
    if files:
        publish_together(folder / JOURNAL, files)
    action = "unchanged" if unchanged else "replaced" if existed else "created"
    if action == "replaced":
        run.warn(f"{target.name} existed already; it was replaced by the file that the host wrote since.")
    users = total_users(rows)
    run.say(f"100 % | {action} {target.name}: {len(rows):,} rows, {fetched.size:,} bytes, {users:,} users")
    run.facts.update(rows=len(rows), users=users, snapshot=action)
    return StepResult(
        where=str(target),
        read=len(rows),
        written=0 if unchanged else len(rows),
        bytes=fetched.size,
        warnings=tuple(run.warnings),
        facts={"action": action, "day": str(day), "users": users, "sha256": sha256, **run.durations},
    )


def _checked_rows(staged: Path, name: str) -> list[SnapshotRow]:
    """The rows of a file as it has to arrive (R6)."""
    data = staged.read_bytes()
    if len(data) < SMALLEST:
        raise unreadable(f"{name}: {len(data)} bytes, a snapshot has at least {SMALLEST}", name)
    rows = read_rows(data, name=name)
    if not ends_complete(data):
        last = len(decode(data).splitlines())
        raise unreadable(f"{name}, line {last}: the last line is not complete, it has no end", name)
    return rows


def _check_total(
    rows: Sequence[SnapshotRow],
    name: str,
    earlier: Sequence[Path],
    run: RunLog,
    settings: Settings,
    *,
    force: bool,
) -> None:
    """Compare the total with that of the newest of the earlier snapshots that can be read (R7)."""
    for path in reversed(earlier):
        try:
            known = read_rows(path.read_bytes(), name=path.name)
        except ContractViolation as fault:
            run.warn(f"{name} is compared with an earlier snapshot, because of {fault.what}")
            continue
        users, before = total_users(rows), total_users(known)
        change = abs(users - before) / before if before else float(users != 0)
        relation = "more" if users > before else "less"
        what = f"{name}: {users:,} users, {change:.1%} {relation} than the {before:,} of {path.name}"
        if change > settings.snapshot_max_change and not force:
            raise ContractViolation(
                f"{what}; allowed are {settings.snapshot_max_change:.0%}. Nothing was stored.",
                next_step="Ask the reporting team whether that is right; if so, trigger with force.",
            )
        if change > settings.snapshot_warn_change:
            run.warn(f"{what}.")
        if rows == known:
            run.warn(f"{name} holds the same rows as {path.name}; ask the reporting team whether it is new.")
        return


def _staleness(
    fetched: FetchedFile, accepted: Accepted | None, *, day: date, now: datetime, settings: Settings
) -> str | None:
    """In what way the host's file is not the fresh one of ``day`` (R7)."""
    written = datetime.fromtimestamp(fetched.mtime, ZONE)
    what = f"{fetched.source} was written {written:%Y-%m-%d %H:%M}"
    if accepted and (fetched.mtime < accepted.mtime or (fetched.mtime == accepted.mtime and accepted.day != str(day))):
        before = datetime.fromtimestamp(accepted.mtime, ZONE)
        return f"{what}, not after the one accepted for {accepted.day} ({before:%Y-%m-%d %H:%M})."
    age = (now - written) / timedelta(hours=1)
    if abs(age) > settings.snapshot_max_age_hours:
        relation = "ago" if age > 0 else "ahead of this machine's clock"
        return f"{what}, {abs(age):.0f} hours {relation}; allowed are {settings.snapshot_max_age_hours}."
    return None


def _state_path(lake: Lake) -> Path:
    return lake.state / "snapshots.json"


def _read_accepted(lake: Lake) -> Accepted | None:
    """None as well if the note cannot be read: then the file's age alone decides."""
    try:
        return Accepted(**json.loads(_state_path(lake).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
