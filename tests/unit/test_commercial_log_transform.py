"""Rows of the sheet to bookings: header matching (domain section 3.2), row outcomes R20, R21 and remarks."""

# ruff: noqa: DTZ001 - cells have no time zone

from __future__ import annotations

import random
from collections import Counter
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.commercial_log.cells import Value
from include.commercial_log.contract import COLUMNS, POSITION, match_headers
from include.commercial_log.transform import Booking, ParsedSheet, Remark, parse_rows, without_market
from include.commercial_log.workbook import read_sheet
from include.errors import ContractViolation
from tests.unit.commercial_log_helpers import HEADER, row, sheet_of, stored, write_workbook

BLANK = [None] * 29


def parse(*cells: list[Any], closed: tuple[str, ...] = (), **sheet: Any) -> ParsedSheet:
    return parse_rows(sheet_of(*cells, **sheet), closed=closed)


def value(booking: Booking, column: str) -> Value:
    return booking.values[POSITION[column]]


def reasons(parsed: ParsedSheet) -> list[tuple[str, str, int, str | None]]:
    return [(remark.severity, remark.reason, remark.row, remark.header) for remark in parsed.remarks]


# --- headers (3.2) --------------------------------------------------------------------------------------------------


def test_the_29_columns_are_those_agreed_in_their_order() -> None:
    assert [f"{position} {column.header} -> {column.name}" for position, column in enumerate(COLUMNS)] == [
        "0 Bill Code -> bill_code",
        "1 Start Date -> air_date",
        "2 End Date -> end_date",
        "3 Day(s) -> day_of_week",
        "4 Time In -> time_in",
        "5 Time Out -> time_out",
        "6 Length -> length_seconds",
        "7 Media/Name/Program -> media",
        "8 Comments -> comments",
        "9 Language -> language_code",
        "10 Format -> format",
        "11 Units-Spot count -> sequence_number",
        "12 Line -> line_number",
        "13 Type -> spot_type",
        "14 Agency/Episode# or cut number -> estimate",
        "15 Unit rate Gross -> gross_rate",
        "16 Make Good -> make_good",
        "17 Spot Value -> spot_value",
        "18 Month -> broadcast_month",
        "19 Broker Fees -> broker_fees",
        "20 Sales/rep com: revenue sharing -> priority",
        "21 Station Net -> station_net",
        "22 Sales Person -> sales_person",
        "23 Revenue Type -> revenue_type",
        "24 Billing Type -> billing_type",
        "25 Agency? -> agency_flag",
        "26 Affidavit? -> affidavit_flag",
        "27 Notarize? -> contract",
        "28 Market -> market_name",
    ]


def test_headers_match_whatever_their_case_blanks_and_line_breaks() -> None:
    spelled = [f"  {header.upper().replace(' ', chr(10))} " for header in HEADER]
    assert match_headers(spelled, where="x").positions == tuple(range(29))


@pytest.mark.parametrize(
    ("header", "alias"),
    [
        ("Time Out", "Time out"),
        ("Start Date", "Air Date"),
        ("Language", "Lang."),
        ("Language", "lang"),
        ("Unit rate Gross", "Gross"),
        ("Unit rate Gross", "gross  rate"),
        ("Units-Spot count", "#"),
        ("Agency/Episode# or cut number", "Estimate"),
        ("Notarize?", "Contract"),
        ("Sales/rep com: revenue sharing", "Sales/rep com"),
    ],
)
def test_an_alias_stands_for_its_header(header: str, alias: str) -> None:
    names = [alias if name == header else name for name in HEADER]
    assert match_headers(names, where="x").positions == tuple(range(29))


def test_columns_are_found_in_any_order() -> None:
    """Section 8, 14: an inserted column shifted everything silently."""
    order = list(range(29))
    random.Random(1).shuffle(order)
    header = ["Inserted", *(HEADER[position] for position in order), None, " "]
    found = match_headers(header, where="x")
    assert [header[at] for at in found.positions] == list(HEADER)
    assert found.unknown == ("Inserted",)
    assert found.sheet_source is None


def test_shuffled_columns_give_the_same_bookings() -> None:
    cells = [row(media="one"), row(media="two", gross_rate="$1,250.00", market_name="LAX")]
    order = list(range(29))
    random.Random(2).shuffle(order)
    plain = sheet_of(*cells)
    shuffled = type(plain)(
        plain.file,
        plain.sheet,
        match_headers([HEADER[at] for at in order], where="x"),
        [[each[at] for at in order] for each in plain.rows],
    )
    assert parse_rows(shuffled, closed=()).bookings == parse_rows(plain, closed=()).bookings


def test_a_missing_and_a_doubled_header_are_named_with_what_stands_there() -> None:
    header = [*HEADER[:15], "Rate", *HEADER[16:28], "month"]
    with pytest.raises(ContractViolation) as refused:
        match_headers(header, where="Commercial Log.xlsx, sheet 'Commercials'")
    assert refused.value.what == (
        "Commercial Log.xlsx, sheet 'Commercials', row 1: "
        "'Unit rate Gross' is missing (column P holds 'Rate'); "
        "'Month' stands 2 times, in columns S, AC; "
        "'Market' is missing (column AC holds 'month')."
    )
    assert refused.value.next_step.startswith("Ask traffic to restore the header")


def test_a_header_and_its_alias_are_the_same_column_twice() -> None:
    with pytest.raises(ContractViolation, match="'Language' stands 2 times, in columns J, AD"):
        match_headers([*HEADER, "Lang."], where="x")


@pytest.mark.parametrize("cells", [[], [None], ["Commercial Log of the station"], [1, 2, 3]])
def test_a_sheet_without_the_header_row_lacks_every_column(cells: list[Any]) -> None:
    with pytest.raises(ContractViolation) as refused:
        match_headers(cells, where="x")
    assert refused.value.what.count(" is missing (column ") == 29


def test_a_sheet_source_column_is_known_and_not_unknown() -> None:
    found = match_headers([*HEADER, "sheet_source", "Notes", 7], where="x")
    assert (found.sheet_source, found.unknown) == (29, ("Notes", "7"))


# --- R20: one outcome per row, the first that applies wins -----------------------------------------------------------


def test_an_accepted_row_is_its_29_stored_values() -> None:
    parsed = parse(row())
    assert [(each.row, each.sheet, each.values) for each in parsed.bookings] == [(2, "Commercials", stored())]
    assert parsed.remarks == []
    assert parsed.months == ["Sep-25"]


@pytest.mark.parametrize(
    ("cells", "outcome"),
    [
        # (1) blank comes before everything
        (BLANK, "blank"),
        ([" ", "\t", *BLANK[2:]], "blank"),
        # (2) no month comes before closed, trade, bill code, date and money
        (row(broadcast_month=None, revenue_type="Trade", bill_code=None, gross_rate="x"), "MISSING_MONTH"),
        (row(broadcast_month="soon", revenue_type="Trade", bill_code=None, gross_rate="x"), "BAD_MONTH"),
        (["", "", *BLANK[2:15], 1250.0, *BLANK[16:]], "MISSING_MONTH"),  # a total row
        # (3) a closed month comes before trade and everything wrong with the row
        (row(broadcast_month="Aug-25", revenue_type="Trade", bill_code=None), "closed"),
        (row(broadcast_month=datetime(2025, 8, 11), air_date="never"), "closed"),
        # (4) trade comes before what is wrong with the row
        (row(revenue_type=" TRADE", bill_code=None, air_date="never", gross_rate="x"), "trade"),
        # (5) bill code before air date before (6) money
        (row(bill_code=" ", air_date=None, gross_rate="x"), "MISSING_BILL_CODE"),
        (row(air_date=None, gross_rate="x"), "MISSING_AIR_DATE"),
        (row(air_date="never", gross_rate="x"), "BAD_AIR_DATE"),
        (row(air_date=datetime(1900, 1, 1)), "BAD_AIR_DATE"),
        (row(gross_rate="x"), "BAD_MONEY"),
        (row(spot_value="x"), "BAD_MONEY"),
        (row(broker_fees="x"), "BAD_MONEY"),
        (row(station_net="x"), "BAD_MONEY"),
        # (7) whatever else is odd, the row is kept
        (row(), "accepted"),
        (
            row(
                **dict.fromkeys(
                    (
                        "end_date",
                        "day_of_week",
                        "time_in",
                        "time_out",
                        "length_seconds",
                        "media",
                        "comments",
                        "language_code",
                        "format",
                        "sequence_number",
                        "line_number",
                        "spot_type",
                        "estimate",
                        "gross_rate",
                        "make_good",
                        "spot_value",
                        "broker_fees",
                        "priority",
                        "station_net",
                        "sales_person",
                        "revenue_type",
                        "billing_type",
                        "agency_flag",
                        "affidavit_flag",
                        "contract",
                        "market_name",
                    )
                )
            ),
            "accepted",
        ),
        (row(spot_type="?", billing_type="?", affidavit_flag="?", time_in="?", line_number="?"), "accepted"),
    ],
)
def test_the_first_outcome_that_applies_wins(cells: list[Any], outcome: str) -> None:
    """R20."""
    parsed = parse(cells, closed=("Aug-25",))
    rejects = [remark.reason for remark in parsed.remarks if remark.severity == "reject"]
    accepted, blank = len(parsed.bookings), parsed.blank
    counted = {"accepted": accepted, "blank": blank, "trade": parsed.trade, "closed": parsed.closed.total()}
    found = [name for name, count in counted.items() if count] + rejects
    assert found == [outcome]
    assert parsed.rejected == len(rejects)


def test_rows_are_counted_by_outcome_and_blank_ones_are_not_rows() -> None:
    parsed = parse(
        row(),
        BLANK,
        row(broadcast_month="Aug-25"),
        row(broadcast_month="Aug-25"),
        row(broadcast_month="Jul-25"),
        row(revenue_type="trade"),
        row(bill_code=None),
        row(broadcast_month=None),
        row(broadcast_month="Oct-25", air_date=datetime(2025, 10, 1)),
        closed=("Aug-25", "Jul-25"),
    )
    assert (parsed.read, parsed.open_rows, parsed.blank) == (8, 5, 1)
    assert (len(parsed.bookings), parsed.trade, parsed.rejected) == (2, 1, 2)
    assert parsed.closed == Counter({"Aug-25": 2, "Jul-25": 1})
    assert parsed.months == ["Sep-25", "Oct-25"]


cell = st.one_of(
    st.sampled_from(["", None, " ", "Trade", "Aug-25", "Sep-25", "x", 45901, "8/28/25", 0, 1.5, True, False]),
    st.floats(allow_nan=False),
    st.datetimes(),
    st.times(),
    st.timedeltas(),
    st.text(max_size=5),
)


@given(st.lists(st.lists(cell, min_size=29, max_size=29), max_size=8))
def test_every_row_that_is_not_blank_has_exactly_one_outcome(cells: list[list[Any]]) -> None:
    """R20, the invariant."""
    parsed = parse(*cells, closed=("Aug-25",))
    filled = sum(any(str("" if each is None else each).strip() for each in line) for line in cells)
    assert filled == parsed.read == len(parsed.bookings) + parsed.closed.total() + parsed.trade + parsed.rejected
    assert parsed.blank == len(cells) - filled
    rejects = [remark for remark in parsed.remarks if remark.severity == "reject"]
    assert len(rejects) == parsed.rejected
    assert len({each.row for each in rejects} | {each.row for each in parsed.bookings}) == len(rejects) + len(
        parsed.bookings
    )


def test_trade_never_becomes_a_booking_in_any_spelling() -> None:
    """R21."""
    parsed = parse(*(row(revenue_type=cell) for cell in ("Trade", "trade", " TRADE\n", "tRaDe\xa0")))
    assert (parsed.trade, parsed.bookings, parsed.remarks) == (4, [], [])


def test_an_empty_revenue_type_is_null_and_not_trade() -> None:
    """R21."""
    assert [value(each, "revenue_type") for each in parse(row(revenue_type=None)).bookings] == [None]


def test_what_stands_beside_the_columns_makes_no_row(tmp_path: Path) -> None:
    """A styled row of a sheet with ``sheet_source``, or a note beside the table, is no booking without a month."""
    path = write_workbook(
        tmp_path / "a.xlsx",
        [[*row(), "Commercials", "seen"], [*BLANK, "Commercials", "a note"]],
        header=[*HEADER, "sheet_source", "Notes"],
    )
    sheet = read_sheet(path)
    parsed = parse_rows(sheet, closed=())
    assert (sheet.data_rows, parsed.read, parsed.blank, parsed.rejected) == (1, 1, 1, 0)


# --- remarks --------------------------------------------------------------------------------------------------------


def test_a_reject_names_sheet_excel_row_header_and_raw_cell() -> None:
    parsed = parse(row(), BLANK, row(gross_rate="12O.00", bill_code=" Blue Farms "))
    assert parsed.remarks == [
        Remark("reject", "Commercials", 4, "BAD_MONEY", "Unit rate Gross", "12O.00", "Blue Farms", None)
    ]


def test_a_reject_carries_the_gross_amount_it_drops() -> None:
    parsed = parse(row(air_date=None, gross_rate="$1,250.00"), row(bill_code=None, gross_rate=None))
    assert parsed.remarks == [
        Remark("reject", "Commercials", 2, "MISSING_AIR_DATE", "Start Date", None, "North Media:Blue Farms", 1250.0),
        Remark("reject", "Commercials", 3, "MISSING_BILL_CODE", "Bill Code", None, None, None),
    ]


def test_a_raw_value_is_cut_at_200_characters() -> None:
    assert [remark.raw for remark in parse(row(gross_rate="x" * 300)).remarks] == ["x" * 200]


def test_every_odd_cell_of_an_accepted_row_is_a_warning_of_its_own() -> None:
    """R22, R24, R25, R27."""
    parsed = parse(
        row(
            end_date="?",
            time_in="noonish",
            time_out=1.5,
            length_seconds="short",
            sequence_number="x",
            line_number=1.5,
            spot_type="Promo",
            priority="x",
            billing_type="weekly",
            affidavit_flag="see note",
        )
    )
    assert reasons(parsed) == [
        ("warning", "BAD_DATE", 2, "End Date"),
        ("warning", "BAD_TIME", 2, "Time In"),
        ("warning", "BAD_TIME", 2, "Time Out"),
        ("warning", "BAD_TIME", 2, "Length"),
        ("warning", "NON_NUMERIC", 2, "Units-Spot count"),
        ("warning", "NON_NUMERIC", 2, "Line"),
        ("warning", "UNKNOWN_TYPE", 2, "Type"),
        ("warning", "NON_NUMERIC", 2, "Sales/rep com: revenue sharing"),
        ("warning", "UNKNOWN_BILLING_TYPE", 2, "Billing Type"),
        ("warning", "UNKNOWN_AFFIDAVIT", 2, "Affidavit?"),
    ]
    assert parsed.bookings[0].values == stored(
        end_date=None,
        time_in="noonish",
        time_out="1.5",
        length_seconds="short",
        sequence_number=None,
        line_number=None,
        spot_type="",
        priority=None,
        billing_type=None,
        affidavit_flag=None,
    )


@pytest.mark.parametrize(
    ("air_date", "billing", "month", "mismatch"),
    [
        (datetime(2024, 10, 29), "Broadcast", "Nov-24", False),
        (datetime(2024, 10, 29), "Broadcast", "Oct-24", True),
        (datetime(2024, 10, 29), "calendar", "Oct-24", False),
        (datetime(2024, 10, 29), "Calendar", "Nov-24", True),
        (datetime(2024, 6, 30), "Broadcast", "Jun-24", False),
        (datetime(2024, 10, 29), None, "Jan-24", False),
        (datetime(2024, 10, 29), "weekly", "Jan-24", False),
    ],
)
def test_a_month_that_does_not_fit_the_air_date_is_a_warning_only(
    air_date: datetime,
    billing: str | None,
    month: str,
    mismatch: bool,  # noqa: FBT001
) -> None:
    """R13."""
    parsed = parse(row(air_date=air_date, billing_type=billing, broadcast_month=month))
    assert [value(each, "broadcast_month") for each in parsed.bookings] == [month]
    assert [each for each in reasons(parsed) if each[1] == "MONTH_MISMATCH"] == (
        [("warning", "MONTH_MISMATCH", 2, "Month")] if mismatch else []
    )


def test_a_tick_box_reads_as_its_word_and_is_no_number() -> None:
    """A boolean is an ``int`` of Python: TRUE must not pass for one dollar."""
    parsed = parse(row(comments=True, line_number=True, affidavit_flag=False), row(gross_rate=True))
    assert parsed.bookings[0].values == stored(comments="TRUE", line_number=None, affidavit_flag=None)
    assert reasons(parsed) == [
        ("warning", "NON_NUMERIC", 2, "Line"),
        ("warning", "UNKNOWN_AFFIDAVIT", 2, "Affidavit?"),
        ("reject", "BAD_MONEY", 3, "Unit rate Gross"),
    ]
    assert parsed.remarks[-1].raw == "TRUE"


def test_an_error_of_excel_is_no_empty_cell(tmp_path: Path) -> None:
    """A failed formula in the money column would otherwise pass for a bonus spot without a rate."""
    path = write_workbook(
        tmp_path / "a.xlsx",
        [
            row(media="#REF!"),
            row(gross_rate="#DIV/0!"),
            row(broadcast_month="#N/A"),
            row(air_date="#VALUE!"),
            ["#N/A", *BLANK[1:]],
        ],
    )
    parsed = parse_rows(read_sheet(path), closed=())
    assert [(each.row, value(each, "media")) for each in parsed.bookings] == [(2, "#REF!")]
    assert [(each.reason, each.row, each.raw) for each in parsed.remarks] == [
        ("BAD_MONEY", 3, "#DIV/0!"),
        ("BAD_MONTH", 4, "#N/A"),
        ("BAD_AIR_DATE", 5, "#VALUE!"),
        ("MISSING_MONTH", 6, None),
    ]


def test_a_market_nobody_knows_is_a_warning_about_its_booking() -> None:
    """R30."""
    booking = parse(row(market_name="SFO; LAX")).bookings[0]
    assert without_market(booking) == Remark(
        "warning", "Commercials", 2, "UNKNOWN_MARKET", "Market", "SFO; LAX", "North Media:Blue Farms", 85.0
    )


# --- Excel rows -----------------------------------------------------------------------------------------------------


def test_row_numbers_are_those_excel_shows(tmp_path: Path) -> None:
    """Blank rows in between and rows that are not in the file at all count as well."""
    path = write_workbook(
        tmp_path / "a.xlsx",
        [row(media="two"), [], [], row(media="five"), BLANK, row(bill_code=None), [], row(media="nine")],
    )
    parsed = parse_rows(read_sheet(path), closed=())
    assert [(each.row, value(each, "media")) for each in parsed.bookings] == [(2, "two"), (5, "five"), (9, "nine")]
    assert [each.row for each in parsed.remarks] == [7]
    assert parsed.blank == 4


def test_cells_come_out_of_a_workbook_as_they_were_typed(tmp_path: Path) -> None:
    path = write_workbook(
        tmp_path / "a.xlsx",
        [
            row(
                air_date="8/28/25",
                end_date=date(2025, 8, 28),
                time_in="7:00:00 AM",
                time_out=timedelta(days=1),
                length_seconds=time(0, 0, 15),
                comments=time(6, 14, 22),
                gross_rate=352.941176470588,
                spot_value="(45.00)",
                broadcast_month=datetime(2025, 8, 11),
                contract=0,
                broker_fees=0,
            )
        ],
    )
    assert [each.values for each in parse_rows(read_sheet(path), closed=()).bookings] == [
        stored(
            air_date="2025-08-28",
            end_date="2025-08-28",
            time_in="07:00:00",
            time_out="24:00:00",
            length_seconds="00:00:15",
            comments="06:14:22",
            gross_rate=352.941176470588,
            spot_value=-45.0,
            broadcast_month="Aug-25",
            contract=None,
            broker_fees=0.0,
        )
    ]


# --- R28, R31: origin and hash --------------------------------------------------------------------------------------


def test_equal_rows_have_equal_hashes_however_their_cells_are_typed() -> None:
    plain = row()
    typed = row(
        air_date="9/3/2025",
        end_date="2025-09-03",
        day_of_week="WEDNESDAY",
        time_in="6:00 AM",
        time_out=timedelta(hours=23, minutes=59),
        length_seconds=30,
        spot_type="COM",
        gross_rate="$85.00",
        spot_value=85,
        broadcast_month="sep-25",
        billing_type="broadcast",
        affidavit_flag="no",
        contract="41873",
        media=" Blue Farms Fall 1 ",
    )
    first, second = parse(plain, typed).bookings
    assert first.row_hash == second.row_hash
    assert len(first.row_hash) == 64


def test_every_stored_value_counts_for_the_hash() -> None:
    changed = {
        "air_date": datetime(2025, 9, 4),
        "end_date": None,
        "day_of_week": "Friday",
        "time_in": time(7),
        "time_out": timedelta(days=1),
        "length_seconds": 15,
        "spot_type": "BNS",
        "gross_rate": 85.01,
        "spot_value": 85.0000001,
        "broadcast_month": "Oct-25",
        "broker_fees": 0,
        "priority": 3,
        "station_net": None,
        "sequence_number": 2,
        "line_number": None,
        "revenue_type": "Other",
        "billing_type": "Calendar",
        "affidavit_flag": "Y",
        "contract": 41874,
    }
    lines = [row(), *(row(**{name: changed.get(name, "else")}) for name in POSITION)]
    hashes = {booking.row_hash for booking in parse(*lines).bookings}
    assert len(hashes) == 30


def test_null_and_the_empty_text_are_different_rows() -> None:
    """An empty type is NULL, an unknown one the empty text."""
    first, second = parse(row(spot_type=None), row(spot_type="?")).bookings
    assert (value(first, "spot_type"), value(second, "spot_type")) == (None, "")
    assert first.row_hash != second.row_hash


def test_a_value_in_the_next_column_is_a_different_row() -> None:
    first, second = parse(row(media="a", comments=None), row(media=None, comments="a")).bookings
    assert first.row_hash != second.row_hash


def test_the_same_row_of_another_sheet_is_a_different_row() -> None:
    assert parse(row()).bookings[0].row_hash != parse(row(), sheet="Data").bookings[0].row_hash


def test_the_file_does_not_count_for_the_hash() -> None:
    """R35: tomorrow's file with the same rows changes nothing."""
    other = parse(row(), file="Commercial Log 250903.xlsx")
    assert parse(row()).bookings[0].row_hash == other.bookings[0].row_hash


def test_the_sheet_source_column_says_where_a_row_came_from(tmp_path: Path) -> None:
    """R28; an empty one means the sheet itself."""
    path = write_workbook(
        tmp_path / "a.xlsx",
        [[*row(), "Worldlink Lines"], [*row(), None], [*row(bill_code=None), "Pending"]],
        header=[*HEADER, "sheet_source"],
    )
    parsed = parse_rows(read_sheet(path), closed=())
    assert [each.sheet for each in parsed.bookings] == ["Worldlink Lines", "Commercials"]
    assert parsed.bookings[1].row_hash == parse(row()).bookings[0].row_hash
    assert parsed.bookings[0].row_hash == parse(row(), sheet="Worldlink Lines").bookings[0].row_hash
    assert [each.sheet for each in parsed.remarks] == ["Pending"]
