"""Whose booking is it: bill codes to customers and agencies (R29). People maintain both; nothing is created here."""

import re
import sqlite3
from functools import cache
from typing import NamedTuple

_DO_NOT_INVOICE = re.compile(r"\s+\(\s*Broker\s+(?:Fees|Costs)\s*-\s*DO\s+NOT\s+INVOICE\s*\)", re.IGNORECASE)
_CREDIT_MEMO = re.compile(r"\s+CREDIT\s*MEMO\b", re.IGNORECASE)
_PRODUCTION = re.compile(r"(?: |- )PROD(?:UCTION)?$", re.IGNORECASE)


class Parties(NamedTuple):
    customer_id: int | None
    agency_id: int | None


class NameBook:
    """The active customers, agencies and aliases of a database, read once per run."""

    def __init__(self, db: sqlite3.Connection) -> None:
        customers = dict(db.execute("SELECT customer_id, normalized_name FROM customers WHERE is_active = 1"))
        agencies = dict(db.execute("SELECT agency_id, agency_name FROM agencies WHERE is_active = 1"))
        aliases = db.execute("SELECT entity_type, alias_name, target_entity_id FROM entity_aliases WHERE is_active = 1")
        self._customers: dict[str, int] = {}
        self._agencies: dict[str, int] = {}
        for kind, alias, target in aliases:
            names, book = (customers, self._customers) if kind == "customer" else (agencies, self._agencies)
            if target in names:
                book[_key(alias)] = target
        # Names are entered last: a name beats an alias of the same text.
        self._customers |= {_key(name): each for each, name in customers.items()}
        self._agencies |= {_key(name): each for each, name in agencies.items()}
        self.resolve = cache(self._resolve)

    def _resolve(self, bill_code: str) -> Parties:
        """Customer and agency of a bill code, each None if nobody of that name is known."""
        agency = self._agencies.get(_key(agency_name(bill_code) or ""))
        customer = next((self._customers[key] for key in _candidates(bill_code) if key in self._customers), None)
        return Parties(customer, agency)


def agency_name(bill_code: str) -> str | None:
    """The agency a bill code names: the text before its first colon, unless that is ``Direct``."""
    first, colon, _ = bill_code.partition(":")
    return first.strip() if colon and _key(first) != "direct" else None


def _candidates(bill_code: str) -> list[str]:
    """What to look a customer up by, best first: the same advertiser under two agencies is two customers, so the whole
    bill code comes before its parts."""
    parts = [bill_code, bill_code.partition(":")[2] or bill_code, bill_code.rpartition(":")[2]]
    return [_key(part) for part in [*parts, *map(_cleaned, parts)]]


def _cleaned(name: str) -> str:
    name = _CREDIT_MEMO.sub("", _DO_NOT_INVOICE.sub("", name)).strip()
    return " ".join(_PRODUCTION.sub("", name).split())


def _key(name: str) -> str:
    return name.strip().casefold()
