"""Which business day a run is about, and telling the next DAG that the day is ready."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from airflow.sdk import Asset, get_current_context

from include.common import days
from include.errors import RequestRefused


def business_day(zone: tzinfo, *, days_back: int = 0) -> date:
    """The local day the current run is about.

    In this order: the partition key, ``params.date``, the logical date in ``zone``, the time the run was asked for in
    ``zone``, both ``days_back`` days earlier where the run is about a day that is over. Clearing a run therefore
    repeats its own day, whenever it is cleared.
    """
    context: Any = get_current_context()
    if key := context.get("partition_key"):
        return date.fromisoformat(key[:10])
    if given := context["params"].get("date"):
        return date.fromisoformat(given)
    moment: datetime = context.get("logical_date") or context["dag_run"].run_after
    return moment.astimezone(zone).date() - timedelta(days=days_back)


def today(zone: tzinfo) -> date:
    """The local calendar day at this moment."""
    return datetime.now(zone).date()


def requested_days(zone: tzinfo, params: Mapping[str, Any], *, allow_partial: bool = False) -> list[date]:
    """The days that ``forms.range_params`` ask for, oldest first; without a range the run's own, which is over.

    Raises RequestRefused as :func:`include.common.days.requested_days` does.
    """
    return days.requested_days(
        business_day(zone, days_back=1),
        named=bool(params["date"]),
        start=_date(params["start_date"]),
        end=_date(params["end_date"]),
        today=today(zone),
        allow_partial=allow_partial,
    )


def requested_bounds(zone: tzinfo, params: Mapping[str, Any]) -> tuple[date | None, date]:
    """What ``forms.bounds_params`` ask for; see :func:`include.common.days.requested_bounds`."""
    return days.requested_bounds(start=_date(params["start_date"]), end=_date(params["end_date"]), today=today(zone))


def _date(given: str | None) -> date | None:
    return date.fromisoformat(given) if given else None


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
