"""The systems in one running Airflow, started once for all tests of them."""

import json
import os
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import psycopg
import pytest

from include.commercial_log import config as commercial_log_config
from include.cvas import config as cvas_config
from sandbox.airflow import ENDED, PATIENCE, REPOSITORY, Airflow
from sandbox.commercial_log.estate import CommercialLog
from sandbox.cvas.estate import Cvas
from sandbox.demo import running_estate
from sandbox.servers.base import wait
from sandbox.servers.sinks import Message, NotificationSink
from sandbox.world import World

# Longer than all tests that follow take on a busy machine: they ask again and again which day it is.
ALL_TESTS = timedelta(minutes=30)

# One statement sees one moment: an event and the state of the task that sent it are one transaction, and so are the
# run for the event and the mark that it has one.
AT_REST = """
SELECT NOT EXISTS (SELECT FROM dag_run WHERE state IN ('queued', 'running'))
    AND NOT EXISTS (SELECT FROM asset_partition_dag_run WHERE created_dag_run_id IS NULL)
    AND NOT EXISTS (SELECT FROM asset_dag_run_queue)
"""

# What differs between two runs that did the same: ids of rows and batches, times, the day's own name.
BOOKINGS = (
    "SELECT s.bill_code, s.air_date, s.end_date, s.time_in, s.time_out, s.length_seconds, s.language_code, s.spot_type,"
    " s.gross_rate, s.station_net, s.broadcast_month, s.revenue_type, s.market_id, s.customer_id, s.agency_id,"
    " s.language_id, s.spot_category, s.row_hash, a.language_code, a.assignment_method, a.requires_review"
    " FROM spots AS s LEFT JOIN spot_language_assignments AS a USING (spot_id) ORDER BY s.row_hash, s.spot_id"
)


@dataclass
class Estate:
    """A running Airflow with its database and one system's outside world."""

    airflow: Airflow
    metadata: psycopg.Connection
    world: World
    sink: NotificationSink

    def trigger(self, dag_id: str, **conf: object) -> str:
        """Start a run through the API, as the UI does; its id. What earlier tests set in motion ends first."""
        self.settle()
        return str(self.airflow.api.trigger(dag_id, conf)["dag_run_id"])

    def trigger_by_command(self, dag_id: str, **conf: object) -> str:
        """Start a run as an operator does in the terminal; its id."""
        known = self.known(dag_id)
        done = self.airflow.cli("dags", "trigger", dag_id, *(["-c", json.dumps(conf)] if conf else []))
        assert done.returncode == 0, done.stderr
        return self.next_run(dag_id, known)

    def settle(self) -> None:
        """Wait until nothing runs, nor waits to: a reader would make the next writer wait for its lock."""
        assert wait(lambda: self._metadata(AT_REST)[0][0], timeout=PATIENCE)

    def next_run(self, dag_id: str, known: set[str]) -> str:
        return str(self.airflow.api.wait_for_run(dag_id, lambda run: run["dag_run_id"] not in known)["dag_run_id"])

    def known(self, dag_id: str) -> set[str]:
        """The runs there are once everything set in motion has ended."""
        self.settle()
        return {run["dag_run_id"] for run in self.airflow.api.runs(dag_id)}

    def finish(self, dag_id: str, run_id: str) -> str:
        return self.airflow.api.wait_run(dag_id, run_id)

    def run(self, dag_id: str, **conf: object) -> str:
        """Trigger, wait; the run's state."""
        return self.finish(dag_id, self.trigger(dag_id, **conf))

    def messages(self, dag_id: str, run_id: str) -> list[Message]:
        """The notifications with a link to a run that has failed; waits for the first, then for one too many."""
        link = f"/dags/{dag_id}/runs/{quote(run_id)}"

        def arrived() -> list[Message]:
            return [message for message in self.sink.messages if link in message.body]

        wait(arrived, timeout=PATIENCE)
        assert wait(lambda: not self._metadata("SELECT 1 FROM callback"), timeout=PATIENCE)
        time.sleep(1.5)  # what was in that queue a moment ago is being called
        return arrived()

    @contextmanager
    def no_retry(self, dag_id: str, run_id: str) -> Iterator[None]:
        """From when the run's first task has started, nothing else in that task's pool does until the block ends."""
        begun = (
            "SELECT pool, slots FROM slot_pool JOIN task_instance USING (pool)"
            " WHERE dag_id = %s AND run_id = %s AND state <> 'scheduled'"
        )
        [(pool, slots), *_] = wait(lambda: self._metadata(begun, dag_id, run_id), timeout=PATIENCE, every=0.02)
        self.metadata.execute("UPDATE slot_pool SET slots = 0 WHERE pool = %s", (pool,))
        try:
            yield
        finally:
            self.metadata.execute("UPDATE slot_pool SET slots = %s WHERE pool = %s", (slots, pool))

    def kill(self, dag_id: str, run_id: str, lock: Path, *, when: Callable[[], bool]) -> bool:
        """Kill -9 the process of the run that holds ``lock`` as soon as ``when`` holds; False if none does any more.

        What is to be killed may be over within milliseconds: a caller that was too late does the same once more.
        """
        state = "SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s"
        wait(lambda: when() or self._metadata(state, dag_id, run_id)[0][0] in ENDED, timeout=PATIENCE, every=0.002)
        holder = re.search(r"\(process (\d+)\)", lock.read_text())
        if holder is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(int(holder[1]), signal.SIGKILL)
        return wait(lambda: not Path("/proc", holder[1]).exists(), timeout=PATIENCE, every=0.01)

    def _metadata(self, sql: str, *binds: object) -> list[tuple]:
        return self.metadata.execute(sql, binds).fetchall()


class Station(Estate):
    """The estate of commercial_log, seen through its database."""

    world: CommercialLog

    def query(self, sql: str, *binds: object) -> list[tuple]:
        with closing(sqlite3.connect(self.world.database, timeout=PATIENCE)) as db:
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
        return {dag_id: self.known(dag_id) for dag_id in self.world.chains[0]}

    def finish_chain(
        self, known: dict[str, set[str]], first: str = "cvas_fetch", *, each: int = 1
    ) -> dict[str, list[tuple[str, str]]]:
        """Wait for ``each`` new runs of every DAG from ``first`` on; day and state of all that came, by DAG, sorted.

        A DAG may run more often than asked for, which shows.
        """
        chain = self.world.chains[0][self.world.chains[0].index(first) :]

        def new(dag_id: str) -> list[dict]:
            return [run for run in self.airflow.api.runs(dag_id) if run["dag_run_id"] not in known[dag_id]]

        def ended() -> bool:
            found = [new(dag_id) for dag_id in chain]
            return all(len(runs) >= each for runs in found) or any(
                run["state"] == "failed" for runs in found for run in runs
            )

        came = self.airflow.api.wait(ended, PATIENCE * each)
        assert came, {dag_id: len(new(dag_id)) for dag_id in chain}
        self.settle()

        def day_of(run: dict) -> str:
            return run["partition_key"] or run["conf"]["date"]

        return {dag_id: sorted((day_of(run), run["state"]) for run in new(dag_id)) for dag_id in chain}


def half_a_day_away() -> dict[str, str]:
    """Schedules that let no DAG start by itself while the tests run: later today, and twelve hours ahead at most.

    A DAG without a run starts at once if its last time is less than a tenth of its period ago, and one whose newest
    run, that of a backfill say, is of yesterday does so if its time of today is over.
    """
    schedules = {}
    for file in (REPOSITORY / "dags").rglob("*.py"):
        code = file.read_text()
        defaults = re.findall(r'policies\.cron\("(\w+)", "([^"]+)"\)', code)
        assert len(defaults) == code.count("policies.cron("), file
        for dag_id, default in defaults:
            [zone] = re.findall(r'timezone="([^"]+)"', code)
            now = datetime.now(ZoneInfo(zone))
            at = min(now + timedelta(hours=12), now.replace(hour=23, minute=59))
            daily = f"{at.minute} {at.hour} * * *"
            schedules[f"AIRFLOW_SCHEDULE_{dag_id.upper()}"] = "; ".join(daily for _ in default.split(";"))
    return schedules


def until_after_midnight(zone: ZoneInfo) -> float:
    """The seconds until midnight of ``zone`` is over if it is too near, else 0."""
    now = datetime.now(zone)
    left = now.replace(hour=23, minute=59, second=59) - now + timedelta(seconds=2)
    return left.total_seconds() if left < ALL_TESTS else 0.0


# One Airflow for all: a second one would take the cores from the tests that measure out their patience.
@pytest.fixture(scope="session")
def everything(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[tuple[Station, Telecom]]:
    for zone in (commercial_log_config.ZONE, cvas_config.ZONE):
        if seconds := until_after_midnight(zone):
            with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                print(f"\nwaiting {seconds:.0f} s: the tests are about one day, and midnight of {zone} is near")
            time.sleep(seconds)
    state = tmp_path_factory.mktemp("estate")
    commercial_log = CommercialLog(state / "commercial_log", history=2_000)
    cvas = Cvas(state / "cvas", scale=0.05, history_days=20)
    with (
        running_estate(state, [commercial_log, cvas], env=half_a_day_away(), say=lambda _: None) as (airflow, sink),
        psycopg.connect(airflow.database_url.replace("+psycopg2", ""), autocommit=True) as metadata,
    ):
        airflow.wait_for_dags(
            [dag_id for world in (commercial_log, cvas) for chain in world.chains for dag_id in chain]
        )
        assert airflow.api.import_errors() == {}
        for dag_id in sorted(airflow.api.dag_ids()):
            airflow.api.unpause(dag_id)
        yield Station(airflow, metadata, commercial_log, sink), Telecom(airflow, metadata, cvas, sink)
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def estate(everything: tuple[Station, Telecom]) -> Station:
    return everything[0]


@pytest.fixture(scope="session")
def telecom(everything: tuple[Station, Telecom]) -> Telecom:
    return everything[1]
