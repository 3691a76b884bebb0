"""What people decide about languages: the queue of doubtful spots, manual decisions (R41), a fresh start (R43)."""

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

from include.commercial_log.config import DataRoot
from include.commercial_log.database import SYSTEM, timestamp
from include.commercial_log.languages import assign_languages
from include.commercial_log.months import month_states
from include.common import locks
from include.common.files import atomic_write
from include.common.results import StepResult
from include.common.sql import read_sql, transaction
from include.errors import RequestRefused

EXPORT_JOB = "commercial_log_review_export"
DECISION_JOB = "commercial_log_set_language"
RECATEGORISE_JOB = "commercial_log_recategorise"
HIGH_VALUE = 1000.0
ENGLISH_SYNONYMS = ("EN", "ENG")
# A text that begins like this is a formula to Excel and LibreOffice, whoever typed it into the log.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Filter = Literal["all", "business", "undetermined", "invalid", "high_value", "low_confidence", "fallback"]


class ReviewItem(NamedTuple):
    """One spot somebody should look at; the columns of the view v_review_queue, gross rate in US dollars."""

    spot_id: int
    bill_code: str
    broadcast_month: str
    revenue_type: str | None
    spot_type: str | None
    raw_language: str | None
    assigned_language: str
    assignment_method: str
    gross_rate: float | None
    notes: str | None


class InvalidCode(NamedTuple):
    """A code in the sheet that is no language: its spots, their gross sum and the average of the priced ones (US $)."""

    code: str
    spots: int
    gross_sum: float
    gross_average: float | None


def review_queue(db: sqlite3.Connection, *, filter: Filter = "all") -> list[ReviewItem]:  # noqa: A002
    """The doubtful spots, dearest first.

    ``business`` type and revenue type do not say, ``undetermined`` code L, ``invalid`` no language's code,
    ``high_value`` gross above $500, ``low_confidence`` below 0.5, ``fallback`` counted as English for want of a code
    (these are not flagged for review, hence not in ``all``).
    """
    return [ReviewItem(*row) for row in db.execute(read_sql(SYSTEM, "select_review_queue"), {"filter": filter})]


def export_review_queue(
    database: AbstractContextManager[sqlite3.Connection],
    data: DataRoot,
    *,
    filter: Filter = "all",  # noqa: A002
    day: date,
) -> StepResult:
    """Write the review queue to ``exports/review_queue_<filter>_<day>.csv``, all at once, for a spreadsheet.

    Re-run: safe; the file of the day is replaced.
    Raises AlreadyRunning while another export writes, StoreFull, and what opening ``database`` raises.
    """
    target = data.exports / f"review_queue_{filter}_{day}.csv"
    with (
        data.recording(EXPORT_JOB, day) as run,
        locks.hold(data.database_lock.with_name("exports"), EXPORT_JOB),
        database as db,
        atomic_write(target) as temporary,
    ):
        items = review_queue(db, filter=filter)
        # Excel takes a CSV file for the local code page unless it begins with a byte order mark.
        with temporary.open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(ReviewItem._fields)
            writer.writerows(map(_harmless, item) for item in items)
        run.facts |= {"filter": filter, "rows": len(items)}
        return StepResult(
            where=str(target),
            read=len(items),
            written=len(items),
            bytes=temporary.stat().st_size,
            facts={"filter": filter},
        )


def set_language(
    database: AbstractContextManager[sqlite3.Connection],
    data: DataRoot,
    *,
    spot_ids: Sequence[int],
    language_code: str,
    decided_by: str,
    note: str,
    now: datetime,
    day: date,
) -> StepResult:
    """Decide the language of spots for good: the update never changes such a decision as long as the spot exists.

    All spots or none. ``EN`` and ``ENG`` mean English. ``written`` counts the assignments that changed.

    Re-run: safe; the same decision again changes nothing.
    Raises RequestRefused for an unknown code or spot and for a decision without a name, a note or a spot,
    AlreadyRunning, StoreBusy while another run writes, and what opening ``database`` raises.
    """
    with data.recording(DECISION_JOB, day) as run, locks.hold(data.database_lock, DECISION_JOB), database as db:
        for given, what in ((decided_by, "the name of whoever decides"), (note, "a note that says why")):
            if not given.strip():
                raise RequestRefused(
                    f"commercial_log: a language decision needs {what}.", next_step="Give decided_by and note."
                )
        spots = json.dumps(sorted(set(spot_ids)))
        with transaction(db):
            language_id, code = _language(db, language_code)
            _refuse_unknown_spots(db, spot_ids, spots)
            decision = {"code": code, "notes": f"{decided_by.strip()}: {note.strip()}", "now": timestamp(now)}
            binds = {"spot_ids": spots, "language_id": language_id, **decision}
            changed = db.execute(read_sql(SYSTEM, "upsert_manual_languages"), binds).rowcount
            db.execute(read_sql(SYSTEM, "update_manual_spot_languages"), binds)
        run.facts |= {"language": code, "spots": len(set(spot_ids)), "decided by": decided_by.strip()}
        return StepResult(
            where="spot_language_assignments",
            read=len(set(spot_ids)),
            written=changed,
            facts={"language": code, "decided_by": decided_by.strip()},
        )


def recategorise_all(
    database: AbstractContextManager[sqlite3.Connection], data: DataRoot, *, confirm: bool, now: datetime, day: date
) -> StepResult:
    """Decide category and language of every spot anew, closed months included; people's decisions stay.

    One transaction; readers see the old state until it ends, about a minute per million spots.

    Re-run: safe; nothing changes unless a rule, a language or a code did.
    Raises RequestRefused without ``confirm``, CheckFailed if a spot is left without category or language,
    AlreadyRunning, StoreBusy while another run writes, and what opening ``database`` raises.
    """
    with (
        data.recording(RECATEGORISE_JOB, day) as run,
        locks.hold(data.database_lock, RECATEGORISE_JOB),
        database as db,
    ):
        if not confirm:
            raise RequestRefused(
                "commercial_log: recategorising changes the language revenue of all months, closed ones included.",
                next_step="Give confirm if that is what you want.",
            )
        counters: Counter[str] = Counter()
        with transaction(db):
            months = list(month_states(db))
            for number, month in enumerate(months, start=1):
                counters.update(assign_languages(db, [month], now=now, everything=True))
                run.say(f"{100 * number // len(months):3d} % | {month}")
        run.facts |= counters
        return StepResult(
            where="spot_language_assignments",
            read=counters["processed"] + counters["manual"],
            written=counters["processed"],
            facts={"months": len(months), **counters},
        )


def language_status(db: sqlite3.Connection) -> dict[str, Any]:
    """How many spots stand where: ``rows`` of v_language_status and the sums an operator asks for.

    ``uncategorised`` and ``unassigned`` should be 0; ``undetermined_high_value`` counts code L at $1,000 gross or more.
    """
    cursor = db.execute("SELECT * FROM v_language_status")
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    sums = {name: sum(row[name] for row in rows) for name in ("spots", "uncategorised", "unassigned")}
    return {"rows": rows, **sums, **review_counts(db)}


def review_counts(db: sqlite3.Connection) -> dict[str, int]:
    """``review_queue``: spots that wait for review; ``undetermined_high_value``: code L at $1,000 gross or more."""
    cursor = db.execute(read_sql(SYSTEM, "select_review_counts"), {"high_value": HIGH_VALUE})
    waiting, dear = cursor.fetchone()
    return {"review_queue": waiting, "undetermined_high_value": dear}


def invalid_codes(db: sqlite3.Connection) -> list[InvalidCode]:
    """The codes that are no language, dearest first."""
    return [InvalidCode(*row) for row in db.execute(read_sql(SYSTEM, "select_invalid_codes"))]


def _harmless(value: object) -> object:
    """Text that a spreadsheet would run as a formula becomes text that it shows; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _language(db: sqlite3.Connection, given: str) -> tuple[int, str]:
    """Id and stored code of a language; assignments hold codes in upper case."""
    known = {code.upper(): (language_id, name) for language_id, code, name in _languages(db)}
    code = given.strip().upper()
    if code in ENGLISH_SYNONYMS and code not in known:
        code = next((each for each, (_, name) in known.items() if name == "English"), code)
    if code not in known:
        raise RequestRefused(
            f"commercial_log: '{given}' is no language code; nothing was changed.",
            next_step=f"Use one of: {', '.join(known)}.",
        )
    return known[code][0], code


def _languages(db: sqlite3.Connection) -> Iterator[tuple[int, str, str]]:
    return db.execute("SELECT language_id, language_code, language_name FROM languages ORDER BY language_id")


def _refuse_unknown_spots(db: sqlite3.Connection, spot_ids: Sequence[int], spots: str) -> None:
    if not spot_ids:
        raise RequestRefused("commercial_log: no spot was named.", next_step="Give the spot ids of the review queue.")
    unknown = [str(spot_id) for (spot_id,) in db.execute(read_sql(SYSTEM, "select_unknown_spots"), {"spot_ids": spots})]
    if unknown:
        raise RequestRefused(
            f"commercial_log: {len(unknown):,} of {len(set(spot_ids)):,} ids are no spots: {', '.join(unknown[:10])}; "
            "nothing was changed.",
            next_step="Export the review queue again: the workbook may have replaced those spots since.",
        )
