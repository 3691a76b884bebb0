"""What fails before a step of cvas begins is a failed run of its stage all the same (R70)."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from dagkit import connections, partitions

from include.common.journal import read_journal
from include.cvas.config import ZONE, Lake
from include.cvas.status import report_status
from include.errors import ContractViolation, CredentialRefused, RequestRefused, SourceUnavailable
from tests.dags.commercial_log_station import Context

TODAY = datetime.now(ZONE).date()
DAY = TODAY - timedelta(days=1)
STAGES = [
    ("cvas_user_base", "wait_for_snapshot", "cvas_snapshot"),
    ("cvas_user_base", "download_snapshot", "cvas_snapshot"),
    ("cvas_user_base", "aggregate_user_base", "cvas_user_base"),
    ("cvas_fetch", "check_source", "cvas_fetch"),
    ("cvas_fetch", "fetch_transactions", "cvas_fetch"),
    ("cvas_process", "load_transactions", "cvas_load"),
    ("cvas_process", "build_subscriptions", "cvas_view"),
    ("cvas_counters", "count_transactions", "cvas_counters"),
    ("cvas_mastercpc", "convert_catalogue", "cvas_mastercpc"),
    ("cvas_monthly_reports", "write_reports", "cvas_monthly_reports"),
    ("cvas_music_extract", "extract_music", "cvas_music_extract"),
    ("cvas_historical_import", "import_history", "cvas_history"),
    ("cvas_repair_refunds", "repair_refunds", "cvas_repair_refunds"),
    ("cvas_backfill", "find_gaps", "cvas_backfill"),
    ("cvas_clear_day", "clear_day", "cvas_clear_day"),
    ("cvas_checks", "check_transactions", "cvas_check_transactions"),
    ("cvas_checks", "check_subscriptions", "cvas_check_subscriptions"),
    ("cvas_checks", "check_users", "cvas_check_users"),
    ("cvas_housekeeping", "clean_up", "cvas_housekeeping"),
    ("cvas_housekeeping", "back_up", "cvas_backup"),
    ("cvas_housekeeping", "archive_months", "cvas_archive"),
    ("cvas_restore", "restore_backup", "cvas_restore"),
]


@pytest.fixture
def lake(tmp_path, monkeypatch):
    lake = Lake(tmp_path / "lake")
    lake.root.mkdir()
    define(monkeypatch, connections.CVAS_LAKE, conn_type="fs", extra={"path": str(lake.root)})
    return lake


def define(monkeypatch, name, **connection):
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


@pytest.fixture
def call(dags, monkeypatch):
    """Call a task of a DAG as a run would whose form has these fields; what it returned, and its context."""

    def call(dag_id, task_id, **given):
        params = {**dags[dag_id].params.dump(), **given}
        context = Context(monkeypatch, **params)
        run = {"partition_key": None, "dag_run": SimpleNamespace(run_after=datetime.now(UTC)), "params": params}
        found = run | {"outlet_events": partitions.get_current_context()["outlet_events"]}
        monkeypatch.setattr(partitions, "get_current_context", lambda: found)
        monkeypatch.setitem(dags[dag_id].get_task(task_id).python_callable.__globals__, "get_current_context", dict)
        function = dags[dag_id].get_task(task_id).python_callable
        known = {"params": params, "day": DAY.isoformat()}
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        return function(**{name: known[name] for name in names}), context

    return call


@pytest.mark.parametrize(("dag_id", "task_id", "job"), STAGES)
def test_settings_that_cannot_be_meant_are_a_failure_in_the_journal(call, lake, monkeypatch, dag_id, task_id, job):
    """R70: the status report tells it."""
    monkeypatch.setenv("AIRFLOW_VAR_CVAS_SETTINGS", '{"keep_day": 7}')
    about = {} if dag_id in ("cvas_historical_import", "cvas_mastercpc", "cvas_repair_refunds") else {"date": str(DAY)}
    fields = {"folder": "/nowhere", "workbook": "/nowhere"}
    with pytest.raises(ContractViolation, match="keep_day"):
        call(dag_id, task_id, **about, **fields)
    [line] = read_journal(lake.logs, job)
    assert (line.day, line.state) in {(str(DAY), "FAILED"), (str(TODAY), "FAILED")}
    assert "keep_day" in line.detail


def test_a_source_that_does_not_answer_is_a_failed_fetch_of_the_day(call, lake, monkeypatch):
    """R70, section 6: naming connection and day; yesterday's success is not the last thing the status knows."""
    monkeypatch.setattr(connections, "PROBES", 1)
    define(monkeypatch, connections.CVAS_NOVA_SSH, conn_type="ssh", host="127.0.0.1", port=9)
    define(monkeypatch, connections.CVAS_NOVA_DB, conn_type="postgres", host="127.0.0.1", port=9, schema="nova")
    lake.logs.mkdir()
    (lake.logs / "cvas_fetch.log").write_text(
        f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%S+00:00} | cvas_fetch | {DAY - timedelta(days=1)} | "
        "SUCCESS | Duration: 61.0s | ACT: 620\n"
    )
    with pytest.raises(SourceUnavailable, match=f"^cvas: {DAY}: .*cvas_nova_ssh"):
        call("cvas_fetch", "check_source", date=str(DAY))
    line = read_journal(lake.logs, "cvas_fetch")[0]
    assert (line.day, line.state, line.transient) == (str(DAY), "FAILED", True)
    warnings = report_status(lake, now=datetime.now(UTC), today=TODAY).warnings
    assert [text for text in warnings if text.startswith("cvas_fetch failed") and "cvas_nova_ssh" in text]


def test_a_tunnel_with_a_password_is_refused_in_the_journal_too(call, lake, monkeypatch):
    """R19, R70."""
    define(monkeypatch, connections.CVAS_NOVA_SSH, conn_type="ssh", host="127.0.0.1", password="x")
    define(monkeypatch, connections.CVAS_NOVA_DB, conn_type="postgres", host="127.0.0.1")
    days = {"start_date": str(DAY - timedelta(days=3)), "end_date": str(DAY)}
    with pytest.raises(ContractViolation, match="has a password, but its server is entered with a key only"):
        call("cvas_fetch", "check_source", **days)
    [line] = read_journal(lake.logs, "cvas_fetch")
    assert (line.day, line.state, line.transient) == (days["start_date"], "FAILED", False)


def test_a_reporting_host_that_refuses_the_wait_is_a_failed_snapshot(call, lake, monkeypatch, tmp_path):
    """R70: the sensor does not wait for what will not come."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "other.csv").write_text("x")
    define(monkeypatch, connections.CVAS_REPORTING_SFTP, conn_type="fs", extra={"path": str(host)})

    def refused(*_):
        raise CredentialRefused("cvas_reporting_sftp: authentication was refused.", next_step="Correct the key.")

    monkeypatch.setattr("include.cvas.snapshots._fetch", refused)
    monkeypatch.setattr("include.cvas.snapshots.WAIT_UNTIL", datetime.max.time())
    with pytest.raises(CredentialRefused):
        call("cvas_user_base", "wait_for_snapshot", date=str(DAY))
    [line] = read_journal(lake.logs, "cvas_snapshot")
    assert (line.day, line.state) == (str(DAY), "FAILED")


@pytest.mark.parametrize("kind", ["back_up", "restore_backup"])
def test_a_backup_store_that_cannot_be_opened_is_a_failed_run(call, lake, monkeypatch, kind):
    """R70."""
    define(monkeypatch, connections.CVAS_BACKUP, conn_type="ftp")
    dag_id, job = {
        "back_up": ("cvas_housekeeping", "cvas_backup"),
        "restore_backup": ("cvas_restore", "cvas_restore"),
    }[kind]
    with pytest.raises(ContractViolation, match="cvas_backup"):
        call(dag_id, kind, confirm=True)
    [line] = read_journal(lake.logs, job)
    assert line.state == "FAILED"


def test_where_nothing_is_downloaded_nothing_follows(call, lake):
    """R4: only the aggregation."""
    result, context = call("cvas_user_base", "aggregate_user_base", date=str(DAY), download=False)
    assert (result["facts"]["snapshot"], context.partitions, context.event.extra) == (False, [], None)
    result, context = call("cvas_user_base", "aggregate_user_base", date=str(DAY))
    assert (context.partitions, context.event.extra) == ([str(DAY)], result)


def test_a_day_that_is_not_over_is_not_aggregated(call, lake):
    """R2, R4."""
    with pytest.raises(RequestRefused, match=f"{TODAY} is not over"):
        call("cvas_user_base", "aggregate_user_base", date=str(TODAY), download=False)
    assert not lake.user_base.exists()


def test_the_connection_test_names_the_connection_that_fails_and_is_no_run_of_a_stage(call, lake, monkeypatch):
    """Section 7."""
    define(monkeypatch, connections.CVAS_NOVA_SSH, conn_type="ssh", host="127.0.0.1", password="x")
    define(monkeypatch, connections.CVAS_NOVA_DB, conn_type="postgres", host="127.0.0.1")
    with pytest.raises(ContractViolation, match=f"^cvas: {TODAY}: Connection cvas_nova_ssh has a password"):
        call("cvas_connections", "check_source")
    assert list(lake.root.iterdir()) == []


def test_the_connection_test_tells_what_the_host_has_and_changes_nothing(call, lake, monkeypatch, tmp_path, capsys):
    """Section 7."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "nbs_base.csv").write_bytes(b"x" * 2_000)
    define(monkeypatch, connections.CVAS_REPORTING_SFTP, conn_type="fs", extra={"path": str(host)})
    result, _ = call("cvas_connections", "check_host")
    written = result["facts"]["written_at"]
    assert datetime.fromisoformat(written).date() == TODAY
    assert (result["where"], result["bytes"]) == ("cvas_reporting_sftp:/nbs_base.csv", 2_000)
    assert f"cvas_reporting_sftp:/nbs_base.csv: 2,000 bytes, written {written}." in capsys.readouterr().out
    assert list(lake.root.iterdir()) == []
