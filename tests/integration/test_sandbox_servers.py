"""The sandbox's servers, each met by a client that knows nothing of it; where installed, Samba and OpenSSH beside ours.

DESIGN, section 8: real protocols, injectable faults. Ours must do what the real ones do, or the pipelines are tested
against something that does not exist.
"""

import base64
import contextlib
import errno
import gc
import hashlib
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import apprise
import httpx
import paramiko
import psutil
import psycopg
import pytest
import smbclient
from botocore.exceptions import ClientError
from impacket.smb3structs import SMB2_DIALECT_002
from impacket.smbconnection import SessionError, SMBConnection
from smbprotocol.exceptions import LogonFailure, SMBException, SMBOSError

from sandbox.servers.base import HOST, Server
from sandbox.servers.child import ChildError
from sandbox.servers.dropbox import DropboxServer
from sandbox.servers.faults import FaultProxy, small_disk
from sandbox.servers.http import HttpServer, Request, Response, json_response, text_response
from sandbox.servers.postgres import UNPRIVILEGED, PostgresServer
from sandbox.servers.real import OpenSsh, Samba
from sandbox.servers.s3 import S3Server
from sandbox.servers.sinks import NotificationSink
from sandbox.servers.smb import SmbServer
from sandbox.servers.smtp import SmtpServer
from sandbox.servers.ssh import SshServer

REPOSITORY = Path(__file__).parents[2]

# --- SMB -------------------------------------------------------------------------------------------------------------

SMB_SERVERS = [
    SmbServer,
    pytest.param(Samba, marks=pytest.mark.skipif(not Samba.available(), reason="smbd is not installed")),
]


class SmbClient:
    """smbclient with the server's port and a cache of its own, so that no test meets another's connection."""

    def __init__(self, server: SmbServer | Samba) -> None:
        self.share = rf"\\{HOST}\K Drive"
        self.options: dict[str, Any] = {
            "port": server.port,
            "username": server.user,
            "password": server.password,
            "connection_cache": {},
        }

    def __getattr__(self, name: str) -> Any:
        return lambda path, **more: getattr(smbclient, name)(rf"{self.share}\{path}", **{**self.options, **more})

    def close(self) -> None:
        smbclient.reset_connection_cache(fail_on_error=False, connection_cache=self.options["connection_cache"])


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    folder = tmp_path / "drive" / "Traffic" / "Media library"
    folder.mkdir(parents=True)
    (folder / "Commercial Log.xlsx").write_bytes(b"a workbook")
    return tmp_path / "drive"


@pytest.fixture(params=SMB_SERVERS)
def smb(request: pytest.FixtureRequest, drive: Path) -> Iterator[SmbServer | Samba]:
    with request.param({"K Drive": drive}, user="traffic", password="a pass word") as server:
        yield server


@pytest.fixture
def smb_client(smb: SmbServer | Samba) -> Iterator[SmbClient]:
    with contextlib.closing(SmbClient(smb)) as client:
        yield client


def test_a_share_with_a_blank_in_its_name_is_listed_and_looked_at(smb_client: SmbClient, drive: Path) -> None:
    file = drive / "Traffic" / "Media library" / "Commercial Log.xlsx"
    os.utime(file, ns=(0, 1_756_387_800_123_456_700))

    assert smb_client.listdir("") == ["Traffic"]
    assert smb_client.listdir(r"Traffic\Media library") == ["Commercial Log.xlsx"]
    found = smb_client.stat(r"Traffic\Media library\Commercial Log.xlsx")
    assert (found.st_size, found.st_mtime_ns) == (10, 1_756_387_800_123_456_700)
    entry = next(smb_client.scandir(r"Traffic\Media library"))
    assert entry.smb_info.end_of_file == 10
    assert entry.smb_info.last_write_time.microsecond == 123_456
    assert entry.is_file()


def test_ten_megabytes_are_read_unharmed(smb_client: SmbClient, drive: Path) -> None:
    data = os.urandom(10_000_000)
    (drive / "big.xlsx").write_bytes(data)

    with smb_client.open_file("big.xlsx", mode="rb") as file:
        assert file.read() == data


def test_a_folder_of_700_files_is_listed_completely(smb_client: SmbClient, drive: Path) -> None:
    names = {f"Commercial Log with a long name {number:06}.xlsx" for number in range(700)}
    for name in names:
        (drive / "Traffic" / name).touch()

    listed = smb_client.listdir("Traffic")

    assert len(listed) == 701
    assert set(listed) == names | {"Media library"}


def test_a_file_that_grows_shows_its_new_size_and_time_at_once(smb_client: SmbClient, drive: Path) -> None:
    file = drive / "growing.csv"
    file.write_bytes(b"half,")
    before = smb_client.stat("growing.csv")
    with smb_client.open_file("growing.csv", mode="rb", share_access="rwd") as open_file:
        time.sleep(0.02)  # well below the whole seconds in which a careless server counts
        with file.open("ab") as writer:
            writer.write(b"whole")
        assert open_file.read() == b"half,whole"
    after = smb_client.stat("growing.csv")

    assert (before.st_size, after.st_size) == (5, 10)
    assert after.st_mtime_ns > before.st_mtime_ns


def test_a_folder_is_listed_while_files_come_and_go(smb_client: SmbClient, drive: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for number in range(50):
                (drive / f"{number}.tmp").touch()
            for number in range(50):
                (drive / f"{number}.tmp").unlink()

    writer = threading.Thread(target=churn)
    writer.start()
    try:
        listings = [smb_client.listdir("") for _ in range(50)]
    finally:
        stop.set()
        writer.join()

    assert all("Traffic" in listing for listing in listings)


def test_paths_ignore_case(smb_client: SmbClient) -> None:
    with smb_client.open_file(r"TRAFFIC\media LIBRARY\commercial log.XLSX", mode="rb") as file:
        assert file.read() == b"a workbook"


def test_what_is_not_there_is_not_found_and_a_file_is_not_a_folder(smb_client: SmbClient) -> None:
    def refusal(call: str, path: str, **more: str) -> str:
        with pytest.raises(SMBOSError) as caught:  # an OSError, but never a FileNotFoundError
            getattr(smb_client, call)(path, **more)
        return errno.errorcode[caught.value.errno]

    assert refusal("stat", "nothing.xlsx") == "ENOENT"
    assert refusal("stat", r"nowhere\nothing.xlsx") == "ENOENT"
    assert refusal("open_file", "nothing.xlsx", mode="rb") == "ENOENT"
    assert refusal("listdir", "nowhere") == "ENOENT"
    assert refusal("listdir", r"Traffic\Media library\Commercial Log.xlsx") == "ENOTDIR"


def test_a_file_opened_exclusively_cannot_be_read_but_looked_at(smb_client: SmbClient) -> None:
    path = r"Traffic\Media library\Commercial Log.xlsx"
    with smb_client.open_file(path, mode="rb", share_access="r"):
        with pytest.raises(SMBOSError, match="used by another process"):
            smb_client.open_file(path, mode="r+b", share_access="rwd")
        with smb_client.open_file(path, mode="rb", share_access="r") as another:
            assert another.read() == b"a workbook"
        assert smb_client.stat(path).st_size == 10
    with smb_client.open_file(path, mode="r+b") as file:
        assert file.read() == b"a workbook"


def test_files_are_written_renamed_and_deleted(smb_client: SmbClient, drive: Path) -> None:
    data = os.urandom(300_000)
    smb_client.mkdir("new")
    with smb_client.open_file(r"new\a.tmp", mode="wb") as file:
        file.write(data)
    smb_client.rename(r"new\a.tmp", dst=rf"{smb_client.share}\new\a.bin")

    assert [path.name for path in (drive / "new").iterdir()] == ["a.bin"]
    assert (drive / "new" / "a.bin").read_bytes() == data
    smb_client.remove(r"new\a.bin")
    smb_client.rmdir("new")
    assert not (drive / "new").exists()


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"username": "nobody_known"}])
def test_wrong_credentials_are_a_logon_failure(smb_client: SmbClient, wrong: dict[str, str]) -> None:
    with pytest.raises(LogonFailure):
        smbclient.register_session(HOST, **{**smb_client.options, **wrong})
    assert smb_client.listdir("") == ["Traffic"]


def test_guests_are_refused(smb: SmbServer | Samba) -> None:
    client = SMBConnection(HOST, HOST, sess_port=smb.port, preferredDialect=SMB2_DIALECT_002)
    try:
        with pytest.raises(SessionError):
            client.login("", "") and client.connectTree("K Drive")
    finally:
        client.close()


# --- SSH -------------------------------------------------------------------------------------------------------------

SSH_SERVERS = [
    SshServer,
    pytest.param(OpenSsh, marks=pytest.mark.skipif(not OpenSsh.available(), reason="sshd is not installed")),
]


@pytest.fixture(params=SSH_SERVERS)
def ssh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SshServer | OpenSsh]:
    (tmp_path / "files").mkdir()
    with request.param(tmp_path / "files", keys=tmp_path / "keys") as server:
        yield server


@contextlib.contextmanager
def ssh_client(server: SshServer | OpenSsh, **more: Any) -> Iterator[paramiko.SSHClient]:
    """A client that insists on the server's host key."""
    kind, key = server.host_key.split()
    patience = {"banner_timeout": 60, "auth_timeout": 60}
    options: dict[str, Any] = {"key_filename": str(server.client_key), **patience, **more}
    with paramiko.SSHClient() as client:
        known = paramiko.PKey.from_type_string(kind, base64.b64decode(key))
        client.get_host_keys().add(f"[{HOST}]:{server.port}", kind, known)
        client.connect(
            HOST, server.port, **{"username": server.user, "allow_agent": False, "look_for_keys": False, **options}
        )
        yield client


def test_files_go_there_and_back_by_sftp(ssh: SshServer | OpenSsh, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    with ssh_client(ssh) as client, client.open_sftp() as sftp:
        sftp.mkdir("Daily_Data")
        sftp.put(str(source), "Daily_Data/ACT.csv.tmp")
        sftp.posix_rename("Daily_Data/ACT.csv.tmp", "Daily_Data/ACT.csv")
        sftp.get("Daily_Data/ACT.csv", str(target))
        listed = sftp.listdir("Daily_Data")
        size = sftp.stat("Daily_Data/ACT.csv").st_size
        with pytest.raises(FileNotFoundError):
            sftp.stat("Daily_Data/none.csv")

    assert (listed, size) == (["ACT.csv"], 3_000_000)
    assert target.read_bytes() == data
    assert (ssh.root / "Daily_Data" / "ACT.csv").read_bytes() == data


def test_a_port_is_forwarded(ssh: SshServer | OpenSsh) -> None:
    with HttpServer() as web, ssh_client(ssh) as client:
        web.route("GET", "/ping", lambda _: text_response("pong"))
        transport = client.get_transport()
        assert transport
        channel = transport.open_channel("direct-tcpip", (HOST, web.port), (HOST, 0), timeout=60)
        channel.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: channel.recv(4096), b""))
        with pytest.raises(paramiko.ChannelException):
            transport.open_channel("direct-tcpip", (HOST, _closed_port()), (HOST, 0), timeout=60)

    assert answer.endswith(b"\r\n\r\npong")


def test_an_unknown_key_is_refused(ssh: SshServer | OpenSsh, tmp_path: Path) -> None:
    stranger = SshServer(tmp_path, keys=tmp_path / "stranger").client_key
    with pytest.raises(paramiko.AuthenticationException), ssh_client(ssh, key_filename=str(stranger)):
        pass


def test_the_host_key_stays_the_same_over_restarts_and_another_one_is_noticed(
    ssh: SshServer | OpenSsh, tmp_path: Path
) -> None:
    known = ssh.host_key
    ssh.stop()
    again = type(ssh)(ssh.root, keys=tmp_path / "keys", port=ssh.port)
    with again, ssh_client(again):
        assert again.host_key == known
    impostor = type(ssh)(ssh.root, keys=tmp_path / "other", port=ssh.port)
    with impostor, pytest.raises(paramiko.BadHostKeyException), ssh_client(ssh):
        pass


def test_sftp_cannot_leave_the_root_and_takes_a_password_if_one_is_set(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    (tmp_path / "files").mkdir()
    with SshServer(tmp_path / "files", keys=tmp_path / "keys", password="right") as server:
        key_less = {"key_filename": None}
        with ssh_client(server, **key_less, password="right") as client, client.open_sftp() as sftp:
            with pytest.raises(FileNotFoundError):
                sftp.stat("../secret")
            with pytest.raises(FileNotFoundError):
                sftp.stat(str(tmp_path / "secret"))
        with pytest.raises(paramiko.AuthenticationException), ssh_client(server, **key_less, password="wrong"):
            pass


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


def test_postgres_serves_databases_to_who_knows_the_password(postgres: PostgresServer) -> None:
    url = postgres.create_database("cvas source")
    assert postgres.create_database("cvas source") == url

    with psycopg.connect(url) as db:
        assert db.execute("SELECT current_database(), current_user, current_setting('fsync')").fetchone() == (
            "cvas source",
            "sandbox",
            "off",
        )
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(postgres.password, "wrong"))
    with pytest.raises(psycopg.OperationalError, match="fe_sendauth: no password supplied"):
        psycopg.connect(url.replace(f":{postgres.password}", ""))


def test_postgres_keeps_data_and_password_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PostgresServer(tmp_path / "pg", durable=True) as server:
        with psycopg.connect(server.url()) as db:
            db.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        first = server.url()
    with PostgresServer(tmp_path / "pg", port=server.port) as server:
        assert server.url() == first
        with psycopg.connect(server.url()) as db:
            assert db.execute("SELECT answer FROM kept").fetchone() == (42,)
        monkeypatch.setattr("sandbox.servers.postgres.SHUTDOWN_TIMEOUT", 0.1)
        with pytest.raises(ChildError, match=r"postmaster\.pid"), PostgresServer(tmp_path / "pg"):
            pass


HOST_PROCESS = """
import sys, time
from pathlib import Path
from sandbox.servers.postgres import UNPRIVILEGED, PostgresServer
server = PostgresServer(Path(sys.argv[1]))
server.start()
print(server.port, flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_postgres_ends_with_its_host_process(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", HOST_PROCESS, tmp_path / "pg"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as host:
        try:
            assert host.stdout
            port = int(host.stdout.readline())
            client = psycopg.connect(PostgresServer(tmp_path / "pg", port=port).url())  # must hold up nothing
            backend = psutil.Process(client.info.backend_pid)
            postmaster = backend.parent()
        finally:
            host.send_signal(number)
    _, alive = psutil.wait_procs([backend, postmaster], timeout=60)
    client.close()

    assert alive == []
    with PostgresServer(tmp_path / "pg", port=port):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="all tests run as a normal user already")
def test_postgres_runs_under_a_normal_user_too(tmp_path: Path) -> None:
    script = "import os; assert os.geteuid() != 0\n" + HOST_PROCESS.replace("time.sleep(300)", "server.stop()")
    as_nobody = [sys.executable, "-I", "-S", UNPRIVILEGED, tmp_path]
    subprocess.run([*as_nobody, sys.executable, "-B", "-c", script, tmp_path / "pg"], cwd=REPOSITORY, check=True)

    assert (tmp_path / "pg" / "log").owner() == "nobody"


# --- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[HttpServer]:
    def echo(request: Request) -> Response:
        return json_response([request.parts, request.query, request.body.decode()])

    def broken(_: Request) -> Response:
        raise ZeroDivisionError

    with HttpServer() as server:
        server.route("POST", r"/echo/(?P<name>.+)", echo)
        server.route("GET", r"/broken", broken)
        yield server


def test_http_routes_by_method_and_path(web: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    with httpx.Client(base_url=web.url, timeout=60) as client:
        plain = client.post("/echo/a%20b?x=1&y=", content=b"body")
        chunked = client.post("/echo/a", content=iter([b"two ", b"chunks"]))
        statuses = [client.get("/echo/a").status_code, client.post("/").status_code, client.get("/broken").status_code]

    assert plain.json() == [{"name": "a b"}, {"x": "1", "y": ""}, "body"]
    assert chunked.json() == [{"name": "a"}, {}, "two chunks"]
    assert statuses == [404, 404, 500]
    assert "GET /broken failed" in caplog.text


def test_http_faults_come_in_the_order_they_were_queued_and_the_app_sees_none_of_them(web: HttpServer) -> None:
    web.fail_next(429, times=2, headers={"Retry-After": "7"})
    web.fail_next(502, headers={"Content-Type": "text/html"}, body="<html>bad gateway</html>")
    web.fail_next(500, path="/echo/other")

    with httpx.Client(base_url=web.url, timeout=60) as client:
        answers = [client.post("/echo/a", content=b"x") for _ in range(4)]
        other = [client.post("/echo/other").status_code for _ in range(2)]

    assert [answer.status_code for answer in answers] == [429, 429, 502, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert (answers[2].headers["Content-Type"], answers[2].text) == ("text/html", "<html>bad gateway</html>")
    assert other == [500, 200]


# --- notifications ---------------------------------------------------------------------------------------------------

PATIENCE = "cto=60&rto=60"  # seconds for Apprise to connect and to wait for an answer


@pytest.fixture
def sink() -> Iterator[NotificationSink]:
    with NotificationSink() as server:
        yield server


def test_ntfy_takes_plain_text_with_headers(sink: NotificationSink) -> None:
    headers = {"Title": "Load failed", "Priority": "5", "Tags": "warning"}
    assert httpx.post(f"{sink.url}/estate-alerts", content="Zeile ü", headers=headers).json()["event"] == "message"

    (message,) = sink.messages
    assert (message.kind, message.path, message.body) == ("ntfy", "/estate-alerts", "Zeile ü")
    assert [message.headers[name] for name in ("title", "priority", "tags")] == ["Load failed", "5", "warning"]


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # Apprise tries to import it
def test_what_apprise_sends_to_ntfy_and_json_arrives(sink: NotificationSink) -> None:
    notifier = apprise.Apprise()
    notifier.add(f"ntfy://user:pass@{HOST}:{sink.port}/estate-alerts?{PATIENCE}")
    notifier.add(f"json://{HOST}:{sink.port}/?{PATIENCE}")

    assert notifier.notify(title="Load failed", body="reason")
    assert sorted((message.kind, message.path) for message in sink.messages) == [("json", "/"), ("ntfy", "/")]
    by_kind = {message.kind: json.loads(message.body) for message in sink.messages}
    assert by_kind["ntfy"] == {"topic": "estate-alerts", "title": "Load failed", "message": "reason"}
    assert (by_kind["json"]["title"], by_kind["json"]["message"]) == ("Load failed", "reason")

    sink.fail_next(503)
    # Not the first one, which waits 5.5 s between two messages.
    another = apprise.Apprise(f"json://{HOST}:{sink.port}/?{PATIENCE}")
    assert not another.notify(title="Load failed", body="reason")
    assert len(sink.messages) == 2


def test_a_slack_webhook_takes_valid_json_only(sink: NotificationSink) -> None:
    url = f"{sink.url}/services/T0/B0/x"
    answers = [
        httpx.post(url, json={"text": 'a "quoted" line\nand another'}),
        httpx.post(url, content=b'{"text": "a "quoted" line"}'),
        httpx.post(url, json={"message": "no text"}),
        httpx.post(url, json=["text"]),
    ]

    assert [(answer.status_code, answer.text) for answer in answers] == [
        (200, "ok"),
        (400, "invalid_payload"),
        (400, "no_text"),
        (400, "invalid_payload"),
    ]
    assert [json.loads(message.body) for message in sink.messages] == [{"text": 'a "quoted" line\nand another'}]


def test_mails_are_kept_with_their_envelope() -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Täglich", "a@example.org", "b@example.org"
    mail.set_content("first\n.dot\n")
    with SmtpServer() as server, smtplib.SMTP(HOST, server.port) as client:
        client.send_message(mail, to_addrs=["b@example.org", "c@example.org"])

    (kept,) = server.mails
    assert (kept.sender, kept.recipients) == ("a@example.org", ["b@example.org", "c@example.org"])
    assert (kept.message["Subject"], kept.message.get_content()) == ("Täglich", "first\n.dot\n")


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # Apprise tries to import it
def test_mail_is_refused_without_the_right_password() -> None:
    with SmtpServer(user="sender", password="right") as server, smtplib.SMTP(HOST, server.port) as client:
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("a@example.org", ["b@example.org"], "x")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("sender", "wrong")
        client.login("sender", "right")
        client.sendmail("a@example.org", ["b@example.org"], "x")
        mail = f"{HOST}:{server.port}?mode=insecure&from=a@example.org&to=b@example.org&{PATIENCE}"
        good = f"mailto://sender:right@{mail}"
        assert apprise.Apprise(good).notify(title="Load failed", body="reason")
        assert not apprise.Apprise(good.replace("right", "wrong")).notify(title="Load failed", body="reason")

    assert [kept.message["Subject"] for kept in server.mails] == [None, "Load failed"]


# --- Dropbox ---------------------------------------------------------------------------------------------------------


class DropboxClient:
    """Dropbox's HTTP API, written from its documentation."""

    def __init__(self, server: DropboxServer) -> None:
        self._http = httpx.Client(base_url=server.url, timeout=60)
        self.refresh()

    def refresh(self) -> None:
        answer = self._http.post(
            "/oauth2/token", data={"grant_type": "refresh_token", "refresh_token": "rt"}, auth=("key", "secret")
        )
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def content(self, call: str, argument: object, data: bytes = b"") -> httpx.Response:
        headers = {"Dropbox-API-Arg": json.dumps(argument), "Content-Type": "application/octet-stream"}
        return self._http.post(f"/2/files/{call}", headers=headers, content=data)

    def rpc(self, call: str, argument: object) -> httpx.Response:
        return self._http.post(f"/2/files/{call}", json=argument)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def dropbox(tmp_path: Path) -> Iterator[DropboxServer]:
    (tmp_path / "dropbox").mkdir()
    with DropboxServer(tmp_path / "dropbox", app_key="key", app_secret="secret", refresh_token="rt") as server:
        yield server


@pytest.fixture
def dropbox_client(dropbox: DropboxServer) -> Iterator[DropboxClient]:
    with contextlib.closing(DropboxClient(dropbox)) as client:
        yield client


def test_a_backup_is_uploaded_in_a_session_and_downloaded_again(
    dropbox: DropboxServer, dropbox_client: DropboxClient
) -> None:
    data = os.urandom(9 * 1024 * 1024)
    blocks = [hashlib.sha256(data[start : start + 4 * 1024 * 1024]).digest() for start in range(0, len(data), 2**22)]
    cut = 5_000_000

    session = dropbox_client.content("upload_session/start", {}, data[:cut]).json()["session_id"]
    cursor = {"session_id": session, "offset": cut}
    assert dropbox_client.content("upload_session/append_v2", {"cursor": cursor}, data[cut:-7]).json() is None
    assert dropbox_client.rpc("list_folder", {"path": ""}).json()["entries"] == []
    assert list(dropbox.root.iterdir()) == []
    commit = {"path": "/backups/Database_1.db", "mode": "overwrite", "client_modified": "2025-08-28T11:00:00Z"}
    finish = {"cursor": {"session_id": session, "offset": len(data) - 7}, "commit": commit}
    metadata = dropbox_client.content("upload_session/finish", finish, data[-7:]).json()

    assert {name: metadata[name] for name in metadata if name not in ("id", "rev")} == {
        "name": "Database_1.db",
        "path_lower": "/backups/database_1.db",
        "path_display": "/backups/Database_1.db",
        "client_modified": "2025-08-28T11:00:00Z",
        "server_modified": "2025-08-28T11:00:00Z",
        "size": len(data),
        "is_downloadable": True,
        "content_hash": hashlib.sha256(b"".join(blocks)).hexdigest(),
    }
    download = dropbox_client.content("download", {"path": "/BACKUPS/database_1.db"})
    assert download.content == data
    assert json.loads(download.headers["Dropbox-API-Result"]) == metadata
    assert dropbox_client.rpc("get_metadata", {"path": "/backups/Database_1.db"}).json() == {".tag": "file"} | metadata


def test_a_chunk_at_the_wrong_offset_is_refused_with_the_right_one(dropbox_client: DropboxClient) -> None:
    session = dropbox_client.content("upload_session/start", {}, b"12345").json()["session_id"]
    append = {"cursor": {"session_id": session, "offset": 5}}
    assert dropbox_client.content("upload_session/append_v2", append, b"678").status_code == 200

    again = dropbox_client.content("upload_session/append_v2", append, b"678")
    finish = dropbox_client.content("upload_session/finish", {**append, "commit": {"path": "/a"}})
    unknown = dropbox_client.content("upload_session/append_v2", {"cursor": {"session_id": "x", "offset": 0}})
    damaged = dropbox_client.content(
        "upload_session/append_v2", {"cursor": {"session_id": session, "offset": 8}, "content_hash": "0" * 64}, b"9"
    )

    assert [(answer.status_code, answer.json()["error"]) for answer in (again, finish, unknown, damaged)] == [
        (409, {".tag": "incorrect_offset", "correct_offset": 8}),
        (409, {".tag": "lookup_failed", "lookup_failed": {".tag": "incorrect_offset", "correct_offset": 8}}),
        (409, {".tag": "not_found"}),
        (409, {".tag": "content_hash_mismatch"}),
    ]
    assert finish.json()["error_summary"] == "lookup_failed/incorrect_offset/.."


def test_a_file_that_is_there_is_kept_replaced_or_given_a_number(
    dropbox: DropboxServer, dropbox_client: DropboxClient
) -> None:
    def upload(data: bytes, **commit: object) -> httpx.Response:
        return dropbox_client.content("upload", {"path": "/a.db", **commit}, data)

    first = upload(b"one").json()
    refused = upload(b"two")
    assert (refused.status_code, refused.json()["error_summary"]) == (409, "path/conflict/file/..")
    assert refused.json()["error"]["reason"] == {".tag": "conflict", "conflict": {".tag": "file"}}
    assert upload(b"one").json() == first
    assert upload(b"two", autorename=True).json()["path_display"] == "/a (1).db"
    assert upload(b"three", mode={".tag": "update", "update": "0123456789"}).status_code == 409
    second = upload(b"three", mode={".tag": "update", "update": first["rev"]}).json()
    assert second["rev"] != first["rev"]
    assert upload(b"four", mode="overwrite").status_code == 200
    assert {path.name: path.read_bytes() for path in dropbox.root.iterdir()} == {"a.db": b"four", "a (1).db": b"two"}


def test_folders_are_listed_in_pages_and_entries_deleted(dropbox_client: DropboxClient) -> None:
    for number in range(7):
        dropbox_client.content("upload", {"path": f"/backups/{number}.db"}, b"")

    answer = dropbox_client.rpc("list_folder", {"path": "/backups"}).json()
    pages = [[entry["name"] for entry in answer["entries"]]]
    while answer["has_more"]:
        answer = dropbox_client.rpc("list_folder/continue", {"cursor": answer["cursor"]}).json()
        pages.append([entry["name"] for entry in answer["entries"]])
    deleted = dropbox_client.rpc("delete_v2", {"path": "/backups/0.db"})
    again = dropbox_client.rpc("delete_v2", {"path": "/backups/0.db"})

    assert pages == [["0.db", "1.db", "2.db"], ["3.db", "4.db", "5.db"], ["6.db"]]
    assert deleted.json()["metadata"]["path_lower"] == "/backups/0.db"
    assert (again.status_code, again.json()["error_summary"]) == (409, "path_lookup/not_found/..")
    for call, argument, summary in [
        ("get_metadata", {"path": "/none"}, "path/not_found/.."),
        ("list_folder", {"path": "/backups/1.db"}, "path/not_folder/.."),
        ("list_folder/continue", {"cursor": "x"}, "reset/.."),
        ("get_metadata", {"path": "/../outside"}, "path/malformed_path/.."),
    ]:
        refused = dropbox_client.rpc(call, argument)
        assert (refused.status_code, refused.json()["error_summary"]) == (409, summary)
    assert dropbox_client.rpc("get_metadata", {}).status_code == 400
    assert dropbox_client.rpc("list_folder", {"path": "/"}).status_code == 400


def test_dropbox_takes_only_live_tokens_and_gives_them_only_to_the_app(
    dropbox: DropboxServer, dropbox_client: DropboxClient
) -> None:
    good = {"grant_type": "refresh_token", "refresh_token": "rt", "client_id": "key", "client_secret": "secret"}
    token_url = f"{dropbox.url}/oauth2/token"
    assert httpx.post(token_url, data=good).json()["expires_in"] == 14_400
    assert httpx.post(token_url, data={**good, "refresh_token": "x"}).json()["error"] == "invalid_grant"
    assert httpx.post(token_url, data={**good, "client_secret": "x"}).json()["error"] == "invalid_client"
    assert httpx.post(token_url, data=good, auth=("key", "x")).status_code == 401

    dropbox.expire_tokens()
    expired = dropbox_client.rpc("list_folder", {"path": ""})
    dropbox_client.refresh()
    unknown = httpx.post(f"{dropbox.url}/2/files/list_folder", json={"path": ""}, headers={"Authorization": "Bearer x"})

    assert (expired.status_code, expired.json()["error"]) == (401, {".tag": "expired_access_token"})
    assert dropbox_client.rpc("list_folder", {"path": ""}).status_code == 200
    assert (unknown.status_code, unknown.json()["error"]) == (401, {".tag": "invalid_access_token"})


# --- S3 --------------------------------------------------------------------------------------------------------------


def test_s3_keeps_objects_fails_on_demand_and_forgets_on_reset() -> None:
    with S3Server() as server, contextlib.closing(server.client()) as client:
        server.create_bucket("photos")
        client.put_object(Bucket="photos", Key="a/1.jpg", Body=b"jpeg")
        assert client.get_object(Bucket="photos", Key="a/1.jpg")["Body"].read() == b"jpeg"

        server.fail_next(503, times=5, path="/photos/.*")
        with pytest.raises(ClientError, match="503"):
            client.put_object(Bucket="photos", Key="b", Body=b"x" * 100_000)
        listed = client.list_objects_v2(Bucket="photos")["Contents"]
        assert [(entry["Key"], entry["Size"]) for entry in listed] == [("a/1.jpg", 4)]

        server.reset()
        assert client.list_buckets()["Buckets"] == []


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with HttpServer() as web:
        web.route("GET", "/big", lambda _: Response(body=b"x" * 1_000_000))
        with FaultProxy(web.port) as proxy:
            yield proxy


def _get(proxy: FaultProxy, *, patience: float = 60) -> int:
    return len(httpx.get(f"http://{HOST}:{proxy.port}/big", timeout=httpx.Timeout(60, read=patience)).content)


def test_a_refusing_proxy_resets_what_is_open_and_keeps_its_port_when_healed(proxy: FaultProxy) -> None:
    with socket.create_connection((HOST, proxy.port)) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1)
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            _read_all(client, bytearray())
    with pytest.raises(httpx.ConnectError):
        _get(proxy)
    port = proxy.port
    proxy.heal()
    assert (proxy.port, _get(proxy)) == (port, 1_000_000)


def test_a_hanging_proxy_accepts_and_says_nothing(proxy: FaultProxy) -> None:
    proxy.hang()
    with socket.create_connection((HOST, proxy.port)) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        with pytest.raises(httpx.ReadTimeout):
            _get(proxy, patience=0.3)
        client.settimeout(60)
        proxy.heal()
        assert client.recv(8) == b"HTTP/1.1"


def test_a_proxy_resets_or_truncates_after_so_many_bytes(proxy: FaultProxy) -> None:
    def received() -> tuple[int, bool]:
        into = bytearray()
        with socket.create_connection((HOST, proxy.port), timeout=60) as client:
            client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                _read_all(client, into)
            except ConnectionResetError:
                return len(into), True
        return len(into), False

    proxy.reset_after(70_000)
    assert [received(), received()] == [(70_000, True), (70_000, True)]
    with pytest.raises(httpx.ReadError):
        _get(proxy)
    proxy.truncate_after(70_000)
    assert received() == (70_000, False)
    with pytest.raises(httpx.RemoteProtocolError):
        _get(proxy)
    proxy.heal()
    assert _get(proxy) == 1_000_000


@pytest.mark.filterwarnings("ignore:unclosed SMB handle")  # smbclient cannot close it without a connection
def test_a_share_behind_a_proxy_breaks_off_and_comes_back(drive: Path) -> None:
    (drive / "big.xlsx").write_bytes(b"x" * 3_000_000)
    with SmbServer({"K Drive": drive}, user="traffic", password="x") as server, FaultProxy(server.port) as proxy:
        server.port, real = proxy.port, server.port
        client = SmbClient(server)
        server.port = real
        proxy.reset_after(500_000)
        with pytest.raises(SMBException), client.open_file("big.xlsx", mode="rb", buffering=0) as file:
            file.read()
        client.close()
        proxy.heal()
        with client.open_file("big.xlsx", mode="rb") as file:
            assert len(file.read()) == 3_000_000
        client.close()
        gc.collect()  # of the handle that was not closed, while its warning is ignored


def test_a_small_disk_is_full_when_it_should_be(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1_000_000) as disk:
        if disk is None:
            pytest.skip("mounting is not allowed here")
        (disk / "fits").write_bytes(b"x" * 500_000)
        with pytest.raises(OSError, match="No space left") as caught:
            (disk / "too_much").write_bytes(b"x" * 600_000)
    assert caught.value.errno == errno.ENOSPC
    assert list((tmp_path / "disk").iterdir()) == []


# --- starting and stopping -------------------------------------------------------------------------------------------


def _servers(directory: Path) -> list[Server]:
    (directory / "root").mkdir()
    root, keys = directory / "root", directory / "keys"
    servers = [
        SmbServer({"K Drive": root}, user="a", password="b"),
        SshServer(root, keys=keys),
        HttpServer(),
        NotificationSink(),
        DropboxServer(root, app_key="a", app_secret="b", refresh_token="c"),
        S3Server(),
        SmtpServer(),
        PostgresServer(directory / "pg"),
        FaultProxy(1),
    ]
    if Samba.available():
        servers.append(Samba({"K Drive": root}, user="a", password="b"))
    if OpenSsh.available():
        servers.append(OpenSsh(root, keys=keys))
    return servers


def test_servers_serve_when_started_stop_without_a_trace_and_start_again_on_their_port(tmp_path: Path) -> None:
    this = psutil.Process()
    for server in _servers(tmp_path):
        name = type(server).__name__
        before = set(threading.enumerate()), this.num_fds(), set(this.children(recursive=True))
        server.start()
        port = server.port
        with socket.create_connection((HOST, port)):  # a client that stays
            server.stop()
            server.stop()
        assert (set(threading.enumerate()), this.num_fds(), set(this.children(recursive=True))) == before, name
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with server:
            assert server.port == port, name


def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        for server in (HttpServer(port=port), S3Server(port=port), SmtpServer(port=port), FaultProxy(1, port=port)):
            with pytest.raises(OSError, match="in use") as caught, server:
                pass
            assert caught.value.errno == errno.EADDRINUSE


def _read_all(client: socket.socket, into: bytearray) -> None:
    while data := client.recv(65536):
        into += data


def _closed_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
