"""A subscription view made of a few rows, for what reads it (section 4.2)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import polars as pl

from include.cvas.config import Lake
from include.cvas.view_query import COLUMNS
from tests.unit.cvas_helpers import PHONE, USER, Row

_TIME, _INTEGERS = pl.Datetime("us"), pl.List(pl.Int64())
_KINDS: dict[str, tuple[pl.DataType, Any]] = {
    "BIGINT": (pl.Int64(), 0),
    "DOUBLE": (pl.Float64(), 0.0),
    "BOOLEAN": (pl.Boolean(), False),
    "VARCHAR": (pl.String(), None),
    "TIMESTAMP": (_TIME, None),
    "BIGINT[]": (_INTEGERS, []),
}
VIEW_SCHEMA = {name: _KINDS[kind][0] for name, kind in COLUMNS.items()}
_ACTIVE: Row = {
    **{name: _KINDS[kind][1] for name, kind in COLUMNS.items()},
    "subscription_id": 900001,
    "tmuserid": USER,
    "msisdn": PHONE,
    "cpc_list": [46109],
    "cpc_count": 1,
    "first_cpc": 46109,
    "current_cpc": 46109,
    "activation_date": "2025-11-03 16:08:20",
    "activation_trans_date": "2025-11-03 16:08:22",
    "activation_channel": "VOICE",
    "activation_campaign": "a1b2c3d",
    "activation_month": "2025-11",
    "last_activity_date": "2025-11-03 16:08:20",
    "subscription_status": "Active",
    "lifetime_days": 8,
    "last_upgrade_cpc": None,
    "upgraded_to_cpc": None,
    "service_name": "Escudo Movil",
    "tme_category": "Free Time",
    "cpc_user_base": 910,
}


def subscription(**values: Any) -> Row:
    """A row of an active subscription that paid nothing yet, with some values replaced; dates may be text."""
    unknown = values.keys() - VIEW_SCHEMA.keys()
    assert not unknown, f"the view has no {unknown}"
    row = {**_ACTIVE, **values}
    return {
        name: datetime.fromisoformat(row[name]) if kind == _TIME and row[name] else row[name]
        for name, kind in VIEW_SCHEMA.items()
    }


def write_view(lake: Lake, rows: Iterable[Row]) -> None:
    """``subscriptions.parquet`` with these rows, by id."""
    frame = pl.DataFrame(list(rows), schema=VIEW_SCHEMA, orient="row").sort("subscription_id")
    lake.subscriptions.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(lake.subscriptions, compression="snappy")
