"""Writes a workbook the way Excel saves one.

Libraries cannot make this test data: openpyxl and XlsxWriter give numbers 16 digits where Excel gives 17, and a copy
has to pass on all of them; openpyxl also writes no shared strings, no formula results and never the same bytes twice.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

from include.common.files import atomic_write
from sandbox.commercial_log.generator import World
from sandbox.commercial_log.layout import COLUMNS, COMMERCIALS, HEADER, MONEY_COLUMNS, POSITION, WIDTHS, Cell, Row

NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
EPOCH = datetime.combine(date(1899, 12, 30), time())

# Cell formats by their position in styles.xml: general, header, then Excel's own number formats:
# m/d/yyyy, mmm-yy, h:mm:ss AM/PM, [h]:mm:ss, #,##0.00.
GENERAL, HEADING, DATE, MONTH, CLOCK, ELAPSED, MONEY = range(7)
NUMBER_FORMATS = {
    DATE: 14,
    MONTH: 17,
    CLOCK: 19,
    ELAPSED: 46,
    MONEY: 4,
}

LETTERS = tuple(chr(65 + n) if n < 26 else f"A{chr(39 + n)}" for n in range(len(COLUMNS)))
LAST_LETTER = LETTERS[-1]


def write_workbook(world: World, path: Path) -> None:
    """Write all sheets of a world to ``path`` (replaced in one step); the bytes depend on the world only."""
    write_sheets(world.sheets, path, modified=world.day)


def write_sheets(sheets: Mapping[str, Sequence[Row]], path: Path, *, modified: date) -> None:
    """Write sheets of the 29 columns, each below the header row; a last row of numbers only becomes formulas."""
    strings: dict[str, int] = {}
    sheet_parts = {f"xl/worksheets/sheet{n}.xml": _sheet(rows, strings) for n, rows in enumerate(sheets.values(), 1)}
    names = list(sheets)
    saved = (*modified.timetuple()[:3], 17, 0, 0)
    parts = {
        "[Content_Types].xml": _content_types(sheet_parts),
        "_rels/.rels": _relationships(
            (f"{RELATIONSHIPS}/officeDocument", "xl/workbook.xml"),
            (f"{PACKAGE}/relationships/metadata/core-properties", "docProps/core.xml"),
            (f"{RELATIONSHIPS}/extended-properties", "docProps/app.xml"),
        ),
        "docProps/app.xml": (
            '<Properties xmlns="http://schemas.openxmlformats.org/officeDocument/2006/extended-properties">'
            "<Application>Microsoft Excel</Application><AppVersion>16.0300</AppVersion></Properties>"
        ),
        "docProps/core.xml": _core_properties(modified),
        "xl/workbook.xml": _workbook(names, {name: len(rows) + 1 for name, rows in sheets.items()}),
        "xl/_rels/workbook.xml.rels": _relationships(
            *((f"{RELATIONSHIPS}/worksheet", part.removeprefix("xl/")) for part in sheet_parts),
            (f"{RELATIONSHIPS}/styles", "styles.xml"),
            (f"{RELATIONSHIPS}/sharedStrings", "sharedStrings.xml"),
        ),
        **sheet_parts,
        "xl/styles.xml": _styles(),
        "xl/sharedStrings.xml": _shared_strings(strings),
    }
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, xml in parts.items():
            member = zipfile.ZipInfo(name, date_time=saved)
            archive.writestr(member, DECLARATION + xml, zipfile.ZIP_DEFLATED)


def _sheet(rows: Sequence[Row], strings: dict[str, int]) -> str:
    last = len(rows) + 1
    height = 'ht="30" customHeight="1"'
    head = "".join(
        f'<c r="{letter}1" s="{HEADING}" t="s"><v>{strings.setdefault(text, len(strings))}</v></c>'
        for letter, text in zip(LETTERS, HEADER, strict=True)
    )
    lines = [f'<row r="1" spans="1:{len(COLUMNS)}" {height}>{head}</row>']
    total = last if rows and rows[-1][POSITION["bill_code"]] is None and any(rows[-1]) else None
    for number, row in enumerate(rows, start=2):
        if number == total:
            cells = _total_cells(row, number)
        else:
            cells = "".join([_cell(position, number, cell, strings) for position, cell in enumerate(row)])
        lines.append(f'<row r="{number}" spans="1:{len(COLUMNS)}">{cells}</row>')
    widths = "".join(f'<col min="{n}" max="{n}" width="{width}" customWidth="1"/>' for n, width in enumerate(WIDTHS, 1))
    return (
        f'<worksheet xmlns="{NAMESPACE}" xmlns:r="{RELATIONSHIPS}"><dimension ref="A1:{LAST_LETTER}{last}"/>'
        '<sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" '
        'state="frozen"/></sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/>'
        f"<cols>{widths}</cols><sheetData>{''.join(lines)}</sheetData>"
        f'<autoFilter ref="A1:{LAST_LETTER}{last}"/>'
        '<pageMargins left="0.7" right="0.7" top="0.75" bottom="0.75" header="0.3" footer="0.3"/></worksheet>'
    )


def _cell(position: int, number: int, cell: Cell, strings: dict[str, int]) -> str:
    """The XML of one cell; an empty one is not written at all."""
    if cell is None:
        return ""
    reference = f"{LETTERS[position]}{number}"
    if isinstance(cell, str):
        return f'<c r="{reference}" t="s"><v>{strings.setdefault(cell, len(strings))}</v></c>'
    style, value = GENERAL, cell
    if isinstance(cell, datetime):
        style = MONTH if COLUMNS[position] == "broadcast_month" else DATE
        value = (cell - EPOCH).days
    elif isinstance(cell, time):
        style, value = CLOCK, (cell.hour * 3600 + cell.minute * 60 + cell.second) / 86_400
    elif isinstance(cell, timedelta):
        style, value = ELAPSED, cell.total_seconds() / 86_400
    elif COLUMNS[position] in MONEY_COLUMNS:
        style = MONEY
    return f'<c r="{reference}" s="{style}"><v>{value!r}</v></c>'


def _total_cells(row: Row, number: int) -> str:
    return "".join(
        f'<c r="{letter}{number}" s="{MONEY}"><f>SUM({letter}2:{letter}{number - 1})</f><v>{cell!r}</v></c>'
        for letter, cell in zip(LETTERS, row, strict=True)
        if cell is not None
    )


def _content_types(sheet_parts: Mapping[str, str]) -> str:
    kinds = {
        "xl/workbook.xml": f"{OFFICE}.sheet.main+xml",
        **dict.fromkeys(sheet_parts, f"{OFFICE}.worksheet+xml"),
        "xl/styles.xml": f"{OFFICE}.styles+xml",
        "xl/sharedStrings.xml": f"{OFFICE}.sharedStrings+xml",
        "docProps/core.xml": "application/vnd.openxmlformats-package.core-properties+xml",
        "docProps/app.xml": "application/vnd.openxmlformats-officedocument.extended-properties+xml",
    }
    overrides = "".join(f'<Override PartName="/{part}" ContentType="{kind}"/>' for part, kind in kinds.items())
    return (
        f'<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    )


def _relationships(*targets: tuple[str, str]) -> str:
    lines = (f'<Relationship Id="rId{n}" Type="{kind}" Target="{part}"/>' for n, (kind, part) in enumerate(targets, 1))
    return f'<Relationships xmlns="{PACKAGE}/relationships">{"".join(lines)}</Relationships>'


def _core_properties(modified: date) -> str:
    return (
        f'<cp:coreProperties xmlns:cp="{PACKAGE}/metadata/core-properties" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><dc:creator>Traffic</dc:creator>'
        "<cp:lastModifiedBy>Traffic</cp:lastModifiedBy>"
        f'<dcterms:modified xsi:type="dcterms:W3CDTF">{modified}T17:00:00Z</dcterms:modified></cp:coreProperties>'
    )


def _workbook(names: Sequence[str], last_rows: Mapping[str, int]) -> str:
    sheets = "".join(
        f'<sheet name="{escape(name)}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(names, start=1)
    )
    filters = "".join(
        f'<definedName name="_xlnm._FilterDatabase" localSheetId="{n}" hidden="1">'
        f"'{escape(name)}'!$A$1:${LAST_LETTER}${last_rows[name]}</definedName>"
        for n, name in enumerate(names)
    )
    active = names.index(COMMERCIALS) if COMMERCIALS in names else 0
    return (
        f'<workbook xmlns="{NAMESPACE}" xmlns:r="{RELATIONSHIPS}"><workbookPr defaultThemeVersion="124226"/>'
        f'<bookViews><workbookView xWindow="0" yWindow="0" windowWidth="28800" windowHeight="15000" '
        f'activeTab="{active}"/></bookViews><sheets>{sheets}</sheets><definedNames>{filters}</definedNames>'
        '<calcPr calcId="191029"/></workbook>'
    )


def _styles() -> str:
    heading = (
        '<xf numFmtId="0" fontId="1" fillId="2" borderId="0" xfId="0" applyFont="1" applyFill="1" applyAlignment="1">'
        '<alignment vertical="center" wrapText="1"/></xf>'
    )
    formats = "".join(
        f'<xf numFmtId="{number_format}" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
        for number_format in NUMBER_FORMATS.values()
    )
    return (
        f'<styleSheet xmlns="{NAMESPACE}"><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
        '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts><fills count="3">'
        '<fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>'
        '<fill><patternFill patternType="solid"><fgColor rgb="FFDDEBF7"/><bgColor indexed="64"/></patternFill></fill>'
        '</fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
        f'<cellXfs count="{2 + len(NUMBER_FORMATS)}"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
        f'{heading}{formats}</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/>'
        "</cellStyles></styleSheet>"
    )


def _shared_strings(strings: Mapping[str, int]) -> str:
    items = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in strings)
    return f'<sst xmlns="{NAMESPACE}" uniqueCount="{len(strings)}">{items}</sst>'
