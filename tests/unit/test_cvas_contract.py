"""The six types as agreed (section 3.3, 4.1, R4, R31)."""

from __future__ import annotations

import polars as pl
import pytest

from include.cvas.contract import TYPES, TransactionType, types_named
from include.errors import RequestRefused

TEXT, INTEGER, AMOUNT, TIME = pl.String(), pl.Int64(), pl.Float64(), pl.Datetime("us")
CHARGED_BEFORE = {"tmuserid": TEXT, "msisdn": TEXT, "cpc": INTEGER, "trans_type_id": INTEGER}
DATES = {"trans_date": TIME, "act_date": TIME, "reno_date": TIME}
CAMPAIGN = {"camp_name": TEXT, "tef_prov": INTEGER, "campana_medium": TEXT, "campana_id": TEXT}
ACT_COLUMNS = {
    **CHARGED_BEFORE,
    "channel_id": INTEGER,
    "channel_act": TEXT,
    **DATES,
    **CAMPAIGN,
    "subscription_id": INTEGER,
    "rev": AMOUNT,
}
SCHEMAS = {
    "ACT": ACT_COLUMNS,
    "RENO": ACT_COLUMNS,
    "DCT": {**CHARGED_BEFORE, "channel_dct": TEXT, **DATES, **CAMPAIGN, "subscription_id": INTEGER},
    "PPD": {name: dtype for name, dtype in ACT_COLUMNS.items() if name != "channel_act"},
    "CNR": {"cancel_date": TIME, "sbn_id": INTEGER, "tmuserid": TEXT, "cpc": INTEGER, "mode": TEXT},
    "RFND": {
        "tmuserid": TEXT,
        "cpc": INTEGER,
        "refnd_date": TIME,
        "rfnd_amount": AMOUNT,
        "rfnd_cnt": INTEGER,
        "sbnid": INTEGER,
        "instant_rfnd": TEXT,
    },
}


def by_name() -> dict[str, TransactionType]:
    return {kind.name: kind for kind in TYPES}


def columns(kind: TransactionType, what: str) -> list[str]:
    return [column.name for column in kind.columns if getattr(column, what)]


def test_columns_order_and_types_are_those_of_the_feed_and_the_lake() -> None:
    """Section 3.3, 4.1."""
    assert [kind.name for kind in TYPES] == ["ACT", "RENO", "DCT", "PPD", "CNR", "RFND"]
    for name, schema in SCHEMAS.items():
        assert list(by_name()[name].schema().items()) == list(schema.items())
        assert by_name()[name].column_names == list(schema)


def test_every_type_has_as_many_columns_as_the_lake_names_with_the_partition() -> None:
    """Section 4.1."""
    counts = {kind.folder: len(kind.columns) + 1 for kind in TYPES}
    assert counts == {"act": 16, "reno": 16, "dct": 14, "ppd": 15, "cnr": 6, "rfnd": 8}


def test_what_a_row_cannot_do_without() -> None:
    """R27."""
    assert {name: columns(kind, "required") for name, kind in by_name().items()} == {
        "ACT": ["trans_type_id", "trans_date", "subscription_id"],
        "RENO": ["trans_type_id", "trans_date", "subscription_id"],
        "DCT": ["trans_type_id", "trans_date", "subscription_id"],
        "PPD": ["trans_type_id", "trans_date"],
        "CNR": ["cancel_date", "sbn_id"],
        "RFND": ["refnd_date", "rfnd_amount", "rfnd_cnt"],
    }
    for kind in TYPES:
        assert set(columns(kind, "lenient")) == {"channel_id", "tef_prov"} & set(kind.column_names)


def test_keys_dates_and_type_numbers() -> None:
    """R31, section 4.1, 3.3."""
    rows = [(kind.name, kind.key, kind.event_date, kind.subscription, kind.trans_type_id) for kind in TYPES]
    charged = ("subscription_id", "trans_date", "trans_type_id")
    assert rows == [
        ("ACT", charged, "trans_date", "subscription_id", 1),
        ("RENO", charged, "trans_date", "subscription_id", 2),
        ("DCT", charged, "trans_date", "subscription_id", 3),
        (
            "PPD",
            ("tmuserid", "cpc", "subscription_id", "trans_date", "trans_type_id"),
            "trans_date",
            "subscription_id",
            4,
        ),
        ("CNR", ("sbn_id", "cancel_date"), "cancel_date", "sbn_id", None),
        ("RFND", ("sbnid", "refnd_date", "tmuserid", "cpc", "instant_rfnd"), "refnd_date", "sbnid", None),
    ]
    assert [kind.name for kind in TYPES if kind.may_be_empty] == ["PPD"]
    for kind in TYPES:
        assert {*kind.key, kind.event_date, kind.subscription} <= set(kind.column_names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("all", ["ACT", "RENO", "DCT", "PPD", "CNR", "RFND"]),
        ("All, act", ["ACT", "RENO", "DCT", "PPD", "CNR", "RFND"]),
        ("rfnd", ["RFND"]),
        (" Rfnd ,,act,ACT", ["ACT", "RFND"]),
    ],
)
def test_types_are_named_in_any_case_and_come_in_the_order_of_the_fetch(names: str, expected: list[str]) -> None:
    """R4, R18."""
    assert [kind.name for kind in types_named(names)] == expected


@pytest.mark.parametrize(
    ("names", "unknown"), [("ACTS", "ACTS"), ("act,x y,REN", "REN, X Y"), ("", "of no name"), (" , ", "of no name")]
)
def test_anything_else_is_refused_with_the_allowed_list(names: str, unknown: str) -> None:
    """R4."""
    with pytest.raises(RequestRefused) as refused:
        types_named(names)
    assert refused.value.what == f"cvas has no transaction type {unknown}."
    assert refused.value.next_step == "Use all, or some of: ACT, RENO, DCT, PPD, CNR, RFND."
