"""The commercial log by hand: every step the DAGs run, and what operators ask in between."""

import argparse
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import date, datetime
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
from include.common.objectstores import FolderStore
from include.common.shares import LocalShare
from include.common.tables import render_table, words
from include.errors import AlreadyRunning, RequestRefused
from include.scripts.terminal import configured, count, day, exit_status, print_result, settings_from, table

DATABASE = "COMMERCIAL_LOG_DATABASE"
DATA_ROOT = "COMMERCIAL_LOG_DATA_ROOT"
SETTINGS = "COMMERCIAL_LOG_SETTINGS"
EPILOG = f"""\
The database, the data root and the settings come from --database, --data-root and --settings, or else from the
environment variables {DATABASE}, {DATA_ROOT} and {SETTINGS}. There is no built-in path.
"""


def main(arguments: Sequence[str], *, environment: Mapping[str, str], now: datetime) -> int:
    """Run one command; its exit status. Raises SystemExit as argparse does, with 2 for options that do not exist."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: options.run(_Call(options, environment, now)))


@dataclass(frozen=True)
class _Call:
    """One command as it was given, and the places it is about."""

    options: argparse.Namespace
    environment: Mapping[str, str]
    now: datetime

    @property
    def today(self) -> date:
        return self.now.astimezone(ZONE).date()

    @property
    def day(self) -> date:
        return self.options.date or self.today

    @property
    def database(self) -> Path:
        return Path(self._configured(self.options.database, DATABASE, "the database", "--database FILE"))

    @property
    def data(self) -> DataRoot:
        # Every step makes the folders it needs: below a mistyped root as well.
        data = self.data_root
        if not data.root.is_dir():
            raise RequestRefused(
                f"commercial_log: there is no data root {data.root}.",
                next_step="Correct the path; for a new installation, run the command init first.",
            )
        return data

    @property
    def data_root(self) -> DataRoot:
        return DataRoot(
            Path(self._configured(self.options.data_root, DATA_ROOT, "the data root", "--data-root FOLDER"))
        )

    @property
    def settings(self) -> Settings:
        values = settings_from(self.options.settings, self.environment, SETTINGS, system="commercial_log")
        return Settings.from_mapping(values)

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.options.backup_folder)

    @property
    def user(self) -> str:
        return self.environment.get("USER") or "command line"

    @contextmanager
    def open(self, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
        with closing(open_database(self.database, read_only=read_only)) as db:
            yield db

    def _configured(self, option: str | None, variable: str, what: str, usage: str) -> str:
        return configured(option, self.environment, variable, system="commercial_log", what=what, usage=usage)


def _status(call: _Call) -> None:
    store = nullcontext(call.store) if call.options.backup_folder else None
    with call.open(read_only=True) as db:
        report = status.report_status(db, call.data, store=store, today=call.today, now=call.now)
    print(status.render_status(report))


def _storage(call: _Call) -> None:
    with call.open(read_only=True) as db:
        print(status.render_storage(status.storage_report(db, call.data)))


def _months(call: _Call) -> None:
    with call.open(read_only=True) as db:
        cursor = db.execute("SELECT * FROM v_month_status")
        names = [column[0] for column in cursor.description]
        months = [dict(zip(names, row, strict=True)) for row in cursor]
    for month in months:
        del month["month_start_date"]
        month["last_load_(UTC)"] = month.pop("last_load")
    print(table(months))


def _languages(call: _Call) -> None:
    with call.open(read_only=True) as db:
        found = review.language_status(db)
        invalid = review.invalid_codes(db)
    print(table(found.pop("rows")))
    print()
    print(render_table((), [(words(name), value) for name, value in found.items()]))
    if invalid:
        print("\nCodes that are no language:")
        print(table([code._asdict() for code in invalid]))


def _history(call: _Call) -> None:
    with call.open(read_only=True) as db:
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


def _validate(call: _Call) -> int:
    with call.open(read_only=True) as db:
        result = status.validate_database(db, today=call.today)
    print(table([{"year": year, **sums} for year, sums in result.facts["years"].items()]))
    print("The file and its references are sound.")
    for warning in result.warnings:
        print(f"WARNING: {warning}")
    return 1 if result.warnings else 0


def _init(call: _Call) -> None:
    root = call.data_root.root
    database = call.database
    root.mkdir(parents=True, exist_ok=True)
    open_database(database, create=True).close()
    print(f"Database {database} and data root {root} are ready.")


def _import(call: _Call) -> None:
    share = LocalShare(str(call.options.share), call.options.share)
    print_result(
        copy_workbook(
            nullcontext(share),
            call.data,
            day=call.day,
            today=call.today,
            settings=call.settings,
            allow_shrink=call.options.allow_shrink,
        )
    )


def _update(call: _Call) -> None:
    settings = call.settings
    if call.options.max_rejects is not None:
        settings = replace(settings, max_rejects=call.options.max_rejects)
    loaded = load_bookings(
        call.open(),
        call.data,
        day=call.day,
        now=call.now,
        settings=settings,
        data_file=call.options.data_file,
        force_stale=call.options.force_stale,
        dry_run=call.options.dry_run,
        started_by=call.user,
    )
    print_result(loaded)
    if settings.grid_classification and not call.options.dry_run:
        print()
        with call.open() as db:
            print_result(classify_grid(db, months=list(loaded.facts["months"]), now=call.now))


def _historical_import(call: _Call) -> None:
    mode: Mode = call.options.mode
    print_result(
        load_bookings(
            call.open(),
            call.data,
            day=call.today,
            now=call.now,
            settings=call.settings,
            mode=mode,
            recap=True,
            data_file=call.options.data_file,
            closed_by=call.options.closed_by,
            expected_year=call.options.year,
            confirm_loss=call.options.confirm_loss,
            dry_run=call.options.dry_run,
            started_by=call.user,
        )
    )


def _close_month(call: _Call) -> None:
    options = call.options
    print_result(
        close_months(
            call.open(), call.data, options.months, closed_by=options.closed_by, today=call.today, notes=options.notes
        )
    )


def _rotate(call: _Call) -> None:
    print_result(rotate_files(call.data, day=call.day, today=call.today, settings=call.settings))


def _backup(call: _Call) -> None:
    try:
        result = backup.back_up_database(
            call.database,
            call.store,
            call.data,
            day=call.today,
            now=call.now.astimezone(ZONE),
            settings=call.settings,
        )
    except AlreadyRunning as error:
        print(f"Skipped: {error.what}")
        return
    print_result(result)


def _backups(call: _Call) -> None:
    names = backup.list_backups(call.store)
    print("\n".join(names) if names else f"There is no backup in {call.store.where}.")


def _verify_backup(call: _Call) -> None:
    print_result(backup.verify_backup(call.store, call.data, name=call.options.name, day=call.today))


def _restore(call: _Call) -> None:
    if not call.options.confirm:
        raise RequestRefused(
            "commercial_log: restoring replaces the whole database.",
            next_step="Add --confirm if that is what you want.",
        )
    print_result(
        backup.restore_database(
            call.database,
            call.store,
            call.data,
            name=call.options.name,
            now=call.now.astimezone(ZONE),
            day=call.today,
        )
    )


def _review_export(call: _Call) -> None:
    database = call.open(read_only=True)
    print_result(review.export_review_queue(database, call.data, filter=call.options.filter, day=call.today))


def _set_language(call: _Call) -> None:
    options = call.options
    print_result(
        review.set_language(
            call.open(),
            call.data,
            spot_ids=options.spots,
            language_code=options.language,
            decided_by=options.decided_by,
            note=options.note,
            now=call.now,
            day=call.today,
        )
    )


def _recategorise(call: _Call) -> None:
    confirm = call.options.confirm
    print_result(review.recategorise_all(call.open(), call.data, confirm=confirm, now=call.now, day=call.today))


def _clean_up(call: _Call) -> None:
    print_result(status.clean_up_batches(call.open(), call.data, now=call.now))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m include.scripts commercial_log", description=__doc__.split("\n")[0], epilog=EPILOG
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    places = argparse.ArgumentParser(add_help=False)
    group = places.add_argument_group("places")
    group.add_argument("--database", metavar="FILE", help=f"the booked-business database (or {DATABASE})")
    group.add_argument("--data-root", metavar="FOLDER", help=f"the folder of raw, exports and logs (or {DATA_ROOT})")
    group.add_argument("--settings", metavar="JSON", help=f"as in the Airflow variable (or {SETTINGS})")
    dated = argparse.ArgumentParser(add_help=False)
    dated.add_argument("--date", type=day, metavar="YYYY-MM-DD", help="the run date; default today at the station")
    stored = argparse.ArgumentParser(add_help=False)
    stored.add_argument("--backup-folder", type=Path, metavar="FOLDER", required=True, help="where the backups lie")
    dry = argparse.ArgumentParser(add_help=False)
    dry.add_argument("--dry-run", action="store_true", help="report everything, write nothing")

    def add(
        name: str,
        run: Callable[[_Call], int | None],
        text: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[*parents, places]
        )
        command.set_defaults(run=run, date=None)
        return command

    report = add("status", _status, "what needs attention, how fresh the data is, how the jobs went")
    report.add_argument("--backup-folder", type=Path, metavar="FOLDER", help="also count the backups there")
    add("storage", _storage, "workbooks, archives, database and free disk")
    add("months", _months, "every broadcast month: open or closed, spots, revenue")
    add("languages", _languages, "how the spots got their language, and the codes that are none")
    history = add("history", _history, "the last loads: file, status, counts, months")
    history.add_argument("--last", type=count, default=20, metavar="N", help="how many; default 20")
    add("validate", _validate, "check the file, its references and the closed months; exit status 1 if in doubt")

    add("init", _init, "make the data root and the database, or bring its schema up to date")
    copying = add("import", _import, "copy the workbook of the share to the dated file of today", dated)
    copying.add_argument("--share", type=Path, required=True, metavar="FOLDER", help="the mounted root of the share")
    copying.add_argument("--allow-shrink", action="store_true", help="accept fewer than half of the earlier rows")
    update = add("update", _update, "replace the open months by the newest dated workbook", dated, dry)
    update.add_argument("--data-file", type=Path, metavar="FILE", help="load this dated workbook")
    update.add_argument("--force-stale", action="store_true", help="load an older day over a newer one")
    update.add_argument("--max-rejects", type=count, metavar="N", help="rejected rows to accept")
    history_import = add("historical-import", _historical_import, "load all months of a workbook and close them", dry)
    history_import.add_argument("--data-file", type=Path, required=True, metavar="FILE")
    history_import.add_argument("--closed-by", metavar="NAME", help="whoever closes the months")
    history_import.add_argument("--year", type=count, metavar="YYYY", help="refuse a file with months of another year")
    history_import.add_argument(
        "--confirm-loss", action="store_true", help="yes, also months that are not over or keep fewer than half"
    )
    closed = history_import.add_mutually_exclusive_group()
    closed.add_argument(
        "--skip-closed",
        dest="mode",
        action="store_const",
        const="WEEKLY_UPDATE",
        default="HISTORICAL",
        help="leave closed months alone and close none",
    )
    closed.add_argument(
        "--refuse-closed",
        dest="mode",
        action="store_const",
        const="MANUAL",
        help="refuse a file with a closed month and close none",
    )
    close = add("close-month", _close_month, "close broadcast months for good")
    close.add_argument("months", nargs="+", metavar="MONTH", help="like Sep-25")
    close.add_argument("--closed-by", required=True, metavar="NAME")
    close.add_argument("--notes", metavar="TEXT")

    add("rotate", _rotate, "archive old workbooks, delete old archives", dated)
    add("backup", _backup, "snapshot the database into the backup folder, verified", stored)
    add("backups", _backups, "list the backups", stored)
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", metavar="BACKUP", help="one that the command backups lists; default the newest")
    add("verify-backup", _verify_backup, "fetch a backup and check it from end to end", stored, named)
    restore = add("restore", _restore, "replace the database by a backup", stored, named)
    restore.add_argument("--confirm", action="store_true", help="yes, replace the database")

    export = add("review-export", _review_export, "write the review queue to a CSV file below exports")
    export.add_argument("--filter", choices=get_args(review.Filter), default="all")
    decision = add("set-language", _set_language, "decide the language of spots for good")
    decision.add_argument("--spots", type=int, nargs="+", required=True, metavar="ID")
    decision.add_argument("--language", required=True, metavar="CODE")
    decision.add_argument("--decided-by", required=True, metavar="NAME")
    decision.add_argument("--note", required=True, metavar="TEXT", help="why")
    again = add("recategorise", _recategorise, "decide category and language of every spot anew, manual ones aside")
    again.add_argument("--confirm", action="store_true", help="yes, all months, closed ones included")
    add("clean-up", _clean_up, "mark the batches of killed runs as failed")
    return parser
