"""The subscription view as a query of the engine: its columns, the tables it reads, the file that comes out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from include.common.journal import RunLog
from include.common.sql import read_sql
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, LARGEST_AMOUNT, RENO, RFND, Kind, TransactionType
from include.cvas.engine import lacks_space
from include.cvas.lake import partition_files, read_partition_file
from include.cvas.services import describe_price_points
from include.cvas.tables import ENGINE_TYPES
from include.errors import CheckFailed, ContractViolation

if TYPE_CHECKING:
    import duckdb

# Of what the definition takes from this file and the statement does not say; a new number makes every view anew.
VERSION = 1
KINDS = (ACT, RENO, DCT, CNR, RFND)  # PPD plays no part (R38)
COLUMNS = {
    "subscription_id": "BIGINT",
    "tmuserid": "VARCHAR",
    "msisdn": "VARCHAR",
    "cpc_list": "BIGINT[]",
    "cpc_count": "BIGINT",
    "first_cpc": "BIGINT",
    "current_cpc": "BIGINT",
    "has_upgraded": "BOOLEAN",
    "upgrade_date": "TIMESTAMP",
    "upgraded_to_cpc": "BIGINT",
    "activation_date": "TIMESTAMP",
    "activation_trans_date": "TIMESTAMP",
    "missing_act_record": "BOOLEAN",
    "activation_campaign": "VARCHAR",
    "activation_channel": "VARCHAR",
    "activation_revenue": "DOUBLE",
    "activation_month": "VARCHAR",
    "renewal_count": "BIGINT",
    "renewal_revenue": "DOUBLE",
    "last_renewal_date": "TIMESTAMP",
    "first_renewal_date": "TIMESTAMP",
    "last_activity_date": "TIMESTAMP",
    "deactivation_date": "TIMESTAMP",
    "deactivation_mode": "VARCHAR",
    "cancellation_date": "TIMESTAMP",
    "cancellation_mode": "VARCHAR",
    "refund_count": "BIGINT",
    "total_refunded": "DOUBLE",
    "last_refund_date": "TIMESTAMP",
    "total_revenue": "DOUBLE",
    "total_revenue_with_upgrade": "DOUBLE",
    "subscription_status": "VARCHAR",
    "lifetime_days": "BIGINT",
    "end_date": "TIMESTAMP",
    "upgrade_count": "BIGINT",
    "last_upgrade_date": "TIMESTAMP",
    "last_upgrade_cpc": "BIGINT",
    "upgrade_revenue": "DOUBLE",
    "gross_revenue": "DOUBLE",
    "refund_events": "BIGINT",
    "net_revenue": "DOUBLE",
    "service_name": "VARCHAR",
    "tme_category": "VARCHAR",
    "cpc_user_base": "BIGINT",
    "active_after_end": "BOOLEAN",
}
FROM_CATALOGUE = ("service_name", "tme_category", "cpc_user_base")

_STATEMENT = "select_subscriptions"


def definition() -> str:
    """Stands for the rules by which the view is made."""
    return hashlib.sha256(f"{VERSION}\n{read_sql('cvas', _STATEMENT)}".encode()).hexdigest()


def show_catalogue(
    engine: duckdb.DuckDBPyConnection, lake: Lake, *, as_of: date, settings: Settings, run: RunLog
) -> str:
    """Make the table ``catalogue``; a digest of what is in it."""
    rows = describe_price_points(lake, as_of=as_of, settings=settings, run=run).rows()
    names = ("cpcs", "services", "categories", "users")
    values = {name: [row[position] for row in rows] for position, name in enumerate(names)}
    engine.execute(read_sql("cvas", "create_catalogue"), values)
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def write_view(engine: duckdb.DuckDBPyConnection, target: Path, *, as_of: date, before: Path | None) -> int:
    """Write the view to ``target``, snappy, sorted; the number of its rows.

    The engine has the tables of the lake and ``catalogue``. ``before`` is the view to carry rows over from: all but
    those of the table ``touched``, which are made; without it every row is made.
    """
    if before is None:
        engine.execute(f"CREATE TABLE kept ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
    else:
        engine.read_parquet(str(before)).create_view("before")
        engine.execute("CREATE VIEW kept AS SELECT * FROM before ANTI JOIN touched USING (subscription_id)")
    for kind in KINDS:
        # What another system wrote may have other types; a cast to the type that is there already costs nothing.
        casts = [f"event.{column.name}::{ENGINE_TYPES[column.kind]} AS {column.name}" for column in kind.columns]
        those = "" if before is None else f" SEMI JOIN touched ON touched.subscription_id = event.{kind.subscription}"
        engine.execute(
            f"CREATE VIEW made_{kind.folder} AS SELECT {', '.join(casts)} FROM {kind.folder} AS event{those}"
        )
    # With it the engine would note in the file which columns happen to have no nulls today.
    engine.execute("SET disabled_optimizers = 'statistics_propagation'")
    # Columns with more values than that gain nothing from a dictionary, and building it takes a tenth of the time.
    options = "FORMAT parquet, COMPRESSION snappy, DICTIONARY_SIZE_LIMIT 4000"
    copy = f"COPY ({read_sql('cvas', _STATEMENT)}) TO $file ({options})"
    ((rows,),) = engine.execute(copy, {"as_of": as_of, "file": str(target)}).fetchall()
    return int(rows)


def other_columns(engine: duckdb.DuckDBPyConnection, view: str) -> str | None:
    """In what the columns of a table are not those of the view, None if they are."""
    found = {name: kind for name, kind, *_ in engine.execute(f"DESCRIBE {view}").fetchall()}
    if list(found.items()) == list(COLUMNS.items()):
        return None
    different = [name for name in {**COLUMNS, **found} if found.get(name) != COLUMNS.get(name)]
    return f"not the {len(COLUMNS)} columns agreed upon ({', '.join(different) or 'their order'})"


def differences(
    engine: duckdb.DuckDBPyConnection, view: Path, rebuilt: Path, columns: Sequence[str], *, named: int
) -> list[str]:
    """One sentence per column with another value, with the ids of the first ``named`` subscriptions."""
    engine.read_parquet(str(view)).create_view("view")
    engine.read_parquet(str(rebuilt)).create_view("rebuilt")
    if fault := other_columns(engine, "view"):
        return [f"The view has {fault}."]
    in_both = "view.subscription_id = rebuilt.subscription_id"
    faults = {"subscription_id": "view.subscription_id IS DISTINCT FROM rebuilt.subscription_id"} | {
        name: f"{in_both} AND view.{name} IS DISTINCT FROM rebuilt.{name}"
        for name in columns
        if name != "subscription_id"
    }
    figures = ", ".join(
        f"count(*) FILTER (WHERE {fault}), "
        f"min(coalesce(view.subscription_id, rebuilt.subscription_id), {named}) FILTER (WHERE {fault})"
        for fault in faults.values()
    )
    (found,) = engine.execute(f"SELECT {figures} FROM view FULL JOIN rebuilt USING (subscription_id)").fetchall()
    return [
        f"{name} differs in {count:,} subscriptions: {', '.join(map(str, ids))}{', ...' if count > len(ids) else ''}."
        for name, count, ids in zip(faults, found[::2], found[1::2], strict=True)
        if count
    ]


# --- partitions that cannot be read -------------------------------------------------------------------------------


def check_columns(lake: Lake) -> None:
    """Make sure that no partition lacks a column, which the engine would take for nulls.

    Raises ContractViolation naming a file that has other columns or cannot be opened.
    """
    import polars as pl

    for kind, path in _files(lake):
        try:
            columns = set(pl.read_parquet_schema(path))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            columns = set()
        if columns - {"year_month"} != set(kind.column_names):
            _refuse(path, kind)


@contextmanager
def naming_partitions(lake: Lake) -> Iterator[None]:
    """Where the engine stumbles over a partition without telling which one, look for it.

    Raises ContractViolation naming the file and the month to fetch again.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        if not lacks_space(error):
            for kind, path in _files(lake):
                _refuse(path, kind)
        raise


def _files(lake: Lake) -> Iterator[tuple[TransactionType, Path]]:
    return ((kind, path) for kind in KINDS for files in partition_files(lake, kind).values() for path in files)


def _refuse(path: Path, kind: TransactionType) -> None:
    """Raise what is wrong with a file, if anything is."""
    import polars as pl

    try:
        frame = read_partition_file(path, kind)
    except CheckFailed as unreadable:
        raise ContractViolation(unreadable.what, next_step=unreadable.next_step) from None
    for column in kind.columns:
        if column.kind is Kind.AMOUNT:
            amount = pl.col(column.name)
            wrong = frame.with_row_index().filter(~amount.is_finite() | (amount.abs() >= LARGEST_AMOUNT))
            if not wrong.is_empty():
                raise ContractViolation(
                    f"cvas: {path}, row {wrong['index'][0] + 1}: column {column.name} holds no amount of money.",
                    next_step=f"Fetch and load the days of {path.parent.name.partition('=')[2]} again.",
                )
