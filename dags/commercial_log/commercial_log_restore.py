"""Put a backup in the place of the booked-business database.

**Reads** a snapshot from the store of connection `commercial_log_backup`, the newest unless one is named.

**Writes** the database file, replaced atomically after the snapshot was verified; the replaced one is kept beside it.
Warnings name the months that were closed since the snapshot: close them again before the next import.

**Re-run** Safe: the same snapshot gives the same database.

**If it fails** the database is as it was, unless the message says that it is the backup already and only has to be
brought up to date. While another run writes it waits or refuses; a snapshot that does not verify is never used: name an
older one.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dagkit import connections, forms, notifications, partitions, policies


@dag(
    schedule=None,
    params={
        "name": forms.backup_param("database_backup_YYYYMMDD_HHMMSS.db"),
        "confirm": forms.flag_param("Yes, replace the database"),
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

        day = partitions.today(ZONE)
        data = DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES))
        with ExitStack() as opened:
            with data.preparing(RESTORE_JOB, day):
                database = connections.sqlite_file(connections.COMMERCIAL_LOG_DB)
                store = opened.enter_context(connections.open_object_store(connections.COMMERCIAL_LOG_BACKUP))
            result = restore_database(
                database, store, data, confirm=params["confirm"], name=params["name"], now=datetime.now(ZONE), day=day
            )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    restore_database()


commercial_log_restore()
