"""Several files that change together: all of them, or, after a crash, all of them a moment later.

The new files are written and synced somewhere on the same file system first. A journal naming every rename is the
point of no return: without it nothing has happened, with it :func:`finish` completes what a killed process began.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from include.common.files import GROUP_READABLE, atomic_write, sync


def publish_together(journal: Path, files: Mapping[Path, Path], *, remove: Iterable[Path] = ()) -> None:
    """Rename every staged file onto its target (``{target: staged}``), then remove files that are replaced by them.

    The caller holds the lock of the store and has called :func:`finish` under it. Readers under the shared lock see
    all of the old or all of the new files.
    """
    for target, staged in files.items():
        staged.chmod(GROUP_READABLE)
        sync(staged)
        target.parent.mkdir(parents=True, exist_ok=True)
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
    """
    try:
        plan = json.loads(journal.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    here = journal.parent
    renamed = []
    for staged, target in plan["renames"]:
        if (here / staged).exists():
            (here / staged).replace(here / target)
            renamed.append(here / target)
    for path in plan["remove"]:
        (here / path).unlink(missing_ok=True)
    for folder in {(here / target).parent for _, target in plan["renames"]}:
        sync(folder)
    journal.unlink()
    sync(journal.parent)
    return renamed


def _relative(path: Path, journal: Path) -> str:
    """As seen from the journal: the folder of all of it may be mounted elsewhere when the journal is read."""
    return os.path.relpath(path, journal.parent)
