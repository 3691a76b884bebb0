"""What may differ between installations and days: folders and settings. Nothing here has a path or account built in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from include.common.journal import RunLog, record_run
from include.errors import SourceMissing

ZONE = ZoneInfo("America/Los_Angeles")


@dataclass(frozen=True)
class DataRoot:
    """The system's folder and what lies where below it."""

    root: Path

    @property
    def daily(self) -> Path:
        return self.root / "raw" / "daily"

    @property
    def archive(self) -> Path:
        return self.root / "raw" / "archive"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def files_lock(self) -> Path:
        """Held to write or remove dated files; shared to read one."""
        return self.root / "locks" / "files"

    @property
    def database_lock(self) -> Path:
        """Held to write the booked-business database or to put another in its place."""
        return self.root / "locks" / "database"

    @property
    def backup_lock(self) -> Path:
        return self.root / "locks" / "backup"

    def require(self) -> None:
        """Raise SourceMissing if the folder is not there: steps make what they need below it, and below a mistyped one,
        or one that is not mounted, they would succeed where nobody looks.
        """
        if not self.root.is_dir():
            raise SourceMissing(
                f"commercial_log: there is no data folder {self.root}.",
                next_step="Mount it, or correct the path (connection commercial_log_files, or --data-root); only the "
                "command init makes it.",
            )

    @contextmanager
    def recording(self, job: str, day: date) -> Iterator[RunLog]:
        """:func:`record_run` in the journal of ``job``; every step begins with it.

        Raises SourceMissing if the folder is not there.
        """
        self.require()
        with record_run(self.logs, job, day) as run:
            yield run

    @contextmanager
    def preparing(self, job: str, day: date) -> Iterator[None]:
        """What is done before a step can be called, such as reading its settings: its failure is one of ``job``."""
        try:
            yield
        except Exception:
            with self.recording(job, day):
                raise


@dataclass(frozen=True)
class Settings:
    """The system's settings; every default is the value the domain names."""

    workbook: str = "Traffic/Media Library/Commercial Log.xlsx"
    sheets: tuple[str, ...] = ("Commercials",)
    max_file_age_days: int = 1
    max_rejects: int | None = None
    auto_setup: bool = True
    previous_month_policy: Literal["replace", "skip"] = "replace"
    grid_classification: bool = False
    keep_days: int = 7
    keep_months: int = 12
    keep_backups: int = 7
    notify_on_success: bool = False
