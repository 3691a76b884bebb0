"""The subscription lifecycle by hand: every step the DAGs run, and what operators ask in between."""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.common.days import requested_bounds, requested_days
from include.common.objectstores import FolderStore
from include.common.results import StepResult
from include.common.shares import LocalShare, Share
from include.cvas import backup, housekeeping, status
from include.cvas.checks_subscriptions import check_subscriptions
from include.cvas.checks_transactions import check_transactions
from include.cvas.checks_users import check_users
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import types_named
from include.cvas.counters import count_transactions, missing_days
from include.cvas.deadlines import missed_deadlines
from include.cvas.fetch import fetch_transactions
from include.cvas.gaps import find_gaps
from include.cvas.history import import_history
from include.cvas.load import load_transactions
from include.cvas.lookup import look_up
from include.cvas.mastercpc import convert_catalogue
from include.cvas.monthly import write_reports
from include.cvas.music import extract_music
from include.cvas.refunds import repair_refunds
from include.cvas.snapshots import download_snapshot
from include.cvas.user_base import aggregate_user_base
from include.cvas.view import build_subscriptions
from include.errors import CredentialRefused, RequestRefused, SourceUnavailable
from include.scripts.terminal import configured, day, exit_status, print_result, settings_from

if TYPE_CHECKING:
    import psycopg

LAKE = "CVAS_LAKE"
SETTINGS = "CVAS_SETTINGS"
SOURCE = "CVAS_SOURCE"
EPILOG = f"""\
The lake and the settings come from --lake and --settings, or else from the environment variables {LAKE} and {SETTINGS}.
There is no built-in path.
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
        """The business day: the one named, or yesterday."""
        return self.options.date or self.today - timedelta(days=1)

    @property
    def days(self) -> list[date]:
        return requested_days(
            self.day,
            named=bool(self.options.date),
            start=self.options.start,
            end=self.options.end,
            today=self.today,
            allow_partial=self.options.allow_partial,
        )

    @property
    def lake(self) -> Lake:
        root = Path(
            configured(self.options.lake, self.environment, LAKE, system="cvas", what="the lake", usage="--lake FOLDER")
        )
        # Every step makes the folders it needs: below a mistyped root as well.
        if not root.is_dir():
            raise RequestRefused(f"cvas: there is no folder {root}.", next_step="Correct the path, or make the folder.")
        return Lake(root)

    @property
    def settings(self) -> Settings:
        values = settings_from(self.options.settings, self.environment, SETTINGS, system="cvas")
        return Settings.from_mapping(values)

    @property
    def source(self) -> Callable[[], AbstractContextManager["psycopg.Connection[Any]"]]:
        address = configured(
            None, self.environment, SOURCE, system="cvas", what="the source", usage=f"a PostgreSQL address in {SOURCE}"
        )
        return partial(_open_source, address)

    @property
    def moment(self) -> dict[str, Any]:
        """What most steps are told besides their data."""
        return {"day": self.day, "now": self.now, "settings": self.settings}


@contextmanager
def _open_source(address: str) -> Iterator["psycopg.Connection[Any]"]:
    import psycopg

    try:
        session = psycopg.connect(address, connect_timeout=30)
    except psycopg.ProgrammingError:
        # What the driver says quotes the address, which may hold a password.
        raise RequestRefused(
            f"cvas: what is in {SOURCE} is no address of a PostgreSQL database.",
            next_step="Write it like postgresql://user@127.0.0.1:5432/database.",
        ) from None
    except psycopg.OperationalError as error:
        kind = CredentialRefused if "authentication" in str(error) else SourceUnavailable
        raise kind(
            f"cvas: no session with the database in {SOURCE} ({type(error).__name__}).",
            next_step="Check the address, the password (PGPASSWORD or ~/.pgpass) and the tunnel (ssh -L).",
        ) from None
    with closing(session):
        yield session


@contextmanager
def _open_share(folder: Path) -> Iterator[Share]:
    yield LocalShare(str(folder), folder)


def _status(call: _Call) -> None:
    if call.options.data:
        print(status.render_day(status.report_day(call.lake, day=call.options.data)))
    else:
        print(status.render_status(status.report_status(call.lake, now=call.now, today=call.today)))


def _deadlines(call: _Call) -> int:
    missed = missed_deadlines(call.lake, day=call.day, now=call.now)
    print("\n".join(missed) or "Everything that is due is done.")
    return bool(missed)


def _look_up(call: _Call) -> None:
    options = call.options
    print(
        look_up(
            call.lake,
            subscription_id=options.subscription,
            user_id=options.user,
            phone=options.phone,
            settings=call.settings,
        )
    )


def _user_base(call: _Call) -> None:
    if call.options.share:
        print_result(
            download_snapshot(
                _open_share(call.options.share), call.lake, today=call.today, force=call.options.force, **call.moment
            )
        )
    print_result(aggregate_user_base(call.lake, **call.moment))


def _fetch(call: _Call) -> None:
    for each in call.days:
        print_result(
            fetch_transactions(
                call.source,
                call.lake,
                types=types_named(call.options.types),
                allow_empty=call.options.allow_empty,
                partial=each == call.today,
                **call.moment | {"day": each},
            )
        )


def _load(call: _Call) -> None:
    for each in call.days:
        print_result(
            load_transactions(
                call.lake,
                force=call.options.force,
                upsert=call.options.upsert,
                allow_partial=call.options.allow_partial,
                **call.moment | {"day": each},
            )
        )


def _view(call: _Call) -> None:
    options = call.options
    print_result(
        build_subscriptions(call.lake, full=options.full, force=options.force, as_of=options.as_of, **call.moment)
    )


def _count(call: _Call) -> None:
    days = missing_days(call.lake) if call.options.missing else call.days
    print_result(count_transactions(call.lake, days=days, force=call.options.force, **call.moment))


def _check(call: _Call) -> int:
    lake, moment = call.lake, call.moment
    checks: Mapping[str, Callable[[], StepResult]] = {
        "transactions": lambda: check_transactions(lake, today=call.today, **moment),
        "subscriptions": lambda: check_subscriptions(lake, today=call.today, **moment),
        "users": lambda: check_users(lake, **moment),
    }
    if unknown := sorted(set(call.options.checks) - checks.keys()):
        raise RequestRefused(f"cvas has no check {', '.join(unknown)}.", next_step=f"Use some of: {', '.join(checks)}.")

    def check(name: str) -> int:
        return exit_status(lambda: print_result(checks[name]()))

    # All of them, whatever the first finds.
    return max([check(name) for name in call.options.checks or checks])


def _gaps(call: _Call) -> None:
    since, until = requested_bounds(start=call.options.start, end=call.options.end, today=call.today)
    print_result(
        find_gaps(
            call.lake,
            since=since,
            until=until,
            types=types_named(call.options.types),
            now=call.now,
            settings=call.settings,
            confirm_empty=call.options.confirm_empty,
        )
    )


def _clear_day(call: _Call) -> None:
    print_result(housekeeping.clear_day(call.lake, **call.moment))


def _mastercpc(call: _Call) -> None:
    print_result(convert_catalogue(call.options.workbook, call.lake, allow_lost=call.options.allow_lost, **call.moment))


def _historical_import(call: _Call) -> None:
    result = import_history(
        call.lake,
        call.options.folder,
        types=types_named(call.options.types),
        days_only=call.options.days_only,
        force=call.options.force,
        **call.moment,
    )
    print_result(result)


def _repair_refunds(call: _Call) -> None:
    print_result(repair_refunds(call.lake, dry_run=call.options.dry_run, **call.moment))


def _music(call: _Call) -> None:
    print_result(extract_music(call.lake, **call.moment))


def _monthly_reports(call: _Call) -> None:
    print_result(write_reports(call.lake, **call.moment))


def _clean_up(call: _Call) -> None:
    print_result(housekeeping.clean_up(call.lake, today=call.today, **call.moment))


def _backup(call: _Call) -> None:
    print_result(backup.back_up(FolderStore(call.options.backup_folder), call.lake, **call.moment))


def _backups(call: _Call) -> None:
    print("\n".join(backup.list_backups(FolderStore(call.options.backup_folder))) or "none")


def _restore(call: _Call) -> None:
    if not call.options.confirm:
        raise RequestRefused(
            "cvas: restoring replaces view, catalogue and state.", next_step="Add --confirm if that is what you want."
        )
    store = FolderStore(call.options.backup_folder)
    print_result(backup.restore_backup(store, call.lake, name=call.options.name, **call.moment))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.scripts cvas", description=__doc__, epilog=EPILOG)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    places = argparse.ArgumentParser(add_help=False)
    group = places.add_argument_group("places")
    group.add_argument("--lake", metavar="FOLDER", help=f"the folder of lake, snapshots and daily files (or {LAKE})")
    group.add_argument("--settings", metavar="JSON", help=f"as in the Airflow variable cvas_settings (or {SETTINGS})")
    dated = argparse.ArgumentParser(add_help=False)
    dated.add_argument("--date", type=day, metavar="YYYY-MM-DD", help="the business day; default yesterday in Madrid")
    ranged = argparse.ArgumentParser(add_help=False)
    ranged.add_argument("--start", metavar="YYYY-MM-DD", help="first of several days")
    ranged.add_argument("--end", metavar="YYYY-MM-DD", help="last of several days, included")
    typed = argparse.ArgumentParser(add_help=False)
    typed.add_argument("--types", default="all", metavar="TYPES", help="all, or some of ACT,RENO,DCT,PPD,CNR,RFND")
    stored = argparse.ArgumentParser(add_help=False)
    stored.add_argument("--backup-folder", type=Path, metavar="FOLDER", required=True, help="where the backups lie")

    def add(
        name: str, run: Callable[[_Call], int | None], text: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[*parents, places]
        )
        command.set_defaults(run=run, **dict.fromkeys(("date", "start", "end")), allow_partial=False)
        return command

    report = add("status", _status, "how far every stage is, what the lake holds, what needs attention")
    report.add_argument("--data", type=day, metavar="YYYY-MM-DD", help="one day, its files against the lake")
    add("deadlines", _deadlines, "what should be done by now; exit status 1 if something is late", dated)
    search = add("look-up", _look_up, "everything about one subscriber; shows personal data")
    asked = search.add_mutually_exclusive_group(required=True)
    asked.add_argument("--subscription", type=int, metavar="ID")
    asked.add_argument("--user", metavar="ID")
    asked.add_argument("--phone", metavar="NUMBER", help="with or without the country code")

    base = add("user-base", _user_base, "keep the day's snapshot and aggregate all of them", dated)
    base.add_argument(
        "--share", type=Path, metavar="FOLDER", help="where the snapshot lies; without it: only aggregate"
    )
    base.add_argument("--force", action="store_true", help="accept a total that differs by more than 20 %%")
    fetching = add("fetch", _fetch, f"fetch days from the database whose address is in {SOURCE}", dated, ranged, typed)
    fetching.add_argument("--allow-empty", action="store_true", help="accept a day without activations and renewals")
    fetching.add_argument("--allow-partial", action="store_true", help="fetch today as far as it is")
    loading = add("load", _load, "replace days in the lake by their six files", dated, ranged)
    loading.add_argument("--force", action="store_true", help="accept fewer than half of a day's rows")
    loading.add_argument("--upsert", action="store_true", help="keep rows the files do not have")
    loading.add_argument("--allow-partial", action="store_true", help="load files of a day that was not over")
    view = add("view", _view, "bring the subscription view up to date", dated)
    view.add_argument("--full", action="store_true", help="build it from nothing")
    view.add_argument(
        "--force", action="store_true", help="accept fewer subscriptions or renewals than before, and what was lost"
    )
    view.add_argument(
        "--as-of", type=day, metavar="YYYY-MM-DD", help="the day lifetimes end with; default: by the lake"
    )
    counting = add("count", _count, "count days per price point and service", dated, ranged)
    counting.add_argument("--missing", action="store_true", help="every day of the lake that was never counted")
    counting.add_argument("--force", action="store_true", help="count again what is there")

    checking = add("check", _check, "check lake, view and users; exit status 1 if something is wrong", dated)
    checking.add_argument("checks", nargs="*", metavar="CHECK", help="transactions, subscriptions, users; default all")
    gaps = add("gaps", _gaps, "days without rows", typed, ranged)
    gaps.add_argument("--confirm-empty", action="store_true", help="record that the source has nothing for them")
    clearing = add("clear-day", _clear_day, "remove the fetched files of a day, so that they are fetched anew")
    clearing.add_argument("date", type=day, metavar="YYYY-MM-DD")

    catalogue = add("mastercpc", _mastercpc, "make MASTERCPC.csv from the catalogue workbook", dated)
    catalogue.add_argument("workbook", type=Path, metavar="FILE")
    catalogue.add_argument("--allow-lost", action="store_true", help="accept that price points are gone")
    history = add("historical-import", _historical_import, "build the history anew from a folder", dated, typed)
    history.add_argument("folder", type=Path, metavar="FOLDER", help="of <type>_atlas*.csv files")
    history.add_argument("--days-only", action="store_true", help="replace only the days that the files have")
    history.add_argument("--force", action="store_true", help="accept days with less than half of their rows")
    repair = add("repair-refunds", _repair_refunds, "move refunds without a month to where they belong", dated)
    repair.add_argument("--dry-run", action="store_true", help="only show the plan")
    add("music", _music, "extract the subscriptions of music services", dated)
    add("monthly-reports", _monthly_reports, "refunds, revenue and lifetimes by month", dated)

    add("clean-up", _clean_up, "delete old logs, reports and loaded files; report the disk", dated)
    add("backup", _backup, "copy view, catalogue and state to the backup folder, verified", stored, dated)
    add("backups", _backups, "list the backups", stored)
    restore = add("restore", _restore, "put view, catalogue and state of a backup in place", stored, dated)
    restore.add_argument("--name", metavar="BACKUP", help="one that the command backups lists; default the newest")
    restore.add_argument("--confirm", action="store_true", help="yes, replace them")
    return parser
