"""What the lists and counts of section 7 and 4.3 let in, and in which order they show it."""

from __future__ import annotations

from contextlib import closing

import pytest

from include.commercial_log.review import review_counts
from tests.unit.commercial_log_helpers import Station, row


def test_only_undetermined_spots_of_a_thousand_dollars_or_more_are_high_value(station: Station) -> None:
    """Section 7: what waits for another reason does not count, however dear."""
    dear = [
        row(media="undetermined", language_code="L", gross_rate=1000.0),
        row(media="just below", language_code="L", gross_rate=999.99),
        row(media="no price", language_code="L", gross_rate=None),
        row(media="no language", language_code="13", gross_rate=1000.0),
        row(media="business", language_code="V", spot_type="CRD", gross_rate=5000.0),
        row(media="no review", language_code="V", gross_rate=9000.0),
    ]
    station.load(dear)
    with closing(station.open()) as db:
        assert review_counts(db) == {"review_queue": 5, "undetermined_high_value": 1}


def test_bill_codes_without_a_customer_are_listed_dearest_first(station: Station) -> None:
    """4.3: by sum, of equal sums by name; a name early in the alphabet is no reason to be first."""
    sums = {"Ash": [10.0], "Cedar": [20.0, 20.0], "Birch": [40.0], "Elm": [None], "Oak": [90.0]}
    station.load([row(bill_code=code, gross_rate=gross) for code, each in sums.items() for gross in each])
    assert station.sql("SELECT * FROM v_unresolved_bill_codes") == [
        ("Oak", 1, 90.0),
        ("Birch", 1, 40.0),
        ("Cedar", 2, 40.0),
        ("Ash", 1, 10.0),
        ("Elm", 1, 0.0),
    ]


# --- schedules of a market that overlap -----------------------------------------------------------------------------

HELD = ("2025-03-01", "2025-06-30")
OPEN = ("2025-03-01", None)


@pytest.fixture
def phoenix(station: Station) -> Station:
    station.sql("INSERT INTO markets (market_id, market_code, market_name) VALUES (20, 'PHX', 'PHOENIX')")
    return station


def assign(station: Station, schedule_id: int, start: str, end: str | None, market_id: int = 20) -> None:
    station.sql(
        "INSERT INTO schedule_market_assignments (market_id, schedule_id, effective_start_date, effective_end_date)"
        " VALUES (?, ?, ?, ?)",
        *(market_id, schedule_id, start, end),
    )


@pytest.mark.parametrize(
    ("held", "new", "conflict"),
    [
        (HELD, ("2025-01-01", "2025-02-28"), None),  # before it
        (HELD, ("2025-07-01", "2025-12-31"), None),  # after it
        (HELD, ("2025-07-01", None), None),
        (OPEN, ("2025-01-01", "2025-02-28"), None),
        (HELD, ("2025-01-01", "2025-03-01"), ("2025-03-01", "2025-03-01")),  # the end is the last valid day
        (HELD, ("2025-06-30", "2025-12-31"), ("2025-06-30", "2025-06-30")),
        (HELD, ("2025-01-01", "2025-04-30"), ("2025-03-01", "2025-04-30")),
        (HELD, ("2025-05-01", "2025-12-31"), ("2025-05-01", "2025-06-30")),
        (HELD, ("2025-04-01", "2025-04-30"), ("2025-04-01", "2025-04-30")),
        (HELD, ("2025-01-01", "2025-12-31"), ("2025-03-01", "2025-06-30")),
        (HELD, ("2025-05-01", None), ("2025-05-01", "2025-06-30")),
        (OPEN, ("2025-05-01", "2025-12-31"), ("2025-05-01", "2025-12-31")),
        (OPEN, ("2025-05-01", None), ("2025-05-01", None)),
    ],
)
def test_an_assignment_is_logged_for_the_days_another_one_of_its_market_holds(
    phoenix: Station, held: tuple[str, str | None], new: tuple[str, str | None], conflict: tuple[str, str | None] | None
) -> None:
    """4.1: schedule_collision_log; a market that changes its schedule from one day to the next has no collision."""
    assign(phoenix, 1, *held)
    assign(phoenix, 2, *new)
    logged = phoenix.sql(
        "SELECT collision_type, severity, market_id, schedule_id_1, schedule_id_2, conflict_start_date,"
        " conflict_end_date, resolution_status FROM schedule_collision_log"
    )
    assert logged == ([("market_overlap", "error", 20, 1, 2, *conflict, "unresolved")] if conflict else [])


def test_schedules_of_different_markets_do_not_collide(phoenix: Station) -> None:
    """4.1."""
    assign(phoenix, 1, *OPEN)
    phoenix.sql("INSERT INTO markets (market_id, market_code, market_name) VALUES (21, 'BOS', 'BOSTON')")
    assign(phoenix, 1, *OPEN, market_id=21)
    assert phoenix.sql("SELECT * FROM schedule_collision_log") == []


def test_collisions_are_listed_newest_first(station: Station) -> None:
    """4.3: by the moment they were found, of equal moments the last one logged."""
    for found, text in [("02 08:00", "third"), ("03 08:00", "second"), ("03 08:00", "first"), ("01 08:00", "last")]:
        station.sql(
            "INSERT INTO schedule_collision_log (collision_type, severity, description, detected_date)"
            " VALUES ('schedule_gap', 'info', ?, ?)",
            *(text, f"2025-09-{found}:00"),
        )
    listed = station.sql("SELECT description, detected_date FROM v_schedule_collisions")
    assert listed == [
        ("first", "2025-09-03 08:00:00"),
        ("second", "2025-09-03 08:00:00"),
        ("third", "2025-09-02 08:00:00"),
        ("last", "2025-09-01 08:00:00"),
    ]
