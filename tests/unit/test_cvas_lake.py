"""The lake's partitions, what is known about them, and changes that are seen as a whole (section 4.1, R30, R34-R36)."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.common.journal import RunLog
from include.cvas.config import Lake
from include.cvas.contract import ACT, CNR, PPD, RENO, RFND, TYPES, TransactionType
from include.cvas.lake import (
    ROWS_PER_GROUP,
    UNDATED,
    Fingerprint,
    LakeState,
    LoadedDay,
    accept_losses,
    check_fingerprints,
    in_order,
    partition_files,
    partition_path,
    read_partition,
    read_state,
    reading,
    staging_of,
    state_file,
    told_losses,
    touched_file,
    write_parquet,
    writing,
)
from include.errors import AlreadyRunning, CheckFailed, StoreBusy, StoreFull
from sandbox.servers.faults import small_disk
from tests.unit.cvas_helpers import (
    DAY,
    act,
    cnr,
    data_hashes,
    file_hashes,
    fill_lake,
    frame,
    lake_hashes,
    ppd,
    reno,
    rfnd,
    row,
    stored,
    typed,
    write_legacy,
)

OLD = "Partitions were changed by something else than the pipeline and are taken as they are: "


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def adopt(lake: Lake) -> list[str]:
    """Begin and publish a change that changes nothing; the warnings."""
    run = RunLog()
    with writing(lake, "cvas_test", run) as change:
        change.publish(None)
    return run.warnings


# --- partitions -----------------------------------------------------------------------------------------------------


def test_partitions_lie_by_type_and_month_under_one_name(lake: Lake) -> None:
    """Section 4.1."""
    fill_lake(lake, {ACT: [act(), act(trans_date="2025-10-31 23:59:59.999999")], RFND: [rfnd()]})
    assert sorted(lake_hashes(lake)) == [
        "act/year_month=2025-10/data.parquet",
        "act/year_month=2025-11/data.parquet",
        "rfnd/year_month=2025-11/data.parquet",
    ]
    assert partition_files(lake, ACT) == {
        "2025-10": [partition_path(lake, ACT, "2025-10")],
        "2025-11": [partition_path(lake, ACT, "2025-11")],
    }


def test_a_type_without_any_file_is_an_empty_table_with_the_right_schema(lake: Lake) -> None:
    """R36."""
    assert partition_files(lake, PPD) == {}
    nothing = read_partition(lake, PPD, "2025-11")
    assert (nothing.height, dict(nothing.schema)) == (0, PPD.schema())


def test_files_hold_the_columns_of_the_contract_and_not_the_month(lake: Lake) -> None:
    """Section 4.1, R71."""
    fill_lake(lake, {ACT: [act()]})
    path = partition_path(lake, ACT, "2025-11")
    assert list(pl.read_parquet_schema(path).items()) == list(ACT.schema().items())
    with duckdb.connect() as engine:
        rows = engine.execute("SELECT DISTINCT compression FROM parquet_metadata(?)", [str(path)]).fetchall()
        types = engine.execute(
            "SELECT name, type FROM parquet_schema(?) WHERE type IS NOT NULL", [str(path)]
        ).fetchall()
    assert rows == [("SNAPPY",)]
    assert dict(types)["trans_date"] == "INT64"
    assert dict(types)["tmuserid"] == "BYTE_ARRAY"
    assert path.stat().st_mode & 0o777 == 0o640


def test_readers_of_the_recursive_pattern_get_the_month_as_text_and_undated_rows_as_null(lake: Lake) -> None:
    """R30: nobody has to change anything."""
    fill_lake(lake, {RFND: [rfnd(), rfnd(refnd_date="2025-10-03")]})
    write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date=None, rfnd_amount=1.0)], name="part-0.parquet")
    pattern = str(lake.transactions / "rfnd" / "**" / "*.parquet")
    with duckdb.connect() as engine:
        found = engine.execute(
            "SELECT year_month, typeof(year_month), rfnd_amount, refnd_date IS NULL"
            " FROM read_parquet(?, hive_partitioning = true) ORDER BY ALL NULLS LAST",
            [pattern],
        ).fetchall()
        assert engine.execute(
            "SELECT count(*) FROM read_parquet(?, hive_partitioning = true) WHERE year_month = '2025-10'", [pattern]
        ).fetchall() == [(1,)]
    assert found[:2] == [("2025-10", "VARCHAR", 3.69, False), ("2025-11", "VARCHAR", 3.69, False)]
    assert found[2] == (None, "VARCHAR", 1.0, True)
    by_polars = pl.read_parquet(lake.transactions / "rfnd" / "**" / "*.parquet", hive_partitioning=True)
    assert by_polars.schema["year_month"] == pl.String
    assert sorted(by_polars["year_month"].to_list(), key=str) == ["2025-10", "2025-11", None]


def test_several_files_of_a_partition_are_read_in_the_order_of_their_names(lake: Lake) -> None:
    """R35: legacy partitions."""
    write_legacy(lake, ACT, "2025-11", [act(subscription_id=2)], name="part-1.parquet")
    write_legacy(lake, ACT, "2025-11", [act(subscription_id=1)], name="part-0.parquet")
    assert read_partition(lake, ACT, "2025-11")["subscription_id"].to_list() == [1, 2]
    assert [path.name for path in partition_files(lake, ACT)["2025-11"]] == ["part-0.parquet", "part-1.parquet"]


def test_files_that_say_the_month_inside_or_have_narrower_types_are_read_as_agreed(lake: Lake) -> None:
    path = partition_path(lake, CNR, "2025-11")
    path.parent.mkdir(parents=True)
    rows = frame(CNR, [cnr()]).with_columns(pl.lit("2025-11").alias("year_month"), pl.col("cpc").cast(pl.Int32))
    rows.select(reversed(rows.columns)).write_parquet(path)
    assert read_partition(lake, CNR, "2025-11").equals(frame(CNR, [cnr()]))


def test_other_columns_than_agreed_are_named(lake: Lake) -> None:
    path = partition_path(lake, CNR, "2025-11")
    path.parent.mkdir(parents=True)
    frame(CNR, [cnr()]).rename({"mode": "way"}).write_parquet(path)
    with pytest.raises(CheckFailed) as failed:
        read_partition(lake, CNR, "2025-11")
    assert failed.value.what == f"cvas: {path} has other columns than agreed: mode, way."
    assert failed.value.next_step == (
        "Move it away, then fetch and load the days of 2025-11 again, or import cnr anew."
    )


def test_values_of_another_kind_are_an_error_without_the_values(lake: Lake) -> None:
    """R5."""
    path = partition_path(lake, CNR, "2025-11")
    path.parent.mkdir(parents=True)
    frame(CNR, [cnr()]).with_columns(
        pl.lit("34600000017").alias("mode"), pl.lit("0340000000000000017x").alias("cpc")
    ).write_parquet(path)
    with pytest.raises(CheckFailed) as failed:
        read_partition(lake, CNR, "2025-11")
    assert failed.value.what.startswith(f"cvas: {path} cannot be read: ")
    assert "034000000000000001" not in str(failed.value)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "zeros", "flipped"])
def test_an_unreadable_partition_is_named(lake: Lake, damage: str) -> None:
    """Section 6."""
    fill_lake(lake, {ACT: [act(subscription_id=n) for n in range(500)]})
    path = partition_path(lake, ACT, "2025-11")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[200:260] = bytes(255 - byte for byte in content[200:260])
    path.write_bytes(
        {
            "empty": b"",
            "text": b"<html>502 Bad Gateway</html>",
            "cut": bytes(content[: len(content) // 2]),
            "zeros": bytes(len(content)),
            "flipped": bytes(content),
        }[damage]
    )
    with pytest.raises(CheckFailed) as failed:
        read_partition(lake, ACT, "2025-11")
    assert failed.value.what.startswith(f"cvas: {path} cannot be read: ")
    assert "2025-11" in failed.value.next_step


@pytest.mark.parametrize("place", ["data.parquet", "year_month=2025/data.parquet", "tmp/data.parquet"])
def test_a_parquet_file_outside_of_the_partitions_is_an_error(lake: Lake, place: str) -> None:
    """Section 4.1: other readers would take its rows for ours."""
    path = lake.transactions / "act" / place
    path.parent.mkdir(parents=True)
    frame(ACT, [act()]).write_parquet(path)
    with pytest.raises(CheckFailed, match="lies in no partition"):
        partition_files(lake, ACT)


def test_rows_are_in_a_total_order() -> None:
    """Section 4.1: by date, then id; then by everything else, nulls last."""
    rows = [
        act(subscription_id=1, cpc=1),
        act(subscription_id=1, cpc=None),
        act(subscription_id=2, cpc=1, rev=1.0),
        act(subscription_id=2, cpc=1, rev=2.0),
        act(trans_date="2025-11-10 16:08:23", subscription_id=0),
    ]
    assert in_order(frame(ACT, reversed(rows)), ACT).equals(frame(ACT, rows))


@hypothesis_settings(max_examples=20)
@given(st.integers(0, ROWS_PER_GROUP + 500), st.integers(0, ROWS_PER_GROUP + 500))
def test_a_file_depends_on_its_rows_and_not_on_how_they_lay_in_memory(
    tmp_path_factory: pytest.TempPathFactory, first: int, second: int
) -> None:
    """R32: byte-identical partitions."""
    folder = tmp_path_factory.mktemp("files")
    rows = pl.DataFrame({"a": range(2 * ROWS_PER_GROUP), "b": [f"text {n % 977}" for n in range(2 * ROWS_PER_GROUP)]})
    cut, again = sorted((first, second))
    pieces = pl.concat([rows[:cut], rows[cut:again], rows[again:]], rechunk=False)
    write_parquet(rows.rechunk(), folder / "whole")
    write_parquet(pieces, folder / "pieces")
    write_parquet(pl.read_parquet(folder / "whole"), folder / "copy")
    hashes = file_hashes(folder)
    assert hashes["whole"] == hashes["pieces"] == hashes["copy"]


# --- what is known --------------------------------------------------------------------------------------------------


def test_a_change_is_numbered_and_leaves_its_touched_subscriptions_and_fingerprints(lake: Lake) -> None:
    fill_lake(
        lake, {ACT: [act(subscription_id=5), act(subscription_id=3)], PPD: [ppd(subscription_id=9)]}, touched=True
    )
    state = read_state(lake)
    assert state.change == 1
    assert pl.read_parquet(touched_file(lake, 1)).to_dict(as_series=False) == {"subscription_id": [3, 5]}
    path = partition_path(lake, ACT, "2025-11")
    assert sorted(state.partitions) == ["act/2025-11", "ppd/2025-11"]
    assert state.partitions["act/2025-11"] == Fingerprint(
        rows=2,
        bytes=path.stat().st_size,
        sha256=file_hashes(path.parent)["data.parquet"],
        mtime_ns=path.stat().st_mtime_ns,
    )
    assert state.days[DAY]["ACT"] == LoadedDay(2, "daily")
    assert check_fingerprints(lake, state) == []
    fill_lake(lake, {CNR: [cnr(sbn_id=7)]})
    assert read_state(lake).change == 2
    assert not touched_file(lake, 2).exists()
    assert [path.suffix for path in lake.root.rglob("*") if path.is_file() and path.suffix == ".tmp"] == []


def test_a_change_of_nothing_writes_nothing(lake: Lake) -> None:
    assert adopt(lake) == []
    assert not lake.state.exists()
    fill_lake(lake, {ACT: [act()]})
    files = data_hashes(lake)
    assert adopt(lake) == []
    with writing(lake, "cvas_test", RunLog()) as change:
        assert change.write(ACT, "2025-11", change.read(ACT, "2025-11")) == 0
        change.publish(None)
    assert data_hashes(lake) == files


def test_nothing_is_seen_of_a_change_that_fails_or_is_not_published(lake: Lake) -> None:
    fill_lake(lake, {ACT: [act()]})
    files = data_hashes(lake)
    with pytest.raises(ZeroDivisionError), writing(lake, "cvas_test", RunLog()) as change:  # noqa: PT012
        change.write(ACT, "2025-11", frame(ACT, [act(rev=1.0)]))
        change.write(RENO, "2025-11", frame(RENO, [reno()]))
        assert change.read(RENO, "2025-11").equals(frame(RENO, [reno()]))
        assert file_hashes(lake.transactions) == {"act/year_month=2025-11/data.parquet": lake_hashes(lake).popitem()[1]}
        raise ZeroDivisionError
    with writing(lake, "cvas_test", RunLog()) as change:
        change.write(ACT, "2025-11", frame(ACT, []))
    assert data_hashes(lake) == files
    assert not staging_of(lake).exists()


def test_the_last_thing_written_to_a_partition_counts(lake: Lake) -> None:
    fill_lake(lake, {ACT: [act()], CNR: [cnr()]})
    write_legacy(lake, RENO, "2025-11", [reno()], name="part-0.parquet")
    before = lake_hashes(lake)["act/year_month=2025-11/data.parquet"]
    with writing(lake, "cvas_test", RunLog()) as change:
        for kind, rows in (
            (ACT, []),
            (ACT, [act(rev=1.0)]),
            (ACT, [act()]),
            (CNR, [cnr(cpc=1)]),
            (CNR, []),
            (RENO, []),
        ):
            change.write(kind, "2025-11", frame(kind, rows))
            assert change.read(kind, "2025-11").equals(frame(kind, rows))
        change.write(RENO, "2025-11", frame(RENO, [reno(rev=1.0)]))
        change.publish(None)
    assert lake_hashes(lake)["act/year_month=2025-11/data.parquet"] == before
    assert (stored(lake, CNR), stored(lake, RENO)) == ([], typed(RENO, [reno(rev=1.0)]))
    assert check_fingerprints(lake, read_state(lake)) == []


def test_a_partition_without_rows_goes_with_its_folder(lake: Lake) -> None:
    fill_lake(lake, {ACT: [act(), act(trans_date="2025-10-01 00:00:00")]})
    with writing(lake, "cvas_test", RunLog()) as change:
        change.write(ACT, "2025-11", frame(ACT, []))
        change.publish(None)
    assert list((lake.transactions / "act").iterdir()) == [lake.transactions / "act" / "year_month=2025-10"]
    assert check_fingerprints(lake, read_state(lake)) == []


def test_the_newest_full_day_is_over_and_has_every_type_that_cannot_be_empty() -> None:
    """R47."""
    state = LakeState()
    assert state.newest_full_day() is None
    for kind in TYPES:
        state.record(date(2025, 11, 1), kind, LoadedDay(1, "found"))
        state.record(date(2025, 11, 3), kind, LoadedDay(1, "partial" if kind is CNR else "daily"))
        state.record(date(2025, 11, 4), kind, LoadedDay(1, "daily"))
    assert state.newest_full_day() == date(2025, 11, 4)
    state.forget(date(2025, 11, 4), RFND)
    assert state.newest_full_day() == date(2025, 11, 1)
    for kind in TYPES:
        if kind is not PPD:
            state.record(date(2025, 11, 2), kind, LoadedDay(0, "historical"))
    assert state.newest_full_day() == date(2025, 11, 2)


def test_partitions_that_are_not_as_they_were_left_are_named(lake: Lake) -> None:
    """R53 h."""
    fill_lake(lake, {ACT: [act(), act(trans_date="2025-10-01 00:00:00")], RENO: [reno()], CNR: [cnr()]})
    state = read_state(lake)
    partition_path(lake, CNR, "2025-11").unlink()
    changed = partition_path(lake, ACT, "2025-11")
    frame(ACT, [act(rev=1.0)]).write_parquet(changed, compression="snappy")
    copied = partition_path(lake, RENO, "2025-11")
    os.utime(copied, (1, 1))  # the same bytes
    write_legacy(lake, PPD, "2025-11", [ppd()], name="x.parquet")
    write_legacy(lake, ACT, "2025-10", [act(trans_date="2025-10-02 00:00:00")], name="one more.parquet")
    assert check_fingerprints(lake, state) == ["act/2025-10", "act/2025-11", "cnr/2025-11", "ppd/2025-11"]


def test_a_partition_of_the_same_size_and_time_but_another_place_is_known_by_them(lake: Lake) -> None:
    """Cheap: a daily check reads no partition."""
    fill_lake(lake, {ACT: [act()]})
    state, path = read_state(lake), partition_path(lake, ACT, "2025-11")
    moment = path.stat().st_mtime_ns
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, ns=(moment, moment))
    assert check_fingerprints(lake, state) == []


def test_partitions_changed_by_others_are_taken_as_they_are_with_a_warning(lake: Lake) -> None:
    """R53 h: a change without touched subscriptions, so that the view is rebuilt."""
    fill_lake(lake, {ACT: [act()], CNR: [cnr(), cnr(cancel_date="2025-10-02 00:00:00")]}, touched=True)
    frame(ACT, [act(rev=1.0), act(trans_date="2025-11-12 00:00:00")]).write_parquet(
        partition_path(lake, ACT, "2025-11")
    )
    shutil.rmtree(partition_path(lake, CNR, "2025-10").parent)
    write_legacy(lake, RENO, "2024-01", [reno(trans_date="2024-01-02 00:00:00")], name="part-0.parquet")
    write_legacy(lake, RENO, "2024-01", [reno(trans_date="2024-01-02 00:00:01")], name="part-1.parquet")
    write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date=None)], name="part-0.parquet")
    assert adopt(lake) == [f"{OLD}act/2025-11, reno/2024-01, rfnd/{UNDATED}, cnr/2025-10 (gone)."]
    state = read_state(lake)
    assert (state.change, check_fingerprints(lake, state)) == (2, [])
    assert not touched_file(lake, 2).exists()
    assert {name: each.rows for name, each in state.partitions.items()} == {
        "act/2025-11": 2,
        "cnr/2025-11": 1,
        "reno/2024-01": 2,
        f"rfnd/{UNDATED}": 1,
    }
    days = {
        day.isoformat(): {name: (x.rows, x.source) for name, x in types.items()} for day, types in state.days.items()
    }
    nothing = {"RENO": (0, "daily"), "DCT": (0, "daily"), "PPD": (0, "daily"), "RFND": (0, "daily")}
    assert days == {
        "2024-01-02": {"RENO": (2, "found")},
        # It has as many rows as were loaded.
        "2025-11-10": {"ACT": (1, "daily"), "CNR": (1, "daily"), **nothing},
        "2025-10-02": {"ACT": (0, "daily"), **nothing},
        "2025-11-12": {"ACT": (1, "found")},
    }
    assert state.lost == {"cnr/2025-10": {date(2025, 10, 2): 1}}
    assert adopt(lake) == []


@pytest.mark.parametrize("kind", TYPES)
def test_rows_that_something_else_took_away_are_lost_until_their_days_are_loaded_again(
    lake: Lake, kind: TransactionType
) -> None:
    """R53 i: a partition that is gone, or lacks a day, is told until somebody does something about it."""
    moments = ("2025-10-02 00:00:00", "2025-11-09 00:00:00", "2025-11-10 00:00:00")
    rows = [row(kind, **{kind.event_date: moment}) for moment in moments]
    fill_lake(lake, {kind: [*rows, row(kind, **{kind.event_date: moments[1], "cpc": 7})]})
    assert told_losses(lake, read_state(lake)) is None
    shutil.rmtree(partition_path(lake, kind, "2025-10").parent)
    told = told_losses(lake, read_state(lake))
    assert told
    assert told.startswith(
        f"Something else than the pipeline took rows out of the lake: {kind.folder}/2025-10 (1 rows); put the files "
    )
    frame(kind, rows[2:]).write_parquet(partition_path(lake, kind, "2025-11"))
    adopt(lake)
    state = read_state(lake)
    assert state.lost == {
        f"{kind.folder}/2025-10": {date(2025, 10, 2): 1},
        f"{kind.folder}/2025-11": {date(2025, 11, 9): 2},
    }
    told = told_losses(lake, state)
    assert told
    assert f"{kind.folder}/2025-10 (1 rows), {kind.folder}/2025-11 (2 rows)" in told
    fill_lake(lake, {kind: rows[1:2]})
    assert read_state(lake).lost == {f"{kind.folder}/2025-10": {date(2025, 10, 2): 1}}
    fill_lake(lake, {kind: rows[:1]})
    assert (read_state(lake).lost, told_losses(lake, read_state(lake))) == ({}, None)


def test_undated_refunds_that_something_else_took_away_are_lost_until_they_are_back(lake: Lake) -> None:
    """R29, R53 i: their days are not known, their rows are."""
    path = write_legacy(lake, RFND, UNDATED, [rfnd(refnd_date=None)] * 3, name="part-0.parquet")
    adopt(lake)
    path.rename(lake.root / "elsewhere")
    adopt(lake)
    assert read_state(lake).lost == {f"rfnd/{UNDATED}": {None: 3}}
    (lake.root / "elsewhere").rename(path)
    adopt(lake)
    assert read_state(lake).lost == {}


def test_a_partition_that_the_pipeline_removes_is_not_lost(lake: Lake) -> None:
    """R32, R59: what a load or an import takes out is meant to go."""
    fill_lake(lake, {ACT: [act()]})
    with writing(lake, "cvas_test", RunLog()) as change:
        change.write(ACT, "2025-11", frame(ACT, []))
        change.publish(None)
    assert adopt(lake) == []
    assert (read_state(lake).lost, told_losses(lake, read_state(lake))) == ({}, None)


def test_a_loss_that_is_accepted_is_told_once_and_missed_no_more(lake: Lake) -> None:
    """R53 i: also where no change had noticed it."""
    fill_lake(lake, {ACT: [act()], CNR: [cnr(), cnr(sbn_id=2)]})
    shutil.rmtree(lake.transactions / "cnr")
    run = RunLog()
    accept_losses(lake, "cvas_view", run)
    assert run.warnings == [
        f"{OLD}cnr/2025-11 (gone).",
        "The loss of what something else took out of the lake is accepted: cnr/2025-11 (2 rows).",
    ]
    assert told_losses(lake, read_state(lake)) is None
    run, state = RunLog(), read_state(lake)
    accept_losses(lake, "cvas_view", run)
    assert (run.warnings, read_state(lake)) == ([], state)


def test_a_state_that_knows_nothing_of_losses_is_read(lake: Lake) -> None:
    """R71: state files of earlier versions."""
    fill_lake(lake, {ACT: [act()]})
    state = read_state(lake)
    stored_state = json.loads(state_file(lake).read_text())
    del stored_state["lost"]
    state_file(lake).write_text(json.dumps(stored_state))
    assert read_state(lake) == state


def test_a_lake_that_was_copied_is_only_told_the_new_times(lake: Lake) -> None:
    fill_lake(lake, {ACT: [act()]}, touched=True)
    os.utime(partition_path(lake, ACT, "2025-11"), (5, 5))
    assert adopt(lake) == []
    assert read_state(lake).change == 1
    assert read_state(lake).partitions["act/2025-11"].mtime_ns == 5_000_000_000


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"change": 1}', '{"change": "x", "days": {}, "partitions": {}}']
)
def test_a_damaged_state_is_an_error_for_readers_and_made_anew_by_the_next_change(lake: Lake, text: str) -> None:
    """Section 6: state file corrupt."""
    fill_lake(lake, {ACT: [act()]}, touched=True)
    fill_lake(lake, {RENO: [reno()]}, touched=True)
    state_file(lake).write_text(text)
    with pytest.raises(CheckFailed) as failed:
        read_state(lake)
    assert failed.value.what.startswith(f"cvas: {state_file(lake)} is damaged (")
    warnings = adopt(lake)
    assert len(warnings) == 2
    assert warnings[0].endswith("What is loaded is taken from the partitions.")
    assert warnings[1] == f"{OLD}act/2025-11, reno/2025-11."
    state = read_state(lake)
    assert state.change == 3  # no reader has seen it
    assert state.days == {DAY: {"ACT": LoadedDay(1, "found"), "RENO": LoadedDay(1, "found")}}


def test_a_change_never_gets_a_number_that_the_view_has_seen(lake: Lake) -> None:
    lake.state.mkdir(parents=True)
    (lake.state / "view.json").write_text(json.dumps({"change": 41}))
    fill_lake(lake, {ACT: [act()]})
    assert read_state(lake).change == 42


# --- access ---------------------------------------------------------------------------------------------------------


def test_readers_share_the_lake_and_keep_writers_out(lake: Lake) -> None:
    """R3, R35."""
    with reading(lake, "cvas_view"), reading(lake, "cvas_counters"):
        with pytest.raises(StoreBusy) as busy, writing(lake, "cvas_load", RunLog()):
            pass
        assert busy.value.what == "cvas_load has to wait: a reader holds lake."
    with writing(lake, "cvas_load", RunLog()):
        with pytest.raises(StoreBusy), reading(lake, "cvas_view"):
            pass
        with pytest.raises(AlreadyRunning), writing(lake, "cvas_load", RunLog()):
            pass


def test_readers_refuse_a_lake_whose_change_was_killed_half_way(lake: Lake) -> None:
    """R35: until the next writer finished it."""
    fill_lake(lake, {ACT: [act()]})
    staging_of(lake).mkdir(parents=True)
    staged = staging_of(lake) / "new.parquet"
    frame(ACT, [act(rev=2.0)]).write_parquet(staged)
    target = os.path.relpath(partition_path(lake, ACT, "2025-11"), staging_of(lake))
    journal = staging_of(lake) / "journal.json"
    journal.write_text(json.dumps({"renames": [["new.parquet", target]], "remove": []}))
    with pytest.raises(StoreBusy) as busy, reading(lake, "cvas_view"):
        pass
    assert busy.value.what == (
        "cvas_view has to wait: a change of the lake was killed before all its files were in place."
    )
    assert adopt(lake)[0] == (
        "A change of the lake had been killed while its files were put in place; 1 more were, and it is complete now."
    )
    assert stored(lake, ACT) == typed(ACT, [act(rev=2.0)])
    with reading(lake, "cvas_view"):
        pass


def test_a_change_that_fails_while_its_files_are_put_in_place_is_completed_by_the_next_one(lake: Lake) -> None:
    """R35: the staged files stay with their journal."""
    fill_lake(lake, {ACT: [act()]})
    obstacle = lake.transactions / "reno" / "year_month=2025-11"
    obstacle.parent.mkdir()
    obstacle.write_text("not a folder")
    with pytest.raises(OSError, match="year_month=2025-11"), writing(lake, "cvas_test", RunLog()) as change:  # noqa: PT012
        change.write(ACT, "2025-11", frame(ACT, [act(rev=1.0)]))
        change.write(RENO, "2025-11", frame(RENO, [reno()]))
        change.publish(None)
    assert (staging_of(lake) / "reno" / "2025-11.parquet").exists()
    obstacle.unlink()
    assert "it is complete now" in adopt(lake)[0]
    assert (stored(lake, ACT), stored(lake, RENO)) == (typed(ACT, [act(rev=1.0)]), typed(RENO, [reno()]))
    assert check_fingerprints(lake, read_state(lake)) == []


def test_what_a_killed_change_had_only_staged_is_removed_and_reported(lake: Lake) -> None:
    fill_lake(lake, {ACT: [act()]})
    files = data_hashes(lake)
    (staging_of(lake) / "act").mkdir(parents=True)
    (staging_of(lake) / "act" / "2025-11.parquet").write_bytes(b"half")
    assert adopt(lake) == ["A change of the lake had been killed before any of its files were in place; it was undone."]
    assert data_hashes(lake) == files


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass


@pytest.fixture
def small_lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "disk" / "lake")


def test_a_disk_that_fills_up_while_staging_leaves_the_lake_as_it_was(small_lake: Lake) -> None:
    """Section 6: disk full during write."""
    with small_disk(small_lake.root.parent, 1_000_000) as disk:
        if not disk:
            pytest.skip("mounting is not allowed here")
        fill_lake(small_lake, {ACT: [act()]})
        files = data_hashes(small_lake)
        large = (
            pl.concat([frame(ACT, [act()])] * 200_000)
            .with_row_index()
            .with_columns(subscription_id=pl.col("index").hash().reinterpret(signed=True))
        )
        with pytest.raises(StoreFull) as full, writing(small_lake, "cvas_test", RunLog()) as change:
            change.write(ACT, "2025-11", large)
        assert full.value.what == (
            f"No space left for 2025-11.parquet in {staging_of(small_lake) / 'act'}; nothing was changed."
        )
        assert data_hashes(small_lake) == files
        assert not staging_of(small_lake).exists()


def test_a_disk_that_is_full_when_the_journal_is_written_leaves_the_lake_as_it_was(small_lake: Lake) -> None:
    """Section 6: disk full; R35."""
    with small_disk(small_lake.root.parent, 1_000_000) as disk:
        if not disk:
            pytest.skip("mounting is not allowed here")
        fill_lake(small_lake, {ACT: [act()]})
        files = data_hashes(small_lake)
        with pytest.raises(StoreFull), writing(small_lake, "cvas_test", RunLog()) as change:  # noqa: PT012
            change.write(ACT, "2025-11", frame(ACT, [act(rev=1.0)]))
            fill(disk)
            change.publish(None)
        (disk / "ballast").unlink()
        assert data_hashes(small_lake) == files
        assert adopt(small_lake) == []


def test_a_parquet_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R35: written, synced, renamed."""
    told: list[tuple[str, str]] = []
    sync, rename = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        told.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        sync(descriptor)

    def replace(source: Path, target: Path) -> None:
        told.append(("rename", source.name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_parquet(frame(ACT, [act()]), tmp_path / "2025-11.parquet")
    assert told == [("sync", ".2025-11.parquet.tmp"), ("rename", ".2025-11.parquet.tmp")]


def test_a_new_file_that_does_not_give_back_its_rows_is_never_published(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R35: verified by reading back."""
    fill_lake(lake, {ACT: [act()]})
    files = data_hashes(lake)
    write = pl.DataFrame.write_parquet

    def lossy(rows: pl.DataFrame, path: Path, **options: Any) -> None:
        write(rows[:-1], path, **options)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", lossy)
    with pytest.raises(CheckFailed) as failed, writing(lake, "cvas_test", RunLog()) as change:
        change.write(ACT, "2025-11", frame(ACT, [act(rev=1.0), act(subscription_id=2)]))
    assert failed.value.what == "cvas: the new act/2025-11 holds 1 rows instead of 2; nothing was changed."
    assert data_hashes(lake) == files
