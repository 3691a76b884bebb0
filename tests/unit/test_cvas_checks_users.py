"""Do phones and user ids look like what they are (R63); counts only (R5), and nothing of it fails (R64)."""

from __future__ import annotations

import json
import logging
from datetime import date
from pathlib import Path

import pytest

from include.cvas.checks_users import check_users
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, PPD, RENO, RFND
from tests.unit.cvas_helpers import NOW, act, cnr, fill_lake, ppd, reno, rfnd, write_legacy

RUN_DAY = date(2025, 11, 11)
FIRST, SECOND, THIRD = "0340000000000000001", "340000000000000002", "0340000000000000003"
ONE, TWO, THREE = "34600000001", "34600000002", "34600000003"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def check(lake: Lake) -> tuple[tuple[str, ...], dict[str, object]]:
    """The warnings, and what the report says besides."""
    result = check_users(lake, day=RUN_DAY, now=NOW, settings=Settings())
    report = json.loads((lake.root / "Reports" / "2025-11-11" / "users.json").read_text())
    assert report["result"] == "passed"
    assert report["warnings"] == list(result.warnings)
    return result.warnings, {name: report[name] for name in ("types", "users")}


def at(second: int) -> str:
    return f"2025-11-10 10:00:{second:02}"


def test_what_does_not_look_like_a_user_or_a_phone_is_counted_by_type(lake: Lake) -> None:
    """R63: 18 or 19 digits, 34 and 9 digits; blank is no number but no null either."""
    users = (FIRST, SECOND, "0340000000000001", "03400000000000000012", "x340000000000000001", "", None)
    phones = (ONE, "600000001", "3460000000", "346000000011", "+34600000001", None, None)
    rows = [
        act(tmuserid=user, msisdn=phone, trans_date=at(n))
        for n, (user, phone) in enumerate(zip(users, phones, strict=True))
    ]
    fill_lake(lake, {ACT: rows, CNR: [cnr(tmuserid="1"), cnr(tmuserid=None, sbn_id=2)]})
    warnings, report = check(lake)
    assert report["types"] == {
        "ACT": {
            "rows": 7,
            "null_tmuserid": 1,
            "odd_tmuserid": 4,
            "null_msisdn": 2,
            "odd_msisdn": 4,
            "null_tmuserid_share": 0.142857,
            "null_msisdn_share": 0.285714,
        },
        "CNR": {
            "rows": 2,
            "null_tmuserid": 1,
            "odd_tmuserid": 1,
            "null_msisdn": None,
            "odd_msisdn": None,
            "null_tmuserid_share": 0.5,
            "null_msisdn_share": None,
        },
    }
    assert warnings == (
        "ACT has 4 rows with user ids that do not look like one.",
        "ACT has 4 rows with phones that do not look like one.",
        "CNR has 1 rows with user ids that do not look like one.",
    )


def test_phones_of_several_users_and_users_of_several_phones_are_counted_over_all_types(lake: Lake) -> None:
    """R63: nulls belong to nobody; a user without a phone is a user all the same."""
    fill_lake(
        lake,
        {
            ACT: [act(tmuserid=FIRST, msisdn=ONE), act(tmuserid=FIRST, msisdn=None, trans_date=at(1))],
            RENO: [reno(tmuserid=FIRST, msisdn=ONE), reno(tmuserid=SECOND, msisdn=ONE, trans_date=at(1))],
            PPD: [ppd(tmuserid=FIRST, msisdn=TWO), ppd(tmuserid=None, msisdn=THREE)],
            RFND: [rfnd(tmuserid=THIRD)],
        },
    )
    _, report = check(lake)
    assert report["users"] == {
        "users": 3,
        "users_with_several_phones": 1,
        "phones": 3,
        "phones_with_several_users": 1,
    }


def test_an_empty_lake_has_no_users(lake: Lake) -> None:
    """R36."""
    warnings, report = check(lake)
    assert warnings == ()
    assert report == {
        "types": {},
        "users": {"users": 0, "users_with_several_phones": 0, "phones": 0, "phones_with_several_users": 0},
    }


def test_no_report_or_log_tells_who(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R5: not even of a file that holds something else than text."""
    caplog.set_level(logging.INFO, "include")
    fill_lake(lake, {ACT: [act(tmuserid=FIRST, msisdn="600000001")]})
    write_legacy(lake, RENO, "2025-11", [reno(tmuserid=SECOND)], name="part-0.parquet")
    check(lake)
    written = [*(lake.root / "Reports").rglob("*.json"), *lake.logs.rglob("*.log")]
    assert len(written) == 3
    text = "".join(path.read_text() for path in written)
    assert [number for number in (FIRST, SECOND, "600000001", "34600000017") if number in text] == []
