"""XLSX at the level of its ZIP package: take sheets out without touching a single cell.

Reading cells and writing them again cannot keep every value (17-digit numbers come back rounded, elapsed times turn
into clock times). Moving the compressed parts can, and costs a hundredth.
"""

import copy
import errno
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr, unescape

from include.errors import CheckFailed, ContractViolation, PipelineError, SourceChanging

OLE = b"\xd0\xcf\x11\xe0"
# A fixed time stamp makes equal content equal bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)
# Parts a sheet's cells refer to; calculation chains, links, pivots and other sheets stay behind.
CELL_PARTS = ("/styles", "/sharedStrings", "/theme", "/sheetMetadata")
# What reading a damaged package or one of something else than a workbook raises.
DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    ElementTree.ParseError,
    EOFError,
    LookupError,
    StopIteration,
    ValueError,
    RuntimeError,
)

_FORMULA = rb"<%(p)sf\b(?:[^>]*/>|[^>]*>[^<]*</%(p)sf>)"

# A row as programs write it: each cell names its place and holds a number, a shared string, a truth value, an error of
# Excel or a plain text. Whatever fits has one reading only, so the quantifiers need never give back.
_PLAIN_ROW = (
    rb"""
    <row[ ]r="(\d++)"ATTRIBUTES
    (?: /> | > (
        (?: <c[ ]r="[A-Z]{1,3}+\1"(?:[ ]s="\d++")?+
            (?: [ ]t="s"> <v>\d++</v> </c>
            |   (?:[ ]t="n")?+> FORMULA?+ (?: <v>-?\d++(?:\.\d++)?+(?:[Ee][-+]?\d++)?+</v> )?+ </c>
            |   (?:[ ]t="[nsb]")?+/>
            |   [ ]t="inlineStr"> <is><t(?:[ ]xml:space="preserve")?+>TEXT</t></is> </c>
            |   [ ]t="str"> FORMULA?+ <v>TEXT</v> </c>
            |   [ ]t="b"> FORMULA?+ <v>[01]</v> </c>
            |   [ ]t="e"> FORMULA?+ <v>\#(?:N/A|DIV/0!|NAME\?|NULL!|NUM!|REF!|VALUE!)</v> </c>
            )
        )*+ ) </row>
    )
    """.replace(b"FORMULA", b"(?: <f ATTRIBUTES (?: /> | >TEXT</f> ) )")
    .replace(b"ATTRIBUTES", rb'(?: [ ][\w:]++="[^"<>&]*+" )*+')
    .replace(b"TEXT", rb"[^<&]*+ (?: &(?:amp|lt|gt|quot|apos|\#(?:9|10|13)); [^<&]*+ )*+")
)
_ENTITIES = {"&quot;": '"', "&apos;": "'", "&#9;": "\t", "&#10;": "\n", "&#13;": "\r"}
_VALUE = re.compile(
    rb'<c r="(?P<column>[A-Z]+)\d+"(?: s="\d+")?(?: t="(?P<type>\w+)")?>'
    rb"(?:<f[^>]*>(?:[^<]*</f>)?)?(?:<is><t[^>]*>|<v>)(?P<value>[^<]*)"
)
_STRING_NUMBER = re.compile(rb' t="s"><v>(\d+)')
# How a text holds a character that XML does not allow.
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")


class PlainSheet:
    """A sheet in which nothing is out of the ordinary: what its header says and how many rows hold data can be told
    from its XML, without the cost of reading every cell."""

    def __init__(self, rows: Sequence[bytes], strings: Sequence[ElementTree.Element]) -> None:
        self._header, *self._rows = rows
        self._shared_text = cache(lambda number: _text_of(strings[int(number)]))

    def header(self) -> list[str]:
        """What Excel row 1 says; empty cells, and those that hold no text, are ``""``."""
        texts = {_column(cell["column"]) - 1: self._text(cell) or "" for cell in _VALUE.finditer(self._header)}
        return [texts.get(position, "") for position in range(max(texts, default=-1) + 1)]

    def count_rows(self, columns: Iterable[int]) -> int:
        """Rows below the header that hold more than blanks in one of the columns (0-based positions)."""
        letters = {column_letters(position).encode() for position in columns}

        def is_data(cell: re.Match[bytes]) -> bool:
            if cell["column"] not in letters:
                return False
            text = self._text(cell)
            return text is None or text.strip() != ""

        return sum(any(map(is_data, _VALUE.finditer(row))) for row in self._rows)

    def _text(self, cell: re.Match[bytes]) -> str | None:
        """The text in a cell, None if it is something else than text."""
        if cell["type"] == b"s":
            return self._shared_text(cell["value"])
        if cell["type"] in (b"str", b"inlineStr"):
            return _decoded(unescape(cell["value"].decode(), _ENTITIES))
        return None


def _text_of(string: ElementTree.Element) -> str:
    """The text of a shared string, which may be cut into runs; how it is pronounced does not count."""
    runs = (*string.iterfind("{*}t"), *string.iterfind("{*}r/{*}t"))
    return _decoded("".join(run.text or "" for run in runs))


def _decoded(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


@dataclass(frozen=True)
class ExtractedSheets:
    """What was taken out: the sheet names of the source, how many formula cells carry no calculated value (readers see
    them as empty), and the sheet read back from the copy, None unless it is plain."""

    sheets_found: tuple[str, ...]
    formulas_without_value: int
    plain: PlainSheet | None


def extract_sheets(source: Path, target: Path, sheets: Sequence[str], *, name: str) -> ExtractedSheets:
    """Write the workbook ``target`` whose only sheet holds ``sheets`` of ``source``, every cell as it was.

    With one sheet the cells are copied as they stand; with several, the rows of the others follow those of the first
    (their header must be the same) and an added last column ``sheet_source`` tells where each row came from. Formulas
    stay as long as all of them can be calculated within the sheet, else each is replaced by its calculated value.
    Equal input gives equal bytes. ``name`` is what errors call the workbook.

    Raises ContractViolation if a sheet is not there (listing those that are) or the file is no XLSX workbook,
    SourceChanging if it is a workbook cut off in the middle.
    """
    try:
        with zipfile.ZipFile(source) as package:
            return _extract(package, target, sheets, name)
    except PipelineError:
        raise
    except DAMAGE as error:
        raise _unreadable(source, name, error, being_saved=True) from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The package says that its parts lie outside of it.
        raise _unreadable(source, name, error, being_saved=True) from error


def sheet_rows(path: Path, candidates: Sequence[str], *, name: str) -> tuple[str, list[list[Any]]]:
    """The first sheet of ``candidates`` that the workbook has: its name and its rows, the header first.

    A row is a list of str, float, int, bool, date, datetime, time or timedelta; empty cells are ``""``. Cells that hold
    an Excel error come as its text (``#N/A``), so that they cannot pass for empty ones. All rows have the same width.

    Raises ContractViolation if none of the sheets is there or the file is no workbook.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with CalamineWorkbook.from_path(path) as workbook:
            found = next((sheet for sheet in candidates if sheet in workbook.sheet_names), None)
            if found is None:
                raise _sheet_missing(name, candidates, workbook.sheet_names)
            rows = workbook.get_sheet_by_name(found).to_python(skip_empty_area=False)
        with zipfile.ZipFile(path) as package:
            _show_error_cells(rows, package.read(_Package(package).sheet_part(found)))
    except (CalamineError, *DAMAGE) as error:
        raise _unreadable(path, name, error) from error
    return found, rows


def column_letters(position: int) -> str:
    """The Excel name of a 0-based column position: 0 is A, 28 is AC."""
    name, number = "", position + 1
    while number:
        number, remainder = divmod(number - 1, 26)
        name = chr(ord("A") + remainder) + name
    return name


class _Package:
    """The relations inside an XLSX package."""

    def __init__(self, package: zipfile.ZipFile) -> None:
        self.package = package
        self.workbook_part = next(
            target for kind, target in self.relations("").values() if kind.endswith("/officeDocument")
        )
        self.relations_of_workbook = self.relations(self.workbook_part)
        self.workbook = ElementTree.fromstring(package.read(self.workbook_part))  # noqa: S314 - no entities in OOXML
        self.namespace = self.workbook.tag[1:].partition("}")[0]
        self.sheets = {
            str(sheet.get("name")): next(value for key, value in sheet.attrib.items() if key.endswith("}id"))
            for sheet in self.workbook.iterfind(f"{{{self.namespace}}}sheets/{{{self.namespace}}}sheet")
        }

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Relation id -> (type, part) of a part; ``""`` is the package itself. Outside links are left out."""
        folder, base = posixpath.split(part)
        member = posixpath.join(folder, "_rels", f"{base}.rels")
        if member not in self.package.namelist():
            return {}
        return {
            str(node.get("Id")): (
                str(node.get("Type")),
                posixpath.normpath(posixpath.join("/", folder, str(node.get("Target")))).lstrip("/"),
            )
            for node in ElementTree.fromstring(self.package.read(member))  # noqa: S314
            if node.get("TargetMode") != "External"
        }

    def sheet_part(self, sheet: str) -> str:
        return self.relations_of_workbook[self.sheets[sheet]][1]

    def content_type(self, part: str) -> str:
        root = ElementTree.fromstring(self.package.read("[Content_Types].xml"))  # noqa: S314
        for node in root:
            if str(node.get("PartName")).lstrip("/") == part:
                return str(node.get("ContentType"))
        extension = part.rpartition(".")[2]
        return next(str(node.get("ContentType")) for node in root if node.get("Extension") == extension)


def _extract(package: zipfile.ZipFile, target: Path, sheets: Sequence[str], name: str) -> ExtractedSheets:
    source = _Package(package)
    for sheet in sheets:
        if sheet not in source.sheets:
            raise _sheet_missing(name, [sheet], list(source.sheets))
    part = source.sheet_part(sheets[0])
    original = package.read(part)
    xml = _with_two_tags(original)
    if len(sheets) > 1:
        others = [(sheet, _with_two_tags(package.read(source.sheet_part(sheet)))) for sheet in sheets[1:]]
        xml = _append_sheets(xml, sheets[0], others)
    prefix = _prefix(xml)
    formulas = _formulas(xml, prefix)
    without_value = _count_without_value(xml, prefix) if formulas else 0
    if len(sheets) > 1 or not all(map(_is_self_contained, formulas)):
        xml = re.sub(_FORMULA % {b"p": prefix}, b"", xml)
    if source.relations(part):
        # What follows the cells (drawings, printer settings, tables) points to parts that stay behind.
        end = b"</" + prefix + b"sheetData>"
        xml = xml[: xml.index(end) + len(end)] + b"</" + prefix + b"worksheet>"

    kept = [(kind, other) for kind, other in source.relations_of_workbook.values() if kind.endswith(CELL_PARTS)]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as result:
        for member, text in _frame(source, part, sheets[0], kept).items():
            result.writestr(zipfile.ZipInfo(member, EPOCH), text, zipfile.ZIP_DEFLATED)
        for _, other in kept:
            _copy_member(package, other, result)
        if xml is original:
            _copy_member(package, part, result)
        else:
            result.writestr(zipfile.ZipInfo(part, EPOCH), xml, zipfile.ZIP_DEFLATED)
    checksums = {part: zlib.crc32(xml), **{other: package.getinfo(other).CRC for _, other in kept}}
    copied = _read_back(target, checksums, package, name)
    strings = next((copied[other] for kind, other in kept if kind.endswith("/sharedStrings")), b"")
    return ExtractedSheets(tuple(source.sheets), without_value, _plain_sheet(target, sheets[0], copied[part], strings))


def _read_back(copied: Path, checksums: dict[str, int], source: zipfile.ZipFile, name: str) -> dict[str, bytes]:
    """The parts of the copy, inflated once more: each that carries cells must have the bytes it had in the source."""
    with zipfile.ZipFile(copied) as package:
        try:
            parts = {part: package.read(part) for part in package.namelist()}
        except zipfile.BadZipFile:
            damaged = package.testzip()
        else:
            damaged = next((part for part, crc in checksums.items() if crc != package.getinfo(part).CRC), None)
    if damaged in checksums:
        source.read(damaged)  # raises when the damage was there before
    if damaged:
        raise CheckFailed(
            f"{name}: part {damaged} of the copy differs from the source.",
            next_step="Clear the task; if it stays, check the disk it was written to.",
        )
    return parts


def _plain_sheet(copied: Path, sheet: str, xml: bytes, strings: bytes) -> PlainSheet | None:
    """The only sheet of a workbook, if a reader of workbooks opens that, and each of its rows is plain."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with CalamineWorkbook.from_path(copied) as workbook:
            found = workbook.sheet_names
        shared = ElementTree.fromstring(strings).findall("{*}si") if strings else []  # noqa: S314 - no entities in OOXML
        rows = _plain_rows(xml)
    except (CalamineError, *DAMAGE):
        return None
    known = max(map(int, set(_STRING_NUMBER.findall(xml))), default=-1) < len(shared)
    return PlainSheet(rows, shared) if rows and known and found == [sheet] else None


def _plain_rows(xml: bytes) -> list[bytes]:
    """The cells of each row, empty rows as ``b""``; no rows at all unless every one is plain, the first is Excel row 1
    and the others follow in order. Raises ElementTree.ParseError if what surrounds them is no XML, UnicodeDecodeError
    if the texts in them are not UTF-8."""
    tag = b"<sheetData>"
    start = end = xml.index(tag) + len(tag)
    rows: list[bytes] = []
    last = 0
    for row in re.compile(_PLAIN_ROW, re.VERBOSE).finditer(xml, start):
        number = int(row[1])
        if row.start() != end or number <= last or (last == 0 and number != 1):
            return []
        rows.append(row[2] or b"")
        last, end = number, row.end()
    ElementTree.fromstring(xml[:start] + xml[end:])  # noqa: S314
    if not xml.isascii():
        xml.decode()
    return rows if xml.startswith(b"</sheetData>", end) else []


def _frame(source: _Package, part: str, sheet: str, kept: list[tuple[str, str]]) -> dict[str, str]:
    """The parts that tie a one-sheet workbook together."""
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    sheet_kind = source.relations_of_workbook[source.sheets[sheet]][0]
    book_kind = next(kind for kind, target in source.relations("").values() if target == source.workbook_part)
    id_namespace = book_kind.rpartition("/")[0]
    folder = posixpath.dirname(source.workbook_part)
    epoch = source.workbook.find(f"{{{source.namespace}}}workbookPr")
    date1904 = epoch.get("date1904") if epoch is not None else None
    parts = [source.workbook_part, part, *(other for _, other in kept)]
    overrides = "".join(
        f"<Override PartName={quoteattr('/' + each)} ContentType={quoteattr(source.content_type(each))}/>"
        for each in parts
    )
    relations = "".join(
        f'<Relationship Id="rId{number}" Type={quoteattr(kind)} Target={quoteattr("/" + each)}/>'
        for number, (kind, each) in enumerate([(sheet_kind, part), *kept], start=1)
    )
    rels = "http://schemas.openxmlformats.org/package/2006/relationships"
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    return {
        "[Content_Types].xml": f'{head}<Types xmlns="{types}">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>',
        "_rels/.rels": f'{head}<Relationships xmlns="{rels}"><Relationship Id="rId1" Type={quoteattr(book_kind)} '
        f"Target={quoteattr(source.workbook_part)}/></Relationships>",
        source.workbook_part: f"{head}<workbook xmlns={quoteattr(source.namespace)} xmlns:r={quoteattr(id_namespace)}>"
        + (f"<workbookPr date1904={quoteattr(date1904)}/>" if date1904 else "")
        + f"<bookViews><workbookView/></bookViews><sheets><sheet name={quoteattr(sheet)} "
        'sheetId="1" r:id="rId1"/></sheets></workbook>',
        posixpath.join(folder, "_rels", posixpath.basename(source.workbook_part) + ".rels"): f"{head}"
        f'<Relationships xmlns="{rels}">{relations}</Relationships>',
    }


def _copy_member(source: zipfile.ZipFile, member: str, target: zipfile.ZipFile) -> None:
    """Move the compressed bytes of a member; the checksum in its header keeps guarding them."""
    info = copy.copy(source.getinfo(member))
    assert source.fp is not None  # noqa: S101 - open by construction
    assert target.fp is not None  # noqa: S101
    source.fp.seek(info.header_offset + 26)
    skip = int.from_bytes(source.fp.read(2), "little") + int.from_bytes(source.fp.read(2), "little")
    source.fp.seek(skip, 1)
    data = source.fp.read(info.compress_size)
    info.date_time, info.extra, info.flag_bits = EPOCH, b"", info.flag_bits & ~0x08
    target.fp.seek(target.start_dir)
    info.header_offset = target.fp.tell()
    target.fp.write(info.FileHeader())
    target.fp.write(data)
    target.filelist.append(info)
    target.NameToInfo[info.filename] = info
    target.start_dir = target.fp.tell()


def _formulas(xml: bytes, prefix: bytes) -> list[bytes]:
    """The formula elements of a sheet."""
    return re.findall(_FORMULA % {b"p": prefix}, _from_first_formula(xml, prefix))


def _from_first_formula(xml: bytes, prefix: bytes) -> bytes:
    """The sheet from its first cell with a formula on; often it is the total in the last row, and most have none."""
    first = xml.find(b"<" + prefix + b"f")
    return xml[xml.rfind(b"<" + prefix + b"c", 0, first) :] if first >= 0 else b""


def _count_without_value(xml: bytes, prefix: bytes) -> int:
    """Formula cells nobody has calculated; one whose result is the empty text says so with its type."""
    cell = rb"<%(p)sc\b([^>]*)>" + _FORMULA + rb"(?:<%(p)sv\s*/>|<%(p)sv></%(p)sv>)?</%(p)sc>"
    formulas = re.findall(cell % {b"p": prefix}, _from_first_formula(xml, prefix))
    return sum(b't="str"' not in attributes for attributes in formulas)


def _is_self_contained(formula: bytes) -> bool:
    """Whether a formula uses nothing but functions, literals and cells of its own sheet."""
    text = re.sub(rb"<[^>]*>", b"", formula)
    text = re.sub(rb'"[^"]*"|[A-Z][A-Z.]*\(|\$?[A-Z]{1,3}\$?\d+|\bTRUE\b|\bFALSE\b|&(?:amp|lt|gt);', b"", text)
    return re.fullmatch(rb"[\s\d.,:;()+\-*/^=%{}]*", text) is not None


def _with_two_tags(xml: bytes) -> bytes:
    """A sheet whose cells have a start and an end tag; one that was emptied may have but ``<sheetData/>``."""
    if b"sheetData>" in xml:
        return xml
    return re.sub(rb"<((?:\w+:)?)sheetData\s*/>", rb"<\1sheetData></\1sheetData>", xml)


def _append_sheets(xml: bytes, sheet: str, others: list[tuple[str, bytes]]) -> bytes:
    """One sheet's XML with the data rows of others behind its own and a ``sheet_source`` column."""
    rows = _row_elements(xml)
    sources = [(sheet, rows), *((other, _row_elements(text)[1:]) for other, text in others)]
    references = (re.findall(rb'<c\b[^>]*?\br="([A-Z]+)\d', row) for _, elements in sources for row in elements)
    width = max((_column(reference) for found in references for reference in found), default=0)
    merged: list[bytes] = []
    for source, elements in sources:
        for element in elements:
            number = len(merged) + 1
            text = "sheet_source" if number == 1 else source
            cell = f'<c r="{column_letters(width)}{number}" t="inlineStr"><is><t>{escape(text)}</t></is></c>'.encode()
            merged.append(_renumbered(element, number, cell))
    start = xml.index(b">", xml.index(b"<sheetData")) + 1
    # Readers that trust the old dimension would stop at it.
    head = re.sub(rb"<dimension\b[^>]*/>", b"", xml[:start])
    return head + b"".join(merged) + xml[xml.index(b"</sheetData>") :]


def _row_elements(xml: bytes) -> list[bytes]:
    """The ``<row>`` elements of a sheet, gaps between row numbers filled with empty rows."""
    if _prefix(xml):
        raise ValueError("the sheet's XML uses a namespace prefix, which cannot be merged with other sheets")
    rows: list[bytes] = []
    for match in re.finditer(rb"<row\b[^>]*?(?:/>|>.*?</row>)", xml, re.DOTALL):
        numbered = re.match(rb'<row\b[^>]*?\br="(\d+)"', match[0])
        number = int(numbered[1]) if numbered else len(rows) + 1
        rows.extend([b"<row/>"] * (number - 1 - len(rows)))
        rows.append(match[0])
    return rows


def _renumbered(row: bytes, number: int, cell: bytes) -> bytes:
    cells = re.search(rb"<row\b[^>]*?[^/]>(.*)</row>", row, re.DOTALL)
    body = re.sub(rb'(<c\b[^>]*?\br="[A-Z]+)\d+"', rb'\g<1>%d"' % number, cells[1]) if cells else b""
    # A row without cells stays blank: a sheet name alone must not turn it into data.
    return b'<row r="%d">%b%b</row>' % (number, body, cell if body else b"")


def _show_error_cells(rows: list[list[Any]], xml: bytes) -> None:
    if b't="e"' not in xml:
        return
    for match in re.finditer(rb'<(?:\w+:)?c\b([^>]*\bt="e"[^>]*)>.*?<(?:\w+:)?v>([^<]*)</', xml, re.DOTALL):
        reference = re.search(rb'\br="([A-Z]+)(\d+)"', match[1])
        if reference:
            rows[int(reference[2]) - 1][_column(reference[1]) - 1] = match[2].decode()


def _prefix(xml: bytes) -> bytes:
    """The namespace prefix of the sheet's elements with its colon, usually empty."""
    root = re.search(rb"<((?:\w+:)?)worksheet\b", xml)
    if root is None:
        raise ValueError("the sheet holds no worksheet element")
    return root[1]


def _column(letters: bytes) -> int:
    number = 0
    for character in letters:
        number = number * 26 + character - 64
    return number


def _unreadable(
    path: Path, name: str, error: Exception, *, being_saved: bool = False
) -> ContractViolation | SourceChanging:
    """The error for a file that should be a workbook and is none; only a half-written one is worth another try."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        first = stream.read(64)
    what = f"{name} is not a readable workbook: {size:,} bytes, {_kind(first)} ({str(error) or type(error).__name__})."
    if being_saved and (not first.strip(b"\0") or first.startswith(b"PK")):
        return SourceChanging(
            what, next_step="It is read again, as someone may be saving it. If it stays, ask its owner to save it anew."
        )
    return ContractViolation(what, next_step="Have it saved again as an XLSX workbook without a password.")


def _kind(first: bytes) -> str:
    """What a file's first bytes say it is."""
    if not first:
        return "empty"
    if first.startswith(OLE):
        return "a password-protected or old .xls workbook"
    if first.startswith(b"PK"):
        return "a ZIP file that is cut off or damaged"
    if first.lstrip().lower().startswith((b"<!doc", b"<html", b"<head")):
        return "an HTML page"
    return f"starts with {first[:8]!r}"


def _sheet_missing(name: str, wanted: Sequence[str], found: Sequence[str]) -> ContractViolation:
    return ContractViolation(
        f"{name} has no sheet {' or '.join(repr(sheet) for sheet in wanted)}; its sheets are: "
        f"{', '.join(repr(sheet) for sheet in found) or 'none'}.",
        next_step="Ask its owner to name the sheet as agreed.",
    )
