"""The lake: monthly partitions of six types, what the pipeline knows about them, and the one way to change them.

A partition is one sorted file; what another system wrote may be several. Whoever reads the lake does so within
:func:`reading`, whoever changes it within :func:`writing`, whose :class:`Change` becomes visible as a whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.common import locks
from include.common.files import sync, temporary_beside
from include.common.filesets import JOURNAL, publish_together, staging, write_staged
from include.common.journal import RunLog
from include.common.tables import render_some
from include.cvas.config import Lake
from include.cvas.contract import TYPES, TransactionType
from include.cvas.privacy import masked
from include.errors import CheckFailed, StoreBusy

if TYPE_CHECKING:
    import polars as pl

# The partition of rows without a date; nothing new enters it (R28).
UNDATED = "__HIVE_DEFAULT_PARTITION__"
# Without a fixed size the bytes of a file depend on how its rows lay in memory.
ROWS_PER_GROUP = 122_880
NAMED = 10
_FOLDER = re.compile(r"year_month=(\d{4}-\d{2}|" + UNDATED + ")")
_TOUCHED_FILE = re.compile(r"(\d{6,})\.parquet")


# --- partitions ---------------------------------------------------------------------------------------------------


def month_of(day: date) -> str:
    """The partition of a day's rows."""
    return f"{day:%Y-%m}"


def partition_path(lake: Lake, kind: TransactionType, month: str) -> Path:
    """Where the pipeline writes a partition; ``month`` is ``YYYY-MM`` or ``UNDATED``."""
    return lake.transactions / kind.folder / f"year_month={month}" / "data.parquet"


def partition_name(kind: TransactionType, month: str) -> str:
    """How a partition is called in the state, in logs and in errors: ``act/2025-11``."""
    return f"{kind.folder}/{month}"


def partition_files(lake: Lake, kind: TransactionType) -> dict[str, list[Path]]:
    """The files of every partition of a type by month, both in order; ``UNDATED`` comes last.

    Raises CheckFailed for a parquet file that lies in no partition: other readers take its rows for ours.
    """
    found: dict[str, list[Path]] = {}
    root = lake.transactions / kind.folder
    for path in sorted(root.rglob("*.parquet")):
        folder = _FOLDER.fullmatch(path.relative_to(root).parts[0])
        if not folder:
            raise CheckFailed(
                f"cvas: {path} lies in no partition, yet whoever reads the lake reads it.",
                next_step="Move it out of the lake; if its rows are missing there, import them.",
            )
        found.setdefault(folder[1], []).append(path)
    return found


def read_partition(lake: Lake, kind: TransactionType, month: str) -> pl.DataFrame:
    """The rows of a partition in the columns and types of the contract, in file order; none if there is no file.

    Raises CheckFailed naming a file that cannot be read or has other columns.
    """
    import polars as pl

    frames = [read_partition_file(path, kind) for path in partition_files(lake, kind).get(month, [])]
    return pl.concat(frames, rechunk=False) if frames else pl.DataFrame(schema=kind.schema())


def read_partition_file(path: Path, kind: TransactionType) -> pl.DataFrame:
    """The rows of one file of a partition; see :func:`read_partition`."""
    import polars as pl

    with readable(path):
        frame = pl.read_parquet(path, hive_partitioning=False, glob=False)
    # Some writers repeat the folder's name inside.
    different = set(kind.column_names) ^ (set(frame.columns) - {"year_month"})
    if different:
        raise CheckFailed(
            f"cvas: {path} has other columns than agreed: {', '.join(sorted(different))}.",
            next_step=_replace_month(path),
        )
    with readable(path):
        return frame.select(pl.col(name).cast(dtype) for name, dtype in kind.schema().items())


def in_order(frame: pl.DataFrame, kind: TransactionType) -> pl.DataFrame:
    """The rows by date, then subscription, then everything else: equal rows lie in equal order, however they came."""
    first = [kind.event_date, kind.subscription]
    return frame.sort([*first, *(name for name in kind.column_names if name not in first)], nulls_last=True)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever polars and the system say about a partition file becomes CheckFailed naming it and what to do."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise CheckFailed(
            f"cvas: {path} cannot be read: {masked(str(error).strip().partition(chr(10))[0])[:200]}",
            next_step=_replace_month(path),
        ) from None


def _replace_month(path: Path) -> str:
    kind, folder = path.parts[-3], path.parts[-2]
    return f"Move it away, then fetch and load the days of {folder.partition('=')[2]} again, or import {kind} anew."


# --- what the pipeline knows --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedDay:
    """What was loaded for one type and day.

    ``source``: ``daily`` out of the day's files, ``partial`` likewise before the day was over or by an import that only
    adds rows (R32), ``historical`` imported, ``empty`` confirmed to have no rows at the source, ``found`` in a lake
    that something else had filled. ``sha256`` is that of the daily file.
    """

    rows: int
    source: str
    sha256: str | None = None


@dataclass(frozen=True)
class Fingerprint:
    """A partition as the pipeline left it; of several files the bytes in order, and the newest ``mtime_ns``."""

    rows: int
    bytes: int
    sha256: str
    mtime_ns: int


@dataclass
class LakeState:
    """What ``_state/lake.json`` holds.

    ``change`` numbers the changes the pipeline made to the lake; ``days`` what is loaded by day and type name;
    ``partitions`` the fingerprints by :func:`partition_name`, ``lost`` how many rows a partition had of a day (None:
    of no day) when something else than the pipeline took all of them away; what is loaded again is lost no more.
    """

    change: int = 0
    days: dict[date, dict[str, LoadedDay]] = field(default_factory=dict)
    partitions: dict[str, Fingerprint] = field(default_factory=dict)
    lost: dict[str, dict[date | None, int]] = field(default_factory=dict)

    def newest_full_day(self) -> date | None:
        """The newest day that is over and has all its types (R47); a type that may be empty need not have rows."""
        needed = {kind.name for kind in TYPES if not kind.may_be_empty}
        full = (
            day
            for day, types in self.days.items()
            if needed <= types.keys() and all(each.source != "partial" for each in types.values())
        )
        return max(full, default=None)

    def record(self, day: date, kind: TransactionType, loaded: LoadedDay) -> None:
        self.days.setdefault(day, {})[kind.name] = loaded
        name = partition_name(kind, month_of(day))
        if name in self.lost:
            self.lost[name].pop(day, None)
            if not self.lost[name]:
                del self.lost[name]

    def rows_lost(self) -> Counter[str]:
        """How many rows are lost, by :func:`partition_name`."""
        return Counter({name: sum(days.values()) for name, days in self.lost.items()})

    def forget(self, day: date, kind: TransactionType) -> None:
        self.days.get(day, {}).pop(kind.name, None)
        if not self.days.get(day, True):
            del self.days[day]


def state_file(lake: Lake) -> Path:
    return lake.state / "lake.json"


def touched_file(lake: Lake, change: int) -> Path:
    """The ids of the subscriptions whose rows a change removed or added: int64 ``subscription_id``, unique, in order.

    There is none for a change that rewrote history at large.
    """
    return lake.state / "touched" / f"{change:06d}.parquet"


def read_state(lake: Lake) -> LakeState:
    """What the pipeline knows about the lake; nothing if it never changed it.

    Raises CheckFailed if the file cannot be understood; the next change of the lake makes it anew.
    """
    path = state_file(lake)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return LakeState(
            change=int(stored["change"]),
            days={
                date.fromisoformat(day): {name: LoadedDay(**values) for name, values in types.items()}
                for day, types in stored["days"].items()
            },
            partitions={name: Fingerprint(**values) for name, values in stored["partitions"].items()},
            lost={
                name: {date.fromisoformat(day) if day else None: int(rows) for day, rows in days.items()}
                for name, days in stored.get("lost", {}).items()
            },
        )
    except FileNotFoundError:
        return LakeState()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckFailed(
            f"cvas: {path} is damaged ({type(error).__name__}).",
            next_step="Restore it from the newest backup, or load any day: that takes the partitions as they are.",
        ) from error


def check_fingerprints(lake: Lake, state: LakeState) -> list[str]:
    """The partitions that are not as the pipeline left them: changed, added or gone; ``[]`` if all are.

    Size and time decide; where they differ, the SHA-256 does.
    """
    found = {partition_name(kind, month): files for kind, month, files in _partitions_on_disk(lake)}
    changed = {name for name, files in found.items() if _is_changed(files, state.partitions.get(name))}
    return sorted(changed | (state.partitions.keys() - found.keys()))


def told_losses(lake: Lake, state: LakeState) -> str | None:
    """From which partitions something else than the pipeline took rows away that nobody brought back, how many, and
    what to do, in one sentence; also where no change of the lake has noticed it yet. None if nothing is lost.
    """
    rows = state.rows_lost()
    for name, known in state.partitions.items():
        folder, _, month = name.partition("/")
        if not any((lake.transactions / folder / f"year_month={month}").rglob("*.parquet")):
            rows[name] += known.rows
    if not rows:
        return None
    return (
        f"Something else than the pipeline took rows out of the lake: {_named_rows(rows)}; put the files back, fetch "
        "and load the days again (cvas_fetch), or import them; to accept the loss, trigger cvas_process with 'view "
        "only' and force."
    )


def accept_losses(lake: Lake, job: str, run: RunLog) -> None:
    """From now on nobody misses what something else took out of the lake; a warning names it. Raises as ``writing``."""
    with writing(lake, job, run) as change:
        if lost := change.state.rows_lost():
            run.warn(f"The loss of what something else took out of the lake is accepted: {_named_rows(lost)}.")
            change.state.lost.clear()
        change.publish(None)


def _named_rows(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,} rows)" for name, count in sorted(rows.items()))


def _partitions_on_disk(lake: Lake) -> list[tuple[TransactionType, str, list[Path]]]:
    return [(kind, month, files) for kind in TYPES for month, files in partition_files(lake, kind).items()]


def _is_changed(files: Sequence[Path], known: Fingerprint | None) -> bool:
    if known and (known.bytes, known.mtime_ns) == _size_and_time(files):
        return False
    return known is None or known.sha256 != _sha256_of_all(files)


def _fingerprint(files: Sequence[Path], rows: int) -> Fingerprint:
    size, mtime_ns = _size_and_time(files)
    return Fingerprint(rows=rows, bytes=size, sha256=_sha256_of_all(files), mtime_ns=mtime_ns)


def _size_and_time(files: Sequence[Path]) -> tuple[int, int]:
    stats = [path.stat() for path in files]
    return sum(each.st_size for each in stats), max(each.st_mtime_ns for each in stats)


def _sha256_of_all(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


# --- access -------------------------------------------------------------------------------------------------------


def staging_of(lake: Lake) -> Path:
    """Where the lake's new files are made; emptied whenever a change begins and ends."""
    return lake.staging / "load"


def _journal(lake: Lake) -> Path:
    return staging_of(lake) / JOURNAL


@contextmanager
def reading(lake: Lake, job: str) -> Iterator[None]:
    """Read partitions and state while nobody changes them.

    Raises StoreBusy while the lake is being changed, or if a change that was killed waits to be finished.
    """
    with locks.hold(lake.lock, job, shared=True):
        if _journal(lake).exists():
            raise StoreBusy(
                f"{job} has to wait: a change of the lake was killed before all its files were in place.",
                next_step="Load any day: every load finishes that change first.",
            )
        yield


@contextmanager
def writing(lake: Lake, job: str, run: RunLog) -> Iterator[Change]:
    """Change the lake alone; what a killed change left is finished or removed first, and reported.

    Partitions that somebody else changed are taken as they are from then on, with a warning.
    Raises AlreadyRunning, StoreBusy, CheckFailed for a partition that cannot be read.
    """
    with locks.hold(lake.lock, job), staging(staging_of(lake), run, what="A change of the lake"):
        yield Change(lake, run)


class Change:
    """One change of the lake in the making; others see nothing of it before :meth:`publish`.

    ``state`` is what will be known afterwards; callers record their days in it.
    """

    def __init__(self, lake: Lake, run: RunLog) -> None:
        self.lake = lake
        self._run = run
        # What is staged for a partition; None if it goes.
        self._staged: dict[tuple[TransactionType, str], Path | None] = {}
        try:
            self.state = read_state(lake)
            self._before = _as_text(self.state)
        except CheckFailed as damaged:
            run.warn(f"{damaged.what} What is loaded is taken from the partitions.")
            self.state, self._before = LakeState(), ""
        self._adopted = self._adopt()
        self._known = dict(self.state.partitions)

    def read(self, kind: TransactionType, month: str) -> pl.DataFrame:
        """The rows a partition has after the change, so far; see :func:`read_partition`."""
        import polars as pl

        if (kind, month) not in self._staged:
            return read_partition(self.lake, kind, month)
        staged = self._staged[kind, month]
        return read_partition_file(staged, kind) if staged else pl.DataFrame(schema=kind.schema())

    def write(self, kind: TransactionType, month: str, frame: pl.DataFrame) -> int:
        """Stage the new content of a partition, in the order given; without rows the partition goes.

        Returns the bytes written; 0 if the partition is that file already.
        Raises CheckFailed if the file does not hold what was written, StoreFull.
        """
        name = partition_name(kind, month)
        if frame.is_empty():
            self._staged[kind, month] = None
            self.state.partitions.pop(name, None)
            return 0
        staged = staging_of(self.lake) / kind.folder / f"{month}.parquet"
        write_parquet(frame.select(kind.column_names), staged)
        stored = _read_column(staged, kind.event_date).len()
        if stored != frame.height:
            raise CheckFailed(
                f"cvas: the new {name} holds {stored:,} rows instead of {frame.height:,}; nothing was changed.",
                next_step="Check the disk and its log, then clear the task.",
            )
        fingerprint = _fingerprint([staged], stored)
        known = self._known.get(name)
        if known and known.sha256 == fingerprint.sha256 and self._files_of(kind, month) == [self._target(kind, month)]:
            self._staged.pop((kind, month), None)
            self.state.partitions[name] = known
            return 0
        self._staged[kind, month] = staged
        self.state.partitions[name] = fingerprint
        return fingerprint.bytes

    def publish(self, touched: pl.Series | None) -> None:
        """Put everything in place together; nothing happens if nothing is different.

        ``touched`` are the ids of the subscriptions whose rows were removed or added, in any order, or None if history
        was rewritten at large.
        """
        files, replaced = {}, []
        for (kind, month), staged in self._staged.items():
            target = self._target(kind, month)
            if staged:
                files[target] = staged
            replaced += [path for path in self._files_of(kind, month) if path != target or not staged]
        changed = bool(files or replaced or self._adopted)
        if changed:
            self.state.change = _next_change(self.lake, self.state)
        elif _as_text(self.state) == self._before:
            return
        if changed and touched is not None and not self._adopted:
            ids = touched.drop_nulls().unique().sort().alias("subscription_id").to_frame()
            files[touched_file(self.lake, self.state.change)] = staging_of(self.lake) / "touched"
            write_parquet(ids, staging_of(self.lake) / "touched")
        staged_state = write_staged(staging_of(self.lake) / "lake.json", _as_text(self.state).encode())
        files[state_file(self.lake)] = staged_state
        publish_together(_journal(self.lake), files, remove=replaced)

    def _target(self, kind: TransactionType, month: str) -> Path:
        return partition_path(self.lake, kind, month)

    def _files_of(self, kind: TransactionType, month: str) -> list[Path]:
        return partition_files(self.lake, kind).get(month, [])

    def _adopt(self) -> bool:
        """Take partitions that are not as the pipeline left them as they are; whether there were any."""
        import polars as pl

        known = self.state.partitions
        gone, adopted = set(known), []
        for kind, month, files in _partitions_on_disk(self.lake):
            name = partition_name(kind, month)
            gone.discard(name)
            if not _is_changed(files, known.get(name)):
                known[name] = replace(known[name], mtime_ns=_size_and_time(files)[1])
                continue
            if month == UNDATED:
                self.state.lost.pop(name, None)
            dates = pl.concat([_read_column(path, kind.event_date) for path in files])
            self._recount(kind, month, {} if month == UNDATED else rows_by_day(dates))
            known[name] = _fingerprint(files, dates.len())
            adopted.append(name)
        for name in sorted(gone):
            folder, _, month = name.partition("/")
            self._recount(next(kind for kind in TYPES if kind.folder == folder), month, {})
            rows = known.pop(name).rows
            if month == UNDATED:
                self.state.lost[name] = {None: rows}
            adopted.append(f"{name} (gone)")
        if adopted:
            self._run.warn(
                "Partitions were changed by something else than the pipeline and are taken as they are: "
                f"{render_some(adopted, NAMED)}."
            )
        return bool(adopted)

    def _recount(self, kind: TransactionType, month: str, rows: dict[date, int]) -> None:
        """Make the days of a month say what its partition holds; days that say so already keep their source."""
        recorded = {day: types[kind.name] for day, types in self.state.days.items() if kind.name in types}
        for day, loaded in recorded.items():
            if month_of(day) == month and loaded.rows != rows.get(day, 0):
                self.state.forget(day, kind)
                if day not in rows:
                    self.state.lost.setdefault(partition_name(kind, month), {})[day] = loaded.rows
        for day, count in rows.items():
            if kind.name not in self.state.days.get(day, {}):
                self.state.record(day, kind, LoadedDay(count, "found"))


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a file that depends on the rows alone (R71: snappy) and wait until it is on the disk.

    Raises StoreFull.
    """
    with temporary_beside(path) as temporary:
        frame.write_parquet(temporary, compression="snappy", row_group_size=ROWS_PER_GROUP)
        sync(temporary)
        temporary.replace(path)


def _read_column(path: Path, column: str) -> pl.Series:
    import polars as pl

    with readable(path):
        return pl.read_parquet(path, columns=[column], hive_partitioning=False, glob=False).to_series()


def rows_by_day(dates: pl.Series) -> dict[date, int]:
    """How many rows each day has; rows without a date are left out."""
    import polars as pl

    return dict(dates.cast(pl.Date).drop_nulls().value_counts().iter_rows())


def _next_change(lake: Lake, state: LakeState) -> int:
    """A number no reader has seen, even where the state was lost."""
    known = [
        int(match[1]) for path in (lake.state / "touched").glob("*") if (match := _TOUCHED_FILE.fullmatch(path.name))
    ]
    return max(state.change, *known, _change_of_view(lake)) + 1


def _change_of_view(lake: Lake) -> int:
    try:
        return int(json.loads((lake.state / "view.json").read_text(encoding="utf-8"))["change"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return 0


def _as_text(state: LakeState) -> str:
    stored: dict[str, Any] = {
        "change": state.change,
        "days": {
            day.isoformat(): {kind.name: asdict(types[kind.name]) for kind in TYPES if kind.name in types}
            for day, types in sorted(state.days.items())
        },
        "partitions": {name: asdict(each) for name, each in sorted(state.partitions.items())},
        "lost": {
            name: {day.isoformat() if day else "": rows for day, rows in days.items()}
            for name, days in sorted(state.lost.items())
        },
    }
    return json.dumps(stored)
