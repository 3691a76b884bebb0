"""The spots of the processed months become the rows of the sheet; what is equal stays as it is (R31, R41)."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

from include.commercial_log import contract
from include.commercial_log.cells import Value
from include.commercial_log.database import SYSTEM
from include.commercial_log.markets import MarketSetup
from include.commercial_log.names import Parties
from include.commercial_log.transform import Booking, ParsedSheet
from include.common.journal import RunLog
from include.common.sql import read_sql

NAMED = 20
MARKET = contract.POSITION["market_name"]
BILL_CODE = contract.POSITION["bill_code"]
# What traffic writes beside a spot; it says nothing about its language.
NOTES = (contract.POSITION["comments"], contract.POSITION["make_good"])


class Origin(NamedTuple):
    """What a load notes beside the spots it inserts: when (UTC), for which day, as history or not, in which batch."""

    load_date: str
    effective_date: str
    is_historical: bool
    batch_id: str | None


class Replaced(NamedTuple):
    """How many spots came, went and stayed."""

    inserted: int
    removed: int
    unchanged: int


def replace_spots(
    db: sqlite3.Connection,
    parsed: ParsedSheet,
    markets: MarketSetup,
    resolve: Callable[[str], Parties],
    origin: Origin,
    run: RunLog,
) -> Replaced:
    """Make the spots of the sheet's months exactly its bookings; runs in the caller's transaction.

    A multiset comparison by row hash: equal rows keep their spot, the rest is deleted and inserted. What a person
    decided about the language of a spot passes on to the row that differs from it in notes only.
    """
    binds = {"months": json.dumps(parsed.months)}
    spots = db.execute(read_sql(SYSTEM, "select_spot_hashes"), binds).fetchall()
    present = Counter([row_hash for _, row_hash in spots])
    wanted = Counter([booking.row_hash for booking in parsed.bookings])
    # Few of thousands; only they are worth a closer look.
    differing = {row_hash for row_hash, _ in present.items() ^ wanted.items()} if present != wanted else set()
    held: dict[str | None, list[int]] = defaultdict(list)
    for spot_id, row_hash in spots:
        if row_hash in differing:
            held[row_hash].append(spot_id)
    surplus, decided = _surplus(db, held, wanted)
    missing: list[Booking] = []
    for booking in parsed.bookings:
        if booking.row_hash in differing:
            present[booking.row_hash] -= 1
            if present[booking.row_hash] < 0:
                missing.append(booking)
    db.executemany(
        read_sql(SYSTEM, "insert_spots"),
        (
            (
                *booking.values,
                *resolve(str(booking.values[BILL_CODE])),
                _market_id(booking, markets),
                origin.load_date,
                f"{parsed.file}:{booking.sheet}",
                *origin[1:],
                booking.row_hash,
            )
            for booking in missing
        ),
    )
    _keep_decisions(db, decided, missing, run)
    db.executemany(read_sql(SYSTEM, "delete_spots"), ((spot_id,) for spot_id in surplus))
    return Replaced(len(missing), len(surplus), len(parsed.bookings) - len(missing))


def resolve_again(
    db: sqlite3.Connection,
    parsed: ParsedSheet,
    codes: Set[str],
    markets: MarketSetup,
    resolve: Callable[[str], Parties],
) -> None:
    """Kept rows whose customer, agency or market nobody knew then may be known by now; ``codes``: all bill codes."""
    known = {
        "months": parsed.months,
        "customers": [code for code in codes if resolve(code).customer_id is not None],
        "agencies": [code for code in codes if resolve(code).agency_id is not None],
        "markets": [market for market, market_id in markets.ids.items() if market_id is not None],
    }
    binds = {name: json.dumps(values) for name, values in known.items()}
    found = db.execute(read_sql(SYSTEM, "select_resolvable_spots"), binds).fetchall()
    db.executemany(
        read_sql(SYSTEM, "update_unresolved_names"),
        ((*resolve(code), markets.ids.get(market), spot_id) for spot_id, code, market in found),
    )


def _market_id(booking: Booking, markets: MarketSetup) -> int | None:
    market = booking.values[MARKET]
    return None if market is None else markets.ids[str(market)]


def _surplus(
    db: sqlite3.Connection, held: dict[str | None, list[int]], wanted: Counter[str]
) -> tuple[list[int], dict[int, tuple[Value, ...]]]:
    """The spots that go: of equal ones the youngest, but one whose language a person decided goes last. And the stored
    values of those among them that a person decided on."""
    too_many = {row_hash: spots for row_hash, spots in held.items() if len(spots) > wanted[row_hash or ""]}
    candidates = json.dumps([spot_id for spots in too_many.values() for spot_id in spots])
    decided = {
        spot_id: tuple(values)
        for spot_id, *values in db.execute(read_sql(SYSTEM, "select_decided_spots"), {"spot_ids": candidates})
    }
    surplus: list[int] = []
    for row_hash, spots in too_many.items():
        spots.sort(key=lambda spot_id: (spot_id not in decided, spot_id))
        surplus += spots[wanted[row_hash or ""] :]
    return surplus, {spot_id: decided[spot_id] for spot_id in surplus if spot_id in decided}


def _keep_decisions(
    db: sqlite3.Connection, decided: dict[int, tuple[Value, ...]], inserted: Sequence[Booking], run: RunLog
) -> None:
    """A person's decision passes from a spot that goes to the one row that differs from it in notes only."""
    if not decided:
        return
    successors: dict[tuple[Value, ...], list[str]] = defaultdict(list)
    for booking in inserted:
        successors[_without_notes(booking.values)].append(booking.row_hash)
    claims: dict[tuple[Value, ...], list[int]] = defaultdict(list)
    for spot_id, values in decided.items():
        claims[_without_notes(values)].append(spot_id)
    heirs = {
        spots[0]: successors[booked][0]
        for booked, spots in claims.items()
        if len(spots) == len(successors[booked]) == 1
    }
    db.executemany(
        read_sql(SYSTEM, "update_decided_spot"),
        ({"row_hash": row_hash, "spot_id": spot_id} for spot_id, row_hash in heirs.items()),
    )
    if heirs:
        run.say(f"languages people decided kept for {len(heirs)} spots of which only the notes changed")
    if lost := sorted(str(values[BILL_CODE]) for spot_id, values in decided.items() if spot_id not in heirs):
        run.warn(
            f"{len(lost)} spots whose language a person had decided changed in the sheet or left it; decide again "
            f"where needed: {', '.join(lost[:NAMED])}."
        )


def _without_notes(values: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple(value for position, value in enumerate(values) if position not in NOTES)
