"""Is the chain of a day late: what has to be there of it at which time of the day after (R3, B12, B15)."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from include.cvas.config import ZONE, Lake
from include.cvas.contract import TYPES
from include.cvas.counter_files import read_counters
from include.cvas.lake import LakeState, read_state
from include.cvas.manifest import read_manifest
from include.cvas.snapshots import has_snapshot
from include.cvas.user_base import read_user_base_by_cpc
from include.cvas.view import read_view_state

USER_BASE_DUE = time(8, 25)
FETCH_DUE = time(11, 30)
LAKE_DUE = time(13)


def missed_deadlines(lake: Lake, *, day: date, now: datetime) -> list[str]:
    """What should be there of ``day`` by ``now`` and is not, one sentence each, in the order of the chain.

    ``now`` has a zone; what is due by then follows from the time in the system's zone on the day after ``day``.

    Re-run: read only. Raises ContractViolation or CheckFailed for a file that should tell and cannot be read.
    """
    checks = ((USER_BASE_DUE, _late_user_base), (FETCH_DUE, _late_files), (LAKE_DUE, _late_lake))
    return [
        f"{fault}, which was due at {due:%H:%M}."
        for due, find_faults in checks
        if now >= datetime.combine(day + timedelta(days=1), due, ZONE)
        for fault in find_faults(lake, day)
    ]


def _late_user_base(lake: Lake, day: date) -> list[str]:
    if not has_snapshot(lake, day):
        # The host overwrites it tomorrow, and then it is lost for good (B12).
        return [f"There is no user-base snapshot of {day}"]
    if read_user_base_by_cpc(lake).filter(date=day).is_empty():
        return [f"The user base of {day} is not aggregated"]
    return []


def _late_files(lake: Lake, day: date) -> list[str]:
    if _is_loaded(read_state(lake), day):
        return []  # they may be gone (R68), or never have been: history was imported
    entries = read_manifest(lake, day)
    missing = [kind.name for kind in TYPES if kind.name not in entries or not entries[kind.name].complete]
    return [f"Of the files of {day}, {', '.join(missing)} are not fetched"] if missing else []


def _late_lake(lake: Lake, day: date) -> list[str]:
    state = read_state(lake)
    if not _is_loaded(state, day):
        return [f"{day} is not loaded, nor in view and counters"]
    faults = []
    view = read_view_state(lake)
    if view is None or view.change != state.change or view.as_of <= day:
        faults.append(f"The view does not hold {day}")
    if any(each.rows for each in state.days[day].values()) and read_counters(lake).by_cpc.filter(date=day).is_empty():
        faults.append(f"The transactions of {day} are not counted")
    return faults


def _is_loaded(state: LakeState, day: date) -> bool:
    loaded = state.days.get(day, {})
    return len(loaded) == len(TYPES) and all(each.source != "partial" for each in loaded.values())
