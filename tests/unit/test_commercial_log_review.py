"""What people decide about languages: the review queue and its export (4.3), manual decisions (R41), R43, section 7."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from include.commercial_log import review
from include.commercial_log.review import (
    Filter,
    InvalidCode,
    ReviewItem,
    export_review_queue,
    invalid_codes,
    language_status,
    recategorise_all,
    review_queue,
    set_language,
)
from include.common import locks
from include.common.journal import read_journal
from include.common.results import StepResult
from include.errors import AlreadyRunning, PipelineError, RequestRefused, StoreBusy
from tests.unit.commercial_log_helpers import DAY, NOW, Station, row

# Spot ids follow the order of the rows.
DETERMINED, UNDETERMINED, INVALID, BUSINESS, NO_CODE, DIRECT, CREDIT = range(1, 8)
ROWS = [
    row(media="determined", language_code="V"),
    row(media="undetermined", language_code="L", gross_rate=1000.0),
    row(media="invalid", language_code="m,V", gross_rate=None),
    row(media="business", revenue_type="Internal Ad Sales", spot_type="AV", language_code="C", gross_rate=600.0),
    row(media="no code", spot_type="BNS", language_code=None, gross_rate=None),
    row(media="direct", revenue_type="Direct Response Sales", spot_type="BNS", language_code=None, gross_rate=9.0),
    row(media="credit", spot_type="CRD", language_code=None, gross_rate=-85.0),
]


@pytest.fixture
def loaded(station: Station) -> Station:
    station.load(ROWS)
    return station


def decide(station: Station, *spot_ids: int, **changes: Any) -> StepResult:
    given: dict[str, Any] = {
        "spot_ids": spot_ids,
        "language_code": "V",
        "decided_by": "Ana Lee",
        "note": "client confirmed",
        "now": NOW + timedelta(hours=6),
        "day": DAY,
    }
    with closing(station.open()) as db:
        return set_language(db, station.data, **given | changes)


def recategorise(station: Station, *, confirm: bool = True) -> StepResult:
    with closing(station.open()) as db:
        return recategorise_all(db, station.data, confirm=confirm, now=NOW + timedelta(days=1), day=DAY)


def export(station: Station, filter: Filter = "all") -> Path:  # noqa: A002
    with closing(station.open()) as db:
        return Path(export_review_queue(db, station.data, filter=filter, day=DAY).where)


# --- the queue ------------------------------------------------------------------------------------------------------


def test_the_queue_shows_who_what_and_why_dearest_first(loaded: Station) -> None:
    """v_review_queue: gross descending, empty last."""
    common = ("North Media:Blue Farms", "Sep-25", "Internal Ad Sales")
    with closing(loaded.open()) as db:
        queue = review_queue(db)
        view = db.execute("SELECT * FROM v_review_queue")
        assert ReviewItem._fields == tuple(column[0] for column in view.description)
        assert queue == view.fetchall()
    assert queue == [
        (UNDETERMINED, *common, "COM", "L", "L", "undetermined_flagged", 1000.0, None),
        (BUSINESS, *common, "AV", "C", "C", "business_review_required", 600.0, None),
        (CREDIT, *common, "CRD", None, "E", "business_review_required", -85.0, None),
        (INVALID, *common, "COM", "m,V", "m,V", "invalid_code_flagged", None, None),
    ]


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("all", [UNDETERMINED, BUSINESS, CREDIT, INVALID]),
        ("business", [BUSINESS, CREDIT]),
        ("undetermined", [UNDETERMINED]),
        ("invalid", [INVALID]),
        ("high_value", [UNDETERMINED, BUSINESS]),
        ("low_confidence", [UNDETERMINED, INVALID]),
        ("fallback", [DIRECT, NO_CODE]),
    ],
)
def test_a_filter_lets_its_spots_through(loaded: Station, filter: Filter, expected: list[int]) -> None:  # noqa: A002
    """Section 7: high value is above $500, low confidence below 0.5, fallback is either default English."""
    with closing(loaded.open()) as db:
        assert [item.spot_id for item in review_queue(db, filter=filter)] == expected


def test_a_gross_of_exactly_500_is_not_high_value(station: Station) -> None:
    station.load([row(language_code="L", gross_rate=500.0)])
    with closing(station.open()) as db:
        assert review_queue(db, filter="high_value") == []


# --- its export -----------------------------------------------------------------------------------------------------


def test_the_export_is_a_file_a_spreadsheet_opens_as_it_is(loaded: Station) -> None:
    path = export(loaded)
    assert path == loaded.data.exports / "review_queue_all_2025-09-02.csv"
    assert path.read_bytes().decode() == (
        "\ufeffspot_id,bill_code,broadcast_month,revenue_type,spot_type,raw_language,assigned_language,"
        "assignment_method,gross_rate,notes\r\n"
        "2,North Media:Blue Farms,Sep-25,Internal Ad Sales,COM,L,L,undetermined_flagged,1000.0,\r\n"
        "4,North Media:Blue Farms,Sep-25,Internal Ad Sales,AV,C,C,business_review_required,600.0,\r\n"
        "7,North Media:Blue Farms,Sep-25,Internal Ad Sales,CRD,,E,business_review_required,-85.0,\r\n"
        '3,North Media:Blue Farms,Sep-25,Internal Ad Sales,COM,"m,V","m,V",invalid_code_flagged,,\r\n'
    )


def test_text_that_a_spreadsheet_would_run_is_shown_instead(station: Station) -> None:
    """A cell of the log can hold anything; the export is opened in Excel."""
    codes = ["=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", '=HYPERLINK("http://x","y")', "Jade = Farms"]
    station.load([row(language_code="L", gross_rate=-9.0 - at) for at in range(len(codes))])
    for spot_id, code in enumerate(codes, start=1):
        station.sql("UPDATE spots SET bill_code = ? WHERE spot_id = ?", code, spot_id)
    lines = export(station).read_text(encoding="utf-8-sig").splitlines()[1:]
    assert [line.partition(",Sep-25,")[0] for line in lines] == [
        "1,'=1+1",
        "2,'+1",
        "3,'-1",
        "4,'@SUM(A1)",
        "5,'＝1+1",
        '6,"\'=HYPERLINK(""http://x"",""y"")"',
        "7,Jade = Farms",
    ]
    assert [line.split(",")[-2] for line in lines] == ["-9.0", "-10.0", "-11.0", "-12.0", "-13.0", "-14.0", "-15.0"]


def test_exporting_twice_on_a_day_gives_the_same_file(loaded: Station) -> None:
    before = export(loaded, "business").read_bytes(), loaded.files()
    assert (export(loaded, "business").read_bytes(), loaded.files()) == before


def test_an_empty_queue_is_a_file_with_the_header_alone(station: Station) -> None:
    station.load([row()])
    assert export(station).read_text(encoding="utf-8-sig").splitlines() == [",".join(ReviewItem._fields)]


def test_an_export_reports_what_it_wrote_and_changes_no_row(loaded: Station) -> None:
    before = loaded.dump()
    with closing(loaded.open()) as db:
        result = export_review_queue(db, loaded.data, filter="invalid", day=DAY)
    path = loaded.data.exports / "review_queue_invalid_2025-09-02.csv"
    assert result == StepResult(
        where=str(path), read=1, written=1, bytes=path.stat().st_size, facts={"filter": "invalid"}
    )
    assert loaded.dump() == before
    assert [line.detail for line in read_journal(loaded.data.logs, review.EXPORT_JOB)] == ["filter: invalid | rows: 1"]


def test_two_exports_at_once_do_not_write_into_each_other(loaded: Station) -> None:
    lock = loaded.data.database_lock.with_name("exports")
    with locks.hold(lock, review.EXPORT_JOB), pytest.raises(AlreadyRunning):
        export(loaded)
    assert not loaded.data.exports.exists()


# --- decisions ------------------------------------------------------------------------------------------------------


def test_a_decision_settles_the_spot_and_says_who_and_why(loaded: Station) -> None:
    """R41; spots.language_id follows (R28)."""
    result = decide(loaded, INVALID, UNDETERMINED)
    assert result == StepResult(
        where="spot_language_assignments", read=2, written=2, facts={"language": "V", "decided_by": "Ana Lee"}
    )
    assert loaded.sql(
        "SELECT spot_id, language_code, language_status, confidence, assignment_method, assigned_date, requires_review,"
        " notes FROM spot_language_assignments WHERE assignment_method = 'manual_override' ORDER BY spot_id"
    ) == [
        (spot, "V", "determined", 1.0, "manual_override", "2025-09-02 14:30:00", 0, "Ana Lee: client confirmed")
        for spot in (UNDETERMINED, INVALID)
    ]
    assert loaded.sql("SELECT spot_id, language_id FROM spots ORDER BY spot_id") == [
        *((DETERMINED, 7), (UNDETERMINED, 7), (INVALID, 7), (BUSINESS, 3), (NO_CODE, 1), (DIRECT, 1), (CREDIT, 1))
    ]
    with closing(loaded.open()) as db:
        assert [item.spot_id for item in review_queue(db)] == [BUSINESS, CREDIT]


@pytest.mark.parametrize(
    ("given", "stored"), [("E", "E"), ("en", "E"), (" ENG ", "E"), ("Hm", "HM"), ("hm", "HM"), ("m/c", "M/C")]
)
def test_a_code_is_known_whatever_its_case_and_stored_in_upper_case(loaded: Station, given: str, stored: str) -> None:
    """R39: EN and ENG are English."""
    decide(loaded, UNDETERMINED, language_code=given)
    found = loaded.sql(
        "SELECT a.language_code, upper(l.language_code) FROM spot_language_assignments AS a"
        " JOIN spots USING (spot_id) JOIN languages AS l USING (language_id) WHERE spot_id = ?",
        UNDETERMINED,
    )
    assert found == [(stored, stored)]


@pytest.mark.parametrize(
    ("spot_ids", "changes", "what"),
    [
        ([UNDETERMINED], {"language_code": "X9"}, "commercial_log: 'X9' is no language code; nothing was changed."),
        ([UNDETERMINED], {"language_code": "L"}, "commercial_log: 'L' is no language code; nothing was changed."),
        (
            [UNDETERMINED, 98, 99, 99],
            {},
            "commercial_log: 2 of 3 ids are no spots: 98, 99; nothing was changed.",
        ),
        ([], {}, "commercial_log: no spot was named."),
        ([UNDETERMINED], {"decided_by": " "}, "commercial_log: a language decision needs the name of whoever decides."),
        ([UNDETERMINED], {"note": ""}, "commercial_log: a language decision needs a note that says why."),
    ],
)
def test_a_decision_that_is_not_complete_changes_nothing(
    loaded: Station, spot_ids: list[int], changes: dict[str, Any], what: str
) -> None:
    """All spots or none."""
    before = loaded.dump()
    with pytest.raises(RequestRefused) as refused:
        decide(loaded, *spot_ids, **changes)
    assert refused.value.what == what
    assert loaded.dump() == before


def test_an_unknown_code_is_answered_with_the_codes_there_are(loaded: Station) -> None:
    with pytest.raises(RequestRefused) as refused:
        decide(loaded, UNDETERMINED, language_code="H")
    assert refused.value.next_step == "Use one of: E, M, C, T, HM, SA, V, K, J, M/C, P."


def test_the_same_decision_again_changes_nothing(loaded: Station) -> None:
    decide(loaded, UNDETERMINED)
    before = loaded.dump()
    assert decide(loaded, UNDETERMINED, UNDETERMINED, now=NOW + timedelta(days=3)).written == 0
    assert loaded.dump() == before


def test_a_decision_can_be_revised(loaded: Station) -> None:
    decide(loaded, UNDETERMINED)
    assert decide(loaded, UNDETERMINED, language_code="K", decided_by="Bo", note="heard it").written == 1
    assert loaded.sql(
        "SELECT a.language_code, a.notes, s.language_id"
        " FROM spot_language_assignments AS a JOIN spots AS s USING (spot_id) WHERE spot_id = ?",
        UNDETERMINED,
    ) == [("K", "Bo: heard it", 8)]


def test_a_decision_outlives_the_next_update(loaded: Station) -> None:
    """R41, R31: the row of the sheet is the same, so the spot stays and with it the decision."""
    decide(loaded, UNDETERMINED)
    query = "SELECT a.*, s.language_id FROM spot_language_assignments AS a JOIN spots AS s USING (spot_id)"
    before = loaded.sql(query)
    loaded.load(ROWS, DAY + timedelta(days=1))
    assert loaded.sql(query) == before


def test_a_spot_without_an_assignment_gets_one(loaded: Station) -> None:
    loaded.sql("DELETE FROM spot_language_assignments WHERE spot_id = ?", DETERMINED)
    assert decide(loaded, DETERMINED, language_code="T").written == 1
    assert loaded.sql(
        "SELECT language_code, assignment_method FROM spot_language_assignments WHERE spot_id = ?", DETERMINED
    ) == [("T", "manual_override")]


@pytest.mark.parametrize("step", [lambda station: decide(station, UNDETERMINED), recategorise])
def test_nothing_is_decided_while_another_run_writes(loaded: Station, step: Any) -> None:
    """R51."""
    before = loaded.dump()
    with locks.hold(loaded.data.database_lock, "commercial_log_update"), pytest.raises(StoreBusy):
        step(loaded)
    assert loaded.dump() == before


# --- a fresh start --------------------------------------------------------------------------------------------------


def test_recategorising_recomputes_everything_but_peoples_decisions(loaded: Station) -> None:
    """R43: closed months too."""
    decide(loaded, UNDETERMINED)
    expected = loaded.dump(without=["import_batches"])
    loaded.close_month("Sep-25")
    expected["month_closures"] = loaded.dump()["month_closures"]
    loaded.sql(
        "UPDATE spots SET spot_category = 'review_category', language_id = NULL WHERE spot_id <> ?", UNDETERMINED
    )
    loaded.sql(
        "UPDATE spot_language_assignments SET language_code = 'P', language_status = 'default', confidence = 0.1,"
        " assignment_method = 'guess', assigned_date = '2020-01-01 00:00:00', requires_review = 1, notes = 'old'"
        " WHERE spot_id <> ?",
        UNDETERMINED,
    )
    result = recategorise(loaded)
    assert result == StepResult(
        where="spot_language_assignments",
        read=7,
        written=6,
        facts={
            "months": 1,
            "categorized": 6,
            "processed": 6,
            "language_assigned": 2,
            "default_english_assigned": 1,
            "flagged_for_review": 3,
            "manual": 1,
        },
    )
    after = loaded.dump(without=["import_batches"])
    decided_at = 7  # the position of assigned_date in a row that begins with its rowid
    rows = {
        spots: [line[:decided_at] + line[decided_at + 1 :] for line in each.pop("spot_language_assignments")]
        for spots, each in (("expected", expected), ("after", after))
    }
    assert rows["after"] == rows["expected"]
    assert after == expected


def test_recategorising_twice_changes_nothing(loaded: Station) -> None:
    before = loaded.dump()
    recategorise(loaded)
    recategorise(loaded)
    assert loaded.dump() == before


def test_recategorising_counts_a_new_language(loaded: Station) -> None:
    """The reason to do it: a code that was no language is one now."""
    loaded.sql("INSERT INTO languages (language_code, language_name) VALUES ('M,V', 'Mandarin and Vietnamese')")
    recategorise(loaded)
    assert loaded.sql(
        "SELECT a.language_code, a.assignment_method, a.requires_review, s.language_id"
        " FROM spot_language_assignments AS a JOIN spots AS s USING (spot_id) WHERE spot_id = ?",
        INVALID,
    ) == [("M,V", "direct_mapping", 0, 12)]


def test_recategorising_wants_to_be_confirmed(loaded: Station) -> None:
    before = loaded.dump()
    with pytest.raises(RequestRefused, match=r"closed ones included\. Next step: Give confirm"):
        recategorise(loaded, confirm=False)
    assert loaded.dump() == before


def test_recategorising_that_fails_half_way_changes_nothing(loaded: Station) -> None:
    """R33, R42: a spot that cannot be given a language fails the run."""
    loaded.load([row(media="later", broadcast_month="Oct-25")], DAY + timedelta(days=1))
    loaded.sql(
        "UPDATE spot_language_assignments SET assignment_method = 'guess' WHERE spot_id = ?",
        DETERMINED,
    )
    loaded.sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON spot_language_assignments WHEN new.spot_id = 8"
        " BEGIN SELECT raise(IGNORE); END"
    )
    loaded.sql("DELETE FROM spot_language_assignments WHERE spot_id = 8")
    before = loaded.dump()
    with pytest.raises(PipelineError, match="1 spots of Oct-25 have no category or language after the run"):
        recategorise(loaded)
    assert loaded.dump() == before
    assert [line.state for line in read_journal(loaded.data.logs, review.RECATEGORISE_JOB)] == ["FAILED"]


# --- reports --------------------------------------------------------------------------------------------------------


def test_the_language_status_adds_up(loaded: Station) -> None:
    """Section 7: by category, uncategorised, the queue, and what is undetermined at $1,000 or more."""
    loaded.sql("UPDATE spots SET spot_category = NULL WHERE spot_id = ?", DETERMINED)
    loaded.sql("DELETE FROM spot_language_assignments WHERE spot_id = ?", DETERMINED)
    with closing(loaded.open()) as db:
        found = language_status(db)
    rows = [tuple(each.values()) for each in found.pop("rows")]
    required, reviewed = "language_assignment_required", "review_category"
    assert rows == [
        (None, None, None, 1, 85.0, 0, 1, 1),
        ("default_english", "business_rule_default_english", "determined", 1, 9.0, 0, 0, 0),
        (required, "default_english", "default", 1, 0.0, 0, 0, 0),
        (required, "invalid_code_flagged", "invalid", 1, 0.0, 1, 0, 0),
        (reviewed, "business_review_required", "default", 2, 515.0, 2, 0, 0),
        (reviewed, "undetermined_flagged", "undetermined", 1, 1000.0, 1, 0, 0),
    ]
    assert found == {
        "spots": 7,
        "uncategorised": 1,
        "unassigned": 1,
        "review_queue": 4,
        "undetermined_high_value": 1,
    }


def test_invalid_codes_are_listed_dearest_first_whatever_their_case(station: Station) -> None:
    """Section 7: count, sum and average of revenue; a bonus spot without a price does not pull the average down."""
    given = [("f", 10.0), ("F", 20.0), ("F", None), ("13", 100.0), ("V", 500.0), ("L", 500.0), ("H", None)]
    station.load([row(language_code=code, gross_rate=gross) for code, gross in given])
    with closing(station.open()) as db:
        assert invalid_codes(db) == [
            InvalidCode("13", 1, 100.0, 100.0),
            InvalidCode("F", 3, 30.0, 15.0),
            InvalidCode("H", 1, 0.0, None),
        ]


def test_every_filter_is_tested() -> None:
    marks = test_a_filter_lets_its_spots_through.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(get_args(Filter))
