"""The analytics engine: a DuckDB per use, bounded in memory, spilling beside the lake, closed to the world."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from include.common import locks
from include.cvas.config import Lake, Settings
from include.cvas.privacy import masked
from include.errors import AlreadyRunning, ContractViolation, PipelineError, StoreBusy, StoreFull

if TYPE_CHECKING:
    import duckdb


@contextmanager
def open_engine(lake: Lake, settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB that takes ``memory_limit`` and spills what is more into the lake's staging folder.

    It loads no extension from anywhere and sees no Python variable. Whatever it raises within the block becomes a
    PipelineError without any subscriber's number (R5).

    Raises StoreFull if memory and disk together do not suffice, ContractViolation for everything else it refuses.
    """
    import duckdb

    with _spill_folder(lake) as spill:
        engine = duckdb.connect(
            config={
                "memory_limit": settings.memory_limit,
                "temp_directory": str(spill),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
                # The kernel keeps the files in memory already, and outside of the limit.
                "enable_external_file_cache": "false",
            }
        )
        engine.execute("SET enable_progress_bar = false")  # it would fill the task's log
        try:
            yield engine
        except duckdb.Error as error:
            raise _as_pipeline_error(error, settings) from None
        finally:
            engine.close()


def scratch_of(engine: duckdb.DuckDBPyConnection) -> Path:
    """The folder the engine spills into. What else is put there goes with it too, or when the next engine opens."""
    ((folder,),) = engine.execute("SELECT current_setting('temp_directory')").fetchall()
    return Path(folder)


@contextmanager
def _spill_folder(lake: Lake) -> Iterator[Path]:
    """A folder nobody else uses; what a killed process left in it is removed."""
    with ExitStack() as held:
        for number in count():
            lock = lake.root / "_locks" / f"spill-{number}"
            if locks.is_free(lock):
                with suppress(AlreadyRunning, StoreBusy):
                    held.enter_context(locks.hold(lock, "cvas_engine"))
                    break
        folder = lake.staging / f"spill-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def lacks_space(error: duckdb.Error) -> bool:
    """Whether memory and disk did not suffice."""
    import duckdb

    return isinstance(error, duckdb.OutOfMemoryException) or "No space left" in str(error)


def _as_pipeline_error(error: duckdb.Error, settings: Settings) -> PipelineError:
    text = masked(str(error).strip().splitlines()[0])
    if lacks_space(error):
        return StoreFull(
            f"cvas: memory_limit {settings.memory_limit} and the disk do not suffice for this query: {text}",
            next_step="Free disk space beside the lake or raise the setting memory_limit, then clear the task.",
        )
    return ContractViolation(
        f"cvas: the query could not be carried out: {text}",
        next_step="If a file is named, refetch or restore it; otherwise report this text.",
    )
