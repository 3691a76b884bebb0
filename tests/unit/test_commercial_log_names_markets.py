"""Whose booking it is and where it airs: domain rules R29 and R30."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.commercial_log.config import Settings
from include.commercial_log.markets import MarketSetup, resolve_markets
from include.commercial_log.names import NameBook, agency_name
from include.common.sql import transaction
from tests.unit.commercial_log_helpers import Station, row, rows


@pytest.fixture
def db(station: Station) -> Iterator[sqlite3.Connection]:
    with closing(station.open()) as connection:
        yield connection


# --- R29: customers and agencies ------------------------------------------------------------------------------------

PEOPLE = """
INSERT INTO agencies (agency_id, agency_name, is_active) VALUES
    (1, 'North Media', 1), (2, 'South Media', 1), (3, 'Closed Agency', 0), (4, 'WorldLink', 1);
INSERT INTO customers (customer_id, normalized_name, is_active) VALUES
    (1, 'Blue Farms', 1),
    (2, 'North Media:Blue Farms', 1),
    (3, 'Red Cars', 1),
    (4, 'Acme:Red Cars', 1),
    (5, 'Gone Ltd', 0),
    (6, 'Green Tea PRODUCTION', 1),
    (7, 'Green Tea', 1),
    (8, 'Direct:Corner Shop', 1),
    (9, 'Old Mill', 1);
INSERT INTO entity_aliases (alias_name, entity_type, target_entity_id, is_active) VALUES
    ('N. Media', 'agency', 1, 1),
    ('Sleeping', 'agency', 1, 0),
    ('Closed Agency Inc', 'agency', 3, 1),
    ('South Media', 'agency', 1, 1),
    ('BF', 'customer', 1, 1),
    ('Gone', 'customer', 5, 1),
    ('Mill', 'customer', 9, 1),
    ('Mill (old)', 'customer', 9, 0),
    ('Red Cars', 'customer', 1, 1),
    ('Nobody', 'customer', 99, 1),
    ('N. Media:Special', 'customer', 9, 1);
"""


@pytest.fixture
def people(db: sqlite3.Connection) -> NameBook:
    db.executescript(PEOPLE)
    return NameBook(db)


@pytest.mark.parametrize(
    ("bill_code", "customer", "agency"),
    [
        # the whole bill code first: the same advertiser under two agencies is two customers
        ("North Media:Blue Farms", 2, 1),
        ("South Media:Blue Farms", 1, 2),
        ("Blue Farms", 1, None),
        # case and outer blanks do not count
        ("  north media:BLUE FARMS ", 2, 1),
        (" South Media : Blue Farms ", 1, 2),
        # after the first colon before after the last
        ("South Media:Acme:Red Cars", 4, 2),
        ("South Media:Other:Red Cars", 3, 2),
        ("Unknown:Other:Red Cars", 3, None),
        # direct business has no agency
        ("Direct:Blue Farms", 1, None),
        ("DIRECT: Blue Farms", 1, None),
        ("Direct:Corner Shop", 8, None),
        # a name beats an alias of the same text
        ("Red Cars", 3, None),
        ("South Media:Red Cars", 3, 2),
        # aliases, of agency and customer
        ("N. Media:Blue Farms", 1, 1),
        ("N. Media:BF", 1, 1),
        ("bf", 1, None),
        ("N. Media:Special", 9, 1),
        ("WorldLink:Mill", 9, 4),
        # only active rows, on both ends of an alias
        ("Closed Agency:Blue Farms", 1, None),
        ("Closed Agency Inc:Blue Farms", 1, None),
        ("Sleeping:Blue Farms", 1, None),
        ("Gone Ltd", None, None),
        ("Gone", None, None),
        ("Mill (old)", None, None),
        ("Nobody", None, None),
        # an agency alone is no customer, a customer no agency
        ("North Media", None, None),
        ("Blue Farms:Red Cars", 3, None),
        ("North Media:", None, 1),
        (":Blue Farms", 1, None),
        ("North Media:Unheard Of", None, 1),
        ("Unheard Of", None, None),
    ],
)
def test_a_bill_code_is_resolved_by_its_best_candidate(
    people: NameBook, bill_code: str, customer: int | None, agency: int | None
) -> None:
    assert people.resolve(bill_code) == (customer, agency)


@pytest.mark.parametrize(
    "suffix",
    [
        " (Broker Fees - DO NOT INVOICE)",
        " (Broker Costs - DO NOT INVOICE)",
        " (broker fees - do not invoice)",
        "  ( Broker  Costs -  Do Not Invoice )",
        " CREDIT MEMO",
        "  Credit  Memo",
        " CREDITMEMO",
        " PRODUCTION",
        " PROD",
        " prod",
        "- PRODUCTION",
        "- PROD",
        " - PRODUCTION",
        " PRODUCTION CREDIT MEMO",
        " CREDIT MEMO (Broker Fees - DO NOT INVOICE) PROD",
    ],
)
@pytest.mark.parametrize("agency", ["", "South Media:", "South Media:Other:"])
def test_what_accounting_adds_to_a_name_does_not_hide_the_customer(people: NameBook, agency: str, suffix: str) -> None:
    assert people.resolve(f"{agency}Blue Farms{suffix}").customer_id == 1


@pytest.mark.parametrize(
    ("bill_code", "customer"),
    [
        ("Green Tea PRODUCTION", 6),  # the name as it stands comes before the cleaned one
        ("Green Tea PROD", 7),
        ("Blue  Farms", 1),
        ("Blue Farms PROD PROD", None),  # one suffix
        ("Blue FarmsPROD", None),
        ("PRODUCTION Blue Farms", None),
        ("Blue Farms CREDIT MEMORIAL", None),
    ],
)
def test_cleaning_goes_as_far_as_agreed_and_no_further(people: NameBook, bill_code: str, customer: int | None) -> None:
    assert people.resolve(f"South Media:{bill_code}").customer_id == customer


def test_looking_names_up_creates_nothing(people: NameBook, db: sqlite3.Connection) -> None:
    people.resolve("Somebody New:Something New")
    counts = [
        db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("customers", "agencies", "entity_aliases")
    ]
    assert counts == [9, 4, 11]


def test_each_bill_code_is_resolved_once(people: NameBook) -> None:
    for _ in range(3):
        people.resolve("North Media:Blue Farms")
    assert people.resolve.cache_info().misses == 1


@pytest.mark.parametrize(
    ("bill_code", "agency"),
    [("A:B", "A"), ("A:B:C", "A"), (" A :B", "A"), ("B", None), ("Direct:B", None), ("direct :B", None)],
)
def test_the_agency_is_what_stands_before_the_first_colon(bill_code: str, agency: str | None) -> None:
    assert agency_name(bill_code) == agency


@given(st.text(st.sampled_from("Aa :-()PRODUCTIONcreditmemo"), max_size=40))
def test_no_bill_code_breaks_the_look_up(bill_code: str) -> None:
    with closing(sqlite3.connect(":memory:")) as empty:
        for table, columns in (
            ("customers", "customer_id, normalized_name, is_active"),
            ("agencies", "agency_id, agency_name, is_active"),
            ("entity_aliases", "entity_type, alias_name, target_entity_id, is_active"),
        ):
            empty.execute(f"CREATE TABLE {table} ({columns})")
        assert NameBook(empty).resolve(bill_code) == (None, None)


def test_a_load_names_customers_and_agencies_and_reports_who_is_unknown(station: Station) -> None:
    """R29: a row without a customer is imported all the same."""
    with closing(station.open()) as db:
        db.executescript(PEOPLE)
    result = station.load(
        [
            row(media="1", bill_code="North Media:Blue Farms"),
            row(media="2", bill_code="North Media:Unheard Of"),
            row(media="3", bill_code="Who:Unheard Of"),
            row(media="4", bill_code="Who:Unheard Of"),
            row(media="5", bill_code="Direct:Corner Shop"),
        ]
    )
    assert station.sql("SELECT media, customer_id, agency_id FROM spots ORDER BY media") == [
        ("1", 2, 1),
        ("2", None, 1),
        ("3", None, None),
        ("4", None, None),
        ("5", 8, None),
    ]
    assert (result.facts["unresolved_bill_codes"], result.facts["unresolved_agencies"]) == (2, 1)
    assert station.sql("SELECT bill_code, spots FROM v_unresolved_bill_codes") == [
        ("Who:Unheard Of", 2),
        ("North Media:Unheard Of", 1),
    ]


def test_a_kept_row_is_given_the_names_that_are_known_by_now(station: Station) -> None:
    """R31: ids that are null are resolved again, ids that are set stay."""
    cells = [row(media="1"), row(media="2", bill_code="Who:Red Cars"), row(media="3", market_name="A;B")]
    station.load(cells)
    with closing(station.open()) as db:
        db.executescript(PEOPLE)
        db.execute("INSERT INTO market_aliases (alias, market_code) VALUES ('A;B', 'LAX')")
        db.execute("UPDATE spots SET customer_id = 9 WHERE media = '1'")
    result = station.load(cells, date(2025, 9, 3))
    assert station.sql("SELECT spot_id, media, customer_id, agency_id, market_id FROM spots ORDER BY media") == [
        (1, "1", 9, 1, 3),
        (2, "2", 3, None, 3),
        (3, "3", 2, 1, 6),
    ]
    assert (result.facts["rows_inserted"], result.facts["rows_unchanged"]) == (0, 3)


# --- R30: markets ---------------------------------------------------------------------------------------------------

SEEDED = {"NYC": 1, "CVC": 2, "SFO": 3, "CMP": 4, "HOU": 5, "LAX": 6, "SEA": 7, "DAL": 8}


def resolve(db: sqlite3.Connection, *aired: tuple[str, str], create: bool = True) -> MarketSetup:
    with transaction(db):
        return resolve_markets(db, aired, create=create)


def new_markets(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Markets beyond the seeded ones with their schedules."""
    return db.execute(
        "SELECT market_code, market_name, region, is_active, schedule_id, assignment_priority, effective_start_date,"
        " effective_end_date FROM markets LEFT JOIN schedule_market_assignments USING (market_id)"
        " WHERE market_id > 8 ORDER BY market_id"
    ).fetchall()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SFO", "SFO"),
        ("sfo", "SFO"),
        ("SAN FRANCISCO", "SFO"),
        ("San Francisco", "SFO"),
        ("New York", "NYC"),
        ("los angeles", "LAX"),
        ("Central Valley", "CVC"),
        ("chi msp", "CMP"),
        ("CHI  MSP", "CMP"),  # blanks inside do not make another market
        ("Houston", "HOU"),
        ("seattle", "SEA"),
        ("Dallas", "DAL"),
    ],
)
def test_a_market_is_found_by_code_name_or_alias_in_any_case(db: sqlite3.Connection, text: str, code: str) -> None:
    setup = resolve(db, (text, "2025-09-03"))
    assert (setup.ids, setup.created, setup.unresolved) == ({text: SEEDED[code]}, [], [])
    assert new_markets(db) == []


@pytest.mark.parametrize(
    ("text", "code", "name"),
    [
        ("PHX", "PHX", "PHX"),
        ("phx", "PHX", "PHX"),
        ("Palm Springs", "PALM_SPRINGS", "PALM SPRINGS"),
        ("CHI", "CHI", "CHICAGO"),
        ("Chicago", "CHI", "CHICAGO"),
        ("msp", "MSP", "MINNEAPOLIS"),
        ("Minneapolis", "MSP", "MINNEAPOLIS"),
        ("WDC", "WDC", "WASHINGTON DC"),
        ("Washington DC", "WDC", "WASHINGTON DC"),
        ("MMT", "MMT", "MAMMOTH"),
        ("Mammoth", "MMT", "MAMMOTH"),
        ("ADMIN", "ADMIN", "ADMINISTRATIVE"),
        ("Admin", "ADMIN", "ADMINISTRATIVE"),
        ("ADMINISTRATIVE", "ADMIN", "ADMINISTRATIVE"),
        ("x" * 50, "X" * 50, "X" * 50),
        ("A-B", "A-B", "A-B"),
        ("A/B", "A/B", "A/B"),
    ],
)
def test_a_market_nobody_knew_is_created_with_the_standard_schedule(
    db: sqlite3.Connection, text: str, code: str, name: str
) -> None:
    setup = resolve(db, (text, "2025-09-03"))
    assert (setup.ids, setup.created, setup.unresolved) == ({text: 9}, [code], [])
    assert new_markets(db) == [(code, name, None, 1, 1, 1, "2025-09-03", None)]
    created_by = db.execute("SELECT created_by FROM schedule_market_assignments WHERE market_id = 9").fetchone()
    assert created_by == ("system",)


def test_dallas_is_given_the_dallas_grid_when_it_is_created_anew(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM schedule_market_assignments WHERE market_id = 8")
    db.execute("DELETE FROM markets WHERE market_id = 8")
    resolve(db, ("Dallas", "2025-09-03"))
    assert db.execute(
        "SELECT market_code, market_name, schedule_id FROM markets JOIN schedule_market_assignments USING (market_id)"
        " ORDER BY market_id DESC LIMIT 1"
    ).fetchone() == ("DAL", "DALLAS", 2)


def test_admin_in_every_spelling_is_one_market(db: sqlite3.Connection) -> None:
    """Section 8, 4: ``Admin`` made a duplicate or crashed on the unique name."""
    texts = ("Admin", "ADMIN", "admin", "Administrative", "ADMINISTRATIVE")
    setup = resolve(db, *((text, f"2025-09-0{number}") for number, text in enumerate(texts, start=3)))
    assert setup.ids == dict.fromkeys(texts, 9)
    assert setup.created == ["ADMIN"]
    assert new_markets(db) == [("ADMIN", "ADMINISTRATIVE", None, 1, 1, 1, "2025-09-03", None)]


def test_the_schedule_starts_with_the_earliest_air_date_in_any_spelling(db: sqlite3.Connection) -> None:
    """Section 8, 4: the scan did not know the header and every schedule started today."""
    resolve(
        db,
        ("Chicago", "2025-09-10"),
        ("CHI", "2025-09-09"),
        ("chi", "2025-08-30"),
        ("CHI", "2025-09-01"),
        ("PHX", "2025-01-01"),
    )
    assert new_markets(db) == [
        ("CHI", "CHICAGO", None, 1, 1, 1, "2025-08-30", None),
        ("PHX", "PHX", None, 1, 1, 1, "2025-01-01", None),
    ]


def test_a_market_that_has_the_new_name_already_is_used(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO markets (market_id, market_code, market_name) VALUES (20, 'CHX', 'Chicago')")
    db.execute("DELETE FROM market_aliases WHERE alias = 'Chicago'")
    setup = resolve(db, ("CHI", "2025-09-03"))
    assert (setup.ids, setup.created) == ({"CHI": 20}, [])


def test_a_market_that_has_the_new_code_already_is_used(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO markets (market_id, market_code, market_name) VALUES (20, 'PALM_SPRINGS', 'Palm City')")
    setup = resolve(db, ("Palm  Springs", "2025-09-03"))
    assert (setup.ids, setup.created) == ({"Palm  Springs": 20}, [])


def test_a_market_created_from_a_name_is_found_by_it_ever_after(db: sqlite3.Connection) -> None:
    resolve(db, ("Palm Springs", "2025-09-03"))
    texts = ("Palm Springs", "PALM SPRINGS", "palm_springs", "Palm   Springs")
    assert resolve(db, *((text, "2025-09-03") for text in texts)).ids == dict.fromkeys(texts, 9)
    assert len(new_markets(db)) == 1


@pytest.mark.parametrize("text", ["SFO; LAX", "PHX -- all", "a /* b */", "DROP TABLE;", "x" * 51, "#N/A", "#REF!"])
def test_a_suspicious_text_is_never_created(db: sqlite3.Connection, text: str) -> None:
    setup = resolve(db, (text, "2025-09-03"))
    assert (setup.ids, setup.created, setup.unresolved) == ({text: None}, [], [text])
    assert new_markets(db) == []


def test_an_alias_can_name_the_market_of_a_suspicious_text(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO market_aliases (alias, market_code) VALUES ('SFO; LAX', 'MMT'), ('L.A.; all', 'LAX')")
    setup = resolve(db, ("sfo; lax", "2025-09-03"), ("L.A.; All", "2025-09-03"))
    assert setup.ids == {"sfo; lax": None, "L.A.; All": 6}


def test_an_existing_market_without_a_schedule_is_left_alone(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM schedule_market_assignments WHERE market_id = 3")
    resolve(db, ("SFO", "2025-09-03"))
    assert db.execute("SELECT count(*) FROM schedule_market_assignments WHERE market_id = 3").fetchone() == (0,)


def test_without_auto_setup_nothing_is_created(db: sqlite3.Connection) -> None:
    setup = resolve(db, ("PHX", "2025-09-03"), ("SFO", "2025-09-03"), ("Admin", "2025-09-03"), create=False)
    assert setup.ids == {"PHX": None, "SFO": 3, "Admin": None}
    assert setup.unresolved == ["Admin", "PHX"]
    assert new_markets(db) == []


def test_the_second_time_nothing_is_new(db: sqlite3.Connection) -> None:
    first = resolve(db, ("PHX", "2025-09-03"), ("Admin", "2025-09-03"))
    second = resolve(db, ("PHX", "2025-08-01"), ("Admin", "2025-08-01"))
    assert (second.ids, second.created) == (first.ids, [])
    assert [each[6] for each in new_markets(db)] == ["2025-09-03", "2025-09-03"]


@given(st.lists(st.text(st.sampled_from("aAbB_ x/.-;ßİ"), min_size=1).map(str.strip).filter(bool), max_size=6))
def test_no_market_text_breaks_the_setup_and_codes_and_names_stay_unique(texts: list[str]) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.executescript(
            "CREATE TABLE markets (market_id INTEGER PRIMARY KEY, market_code UNIQUE, market_name UNIQUE);"
            "CREATE TABLE market_aliases (alias, market_code);"
            "CREATE TABLE schedule_market_assignments (schedule_id, market_id, effective_start_date);"
        )
        first = resolve(db, *((text, "2025-09-03") for text in texts))
        second = resolve(db, *((text, "2025-09-03") for text in texts))
        assert second.ids == first.ids
        assert second.created == []


def test_only_accepted_rows_make_markets_and_an_empty_market_is_null(station: Station) -> None:
    result = station.load(
        [
            row(media="1", market_name="PHX"),
            row(media="2", market_name=None),
            row(media="3", market_name=" sfo "),
            row(media="4", market_name="SFO; LAX"),
            row(market_name="TRD", revenue_type="Trade"),
            row(market_name="REJ", bill_code=None),
            row(market_name="MON", broadcast_month="?"),
        ]
    )
    assert station.sql("SELECT media, market_name, market_id FROM spots ORDER BY media") == [
        ("1", "PHX", 9),
        ("2", None, None),
        ("3", "sfo", 3),
        ("4", "SFO; LAX", None),
    ]
    assert (result.facts["new_markets"], result.facts["unresolved_markets"]) == (["PHX"], ["SFO; LAX"])
    assert station.sql("SELECT market_code FROM markets WHERE market_id > 8") == [("PHX",)]
    warnings = station.sql(
        "SELECT row_number, column_header, raw_value FROM import_rejects WHERE reason = 'UNKNOWN_MARKET'"
    )
    assert warnings == [(5, "Market", "SFO; LAX")]


def test_a_row_without_a_market_has_none_even_where_one_is_called_none(station: Station) -> None:
    """R30."""
    station.load([row(media="a", market_name="None"), row(media="b", market_name=None)])
    query = "SELECT media, market_code FROM spots LEFT JOIN markets USING (market_id) ORDER BY media"
    assert station.sql(query) == [("a", "NONE"), ("b", None)]


def test_a_load_without_auto_setup_warns_and_leaves_markets_null(station: Station) -> None:
    result = station.load(rows("1", market_name="PHX"), settings=Settings(auto_setup=False))
    assert station.sql("SELECT market_id FROM spots") == [(None,)]
    assert station.sql("SELECT count(*) FROM markets") == [(8,)]
    assert result.facts["unresolved_markets"] == ["PHX"]
    assert station.sql("SELECT severity, reason, raw_value FROM import_rejects") == [
        ("warning", "UNKNOWN_MARKET", "PHX")
    ]


def test_a_market_of_a_load_that_fails_is_not_there(station: Station) -> None:
    """R33; section 8, 4: markets were committed before the import."""
    station.sql("CREATE TRIGGER refuse BEFORE INSERT ON spots BEGIN SELECT RAISE(ABORT, 'refused by a test'); END")
    with pytest.raises(sqlite3.IntegrityError, match="refused by a test"):
        station.load(rows("1", market_name="PHX"))
    assert station.sql("SELECT count(*) FROM markets") == [(8,)]
    assert station.sql("SELECT count(*) FROM schedule_market_assignments") == [(8,)]
    assert station.sql("SELECT status FROM import_batches") == [("FAILED",)]
