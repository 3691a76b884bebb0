"""The list of price points and the catalogue workbook it is made from: R58, 3.4, 3.5, section 6."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest

from include.common import locks
from include.common.journal import read_journal
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT
from include.cvas.counters import count_transactions
from include.cvas.mastercpc import convert_catalogue, read_mastercpc
from include.errors import AlreadyRunning, CheckFailed, ContractViolation, SourceMissing
from tests.corpus.cvas.catalogue import make_corpus as catalogue
from tests.corpus.cvas.mastercpc import make_corpus as lists
from tests.corpus.cvas.mastercpc.make_corpus import A, B
from tests.unit.cvas_helpers import act, fill_lake

DAY = date(2025, 11, 11)
NOW = datetime(2025, 11, 11, 9, 0, tzinfo=UTC)
PRESENT = f"{B}\n45335,Old name,News,7,0.50\n46109,Escudo Movil,Free Time,30,5.36\n"
MADE = f"{B}\n45335,Noticias Diarias,News,7,0.99\n46109,Escudo Movil,Free Time,30,5.36\n"
NEITHER = f"neither '{A}' nor '{B}'."
ALL_COLUMNS = "'TME Category', 'Service Name', 'CPC', 'Subscription Model', 'Price'"


# --- the list ---------------------------------------------------------------------------------------------------------

REFUSED = {
    "zero bytes": f", line 1: the header is '', {NEITHER}",
    "html page": f", line 1: the header is '<!DOCTYPE html>', {NEITHER}",
    "unknown layout": f", line 1: the header is 'cpc,name,category', {NEITHER}",
    "layout b in upper case": f", line 1: the header is '{B.upper()}', {NEITHER}",
    "layout a without its last column": f", line 1: the header is '{A.removesuffix(',CPCs')}', {NEITHER}",
    "layout a without rows": ": no CPC below the header.",
    "layout b without rows": ": no CPC below the header.",
    "list that is not closed": ", line 4, column 'CPCs': '{1, 2' is no list like {35872, 35357}.",
    "list without braces": ", line 3, column 'CPCs': '1, 2' is no list like {35872, 35357}.",
    "list of words": ", line 2, column 'CPCs': '{1, two}' is no list like {35872, 35357}.",
    "list with a comma too many": ", line 4, column 'CPCs': '{1, }' is no list like {35872, 35357}.",
    "list within a list": ", line 4, column 'CPCs': '{1, {2}}' is no list like {35872, 35357}.",
    "list without quotes": ", line 2: 9 columns instead of 8, the first too many is column 9.",
    "free cpc is no number": ", line 4, column 'Free_CPC': 'none' is no whole number.",
    "period is no number": ", line 4, column 'CHG_Period': 'weekly' is no whole number.",
    "price with a comma": ", line 4, column 'CHG_Price': '0,99' is no price.",
    "price below zero": ", line 4, column 'cpc_price': '-1.00' is no price.",
    "cpc is no number": ", line 4, column 'cpc': 'all' is no whole number.",
    "cpc is empty": ", line 3, column 'cpc': '' is no whole number.",
    "cpc with a fraction": ", line 4, column 'cpc': '1.5' is no whole number.",
    "comma without quotes": ", line 4: 6 columns instead of 5, the first too many is column 6.",
    "line that is cut off": ", line 4: the line ends after 2 of 5 columns, before column 'tme_category'.",
    "quote that does not end": ", line 2: the quotes cannot be resolved (unexpected end of data).",
    "latin characters": ", line 4: byte 131 of the file is no UTF-8.",
}
PAIR = [(45335, "Noticias Diarias", "News", 7, 0.99), (46109, "Escudo Movil", "Free Time", 30, 5.36)]
RITMO = [(35357, "Ritmo Latino", "Music", 30, 0.99), (35872, "Ritmo Latino", "Music", 7, 0.0)]
# Rows, and warnings behind the name of the file.
ACCEPTED: dict[str, tuple[list[tuple[Any, ...]], list[str]]] = {
    "layout a": (
        [
            *RITMO,
            (44009, "Bailes, Fiesta y Más", "Music", 7, 1.64),
            (46000, "Viajes y +", "Free Time", 1, 0.0),
            (46001, "UNKNOWN", "", 0, 0.0),
            (46002, "Sin Precio", "Light", 3, 0.0),
            (46003, "Sin Precio", "Light", 7, 0.5),
        ],
        [],
    ),
    "layout b": (
        [
            (45001, "Tonos", "Images", 99999, 0.0),
            (45002, "UNKNOWN", "", 0, 1.0),
            (45003, "Sin nada", "", 0, 2.0),
            *PAIR,
        ],
        [],
    ),
    "cpc in two rows": (PAIR, [": 2 CPCs stand in several rows, the first counts: 45335, 46109."]),
    "line without cpc": (RITMO, [", line 3: 'Sin CPC' has no CPC; the line is left out."]),
    "free cpc outside of the list": (
        [(1, "X", "Music", 30, 0.99), (2, "X", "Music", 30, 0.99)],
        [", line 2: Free_CPC 5 is not among the line's CPCs; it is left out."],
    ),
    "byte order mark and windows line ends": (PAIR, []),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_list_that_cannot_be_read_is_refused_with_line_and_column(name: str) -> None:
    """R58, section 6."""
    with pytest.raises(ContractViolation) as refused:
        read_mastercpc(lists.FOLDER / f"{name}.csv")
    assert refused.value.what == f"{name}.csv{REFUSED[name]}"
    assert refused.value.next_step == f"Correct {name}.csv or get it again from where it came, then clear the task."


@pytest.mark.parametrize("name", ACCEPTED)
def test_both_layouts_give_one_row_per_price_point(name: str) -> None:
    """R58, 3.4: names trimmed, UNKNOWN if empty; 0 for what is not given; the free one has its own period, no price."""
    rows, warnings = ACCEPTED[name]
    read = read_mastercpc(lists.FOLDER / f"{name}.csv")
    assert read.frame.schema == {
        "cpc": pl.Int64,
        "service_name": pl.String,
        "tme_category": pl.String,
        "cpc_period": pl.Int64,
        "cpc_price": pl.Float64,
    }
    assert read.frame.rows() == rows
    assert list(read.warnings) == [f"{name}.csv{warning}" for warning in warnings]


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    """Section 6."""
    with pytest.raises(SourceMissing) as missing:
        read_mastercpc(tmp_path / "MASTERCPC.csv")
    assert missing.value.what == f"cvas: {tmp_path / 'MASTERCPC.csv'} is not there."


def test_many_repeated_price_points_are_named_up_to_ten(tmp_path: Path) -> None:
    """R58."""
    path = tmp_path / "list.csv"
    path.write_text(
        "\n".join([B, *(f"{cpc},A,B,7,1" for cpc in range(1, 13)), *(f"{cpc},C,D,7,1" for cpc in range(1, 13))])
    )
    assert read_mastercpc(path).warnings == (
        "list.csv: 12 CPCs stand in several rows, the first counts: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more.",
    )


def test_the_files_are_those_the_scripts_make() -> None:
    """Workbooks are compared by their cells: each carries the time it was made."""
    made = lists.corpus()
    assert sorted(made) == sorted(path.stem for path in lists.FOLDER.glob("*.csv")) == sorted({**REFUSED, **ACCEPTED})
    for name, content in made.items():
        assert (lists.FOLDER / f"{name}.csv").read_bytes() == content
    made = catalogue.corpus()
    assert sorted(made) == sorted(path.stem for path in catalogue.FOLDER.glob("*.xlsx"))
    assert sorted(made) == sorted({**NO_WORKBOOK, **NO_CATALOGUE, **CONVERTED})
    for name, content in made.items():
        kept = (catalogue.FOLDER / f"{name}.xlsx").read_bytes()
        if name != "cut off":
            assert _cells(kept) == _cells(content)


def _cells(content: bytes) -> Any:
    if not content.startswith(b"PK"):
        return content
    book = openpyxl.load_workbook(io.BytesIO(content))
    return [(sheet.title, [[cell.value for cell in row] for row in sheet.iter_rows()]) for sheet in book.worksheets]


# --- the workbook -----------------------------------------------------------------------------------------------------


@dataclass
class Office:
    """A lake, perhaps with a list, and the workbooks of the corpus."""

    lake: Lake

    def convert(self, name: str, **how: Any) -> dict[str, Any]:
        path = catalogue.FOLDER / f"{name}.xlsx"
        return convert_catalogue(path, self.lake, day=DAY, now=NOW, settings=Settings(), **how).as_dict()

    def stat(self) -> tuple[bytes, int, int]:
        stat = self.lake.mastercpc.stat()
        return self.lake.mastercpc.read_bytes(), stat.st_ino, stat.st_mtime_ns


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = Office(Lake(tmp_path / "lake"))
    office.lake.root.mkdir()
    office.lake.mastercpc.write_text(PRESENT)
    return office


NO_WORKBOOK = {
    "zero bytes": "0 bytes, empty",
    "html page": "62 bytes, an HTML page",
    "comma separated text": "78 bytes, starts with b'Provider'",
    "cut off": "a ZIP file that is cut off or damaged",
}
MISSING = "are missing or stand there more than once; it holds:"
NO_CATALOGUE = {
    "wrong sheet first": f", sheet 'Changes', row 1: the columns {ALL_COLUMNS} {MISSING} who, when, what.",
    "empty sheet": f", sheet 'Catalogue', row 1: the columns {ALL_COLUMNS} {MISSING} nothing.",
    "title above the header": f", sheet 'Catalogue', row 1: the columns {ALL_COLUMNS} {MISSING} Catalogue of services.",
    "column missing": f", sheet 'Catalogue', row 1: the columns 'Price' {MISSING} Provider, TME Category, "
    "Service Name, CPC, CPC to upgrade, Subscription Model.",
    "columns renamed": f", sheet 'Catalogue', row 1: the columns 'CPC', 'Subscription Model' {MISSING} Provider, "
    "TME Category, Service Name, Code, CPC to upgrade, Model, Price.",
    "column doubled": f", sheet 'Catalogue', row 1: the columns 'Price' {MISSING} Provider, TME Category, "
    "Service Name, CPC, CPC to upgrade, Subscription Model, Price, Price.",
    "no row": ", sheet 'Catalogue': none of its 0 rows has a numeric CPC; the present list stays.",
    "no numeric cpc": ", sheet 'Catalogue': none of its 1 rows has a numeric CPC; the present list stays.",
}
# The list that comes out, and warnings behind file and sheet.
CONVERTED: dict[str, tuple[str, list[str]]] = {
    "rows without numeric cpc": (MADE, [": 4 rows have no numeric CPC and are left out: 4, 5, 7, 8."]),
    "cpc in two rows": (MADE, [": 1 CPCs stand in several rows, the first counts: 45335."]),
    "prices that are none": (
        f"{B}\n1,A,News,99999,\n2,B,News,99999,\n3,C,News,99999,\n{MADE.partition(chr(10))[2]}",
        [
            ", row 4, column 'Price': '0,99 €' is no price; it is left empty.",
            ", row 5, column 'Price': -1.0 is no price; it is left empty.",
            ", row 6, column 'Price': True is no price; it is left empty.",
        ],
    ),
    "every model": (
        f"{B}\n1,Juego 1,Games,99999,0.50\n2,Juego 2,Games,7,1.00\n3,Juego 3,Games,30,1.50\n"
        "4,Juego 4,Games,90,2.00\n5,Juego 5,Games,1,2.50\n6,Juego 6,Games,0,3.00\n7,Juego 7,Games,60,3.50\n"
        "8,Juego 8,Games,3,4.00\n9,Juego 9,Games,45,4.50\n10,Juego 10,Games,0,5.00\n11,Juego 11,Games,0,5.50\n"
        "12,Juego 12,Games,7,6.00\n13,Juego 13,Games,45,6.50\n",
        [],
    ),
    "numbers as text": (f"{B}\n7,B,,0,\n46111,A,Games,99999,2.50\n", []),
    "header with blanks": (MADE, []),
    "second sheet": (MADE, []),
}


@pytest.mark.parametrize("name", [*NO_WORKBOOK, *NO_CATALOGUE])
def test_a_workbook_without_catalogue_is_refused_and_the_list_stays(office: Office, name: str) -> None:
    """R58, section 6: naming sheet and missing columns."""
    before = office.stat()
    with pytest.raises(ContractViolation) as refused:
        office.convert(name, allow_lost=True)
    if name in NO_WORKBOOK:
        assert refused.value.what.startswith(f"{name}.xlsx is not a readable workbook: ")
        assert NO_WORKBOOK[name] in refused.value.what
    else:
        assert refused.value.what == f"{name}.xlsx{NO_CATALOGUE[name]}"
    assert refused.value.next_step.endswith(".")
    assert office.stat() == before
    assert read_journal(office.lake.logs, "cvas_mastercpc")[0].state == "FAILED"


@pytest.mark.parametrize("name", CONVERTED)
def test_the_catalogue_becomes_the_list(office: Office, name: str) -> None:
    """Stage 0, R58: one row per CPC, sorted by CPC; the period from the first word of the model."""
    content, warnings = CONVERTED[name]
    office.lake.mastercpc.unlink()
    result = office.convert(name)
    assert office.lake.mastercpc.read_text() == content
    assert result == {
        "where": str(office.lake.mastercpc),
        "read": content.count("\n") - 1,
        "written": content.count("\n") - 1,
        "rejected": 0,
        "bytes": len(content),
        "warnings": [f"{name}.xlsx, sheet 'Catalogue'{warning}" for warning in warnings],
        "facts": {"action": "written", "lost": 0},
    }
    assert read_mastercpc(office.lake.mastercpc).warnings == ()


def test_the_same_workbook_again_changes_nothing(office: Office) -> None:
    """R58: the list was replaced the first time, as no CPC is lost."""
    assert office.convert("second sheet")["facts"] == {"action": "written", "lost": 0}
    assert office.lake.mastercpc.read_text() == MADE
    before = office.stat()
    result = office.convert("second sheet")
    assert (result["written"], result["facts"]["action"]) == (0, "unchanged")
    assert office.stat() == before
    assert sorted(path.name for path in office.lake.root.iterdir()) == ["MASTERCPC.csv", "_locks", "logs"]


def test_another_list_tells_which_days_were_counted_with_the_one_before(office: Office) -> None:
    """R56, R57: nobody counts those days again by himself."""
    fill_lake(office.lake, {ACT: [act(), act(trans_date="2025-11-07 10:00:00", subscription_id=2)]})
    days = [date(2025, 11, 7), date(2025, 11, 10)]
    count_transactions(office.lake, days=days, day=days[-1], now=NOW, settings=Settings())
    told = (
        "The counters do not know that days from 2025-11-07 to 2025-11-10 have changed: trigger cvas_counters with "
        "start_date 2025-11-07, end_date 2025-11-10 and force."
    )
    assert office.convert("second sheet")["warnings"] == [told]
    assert office.convert("second sheet")["warnings"] == []
    damaged = office.lake.counters / "Service_KPI.csv"
    damaged.write_text("date\nnever\n")
    assert office.convert("numbers as text", allow_lost=True)["facts"]["action"] == "written"


def test_no_price_point_is_lost_without_a_yes(office: Office) -> None:
    """R58; the present list may be of the other layout."""
    present = f'{A}\nX,Music,1,7,2,30,1,"{{1, 2}}"\n,,,,46109,,,\nY,Music,,,45335,,,{{}}\n'
    office.lake.mastercpc.write_text(present)
    before = office.stat()
    with pytest.raises(CheckFailed) as refused:
        office.convert("second sheet")
    assert refused.value.what == "2 CPCs of MASTERCPC.csv would be lost: 1, 2; nothing was changed."
    assert refused.value.next_step.endswith("trigger with allow_lost.")
    assert office.stat() == before
    result = office.convert("second sheet", allow_lost=True)
    assert result["warnings"][1:] == ["second sheet.xlsx lacks 2 CPCs of MASTERCPC.csv, which are gone now: 1, 2."]
    assert result["facts"]["lost"] == 2
    assert office.lake.mastercpc.read_text() == MADE


def test_a_damaged_list_is_only_replaced_after_a_yes(office: Office) -> None:
    """R58: what it held is not known."""
    office.lake.mastercpc.write_text("quota exceeded\n")
    before = office.stat()
    with pytest.raises(
        CheckFailed, match=r"is not known, because of MASTERCPC\.csv, line 1: the header is 'quota excee"
    ):
        office.convert("second sheet")
    assert office.stat() == before
    office.convert("second sheet", allow_lost=True)
    assert office.lake.mastercpc.read_text() == MADE


def test_a_workbook_that_is_not_there_is_named(office: Office) -> None:
    before = office.stat()
    with pytest.raises(SourceMissing, match=r"no such thing\.xlsx is not there"):
        office.convert("no such thing")
    assert office.stat() == before


def test_a_second_conversion_is_refused(office: Office) -> None:
    """Section 6: two runs at once."""
    lock = office.lake.user_base_lock.with_name("mastercpc")
    with locks.hold(lock, "cvas_mastercpc"), pytest.raises(AlreadyRunning):
        office.convert("second sheet")
