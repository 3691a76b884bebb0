"""Snapshot the booked-business database and keep it off the machine.

**Reads** the database, by SQLite's online backup: readers and writers go on.

**Writes** `database_backup_YYYYMMDD_HHMMSS.db` to the store of connection `commercial_log_backup` (S3, Dropbox or a
folder); after the upload was verified, removes all but the newest seven.

**Re-run** Safe, makes another snapshot. A run that is triggered while another one works waits for its end; where a
backup is at work all the same, started from the command line for instance, it ends as skipped.

**If it fails** all earlier backups are still there: nothing is pruned before a verified upload. Refused credentials:
renew them in the connection. Hash mismatch: clear the task; if it stays, check disk and network.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dagkit import assets, connections, forms, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable

LONGEST_WAIT = timedelta(minutes=30)


@dag(
    schedule=DailyPartitionTimetable(
        policies.cron("commercial_log_backup", "5 2 * * *"),
        timezone="America/Los_Angeles",
        jitter=timedelta(minutes=5),
    ),
    params={"date": forms.date_param()},
    **policies.dag_settings("commercial_log", __doc__, kind="maintain", timeout=timedelta(hours=2)),
)
def commercial_log_backup() -> None:
    @task.sensor(
        mode="reschedule",
        poke_interval=15,
        timeout=LONGEST_WAIT.total_seconds(),
        soft_fail=True,
        pool=policies.COMMERCIAL_LOG_READERS,
    )
    def wait_for_update() -> bool:
        """Let a running update finish first, for half an hour at most; the snapshot is consistent either way."""
        from include.commercial_log.config import DataRoot
        from include.common.locks import is_free

        return is_free(DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES)).database_lock)

    @task(outlets=[assets.COMMERCIAL_LOG_BACKUP], pool=policies.COMMERCIAL_LOG_READERS, trigger_rule="none_failed")
    def back_up_database() -> dict:
        """Snapshot, upload, verify, prune."""
        from contextlib import ExitStack
        from datetime import datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from include.commercial_log.backup import JOB, back_up_database
        from include.commercial_log.config import ZONE, DataRoot, Settings
        from include.errors import AlreadyRunning

        day = partitions.business_day(ZONE)
        data = DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES))
        with ExitStack() as opened:
            with data.preparing(JOB, day):
                settings = connections.settings("commercial_log", Settings)
                database = connections.sqlite_file(connections.COMMERCIAL_LOG_DB)
                store = opened.enter_context(connections.open_object_store(connections.COMMERCIAL_LOG_BACKUP))
            try:
                result = back_up_database(database, store, data, day=day, now=datetime.now(ZONE), settings=settings)
            except AlreadyRunning as error:
                raise AirflowSkipException(str(error)) from error
        notifications.tell_warnings(result.warnings)
        return partitions.publish(assets.COMMERCIAL_LOG_BACKUP, day, result.as_dict())

    wait_for_update() >> back_up_database()


commercial_log_backup()
