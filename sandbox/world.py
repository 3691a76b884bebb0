"""What the demo, the tests and the benchmarks ask of a system's outside world."""

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

    def report(self) -> list[str]:
        """What came out, for the terminal. Raises AssertionError if it is not what the generator says must come out."""


def worlds(state: Path, *, scale: float = 1.0) -> list[World]:
    """Every system's world, with its state below ``state``."""
    return [CommercialLog(state / "commercial_log", scale=scale), Cvas(state / "cvas", scale=scale)]
