"""Stage 2: what the source has of a day comes out of PostgreSQL into six files, proven to be of that day (R18-R23)."""

from __future__ import annotations

import hashlib
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from threading import TIMEOUT_MAX, Timer
from typing import TYPE_CHECKING, Any

from include.common import locks
from include.common.files import publish, require_space, temporary_beside
from include.common.journal import RunLog
from include.common.results import StepResult
from include.common.sql import read_sql
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import ACT, CNR, RENO, RFND, TYPES, TransactionType
from include.cvas.manifest import FileEntry, daily_file, is_complete, read_manifest, write_entry
from include.cvas.privacy import masked
from include.cvas.stage import stage
from include.errors import (
    CheckFailed,
    ContractViolation,
    CredentialRefused,
    PipelineError,
    RequestRefused,
    SourceUnavailable,
    TransientError,
)

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import Composed

Connect = Callable[[], "AbstractContextManager[Connection[Any]]"]

JOB = "cvas_fetch"
LARGEST_DAY = 80_000_000
BLOCK = 1 << 20
GRACE_SECONDS = 30
_SELECTS = {CNR: "select_cancellations", RFND: "select_refunds"}
_COUNTERPARTS = {ACT: RENO, RENO: ACT}


def fetch_transactions(
    connect: Connect,
    lake: Lake,
    *,
    day: date,
    types: Sequence[TransactionType],
    now: datetime,
    settings: Settings,
    allow_empty: bool = False,
    partial: bool = False,
) -> StepResult:
    """Write ``Daily_Data/D/<TYPE>.csv`` and its manifest entry for each of ``types``, in the order of the fetch.

    ``connect`` opens a session with the source's database. Each type is read in a read-only transaction of its own; if
    the session is lost, the next type gets a new one. A file appears, or replaces its predecessor, only when all its
    rows have arrived and every one is of ``day``. ``now`` is when the run began. ``partial`` admits a day that is not
    over and marks its files incomplete, ``allow_empty`` one with neither activations nor renewals.

    Re-run: safe; equal rows at the source make equal files. After a kill at any point the next run finishes the work.
    Raises, when all types were tried, one error naming all that failed: SourceUnavailable if trying again can help any
    of them, else that of the first; a refused login is final in any case. Before: RequestRefused, AlreadyRunning,
    StoreBusy while the day is being loaded, StoreFull, ContractViolation for a damaged manifest.
    """
    with stage(lake, JOB, day, now=now, settings=settings) as run, locks.hold(lake.daily_lock(day), JOB):
        if not partial and day >= now.astimezone(ZONE).date():
            raise RequestRefused(
                f"cvas: {day} is not over.",
                next_step="Use a day before today; allow_partial takes what today has so far.",
            )
        read_manifest(lake, day)
        require_space(lake.daily(day), LARGEST_DAY)
        fetch = _Fetch(lake, day, now, settings, run, allow_empty, partial)
        fetch.perform(connect, [kind for kind in TYPES if kind in types])
        done = fetch.entries.values()
        run.facts["successful"] = f"{len(done)}/{len(types)}"
        if fetch.failures:
            raise _all_of(fetch.failures, day, str(run.facts["successful"]))
        missing = [kind.name for kind in TYPES if not daily_file(lake, day, kind).exists()]
        if missing:
            run.say(f"Not fetched yet: {', '.join(missing)}")
        rows = {name: entry.rows for name, entry in fetch.entries.items()}
        facts = {"rows": rows, "missing": missing, "complete": is_complete(lake, day), **run.facts, **run.durations}
        run.facts.update(rows)
        return StepResult(
            where=str(lake.daily(day)),
            read=sum(rows.values()),
            written=sum(rows.values()),
            bytes=sum(entry.bytes for entry in done),
            warnings=tuple(run.warnings),
            facts=facts,
        )


def check_source(connect: Connect, *, day: date, settings: Settings) -> StepResult:
    """Make sure that the source answers and that its account can read every table and column of the six types.

    ``day`` is the one that is to be fetched. Raises, naming it, ContractViolation for what is missing or may not be
    read, SourceUnavailable, CredentialRefused.
    """
    try:
        return _check_source(connect, settings)
    except PipelineError as error:
        raise type(error)(f"cvas: {day}: {error.what}", next_step=error.next_step) from error


def _check_source(connect: Connect, settings: Settings) -> StepResult:
    faults: dict[str, None] = {}  # four types read one table
    with _told(), connect() as db:
        with _snapshot(db, settings):
            db.execute("SELECT 1")
        for kind in TYPES:
            try:
                with _told(), _snapshot(db, settings):
                    db.execute(*_query("SELECT {columns} FROM ({select}) AS events LIMIT 0", kind, date.min, settings))
            except ContractViolation as error:
                faults[error.what] = None
    if faults:
        raise ContractViolation(
            f"The source cannot be read as agreed. {' '.join(faults)}",
            next_step="Ask the source's owner for the right to read it, or for what was renamed.",
        )
    return StepResult(where="source", facts={"readable": [kind.name for kind in TYPES]})


@dataclass
class _Fetch:
    """One run of the fetch and what has come of its types."""

    lake: Lake
    day: date
    now: datetime
    settings: Settings
    run: RunLog
    allow_empty: bool
    partial: bool
    entries: dict[str, FileEntry] = field(default_factory=dict)
    failures: dict[str, PipelineError] = field(default_factory=dict)

    def perform(self, connect: Connect, types: list[TransactionType]) -> None:
        waiting = list(types)
        while waiting:
            try:
                with _told(), connect() as db:
                    while waiting and not db.closed:
                        kind = waiting.pop(0)
                        with self._recorded(kind, percent=100 - 100 * len(waiting) // len(types)):
                            self.entries[kind.name] = self._fetch(db, kind)
            except PipelineError as error:  # no session: that is no matter of one type
                self.failures |= dict.fromkeys([kind.name for kind in waiting], error)
                return

    @contextmanager
    def _recorded(self, kind: TransactionType, *, percent: int) -> Iterator[None]:
        try:
            with self.run.phase(kind.name, percent=percent):
                yield
        except PipelineError as error:
            self.run.warn(f"{kind.name} failed: {error.what}")
            self.failures[kind.name] = error

    def _fetch(self, db: Connection[Any], kind: TransactionType) -> FileEntry:
        target = daily_file(self.lake, self.day, kind)
        with temporary_beside(target) as temporary:
            began = self.now + self.run.elapsed
            with _told(), _snapshot(db, self.settings):
                rows, size, sha256 = self._copy(db, kind, temporary)
            ended = self.now + self.run.elapsed
            if rows == 0:
                self._judge_empty(db, kind)
            first, last = _prove(temporary, kind, self.day, rows)
            publish(temporary, target)
        entry = FileEntry(rows, size, sha256, first, last, began, ended, complete=not self.partial)
        write_entry(self.lake, self.day, kind.name, entry)
        self.run.say(f"{kind.name}: {rows:,} rows, {size:,} bytes")
        return entry

    def _copy(self, db: Connection[Any], kind: TransactionType, path: Path) -> tuple[int, int, str]:
        """Write the rows as CSV; how many the source says it sent, the bytes that came and their SHA-256."""
        frame = "COPY (SELECT {columns} FROM ({select}) AS events) TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')"
        digest, size = hashlib.sha256(), 0
        with db.cursor() as cursor, path.open("wb") as file:
            with cursor.copy(*_query(frame, kind, self.day, self.settings)) as lines:
                for block in _blocks(lines):
                    file.write(block)
                    digest.update(block)
                    size += len(block)
            return cursor.rowcount, size, digest.hexdigest()

    def _judge_empty(self, db: Connection[Any], kind: TransactionType) -> None:
        if kind.may_be_empty:
            return
        self.run.warn(f"{kind.name}: the source has no row of {self.day}.")
        if (other := _COUNTERPARTS.get(kind)) and not self.allow_empty:
            with _told(), _snapshot(db, self.settings):
                found = db.execute(*_query("SELECT FROM ({select}) AS events LIMIT 1", other, self.day, self.settings))
                if not found.rowcount:
                    raise CheckFailed(
                        f"The source has neither activations nor renewals of {self.day}.",
                        next_step="Ask the source's owner whether the day has been loaded, then clear the task; "
                        "allow_empty takes it as it is.",
                    )


def _blocks(lines: Iterable[bytes | bytearray | memoryview]) -> Iterator[bytearray]:
    block = bytearray()
    for line in lines:
        block += line
        if len(block) >= BLOCK:
            yield block
            block = bytearray()
    yield block


def _query(frame: str, kind: TransactionType, day: date, settings: Settings) -> tuple[Composed, dict[str, Any]]:
    """A statement around the type's select, and its parameters."""
    from psycopg import sql

    select = sql.SQL(read_sql("cvas", _SELECTS.get(kind, "select_subscription_events"))).format(
        transactions=sql.Identifier(*settings.transactions_table.split("."))
    )
    columns = sql.SQL(", ").join(map(sql.Identifier, kind.column_names))
    first = datetime.combine(day, time())
    parameters = {"trans_type_id": kind.trans_type_id, "first": first, "next": first + timedelta(days=1)}
    return sql.SQL(frame).format(columns=columns, select=select), parameters


@contextmanager
def _snapshot(db: Connection[Any], settings: Settings) -> Iterator[None]:
    """A transaction that writes nothing and sees the source as it was when it began (R19)."""
    from psycopg import IsolationLevel

    limit = settings.statement_timeout_seconds
    db.read_only = True
    db.isolation_level = IsolationLevel.REPEATABLE_READ
    with _hanging_up(db, after=limit + GRACE_SECONDS if limit else TIMEOUT_MAX), db.transaction():
        db.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('application_name', %s, true),"
            " set_config('datestyle', 'ISO', true)",
            [f"{limit}s", JOB],
        )
        yield


@contextmanager
def _hanging_up(db: Connection[Any], *, after: float) -> Iterator[None]:
    """End the wait for a server that is gone without a word; one that is there keeps the time limit itself."""
    with socket.socket(fileno=os.dup(db.fileno())) as wire:

        def hang_up() -> None:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

        timer = Timer(after, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


@contextmanager
def _told() -> Iterator[None]:
    """An error of the database as one of ours, without what it quotes of subscribers (R5)."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        said = masked(error.diag.message_primary or "the connection broke off")
        if isinstance(error, psycopg.OperationalError):
            raise SourceUnavailable(
                f"The source did not deliver: {said}.",
                next_step="It is tried again in five minutes. If it is always the time that is up: raise "
                "statement_timeout_seconds, or ask the source's owner for an index on the event time.",
            ) from None
        raise ContractViolation(
            f"The source refused the query: {said}.",
            next_step="Ask the source's owner what was renamed or who may read it, then clear the task.",
        ) from None


def _prove(path: Path, kind: TransactionType, day: date, rows: int) -> tuple[datetime | None, datetime | None]:
    """First and last event of a file that has the agreed header, ``rows`` rows, and no event of another day (R21)."""
    import polars as pl

    with path.open("rb") as stream:
        header = stream.readline().decode().strip()
    if header != ",".join(kind.column_names):
        raise ContractViolation(
            f"The header of {kind.name} is {header}, not {','.join(kind.column_names)}.",
            next_step="Compare select_*.sql with the contract.",
        )
    event = pl.col(kind.event_date)
    moment = pl.coalesce(
        event.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False),
        event.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False),
    )
    found = (pl.len(), moment.count().alias("dated"), moment.min().alias("first"), moment.max().alias("last"))
    try:
        file = pl.scan_csv(path, schema=dict.fromkeys(kind.column_names, pl.String))
        lines, dated, first, last = file.select(*found).collect().row(0)
    except pl.exceptions.PolarsError as error:
        raise CheckFailed(
            f"What arrived of {kind.name} cannot be read back: {masked(str(error).partition(chr(10))[0])}.",
            next_step="Check the disk and its log, then clear the task.",
        ) from None
    if lines != rows:
        raise SourceUnavailable(
            f"{lines:,} rows of {kind.name} arrived of {rows:,}.", next_step="It is tried again in five minutes."
        )
    if dated != rows or (rows and not first.date() == last.date() == day):
        raise ContractViolation(
            f"{kind.name} has events from {first} to {last}, and {rows - dated:,} without a readable time: "
            f"that is not {day}.",
            next_step=f"Ask the source's owner what changed in the column behind {kind.event_date}.",
        )
    return first, last


def _all_of(failures: Mapping[str, PipelineError], day: date, successful: str) -> PipelineError:
    """One error for all types that failed; one cause may have stopped several, and each has its next step."""
    causes: dict[str, list[str]] = defaultdict(list)
    for name, error in failures.items():
        causes[error.what].append(name)
    errors = list(failures.values())
    kind = SourceUnavailable if any(isinstance(error, TransientError) for error in errors) else type(errors[0])
    if any(isinstance(error, CredentialRefused) for error in errors):
        kind = CredentialRefused  # trying again may lock the account
    return kind(
        f"cvas: {day}: {successful} successful. "
        + " ".join(f"{', '.join(names)} failed: {what}" for what, names in causes.items()),
        next_step=" ".join(dict.fromkeys(error.next_step for error in errors)),
    )
