"""What a price point (CPC) is: service, category, period in days, price in euro (R58, stage 0)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from include.common import locks
from include.common.files import atomic_write, require_space
from include.common.journal import RunLog
from include.common.results import StepResult
from include.common.tables import render_some
from include.common.xlsx import sheet_rows
from include.cvas.config import Lake, Settings
from include.cvas.counter_files import told_outdated_of_counted
from include.cvas.records import read_records, unreadable
from include.cvas.stage import stage
from include.errors import CheckFailed, ContractViolation, SourceMissing

if TYPE_CHECKING:
    import polars as pl

JOB = "cvas_mastercpc"
UNKNOWN = "UNKNOWN"
LAYOUT_A = (
    *("Service Name", "TME Category", "Free_CPC", "Free_Period", "Upgrade_CPC", "CHG_Period", "CHG_Price", "CPCs"),
)
LAYOUT_B = ("cpc", "service_name", "tme_category", "cpc_period", "cpc_price")
CATALOGUE = ("TME Category", "Service Name", "CPC", "Subscription Model", "Price")
# By the first word of a subscription model; any other, and none, has no known period.
PERIODS = {"weekly": 7, "monthly": 30, "bimontly": 60, "trimonthly": 90, "one": 1, "3": 3, "45": 45, "ppd": 99999}
NAMED = 10

_WHOLE = re.compile(r"([0-9]{1,15})(?:\.0*)?")
_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]*)?|\.[0-9]+")
_BRACES = re.compile(r"\{([^{}]*)\}")


class PricePoint(NamedTuple):
    """One CPC; ``cpc_period`` in days (99999: pay per download, 0: unknown), ``cpc_price`` in euro."""

    cpc: int
    service_name: str
    tme_category: str
    cpc_period: int
    cpc_price: float


@dataclass(frozen=True)
class MasterCpc:
    """All price points, one row per cpc in its order, with the columns of :class:`PricePoint`; what deserves a look."""

    frame: pl.DataFrame
    warnings: tuple[str, ...]


def read_mastercpc(path: Path) -> MasterCpc:
    """The reference list, in whichever of its two layouts the header shows.

    Names are trimmed, ``UNKNOWN`` if empty; a period or price that is not given is 0. Of a cpc that stands in several
    rows the first counts, with a warning.

    Raises SourceMissing if there is no such file; ContractViolation naming line and column for another header, a
    number or list that cannot be read, bytes that are no UTF-8, and a file without any cpc.
    """
    import polars as pl

    points, warnings = _read(path)
    schema = dict(zip(PricePoint._fields, (pl.Int64, pl.String, pl.String, pl.Int64, pl.Float64), strict=True))
    return MasterCpc(pl.DataFrame([points[cpc] for cpc in sorted(points)], schema, orient="row"), tuple(warnings))


def convert_catalogue(
    workbook: Path, lake: Lake, *, day: date, now: datetime, settings: Settings, allow_lost: bool = False
) -> StepResult:
    """Make ``MASTERCPC.csv`` (layout B, sorted by cpc) from the first sheet of the catalogue workbook (stage 0).

    Rows without a numeric CPC are left out, of a CPC in several rows the first counts. ``allow_lost`` accepts that the
    new list lacks CPCs of the present one. What was counted with another list is named in a warning.

    Re-run: safe; equal content leaves the file untouched.
    Raises SourceMissing if there is no such workbook; ContractViolation for a workbook that is none or whose first
    sheet lacks columns or CPCs; CheckFailed if CPCs would be lost; AlreadyRunning, StoreFull.
    """
    lock = lake.user_base_lock.with_name("mastercpc")
    with stage(lake, JOB, day, now=now, settings=settings) as run, locks.hold(lock, JOB):
        content = _converted(workbook, run)
        points, _ = _parse(content, name=f"the list made from {workbook.name}")
        target = lake.mastercpc
        lost = _lost(target, points.keys(), allow_lost=allow_lost)
        if lost:
            run.warn(f"{workbook.name} lacks {len(lost)} CPCs of {target.name}, which are gone now: {_some(lost)}.")
        unchanged = target.exists() and target.read_bytes() == content.encode()
        if not unchanged:
            require_space(lake.root, len(content))
            with atomic_write(target) as temporary:
                temporary.write_bytes(content.encode())
            if outdated := told_outdated_of_counted(lake):
                run.warn(outdated)
        action = "unchanged" if unchanged else "written"
        run.say(f"100 % | {target.name} {action}: {len(points):,} CPCs")
        run.facts.update(cpcs=len(points), list=action)
        return StepResult(
            where=str(target),
            read=len(points),
            written=0 if unchanged else len(points),
            bytes=len(content.encode()),
            warnings=tuple(run.warnings),
            facts={"action": action, "lost": len(lost)},
        )


# --- the list ---------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """One line of the list; ``cells`` by column."""

    name: str
    line: int
    cells: dict[str, str]

    def text(self, column: str) -> str:
        return self.cells[column].strip()

    def whole(self, column: str) -> int | None:
        """The number of a cell, None for an empty one."""
        number = _whole(self.text(column))
        if number is None and self.text(column):
            raise self.refused(column, "is no whole number")
        return number

    def price(self, column: str) -> float:
        text = self.text(column)
        if text and not _DECIMAL.fullmatch(text):
            raise self.refused(column, "is no price")
        return float(text or 0)

    def refused(self, column: str, why: str) -> ContractViolation:
        what = f"{self.name}, line {self.line}, column '{column}': {self.cells[column][:60]!r} {why}"
        return unreadable(what, self.name)


def _read(path: Path) -> tuple[dict[int, PricePoint], list[str]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SourceMissing(
            f"cvas: {path} is not there.", next_step="Make it with cvas_mastercpc, or restore it from a backup."
        ) from None
    try:
        return _parse(data.decode("utf-8-sig"), name=path.name)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise unreadable(
            f"{path.name}, line {line}: byte {error.start + 1} of the file is no UTF-8", path.name
        ) from None


def _parse(text: str, *, name: str) -> tuple[dict[int, PricePoint], list[str]]:
    """The price points by cpc in the order of the file, and what deserves a look."""
    records = read_records(text, name=name)
    header = next(records, None)
    columns = tuple(cell.strip() for cell in header.cells) if header else ()
    if columns not in _LAYOUTS:
        known = " nor ".join(f"'{','.join(layout)}'" for layout in _LAYOUTS)
        raise unreadable(f"{name}, line 1: the header is '{','.join(columns)[:200]}', neither {known}", name)
    points: dict[int, PricePoint] = {}
    repeated: set[int] = set()
    warnings: list[str] = []
    for line, cells in records:
        for point in _LAYOUTS[columns](_Row(name, line, dict(zip(columns, cells, strict=True))), warnings):
            if points.setdefault(point.cpc, point) is not point:
                repeated.add(point.cpc)
    if not points:
        raise unreadable(f"{name}: no CPC below the header", name)
    if repeated:
        warnings.append(f"{name}: {len(repeated)} CPCs stand in several rows, the first counts: {_some(repeated)}.")
    return points, warnings


def _points_of_a(row: _Row, warnings: list[str]) -> Iterator[PricePoint]:
    listed = _BRACES.fullmatch(row.text("CPCs") or "{}")
    members = [_whole(member) for member in listed[1].split(",")] if listed and listed[1].strip() else []
    if listed is None or None in members:
        raise row.refused("CPCs", "is no list like {35872, 35357}")
    upgrade, free = row.whole("Upgrade_CPC"), row.whole("Free_CPC")
    cpcs = dict.fromkeys(cpc for cpc in (*members, upgrade) if cpc is not None)
    if not cpcs:
        warnings.append(f"{row.name}, line {row.line}: '{row.text('Service Name')}' has no CPC; the line is left out.")
    if free is not None and free not in cpcs:
        warnings.append(f"{row.name}, line {row.line}: Free_CPC {free} is not among the line's CPCs; it is left out.")
    period, price = row.whole("CHG_Period") or 0, row.price("CHG_Price")
    free_period = row.whole("Free_Period") or 0
    for cpc in cpcs:
        terms = (free_period, 0.0) if cpc == free else (period, price)
        yield PricePoint(cpc, row.text("Service Name") or UNKNOWN, row.text("TME Category"), *terms)


def _points_of_b(row: _Row, _: list[str]) -> Iterator[PricePoint]:
    cpc = row.whole("cpc")
    if cpc is None:
        raise row.refused("cpc", "is no whole number")
    period, price = row.whole("cpc_period") or 0, row.price("cpc_price")
    yield PricePoint(cpc, row.text("service_name") or UNKNOWN, row.text("tme_category"), period, price)


_LAYOUTS: dict[tuple[str, ...], Callable[[_Row, list[str]], Iterator[PricePoint]]] = {
    LAYOUT_A: _points_of_a,
    LAYOUT_B: _points_of_b,
}


def _lost(target: Path, cpcs: Set[int], *, allow_lost: bool) -> list[int]:
    """The CPCs of the present list that the new one lacks."""
    if not target.exists():
        return []
    try:
        lost = sorted(_read(target)[0].keys() - cpcs)
    except ContractViolation as fault:
        if allow_lost:
            return []
        raise CheckFailed(
            f"Whether the present list has CPCs that the new one lacks is not known, because of {fault.what}",
            next_step=f"Restore {target.name}, or trigger with allow_lost to replace it.",
        ) from fault
    if lost and not allow_lost:
        raise CheckFailed(
            f"{len(lost)} CPCs of {target.name} would be lost: {_some(lost)}; nothing was changed.",
            next_step="Add them to the workbook; if they are really gone, trigger with allow_lost.",
        )
    return lost


def _some(numbers: Iterable[int]) -> str:
    return render_some(sorted(numbers), NAMED)


# --- the workbook -----------------------------------------------------------------------------------------------------


def _converted(workbook: Path, run: RunLog) -> str:
    """The list in layout B, made from the first sheet of the workbook."""
    where, rows = _first_sheet(workbook)
    found = [" ".join(str(cell).split()) for cell in rows[0]] if rows else []
    wrong = [column for column in CATALOGUE if found.count(column) != 1]
    if wrong:
        raise ContractViolation(
            f"{where}, row 1: the columns {', '.join(map(repr, wrong))} are missing or stand there more than once; it "
            f"holds: {', '.join(filter(None, found))[:300] or 'nothing'}.",
            next_step="Make the catalogue the first sheet, with these columns in row 1; the present list stays.",
        )
    lines: dict[int, tuple[object, ...]] = {}
    left_out: list[int] = []
    repeated: set[int] = set()
    for number, row in enumerate(rows[1:], start=2):
        cells = [row[found.index(column)] for column in CATALOGUE]
        category, service, cpc_cell, model, price_cell = cells
        cpc = _whole(cpc_cell)
        if cpc is None:
            left_out += [number] * any(str(cell).strip() for cell in cells)
        elif cpc in lines:
            repeated.add(cpc)
        else:
            price = _price(price_cell)
            if price is None:
                run.warn(f"{where}, row {number}, column 'Price': {price_cell!r} is no price; it is left empty.")
            lines[cpc] = (cpc, str(service).strip(), str(category).strip(), _period(model), price)
    if left_out:
        run.warn(f"{where}: {len(left_out)} rows have no numeric CPC and are left out: {_some(left_out)}.")
    if repeated:
        run.warn(f"{where}: {len(repeated)} CPCs stand in several rows, the first counts: {_some(repeated)}.")
    if not lines:
        raise ContractViolation(
            f"{where}: none of its {len(rows) - 1} rows has a numeric CPC; the present list stays.",
            next_step="Give the workbook that has the catalogue on its first sheet.",
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LAYOUT_B)
    writer.writerows(lines[cpc] for cpc in sorted(lines))
    return text.getvalue()


def _first_sheet(workbook: Path) -> tuple[str, list[list[Any]]]:
    """What errors call the first sheet, and its rows."""
    from python_calamine import CalamineError, CalamineWorkbook

    if not workbook.is_file():
        raise SourceMissing(f"cvas: {workbook} is not there.", next_step="Give the full path on the worker's machine.")
    sheets: list[str] = []
    # Of a file that is no workbook, the reader of rows says what it is instead.
    with suppress(CalamineError), CalamineWorkbook.from_path(workbook) as opened:
        sheets = opened.sheet_names
    name, rows = sheet_rows(workbook, sheets[:1], name=workbook.name)
    return f"{workbook.name}, sheet '{name}'", rows


def _whole(cell: object) -> int | None:
    """A number, however the cell holds it; None for anything else."""
    text = str(cell).strip() if isinstance(cell, (str, int, float)) and not isinstance(cell, bool) else ""
    match = _WHOLE.fullmatch(text)
    return int(match[1]) if match else None


def _period(model: object) -> int:
    words = str(model).split()
    number = _whole(words[0]) if words else None
    return PERIODS.get(str(words[0] if number is None else number).casefold(), 0) if words else 0


def _price(cell: object) -> str | None:
    """A price with two digits or more, ``""`` for an empty cell, None for anything else."""
    text = str(cell).strip()
    if not text:
        return ""
    if isinstance(cell, bool) or not _DECIMAL.fullmatch(text):
        return None
    whole, _, fraction = f"{float(text):.6f}".rstrip("0").partition(".")
    return f"{whole}.{fraction:0<2}"
