"""What was agreed about the workbook: its sheets, its 29 columns and how a header may be spelled."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from include.common.xlsx import column_letters
from include.errors import ContractViolation

SHEET = "Commercials"
RECAP_SHEETS = ("Data", "Commercials", "Commercial Lines", "Sheet1")
SHEET_SOURCE = "sheet_source"
DATED_NAME = re.compile(r"^Commercial Log (\d{6})\.xlsx$")

Kind = Literal[
    "text",
    "date",
    "day",
    "time",
    "length",
    "integer",
    "type",
    "money",
    "month",
    "revenue",
    "billing",
    "yes_no",
    "contract",
]


@dataclass(frozen=True)
class Column:
    """One column of the sheet: its header, its column in ``spots``, how its cells are read, other spellings."""

    header: str
    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()


COLUMNS: tuple[Column, ...] = (
    Column("Bill Code", "bill_code", "text"),
    Column("Start Date", "air_date", "date", ("Air Date",)),
    Column("End Date", "end_date", "date"),
    Column("Day(s)", "day_of_week", "day"),
    Column("Time In", "time_in", "time"),
    Column("Time Out", "time_out", "time"),
    Column("Length", "length_seconds", "length"),
    Column("Media/Name/Program", "media", "text"),
    Column("Comments", "comments", "text"),
    Column("Language", "language_code", "text", ("Lang.", "Lang")),
    Column("Format", "format", "text"),
    Column("Units-Spot count", "sequence_number", "integer", ("#",)),
    Column("Line", "line_number", "integer"),
    Column("Type", "spot_type", "type"),
    Column("Agency/Episode# or cut number", "estimate", "text", ("Estimate",)),
    Column("Unit rate Gross", "gross_rate", "money", ("Gross", "Gross Rate")),
    Column("Make Good", "make_good", "text"),
    Column("Spot Value", "spot_value", "money"),
    Column("Month", "broadcast_month", "month"),
    Column("Broker Fees", "broker_fees", "money"),
    Column("Sales/rep com: revenue sharing", "priority", "integer", ("Sales/rep com",)),
    Column("Station Net", "station_net", "money"),
    Column("Sales Person", "sales_person", "text"),
    Column("Revenue Type", "revenue_type", "revenue"),
    Column("Billing Type", "billing_type", "billing"),
    Column("Agency?", "agency_flag", "text"),
    Column("Affidavit?", "affidavit_flag", "yes_no"),
    Column("Notarize?", "contract", "contract", ("Contract",)),
    Column("Market", "market_name", "text"),
)
POSITION = {column.name: position for position, column in enumerate(COLUMNS)}


@dataclass(frozen=True)
class HeaderMap:
    """Where the 29 columns stand in a sheet (0-based), in contract order, and what else stands there."""

    positions: tuple[int, ...]
    sheet_source: int | None
    unknown: tuple[str, ...]


def match_headers(cells: Sequence[Any], *, where: str) -> HeaderMap:
    """Find the 29 columns by header, in any order; case, blanks and line breaks do not count.

    Raises ContractViolation naming every header that is missing or stands twice, its expected place, and what was
    found instead.
    """
    seen: dict[str, list[int]] = {}
    for position, cell in enumerate(cells):
        if key := _fold(cell):
            seen.setdefault(key, []).append(position)

    positions: list[int] = []
    faults: list[str] = []
    for expected, column in enumerate(COLUMNS):
        spellings = [_fold(name) for name in (column.header, *column.aliases)]
        found = [position for spelling in dict.fromkeys(spellings) for position in seen.pop(spelling, [])]
        if len(found) == 1:
            positions.append(found[0])
        elif found:
            faults.append(
                f"'{column.header}' stands {len(found)} times, in columns {', '.join(map(column_letters, found))}"
            )
        else:
            there = cells[expected] if expected < len(cells) else None
            shown = repr(str(there)) if _fold(there) else "nothing"
            faults.append(f"'{column.header}' is missing (column {column_letters(expected)} holds {shown})")
    if faults:
        raise ContractViolation(
            f"{where}, row 1: {'; '.join(faults)}.",
            next_step="Ask traffic to restore the header, or add its new spelling to the contract of the system.",
        )
    source = seen.pop(SHEET_SOURCE, [None])[0]
    return HeaderMap(tuple(positions), source, tuple(str(cells[at[0]]) for at in seen.values()))


def _fold(cell: Any) -> str:
    return " ".join(str(cell).split()).casefold() if cell is not None else ""
