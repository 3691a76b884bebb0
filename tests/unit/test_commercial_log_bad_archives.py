"""Every defect a monthly archive can have, as a file (domain section 6: "ZIP corrupt in archive"); R12, R44, R45."""

from __future__ import annotations

import shutil
import zipfile
from datetime import timedelta

import pytest

from include.commercial_log.config import Settings
from include.commercial_log.rotation import archive_of, rotate_files
from include.commercial_log.workbook import dated_name
from include.common.journal import read_journal
from include.errors import CheckFailed
from tests.corpus.commercial_log.archives.make_archives import DAYS, FOLDER, archive, archives
from tests.unit.commercial_log_helpers import DAY, Station, rows

AUDIT = ("import_batches", "import_rejects")
JULY = DAYS[-1]
# What is said about each, by the rotation and by a load of an old day.
DAMAGED = {
    "zero bytes": ("BadZipFile: File is not a zip file", "File is not a zip file"),
    "html error page": ("BadZipFile: File is not a zip file", "File is not a zip file"),
    "cut off": ("BadZipFile: File is not a zip file", "File is not a zip file"),
    "a byte of a workbook lost": (
        "the CRC of Commercial Log 250710.xlsx is wrong",
        "Bad CRC-32 for file 'Commercial Log 250710.xlsx'",
    ),
    "a byte of a compressed workbook lost": (
        "error: Error -3 while decompressing data: invalid block type",
        "Error -3 while decompressing data: invalid block type",
    ),
    "encrypted by a flipped bit": (
        "RuntimeError: File 'Commercial Log 250709.xlsx' is encrypted, password required for extraction",
        "File 'Commercial Log 250710.xlsx' is encrypted, password required for extraction",
    ),
    "header of a workbook lost": (
        "the CRC of Commercial Log 250709.xlsx is wrong",
        "Bad magic number for file header",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_the_rotation_skips_the_month_and_fails_after_the_others(station: Station, name: str) -> None:
    """R45: the archive stays as it is, and the workbooks that were to go into it stay too."""
    june, july, august = (JULY.replace(month=month, day=11) for month in (6, 7, 8))
    for day in (june, july, august):
        path = station.dated(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"bookings of {day}")
    bad = archive_of(station.data, july)
    bad.parent.mkdir(parents=True)
    shutil.copyfile(FOLDER / f"{name}.zip", bad)
    with pytest.raises(CheckFailed) as failed:
        rotate_files(station.data, day=DAY, today=DAY, settings=Settings())
    assert failed.value.what == (
        f"commercial_log: the archive commercial-logs-2025-07.zip is damaged ({DAMAGED[name][0]}); its month was "
        "skipped, the workbooks were kept."
    )
    after = station.files()
    for day in (june, august):
        del after[f"raw/archive/commercial-logs-2025-{day:%m}.zip"]
        with zipfile.ZipFile(archive_of(station.data, day)) as members:
            assert {each: members.read(each).decode() for each in members.namelist()} == {
                dated_name(day): f"bookings of {day}"
            }
    assert after == {
        "raw/archive/commercial-logs-2025-07.zip": (FOLDER / f"{name}.zip").read_bytes(),
        f"raw/daily/{dated_name(july)}": f"bookings of {july}".encode(),
    }
    assert [line.state for line in read_journal(station.data.logs, "commercial_log_rotation")] == ["FAILED"]


@pytest.mark.parametrize("name", DAMAGED)
def test_an_old_day_is_not_loaded_from_a_damaged_archive(station: Station, name: str) -> None:
    """R12: the failure names the archive, and nothing was changed."""
    station.load(rows("new"))
    bad = archive_of(station.data, JULY)
    bad.parent.mkdir(parents=True)
    shutil.copyfile(FOLDER / f"{name}.zip", bad)
    files, before = station.files(), station.dump(without=AUDIT)
    with pytest.raises(CheckFailed) as failed:
        station.load(day=JULY, force_stale=True)
    assert failed.value.what == (
        f"commercial_log: Commercial Log 250710.xlsx cannot be taken from {bad}: {DAMAGED[name][1]}."
    )
    assert (station.files(), station.dump(without=AUDIT)) == (files, before)


# --- the corpus itself ----------------------------------------------------------------------------------------------


def test_every_archive_of_the_corpus_is_tested_and_the_one_the_script_makes() -> None:
    """But for the compressed one: compressors differ."""
    found, made = {path.stem: path.read_bytes() for path in FOLDER.glob("*.zip")}, archives()
    assert found.keys() == made.keys() == DAMAGED.keys()
    assert [name for name in found if found[name] != made[name] and "compressed" not in name] == []


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_archive_they_are_made_from_is_sound(station: Station, compression: int) -> None:
    """Otherwise a defect could hide behind another."""
    sound = archive_of(station.data, JULY)
    sound.parent.mkdir(parents=True)
    sound.write_bytes(archive(compression))
    station.put(rows("a"), JULY + timedelta(days=1))
    rotate_files(station.data, day=DAY, today=DAY, settings=Settings())
    with zipfile.ZipFile(sound) as members:
        assert members.namelist() == [dated_name(day) for day in (*DAYS, JULY + timedelta(days=1))]
