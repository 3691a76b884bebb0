"""Generations of backups in an object store: their names tell when each was made, and the newest few are kept."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from include.common.objectstores import ObjectStore
from include.errors import SourceMissing


@dataclass(frozen=True)
class Generations:
    """The backups named ``<stem>_YYYYMMDD_HHMMSS<suffix>``, local time of ``zone``; other objects are not ours."""

    stem: str
    suffix: str
    zone: tzinfo

    def name_at(self, now: datetime) -> str:
        return f"{self.stem}_{now.astimezone(self.zone):%Y%m%d_%H%M%S}{self.suffix}"

    def names(self, store: ObjectStore) -> list[str]:
        """All backups, newest first."""
        name = re.compile(rf"{re.escape(self.stem)}_\d{{8}}_\d{{6}}{re.escape(self.suffix)}")
        return sorted((each for each in store.names() if name.fullmatch(each)), reverse=True)

    def choose(self, store: ObjectStore, name: str | None, *, others: Sequence[str] = ()) -> str:
        """The backup of that name, the newest without one.

        Raises SourceMissing naming those that are there, and ``others``, which can be had elsewhere.
        """
        names = self.names(store)
        if not names or name not in (None, *names):
            raise SourceMissing(
                f"There is no backup {f'{name} ' if name else ''}in {store.where}.",
                next_step=f"Choose one of: {', '.join([*names, *others]) or 'none'}.",
            )
        return name or names[0]

    def prune(self, store: ObjectStore, *, newest: str, keep: int) -> tuple[list[str], list[str]]:
        """Delete all but the ``keep`` newest, never ``newest``, the one just stored; the names kept and deleted."""
        names = self.names(store)
        deleted = [name for name in names[max(keep, 1) :] if name != newest]
        for name in deleted:
            store.delete(name)
        return [name for name in names if name not in deleted], deleted
