"""Put a backup in the place of the booked-business database.

**Reads** a snapshot from the store of connection `commercial_log_backup`, the newest unless one is named.

**Writes** the database file, replaced atomically after the snapshot was verified; the replaced one is kept beside it.
Warnings name the months that were closed since the snapshot: close them again before the next import.

**Re-run** Safe: the same snapshot gives the same database.

**If it fails** the database is as it was. While another run writes it waits or refuses; a snapshot that does not verify
is never used: name an older one.
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
            description="Name as in the store: database_backup_YYYYMMDD_HHMMSS.db. Empty: the newest.",
        ),
        # No const=True: the form hides such a field and never lets anybody trigger.
        "confirm": Param(False, type="boolean", title="Yes, replace the database"),
    },
    **policies.dag_settings("commercial_log", __doc__, kind="manual", timeout=timedelta(hours=2)),
)
def commercial_log_restore() -> None:
    @task(pool=policies.COMMERCIAL_LOG_DB)
    def restore_database(params: dict) -> dict:
        """Download, verify, replace."""
        from contextlib import ExitStack
        from datetime import datetime

        from include.commercial_log.backup import RESTORE_JOB, restore_database
        from include.commercial_log.config import ZONE, DataRoot
        from include.errors import RequestRefused

        if not params["confirm"]:
            raise RequestRefused(
                "commercial_log: restoring replaces the whole database.",
                next_step="Trigger it again with confirm if that is what you want.",
            )
        day = partitions.today(ZONE)
        data = DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES))
        with ExitStack() as opened:
            with data.preparing(RESTORE_JOB, day):
                database = connections.sqlite_file(connections.COMMERCIAL_LOG_DB)
                store = opened.enter_context(connections.open_object_store(connections.COMMERCIAL_LOG_BACKUP))
            result = restore_database(database, store, data, name=params["name"], now=datetime.now(ZONE), day=day)
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    restore_database()


commercial_log_restore()
