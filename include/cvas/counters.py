"""Counters: the transactions and money of every day per price point, and what they mean per service (R54-R57)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from include.common import locks
from include.common.files import atomic_write, require_space, sha256_of
from include.common.filesets import JOURNAL, publish_together, staging
from include.common.journal import RunLog
from include.common.results import StepResult
from include.common.sql import read_sql
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import TYPES
from include.cvas.counter_files import (
    BY_CPC,
    BY_SERVICE,
    COUNTS,
    KPIS,
    MONEY,
    Counters,
    are_complete,
    counted_days,
    read_counters,
)
from include.cvas.engine import open_engine
from include.cvas.lake import partition_files, readable, reading
from include.cvas.lookup import COUNTRY_CODE, PHONE_DIGITS, phone_number
from include.cvas.mastercpc import UNKNOWN, read_mastercpc
from include.cvas.privacy import masked
from include.cvas.stage import stage
from include.cvas.tables import show_transactions, write_csv
from include.cvas.user_base import read_user_base_by_cpc

if TYPE_CHECKING:
    import polars as pl

JOB = "cvas_counters"
RATIO_DECIMALS = 6
_SERVICE = ("date", "service_name", "tme_category")


class _Excluded(NamedTuple):
    phones: list[str]
    users: list[str]


def count_transactions(
    lake: Lake, *, days: Iterable[date], day: date, now: datetime, settings: Settings, force: bool = False
) -> StepResult:
    """Make the rows of ``days`` in the three counter files what the lake says; a day that is there is left alone
    unless ``force``. Users of the exclusion list are not counted (R55).

    ``day`` is what the run is about in the journal, ``now`` the time it began, with a zone; a row whose values change
    gets it as ``last_updated``, as wall-clock time.

    Re-run: safe; what did not change leaves the files byte for byte as they were. All three change, or none.
    Raises SourceMissing without MASTERCPC.csv, ContractViolation for a file that is not as agreed, StoreFull, StoreBusy
    while the lake is written, AlreadyRunning.
    """
    with (
        stage(lake, JOB, day, now=now, settings=settings) as run,
        locks.hold(lake.counters_lock, JOB),
        staging(lake.staging / "counters", run, what="A count") as folder,
    ):
        master = read_mastercpc(lake.mastercpc)
        for warning in master.warnings:
            run.warn(warning)
        before = read_counters(lake)
        asked = set(days)
        if lost := _lost_days(lake, before):
            run.warn(f"A counter file is not there any more; the {len(lost):,} days of the others are counted again.")
            asked |= lost
        due = sorted(asked if force else asked - counted_days(lake, before))
        run.say(f"{len(due)} days to count, {len(asked) - len(due)} are there already")
        facts: dict[str, Any] = {"days": len(due), "skipped": len(asked) - len(due)}
        if not due:
            return StepResult(where=str(lake.counters), facts=facts, warnings=tuple(run.warnings))
        excluded = _read_excluded(lake.excluded_users, run)
        with run.phase("count", percent=70):
            counted = _count(lake, due, excluded, settings)
        facts |= {"first": f"{due[0]}", "last": f"{due[-1]}", **_report(counted, due, master.frame, run)}
        after = _replace(before, due, _describe(counted, master.frame, lake, settings), now)
        with run.phase("publish", percent=100):
            written = _publish(lake, after, folder)
        run.facts.update(days=len(due), transactions=facts["transactions"])
        return StepResult(
            where=str(lake.counters),
            read=facts["transactions"],
            written=sum(frame.filter(frame["date"].is_in(due)).height for frame in after),
            bytes=sum(path.stat().st_size for path in written),
            warnings=tuple(run.warnings),
            facts={**facts, "changed_files": [path.name for path in written], **run.durations},
        )


def missing_days(lake: Lake) -> list[date]:
    """The days that have transactions in the lake and no counters, oldest first.

    Raises CheckFailed naming a partition that cannot be read, ContractViolation naming such a counter file, StoreBusy
    while the lake is written.
    """
    import polars as pl

    present: set[date] = set()
    with reading(lake, JOB):
        for kind in TYPES:
            for file in (file for files in partition_files(lake, kind).values() for file in files):
                with readable(file):
                    days = pl.scan_parquet(file).select(pl.col(kind.event_date).cast(pl.Date).unique())
                    present.update(days.drop_nulls().collect().to_series())
    return sorted(present - counted_days(lake, read_counters(lake)))


def _lost_days(lake: Lake, counters: Counters) -> set[date]:
    """The days that are in some of the files while another one is gone: no later run would ask for them (R57)."""
    return set() if are_complete(lake) else {day for frame in counters for day in frame["date"]}


def _read_excluded(path: Path, run: RunLog) -> _Excluded:
    """Phones and user ids to leave out: a table with a header, or one phone per line (section 3.6)."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except FileNotFoundError:
        return _Excluded([], [])
    rows = [[cell.strip() for cell in row] or [""] for row in csv.reader(lines)]
    header = [name.lower() for name in rows[0]] if rows else []
    has_header = "msisdn" in header or "tmuserid" in header
    names = header if has_header else ["msisdn"]
    excluded = _Excluded([], [])
    odd = []
    for number, row in enumerate(rows[has_header:], start=1 + has_header):
        cells = dict(zip(names, row, strict=False))
        phone, user = cells.get("msisdn", ""), cells.get("tmuserid", "")
        known = phone_number(phone)
        if known and len(known) == len(COUNTRY_CODE) + PHONE_DIGITS:
            excluded.phones.append(known)
        elif phone:
            odd.append(str(number))
        if user.isdecimal():
            excluded.users.append(user)
        elif user:
            odd.append(str(number))
    if odd:
        numbers = ", ".join(dict.fromkeys(odd))
        run.warn(f"{path.name}: what lines {numbers} hold is no phone or user id, so it excludes nobody.")
    return excluded


def _count(lake: Lake, days: list[date], excluded: _Excluded, settings: Settings) -> pl.DataFrame:
    """One row per day and CPC, also the null one, as ``count_transactions.sql`` tells."""
    import polars as pl

    midnight = [datetime.combine(each, time.min) for each in (days[0], days[-1] + timedelta(days=1))]
    with reading(lake, JOB), open_engine(lake, settings) as engine:
        show_transactions(engine, lake, months={f"{each:%Y-%m}" for each in days})
        given = {"days": days, "first": midnight[0], "after": midnight[1], **excluded._asdict()}
        rows = engine.execute(read_sql("cvas", "count_transactions"), given).fetchall()
    numbers = dict.fromkeys(COUNTS, pl.Int64()) | dict.fromkeys(MONEY, pl.Float64())
    schema = {"date": pl.Date(), "cpc": pl.Int64(), **numbers, "transactions": pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _report(counted: pl.DataFrame, days: list[date], catalogue: pl.DataFrame, run: RunLog) -> dict[str, Any]:
    """Say what the counters do not show, and return it as facts."""
    nameless = counted.filter(counted["cpc"].is_null())
    unlisted = sorted(set(counted["cpc"].drop_nulls()) - set(catalogue["cpc"]))
    # What has as many digits as a phone may be one (R5).
    unknown = [cpc for cpc in unlisted if masked(str(cpc)) == str(cpc)]
    empty = [f"{each}" for each in sorted(set(days) - set(counted["date"]))]
    without_cpc = {
        "transactions": nameless["transactions"].sum(),
        **{name: round(nameless[name].sum(), 2) for name in MONEY},
    }
    if unlisted:
        others = (
            [f"{len(unlisted) - len(unknown)} with too many digits for a CPC"] if len(unlisted) > len(unknown) else []
        )
        named = ", ".join([*map(str, unknown), *others])
        run.warn(f"CPCs that are not in MASTERCPC.csv count as UNKNOWN ({len(unlisted):,}): {named}.")
    if empty:
        run.warn(f"The lake has no transactions to count of {', '.join(empty)}.")
    if not nameless.is_empty():
        run.say(
            f"{without_cpc['transactions']} transactions name no CPC and are in no counter: "
            f"{without_cpc['rev']:.2f} euro charged, {without_cpc['rfnd_amount']:.2f} euro refunded"
        )
    return {
        "transactions": counted["transactions"].sum(),
        "unknown_cpcs": [str(cpc) for cpc in unknown],
        "without_cpc": without_cpc,
        "empty_days": empty,
    }


def _describe(counted: pl.DataFrame, catalogue: pl.DataFrame, lake: Lake, settings: Settings) -> Counters:
    """The rows of the three files for the counted days; ``last_updated`` is yet missing."""
    import polars as pl

    by_cpc = counted.drop_nulls("cpc").drop("transactions")
    named = _named(by_cpc, catalogue)
    excluded = [name for name in named["service_name"].unique() if settings.excludes(name)]
    by_service = named.filter(~pl.col("service_name").is_in(excluded))
    order = (*_SERVICE, "cpc", "cpc_period", "cpc_price", *COUNTS, *MONEY)
    return Counters(by_cpc, by_service.select(order), _kpis(by_service, _named(read_user_base_by_cpc(lake), catalogue)))


def _named(frame: pl.DataFrame, catalogue: pl.DataFrame) -> pl.DataFrame:
    """With what the catalogue says about the CPCs, unknown ones included (R56)."""
    import polars as pl

    return frame.join(catalogue, on="cpc", how="left").with_columns(
        pl.col("service_name").fill_null(UNKNOWN),
        pl.col("tme_category").fill_null(""),
        pl.col("cpc_period").fill_null(0),
        pl.col("cpc_price").fill_null(0.0),
    )


def _kpis(by_service: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    """Per day and service: growth, churn and revenue per user; empty without the snapshots it takes (R54).

    The users of a service are those of all its CPCs; a snapshot that has none of them says 0.
    """
    import polars as pl

    def user_base(column: str, *, days_ago: int) -> pl.DataFrame:
        then = users.with_columns(pl.col("date").dt.offset_by(f"{days_ago}d"))
        return then.group_by(_SERVICE).agg(pl.col("user_base").sum().alias(column))

    def there(*, days_ago: int) -> pl.Expr:
        return pl.col("date").dt.offset_by(f"-{days_ago}d").is_in(users["date"].unique().to_list())

    start, end, revenue = pl.col("user_base_start"), pl.col("user_base_end"), pl.col("rev")
    at_risk, mean = start + pl.col("act_count"), (start + end) / 2
    return (
        by_service.group_by(_SERVICE)
        .agg(
            pl.col("act_count", "dct_count").sum(),
            revenue.sum().round(2),
        )
        .join(user_base("user_base_start", days_ago=1), on=_SERVICE, how="left")
        .join(user_base("user_base_end", days_ago=0), on=_SERVICE, how="left")
        .with_columns(
            pl.when(there(days_ago=1)).then(start.fill_null(0)),
            pl.when(there(days_ago=0)).then(end.fill_null(0)),
        )
        .with_columns(
            net_activations=pl.col("act_count") - pl.col("dct_count"),
            churn_rate=pl.when(at_risk > 0).then((pl.col("dct_count") / at_risk).round(RATIO_DECIMALS)),
            arpu=pl.when(mean > 0).then((revenue / mean).round(RATIO_DECIMALS)),
        )
        .select(
            *_SERVICE,
            "user_base_start",
            "user_base_end",
            "act_count",
            "dct_count",
            "rev",
            "net_activations",
            "churn_rate",
            "arpu",
        )
    )


def _replace(before: Counters, days: list[date], fresh: Counters, now: datetime) -> Counters:
    """The files with the rows of ``days`` replaced and all others kept (R57)."""
    import polars as pl

    # A row that says what it said before keeps its time.
    values = [name for name in before.by_cpc.columns if name != "last_updated"]
    updated = pl.lit(now.astimezone(ZONE).replace(tzinfo=None), dtype=pl.Datetime("us"))
    by_cpc = fresh.by_cpc.join(before.by_cpc, on=values, how="left").with_columns(
        pl.col("last_updated").fill_null(updated)
    )
    orders = (["date", "cpc"], ["date", "service_name", "cpc"], list(_SERVICE))
    return Counters(
        *(
            pl.concat([old.filter(~pl.col("date").is_in(days)), new.select(old.columns)]).sort(order)
            for old, new, order in zip(before, (by_cpc, *fresh[1:]), orders, strict=True)
        )
    )


def _publish(lake: Lake, counters: Counters, folder: Path) -> list[Path]:
    """Put the files in place, all at once; those that changed. ``folder`` is for what is not finished."""
    require_space(folder, sum(int(frame.estimated_size()) for frame in counters))
    staged = {lake.counters / name: folder / name for name in (BY_CPC, BY_SERVICE, KPIS)}
    for frame, file in zip(counters, staged.values(), strict=True):
        with atomic_write(file) as temporary:
            if file.suffix == ".parquet":
                frame.write_parquet(temporary, compression="snappy")
            else:
                write_csv(frame, temporary)
    changed = {
        target: file for target, file in staged.items() if not target.exists() or sha256_of(target) != sha256_of(file)
    }
    if changed:
        publish_together(folder / JOURNAL, changed)
    return list(changed)
