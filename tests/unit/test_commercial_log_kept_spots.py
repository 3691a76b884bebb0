"""What a load completes on spots that were there before it, and what it leaves alone: R17, R28, R31, R42."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta

import pytest

from include.commercial_log.config import Settings
from include.commercial_log.languages import assign_languages
from include.common.sql import transaction
from tests.unit.commercial_log_helpers import BATCH, DAY, NOW, Station, row, rows

ONE_DAY = timedelta(days=1)
AUGUST = {"broadcast_month": "Aug-25", "air_date": datetime(2025, 8, 20)}  # noqa: DTZ001 - cells have no time zone
AGENCY = "INSERT INTO agencies (agency_id, agency_name) VALUES (5, 'North Media')"
CUSTOMER = "INSERT INTO customers (customer_id, normalized_name) VALUES (6, 'Blue Farms')"
MARKET = "INSERT INTO markets (market_id, market_code, market_name) VALUES (20, 'PHX', 'PHOENIX')"


@pytest.mark.parametrize(
    ("unknown", "first"), [(CUSTOMER, (None, 5, 20)), (AGENCY, (6, None, 20)), (MARKET, (6, 5, None))]
)
def test_the_only_name_of_a_kept_spot_that_was_unknown_is_looked_up_again(
    station: Station, unknown: str, first: tuple[int | None, ...]
) -> None:
    """R31: one is enough, whichever; batch and load date stay those of the first load."""
    for known in {AGENCY, CUSTOMER, MARKET} - {unknown}:
        station.sql(known)
    ids = "SELECT spot_id, import_batch_id, load_date, customer_id, agency_id, market_id FROM spots"
    kept = (1, BATCH, "2025-09-02 08:30:00")
    cells, settings = [row(market_name="PHX")], Settings(auto_setup=False)
    station.load(cells, settings=settings)
    assert station.sql(ids) == [(*kept, *first)]
    station.sql(unknown)
    station.load(cells, DAY + ONE_DAY, settings=settings)
    assert station.sql(ids) == [(*kept, 6, 5, 20)]


@pytest.mark.parametrize(
    "lost",
    [
        "UPDATE spots SET spot_category = NULL WHERE spot_id = 2",
        "UPDATE spots SET language_id = NULL WHERE spot_id = 2",
        "DELETE FROM spot_language_assignments WHERE spot_id = 2",
    ],
)
def test_whatever_a_kept_spot_lacks_of_its_language_is_completed(station: Station, lost: str) -> None:
    """R42: every spot of a processed month has one category and one assignment, also if it lacks just one of them."""
    state = (
        "SELECT s.spot_id, s.spot_category, s.language_id, a.language_code, a.assignment_method"
        " FROM spots AS s LEFT JOIN spot_language_assignments AS a USING (spot_id) ORDER BY s.spot_id"
    )
    expected = [(spot_id, "language_assignment_required", 7, "V", "direct_mapping") for spot_id in (1, 2)]
    cells = rows("a", "b")
    station.load(cells)
    assert station.sql(state) == expected
    station.sql(lost)
    result = station.load(cells, DAY + ONE_DAY)
    assert station.sql(state) == expected
    assert (result.facts["categorized"], result.facts["processed"]) == (int("spot_category" in lost), 2)


@pytest.fixture
def untidy(station: Station) -> Station:
    """August is closed; each of its spots says something else about its language than the rules would."""
    station.load([row(media=title, **AUGUST) for title in "abcde"])
    station.close_month("Aug-25")
    station.sql("UPDATE spots SET language_id = 3 WHERE spot_id = 1")
    station.sql("UPDATE spots SET language_id = NULL WHERE spot_id = 2")
    station.sql("UPDATE spots SET spot_category = NULL WHERE spot_id = 3")
    station.sql("UPDATE spots SET spot_category = NULL, language_id = NULL WHERE spot_id = 4")
    station.sql("DELETE FROM spot_language_assignments WHERE spot_id IN (4, 5)")
    return station


def august(station: Station) -> list[list[tuple[object, ...]]]:
    of_august = "WHERE spot_id IN (SELECT spot_id FROM spots WHERE broadcast_month = 'Aug-25') ORDER BY spot_id"
    return [station.sql(f"SELECT * FROM {table} {of_august}") for table in ("spots", "spot_language_assignments")]


def test_a_load_writes_nothing_about_languages_into_a_closed_month(untidy: Station) -> None:
    """R17: not even what is missing there, while it completes the spots of September."""
    before = august(untidy)
    untidy.load([*rows("new"), row(media="a", **AUGUST)], DAY + ONE_DAY)
    assert august(untidy) == before
    assert untidy.sql("SELECT media, language_id FROM spots WHERE broadcast_month = 'Sep-25'") == [("new", 7)]


def test_deciding_one_month_anew_leaves_the_others_alone(untidy: Station) -> None:
    """R43 goes from month to month, with ids that differ from the assignment as well."""
    before = august(untidy)
    untidy.load(rows("new"), DAY + ONE_DAY)
    untidy.sql("UPDATE spots SET language_id = 3 WHERE media = 'new'")
    with closing(untidy.open()) as db, transaction(db):
        assign_languages(db, ["Sep-25"], now=NOW, everything=True)
    assert august(untidy) == before
    assert untidy.sql("SELECT media, language_id FROM spots WHERE broadcast_month = 'Sep-25'") == [("new", 7)]
