"""The dry run of the update as Airflow runs it (R55)."""

import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from dagkit import connections, partitions

from include.commercial_log.config import DataRoot
from include.commercial_log.database import open_database
from include.common.shares import LocalShare
from tests.unit.commercial_log_helpers import DAY, Station, rows

PARAMS = {"date": DAY.isoformat(), "data_file": None, "max_rejects": None, "force_stale": False, "dry_run": True}


@pytest.fixture
def station(tmp_path, monkeypatch):
    station = Station(DataRoot(tmp_path / "data"), LocalShare("share", tmp_path), tmp_path / "production.db")
    open_database(station.path, create=True).close()
    for name, path in (
        (connections.COMMERCIAL_LOG_FILES, station.data.root),
        (connections.COMMERCIAL_LOG_DB, station.path),
    ):
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": "fs", "extra": {"path": str(path)}})
        )
    settings = {"grid_classification": True, "notify_on_success": True}
    monkeypatch.setenv("AIRFLOW_VAR_COMMERCIAL_LOG_SETTINGS", json.dumps(settings))
    return station


def test_a_dry_run_publishes_no_day_and_places_no_spot_in_the_grid(dags, station, monkeypatch):
    """R55: it writes nothing, so nobody may take it for a load."""
    station.load(rows("a"))
    before = station.dump()
    events = []
    event = SimpleNamespace(extra=None, add_partitions=events.append)
    context = {"partition_key": None, "params": PARAMS, "outlet_events": {None: event}}
    monkeypatch.setattr(partitions, "get_current_context", lambda: context)
    update = dags["commercial_log_update"]

    loaded = update.get_task("load_bookings").python_callable(PARAMS)
    with pytest.raises(AirflowSkipException, match="A dry run writes nothing"):
        update.get_task("classify_grid").python_callable(loaded, PARAMS)
    assert loaded["facts"]["batch"] is None
    assert (events, event.extra) == ([], None)
    assert station.dump() == before
