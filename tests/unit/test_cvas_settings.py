"""Settings come from one JSON object; what it does not name keeps the value the domain names (R76, B19)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest

from include.common.settings import read_settings
from include.cvas.config import Settings
from include.errors import ContractViolation


def test_the_defaults_are_those_of_the_domain() -> None:
    """R7, R12, R27, R67, R68, section 7."""
    found = asdict(read_settings(Settings, None, system="cvas"))
    assert asdict(read_settings(Settings, "", system="cvas")) == found
    expected = {
        "snapshot_max_age_hours": 24,
        "snapshot_warn_change": 0.02,
        "snapshot_max_change": 0.2,
        "excluded_services": ("nubico", "challenge arena", "movistar apple music", "juegos onmo"),
        "transactions_table": "telefonicaes_sub_mgr_fact",
        "max_reject_rows": 5,
        "max_reject_share": 0.001,
        "keep_logs_days": 15,
        "keep_daily_days": 15,
        "keep_backups": 7,
        "archive_after_months": 0,
    }
    assert {name: found[name] for name in expected} == expected


def test_a_list_of_services_replaces_the_default_list() -> None:
    """R12: the list is configuration."""
    text = '{"excluded_services": ["nubico"], "snapshot_max_change": 1, "keep_backups": 3}'
    assert read_settings(Settings, text, system="cvas") == Settings(
        excluded_services=("nubico",), snapshot_max_change=1, keep_backups=3
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"keep_bakups": 3},
            r"cvas has no setting 'keep_bakups'\. Next step: Correct it in .*; there are: .*keep_backups, ",
        ),
        ({"keep_backups": -1}, r"'keep_backups' is -1, not a whole number of 0 or more"),
        ({"keep_backups": 2.5}, r"'keep_backups' is 2\.5, not a whole number"),
        ({"keep_backups": True}, r"'keep_backups' is True, not a whole number"),
        ({"keep_backups": "7"}, r"'keep_backups' is '7', not a whole number"),
        ({"snapshot_max_change": float("nan")}, r"'snapshot_max_change' is nan, not a number of 0 or more"),
        ({"excluded_services": "nubico"}, r"'excluded_services' is 'nubico', not a list of text"),
        ({"excluded_services": ["nubico", 1]}, r"'excluded_services' is \['nubico', 1\], not a list of text"),
        ({"memory_limit": None}, r"'memory_limit' is None, not text"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractViolation, match=message):
        read_settings(Settings, json.dumps(values), system="cvas")


@dataclass(frozen=True)
class Odd:
    mode: Literal["replace", "upsert"] = "replace"
    note: str | None = None
    on: bool = False


def test_choices_optional_values_and_flags_are_checked_like_the_rest() -> None:
    text = '{"mode": "upsert", "note": "x", "on": true}'
    assert read_settings(Odd, text, system="odd") == Odd("upsert", "x", True)
    assert read_settings(Odd, '{"note": null}', system="odd") == Odd()
    for values, message in (
        ({"mode": "append"}, "odd setting 'mode' is 'append', not 'replace' or 'upsert'"),
        ({"note": 5}, "odd setting 'note' is 5, not text or empty"),
        ({"on": 1}, "odd setting 'on' is 1, not true or false"),
    ):
        with pytest.raises(ContractViolation, match=f"{message}.* Airflow variable odd_settings, or in --settings"):
            read_settings(Odd, json.dumps(values), system="odd")


@pytest.mark.parametrize("text", ["[1]", "15", "null", "keep_backups: 7", '{"keep_backups": 7'])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(
        ContractViolation, match=r"^odd: the settings are not a JSON object\. .* odd_settings, or in --"
    ):
        read_settings(Odd, text, system="odd")
