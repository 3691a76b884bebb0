"""Cells to stored values: domain rules R13, R14 and R22 to R27."""

# ruff: noqa: DTZ001 - cells have no time zone

from __future__ import annotations

import locale
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.commercial_log.cells import (
    DAYS,
    READERS,
    SPOT_TYPES,
    Reading,
    expected_month,
    is_trade,
    month_label,
    month_start,
    read_billing,
    read_contract,
    read_date,
    read_day,
    read_integer,
    read_length,
    read_money,
    read_month,
    read_revenue,
    read_text,
    read_time,
    read_type,
    read_yes_no,
)

EMPTY = [None, "", " ", " \t\n", "\xa0"]


@pytest.mark.parametrize("reader", [reader for kind, reader in READERS.items() if kind != "month"])
@pytest.mark.parametrize("cell", EMPTY)
def test_an_empty_cell_is_null_and_no_fault(reader: Callable[[Any], Reading], cell: Any) -> None:
    assert reader(cell) == (None, None)


# --- R13: the broadcast month ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "month"),
    [
        (datetime(2025, 9, 1), "Sep-25"),
        (datetime(2025, 9, 15), "Sep-25"),
        (datetime(2025, 9, 11, 17, 30), "Sep-25"),
        (date(2025, 12, 31), "Dec-25"),
        (date(2000, 1, 1), "Jan-00"),
        ("Sep-25", "Sep-25"),
        ("sep-25", "Sep-25"),
        (" SEP-25 ", "Sep-25"),
        ("May-99", "May-99"),
        ("9/1/2025", "Sep-25"),
        ("2025-09-11", "Sep-25"),
        (45901, "Sep-25"),
        (45901.75, "Sep-25"),
    ],
)
def test_the_month_is_that_of_the_cell_its_day_ignored(cell: Any, month: str) -> None:
    assert read_month(cell) == (month, None)


@pytest.mark.parametrize(
    "cell",
    [
        "Sept-25",
        "Sep-2025",
        "Sep 25",
        "September",
        "25-Sep",
        "Sep-٢٥",  # digits, but none the database accepts
        "ſep-25",
        "#REF!",
        9,
        925,
        True,
        math.nan,
        time(9, 25),
        timedelta(days=9),
        datetime(1925, 9, 1),  # would pass for Sep-25
        datetime(2125, 9, 1),
        "9/1/1925",
    ],
)
def test_a_month_that_cannot_be_read_is_bad(cell: Any) -> None:
    assert read_month(cell) == (None, "BAD_MONTH")


@pytest.mark.parametrize("cell", EMPTY)
def test_an_empty_month_is_missing(cell: Any) -> None:
    assert read_month(cell) == (None, "MISSING_MONTH")


def test_month_names_are_english_whatever_the_locale() -> None:
    available = [name for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "es_ES.UTF-8", "C") if _can_set(name)]
    before = locale.setlocale(locale.LC_TIME)
    try:
        for name in available:
            locale.setlocale(locale.LC_TIME, name)
            labels = [month_label(date(2025, month, 1)) for month in range(1, 13)]
            assert " ".join(labels) == (
                "Jan-25 Feb-25 Mar-25 Apr-25 May-25 Jun-25 Jul-25 Aug-25 Sep-25 Oct-25 Nov-25 Dec-25"
            )
    finally:
        locale.setlocale(locale.LC_TIME, before)


def _can_set(name: str) -> bool:
    before = locale.setlocale(locale.LC_TIME)
    try:
        locale.setlocale(locale.LC_TIME, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_TIME, before)
    return True


@pytest.mark.parametrize(
    ("air_date", "billing", "month"),
    [
        ("2024-10-29", "Broadcast", "Nov-24"),  # the week ends on Sunday, November 3
        ("2024-06-30", "Broadcast", "Jun-24"),  # a Sunday ends its own week
        ("2024-07-01", "Broadcast", "Jul-24"),
        ("2024-10-27", "Broadcast", "Oct-24"),
        ("2024-10-28", "Broadcast", "Nov-24"),
        ("2024-12-30", "Broadcast", "Jan-25"),
        ("2099-12-31", "Broadcast", "Jan-00"),
        ("2024-10-29", "Calendar", "Oct-24"),
        ("2024-10-31", "Calendar", "Oct-24"),
    ],
)
def test_the_broadcast_week_runs_from_monday_to_the_sunday_that_names_its_month(
    air_date: str, billing: str, month: str
) -> None:
    assert expected_month(air_date, billing) == month


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_a_label_and_its_month_belong_together(day: date) -> None:
    assert month_start(month_label(day)) == day.replace(day=1)


# --- R14: dates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        (datetime(2025, 8, 28), "2025-08-28"),
        (datetime(2025, 8, 28, 23, 59, 59), "2025-08-28"),
        (date(2025, 8, 28), "2025-08-28"),
        ("2025-08-28 00:00:00", "2025-08-28"),
        ("2025-08-28", "2025-08-28"),
        (" 2025-08-28 ", "2025-08-28"),
        ("08/28/2025", "2025-08-28"),
        ("8/28/2025", "2025-08-28"),
        ("8/28/25", "2025-08-28"),
        ("08/28/99", "2099-08-28"),
        ("03/04/2025", "2025-03-04"),  # the American reading wins where it is possible
        ("28/08/2025", "2025-08-28"),
        ("13/01/2025", "2025-01-13"),
        ("2025/08/28", "2025-08-28"),
        ("08-28-2025", "2025-08-28"),
        ("08-28-25", "2025-08-28"),
        ("02/29/2024", "2024-02-29"),
        (45897, "2025-08-28"),
        (45897.0, "2025-08-28"),
        (45897.999, "2025-08-28"),
        (36526, "2000-01-01"),
        (73050, "2099-12-31"),
    ],
)
def test_a_date_is_read_in_every_form_that_occurs(cell: Any, day: str) -> None:
    assert read_date(cell) == (day, None)


@pytest.mark.parametrize(
    "cell",
    [
        "28/08/25",  # day first only with four digits of the year
        "31/04/2025",
        "02/30/2025",
        "02/29/2025",
        "13/13/2025",
        "2025-13-01",
        "2025-00-10",
        "0025-08-28",
        "8/28",
        "Aug 28",
        "TBD",
        "45897",  # a serial is a number, not text
        "#N/A",
        36525,
        36525.9,
        73051,
        20250828,
        -1,
        0,
        1e300,
        math.inf,
        math.nan,
        True,
        time(6),
        timedelta(days=1),
        datetime(1900, 1, 1),  # what a stray 1 in a date column looks like
        date(1999, 12, 31),
        date(2100, 1, 1),
        date(9999, 12, 31),
    ],
)
def test_a_date_that_cannot_be_read_is_bad(cell: Any) -> None:
    assert read_date(cell) == (None, "BAD_DATE")


@given(
    st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.sampled_from(["%Y-%m-%d", "%m/%d/%Y", "%m/%d/%y", "%Y/%m/%d"])
)
def test_a_written_date_is_the_day_that_was_written(day: date, form: str) -> None:
    assert read_date(day.strftime(form)) == (day.isoformat(), None)


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_an_excel_serial_is_the_day_excel_shows(day: date) -> None:
    assert read_date((day - date(1899, 12, 30)).days) == (day.isoformat(), None)


# --- column Day(s) --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        ("Thursday", "thursday"),
        (" SUNDAY ", "sunday"),
        ("M-F", "m-f"),
        (datetime(2025, 8, 28), "thursday"),
        (date(2025, 8, 31), "sunday"),
        (4.0, "4"),
    ],
)
def test_a_day_is_stored_in_lower_case(cell: Any, day: str) -> None:
    """3.2, position 3."""
    assert read_day(cell) == (day, None)


# --- R22: spot types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["AV", "BB", "BNS", "COM", "CRD", "PKG", "PRD", "PRG", "SVC"])
def test_the_nine_types_are_known_in_any_case(code: str) -> None:
    assert [read_type(cell) for cell in (code, code.lower(), f" {code.title()} ")] == [(code, None)] * 3


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("SPOT", "COM"),
        ("Commercial", "COM"),
        ("bonus", "BNS"),
        ("Prod", "PRD"),
        ("PROGRAM", "PRG"),
        ("Service", "SVC"),
    ],
)
def test_a_type_spelled_out_is_its_code(cell: str, code: str) -> None:
    assert read_type(cell) == (code, None)


@pytest.mark.parametrize("cell", ["Promo", "COMM", "C OM", "x", 5, True, "#N/A", time(6)])
def test_an_unknown_type_is_stored_as_the_empty_text_with_a_warning(cell: Any) -> None:
    assert read_type(cell) == ("", "UNKNOWN_TYPE")


# --- R21, R23: revenue types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    ["A&O", "a&o", " A & O ", "A and O", "AandO", "A-and-O", "A/O", "a.o.", "AO", "A. & O.", "a\n&\no"],
)
def test_every_spelling_of_a_and_o_is_internal_ad_sales(cell: str) -> None:
    assert read_revenue(cell) == ("Internal Ad Sales", None)


@pytest.mark.parametrize(
    ("cell", "stored"),
    [
        ("Internal Ad Sales", "Internal Ad Sales"),
        (" Direct Response Sales ", "Direct Response Sales"),
        ("direct response", "direct response"),
        ("Local", "Local"),
        ("A&O Sales", "A&O Sales"),
        ("Trade-in", "Trade-in"),
    ],
)
def test_any_other_revenue_type_is_kept_as_it_is(cell: str, stored: str) -> None:
    assert read_revenue(cell) == (stored, None)


@pytest.mark.parametrize(
    ("cell", "trade"),
    [
        ("Trade", True),
        ("trade", True),
        (" TRADE ", True),
        ("Trade\xa0", True),
        ("Trades", False),
        ("Trade in", False),
        ("", False),
        (None, False),
        (0, False),
    ],
)
def test_trade_is_trade_in_any_case(cell: Any, trade: bool) -> None:  # noqa: FBT001
    assert is_trade(cell) is trade


# --- R24: flags -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "reading"),
    [
        ("Calendar", ("Calendar", None)),
        ("calendar", ("Calendar", None)),
        (" BROADCAST ", ("Broadcast", None)),
        ("Monthly", (None, "UNKNOWN_BILLING_TYPE")),
        ("Calendar year", (None, "UNKNOWN_BILLING_TYPE")),
        (1, (None, "UNKNOWN_BILLING_TYPE")),
    ],
)
def test_a_billing_type_is_one_of_two_or_null_with_a_warning(cell: Any, reading: Reading) -> None:
    assert read_billing(cell) == reading


@pytest.mark.parametrize(
    ("cell", "reading"),
    [
        ("Y", ("Y", None)),
        ("yes", ("Y", None)),
        (" YES ", ("Y", None)),
        ("n", ("N", None)),
        ("No", ("N", None)),
        ("see note", (None, "UNKNOWN_AFFIDAVIT")),
        ("TRUE", (None, "UNKNOWN_AFFIDAVIT")),
        (0, (None, "UNKNOWN_AFFIDAVIT")),
    ],
)
def test_an_affidavit_flag_is_yes_or_no_or_null_with_a_warning(cell: Any, reading: Reading) -> None:
    assert read_yes_no(cell) == reading


# --- R25: times and lengths -----------------------------------------------------------------------------------------

CLOCKS = [
    (time(6), "06:00:00"),
    (time(23, 59), "23:59:00"),
    (time(5, 59, 59, 999_998), "06:00:00"),  # what 6:00 in an Excel number comes out as
    (timedelta(hours=6), "06:00:00"),
    (timedelta(0), "00:00:00"),
    (timedelta(days=1), "24:00:00"),
    (datetime(1899, 12, 30, 7, 15), "07:15:00"),
    (datetime(1900, 1, 1), "24:00:00"),  # a day fraction of exactly 1 in a cell formatted as a time
    (date(1900, 1, 1), "24:00:00"),
    (0, "00:00:00"),
    (0.25, "06:00:00"),
    (0.999305555555556, "23:59:00"),
    (1, "24:00:00"),
    (1.0, "24:00:00"),
    ("6:00", "06:00:00"),
    ("06:00:00", "06:00:00"),
    (" 7:05:09 ", "07:05:09"),
    ("7:00:00 AM", "07:00:00"),
    ("7:00 pm", "19:00:00"),
    ("7:00PM", "19:00:00"),
    ("7:00 p.m.", "19:00:00"),
    ("12:00 AM", "00:00:00"),
    ("12:30 PM", "12:30:00"),
    ("24:00:00", "24:00:00"),
    ("1 day, 0:00:00", "24:00:00"),
    ("1 Day, 00:00:00", "24:00:00"),
]


@pytest.mark.parametrize(("cell", "clock"), CLOCKS)
def test_a_time_in_any_form_is_hours_minutes_seconds(cell: Any, clock: str) -> None:
    assert read_time(cell) == (clock, None)


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("24:00:01", "24:00:01"),
        ("25:00", "25:00"),
        ("6:60", "6:60"),
        ("13:00 PM", "13:00 PM"),
        ("0:30 AM", "0:30 AM"),
        (" ROS ", "ROS"),
        ("6a-12p", "6a-12p"),
        (timedelta(days=1, seconds=1), "24:00:01"),
        (1.5, "1.5"),
        (600, "600"),
        (-0.25, "-0.25"),
        (date(2025, 8, 28), "2025-08-28"),
        ("TRUE", "TRUE"),
    ],
)
def test_a_time_that_cannot_be_read_is_kept_as_text_with_a_warning(cell: Any, kept: str) -> None:
    assert read_time(cell) == (kept, "BAD_TIME")


@pytest.mark.parametrize(
    ("cell", "length"),
    [
        (timedelta(seconds=30), "00:00:30"),
        (time(0, 0, 15), "00:00:15"),
        ("0:00:30", "00:00:30"),
        ("00:02:00", "00:02:00"),
        (30, "00:00:30"),
        (30.0, "00:00:30"),
        ("30", "00:00:30"),
        (28_800, "08:00:00"),
        (90_000, "25:00:00"),
        (2, "00:00:02"),
        (1, "24:00:00"),  # not above 1: a fraction of a day
        (0, "00:00:00"),
        (0.000347222222222222, "00:00:30"),
        (timedelta(days=1), "24:00:00"),
        (timedelta(hours=30), "30:00:00"),
    ],
)
def test_a_length_is_a_time_or_whole_seconds(cell: Any, length: str) -> None:
    assert read_length(cell) == (length, None)


@pytest.mark.parametrize(
    ("cell", "kept"), [(30.5, "30.5"), (-30, "-30"), (":30", ":30"), ("30 sec", "30 sec"), (math.inf, "inf")]
)
def test_a_length_that_cannot_be_read_is_kept_as_text_with_a_warning(cell: Any, kept: str) -> None:
    assert read_length(cell) == (kept, "BAD_TIME")


@given(st.times())
def test_every_time_of_day_is_written_with_two_digits_each(moment: time) -> None:
    clock, fault = read_time(moment)
    assert fault is None
    assert re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d|24:00:00", str(clock))


@given(st.integers(0, 86_400))
def test_a_time_as_clock_elapsed_fraction_and_text_is_one_time(seconds: int) -> None:
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    spellings: list[Any] = [timedelta(seconds=seconds), seconds / 86_400, clock, clock.removeprefix("0")]
    if seconds < 86_400:
        spellings.append(time(seconds // 3600, seconds // 60 % 60, seconds % 60))
        spellings.append(
            datetime(2025, 1, 1, seconds // 3600, seconds // 60 % 60, seconds % 60).strftime("%I:%M:%S %p")
        )
    assert {read_time(cell) for cell in spellings} == {(clock, None)}
    assert {read_length(cell) for cell in spellings} == {(clock, None)}


# --- R26: money -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "amount"),
    [
        (85, 85.0),
        (85.0, 85.0),
        (352.941176470588, 352.941176470588),
        (0.1 + 0.2, 0.30000000000000004),
        (-45.5, -45.5),
        (0, 0.0),
        ("85", 85.0),
        ("1,250.00", 1250.0),
        ("1,250,000", 1250000.0),
        ("$1,250.00", 1250.0),
        (" $ 1 250.5 ", 1250.5),
        ("(45.00)", -45.0),
        ("($1,250.00)", -1250.0),
        ("$(45)", -45.0),
        ("-45", -45.0),
        ("-$45", -45.0),
        ("+45", 45.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("0", 0.0),
    ],
)
def test_money_is_the_exact_amount(cell: Any, amount: float) -> None:
    assert read_money(cell) == (amount, None)


@pytest.mark.parametrize(
    "cell",
    [
        "n/a",
        "85 USD",
        "12O",
        "1e3",
        "12,50",
        "1.250,00",
        "()",
        "(-45)",
        "--45",
        "-",
        "$",
        "#DIV/0!",
        "1" * 400,
        math.inf,
        -math.inf,
        math.nan,
        True,
        datetime(2025, 8, 28),
        time(6),
        timedelta(seconds=30),
    ],
)
def test_money_that_is_no_amount_is_bad(cell: Any) -> None:
    assert read_money(cell) == (None, "BAD_MONEY")


@pytest.mark.parametrize("cell", [-0.0, "-0", "(0.00)"])
def test_minus_nothing_is_nothing(cell: Any) -> None:
    """The row hash is over the text of the amount: -0.0 would be another row than 0.0."""
    assert repr(read_money(cell)) == "(0.0, None)"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_amount_is_ever_rounded(amount: float) -> None:
    assert read_money(amount) == (amount, None)


@given(st.decimals(-(10**9), 10**9, places=6))
def test_an_amount_typed_as_text_is_that_amount(amount: Decimal) -> None:
    assert read_money(f"{amount:,f}") == read_money(f"$ {amount:f}") == (float(amount) + 0.0, None)


@given(st.integers(0, 10**12))
def test_accounting_brackets_mean_minus(cents: int) -> None:
    text = f"{cents / 100:,.2f}"
    assert read_money(f"(${text})") == (-cents / 100 + 0.0, None)


# --- R27: contract and whole numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "contract"),
    [
        (12345, "12345"),
        (12345.0, "12345"),
        ("12345", "12345"),
        (" 12345-A ", "12345-A"),
        (12345.5, "12345.5"),
        (0, None),
        (0.0, None),
        ("0", None),
        (" 0 ", None),
        ("00", "00"),
        (datetime(2025, 8, 28), "2025-08-28"),
    ],
)
def test_a_contract_is_text_without_point_zero_and_nothing_for_nought(cell: Any, contract: str | None) -> None:
    assert read_contract(cell) == (contract, None)


@pytest.mark.parametrize(
    ("cell", "reading"),
    [
        (3, (3, None)),
        (3.0, (3, None)),
        ("3", (3, None)),
        (" 3.0 ", (3, None)),
        (-2, (-2, None)),
        (0, (0, None)),
        (2.5, (None, "NON_NUMERIC")),
        ("two", (None, "NON_NUMERIC")),
        ("1,000", (None, "NON_NUMERIC")),
        (1e300, (None, "NON_NUMERIC")),  # more than the database can hold
        (2**53 + 2, (None, "NON_NUMERIC")),
        ("9" * 400, (None, "NON_NUMERIC")),
        (math.nan, (None, "NON_NUMERIC")),
        (math.inf, (None, "NON_NUMERIC")),
        (True, (None, "NON_NUMERIC")),
        (datetime(2025, 8, 28), (None, "NON_NUMERIC")),
    ],
)
def test_a_whole_number_is_one_or_null_with_a_warning(cell: Any, reading: Reading) -> None:
    assert read_integer(cell) == reading


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("  Blue  Farms ", "Blue  Farms"),
        (20418, "20418"),
        (20418.0, "20418"),
        (1.5, "1.5"),
        (time(6, 14, 22), "06:14:22"),
        (timedelta(seconds=30), "00:00:30"),
        (datetime(2025, 8, 28), "2025-08-28"),
        (datetime(2025, 8, 28, 6, 14, 22), "2025-08-28 06:14:22"),
        (date(2025, 8, 28), "2025-08-28"),
    ],
)
def test_text_is_trimmed_and_numbers_read_as_people_type_them(cell: Any, text: str) -> None:
    assert read_text(cell) == (text, None)


# --- any cell at all ------------------------------------------------------------------------------------------------

anything = st.one_of(
    st.none(),
    st.text(),
    st.floats(),
    st.integers(),
    st.booleans(),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.timedeltas(),
    st.from_regex(r"\$?[(]?-?\d{1,5}[/:.,-]\d{0,4}[/:.-]?\d{0,4}[)]?( [AaPp][Mm])?", fullmatch=True),
)
OF_FORM: dict[str, Callable[[Any], bool]] = {
    "date": lambda value: date(2000, 1, 1) <= date.fromisoformat(value) <= date(2099, 12, 31),
    "month": lambda value: bool(re.fullmatch(r"[A-Z][a-z]{2}-[0-9]{2}", value)) and month_start(value).day == 1,
    "time": lambda value: bool(re.fullmatch(r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d|24:00:00", value)),
    "length": lambda value: bool(re.fullmatch(r"\d{2,}:[0-5]\d:[0-5]\d", value)),
    "money": lambda value: isinstance(value, float) and math.isfinite(value),
    "integer": lambda value: isinstance(value, int) and abs(value) <= 2**53,
    "type": lambda value: value in SPOT_TYPES,
    "billing": lambda value: value in ("Calendar", "Broadcast"),
    "yes_no": lambda value: value in ("Y", "N"),
    "text": lambda value: isinstance(value, str) and value == value.strip() != "",
    "day": lambda value: isinstance(value, str) and (value in DAYS or value == value.strip() != ""),
    "revenue": lambda value: isinstance(value, str) and value == value.strip() != "",
    "contract": lambda value: isinstance(value, str) and value == value.strip() not in ("", "0"),
}


@pytest.mark.parametrize("kind", OF_FORM)
def test_whatever_a_cell_holds_reading_it_never_fails_and_a_value_has_its_form(kind: Any) -> None:
    assert OF_FORM.keys() == READERS.keys()

    @given(anything)
    def check(cell: Any) -> None:
        value, fault = READERS[kind](cell)
        if fault is None and value is not None:
            assert OF_FORM[kind](value)
        if isinstance(value, int):
            assert abs(value) < 2**63  # the database can hold it

    check()


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind != "type"])
def test_a_stored_value_read_again_is_itself(kind: Any) -> None:
    """The empty text for an unknown type is the one value that is not."""

    @given(anything)
    def check(cell: Any) -> None:
        value, _ = READERS[kind](cell)
        assert READERS[kind](value)[0] == value

    check()
