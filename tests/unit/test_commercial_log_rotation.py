"""Rotation of dated workbooks and monthly archives (R44-R47)."""

from __future__ import annotations

import errno
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.rotation import archive_of, list_archives, rotate_files
from include.common import locks
from include.common.journal import read_journal
from include.errors import AlreadyRunning, CheckFailed, RequestRefused, StoreBusy, StoreFull
from tests.unit.forked import run_in_child

SUNDAY = date(2025, 9, 7)


@pytest.fixture
def data(tmp_path: Path) -> DataRoot:
    data = DataRoot(tmp_path / "data root")
    data.root.mkdir()
    return data


def name_of(day: date) -> str:
    return f"Commercial Log {day:%y%m%d}.xlsx"


def days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def write(data: DataRoot, *dated: date, content: str = "bookings") -> None:
    """A workbook and its sidecar for each day; what a workbook holds does not matter to the rotation."""
    data.daily.mkdir(parents=True, exist_ok=True)
    for day in dated:
        workbook = data.daily / name_of(day)
        workbook.write_text(f"{content} of {day}")
        workbook.with_name(f"{workbook.name}.json").write_text("{}")


def rotate(data: DataRoot, day: date = SUNDAY, settings: Settings | None = None) -> dict[str, object]:
    return rotate_files(data, day=day, today=day, settings=settings or Settings()).as_dict()


def daily(data: DataRoot) -> list[str]:
    return sorted(path.name for path in data.daily.iterdir())


def archives(data: DataRoot) -> dict[str, dict[str, str]]:
    """Every file of the archive folder with its members."""
    return {path.name: members(path) for path in sorted(data.archive.iterdir())}


def members(archive: Path) -> dict[str, str]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Bytes, inode and modification time of every file below a folder, journals and locks apart."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name not in ("logs", "locks")
    }


def expected(*dated: date, content: str = "bookings") -> dict[str, str]:
    return {name_of(day): f"{content} of {day}" for day in dated}


def kept(*dated: date) -> list[str]:
    return sorted(f"{name_of(day)}{suffix}" for day in dated for suffix in ("", ".json"))


# --- what goes where ------------------------------------------------------------------------------------------------


def test_a_file_named_for_more_than_seven_days_ago_is_archived_and_a_seven_days_old_one_stays(data: DataRoot) -> None:
    """R44, with its own example: 250830 goes, 250831 stays; the sidecar goes with its workbook."""
    write(data, *days(date(2025, 8, 29), SUNDAY))
    result = rotate(data)
    assert daily(data) == kept(*days(date(2025, 8, 31), SUNDAY))
    assert archives(data) == {"commercial-logs-2025-08.zip": expected(date(2025, 8, 29), date(2025, 8, 30))}
    size = archive_of(data, date(2025, 8, 1)).stat().st_size
    assert {name: result[name] for name in ("where", "read", "written", "bytes", "warnings")} == {
        "where": str(data.archive),
        "read": 2,
        "written": 2,
        "bytes": size,
        "warnings": [],
    }
    assert result["facts"]["archived"] == {"commercial-logs-2025-08.zip": 2}  # type: ignore[index]
    line = read_journal(data.logs, "commercial_log_rotation")[0]
    assert (line.state, line.day, line.detail) == ("SUCCESS", "2025-09-07", "archived: 2 | deleted: 0")


def test_two_weekly_runs_over_a_month_border_fill_the_archives_of_both_months(data: DataRoot) -> None:
    """R44, R45: the second run extends August by its last day and begins September."""
    write(data, *days(date(2025, 8, 25), SUNDAY))
    rotate(data)
    write(data, *days(date(2025, 9, 8), date(2025, 9, 14)))
    rotate(data, date(2025, 9, 14))
    assert daily(data) == kept(*days(date(2025, 9, 7), date(2025, 9, 14)))
    assert archives(data) == {
        "commercial-logs-2025-08.zip": expected(*days(date(2025, 8, 25), date(2025, 8, 31))),
        "commercial-logs-2025-09.zip": expected(*days(date(2025, 9, 1), date(2025, 9, 6))),
    }


def test_four_hundred_days_of_files_become_twelve_archives_and_eight_files(data: DataRoot) -> None:
    """R44, R46: 2024-08 is archived and, being past twelve months, deleted in the same run."""
    write(data, *days(SUNDAY - timedelta(days=399), SUNDAY))
    result = rotate(data)
    assert result["written"] == 392
    assert result["facts"]["archives_deleted"] == ["commercial-logs-2024-08.zip"]  # type: ignore[index]
    assert daily(data) == kept(*days(date(2025, 8, 31), SUNDAY))
    found = archives(data)
    assert list(found) == [f"commercial-logs-2024-{month:02}.zip" for month in (9, 10, 11, 12)] + [
        f"commercial-logs-2025-{month:02}.zip" for month in range(1, 9)
    ]
    merged = {name: text for archive in found.values() for name, text in archive.items()}
    assert merged == expected(*days(date(2024, 9, 1), date(2025, 8, 30)))


def test_names_that_are_not_exactly_those_of_dated_workbooks_and_archives_are_never_touched(data: DataRoot) -> None:
    """R46, 3.3: lock files of Excel, copies, other cases, impossible dates."""
    data.daily.mkdir(parents=True)
    data.archive.mkdir()
    strangers = [
        *("Commercial Log 250801 (1).xlsx", "~$Commercial Log 250801.xlsx", "commercial log 250801.xlsx"),
        *("Commercial Log 250231.xlsx", "Commercial Log 250801.xlsx.tmp"),
    ]
    others = ["commercial-logs-2020-13.zip", "commercial-logs-2020-01.zip.old", "Commercial-logs-2020-01.zip"]
    for path in [data.daily / name for name in strangers] + [data.archive / name for name in others]:
        path.write_text("mine")
    before = state(data.root)
    assert rotate(data)["read"] == 0
    assert state(data.root) == before


def test_archives_older_than_twelve_months_are_deleted(data: DataRoot) -> None:
    """R46, with its own example: run in 2025-09, 2024-08 and older go, 2024-09 stays."""
    data.archive.mkdir(parents=True)
    for month in ("2023-12", "2024-08", "2024-09", "2025-08"):
        with zipfile.ZipFile(data.archive / f"commercial-logs-{month}.zip", "w") as archive:
            archive.writestr("Commercial Log 230101.xlsx", "x")
    deleted = rotate(data)["facts"]["archives_deleted"]  # type: ignore[index]
    assert deleted == ["commercial-logs-2023-12.zip", "commercial-logs-2024-08.zip"]
    assert list(list_archives(data)) == [date(2024, 9, 1), date(2025, 8, 1)]


def test_the_file_of_today_is_never_archived(data: DataRoot) -> None:
    """R47, whatever the settings say."""
    write(data, SUNDAY - timedelta(days=1), SUNDAY)
    rotate(data, settings=Settings(keep_days=-30))
    assert daily(data) == kept(SUNDAY)


def test_a_run_for_a_day_to_come_is_refused_and_deletes_nothing(data: DataRoot) -> None:
    """A mistyped year would delete every archive."""
    write(data, date(2025, 8, 1))
    before = state(data.root)
    with pytest.raises(RequestRefused, match="2035-09-02 has not begun in its time zone"):
        rotate_files(data, day=date(2035, 9, 2), today=SUNDAY, settings=Settings())
    assert state(data.root) == before


def test_an_empty_data_root_is_nothing_to_do(data: DataRoot) -> None:
    assert rotate(data)["read"] == 0


# --- again ----------------------------------------------------------------------------------------------------------


def test_the_same_run_twice_changes_no_byte(data: DataRoot) -> None:
    """R47."""
    write(data, *days(date(2025, 7, 30), SUNDAY))
    rotate(data)
    before = state(data.root)
    result = rotate(data)
    assert (result["read"], result["written"], result["bytes"]) == (0, 0, 0)
    assert state(data.root) == before


def test_an_earlier_day_after_a_later_one_changes_no_byte(data: DataRoot) -> None:
    """R47: any day, in any order."""
    write(data, *days(date(2025, 7, 30), SUNDAY))
    rotate(data)
    before = state(data.root)
    rotate_files(data, day=date(2025, 8, 31), today=SUNDAY, settings=Settings())
    assert state(data.root) == before


def test_a_member_is_replaced_only_if_it_differs_and_all_others_stay(data: DataRoot) -> None:
    """R45: an archive of another tool keeps its compressed members; 250803 comes back with newer content."""
    first, second, third, fourth = days(date(2025, 8, 1), date(2025, 8, 4))
    data.archive.mkdir(parents=True)
    with zipfile.ZipFile(archive_of(data, first), "w", zipfile.ZIP_DEFLATED) as archive:
        for day in (first, second, third):
            archive.writestr(name_of(day), f"bookings of {day}")
    write(data, second, fourth)
    write(data, third, content="newer bookings")
    rotate(data)
    assert archives(data) == {
        "commercial-logs-2025-08.zip": {
            **expected(first, second, fourth),
            **expected(third, content="newer bookings"),
        }
    }
    assert daily(data) == []


def test_a_file_that_came_back_unchanged_is_removed_without_touching_the_archive(data: DataRoot) -> None:
    """R45, R47."""
    write(data, date(2025, 8, 1), date(2025, 8, 2))
    rotate(data)
    before = state(data.archive)
    write(data, date(2025, 8, 1))
    assert rotate(data)["bytes"] == 0
    assert state(data.archive) == before
    assert daily(data) == []


def test_the_same_workbooks_make_the_same_archive_byte_for_byte(data: DataRoot, tmp_path: Path) -> None:
    """Whenever and by whomever they were copied."""
    other = DataRoot(tmp_path / "other")
    for root, written_at in ((data, 1_000_000_000), (other, 0)):
        write(root, date(2025, 8, 1), date(2025, 8, 2))
        for path in root.daily.iterdir():
            os.utime(path, (written_at, written_at))
        rotate(root)
    august = date(2025, 8, 1)
    assert archive_of(data, august).read_bytes() == archive_of(other, august).read_bytes()
    with zipfile.ZipFile(archive_of(data, august)) as archive:
        assert [(m.compress_type, m.date_time) for m in archive.infolist()] == [
            (zipfile.ZIP_STORED, (2025, 8, 1, 0, 0, 0)),
            (zipfile.ZIP_STORED, (2025, 8, 2, 0, 0, 0)),
        ]


# --- what goes wrong ------------------------------------------------------------------------------------------------


def truncated(archive: bytes) -> bytes:
    return archive[: len(archive) // 2]


def with_a_flipped_bit(archive: bytes) -> bytes:
    position = archive.index(b"bookings of")
    return archive[:position] + b"B" + archive[position + 1 :]


def with_a_broken_header(archive: bytes) -> bytes:
    return b"\0\0" + archive[2:]


def a_web_page(_: bytes) -> bytes:
    return b"<html>quota exceeded</html>"


@pytest.mark.parametrize("damage", [truncated, with_a_flipped_bit, with_a_broken_header, a_web_page])
def test_a_damaged_archive_is_skipped_with_its_files_and_fails_the_run_after_the_other_months(
    data: DataRoot, damage: Callable[[bytes], bytes]
) -> None:
    """R45 and section 6."""
    june, july, august = date(2025, 6, 10), date(2025, 7, 10), date(2025, 8, 10)
    write(data, july)
    rotate(data)
    broken = archive_of(data, july)
    broken.write_bytes(damage(broken.read_bytes()))
    before = state(data.archive)
    write(data, june, july + timedelta(days=1), august)
    with pytest.raises(
        CheckFailed, match=r"commercial-logs-2025-07\.zip is damaged .* the workbooks were kept"
    ) as failed:
        rotate(data)
    assert failed.value.next_step == f"Restore {broken} from a backup or move it away, then clear the task."
    assert daily(data) == kept(july + timedelta(days=1))
    assert {name: found for name, found in state(data.archive).items() if "07" in name} == before
    assert members(archive_of(data, june)) == expected(june)
    assert members(archive_of(data, august)) == expected(august)
    assert list(list_archives(data)) == [date(2025, month, 1) for month in (6, 7, 8)]
    assert len(list(data.archive.iterdir())) == 3
    assert read_journal(data.logs, "commercial_log_rotation")[0].state == "FAILED"


def test_two_damaged_archives_are_both_named(data: DataRoot) -> None:
    data.archive.mkdir(parents=True)
    for month in (6, 7):
        archive_of(data, date(2025, month, 1)).write_bytes(b"PK")
        write(data, date(2025, month, 2))
    with pytest.raises(CheckFailed, match=r"2025-06\.zip is damaged .*2025-07\.zip is damaged"):
        rotate(data)


def test_a_reader_of_dated_workbooks_keeps_the_rotation_waiting(data: DataRoot) -> None:
    """R47: nothing is archived while stage 2 reads; shared means that it reads."""
    write(data, date(2025, 8, 1))
    before = state(data.root)
    with (
        locks.hold(data.files_lock, "commercial_log_update", shared=True),
        pytest.raises(StoreBusy, match="commercial_log_rotation has to wait"),
    ):
        rotate(data)
    assert state(data.root) == before


def test_a_second_rotation_is_refused(data: DataRoot) -> None:
    """R51."""
    with (
        locks.hold(data.files_lock, "commercial_log_rotation"),
        pytest.raises(AlreadyRunning, match="commercial_log_rotation is already running"),
    ):
        rotate(data)


def test_no_space_left_keeps_every_file_and_leaves_no_temporary(data: DataRoot) -> None:
    write(data, date(2025, 8, 1))
    before = state(data.root)

    def fill_the_disk(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".zip.tmp"):
            raise OSError(errno.ENOSPC, "No space left on device")

    assert isinstance(run_in_child(lambda: rotate(data), fill_the_disk), StoreFull)
    assert state(data.root) == before


def an_empty_archive(_: bytes) -> bytes:
    return b"PK\5\6" + bytes(18)


@pytest.mark.parametrize("damage", [with_a_flipped_bit, truncated, an_empty_archive])
def test_an_archive_that_did_not_arrive_on_the_disk_as_written_is_not_published(
    data: DataRoot, damage: Callable[[bytes], bytes]
) -> None:
    """R45: the disk changes the new archive after it was written and before it is checked."""
    write(data, date(2025, 8, 1))
    rotate(data)
    write(data, date(2025, 8, 2))
    before = state(data.root)

    pending = [damage]

    def spoil(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".zip.tmp") and arguments[1] == "r" and pending:
            written = Path(str(arguments[0]))
            change = pending.pop()
            written.write_bytes(change(written.read_bytes()))

    error = run_in_child(lambda: rotate(data), spoil)
    assert isinstance(error, CheckFailed)
    assert "commercial-logs-2025-08.zip was not changed, its new copy failed the check" in error.what
    assert state(data.root) == before


def test_a_kill_at_any_moment_loses_nothing_and_the_next_run_finishes(tmp_path: Path) -> None:
    """R45, R51: killed before every single call that opens, renames or removes a file, until a run gets through."""
    august, september = date(2025, 8, 30), date(2025, 9, 1)
    all_days = [*days(date(2025, 8, 28), date(2025, 9, 3))]
    run_day = date(2025, 9, 9)

    def prepared(root: Path) -> DataRoot:
        data = DataRoot(root)
        write(data, date(2025, 8, 28))
        rotate(data)  # the archive of August is there to be extended, that of September is not
        write(data, *days(date(2025, 8, 29), date(2025, 9, 3)))
        return data

    undisturbed = prepared(tmp_path / "undisturbed")
    rotate(undisturbed, run_day)
    final = {name: content for name, (content, *_) in state(undisturbed.root).items()}

    for attempt in range(1, 200):
        data = prepared(tmp_path / str(attempt))
        calls = 0

        def kill(event: str, arguments: tuple[object, ...], *, limit: int = attempt, root: Path = data.root) -> None:
            nonlocal calls
            if event in ("open", "os.remove", "os.rename", "os.chmod") and str(root) in str(arguments[0]):
                calls += 1
                if calls == limit:
                    os.kill(os.getpid(), signal.SIGKILL)

        outcome = run_in_child(lambda data=data: rotate(data, run_day), kill)  # type: ignore[misc]
        found = {path.name: path.read_text() for path in data.daily.glob("*.xlsx")}
        for archive in (archive_of(data, august), archive_of(data, september)):
            found |= members(archive) if archive.exists() else {}
        assert found == expected(*all_days)
        rotate(data, run_day)
        assert {name: content for name, (content, *_) in state(data.root).items()} == final
        if outcome is None:
            assert attempt > 30
            return
        assert outcome == signal.SIGKILL
    pytest.fail("The rotation never got through.")
