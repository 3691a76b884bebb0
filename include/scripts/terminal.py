"""What the operators' commands of all systems share: places and settings, exit status, how results are printed.

Exit status: 0 done, 1 failed (or a check found something), 2 the request itself has to be changed. Nothing ever asks
back. Results go to standard output, errors as two lines (what, next step) to standard error.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from include.common.results import StepResult
from include.common.tables import render_table, render_value, words
from include.errors import PipelineError, RequestRefused


def exit_status(command: Callable[[], int | None]) -> int:
    """Run a command and say how it went, in one of the three numbers."""
    try:
        return int(command() or 0)
    except PipelineError as error:
        print(f"FAILED: {error.what}\nNext step: {error.next_step}", file=sys.stderr)
        return 2 if isinstance(error, RequestRefused) else 1


def configured(
    option: str | None, environment: Mapping[str, str], variable: str, *, system: str, what: str, usage: str
) -> str:
    """A place from the command line, or else from the environment. Raises RequestRefused if nobody named it."""
    value = option or environment.get(variable)
    if not value:
        raise RequestRefused(f"{system}: nobody said where {what} is.", next_step=f"Give {usage}, or set {variable}.")
    return value


def settings_from(option: str | None, environment: Mapping[str, str], variable: str, *, system: str) -> dict[str, Any]:
    """The JSON object of ``--settings`` or of the environment; empty without either."""
    try:
        values = json.loads(option or environment.get(variable) or "{}")
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise RequestRefused(
            f"{system}: the settings are not a JSON object.",
            next_step=f"Give them as in the Airflow variable {system}_settings, for example '{{\"keep_backups\": 7}}'.",
        )
    return values


def day(text: str) -> date:
    """Type of an option that is a day."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    # Python takes 20250828 and 2025-W35-4 as well.
    if found is None or found.isoformat() != text:
        raise argparse.ArgumentTypeError(f"'{text}' is not a day like 2025-08-28")
    return found


def count(text: str) -> int:
    """Type of an option that is a number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of 0 or more")
    return int(text)


def print_result(result: StepResult) -> None:
    """What a step did, one line per fact, and its warnings."""
    rows = [("where", result.where), ("read", render_value(result.read)), ("written", render_value(result.written))]
    rows += [(name, render_value(getattr(result, name))) for name in ("rejected", "bytes") if getattr(result, name)]
    for name, value in result.facts.items():
        if isinstance(value, Mapping) and any(isinstance(each, Mapping) for each in value.values()):
            rows += [
                (words(name) if not number else "", f"{key}: {render_value(each)}")
                for number, (key, each) in enumerate(value.items())
            ]
        else:
            rows.append((words(name), render_value(value)))
    print(render_table((), rows))
    for warning in result.warnings:
        print(f"WARNING: {warning}")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys under their names."""
    if not rows:
        return "none"
    return render_table([words(name) for name in rows[0]], [list(row.values()) for row in rows])
