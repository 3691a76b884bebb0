"""Every connection of the estate by name, and how each is opened. Nothing is looked up before a task runs."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
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
    open: Callable[[str], BinaryIO]


@contextmanager
def open_share(conn_id: str) -> Iterator[Share]:
    """A file share by its connection: type ``samba`` (SMB; schema = share), ``sftp`` (extra.path) or ``fs`` (mounted).

    The server is probed before anything is asked of it.
    Raises SourceUnavailable if nobody answers, CredentialRefused for a refused login or an unknown host key.
    """
    connection = _get(conn_id)
    if connection.conn_type == "fs":
        root = path_of(conn_id)
        if not root.is_dir():
            raise SourceUnavailable(
                f"{conn_id}: the folder of the share is not mounted ({root.name} is missing).",
                next_step="Mount it; the task is tried again in five minutes.",
            )
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


@contextmanager
def _open_smb(connection: Connection) -> Iterator[Share]:
    from airflow.providers.samba.hooks.samba import SambaHook
    from smbprotocol.exceptions import LogonFailure, SMBAuthenticationError, SMBException

    _probe(connection, 445)
    hook: Any = SambaHook(samba_conn_id=connection.conn_id)
    with _opening(connection, refused=(LogonFailure, SMBAuthenticationError), lost=(SMBException, OSError, ValueError)):
        hook.__enter__()  # connects; ``with`` would also translate the errors of the block below
    try:
        yield _RemoteShare(
            connection.conn_id,
            listdir=lambda path: hook.listdir(path),
            stat=lambda path: hook.stat(path),
            open=lambda path: hook.open_file(path, mode="rb", share_access="rwd"),
        )
    finally:
        hook.__exit__(None, None, None)


@contextmanager
def _open_sftp(connection: Connection) -> Iterator[Share]:
    from airflow.providers.sftp.hooks.sftp import SFTPHook
    from paramiko import AuthenticationException, BadHostKeyException, SSHException

    _probe(connection, 22)
    root = str(connection.extra_dejson.get("path", ".")).rstrip("/")
    hook = SFTPHook(ssh_conn_id=connection.conn_id)
    managed = hook.get_managed_conn()
    with _opening(
        connection, refused=(AuthenticationException, BadHostKeyException), lost=(SSHException, OSError, EOFError)
    ):
        client = managed.__enter__()

    def open_prefetched(path: str) -> BinaryIO:
        stream = client.open(f"{root}/{path}", "rb")
        stream.prefetch()
        return stream  # type: ignore[no-any-return]

    try:
        yield _RemoteShare(
            connection.conn_id,
            listdir=lambda path: client.listdir(f"{root}/{path}"),
            stat=lambda path: client.stat(f"{root}/{path}"),
            open=open_prefetched,
        )
    finally:
        managed.__exit__(None, None, None)


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
        client = S3Hook(aws_conn_id=conn_id, config=config).get_conn()
        yield S3Store(client, extra["bucket"], extra.get("prefix", ""))
    elif connection.conn_type == "dropbox":
        import time

        import httpx

        urls: dict[str, Any] = {name: extra[name] for name in ("api_url", "content_url") if name in extra}
        with httpx.Client(timeout=HTTP_SECONDS) as http:
            yield DropboxStore(
                http,
                app_key=str(connection.login),
                app_secret=str(connection.password),
                refresh_token=str(extra["refresh_token"]),
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
    except refused as error:
        raise CredentialRefused(
            f"{connection.conn_id}: authentication was refused ({type(error).__name__}).",
            next_step=f"Check login, password or key of the connection {connection.conn_id}, then clear the task.",
        ) from error
    except lost as error:
        if "known_hosts" in str(error):
            raise CredentialRefused(
                f"{connection.conn_id}: the server's host key is not the one on record.",
                next_step="Ask the server's owner for its key; only then put it into extra.host_key.",
            ) from error
        raise SourceUnavailable(
            f"{connection.conn_id}: the connection broke while it was opened ({type(error).__name__}).",
            next_step="It is tried again in five minutes.",
        ) from error
