"""SSH: SFTP below one directory, and port forwarding."""

import os
from pathlib import Path

import asyncssh

from sandbox.servers.base import HOST, Loop, Server, close_listener


class SshServer(Server):
    """SFTP into ``root`` (the client sees it as ``/``) and forwarding of TCP ports, for one user.

    The user comes in with the key ``client_key`` or, if one is given, with the password. Both key pairs are ed25519,
    made in the directory ``keys`` and kept there, so that a restarted server is known to its clients. No shell.
    """

    def __init__(
        self, root: Path, *, keys: Path, user: str = "sandbox", password: str | None = None, port: int = 0
    ) -> None:
        super().__init__(port=port)
        self.root, self.user, self.password = root, user, password
        self._host_key_file = make_key(keys / "host_key")
        self.client_key = make_key(keys / "client_key")
        self._connections: set[asyncssh.SSHServerConnection] = set()

    @property
    def host_key(self) -> str:
        """The public host key as ``ssh-ed25519 AAAA...``, the form Airflow's connection extra ``host_key`` takes."""
        return public_key(self._host_key_file)

    def _start(self) -> None:
        loop = Loop()
        self._running.callback(loop.close)
        acceptor = loop.run(self._listen())
        self.port = acceptor.get_port()
        self._running.callback(lambda: loop.run(self._hang_up(acceptor)))

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            HOST,
            self.port,
            server_factory=lambda: _Login(self._connections, self.user, self.password),
            server_host_keys=[str(self._host_key_file)],
            authorized_client_keys=asyncssh.import_authorized_keys(public_key(self.client_key)),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(self.root)),
        )

    async def _hang_up(self, acceptor: asyncssh.SSHAcceptor) -> None:
        await close_listener(acceptor)
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.wait_closed()


class _Login(asyncssh.SSHServer):
    def __init__(self, connections: set[asyncssh.SSHServerConnection], user: str, password: str | None) -> None:
        self._connections, self._user, self._password = connections, user, password

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self._password is not None

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (self._user, self._password)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


def make_key(file: Path) -> Path:
    """Make an ed25519 key pair, the private half in ``file`` in OpenSSH's format; keep the one that is there."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.touch(mode=0o600)
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(new))
        new.rename(file)
    return file


def public_key(file: Path) -> str:
    """The public half of the private key in ``file``, as one line without comment."""
    return asyncssh.read_private_key(str(file)).export_public_key().decode().strip()
