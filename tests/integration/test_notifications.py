"""Who is told what, over the services people read: ntfy, Slack, e-mail, any web hook (R53)."""

from __future__ import annotations

import html
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseHook
from dagkit import notifications

from include.commercial_log.config import DataRoot, Settings
from include.commercial_log.extract import copy_workbook
from include.common.shares import LocalShare
from include.errors import PipelineError
from sandbox.servers.base import HOST
from sandbox.servers.faults import FaultProxy
from sandbox.servers.sinks import NotificationSink
from sandbox.servers.smtp import SmtpServer

# Apprise tries to import a module that is gone from Python 3.13 on.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

DOC = """Copy the commercial log.

**Re-run** Safe.

**If it fails** nothing was written. Look
at the share.

More.
"""
LINK = "http://localhost:8080/dags/commercial_log_import/runs/manual__2025-08-28T08%3A00%3A00%2B00%3A00"


class Task:
    """A task instance, as far as callbacks use it."""

    task_id = "copy_workbook"

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = json.loads(json.dumps(value))

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        assert task_ids == self.task_id
        return self.xcoms.get(key)


def _context(**more: Any) -> dict[str, Any]:
    run_id = "manual__2025-08-28T08:00:00+00:00"
    run = SimpleNamespace(
        dag_id="commercial_log_import",
        run_id=run_id,
        partition_key="2025-08-28",
        conf={"date": "2025-08-27"},
        run_after=datetime(2025, 8, 29, 8, tzinfo=UTC),
    )
    dag = SimpleNamespace(dag_id="commercial_log_import", doc_md=DOC)
    return {"dag": dag, "run_id": run_id, "dag_run": run, "ti": Task(), **more}


def _failed(error: BaseException) -> dict[str, Any]:
    """The context of a run whose task failed with this error, when the task's own callback is done."""
    context = _context(exception=error)
    notifications.keep_cause(context)
    del context["exception"]  # the callback of the DAG gets none
    return context


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotificationSink]:
    """A web server that is ntfy, a web hook and, to Apprise, Slack."""
    from apprise.plugins.slack import NotifySlack

    with NotificationSink() as sink:
        monkeypatch.setattr(NotifySlack, "webhook_url", f"{sink.url}/services")
        yield sink


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Name the receivers in the connection; and a run in which things can be told."""

    def tell(*addresses: str) -> None:
        receivers = [{"path": address, "tag": "all"} for address in addresses]
        connection = {"conn_type": "apprise", "extra": {"config": receivers}}
        monkeypatch.setenv("AIRFLOW_CONN_NOTIFICATIONS", json.dumps(connection))

    monkeypatch.setattr(notifications, "get_current_context", _context)
    return tell


def _slack_address() -> str:
    return f"slack://T{secrets.token_hex(4).upper()}/B{secrets.token_hex(4).upper()}/{secrets.token_hex(12)}"


WHAT = 'Sheet "Commercials", cell O17: <Gross Rate> is "1.250,00 €" & no number.'
FAILURE = [
    "DAG commercial_log_import, 2025-08-28, task copy_workbook",
    f"Cause: {WHAT}",
    "Next step: Ask traffic, then clear the task.",
    "nothing was written. Look at the share.",
    "Last log lines:",
    " 25 % | fetch from the share | 0.13s",
    "WARNING Müller's copy is ignored.",
    LINK,
]
TITLE = "FAILED commercial_log_import 2025-08-28"


def _failure() -> dict[str, Any]:
    error = PipelineError(WHAT, next_step="Ask traffic, then clear the task.")
    error.add_note("Last log lines:\n 25 % | fetch from the share | 0.13s\nWARNING Müller's copy is ignored.")
    return _failed(error)


def test_a_failure_reaches_ntfy_slack_mail_and_web_hook_word_for_word(
    sink: NotificationSink, tell: Callable[..., None]
) -> None:
    """DAG, day, task, cause, next step, advice, last log lines, link; quotes, lines and other alphabets unharmed."""
    with SmtpServer(user="station", password="a-password") as smtp:
        tell(
            f"ntfy://{HOST}:{sink.port}/estate",
            _slack_address(),
            f"json://{HOST}:{sink.port}/",
            f"mailto://station:a-password@{HOST}:{smtp.port}?mode=insecure&from=a@example.org&to=b@example.org",
        )
        notifications.tell_failure(_failure())

    assert sorted(message.kind for message in sink.messages) == ["json", "ntfy", "slack"]
    sent = {message.kind: json.loads(message.body) for message in sink.messages}
    headers = {message.kind: message.headers for message in sink.messages}
    assert sent["ntfy"] == {"topic": "estate", "title": TITLE, "message": "\n".join(FAILURE)}
    assert (headers["ntfy"]["x-priority"], headers["ntfy"]["x-tags"]) == ("max", "rotating_light")
    assert (sent["json"]["title"], sent["json"]["type"]) == (TITLE, "failure")
    assert sent["json"]["message"].splitlines() == FAILURE
    [attachment] = sent["slack"]["attachments"]
    assert attachment["title"] == TITLE
    assert html.unescape(attachment["text"]).splitlines() == FAILURE
    [mail] = smtp.mails
    assert (mail.recipients, mail.message["Subject"]) == (["b@example.org"], TITLE)
    assert mail.message.get_content().splitlines() == FAILURE


@pytest.mark.parametrize(
    ("say", "title", "tags", "text"),
    [
        (
            lambda: notifications.tell_warnings(("Stale input.", "Sep-25 was preserved.")),
            "WARNING commercial_log_import 2025-08-28",
            "warning",
            f"Stale input.\nSep-25 was preserved.\n{LINK}",
        ),
        (
            lambda: notifications.tell_success("1,203 spots from Commercial Log 250828.xlsx"),
            "SUCCESS commercial_log_import 2025-08-28",
            "white_check_mark",
            f"1,203 spots from Commercial Log 250828.xlsx\n{LINK}",
        ),
    ],
)
def test_warnings_and_successes_arrive_with_the_usual_priority(
    sink: NotificationSink,
    tell: Callable[..., None],
    say: Callable[[], None],
    title: str,
    tags: str,
    text: str,
) -> None:
    """ntfy takes a message without a priority as 3."""
    tell(f"ntfy://{HOST}:{sink.port}/estate")
    say()

    [message] = sink.messages
    assert json.loads(message.body) == {"topic": "estate", "title": title, "message": text}
    assert ("x-priority" in message.headers, message.headers["x-tags"]) == (False, tags)


def test_no_warnings_send_nothing(sink: NotificationSink, tell: Callable[..., None]) -> None:
    tell(f"ntfy://{HOST}:{sink.port}/estate")
    notifications.tell_warnings([])

    assert sink.messages == []


# --- the cause -------------------------------------------------------------------------------------------------------


def test_the_cause_is_what_the_step_said_with_its_last_log_lines(
    sink: NotificationSink, tell: Callable[..., None], tmp_path: Path
) -> None:
    """From a real step to the message."""
    data, share = DataRoot(tmp_path / "station"), tmp_path / "share"
    (share / "Traffic").mkdir(parents=True)
    data.daily.mkdir(parents=True)
    (data.daily / "Commercial Log 250827 (1).xlsx").touch()
    day = date(2025, 8, 28)
    with pytest.raises(PipelineError) as caught:
        copy_workbook(nullcontext(LocalShare("k_drive", share)), data, day=day, today=day, settings=Settings())
    tell(f"json://{HOST}:{sink.port}/")
    notifications.tell_failure(_failed(caught.value))

    [message] = sink.messages
    assert json.loads(message.body)["message"].splitlines() == [
        "DAG commercial_log_import, 2025-08-28, task copy_workbook",
        "Cause: k_drive: 'Media Library' not found in '/Traffic'; it holds: nothing.",
        "Next step: Ask whoever owns the share where it went, or correct the path in the settings.",
        "nothing was written. Look at the share.",
        "Last log lines:",
        f"WARNING {data.daily}/Commercial Log 250827 (1).xlsx looks like a dated workbook but is not named like one; "
        "it is ignored.",
        LINK,
    ]


def test_a_cause_is_told_without_the_secrets_it_quotes(
    sink: NotificationSink, tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of an error nobody foresaw, of whose text nobody knows what it holds, only the kind."""
    password = secrets.token_hex(8)
    connection = {"conn_type": "postgres", "host": "db", "login": "svc", "password": password}
    monkeypatch.setenv("AIRFLOW_CONN_SOME_DB", json.dumps(connection))
    BaseHook.get_connection("some_db")  # from here on Airflow knows the secret
    quoted = f"postgresql://svc:{password}@db"
    tell(f"json://{HOST}:{sink.port}/")
    notifications.tell_failure(_failed(PipelineError(f"Cannot read {quoted}.", next_step="Check it.")))
    notifications.tell_failure(_failed(ValueError(quoted)))

    assert [json.loads(message.body)["message"].splitlines()[1] for message in sink.messages] == [
        "Cause: Cannot read postgresql://svc:***@db.",
        "Cause: ValueError, which nobody foresaw; see the task's log.",
    ]


class Unreadable(Task):
    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        raise ConnectionError("the API server is away")


@pytest.mark.parametrize("task", [Task(), Unreadable()])
def test_a_task_that_left_no_cause_was_killed(sink: NotificationSink, tell: Callable[..., None], task: Task) -> None:
    """ADR 4."""
    context = _context(ti=task)
    notifications.keep_cause(context)  # as the DAG processor calls it for a dead process: without an exception
    tell(f"json://{HOST}:{sink.port}/")
    notifications.tell_failure(context)

    assert task.xcoms == {}
    [message] = sink.messages
    assert json.loads(message.body)["message"].splitlines() == [
        "DAG commercial_log_import, 2025-08-28, task copy_workbook",
        "Cause: The task's process ended without an error of its own: it was killed or ran out of memory.",
        "Next step: Look at the end of the task's log and at the machine, then clear the task.",
        "nothing was written. Look at the share.",
        LINK,
    ]


def test_a_run_whose_task_is_no_longer_in_the_dag_is_told_too(
    sink: NotificationSink, tell: Callable[..., None]
) -> None:
    """Airflow then passes neither run nor task."""
    full = _context()
    tell(f"json://{HOST}:{sink.port}/")
    notifications.tell_failure({"dag": full["dag"], "run_id": full["run_id"], "reason": "task_failure"})

    [message] = sink.messages
    said = json.loads(message.body)
    assert said["title"] == "FAILED commercial_log_import manual__2025-08-28T08:00:00+00:00"
    assert "Cause: The task that failed is no longer in the DAG." in said["message"].splitlines()
    assert said["message"].endswith(LINK)


@pytest.mark.parametrize(
    ("key", "conf", "day"),
    [(None, {"date": "2025-08-27"}, "2025-08-27"), (None, None, "2025-08-29 08:00 UTC")],
)
def test_a_run_without_a_partition_is_named_by_its_date_or_when_it_was_asked_for(
    sink: NotificationSink, tell: Callable[..., None], key: str | None, conf: dict[str, str] | None, day: str
) -> None:
    context = _context()
    context["dag_run"].partition_key, context["dag_run"].conf = key, conf
    tell(f"json://{HOST}:{sink.port}/")
    notifications.tell_failure(context)

    [message] = sink.messages
    assert json.loads(message.body)["title"] == f"FAILED commercial_log_import {day}"


# --- when it cannot be told ------------------------------------------------------------------------------------------


def test_a_receiver_that_is_down_or_broken_keeps_nothing_from_the_others(
    sink: NotificationSink, tell: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    with NotificationSink() as broken, NotificationSink() as down:
        down.stop()
        broken.fail_next(500)
        tell(f"ntfy://{HOST}:{broken.port}/a", f"json://{HOST}:{down.port}/", f"ntfy://{HOST}:{sink.port}/estate")
        notifications.tell_failure(_failure())
        assert broken.messages == []

    assert [json.loads(message.body)["title"] for message in sink.messages] == [TITLE]
    assert f"The notification '{TITLE}' reached no or not every receiver." in caplog.messages


def test_a_receiver_that_hangs_holds_nothing_up(
    sink: NotificationSink,
    tell: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R53: 10 s."""
    assert notifications.SECONDS == 10
    with FaultProxy(sink.port) as proxy, SmtpServer() as smtp, FaultProxy(smtp.port) as mail_proxy:
        proxy.hang()
        mail_proxy.hang()
        mail = f"mailto://{HOST}:{mail_proxy.port}?mode=insecure&from=a@example.org&to=b@example.org"
        tell(f"ntfy://{HOST}:{proxy.port}/a", mail, f"ntfy://{HOST}:{sink.port}/estate")
        began = time.monotonic()
        notifications.tell_failure(_failure())
        seconds = time.monotonic() - began

    assert 10 <= seconds < 60  # on a busy machine
    assert [json.loads(message.body)["title"] for message in sink.messages] == [TITLE]
    assert f"The notification '{TITLE}' reached no or not every receiver." in caplog.messages


def test_no_address_is_ever_logged_with_its_secrets(
    tell: Callable[..., None], sink: NotificationSink, caplog: pytest.LogCaptureFixture
) -> None:
    """At the level Airflow logs at, whether it works or not."""
    caplog.set_level(logging.INFO)
    password = secrets.token_hex(8)
    slack = _slack_address()
    token = slack.rpartition("/")[2]
    with NotificationSink() as down, SmtpServer(user="user", password="another") as smtp:
        down.stop()
        for web, mail in ((sink.port, smtp.port), (down.port, down.port)):
            sink.fail_next(403, path="/services/.*")
            tell(
                f"ntfy://user:{password}@{HOST}:{web}/estate",
                f"json://user:{password}@{HOST}:{web}/",
                f"mailto://user:{password}@{HOST}:{mail}?mode=insecure&from=a@example.org&to=b@example.org",
                f"nosuchservice://user:{password}@{HOST}",
                f"slack://nonsense/{token}",
                slack,
            )
            notifications.tell_failure(_failure())

    said = caplog.text + "".join(message.body for message in sink.messages)
    assert "reached no or not every receiver" in said
    assert password not in said
    assert token not in said


@pytest.mark.parametrize("extra", [{}, {"config": []}, {"config": ["ntfy://example.org/a"]}, {"config": 5}, "no JSON"])
def test_a_connection_that_is_wrong_changes_nothing(
    extra: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFICATIONS", json.dumps({"conn_type": "apprise", "extra": extra}))
    notifications.tell_failure(_failure())

    assert any(TITLE in message for message in caplog.messages)


def test_without_the_connection_the_log_has_what_was_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    notifications.tell_failure(_failure())

    [message] = [message for message in caplog.messages if TITLE in message]
    assert message.splitlines()[1:] == FAILURE
