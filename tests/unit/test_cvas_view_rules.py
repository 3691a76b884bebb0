"""Rules of the view that only rare lakes show, and its checks before it is published (R37, R39, R50, R53, R71)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from include.common.files import sha256_of
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, RENO
from include.cvas.engine import open_engine
from include.cvas.lake import UNDATED
from include.cvas.view import build_subscriptions
from include.cvas.view_query import other_columns
from include.errors import CheckFailed
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    PHONE,
    USER,
    Row,
    act,
    at,
    data_hashes,
    fill_lake,
    reno,
    write_legacy,
)
from tests.unit.cvas_view_helpers import subscription, write_view

AS_OF = date(2025, 12, 31)
CATALOGUE = "cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Escudo Movil,Free Time,30,5.36\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake without anything but a catalogue."""
    lake = Lake(tmp_path / "lake")
    lake.root.mkdir()
    lake.mastercpc.write_text(CATALOGUE, encoding="utf-8")
    return lake


def build(lake: Lake, *, as_of: date = AS_OF, **how: bool) -> StepResult:
    return build_subscriptions(lake, day=DAY, now=NOW, settings=Settings(), as_of=as_of, **how)


def only_row(lake: Lake, *columns: str) -> Row:
    build(lake)
    (row,) = pl.read_parquet(lake.subscriptions).to_dicts()
    return {name: row[name] for name in columns}


# --- first and last events ----------------------------------------------------------------------------------------


def test_what_the_first_event_does_not_say_no_later_one_says(lake: Lake) -> None:
    """R39: a renewal without user, phone, campaign, channel and activation date comes first, an activation later."""
    nothing = dict.fromkeys(("tmuserid", "msisdn", "camp_name", "channel_act", "act_date", "cpc"))
    fill_lake(
        lake,
        {RENO: [reno(trans_date="2025-10-31 10:00:00", **nothing)], ACT: [act(channel_act="WEB", camp_name="a1b2c3d")]},
    )
    first = ("tmuserid", "msisdn", "activation_campaign", "activation_channel", "activation_date", "first_cpc")
    assert only_row(lake, *first, "activation_month", "missing_act_record", "current_cpc") == {
        **dict.fromkeys(first),
        "activation_month": "2025-10",
        "missing_act_record": False,
        "current_cpc": 46109,
    }


def test_an_upgrade_without_a_date_counts_and_is_never_the_last_beside_one_with_a_date(lake: Lake) -> None:
    """R37, columns 35 to 38."""
    upgrade = {"channel_act": "UPGRADE"}
    write_legacy(lake, ACT, UNDATED, [act(trans_date=None, cpc=9, rev=2.0, **upgrade)], name="x.parquet")
    fill_lake(
        lake,
        {ACT: [act(trans_date=f"2025-11-0{day} 10:00:00", cpc=day, rev=1.0, **upgrade) for day in (8, 7)]},
    )
    assert only_row(lake, "upgrade_count", "last_upgrade_date", "last_upgrade_cpc", "upgrade_revenue") == {
        "upgrade_count": 3,
        "last_upgrade_date": at("2025-11-08 10:00:00"),
        "last_upgrade_cpc": 8,
        "upgrade_revenue": 4.0,
    }


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        ("channel_act", "WEB", "WAP"),
        ("camp_name", "b", "a"),
        ("act_date", "2025-01-02 00:00:00", "2025-01-01 00:00:00"),
        ("tmuserid", USER, "0340000000000000001"),
        ("msisdn", PHONE, "34600000001"),
    ],
)
def test_of_two_activations_at_once_the_dearer_one_is_the_last_whatever_follows_in_the_order(
    lake: Lake, column: str, first: Any, last: Any
) -> None:
    """R37, columns 16 and 31: rev decides before channel, campaign, activation date, user and phone."""
    rows = [act(rev=1.0, **{column: first}), act(rev=2.0, **{column: last})]
    write_legacy(lake, ACT, "2025-11", rows, name="old.parquet")
    assert only_row(lake, "activation_revenue", "total_revenue", "total_revenue_with_upgrade", "gross_revenue") == {
        "activation_revenue": 1.0,
        "total_revenue": 1.0,
        "total_revenue_with_upgrade": 3.0,
        "gross_revenue": 3.0,
    }


def test_an_as_of_date_before_every_event_makes_lives_negative_and_knows_no_later_users(lake: Lake) -> None:
    """R46, R47, R53 a: also in a view that is carried over."""
    fill_lake(lake, {ACT: [act()]})
    write_users(lake, "2025-11-10|46109|1")
    build(lake)
    assert build(lake, as_of=date(2025, 11, 1)).facts["mode"] == "incremental"
    (row,) = pl.read_parquet(lake.subscriptions).to_dicts()
    assert (row["lifetime_days"], row["cpc_user_base"], row["subscription_status"]) == (-9, None, "Active")


# --- the users of a price point -----------------------------------------------------------------------------------


def write_users(lake: Lake, *lines: str) -> None:
    lake.user_base.mkdir(exist_ok=True)
    (lake.user_base / "user_base_by_cpc.csv").write_text("\n".join(("date|cpc|User_Base", *lines)) + "\n", "utf-8")


def test_a_user_base_that_changes_alone_reaches_every_row(lake: Lake) -> None:
    """R53 a, column 44: neither an event nor the catalogue nor the as-of date is another."""
    fill_lake(lake, {ACT: [act(subscription_id=1)], RENO: [reno(subscription_id=2, cpc=7)]})
    found = []
    for lines in ([], ["2025-11-10|46109|910"], ["2025-11-10|46109|911", "2025-11-10|7|5"], ["2025-11-11|7|6"]):
        write_users(lake, *lines)
        told = build(lake).facts["mode"]
        found.append((told, pl.read_parquet(lake.subscriptions)["cpc_user_base"].to_list()))
    assert found == [
        ("full", [None, None]),
        ("incremental", [910, None]),
        ("incremental", [911, 5]),
        ("incremental", [None, 6]),
    ]
    assert build(lake).facts["mode"] == "unchanged"


# --- the checks before it is published ----------------------------------------------------------------------------


@pytest.fixture
def built(lake: Lake) -> Lake:
    """Subscription 1 is an activation, 2 has two renewals of 1 euro."""
    days = ("2025-11-08", "2025-11-09")
    fill_lake(
        lake,
        {
            ACT: [act(subscription_id=1)],
            RENO: [reno(trans_date=f"{day} 10:00:00", subscription_id=2, rev=1.0) for day in days],
        },
    )
    build(lake)
    return lake


def put_in_place(lake: Lake, rows: pl.DataFrame) -> None:
    """Another view in the place of the one that was built, as if it had been built: the next one carries it over."""
    rows.write_parquet(lake.subscriptions, compression="snappy")
    file, record = lake.subscriptions.stat(), lake.state / "view.json"
    known = {"sha256": sha256_of(lake.subscriptions), "bytes": file.st_size, "mtime_ns": file.st_mtime_ns}
    record.write_text(json.dumps({**json.loads(record.read_text()), **known}))


def _where(row: int, **values: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A change of some values of one subscription."""

    def change(view: pl.DataFrame) -> pl.DataFrame:
        at_row = pl.col("subscription_id") == row
        new = {name: pl.lit(value, view.schema[name]) for name, value in values.items()}
        return view.with_columns(
            pl.when(at_row).then(value).otherwise(pl.col(name)).alias(name) for name, value in new.items()
        )

    return change


def _twice(view: pl.DataFrame) -> pl.DataFrame:
    """Subscription 2 in two rows that together have all of its renewals."""
    halved = _where(2, renewal_count=1, renewal_revenue=1.0)(view)
    return pl.concat([halved, halved.filter(pl.col("subscription_id") == 2)])


def _stranger(view: pl.DataFrame) -> pl.DataFrame:
    row = subscription(subscription_id=3, missing_act_record=True)
    return pl.concat([view, pl.DataFrame([row], schema=view.schema, orient="row")])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_twice, "3 rows with 2 ids"),
        (_where(2, subscription_id=None), "2 rows with 1 ids"),
        (_where(1, subscription_status="X"), "1 rows without a proper status"),
        (_where(1, subscription_status="active"), "1 rows without a proper status"),
        (_where(2, subscription_status=None), "1 rows without a proper status"),
        (_stranger, "1 subscriptions without an event"),
        (_where(2, renewal_count=3), "3 renewals instead of 2"),
        (_where(2, renewal_revenue=2.000001), "2.000001 euro of renewals instead of 2"),
        (_where(2, missing_act_record=False), "2 subscriptions with an activation instead of 1"),
        (
            lambda view: view.cast({"renewal_count": pl.Float64()}),
            "not the 45 columns agreed upon (renewal_count)",
        ),
        (
            lambda view: view.cast({"end_date": pl.Datetime("us", "UTC")}),
            "not the 45 columns agreed upon (end_date)",
        ),
    ],
)
def test_each_check_alone_keeps_a_view_from_being_published(
    built: Lake, change: Callable[[pl.DataFrame], pl.DataFrame], fault: str
) -> None:
    """R50: ids unique and there, an event for each, renewals, revenue, the three statuses, columns and types."""
    put_in_place(built, change(pl.read_parquet(built.subscriptions)))
    before = data_hashes(built)
    with pytest.raises(CheckFailed) as failed:
        build(built, as_of=AS_OF + timedelta(days=1))
    found = failed.value.what.replace("2.000000;", "2;").replace("2.000000.", "2.")
    assert found == f"cvas: the new view does not agree with the lake, it has {fault}. The old one stays."
    assert data_hashes(built) == before
    assert build(built, full=True, force=True).facts["mode"] == "full"


def test_a_view_that_was_put_in_place_as_it_was_is_carried_over(built: Lake) -> None:
    """The helper of these tests alters nothing else."""
    put_in_place(built, pl.read_parquet(built.subscriptions))
    assert build(built, as_of=AS_OF + timedelta(days=1)).facts["mode"] == "incremental"


@pytest.mark.parametrize(
    ("change", "different"),
    [
        (lambda view: view, None),
        (lambda view: view.drop("net_revenue"), "net_revenue"),
        (lambda view: view.with_columns(note=pl.lit("x")), "note"),
        (lambda view: view.rename({"cpc_list": "cpcs"}), "cpc_list, cpcs"),
        (lambda view: view.cast({"cpc_count": pl.Int32()}), "cpc_count"),
        (lambda view: view.cast({"cpc_list": pl.List(pl.Int32())}), "cpc_list"),
        (lambda view: view.select(reversed(view.columns)), "their order"),
    ],
)
def test_columns_that_are_not_those_of_the_view_are_named(
    lake: Lake, change: Callable[[pl.DataFrame], pl.DataFrame], different: str | None
) -> None:
    """R50, section 4.2: names, types and order."""
    write_view(lake, [subscription()])
    change(pl.read_parquet(lake.subscriptions)).write_parquet(lake.root / "other.parquet")
    with open_engine(lake, Settings()) as engine:
        engine.read_parquet(str(lake.root / "other.parquet")).create_view("built")
        fault = other_columns(engine, "built")
    assert fault == (f"not the 45 columns agreed upon ({different})" if different else None)


# --- the file -----------------------------------------------------------------------------------------------------


def compressions(path: Path) -> set[str]:
    with duckdb.connect() as engine:
        found = engine.execute("SELECT DISTINCT compression FROM parquet_metadata(?)", [str(path)]).fetchall()
    return {name for (name,) in found}


def test_the_view_is_snappy_whole_or_carried_over(built: Lake) -> None:
    """R71, 4.2."""
    assert compressions(built.subscriptions) == {"SNAPPY"}
    fill_lake(built, {RENO: [reno(subscription_id=2, trans_date="2025-11-20 10:00:00")]}, touched=True)
    assert build(built).facts["mode"] == "incremental"
    assert compressions(built.subscriptions) == {"SNAPPY"}
