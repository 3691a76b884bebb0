"""Copies of view, catalogue and state, the way back (section 7), and of old months (R53 i)."""

from __future__ import annotations

import json
import os
import signal
import zipfile
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from include.common import locks
from include.common.files import sha256_of
from include.common.journal import RunLog, read_journal
from include.common.objectstores import FolderStore
from include.common.results import StepResult
from include.cvas.backup import archive_months, back_up, list_backups, restore_backup
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import ACT, CNR, RENO
from include.cvas.lake import UNDATED, partition_path, read_state, reading, writing
from include.cvas.view import ViewState
from include.errors import CheckFailed, ContractViolation, SourceMissing, StoreBusy
from tests.unit.cvas_helpers import act, cnr, file_hashes, fill_lake, lake_hashes, reno, write_legacy
from tests.unit.forked import run_in_child

DAY = date(2025, 11, 11)
NIGHT = datetime(2025, 11, 11, 6, 0, tzinfo=ZONE)
LATER = datetime(2025, 11, 11, 10, 30, tzinfo=ZONE)
FIRST = "cvas_backup_20251111_060000.zip"
BEFORE = "cvas_before_restore_20251111_103000.zip"
CATALOGUE = "cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Escudo Movil,Free Time,30,5.36\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A loaded day, a view of it, a catalogue."""
    lake = Lake(tmp_path / "lake")
    fill_lake(lake, {ACT: [act()], CNR: [cnr()]}, touched=True)
    lake.mastercpc.write_text(CATALOGUE)
    build_view(lake, b"the view of one day")
    return lake


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    folder = tmp_path / "cloud"
    folder.mkdir()
    return FolderStore(folder)


def build_view(lake: Lake, content: bytes) -> None:
    lake.subscriptions.parent.mkdir(parents=True, exist_ok=True)
    lake.subscriptions.write_bytes(content)
    found = lake.subscriptions.stat()
    built = ViewState(
        definition="rules",
        engine="2.0.0",
        as_of=date(2025, 11, 11),
        catalogue="",
        change=read_state(lake).change,
        foreign=False,
        renewals={},
        rows=1,
        bytes=found.st_size,
        sha256=sha256_of(lake.subscriptions),
        mtime_ns=found.st_mtime_ns,
    )
    (lake.state / "view.json").write_text(json.dumps(asdict(built) | {"as_of": "2025-11-11"}))


def change(lake: Lake) -> None:
    """What a day does to the lake."""
    fill_lake(lake, {RENO: [reno()]}, touched=True)
    lake.mastercpc.write_text(CATALOGUE.replace("5.36", "6.60"))
    build_view(lake, b"the view of two days")


def saved(lake: Lake) -> dict[str, str]:
    """The hashes of what a backup holds."""
    return {
        name: sha256
        for name, sha256 in file_hashes(lake.root).items()
        if name.startswith("_state/") or name in ("MASTERCPC.csv", "Parquet_Data/aggregated/subscriptions.parquet")
    }


def store_backup(lake: Lake, store: FolderStore, now: datetime = NIGHT, keep: int = 7) -> StepResult:
    return back_up(store, lake, day=DAY, now=now, settings=Settings(keep_backups=keep))


def restore(lake: Lake, store: FolderStore, name: str | None = None, now: datetime = LATER) -> StepResult:
    return restore_backup(store, lake, confirm=True, name=name, day=DAY, now=now, settings=Settings())


# --- backup ---------------------------------------------------------------------------------------------------------


def test_a_backup_holds_view_catalogue_and_state(lake: Lake, store: FolderStore) -> None:
    """Section 7."""
    before = file_hashes(lake.root / "Parquet_Data")
    result = store_backup(lake, store)
    stored = store.folder / FIRST
    with zipfile.ZipFile(stored) as archive:
        assert archive.namelist() == [
            "Parquet_Data/aggregated/subscriptions.parquet",
            "MASTERCPC.csv",
            "_state/lake.json",
            "_state/touched/000001.parquet",
            "_state/view.json",
        ]
        assert archive.read("Parquet_Data/aggregated/subscriptions.parquet") == b"the view of one day"
    assert result == StepResult(
        where=str(stored),
        read=5,
        written=1,
        bytes=stored.stat().st_size,
        facts={
            "backup": FIRST,
            "kept": [FIRST],
            "deleted": [],
            **{name: result.facts[name] for name in ("pack", "check", "upload and verify", "delete old backups")},
        },
    )
    assert list(lake.staging.glob("backup*")) == []
    assert file_hashes(lake.root / "Parquet_Data") == before
    line = read_journal(lake.logs, "cvas_backup")[0]
    assert (line.state, line.detail) == ("SUCCESS", f"backup: {FIRST} | bytes: {result.bytes:,}")


def test_seven_generations_are_kept_and_other_objects_left_alone(lake: Lake, store: FolderStore) -> None:
    """Section 7."""
    nights = [NIGHT - timedelta(days=n) for n in range(9)]
    for night in reversed(nights[1:]):
        store_backup(lake, store, night, keep=99)
    (store.folder / "database_backup_20200101_020500.db").write_text("another system's")
    result = store_backup(lake, store)
    assert result.facts["deleted"] == ["cvas_backup_20251104_060000.zip", "cvas_backup_20251103_060000.zip"]
    assert list_backups(store) == [f"cvas_backup_{night:%Y%m%d}_060000.zip" for night in nights[:7]]
    assert "database_backup_20200101_020500.db" in store.names()


def damage_view(lake: Lake) -> None:
    with lake.subscriptions.open("r+b") as file:
        file.write(b"T")


def damage_state(lake: Lake) -> None:
    (lake.state / "lake.json").write_text("{")


def damage_catalogue(lake: Lake) -> None:
    lake.mastercpc.write_text("<html>login</html>")


@pytest.mark.parametrize("damage", [damage_view, damage_state, damage_catalogue])
def test_what_is_damaged_is_not_stored_and_no_older_backup_goes(lake: Lake, store: FolderStore, damage: object) -> None:
    """A week of unnoticed damage must not push the last good backup out."""
    store_backup(lake, store)
    assert callable(damage)
    damage(lake)
    with pytest.raises((CheckFailed, ContractViolation)):
        store_backup(lake, store, LATER, keep=1)
    assert list_backups(store) == [FIRST]
    assert list(lake.staging.glob("backup*")) == []


def test_what_is_not_there_yet_is_left_out_with_a_warning(tmp_path: Path, store: FolderStore) -> None:
    lake = Lake(tmp_path / "new")
    with pytest.raises(SourceMissing, match="neither view nor catalogue nor state below"):
        store_backup(lake, store)
    fill_lake(lake, {ACT: [act()]})
    again, *warnings = store_backup(lake, store).warnings
    assert again.startswith("cvas_backup works again; it had failed for 2025-11-11: ERROR cvas: there is neither view")
    assert warnings == [
        "There is no MASTERCPC.csv to back up.",
        "There is no subscriptions.parquet to back up.",
    ]
    lake.mastercpc.write_text(CATALOGUE)
    lake.subscriptions.parent.mkdir(parents=True, exist_ok=True)
    lake.subscriptions.write_bytes(b"of the system before")
    assert store_backup(lake, store, LATER).warnings == (
        "Whether subscriptions.parquet is sound is not known: nothing says what it should be.",
    )


@pytest.mark.parametrize("lock", ["lock", "view_lock", "user_base_lock"])
def test_nothing_is_packed_while_anything_of_it_is_written(lake: Lake, store: FolderStore, lock: str) -> None:
    """All of a backup is of one moment; readers are in nobody's way."""
    with locks.hold(getattr(lake, lock), "cvas_job"), pytest.raises(StoreBusy, match="cvas_backup has to wait"):
        store_backup(lake, store)
    assert store.names() == []
    with reading(lake, "cvas_check_users"), locks.hold(lake.view_lock, "cvas_check_subscriptions", shared=True):
        store_backup(lake, store)
    assert list_backups(store) == [FIRST]


@pytest.mark.parametrize("owner", ["load", "view", "user_base"])
def test_what_a_killed_run_left_half_in_place_is_not_packed(lake: Lake, store: FolderStore, owner: str) -> None:
    """R35."""
    (lake.staging / owner).mkdir(parents=True)
    (lake.staging / owner / "journal.json").write_text('{"renames": [], "remove": []}')
    with pytest.raises(StoreBusy, match="killed"):
        store_backup(lake, store)
    assert store.names() == []


# --- restore --------------------------------------------------------------------------------------------------------


def test_a_restore_brings_view_catalogue_and_state_back_and_leaves_the_partitions(
    lake: Lake, store: FolderStore
) -> None:
    """Section 7: what the state had besides goes."""
    before = saved(lake)
    store_backup(lake, store)
    change(lake)
    partitions = lake_hashes(lake)
    changed = saved(lake)
    assert before.keys() < changed.keys()
    result = restore(lake, store)
    assert saved(lake) == before
    assert lake_hashes(lake) == partitions
    assert (result.written, result.facts["backup"], result.facts["before"]) == (5, FIRST, BEFORE)
    assert lake.subscriptions.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in lake.staging.iterdir()) == []
    restore(lake, store, BEFORE)
    assert saved(lake) == changed


def test_the_lake_goes_on_after_a_restore(lake: Lake, store: FolderStore) -> None:
    """Partitions newer than the state are taken as they are, days included; no number of a change comes twice."""
    store_backup(lake, store)
    change(lake)
    restore(lake, store)
    log = RunLog()
    with writing(lake, "cvas_load", log) as opened:
        opened.publish(None)
    assert log.warnings == [
        "Partitions were changed by something else than the pipeline and are taken as they are: reno/2025-11."
    ]
    loaded = read_state(lake).days[date(2025, 11, 10)]
    assert {name: each.rows for name, each in loaded.items()} == {
        "ACT": 1,
        "RENO": 1,
        "DCT": 0,
        "PPD": 0,
        "CNR": 1,
        "RFND": 0,
    }


def test_only_what_the_last_restore_replaced_is_kept(lake: Lake, store: FolderStore) -> None:
    store_backup(lake, store)
    restore(lake, store)
    restore(lake, store, now=LATER + timedelta(hours=1))
    assert list_backups(store) == [FIRST, "cvas_before_restore_20251111_113000.zip"]


def test_a_restore_into_an_empty_folder_works(lake: Lake, store: FolderStore, tmp_path: Path) -> None:
    store_backup(lake, store)
    new = Lake(tmp_path / "new disk")
    assert restore(new, store).facts["before"] is None
    assert saved(new) == saved(lake)


def test_a_backup_that_is_not_there_is_refused_with_the_names_that_are(lake: Lake, store: FolderStore) -> None:
    with pytest.raises(SourceMissing, match=r"There is no backup in .*Choose one of: none"):
        restore(lake, store)
    store_backup(lake, store)
    restore(lake, store)
    with pytest.raises(SourceMissing, match=f"There is no backup other .*Choose one of: {FIRST}, {BEFORE}"):
        restore(lake, store, "other")


def put_archive(store: FolderStore, members: dict[str, bytes]) -> None:
    packed = store.folder.parent / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    store.put(packed, FIRST)
    packed.unlink()


@pytest.mark.parametrize(
    "name",
    ["Parquet_Data/transactions/act/year_month=2025-11/data.parquet", "_state/../logs/a", "/etc/passwd", "_state/"],
)
def test_an_archive_that_holds_something_else_is_refused(lake: Lake, store: FolderStore, name: str) -> None:
    put_archive(store, {"MASTERCPC.csv": CATALOGUE.encode(), name: b"content"})
    before = file_hashes(lake.root)
    with pytest.raises(CheckFailed, match="is no sound backup"):
        restore(lake, store)
    assert saved(lake) == {name: sha256 for name, sha256 in before.items() if name in saved(lake)}
    assert list_backups(store) == [FIRST]


def test_a_damaged_archive_is_refused_and_nothing_is_changed(lake: Lake, store: FolderStore) -> None:
    store_backup(lake, store)
    broken = store.folder.parent / "broken.zip"
    content = bytearray((store.folder / FIRST).read_bytes())
    content[content.index(b"the view of one day")] ^= 1
    broken.write_bytes(content)
    store.put(broken, FIRST)
    change(lake)
    before = saved(lake)
    with pytest.raises(CheckFailed, match=r"no sound backup \(Parquet_Data/aggregated/subscriptions\.parquet\)"):
        restore(lake, store)
    assert saved(lake) == before


@pytest.mark.parametrize("lock", ["lock", "view_lock", "user_base_lock", "backup_lock"])
def test_nothing_is_restored_while_anybody_reads_or_writes(lake: Lake, store: FolderStore, lock: str) -> None:
    store_backup(lake, store)
    change(lake)
    before = saved(lake)
    with locks.hold(getattr(lake, lock), "cvas_job", shared=True), pytest.raises(StoreBusy):
        restore(lake, store)
    assert saved(lake) == before


def test_a_change_that_was_killed_is_finished_before_it_is_kept_and_replaced(lake: Lake, store: FolderStore) -> None:
    """R35."""
    store_backup(lake, store)
    staged = lake.staging / "view"
    staged.mkdir(parents=True)
    (staged / "new").write_bytes(b"the view of two days")
    plan = {"renames": [["new", "../../Parquet_Data/aggregated/subscriptions.parquet"]], "remove": []}
    (staged / "journal.json").write_text(json.dumps(plan))
    restore(lake, store)
    assert lake.subscriptions.read_bytes() == b"the view of one day"
    with zipfile.ZipFile(store.folder / BEFORE) as archive:
        assert archive.read("Parquet_Data/aggregated/subscriptions.parquet") == b"the view of two days"
    assert not staged.exists()


def test_a_kill_at_any_moment_of_a_restore_leaves_the_old_files_or_the_next_load_puts_the_new_ones_in_place(
    tmp_path: Path, store: FolderStore
) -> None:
    """R78: killed before every single call that opens, renames or removes something in the lake."""

    def prepared(folder: Path) -> Lake:
        lake = Lake(folder)
        fill_lake(lake, {ACT: [act()]}, touched=True)
        build_view(lake, b"the view of one day")
        return lake

    original = prepared(tmp_path / "original")
    store_backup(original, store)
    new = {name: sha256 for name, sha256 in saved(original).items() if name != "_state/lake.json"}

    for attempt in range(1, 200):
        lake = prepared(tmp_path / str(attempt))
        build_view(lake, b"the view of two days")
        old = {name: sha256 for name, sha256 in saved(lake).items() if name != "_state/lake.json"}
        calls = 0

        def kill(event: str, arguments: tuple[object, ...], *, limit: int = attempt, root: Path = lake.root) -> None:
            nonlocal calls
            if event in ("open", "os.remove", "os.rename", "shutil.rmtree") and str(root) in str(arguments[0]):
                calls += 1
                if calls == limit:
                    os.kill(os.getpid(), signal.SIGKILL)

        outcome = run_in_child(lambda lake=lake: restore(lake, store, FIRST), kill)  # type: ignore[misc]
        with writing(lake, "cvas_load", RunLog()) as opened:
            opened.publish(None)
        left = {name: sha256 for name, sha256 in saved(lake).items() if name != "_state/lake.json"}
        assert left in (old, new)
        if outcome is None:
            assert left == new
            assert attempt > 15
            return
        assert outcome == signal.SIGKILL
    pytest.fail("The restore never got through.")


# --- old months -----------------------------------------------------------------------------------------------------


@pytest.fixture
def years(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    months = ("2024-09", "2024-10", "2024-11", "2025-11")
    fill_lake(lake, {ACT: [act(trans_date=f"{month}-05 10:00:00") for month in months]})
    write_legacy(lake, RENO, "2024-09", [reno(trans_date="2024-09-01 10:00:00")], name="a.parquet")
    write_legacy(lake, RENO, "2024-09", [reno(trans_date="2024-09-02 10:00:00")], name="b.parquet")
    write_legacy(lake, CNR, UNDATED, [cnr(cancel_date=None)], name="part-0.parquet")
    return lake


def archive(lake: Lake, store: FolderStore, *, months: int = 12) -> StepResult:
    return archive_months(store, lake, day=DAY, now=NIGHT, settings=Settings(archive_after_months=months))


def object_of(path: Path) -> str:
    kind, month = path.parts[-3], path.parts[-2].removeprefix("year_month=")
    return f"{kind}_{month}_{sha256_of(path)[:16]}.parquet"


def test_old_months_are_copied_once_and_stay_in_the_lake(years: Lake, store: FolderStore) -> None:
    """R53 i, R68: opt-in; without them a full rebuild of the view would lose history."""
    before = lake_hashes(years)
    files = [
        partition_path(years, ACT, "2024-09"),
        partition_path(years, ACT, "2024-10"),
        partition_path(years, RENO, "2024-09").with_name("a.parquet"),
        partition_path(years, RENO, "2024-09").with_name("b.parquet"),
    ]
    result = archive(years, store)
    assert result.facts == {"copied": sorted(map(object_of, files)), "deleted": []}
    assert {name: sha256_of(store.folder / name) for name in store.names()} == {
        object_of(file): sha256_of(file) for file in files
    }
    assert result.bytes == sum(file.stat().st_size for file in files)
    assert lake_hashes(years) == before
    assert archive(years, store).facts == {"copied": [], "deleted": []}


def test_a_month_that_changed_replaces_its_copy(years: Lake, store: FolderStore) -> None:
    archive(years, store)
    old = object_of(partition_path(years, ACT, "2024-09"))
    kept = [name for name in store.names() if name != old]
    fill_lake(years, {ACT: [act(trans_date="2024-09-06 10:00:00")]})
    new = object_of(partition_path(years, ACT, "2024-09"))
    assert archive(years, store).facts == {"copied": [new], "deleted": [old]}
    assert store.names() == sorted([*kept, new])


def test_nothing_is_copied_unless_it_is_asked_for(years: Lake, store: FolderStore) -> None:
    assert archive(years, store, months=0).facts == {"copied": [], "deleted": []}
    assert store.names() == []


def test_backups_and_copies_of_months_live_side_by_side(lake: Lake, store: FolderStore) -> None:
    fill_lake(lake, {ACT: [act(trans_date="2024-09-05 10:00:00")]})
    archive(lake, store)
    store_backup(lake, store, keep=1)
    store_backup(lake, store, LATER, keep=1)
    archive(lake, store)
    assert store.names() == [
        object_of(partition_path(lake, ACT, "2024-09")),
        "cvas_backup_20251111_103000.zip",
    ]
