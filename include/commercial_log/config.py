"""What may differ between installations and days: folders and settings. Nothing here has a path or account built in."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from include.errors import ContractViolation

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
        known = {field.name: field for field in fields(cls)}
        chosen: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise ContractViolation(
                    f"commercial_log has no setting '{name}'.",
                    next_step=f"Use one of: {', '.join(sorted(known))}.",
                )
            chosen[name] = tuple(value) if name == "sheets" and isinstance(value, list) else value
            default = known[name].default
            wanted = int if name == "max_rejects" else type(default)
            if not (value is None and default is None) and type(chosen[name]) is not wanted:
                raise ContractViolation(
                    f"commercial_log setting '{name}' is {value!r}, not {wanted.__name__}.",
                    next_step="Correct the value in the Airflow variable commercial_log_settings.",
                )
            if wanted is int and value is not None and value < 0:
                raise ContractViolation(
                    f"commercial_log setting '{name}' is {value}, below 0.",
                    next_step="Correct the value in the Airflow variable commercial_log_settings.",
                )
        policy = chosen.get("previous_month_policy", "replace")
        if policy not in ("replace", "skip"):
            raise ContractViolation(
                f"commercial_log setting 'previous_month_policy' is {policy!r}, neither 'replace' nor 'skip'.",
                next_step="Correct the value in the Airflow variable commercial_log_settings.",
            )
        return cls(**chosen)
