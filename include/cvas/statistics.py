"""What the finished view says about all subscriptions together (R51): figures only, nobody's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from include.common.sql import read_sql

if TYPE_CHECKING:
    import duckdb

TOP_CAMPAIGNS = 5
LAST_MONTHS = 6


def view_statistics(engine: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The figures of the table ``subscriptions``, JSON-ready: euro, days, and shares as fractions.

    ``totals``; ``statuses``, ``cpc_counts`` and ``upgraded`` (keys as text) with count, share and average revenue;
    ``campaigns``, the best first; ``months``, the newest first.
    """
    (totals,) = _rows(engine, "select_view_totals")
    groups = _rows(engine, "select_view_groups")

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
        "campaigns": _rows(engine, "select_view_campaigns", top=TOP_CAMPAIGNS),
        "months": _rows(engine, "select_view_months", last=LAST_MONTHS),
    }


def statistics_lines(statistics: Mapping[str, Any]) -> Iterator[str]:
    """The figures as lines of a log."""
    yield f"Totals: {_figures(statistics['totals'])}"
    for title in ("statuses", "cpc_counts", "upgraded"):
        for name, group in statistics[title].items():
            yield f"{title} {name}: {_figures(group)}"
    for title in ("campaigns", "months"):
        for row in statistics[title]:
            yield f"{title}: {_figures(row)}"


def _rows(engine: duckdb.DuckDBPyConnection, statement: str, **values: int) -> list[dict[str, Any]]:
    found = engine.execute(read_sql("cvas", statement), values or None)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _figures(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in row.items())
