"""Put a backup in the place of the subscription view, `MASTERCPC.csv` and the lake's state.

**Reads** a backup from the store of connection `cvas_backup`, the newest unless one is named.

**Writes** the three, all at once, after the backup was read from end to end; what was there goes to the store first, as
`cvas_before_restore_YYYYMMDD_HHMMSS.zip`. Partitions and snapshots stay as they are.

**Re-run** Safe: the same backup gives the same files. The name of what was replaced undoes it.

**If it fails** everything is as it was. No such backup: the message lists those that are there. A damaged one is never
used: name an older one. Afterwards trigger `cvas_process`: the next load takes the partitions as they are.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, task
from dagkit import connections, notifications, partitions, policies


@dag(
    schedule=None,
    params={
        "name": Param(
            None,
            type=["null", "string"],
            title="Backup",
            description="Name as in the store: cvas_backup_YYYYMMDD_HHMMSS.zip. Empty: the newest.",
        ),
        # No const=True: the form hides such a field and never lets anybody trigger.
        "confirm": Param(False, type="boolean", title="Yes, replace them"),
    },
    **policies.dag_settings("cvas", __doc__, kind="manual", timeout=timedelta(hours=2)),
)
def cvas_restore() -> None:
    @task(pool=policies.CVAS_LAKE)
    def restore_backup(params: dict) -> dict:
        """Download, verify, keep what is there, replace."""
        from datetime import UTC, datetime

        from include.cvas.backup import restore_backup
        from include.cvas.config import ZONE, Lake, Settings
        from include.errors import RequestRefused

        if not params["confirm"]:
            raise RequestRefused(
                "cvas: restoring replaces view, catalogue and state.",
                next_step="Trigger it again with confirm if that is what you want.",
            )
        with connections.open_object_store(connections.CVAS_BACKUP) as store:
            result = restore_backup(
                store,
                Lake(connections.path_of(connections.CVAS_LAKE)),
                name=params["name"],
                day=partitions.today(ZONE),
                now=datetime.now(UTC),
                settings=Settings.from_mapping(connections.settings("cvas")),
            )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    restore_backup()


cvas_restore()
