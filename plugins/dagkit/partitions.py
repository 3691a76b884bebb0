"""Which business day a run is about, and telling the next DAG that the day is ready."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from airflow.sdk import Asset, Param, get_current_context

from include.common import days
from include.errors import RequestRefused

DATE = "date"


def date_param() -> Param:
    """The form field with which a person names the day; empty means the run's own day."""
    return Param(
        None,
        type=["null", "string"],
        format="date",
        title="Business day",
        description="A local day. Empty: the day of this run.",
    )


def range_params() -> dict[str, Param]:
    """The form fields for one day, or for all days from one to another."""
    return {DATE: date_param(), **bounds_params("First day of a range.", "Its last day, included.")}


def bounds_params(first: str, last: str) -> dict[str, Param]:
    """The form fields for two days, with what is said about each."""
    return {
        name: Param(None, type=["null", "string"], format="date", title=title, description=text)
        for name, title, text in (("start_date", "From", first), ("end_date", "To", last))
    }


def business_day(zone: tzinfo, *, days_back: int = 0) -> date:
    """The local day the current run is about.

    In this order: the partition key, ``params.date``, the logical date in ``zone``, the time the run was asked for in
    ``zone``, both ``days_back`` days earlier where the run is about a day that is over. Clearing a run therefore
    repeats its own day, whenever it is cleared.
    """
    context: Any = get_current_context()
    if key := context.get("partition_key"):
        return date.fromisoformat(key[:10])
    if given := context["params"].get(DATE):
        return date.fromisoformat(given)
    moment: datetime = context.get("logical_date") or context["dag_run"].run_after
    return moment.astimezone(zone).date() - timedelta(days=days_back)


def today(zone: tzinfo) -> date:
    """The local calendar day at this moment."""
    return datetime.now(zone).date()


def requested_days(zone: tzinfo, params: Mapping[str, Any], *, allow_partial: bool = False) -> list[date]:
    """The days that :func:`range_params` ask for, oldest first; without a range the run's own, which is over.

    Raises RequestRefused as :func:`include.common.days.requested_days` does.
    """
    return days.requested_days(
        business_day(zone, days_back=1),
        named=bool(params[DATE]),
        start=params["start_date"],
        end=params["end_date"],
        today=today(zone),
        allow_partial=allow_partial,
    )


def publish(asset: Asset, day: date, result: dict[str, Any]) -> dict[str, Any]:
    """Attach result and day to the asset's event, so that the consumer of the asset runs for that day; the result."""
    context: Any = get_current_context()
    event = context["outlet_events"][asset]
    event.extra = result
    event.add_partitions(day.isoformat())  # a run with that key has it already, which does no harm
    return result


def refuse_unknown_parameters(context: Any) -> None:
    """Task hook: Airflow lets ``-c '{"dat": ...}'`` pass, and the run would silently be about another day."""
    known = set(context["dag"].params)
    unknown = sorted(set(context["dag_run"].conf or {}) - known)
    if unknown:
        raise RequestRefused(
            f"{context['dag'].dag_id} has no parameter {', '.join(unknown)}.",
            next_step=f"Trigger it again with: {', '.join(sorted(known)) or 'no parameters'}.",
        )
