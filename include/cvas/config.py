"""What may differ between installations: the lake's folder and settings. No path or account is built in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from include.common.journal import record_run
from include.cvas.privacy import masked

ZONE = ZoneInfo("Europe/Madrid")


@dataclass(frozen=True)
class Lake:
    """The system's folder and what lies where below it."""

    root: Path

    @property
    def snapshots(self) -> Path:
        return self.root / "User_Base" / "NBS_BASE"

    @property
    def user_base(self) -> Path:
        return self.root / "User_Base"

    def daily(self, day: date) -> Path:
        """The six files of a day, their manifest and their rejected rows."""
        return self.root / "Daily_Data" / day.isoformat()

    @property
    def transactions(self) -> Path:
        return self.root / "Parquet_Data" / "transactions"

    @property
    def subscriptions(self) -> Path:
        return self.root / "Parquet_Data" / "aggregated" / "subscriptions.parquet"

    @property
    def counters(self) -> Path:
        return self.root / "Counters"

    @property
    def mastercpc(self) -> Path:
        return self.root / "MASTERCPC.csv"

    @property
    def excluded_users(self) -> Path:
        return self.root / "Users_No_Limits.csv"

    @property
    def music_cpcs(self) -> Path:
        return self.root / "Music_CPCs.txt"

    @property
    def historical(self) -> Path:
        return self.root / "Historical_Data"

    def reports(self, day: date) -> Path:
        return self.root / "Reports" / day.isoformat()

    @property
    def state(self) -> Path:
        return self.root / "_state"

    @property
    def staging(self) -> Path:
        """Unfinished files; on the file system of everything else, so that a rename puts them in place."""
        return self.root / "_staging"

    @property
    def staging_locks(self) -> dict[str, Path]:
        """By the name of a folder below ``staging`` the lock under which it is used."""
        return {
            "load": self.lock,
            "view": self.view_lock,
            "user_base": self.user_base_lock,
            "counters": self.counters_lock,
            "backup": self.backup_lock,
        }

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def lock(self) -> Path:
        """Held to write partitions; shared to read them."""
        return self.root / "_locks" / "lake"

    @property
    def view_lock(self) -> Path:
        return self.root / "_locks" / "view"

    @property
    def user_base_lock(self) -> Path:
        return self.root / "_locks" / "user_base"

    @property
    def counters_lock(self) -> Path:
        return self.root / "_locks" / "counters"

    @property
    def backup_lock(self) -> Path:
        return self.root / "_locks" / "backup"

    def daily_lock(self, day: date) -> Path:
        """Held to write the files of one day; shared to load them."""
        return self.root / "_locks" / f"daily-{day}"

    @contextmanager
    def preparing(self, job: str, day: date) -> Iterator[None]:
        """What is done before a step can be called, such as reading its settings: its failure is one of ``job`` (R70).

        A step keeps its own journal, with :func:`include.cvas.stage.stage`.
        """
        try:
            yield
        except Exception:
            with record_run(self.logs, job, day, clean=masked):
                raise


@dataclass(frozen=True)
class Settings:
    """The system's settings; every default is the value the domain names.

    Shares are fractions: 0.02 is 2 %. ``memory_limit`` is DuckDB's, in its own spelling.
    """

    snapshot_path: str = "NBS_Base.csv"
    snapshot_max_age_hours: int = 24
    snapshot_warn_change: float = 0.02
    snapshot_max_change: float = 0.20
    excluded_services: tuple[str, ...] = ("nubico", "challenge arena", "movistar apple music", "juegos onmo")
    transactions_table: str = "telefonicaes_sub_mgr_fact"
    statement_timeout_seconds: int = 600
    max_reject_rows: int = 5
    max_reject_share: float = 0.001
    memory_limit: str = "1500MB"
    keep_logs_days: int = 15
    keep_daily_days: int = 15
    keep_backups: int = 7
    archive_after_months: int = 0

    @property
    def excluded_words(self) -> list[str]:
        """What is compared with the names of services."""
        return sorted({word.strip().casefold() for word in self.excluded_services} - {""})

    def excludes(self, service: str) -> bool:
        """Whether a service is left out because its name contains one of ``excluded_services`` (R12)."""
        folded = service.casefold()
        return any(word in folded for word in self.excluded_words)
