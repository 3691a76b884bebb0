"""How the same jobs are usually written: plainly, with the popular libraries, by somebody who knows them.

What a cell means and which language a spot gets is asked of the project itself, so that every way ends with the same
bookings and only the way of working is compared. None of them checks its result, hashes, audits or keeps rejects.
"""

import sqlite3
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from include.commercial_log.cells import READERS, Value, is_trade
from include.commercial_log.contract import COLUMNS, POSITION, SHEET
from include.commercial_log.languages import assign_languages
from include.commercial_log.markets import resolve_markets
from include.commercial_log.months import closed_months
from include.commercial_log.names import NameBook

NAMES = [column.name for column in COLUMNS]
MONTH, REVENUE, MARKET = (POSITION[name] for name in ("broadcast_month", "revenue_type", "market_name"))
BILL_CODE, AIR_DATE = POSITION["bill_code"], POSITION["air_date"]
MONEY = [position for position, column in enumerate(COLUMNS) if column.kind == "money"]
NOW = datetime(2025, 8, 29, 9, 30, tzinfo=UTC)
INSERT = (
    f"INSERT INTO spots ({', '.join(NAMES)}, customer_id, agency_id, market_id, effective_date)"
    f" VALUES ({', '.join('?' * (len(NAMES) + 4))})"
)


def copy_with_openpyxl(source: Path, target: Path) -> None:
    """Open it, drop the other sheets, save it."""
    from openpyxl import load_workbook

    copy = load_workbook(source, data_only=True)
    for other in set(copy.sheetnames) - {SHEET}:
        del copy[other]
    copy.save(target)


def copy_streaming(source: Path, target: Path) -> None:
    """openpyxl without keeping the sheet, and without its formats."""
    from openpyxl import Workbook, load_workbook

    copy = Workbook(write_only=True)
    sheet = copy.create_sheet(SHEET)
    for row in load_workbook(source, read_only=True, data_only=True)[SHEET].iter_rows(values_only=True):
        sheet.append(row)
    copy.save(target)


def copy_with_pandas(source: Path, target: Path) -> None:
    import pandas as pd

    pd.read_excel(source, sheet_name=SHEET, engine="openpyxl").to_excel(target, sheet_name=SHEET, index=False)


def load_with_executemany(workbook: Path, database: Path, day: date) -> None:
    """openpyxl, names in dictionaries, delete and insert everything in one transaction."""
    with closing(_open(database)) as db, db:
        accepted = _accepted(_rows_of(workbook), set(closed_months(db)))
        resolve, markets = NameBook(db).resolve, _markets(db, accepted)
        months = _delete_months(db, accepted)
        db.executemany(
            INSERT,
            (
                (*values, *resolve(str(values[BILL_CODE])), markets.get(str(values[MARKET])), day.isoformat())
                for values in accepted
            ),
        )
        assign_languages(db, months, now=NOW)


def load_with_row_loop(workbook: Path, database: Path, day: date) -> None:
    """openpyxl, three queries and an insert per row."""
    with closing(_open(database)) as db, db:
        accepted = _accepted(_rows_of(workbook), set(closed_months(db)))
        _markets(db, accepted)
        months = _delete_months(db, accepted)
        for values in accepted:
            agency, _, customer = str(values[BILL_CODE]).rpartition(":")
            ids = (
                _look_up(db, "SELECT customer_id FROM customers WHERE normalized_name = ?", customer),
                _look_up(db, "SELECT agency_id FROM agencies WHERE agency_name = ?", agency),
                _look_up(db, "SELECT market_id FROM markets WHERE market_code = ?", values[MARKET]),
            )
            db.execute(INSERT, (*values, *ids, day.isoformat()))
        assign_languages(db, months, now=NOW)


def load_with_pandas(workbook: Path, database: Path, day: date) -> None:
    """pandas column by column, ``to_sql``."""
    import pandas as pd

    frame = pd.read_excel(workbook, sheet_name=SHEET, engine="openpyxl", dtype=object, keep_default_na=False)
    frame.columns = pd.Index(NAMES)
    money = [NAMES[position] for position in MONEY]
    empty = frame[money] == ""
    trade = frame["revenue_type"].map(is_trade)
    for column in COLUMNS:
        read = READERS[column.kind]
        frame[column.name] = pd.Series([read(cell)[0] for cell in frame[column.name]], frame.index, dtype=object)
    with closing(_open(database)) as db:
        good = frame[["broadcast_month", "bill_code", "air_date"]].notna().all(axis=1)
        good &= (frame[money].notna() | empty).all(axis=1) & ~trade
        frame = frame[good & ~frame["broadcast_month"].isin(closed_months(db))].copy()
        resolve, markets = NameBook(db).resolve, _markets(db, frame[NAMES].itertuples(index=False, name=None))
        parties = frame["bill_code"].map(resolve)
        frame["customer_id"] = parties.map(lambda found: found.customer_id)
        frame["agency_id"] = parties.map(lambda found: found.agency_id)
        frame["market_id"] = frame["market_name"].map(markets.get)
        frame["effective_date"] = day.isoformat()
        months = _delete_months(db, frame[NAMES].itertuples(index=False, name=None))
        frame.to_sql("spots", db, if_exists="append", index=False)
        assign_languages(db, months, now=NOW)
        db.commit()


def archive_deflated(workbooks: Sequence[Path], archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        for path in workbooks:
            members.write(path, path.name)
    with zipfile.ZipFile(archive) as members:
        assert members.testzip() is None
    for path in workbooks:
        path.unlink()


def _open(database: Path) -> sqlite3.Connection:
    db = sqlite3.connect(database)
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _rows_of(workbook: Path) -> Iterable[tuple[Any, ...]]:
    from openpyxl import load_workbook

    return load_workbook(workbook, read_only=True, data_only=True)[SHEET].iter_rows(min_row=2, values_only=True)


def _accepted(rows: Iterable[tuple[Any, ...]], closed: set[str]) -> list[list[Value]]:
    accepted = []
    for row in rows:
        values = [READERS[column.kind](cell)[0] for column, cell in zip(COLUMNS, row, strict=True)]
        if values[MONTH] is None or values[MONTH] in closed or is_trade(row[REVENUE]):
            continue
        if values[BILL_CODE] is None or values[AIR_DATE] is None:
            continue
        if any(values[position] is None and row[position] is not None for position in MONEY):
            continue
        accepted.append(values)
    return accepted


def _markets(db: sqlite3.Connection, rows: Iterable[Sequence[Value]]) -> dict[str, int | None]:
    aired = ((str(values[MARKET]), str(values[AIR_DATE])) for values in rows if values[MARKET])
    return resolve_markets(db, aired, create=True).ids


def _delete_months(db: sqlite3.Connection, rows: Iterable[Sequence[Value]]) -> list[str]:
    months = sorted({str(values[MONTH]) for values in rows})
    db.executemany("DELETE FROM spots WHERE broadcast_month = ?", [(month,) for month in months])
    return months


def _look_up(db: sqlite3.Connection, query: str, text: Value) -> int | None:
    found = db.execute(query, (text,)).fetchone()
    return found[0] if found else None
