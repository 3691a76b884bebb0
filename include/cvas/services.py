"""What the view says about a price point: its service and category, and how many use it (columns 42-44)."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from include.common.journal import RunLog
from include.cvas.config import Lake, Settings
from include.cvas.mastercpc import read_mastercpc
from include.cvas.user_base import newest_snapshot, read_user_base_by_cpc, snapshot_services
from include.errors import ContractViolation, SourceMissing

if TYPE_CHECKING:
    import polars as pl


def describe_price_points(lake: Lake, *, as_of: date, settings: Settings, run: RunLog) -> pl.DataFrame:
    """All known price points: ``cpc``, ``service_name``, ``tme_category``, ``user_base``; one row each, sorted.

    Names come from MASTERCPC.csv, those it lacks from the newest snapshot not later than ``as_of``; null where neither
    has any. ``user_base`` is that of the newest aggregated day not later than ``as_of``, null for a cpc without users.
    Without a readable MASTERCPC.csv there are no names at all, with a warning (section 6).
    """
    import polars as pl

    users = read_user_base_by_cpc(lake).filter(pl.col("date") <= as_of)
    newest = users.filter(pl.col("date") == pl.col("date").max()).select("cpc", "user_base")
    if newest.is_empty():
        run.say(f"No user base up to {as_of} is aggregated: cpc_user_base is empty.")
    return _names(lake, as_of, settings, run).join(newest, on="cpc", how="full", coalesce=True).sort("cpc")


def _names(lake: Lake, as_of: date, settings: Settings, run: RunLog) -> pl.DataFrame:
    import polars as pl

    columns = ("cpc", "service_name", "tme_category")
    try:
        listed = read_mastercpc(lake.mastercpc).frame.select(columns)
    except (SourceMissing, ContractViolation) as error:
        run.warn(f"Every service of the view is UNKNOWN: {error}")
        return pl.DataFrame(schema={"cpc": pl.Int64, "service_name": pl.String, "tme_category": pl.String})
    try:
        snapshot = newest_snapshot(lake, as_of)
        if snapshot is None:
            return listed
        others = snapshot_services(snapshot, settings).select(columns)
    except ContractViolation as error:
        run.warn(f"Price points that {lake.mastercpc.name} lacks stay UNKNOWN in the view: {error}")
        return listed
    return pl.concat([listed, others.join(listed, on="cpc", how="anti")])
