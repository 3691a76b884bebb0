"""Days of which the lake has no rows, and those confirmed to have none (R60)."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from include.common import locks
from include.common.journal import read_journal
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TYPES, TransactionType
from include.cvas.gaps import find_gaps
from include.cvas.lake import UNDATED, LoadedDay, partition_path, read_state
from include.errors import CheckFailed, ContractViolation, StoreBusy
from tests.unit.cvas_helpers import NOW, act, cnr, dct, file_hashes, fill_lake, lake_hashes, rfnd, write_legacy

UNTIL = date(2025, 11, 10)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def gaps(lake: Lake, *types: TransactionType, until: date = UNTIL, **options: Any) -> StepResult:
    return find_gaps(lake, until=until, types=types or TYPES, now=NOW, settings=Settings(), **options)


def test_days_without_rows_are_listed_as_ranges_by_type_and_together_oldest_first(lake: Lake) -> None:
    """R60: from the first day to yesterday; activations, renewals and deactivations begin together, and a type of the
    others without a single day has no first one."""
    for day in ("2025-10-30", "2025-10-31", "2025-11-04", "2025-11-06", "2025-11-09"):
        write_legacy(lake, ACT, day[:7], [act(trans_date=f"{day} 23:59:59.999999")], name=f"{day}.parquet")
    write_legacy(lake, DCT, "2025-11", [dct(trans_date="2025-11-07 00:00:00")], name="part-0.parquet")
    write_legacy(lake, CNR, "2025-11", [cnr(cancel_date="2025-11-08 00:00:00")], name="part-0.parquet")
    before = file_hashes(lake.root / "Parquet_Data")
    result = gaps(lake)
    assert result.facts == {
        "gaps": {
            "ACT": [
                ["2025-11-01", "2025-11-03"],
                ["2025-11-05", "2025-11-05"],
                ["2025-11-07", "2025-11-08"],
                ["2025-11-10", "2025-11-10"],
            ],
            "RENO": [["2025-10-30", "2025-11-10"]],
            "DCT": [["2025-10-30", "2025-11-06"], ["2025-11-08", "2025-11-10"]],
            "PPD": [],
            "CNR": [["2025-11-09", "2025-11-10"]],
            "RFND": [],
        },
        "ranges": [["2025-10-30", "2025-11-10"]],
        "confirmed_empty": False,
    }
    assert (result.read, result.written, result.warnings) == (32, 0, ())
    assert file_hashes(lake.root / "Parquet_Data") == before
    assert not lake.state.exists()
    assert read_journal(lake.logs, "cvas_backfill")[0].detail == "days: 32 | ranges: 1 | confirmed_empty: False"


def test_a_complete_lake_has_no_gaps(lake: Lake) -> None:
    """R60."""
    fill_lake(lake, {ACT: [act(trans_date=f"2025-11-{day:02} 10:00:00") for day in (8, 9, 10)]})
    assert gaps(lake).facts["ranges"] == []
    assert gaps(lake, until=date(2025, 11, 7)).facts["ranges"] == []


def test_a_day_loaded_without_rows_is_no_gap_but_one_loaded_too_early_is(lake: Lake) -> None:
    """R60, R2: a day that was not over when it was fetched says nothing about the whole day."""
    fill_lake(lake, {ACT: [act(trans_date="2025-11-08 10:00:00"), act(trans_date="2025-11-10 10:00:00")]})
    assert {kind.name for kind in TYPES} == read_state(lake).days[date(2025, 11, 8)].keys()
    fill_lake(lake, {ACT: [act(trans_date="2025-11-09 10:00:00")]}, source="partial")
    assert gaps(lake).facts["gaps"] == {
        "ACT": [],
        **{kind.name: [["2025-11-09", "2025-11-09"]] for kind in (RENO, DCT, PPD, CNR, RFND)},
    }


def test_a_day_whose_rows_went_missing_is_a_gap_although_it_was_loaded(lake: Lake) -> None:
    """R60: what counts is what is there."""
    fill_lake(lake, {CNR: [cnr(cancel_date=f"2025-11-{day:02} 10:00:00") for day in (8, 9, 10)]})
    write_legacy(lake, CNR, "2025-11", [cnr(cancel_date="2025-11-08 10:00:00")], name="data.parquet")
    assert gaps(lake, CNR).facts["gaps"] == {"CNR": [["2025-11-09", "2025-11-10"]]}


def test_refunds_among_the_undated_count_for_the_day_they_name(lake: Lake) -> None:
    """R60, R29."""
    rows = [rfnd(refnd_date="2025-11-08"), rfnd(refnd_date="2025-11-10"), rfnd(refnd_date=None)]
    write_legacy(lake, RFND, UNDATED, rows, name="part-0.parquet")
    assert gaps(lake, RFND).facts["gaps"] == {"RFND": [["2025-11-09", "2025-11-09"]]}


def test_days_confirmed_empty_are_not_reported_again_and_no_row_changes(lake: Lake) -> None:
    """R60: three refund-free days were seen."""
    fill_lake(lake, {ACT: [act()], RFND: [rfnd(refnd_date="2025-11-06"), rfnd(refnd_date="2025-11-08")]})
    before, change = lake_hashes(lake), read_state(lake).change
    result = gaps(lake, RFND, confirm_empty=True)
    assert result.facts == {
        "gaps": {"RFND": [["2025-11-07", "2025-11-07"], ["2025-11-09", "2025-11-09"]]},
        "ranges": [["2025-11-07", "2025-11-07"], ["2025-11-09", "2025-11-09"]],
        "confirmed_empty": True,
    }
    assert (result.read, result.written) == (2, 2)
    state = read_state(lake)
    assert state.change == change
    assert state.days[date(2025, 11, 7)] == {"RFND": LoadedDay(rows=0, source="empty")}
    assert lake_hashes(lake) == before
    assert gaps(lake, RFND).facts["ranges"] == []
    again = gaps(lake, RFND, confirm_empty=True)
    assert (again.written, read_state(lake)) == (0, state)


def test_days_that_may_only_be_not_loaded_yet_are_not_confirmed(lake: Lake) -> None:
    """R60, B12: yesterday is no empty day because nobody fetched it yet; its deadlines would never be told."""
    fill_lake(lake, {CNR: [cnr(cancel_date=f"2025-11-0{day} 10:00:00") for day in (5, 7)]})
    fill_lake(lake, {CNR: [cnr(cancel_date="2025-11-09 10:00:00")]}, source="historical")
    result = gaps(lake, CNR, confirm_empty=True)
    assert (result.read, result.written) == (3, 1)
    assert result.warnings == (
        "Not recorded as empty, because no later day is loaded from its files yet: 2025-11-08, 2025-11-10.",
    )
    assert read_state(lake).days[date(2025, 11, 6)] == {"CNR": LoadedDay(rows=0, source="empty")}
    assert gaps(lake, CNR).facts["ranges"] == [["2025-11-08", "2025-11-08"], ["2025-11-10", "2025-11-10"]]


def test_days_whose_rows_were_lost_are_gaps_and_are_not_confirmed(lake: Lake) -> None:
    """R60, R53 i: they are not empty, and they are looked for although the type's first day is a later one now."""
    fill_lake(lake, {CNR: [cnr(cancel_date=f"{day} 10:00:00") for day in ("2025-10-30", "2025-11-01", "2025-11-10")]})
    shutil.rmtree(partition_path(lake, CNR, "2025-10").parent)
    result = gaps(lake, CNR, confirm_empty=True)
    assert result.facts["gaps"] == {"CNR": [["2025-10-30", "2025-10-31"], ["2025-11-02", "2025-11-09"]]}
    assert result.warnings[1:] == ("Not recorded as empty, because their rows were lost: 2025-10-30.",)
    assert gaps(lake, CNR).facts["gaps"] == {"CNR": [["2025-10-30", "2025-10-30"]]}


def test_what_is_listed_and_confirmed_can_be_bounded(lake: Lake) -> None:
    """R60."""
    fill_lake(lake, {CNR: [cnr(cancel_date=f"2025-11-{day} 10:00:00") for day in ("01", "10")]})
    bounds = {"since": date(2025, 11, 3), "until": date(2025, 11, 5)}
    assert gaps(lake, CNR, **bounds).facts["ranges"] == [["2025-11-03", "2025-11-05"]]
    assert gaps(lake, CNR, confirm_empty=True, **bounds).written == 3
    assert gaps(lake, CNR).facts["ranges"] == [["2025-11-02", "2025-11-02"], ["2025-11-06", "2025-11-09"]]


def test_only_the_types_asked_for_are_confirmed(lake: Lake) -> None:
    """R60."""
    rows = ("2025-11-08 10:00:00", "2025-11-10 10:00:00")
    fill_lake(lake, {ACT: [act(trans_date=at) for at in rows], CNR: [cnr(cancel_date=at) for at in rows]})
    gaps(lake, CNR, confirm_empty=True)
    found = gaps(lake, ACT, CNR).facts["gaps"]
    assert found == {"ACT": [["2025-11-09", "2025-11-09"]], "CNR": []}


def test_a_lake_that_is_being_written_is_not_looked_at(lake: Lake) -> None:
    """R3."""
    fill_lake(lake, {ACT: [act()]})
    with locks.hold(lake.lock, "cvas_load"), pytest.raises(StoreBusy, match="cvas_backfill has to wait: cvas_load"):
        gaps(lake)
    with locks.hold(lake.lock, "cvas_view", shared=True):
        assert gaps(lake).facts["ranges"] == []
        with pytest.raises(StoreBusy):
            gaps(lake, confirm_empty=True)


def test_a_partition_that_cannot_be_read_is_named_and_nothing_is_confirmed(lake: Lake) -> None:
    fill_lake(lake, {CNR: [cnr(cancel_date=f"2025-11-{day:02} 10:00:00") for day in (8, 10)]})
    (lake.transactions / "cnr" / "year_month=2025-11" / "other.parquet").write_bytes(b"no parquet")
    state = read_state(lake)
    with pytest.raises(ContractViolation, match=r"other\.parquet"):
        gaps(lake)
    with pytest.raises(CheckFailed, match=r"other\.parquet"):
        gaps(lake, confirm_empty=True)
    assert read_state(lake) == state
