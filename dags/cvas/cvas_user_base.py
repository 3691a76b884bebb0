"""Fetch yesterday's list of users from the reporting host and count them per service, category and price point.

**Reads** `NBS_Base.csv` on the reporting host (connection `cvas_reporting_sftp`), every snapshot kept so far.

**Writes** `User_Base/NBS_BASE/YYYYMMDD_NBS_Base.csv`, kept for good, and the three `user_base_by_*.csv`, all at once;
publishes its day, which starts `cvas_fetch`.

**Re-run** Safe. Yesterday's snapshot is replaced only by a newer one of the same day; an older day keeps its snapshot,
as the host only holds the newest. Unchanged snapshots leave the three files byte for byte as they are.

**Waits** until 23:00 for a file that is fresh and complete, and asks the host every quarter of an hour; the log says
what is wrong with it: not there, not new, half written, no snapshot at all.

**If it fails** nothing was replaced. Not fresh, or refused for its content (the message names file, line and column):
get the reporting team to write the file, and clear the task before midnight, later the snapshot is lost. A total that
differs by more than 20 %: when the reporting team confirms it, trigger with `force`. To go on without the snapshot,
trigger `cvas_fetch`. A run that is cleared on a later day takes no snapshot: it warns `snapshot missing for` its day,
aggregates what is there and publishes the day. A warning that the counters do not know of changed days says what to
trigger.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dagkit import assets, connections, forms, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable


@dag(
    schedule=DailyPartitionTimetable(
        policies.cron("cvas_user_base", "5 8 * * *"), timezone="Europe/Madrid", run_offset=-1
    ),
    params={
        "date": forms.date_param(),
        "download": forms.flag_param(
            "Fetch the snapshot", "Off: only aggregate what is there; starts nothing.", on=True
        ),
        "force": forms.flag_param(
            "Accept a total that differs by more than 20 %", "Only when the reporting team confirms it."
        ),
    },
    **policies.dag_settings("cvas", __doc__, kind="ingest"),
)
def cvas_user_base() -> None:
    @task.sensor(
        mode="reschedule",
        poke_interval=timedelta(minutes=15).total_seconds(),
        timeout=timedelta(hours=15).total_seconds(),
        soft_fail=True,  # what is missing by then, the download says in its own words
        pool=policies.CVAS_USER_BASE,
    )
    def wait_for_snapshot(params: dict) -> bool:
        """Until the reporting host has written the file of the day, or 23:00; old days have nothing to wait for."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.snapshots import JOB, snapshot_delay

        if not params["download"]:
            return True
        day, lake = partitions.business_day(ZONE, days_back=1), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            delay = snapshot_delay(
                connections.open_share(connections.CVAS_REPORTING_SFTP),
                lake,
                day=day,
                now=datetime.now(UTC),
                settings=connections.settings("cvas", Settings),
            )
        if delay:
            print(delay)
        return delay is None

    @task(pool=policies.CVAS_USER_BASE, retries=3, trigger_rule="none_failed")
    def download_snapshot(params: dict) -> dict:
        """Keep the host's file as the snapshot of the day."""
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.snapshots import JOB, download_snapshot

        if not params["download"]:
            raise AirflowSkipException("Only the aggregation was asked for.")
        day, lake = partitions.business_day(ZONE, days_back=1), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = download_snapshot(
            connections.open_share(connections.CVAS_REPORTING_SFTP),
            lake,
            day=day,
            now=datetime.now(UTC),
            today=partitions.today(ZONE),
            settings=settings,
            force=params["force"],
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    @task(outlets=[assets.CVAS_USER_BASE], pool=policies.CVAS_USER_BASE, trigger_rule="none_failed")
    def aggregate_user_base(params: dict) -> dict:
        """Users per service, category and price point of every day."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.user_base import JOB, aggregate_user_base

        day, lake = partitions.business_day(ZONE, days_back=1), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = aggregate_user_base(lake, day=day, now=datetime.now(UTC), settings=settings)
        notifications.tell_warnings(result.warnings)
        if not params["download"]:
            return result.as_dict()  # nobody asked for the day to be fetched
        return partitions.publish(assets.CVAS_USER_BASE, day, result.as_dict())

    wait_for_snapshot() >> download_snapshot() >> aggregate_user_base()


cvas_user_base()
