"""``make demo``: every system's main job on real input in a running Airflow, watched from the terminal."""

from __future__ import annotations

import json
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.airflow import ENDED, PATIENCE, REPOSITORY, Airflow
from sandbox.servers.postgres import PostgresServer
from sandbox.servers.sinks import NotificationSink
from sandbox.world import World, worlds

POOLS = REPOSITORY / "plugins" / "dagkit" / "pools.json"


@contextmanager
def running_estate(
    state: Path, systems: Sequence[World], *, port: int = 0, env: Mapping[str, str] = {}, say: Any = print
) -> Iterator[tuple[Airflow, NotificationSink]]:
    """The estate on this machine: PostgreSQL, the given systems' outside worlds, a notification sink and Airflow.

    ``env`` is what Airflow finds in its environment beside the connections.
    """
    state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        say("starting PostgreSQL and the outside world")
        postgres = stack.enter_context(PostgresServer(state / "postgres"))
        sink = stack.enter_context(NotificationSink())
        connections = {
            "notifications": {
                "conn_type": "apprise",
                "extra": {"config": [{"path": f"ntfy://127.0.0.1:{sink.port}/estate"}]},
            }
        }
        for world in systems:
            stack.enter_context(world.running())
            connections |= world.connections()
        airflow = Airflow(
            state / "airflow",
            dags=REPOSITORY / "dags",
            plugins=REPOSITORY / "plugins",
            env={**env, **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()}},
            database_url=postgres.create_database("airflow").replace("postgresql://", "postgresql+psycopg2://"),
            pools=POOLS,
            port=port,
            on_progress=say,
        )
        yield stack.enter_context(airflow), sink


def _folder(text: str) -> Path:
    return Path(text).resolve()


def main(arguments: list[str]) -> int:
    """Run the demo; 0 only if every run succeeded and the results are what the generator expects."""
    parser = ArgumentParser(prog="python -m sandbox demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="end by itself instead of keeping the UI up")
    parser.add_argument("--state", type=_folder, default=REPOSITORY / ".sandbox", help="where the demo keeps its state")
    parser.add_argument("--port", type=int, default=8080, help="of the UI; 0 is any free one")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the input; 1.0 is the real one")
    options = parser.parse_args(arguments)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    began = time.monotonic()
    screen = Screen()
    try:
        systems = worlds(options.state, scale=options.scale)
        with running_estate(options.state, systems, port=options.port, say=screen.say) as (airflow, _):
            airflow.wait_for_dags([dag_id for world in systems for chain in world.chains for dag_id in chain])
            succeeded = True
            for world in systems:
                succeeded &= _drive(airflow, world, screen)
            # Checks and deadlines are due at once, and before the first day there is nothing to find.
            for dag_id in sorted(airflow.api.dag_ids()):
                airflow.api.unpause(dag_id)
            print("\nWhat came out")
            for world in systems:
                print(f"\n{world.chains[0][0]} of {world.day}")
                try:
                    print("\n".join(world.report()))
                except AssertionError as error:
                    print(f"  NOT as expected: {error}")
                    succeeded = False
            print(f"\nAirflow UI  {airflow.url}  login {airflow.user} / {airflow.password}")
            print(f"{'All runs succeeded' if succeeded else 'SOME RUNS FAILED'} in {time.monotonic() - began:.0f} s")
            if options.exit:
                return 0 if succeeded else 1
            terminal = options.state / "environment.sh"
            airflow.write_environment(
                terminal, {name: path for world in systems for name, path in world.places.items()}
            )
            print(f"For `airflow ...` and `python -m include.scripts ...` in another terminal:  . {terminal}")
            print("Ctrl-C ends the demo and everything it started.", flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        print("\nstopped")
        return 130


def _drive(airflow: Airflow, world: World, screen: Screen) -> bool:
    """Run a system's chains for its business day; whether all runs succeeded."""
    day = world.day.isoformat()
    screen.say(f'business day {day}: airflow dags trigger {world.chains[0][0]} -c \'{{"date": "{day}"}}\'')
    succeeded = True
    for chain in world.chains:
        for dag_id in chain:
            airflow.api.unpause(dag_id)
        since = {dag_id: {run["dag_run_id"] for run in airflow.api.runs(dag_id)} for dag_id in chain}
        _trigger(airflow, chain[0], {"date": day} if chain == world.chains[0] else {})
        succeeded &= _watch(airflow, since, screen)
    return succeeded


def _trigger(airflow: Airflow, dag_id: str, conf: dict[str, str]) -> None:
    """The trigger an operator uses."""
    done = airflow.cli("dags", "trigger", dag_id, "-c", json.dumps(conf))
    if done.returncode:
        raise SystemExit(f"airflow dags trigger {dag_id} failed:\n{done.stderr[-2000:]}")


def _watch(airflow: Airflow, before: dict[str, set[str]], screen: Screen) -> bool:
    """Show one line per DAG until each has a new run that ended; whether all succeeded."""
    states: dict[str, str] = {}
    began = time.monotonic()
    for dag_id, known in before.items():
        while states.get(dag_id) not in ENDED:
            if time.monotonic() - began > PATIENCE:
                screen.line(dag_id, f"{dag_id:<32} gave up waiting after {PATIENCE:.0f} s", final=True)
                return False
            new = [run for run in airflow.api.runs(dag_id) if run["dag_run_id"] not in known]
            if new:
                run = new[-1]
                states[dag_id] = run["state"]
                screen.line(dag_id, _describe(airflow, run), final=run["state"] in ENDED)
            time.sleep(0.3)
        if states[dag_id] != "success":
            return False
    return True


def _describe(airflow: Airflow, run: dict[str, Any]) -> str:
    tasks = airflow.api.task_instances(run["dag_id"], run["dag_run_id"])
    shown = ", ".join(f"{task['task_id']} {task['state'] or 'waiting'}" for task in tasks)
    start = run["start_date"] and datetime.fromisoformat(run["start_date"])
    end = run["end_date"] and datetime.fromisoformat(run["end_date"])
    seconds = f"{(end - start).total_seconds():5.1f} s" if start and end else "       "
    return f"{run['dag_id']:<26} {run['state']:<8} {seconds}  {shown}{_counts(airflow, run, tasks)}"


def _counts(airflow: Airflow, run: dict[str, Any], tasks: list[dict[str, Any]]) -> str:
    if run["state"] != "success":
        return ""
    for task in tasks:
        path = f"dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances/{task['task_id']}/xcomEntries"
        if any(entry["key"] == "return_value" for entry in airflow.api.request("GET", path)["xcom_entries"]):
            which = {"deserialize": True, "map_index": task["map_index"]}
            value = airflow.api.request("GET", f"{path}/return_value", params=which)["value"]
            if isinstance(value, dict) and "written" in value:
                return f"  [{value['read']:,} read, {value['written']:,} written, {value['rejected']:,} rejected]"
    return ""


class Screen:
    """One line per subject: rewritten in place on a terminal, printed on change elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self._last: dict[str, str] = {}
        self._open = False

    def say(self, text: str) -> None:
        self._close()
        print(f"- {text}", flush=True)

    def line(self, subject: str, text: str, *, final: bool) -> None:
        if self._last.get(subject) == text:
            return
        self._last[subject] = text
        if self.live:
            print(f"\r\033[K  {text[:200]}", end="\n" if final else "", flush=True)
            self._open = not final
        else:
            print(f"  {text}", flush=True)

    def _close(self) -> None:
        if self._open:
            print()
            self._open = False
