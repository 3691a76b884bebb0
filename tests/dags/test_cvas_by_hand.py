"""What people trigger by hand for cvas: every field of a form reaches its step, and does there what the form says."""

import json
import os
import shutil
from datetime import date, datetime, timedelta
from inspect import signature
from types import SimpleNamespace

import polars as pl
import psycopg
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import set_current_context
from dagkit import connections, notifications, partitions

from include.common.journal import RunLog
from include.common.objectstores import FolderStore
from include.cvas.backup import back_up
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TYPES
from include.cvas.lake import UNDATED, writing
from include.cvas.manifest import read_manifest
from include.errors import CheckFailed, ContractViolation, RequestRefused
from sandbox.cvas.source import TABLES
from sandbox.servers.base import HOST
from sandbox.servers.postgres import PostgresServer
from sandbox.servers.ssh import SshServer
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    act,
    cnr,
    csv_text,
    data_hashes,
    dct,
    fill_lake,
    ppd,
    reno,
    rfnd,
    stored,
    write_day,
    write_legacy,
)
from tests.unit.cvas_snapshot_helpers import usual
from tests.unit.cvas_view_helpers import subscription, write_view

BEFORE, LONG_BEFORE = DAY - timedelta(days=1), DAY - timedelta(days=2)
CATALOGUE = "cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Escudo Movil,Music,30,5.36\n"
ALLOWED = "Use all, or some of: ACT, RENO, DCT, PPD, CNR, RFND"


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """A lake with a catalogue, a place for backups and the reporting host's folder, as Airflow's connections name
    them."""
    lake = Lake(tmp_path / "lake")
    for conn_id, folder in (
        (connections.CVAS_LAKE, lake.root),
        (connections.CVAS_BACKUP, tmp_path / "cloud"),
        (connections.CVAS_REPORTING_SFTP, tmp_path / "host"),
    ):
        folder.mkdir()
        extra = {"conn_type": "fs", "extra": {"path": str(folder)}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(extra))
    lake.mastercpc.write_text(CATALOGUE, encoding="utf-8")
    return lake


class Calls:
    """Call a task as the form would with these fields: its result, the days it published, the warnings it told."""

    def __init__(self, dags):
        self.dags, self.published, self.told = dags, [], []

    def __call__(self, dag_id, *given, task_id=None, key=None, **fields):
        dag = self.dags[dag_id]
        [task] = [dag.get_task(task_id)] if task_id else dag.roots
        params = {**dag.params.dump(), **fields}
        self.published.clear()
        self.told.clear()
        event = SimpleNamespace(extra=None, add_partitions=self.published.append)
        context = {"partition_key": key, "params": params, "logical_date": NOW, "outlet_events": _Always(event)}
        takes = {"params": params} if "params" in signature(task.python_callable).parameters else {}
        with set_current_context(context):
            result = task.python_callable(*given, **takes)
        if self.published:
            assert event.extra == result
        return result


class _Always(dict):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def __missing__(self, _):
        return self.value


@pytest.fixture
def call(dags, monkeypatch):
    call = Calls(dags)
    monkeypatch.setattr(notifications, "tell_warnings", call.told.extend)
    return call


# --- cvas_restore ---------------------------------------------------------------------------------------------------


@pytest.fixture
def backups(lake, tmp_path):
    """Names of three backups, oldest first, whose catalogues have one, two and three lines; the lake has none now."""
    names = []
    for hour in range(3):
        lake.mastercpc.write_text(CATALOGUE + "".join(f"{cpc},X,,7,1\n" for cpc in range(hour)), encoding="utf-8")
        now = NOW + timedelta(hours=hour)
        result = back_up(FolderStore(tmp_path / "cloud"), lake, day=DAY, now=now, settings=Settings())
        names.append(result.facts["backup"])
    lake.mastercpc.write_text("spoilt", encoding="utf-8")
    return names


@pytest.mark.parametrize(("chosen", "lines"), [(None, 4), (0, 2), (1, 3)])
def test_a_restore_takes_the_backup_that_is_named_or_the_newest(lake, backups, call, chosen, lines):
    """Section 7: ``name``."""
    name = None if chosen is None else backups[chosen]
    result = call("cvas_restore", confirm=True, name=name)
    assert result["facts"]["backup"] == (name or backups[-1])
    assert lake.mastercpc.read_text().count("\n") == lines


def test_a_restore_that_nobody_confirms_changes_nothing(lake, backups, call):
    """Section 7: ``confirm``, off unless somebody ticks it."""
    before = data_hashes(lake)
    with pytest.raises(RequestRefused, match="restoring replaces view, catalogue and state"):
        call("cvas_restore", name=backups[0])
    assert data_hashes(lake) == before


# --- cvas_historical_import -----------------------------------------------------------------------------------------


@pytest.fixture
def history(lake, tmp_path):
    """A folder with activations and renewals of one day; the lake has others of the day before."""
    folder = tmp_path / "history"
    folder.mkdir()
    (folder / "act_atlas_2025.csv").write_text(csv_text(ACT, [act(subscription_id=n) for n in range(5)]))
    (folder / "reno_atlas_2025.csv").write_text(csv_text(RENO, [reno()]))
    before = {"trans_date": "2025-11-09 10:00:00"}
    fill_lake(lake, {ACT: [act(subscription_id=9, **before)], RENO: [reno(subscription_id=9, **before)]})
    return folder


@pytest.mark.parametrize(
    ("fields", "acts", "renewals"),
    [
        ({}, [0, 1, 2, 3, 4], [900001]),
        ({"types": "Act"}, [0, 1, 2, 3, 4], [9]),
        ({"types": "reno"}, [9], [900001]),
        ({"types": "act, RENO", "days_only": True}, [9, 0, 1, 2, 3, 4], [9, 900001]),
    ],
)
def test_an_import_takes_the_types_and_days_asked_for(lake, history, call, fields, acts, renewals):
    """R4, R59: ``folder``, ``types``, ``days_only``."""
    call("cvas_historical_import", folder=str(history), **fields)
    assert [row["subscription_id"] for row in stored(lake, ACT)] == acts
    assert [row["subscription_id"] for row in stored(lake, RENO)] == renewals
    assert any("trigger cvas_counters" in warning for warning in call.told)


def test_an_import_that_takes_most_of_a_day_away_needs_force(lake, history, call):
    """R33, R59: ``force``."""
    fill_lake(lake, {ACT: [act(subscription_id=n) for n in range(20)]})
    before = data_hashes(lake)
    fields = {"folder": str(history), "types": "act"}
    with pytest.raises(CheckFailed, match="2025-11-10"):
        call("cvas_historical_import", **fields)
    assert data_hashes(lake) == before
    call("cvas_historical_import", **fields, force=True)
    assert [row["subscription_id"] for row in stored(lake, ACT)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("dag_id", "fields"),
    [
        ("cvas_historical_import", {"folder": "history", "types": "acts"}),
        ("cvas_backfill", {"types": "act,xyz"}),
        ("cvas_fetch", {"types": "", "date": "2025-11-10"}),
    ],
)
def test_a_type_that_does_not_exist_is_refused_with_those_that_do(lake, call, dag_id, fields):
    """R4."""
    before = data_hashes(lake)
    with pytest.raises(RequestRefused) as refused:
        call(dag_id, **fields)
    assert refused.value.next_step == f"{ALLOWED}."
    assert data_hashes(lake) == before


# --- cvas_backfill --------------------------------------------------------------------------------------------------


@pytest.fixture
def gaps(lake):
    """No rows on 6, 8 and 9 November, and no renewals on the 7th either; the days to look at."""
    days = [f"2025-11-{number:02} 10:00:00" for number in (5, 7, 10)]
    makers = {ACT: act, RENO: reno, DCT: dct}
    fill_lake(lake, {kind: [make(trans_date=day) for day in days] for kind, make in makers.items()})
    with writing(lake, "cvas_test", RunLog()) as change:
        change.write(RENO, "2025-11", change.read(RENO, "2025-11").filter(pl.col("trans_date").dt.day() != 7))
        change.state.forget(date(2025, 11, 7), RENO)
        change.publish(None)
    return {"start_date": "2025-11-05", "end_date": "2025-11-10"}


def _range(first, last):
    return {"start_date": f"2025-11-{first:02}", "end_date": f"2025-11-{last:02}"}


@pytest.mark.parametrize(
    ("fields", "ranges"),
    [
        ({}, [_range(6, 9)]),
        ({"start_date": "2025-11-07"}, [_range(7, 9)]),
        ({"end_date": "2025-11-08"}, [_range(6, 8)]),
        ({"types": "dct,Act"}, [_range(6, 6), _range(8, 9)]),
        ({"types": "RENO"}, [_range(6, 9)]),
    ],
)
def test_each_range_of_missing_days_starts_a_fetch_that_understands_it(dags, lake, gaps, call, fields, ranges):
    """R60: ``types``, ``start_date``, ``end_date``; nothing is started by what only lists."""
    before = data_hashes(lake)
    assert call("cvas_backfill", **{**gaps, **fields}) == []
    assert call("cvas_backfill", **{**gaps, **fields}, dry_run=False) == ranges
    assert data_hashes(lake) == before
    start = dags["cvas_backfill"].get_task("start_fetch")
    assert start.partial_kwargs["trigger_dag_id"] == "cvas_fetch"
    assert [upstream.task_id for upstream in start.upstream_list] == ["find_gaps"]
    assert all(each.keys() <= set(dags["cvas_fetch"].params) for each in ranges)


@pytest.mark.parametrize("dry_run", [True, False])
def test_missing_days_are_recorded_as_empty_only_when_that_is_confirmed_and_meant(lake, gaps, call, dry_run):
    """R60: ``confirm_empty``, which does nothing beside ``dry_run``; no fetch is started for what was confirmed."""
    before = data_hashes(lake)
    assert call("cvas_backfill", **gaps, confirm_empty=True, dry_run=dry_run) == []
    assert (data_hashes(lake) == before) is dry_run
    left = [_range(6, 9)] if dry_run else []
    assert call("cvas_backfill", **gaps, dry_run=False) == left


# --- cvas_process ---------------------------------------------------------------------------------------------------


@pytest.fixture
def process(call):
    """Run the tasks of ``cvas_process`` one after the other; the days that were loaded and what the view's build was,
    None if it was skipped."""

    def process(**fields):
        fields = {"date": DAY.isoformat(), **fields}
        if "start_date" in fields:
            del fields["date"]
        days = call("cvas_process", task_id="choose_days", **fields)
        for day in days:
            call("cvas_process", day, task_id="load_transactions", **fields)
            assert call.published == [day]
        try:
            built = call("cvas_process", task_id="build_subscriptions", **fields)
        except AirflowSkipException:
            return days, None
        assert call.published == [fields.get("end_date") or fields["date"]]
        return days, built["facts"]["mode"]

    return process


def ids(lake):
    return [row["subscription_id"] for row in stored(lake, ACT)]


def test_only_the_steps_that_are_asked_for_are_done(lake, process):
    """R4: ``steps``."""
    write_day(lake, {ACT: [act(subscription_id=1)]})
    assert process(steps="load only") == (["2025-11-10"], None)
    assert not lake.subscriptions.exists()
    write_day(lake, {ACT: [act(subscription_id=2)]})
    assert process(steps="view only") == ([], "full")
    assert ids(lake) == pl.read_parquet(lake.subscriptions)["subscription_id"].to_list() == [1]
    assert process() == (["2025-11-10"], "incremental")
    assert ids(lake) == pl.read_parquet(lake.subscriptions)["subscription_id"].to_list() == [2]


def test_a_view_is_built_from_nothing_only_when_asked(lake, process):
    """R52: ``full_rebuild``."""
    write_day(lake, {ACT: [act()]})
    found = [process(), process(), process(full_rebuild=True), process(steps="view only", full_rebuild=True)]
    assert [mode for _, mode in found] == ["full", "unchanged", "full", "full"]


def test_a_range_of_days_is_loaded_oldest_first(lake, process):
    """R1: ``start_date``, ``end_date``."""
    for number in (8, 9):
        rows = {ACT: [act(subscription_id=number, trans_date=f"2025-11-{number:02} 10:00:00")]}
        write_day(lake, rows, day=date(2025, 11, number))
    assert process(start_date="2025-11-08", end_date="2025-11-09") == (["2025-11-08", "2025-11-09"], "full")
    assert ids(lake) == [8, 9]


@pytest.mark.parametrize(("upsert", "kept"), [(False, [1]), (True, [1, 2])])
def test_rows_the_files_do_not_have_are_kept_only_when_asked(lake, process, upsert, kept):
    """R32: ``upsert``."""
    write_day(lake, {ACT: [act(subscription_id=n) for n in (1, 2)]})
    process(steps="load only")
    write_day(lake, {ACT: [act(subscription_id=1)]})
    process(steps="load only", upsert=upsert)
    assert ids(lake) == kept


def test_a_day_that_loses_most_of_its_rows_and_a_view_that_loses_subscriptions_need_force(lake, process):
    """R33, R50: ``force``."""
    write_day(lake, {ACT: [act(subscription_id=n) for n in range(20)]})
    process()
    write_day(lake, {ACT: [act(subscription_id=n) for n in range(5)]})
    with pytest.raises(CheckFailed, match="5"):
        process()
    assert len(ids(lake)) == 20
    assert process(steps="load only", force=True) == (["2025-11-10"], None)
    assert ids(lake) == [0, 1, 2, 3, 4]
    with pytest.raises(CheckFailed, match="the new view has 5 subscriptions, the old one 20"):
        process(steps="view only", full_rebuild=True)
    assert process(steps="view only", full_rebuild=True, force=True) == ([], "full")


def test_a_day_that_was_not_over_is_loaded_only_when_asked(lake, process, monkeypatch):
    """R2: ``allow_partial``, for the day itself and for its files."""
    write_day(lake, {ACT: [act()]}, complete=False)
    before = data_hashes(lake)
    with pytest.raises(RequestRefused, match="of 2025-11-10 were fetched before the day was over"):
        process()
    assert data_hashes(lake) == before
    assert process(allow_partial=True) == (["2025-11-10"], "full")
    monkeypatch.setattr(partitions, "today", lambda _zone: DAY)
    for steps in ("load and view", "view only"):
        with pytest.raises(RequestRefused, match="2025-11-10 is not over"):
            process(steps=steps)
    assert process(allow_partial=True) == (["2025-11-10"], "unchanged")


# --- cvas_counters --------------------------------------------------------------------------------------------------


def counted(lake):
    path = lake.counters / "Counters_CPC.parquet"
    return {row["date"].day: row["act_count"] for row in pl.read_parquet(path).to_dicts()} if path.exists() else {}


@pytest.fixture
def three_days(lake):
    fill_lake(lake, {ACT: [act(trans_date=f"2025-11-{number:02} 10:00:00") for number in (5, 7, 8)]})
    return lake


def test_all_missing_days_are_counted_and_the_last_one_is_published(three_days, call):
    """R57: ``missing``; whoever waits for a day hears of one that was counted, and of none if none was."""
    call("cvas_counters", date="2025-11-05")
    assert (counted(three_days), call.published) == ({5: 1}, ["2025-11-05"])
    result = call("cvas_counters", missing=True)
    assert (counted(three_days), call.published) == ({5: 1, 7: 1, 8: 1}, ["2025-11-08"])
    assert (result["facts"]["days"], result["facts"]["first"], result["facts"]["last"]) == (
        2,
        "2025-11-07",
        "2025-11-08",
    )
    before = data_hashes(three_days)
    result = call("cvas_counters", missing=True)
    assert (result["facts"], call.published) == ({"days": 0, "skipped": 0}, [])
    assert data_hashes(three_days) == before


def test_a_range_is_counted_and_its_last_day_is_published(three_days, call):
    """R1, R57: ``start_date``, ``end_date``; a day without transactions is told."""
    call("cvas_counters", start_date="2025-11-05", end_date="2025-11-07")
    assert (counted(three_days), call.published) == ({5: 1, 7: 1}, ["2025-11-07"])
    assert call.told == ["The lake has no transactions to count of 2025-11-06."]
    with pytest.raises(RequestRefused, match="end_date 2025-11-05 lies before start_date 2025-11-07"):
        call("cvas_counters", start_date="2025-11-07", end_date="2025-11-05")


@pytest.mark.parametrize(
    ("fields", "counts"),
    [({"date": "2025-11-08"}, 1), ({"date": "2025-11-08", "force": True}, 2), ({"key": "2025-11-08"}, 2)],
)
def test_a_day_that_is_there_is_counted_again_when_forced_or_loaded_again(three_days, call, fields, counts):
    """R57: ``force``; the load of a day needs none."""
    call("cvas_counters", date="2025-11-08")
    fill_lake(three_days, {ACT: [act(subscription_id=2, trans_date="2025-11-08 11:00:00")]})
    call("cvas_counters", **fields)
    assert counted(three_days) == {8: counts}
    assert call.published == ["2025-11-08"]


# --- cvas_user_base -------------------------------------------------------------------------------------------------


def test_without_the_download_what_is_there_is_aggregated(lake, call, tmp_path):
    """R4, R9: ``download``; nobody asks the reporting host, and no fetch is started."""
    shutil.rmtree(tmp_path / "host")
    lake.snapshots.mkdir(parents=True)
    (lake.snapshots / "20251110_NBS_Base.csv").write_bytes(usual())
    fields = {"date": "2025-11-10", "download": False}
    assert call("cvas_user_base", task_id="wait_for_snapshot", **fields) is True
    with pytest.raises(AirflowSkipException):
        call("cvas_user_base", task_id="download_snapshot", **fields)
    call("cvas_user_base", task_id="aggregate_user_base", **fields)
    assert call.published == []
    by_cpc = (lake.user_base / "user_base_by_cpc.csv").read_text()
    assert by_cpc == "date|cpc|User_Base\n2025-11-10|45335|600\n2025-11-10|46109|400\n"
    call("cvas_user_base", task_id="aggregate_user_base", date="2025-11-10")
    assert call.published == ["2025-11-10"]


def test_a_total_that_differs_by_more_than_a_fifth_needs_force(lake, call, tmp_path):
    """R7: ``force``."""
    day = datetime.now(ZONE).date() - timedelta(days=1)
    lake.snapshots.mkdir(parents=True)
    (lake.snapshots / f"{day - timedelta(days=1):%Y%m%d}_NBS_Base.csv").write_bytes(usual(1000))
    (tmp_path / "host" / "NBS_Base.csv").write_bytes(usual(1500))
    os.utime(tmp_path / "host" / "NBS_Base.csv")
    fields = {"date": day.isoformat(), "task_id": "download_snapshot"}
    before = data_hashes(lake)
    with pytest.raises(ContractViolation, match="50"):
        call("cvas_user_base", **fields)
    assert data_hashes(lake) == before
    result = call("cvas_user_base", **fields, force=True)
    assert (result["facts"]["action"], result["facts"]["users"]) == ("created", 1500)
    assert (lake.snapshots / f"{day:%Y%m%d}_NBS_Base.csv").read_bytes() == usual(1500)


# --- cvas_fetch -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The operator's database, with one activation and one refund on 10 November, and the SSH server before it."""
    folder = tmp_path_factory.mktemp("source")
    with PostgresServer(folder / "postgres") as postgres, SshServer(folder, keys=folder / "keys") as ssh:
        with psycopg.connect(postgres.url(), autocommit=True) as db:
            for name, columns in TABLES.items():
                db.execute(f"CREATE TABLE {name} ({columns})")
            db.execute(
                "INSERT INTO telefonicaes_sub_mgr_fact VALUES"
                " ('0340000000000000017', 'cpc=46109', 1, 45, '2025-11-10 12:00', NULL, NULL, 900001, 5.36)"
            )
            db.execute(
                "INSERT INTO refund_v1_0_0_fact VALUES"
                " ('0340000000000000017', 46109, '2025-11-10 12:00', 0.99, 'sbnId=900001,x')"
            )
        yield postgres, ssh


@pytest.fixture
def fetch(source, lake, call, monkeypatch):
    """Run both tasks of ``cvas_fetch`` for each of its days; the days."""
    postgres, ssh = source
    key = {"private_key": ssh.client_key.read_text(), "host_key": ssh.host_key, "look_for_keys": False}
    for conn_id, connection in {
        connections.CVAS_NOVA_SSH: {"conn_type": "ssh", "port": ssh.port, "login": ssh.user, "extra": key},
        connections.CVAS_NOVA_DB: {
            "conn_type": "postgres",
            "port": postgres.port,
            "login": postgres.user,
            "password": postgres.password,
            "schema": "postgres",
        },
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**connection, "host": HOST}))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def fetch(**fields):
        days = call("cvas_fetch", task_id="check_source", **fields)
        for day in days:
            call("cvas_fetch", day, task_id="fetch_transactions", **fields)
        return days

    return fetch


def fetched(lake, day=DAY):
    return sorted(path.name for path in lake.daily(day).glob("*.csv"))


def test_only_the_types_asked_for_are_fetched_and_six_of_them_publish_the_day(lake, fetch, call):
    """R3, R4: ``types`` in any case; the load waits for six complete types."""
    assert fetch(date="2025-11-10", types="Act, rfnd") == ["2025-11-10"]
    assert (fetched(lake), call.published) == (["ACT.csv", "RFND.csv"], [])
    fetch(date="2025-11-10", types="reno,dct,ppd,cnr")
    assert (fetched(lake), call.published) == (sorted(f"{kind.name}.csv" for kind in TYPES), ["2025-11-10"])


def test_a_day_without_activations_and_renewals_needs_a_word(lake, fetch, call):
    """R22: ``allow_empty``."""
    with pytest.raises(CheckFailed, match=r"2025-11-09"):
        fetch(date="2025-11-09")
    assert not {"ACT.csv", "RENO.csv"} & set(fetched(lake, BEFORE))
    assert call.published == []
    assert fetch(start_date="2025-11-08", end_date="2025-11-09", allow_empty=True) == ["2025-11-08", "2025-11-09"]
    assert len(fetched(lake, BEFORE)) == len(fetched(lake, LONG_BEFORE)) == 6
    assert call.published == ["2025-11-09"]


def test_a_day_that_is_not_over_needs_a_word_and_is_not_loaded_by_itself(lake, fetch, call, monkeypatch):
    """R2: ``allow_partial`` marks its files incomplete."""
    today = date(2099, 1, 1)
    monkeypatch.setattr(partitions, "today", lambda _zone: today)
    with pytest.raises(RequestRefused, match="2099-01-01 is not over"):
        fetch(date="2099-01-01", allow_empty=True)
    assert not lake.daily(today).exists()
    assert fetch(date="2099-01-01", allow_empty=True, allow_partial=True) == ["2099-01-01"]
    assert {name: entry.complete for name, entry in read_manifest(lake, today).items()} == {
        kind.name: False for kind in TYPES
    }
    assert call.published == []


# --- cvas_clear_day, cvas_music_extract, cvas_repair_refunds ---------------------------------------------------------


def test_the_files_of_the_day_that_is_named_are_thrown_away_and_no_others(lake, call):
    """Section 7: ``date``; what is loaded stays."""
    rows = {ACT: [act()], RENO: [reno()], PPD: [ppd()], CNR: [cnr()]}
    write_day(lake, rows)
    write_day(lake, {}, day=BEFORE)
    fill_lake(lake, rows)
    before = data_hashes(lake)
    assert call("cvas_clear_day", date="2025-11-10")["facts"] == {"action": "removed"}
    after = data_hashes(lake)
    assert after == {name: digest for name, digest in before.items() if not name.startswith("Daily_Data/2025-11-10/")}
    assert len(before) - len(after) == 7
    assert call("cvas_clear_day", date="2025-11-10")["facts"] == {"action": "there was nothing"}


def test_the_music_extract_is_put_with_the_reports_of_its_day(lake, call):
    """R65: ``date``."""
    write_view(lake, [subscription(subscription_id=7)])
    result = call("cvas_music_extract", date="2025-11-09")
    assert [path.name for path in (lake.root / "Reports").rglob("*.csv")] == ["music_subscriptions.csv"]
    assert pl.read_csv(lake.reports(BEFORE) / "music_subscriptions.csv")["subscription_id"].to_list() == [7]
    assert result["facts"]["subscriptions"] == 1


def test_refunds_are_moved_only_when_it_is_no_dry_run(lake, call):
    """R29: ``dry_run``, on unless somebody unticks it."""
    write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date="2025-11-03")], name="old.parquet")
    before = data_hashes(lake)
    assert call("cvas_repair_refunds")["facts"]["plan"]["moved"] == {"rows": 1, "amount": 3.69}
    assert data_hashes(lake) == before
    result = call("cvas_repair_refunds", dry_run=False)
    assert (result["written"], result["facts"]["after"]) == (1, {"rows": 1, "amount": 3.69})
    folder = lake.transactions / "rfnd"
    assert sorted(path.name for path in folder.iterdir()) == ["year_month=2025-11"]
    assert call.told == [
        "Partitions were changed by something else than the pipeline and are taken as they are: "
        "rfnd/__HIVE_DEFAULT_PARTITION__."
    ]
