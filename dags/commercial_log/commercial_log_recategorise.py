"""Decide category and language of every spot anew, after a rule or the language list changed.

**Reads** all spots that are not Trade.

**Writes** their categories and assignments, in one transaction; decisions of people stay.

**Re-run** Safe: the second time nothing changes.

**If it fails** nothing was changed; clear the task once the database is free.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, task
from dagkit import connections, partitions, policies


@dag(
    schedule=None,
    params={"confirm": Param(False, type="boolean", title="Yes, decide every spot anew")},
    **policies.dag_settings("commercial_log", __doc__, kind="manual", timeout=timedelta(hours=1)),
)
def commercial_log_recategorise() -> None:
    @task(pool=policies.COMMERCIAL_LOG_DB)
    def recategorise_all(params: dict) -> dict:
        """Recompute category and assignment of all spots but those a person decided on."""
        from datetime import UTC, datetime

        from include.commercial_log.config import ZONE, DataRoot
        from include.commercial_log.database import open_database
        from include.commercial_log.review import recategorise_all

        return recategorise_all(
            connections.open_sqlite(connections.COMMERCIAL_LOG_DB, open_database),
            DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES)),
            confirm=params["confirm"],
            now=datetime.now(UTC),
            day=partitions.today(ZONE),
        ).as_dict()

    recategorise_all()


commercial_log_recategorise()
