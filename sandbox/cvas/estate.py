"""cvas' outside world on this machine: reporting host, database behind SSH, and a lake that is weeks old already."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psycopg

from include.cvas.config import ZONE, Lake
from include.cvas.contract import TYPES
from include.cvas.lake import month_of, read_partition, read_state
from sandbox.cvas import expected
from sandbox.cvas.catalogue import write_excluded_users, write_layout_b, write_music_cpcs, write_workbook
from sandbox.cvas.generator import UPGRADE, Frames, Telecom
from sandbox.cvas.snapshots import snapshot_days, write_snapshot, write_snapshots
from sandbox.cvas.source import FACT, create_reader, delivered, fill_source
from sandbox.servers.base import HOST
from sandbox.servers.child import accepts_connections
from sandbox.servers.postgres import PostgresServer
from sandbox.servers.s3 import S3Server
from sandbox.servers.ssh import SshServer

SEED = 1
BUCKET, DATABASE, READER = "cvas-backups", "nova", "cvas_reader"
SNAPSHOT = "NBS_Base.csv"
SNAPSHOT_ROWS = 2_000
WRITTEN_AGO = timedelta(minutes=5)
EARLIER_DAYS = 4  # that the database has beside the business day
STATUSES = ("Active", "Deactivated", "Cancelled")


class Cvas:
    """The world of one business day; ``state`` keeps it over restarts.

    ``scale`` 1.0 is the real operator, 35,000 to 60,000 rows a working day. The lake starts with ``history_days`` days;
    a world of other size or length is made anew. ``postgres`` is a server to share, or one is started.
    """

    chains = (("cvas_user_base", "cvas_fetch", "cvas_process", "cvas_counters"), ("cvas_status",))

    def __init__(
        self, state: Path, *, scale: float = 1.0, history_days: int = 40, postgres: PostgresServer | None = None
    ) -> None:
        self.scale, self.history_days = scale, history_days
        self.host = state / "reporting"
        self.catalogue_workbook = state / "Catalogue.xlsx"
        self._world = state / "world"
        self.lake = Lake(self._world / "lake")
        self.telecom: Telecom | None = None
        self.postgres = postgres or PostgresServer(state / "postgres")
        self._serves_postgres = postgres is not None
        self.ssh = SshServer(self.host, keys=state / "keys", user="cvas")
        self._s3 = S3Server()
        self._password = secrets.token_urlsafe(16)

    @property
    def day(self) -> date:
        """Yesterday in the operator's zone: what the reporting host and the database have is the present."""
        return datetime.now(ZONE).date() - timedelta(days=1)

    @property
    def source_url(self) -> str:
        """The database as its owner sees it; the pipeline's own login may only read."""
        return self.postgres.url(DATABASE)

    @contextmanager
    def running(self) -> Iterator[Cvas]:
        """Start the servers and bring the world to its business day."""
        self.host.mkdir(parents=True, exist_ok=True)
        with nullcontext() if self._serves_postgres else self._own_postgres(), self.ssh, self._s3:
            self._s3.create_bucket(BUCKET)
            self.move_to(self.day)
            create_reader(self.source_url, READER, self._password)
            yield self

    def move_to(self, day: date) -> None:
        """Let ``day`` be over: its events and those of the days before are in the database, its snapshot on the host.

        What is in the database already stays as it is. The servers need not run.
        """
        with self._database():
            self._fill()
            first = date.fromisoformat(json.loads(self._about.read_text("utf-8"))["first"])
            self.telecom = Telecom(SEED, self.scale, first, day)
            after_history = first + timedelta(days=self.history_days)
            since = min(day - timedelta(days=EARLIER_DAYS), after_history)
            missing = {since + timedelta(days=n) for n in range((day - since).days + 1)} - _days_in(self.source_url)
            for each in sorted(missing):
                fill_source(self.source_url, self.telecom, each, each)
        # What was written a moment ago is waited for.
        written = datetime.now(ZONE) - WRITTEN_AGO
        write_snapshot(self.host / SNAPSHOT, day, seed=SEED, rows=SNAPSHOT_ROWS, modified=written)

    @contextmanager
    def _database(self) -> Iterator[None]:
        """The database server: the one that runs, in this process or in another, or else our own meanwhile."""
        if self._serves_postgres or self._finds_postgres():
            yield
        else:
            with self._own_postgres():
                yield

    @contextmanager
    def _own_postgres(self) -> Iterator[None]:
        with self.postgres:
            self._serves_postgres = True
            try:
                yield
            finally:
                self._serves_postgres = False

    def _finds_postgres(self) -> bool:
        """Does another process run the server of this world?"""
        try:
            port = int((self.postgres.directory / "cluster" / "data" / "postmaster.pid").read_text().splitlines()[3])
        except (FileNotFoundError, IndexError):
            return False
        if accepts_connections(port):
            self.postgres.port = port
            return True
        return False

    @property
    def _about(self) -> Path:
        return self._world / "world.json"

    def _fill(self) -> None:
        """What a system that has run for a while has: a lake, years of snapshots, the reference files."""
        wanted = {"scale": self.scale, "history_days": self.history_days}
        if self._about.exists():
            if wanted.items() <= json.loads(self._about.read_text("utf-8")).items():
                return
            shutil.rmtree(self._world)
        with psycopg.connect(self.postgres.url(), autocommit=True) as db:
            db.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        self.postgres.create_database(DATABASE)
        building = self._world.with_name("world.building")
        shutil.rmtree(building, ignore_errors=True)
        day = self.day
        first, before = day - timedelta(days=self.history_days), day - timedelta(days=1)
        lake, telecom = Lake(building / "lake"), Telecom(SEED, self.scale, first, day)
        telecom.write_lake(lake, before, delivered=delivered)
        write_snapshots(lake.snapshots, snapshot_days(before), seed=SEED)
        write_layout_b(lake.mastercpc, telecom.catalogue)
        write_workbook(self.catalogue_workbook, telecom.catalogue)
        write_music_cpcs(lake.music_cpcs, telecom.catalogue)
        write_excluded_users(lake.excluded_users, telecom.test_users())
        (building / self._about.name).write_text(json.dumps({**wanted, "first": first.isoformat()}), "utf-8")
        building.rename(self._world)

    @property
    def places(self) -> dict[str, str]:
        """What the operators' commands find in their environment."""
        return {"CVAS_LAKE": str(self.lake.root), "CVAS_SETTINGS": "{}"}

    def connections(self) -> dict[str, dict[str, Any]]:
        """Airflow connections to this world, by connection id."""
        login = {"host": HOST, "port": self.ssh.port, "login": self.ssh.user}
        keys = {
            "private_key": self.ssh.client_key.read_text(),
            "host_key": self.ssh.host_key,
            "look_for_keys": False,
        }
        return {
            "cvas_reporting_sftp": {"conn_type": "sftp", **login, "extra": {**keys, "path": "."}},
            "cvas_nova_ssh": {"conn_type": "ssh", **login, "extra": keys},
            "cvas_nova_db": {
                "conn_type": "postgres",
                "host": HOST,
                "port": self.postgres.port,
                "schema": DATABASE,
                "login": READER,
                "password": self._password,
            },
            "cvas_lake": {"conn_type": "fs", "extra": {"path": str(self.lake.root)}},
            "cvas_backup": {
                "conn_type": "aws",
                "login": "sandbox",
                "password": "sandbox",
                "extra": {
                    "endpoint_url": self._s3.endpoint_url,
                    "region_name": "us-east-1",
                    "bucket": BUCKET,
                    "prefix": "backups/",
                },
            },
        }

    # --- What came out -----------------------------------------------------------------------------------------------

    def report(self) -> list[str]:
        """What came out for the business day, for the terminal, checked against what the generator says must come out.

        Raises AssertionError with both figures where they differ.
        """
        assert self.telecom is not None, "the world is not running"
        day = self.telecom.last
        due = delivered(self.telecom.events(day, day))
        lines = [f"  business day {day}", f"  {'type':<6}{'rows':>9}{'euro':>14}"]
        for kind in TYPES:
            wanted, stored = due[kind.name], read_partition(self.lake, kind, month_of(day))
            found = stored.filter(pl.col(kind.event_date).dt.date() == day)
            amount = next((name for name in ("rev", "rfnd_amount") if name in found.columns), None)
            sums = [round(float(rows[amount].sum()), 2) if amount else None for rows in (wanted, found)]
            _assert_same(f"{kind.name} of {day}", (wanted.height, sums[0]), (found.height, sums[1]))
            lines.append(f"  {kind.name:<6}{found.height:>9,}" + (f"{sums[1]:>14,.2f}" if amount else ""))
        lines += self._report_subscriptions()
        lines += self._report_counters(day, due)
        lines += self._report_users(day)
        lines.append("  all of it equals the generator's own calculation, to the cent")
        lines.append(f"  lake      {self.lake.root}")
        return lines

    def _report_subscriptions(self) -> list[str]:
        view = pl.read_parquet(
            self.lake.subscriptions, columns=["subscription_id", "subscription_status", "gross_revenue"]
        )
        found = dict(view["subscription_status"].value_counts().iter_rows())
        due, revenue = self._expected_subscriptions()
        _assert_same("subscriptions by status", due, {status: found.get(status, 0) for status in STATUSES})
        _assert_same("revenue of all subscriptions", revenue, round(float(view["gross_revenue"].sum()), 2))
        shown = ", ".join(f"{found[status]:,} {status}" for status in STATUSES if status in found)
        return [f"  {view.height:,} subscriptions ({shown}), {revenue:,.2f} euro since they are known"]

    def _expected_subscriptions(self) -> tuple[dict[str, int], float]:
        """By what happened on the days that are loaded: cancelled is who ever cancelled, and so on (R44)."""
        assert self.telecom is not None
        loaded = [day for day, types in read_state(self.lake).days.items() if len(types) == len(TYPES)]
        events = delivered(self.telecom.events(min(loaded), max(loaded)))
        here = {kind.name: events[kind.name].filter(pl.col(kind.event_date).dt.date().is_in(loaded)) for kind in TYPES}
        ids = np.unique(np.concatenate([here[name]["subscription_id"].to_numpy() for name in ("ACT", "RENO")]))
        over = here["DCT"].filter(pl.col("channel_dct") != UPGRADE)["subscription_id"].to_numpy()
        cancelled = np.isin(ids, here["CNR"]["sbn_id"].to_numpy())
        deactivated = np.isin(ids, over) & ~cancelled
        counts = (len(ids) - int(cancelled.sum() + deactivated.sum()), int(deactivated.sum()), int(cancelled.sum()))
        cents = sum(round(float(here[name]["rev"].sum()) * 100) for name in ("ACT", "RENO"))
        return dict(zip(STATUSES, counts, strict=True)), cents / 100

    def _report_counters(self, day: date, due: Frames) -> list[str]:
        users = [line.split(",") for line in self.lake.excluded_users.read_text("ascii").splitlines()[1:]]
        rows = expected.counters(
            {name: frame.to_dicts() for name, frame in due.items()},
            excluded_phones=[phone for phone, _ in users],
            excluded_users=[user for _, user in users if user],
        )
        stored = pl.read_parquet(self.lake.counters / "Counters_CPC.parquet").filter(pl.col("date") == day)
        _assert_same(f"counters of {day}", rows, stored.drop("last_updated").sort("cpc").to_dicts())
        return [f"  {len(rows)} price points counted, {sum(row['rev'] for row in rows):,.2f} euro charged"]

    def _report_users(self, day: date) -> list[str]:
        snapshot = {day: (self.host / SNAPSHOT).read_bytes()}
        names = ("user_base_by_service.csv", "user_base_by_category.csv", "user_base_by_cpc.csv")
        for name, due in zip(names, expected.user_base(snapshot), strict=True):
            lines = (self.lake.user_base / name).read_text("utf-8").splitlines()
            _assert_same(f"{name} of {day}", due[1:], [line for line in lines if line.startswith(f"{day}|")])
        total = sum(expected.user_base_by_cpc(snapshot).values())
        return [f"  {total:,} users of {len(expected.user_base_by_cpc(snapshot))} price points"]


def _days_in(url: str) -> set[date]:
    with psycopg.connect(url) as db:
        if not db.execute("SELECT to_regclass(%s)", [FACT]).fetchone()[0]:  # type: ignore[index]
            return set()
        return {day for (day,) in db.execute(f"SELECT DISTINCT tlog_ts::date FROM {FACT}")}


def _assert_same(what: str, due: Any, found: Any) -> None:
    if due == found:
        return
    if isinstance(due, list) and isinstance(found, list):
        due, found = ([each for each in one if each not in other][:3] for one, other in ((due, found), (found, due)))
    raise AssertionError(f"{what}: expected {due}, found {found}")
