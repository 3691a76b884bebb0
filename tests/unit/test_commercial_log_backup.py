"""Backup and restore of the booked-business database with a mounted folder as the other place (R49, R50)."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from include.commercial_log import backup
from include.commercial_log.backup import back_up_database, list_backups, restore_database, verify_backup
from include.commercial_log.config import ZONE, DataRoot, Settings
from include.commercial_log.database import open_database
from include.common import locks
from include.common.files import sha256_of
from include.common.journal import read_journal
from include.common.objectstores import FolderStore
from include.common.sql import transaction
from include.errors import AlreadyRunning, CheckFailed, ContractViolation, SourceMissing, StoreBusy, StoreFull
from sandbox.servers.faults import small_disk
from tests.unit.forked import run_in_child

DAY = date(2025, 9, 2)
NIGHT = datetime(2025, 9, 2, 2, 5, tzinfo=ZONE)
LATER = datetime(2025, 9, 2, 10, 30, tzinfo=ZONE)
FIRST = "database_backup_20250902_020500.db"


@pytest.fixture
def data(tmp_path: Path) -> DataRoot:
    data = DataRoot(tmp_path / "data")
    data.root.mkdir()
    return data


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    folder = tmp_path / "cloud" / "backups"
    folder.mkdir(parents=True)
    return FolderStore(folder)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A booked-business database of 500 spots that nobody has open."""
    path = tmp_path / "live data" / "production.db"
    with closing(open_database(path, create=True)) as db, transaction(db):
        add_spots(db, 500)
    return path


def add_spots(db: sqlite3.Connection, count: int, *, bill_code: str = "North Media:Blue Farms") -> None:
    db.executemany(
        "INSERT INTO spots (bill_code, air_date, broadcast_month, gross_rate, load_date) VALUES (?, ?, ?, ?, ?)",
        [(bill_code, "2025-08-28", "Sep-25", n + 0.25, "2025-09-02 08:30:00") for n in range(count)],
    )


def change(path: Path) -> None:
    """What a night of bookings and a day of people do to the database."""
    with closing(open_database(path)) as db, transaction(db):
        db.execute("DELETE FROM spots WHERE spot_id <= 100")
        add_spots(db, 700, bill_code="Red Farms")


def dump(path: Path) -> list[str]:
    """The whole content of a database, as SQL."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as db:
        return list(db.iterdump())


def spots(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM spots").fetchone()[0])


def back_up(database: Path, store: FolderStore, data: DataRoot, now: datetime = NIGHT, keep: int = 7) -> str:
    result = back_up_database(database, store, data, day=DAY, now=now, settings=Settings(keep_backups=keep))
    return str(result.facts["backup"])


def restore(database: Path, store: FolderStore, data: DataRoot, name: str | None = None) -> dict[str, object]:
    return restore_database(database, store, data, confirm=True, name=name, now=LATER, day=DAY).as_dict()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kept(database: Path) -> Path:
    return database.with_name("production.db.before-restore-20250902_103000")


def fill(store: FolderStore, *names: str) -> None:
    for name in names:
        source = store.folder.parent / "source"
        source.write_text(name)
        store.put(source, name)


# --- backup ---------------------------------------------------------------------------------------------------------


def test_a_backup_is_one_file_with_all_the_database_holds_named_by_local_time(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R49."""
    now = datetime(2025, 9, 2, 9, 5, 0, tzinfo=UTC)
    result = back_up_database(database, store, data, day=DAY, now=now, settings=Settings())
    stored = store.folder / FIRST
    assert files(store.folder) == [FIRST, f"{FIRST}.sha256"]
    assert (store.folder / f"{FIRST}.sha256").read_text() == f"{sha256_of(stored)}  {FIRST}\n"
    assert stored.read_bytes()[18:20] == b"\x01\x01"  # no write-ahead log belongs to it
    assert dump(stored) == dump(database)
    assert (result.where, result.written, result.bytes) == (str(stored), 1, stored.stat().st_size)
    assert (result.facts["kept"], result.facts["deleted"]) == ([FIRST], [])
    line = read_journal(data.logs, "commercial_log_backup")[0]
    assert (line.state, line.day) == ("SUCCESS", "2025-09-02")
    assert line.detail == f"backup: {FIRST} | bytes: {stored.stat().st_size}"


def test_nothing_of_the_snapshot_stays_on_the_disk(database: Path, store: FolderStore, data: DataRoot) -> None:
    """R50; neither does what a killed run left behind."""
    leftover = data.root / "snapshot"
    leftover.mkdir()
    (leftover / f"{FIRST}-wal").write_bytes(b"log of a killed run")
    before = files(database.parent)
    back_up(database, store, data)
    assert files(data.root) == ["locks", "logs"]
    assert files(database.parent) == before


def test_what_is_only_in_the_write_ahead_log_is_backed_up_and_what_is_not_committed_is_not(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R49: nobody has to stop for a backup."""
    with closing(open_database(database)) as writer, closing(open_database(database, read_only=True)) as reader:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        with transaction(writer):
            add_spots(writer, 11)
        assert spots(reader) == 511
        with transaction(writer):
            add_spots(writer, 300)
            name = back_up(database, store, data)
            add_spots(writer, 300)
        assert spots(reader) == 1111
    with closing(sqlite3.connect(store.folder / name)) as stored:
        assert spots(stored) == 511


def test_a_backup_taken_while_transactions_are_committed_is_one_state_between_two_of_them(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R49: every transaction keeps the sum of all rates at zero and touches the first and the last page."""
    with closing(open_database(database)) as db, transaction(db):
        add_spots(db, 20_000)
        db.execute("UPDATE spots SET gross_rate = 0")
    stop = threading.Event()
    commits = 0

    def write() -> None:
        nonlocal commits
        with closing(open_database(database)) as db:
            while not stop.is_set():
                with transaction(db):
                    db.execute("UPDATE spots SET gross_rate = gross_rate + 1 WHERE spot_id = 1")
                    db.execute("UPDATE spots SET gross_rate = gross_rate - 1 WHERE spot_id = 20000")
                commits += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = []
        for second in range(5):
            name = back_up(database, store, data, NIGHT + timedelta(seconds=second))
            with closing(sqlite3.connect(store.folder / name)) as stored:
                found.append(stored.execute("SELECT sum(gross_rate), count(*), max(gross_rate) FROM spots").fetchone())
    finally:
        stop.set()
        writer.join()
    assert [(total, rows) for total, rows, _ in found] == [(0.0, 20_500)] * 5
    rates = [rate for *_, rate in found]
    assert rates == sorted(rates)
    assert 0 < rates[-1] <= commits


def test_the_newest_backups_are_kept_and_older_ones_deleted(database: Path, store: FolderStore, data: DataRoot) -> None:
    """R50; whatever else lies in that place stays."""
    nights = [f"database_backup_202508{day}_020500.db" for day in (25, 26, 27, 28, 29, 30, 31)]
    fill(store, "database_backup_20250824_020500.db", *nights, "database_backup_old.db", "notes.txt")
    result = back_up_database(database, store, data, day=DAY, now=NIGHT, settings=Settings())
    assert list_backups(store) == [FIRST, *reversed(nights[1:])]
    assert result.facts["deleted"] == [nights[0], "database_backup_20250824_020500.db"]
    assert store.names() == [*nights[1:], FIRST, "database_backup_old.db", "notes.txt"]


def test_the_backup_just_made_is_never_deleted(database: Path, store: FolderStore, data: DataRoot) -> None:
    """Not even when names of a clock that ran ahead are newer."""
    fill(store, "database_backup_20300101_000000.db")
    name = back_up(database, store, data, keep=0)
    assert list_backups(store) == ["database_backup_20300101_000000.db", name]


def test_a_second_run_of_the_same_day_makes_another_backup(database: Path, store: FolderStore, data: DataRoot) -> None:
    back_up(database, store, data)
    change(database)
    second = back_up(database, store, data, LATER)
    assert list_backups(store) == ["database_backup_20250902_103000.db", FIRST]
    assert dump(store.folder / second) == dump(database) != dump(store.folder / FIRST)


def test_a_second_backup_at_the_same_time_is_refused(database: Path, store: FolderStore, data: DataRoot) -> None:
    """R51."""
    with locks.hold(data.backup_lock, "commercial_log_backup"), pytest.raises(AlreadyRunning):
        back_up(database, store, data)
    assert store.names() == []


def test_a_running_update_does_not_stop_the_backup(database: Path, store: FolderStore, data: DataRoot) -> None:
    with locks.hold(data.database_lock, "commercial_log_update"):
        back_up(database, store, data)
    assert list_backups(store) == [FIRST]


def damage(database: Path) -> None:
    """Overwrite an inner page of the table of spots, as a failing disk does."""
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'spots'").fetchone()[0]
    with database.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))


def test_a_damaged_database_is_not_stored_and_no_older_backup_is_deleted(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R50: otherwise a week of unnoticed damage would delete the last good backup."""
    fill(store, "database_backup_20250831_020500.db", "database_backup_20250901_020500.db")
    before = store.names()
    damage(database)
    with pytest.raises(CheckFailed, match=r"The snapshot of .*production\.db is not a sound booked-business database"):
        back_up(database, store, data, keep=1)
    assert store.names() == before
    assert files(data.root) == ["locks", "logs"]


def test_a_missing_database_is_named_and_nothing_is_stored(store: FolderStore, data: DataRoot, tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"no booked-business database at .*other\.db"):
        back_up(tmp_path / "other.db", store, data)
    assert not (tmp_path / "other.db").exists()
    assert store.names() == []


def test_another_database_is_refused(store: FolderStore, data: DataRoot, tmp_path: Path) -> None:
    """An empty skeleton must never push out the real backups."""
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE spots (id)")
    with pytest.raises(ContractViolation, match="lacks the tables"):
        back_up(tmp_path / "other.db", store, data)
    assert store.names() == []


def test_a_folder_that_is_not_mounted_is_named_and_not_made(database: Path, data: DataRoot, tmp_path: Path) -> None:
    """Otherwise backups would fill the local disk."""
    with pytest.raises(SourceMissing, match=r"The backup folder .*gone is not there\. Next step: Mount it"):
        back_up(database, FolderStore(tmp_path / "gone"), data)
    assert not (tmp_path / "gone").exists()
    assert files(data.root) == ["locks", "logs"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "tiny disk", 64 * 1024) as path:
        if path is None:
            pytest.skip("Mounting a small disk takes root.")
        yield path


def test_no_space_for_the_snapshot_fails_and_leaves_nothing(
    database: Path, store: FolderStore, tiny_disk: Path
) -> None:
    data = DataRoot(tiny_disk)
    with pytest.raises(
        StoreFull, match=r"No space left for the database .*production\.db \(.*\); nothing was changed\."
    ):
        back_up(database, store, data)
    assert not (tiny_disk / "snapshot").exists()
    assert store.names() == []


def test_no_space_in_the_backup_folder_fails_and_shows_nothing(database: Path, data: DataRoot, tiny_disk: Path) -> None:
    store = FolderStore(tiny_disk)
    fill_source = store.folder.parent / "small"
    fill_source.write_text("x")
    store.put(fill_source, "database_backup_20250901_020500.db")
    with pytest.raises(StoreFull, match=r"No space left for database_backup_20250902_020500\.db"):
        back_up(database, store, data, keep=1)
    assert files(tiny_disk) == ["database_backup_20250901_020500.db", "database_backup_20250901_020500.db.sha256"]


def test_a_copy_that_arrives_damaged_is_not_shown_and_no_older_backup_is_deleted(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R50: the disk at the other end changes the copy before it is compared."""
    fill(store, "database_backup_20250831_020500.db", "database_backup_20250901_020500.db")
    before = files(store.folder)
    damages = [b"!", b""]  # the first time it is read back it is only written through to the disk

    def spoil(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(f"{FIRST}.tmp") and arguments[1] == "r" and damages:
            damage = damages.pop()
            with open(str(arguments[0]), "ab") as copy:  # noqa: PTH123
                copy.write(damage)

    error = run_in_child(lambda: back_up(database, store, data, keep=1), spoil)
    assert isinstance(error, CheckFailed)
    assert f"{FIRST}: what arrived is not what was sent" in error.what
    assert files(store.folder) == before
    assert files(data.root) == ["locks", "logs"]


# --- verify ---------------------------------------------------------------------------------------------------------


def test_the_newest_backup_is_verified_and_nothing_changes(database: Path, store: FolderStore, data: DataRoot) -> None:
    back_up(database, store, data)
    size = (store.folder / FIRST).stat().st_size
    result = verify_backup(store, data, day=DAY)
    assert (result.where, result.bytes, result.written) == (str(store.folder / FIRST), size, 0)
    assert (result.facts["backup"], result.facts["backups"]) == (FIRST, [FIRST])
    assert files(store.folder) == [FIRST, f"{FIRST}.sha256"]
    assert files(data.root) == ["locks", "logs"]


def test_a_named_backup_is_verified_and_all_of_them_are_listed(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """Section 7: what there is has to be known before the emergency."""
    back_up(database, store, data)
    second = back_up(database, store, data, LATER)
    result = verify_backup(store, data, name=FIRST, day=DAY)
    assert (result.facts["backup"], result.facts["backups"]) == (FIRST, [second, FIRST])


def test_a_backup_changed_in_its_place_fails_the_verification(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    back_up(database, store, data)
    with (store.folder / FIRST).open("r+b") as stored:
        stored.seek(5000)
        stored.write(b"!")
    with pytest.raises(CheckFailed, match=f"{FIRST}: what arrived is not what was sent"):
        verify_backup(store, data, name=FIRST, day=DAY)


def test_a_backup_without_its_hash_is_refused_with_the_command_that_adds_it(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    back_up(database, store, data)
    (store.folder / f"{FIRST}.sha256").unlink()
    with pytest.raises(CheckFailed, match=f"If you trust it, add the hash: sha256sum '{FIRST}' > '{FIRST}.sha256'"):
        verify_backup(store, data, day=DAY)


def test_a_stored_file_that_is_no_database_fails_the_verification(store: FolderStore, data: DataRoot) -> None:
    fill(store, FIRST)
    with pytest.raises(CheckFailed, match=f"The backup {FIRST} is not a sound booked-business database"):
        verify_backup(store, data, day=DAY)


def test_the_nightly_backup_does_not_wait_for_a_verification(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R49: a night without backup would be the price of looking after one."""
    back_up(database, store, data)
    with locks.hold(data.backup_lock, "commercial_log_backup"):
        verify_backup(store, data, day=DAY)
    with locks.hold(data.backup_lock.with_name("backup_verify"), "commercial_log_backup_verify"):
        second = back_up(database, store, data, LATER)
        with pytest.raises(AlreadyRunning):
            verify_backup(store, data, day=DAY)
    assert list_backups(store) == [second, FIRST]


# --- restore --------------------------------------------------------------------------------------------------------


def test_the_newest_backup_comes_back_exactly_and_what_it_replaced_is_kept(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R50."""
    back_up(database, store, data, NIGHT - timedelta(days=1))
    change(database)
    back_up(database, store, data)
    saved = dump(database)
    change(database)
    lost = dump(database)
    result = restore(database, store, data)
    assert dump(database) == saved
    assert dump(kept(database)) == lost
    assert files(database.parent) == ["production.db", kept(database).name]
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert (result["where"], result["written"], result["warnings"]) == (str(database), 1, [])
    assert result["facts"]["backup"] == FIRST  # type: ignore[index]
    assert result["facts"]["before"] == kept(database).name  # type: ignore[index]
    assert read_journal(data.logs, "commercial_log_restore")[0].state == "SUCCESS"


def test_a_named_backup_comes_back(database: Path, store: FolderStore, data: DataRoot) -> None:
    first = back_up(database, store, data)
    saved = dump(database)
    change(database)
    back_up(database, store, data, LATER)
    restore(database, store, data, first)
    assert dump(database) == saved


def test_a_restore_is_undone_by_the_name_of_what_it_kept_and_the_undoing_too(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    back_up(database, store, data)
    saved = dump(database)
    change(database)
    lost = dump(database)
    before: str | None = None
    for minute, expected in enumerate((saved, lost, saved)):
        now = LATER + timedelta(minutes=minute)
        result = restore_database(database, store, data, confirm=True, name=before, now=now, day=DAY)
        before = str(result.facts["before"])
        assert dump(database) == expected
        assert files(database.parent) == ["production.db", f"production.db.before-restore-20250902_103{minute}00"]


def test_restoring_twice_gives_the_same_database_and_keeps_the_one_before_the_first(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R50: the second time is what a retry after a kill does; nothing but that copy can undo the restore."""
    back_up(database, store, data)
    saved = dump(database)
    change(database)
    lost = dump(database)
    restore(database, store, data)
    result = restore(database, store, data)
    assert dump(database) == saved
    assert dump(kept(database)) == lost
    assert files(database.parent) == ["production.db", kept(database).name]
    assert result["facts"]["before"] == kept(database).name  # type: ignore[index]


def close_month(path: Path, month: str, closed_by: str) -> None:
    with closing(open_database(path)) as db:
        query = "INSERT INTO month_closures (broadcast_month, closed_date, closed_by) VALUES (?, '2025-09-02', ?)"
        db.execute(query, (month, closed_by))


def decide(path: Path, *spots: int, language_code: str = "V", at: str = "10:00:00") -> None:
    """A person decides the language of spots."""
    with closing(open_database(path)) as db, transaction(db):
        db.executemany(
            "INSERT OR REPLACE INTO spot_language_assignments"
            " (spot_id, language_code, language_status, confidence, assignment_method, assigned_date, notes)"
            " VALUES (?, ?, 'determined', 1.0, 'manual_override', '2025-09-02 ' || ?, 'ann: heard it')",
            [(spot, language_code, at) for spot in spots],
        )


def test_a_restore_names_the_closings_and_counts_the_decisions_that_the_backup_lacks(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R17, R36, R41: the next import would replace what finance has reported, and decide the languages itself."""
    close_month(database, "Jul-25", "finance")
    decide(database, 101, 102, 103)
    back_up(database, store, data)
    close_month(database, "Sep-25", "bob")
    close_month(database, "Aug-25", "finance")
    decide(database, 102, language_code="T", at="11:00:00")
    decide(database, 104, 105, at="11:30:00")
    with closing(open_database(database)) as db:
        # What a load does when only the notes of a decided row changed: the decision is the same one.
        db.execute("UPDATE spot_language_assignments SET spot_id = 200 WHERE spot_id = 103")
    result = restore(database, store, data)
    assert result["warnings"] == [
        f"{FIRST} does not know of months closed since; close again before the next import: Aug-25, closed by finance; "
        "Sep-25, closed by bob.",
        f"{FIRST} lacks 3 language decisions of people; decide again where needed: {kept(database).name} has them.",
    ]


def test_undoing_a_restore_brings_closings_and_decisions_back(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R36, R41."""
    back_up(database, store, data)
    close_month(database, "Aug-25", "finance")
    decide(database, 1)
    restore(database, store, data)
    assert restore(database, store, data, kept(database).name)["warnings"] == []


def test_a_restore_tried_again_after_a_kill_still_names_what_the_backup_lacks(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R36, R50: the database it finds is the restored one already."""
    back_up(database, store, data)
    close_month(database, "Aug-25", "finance")
    warnings = restore(database, store, data)["warnings"]
    assert restore(database, store, data)["warnings"] == warnings != []


def test_a_database_that_cannot_be_read_leaves_the_question_what_was_closed(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R36: nobody but whoever closes months knows."""
    back_up(database, store, data)
    close_month(database, "Aug-25", "finance")
    write_a_web_page_over(database)
    assert restore(database, store, data)["warnings"] == [
        f"{database} cannot be overwritten (file is not a database): the backup was put in its place as a new file.",
        f"What was there before cannot be read: ask who closed months since {FIRST} was made and close them again "
        "before the next import; language decisions since then are lost.",
    ]


def test_what_an_earlier_restore_kept_is_not_taken_for_a_database_that_is_gone(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R36: it does not know either what was closed in the meantime."""
    back_up(database, store, data)
    restore(database, store, data)
    close_month(database, "Aug-25", "finance")
    database.unlink()
    warnings = restore(database, store, data)["warnings"]
    assert warnings[1].startswith("What was there before cannot be read: ask who closed months")  # type: ignore[index]
    assert kept(database).exists()


def test_a_backup_from_before_a_migration_comes_back_and_is_brought_up_to_date(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R50: the backups of the week before an upgrade are backups."""
    with closing(open_database(database)) as db:
        db.execute("DROP TABLE month_closure_totals")
        db.execute("DELETE FROM schema_migrations WHERE name = '0005_create_month_closure_totals'")
    back_up(database, store, data)
    verify_backup(store, data, day=DAY)
    restore(database, store, data)
    with closing(open_database(database)) as db:
        assert spots(db) == 500


def test_the_connected_web_application_sees_all_of_the_old_and_then_all_of_the_new_database(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R33, R50: no connection has to be closed, and none goes on with a file that is gone."""
    back_up(database, store, data)
    change(database)
    with closing(open_database(database)) as idle, closing(open_database(database, read_only=True)) as reading:
        assert spots(idle) == 1100
        reading.execute("BEGIN")
        assert spots(reading) == 1100
        restore(database, store, data)
        assert spots(reading) == 1100
        reading.execute("COMMIT")
        assert (spots(reading), spots(idle)) == (500, 500)
        with transaction(idle):
            add_spots(idle, 1)
        assert spots(reading) == 501
    assert len(dump(database)) > 501


@pytest.mark.parametrize(
    ("lock", "job"),
    [
        ("database_lock", "commercial_log_update"),
        ("backup_lock", "commercial_log_backup"),
    ],
)
def test_no_restore_while_a_job_is_at_work(
    database: Path, store: FolderStore, data: DataRoot, lock: str, job: str
) -> None:
    """R50, R51."""
    back_up(database, store, data)
    change(database)
    before = dump(database)
    with (
        locks.hold(getattr(data, lock), job),
        pytest.raises(StoreBusy, match=f"commercial_log_restore has to wait: {job}"),
    ):
        restore(database, store, data)
    assert dump(database) == before
    assert files(database.parent) == ["production.db"]


def test_an_import_of_the_night_and_a_restore_do_not_stop_each_other(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R51: the restore touches no dated file, and the import at 01:00 does not wait for a download."""
    back_up(database, store, data)
    saved = dump(database)
    change(database)
    with locks.hold(data.files_lock, "commercial_log_import"):
        restore(database, store, data)
    assert dump(database) == saved


def test_no_restore_while_another_program_writes(
    database: Path, store: FolderStore, data: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(database, store, data)
    change(database)
    before = dump(database)
    monkeypatch.setattr(backup, "PATIENCE", 0.1)
    with (
        closing(open_database(database)) as writer,
        transaction(writer, commit=False),
        pytest.raises(StoreBusy, match="Another program keeps writing to the database; it was left as it is"),
    ):
        restore(database, store, data)
    assert dump(database) == before
    assert files(database.parent) == ["production.db"]


def test_a_backup_that_is_not_there_is_refused_with_the_names_that_are(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    with pytest.raises(SourceMissing, match=r"There is no backup in .*Choose one of: none"):
        restore(database, store, data)
    back_up(database, store, data)
    with pytest.raises(SourceMissing, match=f"There is no backup other in .*Choose one of: {FIRST}"):
        restore(database, store, data, "other")


def test_a_damaged_backup_leaves_the_database_as_it_is(database: Path, store: FolderStore, data: DataRoot) -> None:
    """R50: stored as it is, hash and all, but damaged before."""
    broken = database.with_name("broken.db")
    shutil.copyfile(database, broken)
    damage(broken)
    store.put(broken, FIRST)
    broken.unlink()
    before = dump(database)
    with pytest.raises(CheckFailed, match="Next step: Restore a backup that is"):
        restore(database, store, data)
    assert dump(database) == before
    assert files(database.parent) == ["production.db"]


def remove(database: Path) -> None:
    database.unlink()


def remove_all_but_the_log(database: Path) -> None:
    with closing(open_database(database)) as db:
        with transaction(db):
            add_spots(db, 3)
        shutil.copyfile(f"{database}-wal", database.with_name("log"))
    database.unlink()
    database.with_name("log").replace(f"{database}-wal")


def write_a_web_page_over(database: Path) -> None:
    database.write_bytes(b"<html>quota exceeded</html>" * 400)


def truncate(database: Path) -> None:
    os.truncate(database, 8192)


def make_empty(database: Path) -> None:
    os.truncate(database, 0)


def use_other_pages(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA page_size = 8192")
        db.execute("VACUUM")
        db.execute("PRAGMA journal_mode = WAL")


@pytest.mark.parametrize(
    "disaster",
    [remove, remove_all_but_the_log, write_a_web_page_over, truncate, make_empty, damage, use_other_pages],
)
def test_whatever_happened_to_the_database_the_backup_comes_back(
    database: Path, store: FolderStore, data: DataRoot, disaster: Callable[[Path], None]
) -> None:
    """R50: a log left behind is not taken for that of the restored file."""
    back_up(database, store, data)
    saved = dump(database)
    database.chmod(0o660)
    disaster(database)
    there_was_one = database.exists()
    restore(database, store, data)
    assert dump(database) == saved
    with closing(open_database(database)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert kept(database).exists() == there_was_one
    if there_was_one:
        assert database.stat().st_mode & 0o777 == 0o660
    assert not database.with_name(f"{database.name}-wal").exists()


HOLD_OPEN = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("SELECT count(*) FROM spots").fetchone()
print("open", flush=True)
sys.stdin.read()
db.close()
"""


@pytest.mark.parametrize("disaster", [write_a_web_page_over, remove])
def test_a_ruined_database_that_a_program_still_has_open_is_not_replaced_under_it(
    database: Path, store: FolderStore, data: DataRoot, disaster: Callable[[Path], None]
) -> None:
    """When that program ends it would take away the log of the new database, which has the same name."""
    back_up(database, store, data)
    saved = dump(database)
    program = subprocess.Popen(
        [sys.executable, "-c", HOLD_OPEN, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout
        assert program.stdout.readline() == "open\n"
        disaster(database)
        with pytest.raises(StoreBusy, match=r"still open in another program.*Stop the web application"):
            restore(database, store, data)
        program.communicate()
    restore(database, store, data)
    assert dump(database) == saved


def fill_up(disk: Path, *, free: int) -> Path:
    filler = disk / "filler"
    with filler.open("wb") as file:
        left = shutil.disk_usage(disk).free - free
        while left > 0:
            left -= file.write(bytes(min(left, 1 << 16)))
    return filler


def test_a_restore_that_lacks_space_wherever_it_stands_leaves_the_database_as_it_is(
    tmp_path: Path, database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R50, section 6: without space SQLite speaks of errors of the disk, which say nothing about the database."""
    back_up(database, store, data)
    saved = dump(database)
    change(database)
    before = dump(database)
    told = set()
    for free in range(0, 1 << 22, 24 * 1024):
        with small_disk(tmp_path / f"disk {free}", 1 << 23) as disk:
            if disk is None:
                pytest.skip("Mounting a small disk takes root.")
            here = disk / "production.db"
            shutil.copyfile(database, here)
            filler = fill_up(disk, free=free)
            try:
                restore(here, store, data)
            except StoreFull as full:
                told.add(full.what.replace(str(disk), ""))
                filler.unlink()
                assert dump(here) == before
                assert files(disk) == ["production.db"]
                continue
            filler.unlink()
            assert dump(here) == saved
            break
    assert told == {
        "No space left for production.db in /.production.db.restore; nothing was changed.",
        "No space left for the database /production.db (disk I/O error); nothing was changed.",
        "No space left for the database /production.db (database or disk is full); nothing was changed.",
    }


def test_a_database_is_replaced_by_no_new_file_for_an_error_that_says_nothing_about_it(
    database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R50: here SQLite cannot open the log, as something else bears its name."""
    back_up(database, store, data)
    change(database)
    before = database.read_bytes()
    log = database.with_name(f"{database.name}-wal")
    log.mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        restore(database, store, data)
    log.rmdir()
    assert database.read_bytes() == before
    assert kept(database).exists() is False


def test_a_backup_put_in_place_without_space_to_go_on_is_said_to_be_there_with_all_it_lacks(
    tmp_path: Path, database: Path, store: FolderStore, data: DataRoot
) -> None:
    """R36, R50: whoever reads that nothing was changed would import over closed months."""
    back_up(database, store, data)
    saved = dump(database)
    size = (store.folder / FIRST).stat().st_size
    with small_disk(tmp_path / "disk", 1 << 22) as disk:
        if disk is None:
            pytest.skip("Mounting a small disk takes root.")
        here = disk / "production.db"
        write_a_web_page_over(here)
        filler = fill_up(disk, free=size + 16 * 1024)
        with pytest.raises(StoreFull) as full:
            restore(here, store, data)
        assert full.value.what == f"{here} is {FIRST} now, but could not be brought up to date: no space is left."
        assert full.value.next_step == "Look into that, then restore it again, which only does what is left."
        [notes] = full.value.__notes__
        assert f"WARNING {here} cannot be overwritten (file is not a database)" in notes
        assert "WARNING What was there before cannot be read: ask who closed months since" in notes
        filler.unlink()
        assert dump(here) == saved
        restore(here, store, data)
        assert dump(here) == saved


def test_a_mistyped_database_folder_is_not_made(store: FolderStore, data: DataRoot, tmp_path: Path) -> None:
    fill(store, FIRST)
    with pytest.raises(SourceMissing, match=r"There is no folder .*typo\. Next step: Correct the path"):
        restore(tmp_path / "typo" / "production.db", store, data)
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("disaster", [None, write_a_web_page_over])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_database_and_the_next_restore_works(
    tmp_path: Path, store: FolderStore, data: DataRoot, disaster: Callable[[Path], None] | None
) -> None:
    """R50: killed before every single call that opens a file or a database, renames or removes something. Whatever the
    first try did, after the second one the database that was there before the first is still there."""
    original = tmp_path / "original.db"
    with closing(open_database(original, create=True)) as db, transaction(db):
        add_spots(db, 20)
    back_up(original, store, data)
    saved = dump(original)
    change(original)
    if disaster:
        disaster(original)
    ruined = original.read_bytes()

    for attempt in range(1, 200):
        folder = tmp_path / str(attempt)
        data, database = DataRoot(folder / "data"), folder / "live" / "production.db"
        for needed in (data.root, database.parent):
            needed.mkdir(parents=True)
        shutil.copyfile(original, database)

        calls = 0

        def kill(event: str, arguments: tuple[object, ...], *, limit: int = attempt, root: Path = folder) -> None:
            nonlocal calls
            watched = ("open", "os.remove", "os.rename", "os.chmod", "sqlite3.connect", "shutil.rmtree")
            if event in watched and str(root) in str(arguments[0]):
                calls += 1
                if calls == limit:
                    os.kill(os.getpid(), signal.SIGKILL)

        outcome = run_in_child(lambda data=data, path=database: restore(path, store, data), kill)  # type: ignore[misc]
        holders = [path for path in (database, kept(database)) if path.exists()]
        if disaster:
            assert ruined in [path.read_bytes() for path in holders]
        else:
            assert dump(original) in [dump(path) for path in holders]
            assert dump(database) in (saved, dump(original))
        restore(database, store, data)
        assert dump(database) == saved
        remaining = [path for path in database.parent.iterdir() if path.name.startswith(kept(database).name)]
        if disaster:
            assert ruined in [path.read_bytes() for path in remaining]
        else:
            assert dump(original) in [dump(path) for path in remaining]
        if outcome is None:
            assert attempt > 15
            return
        assert outcome == signal.SIGKILL
    pytest.fail("The restore never got through.")
