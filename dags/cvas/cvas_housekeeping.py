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
from dagkit import assets, connections, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable


@dag(
    schedule=DailyPartitionTimetable(policies.cron("cvas_housekeeping", "0 6 * * *"), timezone="Europe/Madrid"),
    params={"date": partitions.date_param()},
    **policies.dag_settings("cvas", __doc__, kind="maintain", timeout=timedelta(hours=2)),
)
def cvas_housekeeping() -> None:
    @task(pool=policies.CVAS_LAKE)
    def clean_up() -> dict:
        """Old logs, reports and files; leftovers; disk use."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.housekeeping import clean_up

        result = clean_up(
            Lake(connections.path_of(connections.CVAS_LAKE)),
            day=partitions.business_day(ZONE),
            now=datetime.now(UTC),
            today=partitions.today(ZONE),
            settings=Settings.from_mapping(connections.settings("cvas")),
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    @task(outlets=[assets.CVAS_BACKUP], pool=policies.CVAS_LAKE)
    def back_up() -> dict:
        """Copy, verify, prune."""
        from datetime import UTC, datetime

        from include.cvas.backup import back_up
        from include.cvas.config import ZONE, Lake, Settings

        day = partitions.business_day(ZONE)
        with connections.open_object_store(connections.CVAS_BACKUP) as store:
            result = back_up(
                store,
                Lake(connections.path_of(connections.CVAS_LAKE)),
                day=day,
                now=datetime.now(UTC),
                settings=Settings.from_mapping(connections.settings("cvas")),
            )
        notifications.tell_warnings(result.warnings)
        return partitions.publish(assets.CVAS_BACKUP, day, result.as_dict())

    @task(pool=policies.CVAS_LAKE)
    def archive_months() -> dict:
        """Copies old partitions to the store as well, where the setting archive_after_months says so."""
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from include.cvas.backup import archive_months
        from include.cvas.config import ZONE, Lake, Settings

        settings = Settings.from_mapping(connections.settings("cvas"))
        if not settings.archive_after_months:
            raise AirflowSkipException("The setting archive_after_months is 0.")
        with connections.open_object_store(connections.CVAS_BACKUP) as store:
            result = archive_months(
                store,
                Lake(connections.path_of(connections.CVAS_LAKE)),
                day=partitions.business_day(ZONE),
                now=datetime.now(UTC),
                settings=settings,
            )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    clean_up()
    back_up()
    archive_months()


cvas_housekeeping()
