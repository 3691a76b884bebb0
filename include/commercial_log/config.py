"""What may differ between installations and days: folders and settings. Nothing here has a path or account built in."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from include.common.journal import record_run
from include.common.settings import from_mapping

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

    @contextmanager
    def preparing(self, job: str, day: date) -> Iterator[None]:
        """What is done before a step can be called, such as reading its settings: its failure is one of ``job``."""
        try:
            yield
        except Exception:
            with record_run(self.logs, job, day):
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

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Settings":
        """Settings from a JSON object; what it does not name keeps its default.

        Raises ContractViolation naming a setting that does not exist, has the wrong type or is below 0.
        """
        return from_mapping(cls, values, system="commercial_log")
