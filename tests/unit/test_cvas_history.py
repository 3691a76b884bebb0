"""The transactions of years out of a folder of CSVs (R59; R5, R31, R33, R69, R78)."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from include.common.journal import RunLog, read_journal
from include.common.results import StepResult
from include.cvas import history, parse
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, PPD, RENO, RFND, TYPES, TransactionType
from include.cvas.gaps import find_gaps
from include.cvas.history import import_history
from include.cvas.lake import (
    UNDATED,
    LoadedDay,
    check_fingerprints,
    read_state,
    reading,
    staging_of,
    touched_file,
    writing,
)
from include.cvas.load import load_transactions
from include.errors import AlreadyRunning, CheckFailed, ContractViolation, SourceMissing, StoreBusy, StoreFull
from sandbox.servers.faults import small_disk
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    PHONE,
    USER,
    Row,
    act,
    cnr,
    csv_text,
    data_hashes,
    fill_lake,
    lake_hashes,
    ppd,
    reno,
    rfnd,
    stored,
    typed,
    write_day,
    write_legacy,
)

ROOT = Path(__file__).resolve().parents[2]


class Past:
    """A lake and a folder of historical files."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake(root / "lake")
        self.folder = self.lake.historical
        self.folder.mkdir(parents=True)

    def write(self, name: str, kind: TransactionType, rows: list[Row]) -> Path:
        path = self.folder / name
        path.write_text(csv_text(kind, rows))
        return path

    def run(self, *types: TransactionType, **options: Any) -> StepResult:
        return import_history(
            self.lake, self.folder, types=types or TYPES, day=DAY, now=NOW, settings=Settings(), **options
        )


def test_large_counts_stay_readable_where_numbers_of_subscribers_are_masked(
    past: Past, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R5, R36, R70."""
    caplog.set_level(logging.INFO, "include")
    monkeypatch.setattr("include.cvas.lake.Change.write", lambda *_: 1_854_500_000)
    monkeypatch.setattr("include.cvas.lake.Change.publish", lambda *_: None)
    past.write("act_atlas.csv", ACT, [act()])
    past.run(ACT)
    assert "ACT | files act_atlas.csv | read 1 | duplicates 0 | stored 1 | " in caplog.text
    assert " | bytes 1,854,500,000" in caplog.text


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


MANY = [
    reno(subscription_id=n % 5, trans_date=f"2025-{1 + n % 3:02}-{1 + n % 28:02} 10:00:00", rev=n / 4)
    for n in range(60)
]


def outdated(first: str, last: str) -> str:
    """What a result says about the counters."""
    return (
        f"The counters do not know that days from {first} to {last} have changed: trigger cvas_counters with "
        f"start_date {first}, end_date {last} and force."
    )


def last_of_each(rows: list[Row]) -> list[Row]:
    """What is left of renewals, in the order of the lake."""
    last = {(row["subscription_id"], row["trans_date"]): row for row in rows}
    return typed(RENO, [last[key] for key in sorted(last, key=lambda key: (key[1], key[0]))])


def test_each_type_becomes_its_files_sorted_into_months(past: Past, caplog: pytest.LogCaptureFixture) -> None:
    """R59: all of the result, the state and the journal."""
    past.write("reno_atlas_2025.csv", RENO, MANY)
    past.write("rfnd_atlas.csv", RFND, [rfnd(refnd_date="2025-02-03"), rfnd(refnd_date="2025-01-02", sbnid=None)])
    past.write("act_atlas_day.csv", ACT, [act(trans_date="2024-12-31 23:59:59.5")])
    with caplog.at_level(logging.INFO):
        result = past.run(ACT, RENO, RFND)
    lake = past.lake
    assert stored(lake, RENO) == last_of_each(MANY)
    assert stored(lake, RFND) == typed(RFND, [rfnd(refnd_date="2025-01-02", sbnid=None), rfnd(refnd_date="2025-02-03")])
    assert sorted(lake_hashes(lake)) == [
        "act/year_month=2024-12/data.parquet",
        "reno/year_month=2025-01/data.parquet",
        "reno/year_month=2025-02/data.parquet",
        "reno/year_month=2025-03/data.parquet",
        "rfnd/year_month=2025-01/data.parquet",
        "rfnd/year_month=2025-02/data.parquet",
    ]
    kept = len(last_of_each(MANY))
    sizes = {
        kind: sum(path.stat().st_size for path in (lake.transactions / kind.folder).rglob("*.parquet"))
        for kind in TYPES
    }
    assert result == StepResult(
        where=str(lake.transactions),
        read=63,
        written=kept + 3,
        bytes=sum(sizes.values()),
        warnings=(outdated("2024-12-31", "2025-03-27"),),
        facts={
            "types": {
                "ACT": {
                    "files": ["act_atlas_day.csv"],
                    "read": 1,
                    "duplicates": 0,
                    "stored": 1,
                    "first_day": "2024-12-31",
                    "last_day": "2024-12-31",
                    "bytes": sizes[ACT],
                },
                "RENO": {
                    "files": ["reno_atlas_2025.csv"],
                    "read": 60,
                    "duplicates": 60 - kept,
                    "stored": kept,
                    "first_day": "2025-01-01",
                    "last_day": "2025-03-27",
                    "bytes": sizes[RENO],
                },
                "RFND": {
                    "files": ["rfnd_atlas.csv"],
                    "read": 2,
                    "duplicates": 0,
                    "stored": 2,
                    "first_day": "2025-01-02",
                    "last_day": "2025-02-03",
                    "bytes": sizes[RFND],
                },
            },
            "seconds": result.facts["seconds"],
        },
    )
    state = read_state(lake)
    assert check_fingerprints(lake, state) == []
    assert {each.source for types in state.days.values() for each in types.values()} == {"historical"}
    assert state.days[date(2025, 2, 3)]["RFND"] == LoadedDay(1, "historical")
    assert sum(types["RENO"].rows for types in state.days.values() if "RENO" in types) == kept
    # The view must be rebuilt.
    assert state.change == 3
    assert not touched_file(lake, 3).exists()
    [line] = read_journal(lake.logs, "cvas_history")
    assert line.detail == f"ACT: 1 rows | RENO: {kept} rows | RFND: 2 rows | warnings: 1"


def test_importing_twice_gives_the_same_lake(past: Past) -> None:
    """R59: the original appended and doubled everything."""
    past.write("reno_atlas.csv", RENO, MANY)
    past.run(RENO)
    files = data_hashes(past.lake)
    again = past.run(RENO)
    assert data_hashes(past.lake) == files
    assert (again.read, again.bytes, again.warnings) == (60, 0, ())


def test_of_several_files_the_later_name_wins(past: Past) -> None:
    """R31, R59."""
    past.write("reno_atlas_b.csv", RENO, [reno(rev=2.0)])
    past.write("reno_atlas_a.csv", RENO, [reno(rev=1.0), reno(subscription_id=7)])
    past.run(RENO)
    assert stored(past.lake, RENO) == typed(RENO, [reno(subscription_id=7), reno(rev=2.0)])


@pytest.mark.parametrize(("block", "batch"), [(300, 1), (700, 7), (100_000, 13)])
def test_what_is_in_memory_at_a_time_changes_nothing(
    past: Past, monkeypatch: pytest.MonkeyPatch, block: int, batch: int
) -> None:
    """R59: streaming by chunks; the bytes are those of one chunk."""
    past.write("reno_atlas_1.csv", RENO, MANY[:25])
    past.write("reno_atlas_2.csv", RENO, [])
    past.write("reno_atlas_3.csv", RENO, MANY[25:])
    past.run(RENO)
    files = lake_hashes(past.lake)
    monkeypatch.setattr(parse, "BLOCK", block)
    monkeypatch.setattr(history, "BATCH", batch)
    other = Past(past.folder / "other")
    for path in past.folder.glob("*.csv"):
        (other.folder / path.name).write_bytes(path.read_bytes())
    other.run(RENO)
    assert lake_hashes(other.lake) == files
    assert stored(other.lake, RENO) == last_of_each(MANY)


def test_the_same_rows_by_history_or_day_by_day_are_the_same_partitions(past: Past) -> None:
    """R59: same parsing, validity and duplicate rules."""
    days = sorted({row["trans_date"][:10] for row in MANY})
    for day in days:
        of_day = [row for row in MANY if row["trans_date"].startswith(day)]
        write_day(past.lake, {RENO: of_day}, day=date.fromisoformat(day))
        load_transactions(past.lake, day=date.fromisoformat(day), now=NOW, settings=Settings())
    loaded = lake_hashes(past.lake)
    past.write("reno_atlas.csv", RENO, MANY)
    change = read_state(past.lake).change
    past.run(RENO)
    assert lake_hashes(past.lake) == loaded
    assert read_state(past.lake).change == change
    sources = {name: each.source for name, each in read_state(past.lake).days[date.fromisoformat(days[0])].items()}
    assert sources == {**dict.fromkeys(("ACT", "DCT", "PPD", "CNR", "RFND"), "daily"), "RENO": "historical"}


def test_months_the_files_do_not_have_go_and_other_types_stay(past: Past) -> None:
    """R59: the type's tree is replaced; days too small for R33 do not go without a word."""
    fill_lake(past.lake, {RENO: [reno(), reno(trans_date="2025-06-01 00:00:00")], ACT: [act()]})
    with writing(past.lake, "cvas_test", RunLog()) as change:
        change.state.record(date(2025, 6, 2), RENO, LoadedDay(0, "empty"))
        change.publish(None)
    past.write("reno_atlas.csv", RENO, [reno(trans_date="2025-01-01 00:00:00")])
    assert past.run(RENO).warnings == (
        "RENO: the files have nothing of 2 days between 2025-06-01 and 2025-11-10; the 2 rows that the lake had of "
        "them are gone.",
        outdated("2025-01-01", "2025-11-10"),
    )
    assert sorted(lake_hashes(past.lake)) == [
        "act/year_month=2025-11/data.parquet",
        "reno/year_month=2025-01/data.parquet",
    ]
    days = {day.isoformat(): types["RENO"] for day, types in read_state(past.lake).days.items() if "RENO" in types}
    assert days == {"2025-01-01": LoadedDay(1, "historical"), "2025-06-02": LoadedDay(0, "empty")}


def test_days_without_single_purchases_are_known_to_have_none(past: Past) -> None:
    """R60: nearly every day has none; a backfill would fetch the whole history again. Other types have some daily."""
    past.write("act_atlas.csv", ACT, [act(trans_date="2025-11-01 10:00:00"), act(trans_date="2025-11-07 10:00:00")])
    past.write("ppd_atlas.csv", PPD, [ppd(trans_date="2025-11-04 10:00:00"), ppd(trans_date="2025-11-06 10:00:00")])
    past.write("cnr_atlas.csv", CNR, [cnr(cancel_date="2025-11-01 10:00:00"), cnr(cancel_date="2025-11-03 10:00:00")])
    with writing(past.lake, "cvas_test", RunLog()) as change:
        change.state.record(date(2025, 11, 2), PPD, LoadedDay(0, "empty"))
        change.publish(None)
    past.run()
    state = read_state(past.lake)
    days = {day.isoformat(): types["PPD"] for day, types in sorted(state.days.items())}
    assert days == {
        "2025-11-01": LoadedDay(0, "historical"),
        "2025-11-02": LoadedDay(0, "empty"),
        "2025-11-03": LoadedDay(0, "historical"),
        "2025-11-04": LoadedDay(1, "historical"),
        "2025-11-05": LoadedDay(0, "historical"),
        "2025-11-06": LoadedDay(1, "historical"),
        "2025-11-07": LoadedDay(0, "historical"),
    }
    cancellations = [day for day, types in sorted(state.days.items()) if "CNR" in types]
    assert cancellations == [date(2025, 11, 1), date(2025, 11, 3)]
    found = find_gaps(past.lake, until=date(2025, 11, 7), types=[PPD], now=NOW, settings=Settings())
    assert found.facts["gaps"] == {"PPD": []}
    past.run()
    assert read_state(past.lake) == state


def test_with_days_only_other_days_are_not_known_to_be_empty(past: Past) -> None:
    """R60: the files are not all there is."""
    past.write("ppd_atlas.csv", PPD, [ppd(trans_date="2025-11-04 10:00:00"), ppd(trans_date="2025-11-06 10:00:00")])
    past.run(PPD, days_only=True)
    assert sorted(read_state(past.lake).days) == [date(2025, 11, 4), date(2025, 11, 6)]


def test_with_days_only_the_days_of_the_files_are_replaced_and_no_others(past: Past) -> None:
    """R32, R60: a range file closes a gap; a corrected day has exactly its rows."""
    kept = [reno(trans_date="2025-06-01 00:00:00"), reno(trans_date="2025-11-09 23:59:59"), reno(subscription_id=7)]
    fill_lake(past.lake, {RENO: [*kept, reno(trans_date="2025-11-11 00:00:00")], ACT: [act()]})
    others = {name: sha256 for name, sha256 in lake_hashes(past.lake).items() if "2025-11" not in name}
    corrected = [reno(subscription_id=8, rev=1.5), reno(subscription_id=8, rev=2.5)]
    past.write("reno_atlas_range.csv", RENO, [*corrected, reno(trans_date="2025-10-05 12:00:00")])
    result = past.run(RENO, days_only=True)
    assert (result.read, result.written) == (3, 2)
    assert result.warnings == (outdated("2025-10-05", "2025-11-10"),)
    assert stored(past.lake, RENO) == typed(
        RENO,
        [
            kept[0],
            reno(trans_date="2025-10-05 12:00:00"),
            kept[1],
            corrected[1],
            reno(trans_date="2025-11-11 00:00:00"),
        ],
    )
    assert others.items() <= lake_hashes(past.lake).items()
    days = {f"{day}": types["RENO"] for day, types in read_state(past.lake).days.items() if "RENO" in types}
    assert days == {
        "2025-06-01": LoadedDay(1, "daily"),
        "2025-10-05": LoadedDay(1, "historical"),
        "2025-11-09": LoadedDay(1, "daily"),
        "2025-11-10": LoadedDay(1, "historical"),
        "2025-11-11": LoadedDay(1, "daily"),
    }
    files, change = lake_hashes(past.lake), read_state(past.lake).change
    past.run(RENO, days_only=True)
    assert (lake_hashes(past.lake), read_state(past.lake).change) == (files, change)


def test_with_days_only_a_day_does_not_lose_more_than_half_of_its_rows_unseen(past: Past) -> None:
    """R33."""
    fill_lake(past.lake, {RENO: [reno(subscription_id=n) for n in range(20)]})
    files = lake_hashes(past.lake)
    past.write("reno_atlas.csv", RENO, [reno()])
    with pytest.raises(CheckFailed, match="2025-11-10; nothing was changed"):
        past.run(RENO, days_only=True)
    assert lake_hashes(past.lake) == files
    past.run(RENO, days_only=True, force=True)
    assert len(stored(past.lake, RENO)) == 1


def test_partitions_of_several_files_are_replaced(past: Past) -> None:
    write_legacy(past.lake, ACT, "2025-11", [act()], name="a.parquet")
    write_legacy(past.lake, ACT, "2025-11", [act()], name="b.parquet")
    past.write("act_atlas.csv", ACT, [act(rev=1.0)])
    past.run(ACT)
    assert list(lake_hashes(past.lake)) == ["act/year_month=2025-11/data.parquet"]
    assert stored(past.lake, ACT) == typed(ACT, [act(rev=1.0)])


def test_undated_refunds_stay_for_the_repair(past: Past) -> None:
    """R29, R59."""
    old = write_legacy(past.lake, RFND, UNDATED, [rfnd(refnd_date=None)], name="part-0.parquet")
    past.write("rfnd_atlas.csv", RFND, [rfnd()])
    result = past.run(RFND)
    assert old.exists()
    assert result.warnings[-2:] == (
        "RFND: the lake still has 1 rows without a date; the repair can remove them.",
        outdated("2025-11-10", "2025-11-10"),
    )


def test_a_type_without_a_file_is_reported_and_stays(past: Past) -> None:
    """R59."""
    fill_lake(past.lake, {CNR: [cnr()]})
    past.write("act_atlas.csv", ACT, [act()])
    result = past.run(ACT, PPD, CNR)
    assert result.warnings[:-1] == (f"{past.folder} has no file of PPD, CNR; what the lake has of it stays.",)
    assert list(result.facts["types"]) == ["ACT"]
    assert len(stored(past.lake, CNR)) == 1


def test_without_a_folder_or_any_file_it_fails(past: Past, tmp_path: Path) -> None:
    """R59: no prompts; missing folder fails."""
    with pytest.raises(SourceMissing) as missing:
        import_history(past.lake, tmp_path / "nowhere", types=TYPES, day=DAY, now=NOW, settings=Settings())
    assert missing.value.what == f"cvas: there is no folder {tmp_path / 'nowhere'}."
    (past.folder / "ACT.csv").write_text("x")
    with pytest.raises(SourceMissing) as missing:
        past.run(ACT, RENO)
    assert missing.value.what == f"cvas: {past.folder} has no file of ACT, RENO."


def test_a_row_that_cannot_be_typed_stops_its_type_and_only_that(past: Past) -> None:
    """R59, R5: line and column; the others are imported."""
    fill_lake(past.lake, {ACT: [act()]})
    before = lake_hashes(past.lake)
    past.write("act_atlas_1.csv", ACT, [act(rev=1.0)])
    past.write("act_atlas_2.csv", ACT, [act(), act(rev=f"{PHONE} EUR", tmuserid=USER)])
    past.write("cnr_atlas.csv", CNR, [cnr()])
    (past.folder / "rfnd_atlas.csv").write_text(csv_text(RFND, [rfnd()]).replace("rfnd_cnt", "count"))
    with pytest.raises(ContractViolation) as refused:
        past.run()
    # R57: what was imported is told with the failure; the next import finds it unchanged.
    assert outdated("2025-11-10", "2025-11-10") in refused.value.__notes__[0]
    assert refused.value.what == (
        "cvas ACT: Historical_Data/act_atlas_2.csv, line 3, column 'rev': not a number: '*** EUR'. "
        "cvas RFND: Historical_Data/rfnd_atlas.csv: the header is not as agreed, columns missing: rfnd_cnt; unknown: "
        "count."
    )
    assert before.items() <= lake_hashes(past.lake).items()
    assert stored(past.lake, CNR) == typed(CNR, [cnr()])
    assert stored(past.lake, ACT) == typed(ACT, [act()])
    assert not staging_of(past.lake).exists()
    logs = "".join(path.read_text() for path in past.lake.logs.rglob("*") if path.is_file())
    assert PHONE not in logs + str(refused.value)
    assert USER not in logs + str(refused.value)


def test_rows_that_were_kept_all_the_same_are_counted_per_file(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """R27, R59."""
    monkeypatch.setattr(parse, "BLOCK", 400)
    past.write("act_atlas_1.csv", ACT, [act(subscription_id=n, cpc=None) for n in range(9)])
    past.write("act_atlas_2.csv", ACT, [act(subscription_id=99, cpc=None, tef_prov="x")])
    first, second = (f"cvas ACT: Historical_Data/act_atlas_{n}.csv" for n in (1, 2))
    assert past.run(ACT).warnings[:-1] == (
        f"{first}: 9 rows without cpc, kept.",
        f"{second}: 1 rows with a tef_prov that is not an integer, which is left empty.",
        f"{second}: 1 rows without cpc, kept.",
    )


def test_days_that_would_lose_more_than_half_of_their_rows_need_force(past: Past) -> None:
    """R33: a file that is missing in the folder."""
    rows = [reno(subscription_id=n) for n in range(20)]
    morrow = [reno(subscription_id=n, trans_date=f"{DAY + timedelta(days=1)} 00:00:00") for n in range(20)]
    fill_lake(past.lake, {RENO: [*rows, *morrow]})
    files = lake_hashes(past.lake)
    past.write("reno_atlas.csv", RENO, [*rows[:9], *morrow[:10]])
    with pytest.raises(CheckFailed) as failed:
        past.run(RENO)
    assert failed.value.what == (
        "cvas RENO: 1 days would have less than half of the rows the lake has: 2025-11-10; nothing was changed."
    )
    assert lake_hashes(past.lake) == files
    past.run(RENO, force=True)
    assert len(stored(past.lake, RENO)) == 19


def test_rows_that_get_lost_on_the_way_stop_the_import(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """R59: replaced only when what is stored are the rows that were kept."""
    write = pl.DataFrame.write_parquet

    def lossy(rows: pl.DataFrame, path: Path, **options: Any) -> None:
        write(rows[1:] if "months" in path.parts else rows, path, **options)

    fill_lake(past.lake, {RENO: [reno()]})
    files = lake_hashes(past.lake)
    past.write("reno_atlas.csv", RENO, MANY)
    monkeypatch.setattr(pl.DataFrame, "write_parquet", lossy)
    with pytest.raises(CheckFailed) as failed:
        past.run(RENO)
    assert failed.value.what == "cvas RENO: 60 rows were read, 57 were to be stored; nothing was changed."
    assert lake_hashes(past.lake) == files


def test_others_are_kept_out(past: Past) -> None:
    """R3."""
    past.write("act_atlas.csv", ACT, [act()])
    with reading(past.lake, "cvas_view"), pytest.raises(StoreBusy):
        past.run(ACT)
    with writing(past.lake, "cvas_history", RunLog()), pytest.raises(AlreadyRunning):
        past.run(ACT)


def test_too_little_space_is_refused_first(tmp_path: Path) -> None:
    """R69."""
    with small_disk(tmp_path / "disk", 4_000_000) as disk:
        if not disk:
            pytest.skip("mounting is not allowed here")
        past = Past(disk)
        size = past.write("act_atlas.csv", ACT, [act()]).stat().st_size
        with pytest.raises(StoreFull, match=f"{2 * size + 1024**3:,} are needed"):
            past.run(ACT)


IMPORTER = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from include.cvas.config import Lake, Settings
from include.cvas.contract import RENO
from include.cvas.history import import_history
root, name = sys.argv[1:3]
def hook(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(name):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
lake, now = Lake(Path(root)), datetime.fromisoformat(sys.argv[3])
import_history(lake, lake.historical, types=[RENO], day=now.date(), now=now, settings=Settings())
"""


@pytest.mark.parametrize(
    ("name", "pending"),
    [
        ("months/2025-02/000000.parquet", False),
        ("reno/2025-03.parquet", False),
        ("journal.json", False),
        ("year_month=2025-02/data.parquet", True),
        ("_state/lake.json", True),
    ],
)
def test_an_import_killed_at_any_point_is_completed_or_undone_by_the_next_one(
    past: Past, name: str, *, pending: bool
) -> None:
    """R78: killed right before a file gets its name."""
    fill_lake(past.lake, {RENO: [reno(), reno(trans_date="2025-02-01 00:00:00")]})
    before = lake_hashes(past.lake)
    past.write("reno_atlas.csv", RENO, MANY)
    command = [sys.executable, "-c", IMPORTER, str(past.lake.root), name, NOW.isoformat()]
    killed = subprocess.run(command, cwd=ROOT, timeout=60, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert (staging_of(past.lake) / "journal.json").exists() == pending
    if not pending:
        assert lake_hashes(past.lake) == before
    warnings = past.run(RENO).warnings
    assert ("it is complete now" if pending else "it was undone") in warnings[0]
    assert stored(past.lake, RENO) == last_of_each(MANY)
    assert check_fingerprints(past.lake, read_state(past.lake)) == []
    assert not staging_of(past.lake).exists()
