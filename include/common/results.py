"""What a step hands back: counts and places, never rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class StepResult:
    """The small, JSON-ready outcome of one step; it travels through XCom and into the asset event.

    ``read``, ``written`` and ``rejected`` count rows (or files, where a step moves files), ``bytes`` what was written,
    ``where`` names the place without any secret. ``warnings`` are sentences worth a notification although the step
    succeeded. ``facts`` holds whatever else the step wants seen: months, batch id, durations.
    """

    where: str
    read: int = 0
    written: int = 0
    rejected: int = 0
    bytes: int = 0
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "warnings": list(self.warnings), "facts": dict(self.facts)}
