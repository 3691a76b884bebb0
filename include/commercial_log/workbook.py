"""Dated workbooks: their names, their notes (sidecars), their rows."""

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from include.commercial_log import contract
from include.common.files import atomic_write, sha256_of
from include.common.xlsx import PlainSheet, sheet_rows
from include.errors import ContractViolation

_ALMOST_DATED = re.compile(r"^commercial log.*\d{6}.*\.xlsx$", re.IGNORECASE)


@dataclass(frozen=True)
class Sidecar:
    """What is known about a dated workbook without opening it: data rows, hash, size, when the source was saved."""

    rows: int
    sha256: str
    size: int
    source: str
    source_mtime: float


@dataclass(frozen=True)
class SheetRows:
    """One sheet as read: the file and sheet name, where the columns stand, the rows below the header.

    ``rows[0]`` is Excel row 2; empty cells are ``""``.
    """

    file: str
    sheet: str
    header: contract.HeaderMap
    rows: list[list[Any]]

    @property
    def data_rows(self) -> int:
        """Rows that are not blank."""
        return sum(not self.is_blank(row) for row in self.rows)

    def is_blank(self, row: list[Any]) -> bool:
        """Whether a row holds nothing in any of the 29 columns; what stands beside them makes no booking."""
        first = row[self.header.positions[0]]
        if type(first) is str and first and not first.isspace():
            return False  # nearly every row; the others are worth a closer look
        cells = (row[at] for at in self.header.positions)
        return all(cell is None or (type(cell) is str and not cell.strip()) for cell in cells)


class Outline(NamedTuple):
    """Where the columns stand in a sheet and how many of its rows are not blank."""

    header: contract.HeaderMap
    data_rows: int


def dated_name(day: date) -> str:
    """``Commercial Log YYMMDD.xlsx`` of a local day."""
    return f"Commercial Log {day:%y%m%d}.xlsx"


def date_of(name: str) -> date | None:
    """The day in a dated workbook's name, None for any other name; two-digit years are 20YY."""
    match = contract.DATED_NAME.match(name)
    if not match:
        return None
    try:
        return datetime.strptime(f"20{match[1]}", "%Y%m%d").date()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError:
        return None


def list_dated(folder: Path) -> dict[date, Path]:
    """The dated workbooks of a folder by day, oldest first; a folder that is not there holds none."""
    if not folder.is_dir():
        return {}
    dated = {day: path for path in folder.iterdir() if (day := date_of(path.name)) and path.is_file()}
    return dict(sorted(dated.items()))


def list_almost_dated(folder: Path) -> list[str]:
    """Names that look like a dated workbook and are none (``… (1).xlsx``, another case): worth a warning."""
    if not folder.is_dir():
        return []
    return sorted(
        path.name for path in folder.iterdir() if _ALMOST_DATED.match(path.name) and date_of(path.name) is None
    )


def read_sheet(path: Path, candidates: tuple[str, ...] = (contract.SHEET,), *, name: str | None = None) -> SheetRows:
    """Read the first sheet of ``candidates`` that the workbook has; errors call it ``name``, usually the file's own.

    Raises ContractViolation if the file is no workbook, has none of the sheets or not the 29 columns.
    """
    name = name or path.name
    sheet, rows = sheet_rows(path, candidates, name=name)
    header = contract.match_headers(rows[0] if rows else [], where=f"{name}, sheet '{sheet}'")
    return SheetRows(path.name, sheet, header, rows[1:])


def outline(path: Path, plain: PlainSheet | None, *, name: str) -> Outline:
    """What :func:`read_sheet` would find, at a fraction of its cost if the sheet of ``path`` is known to be plain.

    Raises ContractViolation as that does, which alone can say what stands where a header should.
    """
    with suppress(ContractViolation):
        if plain:
            header = contract.match_headers(plain.header(), where=name)
            return Outline(header, plain.count_rows(header.positions))
    sheet = read_sheet(path, name=name)
    return Outline(sheet.header, sheet.data_rows)


def sidecar_path(workbook: Path) -> Path:
    """Where the notes about a dated workbook lie: beside it."""
    return workbook.with_name(f"{workbook.name}.json")


def write_sidecar(workbook: Path, sidecar: Sidecar) -> None:
    """Write the notes about a dated workbook, all at once. Raises StoreFull."""
    with atomic_write(sidecar_path(workbook)) as temporary:
        temporary.write_text(json.dumps(asdict(sidecar), indent=1) + "\n", encoding="utf-8")


def data_rows_of(workbook: Path) -> int:
    """How many data rows a dated workbook has: from its sidecar if that still describes it, else by reading it.

    Raises ContractViolation if it has to be read and is no such workbook.
    """
    try:
        sidecar = Sidecar(**json.loads(sidecar_path(workbook).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        sidecar = None
    if sidecar and sidecar.size == workbook.stat().st_size and sidecar.sha256 == sha256_of(workbook):
        return sidecar.rows
    return read_sheet(workbook, contract.RECAP_SHEETS).data_rows
