"""What every DAG file keeps to, so that whoever knows one knows all."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from dagkit import assets, policies
from dagkit.docs import render, schedule_of
from dagkit.notifications import keep_cause, tell_failure

REPOSITORY = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((REPOSITORY / "dags").glob("*/*.py"))
POOLS = json.loads((REPOSITORY / "plugins" / "dagkit" / "pools.json").read_text())
KINDS = {"ingest", "transform", "publish", "maintain", "monitor", "manual"}
SYSTEMS = {"commercial_log", "vinops", "fms_sync", "music_lake", "cvas"}
SNAPSHOT = Path(__file__).with_name("estate.json")


def tasks_of(dags):
    return [(dag, task) for dag in dags.values() for task in dag.tasks]


def as_list(value):
    """A mapped task keeps a single callback as it is."""
    return value if isinstance(value, list) else [value]


def test_one_dag_per_file_named_like_it(dags):
    assert sorted(dags) == sorted(file.stem for file in DAG_FILES)
    for dag in dags.values():
        assert Path(dag.fileloc).parent.name in SYSTEMS
        assert dag.dag_id.startswith(Path(dag.fileloc).parent.name + "_")


def test_every_dag_is_tagged_with_its_system_and_one_kind(dags):
    for dag in dags.values():
        system, kinds = Path(dag.fileloc).parent.name, dag.tags - SYSTEMS
        assert system in dag.tags
        assert len(kinds) == 1, f"{dag.dag_id}: {kinds}"
        assert kinds <= KINDS


def test_every_dag_runs_once_at_a_time_without_catching_up(dags):
    for dag in dags.values():
        assert (dag.max_active_runs, dag.catchup) == (1, False), dag.dag_id


@pytest.mark.parametrize("section", ["Reads", "Writes", "Re-run", "If it fails"])
def test_every_docstring_tells_the_four_things(dags, section):
    for dag in dags.values():
        text = re.search(rf"^\*\*{section}\*\* (.+)", dag.doc_md, re.MULTILINE)
        assert text, f"{dag.dag_id} says nothing about: {section}"
        assert len(text[1]) > 10


def test_every_task_has_policy_time_limit_pool_queue_and_tells_its_cause(dags):
    for dag, task in tasks_of(dags):
        name = f"{dag.dag_id}.{task.task_id}"
        assert task.retry_policy == policies.RETRY_BY_ERROR, name
        assert task.execution_timeout, name
        assert task.pool in POOLS, f"{name} uses pool {task.pool}, which pools.json does not make"
        assert task.queue == Path(dag.fileloc).parent.name, name
        assert keep_cause in as_list(task.on_failure_callback), name
        assert tell_failure is dag.on_failure_callback, dag.dag_id
        assert task.doc_md, f"{name} does not say what it does"


def test_one_writer_stores_have_one_slot():
    for store in ("commercial_log_db", "commercial_log_files", "cvas_lake", "cvas_user_base"):
        assert POOLS[store]["slots"] == 1, store


def test_every_asset_has_exactly_one_producer(dags):
    produced = [asset.name for _, task in tasks_of(dags) for asset in task.outlets]
    known = {value.name for value in vars(assets).values() if isinstance(value, assets.Asset)}
    assert sorted(produced) == sorted(known)


def test_asset_uris_are_what_we_wrote():
    for value in vars(assets).values():
        if isinstance(value, assets.Asset):
            assert value.uri == value.name
            assert re.fullmatch(r"[a-z_]+\.(landing|raw|staging|curated|audit)\.[a-z_]+", value.name)


def test_consumers_take_one_asset_each(dags):
    for dag in dags.values():
        condition = getattr(dag.timetable, "asset_condition", None)
        assert not condition or isinstance(condition, assets.Asset), dag.dag_id


def test_task_ids_are_functions_of_the_system_and_say_what_they_do(dags):
    for dag, task in tasks_of(dags):
        assert re.fullmatch(r"[a-z]+_[a-z_]+", task.task_id), f"{dag.dag_id}.{task.task_id}"


def test_all_dag_files_together_parse_sooner_than_airflow_is_imported():
    """Beyond that import, in a fresh process: heavy libraries must stay inside the tasks. It is a third of it, half a
    second; how many seconds pass depends on the machine."""
    code = (
        "import time, sys, runpy\n"
        "began = time.process_time()\n"
        "import airflow.sdk\n"
        "import airflow.providers.standard.decorators.python, airflow.providers.standard.decorators.sensor\n"
        "imported = time.process_time()\n"
        "[runpy.run_path(file) for file in sys.argv[1:]]\n"
        "parsed = time.process_time()\n"
        "heavy = {'pandas', 'polars', 'duckdb', 'openpyxl', 'boto3', 'paramiko', 'python_calamine', 'smbclient',\n"
        "         'numpy', 'psycopg', 'apprise'}\n"
        "print((parsed - imported) / (imported - began), sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, DAG_FILES)],
        env={"PATH": "", "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}", "AIRFLOW_HOME": "/nonexistent"}
        | {"HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    share, heavy = done.stdout.splitlines()[-1].split(" ", 1)
    assert heavy == "[]"
    assert float(share) < 1


def test_forms_can_be_filled_in(dags):
    """The form sends nothing for a field with ``const``, and shows examples of an array as its value."""
    for dag in dags.values():
        for name, param in dict(dag.params.items()).items():
            schema = dag.params.get_param(name).schema
            assert "const" not in schema, f"{dag.dag_id}.{name}"
            assert not ("examples" in schema and "array" in str(schema.get("type"))), f"{dag.dag_id}.{name}"
            assert param is None or schema.get("title"), f"{dag.dag_id}.{name} has no title"


def test_parsing_opens_no_connection_and_reads_no_variable(monkeypatch):
    from airflow.sdk import BaseHook, Variable
    from dagkit.docs import load_dags

    def refuse(*_, **__):
        raise AssertionError("a DAG file looked outside while it was parsed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(BaseHook, "get_connection", refuse)
    monkeypatch.setattr(Variable, "get", refuse)
    assert load_dags()


def test_import_rules_hold():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dag_files_never_import_each_other():
    for file in DAG_FILES:
        imported = set(re.findall(r"^\s*(?:from|import) ([\w.]+)", file.read_text(), re.MULTILINE))
        system = file.parent.name
        for module in imported:
            assert not module.startswith("dags"), file
            if module.startswith("include."):
                assert module.split(".")[1] in {system, "common", "errors"}, f"{file} imports {module}"


def test_every_statement_says_what_it_reads_and_writes():
    """A file is one statement, named for what it does; a migration may be several."""
    verbs = ("check", "count", "create", "delete", "insert", "replace", "select", "update", "upsert")
    for file in (REPOSITORY / "include" / "sql").glob("*/*.sql"):
        header = " ".join(line for line in file.read_text().splitlines() if line.startswith("--"))
        parts = ("Grain:", "Reads", "Writes:", "Params", "Re-run:")
        assert [part for part in parts if part not in header] == [], file
        assert re.sub(r"^\d{4}_", "", file.name).partition("_")[0] in verbs, file


def test_generated_docs_are_current(dags):
    assert (REPOSITORY / "docs" / "DAGS.md").read_text() == render(dags), "run: make docs"


def test_no_schedule_and_no_edge_changes_unseen(dags):
    """The whole estate as data. A wanted change: delete estate.json, run this test once, and read the diff."""
    estate = {
        dag_id: {
            "starts": schedule_of(dag),
            "tasks": {
                task.task_id: {
                    "after": sorted(task.upstream_task_ids),
                    "pool": task.pool,
                    "publishes": [asset.name for asset in task.outlets],
                    "trigger_rule": str(task.trigger_rule),
                }
                for task in dag.tasks
            },
            "form": sorted(dict(dag.params.items())),
        }
        for dag_id, dag in dags.items()
    }
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(json.dumps(estate, indent=1) + "\n")
        pytest.fail("estate.json was missing and has been written: read it, commit it, run again")
    assert estate == json.loads(SNAPSHOT.read_text())


def test_nothing_in_the_repository_knows_this_machine():
    tracked = subprocess.run(
        ["git", "grep", "-nIE", r"/(home|root|work)/[a-z]", "--", ":!tests/dags/test_house_rules.py"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode not in (0, 1):
        pytest.skip("not a git checkout")
    assert tracked.stdout == ""


def test_no_connection_leaves_the_machine():
    with pytest.raises(UserWarning, match=r"tried to use socket\.socket\.connect"):
        socket.create_connection(("192.0.2.1", 9), timeout=0.1)
