"""Rows of the sheet to bookings; every row that is not one is counted and explained (R20)."""

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from include.commercial_log.cells import READERS, Reader, Value, expected_month, is_trade, read_month
from include.commercial_log.contract import COLUMNS, POSITION
from include.commercial_log.workbook import SheetRows

_MONEY = tuple(position for position, column in enumerate(COLUMNS) if column.kind == "money")
_RAW_LENGTH = 200


class Booking(NamedTuple):
    """One accepted row: its Excel row, the 29 stored values in contract order, the sheet it came from, its hash."""

    row: int
    values: tuple[Value, ...]
    sheet: str
    row_hash: str


class Remark(NamedTuple):
    """Why a row was rejected, or what about an accepted row deserves a look."""

    severity: Literal["reject", "warning"]
    sheet: str
    row: int
    reason: str
    header: str | None
    raw: str | None
    bill_code: str | None
    gross: float | None


@dataclass
class ParsedSheet:
    """Every row of the sheet in exactly one outcome: ``read`` = accepted + closed + trade + rejected, blanks aside.

    ``gross`` holds the gross rates of the accepted rows by month, in order of appearance; empty ones are 0. ``closed``
    and ``trades`` count rows by month, ``rejects`` holds the rejected ones by month; those without one are in
    ``remarks`` only.
    """

    file: str
    sheet: str
    bookings: list[Booking] = field(default_factory=list)
    gross: dict[str, list[float]] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)
    blank: int = 0
    closed: Counter[str] = field(default_factory=Counter)
    trades: Counter[str] = field(default_factory=Counter)
    rejects: dict[str, list[Remark]] = field(default_factory=dict)
    rejected: int = 0

    @property
    def trade(self) -> int:
        return self.trades.total()

    @property
    def read(self) -> int:
        return len(self.bookings) + self.closed.total() + self.trade + self.rejected

    @property
    def open_rows(self) -> int:
        return self.read - self.closed.total()

    @property
    def months(self) -> list[str]:
        """The months with at least one accepted row, in order of appearance."""
        return list(self.gross)


def parse_rows(sheet: SheetRows, *, closed: Collection[str]) -> ParsedSheet:
    """Give every row its one outcome; the first that applies wins: blank, no month, closed month, trade, no bill code
    or air date, unreadable money, accepted."""
    parsed = ParsedSheet(sheet.file, sheet.sheet)
    readers = [_Memo(READERS[column.kind]) for column in COLUMNS]
    plan = list(zip(readers, sheet.header.positions, strict=True))
    months = _Memo(read_month)
    month_at = sheet.header.positions[POSITION["broadcast_month"]]
    revenue_at = sheet.header.positions[POSITION["revenue_type"]]
    source_at = sheet.header.sheet_source
    for number, row in enumerate(sheet.rows, start=2):
        if sheet.is_blank(row):
            parsed.blank += 1
            continue
        if bool in map(type, row):
            row = [str(cell).upper() if type(cell) is bool else cell for cell in row]
        origin = str(row[source_at]).strip() if source_at is not None else ""
        where = _Place(origin or sheet.sheet, number)
        month, _, fault = months[row[month_at]]
        if fault:
            _reject(parsed, where, fault, "broadcast_month", row, sheet)
        elif month in closed:
            parsed.closed[str(month)] += 1
        elif is_trade(row[revenue_at]):
            parsed.trades[str(month)] += 1
        else:
            values, texts, faults = zip(*[memo[row[position]] for memo, position in plan], strict=True)
            _accept(parsed, where, values, texts, faults, row, sheet)
    return parsed


def without_market(booking: Booking) -> Remark:
    """The warning about a booking whose market is neither known nor created (R30)."""
    market, bill_code, gross = (booking.values[POSITION[name]] for name in ("market_name", "bill_code", "gross_rate"))
    return Remark(
        "warning",
        booking.sheet,
        booking.row,
        "UNKNOWN_MARKET",
        "Market",
        str(market)[:_RAW_LENGTH],
        str(bill_code),
        gross if isinstance(gross, float) else None,
    )


class _Place(NamedTuple):
    sheet: str
    row: int


class _Memo(dict[Any, tuple[Value, str, str | None]]):
    """Reads each distinct cell of a column once: the value, its text for the row hash, the fault."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __missing__(self, cell: Any) -> tuple[Value, str, str | None]:
        value, fault = self.reader(cell)
        # NULL and the empty text are different values, so they need different texts.
        entry = (value, "\0" if value is None else str(value), fault)
        self[cell] = entry
        return entry


def _accept(
    parsed: ParsedSheet,
    where: _Place,
    values: tuple[Value, ...],
    texts: tuple[str, ...],
    faults: tuple[str | None, ...],
    row: list[Any],
    sheet: SheetRows,
) -> None:
    reason, column = _rejection(values, faults)
    if reason:
        _reject(parsed, where, reason, column, row, sheet)
        return
    digest = hashlib.sha256("\x1f".join((*texts, where.sheet)).encode()).hexdigest()
    parsed.bookings.append(Booking(where.row, values, where.sheet, digest))
    if any(faults):
        for fault, spec in zip(faults, COLUMNS, strict=True):
            if fault:
                parsed.remarks.append(_remark("warning", where, fault, spec.name, row, sheet))
    month, air_date = values[POSITION["broadcast_month"]], values[POSITION["air_date"]]
    gross, billing = values[POSITION["gross_rate"]], values[POSITION["billing_type"]]
    parsed.gross.setdefault(str(month), []).append(gross if isinstance(gross, float) else 0.0)
    if billing and expected_month(str(air_date), str(billing)) != month:
        parsed.remarks.append(_remark("warning", where, "MONTH_MISMATCH", "broadcast_month", row, sheet))


def _rejection(values: tuple[Value, ...], faults: tuple[str | None, ...]) -> tuple[str | None, str]:
    if values[POSITION["bill_code"]] is None:
        return "MISSING_BILL_CODE", "bill_code"
    if values[POSITION["air_date"]] is None:
        return "BAD_AIR_DATE" if faults[POSITION["air_date"]] else "MISSING_AIR_DATE", "air_date"
    for position in _MONEY:
        if faults[position]:
            return faults[position], COLUMNS[position].name
    return None, ""


def _reject(parsed: ParsedSheet, where: _Place, reason: str, column: str, row: list[Any], sheet: SheetRows) -> None:
    remark = _remark("reject", where, reason, column, row, sheet)
    parsed.rejected += 1
    parsed.remarks.append(remark)
    if month := READERS["month"](row[sheet.header.positions[POSITION["broadcast_month"]]])[0]:
        parsed.rejects.setdefault(str(month), []).append(remark)


def _remark(
    severity: Literal["reject", "warning"], where: _Place, reason: str, column: str, row: list[Any], sheet: SheetRows
) -> Remark:
    def cell(name: str) -> Any:
        return row[sheet.header.positions[POSITION[name]]]

    raw, bill_code = READERS["text"](cell(column))[0], READERS["text"](cell("bill_code"))[0]
    gross = READERS["money"](cell("gross_rate"))[0]
    return Remark(
        severity,
        where.sheet,
        where.row,
        reason,
        COLUMNS[POSITION[column]].header,
        None if raw is None else str(raw)[:_RAW_LENGTH],
        None if bill_code is None else str(bill_code),
        gross if isinstance(gross, float) else None,
    )
