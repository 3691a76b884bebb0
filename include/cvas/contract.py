"""The six types of transactions as agreed: columns, their order and types, keys, what a row cannot do without."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from include.errors import RequestRefused

if TYPE_CHECKING:
    import polars as pl


# In euro; sums are made of decimals that hold less (R48).
LARGEST_AMOUNT = 1e12


class Kind(Enum):
    """What a column holds, wherever it is stored."""

    TEXT = "string"
    INTEGER = "int64"
    AMOUNT = "double"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class Column:
    """One column of a type.

    ``required``: a row without it is rejected. ``lenient``: what cannot be read becomes null, with a warning.
    """

    name: str
    kind: Kind
    required: bool = False
    lenient: bool = False


@dataclass(frozen=True)
class TransactionType:
    """One type: its name in the daily files, columns in order, and what makes two rows the same (R31).

    ``event_date`` decides day and partition; ``subscription`` is the type's spelling of the subscription's id;
    ``trans_type_id`` the one value that column may have, if the type has the column.
    """

    name: str
    columns: tuple[Column, ...]
    event_date: str
    subscription: str
    key: tuple[str, ...]
    trans_type_id: int | None = None
    may_be_empty: bool = False

    @property
    def folder(self) -> str:
        """Its name in the lake."""
        return self.name.lower()

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    def schema(self) -> dict[str, pl.DataType]:
        """Names and types of a partition file, in order."""
        import polars as pl

        types = {
            Kind.TEXT: pl.String(),
            Kind.INTEGER: pl.Int64(),
            Kind.AMOUNT: pl.Float64(),
            Kind.TIMESTAMP: pl.Datetime("us"),
        }
        return {column.name: types[column.kind] for column in self.columns}


_USER = (Column("tmuserid", Kind.TEXT), Column("msisdn", Kind.TEXT))
_CPC = Column("cpc", Kind.INTEGER)
_TYPE_ID = Column("trans_type_id", Kind.INTEGER, required=True)
_CHANNEL_ID = Column("channel_id", Kind.INTEGER, lenient=True)
_DATES = (
    Column("trans_date", Kind.TIMESTAMP, required=True),
    Column("act_date", Kind.TIMESTAMP),
    Column("reno_date", Kind.TIMESTAMP),
)
_CAMPAIGN = (
    Column("camp_name", Kind.TEXT),
    Column("tef_prov", Kind.INTEGER, lenient=True),
    Column("campana_medium", Kind.TEXT),
    Column("campana_id", Kind.TEXT),
)
_SUBSCRIPTION = Column("subscription_id", Kind.INTEGER, required=True)
_REVENUE = Column("rev", Kind.AMOUNT)
_CHARGED = (
    *_USER,
    _CPC,
    _TYPE_ID,
    _CHANNEL_ID,
    Column("channel_act", Kind.TEXT),
    *_DATES,
    *_CAMPAIGN,
    _SUBSCRIPTION,
    _REVENUE,
)
_CHARGED_KEY = ("subscription_id", "trans_date", "trans_type_id")

ACT = TransactionType("ACT", _CHARGED, "trans_date", "subscription_id", _CHARGED_KEY, trans_type_id=1)
RENO = TransactionType("RENO", _CHARGED, "trans_date", "subscription_id", _CHARGED_KEY, trans_type_id=2)
DCT = TransactionType(
    "DCT",
    (*_USER, _CPC, _TYPE_ID, Column("channel_dct", Kind.TEXT), *_DATES, *_CAMPAIGN, _SUBSCRIPTION),
    "trans_date",
    "subscription_id",
    _CHARGED_KEY,
    trans_type_id=3,
)
PPD = TransactionType(
    "PPD",
    (
        *_USER,
        _CPC,
        _TYPE_ID,
        _CHANNEL_ID,
        *_DATES,
        *_CAMPAIGN,
        Column("subscription_id", Kind.INTEGER),
        _REVENUE,
    ),
    "trans_date",
    "subscription_id",
    ("tmuserid", "cpc", "subscription_id", "trans_date", "trans_type_id"),
    trans_type_id=4,
    may_be_empty=True,
)
CNR = TransactionType(
    "CNR",
    (
        Column("cancel_date", Kind.TIMESTAMP, required=True),
        Column("sbn_id", Kind.INTEGER, required=True),
        _USER[0],
        _CPC,
        Column("mode", Kind.TEXT),
    ),
    "cancel_date",
    "sbn_id",
    ("sbn_id", "cancel_date"),
)
RFND = TransactionType(
    "RFND",
    (
        _USER[0],
        _CPC,
        Column("refnd_date", Kind.TIMESTAMP, required=True),
        Column("rfnd_amount", Kind.AMOUNT, required=True),
        Column("rfnd_cnt", Kind.INTEGER, required=True),
        Column("sbnid", Kind.INTEGER),
        Column("instant_rfnd", Kind.TEXT),
    ),
    "refnd_date",
    "sbnid",
    ("sbnid", "refnd_date", "tmuserid", "cpc", "instant_rfnd"),
)

# In the order in which they are fetched (R18).
TYPES = (ACT, RENO, DCT, PPD, CNR, RFND)


def types_named(names: str) -> tuple[TransactionType, ...]:
    """The types of a comma separated list, in the order of the fetch; ``all`` means six, case does not matter (R4).

    Raises RequestRefused naming what is no type.
    """
    asked = {name.strip().upper() for name in names.split(",") if name.strip()}
    known = {each.name for each in TYPES}
    unknown = sorted(asked - known - {"ALL"})
    if unknown or not asked:
        raise RequestRefused(
            f"cvas has no transaction type {', '.join(unknown) or 'of no name'}.",
            next_step=f"Use all, or some of: {', '.join(each.name for each in TYPES)}.",
        )
    return TYPES if "ALL" in asked else tuple(each for each in TYPES if each.name in asked)
