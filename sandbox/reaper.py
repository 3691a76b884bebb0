"""Run one command so that nothing it starts, however deep or detached, outlives whoever asked for it.

``python reaper.py COMMAND ARGUMENT...`` with a pipe on stdin, whose other end the caller keeps open. The command is
asked to stop as soon as that pipe closes: on purpose, or because the caller died, were it by ``kill -9``. Every process
that is left when the command ends is killed. The exit code is the command's (128 + n if signal n ended it).

SIGTERM has the same effect. It leaves the caller's session, so a Ctrl-C in the terminal reaches the caller only, who
then stops in good order. Linux; needs the standard library only, so run it with ``python -I -S``: 30 ms, 11 MB.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Airflow's components take the first SIGINT as "finish what you do" and the second as "now": a scheduler waits for its
# tasks, an API server for its open connections. Both must still write their last words into the metadata database.
PATIENCE = (3.0, 2.0)


def main(command: list[str]) -> int:
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # an orphan becomes our child, so detaching (setsid, double fork) hides nobody
    caller_left = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: caller_left.set())
    with suppress(PermissionError):  # the caller has done so
        os.setsid()

    leader = os.fork()
    if leader == 0:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)  # a caller started by "nohup" or "&" would hand down "ignored"
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # if somebody kills the reaper itself
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point

    threading.Thread(target=_await_end_of_stdin, args=(caller_left,), daemon=True).start()
    threading.Thread(target=_stop, args=(leader, caller_left), daemon=True).start()
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == leader:
            break
    _kill_descendants()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _await_end_of_stdin(caller_left: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    caller_left.set()


def _stop(leader: int, caller_left: threading.Event) -> None:
    caller_left.wait()
    for patience in PATIENCE:
        with suppress(ProcessLookupError):
            os.kill(leader, signal.SIGINT)
        time.sleep(patience)
    with suppress(ProcessLookupError):
        os.kill(leader, signal.SIGKILL)


def _kill_descendants() -> None:
    while pids := descendants(os.getpid()):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        time.sleep(0.01)


def descendants(ancestor: int) -> set[int]:
    """Return the ids of all running processes below ``ancestor``; zombies are not running."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended while we looked
            state, parent = stat.read_text().rpartition(") ")[2].split(maxsplit=2)[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    found: set[int] = set()
    generation = {ancestor}
    while generation := {pid for pid, parent in parents.items() if parent in generation}:
        found |= generation
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
