"""The world as the pipeline finds it: the living workbook on the share, and folders of dated copies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sandbox.commercial_log.expected import Expected, expect
from sandbox.commercial_log.generator import World, generate
from sandbox.commercial_log.layout import COMMERCIALS
from sandbox.commercial_log.workbook import write_sheets, write_workbook

# On the share the folder is not spelled as in the instructions people have.
WORKBOOK = Path("Traffic") / "Media library" / "Commercial Log.xlsx"


@dataclass(frozen=True)
class Published:
    """One day on the share: the file, where the expectation was written, and both as objects."""

    workbook: Path
    expectation: Path
    world: World
    expected: Expected


def publish(
    root: Path, day: date, *, seed: int = 1, scale: float = 1.0, closed_months: Iterable[str] = ()
) -> Published:
    """Replace the workbook below the share root by the one of ``day``, in one step.

    What the update must make of it is written to ``<root> expected/Commercial Log.xlsx.expected.json``, beside the
    share and not on it. Re-run: safe, equal arguments write equal bytes.
    """
    world = generate(day, seed=seed, scale=scale)
    expected = expect(world, closed_months=closed_months)
    workbook = root / WORKBOOK
    expectation = root.with_name(f"{root.name} expected") / f"{workbook.name}.expected.json"
    write_workbook(world, workbook)
    expected.write(expectation)
    return Published(workbook, expectation, world, expected)


def dated_history(directory: Path, days: Iterable[date], *, seed: int = 1, scale: float = 0.002) -> list[Path]:
    """Write the dated local copy of each day, ``Commercial Log YYMMDD.xlsx`` with the one sheet ``Commercials``."""
    paths = []
    for day in days:
        path = directory / f"Commercial Log {day:%y%m%d}.xlsx"
        world = generate(day, seed=seed, scale=scale)
        write_sheets({COMMERCIALS: world.commercials}, path, modified=day)
        paths.append(path)
    return paths
