"""cvas' outside world, met by clients that know nothing of it: database behind SSH, reporting host, lake."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncssh
import polars as pl
import psycopg
import pytest

from include.common.shares import LocalShare
from include.cvas.config import Settings
from include.cvas.contract import ACT, RENO, TYPES
from include.cvas.counters import count_transactions
from include.cvas.fetch import fetch_transactions
from include.cvas.lake import read_state
from include.cvas.load import load_transactions
from include.cvas.snapshots import download_snapshot
from include.cvas.user_base import aggregate_user_base
from include.cvas.view import build_subscriptions
from sandbox.cvas.estate import EARLIER_DAYS, READER, WRITTEN_AGO, Cvas
from sandbox.cvas.generator import Telecom
from sandbox.cvas.snapshots import make_snapshot
from sandbox.cvas.source import correct_day, create_reader, csv_line, delivered, expected_rows, fill_source
from sandbox.servers.base import HOST, Loop
from sandbox.servers.postgres import PostgresServer
from sandbox.servers.ssh import SshServer

MONDAY, SUNDAY = date(2025, 11, 10), date(2025, 11, 9)
WORLD = Telecom(1, 0.02, date(2025, 11, 3), MONDAY)

_KEY = "split_part(substr(generic_act_info, strpos(generic_act_info, '{0}=') + length('{0}=')), ';', 1)"


def info(key: str) -> str:
    """What stands behind ``key=``; nothing if it is not there."""
    return f"CASE WHEN strpos(generic_act_info, '{key}=') = 0 THEN '' ELSE {_KEY.format(key)} END"


def of_fact(channel: str, *, revenue: bool, channel_id: bool, type_id: int) -> str:
    lost = "CASE WHEN generic_act_info IS NULL THEN NULL ELSE ({}) END"
    keys = {name: lost.format(info(name)) for name in ("chrg_refid", "cpc", "campaign", "TEFProvider", "TEFmedium")}
    campaign_id = lost.format(info("TEFcampaign"))
    return (
        f"SELECT msisdn AS tmuserid, {keys['chrg_refid']} AS msisdn, {keys['cpc']} AS cpc, trans_type_id"
        + (", f.channel_id" if channel_id else "")
        + (f", channel_desc AS {channel}" if channel else "")
        + ", tlog_ts AS trans_date, request_ts AS act_date, next_charging_date AS reno_date"
        f", {keys['campaign']} AS camp_name, {keys['TEFProvider']} AS tef_prov, {keys['TEFmedium']} AS campana_medium"
        f", {campaign_id} AS campana_id, subscription_id"
        + (", charged_amount AS rev" if revenue else "")
        + " FROM telefonicaes_sub_mgr_fact f LEFT JOIN channel_dim c ON c.channel_id = f.channel_id"
        f" WHERE trans_type_id = {type_id} AND tlog_ts >= '{{day}}' AND tlog_ts < date '{{day}}' + 1"
    )


QUERIES = {
    "ACT": of_fact("channel_act", revenue=True, channel_id=True, type_id=1),
    "RENO": of_fact("channel_act", revenue=True, channel_id=True, type_id=2),
    "DCT": of_fact("channel_dct", revenue=False, channel_id=False, type_id=3),
    "PPD": of_fact("", revenue=True, channel_id=True, type_id=4),
    "CNR": 'SELECT "timestamp" AS cancel_date, sbn_id, msisdn AS tmuserid, cpc, mode FROM delaydcttlog_v1_0_0_fact'
    " WHERE \"timestamp\" >= '{day}' AND \"timestamp\" < date '{day}' + 1",
    "RFND": 'SELECT msisdn AS tmuserid, cpc, "timestamp"::date AS refnd_date, sum(amount) AS rfnd_amount,'
    " count(info) AS rfnd_cnt, coalesce(substring(info FROM 'sbnId=([^,]*)'), '') AS sbnid,"
    " info ILIKE '%%Automatic Refund%%' AS instant_rfnd FROM refund_v1_0_0_fact"
    " WHERE \"timestamp\" >= '{day}' AND \"timestamp\" < date '{day}' + 1 GROUP BY 1, 2, 3, 6, 7",
}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def source(postgres: PostgresServer, request: pytest.FixtureRequest) -> str:
    url = postgres.create_database(request.node.name[:50])
    fill_source(url, WORLD, SUNDAY, MONDAY)
    create_reader(url, READER, "a password")
    return url


@contextmanager
def tunnel(server: SshServer, port: int) -> Iterator[int]:
    """A port of this machine that leads through ``server`` to ``port`` there, by another SSH library's rules."""

    async def open_it() -> tuple[Any, Any]:
        known = asyncssh.import_known_hosts(f"[{HOST}]:{server.port} {server.host_key}\n")
        connection = await asyncssh.connect(
            HOST, server.port, username=server.user, client_keys=[str(server.client_key)], known_hosts=known
        )
        return connection, await connection.forward_local_port(HOST, 0, HOST, port)

    async def close_it(connection: Any, listener: Any) -> None:
        listener.close()
        await listener.wait_closed()
        connection.close()
        await connection.wait_closed()

    loop = Loop()
    try:
        connection, listener = loop.run(open_it())
        try:
            yield listener.get_port()
        finally:
            loop.run(close_it(connection, listener))
    finally:
        loop.close()


def copy(db: psycopg.Connection[Any], query: str, day: date) -> list[str]:
    with db.cursor().copy(f"COPY ({query.format(day=day)}) TO STDOUT (FORMAT csv)") as stream:
        return b"".join(bytes(block) for block in stream).decode().splitlines()


@pytest.mark.parametrize("day", [SUNDAY, MONDAY])
def test_what_comes_through_the_tunnel_is_what_the_queries_have_to_return(
    source: str, postgres: PostgresServer, tmp_path: Path, day: date
) -> None:
    """3.2, R19"""
    wanted = expected_rows(source, day)
    with (
        SshServer(tmp_path / "files", keys=tmp_path / "keys") as server,
        tunnel(server, postgres.port) as port,
        psycopg.connect(source, port=port, user=READER, password="a password") as db,
    ):
        for kind in TYPES:
            assert sorted(copy(db, QUERIES[kind.name], day)) == sorted(csv_line(row) for row in wanted[kind.name])
    assert {name: len(rows) for name, rows in wanted.items()} == {
        name: frame.height for name, frame in WORLD.events(day, day).items()
    }


def test_the_queries_return_what_was_delivered(source: str) -> None:
    """3.2: the flaws of the text field; R26: what both mean by null"""
    for kind in TYPES:
        wanted = delivered(WORLD.events(MONDAY, MONDAY))[kind.name]
        rows = [dict(zip(kind.column_names, row, strict=True)) for row in expected_rows(source, MONDAY)[kind.name]]
        texts = pl.DataFrame(
            {name: [row[name] or None for row in rows] for name in kind.column_names},
            schema=dict.fromkeys(kind.column_names, pl.String),
        )
        moments = [name for name, dtype in kind.schema().items() if dtype == pl.Datetime("us")]
        typed = texts.with_columns(pl.col(moments).str.to_datetime(strict=False, time_unit="us")).with_columns(
            *(pl.coalesce(name, texts[name].str.to_date(strict=False).cast(pl.Datetime("us"))) for name in moments)
        )
        found = typed.cast(kind.schema())  # type: ignore[arg-type]
        assert found.sort(kind.column_names).equals(wanted.sort(kind.column_names)), kind.name


def test_info_is_flawed_as_often_as_it_really_is(source: str) -> None:
    """3.2, section 9"""
    with psycopg.connect(source) as db:
        counts = db.execute(
            "SELECT count(*), count(*) FILTER (WHERE generic_act_info IS NULL),"
            " count(*) FILTER (WHERE generic_act_info NOT LIKE '%cpc=%'),"
            " count(*) FILTER (WHERE strpos(generic_act_info, 'TEFcampaign') < strpos(generic_act_info, ';campaign')),"
            " count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM channel_dim c WHERE c.channel_id = f.channel_id))"
            " FROM telefonicaes_sub_mgr_fact f"
        ).fetchone()
    assert counts is not None
    rows, *flawed = counts
    assert [each / rows for each in flawed] == [
        *(pytest.approx(0.005, abs=0.005), pytest.approx(0.01, abs=0.009)),
        *(pytest.approx(0.02, abs=0.01), pytest.approx(0.005, abs=0.005)),
    ]
    assert min(flawed) > 0


def test_the_reader_may_read_and_nothing_else(source: str) -> None:
    """R19"""
    with closing(psycopg.connect(source, user=READER, password="a password", autocommit=True)) as db:
        assert db.execute("SELECT count(*) FROM refund_v1_0_0_fact").fetchone() != (0,)
        for statement in (
            "CREATE TABLE scratch (a integer)",
            "CREATE TEMPORARY TABLE scratch (a integer)",
            "DELETE FROM channel_dim",
            "UPDATE refund_v1_0_0_fact SET amount = 0",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement)  # type: ignore[arg-type]


def test_filling_a_day_again_changes_nothing(source: str) -> None:
    before = expected_rows(source, MONDAY)
    fill_source(source, WORLD, MONDAY, MONDAY)
    after = expected_rows(source, MONDAY)
    assert {name: sorted(map(csv_line, rows)) for name, rows in after.items()} == {
        name: sorted(map(csv_line, rows)) for name, rows in before.items()
    }


def test_a_correction_changes_what_it_says_and_nothing_else(source: str) -> None:
    """R32, G8"""
    before = expected_rows(source, MONDAY)
    done = correct_day(source, MONDAY)
    after = expected_rows(source, MONDAY)
    for kind in TYPES:
        if kind not in (ACT, RENO):
            assert sorted(after[kind.name], key=str) == sorted(before[kind.name], key=str)
            continue
        amounts = [
            {
                (int(row[-2] or 0), datetime.fromisoformat(row[kind.column_names.index("trans_date")] or "")): row[-1]
                for row in rows[kind.name]
            }
            for rows in (before, after)
        ]
        assert done.changed[kind.name]
        assert done.removed[kind.name]
        changed = {key: f"{amount}" for key, amount in done.changed[kind.name].items()}
        kept = {key: amount for key, amount in amounts[0].items() if key not in done.removed[kind.name]}
        assert amounts[1] == {**kept, **changed}


# --- The whole of it -------------------------------------------------------------------------------------------------


class SteadyCvas(Cvas):
    """A world that stays on its day when midnight passes meanwhile."""

    @cached_property
    def day(self) -> date:
        return super().day


@pytest.fixture(scope="module")
def begun() -> datetime:
    """A moment before the world was brought to its day."""
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def world(begun: datetime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cvas]:
    with SteadyCvas(tmp_path_factory.mktemp("cvas"), scale=0.02, history_days=20).running() as world:
        yield world


def connect_to(world: Cvas) -> Callable[[], Any]:
    login = world.connections()["cvas_nova_db"]

    def connect() -> Any:
        return closing(
            psycopg.connect(
                host=login["host"],
                port=login["port"],
                dbname=login["schema"],
                user=login["login"],
                password=login["password"],
            )
        )

    return connect


def process(world: Cvas, day: date) -> None:
    """What the four DAGs do, by hand."""
    now, settings, lake = datetime.now(UTC), Settings(), world.lake
    share = nullcontext(LocalShare("reporting host", world.host))
    download_snapshot(share, lake, day=day, now=now, today=day + timedelta(days=1), settings=settings)
    aggregate_user_base(lake, day=day, now=now, settings=settings)
    fetch_transactions(connect_to(world), lake, day=day, types=TYPES, now=now, settings=settings)
    load_transactions(lake, day=day, now=now, settings=settings)
    build_subscriptions(lake, day=day, now=now, settings=settings)
    count_transactions(lake, days=[day], day=day, now=now, settings=settings)


def test_the_lake_has_run_for_a_while_and_the_database_has_some_days_more(world: Cvas) -> None:
    state = read_state(world.lake)
    assert state.newest_full_day() == world.day - timedelta(days=1)
    assert len(state.days) == 20
    with connect_to(world)() as db:
        days = [day for (day,) in db.execute("SELECT DISTINCT tlog_ts::date FROM telefonicaes_sub_mgr_fact ORDER BY 1")]
    assert days == [world.day - timedelta(days=n) for n in range(EARLIER_DAYS, -1, -1)]
    files = sorted(path.name for path in world.lake.snapshots.iterdir())
    assert files[0] == "20221114_NBS_Base.csv"
    assert files[-1] == f"{world.day - timedelta(days=1):%Y%m%d}_NBS_Base.csv"
    for file in (world.lake.mastercpc, world.lake.excluded_users, world.lake.music_cpcs):
        assert file.stat().st_size > 100


def test_the_reporting_host_has_a_fresh_snapshot_behind_a_pinned_key(world: Cvas, begun: datetime) -> None:
    """R6, R7, R72"""
    connection = world.connections()["cvas_reporting_sftp"]
    host, port = connection["host"], connection["port"]

    async def fetch() -> tuple[bytes, float]:
        known = asyncssh.import_known_hosts(f"[{host}]:{port} {connection['extra']['host_key']}\n")
        key = asyncssh.import_private_key(connection["extra"]["private_key"])
        async with (
            asyncssh.connect(host, port, username=connection["login"], client_keys=[key], known_hosts=known) as client,
            client.start_sftp_client() as sftp,
            sftp.open("NBS_Base.csv", "rb") as file,
        ):
            attributes = await sftp.stat("NBS_Base.csv")
            return await file.read(), float(attributes.mtime or 0)

    loop = Loop()
    try:
        content, modified = loop.run(fetch())
    finally:
        loop.close()
    assert content == make_snapshot(world.day, rows=2_000).content()
    # Not so new that it is waited for. SFTP counts whole seconds.
    assert begun - timedelta(seconds=301) < datetime.fromtimestamp(modified, UTC) <= datetime.now(UTC) - WRITTEN_AGO
    rows = list(csv.reader(content.decode("latin-1").splitlines()))
    assert 1_500 <= len(rows) <= 3_000


def test_the_report_tells_what_is_missing_and_what_came_out(world: Cvas) -> None:
    with pytest.raises((AssertionError, FileNotFoundError)):
        world.report()
    process(world, world.day)
    lines = world.report()
    assert lines[0] == f"  business day {world.day}"
    assert [line.split()[0] for line in lines[2:8]] == [kind.name for kind in TYPES]
    assert "  all of it equals the generator's own calculation, to the cent" in lines
    correct_day(world.source_url, world.day)
    fetch_transactions(
        connect_to(world), world.lake, day=world.day, types=TYPES, now=datetime.now(UTC), settings=Settings()
    )
    load_transactions(world.lake, day=world.day, now=datetime.now(UTC), settings=Settings())
    with pytest.raises(AssertionError, match=r"(ACT|RENO) of .*: expected .* found"):
        world.report()


def test_a_started_world_keeps_its_state_and_another_size_makes_a_new_one(tmp_path: Path) -> None:
    def marks(world: Cvas) -> tuple[str, str]:
        path = max(world.lake.transactions.glob("reno/year_month=*/data.parquet"))
        return f"{path.stat().st_ino} {path.stat().st_mtime_ns}", world.ssh.host_key

    found = []
    for history_days in (5, 5, 6):
        with Cvas(tmp_path, scale=0.01, history_days=history_days).running() as world:
            found.append(marks(world))
            assert len(read_state(world.lake).days) == history_days
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
    assert found[0][1] == found[2][1]


def test_the_world_moves_on_a_day_with_or_without_its_servers(tmp_path: Path) -> None:
    def renewals(world: Cvas, day: date) -> int:
        with psycopg.connect(world.source_url) as db:
            rows = db.execute(
                "SELECT count(*) FROM telefonicaes_sub_mgr_fact WHERE tlog_ts::date = %s", [day]
            ).fetchone()
        assert rows is not None
        return int(rows[0])

    with SteadyCvas(tmp_path, scale=0.01, history_days=5).running() as world:
        day, snapshot = world.day, (world.host / "NBS_Base.csv").read_bytes()
        next_days = [day + timedelta(days=n) for n in range(1, 4)]
        assert [renewals(world, each) > 0 for each in (day, *next_days)] == [True, False, False, False]
        world.move_to(next_days[0])
        assert (world.host / "NBS_Base.csv").read_bytes() != snapshot
        Cvas(tmp_path, scale=0.01, history_days=5).move_to(next_days[1])  # as another process does
        assert [renewals(world, each) > 0 for each in next_days] == [True, True, False]
    stopped = Cvas(tmp_path, scale=0.01, history_days=5)
    stopped.move_to(next_days[2])
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(stopped.source_url)
    with PostgresServer(tmp_path / "postgres") as stopped.postgres:
        assert renewals(stopped, next_days[2]) > 0
