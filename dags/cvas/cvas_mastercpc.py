"""Make the reference list of price points, `MASTERCPC.csv`, from the catalogue workbook.

**Reads** the first sheet of the workbook: category, service, CPC, subscription model, price.

**Writes** `MASTERCPC.csv`, one row per price point, all at once.

**Re-run** Safe: the same workbook leaves the file byte for byte as it is.

**Then** a warning names the days that were counted with the list before, to trigger `cvas_counters` with.

**If it fails** the list is as it was. The message names sheet and missing columns, or the price points that would be
lost; when they are really gone, trigger with `allow_lost`.
"""

from airflow.sdk import Param, dag, task
from dagkit import connections, forms, notifications, partitions, policies


@dag(
    schedule=None,
    params={
        "workbook": Param(type="string", minLength=1, title="Workbook", description="Full path on the worker."),
        "allow_lost": forms.flag_param("Accept that price points of the present list are gone"),
    },
    **policies.dag_settings("cvas", __doc__, kind="manual"),
)
def cvas_mastercpc() -> None:
    @task(pool=policies.CVAS_READERS)
    def convert_catalogue(params: dict) -> dict:
        """One row per price point; the old list stays until the new one is verified."""
        from datetime import UTC, datetime
        from pathlib import Path

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.mastercpc import JOB, convert_catalogue

        day, lake = partitions.today(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = convert_catalogue(
            Path(params["workbook"]),
            lake,
            day=day,
            now=datetime.now(UTC),
            settings=settings,
            allow_lost=params["allow_lost"],
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    convert_catalogue()


cvas_mastercpc()
