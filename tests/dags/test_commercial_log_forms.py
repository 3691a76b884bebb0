"""Every field of a commercial log form reaches its step, and does there what the form says."""

import json
from datetime import datetime, timedelta
from inspect import signature

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from dagkit import connections, partitions

from include.commercial_log import backup
from include.commercial_log.config import ZONE, Settings
from include.commercial_log.load import JOB
from include.common import locks
from include.common.journal import read_journal
from include.common.objectstores import FolderStore
from include.errors import ContractViolation, PermanentError, RequestRefused, StaleInput, StoreBusy
from tests.dags.commercial_log_station import Context, define_station
from tests.unit.commercial_log_helpers import DAY, row, rows, write_workbook

ONE_DAY = timedelta(days=1)
NOON = datetime(2025, 9, 2, 12, tzinfo=ZONE)


@pytest.fixture
def station(tmp_path, monkeypatch):
    return define_station(tmp_path, monkeypatch)


@pytest.fixture
def call(dags, monkeypatch):
    """Call a task of a DAG, the first one unless it is named, as the form would with these fields."""

    def call(dag_id, *given, task_id=None, **fields):
        dag = dags[dag_id]
        [task] = [dag.get_task(task_id)] if task_id else dag.roots
        params = {**dag.params.dump(), **fields}
        Context(monkeypatch, **params)
        takes = {"params": params} if "params" in signature(task.python_callable).parameters else {}
        return task.python_callable(*given, **takes)

    return call


@pytest.fixture
def update(call):
    def update(**fields):
        return call("commercial_log_update", task_id="load_bookings", **{"date": DAY.isoformat()} | fields)

    return update


# --- commercial_log_import ------------------------------------------------------------------------------------------


@pytest.fixture
def shrunk(station, monkeypatch, tmp_path):
    """Yesterday's dated workbook has five rows, the living one two."""
    share = tmp_path / "share"
    share.mkdir()
    extra = {"conn_type": "fs", "extra": {"path": str(share)}}
    monkeypatch.setenv(f"AIRFLOW_CONN_{connections.COMMERCIAL_LOG_SHARE.upper()}", json.dumps(extra))
    # The clock: the share is read on its own day only (R10).
    monkeypatch.setattr(partitions, "today", lambda zone: NOON.astimezone(zone).date())
    write_workbook(share / "Traffic" / "Media Library" / "Commercial Log.xlsx", rows("a", "b"))
    station.put(rows(*"abcde"), DAY - ONE_DAY)
    return station


@pytest.mark.parametrize("allow_shrink", [False, True])
def test_an_import_takes_a_workbook_that_shrank_only_when_told(shrunk, call, allow_shrink):
    """R7: ``allow_shrink``."""
    fields = {"date": DAY.isoformat(), "allow_shrink": allow_shrink}
    if allow_shrink:
        assert call("commercial_log_import", **fields)["written"] == 2
    else:
        with pytest.raises(ContractViolation, match="2 data rows, fewer than half of the 5"):
            call("commercial_log_import", **fields)
    assert shrunk.dated().is_file() is allow_shrink


# --- commercial_log_update ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("named", "titles"), [(True, ["named"]), (False, ["newest"])])
def test_an_update_reads_the_workbook_it_is_given(station, update, named, titles):
    """R11: ``data_file``; empty means the newest up to the day."""
    station.put(rows("newest"))
    given = station.put(rows("named"), DAY - ONE_DAY)
    update(data_file=str(given) if named else None)
    assert station.titles() == titles


@pytest.mark.parametrize(("force_stale", "titles"), [(False, ["newer"]), (True, ["older"])])
def test_an_update_loads_an_older_day_only_by_force(station, update, force_stale, titles):
    """R12: ``force_stale``."""
    station.load(rows("newer"), DAY + ONE_DAY)
    station.put(rows("older"))
    if force_stale:
        update(force_stale=True)
    else:
        with pytest.raises(StaleInput, match="STALE_FILE"):
            update(force_stale=False)
    assert station.titles() == titles


@pytest.mark.parametrize(
    ("setting", "field", "rejects", "loaded"),
    [
        (None, None, 20, True),
        (None, None, 21, False),
        (None, 21, 21, True),
        (None, 0, 1, False),
        (1, None, 1, True),
        (1, None, 2, False),
        (1, 2, 2, True),
        (1, 0, 1, False),
    ],
)
def test_an_update_accepts_as_many_rejects_as_its_form_says_else_its_settings(
    tmp_path, monkeypatch, update, setting, field, rejects, loaded
):
    """R20: ``max_rejects``; 0 is a number, empty is none."""
    station = define_station(tmp_path, monkeypatch, max_rejects=setting)
    station.put([*rows("a"), *(row(bill_code=None) for _ in range(rejects))])
    if loaded:
        assert update(max_rejects=field)["rejected"] == rejects
    else:
        with pytest.raises(ContractViolation, match=f": {rejects} rows rejected, "):
            update(max_rejects=field)
    assert station.titles() == (["a"] if loaded else [])


@pytest.fixture
def gridded(tmp_path, monkeypatch):
    """October was loaded on the day before; today's workbook has September only."""
    station = define_station(tmp_path, monkeypatch, grid_classification=True)
    station.load(rows("october", broadcast_month="Oct-25"), DAY - ONE_DAY)
    station.put(rows("september"))
    return station


PLACED = "SELECT media, campaign_type, business_rule_applied FROM spot_language_blocks JOIN spots USING (spot_id)"


def test_the_grid_is_classified_for_the_months_just_loaded(gridded, call, update):
    """5.6: ``grid_classification`` is on; the window 06:00 to 23:59 is run of schedule (G5)."""
    placed = call("commercial_log_update", update(), task_id="classify_grid")
    assert placed == {
        "where": "spot_language_blocks",
        "read": 1,
        "written": 1,
        "rejected": 0,
        "bytes": 0,
        "warnings": [],
        "facts": {"months": ["Sep-25"], "campaigns": {"ros": 1}, "requires_attention": 0},
    }
    assert gridded.sql(PLACED) == [("september", "ros", "ros_duration")]


def test_without_the_setting_the_grid_is_skipped(gridded, monkeypatch, call, update):
    """5.6: off is the default."""
    loaded = update()
    monkeypatch.setenv("AIRFLOW_VAR_COMMERCIAL_LOG_SETTINGS", "{}")
    with pytest.raises(AirflowSkipException, match=r"The setting grid_classification is off\."):
        call("commercial_log_update", loaded, task_id="classify_grid")
    assert gridded.sql(PLACED) == []


# --- commercial_log_historical_import -------------------------------------------------------------------------------


@pytest.fixture
def recap(station, call):
    """August is closed with what it holds; a recap workbook has other rows for it, and July. Runs its import."""
    station.load(rows("kept", broadcast_month="Aug-25"))
    station.close_month("Aug-25")
    months = [*rows("july", broadcast_month="Jul-25"), *rows("august", broadcast_month="Aug-25")]
    path = write_workbook(station.data.root / "recap.xlsx", months, sheet="Data")

    def recap(**fields):
        return call("commercial_log_historical_import", **{"data_file": str(path), "closed_by": "bob"} | fields)

    return recap


CLOSED = "SELECT broadcast_month, closed_by FROM month_closures ORDER BY broadcast_month"


@pytest.mark.parametrize(
    ("skip_closed", "titles", "closed"),
    [
        (False, ["august", "july"], [("Aug-25", "ann"), ("Jul-25", "bob")]),
        (True, ["july", "kept"], [("Aug-25", "ann")]),
    ],
)
def test_a_historical_import_leaves_closed_months_alone_when_told(station, recap, skip_closed, titles, closed):
    """R19, section 7: ``skip_closed`` is the mode of the nightly update, which closes nothing; else ``closed_by``."""
    recap(skip_closed=skip_closed)
    assert station.titles() == titles
    assert station.sql(CLOSED) == closed


@pytest.mark.parametrize("skip_closed", [False, True])
def test_a_dry_run_of_a_historical_import_changes_no_row_and_closes_nothing(station, recap, skip_closed):
    """R55: ``dry_run``; what is closed is closed for good."""
    before = station.dump()
    report = recap(dry_run=True, skip_closed=skip_closed)
    assert (report["facts"]["batch"], report["facts"]["rows_inserted"]) == (None, 1 if skip_closed else 2)
    assert station.dump() == before
    assert [line.state for line in read_journal(station.data.logs, "commercial_log_historical_import_dry_run")] == [
        "SUCCESS"
    ]
    assert read_journal(station.data.logs, "commercial_log_historical_import") == []


@pytest.mark.parametrize("year", [2024, 2025, None])
def test_a_historical_import_refuses_months_of_another_year(station, recap, year):
    """Section 7: ``year``; empty is any year."""
    if year == 2024:
        with pytest.raises(PermanentError, match="2024"):
            recap(year=year)
    else:
        recap(year=year)
    assert station.titles() == (["kept"] if year == 2024 else ["august", "july"])


# --- the programme grid after other loads ----------------------------------------------------------------------------


@pytest.fixture
def past(gridded):
    """A recap workbook of July, which nobody has loaded."""
    return write_workbook(gridded.data.root / "recap.xlsx", rows("july", broadcast_month="Jul-25"), sheet="Data")


def test_the_grid_is_classified_for_the_months_of_a_historical_import(gridded, past, call):
    """5.6, G14: the report by category is about past months, too."""
    given = {"data_file": str(past), "closed_by": "bob"}
    loaded = call("commercial_log_historical_import", **given)
    assert gridded.sql(PLACED) == []
    placed = call("commercial_log_historical_import", loaded, task_id="classify_grid", **given)
    assert placed["facts"] == {"months": ["Jul-25"], "campaigns": {"ros": 1}, "requires_attention": 0}
    assert gridded.sql(PLACED) == [("july", "ros", "ros_duration")]


def test_a_dry_run_of_a_historical_import_places_nothing_in_the_grid(gridded, past, call):
    """R55."""
    given = {"data_file": str(past), "closed_by": "bob", "dry_run": True}
    loaded = call("commercial_log_historical_import", **given)
    with pytest.raises(AirflowSkipException, match=r"Dry run: nothing was loaded\."):
        call("commercial_log_historical_import", loaded, task_id="classify_grid", **given)
    assert gridded.sql(PLACED) == []


def test_to_decide_every_spot_anew_classifies_the_grid_of_all_months(gridded, update, call):
    """5.6, R43: for months that were loaded before the setting was on."""
    update()
    gridded.close_month("Oct-25")
    call("commercial_log_recategorise", confirm=True)
    assert gridded.sql(PLACED) == []
    placed = call("commercial_log_recategorise", task_id="classify_grid")
    assert placed["facts"] == {"months": ["Oct-25", "Sep-25"], "campaigns": {"ros": 2}, "requires_attention": 0}
    assert sorted(gridded.sql(PLACED)) == [("october", "ros", "ros_duration"), ("september", "ros", "ros_duration")]


@pytest.mark.parametrize("dag_id", ["commercial_log_historical_import", "commercial_log_recategorise"])
def test_the_grid_is_skipped_after_other_loads_unless_it_is_set(gridded, monkeypatch, call, dags, dag_id):
    """5.6: off is the default; and it follows a success only."""
    monkeypatch.setenv("AIRFLOW_VAR_COMMERCIAL_LOG_SETTINGS", "{}")
    given = [{"facts": {"months": ["Oct-25"]}}] if dag_id == "commercial_log_historical_import" else []
    with pytest.raises(AirflowSkipException, match=r"The setting grid_classification is off\."):
        call(dag_id, *given, task_id="classify_grid")
    classify_grid = dags[dag_id].get_task("classify_grid")
    assert (len(classify_grid.upstream_task_ids), classify_grid.trigger_rule) == (1, "all_success")
    assert gridded.sql(PLACED) == []


# --- commercial_log_month_close -------------------------------------------------------------------------------------


@pytest.mark.parametrize("notes", [None, "agreed with finance"])
def test_a_month_is_closed_with_name_and_notes(station, call, notes):
    """R36, 4.1: ``months``, ``closed_by``, ``notes``."""
    station.load([*rows("a", broadcast_month="Jul-25"), *rows("b", broadcast_month="Aug-25")])
    call("commercial_log_month_close", months=["Aug-25"], closed_by="ann", notes=notes)
    assert station.sql("SELECT broadcast_month, closed_by, notes FROM month_closures") == [("Aug-25", "ann", notes)]


# --- commercial_log_backup and commercial_log_restore ---------------------------------------------------------------


@pytest.mark.parametrize(("name", "titles"), [(None, ["second"]), ("database_backup_20250902_120000.db", ["first"])])
def test_a_restore_takes_the_backup_that_is_named_else_the_newest(station, call, name, titles):
    """R50: ``name``."""
    store = FolderStore(station.data.root.parent / "cloud")
    for at, title in enumerate(("first", "second", "third")):
        station.load(rows(title))
        if title != "third":
            now = NOON + at * ONE_DAY
            backup.back_up_database(station.path, store, station.data, day=DAY, now=now, settings=Settings())
    call("commercial_log_restore", name=name, confirm=True)
    assert station.titles() == titles


def test_a_restore_that_is_not_confirmed_changes_nothing(station, call):
    """R50: ``confirm``."""
    station.load(rows("a"))
    before = station.dump()
    with pytest.raises(RequestRefused, match="restoring replaces the whole database"):
        call("commercial_log_restore", confirm=False)
    assert station.dump() == before


def test_a_second_backup_is_skipped_quietly(station, call):
    """R51: a failure would tell everybody that there is no backup."""
    with locks.hold(station.data.backup_lock, backup.JOB), pytest.raises(AirflowSkipException) as skipped:
        call("commercial_log_backup", task_id="back_up_database", date=DAY.isoformat())
    assert str(skipped.value).startswith("commercial_log_backup is already running: ")
    assert list((station.data.root.parent / "cloud").iterdir()) == []


def test_a_backup_that_has_to_wait_for_another_job_is_no_skip(station, call):
    """R51: only the second of two equal starts is; after this one there would be no backup of the night."""
    with locks.hold(station.data.backup_lock, backup.VERIFY_JOB), pytest.raises(StoreBusy):
        call("commercial_log_backup", task_id="back_up_database", date=DAY.isoformat())


def test_a_backup_waits_for_a_running_update(station, call):
    """Section 2."""
    waits = []
    with locks.hold(station.data.database_lock, JOB):
        waits.append(call("commercial_log_backup", task_id="wait_for_update"))
    waits.append(call("commercial_log_backup", task_id="wait_for_update"))
    assert waits == [False, True]


def test_a_backup_waits_half_an_hour_at_most_and_is_made_all_the_same(dags):
    """Section 2: the wait ends as skipped, and what follows runs unless something failed."""
    tasks = dags["commercial_log_backup"]
    wait, back_up = tasks.get_task("wait_for_update"), tasks.get_task("back_up_database")
    assert (wait.timeout, wait.soft_fail, wait.mode) == (1800, True, "reschedule")
    assert (back_up.upstream_task_ids, back_up.trigger_rule) == ({"wait_for_update"}, "none_failed")


# --- what people decide about languages -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter", "name", "codes"),
    [
        ("all", "review_queue_all_2025-09-02.csv", ["L", "13"]),
        ("invalid", "review_queue_invalid_2025-09-02.csv", ["13"]),
    ],
)
def test_a_review_export_holds_the_spots_that_were_asked_for(station, call, filter, name, codes):  # noqa: A002
    """4.3, section 7: ``filter``."""
    station.load([row(language_code="L", gross_rate=90.0), row(language_code="13")])
    call("commercial_log_review_export", date=DAY.isoformat(), filter=filter)
    [path] = station.data.exports.iterdir()
    assert path.name == name
    assert [line.split(",")[6] for line in path.read_text(encoding="utf-8-sig").splitlines()[1:]] == codes


def test_a_language_is_set_for_the_spots_named_with_who_and_why(station, call):
    """R41: ``spot_ids``, ``language_code``, ``decided_by``, ``note``."""
    station.load([row(language_code="L"), row(language_code="13"), row(language_code="F")])
    call("commercial_log_set_language", spot_ids=["1", "3"], language_code="K", decided_by="ann", note="heard it")
    assert station.sql("SELECT spot_id, language_code, notes FROM spot_language_assignments ORDER BY spot_id") == [
        (1, "K", "ann: heard it"),
        (2, "13", None),
        (3, "K", "ann: heard it"),
    ]


@pytest.mark.parametrize("confirm", [False, True])
def test_recategorising_wants_its_confirmation(station, call, confirm):
    """R43: ``confirm``."""
    station.load(rows("a"))
    station.sql("UPDATE spots SET spot_category = 'review_category'")
    if confirm:
        call("commercial_log_recategorise", confirm=True)
    else:
        with pytest.raises(RequestRefused, match="recategorising changes the language revenue"):
            call("commercial_log_recategorise", confirm=False)
    expected = "language_assignment_required" if confirm else "review_category"
    assert station.sql("SELECT spot_category FROM spots") == [(expected,)]
