"""The dry run of the update as Airflow runs it (R55)."""

import json

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from tests.dags.commercial_log_station import Context, define_station
from tests.unit.commercial_log_helpers import DAY, rows

PARAMS = {"date": DAY.isoformat(), "data_file": None, "max_rejects": None, "force_stale": False}


@pytest.fixture
def station(tmp_path, monkeypatch):
    station = define_station(tmp_path, monkeypatch, grid_classification=True, notify_on_success=True)
    station.put(rows("a"))
    return station


@pytest.fixture
def load_bookings(dags):
    return dags["commercial_log_update"].get_task("load_bookings").python_callable


def test_a_dry_run_is_skipped_after_its_report_and_publishes_nothing(load_bookings, station, monkeypatch, capsys):
    """R55: Airflow registers every outlet of a task that succeeds, so the only way to publish nothing is not to."""
    before = station.dump()
    params = {**PARAMS, "dry_run": True}
    context = Context(monkeypatch, **params)
    with pytest.raises(AirflowSkipException, match=r"Dry run: the report is in the log, nothing was written\."):
        load_bookings(params)
    report = json.loads(capsys.readouterr().out)
    assert (report["facts"]["file"], report["facts"]["rows_inserted"]) == ("Commercial Log 250902.xlsx", 1)
    assert (context.partitions, context.event.extra, context.sent) == ([], None, [])
    assert station.dump() == before


def test_a_real_run_publishes_its_day(load_bookings, station, monkeypatch):
    """The same harness sees an event where there is one."""
    params = {**PARAMS, "dry_run": False}
    context = Context(monkeypatch, **params)
    result = load_bookings(params)
    assert (context.partitions, context.event.extra) == (["2025-09-02"], result)
    assert context.sent == ["1 spots from Commercial Log 250902.xlsx"]
    assert station.titles() == ["a"]


def test_whatever_follows_the_load_is_skipped_with_it(dags):
    """R55: no spot is placed in the grid, because its task needs the load to succeed."""
    classify_grid = dags["commercial_log_update"].get_task("classify_grid")
    assert classify_grid.upstream_task_ids == {"load_bookings"}
    assert classify_grid.trigger_rule == "all_success"
