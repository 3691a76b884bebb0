"""What people trigger by hand for the commercial log, and what a wrong installation leaves behind."""

from datetime import datetime

import pytest

from include.commercial_log.backup import back_up_database
from include.commercial_log.config import ZONE, Settings
from include.common.journal import read_journal
from include.common.objectstores import FolderStore
from include.errors import ContractViolation, RequestRefused
from tests.dags.commercial_log_station import Context, define_station
from tests.unit.commercial_log_helpers import DAY, row, rows

FIRST, SECOND = "database_backup_20250902_020500.db", "database_backup_20250903_020500.db"


@pytest.fixture
def station(tmp_path, monkeypatch):
    return define_station(tmp_path, monkeypatch)


@pytest.fixture
def call(dags, monkeypatch):
    """Call the first task of a DAG as its form would with these fields; what it returned and sent."""

    def call(dag_id, **given):
        [task] = dags[dag_id].roots
        params = {**dags[dag_id].params.dump(), **given}
        context = Context(monkeypatch, **params)
        result = task.python_callable(params)
        return result, context.sent

    return call


def back_up(station, day):
    store = FolderStore(station.data.root.parent / "cloud")
    now = datetime(2025, 9, day, 2, 5, tzinfo=ZONE)
    back_up_database(station.path, store, station.data, day=DAY, now=now, settings=Settings())


def test_backups_are_listed_and_verified_where_they_lie(call, station):
    """Section 7: the newest unless one is named, whatever kind of store it is."""
    back_up(station, 2)
    back_up(station, 3)
    before = station.dump()
    newest, _ = call("commercial_log_backup_verify")
    assert (newest["facts"]["backup"], newest["facts"]["backups"]) == (SECOND, [SECOND, FIRST])
    named, _ = call("commercial_log_backup_verify", name=FIRST)
    assert (named["facts"]["backup"], named["facts"]["backups"]) == (FIRST, [SECOND, FIRST])
    assert station.dump() == before


def test_a_restore_tells_what_has_to_be_closed_again(call, station):
    """R36, R53."""
    station.load(rows("a", broadcast_month="Aug-25"))
    back_up(station, 2)
    station.close_month("Aug-25")
    result, sent = call("commercial_log_restore", confirm=True)
    assert (
        sent
        == result["warnings"]
        == [f"{FIRST} does not know of months closed since; close again before the next import: Aug-25, closed by ann."]
    )


def test_a_historical_import_tells_its_warnings(call, station):
    """R53: months of which no row could be taken."""
    path = station.put([row(broadcast_month="Jul-25"), row(broadcast_month="Aug-25", bill_code=None)])
    result, sent = call("commercial_log_historical_import", data_file=str(path), closed_by="bob")
    assert (
        sent
        == result["warnings"]
        == ["Not loaded: 1 row for Aug-25, all rejected (first: Excel row 3, 'Bill Code' is empty)."]
    )


def test_a_historical_import_needs_a_word_for_months_that_would_lose(call, station):
    """R19."""
    station.load(rows("a", "b", "c", broadcast_month="Aug-25"))
    path = station.put(rows("x", broadcast_month="Aug-25"))
    fields = {"data_file": str(path), "closed_by": "bob"}
    with pytest.raises(RequestRefused, match="Aug-25"):
        call("commercial_log_historical_import", **fields)
    call("commercial_log_historical_import", **fields, confirm_loss=True)
    assert station.titles() == ["x"]


@pytest.mark.parametrize(
    ("dag_id", "task_id"),
    [
        ("commercial_log_import", "copy_workbook"),
        ("commercial_log_update", "load_bookings"),
        ("commercial_log_historical_import", "load_bookings"),
        ("commercial_log_rotation", "rotate_files"),
        ("commercial_log_backup", "back_up_database"),
    ],
)
def test_settings_that_cannot_be_meant_are_a_failure_in_the_journal(dags, station, monkeypatch, dag_id, task_id):
    """R16, R52: the status report tells it on the next morning."""
    monkeypatch.setenv("AIRFLOW_VAR_COMMERCIAL_LOG_SETTINGS", '{"keep_day": 7}')
    params = {**dags[dag_id].params.dump(), "date": DAY.isoformat()}
    Context(monkeypatch, **params)
    task = dags[dag_id].get_task(task_id).python_callable
    with pytest.raises(ContractViolation, match="keep_day"):
        task(params) if dags[dag_id].params.keys() - {"date"} else task()
    [line] = read_journal(station.data.logs, dag_id)
    assert line.state == "FAILED"
    assert "keep_day" in line.detail


def test_a_database_connection_of_another_kind_is_a_failure_in_the_journal(call, station, monkeypatch):
    """R16, R52, R54."""
    monkeypatch.setenv("AIRFLOW_CONN_COMMERCIAL_LOG_DB", '{"conn_type": "postgres", "host": "db"}')
    with pytest.raises(ContractViolation, match="has type 'postgres', but SQLite is the database of this system"):
        call("commercial_log_month_close", months=["Aug-25"], closed_by="ann")
    [line] = read_journal(station.data.logs, "commercial_log_month_close")
    assert line.state == "FAILED"
