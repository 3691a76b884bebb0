"""Stage 1: the workbook on the share becomes the dated workbook of one day."""

import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from include.commercial_log import contract, workbook
from include.commercial_log.config import DataRoot, Settings
from include.common import locks, shares
from include.common.days import refuse_day_to_come
from include.common.files import publish, sha256_of, temporary_beside
from include.common.journal import RunLog
from include.common.results import StepResult
from include.common.shares import FetchedFile, Share
from include.common.xlsx import ExtractedSheets, extract_sheets
from include.errors import ContractViolation, StaleInput

JOB = "commercial_log_import"
SMALLEST_SHARE_OF_EARLIER = 0.5


def copy_workbook(
    share: AbstractContextManager[Share],
    data: DataRoot,
    *,
    day: date,
    today: date,
    settings: Settings,
    allow_shrink: bool = False,
) -> StepResult:
    """Publish the dated workbook of ``day``: the sheet as it stands on the share, every cell exact, all at once.

    ``today`` is the local calendar day; the share only holds the present, so for an earlier ``day`` an existing file
    is left as it is and a missing one cannot be made. The share is opened here and only when it is needed: a server
    that cannot be reached is a failure of this run, in its journal, and does not keep an earlier day from its success.

    Re-run: safe; equal content leaves the file untouched, newer content of the same day replaces it.
    Raises StaleInput for a past day without a file, RequestRefused for a day to come, SourceMissing or
    SourceUnavailable for the share, ContractViolation for a workbook that is none or lacks sheet, headers, rows, or
    half of the earlier rows, SourceChanging while it is being saved, AlreadyRunning, StoreFull.
    """
    with data.recording(JOB, day) as run, locks.hold(data.files_lock, JOB):
        target = data.daily / workbook.dated_name(day)
        if day != today:
            return _keep_past_day(target, day, today, run)
        for name in workbook.list_almost_dated(data.daily):
            run.warn(f"{data.daily / name} looks like a dated workbook but is not named like one; it is ignored.")
        with tempfile.TemporaryDirectory(prefix="commercial-log-") as folder:
            fetched_to = Path(folder) / "source.xlsx"
            with run.phase("fetch from the share", percent=25), share as opened:
                fetched = shares.fetch(opened, shares.resolve(opened, settings.workbook), fetched_to)
            return _publish(fetched, fetched_to, data, run, settings, day=day, allow_shrink=allow_shrink)


def _keep_past_day(target: Path, day: date, today: date, run: RunLog) -> StepResult:
    refuse_day_to_come(
        day, today, what="commercial_log", next_step="Trigger the import without a date, or with today's."
    )
    if not target.is_file():
        raise StaleInput(
            f"commercial_log: there is no {target.name} and the workbook on the share only holds the current state, "
            f"not that of {day}.",
            next_step="Restore the file from a backup of the data folder, or go on with a later day.",
        )
    run.say(f"{target.name} exists and {day} is over: left as it is")
    rows = workbook.data_rows_of(target)
    return StepResult(where=str(target), read=rows, facts={"action": "kept", "day": str(day)})


@dataclass(frozen=True)
class _Copy:
    extracted: ExtractedSheets
    rows: int
    columns: int


def _publish(
    fetched: FetchedFile,
    source: Path,
    data: DataRoot,
    run: RunLog,
    settings: Settings,
    *,
    day: date,
    allow_shrink: bool,
) -> StepResult:
    target = data.daily / workbook.dated_name(day)
    existed = target.is_file()
    with temporary_beside(target) as temporary:
        with run.phase("copy and verify", percent=75):
            made = _copy_sheet(source, temporary, fetched, settings, run)
        _check_rows(made.rows, data, fetched.source, run, day=day, allow_shrink=allow_shrink)
        sha256 = sha256_of(temporary)
        size = temporary.stat().st_size
        unchanged = existed and sha256_of(target) == sha256
        if not unchanged:
            publish(temporary, target)
    if existed and not unchanged:
        run.warn(f"{target.name} existed already; it was replaced by the workbook saved since.")
    action = "unchanged" if unchanged else "replaced" if existed else "created"
    workbook.write_sidecar(target, workbook.Sidecar(made.rows, sha256, size, fetched.source, fetched.mtime))
    run.say(
        f"100 % | {action} {target.name}: {made.rows:,} rows, {made.columns} columns, {size:,} bytes, "
        f"sheets of the source: {', '.join(made.extracted.sheets_found)}"
    )
    run.facts["rows"] = made.rows
    return StepResult(
        where=str(target),
        read=made.rows,
        written=0 if unchanged else made.rows,
        bytes=size,
        warnings=tuple(run.warnings),
        facts={"action": action, "day": str(day), "sha256": sha256, **run.durations},
    )


def _copy_sheet(source: Path, copy: Path, fetched: FetchedFile, settings: Settings, run: RunLog) -> _Copy:
    sheets = tuple(dict.fromkeys((contract.SHEET, *settings.sheets)))
    extracted = extract_sheets(source, copy, sheets, name=fetched.source)
    if extracted.formulas_without_value:
        run.warn(
            f"{fetched.source}: {extracted.formulas_without_value} formula cells carry no calculated value and count "
            "as empty."
        )
    sheet = workbook.outline(copy, extracted.plain, name=fetched.source)
    for other in sheets[1:]:
        if workbook.read_sheet(source, (other,), name=fetched.source).header.positions != sheet.header.positions:
            raise ContractViolation(
                f"{fetched.source}: the columns of sheet '{other}' stand in another order than those of "
                f"'{contract.SHEET}', so its rows cannot follow.",
                next_step="Ask traffic to arrange the columns alike, or take the sheet out of the setting 'sheets'.",
            )
    if sheet.header.unknown:
        run.warn(f"{fetched.source}: columns outside the contract are ignored: {', '.join(sheet.header.unknown)}.")
    return _Copy(extracted, sheet.data_rows, len(sheet.header.positions))


def _check_rows(rows: int, data: DataRoot, source: str, run: RunLog, *, day: date, allow_shrink: bool) -> None:
    if rows == 0:
        raise ContractViolation(
            f"{source}, sheet '{contract.SHEET}' has no data rows; {workbook.dated_name(day)} was not written.",
            next_step="Ask traffic whether the sheet was emptied; when it is filled again, clear the task.",
        )
    earlier = [path for dated, path in workbook.list_dated(data.daily).items() if dated < day]
    if allow_shrink or not earlier:
        return
    for path in reversed(earlier):
        try:
            before = workbook.data_rows_of(path)
        except ContractViolation:
            run.warn(
                f"{path} cannot be read, so the new workbook is compared with an earlier one; restore or remove it."
            )
            continue
        if rows < SMALLEST_SHARE_OF_EARLIER * before:
            raise ContractViolation(
                f"{source}, sheet '{contract.SHEET}' has {rows:,} data rows, fewer than half of the {before:,} in "
                f"{path.name}; {workbook.dated_name(day)} was not written.",
                next_step="Ask traffic whether that is right; if so, trigger the import with allow_shrink.",
            )
        return
