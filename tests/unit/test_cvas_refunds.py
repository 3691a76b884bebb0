"""Repair of refunds that were stored without their date (R29; R30, R48)."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from include.common.journal import RunLog, read_journal
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, RFND, TYPES
from include.cvas.history import import_history
from include.cvas.lake import UNDATED, LoadedDay, check_fingerprints, read_state, reading, touched_file, writing
from include.cvas.load import load_transactions
from include.cvas.refunds import repair_refunds
from include.errors import CheckFailed, StoreBusy
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    Row,
    act,
    csv_text,
    data_hashes,
    fill_lake,
    lake_hashes,
    rfnd,
    stored,
    typed,
    write_day,
    write_legacy,
)

EVE = DAY - timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def repair(lake: Lake, **options: Any) -> StepResult:
    return repair_refunds(lake, day=DAY, now=NOW, settings=Settings(), **options)


def load(lake: Lake, rows: list[Row], day: date = DAY) -> None:
    write_day(lake, {RFND: rows, ACT: [act(trans_date=f"{day} 10:00:00")]}, day=day)
    load_transactions(lake, day=day, now=NOW, settings=Settings())


def undated(*rows: Row) -> list[Row]:
    return [{**row, "refnd_date": None} for row in rows]


def total(rows: int, amount: float) -> dict[str, Any]:
    return {"rows": rows, "amount": amount}


NONE = total(0, 0.0)
PARTS = ("moved", "outdated", "duplicates", "removed", "kept")


def plan(**parts: dict[str, Any]) -> dict[str, Any]:
    return {name: parts.get(name, NONE) for name in PARTS}


def test_refunds_without_a_date_stay_while_a_day_of_the_lake_is_not_covered(lake: Lake) -> None:
    """R29: money must not disappear."""
    old = write_legacy(lake, RFND, UNDATED, undated(rfnd(rfnd_amount=0.1), rfnd(rfnd_amount=0.2)), name="a.parquet")
    write_legacy(lake, ACT, "2025-11", [act(trans_date=f"{EVE - timedelta(days=1)} 00:00:00")], name="a.parquet")
    load(lake, [rfnd()])
    files = data_hashes(lake)
    result = repair(lake)
    assert data_hashes(lake) == files
    assert old.exists()
    assert result.warnings == (
        "2 rows of 0.30 euro, without a date, are kept: 2025-11-08, 2025-11-09 were neither loaded nor imported nor "
        "confirmed to be without refunds.",
    )
    assert result.facts == {
        "dry_run": False,
        "before": total(3, 3.99),
        "plan": plan(kept=total(2, 0.3)),
        "after": total(3, 3.99),
        "days_not_covered": 2,
    }


@pytest.mark.parametrize("covered_by", ["load", "import", "confirmation"])
def test_they_go_with_their_folder_once_every_day_is_covered(lake: Lake, covered_by: str) -> None:
    """R29: refetched, re-imported, or confirmed to be without refunds."""
    write_legacy(lake, RFND, UNDATED, undated(rfnd(), rfnd(rfnd_amount=1.0)), name="a.parquet")
    write_legacy(lake, RFND, UNDATED, undated(rfnd(sbnid=5, rfnd_amount=2.5)), name="b.parquet")
    write_legacy(lake, ACT, "2025-11", [act(trans_date=f"{EVE} 00:00:00")], name="a.parquet")
    load(lake, [rfnd(), rfnd(cpc=1, rfnd_amount=0.01)])
    eve = rfnd(refnd_date=f"{EVE}", rfnd_amount=7.0)
    if covered_by == "load":
        load(lake, [eve], EVE)
    elif covered_by == "import":
        lake.historical.mkdir()
        rows = [eve, rfnd(), rfnd(cpc=1, rfnd_amount=0.01)]
        (lake.historical / "rfnd_atlas.csv").write_text(csv_text(RFND, rows))
        import_history(lake, lake.historical, types=[RFND], day=DAY, now=NOW, settings=Settings())
    else:
        with writing(lake, "cvas_test", RunLog()) as change:
            change.state.record(EVE, RFND, LoadedDay(0, "empty"))
            change.publish(None)
    dated = stored(lake, RFND)[: 2 if covered_by == "confirmation" else 3]
    result = repair(lake)
    assert stored(lake, RFND) == dated
    assert not (lake.transactions / "rfnd" / f"year_month={UNDATED}").exists()
    amount = round(sum(row["rfnd_amount"] for row in dated), 2)
    assert result.facts == {
        "dry_run": False,
        "before": total(len(dated) + 3, round(amount + 7.19, 2)),
        "plan": plan(removed=total(3, 7.19)),
        "after": total(len(dated), amount),
        "days_not_covered": 0,
    }
    assert result.warnings == ()
    state = read_state(lake)
    assert check_fingerprints(lake, state) == []
    assert not touched_file(lake, state.change).exists()
    files = data_hashes(lake)
    again = repair(lake)
    assert data_hashes(lake) == files
    assert again.facts["plan"] == plan()


def test_rows_that_do_have_a_date_move_to_their_month(lake: Lake) -> None:
    """R29; a row of the same key in the month wins, like the later of two such rows (R31)."""
    there = rfnd(refnd_date="2025-10-05", rfnd_amount=5.0)
    nobody = rfnd(refnd_date="2025-10-05", sbnid=None, tmuserid=None, rfnd_amount=0.5)
    write_legacy(lake, RFND, "2025-10", [there, nobody], name="data.parquet")
    rows = [
        rfnd(refnd_date="2025-10-05", rfnd_amount=6.0),
        {**nobody, "rfnd_amount": 7.0},
        rfnd(refnd_date="2025-10-05", cpc=None, rfnd_amount=1.25),
        rfnd(refnd_date="2025-09-30", sbnid=None, rfnd_amount=2.0),
        rfnd(refnd_date="2025-09-30", sbnid=None, rfnd_amount=3.0),
        *undated(rfnd(rfnd_amount=9.0)),
    ]
    write_legacy(lake, RFND, UNDATED, rows, name="a.parquet")
    result = repair(lake)
    assert result.facts == {
        "dry_run": False,
        "before": total(8, 33.75),
        "plan": plan(moved=total(2, 4.25), duplicates=total(3, 15.0), kept=total(1, 9.0)),
        "after": total(5, 18.75),
        "days_not_covered": 1,
    }
    assert stored(lake, RFND) == typed(RFND, [rows[4], there, rows[2], nobody, rows[5]])
    assert sorted(lake_hashes(lake)) == [
        "rfnd/year_month=2025-09/data.parquet",
        "rfnd/year_month=2025-10/data.parquet",
        f"rfnd/year_month={UNDATED}/data.parquet",
    ]
    assert result.written == 2
    state = read_state(lake)
    assert state.days == {
        date(2025, 9, 30): {"RFND": LoadedDay(1, "found")},
        date(2025, 10, 5): {"RFND": LoadedDay(3, "found")},
    }
    assert check_fingerprints(lake, state) == []


def test_days_found_in_the_lake_do_not_cover_anything(lake: Lake) -> None:
    """R29: what was moved is not a refetch. R57: it was counted for its day before as well."""
    write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date="2025-09-30"), *undated(rfnd())], name="a.parquet")
    for _ in range(2):
        result = repair(lake)
        assert result.facts["plan"]["kept"] == total(1, 3.69)
        assert "counters" not in " ".join(result.warnings)
    assert len(stored(lake, RFND)) == 2


def test_a_day_loaded_before_it_was_over_does_not_cover_anything(lake: Lake) -> None:
    """R29: it may have had more refunds."""
    write_legacy(lake, RFND, UNDATED, undated(rfnd()), name="a.parquet")
    fill_lake(lake, {RFND: [rfnd()]}, source="partial")
    assert repair(lake).facts["plan"]["kept"] == total(1, 3.69)
    fill_lake(lake, {RFND: [rfnd(sbnid=2)]}, source="daily")
    assert repair(lake).facts["plan"]["removed"] == total(1, 3.69)


def test_dated_rows_of_a_day_that_was_loaded_are_outdated(lake: Lake) -> None:
    """R29, R32: the day has exactly the rows of its file."""
    write_legacy(lake, RFND, UNDATED, [rfnd(rfnd_amount=1.0), rfnd(sbnid=2)], name="a.parquet")
    load(lake, [rfnd()])
    result = repair(lake)
    assert result.facts["plan"] == plan(outdated=total(2, 4.69))
    # R57: both were counted for that day.
    assert result.warnings == (
        "The counters do not know that days from 2025-11-10 to 2025-11-10 have changed: trigger cvas_counters with "
        "start_date 2025-11-10, end_date 2025-11-10 and force.",
    )
    assert repair(lake).warnings == ()
    assert stored(lake, RFND) == typed(RFND, [rfnd()])


def test_a_rehearsal_makes_the_plan_and_changes_nothing(lake: Lake) -> None:
    """R29."""
    write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date="2025-09-30"), *undated(rfnd())], name="a.parquet")
    files = data_hashes(lake)
    rehearsal = repair(lake, dry_run=True)
    assert data_hashes(lake) == files
    assert rehearsal.facts == {
        "dry_run": True,
        "before": total(2, 7.38),
        "plan": plan(moved=total(1, 3.69), kept=total(1, 3.69)),
        "after": None,
        "days_not_covered": 0,
    }
    assert rehearsal.written == 0
    real = repair(lake)
    assert real.facts["plan"] == rehearsal.facts["plan"]
    assert real.facts["after"] == total(2, 7.38)


def test_the_sums_are_exact(lake: Lake) -> None:
    """R48: a sum of doubles would be 0.30000000000000004 and worse."""
    rows = undated(*(rfnd(sbnid=n, rfnd_amount=0.1) for n in range(10_001)))
    write_legacy(lake, RFND, UNDATED, rows, name="a.parquet")
    assert repair(lake).facts["before"] == total(10_001, 1000.1)


def test_a_repair_that_does_not_do_what_it_planned_is_not_published(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R29: before and after must match the plan."""
    write = pl.DataFrame.write_parquet

    def corrupting(rows: pl.DataFrame, path: Path, **options: Any) -> None:
        write(rows.with_columns(pl.col("rfnd_amount") + 0.01), path, **options)

    write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date="2025-09-30")], name="a.parquet")
    files = data_hashes(lake)
    monkeypatch.setattr(pl.DataFrame, "write_parquet", corrupting)
    with pytest.raises(CheckFailed) as failed:
        repair(lake)
    assert failed.value.what == (
        "cvas RFND: 1 rows of 3.70 euro would be there after the repair instead of 1 rows of 3.69 euro; nothing was "
        "changed."
    )
    assert data_hashes(lake) == files


def test_there_may_be_nothing_to_repair(lake: Lake) -> None:
    """R29: idempotent, and manual: also on an empty lake."""
    assert repair(lake).facts == {
        "dry_run": False,
        "before": NONE,
        "plan": plan(),
        "after": NONE,
        "days_not_covered": 0,
    }
    assert data_hashes(lake) == {}
    load(lake, [rfnd()])
    files = data_hashes(lake)
    repair(lake)
    assert data_hashes(lake) == files


def test_undated_refunds_alone_in_a_lake_are_kept(lake: Lake) -> None:
    write_legacy(lake, RFND, UNDATED, undated(rfnd()), name="a.parquet")
    assert repair(lake).warnings[-1] == (
        "1 rows of 3.69 euro, without a date, are kept: the lake has nothing else to tell the days they may be of."
    )
    assert len(stored(lake, RFND)) == 1


def test_the_report_is_in_the_journal_and_readers_keep_the_repair_out(lake: Lake) -> None:
    """R70, R3."""
    write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date="2025-09-30")], name="a.parquet")
    with reading(lake, "cvas_view"), pytest.raises(StoreBusy):
        repair(lake)
    repair(lake)
    assert read_journal(lake.logs, "cvas_repair_refunds")[0].detail == (
        "moved: 1 rows of 3.69 euro | outdated: 0 rows of 0.00 euro | duplicates: 0 rows of 0.00 euro | "
        "removed: 0 rows of 0.00 euro | kept: 0 rows of 0.00 euro | warnings: 1"
    )
    assert [kind for kind in TYPES if stored(lake, kind)] == [RFND]
