"""The subscription view: golden cases G1 to G6 and rules R36 to R51, column by column."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from include.common import locks
from include.common.journal import RunLog
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND
from include.cvas.lake import UNDATED, LoadedDay, partition_path, writing
from include.cvas.view import build_subscriptions, read_view_state
from include.errors import AlreadyRunning, ContractViolation, SourceMissing, StoreBusy, StoreFull
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    PHONE,
    USER,
    Row,
    Rows,
    act,
    at,
    cnr,
    dct,
    fill_lake,
    frame,
    ppd,
    reno,
    rfnd,
    write_legacy,
)

AS_OF = date(2025, 12, 31)
SNAPSHOT_HEADER = "cpc,content_provider,service_name,last_billed_amount,tme_category,channel_desc,count\n"
# Every column in its order, for a subscription about which nothing is known but that it exists.
NOTHING: Row = {
    "subscription_id": 900001,
    "tmuserid": USER,
    "msisdn": PHONE,
    "cpc_list": [],
    "cpc_count": 0,
    "first_cpc": None,
    "current_cpc": None,
    "has_upgraded": False,
    "upgrade_date": None,
    "upgraded_to_cpc": None,
    "activation_date": None,
    "activation_trans_date": None,
    "missing_act_record": False,
    "activation_campaign": None,
    "activation_channel": None,
    "activation_revenue": 0.0,
    "activation_month": None,
    "renewal_count": 0,
    "renewal_revenue": 0.0,
    "last_renewal_date": None,
    "first_renewal_date": None,
    "last_activity_date": None,
    "deactivation_date": None,
    "deactivation_mode": None,
    "cancellation_date": None,
    "cancellation_mode": None,
    "refund_count": 0,
    "total_refunded": 0.0,
    "last_refund_date": None,
    "total_revenue": 0.0,
    "total_revenue_with_upgrade": 0.0,
    "subscription_status": "Active",
    "lifetime_days": None,
    "end_date": None,
    "upgrade_count": 0,
    "last_upgrade_date": None,
    "last_upgrade_cpc": None,
    "upgrade_revenue": 0.0,
    "gross_revenue": 0.0,
    "refund_events": 0,
    "net_revenue": 0.0,
    "service_name": "UNKNOWN",
    "tme_category": "",
    "cpc_user_base": None,
    "active_after_end": False,
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake without anything but a catalogue."""
    lake = Lake(tmp_path / "lake")
    write_catalogue(lake, "46109,Escudo Movil,Free Time,30,5.36\n")
    return lake


def write_catalogue(lake: Lake, rows: str) -> None:
    lake.root.mkdir(parents=True, exist_ok=True)
    lake.mastercpc.write_text("cpc,service_name,tme_category,cpc_period,cpc_price\n" + rows, encoding="utf-8")


def build(lake: Lake, *, as_of: date | None = AS_OF, settings: Settings | None = None, **how: bool) -> StepResult:
    return build_subscriptions(lake, day=DAY, now=NOW, settings=settings or Settings(), as_of=as_of, **how)


def view(lake: Lake) -> list[Row]:
    return pl.read_parquet(lake.subscriptions).to_dicts()


def view_of(lake: Lake, rows: Rows) -> list[Row]:
    """The view of a lake that has these rows and no others."""
    fill_lake(lake, rows)
    build(lake)
    return view(lake)


def one(lake: Lake, rows: Rows, *columns: str) -> Row:
    """Some columns of the only subscription there is."""
    (row,) = view_of(lake, rows)
    return {name: row[name] for name in columns}


def weekly(first: str, times: int, **values: Any) -> list[Row]:
    return [reno(trans_date=at(first) + timedelta(weeks=n), **values) for n in range(times)]


# --- golden cases -------------------------------------------------------------------------------------------------


def test_g1_an_upgraded_subscription_that_was_cancelled(lake: Lake) -> None:
    """Golden case G1; R41, R42, R44."""
    month = {"cpc": 45530, "rev": 9.08, "act_date": "2025-02-19 16:08:20"}
    rows = view_of(
        lake,
        {
            ACT: [
                act(
                    cpc=45531,
                    channel_act="ORGANIC",
                    trans_date="2025-02-19 16:08:22",
                    act_date="2025-02-19 16:08:20",
                    camp_name="vertical",
                    rev=0.0,
                ),
                act(channel_act="UPGRADE", trans_date="2025-05-20 16:08:21", **month),
            ],
            RENO: [
                reno(trans_date="2025-06-19 16:08:25", **month),
                reno(trans_date="2025-07-19 16:08:31", **month),
                reno(trans_date="2025-08-18 16:08:38", **month),
                reno(trans_date="2025-09-17 16:08:44", **month),
            ],
            DCT: [
                dct(channel_dct="UPGRADE", trans_date="2025-05-20 16:08:21", cpc=45531),
                dct(channel_dct="CCC-CR", trans_date="2025-10-17 16:08:47", cpc=45530),
            ],
            CNR: [cnr(cancel_date="2025-10-15 10:00:00", mode="CCC-CR")],
        },
    )
    assert rows == [
        {
            **NOTHING,
            "cpc_list": [45531, 45530],
            "cpc_count": 2,
            "first_cpc": 45531,
            "current_cpc": 45530,
            "has_upgraded": True,
            "upgrade_date": at("2025-05-20 16:08:21"),
            "upgraded_to_cpc": 45530,
            "activation_date": at("2025-02-19 16:08:20"),
            "activation_trans_date": at("2025-02-19 16:08:22"),
            "activation_campaign": "vertical",
            "activation_channel": "ORGANIC",
            "activation_month": "2025-02",
            "renewal_count": 4,
            "renewal_revenue": 36.32,
            "last_renewal_date": at("2025-09-17 16:08:44"),
            "first_renewal_date": at("2025-06-19 16:08:25"),
            "last_activity_date": at("2025-09-17 16:08:44"),
            "deactivation_date": at("2025-10-17 16:08:47"),
            "deactivation_mode": "CCC-CR",
            "cancellation_date": at("2025-10-15 10:00:00"),
            "cancellation_mode": "CCC-CR",
            "total_revenue": 36.32,
            "total_revenue_with_upgrade": 45.40,
            "subscription_status": "Cancelled",
            "lifetime_days": 238,
            "end_date": at("2025-10-15 10:00:00"),
            "upgrade_count": 1,
            "last_upgrade_date": at("2025-05-20 16:08:21"),
            "last_upgrade_cpc": 45530,
            "upgrade_revenue": 9.08,
            "gross_revenue": 45.40,
            "net_revenue": 45.40,
        }
    ]


def test_g2_a_deactivated_subscription_with_refunds(lake: Lake) -> None:
    """Golden case G2."""
    week = {"cpc": 44009, "rev": 1.64, "act_date": "2025-02-21 08:40:10", "subscription_id": 900002}
    rows = view_of(
        lake,
        {
            ACT: [act(channel_act="VOICE", trans_date="2025-02-21 08:40:17", **week)],
            RENO: weekly("2025-02-28 08:40:28", 31, **week),
            DCT: [dct(channel_dct="CCC-BL", trans_date="2025-10-01 14:37:32", subscription_id=900002)],
            RFND: [
                rfnd(refnd_date="2025-10-02", rfnd_amount=4.92, rfnd_cnt=3, sbnid=900002),
                rfnd(refnd_date="2025-10-03", rfnd_amount=1.64, rfnd_cnt=1, sbnid=900002),
            ],
        },
    )
    assert rows == [
        {
            **NOTHING,
            "subscription_id": 900002,
            "cpc_list": [44009],
            "cpc_count": 1,
            "first_cpc": 44009,
            "current_cpc": 44009,
            "upgrade_date": at("2025-02-21 08:40:17"),
            "upgraded_to_cpc": 44009,
            "activation_date": at("2025-02-21 08:40:10"),
            "activation_trans_date": at("2025-02-21 08:40:17"),
            "activation_campaign": "a1b2c3d",
            "activation_channel": "VOICE",
            "activation_revenue": 1.64,
            "activation_month": "2025-02",
            "renewal_count": 31,
            "renewal_revenue": 50.84,
            "last_renewal_date": at("2025-09-26 08:40:28"),
            "first_renewal_date": at("2025-02-28 08:40:28"),
            "last_activity_date": at("2025-09-26 08:40:28"),
            "deactivation_date": at("2025-10-01 14:37:32"),
            "deactivation_mode": "CCC-BL",
            "refund_count": 2,
            "total_refunded": 6.56,
            "last_refund_date": at("2025-10-03 00:00:00"),
            "total_revenue": 52.48,
            "total_revenue_with_upgrade": 54.12,
            "subscription_status": "Deactivated",
            "lifetime_days": 222,
            "end_date": at("2025-10-01 14:37:32"),
            "gross_revenue": 52.48,
            "refund_events": 4,
            "net_revenue": 45.92,
        }
    ]


def test_g3_a_subscription_older_than_the_lake(lake: Lake) -> None:
    """Golden case G3; R39: its first renewal says when it was activated."""
    rows = view_of(
        lake,
        {
            RENO: weekly(
                "2024-09-16 16:40:13",
                60,
                cpc=44010,
                rev=1.91,
                act_date="2024-09-09 16:40:04",
                subscription_id=900003,
                channel_act="WEB",
            ),
            DCT: [dct(trans_date="2025-11-10 21:00:02", channel_dct="CCC-BL", subscription_id=900003)],
        },
    )
    assert rows == [
        {
            **NOTHING,
            "subscription_id": 900003,
            "cpc_list": [44010],
            "cpc_count": 1,
            "first_cpc": 44010,
            "current_cpc": 44010,
            "activation_date": at("2024-09-09 16:40:04"),
            "activation_trans_date": at("2024-09-16 16:40:13"),
            "missing_act_record": True,
            "activation_campaign": "a1b2c3d",
            "activation_channel": "WEB",
            "activation_month": "2024-09",
            "renewal_count": 60,
            "renewal_revenue": 114.60,
            "last_renewal_date": at("2025-11-03 16:40:13"),
            "first_renewal_date": at("2024-09-16 16:40:13"),
            "last_activity_date": at("2025-11-03 16:40:13"),
            "deactivation_date": at("2025-11-10 21:00:02"),
            "deactivation_mode": "CCC-BL",
            "total_revenue": 114.60,
            "total_revenue_with_upgrade": 114.60,
            "subscription_status": "Deactivated",
            "lifetime_days": 427,
            "end_date": at("2025-11-10 21:00:02"),
            "gross_revenue": 114.60,
            "net_revenue": 114.60,
        }
    ]


def test_g4_a_renewal_before_the_only_activation(lake: Lake) -> None:
    """Golden case G4; R40: a later activation still counts as the activation record."""
    rows: Rows = {
        RENO: [reno(trans_date="2025-11-20 10:00:00", act_date="2024-01-01 09:00:00", rev=2.0)],
        ACT: [act(trans_date="2025-12-01 10:00:00", channel_act="UPGRADE", rev=5.0)],
    }
    found = one(
        lake,
        rows,
        "missing_act_record",
        "activation_trans_date",
        "activation_revenue",
        "activation_month",
        "activation_date",
        "total_revenue",
        "total_revenue_with_upgrade",
        "gross_revenue",
    )
    assert found == {
        "missing_act_record": False,
        "activation_trans_date": at("2025-12-01 10:00:00"),
        "activation_revenue": 5.0,
        "activation_month": "2025-11",
        "activation_date": at("2024-01-01 09:00:00"),
        "total_revenue": 7.0,
        "total_revenue_with_upgrade": 12.0,
        "gross_revenue": 7.0,
    }


def test_g5_a_deactivation_without_channel_ends_nothing(lake: Lake) -> None:
    """Golden case G5; R43."""
    found = one(lake, {ACT: [act()], DCT: [dct(channel_dct=None)]}, "subscription_status", "end_date")
    assert found == {"subscription_status": "Active", "end_date": None}


def test_g6_refunds_of_one_day_at_two_prices_both_count(lake: Lake) -> None:
    """Golden case G6; R31."""
    refunds = [
        rfnd(cpc=44009, rfnd_amount=3.69, rfnd_cnt=3),
        rfnd(cpc=44010, rfnd_amount=1.00, rfnd_cnt=1),
    ]
    found = one(lake, {ACT: [act()], RFND: refunds}, "refund_count", "total_refunded", "refund_events", "net_revenue")
    assert found == {"refund_count": 2, "total_refunded": 4.69, "refund_events": 4, "net_revenue": 0.67}


# --- which rows ---------------------------------------------------------------------------------------------------


def test_one_row_per_subscription_with_an_activation_or_a_renewal_sorted(lake: Lake) -> None:
    """R38, 4.2: what occurs in other types only does not appear; neither does an event without a subscription."""
    rows = view_of(
        lake,
        {
            ACT: [act(subscription_id=30), act(subscription_id=10), act(subscription_id=None)],
            RENO: [reno(subscription_id=20), reno(subscription_id=10), reno(subscription_id=None)],
            DCT: [dct(subscription_id=1)],
            CNR: [cnr(sbn_id=2)],
            RFND: [rfnd(sbnid=3), rfnd(sbnid=None)],
            PPD: [ppd(subscription_id=4), ppd(subscription_id=10)],
        },
    )
    assert [(row["subscription_id"], row["renewal_count"], row["refund_count"]) for row in rows] == [
        (10, 1, 0),
        (20, 1, 0),
        (30, 0, 0),
    ]


def test_columns_have_the_agreed_names_order_and_types(lake: Lake) -> None:
    """4.2, R71."""
    fill_lake(lake, {ACT: [act()]})
    build(lake)
    text, number, time, amount, truth = pl.String, pl.Int64, pl.Datetime("us"), pl.Float64, pl.Boolean
    assert list(pl.read_parquet_schema(lake.subscriptions).items()) == list(
        zip(
            NOTHING,
            [
                *(
                    number,
                    text,
                    text,
                    pl.List(pl.Int64),
                    number,
                    number,
                    number,
                    truth,
                    time,
                    number,
                    time,
                    time,
                    truth,
                ),
                *(text, text, amount, text, number, amount, time, time, time, time, text, time, text, number, amount),
                *(time, amount, amount, text, number, time, number, time, number, amount, amount, number, amount),
                *(text, text, number, truth),
            ],
            strict=True,
        )
    )
    assert pl.read_parquet(lake.subscriptions).columns == list(NOTHING)


def test_types_without_any_file_are_empty(lake: Lake) -> None:
    """R36: the other system failed here."""
    assert one(lake, {RENO: [reno(rev=1.5)]}, "missing_act_record", "gross_revenue", "refund_count") == {
        "missing_act_record": True,
        "gross_revenue": 1.5,
        "refund_count": 0,
    }


def test_a_lake_without_any_transaction_has_no_view(lake: Lake) -> None:
    with pytest.raises(SourceMissing, match="no transaction with a date"):
        build(lake, as_of=None)
    assert not lake.subscriptions.exists()


# --- order --------------------------------------------------------------------------------------------------------

FIRST_AND_LAST = (
    *("first_cpc", "current_cpc", "tmuserid", "msisdn", "activation_date", "activation_campaign"),
    *("activation_channel", "activation_month"),
)


def test_an_activation_precedes_a_renewal_of_the_same_second(lake: Lake) -> None:
    """R37."""
    same = {"trans_date": "2025-11-10 12:00:00"}
    rows: Rows = {ACT: [act(cpc=2, channel_act="WEB", **same)], RENO: [reno(cpc=1, channel_act="WAP", **same)]}
    assert one(lake, rows, "cpc_list", "first_cpc", "current_cpc", "activation_channel") == {
        "cpc_list": [2, 1],
        "first_cpc": 2,
        "current_cpc": 1,
        "activation_channel": "WEB",
    }


TIES = [
    ("cpc", 1, 2),
    ("rev", 1.0, 2.0),
    ("channel_act", "WAP", "WEB"),
    ("camp_name", "a", "b"),
    ("act_date", "2025-01-01 00:00:00", "2025-01-02 00:00:00"),
    ("tmuserid", "0340000000000000001", "0340000000000000002"),
    ("msisdn", "34600000001", "34600000002"),
]


@pytest.mark.parametrize(("column", "less", "more"), TIES)
@pytest.mark.parametrize("kind", [ACT, RENO], ids=lambda kind: kind.name)
def test_ties_are_decided_by_every_field_in_its_turn(lake: Lake, kind: Any, column: str, less: Any, more: Any) -> None:
    """R37: cpc, rev, channel, campaign, activation date, user, phone, each ascending; nothing comes last. Only another
    system leaves such rows."""
    make = act if kind is ACT else reno
    later = {name: high for name, _, high in TIES[[name for name, *_ in TIES].index(column) + 1 :]}
    earlier = {name: low for name, low, _ in TIES if name != column and name not in later}
    lows = {name: low for name, low, _ in TIES if name in later}
    winner = make(**earlier, **later, **{column: less})
    rows = [make(**earlier, **lows, **{column: value}) for value in (None, more)]
    write_legacy(lake, kind, "2025-11", [rows[0], winner, rows[1]], name="old.parquet")
    build(lake)
    (row,) = view(lake)
    first = winner | {"act_date": at(winner["act_date"])}
    assert {name: row[name] for name in FIRST_AND_LAST} == {
        "first_cpc": first["cpc"],
        "current_cpc": None if column == "cpc" else 1,
        "tmuserid": first["tmuserid"],
        "msisdn": first["msisdn"],
        "activation_date": first["act_date"],
        "activation_campaign": first["camp_name"],
        "activation_channel": first["channel_act"],
        "activation_month": "2025-11",
    }
    assert row["activation_revenue"] == (first["rev"] if kind is ACT else 0.0)


def test_undated_events_are_the_last_to_be_first_and_never_the_last_beside_dated_ones(lake: Lake) -> None:
    """R37: first = minimum with nulls last, last = maximum among dates that are there."""
    write_legacy(lake, RENO, UNDATED, [reno(cpc=3, trans_date=None, camp_name="undated")], name="x.parquet")
    fill_lake(lake, {RENO: [reno(cpc=2, trans_date="2025-11-02 00:00:00", camp_name="dated")]})
    build(lake)
    (row,) = view(lake)
    assert [row[name] for name in ("first_cpc", "current_cpc", "cpc_list", "activation_campaign", "renewal_count")] == [
        *(2, 2, [2, 3]),
        *("dated", 2),
    ]


@pytest.mark.parametrize("with_act", [True, False])
def test_with_undated_events_alone_the_same_order_decides(lake: Lake, with_act: bool) -> None:  # noqa: FBT001
    """R37: all null, any by the same order; the month of such an activation is not known."""
    write_legacy(lake, RENO, UNDATED, [reno(cpc=c, trans_date=None, rev=1.0) for c in (5, 4)], name="x.parquet")
    if with_act:
        write_legacy(lake, ACT, UNDATED, [act(cpc=6, trans_date=None, rev=2.0)], name="x.parquet")
    build(lake)
    (row,) = view(lake)
    columns = (
        *("first_cpc", "current_cpc", "cpc_list", "activation_month", "activation_trans_date", "last_renewal_date"),
        *("renewal_revenue", "total_revenue", "missing_act_record"),
    )
    assert [row[name] for name in columns] == [
        *((6, 5, [6, 4, 5], None, None, None, 2.0, 4.0, False) if with_act else ()),
        *(() if with_act else (4, 5, [4, 5], None, None, None, 2.0, 2.0, True)),
    ]


def test_an_undated_activation_beside_dated_renewals_is_not_the_first_event(lake: Lake) -> None:
    """R37, R40: but it is the activation record, and without a date."""
    write_legacy(lake, ACT, UNDATED, [act(cpc=7, trans_date=None, rev=2.5)], name="x.parquet")
    fill_lake(lake, {RENO: [reno(cpc=8)]})
    build(lake)
    (row,) = view(lake)
    columns = ("first_cpc", "current_cpc", "missing_act_record", "activation_trans_date", "activation_revenue")
    assert [row[name] for name in (*columns, "upgraded_to_cpc", "upgrade_date")] == [8, 8, False, None, 2.5, 7, None]


def test_price_points_are_listed_by_first_appearance_once_and_without_nothing(lake: Lake) -> None:
    """R41: one that comes back is not repeated; of one moment the activation's and then the smaller come first."""
    rows: Rows = {
        ACT: [act(cpc=50, trans_date="2025-11-03 00:00:00", subscription_id=1)],
        RENO: [
            reno(cpc=40, trans_date="2025-11-01 00:00:00", subscription_id=1),
            reno(cpc=None, trans_date="2025-11-02 00:00:00", subscription_id=1),
            reno(cpc=20, trans_date="2025-11-03 00:00:00", subscription_id=1),
            reno(cpc=40, trans_date="2025-11-04 00:00:00", subscription_id=1),
            reno(cpc=None, trans_date="2025-11-04 00:00:00", subscription_id=2),
        ],
    }
    found = view_of(lake, rows)
    columns = ("cpc_list", "cpc_count", "has_upgraded", "first_cpc", "current_cpc")
    assert [[row[name] for name in columns] for row in found] == [
        [[40, 50, 20], 3, True, 40, 40],
        [[], 0, False, None, None],
    ]


def test_a_price_point_known_from_both_types_counts_from_its_first_appearance(lake: Lake) -> None:
    """R41."""
    rows: Rows = {
        ACT: [act(cpc=2, trans_date="2025-11-05 00:00:00"), act(cpc=1, trans_date="2025-11-03 00:00:00")],
        RENO: [reno(cpc=2, trans_date="2025-11-02 00:00:00"), reno(cpc=1, trans_date="2025-11-06 00:00:00")],
    }
    assert one(lake, rows, "cpc_list", "current_cpc") == {"cpc_list": [2, 1], "current_cpc": 1}


def test_upgrades_are_told_from_activations(lake: Lake) -> None:
    """4.2, columns 9, 10, 31 as they always were and 35 to 39 as they should be."""
    rows: Rows = {
        ACT: [
            act(cpc=1, trans_date="2025-11-01 00:00:00", rev=1.0),
            act(cpc=2, trans_date="2025-11-02 00:00:00", rev=2.0, channel_act="UPGRADE"),
            act(cpc=3, trans_date="2025-11-03 00:00:00", rev=4.0, channel_act="UPGRADE"),
            act(cpc=1, trans_date="2025-11-04 00:00:00", rev=8.0, channel_act=None),
        ]
    }
    found = one(
        lake,
        rows,
        *("upgrade_date", "upgraded_to_cpc", "upgrade_count", "last_upgrade_date", "last_upgrade_cpc"),
        *("upgrade_revenue", "activation_revenue", "total_revenue", "total_revenue_with_upgrade", "gross_revenue"),
    )
    assert list(found.values()) == [
        *(at("2025-11-04 00:00:00"), 1, 2, at("2025-11-03 00:00:00"), 3),
        *(6.0, 1.0, 1.0, 9.0, 15.0),
    ]


# --- how it ended -------------------------------------------------------------------------------------------------


def test_the_last_deactivation_that_is_no_upgrade_counts(lake: Lake) -> None:
    """R42, R43: the greatest date, of equal ones the greatest text; an upgrade's or one without channel is none."""
    rows: Rows = {
        ACT: [act(trans_date="2025-11-01 00:00:00")],
        DCT: [
            dct(trans_date="2025-11-05 00:00:00", channel_dct="SMS-CR"),
            dct(trans_date="2025-11-06 00:00:00", channel_dct="CCC-BL"),
            dct(trans_date="2025-11-06 00:00:00", channel_dct="CCC-CR"),
            dct(trans_date="2025-11-07 00:00:00", channel_dct="UPGRADE"),
            dct(trans_date="2025-11-08 00:00:00", channel_dct=None),
        ],
    }
    assert one(lake, rows, "deactivation_date", "deactivation_mode", "subscription_status", "end_date") == {
        "deactivation_date": at("2025-11-06 00:00:00"),
        "deactivation_mode": "CCC-CR",
        "subscription_status": "Deactivated",
        "end_date": at("2025-11-06 00:00:00"),
    }


@pytest.mark.parametrize(("modes", "expected"), [(["SMS-CR", None], "SMS-CR"), ([None], None), (["B", "A"], "B")])
def test_the_last_cancellation_counts(lake: Lake, modes: Sequence[str | None], expected: str | None) -> None:
    """R43."""
    cancellations = [cnr(cancel_date="2025-11-09 00:00:00", mode=mode) for mode in modes]
    rows: Rows = {ACT: [act()], CNR: [cnr(cancel_date="2025-11-08 00:00:00", mode="Z"), *cancellations]}
    assert one(lake, rows, "cancellation_date", "cancellation_mode") == {
        "cancellation_date": at("2025-11-09 00:00:00"),
        "cancellation_mode": expected,
    }


def test_a_cancellation_takes_precedence_over_a_deactivation(lake: Lake) -> None:
    """R44: whichever came first."""
    rows: Rows = {
        ACT: [act(act_date="2025-11-01 00:00:00", subscription_id=each) for each in (1, 2, 3, 4)],
        DCT: [dct(trans_date="2025-11-20 00:00:00", subscription_id=each) for each in (1, 2)],
        CNR: [cnr(cancel_date="2025-11-25 00:00:00", sbn_id=each) for each in (1, 3)],
    }
    found = view_of(lake, rows)
    assert [(row["subscription_status"], row["end_date"], row["lifetime_days"]) for row in found] == [
        ("Cancelled", at("2025-11-25 00:00:00"), 24),
        ("Deactivated", at("2025-11-20 00:00:00"), 19),
        ("Cancelled", at("2025-11-25 00:00:00"), 24),
        ("Active", None, 60),
    ]


@pytest.mark.parametrize(("end", "after"), [("2025-11-17 10:00:00", False), ("2025-11-17 09:59:59", True)])
def test_activity_after_the_end_is_told_and_reopens_nothing(lake: Lake, end: str, after: bool) -> None:  # noqa: FBT001
    """R45: only what is later than the end counts."""
    rows: Rows = {
        ACT: [act()],
        RENO: [reno(trans_date="2025-11-17 10:00:00")],
        CNR: [cnr(cancel_date=end)],
    }
    assert one(lake, rows, "subscription_status", "active_after_end") == {
        "subscription_status": "Cancelled",
        "active_after_end": after,
    }


@pytest.mark.parametrize(
    ("activated", "cancelled", "days"),
    [
        ("2025-11-10 23:59:59", "2025-11-11 00:00:00", 1),
        ("2025-11-10 00:00:00", "2025-11-10 23:59:59", 0),
        ("2025-11-10 00:00:00", "2025-11-09 23:59:59", -1),
        (None, "2025-11-09 23:59:59", None),
    ],
)
def test_a_life_is_counted_in_midnights(lake: Lake, activated: str | None, cancelled: str, days: int | None) -> None:
    """R46."""
    rows: Rows = {ACT: [act(act_date=activated)], CNR: [cnr(cancel_date=cancelled)]}
    assert one(lake, rows, "lifetime_days") == {"lifetime_days": days}


def test_lives_that_end_before_they_begin_are_reported(lake: Lake) -> None:
    """R46."""
    fill_lake(lake, {ACT: [act()], CNR: [cnr(cancel_date="2025-11-01 00:00:00")]})
    assert build(lake).facts["statistics"]["totals"]["negative_lifetimes"] == 1


# --- money --------------------------------------------------------------------------------------------------------


def test_sums_are_exact(lake: Lake) -> None:
    """R48: ten dimes are one euro, and neither order nor size of the amounts matters."""
    amounts = [0.1] * 10 + [0.2, 1e9, 0.000001]
    rows = [reno(trans_date=at("2025-11-01 00:00:00") + timedelta(days=n), rev=rev) for n, rev in enumerate(amounts)]
    refunds = [rfnd(refnd_date=f"2025-11-{n:02}", rfnd_amount=0.1) for n in range(1, 4)]
    found = one(lake, {RENO: rows, RFND: refunds}, "renewal_revenue", "total_refunded", "net_revenue")
    assert found == {"renewal_revenue": 1000000001.200001, "total_refunded": 0.3, "net_revenue": 1000000000.900001}


def test_amounts_that_are_missing_count_as_nothing(lake: Lake) -> None:
    """Column 16: null revenue is 0; so it is in every sum."""
    rows: Rows = {ACT: [act(rev=None, subscription_id=1)], RENO: [reno(rev=None, subscription_id=2)]}
    found = view_of(lake, rows)
    columns = ("activation_revenue", "renewal_revenue", "total_revenue", "total_revenue_with_upgrade", "gross_revenue")
    assert [[row[name] for name in columns] for row in found] == [[0.0] * 5] * 2


def test_refunds_reduce_the_net_revenue_whatever_their_sign(lake: Lake) -> None:
    """Columns 28 and 41."""
    refunds = [rfnd(rfnd_amount=1.5), rfnd(rfnd_amount=-0.5, cpc=1)]
    found = one(lake, {ACT: [act(rev=5.0)], RFND: refunds}, "total_refunded", "net_revenue")
    assert found == {"total_refunded": 1.0, "net_revenue": 3.0}


# --- as-of date ---------------------------------------------------------------------------------------------------


def test_lives_are_counted_to_the_day_after_the_newest_day_that_is_loaded(lake: Lake) -> None:
    """R47: never to the machine's today."""
    fill_lake(lake, {ACT: [act(act_date="2025-11-01 10:00:00")]})
    result = build(lake, as_of=None)
    assert result.facts["as_of"] == "2025-11-11"
    assert view(lake)[0]["lifetime_days"] == 10


def test_a_day_that_is_given_takes_precedence(lake: Lake) -> None:
    """R47."""
    fill_lake(lake, {ACT: [act(act_date="2025-11-01 10:00:00")]})
    build(lake, as_of=date(2025, 11, 3))
    assert view(lake)[0]["lifetime_days"] == 2


def test_without_a_day_that_is_loaded_the_newest_event_counts_and_the_log_says_so(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """R47."""
    caplog.set_level(logging.INFO)
    write_legacy(lake, ACT, "2025-11", [act(act_date="2025-11-01 10:00:00")], name="a.parquet")
    write_legacy(lake, RFND, "2025-11", [rfnd(refnd_date="2025-11-21")], name="b.parquet")
    assert build(lake, as_of=None).facts["as_of"] == "2025-11-22"
    assert "follows the newest event, of 2025-11-21" in caplog.text


def test_an_as_of_date_before_the_newest_rows_is_told(lake: Lake) -> None:
    """R47: an old day was loaded into a lake of which no newer day is known to be whole."""
    fill_lake(lake, {ACT: [act(trans_date="2024-10-06 10:00:00", act_date="2024-10-06 10:00:00")]})
    assert "Lives are counted" not in " ".join(build(lake, as_of=None).warnings)
    with writing(lake, "cvas_test", RunLog()) as change:
        change.write(ACT, "2025-11", frame(ACT, [act()]))
        change.state.record(DAY, ACT, LoadedDay(1, "found"))
        change.publish(None)
    result = build(lake, as_of=None)
    assert result.facts["as_of"] == "2024-10-07"
    (told,) = (text for text in result.warnings if text.startswith("Lives are counted"))
    assert told == (
        "Lives are counted to 2024-10-07, although the lake has rows up to 2025-11-10: no day after 2024-10-06 is "
        "loaded with all its types. Load the newest day."
    )


# --- catalogue and user base --------------------------------------------------------------------------------------


def write_snapshot(lake: Lake, day: date, *rows: str) -> None:
    lake.snapshots.mkdir(parents=True, exist_ok=True)
    path = lake.snapshots / f"{day:%Y%m%d}_NBS_Base.csv"
    path.write_text(SNAPSHOT_HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")


def services(lake: Lake) -> list[tuple[Any, ...]]:
    columns = ("current_cpc", "service_name", "tme_category", "cpc_user_base")
    return [tuple(row[name] for name in columns) for row in view(lake)]


def test_services_come_from_the_catalogue_then_from_the_newest_snapshot(lake: Lake) -> None:
    """Columns 42 and 43: of the last price point; a snapshot after the as-of date is not known yet."""
    fill_lake(lake, {ACT: [act(cpc=cpc, subscription_id=cpc or 9) for cpc in (46109, 2, 3, None)]})
    write_snapshot(lake, date(2025, 11, 9), "3,P,Antiguo,1,News,ACTIVE,5")
    write_snapshot(lake, DAY, "2,P, Noticias Diarias ,1,News,ACTIVE,5", "46109,P,Otro,1,News,ACTIVE,5")
    write_snapshot(lake, date(2025, 11, 12), "3,P,Nuevo,1,News,ACTIVE,5")
    build(lake, as_of=date(2025, 11, 11))
    assert services(lake) == [
        (2, "Noticias Diarias", "News", None),
        (3, "UNKNOWN", "", None),
        (None, "UNKNOWN", "", None),
        (46109, "Escudo Movil", "Free Time", None),
    ]


def test_users_are_those_of_the_newest_day_not_later_than_the_as_of_date(lake: Lake) -> None:
    """Column 44."""
    fill_lake(lake, {ACT: [act(cpc=cpc, subscription_id=cpc) for cpc in (1, 2)]})
    lake.user_base.mkdir(parents=True)
    (lake.user_base / "user_base_by_cpc.csv").write_text(
        "date|cpc|User_Base\n2025-11-09|1|10\n2025-11-09|2|20\n2025-11-11|1|11\n2025-11-12|1|12\n2025-11-12|2|22\n",
        encoding="utf-8",
    )
    found = []
    for as_of in (date(2025, 11, 8), date(2025, 11, 10), date(2025, 11, 11), date(2025, 11, 30)):
        build(lake, as_of=as_of)
        found.append([row[3] for row in services(lake)])
    assert found == [[None, None], [10, 20], [11, None], [12, 22]]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "is not there"),
        ("cpc;name\n1;x\n", "header"),
        ("cpc,service_name,tme_category,cpc_period,cpc_price\nx,", ""),
    ],
)
def test_without_a_readable_catalogue_services_are_unknown_and_a_warning_says_so(
    lake: Lake, content: str | None, cause: str
) -> None:
    """Section 6: the view is built all the same."""
    fill_lake(lake, {ACT: [act()]})
    write_snapshot(lake, DAY, "46109,P,Noticias,1,News,ACTIVE,5")
    if content is None:
        lake.mastercpc.unlink()
    else:
        lake.mastercpc.write_text(content, encoding="utf-8")
    (warning,) = build(lake).warnings
    assert warning.startswith("Every service of the view is UNKNOWN: ")
    assert cause in warning
    assert services(lake) == [(46109, "UNKNOWN", "", None)]


def test_a_snapshot_that_cannot_be_read_costs_only_what_the_catalogue_lacks(lake: Lake) -> None:
    """Section 6: one old snapshot is corrupt."""
    fill_lake(lake, {ACT: [act(cpc=cpc, subscription_id=cpc) for cpc in (46109, 2)]})
    write_snapshot(lake, DAY, "two,P,Noticias,1,News,ACTIVE,5")
    (warning,) = build(lake).warnings
    assert "20251110_NBS_Base.csv" in warning
    assert services(lake) == [(2, "UNKNOWN", "", None), (46109, "Escudo Movil", "Free Time", None)]


# --- statistics ---------------------------------------------------------------------------------------------------


def test_statistics_tell_about_all_and_about_nobody(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R51, R5."""
    caplog.set_level(logging.INFO)
    first = {"act_date": "2025-11-01 00:00:00", "trans_date": "2025-11-01 00:00:05"}
    fill_lake(
        lake,
        {
            ACT: [
                act(subscription_id=1, rev=1.0, camp_name="a", **first),
                act(subscription_id=1, rev=3.0, camp_name="a", cpc=2, channel_act="UPGRADE"),
                act(subscription_id=2, rev=5.0, camp_name=None, **first),
            ],
            RENO: [
                reno(subscription_id=3, rev=2.5, camp_name="b", trans_date="2025-10-01 00:00:00", act_date=None),
                reno(subscription_id=1, rev=0.5, camp_name="a"),
            ],
            DCT: [dct(subscription_id=2, trans_date="2025-11-05 00:00:00")],
        },
    )
    statistics = build(lake, as_of=date(2025, 11, 11)).facts["statistics"]
    assert statistics == {
        "totals": {
            "subscriptions": 3,
            "revenue": 9.0,
            "average_revenue": 3.0,
            "renewals": 2,
            "average_lifetime": 7.0,
            "missing_activation_share": 0.3333,
            "negative_lifetimes": 0,
        },
        "statuses": {
            "Active": {"subscriptions": 2, "share": 0.6667, "average_revenue": 2.0},
            "Deactivated": {"subscriptions": 1, "share": 0.3333, "average_revenue": 5.0},
        },
        "cpc_counts": {
            "1": {"subscriptions": 2, "share": 0.6667, "average_revenue": 3.75},
            "2": {"subscriptions": 1, "share": 0.3333, "average_revenue": 1.5},
        },
        "upgraded": {
            "False": {"subscriptions": 2, "share": 0.6667, "average_revenue": 3.75},
            "True": {"subscriptions": 1, "share": 0.3333, "average_revenue": 1.5},
        },
        "campaigns": [
            {"campaign": "b", "subscriptions": 1, "revenue": 2.5, "average_lifetime": None},
            {"campaign": "a", "subscriptions": 1, "revenue": 1.5, "average_lifetime": 10.0},
        ],
        "months": [
            {"month": "2025-11", "subscriptions": 2, "revenue": 6.5, "upgraded": 1},
            {"month": "2025-10", "subscriptions": 1, "revenue": 2.5, "upgraded": 0},
        ],
    }
    assert "Status Deactivated: subscriptions 1, 33.33 %, average revenue 5.00" in caplog.text
    assert USER not in caplog.text
    assert PHONE not in caplog.text


def test_a_phone_in_the_name_of_a_campaign_stays_in_the_view(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R5: the statistics travel to Airflow's pages."""
    caplog.set_level(logging.INFO)
    fill_lake(lake, {ACT: [act(camp_name=f"call {PHONE}")]})
    result = build(lake)
    assert [each["campaign"] for each in result.facts["statistics"]["campaigns"]] == ["call ***"]
    assert PHONE not in str(result.as_dict())
    assert PHONE not in caplog.text
    assert view(lake)[0]["activation_campaign"] == f"call {PHONE}"


def test_statistics_name_five_campaigns_and_six_months(lake: Lake) -> None:
    """R51: the best and the newest."""
    fill_lake(
        lake,
        {
            ACT: [
                act(subscription_id=n, camp_name=f"c{n}", rev=float(n), trans_date=f"2025-{n:02}-01 00:00:00")
                for n in range(1, 9)
            ]
        },
    )
    statistics = build(lake).facts["statistics"]
    assert [each["campaign"] for each in statistics["campaigns"]] == ["c8", "c7", "c6", "c5", "c4"]
    assert [each["month"] for each in statistics["months"]] == [f"2025-{n:02}" for n in (8, 7, 6, 5, 4, 3)]


# --- failures -----------------------------------------------------------------------------------------------------


@pytest.fixture
def built(lake: Lake) -> Lake:
    """A lake of one month with its view."""
    fill_lake(lake, {ACT: [act(), act(subscription_id=900002)], RENO: [reno(trans_date="2025-11-17 10:00:00")]})
    build(lake)
    return lake


def test_a_partition_that_cannot_be_read_is_named_and_the_view_stays(built: Lake) -> None:
    """Section 6."""
    before = lake_view(built)
    path = partition_path(built, RENO, "2025-11")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ContractViolation, match=r"reno/year_month=2025-11/data\.parquet cannot be read") as failure:
        build(built)
    assert "fetch and load the days of 2025-11 again" in failure.value.next_step
    assert lake_view(built) == before


def test_a_partition_with_a_damaged_column_is_named(built: Lake) -> None:
    """Section 6: the footer is whole, the data is not."""
    path = partition_path(built, ACT, "2025-11")
    content = bytearray(path.read_bytes())
    content[4:400] = b"\xff" * 396
    path.write_bytes(content)
    before = lake_view(built)
    with pytest.raises(ContractViolation, match="act/year_month=2025-11"):
        build(built)
    assert lake_view(built) == before


def test_a_partition_without_a_column_is_refused(built: Lake) -> None:
    """Section 6: it would count as null."""
    path = partition_path(built, RENO, "2025-11")
    pl.read_parquet(path, hive_partitioning=False).drop("rev").write_parquet(path)
    with pytest.raises(ContractViolation, match=r"reno/year_month=2025-11.* has other columns than agreed: rev"):
        build(built)


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 1e15])
def test_an_amount_that_is_none_is_named(lake: Lake, amount: float) -> None:
    """R48: no decimal holds it."""
    write_legacy(lake, RENO, "2025-11", [reno(), reno(rev=amount)], name="old.parquet")
    with pytest.raises(ContractViolation, match=r"old\.parquet, row 2: column rev holds no amount of money"):
        build(lake)


def test_other_types_of_an_older_system_make_the_same_view(built: Lake) -> None:
    """R71: what comes out has the agreed types."""
    before = pl.read_parquet(built.subscriptions)
    path = partition_path(built, ACT, "2025-11")
    others = {"cpc": pl.String, "trans_date": pl.Datetime("ns"), "rev": pl.Decimal(10, 2), "subscription_id": pl.Int32}
    pl.read_parquet(path, hive_partitioning=False).cast(others).write_parquet(path)  # type: ignore[arg-type]
    build(built)
    after = pl.read_parquet(built.subscriptions)
    assert after.equals(before)
    assert after.schema == before.schema


def test_values_that_are_not_of_the_agreed_type_are_refused(built: Lake) -> None:
    """Section 6."""
    path = partition_path(built, ACT, "2025-11")
    pl.read_parquet(path, hive_partitioning=False).with_columns(cpc=pl.lit("none")).write_parquet(path)
    with pytest.raises(ContractViolation, match=r"act/year_month=2025-11/data\.parquet cannot be read"):
        build(built)


def test_too_little_memory_leaves_the_old_view(built: Lake) -> None:
    """Section 6."""
    before = lake_view(built)
    with pytest.raises(StoreFull, match="memory_limit 1MB"):
        build(built, settings=Settings(memory_limit="1MB"), full=True)
    assert lake_view(built) == before


def test_two_builds_at_once_and_a_build_beside_a_load_are_refused(built: Lake) -> None:
    """R3."""
    with locks.hold(built.view_lock, "cvas_view"), pytest.raises(AlreadyRunning):
        build(built)
    with locks.hold(built.lock, "cvas_load"), pytest.raises(StoreBusy):
        build(built)


def test_a_failed_build_leaves_nothing_behind(built: Lake) -> None:
    """R49: neither in the view's folder nor in staging."""
    path = partition_path(built, RENO, "2025-11")
    path.write_bytes(b"not parquet")
    with pytest.raises(ContractViolation):
        build(built)
    assert [path.name for path in built.subscriptions.parent.iterdir()] == ["subscriptions.parquet"]
    assert [path for path in built.staging.rglob("*") if path.is_file()] == []


def lake_view(lake: Lake) -> tuple[bytes, Any]:
    return lake.subscriptions.read_bytes(), read_view_state(lake)


def test_what_a_build_returns_can_travel(built: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R70: one summary line, JSON-ready facts."""
    import json

    caplog.set_level(logging.INFO)
    result = build(built, full=True)
    assert result.written == 2
    assert result.bytes == built.subscriptions.stat().st_size
    assert json.loads(json.dumps(result.as_dict()))["facts"]["mode"] == "full"
    assert "SUCCESS | Duration" in caplog.text
    assert "mode: full | as_of: 2025-12-31 | rows: 2" in caplog.text
