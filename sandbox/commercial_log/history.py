"""Years of closed months in the booked-business database, made by SQLite itself."""

from __future__ import annotations

import json
import sqlite3
from calendar import monthrange
from datetime import date
from pathlib import Path

from include.common.sql import transaction
from sandbox.commercial_log.generator import DIRECT_RESPONSE, IAS
from sandbox.commercial_log.layout import month_after, month_text
from sandbox.commercial_log.people import make_people
from sandbox.commercial_log.tables import Table, apportion

MONTHLY_GROWTH = 1.037  # 108,000 spots in 2021, 403,000 in 2024
SLOTS = 1_000  # a distribution becomes a list of this many values; a spot takes one of them
BATCH = "historical_0"
CLOSED_BY = "history"

# As stored: no Trade, and of the types only their codes. Three of four spots are English by default (R37).
KINDS: Table[tuple[str | None, str]] = Table(
    *(((IAS, "COM"), 16), ((IAS, "BNS"), 8), ((IAS, "BB"), 1.5), ((IAS, "AV"), 0.3), ((IAS, "CRD"), 0.1)),
    *(((DIRECT_RESPONSE, "COM"), 52), ((DIRECT_RESPONSE, "BNS"), 17.6)),
    *((("Paid Programming", "PRG"), 2), (("Branded Content", "PRD"), 1.5), (("Other", "SVC"), 0.7)),
    *((("Local", "COM"), 0.2), ((None, ""), 0.1)),
)
MARKETS = Table(
    *(("CVC", 27), ("SEA", 22), ("SFO", 17), ("LAX", 14), ("NYC", 7), ("CMP", 5), ("HOU", 4), ("DAL", 4)),
)
LANGUAGES: Table[str | None] = Table(
    *(("M", 24), ("V", 21), ("SA", 16), ("T", 12), ("C", 9), ("K", 7), ("E", 6), ("Hm", 2), ("J", 1.5)),
    *(("P", 0.5), ("L", 0.3), ("F", 0.2), (None, 0.5)),
)
WINDOWS = Table(
    *((("06:00:00", "23:59:00"), 45), (("06:00:00", "08:00:00"), 15), (("13:00:00", "16:00:00"), 15)),
    *((("20:00:00", "23:30:00"), 22), (("23:30:00", "24:00:00"), 3)),
)
GROSS = Table((12.0, 15), (21.0, 20), (40.0, 25), (300 / 0.85, 5), (63.0, 20), (150.0, 10), (350.0, 5))


def fill_history(
    connection: sqlite3.Connection, *, months: int = 56, spots: int = 1_100_000, before: date, seed: int = 1
) -> None:
    """Insert ``spots`` categorised spots with their languages into the ``months`` months before that of ``before``.

    The months are closed by ``history``, the spots belong to one HISTORICAL batch. Customers and agencies are those of
    ``people.make_people(seed)``, where ``load_people`` has put them into the database. One transaction.

    Re-run: refused by the key of the batch (sqlite3.IntegrityError), nothing is changed.
    """
    firsts = [month_after(before, -distance) for distance in range(months, 0, -1)]
    counts = apportion(spots, {position: MONTHLY_GROWTH**position for position in range(months)})
    closed_on = month_after(before, 0).isoformat()
    with transaction(connection):
        connection.execute(
            "INSERT INTO import_batches (batch_id, import_date, import_mode, source_file, broadcast_months_affected,"
            " records_imported, rows_read, rows_inserted, status, started_by, completed_at)"
            " VALUES (?, ?, 'HISTORICAL', 'history.xlsx', ?, ?, ?, ?, 'COMPLETED', ?, ?)",
            (
                BATCH,
                f"{closed_on} 09:30:00",
                json.dumps([month_text(first) for first in firsts]),
                *(spots, spots, spots),
                CLOSED_BY,
                f"{closed_on} 09:30:00",
            ),
        )
        connection.executemany(
            "INSERT INTO month_closures (broadcast_month, closed_date, closed_by) VALUES (?, ?, ?)",
            [(month_text(first), month_after(first, 1).isoformat(), CLOSED_BY) for first in firsts],
        )
        _create_choices(connection, seed)
        # Building an index over sorted rows once takes a fraction of keeping it up to date row by row.
        indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'spots' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f'DROP INDEX "{name}"')
        first_number = 1
        for position, first in enumerate(firsts):
            if counts[position]:
                connection.execute(
                    _sql("insert_history_spots"),
                    {
                        "first": first_number,
                        "count": counts[position],
                        "seed": seed,
                        "slots": SLOTS,
                        "month": month_text(first),
                        "month_start": first.isoformat(),
                        "days": monthrange(first.year, first.month)[1],
                        "loaded": month_after(first, 1).isoformat(),
                        "batch": BATCH,
                    },
                )
            first_number += counts[position]
        for _, statement in indexes:
            connection.execute(statement)
        connection.execute(_sql("insert_history_assignments"), {"batch": BATCH})
        connection.execute("DROP TABLE history_choices")


def _create_choices(connection: sqlite3.Connection, seed: int) -> None:
    """The temporary table a spot's attributes are picked from."""
    customers = {customer_id for (customer_id,) in connection.execute("SELECT customer_id FROM customers")}
    agencies = {agency_id for (agency_id,) in connection.execute("SELECT agency_id FROM agencies")}
    people = make_people(seed)
    rows = [
        (
            slot,
            code.text,
            code.customer_id if code.customer_id in customers else None,
            code.agency_id if code.agency_id in agencies else None,
            code.agency_billed,
            code.seller,
            worldlink.text,
            worldlink.customer_id if worldlink.customer_id in customers else None,
            worldlink.agency_id if worldlink.agency_id in agencies else None,
            worldlink.seller,
            *kind,
            market,
            language,
            *window,
            gross,
        )
        for slot, (code, worldlink, kind, market, language, window, gross) in enumerate(
            zip(
                *(table.spread(SLOTS) for table in (people.other_codes, people.worldlink_codes)),
                *(KINDS.spread(SLOTS), MARKETS.spread(SLOTS), LANGUAGES.spread(SLOTS)),
                *(WINDOWS.spread(SLOTS), GROSS.spread(SLOTS)),
                strict=True,
            )
        )
    ]
    connection.execute(
        "CREATE TEMP TABLE history_choices (slot INTEGER PRIMARY KEY, bill_code, customer_id, agency_id, agency_billed,"
        " sales_person, worldlink_code, worldlink_customer_id, worldlink_agency_id, worldlink_seller, revenue_type,"
        " spot_type, market_code, language_code, time_in, time_out, gross)"
    )
    connection.executemany(f"INSERT INTO history_choices VALUES ({', '.join('?' * 17)})", rows)


def _sql(name: str) -> str:
    return (Path(__file__).parent / f"{name}.sql").read_text(encoding="utf-8")
