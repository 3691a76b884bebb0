"""What every check does with what it found: the report, and whether the run may be green (R61-R64)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from include.common.files import atomic_write
from include.common.journal import RunLog
from include.common.results import StepResult
from include.cvas.config import ZONE, Lake
from include.cvas.tables import rows_of
from include.errors import CheckFailed

if TYPE_CHECKING:
    import duckdb

LISTED = 50  # days named in a report; their number is always told


def conclude(
    lake: Lake,
    run: RunLog,
    check: str,
    found: Mapping[str, Any],
    *,
    day: date,
    now: datetime,
    failures: Sequence[str],
    read: int,
) -> StepResult:
    """Write ``Reports/D/<check>.json`` and end the check: ``failures`` fail it, the warnings of ``run`` do not (R64).

    Raises CheckFailed with all of the failures, StoreFull; the report is there when it does.
    """
    report = {
        "check": check,
        "day": day,
        "at": now.astimezone(ZONE),
        "result": "failed" if failures else "passed",
        "failures": list(failures),
        "warnings": list(run.warnings),
        **found,
        "seconds": run.durations,
    }
    target = lake.reports(day) / f"{check}.json"
    with atomic_write(target) as temporary:
        temporary.write_text(json.dumps(report, indent=1, default=_iso) + "\n", encoding="utf-8")
    run.facts.update(rows=read, failures=len(failures))
    if failures:
        raise CheckFailed(
            f"cvas: the check of the {check} failed: {' '.join(failures)}",
            next_step=f"See {target} for the figures.",
        )
    return StepResult(where=str(target), read=read, warnings=tuple(run.warnings), facts={"check": check})


def time_queries(
    engine: duckdb.DuckDBPyConnection, statements: Mapping[str, Mapping[str, object]]
) -> list[dict[str, Any]]:
    """How many seconds each statement takes and how many rows it selects, by name and values."""
    timings = []
    for statement, values in statements.items():
        began = time.monotonic()
        selected = len(rows_of(engine, statement, **values))
        timings.append(
            {
                "query": statement.removeprefix("check_").removesuffix("_timing"),
                "seconds": round(time.monotonic() - began, 3),
                "rows": selected,
            }
        )
    return timings


def _iso(value: date) -> str:
    return value.isoformat()
