"""The seeded booked-spot workbook: section 9 of the domain rules, and the expectation that goes with it."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path

import openpyxl
import pytest
import python_calamine
from hypothesis import given, settings
from hypothesis import strategies as st

from include.commercial_log.database import open_database
from sandbox.commercial_log.expected import expect
from sandbox.commercial_log.generator import QUIRKS, World, generate
from sandbox.commercial_log.history import fill_history
from sandbox.commercial_log.layout import (
    BLANK_ROW,
    COLUMNS,
    COMMERCIALS,
    HEADER,
    POSITION,
    Cell,
    Fields,
    Row,
    month_after,
    month_text,
)
from sandbox.commercial_log.people import People, load_people, make_people
from sandbox.commercial_log.share import dated_history, publish
from sandbox.commercial_log.tables import Table, apportion
from sandbox.commercial_log.workbook import write_workbook

THURSDAY, FRIDAY, SATURDAY, SUNDAY = (date(2025, 8, day) for day in (28, 29, 30, 31))
MONDAY = date(2025, 9, 1)

# Cells a change of rate, date or language leaves alone.
LASTING = (
    "bill_code",
    "time_in",
    "time_out",
    "media",
    "comments",
    "line_number",
    "estimate",
    "contract",
    "market_name",
)


@pytest.fixture(scope="module")
def world() -> World:
    return generate(THURSDAY)


def filled(world: World) -> list[Row]:
    return [row for row in world.commercials if any(cell is not None and str(cell).strip() for cell in row)]


def column(world: World, name: str) -> list[Cell]:
    return [row[POSITION[name]] for row in filled(world)]


def percent(values: list[Cell], key: Callable[[Cell], object] = lambda cell: cell) -> dict[object, float]:
    return {value: 100 * count / len(values) for value, count in Counter(map(key, values)).items()}


def trimmed(cell: Cell) -> str:
    return "" if cell is None else str(cell).strip().upper()


def test_same_day_and_seed_make_the_same_world(world: World) -> None:
    assert generate(THURSDAY) == world
    assert generate(THURSDAY, seed=2).commercials != world.commercials


def test_full_scale_is_15576_accepted_44_trade_and_5_rejects(world: World) -> None:
    assert len(filled(world)) == 15_625
    assert expect(world).rows == {
        "blank": 80,
        "accepted": 15_576,
        "filtered_closed": 0,
        "filtered_trade": 44,
        "rejected": 5,
    }
    assert {reason: len(rows) for reason, rows in expect(world).rejects.items()} == {
        "BAD_MONEY": 2,
        "MISSING_AIR_DATE": 2,
        "MISSING_BILL_CODE": 1,
    }


def test_every_planted_row_is_counted(world: World) -> None:
    assert world.planted == {
        "ordinary": 14_954,
        "trade": 44,
        "bad_money": 2,
        "missing_date": 2,
        "missing_bill_code": 1,
        "money_text": 16,
        "date_text": 156,
        "month_text": 78,
        "month_off": 16,
        "a_and_o": 98,
        "language_undetermined": 29,
        "language_invalid": 20,
        "unknown_type": 16,
        "unknown_affidavit": 47,
        "unknown_billing": 8,
        "bad_time": 6,
        "non_numeric": 6,
        "new_market": 46,
        "unusable_market": 2,
        "exact_duplicate": 78,
        "blank": 80,
        "total": 0,
    }
    assert sum(count for name, count in world.planted.items() if name not in ("blank", "total")) == 15_625


def test_planted_rows_come_out_as_warnings_and_flags(world: World) -> None:
    expected = expect(world)
    assert expected.warnings == {
        "BAD_TIME": 6,
        "MONTH_MISMATCH": 16,
        "NON_NUMERIC": 6,
        "UNKNOWN_AFFIDAVIT": 47,
        "UNKNOWN_BILLING_TYPE": 8,
        "UNKNOWN_TYPE": 16,
    }
    assert len(expected.unusable_markets) == 2
    assert expected.assignment_methods["undetermined_flagged"] == 29
    assert expected.assignment_methods["invalid_code_flagged"] == 20
    assert sum(expected.categories.values()) == sum(expected.assignment_methods.values()) == 15_576
    assert set(expected.new_markets) == {"ADMIN", "BOS", "MMT", "PHX"}


@settings(max_examples=25, deadline=None)
@given(day=st.dates(date(2021, 1, 1), date(2030, 12, 31)), seed=st.integers(0, 50))
def test_counts_are_exact_on_any_day(day: date, seed: int) -> None:
    """Trade and rejects are never in the month that ages out; a total row has no Month (R20)."""
    world = generate(day, seed=seed, scale=0.04)
    expected = expect(world, closed_months=[month_text(month_after(day, -1))])
    assert expected.rows["filtered_trade"] == 2
    assert {reason: len(rows) for reason, rows in expected.rejects.items()} == {
        "BAD_MONEY": 2,
        "MISSING_AIR_DATE": 2,
        "MISSING_BILL_CODE": 1,
        **({"MISSING_MONTH": 1} if day.toordinal() % 2 == 0 else {}),
    }
    assert expected.rows["filtered_closed"] == (0 if day.weekday() == 6 else 13)
    assert set(world.planted) >= {quirk.name for quirk in QUIRKS}
    # Nothing but the planted rows is out of order, whatever the day.
    assert expected.warnings["MONTH_MISMATCH"] == world.planted["month_off"]
    assert expected.warnings["UNKNOWN_TYPE"] == world.planted["unknown_type"]


def test_months_are_spread_around_the_day(world: World) -> None:
    months = {month: int(figures["rows"]) for month, figures in expect(world).months.items()}
    filtered = Counter({"Aug-25": 15_625 * 0.35, "Sep-25": 15_625 * 0.25, "Jul-25": 312.5})
    assert list(months) == ["Jul-25", "Aug-25", "Sep-25", "Oct-25", "Nov-25", "Dec-25", "Jan-26"]
    assert months["Jul-25"] == 313
    assert abs(months["Aug-25"] - filtered["Aug-25"]) < 25
    assert abs(months["Sep-25"] - filtered["Sep-25"]) < 25
    assert world.months == tuple(month_after(THURSDAY, offset) for offset in range(-1, 6))


@pytest.mark.parametrize(
    ("name", "shares", "within"),
    [
        ("market_name", {"CVC": 27, "SEA": 22, "SFO": 17, "LAX": 14, "NYC": 7, "CMP": 5, "ADMIN": 0.5}, 1.1),
        ("revenue_type", {"INTERNAL AD SALES": 63, "DIRECT RESPONSE SALES": 30, "PAID PROGRAMMING": 2.5}, 1.2),
        ("spot_type", {"BNS": 25, "BB": 4, "PRG": 3, "AV": 2, "PRD": 1.5, "SVC": 1, "PKG": 0.7, "CRD": 0.5}, 1.1),
        ("sales_person", {"HOUSE": 30}, 1),
        ("agency_flag", {"AGENCY": 78, "NON-AGENCY": 22}, 2.5),
        ("billing_type", {"BROADCAST": 80, "CALENDAR": 20}, 1),
        ("day_of_week", {"SATURDAY": 16.2, "SUNDAY": 16.2, "MONDAY": 13.5, "WEDNESDAY": 13.5}, 1),
        ("contract", {"0": 3}, 0.5),
    ],
)
def test_distributions_are_those_of_the_domain(
    world: World, name: str, shares: dict[str, float], within: float
) -> None:
    found = percent(column(world, name), trimmed)
    assert {value: found[value] for value in shares} == pytest.approx(shares, abs=within)


def test_languages_depend_on_the_revenue_type(world: World) -> None:
    by_revenue: dict[str, list[Cell]] = {}
    for row in filled(world):
        by_revenue.setdefault(str(row[POSITION["revenue_type"]]), []).append(row[POSITION["language_code"]])
    internal = percent(by_revenue["Internal Ad Sales"], trimmed)
    shares = {"M": 24, "V": 21, "SA": 16, "T": 12, "C": 9, "K": 7, "M/C": 2, "HM": 1.5, "J": 1, "P": 0.5, "L": 0.3}
    assert {code: internal[code] for code in shares} == pytest.approx(shares, abs=1)
    assert percent(by_revenue["Direct Response Sales"]) == pytest.approx({"E": 70, None: 30}, abs=2)


def test_money_follows_its_quantiles(world: World) -> None:
    gross = sorted(cell for cell in column(world, "gross_rate") if isinstance(cell, int | float) and cell > 0)
    assert [gross[int(len(gross) * quantile)] for quantile in (0, 0.25, 0.5, 0.75)] == pytest.approx(
        [9, 21, 40, 63], abs=2
    )
    assert gross[int(len(gross) * 0.95)] == pytest.approx(350, rel=0.1)
    # What a copy with 16 digits loses.
    assert sum(float(f"{cell:.16g}") != cell for cell in gross) > 100
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in filled(world)]
    assert all(row["station_net"] is None and row["spot_value"] is None for row in rows if row["gross_rate"] is None)
    assert {trimmed(row["spot_type"]) for row in rows if row["gross_rate"] is None} >= {"BNS", "BONUS"}
    assert all(row["gross_rate"] < 0 for row in rows if trimmed(row["spot_type"]) == "CRD")  # type: ignore[operator]


def test_cells_come_in_all_the_types_of_the_real_sheet(world: World) -> None:
    def kinds(name: str) -> set[type]:
        return {type(cell) for cell in column(world, name)}

    nothing = type(None)
    assert kinds("air_date") == {datetime, str, int, nothing}
    assert kinds("broadcast_month") == {datetime, str}
    assert kinds("time_in") == {time, timedelta, str}
    assert kinds("length_seconds") == {time, timedelta, str, int}
    assert kinds("gross_rate") == {int, float, str, nothing}
    assert kinds("contract") == {int, float, str, nothing}
    assert kinds("language_code") == {str, int, nothing}
    assert percent(column(world, "time_in"), type)[str] == pytest.approx(20, abs=1.5)
    assert percent(column(world, "time_out"))[timedelta(days=1)] == pytest.approx(3, abs=0.5)
    assert percent(column(world, "time_in"))[time(6)] > 25


def test_the_awkward_spellings_are_all_there(world: World) -> None:
    assert {"L", "M,V", "13", "F", "H", "Hm", "EN", "ENG", 3} <= set(column(world, "language_code"))
    assert {"Trade", "TRADE", "trade", " Trade ", "A&O", "A & O", "A/O"} <= set(column(world, "revenue_type"))
    assert {"Com", "COM", "com", "Spot", "Bonus", "XYZ"} <= set(column(world, "spot_type"))
    assert {"Admin", "ADMIN", "MMT", "PHX", "BOS", "Los Angeles"} <= set(column(world, "market_name"))
    assert {"Sep-25", "AUG-25", " aug-25"} <= set(column(world, "broadcast_month"))
    money = {cell for cell in column(world, "gross_rate") if isinstance(cell, str)}
    assert {"TBD", "12.50 + tax"} <= money
    assert {cell[0] for cell in money} >= {"$", "("}
    codes = [str(cell) for cell in column(world, "bill_code")]
    assert any(code.count(":") == 2 for code in codes)
    assert any(code.endswith(" PRODUCTION") for code in codes)
    assert any(code.startswith("Direct:") for code in codes)


def test_exact_duplicates_stay_duplicates(world: World) -> None:
    """R31: one spot per accepted row."""
    repeated = Counter(filled(world))
    assert sum(count - 1 for count in repeated.values()) == 78


def test_the_next_day_is_the_same_world_moved_on() -> None:
    before, after = (Counter(filled(generate(day))) for day in (THURSDAY, FRIDAY))
    assert sum((before & after).values()) / 15_625 == pytest.approx(0.97, abs=0.005)

    def lasting(rows: Counter[Row]) -> Counter[tuple[Cell, ...]]:
        return Counter(tuple(row[POSITION[name]] for name in LASTING) for row in rows.elements())

    gone, come = lasting(before - after), lasting(after - before)
    changed = sum((gone & come).values())
    assert changed / 15_625 == pytest.approx(0.02, abs=0.003)
    assert sum(gone.values()) - changed == pytest.approx(156, abs=10)
    assert sum(come.values()) - changed == pytest.approx(156, abs=10)


def test_a_changed_row_has_another_rate_date_or_language() -> None:
    before, after = (Counter(filled(generate(day, scale=0.3))) for day in (THURSDAY, FRIDAY))
    first_change: Counter[str] = Counter()
    old = {tuple(row[POSITION[name]] for name in LASTING): row for row in before - after}
    for row in after - before:
        was = old.get(tuple(row[POSITION[name]] for name in LASTING))
        if was:
            first_change[next(name for name in COLUMNS if was[POSITION[name]] != row[POSITION[name]])] += 1
    assert set(first_change) == {"air_date", "language_code", "gross_rate"}
    assert min(first_change.values()) > 10


def test_every_seventh_file_lacks_the_oldest_month() -> None:
    """R18: the month is not in the file, so the update must preserve it."""
    saturday, sunday, monday = (
        generate(day, scale=0.1) for day in (date(2025, 8, 23), date(2025, 8, 24), date(2025, 8, 25))
    )
    assert [world.months[0] for world in (saturday, sunday, monday)] == [
        date(2025, 7, 1),
        date(2025, 8, 1),
        date(2025, 7, 1),
    ]
    assert len(filled(saturday)) - len(filled(sunday)) == 31 + 1  # and the total row of the even day


def test_a_new_month_rolls_the_sheet_on() -> None:
    last, first = generate(SATURDAY, scale=0.2), generate(MONDAY, scale=0.2)
    assert first.months == tuple(month_after(MONDAY, offset) for offset in range(-1, 6))
    kept = Counter(filled(last)) & Counter(filled(first))
    months = Counter(str(row[POSITION["broadcast_month"]])[:7] for row in kept.elements())
    # Two days at 3 %, and July is out, August cut down to its last rows; the later months are those of before.
    assert months["2025-07"] == 0
    assert 40 < months["2025-08"] < 63
    assert months["2025-09"] > 0.9 * 0.25 * 3_125


def test_rows_of_a_closed_month_can_be_added() -> None:
    """R17: the month is closed, its rows are counted and left alone."""
    world = generate(THURSDAY, scale=0.1, closed_rows=40)
    expected = expect(world, closed_months=["Jun-25"])
    assert world.months[0] == date(2025, 6, 1)
    assert expected.rows["filtered_closed"] == 40
    assert "Jun-25" not in expected.months
    without = expect(generate(THURSDAY, scale=0.1))
    assert expected.rows["accepted"] == without.rows["accepted"]
    assert expected.months == without.months


def test_the_workbook_reads_back_cell_by_cell(tmp_path: Path) -> None:
    """R4, as far as the source goes: same value and same type in every cell of every sheet."""
    world = generate(SATURDAY, scale=0.05)
    path = tmp_path / "Commercial Log.xlsx"
    write_workbook(world, path)
    book = openpyxl.load_workbook(path, data_only=True)
    assert book.sheetnames == ["Worldlink Lines", "Commercials", "Add to booked business", "Pending"]
    for name, rows in world.sheets.items():
        header, *cells = book[name].iter_rows(min_row=1, max_col=29, values_only=True)
        assert header == HEADER
        read = [tuple((type(cell), cell) for cell in row) for row in cells]
        assert read == [tuple((type(cell), cell) for cell in row) for row in rows]
    sheet = book[COMMERCIALS]
    assert (sheet["S2"].number_format, sheet["B2"].number_format) == ("mmm-yy", "mm-dd-yy")
    assert (sheet["A1"].font.b, sheet.column_dimensions["A"].width) == (True, 38)
    assert book.properties.modified == datetime.combine(SATURDAY, time(17))
    book.close()


def test_the_total_row_is_a_formula_with_its_result(tmp_path: Path) -> None:
    day = date(2025, 8, 27)
    world = generate(day, scale=0.05)
    assert world.planted["total"] == 1
    path = tmp_path / "Commercial Log.xlsx"
    write_workbook(world, path)
    book = openpyxl.load_workbook(path)
    last = book[COMMERCIALS].max_row
    assert book[COMMERCIALS][f"P{last}"].value == f"=SUM(P2:P{last - 1})"
    book.close()
    rows = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_name(COMMERCIALS).to_python()
    assert rows[-1][15] == world.commercials[-1][15]
    assert expect(world).rejects["MISSING_MONTH"] == [last]


def test_full_scale_workbook_has_the_real_size(world: World, tmp_path: Path) -> None:
    path = tmp_path / "Commercial Log.xlsx"
    write_workbook(world, path)
    assert 1_500_000 < path.stat().st_size < 2_000_000
    again = tmp_path / "again.xlsx"
    write_workbook(generate(THURSDAY), again)
    assert again.read_bytes() == path.read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"Commercial Log.xlsx", "again.xlsx"}


def spot(**cells: Cell) -> Row:
    fields: Fields = {
        **dict.fromkeys(COLUMNS),
        "bill_code": "North Media:Blue Farms",
        "air_date": datetime.combine(THURSDAY, time()),
        "spot_type": "Com",
        "language_code": "V",
        "gross_rate": 100,
        "station_net": 85.0,
        "broadcast_month": datetime.combine(date(2025, 8, 11), time()),
        "revenue_type": "Internal Ad Sales",
        "billing_type": "Broadcast",
        "market_name": "SFO",
    }
    return tuple((fields | cells)[name] for name in COLUMNS)


def small_world(*rows: Row) -> World:
    person = {"customer_type": None, "is_active": 1, "notes": None, "sector_id": None, "agency_id": None}
    people = People(
        agencies=({"agency_id": 1, "agency_name": "North Media", "is_active": 1, "notes": None},),
        customers=(
            {"customer_id": 1, "normalized_name": "blue farms", **person},
            {"customer_id": 2, "normalized_name": "North Media:Jade Clinic", **person},
            {"customer_id": 3, "normalized_name": "Jade Clinic", **person},
            {"customer_id": 4, "normalized_name": "Gone Motors", **person, "is_active": 0},
        ),
        entity_aliases=(
            {"alias_name": "Blue F.", "entity_type": "customer", "target_entity_id": 1, "is_active": 1},
            {"alias_name": "N. Media", "entity_type": "agency", "target_entity_id": 1, "is_active": 1},
            {"alias_name": "Gone", "entity_type": "customer", "target_entity_id": 4, "is_active": 1},
        ),
        worldlink_codes=Table(),
        other_codes=Table(),
    )
    return World(THURSDAY, 1, (), {COMMERCIALS: list(rows)}, people, {})


def test_expectation_of_a_sheet_worked_out_by_hand() -> None:
    """R13, R20-R27, R29, R30, R37, R38 on one page; row numbers are those of Excel."""
    world = small_world(
        spot(),  # 2 accepted
        BLANK_ROW,  # 3
        spot(broadcast_month="sep-25", language_code="M,V", gross_rate="(45.00)", market_name="Admin"),  # 4 mismatch
        spot(broadcast_month=None),  # 5
        spot(broadcast_month="soon", bill_code=None),  # 6
        spot(broadcast_month="Jul-25", revenue_type="Trade"),  # 7 closed wins over Trade
        spot(revenue_type=" tRADE "),  # 8
        spot(bill_code="  ", air_date=None),  # 9
        spot(air_date=None),  # 10
        spot(air_date="13/45/2025"),  # 11
        spot(spot_value="TBD"),  # 12
        spot(spot_type="BNS", gross_rate=None, station_net=None, language_code="hm ", bill_code="Direct:Jade Clinic"),
        spot(spot_type="Promo", revenue_type="A & O", language_code=None, bill_code="n. media:BLUE F. PRODUCTION"),
        spot(revenue_type="Paid Programming", spot_type="PRG", language_code="J", bill_code="North Media:Jade Clinic"),
        spot(language_code="L", bill_code="Other Agency:Gone", air_date="8/3/25", market_name="new town"),
        spot(language_code=None, affidavit_flag="sent", billing_type="weekly", time_in="ROS", line_number="n/a"),
        spot(market_name="SFO; LAX", billing_type="Calendar", gross_rate="$1,250.50", length_seconds=30),
    )
    assert expect(world, closed_months=["Jul-25"]).as_dict() == {
        "day": "2025-08-28",
        "closed_months": ["Jul-25"],
        "rows": {"blank": 1, "accepted": 8, "filtered_closed": 1, "filtered_trade": 1, "rejected": 6},
        "rejects": {
            "MISSING_MONTH": [5],
            "BAD_MONTH": [6],
            "MISSING_BILL_CODE": [9],
            "MISSING_AIR_DATE": [10],
            "BAD_AIR_DATE": [11],
            "BAD_MONEY": [12],
        },
        "warnings": {
            "BAD_TIME": 1,
            "MONTH_MISMATCH": 1,
            "NON_NUMERIC": 1,
            "UNKNOWN_AFFIDAVIT": 1,
            "UNKNOWN_BILLING_TYPE": 1,
            "UNKNOWN_TYPE": 1,
        },
        "months": {
            "Aug-25": {"rows": 7, "gross": 1_750.5, "net": 510.0},
            "Sep-25": {"rows": 1, "gross": -45.0, "net": 85.0},
        },
        "categories": {"default_english": 2, "language_assignment_required": 4, "review_category": 2},
        "assignment_methods": {
            "business_review_required": 1,
            "business_rule_default_english": 2,
            "direct_mapping": 3,
            "invalid_code_flagged": 1,
            "undetermined_flagged": 1,
        },
        "spots_per_market": {"": 1, "ADMIN": 1, "NEW_TOWN": 1, "SFO": 5},
        "new_markets": {
            "ADMIN": {"name": "ADMINISTRATIVE", "schedule_id": 1, "start": "2025-08-28"},
            "NEW_TOWN": {"name": "NEW TOWN", "schedule_id": 1, "start": "2025-08-03"},
        },
        "unusable_markets": ["SFO; LAX"],
        "spots_per_customer": {"": 1, "Jade Clinic": 1, "North Media:Jade Clinic": 1, "blue farms": 5},
        "spots_per_agency": {"": 2, "North Media": 6},
        "unresolved_bill_codes": ["Other Agency:Gone"],
        "unresolved_agencies": ["Other Agency"],
    }


def test_people_data_resolves_the_bill_codes_as_planned() -> None:
    """R29: the ids a bill code was made with are those the rule finds."""
    people = make_people(3)
    names = {row["customer_id"]: row["normalized_name"] for row in people.customers}
    agencies = {row["agency_id"]: row["agency_name"] for row in people.agencies}
    codes = list(
        {
            code.text: code for table in (people.worldlink_codes, people.other_codes) for code in table.spread(30_000)
        }.values()
    )
    assert len(codes) == 300
    for code in codes:
        world = small_world(spot(bill_code=code.text))
        expected = expect(World(THURSDAY, 3, (), world.sheets, people, {}))
        assert list(expected.spots_per_customer) == [names.get(code.customer_id, "")]
        assert list(expected.spots_per_agency) == [agencies.get(code.agency_id, "")]
    assert sum(code.agency_billed for code in codes) == 234  # 78 %
    assert sum(code.customer_id is None for code in codes) == 36  # 12 %
    assert sum(code.text.count(":") == 2 for code in codes) == 3  # 1 %
    assert len(people.agencies) == 43  # WorldLink and 44 others, two of which nobody registered


def test_publishing_replaces_the_workbook_and_leaves_the_expectation_beside_the_share(tmp_path: Path) -> None:
    root = tmp_path / "K Drive"
    publish(root, THURSDAY, scale=0.01)
    published = publish(root, FRIDAY, scale=0.01, closed_months=["Jul-25"])
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        "K Drive expected/Commercial Log.xlsx.expected.json",
        "K Drive/Traffic/Media library/Commercial Log.xlsx",
    ]
    assert json.loads(published.expectation.read_text("utf-8")) == published.expected.as_dict()
    assert published.expected.day == "2025-08-29"
    rows = python_calamine.CalamineWorkbook.from_path(published.workbook).get_sheet_by_name(COMMERCIALS).to_python()
    assert len(rows) == len(published.world.commercials) + 1


def test_dated_history_is_one_small_workbook_per_day(tmp_path: Path) -> None:
    """3.3: the dated local file has the one sheet."""
    days = [SUNDAY - timedelta(days=number) for number in range(9, -1, -1)]
    paths = dated_history(tmp_path / "raw" / "daily", days)
    assert [path.name for path in paths] == [f"Commercial Log 2508{number}.xlsx" for number in range(22, 32)]
    assert {tuple(python_calamine.CalamineWorkbook.from_path(path).sheet_names) for path in paths} == {(COMMERCIALS,)}
    assert max(path.stat().st_size for path in paths) < 20_000
    assert len({path.read_bytes() for path in paths}) == 10


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "production.db", create=True)
    yield connection
    connection.close()


def test_history_fills_closed_months(database: sqlite3.Connection) -> None:
    """R19: every month is closed, every spot historical; R42: one category and one assignment each."""
    load_people(database, make_people(1))
    indexes = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name").fetchall()
    fill_history(database, months=3, spots=3_000, before=date(2025, 7, 1))

    assert database.execute("SELECT * FROM month_closures ORDER BY closed_date").fetchall() == [
        (month, closed, "history", None, created)
        for (month, closed), (created,) in zip(
            [("Apr-25", "2025-05-01"), ("May-25", "2025-06-01"), ("Jun-25", "2025-07-01")],
            database.execute("SELECT created_date FROM month_closures"),
            strict=True,
        )
    ]
    assert database.execute(
        "SELECT broadcast_month, count(*), sum(is_historical), sum(strftime('%m', air_date) + 0 = "
        "instr('JanFebMarAprMayJun', substr(broadcast_month, 1, 3)) / 3 + 1) FROM spots GROUP BY 1 ORDER BY 1"
    ).fetchall() == [("Apr-25", 964, 964, 964), ("Jun-25", 1_036, 1_036, 1_036), ("May-25", 1_000, 1_000, 1_000)]
    assert database.execute(
        "SELECT count(DISTINCT row_hash), count(DISTINCT import_batch_id), count(spot_category),"
        " count(market_id), min(length(row_hash)) FROM spots"
    ).fetchone() == (3_000, 1, 3_000, 3_000, 64)
    assert database.execute(
        "SELECT count(*) FROM spots AS s JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id"
    ).fetchone() == (3_000,)
    assert database.execute(
        "SELECT import_mode, status, records_imported, json_array_length(broadcast_months_affected) FROM import_batches"
    ).fetchall() == [("HISTORICAL", "COMPLETED", 3_000, 3)]
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    known = database.execute("SELECT avg(customer_id IS NOT NULL) FROM spots").fetchone()[0]
    assert known == pytest.approx(0.91, abs=0.04)
    after = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name").fetchall()
    assert after == indexes


def test_history_agrees_with_the_language_rules(database: sqlite3.Connection) -> None:
    """R37, R38: category and method of every combination are those worked out in Python."""
    fill_history(database, months=2, spots=20_000, before=date(2025, 7, 1))
    rows = database.execute(
        "SELECT DISTINCT s.revenue_type, s.spot_type, s.language_code, s.spot_category, a.assignment_method"
        " FROM spots AS s JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id"
    ).fetchall()
    assert len(rows) > 50
    for revenue, kind, language, category, method in rows:
        expected = expect(small_world(spot(revenue_type=revenue, spot_type=kind, language_code=language)))
        assert (revenue, kind, language, {category: 1}, {method: 1}) == (
            *(revenue, kind, language),
            *(expected.categories, expected.assignment_methods),
        )


def test_history_twice_is_refused_and_changes_nothing(database: sqlite3.Connection) -> None:
    fill_history(database, months=2, spots=100, before=date(2025, 7, 1))
    before = list(database.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match=r"import_batches\.batch_id"):
        fill_history(database, months=2, spots=100, before=date(2025, 7, 1))
    assert list(database.iterdump()) == before


def test_apportioned_counts_add_up() -> None:
    assert apportion(10, {0: 1, 1: 1, 2: 1}) == {0: 4, 1: 3, 2: 3}
    assert apportion(1, {0: 35, 1: 25}) == {0: 1, 1: 0}
