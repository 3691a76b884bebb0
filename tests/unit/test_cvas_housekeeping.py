"""What nobody needs any more goes, what takes space is told (R67-R69, section 7)."""

from __future__ import annotations

import json
import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from include.common import locks
from include.common.journal import RunLog, read_journal
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TYPES
from include.cvas.daily import TypeOfDay, compare_day
from include.cvas.engine import open_engine
from include.cvas.housekeeping import clean_up, clear_day
from include.cvas.lake import partition_path, read_state, writing
from include.cvas.load import load_transactions
from include.cvas.manifest import daily_file
from include.errors import StoreBusy
from tests.unit.cvas_helpers import NOW, act, cnr, csv_text, file_hashes, write_daily, write_day, write_manifest

TODAY = date(2025, 11, 26)
OLD, LIMIT = date(2025, 11, 10), date(2025, 11, 11)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def fetch(lake: Lake, day: date, *, rows: int = 2, complete: bool = True) -> None:
    dates = [f"{day} 10:00:{second:02}" for second in range(rows)]
    content = {ACT: [act(trans_date=at) for at in dates], CNR: [cnr(cancel_date=dates[0])]}
    write_day(lake, content, day=day, complete=complete)


def load(lake: Lake, day: date) -> None:
    load_transactions(lake, day=day, now=NOW, settings=Settings(), allow_partial=True)


def tidy(lake: Lake, *, today: date = TODAY) -> StepResult:
    return clean_up(lake, day=today, now=NOW, today=today, settings=Settings())


# --- daily files ----------------------------------------------------------------------------------------------------


def test_files_more_than_fifteen_days_old_go_when_the_lake_holds_them(lake: Lake) -> None:
    """R68."""
    for day in (OLD, LIMIT):
        fetch(lake, day)
        load(lake, day)
    (lake.daily(OLD) / "_rejects").mkdir(exist_ok=True)
    (lake.daily(OLD) / "_rejects" / "ACT.csv").write_text("row,column,reason,value\n")
    before, kept = file_hashes(lake.root / "Parquet_Data"), file_hashes(lake.daily(LIMIT))
    result = tidy(lake)
    assert result.facts["days_removed"] == ["2025-11-10"]
    assert (result.written, result.warnings) == (1, ())
    assert not lake.daily(OLD).exists()
    assert file_hashes(lake.daily(LIMIT)) == kept
    assert file_hashes(lake.root / "Parquet_Data") == before
    assert tidy(lake).facts["days_removed"] == []
    assert tidy(lake, today=TODAY + timedelta(days=1)).facts["days_removed"] == ["2025-11-11"]


def test_files_that_are_not_loaded_stay_however_old_they_are(lake: Lake) -> None:
    """R68: never before load."""
    fetch(lake, OLD)
    before = file_hashes(lake.daily(OLD))
    result = tidy(lake, today=date(2026, 11, 10))
    assert result.warnings == (
        "The files of 1 old days stay because the lake does not hold what they say: 2025-11-10. The status of such a "
        "day tells more; load it, or clear it.",
    )
    assert file_hashes(lake.daily(OLD)) == before


def refetched(lake: Lake) -> None:
    fetch(lake, OLD, rows=3)


def altered(lake: Lake) -> None:
    write_daily(lake, ACT, csv_text(ACT, [act(rev=1.0)]), day=OLD)


def one_type_gone(lake: Lake) -> None:
    daily_file(lake, OLD, RFND).unlink()


def partition_gone(lake: Lake) -> None:
    partition_path(lake, CNR, "2025-11").unlink()


def loaded_too_early(lake: Lake) -> None:
    fetch(lake, OLD, complete=False)
    load(lake, OLD)


@pytest.mark.parametrize("trouble", [refetched, altered, one_type_gone, partition_gone, loaded_too_early])
def test_files_stay_while_anything_of_them_is_not_in_the_lake(lake: Lake, trouble: object) -> None:
    """R68: loaded and verified, all six types."""
    fetch(lake, OLD)
    load(lake, OLD)
    assert callable(trouble)
    trouble(lake)
    before = file_hashes(lake.daily(OLD))
    assert len(tidy(lake).warnings) == 1
    assert file_hashes(lake.daily(OLD)) == before


def test_files_that_another_run_uses_are_left_to_the_next_time(lake: Lake) -> None:
    """R3, R68."""
    fetch(lake, OLD)
    load(lake, OLD)
    with locks.hold(lake.daily_lock(OLD), "cvas_fetch"):
        result = tidy(lake)
    assert (result.facts["days_removed"], result.warnings) == ([], ())
    assert tidy(lake).facts["days_removed"] == ["2025-11-10"]


def test_a_day_with_a_damaged_manifest_stays_and_the_others_go(lake: Lake) -> None:
    """R68: one bad day does not keep the rest."""
    damaged = OLD - timedelta(days=1)
    for day in (damaged, OLD):
        fetch(lake, day)
        load(lake, day)
    manifest = lake.daily(damaged) / "_manifest.json"
    manifest.write_text("{")
    leave(lake, "spill-3/duckdb_temp_storage")
    result = tidy(lake)
    assert (result.facts["days_removed"], result.facts["leftovers_removed"]) == (["2025-11-10"], ["spill-3"])
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith(f"The files of 2025-11-09 stay: cvas: {manifest} is no manifest (")
    assert result.warnings[0].endswith("Next step: Clear the day 2025-11-09 and fetch it again.")
    assert len(list(lake.daily(damaged).glob("*.csv"))) == 6


def test_the_folder_of_a_fetch_that_never_got_a_row_goes(lake: Lake) -> None:
    """R68: there is nothing in it to load; what a killed fetch left has a name no reader accepts."""
    never, again, strange = (OLD - timedelta(days=n) for n in (1, 2, 3))
    fetch(lake, again)
    load(lake, again)
    clear_day(lake, day=again, now=NOW, settings=Settings())
    for day in (never, again, strange):
        lake.daily(day).mkdir(parents=True)
    (lake.daily(never) / ".ACT.csv.tmp").write_text("half")
    (lake.daily(strange) / "act_atlas_day.csv").write_text("rows")
    result = tidy(lake)
    assert result.facts["days_removed"] == [str(again), str(never)]
    assert [warning.partition(": ")[2][:10] for warning in result.warnings] == [str(strange)]
    assert (lake.daily(strange) / "act_atlas_day.csv").exists()


def test_other_names_in_the_folder_of_daily_files_are_not_touched(lake: Lake) -> None:
    names = ["2025-10-01_old", "20251001", "notes"]
    for name in names:
        (lake.daily(OLD).parent / name).mkdir(parents=True)
    assert tidy(lake).warnings == ()
    assert sorted(path.name for path in lake.daily(OLD).parent.iterdir()) == names


# --- leftovers ------------------------------------------------------------------------------------------------------


def leave(lake: Lake, *paths: str) -> None:
    for path in paths:
        (lake.staging / path).parent.mkdir(parents=True, exist_ok=True)
        (lake.staging / path).write_text("half")


def test_what_killed_runs_left_goes_and_what_a_journal_needs_stays(lake: Lake) -> None:
    """R68, R35: the next run of its kind finishes a journal."""
    leave(lake, "load/act/2025-11.parquet", "spill-0/duckdb_temp_storage", "discarded-2025-10-01/ACT.csv")
    leave(lake, "view/journal.json", "view/subscriptions", "counters/Counters_CPC.parquet", "user_base/a.csv")
    result = tidy(lake)
    assert result.facts["leftovers_removed"] == ["counters", "discarded-2025-10-01", "load", "spill-0", "user_base"]
    assert sorted(file_hashes(lake.staging)) == ["view/journal.json", "view/subscriptions"]
    assert tidy(lake).facts["leftovers_removed"] == []


def test_what_a_run_at_work_uses_stays(lake: Lake) -> None:
    """R68: only under the lock."""
    leave(lake, "view/subscriptions", "user_base/a.csv")
    with (
        locks.hold(lake.view_lock, "cvas_view"),
        locks.hold(lake.user_base_lock, "cvas_user_base"),
        open_engine(lake, Settings()),
    ):
        assert tidy(lake).facts["leftovers_removed"] == []
        assert sorted(path.name for path in lake.staging.iterdir()) == ["spill-0", "user_base", "view"]
    assert tidy(lake).facts["leftovers_removed"] == ["user_base", "view"]


def test_what_belongs_to_nothing_known_is_told_and_left(lake: Lake) -> None:
    leave(lake, "somebody/file", "discarded-today/file")
    assert tidy(lake).warnings == tuple(
        f"{lake.staging}/{name} belongs to nothing that is known here; move it away."
        for name in ("discarded-today", "somebody")
    )
    assert (lake.staging / "somebody" / "file").exists()


def test_nothing_is_cleaned_up_while_the_lake_is_written(lake: Lake) -> None:
    with (
        writing(lake, "cvas_load", RunLog()),
        pytest.raises(StoreBusy, match="cvas_housekeeping has to wait: cvas_load"),
    ):
        tidy(lake)


# --- disk, logs -----------------------------------------------------------------------------------------------------


def test_the_disk_use_of_what_grows_is_reported(lake: Lake) -> None:
    """R69: MB are 10**6 bytes."""
    for path, size in (
        ("Parquet_Data/transactions/act/year_month=2025-11/data.parquet", 5_000_000),
        ("Parquet_Data/aggregated/subscriptions.parquet", 1_250_000),
        ("User_Base/NBS_BASE/20251110_NBS_Base.csv", 30_000),
        ("Daily_Data/2025-11-25/ACT.csv", 100),
    ):
        (lake.root / path).parent.mkdir(parents=True)
        with (lake.root / path).open("wb") as file:
            file.truncate(size)
    used = dict(tidy(lake).facts["disk_mb"])
    assert used.pop("free") > 0
    assert used == {"Parquet_Data": 6.25, "User_Base": 0.03, "Daily_Data": 0.0}
    report = json.loads((lake.root / "Reports" / "2025-11-26" / "disk.json").read_text())
    assert report["day"] == "2025-11-26"
    assert report["mb"].keys() == {"Parquet_Data", "User_Base", "Daily_Data", "free"}


def test_old_logs_and_reports_go_every_day(lake: Lake) -> None:
    """R67."""
    old = lake.reports(date(2025, 10, 1)) / "users.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    os.utime(old, (NOW.timestamp() - 15 * 86400 - 1,) * 2)
    tidy(lake)
    assert not old.exists()


# --- a day's files by hand ------------------------------------------------------------------------------------------


def test_clearing_a_day_removes_its_folder_and_nothing_else(lake: Lake) -> None:
    """Section 7: undone by fetching it again."""
    for day in (OLD, LIMIT):
        fetch(lake, day)
        load(lake, day)
    before = file_hashes(lake.root / "Parquet_Data"), file_hashes(lake.state), file_hashes(lake.daily(LIMIT))
    size = sum(path.stat().st_size for path in lake.daily(OLD).iterdir())
    result = clear_day(lake, day=OLD, now=NOW, settings=Settings())
    assert (result.where, result.bytes, result.facts) == (str(lake.daily(OLD)), size, {"action": "removed"})
    assert not lake.daily(OLD).exists()
    assert (file_hashes(lake.root / "Parquet_Data"), file_hashes(lake.state), file_hashes(lake.daily(LIMIT))) == before
    assert [path.name for path in lake.staging.glob("discarded*")] == []
    again = clear_day(lake, day=OLD, now=NOW, settings=Settings())
    assert (again.bytes, again.facts) == (0, {"action": "there was nothing"})
    assert [line.state for line in read_journal(lake.logs, "cvas_clear_day")] == ["SUCCESS", "SUCCESS"]


def test_a_day_in_use_is_not_cleared(lake: Lake) -> None:
    """R3."""
    fetch(lake, OLD)
    with (
        locks.hold(lake.daily_lock(OLD), "cvas_load", shared=True),
        pytest.raises(StoreBusy, match="cvas_clear_day has to wait: a reader holds daily-2025-11-10"),
    ):
        clear_day(lake, day=OLD, now=NOW, settings=Settings())
    assert daily_file(lake, OLD, ACT).exists()


# --- a day compared -------------------------------------------------------------------------------------------------


def verdicts(lake: Lake) -> dict[str, str]:
    return {each.name: each.verdict for each in compare_day(lake, OLD, read_state(lake))}


def test_a_day_is_compared_from_the_file_to_the_lake(lake: Lake) -> None:
    """Section 7."""
    fetch(lake, OLD)
    load(lake, OLD)
    compared = {each.name: each for each in compare_day(lake, OLD, read_state(lake))}
    sha256 = compared["ACT"].sha256
    assert compared["ACT"] == TypeOfDay("ACT", fetched=2, sha256=sha256, recorded=2, stored=2, verdict="loaded")
    empty = compared["PPD"].sha256
    assert compared["PPD"] == TypeOfDay("PPD", fetched=0, sha256=empty, recorded=0, stored=0, verdict="loaded")
    assert [each.verdict for each in compared.values()] == ["loaded"] * 6


def test_a_comparison_names_what_does_not_fit(lake: Lake) -> None:
    """Section 7, R24: one fault per type."""
    assert verdicts(lake) == {kind.name: "nothing there" for kind in TYPES}
    fetch(lake, OLD)
    assert verdicts(lake) == {kind.name: "not loaded" for kind in TYPES}
    load(lake, OLD)
    write_daily(lake, ACT, csv_text(ACT, [act()]), day=OLD)
    daily_file(lake, OLD, RENO).unlink()
    write_daily(lake, DCT, csv_text(DCT, []) + "\n", day=OLD)
    write_manifest(lake, day=OLD, kinds=[DCT])
    write_manifest(lake, day=OLD, kinds=[PPD], complete=False)
    partition_path(lake, CNR, "2025-11").unlink()
    assert verdicts(lake) == {
        "ACT": "the file was altered after it was fetched",
        "RENO": "the file is gone",
        "DCT": "another file was loaded",
        "PPD": "loaded before the day was over",
        "CNR": "the lake holds other rows than were loaded",
        "RFND": "loaded",
    }


def test_a_day_without_files_or_manifest_is_compared_by_what_the_lake_says(lake: Lake) -> None:
    fetch(lake, OLD)
    load(lake, OLD)
    (lake.daily(OLD) / "_manifest.json").unlink()
    assert verdicts(lake) == {kind.name: "the file is in no manifest" for kind in TYPES}
    clear_day(lake, day=OLD, now=NOW, settings=Settings())
    assert verdicts(lake) == {kind.name: "loaded, the file was removed" for kind in TYPES}
    (lake.state / "lake.json").unlink()
    assert verdicts(lake) == {
        **{kind.name: "nothing there" for kind in TYPES},
        "ACT": "not recorded",
        "CNR": "not recorded",
    }
