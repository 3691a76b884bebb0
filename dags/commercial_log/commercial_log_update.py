"""Replace the open months of the booked-business database with tonight's commercial log.

**Reads** the newest dated workbook up to the run's day in `raw/daily/`, reference tables of the database.

**Writes** markets, spots, categories, language assignments and the batch audit, in one transaction: readers see all of
yesterday or all of today. Closed months are never touched.

**Re-run** Safe. The same file changes nothing and adds one batch with nothing inserted or removed. A file older than
the one already loaded is refused unless `force_stale` is set.

**If it fails** the database is as it was. The message names file, sheet, Excel row and column; every rejected row is in
`import_rejects`. Correct the workbook, run the import again, or raise `max_rejects` on purpose; then clear the task.
"""

from airflow.sdk import Param, PartitionedAssetTimetable, dag, task
from dagkit import assets, connections, forms, notifications, partitions, policies


@dag(
    schedule=PartitionedAssetTimetable(assets=assets.COMMERCIAL_LOG_WORKBOOK),
    params={
        "date": forms.date_param(),
        "data_file": Param(
            None,
            type=["null", "string"],
            title="Load this dated workbook",
            description="Full path on the worker. Empty: the newest up to the business day.",
        ),
        "max_rejects": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            title="Rejected rows to accept",
            description="Empty: the setting max_rejects; without it 5 % of the rows, at least 20.",
        ),
        "force_stale": forms.flag_param(
            "Load an older day over a newer one", "The next import puts today's state back."
        ),
        "dry_run": forms.flag_param(
            "Dry run", "Reports everything in the log, writes nothing; its tasks end as skipped."
        ),
    },
    **policies.dag_settings("commercial_log", __doc__, kind="transform"),
)
def commercial_log_update() -> None:
    @task(outlets=[assets.COMMERCIAL_LOG_SPOTS], pool=policies.COMMERCIAL_LOG_DB)
    def load_bookings(params: dict) -> dict:
        """Markets, month replacement, categories and languages in one transaction."""
        import json
        from dataclasses import replace
        from datetime import UTC, datetime
        from pathlib import Path

        from airflow.sdk.exceptions import AirflowSkipException

        from include.commercial_log.config import ZONE, DataRoot, Settings
        from include.commercial_log.database import open_database
        from include.commercial_log.load import JOB, load_bookings

        day = partitions.business_day(ZONE)
        data = DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES))
        with data.preparing(JOB, day):
            settings = connections.settings("commercial_log", Settings)
        if params["max_rejects"] is not None:
            settings = replace(settings, max_rejects=params["max_rejects"])
        result = load_bookings(
            connections.open_sqlite(connections.COMMERCIAL_LOG_DB, open_database),
            data,
            day=day,
            now=datetime.now(UTC),
            settings=settings,
            data_file=Path(params["data_file"]) if params["data_file"] else None,
            force_stale=params["force_stale"],
            dry_run=params["dry_run"],
        )
        if params["dry_run"]:
            print(json.dumps(result.as_dict(), indent=2))
            # A task that succeeds publishes its outlets, and a consumer would take up what was never loaded.
            raise AirflowSkipException("Dry run: the report is in the log, nothing was written.")
        notifications.tell_warnings(result.warnings)
        if settings.notify_on_success:
            notifications.tell_success(f"{result.written:,} spots from {result.facts['file']}")
        return partitions.publish(assets.COMMERCIAL_LOG_SPOTS, day, result.as_dict())

    @task(pool=policies.COMMERCIAL_LOG_DB)
    def classify_grid(loaded: dict) -> dict:
        """Place the loaded months' spots in the programme grid; only where the setting grid_classification is on."""
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from include.commercial_log.config import Settings
        from include.commercial_log.database import open_database
        from include.commercial_log.grid import classify_grid

        if not connections.settings("commercial_log", Settings).grid_classification:
            raise AirflowSkipException("The setting grid_classification is off.")
        with connections.open_sqlite(connections.COMMERCIAL_LOG_DB, open_database) as db:
            return classify_grid(db, months=list(loaded["facts"]["months"]), now=datetime.now(UTC)).as_dict()

    classify_grid(load_bookings())


commercial_log_update()
