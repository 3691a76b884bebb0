"""The extract of music subscriptions (R65)."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import polars as pl
import pytest

from include.common import locks
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.music import FILE, extract_music
from include.errors import CheckFailed, ContractViolation, SourceMissing, StoreBusy
from tests.unit.cvas_helpers import DAY, NOW, PHONE, USER, file_hashes
from tests.unit.cvas_view_helpers import VIEW_SCHEMA, subscription, write_view

CATALOGUE = """cpc,service_name,tme_category,cpc_period,cpc_price
45530,Ritmo Latino,Music,30,9.08
45531,Ritmo Latino, MUSIC ,7,0.00
46109,Escudo Movil,Free Time,30,5.36
44009,Musica y Cine,Free Time,30,4.99
"""
OTHER_USER, OTHER_PHONE = "0340000000000000099", "34600000099"
ROWS = [
    subscription(
        subscription_id=900003,
        cpc_list=[46109, 45531, 45530],
        cpc_count=3,
        activation_date="2024-02-29 10:00:00",
        activation_campaign='half "price", now',
        renewal_count=4,
        total_revenue=36.32,
        subscription_status="Cancelled",
        cancellation_date="2025-10-15 10:00:00",
        deactivation_date="2025-10-17 16:08:47.5",
        has_upgraded=True,
    ),
    subscription(subscription_id=900001, cpc_list=[46109]),
    subscription(
        subscription_id=900002,
        cpc_list=[45530],
        tmuserid=OTHER_USER,
        msisdn=None,
        renewal_count=1,
        total_revenue=9.08,
        activation_campaign=None,
    ),
    subscription(
        subscription_id=900004,
        cpc_list=[45530],
        tmuserid=OTHER_USER,
        msisdn=OTHER_PHONE,
        activation_date=None,
        subscription_status="Deactivated",
        deactivation_date="2025-10-17 16:08:47",
    ),
    subscription(subscription_id=900005, cpc_list=[44009, 29999]),
    subscription(subscription_id=900006, cpc_list=[]),
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    made.root.mkdir()
    made.mastercpc.write_text(CATALOGUE, encoding="utf-8")
    write_view(made, ROWS)
    return made


def extract(lake: Lake) -> StepResult:
    return extract_music(lake, day=DAY, now=NOW, settings=Settings())


def extracted(lake: Lake) -> list[dict[str, str]]:
    with (lake.reports(DAY) / FILE).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def test_the_extract_has_every_subscription_that_ever_was_music(lake: Lake) -> None:
    """R65: category Music in any case; all columns of the view in order; cpc_list joined with commas; RFC 4180."""
    extract(lake)
    rows = extracted(lake)
    assert list(rows[0]) == list(VIEW_SCHEMA)
    assert [(row["subscription_id"], row["cpc_list"]) for row in rows] == [
        ("900002", "45530"),
        ("900003", "46109,45531,45530"),
        ("900004", "45530"),
    ]
    assert {name: value for name, value in rows[1].items() if value} == {
        "subscription_id": "900003",
        "tmuserid": USER,
        "msisdn": PHONE,
        "cpc_list": "46109,45531,45530",
        "cpc_count": "3",
        "first_cpc": "46109",
        "current_cpc": "46109",
        "has_upgraded": "true",
        "activation_date": "2024-02-29 10:00:00",
        "activation_trans_date": "2025-11-03 16:08:22",
        "missing_act_record": "false",
        "activation_campaign": 'half "price", now',
        "activation_channel": "VOICE",
        "activation_revenue": "0.0",
        "activation_month": "2025-11",
        "renewal_count": "4",
        "renewal_revenue": "0.0",
        "last_activity_date": "2025-11-03 16:08:20",
        "deactivation_date": "2025-10-17 16:08:47.5",
        "cancellation_date": "2025-10-15 10:00:00",
        "refund_count": "0",
        "total_refunded": "0.0",
        "total_revenue": "36.32",
        "total_revenue_with_upgrade": "0.0",
        "subscription_status": "Cancelled",
        "lifetime_days": "8",
        "upgrade_count": "0",
        "upgrade_revenue": "0.0",
        "gross_revenue": "0.0",
        "refund_events": "0",
        "net_revenue": "0.0",
        "service_name": "Escudo Movil",
        "tme_category": "Free Time",
        "cpc_user_base": "910",
        "active_after_end": "false",
    }


def test_the_summary_tells_the_extract_without_anybody_in_it(lake: Lake) -> None:
    """R65."""
    result = extract(lake)
    durations = {"extract", "summary"}
    assert {name: value for name, value in result.facts.items() if name not in durations} == {
        "subscriptions": 3,
        "all_subscriptions": 6,
        "share": 0.5,
        "distinct_users": 2,
        "distinct_phones": 2,
        "active": 1,
        "with_deactivation_date": 2,
        "with_cancellation_date": 1,
        "revenue": 45.4,
        "revenue_mean": 15.13,
        "renewals": 5,
        "renewals_mean": 1.67,
        "first_activation": "2024-02-29 10:00:00",
        "last_activation": "2025-11-03 16:08:20",
        "top_cpcs": {"45530": 3, "45531": 1},
        "music_cpcs": 2,
    }
    assert (result.where, result.read, result.written) == (str(lake.reports(DAY) / FILE), 6, 3)
    assert result.bytes == (lake.reports(DAY) / FILE).stat().st_size


def test_listed_cpcs_are_music_too(lake: Lake) -> None:
    """R65: Music_CPCs.txt if present, blank lines left out."""
    lake.music_cpcs.write_text("29999\r\n\r\n46109\n")
    result = extract(lake)
    assert [row["subscription_id"] for row in extracted(lake)] == ["900001", "900002", "900003", "900004", "900005"]
    assert list(result.facts["top_cpcs"].items()) == [("45530", 3), ("46109", 2), ("29999", 1), ("45531", 1)]


def test_no_music_subscription_is_an_extract_with_a_header(lake: Lake) -> None:
    """R65: shares and means of nothing are nothing."""
    write_view(lake, [])
    result = extract(lake)
    assert (lake.reports(DAY) / FILE).read_text() == ",".join(VIEW_SCHEMA) + "\n"
    empty = {"subscriptions": 0, "share": None, "revenue": 0.0, "revenue_mean": None, "first_activation": None}
    assert empty.items() <= result.facts.items()


def test_same_day_twice_changes_nothing(lake: Lake) -> None:
    """R65, R78."""
    extract(lake)
    before = file_hashes(lake.reports(DAY))
    extract(lake)
    assert file_hashes(lake.reports(DAY)) == before


def test_nobody_but_owner_and_group_may_read_the_extract(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R5: personal columns are in the file and nowhere else."""
    caplog.set_level(logging.DEBUG)
    result = extract(lake)
    assert (lake.reports(DAY) / FILE).stat().st_mode & 0o777 == 0o640
    said = [caplog.text, str(result.as_dict())]
    said += [path.read_text() for path in lake.logs.rglob("*") if path.is_file()]
    for number in (USER, PHONE, OTHER_USER, OTHER_PHONE):
        assert all(number.lstrip("0") not in each for each in said)


def test_what_is_missing_is_named_and_the_last_extract_stays(lake: Lake) -> None:
    """R65, section 6."""
    extract(lake)
    before = file_hashes(lake.reports(DAY))
    lake.music_cpcs.write_text(f"45530\n{10**18}\n")
    with pytest.raises(ContractViolation, match=r"Music_CPCs\.txt, line 2: "):
        extract(lake)
    lake.music_cpcs.write_text("45530\n\n4553O\n")
    with pytest.raises(ContractViolation, match=r"Music_CPCs\.txt, line 3: '4553O' is no CPC"):
        extract(lake)
    lake.music_cpcs.unlink()
    lake.subscriptions.rename(lake.root / "away")
    with pytest.raises(SourceMissing, match=r"subscriptions\.parquet"):
        extract(lake)
    (lake.root / "away").rename(lake.subscriptions)
    lake.mastercpc.write_text(CATALOGUE.replace("Music,", "Games,").replace("MUSIC", "Games"))
    with pytest.raises(CheckFailed, match="no CPC is music"):
        extract(lake)
    lake.mastercpc.unlink()
    with pytest.raises(SourceMissing, match=r"MASTERCPC\.csv"):
        extract(lake)
    assert file_hashes(lake.reports(DAY)) == before


def test_the_view_of_the_system_before_is_refused_with_what_to_do(lake: Lake) -> None:
    """R65: its file has 34 columns until the first view is built."""
    pl.read_parquet(lake.subscriptions).select(list(VIEW_SCHEMA)[:34]).write_parquet(lake.subscriptions)
    with pytest.raises(ContractViolation, match=r"not the 45 columns agreed upon \(upgrade_count, ") as refused:
        extract(lake)
    assert "Build it from nothing (cvas_process, 'view only' and full_rebuild)" in refused.value.next_step


def test_the_extract_waits_for_the_view(lake: Lake) -> None:
    """R3: a view that is being replaced is not read."""
    with locks.hold(lake.view_lock, "cvas_view"), pytest.raises(StoreBusy, match="cvas_view"):
        extract(lake)
