"""Days of which the lake has no rows, and the record that the source has none either (R60)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from include.common.results import StepResult
from include.common.sql import read_sql
from include.cvas.config import Lake, Settings
from include.cvas.contract import TransactionType
from include.cvas.engine import open_engine
from include.cvas.lake import LakeState, LoadedDay, partition_files, read_state, reading, writing
from include.cvas.stage import stage

if TYPE_CHECKING:
    import duckdb

JOB = "cvas_backfill"
Span = tuple[date, date]


def find_gaps(
    lake: Lake,
    *,
    until: date,
    types: Iterable[TransactionType],
    now: datetime,
    settings: Settings,
    confirm_empty: bool = False,
) -> StepResult:
    """List the days without rows from each type's first day to ``until``, as ranges with both ends.

    ``facts["gaps"]`` has them by type name, ``facts["ranges"]`` those of all types together, oldest first: what to
    fetch. A day that was loaded or confirmed as empty is no gap. ``confirm_empty`` records all of them as empty at the
    source, so that they are no gaps any more.

    Re-run: safe; what was filled or confirmed in the meantime is not listed again.
    Raises StoreBusy while the lake is written, AlreadyRunning, CheckFailed or ContractViolation for a partition that
    cannot be read.
    """
    kinds = list(types)
    with stage(lake, JOB, until, now=now, settings=settings) as run, ExitStack() as access:
        change = None
        if confirm_empty:
            change = access.enter_context(writing(lake, JOB, run))
        else:
            access.enter_context(reading(lake, JOB))
        with open_engine(lake, settings) as engine:
            state = change.state if change else read_state(lake)
            missing = missing_days(engine, lake, kinds, state=state, until=until)
        gaps = {name: _as_ranges(days) for name, days in missing.items()}
        ranges = _as_ranges(sorted({day for days in missing.values() for day in days}))
        for name, spans in gaps.items():
            run.say(f"{name}: {len(missing[name]):,} days without rows: {', '.join(map(_named, spans)) or 'none'}")
        if change:
            for kind in kinds:
                for day in missing[kind.name]:
                    change.state.record(day, kind, LoadedDay(rows=0, source="empty"))
            change.publish(None)
        count = sum(map(len, missing.values()))
        run.facts.update(days=count, ranges=len(ranges), confirmed_empty=confirm_empty)
        return StepResult(
            where=str(lake.transactions),
            read=count,
            written=count if change else 0,
            warnings=tuple(run.warnings),
            facts={
                "gaps": {name: list(map(_iso, spans)) for name, spans in gaps.items()},
                "ranges": list(map(_iso, ranges)),
                "confirmed_empty": confirm_empty,
            },
        )


def missing_days(
    engine: duckdb.DuckDBPyConnection,
    lake: Lake,
    kinds: Iterable[TransactionType],
    *,
    state: LakeState,
    until: date,
) -> dict[str, list[date]]:
    """By type name the days without rows that are not known to be empty, oldest first; the caller reads the lake.

    They are looked for from the type's first day to ``until``; a type that never had one has no gaps.
    """
    missing = {}
    for kind in kinds:
        known = {
            day for day, types in state.days.items() if (loaded := types.get(kind.name)) and _is_known_empty(loaded)
        }
        if files := [str(file) for files in partition_files(lake, kind).values() for file in files]:
            values = {"files": files, "date": [kind.event_date]}
            known.update(day for (day,) in engine.execute(read_sql("cvas", "check_days"), values).fetchall())
        days = _days(min(known), until) if known else []
        missing[kind.name] = [day for day in days if day not in known]
    return missing


def _is_known_empty(loaded: LoadedDay) -> bool:
    return loaded.rows == 0 and loaded.source != "partial"


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _as_ranges(days: list[date]) -> list[Span]:
    """Days in order as ranges of days that follow each other."""
    ranges: list[Span] = []
    for day in days:
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges


def _iso(span: Span) -> list[str]:
    return [day.isoformat() for day in span]


def _named(span: Span) -> str:
    return str(span[0]) if span[0] == span[1] else f"{span[0]} to {span[1]}"
