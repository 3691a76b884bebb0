"""What reaches the people who are told (R53)."""

import json
from types import SimpleNamespace

import pytest
from dagkit import notifications

from sandbox.servers.sinks import NotificationSink

RUN = SimpleNamespace(dag_id="commercial_log_import", run_id="manual__1", partition_key="2025-08-28", conf={})
CAUSE = {"what": "Cannot reach the server.", "next_step": "Check VPN.", "notes": "Last log lines:\nreading"}
TASK = SimpleNamespace(task_id="copy_workbook", xcom_pull=lambda **_: CAUSE)
CONTEXT = {"dag_run": RUN, "ti": TASK, "dag": SimpleNamespace(doc_md="**If it fails** nothing was written.\n")}

# Apprise tries to import a module that is gone from Python 3.13 on.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")


@pytest.fixture
def sent(monkeypatch):
    """What arrives at ntfy."""
    with NotificationSink() as sink:
        told = [{"path": f"ntfy://127.0.0.1:{sink.port}/estate", "tag": "all"}]
        connection = {"conn_type": "apprise", "extra": {"config": told}}
        monkeypatch.setenv("AIRFLOW_CONN_NOTIFICATIONS", json.dumps(connection))
        monkeypatch.setattr(notifications, "get_current_context", lambda: CONTEXT)
        yield lambda: [(message.headers, json.loads(message.body)) for message in sink.messages]


def test_a_failure_says_what_and_next_and_rings_louder_than_the_rest(sent):
    """R53: job, date, reason, last log lines; priority 5."""
    notifications.tell_failure(CONTEXT)
    [(headers, message)] = sent()
    assert (headers["x-priority"], headers["x-tags"]) == ("max", "rotating_light")  # ntfy's name for 5
    assert message["title"] == "FAILED commercial_log_import 2025-08-28"
    assert message["message"].splitlines()[:5] == [
        "DAG commercial_log_import, 2025-08-28, task copy_workbook",
        "Cause: Cannot reach the server.",
        "Next step: Check VPN.",
        "nothing was written.",
        "Last log lines:",
    ]


@pytest.mark.parametrize(
    ("tell", "title"),
    [
        (lambda: notifications.tell_warnings(["Stale input."]), "WARNING commercial_log_import 2025-08-28"),
        (lambda: notifications.tell_success("3 spots"), "SUCCESS commercial_log_import 2025-08-28"),
    ],
)
def test_warnings_and_successes_keep_the_usual_priority(sent, tell, title):
    """R53: ntfy takes a message without a priority as 3."""
    tell()
    [(headers, message)] = sent()
    assert (message["title"], "x-priority" in headers, "x-tags" in headers) == (title, False, True)


def test_nothing_to_warn_about_sends_nothing(sent):
    notifications.tell_warnings([])
    assert sent() == []


def test_an_address_with_a_priority_of_its_own_keeps_it():
    own = "ntfys://ntfy.example.org/estate?priority=low"
    assert notifications._for_ntfy(own, "failure") == own


def test_a_receiver_that_is_down_changes_nothing(monkeypatch, caplog):
    """R53: logged only."""
    with NotificationSink() as sink:
        path = f"ntfy://127.0.0.1:{sink.port}/estate"
    connection = {"conn_type": "apprise", "extra": {"config": [{"path": path}]}}
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFICATIONS", json.dumps(connection))
    notifications.tell_failure(CONTEXT)
    assert "reached no or not every receiver" in caplog.text
