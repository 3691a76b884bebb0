"""What the fetch knows about the six files of a day, kept beside them (section 4.5); the load believes nothing else.

An entry is written after its file is in place (R20). A kill between the two leaves an entry whose SHA-256 is not that
of the file, which the load refuses like any other altered file; fetching the type again settles it.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from include.common.files import atomic_write
from include.cvas.config import Lake
from include.cvas.contract import TYPES, TransactionType
from include.cvas.privacy import masked
from include.errors import ContractViolation

MANIFEST = "_manifest.json"


@dataclass(frozen=True)
class FileEntry:
    """One file of a day as it was fetched.

    ``rows`` without the header. ``first_event`` and ``last_event`` are the source's local times without a zone, None if
    there is no row. ``query_start`` and ``query_end`` have a zone; they are None if the file was ``adopted``, that is,
    placed by hand. ``complete`` is False for a day that was not over when it was fetched.
    """

    rows: int
    bytes: int
    sha256: str
    first_event: datetime | None = None
    last_event: datetime | None = None
    query_start: datetime | None = None
    query_end: datetime | None = None
    complete: bool = True
    adopted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As it is stored: times in ISO format."""
        return {name: value.isoformat() if name in _TIMES and value else value for name, value in asdict(self).items()}


_TIMES = ("first_event", "last_event", "query_start", "query_end")


def daily_file(lake: Lake, day: date, kind: TransactionType) -> Path:
    """``Daily_Data/D/<TYPE>.csv``, whether it exists or not."""
    return lake.daily(day) / f"{kind.name}.csv"


def read_manifest(lake: Lake, day: date) -> dict[str, FileEntry]:
    """The entries of a day by type name, in the order of the fetch; empty if nothing was fetched.

    Raises ContractViolation if the manifest cannot be read as one.
    """
    path = lake.daily(day) / MANIFEST
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        entries = {name: _entry(values) for name, values in stored.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise ContractViolation(
            f"cvas: {path} is no manifest ({masked(str(error))}).",
            next_step=f"Clear the day {day} and fetch it again.",
        ) from error
    return {kind.name: entries[kind.name] for kind in TYPES if kind.name in entries}


def write_entry(lake: Lake, day: date, type_name: str, entry: FileEntry) -> None:
    """Put the entry of one type in place of its old one; the caller holds the day's lock, the file lies there already.

    Raises ContractViolation if the manifest cannot be read as one, StoreFull.
    """
    entries = {**read_manifest(lake, day), type_name: entry}
    stored = {name: each.as_dict() for name, each in entries.items()}
    with atomic_write(lake.daily(day) / MANIFEST) as temporary:
        temporary.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def is_complete(lake: Lake, day: date) -> bool:
    """Whether all six types of the day were fetched when the day was over (R3)."""
    entries = read_manifest(lake, day)
    return len(entries) == len(TYPES) and all(entry.complete for entry in entries.values())


def _entry(values: dict[str, Any]) -> FileEntry:
    if not all(type(values.get(name)) is int for name in ("rows", "bytes")):
        raise ValueError("rows and bytes are no whole numbers")
    times = {name: datetime.fromisoformat(values[name]) for name in _TIMES if values.get(name)}
    return FileEntry(**{**values, **times})
