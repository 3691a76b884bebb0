"""What the tests of snapshots and user base share: a reporting host, a lake, and snapshots made of a few rows."""

from __future__ import annotations

import csv
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from include.common.shares import LocalShare
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.snapshots import COLUMNS, download_snapshot, snapshot_delay, snapshot_path
from include.cvas.user_base import KEYS, aggregate_user_base
from include.errors import PipelineError

DAY = date(2025, 11, 10)
TODAY = DAY + timedelta(days=1)
# 8:05 in Madrid, and when the host wrote its file.
NOW = datetime(2025, 11, 11, 7, 5, tzinfo=UTC)
WRITTEN = datetime(2025, 11, 11, 4, 10, tzinfo=UTC)
HEADER = ",".join(COLUMNS)
UNTOUCHED = ("logs", "_locks")


@dataclass
class Reporting:
    """The reporting host, as a folder, and the lake beside it."""

    root: Path

    @property
    def lake(self) -> Lake:
        return Lake(self.root / "lake")

    @property
    def share(self) -> LocalShare:
        return LocalShare("cvas_reporting_sftp", self.root / "host")

    def write(self, content: bytes, *, written: datetime = WRITTEN) -> None:
        """The host writes its file."""
        path = self.share.root / "NBS_Base.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (written.timestamp(), written.timestamp()))

    def keep(self, day: date, content: bytes) -> Path:
        """The snapshot of a day is there already."""
        path = snapshot_path(self.lake, day)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def download(self, day: date = DAY, *, now: datetime = NOW, **how: Any) -> dict[str, Any]:
        settings = how.pop("settings", Settings())
        today = now.astimezone(ZONE).date()
        share = nullcontext(self.share)
        return download_snapshot(share, self.lake, day=day, now=now, today=today, settings=settings, **how).as_dict()

    def delay(self, day: date = DAY, *, now: datetime = NOW) -> str | None:
        return snapshot_delay(nullcontext(self.share), self.lake, day=day, now=now, settings=Settings())

    def aggregate(self, day: date = DAY, *, settings: Settings | None = None) -> dict[str, Any]:
        return aggregate_user_base(self.lake, day=day, now=NOW, settings=settings or Settings()).as_dict()

    def outputs(self) -> dict[str, str]:
        """The three files below their headers; those that are there."""
        paths = {name.removeprefix("user_base_by_").removesuffix(".csv"): self.lake.user_base / name for name in KEYS}
        return {name: path.read_text().partition("\n")[2] for name, path in paths.items() if path.exists()}

    def files(self) -> dict[str, tuple[bytes, int, int]]:
        """Bytes, inode and modification time of every file of the lake, journals and locks apart."""
        root = self.lake.root
        return {
            str(path.relative_to(root)): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.relative_to(root).parts[0] not in UNTOUCHED
        }

    def contents(self) -> dict[str, bytes]:
        return {name: content for name, (content, *_) in self.files().items()}


def snapshot(*rows: Sequence[object], end: str = "\n") -> bytes:
    """A snapshot of rows of cpc, service, category and count."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(COLUMNS)
    writer.writerows(
        (cpc, "ExampleMedia", name, "2.99", category, "ACTIVE", users) for cpc, name, category, users in rows
    )
    return text.getvalue().encode()


def usual(total: int = 1000) -> bytes:
    """A snapshot with this many users."""
    return snapshot((45335, "Noticias Diarias", "News", total - 400), (46109, "Escudo Movil", "Free Time", 400))


# --- trouble ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Killed:
    """Kills the process before its ``at``-th change of a name below a folder."""

    folder: str
    at: int
    seen: list[str] = field(default_factory=list)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.remove") and self.folder in str(arguments[0]):
            self.seen.append(event)
            if len(self.seen) == self.at:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class DiskFull:
    """Refuses to open a file of this name."""

    name: str

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and Path(str(arguments[0])).name == self.name:
            raise OSError(errno.ENOSPC, "No space left on device")


def in_new_process(work: Callable[[], object], hook: Killed | DiskFull) -> BaseException | int | None:
    """What ``work`` raised, the number of the signal that killed it, or None; see :func:`forked.run_in_child`.

    For work with polars, whose threads do not survive in the fork of a process that has used it.
    """
    context = get_context("forkserver")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, hook, sending))
    process.start()
    sending.close()
    with receiving:
        try:
            outcome = receiving.recv()
        except EOFError:
            outcome = None
    process.join()
    assert process.exitcode is not None
    return -process.exitcode if process.exitcode < 0 else outcome


def _work(work: Callable[[], object], hook: Killed | DiskFull, sending: Connection) -> None:
    sys.addaudithook(hook)
    try:
        work()
    except PipelineError as error:
        sending.send(error)
    else:
        sending.send(None)
