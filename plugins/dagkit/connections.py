"""Every connection of the estate by name, and how each is opened. Nothing is looked up before a task runs."""

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow.sdk import BaseHook, Connection, Variable

from include.common.shares import FileStat, LocalShare, Share
from include.errors import ContractViolation, CredentialRefused, PipelineError, SourceUnavailable

if TYPE_CHECKING:
    from include.common.objectstores import ObjectStore

COMMERCIAL_LOG_SHARE = "commercial_log_share"
COMMERCIAL_LOG_DB = "commercial_log_db"
COMMERCIAL_LOG_FILES = "commercial_log_files"
COMMERCIAL_LOG_BACKUP = "commercial_log_backup"

PROBES = 2
PROBE_SECONDS = 5
ANSWER_SECONDS = 30
HTTP_SECONDS = 60
HTTP_TRIES = 5


def settings(system: str) -> dict[str, Any]:
    """The system's settings as stored in the Airflow variable ``<system>_settings`` (JSON object), empty by default."""
    stored = Variable.get(f"{system}_settings", default={}, deserialize_json=True)
    if not isinstance(stored, dict):
        raise ContractViolation(
            f"{system}: the Airflow variable {system}_settings is not a JSON object.", next_step="Correct the variable."
        )
    return stored


def path_of(conn_id: str) -> Path:
    """The local file or folder a connection names: ``extra.path``, or host and schema of a SQLite connection."""
    connection = _get(conn_id)
    path = connection.extra_dejson.get("path") or connection.host
    if not path:
        raise ContractViolation(
            f"Connection {conn_id} names no path.",
            next_step=f'Set it: airflow connections add {conn_id} with an extra of {{"path": "/..."}}.',
        )
    return Path(path)


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
            patient(stream.close)()

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
    from airflow.providers.ssh.hooks.ssh import SSHHook
    from airflow.sdk.exceptions import AirflowException
    from paramiko import AuthenticationException, SSHException

    _probe(connection, 22)
    root = str(connection.extra_dejson.get("path", ".")).rstrip("/")
    unusable = (AirflowException, ValueError, FileNotFoundError)  # the key or host key in the connection
    with ExitStack() as stack:
        with _opening(
            connection,
            refused=(AuthenticationException, *unusable),
            lost=(SSHException, OSError, EOFError),
        ):
            hook = SSHHook(
                ssh_conn_id=connection.conn_id,
                conn_timeout=ANSWER_SECONDS,
                banner_timeout=ANSWER_SECONDS,
                auth_timeout=ANSWER_SECONDS,
                conn_retry_attempts=1,  # it would repeat refused logins too, until the account is locked
            )
            client = stack.enter_context(hook.get_conn())
            patient = partial(_patient, hang_up=client.close)
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
