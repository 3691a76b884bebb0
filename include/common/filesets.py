"""Several files that change together: all of them, or, after a crash, all of them a moment later.

The new files are written and synced somewhere on the same file system first. A journal naming every rename is the
point of no return: without it nothing has happened, with it :func:`finish` completes what a killed process began.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from include.common.files import GROUP_READABLE, atomic_write, sync, temporary_beside
from include.common.journal import RunLog
from include.errors import CheckFailed

# In the folder of the staged files.
JOURNAL = "journal.json"


@contextmanager
def staging(folder: Path, run: RunLog, *, what: str) -> Iterator[Path]:
    """An empty folder to stage files in, gone when the block ends; its journal is ``JOURNAL``.

    What a killed process left in it is finished or removed first, and reported: ``what`` had been killed. Files that a
    journal still needs stay for the next one. The caller holds the lock of the store.
    """
    journal = folder / JOURNAL
    if journal.exists():
        placed = finish(journal)
        run.warn(
            f"{what} had been killed while its files were put in place; {len(placed)} more were, and it is complete "
            "now."
        )
    elif folder.is_dir() and any(folder.iterdir()):
        run.warn(f"{what} had been killed before any of its files were in place; it was undone.")
    if folder.exists():
        shutil.rmtree(folder)
    _make_folder(folder)
    try:
        yield folder
    finally:
        if not journal.exists():
            shutil.rmtree(folder)


def write_staged(path: Path, content: bytes) -> Path:
    """Write a small file of the staging folder; its path. Raises StoreFull if there is no space left."""
    with temporary_beside(path) as temporary:
        temporary.write_bytes(content)
        temporary.replace(path)
    return path


def publish_together(journal: Path, files: Mapping[Path, Path], *, remove: Iterable[Path] = ()) -> None:
    """Rename every staged file onto its target (``{target: staged}``), then remove files that are replaced by them.

    Folders are made as needed; one that a removal leaves empty goes too. The caller holds the lock of the store and has
    called :func:`finish` under it. Readers under the shared lock see all of the old or all of the new files.

    Raises StoreFull before anything is changed.
    """
    for staged in files.values():
        staged.chmod(GROUP_READABLE)
        sync(staged)
    # A name that the journal gives and the disk does not have would count as renamed already.
    for folder in {journal.parent, *(staged.parent for staged in files.values())}:
        sync(folder)
    plan = {
        "renames": [[_relative(staged, journal), _relative(target, journal)] for target, staged in files.items()],
        "remove": [_relative(path, journal) for path in remove],
    }
    with atomic_write(journal) as temporary:
        temporary.write_text(json.dumps(plan), encoding="utf-8")
    finish(journal)


def finish(journal: Path) -> list[Path]:
    """Complete the renames of a journal that a killed process left behind; the targets put in place by this call.

    Re-run: safe, after a kill at any point.
    Raises CheckFailed if the journal cannot be understood.
    """
    try:
        plan = json.loads(journal.read_text(encoding="utf-8"))
        here = journal.parent
        renames = [(here / staged, here / target) for staged, target in plan["renames"]]
        removals = [here / path for path in plan["remove"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise CheckFailed(
            f"The journal {journal} of a change that was killed is damaged ({type(error).__name__}).",
            next_step="Put the files beside it in their places by hand, or restore their targets, then remove it.",
        ) from error
    renamed = []
    for staged, target in renames:
        if staged.exists():
            _make_folder(target.parent)
            staged.replace(target)
            renamed.append(target)
    # Every new name must be on the disk before an old file goes.
    for folder in {target.parent for _, target in renames}:
        sync(folder)
    for path in removals:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # other files are in it, or it is gone already
            path.parent.rmdir()
    journal.unlink()
    sync(journal.parent)
    return renamed


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        sync(folder.parent)


def _relative(path: Path, journal: Path) -> str:
    """As seen from the journal: the folder of all of it may be mounted elsewhere when the journal is read."""
    return os.path.relpath(path, journal.parent)
