"""How every task of the estate is run: retries by kind of error, time limits, queues, pools."""

import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryDecision, RetryRule

from dagkit.notifications import keep_cause, tell_failure
from dagkit.partitions import refuse_unknown_parameters
from include.errors import PermanentError, RateLimited, SourceUnavailable, TransientError

# One-writer stores and scarce sources; sizes are in pools.json, which ``airflow pools import`` applies.
COMMERCIAL_LOG_FILES = "commercial_log_files"
COMMERCIAL_LOG_DB = "commercial_log_db"
COMMERCIAL_LOG_READERS = "commercial_log_readers"
CVAS_SOURCE = "cvas_source"
CVAS_USER_BASE = "cvas_user_base"
CVAS_LAKE = "cvas_lake"
CVAS_READERS = "cvas_readers"


class _RetryByError(ExceptionRetryPolicy):
    def evaluate(self, exception: BaseException, *args: Any, **kwargs: Any) -> RetryDecision:
        """As the rules say, but never sooner than the other side asked for."""
        decision = super().evaluate(exception, *args, **kwargs)
        if isinstance(exception, RateLimited) and decision.retry_delay:
            return replace(decision, retry_delay=max(decision.retry_delay, timedelta(seconds=exception.retry_after)))
        return decision


RETRY_BY_ERROR = _RetryByError(
    rules=[
        RetryRule(PermanentError, RetryAction.FAIL, reason="trying again cannot help"),
        RetryRule(SourceUnavailable, retry_delay=timedelta(minutes=5), reason="the source may be back in five minutes"),
        RetryRule(RateLimited, retry_delay=timedelta(minutes=15), reason="longer than a try itself would wait"),
        RetryRule(TransientError, retry_delay=timedelta(seconds=30), reason="it may be over in half a minute"),
        RetryRule(Exception, RetryAction.FAIL, reason="an error nobody foresaw: a person should look"),
    ]
)


def cron(dag_id: str, default: str) -> str:
    """When a DAG starts: what ``AIRFLOW_SCHEDULE_<DAG_ID>`` says in the environment, else ``default``.

    A DAG with several schedules has them separated by ``; ``, and as many of them in the variable.
    Raises ValueError naming the variable, which makes it the DAG's import error.
    """
    variable = f"AIRFLOW_SCHEDULE_{dag_id.upper()}"
    given = os.environ.get(variable, "").strip()
    if not given:
        return default
    from croniter import croniter  # type: ignore[import-untyped]  # comes with Airflow

    expressions = [each.strip() for each in given.split(";")]
    if len(expressions) != len(default.split(";")) or not all(map(croniter.is_valid, expressions)):
        raise ValueError(f"{variable}={given!r} is no schedule like {default!r}: correct or remove it.")
    return "; ".join(expressions)


def dag_settings(
    system: str, doc: str | None, *, kind: str, timeout: timedelta = timedelta(minutes=30)
) -> dict[str, Any]:
    """What every DAG of a system has in common: ``@dag(schedule=..., **dag_settings(...))``.

    ``kind`` is the second tag: ingest, transform, publish, maintain, monitor or manual. ``timeout`` is each task's time
    limit. The error decides about retries (``include.errors``); retries without an error to judge, when the process was
    killed, follow after ten seconds. One run at a time: two would touch the same store.
    """
    return {
        "doc_md": doc,
        "tags": [system, kind],
        "catchup": False,
        "max_active_runs": 1,
        "on_failure_callback": tell_failure,
        "default_args": {
            "owner": system,
            "queue": system,
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "retry_policy": RETRY_BY_ERROR,
            "execution_timeout": timeout,
            "on_failure_callback": keep_cause,
            "pre_execute": refuse_unknown_parameters,
        },
    }
