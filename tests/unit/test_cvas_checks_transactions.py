"""Does the lake hold what it should (R61), and what fails the check (R64)."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from include.common import locks
from include.common.journal import RunLog, read_journal
from include.common.results import StepResult
from include.cvas.checks_transactions import check_transactions
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TransactionType
from include.cvas.gaps import find_gaps
from include.cvas.lake import UNDATED, partition_path, writing
from include.errors import CheckFailed, StoreBusy
from tests.unit.cvas_helpers import (
    NOW,
    PHONE,
    USER,
    Row,
    act,
    cnr,
    dct,
    file_hashes,
    fill_lake,
    frame,
    ppd,
    reno,
    rfnd,
    row,
    write_legacy,
)

RUN_DAY = date(2025, 11, 11)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two days of all types, loaded as usual."""
    lake = Lake(tmp_path / "lake")
    fill_lake(lake, {kind: list(rows) for kind, rows in two_days().items()})
    return lake


def two_days() -> dict[TransactionType, Iterable[Row]]:
    days = ("2025-11-09", "2025-11-10")
    return {
        ACT: [act(trans_date=f"{day} 10:00:00", channel_act=None if "09" in day else "WEB") for day in days],
        RENO: [reno(trans_date=f"{day} {hour}:00:00") for day in days for hour in (10, 11)],
        DCT: [dct(trans_date=f"{day} 12:00:00", cpc=None) for day in days],
        PPD: [ppd(trans_date="2025-11-10 13:00:00")],
        CNR: [cnr(cancel_date=f"{day} 14:00:00") for day in days],
        RFND: [rfnd(refnd_date=day) for day in days],
    }


def check(lake: Lake, *, today: date = RUN_DAY) -> StepResult:
    return check_transactions(lake, day=RUN_DAY, now=NOW, today=today, settings=Settings())


def failure(lake: Lake, *, today: date = RUN_DAY) -> str:
    """What the check says when it fails; the report says the same."""
    with pytest.raises(CheckFailed) as failed:
        check(lake, today=today)
    assert report(lake)["result"] == "failed"
    text = failed.value.what.removeprefix("cvas: the check of the transactions failed: ")
    assert " ".join(report(lake)["failures"]) == text
    return text.replace(str(lake.root), "LAKE")


def report(lake: Lake) -> dict[str, Any]:
    path = lake.root / "Reports" / "2025-11-11" / "transactions.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


# --- what it reports ------------------------------------------------------------------------------------------------


def test_the_report_has_every_figure_of_every_type(lake: Lake) -> None:
    """R61, as one literal; R64: a sound lake passes."""
    before = file_hashes(lake.root / "Parquet_Data")
    result = check(lake)
    found = report(lake)
    sizes = {name: each.pop("mb") for name, each in found["types"].items()}
    assert all(0 < size < 0.1 for size in sizes.values())
    assert round(sum(sizes.values()), 3) == found["total"].pop("mb")
    assert [each.pop("seconds") >= 0 for each in found["queries"]] == [True] * 5
    assert found.pop("seconds").keys() == {"partitions", "days", "timings"}
    one_month = {
        "partitions": 1,
        "first_partition": "2025-11",
        "last_partition": "2025-11",
        "schema_faults": [],
        "year_month": "VARCHAR",
        "duplicates": 0,
        "duplicates_by_month": {},
        "undated_rows": 0,
        "misplaced": 0,
    }
    complete = {"missing_days": {"total": 0, "first": []}}
    no_cpc_missing = {"null_cpc_share": 0.0}
    assert found == {
        "check": "transactions",
        "day": "2025-11-11",
        "at": "2025-11-11T12:00:00+01:00",
        "result": "passed",
        "failures": [],
        "warnings": [],
        "total": {"rows": 13},
        "types": {
            "ACT": {
                **one_month,
                **complete,
                **no_cpc_missing,
                "rows": 2,
                "first": "2025-11-09T10:00:00",
                "last": "2025-11-10T10:00:00",
                "null_channel_share": 0.5,
            },
            "RENO": {
                **one_month,
                **complete,
                **no_cpc_missing,
                "rows": 4,
                "first": "2025-11-09T10:00:00",
                "last": "2025-11-10T11:00:00",
                "null_channel_share": 0.0,
            },
            "DCT": {
                **one_month,
                **complete,
                "rows": 2,
                "first": "2025-11-09T12:00:00",
                "last": "2025-11-10T12:00:00",
                "null_cpc_share": 1.0,
                "null_channel_share": 0.0,
            },
            "PPD": {
                **one_month,
                **no_cpc_missing,
                "rows": 1,
                "first": "2025-11-10T13:00:00",
                "last": "2025-11-10T13:00:00",
                "null_channel_share": None,
            },
            "CNR": {
                **one_month,
                **no_cpc_missing,
                "rows": 2,
                "first": "2025-11-09T14:00:00",
                "last": "2025-11-10T14:00:00",
                "null_channel_share": None,
            },
            "RFND": {
                **one_month,
                **no_cpc_missing,
                "rows": 2,
                "first": "2025-11-09T00:00:00",
                "last": "2025-11-10T00:00:00",
                "null_channel_share": None,
            },
        },
        "queries": [
            {"query": "activations", "rows": 1},
            {"query": "activation_revenue", "rows": 1},
            {"query": "latest_renewals", "rows": 4},
            {"query": "cancellations", "rows": 1},
            {"query": "refunds", "rows": 1},
        ],
    }
    assert (result.read, result.warnings) == (13, ())
    assert result.where == str(lake.root / "Reports" / "2025-11-11" / "transactions.json")
    assert file_hashes(lake.root / "Parquet_Data") == before


def test_no_report_log_or_journal_tells_who(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R5."""
    caplog.set_level(logging.INFO, "include")
    check(lake)
    written = [*(lake.root / "Reports").rglob("*.json"), *lake.logs.rglob("*.log")]
    assert len(written) == 3
    text = "".join(path.read_text() for path in written)
    assert USER not in text
    assert PHONE not in text
    assert "900001" not in text


def test_an_empty_lake_passes_with_empty_figures(tmp_path: Path) -> None:
    """R36: a type without any file is an empty table."""
    lake = Lake(tmp_path)
    check(lake)
    found = report(lake)
    assert found["total"] == {"rows": 0, "mb": 0.0}
    assert found["types"]["RENO"] == {
        "rows": 0,
        "mb": 0.0,
        "partitions": 0,
        "first_partition": None,
        "last_partition": None,
        "schema_faults": [],
        "missing_days": {"total": 0, "first": []},
    }
    assert [(query["query"], query["rows"]) for query in found["queries"]] == [
        ("activations", 1),
        ("activation_revenue", 0),
        ("latest_renewals", 0),
        ("cancellations", 0),
        ("refunds", 1),
    ]


# --- what fails it --------------------------------------------------------------------------------------------------


def test_days_without_rows_fail_it_until_they_are_confirmed_empty(lake: Lake) -> None:
    """R61, R64: act, reno and dct need rows on every day up to yesterday; the first 50 missing ones are listed."""
    assert failure(lake, today=date(2026, 1, 10)) == (
        "ACT has no rows on 60 days, the first is 2025-11-11. RENO has no rows on 60 days, the first is 2025-11-11. "
        "DCT has no rows on 60 days, the first is 2025-11-11."
    )
    missing = report(lake)["types"]["RENO"]["missing_days"]
    assert (missing["total"], missing["first"][0], missing["first"][-1]) == (60, "2025-11-11", "2025-12-30")
    assert len(missing["first"]) == 50
    fill_lake(lake, {CNR: [cnr(cancel_date="2026-01-10 10:00:00")]})
    find_gaps(lake, until=date(2026, 1, 9), types=(ACT, RENO, DCT), now=NOW, settings=Settings(), confirm_empty=True)
    check(lake, today=date(2026, 1, 10))
    assert report(lake)["types"]["RENO"]["missing_days"] == {"total": 0, "first": []}


@pytest.mark.parametrize("kind", [ACT, RENO, DCT])
def test_a_type_whose_beginning_is_missing_fails_it(lake: Lake, kind: TransactionType) -> None:
    """R61, R64: the three have rows every day; whether one begins too late, or is not there, the others tell."""
    fill_lake(lake, {each: [row(each, trans_date="2025-11-08 10:00:00")] for each in (ACT, RENO, DCT)})
    check(lake)
    with writing(lake, "cvas_test", RunLog()) as change:  # the pipeline itself, so that nothing counts as lost
        kept = change.read(kind, "2025-11").filter(pl.col("trans_date").dt.day() > 8)
        change.write(kind, "2025-11", kept)
        change.state.forget(date(2025, 11, 8), kind)
        change.publish(None)
    assert failure(lake) == f"{kind.name} has no rows on 1 days, the first is 2025-11-08."
    with writing(lake, "cvas_test", RunLog()) as change:
        change.write(kind, "2025-11", kept.clear())
        change.publish(None)
    assert failure(lake) == f"{kind.name} has no rows on 3 days, the first is 2025-11-08."


@pytest.mark.parametrize("kind", [ACT, RENO, DCT, PPD, CNR, RFND])
def test_a_month_that_something_else_took_away_fails_it_until_it_is_loaded_again(
    lake: Lake, kind: TransactionType
) -> None:
    """R64, R53 i: no type's history gets lost without a word, be it noticed by a load or not."""
    lost = row(kind, **{kind.event_date: "2025-10-31 00:00:00"})
    fill_lake(lake, {ACT: [act(trans_date="2025-10-31 00:00:00")]})
    fill_lake(lake, {kind: [lost, {**lost, "cpc": 7}, {**lost, "cpc": 8}] if kind is RFND else [lost]})
    shutil.rmtree(partition_path(lake, kind, "2025-10").parent)
    rows = 3 if kind is RFND else 2 if kind is ACT else 1
    told = f"took rows out of the lake: {kind.folder}/2025-10 ({rows} rows); put the files back, fetch and load the "
    assert told in failure(lake)
    fill_lake(lake, {ACT: [act(trans_date="2025-11-10 11:00:00")]})
    assert told in failure(lake)
    fill_lake(lake, {kind: [lost]})
    with suppress(CheckFailed):
        check(lake)
    assert "took rows out of the lake" not in " ".join(report(lake)["failures"])


def test_rows_with_the_same_key_fail_it(lake: Lake) -> None:
    """R31, R61, R64: every row beyond the first of a key counts; nulls equal each other."""
    write_legacy(lake, RENO, "2025-11", [reno(trans_date="2025-11-10 10:00:00", rev=9.99)] * 2, name="part-1.parquet")
    write_legacy(lake, RENO, "2025-10", [reno(trans_date="2025-10-10 10:00:00")] * 2, name="part-1.parquet")
    write_legacy(lake, RFND, "2025-11", [rfnd(sbnid=None), rfnd(sbnid=None)], name="part-1.parquet")
    write_legacy(lake, PPD, "2025-11", [ppd(trans_date="2025-11-10 13:00:00", cpc=1)], name="part-1.parquet")
    write_legacy(lake, ACT, "2025-11", [act(trans_date="2025-11-10 10:00:00.000001")], name="part-1.parquet")
    assert failure(lake).startswith(
        "RENO has 3 rows whose key another row has. RFND has 1 rows whose key another row has. "
    )
    types = report(lake)["types"]
    assert types["RENO"]["duplicates_by_month"] == {"2025-10": 1, "2025-11": 2}
    assert {name: each["duplicates"] for name, each in types.items()} == {
        "ACT": 0,
        "RENO": 3,
        "DCT": 0,
        "PPD": 0,
        "CNR": 0,
        "RFND": 1,
    }


def rewrite(lake: Lake, kind: TransactionType, table: pl.DataFrame) -> None:
    table.write_parquet(partition_path(lake, kind, "2025-11"))


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        (ACT, lambda table: table.drop("rev"), "lacks rev"),
        (CNR, lambda table: table.with_columns(year_month=pl.lit("2025-11")), "has year_month"),
        (RENO, lambda table: table.rename({"rev": "revenue"}), "lacks rev, has revenue"),
        (DCT, lambda table: table.cast({"cpc": pl.String}), "has cpc as String, not Int64"),
        (
            RFND,
            lambda table: table.cast({"refnd_date": pl.Datetime("ns")}),
            "has refnd_date as Datetime(time_unit='ns', time_zone=None), not Datetime(time_unit='us', time_zone=None)",
        ),
        (PPD, lambda table: table.select(reversed(table.columns)), "has its columns in another order"),
    ],
)
def test_columns_that_are_not_as_agreed_fail_it_and_the_other_types_are_looked_into(
    lake: Lake, kind: TransactionType, change: Any, fault: str
) -> None:
    """R61, R64, 4.1: names, types, order, and the month only in the folder's name."""
    rewrite(lake, kind, change(frame(kind, two_days()[kind])))
    place = f"{kind.folder}/year_month=2025-11/data.parquet"
    assert failure(lake) == f"{kind.name} is not as agreed: {place} {fault}."
    types = report(lake)["types"]
    assert types[kind.name]["schema_faults"] == [f"{place} {fault}."]
    assert [name for name, each in types.items() if each["rows"]] == [
        name for name in ("ACT", "RENO", "DCT", "PPD", "CNR", "RFND") if name != kind.name
    ]


def test_a_file_that_cannot_be_read_fails_it_by_name(lake: Lake) -> None:
    """Section 6: unreadable parquet partition."""
    partition_path(lake, ACT, "2025-11").write_bytes(b"<html>quota exceeded</html>")
    assert failure(lake) == "ACT is not as agreed: act/year_month=2025-11/data.parquet cannot be read."


def test_rows_in_a_month_that_is_not_theirs_fail_it(lake: Lake) -> None:
    """4.1: readers prune by the folder's name, and a rerun of their day would not find them (R32)."""
    write_legacy(lake, CNR, "2025-11", [cnr(cancel_date="2025-12-01 00:00:00")], name="part-1.parquet")
    assert failure(lake) == "CNR is not as agreed: 1 rows lie in a month that is not theirs."
    assert report(lake)["types"]["CNR"]["misplaced"] == 1


def test_parquet_files_outside_of_any_partition_fail_it(lake: Lake) -> None:
    """4.1: whoever reads the folder by its pattern would read them."""
    frame(ACT, [act()]).write_parquet(lake.transactions / "act" / "copy.parquet")
    (lake.transactions / "backup").mkdir()
    frame(ACT, [act()]).write_parquet(lake.transactions / "backup" / "act.parquet")
    assert failure(lake) == (
        "backup/act.parquet belongs to no type. ACT is not as agreed: cvas: "
        "LAKE/Parquet_Data/transactions/act/copy.parquet lies in no partition, yet whoever reads the lake reads it."
    )


def test_of_many_faults_the_first_are_told_and_all_are_reported(lake: Lake) -> None:
    for month in range(1, 9):
        write_legacy(lake, CNR, f"2025-0{month}", [], name="data.parquet").write_bytes(b"broken")
    text = failure(lake)
    assert text.startswith("CNR is not as agreed: cnr/year_month=2025-01/data.parquet cannot be read. ")
    assert text.endswith("cnr/year_month=2025-05/data.parquet cannot be read. And 3 more.")
    assert len(report(lake)["types"]["CNR"]["schema_faults"]) == 8


# --- what only warns ------------------------------------------------------------------------------------------------


def test_rows_in_the_undated_partition_only_warn(lake: Lake) -> None:
    """R29, R61, R64: they wait for the repair, those with a date too."""
    rows = [rfnd(refnd_date=None, sbnid=1), rfnd(refnd_date="2025-10-10")]
    write_legacy(lake, RFND, UNDATED, rows, name="part-0.parquet")
    result = check(lake)
    assert result.warnings == ("RFND has 2 rows in the partition of undated rows.",)
    found = report(lake)
    assert found["warnings"] == list(result.warnings)
    refunds = found["types"]["RFND"]
    assert (refunds["rows"], refunds["undated_rows"], refunds["partitions"]) == (4, 2, 2)
    assert (refunds["first_partition"], refunds["first"]) == ("2025-11", "2025-10-10T00:00:00")


# --- around it ------------------------------------------------------------------------------------------------------


def test_a_second_run_of_the_day_replaces_the_report(lake: Lake) -> None:
    failure(lake, today=date(2025, 11, 13))
    check(lake)
    assert report(lake)["result"] == "passed"
    assert [path.name for path in lake.reports(RUN_DAY).iterdir()] == ["transactions.json"]
    assert [line.state for line in read_journal(lake.logs, "cvas_check_transactions")] == ["SUCCESS", "FAILED"]


def test_a_lake_that_is_being_written_is_not_checked(lake: Lake) -> None:
    with locks.hold(lake.lock, "cvas_load"), pytest.raises(StoreBusy, match="cvas_check_transactions has to wait"):
        check(lake)
    assert not lake.reports(RUN_DAY).exists()
