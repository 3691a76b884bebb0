"""From an operator's ``airflow dags trigger commercial_log_import`` to the update's success, and where the time goes.

A whole Airflow with a station of 1.1 million closed spots on a throw-away state directory. Every run finds another
day's workbook on the share: the first fills all open months, the others change 4 % of the rows. The moments are those
Airflow keeps of its runs and tasks, the log lines of the steps, and the seconds the steps report.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]

from benchmarks.measure import Sample, peak_mb
from benchmarks.report import Goal, Report
from sandbox.airflow import Airflow
from sandbox.commercial_log.estate import CommercialLog
from sandbox.demo import running_estate

IMPORT, UPDATE = ("commercial_log_import", "copy_workbook"), ("commercial_log_update", "load_bookings")
CLOSED_SPOTS = 1_100_000
RUNS = 5
WORKER = b"airflow worker -- "
GOALS = (
    Goal("trigger to the update's success, s", ("latency", "total"), by="wall", at_most=12),
    Goal("memory of the largest task in Airflow, MB", ("latency", "largest task"), by="peak_mb", at_most=400),
)


class Part(NamedTuple):
    """A part of the way: whose time it is, what happens."""

    whose: str
    what: str


def _dags(world: CommercialLog) -> list[str]:
    return [dag_id for chain in world.chains for dag_id in chain]


def run(report: Report, _cache: Path, *, quick: bool) -> None:
    """Trigger the import a few times; ``quick`` twice and with a tenth of the closed spots."""
    history, runs = (CLOSED_SPOTS // 10, 2) if quick else (CLOSED_SPOTS, RUNS)
    with (
        tempfile.TemporaryDirectory(prefix="latency-") as folder,
        running_estate(
            Path(folder), [world := CommercialLog(Path(folder) / "commercial_log", history=history)], say=lambda _: None
        ) as (airflow, _),
    ):
        airflow.wait_for_dags(_dags(world))
        for dag_id in (IMPORT[0], UPDATE[0]):
            airflow.api.unpause(dag_id)
        taken, cpu, loads = [], [], []
        for number in range(runs):
            world.move_to(world.day + timedelta(days=number))
            loads.append(os.getloadavg()[0])
            used = _cpu_of_descendants()
            taken.append(_trigger(airflow, world))
            cpu.append(_cpu_of_descendants() - used)
        memory = _memory_of_tasks(airflow, world)
    totals = [sum(parts.values()) for parts in taken]
    report.figures["latency", "total"] = Sample(median(totals), median(cpu), 0, 0, 0)
    report.figures["latency", "largest task"] = Sample(0, 0, max(memory.values()), 0, 0)
    _print(report, taken, totals, {"CPU s of all processes": cpu, "load average before": loads})
    report.table(("task process in Airflow", "peak MB"), [(task, f"{peak:.0f}") for task, peak in memory.items()])


def _trigger(airflow: Airflow, world: CommercialLog) -> dict[Part, float]:
    """Trigger the import as an operator does and wait for the update; the seconds of each part, in order."""
    known = _known_runs(airflow, IMPORT[0], UPDATE[0])
    began = datetime.now(UTC)
    done = airflow.cli("dags", "trigger", IMPORT[0], "-c", json.dumps({"date": world.day.isoformat()}))
    if done.returncode:
        raise RuntimeError(f"airflow dags trigger failed:\n{done.stderr[-2000:]}")
    moments: list[tuple[Part | None, datetime]] = [(None, began)]
    for (dag_id, task_id), asked in (
        (IMPORT, Part("command line", "Python, imports, the import's run is created")),
        (UPDATE, Part("scheduler", "the import's event starts the update's run")),
    ):
        run = _ended_run(airflow, dag_id, known)
        tasks = {task["task_id"]: task for task in airflow.api.task_instances(dag_id, run["dag_run_id"])}
        moments += [(asked, _moment(run["queued_at"])), *_task_moments(airflow, run, tasks.pop(task_id))]
        for other in tasks.values():  # of the update: a task that skips itself
            moments += [
                (Part("scheduler", f"queue {other['task_id']}"), _moment(other["queued_when"])),
                (Part("task process", f"{other['task_id']}: start"), _moment(other["start_date"])),
                (Part("task process", f"{other['task_id']}: skips itself"), _moment(other["end_date"])),
            ]
    moments.append((Part("scheduler", "the update's run is a success"), _moment(run["end_date"])))
    return {part: (at - before).total_seconds() for (_, before), (part, at) in pairwise(moments) if part}


def _task_moments(airflow: Airflow, run: dict[str, Any], task: dict[str, Any]) -> Iterator[tuple[Part, datetime]]:
    name = task["task_id"]
    logged = _logged(airflow, run, name)
    yield Part("scheduler", f"queue {name}"), _moment(task["queued_when"])
    yield Part("task process", f"{name}: start"), _moment(task["start_date"])
    yield Part("task process", f"{name}: DAG file, imports, connections"), logged["START"]
    phase_end = logged["START"]
    for phase, seconds in _phases(airflow, run, name).items():
        phase_end += timedelta(seconds=seconds)
        yield Part("work", f"{name}: {phase}"), phase_end
    yield Part("work", f"{name}: choice, hashes, audit, commit, rename"), logged["SUCCESS"]
    yield Part("task process", f"{name}: warnings, result, asset event, end"), _moment(task["end_date"])


def _known_runs(airflow: Airflow, *dag_ids: str) -> set[str]:
    return {run["dag_run_id"] for dag_id in dag_ids for run in airflow.api.runs(dag_id)}


def _ended_run(airflow: Airflow, dag_id: str, known: set[str], *, timeout: float = 300.0) -> dict[str, Any]:
    """The first run that is not ``known``, when it has ended."""
    run = airflow.api.wait_for_run(dag_id, lambda run: run["dag_run_id"] not in known, timeout=timeout)
    if airflow.api.wait_run(dag_id, run["dag_run_id"], timeout) != "success":
        tasks = airflow.api.task_instances(dag_id, run["dag_run_id"])
        failed = next(task for task in tasks if task["state"] == "failed")
        log = airflow.api.task_log(dag_id, run["dag_run_id"], failed["task_id"], failed["try_number"])
        raise RuntimeError(f"{dag_id} failed:\n{log[-3000:]}")
    return next(each for each in airflow.api.runs(dag_id) if each["dag_run_id"] == run["dag_run_id"])


def _logged(airflow: Airflow, run: dict[str, Any], task_id: str) -> dict[str, datetime]:
    """When the step's first and last line were logged."""
    path = f"dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'], safe='')}/taskInstances/{task_id}/logs/1"
    messages = airflow.api.request("GET", path, params={"full_content": True})["content"]
    firsts = ((str(message["event"]).partition(" | ")[0], message.get("timestamp")) for message in messages)
    return {word: _moment(at) for word, at in firsts if at and word in ("START", "SUCCESS")}


def _phases(airflow: Airflow, run: dict[str, Any], task_id: str) -> dict[str, float]:
    event = next(each for each in airflow.api.asset_events() if each["source_run_id"] == run["dag_run_id"])
    facts = event["extra"]["facts"]
    seconds: dict[str, float] = facts.get("seconds", facts)
    return {name: value for name, value in seconds.items() if isinstance(value, float)}


def _memory_of_tasks(airflow: Airflow, world: CommercialLog) -> dict[str, float]:
    """The peak memory in MB of each task of the daily and weekly DAGs, in runs of their own: looking costs time."""
    tasks: dict[str, str] = {}
    with _watching_workers() as peaks:
        for dag_id in _dags(world):
            airflow.api.unpause(dag_id)
        known = _known_runs(airflow, *_dags(world))
        for dag_id in _dags(world):
            if dag_id != UPDATE[0]:  # which the import starts
                airflow.api.trigger(dag_id, {"date": world.day.isoformat()})
            run = _ended_run(airflow, dag_id, known)
            for task in airflow.api.task_instances(dag_id, run["dag_run_id"]):
                tasks[task["id"]] = f"{dag_id}: {task['task_id']}"
    return {name: peaks[task] for task, name in tasks.items() if task in peaks}


@contextmanager
def _watching_workers() -> Iterator[dict[str, float]]:
    """The peak memory in MB of every worker process seen in the block, by its title: a task's is its instance's id."""
    peaks: dict[str, float] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError, ValueError, IndexError):  # ended while we looked
                    command = (process / "cmdline").read_bytes()
                    if command.startswith(WORKER):
                        title = command[len(WORKER) :].rstrip(b"\0 ").decode()
                        peaks[title] = max(peaks.get(title, 0.0), peak_mb(process.name))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
        time.sleep(0.1)
    finally:
        over.set()
        watcher.join()


def _cpu_of_descendants() -> float:
    """CPU seconds of everything below this process, also of what has ended."""
    return sum(sum(process.cpu_times()[:4]) for process in psutil.Process().children(recursive=True))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _print(report: Report, taken: list[dict[Part, float]], totals: list[float], beside: dict[str, list[float]]) -> None:
    def line(first: str, second: str, seconds: list[float]) -> tuple[str, ...]:
        return first, second, f"{median(seconds):.2f}", *(f"{each:.2f}" for each in seconds)

    head = ("median s", *(f"run {number}" for number in range(1, len(taken) + 1)))
    report.table(
        ("whose time", "part", *head),
        [
            *(line(part.whose, part.what, [parts[part] for parts in taken]) for part in taken[0]),
            line("", "**trigger to success**", totals),
            *(line("", name, figures) for name, figures in beside.items()),
        ],
    )
    whose = dict.fromkeys(part.whose for part in taken[0])
    sums = {each: [sum(s for part, s in parts.items() if part.whose == each) for parts in taken] for each in whose}
    report.table(
        ("whose time", "share", *head),
        [line(each, f"{median(seconds) / median(totals):.0%}", seconds) for each, seconds in sums.items()],
    )
