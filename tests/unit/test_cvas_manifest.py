"""What the fetch notes about the six files of a day (section 4.5, R2, R3, R20)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from include.cvas.config import Lake
from include.cvas.contract import ACT, RENO, TYPES
from include.cvas.manifest import FileEntry, daily_file, is_complete, read_manifest, write_entry
from include.errors import ContractViolation

DAY = date(2025, 11, 10)
ENTRY = FileEntry(
    rows=620,
    bytes=91_234,
    sha256="ab" * 32,
    first_event=datetime.fromisoformat("2025-11-10 00:00:02"),
    last_event=datetime.fromisoformat("2025-11-10 23:59:59.5"),
    query_start=datetime(2025, 11, 11, 7, 25, tzinfo=UTC),
    query_end=datetime(2025, 11, 11, 7, 25, 1, 250_000, tzinfo=UTC),
)
STORED = {
    "rows": 620,
    "bytes": 91_234,
    "sha256": "ab" * 32,
    "first_event": "2025-11-10T00:00:02",
    "last_event": "2025-11-10T23:59:59.500000",
    "query_start": "2025-11-11T07:25:00+00:00",
    "query_end": "2025-11-11T07:25:01.250000+00:00",
    "complete": True,
    "adopted": False,
}
ADOPTED = FileEntry(rows=0, bytes=152, sha256="cd" * 32, adopted=True)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def manifest(lake: Lake) -> Path:
    return lake.root / "Daily_Data" / "2025-11-10" / "_manifest.json"


def test_files_lie_in_the_folder_of_their_day(lake: Lake) -> None:
    assert daily_file(lake, DAY, RENO) == lake.root / "Daily_Data" / "2025-11-10" / "RENO.csv"


def test_an_entry_is_stored_as_json_and_read_back(lake: Lake, manifest: Path) -> None:
    write_entry(lake, DAY, "ACT", ENTRY)

    assert json.loads(manifest.read_text()) == {"ACT": STORED}
    assert read_manifest(lake, DAY) == {"ACT": ENTRY}


def test_an_entry_replaces_its_own_type_only(lake: Lake) -> None:
    """The order is that of the fetch (R18), whatever was written first."""
    write_entry(lake, DAY, "RENO", ENTRY)
    write_entry(lake, DAY, "ACT", ENTRY)
    write_entry(lake, DAY, "RENO", ADOPTED)

    assert list(read_manifest(lake, DAY).items()) == [("ACT", ENTRY), ("RENO", ADOPTED)]


def test_a_day_without_manifest_has_no_entries(lake: Lake) -> None:
    assert read_manifest(lake, DAY) == {}
    assert not is_complete(lake, DAY)


def test_a_day_is_complete_with_six_complete_types(lake: Lake) -> None:
    """R2, R3."""
    for kind in TYPES:
        assert not is_complete(lake, DAY)
        write_entry(lake, DAY, kind.name, ENTRY)
    assert is_complete(lake, DAY)

    write_entry(lake, DAY, ACT.name, replace(ENTRY, complete=False))
    assert not is_complete(lake, DAY)


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"ACT": {"rows": 620',
        "[]",
        '{"ACT": []}',
        '{"ACT": {"rows": 620}}',
        json.dumps({"ACT": STORED | {"first_event": "yesterday"}}),
        json.dumps({"ACT": STORED | {"lines": 621}}),
        json.dumps({"ACT": STORED | {"rows": "many"}}),
        b"\xff\xfe",
    ],
)
def test_a_manifest_that_is_none_is_named_and_nothing_is_written_over_it(
    lake: Lake, manifest: Path, content: Any
) -> None:
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = manifest.read_bytes()

    for attempt in (lambda: read_manifest(lake, DAY), lambda: write_entry(lake, DAY, "ACT", ENTRY)):
        with pytest.raises(ContractViolation, match=r"_manifest\.json is no manifest .* Clear the day 2025-11-10 and"):
            attempt()
    assert manifest.read_bytes() == before
