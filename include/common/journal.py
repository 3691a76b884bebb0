"""One line per run that an operator can grep, and the story of the run in the log that led to it.

Every run ends with ``SUCCESS | Duration: 28.3s | Batch: ...`` or ``FAILED | Duration: ... | ERROR ...``. The line goes
to the task log and is appended to ``<folder>/<job>.log``, which is what the status reports read. A journal file is
rotated at 10 MB, five old ones are kept.
"""

import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from logging.handlers import RotatingFileHandler
from pathlib import Path

from include.errors import PipelineError, TransientError

log = logging.getLogger(__name__)

JOURNAL_BYTES = 10 * 1024 * 1024
JOURNAL_FILES = 5
_PASSING = " | may pass"
_LINE = re.compile(
    r"^(?P<at>\S+) \| (?P<job>\S+) \| (?P<day>\S+) \| (?P<state>SUCCESS|FAILED)"
    r" \| Duration: (?P<s>[\d.]+)s(?: \| (?P<detail>.*))?$"
)


@dataclass(frozen=True)
class JournalLine:
    """One past run as its journal tells it; ``at`` is the end of the run, ``seconds`` its duration."""

    at: datetime
    job: str
    day: str
    state: str
    seconds: float
    detail: str

    @property
    def transient(self) -> bool:
        """Whether the run failed for something that trying again can help, and somebody may be doing so."""
        return self.state == "FAILED" and self.detail.endswith(_PASSING)


class RunLog:
    """What happens during one run; see :func:`record_run`. ``clean`` takes out of every text what nobody may read."""

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        self.clean = clean
        self.began = time.monotonic()
        self.batch: str | None = None
        self.facts: dict[str, object] = {}
        self.durations: dict[str, float] = {}
        self.warnings: list[str] = []
        self.last_lines: deque[str] = deque(maxlen=5)

    @property
    def elapsed(self) -> timedelta:
        """How long the run has been going."""
        return timedelta(seconds=time.monotonic() - self.began)

    def say(self, text: str) -> None:
        """Log one line; the last few travel with a failure into its notification."""
        text = self.clean(text)
        log.info(text)
        self.last_lines.append(text)

    def warn(self, text: str) -> None:
        """Log a warning that deserves a notification although the run goes on."""
        text = self.clean(text)
        log.warning(text)
        self.warnings.append(text)
        self.last_lines.append(f"WARNING {text}")

    @contextmanager
    def phase(self, name: str, *, percent: int) -> Iterator[None]:
        """Time one part of the run; ``percent`` is how far the run is when the part is done."""
        began = time.monotonic()
        yield
        self.durations[name] = round(time.monotonic() - began, 3)
        self.say(f"{percent:3d} % | {name} | {self.durations[name]:.2f}s")


@contextmanager
def record_run(folder: Path, job: str, day: date, *, clean: Callable[[str], str] = str) -> Iterator[RunLog]:
    """Time a run, log its last line and append it to ``<folder>/<job>.log``.

    An error keeps its type and gains the last log lines as a note; the line of one that trying again can help ends with
    ``may pass``.
    """
    run = RunLog(clean)
    log.info("START | %s | %s", job, day)
    try:
        yield run
    except BaseException as error:
        if run.last_lines:
            error.add_note("Last log lines:\n" + "\n".join(run.last_lines))
        reason = error.what if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
        may_pass = _PASSING if isinstance(error, TransientError) else ""
        _close(folder, job, day, "FAILED", run, [f"ERROR {reason}{may_pass}"])
        raise
    tail = [f"Batch: {run.batch}"] if run.batch else []
    tail += [f"{name}: {value}" for name, value in run.facts.items()]
    _close(folder, job, day, "SUCCESS", run, tail)


def _close(folder: Path, job: str, day: date, state: str, run: RunLog, tail: list[str]) -> None:
    text = " | ".join([state, f"Duration: {run.elapsed.total_seconds():.1f}s", *tail])
    text = run.clean(" ".join(text.splitlines()))
    (log.info if state == "SUCCESS" else log.error)(text)
    line = f"{datetime.now(UTC).isoformat(timespec='seconds')} | {job} | {day} | {text}"
    # A full disk or a read-only folder must not hide the error that is on its way out.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            folder / f"{job}.log", maxBytes=JOURNAL_BYTES, backupCount=JOURNAL_FILES, encoding="utf-8"
        )
        try:
            handler.emit(logging.LogRecord(job, logging.INFO, "", 0, "%s", (line,), None))
        finally:
            handler.close()
    except OSError as error:
        log.warning("The journal %s/%s.log could not be written: %s", folder, job, os.strerror(error.errno or 0))


def read_journal(folder: Path, job: str, *, last: int = 10) -> list[JournalLine]:
    """The newest ``last`` runs of a job, newest first; empty when it never ran."""
    lines: list[re.Match[str] | None] = []
    for name in (f"{job}.log", f"{job}.log.1"):
        with suppress(FileNotFoundError):
            text = (folder / name).read_text(encoding="utf-8")
            lines = [*(_LINE.match(line) for line in text.splitlines()[len(lines) - last :]), *lines]
        if len(lines) >= last:
            break
    return [
        JournalLine(
            at=datetime.fromisoformat(m["at"]),
            job=m["job"],
            day=m["day"],
            state=m["state"],
            seconds=float(m["s"]),
            detail=m["detail"] or "",
        )
        for m in reversed(lines)
        if m
    ]
