"""What all servers of the sandbox share: how they start and stop, how their connections end, and how one waits."""

import asyncio
import contextlib
import logging
import socket
import socketserver
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

HOST = "127.0.0.1"
PATIENCE = 60.0  # seconds until a server that does not start or end is given up: long for the busiest machine

Result = TypeVar("Result")


def wait(holds: Callable[[], Result], *, timeout: float, every: float = 0.2) -> Result:
    """Call ``holds`` until what it returns is true, for ``timeout`` seconds at most; what it returned last."""
    deadline = time.monotonic() + timeout
    while not (result := holds()) and time.monotonic() < deadline:
        time.sleep(every)
    return result


class Server(ABC):
    """One server on 127.0.0.1: ``with`` starts and stops it, and it can be started again on the same port.

    ``port`` 0 asks for any free port; the attribute holds the real one after the start.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.port = port
        self._running = contextlib.ExitStack()

    @abstractmethod
    def _start(self) -> None:
        """Serve, and give ``_running`` what ends that."""

    def start(self) -> None:
        """Return as soon as clients are served.

        Raises OSError if the port is taken, ChildError if the program behind the server does not start.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Hang up on all clients and leave no thread, process or socket behind. Does nothing if it is not running."""
        self._running.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class Connections(socketserver.ThreadingMixIn):
    """A thread per connection, and ``server_close`` that ends them all; the standard mixin leaves them running."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._serving: dict[socket.socket, threading.Thread] = {}
        super().__init__(*args, **kwargs)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._serving[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)  # type: ignore[misc]  # of the server class this is mixed into
        self._serving.pop(request, None)

    def server_close(self) -> None:
        super().server_close()
        for request, thread in list(self._serving.items()):
            with contextlib.suppress(OSError):  # the client was quicker
                request.shutdown(socket.SHUT_RDWR)
            _join(thread)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that went away is no news
            logging.getLogger(__name__).exception("A request from %s failed", client_address)


class Listener(Connections, socketserver.TCPServer):
    """A plain TCP listener whose connections each run a ``BaseRequestHandler`` in a thread."""


class ThreadedServer(Server):
    """A server whose listener is one of :mod:`socketserver`; subclasses say which."""

    @abstractmethod
    def _listen(self) -> socketserver.TCPServer:
        """Open the listening socket on ``(HOST, self.port)``."""

    def _start(self) -> None:
        listener = self._listen()
        self.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self._running.callback(listener.server_close)
        self._running.callback(_join, thread)
        self._running.callback(listener.shutdown)


class Loop:
    """An asyncio event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run ``work`` in the loop and return what it returns. Raises RuntimeError if the loop is closed."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        finally:
            work.close()  # it never started if the loop is closed

    def close(self) -> None:
        """Cancel what still runs, let every transport close, end the thread."""
        self.run(self._cancel_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        _join(self._thread)
        self._loop.close()

    async def _cancel_tasks(self) -> None:
        await _some_turns()  # let end what is ending: Python 3.11 logs a cancelled connection as an error
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _some_turns()  # an aborted transport closes its socket in a later one
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()


async def close_listener(listener: Any) -> None:
    """Close an ``asyncio.Server``, or asyncssh's wrapping of one.

    Its own ``close`` makes a traceback and a leak of a connection that was accepted in the same moment.
    """
    for listening in listener.sockets:
        asyncio.get_running_loop().remove_reader(listening)
    await _some_turns()
    listener.close()


def _join(thread: threading.Thread) -> None:
    thread.join(PATIENCE)
    if thread.is_alive():
        raise RuntimeError(f"{thread.name} has not ended in {PATIENCE:.0f} s.")


async def _some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
