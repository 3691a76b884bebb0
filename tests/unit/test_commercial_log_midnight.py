"""Where a day ends: the evening up to midnight in the programme grid (G9 to G13), and cells that hold a midnight."""

# ruff: noqa: DTZ001 - cells have no time zone

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import pytest

from include.commercial_log.cells import read_length, read_time
from include.commercial_log.grid import classify_grid
from tests.unit.commercial_log_helpers import NOW, Station, row, stored

# Saturday, September 6: a Hmong spot is not held to be Chinese before 20:00, so that the rules of the market decide.
EVENING = {
    "air_date": datetime(2025, 9, 6),
    "end_date": datetime(2025, 9, 6),
    "day_of_week": "Saturday",
    "time_in": "19:00:00",
    "time_out": "1 day, 0:00:00",
    "language_code": "Hm",
}


LANGUAGE = ("language_specific", "language_specific")
CHINESE = (*LANGUAGE, "chinese_family_span")


@pytest.mark.parametrize(
    ("first", "second", "placed"),
    [
        ("K", "M", (*CHINESE, None, "[901, 902]", 902, 0)),
        ("C", "V", (*CHINESE, None, "[901, 902]", 901, 0)),
        (None, "M", (*CHINESE, 902, None, None, 0)),
        ("K", "V", ("indifferent", "multi_language", None, None, "[901, 902]", None, 1)),
        ("T", "T", (*LANGUAGE, None, None, "[901, 902]", 901, 0)),
        ("K", None, (*LANGUAGE, None, 901, None, None, 0)),
    ],
)
def test_an_evening_up_to_midnight_is_chinese_only_with_a_chinese_block_in_it(
    station: Station, first: str | None, second: str | None, placed: tuple[object, ...]
) -> None:
    """G9, and what G11 to G13 make of all other evenings."""
    station.sql(
        "INSERT INTO programming_schedules (schedule_id, schedule_name, schedule_version, schedule_type,"
        " effective_start_date) VALUES (3, 'Phoenix Grid', '1', 'market_specific', '2025-01-01')"
    )
    station.sql("INSERT INTO markets (market_id, market_code, market_name) VALUES (20, 'PHX', 'PHOENIX')")
    station.sql(
        "INSERT INTO schedule_market_assignments (schedule_id, market_id, effective_start_date)"
        " VALUES (3, 20, '2025-01-01')"
    )
    for block in ((901, "19:00:00", "21:30:00", first), (902, "21:30:00", "24:00:00", second)):
        station.sql(
            "INSERT INTO language_blocks (block_id, schedule_id, day_of_week, time_start, time_end, language_id,"
            " block_name) SELECT ?, 3, 'saturday', ?, ?, language_id, language_name FROM languages"
            " WHERE language_code = ?",
            *block,
        )
    station.load([row(market_name="PHX", **EVENING)])
    with closing(station.open()) as db:
        classify_grid(db, now=NOW)
    columns = (
        "schedule_id, customer_intent, campaign_type, business_rule_applied, block_id, blocks_spanned,"
        " primary_block_id, requires_attention"
    )
    assert station.sql(f"SELECT {columns} FROM spot_language_blocks") == [(3, *placed)]


@pytest.mark.parametrize(
    ("cell", "clock"),
    [
        (datetime(1900, 1, 1), "24:00:00"),  # what Excel makes of one whole day
        (datetime(1899, 12, 31), "00:00:00"),
        (datetime(1900, 1, 2), "00:00:00"),
        (datetime(2025, 9, 6), "00:00:00"),
        (datetime(1900, 1, 1, 0, 0, 1), "00:00:01"),
        (datetime(2025, 9, 6, 23, 59, 59), "23:59:59"),
    ],
)
def test_only_the_first_of_excels_days_is_the_end_of_one(cell: datetime, clock: str) -> None:
    """R25: a date-time of any other day is the time it shows; at midnight that is the start of a day."""
    assert (read_time(cell), read_length(cell)) == ((clock, None), (clock, None))


def test_a_day_in_a_time_column_is_no_midnight(station: Station) -> None:
    """R25: it is kept as text with a warning, but for the one that is one whole day."""
    station.load([row(time_in=datetime(2025, 9, 3), time_out=datetime(1900, 1, 1))])
    assert station.bookings() == [stored(time_in="2025-09-03", time_out="24:00:00")]
    assert station.sql("SELECT reason, column_header, raw_value FROM import_rejects") == [
        ("BAD_TIME", "Time In", "2025-09-03")
    ]
