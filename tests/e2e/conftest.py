"""The systems in one running Airflow, started once for all tests of them."""

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.airflow import Airflow
from sandbox.commercial_log.estate import CommercialLog
from sandbox.cvas.estate import Cvas
from sandbox.demo import running_estate
from sandbox.servers.sinks import Message, NotificationSink
from sandbox.world import World

# What differs between two runs that did the same: ids of rows and batches, times, the day's own name.
BOOKINGS = (
    "SELECT s.bill_code, s.air_date, s.end_date, s.time_in, s.time_out, s.length_seconds, s.language_code, s.spot_type,"
    " s.gross_rate, s.station_net, s.broadcast_month, s.revenue_type, s.market_id, s.customer_id, s.agency_id,"
    " s.language_id, s.spot_category, s.row_hash, a.language_code, a.assignment_method, a.requires_review"
    " FROM spots AS s LEFT JOIN spot_language_assignments AS a USING (spot_id) ORDER BY s.row_hash, s.spot_id"
)


@dataclass
class Estate:
    """A running Airflow with one system's outside world."""

    airflow: Airflow
    world: World
    sink: NotificationSink
    settled: bool = False

    def trigger(self, dag_id: str, **conf: object) -> str:
        """Start a run through the API, as the UI does; its id. What earlier tests set in motion ends first."""
        self.settle()
        self.settled = dag_id not in self.world.chains[0]
        return str(self.airflow.api.trigger(dag_id, conf)["dag_run_id"])

    def trigger_by_command(self, dag_id: str, **conf: object) -> str:
        """Start a run as an operator does in the terminal; its id."""
        known = self.known(dag_id)
        self.settled = False
        done = self.airflow.cli("dags", "trigger", dag_id, *(["-c", json.dumps(conf)] if conf else []))
        assert done.returncode == 0, done.stderr
        return self.next_run(dag_id, known)

    def clear(self, dag_id: str, run_id: str, task_ids: list[str] | None = None) -> None:
        """Let tasks of a run be done once more, all of them or those named."""
        self.settled = False
        self.airflow.api.clear(dag_id, run_id, task_ids)

    def settle(self) -> None:
        """Wait until nothing of the main chain runs: a reader would make the next writer wait for its lock."""
        if self.settled:
            return

        def quiet() -> bool:
            runs = [run for dag_id in self.world.chains[0] for run in self.airflow.api.runs(dag_id)]
            return all(run["state"] in ("success", "failed") for run in runs)

        assert wait(lambda: quiet() and (time.sleep(0.7) or quiet()), timeout=300, every=0.5)
        self.settled = True

    def next_run(self, dag_id: str, known: set[str], *, timeout: float = 60) -> str:
        run = self.airflow.api.wait_for_run(dag_id, lambda run: run["dag_run_id"] not in known, timeout=timeout)
        return str(run["dag_run_id"])

    def known(self, dag_id: str) -> set[str]:
        """The runs there are once everything set in motion has ended."""
        self.settle()
        return {run["dag_run_id"] for run in self.airflow.api.runs(dag_id)}

    def finish(self, dag_id: str, run_id: str, *, timeout: float = 120) -> str:
        return self.airflow.api.wait_run(dag_id, run_id, timeout=timeout)

    def run(self, dag_id: str, **conf: object) -> str:
        """Trigger, wait; the run's state."""
        return self.finish(dag_id, self.trigger(dag_id, **conf))

    def messages(self, *, about: str, at_least: int = 1, timeout: float = 30) -> list[Message]:
        """Notifications whose text names ``about``; waits for the first, then a moment for one too many."""
        wait(lambda: len(self._about(about)) >= at_least, timeout=timeout)
        time.sleep(1.5)
        return self._about(about)

    def _about(self, text: str) -> list[Message]:
        return [message for message in self.sink.messages if text in message.body]


class Station(Estate):
    """The estate of commercial_log, seen through its database."""

    world: CommercialLog

    def query(self, sql: str, *binds: object) -> list[tuple]:
        with closing(sqlite3.connect(self.world.database, timeout=30)) as db:
            return db.execute(sql, binds).fetchall()

    def bookings(self) -> list[tuple]:
        """Every spot with everything a load decides about it."""
        return self.query(BOOKINGS)

    def ids(self) -> list[tuple]:
        """Every spot id with the time, batch and assignment it has kept."""
        return self.query(
            "SELECT s.spot_id, s.load_date, s.import_batch_id, a.assignment_id, a.assigned_date FROM spots AS s"
            " JOIN spot_language_assignments AS a USING (spot_id) ORDER BY s.spot_id"
        )

    def import_and_update(self) -> tuple[str, str]:
        """Trigger the import in the terminal and wait for the update it starts; the states of both."""
        known = self.known("commercial_log_update")
        imported = self.finish("commercial_log_import", self.trigger_by_command("commercial_log_import"))
        return imported, self.finish("commercial_log_update", self.next_run("commercial_log_update", known))


class Telecom(Estate):
    """The estate of cvas, seen through its chain of DAGs."""

    world: Cvas

    def known_chain(self) -> dict[str, set[str]]:
        self.settle()
        return {dag_id: {run["dag_run_id"] for run in self.airflow.api.runs(dag_id)} for dag_id in self.world.chains[0]}

    def finish_chain(
        self, known: dict[str, set[str]], first: str = "cvas_fetch", *, each: int = 1, timeout: float = 180
    ) -> dict[str, list[tuple[str, str]]]:
        """Wait for ``each`` new runs of every DAG from ``first`` on; day and state of all that came, by DAG.

        A DAG may run more often than asked for, which shows; the runs are in the order in which they started.
        """
        chain = self.world.chains[0][self.world.chains[0].index(first) :]

        def new(dag_id: str) -> list[dict]:
            runs = [run for run in self.airflow.api.runs(dag_id) if run["dag_run_id"] not in known[dag_id]]
            return sorted(runs, key=lambda run: run["start_date"] or "~")

        def ended() -> bool:
            found = [new(dag_id) for dag_id in chain]
            return all(
                len(runs) >= each and all(run["state"] in ("success", "failed") for run in runs) for runs in found
            ) or any(run["state"] == "failed" for runs in found for run in runs)

        self.settled = False
        assert wait(ended, timeout=timeout, every=0.5), {dag_id: len(new(dag_id)) for dag_id in chain}
        self.settle()
        return {
            dag_id: [(run["partition_key"] or (run["conf"] or {}).get("date"), run["state"]) for run in new(dag_id)]
            for dag_id in chain
        }


def wait(holds: Callable[[], bool], *, timeout: float, every: float = 0.2) -> bool:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(every)
    return False


def kill_holder(file: Path, *, when: Callable[[], bool], timeout: float = 60) -> bool:
    """Kill -9 the process that has the file open as soon as ``when`` holds; False if there was none any more.

    What is killed may be over within milliseconds: a caller that was too late does the same once more.
    """
    return wait(when, timeout=timeout, every=0.002) and _kill_newest_holder(file)


def _kill_newest_holder(file: Path) -> bool:
    # The newest processes first: a task's own is among them, and looking through all takes longer than some tasks do.
    for pid in sorted((int(each.name) for each in Path("/proc").glob("[0-9]*")), reverse=True):
        try:
            if any(os.readlink(each) == str(file) for each in Path(f"/proc/{pid}/fd").iterdir()):  # noqa: PTH115
                os.kill(pid, signal.SIGKILL)
                return True
        except OSError:
            continue
    return False


# One Airflow for all: a second one would take the cores from the tests that measure out their patience.
@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Station, Telecom]]:
    state = tmp_path_factory.mktemp("estate")
    commercial_log = CommercialLog(state / "commercial_log", history=2_000)
    cvas = Cvas(state / "cvas", scale=0.05, history_days=20)
    with running_estate(state, [commercial_log, cvas], say=lambda _: None) as (airflow, sink):
        airflow.wait_for_dags(
            [dag_id for world in (commercial_log, cvas) for chain in world.chains for dag_id in chain]
        )
        assert airflow.api.import_errors() == {}
        for dag_id in sorted(airflow.api.dag_ids()):
            airflow.api.unpause(dag_id)
        yield Station(airflow, commercial_log, sink), Telecom(airflow, cvas, sink)
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def estate(everything: tuple[Station, Telecom]) -> Station:
    return everything[0]


@pytest.fixture(scope="session")
def telecom(everything: tuple[Station, Telecom]) -> Telecom:
    return everything[1]
