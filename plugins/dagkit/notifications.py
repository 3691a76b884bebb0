"""One message per failed run, and one for warnings, to whoever the connection ``notifications`` names.

The connection has type ``apprise``; its extra is ``{"config": [{"path": "ntfys://..."}, ...]}`` with one Apprise URL
per receiver (ntfy, Slack, e-mail ...). Without the connection nothing is sent.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any

from airflow.sdk import BaseHook, get_current_context
from airflow.sdk._shared.secrets_masker import redact
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowNotFoundException

log = logging.getLogger(__name__)

CONNECTION = "notifications"
CAUSE = "failure"
SECONDS = 10
# A failure has to wake somebody; 3 of 5 is what ntfy takes without a priority.
NTFY = {"failure": "priority=5&tags=rotating_light", "warning": "tags=warning", "success": "tags=white_check_mark"}


def keep_cause(context: Any) -> None:
    """Task callback: leave the cause where the run's own callback finds it."""
    error = context.get("exception")
    if error is None:
        return  # the task's process is dead and this is the DAG processor, where pushing would hang
    cause = {
        # The text of an error nobody foresaw may hold a secret; the task's log masks it, a message would not.
        "what": getattr(error, "what", None) or f"{type(error).__name__}, which nobody foresaw; see the task's log.",
        "next_step": getattr(error, "next_step", ""),
        "notes": "\n".join(getattr(error, "__notes__", [])),
    }
    context["ti"].xcom_push(CAUSE, redact(cause))  # our errors quote those of libraries


def tell_failure(context: Any) -> None:
    """DAG callback: one message for a failed run: system, DAG, day, task, cause, next step, link."""
    task = context.get("ti")
    cause = _cause(task) if task is not None else None
    if cause is None:
        cause = {
            "what": "The task's process ended without an error of its own: it was killed or ran out of memory."
            if task is not None
            else "The task that failed is no longer in the DAG.",
            "next_step": "Look at the end of the task's log and at the machine, then clear the task.",
            "notes": "",
        }
    advice = re.search(r"\*\*If it fails\*\*[:.]?\s*(.+?)(?:\n\s*\n|\Z)", context["dag"].doc_md or "", re.DOTALL)
    dag_id, day, link = _about(context)
    lines = [
        f"DAG {dag_id}, {day}, task {getattr(task, 'task_id', '?')}",
        f"Cause: {cause['what']}",
        f"Next step: {cause['next_step']}" if cause["next_step"] else "",
        " ".join(advice[1].split()) if advice else "",
        cause["notes"],
        link,
    ]
    _send(f"FAILED {dag_id} {day}", "\n".join(filter(None, lines)), kind="failure")


def tell_warnings(warnings: Iterable[str]) -> None:
    """Send what a successful step found worth a person's attention; nothing if there is nothing."""
    if not (texts := list(warnings)):
        return
    dag_id, day, link = _about(get_current_context())
    _send(f"WARNING {dag_id} {day}", "\n".join([*texts, link]), kind="warning")


def tell_success(summary: str) -> None:
    """Send that a run went well, for systems whose settings ask for it."""
    dag_id, day, link = _about(get_current_context())
    _send(f"SUCCESS {dag_id} {day}", "\n".join([summary, link]), kind="success")


def _send(title: str, body: str, *, kind: str) -> None:
    """A notification that cannot be sent is logged and changes nothing else."""
    import apprise

    receivers = apprise.Apprise()
    try:
        config = BaseHook.get_connection(CONNECTION).extra_dejson["config"]
        for receiver in config if isinstance(config, list) else [config]:
            receivers.add(_for_ntfy(receiver["path"], kind))
        for each in receivers:
            each.socket_connect_timeout = each.socket_read_timeout = SECONDS
        sent = receivers.notify(
            title=title,
            body=body,
            notify_type=apprise.NotifyType(kind),
            body_format=apprise.NotifyFormat.TEXT,  # or a mail is taken for HTML and has one long line
            timeout=SECONDS,  # in all; the receivers are told at the same time
        )
    except (AirflowNotFoundException, KeyError):
        log.warning("The connection %s names no receivers, not sent: %s\n%s", CONNECTION, title, body)
    except Exception as error:
        log.warning("The notification %r failed: %s", title, type(error).__name__)
    else:
        if not sent:
            log.warning("The notification %r reached no or not every receiver.", title)


def _for_ntfy(path: str, kind: str) -> str:
    """An ntfy address with priority and tags by the kind of message, unless it has some of its own."""
    if not path.startswith(("ntfy://", "ntfys://")) or "priority=" in path or "tags=" in path:
        return path
    return f"{path}{'&' if '?' in path else '?'}{NTFY[kind]}"


def _cause(task: Any) -> dict[str, str] | None:
    try:
        found = task.xcom_pull(task_ids=task.task_id, key=CAUSE)
    except Exception as error:
        log.warning("The cause of the failure could not be read: %s", error)
        return None
    return found if isinstance(found, dict) else None


def _about(context: Any) -> tuple[str, str, str]:
    """DAG, day and address of the run."""
    from urllib.parse import quote

    if run := context.get("dag_run"):
        dag_id, run_id = run.dag_id, run.run_id
        day = run.partition_key or (run.conf or {}).get("date") or run.run_after.strftime("%Y-%m-%d %H:%M UTC")
    else:  # the task that failed is no longer in the DAG
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        day = run_id
    base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
    return dag_id, str(day), f"{base}/dags/{dag_id}/runs/{quote(run_id)}"
