"""What has to come out, worked out row by row from the rules and from nothing the system uses.

Slow and literal on purpose: dictionaries, loops and decimals; no frames, no SQL, no code shared with the pipeline. Rows
are dictionaries by column; a missing value is None.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
Events = Mapping[str, Sequence[Row]]  # by type, "ACT" to "RFND"

UPGRADE = "UPGRADE"
UNKNOWN = "UNKNOWN"
EXCLUDED_SERVICES = ("nubico", "challenge arena", "movistar apple music", "juegos onmo")
MICRO, CENT = Decimal("0.000001"), Decimal("0.01")
COUNTS = (
    *("act_count", "act_free", "act_pay", "upg_count", "reno_count", "dct_count", "upg_dct_count"),
    *("cnr_count", "ppd_count", "rfnd_count"),
)


# --- The subscription view (4.2, R37-R48) ----------------------------------------------------------------------------


def subscription_view(
    events: Events,
    *,
    as_of: date,
    mastercpc: Mapping[int, tuple[str, str]] | None = None,
    snapshot: Mapping[int, tuple[str, str]] | None = None,
    user_base: Mapping[tuple[date, int], int] | None = None,
) -> list[dict[str, Any]]:
    """The 45 columns of every subscription, sorted by id.

    ``mastercpc`` and ``snapshot`` give service and category by CPC, the latter of the newest snapshot; ``user_base`` is
    users by (date, CPC). PPD plays no part and may be missing.
    """
    of_id: dict[int, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for kind, key in (
        ("ACT", "subscription_id"),
        ("RENO", "subscription_id"),
        ("DCT", "subscription_id"),
        ("CNR", "sbn_id"),
        ("RFND", "sbnid"),
    ):
        for row in events.get(kind, ()):
            if row[key] is not None:
                of_id[row[key]][kind].append(row)
    newest = max((day for day, _ in user_base or {} if day <= as_of), default=None)
    users = {cpc: count for (day, cpc), count in (user_base or {}).items() if day == newest}
    return [
        _subscription(number, of_id[number], as_of, mastercpc or {}, snapshot or {}, users)
        for number in sorted(of_id)
        if of_id[number]["ACT"] or of_id[number]["RENO"]  # R38
    ]


def _subscription(
    number: int,
    rows: Mapping[str, list[Row]],
    as_of: date,
    mastercpc: Mapping[int, tuple[str, str]],
    snapshot: Mapping[int, tuple[str, str]],
    users: Mapping[int, int],
) -> dict[str, Any]:
    acts, renewals = sorted(rows["ACT"], key=_act_order), sorted(rows["RENO"], key=_reno_order)
    events = sorted(
        [*((_act_order(row), row) for row in acts), *((_reno_order(row), row) for row in renewals)],
        key=lambda pair: pair[0],
    )
    first, last = events[0][1], _last([row for _, row in events])
    last_act = _last(acts)
    upgrades = [row for row in acts if row["channel_act"] == UPGRADE]
    last_upgrade = _last(upgrades)
    cpcs = _cpcs(events)
    first_act_revenue = _micro(acts[0]["rev"]) if acts else Decimal(0)
    renewed = sum((_micro(row["rev"]) for row in renewals), Decimal(0))
    renewed_at = [row["trans_date"] for row in renewals if row["trans_date"] is not None]
    last_renewal = max(renewed_at, default=None)

    ends = [row for row in rows["DCT"] if row["channel_dct"] not in (None, UPGRADE)]  # R42, R43
    deactivation = _latest(ends, "trans_date", "channel_dct")
    cancellation = _latest(rows["CNR"], "cancel_date", "mode")
    deactivated, cancelled = deactivation.get("trans_date"), cancellation.get("cancel_date")
    end = cancelled if cancelled is not None else deactivated
    status = "Cancelled" if cancelled is not None else "Deactivated" if deactivated is not None else "Active"
    ended = as_of if end is None else end.date()

    refunds = rows["RFND"]
    refunded = sum((_micro(row["rfnd_amount"]) for row in refunds), Decimal(0))
    refunded_absolutely = sum((abs(_micro(row["rfnd_amount"])) for row in refunds), Decimal(0))
    gross = sum((_micro(row["rev"]) for row in [*acts, *renewals]), Decimal(0))
    total = first_act_revenue + renewed
    service, category = mastercpc.get(last["cpc"]) or snapshot.get(last["cpc"]) or (UNKNOWN, "")
    return {
        "subscription_id": number,
        "tmuserid": first["tmuserid"],
        "msisdn": first["msisdn"],
        "cpc_list": cpcs,
        "cpc_count": len(cpcs),
        "first_cpc": first["cpc"],
        "current_cpc": last["cpc"],
        "has_upgraded": len(cpcs) > 1,
        "upgrade_date": last_act.get("trans_date"),
        "upgraded_to_cpc": last_act.get("cpc"),
        "activation_date": first["act_date"],
        "activation_trans_date": acts[0]["trans_date"] if acts else first["trans_date"],
        "missing_act_record": not acts,
        "activation_campaign": first["camp_name"],
        "activation_channel": first["channel_act"],
        "activation_revenue": float(first_act_revenue),
        "activation_month": first["trans_date"] and f"{first['trans_date']:%Y-%m}",
        "renewal_count": len(renewals),
        "renewal_revenue": float(renewed),
        "last_renewal_date": last_renewal,
        "first_renewal_date": min(renewed_at, default=None),
        "last_activity_date": last_renewal if last_renewal is not None else first["act_date"],
        "deactivation_date": deactivated,
        "deactivation_mode": deactivation.get("channel_dct"),
        "cancellation_date": cancelled,
        "cancellation_mode": cancellation.get("mode"),
        "refund_count": len(refunds),
        "total_refunded": float(refunded),
        "last_refund_date": max((row["refnd_date"] for row in refunds if row["refnd_date"] is not None), default=None),
        "total_revenue": float(total),
        "total_revenue_with_upgrade": float(total + _micro(last_act.get("rev"))),
        "subscription_status": status,
        "lifetime_days": None if first["act_date"] is None else (ended - first["act_date"].date()).days,  # R46
        "end_date": end,
        "upgrade_count": len(upgrades),
        "last_upgrade_date": last_upgrade.get("trans_date"),
        "last_upgrade_cpc": last_upgrade.get("cpc"),
        "upgrade_revenue": float(sum((_micro(row["rev"]) for row in upgrades), Decimal(0))),
        "gross_revenue": float(gross),
        "refund_events": sum(row["rfnd_cnt"] or 0 for row in refunds),
        "net_revenue": float(gross - refunded_absolutely),
        "service_name": service,
        "tme_category": category,
        "cpc_user_base": users.get(last["cpc"]),
        "active_after_end": end is not None
        and any(row["trans_date"] is not None and row["trans_date"] > end for _, row in events),
    }


def _act_order(row: Row) -> tuple[Any, ...]:
    return _event_order(row, 0)


def _reno_order(row: Row) -> tuple[Any, ...]:
    return _event_order(row, 1)


def _event_order(row: Row, rank: int) -> tuple[Any, ...]:
    """R37: date, ACT before RENO, then everything else; what is missing comes last."""
    values = [row[name] for name in ("cpc", "rev", "channel_act", "camp_name", "act_date", "tmuserid", "msisdn")]
    return (_nulls_last(row["trans_date"]), rank, *map(_nulls_last, values))


def _nulls_last(value: Any) -> tuple[bool, Any]:
    return (value is None, 0 if value is None else value)


def _last(ordered: Sequence[Row]) -> Row:
    """R37: the greatest that has a date; if none has one, the greatest; of no rows an empty one."""
    dated = [row for row in ordered if row["trans_date"] is not None]
    return (dated or [{}, *ordered])[-1]


def _cpcs(events: Iterable[tuple[tuple[Any, ...], Row]]) -> list[int]:
    """R41: by when each was first seen, ACT before RENO, smaller ones first."""
    seen: dict[int, tuple[Any, ...]] = {}
    for order, row in events:
        if row["cpc"] is not None:
            seen[row["cpc"]] = min(seen.get(row["cpc"], order[:2]), order[:2])
    return sorted(seen, key=lambda cpc: (seen[cpc], cpc))


def _latest(rows: Iterable[Row], at: str, text: str) -> Row:
    """R43: the greatest date; of equal ones the greatest text."""
    dated = [row for row in rows if row[at] is not None]
    return max(dated, key=lambda row: (row[at], row[text] is not None, row[text] or ""), default={})


def _micro(amount: float | None) -> Decimal:
    """R48."""
    return Decimal(0) if amount is None else Decimal(repr(amount)).quantize(MICRO, ROUND_HALF_UP)


# --- Counters and KPIs (4.4, R54-R56) --------------------------------------------------------------------------------


def counters(
    events: Events, *, excluded_phones: Iterable[str] = (), excluded_users: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """One row per (date, cpc) with the columns of Counters_CPC.parquet but the time of writing, sorted."""
    phones, users = set(excluded_phones), set(excluded_users)
    found: dict[tuple[date, int], dict[str, Any]] = {}

    def count(at: datetime | None, cpc: int | None, **more: Any) -> None:
        if at is None or cpc is None:
            return
        empty = {**dict.fromkeys(COUNTS, 0), "rfnd_amount": Decimal(0), "rev": Decimal(0)}
        row = found.setdefault((at.date(), cpc), empty)
        for name, value in more.items():
            row[name] += value

    for row in events.get("ACT", ()):
        if row["msisdn"] not in phones:
            rev, upgrade = row["rev"], row["channel_act"] == UPGRADE
            count(
                row["trans_date"],
                row["cpc"],
                act_count=int(not upgrade),
                act_free=int(not upgrade and rev == 0),
                act_pay=int(not upgrade and rev is not None and rev > 0),
                upg_count=int(upgrade),
                rev=_micro(rev),
            )
    for kind, name in (("RENO", "reno_count"), ("PPD", "ppd_count")):
        for row in events.get(kind, ()):
            if row["msisdn"] not in phones:
                count(row["trans_date"], row["cpc"], **{name: 1, "rev": _micro(row["rev"])})
    for row in events.get("DCT", ()):
        if row["msisdn"] not in phones:
            name = "upg_dct_count" if row["channel_dct"] == UPGRADE else "dct_count"
            count(row["trans_date"], row["cpc"], **{name: 1})
    for row in events.get("CNR", ()):
        if row["tmuserid"] not in users:
            count(row["cancel_date"], row["cpc"], cnr_count=1)
    for row in events.get("RFND", ()):
        if row["tmuserid"] not in users:
            count(row["refnd_date"], row["cpc"], rfnd_count=row["rfnd_cnt"], rfnd_amount=_micro(row["rfnd_amount"]))
    return [
        {
            "date": day,
            "cpc": cpc,
            **{name: row[name] for name in COUNTS},
            "rfnd_amount": _euro(row["rfnd_amount"]),
            "rev": _euro(row["rev"]),
        }
        for (day, cpc), row in sorted(found.items())
    ]


def service_counters(
    by_cpc: Iterable[Row],
    mastercpc: Mapping[int, tuple[str, str, int, float]],
    *,
    excluded_services: Sequence[str] = EXCLUDED_SERVICES,
) -> list[dict[str, Any]]:
    """The rows of Counters_Service.csv out of :func:`counters`; ``mastercpc`` is that of :func:`read_mastercpc`."""
    rows = []
    for row in by_cpc:
        service, category, period, price = mastercpc.get(row["cpc"], (UNKNOWN, "", 0, 0.0))
        if not _is_excluded(service, excluded_services):
            about = {"date": row["date"], "service_name": service, "tme_category": category, "cpc": row["cpc"]}
            rows.append({**about, "cpc_period": period, "cpc_price": price, **row})
    return sorted(rows, key=lambda row: (row["date"], row["service_name"], row["cpc"]))


def kpis(
    by_service: Iterable[Row],
    user_base: Mapping[tuple[date, int], int],
    mastercpc: Mapping[int, tuple[str, str, int, float]],
) -> list[dict[str, Any]]:
    """The rows of Service_KPI.csv out of :func:`service_counters`, the ratios not rounded.

    The users of a service are those of its CPCs; on a day with a snapshot that has none of them they are 0, without a
    snapshot None.
    """
    users: dict[tuple[date, str, str], int] = defaultdict(int)
    for (day, cpc), count in user_base.items():
        service, category, *_ = mastercpc.get(cpc, (UNKNOWN, ""))
        users[day, service, category] += count
    snapshots = {day for day, _ in user_base}
    sums: dict[tuple[date, str, str], dict[str, Any]] = {}
    for row in by_service:
        key = (row["date"], row["service_name"], row["tme_category"])
        total = sums.setdefault(key, {"act_count": 0, "dct_count": 0, "rev": Decimal(0)})
        total["act_count"] += row["act_count"]
        total["dct_count"] += row["dct_count"]
        total["rev"] += _micro(row["rev"])
    rows = []
    for (day, service, category), total in sorted(sums.items()):
        before = day - timedelta(days=1)
        start = users[before, service, category] if before in snapshots else None
        end = users[day, service, category] if day in snapshots else None
        at_risk = 0 if start is None else start + total["act_count"]
        both = 0 if start is None or end is None else start + end
        rows.append(
            {
                "date": day,
                "service_name": service,
                "tme_category": category,
                "user_base_start": start,
                "user_base_end": end,
                "act_count": total["act_count"],
                "dct_count": total["dct_count"],
                "rev": _euro(total["rev"]),
                "net_activations": total["act_count"] - total["dct_count"],
                "churn_rate": total["dct_count"] / at_risk if at_risk > 0 else None,
                "arpu": float(total["rev"] / (Decimal(both) / 2)) if both > 0 else None,
            }
        )
    return rows


def read_mastercpc(path: Path) -> dict[int, tuple[str, str, int, float]]:
    """Service, category, period and price by CPC out of either layout (R58); the first row of a CPC counts."""
    found: dict[int, tuple[str, str, int, float]] = {}
    for row in csv.DictReader(io.StringIO(path.read_text("utf-8"), newline="")):
        if "CPCs" not in row:
            paid = (row["service_name"], row["tme_category"], row["cpc_period"], row["cpc_price"])
            prices = [(row["cpc"], paid)]
        else:
            names = (row["Service Name"], row["TME Category"])
            codes = [code.strip() for code in (row["CPCs"].strip("{} ") + "," + row["Upgrade_CPC"]).split(",")]
            free = row["Free_CPC"].strip()
            prices = [
                (
                    code,
                    (*names, row["Free_Period"], "0")
                    if code == free
                    else (*names, row["CHG_Period"], row["CHG_Price"]),
                )
                for code in codes
                if code
            ]
        for code, (service, category, period, price) in prices:
            values = (service.strip() or UNKNOWN, category.strip(), int(period or 0), float(price or 0))
            found.setdefault(int(code), values)
    return found


def _euro(amount: Decimal) -> float:
    return float(amount.quantize(CENT, ROUND_HALF_UP))


def _is_excluded(service: str, keywords: Iterable[str]) -> bool:
    return any(keyword.casefold() in service.casefold() for keyword in keywords)


# --- The user base (4.3, R11-R14) ------------------------------------------------------------------------------------


def user_base(
    snapshots: Mapping[date, bytes], *, excluded_services: Sequence[str] = EXCLUDED_SERVICES
) -> tuple[list[str], list[str], list[str]]:
    """The lines of the three files, by service, by category and by CPC, each with its header, out of the snapshots'
    bytes by date."""
    by_service: dict[tuple[str, ...], int] = defaultdict(int)
    by_category: dict[tuple[str, ...], int] = defaultdict(int)
    by_cpc: dict[tuple[str, int], int] = defaultdict(int)
    for day, content in snapshots.items():
        for row in csv.DictReader(io.StringIO(_decoded(content), newline="")):
            service = _one_line(row["service_name"].strip())
            if _is_excluded(service, excluded_services):
                continue
            category = _one_line(_mapped(row["tme_category"].strip()))
            count = int(Decimal(row["count"].strip()))
            by_service[f"{day}", service, category] += count
            by_category[f"{day}", category] += count
            by_cpc[f"{day}", int(row["cpc"])] += count
    return (
        _lines("date|service_name|tme_category|User_Base", by_service),
        _lines("date|tme_category|User_Base", by_category),
        _lines("date|cpc|User_Base", by_cpc),
    )


def user_base_by_cpc(snapshots: Mapping[date, bytes]) -> dict[tuple[date, int], int]:
    """Users by (date, CPC), as the view and the KPIs take them."""
    _, _, lines = user_base(snapshots)
    cells = (line.split("|") for line in lines[1:])
    return {(date.fromisoformat(day), int(cpc)): int(count) for day, cpc, count in cells}


def _decoded(content: bytes) -> str:
    """R11: all of it in one encoding."""
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _mapped(category: str) -> str:
    """R13."""
    groups = {"education": "Edu_Ima", "images": "Edu_Ima", "news": "News_Sport", "sports": "News_Sport"}
    return groups.get(category.casefold(), category)


def _one_line(text: str) -> str:
    """R16."""
    return text.replace("\r\n", " ").replace("|", " ").replace("\n", " ").replace("\r", " ")


def _lines(header: str, sums: Mapping[tuple[Any, ...], int]) -> list[str]:
    """Sorted by the key columns in code-point order, numbers by their digits too."""
    keyed = sorted(((*map(str, key),), count) for key, count in sums.items())
    return [header, *("|".join((*key, str(count))) for key, count in keyed)]
