"""What an operator asks first (R48, section 7), the checks of the database, stuck batches (R34)."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
from contextlib import closing, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.commercial_log import backup
from include.commercial_log.database import open_database
from include.commercial_log.months import close_months
from include.commercial_log.status import (
    clean_up_batches,
    import_history,
    render_status,
    render_storage,
    render_table,
    report_status,
    storage_report,
    validate_database,
)
from include.common import locks
from include.common.objectstores import FolderStore
from include.common.results import StepResult
from include.errors import CheckFailed, ContractViolation, SourceMissing, StoreBusy
from tests.unit.commercial_log_helpers import DAY, NOW, Station, row

# 03:00 at the station, an hour and a half after the update.
LOOKED_AT = datetime(2025, 9, 2, 10, tzinfo=UTC)
SEPTEMBER, OCTOBER = "Sep-25", "Oct-25"
ROWS = [
    row(media="sep"),
    row(media="sep undetermined", language_code="L", gross_rate=1000.0),
    row(media="oct", broadcast_month="Oct-25", air_date="2025-10-01", language_code="13"),
    row(media="oct undetermined", broadcast_month="Oct-25", language_code="L", gross_rate=999.99),
]


@pytest.fixture
def loaded(station: Station) -> Station:
    """Two months loaded on 2025-09-02 at 01:30, September closed since."""
    station.load(ROWS)
    station.close_month(SEPTEMBER)
    forget_journals(station)
    return station


def forget_journals(station: Station) -> None:
    """The loads of the fixtures write real times into the journals."""
    for path in station.data.logs.glob("*"):
        path.unlink()


def journal(station: Station, job: str, *lines: str) -> None:
    """Write the journal of a job: ``<UTC time> | <day> | <the rest>`` per line, oldest first."""
    station.data.logs.mkdir(parents=True, exist_ok=True)
    texts = [line.replace(" | ", f" | {job} | ", 1) for line in lines]
    (station.data.logs / f"{job}.log").write_text("".join(f"{text}\n" for text in texts))


def report(station: Station, *, now: datetime = LOOKED_AT, **given: Any) -> StepResult:
    with closing(open_database(station.path, read_only=True)) as db:
        return report_status(db, station.data, today=DAY, now=now, **given)


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.truncate(size)


# --- the report -----------------------------------------------------------------------------------------------------


def test_the_report_answers_what_an_operator_asks_first(loaded: Station, tmp_path: Path) -> None:
    """R48 and section 7, as one literal."""
    write(loaded.data.daily / "Commercial Log 250828.xlsx", 2_000_000)
    write(loaded.dated(), 2_060_000)
    write(loaded.data.archive / "commercial-logs-2025-07.zip", 60_000_000)
    write(loaded.data.archive / "commercial-logs-2025-08.zip", 48_000_000)
    store = FolderStore(tmp_path / "cloud")
    for name in ("database_backup_20250901_020512.db", "database_backup_20250902_020633.db", "holiday.jpg"):
        write(store.folder / name, 10)
    journal(
        loaded,
        "commercial_log_import",
        "2025-09-01T08:01:00+00:00 | 2025-09-01 | SUCCESS | Duration: 15.1s | rows: 15617",
        "2025-09-02T08:02:00+00:00 | 2025-09-02 | SUCCESS | Duration: 14.9s | rows: 15620",
    )
    journal(
        loaded,
        "commercial_log_update",
        "2025-09-02T08:31:00+00:00 | 2025-09-02 | SUCCESS | Duration: 3.4s | Batch: weekly_update_1756801800 | rows: 4",
    )
    found = report(loaded, store=nullcontext(store))
    free, database = found.facts["storage"].pop("disk_free_mb"), found.facts["storage"].pop("database_mb")
    assert found == StepResult(
        where=str(loaded.data.root),
        facts={
            "at": "2025-09-02T03:00:00-07:00",
            "data": {
                "loaded_at": "2025-09-02T01:30:00-07:00",
                "batch": "weekly_update_1756801800",
                "file": "Commercial Log 250902.xlsx",
                "stale": False,
            },
            "running": [],
            "months": {"open": 1, "closed": 1},
            "review": {"review_queue": 3, "undetermined_high_value": 1},
            "jobs": {
                "commercial_log_import": [
                    {
                        "job": "commercial_log_import",
                        "at": "2025-09-02T01:02:00-07:00",
                        "day": "2025-09-02",
                        "state": "SUCCESS",
                        "seconds": 14.9,
                        "detail": "rows: 15620",
                    },
                    {
                        "job": "commercial_log_import",
                        "at": "2025-09-01T01:01:00-07:00",
                        "day": "2025-09-01",
                        "state": "SUCCESS",
                        "seconds": 15.1,
                        "detail": "rows: 15617",
                    },
                ],
                "commercial_log_update": [
                    {
                        "job": "commercial_log_update",
                        "at": "2025-09-02T01:31:00-07:00",
                        "day": "2025-09-02",
                        "state": "SUCCESS",
                        "seconds": 3.4,
                        "detail": "Batch: weekly_update_1756801800 | rows: 4",
                    }
                ],
                "commercial_log_rotation": [],
                backup.JOB: [],
            },
            "recurring_errors": [],
            "storage": {
                "workbooks": {"count": 2, "mb": 4.06, "oldest": "2025-08-28", "newest": "2025-09-02"},
                "archives": {
                    "count": 2,
                    "mb": 108.0,
                    "oldest": "2025-07",
                    "newest": "2025-08",
                    "by_month": {"2025-07": 60.0, "2025-08": 48.0},
                },
                "logs_mb": 0.0,
            },
            "backups": {"where": str(store.folder), "count": 2, "newest": "database_backup_20250902_020633.db"},
            "today": [
                {
                    "job": "commercial_log_import",
                    "at": "2025-09-02T01:02:00-07:00",
                    "day": "2025-09-02",
                    "state": "SUCCESS",
                    "seconds": 14.9,
                    "detail": "rows: 15620",
                },
                {
                    "job": "commercial_log_update",
                    "at": "2025-09-02T01:31:00-07:00",
                    "day": "2025-09-02",
                    "state": "SUCCESS",
                    "seconds": 3.4,
                    "detail": "Batch: weekly_update_1756801800 | rows: 4",
                },
            ],
        },
    )
    assert free > 0
    assert 0.1 < database < 2


def test_the_report_is_text_that_can_be_read_at_three_in_the_morning() -> None:
    """What needs attention comes first."""

    def run(job: str, at: str, state: str, seconds: float, detail: str) -> dict[str, Any]:
        return {"job": job, "at": at, "day": "2025-09-02", "state": state, "seconds": seconds, "detail": detail}

    copied = run("commercial_log_import", "2025-09-02T01:02:00-07:00", "SUCCESS", 14.9, "rows: 15620")
    failed = run("commercial_log_update", "2025-09-02T01:31:00-07:00", "FAILED", 0.4, "ERROR no space left")
    earlier = run("commercial_log_update", "2025-08-31T01:31:00-07:00", "SUCCESS", 28.3, "")
    found = StepResult(
        where="data",
        warnings=("The data is stale.", "commercial_log_update failed 1.5 h ago: no space left"),
        facts={
            "at": "2025-09-02T03:00:00-07:00",
            "data": {
                "loaded_at": "2025-08-31T01:31:00-07:00",
                "batch": "weekly_update_1",
                "file": "Commercial Log 250831.xlsx",
                "stale": True,
            },
            "running": [
                {"batch": "historical_9", "file": "recap.xlsx", "since": "2025-09-02T02:45:00-07:00"},
            ],
            "months": {"open": 7, "closed": 56},
            "review": {"review_queue": 5912, "undetermined_high_value": 3},
            "jobs": {
                "commercial_log_import": [copied],
                "commercial_log_update": [failed, earlier],
                "commercial_log_rotation": [],
            },
            "recurring_errors": [{"job": "commercial_log_update", "times": 2, "error": "no space left"}],
            "storage": {
                "workbooks": {"count": 7, "mb": 14.04, "oldest": "2025-08-27", "newest": "2025-09-02"},
                "archives": {"count": 0, "mb": 0.0, "oldest": None, "newest": None, "by_month": {}},
                "logs_mb": 1.2,
                "database_mb": 1234.5,
                "disk_free_mb": 78123.4,
            },
            "backups": {"where": "s3://b/", "count": 7, "newest": "database_backup_20250902_020512.db"},
            "today": [copied, failed],
        },
    )
    assert render_status(found) == (
        """\
Commercial log, Tuesday 2025-09-02 03:00 station time

Needs attention:
  ! The data is stale.
  ! commercial_log_update failed 1.5 h ago: no space left

Data       STALE, Commercial Log 250831.xlsx loaded 2025-08-31 01:31 (2.1 days ago)
Running    historical_9 since 2025-09-02 02:45 (15 min ago)
Months     7 open, 56 closed
Review     5,912 spots wait for a language, 3 undetermined at $1,000 or more
Workbooks  7 files, 14.0 MB, 2025-08-27 to 2025-09-02
Archives   0 files, 0.0 MB
Database   1,234.5 MB
Disk free  78,123.4 MB
Backups    7, newest database_backup_20250902_020512.db

Job                      Last result  When                          Last 10 durations (s), newest first (! failed)
commercial_log_import    SUCCESS      2025-09-02 01:02 (2.0 h ago)  14.9
commercial_log_update    FAILED       2025-09-02 01:31 (1.5 h ago)  0.4! 28.3
commercial_log_rotation  never ran

Errors that came back within the last 20 runs of a job:
  commercial_log_update, 2 times: no space left

Today:
  01:02  commercial_log_import  SUCCESS  14.9 s  rows: 15620
  01:31  commercial_log_update  FAILED   0.4 s   ERROR no space left"""
    )


def test_a_quiet_day_says_that_all_is_well(loaded: Station) -> None:
    lines = render_status(report(loaded)).splitlines()
    assert lines[:5] == [
        "Commercial log, Tuesday 2025-09-02 03:00 station time",
        "",
        "All is well.",
        "",
        "Data       fresh, Commercial Log 250902.xlsx loaded 2025-09-02 01:30 (1.5 h ago)",
    ]
    assert lines[-1] == "Today: no run has ended yet."


def test_a_new_installation_is_reported_too(station: Station) -> None:
    found = report(station)
    assert found.warnings == ("No workbook has been loaded into the database yet.",)
    assert found.facts["months"] == {"open": 0, "closed": 0}
    assert found.facts["backups"] is None
    assert "Data       STALE, nothing was ever loaded" in render_status(found).splitlines()


@pytest.mark.parametrize(("seconds", "stale"), [(24 * 3600, False), (24 * 3600 + 1, True)])
def test_data_is_stale_after_24_hours(loaded: Station, seconds: int, stale: bool) -> None:  # noqa: FBT001
    found = report(loaded, now=NOW + timedelta(seconds=seconds))
    assert found.facts["data"]["stale"] is stale
    expected = ("The data is stale: the last load was 2025-09-02 01:30 (24.0 h ago).",) if stale else ()
    assert found.warnings == expected


def test_a_failed_load_does_not_make_the_data_fresh(loaded: Station) -> None:
    """Freshness is the time of the last COMPLETED batch."""
    loaded.sql(
        "INSERT INTO import_batches (batch_id, import_date, completed_at, import_mode, status)"
        " VALUES ('weekly_update_9', '2025-09-04 08:30:00', '2025-09-04 08:30:09', 'WEEKLY_UPDATE', 'FAILED')"
    )
    assert report(loaded).facts["data"]["batch"] == "weekly_update_1756801800"


def test_the_last_failure_of_a_job_needs_attention_until_it_succeeds(loaded: Station) -> None:
    failed = "2025-09-02T08:00:00+00:00 | 2025-09-02 | FAILED | Duration: 10.2s | ERROR cannot reach K drive server"
    journal(loaded, "commercial_log_import", failed)
    assert report(loaded).warnings == ("commercial_log_import failed 2.0 h ago: cannot reach K drive server",)
    succeeded = "2025-09-02T08:10:00+00:00 | 2025-09-02 | SUCCESS | Duration: 15.0s | rows: 4"
    journal(loaded, "commercial_log_import", failed, succeeded)
    assert report(loaded).warnings == ()


def test_a_dry_run_does_not_hide_the_failure_of_the_night(loaded: Station) -> None:
    """R48, R55: it writes nothing, so nothing has become right."""
    failed = "2025-09-02T08:30:00+00:00 | 2025-09-02 | FAILED | Duration: 1.0s | ERROR disk full"
    journal(loaded, "commercial_log_update", failed)
    loaded.load(dry_run=True)
    found = report(loaded)
    assert found.warnings == ("commercial_log_update failed 1.5 h ago: disk full",)
    assert [run["state"] for run in found.facts["jobs"]["commercial_log_update"]] == ["FAILED"]


def test_an_error_that_comes_back_is_shown_once_with_its_newest_text(loaded: Station) -> None:
    """Section 7: recurring errors. A date in the text does not make it another error."""
    lines = [
        f"2025-08-{day}T08:00:00+00:00 | 2025-08-{day} | FAILED | Duration: 1.0s | ERROR no workbook of 2025-08-{day}"
        for day in (26, 27, 28)
    ]
    once = "2025-08-29T08:00:00+00:00 | 2025-08-29 | FAILED | Duration: 1.0s | ERROR disk full"
    fine = "2025-08-30T08:00:00+00:00 | 2025-08-30 | SUCCESS | Duration: 1.0s"
    journal(loaded, "commercial_log_update", *lines, once, fine)
    assert report(loaded).facts["recurring_errors"] == [
        {"job": "commercial_log_update", "times": 3, "error": "no workbook of 2025-08-28"}
    ]


def test_only_the_last_20_runs_are_searched_for_errors(loaded: Station) -> None:
    failed = ["2025-07-01T08:00:00+00:00 | 2025-07-01 | FAILED | Duration: 1.0s | ERROR disk full"] * 2
    fine = ["2025-08-01T08:00:00+00:00 | 2025-08-01 | SUCCESS | Duration: 1.0s"] * 19
    journal(loaded, "commercial_log_update", *failed, *fine)
    assert report(loaded).facts["recurring_errors"] == []
    journal(loaded, "commercial_log_update", *failed, *fine[1:])
    assert [each["times"] for each in report(loaded).facts["recurring_errors"]] == [2]


def test_the_last_ten_durations_are_kept_newest_first(loaded: Station) -> None:
    lines = [f"2025-08-{day}T08:00:00+00:00 | 2025-08-{day} | SUCCESS | Duration: {day}.0s" for day in range(10, 31)]
    journal(loaded, "commercial_log_rotation", *lines)
    found = report(loaded)
    assert [run["seconds"] for run in found.facts["jobs"]["commercial_log_rotation"]] == [
        *(30.0, 29.0, 28.0, 27.0, 26.0, 25.0, 24.0, 23.0, 22.0, 21.0)
    ]


def test_today_is_the_day_at_the_station_and_holds_every_job(loaded: Station) -> None:
    """The conventions of the domain: all clock times are station time. 06:59 UTC is 23:59 of the day before."""
    journal(
        loaded,
        "commercial_log_month_close",
        "2025-09-02T06:59:59+00:00 | 2025-09-01 | SUCCESS | Duration: 0.1s",
        "2025-09-02T07:00:00+00:00 | 2025-09-02 | SUCCESS | Duration: 0.2s",
    )
    assert [(run["job"], run["at"]) for run in report(loaded).facts["today"]] == [
        ("commercial_log_month_close", "2025-09-02T00:00:00-07:00")
    ]


def test_a_batch_that_runs_for_over_an_hour_needs_attention(loaded: Station) -> None:
    """R34."""
    for batch, started in (("historical_1", "2025-09-02 08:59:59"), ("historical_2", "2025-09-02 09:00:00")):
        loaded.sql(
            "INSERT INTO import_batches (batch_id, import_date, import_mode, source_file, status)"
            " VALUES (?, ?, 'HISTORICAL', 'recap.xlsx', 'RUNNING')",
            batch,
            started,
        )
    found = report(loaded)
    assert found.facts["running"] == [
        {"batch": "historical_2", "file": "recap.xlsx", "since": "2025-09-02T02:00:00-07:00"},
        {"batch": "historical_1", "file": "recap.xlsx", "since": "2025-09-02T01:59:59-07:00"},
    ]
    assert found.warnings == (
        "historical_1 is marked RUNNING since 2025-09-02 01:59 (1.0 h ago); if no update is at work, clean up.",
    )


def test_a_backup_store_out_of_reach_is_a_warning_and_the_rest_is_reported(loaded: Station, tmp_path: Path) -> None:
    found = report(loaded, store=nullcontext(FolderStore(tmp_path / "not mounted")))
    assert found.warnings == (
        f"The backups could not be listed: The backup folder {tmp_path / 'not mounted'} is not there. "
        "Next step: Mount it, or make it if it is new; then clear the task.",
    )
    assert found.facts["backups"] is None
    assert found.facts["months"] == {"open": 1, "closed": 1}


def test_a_disk_too_full_for_a_snapshot_needs_attention(loaded: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 100_000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    (warning,) = report(loaded).warnings
    assert re.fullmatch(rf"Only 0 MB are free in {loaded.data.root}: a snapshot of the database needs \d MB\.", warning)


def test_the_report_changes_nothing(loaded: Station, tmp_path: Path) -> None:
    """R48: not a byte, not even in the journals."""

    def hashes() -> dict[str, str]:
        files = (path for path in tmp_path.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    journal(loaded, "commercial_log_update", "2025-09-02T08:31:00+00:00 | 2025-09-02 | SUCCESS | Duration: 3.4s")
    before = hashes()
    report(loaded)
    assert hashes() == before


def test_no_query_of_the_report_visits_every_spot(loaded: Station) -> None:
    """It has to answer within 5 s for 1.1 million spots, so spots are sought, and only flagged ones one by one."""
    queries: list[str] = []
    with closing(open_database(loaded.path, read_only=True)) as db:
        db.set_trace_callback(queries.append)
        report_status(db, loaded.data, today=DAY, now=LOOKED_AT)
        db.set_trace_callback(None)
        queries = [query for query in queries if "spot" in query]
        plans = [line for query in queries for *_, line in db.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert len(queries) >= 2
    scanned = [line for line in plans if re.match(r"SCAN (s|spots|a|spot_language_assignments)\b", line)]
    assert [line for line in scanned if not line.endswith("INDEX idx_spot_language_assignments_review")] == []


def test_a_missing_data_folder_is_named(station: Station, tmp_path: Path) -> None:
    station.data.root.rmdir()
    with pytest.raises(SourceMissing) as missing:
        report(station)
    assert missing.value.what == f"commercial_log: there is no data folder {tmp_path / 'data'}."


# --- storage --------------------------------------------------------------------------------------------------------


def test_only_files_named_as_agreed_are_counted(loaded: Station) -> None:
    """R46, R48: by the date in the name, whatever the time of the file."""
    loaded.dated().unlink()
    for name in ("Commercial Log 250831.xlsx", "Commercial Log 250105.xlsx"):
        write(loaded.data.daily / name, 1_000_000)
    for name in ("~$Commercial Log 250831.xlsx", "Commercial Log 250901 (1).xlsx", "Commercial Log 251341.xlsx"):
        write(loaded.data.daily / name, 9_000_000)
    write(loaded.data.archive / "commercial-logs-2025-13.zip", 9_000_000)
    write(loaded.data.archive / "old.zip", 9_000_000)
    with closing(loaded.open()) as db:
        found = storage_report(db, loaded.data)
    assert found["workbooks"] == {"count": 2, "mb": 2.0, "oldest": "2025-01-05", "newest": "2025-08-31"}
    assert found["archives"] == {"count": 0, "mb": 0.0, "oldest": None, "newest": None, "by_month": {}}


def test_the_storage_report_shows_how_the_archives_grow() -> None:
    """The checklist's storage trend."""
    text = render_storage(
        {
            "workbooks": {"count": 7, "mb": 14.0, "oldest": "2025-08-27", "newest": "2025-09-02"},
            "archives": {
                "count": 2,
                "mb": 118.1,
                "oldest": "2025-07",
                "newest": "2025-08",
                "by_month": {"2025-07": 57.9, "2025-08": 60.2},
            },
            "logs_mb": 12.0,
            "database_mb": 1234.5,
            "disk_free_mb": 78123.4,
        }
    )
    assert text == (
        "Workbooks  7 files, 14.0 MB, 2025-08-27 to 2025-09-02\n"
        "Archives   2 files, 118.1 MB, 2025-07 to 2025-08\n"
        "Database   1,234.5 MB\n"
        "Disk free  78,123.4 MB\n"
        "Logs       12.0 MB\n"
        "\n"
        "Archive     MB\n"
        "2025-07  57.90\n"
        "2025-08  60.20"
    )


def test_numbers_stand_to_the_right_and_text_to_the_left() -> None:
    """A code like 13 is text; nothing is a dash on either side."""
    rows = [("Sep-25", 1050, -2.5, "13", None), ("Oct-25", None, 10.0, None, None)]
    assert render_table(("month", "spots", "net", "code", "by"), rows) == (
        "month   spots    net  code  by\nSep-25  1,050  -2.50  13     -\nOct-25      -  10.00  -      -"
    )
    assert render_table(("month", "spots"), []) == "month  spots"


# --- history and checks ---------------------------------------------------------------------------------------------


def test_the_history_lists_the_newest_loads_first(loaded: Station) -> None:
    """Section 7: id, mode, file, status, imported, deleted, months."""
    with pytest.raises(ContractViolation):
        loaded.load([row(broadcast_month=each) for each in ("Oct-25", *["Smarch"] * 30)], DAY + timedelta(days=1))
    loaded.load(ROWS[:3], DAY + timedelta(days=2))
    with closing(loaded.open()) as db:
        history = import_history(db, last=3)
        assert [batch["batch_id"] for batch in import_history(db, last=1)] == [history[0]["batch_id"]]
    error = history[1].pop("error_summary")
    assert "30 rows rejected, 20 allowed" in error
    common = {"import_mode": "WEEKLY_UPDATE", "started_by": "airflow"}
    assert history == [
        {
            "batch_id": "weekly_update_1756974600",
            "status": "COMPLETED",
            "import_date": "2025-09-04 08:30:00",
            "completed_at": "2025-09-04 08:30:00",
            "source_file": "Commercial Log 250904.xlsx",
            "source_date": "2025-09-04",
            "records_imported": 1,
            "records_deleted": 2,
            "rows_inserted": 0,
            "rows_removed": 1,
            "rows_rejected": 0,
            "months": ["Oct-25"],
            "error_summary": None,
            **common,
        },
        {
            "batch_id": "weekly_update_1756888200",
            "status": "FAILED",
            "import_date": "2025-09-03 08:30:00",
            "completed_at": "2025-09-03 08:30:00",
            "source_file": "Commercial Log 250903.xlsx",
            "source_date": "2025-09-03",
            "records_imported": 0,
            "records_deleted": 0,
            "rows_inserted": 0,
            "rows_removed": 0,
            "rows_rejected": 0,
            "months": [],
            **common,
        },
        {
            "batch_id": "weekly_update_1756801800",
            "status": "COMPLETED",
            "import_date": "2025-09-02 08:30:00",
            "completed_at": "2025-09-02 08:30:00",
            "source_file": "Commercial Log 250902.xlsx",
            "source_date": "2025-09-02",
            "records_imported": 4,
            "records_deleted": 0,
            "rows_inserted": 4,
            "rows_removed": 0,
            "rows_rejected": 0,
            "months": ["Sep-25", "Oct-25"],
            "error_summary": None,
            **common,
        },
    ]


@pytest.fixture
def years(station: Station) -> Station:
    """October to December 2024, imported as history and so closed, and January 2025, open."""
    months = ("Oct-24", "Nov-24", "Dec-24")
    path = station.put([row(broadcast_month=month, gross_rate=100.0, station_net=85.0) for month in months])
    station.load(mode="HISTORICAL", data_file=path, closed_by="ann")
    station.load([row(broadcast_month="Jan-25", gross_rate=0.25, station_net=0.2)], DAY + timedelta(days=1))
    return station


def validate(station: Station, today: date = DAY) -> StepResult:
    with closing(open_database(station.path, read_only=True)) as db:
        return validate_database(db, today=today)


def test_a_sound_database_is_summed_up_by_year(years: Station) -> None:
    assert validate(years) == StepResult(
        where=str(years.path),
        read=4,
        facts={
            "years": {
                "2024": {"closed_months": 3, "spots": 3, "gross": 300.0, "net": 255.0},
                "2025": {"closed_months": 0, "spots": 1, "gross": 0.25, "net": 0.2},
            }
        },
    )


def test_every_month_of_a_past_year_has_to_be_there_and_closed(years: Station) -> None:
    """Section 7: all 12 months of past years closed. A month that vanished is worse than one that is open."""
    years.sql("DELETE FROM spots WHERE broadcast_month = 'Nov-24'")
    years.sql("DELETE FROM month_closures WHERE broadcast_month IN ('Nov-24', 'Dec-24')")
    assert validate(years).warnings == (
        "Nov-24 of a past year is without spots.",
        "Dec-24 of a past year is open.",
    )
    assert validate(years, date(2026, 1, 1)).warnings[2:] == (
        "Jan-25 of a past year is open.",
        *(
            f"{month}-25 of a past year is without spots."
            for month in ("Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
        ),
    )


def test_a_closed_month_without_spots_is_reported(years: Station) -> None:
    """A lost month of revenue that finance has reported."""
    years.sql("DELETE FROM spots WHERE broadcast_month = 'Nov-24'")
    assert validate(years).warnings == (
        "Nov-24 of a past year is without spots.",
        "Nov-24 held 1 spots, $100.00 gross and $85.00 net when it was closed, now it holds 0 spots, $0.00 gross and "
        "$0.00 net.",
    )


def test_spots_that_came_into_a_closed_month_are_reported(years: Station) -> None:
    """R17: closed months are not changed; section 8, 17: all their spots are historical."""
    assert validate(years).warnings == ()
    years.sql(
        "UPDATE spots SET broadcast_month = 'Dec-24', import_batch_id = 'weekly_update_1756888200'"
        " WHERE broadcast_month = 'Jan-25'"
    )
    years.sql("UPDATE month_closures SET created_date = '2025-09-02 12:00:00'")
    assert validate(years).warnings == (
        "Dec-24 is closed, but 1 of its spots were loaded afterwards and 1 are not marked historical.",
        "Dec-24 held 1 spots, $100.00 gross and $85.00 net when it was closed, now it holds 2 spots, $100.25 gross and "
        "$85.20 net.",
    )


def test_a_month_loaded_before_it_was_closed_is_in_order(years: Station) -> None:
    years.sql("UPDATE spots SET is_historical = 1")
    years.sql(
        "INSERT INTO month_closures (broadcast_month, closed_date, closed_by, created_date)"
        " VALUES ('Jan-25', '2025-09-05', 'ann', '2025-09-05 12:00:00')"
    )
    assert validate(years).warnings == ()


@pytest.mark.parametrize(
    ("change", "now"),
    [
        ("DELETE FROM spots WHERE media = 'a'", "1 spots, $50.00 gross and $42.50 net"),
        ("UPDATE spots SET gross_rate = gross_rate - 10 WHERE media = 'a'", "2 spots, $140.00 gross and $127.50 net"),
        ("UPDATE spots SET station_net = NULL WHERE media = 'a'", "2 spots, $150.00 gross and $42.50 net"),
        ("UPDATE spots SET broadcast_month = 'Dec-24' WHERE broadcast_month = 'Nov-24'", "nothing"),
    ],
)
def test_a_closed_month_that_is_not_what_it_was_when_it_was_closed_is_reported(
    years: Station, change: str, now: str
) -> None:
    """Section 7: closed years unchanged in count and revenue, whoever changed them."""
    rows_of_november = [row(broadcast_month="Nov-24", media="a", gross_rate=100.0, station_net=85.0)]
    rows_of_november += [row(broadcast_month="Nov-24", media="b", gross_rate=50.0, station_net=42.5)]
    years.load(rows_of_november, DAY + timedelta(days=2), mode="HISTORICAL", closed_by="bob")
    assert validate(years).warnings == ()  # a historical import is what finance reports from then on
    years.sql(f"{change} AND broadcast_month = 'Nov-24'")
    assert (
        "Nov-24 held 2 spots, $150.00 gross and $127.50 net when it was closed, now it holds "
        + ("0 spots, $0.00 gross and $0.00 net." if now == "nothing" else f"{now}.")
    ) in validate(years).warnings


def test_a_month_closed_again_keeps_what_it_held_when_it_was_closed(years: Station) -> None:
    """R36, section 7: asking twice must not make a loss the new truth."""
    with closing(years.open()) as db:
        close_months(db, years.data, ["Jan-25"], closed_by="ann", today=DAY)
        db.execute("UPDATE spots SET gross_rate = 0.2 WHERE broadcast_month = 'Jan-25'")
        close_months(db, years.data, ["Jan-25"], closed_by="bob", today=DAY)
    assert validate(years).warnings == (
        "Jan-25 held 1 spots, $0.25 gross and $0.20 net when it was closed, now it holds 1 spots, $0.20 gross and "
        "$0.20 net.",
    )


def test_a_month_closed_before_its_totals_were_kept_is_not_compared(years: Station) -> None:
    """Section 7."""
    years.sql("DELETE FROM month_closure_totals")
    years.sql("UPDATE spots SET gross_rate = 1 WHERE broadcast_month = 'Nov-24'")
    assert validate(years).warnings == ()


def test_an_empty_database_is_sound(station: Station) -> None:
    assert validate(station) == StepResult(where=str(station.path), facts={"years": {}})


def test_a_reference_that_leads_nowhere_fails_the_check(years: Station) -> None:
    with closing(sqlite3.connect(years.path)) as other, other:
        other.execute("UPDATE spots SET customer_id = 77, market_id = 99 WHERE broadcast_month <> 'Jan-25'")
    with pytest.raises(CheckFailed) as failed:
        validate(years)
    assert failed.value.what == (
        f"commercial_log: references lead nowhere in {years.path}: 3 from spots to markets, 3 from spots to customers."
    )


def test_a_damaged_file_fails_the_check(years: Station) -> None:
    years.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    page = years.sql("SELECT rootpage FROM sqlite_master WHERE name = 'idx_spots_air_date'")[0][0]
    size = years.sql("PRAGMA page_size")[0][0]
    with years.path.open("r+b") as stream:
        stream.seek((page - 1) * size)
        stream.write(b"\x00" * size)
    with pytest.raises(CheckFailed, match=rf"the database {re.escape(str(years.path))} is damaged: .*restore"):
        validate(years)


# --- stuck batches --------------------------------------------------------------------------------------------------


def clean_up(station: Station) -> StepResult:
    with closing(station.open()) as db:
        return clean_up_batches(db, station.data, now=LOOKED_AT)


def test_a_batch_that_a_killed_run_left_is_marked_failed(loaded: Station) -> None:
    """R34."""
    loaded.sql("UPDATE import_batches SET status = 'RUNNING', completed_at = NULL")
    assert clean_up(loaded) == StepResult(where="import_batches", written=1)
    assert loaded.sql("SELECT status, completed_at, error_summary FROM import_batches") == [
        ("FAILED", "2025-09-02 10:00:00", "Import timed out or was interrupted")
    ]
    before = loaded.dump()
    assert clean_up(loaded) == StepResult(where="import_batches", written=0)
    assert loaded.dump() == before


def test_the_batch_of_a_run_at_work_is_not_stuck(loaded: Station) -> None:
    loaded.sql("UPDATE import_batches SET status = 'RUNNING'")
    before = loaded.dump()
    with locks.hold(loaded.data.database_lock, "commercial_log_update"), pytest.raises(StoreBusy):
        clean_up(loaded)
    assert loaded.dump() == before
