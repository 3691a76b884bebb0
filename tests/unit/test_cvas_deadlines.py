"""What has to be there of a day by which time of the next (R3, B12, B15)."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import ACT, RENO, RFND
from include.cvas.counters import count_transactions
from include.cvas.deadlines import missed_deadlines
from include.cvas.load import load_transactions
from include.cvas.user_base import aggregate_user_base
from include.cvas.view import build_subscriptions
from tests.unit.cvas_helpers import NOW, act, write_day, write_manifest

DAY = date(2025, 11, 10)
NO_SNAPSHOT = "There is no user-base snapshot of 2025-11-10, which was due at 08:25."
NO_USER_BASE = "The user base of 2025-11-10 is not aggregated, which was due at 08:25."
NO_FILES = "Of the files of 2025-11-10, ACT, RENO, DCT, PPD, CNR, RFND are not fetched, which was due at 11:30."
NOT_LOADED = "2025-11-10 is not loaded, nor in view and counters, which was due at 13:00."
NOT_IN_VIEW = "The view does not hold 2025-11-10, which was due at 13:00."
NOT_COUNTED = "The transactions of 2025-11-10 are not counted, which was due at 13:00."
SNAPSHOT = (
    "cpc,content_provider,service_name,last_billed_amount,tme_category,channel_desc,count\n"
    "46109,ExampleMedia,Escudo Movil,5.36,Free Time,ACTIVE,910\n"
    "45335,ExampleMedia,Noticias Diarias,2.99,News,ACTIVE,1499\n"
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def missed(lake: Lake, at: str = "13:00", *, on: date = date(2025, 11, 11)) -> list[str]:
    return missed_deadlines(lake, day=DAY, now=datetime.combine(on, time.fromisoformat(at), ZONE))


def take_snapshot(lake: Lake) -> None:
    lake.snapshots.mkdir(parents=True)
    (lake.snapshots / "20251110_NBS_Base.csv").write_text(SNAPSHOT)


def aggregate(lake: Lake) -> None:
    aggregate_user_base(lake, day=DAY, now=NOW, settings=Settings())


def fetch(lake: Lake, *, rows: int = 1, complete: bool = True) -> None:
    times = [f"2025-11-10 10:00:{second:02}" for second in range(rows)]
    write_day(lake, {ACT: [act(trans_date=at) for at in times]}, day=DAY, complete=complete)


def load(lake: Lake) -> None:
    load_transactions(lake, day=DAY, now=NOW, settings=Settings(), allow_partial=True)


def build(lake: Lake) -> None:
    build_subscriptions(lake, day=DAY, now=NOW, settings=Settings())


def count(lake: Lake) -> None:
    lake.mastercpc.write_text("cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Escudo,Free Time,30,5.36\n")
    count_transactions(lake, days=[DAY], day=DAY, now=NOW, settings=Settings(), force=True)


def test_a_deadline_counts_from_its_minute_on_and_all_before_it_count_too(lake: Lake) -> None:
    """B15; B12: a missing snapshot is told on the same morning."""
    assert missed(lake, "08:24:59") == []
    assert missed(lake, "08:25") == [NO_SNAPSHOT]
    assert missed(lake, "11:29") == [NO_SNAPSHOT]
    assert missed(lake, "11:30") == [NO_SNAPSHOT, NO_FILES]
    assert missed(lake, "13:00") == [NO_SNAPSHOT, NO_FILES, NOT_LOADED]
    assert missed(lake, "23:59", on=DAY) == []
    assert missed(lake, "00:01", on=date(2026, 3, 1)) == [NO_SNAPSHOT, NO_FILES, NOT_LOADED]


def test_the_times_are_those_of_the_zone_in_winter_and_summer(lake: Lake) -> None:
    """R1."""
    assert missed_deadlines(lake, day=DAY, now=datetime(2025, 11, 11, 7, 24, 59, tzinfo=UTC)) == []
    assert missed_deadlines(lake, day=DAY, now=datetime(2025, 11, 11, 7, 25, tzinfo=UTC)) == [NO_SNAPSHOT]
    summer = date(2025, 7, 1)
    assert missed_deadlines(lake, day=summer, now=datetime(2025, 7, 2, 6, 24, 59, tzinfo=UTC)) == []
    assert len(missed_deadlines(lake, day=summer, now=datetime(2025, 7, 2, 6, 25, tzinfo=UTC))) == 1


def test_a_second_snapshot_of_some_day_hides_no_deadline(lake: Lake) -> None:
    """R10, B12: the aggregation names both files; what else is late is told all the same."""
    take_snapshot(lake)
    for name in ("20250101_NBS_Base.csv", "20250101_copy_NBS_Base.csv"):
        (lake.snapshots / name).write_text(SNAPSHOT)
    assert missed(lake) == [NO_USER_BASE, NO_FILES, NOT_LOADED]


def test_each_stage_that_is_done_is_told_no_more(lake: Lake) -> None:
    """R3."""
    take_snapshot(lake)
    assert missed(lake) == [NO_USER_BASE, NO_FILES, NOT_LOADED]
    aggregate(lake)
    assert missed(lake) == [NO_FILES, NOT_LOADED]
    fetch(lake)
    assert missed(lake) == [NOT_LOADED]
    load(lake)
    assert missed(lake) == [NOT_IN_VIEW, NOT_COUNTED]
    build(lake)
    assert missed(lake) == [NOT_COUNTED]
    count(lake)
    assert missed(lake) == []


def test_types_that_are_missing_or_were_fetched_too_early_are_named(lake: Lake) -> None:
    """R3: six complete types; R2."""
    fetch(lake)
    write_manifest(lake, day=DAY, kinds=[RENO, RFND], complete=False)
    assert missed(lake, "11:30")[1:] == [
        "Of the files of 2025-11-10, RENO, RFND are not fetched, which was due at 11:30."
    ]


def test_files_of_a_day_that_is_loaded_may_be_gone(lake: Lake) -> None:
    """R68, R59: an old day whose files were removed, or that came from history, is not late."""
    take_snapshot(lake)
    aggregate(lake)
    fetch(lake)
    load(lake)
    build(lake)
    count(lake)
    shutil.rmtree(lake.daily(DAY))
    assert missed(lake) == []


def test_a_day_loaded_before_it_was_over_is_not_loaded(lake: Lake) -> None:
    """R2."""
    fetch(lake, complete=False)
    load(lake)
    assert missed(lake)[-1] == NOT_LOADED


def test_a_view_of_before_the_newest_load_does_not_hold_it(lake: Lake) -> None:
    """R3: also when the day was in it before it was loaded again."""
    fetch(lake)
    load(lake)
    build(lake)
    count(lake)
    assert missed(lake)[1:] == []
    fetch(lake, rows=2)
    load(lake)
    assert missed(lake)[1:] == [NOT_IN_VIEW]


def test_a_day_without_any_transaction_has_nothing_to_count(lake: Lake) -> None:
    """R22: allowed when it is confirmed."""
    fetch(lake)
    load(lake)
    write_day(lake, {}, day=date(2025, 11, 11))
    load_transactions(lake, day=date(2025, 11, 11), now=NOW, settings=Settings())
    build(lake)
    late = missed_deadlines(lake, day=date(2025, 11, 11), now=datetime(2025, 11, 12, 13, tzinfo=ZONE))
    assert late == ["There is no user-base snapshot of 2025-11-11, which was due at 08:25."]
