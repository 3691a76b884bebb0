"""Which market a booking belongs to, and the markets the sheet names for the first time (R30)."""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from include.commercial_log.database import SYSTEM
from include.common.sql import read_sql

NAMES_OF_NEW_MARKETS = {
    "DAL": "DALLAS",
    "CHI": "CHICAGO",
    "MSP": "MINNEAPOLIS",
    "WDC": "WASHINGTON DC",
    "MMT": "MAMMOTH",
    "ADMIN": "ADMINISTRATIVE",
}
STANDARD_SCHEDULE = 1
SCHEDULES = {"DAL": 2}
LONGEST_TEXT = 50
SUSPICIOUS = (";", "--", "/*")


class MarketSetup(NamedTuple):
    """Market id per market text of the sheet (None where there is none), codes created, texts left unresolved."""

    ids: dict[str, int | None]
    created: list[str]
    unresolved: list[str]


def resolve_markets(db: sqlite3.Connection, aired: Iterable[tuple[str, str]], *, create: bool) -> MarketSetup:
    """Find the market of every text by code, name or alias, and with ``create`` make those that do not exist.

    ``aired`` holds (market text, ISO air date) of the accepted rows; a new market is given one schedule from the
    earliest of its air dates. Runs inside the caller's transaction. Re-run: safe, a market is created once.
    """
    first_aired: dict[str, str] = {}
    for text, air_date in aired:
        first_aired[text] = min(air_date, first_aired.get(text, air_date))
    book = _book(db)
    aliases = {alias.casefold(): code for alias, code in db.execute("SELECT alias, market_code FROM market_aliases")}
    setup = MarketSetup({}, [], [])
    codes = {text: "_".join(aliases.get(text.casefold(), text).upper().split()) for text in first_aired}
    for text, code in sorted(codes.items()):
        market_id = book.get(text.casefold()) or book.get(code.casefold())
        if market_id is None and create and _is_plausible(text):
            start = min(first_aired[other] for other in codes if codes[other] == code)
            market_id = _create(db, code, start, setup)
            book = _book(db)
        if market_id is None:
            setup.unresolved.append(text)
        setup.ids[text] = market_id
    return setup


def _book(db: sqlite3.Connection) -> dict[str, int]:
    """Market id by code and name in lower case; a code beats a name."""
    markets = db.execute("SELECT market_id, market_code, market_name FROM markets").fetchall()
    return {name.casefold(): each for each, _, name in markets} | {code.casefold(): each for each, code, _ in markets}


def _create(db: sqlite3.Connection, code: str, start: str, setup: MarketSetup) -> int:
    name = NAMES_OF_NEW_MARKETS.get(code, code.replace("_", " "))
    existing = db.execute("SELECT market_id FROM markets WHERE market_name = ? COLLATE NOCASE", (name,)).fetchone()
    if existing:
        return int(existing[0])
    market_id = int(db.execute(read_sql(SYSTEM, "insert_market"), {"code": code, "name": name}).fetchone()[0])
    schedule = {"schedule_id": SCHEDULES.get(code, STANDARD_SCHEDULE), "market_id": market_id, "start": start}
    db.execute(read_sql(SYSTEM, "insert_market_schedule"), schedule)
    setup.created.append(code)
    return market_id


def _is_plausible(text: str) -> bool:
    # Errors of Excel such as #N/A begin with a hash.
    return len(text) <= LONGEST_TEXT and not text.startswith("#") and not any(mark in text for mark in SUSPICIOUS)
