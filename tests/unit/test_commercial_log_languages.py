"""Which language a spot's revenue counts for: domain rules R37 to R43 and the language id of R28."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from include.commercial_log.languages import assign_languages
from include.common.sql import transaction
from include.errors import CheckFailed
from tests.unit.commercial_log_helpers import DAY, NOW, Station, row

IAS, DRS = "Internal Ad Sales", "Direct Response Sales"
REQUIRED, ENGLISH, REVIEW = "language_assignment_required", "default_english", "review_category"
LATER = NOW + timedelta(days=1)


@pytest.fixture
def db(station: Station) -> Iterator[sqlite3.Connection]:
    with closing(station.open()) as connection:
        yield connection


def spot(
    db: sqlite3.Connection, revenue: str | None, kind: str | None, language: str | None, month: str = "Sep-25"
) -> int:
    """Insert one spot; its id."""
    found = db.execute(
        "INSERT INTO spots (bill_code, air_date, broadcast_month, revenue_type, spot_type, language_code)"
        " VALUES ('Blue Farms', '2025-09-03', ?, ?, ?, ?) RETURNING spot_id",
        (month, revenue, kind, language),
    ).fetchone()
    return int(found[0])


def assign(db: sqlite3.Connection, *months: str, now: datetime = NOW, everything: bool = False) -> dict[str, int]:
    with transaction(db):
        return assign_languages(db, months or ("Sep-25",), now=now, everything=everything)


def outcome(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Category, language, status, confidence, method, review of every spot in the order of their ids."""
    return db.execute(
        "SELECT spot_category, a.language_code, language_status, confidence, assignment_method, requires_review"
        " FROM spots LEFT JOIN spot_language_assignments AS a USING (spot_id) ORDER BY spot_id"
    ).fetchall()


# --- R37: categories ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("revenue", "kind", "language", "category"),
    [
        # R37a
        (IAS, "COM", "L", REVIEW),
        (IAS, "BB", " l ", REVIEW),
        (DRS, "COM", "L", REVIEW),
        ("Paid Programming", "PRG", "l", REVIEW),
        ("Local", None, "L", REVIEW),
        (None, None, "L", REVIEW),
        # R37b
        (IAS, "COM", "V", REQUIRED),
        (IAS, "BB", "V", REQUIRED),
        (DRS, "COM", "V", REQUIRED),
        ("Paid Programming", "BB", "J", REQUIRED),
        ("Other", "COM", "13", REQUIRED),
        (None, "COM", "V", REQUIRED),
        # R37c
        (IAS, "COM", None, ENGLISH),
        (IAS, "BB", "  ", ENGLISH),
        ("Local", "COM", None, ENGLISH),
        ("Other", "COM", None, ENGLISH),
        (None, "BB", None, ENGLISH),
        # R37d
        (IAS, "BNS", "V", REQUIRED),
        (IAS, "BNS", None, REQUIRED),
        ("  internal ad SALES ", "BNS", None, REQUIRED),
        # R37e
        ("Local", "BNS", "V", REQUIRED),
        ("Local", "PRG", None, REQUIRED),
        ("local", None, None, REQUIRED),
        ("Local", "", None, REQUIRED),
        # R37f
        (IAS, "PKG", "V", REVIEW),
        (IAS, "CRD", None, REVIEW),
        (IAS, "AV", "V", REVIEW),
        # R37g
        ("Other", "BNS", "V", REVIEW),
        ("Other", "", "V", REVIEW),
        ("Other", None, None, REVIEW),
        # R37h
        (DRS, "BNS", None, ENGLISH),
        ("Direct Response", "BNS", "V", ENGLISH),
        ("direct response sales", None, "V", ENGLISH),
        ("Paid Programming", "PRG", "J", ENGLISH),
        ("Branded Content", "PRD", "M", ENGLISH),
        ("BRANDED CONTENT", "SVC", None, ENGLISH),
        # R37i
        ("Other", "SVC", "V", ENGLISH),
        ("Other", "PRD", None, ENGLISH),
        # R37j
        (IAS, "PRG", "V", REVIEW),
        (IAS, "PRD", None, REVIEW),
        (IAS, "SVC", "V", REVIEW),
        (IAS, "", "V", REVIEW),
        (IAS, None, None, REVIEW),
        ("Other", "PRG", "V", REVIEW),
        ("Other", "AV", None, REVIEW),
        ("Services", "SVC", "V", REVIEW),
        (None, "BNS", "V", REVIEW),
        (None, None, None, REVIEW),
        ("Production", "PRD", "V", REVIEW),
    ],
)
def test_the_first_category_that_fits_wins(
    db: sqlite3.Connection, revenue: str | None, kind: str | None, language: str | None, category: str
) -> None:
    """R37."""
    spot(db, revenue, kind, language)
    assign(db)
    assert [each[0] for each in outcome(db)] == [category]


# --- R38, R39: assignments ------------------------------------------------------------------------------------------

BY_ENGLISH = ("E", "determined", 1.0, "business_rule_default_english", 0)


@pytest.mark.parametrize(
    ("revenue", "kind", "language", "assignment"),
    [
        # R38a: default English, whatever the code
        (DRS, "BNS", None, BY_ENGLISH),
        ("Paid Programming", "PRG", "J", BY_ENGLISH),
        (DRS, "PRG", "M,V", BY_ENGLISH),
        (IAS, "COM", None, BY_ENGLISH),
        # R38b: a code of the table, stored in upper case
        (IAS, "COM", "V", ("V", "determined", 1.0, "direct_mapping", 0)),
        (IAS, "COM", " v ", ("V", "determined", 1.0, "direct_mapping", 0)),
        (IAS, "COM", "Hm", ("HM", "determined", 1.0, "direct_mapping", 0)),
        (IAS, "COM", "HM", ("HM", "determined", 1.0, "direct_mapping", 0)),
        (IAS, "COM", "m/c", ("M/C", "determined", 1.0, "direct_mapping", 0)),
        (IAS, "COM", "P", ("P", "determined", 1.0, "direct_mapping", 0)),
        (IAS, "COM", "E", ("E", "determined", 1.0, "direct_mapping", 0)),
        (IAS, "COM", "en", ("E", "determined", 1.0, "direct_mapping", 0)),
        (IAS, "COM", "ENG", ("E", "determined", 1.0, "direct_mapping", 0)),
        # R38c: none given
        (IAS, "BNS", None, ("E", "default", 0.5, "default_english", 0)),
        ("Local", "PRG", "  ", ("E", "default", 0.5, "default_english", 0)),
        # R38d: no code of the table, kept as typed
        (IAS, "COM", "M,V", ("M,V", "invalid", 0.0, "invalid_code_flagged", 1)),
        (IAS, "COM", " m,v ", ("m,v", "invalid", 0.0, "invalid_code_flagged", 1)),
        (IAS, "COM", "H", ("H", "invalid", 0.0, "invalid_code_flagged", 1)),
        (IAS, "COM", "13", ("13", "invalid", 0.0, "invalid_code_flagged", 1)),
        (IAS, "PKG", "F", ("F", "invalid", 0.0, "invalid_code_flagged", 1)),
        # R38e, R40: L is always review
        (IAS, "COM", "L", ("L", "undetermined", 0.0, "undetermined_flagged", 1)),
        (IAS, "BB", "l", ("L", "undetermined", 0.0, "undetermined_flagged", 1)),
        ("Other", "SVC", "L", ("L", "undetermined", 0.0, "undetermined_flagged", 1)),
        # R38f, R40: review keeps a valid code
        (IAS, "PKG", "V", ("V", "default", 0.5, "business_review_required", 1)),
        (IAS, "PKG", "hm", ("HM", "default", 0.5, "business_review_required", 1)),
        (IAS, "CRD", "EN", ("E", "default", 0.5, "business_review_required", 1)),
        (IAS, "PRG", None, ("E", "default", 0.5, "business_review_required", 1)),
    ],
)
def test_the_language_follows_from_category_and_code(
    db: sqlite3.Connection, revenue: str, kind: str, language: str | None, assignment: tuple[Any, ...]
) -> None:
    """R38."""
    spot(db, revenue, kind, language)
    assign(db)
    assert [each[1:] for each in outcome(db)] == [assignment]


CODES = {"E": "E", "EN": "E", "M": "M", "Hm": "HM", "M/C": "M/C", "v": "V"}


def decided(revenue: str | None, kind: str | None, language: str | None) -> tuple[Any, ...]:
    """R37 and R38 once more, as the tables of the domain read."""
    u, t, r = (language or "").strip().upper(), kind or "", (revenue or "").strip().lower()
    r = "direct response sales" if r == "direct response" else r
    rules = [
        (u == "L", REVIEW),
        (t in ("COM", "BB") and u != "", REQUIRED),
        (t in ("COM", "BB") and u == "", ENGLISH),
        (r == "internal ad sales" and t in ("COM", "BNS"), REQUIRED),
        (r == "local", REQUIRED),
        (r == "internal ad sales" and t in ("PKG", "CRD", "AV"), REVIEW),
        (r == "other" and t in ("COM", "BNS", ""), REVIEW),
        (r in ("direct response sales", "paid programming", "branded content"), ENGLISH),
        (r == "other" and t in ("SVC", "PRD"), ENGLISH),
        (True, REVIEW),
    ]
    category = next(category for applies, category in rules if applies)
    valid = {code.upper(): stored for code, stored in CODES.items()}.get(u)
    if category == ENGLISH:
        return (category, "E", "determined", 1.0, "business_rule_default_english", 0)
    if u == "L":
        return (category, "L", "undetermined", 0.0, "undetermined_flagged", 1)
    if u and not valid:
        return (category, (language or "").strip(), "invalid", 0.0, "invalid_code_flagged", 1)
    if category == REVIEW:
        return (category, valid or "E", "default", 0.5, "business_review_required", 1)
    if not u:
        return (category, "E", "default", 0.5, "default_english", 0)
    return (category, valid, "determined", 1.0, "direct_mapping", 0)


def test_every_combination_of_type_revenue_and_language_is_decided_as_agreed(db: sqlite3.Connection) -> None:
    """R37, R38, R42: 12 types, 11 revenue types, 11 codes."""
    revenues = [IAS, DRS, "Direct Response", "Paid Programming", "Branded Content", "Other", "Local", "Services"]
    kinds = ["AV", "BB", "BNS", "COM", "CRD", "PKG", "PRD", "PRG", "SVC", "", None]
    languages = [*CODES, "L", "l", "M,V", "H", "", None]
    cases = list(product([*revenues, "production", "LOCAL", None], kinds, languages))
    with transaction(db):
        for case in cases:
            spot(db, *case)
    counters = assign(db)
    expected = [decided(*case) for case in cases]
    assert outcome(db) == expected
    methods = [each[4] for each in expected]
    assert counters == {
        "categorized": len(cases),
        "processed": len(cases),
        "language_assigned": methods.count("direct_mapping") + methods.count("default_english"),
        "default_english_assigned": methods.count("business_rule_default_english"),
        "flagged_for_review": sum(each[5] for each in expected),
        "manual": 0,
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE languages SET language_code = 'Eng' WHERE language_name = 'English'", "ENG"),
        ("UPDATE languages SET language_code = 'EN', language_name = 'Anglais' WHERE language_id = 1", "EN"),
        ("UPDATE languages SET language_code = 'X', language_name = 'X' WHERE language_id = 1", "EN"),
    ],
)
def test_the_english_code_is_that_of_the_table(db: sqlite3.Connection, change: str, code: str) -> None:
    """R39."""
    db.execute(change)
    spot(db, DRS, "BNS", None)
    spot(db, IAS, "BNS", None)
    assign(db)
    assert [each[1] for each in outcome(db)] == [code, code]


def test_a_spot_carries_the_id_of_its_assigned_language_or_null(db: sqlite3.Connection) -> None:
    """R28; the original always wrote English."""
    for revenue, kind, language in (
        (IAS, "COM", "V"),
        (IAS, "COM", "hm"),
        (IAS, "COM", "ENG"),
        (IAS, "BNS", None),
        (DRS, "BNS", "V"),
        (IAS, "PKG", "M/C"),
        (IAS, "COM", "L"),
        (IAS, "COM", "H"),
    ):
        spot(db, revenue, kind, language)
    assign(db)
    ids = [each for (each,) in db.execute("SELECT language_id FROM spots ORDER BY spot_id")]
    assert ids == [7, 5, 1, 1, 1, 10, None, None]


# --- R41 to R43: what is touched and what stays ---------------------------------------------------------------------


def decide(db: sqlite3.Connection, spot_id: int, language: str) -> None:
    """What a person's decision looks like."""
    db.execute(
        "INSERT OR REPLACE INTO spot_language_assignments (spot_id, language_code, language_status, confidence,"
        " assignment_method, assigned_date, notes)"
        " VALUES (?, ?, 'determined', 1.0, 'manual_override', '2025-01-01', 'asked')",
        (spot_id, language),
    )


def test_only_spots_of_the_given_months_are_touched(db: sqlite3.Connection) -> None:
    spot(db, IAS, "COM", "V", "Sep-25")
    spot(db, IAS, "COM", "V", "Oct-25")
    spot(db, IAS, "COM", "V", "Nov-25")
    counters = assign(db, "Sep-25", "Nov-25")
    assert [each[0] for each in outcome(db)] == [REQUIRED, None, REQUIRED]
    assert (counters["categorized"], counters["processed"]) == (2, 2)


def test_no_months_is_nothing_to_do(db: sqlite3.Connection) -> None:
    spot(db, IAS, "COM", "V")
    with transaction(db):
        counters = assign_languages(db, [], now=NOW)
    assert set(counters.values()) == {0}
    assert outcome(db)[0][0] is None


def test_the_second_time_not_one_row_changes(station: Station, db: sqlite3.Connection) -> None:
    """R35."""
    for language in ("V", "L", "H", None):
        spot(db, IAS, "COM", language)
    assign(db)
    before = station.dump()
    counters = assign(db, now=LATER)
    assert station.dump() == before
    assert (counters["categorized"], counters["processed"]) == (0, 4)


def test_a_category_given_before_stays_until_everything_is_decided_anew(db: sqlite3.Connection) -> None:
    """R37 is for new spots and those without category; R43 for all."""
    spot_id = spot(db, IAS, "COM", "V")
    assign(db)
    db.execute("UPDATE spots SET language_code = 'M', spot_type = 'PKG' WHERE spot_id = ?", (spot_id,))
    assign(db, now=LATER)
    assert outcome(db) == [(REQUIRED, "V", "determined", 1.0, "direct_mapping", 0)]
    counters = assign(db, now=LATER, everything=True)
    assert outcome(db) == [(REVIEW, "M", "default", 0.5, "business_review_required", 1)]
    assert counters["categorized"] == 1
    assert db.execute("SELECT assigned_date FROM spot_language_assignments").fetchall() == [("2025-09-03 08:30:00",)]
    assert db.execute("SELECT language_id FROM spots").fetchall() == [(2,)]


def test_deciding_everything_anew_leaves_equal_assignments_as_they_are(
    station: Station, db: sqlite3.Connection
) -> None:
    """R43: nothing is written where nothing changes."""
    for language in ("V", "L", "H", None):
        spot(db, IAS, "COM", language)
    assign(db)
    before = station.dump()
    assign(db, now=LATER, everything=True)
    assert station.dump() == before


def test_a_language_added_to_the_table_counts_from_the_next_full_run(db: sqlite3.Connection) -> None:
    spot(db, IAS, "COM", "H")
    assign(db)
    db.execute("INSERT INTO languages (language_id, language_code, language_name) VALUES (12, 'H', 'Hindi')")
    assign(db, everything=True)
    assert outcome(db) == [(REQUIRED, "H", "determined", 1.0, "direct_mapping", 0)]
    assert db.execute("SELECT language_id FROM spots").fetchall() == [(12,)]


def test_a_language_added_to_the_table_gives_its_spots_their_id_in_the_next_run(db: sqlite3.Connection) -> None:
    """R28: although nothing else is missing."""
    spot(db, IAS, "COM", "H")
    assign(db)
    before = outcome(db)
    db.execute("INSERT INTO languages (language_id, language_code, language_name) VALUES (12, 'H', 'Hindi')")
    assign(db)
    assert outcome(db) == before
    assert db.execute("SELECT language_id FROM spots").fetchall() == [(12,)]


@pytest.mark.parametrize("everything", [False, True])
def test_a_decision_of_a_person_is_never_changed(db: sqlite3.Connection, everything: bool) -> None:  # noqa: FBT001
    """R41."""
    spot_id = spot(db, IAS, "COM", "L")
    spot(db, IAS, "COM", "V")
    assign(db)
    decide(db, spot_id, "K")
    before = db.execute("SELECT * FROM spot_language_assignments").fetchall()
    counters = assign(db, now=LATER, everything=everything)
    assert db.execute("SELECT * FROM spot_language_assignments").fetchall() == before
    assert (counters["manual"], counters["processed"], counters["language_assigned"]) == (1, 1, 1)
    assert db.execute("SELECT language_id FROM spots ORDER BY spot_id").fetchall() == [(8,), (7,)]


def test_a_decision_for_a_spot_without_category_gives_it_its_category_only(db: sqlite3.Connection) -> None:
    """R42: exactly one category and one assignment after the run."""
    decide(db, spot(db, IAS, "COM", "L"), "K")
    assign(db)
    assert outcome(db) == [(REVIEW, "K", "determined", 1.0, "manual_override", 0)]


def test_a_decision_survives_the_nightly_update_as_long_as_its_spot(station: Station) -> None:
    """R31, R41; section 8, 7: the nightly delete and insert cascaded them away."""
    station.load([row(media="kept", language_code="L"), row(media="gone", language_code="L")])
    with closing(station.open()) as db:
        decide(db, 1, "K")
        decide(db, 2, "K")
        before = db.execute("SELECT * FROM spot_language_assignments WHERE spot_id = 1").fetchall()
    next_day = DAY + timedelta(days=1)
    result = station.load([row(media="new", language_code="L"), row(media="kept", language_code="L")], next_day)
    assert station.sql("SELECT * FROM spot_language_assignments WHERE spot_id = 1") == before
    assert [text for text in result.warnings if "whose language a person had decided" in text] == [
        "1 spots whose language a person had decided changed in the sheet or left it; decide again where needed: "
        f"{row()[0]}."
    ]
    assert station.sql("SELECT spot_id, media, language_id FROM spots ORDER BY spot_id") == [
        (1, "kept", 8),
        (3, "new", None),
    ]


LOST = "spots whose language a person had decided changed in the sheet or left it"
ASSIGNMENTS = (
    "SELECT spot_id, media, comments, s.language_id, a.language_code, assignment_method, assigned_date, a.notes"
    " FROM spots AS s JOIN spot_language_assignments AS a USING (spot_id) ORDER BY spot_id"
)


def decide_at(station: Station, *spots: int) -> None:
    with closing(station.open()) as db:
        for spot_id in spots:
            decide(db, spot_id, "K")


def test_a_decision_passes_to_the_row_whose_notes_alone_changed(station: Station) -> None:
    """R41: the actual air time and a make-good note are entered after the decision and say nothing about the
    language."""
    station.load([row(media="a", language_code="L"), row(media="b", language_code="L"), row(media="c")])
    decide_at(station, 1, 2)
    changed = [
        row(media="b", language_code="L", make_good="MG for 8/12"),
        row(media="c", comments="7:01:10"),
        row(media="a", language_code="L", comments="6:14:22"),
    ]
    result = station.load(changed, DAY + timedelta(days=1))
    assert [result.facts[name] for name in ("rows_inserted", "rows_removed", "rows_unchanged")] == [3, 3, 0]
    assert [text for text in result.warnings if LOST in text] == []
    after = station.sql(ASSIGNMENTS)
    assert after == [
        (4, "b", None, 8, "K", "manual_override", "2025-01-01", "asked"),
        (5, "c", "7:01:10", 7, "V", "direct_mapping", "2025-09-03 08:30:00", None),
        (6, "a", "6:14:22", 8, "K", "manual_override", "2025-01-01", "asked"),
    ]
    before = station.dump(without=("import_batches",))
    assert station.load(day=DAY + timedelta(days=1)).facts["manual"] == 2
    assert station.dump(without=("import_batches",)) == before


@pytest.mark.parametrize(
    ("decided", "today"),
    [
        ((1,), [row(comments="x", gross_rate=85.01)]),  # something else changed too
        ((1,), [row(comments="x"), row(comments="y")]),  # either may be the successor
        ((1, 2), [row(comments="x")]),  # either may be the predecessor
        ((1,), [row(comments="x", broadcast_month="Oct-25")]),
    ],
)
def test_a_decision_without_exactly_one_successor_is_lost_and_told(
    station: Station, decided: tuple[int, ...], today: list[list[Any]]
) -> None:
    """R41."""
    station.load([row(), *([row(make_good="z")] if 2 in decided else []), row(media="stays")])
    decide_at(station, *decided)
    result = station.load([*today, row(media="stays")], DAY + timedelta(days=1))
    assert [text.split(" ")[0] for text in result.warnings if LOST in text] == [str(len(decided))]
    assert result.facts["manual"] == 0


def test_of_several_changed_rows_each_decision_finds_its_own(station: Station) -> None:
    """R41: a row beside it that is the same but for the notes and stays is no successor."""
    station.load([row(comments="stays"), row(), row(media="b")])
    decide_at(station, 2, 3)
    station.load([row(comments="stays"), row(comments="6:00:10"), row(media="b", make_good="MG")], DAY + timedelta(1))
    assert [line[1:3] + line[4:6] for line in station.sql(ASSIGNMENTS)] == [
        ("Blue Farms Fall 1", "stays", "V", "direct_mapping"),
        ("Blue Farms Fall 1", "6:00:10", "K", "manual_override"),
        ("b", None, "K", "manual_override"),
    ]


def test_of_equal_rows_the_one_a_person_decided_on_is_the_last_to_go(station: Station) -> None:
    """R31, R41: which of equal spots is surplus is our choice, a decision is not."""
    station.load([row(media="same"), row(media="same"), row(media="same")])
    with closing(station.open()) as db:
        decide(db, 3, "K")
    station.load([row(media="same"), row(media="same")], DAY + timedelta(days=1))
    assert station.sql(
        "SELECT spot_id, a.language_code, assignment_method FROM spots"
        " JOIN spot_language_assignments AS a USING (spot_id) ORDER BY spot_id"
    ) == [(1, "V", "direct_mapping"), (3, "K", "manual_override")]


def test_every_processed_spot_has_one_category_and_one_assignment(station: Station) -> None:
    """R42, and R33: the batch knows the counters."""
    result = station.load(
        [
            row(media="1", language_code="V"),
            row(media="2", language_code=None, spot_type="BNS"),
            row(media="3", language_code=None),
            row(media="4", language_code="M,V"),
            row(media="5", language_code="L"),
            row(media="6", revenue_type=DRS, spot_type="BNS"),
        ]
    )
    assert station.sql(
        "SELECT media, spot_category, a.language_code, assignment_method, language_id"
        " FROM spots JOIN spot_language_assignments AS a USING (spot_id) ORDER BY media"
    ) == [
        ("1", REQUIRED, "V", "direct_mapping", 7),
        ("2", REQUIRED, "E", "default_english", 1),
        ("3", ENGLISH, "E", "business_rule_default_english", 1),
        ("4", REQUIRED, "M,V", "invalid_code_flagged", None),
        ("5", REVIEW, "L", "undetermined_flagged", None),
        ("6", ENGLISH, "E", "business_rule_default_english", 1),
    ]
    wanted = ("categorized", "processed", "language_assigned", "default_english_assigned", "flagged_for_review")
    assert [result.facts[name] for name in wanted] == [6, 6, 2, 2, 2]


def test_a_spot_left_without_assignment_fails_the_run_and_nothing_is_saved(station: Station) -> None:
    """R42; section 8, 1: the run said SUCCESS although the language step had done nothing."""
    station.load([row(media="old")])
    before = station.dump(without=("import_batches", "import_rejects"))
    station.sql(
        "CREATE TRIGGER lose AFTER INSERT ON spot_language_assignments"
        " BEGIN DELETE FROM spot_language_assignments WHERE assignment_id = new.assignment_id; END"
    )
    with pytest.raises(CheckFailed, match=r"1 spots of Sep-25 have no category or language after the run"):
        station.load([row(media="old"), row(media="new")], DAY + timedelta(days=1))
    assert station.dump(without=("import_batches", "import_rejects")) == before
    assert [status for (status,) in station.sql("SELECT status FROM import_batches ORDER BY 1")] == [
        "COMPLETED",
        "FAILED",
    ]


def test_the_moment_of_an_assignment_is_kept_in_utc(db: sqlite3.Connection) -> None:
    spot(db, IAS, "COM", "V")
    assign(db, now=datetime(2025, 9, 2, 8, 30, tzinfo=UTC))
    assert db.execute("SELECT assigned_date FROM spot_language_assignments").fetchall() == [("2025-09-02 08:30:00",)]
