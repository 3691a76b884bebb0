"""Everything about one customer's subscriptions, for the person who answers the complaint (R66). Terminal only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import fsum
from typing import Any

from include.common import locks
from include.common.tables import render_table, render_value
from include.cvas.config import Lake, Settings
from include.cvas.engine import open_engine
from include.cvas.lake import reading
from include.cvas.tables import rows_of, show_transactions
from include.cvas.view import show_view
from include.errors import RequestRefused

JOB = "cvas_look_up"
COUNTRY_CODE, PHONE_DIGITS = "34", 9
GROUPS = {
    "Customer": ("subscription_id", "tmuserid", "msisdn"),
    "Service": (
        *("service_name", "tme_category", "cpc_list", "cpc_count", "first_cpc", "current_cpc", "cpc_user_base"),
    ),
    "Activation": (
        *("activation_date", "activation_trans_date", "activation_month", "activation_campaign", "activation_channel"),
        *("activation_revenue", "missing_act_record"),
    ),
    "Upgrades": (
        *("has_upgraded", "upgrade_count", "last_upgrade_date", "last_upgrade_cpc", "upgrade_revenue"),
        *("upgrade_date", "upgraded_to_cpc"),
    ),
    "Renewals": (
        *("renewal_count", "renewal_revenue", "first_renewal_date", "last_renewal_date", "last_activity_date"),
    ),
    "Refunds": ("refund_count", "refund_events", "total_refunded", "last_refund_date"),
    "Revenue": ("total_revenue", "total_revenue_with_upgrade", "gross_revenue", "net_revenue"),
    "End": (
        *("subscription_status", "cancellation_date", "cancellation_mode", "deactivation_date", "deactivation_mode"),
        *("end_date", "lifetime_days", "active_after_end"),
    ),
}
# Numbers that are names: without a separator for thousands.
NAMES = (
    "subscription_id",
    "cpc",
    "cpc_list",
    "first_cpc",
    "current_cpc",
    "last_upgrade_cpc",
    "upgraded_to_cpc",
    "tef_prov",
)
HISTORY = (
    *("event_date", "kind", "cpc", "channel", "amount", "refunds", "act_date", "reno_date", "camp_name", "tef_prov"),
    *("campana_medium", "campana_id", "tmuserid", "msisdn"),
)
TYPES = {"ACT": "activations", "RENO": "renewals", "DCT": "deactivations", "CNR": "cancellations", "PPD": "purchases"}

LARGEST_ID = 2**63 - 1  # an int64 in the lake
_TOLD = {"subscription_id": "subscription", "tmuserid": "user", "msisdn": "phone"}

Row = Mapping[str, Any]


def look_up(
    lake: Lake,
    *,
    subscription_id: int | None = None,
    user_id: str | None = None,
    phone: str | None = None,
    settings: Settings,
) -> str:
    """What the view and the lake know about a subscription, or about all those of a user or a phone, as text.

    A phone may lack the country code. The text holds personal data: it is for a terminal, never for a log.

    Raises RequestRefused unless exactly one of the three is given and can be one, SourceMissing without the view,
    ContractViolation for one with other columns, StoreBusy while lake or view are written.
    """
    asked = _asked(subscription_id, user_id, phone)
    with (
        locks.hold(lake.view_lock, JOB, shared=True),
        reading(lake, JOB),
        open_engine(lake, settings) as engine,
    ):
        show_view(engine, lake)
        show_transactions(engine, lake)
        if subscription_id is not None:
            ids = [subscription_id]
        else:
            found = rows_of(engine, "select_user_subscription_ids", **asked, user=asked["value"] if user_id else None)
            ids = [each["subscription_id"] for each in found]
        subscriptions = rows_of(engine, "select_user_subscriptions", subscriptions=ids)
        users = {each["tmuserid"] for each in subscriptions} | ({asked["value"]} if user_id else set())
        phones = {each["msisdn"] for each in subscriptions} | ({asked["value"]} if phone else set())
        history = rows_of(
            engine,
            "select_user_history",
            subscriptions=ids,
            users=sorted(users - {None}),
            phones=sorted(phones - {None}),
        )
    title = f"{_TOLD[asked['who'][0]]} {asked['value']}"
    return _render(title, ids, subscriptions, history) if subscriptions or history else f"Nothing is known of {title}."


def phone_number(text: str) -> str | None:
    """A phone as the lake has it, with the country code; None if the text is no number."""
    digits = text.replace(" ", "").removeprefix("+").removeprefix("00")
    if not (digits.isascii() and digits.isdecimal()):
        return None
    return COUNTRY_CODE + digits if len(digits) == PHONE_DIGITS else digits


def _asked(subscription_id: int | None, user_id: str | None, phone: str | None) -> dict[str, Any]:
    given = {"subscription_id": subscription_id, "tmuserid": user_id, "msisdn": phone}
    named = {column: value for column, value in given.items() if value is not None}
    if len(named) != 1:
        raise RequestRefused(
            "cvas: a look-up takes one of subscription id, user id and phone.", next_step="Give exactly one of them."
        )
    ((column, value),) = named.items()
    clean = phone_number(str(value)) if column == "msisdn" else str(value).strip()
    if not clean or (column == "subscription_id" and not 0 <= int(clean) <= LARGEST_ID):
        raise RequestRefused(
            f"cvas: what was given as {_TOLD[column]} is none.",
            next_step="Give the digits, for a phone with or without 34.",
        )
    return {"who": [column], "value": clean}


def _render(title: str, ids: Sequence[int], subscriptions: Sequence[Row], history: Sequence[Row]) -> str:
    of_id = {each["subscription_id"]: each for each in subscriptions}
    parts = [f"{title}: subscriptions {len(ids)}, transactions {len(history)}", _totals(subscriptions, history)]
    for id_ in ids:
        events = [each for each in history if each["subscription_id"] == id_ and each["kind"] != "PPD"]
        if not events and id_ not in of_id:
            continue
        parts.append(f"=== Subscription {id_} ===")
        parts += (
            [_details(of_id[id_]), _timeline(of_id[id_])]
            if id_ in of_id
            else ["Not in the view: it had no activation and no renewal when that was built."]
        )
        parts.append(_section("Transactions", _history(events)))
    loose = [each for each in history if each["subscription_id"] is None and each["kind"] == "RFND"]
    purchases = [each for each in history if each["kind"] == "PPD"]
    if loose:
        parts.append(_section("Refunds that name no subscription", _history(loose)))
    if purchases:
        parts.append(_section("Single purchases (PPD)", _history(purchases)))
    return "\n\n".join(parts)


def _section(title: str, content: str) -> str:
    return f"{title}\n{content or '  none'}"


def _totals(subscriptions: Sequence[Row], history: Sequence[Row]) -> str:
    def total(column: str) -> float:
        return fsum(each[column] for each in subscriptions)

    money = [(name.replace("_", " "), total(name)) for name in ("gross_revenue", "total_refunded", "net_revenue")]
    renewals = sum(each["renewal_count"] for each in subscriptions)
    statuses = Counter(each["subscription_status"] for each in subscriptions)
    return "\n\n".join(
        (
            _section("Totals", render_table((), [*money, ("renewals", renewals)], indent="  ")),
            _section("By status", render_table((), sorted(statuses.items()), indent="  ") if statuses else ""),
            _section("By CPC", _by_cpc(history)),
        )
    )


def _by_cpc(history: Iterable[Row]) -> str:
    rows = []
    events = list(history)
    for cpc in sorted({each["cpc"] for each in events}, key=lambda cpc: (cpc is None, cpc)):
        of_cpc = [each for each in events if each["cpc"] == cpc]
        counts = Counter(each["kind"] for each in of_cpc)
        charged = fsum(each["amount"] or 0 for each in of_cpc if each["kind"] != "RFND")
        refunded = fsum(each["amount"] or 0 for each in of_cpc if each["kind"] == "RFND")
        refunds = sum(each["refunds"] or 0 for each in of_cpc)
        rows.append((_named("cpc", cpc), *(counts[name] for name in TYPES), charged, refunds, refunded))
    return render_table(("cpc", *TYPES.values(), "charged", "refunds", "refunded"), rows, indent="  ") if rows else ""


def _details(subscription: Row) -> str:
    return "\n\n".join(
        _section(
            group,
            render_table((), [(name, render_value(_named(name, subscription[name]))) for name in columns], indent="  "),
        )
        for group, columns in GROUPS.items()
    )


def _timeline(subscription: Row) -> str:
    def told(what: str, *details: object) -> str:
        known = [str(each) for each in details if each is not None]
        return f"{what} ({', '.join(known)})" if known else what

    s = subscription
    dates: list[tuple[datetime | None, str]] = [
        (s["activation_date"], told("activated", s["first_cpc"], s["activation_channel"], s["activation_campaign"])),
        (s["first_renewal_date"], "first renewal"),
        (s["last_upgrade_date"], told("last upgrade", s["last_upgrade_cpc"])),
        (s["last_renewal_date"], f"last of {s['renewal_count']} renewals"),
        (s["last_refund_date"], f"last of {s['refund_events']} refunds, {s['total_refunded']:.2f} euro in all"),
        (s["cancellation_date"], told("cancelled", s["cancellation_mode"])),
        (s["deactivation_date"], told("deactivated", s["deactivation_mode"])),
    ]
    rows = sorted(((date, what) for date, what in dates if date), key=lambda each: each[0])
    return _section("Timeline", render_table((), rows, indent="  ") if rows else "")


def _history(events: Sequence[Row]) -> str:
    rows = [[_named(name, each[name]) for name in HISTORY] for each in events]
    return render_table(HISTORY, rows, indent="  ") if rows else ""


def _named(column: str, value: Any) -> Any:
    if column not in NAMES or value is None:
        return value
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
