"""Every connection of the estate by name, and how each is opened. Nothing is looked up before a task runs."""

import errno
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from threading import Event, Thread, Timer
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from airflow.sdk import BaseHook, Connection, Variable

from dagkit.tunnel import LOCAL, forward
from include.common.settings import read_settings
from include.common.shares import FileStat, LocalShare, Share
from include.errors import ContractViolation, CredentialRefused, PipelineError, SourceUnavailable

if TYPE_CHECKING:
    import sqlite3

    from paramiko import SSHClient
    from psycopg import Connection as Session

    from include.common.objectstores import ObjectStore

Kind = TypeVar("Kind")

COMMERCIAL_LOG_SHARE = "commercial_log_share"
COMMERCIAL_LOG_DB = "commercial_log_db"
COMMERCIAL_LOG_FILES = "commercial_log_files"
COMMERCIAL_LOG_BACKUP = "commercial_log_backup"

CVAS_REPORTING_SFTP = "cvas_reporting_sftp"
CVAS_NOVA_SSH = "cvas_nova_ssh"
CVAS_NOVA_DB = "cvas_nova_db"
CVAS_LAKE = "cvas_lake"
CVAS_BACKUP = "cvas_backup"

PROBES = 2
PROBE_SECONDS = 5
ANSWER_SECONDS = 30
HTTP_SECONDS = 60
HTTP_TRIES = 5
NOT_ALLOWED = 1  # "administratively prohibited", RFC 4254

# What PostgreSQL says when a login cannot succeed, and when it can a little later.
_REFUSED = re.compile("FATAL:|no password supplied|does not support SSL|certificate")
_PASSING = re.compile("starting up|shutting down|recovery|not yet accepting|too many|connection slots")


def settings(system: str, kind: type[Kind]) -> Kind:
    """The system's settings: its dataclass ``kind`` with what the Airflow variable ``<system>_settings`` says instead.

    Raises ContractViolation naming variable and setting if it is not a JSON object or holds what cannot be meant.
    """
    # Airflow's own deserialize_json takes the default for a text that is no JSON, and goes on.
    return read_settings(kind, Variable.get(f"{system}_settings", default=None), system=system)


def path_of(conn_id: str) -> Path:
    """The local file or folder a connection names: ``extra.path``, or the host of a SQLite connection."""
    connection = _get(conn_id)
    path = connection.extra_dejson.get("path") or connection.host
    if not path:
        raise ContractViolation(
            f"Connection {conn_id} names no path.",
            next_step=f'Set it: airflow connections add {conn_id} with an extra of {{"path": "/..."}}.',
        )
    return Path(path)


def sqlite_file(conn_id: str) -> Path:
    """The file of a SQLite database by its connection: type ``sqlite`` (host) or ``fs`` (extra.path).

    Raises ContractViolation for any other type: what names a server there is no path.
    """
    connection = _get(conn_id)
    if connection.conn_type not in ("sqlite", "fs"):
        raise ContractViolation(
            f"Connection {conn_id} has type {connection.conn_type!r}, but SQLite is the database of this system.",
            next_step="Use type sqlite with the path of the file as host, or fs with it as extra.path.",
        )
    return path_of(conn_id)


@contextmanager
def open_sqlite(conn_id: str, open_file: Callable[[Path], "sqlite3.Connection"]) -> Iterator["sqlite3.Connection"]:
    """A SQLite database by its connection, opened by ``open_file`` of its system and closed afterwards."""
    with closing(open_file(sqlite_file(conn_id))) as db:
        yield db


@dataclass(frozen=True)
class _RemoteShare:
    name: str
    listdir: Callable[[str], list[str]]
    stat: Callable[[str], FileStat]
    open: Callable[[str], AbstractContextManager[BinaryIO]]


@contextmanager
def open_share(conn_id: str) -> Iterator[Share]:
    """A file share by its connection: type ``samba`` (SMB; schema = share), ``sftp`` (extra.path) or ``fs`` (mounted).

    The server is probed before anything is asked of it, and hung up on if one call takes it ``ANSWER_SECONDS``. Every
    share is opened anew, so nothing stale is ever used again.
    Raises SourceUnavailable if nobody answers, CredentialRefused for a refused login or an unknown host key.
    """
    connection = _get(conn_id)
    if connection.conn_type == "fs":
        root = path_of(conn_id)
        _check_mounted(conn_id, root)
        yield LocalShare(conn_id, root)
    elif connection.conn_type == "samba":
        with _open_smb(connection) as share:
            yield share
    elif connection.conn_type == "sftp":
        with _open_sftp(connection) as share:
            yield share
    else:
        raise ContractViolation(
            f"Connection {conn_id} has type {connection.conn_type!r}, which is no file share.",
            next_step="Use type samba, sftp or fs.",
        )


def _check_mounted(conn_id: str, root: Path) -> None:
    try:
        found = next(root.iterdir(), None)
        reason = "it is empty"
    except OSError as error:
        found = None
        reason = error.strerror or str(error)
    if found is None:  # where nothing is mounted there is an empty folder
        raise SourceUnavailable(
            f"{conn_id}: the share is not mounted at {root}, or its server does not answer ({reason}).",
            next_step="It is tried again in five minutes. If it stays: mount it, and check its server.",
        )


def _patient(call: Callable[..., Any], *, hang_up: Callable[[], None]) -> Callable[..., Any]:
    """``call``, which fails soon after ``hang_up`` if it takes too long: the client libraries can wait for ever."""

    def limited(*args: Any, **kwargs: Any) -> Any:
        timer = Timer(ANSWER_SECONDS, hang_up)
        timer.daemon = True
        timer.start()
        try:
            return call(*args, **kwargs)
        finally:
            timer.cancel()

    return limited


@contextmanager
def _open_smb(connection: Connection) -> Iterator[Share]:
    import smbclient
    from smbprotocol.exceptions import SMBAuthenticationError, SMBException, SMBOSError, SMBResponseException
    from smbprotocol.header import NtStatus

    numbers = {  # smbprotocol has misleading ones or none
        NtStatus.STATUS_SHARING_VIOLATION: errno.EBUSY,
        NtStatus.STATUS_ACCESS_DENIED: errno.EACCES,
        NtStatus.STATUS_BAD_NETWORK_NAME: errno.ENOENT,
    }
    opened: dict[str, Any] = {}
    access = {
        "username": connection.login,
        "password": connection.password,
        "port": connection.port or 445,
        "connection_cache": opened,
        "connection_timeout": ANSWER_SECONDS,
    }

    def hang_up() -> None:
        for each in list(opened.values()):
            each.disconnect(close=False)  # logging off would wait for an answer

    patient = partial(_patient, hang_up=hang_up)

    def ask(function: Callable[..., Any], path: str, **how: str) -> Any:
        try:
            return patient(function)(rf"\\{connection.host}\{connection.schema}\{path}", **access, **how)
        except SMBOSError as error:
            raise OSError(numbers.get(error.ntstatus, error.errno), error.strerror, path) from error

    @contextmanager
    def open_file(path: str) -> Iterator[BinaryIO]:
        stream = ask(smbclient.open_file, path, mode="rb", share_access="rwd")
        try:
            stream.read = patient(stream.read)
            yield stream
        finally:
            try:
                patient(stream.close)()
            except Exception:
                stream.raw.fd._connected = False  # or it is closed once more, by the garbage collector
                raise

    _probe(connection, 445)
    try:
        with _opening(
            connection, refused=(SMBResponseException, SMBAuthenticationError), lost=(SMBException, OSError, ValueError)
        ):
            patient(smbclient.register_session)(connection.host, **access)
        yield _RemoteShare(
            connection.conn_id,
            listdir=partial(ask, smbclient.listdir),
            stat=partial(ask, smbclient.stat),
            open=open_file,
        )
    finally:
        hang_up()


@contextmanager
def _open_sftp(connection: Connection) -> Iterator[Share]:
    root = str(connection.extra_dejson.get("path", ".")).rstrip("/")
    with _open_ssh(connection) as client:
        patient = partial(_patient, hang_up=client.close)
        with _opening_ssh(connection):
            sftp = patient(client.open_sftp)()

        @contextmanager
        def open_file(path: str) -> Iterator[BinaryIO]:
            stream = patient(sftp.open)(f"{root}/{path}", "rb")
            try:
                patient(stream.prefetch)()
                stream.read = patient(stream.read)
                yield stream
            finally:
                patient(stream.close)()

        yield _RemoteShare(
            connection.conn_id,
            listdir=patient(lambda path: sftp.listdir(f"{root}/{path}")),
            stat=patient(lambda path: sftp.stat(f"{root}/{path}")),
            open=open_file,
        )


@contextmanager
def _open_ssh(connection: Connection) -> Iterator["SSHClient"]:
    """A login on a server whose host key is on record."""
    from airflow.providers.ssh.hooks.ssh import SSHHook

    _probe(connection, 22)
    with ExitStack() as stack:
        with _opening_ssh(connection):
            hook = SSHHook(
                ssh_conn_id=connection.conn_id,
                conn_timeout=ANSWER_SECONDS,
                banner_timeout=ANSWER_SECONDS,
                auth_timeout=ANSWER_SECONDS,
                conn_retry_attempts=1,  # it would repeat refused logins too, until the account is locked
                no_host_key_check=False,
            )
            hook.allow_host_key_change = False
            # As ssh does it, not Airflow: packing takes longer than sending, unless the way is narrow.
            hook.compress = str(connection.extra_dejson.get("compress")).lower() == "true"
            client = stack.enter_context(hook.get_conn())
            wire = client.get_transport().sock
            if isinstance(wire, socket.socket):  # it may be a proxy command
                # Otherwise a small message waits until the one before is acknowledged: 40 ms per login and query.
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client


@contextmanager
def open_postgres(conn_id: str, *, through: str | None = None) -> Iterator["Session[Any]"]:
    """A session with a PostgreSQL database by its connection: type ``postgres``, its extra goes to the client library.

    ``through`` names an SSH connection whose server reaches the database; that server is entered with a key only, and
    hung up on if it falls silent for ``ANSWER_SECONDS``. How long a statement may take is up to the caller.
    Raises SourceUnavailable if nobody answers, CredentialRefused for a refused login or an unknown host key; neither
    says where the servers are. What goes wrong later is the caller's: a ``psycopg.Error``.
    """
    from psycopg import connect

    connection = _get(conn_id)
    seconds = ceil(ANSWER_SECONDS)
    options: dict[str, Any] = {
        "host": connection.host or "localhost",
        "port": connection.port or 5432,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
        "client_encoding": "utf8",
        "connect_timeout": seconds,
        "keepalives_idle": seconds,
        "keepalives_interval": seconds,
        "keepalives_count": 2,
        "tcp_user_timeout": 1000 * seconds,
        **connection.extra_dejson,
    }
    with ExitStack() as stack:
        if through:
            port = stack.enter_context(_open_tunnel(_get(through), connection, options["host"], options["port"]))
            options |= {"hostaddr": LOCAL, "port": port}  # a certificate is still compared with the host
        else:
            _probe(connection, 5432)
        with _opening_postgres(connection):
            session = stack.enter_context(closing(connect(**options)))
        yield session


@contextmanager
def _open_tunnel(server: Connection, target: Connection, host: str, port: int) -> Iterator[int]:
    """A port of this machine that leads through an SSH server to the ``port`` of ``host``."""
    from paramiko import ChannelException

    if server.password:
        raise ContractViolation(
            f"Connection {server.conn_id} has a password, but its server is entered with a key only.",
            next_step="Remove the password; a key goes into extra.private_key, its pass phrase, if it has one, into "
            "extra.private_key_passphrase.",
        )
    with _open_ssh(server) as client, ExitStack() as stack:
        with _opening_ssh(server):
            client.get_transport().channel_timeout = ANSWER_SECONDS
            try:
                tunnel = stack.enter_context(forward(client, host, port))
            except ChannelException as error:
                raise _refused_channel(error.code, server, target) from None
            stack.enter_context(_listening(client))
        yield tunnel


def _refused_channel(code: int, server: Connection, target: Connection) -> PipelineError:
    if code == NOT_ALLOWED:
        return CredentialRefused(
            f"{server.conn_id}: the server does not let us through to that of {target.conn_id}.",
            next_step="Ask its owner to allow the forwarding (AllowTcpForwarding, PermitOpen), then clear the task.",
        )
    return SourceUnavailable(
        f"Cannot reach the server of {target.conn_id} from that of {server.conn_id}.",
        next_step="It is tried again in five minutes. If it stays: check that the database runs, its name and port.",
    )


@contextmanager
def _listening(client: "SSHClient") -> Iterator[None]:
    """Hang up on an SSH server that answers nothing any more: TCP notices after a quarter of an hour, or never."""
    from paramiko import SSHException

    ended = Event()

    def ask() -> None:
        answer = _patient(client.get_transport().global_request, hang_up=client.close)
        with suppress(SSHException, OSError, EOFError):
            while not ended.wait(ANSWER_SECONDS):
                answer("keepalive@openssh.com", wait=True)

    asking = Thread(target=ask, name="tunnel watch", daemon=True)
    asking.start()
    try:
        yield
    finally:
        ended.set()
        client.close()
        asking.join()


@contextmanager
def open_object_store(conn_id: str) -> Iterator["ObjectStore"]:
    """Where backups go, by its connection: type ``aws`` (extra.bucket, extra.prefix), ``fs`` (extra.path) or
    ``dropbox`` (login = app key, password = app secret, extra.refresh_token, extra.folder)."""
    from include.common.objectstores import DropboxStore, FolderStore, S3Store

    connection = _get(conn_id)
    extra = connection.extra_dejson
    if connection.conn_type == "fs":
        yield FolderStore(path_of(conn_id))
    elif connection.conn_type == "aws":
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
        from botocore.config import Config

        config = Config(retries={"total_max_attempts": HTTP_TRIES, "mode": "standard"})
        bucket = _extra(connection, "bucket")
        with closing(S3Hook(aws_conn_id=conn_id, config=config).get_conn()) as client:
            yield S3Store(client, bucket, extra.get("prefix", ""))
    elif connection.conn_type == "dropbox":
        import time

        import httpx

        urls: dict[str, Any] = {name: extra[name] for name in ("api_url", "content_url") if name in extra}
        with httpx.Client(timeout=HTTP_SECONDS) as http:
            yield DropboxStore(
                http,
                app_key=str(connection.login),
                app_secret=str(connection.password),
                refresh_token=_extra(connection, "refresh_token"),
                folder=str(extra.get("folder", "")),
                sleep=time.sleep,
                **urls,
            )
    else:
        raise ContractViolation(
            f"Connection {conn_id} has type {connection.conn_type!r}, which is no place for backups.",
            next_step="Use type aws, fs or dropbox.",
        )


def _get(conn_id: str) -> Connection:
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ContractViolation(
            f"Connection {conn_id} is not defined.",
            next_step="Add it in Admin > Connections; the README's connections table has an example.",
        ) from None


def _extra(connection: Connection, name: str) -> str:
    if not (value := connection.extra_dejson.get(name)):
        raise ContractViolation(
            f"Connection {connection.conn_id} has no {name}.", next_step=f"Add {name} to its extra, a JSON object."
        )
    return str(value)


def _probe(connection: Connection, default_port: int) -> None:
    host, port = str(connection.host), connection.port or default_port
    for attempt in range(1, PROBES + 1):
        try:
            with socket.create_connection((host, port), timeout=PROBE_SECONDS):
                return
        except OSError as error:
            if attempt == PROBES:
                raise SourceUnavailable(
                    f"Cannot reach the server of {connection.conn_id} ({error.strerror or error}).",
                    next_step="It is tried again in five minutes. If it stays: check VPN, name and port of the server.",
                ) from error


def _opening_ssh(connection: Connection) -> AbstractContextManager[None]:
    from airflow.sdk.exceptions import AirflowException
    from paramiko import AuthenticationException, SSHException

    unusable = (AirflowException, ValueError, FileNotFoundError)  # the key or host key in the connection
    refused = (AuthenticationException, *unusable)
    return _opening(connection, refused=refused, lost=(SSHException, OSError, EOFError))


@contextmanager
def _opening_postgres(connection: Connection) -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.ProgrammingError as error:
        raise ContractViolation(
            f"Connection {connection.conn_id} cannot be used ({str(error).strip()}).",
            next_step="Correct its extra, a JSON object.",
        ) from None
    except psycopg.OperationalError as error:
        # Before the login errors have no code. After "failed:" comes no address any more, but names in quotes.
        reason = re.sub(r'"[^"]*"', "...", str(error).rpartition(" failed: ")[2].strip())
        if _REFUSED.search(reason) and not _PASSING.search(reason):
            raise CredentialRefused(
                f"{connection.conn_id}: the database refused the login ({reason}).",
                next_step=f"Check login, password, schema and extra of {connection.conn_id}, then clear the task.",
            ) from None
        raise SourceUnavailable(
            f"{connection.conn_id}: the connection broke while it was opened ({type(error).__name__}).",
            next_step="It is tried again in five minutes.",
        ) from None


@contextmanager
def _opening(
    connection: Connection, *, refused: tuple[type[Exception], ...], lost: tuple[type[Exception], ...]
) -> Iterator[None]:
    try:
        yield
    except PipelineError:
        raise
    except (*refused, *lost) as error:
        # paramiko calls a login that broke off a refused one, and a wrong host key a broken connection.
        text = str(error)
        if "known_hosts" in text or "Host key" in text:
            raise CredentialRefused(
                f"{connection.conn_id}: the server's host key is not the one on record.",
                next_step="Ask the server's owner for its key; only then put it into extra.host_key.",
            ) from error
        if isinstance(error, refused) and not text.endswith(("saw EOF", "timeout.")):
            raise CredentialRefused(
                f"{connection.conn_id}: authentication was refused ({type(error).__name__}).",
                next_step=f"Check login, password or key of the connection {connection.conn_id}, then clear the task.",
            ) from error
        raise SourceUnavailable(
            f"{connection.conn_id}: the connection broke while it was opened ({type(error).__name__}).",
            next_step="It is tried again in five minutes.",
        ) from error
