"""The monthly reports (section 7, B22)."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from include.cvas.config import Lake, Settings
from include.cvas.contract import RENO, RFND
from include.cvas.counter_files import BY_SERVICE
from include.cvas.counters import count_transactions, missing_days
from include.cvas.lake import partition_path
from include.cvas.monthly import LIFETIME, REFUNDS, REVENUE, write_reports
from include.errors import PipelineError, SourceMissing
from tests.unit.cvas_helpers import DAY, NOW, PHONE, USER, file_hashes, fill_lake, reno, rfnd, write_legacy
from tests.unit.cvas_view_helpers import VIEW_SCHEMA, subscription, write_view

CATALOGUE = """cpc,service_name,tme_category,cpc_period,cpc_price
46109,Escudo Movil,Free Time,30,5.36
46110,Escudo Movil,Free Time,7,1.64
45530,"Cine, Series",Music,30,9.08
"""
OTHER_USER = "0340000000000000099"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    made.root.mkdir()
    made.mastercpc.write_text(CATALOGUE, encoding="utf-8")
    write_view(made, [])
    return made


def count(lake: Lake) -> None:
    days = [DAY - timedelta(days=n) for n in range(40)]
    count_transactions(lake, days=days, day=DAY, now=NOW, settings=Settings(), force=True)


def report(lake: Lake, name: str) -> str:
    write_reports(lake, day=DAY, now=NOW, settings=Settings())
    return (lake.reports(DAY) / name).read_text(encoding="utf-8")


def test_refunds_are_told_per_month_and_cpc(lake: Lake) -> None:
    """B22: sum of amounts, of rfnd_cnt, distinct users, those with regular (f) and with automatic (t) refunds."""
    fill_lake(
        lake,
        {
            RFND: [
                rfnd(sbnid=1, rfnd_amount=0.1, rfnd_cnt=3),
                rfnd(sbnid=2, rfnd_amount=0.2, rfnd_cnt=5),
                rfnd(sbnid=3, rfnd_amount=1.0, rfnd_cnt=1, tmuserid=OTHER_USER, instant_rfnd="t"),
                rfnd(sbnid=4, rfnd_amount=1.0, rfnd_cnt=1, instant_rfnd="t"),
                rfnd(sbnid=5, rfnd_amount=1.0, rfnd_cnt=1, tmuserid=None, instant_rfnd=None),
                rfnd(sbnid=6, rfnd_amount=2.0, rfnd_cnt=2, cpc=45530, refnd_date="2025-10-31"),
                rfnd(sbnid=7, rfnd_amount=4.0, rfnd_cnt=4, cpc=None),
            ],
        },
    )
    old = [rfnd(sbnid=8, refnd_date=None, rfnd_amount=8.0, rfnd_cnt=8)]
    write_legacy(lake, RFND, "__HIVE_DEFAULT_PARTITION__", old, name="old.parquet")
    count(lake)
    assert report(lake, REFUNDS) == (
        "refund_month,cpc,rfnd_amount,rfnd_count,distinct_users,users_regular,users_automatic\n"
        "2025-10,45530,2.0,2,1,1,0\n"
        "2025-11,46109,3.3,11,2,1,2\n"
        "2025-11,,4.0,4,1,1,0\n"
        ",46109,8.0,8,1,1,0\n"
    )


def test_revenue_is_told_per_service_and_month(lake: Lake) -> None:
    """Section 7: from Counters_Service; the CPCs of a service together, to the cent."""
    fill_lake(
        lake,
        {
            RENO: [
                reno(subscription_id=1, rev=0.1),
                reno(subscription_id=2, rev=0.2, cpc=46110),
                reno(subscription_id=3, rev=0.7, trans_date="2025-11-01 00:00:00"),
                reno(subscription_id=4, rev=9.08, cpc=45530, trans_date="2025-10-31 23:59:59"),
                reno(subscription_id=5, rev=1.64, cpc=777),
            ]
        },
    )
    count(lake)
    assert report(lake, REVENUE) == (
        "month,service_name,tme_category,rev\n"
        '2025-10,"Cine, Series",Music,9.08\n'
        "2025-11,Escudo Movil,Free Time,1.0\n"
        "2025-11,UNKNOWN,,1.64\n"
    )


def test_days_that_revenue_lacks_are_told(lake: Lake) -> None:
    """Section 7: a month that looks complete and is not would settle providers with too little."""
    fill_lake(lake, {RENO: [reno(), reno(trans_date="2025-08-01 10:00:00"), reno(trans_date="2025-08-02 10:00:00")]})
    count(lake)
    assert write_reports(lake, day=DAY, now=NOW, settings=Settings()).warnings == (
        "revenue_monthly.csv lacks 2 days that were never counted, the first is 2025-08-01; trigger cvas_counters with "
        "missing, then this again.",
    )
    count_transactions(lake, days=missing_days(lake), day=DAY, now=NOW, settings=Settings())
    assert write_reports(lake, day=DAY, now=NOW, settings=Settings()).warnings == ()


def test_lifetime_is_told_per_service_and_month_of_activation(lake: Lake) -> None:
    """Section 7: averages of lifetime_days and of column 31; a subscription without a lifetime counts, with nothing."""
    known = {"service_name": "Ritmo, Latino", "tme_category": "Music"}
    rows = [
        subscription(subscription_id=1, lifetime_days=10, total_revenue_with_upgrade=1.0, **known),
        subscription(subscription_id=2, lifetime_days=15, total_revenue_with_upgrade=2.0, **known),
        subscription(subscription_id=3, lifetime_days=None, total_revenue_with_upgrade=7.0, **known),
        subscription(subscription_id=4, lifetime_days=-1, activation_month="2024-02", **known),
        subscription(subscription_id=5, lifetime_days=None, service_name="UNKNOWN", tme_category=""),
    ]
    write_view(lake, rows)
    count(lake)
    assert report(lake, LIFETIME) == (
        "service_name,tme_category,activation_month,subscriptions,average_lifetime_days,average_revenue_with_upgrade\n"
        '"Ritmo, Latino",Music,2024-02,1,-1.0,0.0\n'
        '"Ritmo, Latino",Music,2025-11,3,12.5,3.33\n'
        "UNKNOWN,,2025-11,1,,0.0\n"
    )


def test_same_day_twice_changes_nothing(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R78, and R5: nobody is named, in a report or about it."""
    caplog.set_level(logging.DEBUG)
    fill_lake(lake, {RFND: [rfnd()], RENO: [reno()]})
    write_view(lake, [subscription()])
    count(lake)
    result = write_reports(lake, day=DAY, now=NOW, settings=Settings())
    before = file_hashes(lake.reports(DAY))
    assert write_reports(lake, day=DAY, now=NOW, settings=Settings()) == result
    assert file_hashes(lake.reports(DAY)) == before
    assert result.facts == {"rows": {LIFETIME: 1, REFUNDS: 1, REVENUE: 1}}
    assert result.bytes == sum(path.stat().st_size for path in lake.reports(DAY).iterdir())
    said = [caplog.text, str(result.as_dict()), *(path.read_text() for path in lake.reports(DAY).iterdir())]
    assert all(USER.lstrip("0") not in each and PHONE not in each for each in said)


def test_what_is_missing_is_named_before_anything_is_written(lake: Lake) -> None:
    """Section 6."""
    with pytest.raises(SourceMissing, match=BY_SERVICE):
        write_reports(lake, day=DAY, now=NOW, settings=Settings())
    count(lake)
    lake.subscriptions.unlink()
    with pytest.raises(SourceMissing, match=r"subscriptions\.parquet"):
        write_reports(lake, day=DAY, now=NOW, settings=Settings())
    assert not lake.reports(DAY).exists()


@pytest.mark.parametrize("damaged", ["counters", "a partition that is counted", "refunds", "the view", "its columns"])
def test_what_cannot_be_read_stops_all_three_reports(lake: Lake, damaged: str) -> None:
    """Section 6: whoever reads them together sees reports of one moment."""
    fill_lake(lake, {RFND: [rfnd()], RENO: [reno()]})
    write_view(lake, [subscription()])
    count(lake)
    write_reports(lake, day=DAY, now=NOW, settings=Settings())
    before = file_hashes(lake.reports(DAY))
    fill_lake(lake, {RFND: [rfnd(sbnid=2)]})
    if damaged == "its columns":
        pl.read_parquet(lake.subscriptions).select(list(VIEW_SCHEMA)[:34]).write_parquet(lake.subscriptions)
    else:
        path = {
            "counters": lake.counters / BY_SERVICE,
            "a partition that is counted": partition_path(lake, RENO, "2025-11"),
            "refunds": partition_path(lake, RFND, "2025-11"),
            "the view": lake.subscriptions,
        }[damaged]
        content = bytearray(path.read_bytes())
        content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
        path.write_bytes(content)
    with pytest.raises((PipelineError, duckdb.Error)):
        write_reports(lake, day=DAY, now=NOW, settings=Settings())
    assert file_hashes(lake.reports(DAY)) == before
