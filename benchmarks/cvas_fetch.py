"""Fetching a day of renewals through SSH: ours against psql at the end of ``ssh -L``, the same COPY into a file.

A day of 60,000 rows (10 MB) and the largest ever, 438,000 rows, out of a PostgreSQL and an OpenSSH of this machine,
which share its cores with the clients. The clock runs from the first connection to the finished file: what counts is
the wall clock, as psql and ssh are processes of their own.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import psycopg
from psycopg import sql

from benchmarks.measure import Figure, Way, measure
from benchmarks.report import Goal, Report
from include.common.files import sha256_of
from include.common.sql import read_sql
from include.cvas.config import Lake, Settings
from include.cvas.contract import RENO
from include.cvas.fetch import fetch_transactions
from include.cvas.manifest import daily_file
from sandbox.servers.base import HOST
from sandbox.servers.child import free_port
from sandbox.servers.postgres import BIN, PostgresServer
from sandbox.servers.real import OpenSsh

sys.path.append(str(Path(__file__).resolve().parents[1] / "plugins"))  # of the process that measures, too

DAY = date(2025, 11, 10)
DAYS = {"day": 60_000, "stress day": 438_000}
PSQL, OURS, BARE = "psql through ssh -L", "fetch, proven", "COPY through our tunnel, nothing else"
DB, BASTION = "cvas_nova_db", "cvas_nova_ssh"
FETCH = {name: (f"fetch {name}", OURS) for name in DAYS}
LIMIT = {name: (f"fetch {name}", PSQL) for name in DAYS}
GOALS = (
    Goal("60,000 rows / psql through ssh -L", FETCH["day"], LIMIT["day"], "wall", at_most=1.25),
    Goal("438,000 rows / psql through ssh -L", FETCH["stress day"], LIMIT["stress day"], "wall", at_most=1.25),
    Goal("memory of the fetch of 438,000 rows, MB", FETCH["stress day"], by="peak_mb", at_most=400),
)
FILL = """
CREATE TABLE telefonicaes_sub_mgr_fact (
    msisdn text, generic_act_info text, trans_type_id int, channel_id int, tlog_ts timestamp, request_ts timestamp,
    next_charging_date timestamp, subscription_id bigint, charged_amount numeric);
CREATE TABLE channel_dim (channel_id int, channel_desc text);
INSERT INTO channel_dim VALUES (3, 'UPGRADE'), (45, 'VOICE'), (46, 'ACT_DFT'), (87, 'ORGANIC');
INSERT INTO telefonicaes_sub_mgr_fact
SELECT lpad((abs(hashint8(n)) * 1000003::bigint)::text, 19, '0'),
    format('chrg_refid=346%s;cpc=%s;session=%s;campaign=%s;TEFProvider=007;TEFmedium=campana;TEFcampaign=%s;retries=0',
        lpad((abs(hashint8(n)) % 100000000)::text, 8, '0'), 45000 + n % 145, md5(n::text), left(md5(n::text), 7),
        left(md5(n::text), 7)),
    2, (ARRAY[3, 45, 46, 87, 99])[1 + n % 5], timestamp '2025-11-10' + n % 86400 * interval '1 second',
    timestamp '2025-11-10' - n % 800 * interval '1 day', timestamp '2025-11-17' + n % 86400 * interval '1 second',
    7000000 + n, (ARRAY[0.99, 1.64, 2.99, 5.36])[1 + n % 4]
FROM generate_series(1, {rows}) AS n;
CREATE INDEX ON telefonicaes_sub_mgr_fact (tlog_ts);
ANALYZE;
"""


class Source(NamedTuple):
    """How to get to one of the databases."""

    ssh_port: int
    ssh_user: str
    host_key: str
    client_key: Path
    db_port: int
    db_user: str
    password: str
    database: str
    folder: Path


def run(report: Report, kept: Path, *, quick: bool) -> None:
    """Measure both days; ``quick`` the normal one only."""
    if not (OpenSsh.available() and shutil.which("ssh")):
        report.say("OpenSSH is not installed here: nothing to compare with.")
        return
    folder = kept / "cvas_fetch"
    # Of the processes that measure, which open the connections as a task does.
    with patch.dict(os.environ, AIRFLOW_HOME=str(folder / "airflow"), AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR"):
        for name, rows in DAYS.items():
            if name == "day" or not quick:
                _measure(report, folder, name, rows, repetitions=3 if quick else 7)


def _measure(report: Report, folder: Path, name: str, rows: int, *, repetitions: int) -> None:
    with _source(folder, rows) as source:
        made = {way: source.folder / way.replace(" ", "_") / "RENO.csv" for way in (PSQL, BARE)}
        made[OURS] = daily_file(Lake(source.folder / "lake"), DAY, RENO)
        for path in made.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        dagkit = ("dagkit.connections", "airflow.providers.ssh.hooks.ssh", "psycopg", "polars")
        ways = [
            Way(PSQL, with_psql, (source, made[PSQL])),
            Way(BARE, with_our_tunnel, (source, made[BARE]), dagkit),
            Way(OURS, with_fetch, (source,), dagkit, outcome=partial(_compared, made[OURS], made[PSQL])),
        ]
        measured = measure(ways, repetitions=repetitions, slow_repetitions=0)
        _tell(report, f"fetch {name}", rows, made[OURS].stat().st_size, measured)


# --- the source --------------------------------------------------------------------------------------------------


@contextmanager
def _source(folder: Path, rows: int) -> Iterator[Source]:
    with PostgresServer(folder / "postgres") as postgres, OpenSsh(folder, keys=folder / "keys") as ssh:
        database = f"rows_{rows}"
        with psycopg.connect(postgres.create_database(database)) as db:
            if db.execute("SELECT to_regclass('channel_dim')").fetchone() == (None,):
                db.execute(FILL.format(rows=rows))
        login = (postgres.port, postgres.user, postgres.password, database)
        yield Source(ssh.port, ssh.user, ssh.host_key, ssh.client_key, *login, folder / f"made {rows}")


def _statement() -> str:
    """The COPY that the fetch asks for, as text for psql."""
    select = sql.SQL(read_sql("cvas", "select_subscription_events")).format(
        transactions=sql.Identifier(Settings().transactions_table)
    )
    text = select.as_string() % {"trans_type_id": "2", "first": "'2025-11-10'", "next": "'2025-11-11'"}
    columns = ", ".join(RENO.column_names)
    return f"COPY (SELECT {columns} FROM ({text}) AS events) TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')"


# --- the ways ----------------------------------------------------------------------------------------------------


def with_psql(source: Source, made: Path) -> None:
    port = free_port()
    known = made.with_name("known_hosts")
    known.write_text(f"[{HOST}]:{source.ssh_port} {source.host_key}\n")
    options = ["-N", "-F", "none", "-i", str(source.client_key), "-o", f'UserKnownHostsFile="{known}"']
    forwarding = f"{HOST}:{port}:{HOST}:{source.db_port}"
    with subprocess.Popen(
        ["ssh", *options, "-p", str(source.ssh_port), "-L", forwarding, f"{source.ssh_user}@{HOST}"]
    ) as tunnel:
        while tunnel.poll() is None:
            try:
                socket.create_connection((HOST, port)).close()
                break
            except OSError:
                time.sleep(0.005)
        url = f"postgresql://{source.db_user}:{source.password}@{HOST}:{port}/{source.database}"
        with made.open("wb") as file:
            subprocess.run([BIN / "psql", url, "--quiet", "--no-psqlrc", "-c", _statement()], stdout=file, check=True)
        tunnel.terminate()


def with_our_tunnel(source: Source, made: Path) -> None:
    with _connect(source)() as db, db.cursor().copy(_statement()) as rows, made.open("wb") as file:
        for row in rows:
            file.write(row)


def with_fetch(source: Source) -> None:
    lake, now = Lake(source.folder / "lake"), datetime.now(UTC)
    fetch_transactions(_connect(source), lake, day=DAY, types=[RENO], now=now, settings=Settings())


def _connect(source: Source) -> Any:
    from dagkit.connections import open_postgres

    key = {"private_key": source.client_key.read_text(), "host_key": source.host_key, "look_for_keys": False}
    ssh = {"conn_type": "ssh", "host": HOST, "port": source.ssh_port, "login": source.ssh_user, "extra": key}
    login = {"login": source.db_user, "password": source.password, "schema": source.database}
    os.environ[f"AIRFLOW_CONN_{BASTION.upper()}"] = json.dumps(ssh)
    os.environ[f"AIRFLOW_CONN_{DB.upper()}"] = json.dumps(
        {"conn_type": "postgres", "host": HOST, "port": source.db_port, **login}
    )
    return partial(open_postgres, DB, through=BASTION)


# --- the report --------------------------------------------------------------------------------------------------


def _compared(ours: Path, theirs: Path) -> str:
    return "the same bytes" if sha256_of(ours) == sha256_of(theirs) else "OTHER BYTES"


def _tell(report: Report, name: str, rows: int, size: int, measured: dict[str, Figure]) -> None:
    report.figures |= {(name, way): figure.sample for way, figure in measured.items()}
    report.say(f"### Fetch {rows:,} rows, {size / 1e6:.1f} MB")
    report.say()
    report.table(
        ("way", "n", "wall s", f"/ {PSQL}", "MB/s", "CPU s of this process", "peak MB", "base MB", "outcome"),
        [
            (
                f"**{way}**" if way == OURS else way,
                str(figure.repetitions),
                f"{figure.sample.wall:.3f}",
                f"{figure.sample.wall / measured[PSQL].sample.wall:.2f}",
                f"{size / 1e6 / figure.sample.wall:.1f}",
                f"{figure.sample.cpu:.3f}",
                f"{figure.sample.peak_mb:.0f}",
                f"{figure.sample.base_mb:.0f}",
                figure.outcome,
            )
            for way, figure in measured.items()
        ],
    )
