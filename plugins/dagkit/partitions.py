"""Which business day a run is about, and telling the next DAG that the day is ready."""

from datetime import date, datetime, tzinfo
from typing import Any

from airflow.sdk import Asset, Param, get_current_context

DATE = "date"


def date_param() -> Param:
    """The form field with which a person names the day; empty means the run's own day."""
    return Param(
        None,
        type=["null", "string"],
        format="date",
        title="Business day",
        description="Local business day (YYYY-MM-DD). Empty: the day of this run.",
    )


def business_day(zone: tzinfo) -> date:
    """The local day the current run is about.

    In this order: the partition key, ``params.date``, the logical date in ``zone``, the time the run was asked for in
    ``zone``. Clearing a run therefore repeats its own day, whenever it is cleared.
    """
    context: Any = get_current_context()
    if key := context.get("partition_key"):
        return date.fromisoformat(key[:10])
    if given := context["params"].get(DATE):
        return date.fromisoformat(given)
    moment: datetime = context.get("logical_date") or context["dag_run"].run_after
    return moment.astimezone(zone).date()


def today(zone: tzinfo) -> date:
    """The local calendar day at this moment."""
    return datetime.now(zone).date()


def publish(asset: Asset, day: date, result: dict[str, Any]) -> dict[str, Any]:
    """Attach the result to the asset's event and, if the run has no partition key, the day; returns the result.

    The consumer of the asset then runs for that day.
    """
    context: Any = get_current_context()
    event = context["outlet_events"][asset]
    event.extra = result
    if not context.get("partition_key"):
        event.add_partitions(day.isoformat())
    return result
