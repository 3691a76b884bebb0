"""Delete what is no longer needed, report the disk, keep a copy of view, catalogue and state off the machine.

**Reads** logs, reports, `Daily_Data`, the state of the lake.

**Writes** a backup to the store of connection `cvas_backup`, of which the newest seven stay, and `Reports/D/disk.json`.
Deletes logs and reports over 15 days old, files of days that are loaded and verified and over 15 days old, leftovers of
killed runs; never partitions and snapshots. The three tasks do not wait for each other.

**Re-run** Safe; there is nothing left to delete, and another backup is made.

**If it fails** nothing was deleted that is not loaded. Backups that exist stay until a new one is verified. Refused
credentials: renew them in the connection. No space: the disk report in the log names the largest folders.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dagkit import assets, connections, forms, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable


@dag(
    schedule=DailyPartitionTimetable(policies.cron("cvas_housekeeping", "0 6 * * *"), timezone="Europe/Madrid"),
    params={"date": forms.date_param()},
    **policies.dag_settings("cvas", __doc__, kind="maintain", timeout=timedelta(hours=2)),
)
def cvas_housekeeping() -> None:
    @task(pool=policies.CVAS_LAKE)
    def clean_up() -> dict:
        """Old logs, reports and files; leftovers; disk use."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.housekeeping import JOB, clean_up

        day, lake = partitions.business_day(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = clean_up(
            lake,
            day=day,
            now=datetime.now(UTC),
            today=partitions.today(ZONE),
            settings=settings,
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    @task(outlets=[assets.CVAS_BACKUP], pool=policies.CVAS_LAKE)
    def back_up() -> dict:
        """Copy, verify, prune."""
        from contextlib import ExitStack
        from datetime import UTC, datetime

        from include.cvas.backup import JOB, back_up
        from include.cvas.config import ZONE, Lake, Settings

        day, lake = partitions.business_day(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with ExitStack() as opened:
            with lake.preparing(JOB, day):
                settings = connections.settings("cvas", Settings)
                store = opened.enter_context(connections.open_object_store(connections.CVAS_BACKUP))
            result = back_up(store, lake, day=day, now=datetime.now(UTC), settings=settings)
        notifications.tell_warnings(result.warnings)
        return partitions.publish(assets.CVAS_BACKUP, day, result.as_dict())

    @task(pool=policies.CVAS_LAKE)
    def archive_months() -> dict:
        """Copies old partitions to the store as well, where the setting archive_after_months says so."""
        from contextlib import ExitStack
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from include.cvas.backup import ARCHIVE_JOB, archive_months
        from include.cvas.config import ZONE, Lake, Settings

        day, lake = partitions.business_day(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(ARCHIVE_JOB, day):
            settings = connections.settings("cvas", Settings)
        if not settings.archive_after_months:
            raise AirflowSkipException("The setting archive_after_months is 0.")
        with ExitStack() as opened:
            with lake.preparing(ARCHIVE_JOB, day):
                store = opened.enter_context(connections.open_object_store(connections.CVAS_BACKUP))
            result = archive_months(store, lake, day=day, now=datetime.now(UTC), settings=settings)
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    clean_up()
    back_up()
    archive_months()


cvas_housekeeping()
