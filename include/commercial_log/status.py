"""What an operator asks first, answered without changing anything; and the few checks that go with it."""

import json
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from include.commercial_log import backup, batches, extract, load, rotation, workbook
from include.commercial_log.cells import month_label
from include.commercial_log.config import ZONE, DataRoot
from include.commercial_log.database import SYSTEM
from include.commercial_log.months import closed_months, month_states
from include.commercial_log.review import HIGH_VALUE, review_counts
from include.common import locks
from include.common.journal import JournalLine
from include.common.objectstores import ObjectStore
from include.common.reports import MB, RUNS_HEADER, megabytes, read_runs, render_report, render_runs, render_when
from include.common.results import StepResult
from include.common.sql import file_of, read_sql, transaction
from include.common.tables import render_table
from include.errors import CheckFailed, PipelineError

CLEAN_UP_JOB = "commercial_log_clean_up"
SCHEDULED = (extract.JOB, load.JOB, rotation.JOB, backup.JOB)
STALE_AFTER = timedelta(hours=24)
STUCK_AFTER = timedelta(hours=1)
LINES_SEARCHED_FOR_ERRORS = 20
CENT = 0.01
_NUMBERS = re.compile(r"\d+")


def report_status(
    db: sqlite3.Connection,
    data: DataRoot,
    *,
    store: AbstractContextManager[ObjectStore] | None = None,
    today: date,
    now: datetime,
) -> StepResult:
    """Everything an operator asks first, in ``facts``; ``warnings`` are what needs attention. See ``render_status``.

    ``today`` is the local calendar day. Moments in ``facts`` are ISO texts in station time, sizes are MB (10**6 bytes).
    A backup store that cannot be read is a warning, not an error.

    Re-run: read only.
    Raises SourceMissing if there is no data folder.
    """
    storage = storage_report(db, data)
    runs = read_runs(data.logs, SCHEDULED, zone=ZONE, now=now, today=today)
    loaded = _data_freshness(db, now)
    running = [
        {"batch": batch["batch_id"], "file": batch["source_file"], "since": _local(_moment(batch["import_date"]))}
        for batch in _batches(db, status="RUNNING", last=10)
    ]
    errors = [error for job, lines in runs.journals.items() for error in _recurring_errors(job, lines)]
    closed = len(closed_months(db))
    still_open = sum(not is_closed for is_closed in month_states(db).values())
    backups, unreadable = _backups(store)
    facts = {
        "at": _local(now),
        "data": loaded,
        "running": running,
        "months": {"open": still_open, "closed": closed},
        "review": review_counts(db),
        "jobs": runs.jobs,
        "recurring_errors": errors,
        "storage": storage,
        "backups": backups,
        "today": runs.today,
    }
    warnings = [*_data_warnings(loaded, now), *_running_warnings(running, now), *runs.failures, *unreadable]
    if storage["disk_free_mb"] < storage["database_mb"]:
        warnings.append(
            f"Only {storage['disk_free_mb']:,.0f} MB are free in {data.root}: a snapshot of the database needs "
            f"{storage['database_mb']:,.0f} MB."
        )
    return StepResult(where=str(data.root), warnings=tuple(warnings), facts=facts)


def render_status(report: StepResult) -> str:
    """The report of ``report_status`` as plain text: what needs attention comes first."""
    facts = report.facts
    now = datetime.fromisoformat(facts["at"])
    loaded, months, review = facts["data"], facts["months"], facts["review"]
    rows = [
        ("Data", _rendered_freshness(loaded, now)),
        *(("Running", f"{each['batch']} since {render_when(each['since'], now)}") for each in facts["running"]),
        ("Months", f"{months['open']} open, {months['closed']} closed"),
        (
            "Review",
            f"{review['review_queue']:,} spots wait for a language, "
            f"{review['undetermined_high_value']:,} undetermined at ${HIGH_VALUE:,.0f} or more",
        ),
        *_storage_rows(facts["storage"]),
    ]
    if facts["backups"] is not None:
        backups = facts["backups"]
        rows.append(("Backups", f"{backups['count']}, newest {backups['newest']}" if backups["count"] else "none"))
    sections = [
        render_table((), rows),
        render_table(("Job", *RUNS_HEADER), [(job, *render_runs(runs, now)) for job, runs in facts["jobs"].items()]),
    ]
    if errors := facts["recurring_errors"]:
        lines = [f"Errors that came back within the last {LINES_SEARCHED_FOR_ERRORS} runs of a job:"]
        lines += [f"  {each['job']}, {each['times']} times: {each['error']}" for each in errors]
        sections.append("\n".join(lines))
    return render_report(f"Commercial log, {now:%A %Y-%m-%d %H:%M} station time", report, sections)


def storage_report(db: sqlite3.Connection, data: DataRoot) -> dict[str, Any]:
    """Dated workbooks and archives (count, MB, oldest and newest by the date in the name), database and free disk.

    ``archives.by_month`` is MB per archived month, oldest first: how much a month of workbooks takes over time.
    Raises SourceMissing if there is no data folder.
    """
    data.require()
    daily = {day.isoformat(): path for day, path in workbook.list_dated(data.daily).items()}
    archives = {f"{first:%Y-%m}": path for first, path in rotation.list_archives(data).items()}
    database = file_of(db)
    disk = shutil.disk_usage(data.root)
    return {
        "workbooks": _holding(daily),
        "archives": {**_holding(archives), "by_month": {month: megabytes([path]) for month, path in archives.items()}},
        "logs_mb": megabytes(data.logs.glob("*.log*")),
        "database_mb": megabytes(Path(f"{database}{suffix}") for suffix in ("", "-wal", "-shm")),
        "disk_free_mb": round(disk.free / MB, 2),
    }


def render_storage(storage: Mapping[str, Any]) -> str:
    """The report of ``storage_report`` as plain text."""
    text = render_table((), [*_storage_rows(storage), ("Logs", f"{storage['logs_mb']:,.1f} MB")])
    by_month = storage["archives"]["by_month"]
    return f"{text}\n\n{render_table(('Archive', 'MB'), by_month.items())}" if by_month else text


def import_history(db: sqlite3.Connection, *, last: int = 20) -> list[dict[str, Any]]:
    """The newest ``last`` batches, newest first: the columns of import_batches, ``months`` as a list."""
    history = _batches(db, status=None, last=last)
    for batch in history:
        batch["months"] = json.loads(batch.pop("broadcast_months_affected") or "[]")
    return history


def validate_database(db: sqlite3.Connection, *, today: date) -> StepResult:
    """Check the file, its references and the closed months; ``facts['years']`` lists spots, gross and net per year.

    ``warnings`` name every month of a past year that is open or has no spots, and every closed month that holds spots
    of a later load or not what it held when it was closed. Takes about half a minute per million spots.

    Re-run: read only.
    Raises CheckFailed if the file is damaged or a reference leads nowhere.
    """
    _check_integrity(db)
    cursor = db.execute(
        "SELECT month_start_date, broadcast_month, spots, gross_sum, net_sum, status FROM v_month_status"
    )
    months = cursor.fetchall()
    years: dict[str, dict[str, float]] = {}
    for start, _, spots, gross, net, status in months:
        year = years.setdefault(start[:4], {"closed_months": 0, "spots": 0, "gross": 0.0, "net": 0.0})
        year["closed_months"] += status == "closed"
        year["spots"] += spots
        year["gross"] += gross
        year["net"] += net
    warnings = []
    if months:
        states = {label: status if spots else "without spots" for _, label, spots, _, _, status in months}
        for year_number in range(int(months[0][0][:4]), today.year):
            for month in range(1, 13):
                first = date(year_number, month, 1)
                state = states.get(month_label(first), "without spots")
                if state != "closed" and first.isoformat() >= months[0][0]:
                    warnings.append(f"{month_label(first)} of a past year is {state}.")
    for month, not_historical, later in db.execute(read_sql(SYSTEM, "select_closed_month_changes")):
        warnings.append(
            f"{month} is closed, but {later:,} of its spots were loaded afterwards and {not_historical:,} are not "
            "marked historical."
        )
    for month, *held in db.execute(read_sql(SYSTEM, "select_month_closure_differences"), {"tolerance": CENT}):
        then, now = (f"{n:,} spots, ${gross:,.2f} gross and ${net:,.2f} net" for n, gross, net in (held[:3], held[3:]))
        warnings.append(f"{month} held {then} when it was closed, now it holds {now}.")
    return StepResult(
        where=file_of(db),
        read=int(sum(year["spots"] for year in years.values())),
        warnings=tuple(warnings),
        facts={"years": years},
    )


def clean_up_batches(
    database: AbstractContextManager[sqlite3.Connection], data: DataRoot, *, now: datetime
) -> StepResult:
    """Mark batches that a killed run left RUNNING as FAILED; the next load would do the same.

    Re-run: safe. Raises AlreadyRunning, StoreBusy while a run is at work, whose batch is not stuck, and what opening
    ``database`` raises.
    """
    day = now.astimezone(ZONE).date()
    with data.recording(CLEAN_UP_JOB, day) as run, locks.hold(data.database_lock, CLEAN_UP_JOB), database as db:
        with transaction(db):
            failed = batches.mark_interrupted(db, now=now)
        run.facts["batches"] = failed
        return StepResult(where="import_batches", written=failed)


def _batches(db: sqlite3.Connection, *, status: str | None, last: int) -> list[dict[str, Any]]:
    cursor = db.execute(read_sql(SYSTEM, "select_batches"), {"status": status, "last": last})
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _data_freshness(db: sqlite3.Connection, now: datetime) -> dict[str, Any]:
    newest = next(iter(_batches(db, status="COMPLETED", last=1)), None)
    if newest is None:
        return {"loaded_at": None, "batch": None, "file": None, "stale": True}
    loaded_at = _moment(newest["completed_at"])
    return {
        "loaded_at": _local(loaded_at),
        "batch": newest["batch_id"],
        "file": newest["source_file"],
        "stale": now - loaded_at > STALE_AFTER,
    }


def _recurring_errors(job: str, lines: Sequence[JournalLine]) -> list[dict[str, Any]]:
    """Errors that ended at least two of the last runs; dates and other numbers in the text may differ."""
    failed = [
        line.detail.removeprefix("ERROR ") for line in lines[:LINES_SEARCHED_FOR_ERRORS] if line.state == "FAILED"
    ]
    newest = {_NUMBERS.sub("#", detail): detail for detail in reversed(failed)}
    times = Counter(_NUMBERS.sub("#", detail) for detail in failed)
    return [{"job": job, "times": count, "error": newest[key]} for key, count in times.items() if count > 1]


def _backups(store: AbstractContextManager[ObjectStore] | None) -> tuple[dict[str, Any] | None, list[str]]:
    """How many backups there are and the newest one, and why nobody can tell."""
    if store is None:
        return None, []
    try:
        with store as opened:
            names = backup.list_backups(opened)
            return {"where": opened.where, "count": len(names), "newest": next(iter(names), None)}, []
    except PipelineError as error:
        return None, [f"The backups could not be listed: {error}"]


def _data_warnings(loaded: Mapping[str, Any], now: datetime) -> list[str]:
    if loaded["loaded_at"] is None:
        return ["No workbook has been loaded into the database yet."]
    if loaded["stale"]:
        return [f"The data is stale: the last load was {render_when(loaded['loaded_at'], now)}."]
    return []


def _running_warnings(running: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    return [
        f"{each['batch']} is marked RUNNING since {render_when(each['since'], now)}; if no update is at work, clean up."
        for each in running
        if now - datetime.fromisoformat(each["since"]) > STUCK_AFTER
    ]


def _holding(files: Mapping[str, Path]) -> dict[str, Any]:
    names = list(files)
    return {
        "count": len(names),
        "mb": megabytes(files.values()),
        "oldest": names[0] if names else None,
        "newest": names[-1] if names else None,
    }


def _storage_rows(storage: Mapping[str, Any]) -> list[tuple[str, str]]:
    def held(holding: Mapping[str, Any]) -> str:
        span = f", {holding['oldest']} to {holding['newest']}" if holding["count"] else ""
        files = "file" if holding["count"] == 1 else "files"
        return f"{holding['count']} {files}, {holding['mb']:,.1f} MB{span}"

    return [
        ("Workbooks", held(storage["workbooks"])),
        ("Archives", held(storage["archives"])),
        ("Database", f"{storage['database_mb']:,.1f} MB"),
        ("Disk free", f"{storage['disk_free_mb']:,.1f} MB"),
    ]


def _rendered_freshness(loaded: Mapping[str, Any], now: datetime) -> str:
    if loaded["loaded_at"] is None:
        return "STALE, nothing was ever loaded"
    return f"{'STALE' if loaded['stale'] else 'fresh'}, {loaded['file']} loaded {render_when(loaded['loaded_at'], now)}"


def _check_integrity(db: sqlite3.Connection) -> None:
    try:
        faults = [str(fault) for (fault,) in db.execute("PRAGMA integrity_check(10)") if fault != "ok"]
        lost = db.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        faults, lost = [str(error)], []
    if faults:
        raise CheckFailed(
            f"commercial_log: the database {file_of(db)} is damaged: {'; '.join(faults)}.",
            next_step="Stop what writes to it, keep a copy of the file and restore the newest backup.",
        )
    if lost:
        tables = Counter(f"{table} to {parent}" for table, _, parent, _ in lost)
        raise CheckFailed(
            f"commercial_log: references lead nowhere in {file_of(db)}: "
            + ", ".join(f"{count:,} from {pair}" for pair, count in tables.items())
            + ".",
            next_step="Find the program that writes without foreign keys; correct those rows or restore a backup.",
        )


def _moment(stored: str) -> datetime:
    """A UTC text of the database as a moment."""
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)


def _local(moment: datetime) -> str:
    return moment.astimezone(ZONE).isoformat(timespec="seconds")
