"""What language a spot's revenue counts for: categories (R37), assignments (R38–R42) and people's decisions (R41)."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

from include.commercial_log.database import SYSTEM, timestamp
from include.common.sql import read_sql
from include.errors import CheckFailed

ASSIGNED = ("direct_mapping", "default_english")
DEFAULT_ENGLISH = "business_rule_default_english"
MANUAL = "manual_override"


def assign_languages(
    db: sqlite3.Connection, months: Sequence[str], *, now: datetime, everything: bool = False
) -> dict[str, int]:
    """Give every spot of the months its category and its language assignment; runs in the caller's transaction.

    Only spots without one are touched, with ``everything`` all but those a person decided on. Returns the counters of
    R42: categorized, processed, language_assigned, default_english_assigned, flagged_for_review, manual.
    Raises CheckFailed if a spot is left without category or assignment.
    """
    binds = {"months": json.dumps(list(months)), "all": int(everything), "now": timestamp(now)}
    methods = _counts(db, binds)
    categorized = 0
    if everything or None in methods:
        categorized = db.execute(read_sql(SYSTEM, "update_spot_category"), binds).rowcount
        db.execute(read_sql(SYSTEM, "upsert_language_assignments"), binds)
        db.execute(read_sql(SYSTEM, "update_spot_language"), binds)
        methods = _counts(db, binds)
    if missing := methods.pop(None, 0):
        raise CheckFailed(
            f"commercial_log: {missing:,} spots of {', '.join(months)} have no category or language after the run.",
            next_step="Nothing was saved. Run it again; if it stays, look at those spots in v_language_status.",
        )
    manual = methods.pop(MANUAL, 0)
    assigned = sum(methods.pop(method, 0) for method in ASSIGNED)
    english = methods.pop(DEFAULT_ENGLISH, 0)
    flagged = sum(methods.values())
    return {
        "categorized": categorized,
        "processed": assigned + english + flagged,
        "language_assigned": assigned,
        "default_english_assigned": english,
        "flagged_for_review": flagged,
        "manual": manual,
    }


def _counts(db: sqlite3.Connection, binds: Mapping[str, object]) -> dict[str | None, int]:
    """Spots by assignment method; None are those that still lack category, assignment or language."""
    return dict(db.execute(read_sql(SYSTEM, "select_language_counts"), binds))
