"""Bad files of every kind that cvas reads (section 6): what it says, and that nothing else is another afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from include.common.files import sha256_of
from include.common.objectstores import FolderStore
from include.common.results import StepResult
from include.cvas.backup import back_up
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, RENO, RFND, TransactionType
from include.cvas.counters import count_transactions
from include.cvas.history import import_history
from include.cvas.lake import partition_path
from include.cvas.load import load_transactions
from include.cvas.music import extract_music
from include.cvas.view import build_subscriptions
from include.errors import CheckFailed, ContractViolation, PipelineError
from tests.corpus.cvas.inputs.make_corpus import FOLDER, corpus
from tests.unit.cvas_helpers import DAY, NOW, act, cnr, data_hashes, file_hashes, reno, rfnd, write_daily, write_day

CATALOGUE = "cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Escudo Movil,Music,30,5.36\n"
ROWS = {
    ACT: [act(subscription_id=number) for number in (1, 2, 3)],
    RENO: [reno(subscription_id=2)],
    CNR: [cnr(sbn_id=1)],
    RFND: [rfnd(sbnid=2)],
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A day that was loaded, its files, a view of it, and the day before."""
    lake = Lake(tmp_path / "lake")
    lake.root.mkdir()
    lake.mastercpc.write_text(CATALOGUE, encoding="utf-8")
    write_day(lake, ROWS)
    load(lake)
    build(lake)
    return lake


def load(lake: Lake) -> StepResult:
    return load_transactions(lake, day=DAY, now=NOW, settings=Settings())


def build(lake: Lake, **how: Any) -> StepResult:
    return build_subscriptions(lake, day=DAY, now=NOW, settings=Settings(), **how)


def content(folder: str, name: str) -> bytes:
    return (FOLDER / folder / name).read_bytes()


def refused(lake: Lake, work: Callable[[Lake], object], kind: type[PipelineError]) -> str:
    """How the work fails, in its own words; it changes nothing but the rows that it rejects."""
    before = {name: digest for name, digest in data_hashes(lake).items() if "_rejects" not in name}
    with pytest.raises(kind) as failed:
        work(lake)
    assert type(failed.value) is kind
    assert failed.value.next_step.endswith(".")
    assert {name: digest for name, digest in data_hashes(lake).items() if "_rejects" not in name} == before
    said = str(failed.value) + "".join(path.read_text() for path in lake.logs.rglob("*") if path.is_file())
    assert not any(number in said for number in ("03400000", "346000000"))
    return failed.value.what.replace(str(lake.root), "LAKE")


def test_the_files_are_those_the_script_makes_and_all_of_them_are_tested() -> None:
    kept = {str(path.relative_to(FOLDER)): path.read_bytes() for path in FOLDER.glob("*/*.*") if path.suffix != ".pyc"}
    assert kept == corpus()
    tested = {
        "refunds": REFUNDS,
        "cancellations": CANCELLATIONS,
        "history": HISTORY,
        "partitions": PARTITIONS,
        "lake_state": LAKE_STATE,
        "view_state": VIEW_STATE,
        "manifests": MANIFESTS,
        "excluded_users": EXCLUDED_USERS,
        "music_cpcs": MUSIC_CPCS,
    }
    assert {f"{folder}/{name}" for folder, cases in tested.items() for name in cases} == corpus().keys()


# --- the six files of a day -----------------------------------------------------------------------------------------

SIX = "6 of 12 rows rejected, 5 allowed; the first is line 2, "
REFUNDS = {
    "amount missing.csv": f": {SIX}column 'rfnd_amount', missing.",
    "amount with a currency.csv": f": {SIX}column 'rfnd_amount', not a number: '3.69 EUR'.",
    "another day.csv": ": its events are of 2025-11-09 00:00:00 to 2025-11-09 00:00:00, not of 2025-11-10.",
    "columns of cancellations.csv": (
        ": the header is not as agreed, columns missing: refnd_date, rfnd_amount, rfnd_cnt, sbnid, instant_rfnd; "
        "unknown: cancel_date, sbn_id, mode."
    ),
    "count with a fraction.csv": f": {SIX}column 'rfnd_cnt', not an integer: '2.5'.",
    "date missing.csv": f": {SIX}column 'refnd_date', missing.",
    "dates of another order.csv": f": {SIX}column 'refnd_date', not a date or time: '10-11-2025'.",
    "flag removed.csv": ": the header is not as agreed, columns missing: instant_rfnd.",
    "total at the end.csv": ", line 5: 5 fields instead of 7.",
}
CANCELLATIONS = {
    "column named as in refunds.csv": ": the header is not as agreed, columns missing: sbn_id; unknown: sbnid.",
    "cut off in the mode.csv": ", line 4: the row has no end, the file is cut off.",
    "dates missing.csv": f": {SIX}column 'cancel_date', missing.",
    "hours of 24.csv": f": {SIX}column 'cancel_date', not a date or time: '2025-11-10 24:00:00'.",
    "latin-1.csv": ", line 2: the byte 0xc9 is not UTF-8.",
    "midnight of the next day.csv": (
        ": its events are of 2025-11-10 12:00:00 to 2025-11-11 00:00:00, not of 2025-11-10."
    ),
    "subscriptions missing.csv": f": {SIX}column 'sbn_id', missing.",
    "subscriptions with a letter.csv": f": {SIX}column 'sbn_id', not an integer: '90000A'.",
}


@pytest.mark.parametrize(
    ("kind", "folder", "name", "told"),
    [
        *((RFND, "refunds", *case) for case in REFUNDS.items()),
        *((CNR, "cancellations", *case) for case in CANCELLATIONS.items()),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[-5:] else "",
)
def test_a_file_of_refunds_or_cancellations_with_a_defect_is_refused(
    lake: Lake, kind: TransactionType, folder: str, name: str, told: str
) -> None:
    """R21, R25 to R27: named with type, file and line."""
    (lake.daily(DAY) / "_manifest.json").unlink()
    write_daily(lake, kind, content(folder, name))
    assert refused(lake, load, ContractViolation) == f"cvas {kind.name}: 2025-11-10/{kind.name}.csv{told}"


NO_MANIFEST = "cvas: LAKE/Daily_Data/2025-11-10/_manifest.json is no manifest ("
MANIFESTS = {
    "a list.json": NO_MANIFEST,
    "cut off.json": NO_MANIFEST,
    "empty.json": NO_MANIFEST,
    "of other files.json": (
        "cvas: the files of 2025-11-10 are not complete; not as fetched: "
        "ACT.csv (1 rows with SHA-256 abababababab were fetched, 3 with "
    ),
    "rows as text.json": f"{NO_MANIFEST}rows and bytes are no whole numbers).",
    "time that is none.json": NO_MANIFEST,
    "unknown field.json": NO_MANIFEST,
    "without hashes.json": NO_MANIFEST,
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_files_whose_manifest_is_damaged_or_of_others_are_not_loaded(lake: Lake, name: str) -> None:
    """R24, section 6."""
    (lake.daily(DAY) / "_manifest.json").write_bytes(content("manifests", name))
    assert refused(lake, load, ContractViolation).startswith(MANIFESTS[name])


# --- historical files -----------------------------------------------------------------------------------------------

HISTORY = {
    "amount with a comma.csv": ", line 4, column 'rev': not a number: '5,36'.",
    "column removed.csv": ": the header is not as agreed, columns missing: channel_id.",
    "cut off in the last row.csv": ", line 4: the row has no end, the file is cut off.",
    "date of another order.csv": ", line 4, column 'trans_date': not a date or time: '01/03/2025 10:00'.",
    "empty.csv": ": it is empty or has no complete header line.",
    "latin-1.csv": ", line 4: the byte 0xf3 is not UTF-8.",
    "quote not closed.csv": ", line 4: the row has no end, the file is cut off.",
    "rows of renewals.csv": ", line 4, column 'trans_type_id': not 1, the type of ACT: '2'.",
    "subscription missing.csv": ", line 4, column 'subscription_id': missing.",
}


@pytest.mark.parametrize("name", HISTORY)
def test_a_historical_file_with_a_defect_stops_the_import(lake: Lake, name: str) -> None:
    """R59: its first lines are proper; what cannot be typed stops it, named with line and column."""
    lake.historical.mkdir()
    (lake.historical / "act_atlas_2025.csv").write_bytes(content("history", name))

    def work(lake: Lake) -> StepResult:
        return import_history(lake, lake.historical, types=[ACT], day=DAY, now=NOW, settings=Settings())

    told = refused(lake, work, ContractViolation)
    assert told == f"cvas ACT: Historical_Data/act_atlas_2025.csv{HISTORY[name]}"


# --- the lake -------------------------------------------------------------------------------------------------------

PARTITIONS = ("cut off.parquet", "empty.parquet", "html error page.parquet", "rows as text.parquet", "zeros.parquet")


@pytest.mark.parametrize("name", PARTITIONS)
def test_a_partition_that_cannot_be_read_stops_the_load_of_its_month_and_the_view(lake: Lake, name: str) -> None:
    """Section 6: the file is named, and the month to fetch again; the view stays."""
    path = partition_path(lake, ACT, "2025-11")
    path.write_bytes(content("partitions", name))
    write_day(lake, {**ROWS, ACT: [act(subscription_id=number) for number in (1, 2, 3, 4)]})
    place = "cvas: LAKE/Parquet_Data/transactions/act/year_month=2025-11/data.parquet cannot be read: "
    assert refused(lake, load, CheckFailed).startswith(place)
    assert refused(lake, build, ContractViolation).startswith(place)
    path.unlink()
    load(lake)
    assert build(lake).facts["mode"] == "full"
    assert pl.read_parquet(lake.subscriptions)["subscription_id"].to_list() == [1, 2, 3, 4]


LAKE_STATE = {
    "a list.json": "TypeError",
    "cut off.json": "JSONDecodeError",
    "empty.json": "JSONDecodeError",
    "null.json": "TypeError",
    "of no day.json": "ValueError",
    "utf-16.json": "UnicodeDecodeError",
    "without anything.json": "KeyError",
    "zeros.json": "JSONDecodeError",
}


@pytest.mark.parametrize("name", LAKE_STATE)
def test_a_damaged_state_is_not_backed_up_and_does_not_stop_the_day(lake: Lake, tmp_path: Path, name: str) -> None:
    """Section 6, R53 h: a damaged state file is a warning, and is made anew; no backup of it pushes a good one out."""
    state = lake.state / "lake.json"
    state.write_bytes(content("lake_state", name))
    told = f"cvas: LAKE/_state/lake.json is damaged ({LAKE_STATE[name]})."

    def work(lake: Lake) -> StepResult:
        return back_up(FolderStore(tmp_path), lake, day=DAY, now=NOW, settings=Settings())

    assert refused(lake, work, CheckFailed) == told
    before = file_hashes(lake.root / "Parquet_Data")
    [warning] = build(lake).warnings[:1]
    assert warning.replace(str(lake.root), "LAKE") == f"{told} The partitions are taken as they are."
    [warning, *_] = load(lake).warnings
    assert warning.replace(str(lake.root), "LAKE") == f"{told} What is loaded is taken from the partitions."
    assert load(lake).warnings == ()
    assert file_hashes(lake.root / "Parquet_Data") == before


VIEW_STATE = (*LAKE_STATE, "other fields.json")


@pytest.mark.parametrize("name", VIEW_STATE)
def test_a_view_whose_record_is_damaged_is_made_anew_and_is_the_same(lake: Lake, name: str) -> None:
    """R53 h: a warning."""
    record = lake.state / "view.json"
    record.write_bytes(content("view_state", name))
    before = data_hashes(lake)
    result = build(lake)
    assert result.warnings == ("Every row of the view is made anew: what the view was built from is not known.",)
    assert data_hashes(lake) == {**before, "_state/view.json": sha256_of(record)}
    assert build(lake).facts["mode"] == "unchanged"


# --- small inputs ---------------------------------------------------------------------------------------------------

NOBODY = "Users_No_Limits.csv: what lines {} hold is no phone or user id, so it excludes nobody"
# The lines that are told, and the activations that count: three unless a line excludes their phone all the same.
EXCLUDED_USERS = {
    "as a spreadsheet leaves numbers.csv": ("2", 3),
    "comment at the top.csv": ("1, 2", 0),
    "header and blank lines.csv": (None, 3),
    "semicolons.csv": ("1, 2", 3),
    "utf-16.csv": ("1, 2, 3", 3),
    "zeros.csv": ("1", 3),
}


@pytest.mark.parametrize("name", EXCLUDED_USERS)
def test_a_list_of_excluded_users_that_nobody_can_read_is_told_by_its_lines(
    lake: Lake, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """R55, 3.6, R5: the counters are made all the same, and no number is quoted."""
    lake.excluded_users.write_bytes(content("excluded_users", name))
    before = data_hashes(lake)
    with caplog.at_level(logging.DEBUG):
        result = count_transactions(lake, days=[DAY], day=DAY, now=NOW, settings=Settings(), force=False)
    lines, counted = EXCLUDED_USERS[name]
    assert [warning.rstrip(".") for warning in result.warnings] == ([NOBODY.format(lines)] if lines else [])
    assert pl.read_parquet(lake.counters / "Counters_CPC.parquet")["act_count"].to_list() == [counted]
    after = {name: digest for name, digest in data_hashes(lake).items() if not name.startswith("Counters/")}
    assert after == before
    assert not any(number in caplog.text for number in ("03400000", "346000000"))


MUSIC_CPCS = {
    "a header.txt": "line 1: 'cpc' is no CPC.",
    "comma at the end.txt": "line 1: '45530,' is no CPC.",
    "decimal number.txt": "line 2: '45531.0' is no CPC.",
    "html error page.txt": "line 1: '<!DOCTYPE html>' is no CPC.",
    "negative.txt": "line 3: '-1' is no CPC.",
    "utf-16.txt": "line 1: ",
}


@pytest.mark.parametrize("name", MUSIC_CPCS)
def test_a_list_of_music_that_cannot_be_read_stops_the_extract(lake: Lake, name: str) -> None:
    """R65, 3.6: named with its line; no extract is written."""
    lake.music_cpcs.write_bytes(content("music_cpcs", name))

    def work(lake: Lake) -> StepResult:
        return extract_music(lake, day=DAY, now=NOW, settings=Settings())

    assert refused(lake, work, ContractViolation).startswith(f"cvas: LAKE/Music_CPCs.txt, {MUSIC_CPCS[name]}")
