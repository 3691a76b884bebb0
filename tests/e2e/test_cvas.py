"""cvas as its operators use it: the chain, old days, corrections, kills, a week again. Each test builds on the last."""

import hashlib
import re
import subprocess
from contextlib import suppress
from datetime import date, timedelta

import polars as pl
import psycopg
import pytest
from playwright.sync_api import expect

from include.cvas.config import Lake, Settings
from include.cvas.contract import TYPES
from include.cvas.lake import month_of, partition_files, read_partition
from include.cvas.view import compare_with_rebuild
from sandbox.browser import chromium, operator
from sandbox.cvas.estate import READER
from sandbox.cvas.source import FACT, REFUND, correct_day, fill_source

from .conftest import Telecom

USER_BASE, FETCH, PROCESS, COUNTERS = "cvas_user_base", "cvas_fetch", "cvas_process", "cvas_counters"


def partitions_of(telecom: Telecom) -> dict[str, str]:
    """SHA-256 of every file readers look at."""
    lake = telecom.world.lake
    files = [*lake.transactions.rglob("*.parquet"), lake.subscriptions]
    return {str(file.relative_to(lake.root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def rows_of(telecom: Telecom, kind, day: date) -> pl.DataFrame:
    rows = read_partition(telecom.world.lake, kind, month_of(day))
    return rows.filter(pl.col(kind.event_date).dt.date() == day)


def is_staged(telecom: Telecom) -> bool:
    """Whether files are made that a load is about to put in place."""
    with suppress(FileNotFoundError):
        return any((telecom.world.lake.staging / "load").iterdir())
    return False


def assert_view_equals_a_rebuild(telecom: Telecom) -> None:
    assert compare_with_rebuild(telecom.world.lake, settings=Settings()) == []


def test_one_trigger_in_the_terminal_drives_the_day_through_to_its_counters(telecom):
    """R3: user base, fetch, load and view, counters: each starts by its predecessor's published day, the same one."""
    known = telecom.known_chain()
    run_id = telecom.trigger_by_command(USER_BASE)
    assert telecom.finish(USER_BASE, run_id) == "success"
    day = str(telecom.world.day)
    assert telecom.finish_chain(known) == {
        FETCH: [(day, "success")],
        PROCESS: [(day, "success")],
        COUNTERS: [(day, "success")],
    }
    assert telecom.world.report()[-2].strip() == "all of it equals the generator's own calculation, to the cent"
    for asset in ("landing.user_base", "landing.transactions", "raw.transactions", "curated.subscriptions"):
        assert telecom.airflow.api.asset_events(f"cvas.{asset}")[-1]["partition_key"] == day
    assert_view_equals_a_rebuild(telecom)


def test_the_same_day_twice_changes_no_byte(telecom):
    """R32, G7"""
    before = partitions_of(telecom)
    known = telecom.known_chain()
    assert telecom.run(PROCESS, date=str(telecom.world.day)) == "success"
    assert telecom.finish_chain(known, COUNTERS) == {COUNTERS: [(str(telecom.world.day), "success")]}
    assert partitions_of(telecom) == before


def test_an_old_day_drives_its_own_chain_only(telecom):
    """R1: triggered with its date; user base not needed (R3)."""
    day = telecom.world.day - timedelta(days=2)
    known = telecom.known_chain()
    run_id = telecom.trigger_by_command(FETCH, date=str(day))
    assert telecom.finish(FETCH, run_id) == "success"
    assert telecom.finish_chain(known, PROCESS) == {PROCESS: [(str(day), "success")], COUNTERS: [(str(day), "success")]}


def test_clearing_an_old_fetch_after_a_correction_leaves_exactly_the_corrected_rows(telecom):
    """R32, G8: changed values are there, removed rows are gone, other days are untouched, the view is a rebuild's."""
    day = telecom.world.day - timedelta(days=2)
    others = {kind.name: rows_of(telecom, kind, day - timedelta(days=1)) for kind in TYPES}
    before = {kind.name: rows_of(telecom, kind, day) for kind in TYPES}
    correction = correct_day(telecom.world.source_url, day)

    known = telecom.known_chain()
    run_id = telecom.airflow.api.runs(FETCH)[-1]["dag_run_id"]  # of the test before
    telecom.airflow.api.clear(FETCH, run_id)
    assert telecom.finish(FETCH, run_id) == "success"
    assert telecom.finish_chain(known, PROCESS) == {PROCESS: [(str(day), "success")], COUNTERS: [(str(day), "success")]}

    for kind in TYPES:
        changed, removed = correction.changed.get(kind.name, {}), correction.removed.get(kind.name, frozenset())
        rows = rows_of(telecom, kind, day)
        if kind.name not in correction.changed:
            assert rows.equals(before[kind.name])
            continue
        amounts = {(row["subscription_id"], row["trans_date"]): row["rev"] for row in before[kind.name].to_dicts()}
        due = {
            key: float(changed.get(key, amount)) if amount is not None else None
            for key, amount in amounts.items()
            if key not in removed
        }
        assert {(row["subscription_id"], row["trans_date"]): row["rev"] for row in rows.to_dicts()} == due
        assert len(due) == len(amounts) - len(removed)
    for kind in TYPES:
        assert rows_of(telecom, kind, day - timedelta(days=1)).equals(others[kind.name])
    assert_view_equals_a_rebuild(telecom)


def test_a_load_that_is_killed_ends_where_an_undisturbed_one_ends(telecom):
    """R35, R78: kill -9 as soon as files are staged; the task is tried again and finishes or begins anew."""
    day = telecom.world.day - timedelta(days=1)
    for _ in range(5):
        correct_day(telecom.world.source_url, day)
        known = telecom.known_chain()
        telecom.trigger(FETCH, date=str(day))
        run_id = telecom.next_run(PROCESS, known[PROCESS])
        killed = telecom.kill(PROCESS, run_id, telecom.world.lake.lock, when=lambda: is_staged(telecom))
        if killed and is_staged(telecom):
            break
        telecom.finish_chain(known)
    else:
        pytest.fail("the load was over before it could be killed, five times")
    assert telecom.finish_chain(known) == {
        FETCH: [(str(day), "success")],
        PROCESS: [(str(day), "success")],
        COUNTERS: [(str(day), "success")],
    }
    [load] = [t for t in telecom.airflow.api.task_instances(PROCESS, run_id) if t["task_id"] == "load_transactions"]
    assert load["try_number"] == 2
    csv = pl.read_csv(telecom.world.lake.daily(day) / "RENO.csv", columns=["rev"])
    assert rows_of(telecom, TYPES[1], day)["rev"].sum() == pytest.approx(csv["rev"].sum())
    assert_view_equals_a_rebuild(telecom)


def test_a_range_is_a_task_per_day_oldest_first(telecom):
    """R1: start and end, both included."""
    first, last = telecom.world.day - timedelta(days=2), telecom.world.day - timedelta(days=1)
    known = telecom.known_chain()
    run_id = telecom.trigger(FETCH, start_date=str(first), end_date=str(last))
    assert telecom.finish(FETCH, run_id) == "success"
    mapped = [t for t in telecom.airflow.api.task_instances(FETCH, run_id) if t["task_id"] == "fetch_transactions"]
    assert [t["rendered_map_index"] for t in sorted(mapped, key=lambda t: t["start_date"])] == [str(first), str(last)]
    days = [(str(first), "success"), (str(last), "success")]
    assert telecom.finish_chain(known, PROCESS, each=2) == {PROCESS: days, COUNTERS: days}


def test_a_week_by_backfill(telecom):
    """The days of a week go through the whole chain once more; the range names business days."""
    last = telecom.world.day
    week = [last - timedelta(days=age) for age in range(6, -1, -1)]
    fill_source(telecom.world.source_url, telecom.world.telecom, week[0], week[1])
    before = partitions_of(telecom)
    known = telecom.known_chain()
    done = telecom.airflow.cli(
        *("backfill", "create", "--dag-id", USER_BASE, "--from-date", str(week[0]), "--to-date", f"{last}T23:59"),
        *("--reprocess-behavior", "completed"),
    )
    assert done.returncode == 0, done.stderr
    days = [(str(day), "success") for day in week]
    chain = telecom.finish_chain(known, USER_BASE, each=7)
    assert chain == dict.fromkeys((USER_BASE, FETCH, PROCESS, COUNTERS), days)
    # Days that wait for the same DAG are taken up in any order; only the backfill's own are taken up oldest first.
    runs = [run for run in telecom.airflow.api.runs(USER_BASE) if run["run_type"] == "backfill"]
    assert [run["partition_key"] for run in sorted(runs, key=lambda run: run["start_date"])] == [day for day, _ in days]
    after = partitions_of(telecom)
    assert after.keys() == before.keys()
    assert_view_equals_a_rebuild(telecom)


def test_a_refused_table_fails_at_once_and_tells_once(telecom):
    """Section 6, R19: the account may no longer read one table; nothing is fetched, nobody is told twice."""
    with psycopg.connect(telecom.world.source_url, autocommit=True) as db:
        db.execute(f"REVOKE SELECT ON {REFUND} FROM {READER}")
        try:
            run_id = telecom.trigger(FETCH, date=str(telecom.world.day))
            assert telecom.finish(FETCH, run_id) == "failed"
        finally:
            db.execute(f"GRANT SELECT ON {REFUND} TO {READER}")
    [task] = [t for t in telecom.airflow.api.task_instances(FETCH, run_id) if t["task_id"] == "check_source"]
    assert task["try_number"] == 1
    [message] = telecom.messages(FETCH, run_id)
    assert REFUND in message.body
    assert "Next step: " in message.body


def test_a_day_that_is_not_over_is_refused_before_anything_is_touched(telecom):
    """R2"""
    today = telecom.world.day + timedelta(days=1)
    run_id = telecom.trigger(FETCH, date=str(today))
    assert telecom.finish(FETCH, run_id) == "failed"
    assert f"{today} is not over" in telecom.airflow.api.task_log(FETCH, run_id, "check_source")
    assert not telecom.world.lake.daily(today).exists()


def test_every_other_dag_runs(telecom, tmp_path):
    """R4 and section 7: each with what its form asks for."""
    day = str(telecom.world.day - timedelta(days=1))
    conf = {
        "cvas_status": {"files_of": day},
        "cvas_connections": {},
        "cvas_deadlines": {"date": str(telecom.world.day - timedelta(days=1))},
        "cvas_checks": {},
        "cvas_housekeeping": {},
        "cvas_monthly_reports": {},
        "cvas_music_extract": {},
        "cvas_mastercpc": {"workbook": str(telecom.world.catalogue_workbook), "allow_lost": True},
        "cvas_repair_refunds": {"dry_run": True},
        "cvas_backfill": {"dry_run": True},
        "cvas_clear_day": {"date": day},
    }
    telecom.settle()
    runs = {dag_id: telecom.airflow.api.trigger(dag_id, asked)["dag_run_id"] for dag_id, asked in conf.items()}
    states = {dag_id: telecom.finish(dag_id, run_id) for dag_id, run_id in runs.items()}
    assert states == dict.fromkeys(conf, "success")
    assert not telecom.world.lake.daily(date.fromisoformat(day)).exists()
    assert telecom.run("cvas_restore", confirm=True) == "success"
    reports = {file.name for file in telecom.world.lake.root.glob("Reports/*/*")}
    assert {"transactions.json", "subscriptions.json", "users.json", "music_subscriptions.csv"} <= reports


def test_another_terminal_becomes_part_of_it(telecom, tmp_path):
    """What the demo offers: Airflow's command line and the operators', from any folder."""
    file = tmp_path / "environment.sh"
    telecom.airflow.write_environment(file, telecom.world.places)
    assert file.stat().st_mode & 0o777 == 0o600
    done = subprocess.run(
        ["/bin/sh", "-c", f". {file}; airflow dags details {FETCH}; python -m include.scripts cvas status"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "dags/cvas/cvas_fetch.py" in done.stdout
    assert "cvas_view" in done.stdout


@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt install chromium)")
def test_the_page_of_a_day_shows_its_rows_and_the_form_its_fields(telecom):
    url = telecom.airflow.url
    run = telecom.airflow.api.runs(PROCESS)[-1]
    with operator(telecom.airflow, zone="Europe/Madrid") as page:
        page.goto(f"{url}/dags/{PROCESS}/runs/{run['dag_run_id']}")
        page.get_by_role("button", name="Show Graph").click()
        for task in ("choose_days", "load_transactions", "build_subscriptions"):
            expect(page.get_by_role("application").get_by_text(task).first).to_be_visible()
        page.goto(f"{url}/dags/{FETCH}")
        page.get_by_role("button", name="Trigger Dag").click()
        form = page.get_by_role("dialog")
        for title in ("Business day", "From", "To", "Types"):
            expect(form.get_by_role("group").filter(has_text=re.compile(f"^{title}")).first).to_be_visible()


def test_rows_that_cannot_be_read_stop_the_day_and_no_number_of_theirs_is_told(telecom):
    """R5, R27: what is wrong with a field is told, not what is in it; the lake is as it was."""
    day = telecom.world.day - timedelta(days=3)
    file = telecom.world.lake.daily(day) / "ACT.csv"
    pl.read_csv(file, infer_schema=False).with_columns(rev=pl.col("msisdn") + "x").write_csv(file)
    file.with_name("_manifest.json").unlink()
    before = partitions_of(telecom)
    run_id = telecom.trigger(PROCESS, date=str(day))
    assert telecom.finish(PROCESS, run_id) == "failed"
    [message] = telecom.messages(PROCESS, run_id)
    assert "ACT.csv" in message.body
    assert "'rev'" in message.body
    assert partitions_of(telecom) == before
    assert (file.parent / "_rejects" / "ACT.csv").exists()


def personal_numbers(lake: Lake) -> set[str]:
    """Every phone and user id that went through, also without country code and leading zeros."""
    found = set(re.findall(r"\d{9,}", lake.excluded_users.read_text(encoding="utf-8")))
    for kind in TYPES:
        for file in (file for files in partition_files(lake, kind).values() for file in files):
            rows = pl.read_parquet(file, hive_partitioning=False)
            for name in {"tmuserid", "msisdn"} & set(rows.columns):
                found |= set(rows[name].drop_nulls())
    local = {value.removeprefix("34") for value in found if re.fullmatch(r"34\d{9}", value)}
    return {value for value in found | local | {value.lstrip("0") for value in found} if len(value) >= 9}


def test_nothing_a_run_left_behind_holds_personal_data(telecom):
    """R5: task logs, run logs, journals, reports, rejects, counters, messages, every row of Airflow's database."""
    world = telecom.world
    with psycopg.connect(world.source_url) as db:
        fields = db.execute(
            f"SELECT msisdn, substring(generic_act_info FROM 'chrg_refid=([^;]*)') FROM {FACT}"
        ).fetchall()
    personal = {value for row in fields for value in row if value and len(value) >= 9} | personal_numbers(world.lake)
    assert len(personal) > 1_000

    def found_in(text: str) -> set[str]:
        # Not the fraction of a number.
        return set(re.findall(r"(?<![\d.])\d{9,}", text)) & personal

    rejects = list(world.lake.root.glob("Daily_Data/*/_rejects"))
    assert rejects
    folders = (telecom.airflow.home / "logs", world.lake.logs, world.lake.root / "Reports", world.lake.state)
    for folder in (*folders, *rejects, world.lake.counters):
        for file in folder.rglob("*"):
            if file.suffix in (".log", ".json", ".txt") or (
                file.suffix == ".csv" and file.stem != "music_subscriptions"
            ):
                assert not found_in(file.read_text(errors="replace")), file
    for message in telecom.sink.messages:
        assert not found_in(f"{message}")
    tables = telecom.metadata.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert len(tables) > 20
    for (table,) in tables:
        with telecom.metadata.cursor().copy(f'COPY "{table}" TO STDOUT') as rows:
            assert not found_in(b"".join(bytes(block) for block in rows).decode(errors="replace")), table
