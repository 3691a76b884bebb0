"""List the backups of the booked-business database and check one of them from end to end, before the emergency.

**Reads** the snapshots in the store of connection `commercial_log_backup`: the names of all, the content of one.

**Writes** nothing that stays; the result lists all names, newest first, and the one that was verified.

**Re-run** Safe at any time; the nightly backup does not wait for it.

**If it fails** the message says whether there is no such backup, the store cannot be reached, or what arrived is
damaged. A damaged one is of no use: verify an older one by name, and find out why before the next night.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dagkit import connections, forms, partitions, policies


@dag(
    schedule=None,
    params={
        "name": forms.backup_param("database_backup_YYYYMMDD_HHMMSS.db"),
    },
    **policies.dag_settings("commercial_log", __doc__, kind="manual", timeout=timedelta(hours=2)),
)
def commercial_log_backup_verify() -> None:
    @task(pool=policies.COMMERCIAL_LOG_READERS)
    def verify_backup(params: dict) -> dict:
        """Download, compare the hash, check the database."""
        from contextlib import ExitStack

        from include.commercial_log.backup import VERIFY_JOB, verify_backup
        from include.commercial_log.config import ZONE, DataRoot

        day = partitions.today(ZONE)
        data = DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES))
        with ExitStack() as opened:
            with data.preparing(VERIFY_JOB, day):
                store = opened.enter_context(connections.open_object_store(connections.COMMERCIAL_LOG_BACKUP))
            return verify_backup(store, data, name=params["name"], day=day).as_dict()

    verify_backup()


commercial_log_backup_verify()
