"""Export the spots whose language somebody should look at, as a CSV for a spreadsheet.

**Reads** `v_review_queue`.

**Writes** `exports/review_queue_<filter>_<day>.csv`, all at once.

**Re-run** Safe: replaces the file of the same day.

**If it fails** the file of an earlier run is still complete.
"""

from airflow.sdk import Param, dag, task
from dagkit import connections, forms, partitions, policies

FILTERS = {
    "all": "All that need a decision",
    "business": "Type and revenue type do not say",
    "undetermined": "Language code L",
    "invalid": "Code of no language",
    "high_value": "Gross above $500",
    "low_confidence": "Confidence below 0.5",
    "fallback": "Counted as English for want of a code",
}


@dag(
    schedule=None,
    params={
        "date": forms.date_param(),
        "filter": Param("all", type="string", enum=[*FILTERS], values_display=FILTERS, title="Which spots"),
    },
    **policies.dag_settings("commercial_log", __doc__, kind="manual"),
)
def commercial_log_review_export() -> None:
    @task(pool=policies.COMMERCIAL_LOG_READERS)
    def export_review_queue(params: dict) -> dict:
        """Write the chosen part of the review queue."""
        from functools import partial

        from include.commercial_log.config import ZONE, DataRoot
        from include.commercial_log.database import open_database
        from include.commercial_log.review import export_review_queue

        return export_review_queue(
            connections.open_sqlite(connections.COMMERCIAL_LOG_DB, partial(open_database, read_only=True)),
            DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES)),
            filter=params["filter"],
            day=partitions.business_day(ZONE),
        ).as_dict()

    export_review_queue()


commercial_log_review_export()
