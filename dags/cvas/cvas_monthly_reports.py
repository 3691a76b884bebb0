"""Report refunds per price point, revenue per service and how long subscriptions last, by month.

**Reads** the refunds in the lake, `Counters/Counters_Service.csv`, the subscription view.

**Writes** three files in `Reports/D/`; sums and counts only.

**Re-run** Safe: the day's reports are replaced.

**If it fails** no report was written. The message names the file that is missing and the DAG that makes it.
"""

from airflow.sdk import dag, task
from dagkit import connections, forms, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable


@dag(
    schedule=DailyPartitionTimetable(policies.cron("cvas_monthly_reports", "0 14 1 * *"), timezone="Europe/Madrid"),
    params={"date": forms.date_param()},
    **policies.dag_settings("cvas", __doc__, kind="publish"),
)
def cvas_monthly_reports() -> None:
    @task(pool=policies.CVAS_LAKE)
    def write_reports() -> dict:
        """All months in each report."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.monthly import JOB, write_reports

        day, lake = partitions.business_day(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = write_reports(
            lake,
            day=day,
            now=datetime.now(UTC),
            settings=settings,
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    write_reports()


cvas_monthly_reports()
