"""Days of which the lake has no rows, and the record that the source has none either (R60)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from include.common.journal import RunLog
from include.common.results import StepResult
from include.common.sql import read_sql
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, DCT, RENO, TYPES, TransactionType
from include.cvas.engine import open_engine
from include.cvas.lake import (
    Change,
    LakeState,
    LoadedDay,
    partition_files,
    read_state,
    reading,
    writing,
)
from include.cvas.stage import stage

if TYPE_CHECKING:
    import duckdb

JOB = "cvas_backfill"
COMPLETE_EVERY_DAY = (ACT, RENO, DCT)
Span = tuple[date, date]


def find_gaps(
    lake: Lake,
    *,
    until: date,
    types: Iterable[TransactionType],
    now: datetime,
    settings: Settings,
    since: date | None = None,
    confirm_empty: bool = False,
) -> StepResult:
    """List the days without rows from each type's first day, or ``since``, to ``until``, as ranges with both ends.

    ``facts["gaps"]`` has them by type name, ``facts["ranges"]`` those of all types together, oldest first: what to
    fetch. A day that was loaded or confirmed as empty is no gap. ``confirm_empty`` records them as empty at the source,
    so that they are no gaps any more: those before the newest day loaded from its files, as later ones may only be not
    loaded yet, and none whose rows were lost. A warning tells which stay; ``written`` counts those recorded.

    Re-run: safe; what was filled or confirmed in the meantime is not listed again.
    Raises StoreBusy while the lake is written, AlreadyRunning, CheckFailed or ContractViolation for a partition that
    cannot be read.
    """
    with stage(lake, JOB, until, now=now, settings=settings) as run, ExitStack() as access:
        change = None
        if confirm_empty:
            change = access.enter_context(writing(lake, JOB, run))
        else:
            access.enter_context(reading(lake, JOB))
        with open_engine(lake, settings) as engine:
            state = change.state if change else read_state(lake)
            # Whether one of those that have rows every day begins too late, the others tell.
            wanted = set(types)
            searched = [kind for kind in TYPES if kind in wanted or kind in COMPLETE_EVERY_DAY]
            found = missing_days(engine, lake, searched, state=state, until=until)
        missing = {
            kind.name: [day for day in found[kind.name] if since is None or day >= since]
            for kind in searched
            if kind in wanted
        }
        gaps = {name: _as_ranges(days) for name, days in missing.items()}
        ranges = _as_ranges(sorted({day for days in missing.values() for day in days}))
        for name, spans in gaps.items():
            run.say(f"{name}: {len(missing[name]):,} days without rows: {', '.join(map(_named, spans)) or 'none'}")
        confirmed = _confirm(change, missing, run) if change else 0
        count = sum(map(len, missing.values()))
        run.facts.update(days=count, ranges=len(ranges), confirmed_empty=confirm_empty)
        return StepResult(
            where=str(lake.transactions),
            read=count,
            written=confirmed,
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

    They are looked for from the type's first day to ``until``; a type that never had one has no gaps. The types that
    have rows every day begin together, with the first of those asked for.
    """
    known_days: dict[TransactionType, set[date]] = {}
    first_days: dict[TransactionType, date | None] = {}
    for kind in kinds:
        known = {
            day for day, types in state.days.items() if (loaded := types.get(kind.name)) and _is_known_empty(loaded)
        }
        if files := [str(file) for files in partition_files(lake, kind).values() for file in files]:
            values = {"files": files, "date": [kind.event_date]}
            known.update(day for (day,) in engine.execute(read_sql("cvas", "check_days"), values).fetchall())
        known_days[kind] = known
        first_days[kind] = min(known | _lost_days(state, kind), default=None)
    firsts = [day for kind in COMPLETE_EVERY_DAY if (day := first_days.get(kind))]
    every_day = min(firsts or state.days, default=None)
    missing = {}
    for kind, known in known_days.items():
        first = every_day if kind in COMPLETE_EVERY_DAY else first_days[kind]
        missing[kind.name] = [day for day in _days(first, until) if day not in known] if first else []
    return missing


def _lost_days(state: LakeState, kind: TransactionType) -> set[date]:
    """The days whose rows something else than the pipeline took away."""
    lost = (days for name, days in state.lost.items() if name.startswith(f"{kind.folder}/"))
    return {day for days in lost for day in days if day}


def _confirm(change: Change, missing: dict[str, list[date]], run: RunLog) -> int:
    """Record the missing days as empty at the source, as far as that can be said; how many."""
    state = change.state
    from_files = [day for day, types in state.days.items() if any(each.source == "daily" for each in types.values())]
    newest = max(from_files, default=date.min)
    confirmed, not_yet, lost = 0, set[date](), set[date]()
    for kind in (kind for kind in TYPES if kind.name in missing):
        lost_of_kind = _lost_days(state, kind)
        for day in missing[kind.name]:
            if day >= newest:
                not_yet.add(day)
            elif day in lost_of_kind:
                lost.add(day)
            else:
                state.record(day, kind, LoadedDay(rows=0, source="empty"))
                confirmed += 1
    for days, reason in ((not_yet, "no later day is loaded from its files yet"), (lost, "their rows were lost")):
        if days:
            spans = ", ".join(map(_named, _as_ranges(sorted(days))))
            run.warn(f"Not recorded as empty, because {reason}: {spans}.")
    change.publish(None)
    return confirmed


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
