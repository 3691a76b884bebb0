"""Keep seven days of dated workbooks as files and twelve months as ZIP archives.

**Reads** `raw/daily/`.

**Writes** `raw/archive/commercial-logs-YYYY-MM.zip`; removes workbooks only after their archived copy was verified, and
archives older than twelve months.

**Re-run** Safe, changes nothing the second time.

**If it fails** no workbook is lost: originals go only after verification. A damaged archive is named in the message;
move it aside (or restore it) and clear the task.
"""

from airflow.sdk import dag, task
from dagkit import assets, connections, forms, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable


@dag(
    schedule=DailyPartitionTimetable(
        policies.cron("commercial_log_rotation", "30 2 * * 0"), timezone="America/Los_Angeles"
    ),
    params={"date": forms.date_param()},
    **policies.dag_settings("commercial_log", __doc__, kind="maintain"),
)
def commercial_log_rotation() -> None:
    @task(outlets=[assets.COMMERCIAL_LOG_ARCHIVES], pool=policies.COMMERCIAL_LOG_FILES)
    def rotate_files() -> dict:
        """Archive what is older than seven days, verify, then remove."""
        from include.commercial_log.config import ZONE, DataRoot, Settings
        from include.commercial_log.rotation import JOB, rotate_files

        day = partitions.business_day(ZONE)
        data = DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES))
        with data.preparing(JOB, day):
            settings = connections.settings("commercial_log", Settings)
        result = rotate_files(data, day=day, today=partitions.today(ZONE), settings=settings)
        notifications.tell_warnings(result.warnings)
        return partitions.publish(assets.COMMERCIAL_LOG_ARCHIVES, day, result.as_dict())

    rotate_files()


commercial_log_rotation()
