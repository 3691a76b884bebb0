"""What every stage does around its work (R67, R70), and what no log may hold (R5)."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from include.common.files import sha256_of
from include.common.journal import read_journal
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.privacy import masked
from include.cvas.stage import delete_old_logs, stage
from include.errors import ContractViolation, CredentialRefused, SourceUnavailable

DAY = date(2025, 11, 10)
NOW = datetime(2025, 11, 11, 10, 30, tzinfo=UTC)
USER, PHONE = "0340000000000000017", "34600000017"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "include")


def aged(path: Path, age: timedelta, *, now: datetime = NOW) -> Path:
    """A file last written ``age`` before ``now``, and its folder not changed since."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")
    moment = now.timestamp() - age.total_seconds()
    os.utime(path, (moment, moment))
    os.utime(path.parent, (moment, moment))
    return path


def run(lake: Lake, work: Callable[[], object] = lambda: None, *, now: datetime = NOW) -> list[str]:
    with stage(lake, "cvas_process", DAY, now=now, settings=Settings()) as log:
        log.say("rows of DCT: 809")
        work()
        log.facts.update(rows={"ACT": 620, "PPD": 0})
    return log.warnings


def log_of(lake: Lake) -> str:
    return (lake.logs / "cvas_process" / "2025-11-10_20251111T103000.log").read_text()


# --- logs ----------------------------------------------------------------------------------------------------------


def test_a_run_has_a_log_of_its_own_and_one_summary_line(lake: Lake) -> None:
    """R67, R70."""
    run(lake)
    assert [line.split(maxsplit=2)[2] for line in log_of(lake).splitlines()] == [
        "INFO START | cvas_process | 2025-11-10",
        "INFO rows of DCT: 809",
        "INFO SUCCESS | Duration: 0.0s | rows: {'ACT': 620, 'PPD': 0}",
    ]
    (line,) = read_journal(lake.logs, "cvas_process")
    assert (line.day, line.state, line.detail) == ("2025-11-10", "SUCCESS", "rows: {'ACT': 620, 'PPD': 0}")
    run(lake, now=NOW + timedelta(minutes=5))
    assert sorted(path.name for path in (lake.logs / "cvas_process").iterdir()) == [
        "2025-11-10_20251111T103000.log",
        "2025-11-10_20251111T103500.log",
    ]


def test_a_failed_run_leaves_its_traceback_in_its_log_and_the_cause_in_the_journal(lake: Lake) -> None:
    """R67: the original's filter dropped tracebacks. R70."""

    def fail() -> None:
        raise ContractViolation("DCT.csv has no column cpc.", next_step="Fetch it again.")

    with pytest.raises(ContractViolation) as failed:
        run(lake, fail)
    assert failed.value.__notes__ == ["Last log lines:\nrows of DCT: 809"]
    text = log_of(lake)
    assert "ERROR FAILED | Duration: 0.0s | ERROR DCT.csv has no column cpc." in text
    assert "ERROR Ended by:\nTraceback (most recent call last):\n" in text
    assert "in fail\n" in text
    assert read_journal(lake.logs, "cvas_process")[0].detail == "ERROR DCT.csv has no column cpc."


def test_the_log_of_a_run_holds_nothing_of_the_next_one(lake: Lake) -> None:
    run(lake)
    before = log_of(lake)
    logging.getLogger("include.cvas").info("between two runs")
    run(lake, now=NOW + timedelta(hours=1))
    assert log_of(lake) == before


def test_the_first_good_run_after_a_failure_that_was_told_says_so(lake: Lake) -> None:
    """Section 6: success after failure is told, also a minute later: what cannot pass is told at once."""

    def fail() -> None:
        raise ContractViolation("DCT.csv has no column cpc.", next_step="Fetch it again.")

    with pytest.raises(ContractViolation):
        run(lake, fail)
    assert not read_journal(lake.logs, "cvas_process")[0].transient
    assert run(lake, now=datetime.now(UTC) + timedelta(minutes=1)) == [
        "cvas_process works again; it had failed for 2025-11-10: ERROR DCT.csv has no column cpc."
    ]
    assert run(lake, now=datetime.now(UTC) + timedelta(hours=4)) == []


def test_a_failure_that_a_retry_repaired_was_never_told(lake: Lake) -> None:
    """Section 6: what may pass is tried again for 20 minutes before anybody hears of it."""

    def fail() -> None:
        raise SourceUnavailable("The source did not deliver: timeout.", next_step="It is tried again.")

    with pytest.raises(SourceUnavailable):
        run(lake, fail)
    [line] = read_journal(lake.logs, "cvas_process")
    assert (line.transient, line.detail) == (True, "ERROR The source did not deliver: timeout. | may pass")
    assert run(lake, now=line.at + timedelta(minutes=20)) == []
    with pytest.raises(SourceUnavailable):
        run(lake, fail)
    assert run(lake, now=datetime.now(UTC) + timedelta(minutes=21)) == [
        "cvas_process works again; it had failed for 2025-11-10: ERROR The source did not deliver: timeout. | may pass"
    ]


def test_a_failure_before_a_stage_is_one_of_its_runs(lake: Lake) -> None:
    """R70, section 6: settings that cannot be meant, a source that does not answer."""
    error = CredentialRefused(f"cvas_nova_ssh refused {PHONE}.", next_step="Correct the key.")
    with pytest.raises(CredentialRefused) as caught, lake.preparing("cvas_process", DAY):
        raise error
    assert caught.value is error
    [line] = read_journal(lake.logs, "cvas_process")
    assert (line.day, line.state, line.detail) == (str(DAY), "FAILED", "ERROR cvas_nova_ssh refused ***.")
    with lake.preparing("cvas_process", DAY):
        pass
    assert run(lake, now=line.at) == [f"cvas_process works again; it had failed for {DAY}: {line.detail}"]


# --- personal data --------------------------------------------------------------------------------------------------


def test_numbers_of_subscribers_are_masked_and_others_stay(tmp_path: Path) -> None:
    """R5: phones, user ids, also without leading zeros or country code; R70: counts, ids and hashes are needed."""
    assert masked(f"user {USER}, phone {PHONE} or 600000017, id '340000000000000017'") == (
        "user ***, phone *** or ***, id '***'"
    )
    text = "subscription 12700000, cpc 45335, 28,393,197 rows of 2025-11-10 21:00:02.123456 in 20251110_NBS_Base.csv"
    assert masked(text) == text
    (tmp_path / "file").write_bytes(b"17")
    sha256 = sha256_of(tmp_path / "file")
    assert sha256 == "4523540f1504cd17100c4835e85b7eefd49911580f8efff0599a8f283be6b9e3"
    assert masked(f"expected {sha256}, found {'a' * 53 + PHONE}0") == f"expected {sha256}, found {'a' * 53}***"


def test_a_log_file_holds_no_number_of_a_subscriber(lake: Lake) -> None:
    """R5."""
    with stage(lake, "cvas_process", DAY, now=NOW, settings=Settings()) as log:
        log.say(f"bad row of {PHONE}")
    assert "INFO bad row of ***" in log_of(lake)


def test_what_a_run_says_warns_and_sums_up_holds_no_number_of_a_subscriber(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """R5: the task's log has what is said, a notification the warnings, the journal the facts."""
    with stage(lake, "cvas_process", DAY, now=NOW, settings=Settings()) as log:
        log.say(f"bad row of {PHONE}")
        log.warn(f"unknown: 777, {USER}")
        log.facts["unknown"] = [PHONE, 777]
    assert log.warnings == ["unknown: 777, ***"]
    assert list(log.last_lines) == ["bad row of ***", "WARNING unknown: 777, ***"]
    (line,) = read_journal(lake.logs, "cvas_process")
    assert line.detail == "unknown: ['***', 777] | warnings: 1"
    assert PHONE not in caplog.text
    assert USER not in caplog.text


def test_an_error_nobody_foresaw_leaves_the_stage_without_the_number_it_quotes(lake: Lake) -> None:
    """R5: task logs, messages and the journal hold what the error says."""

    def fail() -> None:
        {}[USER]

    with pytest.raises(RuntimeError, match=r"KeyError: '\*\*\*'") as failed:
        run(lake, fail)
    assert USER not in "".join(traceback.format_exception(failed.value))
    assert "in fail\n" in "".join(traceback.format_exception(failed.value))
    assert read_journal(lake.logs, "cvas_process")[0].detail == "ERROR RuntimeError: KeyError: '***'"
    assert USER not in log_of(lake)


def test_an_error_of_ours_leaves_the_stage_without_the_numbers_in_it_and_in_its_cause(lake: Lake) -> None:
    """R5."""

    def fail() -> None:
        try:
            int(f"{PHONE}x")
        except ValueError as error:
            raise ContractViolation(f"line 7: {error}", next_step=f"Correct {PHONE}.") from error

    with pytest.raises(ContractViolation, match=r"line 7: .* '\*\*\*x' Next step: Correct \*\*\*\.") as failed:
        run(lake, fail)
    assert PHONE not in "".join(traceback.format_exception(failed.value))
    assert PHONE not in log_of(lake) + (lake.logs / "cvas_process.log").read_text()


def test_an_error_without_such_a_number_keeps_its_cause(lake: Lake) -> None:
    cause = OSError("disk gone")

    def fail() -> None:
        raise ContractViolation("line 7 has two fields.", next_step="Fetch it again.") from cause

    with pytest.raises(ContractViolation) as failed:
        run(lake, fail)
    assert failed.value.__cause__ is cause


# --- old logs -------------------------------------------------------------------------------------------------------


def test_logs_and_reports_past_fifteen_days_go_and_those_of_exactly_fifteen_stay(lake: Lake) -> None:
    """R67."""
    limit = timedelta(days=15)
    old = [
        aged(lake.logs / "cvas_fetch" / "2025-10-20_a.log", limit + timedelta(seconds=1)),
        aged(lake.reports(date(2025, 10, 20)) / "users.json", timedelta(days=400)),
    ]
    kept = [
        aged(lake.logs / "cvas_fetch" / "2025-10-26_b.log", limit),
        aged(lake.reports(date(2025, 10, 27)) / "users.json", limit - timedelta(seconds=1)),
        aged(lake.logs / "cvas_fetch.log", timedelta(days=400)),
    ]
    assert delete_old_logs(lake, now=NOW, settings=Settings()) == 2
    assert [path.exists() for path in old] == [False, False]
    assert [path.exists() for path in kept] == [True, True, True]
    assert not lake.reports(date(2025, 10, 20)).exists()
    assert delete_old_logs(lake, now=NOW, settings=Settings()) == 0


def test_a_day_is_24_hours_even_when_the_clocks_change(lake: Lake) -> None:
    """R67: 15 x 24 h; on 2025-10-26 the hour from two to three came twice."""
    now = datetime(2025, 11, 5, 9, 0, tzinfo=ZONE)
    kept = aged(lake.logs / "cvas_fetch" / "kept.log", timedelta(days=15), now=now)
    old = aged(lake.logs / "cvas_fetch" / "old.log", timedelta(days=15, minutes=30), now=now)
    assert delete_old_logs(lake, now=now, settings=Settings()) == 1
    assert (kept.exists(), old.exists()) == (True, False)


def test_a_new_folder_is_left_for_whoever_is_about_to_write_into_it(lake: Lake) -> None:
    lake.reports(DAY).mkdir(parents=True)
    now = datetime.now(UTC)
    assert delete_old_logs(lake, now=now, settings=Settings()) == 0
    assert lake.reports(DAY).is_dir()


def test_every_stage_deletes_old_logs_at_its_start(lake: Lake) -> None:
    """R67."""
    old = aged(lake.logs / "cvas_process" / "old.log", timedelta(days=16))
    run(lake)
    assert not old.exists()
