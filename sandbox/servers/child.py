"""Servers that are programs of their own (PostgreSQL, sshd, smbd), kept from outliving this process."""

import random
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sandbox.servers.base import HOST, PATIENCE, wait

REAPER = Path(__file__).parents[1] / "reaper.py"
LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class ChildError(RuntimeError):
    """The program ended, or did not get ready; the text holds the end of its log."""


class Child:
    """One running program and everything it starts; all of it ends when this process does, even by ``kill -9``.

    It runs under :mod:`sandbox.reaper`, whose stdin is a pipe that only this process holds open. The usual way, asking
    the kernel for a signal at the death of the parent, would follow the *thread* that started the program.
    """

    def __init__(self, command: Sequence[str | Path], *, log: Path) -> None:
        self._command = command
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", REAPER, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Return when ``ready()`` does. Raises ChildError if the program ends before, or is not ready in PATIENCE."""
        if not wait(lambda: ready() or self._process.poll() is not None, timeout=PATIENCE, every=0.01):
            raise ChildError(f"{self._command} is not ready after {PATIENCE:.0f} s: {self._last_words()}")
        if self._process.poll() is not None:
            raise ChildError(f"{self._command} ended with {self._process.returncode}: {self._last_words()}")

    def stop(self) -> None:
        """End the program, politely first, and whatever it started."""
        self._process.communicate(timeout=PATIENCE)  # closes the pipe

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def accepts_connections(port: int) -> bool:
    """Is somebody listening on ``port``?"""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """A port nobody listens on, for programs that cannot choose and tell.

    Not one of those that the kernel gives to outgoing connections: it might do so before the program listens.
    """
    first, last = (int(each) for each in LOCAL_PORTS.read_text().split())
    outside = [port for port in range(10_000, 2**16) if not first <= port <= last] or [0]
    for port in random.sample(outside, len(outside)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise OSError("No port is free.")
