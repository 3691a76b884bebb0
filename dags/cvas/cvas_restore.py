"""Put a backup in the place of the subscription view, `MASTERCPC.csv` and the lake's state.

**Reads** a backup from the store of connection `cvas_backup`, the newest unless one is named.

**Writes** the three, all at once, after the backup was read from end to end; what was there goes to the store first, as
`cvas_before_restore_YYYYMMDD_HHMMSS.zip`. Partitions and snapshots stay as they are.

**Re-run** Safe: the same backup gives the same files. The name of what was replaced undoes it.

**If it fails** everything is as it was. No such backup: the message lists those that are there. A damaged one is never
used: name an older one. Afterwards trigger `cvas_process`: the next load takes the partitions as they are.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dagkit import connections, forms, notifications, partitions, policies


@dag(
    schedule=None,
    params={
        "name": forms.backup_param("cvas_backup_YYYYMMDD_HHMMSS.zip"),
        "confirm": forms.flag_param("Yes, replace them"),
    },
    **policies.dag_settings("cvas", __doc__, kind="manual", timeout=timedelta(hours=2)),
)
def cvas_restore() -> None:
    @task(pool=policies.CVAS_LAKE)
    def restore_backup(params: dict) -> dict:
        """Download, verify, keep what is there, replace."""
        from contextlib import ExitStack
        from datetime import UTC, datetime

        from include.cvas.backup import RESTORE_JOB, restore_backup
        from include.cvas.config import ZONE, Lake, Settings

        day, lake = partitions.today(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with ExitStack() as opened:
            with lake.preparing(RESTORE_JOB, day):
                settings = connections.settings("cvas", Settings)
                store = opened.enter_context(connections.open_object_store(connections.CVAS_BACKUP))
            result = restore_backup(
                store,
                lake,
                confirm=params["confirm"],
                name=params["name"],
                day=day,
                now=datetime.now(UTC),
                settings=settings,
            )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    restore_backup()


cvas_restore()
