"""The subscription lifecycle by hand: every step the DAGs run, and what operators ask in between."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.common.days import requested_bounds, requested_days
from include.common.results import StepResult
from include.common.shares import open_folder
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
from include.scripts.terminal import (
    BACKUP_NAME,
    Call,
    CommandLine,
    backup_folder,
    day_option,
    exit_status,
    flag,
    one_of,
    option,
    print_result,
)

if TYPE_CHECKING:
    import psycopg

SOURCE = "CVAS_SOURCE"
DATE = day_option("--date", "the business day; default yesterday in Madrid")
BOUNDS = (day_option("--start", "first of several days"), day_option("--end", "last of several days, included"))
TYPES = option("--types", default="all", metavar="TYPES", help="all, or some of ACT,RENO,DCT,PPD,CNR,RFND")

main = CommandLine("cvas", __doc__, zone=ZONE, places={"lake": "the folder of lake, snapshots and daily files"})


def _lake(call: Call) -> Lake:
    return Lake(call.folder("lake", if_new="make the folder"))


def _day(call: Call) -> date:
    """The business day: the one named, or yesterday."""
    return call.options.date or call.today - timedelta(days=1)


def _days(call: Call, *, allow_partial: bool = False) -> list[date]:
    return requested_days(
        _day(call),
        named=bool(call.options.date),
        start=call.options.start,
        end=call.options.end,
        today=call.today,
        allow_partial=allow_partial,
    )


def _source(call: Call) -> Callable[[], AbstractContextManager["psycopg.Connection[Any]"]]:
    address = call.environment.get(SOURCE)
    if not address:
        raise RequestRefused(
            "cvas: nobody said where the source is.", next_step=f"Set {SOURCE} to the address of a PostgreSQL database."
        )
    return partial(_opened, address)


@contextmanager
def _opened(address: str) -> Iterator["psycopg.Connection[Any]"]:
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


@main.command(
    "status",
    "how far every stage is, what the lake holds, what needs attention",
    day_option("--data", "one day, its files against the lake"),
)
def _status(call: Call) -> None:
    if call.options.data:
        print(status.render_day(status.report_day(_lake(call), day=call.options.data)))
    else:
        print(status.render_status(status.report_status(_lake(call), now=call.now, today=call.today)))


@main.command("deadlines", "what should be done by now; exit status 1 if something is late", DATE)
def _deadlines(call: Call) -> int:
    missed = missed_deadlines(_lake(call), day=_day(call), now=call.now)
    print("\n".join(missed) or "Everything that is due is done.")
    return bool(missed)


@main.command(
    "look-up",
    "everything about one subscriber; shows personal data",
    one_of(
        option("--subscription", type=int, metavar="ID"),
        option("--user", metavar="ID"),
        option("--phone", metavar="NUMBER", help="with or without the country code"),
        required=True,
    ),
)
def _look_up(call: Call) -> None:
    options = call.options
    print(
        look_up(
            _lake(call),
            subscription_id=options.subscription,
            user_id=options.user,
            phone=options.phone,
            settings=call.settings(Settings),
        )
    )


@main.command(
    "user-base",
    "keep the day's snapshot and aggregate all of them",
    DATE,
    option("--share", type=Path, metavar="FOLDER", help="where the snapshot lies; without it: only aggregate"),
    flag("--force", "accept a total that differs by more than 20 %%"),
)
def _user_base(call: Call) -> StepResult:
    if call.options.share:
        print_result(
            download_snapshot(
                open_folder(call.options.share),
                _lake(call),
                today=call.today,
                force=call.options.force,
                day=_day(call),
                now=call.now,
                settings=call.settings(Settings),
            )
        )
    return aggregate_user_base(_lake(call), day=_day(call), now=call.now, settings=call.settings(Settings))


@main.command(
    "fetch",
    f"fetch days from the database whose address is in {SOURCE}",
    DATE,
    *BOUNDS,
    TYPES,
    flag("--allow-empty", "accept a day without activations and renewals"),
    flag("--allow-partial", "fetch today as far as it is"),
)
def _fetch(call: Call) -> None:
    for each in _days(call, allow_partial=call.options.allow_partial):
        print_result(
            fetch_transactions(
                _source(call),
                _lake(call),
                types=types_named(call.options.types),
                allow_empty=call.options.allow_empty,
                partial=each == call.today,
                day=each,
                now=call.now,
                settings=call.settings(Settings),
            )
        )


@main.command(
    "load",
    "replace days in the lake by their six files",
    DATE,
    *BOUNDS,
    flag("--force", "accept fewer than half of a day's rows"),
    flag("--upsert", "keep rows the files do not have"),
    flag("--allow-partial", "load files of a day that was not over"),
)
def _load(call: Call) -> None:
    for each in _days(call, allow_partial=call.options.allow_partial):
        print_result(
            load_transactions(
                _lake(call),
                force=call.options.force,
                upsert=call.options.upsert,
                allow_partial=call.options.allow_partial,
                day=each,
                now=call.now,
                settings=call.settings(Settings),
            )
        )


@main.command(
    "view",
    "bring the subscription view up to date",
    DATE,
    flag("--full", "build it from nothing"),
    flag("--force", "accept fewer subscriptions or renewals than before, and what was lost"),
    day_option("--as-of", "the day lifetimes end with; default: by the lake"),
)
def _view(call: Call) -> StepResult:
    options = call.options
    return build_subscriptions(
        _lake(call),
        full=options.full,
        force=options.force,
        as_of=options.as_of,
        day=_day(call),
        now=call.now,
        settings=call.settings(Settings),
    )


@main.command(
    "count",
    "count days per price point and service",
    DATE,
    *BOUNDS,
    flag("--missing", "every day of the lake that was never counted"),
    flag("--force", "count again what is there"),
)
def _count(call: Call) -> StepResult:
    days = missing_days(_lake(call)) if call.options.missing else _days(call)
    return count_transactions(
        _lake(call), days=days, force=call.options.force, day=_day(call), now=call.now, settings=call.settings(Settings)
    )


@main.command(
    "check",
    "check lake, view and users; exit status 1 if something is wrong",
    DATE,
    option("checks", nargs="*", metavar="CHECK", help="transactions, subscriptions, users; default all"),
)
def _check(call: Call) -> int:
    lake, day, today, now, settings = _lake(call), _day(call), call.today, call.now, call.settings(Settings)
    checks: Mapping[str, Callable[[], StepResult]] = {
        "transactions": lambda: check_transactions(lake, day=day, today=today, now=now, settings=settings),
        "subscriptions": lambda: check_subscriptions(lake, day=day, today=today, now=now, settings=settings),
        "users": lambda: check_users(lake, day=day, now=now, settings=settings),
    }
    if unknown := sorted(set(call.options.checks) - checks.keys()):
        raise RequestRefused(f"cvas has no check {', '.join(unknown)}.", next_step=f"Use some of: {', '.join(checks)}.")

    # All of them, whatever the first finds.
    return max([exit_status(checks[name]) for name in call.options.checks or checks])


@main.command(
    "gaps", "days without rows", TYPES, *BOUNDS, flag("--confirm-empty", "record that the source has nothing for them")
)
def _gaps(call: Call) -> StepResult:
    since, until = requested_bounds(start=call.options.start, end=call.options.end, today=call.today)
    return find_gaps(
        _lake(call),
        since=since,
        until=until,
        types=types_named(call.options.types),
        now=call.now,
        settings=call.settings(Settings),
        confirm_empty=call.options.confirm_empty,
    )


@main.command(
    "clear-day", "remove the fetched files of a day, so that they are fetched anew", day_option("date", "the day")
)
def _clear_day(call: Call) -> StepResult:
    return housekeeping.clear_day(_lake(call), day=_day(call), now=call.now, settings=call.settings(Settings))


@main.command(
    "mastercpc",
    "make MASTERCPC.csv from the catalogue workbook",
    DATE,
    option("workbook", type=Path, metavar="FILE"),
    flag("--allow-lost", "accept that price points are gone"),
)
def _mastercpc(call: Call) -> StepResult:
    return convert_catalogue(
        call.options.workbook,
        _lake(call),
        allow_lost=call.options.allow_lost,
        day=_day(call),
        now=call.now,
        settings=call.settings(Settings),
    )


@main.command(
    "historical-import",
    "build the history anew from a folder",
    DATE,
    TYPES,
    option("folder", type=Path, metavar="FOLDER", help="of <type>_atlas*.csv files"),
    flag("--days-only", "replace only the days that the files have"),
    flag("--force", "accept days with less than half of their rows"),
)
def _historical_import(call: Call) -> StepResult:
    return import_history(
        _lake(call),
        call.options.folder,
        types=types_named(call.options.types),
        days_only=call.options.days_only,
        force=call.options.force,
        day=_day(call),
        now=call.now,
        settings=call.settings(Settings),
    )


@main.command(
    "repair-refunds", "move refunds without a month to where they belong", DATE, flag("--dry-run", "only show the plan")
)
def _repair_refunds(call: Call) -> StepResult:
    return repair_refunds(
        _lake(call), dry_run=call.options.dry_run, day=_day(call), now=call.now, settings=call.settings(Settings)
    )


@main.command("music", "extract the subscriptions of music services", DATE)
def _music(call: Call) -> StepResult:
    return extract_music(_lake(call), day=_day(call), now=call.now, settings=call.settings(Settings))


@main.command("monthly-reports", "refunds, revenue and lifetimes by month", DATE)
def _monthly_reports(call: Call) -> StepResult:
    return write_reports(_lake(call), day=_day(call), now=call.now, settings=call.settings(Settings))


@main.command("clean-up", "delete old logs, reports and loaded files; report the disk", DATE)
def _clean_up(call: Call) -> StepResult:
    return housekeeping.clean_up(
        _lake(call), today=call.today, day=_day(call), now=call.now, settings=call.settings(Settings)
    )


@main.command("backup", "copy view, catalogue and state to the backup folder, verified", backup_folder(), DATE)
def _backup(call: Call) -> StepResult:
    return backup.back_up(
        call.options.store, _lake(call), day=_day(call), now=call.now, settings=call.settings(Settings)
    )


@main.command("backups", "list the backups", backup_folder())
def _backups(call: Call) -> None:
    store = call.options.store
    print("\n".join(backup.list_backups(store)) or f"There is no backup in {store.where}.")


@main.command(
    "restore",
    "put view, catalogue and state of a backup in place",
    backup_folder(),
    BACKUP_NAME,
    DATE,
    flag("--confirm", "yes, replace them"),
)
def _restore(call: Call) -> StepResult:
    return backup.restore_backup(
        call.options.store,
        _lake(call),
        confirm=call.options.confirm,
        name=call.options.name,
        day=_day(call),
        now=call.now,
        settings=call.settings(Settings),
    )
