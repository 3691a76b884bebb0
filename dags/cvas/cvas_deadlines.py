"""Tell in time when a day's chain is late.

**Reads** what is there of yesterday: user base (due 08:25), the six files (11:30), lake, view and counters (13:00).

**Writes** nothing; what is late is the error of its task.

**Re-run** Safe at any time; it looks at this moment.

**If it fails** something is late; the message names the stage. Look at that stage's DAG: if its run failed, its own
message says what to do; if it waits, see what it waits for. The chain goes on by itself when the stage is done.
"""

from airflow.sdk import MultipleCronTriggerTimetable, dag, task
from dagkit import connections, forms, partitions, policies


@dag(
    schedule=MultipleCronTriggerTimetable(
        *policies.cron("cvas_deadlines", "25 8 * * *; 30 11 * * *; 0 13 * * *").split("; "), timezone="Europe/Madrid"
    ),
    params={"date": forms.date_param()},
    **policies.dag_settings("cvas", __doc__, kind="monitor"),
)
def cvas_deadlines() -> None:
    @task(pool=policies.CVAS_READERS)
    def check_deadlines() -> None:
        """Fails with the stages that should be done by now."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake
        from include.cvas.deadlines import missed_deadlines
        from include.errors import CheckFailed

        missed = missed_deadlines(
            Lake(connections.path_of(connections.CVAS_LAKE)),
            day=partitions.business_day(ZONE, days_back=1),
            now=datetime.now(UTC),
        )
        if missed:
            raise CheckFailed(" ".join(missed), next_step="Look at the DAG of the first stage that is named.")

    check_deadlines()


cvas_deadlines()
