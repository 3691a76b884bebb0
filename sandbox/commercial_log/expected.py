"""What the update has to make of a world, worked out row by row from the rules and from nothing the update uses.

Slow and literal on purpose: one function per rule, no caches, no shared code with the pipeline.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from time import strptime
from typing import Any

from sandbox.commercial_log.generator import World
from sandbox.commercial_log.layout import COLUMNS, MONEY_COLUMNS, MONTH_NAMES, Cell, Fields
from sandbox.commercial_log.people import People

LANGUAGES = ("E", "M", "C", "T", "HM", "SA", "V", "K", "J", "M/C", "P")
MARKETS = {
    "NYC": "NEW YORK",
    "CVC": "Central Valley",
    "SFO": "SAN FRANCISCO",
    "CMP": "CHI MSP",
    "HOU": "HOUSTON",
    "LAX": "LOS ANGELES",
    "SEA": "SEATTLE",
    "DAL": "DALLAS",
}
LATER_MARKETS = {
    "CHI": "CHICAGO",
    "MSP": "MINNEAPOLIS",
    "WDC": "WASHINGTON DC",
    "MMT": "MAMMOTH",
    "ADMIN": "ADMINISTRATIVE",
}
MARKET_ALIASES = {
    **{name.upper(): code for code, name in (MARKETS | LATER_MARKETS).items()},
    "ADMIN": "ADMIN",
}
SPOT_TYPES = ("AV", "BB", "BNS", "COM", "CRD", "PKG", "PRD", "PRG", "SVC")
SPOT_TYPE_ALIASES = {
    "SPOT": "COM",
    "COMMERCIAL": "COM",
    "BONUS": "BNS",
    "PROD": "PRD",
    "PROGRAM": "PRG",
    "SERVICE": "SVC",
}
DATE_FORMATS = (
    *("%Y-%m-%d %H:%M:%S", "%Y-%m-%d", "%m/%d/%Y", "%m/%d/%y", "%d/%m/%Y", "%Y/%m/%d", "%m-%d-%Y", "%m-%d-%y"),
)
OUTCOMES = ("blank", "accepted", "filtered_closed", "filtered_trade", "rejected")
INTEGER_COLUMNS = ("sequence_number", "line_number", "priority")
DONT_INVOICE = re.compile(r" \(Broker (Fees|Costs) - DO NOT INVOICE\)", re.IGNORECASE)
CREDIT_MEMO = re.compile(r"\s+CREDIT\s+MEMO", re.IGNORECASE)
PRODUCTION = re.compile(r"( |- ?)PROD(UCTION)?$", re.IGNORECASE)


@dataclass
class Expected:
    """Everything countable about the load of one world; money in dollars, rows are Excel row numbers."""

    day: str = ""
    closed_months: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)  # by OUTCOMES
    rejects: dict[str, list[int]] = field(default_factory=dict)  # reason -> rows
    warnings: dict[str, int] = field(default_factory=dict)  # reason -> cells of accepted rows
    months: dict[str, dict[str, float]] = field(default_factory=dict)  # accepted: rows, gross, net
    categories: dict[str, int] = field(default_factory=dict)
    assignment_methods: dict[str, int] = field(default_factory=dict)
    spots_per_market: dict[str, int] = field(default_factory=dict)  # '' without one
    new_markets: dict[str, dict[str, Any]] = field(default_factory=dict)  # code -> name, schedule_id, start
    unusable_markets: list[str] = field(default_factory=list)  # texts that never become a market
    spots_per_customer: dict[str, int] = field(default_factory=dict)  # '' unresolved
    spots_per_agency: dict[str, int] = field(default_factory=dict)  # '' without or unresolved
    unresolved_bill_codes: list[str] = field(default_factory=list)
    unresolved_agencies: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data for JSON."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Write it as JSON; what depends on the world only comes out in the same order and bytes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def expect(world: World, *, closed_months: Iterable[str] = (), with_people: bool = True) -> Expected:
    """What the daily update makes of ``world``.

    The database is meant to hold the reference data, these closed months (``Sep-25``), no market beyond the reference
    data and, unless ``with_people`` is false, the world's people data.
    """
    closed = set(closed_months)
    outcome: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    rejects: dict[str, list[int]] = defaultdict(list)
    accepted: list[tuple[str, date, Fields]] = []
    for number, row in enumerate(world.commercials, start=2):
        cells = dict(zip(COLUMNS, row, strict=True))
        result = _outcome(cells, closed)
        outcome[result if result in OUTCOMES else "rejected"] += 1
        if result == "accepted":
            month, aired = _month(cells["broadcast_month"]), _date(cells["air_date"])
            assert month is not None
            assert aired is not None
            accepted.append((month, aired, cells))
        elif result not in OUTCOMES:
            rejects[result].append(number)

    expected = Expected(
        day=world.day.isoformat(), closed_months=sorted(closed), rows=dict(outcome), rejects=dict(rejects)
    )
    _sum_months(expected, accepted)
    _count_languages(expected, accepted)
    _count_warnings(expected, accepted)
    _count_markets(expected, accepted)
    _count_people(expected, accepted, world.people if with_people else None)
    return expected


def _outcome(cells: Fields, closed: set[str]) -> str:
    """R20: the first match wins."""
    if all(_text(cell) == "" for cell in cells.values()):
        return "blank"
    month = _month(cells["broadcast_month"])
    if month is None:
        return "BAD_MONTH" if _text(cells["broadcast_month"]) else "MISSING_MONTH"
    if month in closed:
        return "filtered_closed"
    if _text(cells["revenue_type"]).lower() == "trade":  # R21
        return "filtered_trade"
    if _text(cells["bill_code"]) == "":
        return "MISSING_BILL_CODE"
    if _date(cells["air_date"]) is None:
        return "BAD_AIR_DATE" if _text(cells["air_date"]) else "MISSING_AIR_DATE"
    for column in MONEY_COLUMNS:
        if _text(cells[column]) and _money(cells[column]) is None:
            return "BAD_MONEY"
    return "accepted"


def _sum_months(expected: Expected, accepted: list[tuple[str, date, Fields]]) -> None:
    """R26: an empty amount is nothing, not zero; a sum leaves it out."""
    rows: dict[str, list[Fields]] = defaultdict(list)
    for month, _, cells in accepted:
        rows[month].append(cells)
    for month in sorted(rows, key=lambda text: (text[4:], MONTH_NAMES.index(text[:3]))):
        sums = {}
        for name, column in (("gross", "gross_rate"), ("net", "station_net")):
            amounts = (_money(cells[column]) for cells in rows[month])
            sums[name] = round(math.fsum(amount for amount in amounts if amount is not None), 6)
        expected.months[month] = {"rows": len(rows[month]), **sums}


def _count_languages(expected: Expected, accepted: list[tuple[str, date, Fields]]) -> None:
    categories: Counter[str] = Counter()
    methods: Counter[str] = Counter()
    for _, _, cells in accepted:
        code = _text(cells["language_code"]).upper()
        category = _category(code, _spot_type(cells["spot_type"]), _revenue_type(cells["revenue_type"]).lower())
        categories[category] += 1
        methods[_assignment_method(category, code)] += 1
    expected.categories = dict(sorted(categories.items()))
    expected.assignment_methods = dict(sorted(methods.items()))


def _count_warnings(expected: Expected, accepted: list[tuple[str, date, Fields]]) -> None:
    warnings: Counter[str] = Counter()
    for month, aired, cells in accepted:
        spot_type = _text(cells["spot_type"])
        warnings["UNKNOWN_TYPE"] += spot_type != "" and _spot_type(spot_type) == ""  # R22
        billing = _text(cells["billing_type"]).lower()
        warnings["UNKNOWN_BILLING_TYPE"] += billing not in ("", "broadcast", "calendar")  # R24
        affidavit = _text(cells["affidavit_flag"]).lower()
        warnings["UNKNOWN_AFFIDAVIT"] += affidavit not in ("", "y", "n", "yes", "no")  # R24
        warnings["BAD_TIME"] += sum(not _is_time(cells[column]) for column in ("time_in", "time_out"))  # R25
        warnings["BAD_TIME"] += not (_is_time(cells["length_seconds"]) or _is_seconds(cells["length_seconds"]))
        warnings["NON_NUMERIC"] += sum(not _is_integer(cells[column]) for column in INTEGER_COLUMNS)  # R27
        warnings["MONTH_MISMATCH"] += billing in ("broadcast", "calendar") and _billed_month(aired, billing) != month
        warnings["BAD_DATE"] += _text(cells["end_date"]) != "" and _date(cells["end_date"]) is None
    expected.warnings = {reason: count for reason, count in sorted(warnings.items()) if count}


def _count_markets(expected: Expected, accepted: list[tuple[str, date, Fields]]) -> None:
    """R30: code, name or alias; what is left becomes a market, dated by its earliest accepted spot."""
    by_name = {name.upper(): code for code, name in MARKETS.items()}
    spots: Counter[str] = Counter()
    first_day: dict[str, date] = {}
    unusable: set[str] = set()
    for _, aired, cells in accepted:
        text = _text(cells["market_name"])
        key = text.upper()
        if key == "":
            code = ""
        elif key in MARKETS:
            code = key
        elif key in by_name:
            code = by_name[key]
        elif len(text) > 50 or any(mark in text for mark in (";", "--", "/*")):
            code = ""
            unusable.add(text)
        else:
            code = MARKET_ALIASES.get(key, re.sub(r"\s+", "_", key))
            if code not in MARKETS:
                first_day[code] = min(aired, first_day.get(code, aired))
        spots[code] += 1
    expected.spots_per_market = dict(sorted(spots.items()))
    expected.new_markets = {
        code: {
            "name": LATER_MARKETS.get(code, code.replace("_", " ")),
            "schedule_id": 2 if code == "DAL" else 1,
            "start": start.isoformat(),
        }
        for code, start in sorted(first_day.items())
    }
    expected.unusable_markets = sorted(unusable)


def _count_people(expected: Expected, accepted: list[tuple[str, date, Fields]], people: People | None) -> None:
    directory = _Directory(people)
    customers: Counter[str] = Counter()
    agencies: Counter[str] = Counter()
    unresolved_codes: set[str] = set()
    unresolved_agencies: set[str] = set()
    found: dict[str, tuple[str, str, str]] = {}
    for _, _, cells in accepted:
        code = _text(cells["bill_code"])
        if code not in found:
            found[code] = (directory.customer(code), *directory.agency(code))
        customer, agency, unresolved_agency = found[code]
        customers[customer] += 1
        agencies[agency] += 1
        if customer == "":
            unresolved_codes.add(code)
        if unresolved_agency:
            unresolved_agencies.add(unresolved_agency)
    expected.spots_per_customer = dict(sorted(customers.items()))
    expected.spots_per_agency = dict(sorted(agencies.items()))
    expected.unresolved_bill_codes = sorted(unresolved_codes)
    expected.unresolved_agencies = sorted(unresolved_agencies)


class _Directory:
    """R29: active customers, active agencies and their active aliases, by trimmed lower-case name."""

    def __init__(self, people: People | None) -> None:
        self._names = {
            "customer": _active_names(people.customers if people else (), "customer_id", "normalized_name"),
            "agency": _active_names(people.agencies if people else (), "agency_id", "agency_name"),
        }
        self._aliases: dict[tuple[str, str], str] = {}
        for row in people.entity_aliases if people else ():
            kind = str(row["entity_type"])
            target = self._names[kind][1].get(row["target_entity_id"])
            if row["is_active"] and target is not None:
                self._aliases[kind, str(row["alias_name"]).strip().lower()] = target

    def customer(self, code: str) -> str:
        """The registered name, '' when nobody is found."""
        candidates = [code, code.partition(":")[2] or code, code.rpartition(":")[2]]
        for candidate in candidates + [_cleaned(candidate) for candidate in candidates]:
            name = self._find("customer", candidate)
            if name is not None:
                return name
        return ""

    def agency(self, code: str) -> tuple[str, str]:
        """The registered name and, when there is none, the unresolved text."""
        text, colon, _ = code.partition(":")
        if not colon or text.strip().lower() == "direct":
            return "", ""
        name = self._find("agency", text)
        return ("", text.strip()) if name is None else (name, "")

    def _find(self, kind: str, text: str) -> str | None:
        key = text.strip().lower()
        return self._names[kind][0].get(key) or self._aliases.get((kind, key))


def _active_names(
    rows: Iterable[Mapping[str, object]], key: str, name: str
) -> tuple[dict[str, str], dict[object, str]]:
    active = [row for row in rows if row["is_active"]]
    by_name = {str(row[name]).strip().lower(): str(row[name]) for row in active}
    return by_name, {row[key]: str(row[name]) for row in active}


def _cleaned(text: str) -> str:
    without_notes = CREDIT_MEMO.sub("", DONT_INVOICE.sub("", text)).strip()
    return " ".join(PRODUCTION.sub("", without_notes).split())


def _text(cell: Cell) -> str:
    """A cell as people read it, trimmed: a whole number has no decimals."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell).strip()


def _month(cell: Cell) -> str | None:
    """R13: month and year of the cell, the day does not matter."""
    if isinstance(cell, datetime):
        return f"{MONTH_NAMES[cell.month - 1]}-{cell.year % 100:02d}"
    text = _text(cell).title()
    return text if re.fullmatch(r"[A-Z][a-z]{2}-\d\d", text) and text[:3] in MONTH_NAMES else None


def _date(cell: Cell) -> date | None:
    """R14."""
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, int | float):
        return date(1899, 12, 30) + timedelta(days=int(cell)) if 36_526 <= cell <= 73_050 else None
    for pattern in DATE_FORMATS:
        try:
            parsed = strptime(_text(cell), pattern)
        except ValueError:
            continue
        return date(parsed.tm_year, parsed.tm_mon, parsed.tm_mday)
    return None


def _money(cell: Cell) -> float | None:
    """R26: None for an empty cell and for what is no amount."""
    if isinstance(cell, int | float):
        return float(cell)
    text = re.sub(r"[$,\s]", "", _text(cell))
    if re.fullmatch(r"\(.*\)", text):
        text = f"-{text[1:-1]}"
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text) else None


def _is_time(cell: Cell) -> bool:
    """R25: an empty cell is fine too."""
    if cell is None or isinstance(cell, time):
        return True
    if isinstance(cell, timedelta):
        return timedelta(0) <= cell <= timedelta(days=1)
    if isinstance(cell, int | float):
        return 0 <= cell <= 1
    text = _text(cell)
    clock = re.fullmatch(r"(\d{1,2}):([0-5]\d)(:[0-5]\d)?( [AP]M)?", text, re.IGNORECASE)
    if clock:
        return 1 <= int(clock[1]) <= 12 if clock[4] else int(clock[1]) < 24 or text in ("24:00", "24:00:00")
    return text in ("", "1 day, 0:00:00")


def _is_seconds(cell: Cell) -> bool:
    return isinstance(cell, int | float) and cell > 1 and float(cell).is_integer()


def _is_integer(cell: Cell) -> bool:
    return re.fullmatch(r"(-?\d+(\.0+)?)?", _text(cell)) is not None


def _spot_type(cell: Cell) -> str:
    """R22, '' for NULL and for unknown ones."""
    code = _text(cell).upper()
    code = SPOT_TYPE_ALIASES.get(code, code)
    return code if code in SPOT_TYPES else ""


def _revenue_type(cell: Cell) -> str:
    """R23."""
    squeezed = re.sub(r"[\s./-]", "", _text(cell).lower()).replace("&", "and")
    return "Internal Ad Sales" if squeezed in ("ao", "aando") else _text(cell)


def _billed_month(aired: date, billing: str) -> str:
    """R13: the month of the Sunday that ends the week, or the calendar month."""
    day = aired + timedelta(days=6 - aired.weekday()) if billing == "broadcast" else aired
    return f"{MONTH_NAMES[day.month - 1]}-{day.year % 100:02d}"


def _category(code: str, spot_type: str, revenue: str) -> str:
    """R37."""
    required, review, english = "language_assignment_required", "review_category", "default_english"
    if code == "L":
        return review
    if spot_type in ("COM", "BB"):
        return required if code else english
    if revenue == "internal ad sales" and spot_type == "BNS":
        return required
    if revenue == "local":
        return required
    if revenue in ("direct response sales", "direct response", "paid programming", "branded content"):
        return english
    if revenue == "other" and spot_type in ("SVC", "PRD"):
        return english
    return review


def _assignment_method(category: str, code: str) -> str:
    """R38, R39."""
    valid = code in LANGUAGES or code in ("EN", "ENG")
    if category == "default_english":
        return "business_rule_default_english"
    if code == "L":
        return "undetermined_flagged"
    if code and not valid:
        return "invalid_code_flagged"
    if category == "review_category":
        return "business_review_required"
    return "direct_mapping" if code else "default_english"
