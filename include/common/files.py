"""Files that are either not there, the old one, or the complete new one."""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.errors import StoreFull

GROUP_READABLE = 0o640
RESERVE = 1024**3


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``target`` for :func:`publish`; what is left of it is removed.

    A kill leaves it behind under a name no reader accepts, and the next writer reuses it; writers of one target exclude
    each other by a lock.

    Raises StoreFull if there is no space or quota left.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
    except Exception as error:
        if _lacks_space(error):
            raise StoreFull(
                f"No space left for {target.name} in {target.parent}; nothing was changed.",
                next_step="Free disk space there (the status report lists what is kept), then clear the task.",
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _lacks_space(error: Exception) -> bool:
    """Whether the disk or a quota is full; libraries that write by themselves have the system's number in a text."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    number = error.errno if isinstance(error, OSError) and error.errno else found and int(found[1])
    return number in (errno.ENOSPC, errno.EDQUOT)


def publish(temporary: Path, target: Path) -> None:
    """Make the finished temporary file the target, group-readable, in one rename that survives a power cut."""
    temporary.chmod(GROUP_READABLE)
    sync(temporary)
    temporary.replace(target)
    sync(target.parent)


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes ``target`` when the block ends well; see :func:`temporary_beside`."""
    with temporary_beside(target) as temporary:
        yield temporary
        publish(temporary, target)


def require_space(folder: Path, to_write: int) -> None:
    """Make sure, before anything is written, that twice ``to_write`` bytes and RESERVE fit beside what is there.

    Raises StoreFull naming needed and free bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    needed = 2 * to_write + RESERVE
    if free < needed:
        raise StoreFull(
            f"{folder} has {free:,} bytes free, {needed:,} are needed to go on; nothing was changed.",
            next_step="Free disk space there (the status report lists what is kept), then clear the task.",
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
