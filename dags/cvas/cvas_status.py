"""Report every day how cvas stands, and what is open; changes nothing.

**Reads** journals, manifests, the state of the lake, the view, folders' sizes.

**Writes** nothing; the report is the task's log and return value, what needs attention is told.

**Re-run** Safe at any time, also while other runs work.

**If it fails** the message names what cannot be read.
"""

from airflow.sdk import dag, task
from dagkit import connections, forms, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable


@dag(
    schedule=DailyPartitionTimetable(policies.cron("cvas_status", "30 13 * * *"), timezone="Europe/Madrid"),
    params={
        "files_of": forms.date_param(
            "A day's files", "Compares the day's files with the lake, type by type. Empty: only the stages."
        )
    },
    **policies.dag_settings("cvas", __doc__, kind="monitor"),
)
def cvas_status() -> None:
    @task(pool=policies.CVAS_READERS)
    def report_status(params: dict) -> dict:
        """Stages, last days, view, disk; a day's six types."""
        from datetime import UTC, date, datetime

        from include.cvas.config import ZONE, Lake
        from include.cvas.status import render_day, render_status, report_day, report_status

        lake = Lake(connections.path_of(connections.CVAS_LAKE))
        if params["files_of"]:
            result = report_day(lake, day=date.fromisoformat(params["files_of"]))
            print(render_day(result))
        else:
            result = report_status(lake, now=datetime.now(UTC), today=partitions.today(ZONE))
            print(render_status(result))
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    report_status()


cvas_status()
