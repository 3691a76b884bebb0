"""One line per run, and one run at a time (include/common/journal.py, include/common/locks.py; R51, R52)."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from include.common import locks
from include.common.journal import JOURNAL_BYTES, read_journal, record_run
from include.errors import AlreadyRunning, ContractViolation, PipelineError, StoreBusy

ROOT = Path(__file__).resolve().parents[2]
DAY = date(2025, 9, 2)


# --- locks ----------------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from include.common import locks

with locks.hold(Path(sys.argv[1]), sys.argv[2], shared=sys.argv[3] == "shared"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(lock: Path, job: str, how: str = "alone") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(lock), job, how]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def taken(lock: Path, job: str, *, shared: bool = False) -> None:
    with locks.hold(lock, job, shared=shared):
        pass


def test_the_same_job_is_refused_for_good_and_another_may_try_again(tmp_path: Path) -> None:
    """R51."""
    lock = tmp_path / "locks" / "database"
    with holder(lock, "update") as process:
        with pytest.raises(AlreadyRunning) as refused:
            taken(lock, "update")
        with pytest.raises(StoreBusy) as busy:
            taken(lock, "update_of_history")
        with pytest.raises(StoreBusy):
            taken(lock, "reader", shared=True)
        assert not locks.is_free(lock)
    assert refused.value.what == f"update is already running: update (process {process.pid}) holds database."
    assert busy.value.what == f"update_of_history has to wait: update (process {process.pid}) holds database."
    assert all(each.value.next_step for each in (refused, busy))


def test_a_killed_holder_blocks_nobody(tmp_path: Path) -> None:
    """R51: locks vanish with the process."""
    lock = tmp_path / "database"
    with holder(lock, "update") as process:
        process.kill()
        process.wait(60)
        assert locks.is_free(lock)
        taken(lock, "update")
    taken(lock, "another")


def test_readers_share_and_keep_writers_out(tmp_path: Path) -> None:
    lock = tmp_path / "files"
    with holder(lock, "update", "shared"), locks.hold(lock, "review", shared=True):
        with pytest.raises(StoreBusy) as busy:
            taken(lock, "import")
        assert not locks.is_free(lock)
    assert busy.value.what == "import has to wait: a reader holds files."
    taken(lock, "import")


def test_a_reader_is_not_mistaken_for_a_writer_that_was_killed(tmp_path: Path) -> None:
    """The dead one's name is still in the file: the import has to wait, it is not running already."""
    lock = tmp_path / "files"
    with holder(lock, "import") as process:
        process.kill()
        process.wait(60)
    assert lock.read_text().startswith("import ")
    with locks.hold(lock, "update", shared=True), pytest.raises(StoreBusy, match="a reader holds files"):
        taken(lock, "import")


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "database"
    with pytest.raises(ZeroDivisionError), locks.hold(lock, "update"):
        raise ZeroDivisionError
    assert locks.is_free(lock)
    taken(lock, "update")


def test_two_holders_in_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    lock = tmp_path / "database"
    with locks.hold(lock, "update"), pytest.raises(AlreadyRunning):
        taken(lock, "update")


def test_programs_started_by_the_holder_do_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "database"
    with locks.hold(lock, "update"):
        process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with process:
        assert locks.is_free(lock)
        process.communicate(timeout=60)


def test_a_lock_nobody_ever_took_is_free_and_asking_leaves_no_file(tmp_path: Path) -> None:
    assert locks.is_free(tmp_path / "never")
    assert list(tmp_path.iterdir()) == []


# --- the journal ----------------------------------------------------------------------------------------------------


def test_a_run_ends_with_one_line_in_the_log_and_in_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R52: SUCCESS and Duration: are searched by operators."""
    began = datetime.now(UTC)
    with caplog.at_level(logging.INFO), record_run(tmp_path / "logs", "update", DAY) as run:
        run.batch = "weekly_update_1"
        run.facts = {"rows": 3, "trade": 1}
        with run.phase("read the workbook", percent=25):
            pass
        run.say("100 % | committed")
    assert caplog.messages[0] == "START | update | 2025-09-02"
    assert re.fullmatch(r" 25 % \| read the workbook \| \d+\.\d\ds", caplog.messages[1])
    assert caplog.messages[2] == "100 % | committed"
    said = re.fullmatch(
        r"SUCCESS \| Duration: (\d+\.\d)s \| Batch: weekly_update_1 \| rows: 3 \| trade: 1", caplog.messages[3]
    )
    assert said
    [text] = (tmp_path / "logs" / "update.log").read_text().splitlines()
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 \| update \| 2025-09-02 \| " + re.escape(caplog.messages[3]), text
    )
    [line] = read_journal(tmp_path / "logs", "update")
    assert began - timedelta(seconds=1) < line.at <= datetime.now(UTC)  # it counts whole seconds
    assert (line.job, line.day, line.state, line.seconds, line.detail) == (
        "update",
        "2025-09-02",
        "SUCCESS",
        float(said[1]),
        "Batch: weekly_update_1 | rows: 3 | trade: 1",
    )
    assert run.durations.keys() == {"read the workbook"}


def test_a_failed_run_keeps_its_error_and_says_what_led_to_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """R53: the last log lines travel with the failure."""
    with pytest.raises(ContractViolation) as failed, record_run(tmp_path, "import", DAY) as run:  # noqa: PT012
        for number in range(7):
            run.say(f"line {number}")
        run.warn("stale input")
        raise ContractViolation("Column missing.", next_step="Ask traffic.")
    assert failed.value.__notes__ == ["Last log lines:\nline 3\nline 4\nline 5\nline 6\nWARNING stale input"]
    assert run.warnings == ["stale input"]
    assert re.fullmatch(r"FAILED \| Duration: \d+\.\ds \| ERROR Column missing\.", caplog.messages[-1])
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert [(line.state, line.detail) for line in read_journal(tmp_path, "import")] == [
        ("FAILED", "ERROR Column missing.")
    ]


@pytest.mark.parametrize("error", [ValueError("no number"), KeyboardInterrupt("stopped"), SystemExit(3)])
def test_whatever_ends_a_run_is_named_with_its_kind(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), record_run(tmp_path, "import", DAY):
        raise error
    assert read_journal(tmp_path, "import")[0].detail == f"ERROR {type(error).__name__}: {error}"


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\x0b", "\x85", "\u2028"])
def test_an_error_of_several_lines_is_one_line_of_the_journal(tmp_path: Path, mark: str) -> None:
    with pytest.raises(PipelineError), record_run(tmp_path, "import", DAY):
        raise PipelineError(f"first{mark}second", next_step="none")
    assert [line.detail for line in read_journal(tmp_path, "import")] == ["ERROR first second"]


def test_the_journal_is_read_newest_first_and_only_as_far_as_asked(tmp_path: Path) -> None:
    for number in range(12):
        with record_run(tmp_path, "import", DAY) as run:
            run.facts["number"] = number
    assert [line.detail for line in read_journal(tmp_path, "import", last=3)] == [
        "number: 11",
        "number: 10",
        "number: 9",
    ]
    assert len(read_journal(tmp_path, "import")) == 10


def test_runs_before_the_journal_was_put_aside_are_not_forgotten(tmp_path: Path) -> None:
    for number in range(4):
        with record_run(tmp_path, "import", DAY) as run:
            run.facts["number"] = number
        if number == 2:
            (tmp_path / "import.log").rename(tmp_path / "import.log.1")
    assert [line.detail[-1] for line in read_journal(tmp_path, "import", last=3)] == ["3", "2", "1"]


def test_lines_that_are_none_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "import.log").write_text("cut off line\n\n")
    with record_run(tmp_path, "import", DAY):
        pass
    assert [line.detail for line in read_journal(tmp_path, "import")] == [""]


def test_a_job_that_never_ran_has_no_lines(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "nowhere", "import") == []


def test_each_job_has_its_own_journal(tmp_path: Path) -> None:
    for job in ("import", "update"):
        with record_run(tmp_path, job, DAY):
            pass
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["import.log", "update.log"]


def test_a_full_journal_is_put_aside_and_five_old_ones_are_kept(tmp_path: Path) -> None:
    """Section 7: 10 MB x 5."""
    for number in range(1, 6):
        (tmp_path / f"import.log.{number}").write_text(str(number))
    with (tmp_path / "import.log").open("wb") as sparse:
        sparse.truncate(JOURNAL_BYTES - 10)
    with record_run(tmp_path, "import", DAY):
        pass
    assert len(read_journal(tmp_path, "import")) == 1
    assert (tmp_path / "import.log.1").stat().st_size == JOURNAL_BYTES - 10
    assert [(tmp_path / f"import.log.{number}").read_text() for number in range(2, 6)] == ["1", "2", "3", "4"]
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("fault", ["no folder", "full disk"])
def test_a_journal_that_cannot_be_written_changes_no_result(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    if fault == "no folder":
        folder.write_text("a file")
    else:
        folder.mkdir()
        (folder / "import.log").symlink_to("/dev/full")
    with record_run(folder, "import", DAY):
        pass
    assert caplog.messages[-1].startswith(f"The journal {folder}/import.log could not be written: ")
    with pytest.raises(ZeroDivisionError), record_run(folder, "import", DAY):
        raise ZeroDivisionError
    capsys.readouterr()  # logging prints what it could not write
