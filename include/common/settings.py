"""A system's settings: a frozen dataclass whose defaults hold, and a JSON object that changes some of them."""

import json
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from include.errors import ContractViolation

Kind = TypeVar("Kind")


def read_settings(kind: type[Kind], text: str | None, *, system: str) -> Kind:
    """An instance of the dataclass ``kind`` with what a JSON object says in place of its defaults; lists become tuples.

    Raises ContractViolation for a text that is no JSON object, and naming a setting that does not exist, has the wrong
    type or is a number below 0.
    """
    where = f"in the Airflow variable {system}_settings, or in --settings"
    try:
        values = json.loads(text or "{}")
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ContractViolation(
            f"{system}: the settings are not a JSON object.",
            next_step=f'Correct them {where}; for example: {{"keep_backups": 7}}.',
        )
    hints = get_type_hints(kind)
    chosen: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ContractViolation(
                f"{system} has no setting '{name}'.",
                next_step=f"Correct it {where}; there are: {', '.join(sorted(hints))}.",
            )
        if not _fits(value, hints[name]):
            raise ContractViolation(
                f"{system} setting '{name}' is {value!r}, not {_described(hints[name])}.",
                next_step=f"Correct it {where}.",
            )
        chosen[name] = tuple(value) if isinstance(value, list) else value
    return kind(**chosen)


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is UnionType:
        return any(_fits(value, each) for each in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is tuple:
        return isinstance(value, (list, tuple)) and all(_fits(each, get_args(hint)[0]) for each in value)
    if hint in (int, float):
        allowed = (int, float) if hint is float else (int,)
        return type(value) in allowed and value >= 0
    return type(value) is hint


def _described(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is UnionType:
        return " or ".join(_described(each) for each in get_args(hint))
    if origin is Literal:
        return " or ".join(repr(each) for each in get_args(hint))
    if origin is tuple:
        return f"a list of {_described(get_args(hint)[0])}"
    words = {int: "a whole number of 0 or more", float: "a number of 0 or more", str: "text", bool: "true or false"}
    return "empty" if hint is NoneType else words[hint]
