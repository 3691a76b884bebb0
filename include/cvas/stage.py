"""What every stage does around its work: old logs go, this run's own log is kept, one summary line ends it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

from include.common.journal import RunLog, record_run
from include.cvas.config import Lake, Settings
from include.cvas.privacy import masked


@contextmanager
def stage(lake: Lake, job: str, day: date, *, now: datetime, settings: Settings) -> Iterator[RunLog]:
    """Run one stage for ``day``: delete logs and reports that are too old (R67), log into a file of this run, and end
    with the summary line that the journal keeps (R70).

    ``now`` is the time the run began, with a zone. What the log file holds is masked like everything else (R5).
    """
    delete_old_logs(lake, now=now, settings=settings)
    with _log_file(lake.logs / job / f"{day}_{now:%Y%m%dT%H%M%S}.log"), record_run(lake.logs, job, day) as run:
        yield run


def delete_old_logs(lake: Lake, *, now: datetime, settings: Settings) -> int:
    """Delete run logs and reports more than ``keep_logs_days`` old (exactly so many days stay); how many went."""
    oldest = (now - timedelta(days=settings.keep_logs_days)).timestamp()
    deleted = 0
    for folder in (*_folders(lake.logs), *_folders(lake.root / "Reports")):
        for file in folder.iterdir():
            if file.is_file() and file.stat().st_mtime < oldest:
                file.unlink(missing_ok=True)
                deleted += 1
        if not any(folder.iterdir()):
            folder.rmdir()
    return deleted


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
