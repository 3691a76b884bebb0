"""What the demo, the tests and the benchmarks ask of a system's outside world."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from sandbox.commercial_log.estate import CommercialLog
from sandbox.cvas.estate import Cvas


class World(Protocol):
    """The servers and files one system works with, on one business day; its state outlives the process."""

    @property
    def chains(self) -> tuple[tuple[str, ...], ...]:
        """The DAGs of the demo, in order: the first of each chain is triggered and starts the others."""

    @property
    def day(self) -> date:
        """The business day the world plays, which is what a run without a date is about."""

    def running(self) -> AbstractContextManager[object]:
        """Start the servers and bring the world to :attr:`day`."""

    def move_to(self, day: date) -> None:
        """Let the world move on to a day."""

    def connections(self) -> dict[str, dict[str, Any]]:
        """Airflow connections to this world, by connection id."""

    @property
    def places(self) -> dict[str, str]:
        """What the operators' commands find in their environment."""

    def report(self) -> list[str]:
        """What came out, for the terminal. Raises AssertionError if it is not what the generator says must come out."""


SYSTEMS: dict[str, Callable[..., World]] = {"commercial_log": CommercialLog, "cvas": Cvas}


def worlds(state: Path, systems: Iterable[str] = SYSTEMS, *, scale: float = 1.0) -> list[World]:
    """The worlds of the systems, each with its state below ``state``."""
    return [SYSTEMS[system](state / system, scale=scale) for system in systems]
