"""The second guard of every one-writer store: a lock that dies with the process that holds it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.errors import AlreadyRunning, StoreBusy

# Seconds: is_free() takes a lock for an instant, which must not refuse a run that starts in that instant.
PATIENCE = 0.5


@contextmanager
def hold(lock: Path, job: str, *, shared: bool = False) -> Iterator[None]:
    """Hold ``lock`` for ``job`` while the block runs; readers may share it.

    The kernel drops the lock when the process ends, however it ends, so a killed run never blocks the next one.

    Raises AlreadyRunning if the same job holds it, StoreBusy if another job does.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _taken(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise _refusal(lock, job, os.pread(descriptor, 200, 0).decode())
            time.sleep(PATIENCE / 10)
        # The name of a holder that was killed is still there; readers leave none.
        os.ftruncate(descriptor, 0)
        if not shared:
            os.pwrite(descriptor, f"{job} (process {os.getpid()})".encode(), 0)
        yield
        if not shared:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_free(lock: Path) -> bool:
    """Whether nobody holds the lock at this moment."""
    if not lock.exists():
        return True
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _taken(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _taken(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refusal(lock: Path, job: str, holder: str) -> AlreadyRunning | StoreBusy:
    if holder.startswith(f"{job} "):
        return AlreadyRunning(
            f"{job} is already running: {holder} holds {lock.name}.",
            next_step="Wait for that run to end, or stop it, and clear this task.",
        )
    return StoreBusy(
        f"{job} has to wait: {holder or 'a reader'} holds {lock.name}.",
        next_step="Nothing to do unless the retries run out; then look what the holder is doing.",
    )
