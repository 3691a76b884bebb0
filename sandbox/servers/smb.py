"""A Windows share: SMB 2.0.2, NTLMv2, signed.

impacket's server does the protocol. What it gets wrong, compared with Windows and Samba, is put right here; the tests
run every case against Samba too. Not there: encryption and SMB 3, directory notifications, writing at other places than
the end of a file.
"""

import logging
import os
import secrets
import struct
from collections.abc import Mapping
from configparser import RawConfigParser
from pathlib import Path
from socketserver import BaseRequestHandler
from typing import Any

from impacket import nt_errors, smbserver
from impacket import smb3structs as smb2
from impacket.ntlm import compute_lmhash, compute_nthash
from impacket.smbserver import SMBSERVER, SMB2Commands

from sandbox.servers.base import HOST, Connections, ThreadedServer
from sandbox.servers.paths import find_ignoring_case

HEADER_SIZE = 64  # bytes of an SMB2 header; name offsets count from its start
LAST_OPENED = b"\xff" * 16  # the file id by which a chained request means the file opened just before

# MS-SMB2 2.2.13: what an open asks for, and in the same bits what it lets others do meanwhile
SHARE_READ, SHARE_WRITE, SHARE_DELETE = 1, 2, 4
READING = smb2.FILE_READ_DATA | smb2.GENERIC_READ | smb2.GENERIC_ALL
WRITING = smb2.FILE_WRITE_DATA | smb2.FILE_APPEND_DATA | smb2.GENERIC_WRITE | smb2.GENERIC_ALL
DELETING = smb2.DELETE | smb2.GENERIC_ALL

Reply = tuple[Any, Any, int]

logging.getLogger("impacket").addHandler(logging.NullHandler())  # or every refused login is printed on stderr


class SmbServer(ThreadedServer):
    """Shares ``{name: directory}`` to one user; names may hold blanks and, like paths, ignore case.

    A wrong user or password is a logon failure; guests and anonymous users are refused. Opening a file that another
    client opened exclusively is a sharing violation. Files may change under the server at any time.
    """

    def __init__(self, shares: Mapping[str, Path], *, user: str, password: str, port: int = 0) -> None:
        super().__init__(port=port)
        self.shares, self.user, self.password = dict(shares), user, password

    def _listen(self) -> "_Smb":
        config = RawConfigParser()
        config.read_dict(
            {
                "global": {
                    "server_name": "SANDBOX",
                    "server_os": "sandbox",
                    "server_domain": "SANDBOX",
                    "log_file": "None",
                    "credentials_file": "",
                    "challenge": secrets.token_hex(8),
                    "SMB2Support": "True",
                    "anonymous_logon": "False",
                },
                "IPC$": {"share type": "3", "read only": "yes", "path": ""},
                **{
                    name.upper(): {"share type": "0", "read only": "no", "path": str(path)}
                    for name, path in self.shares.items()
                },
            }
        )
        listener = _Smb((HOST, self.port), _Connection, config)
        listener.processConfigFile()
        listener.addCredential(self.user, 0, compute_lmhash(self.password), compute_nthash(self.password))
        return listener


class _Smb(Connections, SMBSERVER):  # type: ignore[misc]  # impacket has no types
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.hookSmb2Command(smb2.SMB2_SESSION_SETUP, _log_in)
        self.hookSmb2Command(smb2.SMB2_CREATE, _open)
        self.hookSmb2Command(smb2.SMB2_CLOSE, _close)
        self.hookSmb2Command(smb2.SMB2_QUERY_DIRECTORY, _list)


class _Connection(BaseRequestHandler):
    """In place of impacket's handler, which prints tracebacks and leaves files open when a client goes away."""

    server: _Smb

    def handle(self) -> None:
        name, (host, port) = str(self.client_address), self.client_address
        self.server.addConnection(name, host, port)
        try:
            while (message := self._receive()).startswith(b"\xfeSMB"):  # an SMB 1 client is hung up on
                for reply in self.server.processRequest(name, message):
                    self.request.sendall(struct.pack(">I", len(reply)) + reply)
        finally:
            for opened in self.server.getConnectionData(name, checkStatus=False)["OpenedFiles"].values():
                os.close(opened["FileHandle"])
            self.server.removeConnection(name)

    def _receive(self) -> bytes:
        header = self._read(4)
        return self._read(int.from_bytes(header[1:])) if header else b""

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self.request.recv(size - len(data))
            if not chunk:
                return b""
            data += chunk
        return bytes(data)


def _log_in(connection: str, server: _Smb, packet: Any) -> Reply:
    """impacket takes every session for authenticated, whatever came of it, and nameless users for guests."""
    commands, packets, status = SMB2Commands.smb2SessionSetup(connection, server, packet)
    session = server.getConnectionData(connection, checkStatus=False)
    if status == nt_errors.STATUS_SUCCESS and not session["SignatureEnabled"]:
        status = nt_errors.STATUS_LOGON_FAILURE
    session["Authenticated"] = session["SignatureEnabled"] = status == nt_errors.STATUS_SUCCESS
    return commands, packets, status


def _open(connection: str, server: _Smb, packet: Any) -> Reply:
    """impacket minds case, knows no sharing modes, reports a wrong "create action" and an unusual "not found"."""
    session = server.getConnectionData(connection)
    share = session["ConnectedShares"].get(packet["TreeID"])
    if not share or not share["path"]:
        return [smb2.SMB2Error()], None, nt_errors.STATUS_ACCESS_DENIED
    request = smb2.SMB2Create(packet["Data"])
    start, size = request["NameOffset"] - HEADER_SIZE, request["NameLength"]
    data: bytes = packet["Data"]
    asked = data[start : start + size].decode("utf-16le").replace("\\", "/")
    path = find_ignoring_case(Path(share["path"]), asked)
    name = str(path.relative_to(share["path"])).encode("utf-16le")
    if len(name) == size:
        packet["Data"] = data[:start] + name + data[start + size :]

    existed = path.exists()
    if request["CreateOptions"] & smb2.FILE_DIRECTORY_FILE and path.is_file():
        return [smb2.SMB2Error()], None, nt_errors.STATUS_NOT_A_DIRECTORY
    if _is_locked(server, path, request):
        return [smb2.SMB2Error()], None, nt_errors.STATUS_SHARING_VIOLATION
    commands, packets, status = SMB2Commands.smb2Create(connection, server, packet)
    if status == nt_errors.STATUS_NO_SUCH_FILE:
        status = nt_errors.STATUS_OBJECT_NAME_NOT_FOUND
    if status == nt_errors.STATUS_SUCCESS:
        commands[0]["CreateAction"] = _create_action(request["CreateDisposition"], existed=existed)
        session["OpenedFiles"][commands[0]["FileID"]]["Request"] = request
    return commands, packets, status


def _close(connection: str, server: _Smb, packet: Any) -> Reply:
    """impacket keeps the closed handle, and fails, if the file was removed meanwhile."""
    session = server.getConnectionData(connection)
    file_id = smb2.SMB2Close(packet["Data"])["FileID"].getData()
    if file_id == LAST_OPENED and "SMB2_CREATE" in session["LastRequest"]:
        file_id = session["LastRequest"]["SMB2_CREATE"]["FileID"]
    commands, packets, status = SMB2Commands.smb2Close(connection, server, packet)
    if session["OpenedFiles"].pop(file_id, None) and status == nt_errors.STATUS_OBJECT_NAME_NOT_FOUND:
        status = nt_errors.STATUS_SUCCESS
    return commands, packets, status


def _list(connection: str, server: _Smb, packet: Any) -> Reply:
    """impacket stumbles over a file that vanishes between listing and looking at it."""
    for _ in range(100):
        try:
            return SMB2Commands.smb2QueryDirectory(connection, server, packet)  # type: ignore[no-any-return]
        except FileNotFoundError:
            continue
    return [smb2.SMB2Error()], None, nt_errors.STATUS_ACCESS_DENIED


def _create_action(disposition: int, *, existed: bool) -> int:
    if not existed:
        return 2  # created
    return {smb2.FILE_SUPERSEDE: 0, smb2.FILE_OVERWRITE: 3, smb2.FILE_OVERWRITE_IF: 3}.get(disposition, 1)


def _is_locked(server: _Smb, path: Path, request: Any) -> bool:
    """Does somebody have ``path`` open in a way that excludes, or is excluded by, this request?"""
    use, share = _use(request), request["ShareAccess"]
    others = [
        opened["Request"]
        for session in list(server.getActiveConnections().values())
        for opened in list(session["OpenedFiles"].values())
        if opened["FileName"] == str(path) and _use(opened["Request"])
    ]
    return use != 0 and any(use & ~other["ShareAccess"] or _use(other) & ~share for other in others)


def _use(request: Any) -> int:
    """What an open does with the contents, in the bits of a sharing mode; 0 if it only looks at the attributes."""
    access = request["DesiredAccess"]
    return (
        (SHARE_READ if access & READING else 0)
        | (SHARE_WRITE if access & WRITING else 0)
        | (SHARE_DELETE if access & DELETING else 0)
    )


class _Moment(int):
    """Whole seconds since 1970 which, multiplied, remember their nanoseconds."""

    nanoseconds: int

    def __mul__(self, other: int) -> int:
        return self.nanoseconds * other // 1_000_000_000


def _moment(nanoseconds: int) -> _Moment:
    moment = _Moment(nanoseconds // 1_000_000_000)
    moment.nanoseconds = nanoseconds
    return moment


class _PreciseOs:
    """``os`` as impacket sees it. It takes the times of a file as whole seconds, servers keep 100 ns, and a file that
    is written to twice in a second would look unchanged."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def stat(self, path: str) -> tuple[int, ...]:
        found = Path(path).stat()
        return (*found[:7], _moment(found.st_atime_ns), _moment(found.st_mtime_ns), _moment(found.st_ctime_ns))


smbserver.os = _PreciseOs()
