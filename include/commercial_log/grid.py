"""Where in the weekly programme grid a spot was bought: one language block, several, run of schedule, or no grid.

Optional, after the load. The language of a spot comes from the language assignment, never from here.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Literal, NamedTuple

from include.commercial_log.database import SYSTEM, timestamp
from include.common.results import StepResult
from include.common.sql import read_sql, transaction

_HOUR = 3600
_MIDNIGHT = 24 * _HOUR
_STANDARD_GRID = 1
_CHINESE = {"M", "C"}
_CHINESE_HOURS = {6, 7, 19, 20, 21, 22, 23}
_TAGALOG_WINDOWS = {(16 * _HOUR, 19 * _HOUR), (17 * _HOUR, 19 * _HOUR)}
_MANY_BLOCKS = 15

Intent = Literal["language_specific", "indifferent", "no_grid_coverage"]
Campaign = Literal["direct_response", "paid_programming", "language_specific", "ros", "multi_language"]


class Spot(NamedTuple):
    """What the rules look at. Times are ``HH:MM:SS``, ``air_date`` is an ISO date, ``language_code`` is only a hint."""

    bill_code: str
    agency_name: str | None
    revenue_type: str | None
    language_code: str | None
    market_id: int
    air_date: str
    day_of_week: str
    time_in: str
    time_out: str


class Block(NamedTuple):
    """A stretch of one weekday in one language; ``start`` and ``end`` in seconds since midnight."""

    block_id: int
    start: int
    end: int
    language_code: str
    family: str
    name: str


class Assignment(NamedTuple):
    """The schedule of a market from ``first_day`` to ``last_day`` (ISO dates, both included)."""

    schedule_id: int
    first_day: str
    last_day: str


@dataclass(frozen=True)
class Grid:
    """``blocks`` by schedule and lower-case weekday in the order of the day, ``assignments`` by market, best first."""

    blocks: Mapping[tuple[int, str], Sequence[Block]]
    assignments: Mapping[int, Sequence[Assignment]]

    def schedule_on(self, market_id: int, day: str) -> int | None:
        """The schedule of the market valid on the day, else its best active one."""
        assignments = self.assignments.get(market_id, ())
        valid = (a.schedule_id for a in assignments if a.first_day <= day <= a.last_day)
        return next(valid, assignments[0].schedule_id if assignments else None)

    def blocks_between(self, schedule_id: int, day_of_week: str, start: int, end: int) -> list[Block]:
        """The blocks of that weekday the window touches; a window past midnight does not reach into the next day."""
        return [b for b in self.blocks.get((schedule_id, day_of_week), ()) if b.start < end and b.end > start]


@dataclass(frozen=True)
class Classification:
    """The columns of a ``spot_language_blocks`` row that the rules decide."""

    customer_intent: Intent
    campaign_type: Campaign | None
    business_rule_applied: str | None = None
    schedule_id: int | None = _STANDARD_GRID
    block_id: int | None = None
    blocks_spanned: tuple[int, ...] | None = ()
    primary_block_id: int | None = None
    intent_confidence: float = 1.0
    alert_reason: str | None = None

    @property
    def spans_multiple_blocks(self) -> bool:
        return self.blocks_spanned is not None

    @property
    def requires_attention(self) -> bool:
        return self.alert_reason is not None

    @property
    def assignment_method(self) -> str:
        return "auto_computed" if self.schedule_id is not None else "no_grid_available"


def classify_grid(db: sqlite3.Connection, *, months: Sequence[str] | None = None, now: datetime) -> StepResult:
    """Classify the spots of ``months`` (``Mmm-YY``; all months when None) that have a market, weekday and time window.

    Re-run: safe; one transaction, rows that would not change and rows set by a person are left alone.
    Raises StoreBusy when the database is locked.
    """
    campaigns: Counter[str] = Counter()
    attention = 0
    changes_before = db.total_changes
    assigned_date = timestamp(now)
    with transaction(db):
        grid = read_grid(db)
        if months is None:
            months = [month for month, _ in db.execute(read_sql(SYSTEM, "select_months"))]
        for month in dict.fromkeys(months):
            found = [
                (spot_id, classify(Spot(*spot), grid))
                for spot_id, *spot in db.execute(read_sql(SYSTEM, "select_grid_spots"), {"month": month})
            ]
            db.executemany(
                read_sql(SYSTEM, "upsert_spot_language_blocks"),
                ({"spot_id": spot_id, "assigned_date": assigned_date, **_columns(c)} for spot_id, c in found),
            )
            campaigns.update(c.campaign_type or c.customer_intent for _, c in found)
            attention += sum(c.requires_attention for _, c in found)
    return StepResult(
        where="spot_language_blocks",
        read=campaigns.total(),
        written=db.total_changes - changes_before,
        facts={"months": list(dict.fromkeys(months)), "campaigns": dict(campaigns), "requires_attention": attention},
    )


def read_grid(db: sqlite3.Connection) -> Grid:
    """The active programme grids and which market follows which."""
    blocks: dict[tuple[int, str], list[Block]] = {}
    for schedule_id, day, block_id, start, end, code, family, name in db.execute(
        read_sql(SYSTEM, "select_grid_blocks")
    ):
        block = Block(block_id, _seconds(start), _seconds(end), code, family, name)
        blocks.setdefault((schedule_id, day), []).append(block)
    assignments: dict[int, list[Assignment]] = {}
    for market_id, *assignment in db.execute(read_sql(SYSTEM, "select_grid_assignments")):
        assignments.setdefault(market_id, []).append(Assignment(*assignment))
    return Grid(blocks, assignments)


def classify(spot: Spot, grid: Grid) -> Classification:
    """The first rule of G1 to G13 that fits.

    Not written out, because an earlier rule always decides: the whole of G6 (such a window is longer than six hours,
    or starts at 21:00 or later and belongs to G3), the exception of G5 (a Tagalog window lasts three hours at most)
    and the duration in G13 (long windows end at G5).
    """
    start, end = _window(spot)
    duration = end - start
    day = spot.day_of_week.strip().lower()
    hint = (spot.language_code or "").strip().upper()

    if "worldlink" in f"{spot.bill_code}\n{spot.agency_name}".lower():
        return Classification("indifferent", "direct_response", "worldlink_direct_response")
    if (spot.revenue_type or "").strip().lower() == "paid programming":
        return Classification("indifferent", "paid_programming", "revenue_type_paid_programming")

    hmong_weekend = day in ("saturday", "sunday") and start < 20 * _HOUR and hint in ("H", "HM")
    if duration <= 6 * _HOUR and start // _HOUR in _CHINESE_HOURS and not hmong_weekend:
        touched = grid.blocks_between(_STANDARD_GRID, day, start, end)
        chinese = [block for block in touched if block.language_code in _CHINESE]
        if chinese:
            rule = "operational_chinese_time"
            return _placed("indifferent", rule, _STANDARD_GRID, chinese, _first_chinese(chinese))
    elif 19 * _HOUR <= start <= 23.5 * _HOUR and hint in ("M", "C", "M/C"):
        return Classification("language_specific", "language_specific", "chinese_pattern")
    elif duration > 6 * _HOUR:
        return Classification("indifferent", "ros", "ros_duration")

    schedule_id = grid.schedule_on(spot.market_id, spot.air_date)
    if schedule_id is None:
        return _uncovered(None, "No programming grid for market")
    blocks = grid.blocks_between(schedule_id, day, start, end)
    if not blocks:
        return _uncovered(schedule_id, "No language blocks cover spot time")

    languages = {block.language_code for block in blocks}
    if (start, end) == (19 * _HOUR, _MIDNIGHT) and languages & _CHINESE:
        return _placed("language_specific", "chinese_family_span", schedule_id, blocks, _first_chinese(blocks))
    if (start, end) in _TAGALOG_WINDOWS and hint == "T" and "T" in languages:
        tagalog = [block for block in blocks if block.language_code == "T"]
        return _placed("language_specific", "tagalog_pattern", schedule_id, tagalog[:1], tagalog[0])
    if len(blocks) == 1 or len({block.family for block in blocks}) == 1:
        primary = next((block for block in blocks if block.language_code.upper() == hint), blocks[0])
        return _placed("language_specific", None, schedule_id, blocks, primary)

    many = len(blocks) >= _MANY_BLOCKS
    return Classification(
        customer_intent="indifferent",
        campaign_type="ros" if many else "multi_language",
        schedule_id=schedule_id,
        blocks_spanned=tuple(block.block_id for block in blocks),
        intent_confidence=0.5,
        alert_reason=None if many else f"Spot time spans {len(blocks)} language blocks of different languages",
    )


def _placed(intent: Intent, rule: str | None, schedule_id: int, blocks: list[Block], primary: Block) -> Classification:
    single = len(blocks) == 1
    return Classification(
        customer_intent=intent,
        campaign_type="language_specific",
        business_rule_applied=rule,
        schedule_id=schedule_id,
        block_id=primary.block_id if single else None,
        blocks_spanned=None if single else tuple(block.block_id for block in blocks),
        primary_block_id=None if single else primary.block_id,
    )


def _uncovered(schedule_id: int | None, reason: str) -> Classification:
    return Classification(
        customer_intent="no_grid_coverage",
        campaign_type=None,
        schedule_id=schedule_id,
        blocks_spanned=None,
        intent_confidence=0.0,
        alert_reason=reason,
    )


def _first_chinese(blocks: list[Block]) -> Block:
    """The Mandarin prime block, else the first Mandarin block, else the first Cantonese one."""
    ranks = {"M": 1, "C": 2}

    def rank(block: Block) -> int:
        return 0 if block.language_code == "M" and "prime" in block.name.lower() else ranks.get(block.language_code, 3)

    return min(blocks, key=rank)


def _window(spot: Spot) -> tuple[int, int]:
    """Start and end in seconds since the midnight before the start; an end before the start is on the next day."""
    start, end = _seconds(spot.time_in), _seconds(spot.time_out)
    return start, end if end >= start else end + _MIDNIGHT


@cache
def _seconds(time: str) -> int:
    hours, minutes, seconds = time.split(":")
    return int(hours) * _HOUR + int(minutes) * 60 + int(seconds)


def _columns(classification: Classification) -> dict[str, object]:
    spanned = classification.blocks_spanned
    return {
        **asdict(classification),
        "blocks_spanned": None if spanned is None else json.dumps(spanned),
        "spans_multiple_blocks": classification.spans_multiple_blocks,
        "requires_attention": classification.requires_attention,
        "assignment_method": classification.assignment_method,
    }
