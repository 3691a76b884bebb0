"""The three files of the counters as everybody reads them, and when they are behind (section 4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from include.cvas.config import Lake
from include.cvas.privacy import masked
from include.errors import ContractViolation

if TYPE_CHECKING:
    import polars as pl

BY_CPC, BY_SERVICE, KPIS = "Counters_CPC.parquet", "Counters_Service.csv", "Service_KPI.csv"
COUNTS = (
    *("act_count", "act_free", "act_pay", "upg_count", "reno_count", "dct_count", "upg_dct_count"),
    *("cnr_count", "ppd_count", "rfnd_count"),
)
MONEY = ("rfnd_amount", "rev")


class Counters(NamedTuple):
    """The three files as frames, their columns and order of rows as in the files; a text is never null.

    ``kpis``: churn_rate is a share (0.02 is 2 %), arpu euro per user.
    """

    by_cpc: pl.DataFrame
    by_service: pl.DataFrame
    kpis: pl.DataFrame


def read_counters(lake: Lake) -> Counters:
    """The three counter files; one that does not exist yet is an empty frame.

    Raises ContractViolation naming a file whose columns or values are not as agreed.
    """
    import polars as pl

    def typed(name: str, schema: dict[str, pl.DataType]) -> pl.DataFrame:
        file = lake.counters / name
        if not file.exists():
            return pl.DataFrame(schema=schema)
        with _readable(file):
            found = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema=False)
            if found.columns != list(schema):
                raise ContractViolation(
                    f"cvas: the columns of {file} are {', '.join(found.columns)}, not {', '.join(schema)}.",
                    next_step=f"Put a copy of {name} as it was back, or move it away and count the days again.",
                )
            if found.schema["date"] == pl.String:
                found = found.with_columns(pl.col("date").str.to_date("%Y-%m-%d"))
            return found.cast(pl.Schema(schema)).with_columns(pl.col(pl.String).fill_null(""))

    numbers = dict.fromkeys(COUNTS, pl.Int64()) | dict.fromkeys(MONEY, pl.Float64())
    service = {"date": pl.Date(), "service_name": pl.String(), "tme_category": pl.String()}
    price = {"cpc": pl.Int64(), "cpc_period": pl.Int64(), "cpc_price": pl.Float64()}
    whole = dict.fromkeys(("user_base_start", "user_base_end", "act_count", "dct_count"), pl.Int64())
    ratios = {"rev": pl.Float64(), "net_activations": pl.Int64(), "churn_rate": pl.Float64(), "arpu": pl.Float64()}
    return Counters(
        typed(BY_CPC, {"date": pl.Date(), "cpc": pl.Int64(), **numbers, "last_updated": pl.Datetime("us")}),
        typed(BY_SERVICE, {**service, **price, **numbers}),
        typed(KPIS, {**service, **whole, **ratios}),
    )


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ContractViolation(
            f"cvas: {file} cannot be read: {masked(str(error)).splitlines()[0]}",
            next_step="Restore the file, or move it away and count the days again.",
        ) from None


def counted_days(lake: Lake, counters: Counters) -> set[date]:
    """The days that are in the counters; none if a file was moved away, because its rows have to come back."""
    return set(counters.by_cpc["date"]) if are_complete(lake) else set()


def are_complete(lake: Lake) -> bool:
    """Whether all three files are there."""
    return all((lake.counters / name).exists() for name in (BY_CPC, BY_SERVICE, KPIS))


def told_outdated(days: Iterable[date]) -> str | None:
    """What to do after ``days`` changed without a load, as nobody counts them by himself (R57); None if none did.

    The days between the first and the last are counted again with them, which does no harm.
    """
    changed = sorted(days)
    if not changed:
        return None
    return (
        f"The counters do not know that days from {changed[0]} to {changed[-1]} have changed: trigger cvas_counters "
        f"with start_date {changed[0]}, end_date {changed[-1]} and force."
    )


def told_outdated_of_counted(lake: Lake, days: Iterable[date] | None = None) -> str | None:
    """:func:`told_outdated` for those of ``days``, or of all, that are in the counters."""
    counted: set[date] = set()
    # What to do about a file that cannot be read makes its days anew as well.
    with suppress(ContractViolation):
        counted = counted_days(lake, read_counters(lake))
    return told_outdated(counted if days is None else counted.intersection(days))
