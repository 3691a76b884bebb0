"""Programme-grid classification: domain rules G1 to G13, and the revenue report G14."""

from __future__ import annotations

import random
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from include.commercial_log.database import open_database
from include.commercial_log.grid import Assignment, Classification, Grid, Spot, classify, classify_grid, read_grid
from include.errors import StoreBusy

NOW = datetime(2025, 9, 2, 1, 45, tzinfo=timezone(timedelta(hours=-7)))
MARKETS = {"NYC": 1, "SFO": 3, "LAX": 6, "DAL": 8, "nowhere": 99}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(tmp_path / "booked.db", create=True)) as connection:
        yield connection


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    with closing(open_database(tmp_path_factory.mktemp("grid") / "booked.db", create=True)) as connection:
        return read_grid(connection)


def spot(window: str, day: str = "monday", hint: str | None = None, market: str = "SFO", **other: Any) -> Spot:
    """A spot of an ordinary customer; ``window`` is ``HH:MM-HH:MM``."""
    time_in, time_out = window.split("-")
    return Spot(
        **{
            "bill_code": "North Media:Blue Farms",
            "agency_name": "North Media",
            "revenue_type": "Internal Ad Sales",
            "language_code": hint,
            "market_id": MARKETS[market],
            "air_date": "2025-09-01",
            "day_of_week": day,
            "time_in": f"{time_in}:00",
            "time_out": f"{time_out}:00",
        }
        | other
    )


def blocks_of(grid: Grid, classification: Classification) -> list[str]:
    """``name @hour``, the primary one of several with a star."""
    by_id = {b.block_id: f"{b.name} @{b.start / 3600:g}" for blocks in grid.blocks.values() for b in blocks}
    if classification.block_id is not None:
        return [by_id[classification.block_id]]
    primary = classification.primary_block_id
    return [by_id[b] + ("*" if b == primary else "") for b in classification.blocks_spanned or ()]


ROS = Classification("indifferent", "ros", "ros_duration")


# --- G1 to G6 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        {"bill_code": "WorldLink:Blue Farms"},
        {"bill_code": "worldlink direct"},
        {"bill_code": "WL:Blue Farms", "agency_name": "WORLDLINK Ventures"},
    ],
)
def test_worldlink_is_direct_response_whatever_else_holds(grid: Grid, names: dict[str, str]) -> None:
    """G1, before G2."""
    assert classify(spot("20:00-21:00", hint="M", revenue_type="Paid Programming", **names), grid) == Classification(
        customer_intent="indifferent",
        campaign_type="direct_response",
        business_rule_applied="worldlink_direct_response",
        schedule_id=1,
        block_id=None,
        blocks_spanned=(),
        primary_block_id=None,
        alert_reason=None,
    )


@pytest.mark.parametrize("revenue_type", ["Paid Programming", "paid programming "])
def test_paid_programming_is_its_own_campaign(grid: Grid, revenue_type: str) -> None:
    """G2, before the Chinese hours of G3, and on the standard grid even in Dallas."""
    found = classify(spot("20:00-21:00", market="DAL", revenue_type=revenue_type, agency_name=None), grid)
    assert found == Classification("indifferent", "paid_programming", "revenue_type_paid_programming", 1)


@pytest.mark.parametrize(
    ("window", "day", "hint", "blocks"),
    [
        ("20:00-21:00", "monday", None, ["Mandarin Prime Block @20"]),
        ("06:00-07:00", "monday", "V", ["Mandarin Morning Block @6"]),
        ("07:30-10:00", "monday", "K", ["Mandarin Morning Block @6"]),
        ("19:00-20:00", "friday", "T", ["Cantonese Evening Block @19"]),
        (
            "19:00-24:00",
            "monday",
            None,
            ["Cantonese Evening Block @19", "Mandarin Prime Block @20*", "Cantonese Late Night Block @23.5"],
        ),
        ("06:00-08:00", "sunday", None, ["Mandarin Weekend Morning @6*", "Mandarin Morning Block @6.5"]),
        ("06:00-06:30", "sunday", "E", ["Mandarin Weekend Morning @6"]),
        ("06:00-12:00", "tuesday", None, ["Mandarin Morning Block @6"]),
        ("19:00-20:30", "saturday", "M", ["Mandarin Prime Block @20"]),
        ("20:00-21:00", "saturday", "Hm", ["Mandarin Prime Block @20"]),
        ("19:00-20:00", "monday", "Hm", ["Cantonese Evening Block @19"]),
    ],
)
def test_short_windows_in_chinese_hours_are_chinese(
    grid: Grid, window: str, day: str, hint: str | None, blocks: list[str]
) -> None:
    """G3: only the Chinese blocks count, the Mandarin prime block is the primary one, then the first Mandarin one."""
    found = classify(spot(window, day, hint), grid)
    assert blocks_of(grid, found) == blocks
    assert (found.campaign_type, found.business_rule_applied) == ("language_specific", "operational_chinese_time")
    assert (found.customer_intent, found.schedule_id, found.requires_attention) == ("indifferent", 1, False)
    assert found.spans_multiple_blocks == (len(blocks) > 1)


@pytest.mark.parametrize("end", ["00:00", "00:30", "01:00", "04:59"])
def test_a_window_past_midnight_stays_on_the_blocks_of_its_first_day(grid: Grid, end: str) -> None:
    """G3: 23:00-00:30 lasts 90 minutes and does not touch the block 00-06 of the same weekday."""
    found = classify(spot(f"23:00-{end}"), grid)
    assert blocks_of(grid, found) == ["Mandarin Prime Block @20*", "Cantonese Late Night Block @23.5"]
    assert found.business_rule_applied == "operational_chinese_time"


def test_cantonese_is_primary_when_there_is_no_mandarin_block(grid: Grid) -> None:
    """G3."""
    cantonese = [block for block in grid.blocks[1, "monday"] if block.language_code == "C"]
    found = classify(spot("19:00-24:00"), Grid({(1, "monday"): cantonese}, grid.assignments))
    assert blocks_of(grid, found) == ["Cantonese Evening Block @19*", "Cantonese Late Night Block @23.5"]


@pytest.mark.parametrize(
    ("window", "day", "hint", "blocks"),
    [
        ("06:30-07:30", "saturday", None, []),
        ("07:00-09:00", "saturday", "Hm", ["Korean Morning Block @8"]),
        ("19:00-20:00", "saturday", "M", ["The Hmong Entertainment Hour @18"]),
    ],
)
def test_chinese_hours_without_a_chinese_block_go_on_to_the_grid_of_the_market(
    grid: Grid, window: str, day: str, hint: str | None, blocks: list[str]
) -> None:
    """G3 continues at G7, past G4."""
    found = classify(spot(window, day, hint), grid)
    assert blocks_of(grid, found) == blocks
    assert found.business_rule_applied is None
    assert found.customer_intent == ("language_specific" if blocks else "no_grid_coverage")


@pytest.mark.parametrize("hint", ["Hm", "HM", "H", "hm "])
@pytest.mark.parametrize("day", ["saturday", "sunday"])
def test_hmong_on_a_weekend_evening_is_not_chinese(grid: Grid, day: str, hint: str) -> None:
    """G3's exception: before 20:00 a Hmong spot belongs to the Hmong hour (G11)."""
    found = classify(spot("19:00-20:00", day, hint), grid)
    assert blocks_of(grid, found) == ["The Hmong Entertainment Hour @18"]
    assert (found.customer_intent, found.business_rule_applied) == ("language_specific", None)


@pytest.mark.parametrize("hint", ["M", "C", "M/C", " m"])
@pytest.mark.parametrize("window", ["19:00-02:00", "23:30-06:00"])
def test_a_chinese_spot_from_the_evening_on_is_chinese_however_long(grid: Grid, window: str, hint: str) -> None:
    """G4, before G5."""
    expected = Classification("language_specific", "language_specific", "chinese_pattern", 1, blocks_spanned=())
    assert classify(spot(window, hint=hint), grid) == expected


@pytest.mark.parametrize(
    ("window", "hint"),
    [
        ("06:00-23:59", None),
        ("13:00-23:59", "M"),
        ("06:00-12:01", None),
        ("09:00-16:00", "K"),
        ("19:00-02:00", "V"),
        ("23:31-06:00", "M"),
        ("21:00-05:00", None),
        ("00:00-24:00", None),
    ],
)
def test_a_window_of_more_than_six_hours_is_run_of_schedule(grid: Grid, window: str, hint: str | None) -> None:
    """G5."""
    assert classify(spot(window, hint=hint), grid) == ROS
    assert classify(spot(window, hint=hint, market="DAL"), grid) == ROS


def test_a_window_of_exactly_six_hours_is_not_run_of_schedule(grid: Grid) -> None:
    """G5 ends at 360 minutes; one second more and it holds."""
    assert classify(spot("08:00-14:00"), grid).campaign_type == "multi_language"
    assert classify(spot("08:00-14:00", time_out="14:00:01"), grid) == ROS


def test_every_window_of_the_time_rule_is_decided_by_an_earlier_rule(grid: Grid) -> None:
    """G6 (13:00-23:59, 06:00-23:59, or into the next day from 21:00 on or from before 07:00) never comes to decide."""
    quarters = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(0, 1440, 15)]
    windows = ["13:00-23:59", "06:00-23:59"] + [
        f"{start}-{end}" for start in quarters for end in quarters if end < start and (start >= "21" or start < "07")
    ]
    rules = {
        classify(spot(window, day, hint), grid).business_rule_applied
        for window in windows
        for day in ("monday", "saturday", "sunday")
        for hint in (None, "M", "Hm")
    }
    assert rules == {"operational_chinese_time", "chinese_pattern", "ros_duration"}


# --- G7 and G8 ------------------------------------------------------------------------------------------------------


def test_a_market_without_a_grid_needs_attention(grid: Grid) -> None:
    """G7."""
    found = classify(spot("10:00-11:00", market="nowhere"), grid)
    assert found == Classification(
        customer_intent="no_grid_coverage",
        campaign_type=None,
        schedule_id=None,
        blocks_spanned=None,
        intent_confidence=0.0,
        alert_reason="No programming grid for market",
    )
    assert (found.assignment_method, found.requires_attention) == ("no_grid_available", True)


@pytest.mark.parametrize(
    ("air_date", "schedule_id"),
    [("2024-12-31", 2), ("2025-01-01", 1), ("2025-06-30", 1), ("2025-07-01", 2), ("2025-12-31", 2), ("2026-01-01", 1)],
)
def test_the_schedule_valid_on_the_air_date_counts_else_the_best_one(
    grid: Grid, air_date: str, schedule_id: int
) -> None:
    """G7: the best first is by priority, then by start."""
    assignments = [Assignment(2, "2025-07-01", "2025-12-31"), Assignment(1, "2025-01-01", "9999-12-31")]
    own = Grid(grid.blocks, {3: assignments})
    assert classify(spot("16:00-17:00", air_date=air_date), own).schedule_id == schedule_id


def test_assignments_are_read_by_priority_then_by_start(db: sqlite3.Connection) -> None:
    """G7: inactive schedules do not count, and no assignment outlives its schedule."""
    db.execute(
        "INSERT INTO programming_schedules (schedule_id, schedule_name, schedule_version, schedule_type, "
        "effective_start_date, effective_end_date, is_active) VALUES (3, 'Summer', '1', 'standard', '2025-06-01', "
        "'2025-08-31', 1), (4, 'Old', '1', 'standard', '2025-01-01', NULL, 0)"
    )
    db.executemany(
        "INSERT INTO schedule_market_assignments (market_id, schedule_id, effective_start_date, effective_end_date, "
        "assignment_priority) VALUES (3, ?, ?, ?, ?)",
        [(3, "2025-05-01", None, 2), (2, "2025-03-01", "2025-03-31", 1), (4, "2025-01-01", None, 9)],
    )
    assert read_grid(db).assignments[3] == [
        Assignment(3, "2025-06-01", "2025-08-31"),
        Assignment(2, "2025-03-01", "2025-03-31"),
        Assignment(1, "2025-01-01", "9999-12-31"),
    ]


@pytest.mark.parametrize(("window", "day"), [("10:00-11:00", "monday"), ("18:00-19:00", "friday"), ("09:00-09:30", "")])
def test_a_gap_in_the_grid_needs_attention(grid: Grid, window: str, day: str) -> None:
    """G8: Dallas has no programme 10-11 and, on weekdays, 18-20."""
    found = classify(spot(window, day, market="DAL"), grid)
    assert found == Classification(
        customer_intent="no_grid_coverage",
        campaign_type=None,
        schedule_id=2,
        blocks_spanned=None,
        intent_confidence=0.0,
        alert_reason="No language blocks cover spot time",
    )
    assert found.assignment_method == "auto_computed"


# --- G9 to G13 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "blocks"),
    [
        (
            "SFO",
            ["The Hmong Entertainment Hour @18", "Mandarin Prime Block @20*", "Cantonese Late Night Block @23.5"],
        ),
        (
            "DAL",
            [
                "Phoenix Evening Express @19",
                "The Starry Love @20",
                "Mandarin Prime Block 1 @21*",
                "Mandarin Prime Block 2 @22",
                "Korean Late Night Block @23",
            ],
        ),
    ],
)
def test_the_whole_evening_with_a_chinese_block_is_chinese(grid: Grid, market: str, blocks: list[str]) -> None:
    """G9: reached by the Hmong exception of G3; all blocks count, the Mandarin prime block is the primary one."""
    found = classify(spot("19:00-24:00", "saturday", "Hm", market), grid)
    assert blocks_of(grid, found) == blocks
    assert (found.customer_intent, found.campaign_type) == ("language_specific", "language_specific")
    assert found.business_rule_applied == "chinese_family_span"


@pytest.mark.parametrize("window", ["16:00-19:00", "17:00-19:00"])
@pytest.mark.parametrize("day", ["monday", "sunday"])
def test_the_filipino_afternoon_is_one_block(grid: Grid, window: str, day: str) -> None:
    """G10, before G12 and G13."""
    found = classify(spot(window, day, "T"), grid)
    assert blocks_of(grid, found) == ["Filipino Afternoon Block @16"]
    assert (found.customer_intent, found.business_rule_applied) == ("language_specific", "tagalog_pattern")
    assert not found.spans_multiple_blocks


def test_without_a_filipino_block_the_tagalog_rule_does_not_hold(grid: Grid) -> None:
    """G10 in Dallas falls to G12, both blocks being Chinese."""
    found = classify(spot("16:00-19:00", hint="T", market="DAL"), grid)
    assert blocks_of(grid, found) == ["Mandarin Children Block @16*", "Cantonese Evening Block @17"]
    assert found.business_rule_applied is None


@pytest.mark.parametrize(
    ("window", "day", "market", "block"),
    [
        ("11:00-13:00", "monday", "SFO", "Vietnamese Midday Block @11"),
        ("08:30-09:00", "saturday", "NYC", "Korean Morning Block @8"),
        ("16:00-18:00", "monday", "LAX", "Filipino Afternoon Block @16"),
        ("00:00-06:00", "monday", "SFO", "English Shopping Block @0"),
        ("14:00-15:00", "monday", "DAL", "Primetime News @14"),
        ("18:00-19:00", "saturday", "DAL", "Cantonese News Block @18"),
        ("05:00-05:00", "monday", "SFO", "English Shopping Block @0"),
    ],
)
def test_one_block_is_language_specific(grid: Grid, window: str, day: str, market: str, block: str) -> None:
    """G11."""
    found = classify(spot(window, day, market=market), grid)
    assert blocks_of(grid, found) == [block]
    assert (found.customer_intent, found.campaign_type) == ("language_specific", "language_specific")
    assert (found.spans_multiple_blocks, found.requires_attention) == (False, False)


@pytest.mark.parametrize(
    ("window", "hint", "market", "blocks"),
    [
        ("16:00-19:00", None, "SFO", ["Filipino Afternoon Block @16*", "Filipino Extended Block @18"]),
        ("16:00-18:00", None, "DAL", ["Mandarin Children Block @16*", "Cantonese Evening Block @17"]),
        ("16:00-18:00", "C", "DAL", ["Mandarin Children Block @16", "Cantonese Evening Block @17*"]),
        (
            "00:00-03:00",
            "K",
            "DAL",
            ["Mandarin Late Night Block @0*", "Cantonese Late Night Block @1", "P. N. Late @2"],
        ),
    ],
)
def test_several_blocks_of_one_family_are_language_specific(
    grid: Grid, window: str, hint: str | None, market: str, blocks: list[str]
) -> None:
    """G12: the block in the language of the spot is the primary one, else the first."""
    found = classify(spot(window, hint=hint, market=market), grid)
    assert [name.replace("Primetime News", "P. N.") for name in blocks_of(grid, found)] == blocks
    assert (found.customer_intent, found.campaign_type) == ("language_specific", "language_specific")
    assert (found.business_rule_applied, found.requires_attention) == (None, False)


@pytest.mark.parametrize(
    ("window", "day", "market", "hint", "blocks"),
    [
        ("08:00-11:00", "monday", "SFO", "K", ["Korean Morning Block @8", "Japanese Morning Block @10"]),
        ("19:00-21:00", "saturday", "SFO", "Hm", ["The Hmong Entertainment Hour @18", "Mandarin Prime Block @20"]),
        ("11:30-12:30", "monday", "DAL", None, ["Korean Midday Block @11", "Marketplace @12"]),
    ],
)
def test_blocks_of_different_languages_need_attention(
    grid: Grid, window: str, day: str, market: str, hint: str | None, blocks: list[str]
) -> None:
    """G13."""
    found = classify(spot(window, day, hint, market), grid)
    assert blocks_of(grid, found) == blocks
    assert (found.customer_intent, found.campaign_type) == ("indifferent", "multi_language")
    assert found.alert_reason == f"Spot time spans {len(blocks)} language blocks of different languages"


@pytest.mark.parametrize(("count", "campaign", "attention"), [(14, "multi_language", True), (15, "ros", False)])
def test_fifteen_blocks_are_run_of_schedule(grid: Grid, count: int, campaign: str, attention: bool) -> None:  # noqa: FBT001
    """G13."""
    crowd = [grid.blocks[1, "monday"][index % 2 + 2]._replace(block_id=index) for index in range(count)]
    found = classify(spot("09:00-11:00"), Grid({(1, "monday"): crowd}, grid.assignments))
    assert (found.campaign_type, found.requires_attention) == (campaign, attention)
    assert found.blocks_spanned == tuple(range(count))


# --- the step -------------------------------------------------------------------------------------------------------


def add(db: sqlite3.Connection, *spots: Spot, month: str = "Sep-25", **columns: Any) -> None:
    extra = {"broadcast_month": month} | columns
    names = [*Spot._fields, *extra]
    names.remove("agency_name")
    db.executemany(
        f"INSERT INTO spots ({', '.join(names)}) VALUES ({', '.join(':' + name for name in names)})",
        [s._asdict() | extra for s in spots],
    )


COLUMNS = (
    "spot_id, schedule_id, block_id, customer_intent, intent_confidence, spans_multiple_blocks, blocks_spanned, "
    "primary_block_id, assignment_method, requires_attention, alert_reason, business_rule_applied, campaign_type, "
    "assigned_date, assigned_by"
)


def stored(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return db.execute(f"SELECT {COLUMNS} FROM spot_language_blocks ORDER BY spot_id").fetchall()


WRITTEN = "2025-09-02 08:45:00"  # NOW in UTC


def test_the_spots_of_a_month_are_classified_and_stored(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO markets (market_id, market_code, market_name) VALUES (99, 'PHX', 'PHX')")
    add(
        db,
        spot("11:00-13:00", day="Monday"),
        spot("06:00-08:00", "sunday"),
        spot("06:00-23:59"),
        spot("10:00-11:00", market="nowhere"),
        spot("10:00-11:00", market="DAL"),
        spot("08:00-11:00"),
    )
    result = classify_grid(db, months=["Sep-25"], now=NOW)
    auto, common = "auto_computed", (WRITTEN, "system")
    several = "Spot time spans 2 language blocks of different languages"
    assert stored(db) == [
        (1, 1, 5, "language_specific", 1.0, 0, None, None, auto, 0, None, None, "language_specific", *common),
        (
            *(2, 1, None, "indifferent", 1.0, 1, "[67, 68]", 67, auto, 0, None),
            *("operational_chinese_time", "language_specific", *common),
        ),
        (3, 1, None, "indifferent", 1.0, 1, "[]", None, auto, 0, None, "ros_duration", "ros", *common),
        (
            *(4, None, None, "no_grid_coverage", 0.0, 0, None, None, "no_grid_available", 1),
            *("No programming grid for market", None, None, *common),
        ),
        (
            *(5, 2, None, "no_grid_coverage", 0.0, 0, None, None, auto, 1),
            *("No language blocks cover spot time", None, None, *common),
        ),
        (6, 1, None, "indifferent", 0.5, 1, "[3, 4]", None, auto, 1, several, None, "multi_language", *common),
    ]
    assert result.as_dict() == {
        "where": "spot_language_blocks",
        "read": 6,
        "written": 6,
        "rejected": 0,
        "bytes": 0,
        "warnings": [],
        "facts": {
            "months": ["Sep-25"],
            "campaigns": {"language_specific": 2, "ros": 1, "no_grid_coverage": 2, "multi_language": 1},
            "requires_attention": 3,
        },
    }


def test_the_agency_of_a_spot_is_looked_up(db: sqlite3.Connection) -> None:
    """G1: the agency's name, not only the bill code."""
    db.execute("INSERT INTO agencies (agency_id, agency_name) VALUES (1, 'WorldLink Ventures')")
    add(db, spot("10:00-11:00", bill_code="WL:Blue Farms"), agency_id=1)
    assert classify_grid(db, now=NOW).facts["campaigns"] == {"direct_response": 1}


def test_only_the_given_months_are_classified(db: sqlite3.Connection) -> None:
    for month in ("Aug-25", "Sep-25", "Oct-25"):
        add(db, spot("11:00-13:00"), month=month)
    assert classify_grid(db, months=["Aug-25", "Oct-25", "Nov-25", "Aug-25"], now=NOW).written == 2
    assert [row[0] for row in stored(db)] == [1, 3]
    assert classify_grid(db, now=NOW).facts["months"] == ["Aug-25", "Oct-25", "Sep-25"]
    assert [row[0] for row in stored(db)] == [1, 2, 3]


@pytest.mark.parametrize(
    "column",
    [{"market_id": None}, {"time_in": None}, {"time_out": "noon"}, {"day_of_week": None}, {"day_of_week": " "}],
)
def test_spots_without_market_time_or_day_are_left_out(db: sqlite3.Connection, column: dict[str, Any]) -> None:
    """5.6: eligible are spots with market, time_in, time_out and day_of_week; BAD_TIME texts (R25) are no time."""
    add(db, spot("11:00-13:00", **column))
    assert classify_grid(db, months=["Sep-25"], now=NOW).read == 0
    assert stored(db) == []


def test_classifying_again_changes_nothing(db: sqlite3.Connection) -> None:
    add(db, spot("11:00-13:00"), spot("06:00-08:00", "sunday"), spot("08:00-11:00"), spot("10:00-11:00", market="DAL"))
    classify_grid(db, months=["Sep-25"], now=NOW)
    before = list(db.iterdump())
    again = classify_grid(db, months=["Sep-25"], now=NOW + timedelta(days=1))
    assert (again.read, again.written) == (4, 0)
    assert list(db.iterdump()) == before


def test_a_changed_grid_changes_the_spots_it_touches_and_no_other(db: sqlite3.Connection) -> None:
    add(db, spot("11:00-13:00"), spot("08:00-09:00"))
    classify_grid(db, months=["Sep-25"], now=NOW)
    db.execute("UPDATE language_blocks SET is_active = 0 WHERE block_name = 'Vietnamese Midday Block'")
    assert classify_grid(db, months=["Sep-25"], now=NOW + timedelta(days=1)).written == 1
    assert [(row[0], row[3], row[13]) for row in stored(db)] == [
        (1, "no_grid_coverage", "2025-09-03 08:45:00"),
        (2, "language_specific", WRITTEN),
    ]


def test_what_a_person_decided_stays(db: sqlite3.Connection) -> None:
    add(db, spot("11:00-13:00"), spot("11:00-13:00"))
    db.execute(
        "INSERT INTO spot_language_blocks (spot_id, schedule_id, block_id, customer_intent, intent_confidence, "
        "assignment_method, campaign_type, assigned_date, assigned_by) "
        "VALUES (1, 1, 7, 'time_specific', 1.0, 'manual_override', 'roadblock', '2025-08-01 09:00:00', 'ana')"
    )
    by_hand = stored(db)
    result = classify_grid(db, months=["Sep-25"], now=NOW)
    assert (result.read, result.written) == (2, 1)
    assert stored(db)[:1] == by_hand


def test_an_error_leaves_the_classification_as_it_was(db: sqlite3.Connection) -> None:
    add(db, spot("11:00-13:00"), month="Aug-25")
    add(db, spot("11:00-13:00"), month="Sep-25")
    db.execute(
        "CREATE TEMP TRIGGER full_disk BEFORE INSERT ON main.spot_language_blocks WHEN new.spot_id = 2 "
        "BEGIN SELECT raise(ABORT, 'no space left'); END"
    )
    with pytest.raises(sqlite3.IntegrityError, match="no space left"):
        classify_grid(db, months=["Aug-25", "Sep-25"], now=NOW)
    assert stored(db) == []
    assert not db.in_transaction


def test_a_database_in_use_is_reported_as_busy(db: sqlite3.Connection, tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "booked.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        db.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(StoreBusy):
            classify_grid(db, now=NOW)


# --- G14 ------------------------------------------------------------------------------------------------------------


def test_every_spot_falls_into_the_first_report_category_that_fits(db: sqlite3.Connection) -> None:
    """G14."""
    money: dict[str, Any] = {"gross_rate": 100.0, "station_net": 85.0}
    ordinary, ros, mixed = spot("11:00-13:00"), spot("06:00-23:59"), spot("08:00-11:00")
    add(db, spot("11:00-13:00", bill_code="WorldLink:A", revenue_type="Paid Programming"), spot_type="PRD", **money)
    add(db, spot("11:00-13:00", revenue_type="Paid Programming"), spot_type="PRD", **money)
    add(db, ordinary, spot_type="PRD", **money)
    add(db, ordinary, spot_type="SVC", **money)
    add(db, ordinary, ordinary, spot_type="COM", **money)
    add(db, ordinary, spot_type="BNS")
    add(db, ros, spot_type="BNS", gross_rate=1.0)
    add(db, ros, spot_type=None, station_net=7.5)
    add(db, mixed, spot_type="COM", **money)
    add(db, spot("10:00-11:00", market="DAL"), spot_type="CRD", gross_rate=-40.0)
    add(db, spot("11:00-13:00", market_id=None), spot_type="COM", gross_rate=9.0)
    add(db, ordinary, spot_type="COM")  # neither money nor bonus: not in the base
    add(db, ordinary, spot_type="COM", month="Dec-24", gross_rate=3.0)
    classify_grid(db, now=NOW)
    assert db.execute("SELECT * FROM v_revenue_by_category").fetchall() == [
        ("Dec-24", "Individual Language Blocks", 1, 1, 3.0, 0.0),
        ("Sep-25", "Direct Response", 1, 1, 100.0, 85.0),
        ("Sep-25", "Paid Programming", 1, 1, 100.0, 85.0),
        ("Sep-25", "Branded Content", 1, 1, 100.0, 85.0),
        ("Sep-25", "Services", 1, 1, 100.0, 85.0),
        ("Sep-25", "Individual Language Blocks", 3, 2, 200.0, 170.0),
        ("Sep-25", "ROS", 2, 1, 1.0, 7.5),
        ("Sep-25", "Multi-Language", 1, 1, 100.0, 85.0),
        ("Sep-25", "Other", 2, 2, -31.0, 0.0),
    ]


def add_many(db: sqlite3.Connection, count: int) -> list[dict[str, Any]]:
    """Seeded spots over all windows, days, markets and types; some without money, some without a market."""
    draw = random.Random(42)
    windows = ["06:00-23:59", "19:00-24:00", "23:00-00:30", "16:00-19:00", "11:00-13:00", "08:00-11:00", "10:00-11:00"]
    days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    spots = []
    for _ in range(count):
        one = spot(
            draw.choice(windows),
            draw.choice(days),
            draw.choice([None, "M", "C", "T", "Hm", "K", "V"]),
            draw.choice(["NYC", "SFO", "LAX", "DAL"]),
            bill_code=draw.choice(["WorldLink:Seven Seas", "North Media:Blue Farms", "Red Barn"]),
            revenue_type=draw.choice(["Internal Ad Sales", "Direct Response Sales", "Paid Programming", "Other", None]),
        )._asdict()
        del one["agency_name"]
        one["market_id"] = draw.choice([one["market_id"]] * 9 + [None])
        one["spot_type"] = draw.choice(["COM", "BNS", "PRD", "SVC", "CRD", None])
        one["gross_rate"] = draw.choice([None, draw.choice([-1, 1]) * draw.lognormvariate(3.7, 1)])
        one["station_net"] = one["gross_rate"] and draw.choice([None, one["gross_rate"] * 0.85])
        one["broadcast_month"] = draw.choice(["Aug-25", "Sep-25", "Oct-25", "Nov-25"])
        spots.append(one)
    db.execute("BEGIN")
    names = list(spots[0])
    db.executemany(f"INSERT INTO spots ({', '.join(names)}) VALUES ({', '.join(':' + n for n in names)})", spots)
    db.execute("COMMIT")
    return spots


def test_a_spot_costs_the_same_however_many_there_are(db: sqlite3.Connection) -> None:
    """Some 130 steps of SQLite and 310 calls in Python, on every machine: half a second for a day of 15,576 spots."""
    add_many(db, 2_000)
    done = {"steps": 0, "calls": 0}

    def step() -> int:
        done["steps"] += 100
        return 0  # go on

    def call(*_: object) -> None:
        done["calls"] += 1

    db.set_progress_handler(step, 100)
    sys.setprofile(call)
    try:
        classify_grid(db, now=NOW)
    finally:
        sys.setprofile(None)
        db.set_progress_handler(None, 0)

    assert all(0 < each < 1_000 * 2_000 for each in done.values()), done


def test_the_revenue_of_a_full_workbook_reconciles(db: sqlite3.Connection) -> None:
    """G14: the categories add up to the base within one cent; 15,576 spots are the volume of a day."""
    spots = add_many(db, 15_576)

    classify_grid(db, now=NOW)

    base = [s for s in spots if s["gross_rate"] is not None or s["station_net"] is not None or s["spot_type"] == "BNS"]
    report = db.execute("SELECT sum(spots), sum(paid_spots), sum(gross_sum), sum(net_sum) FROM v_revenue_by_category")
    spots_reported, paid_reported, gross_reported, net_reported = report.fetchone()
    assert spots_reported == len(base)
    assert paid_reported == sum(s["spot_type"] != "BNS" for s in base)
    assert gross_reported == pytest.approx(sum(s["gross_rate"] or 0 for s in base), abs=0.01)
    assert net_reported == pytest.approx(sum(s["station_net"] or 0 for s in base), abs=0.01)
    assert len(db.execute("SELECT DISTINCT category FROM v_revenue_by_category").fetchall()) == 8
