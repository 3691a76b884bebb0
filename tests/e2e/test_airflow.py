"""The runner of the demo and of all end-to-end tests: a real Airflow starts, works, and leaves nothing behind.

Before the others: it needs an Airflow of its own, and the cores are for one at a time.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.airflow import PATIENCE, Airflow, AirflowError
from sandbox.reaper import descendants
from sandbox.servers.base import wait
from sandbox.servers.postgres import PostgresServer

REPOSITORY = Path(__file__).parents[2]
REAPER = REPOSITORY / "sandbox" / "reaper.py"

# MONTH is half a year away: a DAG without a run starts at once if its last time is less than a tenth of a year ago.
PAIR = """
from airflow.sdk import Asset, CronPartitionTimetable, Param, PartitionedAssetTimetable, dag, task

RAW = Asset("runner.raw")
YEARLY = CronPartitionTimetable("0 6 1 MONTH *", timezone="Europe/Paris", key_format="%Y-%m-%d")

@dag(schedule=YEARLY, catchup=False, params={"date": Param(None, type=["null", "string"], format="date")})
def producer():
    @task(outlets=[RAW], pool="narrow")
    def publish(*, params=None, partition_key=None, outlet_events=None):
        day = partition_key or params["date"]
        outlet_events[RAW].extra = {"rows": 5}
        outlet_events[RAW].add_partitions(day)
    publish()

@dag(schedule=PartitionedAssetTimetable(assets=RAW), catchup=False)
def consumer():
    @task
    def copy(*, partition_key=None):
        print("copying", partition_key)
    copy()

producer(), consumer()
"""

INTERRUPTED = """
import subprocess, time
from pathlib import Path
from airflow.sdk import dag, task

@dag(schedule=None, catchup=False)
def interrupted():
    @task
    def nap():
        first = Path({mark!r})
        if not first.exists():
            subprocess.Popen(["setsid", "sleep", "3600"])  # a grandchild that hides from the process group
            first.touch()
            time.sleep(3600)
    nap()

interrupted()
"""

# What a demo does, in a process of its own that can be killed.
HOST_PROCESS = """
import sys, time
from pathlib import Path
from sandbox.airflow import Airflow

place, url = Path(sys.argv[1]), sys.argv[2]
folders = {"dags": place / "dags", "plugins": place / "plugins", "pools": place / "pools.json"}
with Airflow(place / "home", **folders, env={}, database_url=url) as airflow:
    print(airflow.port, flush=True)
    time.sleep(3600)
"""


@dataclass
class Host:
    """A process that runs an Airflow, and that Airflow seen from outside of it."""

    process: subprocess.Popen[str]
    airflow: Airflow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("airflow")
    (place / "dags").mkdir()
    (place / "plugins").mkdir()
    (place / "dags" / "pair.py").write_text(PAIR.replace("MONTH", str((datetime.now(UTC).month + 5) % 12 + 1)))
    (place / "dags" / "interrupted.py").write_text(INTERRUPTED.format(mark=str(place / "napped")))
    (place / "pools.json").write_text(json.dumps({"narrow": {"slots": 1, "description": "one at a time"}}))
    return place


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server.create_database("airflow")


@pytest.fixture(scope="module")
def host(place: Path, database_url: str) -> Iterator[Host]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOST_PROCESS, place, database_url],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        airflow = an_airflow(place, database_url, port=int(process.stdout.readline()))
        yield Host(process, airflow)
        process.kill()
    airflow.api.close()


def an_airflow(place: Path, database_url: str, *, port: int = 0, env: Mapping[str, str] = {}) -> Airflow:
    return Airflow(
        place / "home",
        dags=place / "dags",
        plugins=place / "plugins",
        env=env,
        database_url=database_url,
        pools=place / "pools.json",
        port=port,
    )


def processes_of(home: Path) -> set[int]:
    """All processes, of whatever parent, that were started for the Airflow in ``home``."""
    wanted = f"AIRFLOW_HOME={home}".encode()
    found = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in environ.read_bytes().split(b"\0"):
                found.add(int(environ.parent.name))
        except OSError:  # ended while we looked
            continue
    return found


def test_a_day_given_on_the_command_line_drives_producer_and_consumer(host: Host) -> None:
    airflow, api = host.airflow, host.airflow.api
    airflow.wait_for_dags(["producer", "consumer", "interrupted"])
    assert api.import_errors() == {}
    api.unpause("producer")
    api.unpause("consumer")

    triggered = airflow.cli("dags", "trigger", "producer", "--conf", '{"date": "2024-01-15"}')
    assert triggered.returncode == 0, triggered.stderr
    run = api.wait_for_run("consumer", partition_key="2024-01-15")
    assert api.wait_run("consumer", run["dag_run_id"]) == "success"
    assert "copying 2024-01-15" in api.task_log("consumer", run["dag_run_id"], "copy")
    [event] = api.asset_events("runner.raw")
    assert (event["partition_key"], event["extra"]) == ("2024-01-15", {"rows": 5})

    # Clearing the producer's run publishes that day again: a second run of the consumer, for the same day.
    [producer_run] = api.runs("producer")
    api.clear("producer", producer_run["dag_run_id"])
    again = api.wait_for_run("consumer", lambda other: other["dag_run_id"] != run["dag_run_id"])
    assert again["partition_key"] == "2024-01-15"
    assert api.wait_run("consumer", again["dag_run_id"]) == "success"
    [task] = api.task_instances("producer", producer_run["dag_run_id"])
    assert (task["task_id"], task["state"], task["pool"]) == ("publish", "success", "narrow")

    # A run can be given its day as a key, too.
    keyed = api.trigger("producer", partition_key="2024-01-16")
    assert api.wait_run("producer", keyed["dag_run_id"]) == "success"
    api.wait_for_run("consumer", partition_key="2024-01-16")
    assert [event["partition_key"] for event in api.asset_events("runner.raw")] == [
        "2024-01-15",
        "2024-01-15",
        "2024-01-16",
    ]

    assert len(processes_of(airflow.home)) >= 10
    readable_by_others = {file.name for file in airflow.home.glob("*.json") if file.stat().st_mode & 0o077}
    assert readable_by_others == {"prepared.json"}


def test_a_killed_runner_leaves_no_process_and_its_task_runs_again_after_a_restart(
    host: Host, place: Path, database_url: str
) -> None:
    home = place / "home"
    mark = place / "napped"
    host.airflow.wait_for_dags(["interrupted"])
    host.airflow.api.unpause("interrupted")
    run_id = host.airflow.api.trigger("interrupted")["dag_run_id"]
    assert wait(mark.exists, timeout=PATIENCE)
    below = descendants(host.process.pid)
    host.process.kill()
    assert len(below) >= 14  # four components with a reaper each, four workers, the task and its grandchild ...

    def alive() -> set[int]:
        return processes_of(home) | {pid for pid in below if Path(f"/proc/{pid}").exists()}

    assert wait(lambda: not alive(), timeout=PATIENCE), alive()

    # Found as the orphan of a scheduler that is gone, not as a task without a heartbeat, which has failed.
    patient = {"AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "3600"}
    with an_airflow(place, database_url, env=patient) as airflow:
        assert airflow.api.wait_run("interrupted", run_id) == "success"
        [task] = airflow.api.task_instances("interrupted", run_id)
        assert task["try_number"] == 2
    assert processes_of(home) == set()


def test_a_component_that_cannot_start_is_named_with_the_end_of_its_log(place: Path, database_url: str) -> None:
    airflow = an_airflow(place, database_url, env={"AIRFLOW__API__SSL_CERT": "half.pem"})
    with pytest.raises(AirflowError, match=r"(?s)^api-server ended with code 1\..*api-server\.log\n.*Need both"):
        airflow.start()
    assert processes_of(airflow.home) == set()


def test_a_taken_port_is_refused_before_anything_starts(place: Path, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AirflowError, match=rf"^Port {port} is taken\."):
            an_airflow(place, database_url, port=port).start()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_reaper_kills_detached_grandchildren_when_its_caller_dies(tmp_path: Path, how: signal.Signals) -> None:
    ready = tmp_path / "ready"
    command = f"(setsid sh -c 'trap : INT TERM HUP; touch {ready}; while :; do sleep 1; done' &) ; exec sleep 3600"
    caller = subprocess.Popen(
        [
            *(sys.executable, "-c", "import subprocess, sys; subprocess.Popen(sys.argv[1:], stdin=-1).wait()"),
            *(sys.executable, "-I", "-S", REAPER, "sh", "-c", command),
        ],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    assert wait(ready.exists, timeout=PATIENCE)
    below = descendants(caller.pid)
    os.killpg(caller.pid, how)  # as a terminal does
    caller.wait()
    assert len(below) >= 3
    assert wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), timeout=PATIENCE)


def test_the_reaper_ends_with_the_code_of_its_command() -> None:
    codes = []
    for script in ("exit 0", "exit 7", "kill -9 $$"):
        with subprocess.Popen(
            [sys.executable, "-I", "-S", REAPER, "sh", "-c", script], stdin=subprocess.PIPE
        ) as reaper:
            codes.append(reaper.wait())
    assert codes == [0, 7, 137]
