"""R21: every query about revenue leaves Trade out by itself, even if some got in, and keeps spots without a type."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from include.commercial_log.languages import assign_languages
from include.commercial_log.months import close_months
from include.commercial_log.review import (
    InvalidCode,
    invalid_codes,
    recategorise_all,
    review_counts,
    review_queue,
)
from tests.unit.commercial_log_helpers import DAY, NOW, Station

FLAGGED, NO_TYPE, NO_TYPE_INVALID, FALLBACK, TRADE, TRADE_INVALID, TRADE_FALLBACK, OCTOBER_TRADE = range(1, 9)
REVIEW = "review_category"
# What the assignment of a spot says: code, status, confidence, method, review.
INVALID = ("X9", "invalid", 0.0, "invalid_code_flagged", 1)
UNDETERMINED = ("L", "undetermined", 0.0, "undetermined_flagged", 1)
ENGLISH = ("E", "determined", 1.0, "business_rule_default_english", 0)
SPOTS: dict[int, tuple[str, str | None, float, str, tuple[Any, ...]]] = {
    FLAGGED: ("Sep-25", "Local", 600.0, "language_assignment_required", INVALID),
    NO_TYPE: ("Sep-25", None, 2000.0, REVIEW, UNDETERMINED),
    NO_TYPE_INVALID: ("Sep-25", None, 100.0, REVIEW, INVALID),
    FALLBACK: ("Sep-25", "Branded Content", 30.0, "default_english", ENGLISH),
    TRADE: ("Sep-25", "Trade", 5000.0, REVIEW, UNDETERMINED),
    TRADE_INVALID: ("Sep-25", "Trade", 700.0, REVIEW, INVALID),
    TRADE_FALLBACK: ("Sep-25", "Trade", 80.0, "default_english", ENGLISH),
    OCTOBER_TRADE: ("Oct-25", "Trade", 9.0, "default_english", ENGLISH),
}


@pytest.fixture
def station(station: Station) -> Station:
    """Four proper spots, and Trade that somebody wrote past the check of the table."""
    with closing(station.open()) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        for spot_id, (month, revenue_type, gross, category, assignment) in SPOTS.items():
            db.execute(
                "INSERT INTO spots (spot_id, bill_code, air_date, broadcast_month, revenue_type, gross_rate,"
                " station_net, spot_type, language_code, language_id, load_date, spot_category)"
                " VALUES (?, ?, '2025-09-03', ?, ?, ?, ?, 'PRG', ?, 1, '2025-09-02 08:30:00', ?)",
                (spot_id, f"Spot {spot_id}", month, revenue_type, gross, gross / 2, assignment[0], category),
            )
            db.execute(
                "INSERT INTO spot_language_assignments (spot_id, language_code, language_status, confidence,"
                " assignment_method, requires_review) VALUES (?, ?, ?, ?, ?, ?)",
                (spot_id, *assignment),
            )
    return station


def queued(spot_id: int) -> tuple[Any, ...]:
    month, revenue_type, gross, _, (code, _, _, method, _) = SPOTS[spot_id]
    return (spot_id, f"Spot {spot_id}", month, revenue_type, "PRG", code, code, method, gross, None)


VIEWS: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "spots_reporting": (
        "SELECT spot_id, revenue_type FROM spots_reporting ORDER BY spot_id",
        [(FLAGGED, "Local"), (NO_TYPE, None), (NO_TYPE_INVALID, None), (FALLBACK, "Branded Content")],
    ),
    "v_month_status": (
        "SELECT * FROM v_month_status",
        [("Sep-25", "2025-09-01", 4, 2730.0, 1365.0, 0, "open", None, None, "2025-09-02 08:30:00")],
    ),
    "v_language_status": (
        "SELECT * FROM v_language_status",
        [
            ("default_english", "business_rule_default_english", "determined", 1, 30.0, 0, 0, 0),
            ("language_assignment_required", "invalid_code_flagged", "invalid", 1, 600.0, 1, 0, 0),
            (REVIEW, "invalid_code_flagged", "invalid", 1, 100.0, 1, 0, 0),
            (REVIEW, "undetermined_flagged", "undetermined", 1, 2000.0, 1, 0, 0),
        ],
    ),
    "v_review_queue": ("SELECT * FROM v_review_queue", [queued(NO_TYPE), queued(FLAGGED), queued(NO_TYPE_INVALID)]),
    "v_unresolved_bill_codes": (
        "SELECT * FROM v_unresolved_bill_codes",
        [("Spot 2", 1, 2000.0), ("Spot 1", 1, 600.0), ("Spot 3", 1, 100.0), ("Spot 4", 1, 30.0)],
    ),
    "v_revenue_by_category": (
        "SELECT * FROM v_revenue_by_category",
        [("Sep-25", "Other", 4, 4, 2730.0, 1365.0)],
    ),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_leaves_trade_out_and_keeps_spots_without_a_type(station: Station, view: str) -> None:
    """4.3, G14."""
    query, expected = VIEWS[view]
    assert station.sql(query) == expected


def test_every_view_about_spots_is_tested(station: Station) -> None:
    views = station.sql("SELECT name FROM sqlite_master WHERE type = 'view' AND sql LIKE '%FROM spots%'")
    about_spots = {name for (name,) in views} | {"v_review_queue"}  # it joins them
    assert about_spots == {*VIEWS}


QUERIES: dict[str, tuple[Callable[[sqlite3.Connection], Any], Any]] = {
    "the queue": (review_queue, [queued(NO_TYPE), queued(FLAGGED), queued(NO_TYPE_INVALID)]),
    "the dear ones": (lambda db: review_queue(db, filter="high_value"), [queued(NO_TYPE), queued(FLAGGED)]),
    "the invalid ones": (lambda db: review_queue(db, filter="invalid"), [queued(FLAGGED), queued(NO_TYPE_INVALID)]),
    "the fallbacks": (lambda db: review_queue(db, filter="fallback"), [queued(FALLBACK)]),
    "undetermined and dear": (lambda db: review_counts(db)["undetermined_high_value"], 1),
    "invalid codes": (invalid_codes, [InvalidCode("X9", 2, 700.0, 350.0)]),
    "the counters of a load": (
        lambda db: assign_languages(db, ["Sep-25", "Oct-25"], now=NOW),
        {
            "categorized": 0,
            "processed": 4,
            "language_assigned": 0,
            "default_english_assigned": 1,
            "flagged_for_review": 3,
            "manual": 0,
        },
    ),
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_leaves_trade_out_and_keeps_spots_without_a_type(station: Station, query: str) -> None:
    """Section 7, R42."""
    ask, expected = QUERIES[query]
    with closing(station.open()) as db:
        assert ask(db) == expected


def test_what_a_closed_month_holds_is_put_on_record_without_trade(station: Station) -> None:
    """R36: the validation compares it with what the month status says."""
    with closing(station.open()) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        close_months(db, station.data, ["Sep-25"], closed_by="ann", today=DAY)
    assert station.sql("SELECT * FROM month_closure_totals") == [("Sep-25", 4, 2730.0, 1365.0)]


def test_recategorising_leaves_trade_alone(station: Station) -> None:
    """R43: all others are decided anew, those without a revenue type too."""
    with closing(station.open()) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute("UPDATE spots SET spot_category = 'old'")
        result = recategorise_all(db, station.data, confirm=True, now=NOW, day=DAY)
    assert result.facts["categorized"] == 4
    assert station.sql("SELECT spot_id, spot_category FROM spots ORDER BY spot_id") == [
        (FLAGGED, "language_assignment_required"),
        (NO_TYPE, REVIEW),
        (NO_TYPE_INVALID, REVIEW),
        (FALLBACK, "default_english"),
        *((spot_id, "old") for spot_id in (TRADE, TRADE_INVALID, TRADE_FALLBACK, OCTOBER_TRADE)),
    ]
    assert station.sql(
        "SELECT spot_id, language_code, language_status, confidence, assignment_method, requires_review"
        f" FROM spot_language_assignments WHERE spot_id >= {TRADE} ORDER BY spot_id"
    ) == [(spot_id, *SPOTS[spot_id][-1]) for spot_id in (TRADE, TRADE_INVALID, TRADE_FALLBACK, OCTOBER_TRADE)]
