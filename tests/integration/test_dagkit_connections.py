"""The traffic department's share and the places for backups, opened by their Airflow connections.

Every case runs against our servers and, where installed, Samba and OpenSSH (R1, R2, R4, R8; section 6 of the domain).
"""

from __future__ import annotations

import json
import secrets
import select
import shutil
import socket
import socketserver
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import smbclient
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
from sandbox.servers.dropbox import DropboxServer
from sandbox.servers.faults import FaultProxy
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

# smbclient cannot close a handle whose connection is gone.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed SMB handle")


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
    """A proxy that falls silent on every connection once ``n_bytes`` have come back from the server through it."""

    def __init__(self, upstream_port: int, n_bytes: int) -> None:
        super().__init__()
        self.upstream_port, self.n_bytes = upstream_port, n_bytes

    def _listen(self) -> Listener:
        proxy = self

        class Relay(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                left = proxy.n_bytes
                with socket.create_connection((HOST, proxy.upstream_port)) as server:
                    while True:
                        for each in select.select([self.request, server], [], [])[0]:
                            data = each.recv(max(left, 1) if each is server else 65536)
                            if not data:
                                return
                            if each is self.request:
                                server.sendall(data)
                            elif left > 0:
                                self.request.sendall(data)
                                left -= len(data)

        return Listener((HOST, self.port), Relay)


# Bytes after which the server is in the middle of the greeting, of the login, of looking around, of the workbook.
MOMENTS = [0, 500, 1_600, 2_500, 25_000]


def test_a_server_that_falls_silent_is_hung_up_on(
    served: KDrive, station: Station, define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By themselves the client libraries wait for an hour, or for ever."""
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.5)
    for n_bytes in MOMENTS:
        with Mute(served.server.port, n_bytes) as mute:
            define(**served.changed(port=mute.port))
            began = time.monotonic()
            assert station.fails(SourceUnavailable).startswith(f"{SHARE}: ")
            assert time.monotonic() - began < 5


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


# --- connections that are wrong --------------------------------------------------------------------------------------


def _open(opener: Callable[[str], AbstractContextManager[object]]) -> str:
    with pytest.raises(ContractViolation) as caught, opener("somewhere"):
        pass
    return str(caught.value)


@pytest.mark.parametrize("opener", [connections.open_share, connections.open_object_store])
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


def test_a_connection_without_a_path_and_settings_that_are_no_object_are_refused(
    define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    define("somewhere", conn_type="fs")
    with pytest.raises(ContractViolation, match=r"^Connection somewhere names no path\."):
        connections.path_of("somewhere")
    monkeypatch.setenv("AIRFLOW_VAR_COMMERCIAL_LOG_SETTINGS", "[1]")
    with pytest.raises(ContractViolation, match=r"^commercial_log: .* is not a JSON object\."):
        connections.settings("commercial_log")
