"""Repair of the refunds that the system before stored without their date, in one partition for all (R29)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from include.common.files import require_space
from include.common.results import StepResult
from include.common.tables import render_some
from include.cvas.config import Lake, Settings
from include.cvas.contract import RFND
from include.cvas.counter_files import told_outdated
from include.cvas.lake import UNDATED, Change, LoadedDay, in_order, rows_by_day, writing
from include.cvas.load import without_duplicates
from include.cvas.stage import stage
from include.errors import CheckFailed

if TYPE_CHECKING:
    import polars as pl

JOB = "cvas_repair_refunds"
NAMED = 5
# What was loaded so is all there is of a day (R32).
_ALL_THERE_IS = ("daily", "historical", "empty")


def repair_refunds(lake: Lake, *, day: date, now: datetime, settings: Settings, dry_run: bool = False) -> StepResult:
    """Empty the partition of undated refunds as far as no money gets lost.

    Rows that do have a date move to their month, unless their day was loaded or imported, which makes them outdated, or
    their month has a row of the same key. Rows without a date go when the refunds of every day from the first to the
    last of the lake were loaded, imported or confirmed to be none; else they are kept and reported. ``facts`` has rows
    and euro ``before`` and ``after``, and those of each part of the ``plan``; ``dry_run`` makes the plan only.

    Re-run: safe; what was kept is considered again.
    Raises CheckFailed if the result is not what was planned, StoreFull, StoreBusy, AlreadyRunning; nothing was changed.
    """
    with stage(lake, JOB, day, now=now, settings=settings) as run, writing(lake, JOB, run) as change:
        before = _of_all(change)
        plan = _make_plan(change)
        run.say(f"before: {before}")
        for name, total in plan.totals.items():
            run.say(f"{name}: {total}")
        if plan.kept.height:
            run.warn(f"{plan.totals['kept']}, without a date, are kept: {_reason(plan.not_covered)}.")
        after = None
        if not dry_run:
            sizes = (each.bytes for name, each in change.state.partitions.items() if name.startswith(RFND.folder))
            require_space(lake.staging, sum(sizes))
            _carry_out(plan, change)
            after = _of_all(change)
            run.say(f"after: {after}")
            planned = before - plan.totals["outdated"] - plan.totals["duplicates"] - plan.totals["removed"]
            if after != planned:
                raise CheckFailed(
                    f"cvas RFND: {after} would be there after the repair instead of {planned}; nothing was changed.",
                    next_step="Report this: the repair did not do what it planned.",
                )
            change.publish(None)
            if outdated := told_outdated(plan.recounted):
                run.warn(outdated)
        run.facts |= {name: str(total) for name, total in plan.totals.items()}
        return StepResult(
            where=str(lake.transactions),
            read=before.rows,
            written=0 if dry_run else plan.moved.height,
            warnings=tuple(run.warnings),
            facts={
                "dry_run": dry_run,
                "before": before.as_dict(),
                "plan": {name: total.as_dict() for name, total in plan.totals.items()},
                "after": after.as_dict() if after else None,
                "days_not_covered": len(plan.not_covered),
            },
        )


@dataclass(frozen=True)
class _Total:
    """Rows and what they refunded, in millionths of a euro so that sums are exact (R48)."""

    rows: int
    micros: int

    @classmethod
    def of(cls, refunds: pl.DataFrame) -> _Total:
        import polars as pl

        micros = (refunds["rfnd_amount"] * 1_000_000).round().cast(pl.Int64)
        return cls(refunds.height, int(micros.sum()))

    def __sub__(self, other: _Total) -> _Total:
        return _Total(self.rows - other.rows, self.micros - other.micros)

    def __str__(self) -> str:
        return f"{self.rows:,} rows of {self.micros / 1_000_000:,.2f} euro"

    def as_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "amount": self.micros / 1_000_000}


@dataclass(frozen=True)
class _Plan:
    """What becomes of the undated partition's rows; ``not_covered`` are the days that keep those without a date,
    ``recounted`` those of which rows with a date go. Rows that only move were counted for their day all the time.
    """

    moved: pl.DataFrame
    kept: pl.DataFrame
    totals: dict[str, _Total]
    not_covered: list[date]
    recounted: set[date]


def _of_all(change: Change) -> _Total:
    total = _Total(0, 0)
    for name in change.state.partitions:
        folder, _, month = name.partition("/")
        if folder == RFND.folder:
            of_month = _Total.of(change.read(RFND, month))
            total = _Total(total.rows + of_month.rows, total.micros + of_month.micros)
    return total


def _make_plan(change: Change) -> _Plan:
    import polars as pl

    refunds = change.read(RFND, UNDATED)
    undated = refunds.filter(pl.col(RFND.event_date).is_null())
    dated = refunds.filter(pl.col(RFND.event_date).is_not_null())
    all_there_is = {
        day
        for day, types in change.state.days.items()
        if RFND.name in types and types[RFND.name].source in _ALL_THERE_IS
    }
    outdated = pl.col(RFND.event_date).cast(pl.Date).is_in(sorted(all_there_is))
    current = dated.filter(~outdated)
    present = [change.read(RFND, month) for month in _months(current)]
    moved = without_duplicates(current, RFND)
    if present:
        moved = moved.join(pl.concat(present), on=RFND.key, how="anti", nulls_equal=True, maintain_order="left")
    first, last = min(change.state.days, default=None), max(change.state.days, default=None)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)] if first and last else []
    not_covered = [day for day in days if day not in all_there_is] if undated.height else []
    kept = undated if not_covered or not days else undated.clear()
    totals = {
        "moved": _Total.of(moved),
        "outdated": _Total.of(dated.filter(outdated)),
        "duplicates": _Total.of(current) - _Total.of(moved),
        "removed": _Total.of(undated) - _Total.of(kept),
        "kept": _Total.of(kept),
    }
    going = dated.height > moved.height
    return _Plan(moved, kept, totals, not_covered, set(rows_by_day(dated[RFND.event_date])) if going else set())


def _months(refunds: pl.DataFrame) -> list[str]:
    return sorted(refunds[RFND.event_date].dt.strftime("%Y-%m").unique())


def _carry_out(plan: _Plan, change: Change) -> None:
    import polars as pl

    for month in _months(plan.moved):
        of_month = plan.moved.filter(pl.col(RFND.event_date).dt.strftime("%Y-%m") == month)
        merged = in_order(pl.concat([change.read(RFND, month), of_month]), RFND)
        change.write(RFND, month, merged)
        new = rows_by_day(of_month[RFND.event_date])
        for day, rows in rows_by_day(merged[RFND.event_date]).items():
            if day in new:
                known = change.state.days.get(day, {}).get(RFND.name, LoadedDay(0, "found"))
                change.state.record(day, RFND, replace(known, rows=rows))
    if any(total.rows for name, total in plan.totals.items() if name != "kept"):
        change.write(RFND, UNDATED, plan.kept)


def _reason(not_covered: list[date]) -> str:
    if not not_covered:
        return "the lake has nothing else to tell the days they may be of"
    return f"{render_some(not_covered, NAMED)} were neither loaded nor imported nor confirmed to be without refunds"
