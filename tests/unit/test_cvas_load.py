"""The six files of a day become that day in the lake, all types or none (R21, R24-R36, R69, R70, R78; G6-G8)."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import signal
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.common import locks
from include.common.journal import RunLog, read_journal
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TYPES, TransactionType
from include.cvas.lake import (
    UNDATED,
    LoadedDay,
    check_fingerprints,
    partition_path,
    read_partition,
    read_state,
    reading,
    staging_of,
    state_file,
    touched_file,
    writing,
)
from include.cvas.load import load_transactions
from include.cvas.manifest import FileEntry, daily_file, is_complete, read_manifest, write_entry
from include.cvas.refunds import repair_refunds
from include.errors import (
    AlreadyRunning,
    CheckFailed,
    ContractViolation,
    PermanentError,
    RequestRefused,
    SourceMissing,
    StoreBusy,
    StoreFull,
)
from sandbox.servers.faults import small_disk
from tests.corpus.cvas.daily.make_corpus import FOLDER, corpus
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    PHONE,
    USER,
    Row,
    Rows,
    act,
    at,
    cnr,
    csv_text,
    data_hashes,
    dct,
    fill_lake,
    frame,
    lake_hashes,
    ppd,
    reno,
    rfnd,
    stored,
    typed,
    write_daily,
    write_day,
    write_legacy,
    write_manifest,
)

ROOT = Path(__file__).resolve().parents[2]
EVE = DAY - timedelta(days=1)
# One of each type; the view knows no pay-per-download (R38).
FULL_DAY: Rows = {
    ACT: [act()],
    RENO: [reno(subscription_id=900002), reno(subscription_id=900001, trans_date="2025-11-10 03:00:00")],
    DCT: [dct()],
    PPD: [ppd(subscription_id=900003)],
    CNR: [cnr()],
    RFND: [rfnd()],
}
NOTHING = {"read": 0, "rejected": 0, "duplicates": 0, "inserted": 0, "replaced": 0, "partitions": [], "bytes": 0}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def load(lake: Lake, day: date = DAY, **options: Any) -> StepResult:
    return load_transactions(lake, day=day, now=NOW, settings=options.pop("settings", Settings()), **options)


def load_rows(lake: Lake, rows: Rows, day: date = DAY, **options: Any) -> StepResult:
    write_day(lake, rows, day=day)
    return load(lake, day, **options)


def counts(result: StepResult, kind: TransactionType) -> dict[str, Any]:
    found = dict(result.facts["types"][kind.name])
    del found["bytes"]
    return found


# --- what a load does -----------------------------------------------------------------------------------------------


def test_a_day_is_loaded_and_reported_in_full(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R24-R36, R70: all of the result, the state, the log and the journal."""
    with caplog.at_level(logging.INFO):
        result = load_rows(lake, FULL_DAY)
    for kind, rows in FULL_DAY.items():
        assert stored(lake, kind) == sorted(
            typed(kind, rows), key=lambda row: (row[kind.event_date], row[kind.subscription])
        )
    sizes = {kind: partition_path(lake, kind, "2025-11").stat().st_size for kind in TYPES}
    expected = {
        kind.name: {
            "read": len(rows),
            "rejected": 0,
            "duplicates": 0,
            "inserted": len(rows),
            "replaced": 0,
            "partitions": [f"{kind.folder}/2025-11"],
            "bytes": sizes[kind],
        }
        for kind, rows in FULL_DAY.items()
    }
    seconds = result.facts["seconds"]
    assert seconds.keys() == {"parse and validate", "stage", "publish"}
    assert result == StepResult(
        where=str(lake.transactions),
        read=7,
        written=7,
        bytes=sum(sizes.values()),
        facts={"day": "2025-11-10", "types": expected, "seconds": seconds},
    )
    state = read_state(lake)
    manifest = read_manifest(lake, DAY)
    assert state.days == {
        DAY: {kind.name: LoadedDay(len(rows), "daily", manifest[kind.name].sha256) for kind, rows in FULL_DAY.items()}
    }
    assert (state.change, state.newest_full_day(), check_fingerprints(lake, state)) == (1, DAY, [])
    assert pl.read_parquet(touched_file(lake, 1)).to_series().to_list() == [900001, 900002]
    assert (
        f"RENO | read 2 | rejected 0 | duplicates 0 | inserted 2 | replaced 0 | partitions reno/2025-11 | "
        f"{sizes[RENO] / 1e6:.1f} MB"
    ) in caplog.messages
    [line] = read_journal(lake.logs, "cvas_load")
    assert (line.job, line.day, line.state) == ("cvas_load", "2025-11-10", "SUCCESS")
    assert line.detail == " | ".join(f"{kind.name}: {len(rows)} in, 0 out" for kind, rows in FULL_DAY.items())
    assert not staging_of(lake).exists()


def test_the_same_day_twice_changes_no_byte_of_the_lake(lake: Lake) -> None:
    """R32, G7."""
    load_rows(lake, FULL_DAY)
    files = data_hashes(lake)
    again = load(lake)
    assert data_hashes(lake) == files
    assert (again.read, again.written, again.bytes) == (7, 0, 0)
    assert counts(again, RENO) == {
        "read": 2,
        "rejected": 0,
        "duplicates": 0,
        "inserted": 0,
        "replaced": 0,
        "partitions": [],
    }


def test_a_corrected_day_leaves_exactly_the_corrected_rows(lake: Lake) -> None:
    """R32, G8: the original kept rows that had gone at the source."""
    eve = [reno(trans_date="2025-11-09 23:59:59.999999"), reno(trans_date="2025-11-09 00:00:00")]
    load_rows(lake, {RENO: eve}, EVE)
    morrow = [reno(trans_date="2025-11-11 00:00:00")]
    load_rows(lake, {RENO: morrow}, DAY + timedelta(days=1))
    load_rows(lake, {RENO: [reno(subscription_id=n, rev=1.0) for n in (1, 2, 3)], ACT: [act()]})
    act_before = lake_hashes(lake)["act/year_month=2025-11/data.parquet"]
    result = load_rows(
        lake, {RENO: [reno(subscription_id=n, rev=9.0 if n == 3 else 1.0) for n in (1, 3)], ACT: [act()]}
    )
    assert stored(lake, RENO) == typed(
        RENO, [eve[1], eve[0], reno(subscription_id=1, rev=1.0), reno(subscription_id=3, rev=9.0), *morrow]
    )
    assert counts(result, RENO) == {
        "read": 2,
        "rejected": 0,
        "duplicates": 0,
        "inserted": 2,
        "replaced": 3,
        "partitions": ["reno/2025-11"],
    }
    assert counts(result, ACT)["partitions"] == []
    assert lake_hashes(lake)["act/year_month=2025-11/data.parquet"] == act_before
    # Removed, changed, and unchanged ones of the day.
    assert pl.read_parquet(touched_file(lake, 4)).to_series().to_list() == [1, 2, 3]


def test_an_old_day_is_replaced_in_its_own_month_only(lake: Lake) -> None:
    """R32, R34."""
    old = date(2025, 9, 30)
    load_rows(lake, {ACT: [act(trans_date="2025-09-30 10:00:00")]}, old)
    load_rows(lake, {ACT: [act(trans_date="2025-10-01 00:00:00")]}, old + timedelta(days=1))
    load_rows(lake, {ACT: [act()]})
    files = lake_hashes(lake)
    result = load_rows(lake, {ACT: [act(trans_date="2025-09-30 11:00:00"), act(trans_date="2025-09-30 12:00:00")]}, old)
    assert counts(result, ACT)["partitions"] == ["act/2025-09"]
    changed = {name for name, digest in lake_hashes(lake).items() if files[name] != digest}
    assert changed == {"act/year_month=2025-09/data.parquet"}
    assert [row["trans_date"] for row in stored(lake, ACT)] == [
        at("2025-09-30 11:00:00"),
        at("2025-09-30 12:00:00"),
        at("2025-10-01 00:00:00"),
        at("2025-11-10 16:08:22"),
    ]


def test_only_the_day_s_months_are_opened(lake: Lake) -> None:
    """R34: what lies outside could as well be unreadable."""
    load_rows(lake, {ACT: [act(trans_date="2025-10-01 00:00:00")]}, date(2025, 10, 1))
    path = partition_path(lake, ACT, "2025-10")
    moment = path.stat().st_mtime_ns
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, ns=(moment, moment))
    load_rows(lake, {ACT: [act()]})
    assert read_partition(lake, ACT, "2025-11").height == 1


# --- duplicates -----------------------------------------------------------------------------------------------------


def later(row: Row, **values: Any) -> Row:
    return {**row, **values}


# By type: rows of one key, of which the last counts, and rows that differ in one part of the key each.
SAME: dict[TransactionType, list[Row]] = {
    ACT: [act(), act(rev=1.0), act(cpc=1, tmuserid="2")],
    RENO: [reno(), reno(rev=1.0)],
    DCT: [dct(), dct(channel_dct=None)],
    PPD: [ppd(), ppd(rev=1.0), ppd(msisdn=None)],
    CNR: [cnr(), cnr(mode="WAP-CR", cpc=None)],
    RFND: [rfnd(), rfnd(rfnd_amount=1.0), rfnd(rfnd_cnt=9)],
}
DIFFERENT: dict[TransactionType, list[Row]] = {
    ACT: [act(subscription_id=2), act(trans_date="2025-11-10 16:08:22.000001")],
    RENO: [reno(subscription_id=2), reno(trans_date="2025-11-10 16:08:23")],
    DCT: [dct(subscription_id=2)],
    PPD: [ppd(tmuserid="2"), ppd(cpc=None), ppd(subscription_id=None), ppd(trans_date="2025-11-10 00:00:00")],
    CNR: [cnr(sbn_id=2), cnr(cancel_date="2025-11-10 12:00:01")],
    RFND: [rfnd(sbnid=None), rfnd(tmuserid=None), rfnd(cpc=None), rfnd(instant_rfnd="t"), rfnd(instant_rfnd=None)],
}


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_of_equal_keys_the_last_row_of_the_file_counts(lake: Lake, kind: TransactionType) -> None:
    """R31."""
    same, different = SAME[kind], DIFFERENT[kind]
    result = load_rows(lake, {kind: [*same, *different]})
    assert counts(result, kind) == {
        "read": len(same) + len(different),
        "rejected": 0,
        "duplicates": len(same) - 1,
        "inserted": 1 + len(different),
        "replaced": 0,
        "partitions": [f"{kind.folder}/2025-11"],
    }
    assert sorted(map(repr, stored(lake, kind))) == sorted(map(repr, typed(kind, [same[-1], *different])))


@pytest.mark.parametrize("kind", [PPD, RFND], ids=lambda kind: kind.name)
def test_nulls_in_keys_equal_each_other(lake: Lake, kind: TransactionType) -> None:
    """R31: the key of a refund without a subscription, of a purchase without a user."""
    blank = dict.fromkeys(set(kind.key) - {kind.event_date, "trans_type_id"})
    row = {PPD: ppd(), RFND: rfnd()}[kind] | blank
    amount = {PPD: "rev", RFND: "rfnd_amount"}[kind]
    result = load_rows(lake, {kind: [later(row, **{amount: 1.0}), later(row, **{amount: 2.0})]})
    assert stored(lake, kind) == typed(kind, [later(row, **{amount: 2.0})])
    assert counts(result, kind)["duplicates"] == 1


def test_refunds_of_two_price_points_on_one_day_are_both_kept(lake: Lake) -> None:
    """G6, B1."""
    rows = [rfnd(cpc=44009, rfnd_amount=3.69, rfnd_cnt=3), rfnd(cpc=44010, rfnd_amount=1.0, rfnd_cnt=1)]
    load_rows(lake, {RFND: rows})
    assert stored(lake, RFND) == typed(RFND, rows)
    assert stored(lake, RFND)[0]["refnd_date"] == at("2025-11-10 00:00:00")


def test_upsert_keeps_rows_that_are_not_in_the_file(lake: Lake) -> None:
    """R32: merge_mode=upsert; the newer load wins (R31)."""
    load_rows(lake, {RENO: [reno(subscription_id=n, rev=1.0) for n in (1, 2, 3)]})
    result = load_rows(lake, {RENO: [reno(subscription_id=n, rev=2.0) for n in (3, 3, 4)]}, upsert=True)
    assert [(row["subscription_id"], row["rev"]) for row in stored(lake, RENO)] == [
        (1, 1.0),
        (2, 1.0),
        (3, 2.0),
        (4, 2.0),
    ]
    assert counts(result, RENO) == {
        "read": 3,
        "rejected": 0,
        "duplicates": 1,
        "inserted": 2,
        "replaced": 1,
        "partitions": ["reno/2025-11"],
    }
    assert read_state(lake).days[DAY]["RENO"].rows == 4
    files = lake_hashes(lake)
    assert load(lake, upsert=True).written == 0
    assert lake_hashes(lake) == files


def test_rows_added_by_upsert_are_not_all_there_is_of_a_day(lake: Lake) -> None:
    """R29, R32, R47: undated refunds may be of that day, so the repair must keep them."""
    write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date=None, rfnd_amount=100.0)], name="data_0.parquet")
    load_rows(lake, {**FULL_DAY, RFND: [rfnd(sbnid=3, rfnd_amount=1.0)]}, upsert=True)
    state = read_state(lake)
    assert {loaded.source for loaded in state.days[DAY].values()} == {"partial"}
    assert state.newest_full_day() is None
    repair_refunds(lake, day=DAY, now=NOW, settings=Settings())
    assert sorted(row["rfnd_amount"] for row in stored(lake, RFND)) == [1.0, 100.0]


@pytest.mark.parametrize(
    ("source", "after"),
    [
        ("daily", "daily"),
        ("historical", "historical"),
        ("empty", "daily"),
        ("found", "found"),
        ("partial", "partial"),
    ],
)
def test_upsert_leaves_a_day_as_fully_loaded_as_it_was(lake: Lake, source: str, after: str) -> None:
    """R29, R32."""
    fill_lake(lake, {RENO: [reno()]}, source=source)
    load_rows(lake, {RENO: [reno(subscription_id=2)], RFND: [rfnd()]}, upsert=True)
    days = read_state(lake).days[DAY]
    hashes = {name: entry.sha256 for name, entry in read_manifest(lake, DAY).items()}
    assert days["RENO"] == LoadedDay(2, after, hashes["RENO"])
    assert days["RFND"] == LoadedDay(1, after, hashes["RFND"])
    load(lake)
    assert {loaded.source for loaded in read_state(lake).days[DAY].values()} == {"daily"}


# --- any order of days ----------------------------------------------------------------------------------------------

DAYS = (date(2025, 10, 31), date(2025, 11, 1), date(2025, 11, 2))
PEOPLE = st.sampled_from([None, USER, "0340000000000000018"])
IDS = st.integers(1, 3)
TIMES = st.sampled_from(["00:00:00", "12:00:00.5", "23:59:59.999999"])


@st.composite
def files_of_a_day(draw: st.DrawFn) -> tuple[date, Rows]:
    day = draw(st.sampled_from(DAYS))
    moment = TIMES.map(lambda time: f"{day} {time}")
    amounts = st.sampled_from([None, 0.0, 1.23])
    rows: Rows = {
        ACT: draw(st.lists(st.builds(act, subscription_id=IDS, trans_date=moment, rev=amounts), max_size=5)),
        CNR: draw(st.lists(st.builds(cnr, sbn_id=IDS, cancel_date=moment, mode=PEOPLE), max_size=3)),
        PPD: draw(
            st.lists(
                st.builds(ppd, subscription_id=st.none(), tmuserid=PEOPLE, trans_date=moment, rev=amounts), max_size=3
            )
        ),
        RFND: draw(st.lists(st.builds(rfnd, sbnid=IDS, refnd_date=st.just(f"{day}"), cpc=st.none() | IDS), max_size=4)),
    }
    return day, rows


def expected_rows(files: dict[date, Rows], kind: TransactionType) -> list[Row]:
    """The last row of each key of each day's file, ordered, without any help of what is tested."""
    last: dict[tuple[Any, ...], Row] = {}
    for rows in files.values():
        for row in typed(kind, rows.get(kind, ())):
            last[tuple(row[name] for name in kind.key)] = row
    first = (kind.event_date, kind.subscription)
    names = [*first, *(name for name in kind.column_names if name not in first)]
    return sorted(
        last.values(),
        key=lambda row: [(row[name] is None, row[name] if row[name] is not None else 0) for name in names],
    )


@hypothesis_settings(max_examples=12)
@given(st.lists(files_of_a_day(), min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_any_sequence_of_loads_leaves_the_last_file_of_each_day_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, sequence: list[tuple[date, Rows]], chance: Any
) -> None:
    """R31, R32, R78: reruns, corrections, old days, any order."""
    worked, straight = (Lake(tmp_path_factory.mktemp("lakes") / name) for name in ("worked", "straight"))
    files: dict[date, Rows] = {}
    for day, rows in sequence:
        load_rows(worked, rows, day, force=True)
        files[day] = rows
    for kind in TYPES:
        assert stored(worked, kind) == expected_rows(files, kind)
    days = list(files)
    chance.shuffle(days)
    for day in days:
        load_rows(straight, files[day], day)
    assert lake_hashes(worked) == lake_hashes(straight)
    assert read_state(worked).days == read_state(straight).days
    for state, lake in ((read_state(worked), worked), (read_state(straight), straight)):
        assert check_fingerprints(lake, state) == []
        assert {kind: sum(types[kind.name].rows for types in state.days.values()) for kind in TYPES} == {
            kind: len(stored(lake, kind)) for kind in TYPES
        }


# --- losing rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [(20, 9, True), (20, 10, False), (21, 10, True), (19, 0, False), (20, 0, True), (40, 20, False), (41, 20, True)],
)
def test_a_day_that_would_lose_more_than_half_of_its_rows_needs_force(
    lake: Lake, before: int, after: int, *, refused: bool
) -> None:
    """R33, section 6: an old day at a source that purged it."""
    load_rows(lake, {RENO: [reno(subscription_id=n) for n in range(before)], ACT: [act()]})
    files = data_hashes(lake)
    write_day(lake, {RENO: [reno(subscription_id=n) for n in range(after)], ACT: [act(rev=1.0)]})
    if refused:
        with pytest.raises(CheckFailed) as failed:
            load(lake)
        assert failed.value.what == (
            f"cvas RENO: the lake has {before} rows of 2025-11-10 and would have {after}, less than half; nothing was "
            "changed."
        )
        left = {name: digest for name, digest in data_hashes(lake).items() if not name.startswith("Daily_Data/")}
        assert left.items() <= files.items()
        assert stored(lake, ACT) == typed(ACT, [act()])
    load(lake, force=refused)
    assert len(stored(lake, RENO)) == after
    assert stored(lake, ACT) == typed(ACT, [act(rev=1.0)])


@pytest.mark.parametrize(("before", "options"), [(15, {}), (19, {}), (20, {"force": True})])
def test_a_day_that_has_no_row_of_a_type_any_more_is_told(lake: Lake, before: int, options: dict[str, bool]) -> None:
    """R33 protects no small day; section 6: zero rows where there were some are never silent."""
    rows = {**FULL_DAY, CNR: [cnr(sbn_id=n) for n in range(before)]}
    assert load_rows(lake, rows).warnings == ()
    result = load_rows(lake, {**FULL_DAY, CNR: []}, **options)
    told = f"CNR: the lake had {before} rows of 2025-11-10 and has none any more, as its file has none."
    assert result.warnings == (told,)
    assert load(lake).warnings == ()


def test_upsert_never_loses_rows(lake: Lake) -> None:
    """R33."""
    load_rows(lake, {RENO: [reno(subscription_id=n) for n in range(50)]})
    load_rows(lake, {}, upsert=True)
    assert len(stored(lake, RENO)) == 50


def test_empty_types_write_nothing(lake: Lake) -> None:
    """R36."""
    result = load_rows(lake, {ACT: [act()]})
    assert list(lake_hashes(lake)) == ["act/year_month=2025-11/data.parquet"]
    assert result.facts["types"]["PPD"] == NOTHING
    assert read_state(lake).days[DAY]["PPD"].rows == 0
    assert read_state(lake).newest_full_day() == DAY


def test_a_day_without_any_row_is_loaded_all_the_same(lake: Lake) -> None:
    load_rows(lake, {})
    assert lake_hashes(lake) == {}
    assert (read_state(lake).change, read_state(lake).newest_full_day()) == (0, DAY)


def test_the_last_rows_of_a_month_take_their_partition_with_them(lake: Lake) -> None:
    """R32: as if they had never been there."""
    load_rows(lake, {ACT: [act()], PPD: [ppd(), ppd(cpc=1)]})
    load_rows(lake, {ACT: [act()]})
    assert list(lake_hashes(lake)) == ["act/year_month=2025-11/data.parquet"]
    assert list((lake.transactions / "ppd").iterdir()) == []


# --- legacy partitions ----------------------------------------------------------------------------------------------


def test_partitions_of_several_files_become_one_sorted_file(lake: Lake) -> None:
    """R35."""
    write_legacy(
        lake, RENO, "2025-11", [reno(trans_date="2025-11-12 00:00:00"), reno(subscription_id=3)], name="b.parquet"
    )
    write_legacy(
        lake, RENO, "2025-11", [reno(trans_date="2025-11-09 00:00:00"), reno(subscription_id=4)], name="a.parquet"
    )
    result = load_rows(lake, {RENO: [reno(subscription_id=5)]})
    assert list(lake_hashes(lake)) == ["reno/year_month=2025-11/data.parquet"]
    assert stored(lake, RENO) == typed(
        RENO, [reno(trans_date="2025-11-09 00:00:00"), reno(subscription_id=5), reno(trans_date="2025-11-12 00:00:00")]
    )
    assert counts(result, RENO)["replaced"] == 2
    # What else is in the lake is not known subscription by subscription: the view is rebuilt.
    assert not touched_file(lake, 1).exists()
    load_rows(lake, {RENO: [reno(subscription_id=6)]})
    assert pl.read_parquet(touched_file(lake, 2)).to_series().to_list() == [5, 6]


def test_a_legacy_file_of_the_usual_name_next_to_others_is_replaced_too(lake: Lake) -> None:
    """R35."""
    write_legacy(lake, ACT, "2025-11", [act(trans_date="2025-11-01 00:00:00")], name="data.parquet")
    write_legacy(lake, ACT, "2025-11", [act(trans_date="2025-11-02 00:00:00")], name="more.parquet")
    load_rows(lake, {ACT: [act()]})
    assert list(lake_hashes(lake)) == ["act/year_month=2025-11/data.parquet"]
    assert len(stored(lake, ACT)) == 3


def test_a_legacy_partition_whose_day_does_not_change_is_left_alone(lake: Lake) -> None:
    write_legacy(lake, ACT, "2025-11", [act()], name="b.parquet")
    write_legacy(lake, ACT, "2025-11", [act(trans_date="2025-11-11 00:00:00")], name="c.parquet")
    files = lake_hashes(lake)
    load_rows(lake, {ACT: [act()]})
    assert lake_hashes(lake) == files
    assert check_fingerprints(lake, read_state(lake)) == []


def test_undated_refunds_stay_where_they_are_and_new_ones_never_go_there(lake: Lake) -> None:
    """R28, R29."""
    old = write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date=None)], name="part-0.parquet")
    before = old.read_bytes()
    result = load_rows(lake, {RFND: [rfnd(refnd_date="2025-11-10"), rfnd(refnd_date=None)]})
    assert old.read_bytes() == before
    assert counts(result, RFND)["rejected"] == 1
    assert "until cvas_repair_refunds has run" in " ".join(result.warnings)
    assert sorted(lake_hashes(lake)) == [
        "rfnd/year_month=2025-11/data.parquet",
        f"rfnd/year_month={UNDATED}/part-0.parquet",
    ]


# --- the files ------------------------------------------------------------------------------------------------------


def refusal(lake: Lake, kind: type[PermanentError], **options: Any) -> PermanentError:
    """The error of a load that changes nothing but, perhaps, the rejects."""
    before = {name: digest for name, digest in data_hashes(lake).items() if "_rejects" not in name}
    with pytest.raises(kind) as refused:
        load(lake, **options)
    after = {name: digest for name, digest in data_hashes(lake).items() if "_rejects" not in name}
    assert after == before
    assert type(refused.value) is kind
    return refused.value


def test_every_missing_file_is_listed(lake: Lake) -> None:
    """R24: one missing type stops the whole load."""
    write_day(lake, FULL_DAY)
    daily_file(lake, DAY, PPD).unlink()
    daily_file(lake, DAY, RENO).unlink()
    missing = refusal(lake, SourceMissing)
    assert missing.what == (
        "cvas: the files of 2025-11-10 are not complete; missing: RENO.csv, PPD.csv. Nothing was loaded."
    )
    assert lake_hashes(lake) == {}


def test_a_day_that_was_never_fetched_is_missing(lake: Lake) -> None:
    assert refusal(lake, SourceMissing).what == (
        "cvas: the files of 2025-11-10 are not complete; missing: ACT.csv, RENO.csv, DCT.csv, PPD.csv, CNR.csv, "
        "RFND.csv. Nothing was loaded."
    )


def test_every_file_that_is_not_as_fetched_or_does_not_belong_there_is_listed(lake: Lake) -> None:
    """R24, section 6: expected and found; extra files of another date."""
    write_day(lake, FULL_DAY)
    fetched = read_manifest(lake, DAY)
    daily_file(lake, DAY, CNR).unlink()
    write_daily(lake, ACT, csv_text(ACT, [act(), act(subscription_id=2)]))
    write_daily(lake, RFND, "")
    (lake.daily(DAY) / "act_atlas_day.csv").write_text("x")
    (lake.daily(DAY) / "ACT_2025-11-09.csv").write_text("x")
    refused = refusal(lake, ContractViolation)
    assert refused.what == (
        "cvas: the files of 2025-11-10 are not complete; missing: CNR.csv; not as fetched: "
        f"ACT.csv (1 rows with SHA-256 {fetched['ACT'].sha256[:12]} were fetched, 2 with 2e24a9f2e0fd are there), "
        f"RFND.csv (1 rows with SHA-256 {fetched['RFND'].sha256[:12]} were fetched, 0 with e3b0c44298fc are there); "
        "none of the six: ACT_2025-11-09.csv, act_atlas_day.csv. Nothing was loaded."
    ).replace("2e24a9f2e0fd", sha256(lake, ACT)[:12])
    assert refused.next_step == (
        "Fetch what is missing or altered of 2025-11-10 again (cvas_fetch), remove what does not belong there, then "
        "clear this task."
    )


def sha256(lake: Lake, kind: TransactionType) -> str:
    return hashlib.sha256(daily_file(lake, DAY, kind).read_bytes()).hexdigest()


def test_a_file_with_other_rows_than_counted_at_the_source_is_refused(lake: Lake) -> None:
    """Section 6: rows ≠ count reported by COPY."""
    write_day(lake, FULL_DAY)
    file = daily_file(lake, DAY, ACT)
    write_entry(lake, DAY, "ACT", FileEntry(rows=7, bytes=file.stat().st_size, sha256=sha256(lake, ACT)))
    refused = refusal(lake, ContractViolation)
    assert refused.what == "cvas ACT: 2025-11-10/ACT.csv: 1 rows instead of the 7 that were fetched."


def test_files_placed_by_hand_are_adopted_with_a_warning(lake: Lake) -> None:
    """R24."""
    write_day(lake, FULL_DAY)
    (lake.daily(DAY) / "_manifest.json").unlink()
    write_manifest(lake, kinds=[RENO])
    fetched = read_manifest(lake, DAY)["RENO"]
    result = load(lake)
    assert result.warnings == (
        "ACT.csv, DCT.csv, PPD.csv, CNR.csv, RFND.csv of 2025-11-10 were placed by hand; they passed the checks and "
        "are in the manifest now.",
    )
    manifest = read_manifest(lake, DAY)
    assert manifest["RENO"] == fetched
    assert manifest["ACT"] == FileEntry(
        rows=1,
        bytes=daily_file(lake, DAY, ACT).stat().st_size,
        sha256=sha256(lake, ACT),
        first_event=at("2025-11-10 16:08:22"),
        last_event=at("2025-11-10 16:08:22"),
        complete=True,
        adopted=True,
    )
    assert is_complete(lake, DAY)
    assert load(lake).warnings == ()


def by_hand(lake: Lake, rows: Rows) -> None:
    for kind in TYPES:
        write_daily(lake, kind, csv_text(kind, rows.get(kind, ())))


def test_files_placed_by_hand_are_adopted_when_they_are_loaded_and_not_before(lake: Lake) -> None:
    """R24: a load that fails says nothing about them, so that they can be corrected and loaded."""
    many = [reno(subscription_id=n) for n in range(40)]
    load_rows(lake, {**FULL_DAY, RENO: many})
    (lake.daily(DAY) / "_manifest.json").unlink()
    by_hand(lake, {**FULL_DAY, RENO: many[:5]})
    refusal(lake, CheckFailed)
    assert read_manifest(lake, DAY) == {}
    by_hand(lake, {**FULL_DAY, RENO: [*many, reno(subscription_id=99)]})
    load(lake)
    assert read_manifest(lake, DAY)["RENO"].rows == len(stored(lake, RENO)) == 41


def test_a_file_placed_by_hand_may_be_replaced_by_hand(lake: Lake) -> None:
    """R24, R32: nobody fetched it, so there is nothing to fetch again."""
    early = datetime.fromisoformat("2025-11-10T22:30:00+00:00")
    by_hand(lake, FULL_DAY)
    load_transactions(lake, day=DAY, now=early, settings=Settings(), allow_partial=True)
    by_hand(lake, {**FULL_DAY, ACT: [act(), act(subscription_id=2)]})
    for kind in (RENO, DCT, PPD, CNR, RFND):
        write_manifest(lake, kinds=[kind])
    assert load(lake).warnings == (
        "ACT.csv (in place of an older one) of 2025-11-10 were placed by hand; they passed the checks and are in the "
        "manifest now.",
    )
    assert (len(stored(lake, ACT)), read_manifest(lake, DAY)["ACT"].rows) == (2, 2)
    assert {entry.complete for entry in read_manifest(lake, DAY).values()} == {True}
    assert load(lake).warnings == ()


def test_files_of_another_day_are_not_adopted(lake: Lake) -> None:
    """R21, R24."""
    write_day(lake, {RENO: [reno(trans_date="2025-11-09 10:00:00")]})
    (lake.daily(DAY) / "_manifest.json").unlink()
    refused = refusal(lake, ContractViolation)
    assert refused.what == (
        "cvas RENO: 2025-11-10/RENO.csv: its events are of 2025-11-09 10:00:00 to 2025-11-09 10:00:00, not of "
        "2025-11-10."
    )


def test_a_day_fetched_before_it_was_over_needs_to_be_allowed_and_is_not_full(lake: Lake) -> None:
    """R2, R47."""
    write_day(lake, FULL_DAY)
    write_manifest(lake, complete=False, kinds=[ACT, CNR])
    refused = refusal(lake, RequestRefused)
    assert refused.what == "cvas: ACT, CNR of 2025-11-10 were fetched before the day was over."
    load(lake, allow_partial=True)
    sources = {name: loaded.source for name, loaded in read_state(lake).days[DAY].items()}
    assert sources == {
        "ACT": "partial",
        "RENO": "daily",
        "DCT": "daily",
        "PPD": "daily",
        "CNR": "partial",
        "RFND": "daily",
    }
    assert read_state(lake).newest_full_day() is None
    write_manifest(lake)
    load(lake)
    assert read_state(lake).newest_full_day() == DAY


def test_files_placed_by_hand_before_the_day_is_over_are_partial_too(lake: Lake) -> None:
    """R2: the local day of Madrid decides, where it is 00:30 already."""
    write_day(lake, FULL_DAY)
    (lake.daily(DAY) / "_manifest.json").unlink()
    late = datetime.fromisoformat("2025-11-10T22:30:00+00:00")
    with pytest.raises(RequestRefused):
        load_transactions(lake, day=DAY, now=late, settings=Settings())
    load_transactions(lake, day=DAY, now=late, settings=Settings(), allow_partial=True)
    assert {(entry.complete, entry.adopted) for entry in read_manifest(lake, DAY).values()} == {(False, True)}
    # An hour later it is over, but the files are those of before.
    with pytest.raises(RequestRefused):
        load(lake)
    (lake.daily(DAY) / "_manifest.json").unlink()
    load_transactions(lake, day=DAY, now=late + timedelta(hours=1), settings=Settings())
    assert is_complete(lake, DAY)


def test_all_types_that_are_no_good_are_in_one_error(lake: Lake) -> None:
    write_day(lake, FULL_DAY)
    write_daily(lake, ACT, csv_text(ACT, [act()]).replace("rev", "revenue"))
    write_daily(lake, RFND, csv_text(RFND, [rfnd(refnd_date="2025-11-11")]))
    write_manifest(lake)
    refused = refusal(lake, ContractViolation)
    assert refused.what == (
        "cvas ACT: 2025-11-10/ACT.csv: the header is not as agreed, columns missing: rev; unknown: revenue. "
        "cvas RFND: 2025-11-10/RFND.csv: its events are of 2025-11-11 00:00:00 to 2025-11-11 00:00:00, not of "
        "2025-11-10."
    )
    assert refused.next_step == "Ask who runs the source what changed. Fetch RFND of 2025-11-10 again."


# --- rejects --------------------------------------------------------------------------------------------------------


def rejects_file(lake: Lake, kind: TransactionType) -> Path:
    return lake.daily(DAY) / "_rejects" / f"{kind.name}.csv"


def test_rejected_rows_are_kept_beside_the_files_and_the_others_are_loaded(lake: Lake) -> None:
    """R27, section 4.5."""
    rows = [act(), act(subscription_id=2, rev=f"{PHONE}x"), act(subscription_id=None)]
    result = load_rows(lake, {ACT: rows, RFND: [rfnd(rfnd_cnt="many")], CNR: [cnr()]})
    assert rejects_file(lake, ACT).read_text() == (
        "row,column,reason,value\n3,rev,not a number,***x\n4,subscription_id,missing,\n"
    )
    assert sorted(path.name for path in rejects_file(lake, ACT).parent.iterdir()) == ["ACT.csv", "RFND.csv"]
    assert result.warnings == (
        "cvas ACT: 2025-11-10/ACT.csv: 2 of 3 rows rejected, see _rejects.",
        "cvas RFND: 2025-11-10/RFND.csv: 1 of 1 rows rejected, see _rejects.",
    )
    assert (result.read, result.written, result.rejected) == (5, 2, 3)
    assert stored(lake, ACT) == typed(ACT, [act()])


def test_rejects_of_a_file_that_was_corrected_go(lake: Lake) -> None:
    load_rows(lake, {ACT: [act(rev="x")]})
    assert rejects_file(lake, ACT).exists()
    load_rows(lake, {ACT: [act()]})
    assert not rejects_file(lake, ACT).parent.exists()


def test_too_many_rejects_of_one_type_stop_all_of_them_and_can_be_looked_at(lake: Lake) -> None:
    """R27."""
    write_day(lake, {**FULL_DAY, RENO: [reno(subscription_id=n, rev="x" if n < 6 else 1) for n in range(30)]})
    refused = refusal(lake, ContractViolation)
    assert refused.what == (
        "cvas RENO: 2025-11-10/RENO.csv: 6 of 30 rows rejected, 5 allowed; the first is line 2, column 'rev', not a "
        "number: 'x'."
    )
    assert rejects_file(lake, RENO).read_text().count("\n") == 7
    assert lake_hashes(lake) == {}
    load(lake, settings=Settings(max_reject_rows=6))
    assert len(stored(lake, RENO)) == 24


def test_warnings_about_rows_reach_the_result_and_the_log_without_any_subscriber(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """R5, R27."""
    rows = [act(tmuserid=None, channel_id=f"9{USER}"), act(subscription_id=2, cpc=None)]
    with caplog.at_level(logging.DEBUG):
        result = load_rows(lake, {ACT: rows, RENO: [reno(rev=PHONE + "x", msisdn=PHONE)]})
    assert result.warnings[:3] == (
        "cvas ACT: 2025-11-10/ACT.csv: 1 rows with a channel_id that is not an integer, which is left empty.",
        "cvas ACT: 2025-11-10/ACT.csv: 1 rows without cpc, kept.",
        "cvas ACT: 2025-11-10/ACT.csv: 1 rows without tmuserid, kept.",
    )
    logs = "".join(path.read_text() for path in lake.logs.rglob("*") if path.is_file())
    for text in (caplog.text, repr(result), logs, rejects_file(lake, RENO).read_text()):
        assert USER not in text
        assert PHONE not in text


# --- what can go wrong in the lake and around it --------------------------------------------------------------------


def test_an_unreadable_partition_of_the_month_is_named(lake: Lake) -> None:
    """Section 6."""
    load_rows(lake, {RENO: [reno(trans_date="2025-11-09 00:00:00")]}, EVE)
    path = partition_path(lake, RENO, "2025-11")
    path.write_bytes(path.read_bytes()[:-100])
    write_day(lake, FULL_DAY)
    failed = refusal(lake, CheckFailed)
    assert failed.what.startswith(f"cvas: {path} cannot be read: ")
    assert failed.next_step == ("Move it away, then fetch and load the days of 2025-11 again, or import reno anew.")
    path.unlink()
    load(lake)
    load(lake, EVE)
    assert len(stored(lake, RENO)) == 3


def test_a_second_load_and_other_users_of_the_store_are_refused(lake: Lake) -> None:
    """R3, section 6: two runs at once."""
    write_day(lake, FULL_DAY)
    with writing(lake, "cvas_load", RunLog()):
        refusal(lake, AlreadyRunning)
    with reading(lake, "cvas_view"), pytest.raises(StoreBusy, match="cvas_load has to wait: a reader holds lake"):
        load(lake)
    with locks.hold(lake.daily_lock(DAY), "cvas_fetch"), pytest.raises(StoreBusy, match="cvas_fetch"):
        load(lake)
    with locks.hold(lake.daily_lock(EVE), "cvas_fetch"):
        load(lake)


LOADER = """
import os, signal, sys
from datetime import date, datetime
from pathlib import Path
from include.cvas.config import Lake, Settings
from include.cvas.load import load_transactions
root, last = sys.argv[1], int(sys.argv[2])
count = 0
def hook(event, arguments):
    global count
    if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir") and str(arguments[0]).startswith(root):
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
sys.addaudithook(hook)
now = datetime.fromisoformat(sys.argv[4])
load_transactions(Lake(Path(root)), day=date.fromisoformat(sys.argv[3]), now=now, settings=Settings())
"""


def loader(lake: Lake, *, killed_at: int = -1) -> subprocess.Popen[str]:
    """Another process that loads the day, and dies before its ``killed_at``-th change of a name on the disk."""
    command = [sys.executable, "-c", LOADER, str(lake.root), str(killed_at), str(DAY), NOW.isoformat()]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_of_two_loads_at_the_same_time_one_does_the_work(lake: Lake) -> None:
    """R3, section 6: and the other one too, if it comes late enough, which changes nothing."""
    write_day(lake, FULL_DAY)
    both = [loader(lake) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 1])
    assert codes == [0, 0] or any("AlreadyRunning" in error for error in errors)
    assert read_state(lake).change == 1
    assert len(stored(lake, RENO)) == 2


BEFORE: Rows = {
    ACT: [act(trans_date="2025-11-01 00:00:00")],
    RENO: [reno(rev=0.5), reno(subscription_id=1)],
    PPD: [ppd()],
}
AFTER: Rows = {ACT: [act()], RENO: [reno(), reno(subscription_id=2)], RFND: [rfnd()]}


def prepared(root: Path) -> Lake:
    """A lake before the load: a month to be changed, one of several files, one to go, one to come."""
    lake = Lake(root)
    fill_lake(lake, {kind: BEFORE[kind] for kind in (ACT, PPD)})
    write_legacy(lake, RENO, "2025-11", BEFORE[RENO][:1], name="part-0.parquet")
    write_legacy(lake, RENO, "2025-11", BEFORE[RENO][1:], name="part-1.parquet")
    write_day(lake, AFTER)
    return lake


def test_a_load_killed_at_any_point_is_completed_or_undone_by_the_next_one(tmp_path: Path) -> None:
    """R35, R78, section 6: killed before every change of a name, from the first staged file to the last clean-up."""
    straight = prepared(tmp_path / "straight")
    old = lake_hashes(straight)
    load(straight)
    new = lake_hashes(straight)
    assert len({*old, *new}) == 6
    seen = []
    for first in itertools.count(step=2):
        # Two at a time: there are two cores, and starting takes longest.
        lakes = [prepared(tmp_path / str(first + n)) for n in range(2)]
        running = [loader(lake, killed_at=first + n) for n, lake in enumerate(lakes)]
        codes = [process.wait(60) for process in running]
        for process in running:
            assert process.stderr is not None
            process.stderr.close()
        for lake, code in zip(lakes, codes, strict=True):
            if code == 0:
                continue
            assert code == -signal.SIGKILL
            pending = (staging_of(lake) / "journal.json").exists()
            begun = staging_of(lake).exists() and any(staging_of(lake).iterdir())
            left = lake_hashes(lake)
            assert all(digest in {*old.values(), *new.values()} for digest in left.values())  # no half file
            if pending:
                with pytest.raises(StoreBusy), reading(lake, "cvas_view"):
                    pass
            else:
                assert left in (old, new)
            result = load(lake)
            assert lake_hashes(lake) == new
            assert read_state(lake).days == read_state(straight).days
            assert check_fingerprints(lake, read_state(lake)) == []
            assert not staging_of(lake).exists()
            warnings = [warning for warning in result.warnings if "killed" in warning]
            if pending:
                assert "it is complete now" in warnings[0]
            elif begun:
                assert "it was undone" in warnings[0]
            else:
                assert warnings == []
            seen.append("finished" if pending else "undone" if left == old else "done")
        if 0 in codes:
            break
    assert [phase for phase, _ in itertools.groupby(seen)] == ["undone", "finished", "done"]
    assert seen.count("finished") > len({*old, *new})


def test_a_disk_with_too_little_space_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """R69, section 6."""
    with small_disk(tmp_path / "disk", 8_000_000) as disk:
        if not disk:
            pytest.skip("mounting is not allowed here")
        lake = Lake(disk / "lake")
        write_day(lake, FULL_DAY)
        size = sum(daily_file(lake, DAY, kind).stat().st_size for kind in TYPES)
        full = refusal(lake, StoreFull)
        assert f"{2 * size + 1024**3:,} are needed to go on; nothing was changed." in full.what
        assert " bytes free" in full.what
        assert lake_hashes(lake) == {}


def test_a_damaged_state_does_not_stop_the_load(lake: Lake) -> None:
    """Section 6: state file corrupt."""
    load_rows(lake, FULL_DAY)
    files = lake_hashes(lake)
    state_file(lake).write_text('{"change": 1')
    result = load(lake)
    assert "is damaged" in result.warnings[0]
    assert lake_hashes(lake) == files
    assert {name: loaded.source for name, loaded in read_state(lake).days[DAY].items()} == dict.fromkeys(
        [kind.name for kind in TYPES], "daily"
    )


# --- files with defects ---------------------------------------------------------------------------------------------

NO_COLUMN = "the first line has none of the agreed columns."
OF_9TH = "its events are of 2025-11-09 16:08:22 to 2025-11-09 16:08:22, not of 2025-11-10."
STRAY = "a quote stands in the middle of a field or is not closed."
SIX = "6 of 12 rows rejected, 5 allowed; the first is line 2, "
CUT = "the row has no end, the file is cut off."
DEFECTS = {
    "another day": OF_9TH,
    "bad dates": f"{SIX}column 'trans_date', not a date or time: '10/11/2025 16:08'.",
    "bad numbers": f"{SIX}column 'rev', not a number: '5.36 EUR'.",
    "blank line in the middle": "line 3: 1 fields instead of 15.",
    "blank line at the end": "line 5: 1 fields instead of 15.",
    "column added": "the header is not as agreed, columns unknown: note.",
    "column doubled": "the header is not as agreed, columns there more than once: cpc.",
    "column removed": "the header is not as agreed, columns missing: rev.",
    "column renamed": "the header is not as agreed, columns missing: subscription_id; unknown: sub_id.",
    "columns in upper case": NO_COLUMN,
    "compressed": "the header is no line of a CSV in UTF-8.",
    "cut off in a row": f"line 4: {CUT}",
    "cut off in the header": "it is empty or has no complete header line.",
    "cut off in the last value": f"line 4: {CUT}",
    "decimal comma": "line 2: 16 fields instead of 15.",
    "delimiter at the end of rows": "line 2: 16 fields instead of 15.",
    "empty": "it is empty or has no complete header line.",
    "fewer columns in a row": "line 3: 14 fields instead of 15.",
    "html error page": NO_COLUMN,
    "ids missing": f"{SIX}column 'subscription_id', missing.",
    "latin-1": "line 3: the byte 0xf3 is not UTF-8.",
    "no header": NO_COLUMN,
    "other line ends": "it is empty or has no complete header line.",
    "quote in the middle": f"line 3: {STRAY}",
    "quote not closed": f"line 3: {CUT}",
    "rows of another type": f"{SIX}column 'trans_type_id', not 1, the type of ACT: '2'.",
    "semicolons": NO_COLUMN,
    "some rows of another day": "its events are of 2025-11-10 16:08:22 to 2025-11-11 00:00:00, not of 2025-11-10.",
    "total at the end": "line 5: 2 fields instead of 15.",
    "utf-16": "the header is no line of a CSV in UTF-8.",
}


def test_the_corpus_is_what_its_maker_makes() -> None:
    assert {path.stem: path.read_bytes() for path in FOLDER.glob("*.csv")} == corpus()
    assert corpus().keys() == DEFECTS.keys()


@pytest.mark.parametrize("name", DEFECTS)
def test_a_file_with_a_defect_is_refused_and_nothing_changes(
    lake: Lake, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Section 6, R5: named with type, file and line; no subscriber's number anywhere."""
    load_rows(lake, {**FULL_DAY, ACT: [act(subscription_id=n) for n in (1, 2, 3)]})
    content = corpus()[name]
    (lake.daily(DAY) / "_manifest.json").unlink()
    write_daily(lake, ACT, content)
    with caplog.at_level(logging.DEBUG):
        refused = refusal(lake, ContractViolation)
    separator = ", " if DEFECTS[name].startswith("line ") else ": "
    assert refused.what == f"cvas ACT: 2025-11-10/ACT.csv{separator}{DEFECTS[name]}"
    assert refused.next_step.endswith(".")
    logs = "".join(path.read_text() for path in lake.logs.rglob("*") if path.is_file())
    rejects = rejects_file(lake, ACT).read_text() if rejects_file(lake, ACT).exists() else ""
    for text in (
        str(refused),
        *getattr(refused, "__notes__", ()),
        caplog.text,
        logs,
        rejects,
    ):
        assert not any(number in text for number in ("03400000", "346000000"))
    write_daily(lake, ACT, csv_text(ACT, [act(subscription_id=n) for n in (1, 2, 3)]))
    assert load(lake).written == 0


def test_stored_rows_equal_a_frame_of_them(lake: Lake) -> None:
    """The helpers of these tests tell the truth."""
    load_rows(lake, {DCT: [dct()]})
    assert read_partition(lake, DCT, "2025-11").equals(frame(DCT, [dct()]))
