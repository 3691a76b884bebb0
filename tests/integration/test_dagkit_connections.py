"""Shares, places for backups and databases, opened by their Airflow connections.

Every case runs against our servers and, where installed, Samba and OpenSSH. Rules R1, R2, R4, R8 and section 6 are
those of the commercial log; of databases behind SSH, R19 and section 6 of cvas.
"""

from __future__ import annotations

import json
import re
import secrets
import select
import shutil
import socket
import socketserver
import sqlite3
import ssl
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import psycopg
import pytest
import smbclient
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dagkit import connections

from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.extract import copy_workbook
from include.common.results import StepResult
from include.common.shares import LocalShare, Share
from include.errors import (
    ContractViolation,
    CredentialRefused,
    PipelineError,
    SourceChanging,
    SourceMissing,
    SourceUnavailable,
)
from sandbox.commercial_log.share import WORKBOOK, publish
from sandbox.servers.base import HOST, Listener, ThreadedServer
from sandbox.servers.child import free_port
from sandbox.servers.dropbox import DropboxServer
from sandbox.servers.faults import FaultProxy
from sandbox.servers.postgres import PostgresServer
from sandbox.servers.real import SBIN, OpenSsh, Samba
from sandbox.servers.s3 import S3Server
from sandbox.servers.smb import SmbServer
from sandbox.servers.ssh import SshServer

DAY = date(2025, 9, 2)
DATED = "Commercial Log 250902.xlsx"
SHARE = "commercial_log_share"

Define = Callable[..., None]

SMB = [SmbServer, pytest.param(Samba, marks=pytest.mark.skipif(not Samba.available(), reason="smbd is not installed"))]
SSH = [
    SshServer,
    pytest.param(OpenSsh, marks=pytest.mark.skipif(not OpenSsh.available(), reason="sshd is not installed")),
]

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed SMB handle"),  # smbclient cannot close one whose connection is gone
    # The thread with which paramiko reads ahead may be the one that meets the end of the connection.
    pytest.mark.filterwarnings(r"ignore:Exception in thread .*\(_prefetch_thread\)"),
]


@pytest.fixture(autouse=True)
def _no_keys_of_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Define:
    """Define an Airflow connection."""

    def define(conn_id: str = SHARE, **connection: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    return define


@dataclass
class KDrive:
    """The share: its files, the server in front of them (none if it is mounted) and the connection to that server."""

    root: Path
    server: Any
    connection: dict[str, Any]

    @property
    def workbook(self) -> Path:
        return self.root / WORKBOOK

    def changed(self, **connection: Any) -> dict[str, Any]:
        """The connection with some parts changed, those of its extra one by one."""
        extra = {**self.connection.get("extra", {}), **connection.pop("extra", {})}
        return {**self.connection, **connection, "extra": extra}


@dataclass
class Station:
    """The data folder of the station, with yesterday's file; :meth:`copy` runs the import."""

    data: DataRoot

    def copy(self, share: AbstractContextManager[Share] | None = None, **settings: Any) -> StepResult:
        return copy_workbook(
            share or connections.open_share(SHARE), self.data, day=DAY, today=DAY, settings=Settings(**settings)
        )

    def fails(self, kind: type[PipelineError], **settings: Any) -> str:
        """The import fails in this way and leaves everything as it was; what it says."""
        before = self.files()
        with pytest.raises(kind) as caught:
            self.copy(**settings)
        assert self.files() == before
        return str(caught.value)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.data.daily.iterdir()}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published") / "K Drive"
    publish(root, DAY, scale=0.01)
    return root


@pytest.fixture(scope="module")
def copied(published: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The dated file as it comes from the workbook on this disk."""
    data = DataRoot(tmp_path_factory.mktemp("reference"))
    Station(data).copy(nullcontext(LocalShare("local", published)))
    return (data.daily / DATED).read_bytes()


@pytest.fixture
def station(tmp_path: Path) -> Station:
    data = DataRoot(tmp_path / "station")
    data.daily.mkdir(parents=True)
    (data.daily / DATED).write_bytes(b"what an earlier run of the day brought")
    return Station(data)


@contextmanager
def _k_drive(kind: type | None, published: Path, folder: Path) -> Iterator[KDrive]:
    root = folder / "K Drive"
    shutil.copytree(published, root)
    if kind is None:
        yield KDrive(root, None, {"conn_type": "fs", "extra": {"path": str(root)}})
    elif kind in (SmbServer, Samba):
        password = secrets.token_hex(8)
        with kind({"K Drive": root}, user="traffic", password=password) as server:
            login = {"login": "STATION\\traffic", "password": password}
            where = {"host": HOST, "port": server.port, "schema": "K Drive"}
            yield KDrive(root, server, {"conn_type": "samba", **where, **login})
    else:
        with kind(folder, keys=folder / "keys") as server:
            private_key = server.client_key.read_text()
            extra = {"path": "K Drive", "private_key": private_key, "host_key": server.host_key, "look_for_keys": False}
            where = {"host": HOST, "port": server.port, "login": server.user}
            yield KDrive(root, server, {"conn_type": "sftp", **where, "extra": extra})


@pytest.fixture(params=[*SMB, *SSH, pytest.param(None, id="mounted")])
def drive(request: pytest.FixtureRequest, published: Path, tmp_path: Path, define: Define) -> Iterator[KDrive]:
    """The K drive over every transport, its connection defined."""
    with _k_drive(request.param, published, tmp_path) as drive:
        define(**drive.connection)
        yield drive


@pytest.fixture(params=[*SMB, *SSH])
def served(request: pytest.FixtureRequest, published: Path, tmp_path: Path, define: Define) -> Iterator[KDrive]:
    """As ``drive``, of the transports with a server."""
    with _k_drive(request.param, published, tmp_path) as drive:
        define(**drive.connection)
        yield drive


@pytest.fixture(params=SMB)
def smb(request: pytest.FixtureRequest, published: Path, tmp_path: Path, define: Define) -> Iterator[KDrive]:
    with _k_drive(request.param, published, tmp_path) as drive:
        define(**drive.connection)
        yield drive


@pytest.fixture(params=SSH)
def sftp(request: pytest.FixtureRequest, published: Path, tmp_path: Path, define: Define) -> Iterator[KDrive]:
    with _k_drive(request.param, published, tmp_path) as drive:
        define(**drive.connection)
        yield drive


# --- what arrives ----------------------------------------------------------------------------------------------------


def test_the_same_workbook_arrives_over_every_transport(drive: KDrive, station: Station, copied: bytes) -> None:
    """R4; the folder is not spelled on the share as in the settings."""
    (drive.workbook.parent / f"~${drive.workbook.name}").write_bytes(b"somebody has it open in Excel")  # R8: no error

    result = station.copy()

    assert station.files()[DATED] == copied
    assert result.facts["action"] == "replaced"
    assert (result.read, result.warnings) == (
        157,
        (f"{DATED} existed already; it was replaced by the workbook saved since.",),
    )


def test_no_part_of_the_path_minds_case(drive: KDrive, station: Station, copied: bytes) -> None:
    station.copy(workbook="/TRAFFIC/media LIBRARY/commercial log.XLSX")

    assert station.files()[DATED] == copied


def test_the_name_of_the_share_ignores_case_too(smb: KDrive, station: Station, define: Define, copied: bytes) -> None:
    define(**smb.changed(schema="k dRIVE"))
    station.copy()

    assert station.files()[DATED] == copied


# --- what is not there -----------------------------------------------------------------------------------------------


def test_a_missing_folder_is_named_with_what_is_there_instead(drive: KDrive, station: Station) -> None:
    (drive.root / "Traffic").rename(drive.root / "Traffic old")
    (drive.root / "Sales").mkdir()

    assert station.fails(SourceMissing) == (
        f"{SHARE}: 'Traffic' not found in '/'; it holds: Sales, Traffic old. "
        "Next step: Ask whoever owns the share where it went, or correct the path in the settings."
    )


def test_a_missing_workbook_is_named_with_what_is_there_instead(drive: KDrive, station: Station) -> None:
    drive.workbook.rename(drive.workbook.with_name("Commercial Log (1).xlsx"))

    assert station.fails(SourceMissing) == (
        f"{SHARE}: 'Commercial Log.xlsx' not found in '/Traffic/Media library'; it holds: Commercial Log (1).xlsx. "
        "Next step: Ask whoever owns the share where it went, or correct the path in the settings."
    )


class WithoutDfs(Samba):
    """Samba as a Windows server that is in no distributed file system; it answers otherwise for a missing share."""

    def _config(self, directory: Path, users: Path) -> str:
        return super()._config(directory, users).replace("[global]\n", "[global]\nhost msdfs = no\n")


@pytest.mark.parametrize("kind", [*SMB, pytest.param(WithoutDfs, marks=SMB[1].marks)])
def test_a_share_that_is_not_there_is_missing(
    kind: type[SmbServer | Samba], tmp_path: Path, station: Station, define: Define
) -> None:
    with kind({"K Drive": tmp_path}, user="traffic", password="a pass word") as server:
        where = {"host": HOST, "port": server.port, "schema": "J Drive"}
        define(conn_type="samba", **where, login="traffic", password="a pass word")

        assert station.fails(SourceMissing).startswith(f"{SHARE}: 'the root folder' is gone.")


@pytest.mark.parametrize("state", ["missing", "empty"])
def test_a_share_that_is_not_mounted_is_unavailable_for_now(
    state: str, tmp_path: Path, station: Station, define: Define
) -> None:
    """R2; an empty folder is what is left where nothing is mounted. Mounting it helps, so it is tried again."""
    root = tmp_path / "mnt"
    if state == "empty":
        root.mkdir()
    define(conn_type="fs", extra={"path": str(root)})

    assert f"{SHARE}: the share is not mounted at {root}" in station.fails(SourceUnavailable)


# --- who may not come in ---------------------------------------------------------------------------------------------


def _everything_said(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    return "".join([*traceback.format_exception(error), caplog.text])


def test_a_wrong_password_is_refused_at_once_and_shown_nowhere(
    smb: KDrive, station: Station, define: Define, caplog: pytest.LogCaptureFixture
) -> None:
    """Section 6: login refused on the share."""
    caplog.set_level("DEBUG")
    wrong = secrets.token_hex(8)
    define(**smb.changed(password=wrong))

    with pytest.raises(CredentialRefused, match=f"^{SHARE}: authentication was refused .* Check login") as caught:
        station.copy()
    said = _everything_said(caught.value, caplog)
    assert wrong not in said
    assert smb.connection["password"] not in said


@pytest.mark.skipif(not Samba.available(), reason="smbd is not installed")
def test_an_account_that_is_disabled_is_refused_like_a_wrong_password(
    published: Path, tmp_path: Path, station: Station, define: Define
) -> None:
    with _k_drive(Samba, published, tmp_path) as drive:
        smbd = next(each.cmdline() for each in psutil.Process().children(recursive=True) if each.name() == "smbd")
        config = smbd[smbd.index("-s") + 1]
        pdbedit = [shutil.which("pdbedit", path=SBIN) or "", "-s", config]
        account = subprocess.run([*pdbedit, "-L"], check=True, capture_output=True, text=True).stdout.partition(":")[0]
        subprocess.run([*pdbedit, "-u", account, "-c", "[D]"], check=True, capture_output=True)
        define(**drive.connection)

        assert "authentication was refused" in station.fails(CredentialRefused)


def test_a_share_the_account_may_not_read_is_no_matter_of_waiting(
    published: Path, tmp_path: Path, station: Station, define: Define
) -> None:
    with _k_drive(SmbServer, published, tmp_path) as drive:
        define(**drive.changed(schema="IPC$"))

        assert station.fails(CredentialRefused).startswith(f"{SHARE}: no permission to read 'the root folder'. Next")


def test_an_ssh_password_that_is_wrong_is_tried_once(
    tmp_path: Path, station: Station, define: Define, caplog: pytest.LogCaptureFixture
) -> None:
    """Section 6: no retry storm, which would lock the account."""
    caplog.set_level("INFO", logger="paramiko")
    right, wrong = secrets.token_hex(8), secrets.token_hex(8)
    with SshServer(tmp_path, keys=tmp_path / "keys", password=right) as server:
        extra = {"host_key": server.host_key, "look_for_keys": False}
        define(conn_type="sftp", host=HOST, port=server.port, login=server.user, password=wrong, extra=extra)
        with pytest.raises(CredentialRefused, match=f"^{SHARE}: authentication was refused") as caught:
            station.copy()

    said = _everything_said(caught.value, caplog)
    assert said.count("Authentication (password) failed") == 1
    assert wrong not in said
    assert right not in said


def test_an_unknown_or_unusable_key_is_refused_and_shown_nowhere(
    sftp: KDrive, station: Station, define: Define, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    stranger = SshServer(tmp_path, keys=tmp_path / "stranger").client_key.read_text()
    for key in ({"private_key": stranger}, {"private_key": "cut off"}, {"private_key": "", "key_file": "/no/such/key"}):
        define(**sftp.changed(extra=key))
        with pytest.raises(CredentialRefused, match=f"^{SHARE}: authentication was refused") as caught:
            station.copy()
        assert not any(line in _everything_said(caught.value, caplog) for line in stranger.splitlines()[1:-1])


@pytest.mark.parametrize("on_record", ["another", "none"])
def test_a_server_whose_host_key_is_not_on_record_gets_no_login(
    sftp: KDrive, station: Station, define: Define, tmp_path: Path, on_record: str
) -> None:
    drive = sftp.changed()
    del drive["extra"]["host_key"]
    if on_record == "another":
        drive["extra"]["host_key"] = SshServer(tmp_path, keys=tmp_path / "other").host_key
    define(**drive)

    assert station.fails(CredentialRefused).startswith(f"{SHARE}: the server's host key is not the one on record.")


# --- what does not answer --------------------------------------------------------------------------------------------


def test_a_server_nobody_reaches_is_probed_twice_and_named(
    served: KDrive, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1."""
    served.server.stop()
    probes = []
    connect = socket.create_connection

    def count(address: Any, **how: Any) -> socket.socket:
        probes.append((address, how))
        return connect(address, **how)

    monkeypatch.setattr(connections.socket, "create_connection", count)

    assert station.fails(SourceUnavailable).startswith(
        f"Cannot reach the server of {SHARE} (Connection refused). Next step: It is tried again in five minutes."
    )
    assert probes == [((HOST, served.server.port), {"timeout": 5})] * 2


class Mute(ThreadedServer):
    """A proxy that falls silent on every connection once ``n_bytes`` have come back from the server through it.

    Whoever has not hung up on it after 100 seconds is ``outwaited``: then it hangs up itself, and the test goes on.
    """

    def __init__(self, upstream_port: int, n_bytes: int) -> None:
        super().__init__()
        self.upstream_port, self.n_bytes = upstream_port, n_bytes
        self.outwaited = False

    def _listen(self) -> Listener:
        proxy = self

        class Relay(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                left, end = proxy.n_bytes, time.monotonic() + 100
                with socket.create_connection((HOST, proxy.upstream_port)) as server:
                    while ready := select.select([self.request, server], [], [], max(0, end - time.monotonic()))[0]:
                        for each in ready:
                            data = each.recv(max(left, 1) if each is server else 65536)
                            if not data:
                                return
                            if each is self.request:
                                server.sendall(data)
                            elif left > 0:
                                self.request.sendall(data)
                                left -= len(data)
                proxy.outwaited = True

        return Listener((HOST, self.port), Relay)


# Bytes after which the server is in the middle of the greeting, of the login, of looking around, of the workbook.
MOMENTS = [0, 500, 1_600, 2_500, 25_000]


def test_a_server_that_falls_silent_is_hung_up_on(
    served: KDrive, station: Station, define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By themselves the client libraries wait for an hour, or for ever."""
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 2)  # a busy machine that needs longer is hung up on, too
    for n_bytes in MOMENTS:
        with Mute(served.server.port, n_bytes) as mute:
            define(**served.changed(port=mute.port))
            assert station.fails(SourceUnavailable).startswith(f"{SHARE}: ")
            assert not mute.outwaited


@pytest.mark.parametrize("how", ["reset_after", "truncate_after"])
def test_a_connection_that_breaks_is_tried_again_and_leaves_everything_as_it_was(
    served: KDrive, station: Station, define: Define, how: str
) -> None:
    with FaultProxy(served.server.port) as proxy:
        define(**served.changed(port=proxy.port))
        said = []
        for n_bytes in MOMENTS:
            getattr(proxy, how)(n_bytes)
            said.append(station.fails(SourceUnavailable))

    assert SHARE in said[0]  # the probe may meet it already
    assert said[1].startswith(f"{SHARE}: the connection broke while it was opened (")
    assert said[-1].startswith(f"{SHARE}: reading 'Traffic/Media library/Commercial Log.xlsx' broke off (")


@pytest.mark.parametrize("kind", SSH)
def test_a_login_that_breaks_off_anywhere_is_no_refused_login(
    kind: type[SshServer | OpenSsh], published: Path, tmp_path: Path, station: Station, define: Define
) -> None:
    with _k_drive(kind, published, tmp_path) as drive, FaultProxy(drive.server.port) as proxy:
        define(**drive.changed(port=proxy.port))
        for n_bytes in range(1_500, 3_000, 40):
            proxy.truncate_after(n_bytes)
            station.fails(SourceUnavailable)


# --- what is being written to ----------------------------------------------------------------------------------------


@dataclass
class Meanwhile:
    """A share on which something happens when the first bytes of a file have been read."""

    share: Share
    event: Callable[[], object]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.share, name)

    @contextmanager
    def open(self, path: str) -> Iterator[Any]:
        with self.share.open(path) as stream:

            def read(size: int) -> bytes:
                data = stream.read(min(size, 1000))
                self.event()
                self.event = lambda: None
                return data

            yield SimpleNamespace(read=read)


def test_a_workbook_saved_while_it_is_read_is_read_again(drive: KDrive, station: Station) -> None:
    """R8."""
    before = station.files()
    grown = drive.workbook.read_bytes() + b"."

    def save() -> None:
        saved = drive.workbook.with_suffix(".tmp")
        saved.write_bytes(grown)
        saved.replace(drive.workbook)

    with connections.open_share(SHARE) as share, pytest.raises(SourceChanging) as caught:
        station.copy(nullcontext(Meanwhile(share, save)))  # type: ignore[arg-type]

    assert f"{SHARE}: 'Traffic/Media library/Commercial Log.xlsx' was written to while it was read" in str(caught.value)
    assert station.files() == before


@contextmanager
def _opened_by_another(drive: KDrive, share_access: str | None) -> Iterator[None]:
    cache: dict[str, Any] = {}
    options = {"port": drive.server.port, "connection_cache": cache}
    login = {"username": drive.server.user, "password": drive.server.password}
    path = rf"\\{HOST}\K Drive\{WORKBOOK}".replace("/", "\\")
    with smbclient.open_file(path, mode="r+b", share_access=share_access, **options, **login):
        yield
    smbclient.reset_connection_cache(connection_cache=cache)


def test_a_workbook_that_is_just_being_saved_is_tried_again(smb: KDrive, station: Station, copied: bytes) -> None:
    """Section 6; Excel keeps everybody out while it saves, and lets others read while it has a file open."""
    with _opened_by_another(smb, None):
        assert station.fails(SourceChanging).startswith(
            f"{SHARE}: 'Traffic/Media library/Commercial Log.xlsx' is opened exclusively by somebody"
        )
    with _opened_by_another(smb, "r"):
        station.copy()

    assert station.files()[DATED] == copied


# --- places for backups ----------------------------------------------------------------------------------------------


def _use_store(tmp_path: Path) -> tuple[list[str], bytes]:
    """Put a file into the store, list it, bring it back."""
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    source.write_bytes(b"a database")
    with connections.open_object_store("commercial_log_backup") as store:
        store.put(source, "Database_1.db")
        store.fetch("Database_1.db", target)
        return store.names(), target.read_bytes()


def test_backups_go_to_s3_by_a_connection(tmp_path: Path, define: Define) -> None:
    with S3Server() as server:
        server.create_bucket("booked-business")
        endpoint = {"endpoint_url": server.endpoint_url, "region_name": "us-east-1"}
        extra = {**endpoint, "bucket": "booked-business", "prefix": "backups/"}
        define("commercial_log_backup", conn_type="aws", login="key", password="secret", extra=extra)

        assert _use_store(tmp_path) == (["Database_1.db"], b"a database")
        client = server.client()
        [kept] = client.list_objects_v2(Bucket="booked-business")["Contents"]
        client.close()
        server.reset()
    assert kept["Key"] == "backups/Database_1.db"


def test_backups_go_to_a_mounted_folder_by_a_connection(tmp_path: Path, define: Define) -> None:
    (tmp_path / "mnt").mkdir()
    define("commercial_log_backup", conn_type="fs", extra={"path": str(tmp_path / "mnt")})

    assert _use_store(tmp_path) == (["Database_1.db"], b"a database")
    assert (tmp_path / "mnt" / "Database_1.db").read_bytes() == b"a database"


def test_backups_go_to_dropbox_by_a_connection(tmp_path: Path, define: Define) -> None:
    app: dict[str, Any] = {name: secrets.token_hex(8) for name in ("app_key", "app_secret", "refresh_token")}
    with DropboxServer(tmp_path / "dropbox", **app) as server:
        urls = {"api_url": server.url, "content_url": server.url}
        extra = {**urls, "refresh_token": app["refresh_token"], "folder": "/backups"}
        login = {"login": app["app_key"], "password": app["app_secret"]}
        define("commercial_log_backup", conn_type="dropbox", **login, extra=extra)

        assert _use_store(tmp_path) == (["Database_1.db"], b"a database")
    assert (tmp_path / "dropbox" / "backups" / "Database_1.db").read_bytes() == b"a database"


# --- databases -------------------------------------------------------------------------------------------------------

DB, BASTION = "cvas_nova_db", "cvas_nova_ssh"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@dataclass
class Bastion:
    """A database behind an SSH server, and the connections that lead there."""

    server: SshServer | OpenSsh
    postgres: PostgresServer
    define: Define

    def open(
        self, *, ssh: dict[str, Any] | None = None, key: dict[str, Any] | None = None, **db: Any
    ) -> AbstractContextManager[psycopg.Connection[Any]]:
        """A session by connections with some parts changed: of the SSH one, of its extra, of the database's."""
        keys = {"private_key": self.server.client_key.read_text(), "host_key": self.server.host_key}
        where = {"conn_type": "ssh", "host": HOST, "port": self.server.port, "login": self.server.user}
        self.define(BASTION, **{**where, "extra": {"look_for_keys": False, **keys, **(key or {})}, **(ssh or {})})
        login = {"login": self.postgres.user, "password": self.postgres.password, "schema": "postgres"}
        self.define(DB, **{"conn_type": "postgres", "host": HOST, "port": self.postgres.port, **login, **db})
        return connections.open_postgres(DB, through=BASTION)

    def fails(self, kind: type[PipelineError], **changed: Any) -> str:
        """The session cannot be opened; what it says, which is never where the servers are."""
        with pytest.raises(kind) as caught, self.open(**changed):
            pass
        said = str(caught.value)
        for secret in (HOST, str(self.postgres.port), self.postgres.password):
            assert secret not in said
        return said


@pytest.fixture(params=SSH)
def bastion(
    request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path, define: Define
) -> Iterator[Bastion]:
    """A database behind both kinds of SSH servers; nothing of a session may be left at the end."""
    with request.param(tmp_path, keys=tmp_path / "keys") as server:
        yield Bastion(server, postgres, define)
    assert not [each.name for each in threading.enumerate() if re.search("tunnel|process_request", each.name)]


def test_a_database_is_reached_through_an_ssh_server(bastion: Bastion) -> None:
    """R19."""
    with bastion.open() as db:
        assert db.execute("SELECT length(repeat('x', 5000000)), inet_server_port()").fetchone() == (
            5_000_000,
            bastion.postgres.port,
        )
        assert db.info.encoding == "utf-8"
        assert db.info.get_parameters()["host"] == HOST
        answer = db.execute("SELECT repeat('x', 5000000)").fetchone()
    assert answer == ("x" * 5_000_000,)
    assert db.closed


def test_a_database_without_a_tunnel_is_reached_directly(bastion: Bastion) -> None:
    with bastion.open(), connections.open_postgres(DB) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_an_error_of_the_work_passes_unchanged_and_everything_is_closed(bastion: Bastion) -> None:
    with pytest.raises(OSError, match="the disk"), bastion.open() as db:
        raise OSError("the disk")
    assert db.closed


def test_the_way_in_is_a_key_only(bastion: Bastion) -> None:
    """R19."""
    assert bastion.fails(ContractViolation, ssh={"password": "a pass word"}).startswith(
        f"Connection {BASTION} has a password, but its server is entered with a key only."
    )


def test_a_key_the_bastion_does_not_know_is_refused(bastion: Bastion, tmp_path: Path) -> None:
    """Section 6."""
    stranger = SshServer(tmp_path, keys=tmp_path / "stranger").client_key.read_text()

    assert bastion.fails(CredentialRefused, key={"private_key": stranger}).startswith(
        f"{BASTION}: authentication was refused"
    )


@pytest.mark.parametrize("lax", [{}, {"allow_host_key_change": "true"}, {"no_host_key_check": "true"}])
@pytest.mark.parametrize("on_record", ["another", "none"])
def test_a_bastion_whose_host_key_is_not_on_record_gets_no_login(
    bastion: Bastion, tmp_path: Path, on_record: str, lax: dict[str, str]
) -> None:
    """R19; no setting of the connection turns that off."""
    another = SshServer(tmp_path, keys=tmp_path / "other").host_key

    said = bastion.fails(CredentialRefused, key={**lax, "host_key": another if on_record == "another" else None})

    assert said.startswith(f"{BASTION}: the server's host key is not the one on record.")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"password": "wrong"}, "FATAL:  password authentication failed for user ..."),
        ({"password": ""}, "fe_sendauth: no password supplied"),
        ({"schema": "elsewhere"}, "FATAL:  database ... does not exist"),
        ({"extra": {"sslmode": "require"}}, "server does not support SSL, but SSL was required"),
    ],
)
def test_a_login_the_database_refuses_is_not_tried_again(
    bastion: Bastion, changed: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Section 6; the password is shown nowhere."""
    caplog.set_level("DEBUG")
    with pytest.raises(CredentialRefused) as caught, bastion.open(**changed):
        pass

    assert str(caught.value).startswith(f"{DB}: the database refused the login ({reason}")
    assert bastion.postgres.password not in _everything_said(caught.value, caplog)


def test_a_certificate_is_compared_with_the_database_not_with_the_tunnel(bastion: Bastion, tmp_path: Path) -> None:
    """The tunnel ends on this machine; what is at its other end has to be who it says it is all the same."""
    for name in ("localhost", "stranger"):
        _make_certificate(tmp_path / name, name)
    trusted = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "localhost")}
    with Encrypted(tmp_path / "localhost") as server:

        def refused(kind: type[PipelineError], host: str = "localhost", **extra: str) -> str:
            return bastion.fails(kind, host=host, port=server.port, extra={**trusted, **extra})

        assert "broke while it was opened" in refused(SourceUnavailable)  # after the handshake, as this one does
        assert "does not match host name" in refused(CredentialRefused, HOST)
        assert "certificate verify failed" in refused(CredentialRefused, sslrootcert=str(tmp_path / "stranger"))
        assert "root certificate file ... does not exist" in refused(CredentialRefused, sslrootcert="/no/such/file")


class Encrypted(ThreadedServer):
    """A database that speaks TLS, which ours does not, and nothing more."""

    def __init__(self, certificate: Path) -> None:
        super().__init__()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)

    def _listen(self) -> Listener:
        context = self.context

        class Handshake(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                if self.request.recv(8):
                    self.request.sendall(b"S")
                    with suppress(ssl.SSLError), context.wrap_socket(self.request, server_side=True) as encrypted:
                        encrypted.recv(1)

        return Listener((HOST, self.port), Handshake)


def _make_certificate(file: Path, name: str) -> None:
    """A key and a certificate that it signed itself, both in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(hours=1))
    certificate = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.touch(mode=0o600)
    file.write_bytes(secret + certificate.sign(key, SHA256()).public_bytes(Encoding.PEM))


def test_a_database_with_too_many_clients_is_tried_again(bastion: Bastion) -> None:
    with bastion.open() as db:
        db.execute("DROP ROLE IF EXISTS crowded")
        db.execute(f"CREATE ROLE crowded LOGIN CONNECTION LIMIT 0 PASSWORD '{bastion.postgres.password}'")
        db.commit()

    assert bastion.fails(SourceUnavailable, login="crowded").startswith(
        f"{DB}: the connection broke while it was opened (OperationalError). Next step: It is tried again"
    )


def test_an_option_the_client_library_does_not_know_is_named(bastion: Bastion) -> None:
    assert bastion.fails(ContractViolation, extra={"cursor": "dictcursor"}).startswith(
        f'Connection {DB} cannot be used (invalid connection option "cursor").'
    )


def test_a_database_that_does_not_run_is_unavailable_for_now(bastion: Bastion) -> None:
    assert bastion.fails(SourceUnavailable, port=free_port()).startswith(
        f"Cannot reach the server of {DB} from that of {BASTION}. Next step: It is tried again in five minutes."
    )


@pytest.mark.skipif(not OpenSsh.available(), reason="sshd is not installed")
def test_a_bastion_that_lets_nothing_through_is_no_matter_of_waiting(
    postgres: PostgresServer, tmp_path: Path, define: Define
) -> None:
    with OpenSsh(tmp_path, keys=tmp_path / "keys") as server:
        said = [argument for child in psutil.Process().children(recursive=True) for argument in child.cmdline()]
        authorized = next(Path(each) for each in said if each.endswith("/sshd_config")).with_name("authorized_keys")
        authorized.write_text(f"restrict {authorized.read_text()}")

        assert (
            Bastion(server, postgres, define)
            .fails(CredentialRefused)
            .startswith(f"{BASTION}: the server does not let us through to that of {DB}.")
        )


def test_a_bastion_that_is_gone_is_unavailable_for_now(bastion: Bastion) -> None:
    bastion.server.stop()

    assert bastion.fails(SourceUnavailable).startswith(f"Cannot reach the server of {BASTION} (Connection refused).")


def test_a_way_in_that_breaks_off_anywhere_is_tried_again(bastion: Bastion) -> None:
    """Section 6: in the middle of the SSH login, of the database's."""
    with FaultProxy(bastion.server.port) as proxy:
        for n_bytes in range(0, 2_700, 90):
            proxy.truncate_after(n_bytes)
            bastion.fails(SourceUnavailable, ssh={"port": proxy.port})
            proxy.reset_after(n_bytes)
            bastion.fails(SourceUnavailable, ssh={"port": proxy.port})


def test_a_way_in_that_falls_silent_is_hung_up_on(bastion: Bastion, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of the SSH greeting, of the login, of the database's."""
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 2)
    for n_bytes in (0, 500, 1_600, 2_400, 2_800):
        with Mute(bastion.server.port, n_bytes) as mute:
            bastion.fails(SourceUnavailable, ssh={"port": mute.port})
            assert not mute.outwaited


def test_a_tunnel_that_falls_silent_in_the_middle_of_a_query_ends_it(
    bastion: Bastion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TCP would wait for a quarter of an hour, or for ever. A query that takes its time is no silence."""
    for seconds in (1, 5, 30):  # from those of an idle machine to those of the busiest, on which a login takes so long
        monkeypatch.setattr(connections, "ANSWER_SECONDS", seconds)
        try:
            with FaultProxy(bastion.server.port) as proxy, bastion.open(ssh={"port": proxy.port}) as db:
                db.execute("SELECT pg_sleep(%s)", [2.5 * seconds])  # until it was asked for a sign and gave none
                proxy.hang()
                with pytest.raises(psycopg.OperationalError):
                    db.execute("SELECT 1")
        except (SourceUnavailable, psycopg.OperationalError):
            continue
        return
    pytest.fail("A query was cut off although the tunnel was alive.")


# --- connections that are wrong --------------------------------------------------------------------------------------


def _open(opener: Callable[[str], AbstractContextManager[object]]) -> str:
    with pytest.raises(ContractViolation) as caught, opener("somewhere"):
        pass
    return str(caught.value)


@pytest.mark.parametrize("opener", [connections.open_share, connections.open_object_store, connections.open_postgres])
def test_a_connection_that_is_not_defined_is_named(opener: Callable[[str], AbstractContextManager[object]]) -> None:
    assert _open(opener) == (
        "Connection somewhere is not defined. "
        "Next step: Add it in Admin > Connections; the README's connections table has an example."
    )


def test_a_connection_of_another_type_is_refused(define: Define) -> None:
    define("somewhere", conn_type="http", host="example.com")

    assert _open(connections.open_share) == (
        "Connection somewhere has type 'http', which is no file share. Next step: Use type samba, sftp or fs."
    )
    assert _open(connections.open_object_store) == (
        "Connection somewhere has type 'http', which is no place for backups. Next step: Use type aws, fs or dropbox."
    )


@pytest.mark.parametrize(("conn_type", "lacks"), [("aws", "bucket"), ("dropbox", "refresh_token")])
def test_a_connection_that_lacks_something_says_what(define: Define, conn_type: str, lacks: str) -> None:
    define("somewhere", conn_type=conn_type, login="key", password="secret", extra={"region_name": "us-east-1"})

    assert _open(connections.open_object_store) == (
        f"Connection somewhere has no {lacks}. Next step: Add {lacks} to its extra, a JSON object."
    )


@pytest.mark.parametrize(
    "values",
    [
        {"conn_type": "sqlite", "host": "/data/production.db"},
        {"conn_type": "fs", "extra": {"path": "/data/production.db"}},
    ],
)
def test_a_sqlite_database_is_a_file_named_by_its_connection(define: Define, values: dict[str, Any]) -> None:
    define("somewhere", **values)
    assert connections.sqlite_file("somewhere") == Path("/data/production.db")


def test_a_database_of_another_kind_is_refused(define: Define) -> None:
    """R54: its host is no path, and a file of that name would be looked for."""
    define("somewhere", conn_type="postgres", host="db.example.com", schema="booked")
    with pytest.raises(ContractViolation) as refused:
        connections.sqlite_file("somewhere")
    assert str(refused.value) == (
        "Connection somewhere has type 'postgres', but SQLite is the database of this system. "
        "Next step: Use type sqlite with the path of the file as host, or fs with it as extra.path."
    )


def test_a_database_is_opened_when_it_is_needed_and_closed_after_it(define: Define) -> None:
    opened: list[tuple[Path, sqlite3.Connection]] = []

    def open_file(path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(":memory:")
        opened.append((path, db))
        return db

    database = connections.open_sqlite("somewhere", open_file)
    define("somewhere", conn_type="sqlite", host="/data/production.db")
    with database as db:
        assert opened == [(Path("/data/production.db"), db)]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        db.execute("SELECT 1")


def test_a_connection_without_a_path_and_settings_that_are_no_object_are_refused(
    define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    define("somewhere", conn_type="fs")
    with pytest.raises(ContractViolation, match=r"^Connection somewhere names no path\."):
        connections.path_of("somewhere")
    monkeypatch.setenv("AIRFLOW_VAR_COMMERCIAL_LOG_SETTINGS", "[1]")
    with pytest.raises(ContractViolation, match=r"^commercial_log: .* not a JSON object\."):
        connections.settings("commercial_log", Settings)
