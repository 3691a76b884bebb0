"""Makes the bad workbooks beside this file; the name of each says what is wrong with it.

    python -m tests.corpus.commercial_log.make_corpus

Equal runs make equal files.
"""

# ruff: noqa: DTZ001 - cells have no time zone

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from include.common.xlsx import column_letters
from tests.unit.commercial_log_helpers import HEADER, package_parts, row, rows

FOLDER = Path(__file__).parent
EPOCH = datetime(1899, 12, 30)
AUGUST = {"broadcast_month": datetime(2025, 8, 1), "air_date": datetime(2025, 8, 20)}
OCTOBER = {"broadcast_month": datetime(2025, 10, 1), "air_date": datetime(2025, 10, 1)}


@dataclass(frozen=True)
class Formula:
    """A formula, perhaps with what it was calculated to."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Failed:
    """A cell that shows an error of Excel."""

    text: str


def corpus() -> dict[str, bytes]:
    """The content of every file by its name without ``.xlsx``."""
    good = workbook(rows(*"abcdef"))
    return {
        # no workbook at all
        "zero bytes": b"",
        "nothing but zeros": b"\0" * 4096,
        "html error page": b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head></html>\n",
        "encrypted with a password": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1528 + b"EncryptedPackage",
        "comma separated text": (",".join(HEADER) + "\nNorth Media:Blue Farms,8/28/2025\n").encode(),
        "truncated zip": good[: len(good) * 2 // 3],
        "damaged in the middle": _damaged(good),
        "a zip without workbook": _zip({"readme.txt": "no workbook"}),
        "a sheet that is no xml": _zip({**_parts({"Commercials": [HEADER]}), "xl/worksheets/sheet1.xml": "<worksheet"}),
        # the wrong sheet
        "renamed sheet": workbook(rows(*"ab"), sheet="Commercial"),
        "sheet in other case": workbook(rows(*"ab"), sheet="COMMERCIALS"),
        # the wrong header
        "header missing": workbook([each[:-1] for each in rows(*"ab")], header=HEADER[:-1]),
        "header renamed": workbook(rows(*"ab"), header=[*HEADER[:15], "Rate", *HEADER[16:]]),
        "header doubled": workbook([[*each, "V"] for each in rows(*"ab")], header=[*HEADER, "Lang."]),
        "no header row": workbook(rows(*"ab")[1:], header=rows("a")[0]),
        "title above the header": workbook([list(HEADER), *rows(*"ab")], header=["Commercial Log"]),
        "empty sheet": workbook([], header=[]),
        "emptied sheet": _emptied(),
        # too little
        "zero rows": workbook([]),
        "blank rows only": workbook([[" ", "\t"], [], [None, ""]]),
        "halved rows": workbook(rows(*"ab")),
        # months
        "no month at all": workbook(rows(*"abc", broadcast_month=None)),
        "months as words": workbook(rows(*"abc", broadcast_month="September")),
        "month as text": workbook(
            [*rows("a", broadcast_month="Sep-25"), *rows("b", broadcast_month=" sep-25 "), *rows("c")]
        ),
        "bad month": workbook([*rows(*"ab"), *rows("c", broadcast_month="Sept."), *rows("d", broadcast_month=9)]),
        "month of another century": workbook([*rows(*"ab"), *rows("c", broadcast_month=datetime(1925, 9, 1))]),
        "all rows of one open month bad": workbook([*rows(*"ab"), *rows("x", "y", **OCTOBER | {"air_date": "soon"})]),
        "closed month only": workbook(rows(*"ab", **AUGUST)),
        # rows
        "bad date": workbook(
            [*rows(*"ab"), *rows("c", air_date="31/31/2025"), *rows("d", air_date=None), *rows("e", air_date=1)]
        ),
        "bad money": workbook([*rows(*"ab"), *rows("c", gross_rate="12O.00"), *rows("d", station_net="see contract")]),
        "missing bill code": workbook([*rows(*"ab"), *rows("c", bill_code=" ")]),
        "total row at the end": workbook([*rows(*"ab"), [], [None] * 15 + [Formula("SUM(P2:P3)", 170.0)]]),
        "too many rejects": workbook([*rows(*"abcdefgh"), *(row(bill_code=None) for _ in range(21))]),
        "trade rows only": workbook(rows(*"ab", revenue_type=" TRADE ")),
        # cells
        "errors of excel": workbook(
            [
                *rows("a", comments=Failed("#N/A"), market_name=Failed("#REF!")),
                *rows("b", gross_rate=Failed("#DIV/0!")),
                *rows("c", broadcast_month=Failed("#VALUE!")),
            ]
        ),
        "formula without value": workbook(
            [*rows("a", gross_rate=Formula("40+45")), *rows("b", gross_rate=Formula("1+1", 2))]
        ),
        "tick box in the money column": workbook([*rows("a"), *rows("b", gross_rate=True)]),
        "bad times": workbook([*rows("a", time_in="6a-12p", time_out=timedelta(hours=25), length_seconds=":30")]),
        "unknown type": workbook(rows("a", spot_type="Promo")),
        "unknown flags": workbook(rows("a", billing_type="weekly", affidavit_flag="mailed 9/4")),
        "unknown language": workbook(
            [*rows("a", language_code="M,V"), *rows("b", language_code="13"), *rows("c", language_code="L")]
        ),
        "suspicious market": workbook(rows("a", market_name="SFO; LAX")),
        "unknown customer": workbook(rows("a", bill_code="Who:Nobody")),
        "numbers that are none": workbook(rows("a", line_number="3a", sequence_number=1.5, priority=1e300)),
        "month that does not fit": workbook(rows("a", **OCTOBER | {"air_date": datetime(2025, 9, 3)})),
        "unknown columns": workbook([[*row(media="a"), None, "asked"]], header=[*HEADER, None, "Notes of ann"]),
    }


def workbook(lines: Sequence[Sequence[Any]], *, header: Sequence[Any] = HEADER, sheet: str = "Commercials") -> bytes:
    """A workbook with the sheet and another one before it."""
    return _zip(_parts({"Worldlink Lines": [["line"]], sheet: [header, *lines]}))


def _parts(sheets: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, str]:
    return package_parts({name: "".join(_rows(lines)) for name, lines in sheets.items()})


def _rows(lines: Sequence[Sequence[Any]]) -> list[str]:
    return [
        f'<row r="{number}">'
        + "".join(_cell(f"{column_letters(at)}{number}", cell) for at, cell in enumerate(line) if cell is not None)
        + "</row>"
        for number, line in enumerate(lines, 1)
    ]


def _cell(reference: str, cell: Any) -> str:
    at = f'r="{reference}"'
    if isinstance(cell, str):
        return f'<c {at} t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
    if isinstance(cell, bool):
        return f'<c {at} t="b"><v>{cell:d}</v></c>'
    if isinstance(cell, Failed):
        return f'<c {at} t="e"><v>{cell.text}</v></c>'
    if isinstance(cell, Formula):
        return f"<c {at}><f>{cell.text}</f>{'' if cell.value is None else f'<v>{cell.value}</v>'}</c>"
    if isinstance(cell, datetime):
        style = 4 if cell.day == 1 else 1
        return f'<c {at} s="{style}"><v>{(cell - EPOCH) / timedelta(days=1):g}</v></c>'
    if isinstance(cell, time):
        seconds = timedelta(hours=cell.hour, minutes=cell.minute, seconds=cell.second)
        return f'<c {at} s="3"><v>{seconds / timedelta(days=1)!r}</v></c>'
    if isinstance(cell, timedelta):
        return f'<c {at} s="2"><v>{cell / timedelta(days=1)!r}</v></c>'
    return f"<c {at}><v>{cell!r}</v></c>"


def _emptied() -> bytes:
    """All cells deleted in Excel; how the sheet is printed stays."""
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    settings = "../printerSettings/printerSettings1.bin"
    parts = _parts({"Commercials": []})
    sheet = parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = sheet.replace(
        "<sheetData></sheetData>", f'<sheetData/><pageSetup paperSize="9" r:id="rId1" xmlns:r="{relation}"/>'
    )
    return _zip(
        {
            **parts,
            "xl/worksheets/_rels/sheet1.xml.rels": f'<Relationships xmlns="{package}"><Relationship Id="rId1" '
            f'Type="{relation}/printerSettings" Target="{settings}"/></Relationships>',
            "xl/printerSettings/printerSettings1.bin": "a printer",
        }
    )


def _zip(parts: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for name, text in parts.items():
            package.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _damaged(content: bytes) -> bytes:
    """The same with some bytes of the sheet lost."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        info = package.getinfo("xl/worksheets/sheet2.xml")
    middle = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    return content[:middle] + b"\0" * 16 + content[middle + 16 :]


def main() -> None:
    for old in FOLDER.glob("*.xlsx"):
        old.unlink()
    for name, content in corpus().items():
        (FOLDER / f"{name}.xlsx").write_bytes(content)


if __name__ == "__main__":
    main()
