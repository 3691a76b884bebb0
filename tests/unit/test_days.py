"""Which days a run is asked for (R1, R2, R4)."""

from __future__ import annotations

from datetime import date

import pytest

from include.common.days import requested_bounds, requested_days
from include.cvas.contract import ACT, CNR, TYPES, types_named
from include.errors import RequestRefused

DAY = date(2025, 11, 10)
TODAY = date(2025, 11, 11)
FIRST = date(2025, 11, 1)


def test_without_a_range_it_is_the_one_day_of_the_run() -> None:
    """R1."""
    assert requested_days(DAY, today=TODAY) == [DAY]


def test_a_range_includes_both_ends_oldest_first_across_a_leap_day_and_a_clock_change() -> None:
    """R1."""
    assert requested_days(DAY, start=date(2024, 2, 28), end=date(2024, 3, 1), today=TODAY) == [
        date(2024, 2, 28),
        date(2024, 2, 29),
        date(2024, 3, 1),
    ]
    assert requested_days(DAY, start=date(2025, 10, 25), end=date(2025, 10, 27), today=TODAY) == [
        date(2025, 10, 25),
        date(2025, 10, 26),
        date(2025, 10, 27),
    ]
    assert requested_days(DAY, start=DAY, end=DAY, today=TODAY) == [DAY]


@pytest.mark.parametrize(("start", "end"), [(FIRST, None), (None, FIRST)])
def test_half_a_range_is_refused(start: date | None, end: date | None) -> None:
    """R2."""
    with pytest.raises(RequestRefused, match=r"Only one of start_date .* and end_date .* is given"):
        requested_days(DAY, start=start, end=end, today=TODAY)


def test_a_day_beside_a_range_is_refused() -> None:
    """R2: which of the two was meant, nobody can tell."""
    with pytest.raises(RequestRefused, match=r"Both a date \(2025-11-10\) and a range \(2025-11-01 to 2025-11-02\)"):
        requested_days(DAY, named=True, start=FIRST, end=date(2025, 11, 2), today=TODAY)
    assert requested_days(DAY, named=True, today=TODAY) == [DAY]


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    """R2."""
    with pytest.raises(RequestRefused, match="end_date 2025-11-01 lies before start_date 2025-11-02"):
        requested_days(DAY, start=date(2025, 11, 2), end=FIRST, today=TODAY)


def test_a_day_that_is_not_over_is_refused_unless_a_part_of_today_is_wanted() -> None:
    """R2."""
    refused = r"2025-11-11 is not over \(today is 2025-11-11\)"
    with pytest.raises(RequestRefused, match=refused):
        requested_days(TODAY, today=TODAY)
    with pytest.raises(RequestRefused, match=refused):
        requested_days(DAY, start=FIRST, end=TODAY, today=TODAY)
    assert requested_days(TODAY, today=TODAY, allow_partial=True) == [TODAY]
    with pytest.raises(RequestRefused, match="2025-11-12 is not over"):
        requested_days(date(2025, 11, 12), today=TODAY, allow_partial=True)


def test_bounds_are_a_range_or_everything_up_to_yesterday() -> None:
    """R2, R60."""
    assert requested_bounds(start=None, end=None, today=TODAY) == (None, DAY)
    assert requested_bounds(start=FIRST, end=date(2025, 11, 3), today=TODAY) == (FIRST, date(2025, 11, 3))
    with pytest.raises(RequestRefused, match=r"Only one of start_date .* and end_date .* is given"):
        requested_bounds(start=FIRST, end=None, today=TODAY)
    with pytest.raises(RequestRefused, match="2025-11-11 is not over"):
        requested_bounds(start=FIRST, end=TODAY, today=TODAY)


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
