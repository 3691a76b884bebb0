"""Close broadcast months for good: no update touches their bookings again.

**Reads** `spots`, `month_closures`.

**Writes** a row of `month_closures` per month and `is_historical = 1` on its spots, each month all at once.

**Re-run** Safe: a month that is closed already is reported and left alone. There is no reopening: look at the
rejects of the last load first (runbook).

**If it fails** the message lists each month with the reason (no spots, not a month like `Sep-25`); the others are
closed. Correct the list and trigger again.
"""

from airflow.sdk import Param, dag, task
from dagkit import connections, partitions, policies


@dag(
    schedule=None,
    params={
        "months": Param(
            type="array",
            items={"type": "string"},
            minItems=1,
            title="Months",
            description="One per line, like Sep-25. A closed month stays closed.",
        ),
        "closed_by": Param(type="string", minLength=1, title="Closed by", description="Name of whoever closes them."),
        "notes": Param(None, type=["null", "string"], title="Notes"),
    },
    **policies.dag_settings("commercial_log", __doc__, kind="manual"),
)
def commercial_log_month_close() -> None:
    @task(pool=policies.COMMERCIAL_LOG_DB)
    def close_months(params: dict) -> dict:
        """Close the given months in the name of the given person."""
        from include.commercial_log.config import ZONE, DataRoot
        from include.commercial_log.database import open_database
        from include.commercial_log.months import close_months

        return close_months(
            connections.open_sqlite(connections.COMMERCIAL_LOG_DB, open_database),
            DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES)),
            params["months"],
            closed_by=params["closed_by"],
            today=partitions.today(ZONE),
            notes=params["notes"],
        ).as_dict()

    close_months()


commercial_log_month_close()
