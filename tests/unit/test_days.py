"""Which days a run is asked for (R1, R2, R4)."""

from __future__ import annotations

from datetime import date

import pytest

from include.common.days import requested_bounds, requested_days
from include.cvas.contract import ACT, CNR, TYPES, types_named
from include.errors import RequestRefused

DAY = date(2025, 11, 10)
TODAY = date(2025, 11, 11)


def test_without_a_range_it_is_the_one_day_of_the_run() -> None:
    """R1."""
    assert requested_days(DAY, today=TODAY) == [DAY]
    assert requested_days(DAY, start="", end="", today=TODAY) == [DAY]


def test_a_range_includes_both_ends_oldest_first_across_a_leap_day_and_a_clock_change() -> None:
    """R1."""
    assert requested_days(DAY, start="2024-02-28", end="2024-03-01", today=TODAY) == [
        date(2024, 2, 28),
        date(2024, 2, 29),
        date(2024, 3, 1),
    ]
    assert requested_days(DAY, start="2025-10-25", end="2025-10-27", today=TODAY) == [
        date(2025, 10, 25),
        date(2025, 10, 26),
        date(2025, 10, 27),
    ]
    assert requested_days(DAY, start="2025-11-10", end="2025-11-10", today=TODAY) == [DAY]


@pytest.mark.parametrize(
    "text", ["2025-02-29", "10.11.2025", "20251110", "2025-W46-1", "2025-11-1", " 2025-11-10", "yesterday"]
)
def test_what_is_no_day_is_refused_by_its_value(text: str) -> None:
    """R2."""
    with pytest.raises(RequestRefused, match=f"'{text}' is no day. Next step: Write it like 2025-11-10."):
        requested_days(DAY, start=text, end="2025-11-10", today=TODAY)
    with pytest.raises(RequestRefused, match=f"'{text}' is no day"):
        requested_days(DAY, start="2025-11-01", end=text, today=TODAY)


@pytest.mark.parametrize(("start", "end"), [("2025-11-01", None), (None, "2025-11-01"), ("", "2025-11-01")])
def test_half_a_range_is_refused(start: str | None, end: str | None) -> None:
    """R2."""
    with pytest.raises(RequestRefused, match=r"Only one of start_date .* and end_date .* is given"):
        requested_days(DAY, start=start, end=end, today=TODAY)


def test_a_day_beside_a_range_is_refused() -> None:
    """R2: which of the two was meant, nobody can tell."""
    with pytest.raises(RequestRefused, match=r"Both a date \(2025-11-10\) and a range \(2025-11-01 to 2025-11-02\)"):
        requested_days(DAY, named=True, start="2025-11-01", end="2025-11-02", today=TODAY)
    assert requested_days(DAY, named=True, start="", end=None, today=TODAY) == [DAY]


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    """R2."""
    with pytest.raises(RequestRefused, match="end_date 2025-11-01 lies before start_date 2025-11-02"):
        requested_days(DAY, start="2025-11-02", end="2025-11-01", today=TODAY)


def test_a_day_that_is_not_over_is_refused_unless_a_part_of_today_is_wanted() -> None:
    """R2."""
    refused = r"2025-11-11 is not over \(today is 2025-11-11\)"
    with pytest.raises(RequestRefused, match=refused):
        requested_days(TODAY, today=TODAY)
    with pytest.raises(RequestRefused, match=refused):
        requested_days(DAY, start="2025-11-09", end="2025-11-11", today=TODAY)
    assert requested_days(TODAY, today=TODAY, allow_partial=True) == [TODAY]
    with pytest.raises(RequestRefused, match="2025-11-12 is not over"):
        requested_days(date(2025, 11, 12), today=TODAY, allow_partial=True)


def test_bounds_are_a_range_or_everything_up_to_yesterday() -> None:
    """R2, R60."""
    assert requested_bounds(start=None, end="", today=TODAY) == (None, DAY)
    assert requested_bounds(start="2025-11-01", end="2025-11-03", today=TODAY) == (date(2025, 11, 1), date(2025, 11, 3))
    with pytest.raises(RequestRefused, match=r"Only one of start_date .* and end_date .* is given"):
        requested_bounds(start="2025-11-01", end=None, today=TODAY)
    with pytest.raises(RequestRefused, match="2025-11-11 is not over"):
        requested_bounds(start="2025-11-01", end="2025-11-11", today=TODAY)


def test_type_names_are_taken_in_any_case_and_order() -> None:
    """R4, R18."""
    assert types_named("cnr, Act") == (ACT, CNR)
    assert types_named("all") == types_named("act,ALL") == TYPES
    assert [kind.name for kind in TYPES] == ["ACT", "RENO", "DCT", "PPD", "CNR", "RFND"]


def test_a_type_that_does_not_exist_is_refused_with_those_that_do() -> None:
    """R4."""
    with pytest.raises(
        RequestRefused, match=r"no transaction type RENEWAL\. .* some of: ACT, RENO, DCT, PPD, CNR, RFND"
    ):
        types_named("act,renewal")
    with pytest.raises(RequestRefused, match="no transaction type of no name"):
        types_named(" , ")
