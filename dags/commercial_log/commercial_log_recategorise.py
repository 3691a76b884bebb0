"""Decide category and language of every spot anew, after a rule or the language list changed.

**Reads** all spots that are not Trade.

**Writes** their categories and assignments, in one transaction; decisions of people stay. Where the setting
`grid_classification` is on, their places in the programme grid, too.

**Re-run** Safe: the second time nothing changes.

**If it fails** nothing was changed; clear the task once the database is free.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dagkit import connections, forms, partitions, policies


@dag(
    schedule=None,
    params={"confirm": forms.flag_param("Yes, decide every spot anew")},
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

    @task(pool=policies.COMMERCIAL_LOG_DB)
    def classify_grid() -> dict:
        """Place the spots of all months in the programme grid; only where the setting grid_classification is on."""
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from include.commercial_log.config import Settings
        from include.commercial_log.database import open_database
        from include.commercial_log.grid import classify_grid

        if not connections.settings("commercial_log", Settings).grid_classification:
            raise AirflowSkipException("The setting grid_classification is off.")
        with connections.open_sqlite(connections.COMMERCIAL_LOG_DB, open_database) as db:
            return classify_grid(db, now=datetime.now(UTC)).as_dict()

    recategorise_all() >> classify_grid()


commercial_log_recategorise()
