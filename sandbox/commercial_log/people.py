"""Who books: invented customers and agencies, what people registered of them, and the bill codes traffic types.

Zipf over customers, 78 % billed through an agency, one agency (``WorldLink``) with all Direct Response business.
What is odd about a bill code is decided by its number, so that every oddity is there for every seed.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import cache
from random import Random

from include.common.sql import transaction
from sandbox.commercial_log.tables import Table

CUSTOMERS = 300
WORLDLINK_CUSTOMERS = 90
WORLDLINK = "WorldLink"
HOUSE = "House"
ZIPF = 1.1

SELLERS = ("Mara Lindqvist", "Tomas Okafor", "Grace Villar", "Henry Duong", "Priya Nair", "Owen Castell")
FIRST_WORDS = (
    *("Blue", "Golden", "Silver", "Pacific", "Harbor", "Lotus", "Jade", "Orchid", "Bamboo", "Sunrise"),
    *("Valley", "River", "Cedar", "Crystal", "Summit", "Coastal", "Lantern", "Maple", "Phoenix Hill", "Evergreen"),
)
# Second word of a customer's name -> sector of the reference data.
TRADES = {
    "Motors": 1,
    "Farms": 2,
    "Foods": 2,
    "Insurance": 3,
    "Outreach": 4,
    "Electronics": 5,
    "Savings": 6,
    "Clinic": 7,
    "Dental": 7,
    "Furniture": 8,
    "Jewelers": 8,
    "Telecom": 9,
    "Pictures": 10,
    "Water District": 11,
    "Academy": 12,
    "Relief Fund": 13,
    "Law & Notary": 14,
    "Casino": 15,
    "Noodle House": 17,
    "Travel": 20,
}
AGENCY_FIRST_WORDS = (
    "North",
    "Bridge",
    "Redwood",
    "Anchor",
    "Prism",
    "Meridian",
    "Copper",
    "Willow",
    "Falcon",
    "Tidal",
    "Ember",
)
AGENCY_SECOND_WORDS = ("Media", "Advertising", "Partners", "Communications")

# A customer has a feature when its number modulo the first figure is one of the others.
FEATURES = {
    "unknown": (25, (3, 11, 19)),  # 12 % of the bill codes: nobody registered this customer
    "alias": (100, (7, 32, 57)),  # 3 %: registered under another name, this one is an alias
    "production": (50, (15,)),  # 2 %: the code ends in PRODUCTION
    "two agencies": (100, (40,)),  # 1 %: Agency1:Agency2:Customer
    "note": (150, (26,)),  # a remark to finance is part of the code
    "whole code": (10, (0, 2, 6)),  # registered as Agency:Customer, not as Customer
}
PRODUCTION_ENDINGS = (" PRODUCTION", " PROD", " - PRODUCTION")
NOTES = (" (Broker Fees - DO NOT INVOICE)", "  Credit  Memo")
# Of 44 agencies besides WorldLink: spelled differently by traffic, or not registered at all.
AGENCY_ALIASES = {4: "{} LLC", 19: "The {}", 34: "{} Inc."}
UNREGISTERED_AGENCIES = (9, 24)


@dataclass(frozen=True)
class BillCode:
    """A bill code as typed, with the ids of what it must resolve to (None: unresolved)."""

    text: str
    agency_billed: bool
    seller: str
    customer_id: int | None
    agency_id: int | None


@dataclass(frozen=True)
class People:
    """Rows of the tables people maintain (column -> value), and the bill codes spots are booked under."""

    agencies: tuple[dict[str, object], ...]
    customers: tuple[dict[str, object], ...]
    entity_aliases: tuple[dict[str, object], ...]
    worldlink_codes: Table[BillCode]
    other_codes: Table[BillCode]


def has_feature(number: int, name: str) -> bool:
    modulus, remainders = FEATURES[name]
    return number % modulus in remainders


@cache
def make_people(seed: int) -> People:
    """The people data of one seed; the same on every day."""
    names = [f"{first} {trade}" for first in FIRST_WORDS for trade in TRADES]
    agency_names = [f"{first} {second}" for first in AGENCY_FIRST_WORDS for second in AGENCY_SECOND_WORDS]
    shuffle = Random(f"{seed}|people")
    names.sort(key=lambda _: shuffle.random())
    agency_names.sort(key=lambda _: shuffle.random())

    register = _Register()
    worldlink_id = register.agency(WORLDLINK)
    agencies: list[tuple[str, int | None]] = []  # as traffic types it, id
    for number, name in enumerate(agency_names):
        if number in UNREGISTERED_AGENCIES:
            agencies.append((name, None))
        elif number in AGENCY_ALIASES:
            agency_id = register.agency(name)
            spelled = AGENCY_ALIASES[number].format(name)
            register.alias(spelled, "agency", agency_id)
            agencies.append((spelled, agency_id))
        else:
            agencies.append((name, register.agency(name)))

    codes: list[BillCode] = []
    for number in range(CUSTOMERS):
        if number < WORLDLINK_CUSTOMERS:
            agency: tuple[str, int | None] | None = (WORLDLINK, worldlink_id)
        elif (number * 18) % 35 < 24 or has_feature(number, "two agencies"):
            agency = agencies[(number * 17) % len(agencies)]
        else:
            agency = None
        codes.append(_bill_code(number, names[number], agency, agencies, register))

    return People(
        agencies=tuple(register.agencies),
        customers=tuple(register.customers),
        entity_aliases=tuple(register.aliases),
        worldlink_codes=_zipf(codes[:WORLDLINK_CUSTOMERS]),
        other_codes=_zipf(codes[WORLDLINK_CUSTOMERS:]),
    )


def load_people(connection: sqlite3.Connection, people: People) -> None:
    """Insert the people data into ``agencies``, ``customers``, ``entity_aliases``; rows already there stay."""
    with transaction(connection):
        for table, rows in (
            ("agencies", people.agencies),
            ("customers", people.customers),
            ("entity_aliases", people.entity_aliases),
        ):
            columns = list(rows[0])
            marks = ", ".join(f":{column}" for column in columns)
            connection.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


def _bill_code(
    number: int,
    name: str,
    agency: tuple[str, int | None] | None,
    agencies: list[tuple[str, int | None]],
    register: _Register,
) -> BillCode:
    agency_name, agency_id = agency or (None, None)
    if agency_name is None:
        text = f"Direct:{name}" if number % 8 == 0 else name
    elif has_feature(number, "two agencies"):
        text = f"{agency_name}:{agencies[number % len(agencies)][0]}:{name}"
    else:
        text = f"{agency_name}:{name}"

    sector_id = TRADES[next(trade for trade in TRADES if name.endswith(trade))]
    customer_id: int | None
    if has_feature(number, "unknown"):
        # Never entered, entered and switched off, or an alias of something switched off: all three are "unknown".
        customer_id = None
        if number % 3 == 1:
            register.customer(name, sector_id, agency_id, is_active=False)
        elif number % 3 == 2:
            inactive = register.customer(f"{name} (closed)", sector_id, agency_id, is_active=False)
            register.alias(name, "customer", inactive)
    elif has_feature(number, "alias"):
        customer_id = register.customer(f"{name} Holdings", sector_id, agency_id)
        register.alias(name, "customer", customer_id)
    elif agency_name and has_feature(number, "whole code") and not has_feature(number, "two agencies"):
        customer_id = register.customer(text, sector_id, agency_id)
        # The same advertiser without this agency is another customer: the whole code has to win.
        register.customer(name, sector_id, None)
    else:
        customer_id = register.customer(name.upper() if number % 7 == 0 else name, sector_id, agency_id)

    if has_feature(number, "production"):
        text += PRODUCTION_ENDINGS[number // 50 % len(PRODUCTION_ENDINGS)]
    if has_feature(number, "note"):
        text += NOTES[number // 150 % len(NOTES)]
    seller = HOUSE if agency_name == WORLDLINK else SELLERS[number % len(SELLERS)]
    return BillCode(text, agency_name is not None, seller, customer_id, agency_id)


def _zipf(codes: list[BillCode]) -> Table[BillCode]:
    return Table(*((code, 1 / rank**ZIPF) for rank, code in enumerate(codes, start=1)))


class _Register:
    """What people typed into the reference tables; ids count from 1."""

    def __init__(self) -> None:
        self.agencies: list[dict[str, object]] = []
        self.customers: list[dict[str, object]] = []
        self.aliases: list[dict[str, object]] = []

    def agency(self, name: str) -> int:
        agency_id = len(self.agencies) + 1
        self.agencies.append({"agency_id": agency_id, "agency_name": name, "is_active": 1, "notes": None})
        return agency_id

    def customer(self, name: str, sector_id: int, agency_id: int | None, *, is_active: bool = True) -> int:
        customer_id = len(self.customers) + 1
        self.customers.append(
            {
                "customer_id": customer_id,
                "normalized_name": name,
                "sector_id": sector_id,
                "agency_id": agency_id,
                "customer_type": "advertiser",
                "is_active": int(is_active),
                "notes": None,
            }
        )
        return customer_id

    def alias(self, name: str, entity_type: str, target: int) -> None:
        self.aliases.append(
            {
                "alias_name": name,
                "entity_type": entity_type,
                "target_entity_id": target,
                "confidence_score": 100,
                "created_by": "office",
                "is_active": 1,
            }
        )
