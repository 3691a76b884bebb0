"""Servers that are programs of their own (PostgreSQL, sshd, smbd), kept from outliving this process."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.servers.base import HOST

REAPER = Path(__file__).parents[1] / "reaper.py"
STOP_TIMEOUT = 10.0  # seconds; above the patience of the reaper itself


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

    def wait_until(self, ready: Callable[[], bool], *, timeout: float = 20.0) -> None:
        """Return when ``ready()`` does. Raises ChildError if the program ends before, or after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self._process.poll() is not None:
                raise ChildError(f"{self._command} ended with {self._process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise ChildError(f"{self._command} is not ready after {timeout:.0f} s: {self._last_words()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End the program, politely first, and whatever it started."""
        self._process.communicate(timeout=STOP_TIMEOUT)  # closes the pipe

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def accepts_connections(port: int) -> bool:
    """Is somebody listening on ``port``?"""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """A port nobody listens on at this moment, for programs that cannot choose and tell."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
