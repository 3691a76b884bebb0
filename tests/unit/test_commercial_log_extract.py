"""Stage 1, the workbook of the share becomes the dated workbook of a day: domain rules R3 to R10, R51."""

# ruff: noqa: DTZ001 - cells have no time zone

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import random
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.table import Table

from include.commercial_log.config import Settings
from include.commercial_log.extract import JOB, copy_workbook
from include.commercial_log.workbook import data_rows_of, list_dated, outline, read_sheet
from include.common.journal import read_journal
from include.common.shares import LocalShare, Share, fetch, resolve
from include.common.xlsx import PlainSheet, column_letters, extract_sheets
from include.errors import (
    AlreadyRunning,
    ContractViolation,
    RequestRefused,
    SourceChanging,
    SourceMissing,
    SourceUnavailable,
    StaleInput,
    StoreBusy,
)
from tests.unit.commercial_log_helpers import DAY, HEADER, Station, package_parts, row, rows, write_workbook

ROOT = Path(__file__).resolve().parents[2]
ONE_DAY = timedelta(days=1)


def cells_of(path: Path, sheet: str = "Commercials", *, values: bool = False) -> list[list[tuple[Any, ...]]]:
    """Value, Python type, cell type and number format of every cell; ``values``: formulas as their results."""
    book = openpyxl.load_workbook(path, data_only=values)
    try:
        return [
            [(each.value, type(each.value), each.data_type, each.number_format) for each in line]
            for line in book[sheet].iter_rows()
        ]
    finally:
        book.close()


def values_of(path: Path) -> list[tuple[Any, ...]]:
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        return [line or (None,) * 30 for line in book["Commercials"].iter_rows(values_only=True)]
    finally:
        book.close()


def edit_part(path: Path, part: str, edit: Callable[[bytes], bytes]) -> None:
    """Change one part of a package."""
    with zipfile.ZipFile(path) as package:
        parts = [(info, package.read(info)) for info in package.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for info, content in parts:
            package.writestr(info, edit(content) if info.filename == part else content)


def raw_workbook(
    path: Path, lines: Sequence[str], *, strings: str = "", prefix: str = "", stream: bool = False
) -> Path:
    """A workbook as other programs write it: the cells of the rows below the header as XML, shared strings, perhaps a
    namespace prefix, perhaps written to a stream so that sizes follow the data."""
    p = f"{prefix}:" if prefix else ""
    head = "".join(f'<{p}c t="inlineStr"><{p}is><{p}t>{escape(name)}</{p}t></{p}is></{p}c>' for name in HEADER)
    body = "".join(f'<{p}row r="{number}">{line}</{p}row>' for number, line in enumerate([head, *lines], 1))
    buffer = _Stream() if stream else io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in package_parts({"Commercials": body}, strings=strings, prefix=prefix).items():
            package.writestr(name, text)
    path.write_bytes(buffer.getvalue())
    return path


class _Stream(io.BytesIO):
    """Cannot go back, like a pipe."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


# --- R4: every cell as it was ---------------------------------------------------------------------------------------

ANY_CELLS: list[list[Any]] = [
    [
        "text",
        " blanks around ",
        "line\nbreak",
        "tab\there",
        "naïve 漢字 Tiếng Việt 🎬",
        "<&>\"'",
        "00123",
        "1,250.00",
    ],
    [0, 1, -45, 10**15, 85.0, 0.1 + 0.2, 1e22, 1e-7, True, False],
    [datetime(2025, 8, 28), datetime(2025, 8, 28, 6, 14, 22), date(2024, 2, 29), datetime(1900, 1, 1)],
    [time(6), time(23, 59, 59), time(0), timedelta(seconds=30), timedelta(days=1), timedelta(hours=30), timedelta(0)],
    ["#N/A", "#DIV/0!", None, "", None, "after a gap"],
    [],
    [None] * 28 + ["last column"],
]


def test_every_cell_of_the_copy_has_the_value_and_type_it_had(station: Station) -> None:
    """R4; section 8, 8: elapsed times became fractions, dates texts."""
    source = write_workbook(station.workbook, ANY_CELLS)
    station.copy()
    assert cells_of(station.dated()) == cells_of(source)
    assert cells_of(source)[3][1][:2] == (datetime(2025, 8, 28, 6, 14, 22), datetime)
    assert cells_of(source)[4][4][:2] == (timedelta(days=1), timedelta)


def test_numbers_keep_all_their_17_digits(station: Station) -> None:
    """R4: reading and writing them again would round to 16."""
    digits = ["0.30000000000000004", "352.94117647058823", "1.0000000000000002", "9007199254740993", "5E-324"]
    raw_workbook(station.workbook, ["".join(f"<c><v>{each}</v></c>" for each in digits)])
    station.copy()
    copied = [value for value, *_ in cells_of(station.dated())[1]]
    assert copied[:3] == [0.30000000000000004, 352.94117647058823, 1.0000000000000002]
    with zipfile.ZipFile(station.dated()) as package:
        xml = package.read("xl/worksheets/sheet1.xml").decode()
    assert all(f"<v>{each}</v>" in xml for each in digits)


@pytest.mark.parametrize("prefix", ["", "x"])
@pytest.mark.parametrize("stream", [False, True])
def test_shared_inline_and_rich_texts_are_copied_however_the_package_was_written(
    station: Station,
    prefix: str,
    stream: bool,  # noqa: FBT001
) -> None:
    p = f"{prefix}:" if prefix else ""
    strings = (
        "<si><t>shared</t></si><si><r><t>rich </t></r><r><t>text</t></r></si><si><t xml:space='preserve'> b </t></si>"
    )
    cells = "".join(f'<{p}c t="s"><{p}v>{number}</{p}v></{p}c>' for number in (1, 0, 2, 0))
    cells += f'<{p}c t="inlineStr"><{p}is><{p}t>inline</{p}t></{p}is></{p}c><{p}c t="str"><{p}v>result</{p}v></{p}c>'
    cells += (
        f'<{p}c s="1"><{p}v>45897</{p}v></{p}c><{p}c s="2"><{p}v>1</{p}v></{p}c><{p}c s="3"><{p}v>0.25</{p}v></{p}c>'
    )
    cells += f'<{p}c t="b"><{p}v>1</{p}v></{p}c><{p}c t="e"><{p}v>#REF!</{p}v></{p}c><{p}c s="4"/>'
    raw_workbook(station.workbook, [cells], strings=strings, prefix=prefix, stream=stream)
    station.copy()
    assert cells_of(station.dated()) == cells_of(station.workbook)
    with zipfile.ZipFile(station.dated()) as package:
        # Sizes stand before the data, where programs that read from the front look for them.
        assert not any(info.flag_bits & 0x08 for info in package.infolist())
    assert [value for value, *_ in cells_of(station.dated())[1]][:12] == [
        "rich text",
        "shared",
        " b ",
        "shared",
        "inline",
        "result",
        datetime(2025, 8, 28),
        timedelta(days=1),
        time(6),
        True,
        "#REF!",
        None,
    ]


def test_a_workbook_that_counts_days_from_1904_keeps_its_dates_in_both_stages(station: Station) -> None:
    book = openpyxl.Workbook()
    book.epoch = CALENDAR_MAC_1904
    page = book.active
    page.title = "Commercials"
    page.append(HEADER)
    page.append(row())
    book.save(station.workbook)
    station.copy()
    assert cells_of(station.dated()) == cells_of(station.workbook)
    assert cells_of(station.dated())[1][1][0] == datetime(2025, 9, 3)
    station.load()
    assert station.sql("SELECT air_date, time_in, length_seconds, broadcast_month FROM spots") == [
        ("2025-09-03", "06:00:00", "00:00:30", "Sep-25")
    ]


def test_what_hangs_on_the_sheet_does_not_disturb_its_cells(station: Station) -> None:
    """Hyperlinks, comments, tables, charts, validations, merged cells and frozen panes point to parts left behind."""
    book = openpyxl.Workbook()
    page = book.active
    page.title = "Commercials"
    page.append(HEADER)
    for line in rows("a", "b", "c"):
        page.append(line)
    page["H2"].hyperlink = "https://example.org/a"
    page["I3"].comment = Comment("ask traffic", "ann")
    page.add_table(Table(displayName="Spots", ref="A1:AC4"))
    page.freeze_panes = "B2"
    page.auto_filter.ref = "A1:AC4"
    page.print_title_rows = "1:1"
    page.merge_cells("A6:B6")
    validation = DataValidation(type="list", formula1='"Y,N"')
    validation.add("AA2:AA4")
    page.add_data_validation(validation)
    chart = BarChart()
    chart.add_data(Reference(page, min_col=16, min_row=1, max_row=4))
    page.add_chart(chart, "AE2")
    book.save(station.workbook)
    station.copy()
    assert cells_of(station.dated())[:4] == [line[:29] for line in cells_of(station.workbook)[:4]]
    with zipfile.ZipFile(station.dated()) as package:
        assert package.testzip() is None
        assert not [name for name in package.namelist() if "drawing" in name or "comment" in name or "table" in name]
    station.load()
    assert station.titles() == ["a", "b", "c"]


def test_only_the_sheet_itself_is_copied_wherever_it_stands(station: Station) -> None:
    """R3, 3.3."""
    book = openpyxl.Workbook()
    book.active.title = "Worldlink Lines"
    book.active.append(["other"])
    page = book.create_sheet("Commercials")
    book.create_sheet("Pending").append(["secret"])
    for line in (HEADER, *rows("a")):
        page.append(line)
    book.move_sheet("Pending", -2)
    book.save(station.workbook)
    station.copy()
    copied = openpyxl.load_workbook(station.dated())
    assert copied.sheetnames == ["Commercials"]
    assert b"secret" not in b"".join(_parts(station.dated()).values())
    assert cells_of(station.dated()) == cells_of(station.workbook)


def _parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as package:
        return {name: package.read(name) for name in package.namelist()}


# --- formulas -------------------------------------------------------------------------------------------------------


def formula(text: str, value: str | None, kind: str = "") -> str:
    cached = "" if value is None else f"<v>{value}</v>"
    return f"<c{kind}><f>{text}</f>{cached}</c>"


def test_formulas_of_the_sheet_itself_come_with_their_results(station: Station) -> None:
    line = formula("B2*2", "90") + formula("SUM(A1:A9)", "1.5") + formula('IF(A2="x","Y","N")', "N", ' t="str"')
    line += '<c r="D2"><f t="shared" ref="D2:D3" si="0">A2+1</f><v>91</v></c>'
    raw_workbook(station.workbook, [line, '<c r="D3"><f t="shared" si="0"/><v>1</v></c>'])
    assert station.copy().warnings == ()
    assert cells_of(station.dated(), values=True) == cells_of(station.workbook, values=True)
    assert cells_of(station.dated()) == cells_of(station.workbook)
    assert [value for value, *_ in cells_of(station.dated(), values=True)[1][:4]] == [90, 1.5, "N", 91]


@pytest.mark.parametrize(
    "text", ["Pending!A1", "'Add to booked business'!B2", "[1]Sheet1!A1", "Rate*2", "Spots[Gross]"]
)
def test_formulas_that_need_what_stays_behind_are_replaced_by_their_results(station: Station, text: str) -> None:
    """3.1: cached values count. A formula without its sheet would be recalculated to an error by whoever opens it."""
    raw_workbook(station.workbook, [formula(escape(text), "85.25") + formula("A2*2", "170.5")])
    assert station.copy().warnings == ()
    assert [cell[:3] for cell in cells_of(station.dated())[1][:2]] == [(85.25, float, "n"), (170.5, float, "n")]
    assert cells_of(station.dated(), values=True) == cells_of(station.workbook, values=True)


@pytest.mark.parametrize("cell", [formula("1+1", None), "<c><f>1+1</f><v/></c>", "<c><f>1+1</f><v></v></c>"])
def test_a_formula_nobody_calculated_counts_as_empty_with_a_warning(station: Station, cell: str) -> None:
    """3.1."""
    raw_workbook(station.workbook, [formula("1+1", "2") + cell + formula('""', "", ' t="str"')])
    result = station.copy()
    assert result.warnings == (
        "K drive:/Traffic/Media Library/Commercial Log.xlsx: "
        "1 formula cells carry no calculated value and count as empty.",
    )
    assert [value for value, *_ in cells_of(station.dated(), values=True)[1][:2]] == [2, None]


def test_a_formula_a_script_wrote_has_no_value(station: Station) -> None:
    write_workbook(station.workbook, [row(gross_rate="=40+45"), row(gross_rate="=2*40")])
    assert "2 formula cells carry no calculated value" in station.copy().warnings[0]
    station.load()
    assert station.sql("SELECT gross_rate FROM spots") == [(None,), (None,)]


# --- several sheets -------------------------------------------------------------------------------------------------

TWO = Settings(sheets=("Commercials", "Worldlink Lines"))


def test_further_sheets_follow_with_a_column_that_names_the_sheet(station: Station) -> None:
    """3.1: a 30th column ``sheet_source``."""
    write_workbook(
        station.workbook,
        [row(media="a"), [], row(media="b", time_out=timedelta(days=1), gross_rate=0.1 + 0.2)],
        others={"Pending": [["nothing"]], "Worldlink Lines": [HEADER, [], row(media="c"), row(media="<&>")]},
    )
    result = station.copy(settings=TWO)
    assert result.read == 4
    assert values_of(station.dated()) == [
        (*HEADER, "sheet_source"),
        (*_read_back(row(media="a")), "Commercials"),
        (None,) * 30,
        (*_read_back(row(media="b", time_out=timedelta(days=1), gross_rate=0.1 + 0.2)), "Commercials"),
        (None,) * 30,
        (*_read_back(row(media="c")), "Worldlink Lines"),
        (*_read_back(row(media="<&>")), "Worldlink Lines"),
    ]
    assert openpyxl.load_workbook(station.dated()).sheetnames == ["Commercials"]
    station.load()
    assert station.sql("SELECT media, source_file FROM spots ORDER BY spot_id") == [
        ("a", "Commercial Log 250902.xlsx:Commercials"),
        ("b", "Commercial Log 250902.xlsx:Commercials"),
        ("c", "Commercial Log 250902.xlsx:Worldlink Lines"),
        ("<&>", "Commercial Log 250902.xlsx:Worldlink Lines"),
    ]


def _read_back(cells: list[Any]) -> list[Any]:
    """openpyxl writes floats with 16 digits."""
    return [float(f"{cell:.16g}") if isinstance(cell, float) else cell for cell in cells]


def test_a_formatted_blank_row_does_not_become_data_by_its_sheet_name(station: Station) -> None:
    write_workbook(station.workbook, rows("a"), others={"Worldlink Lines": [HEADER, *rows("b")]})
    styled = b'<row r="3"><c r="A3" s="1"/><c r="B3" s="1"/></row></sheetData>'
    edit_part(station.workbook, "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b"</sheetData>", styled))
    assert station.copy(settings=TWO).read == 2
    result = station.load()
    assert (result.read, result.rejected, station.titles()) == (2, 0, ["a", "b"])


@pytest.mark.parametrize("tag", [b"<sheetData/>", b"<sheetData />"])
def test_an_emptied_further_sheet_lacks_its_header_and_is_no_damaged_file(station: Station, tag: bytes) -> None:
    """3.1, section 6: the same as one that never had a cell."""
    write_workbook(station.workbook, rows("a"), others={"Worldlink Lines": []})
    edit_part(station.workbook, "xl/worksheets/sheet2.xml", lambda xml: re.sub(rb"<sheetData ?/>", tag, xml))
    with pytest.raises(ContractViolation, match=r"sheet 'Worldlink Lines', row 1: 'Bill Code' is missing"):
        station.copy(settings=TWO)


def test_a_further_sheet_with_more_columns_does_not_collide_with_the_sheet_name(station: Station) -> None:
    write_workbook(
        station.workbook,
        rows("a"),
        others={"Worldlink Lines": [[*HEADER, None, "Notes"], [*row(media="b"), None, "a note"]]},
    )
    station.copy(settings=TWO)
    assert [(each[28:], len(each)) for each in values_of(station.dated())] == [
        (("Market", None, None, "sheet_source"), 32),
        (("SFO", None, None, "Commercials"), 32),
        (("SFO", None, "a note", "Worldlink Lines"), 32),
    ]


def test_a_further_sheet_with_its_columns_in_another_order_is_refused(station: Station) -> None:
    """Section 8, 14: its cells would slip under the headers of the first sheet."""
    turned = [*HEADER[1:], HEADER[0]]
    write_workbook(station.workbook, rows("a"), others={"Worldlink Lines": [turned, [*row()[1:], "b"]]})
    with pytest.raises(ContractViolation, match="the columns of sheet 'Worldlink Lines' stand in another order"):
        station.copy(settings=TWO)
    assert station.files() == {}


def test_a_further_sheet_that_is_not_there_fails_and_the_sheets_are_listed(station: Station) -> None:
    write_workbook(station.workbook, rows("a"), others={"Pending": [HEADER]})
    with pytest.raises(
        ContractViolation, match="has no sheet 'Worldlink Lines'; its sheets are: 'Commercials', 'Pending'"
    ):
        station.copy(settings=TWO)
    assert station.files() == {}


@pytest.mark.parametrize("sheets", [("Worldlink Lines",), ("Worldlink Lines", "Commercials"), ("Commercials",) * 2])
def test_the_commercials_come_first_and_every_sheet_once_however_the_setting_reads(
    station: Station, sheets: tuple[str, ...]
) -> None:
    write_workbook(station.workbook, rows("a"), others={"Worldlink Lines": [HEADER, *rows("b")]})
    station.copy(settings=Settings(sheets=sheets))
    station.load()
    assert station.titles() == (["a", "b"] if "Worldlink Lines" in sheets else ["a"])


def test_the_same_sheets_give_the_same_bytes(station: Station, tmp_path: Path) -> None:
    write_workbook(station.workbook, rows("a"), others={"Worldlink Lines": [HEADER, *rows("b")]})
    copies = [tmp_path / "one.xlsx", tmp_path / "two.xlsx"]
    for each in copies:
        extract_sheets(station.workbook, each, TWO.sheets, name="x")
    assert copies[0].read_bytes() == copies[1].read_bytes()


# --- R5, R6, R9: publishing -----------------------------------------------------------------------------------------


def test_a_copy_is_published_with_its_sidecar_and_reported(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    """R5, R9, 4.2."""
    write_workbook(station.workbook, [*rows("a", "b"), [], *rows("c")], others={"Pending": [["x"]]})
    os.utime(station.workbook, (1_756_800_000, 1_756_800_000))
    with caplog.at_level(logging.INFO):
        result = station.copy()
    content = station.dated().read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    facts = dict(result.facts)
    assert [facts.pop(name) >= 0 for name in ("fetch from the share", "copy and verify")] == [True, True]
    assert (result.where, result.read, result.written, result.bytes, result.warnings) == (
        str(station.dated()),
        3,
        3,
        len(content),
        (),
    )
    assert facts == {"action": "created", "day": "2025-09-02", "sha256": sha256}
    assert sorted(station.files()) == [
        "raw/daily/Commercial Log 250902.xlsx",
        "raw/daily/Commercial Log 250902.xlsx.json",
    ]
    assert json.loads(station.dated().with_name("Commercial Log 250902.xlsx.json").read_text()) == {
        "rows": 3,
        "sha256": sha256,
        "size": len(content),
        "source": "K drive:/Traffic/Media Library/Commercial Log.xlsx",
        "source_mtime": 1_756_800_000.0,
    }
    assert caplog.messages[-2] == (
        f"100 % | created Commercial Log 250902.xlsx: 3 rows, 29 columns, {len(content):,} bytes, "
        "sheets of the source: Commercials, Pending"
    )
    assert caplog.messages[-1].startswith("SUCCESS | Duration: ")


def test_a_published_file_is_readable_by_the_group_and_nobody_else_whatever_the_umask(station: Station) -> None:
    """R6."""
    write_workbook(station.workbook, rows("a"))
    before = os.umask(0o077)
    try:
        station.copy()
    finally:
        os.umask(before)
    assert [oct(path.stat().st_mode & 0o777) for path in sorted(station.data.daily.iterdir())] == ["0o640", "0o640"]


def test_the_same_content_leaves_the_file_as_it_is(station: Station) -> None:
    """R6: not even when the workbook was saved again."""
    write_workbook(station.workbook, rows("a", "b"), others={"Pending": [["x"]]})
    station.copy()
    before = (station.dated().stat().st_ino, station.dated().stat().st_mtime_ns)
    edit_part(station.workbook, "xl/worksheets/sheet2.xml", lambda xml: xml.replace(b"<t>x</t>", b"<t>changed</t>"))
    edit_part(station.workbook, "docProps/core.xml", lambda xml: xml.replace(b"openpyxl", b"somebody"))
    result = station.copy()
    assert (station.dated().stat().st_ino, station.dated().stat().st_mtime_ns) == before
    assert (result.facts["action"], result.written, result.warnings) == ("unchanged", 0, ())


def test_new_content_of_the_same_day_replaces_the_file_with_a_warning(station: Station) -> None:
    """R6."""
    write_workbook(station.workbook, rows("a", "b"))
    station.copy()
    write_workbook(station.workbook, rows("a", "b", "c"))
    result = station.copy()
    assert (result.facts["action"], result.read, data_rows_of(station.dated())) == ("replaced", 3, 3)
    assert result.warnings == (
        "Commercial Log 250902.xlsx existed already; it was replaced by the workbook saved since.",
    )


def test_names_that_look_like_dated_workbooks_are_warned_about_and_left(station: Station) -> None:
    """Section 6."""
    write_workbook(station.workbook, rows("a"))
    station.data.daily.mkdir(parents=True)
    for name in ("Commercial Log 250902 (1).xlsx", "commercial log 250902.xlsx"):
        (station.data.daily / name).write_bytes(b"?")
    warnings = station.copy().warnings
    assert [each.split(" looks like ")[0] for each in warnings] == [
        str(station.data.daily / "Commercial Log 250902 (1).xlsx"),
        str(station.data.daily / "commercial log 250902.xlsx"),
    ]
    assert list(list_dated(station.data.daily)) == [DAY]


# --- R6: what is told without reading every cell ---------------------------------------------------------------------

STRINGS = (
    "<si><t>text</t></si><si><t> </t></si><si><t/></si><si/><si><t>&#160;</t></si><si><t>_x000D_</t></si>"
    "<si><r><t> </t></r><r><t>run</t></r></si><si><t> </t><rPh sb='0' eb='1'><t>spoken</t></rPh></si>"
)
# A cell of column %s each; whether it holds data.
PLAIN = {
    **{f'<c r="%s" t="s"><v>{number}</v></c>': number in (0, 6) for number in range(8)},
    '<c r="%s"/>': False,
    '<c r="%s" s="1" t="n"/>': False,
    '<c r="%s"></c>': False,
    '<c r="%s"><v>0</v></c>': True,
    '<c r="%s" s="1" t="n"><v>-1.5E-07</v></c>': True,
    '<c r="%s"><f>1+1</f></c>': False,
    '<c r="%s"><f>1+1</f><v>2</v></c>': True,
    '<c r="%s"><f t="shared" si="0"/><v>2</v></c>': True,
    '<c r="%s" t="b"><v>0</v></c>': True,
    '<c r="%s" t="e"><v>#DIV/0!</v></c>': True,
    '<c r="%s" t="str"><f>A1</f><v></v></c>': False,
    '<c r="%s" t="str"><f>A1</f><v> &#10;</v></c>': False,
    '<c r="%s" t="str"><f>A1</f><v>\u00a0</v></c>': False,
    '<c r="%s" t="inlineStr"><is><t xml:space="preserve"> Việt &amp; </t></is></c>': True,
    '<c r="%s" t="inlineStr"><is><t>_x000A_</t></is></c>': False,
}
# Nothing wrong with most of them, but they need a reader.
OTHERS = [
    "<c><v>1</v></c>",
    '<c r="A9"><v>1</v></c>',
    '<c r="%s"><v></v></c>',
    '<c r="%s"><v>1,5</v></c>',
    '<c r="%s" t="s"><v>8</v></c>',
    '<c r="%s" t="b"><v>2</v></c>',
    '<c r="%s" t="e"><v>#OOPS!</v></c>',
    '<c r="%s" t="d"><v>2025-09-02</v></c>',
    '<c r="%s" t="inlineStr"><is><r><t>run</t></r></is></c>',
    '<c r="%s" t="inlineStr"><is><t>&oops;</t></is></c>',
    ' <c r="%s"><v>1</v></c>',
    '<c r="%s"><f t="shared" si="0>"/><v>2</v></c>',
    "<!-- nothing -->",
]


def placed(lines: Sequence[tuple[int, dict[int, str]]], head: Sequence[str] = HEADER) -> str:
    """The XML of a sheet: its header, below it rows by Excel number with cells by 0-based column."""
    cells = (
        f'<c r="{column_letters(at)}1" t="inlineStr"><is><t>{escape(name)}</t></is></c>' for at, name in enumerate(head)
    )
    body = [f'<row r="1" spans="1:29">{"".join(cells)}</row>']
    for number, line in lines:
        text = "".join(cell.replace("%s", f"{column_letters(at)}{number}") for at, cell in sorted(line.items()))
        body.append(f'<row r="{number}" spans="1:29">{text}</row>' if text else f'<row r="{number}"/>')
    return "".join(body)


def extracted_plain(folder: Path, body: str) -> tuple[Path, PlainSheet | None]:
    source, copy = folder / "source.xlsx", folder / "copy.xlsx"
    with zipfile.ZipFile(source, "w") as package:
        for name, text in package_parts({"Commercials": body}, strings=STRINGS).items():
            package.writestr(name, text)
    return copy, extract_sheets(source, copy, ["Commercials"], name="x").plain


@pytest.mark.parametrize("cell", PLAIN)
def test_whether_a_plain_cell_holds_data_needs_no_reader(tmp_path: Path, cell: str) -> None:
    copy, plain = extracted_plain(tmp_path, placed([(2, {1: cell}), (3, {29: cell}), (5, {})]))
    assert plain is not None
    assert (plain.header(), plain.count_rows(range(29))) == ([*HEADER], PLAIN[cell])
    assert read_sheet(copy).data_rows == PLAIN[cell]


@pytest.mark.parametrize("cell", OTHERS)
def test_a_cell_out_of_the_ordinary_is_left_to_a_reader(tmp_path: Path, cell: str) -> None:
    assert extracted_plain(tmp_path, placed([(2, {1: cell})]))[1] is None


@pytest.mark.parametrize(
    "body",
    [
        placed([(3, {0: "<c/>"}), (2, {})]).replace("<c/>", ""),
        placed([(2, {}), (2, {})]),
        placed([]).replace('r="1"', 'r="2"').replace('1" t', '2" t'),
        placed([(2, {})]).replace("<row", "\n<row"),
        placed([(2, {})]).replace(' r="2"', ""),
        placed([(2, {0: "<c/>"})]).replace("<c/>", "").replace('2" spans="', '2" spans='),
        "",
    ],
)
def test_rows_out_of_order_are_left_to_a_reader(tmp_path: Path, body: str) -> None:
    assert extracted_plain(tmp_path, body)[1] is None


@given(
    lines=st.lists(
        st.dictionaries(st.integers(0, 30), st.sampled_from([*PLAIN, *PLAIN, *OTHERS]), max_size=3), max_size=6
    ),
    numbers=st.lists(st.integers(2, 12), min_size=6, max_size=6, unique=True).map(sorted),
    head=st.sampled_from([HEADER, HEADER, HEADER, [*HEADER[::-1], "", "Notes"], HEADER[1:], [*HEADER, "Lang."]]),
)
def test_header_and_rows_are_those_a_reader_finds(
    lines: list[dict[int, str]], numbers: list[int], head: Sequence[str]
) -> None:
    """R6, R7: whatever stands in the cells, the count is that of the update, or the same refusal."""
    body = placed(list(zip(numbers, lines, strict=False)), head)
    outcomes: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            copy, plain = extracted_plain(Path(folder), body)
        except SourceChanging:  # no XML
            return
        for look in (lambda: read_sheet(copy, name="x"), lambda: outline(copy, plain, name="x")):
            try:
                found = look()
            except ContractViolation as error:
                outcomes.append(str(error))
            else:
                outcomes.append((found.header, found.data_rows))
    assert outcomes[0] == outcomes[1]


# --- R10: only today ------------------------------------------------------------------------------------------------


@contextmanager
def unreachable() -> Iterator[Share]:
    """A share whose server does not answer."""
    raise SourceUnavailable("Cannot reach the server of K drive.", next_step="Check VPN.")
    yield


def test_a_past_day_that_has_its_file_is_a_success_and_the_share_is_not_asked(station: Station) -> None:
    station.put(rows("a", "b"), DAY - ONE_DAY)
    before = (station.files(), station.dated(DAY - ONE_DAY).stat().st_mtime_ns)
    result = copy_workbook(unreachable(), station.data, day=DAY - ONE_DAY, today=DAY, settings=Settings())
    assert (result.facts, result.read, result.written) == ({"action": "kept", "day": "2025-09-01"}, 2, 0)
    assert (station.files(), station.dated(DAY - ONE_DAY).stat().st_mtime_ns) == before


def test_a_past_day_without_file_cannot_be_made(station: Station) -> None:
    write_workbook(station.workbook, rows("today"))
    with pytest.raises(StaleInput) as refused:
        station.copy(DAY - ONE_DAY, today=DAY)
    assert refused.value.what == (
        "commercial_log: there is no Commercial Log 250901.xlsx and the workbook on the share only holds the current "
        "state, not that of 2025-09-01."
    )
    assert station.files() == {}


def test_a_day_to_come_cannot_be_made(station: Station) -> None:
    write_workbook(station.workbook, rows("today"))
    with pytest.raises(RequestRefused, match=r"2025-09-03 has not begun in its time zone \(today is 2025-09-02\)"):
        station.copy(DAY + ONE_DAY, today=DAY)
    assert station.files() == {}


# --- R7: what is never published ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sidecar", ["none", "kept", "of another file", "unreadable"])
@pytest.mark.parametrize(("count", "passes"), [(3, False), (4, True)])
def test_fewer_than_half_of_the_earlier_rows_are_refused(
    station: Station,
    sidecar: str,
    count: int,
    passes: bool,  # noqa: FBT001
) -> None:
    """R7: the newest earlier dated file counts, not one of the same or a later day."""
    station.put(rows("a"), DAY - 3 * ONE_DAY)
    write_workbook(station.workbook, rows(*"abcdefg"))
    station.copy(DAY - ONE_DAY)
    station.put(rows(*"abcdefghijklmnop"), DAY + ONE_DAY)
    note = station.dated(DAY - ONE_DAY).with_name("Commercial Log 250901.xlsx.json")
    if sidecar == "none":
        note.unlink()
    elif sidecar == "of another file":
        note.write_text(json.dumps(json.loads(note.read_text()) | {"rows": 100, "sha256": "0"}))
    elif sidecar == "unreadable":
        note.write_text('{"rows": ')
    write_workbook(station.workbook, rows(*"abcdefg"[:count]))
    before = station.files()
    if passes:
        assert station.copy().read == count
        return
    with pytest.raises(ContractViolation) as refused:
        station.copy()
    assert refused.value.what == (
        "K drive:/Traffic/Media Library/Commercial Log.xlsx, sheet 'Commercials' has 3 data rows, fewer than half of "
        "the 7 in Commercial Log 250901.xlsx; Commercial Log 250902.xlsx was not written."
    )
    assert "allow_shrink" in refused.value.next_step
    assert station.files() == before
    assert station.copy(allow_shrink=True).read == 3


def test_a_damaged_earlier_file_does_not_stop_today(station: Station) -> None:
    """R7: the guard compares with the newest earlier file that can be read, and says which one cannot."""
    station.put(rows(*"abcdefg"), DAY - timedelta(days=2))
    damaged = station.data.daily / f"Commercial Log {DAY - timedelta(days=1):%y%m%d}.xlsx"
    damaged.write_bytes(b"PK\x03\x04 cut off")
    write_workbook(station.workbook, rows("a", "b", "c"))
    with pytest.raises(ContractViolation, match="fewer than half of the 7"):
        station.copy()
    write_workbook(station.workbook, rows(*"abcd"))
    result = station.copy()
    assert (result.read, [str(damaged) in text for text in result.warnings]) == (4, [True])


def test_the_first_file_ever_has_nothing_to_shrink_from(station: Station) -> None:
    write_workbook(station.workbook, rows("a"))
    assert station.copy().read == 1


@pytest.mark.parametrize("allow_shrink", [False, True])
@pytest.mark.parametrize("cells", [[], [[], [" ", "\t"]]])
def test_a_sheet_without_data_rows_is_never_published(
    station: Station,
    cells: list[list[Any]],
    allow_shrink: bool,  # noqa: FBT001
) -> None:
    """R7: the override is for a smaller file, an empty one is of no use to stage 2."""
    write_workbook(station.workbook, rows("a"))
    station.copy()
    before = station.files()
    write_workbook(station.workbook, cells)
    with pytest.raises(ContractViolation, match="sheet 'Commercials' has no data rows"):
        station.copy(allow_shrink=allow_shrink)
    assert station.files() == before


def test_a_missing_header_is_named_with_the_workbook_of_the_share(station: Station) -> None:
    write_workbook(station.workbook, [row()[:-1]], header=HEADER[:-1])
    with pytest.raises(ContractViolation) as refused:
        station.copy()
    assert refused.value.what == (
        "K drive:/Traffic/Media Library/Commercial Log.xlsx, sheet 'Commercials', row 1: "
        "'Market' is missing (column AC holds nothing)."
    )
    assert station.files() == {}


def test_unknown_columns_are_copied_and_warned_about(station: Station) -> None:
    """3.2."""
    write_workbook(station.workbook, [[*row(), "x", "y"]], header=[*HEADER, "Notes", "Second\nnotes"])
    assert station.copy().warnings == (
        "K drive:/Traffic/Media Library/Commercial Log.xlsx: "
        "columns outside the contract are ignored: Notes, Second\nnotes.",
    )
    assert cells_of(station.dated()) == cells_of(station.workbook)


# --- the share ------------------------------------------------------------------------------------------------------


def test_the_path_is_found_in_whatever_case_the_share_spells_it(station: Station) -> None:
    """3.1."""
    write_workbook(station.share.root / "TRAFFIC" / "Media library" / "commercial log.XLSX", rows("a"))
    (station.share.root / "Traffic" / "Media Library").rmdir()
    (station.share.root / "Traffic").rmdir()
    assert resolve(station.share, "Traffic/Media Library/Commercial Log.xlsx") == (
        "TRAFFIC/Media library/commercial log.XLSX"
    )
    station.copy()
    assert list(list_dated(station.data.daily)) == [DAY]


def test_the_exact_spelling_wins_over_another_case(station: Station) -> None:
    for name in ("a.txt", "A.TXT", "A.txt"):
        (station.share.root / name).touch()
    assert [resolve(station.share, name) for name in ("A.txt", "a.txt", "a.TXT")] == ["A.txt", "a.txt", "A.TXT"]


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("Traffic", "K drive: 'Traffic' not found in '/'; it holds: Archive, sub."),
        ("Traffic/Media Library", "K drive: 'Media Library' not found in '/Traffic'; it holds: nothing."),
        (
            "Traffic/Media Library/Commercial Log.xlsx",
            "K drive: 'Commercial Log.xlsx' not found in '/Traffic/Media Library'; it holds: ~$Commercial Log.xlsx.",
        ),
    ],
)
def test_the_part_of_the_path_that_is_not_there_is_named(station: Station, gone: str, told: str) -> None:
    """Section 6."""
    write_workbook(station.workbook, rows("a"))
    station.workbook.with_name("~$Commercial Log.xlsx").touch()
    (station.share.root / "Archive").mkdir()
    path = station.share.root / gone
    path.rename(station.path.with_name("gone"))
    if gone == "Traffic":
        (station.share.root / "sub").mkdir()
    with pytest.raises(SourceMissing) as missing:
        station.copy()
    assert missing.value.what == told
    assert station.files() == {}


def test_a_share_that_is_not_mounted_is_missing(station: Station, tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="K drive: 'the root folder' is gone"):
        resolve(LocalShare("K drive", tmp_path / "nowhere"), "Traffic")


def test_the_lock_file_of_excel_alone_is_no_error(station: Station) -> None:
    """R8."""
    write_workbook(station.workbook, rows("a"))
    station.workbook.with_name("~$Commercial Log.xlsx").write_bytes(b"\x03ann")
    assert station.copy().read == 1


class SavedMeanwhile(LocalShare):
    """Somebody saves the file right after it was opened."""

    def open(self, path: str) -> BinaryIO:
        stream = super().open(path)
        target = self.root / path
        os.utime(target, (target.stat().st_atime, target.stat().st_mtime + 2))
        return stream


class GrownMeanwhile(LocalShare):
    """Somebody writes to the file while it is read."""

    def open(self, path: str) -> BinaryIO:
        stream = super().open(path)
        target = self.root / path
        stat = target.stat()
        with target.open("ab") as end:
            end.write(b"more")
        os.utime(target, (stat.st_atime, stat.st_mtime))
        return stream


@pytest.mark.parametrize("kind", [SavedMeanwhile, GrownMeanwhile])
def test_a_workbook_that_is_saved_while_it_is_read_is_tried_again(station: Station, kind: type[LocalShare]) -> None:
    """R8."""
    write_workbook(station.workbook, rows("a"))
    station.copy()
    write_workbook(station.workbook, rows("b", "c"))
    before = station.files()
    share = kind(station.share.name, station.share.root)
    with pytest.raises(
        SourceChanging, match=r"'Traffic/Media Library/Commercial Log\.xlsx' was written to while it was"
    ):
        Station(station.data, share, station.path).copy()
    assert station.files() == before


@dataclass(frozen=True)
class ReplacedMeanwhile(LocalShare):
    """Somebody saves with Excel, which puts another file in the place of the old one: for a moment there is none."""

    gone_at: str

    def stat(self, path: str) -> os.stat_result:
        if self.gone_at == "stat":
            (self.root / path).unlink()
        return super().stat(path)

    def open(self, path: str) -> BinaryIO:
        if self.gone_at == "open":
            (self.root / path).unlink()
        stream = super().open(path)
        if self.gone_at == "read":
            (self.root / path).unlink()
        return stream


@pytest.mark.parametrize("gone_at", ["stat", "open", "read"])
def test_a_workbook_that_is_gone_after_it_was_found_is_tried_again(station: Station, gone_at: str) -> None:
    """R8; one that stays away is missing by the next try."""
    write_workbook(station.workbook, rows("a"))
    share = ReplacedMeanwhile(station.share.name, station.share.root, gone_at)
    with pytest.raises(SourceChanging, match=r"'Traffic/Media Library/Commercial Log\.xlsx' was there and is gone"):
        Station(station.data, share, station.path).copy()
    with pytest.raises(SourceMissing, match=r"'Commercial Log\.xlsx' not found in '/Traffic/Media Library'"):
        Station(station.data, share, station.path).copy()
    assert station.files() == {}


class LostMeanwhile(LocalShare):
    """The connection breaks in the middle of the file."""

    def open(self, path: str) -> BinaryIO:
        with super().open(path) as stream:
            return _Lost(stream.read()[:100])


class _Lost(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if data := super().read(size):
            return data
        raise ConnectionResetError("reset by peer")


def test_a_server_that_cannot_be_reached_is_a_failed_run_in_the_journal(station: Station) -> None:
    """R1, R52: the most frequent failure of all stands where operators and the status report look for it."""
    with pytest.raises(SourceUnavailable, match="Cannot reach the server of K drive"):
        copy_workbook(unreachable(), station.data, day=DAY, today=DAY, settings=Settings())
    [line] = read_journal(station.data.logs, JOB)
    assert (line.state, line.day, line.transient) == ("FAILED", str(DAY), True)
    assert line.detail == "ERROR Cannot reach the server of K drive. | may pass"
    assert station.files() == {}


def test_a_connection_lost_in_the_middle_of_the_file_is_transient(station: Station, tmp_path: Path) -> None:
    write_workbook(station.workbook, rows("a"))
    share = LostMeanwhile(station.share.name, station.share.root)
    with pytest.raises(SourceUnavailable, match=r"broke off \(ConnectionResetError: reset by peer\)"):
        fetch(share, "Traffic/Media Library/Commercial Log.xlsx", tmp_path / "x")
    with pytest.raises(SourceUnavailable):
        Station(station.data, share, station.path).copy()
    assert station.files() == {}


# --- R6, R51: killed, twice at once, disk full ----------------------------------------------------------------------

CHILD = """
import os, signal, sys
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.extract import copy_workbook
from include.common.shares import LocalShare

root, share, action, number = sys.argv[1:]
renames = 0

def hook(event, arguments):
    global renames
    if event == "os.rename":
        renames += 1
        if renames == int(number):
            if action == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            print("inside", flush=True)
            sys.stdin.readline()

sys.addaudithook(hook)
day = date(2025, 9, 2)
drive = nullcontext(LocalShare("K drive", Path(share)))
copy_workbook(drive, DataRoot(Path(root)), day=day, today=day, settings=Settings())
"""


@contextmanager
def child(station: Station, action: str, number: int) -> Iterator[subprocess.Popen[str]]:
    """An import in another process that dies or stops right before it renames its ``number``-th file."""
    command = [sys.executable, "-c", CHILD, str(station.data.root), str(station.share.root), action, str(number)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("existed", [False, True])
def test_an_import_killed_before_the_rename_leaves_the_old_file_and_the_next_one_succeeds(
    station: Station,
    existed: bool,  # noqa: FBT001
) -> None:
    """R6: a reader never sees a partial file."""
    if existed:
        write_workbook(station.workbook, rows("old"))
        station.copy()
    before = station.files()
    write_workbook(station.workbook, rows("new", "er"))
    with child(station, "die", 1) as process:
        assert process.wait(30) == -9, process.stderr and process.stderr.read()
    left = station.files()
    assert left.pop("raw/daily/.Commercial Log 250902.xlsx.tmp")
    assert left == before
    assert list(list_dated(station.data.daily)) == ([DAY] if existed else [])
    assert station.copy().facts["action"] == ("replaced" if existed else "created")
    assert sorted(station.files()) == [
        "raw/daily/Commercial Log 250902.xlsx",
        "raw/daily/Commercial Log 250902.xlsx.json",
    ]


def test_an_import_killed_between_file_and_sidecar_is_complete_for_every_reader(station: Station) -> None:
    write_workbook(station.workbook, rows("old"))
    station.copy()
    write_workbook(station.workbook, rows("new", "er"))
    with child(station, "die", 2) as process:
        assert process.wait(30) == -9
    assert read_sheet(station.dated()).data_rows == data_rows_of(station.dated()) == 2
    result = station.copy()
    assert (result.facts["action"], result.warnings) == ("unchanged", ())
    assert json.loads(station.files()["raw/daily/Commercial Log 250902.xlsx.json"])["rows"] == 2


def test_a_second_import_at_the_same_time_is_refused_and_the_first_goes_on(station: Station) -> None:
    """R51."""
    write_workbook(station.workbook, rows("a"))
    with child(station, "wait", 1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        with pytest.raises(AlreadyRunning, match=rf"commercial_log_import \(process {process.pid}\) holds files"):
            station.copy()
        with pytest.raises(StoreBusy, match="commercial_log_update has to wait"):
            station.load(rows("b"), DAY - ONE_DAY)
        assert list(list_dated(station.data.daily)) == [DAY - ONE_DAY]
        assert process.communicate("go on\n", timeout=120) == ("", "")
    assert process.returncode == 0
    assert list(list_dated(station.data.daily)) == [DAY - ONE_DAY, DAY]


FULL = """
import sys
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.extract import copy_workbook
from include.common.shares import LocalShare
from include.errors import StoreFull

root, share = map(Path, sys.argv[1:])
day, data = date(2025, 9, 2), DataRoot(root)
old = data.daily / "Commercial Log 250902.xlsx"
old.write_bytes(b"the old file")
try:
    copy_workbook(nullcontext(LocalShare("K drive", share)), data, day=day, today=day, settings=Settings())
except StoreFull as error:
    print(error.what)
print(sorted(path.name for path in data.daily.iterdir()), old.read_bytes())
"""


def _private_mounts() -> list[str] | None:
    """A command that runs another with mounts of its own, None where the machine does not allow that."""
    for command in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        probe = [*command, "sh", "-c", "mount -t tmpfs none /mnt"]
        try:
            if subprocess.run(probe, capture_output=True, timeout=120, check=False).returncode == 0:
                return command
        except OSError:
            return None
    return None


def test_a_full_disk_fails_the_import_and_leaves_the_old_file_alone(station: Station) -> None:
    """Section 6."""
    command = _private_mounts()
    if command is None:
        pytest.skip("a small disk of its own needs the right to mount one")
    noise = random.Random(1)
    write_workbook(station.workbook, rows(*(noise.randbytes(400).hex() for _ in range(200))))
    station.data.daily.mkdir(parents=True)
    script = 'mount -t tmpfs -o size=32k none "$1" && exec "$2" -c "$3" "$4" "$5"'
    arguments = [station.data.daily, sys.executable, FULL, station.data.root, station.share.root]
    done = subprocess.run(
        [*command, "sh", "-c", script, "sh", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, re.sub(r"\d\.\ds", "0.0s", done.stderr)) == (
        f"No space left for Commercial Log 250902.xlsx in {station.data.daily}; nothing was changed.\n"
        "['Commercial Log 250902.xlsx'] b'the old file'\n",
        f"FAILED | Duration: 0.0s | ERROR No space left for Commercial Log 250902.xlsx in {station.data.daily}; "
        "nothing was changed.\n",
    )
