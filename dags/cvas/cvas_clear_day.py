"""Throw away the fetched files of a day, so that they are fetched anew.

**Reads** nothing but the form.

**Writes** removes `Daily_Data/D`, and nothing else: what is loaded of the day stays in the lake.

**Re-run** Safe; undone by `cvas_fetch` for the day.

**If it fails** the files are still there: another run reads or writes them. Try again when it has ended.
"""

from airflow.sdk import Param, dag, task
from dagkit import connections, notifications, policies


@dag(
    schedule=None,
    params={
        "date": Param(type="string", format="date", title="Day", description="The day whose fetched files are deleted.")
    },
    **policies.dag_settings("cvas", __doc__, kind="manual"),
)
def cvas_clear_day() -> None:
    @task(pool=policies.CVAS_SOURCE)
    def clear_day(params: dict) -> dict:
        """Remove the day's folder."""
        from datetime import UTC, date, datetime

        from include.cvas.config import Lake, Settings
        from include.cvas.housekeeping import CLEAR_JOB, clear_day

        day, lake = date.fromisoformat(params["date"]), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(CLEAR_JOB, day):
            settings = connections.settings("cvas", Settings)
        result = clear_day(lake, day=day, now=datetime.now(UTC), settings=settings)
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    clear_day()


cvas_clear_day()
