"""Which days a run is asked to process."""

from datetime import date, timedelta

from include.errors import RequestRefused


def requested_days(
    day: date,
    *,
    named: bool = False,
    start: date | None = None,
    end: date | None = None,
    today: date,
    allow_partial: bool = False,
) -> list[date]:
    """The days from ``start`` to ``end``, both included, oldest first; without them ``day`` alone.

    Raises RequestRefused naming half of a range, a range that ends before it starts or that is given beside a day
    (``named``: somebody asked for ``day``), and a day that is not over (``allow_partial`` admits today).
    """
    if named and (start or end):
        raise RequestRefused(
            f"Both a date ({day}) and a range ({start} to {end}) are given.", next_step="Give one of them."
        )
    if bool(start) != bool(end):
        raise RequestRefused(
            f"Only one of start_date ({start}) and end_date ({end}) is given.",
            next_step="Give both, or neither and a date.",
        )
    first, last = (start, end) if start and end else (day, day)
    if last < first:
        raise RequestRefused(f"end_date {last} lies before start_date {first}.", next_step="Swap them.")
    if last > today or (last == today and not allow_partial):
        raise RequestRefused(
            f"{last} is not over (today is {today}).",
            next_step="Use a day before today; fetch and load also take what today has so far, with allow_partial.",
        )
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def requested_bounds(*, start: date | None, end: date | None, today: date) -> tuple[date | None, date]:
    """The first and the last day to look at, both included; without them up to yesterday, from whenever there is
    something. Raises RequestRefused as :func:`requested_days` does.
    """
    yesterday = today - timedelta(days=1)
    days = requested_days(yesterday, start=start, end=end, today=today)
    return (days[0] if start else None), days[-1]


def refuse_day_to_come(day: date, today: date, *, what: str, next_step: str) -> None:
    """Raise RequestRefused naming ``what`` if its ``day`` is after ``today``, both in the time zone of the system."""
    if day > today:
        raise RequestRefused(f"{what}: {day} has not begun in its time zone (today is {today}).", next_step=next_step)
