"""What an operator asks first (section 7)."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from include.common import locks
from include.cvas import status
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, RENO, RFND
from include.cvas.counters import count_transactions
from include.cvas.housekeeping import clear_day
from include.cvas.load import load_transactions
from include.cvas.status import render_day, render_status, report_day, report_status
from include.cvas.user_base import aggregate_user_base
from include.cvas.view import build_subscriptions
from include.errors import SourceMissing, StoreBusy
from tests.unit.cvas_helpers import (
    NOW,
    PHONE,
    USER,
    act,
    cnr,
    csv_text,
    file_hashes,
    reno,
    rfnd,
    write_daily,
    write_day,
)

DAY, TODAY = date(2025, 11, 10), date(2025, 11, 11)
# 14:00 at the system's place: every deadline of yesterday is over.
LOOKED_AT = datetime(2025, 11, 11, 13, tzinfo=UTC)
ROWS = {
    ACT: [act(), act(trans_date="2025-11-10 17:00:00", subscription_id=900002)],
    RENO: [reno(trans_date=f"2025-11-10 1{hour}:00:00", subscription_id=900003) for hour in range(3)],
    CNR: [cnr()],
    RFND: [rfnd()],
}


@pytest.fixture(scope="module")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("finished"))
    lake.snapshots.mkdir(parents=True)
    (lake.snapshots / "20251110_NBS_Base.csv").write_text(
        "cpc,content_provider,service_name,last_billed_amount,tme_category,channel_desc,count\n"
        "46109,ExampleMedia,Escudo Movil,5.36,Free Time,ACTIVE,910\n"
        "45335,ExampleMedia,Noticias Diarias,2.99,News,ACTIVE,1499\n"
    )
    lake.mastercpc.write_text("cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Escudo,Free Time,30,5.36\n")
    settings = Settings()
    aggregate_user_base(lake, day=DAY, now=NOW, settings=settings)
    write_day(lake, ROWS, day=DAY)
    load_transactions(lake, day=DAY, now=NOW, settings=settings)
    build_subscriptions(lake, day=DAY, now=NOW, settings=settings)
    count_transactions(lake, days=[DAY], day=DAY, now=NOW, settings=settings)
    for path in lake.logs.glob("*.log"):  # they have real times
        path.unlink()
    return lake


@pytest.fixture
def lake(tmp_path: Path, _finished: Lake) -> Lake:
    """A day that went through the whole chain."""
    return Lake(Path(shutil.copytree(_finished.root, tmp_path / "lake")))


def journal(lake: Lake, job: str, *lines: str) -> None:
    """The journal of a job: ``<UTC time> | <day> | <the rest>`` per line, oldest first."""
    texts = [line.replace(" | ", f" | {job} | ", 1) for line in lines]
    (lake.logs / f"{job}.log").write_text("".join(f"{text}\n" for text in texts))


def report(lake: Lake, *, now: datetime = LOOKED_AT, today: date = TODAY) -> tuple[dict[str, Any], tuple[str, ...]]:
    result = report_status(lake, now=now, today=today)
    return dict(result.facts), result.warnings


def of_type(rows: int) -> dict[str, Any]:
    return {"rows": rows, "partitions": 1, "first": "2025-11", "last": "2025-11"}


# --- the stages -----------------------------------------------------------------------------------------------------


def test_the_report_tells_of_every_stage_how_far_it_is_and_how_it_went(lake: Lake) -> None:
    """Section 7, as one literal: last D done, result, age, rows; partitions, view shape, disk use."""
    journal(
        lake,
        "cvas_load",
        "2025-11-10T10:31:00+00:00 | 2025-11-09 | FAILED | Duration: 4.0s | ERROR DCT.csv is missing.",
        "2025-11-11T10:31:00+00:00 | 2025-11-10 | SUCCESS | Duration: 9.5s | ACT: 2 in, 0 out",
    )
    journal(lake, "cvas_backup", "2025-11-11T05:01:00+00:00 | 2025-11-11 | SUCCESS | Duration: 2.0s | bytes: 99")
    facts, warnings = report(lake)
    stages = {job: (stage["day"], stage["rows"]) for job, stage in facts["stages"].items()}
    assert stages == {
        "cvas_snapshot": ("2025-11-10", None),
        "cvas_user_base": ("2025-11-10", 2),
        "cvas_fetch": ("2025-11-10", 7),
        "cvas_load": ("2025-11-10", 7),
        "cvas_view": ("2025-11-10", 3),
        "cvas_counters": ("2025-11-10", 1),
        "cvas_monthly_reports": (None, None),
        "cvas_check_transactions": (None, None),
        "cvas_check_subscriptions": (None, None),
        "cvas_check_users": (None, None),
        "cvas_housekeeping": (None, None),
        "cvas_backup": ("2025-11-11", None),
        "cvas_archive": (None, None),
        "cvas_mastercpc": (None, None),
    }
    run = {
        "job": "cvas_load",
        "at": "2025-11-11T11:31:00+01:00",
        "day": "2025-11-10",
        "state": "SUCCESS",
        "seconds": 9.5,
        "detail": "ACT: 2 in, 0 out",
    }
    assert facts["stages"]["cvas_load"]["runs"][0] == run
    assert [each["state"] for each in facts["stages"]["cvas_load"]["runs"]] == ["SUCCESS", "FAILED"]
    assert [(each["job"], each["at"]) for each in facts["today"]] == [
        ("cvas_backup", "2025-11-11T06:01:00+01:00"),
        ("cvas_load", "2025-11-11T11:31:00+01:00"),
    ]
    sizes = {name: figures.pop("mb") for name, figures in facts["lake"].items()}
    assert [name for name, size in sizes.items() if size > 0] == ["ACT", "RENO", "CNR", "RFND"]
    nothing = {"rows": 0, "partitions": 0, "first": None, "last": None}
    assert facts["lake"] == {
        "ACT": of_type(2),
        "RENO": of_type(3),
        "DCT": nothing,
        "PPD": nothing,
        "CNR": of_type(1),
        "RFND": of_type(1),
    }
    assert {name: facts["view"][name] for name in ("rows", "columns")} == {"rows": 3, "columns": 45}
    assert facts["disk_mb"].keys() == {"Parquet_Data", "User_Base", "Daily_Data", "free"}
    assert (facts["at"], warnings) == ("2025-11-11T14:00:00+01:00", ())


def test_what_needs_attention_comes_first(lake: Lake) -> None:
    """Section 7, B12: deadlines, failures, the disk."""
    journal(
        lake, "cvas_load", "2025-11-12T10:31:00+00:00 | 2025-11-11 | FAILED | Duration: 4.0s | ERROR DCT.csv is gone."
    )
    later = datetime(2025, 11, 12, 11, 1, tzinfo=UTC)
    result = report_status(lake, now=later, today=date(2025, 11, 12))
    assert result.warnings == (
        "There is no user-base snapshot of 2025-11-11, which was due at 08:25.",
        "Of the files of 2025-11-11, ACT, RENO, DCT, PPD, CNR, RFND are not fetched, which was due at 11:30.",
        "cvas_load failed 30 min ago: DCT.csv is gone.",
    )
    lines = render_status(result).splitlines()
    assert lines[:4] == [
        "Subscriptions (cvas), Wednesday 2025-11-12 12:01 UTC+01:00",
        "",
        "Needs attention:",
        "  ! There is no user-base snapshot of 2025-11-11, which was due at 08:25.",
    ]


def test_rows_that_something_else_took_away_need_attention(lake: Lake) -> None:
    """R53 i, section 7: the day after, not with the next weekly check."""
    shutil.rmtree(lake.transactions / "rfnd")
    told = report_status(lake, now=LOOKED_AT, today=TODAY).warnings
    assert [text for text in told if "took rows out of the lake: rfnd/2025-11 (1 rows);" in text]


def test_a_disk_too_small_for_the_next_view_is_told(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """R69: twice the bytes and a reserve of 1 GiB."""
    monkeypatch.setattr(status, "RESERVE", 10**18)
    _, warnings = report(lake)
    assert len(warnings) == 1
    assert warnings[0].startswith("Only ")
    assert warnings[0].endswith(f"MB are free below {lake.root}; the next view needs 1,000,000,000,000 MB.")


def test_the_report_reads_as_tables(lake: Lake) -> None:
    journal(lake, "cvas_load", "2025-11-11T10:31:00+00:00 | 2025-11-10 | SUCCESS | Duration: 9.5s | ACT: 2 in, 0 out")
    text = render_status(report_status(lake, now=LOOKED_AT, today=TODAY))
    lines = text.splitlines()
    assert lines[:3] == ["Subscriptions (cvas), Tuesday 2025-11-11 14:00 UTC+01:00", "", "All is well."]
    (stage,) = [line.split() for line in lines if line.startswith("cvas_load")]
    assert stage == ["cvas_load", "2025-11-10", "7", "SUCCESS", "2025-11-11", "11:31", "(2.5", "h", "ago)", "9.5"]
    (never,) = [line.split() for line in lines if line.startswith("cvas_backup")]
    assert never == ["cvas_backup", "never", "-", "never", "ran"]
    (renewals,) = [line.split() for line in lines if line.startswith("RENO")]
    assert (renewals[:2], renewals[3:]) == (["RENO", "3"], ["1", "2025-11", "2025-11"])
    assert "3 rows x 45 columns" in text
    assert lines[-2:] == ["Today:", "  11:31  cvas_load  2025-11-10  SUCCESS  9.5 s  ACT: 2 in, 0 out"]


def test_a_new_lake_has_a_report_too(tmp_path: Path) -> None:
    facts, warnings = report(Lake(tmp_path))
    assert (facts["view"], facts["today"], len(warnings)) == (None, [], 3)
    assert "never built" in render_status(report_status(Lake(tmp_path), now=LOOKED_AT, today=TODAY))


def test_a_mistyped_folder_is_refused_and_not_made(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "typo")
    with pytest.raises(SourceMissing, match=r"there is no folder .*typo"):
        report(lake)
    assert not lake.root.exists()


def test_the_report_changes_nothing_and_waits_for_nobody(lake: Lake) -> None:
    before = file_hashes(lake.root)
    with locks.hold(lake.lock, "cvas_load"), locks.hold(lake.view_lock, "cvas_view"):
        report(lake)
        held = {name for name in file_hashes(lake.root) if name.startswith("_locks/")}
    after = file_hashes(lake.root)
    assert {name: sha256 for name, sha256 in after.items() if name not in held} == {
        name: sha256 for name, sha256 in before.items() if name not in held
    }


@pytest.mark.parametrize(
    ("name", "told", "silent"),
    [
        ("Parquet_Data/aggregated/subscriptions.parquet", "cannot be read (ComputeError). Next step: Build it", None),
        ("_state/lake.json", "is damaged", "cvas_load"),
        ("Daily_Data/2025-11-10/_manifest.json", "is no manifest", "cvas_fetch"),
        ("User_Base/user_base_by_cpc.csv", "user_base_by_cpc.csv", "cvas_user_base"),
        ("Counters/Counters_CPC.parquet", "cannot be read", "cvas_counters"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_told(
    lake: Lake, name: str, told: str, silent: str | None
) -> None:
    """Section 6: no traceback of a library, and nothing withheld in the hour it is needed most."""
    known, _ = report(lake)
    (lake.root / name).write_bytes(b"no such thing at all")
    result = report_status(lake, now=datetime(2025, 11, 11, 8, 0, tzinfo=UTC), today=TODAY)
    assert [name in text and told in text for text in result.warnings] == [True], result.warnings
    stages = result.facts["stages"]
    assert [job for job, stage in stages.items() if stage["day"] != known["stages"][job]["day"]] == (
        [silent] if silent else []
    )
    assert render_status(result)


# --- a day ----------------------------------------------------------------------------------------------------------


def test_a_day_in_order_has_six_types_that_fit(lake: Lake) -> None:
    """Section 7: ``status --data D``."""
    result = report_day(lake, day=DAY)
    assert (result.read, result.warnings) == (7, ())
    assert render_day(result).splitlines() == [
        f"2025-11-10 in {lake.daily(DAY)}",
        "",
        "Type  Rows fetched  Rows loaded  Rows in the lake  Verdict",
        "ACT              2            2                 2  loaded",
        "RENO             3            3                 3  loaded",
        "DCT              0            0                 0  loaded",
        "PPD              0            0                 0  loaded",
        "CNR              1            1                 1  loaded",
        "RFND             1            1                 1  loaded",
    ]


def test_a_day_that_does_not_fit_says_where(lake: Lake) -> None:
    write_daily(lake, RENO, csv_text(RENO, [reno()]), day=DAY)
    assert report_day(lake, day=DAY).warnings == ("RENO of 2025-11-10: the file was altered after it was fetched.",)


def test_a_day_whose_files_were_removed_and_a_day_to_come_need_no_attention(lake: Lake) -> None:
    """R68."""
    clear_day(lake, day=DAY, now=NOW, settings=Settings())
    result = report_day(lake, day=DAY)
    assert result.warnings == ()
    assert render_day(result).splitlines()[3] == (
        "ACT              -            2                 2  loaded, the file was removed"
    )
    assert report_day(lake, day=TODAY).warnings == ()


def test_no_report_tells_who(lake: Lake) -> None:
    """R5."""
    text = repr(report_status(lake, now=LOOKED_AT, today=TODAY)) + repr(report_day(lake, day=DAY))
    assert USER not in text
    assert PHONE not in text


def test_a_day_is_not_compared_while_the_lake_is_written(lake: Lake) -> None:
    with locks.hold(lake.lock, "cvas_load"), pytest.raises(StoreBusy, match="cvas_status has to wait: cvas_load"):
        report_day(lake, day=DAY)
