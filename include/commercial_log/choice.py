"""Which dated workbook a run reads (R11, R12)."""

import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Literal

from include.commercial_log import workbook
from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.rotation import archive_of
from include.common.days import refuse_day_to_come
from include.common.journal import RunLog
from include.errors import CheckFailed, RequestRefused, SourceMissing, StaleInput

Mode = Literal["WEEKLY_UPDATE", "HISTORICAL", "MANUAL"]


@contextmanager
def chosen_file(
    db: sqlite3.Connection,
    data: DataRoot,
    day: date,
    settings: Settings,
    run: RunLog,
    *,
    today: date,
    mode: Mode,
    recap: bool,
    data_file: Path | None,
    force_stale: bool,
) -> Iterator[Path]:
    """The workbook a run reads: ``data_file``, or that of exactly ``day`` with ``force_stale``, or the newest up to it.

    One from an archive is there as long as the block runs. Only a ``recap`` reads a file of any name.
    Raises SourceMissing if there is none, StaleInput if the newest is too old or a newer one is loaded already,
    RequestRefused for a ``data_file`` that is not dated or of a day to come, CheckFailed for a damaged archive.
    """
    with tempfile.TemporaryDirectory(prefix="commercial-log-") as folder:
        if data_file is not None:
            path = _given_file(data_file, today=today, recap=recap)
        elif force_stale:
            path = _file_of_day(data, day, Path(folder))
        else:
            path = _newest_file(data, day, settings, run)
        dated = workbook.date_of(path.name)
        if dated is not None and mode != "HISTORICAL" and not force_stale:
            _refuse_older_than_loaded(db, path, dated)
        run.say(f"reading {path}")
        yield path


def _given_file(path: Path, *, today: date, recap: bool) -> Path:
    if not path.is_file():
        raise SourceMissing(f"commercial_log: there is no file {path}.", next_step="Correct data_file.")
    dated = workbook.date_of(path.name)
    if dated is not None:
        refuse_day_to_come(
            dated,
            today,
            what=f"commercial_log, {path.name}",
            next_step="Give the file the date it was copied on, or name another one: until then the workbook of every "
            "night would be refused as older.",
        )
    if not recap and dated is None:
        raise RequestRefused(
            f"commercial_log: {path.name} is not a dated workbook (Commercial Log YYMMDD.xlsx); the update never reads "
            "the living workbook of the share.",
            next_step="Run commercial_log_import first, or name one of the dated files.",
        )
    return path


def _newest_file(data: DataRoot, day: date, settings: Settings, run: RunLog) -> Path:
    for name in workbook.list_almost_dated(data.daily):
        run.warn(f"{data.daily / name} looks like a dated workbook but is not named like one; it is ignored.")
    dated = {each: path for each, path in workbook.list_dated(data.daily).items() if each <= day}
    if not dated:
        raise SourceMissing(
            f"commercial_log: {data.daily} holds no dated workbook up to {day}.",
            next_step="Run commercial_log_import for that day.",
        )
    newest, path = max(dated.items())
    age = (day - newest).days
    if age > settings.max_file_age_days:
        raise StaleInput(
            f"commercial_log: the newest dated workbook up to {day} is {path.name}, {age} days old "
            f"({settings.max_file_age_days} allowed).",
            next_step=f"Run commercial_log_import; to load {path.name} on purpose, trigger the update with its date, "
            f"{newest}.",
        )
    if age:
        run.warn(f"Stale input: there is no workbook of {day}; {path.name} is loaded instead.")
    return path


def _file_of_day(data: DataRoot, day: date, folder: Path) -> Path:
    """The workbook of exactly that day, if need be from its monthly archive."""
    path = data.daily / workbook.dated_name(day)
    if path.is_file():
        return path
    archive = archive_of(data, day)
    if archive.is_file():
        try:
            with zipfile.ZipFile(archive) as members:
                content = members.read(path.name) if path.name in members.namelist() else None
        except Exception as error:  # what a damaged archive raises depends on the byte
            raise CheckFailed(
                f"commercial_log: {path.name} cannot be taken from {archive}: {error}.",
                next_step="Restore the archive from a backup of the data folder.",
            ) from error
        if content is not None:
            taken = folder / path.name
            taken.write_bytes(content)
            return taken
    raise SourceMissing(
        f"commercial_log: {path.name} is neither in {data.daily} nor in {archive.name}.",
        next_step="Choose a day that is kept: the status report lists the oldest one.",
    )


def _refuse_older_than_loaded(db: sqlite3.Connection, path: Path, dated: date) -> None:
    # A historical import is about months of its own, whatever day its file is named after.
    query = "SELECT max(source_date) FROM import_batches WHERE status = 'COMPLETED' AND import_mode <> 'HISTORICAL'"
    newest = db.execute(query).fetchone()[0]
    if newest and newest > dated.isoformat():
        raise StaleInput(
            f"commercial_log STALE_FILE: {path.name} is older than the workbook of {newest} that is loaded already; "
            "loading it would overwrite newer bookings.",
            next_step="Leave it, or trigger the update with force_stale if the older bookings are what you want.",
        )
