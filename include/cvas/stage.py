"""What every stage does around its work: old logs go, this run's own log is kept, one summary line ends it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from pathlib import Path

from include.common.journal import RunLog, read_journal, record_run
from include.cvas.config import Lake, Settings
from include.cvas.privacy import masked
from include.errors import PipelineError

# A failure that a retry repaired was never told, and only what may pass is tried again.
RETRIES_TAKE = timedelta(minutes=20)


@contextmanager
def stage(lake: Lake, job: str, day: date, *, now: datetime, settings: Settings) -> Iterator[RunLog]:
    """Run one stage for ``day``: delete logs and reports that are too old (R67), log into a file of this run, and end
    with the summary line that the journal keeps (R70).

    ``now`` is the time the run began, with a zone. What the run says, its warnings and summary, what its log file holds
    and an error on its way to other logs and messages are masked (R5). The first good run after a failure that was told
    says so among its warnings.
    """
    delete_old_logs(lake, now=now, settings=settings)
    before = next(iter(read_journal(lake.logs, job, last=1)), None)
    with (
        _log_file(lake.logs / job / f"{day}_{now:%Y%m%dT%H%M%S}.log"),
        record_run(lake.logs, job, day, clean=masked) as run,
    ):
        retried = before and before.transient and now - before.at <= RETRIES_TAKE
        if before and before.state == "FAILED" and not retried:
            run.warnings.append(f"{job} works again; it had failed for {before.day}: {before.detail}")
        try:
            yield run
        except Exception as error:
            if not _quotes_numbers(error):
                raise
            raise _without_numbers(error).with_traceback(error.__traceback__) from None
        if run.warnings:
            run.facts["warnings"] = len(run.warnings)


def delete_old_logs(lake: Lake, *, now: datetime, settings: Settings) -> int:
    """Delete run logs and reports more than ``keep_logs_days`` old (exactly so many days stay); how many went."""
    oldest = now.timestamp() - timedelta(days=settings.keep_logs_days).total_seconds()
    deleted = 0
    for folder in (*_folders(lake.logs), *_folders(lake.root / "Reports")):
        with suppress(FileNotFoundError):  # another stage does the same at this moment
            deleted += _delete_older(folder, oldest)
    return deleted


def _delete_older(folder: Path, oldest: float) -> int:
    old = [file for file in folder.iterdir() if file.is_file() and file.stat().st_mtime < oldest]
    # Somebody may be about to write into a folder that is new.
    unused = folder.stat().st_mtime < oldest
    for file in old:
        file.unlink(missing_ok=True)
    if unused and not any(folder.iterdir()):
        folder.rmdir()
    return len(old)


def _folders(parent: Path) -> list[Path]:
    return [each for each in parent.iterdir() if each.is_dir()] if parent.is_dir() else []


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(_Masked("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("include")
    logger.addHandler(handler)
    try:
        yield
    except BaseException:
        end = {"levelno": logging.ERROR, "levelname": "ERROR", "msg": "Ended by:", "exc_info": sys.exc_info()}
        handler.handle(logging.makeLogRecord(end))
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()


class _Masked(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def _quotes_numbers(error: BaseException | None) -> bool:
    """Whether the error, or one that led to it, holds a number that could be a subscriber's."""
    return error is not None and (
        masked(str(error)) != str(error) or _quotes_numbers(error.__cause__) or _quotes_numbers(error.__context__)
    )


def _without_numbers(error: Exception) -> Exception:
    if not isinstance(error, PipelineError):
        return RuntimeError(masked(f"{type(error).__name__}: {error}"))
    error.what, error.next_step = masked(error.what), masked(error.next_step)
    error.args = (error.what, error.next_step)
    return error
