"""A port of this machine that leads through an SSH connection to a port of another network.

The tunnel of Airflow's SSH provider leaves our end of a connection open when the SSH connection breaks, so that whoever
reads from it waits for ever.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramiko import SSHClient

LOCAL = "127.0.0.1"
BLOCK = 65536


@contextmanager
def forward(client: "SSHClient", host: str, port: int) -> Iterator[int]:
    """The port here whose connections end at ``port`` of ``host``, as the SSH server sees it.

    When one side of a connection closes, or the SSH connection ends, so does the other side. At the end nothing of it
    is left. Raises paramiko's ChannelException if the server does not get through or does not let us.
    """
    transport = client.get_transport()
    transport.open_channel("direct-tcpip", (host, port), (LOCAL, 0)).close()

    class Relay(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(*_over()):
                channel = transport.open_channel("direct-tcpip", (host, port), self.client_address)
                up = Thread(target=_pump, args=(self.request.recv, channel.sendall, channel.close), name="tunnel up")
                up.start()
                _pump(channel.recv, self.request.sendall, channel.close)
                self.request.shutdown(socket.SHUT_RDWR)
                up.join()

    with ThreadingTCPServer((LOCAL, 0), Relay) as listener:
        listening = Thread(target=listener.serve_forever, args=(0.02,), name="tunnel", daemon=True)
        listening.start()
        try:
            yield listener.server_address[1]
        finally:
            listener.shutdown()
            listening.join()


def _pump(receive: Callable[[int], bytes], send: Callable[[bytes], object], close: Callable[[], object]) -> None:
    with suppress(*_over()):
        while data := receive(BLOCK):
            send(data)
    with suppress(*_over()):
        close()


def _over() -> tuple[type[Exception], ...]:
    """What the ends of a connection raise when it is over."""
    from paramiko import SSHException

    return SSHException, OSError, EOFError
