"""Counts and money per day and price point, and the KPIs of the services (R54-R57, section 4.4)."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.common import locks
from include.common.results import StepResult
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TransactionType
from include.cvas.counter_files import BY_CPC, BY_SERVICE, KPIS, read_counters
from include.cvas.counters import count_transactions, missing_days
from include.cvas.lake import partition_path
from include.errors import AlreadyRunning, CheckFailed, ContractViolation, SourceMissing, StoreBusy
from sandbox.cvas import expected
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    PHONE,
    USER,
    Row,
    act,
    at,
    cnr,
    dct,
    file_hashes,
    fill_lake,
    ppd,
    reno,
    rfnd,
    typed,
    write_legacy,
)

DAY_BEFORE, DAY_AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
DEFAULTS = Settings()
LATER = NOW + timedelta(days=30)
UPDATED = at("2025-11-11 12:00:00")
NAMES = (
    *("date", "cpc", "act_count", "act_free", "act_pay", "upg_count", "reno_count", "dct_count", "upg_dct_count"),
    *("cnr_count", "ppd_count", "rfnd_count", "rfnd_amount", "rev", "last_updated"),
)
SERVICE_HEADER = (
    "date,service_name,tme_category,cpc,cpc_period,cpc_price,act_count,act_free,act_pay,upg_count,reno_count,dct_count,"
    "upg_dct_count,cnr_count,ppd_count,rfnd_count,rfnd_amount,rev\n"
)
KPI_HEADER = (
    "date,service_name,tme_category,user_base_start,user_base_end,act_count,dct_count,rev,net_activations,churn_rate,"
    "arpu\n"
)
CATALOGUE = '''cpc,service_name,tme_category,cpc_period,cpc_price
46109,Escudo Movil,Free Time,30,5.36
46110,Escudo Movil,Free Time,7,1.64
45530,"Cine, Series y ""Ocio""",Music,30,9.08
45001,Postales,,99999,1.21
44009,Nubico Libros,Education,30,4.99
'''


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    made.root.mkdir()
    made.mastercpc.write_text(CATALOGUE, encoding="utf-8")
    return made


def count(
    lake: Lake, *days: date, force: bool = True, now: datetime = NOW, settings: Settings = DEFAULTS
) -> StepResult:
    return count_transactions(lake, days=days or (DAY,), day=DAY, now=now, settings=settings, force=force)


def by_cpc(lake: Lake) -> list[tuple[Any, ...]]:
    frame = pl.read_parquet(lake.counters / BY_CPC)
    assert tuple(frame.columns) == NAMES
    return frame.rows()


def counted(lake: Lake) -> dict[tuple[date, int], dict[str, Any]]:
    """What is not 0, by day and CPC."""
    return {
        (each["date"], each["cpc"]): {
            name: value for name, value in each.items() if name not in ("date", "cpc", "last_updated") and value
        }
        for each in read_counters(lake).by_cpc.to_dicts()
    }


def text(lake: Lake, name: str) -> str:
    return (lake.counters / name).read_bytes().decode()


def write_user_base(lake: Lake, *lines: str) -> None:
    lake.user_base.mkdir(parents=True, exist_ok=True)
    body = "".join(f"{line}\n" for line in ("date|cpc|User_Base", *lines))
    (lake.user_base / "user_base_by_cpc.csv").write_text(body, encoding="utf-8")


# --- what is counted ------------------------------------------------------------------------------------------------


def test_a_day_counts_every_type_by_its_own_rule(lake: Lake) -> None:
    """R54: all columns, literally; rfnd_count adds rfnd_cnt, rev takes ACT of all channels, RENO and PPD."""
    fill_lake(
        lake,
        {
            ACT: [
                act(subscription_id=1, rev=5.36),
                act(subscription_id=2, rev=0.0),
                act(subscription_id=3, rev=None, channel_act=None),
                act(subscription_id=4, rev=-1.0, channel_act="WEB"),
                act(subscription_id=5, rev=9.08, channel_act="UPGRADE"),
                act(subscription_id=6, rev=0.0, channel_act="UPGRADE"),
            ],
            RENO: [reno(subscription_id=7, rev=1.64), reno(subscription_id=8, rev=0.0, channel_act="UPGRADE")],
            DCT: [
                dct(subscription_id=1),
                dct(subscription_id=2, channel_dct=None),
                dct(subscription_id=3, channel_dct="UPGRADE"),
            ],
            CNR: [cnr(sbn_id=1), cnr(sbn_id=2)],
            PPD: [ppd(cpc=46109, rev=1.21)],
            RFND: [rfnd(sbnid=1, rfnd_cnt=3, rfnd_amount=3.69), rfnd(sbnid=2, rfnd_cnt=5, rfnd_amount=1.0)],
        },
    )
    result = count(lake)
    assert by_cpc(lake) == [(DAY, 46109, 4, 1, 1, 2, 2, 2, 1, 2, 1, 8, 4.69, 16.29, UPDATED)]
    assert text(lake, BY_SERVICE) == SERVICE_HEADER + (
        "2025-11-10,Escudo Movil,Free Time,46109,30,5.36,4,1,1,2,2,2,1,2,1,8,4.69,16.29\n"
    )
    assert text(lake, KPIS) == KPI_HEADER + "2025-11-10,Escudo Movil,Free Time,,,4,2,16.29,2,,\n"
    assert (result.read, result.written, result.warnings) == (16, 3, ())


def test_the_files_have_the_agreed_columns_types_and_order(lake: Lake) -> None:
    """4.4: names, types, sorted by (date, cpc), (date, service, cpc) and (date, service, category)."""
    cpcs = (46110, 45001, 45530, 46109)
    fill_lake(
        lake,
        {
            RENO: [
                reno(cpc=cpc, subscription_id=cpc, trans_date=f"{d} 10:00:00") for cpc in cpcs for d in (DAY_AFTER, DAY)
            ]
        },
    )
    count(lake, DAY_AFTER, DAY)
    assert pl.read_parquet_schema(lake.counters / BY_CPC) == {
        "date": pl.Date,
        **dict.fromkeys(NAMES[1:12], pl.Int64),
        "rfnd_amount": pl.Float64,
        "rev": pl.Float64,
        "last_updated": pl.Datetime("us"),
    }
    assert [row[:2] for row in by_cpc(lake)] == [(d, cpc) for d in (DAY, DAY_AFTER) for cpc in sorted(cpcs)]
    zeros = "0,0,0,0,1,0,0,0,0,0,0.0,5.36\n"
    assert text(lake, BY_SERVICE) == SERVICE_HEADER + "".join(
        f'{d},"Cine, Series y ""Ocio""",Music,45530,30,9.08,{zeros}'
        f"{d},Escudo Movil,Free Time,46109,30,5.36,{zeros}"
        f"{d},Escudo Movil,Free Time,46110,7,1.64,{zeros}"
        f"{d},Postales,,45001,99999,1.21,{zeros}"
        for d in (DAY, DAY_AFTER)
    )
    assert text(lake, KPIS) == KPI_HEADER + "".join(
        f'{d},"Cine, Series y ""Ocio""",Music,,,0,0,5.36,0,,\n'
        f"{d},Escudo Movil,Free Time,,,0,0,10.72,0,,\n"
        f"{d},Postales,,,,0,0,5.36,0,,\n"
        for d in (DAY, DAY_AFTER)
    )


def test_a_day_begins_and_ends_at_midnight(lake: Lake) -> None:
    """R54: date = date of the event; the last fraction of a second belongs to it, the next midnight does not."""
    times = ("2025-11-09 23:59:59.999999", "2025-11-10 00:00:00", "2025-11-10 23:59:59.999999", "2025-11-11 00:00:00")
    fill_lake(lake, {RENO: [reno(subscription_id=n, trans_date=moment, rev=2.0**n) for n, moment in enumerate(times)]})
    count(lake)
    assert counted(lake) == {(DAY, 46109): {"reno_count": 2, "rev": 6.0}}


def test_money_is_added_exactly_and_rounded_once(lake: Lake) -> None:
    """R48, R54: 0.1 ten times is 1.00, half a cent goes away from zero, parts of cents add up first."""
    fill_lake(
        lake,
        {
            RENO: [reno(subscription_id=n, rev=0.1, cpc=46109) for n in range(10)]
            + [reno(subscription_id=n, rev=0.335, cpc=46110) for n in (20, 21, 22)]
            + [reno(subscription_id=n, rev=0.0033, cpc=45530) for n in range(30, 40)],
            RFND: [rfnd(sbnid=50, cpc=46110, rfnd_amount=0.0049, rfnd_cnt=0)],
        },
    )
    count(lake)
    assert counted(lake) == {
        (DAY, 45530): {"reno_count": 10, "rev": 0.03},
        (DAY, 46109): {"reno_count": 10, "rev": 1.0},
        (DAY, 46110): {"reno_count": 3, "rev": 1.01},
    }


def test_transactions_without_a_cpc_are_reported_and_not_listed(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R54: null CPC is reported, not listed."""
    caplog.set_level(logging.INFO, "include")
    fill_lake(lake, {ACT: [act(cpc=None, rev=5.0)], RFND: [rfnd(cpc=None, rfnd_amount=2.5)], RENO: [reno()]})
    result = count(lake)
    assert counted(lake) == {(DAY, 46109): {"reno_count": 1, "rev": 5.36}}
    assert result.facts["without_cpc"] == {"transactions": 2, "rfnd_amount": 2.5, "rev": 5.0}
    assert "2 transactions name no CPC and are in no counter: 5.00 euro charged, 2.50 euro refunded" in caplog.text


def test_rows_with_a_date_in_the_undated_partition_are_counted(lake: Lake) -> None:
    """R29, R54: what an older system left there belongs to its date; rows without a date belong to none."""
    rows = [rfnd(sbnid=1, rfnd_cnt=2), rfnd(sbnid=2, refnd_date=None), rfnd(sbnid=3, refnd_date="2025-10-10")]
    write_legacy(lake, RFND, "__HIVE_DEFAULT_PARTITION__", rows, name="old-0.parquet")
    count(lake)
    assert counted(lake) == {(DAY, 46109): {"rfnd_count": 2, "rfnd_amount": 3.69}}
    assert missing_days(lake) == [date(2025, 10, 10)]


def test_only_the_months_of_the_days_are_read(lake: Lake) -> None:
    """R57: one day costs one month, however long history is; here another month could not even be read."""
    fill_lake(lake, {RENO: [reno()]})
    broken = partition_path(lake, RENO, "2025-10")
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no parquet")
    count(lake)
    assert counted(lake) == {(DAY, 46109): {"reno_count": 1, "rev": 5.36}}


# --- excluded users -------------------------------------------------------------------------------------------------

MAKERS = {ACT: act, RENO: reno, DCT: dct, PPD: ppd, CNR: cnr, RFND: rfnd}
OTHER_USER, OTHER_PHONE = "0340000000000000099", "34600000099"


def of_two_users() -> dict[TransactionType, list[Row]]:
    """Each type once for the user of the list and once for another, and once for nobody."""
    rows: dict[TransactionType, list[Row]] = {}
    for kind, make in MAKERS.items():
        known = {"cpc": 46109, **({"rev": 1.0} if kind in (ACT, RENO, PPD) else {})}
        people = ((USER, PHONE), (OTHER_USER, OTHER_PHONE), (None, None))
        rows[kind] = [
            make(
                **known,
                **{kind.subscription: n},
                tmuserid=user,
                **({"msisdn": phone} if kind not in (CNR, RFND) else {}),
            )
            for n, (user, phone) in enumerate(people)
        ]
    return rows


ALL_OF_THREE = {
    **dict.fromkeys(("act_count", "act_pay", "reno_count", "dct_count", "cnr_count", "ppd_count"), 3),
    "rfnd_count": 9,
    "rfnd_amount": 11.07,
    "rev": 9.0,
}
BY_PHONE_TWO = {
    **dict.fromkeys(("act_count", "act_pay", "reno_count", "dct_count", "ppd_count"), 2),
    "cnr_count": 3,
    "rfnd_count": 9,
    "rfnd_amount": 11.07,
    "rev": 6.0,
}
BOTH_TWO = {**BY_PHONE_TWO, "cnr_count": 2, "rfnd_count": 6, "rfnd_amount": 7.38}
BY_USER_TWO = {**ALL_OF_THREE, "cnr_count": 2, "rfnd_count": 6, "rfnd_amount": 7.38}


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        pytest.param(None, ALL_OF_THREE, id="no list"),
        pytest.param("", ALL_OF_THREE, id="empty list"),
        pytest.param("msisdn,tmuserid\n", ALL_OF_THREE, id="header only"),
        pytest.param(f"msisdn,tmuserid\n{PHONE},{USER}\n", BOTH_TWO, id="phone and user"),
        pytest.param(f"msisdn,tmuserid\n{PHONE},\n", BY_PHONE_TWO, id="blank user"),
        pytest.param(f"msisdn,tmuserid\n,{USER}\n", BY_USER_TWO, id="blank phone"),
        pytest.param(f"tmuserid,msisdn\r\n{USER},{PHONE}\r\n", BOTH_TWO, id="other order, other line ends"),
        pytest.param(f'\ufeffMSISDN,TMUSERID\n"{PHONE}","{USER}"\n', BOTH_TWO, id="mark, case, quotes"),
        pytest.param(f"{PHONE}\n34600000055\n", BY_PHONE_TWO, id="legacy, one phone per line"),
        pytest.param("600000017\n\n+34 600 000 018\n", BY_PHONE_TWO, id="legacy without country code"),
        pytest.param(f"msisdn,tmuserid\n,{USER.lstrip('0')}\n", ALL_OF_THREE, id="user without its leading zero"),
    ],
)
def test_users_of_the_exclusion_list_are_not_counted(lake: Lake, listed: str | None, wanted: dict[str, Any]) -> None:
    """R55, 3.6: by phone for four types, by user id for two, as text; rows of nobody always count."""
    fill_lake(lake, of_two_users())
    if listed is not None:
        lake.excluded_users.write_text(listed, encoding="utf-8")
    result = count(lake)
    assert counted(lake) == {(DAY, 46109): wanted}
    assert result.warnings == ()


def test_a_line_that_excludes_nobody_is_told_by_its_number(lake: Lake) -> None:
    """R55: a spreadsheet made the numbers unusable; the warning quotes none of them (R5)."""
    fill_lake(lake, of_two_users())
    lake.excluded_users.write_text(
        f"msisdn,tmuserid\n3.46E+10,\n{PHONE},3.4E+16\n{PHONE} {PHONE},\n{PHONE[:-1]},\n{USER},{PHONE}\n",
        encoding="utf-8",
    )
    result = count(lake)
    assert counted(lake) == {(DAY, 46109): BY_PHONE_TWO}
    assert result.warnings == (
        "Users_No_Limits.csv: what lines 2, 3, 4, 5, 6 hold is no phone or user id, so it excludes nobody.",
    )


# --- services -------------------------------------------------------------------------------------------------------


def test_unknown_cpcs_count_as_unknown_and_are_listed(lake: Lake) -> None:
    """R56: UNKNOWN, blank, 0, 0.0 and a report of all of them."""
    fill_lake(lake, {RENO: [reno(cpc=cpc, subscription_id=cpc) for cpc in (777, 46109, 555)]})
    result = count(lake)
    assert text(lake, BY_SERVICE) == SERVICE_HEADER + (
        "2025-11-10,Escudo Movil,Free Time,46109,30,5.36,0,0,0,0,1,0,0,0,0,0,0.0,5.36\n"
        "2025-11-10,UNKNOWN,,555,0,0.0,0,0,0,0,1,0,0,0,0,0,0.0,5.36\n"
        "2025-11-10,UNKNOWN,,777,0,0.0,0,0,0,0,1,0,0,0,0,0,0.0,5.36\n"
    )
    assert text(lake, KPIS) == KPI_HEADER + (
        "2025-11-10,Escudo Movil,Free Time,,,0,0,5.36,0,,\n2025-11-10,UNKNOWN,,,,0,0,10.72,0,,\n"
    )
    assert result.facts["unknown_cpcs"] == ["555", "777"]
    assert result.warnings == ("CPCs that are not in MASTERCPC.csv count as UNKNOWN (2): 555, 777.",)


def test_a_cpc_with_the_digits_of_a_phone_is_counted_and_not_listed(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """R5, R56: garbage of the source may be personal, and the facts go to others than the files."""
    caplog.set_level(logging.DEBUG)
    cpcs = (int(PHONE), 99_999_999, 777)
    fill_lake(lake, {ACT: [act(cpc=cpc, subscription_id=cpc % 100) for cpc in cpcs]})
    result = count(lake)
    assert result.facts["unknown_cpcs"] == ["777", "99999999"]
    assert result.warnings == (
        "CPCs that are not in MASTERCPC.csv count as UNKNOWN (3): 777, 99999999, 1 with too many digits for a CPC.",
    )
    assert PHONE not in caplog.text + str(result.as_dict())
    assert (DAY, int(PHONE)) in counted(lake)


def test_excluded_services_are_counted_per_cpc_only(lake: Lake) -> None:
    """R56, R12: a keyword anywhere in the name, in any case."""
    fill_lake(lake, {RENO: [reno(cpc=44009), reno(cpc=46109, subscription_id=2)]})
    count(lake)
    assert [row[1] for row in by_cpc(lake)] == [44009, 46109]
    assert [line.split(",")[1] for line in text(lake, BY_SERVICE).splitlines()[1:]] == ["Escudo Movil"]
    assert [line.split(",")[1] for line in text(lake, KPIS).splitlines()[1:]] == ["Escudo Movil"]
    count(lake, settings=Settings(excluded_services=("ESCUDO",)))
    assert [line.split(",")[1] for line in text(lake, BY_SERVICE).splitlines()[1:]] == ["Nubico Libros"]
    count(lake, settings=Settings(excluded_services=()))
    assert len(text(lake, BY_SERVICE).splitlines()) == 3


def test_without_the_catalogue_nothing_is_counted(lake: Lake) -> None:
    """R56: MASTERCPC missing -> fail."""
    fill_lake(lake, {RENO: [reno()]})
    lake.mastercpc.unlink()
    with pytest.raises(SourceMissing, match=r"MASTERCPC\.csv"):
        count(lake)
    assert not lake.counters.exists()


# --- KPIs -----------------------------------------------------------------------------------------------------------


def test_kpis_take_the_users_of_the_day_before_and_of_the_day(lake: Lake) -> None:
    """R54: of all CPCs of the service, with or without a transaction; a snapshot without the service says 0."""
    write_user_base(
        lake,
        *("2025-11-08|46109|7", "2025-11-09|46109|900", "2025-11-09|46110|95", "2025-11-09|777|5"),
        *("2025-11-10|46109|910", "2025-11-10|46110|90", "2025-11-10|45530|3"),
    )
    fill_lake(
        lake,
        {
            ACT: [act(subscription_id=n, rev=2.5) for n in range(5)] + [act(subscription_id=9, cpc=45530, rev=3.0)],
            DCT: [dct(subscription_id=n) for n in range(10)] + [dct(subscription_id=n, cpc=777) for n in (21, 22)],
            PPD: [ppd(cpc=45001, rev=1.21)],
        },
    )
    count(lake)
    assert text(lake, KPIS) == KPI_HEADER + (
        '2025-11-10,"Cine, Series y ""Ocio""",Music,0,3,1,0,3.0,1,0.0,2.0\n'
        "2025-11-10,Escudo Movil,Free Time,995,1000,5,10,12.5,-5,0.01,0.012531\n"
        "2025-11-10,Postales,,0,0,0,0,1.21,0,,\n"
        "2025-11-10,UNKNOWN,,5,0,0,2,0.0,-2,0.4,0.0\n"
    )


@pytest.mark.parametrize(
    ("snapshots", "wanted"),
    [
        ((), ",,1,1,5.36,0,,"),
        (("2025-11-09|46109|99",), "99,,1,1,5.36,0,0.01,"),
        (("2025-11-10|46109|99",), ",99,1,1,5.36,0,,"),
        (("2025-11-09|46109|0", "2025-11-10|46109|0"), "0,0,1,1,5.36,0,1.0,"),
    ],
)
def test_kpis_are_empty_without_a_snapshot_or_denominator(lake: Lake, snapshots: tuple[str, ...], wanted: str) -> None:
    """R54: empty when a snapshot or denominator is missing."""
    if snapshots:
        write_user_base(lake, *snapshots)
    fill_lake(lake, {ACT: [act()], DCT: [dct()]})
    count(lake)
    assert text(lake, KPIS) == KPI_HEADER + f"2025-11-10,Escudo Movil,Free Time,{wanted}\n"


# --- days -----------------------------------------------------------------------------------------------------------


def three_days(lake: Lake) -> None:
    fill_lake(lake, {RENO: [reno(trans_date=f"{d} 08:00:00") for d in (DAY_BEFORE, DAY, DAY_AFTER)]})


def test_same_day_twice_changes_nothing(lake: Lake) -> None:
    """R57, R78: byte for byte, the time of the last update included; nothing is written at all."""
    write_user_base(lake, "2025-11-09|46109|900", "2025-11-10|46109|910")
    three_days(lake)
    count(lake, DAY, DAY_BEFORE)
    before = file_hashes(lake.counters)
    times = {path: path.stat().st_mtime_ns for path in lake.counters.iterdir()}
    result = count(lake, now=LATER)
    assert file_hashes(lake.counters) == before
    assert {path: path.stat().st_mtime_ns for path in lake.counters.iterdir()} == times
    assert result.facts["changed_files"] == []


def test_a_recount_replaces_the_rows_of_its_day_only(lake: Lake) -> None:
    """R57: other days keep theirs; a row gets a new last_updated if, and only if, it says something else."""
    three_days(lake)
    fill_lake(lake, {RENO: [reno(cpc=46110, subscription_id=2)], DCT: [dct(cpc=45530)]})
    count(lake, DAY_BEFORE, DAY, DAY_AFTER)
    fill_lake(lake, {RENO: [reno(cpc=46110, subscription_id=3)], PPD: [ppd(cpc=45001)]})
    partition_path(lake, DCT, "2025-11").unlink()
    fill_lake(lake, {CNR: [cnr(cancel_date="2025-11-09 10:00:00")]})
    result = count(lake, now=LATER)
    later = LATER.astimezone(ZONE).replace(tzinfo=None)
    assert [(row[0], row[1], row[6], row[14]) for row in by_cpc(lake)] == [
        (DAY_BEFORE, 46109, 1, UPDATED),
        (DAY, 45001, 0, later),
        (DAY, 46109, 1, UPDATED),
        (DAY, 46110, 2, later),
        (DAY_AFTER, 46109, 1, UPDATED),
    ]
    assert sorted(line.split(",")[0] for line in text(lake, BY_SERVICE).splitlines()[1:]) == [
        *("2025-11-09", "2025-11-10", "2025-11-10", "2025-11-10", "2025-11-11"),
    ]
    assert result.facts["changed_files"] == [BY_CPC, BY_SERVICE, KPIS]


def test_a_day_that_is_there_is_left_alone_unless_forced(lake: Lake) -> None:
    """R57."""
    three_days(lake)
    count(lake)
    before = file_hashes(lake.counters)
    fill_lake(lake, {RENO: [reno(subscription_id=2)]})
    result = count(lake, force=False)
    assert (result.facts, result.read, result.written) == ({"days": 0, "skipped": 1}, 0, 0)
    assert file_hashes(lake.counters) == before
    count(lake, DAY, DAY_AFTER, force=False)
    assert [(row[0], row[6]) for row in by_cpc(lake)] == [(DAY, 1), (DAY_AFTER, 1)]
    count(lake, force=True)
    assert [(row[0], row[6]) for row in by_cpc(lake)] == [(DAY, 2), (DAY_AFTER, 1)]


def test_no_days_are_no_work(lake: Lake) -> None:
    """R57: all missing days, and none is missing."""
    three_days(lake)
    assert count_transactions(lake, days=[], day=DAY, now=NOW, settings=Settings()).facts == {"days": 0, "skipped": 0}
    assert not lake.counters.exists()


def test_missing_days_are_those_of_the_lake_without_counters(lake: Lake) -> None:
    """R57: of every type, once each, oldest first; none when they are counted."""
    assert missing_days(lake) == []
    three_days(lake)
    fill_lake(lake, {CNR: [cnr(cancel_date="2024-02-29 10:00:00")], RFND: [rfnd(refnd_date="2025-12-01")]})
    count(lake)
    missing = missing_days(lake)
    assert missing == [date(2024, 2, 29), DAY_BEFORE, DAY_AFTER, date(2025, 12, 1)]
    count(lake, *missing, force=False)
    assert missing_days(lake) == []


@pytest.mark.parametrize("name", [BY_CPC, BY_SERVICE, KPIS])
def test_a_counter_file_that_was_moved_away_comes_back(lake: Lake, name: str) -> None:
    """R57: without one of the three no day is complete, so all missing days are all days."""
    three_days(lake)
    count(lake, DAY_BEFORE, DAY, DAY_AFTER)
    before = file_hashes(lake.counters)
    (lake.counters / name).unlink()
    assert missing_days(lake) == [DAY_BEFORE, DAY, DAY_AFTER]
    count(lake, *missing_days(lake), force=False)
    assert file_hashes(lake.counters) == before


@pytest.mark.parametrize("name", [BY_CPC, BY_SERVICE, KPIS])
def test_the_daily_count_brings_back_every_day_of_a_file_that_is_gone(lake: Lake, name: str) -> None:
    """R57: with the day's rows alone in it the file would look whole, and no later run would ask for the others."""
    three_days(lake)
    count(lake, DAY_BEFORE, DAY)
    (lake.counters / name).unlink()
    result = count(lake, DAY_AFTER)
    assert [set(frame["date"]) for frame in read_counters(lake)] == [{DAY_BEFORE, DAY, DAY_AFTER}] * 3
    assert result.warnings == ("A counter file is not there any more; the 2 days of the others are counted again.",)


def test_a_count_leaves_nothing_behind(lake: Lake) -> None:
    """R68: the housekeeping calls leftovers what a killed run left; with and without a change."""
    three_days(lake)
    for _ in range(2):
        count(lake, DAY)
        assert [path.name for path in lake.staging.iterdir()] == []


def test_a_day_without_transactions_is_told(lake: Lake) -> None:
    """R57: what was counted of it goes, with a warning."""
    three_days(lake)
    count(lake)
    partition_path(lake, RENO, "2025-11").unlink()
    result = count(lake, DAY)
    assert by_cpc(lake) == []
    assert (text(lake, BY_SERVICE), text(lake, KPIS)) == (SERVICE_HEADER, KPI_HEADER)
    assert result.warnings == ("The lake has no transactions to count of 2025-11-10.",)


# --- any days, any order --------------------------------------------------------------------------------------------

FIRST = date(2025, 10, 30)
SPAN = [FIRST + timedelta(days=n) for n in range(5)]
PEOPLE = [(USER, PHONE), (OTHER_USER, OTHER_PHONE), (None, None)]
events = st.lists(
    st.tuples(
        st.sampled_from([ACT, RENO, DCT, PPD, CNR, RFND]),
        st.sampled_from(SPAN),
        st.sampled_from([46109, 46110, 45530, 44009, 777, None]),
        st.sampled_from(["UPGRADE", "VOICE", None]),
        st.sampled_from([None, 0.0, 0.005, 1.64, 5.36, 0.1]),
        st.integers(0, 9),
        st.sampled_from(PEOPLE),
    ),
    max_size=40,
)


def rows_of(drawn: Iterable[tuple[Any, ...]]) -> dict[TransactionType, list[Row]]:
    rows: dict[TransactionType, list[Row]] = defaultdict(list)
    for number, (kind, day, cpc, channel, money, times, (user, phone)) in enumerate(drawn):
        known: Row = {"cpc": cpc, "tmuserid": user, kind.event_date: f"{day} 10:00:00", kind.subscription: number}
        if kind in (ACT, RENO, DCT, PPD):
            known["msisdn"] = phone
        if kind in (ACT, RENO, PPD):
            known["rev"] = money
        if kind in (ACT, DCT):
            known[f"channel_{kind.folder}"] = channel
        if kind is RFND:
            known |= {"rfnd_amount": money or 0.0, "rfnd_cnt": times}
        rows[kind].append(MAKERS[kind](**known))
    return rows


class Counted(NamedTuple):
    """The rows of the three files, without the time of the last update."""

    by_cpc: list[dict[str, Any]]
    by_service: list[dict[str, Any]]
    kpis: list[dict[str, Any]]


def worked_out(lake: Lake, rows: dict[TransactionType, list[Row]], users: dict[tuple[date, int], int]) -> Counted:
    """The rows of the three files, one transaction at a time; ratios to the sixth decimal."""
    events = {kind.name: typed(kind, of_kind) for kind, of_kind in rows.items()}
    catalogue = expected.read_mastercpc(lake.mastercpc)
    by_cpc = expected.counters(events, excluded_phones=[PHONE], excluded_users=[USER])
    by_service = expected.service_counters(by_cpc, catalogue)
    kpis = expected.kpis(by_service, users, catalogue)
    for row in kpis:
        row |= {name: row[name] and pytest.approx(row[name], abs=1e-6) for name in ("churn_rate", "arpu")}
    return Counted(by_cpc, by_service, kpis)


@settings(max_examples=12)
@given(events, st.permutations(SPAN), st.integers(0, 4))
def test_days_one_by_one_in_any_order_make_the_bytes_of_one_count(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[Any, ...]], order: list[date], stale: int
) -> None:
    """R57, R54: whole range = day by day, also over what a count of less data left there; and both are right."""
    whole, single = Lake(tmp_path_factory.mktemp("whole")), Lake(tmp_path_factory.mktemp("single"))
    rows = rows_of(drawn)
    users = {(day, cpc): 90 + cpc % 100 + n for n, day in enumerate(SPAN[1:]) for cpc in (46109, 46110, 777)}
    for lake in (whole, single):
        lake.mastercpc.write_text(CATALOGUE, encoding="utf-8")
        lake.excluded_users.write_text(f"msisdn,tmuserid\n{PHONE},{USER}\n", encoding="utf-8")
        write_user_base(lake, *(f"{day}|{cpc}|{count_}" for (day, cpc), count_ in users.items()))
    fill_lake(single, rows_of(drawn[: len(drawn) // 2]))
    count(single, *order[:stale])
    for path in single.transactions.rglob("*.parquet"):
        path.unlink()
    for lake in (whole, single):
        fill_lake(lake, rows)
    count(whole, *SPAN)
    for day in order:
        count(single, day)
    found = Counted(*(frame.drop("last_updated", strict=False).to_dicts() for frame in read_counters(whole)))
    assert found == worked_out(whole, rows, users)
    assert file_hashes(single.counters) == file_hashes(whole.counters)


# --- trouble --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (BY_CPC, b"PAR1 cut off", BY_CPC),
        (BY_SERVICE, b"date,service\n2025-11-09,X\n", "the columns of .*Counters_Service.csv are date, service, not"),
        (KPIS, KPI_HEADER.encode() + b"2025-11-09,X,,many,,1,1,1.0,0,,\n", "Service_KPI.csv cannot be read"),
        (KPIS, b"", "Service_KPI.csv cannot be read"),
    ],
)
def test_a_damaged_counter_file_stops_the_count(lake: Lake, name: str, content: bytes, told: str) -> None:
    """R57: other days are in it, so it is not replaced."""
    three_days(lake)
    count(lake)
    (lake.counters / name).write_bytes(content)
    before = file_hashes(lake.counters)
    with pytest.raises(ContractViolation, match=told):
        count(lake, DAY_AFTER)
    assert file_hashes(lake.counters) == before


def test_an_unreadable_partition_is_named(lake: Lake) -> None:
    """Section 6: fail naming the file; the counters stay."""
    three_days(lake)
    count(lake)
    before = file_hashes(lake.counters)
    broken = partition_path(lake, ACT, "2025-11")
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no parquet at all")
    with pytest.raises(ContractViolation, match=r"act/year_month=2025-11/data\.parquet"):
        count(lake)
    with pytest.raises(CheckFailed, match=r"act/year_month=2025-11/data\.parquet cannot be read"):
        missing_days(lake)
    assert file_hashes(lake.counters) == before


def test_nothing_is_counted_while_the_lake_is_written(lake: Lake) -> None:
    """R3: readers wait for the writer, and two counts for each other."""
    three_days(lake)
    with locks.hold(lake.lock, "cvas_process"), pytest.raises(StoreBusy, match="cvas_process"):
        count(lake)
    with locks.hold(lake.counters_lock, "cvas_counters"), pytest.raises(AlreadyRunning):
        count(lake)
    assert not lake.counters.exists()


KILLED = """
import os, sys
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from include.cvas.config import Lake, Settings
from include.cvas.counters import count_transactions

def kill(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(sys.argv[2]):
        os._exit(9)

sys.addaudithook(kill)
count_transactions(Lake(Path(sys.argv[1])), days=[date(2025, 11, 10)], day=date(2025, 11, 10),
                   now=datetime(2025, 11, 11, 11, tzinfo=timezone.utc), settings=Settings(), force=True)
"""


@pytest.mark.parametrize("name", ["journal.json", BY_CPC, BY_SERVICE, KPIS])
def test_a_kill_between_the_renames_is_completed_by_the_next_count(tmp_path: Path, lake: Lake, name: str) -> None:
    """R35, R78: killed before the journal nothing happened, after it all three files are the new ones."""
    three_days(lake)
    count(lake, DAY_BEFORE)
    before = file_hashes(lake.counters)
    end = name if name == "journal.json" else f"Counters/{name}"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(lake.root), end], check=False)
    assert killed.returncode == 9
    if name == "journal.json":
        assert file_hashes(lake.counters) == before
    result = count(lake, DAY_BEFORE, force=False)
    days = {DAY_BEFORE} if name == "journal.json" else {DAY_BEFORE, DAY}
    left = {BY_CPC: 3, BY_SERVICE: 2, KPIS: 1}.get(name)
    placed = f"while its files were put in place; {left} more were, and it is complete now."
    undone = "before any of its files were in place; it was undone."
    assert result.warnings[0] == f"A count had been killed {placed if left else undone}"
    counters = read_counters(lake)
    assert [set(frame["date"]) for frame in counters] == [days] * 3
    assert not (lake.staging / "counters" / "journal.json").exists()


def test_no_phone_and_no_user_id_leaves_the_count(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R5: not in the log, the result, the files, nor in what a failure says."""
    caplog.set_level(logging.DEBUG)
    fill_lake(lake, of_two_users())
    lake.excluded_users.write_text(f"msisdn,tmuserid\n{PHONE},{USER}\n{OTHER_PHONE}x,{OTHER_USER}x\n", encoding="utf-8")
    result = count(lake)
    odd = pl.DataFrame({"trans_date": [f"{PHONE} {USER}"], "cpc": [1], "rev": [1.0], "msisdn": [USER]})
    odd.write_parquet(partition_path(lake, RENO, "2025-11"))
    with pytest.raises(ContractViolation) as raised:
        count(lake)
    said = [caplog.text, str(result.as_dict()), str(raised.value), *map(str, raised.value.__notes__)]
    said += [path.read_text() for path in lake.logs.rglob("*") if path.is_file()]
    said += [text(lake, BY_SERVICE), text(lake, KPIS), str(by_cpc(lake))]
    for number in (USER, PHONE, OTHER_USER, OTHER_PHONE):
        assert all(number.lstrip("0") not in each for each in said)
