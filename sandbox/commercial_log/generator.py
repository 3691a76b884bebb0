"""The booked-spot workbook as the traffic department left it on a given day, made from a seed.

A row is a pure function of what it is (kind, broadcast month, number) and of how often it has been replaced and changed
by that day. So any day is made directly, and two days are states of one world: from one day to the next 1 % of the rows
are replaced by new ones and 2 % get another rate, date or language. On the first of a month the sheet is rolled on: the
month before is cut down to its last 2 %, every later month takes the size of the one before it. Every seventh file
(Sunday's) lacks the oldest month.
"""

from __future__ import annotations

import math
from calendar import monthrange
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import count, pairwise
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

from sandbox.commercial_log.layout import (
    ADD_TO_BOOKED_BUSINESS,
    BLANK_ROW,
    COLUMNS,
    COMMERCIALS,
    DAY_NAMES,
    MONEY_COLUMNS,
    PENDING,
    POSITION,
    WORLDLINK_LINES,
    Cell,
    Fields,
    Row,
    month_after,
    month_text,
)
from sandbox.commercial_log.people import People, make_people
from sandbox.commercial_log.tables import Table, apportion

ROWS = 15_625  # at scale 1: 15,576 accepted, 44 Trade, 5 rejects
MONTH_SHARES = {-1: 2, 0: 35, 1: 25, 2: 15, 3: 10, 4: 8, 5: 5}  # months from the one of the day
OTHER_SHEETS = {WORLDLINK_LINES: 42, ADD_TO_BOOKED_BUSINESS: 12, PENDING: 9}
REPLACED_EVERY = 100  # days: 1 % of the rows a day
CHANGED_EVERY = 50  # days: 2 % of the rows a day
OLDEST_MONTH_MISSING_EVERY = 7  # files
TOTAL_ROW_EVERY = 2  # files
BLANK_ROW_EVERY = 200  # rows

IAS, DIRECT_RESPONSE = "Internal Ad Sales", "Direct Response Sales"

# Revenue type and spot type belong together; the sums are the shares of either. Trade has its own rows below.
KINDS: Table[tuple[str | None, str | None]] = Table(
    *(((IAS, "COM"), 38.4), ((IAS, "BNS"), 17.2), ((IAS, "BB"), 4), ((IAS, "AV"), 2), ((IAS, "PKG"), 0.7)),
    *(((IAS, "CRD"), 0.5), ((IAS, None), 0.2)),
    *(((DIRECT_RESPONSE, "COM"), 22), ((DIRECT_RESPONSE, "BNS"), 7.5), ((DIRECT_RESPONSE, "PRG"), 0.5)),
    (("Paid Programming", "PRG"), 2.5),
    *((("Branded Content", "PRD"), 1.5), (("Branded Content", "COM"), 1)),
    *((("Other", "SVC"), 1), (("Other", "COM"), 0.1), (("Other", None), 0.1)),
    *((("Local", "COM"), 0.2), (("Local", "BNS"), 0.1)),
    *(((None, "COM"), 0.1), ((None, "BNS"), 0.1)),
)
PAID_AD = (IAS, "COM")
SPELLED_TYPE: dict[str | None, Table[str | None]] = {
    None: Table((None, 1)),
    "COM": Table(("Com", 68), ("COM", 26), ("com", 3), ("Com ", 1.5), ("Spot", 1), ("Commercial", 0.5)),
    "BNS": Table(("BNS", 80), ("Bns", 17), ("Bonus", 2), ("bns ", 1)),
    "PRG": Table(("PRG", 95), ("Program", 5)),
    "PRD": Table(("PRD", 95), ("Prod", 5)),
    "SVC": Table(("SVC", 95), ("Service", 5)),
    **{code: Table((code, 95), (code.title(), 5)) for code in ("AV", "BB", "PKG", "CRD")},
}
MARKETS = Table(
    *(("CVC", 26.6), ("cvc", 0.2), ("Central Valley", 0.2), ("SEA", 21.8), ("Sea ", 0.2), ("SFO", 16.8)),
    *(("San Francisco", 0.2), ("LAX", 13.8), ("Los Angeles", 0.2), ("NYC", 6.8), ("New York", 0.2), ("CMP", 5)),
    *(("HOU", 3), ("DAL", 3), ("MMT", 1.5), ("ADMIN", 0.3), ("Admin", 0.2)),
)
LANGUAGES: Table[str | None] = Table(
    *(("M", 23.8), ("m", 0.1), ("M ", 0.1), ("V", 20.9), ("v", 0.1), ("SA", 16), ("T", 12), ("C", 9), ("K", 7)),
    *(("E", 4.8), ("EN", 0.1), ("ENG", 0.1), ("M/C", 2), ("Hm", 1.5), ("J", 1), ("P", 0.5), (None, 0.5)),
)
DIRECT_RESPONSE_LANGUAGES: Table[str | None] = Table(("E", 70), (None, 30))

# Gross of a paid spot in dollars at quantiles, log-linear between them.
GROSS = ((0.0, 9), (0.25, 21), (0.5, 40), (0.75, 63), (0.95, 350), (1.0, 3_500))
GROSS_ENDINGS = Table(("whole", 82), ("cents", 13), ("net / 0.85", 5))
AGENCY_NET, AGENCY_NET_SHARE = 0.85, 58 / 78  # the share is of agency-billed spots, which are 78 % of all
BROKER_SHARE = 0.05

ALL_DAY = (6 * 3600, 24 * 3600 - 60)
MIDNIGHT = 24 * 3600
BLOCKS = ((6, 8), (8, 10), (10, 11), (11, 13), (13, 16), (16, 18), (18, 19), (19, 20), (20, 23.5))
LATE_BLOCKS = ((19, 24), (20, 24), (23.5, 24))
WINDOWS = Table(
    (ALL_DAY, 45),
    *(((int(start * 3600), int(end * 3600)), 52 / len(BLOCKS)) for start, end in BLOCKS),
    *(((int(start * 3600), MIDNIGHT), 3 / len(LATE_BLOCKS)) for start, _ in LATE_BLOCKS),
)
CLOCK_CELLS = Table(("time", 60), ("elapsed", 20), ("text", 14), ("24 hours", 4), ("short", 2))
LENGTHS = Table(
    *((30, 70), (15, 15), (60, 6), (120, 5)),
    *((45, 1.4), (10, 0.5), (5, 0.2), (300, 0.3), (1_680, 0.6), (3_600, 0.7), (28_800, 0.3)),
)
LENGTH_CELLS = Table(("elapsed", 50), ("time", 30), ("24 hours", 19), ("seconds", 1))
WEEKEND_WEIGHT = 1.2
BROADCAST_SHARE = 0.8
MONTH_DAYS = Table((1, 90.5), (15, 8), (11, 1), (22, 0.5))
END_DATES = Table((0, 97), (1, 1), (None, 2))  # days after the start

PROGRAMMES = Table(
    *(("Evening News", 20), ("Mandarin Prime", 15), ("Vietnamese Midday", 15), ("South Asian Afternoon", 12)),
    *(("Filipino Extended", 10), ("The Starry Love", 8), ("Korean Morning", 6), ("Cantonese Late Night", 5)),
    *(("Tin Tức Buổi Trưa", 3), ("ROS", 3), (None, 3)),
)
SEASONS = Table(("Fall", 1), ("Holiday", 1), ("Sale", 1), ("Brand", 1))
COMMENTS = Table(
    ("aired", 55), (None, 42), ("Tết special", 1), ('per client "ok" <& signed>', 1), ("1/2 hour, 春节", 1)
)
ESTIMATES = Table(("text", 60), ("number", 15), (None, 25))
CONTRACTS = Table(("int", 55), ("float", 12), ("text", 15), ("zero", 3), (None, 15))
MAKE_GOODS = Table((None, 98), ("MG for 8/12", 1), ("MG tbd", 1))
PRIORITIES = Table((None, 60), (1, 20), (2, 15), (3.0, 4), ("2", 1))
AFFIDAVITS = Table(("N", 68), ("Y", 28), (None, 2), ("yes", 1), ("no ", 1))
NEW_MARKETS = ("DEN", "ATL", "PDX", "SAN", "BWI", "MCO")
BILL_CODE_ENDINGS = Table(("", 97), (" ", 2), ("  ", 1))

# Steps of the golden ratio never stay inside one share of a table below 38 %: a changed cell always shows.
CHANGE_STEP = 0.6180339887498949

Alteration = Callable[[Fields], Fields]


def put(column: str, *values: Cell) -> tuple[Alteration, ...]:
    """Alterations that type ``values`` into ``column``."""

    def alteration(value: Cell) -> Alteration:
        return lambda _: {column: value}

    return tuple(alteration(value) for value in values)


def retype(column: str, *rewrites: Callable[[Any], Cell]) -> tuple[Alteration, ...]:
    """Alterations that write the value of ``column`` in another way."""

    def alteration(rewrite: Callable[[Any], Cell]) -> Alteration:
        return lambda fields: {column: rewrite(fields[column])}

    return tuple(alteration(rewrite) for rewrite in rewrites)


def air_months_away(days: int) -> Alteration:
    def alteration(fields: Fields) -> Fields:
        start = fields["air_date"]
        assert isinstance(start, datetime)
        aired = start + timedelta(days=days)
        return {"air_date": aired, "end_date": aired, "day_of_week": DAY_NAMES[aired.weekday()]}

    return alteration


def book_new_market(fields: Fields) -> Fields:
    """A code of the year, in its first five months: the months of one file never meet two of them."""
    month = fields["broadcast_month"]
    assert isinstance(month, datetime)
    return {"market_name": NEW_MARKETS[month.year % len(NEW_MARKETS)] if month.month <= 5 else "BOS"}


@dataclass(frozen=True)
class Quirk:
    """Rows that are odd in one way; they take the alterations in turn."""

    name: str
    rows: int  # at scale 1
    alterations: tuple[Alteration, ...]
    kind: tuple[str, str] | None = None  # where the oddity needs a certain revenue and spot type
    at_every_scale: bool = False

    def rows_at(self, scale: float) -> int:
        return self.rows if self.at_every_scale else max(1, round(self.rows * scale))


QUIRKS = (
    Quirk("trade", 44, put("revenue_type", "Trade", "TRADE", "trade", " Trade ")),
    # Rejected, in the order of the tests.
    Quirk("bad_money", 2, put("gross_rate", "TBD", "12.50 + tax"), PAID_AD, at_every_scale=True),
    Quirk("missing_date", 2, put("air_date", None, "  "), at_every_scale=True),
    Quirk("missing_bill_code", 1, put("bill_code", None), at_every_scale=True),
    # Accepted.
    Quirk(
        "money_text",
        16,
        retype(
            "gross_rate",
            lambda gross: f"${gross:,.2f}",
            lambda gross: f"({gross:.2f})",
            lambda gross: f"{gross:,.2f}",
            lambda gross: f" $ {gross:,.2f} ",
        ),
        PAID_AD,
    ),
    Quirk(
        "date_text",
        156,
        retype(
            "air_date",
            lambda start: f"{start:%m/%d/%Y}",
            lambda start: f"{start.month}/{start.day}/{start:%y}",
            lambda start: f"{start:%Y-%m-%d}",
            lambda start: f"{start:%Y-%m-%d %H:%M:%S}",
            lambda start: (start - datetime.combine(date(1899, 12, 30), time())).days,
        ),
    ),
    Quirk(
        "month_text",
        78,
        retype(
            "broadcast_month",
            lambda month: month_text(month),
            lambda month: month_text(month).upper(),
            lambda month: f" {month_text(month).lower()}",
        ),
    ),
    Quirk("month_off", 16, (air_months_away(70), air_months_away(-70))),
    Quirk("a_and_o", 98, put("revenue_type", "A&O", "A & O", "a&o", "A/O", "A and O"), PAID_AD),
    Quirk("language_undetermined", 29, put("language_code", "L"), PAID_AD),
    Quirk("language_invalid", 20, put("language_code", "M,V", "13", "F", "H", "C,M,Hm", 3, "A", 5), PAID_AD),
    Quirk("unknown_type", 16, put("spot_type", "XYZ", "Promo", "??")),
    Quirk("unknown_affidavit", 47, put("affidavit_flag", "sent 8/12", "Notarized", "see e-mail", 41_873)),
    Quirk("unknown_billing", 8, put("billing_type", "Weekly", "see contract")),
    Quirk("bad_time", 6, (*put("time_in", "ROS", "various"), *put("length_seconds", "half hour"))),
    Quirk("non_numeric", 6, (*put("line_number", "n/a", 2.5), *put("sequence_number", "3 of 4"))),
    Quirk("new_market", 46, (*put("market_name", "PHX", "phx", "BOS"), book_new_market)),
    Quirk("unusable_market", 2, put("market_name", "SFO; LAX", "all markets, see the note of traffic of Thursday 28")),
    Quirk("exact_duplicate", 78, ()),
)


class Slot(NamedTuple):
    """Where a row lives: one of the rows of a quirk (None: ordinary rows) in a broadcast month."""

    quirk: Quirk | None
    month: date
    number: int
    turn: int = 0  # which alteration of the quirk; counted over the whole file, so that it has all of them


@dataclass(frozen=True)
class World:
    """What is on the share on one day."""

    day: date
    seed: int
    months: tuple[date, ...]  # first days of the broadcast months in the file, oldest first
    sheets: dict[str, list[Row]]  # in the workbook's order, without the header row
    people: People
    planted: dict[str, int]  # rows of `Commercials` per quirk, and `ordinary`, `blank`, `total`

    @property
    def commercials(self) -> list[Row]:
        """The rows below the header: row ``n`` of the list is Excel row ``n + 2``."""
        return self.sheets[COMMERCIALS]


def generate(day: date, *, seed: int = 1, scale: float = 1.0, closed_rows: int = 0) -> World:
    """The workbook of ``day``; equal arguments make equal worlds.

    ``closed_rows`` adds ordinary rows of the month before the previous one. At least one row of every quirk is there
    at any scale, and all five rejects; none of them is in the previous month, so closing that keeps their number.
    """
    people = make_people(seed)
    oldest_missing = day.toordinal() % OLDEST_MONTH_MISSING_EVERY == 0
    slots = list(_slots(day, scale, closed_rows=closed_rows, oldest_missing=oldest_missing))
    planted = Counter(slot.quirk.name if slot.quirk else "ordinary" for slot in slots)

    drawn = [(slot, *_row(seed, "row", slot, day, people)) for slot in slots]
    # As kept by traffic: month by month, by date; a duplicate stands below its original.
    drawn.sort(key=lambda item: (item[0].month, item[1], item[0].number, item[0].quirk is not None))
    rows: list[Row] = []
    for number, (_, _, row) in enumerate(drawn, start=1):
        rows.append(row)
        if number % BLANK_ROW_EVERY == 0:
            rows.append(_with(BLANK_ROW, comments="  " if number % (2 * BLANK_ROW_EVERY) == 0 else None))
    rows.append(BLANK_ROW)
    planted["total"] = int(day.toordinal() % TOTAL_ROW_EVERY == 0)
    rows.append(_total_row(rows) if planted["total"] else _with(BLANK_ROW, bill_code=" "))
    planted["blank"] = len(rows) - len(slots) - planted["total"]

    other_sheets = {
        sheet: [_row(seed, sheet, Slot(None, month_after(day, 0), number), day, people)[1] for number in range(lines)]
        for sheet, lines in OTHER_SHEETS.items()
    }
    return World(
        day=day,
        seed=seed,
        months=tuple(sorted({slot.month for slot in slots})),
        sheets={
            WORLDLINK_LINES: other_sheets[WORLDLINK_LINES],
            COMMERCIALS: rows,
            ADD_TO_BOOKED_BUSINESS: other_sheets[ADD_TO_BOOKED_BUSINESS],
            PENDING: other_sheets[PENDING],
        },
        people=people,
        planted=dict(planted),
    )


def _slots(day: date, scale: float, *, closed_rows: int, oldest_missing: bool) -> Iterator[Slot]:
    ordinary = apportion(round(ROWS * scale), MONTH_SHARES)
    open_shares = {offset: share for offset, share in MONTH_SHARES.items() if offset >= 0}
    for quirk in QUIRKS:
        turns = count()
        for offset, rows in apportion(quirk.rows_at(scale), open_shares).items():
            ordinary[offset] -= rows
            yield from (Slot(quirk, month_after(day, offset), number, next(turns)) for number in range(rows))
    if oldest_missing:
        del ordinary[min(ordinary)]
    if closed_rows:
        ordinary[min(MONTH_SHARES) - 1] = closed_rows
    for offset, rows in ordinary.items():
        # A tiny scale has room for little more than the quirks; a duplicate still needs its original.
        yield from (Slot(None, month_after(day, offset), number) for number in range(max(1, rows)))


def _row(seed: int, sheet: str, slot: Slot, day: date, people: People) -> tuple[date, Row]:
    """The air date meant and the cells of one row as they are on ``day``."""
    quirk = slot.quirk if slot.quirk and slot.quirk.alterations else None
    identity = f"{seed}|{sheet}|{quirk.name if quirk else 'ordinary'}|{slot.month:%Y-%m}"
    # Neighbours are replaced on different days, so that each day replaces the same number of them.
    generation = (day.toordinal() + slot.number * 61 + crc32(identity.encode())) // REPLACED_EVERY
    identity = f"{identity}|{slot.number}|{generation}"
    changes = (day.toordinal() + crc32(identity.encode())) // CHANGED_EVERY

    kind = (DIRECT_RESPONSE, "COM") if sheet == WORLDLINK_LINES else quirk.kind if quirk else None
    fields = _fields(Random(identity), slot.month, changes, people, kind)
    aired = fields["air_date"]
    assert isinstance(aired, datetime)
    if quirk:
        fields |= quirk.alterations[slot.turn % len(quirk.alterations)](fields)
    return aired.date(), tuple(fields[column] for column in COLUMNS)


def _fields(
    draw: Random, month: date, changes: int, people: People, kind: tuple[str | None, str | None] | None
) -> Fields:
    rate_quantile, date_quantile, language_quantile = draw.random(), draw.random(), draw.random()
    revenue_type, spot_type = kind or KINDS.at(draw.random())
    worldlink = revenue_type == DIRECT_RESPONSE
    paid = spot_type != "BNS"

    # Changes go round: rate, date, language. Where a row has no rate or only one language, its date changes instead.
    rate_changes, date_changes, language_changes = (changes + 2) // 3, (changes + 1) // 3, changes // 3
    if not paid:
        rate_changes, date_changes = 0, date_changes + rate_changes
    if worldlink:
        language_changes, date_changes = 0, date_changes + language_changes

    billing = "Broadcast" if draw.random() < BROADCAST_SHARE else "Calendar"
    aired = _air_dates(month, billing).at(_moved(date_quantile, date_changes))
    end_days = END_DATES.at(draw.random())
    start_second, end_second = WINDOWS.at(draw.random())
    code = (people.worldlink_codes if worldlink else people.other_codes).at(draw.random())
    gross = _gross(draw, _moved(rate_quantile, rate_changes), credit=spot_type == "CRD") if paid else None
    agency_net = code.agency_billed and draw.random() < AGENCY_NET_SHARE
    broker_paid = draw.random() < BROKER_SHARE
    comment = COMMENTS.at(draw.random())
    aired_second = (start_second + int(draw.random() * 3600)) % MIDNIGHT
    title = f"{SEASONS.at(draw.random())} {1 + int(draw.random() * 6)}"
    languages = DIRECT_RESPONSE_LANGUAGES if worldlink else LANGUAGES
    return {
        "bill_code": code.text + BILL_CODE_ENDINGS.at(draw.random()),
        "air_date": aired,
        "end_date": None if end_days is None else aired + timedelta(days=end_days),
        "day_of_week": DAY_NAMES[aired.weekday()],
        "time_in": _clock_cell(start_second, CLOCK_CELLS.at(draw.random())),
        "time_out": _clock_cell(end_second, CLOCK_CELLS.at(draw.random())),
        "length_seconds": _clock_cell(LENGTHS.at(draw.random()), LENGTH_CELLS.at(draw.random())),
        "media": f"{code.text.rpartition(':')[2].title()} {title}",
        "comments": _clock_cell(aired_second, "text") if comment == "aired" else comment,
        "language_code": languages.at(_moved(language_quantile, language_changes)),
        "format": PROGRAMMES.at(draw.random()),
        "sequence_number": 1 + int(draw.random() ** 3 * 12),
        "line_number": 1 + int(draw.random() * 40),
        "spot_type": SPELLED_TYPE[spot_type].at(draw.random()),
        "estimate": _reference(ESTIMATES.at(draw.random()), 20_000 + int(draw.random() * 1_500)),
        "gross_rate": gross,
        "make_good": MAKE_GOODS.at(draw.random()),
        "spot_value": gross,
        "broadcast_month": _midnight(month.replace(day=MONTH_DAYS.at(draw.random()))),
        "broker_fees": None if gross is None else round(gross * 0.15, 2) if broker_paid else 0,
        "priority": PRIORITIES.at(draw.random()),
        "station_net": None if gross is None else gross * AGENCY_NET if agency_net else gross,
        "sales_person": code.seller,
        "revenue_type": revenue_type,
        "billing_type": billing,
        "agency_flag": "Agency" if code.agency_billed else "Non-agency",
        "affidavit_flag": AFFIDAVITS.at(draw.random()),
        "contract": _reference(CONTRACTS.at(draw.random()), 41_000 + int(draw.random() * 3_000)),
        "market_name": MARKETS.at(draw.random()),
    }


def _moved(quantile: float, changes: int) -> float:
    return (quantile + CHANGE_STEP * changes) % 1.0


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


@cache
def _air_dates(month: date, billing: str) -> Table[datetime]:
    """The days of a calendar month, or of the Monday-to-Sunday weeks whose Sunday is in it; weekends weigh more."""
    first, last = month, month.replace(day=monthrange(month.year, month.month)[1])
    if billing == "Broadcast":
        first, last = first - timedelta(days=first.weekday()), last - timedelta(days=(last.weekday() + 1) % 7)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return Table(*((_midnight(day), WEEKEND_WEIGHT if day.weekday() >= 5 else 1.0) for day in days))


def _gross(draw: Random, quantile: float, *, credit: bool) -> int | float:
    (low_quantile, low), (high_quantile, high) = next(pair for pair in pairwise(GROSS) if quantile < pair[1][0])
    dollars = low * math.exp(math.log(high / low) * (quantile - low_quantile) / (high_quantile - low_quantile))
    ending = GROSS_ENDINGS.at(draw.random())
    gross: int | float
    if ending == "whole":
        gross = round(dollars)
    elif ending == "cents":
        gross = round(dollars, 2)
    else:
        gross = round(dollars * AGENCY_NET) / AGENCY_NET
    return -gross if credit else gross


def _clock_cell(second: int, cell: str) -> Cell:
    """A time of day or a duration in one of the ways people type it; midnight at the end is one elapsed day."""
    if cell == "elapsed" or second == MIDNIGHT:
        return timedelta(seconds=second)
    hour, minute, rest = second // 3600 % 24, second // 60 % 60, second % 60
    if cell == "time":
        return time(hour, minute, rest)
    if cell == "seconds":
        return second
    if cell == "24 hours":
        return f"{hour}:{minute:02d}:{rest:02d}"
    if cell == "short":
        return f"{hour:02d}:{minute:02d}"
    return f"{hour % 12 or 12}:{minute:02d}:{rest:02d} {'AM' if hour < 12 else 'PM'}"


def _reference(cell: str | None, number: int) -> Cell:
    return {"int": number, "number": number, "float": float(number), "text": f"E-{number}", "zero": 0, None: None}[cell]


def _with(row: Row, **cells: Cell) -> Row:
    return tuple(cells.get(column, cell) for column, cell in zip(COLUMNS, row, strict=True))


def _total_row(rows: list[Row]) -> Row:
    """What ``=SUM()`` over the money columns shows: text is not counted."""
    totals = {
        column: math.fsum(cell for row in rows if isinstance(cell := row[POSITION[column]], int | float))
        for column in MONEY_COLUMNS
    }
    return _with(BLANK_ROW, **totals)
