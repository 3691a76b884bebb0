"""Cells of the sheet to stored values, one reader per kind of column.

A reader takes a cell as it comes out of the workbook (str, float, int, date, datetime, time, timedelta, ``""`` or None
for empty) and returns the value to store and, when it could not make sense of the cell, the reason. Readers are pure:
the loader calls each once per distinct cell.
"""

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from functools import cache
from math import isfinite
from typing import Any

from include.commercial_log.contract import Kind

Value = str | int | float | None
Reading = tuple[Value, str | None]
Reader = Callable[[Any], Reading]

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY_SECONDS = 86_400
EXACT_INTEGERS = 2**53
SPOT_TYPES = frozenset(("AV", "BB", "BNS", "COM", "CRD", "PKG", "PRD", "PRG", "SVC"))
SPOT_TYPE_ALIASES = {
    "SPOT": "COM",
    "COMMERCIAL": "COM",
    "BONUS": "BNS",
    "PROD": "PRD",
    "PROGRAM": "PRG",
    "SERVICE": "SVC",
}
# Tried in this order, so day before month only counts where the American reading is impossible.
DATE_FORMATS = (
    re.compile(r"^(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})(?:[ T]\d{1,2}:\d{2}:\d{2})?$"),
    re.compile(r"^(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4}|\d{2})$"),
    re.compile(r"^(?P<d>\d{1,2})/(?P<m>\d{1,2})/(?P<y>\d{4})$"),
    re.compile(r"^(?P<y>\d{4})/(?P<m>\d{1,2})/(?P<d>\d{1,2})$"),
    re.compile(r"^(?P<m>\d{1,2})-(?P<d>\d{1,2})-(?P<y>\d{4}|\d{2})$"),
)
EXCEL_EPOCH = date(1899, 12, 30)
# A year outside this century is a slip, and as a broadcast month of two digits it would pass for another year.
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2099, 12, 31)
SERIALS_END = (LAST_DAY - EXCEL_EPOCH).days + 1
MONTH_TEXT = re.compile(rf"^({'|'.join(MONTHS)})-(\d\d)$", re.IGNORECASE | re.ASCII)
CLOCK_TEXT = re.compile(
    r"^(?P<h>\d{1,2}):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?(?:\s*(?P<half>[AP])\.?M\.?)?$", re.IGNORECASE
)
ONE_DAY_TEXT = re.compile(r"^1 day,\s*0?0:00:00$", re.IGNORECASE)
GROUPED = re.compile(r"^[-+]?\d{1,3}(?:,\d{3})+(?:\.\d*)?$")
MONEY_TEXT = re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)$")


def read_text(cell: Any) -> Reading:
    """Trimmed text; numbers and times as a person would type them, empty is NULL."""
    if type(cell) is str:
        return cell.strip() or None, None
    return _as_text(cell), None


def read_date(cell: Any) -> Reading:
    """A calendar day of the years 2000 to 2099 as ISO text (R14); two-digit years are 20YY."""
    if (day := _day_of(cell)) is not None:
        return day.isoformat(), None
    return None, "BAD_DATE" if _as_text(cell) else None


def read_month(cell: Any) -> Reading:
    """``Mmm-YY`` of the cell's date, its day ignored, or of text in that form (R13)."""
    if isinstance(cell, str) and (match := MONTH_TEXT.match(cell.strip())):
        return f"{match[1].title()}-{match[2]}", None
    if (day := _day_of(cell)) is not None:
        return month_label(day), None
    return None, "BAD_MONTH" if _as_text(cell) else "MISSING_MONTH"


def read_day(cell: Any) -> Reading:
    """The English day name in lower case; a date cell formatted as a day name counts as its day."""
    if isinstance(cell, date):
        return DAYS[cell.weekday()], None
    text = _as_text(cell)
    return text.lower() if text else None, None


def read_time(cell: Any) -> Reading:
    """``HH:MM:SS``; midnight at the end of the day is ``24:00:00`` (R25). Unreadable text is kept as it is."""
    seconds = _seconds(cell)
    if seconds is not None and 0 <= seconds <= DAY_SECONDS:
        return _clock(seconds), None
    text = _as_text(cell)
    return text, "BAD_TIME" if text else None


def read_length(cell: Any) -> Reading:
    """A duration as ``HH:MM:SS``; whole numbers above 1 are seconds (R25)."""
    number = _number(cell)
    if number is not None and number > 1 and number.is_integer():
        return _clock(int(number)), None
    seconds = _seconds(cell)
    if seconds is not None and seconds >= 0:
        return _clock(seconds), None
    text = _as_text(cell)
    return text, "BAD_TIME" if text else None


def read_money(cell: Any) -> Reading:
    """US dollars, exactly as given and never rounded; empty is NULL, never 0 (R26)."""
    text = _as_text(cell)
    if text is None:
        return None, None
    number = _number(cell)
    if number is None and isinstance(cell, str):
        amount = re.sub(r"[$\s]", "", text)
        if amount.startswith("(") and amount.endswith(")"):
            amount = f"-{amount[1:-1]}"
        # A comma that groups no thousands may be a decimal comma, and 12,50 is not 1250 dollars.
        number = None if "," in amount and not GROUPED.match(amount) else _number(amount.replace(",", ""))
    # Plus zero: minus zero is not another amount.
    return (None, "BAD_MONEY") if number is None else (number + 0.0, None)


def read_integer(cell: Any) -> Reading:
    """A whole number, else NULL (R27)."""
    number = _number(cell)
    if number is not None and number.is_integer() and abs(number) <= EXACT_INTEGERS:
        return int(number), None
    return None, "NON_NUMERIC" if _as_text(cell) else None


def read_contract(cell: Any) -> Reading:
    """The contract number as text; ``0`` and empty are NULL (R27)."""
    text = _as_text(cell)
    return None if text == "0" else text, None


def read_type(cell: Any) -> Reading:
    """The spot type code (R22); one that is not known is stored as ``''``."""
    text = _as_text(cell)
    if text is None:
        return None, None
    code = SPOT_TYPE_ALIASES.get(text.upper(), text.upper())
    return (code, None) if code in SPOT_TYPES else ("", "UNKNOWN_TYPE")


def read_revenue(cell: Any) -> Reading:
    """The revenue type; every spelling of A&O means Internal Ad Sales (R23)."""
    text = _as_text(cell)
    if text and re.sub(r"[\s./-]", "", text.lower()).replace("&", "and") in ("ao", "aando"):
        return "Internal Ad Sales", None
    return text, None


def read_billing(cell: Any) -> Reading:
    """``Calendar`` or ``Broadcast`` in any case, else NULL (R24)."""
    text = _as_text(cell)
    if text is None:
        return None, None
    value = text.title()
    return (value, None) if value in ("Calendar", "Broadcast") else (None, "UNKNOWN_BILLING_TYPE")


def read_yes_no(cell: Any) -> Reading:
    """``Y`` or ``N``, also from ``yes`` and ``no``, else NULL (R24)."""
    text = _as_text(cell)
    if text is None:
        return None, None
    value = {"y": "Y", "yes": "Y", "n": "N", "no": "N"}.get(text.lower())
    return value, None if value else "UNKNOWN_AFFIDAVIT"


READERS: dict[Kind, Reader] = {
    "text": read_text,
    "date": read_date,
    "day": read_day,
    "time": read_time,
    "length": read_length,
    "integer": read_integer,
    "type": read_type,
    "money": read_money,
    "month": read_month,
    "revenue": read_revenue,
    "billing": read_billing,
    "yes_no": read_yes_no,
    "contract": read_contract,
}


def month_label(day: date) -> str:
    """``Mmm-YY`` with English names whatever the locale."""
    return f"{MONTHS[day.month - 1]}-{day.year % 100:02d}"


def month_start(label: str) -> date:
    """The first day of an ``Mmm-YY`` month; years are 20YY."""
    return date(2000 + int(label[4:]), MONTHS.index(label[:3]) + 1, 1)


@cache
def expected_month(air_date: str, billing_type: str) -> str:
    """The billing month of an air date: the broadcast week runs Monday to the Sunday that names its month (R13)."""
    day = date.fromisoformat(air_date)
    if billing_type == "Broadcast":
        day += timedelta(days=6 - day.weekday())
    return month_label(day)


def is_trade(cell: Any) -> bool:
    """Whether a Revenue Type cell says Trade (R21)."""
    return isinstance(cell, str) and cell.strip().casefold() == "trade"


def _as_text(cell: Any) -> str | None:
    if cell is None:
        return None
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat(sep=" ", timespec="seconds")
    if isinstance(cell, (time, timedelta)):
        return _clock(_seconds(cell) or 0)
    return str(cell)


def _number(cell: Any) -> float | None:
    if type(cell) not in (int, float) and not (isinstance(cell, str) and MONEY_TEXT.match(cell.strip())):
        return None
    number = float(cell)
    return number if isfinite(number) else None


def _day_of(cell: Any) -> date | None:
    if isinstance(cell, datetime):
        day = cell.date()
    elif isinstance(cell, date):
        day = cell
    elif type(cell) in (int, float) and 0 <= cell < SERIALS_END:
        day = EXCEL_EPOCH + timedelta(days=int(cell))
    elif isinstance(cell, str) and (parsed := _day_in_text(cell.strip())):
        day = parsed
    else:
        return None
    return day if FIRST_DAY <= day <= LAST_DAY else None


def _day_in_text(text: str) -> date | None:
    for pattern in DATE_FORMATS:
        if not (match := pattern.match(text)):
            continue
        year, month, day = (int(match[part]) for part in "ymd")
        try:
            return date(year + 2000 if len(match["y"]) == 2 else year, month, day)
        except ValueError:
            continue
    return None


def _seconds(cell: Any) -> int | None:
    """Seconds since midnight, or a duration's; floats of Excel are off by microseconds, so to the nearest second."""
    if isinstance(cell, datetime):
        # A day fraction of exactly 1 in a cell formatted as a time comes back as the first of Excel's days.
        if cell.date() == date(1900, 1, 1) and cell.time() == time():
            return DAY_SECONDS
        cell = cell.time()
    if isinstance(cell, date):
        return DAY_SECONDS if cell == date(1900, 1, 1) else None
    if isinstance(cell, time):
        cell = timedelta(hours=cell.hour, minutes=cell.minute, seconds=cell.second, microseconds=cell.microsecond)
    if isinstance(cell, timedelta):
        return round(cell.total_seconds())
    if type(cell) in (int, float):
        return round(cell * DAY_SECONDS) if 0 <= cell <= 1 else None
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if ONE_DAY_TEXT.match(text):
        return DAY_SECONDS
    if not (match := CLOCK_TEXT.match(text)):
        return None
    hours, minutes, seconds = int(match["h"]), int(match["m"]), int(match["s"] or 0)
    if match["half"]:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if match["half"].upper() == "P" else 0)
    return hours * 3600 + minutes * 60 + seconds


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
