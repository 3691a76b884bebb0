"""Report every morning how commercial_log stands, and what is open; changes nothing.

**Reads** journals, files, archives, backups and the database.

**Writes** nothing; the report is the task's log and return value, what needs attention is told: also that nothing was
loaded for a day, which no failed run would say.

**Re-run** Safe at any time, also while other runs work.

**If it fails** the message names what cannot be read; `commercial_log_update` would stumble over the same.
"""

from airflow.sdk import dag, task
from dagkit import connections, forms, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable


@dag(
    schedule=DailyPartitionTimetable(
        policies.cron("commercial_log_status", "0 6 * * *"), timezone="America/Los_Angeles"
    ),
    params={"date": forms.date_param()},
    **policies.dag_settings("commercial_log", __doc__, kind="monitor"),
)
def commercial_log_status() -> None:
    @task(pool=policies.COMMERCIAL_LOG_READERS)
    def report_status() -> dict:
        """Files, archives, backups, last results, freshness, months, review queue."""
        from datetime import datetime
        from functools import partial

        from include.commercial_log.config import ZONE, DataRoot
        from include.commercial_log.database import open_database
        from include.commercial_log.status import render_status, report_status

        reader = partial(open_database, read_only=True)
        with connections.open_sqlite(connections.COMMERCIAL_LOG_DB, reader) as db:
            result = report_status(
                db,
                DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES)),
                store=connections.open_object_store(connections.COMMERCIAL_LOG_BACKUP),
                today=partitions.business_day(ZONE),
                now=datetime.now(ZONE),
            )
        print(render_status(result))
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    report_status()


commercial_log_status()
