"""The commercial log by hand: every step the DAGs run, and what operators ask in between."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import get_args

from include.commercial_log import backup, review, status
from include.commercial_log.choice import Mode
from include.commercial_log.config import ZONE, DataRoot, Settings
from include.commercial_log.database import open_database
from include.commercial_log.extract import copy_workbook
from include.commercial_log.grid import classify_grid
from include.commercial_log.load import load_bookings
from include.commercial_log.months import close_months
from include.commercial_log.rotation import rotate_files
from include.common.results import StepResult
from include.common.shares import open_folder
from include.common.tables import render_table, words
from include.errors import AlreadyRunning
from include.scripts.terminal import (
    BACKUP_NAME,
    Call,
    CommandLine,
    backup_folder,
    count,
    day_option,
    flag,
    one_of,
    option,
    print_result,
    table,
)

DATABASE, DATA_ROOT = "database", "data_root"
DATE = day_option("--date", "the run date; default today at the station")
DRY_RUN = flag("--dry-run", "report everything, write nothing")

main = CommandLine(
    "commercial_log",
    __doc__,
    zone=ZONE,
    places={DATABASE: "the booked-business database", DATA_ROOT: "the folder of raw, exports and logs"},
)


@contextmanager
def _opened(call: Call, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
    with closing(open_database(call.path(DATABASE), read_only=read_only)) as db:
        yield db


def _data(call: Call) -> DataRoot:
    return DataRoot(call.folder(DATA_ROOT, if_new="run the command init first"))


def _day(call: Call) -> date:
    return call.options.date or call.today


@main.command(
    "status",
    "what needs attention, how fresh the data is, how the jobs went",
    backup_folder("also count the backups there", required=False),
)
def _status(call: Call) -> None:
    store = nullcontext(call.options.store) if call.options.store else None
    with _opened(call, read_only=True) as db:
        report = status.report_status(db, _data(call), store=store, today=call.today, now=call.now)
    print(status.render_status(report))


@main.command("storage", "workbooks, archives, database and free disk")
def _storage(call: Call) -> None:
    with _opened(call, read_only=True) as db:
        print(status.render_storage(status.storage_report(db, _data(call))))


@main.command("months", "every broadcast month: open or closed, spots, revenue")
def _months(call: Call) -> None:
    with _opened(call, read_only=True) as db:
        cursor = db.execute("SELECT * FROM v_month_status")
        names = [column[0] for column in cursor.description]
        months = [dict(zip(names, row, strict=True)) for row in cursor]
    for month in months:
        del month["month_start_date"]
        month["last_load_(UTC)"] = month.pop("last_load")
    print(table(months))


@main.command("languages", "how the spots got their language, and the codes that are none")
def _languages(call: Call) -> None:
    with _opened(call, read_only=True) as db:
        found = review.language_status(db)
        invalid = review.invalid_codes(db)
    print(table(found.pop("rows")))
    print()
    print(render_table((), [(words(name), value) for name, value in found.items()]))
    if invalid:
        print("\nCodes that are no language:")
        print(table([code._asdict() for code in invalid]))


@main.command(
    "history",
    "the last loads: file, status, counts, months",
    option("--last", type=count, default=20, metavar="N", help="how many; default 20"),
)
def _history(call: Call) -> None:
    with _opened(call, read_only=True) as db:
        batches = status.import_history(db, last=call.options.last)
    if not batches:
        print("No workbook has been loaded yet.")
        return
    shown = (
        "batch_id",
        "status",
        "source_file",
        "records_imported",
        "records_deleted",
        "rows_inserted",
        "rows_removed",
    )
    rows = [
        {
            **{name: batch[name] for name in shown},
            "months": f"{batch['months'][0]} to {batch['months'][-1]}" if batch["months"] else None,
        }
        for batch in batches
    ]
    print(table(rows))
    for batch in batches:
        if batch["error_summary"]:
            print(f"\n{batch['batch_id']}: {batch['error_summary']}")


@main.command("validate", "check the file, its references and the closed months; exit status 1 if in doubt")
def _validate(call: Call) -> int:
    with _opened(call, read_only=True) as db:
        result = status.validate_database(db, today=call.today)
    print(table([{"year": year, **sums} for year, sums in result.facts["years"].items()]))
    print("The file and its references are sound.")
    for warning in result.warnings:
        print(f"WARNING: {warning}")
    return 1 if result.warnings else 0


@main.command("init", "make the data root and the database, or bring its schema up to date")
def _init(call: Call) -> None:
    root = call.path(DATA_ROOT)
    database = call.path(DATABASE)
    root.mkdir(parents=True, exist_ok=True)
    open_database(database, create=True).close()
    print(f"Database {database} and data root {root} are ready.")


@main.command(
    "import",
    "copy the workbook of the share to the dated file of today",
    DATE,
    option("--share", type=Path, required=True, metavar="FOLDER", help="the mounted root of the share"),
    flag("--allow-shrink", "accept fewer than half of the earlier rows"),
)
def _import(call: Call) -> StepResult:
    return copy_workbook(
        open_folder(call.options.share),
        _data(call),
        day=_day(call),
        today=call.today,
        settings=call.settings(Settings),
        allow_shrink=call.options.allow_shrink,
    )


@main.command(
    "update",
    "replace the open months by the newest dated workbook",
    DATE,
    DRY_RUN,
    option("--data-file", type=Path, metavar="FILE", help="load this dated workbook"),
    flag("--force-stale", "load an older day over a newer one"),
    option("--max-rejects", type=count, metavar="N", help="rejected rows to accept"),
)
def _update(call: Call) -> None:
    settings = call.settings(Settings)
    if call.options.max_rejects is not None:
        settings = replace(settings, max_rejects=call.options.max_rejects)
    loaded = load_bookings(
        _opened(call),
        _data(call),
        day=_day(call),
        now=call.now,
        settings=settings,
        data_file=call.options.data_file,
        force_stale=call.options.force_stale,
        dry_run=call.options.dry_run,
        started_by=call.user,
    )
    print_result(loaded)
    if not call.options.dry_run:
        _classify(call, settings, list(loaded.facts["months"]))


@main.command(
    "historical-import",
    "load all months of a workbook and close them",
    DRY_RUN,
    option("--data-file", type=Path, required=True, metavar="FILE"),
    option("--closed-by", metavar="NAME", help="whoever closes the months"),
    option("--year", type=count, metavar="YYYY", help="refuse a file with months of another year"),
    flag("--confirm-loss", "yes, also months that are not over or keep fewer than half"),
    one_of(
        flag("--skip-closed", "leave closed months alone and close none"),
        flag("--refuse-closed", "refuse a file with a closed month and close none"),
    ),
)
def _historical_import(call: Call) -> None:
    options = call.options
    settings = call.settings(Settings)
    mode: Mode = "WEEKLY_UPDATE" if options.skip_closed else "MANUAL" if options.refuse_closed else "HISTORICAL"
    loaded = load_bookings(
        _opened(call),
        _data(call),
        day=call.today,
        now=call.now,
        settings=settings,
        mode=mode,
        recap=True,
        data_file=options.data_file,
        closed_by=options.closed_by,
        expected_year=options.year,
        confirm_loss=options.confirm_loss,
        dry_run=options.dry_run,
        started_by=call.user,
    )
    print_result(loaded)
    if not options.dry_run:
        _classify(call, settings, list(loaded.facts["months"]))


def _classify(call: Call, settings: Settings, months: list[str] | None = None) -> None:
    """Place the spots of the months, of all when None, in the programme grid, where the installation wants it."""
    if settings.grid_classification:
        print()
        with _opened(call) as db:
            print_result(classify_grid(db, months=months, now=call.now))


@main.command(
    "close-month",
    "close broadcast months for good",
    option("months", nargs="+", metavar="MONTH", help="like Sep-25"),
    option("--closed-by", required=True, metavar="NAME"),
    option("--notes", metavar="TEXT"),
)
def _close_month(call: Call) -> StepResult:
    options = call.options
    return close_months(
        _opened(call), _data(call), options.months, closed_by=options.closed_by, today=call.today, notes=options.notes
    )


@main.command("rotate", "archive old workbooks, delete old archives", DATE)
def _rotate(call: Call) -> StepResult:
    return rotate_files(_data(call), day=_day(call), today=call.today, settings=call.settings(Settings))


@main.command("backup", "snapshot the database into the backup folder, verified", backup_folder())
def _backup(call: Call) -> StepResult | None:
    try:
        return backup.back_up_database(
            call.path(DATABASE),
            call.options.store,
            _data(call),
            day=call.today,
            now=call.now.astimezone(ZONE),
            settings=call.settings(Settings),
        )
    except AlreadyRunning as error:
        print(f"Skipped: {error.what}")
        return None


@main.command("backups", "list the backups", backup_folder())
def _backups(call: Call) -> None:
    store = call.options.store
    print("\n".join(backup.list_backups(store)) or f"There is no backup in {store.where}.")


@main.command("verify-backup", "fetch a backup and check it from end to end", backup_folder(), BACKUP_NAME)
def _verify_backup(call: Call) -> StepResult:
    return backup.verify_backup(call.options.store, _data(call), name=call.options.name, day=call.today)


@main.command(
    "restore",
    "replace the database by a backup",
    backup_folder(),
    BACKUP_NAME,
    flag("--confirm", "yes, replace the database"),
)
def _restore(call: Call) -> StepResult:
    return backup.restore_database(
        call.path(DATABASE),
        call.options.store,
        _data(call),
        confirm=call.options.confirm,
        name=call.options.name,
        now=call.now.astimezone(ZONE),
        day=call.today,
    )


@main.command(
    "review-export",
    "write the review queue to a CSV file below exports",
    option("--filter", choices=get_args(review.Filter), default="all"),
)
def _review_export(call: Call) -> StepResult:
    database = _opened(call, read_only=True)
    return review.export_review_queue(database, _data(call), filter=call.options.filter, day=call.today)


@main.command(
    "set-language",
    "decide the language of spots for good",
    option("--spots", type=int, nargs="+", required=True, metavar="ID"),
    option("--language", required=True, metavar="CODE"),
    option("--decided-by", required=True, metavar="NAME"),
    option("--note", required=True, metavar="TEXT", help="why"),
)
def _set_language(call: Call) -> StepResult:
    options = call.options
    return review.set_language(
        _opened(call),
        _data(call),
        spot_ids=options.spots,
        language_code=options.language,
        decided_by=options.decided_by,
        note=options.note,
        now=call.now,
        day=call.today,
    )


@main.command(
    "recategorise",
    "decide category and language of every spot anew, manual ones aside",
    flag("--confirm", "yes, all months, closed ones included"),
)
def _recategorise(call: Call) -> None:
    settings, confirm = call.settings(Settings), call.options.confirm
    print_result(review.recategorise_all(_opened(call), _data(call), confirm=confirm, now=call.now, day=call.today))
    _classify(call, settings)


@main.command("clean-up", "mark the batches of killed runs as failed")
def _clean_up(call: Call) -> StepResult:
    return status.clean_up_batches(_opened(call), _data(call), now=call.now)
