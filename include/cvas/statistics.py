"""What the finished view says about all subscriptions together (R51): figures only, nobody's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from include.common.tables import render_value
from include.cvas.privacy import masked
from include.cvas.tables import rows_of

if TYPE_CHECKING:
    import duckdb

TOP_CAMPAIGNS = 5
LAST_MONTHS = 6
YES_OR_NO = {"True": "yes", "False": "no"}


def view_statistics(engine: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The figures of the table ``subscriptions``, JSON-ready: euro, days, and shares as fractions.

    ``totals``; ``statuses``, ``cpc_counts`` and ``upgraded`` (keys as text) with count, share and average revenue;
    ``campaigns``, the best first; ``months``, the newest first.
    """
    (totals,) = rows_of(engine, "select_view_totals")
    groups = rows_of(engine, "select_view_groups")

    def divided_by(column: str) -> dict[str, dict[str, Any]]:
        return {
            str(group[column]): {
                "subscriptions": group["subscriptions"],
                "share": round(group["subscriptions"] / totals["subscriptions"], 4),
                "average_revenue": group["average_revenue"],
            }
            for group in groups
            if group[column] is not None
        }

    return {
        "totals": totals,
        "statuses": divided_by("subscription_status"),
        "cpc_counts": divided_by("cpc_count"),
        "upgraded": divided_by("has_upgraded"),
        # People write phones into the names of campaigns (R5).
        "campaigns": [
            each | {"campaign": masked(each["campaign"])}
            for each in rows_of(engine, "select_view_campaigns", top=TOP_CAMPAIGNS)
        ],
        "months": rows_of(engine, "select_view_months", last=LAST_MONTHS),
    }


def statistics_lines(statistics: Mapping[str, Any]) -> Iterator[str]:
    """The figures as lines of a log."""
    yield f"Totals: {_figures(statistics['totals'])}"
    for groups, title in (("statuses", "Status"), ("cpc_counts", "Number of CPCs"), ("upgraded", "Upgraded")):
        for name, figures in statistics[groups].items():
            yield f"{title} {YES_OR_NO.get(name, name)}: {_figures(figures)}"
    for campaign in statistics["campaigns"]:
        yield f"Campaign {_figures(campaign)}"
    for month in statistics["months"]:
        yield f"Activated in {_figures(month)}"


def _figures(row: Mapping[str, Any]) -> str:
    return ", ".join(_told(name, value) for name, value in row.items())


def _told(name: str, value: Any) -> str:
    if name == "share":
        return f"{100 * value:.2f} %"
    return str(value) if isinstance(value, str) else f"{name.replace('_', ' ')} {render_value(value)}"
