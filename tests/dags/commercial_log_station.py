"""A station whose connections Airflow knows, and the context in which it calls a task."""

import json
from types import SimpleNamespace

from dagkit import connections, notifications, partitions

from include.commercial_log.config import DataRoot
from include.commercial_log.database import open_database
from include.common.shares import LocalShare
from tests.unit.commercial_log_helpers import Station


def define_station(tmp_path, monkeypatch, **settings):
    """A station with an empty database; its connections are in the environment, as are the settings."""
    station = Station(DataRoot(tmp_path / "data"), LocalShare("share", tmp_path), tmp_path / "production.db")
    station.data.root.mkdir()
    open_database(station.path, create=True).close()
    backups = tmp_path / "cloud"
    backups.mkdir()
    for name, path in (
        (connections.COMMERCIAL_LOG_FILES, station.data.root),
        (connections.COMMERCIAL_LOG_DB, station.path),
        (connections.COMMERCIAL_LOG_BACKUP, backups),
    ):
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": "fs", "extra": {"path": str(path)}})
        )
    monkeypatch.setenv("AIRFLOW_VAR_COMMERCIAL_LOG_SETTINGS", json.dumps(settings))
    return station


class Context:
    """What tasks find around them: their parameters; and what they leave: asset events and notifications."""

    def __init__(self, monkeypatch, **params):
        self.partitions, self.sent = [], []
        self.event = SimpleNamespace(extra=None, add_partitions=self.partitions.append)
        context = {"partition_key": None, "params": params, "outlet_events": _Always(self.event)}
        monkeypatch.setattr(partitions, "get_current_context", lambda: context)
        monkeypatch.setattr(notifications, "tell_warnings", self.sent.extend)
        monkeypatch.setattr(notifications, "tell_success", self.sent.append)


class _Always(dict):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def __missing__(self, _):
        return self.value
