"""The transactions of years, from a folder of large CSVs: a type's whole tree made anew (R59), or some days (R32)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.common.files import require_space
from include.common.journal import RunLog
from include.common.results import StepResult
from include.common.tables import render_some, render_value
from include.cvas.config import Lake, Settings
from include.cvas.contract import TransactionType
from include.cvas.counter_files import told_outdated
from include.cvas.lake import (
    UNDATED,
    Change,
    LoadedDay,
    in_order,
    month_of,
    partition_files,
    partition_name,
    read_partition_file,
    rows_by_day,
    staging_of,
    write_parquet,
    writing,
)
from include.cvas.load import all_of, loses_too_much, without_duplicates
from include.cvas.parse import parse_in_blocks, warnings_about
from include.cvas.stage import stage
from include.errors import CheckFailed, PermanentError, SourceMissing

if TYPE_CHECKING:
    import polars as pl

JOB = "cvas_history"
# Rows in memory before they are sorted into months on the disk.
BATCH = 1_000_000
NAMED = 5


def import_history(
    lake: Lake,
    folder: Path,
    *,
    types: Sequence[TransactionType],
    day: date,
    now: datetime,
    settings: Settings,
    days_only: bool = False,
    force: bool = False,
) -> StepResult:
    """Make each type's partitions exactly the rows of its ``<type>_atlas*.csv`` in ``folder``, read in order of names.

    Rows obey the rules of the daily files, but one that cannot be typed stops its type. Days that the files do not
    have go, with ``days_only`` they stay as they are; undated refunds stay for the repair. A type is replaced when all
    its rows are stored and counted; one that fails keeps its old partitions, and the others are imported all the same.
    ``force`` admits days that lose more than half of their rows. ``facts["types"]`` has the counts per type. Memory is
    bounded by one month of one type.

    Re-run: safe; the same files change no file of the lake.
    Raises SourceMissing without folder or any file, ContractViolation naming file, line and column, CheckFailed,
    StoreFull, StoreBusy, AlreadyRunning.
    """
    with stage(lake, JOB, day, now=now, settings=settings) as run:
        files = _files_of(folder, types, run)
        done: dict[str, dict[str, Any]] = {}
        changed: set[date] = set()
        failures: list[PermanentError] = []
        for number, (kind, found) in enumerate(files.items(), start=1):
            try:
                with run.phase(f"import {kind.name}", percent=100 * number // len(files)):
                    done[kind.name], days = _import_type(lake, kind, found, run, days_only=days_only, force=force)
                    changed |= days
            except PermanentError as error:
                run.warn(str(error))
                failures.append(error)
        run.facts.update({name: f"{counts['stored']:,} rows" for name, counts in done.items()})
        if outdated := told_outdated(changed):
            run.warn(outdated)
        if failures:
            raise all_of(failures)
        return StepResult(
            where=str(lake.transactions),
            read=sum(counts["read"] for counts in done.values()),
            written=sum(counts["stored"] for counts in done.values()),
            bytes=sum(counts["bytes"] for counts in done.values()),
            warnings=tuple(run.warnings),
            facts={"types": done, "seconds": dict(run.durations)},
        )


def _files_of(folder: Path, types: Sequence[TransactionType], run: RunLog) -> dict[TransactionType, list[Path]]:
    if not folder.is_dir():
        raise SourceMissing(f"cvas: there is no folder {folder}.", next_step="Correct the parameter folder.")
    found = {kind: sorted(folder.glob(f"{kind.folder}_atlas*.csv")) for kind in types}
    without = ", ".join(kind.name for kind, files in found.items() if not files)
    if not any(found.values()):
        raise SourceMissing(
            f"cvas: {folder} has no file of {without}.",
            next_step="The files must be named like act_atlas_2024.csv; correct the folder or the names.",
        )
    if without:
        run.warn(f"{folder} has no file of {without}; what the lake has of it stays.")
    return {kind: files for kind, files in found.items() if files}


def _import_type(
    lake: Lake, kind: TransactionType, files: list[Path], run: RunLog, *, days_only: bool, force: bool
) -> tuple[dict[str, Any], set[date]]:
    """Import one type; its counts, and the days of the months that are not what they were, with ``days_only`` those of
    the files."""
    import polars as pl

    none = pl.DataFrame(schema=kind.schema())
    with writing(lake, JOB, run) as change:
        require_space(lake.staging, sum(path.stat().st_size for path in files))
        months = staging_of(lake) / "months"
        read = _sort_into_months(files, kind, months, run)
        arrived = stored = written = 0
        days: dict[date, int] = {}
        changed: set[date] = set()
        for folder in sorted(months.iterdir()):
            rows = pl.concat([read_partition_file(path, kind) for path in sorted(folder.iterdir())])
            arrived += rows.height
            rows = without_duplicates(rows, kind)
            stored += rows.height
            days |= (of_month := rows_by_day(rows[kind.event_date]))
            if days_only:
                partition = change.read(kind, folder.name)
                others = ~pl.col(kind.event_date).dt.date().is_in(list(of_month))
                rows = pl.concat([partition.filter(others), rows])
            if size := change.write(kind, folder.name, in_order(rows, kind)):
                written += size
                changed |= of_month.keys() if days_only else _days_of(change, kind, folder.name) | of_month.keys()
        if arrived != read:
            raise CheckFailed(
                f"cvas {kind.name}: {read:,} rows were read, {arrived:,} were to be stored; nothing was changed.",
                next_step="Check the disk and its log, then clear the task.",
            )
        if not days_only:
            for month in partition_files(lake, kind).keys() - {UNDATED, *(folder.name for folder in months.iterdir())}:
                changed |= _days_of(change, kind, month)
                change.write(kind, month, none)
        _record(change, kind, days, run, days_only=days_only, force=force)
        change.publish(None)
    counts = {
        "files": [path.name for path in files],
        "read": read,
        "duplicates": read - stored,
        "stored": stored,
        "first_day": str(min(days, default="")),
        "last_day": str(max(days, default="")),
        "bytes": written,
    }
    run.say(f"{kind.name} | " + " | ".join(f"{name} {render_value(value)}" for name, value in counts.items()))
    undated = change.state.partitions.get(partition_name(kind, UNDATED))
    if undated:
        run.warn(f"{kind.name}: the lake still has {undated.rows:,} rows without a date; the repair can remove them.")
    return counts, changed


def _days_of(change: Change, kind: TransactionType, month: str) -> set[date]:
    """The days of a month of which the lake has rows so far."""
    days = change.state.days.items()
    return {day for day, types in days if month_of(day) == month and kind.name in types and types[kind.name].rows}


def _sort_into_months(files: list[Path], kind: TransactionType, months: Path, run: RunLog) -> int:
    """Write the rows of all files into ``months/YYYY-MM/``, in the order in which they came; how many there are."""
    months.mkdir()
    read, number = 0, 0
    batch: list[pl.DataFrame] = []
    for file in files:
        remarks: Counter[str] = Counter()
        for part in parse_in_blocks(file, kind, strict=True):
            read += part.read
            remarks += part.remarks
            batch.append(part.frame)
            if sum(frame.height for frame in batch) >= BATCH:
                _spill(batch, kind, months, number)
                batch, number = [], number + 1
        for warning in warnings_about(part.where, remarks):
            run.warn(warning)
        run.say(f"{file.name} was read; {read:,} rows of {kind.name} so far")
    _spill(batch, kind, months, number)
    return read


def _spill(batch: list[pl.DataFrame], kind: TransactionType, months: Path, number: int) -> None:
    import polars as pl

    if not batch:
        return
    month = pl.col(kind.event_date).dt.strftime("%Y-%m").alias("month")
    parts = pl.concat(batch).with_columns(month).partition_by("month", as_dict=True, include_key=False)
    for (name,), rows in parts.items():
        write_parquet(rows, months / str(name) / f"{number:06d}.parquet")


def _record(
    change: Change, kind: TransactionType, days: dict[date, int], run: RunLog, *, days_only: bool, force: bool
) -> None:
    """Make the state say that these days are loaded, and no others but confirmed empty ones unless ``days_only``.

    A type that may be empty has no rows on the other days of the history either, so that nobody has to fetch them.
    """
    before = {
        day: types[kind.name]
        for day, types in change.state.days.items()
        if kind.name in types and (day in days or not days_only)
    }
    lost = [day for day, loaded in sorted(before.items()) if loses_too_much(loaded.rows, days.get(day, 0))]
    if lost and not force:
        raise CheckFailed(
            f"cvas {kind.name}: {len(lost):,} days would have less than half of the rows the lake has: "
            f"{render_some(lost, NAMED)}; nothing was changed.",
            next_step="Ask whether files are missing in the folder; import with force if the rows are gone on purpose.",
        )
    gone = [day for day, loaded in sorted(before.items()) if loaded.rows and day not in days]
    if gone:
        run.warn(
            f"{kind.name}: the files have nothing of {len(gone):,} days between {gone[0]} and {gone[-1]}; the "
            f"{sum(before[day].rows for day in gone):,} rows that the lake had of them are gone."
        )
    for day, loaded in before.items():
        if loaded.source != "empty" or day in days:
            change.state.forget(day, kind)
    for day, rows in days.items():
        change.state.record(day, kind, LoadedDay(rows, "historical"))
    if kind.may_be_empty and not days_only:
        state = change.state
        imported = [day for day, types in state.days.items() if any(x.source == "historical" for x in types.values())]
        day, last = min(imported, default=date.max), max(imported, default=date.min)
        while day <= last:
            if kind.name not in state.days.get(day, {}):
                state.record(day, kind, LoadedDay(0, "historical"))
            day += timedelta(days=1)
