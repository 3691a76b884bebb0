"""The look-up of one customer (R66)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from include.common import locks
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND
from include.cvas.lookup import GROUPS, look_up, phone_number
from include.cvas.view import build_subscriptions
from include.errors import ContractViolation, RequestRefused, SourceMissing, StoreBusy
from tests.unit.cvas_helpers import DAY, NOW, PHONE, USER, act, cnr, dct, fill_lake, ppd, reno, rfnd
from tests.unit.cvas_view_helpers import VIEW_SCHEMA, subscription, write_view

OTHER_USER, OTHER_PHONE = "0340000000000000099", "34600000099"
CAMPAIGN = {"camp_name": "vertical", "campana_medium": None, "campana_id": None, "tef_prov": None, "reno_date": None}
STARTED = {**CAMPAIGN, "act_date": "2025-02-19 16:08:20"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Subscription 900001 with every type of transaction, 900002 of the same phone, 900003 of another customer."""
    made = Lake(tmp_path / "lake")
    other = {"tmuserid": OTHER_USER, "msisdn": OTHER_PHONE, "subscription_id": 900003}
    fill_lake(
        made,
        {
            ACT: [
                act(cpc=45530, channel_act="UPGRADE", rev=9.08, trans_date="2025-05-20 16:08:21", **STARTED),
                act(cpc=45531, channel_act="ORGANIC", rev=0.0, trans_date="2025-02-19 16:08:22", **STARTED),
                act(subscription_id=900002, tmuserid=OTHER_USER, trans_date="2025-11-01 10:00:00"),
                act(**other),
            ],
            RENO: [reno(cpc=45530, channel_act=None, rev=9.08, trans_date="2025-06-19 16:08:25", **STARTED)],
            DCT: [
                dct(cpc=45531, channel_dct="UPGRADE", trans_date="2025-05-20 16:08:21", **STARTED),
                dct(subscription_id=900004, trans_date="2025-11-02 10:00:00"),
            ],
            CNR: [cnr(cpc=45530, cancel_date="2025-10-15 10:00:00")],
            RFND: [
                rfnd(cpc=45530, refnd_date="2025-06-19", rfnd_amount=9.08, rfnd_cnt=1, instant_rfnd="t"),
                rfnd(sbnid=None, refnd_date="2025-07-01", rfnd_amount=1.5, rfnd_cnt=2),
                rfnd(sbnid=None, tmuserid=OTHER_USER),
            ],
            PPD: [
                ppd(subscription_id=None, trans_date="2025-03-01 10:00:00"),
                ppd(subscription_id=5, tmuserid=OTHER_USER, msisdn=OTHER_PHONE),
            ],
        },
    )
    write_view(
        made,
        [
            subscription(
                cpc_list=[45531, 45530],
                cpc_count=2,
                first_cpc=45531,
                current_cpc=45530,
                has_upgraded=True,
                upgrade_date="2025-05-20 16:08:21",
                upgraded_to_cpc=45530,
                activation_date="2025-02-19 16:08:20",
                activation_trans_date="2025-02-19 16:08:22",
                activation_month="2025-02",
                activation_campaign="vertical",
                activation_channel="ORGANIC",
                renewal_count=1,
                renewal_revenue=9.08,
                first_renewal_date="2025-06-19 16:08:25",
                last_renewal_date="2025-06-19 16:08:25",
                last_activity_date="2025-06-19 16:08:25",
                cancellation_date="2025-10-15 10:00:00",
                cancellation_mode="CCC-CR",
                refund_count=1,
                refund_events=1,
                total_refunded=9.08,
                last_refund_date="2025-06-19",
                total_revenue=9.08,
                total_revenue_with_upgrade=18.16,
                subscription_status="Cancelled",
                lifetime_days=238,
                end_date="2025-10-15 10:00:00",
                upgrade_count=1,
                last_upgrade_date="2025-05-20 16:08:21",
                last_upgrade_cpc=45530,
                upgrade_revenue=9.08,
                gross_revenue=18.16,
                net_revenue=9.08,
                service_name="Ritmo Latino",
                tme_category="Music",
                cpc_user_base=None,
            ),
            subscription(subscription_id=900002, tmuserid=OTHER_USER, gross_revenue=1005.36, net_revenue=1005.36),
            subscription(subscription_id=900003, tmuserid=OTHER_USER, msisdn=OTHER_PHONE),
        ],
    )
    return made


def found(lake: Lake, **asked: object) -> str:
    return look_up(lake, settings=Settings(), **asked)  # type: ignore[arg-type]


def titles(text: str) -> list[str]:
    return [line.strip("= ") for line in text.splitlines() if line.startswith("===")]


COLUMNS = (
    "event_date",
    "kind",
    "cpc",
    "channel",
    "amount",
    "refunds",
    "act_date",
    "reno_date",
    "camp_name",
    "tef_prov",
)


def history(text: str, title: str) -> list[list[str]]:
    """The rows of a table of transactions: date, type, CPC, channel, amount, refunds."""
    lines = text.partition(f"\n{title}\n")[2].partition("\n\n")[0].splitlines()
    header = lines[0]
    starts = [header.index(f"  {name}") + 2 for name in COLUMNS[:4]]
    return [
        [line[a:b].strip() for a, b in pairwise(starts)] + line[starts[3] : header.index("  act_date")].split()
        for line in lines[1:]
    ]


def test_a_subscription_is_told_from_all_sides(lake: Lake) -> None:
    """R66: all 45 columns grouped, totals, CPC and status breakdown, timeline, history by (date, type), PPD apart."""
    text = found(lake, subscription_id=900001)
    sections = text.split("\n\n")
    assert sections[:6] == [
        "subscription 900001: subscriptions 1, transactions 8",
        "Totals\n  gross revenue   18.16\n  total refunded   9.08\n  net revenue      9.08\n  renewals            1",
        "By status\n  Cancelled  1",
        "By CPC\n"
        "  cpc    activations  renewals  deactivations  cancellations  purchases  charged  refunds  refunded\n"
        "  45001            0         0              0              0          1     1.21        0      0.00\n"
        "  45530            1         1              0              1          0    18.16        1      9.08\n"
        "  45531            1         0              1              0          0     0.00        0      0.00\n"
        "  46109            0         0              0              0          0     0.00        2      1.50",
        "=== Subscription 900001 ===",
        f"Customer\n  subscription_id  900001\n  tmuserid         {USER}\n  msisdn           {PHONE}",
    ]
    assert sections[6:9] == [
        "Service\n"
        "  service_name   Ritmo Latino\n"
        "  tme_category   Music\n"
        "  cpc_list       45531, 45530\n"
        "  cpc_count      2\n"
        "  first_cpc      45531\n"
        "  current_cpc    45530\n"
        "  cpc_user_base  -",
        "Activation\n"
        "  activation_date        2025-02-19 16:08:20\n"
        "  activation_trans_date  2025-02-19 16:08:22\n"
        "  activation_month       2025-02\n"
        "  activation_campaign    vertical\n"
        "  activation_channel     ORGANIC\n"
        "  activation_revenue     0.00\n"
        "  missing_act_record     no",
        "Upgrades\n"
        "  has_upgraded       yes\n"
        "  upgrade_count      1\n"
        "  last_upgrade_date  2025-05-20 16:08:21\n"
        "  last_upgrade_cpc   45530\n"
        "  upgrade_revenue    9.08\n"
        "  upgrade_date       2025-05-20 16:08:21\n"
        "  upgraded_to_cpc    45530",
    ]
    assert sections[13:] == [
        "Timeline\n"
        "  2025-02-19 16:08:20  activated (45531, ORGANIC, vertical)\n"
        "  2025-05-20 16:08:21  last upgrade (45530)\n"
        "  2025-06-19 00:00:00  last of 1 refunds, 9.08 euro in all\n"
        "  2025-06-19 16:08:25  first renewal\n"
        "  2025-06-19 16:08:25  last of 1 renewals\n"
        "  2025-10-15 10:00:00  cancelled (CCC-CR)",
        *sections[14:],
    ]
    assert [section.partition("\n")[0] for section in sections[14:]] == [
        *("Transactions", "Refunds that name no subscription", "Single purchases (PPD)"),
    ]
    assert history(text, "Transactions") == [
        ["2025-02-19 16:08:22", "ACT", "45531", "ORGANIC", "0.00", "-"],
        ["2025-05-20 16:08:21", "ACT", "45530", "UPGRADE", "9.08", "-"],
        ["2025-05-20 16:08:21", "DCT", "45531", "UPGRADE", "-", "-"],
        ["2025-06-19 00:00:00", "RFND", "45530", "automatic", "9.08", "1"],
        ["2025-06-19 16:08:25", "RENO", "45530", "-", "9.08", "-"],
        ["2025-10-15 10:00:00", "CNR", "45530", "CCC-CR", "-", "-"],
    ]
    assert history(text, "Refunds that name no subscription") == [
        ["2025-07-01 00:00:00", "RFND", "46109", "regular", "1.50", "2"]
    ]
    assert history(text, "Single purchases (PPD)") == [["2025-03-01 10:00:00", "PPD", "45001", "-", "1.21", "-"]]


def test_every_column_of_the_view_is_in_one_group() -> None:
    """R66: all columns."""
    assert sorted(name for columns in GROUPS.values() for name in columns) == sorted(VIEW_SCHEMA)


@pytest.mark.parametrize("phone", [PHONE, PHONE.removeprefix("34"), f"+{PHONE}", "600 000 017"])
def test_a_phone_finds_all_its_subscriptions(lake: Lake, phone: str) -> None:
    """R66: with or without 34; also those the view does not have; nobody else's."""
    text = found(lake, phone=phone)
    assert text.splitlines()[0] == f"phone {PHONE}: subscriptions 3, transactions 12"
    assert titles(text) == ["Subscription 900001", "Subscription 900002", "Subscription 900004"]
    assert "Not in the view" in text.partition("Subscription 900004")[2]
    assert "  Active     1\n  Cancelled  1" in text
    assert "  gross revenue   1,023.52" in text
    assert "900003" not in text


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (USER, ["Subscription 900001", "Subscription 900004"]),
        (f" {OTHER_USER} ", ["Subscription 900002", "Subscription 900003"]),
    ],
)
def test_a_user_finds_the_subscriptions_of_all_phones(lake: Lake, user: str, expected: Iterable[str]) -> None:
    """R66: as text, leading zero and all."""
    assert titles(found(lake, user_id=user)) == expected


def test_the_view_is_read_as_it_is_built(lake: Lake) -> None:
    """4.2, R66: no row of this one was made by hand."""
    lake.subscriptions.unlink()
    build_subscriptions(lake, day=DAY, now=NOW, settings=Settings())
    text = found(lake, phone=PHONE)
    assert titles(text) == ["Subscription 900001", "Subscription 900002", "Subscription 900004"]
    timeline = text.partition("\nTimeline\n")[2].partition("\n\n")[0]
    assert timeline == (
        "  2025-02-19 16:08:20  activated (45531, ORGANIC, vertical)\n"
        "  2025-05-20 16:08:21  last upgrade (45530)\n"
        "  2025-06-19 00:00:00  last of 1 refunds, 9.08 euro in all\n"
        "  2025-06-19 16:08:25  first renewal\n"
        "  2025-06-19 16:08:25  last of 1 renewals\n"
        "  2025-10-15 10:00:00  cancelled (CCC-CR)"
    )


def test_transactions_of_one_moment_stand_in_the_order_of_their_types(lake: Lake) -> None:
    """R66: CNR (99) and RFND (100) after the others."""
    moment = "2025-11-05 00:00:00"
    known = {"subscription_id": 900009, "trans_date": moment}
    rows = {ACT: [act(**known)], RENO: [reno(**known)], DCT: [dct(**known)]}
    late = {CNR: [cnr(sbn_id=900009, cancel_date=moment)], RFND: [rfnd(sbnid=900009, refnd_date=moment)]}
    fill_lake(lake, {**rows, **late})
    types = [row[1] for row in history(found(lake, subscription_id=900009), "Transactions")]
    assert types == ["ACT", "RENO", "DCT", "CNR", "RFND"]


def test_somebody_who_only_bought_single_things_is_found(lake: Lake) -> None:
    """R66."""
    fill_lake(lake, {PPD: [ppd(tmuserid="0999", msisdn="34600000055", subscription_id=None)]})
    for asked in ({"user_id": "0999"}, {"phone": "600000055"}):
        text = found(lake, **asked)
        assert titles(text) == []
        assert history(text, "Single purchases (PPD)") == [["2025-11-10 16:08:22", "PPD", "45001", "-", "1.21", "-"]]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"subscription_id": 1}, "Nothing is known of subscription 1."),
        ({"user_id": "340000000000000017"}, "Nothing is known of user 340000000000000017."),
        ({"phone": "699999999"}, "Nothing is known of phone 34699999999."),
        ({"user_id": "' OR 1=1 --"}, "Nothing is known of user ' OR 1=1 --."),
    ],
)
def test_nothing_found_is_said(lake: Lake, asked: dict[str, object], told: str) -> None:
    """R66: clearly, and values are passed as parameters."""
    assert found(lake, **asked) == told


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"subscription_id": 900001, "phone": PHONE},
        {"phone": "34600A00017"},
        {"phone": ""},
        {"user_id": "  "},
        {"subscription_id": 2**63},
        {"subscription_id": -1},
    ],
)
def test_a_look_up_takes_exactly_one_number(lake: Lake, asked: dict[str, object]) -> None:
    """R66, R5: the refusal does not repeat it."""
    with pytest.raises(RequestRefused) as refused:
        found(lake, **asked)
    assert "00017" not in str(refused.value)


def test_without_a_view_or_while_it_is_written_there_is_no_look_up(lake: Lake) -> None:
    """R3, section 6."""
    with locks.hold(lake.view_lock, "cvas_view"), pytest.raises(StoreBusy, match="cvas_view"):
        found(lake, phone=PHONE)
    with locks.hold(lake.lock, "cvas_process"), pytest.raises(StoreBusy, match="cvas_process"):
        found(lake, phone=PHONE)
    lake.subscriptions.unlink()
    with pytest.raises(SourceMissing, match=r"subscriptions\.parquet"):
        found(lake, phone=PHONE)


def test_the_view_of_the_system_before_is_refused_with_what_to_do(lake: Lake) -> None:
    """R66: its file has 34 columns until the first view is built."""
    pl.read_parquet(lake.subscriptions).select(list(VIEW_SCHEMA)[:34]).write_parquet(lake.subscriptions)
    with pytest.raises(ContractViolation, match=r"not the 45 columns agreed upon \(upgrade_count, ") as refused:
        look_up(lake, subscription_id=900001, settings=Settings())
    assert "Build it from nothing (cvas_process, 'view only' and full_rebuild)" in refused.value.next_step


def test_only_the_terminal_shows_who_it_is(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R5: no log, no file."""
    caplog.set_level(logging.DEBUG)
    before = sorted(path for path in lake.root.rglob("*") if path.is_file() and path.parent.name != "_locks")
    found(lake, phone=PHONE)
    assert caplog.text == ""
    assert sorted(p for p in lake.root.rglob("*") if p.is_file() and p.parent.name != "_locks") == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("600000017", "34600000017"),
        ("34600000017", "34600000017"),
        ("0034 600 000 017", "34600000017"),
        ("+34600000017", "34600000017"),
        ("346000", "346000"),
        ("3.46E+10", None),
        ("６０００", None),
        ("", None),
    ],
)
def test_phones_are_written_in_many_ways(text: str, expected: str | None) -> None:
    """R66: adds 34 when missing."""
    assert phone_number(text) == expected
