"""What the tests of cvas share: one proper row of each type, daily files and lakes made of a few rows, a lake's hashes.

A row is a dict of the contract's columns; dates may be given as text like ``2025-11-10 16:08:22``.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from include.common.files import sha256_of
from include.common.journal import RunLog
from include.cvas.config import Lake
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TYPES, Kind, TransactionType
from include.cvas.lake import (
    LoadedDay,
    in_order,
    month_of,
    partition_files,
    partition_path,
    read_partition,
    writing,
)
from include.cvas.manifest import FileEntry, daily_file, write_entry

Row = dict[str, Any]
Rows = Mapping[TransactionType, Sequence[Row]]

DAY = date(2025, 11, 10)
# 12:00 of the day after, in Madrid.
NOW = datetime(2025, 11, 11, 11, 0, tzinfo=UTC)
USER = "0340000000000000017"
PHONE = "34600000017"

_CHARGED: Row = {
    "tmuserid": USER,
    "msisdn": PHONE,
    "cpc": 46109,
    "channel_id": 45,
    "channel_act": "VOICE",
    "trans_date": "2025-11-10 16:08:22",
    "act_date": "2025-11-10 16:08:20",
    "reno_date": "2025-11-17 16:08:20",
    "camp_name": "a1b2c3d",
    "tef_prov": 7,
    "campana_medium": "campana",
    "campana_id": "a1b2c3d",
    "subscription_id": 900001,
    "rev": 5.36,
}
_PROPER: dict[TransactionType, Row] = {
    ACT: {**_CHARGED, "trans_type_id": 1},
    RENO: {**_CHARGED, "trans_type_id": 2, "act_date": "2025-10-01 10:00:00"},
    DCT: {**_CHARGED, "trans_type_id": 3, "channel_dct": "CCC-BL"},
    PPD: {**_CHARGED, "trans_type_id": 4, "cpc": 45001, "rev": 1.21},
    CNR: {"cancel_date": "2025-11-10 12:00:00", "sbn_id": 900001, "tmuserid": USER, "cpc": 46109, "mode": "CCC-CR"},
    RFND: {
        "tmuserid": USER,
        "cpc": 46109,
        "refnd_date": "2025-11-10",
        "rfnd_amount": 3.69,
        "rfnd_cnt": 3,
        "sbnid": 900001,
        "instant_rfnd": "f",
    },
}


def row(kind: TransactionType, **values: Any) -> Row:
    """A proper row of a type, in the contract's order, with some values replaced."""
    unknown = values.keys() - set(kind.column_names)
    assert not unknown, f"{kind.name} has no {unknown}"
    return {name: {**_PROPER[kind], **values}[name] for name in kind.column_names}


def act(**values: Any) -> Row:
    return row(ACT, **values)


def reno(**values: Any) -> Row:
    return row(RENO, **values)


def dct(**values: Any) -> Row:
    return row(DCT, **values)


def ppd(**values: Any) -> Row:
    return row(PPD, **values)


def cnr(**values: Any) -> Row:
    return row(CNR, **values)


def rfnd(**values: Any) -> Row:
    return row(RFND, **values)


def at(text: str) -> datetime:
    """A time as the lake stores it, without a zone."""
    return datetime.fromisoformat(text)


def frame(kind: TransactionType, rows: Iterable[Row]) -> pl.DataFrame:
    """Typed rows, in the order given."""
    times = {column.name for column in kind.columns if column.kind is Kind.TIMESTAMP}
    typed = [{k: at(v) if k in times and isinstance(v, str) else v for k, v in each.items()} for each in rows]
    return pl.DataFrame(typed, schema=kind.schema(), orient="row")


# --- daily files --------------------------------------------------------------------------------------------------


def csv_text(kind: TransactionType, rows: Iterable[Row], *, columns: Sequence[str] | None = None) -> str:
    """Rows as PostgreSQL writes them: null is nothing, empty text is ``""``; ``columns`` for another order."""
    names = columns or kind.column_names
    lines = [",".join(names)]
    lines += [",".join(_cell(each[name]) for name in names) for each in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if value == "":
        return '""'
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text


def write_daily(lake: Lake, kind: TransactionType, content: str | bytes, *, day: date = DAY) -> Path:
    """One file of a day, as it is, without an entry in the manifest."""
    path = daily_file(lake, day, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_manifest(
    lake: Lake, *, day: date = DAY, complete: bool = True, kinds: Iterable[TransactionType] = TYPES
) -> None:
    """Entries for the files of a day as they are now."""
    for kind in kinds:
        path = daily_file(lake, day, kind)
        write_entry(
            lake,
            day,
            kind.name,
            FileEntry(
                rows=path.read_bytes().count(b"\n") - 1,
                bytes=path.stat().st_size,
                sha256=sha256_of(path),
                complete=complete,
            ),
        )


def write_day(lake: Lake, rows: Rows, *, day: date = DAY, complete: bool = True) -> None:
    """The six files of a day and their manifest; types that are not named have a header only."""
    for kind in TYPES:
        write_daily(lake, kind, csv_text(kind, rows.get(kind, ())), day=day)
    write_manifest(lake, day=day, complete=complete)


# --- lakes --------------------------------------------------------------------------------------------------------


def fill_lake(lake: Lake, rows: Rows, *, source: str = "daily", touched: bool = False) -> None:
    """Add rows to the lake as the pipeline does; all six types of each of their days count as loaded.

    ``touched`` publishes the ids of their subscriptions too; without it readers take it for history rewritten.
    """
    with writing(lake, "cvas_test", RunLog()) as change:
        ids = []
        counts: dict[date, dict[TransactionType, int]] = defaultdict(lambda: defaultdict(int))
        for kind, added in rows.items():
            new = frame(kind, added)
            days = new[kind.event_date].cast(pl.Date)
            for day in days:
                counts[day][kind] += 1
            for month in sorted({month_of(day) for day in days}):
                part = new.filter(pl.col(kind.event_date).dt.strftime("%Y-%m") == month)
                change.write(kind, month, in_order(pl.concat([read_partition(lake, kind, month), part]), kind))
            if kind is not PPD:
                ids.append(new[kind.subscription])
        for day, of_day in counts.items():
            for kind in TYPES:
                before = change.state.days.get(day, {}).get(kind.name)
                change.state.record(day, kind, LoadedDay(of_day[kind] + (before.rows if before else 0), source))
        change.publish(pl.concat(ids) if touched and ids else None)


def write_legacy(lake: Lake, kind: TransactionType, month: str, rows: Iterable[Row], *, name: str) -> Path:
    """A partition file as the system before wrote it: any name, rows in any order, unknown to the pipeline's state."""
    path = partition_path(lake, kind, month).with_name(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame(kind, rows).write_parquet(path, compression="snappy")
    return path


def stored(lake: Lake, kind: TransactionType) -> list[Row]:
    """All rows of a type in the order of the lake."""
    frames = [read_partition(lake, kind, month) for month in partition_files(lake, kind)]
    return [each for part in frames for each in part.to_dicts()]


def typed(kind: TransactionType, rows: Iterable[Row]) -> list[Row]:
    """Rows as :func:`stored` gives them."""
    return frame(kind, rows).to_dicts()


def lake_hashes(lake: Lake) -> dict[str, str]:
    """The SHA-256 of every partition file by its path in the lake."""
    return file_hashes(lake.transactions)


def data_hashes(lake: Lake) -> dict[str, str]:
    """The SHA-256 of every file of the lake but its locks and logs."""
    hashes = file_hashes(lake.root)
    return {name: digest for name, digest in hashes.items() if not name.startswith(("_locks/", "logs/"))}


def file_hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder by its path in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
