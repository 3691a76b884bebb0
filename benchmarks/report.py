"""Tables of what was measured and the verdict on the goals, as Markdown that reads well in a terminal."""

import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Figure, Sample

Place = tuple[str, str]
HEAD = ("peak MB", "base MB", "imports s", "outcome")
FIGURE = set("0123456789.,%")


@dataclass(frozen=True)
class Goal:
    """A bound on one figure (``of`` = job and way), or on its ratio to another one (``per``)."""

    text: str
    of: Place
    per: Place | None = None
    by: str = "cpu"
    at_most: float | None = None
    at_least: float | None = None

    def judge(self, figures: Mapping[Place, Sample]) -> tuple[float, bool] | None:
        """The figure and whether it keeps the bound; None if it was not measured."""
        if self.of not in figures or (self.per and self.per not in figures):
            return None
        value = getattr(figures[self.of], self.by)
        if self.per:
            value /= getattr(figures[self.per], self.by)
        passed = (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)
        return value, passed


class Report:
    """Prints as it goes and keeps what it printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.figures: dict[Place, Sample] = {}

    def say(self, text: str = "") -> None:
        print(text, flush=True)
        self.lines.append(text)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column is text, what looks like a figure is set to the right."""
        columns = list(zip(head, *rows, strict=True))
        widths = [max(3, *map(len, column)) for column in columns]
        right = [all(set(cell) <= FIGURE for cell in column[1:]) for column in columns]
        rule = ["-" * (width - 1) + (":" if flush else "-") for width, flush in zip(widths, right, strict=True)]
        for row in (head, rule, *rows):
            cells = (
                cell.rjust(width) if flush else cell.ljust(width)
                for cell, width, flush in zip(row, widths, right, strict=True)
            )
            self.say(f"| {' | '.join(cells)} |")
        self.say()

    def machine(self, *packages: str) -> None:
        versions = ", ".join(f"{package} {version(package)}" for package in packages)
        self.say(
            f"{os.cpu_count()} cores, {_memory_gb():.0f} GB, Python {platform.python_version()}, "
            f"SQLite {sqlite3.sqlite_version}, {versions}; load average {_load()} at the start."
        )
        self.say()

    def job(self, name: str, title: str, measured: Mapping[str, Figure], **ratios: str) -> None:
        """One job: every way with its CPU time in relation to that of the ways that ``ratios`` name."""
        self.figures |= {(name, way): figure.sample for way, figure in measured.items()}
        self.say(f"### {title}")
        self.say()
        references = [measured[way].sample.cpu for way in ratios.values()]
        self.table(
            ("way", "n", "wall s", "CPU s", *(f"/ {each}" for each in ratios), *HEAD),
            [
                (
                    f"**{way}**" if way == ratios["ours"] else way,
                    str(figure.repetitions),
                    f"{figure.sample.wall:.3f}",
                    f"{figure.sample.cpu:.3f}",
                    *(f"{figure.sample.cpu / reference:.2f}" for reference in references),
                    f"{figure.sample.peak_mb:.0f}",
                    f"{figure.sample.base_mb:.0f}",
                    f"{figure.sample.imports:.2f}",
                    figure.outcome,
                )
                for way, figure in measured.items()
            ],
        )

    def verdict(self, goals: Sequence[Goal]) -> bool:
        """Print how each goal did; whether none was missed."""
        self.say("### Goals")
        self.say()
        rows, kept = [], True
        for goal in goals:
            bound = f"at most {goal.at_most:g}" if goal.at_most is not None else f"at least {goal.at_least:g}"
            figure = f"{goal.by} ratio" if goal.per else goal.by
            judged = goal.judge(self.figures)
            if judged is None:
                rows.append((goal.text, figure, bound, "", "not measured"))
                continue
            value, passed = judged
            kept &= passed
            rows.append((goal.text, figure, bound, f"{value:.2f}", "PASS" if passed else "MISS"))
        self.table(("goal", "figure", "bound", "measured", "verdict"), rows)
        return kept

    def write(self, path: Path) -> None:
        self.say(f"Load average {_load()} at the end.")
        path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")


def _load() -> str:
    return " ".join(f"{each:.1f}" for each in os.getloadavg())


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
