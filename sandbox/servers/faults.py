"""What goes wrong in the outside world, on demand: lost connections, refusing web servers, full disks."""

import asyncio
import contextlib
import os
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.servers.base import HOST, Loop, Server, close_listener

CHUNK = 64 * 1024


class FaultProxy(Server):
    """A TCP proxy in front of any server; clients use its ``port``, which stays the same through all faults.

    Each of :meth:`refuse`, :meth:`hang`, :meth:`reset_after` and :meth:`truncate_after` needs a running proxy and
    replaces the one before.
    """

    def __init__(self, upstream_port: int, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.upstream_port = upstream_port
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._limit: int | None = None
        self._abruptly = False

    def _start(self) -> None:
        self._loop = Loop()
        self._running.callback(self._loop.close)
        self._flowing = asyncio.Event()
        self._loop.run(self._become())
        self._running.callback(self.refuse)

    def refuse(self) -> None:
        """Connection refused; connections that are open are reset."""
        self._loop.run(self._close())

    def hang(self) -> None:
        """Accept connections and bytes, forward nothing; open connections fall silent too, and go on when healed."""
        self._loop.run(self._become(flowing=False))

    def reset_after(self, n_bytes: int) -> None:
        """Reset every connection once ``n_bytes`` have come back from the server through it."""
        self._loop.run(self._become(limit=n_bytes, abruptly=True))

    def truncate_after(self, n_bytes: int) -> None:
        """Close every connection in an orderly way once ``n_bytes`` have come back from the server through it."""
        self._loop.run(self._become(limit=n_bytes))

    def heal(self) -> None:
        """Forward everything again."""
        self._loop.run(self._become())

    async def _become(self, *, flowing: bool = True, limit: int | None = None, abruptly: bool = False) -> None:
        self._limit, self._abruptly = limit, abruptly
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, HOST, self.port)
            self.port = self._listener.sockets[0].getsockname()[1]
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            await close_listener(listener)
        for client, task in self._connections.items():
            _reset(client)
            task.cancel()
        await asyncio.gather(*self._connections.values(), return_exceptions=True)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = self._connections[client_out] = asyncio.create_task(self._forward(client_in, client_out))
        await asyncio.wait([task])
        del self._connections[client_out]

    async def _forward(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        server_out: asyncio.StreamWriter | None = None
        try:
            await self._flowing.wait()
            server_in, server_out = await asyncio.open_connection(HOST, self.upstream_port)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(client_in, server_out))
                pumps.create_task(self._pump(server_in, client_out, limited=True))
        except* _LimitReachedError:
            if self._abruptly:
                _reset(client_out)
        except* OSError:  # one side hung up without a word: so does the other
            _reset(client_out)
        finally:
            client_out.close()
            if server_out:
                server_out.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, limited: bool = False) -> None:
        target.transport.set_write_buffer_limits(0)  # drain() returns when the bytes are with the kernel
        forwarded = 0
        while data := await source.read(CHUNK):
            await self._flowing.wait()
            if limited and self._limit is not None:
                data = data[: max(0, self._limit - forwarded)]
            target.write(data)
            await target.drain()
            forwarded += len(data)
            if limited and self._limit is not None and forwarded >= self._limit:
                raise _LimitReachedError
        target.write_eof()


class _LimitReachedError(Exception):
    pass


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # closed already
        linger_none = struct.pack("ii", 1, 0)  # makes close() send RST instead of FIN
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
    writer.transport.abort()


@dataclass(frozen=True)
class HttpFault:
    status: int
    body: bytes
    headers: Mapping[str, str]
    path: re.Pattern[str]


class HttpFaults:
    """A queue of bad answers; mixed into the servers that speak HTTP."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)  # type: ignore[call-arg]  # the server class this is mixed into
        self._faults: list[HttpFault] = []
        self._faults_lock = threading.Lock()

    def fail_next(
        self,
        status: int,
        *,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: str | bytes = "",
        path: str = ".*",
    ) -> None:
        """Answer the next ``times`` requests whose path matches the regular expression ``path`` with this instead.

        The app never sees these requests. Faults queued one after the other are used in that order.
        """
        data = body.encode() if isinstance(body, str) else body
        fault = HttpFault(status, data, {"Content-Type": "text/plain", **(headers or {})}, re.compile(path))
        with self._faults_lock:
            self._faults += [fault] * times

    def take_fault(self, path: str) -> HttpFault | None:
        """The fault to answer a request with, which is used up then."""
        with self._faults_lock:
            for position, fault in enumerate(self._faults):
                if fault.path.fullmatch(path):
                    return self._faults.pop(position)
        return None


@contextlib.contextmanager
def small_disk(path: Path, size: int) -> Iterator[Path | None]:
    """Mount an empty file system of ``size`` bytes (in whole memory pages) on the directory ``path``, made if missing.

    Yields ``path``, or None where mounting is not allowed: it takes root, and most containers forbid even that.
    """
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "sandbox", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
