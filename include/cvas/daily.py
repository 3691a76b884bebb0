"""The fetched files of a day: whether the lake holds what they say, and throwing them away (R68, section 7)."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from include.common.files import sha256_of
from include.cvas.config import Lake
from include.cvas.contract import TYPES, TransactionType
from include.cvas.lake import UNDATED, LakeState, month_of, partition_files, readable
from include.cvas.manifest import FileEntry, daily_file, read_manifest

# The verdicts that need nobody's attention.
LOADED = "loaded"
FILE_REMOVED = "loaded, the file was removed"
NOTHING = "nothing there"
AT_REST = (LOADED, FILE_REMOVED, NOTHING)
# What the folder of a day is called in the staging folder while it is removed.
DISCARDED = "discarded-"


@dataclass(frozen=True)
class TypeOfDay:
    """One type of one day, from the file to the lake; None where there is no such thing.

    ``fetched`` rows as the manifest says, without the header; ``recorded`` rows as the lake's state says; ``stored``
    rows of that day in the lake now. ``verdict`` says whether all of it fits together.
    """

    name: str
    fetched: int | None
    sha256: str | None
    recorded: int | None
    stored: int
    verdict: str


def fetched_days(lake: Lake) -> list[date]:
    """The days that have a folder in ``Daily_Data``, oldest first; other names are not ours."""
    parent = lake.daily(date.min).parent
    days = []
    for folder in parent.iterdir() if parent.is_dir() else ():
        with suppress(ValueError):
            day = date.fromisoformat(folder.name)
            if lake.daily(day) == folder:
                days.append(day)
    return sorted(days)


def compare_day(lake: Lake, day: date, state: LakeState) -> list[TypeOfDay]:
    """The six types of a day; the caller reads the lake.

    Raises CheckFailed for a partition that cannot be read, ContractViolation for such a manifest.
    """
    entries = read_manifest(lake, day)
    return [_compare(lake, day, kind, entries.get(kind.name), state) for kind in TYPES]


def discard_day(lake: Lake, day: date) -> int:
    """Remove ``Daily_Data/D``, all of it or nothing; the bytes that were in it. The caller holds the day's lock.

    Re-run: safe; what a killed call left in the staging folder goes, too.
    """
    folder, doomed = lake.daily(day), lake.staging / f"{DISCARDED}{day}"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(doomed, ignore_errors=True)
    if folder.is_dir():
        doomed.parent.mkdir(parents=True, exist_ok=True)
        folder.replace(doomed)
        shutil.rmtree(doomed)
    return size


def _compare(lake: Lake, day: date, kind: TransactionType, entry: FileEntry | None, state: LakeState) -> TypeOfDay:
    loaded = state.days.get(day, {}).get(kind.name)
    stored = _stored_rows(lake, day, kind)
    file = daily_file(lake, day, kind)
    if file.exists() and not entry:
        verdict = "the file is in no manifest"
    elif entry and not file.exists():
        verdict = "the file is gone"
    elif entry and sha256_of(file) != entry.sha256:
        verdict = "the file was altered after it was fetched"
    elif not loaded:
        verdict = "not loaded" if entry else "not recorded" if stored else NOTHING
    elif loaded.rows != stored:
        verdict = "the lake holds other rows than were loaded"
    elif not entry:
        verdict = FILE_REMOVED
    elif loaded.sha256 != entry.sha256:
        verdict = "another file was loaded"
    else:
        verdict = LOADED if entry.complete else "loaded before the day was over"
    return TypeOfDay(
        name=kind.name,
        fetched=entry.rows if entry else None,
        sha256=entry.sha256 if entry else None,
        recorded=loaded.rows if loaded else None,
        stored=stored,
        verdict=verdict,
    )


def _stored_rows(lake: Lake, day: date, kind: TransactionType) -> int:
    import polars as pl

    partitions = partition_files(lake, kind)
    moment = pl.col(kind.event_date)
    begin = datetime.combine(day, time())
    rows = 0
    for file in (*partitions.get(month_of(day), ()), *partitions.get(UNDATED, ())):
        with readable(file):
            scan = pl.scan_parquet(file, hive_partitioning=False, glob=False)
            of_day = scan.filter(moment >= begin, moment < begin + timedelta(days=1))
            rows += of_day.select(pl.len()).collect().item()
    return rows
