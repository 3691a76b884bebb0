"""The six types of a day out of a real PostgreSQL behind SSH servers: ours and, where installed, OpenSSH (R18-R23)."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dagkit import connections
from psycopg import sql

from include.common import files, locks
from include.common.results import StepResult
from include.cvas import fetch
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, CNR, PPD, RENO, TYPES, TransactionType
from include.cvas.fetch import Connect, check_source, fetch_transactions
from include.cvas.manifest import MANIFEST, is_complete, read_manifest
from include.errors import (
    AlreadyRunning,
    CheckFailed,
    ContractViolation,
    CredentialRefused,
    PipelineError,
    RequestRefused,
    SourceUnavailable,
    StoreBusy,
    StoreFull,
)
from sandbox.servers.base import HOST
from sandbox.servers.faults import FaultProxy, small_disk
from sandbox.servers.postgres import PostgresServer
from sandbox.servers.real import OpenSsh
from sandbox.servers.ssh import SshServer

DAY = date(2025, 11, 10)
NOW = datetime(2025, 11, 11, 7, 25, tzinfo=UTC)
USER, OTHER = "0340000000000000017", "340000000000000018"
PHONE = "34600000017"
READER = "cvas_reader"
NAMES = [kind.name for kind in TYPES]

TABLES = """
CREATE TABLE telefonicaes_sub_mgr_fact (
    msisdn text, generic_act_info text, trans_type_id int, channel_id int, tlog_ts timestamp, request_ts timestamp,
    next_charging_date timestamp, subscription_id bigint, charged_amount numeric);
CREATE TABLE channel_dim (channel_id int, channel_desc text);
CREATE TABLE delaydcttlog_v1_0_0_fact ("timestamp" timestamp, sbn_id text, msisdn text, cpc int, mode text);
CREATE TABLE refund_v1_0_0_fact (msisdn text, cpc int, "timestamp" timestamp, amount numeric, info text);
INSERT INTO channel_dim VALUES (3, 'UPGRADE'), (45, 'VOICE'), (46, 'WEB, "new"'), (47, E'two\\nlines');
"""
INFO = f"chrg_refid={PHONE};cpc=46109;campaign=a1b2c3d;TEFProvider=007;TEFmedium=campana;TEFcampaign=e5f6a7b;end=1"

Define = Callable[..., Connect]

SSH = [
    SshServer,
    pytest.param(OpenSsh, marks=pytest.mark.skipif(not OpenSsh.available(), reason="sshd is not installed")),
]


@dataclass
class Source:
    """The operator's database, made of few rows; ``url`` is its owner's, ``reader_url`` of who may only SELECT."""

    url: str
    reader_url: str

    def execute(self, statement: str, parameters: Any = None) -> None:
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute(statement, parameters)
            db.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(sql.Identifier(READER)))

    def add(
        self,
        type_id: int,
        at: str,
        info: str | None = INFO,
        *,
        user: str | None = USER,
        channel: int | None = 45,
        subscription: int | None = 900001,
        amount: str | None = "5.36",
        requested: str | None = "2009-03-01 10:00:00",
        charged_next: str | None = "2025-12-10 00:00:00",
    ) -> None:
        row = [user, info, type_id, channel, at, requested, charged_next, subscription, amount]
        self.execute(f"INSERT INTO telefonicaes_sub_mgr_fact VALUES ({', '.join(['%s'] * 9)})", row)

    def add_many(self, type_id: int, rows: int) -> None:
        """Rows of two lines that hardly compress, a second apart from midnight on."""
        self.execute(
            "INSERT INTO telefonicaes_sub_mgr_fact"
            " SELECT md5(n::text), 'cpc=' || n || ';campaign=' || md5('a' || n), %s, 47,"
            " timestamp '2025-11-10' + n * interval '1 second', NULL, NULL, n, 0.99 FROM generate_series(1, %s) AS n",
            [type_id, rows],
        )

    def cancel(self, at: str, subscription: str | None = "900001", cpc: int | None = 46109) -> None:
        self.execute(
            "INSERT INTO delaydcttlog_v1_0_0_fact VALUES (%s, %s, %s, %s, %s)",
            [at, subscription, USER, cpc, "CCC-CR"],
        )

    def refund(
        self, at: str, amount: str | None, info: str | None, *, user: str = USER, cpc: int | None = 46109
    ) -> None:
        self.execute("INSERT INTO refund_v1_0_0_fact VALUES (%s, %s, %s, %s, %s)", [user, cpc, at, amount, info])

    def fill(self) -> None:
        """One row of every type but PPD."""
        for type_id in (1, 2, 3):
            self.add(type_id, "2025-11-10 12:00:00")
        self.cancel("2025-11-10 12:00:00")
        self.refund("2025-11-10 12:00:00", "0.99", "sbnId=900001,x")

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.reader_url)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        with psycopg.connect(server.create_database("template"), autocommit=True) as db:
            db.execute(TABLES)
            db.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{server.password}'")
            db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
        yield server


@pytest.fixture
def source(postgres: PostgresServer, request: pytest.FixtureRequest) -> Source:
    name = f"source_{sha256(request.node.name.encode()).hexdigest()[:12]}"
    with psycopg.connect(postgres.url(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE template")
    url = postgres.url(name)
    return Source(url, url.replace(f"//{postgres.user}:", f"//{READER}:"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture(params=SSH)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SshServer | OpenSsh]:
    """The SSH server in front of the database."""
    with request.param(tmp_path, keys=tmp_path / "keys") as server:
        yield server


@pytest.fixture
def define(source: Source, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Define:
    """Define the connections that lead to the source through an SSH server, at this or another port."""

    def define(host: SshServer | OpenSsh, port: int, **changed: str) -> Connect:
        extra = {"private_key": host.client_key.read_text(), "host_key": host.host_key, "look_for_keys": False}
        extra |= changed
        for conn_id, connection in {
            connections.CVAS_NOVA_SSH: {
                "conn_type": "ssh",
                "host": HOST,
                "port": port,
                "login": host.user,
                "extra": extra,
            },
            connections.CVAS_NOVA_DB: {
                "conn_type": "postgres",
                "host": HOST,
                "port": postgres.port,
                "login": READER,
                "password": postgres.password,
                "schema": source.url.rpartition("/")[2],
            },
        }.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        return partial(connections.open_postgres, connections.CVAS_NOVA_DB, through=connections.CVAS_NOVA_SSH)

    return define


def run(connect: Connect, lake: Lake, types: tuple[TransactionType, ...] = TYPES, **options: Any) -> StepResult:
    settings = Settings(**options.pop("settings", {}))
    return fetch_transactions(connect, lake, **{"day": DAY, "now": NOW, **options}, types=types, settings=settings)


def fails(
    kind: type[PipelineError], connect: Connect, lake: Lake, types: tuple[TransactionType, ...] = TYPES, **options: Any
) -> str:
    """The fetch fails in this way and leaves nothing unfinished; what it says."""
    with pytest.raises(kind) as caught:
        run(connect, lake, types, **options)
    assert type(caught.value) is kind
    assert not [path.name for path in lake.root.rglob("*.tmp")]
    return str(caught.value)


def contents(lake: Lake, day: date = DAY) -> dict[str, str]:
    """The CSVs of a day by type, in the order of the fetch; line ends as they are."""
    paths = [lake.daily(day) / f"{name}.csv" for name in NAMES]
    return {path.stem: path.read_bytes().decode() for path in paths if path.exists()}


# --- what arrives ----------------------------------------------------------------------------------------------------

CORPUS = Path(__file__).resolve().parents[1] / "corpus" / "cvas" / "fetch"
EVERY_QUIRK = {name: (CORPUS / "every_quirk" / f"{name}.csv").read_bytes().decode() for name in NAMES}


def _add_every_quirk(source: Source) -> None:
    """Section 3.2: K() with either campaign first, no key, no field; orphans; fractions; both midnights; refunds."""
    source.add(1, "2025-11-09 23:59:59.999999", subscription=1)
    source.add(1, "2025-11-11 00:00:00", subscription=2)
    source.add(1, "2025-11-10 00:00:00")
    other_way_round = f"TEFmedium=campana;TEFcampaign=e5f6a7b;chrg_refid={PHONE};cpc=46109;campaign=no;TEFProvider=007"
    source.add(1, "2025-11-10 08:00:00", other_way_round, channel=3, subscription=900002, amount="0")
    source.add(
        1,
        "2025-11-10 09:00:00.123456",
        f"campaign=a1b2c3d;chrg_refid={PHONE}",
        channel=99,
        subscription=900003,
        amount=None,
        requested="2006-01-02 03:04:05.5",
        charged_next=None,
    )
    nothing = {"channel": None, "requested": None, "charged_next": None}
    source.add(1, "2025-11-10 10:00:00", None, user=OTHER, subscription=900004, amount="1.64", **nothing)
    odd = "cpc=12x;cpc=1;campaign=to campaign=x;TEFProvider=x7;TEFcampaign=a,b;TEFmedium=;chrg_refid=34600000018"
    source.add(1, "2025-11-10 23:59:59.999999", odd, user=None, channel=46, subscription=900005, amount="9.08")

    source.add(2, "2025-11-10 12:00:00", subscription=900002, amount="-0.99")
    source.add(2, "2025-11-10 12:00:00", amount="5.36")
    source.add(2, "2025-11-10 12:00:00", amount="2.990", channel=47)
    source.add(3, "2025-11-10 12:00:00", channel=None)
    source.add(3, "2025-11-10 08:00:00", channel=3, subscription=900002)
    source.add(4, "2025-11-10 12:00:00", subscription=None, amount="1.21")
    source.add(5, "2025-11-10 12:00:00")

    source.cancel("2025-11-10 10:00:00.25", "x 7", None)
    source.cancel("2025-11-10 00:00:00")
    source.cancel("2025-11-11 00:00:00")
    source.cancel("2025-11-09 23:59:59")

    source.refund("2025-11-10 00:00:00", "2.46", "type=Regular,sbnId=900002,sbnId=7,x")
    source.refund("2025-11-10 23:59:59", "1.23", "sbnId=900002,type=Regular")
    source.refund("2025-11-10 12:00:00", "1.23", "sbnId=900002", user=OTHER)
    source.refund("2025-11-10 12:00:00", "1.00", "sbnId=900002,x", cpc=44010)
    source.refund("2025-11-10 12:00:00", "4.13", "AUTOMATIC refund,sbnId=900002,x")
    source.refund("2025-11-10 13:00:00", None, "sbnId=900002,Automatic Refund")
    source.refund("2025-11-10 12:00:00", "0.99", "Regular")
    source.refund("2025-11-10 12:00:00", "1.11", None)
    source.refund("2025-11-10 13:00:00", "1.11", None)
    source.refund("2025-11-11 00:00:00", "9.99", "sbnId=900002,x")


def test_every_quirk_of_the_source_arrives_as_agreed(
    source: Source, host: SshServer | OpenSsh, define: Define, lake: Lake
) -> None:
    """Sections 3.2, 3.3; R18-R21. Every file as literal text."""
    _add_every_quirk(source)

    result = run(define(host, host.port), lake)

    assert contents(lake) == EVERY_QUIRK
    assert (result.where, result.read, result.written) == (str(lake.daily(DAY)), 19, 19)
    assert result.bytes == sum(len(text) for text in EVERY_QUIRK.values())
    assert result.warnings == ()
    rows = {"ACT": 5, "RENO": 3, "DCT": 2, "PPD": 1, "CNR": 2, "RFND": 6}
    assert {name: result.facts[name] for name in ("rows", "missing", "complete", "successful")} == {
        "rows": rows,
        "missing": [],
        "complete": True,
        "successful": "6/6",
    }
    json.dumps(result.as_dict())
    manifest = read_manifest(lake, DAY)
    assert {name: (entry.rows, entry.bytes, entry.sha256) for name, entry in manifest.items()} == {
        name: (rows[name], len(text), sha256(text.encode()).hexdigest()) for name, text in EVERY_QUIRK.items()
    }
    assert {name: (str(entry.first_event), str(entry.last_event)) for name, entry in manifest.items()} == {
        "ACT": ("2025-11-10 00:00:00", "2025-11-10 23:59:59.999999"),
        "RENO": ("2025-11-10 12:00:00", "2025-11-10 12:00:00"),
        "DCT": ("2025-11-10 08:00:00", "2025-11-10 12:00:00"),
        "PPD": ("2025-11-10 12:00:00", "2025-11-10 12:00:00"),
        "CNR": ("2025-11-10 00:00:00", "2025-11-10 10:00:00.250000"),
        "RFND": ("2025-11-10 00:00:00", "2025-11-10 00:00:00"),
    }
    times = [moment for entry in manifest.values() for moment in (entry.query_start, entry.query_end)]
    assert times == sorted(times)
    assert NOW < times[0] < times[-1] < NOW + timedelta(minutes=1)
    assert is_complete(lake, DAY)
    assert sorted(path.name for path in lake.daily(DAY).iterdir()) == sorted([*(f"{n}.csv" for n in NAMES), MANIFEST])


def test_the_same_day_twice_changes_nothing_but_the_times_of_the_query(source: Source, lake: Lake) -> None:
    """R23; the rows have moved in their table in between."""
    _add_every_quirk(source)
    source.add(2, "2025-11-10 12:00:00", "campaign=b")
    source.add(2, "2025-11-10 12:00:00", "campaign=a")
    run(source.connect, lake)
    before, entries = contents(lake), read_manifest(lake, DAY)
    source.execute("UPDATE telefonicaes_sub_mgr_fact SET msisdn = msisdn WHERE generic_act_info <> 'campaign=a'")

    run(source.connect, lake, now=NOW + timedelta(days=3))

    assert contents(lake) == before
    for name, entry in read_manifest(lake, DAY).items():
        assert entry.sha256 == entries[name].sha256
        assert entry.query_start
        assert entry.query_start > NOW + timedelta(days=3)


def test_a_rerun_brings_what_was_corrected_at_the_source(source: Source, lake: Lake) -> None:
    """R23, G8."""
    source.fill()
    run(source.connect, lake)
    source.execute("DELETE FROM delaydcttlog_v1_0_0_fact")
    source.execute("UPDATE telefonicaes_sub_mgr_fact SET charged_amount = 1 WHERE trans_type_id = 2")

    run(source.connect, lake)

    assert contents(lake)["CNR"] == "cancel_date,sbn_id,tmuserid,cpc,mode\n"
    assert contents(lake)["RENO"].endswith(",900001,1\n")
    assert {name: entry.rows for name, entry in read_manifest(lake, DAY).items()} == {
        **dict.fromkeys(NAMES, 1),
        "PPD": 0,
        "CNR": 0,
    }


def test_some_types_can_be_fetched_alone(source: Source, lake: Lake) -> None:
    """R4, R23: the others are told to be missing; in the order of the fetch (R18)."""
    source.fill()

    result = run(source.connect, lake, (CNR, PPD))

    assert list(contents(lake)) == ["PPD", "CNR"]
    assert list(read_manifest(lake, DAY)) == ["PPD", "CNR"]
    assert result.facts["rows"] == {"PPD": 0, "CNR": 1}
    assert result.facts["missing"] == ["ACT", "RENO", "DCT", "RFND"]
    assert (result.facts["complete"], result.facts["successful"]) == (False, "2/2")
    assert run(source.connect, lake, tuple(kind for kind in TYPES if kind not in (CNR, PPD))).facts["complete"]


def test_the_transactions_may_lie_in_a_table_of_any_name(source: Source, lake: Lake) -> None:
    """Section 3.2; the name is an identifier, whatever is in it."""
    source.fill()
    odd = 'fact"; DROP TABLE channel_dim; --'
    move = sql.SQL(
        "CREATE SCHEMA archive; ALTER TABLE telefonicaes_sub_mgr_fact SET SCHEMA archive;"
        " ALTER TABLE archive.telefonicaes_sub_mgr_fact RENAME TO {}; GRANT USAGE ON SCHEMA archive TO {};"
        " GRANT SELECT ON ALL TABLES IN SCHEMA archive TO {}"
    )
    reader = sql.Identifier(READER)
    source.execute(move.format(sql.Identifier(odd), reader, reader))

    assert run(source.connect, lake, settings={"transactions_table": f"archive.{odd}"}).facts["rows"]["ACT"] == 1


# --- how it is asked for ---------------------------------------------------------------------------------------------


def test_the_source_is_read_in_a_read_only_snapshot_with_a_time_limit(source: Source, lake: Lake) -> None:
    """R19; what the session is like, written by a view into the channel."""
    source.fill()
    source.execute(
        "ALTER TABLE channel_dim RENAME TO channels; CREATE VIEW channel_dim AS SELECT channel_id, concat_ws(' ',"
        " current_setting('transaction_isolation'), current_setting('transaction_read_only'),"
        " current_setting('statement_timeout'), current_setting('application_name')) AS channel_desc FROM channels"
    )

    run(source.connect, lake, settings={"statement_timeout_seconds": 77})

    assert ",45,repeatable read on 77s cvas_fetch,2025-11-10" in contents(lake)["ACT"]


def test_nothing_is_written_at_the_source_even_by_an_account_that_might(source: Source, lake: Lake) -> None:
    """R19."""
    source.fill()
    source.execute(
        "CREATE TABLE touched (n int);"
        " CREATE FUNCTION touch(amount numeric) RETURNS numeric LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO touched VALUES (1); RETURN amount; END';"
        " ALTER TABLE refund_v1_0_0_fact RENAME TO refunds; CREATE VIEW refund_v1_0_0_fact AS"
        ' SELECT msisdn, cpc, "timestamp", touch(amount) AS amount, info FROM refunds'
    )

    said = fails(ContractViolation, partial(psycopg.connect, source.url), lake)

    assert "RFND failed: The source refused the query: cannot execute INSERT in a read-only transaction." in said
    with psycopg.connect(source.url) as db:
        assert db.execute("SELECT count(*) FROM touched").fetchone() == (0,)


def test_other_settings_of_the_account_change_nothing(source: Source, lake: Lake) -> None:
    """The way dates are written, the character set, and what is cancelled: a view writes it into the channel."""
    source.execute(
        "UPDATE channel_dim SET channel_desc = 'Señal' WHERE channel_id = 45;"
        " ALTER TABLE channel_dim RENAME TO channels; CREATE VIEW channel_dim AS"
        " SELECT channel_id, concat_ws(' ', channel_desc, current_setting('statement_timeout')) AS channel_desc"
        " FROM channels"
    )
    source.fill()
    unlike = {"datestyle": "SQL,DMY", "client_encoding": "latin1", "statement_timeout": "1h", "timezone": "Asia/Tokyo"}
    options = " ".join(f"-c {name}={value}" for name, value in unlike.items())

    run(lambda: psycopg.connect(source.reader_url, options=options), lake)

    assert ",45,Señal 10min,2025-11-10 12:00:00,2009-03-01 10:00:00," in contents(lake)["ACT"]


# --- one type fails --------------------------------------------------------------------------------------------------


@dataclass
class Counted:
    """How often a session was opened."""

    connect: Connect
    opened: int = 0

    def __call__(self) -> Any:
        self.opened += 1
        return self.connect()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP TABLE delaydcttlog_v1_0_0_fact", 'relation "delaydcttlog_v1_0_0_fact" does not exist'),
        ("ALTER TABLE delaydcttlog_v1_0_0_fact RENAME mode TO route", 'column "mode" does not exist'),
        (
            f"REVOKE SELECT ON delaydcttlog_v1_0_0_fact FROM {READER}",
            "permission denied for table delaydcttlog_v1_0_0_fact",
        ),
    ],
)
def test_a_type_that_cannot_be_read_does_not_stop_the_others(
    source: Source, lake: Lake, change: str, said: str
) -> None:
    """R18; section 6: table or column missing. Its older file stays (R23)."""
    source.fill()
    run(source.connect, lake)
    before = contents(lake)
    source.add(2, "2025-11-10 13:00:00")
    with psycopg.connect(source.url, autocommit=True) as db:
        db.execute(change)
    connect = Counted(source.connect)

    assert fails(ContractViolation, connect, lake) == (
        f"cvas: 2025-11-10: 5/6 successful. CNR failed: The source refused the query: {said}. "
        "Next step: Ask the source's owner what was renamed or who may read it, then clear the task."
    )
    assert connect.opened == 1
    after = contents(lake)
    assert {name for name in NAMES if after[name] != before[name]} == {"RENO"}
    with pytest.raises(
        ContractViolation, match=rf"^cvas: 2025-11-10: The source cannot be read as agreed\. .*: {said}\."
    ):
        check_source(source.connect, day=DAY, settings=Settings())


def test_a_query_that_takes_too_long_is_tried_again_later(source: Source, lake: Lake) -> None:
    """R19; section 6: statement timeout."""
    source.fill()
    source.execute(
        "ALTER TABLE refund_v1_0_0_fact RENAME TO refunds; CREATE VIEW refund_v1_0_0_fact AS"
        ' SELECT msisdn, cpc, "timestamp", amount + length(pg_sleep(3600)::text) AS amount, info FROM refunds'
    )

    said = fails(SourceUnavailable, source.connect, lake, settings={"statement_timeout_seconds": 5})

    assert (
        "5/6 successful. RFND failed: The source did not deliver: canceling statement due to statement timeout" in said
    )
    assert list(contents(lake)) == NAMES[:-1]


def test_an_error_never_tells_who_it_was_about(source: Source, lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    """R5: databases quote what they stumble over."""
    caplog.set_level("DEBUG")
    source.fill()
    source.execute(
        "ALTER TABLE refund_v1_0_0_fact RENAME TO refunds; CREATE VIEW refund_v1_0_0_fact AS"
        ' SELECT msisdn, cpc, "timestamp", amount + msisdn::int AS amount, info FROM refunds'
    )

    with pytest.raises(
        ContractViolation, match=r'RFND failed: .* value "\*\*\*" is out of range for type integer'
    ) as caught:
        run(source.connect, lake)

    logs = "".join(path.read_text() for path in lake.logs.rglob("*") if path.is_file())
    for text in ("".join(traceback.format_exception(caught.value)), caplog.text, logs):
        assert "RFND failed" in text
        assert USER not in text
        assert PHONE not in text


def test_what_may_pass_is_tried_again_although_other_types_failed_for_good(source: Source, lake: Lake) -> None:
    """R18, section 6: one cause is told once, with all types it stopped, and every cause has its next step."""
    source.fill()
    source.execute("ALTER TABLE telefonicaes_sub_mgr_fact DROP COLUMN request_ts")
    source.execute(
        "ALTER TABLE refund_v1_0_0_fact RENAME TO refunds; CREATE VIEW refund_v1_0_0_fact AS"
        ' SELECT msisdn, cpc, "timestamp", amount + length(pg_sleep(3600)::text) AS amount, info FROM refunds'
    )

    refused = (
        "ACT, RENO, DCT, PPD failed: The source refused the query: column f.request_ts does not exist. "
        "{more}Next step: Ask the source's owner what was renamed or who may read it, then clear the task."
    )
    late = "RFND failed: The source did not deliver: canceling statement due to statement timeout. "
    assert fails(SourceUnavailable, source.connect, lake, settings={"statement_timeout_seconds": 5}) == (
        f"cvas: 2025-11-10: 1/6 successful. {refused.format(more=late)} It is tried again in five minutes. If it is "
        "always the time that is up: raise statement_timeout_seconds, or ask the source's owner for an index on the "
        "event time."
    )

    source.execute("DROP VIEW refund_v1_0_0_fact; ALTER TABLE refunds RENAME TO refund_v1_0_0_fact")
    assert fails(ContractViolation, source.connect, lake) == (
        f"cvas: 2025-11-10: 2/6 successful. {refused.format(more='')}"
    )
    assert list(read_manifest(lake, DAY)) == ["CNR", "RFND"]


def test_a_refused_login_is_final_whatever_else_failed(source: Source, lake: Lake) -> None:
    """Section 6: authentication or host key failure fails at once; trying again may lock the account."""
    source.fill()
    sessions = []

    @contextmanager
    def connect() -> Iterator[psycopg.Connection[Any]]:
        if sessions:
            raise CredentialRefused("The password was changed.", next_step="Enter the new one.")
        with source.connect() as db:
            sessions.append(db.info.backend_pid)
            source.execute("SELECT pg_terminate_backend(%s)", sessions)
            yield db

    said = fails(CredentialRefused, connect, lake)
    assert "ACT failed: The source did not deliver: " in said
    assert "RENO, DCT, PPD, CNR, RFND failed: The password was changed. Next step: " in said
    assert said.endswith(" Enter the new one.")


# --- the connection fails --------------------------------------------------------------------------------------------


def test_a_tunnel_that_breaks_in_the_middle_costs_one_type(
    source: Source, host: SshServer | OpenSsh, define: Define, lake: Lake
) -> None:
    """R18; section 6: nothing of the broken type is visible, the next one gets a new session, a retry helps."""
    source.fill()
    source.add_many(2, 30_000)
    with FaultProxy(host.port) as proxy:
        connect = Counted(define(host, proxy.port))
        for interfere in (proxy.reset_after, proxy.truncate_after):
            interfere(500_000)
            assert fails(SourceUnavailable, connect, lake).startswith(
                "cvas: 2025-11-10: 5/6 successful. RENO failed: The source did not deliver: the connection broke off. "
                "Next step: It is tried again in five minutes."
            )
            assert list(contents(lake)) == [name for name in NAMES if name != "RENO"]
            assert list(read_manifest(lake, DAY)) == list(contents(lake))
        assert connect.opened == 4

        proxy.heal()
        assert run(connect, lake).facts["rows"]["RENO"] == 30_001
    assert is_complete(lake, DAY)


def test_a_host_that_is_gone_is_asked_once_for_all_types(
    source: Source, define: Define, lake: Lake, tmp_path: Path
) -> None:
    """Section 6: fails naming the connection, not its address; nothing is stored."""
    with SshServer(tmp_path, keys=tmp_path / "keys") as host:
        connect = Counted(define(host, host.port))

    said = fails(SourceUnavailable, connect, lake)

    assert said.startswith(
        "cvas: 2025-11-10: 0/6 successful. ACT, RENO, DCT, PPD, CNR, RFND failed: "
        "Cannot reach the server of cvas_nova_ssh (Connection refused). Next step: "
    )
    assert HOST not in said
    assert connect.opened == 1
    assert contents(lake) == {}


def test_a_refused_login_is_not_tried_for_every_type(
    source: Source, define: Define, lake: Lake, tmp_path: Path
) -> None:
    """Section 6: authentication or host key failure fails at once."""
    stranger = SshServer(tmp_path, keys=tmp_path / "other")
    with SshServer(tmp_path, keys=tmp_path / "keys") as host:
        for changed, reason in (
            ({"private_key": stranger.client_key.read_text()}, "authentication was refused"),
            ({"host_key": stranger.host_key}, "the server's host key is not the one on record"),
        ):
            connect = Counted(define(host, host.port, **changed))
            assert f"CNR, RFND failed: cvas_nova_ssh: {reason}" in fails(CredentialRefused, connect, lake)
            assert connect.opened == 1


def test_a_database_that_falls_silent_is_hung_up_on(
    source: Source, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is stopped, so it cannot keep the time limit itself; the connection would stay open for ever."""
    monkeypatch.setattr(fetch, "GRACE_SECONDS", 0.5)
    source.fill()
    stopped = []

    @contextmanager
    def connect() -> Iterator[psycopg.Connection[Any]]:
        with source.connect() as db:
            if not stopped:
                stopped.append(db.info.backend_pid)
                os.kill(stopped[0], signal.SIGSTOP)
            yield db

    try:
        said = fails(SourceUnavailable, connect, lake, settings={"statement_timeout_seconds": 5})
    finally:
        os.kill(stopped[0], signal.SIGCONT)
    assert "5/6 successful. ACT failed: The source did not deliver: the connection broke off." in said


# --- the proof that it is the day ------------------------------------------------------------------------------------


def test_events_of_another_day_fail_the_type(source: Source, lake: Lake) -> None:
    """R21: at this source no time is before another, so the window lets everything through."""
    source.fill()
    source.add(1, "2025-11-11 00:00:00")
    source.add(1, "2024-02-29 23:59:59.5")
    source.execute(
        "CREATE SCHEMA broken;"
        " CREATE FUNCTION broken.always(timestamp, timestamp) RETURNS boolean LANGUAGE sql AS 'SELECT true';"
        " CREATE OPERATOR broken.>= (LEFTARG = timestamp, RIGHTARG = timestamp, FUNCTION = broken.always);"
        " CREATE OPERATOR broken.< (LEFTARG = timestamp, RIGHTARG = timestamp, FUNCTION = broken.always);"
        f" GRANT USAGE ON SCHEMA broken TO {READER}"
    )

    said = fails(
        ContractViolation,
        lambda: psycopg.connect(source.reader_url, options="-c search_path=broken,pg_catalog,public"),
        lake,
    )

    assert said.startswith(
        "cvas: 2025-11-10: 5/6 successful. ACT failed: ACT has events from 2024-02-29 23:59:59.500000 to "
        "2025-11-11 00:00:00, and 0 without a readable time: that is not 2025-11-10. Next step: "
    )
    assert list(contents(lake)) == NAMES[1:]
    assert list(read_manifest(lake, DAY)) == NAMES[1:]


def test_times_that_nobody_can_read_fail_the_type(source: Source, lake: Lake) -> None:
    """R21: a time with a zone is not what was agreed."""
    source.fill()
    source.execute('ALTER TABLE delaydcttlog_v1_0_0_fact ALTER "timestamp" TYPE timestamptz')

    said = fails(ContractViolation, source.connect, lake)

    assert "CNR has events from None to None, and 1 without a readable time: that is not 2025-11-10." in said


@pytest.mark.parametrize(
    ("altered", "kind", "said"),
    [
        (lambda text: text.replace("sbn_id", "sbnid"), ContractViolation, "The header of CNR is cancel_date,sbnid,tmu"),
        (lambda text: text.replace("sbn_id,tmuserid", "tmuserid,sbn_id"), ContractViolation, "The header of CNR is"),
        (lambda text: "", ContractViolation, "The header of CNR is , not cancel_date"),
        (lambda text: text.rpartition("2025")[0], SourceUnavailable, "1 rows of CNR arrived of 2."),
        (lambda text: text + text[-30:], SourceUnavailable, "3 rows of CNR arrived of 2."),
        (lambda text: text + f'"{USER}', CheckFailed, "What arrived of CNR cannot be read back"),
        (lambda text: text.replace("-10 10:", "-11 10:"), ContractViolation, "to 2025-11-11 10:00:00.250000, and 0 "),
        (lambda text: text.replace("2025-11-10 00:00:00", ""), ContractViolation, "and 1 without a readable time"),
    ],
)
def test_a_file_that_is_not_what_was_sent_is_none(
    tmp_path: Path, altered: Callable[[str], str], kind: type[PipelineError], said: str
) -> None:
    """R21; section 6: rows other than the count COPY reported. What nobody sent cannot be made the source send."""
    file = tmp_path / "CNR.csv"
    file.write_text(EVERY_QUIRK["CNR"])
    assert [str(moment) for moment in fetch._prove(file, CNR, DAY, 2)] == [
        "2025-11-10 00:00:00",
        "2025-11-10 10:00:00.250000",
    ]
    file.write_text(altered(EVERY_QUIRK["CNR"]))

    with pytest.raises(kind) as caught:
        fetch._prove(file, CNR, DAY, 2)
    assert said in str(caught.value)
    assert USER not in str(caught.value)


# --- no rows ---------------------------------------------------------------------------------------------------------

NEITHER = "The source has neither activations nor renewals of 2025-11-10."


def test_a_type_without_rows_is_told_of_unless_it_is_usual(source: Source, lake: Lake) -> None:
    """R22."""
    source.add(2, "2025-11-10 12:00:00")

    result = run(source.connect, lake)

    assert result.warnings == tuple(
        f"{name}: the source has no row of 2025-11-10." for name in ("ACT", "DCT", "CNR", "RFND")
    )
    assert [len(text.splitlines()) for text in contents(lake).values()] == [1, 2, 1, 1, 1, 1]
    assert contents(lake)["PPD"] == (CORPUS / "every_quirk" / "PPD.csv").read_text().splitlines(keepends=True)[0]
    assert read_manifest(lake, DAY)["PPD"].first_event is None


def test_neither_activations_nor_renewals_fail_and_change_neither_file(source: Source, lake: Lake) -> None:
    """R22; a source that has purged the day does not take what is there."""
    source.fill()
    run(source.connect, lake)
    before = contents(lake)
    source.execute("DELETE FROM telefonicaes_sub_mgr_fact WHERE trans_type_id IN (1, 2)")
    source.cancel("2025-11-10 13:00:00")

    said = fails(CheckFailed, source.connect, lake)

    assert said.startswith(f"cvas: 2025-11-10: 4/6 successful. ACT, RENO failed: {NEITHER} Next step: ")
    after = contents(lake)
    assert {name for name in NAMES if after[name] != before[name]} == {"CNR"}
    assert NEITHER in fails(CheckFailed, source.connect, lake, (RENO,))


def test_neither_activations_nor_renewals_can_be_allowed(source: Source, lake: Lake) -> None:
    """R22."""
    result = run(source.connect, lake, allow_empty=True)

    assert result.facts["rows"] == dict.fromkeys(NAMES, 0)
    assert len(result.warnings) == 5


def test_a_day_without_activations_is_a_day_if_it_has_renewals(source: Source, lake: Lake) -> None:
    """R22; also when only one of the two is asked for."""
    source.add(2, "2025-11-10 12:00:00")

    assert run(source.connect, lake, (ACT,)).facts["rows"] == {"ACT": 0}


# --- days that are not over ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "over"),
    [
        (datetime(2025, 11, 10, 22, 59, 59, tzinfo=UTC), False),
        (datetime(2025, 11, 10, 23, 0, tzinfo=UTC), True),
    ],
)
def test_a_day_that_is_not_over_in_its_zone_is_taken_as_incomplete_only(
    source: Source, lake: Lake, now: datetime, *, over: bool
) -> None:
    """R2."""
    source.fill()
    if over:
        run(source.connect, lake, now=now)
        assert is_complete(lake, DAY)
        return
    assert "2025-11-10 is not over" in fails(RequestRefused, source.connect, lake, now=now)
    assert contents(lake) == {}

    result = run(source.connect, lake, now=now, partial=True)
    assert not result.facts["complete"]
    assert {entry.complete for entry in read_manifest(lake, DAY).values()} == {False}

    run(source.connect, lake)
    assert is_complete(lake, DAY)


# --- two at once, kills, a full disk ---------------------------------------------------------------------------------


def test_a_day_is_fetched_once_at_a_time_and_not_while_it_is_loaded(source: Source, lake: Lake) -> None:
    """R3; another day is no matter."""
    source.fill()
    waiting, may_go_on = threading.Event(), threading.Event()

    @contextmanager
    def slowly() -> Iterator[psycopg.Connection[Any]]:
        waiting.set()
        may_go_on.wait()
        with source.connect() as db:
            yield db

    first = threading.Thread(target=run, args=(slowly, lake))
    first.start()
    try:
        assert waiting.wait(120)
        assert "cvas_fetch is already running" in fails(AlreadyRunning, source.connect, lake)
        run(source.connect, lake, day=date(2025, 11, 9), allow_empty=True)
    finally:
        may_go_on.set()
        first.join()
    assert is_complete(lake, DAY)
    with locks.hold(lake.daily_lock(DAY), "cvas_process", shared=True):
        assert "cvas_fetch has to wait" in fails(StoreBusy, source.connect, lake)


# Fetches ACT and RENO, and is killed in front of its n-th rename, or where a file would become larger than ``size``.
CHILD = """
import os, resource, signal, sys
from datetime import datetime
from functools import partial
from pathlib import Path
import psycopg
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, RENO
from include.cvas.fetch import fetch_transactions

url, root, now, renames, size = sys.argv[1:]
left = int(renames)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), resource.RLIM_INFINITY))

def hook(event, arguments):
    global left
    if event == "os.rename":
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
now = datetime.fromisoformat(now)
day = datetime(2025, 11, 10).date()
connect = partial(psycopg.connect, url)
fetch_transactions(connect, Lake(Path(root)), day=day, types=[ACT, RENO], now=now, settings=Settings())
"""


def _child(source: Source, lake: Lake, *, renames: int = 99, size: int = resource.RLIM_INFINITY) -> int:
    """How it ended."""
    arguments = [source.reader_url, str(lake.root), NOW.isoformat(), str(renames), str(size)]
    return subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode


def _described(lake: Lake) -> dict[str, bool]:
    """Of each file, whether its manifest entry is about these very bytes; the load refuses it if not (R24)."""
    entries = read_manifest(lake, DAY)
    return {
        name: name in entries and entries[name].sha256 == sha256(text.encode()).hexdigest()
        for name, text in contents(lake).items()
    }


def test_a_kill_in_the_middle_of_the_rows_leaves_the_old_file_and_a_rerun_heals(source: Source, lake: Lake) -> None:
    """R78, R20, R23."""
    source.fill()
    run(source.connect, lake)
    before = contents(lake)
    source.add_many(2, 80_000)
    arriving = lake.daily(DAY) / ".RENO.csv.tmp"

    assert _child(source, lake, size=5_000_000) == -signal.SIGXFSZ

    assert arriving.stat().st_size == 5_000_000
    assert contents(lake) == before
    assert set(_described(lake).values()) == {True}
    run(source.connect, lake)
    assert read_manifest(lake, DAY)["RENO"].rows == 80_001
    assert set(_described(lake).values()) == {True}
    assert not arriving.exists()


@pytest.mark.parametrize(
    ("renames", "first_time", "again"),
    [
        (0, {}, {"ACT": True, "RENO": True}),
        (1, {"ACT": False}, {"ACT": False, "RENO": True}),
        (2, {"ACT": True}, {"ACT": True, "RENO": True}),
        (3, {"ACT": True, "RENO": False}, {"ACT": True, "RENO": False}),
    ],
)
def test_a_kill_between_two_renames_never_leaves_an_entry_that_fits_another_file(
    source: Source, lake: Lake, renames: int, first_time: dict[str, bool], again: dict[str, bool]
) -> None:
    """R20, R78: file, then manifest. In between a new file has no entry or that of its predecessor, whose hash is not
    its own; in no case does the load take it unseen, and a rerun heals."""
    source.fill()
    assert _child(source, lake, renames=renames) == -signal.SIGKILL
    assert _described(lake) == first_time
    run(source.connect, lake, (ACT, RENO))
    source.add(1, "2025-11-10 13:00:00")
    source.add(2, "2025-11-10 13:00:00")

    assert _child(source, lake, renames=renames) == -signal.SIGKILL

    assert _described(lake) == again
    run(source.connect, lake, (ACT, RENO))
    assert _described(lake) == {"ACT": True, "RENO": True}
    assert [len(text.splitlines()) for text in contents(lake).values()] == [3, 3]


def test_a_disk_without_the_required_space_is_not_begun_with(source: Source, tmp_path: Path) -> None:
    """R69."""
    with small_disk(tmp_path / "disk", 8 << 20) as disk:
        if not disk:
            pytest.skip("mounting is not allowed here")
        connect = Counted(source.connect)
        assert "1,233,741,824 are needed" in fails(StoreFull, connect, Lake(disk))
        assert connect.opened == 0


def test_a_disk_that_fills_up_fails_the_type_and_leaves_no_part_of_it(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Section 6: disk full during write; the older file stays."""
    monkeypatch.setattr(files, "RESERVE", 0)
    monkeypatch.setattr(fetch, "LARGEST_DAY", 0)
    source.fill()
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        if not disk:
            pytest.skip("mounting is not allowed here")
        lake = Lake(disk)
        run(source.connect, lake)
        before = contents(lake)
        source.add_many(2, 30_000)
        source.add(3, "2025-11-10 13:00:00")

        said = fails(StoreFull, source.connect, lake)

        assert "5/6 successful. RENO failed: No space left for RENO.csv" in said
        after = contents(lake)
        assert {name for name in NAMES if after[name] != before[name]} == {"DCT"}
        assert set(_described(lake).values()) == {True}


def test_a_damaged_manifest_stops_the_fetch_before_it_changes_anything(source: Source, lake: Lake) -> None:
    source.fill()
    run(source.connect, lake)
    (lake.daily(DAY) / MANIFEST).write_text("{")
    before = contents(lake)
    source.add(1, "2025-11-10 13:00:00")

    assert "_manifest.json is no manifest" in fails(ContractViolation, source.connect, lake)
    assert contents(lake) == before


# --- the connection test ---------------------------------------------------------------------------------------------


def test_the_connection_test_reads_every_table_and_stores_nothing(
    source: Source, host: SshServer | OpenSsh, define: Define
) -> None:
    """Section 7."""
    result = check_source(define(host, host.port), day=DAY, settings=Settings())

    assert (result.read, result.facts) == (0, {"readable": NAMES})


def test_the_connection_test_names_all_that_is_missing_once(source: Source) -> None:
    """Section 7."""
    source.execute("ALTER TABLE refund_v1_0_0_fact DROP COLUMN info")
    with pytest.raises(ContractViolation) as caught:
        check_source(source.connect, day=DAY, settings=Settings(transactions_table="elsewhere"))

    assert str(caught.value) == (
        "cvas: 2025-11-10: The source cannot be read as agreed. "
        'The source refused the query: relation "elsewhere" does not exist. '
        'The source refused the query: column "info" does not exist. '
        "Next step: Ask the source's owner for the right to read it, or for what was renamed."
    )


def test_the_connection_test_tells_a_lost_source_from_a_changed_one(source: Source) -> None:
    @contextmanager
    def lost() -> Iterator[psycopg.Connection[Any]]:
        with source.connect() as db, psycopg.connect(source.url, autocommit=True) as owner:
            owner.execute("SELECT pg_terminate_backend(%s)", [db.info.backend_pid])
            yield db

    with pytest.raises(SourceUnavailable, match="did not deliver: terminating connection due to administrator command"):
        check_source(lost, day=DAY, settings=Settings())
