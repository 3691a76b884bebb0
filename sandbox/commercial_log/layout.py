"""The sheet the traffic department keeps: 29 columns, what a cell can hold, what the other sheets are called."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

Cell = None | str | int | float | datetime | time | timedelta
Row = tuple[Cell, ...]
Fields = dict[str, Cell]

COMMERCIALS = "Commercials"
WORLDLINK_LINES = "Worldlink Lines"
ADD_TO_BOOKED_BUSINESS = "Add to booked business"
PENDING = "Pending"

# Column of the table `spots`, header as typed (with its line breaks), width in characters.
LAYOUT: tuple[tuple[str, str, float], ...] = (
    ("bill_code", "Bill Code", 38),
    ("air_date", "Start Date", 11),
    ("end_date", "End Date", 11),
    ("day_of_week", "Day(s)", 11),
    ("time_in", "Time In", 12),
    ("time_out", "Time Out", 12),
    ("length_seconds", "Length", 9),
    ("media", "Media/Name/Program", 30),
    ("comments", "Comments", 18),
    ("language_code", "Language", 10),
    ("format", "Format", 28),
    ("sequence_number", "Units-Spot count", 8),
    ("line_number", "Line", 6),
    ("spot_type", "Type", 7),
    ("estimate", "Agency/Episode#\nor cut number", 14),
    ("gross_rate", "Unit rate\nGross ", 12),
    ("make_good", "Make Good", 14),
    ("spot_value", "Spot Value", 12),
    ("broadcast_month", "Month", 9),
    ("broker_fees", "Broker Fees", 11),
    ("priority", "Sales/rep com:\nrevenue sharing", 14),
    ("station_net", "Station Net", 12),
    ("sales_person", "Sales Person", 16),
    ("revenue_type", "Revenue Type", 21),
    ("billing_type", "Billing Type", 11),
    ("agency_flag", "Agency?", 11),
    ("affidavit_flag", "Affidavit?", 10),
    ("contract", "Notarize?", 10),
    ("market_name", "Market", 9),
)
COLUMNS = tuple(column for column, _, _ in LAYOUT)
HEADER = tuple(header for _, header, _ in LAYOUT)
WIDTHS = tuple(width for _, _, width in LAYOUT)
POSITION = {column: position for position, column in enumerate(COLUMNS)}
MONEY_COLUMNS = ("gross_rate", "spot_value", "broker_fees", "station_net")
BLANK_ROW: Row = (None,) * len(COLUMNS)

MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def month_text(month: date) -> str:
    """``Sep-25``, whatever the locale."""
    return f"{MONTH_NAMES[month.month - 1]}-{month.year % 100:02d}"


def month_after(month: date, months: int) -> date:
    """The first day of the month ``months`` after (or, negative, before) the month of a date."""
    year, index = divmod(month.year * 12 + month.month - 1 + months, 12)
    return date(year, index + 1, 1)
