"""The lake as tables of the engine, and what SQL makes of them as files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.common.files import atomic_write
from include.common.sql import read_sql
from include.cvas.config import Lake
from include.cvas.contract import TYPES, Kind, TransactionType
from include.cvas.lake import UNDATED, partition_files
from include.errors import ContractViolation, SourceMissing

if TYPE_CHECKING:
    import duckdb
    import polars as pl

# How the engine calls what a column holds.
ENGINE_TYPES = {Kind.TEXT: "VARCHAR", Kind.INTEGER: "BIGINT", Kind.AMOUNT: "DOUBLE", Kind.TIMESTAMP: "TIMESTAMP"}


def show_transactions(
    engine: duckdb.DuckDBPyConnection,
    lake: Lake,
    kinds: Iterable[TransactionType] = TYPES,
    *,
    months: Collection[str] | None = None,
) -> None:
    """Let SQL see the types as ``act``, ``reno`` and so on; the caller is :func:`include.cvas.lake.reading`.

    ``months`` are the partitions to read (``2025-11``; all if None). The undated one is always among them: what an
    older system put there may have dates all the same (R29). A type without any file is an empty table (R36).
    """
    for kind in kinds:
        partitions = partition_files(lake, kind)
        read = [month for month in partitions if months is None or month in months or month == UNDATED]
        if files := [str(file) for month in read for file in partitions[month]]:
            engine.read_parquet(files, hive_partitioning=False, union_by_name=True).create_view(kind.folder)
        else:
            columns = ", ".join(f"{column.name} {ENGINE_TYPES[column.kind]}" for column in kind.columns)
            engine.execute(f"CREATE TABLE {kind.folder} ({columns})")


def show_subscriptions(engine: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Let SQL see the view as ``subscriptions``; the caller holds its lock.

    Raises SourceMissing if it was never built, ContractViolation if it cannot be read.
    """
    import duckdb

    if not lake.subscriptions.exists():
        raise SourceMissing(
            f"cvas: there is no {lake.subscriptions}.", next_step="Build the view (cvas_process), then try again."
        )
    try:
        engine.read_parquet(str(lake.subscriptions)).create_view("subscriptions")
    except duckdb.Error as error:
        raise ContractViolation(
            f"cvas: {lake.subscriptions} cannot be read ({type(error).__name__}).",
            next_step="Build it from nothing (cvas_process, 'view only' and full_rebuild), then try again.",
        ) from None


def rows_of(engine: duckdb.DuckDBPyConnection, statement: str, **values: object) -> list[dict[str, Any]]:
    """The rows that ``include/sql/cvas/<statement>.sql`` selects, by column name."""
    found = engine.execute(read_sql("cvas", statement), values or None)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def export(engine: duckdb.DuckDBPyConnection, query: str, target: Path, values: Mapping[str, Any]) -> int:
    """Write what the query of ``include/sql/cvas/<query>.sql`` selects to a CSV file with a header (RFC 4180, UTF-8),
    all at once, readable for its owner and group only; the number of rows. Raises StoreFull.
    """
    with atomic_write(target) as temporary:
        # What it holds may be personal, and the engine keeps the mode of a file it finds.
        temporary.touch(mode=0o600)
        copy = f"COPY ({read_sql('cvas', query)}) TO $file (FORMAT csv, HEADER, USE_TMP_FILE false)"
        (rows,) = engine.execute(copy, {**values, "file": str(temporary)}).fetchone() or (0,)
    return int(rows)


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame to a CSV file with a header (RFC 4180, UTF-8); an empty text is nothing, like a null."""
    import polars as pl

    frame.with_columns(pl.col(pl.String).replace("", None)).write_csv(path)
