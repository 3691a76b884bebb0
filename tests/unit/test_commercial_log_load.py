"""The load of a dated workbook: domain rules R11, R12, R15 to R20, R26, R28, R31 to R36, R42, R52, R55."""

# ruff: noqa: DTZ001 - cells have no time zone

from __future__ import annotations

import io
import json
import logging
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.database import open_database
from include.commercial_log.load import load_bookings
from include.commercial_log.months import close_months
from include.commercial_log.rotation import archive_of
from include.common import locks
from include.common.journal import read_journal
from include.common.settings import read_settings
from include.common.shares import LocalShare
from include.errors import (
    AlreadyRunning,
    CheckFailed,
    ContractViolation,
    RequestRefused,
    SourceMissing,
    StaleInput,
    StoreBusy,
    StoreFull,
)
from sandbox.servers.faults import small_disk
from tests.unit.commercial_log_helpers import (
    BATCH,
    DAY,
    HEADER,
    NOW,
    STORED,
    Station,
    row,
    rows,
    stored,
    write_workbook,
)
from tests.unit.forked import run_in_child

ROOT = Path(__file__).resolve().parents[2]
AUDIT = ("import_batches", "import_rejects")
AUGUST = {"broadcast_month": "Aug-25", "air_date": datetime(2025, 8, 20)}
OCTOBER = {"broadcast_month": "Oct-25", "air_date": datetime(2025, 10, 1)}
ONE_DAY = timedelta(days=1)
COMMENTS = [*STORED].index("comments")


def batches(station: Station) -> list[tuple[Any, ...]]:
    return station.sql("SELECT batch_id, status, error_summary FROM import_batches ORDER BY import_date, batch_id")


def on_begin(station: Station, number: int, act: Callable[[sqlite3.Connection], object]) -> Callable[[str], None]:
    """A trace that lets another program act right before the load begins its transaction of that number: the batch row
    is the first, the remarks are the second, the replacement is the third."""
    seen = 0

    def trace(statement: str) -> None:
        nonlocal seen
        seen += statement == "BEGIN IMMEDIATE"
        if seen == number:
            seen += 1
            with closing(open_database(station.path)) as other:
                act(other)

    return trace


def load_with(station: Station, db: sqlite3.Connection, **how: Any) -> Any:
    options: dict[str, Any] = {"day": DAY, "now": NOW, "settings": Settings()} | how
    return load_bookings(db, station.data, **options)


# --- what a load does -----------------------------------------------------------------------------------------------


def test_an_accepted_row_becomes_one_spot_with_all_its_columns(station: Station) -> None:
    """4.1, R28, R34."""
    station.load([row()])
    with closing(station.open()) as db:
        db.row_factory = sqlite3.Row
        spots = [dict(each) for each in db.execute("SELECT * FROM spots")]
        row_hash = spots[0].pop("row_hash")
    assert len(row_hash) == 64
    assert spots == [
        {
            "spot_id": 1,
            "bill_code": "North Media:Blue Farms",
            "air_date": "2025-09-03",
            "end_date": "2025-09-03",
            "day_of_week": "wednesday",
            "time_in": "06:00:00",
            "time_out": "23:59:00",
            "length_seconds": "00:00:30",
            "media": "Blue Farms Fall 1",
            "comments": None,
            "language_code": "V",
            "format": "Evening News",
            "sequence_number": 1,
            "line_number": 3,
            "spot_type": "COM",
            "estimate": "E-20418",
            "gross_rate": 85.0,
            "make_good": None,
            "spot_value": 85.0,
            "broadcast_month": "Sep-25",
            "broker_fees": None,
            "priority": 2,
            "station_net": 72.25,
            "sales_person": "House",
            "revenue_type": "Internal Ad Sales",
            "billing_type": "Broadcast",
            "agency_flag": "Agency",
            "affidavit_flag": "N",
            "contract": "41873",
            "market_name": "SFO",
            "customer_id": None,
            "agency_id": None,
            "market_id": 3,
            "language_id": 7,
            "load_date": "2025-09-02 08:30:00",
            "source_file": "Commercial Log 250902.xlsx:Commercials",
            "is_historical": 0,
            "effective_date": "2025-09-02",
            "import_batch_id": BATCH,
            "spot_category": "language_assignment_required",
        }
    ]


def test_the_day_of_a_run_is_the_stations_and_moments_are_kept_in_utc(station: Station) -> None:
    """4.1, R5: an evening at the station is the next day in UTC."""
    station.load(rows("a", **AUGUST), mode="HISTORICAL", closed_by="bob", now=datetime(2025, 9, 3, 5, tzinfo=UTC))
    assert station.sql("SELECT effective_date, load_date FROM spots") == [("2025-09-02", "2025-09-03 05:00:00")]
    assert station.sql("SELECT closed_date FROM month_closures") == [("2025-09-02",)]


def test_a_load_reports_and_records_every_count(station: Station) -> None:
    """R20, R32."""
    station.load([*rows("a", "b", "c"), *rows("x", **OCTOBER)])
    station.close_month("Jul-25")
    result = station.load(
        [
            row(media="a"),
            row(media="d", gross_rate=100.005),
            row(media="e", **AUGUST),
            row(broadcast_month="Jul-25"),
            row(broadcast_month="Jul-25", revenue_type="Trade"),
            row(revenue_type="trade"),
            row(bill_code=None),
            row(media="f", market_name="PHX", spot_type="?"),
            [" "],
        ],
        DAY + ONE_DAY,
    )
    seconds = result.facts["seconds"]
    assert result.as_dict() == {
        "where": str(station.path),
        "read": 8,
        "written": 4,
        "rejected": 1,
        "bytes": 0,
        "warnings": ["Preserved, as Commercial Log 250903.xlsx has no rows for them: Oct-25."],
        "facts": {
            "day": "2025-09-03",
            "file": "Commercial Log 250903.xlsx",
            "batch": "weekly_update_1756888200",
            "mode": "WEEKLY_UPDATE",
            "months": {"Aug-25": {"spots": 1, "gross": 85.0}, "Sep-25": {"spots": 3, "gross": 270.0}},
            "preserved": ["Oct-25"],
            "closed": ["Jul-25"],
            "skipped": None,
            "records_imported": 4,
            "records_deleted": 3,
            "rows_inserted": 3,
            "rows_removed": 2,
            "rows_unchanged": 1,
            "net_change": 1,
            "filtered_trade": 1,
            "filtered_closed": 2,
            "blank": 1,
            "remarks": {"MISSING_BILL_CODE": 1, "UNKNOWN_TYPE": 1},
            "new_markets": ["PHX"],
            "unresolved_markets": [],
            "unresolved_bill_codes": 1,
            "unresolved_agencies": 1,
            "categorized": 3,
            "processed": 4,
            "language_assigned": 3,
            "default_english_assigned": 0,
            "flagged_for_review": 1,
            "manual": 0,
            "seconds": seconds,
        },
    }
    assert list(seconds) == [
        "read the workbook",
        "parse and validate",
        "replace the open months",
        "categories and languages",
    ]
    with closing(station.open()) as db:
        db.row_factory = sqlite3.Row
        batch = dict(db.execute("SELECT * FROM import_batches ORDER BY import_date DESC LIMIT 1").fetchone())
    assert batch.pop("completed_at").startswith("2025-09-03 08:30:")
    assert len(batch.pop("source_sha256")) == 64
    assert batch == {
        "batch_id": "weekly_update_1756888200",
        "import_date": "2025-09-03 08:30:00",
        "import_mode": "WEEKLY_UPDATE",
        "source_file": "Commercial Log 250903.xlsx",
        "source_date": "2025-09-03",
        "broadcast_months_affected": '["Aug-25", "Sep-25"]',
        "records_imported": 4,
        "records_deleted": 3,
        "rows_read": 8,
        "rows_filtered_closed": 2,
        "rows_filtered_trade": 1,
        "rows_rejected": 1,
        "rows_inserted": 3,
        "rows_removed": 2,
        "rows_unchanged": 1,
        "status": "COMPLETED",
        "started_by": "airflow",
        "notes": "Preserved, as Commercial Log 250903.xlsx has no rows for them: Oct-25.",
        "error_summary": None,
    }
    assert station.sql("SELECT * FROM import_rejects ORDER BY reject_id") == [
        (
            1,
            "weekly_update_1756888200",
            "Commercial Log 250903.xlsx",
            "Commercials",
            8,
            "reject",
            "MISSING_BILL_CODE",
            "Bill Code",
            None,
            None,
            85.0,
            "2025-09-03 08:30:00",
        ),
        (
            2,
            "weekly_update_1756888200",
            "Commercial Log 250903.xlsx",
            "Commercials",
            9,
            "warning",
            "UNKNOWN_TYPE",
            "Type",
            "?",
            "North Media:Blue Farms",
            85.0,
            "2025-09-03 08:30:00",
        ),
    ]


def test_rejects_go_with_the_load_when_their_batch_is_over_400_days_old(station: Station) -> None:
    """4.1: the batches themselves stay."""
    bad = row(spot_type="?")
    station.load([bad], DAY - 401 * ONE_DAY)
    station.load([bad], DAY - 399 * ONE_DAY)
    station.load([row()], DAY, dry_run=True)
    station.put(rows("a"))
    with pytest.raises(RequestRefused):
        station.load(expected_year=2020)
    counts = "SELECT count(*) FROM import_rejects"
    assert station.sql(counts) == [(2,)]
    station.load([bad])
    assert station.sql("SELECT source_file FROM import_rejects") == [
        ("Commercial Log 240730.xlsx",),
        ("Commercial Log 250902.xlsx",),
    ]
    assert station.sql("SELECT count(*) FROM import_batches") == [(4,)]


def test_a_run_logs_its_progress_and_one_line_operators_search_for(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """R52."""
    with caplog.at_level(logging.INFO):
        station.load([row(), row(media="b", bill_code=None)])
    said = [message.split(" | ")[0].strip() for message in caplog.messages]
    assert [each for each in said if each.endswith("%")] == ["25 %", "50 %", "75 %", "90 %", "100 %"]
    assert caplog.messages[-1].startswith("SUCCESS | Duration: ")
    assert caplog.messages[-1].endswith(
        f"s | Batch: {BATCH} | rows: 1 | inserted: 1 | removed: 0 | unchanged: 0 | rejected: 1 | trade: 0"
    )
    [line] = read_journal(station.data.logs, "commercial_log_update")
    assert (line.day, line.state) == ("2025-09-02", "SUCCESS")
    assert line.detail.startswith(f"Batch: {BATCH} | rows: 1")


def test_the_log_names_the_months_replaced_preserved_and_closed(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """R52."""
    station.load([*rows("a", **AUGUST), *rows("b"), *rows("c", **OCTOBER)])
    station.close_month("Aug-25")
    with caplog.at_level(logging.INFO):
        station.load([*rows("x", "y", **AUGUST), *rows("b")])
    assert "months replaced: Sep-25; preserved: Oct-25; closed: Aug-25 (2 rows left out)" in caplog.messages


def test_a_failed_run_ends_with_its_reason_and_the_last_log_lines(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """R52, R53."""
    with caplog.at_level(logging.INFO), pytest.raises(ContractViolation) as failed:
        station.load([])
    assert caplog.messages[-1].startswith("FAILED | Duration: ")
    assert caplog.messages[-1].endswith(
        "s | ERROR Commercial Log 250902.xlsx, sheet 'Commercials': "
        "no broadcast months found in 0 rows, column 'Month'."
    )
    assert failed.value.__notes__[0].startswith("Last log lines:\nreading ")


@pytest.mark.parametrize("sheet", ["Data", "Commercials", "Commercial Lines", "Sheet1"])
def test_a_recap_workbook_may_call_its_sheet_otherwise(station: Station, sheet: str) -> None:
    """3.3."""
    station.put([row()], sheet=sheet)
    station.load()
    assert station.sql("SELECT source_file FROM spots") == [(f"Commercial Log 250902.xlsx:{sheet}",)]


def test_the_sheet_is_chosen_by_rank_and_not_by_place(station: Station) -> None:
    """3.3: Data, Commercials, Commercial Lines, Sheet1."""
    station.put(
        rows("wrong"),
        sheet="Sheet1",
        others={"Commercial Lines": [HEADER, row(media="wrong")], "Data": [HEADER, row(media="right")]},
    )
    station.load()
    assert station.titles() == ["right"]


def test_the_sheet_source_column_names_the_sheet_of_each_spot(station: Station) -> None:
    """R28."""
    station.put(
        [[*row(media="a"), "Commercials"], [*row(media="b"), "Worldlink Lines"]], header=[*HEADER, "sheet_source"]
    )
    station.load()
    assert station.sql("SELECT media, source_file FROM spots ORDER BY media") == [
        ("a", "Commercial Log 250902.xlsx:Commercials"),
        ("b", "Commercial Log 250902.xlsx:Worldlink Lines"),
    ]


def test_the_sum_of_a_month_is_the_sum_of_the_sheet(station: Station) -> None:
    """R26: text, credits and endless floats included; an empty rate is NULL and not 0."""
    amounts = [100 / 8.5, "$1,250.00", "(45.00)", 352.941176470588, None, 0, -17.5, 0.1 + 0.2]
    result = station.load([row(media=str(number), gross_rate=each) for number, each in enumerate(amounts)])
    expected = 100 / 8.5 + 1250 - 45 + 352.941176470588 - 17.5 + 0.3
    [(spots, total, empty)] = station.sql("SELECT count(*), sum(gross_rate), sum(gross_rate IS NULL) FROM spots")
    assert (spots, empty) == (8, 1)
    assert total == pytest.approx(expected, abs=1e-9)
    assert result.facts["months"] == {"Sep-25": {"spots": 8, "gross": round(expected, 2)}}


def test_a_database_that_does_not_keep_what_the_file_says_fails_the_run(station: Station) -> None:
    """R26, R31: the check is on what is stored, not on what was meant to be."""
    station.sql(
        "CREATE TRIGGER shave AFTER INSERT ON spots"
        " BEGIN UPDATE spots SET gross_rate = 80 WHERE spot_id = new.spot_id; END"
    )
    before = station.dump(without=AUDIT)
    with pytest.raises(CheckFailed) as failed:
        station.load(rows("a", "b"))
    assert failed.value.what == (
        "commercial_log: Sep-25 holds 2 spots and $160.00 gross after the load, "
        "Commercial Log 250902.xlsx says 2 and $170.00; nothing was saved."
    )
    assert station.dump(without=AUDIT) == before


# --- R11: which file ------------------------------------------------------------------------------------------------


def test_the_newest_date_in_the_names_wins_and_not_the_newest_file(station: Station) -> None:
    station.put(rows("today"), DAY)
    yesterday = station.put(rows("yesterday"), DAY - ONE_DAY)
    os.utime(yesterday, (2_000_000_000, 2_000_000_000))
    station.load()
    assert station.titles() == ["today"]


def test_files_of_later_days_and_names_that_only_look_alike_are_ignored(station: Station) -> None:
    """3.3: ``~$``, temporary names, copies, other cases, dates that do not exist; section 6: those are named."""
    station.put(rows("today"))
    station.put(rows("tomorrow"), DAY + ONE_DAY)
    for name in (
        "~$Commercial Log 250902.xlsx",
        ".Commercial Log 250902.xlsx.tmp",
        "Commercial Log 250902 (1).xlsx",
        "commercial log 250902.xlsx",
        "Commercial Log 250931.xlsx",
        "Commercial Log 20250902.xlsx",
        "Commercial Log 250902.XLSX",
        "Commercial Log 250902.xlsx.json",
    ):
        (station.data.daily / name).write_bytes(b"no workbook")
    (station.data.daily / "Commercial Log 250901.xlsx").mkdir()
    result = station.load()
    assert station.titles() == ["today"]
    assert result.warnings == tuple(
        f"{station.data.daily / name} looks like a dated workbook but is not named like one; it is ignored."
        for name in (
            "Commercial Log 20250902.xlsx",
            "Commercial Log 250902 (1).xlsx",
            "Commercial Log 250902.XLSX",
            "Commercial Log 250931.xlsx",
            "commercial log 250902.xlsx",
        )
    )


def test_yesterdays_file_is_loaded_with_a_warning(station: Station) -> None:
    station.put(rows("yesterday"), DAY - ONE_DAY)
    result = station.load()
    assert station.titles() == ["yesterday"]
    assert result.warnings == (
        "Stale input: there is no workbook of 2025-09-02; Commercial Log 250901.xlsx is loaded instead.",
    )
    assert station.sql("SELECT source_date, notes FROM import_batches") == [("2025-09-01", result.warnings[0])]


def test_an_older_file_is_stale_and_named(station: Station) -> None:
    """R11."""
    station.put(rows("old"), DAY - 2 * ONE_DAY)
    station.put(rows("older"), DAY - 9 * ONE_DAY)
    with pytest.raises(StaleInput) as stale:
        station.load()
    assert stale.value.what == (
        "commercial_log: the newest dated workbook up to 2025-09-02 is Commercial Log 250831.xlsx, "
        "2 days old (1 allowed)."
    )
    assert stale.value.next_step == (
        "Run commercial_log_import; to load Commercial Log 250831.xlsx on purpose, trigger the update with its date, "
        "2025-08-31."
    )
    assert (station.titles(), batches(station)) == ([], [])
    station.load(day=DAY - 2 * ONE_DAY)  # what the message says works
    assert station.titles() == ["old"]


@pytest.mark.parametrize(("allowed", "age", "loads"), [(0, 0, True), (0, 1, False), (3, 3, True), (3, 4, False)])
def test_the_age_that_is_allowed_is_a_setting(station: Station, allowed: int, age: int, loads: bool) -> None:  # noqa: FBT001
    station.put(rows("a"), DAY - age * ONE_DAY)
    if loads:
        station.load(settings=Settings(max_file_age_days=allowed))
        assert station.titles() == ["a"]
    else:
        with pytest.raises(StaleInput, match=f"{age} days old"):
            station.load(settings=Settings(max_file_age_days=allowed))


@pytest.mark.parametrize("how", [{}, {"mode": "HISTORICAL", "closed_by": "ann"}])
def test_a_day_to_come_is_refused_whatever_files_there_are(station: Station, how: dict[str, Any]) -> None:
    """R5: the run date is a day that has begun at the station, where it is 18:30 of the day before in this test."""
    path = station.put(rows("a"))
    given = {"data_file": path} if how else {}
    with pytest.raises(RequestRefused) as refused:
        station.load(day=DAY, now=datetime(2025, 9, 2, 1, 30, tzinfo=UTC), **given, **how)
    assert refused.value.what == "commercial_log: 2025-09-02 has not begun in its time zone (today is 2025-09-01)."
    assert (station.titles(), batches(station)) == ([], [])


@pytest.mark.parametrize("folder_exists", [True, False])
def test_no_dated_file_at_all_is_a_failure_that_says_what_to_run(station: Station, folder_exists: bool) -> None:  # noqa: FBT001
    if folder_exists:
        station.put(rows("tomorrow"), DAY + ONE_DAY)
    with pytest.raises(SourceMissing) as missing:
        station.load()
    assert missing.value.what == f"commercial_log: {station.data.daily} holds no dated workbook up to 2025-09-02."
    assert missing.value.next_step == "Run commercial_log_import for that day."


def test_a_given_file_overrides_the_choice(station: Station) -> None:
    station.put(rows("today"))
    elsewhere = write_workbook(station.path.parent / "Commercial Log 250820.xlsx", rows("given"))
    station.load(data_file=elsewhere)
    assert station.titles() == ["given"]
    assert station.sql("SELECT source_file, source_date FROM import_batches") == [
        ("Commercial Log 250820.xlsx", "2025-08-20")
    ]


def test_the_living_workbook_is_never_loaded(station: Station) -> None:
    """Section 8, 10: the known misconfiguration that bypassed stage 1."""
    write_workbook(station.workbook, rows("living"))
    with pytest.raises(RequestRefused, match=r"Commercial Log\.xlsx is not a dated workbook .* never reads the living"):
        station.load(data_file=station.workbook)
    assert (station.titles(), batches(station)) == ([], [])


def test_a_given_file_that_is_not_there_is_named(station: Station) -> None:
    with pytest.raises(SourceMissing, match=r"there is no file .*Commercial Log 250820\.xlsx"):
        station.load(data_file=station.data.daily / "Commercial Log 250820.xlsx")


@pytest.mark.parametrize(
    "how",
    [{}, {"recap": True}, {"force_stale": True}, {"mode": "MANUAL"}, {"mode": "HISTORICAL", "closed_by": "ann"}],
)
def test_a_file_named_after_a_day_to_come_is_refused_in_every_mode(station: Station, how: dict[str, Any]) -> None:
    """R5, R12: once loaded, its date would make the workbook of every night until then stale."""
    path = station.put(rows("a", **AUGUST), date(2026, 9, 2))
    with pytest.raises(RequestRefused) as refused:
        station.load(data_file=path, **how)
    assert refused.value.what == (
        "commercial_log, Commercial Log 260902.xlsx: 2026-09-02 has not begun in its time zone (today is 2025-09-02)."
    )
    assert (station.titles(), batches(station)) == ([], [])


# --- R12: never older over newer ------------------------------------------------------------------------------------


def test_an_older_file_than_the_loaded_one_is_refused(station: Station) -> None:
    station.load(rows("new"), DAY)
    before = station.dump()
    station.put(rows("old"), DAY - ONE_DAY)
    with pytest.raises(StaleInput) as stale:
        station.load(day=DAY - ONE_DAY)
    assert stale.value.what == (
        "commercial_log STALE_FILE: Commercial Log 250901.xlsx is older than the workbook of 2025-09-02 that is loaded "
        "already; loading it would overwrite newer bookings."
    )
    assert "force_stale" in stale.value.next_step
    with pytest.raises(StaleInput, match="STALE_FILE"):
        station.load(data_file=station.dated(DAY - ONE_DAY))
    assert station.dump() == before


def test_the_same_date_may_be_loaded_again(station: Station) -> None:
    station.load(rows("first"))
    station.load(rows("second"))
    assert station.titles() == ["second"]


def test_a_failed_load_of_a_newer_file_does_not_make_older_ones_stale(station: Station) -> None:
    with pytest.raises(ContractViolation):
        station.load([], DAY)
    station.load(rows("old"), DAY - ONE_DAY)
    assert station.titles() == ["old"]


def test_a_historical_import_does_not_make_the_workbooks_of_the_nights_stale(station: Station) -> None:
    """R12: it is about months of its own, whatever the date in its name."""
    station.load(rows("a", **AUGUST), DAY, mode="HISTORICAL", closed_by="ann")
    station.load(rows("b"), DAY - ONE_DAY)
    assert station.titles() == ["a", "b"]


def test_an_old_day_can_be_forced_and_is_taken_from_the_daily_folder(station: Station) -> None:
    station.load(rows("new"), DAY)
    station.load(rows("old"), DAY - 5 * ONE_DAY, force_stale=True)
    assert station.titles() == ["old"]


def test_forcing_needs_the_file_of_exactly_that_day(station: Station) -> None:
    station.put(rows("yesterday"), DAY - ONE_DAY)
    with pytest.raises(SourceMissing) as missing:
        station.load(day=DAY, force_stale=True)
    assert missing.value.what == (
        f"commercial_log: Commercial Log 250902.xlsx is neither in {station.data.daily} "
        "nor in commercial-logs-2025-09.zip."
    )


def test_a_forced_old_day_is_taken_from_its_monthly_archive(station: Station) -> None:
    station.load(rows("new"), DAY)
    old = DAY - timedelta(days=30)
    path = station.put(rows("old"), old)
    archive = archive_of(station.data, old)
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as members:
        members.write(path, path.name)
    path.unlink()
    files = station.files()
    station.load(day=old, force_stale=True)
    assert station.titles() == ["old"]
    assert station.sql("SELECT source_file FROM spots") == [("Commercial Log 250803.xlsx:Commercials",)]
    assert station.files() == files
    with pytest.raises(SourceMissing, match=r"250804\.xlsx is neither in .* nor in commercial-logs-2025-08\.zip"):
        station.load(day=old + ONE_DAY, force_stale=True)


def test_a_damaged_archive_is_named(station: Station) -> None:
    archive = archive_of(station.data, DAY)
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"PK\3\4 cut off")
    with pytest.raises(CheckFailed, match=r"250902\.xlsx cannot be taken from .*commercial-logs-2025-09\.zip"):
        station.load(force_stale=True)


# --- R15, R20: what is refused before any change --------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells", [[], [[None] * 29], rows("a", "b", broadcast_month=None), rows("a", "b", broadcast_month="soon")]
)
def test_a_file_without_any_month_is_refused(station: Station, cells: list[list[Any]]) -> None:
    """R15; section 8, 3."""
    station.load(rows("old"), DAY - ONE_DAY)
    before = station.dump(without=AUDIT)
    with pytest.raises(ContractViolation, match=r"no broadcast months found in \d rows, column 'Month'") as refused:
        station.load(cells)
    assert "Month column" in refused.value.next_step
    assert station.dump(without=AUDIT) == before


def many(good: int, bad: int, closed: int = 0) -> list[list[Any]]:
    cells = [row(media=f"{number:03d}") for number in range(good)]
    cells += [row(bill_code=None) for _ in range(bad)]
    return cells + [row(**AUGUST) for _ in range(closed)]


@pytest.mark.parametrize(
    ("cells", "allowed"),
    [
        (many(10, 20), None),
        (many(10, 21), 20),
        (many(399, 21), None),  # 5 % of 420 rows
        (many(398, 22), 21),
        (many(199, 21, closed=200), 20),  # rows of closed months do not count
    ],
)
def test_too_many_rejects_fail_the_run_before_any_change(
    station: Station, cells: list[list[Any]], allowed: int | None
) -> None:
    """R20: more than 20 rows and more than 5 % of the rows of open months."""
    station.load(rows("old"), DAY - ONE_DAY)
    station.close_month("Aug-25")
    before = station.dump(without=AUDIT)
    if allowed is None:
        station.load(cells)
        assert len(station.titles()) == sum(each[0] is not None for each in cells)
        return
    rejects = sum(each[0] is None for each in cells)
    first = next(number for number, each in enumerate(cells, start=2) if each[0] is None)
    with pytest.raises(ContractViolation) as refused:
        station.load(cells)
    assert refused.value.what == (
        f"Commercial Log 250902.xlsx, sheet 'Commercials': {rejects} rows rejected, {allowed} allowed; the first is "
        f"Excel row {first}, column 'Bill Code', MISSING_BILL_CODE."
    )
    assert station.dump(without=AUDIT) == before
    assert station.sql("SELECT count(*) FROM import_rejects WHERE severity = 'reject'") == [(rejects,)]
    assert batches(station)[-1][1:] == ("FAILED", str(refused.value))


@pytest.mark.parametrize(("limit", "rejects", "loads"), [(0, 0, True), (0, 1, False), (30, 30, True), (30, 31, False)])
def test_the_limit_of_rejects_is_a_setting(station: Station, limit: int, rejects: int, loads: bool) -> None:  # noqa: FBT001
    chosen = Settings(max_rejects=limit)
    if loads:
        station.load(many(3, rejects), settings=chosen)
        assert len(station.titles()) == 3
    else:
        with pytest.raises(ContractViolation, match=f"{rejects} rows rejected, {limit} allowed"):
            station.load(many(3, rejects), settings=chosen)


# --- R17, R18: months -----------------------------------------------------------------------------------------------


def test_a_closed_month_is_never_touched_whatever_the_file_says(station: Station) -> None:
    """R17."""
    station.load([*rows("a", "b", **AUGUST), *rows("c")])
    station.close_month("Aug-25")
    before = station.sql("SELECT * FROM spots WHERE broadcast_month = 'Aug-25'")
    result = station.load([*rows("x", "y", "z", **AUGUST), *rows("d")])
    assert station.sql("SELECT * FROM spots WHERE broadcast_month = 'Aug-25'") == before
    assert station.titles("Sep-25") == ["d"]
    assert (result.facts["filtered_closed"], result.facts["closed"]) == (3, ["Aug-25"])


def test_an_open_month_the_file_has_no_good_row_of_is_preserved(station: Station) -> None:
    """R18: aged out, all rejected, or all trade; section 8, 20."""
    station.load([*rows("a", **AUGUST), *rows("b"), *rows("c", **OCTOBER), *rows("d", broadcast_month="Nov-25")])
    result = station.load(
        [*rows("x"), *rows("y", bill_code=None, **OCTOBER), *rows("z", broadcast_month="Nov-25", revenue_type="Trade")]
    )
    assert station.titles() == ["a", "c", "d", "x"]
    assert result.facts["preserved"] == ["Aug-25", "Oct-25", "Nov-25"]
    assert result.warnings == (
        "Preserved, as Commercial Log 250902.xlsx has no rows for them: Aug-25.",
        "Preserved: 1 row for Oct-25, all rejected (first: Excel row 3, 'Bill Code' is empty).",
        "Preserved: 1 row for Nov-25, all Trade.",
    )


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_month_whose_rows_were_all_rejected_is_told_as_such_also_when_it_is_new(
    station: Station,
    dry_run: bool,  # noqa: FBT001
) -> None:
    """R18, R20, R55, section 6: a month taken for one without rows is closed in good faith, and its money is lost."""
    station.load([*rows("a"), *rows("b", **OCTOBER)])
    bad = row(**OCTOBER, gross_rate="50000,00")
    result = station.load(
        [
            row(),
            *[bad] * 12,
            row(broadcast_month="Nov-25", air_date=None),
            row(broadcast_month="Nov-25", revenue_type="Trade"),
            row(broadcast_month="Dec-25", revenue_type="Trade"),
            row(broadcast_month=None),
        ],
        dry_run=dry_run,
    )
    assert result.warnings == (
        "Preserved: 12 rows for Oct-25, all rejected (first: Excel row 3, 'Unit rate Gross' is '50000,00').",
        "Not loaded: 2 rows for Nov-25, 1 Trade, all others rejected (first: Excel row 15, 'Start Date' is empty).",
    )
    assert (result.facts["preserved"], result.rejected, result.facts["filtered_trade"]) == (["Oct-25"], 14, 2)


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_first_rejects_and_what_they_are_worth_are_in_the_log(
    station: Station,
    caplog: pytest.LogCaptureFixture,
    dry_run: bool,  # noqa: FBT001
) -> None:
    """R20, R55, section 6: sheet, Excel row, header and raw value; a dry run keeps no rejects to look at."""
    cells = [*rows("a"), row(gross_rate="50000,00"), row(broadcast_month="soon"), *[row(bill_code=None)] * 20]
    with caplog.at_level(logging.INFO):
        station.load(cells, settings=Settings(max_rejects=30), dry_run=dry_run)
    told = [message for message in caplog.messages if message.startswith("rejected: ")]
    assert told[:3] == [
        "rejected: sheet 'Commercials', Excel row 3, 'Unit rate Gross' is '50000,00' (BAD_MONEY)",
        "rejected: sheet 'Commercials', Excel row 4, 'Month' is 'soon' (BAD_MONTH)",
        "rejected: sheet 'Commercials', Excel row 5, 'Bill Code' is empty (MISSING_BILL_CODE)",
    ]
    assert len(told) == 20
    assert "22 rows rejected, $1,785.00 gross where it can be read" in caplog.messages


def test_too_many_rejects_are_in_the_log_of_the_run_they_stop(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """R20, R55."""
    with caplog.at_level(logging.INFO), pytest.raises(ContractViolation):
        station.load([*rows("a"), *[row(gross_rate="x")] * 21], dry_run=True)
    assert "21 rows rejected, $0.00 gross where it can be read" in caplog.messages


def test_a_file_of_closed_months_only_changes_nothing_and_succeeds(station: Station) -> None:
    """R18."""
    station.load(rows("a"))
    station.close_month("Sep-25")
    before = station.dump(without=AUDIT)
    result = station.load(rows("x", "y"), DAY + ONE_DAY)
    assert station.dump(without=AUDIT) == before
    assert (result.written, result.facts["months"], result.warnings) == (0, {}, ())
    assert station.sql(
        "SELECT status, broadcast_months_affected, records_imported, records_deleted FROM import_batches"
        " ORDER BY import_date DESC LIMIT 1"
    ) == [("COMPLETED", "[]", 0, 0)]


def test_a_file_of_trade_rows_only_changes_nothing_and_succeeds(station: Station) -> None:
    """R18, R21: all Trade is preserved like any month without an acceptable row."""
    station.load(rows("a"))
    before = station.dump(without=AUDIT)
    station.load(rows("x", revenue_type="Trade"), DAY + ONE_DAY)
    assert station.dump(without=AUDIT) == before


def test_a_month_closed_between_preview_and_write_stays_closed(station: Station) -> None:
    """Section 6: closed wins."""
    station.load([*rows("a"), *rows("b", **OCTOBER)])
    before = station.sql("SELECT * FROM spots WHERE broadcast_month = 'Sep-25'")
    station.put([*rows("x"), *rows("y", **OCTOBER)])
    with closing(station.open()) as db:
        db.set_trace_callback(on_begin(station, 3, lambda other: close(other, "Sep-25")))
        result = load_with(station, db)
    assert station.sql("SELECT * FROM spots WHERE broadcast_month = 'Sep-25'") == before
    assert station.titles("Oct-25") == ["y"]
    assert (result.facts["closed"], result.facts["filtered_closed"], list(result.facts["months"])) == (
        ["Sep-25"],
        1,
        ["Oct-25"],
    )


def close(db: sqlite3.Connection, month: str) -> None:
    db.execute(
        "INSERT INTO month_closures (broadcast_month, closed_date, closed_by) VALUES (?, '2025-09-02', 'ann')", (month,)
    )


# --- R19: modes -----------------------------------------------------------------------------------------------------


def test_the_previous_month_can_be_left_alone(station: Station) -> None:
    """R19, the later practice: stray rows of last month do not replace it."""
    station.load([*rows("a", "b", **AUGUST), *rows("c"), *rows("d", **OCTOBER)])
    result = station.load([*rows("stray", **AUGUST), *rows("x")], settings=Settings(previous_month_policy="skip"))
    assert station.titles() == ["a", "b", "d", "x"]
    assert (result.facts["skipped"], result.facts["preserved"]) == ("Aug-25", ["Oct-25"])
    assert result.read == result.written + result.facts["filtered_closed"] == 2
    assert list(result.facts["months"]) == ["Sep-25"]
    assert result.warnings == (
        "Preserved, as Commercial Log 250902.xlsx has no rows for them: Oct-25.",
        "Left out by previous_month_policy: 1 row for Aug-25.",
    )


def test_a_previous_month_without_rows_is_left_alone_without_a_word(station: Station) -> None:
    """R19."""
    station.load(rows("a", **AUGUST))
    result = station.load(rows("x"), settings=Settings(previous_month_policy="skip"))
    assert (station.titles(), result.warnings) == (["a", "x"], ())


def test_a_previous_month_that_is_closed_is_closed_and_not_skipped(station: Station) -> None:
    """R17, R19: that its rows are left out is as it has to be."""
    station.load(rows("a", **AUGUST))
    station.close_month("Aug-25")
    result = station.load([*rows("b", **AUGUST), *rows("x")], settings=Settings(previous_month_policy="skip"))
    assert (station.titles(), result.warnings) == (["a", "x"], ())
    assert (result.facts["skipped"], result.facts["closed"]) == (None, ["Aug-25"])


@pytest.mark.parametrize("how", [{"recap": True}, {"mode": "MANUAL"}, {"mode": "HISTORICAL", "closed_by": "ann"}])
def test_an_import_by_hand_loads_the_previous_month_whatever_the_policy(station: Station, how: dict[str, Any]) -> None:
    """R19: the policy is that of the nightly update; a recap of last month is about nothing else."""
    station.load(rows("a", "b", **AUGUST))
    path = write_workbook(station.path.parent / "recap.xlsx", rows("b", "c", **AUGUST))
    result = station.load(data_file=path, settings=Settings(previous_month_policy="skip"), **how)
    assert station.titles() == ["b", "c"]
    assert (list(result.facts["months"]), result.facts["skipped"]) == (["Aug-25"], None)


def test_the_previous_month_of_january_is_december(station: Station) -> None:
    day = date(2026, 1, 15)
    december = {"broadcast_month": "Dec-25", "air_date": datetime(2025, 12, 3)}
    station.load(rows("a", **december), day)
    station.load(
        [*rows("b", **december), *rows("c", broadcast_month="Jan-26")],
        day,
        settings=Settings(previous_month_policy="skip"),
    )
    assert station.titles() == ["a", "c"]


@pytest.mark.parametrize("closed_by", [None, "", "  "])
def test_a_historical_import_needs_a_name(station: Station, closed_by: str | None) -> None:
    station.put(rows("a"))
    before = station.dump()
    with pytest.raises(RequestRefused, match="needs the name of whoever closes them") as refused:
        station.load(mode="HISTORICAL", closed_by=closed_by)
    assert refused.value.next_step == "Give closed_by."
    assert station.dump() == before


def test_a_historical_import_replaces_and_closes_every_month_of_its_file(station: Station) -> None:
    """R19; section 8, 17: replaced rows of closed months were left with is_historical = 0."""
    station.load([*rows("a", "kept", **AUGUST), *rows("b"), *rows("c", **OCTOBER)])
    station.close_month("Aug-25")
    recap = write_workbook(
        station.path.parent / "August and September recap.xlsx",
        [*rows("kept", "new", **AUGUST), *rows("s"), *rows("t", revenue_type="Trade")],
        sheet="Commercials",
    )
    later = NOW + timedelta(hours=27)
    result = station.load(
        day=DAY + ONE_DAY, mode="HISTORICAL", closed_by=" bob ", data_file=recap, now=later, confirm_loss=True
    )
    assert station.sql("SELECT broadcast_month, media, is_historical FROM spots ORDER BY 1, 2") == [
        ("Aug-25", "kept", 1),
        ("Aug-25", "new", 1),
        ("Oct-25", "c", 0),
        ("Sep-25", "s", 1),
    ]
    assert station.sql("SELECT broadcast_month, closed_date, closed_by, notes FROM month_closures ORDER BY 1") == [
        ("Aug-25", "2025-09-02", "ann", None),  # closed already: stays as it was closed
        ("Sep-25", "2025-09-03", "bob", "Historical import of August and September recap.xlsx"),
    ]
    assert result.warnings == ()
    assert station.sql(
        "SELECT batch_id, import_mode, source_date FROM import_batches WHERE import_mode <> 'WEEKLY_UPDATE'"
    ) == [("historical_1756899000", "HISTORICAL", None)]


def test_a_historical_import_again_changes_no_spot(station: Station) -> None:
    """R19, R35."""
    station.load(rows("a", "b", **AUGUST), mode="HISTORICAL", closed_by="bob")
    before = station.dump(without=AUDIT)
    result = station.load(mode="HISTORICAL", closed_by="carol", now=NOW + ONE_DAY)
    assert station.dump(without=AUDIT) == before
    assert (result.facts["rows_inserted"], result.facts["rows_unchanged"]) == (0, 2)


def test_a_stray_row_of_the_running_month_stops_a_historical_import(station: Station) -> None:
    """R19: it would close the month with one spot, and no update could ever bring the others back."""
    station.load([*rows("a", "b", "c", "d", "e", **AUGUST), *rows("f", "g", "h")])
    before = station.dump(without=AUDIT)
    how: dict[str, Any] = {"mode": "HISTORICAL", "closed_by": "bob"}
    station.put(
        [*rows("x", "y", **AUGUST), *rows("stray"), *rows("z", broadcast_month="Jul-25"), *rows("n", **OCTOBER)]
    )
    for dry_run in (True, False):
        with pytest.raises(RequestRefused) as refused:
            station.load(**how, dry_run=dry_run)
        assert refused.value.what == (
            "Commercial Log 250902.xlsx, sheet 'Commercials' would replace and close for good: "
            "Aug-25 (2 rows in place of 5 spots), Sep-25, which is not over on 2025-09-02 (1 row in place of 3 spots), "
            "Oct-25, which is not over on 2025-09-02 (1 row in place of 0 spots)."
        )
        assert refused.value.next_step == (
            "Take those rows out of the workbook; if they are what those months are to be, import it with confirm_loss."
        )
        assert station.dump(without=AUDIT) == before
    station.load(**how, confirm_loss=True)
    assert station.titles() == ["n", "stray", "x", "y", "z"]
    assert station.sql("SELECT count(*) FROM month_closures") == [(4,)]


@pytest.mark.parametrize(
    ("day", "titles", "loads"),
    [
        (date(2025, 9, 1), ("x", "y", "z"), True),
        (date(2025, 9, 1), ("x", "y"), True),
        (date(2025, 9, 1), ("x",), False),
        (date(2025, 8, 31), ("x", "y", "z"), False),
    ],
)
def test_a_historical_import_takes_months_that_are_over_and_keep_half_of_their_spots(
    station: Station,
    day: date,
    titles: tuple[str, ...],
    loads: bool,  # noqa: FBT001
) -> None:
    """R19."""
    station.load(rows("a", "b", "c", "d", **AUGUST), date(2025, 8, 30))
    station.put(rows(*titles, **AUGUST), day)
    if loads:
        station.load(day=day, mode="HISTORICAL", closed_by="bob")
        assert station.titles() == list(titles)
    else:
        with pytest.raises(RequestRefused, match="would replace and close for good: Aug-25"):
            station.load(day=day, mode="HISTORICAL", closed_by="bob")
        assert station.titles() == ["a", "b", "c", "d"]


def test_a_manual_import_refuses_closed_months_and_lists_them(station: Station) -> None:
    station.load([*rows("a", **AUGUST), *rows("b"), *rows("c", broadcast_month="Jan-24")])
    station.close_month("Aug-25")
    station.close_month("Jan-24")
    before = station.dump(without=AUDIT)
    with pytest.raises(RequestRefused) as refused:
        station.load([*rows("x", **AUGUST), *rows("y", broadcast_month="Jan-24"), *rows("z")], mode="MANUAL")
    assert refused.value.what == (
        "Commercial Log 250902.xlsx, sheet 'Commercials' holds closed months: Jan-24, Aug-25."
    )
    assert station.dump(without=AUDIT) == before
    assert batches(station)[0][:2] == ("manual_1756801800", "FAILED")


def test_a_manual_import_refuses_a_month_closed_at_the_last_moment(station: Station) -> None:
    station.load(rows("a"))
    station.put(rows("x"))
    with closing(station.open()) as db:
        db.set_trace_callback(on_begin(station, 3, lambda other: close(other, "Sep-25")))
        with pytest.raises(RequestRefused, match="holds closed months: Sep-25"):
            load_with(station, db, mode="MANUAL")
    assert station.titles() == ["a"]


def test_a_manual_import_of_open_months_replaces_them_and_leaves_them_open(station: Station) -> None:
    station.load([*rows("a"), *rows("b", **OCTOBER)])
    recap = write_workbook(station.path.parent / "recap.xlsx", rows("x"))
    station.load(mode="MANUAL", data_file=recap)
    assert station.titles() == ["b", "x"]
    assert station.sql("SELECT count(*) FROM month_closures") == [(0,)]
    assert station.sql("SELECT DISTINCT is_historical FROM spots") == [(0,)]


def test_a_file_with_a_month_of_another_year_is_refused_where_the_year_is_named(station: Station) -> None:
    station.put([*rows("a"), *rows("b", broadcast_month="Jan-26"), *rows("c", broadcast_month="Dec-24")])
    with pytest.raises(RequestRefused, match="holds months of another year than 2025: Jan-26, Dec-24") as refused:
        station.load(mode="HISTORICAL", closed_by="bob", expected_year=2025)
    assert refused.value.next_step == "Choose the right file or year."
    assert (station.titles(), station.sql("SELECT count(*) FROM month_closures")) == ([], [(0,)])


def test_a_recap_of_any_name_may_leave_closed_months_alone(station: Station) -> None:
    """Section 7: the historical import with ``skip_closed``; an old dated file stays refused (R12)."""
    station.load([*rows("a", **AUGUST), *rows("b")])
    station.close_month("Aug-25")
    recap = write_workbook(station.path.parent / "recap of the quarter.xlsx", [*rows("x", **AUGUST), *rows("y")])
    result = station.load(recap=True, data_file=recap)
    assert station.titles() == ["a", "y"]
    assert (result.facts["mode"], result.facts["filtered_closed"]) == ("WEEKLY_UPDATE", 1)
    old = write_workbook(station.path.parent / "Commercial Log 250101.xlsx", rows("z"))
    with pytest.raises(StaleInput, match="STALE_FILE"):
        station.load(recap=True, data_file=old)
    assert station.titles() == ["a", "y"]


# --- R36: closing months --------------------------------------------------------------------------------------------


def close_months_of(station: Station, *labels: str, closed_by: str = "ann", notes: str | None = None) -> Any:
    with closing(station.open()) as db:
        return close_months(db, station.data, labels, closed_by=closed_by, today=DAY, notes=notes)


def test_closing_a_month_marks_its_spots_and_is_for_good(station: Station) -> None:
    station.load([*rows("a", "b"), *rows("c", **OCTOBER)])
    result = close_months_of(station, " sep-25 ", closed_by=" ann ", notes="final")
    assert result.facts == {"closed": ["Sep-25"], "already_closed": []}
    assert station.sql("SELECT broadcast_month, closed_date, closed_by, notes FROM month_closures") == [
        ("Sep-25", "2025-09-02", "ann", "final")
    ]
    assert station.sql("SELECT media, is_historical FROM spots ORDER BY media") == [("a", 1), ("b", 1), ("c", 0)]
    before = station.dump()
    assert close_months_of(station, "Sep-25", "SEP-25", closed_by="bob").facts == {
        "closed": [],
        "already_closed": ["Sep-25", "Sep-25"],
    }
    assert station.dump() == before


def test_closing_many_months_reports_each_and_keeps_those_that_could_be_closed(station: Station) -> None:
    station.load([*rows("a"), *rows("c", **OCTOBER)])
    close_months_of(station, "Oct-25")
    with pytest.raises(RequestRefused) as refused:
        close_months_of(station, "September", "Oct-25", "Nov-25", "Sep-25", "Sep-٢٥")
    assert refused.value.what == (
        "commercial_log: not closed: September (not a month like Sep-25), Nov-25 (no spots), "
        "Sep-٢٥ (not a month like Sep-25); closed: Sep-25; already closed: Oct-25."
    )
    assert station.sql("SELECT broadcast_month FROM month_closures ORDER BY 1") == [("Oct-25",), ("Sep-25",)]


def test_closing_needs_a_name_and_nobody_else_writing(station: Station) -> None:
    station.load(rows("a"))
    with pytest.raises(RequestRefused, match="closing a month needs a name"):
        close_months_of(station, "Sep-25", closed_by=" ")
    with (
        locks.hold(station.data.database_lock, "commercial_log_update"),
        pytest.raises(StoreBusy, match="commercial_log_month_close has to wait: commercial_log_update"),
    ):
        close_months_of(station, "Sep-25")
    assert station.sql("SELECT count(*) FROM month_closures") == [(0,)]


def test_an_error_while_a_month_is_closed_leaves_it_open(station: Station) -> None:
    station.load(rows("a"))
    before = station.dump()
    station.sql("CREATE TRIGGER refuse BEFORE UPDATE ON spots BEGIN SELECT RAISE(ABORT, 'refused by a test'); END")
    with pytest.raises(sqlite3.IntegrityError, match="refused by a test"):
        close_months_of(station, "Sep-25")
    assert station.dump() == before


# --- R31: replacement -----------------------------------------------------------------------------------------------


def test_equal_rows_keep_everything_and_only_the_difference_is_written(station: Station) -> None:
    station.load([row(media="kept"), row(media="gone"), row(media="changed"), row(media="kept too")])
    before = station.sql("SELECT * FROM spots WHERE media LIKE 'kept%'")
    decided = station.sql("SELECT * FROM spot_language_assignments WHERE spot_id IN (1, 4)")
    result = station.load(
        [row(media="new"), row(media="kept too"), row(media="changed", gross_rate=85.01), row(media="kept")],
        DAY + ONE_DAY,
    )
    assert station.sql("SELECT * FROM spots WHERE media LIKE 'kept%'") == before
    assert station.sql("SELECT * FROM spot_language_assignments WHERE spot_id IN (1, 4)") == decided
    assert station.sql(
        "SELECT spot_id, media, load_date, source_file, import_batch_id, effective_date FROM spots ORDER BY spot_id"
    ) == [
        (1, "kept", "2025-09-02 08:30:00", "Commercial Log 250902.xlsx:Commercials", BATCH, "2025-09-02"),
        (4, "kept too", "2025-09-02 08:30:00", "Commercial Log 250902.xlsx:Commercials", BATCH, "2025-09-02"),
        (
            5,
            "new",
            "2025-09-03 08:30:00",
            "Commercial Log 250903.xlsx:Commercials",
            "weekly_update_1756888200",
            "2025-09-03",
        ),
        (
            6,
            "changed",
            "2025-09-03 08:30:00",
            "Commercial Log 250903.xlsx:Commercials",
            "weekly_update_1756888200",
            "2025-09-03",
        ),
    ]
    counted = ("records_deleted", "records_imported", "rows_inserted", "rows_removed", "rows_unchanged", "net_change")
    assert [result.facts[name] for name in counted] == [4, 4, 2, 2, 2, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"air_date": datetime(2025, 9, 4)},
        {"language_code": "M"},
        {"spot_type": "BNS"},
        {"market_name": "LAX"},
        {"gross_rate": 85.000001},
        {"comments": "aired"},
        {"media": None},
    ],
)
def test_no_change_of_a_booking_is_missed(station: Station, change: dict[str, Any]) -> None:
    """Section 8, 7: the group-level difference missed dates, languages, types and markets."""
    station.load([row()])
    result = station.load([row(**change)])
    canonical = {"air_date": "2025-09-04"} if "air_date" in change else change
    assert station.bookings() == [stored(**canonical)]
    assert (result.facts["rows_inserted"], result.facts["rows_removed"]) == (1, 1)


def test_duplicates_in_the_sheet_are_as_many_spots(station: Station) -> None:
    station.load(rows("a", "a", "a", "b"))
    assert station.titles() == ["a", "a", "a", "b"]
    station.load(rows("a", "a", "b", "b"))
    assert station.sql("SELECT spot_id, media FROM spots ORDER BY spot_id") == [
        (1, "a"),
        (2, "a"),
        (4, "b"),
        (5, "b"),
    ]


def test_a_legacy_spot_without_hash_counts_as_different(station: Station) -> None:
    station.load(rows("a", "b"))
    station.sql("UPDATE spots SET row_hash = NULL WHERE media = 'a'")
    result = station.load(rows("a", "b"))
    assert station.sql("SELECT spot_id, media, row_hash IS NULL FROM spots ORDER BY media") == [
        (3, "a", 0),
        (2, "b", 0),
    ]
    assert (result.facts["rows_inserted"], result.facts["rows_removed"], result.facts["rows_unchanged"]) == (1, 1, 1)


def test_a_row_that_moves_to_another_month_leaves_the_first(station: Station) -> None:
    station.load([*rows("a"), *rows("b", **OCTOBER)])
    station.load([*rows("c"), *rows("a", "b", **OCTOBER)])
    assert (station.titles("Sep-25"), station.titles("Oct-25")) == (["c"], ["a", "b"])


def test_the_id_of_a_removed_spot_is_never_given_again(station: Station) -> None:
    station.load(rows("a"))
    station.load(rows("b"))
    station.load(rows("c"))
    assert station.sql("SELECT spot_id FROM spots") == [(3,)]


# --- R34, R35: batches and reruns -----------------------------------------------------------------------------------


def test_the_same_file_again_changes_nothing_but_adds_a_batch(station: Station) -> None:
    """R35."""
    station.load(
        [*rows("a", "a", "b"), *rows("c", market_name="PHX"), *rows("d", language_code="L"), row(bill_code=None)]
    )
    before = station.dump(without=AUDIT)
    result = station.load(now=NOW + timedelta(minutes=5))
    assert station.dump(without=AUDIT) == before
    counted = ("rows_inserted", "rows_removed", "rows_unchanged", "records_imported", "records_deleted", "new_markets")
    assert [result.facts[name] for name in counted] == [0, 0, 5, 5, 5, []]
    assert batches(station) == [(BATCH, "COMPLETED", None), ("weekly_update_1756802100", "COMPLETED", None)]


def test_the_same_rows_in_the_file_of_another_day_and_order_change_nothing(station: Station) -> None:
    station.load(rows("a", "b", "c"))
    before = station.dump(without=AUDIT)
    station.load(rows("c", "a", "b"), DAY + ONE_DAY)
    assert station.dump(without=AUDIT) == before


def test_batches_of_the_same_second_are_numbered(station: Station) -> None:
    """R34."""
    for _ in range(3):
        station.load(rows("a"))
    assert [batch for batch, *_ in batches(station)] == [BATCH, f"{BATCH}_2", f"{BATCH}_3"]


def test_a_batch_that_never_ended_is_marked_failed_by_the_next_run(station: Station) -> None:
    """R34."""
    station.sql(
        "INSERT INTO import_batches (batch_id, import_date, import_mode, status) VALUES"
        " ('stuck', '2025-08-01 00:00:00', 'WEEKLY_UPDATE', 'RUNNING'),"
        " ('done', '2025-08-01 00:00:00', 'WEEKLY_UPDATE', 'COMPLETED')"
    )
    station.load(rows("a"))
    assert batches(station) == [
        ("done", "COMPLETED", None),
        ("stuck", "FAILED", "Import timed out or was interrupted"),
        (BATCH, "COMPLETED", None),
    ]


# --- R33: all or nothing --------------------------------------------------------------------------------------------


def test_a_reader_sees_the_old_bookings_until_all_new_ones_are_there(station: Station) -> None:
    station.load([*rows("a", "b"), *rows("c", **OCTOBER)])
    station.put([*rows("x"), *rows("y", **OCTOBER)])
    seen: list[list[tuple[str]]] = []
    with closing(station.open()) as reader, closing(station.open()) as db:

        def look(statement: str) -> None:
            if "spots" in statement or statement == "COMMIT":
                seen.append(reader.execute("SELECT media FROM spots ORDER BY media").fetchall())

        db.set_trace_callback(look)
        load_with(station, db)
        after = reader.execute("SELECT media FROM spots ORDER BY media").fetchall()
    assert len(seen) > 5
    assert {tuple(each) for each in seen} == {(("a",), ("b",), ("c",))}
    assert after == [("x",), ("y",)]


@pytest.mark.parametrize(
    "moment",
    [
        "INSERT ON markets",
        "INSERT ON schedule_market_assignments",
        "DELETE ON spots",
        "INSERT ON spots",
        "UPDATE OF spot_category ON spots",
        "INSERT ON spot_language_assignments",
        "UPDATE OF language_id ON spots",
        "UPDATE OF records_imported ON import_batches",
    ],
)
def test_an_error_anywhere_rolls_everything_back_and_is_in_the_batch(station: Station, moment: str) -> None:
    """R33; section 6: a categorisation or language error fails the whole run."""
    station.load(rows("a", "b"))
    before = station.dump(without=AUDIT)
    station.sql(f"CREATE TRIGGER refuse BEFORE {moment} BEGIN SELECT RAISE(ABORT, 'refused by a test'); END")
    with pytest.raises(sqlite3.IntegrityError, match="refused by a test"):
        station.load(rows("b", "c", market_name="PHX"), DAY + ONE_DAY)
    assert station.dump(without=AUDIT) == before
    assert batches(station)[-1] == ("weekly_update_1756888200", "FAILED", "refused by a test")
    station.sql("DROP TRIGGER refuse")
    station.load(day=DAY + ONE_DAY)
    assert station.titles() == ["b", "c"]


CHILD = """
import os, signal, sys
from datetime import UTC, date, datetime
from pathlib import Path
from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.database import open_database
from include.commercial_log.load import load_bookings

root, database, action, moment = sys.argv[1:]
db = open_database(Path(database))

def act():
    if action == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print("inside", flush=True)
    sys.stdin.readline()

db.create_function("act", 0, act)
db.execute(f"CREATE TEMP TRIGGER hook AFTER {moment} BEGIN SELECT act(); END")
day, now = date(2025, 9, 2), datetime(2025, 9, 2, 8, 30, tzinfo=UTC)
load_bookings(db, DataRoot(Path(root)), day=day, now=now, settings=Settings())
db.close()
"""


@contextmanager
def child(station: Station, action: str, moment: str) -> Iterator[subprocess.Popen[str]]:
    """A load in another process that dies or stops in the middle of its transaction."""
    command = [sys.executable, "-c", CHILD, str(station.data.root), str(station.path), action, moment]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    "moment", ["INSERT ON spots", "INSERT ON spot_language_assignments", "UPDATE OF records_imported ON import_batches"]
)
def test_a_load_killed_in_the_middle_leaves_the_old_bookings_and_the_next_one_succeeds(
    station: Station, moment: str
) -> None:
    """R33, R34; section 6."""
    station.load(rows("a", "b"), DAY - ONE_DAY)
    before = station.dump(without=AUDIT)
    station.put(rows("b", "c", market_name="PHX"))
    with child(station, "die", moment) as process:
        assert process.wait(30) == -9, process.stderr and process.stderr.read()
    assert station.dump(without=AUDIT) == before
    assert batches(station)[-1] == (BATCH, "RUNNING", None)
    station.load(now=NOW + timedelta(minutes=10))
    assert station.titles() == ["b", "c"]
    assert batches(station)[1:] == [
        (BATCH, "FAILED", "Import timed out or was interrupted"),
        ("weekly_update_1756802400", "COMPLETED", None),
    ]


def test_a_second_load_at_the_same_time_is_refused_and_the_first_goes_on(station: Station) -> None:
    """R51."""
    station.put(rows("a"))
    with child(station, "wait", "INSERT ON spots") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        with pytest.raises(AlreadyRunning) as refused:
            station.load()
        assert refused.value.what == (
            f"commercial_log_update is already running: commercial_log_update (process {process.pid}) holds database."
        )
        with pytest.raises(StoreBusy, match="commercial_log_historical_import has to wait: commercial_log_update"):
            station.load(mode="HISTORICAL", closed_by="bob")
        assert station.titles() == []
        assert process.communicate("go on\n", timeout=120) == ("", "")
    assert (station.titles(), process.returncode) == (["a"], 0)
    assert batches(station) == [(BATCH, "COMPLETED", None)]


def test_a_load_waits_for_an_import_that_writes_files(station: Station) -> None:
    station.put(rows("a"))
    with (
        locks.hold(station.data.files_lock, "commercial_log_import"),
        pytest.raises(
            StoreBusy, match=r"commercial_log_update has to wait: commercial_log_import \(process \d+\) holds"
        ),
    ):
        station.load()
    assert batches(station) == []


def test_an_import_need_not_wait_for_the_transaction_of_a_load(station: Station) -> None:
    """R51: the dated files are left alone as soon as the workbook is read."""
    station.put(rows("a"))
    free: list[bool] = []
    with closing(station.open()) as db:
        db.set_trace_callback(on_begin(station, 2, lambda _: free.append(locks.is_free(station.data.files_lock))))
        load_with(station, db)
    assert free == [True]


# --- a database that somebody else writes to ------------------------------------------------------------------------


def test_a_locked_database_is_busy_and_unchanged(station: Station) -> None:
    """Section 6: after the busy timeout the run fails as transient, nothing changed."""
    station.load(rows("a"))
    station.put(rows("b"))
    before = station.dump()
    with closing(station.open()) as other, closing(station.open()) as db:
        db.execute("PRAGMA busy_timeout = 50")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy) as busy:
            load_with(station, db)
        other.execute("ROLLBACK")
    assert busy.value.what == f"The database {station.path} is locked by another reader or writer; nothing was changed."
    assert station.dump() == before
    station.load()
    assert station.titles() == ["b"]


def test_a_database_locked_in_the_middle_of_a_run_is_busy_and_the_next_run_tidies_up(station: Station) -> None:
    station.load(rows("a"))
    station.put(rows("b"))
    before = station.dump(without=AUDIT)
    with closing(open_database(station.path)) as other, closing(station.open()) as db:
        db.execute("PRAGMA busy_timeout = 50")
        db.set_trace_callback(on_begin(station, 3, lambda _: other.execute("BEGIN IMMEDIATE")))
        with pytest.raises(StoreBusy) as busy:
            load_with(station, db)
        other.execute("ROLLBACK")
    assert f"batch {BATCH}_2 could not be marked FAILED" in busy.value.__notes__[0]
    assert station.dump(without=AUDIT) == before
    assert batches(station)[-1] == (f"{BATCH}_2", "RUNNING", None)
    station.load(now=NOW + timedelta(minutes=5))
    assert [(batch, status) for batch, status, _ in batches(station)] == [
        (BATCH, "COMPLETED"),
        (f"{BATCH}_2", "FAILED"),
        ("weekly_update_1756802100", "COMPLETED"),
    ]


def test_a_database_without_room_to_grow_is_full_and_unchanged(station: Station) -> None:
    """Section 6: a full disk."""
    station.load(rows("a"))
    station.put(rows(*(f"{number} {'x' * 1000}" for number in range(200))))
    before = station.dump(without=AUDIT)
    with closing(station.open()) as db:
        [pages] = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(StoreFull) as full:
            load_with(station, db)
    assert full.value.what == (
        f"No space left for the database {station.path} (database or disk is full); nothing was changed."
    )
    assert station.dump(without=AUDIT) == before
    assert batches(station)[-1] == (f"{BATCH}_2", "FAILED", str(full.value))


@pytest.mark.parametrize("free", [0, 16 * 1024, 48 * 1024])
def test_a_full_disk_is_named_whatever_sqlite_calls_it(station: Station, tmp_path: Path, free: int) -> None:
    """Section 6: too full to read, too full to write."""
    station.load(rows("a"))
    before = station.dump(without=AUDIT)
    station.put(rows(*(f"{number} {'x' * 1000}" for number in range(200))))
    with small_disk(tmp_path / "disk", 1 << 22) as disk:
        if disk is None:
            pytest.skip("Mounting a small disk takes root.")
        own = Station(station.data, station.share, disk / "production.db")
        shutil.copyfile(station.path, own.path)
        filler = disk / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - free))
        with pytest.raises(StoreFull, match=r"No space left for the database .*production\.db \(.*\); nothing was"):
            own.load()
        filler.unlink()
        assert own.dump(without=AUDIT) == before


def test_a_quota_is_a_full_disk_too(station: Station) -> None:
    """Section 6: what SQLite cannot write for another reason than a full disk, it calls an error of the disk."""
    station.load(rows("a"))
    before = station.dump(without=AUDIT)
    station.put(rows(*(f"{number} {'x' * 1000}" for number in range(200))))

    def load() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
        station.load()

    error = run_in_child(load, lambda *_: None)
    assert isinstance(error, StoreFull)
    assert error.what == f"No space left for the database {station.path} (disk I/O error); nothing was changed."
    assert station.dump(without=AUDIT) == before


# --- R55: dry run ---------------------------------------------------------------------------------------------------


def test_a_dry_run_reports_what_a_run_would_do_and_changes_not_one_byte(station: Station) -> None:
    """R55; section 8, 18: it reported what was there as what would be imported."""
    station.load([*rows("a", "b"), *rows("o", **OCTOBER)])
    station.close_month("Aug-25")
    cells = [
        *rows("b", "c", "d"),
        row(media="e", market_name="PHX"),
        row(market_name="A;B"),
        row(**AUGUST),
        row(revenue_type="Trade"),
        row(gross_rate="x"),
    ]
    station.put(cells)
    content, files, before = station.path.read_bytes(), station.files(), station.dump()
    rehearsed = station.load(dry_run=True)
    assert (station.path.read_bytes(), station.files(), station.dump()) == (content, files, before)
    performed = station.load()
    ignored = {"batch", "seconds"}
    assert {name: value for name, value in rehearsed.facts.items() if name not in ignored} == {
        name: value for name, value in performed.facts.items() if name not in ignored
    }
    assert rehearsed.facts["batch"] is None
    wanted = ("rows_inserted", "rows_removed", "rows_unchanged", "new_markets", "unresolved_markets", "preserved")
    assert [rehearsed.facts[name] for name in wanted] == [4, 1, 1, ["PHX"], ["A;B"], ["Oct-25"]]
    assert rehearsed.facts["remarks"] == {"BAD_MONEY": 1, "UNKNOWN_MARKET": 1}


@pytest.mark.parametrize("how", [{"mode": "HISTORICAL", "closed_by": "bob"}, {"mode": "MANUAL"}])
def test_a_dry_run_in_any_mode_writes_nothing(station: Station, how: dict[str, Any]) -> None:
    station.put(rows("a", market_name="PHX", **AUGUST))
    content = station.path.read_bytes()
    assert station.load(dry_run=True, **how).facts["rows_inserted"] == 1
    assert station.path.read_bytes() == content


def test_a_dry_run_has_a_journal_of_its_own(station: Station) -> None:
    """R48, R55: it must not pass for the run of the night."""
    station.load(rows("a", **AUGUST), dry_run=True)
    station.load(mode="HISTORICAL", closed_by="bob", dry_run=True)
    assert sorted(path.name for path in station.data.logs.iterdir()) == [
        "commercial_log_historical_import_dry_run.log",
        "commercial_log_update_dry_run.log",
    ]


def test_a_dry_run_that_fails_leaves_no_batch(station: Station) -> None:
    with pytest.raises(ContractViolation):
        station.load(many(1, 21), dry_run=True)
    assert batches(station) == []


# --- settings -------------------------------------------------------------------------------------------------------


def test_settings_come_from_a_json_object_and_keep_their_defaults() -> None:
    text = (
        '{"sheets": ["Commercials", "Pending"], "max_rejects": 5, "auto_setup": false, "previous_month_policy": "skip"}'
    )
    assert read_settings(Settings, text, system="commercial_log") == Settings(
        sheets=("Commercials", "Pending"), max_rejects=5, auto_setup=False, previous_month_policy="skip"
    )
    assert read_settings(Settings, '{"max_rejects": null}', system="commercial_log") == Settings()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"max_reject": 5}, "has no setting 'max_reject'"),
        ({"auto_setup": "yes"}, "'auto_setup' is 'yes', not true or false"),
        ({"keep_days": "7"}, "'keep_days' is '7', not a whole number of 0 or more"),
        ({"max_rejects": "20"}, "'max_rejects' is '20', not a whole number of 0 or more or empty"),
        ({"max_rejects": True}, "'max_rejects' is True, not a whole number of 0 or more or empty"),
        ({"keep_months": -12}, "'keep_months' is -12, not a whole number of 0 or more"),
        ({"max_rejects": -1}, "'max_rejects' is -1, not a whole number of 0 or more or empty"),
        ({"sheets": "Commercials"}, "'sheets' is 'Commercials', not a list of text"),
        ({"sheets": [1]}, "'sheets' is [1], not a list of text"),
        ({"sheets": ["Commercials", None]}, "'sheets' is ['Commercials', None], not a list of text"),
        ({"previous_month_policy": "Skip"}, "'previous_month_policy' is 'Skip', not 'replace' or 'skip'"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(values: dict[str, Any], told: str) -> None:
    """R54: with ``keep_months`` below 0 the rotation would delete what it has just archived."""
    with pytest.raises(ContractViolation) as refused:
        read_settings(Settings, json.dumps(values), system="commercial_log")
    assert told in refused.value.what


# --- any files in any order -----------------------------------------------------------------------------------------

# So few that the files of an example have most of them in common.
BOOKED: list[dict[str, Any]] = [
    {"broadcast_month": "Aug-25"},
    {"broadcast_month": "Sep-25"},
    {"broadcast_month": "Sep-25", "gross_rate": 0.1},
    {"broadcast_month": "Oct-25"},
    {"broadcast_month": "Sep-25", "revenue_type": "Trade"},
    {"broadcast_month": "Oct-25", "bill_code": None},
]
booking = st.builds(
    lambda booked, comments: {**booked, "comments": comments},
    st.sampled_from(BOOKED),
    st.sampled_from([None, "6:14:22"]),
)
step = st.sampled_from([0, 1, 2, 0, 1, 2, "decide", "decide", "decide", "Aug-25", "Sep-25"])
# Of spots that are equal the youngest, which would be the first to go.
DECIDE = """
    UPDATE spot_language_assignments SET language_code = 'K', assignment_method = 'manual_override' WHERE spot_id IN (
        SELECT max(spot_id) FROM spots INNER JOIN spot_language_assignments USING (spot_id)
        GROUP BY row_hash HAVING max(assignment_method = 'manual_override') = 0
    )"""
DECIDED = f"""
    SELECT {", ".join(f"s.{name}" for name in STORED)} FROM spots AS s
    INNER JOIN spot_language_assignments AS a USING (spot_id)
    WHERE a.assignment_method = 'manual_override' AND a.language_code = 'K'"""


def decided_after(
    decided: Counter[tuple[Any, ...]], before: Counter[tuple[Any, ...]], after: Counter[tuple[Any, ...]]
) -> Counter[tuple[Any, ...]]:
    """A decision stays with its row, or passes to the only new one that is booked the same and differs in notes."""

    def booked(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return values[:COMMENTS] + values[COMMENTS + 1 :]

    kept, new = decided & after, after - before
    gone = Counter(map(booked, (decided - kept).elements()))
    come = Counter(map(booked, new.elements()))
    return kept + Counter({each: 1 for each in new if gone[booked(each)] == come[booked(each)] == 1})


@settings(max_examples=25)
@given(
    files=st.lists(st.lists(booking, min_size=2, max_size=6), min_size=3, max_size=3),
    steps=st.lists(step, min_size=6, max_size=8),
)
def test_after_any_files_in_any_order_each_month_is_the_last_file_that_had_rows_for_it(
    empty_database: Path, files: list[list[dict[str, Any]]], steps: Sequence[int | str]
) -> None:
    """R17, R18, R31, R35, R41: loads in any order and repetition, months closed and languages decided in between."""
    months: dict[str, Counter[tuple[Any, ...]]] = {}
    decided: dict[str, Counter[tuple[Any, ...]]] = {}
    closed: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "production.db"
        shutil.copyfile(empty_database, path)
        station = Station(DataRoot(Path(folder)), LocalShare("none", Path(folder)), path)
        for each in steps:
            if each == "decide":
                station.sql(DECIDE)
                decided = {
                    month: decided.get(month, Counter()) | Counter({*rows_of}) for month, rows_of in months.items()
                }
                continue
            if isinstance(each, str):
                if each not in closed:
                    station.close_month(each)
                closed.add(each)
                continue
            result = station.load([row(**changes) for changes in files[each]])
            found: dict[str, Counter[tuple[Any, ...]]] = {}
            for changes in files[each]:
                month = changes["broadcast_month"]
                if month not in closed and not changes.keys() & {"bill_code", "revenue_type"}:
                    found.setdefault(month, Counter())[stored(**changes)] += 1
            kept = sum((months.get(month, Counter()) & rows_of).total() for month, rows_of in found.items())
            held = sum(months.get(month, Counter()).total() for month in found)
            total = sum(rows_of.total() for rows_of in found.values())
            counted = ("rows_unchanged", "rows_inserted", "rows_removed")
            assert [result.facts[name] for name in counted] == [kept, total - kept, held - kept]
            for month, rows_of in found.items():
                decided[month] = decided_after(decided.get(month, Counter()), months.get(month, Counter()), rows_of)
            months |= found
            assert Counter(station.sql(DECIDED)) == sum(decided.values(), Counter())
        for month in ("Aug-25", "Sep-25", "Oct-25"):
            assert Counter(station.bookings(month)) == months.get(month, Counter())
        spots = sum(rows_of.total() for rows_of in months.values())
        assert station.sql("SELECT count(*) FROM spots JOIN spot_language_assignments USING (spot_id)") == [(spots,)]
        assert station.sql("SELECT count(*) FROM import_batches WHERE status <> 'COMPLETED'") == [(0,)]


def test_the_bytes_of_a_given_file_are_only_read(station: Station) -> None:
    path = station.put(rows("a"))
    path.chmod(0o440)
    content = io.BytesIO(path.read_bytes()).getvalue()
    station.load()
    assert path.read_bytes() == content
