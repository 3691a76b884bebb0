"""What the status reports of all systems tell in the same words: how the runs went, how much space is taken."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from pathlib import Path
from typing import Any

from include.common.journal import JournalLine, read_journal
from include.common.results import StepResult
from include.common.tables import render_age, render_table

DURATIONS = 10
RUNS_READ = 100
RUNS_HEADER = ("Last result", "When", f"Last {DURATIONS} durations (s), newest first (! failed)")
MB = 1_000_000


@dataclass(frozen=True)
class Runs:
    """What the journals of a system say, ready for the ``facts`` of a report; moments are ISO texts.

    ``journals`` holds the last runs of every job, newest first, and ``jobs`` the last few of each scheduled one.
    ``failures`` is a sentence about each scheduled job whose last run failed. ``today`` is what ended on that day,
    oldest first, whatever its job.
    """

    journals: dict[str, list[JournalLine]]
    jobs: dict[str, list[dict[str, Any]]]
    failures: list[str]
    today: list[dict[str, Any]]


def read_runs(folder: Path, scheduled: Sequence[str], *, zone: tzinfo, now: datetime, today: date) -> Runs:
    """The runs whose journals lie in ``folder``; moments are told in ``zone``, where ``today`` is a day."""
    journals = {path.stem: read_journal(folder, path.stem, last=RUNS_READ) for path in sorted(folder.glob("*.log"))}
    jobs = {job: journals.get(job, []) for job in scheduled}

    def told(line: JournalLine) -> dict[str, Any]:
        return {**vars(line), "at": line.at.astimezone(zone).isoformat(timespec="seconds")}

    ended_today = (line for lines in journals.values() for line in lines if line.at.astimezone(zone).date() == today)
    return Runs(
        journals=journals,
        jobs={job: [told(line) for line in lines[:DURATIONS]] for job, lines in jobs.items()},
        failures=[
            f"{job} failed {render_age(now - lines[0].at)} ago: {lines[0].detail.removeprefix('ERROR ')}"
            for job, lines in jobs.items()
            if lines and lines[0].state == "FAILED"
        ],
        today=[told(line) for line in sorted(ended_today, key=lambda line: line.at)],
    )


def render_report(title: str, report: StepResult, sections: Iterable[str], *, with_days: bool = False) -> str:
    """A report as plain text: its title, what needs attention, its own sections, what ran today.

    ``facts["today"]`` are those of ``Runs``; ``with_days`` also tells which day each of them was about.
    """
    attention = "All is well."
    if report.warnings:
        attention = "\n".join(["Needs attention:", *(f"  ! {text}" for text in report.warnings)])
    rows = [
        (
            f"{datetime.fromisoformat(run['at']):%H:%M}",
            run["job"],
            *([run["day"]] if with_days else []),
            run["state"],
            f"{run['seconds']} s",
            run["detail"],
        )
        for run in report.facts["today"]
    ]
    today = f"Today:\n{render_table((), rows, indent='  ')}" if rows else "Today: no run has ended yet."
    return "\n\n".join([title, attention, *sections, today])


def render_runs(runs: Sequence[Mapping[str, Any]], now: datetime) -> tuple[str, str, str]:
    """The last few runs of one job, under RUNS_HEADER."""
    if not runs:
        return "never ran", "", ""
    durations = " ".join(f"{run['seconds']:.1f}{'!' if run['state'] == 'FAILED' else ''}" for run in runs)
    return runs[0]["state"], render_when(runs[0]["at"], now), durations


def render_when(moment: str, now: datetime) -> str:
    """An ISO text as a person reads it, and how long ago that was."""
    at = datetime.fromisoformat(moment)
    return f"{at:%Y-%m-%d %H:%M} ({render_age(now - at)} ago)"


def megabytes(files: Iterable[Path]) -> float:
    """The size of files in MB (10**6 bytes)."""
    return round(sum(map(_size, files)) / MB, 2)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # a run at work may have moved it since it was listed
