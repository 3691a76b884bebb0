"""Every defect a workbook can have, as a file (domain section 6): named, or refused with nothing changed."""

from __future__ import annotations

import io
import random
import shutil
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from include.common.xlsx import extract_sheets, sheet_rows
from include.errors import ContractViolation, PermanentError, PipelineError, SourceChanging, TransientError
from tests.corpus.commercial_log.make_corpus import AUGUST, FOLDER, OCTOBER, corpus
from tests.unit.commercial_log_helpers import DAY, HEADER, Station, row, rows

AUDIT = ("import_batches", "import_rejects")
ON_SHARE = "K drive:/Traffic/Media Library/Commercial Log.xlsx"
LOCAL = "Commercial Log 250902.xlsx"
ONE_DAY = timedelta(days=1)
NAMES = sorted(path.stem for path in FOLDER.glob("*.xlsx"))


@pytest.fixture
def yesterday(station: Station) -> Station:
    """A station with the workbook of the day before, loaded: six spots in September, one each in October and the
    closed August."""
    others = [row(media="h", **AUGUST), row(media="o", **OCTOBER)]
    station.load([*rows(*"uvwxyz"), *others], DAY - ONE_DAY)
    station.close_month("Aug-25")
    return station


def take(name: str, target: Path) -> None:
    shutil.copyfile(FOLDER / f"{name}.xlsx", target)


# --- stage 1 --------------------------------------------------------------------------------------------------------

# Somebody may be saving it: read again (R8).
TRANSIENT = {
    "zero bytes": "0 bytes, empty",
    "nothing but zeros": r"4,096 bytes, starts with b'\x00\x00\x00\x00\x00\x00\x00\x00'",
    "truncated zip": "a ZIP file that is cut off or damaged",
    "damaged in the middle": "a ZIP file that is cut off or damaged (Bad CRC-32 for file 'xl/worksheets/sheet2.xml')",
    "a zip without workbook": "131 bytes, a ZIP file that is cut off or damaged (StopIteration)",
}
NO_WORKBOOK = {
    "html error page": "73 bytes, an HTML page",
    "encrypted with a password": "1,552 bytes, a password-protected or old .xls workbook",
    "comma separated text": "starts with b'Bill Cod'",
    "a sheet that is no xml": "a ZIP file that is cut off or damaged (syntax error: tag not closed",
}
WRONG_SHEET = {
    "renamed sheet": "its sheets are: 'Worldlink Lines', 'Commercial'.",
    "sheet in other case": "its sheets are: 'Worldlink Lines', 'COMMERCIALS'.",
}
WRONG_HEADER = {
    "header missing": "'Market' is missing (column AC holds nothing).",
    "header renamed": "'Unit rate Gross' is missing (column P holds 'Rate').",
    "header doubled": "'Language' stands 2 times, in columns J, AD.",
    "no header row": "'Bill Code' is missing (column A holds 'North Media:Blue Farms'); "
    "'Start Date' is missing (column B holds '2025-09-03');",
    "title above the header": "'Bill Code' is missing (column A holds 'Commercial Log'); "
    "'Start Date' is missing (column B holds nothing);",
    "empty sheet": "'Bill Code' is missing (column A holds nothing);",
    "emptied sheet": "'Bill Code' is missing (column A holds nothing);",
}
TOO_LITTLE = {
    "zero rows": "sheet 'Commercials' has no data rows; Commercial Log 250902.xlsx was not written.",
    "blank rows only": "sheet 'Commercials' has no data rows; Commercial Log 250902.xlsx was not written.",
    "halved rows": "sheet 'Commercials' has 2 data rows, fewer than half of the 8 in Commercial Log 250901.xlsx; "
    "Commercial Log 250902.xlsx was not written.",
}
REFUSED_BY_IMPORT = TRANSIENT | NO_WORKBOOK | WRONG_SHEET | WRONG_HEADER | TOO_LITTLE


@pytest.mark.parametrize("name", REFUSED_BY_IMPORT)
def test_the_import_refuses_what_cannot_be_a_days_workbook(yesterday: Station, name: str) -> None:
    """R3, R7, R8."""
    take(name, yesterday.workbook)
    files, before = yesterday.files(), yesterday.dump()
    with pytest.raises(PipelineError) as refused:
        yesterday.copy()
    kind, branch = (SourceChanging, TransientError) if name in TRANSIENT else (ContractViolation, PermanentError)
    assert type(refused.value) is kind
    assert isinstance(refused.value, branch)
    what = refused.value.what
    if name in NO_WORKBOOK | TRANSIENT:
        assert "is not a readable workbook: " in what
    if name in WRONG_HEADER:
        assert what.startswith(f"{ON_SHARE}, sheet 'Commercials', row 1: ")
    elif name != "a sheet that is no xml":
        assert what.startswith(ON_SHARE)
    assert REFUSED_BY_IMPORT[name] in what
    assert refused.value.next_step.endswith(".")
    assert (yesterday.files(), yesterday.dump()) == (files, before)


@pytest.mark.parametrize("name", ["zero bytes", "renamed sheet", "header renamed", "zero rows"])
def test_a_file_of_today_survives_a_later_bad_workbook(yesterday: Station, name: str) -> None:
    """R7: fail without touching an existing file."""
    take("month as text", yesterday.workbook)
    yesterday.copy(allow_shrink=True)
    files = yesterday.files()
    take(name, yesterday.workbook)
    with pytest.raises(PipelineError):
        yesterday.copy()
    assert yesterday.files() == files


def test_a_workbook_cut_off_anywhere_or_with_any_bytes_lost_is_an_error_with_a_name(tmp_path: Path) -> None:
    """Section 6: whatever zipfile, the XML parser or the reader make of it."""
    good = corpus()["month as text"]
    chance = random.Random(7)
    damaged = [good[:length] for length in range(0, len(good), 97)]
    for _ in range(150):
        changed = bytearray(good)
        for _ in range(chance.choice((1, 1, 4, 40))):
            changed[chance.randrange(len(good))] = chance.randrange(256)
        damaged.append(bytes(changed))
    source, target = tmp_path / "source.xlsx", tmp_path / "target.xlsx"
    outcomes: set[str] = set()
    for content in damaged:
        source.write_bytes(content)
        for read in (
            lambda: extract_sheets(source, target, ["Commercials"], name="x"),
            lambda: sheet_rows(source, ["Commercials"], name="x"),
        ):
            try:
                read()
            except PipelineError as error:
                outcomes.add(type(error).__name__)
            else:
                outcomes.add("read")
    assert outcomes == {"read", "SourceChanging", "ContractViolation"}


# --- stage 2: refused -----------------------------------------------------------------------------------------------

REFUSED_BY_LOAD = {
    **dict.fromkeys(TRANSIENT | NO_WORKBOOK, f"{LOCAL} is not a readable workbook: "),
    **{
        name: f"{LOCAL} has no sheet 'Data' or 'Commercials' or 'Commercial Lines' or 'Sheet1'; {told}"
        for name, told in WRONG_SHEET.items()
    },
    **{name: f"{LOCAL}, sheet 'Commercials', row 1: {told}" for name, told in WRONG_HEADER.items()},
    "zero rows": f"{LOCAL}, sheet 'Commercials': no broadcast months found in 0 rows, column 'Month'.",
    "blank rows only": f"{LOCAL}, sheet 'Commercials': no broadcast months found in 0 rows, column 'Month'.",
    "no month at all": f"{LOCAL}, sheet 'Commercials': no broadcast months found in 3 rows, column 'Month'.",
    "months as words": f"{LOCAL}, sheet 'Commercials': no broadcast months found in 3 rows, column 'Month'.",
    "too many rejects": f"{LOCAL}, sheet 'Commercials': 21 rows rejected, 20 allowed; the first is Excel row 10, "
    "column 'Bill Code', MISSING_BILL_CODE.",
}


@pytest.mark.parametrize("name", REFUSED_BY_LOAD)
def test_the_load_refuses_the_file_and_changes_nothing(yesterday: Station, name: str) -> None:
    """R15, R16, R20, R33."""
    take(name, yesterday.dated())
    files, before = yesterday.files(), yesterday.dump(without=AUDIT)
    with pytest.raises(ContractViolation) as refused:
        yesterday.load()
    assert refused.value.what.startswith(REFUSED_BY_LOAD[name])
    assert refused.value.next_step.endswith(".")
    assert (yesterday.files(), yesterday.dump(without=AUDIT)) == (files, before)
    [batch] = yesterday.sql("SELECT status, error_summary FROM import_batches WHERE source_date = '2025-09-02'")
    assert batch == ("FAILED", str(refused.value))


# --- stage 2: accepted, with remarks --------------------------------------------------------------------------------

SEPTEMBER = list("uvwxyz")
# The titles of September afterwards, and severity, reason, Excel row, header and raw cell of every remark.
ACCEPTED: dict[str, tuple[list[str], list[tuple[str, str, int, str, str | None]]]] = {
    "month as text": (["a", "b", "c"], []),
    "bad month": (
        ["a", "b"],
        [("reject", "BAD_MONTH", 4, "Month", "Sept."), ("reject", "BAD_MONTH", 5, "Month", "9")],
    ),
    "month of another century": (["a", "b"], [("reject", "BAD_MONTH", 4, "Month", "1925-09-01")]),
    "all rows of one open month bad": (
        ["a", "b"],
        [("reject", "BAD_AIR_DATE", 4, "Start Date", "soon"), ("reject", "BAD_AIR_DATE", 5, "Start Date", "soon")],
    ),
    "closed month only": (SEPTEMBER, []),
    "halved rows": (["a", "b"], []),
    "bad date": (
        ["a", "b"],
        [
            ("reject", "BAD_AIR_DATE", 4, "Start Date", "31/31/2025"),
            ("reject", "MISSING_AIR_DATE", 5, "Start Date", None),
            ("reject", "BAD_AIR_DATE", 6, "Start Date", "1"),
        ],
    ),
    "bad money": (
        ["a", "b"],
        [
            ("reject", "BAD_MONEY", 4, "Unit rate Gross", "12O.00"),
            ("reject", "BAD_MONEY", 5, "Station Net", "see contract"),
        ],
    ),
    "missing bill code": (["a", "b"], [("reject", "MISSING_BILL_CODE", 4, "Bill Code", None)]),
    "total row at the end": (["a", "b"], [("reject", "MISSING_MONTH", 5, "Month", None)]),
    "trade rows only": (SEPTEMBER, []),
    "errors of excel": (
        ["a"],
        [
            ("reject", "BAD_MONEY", 3, "Unit rate Gross", "#DIV/0!"),
            ("reject", "BAD_MONTH", 4, "Month", "#VALUE!"),
            ("warning", "UNKNOWN_MARKET", 2, "Market", "#REF!"),
        ],
    ),
    "formula without value": (["a", "b"], []),
    "tick box in the money column": (["a"], [("reject", "BAD_MONEY", 3, "Unit rate Gross", "TRUE")]),
    "bad times": (
        ["a"],
        [
            ("warning", "BAD_TIME", 2, "Time In", "6a-12p"),
            ("warning", "BAD_TIME", 2, "Time Out", "25:00:00"),
            ("warning", "BAD_TIME", 2, "Length", ":30"),
        ],
    ),
    "unknown type": (["a"], [("warning", "UNKNOWN_TYPE", 2, "Type", "Promo")]),
    "unknown flags": (
        ["a"],
        [
            ("warning", "UNKNOWN_BILLING_TYPE", 2, "Billing Type", "weekly"),
            ("warning", "UNKNOWN_AFFIDAVIT", 2, "Affidavit?", "mailed 9/4"),
        ],
    ),
    "unknown language": (["a", "b", "c"], []),
    "suspicious market": (["a"], [("warning", "UNKNOWN_MARKET", 2, "Market", "SFO; LAX")]),
    "unknown customer": (["a"], []),
    "numbers that are none": (
        ["a"],
        [
            ("warning", "NON_NUMERIC", 2, "Units-Spot count", "1.5"),
            ("warning", "NON_NUMERIC", 2, "Line", "3a"),
            ("warning", "NON_NUMERIC", 2, "Sales/rep com: revenue sharing", str(int(1e300))[:200]),
        ],
    ),
    "month that does not fit": (SEPTEMBER, [("warning", "MONTH_MISMATCH", 2, "Month", "2025-10-01")]),
    "unknown columns": (["a"], []),
}


def remarks(station: Station) -> list[tuple[Any, ...]]:
    return station.sql(
        "SELECT severity, reason, row_number, column_header, raw_value FROM import_rejects"
        f" WHERE source_file = '{LOCAL}' AND sheet = 'Commercials' ORDER BY reject_id"
    )


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_bad_row_or_cell_is_named_and_the_run_goes_on(yesterday: Station, name: str) -> None:
    """R18, R20 to R30."""
    take(name, yesterday.dated())
    closed = yesterday.sql("SELECT * FROM spots WHERE broadcast_month = 'Aug-25'")
    result = yesterday.load()
    assert (yesterday.titles("Sep-25"), remarks(yesterday)) == ACCEPTED[name]
    assert yesterday.titles("Oct-25") == (["a"] if name == "month that does not fit" else ["o"])
    assert yesterday.sql("SELECT * FROM spots WHERE broadcast_month = 'Aug-25'") == closed
    assert result.rejected == sum(severity == "reject" for severity, *_ in ACCEPTED[name][1])
    assert yesterday.sql("SELECT status FROM import_batches WHERE source_date = '2025-09-02'") == [("COMPLETED",)]


@pytest.mark.parametrize("name", sorted({*NAMES} - {*REFUSED_BY_IMPORT}))
def test_the_copy_of_the_import_is_judged_like_the_workbook_itself(
    station: Station, tmp_path: Path, empty_database: Path, name: str
) -> None:
    """R4: nothing about a defect is lost or added on the way."""
    take(name, station.workbook)
    station.copy()
    outcomes: list[Any] = []
    for path in (station.dated(), FOLDER / f"{name}.xlsx"):
        database = tmp_path / f"{len(outcomes)}.db"
        shutil.copyfile(empty_database, database)
        own = Station(station.data, station.share, database)
        shutil.copyfile(path, tmp_path / LOCAL)
        try:
            own.load(data_file=tmp_path / LOCAL)
        except ContractViolation as error:
            outcomes.append((error.what, remarks(own)))
        else:
            outcomes.append((own.bookings(), remarks(own)))
    assert outcomes[0] == outcomes[1]


def test_a_language_nobody_knows_waits_for_review(yesterday: Station) -> None:
    """Section 6: row kept, review flag."""
    take("unknown language", yesterday.dated())
    yesterday.load()
    assert yesterday.sql("SELECT raw_language, assignment_method FROM v_review_queue") == [
        ("M,V", "invalid_code_flagged"),
        ("13", "invalid_code_flagged"),
        ("L", "undetermined_flagged"),
    ]


def test_a_customer_nobody_knows_is_listed(yesterday: Station) -> None:
    """R29."""
    take("unknown customer", yesterday.dated())
    yesterday.load()
    assert ("Who:Nobody", 1, 85.0) in yesterday.sql("SELECT * FROM v_unresolved_bill_codes")


def test_a_month_whose_rows_are_all_bad_is_preserved_with_a_warning(yesterday: Station) -> None:
    """R18, section 6."""
    take("all rows of one open month bad", yesterday.dated())
    assert yesterday.load().warnings == (
        "Preserved: 2 rows for Oct-25, all rejected (first: Excel row 4, 'Start Date' is 'soon').",
    )


def test_what_the_import_lets_through_with_a_word_of_warning(station: Station) -> None:
    """3.1, 3.2."""
    told = {}
    for name in ("formula without value", "unknown columns", "total row at the end"):
        take(name, station.workbook)
        told[name] = station.copy().warnings[:1]
    assert told == {
        "formula without value": (f"{ON_SHARE}: 1 formula cells carry no calculated value and count as empty.",),
        "unknown columns": (f"{ON_SHARE}: columns outside the contract are ignored: Notes of ann.",),
        "total row at the end": (f"{LOCAL} existed already; it was replaced by the workbook saved since.",),
    }


# --- the corpus itself ----------------------------------------------------------------------------------------------


def test_every_file_of_the_corpus_is_tested() -> None:
    assert {*NAMES} == {*REFUSED_BY_IMPORT} | {*REFUSED_BY_LOAD} | {*ACCEPTED}


def test_the_files_are_those_the_script_makes_and_small() -> None:
    """Compared by their parts: compressors differ."""
    made = corpus()
    assert sorted(made) == NAMES
    for name, content in made.items():
        kept = (FOLDER / f"{name}.xlsx").read_bytes()
        assert len(kept) < 10_000
        if name not in ("truncated zip", "damaged in the middle"):
            assert _unpacked(kept) == _unpacked(content)


def _unpacked(content: bytes) -> Any:
    if not content.startswith(b"PK"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        return {name: package.read(name) for name in package.namelist()}


def test_the_proper_row_of_these_tests_is_proper(yesterday: Station) -> None:
    """Otherwise a defect could hide behind another."""
    assert len(row()) == len(HEADER) == 29
    assert remarks(yesterday) == []
    assert yesterday.sql("SELECT count(*) FROM import_rejects") == [(0,)]
