"""One message per failed run, and one for warnings, to whoever the connection ``notifications`` names.

The connection has type ``apprise``; its extra is ``{"config": [{"path": "ntfys://...", "tag": "all"}, ...]}`` with one
Apprise URL per receiver (ntfy, Slack, e-mail ...). Without the connection nothing is sent.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any

from airflow.sdk import BaseHook, get_current_context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowNotFoundException

log = logging.getLogger(__name__)

CONNECTION = "notifications"
CAUSE = "failure"


def keep_cause(context: Any) -> None:
    """Task callback: leave the cause where the run's own callback finds it."""
    error = context.get("exception")
    if error is None:
        return  # the task's process is dead and this is the DAG processor, where pushing would hang
    context["ti"].xcom_push(
        CAUSE,
        {
            "what": getattr(error, "what", None) or f"{type(error).__name__}: {error}",
            "next_step": getattr(error, "next_step", ""),
            "notes": "\n".join(getattr(error, "__notes__", [])),
        },
    )


def tell_failure(context: Any) -> None:
    """DAG callback: one message for a failed run: system, DAG, day, task, cause, next step, link."""
    run, task = context["dag_run"], context.get("ti")
    cause = _cause(task) if task is not None else None
    if cause is None:
        cause = {
            "what": "The task's process ended without an error of its own: it was killed or ran out of memory.",
            "next_step": "Look at the end of the task's log and at the machine, then clear the task.",
            "notes": "",
        }
    advice = re.search(r"\*\*If it fails\*\*[:.]?\s*(.+?)(?:\n\s*\n|\Z)", context["dag"].doc_md or "", re.DOTALL)
    lines = [
        f"DAG {run.dag_id}, {_day(context)}, task {getattr(task, 'task_id', '?')}",
        f"Cause: {cause['what']}",
        f"Next step: {cause['next_step']}" if cause["next_step"] else "",
        " ".join(advice[1].split()) if advice else "",
        cause["notes"],
        _link(run),
    ]
    _send(f"FAILED {run.dag_id} {_day(context)}", "\n".join(filter(None, lines)), kind="failure")


def tell_warnings(warnings: Iterable[str]) -> None:
    """Send what a successful step found worth a person's attention; nothing if there is nothing."""
    if not (texts := list(warnings)):
        return
    context: Any = get_current_context()
    run = context["dag_run"]
    _send(f"WARNING {run.dag_id} {_day(context)}", "\n".join([*texts, _link(run)]), kind="warning")


def tell_success(summary: str) -> None:
    """Send that a run went well, for systems whose settings ask for it."""
    context: Any = get_current_context()
    run = context["dag_run"]
    _send(f"SUCCESS {run.dag_id} {_day(context)}", "\n".join([summary, _link(run)]), kind="success")


def _send(title: str, body: str, *, kind: str) -> None:
    """A notification that cannot be sent is logged and changes nothing else."""
    import apprise

    try:
        config = BaseHook.get_connection(CONNECTION).extra_dejson["config"]
    except (AirflowNotFoundException, KeyError):
        log.warning("No connection %s: not sent: %s\n%s", CONNECTION, title, body)
        return
    receivers = apprise.Apprise()
    for receiver in config if isinstance(config, list) else [config]:
        receivers.add(receiver["path"], tag=receiver.get("tag"))
    try:
        sent = receivers.notify(title=title, body=body, notify_type=apprise.NotifyType(kind))
    except Exception as error:
        log.warning("The notification %r failed: %s", title, type(error).__name__)
        return
    if not sent:
        log.warning("The notification %r reached no or not every receiver.", title)


def _cause(task: Any) -> dict[str, str] | None:
    try:
        found = task.xcom_pull(task_ids=task.task_id, key=CAUSE)
    except Exception as error:
        log.warning("The cause of the failure could not be read: %s", error)
        return None
    return found if isinstance(found, dict) else None


def _day(context: Any) -> str:
    run = context["dag_run"]
    return str(run.partition_key or (run.conf or {}).get("date") or run.run_after.strftime("%Y-%m-%d %H:%M UTC"))


def _link(run: Any) -> str:
    from urllib.parse import quote

    base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
    return f"{base}/dags/{run.dag_id}/runs/{quote(run.run_id)}"
