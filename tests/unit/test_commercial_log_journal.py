"""A run that fails before it has begun is a failed run all the same (R16, R52)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from include.commercial_log.backup import back_up_database, restore_database, verify_backup
from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.database import open_database
from include.commercial_log.extract import copy_workbook
from include.commercial_log.load import load_bookings
from include.commercial_log.months import close_months
from include.commercial_log.review import export_review_queue, recategorise_all, set_language
from include.commercial_log.rotation import rotate_files
from include.commercial_log.status import clean_up_batches
from include.common.journal import read_journal
from include.common.objectstores import FolderStore
from include.common.settings import read_settings
from include.common.shares import LocalShare
from include.errors import ContractViolation, SourceMissing
from tests.unit.commercial_log_helpers import DAY, NOW, Station

Database = AbstractContextManager[sqlite3.Connection]


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(path)) as db:
        yield db


def load(db: Database, data: DataRoot) -> None:
    load_bookings(db, data, day=DAY, now=NOW, settings=Settings())


def close(db: Database, data: DataRoot) -> None:
    close_months(db, data, ["Aug-25"], closed_by="ann", today=DAY)


def export(db: Database, data: DataRoot) -> None:
    export_review_queue(db, data, day=DAY)


def decide(db: Database, data: DataRoot) -> None:
    set_language(db, data, spot_ids=[1], language_code="V", decided_by="ann", note="heard it", now=NOW, day=DAY)


def recategorise(db: Database, data: DataRoot) -> None:
    recategorise_all(db, data, confirm=True, now=NOW, day=DAY)


def clean_up(db: Database, data: DataRoot) -> None:
    clean_up_batches(db, data, now=NOW)


@pytest.mark.parametrize(
    ("step", "job"),
    [
        (load, "commercial_log_update"),
        (close, "commercial_log_month_close"),
        (export, "commercial_log_review_export"),
        (decide, "commercial_log_set_language"),
        (recategorise, "commercial_log_recategorise"),
        (clean_up, "commercial_log_clean_up"),
    ],
)
def test_a_database_that_cannot_be_opened_is_a_failure_in_the_journal_of_the_run(
    station: Station, step: Callable[[Database, DataRoot], None], job: str
) -> None:
    """R16, R52: what operators search for is there, and the status report says what went wrong."""
    missing = station.path.with_name("gone.db")
    with pytest.raises(SourceMissing):
        step(opened(missing), station.data)
    foreign = station.path.with_name("foreign.db")
    foreign.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(ContractViolation):
        step(opened(foreign), station.data)
    assert [(line.state, line.detail) for line in read_journal(station.data.logs, job)] == [
        ("FAILED", f"ERROR The file {foreign} is not an SQLite database."),
        ("FAILED", f"ERROR There is no booked-business database at {missing}."),
    ]


def test_what_fails_before_a_step_can_be_called_is_a_failure_in_its_journal(station: Station) -> None:
    """R16, R52: bad settings, for one."""
    with pytest.raises(ContractViolation), station.data.preparing("commercial_log_update", DAY):
        read_settings(Settings, '{"keep_day": 7}', system="commercial_log")
    [line] = read_journal(station.data.logs, "commercial_log_update")
    assert (line.state, line.day) == ("FAILED", "2025-09-02")
    assert "keep_day" in line.detail


@contextmanager
def no_share() -> Iterator[LocalShare]:
    yield LocalShare("none", Path("none"))


STEPS: dict[str, Callable[[Station, FolderStore], object]] = {
    "import": lambda at, _: copy_workbook(no_share(), at.data, day=DAY, today=DAY, settings=Settings()),
    "update": lambda at, _: load(opened(at.path), at.data),
    "rotation": lambda at, _: rotate_files(at.data, day=DAY, today=DAY, settings=Settings()),
    "backup": lambda at, to: back_up_database(at.path, to, at.data, day=DAY, now=NOW, settings=Settings()),
    "verify": lambda at, to: verify_backup(to, at.data, day=DAY),
    "restore": lambda at, to: restore_database(at.path, to, at.data, confirm=True, now=NOW, day=DAY),
    "close": lambda at, _: close(opened(at.path), at.data),
    "export": lambda at, _: export(opened(at.path), at.data),
    "decide": lambda at, _: decide(opened(at.path), at.data),
    "recategorise": lambda at, _: recategorise(opened(at.path), at.data),
    "clean up": lambda at, _: clean_up(opened(at.path), at.data),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_data_folder_that_is_not_there_is_named_and_never_made(station: Station, tmp_path: Path, step: str) -> None:
    """R16: below a mistyped or unmounted folder a night would succeed where nobody looks."""
    store = FolderStore(tmp_path / "cloud")
    store.folder.mkdir()
    station.data.root.rmdir()
    with pytest.raises(SourceMissing) as missing:
        STEPS[step](station, store)
    assert missing.value.what == f"commercial_log: there is no data folder {station.data.root}."
    assert missing.value.next_step.startswith("Mount it, or correct the path (connection commercial_log_files")
    assert not station.data.root.exists()
    assert store.names() == []


def test_what_fails_before_a_step_makes_no_data_folder(station: Station) -> None:
    """R16."""
    station.data.root.rmdir()
    with pytest.raises(SourceMissing, match="there is no data folder"), station.data.preparing("commercial_log", DAY):
        read_settings(Settings, '{"keep_day": 7}', system="commercial_log")
    assert not station.data.root.exists()


def test_preparing_well_leaves_no_line(station: Station) -> None:
    with station.data.preparing("commercial_log_update", DAY):
        pass
    assert read_journal(station.data.logs, "commercial_log_update") == []
