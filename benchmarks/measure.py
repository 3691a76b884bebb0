"""Times ways to do one job: every repetition in a fresh process, the ways taking turns.

What another program on the machine does to one way it then does to all of them. CPU time is the figure to compare by:
other load hardly changes it, while it easily doubles the wall clock.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Way:
    """One way to do a job: a function of a module, which a fresh process imports, and its arguments.

    ``imports`` are the libraries it uses; they are loaded before the clock starts. ``before`` makes the same starting
    point for every repetition, ``outcome`` says afterwards in a few words what came out; both run in this process.
    """

    name: str
    run: Callable[..., object]
    arguments: tuple[Any, ...] = ()
    imports: tuple[str, ...] = ()
    before: Callable[[], object] = lambda: None
    outcome: Callable[[], str] = lambda: ""
    slow: bool = False


class Sample(NamedTuple):
    """One measurement: seconds on the wall clock and of CPU; the process's peak memory at the end and, with
    interpreter and libraries loaded, before the job, in MB; seconds to import the libraries."""

    wall: float
    cpu: float
    peak_mb: float
    base_mb: float
    imports: float


@dataclass(frozen=True)
class Figure:
    """The medians of a way's repetitions."""

    sample: Sample
    repetitions: int
    outcome: str


def measure(ways: Sequence[Way], *, repetitions: int, slow_repetitions: int) -> dict[str, Figure]:
    """The figures of each way by its name; a way that is ``slow`` takes part in the first rounds only."""
    samples: dict[str, list[Sample]] = {way.name: [] for way in ways}
    outcomes: dict[str, str] = {}
    for turn in range(repetitions):
        for way in ways:
            if way.slow and turn >= slow_repetitions:
                continue
            way.before()
            with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as fresh:
                samples[way.name].append(fresh.submit(_timed, way.run, way.arguments, way.imports).result())
            outcomes[way.name] = way.outcome()
    return {
        name: Figure(Sample(*map(median, zip(*taken, strict=True))), len(taken), outcomes[name])
        for name, taken in samples.items()
    }


def _timed(run: Callable[..., object], arguments: tuple[Any, ...], imports: tuple[str, ...]) -> Sample:
    logging.basicConfig(handlers=[logging.NullHandler()])  # warnings would go to the terminal
    began = time.perf_counter()
    for name in imports:
        import_module(name)
    imported = time.perf_counter() - began
    base = peak_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    run(*arguments)
    return Sample(time.perf_counter() - wall, time.process_time() - cpu, peak_mb(), base, imported)


def peak_mb(pid: int | str = "self") -> float:
    """The most memory a running process ever had, in MB. Linux.

    Not ``ru_maxrss``: in a child that starts with the peak of its parent.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024 / 1e6
