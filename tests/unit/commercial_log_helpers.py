"""What the tests of the commercial log share: one proper row, small workbooks, a station to run the steps in."""

# ruff: noqa: DTZ001 - cells have no time zone

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import openpyxl

from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.contract import COLUMNS, POSITION, HeaderMap
from include.commercial_log.database import TABLES, open_database
from include.commercial_log.extract import copy_workbook
from include.commercial_log.load import load_bookings
from include.commercial_log.workbook import SheetRows, dated_name
from include.common.results import StepResult
from include.common.shares import LocalShare

DAY = date(2025, 9, 2)
# 01:30 of that day at the station.
NOW = datetime(2025, 9, 2, 8, 30, tzinfo=UTC)
BATCH = "weekly_update_1756801800"
HEADER = tuple(column.header for column in COLUMNS)

CELLS: dict[str, Any] = {
    "bill_code": "North Media:Blue Farms",
    "air_date": datetime(2025, 9, 3),
    "end_date": datetime(2025, 9, 3),
    "day_of_week": "Wednesday",
    "time_in": time(6),
    "time_out": time(23, 59),
    "length_seconds": timedelta(seconds=30),
    "media": "Blue Farms Fall 1",
    "comments": None,
    "language_code": "V",
    "format": "Evening News",
    "sequence_number": 1,
    "line_number": 3,
    "spot_type": "Com",
    "estimate": "E-20418",
    "gross_rate": 85.0,
    "make_good": None,
    "spot_value": 85.0,
    "broadcast_month": datetime(2025, 9, 1),
    "broker_fees": None,
    "priority": 2,
    "station_net": 72.25,
    "sales_person": "House",
    "revenue_type": "Internal Ad Sales",
    "billing_type": "Broadcast",
    "agency_flag": "Agency",
    "affidavit_flag": "N",
    "contract": 41873,
    "market_name": "SFO",
}
# What the database holds of that row.
STORED: dict[str, Any] = {
    **CELLS,
    "air_date": "2025-09-03",
    "end_date": "2025-09-03",
    "day_of_week": "wednesday",
    "time_in": "06:00:00",
    "time_out": "23:59:00",
    "length_seconds": "00:00:30",
    "spot_type": "COM",
    "broadcast_month": "Sep-25",
    "contract": "41873",
}


def row(**changes: Any) -> list[Any]:
    """The 29 cells of a proper row, in the order of the sheet, with some of them changed by column name."""
    assert changes.keys() <= CELLS.keys()
    return list((CELLS | changes).values())


def rows(*media: str, **changes: Any) -> list[list[Any]]:
    """One proper row per title."""
    return [row(media=title, **changes) for title in media]


def stored(**changes: Any) -> tuple[Any, ...]:
    """The 29 stored values of a proper row with some of them changed."""
    assert changes.keys() <= STORED.keys()
    return tuple((STORED | changes).values())


def sheet_of(*cells: Sequence[Any], sheet: str = "Commercials", file: str = "Commercial Log 250902.xlsx") -> SheetRows:
    """Rows as they come out of a workbook with the 29 columns in order: empty cells are ``""``."""
    header = HeaderMap(tuple(range(len(COLUMNS))), None, ())
    return SheetRows(file, sheet, header, [["" if cell is None else cell for cell in each] for each in cells])


def write_workbook(
    path: Path,
    cells: Iterable[Sequence[Any]],
    *,
    header: Sequence[Any] = HEADER,
    sheet: str = "Commercials",
    others: Mapping[str, Iterable[Sequence[Any]]] | None = None,
) -> Path:
    """A workbook with the header and the rows below it; ``others`` are further sheets, rows with their headers."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, content in {sheet: [header, *cells], **(others or {})}.items():
        page = book.create_sheet(name)
        for line in content:
            page.append(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    book.close()
    return path


_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
# Cell formats: 0 general, 1 m/d/yyyy, 2 [h]:mm:ss, 3 h:mm:ss, 4 mmm-yy.
_STYLES = (
    f'<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts><fills count="1"><fill><patternFill/></fill></fills>'
    '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="5"><xf/>'
    + "".join(f'<xf numFmtId="{number}" applyNumberFormat="1"/>' for number in (14, 46, 21, 17))
    + '</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)


def package_parts(sheets: Mapping[str, str], *, strings: str = "", prefix: str = "") -> dict[str, str]:
    """The parts of an XLSX package with sheets given as XML of their rows; what libraries cannot write can stand there.

    ``strings`` are the shared ones, ``prefix`` a namespace prefix for the elements of the sheets.
    """
    p = f"{prefix}:" if prefix else ""
    xmlns = f'xmlns:{prefix}="{_MAIN}"' if prefix else f'xmlns="{_MAIN}"'
    pages = {f"worksheets/sheet{number}.xml": rows for number, rows in enumerate(sheets.values(), 1)}
    kinds = {"workbook.xml": "sheet.main", **dict.fromkeys(pages, "worksheet")}
    kinds |= {"styles.xml": "styles", "sharedStrings.xml": "sharedStrings"}
    types = "".join(
        f'<Override PartName="/xl/{part}" ContentType="{_OFFICE}.{kind}+xml"/>' for part, kind in kinds.items()
    )
    names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(sheets, 1))
    relation = f'<Relationship Id="rId%d" Type="{_RELATIONS}/%s" Target="%s"/>'
    related = "".join(relation % (n, kinds[part], part) for n, part in enumerate(list(kinds)[1:], 1))
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>{types}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f"{relation % (1, 'officeDocument', 'xl/workbook.xml')}</Relationships>",
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{related}</Relationships>',
        "xl/styles.xml": _STYLES,
        "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}">{strings}</sst>',
        **{
            f"xl/{part}": f"<{p}worksheet {xmlns}><{p}sheetData>{rows}</{p}sheetData></{p}worksheet>"
            for part, rows in pages.items()
        },
    }
    return {name: '<?xml version="1.0" encoding="UTF-8"?>' + text for name, text in parts.items()}


@dataclass(frozen=True)
class Station:
    """A data folder, a share and a booked-business database of its own."""

    data: DataRoot
    share: LocalShare
    path: Path

    @property
    def workbook(self) -> Path:
        """The living workbook on the share."""
        return self.share.root / "Traffic" / "Media Library" / "Commercial Log.xlsx"

    def dated(self, day: date = DAY) -> Path:
        return self.data.daily / dated_name(day)

    def put(self, cells: Iterable[Sequence[Any]], day: date = DAY, **how: Any) -> Path:
        """Write the dated workbook of a day."""
        return write_workbook(self.dated(day), cells, **how)

    def copy(self, day: date = DAY, **how: Any) -> StepResult:
        """Stage 1."""
        options: dict[str, Any] = {"today": day, "settings": Settings()} | how
        return copy_workbook(nullcontext(self.share), self.data, day=day, **options)

    def load(self, cells: Iterable[Sequence[Any]] | None = None, day: date = DAY, **how: Any) -> StepResult:
        """Stage 2 over the dated workbook of a day, which is written first if rows are given."""
        if cells is not None:
            self.put(cells, day)
        options: dict[str, Any] = {"settings": Settings(), "now": NOW + (day - DAY)} | how
        with closing(self.open()) as db:
            return load_bookings(db, self.data, day=day, **options)

    def open(self) -> sqlite3.Connection:
        return open_database(self.path)

    def sql(self, query: str, *binds: Any) -> list[tuple[Any, ...]]:
        with closing(self.open()) as db:
            return db.execute(query, binds).fetchall()

    def close_month(self, month: str) -> None:
        query = "INSERT INTO month_closures (broadcast_month, closed_date, closed_by) VALUES (?, ?, 'ann')"
        self.sql(query, month, DAY.isoformat())

    def titles(self, month: str | None = None) -> list[str]:
        """The media titles of the spots (of a month), sorted."""
        query = "SELECT media FROM spots WHERE broadcast_month = coalesce(?, broadcast_month) ORDER BY media"
        return [title for (title,) in self.sql(query, month)]

    def bookings(self, month: str | None = None) -> list[tuple[Any, ...]]:
        """The 29 stored values of the spots (of a month), sorted."""
        query = f"SELECT {', '.join(POSITION)} FROM spots WHERE broadcast_month = coalesce(?, broadcast_month)"
        return sorted(self.sql(query, month), key=repr)

    def dump(self, *, without: Iterable[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table."""
        return {
            table: self.sql(f"SELECT rowid, * FROM {table} ORDER BY rowid")
            if table != "market_aliases"
            else self.sql("SELECT * FROM market_aliases")
            for table in sorted({*TABLES} - {*without})
        }

    def files(self) -> dict[str, bytes]:
        """Every file of the data folder but its logs and locks, by its path there."""
        kept = (path for path in self.data.root.rglob("*") if path.is_file())
        named = {str(path.relative_to(self.data.root)): path.read_bytes() for path in kept}
        return {name: content for name, content in named.items() if not name.startswith(("logs/", "locks/"))}
