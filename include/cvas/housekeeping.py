"""What nobody needs any more goes, what takes space is told (R67-R69). Partitions and snapshots are never deleted."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path

from include.common import locks
from include.common.files import atomic_write
from include.common.filesets import JOURNAL
from include.common.journal import RunLog
from include.common.reports import MB, megabytes
from include.common.results import StepResult
from include.common.tables import render_some
from include.cvas.config import Lake, Settings
from include.cvas.daily import DISCARDED, LOADED, compare_day, discard_day, fetched_days
from include.cvas.lake import read_state, reading
from include.cvas.stage import stage
from include.errors import AlreadyRunning, ContractViolation, StoreBusy

JOB = "cvas_housekeeping"
CLEAR_JOB = "cvas_clear_day"
NAMED = 5


def clean_up(lake: Lake, *, day: date, now: datetime, today: date, settings: Settings) -> StepResult:
    """Delete logs, reports, daily files and leftovers of killed runs that are not needed, and report the disk's use.

    ``day`` is the day of the run, ``today`` the local calendar day. The files of a day go when it lies more than
    ``keep_daily_days`` back and all six types are in the lake as they were fetched, and so does a folder without files;
    other old days stay, with a warning. What a run at work holds is left to the next time. ``Reports/D/disk.json``
    tells MB (10**6 bytes) of what grows.

    Re-run: safe; there is nothing left to do.
    Raises CheckFailed for a partition that cannot be read, StoreBusy while the lake is written, AlreadyRunning.
    """
    with stage(lake, JOB, day, now=now, settings=settings) as run:
        with reading(lake, JOB):
            discarded = _discard_old_days(lake, today - timedelta(days=settings.keep_daily_days), run)
        leftovers = _remove_leftovers(lake, run)
        disk = disk_use(lake)
        run.say(f"Disk: {', '.join(f'{name} {mb:,.0f} MB' for name, mb in disk.items())}")
        with atomic_write(lake.reports(day) / "disk.json") as temporary:
            temporary.write_text(json.dumps({"day": day.isoformat(), "mb": disk}, indent=1) + "\n", encoding="utf-8")
        run.facts.update(days_removed=len(discarded), leftovers_removed=len(leftovers))
        return StepResult(
            where=str(lake.root),
            written=len(discarded) + len(leftovers),
            warnings=tuple(run.warnings),
            facts={"days_removed": discarded, "leftovers_removed": leftovers, "disk_mb": disk},
        )


def clear_day(lake: Lake, *, day: date, now: datetime, settings: Settings) -> StepResult:
    """Remove ``Daily_Data/D`` and nothing else, so that the day can be fetched anew, which also undoes it (section 7).

    Re-run: safe; there is nothing left to remove. Raises StoreBusy while the day is fetched or loaded, AlreadyRunning.
    """
    with stage(lake, CLEAR_JOB, day, now=now, settings=settings) as run, locks.hold(lake.daily_lock(day), CLEAR_JOB):
        action = "removed" if lake.daily(day).is_dir() else "there was nothing"
        size = discard_day(lake, day)
        run.facts.update(bytes=f"{size:,}", files=action)
        return StepResult(
            where=str(lake.daily(day)), bytes=size, warnings=tuple(run.warnings), facts={"action": action}
        )


def disk_use(lake: Lake) -> dict[str, float]:
    """MB of what grows below the lake's folder, and what the disk has left."""
    folders = ("Parquet_Data", "User_Base", "Daily_Data")
    used = {name: megabytes(path for path in (lake.root / name).rglob("*") if path.is_file()) for name in folders}
    return {**used, "free": round(shutil.disk_usage(lake.root).free / MB, 2)}


def _discard_old_days(lake: Lake, before: date, run: RunLog) -> list[str]:
    """Remove the files of the days before ``before`` that the lake holds, and the folders of those that never came; the
    caller reads the lake."""
    state = read_state(lake)
    discarded, kept = [], []
    for day in fetched_days(lake):
        if day >= before:
            continue
        try:
            with locks.hold(lake.daily_lock(day), JOB):
                # Hidden files are what killed runs left.
                if not any(lake.daily(day).glob("[!.]*")) or all(
                    each.verdict == LOADED for each in compare_day(lake, day, state)
                ):
                    discard_day(lake, day)
                    discarded.append(day.isoformat())
                else:
                    kept.append(day.isoformat())
        except (AlreadyRunning, StoreBusy) as busy:
            run.say(f"{day} is left for the next time: {busy.what}")
        except ContractViolation as damaged:
            run.warn(f"The files of {day} stay: {damaged}")
    run.say(f"Daily_Data: the files of {len(discarded)} old days removed")
    if kept:
        run.warn(
            f"The files of {len(kept)} old days stay because the lake does not hold what they say: "
            f"{render_some(kept, NAMED)}. The status of such a day tells more; load it, or clear it."
        )
    return discarded


def _remove_leftovers(lake: Lake, run: RunLog) -> list[str]:
    """Remove what killed runs left in the staging folder; a journal stays with its files, for the next run of its kind
    to finish.
    """
    removed = []
    for leftover in sorted(lake.staging.iterdir()) if lake.staging.is_dir() else ():
        lock = _lock_of(lake, leftover.name)
        if lock is None:
            run.warn(f"{leftover} belongs to nothing that is known here; move it away.")
            continue
        with suppress(AlreadyRunning, StoreBusy), locks.hold(lock, JOB):
            if not (leftover / JOURNAL).exists():
                shutil.rmtree(leftover)
                removed.append(leftover.name)
    return removed


def _lock_of(lake: Lake, name: str) -> Path | None:
    """The lock under which a folder below the staging folder is used."""
    if name.startswith("spill-"):
        return lake.lock.with_name(name)
    if name.startswith(DISCARDED):
        with suppress(ValueError):
            return lake.daily_lock(date.fromisoformat(name.removeprefix(DISCARDED)))
    return lake.staging_locks.get(name)
