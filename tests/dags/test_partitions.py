"""Which day a run is about (R5)."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from dagkit import partitions

from include.errors import RequestRefused

ZONE = ZoneInfo("America/Los_Angeles")
# 06:30 UTC is still the evening before at the station.
ASKED = datetime(2025, 8, 29, 6, 30, tzinfo=UTC)


def context(**given):
    return {"partition_key": None, "params": {}, "dag_run": SimpleNamespace(run_after=ASKED), **given}


@pytest.mark.parametrize(
    ("given", "day"),
    [
        (context(partition_key="2025-08-01", params={"date": "2025-08-02"}), date(2025, 8, 1)),
        (context(params={"date": "2025-08-02"}, logical_date=datetime(2025, 8, 3, 12, tzinfo=UTC)), date(2025, 8, 2)),
        (context(params={"date": None}, logical_date=datetime(2025, 8, 3, 3, tzinfo=UTC)), date(2025, 8, 2)),
        (context(), date(2025, 8, 28)),
    ],
)
def test_the_day_comes_from_key_then_form_then_clock(monkeypatch, given, day):
    monkeypatch.setattr(partitions, "get_current_context", lambda: given)
    assert partitions.business_day(ZONE) == day


@pytest.mark.parametrize("key", [None, "2025-08-28"])
def test_the_event_carries_day_and_result_with_or_without_a_key(monkeypatch, key):
    keys = []
    event = SimpleNamespace(extra=None, add_partitions=keys.append)
    given = context(partition_key=key, outlet_events={"asset": event})
    monkeypatch.setattr(partitions, "get_current_context", lambda: given)
    assert partitions.publish("asset", date(2025, 8, 28), {"read": 1}) == {"read": 1}
    assert (event.extra, keys) == ({"read": 1}, ["2025-08-28"])


def test_a_misspelt_parameter_is_refused():
    dag = SimpleNamespace(dag_id="commercial_log_import", params={"date": None})
    with pytest.raises(RequestRefused, match=r"has no parameter dat\. Next step: Trigger it again with: date"):
        partitions.refuse_unknown_parameters({"dag": dag, "dag_run": SimpleNamespace(conf={"dat": "2025-08-28"})})
    partitions.refuse_unknown_parameters({"dag": dag, "dag_run": SimpleNamespace(conf={"date": "2025-08-28"})})
    partitions.refuse_unknown_parameters({"dag": dag, "dag_run": SimpleNamespace(conf=None)})
