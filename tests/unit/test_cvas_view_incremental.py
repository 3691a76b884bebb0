"""The view day by day: equal to a full rebuild whatever happens (R50, R52, R53), killed or not (R49, R78)."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.common import locks
from include.common.journal import RunLog
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TransactionType
from include.cvas.lake import UNDATED, in_order, partition_path, read_state, touched_file, writing
from include.cvas.load import load_transactions
from include.cvas.refunds import repair_refunds
from include.cvas.view import build_subscriptions, compare_with_rebuild, read_view_state
from include.errors import CheckFailed, SourceMissing, StaleInput, StoreBusy
from sandbox.cvas.expected import subscription_view
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    PHONE,
    USER,
    Row,
    Rows,
    act,
    cnr,
    dct,
    file_hashes,
    fill_lake,
    frame,
    ppd,
    reno,
    rfnd,
    stored,
    write_day,
    write_legacy,
)

ROOT = Path(__file__).resolve().parents[2]
NEXT_DAY = DAY + timedelta(days=1)
AS_OF = date(2025, 12, 31)
KINDS = (ACT, RENO, DCT, CNR, RFND)
CATALOGUE = "cpc,service_name,tme_category,cpc_period,cpc_price\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two months and a view of them."""
    lake = Lake(tmp_path / "lake")
    write_catalogue(lake, {46109: ("Escudo Movil", "Free Time")})
    fill_lake(
        lake,
        {
            ACT: [act(trans_date="2025-10-05 10:00:00", subscription_id=1), act(subscription_id=2)],
            RENO: [
                reno(trans_date="2025-10-12 10:00:00", subscription_id=1),
                reno(trans_date="2025-11-09 10:00:00", subscription_id=3),
            ],
        },
    )
    build(lake)
    return lake


def write_catalogue(lake: Lake, services: dict[int, tuple[str, str]]) -> None:
    lake.root.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{cpc},{service},{category},30,1\n" for cpc, (service, category) in services.items())
    lake.mastercpc.write_text(CATALOGUE + rows, encoding="utf-8")


def build(lake: Lake, *, as_of: date | None = AS_OF, **how: bool) -> StepResult:
    return build_subscriptions(lake, day=DAY, now=NOW, settings=Settings(), as_of=as_of, **how)


def mode(lake: Lake, **how: Any) -> str:
    return str(build(lake, **how).facts["mode"])


def view(lake: Lake) -> list[Row]:
    return pl.read_parquet(lake.subscriptions).to_dicts()


def is_exact(lake: Lake) -> bool:
    """Whether the view is, byte for byte, what a full rebuild of the same lake makes."""
    carried = lake.subscriptions.read_bytes()
    build(lake, full=True, force=True, as_of=as_of_view(lake))
    return lake.subscriptions.read_bytes() == carried


def as_of_view(lake: Lake) -> date:
    state = read_view_state(lake)
    assert state is not None
    return state.as_of


# --- any history --------------------------------------------------------------------------------------------------

IDS = (1, 2, 3, None)
USERS, PHONES = (USER, "0340000000000000018", None), (PHONE, "34600000018", None)
FIRST_EVENT = "2025-10-01 00:00:00"
DAYS = ("2025-09-30", "2025-10-01", "2025-10-31", "2025-11-01", "2025-11-02")
TIMES = ("00:00:00", "10:00:00", "10:00:00.000001")


def events(dates: bool) -> st.SearchStrategy[tuple[TransactionType, Row]]:  # noqa: FBT001
    """Rows of every type, few values each: ties, nulls and repeated rows are common; ``dates``: each has one."""
    moment = st.builds(lambda *parts: datetime.fromisoformat(" ".join(parts)), *map(st.sampled_from, (DAYS, TIMES)))
    number, cpc = st.sampled_from(IDS), st.sampled_from((1, 2, 3, None))
    at = moment if dates else st.one_of(moment, st.none())
    rev = st.sampled_from((0.0, 0.1, 0.2, 1.64, None))
    channel = st.sampled_from(("UPGRADE", "WEB", "WAP", None))
    charged = {
        "subscription_id": number,
        "cpc": cpc,
        "trans_date": at,
        "rev": rev,
        "channel_act": channel,
        "camp_name": st.sampled_from(("a", "b", None)),
        "act_date": st.one_of(moment, st.none()),
        "tmuserid": st.sampled_from(USERS),
        "msisdn": st.sampled_from(PHONES),
    }
    refund = {"sbnid": number, "refnd_date": at, "cpc": cpc, "rfnd_amount": st.sampled_from((0.1, 1.64, -1.0))}
    return st.one_of(
        st.tuples(st.just(ACT), st.builds(act, **charged)),
        st.tuples(st.just(RENO), st.builds(reno, **charged)),
        st.tuples(st.just(RENO), st.builds(reno, **charged)),
        st.tuples(st.just(DCT), st.builds(dct, subscription_id=number, trans_date=at, channel_dct=channel)),
        st.tuples(st.just(CNR), st.builds(cnr, sbn_id=number, cancel_date=at, mode=st.sampled_from(("A", "B", None)))),
        st.tuples(st.just(RFND), st.builds(rfnd, rfnd_cnt=st.sampled_from((1, 3)), **refund)),
        st.tuples(st.just(PPD), st.builds(ppd, subscription_id=number, trans_date=moment)),
    )


SERVICES = st.dictionaries(st.sampled_from((1, 2, 3)), st.sampled_from((("Uno", "News"), ("Dos", ""))), min_size=1)
COUNTED = tuple(date(2025, 11, number) for number in (1, 3, 4, 11))
USER_BASE = st.dictionaries(st.tuples(st.sampled_from(COUNTED), st.sampled_from((1, 2, 4))), st.integers(1, 3))
STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "added": st.lists(events(dates=False), max_size=12),
            "removed": st.lists(st.integers(0, 100), max_size=4),
            "as_of": st.sampled_from((date(2025, 10, 1), date(2025, 11, 3), date(2025, 11, 4))),
            "services": SERVICES,
            "user_base": USER_BASE,
        }
    ),
    min_size=1,
    max_size=2,
)


def write_user_base(lake: Lake, user_base: Mapping[tuple[date, int], int]) -> None:
    """The aggregate of the snapshots that the view takes column 44 from."""
    lake.user_base.mkdir(parents=True, exist_ok=True)
    lines = ["date|cpc|User_Base", *(f"{day}|{cpc}|{users}" for (day, cpc), users in sorted(user_base.items()))]
    (lake.user_base / "user_base_by_cpc.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextmanager
def copy_of(lake: Lake) -> Iterator[Lake]:
    """A lake and its view where one example can change them."""
    with TemporaryDirectory() as folder:
        yield Lake(shutil.copytree(lake.root, Path(folder) / "lake"))


def change_lake(
    lake: Lake,
    events: list[tuple[TransactionType, Row]],
    *,
    added: Sequence[tuple[TransactionType, Row]],
    removed: Sequence[int],
) -> None:
    """Add and remove rows as a change of the pipeline does, of any day and of none."""
    gone = [events.pop(number % len(events)) for number in removed if events]
    events += added
    different = [*gone, *added]
    with writing(lake, "cvas_test", RunLog()) as change:
        for kind, month in {(kind, _month(kind, row)) for kind, row in different}:
            rows = [row for each, row in events if each is kind and _month(kind, row) == month]
            change.write(kind, month, in_order(frame(kind, rows), kind))
        ids = [row[kind.subscription] for kind, row in different if kind is not PPD]
        change.publish(pl.Series(ids, dtype=pl.Int64))


def _month(kind: TransactionType, row: Row) -> str:
    moment = row[kind.event_date]
    return f"{datetime.fromisoformat(str(moment)):%Y-%m}" if moment else UNDATED


@pytest.fixture(scope="module")
def one_activation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, tuple[TransactionType, Row]]:
    """A view of one event, which no load wrote; and the event."""
    lake, event = Lake(tmp_path_factory.mktemp("one") / "lake"), (ACT, act(subscription_id=1, trans_date=FIRST_EVENT))
    change_lake(lake, [], added=[event], removed=[])
    write_catalogue(lake, {1: ("Uno", "News")})
    build(lake)
    return lake, event


@given(steps=STEPS)
@settings(max_examples=50)
def test_whatever_happens_to_the_lake_the_view_is_what_a_full_rebuild_makes(
    one_activation: tuple[Lake, tuple[TransactionType, Row]], steps: Sequence[dict[str, Any]]
) -> None:
    """R52, R37 to R48, R53 a: late rows, reruns, corrections, deletions, ties, nulls, rows without a date, other as-of
    dates (also before events), catalogues and user bases; all 45 columns, and what working them out row by row
    gives."""
    template, event = one_activation
    events = [event]
    with copy_of(template) as lake:
        for step in steps:
            change_lake(lake, events, added=step["added"], removed=step["removed"])
            write_catalogue(lake, step["services"])
            write_user_base(lake, step["user_base"])
            result = build(lake, as_of=step["as_of"], force=True)
            assert result.facts["mode"] != "full"
            rows = {kind.name: stored(lake, kind) for kind in KINDS}
            assert view(lake) == subscription_view(
                rows, as_of=step["as_of"], mastercpc=step["services"], user_base=step["user_base"]
            )
        assert is_exact(lake)


LOADS = st.lists(
    st.tuples(st.sampled_from(DAYS), st.lists(events(dates=True), min_size=1, max_size=8), USER_BASE),
    min_size=1,
    max_size=2,
)


@pytest.fixture(scope="module")
def one_day(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A day that was loaded, and its view."""
    lake = Lake(tmp_path_factory.mktemp("day") / "lake")
    write_catalogue(lake, {1: ("Uno", "News")})
    load(lake, DAY, {ACT: [act()]})
    build(lake, as_of=None)
    return lake


@given(loads=LOADS)
@settings(max_examples=15)
def test_days_loaded_and_loaded_again_in_any_order_give_the_view_of_a_full_rebuild(
    one_day: Lake,
    loads: Sequence[tuple[str, Sequence[tuple[TransactionType, Row]], Mapping[tuple[date, int], int]]],
) -> None:
    """R32, R52: through the load itself; late days, days twice, days that lose rows, user bases that change."""
    with copy_of(one_day) as lake:
        for text, drawn, user_base in loads:
            day = date.fromisoformat(text)
            load(lake, day, {kind: _of_day(kind, drawn, text) for kind in (*KINDS, PPD)})
            write_user_base(lake, user_base)
            assert build(lake, as_of=None, force=True).facts["mode"] != "full"
            rows = {kind.name: stored(lake, kind) for kind in KINDS}
            assert view(lake) == subscription_view(
                rows, as_of=NEXT_DAY, mastercpc={1: ("Uno", "News")}, user_base=user_base
            )
        assert is_exact(lake)


def _of_day(kind: TransactionType, drawn: Sequence[tuple[TransactionType, Row]], day: str) -> list[Row]:
    """Rows of a type as they could stand in the file of a day; a renewal has a subscription there."""
    rows = [row | {kind.event_date: f"{day} {row[kind.event_date]:%H:%M:%S.%f}"} for each, row in drawn if each is kind]
    return [row for row in rows if kind in (RFND, PPD) or row[kind.subscription] is not None]


def load(lake: Lake, day: date, rows: Rows) -> None:
    write_day(lake, rows, day=day)
    load_transactions(lake, day=day, now=NOW, settings=Settings(), force=True)


# --- reruns -------------------------------------------------------------------------------------------------------


def test_a_day_loaded_twice_changes_neither_lake_nor_view(tmp_path: Path) -> None:
    """Golden case G7."""
    lake = Lake(tmp_path / "lake")
    rows: Rows = {ACT: [act()], RENO: [reno(subscription_id=2)], RFND: [rfnd()]}
    load(lake, DAY, rows)
    assert mode(lake, as_of=None) == "full"
    before = file_hashes(lake.root / "Parquet_Data")
    load(lake, DAY, rows)
    assert mode(lake, as_of=None) == "unchanged"
    assert file_hashes(lake.root / "Parquet_Data") == before


def test_a_corrected_day_replaces_what_it_had(tmp_path: Path) -> None:
    """Golden case G8: the row that is gone is gone, the changed amount is there, other days are untouched."""
    lake = Lake(tmp_path / "lake")
    load(lake, DAY, {ACT: [act(subscription_id=1), act(subscription_id=2)], RENO: [reno(subscription_id=2, rev=1.0)]})
    day_after = f"{NEXT_DAY} 10:00:00"
    load(lake, NEXT_DAY, {RENO: [reno(subscription_id=each, trans_date=day_after, rev=1.0) for each in (1, 2)]})
    build(lake, as_of=None)
    load(lake, DAY, {ACT: [act(subscription_id=1)], RENO: [reno(subscription_id=2, rev=3.0)]})
    assert mode(lake, as_of=None) == "incremental"
    columns = ("subscription_id", "missing_act_record", "renewal_count", "renewal_revenue")
    assert [[row[name] for name in columns] for row in view(lake)] == [[1, False, 1, 1.0], [2, True, 2, 4.0]]
    assert is_exact(lake)


def test_a_changed_catalogue_reaches_every_row(lake: Lake) -> None:
    """R53 a."""
    write_catalogue(lake, {46109: ("Otro", "News")})
    assert mode(lake) == "incremental"
    assert {(row["service_name"], row["tme_category"]) for row in view(lake)} == {("Otro", "News")}


def test_a_new_day_lengthens_every_life_that_goes_on(lake: Lake) -> None:
    """R53 a: also of subscriptions without an event."""
    before = [row["lifetime_days"] for row in view(lake)]
    assert mode(lake, as_of=AS_OF + timedelta(days=2)) == "incremental"
    assert [row["lifetime_days"] for row in view(lake)] == [days + 2 for days in before]


def test_what_was_taken_into_the_view_is_deleted(lake: Lake) -> None:
    """The lists of changed subscriptions, and no others."""
    fill_lake(lake, {RENO: [reno(trans_date="2025-11-20 10:00:00", subscription_id=1)]}, touched=True)
    change = read_state(lake).change
    assert touched_file(lake, change).exists()
    later = touched_file(lake, change + 1)
    later.write_bytes(touched_file(lake, change).read_bytes())
    assert mode(lake) == "incremental"
    assert list(later.parent.iterdir()) == [later]


# --- when nothing can be carried over -----------------------------------------------------------------------------


def change_state(lake: Lake, **values: Any) -> None:
    path = lake.state / "view.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def alter_view(lake: Lake) -> None:
    altered = pl.read_parquet(lake.subscriptions).with_columns(renewal_count=pl.lit(7))
    altered.write_parquet(lake.subscriptions)


def alter_partition(lake: Lake) -> None:
    path = partition_path(lake, RENO, "2025-10")
    pl.read_parquet(path, hive_partitioning=False).with_columns(rev=pl.lit(9.0)).write_parquet(path)


def lose_touched(lake: Lake) -> None:
    fill_lake(lake, {RENO: [reno(trans_date="2025-11-20 10:00:00", subscription_id=1)]}, touched=True)
    touched_file(lake, read_state(lake).change).unlink()


def damage_touched(lake: Lake) -> None:
    fill_lake(lake, {RENO: [reno(trans_date="2025-11-20 10:00:00", subscription_id=1)]}, touched=True)
    touched_file(lake, read_state(lake).change).write_bytes(b"PAR1 no more")


@pytest.mark.parametrize(
    ("happening", "reason", "strange"),
    [
        (lambda lake: change_state(lake, definition="older"), "the rules or the engine", False),
        (lambda lake: change_state(lake, engine="1.4.0"), "the rules or the engine", False),
        (lambda lake: change_state(lake, change=99), "history was rewritten", False),
        (lambda lake: (lake.state / "view.json").unlink(), "is not known", False),
        (lambda lake: (lake.state / "view.json").write_text("{"), "is not known", True),
        (lambda lake: change_state(lake, renewals=3), "is not known", True),
        (alter_view, "is not the file that was built", True),
        (lambda lake: lake.subscriptions.unlink(), "is not the file that was built", True),
        (alter_partition, "something else than the pipeline changed reno/2025-10", True),
        (lambda lake: fill_lake(lake, {ACT: [act(subscription_id=4)]}), "history was rewritten", False),
        (lose_touched, "history was rewritten", False),
        (damage_touched, "cannot be read", True),
    ],
)
def test_every_row_is_made_anew_when_that_is_not_safe_and_the_log_says_why(
    lake: Lake,
    caplog: pytest.LogCaptureFixture,
    happening: Any,
    reason: str,
    strange: bool,  # noqa: FBT001
) -> None:
    """R53 f, h: other rules, another engine, files that somebody changed, records that are lost."""
    happening(lake)
    caplog.set_level(logging.INFO)
    result = build(lake)
    (told,) = [record for record in caplog.records if "is made anew" in record.getMessage()]
    assert result.facts["mode"] == "full"
    assert reason in told.getMessage()
    assert (told.levelname == "WARNING", bool(result.warnings)) == (strange, strange)
    assert view(lake) == subscription_view(
        {kind.name: stored(lake, kind) for kind in KINDS},
        as_of=AS_OF,
        mastercpc={46109: ("Escudo Movil", "Free Time")},
    )
    assert mode(lake, as_of=AS_OF + timedelta(days=1)) == ("full" if happening is alter_partition else "incremental")


def test_files_that_were_only_copied_are_trusted(lake: Lake) -> None:
    """Size and time decide first, the content last: a restored lake is the same lake."""
    for path in (lake.subscriptions, partition_path(lake, RENO, "2025-10")):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert mode(lake) == "unchanged"


def test_a_partition_that_is_put_back_is_made_anew_once_more(lake: Lake) -> None:
    """R53 h: what was built from the altered partition must not be carried over."""
    path = partition_path(lake, RENO, "2025-10")
    sound = path.read_bytes()
    before = view(lake)
    alter_partition(lake)
    build(lake)
    assert view(lake) != before
    path.write_bytes(sound)
    assert mode(lake) == "full"
    assert view(lake) == before
    assert mode(lake) == "unchanged"


def test_a_damaged_state_of_the_lake_does_not_stop_the_view(lake: Lake) -> None:
    """Section 6: a corrupt state file is a warning."""
    before = view(lake)
    (lake.state / "lake.json").write_text("{")
    result = build(lake)
    assert next(iter(result.warnings)).partition(" (")[0].endswith("lake.json is damaged")
    assert view(lake) == before


def test_what_others_changed_before_a_load_reaches_the_view_with_it(lake: Lake) -> None:
    """R53 h: the load takes the partition as it is, and only knows the subscriptions of its own day."""
    write_legacy(lake, DCT, "2025-10", [dct(subscription_id=1, trans_date="2025-10-31 00:00:00")], name="other.parquet")
    load(lake, DAY, {RENO: [reno(subscription_id=2)]})
    assert mode(lake) == "full"
    assert is_exact(lake)
    assert {row["subscription_id"]: row["subscription_status"] for row in view(lake)}[1] != "Active"


def test_history_that_was_repaired_is_made_anew(lake: Lake) -> None:
    """R29, R53: refunds that move out of the undated partition."""
    write_legacy(lake, RFND, UNDATED, [rfnd(sbnid=1, refnd_date="2025-11-03")], name="old.parquet")
    assert mode(lake) == "full"
    repair_refunds(lake, day=DAY, now=NOW, settings=Settings())
    assert mode(lake) == "full"
    assert [row["refund_count"] for row in view(lake)] == [1, 0, 0]
    assert is_exact(lake)


# --- the checks before the rename ---------------------------------------------------------------------------------


def tell_nobody(lake: Lake, kind: TransactionType, rows: Sequence[Row]) -> None:
    """A change whose list of subscriptions is wrong: it names none."""
    with writing(lake, "cvas_test", RunLog()) as change:
        change.write(kind, "2025-12", in_order(frame(kind, rows), kind))
        change.publish(pl.Series([], dtype=pl.Int64))


@pytest.mark.parametrize(
    ("kind", "row", "fault"),
    [
        (
            RENO,
            reno(trans_date="2025-12-01 00:00:00", subscription_id=1),
            "2 renewals instead of 3; [0-9.]+ euro of renewals instead of",
        ),
        (RENO, reno(trans_date="2025-12-01 00:00:00", subscription_id=9), "1 events of subscriptions that it lacks"),
        (
            ACT,
            act(trans_date="2025-12-01 00:00:00", subscription_id=9),
            "1 events of subscriptions that it lacks",
        ),
        (
            ACT,
            act(trans_date="2025-12-01 00:00:00", subscription_id=3),
            "2 subscriptions with an activation instead of 3",
        ),
    ],
)
def test_a_view_that_does_not_agree_with_the_lake_is_not_published(
    lake: Lake, kind: TransactionType, row: Row, fault: str
) -> None:
    """R50: ids, renewals and their revenue; the old view stays, a full rebuild heals."""
    before = lake.subscriptions.read_bytes(), (lake.state / "view.json").read_bytes()
    tell_nobody(lake, kind, [row])
    with pytest.raises(CheckFailed, match=fault) as failure:
        build(lake)
    assert "Build it with full" in failure.value.next_step
    assert (lake.subscriptions.read_bytes(), (lake.state / "view.json").read_bytes()) == before
    assert mode(lake, full=True) == "full"


def test_a_view_with_subscriptions_that_are_gone_is_not_published(lake: Lake) -> None:
    """R50."""
    with writing(lake, "cvas_test", RunLog()) as change:
        change.write(RENO, "2025-11", frame(RENO, []))
        change.publish(pl.Series([], dtype=pl.Int64))
    with pytest.raises(CheckFailed, match="2 renewals instead of 1"):
        build(lake)


def take_a_subscription_out(lake: Lake) -> None:
    with writing(lake, "cvas_test", RunLog()) as change:
        change.write(RENO, "2025-11", frame(RENO, []))
        change.publish(pl.Series([3]))


def test_a_rebuild_with_fewer_rows_needs_force(lake: Lake) -> None:
    """R50."""
    before = lake.subscriptions.read_bytes()
    take_a_subscription_out(lake)
    with pytest.raises(CheckFailed, match="the new view has 2 subscriptions, the old one 3; the old one stays"):
        build(lake, full=True)
    assert lake.subscriptions.read_bytes() == before
    build(lake, full=True, force=True)
    assert [row["subscription_id"] for row in view(lake)] == [1, 2]


def test_a_month_of_renewals_that_is_lost_stops_the_view_although_no_subscription_is(lake: Lake) -> None:
    """R50, R53 i: they have other events; the loss may have been noticed by a load or not."""
    load(lake, DAY, {ACT: [act(subscription_id=3)]})
    rows = [reno(subscription_id=n, trans_date="2025-12-01 00:00:00") for n in (1, 2, 3)]
    load(lake, date(2025, 12, 1), {RENO: rows})
    build(lake)
    before = view(lake)
    shutil.rmtree(partition_path(lake, RENO, "2025-11").parent)
    told = "the lake has no renewals of 2025-11 any more and 4 renewals instead of 5; the old view stays"
    with pytest.raises(CheckFailed, match=told):
        build(lake)
    load(lake, date(2025, 12, 2), {RENO: [reno(subscription_id=1, trans_date="2025-12-02 00:00:00")]})
    with pytest.raises(CheckFailed, match="the lake has no renewals of 2025-11 any more; the old view stays") as failed:
        build(lake)
    assert "build the view with force" in failed.value.next_step
    assert view(lake) == before
    result = build(lake, force=True)
    assert result.warnings[1] == (
        "The loss of what something else took out of the lake is accepted: reno/2025-11 (1 rows)."
    )
    assert is_exact(lake)
    assert read_state(lake).lost == {}
    assert mode(lake) == "unchanged"


def test_fewer_renewals_than_the_view_had_stop_a_rebuild_and_not_a_normal_day(lake: Lake) -> None:
    """R50, G8: a corrected day may have fewer renewals; history that lost some is looked at first."""
    at_noon = {"trans_date": "2025-12-01 12:00:00"}
    load(lake, date(2025, 12, 1), {RENO: [reno(subscription_id=1, **at_noon), reno(subscription_id=2, **at_noon)]})
    build(lake)
    load(lake, date(2025, 12, 1), {RENO: [reno(subscription_id=1, **at_noon)]})
    assert mode(lake) == "incremental"
    assert is_exact(lake)
    frame(RENO, []).write_parquet(partition_path(lake, RENO, "2025-12"))
    with pytest.raises(CheckFailed, match="the lake has 2 renewals instead of 3; the old view stays"):
        build(lake)
    build(lake, force=True)
    assert is_exact(lake)


def test_a_subscription_goes_with_the_corrected_day_that_was_all_of_it_and_is_told(lake: Lake) -> None:
    """R32, R50, G8: only what a load touched can go, as all other rows are carried over."""
    take_a_subscription_out(lake)
    result = build(lake)
    assert result.warnings == ("1 subscriptions are gone: no event of them is left in the days loaded again.",)
    assert [row["subscription_id"] for row in view(lake)] == [1, 2]


def test_the_view_of_the_system_before_counts_too(lake: Lake) -> None:
    """R50: its file has 34 columns and no record of what it was built from."""
    rows = pl.read_parquet(lake.subscriptions)
    legacy = pl.concat([rows, rows.with_columns(pl.col("subscription_id") + 10)]).select(rows.columns[:34])
    legacy.write_parquet(lake.subscriptions)
    (lake.state / "view.json").unlink()
    with pytest.raises(CheckFailed, match="the new view has 3 subscriptions, the old one 6"):
        build(lake)


# --- killed -------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from datetime import UTC, date, datetime
from pathlib import Path
from include.cvas.config import Lake, Settings
from include.cvas.view import build_subscriptions

files = ("subscriptions.parquet", "view.json", "journal.json", "000002.parquet")
left = int(sys.argv[2])

def hook(event, arguments):
    global left
    if event == "os.rename" and Path(arguments[1]).name in files or event == "os.remove" and (
        Path(arguments[0]).name in files and Path(arguments[0]).exists()
    ):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
build_subscriptions(
    Lake(Path(sys.argv[1])),
    day=date(2025, 11, 10),
    now=datetime(2025, 11, 11, 11, 0, tzinfo=UTC),
    settings=Settings(),
    as_of=date(2025, 12, 31),
)
"""


@pytest.mark.parametrize(
    ("at", "there", "afterwards"),
    [
        ("the staging of its record", "old", "incremental"),
        ("the journal", "old", "incremental"),
        ("the view's rename", "old", "unchanged"),
        ("the rename of its record", "new", "unchanged"),
        ("the removal of what was taken in", "new", "unchanged"),
        ("the removal of the journal", "new", "unchanged"),
    ],
)
def test_a_build_that_is_killed_is_completed_by_the_next(
    lake: Lake, request: pytest.FixtureRequest, at: str, there: str, afterwards: str
) -> None:
    """R49, R35, R78: readers see the old view or the new one at any moment; nothing is left behind."""
    fill_lake(lake, {RENO: [reno(trans_date="2025-11-20 10:00:00", subscription_id=1)]}, touched=True)
    assert touched_file(lake, 2).exists()
    point = request.node.callspec.indices["at"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(lake.root), str(point)], cwd=ROOT, check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [row["renewal_count"] for row in view(lake)] == ([1, 0, 1] if there == "old" else [2, 0, 1])
    assert mode(lake) == afterwards
    assert [row["renewal_count"] for row in view(lake)] == [2, 0, 1]
    assert not touched_file(lake, 2).exists()
    assert [path for path in lake.staging.rglob("*") if path.is_file()] == []
    assert is_exact(lake)


def test_a_killed_build_is_reported(lake: Lake) -> None:
    """R35."""
    journal = lake.staging / "view" / "journal.json"
    journal.parent.mkdir(parents=True)
    journal.write_text('{"renames": [], "remove": []}')
    assert build(lake).warnings == (
        "A build of the view had been killed while its files were put in place; 0 more were, and it is complete now.",
    )


# --- comparison ---------------------------------------------------------------------------------------------------


def compare(lake: Lake) -> list[str]:
    return compare_with_rebuild(lake, settings=Settings())


def test_a_view_that_equals_its_rebuild_has_no_differences(lake: Lake) -> None:
    """R53."""
    assert compare(lake) == []


def test_columns_that_differ_from_a_rebuild_are_listed(lake: Lake) -> None:
    """R53, R64: with the subscriptions to look at, five at most."""
    fill_lake(lake, {ACT: [act(subscription_id=number) for number in range(10, 17)]}, touched=True)
    build(lake)
    rows = pl.read_parquet(lake.subscriptions)
    moved = pl.when(pl.col("subscription_id") > 9).then(pl.lit(0.5)).otherwise("gross_revenue")
    altered = rows.with_columns(gross_revenue=moved).filter(pl.col("subscription_id") != 2)
    altered.write_parquet(lake.subscriptions)
    assert compare(lake) == [
        "subscription_id differs in 1 subscriptions: 2.",
        "gross_revenue differs in 7 subscriptions: 10, 11, 12, 13, 14, ....",
    ]


def test_a_view_with_other_columns_is_told_apart(lake: Lake) -> None:
    """R64."""
    pl.read_parquet(lake.subscriptions).drop("net_revenue").write_parquet(lake.subscriptions)
    assert compare(lake) == ["The view has not the 45 columns agreed upon (net_revenue)."]


def test_a_catalogue_that_changed_since_is_no_difference(lake: Lake) -> None:
    """Services and users are those of the day the view was built."""
    write_catalogue(lake, {46109: ("Otro", "News")})
    assert compare(lake) == []


def test_a_view_older_than_the_lake_cannot_be_compared(lake: Lake) -> None:
    fill_lake(lake, {ACT: [act(subscription_id=4)]}, touched=True)
    with pytest.raises(StaleInput, match="has changed since the view was built"):
        compare(lake)


def test_without_a_view_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="no view to compare"):
        compare(Lake(tmp_path / "lake"))


def test_a_comparison_waits_for_a_build(lake: Lake) -> None:
    with locks.hold(lake.view_lock, "cvas_view"), pytest.raises(StoreBusy):
        compare(lake)


def test_a_comparison_changes_nothing(lake: Lake) -> None:
    before = file_hashes(lake.root)
    compare(lake)
    assert file_hashes(lake.root) == before
