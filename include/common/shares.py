"""Reading from a file share, whatever carries it (SMB, SFTP, a mounted folder)."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from include.errors import CredentialRefused, PipelineError, SourceChanging, SourceMissing, SourceUnavailable, StoreFull

CHUNK = 1024 * 1024


class FileStat(Protocol):
    """The two fields of ``os.stat_result`` that tell whether a file was written to."""

    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime(self) -> float: ...


class Share(Protocol):
    """An open share: the alias operators know it by and three calls, paths relative to its root with ``/``."""

    @property
    def name(self) -> str: ...
    def listdir(self, path: str, /) -> list[str]: ...
    def stat(self, path: str, /) -> FileStat: ...
    def open(self, path: str, /) -> AbstractContextManager[BinaryIO]: ...


@dataclass(frozen=True)
class FetchedFile:
    """What arrived from the share: bytes on the local disk, size in bytes and modification time at the source."""

    source: str
    size: int
    mtime: float


def resolve(share: Share, path: str) -> str:
    """The path as the share spells it; every part is matched exactly or else without regard to case.

    Raises SourceMissing naming the first part that is not there and what is there instead.
    """
    found = ""
    for part in path.strip("/").split("/"):
        with _share_errors(share, found or "the root folder"):
            names = [name for name in share.listdir(found) if name not in (".", "..")]
        folded = [name for name in names if name.casefold() == part.casefold()]
        name = part if part in names else next(iter(sorted(folded)), None)
        if name is None:
            raise SourceMissing(
                f"{share.name}: '{part}' not found in '/{found}'; it holds: {_some(names)}.",
                next_step="Ask whoever owns the share where it went, or correct the path in the settings.",
            )
        found = f"{found}/{name}".lstrip("/")
    return found


def fetch(share: Share, path: str, target: Path) -> FetchedFile:
    """Copy one file of the share that :func:`resolve` found to ``target`` and make sure nobody wrote to it meanwhile.

    Raises SourceChanging if size or modification time changed on the way, it is gone or somebody has it open
    exclusively, SourceUnavailable if the connection broke.
    """
    with _share_errors(share, path, found=True):
        before = share.stat(path)
        with share.open(path) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, CHUNK)
        after = share.stat(path)
    arrived = target.stat().st_size
    if (before.st_size, before.st_mtime) != (after.st_size, after.st_mtime) or arrived != after.st_size:
        raise SourceChanging(
            f"{share.name}: '{path}' was written to while it was read "
            f"({before.st_size:,} bytes before, {arrived:,} read, {after.st_size:,} after).",
            next_step="Nothing to do: it is read again. If it keeps changing, ask who is saving it.",
        )
    return FetchedFile(source=f"{share.name}:/{path}", size=arrived, mtime=after.st_mtime)


@dataclass(frozen=True)
class LocalShare:
    """A mounted folder as a :class:`Share`."""

    name: str
    root: Path

    def listdir(self, path: str) -> list[str]:
        return [entry.name for entry in (self.root / path).iterdir()]

    def stat(self, path: str) -> os.stat_result:
        return (self.root / path).stat()

    def open(self, path: str) -> BinaryIO:
        return (self.root / path).open("rb")


@contextmanager
def open_folder(folder: Path) -> Iterator[Share]:
    """A mounted folder as a step takes a share: to be opened."""
    yield LocalShare(str(folder), folder)


@contextmanager
def _share_errors(share: Share, path: str, *, found: bool = False) -> Iterator[None]:
    """Every client library has errors of its own for a lost connection; only a few kinds matter to an operator."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        # By errno, as not every client's OSError is of Python's own subclasses.
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.ENOENT and found:
            # Excel saves by putting another file in the place of the old one.
            raise SourceChanging(
                f"{share.name}: '{path}' was there and is gone, as it is for a moment while it is being saved.",
                next_step="Nothing to do: it is looked for again. If it stays away, ask who has moved it.",
            ) from error
        if number == errno.ENOENT:
            raise SourceMissing(
                f"{share.name}: '{path}' is gone.", next_step="Ask whoever owns the share where it went."
            ) from error
        if number in (errno.EACCES, errno.EPERM):
            raise CredentialRefused(
                f"{share.name}: no permission to read '{path}'.",
                next_step="Ask the owner of the share to let the service account read it, then clear the task.",
            ) from error
        if number == errno.EBUSY:
            raise SourceChanging(
                f"{share.name}: '{path}' is opened exclusively by somebody, as it is while it is being saved.",
                next_step="Nothing to do: it is tried again. If it stays, ask who has it open.",
            ) from error
        if number in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(
                f"No space left on this machine to fetch '{path}' from {share.name}.",
                next_step="Free space in the folder for temporary files, then clear the task.",
            ) from error
        raise SourceUnavailable(
            f"{share.name}: reading '{path}' broke off ({type(error).__name__}: {error}).",
            next_step="It is tried again. If it stays, check the network and the server, then clear the task.",
        ) from error


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:10]) or "nothing"
