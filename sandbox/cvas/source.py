"""The operator's database: the four tables that the six queries read, with what their text fields really hold.

Of the rows in the big table 2 % name ``TEFcampaign`` before ``campaign``, 1 % have no ``cpc`` and 0.5 % no info at all,
and some channels are in no dimension. :func:`delivered` says what that makes of clean events; :func:`expected_rows`
works out from the tables, row by row, what the queries have to return.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import polars as pl
import psycopg
from psycopg import sql

from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TYPES, TransactionType
from sandbox.cvas.draws import Draws
from sandbox.cvas.generator import UPGRADE, UPGRADE_ID, Frames, Telecom, each
from sandbox.cvas.subscribers import CHANNELS, DAY, timestamps

Row = tuple[str | None, ...]

FACT, CHANNEL, CANCELLATION, REFUND = (
    *("telefonicaes_sub_mgr_fact", "channel_dim", "delaydcttlog_v1_0_0_fact", "refund_v1_0_0_fact"),
)
TABLES = {
    FACT: """
        msisdn text, generic_act_info text, trans_type_id integer, channel_id integer, tlog_ts timestamp,
        request_ts timestamp, next_charging_date timestamp, subscription_id bigint, charged_amount numeric
    """,
    CHANNEL: "channel_id integer PRIMARY KEY, channel_desc text",
    CANCELLATION: '"timestamp" timestamp, sbn_id text, msisdn text, cpc integer, mode text',
    REFUND: 'msisdn text, cpc integer, "timestamp" timestamp, amount numeric, info text',
}
TIME_COLUMNS = {FACT: "tlog_ts", CANCELLATION: "timestamp", REFUND: "timestamp"}
END_CHANNEL_IDS = {"CCC-BL": 61, "CCC-CR": 62, "WAP-CR": 63, "SMS-CR": 64, UPGRADE: UPGRADE_ID}
LOST_CHANNEL_ID = 992
CHANNEL_NAMES = {number: name for name, number in (CHANNELS | END_CHANNEL_IDS).items()}

NO_INFO, NO_CPC, CAMPAIGN_LATE = 0.005, 0.01, 0.02
WITH_INFO = (ACT, RENO, DCT, PPD)
AUTOMATIC = ("Automatic Refund", "AUTOMATIC REFUND", "automatic refund")
BY_HAND = "Refund by agent"


# --- Filling it ------------------------------------------------------------------------------------------------------


def fill_source(url: str, telecom: Telecom, first: date, last: date) -> None:
    """Make the tables unless they are there, and replace the rows of these days, both included; one transaction."""
    tables = source_tables(telecom.events(first, last))
    with psycopg.connect(url) as db:
        for name, columns in TABLES.items():
            db.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
        db.execute(f"TRUNCATE {CHANNEL}")
        for name, column in TIME_COLUMNS.items():
            db.execute(f'CREATE INDEX IF NOT EXISTS {name}_{column} ON {name} ("{column}")')
            db.execute(
                f'DELETE FROM {name} WHERE "{column}" >= %s AND "{column}" < %s', [first, last + timedelta(days=1)]
            )
        for name, rows in tables.items():
            columns = ", ".join(f'"{column}"' for column in rows.columns)
            with db.cursor().copy(f"COPY {name} ({columns}) FROM STDIN (FORMAT csv)") as copy:
                copy.write(rows.write_csv(include_header=False, datetime_format="%Y-%m-%d %H:%M:%S%.f"))
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("ANALYZE")


def create_reader(url: str, user: str, password: str) -> None:
    """Make the login that may only read the four tables, or give it this password."""
    with psycopg.connect(url) as db:
        role, secret = sql.Identifier(user), sql.Literal(password)
        known = db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone()
        order = "ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}"
        db.execute(sql.SQL(order).format(role, secret))
        db.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(sql.SQL(", ").join(map(sql.Identifier, TABLES)), role))
        database = sql.Identifier(db.info.dbname)
        db.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))


def source_tables(events: Frames) -> dict[str, pl.DataFrame]:
    """The rows of the four tables behind clean events."""
    facts = pl.concat([_facts(kind, events[kind.name]) for kind in WITH_INFO])
    cancellations = events[CNR.name].select(
        pl.col("cancel_date").alias("timestamp"),
        pl.col("sbn_id").cast(pl.String),
        pl.col("tmuserid").alias("msisdn"),
        "cpc",
        "mode",
    )
    channels = pl.DataFrame(list(CHANNEL_NAMES.items()), schema=["channel_id", "channel_desc"], orient="row")
    refunds = _single_refunds(events[RFND.name])
    return {FACT: facts.sort("tlog_ts"), CHANNEL: channels, CANCELLATION: cancellations, REFUND: refunds}


def _facts(kind: TransactionType, rows: pl.DataFrame) -> pl.DataFrame:
    if kind is DCT:
        lost = {None: LOST_CHANNEL_ID}
        channel = pl.col("channel_dct").replace_strict({**END_CHANNEL_IDS, **lost}, return_dtype=pl.Int64)
        rows = rows.with_columns(channel.alias("channel_id"), pl.lit(0.0).alias("rev"))
    flaw = pl.lit(_flaw(kind, rows))

    def said(key: str, value: pl.Expr) -> pl.Expr:
        return pl.concat_str(pl.lit(f"{key}="), value.cast(pl.String).fill_null(""), pl.lit(";"))

    provider = pl.when(pl.col("tef_prov") == 7).then(pl.lit("007")).otherwise(pl.col("tef_prov").cast(pl.String))
    campaign, campaign_id = said("campaign", pl.col("camp_name")), said("TEFcampaign", pl.col("campana_id"))
    late = flaw == "campaign late"
    info = pl.concat_str(
        pl.when(pl.col("msisdn").is_null()).then(pl.lit("")).otherwise(said("chrg_refid", pl.col("msisdn"))),
        pl.when(flaw == "no cpc").then(pl.lit("")).otherwise(said("cpc", pl.col("cpc"))),
        pl.when(late).then(campaign_id).otherwise(campaign),
        said("TEFProvider", provider),
        said("TEFmedium", pl.col("campana_medium")),
        pl.when(late).then(campaign).otherwise(campaign_id),
        pl.lit("lang=es"),
    )
    return rows.select(
        pl.col("tmuserid").alias("msisdn"),
        pl.when(flaw != "no info").then(info).alias("generic_act_info"),
        "trans_type_id",
        "channel_id",
        pl.col("trans_date").alias("tlog_ts"),
        pl.col("act_date").alias("request_ts"),
        pl.col("reno_date").alias("next_charging_date"),
        "subscription_id",
        pl.col("rev").cast(pl.Decimal(12, 2)).alias("charged_amount"),
    )


def _flaw(kind: TransactionType, rows: pl.DataFrame) -> pl.Series:
    """What is wrong with the info of each row; it belongs to the row, whoever asks."""
    at = rows[kind.event_date].to_physical().to_numpy()
    where = Draws(0).pick(
        f"flaw of {kind.name}",
        [NO_INFO, NO_CPC, CAMPAIGN_LATE, 1 - NO_INFO - NO_CPC - CAMPAIGN_LATE],
        rows[kind.subscription].to_numpy(),
        at,
    )
    return pl.Series(["no info", "no cpc", "campaign late", "none"]).gather(where)


def delivered(events: Frames) -> Frames:
    """What arrives of clean events, typed: without what the flaws of the text field lose on the way."""
    frames = dict(events)
    for kind in WITH_INFO:
        flaw = pl.lit(_flaw(kind, events[kind.name]))
        from_info = ("msisdn", "cpc", "camp_name", "tef_prov", "campana_medium", "campana_id")
        frames[kind.name] = (
            events[kind.name]
            .with_columns(
                camp_name=pl.when(flaw == "campaign late").then("campana_id").otherwise("camp_name"),
                cpc=pl.when(flaw != "no cpc").then("cpc"),
            )
            .with_columns(pl.when(flaw != "no info").then(pl.col(from_info)))
        )
    return frames


def _single_refunds(refunds: pl.DataFrame) -> pl.DataFrame:
    """A refund row of n refunds comes from n rows of one n-th of the amount."""
    position, nth = each(np.arange(refunds.height), refunds["rfnd_cnt"].to_numpy())
    single = refunds[position]
    user = single["tmuserid"].cast(pl.UInt64).to_numpy()
    midnight = single["refnd_date"].to_physical().to_numpy() // 1_000_000
    second = Draws(0).pick("second", np.ones(DAY), user, single["cpc"].to_numpy(), midnight, nth)
    automatic = pl.Series(AUTOMATIC).gather(user % np.uint64(len(AUTOMATIC)))
    return single.select(
        pl.col("tmuserid").alias("msisdn"),
        "cpc",
        timestamps(midnight + second).alias("timestamp"),
        (pl.col("rfnd_amount") / pl.col("rfnd_cnt")).cast(pl.Decimal(12, 2)).alias("amount"),
        pl.concat_str(
            pl.when(pl.col("sbnid").is_null())
            .then(pl.lit(""))
            .otherwise(pl.concat_str(pl.lit("sbnId="), pl.col("sbnid").cast(pl.String), pl.lit(","))),
            pl.lit("reason="),
            pl.when(pl.col("instant_rfnd") == "t").then(automatic).otherwise(pl.lit(BY_HAND)),
        ).alias("info"),
    )


# --- Correcting it ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Correction:
    """What became of a day's rows, by type and then (subscription, time); ``changed`` tells the new amounts."""

    changed: Mapping[str, Mapping[tuple[int, datetime], Decimal]]
    removed: Mapping[str, frozenset[tuple[int, datetime]]]


def correct_day(url: str, day: date, *, seed: int = 1, changed: float = 0.01, removed: float = 0.005) -> Correction:
    """Change the amounts of some charged activations and renewals of a day and remove some others; at least one each.

    One transaction. Called again it corrects what is left.
    """
    amounts: dict[str, dict[tuple[int, datetime], Decimal]] = {}
    gone: dict[str, frozenset[tuple[int, datetime]]] = {}
    with psycopg.connect(url) as db:
        for kind in (ACT, RENO):
            rows = db.execute(
                f"SELECT subscription_id, tlog_ts, charged_amount FROM {FACT}"
                " WHERE trans_type_id = %s AND tlog_ts >= %s AND tlog_ts < %s AND charged_amount > 0"
                " ORDER BY subscription_id, tlog_ts",
                [kind.trans_type_id, day, day + timedelta(days=1)],
            ).fetchall()
            to_change, to_remove = max(1, round(len(rows) * changed)), max(1, round(len(rows) * removed))
            chosen = Random(f"{seed} {day} {kind.name}").sample(rows, min(len(rows), to_change + to_remove))
            amounts[kind.name] = {(number, at): amount + 1 for number, at, amount in chosen[:to_change]}
            gone[kind.name] = frozenset((number, at) for number, at, _ in chosen[to_change:])
            same = "trans_type_id = %s AND subscription_id = %s AND tlog_ts = %s"
            cursor = db.cursor()
            cursor.executemany(
                f"UPDATE {FACT} SET charged_amount = %s WHERE {same}",
                [(amount, kind.trans_type_id, *key) for key, amount in amounts[kind.name].items()],
            )
            cursor.executemany(
                f"DELETE FROM {FACT} WHERE {same}", [(kind.trans_type_id, *key) for key in gone[kind.name]]
            )
    return Correction(amounts, gone)


# --- What the queries have to return ---------------------------------------------------------------------------------


def expected_rows(url: str, day: date) -> dict[str, list[Row]]:
    """The result of the six queries for a day, in no order: every value as PostgreSQL writes it, None for NULL."""
    begin = datetime.combine(day, time())
    end = begin + timedelta(days=1)
    with psycopg.connect(url) as db:
        tables = {
            name: [dict(zip(columns, row, strict=True)) for row in rows] for name, columns, rows in _read_tables(db)
        }
    channels = {row["channel_id"]: row["channel_desc"] for row in tables[CHANNEL]}
    facts = [row for row in tables[FACT] if begin <= row["tlog_ts"] < end]
    found: dict[str, list[Row]] = {
        kind.name: [
            tuple(_text(_fact_value(row, name, channels)) for name in kind.column_names)
            for row in facts
            if row["trans_type_id"] == kind.trans_type_id
        ]
        for kind in WITH_INFO
    }
    found[CNR.name] = [
        (_text(row["timestamp"]), row["sbn_id"], row["msisdn"], _text(row["cpc"]), row["mode"])
        for row in tables[CANCELLATION]
        if begin <= row["timestamp"] < end
    ]
    found[RFND.name] = _expected_refunds(row for row in tables[REFUND] if begin <= row["timestamp"] < end)
    return {kind.name: found[kind.name] for kind in TYPES}


def csv_line(row: Row) -> str:
    """A row as PostgreSQL's CSV has it: NULL is nothing, an empty text is two quotes."""
    return ",".join(_csv_value(value) for value in row)


def _read_tables(db: psycopg.Connection[Any]) -> Iterator[tuple[str, list[str], list[tuple[Any, ...]]]]:
    for name in TABLES:
        cursor = db.execute(f"SELECT * FROM {name}")
        assert cursor.description is not None
        yield name, [column.name for column in cursor.description], cursor.fetchall()


def _fact_value(row: Mapping[str, Any], name: str, channels: Mapping[int, str]) -> Any:
    in_info = {
        "msisdn": "chrg_refid",
        "cpc": "cpc",
        "camp_name": "campaign",
        "tef_prov": "TEFProvider",
        "campana_medium": "TEFmedium",
        "campana_id": "TEFcampaign",
    }
    as_it_is = {
        "tmuserid": "msisdn",
        "trans_date": "tlog_ts",
        "act_date": "request_ts",
        "reno_date": "next_charging_date",
        "rev": "charged_amount",
    }
    if name in in_info:
        return _after(row["generic_act_info"], f"{in_info[name]}=", ";")
    if name in ("channel_act", "channel_dct"):
        return channels.get(row["channel_id"])
    return row[as_it_is.get(name, name)]


def _after(text: str | None, start: str, end: str) -> str | None:
    """What stands after the first ``start`` up to the next ``end``, wherever ``start`` is found (3.2)."""
    return None if text is None else text.partition(start)[2].partition(end)[0]


def _expected_refunds(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        automatic = None if row["info"] is None else "automatic refund" in row["info"].lower()
        key = (_after(row["info"], "sbnId=", ","), row["msisdn"], row["cpc"], row["timestamp"].date(), automatic)
        groups.setdefault(key, []).append(row)
    return [
        (
            user,
            _text(cpc),
            _text(day),
            _text(sum((row["amount"] for row in group), Decimal())),
            str(sum(1 for row in group if row["info"] is not None)),
            sbnid,
            None if automatic is None else "t" if automatic else "f",
        )
        for (sbnid, user, cpc, day, automatic), group in groups.items()
    ]


def _text(value: Any) -> str | None:
    """As PostgreSQL writes it."""
    return None if value is None else str(value)


def _csv_value(value: str | None) -> str:
    if value is None:
        return ""
    if value == "" or any(mark in value for mark in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value
