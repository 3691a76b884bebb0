"""Stage 2: the dated workbook replaces the open months of the booked-business database, all at once or not at all."""

import gc
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import fsum
from pathlib import Path
from typing import Any

from include.commercial_log import contract, workbook
from include.commercial_log.batches import begin_batch, complete_batch, fail_batch, keep_remarks
from include.commercial_log.cells import month_label, month_start
from include.commercial_log.choice import Mode, chosen_file
from include.commercial_log.config import ZONE, DataRoot, Settings
from include.commercial_log.database import SYSTEM, timestamp
from include.commercial_log.languages import assign_languages
from include.commercial_log.markets import MarketSetup, resolve_markets
from include.commercial_log.months import close_in_transaction, closed_months, month_states, record_totals
from include.commercial_log.names import NameBook, Parties, agency_name
from include.commercial_log.replacement import BILL_CODE, MARKET, NAMED, Origin, replace_spots, resolve_again
from include.commercial_log.transform import ParsedSheet, Remark, parse_rows, without_market
from include.commercial_log.workbook import SheetRows
from include.common import locks
from include.common.days import refuse_day_to_come
from include.common.journal import RunLog
from include.common.results import StepResult
from include.common.sql import file_of, read_sql, transaction
from include.errors import CheckFailed, ContractViolation, RequestRefused

JOB = "commercial_log_update"
RECAP_JOB = "commercial_log_historical_import"
REJECTS_ALWAYS_ALLOWED = 20
REJECTS_ALLOWED_SHARE = 0.05
SMALLEST_SHARE_OF_MONTH = 0.5
CENT = 0.01
AIR_DATE = contract.POSITION["air_date"]


def load_bookings(
    database: AbstractContextManager[sqlite3.Connection],
    data: DataRoot,
    *,
    day: date,
    now: datetime,
    settings: Settings,
    mode: Mode = "WEEKLY_UPDATE",
    recap: bool = False,
    data_file: Path | None = None,
    closed_by: str | None = None,
    expected_year: int | None = None,
    force_stale: bool = False,
    confirm_loss: bool = False,
    dry_run: bool = False,
    started_by: str = "airflow",
) -> StepResult:
    """Make the spots of every processed month exactly the accepted rows of the workbook of ``day``.

    ``WEEKLY_UPDATE`` processes the open months the file has rows for, ``MANUAL`` the same but refuses a file with a
    closed month, ``HISTORICAL`` processes all its months and closes them in the name of ``closed_by``. Markets,
    replacement, categories, languages and the batch's completion are one transaction. ``dry_run`` does all of it and
    rolls back, so its report is exact, and has a journal of its own. ``recap`` reads a ``data_file`` of any name, as
    people send for past months; without it only dated workbooks are read. ``expected_year`` refuses a file with months
    of another year. ``confirm_loss`` lets HISTORICAL close a month that is not over yet on ``day``, or that keeps fewer
    than half of its spots. ``database`` is opened here, so that a failure to open it is one of this run.

    Re-run: safe; the same file changes no spot and adds one COMPLETED batch with nothing inserted or removed.
    Raises SourceMissing or StaleInput for the choice of the file, ContractViolation for what is in the file,
    RequestRefused for a day to come and for a mode that does not allow it, CheckFailed if the result is not what the
    file says, StoreBusy, StoreFull, AlreadyRunning, and what opening ``database`` raises.
    """
    recap = recap or mode != "WEEKLY_UPDATE"
    if recap:
        # The policy spares the nightly update stray rows; who imports by hand means the months of the file.
        settings = replace(settings, previous_month_policy="replace")
    job = RECAP_JOB if recap else JOB
    with (
        data.recording(f"{job}_dry_run" if dry_run else job, day) as run,
        locks.hold(data.database_lock, job),
        database as db,
        _no_search_for_cycles(),
        ExitStack() as reading,
    ):
        today = now.astimezone(ZONE).date()
        refuse_day_to_come(
            day, today, what="commercial_log", next_step="Trigger the update without a date, or with today's."
        )
        if mode == "HISTORICAL" and not (closed_by or "").strip():
            raise RequestRefused(
                "commercial_log: a historical import closes its months and needs the name of whoever closes them.",
                next_step="Give closed_by.",
            )
        reading.enter_context(locks.hold(data.files_lock, job, shared=True))
        path = reading.enter_context(
            chosen_file(
                db,
                data,
                day,
                settings,
                run,
                today=today,
                mode=mode,
                recap=recap,
                data_file=data_file,
                force_stale=force_stale,
            )
        )
        load = _Load(db, path, day, now, settings, mode, closed_by, expected_year, confirm_loss, run)
        return load.perform(reading, dry_run=dry_run, started_by=started_by)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Rows are hundreds of thousands of objects without a cycle; to look for one among them takes a twentieth of the
    load."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


@dataclass
class _Load:
    """One run of the load over one workbook."""

    db: sqlite3.Connection
    path: Path
    day: date
    now: datetime
    settings: Settings
    mode: Mode
    closed_by: str | None
    expected_year: int | None
    confirm_loss: bool
    run: RunLog
    batch_id: str | None = None

    def perform(self, reading: ExitStack, *, dry_run: bool, started_by: str) -> StepResult:
        """Load the workbook; ``reading`` is closed as soon as nobody needs the file any more."""
        if not dry_run:
            self.batch_id = begin_batch(self.db, self.path, mode=self.mode, now=self.now, started_by=started_by)
            self.run.batch = self.batch_id
        try:
            with reading:
                sheet = self._read()
            parsed = self._parse(sheet)
            with transaction(self.db, commit=not dry_run):
                result = self._replace_months(sheet, parsed)
        except BaseException as error:
            if self.batch_id:
                self._fail(self.batch_id, error)
            raise
        if dry_run:
            self.run.facts["dry run"] = "nothing was written"
        self.run.say(f"100 % | {'dry run: everything was rolled back' if dry_run else 'committed'}")
        return result

    def _fail(self, batch_id: str, error: BaseException) -> None:
        # The error on its way out matters more than a database that refuses this last word; the next run says it then.
        try:
            fail_batch(self.db, batch_id, error, now=self.now)
        except Exception as refused:
            self.run.say(f"batch {batch_id} could not be marked FAILED: {refused}")

    def _read(self) -> SheetRows:
        with self.run.phase("read the workbook", percent=25):
            sheet = workbook.read_sheet(self.path, contract.RECAP_SHEETS)
        if sheet.header.unknown:
            self.run.say(f"columns outside the contract are ignored: {', '.join(sheet.header.unknown)}")
        return sheet

    def _parse(self, sheet: SheetRows) -> ParsedSheet:
        with self.run.phase("parse and validate", percent=50):
            parsed = parse_rows(sheet, closed=self._protected_months())
        if self.batch_id:
            # In a transaction of their own they outlive a rollback of the load.
            with transaction(self.db):
                keep_remarks(self.db, self.batch_id, parsed.file, parsed.remarks, now=self.now)
        self._report_rejects(parsed)
        self._refuse_bad_sheet(parsed)
        return parsed

    def _report_rejects(self, parsed: ParsedSheet) -> None:
        """The first rejected rows, what they hold and what all of them are worth: a dry run keeps them nowhere else."""
        rejects = [remark for remark in parsed.remarks if remark.severity == "reject"]
        for remark in rejects[:NAMED]:
            self.run.say(f"rejected: sheet '{remark.sheet}', {_cell_of(remark)} ({remark.reason})")
        if rejects:
            worth = fsum(remark.gross or 0.0 for remark in rejects)
            self.run.say(f"{_rows(len(rejects))} rejected, ${worth:,.2f} gross where it can be read")

    def _protected_months(self) -> frozenset[str]:
        """The months this run leaves alone: closed ones, and the one the policy skips."""
        if self.mode == "HISTORICAL":
            return frozenset()
        return frozenset(filter(None, (*closed_months(self.db), self._skipped_month())))

    def _refuse_bad_sheet(self, parsed: ParsedSheet) -> None:
        where = f"{parsed.file}, sheet '{parsed.sheet}'"
        if not parsed.months and not parsed.closed:
            faults = Counter(remark.reason for remark in parsed.remarks if remark.severity == "reject")
            if parsed.rejected == faults["BAD_MONTH"] + faults["MISSING_MONTH"] and not parsed.trade:
                raise ContractViolation(
                    f"{where}: no broadcast months found in {parsed.rejected:,} rows, column 'Month'.",
                    next_step="Ask traffic what happened to the Month column.",
                )
        allowed = self.settings.max_rejects
        if allowed is None:
            allowed = max(REJECTS_ALWAYS_ALLOWED, int(REJECTS_ALLOWED_SHARE * parsed.open_rows))
        if parsed.rejected > allowed:
            first = next(remark for remark in parsed.remarks if remark.severity == "reject")
            raw = f": {first.raw!r}" if first.raw else ""
            raise ContractViolation(
                f"{where}: {parsed.rejected:,} rows rejected, {allowed:,} allowed; the first is Excel row {first.row}, "
                f"column '{first.header}', {first.reason}{raw}.",
                next_step="See import_rejects for all of them; correct the workbook, or raise max_rejects on purpose.",
            )
        if self.mode == "MANUAL" and parsed.closed:
            raise RequestRefused(
                f"{where} holds closed months: {', '.join(sorted(parsed.closed, key=month_start))}.",
                next_step="Use WEEKLY_UPDATE, which leaves closed months alone, or a historical import.",
            )
        found = [*parsed.months, *parsed.closed]
        others = [month for month in found if self.expected_year and month_start(month).year != self.expected_year]
        if others:
            raise RequestRefused(
                f"{where} holds months of another year than {self.expected_year}: {', '.join(others)}.",
                next_step="Choose the right file or year.",
            )

    def _replace_months(self, sheet: SheetRows, parsed: ParsedSheet) -> StepResult:
        """Everything that changes bookings; runs in one transaction."""
        protected = self._protected_months()
        if protected & set(parsed.months):
            # Someone closed a month while we read: closed wins.
            parsed = parse_rows(sheet, closed=protected)
            self._refuse_bad_sheet(parsed)
        processed = sorted(parsed.months, key=month_start)
        if self.mode == "HISTORICAL" and not self.confirm_loss:
            self._refuse_loss(parsed, processed)
        with self.run.phase("replace the open months", percent=75):
            markets = self._resolve_markets(parsed)
            resolve = NameBook(self.db).resolve
            origin = Origin(timestamp(self.now), self.day.isoformat(), self.mode == "HISTORICAL", self.batch_id)
            replaced = replace_spots(self.db, parsed, markets, resolve, origin, self.run)
            codes = {str(code) for code in {each.values[BILL_CODE] for each in parsed.bookings}}
            resolve_again(self.db, parsed, codes, markets, resolve)
        with self.run.phase("categories and languages", percent=90):
            counters = assign_languages(self.db, processed, now=self.now)
        after = self._totals(processed)
        self._check_totals(parsed, after)
        if self.mode == "HISTORICAL":
            self._close(processed)
        records = {
            "records_imported": sum(spots for spots, _ in after.values()),
            "records_deleted": replaced.unchanged + replaced.removed,
            "rows_inserted": replaced.inserted,
            "rows_removed": replaced.removed,
            "rows_unchanged": replaced.unchanged,
        }
        facts = {
            **self._report_months(parsed, after),
            **records,
            "net_change": records["records_imported"] - records["records_deleted"],
            "new_markets": markets.created,
            "unresolved_markets": markets.unresolved,
            **self._report_names(codes, resolve),
            **counters,
        }
        if self.batch_id:
            notes = "; ".join(self.run.warnings) or None
            complete_batch(
                self.db, self.batch_id, parsed, processed, records, now=self.now + self.run.elapsed, notes=notes
            )
        return self._result(parsed, facts)

    def _refuse_loss(self, parsed: ParsedSheet, processed: Sequence[str]) -> None:
        """A stray row must not empty a month that nothing opens again."""
        before = self._totals(processed)
        doubtful = []
        for month in processed:
            rows, (spots, _) = len(parsed.gross[month]), before.get(month, (0, 0.0))
            running = month_start(month) >= self.day.replace(day=1)
            if running or rows < SMALLEST_SHARE_OF_MONTH * spots:
                named = f"{month}, which is not over on {self.day}" if running else month
                doubtful.append(f"{named} ({_rows(rows)} in place of {spots:,} spots)")
        if doubtful:
            raise RequestRefused(
                f"{parsed.file}, sheet '{parsed.sheet}' would replace and close for good: {', '.join(doubtful)}.",
                next_step="Take those rows out of the workbook; if they are what those months are to be, import it "
                "with confirm_loss.",
            )

    def _report_months(self, parsed: ParsedSheet, after: dict[str, tuple[int, float]]) -> dict[str, Any]:
        """What became of each month: replaced, preserved for want of rows, closed, or skipped by policy."""
        skipped = self._skipped_month()
        states = month_states(self.db)
        preserved = [month for month, shut in states.items() if not shut and month not in after and month != skipped]
        closed = sorted((month for month in parsed.closed if month != skipped), key=month_start)
        left_out = {month for month in (*parsed.rejects, *parsed.trades) if month not in after}
        if absent := [month for month in preserved if month not in left_out and self.mode == "WEEKLY_UPDATE"]:
            self.run.warn(f"Preserved, as {parsed.file} has no rows for them: {', '.join(absent)}.")
        for month in sorted(left_out, key=month_start):
            # Trade rows of a month without bookings are as expected.
            if month in preserved or month in parsed.rejects:
                fate = "Preserved" if month in preserved else "Not loaded"
                self.run.warn(f"{fate}: {_left_out(month, parsed)}.")
        if skipped and parsed.closed[skipped]:
            self.run.warn(f"Left out by previous_month_policy: {_rows(parsed.closed[skipped])} for {skipped}.")
        self.run.say(
            f"months replaced: {', '.join(after) or 'none'}; preserved: {', '.join(preserved) or 'none'}; "
            f"closed: {', '.join(closed) or 'none'} ({parsed.closed.total():,} rows left out)"
        )
        return {
            "months": {month: {"spots": spots, "gross": round(gross, 2)} for month, (spots, gross) in after.items()},
            "preserved": preserved,
            "closed": closed,
            "skipped": skipped,
        }

    def _report_names(self, codes: Set[str], resolve: Callable[[str], Parties]) -> dict[str, int]:
        """Bill codes whose customer or agency nobody knows (R29); a dry run leaves them nowhere but in the log."""
        customers = sorted(code for code in codes if resolve(code).customer_id is None)
        agencies = {name for code in codes if (name := agency_name(code)) and resolve(code).agency_id is None}
        for what, unknown in (("bill codes without a customer", customers), ("agencies not known", sorted(agencies))):
            if unknown:
                more = f" and {len(unknown) - NAMED:,} more" if len(unknown) > NAMED else ""
                self.run.say(f"{what}: {', '.join(unknown[:NAMED])}{more}")
        return {"unresolved_bill_codes": len(customers), "unresolved_agencies": len(agencies)}

    def _result(self, parsed: ParsedSheet, facts: dict[str, Any]) -> StepResult:
        written = len(parsed.bookings)
        self.run.facts |= {"rows": written}
        self.run.facts |= {name: facts[f"rows_{name}"] for name in ("inserted", "removed", "unchanged")}
        self.run.facts |= {"rejected": parsed.rejected, "trade": parsed.trade}
        return StepResult(
            where=file_of(self.db),
            read=parsed.read,
            written=written,
            rejected=parsed.rejected,
            warnings=tuple(self.run.warnings),
            facts={
                "day": str(self.day),
                "file": parsed.file,
                "batch": self.batch_id,
                "mode": self.mode,
                **facts,
                "filtered_trade": parsed.trade,
                "filtered_closed": parsed.closed.total(),
                "blank": parsed.blank,
                "remarks": dict(Counter(remark.reason for remark in parsed.remarks)),
                "seconds": dict(self.run.durations),
            },
        )

    def _skipped_month(self) -> str | None:
        """The calendar month before, if the policy and nothing else leaves it alone."""
        month = month_label(self.day.replace(day=1) - timedelta(days=1))
        skips = self.settings.previous_month_policy == "skip" and month not in closed_months(self.db)
        return month if skips else None

    def _resolve_markets(self, parsed: ParsedSheet) -> MarketSetup:
        bookings = parsed.bookings
        aired = {(each.values[MARKET], each.values[AIR_DATE]) for each in bookings}
        named = ((str(market), str(day)) for market, day in aired if market)
        markets = resolve_markets(self.db, named, create=self.settings.auto_setup)
        for code in markets.created:
            self.run.say(f"market {code} is new and was created")
        if markets.unresolved:
            self.run.say(f"markets not known and not created: {', '.join(map(repr, markets.unresolved))}")
        unknown = [without_market(each) for each in bookings if each.values[MARKET] in markets.unresolved]
        parsed.remarks.extend(unknown)
        if self.batch_id:
            keep_remarks(self.db, self.batch_id, parsed.file, unknown, now=self.now)
        return markets

    def _totals(self, processed: Sequence[str]) -> dict[str, tuple[int, float]]:
        rows = self.db.execute(read_sql(SYSTEM, "select_month_totals"), {"months": json.dumps(list(processed))})
        totals = {month: (spots, gross) for month, spots, gross in rows}
        return dict(sorted(totals.items(), key=lambda total: month_start(total[0])))

    def _check_totals(self, parsed: ParsedSheet, after: dict[str, tuple[int, float]]) -> None:
        for month, amounts in parsed.gross.items():
            spots, total = after.get(month, (0, 0.0))
            if spots != len(amounts) or abs(total - fsum(amounts)) > CENT:
                raise CheckFailed(
                    f"commercial_log: {month} holds {spots:,} spots and ${total:,.2f} gross after the load, "
                    f"{parsed.file} says {len(amounts):,} and ${fsum(amounts):,.2f}; nothing was saved.",
                    next_step="Clear the task; if it stays, look for a trigger or program that changes spots.",
                )

    def _close(self, processed: Sequence[str]) -> None:
        note = f"Historical import of {self.path.name}"
        for month in processed:
            if not close_in_transaction(self.db, month, closed_by=str(self.closed_by), closed_on=self.day, notes=note):
                record_totals(self.db, month)


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"


def _cell_of(remark: Remark) -> str:
    return f"Excel row {remark.row}, '{remark.header}' is {'empty' if remark.raw is None else repr(remark.raw)}"


def _left_out(month: str, parsed: ParsedSheet) -> str:
    """Why a month with rows in the sheet got none of them."""
    rejects, trade = parsed.rejects.get(month, []), parsed.trades[month]
    told = f"{_rows(len(rejects) + trade)} for {month}, "
    if not rejects:
        return f"{told}all Trade"
    some_trade = f"{trade:,} Trade, all others" if trade else "all"
    return f"{told}{some_trade} rejected (first: {_cell_of(rejects[0])})"
