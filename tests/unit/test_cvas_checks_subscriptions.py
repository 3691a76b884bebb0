"""Is the subscription view what it should be (R62), and what fails the check (R64)."""

from __future__ import annotations

import json
import logging
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from include.common import locks
from include.common.results import StepResult
from include.cvas.checks_subscriptions import check_subscriptions
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, RENO, RFND
from include.cvas.view import build_subscriptions
from include.errors import CheckFailed, SourceMissing, StoreBusy
from tests.unit.cvas_helpers import DAY, NOW, PHONE, USER, act, cnr, dct, file_hashes, fill_lake, reno, rfnd

RUN_DAY = date(2025, 11, 11)


@pytest.fixture(scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("built"))
    upgraded = {"subscription_id": 2, "tmuserid": "0340000000000000002", "msisdn": "34600000002"}
    old = {"subscription_id": 3, "act_date": "2024-02-01 10:00:00", "rev": 1.5, "cpc": 45335}
    fill_lake(
        lake,
        {
            ACT: [
                act(subscription_id=1, trans_date="2025-11-09 10:00:00", act_date="2025-11-09 10:00:00", rev=2.0),
                act(**upgraded, trans_date="2025-11-09 11:00:00", act_date="2025-11-09 11:00:00", rev=0.0),
                act(**upgraded, trans_date="2025-11-10 11:00:00", channel_act="UPGRADE", cpc=46110, rev=9.08),
            ],
            RENO: [
                reno(**old, trans_date="2025-10-09 10:00:00"),
                reno(**old, trans_date="2025-11-09 10:00:00"),
                reno(subscription_id=4, trans_date="2025-11-10 12:00:00", act_date="2025-11-09 08:00:00", rev=3.0),
            ],
            DCT: [dct(subscription_id=3, trans_date="2025-11-10 13:00:00", channel_dct="CCC-BL")],
            CNR: [cnr(sbn_id=2, cancel_date="2025-11-10 15:00:00", mode="WAP-CR")],
            RFND: [rfnd(sbnid=3, refnd_date="2025-11-10", rfnd_amount=1.5, rfnd_cnt=1)],
        },
    )
    build(lake)
    return lake


@pytest.fixture
def lake(tmp_path: Path, _built: Lake) -> Lake:
    """Four subscriptions: one plain, one upgraded and cancelled, one old and refunded, one without an activation."""
    return Lake(Path(shutil.copytree(_built.root, tmp_path / "lake")))


def build(lake: Lake) -> None:
    build_subscriptions(lake, day=DAY, now=NOW, settings=Settings())


def check(lake: Lake, *, today: date = RUN_DAY) -> StepResult:
    return check_subscriptions(lake, day=RUN_DAY, now=NOW, today=today, settings=Settings())


def report(lake: Lake) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lake.root / "Reports" / "2025-11-11" / "subscriptions.json").read_text())
    return found


def failure(lake: Lake) -> str:
    """What the check says when it fails; the report says the same."""
    with pytest.raises(CheckFailed) as failed:
        check(lake)
    assert report(lake)["result"] == "failed"
    text = failed.value.what.removeprefix("cvas: the check of the subscriptions failed: ")
    assert " ".join(report(lake)["failures"]) == text
    return text


def rewrite(lake: Lake, change: Any) -> None:
    """Change the view behind the pipeline's back."""
    change(pl.read_parquet(lake.subscriptions)).write_parquet(lake.subscriptions)


def test_the_report_has_every_figure(lake: Lake) -> None:
    """R62, as one literal; R64: a sound view passes."""
    before = file_hashes(lake.root / "Parquet_Data")
    result = check(lake)
    found = report(lake)
    assert [each.pop("seconds") >= 0 for each in found["queries"]] == [True] * 5
    assert found.pop("seconds").keys() == {"figures", "rebuild"}
    begun = {"month": "2025-11", "subscriptions": 1}
    assert found == {
        "check": "subscriptions",
        "day": "2025-11-11",
        "at": "2025-11-11T12:00:00+01:00",
        "result": "passed",
        "failures": [],
        "warnings": found["warnings"],
        "schema_faults": [],
        "quality": {
            "subscriptions": 4,
            "distinct_ids": 4,
            "duplicate_ids": 0,
            "null_ids": 0,
            "missing_act_record": 2,
            "null_activation": 0,
            "upgraded": 1,
            "with_renewals": 2,
            "with_refunds": 1,
            "negative_lifetime": 0,
            "active_after_end": 0,
        },
        "status": [
            {"status": "Active", "subscriptions": 2, "percent": 50.0},
            {"status": "Cancelled", "subscriptions": 1, "percent": 25.0},
            {"status": "Deactivated", "subscriptions": 1, "percent": 25.0},
        ],
        "ranges": {
            "activation_date": ["2024-02-01T10:00:00", "2025-11-09T11:00:00"],
            "last_renewal_date": ["2025-11-09T10:00:00", "2025-11-10T12:00:00"],
            "deactivation_date": ["2025-11-10T13:00:00", "2025-11-10T13:00:00"],
            "cancellation_date": ["2025-11-10T15:00:00", "2025-11-10T15:00:00"],
            "first_renewal_date": ["2025-10-09T10:00:00", "2025-11-10T12:00:00"],
            "activation_trans_date": ["2025-10-09T10:00:00", "2025-11-10T12:00:00"],
            "last_activity_date": ["2025-11-09T10:00:00", "2025-11-10T12:00:00"],
            "last_refund_date": ["2025-11-10T00:00:00", "2025-11-10T00:00:00"],
            "end_date": ["2025-11-10T13:00:00", "2025-11-10T15:00:00"],
        },
        "missing_days": found["missing_days"],
        "revenue": {
            "activation_revenue": 2.0,
            "renewal_revenue": 6.0,
            "total_revenue": 8.0,
            "total_revenue_with_upgrade": 19.08,
            "gross_revenue": 17.08,
            "total_refunded": 1.5,
            "net_revenue": 15.58,
            "average_total_revenue": 2.0,
            "average_net_revenue": 3.9,
            "average_renewals": 0.75,
            "average_lifetime_days": 163.3,
        },
        "months": {
            "activations": [
                {"month": "2025-10", "subscriptions": 1, "revenue": 0.0, "users": 1, "first_cpcs": 1},
                {"month": "2025-11", "subscriptions": 3, "revenue": 2.0, "users": 2, "first_cpcs": 1},
            ],
            "renewals": [{"month": "2025-11", "subscriptions": 2, "renewals": 3, "revenue": 6.0}],
            "deactivations": [{**begun, "modes": 1, "average_lifetime_days": 648.0}],
            "cancellations": [{**begun, "modes": 1, "average_lifetime_days": 1.0}],
            "refunds": [{**begun, "refund_rows": 1, "refunds": 1, "amount": 1.5}],
        },
        "queries": [
            {"query": "subscription_active", "rows": 1},
            {"query": "subscription_first_cpcs", "rows": 2},
            {"query": "subscription_lifetime", "rows": 3},
            {"query": "subscription_last_week", "rows": 1},
            {"query": "subscription_most_renewed", "rows": 4},
        ],
        "differences_from_rebuild": [],
    }
    assert (result.read, result.where) == (4, str(lake.root / "Reports" / "2025-11-11" / "subscriptions.json"))
    assert file_hashes(lake.root / "Parquet_Data") == before


def test_days_on_which_nothing_happened_only_warn(lake: Lake) -> None:
    """R62: from the later of the first activation and the first renewal, up to yesterday; R64."""
    result = check(lake, today=date(2025, 12, 31))
    assert result.warnings == (
        "No activation on 82 days, the first is 2025-10-09.",
        "No last renewal on 81 days, the first is 2025-10-09.",
        "No deactivation on 82 days, the first is 2025-10-09.",
        "No cancellation on 82 days, the first is 2025-10-09.",
    )
    missing = report(lake)["missing_days"]["last_renewal"]
    assert (missing["total"], len(missing["first"]), missing["first"][30:32]) == (81, 50, ["2025-11-08", "2025-11-11"])


def test_the_months_are_the_twelve_up_to_yesterdays(lake: Lake) -> None:
    """R62."""
    check(lake, today=date(2026, 10, 2))
    assert [month["month"] for month in report(lake)["months"]["activations"]] == ["2025-11"]
    check(lake, today=date(2026, 10, 1))
    assert [month["month"] for month in report(lake)["months"]["activations"]] == ["2025-10", "2025-11"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda view: view.drop("net_revenue"), "net_revenue is missing."),
        (lambda view: view.with_columns(extra=1), "extra is unknown."),
        (lambda view: view.cast({"cpc_count": pl.Int32}), "cpc_count is INTEGER, not BIGINT."),
        (lambda view: view.select(reversed(view.columns)), "They are in another order."),
    ],
)
def test_columns_that_are_not_as_agreed_fail_it(lake: Lake, change: Any, fault: str) -> None:
    """R64, R71."""
    rewrite(lake, change)
    assert failure(lake) == f"Its columns are not as agreed: {fault}"
    assert report(lake)["differences_from_rebuild"] is None


def test_ids_that_are_not_unique_fail_it(lake: Lake) -> None:
    """R64."""
    rewrite(lake, lambda view: pl.concat([view, view.head(2), view.head(1).with_columns(subscription_id=None)]))
    assert failure(lake) == "2 subscriptions have the id of another one, 1 have none."
    assert report(lake)["quality"]["subscriptions"] == 7


def test_a_view_that_differs_from_a_full_rebuild_fails_it(lake: Lake) -> None:
    """R53, R62, R64."""
    rewrite(lake, lambda view: view.with_columns(renewal_count=pl.col("renewal_count") + 1))
    assert failure(lake).startswith("It differs from a full rebuild: ")
    assert "renewal_count" in failure(lake)
    assert len(report(lake)["differences_from_rebuild"]) == 1


def test_a_view_of_before_the_newest_load_cannot_be_compared_which_fails_it(lake: Lake) -> None:
    """R64: it does not pass unseen."""
    fill_lake(lake, {RENO: [reno(subscription_id=1)]})
    assert failure(lake) == (
        "It cannot be compared with a full rebuild: cvas: the lake has changed since the view was built."
    )
    build(lake)
    check(lake)
    assert report(lake)["quality"]["with_renewals"] == 3


def test_lives_that_end_before_they_begin_only_warn(lake: Lake) -> None:
    """R46, R62."""
    fill_lake(lake, {CNR: [cnr(sbn_id=1, cancel_date="2025-11-01 10:00:00")]})
    build(lake)
    assert "1 subscriptions ended before they began." in check(lake).warnings


def test_without_a_view_there_is_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"subscriptions\.parquet"):
        check(Lake(tmp_path))


def test_a_view_that_is_being_built_is_not_checked(lake: Lake) -> None:
    with (
        locks.hold(lake.view_lock, "cvas_view"),
        pytest.raises(StoreBusy, match="cvas_check_subscriptions has to wait"),
    ):
        check(lake)


def test_no_report_or_log_tells_who(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R5."""
    caplog.set_level(logging.INFO, "include")
    rewrite(lake, lambda view: view.with_columns(tmuserid=pl.lit("0340000000000000009"), msisdn=pl.lit("34600000009")))
    failure(lake)
    written = [*(lake.root / "Reports").rglob("*.json"), *lake.logs.rglob("*check*.log"), *lake.logs.rglob("*/*.log")]
    text = "".join(path.read_text() for path in written)
    numbers = (USER, PHONE, "0340000000000000002", "34600000002", "0340000000000000009", "34600000009")
    assert [number for number in numbers if number in text] == []
