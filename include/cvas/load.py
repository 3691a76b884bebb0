"""Stage 3a: the six files of a day become that day's rows in the lake, all types or none (R24-R36)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from include.common import locks
from include.common.files import atomic_write, require_space, sha256_of
from include.common.journal import RunLog
from include.common.results import StepResult
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import PPD, RFND, TYPES, TransactionType
from include.cvas.lake import (
    UNDATED,
    Change,
    LoadedDay,
    in_order,
    month_of,
    partition_files,
    partition_name,
    writing,
)
from include.cvas.manifest import FileEntry, daily_file, read_manifest, write_entry
from include.cvas.parse import Parsed, check_rejects, parse_transactions
from include.cvas.stage import stage
from include.errors import CheckFailed, ContractViolation, PermanentError, RequestRefused, SourceMissing

if TYPE_CHECKING:
    import polars as pl

JOB = "cvas_load"
# R33: a day with fewer rows may lose any share of them.
SMALL_DAY = 20
MB = 1_000_000


def load_transactions(
    lake: Lake,
    *,
    day: date,
    now: datetime,
    settings: Settings,
    force: bool = False,
    upsert: bool = False,
    allow_partial: bool = False,
) -> StepResult:
    """Make the lake's rows of ``day`` exactly the accepted rows of its six files; other days stay as they are.

    ``force`` admits a file with less than half of the rows the day has (R33), ``upsert`` keeps rows that are not in the
    file and leaves the day as fully loaded as it was, ``allow_partial`` admits files fetched before the day was over.
    Files placed by hand are adopted into the manifest once they are loaded. ``facts["types"]`` has the counts per type;
    ``written`` counts rows put into the lake.

    Re-run: safe; the same files change no file of the lake.
    Raises SourceMissing, ContractViolation and RequestRefused for the files, CheckFailed for what is in the lake or
    would be lost, StoreFull, StoreBusy, AlreadyRunning; nothing was changed then.
    """
    with (
        stage(lake, JOB, day, now=now, settings=settings) as run,
        locks.hold(lake.daily_lock(day), JOB, shared=True),
        writing(lake, JOB, run) as change,
    ):
        files = _Files(lake, day, over=day < now.astimezone(ZONE).date())
        files.check(allow_partial=allow_partial)
        months = (change.state.partitions.get(partition_name(kind, month_of(day))) for kind in TYPES)
        require_space(lake.staging, files.bytes + sum(each.bytes for each in months if each))
        with run.phase("parse and validate", percent=40):
            parsed = files.parse(settings, run)
        with run.phase("stage", percent=95):
            counts = {
                kind.name: replace_day(change, kind, day, rows.frame, force=force, upsert=upsert)
                for kind, rows in parsed.items()
            }
        for kind in TYPES:
            source = files.source(kind)
            if upsert:
                source = _source_after_upsert(change.state.days.get(day, {}).get(kind.name))
            change.state.record(day, kind, LoadedDay(counts[kind.name].rows, source, files.hashes[kind]))
        if parsed[RFND].frame.height and partition_files(lake, RFND).get(UNDATED):
            run.warn(
                "Refunds without a month are still in the lake; those of a day that was fetched again count twice until"
                " cvas_repair_refunds has run, then the view is built and the days that it names are counted again."
            )
        with run.phase("publish", percent=100):
            change.publish(_touched(counts))
        files.adopt(parsed, run)
        return _result(lake, day, parsed, counts, run)


# --- the files of the day -----------------------------------------------------------------------------------------


class _Files:
    """The six files of a day and what the manifest says about them."""

    def __init__(self, lake: Lake, day: date, *, over: bool) -> None:
        self._lake, self._day, self._over = lake, day, over
        self._paths = {kind: daily_file(lake, day, kind) for kind in TYPES}
        present = [kind for kind in TYPES if self._paths[kind].is_file()]
        self.hashes = {kind: sha256_of(self._paths[kind]) for kind in present}
        self.bytes = sum(self._paths[kind].stat().st_size for kind in present)
        self._entries = read_manifest(lake, day)
        # What was placed by hand may be replaced by hand: nobody can fetch it again.
        self._replaced = {kind for kind in present if self._is_altered(kind) and self._entries[kind.name].adopted}
        for kind in self._replaced:
            del self._entries[kind.name]

    def source(self, kind: TransactionType) -> str:
        entry = self._entries.get(kind.name)
        return "daily" if (entry.complete if entry else self._over) else "partial"

    def check(self, *, allow_partial: bool) -> None:
        """Refuse, in one error, every file that is missing, not as it was fetched, or none of the six (R24)."""
        missing = [path.name for kind, path in self._paths.items() if kind not in self.hashes]
        altered = [self._difference(kind) for kind in self.hashes if self._is_altered(kind)]
        extra = sorted(
            {path.name for path in self._lake.daily(self._day).glob("*.csv")} - {f"{k.name}.csv" for k in TYPES}
        )
        faults = (("missing", missing), ("not as fetched", altered), ("none of the six", extra))
        if any(names for _, names in faults):
            text = "; ".join(f"{fault}: {', '.join(names)}" for fault, names in faults if names)
            kind = ContractViolation if altered or extra else SourceMissing
            raise kind(
                f"cvas: the files of {self._day} are not complete; {text}. Nothing was loaded.",
                next_step=f"Fetch what is missing or altered of {self._day} again (cvas_fetch), remove what does not "
                "belong there, then clear this task.",
            )
        partial = [kind.name for kind in TYPES if self.source(kind) == "partial"]
        if partial and not allow_partial:
            raise RequestRefused(
                f"cvas: {', '.join(partial)} of {self._day} were fetched before the day was over.",
                next_step="Fetch the day again when it is over, or load it with allow_partial.",
            )

    def parse(self, settings: Settings, run: RunLog) -> dict[TransactionType, Parsed]:
        """The rows of all six types, last of equal keys; rejected rows are kept beside the files (R27)."""
        parsed: dict[TransactionType, Parsed] = {}
        refused: list[PermanentError] = []
        for kind, path in self._paths.items():
            rejects = path.parent / "_rejects" / path.name
            rejects.unlink(missing_ok=True)
            try:
                parsed[kind] = parse_transactions(path, kind, days=(self._day, self._day))
                _keep(rejects, parsed[kind].rejects)
                check_rejects(parsed[kind], settings)
                self._check_count(kind, parsed[kind])
            except ContractViolation as error:
                refused.append(error)
        with suppress(OSError):  # not there, or not empty
            (self._lake.daily(self._day) / "_rejects").rmdir()
        if refused:
            raise all_of(refused)
        for rows in parsed.values():
            for warning in rows.warnings:
                run.warn(warning)
            if rows.rejected:
                run.warn(f"{rows.where}: {rows.rejected:,} of {rows.read:,} rows rejected, see _rejects.")
        return parsed

    def adopt(self, parsed: Mapping[TransactionType, Parsed], run: RunLog) -> None:
        """Enter files that nobody fetched into the manifest (R24)."""
        adopted = [kind for kind in TYPES if kind.name not in self._entries]
        for kind in adopted:
            events = parsed[kind].frame[kind.event_date]
            first, last = events.min(), events.max()
            entry = FileEntry(
                rows=parsed[kind].read,
                bytes=self._paths[kind].stat().st_size,
                sha256=self.hashes[kind],
                first_event=first if isinstance(first, datetime) else None,
                last_event=last if isinstance(last, datetime) else None,
                complete=self._over,
                adopted=True,
            )
            write_entry(self._lake, self._day, kind.name, entry)
        if adopted:
            names = ", ".join(
                f"{kind.name}.csv{' (in place of an older one)' * (kind in self._replaced)}" for kind in adopted
            )
            run.warn(f"{names} of {self._day} were placed by hand; they passed the checks and are in the manifest now.")

    def _is_altered(self, kind: TransactionType) -> bool:
        entry = self._entries.get(kind.name)
        return entry is not None and entry.sha256 != self.hashes[kind]

    def _difference(self, kind: TransactionType) -> str:
        entry, lines = self._entries[kind.name], self._paths[kind].read_bytes().count(b"\n")
        return (
            f"{kind.name}.csv ({entry.rows:,} rows with SHA-256 {entry.sha256[:12]} were fetched, "
            f"{max(0, lines - 1):,} with {self.hashes[kind][:12]} are there)"
        )

    def _check_count(self, kind: TransactionType, parsed: Parsed) -> None:
        entry = self._entries.get(kind.name)
        if entry and entry.rows != parsed.read:
            raise ContractViolation(
                f"{parsed.where}: {parsed.read:,} rows instead of the {entry.rows:,} that were fetched.",
                next_step=f"Fetch {kind.name} of {self._day} again, then clear this task.",
            )


def _keep(file: Path, rejects: pl.DataFrame) -> None:
    if not rejects.is_empty():
        with atomic_write(file) as temporary:
            rejects.write_csv(temporary)


def all_of(errors: Sequence[PermanentError]) -> PermanentError:
    """One error that says what several say."""
    if len(errors) == 1:
        return errors[0]
    return ContractViolation(
        " ".join(error.what for error in errors),
        next_step=" ".join(dict.fromkeys(error.next_step for error in errors)),
    )


# --- the day in the lake ------------------------------------------------------------------------------------------


def _source_after_upsert(known: LoadedDay | None) -> str:
    """What is added to a day says nothing about what else the day has."""
    if known is None:
        return "partial"
    return "daily" if known.source == "empty" else known.source


@dataclass(frozen=True)
class Replaced:
    """What became of one type's day: rows out of the lake and into it, rows it has now, bytes written.

    ``touched`` are the subscriptions of all rows that came or went.
    """

    rows: int
    duplicates: int
    inserted: int
    replaced: int
    partitions: tuple[str, ...]
    bytes: int
    touched: pl.Series


def loses_too_much(before: int, after: int) -> bool:
    """Whether a day that is not small would keep less than half of its rows (R33)."""
    return before >= SMALL_DAY and 2 * after < before


def without_duplicates(rows: pl.DataFrame, kind: TransactionType) -> pl.DataFrame:
    """Of rows with equal keys, nulls being equal, the last one (R31)."""
    return rows.unique(kind.key, keep="last", maintain_order=True)


def replace_day(
    change: Change, kind: TransactionType, day: date, rows: pl.DataFrame, *, force: bool = False, upsert: bool = False
) -> Replaced:
    """Stage the partition of ``day`` with ``rows`` in place of what it has for that day (R31-R34).

    Reads one month of one type, and stages nothing if the day has these rows already.
    Raises CheckFailed if the day would lose more than half of its rows, or the partition cannot be read.
    """
    import polars as pl

    month = month_of(day)
    partition = change.read(kind, month)
    if not partition[kind.event_date].is_sorted():
        partition = in_order(partition, kind)
    begin = datetime.combine(day, time())
    first, end = (int(partition[kind.event_date].search_sorted(at)) for at in (begin, begin + timedelta(days=1)))
    before = partition[first:end]
    new = without_duplicates(rows, kind)
    duplicates = rows.height - new.height
    after = in_order(without_duplicates(pl.concat([before, new]), kind) if upsert else new, kind)
    ids = pl.Series("subscription_id", [], dtype=pl.Int64)
    if after.equals(before):
        return Replaced(after.height, duplicates, 0, 0, (), 0, ids)
    if loses_too_much(before.height, after.height) and not force:
        raise CheckFailed(
            f"cvas {kind.name}: the lake has {before.height:,} rows of {day} and would have {after.height:,}, less "
            "than half; nothing was changed.",
            next_step="Ask whether the source still has that day; load it with force if the rows are gone on purpose.",
        )
    size = change.write(kind, month, pl.concat([partition[:first], after, partition[end:]], rechunk=False))
    if kind is not PPD:
        ids = pl.concat([before[kind.subscription], after[kind.subscription]]).alias("subscription_id")
    return Replaced(
        rows=after.height,
        duplicates=duplicates,
        inserted=new.height,
        replaced=before.height - (after.height - new.height),
        partitions=(partition_name(kind, month),),
        bytes=size,
        touched=ids,
    )


def _touched(counts: Mapping[str, Replaced]) -> pl.Series:
    import polars as pl

    return pl.concat([each.touched for each in counts.values()])


def _result(
    lake: Lake, day: date, parsed: Mapping[TransactionType, Parsed], counts: Mapping[str, Replaced], run: RunLog
) -> StepResult:
    types = {}
    for kind, rows in parsed.items():
        done = counts[kind.name]
        types[kind.name] = {
            "read": rows.read,
            "rejected": rows.rejected,
            "duplicates": done.duplicates,
            "inserted": done.inserted,
            "replaced": done.replaced,
            "partitions": list(done.partitions),
            "bytes": done.bytes,
        }
        if done.replaced and not done.rows:
            run.warn(
                f"{kind.name}: the lake had {done.replaced:,} rows of {day} and has none any more, as its file has "
                "none."
            )
        run.say(
            f"{kind.name} | read {rows.read:,} | rejected {rows.rejected:,} | duplicates {done.duplicates:,} | "
            f"inserted {done.inserted:,} | replaced {done.replaced:,} | "
            f"partitions {', '.join(done.partitions) or 'none'} | {done.bytes / MB:.1f} MB"
        )
        run.facts[kind.name] = f"{done.inserted:,} in, {done.replaced:,} out"
    return StepResult(
        where=str(lake.transactions),
        read=sum(rows.read for rows in parsed.values()),
        written=sum(done.inserted for done in counts.values()),
        rejected=sum(rows.rejected for rows in parsed.values()),
        bytes=sum(done.bytes for done in counts.values()),
        warnings=tuple(run.warnings),
        facts={"day": str(day), "types": types, "seconds": dict(run.durations)},
    )
