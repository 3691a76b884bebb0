"""Load a recap workbook of past months and close them in the name of whoever is responsible.

**Reads** a local workbook (sheet `Data`, `Commercials`, `Commercial Lines` or `Sheet1`, in that order).

**Writes** the spots of all its months, closed or not, which are closed afterwards. With `skip_closed` closed months are
left alone, as in the nightly update, and none is closed. Where the setting `grid_classification` is on, the places of
those spots in the programme grid, too.

**Re-run** Safe: the same workbook changes nothing.

**If it fails** nothing was changed. The message names file, sheet, row and column, or the month that does not belong.
Start with `dry_run`. A month that is not over, or that would keep fewer than half of its spots, is refused: mostly a
stray row. `confirm_loss` only when those months are meant; they are closed for good.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, task
from dagkit import connections, forms, notifications, partitions, policies


@dag(
    schedule=None,
    params={
        "data_file": Param(type="string", minLength=1, title="Workbook", description="Full path on the worker."),
        "closed_by": Param(type="string", minLength=1, title="Closed by", description="Name of whoever closes them."),
        "year": Param(
            None,
            type=["null", "integer"],
            minimum=2000,
            title="Year",
            description="Refuses a workbook with months of another year. Empty: any year.",
        ),
        "skip_closed": forms.flag_param("Leave closed months alone"),
        "confirm_loss": forms.flag_param(
            "Yes, also months that are not over or lose more than half of their spots",
            "They are closed for good with what the workbook has of them.",
        ),
        "dry_run": forms.flag_param("Dry run", "Reports everything in the log, writes nothing."),
    },
    **policies.dag_settings("commercial_log", __doc__, kind="manual", timeout=timedelta(hours=1)),
)
def commercial_log_historical_import() -> None:
    @task(pool=policies.COMMERCIAL_LOG_DB)
    def load_bookings(params: dict) -> dict:
        """Replace all months of the workbook and close them."""
        from datetime import UTC, datetime
        from pathlib import Path

        from include.commercial_log.config import ZONE, DataRoot, Settings
        from include.commercial_log.database import open_database
        from include.commercial_log.load import RECAP_JOB, load_bookings

        day = partitions.today(ZONE)
        data = DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES))
        with data.preparing(RECAP_JOB, day):
            settings = connections.settings("commercial_log", Settings)
        result = load_bookings(
            connections.open_sqlite(connections.COMMERCIAL_LOG_DB, open_database),
            data,
            day=day,
            now=datetime.now(UTC),
            settings=settings,
            mode="WEEKLY_UPDATE" if params["skip_closed"] else "HISTORICAL",
            recap=True,
            data_file=Path(params["data_file"]),
            closed_by=params["closed_by"],
            expected_year=params["year"],
            confirm_loss=params["confirm_loss"],
            dry_run=params["dry_run"],
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    @task(pool=policies.COMMERCIAL_LOG_DB)
    def classify_grid(loaded: dict, params: dict) -> dict:
        """Place the loaded months' spots in the programme grid; only where the setting grid_classification is on."""
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from include.commercial_log.config import Settings
        from include.commercial_log.database import open_database
        from include.commercial_log.grid import classify_grid

        if params["dry_run"]:
            raise AirflowSkipException("Dry run: nothing was loaded.")
        if not connections.settings("commercial_log", Settings).grid_classification:
            raise AirflowSkipException("The setting grid_classification is off.")
        with connections.open_sqlite(connections.COMMERCIAL_LOG_DB, open_database) as db:
            return classify_grid(db, months=list(loaded["facts"]["months"]), now=datetime.now(UTC)).as_dict()

    classify_grid(load_bookings())


commercial_log_historical_import()
