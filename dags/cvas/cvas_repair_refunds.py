"""Move the refunds that were stored without a month to where they belong.

**Reads** the refunds in `year_month=__HIVE_DEFAULT_PARTITION__`.

**Writes** those with a date into their months; removes those without one only where the days they may be of were
fetched or imported again. Rows and euro before and after are logged and have to match the plan.

**Re-run** Safe: what is repaired stays repaired.

**If it fails** nothing was moved. Start with `dry_run` to see the plan.

**Then** the next `cvas_process` builds the view from nothing. Where rows went that had a date, a warning names the days
to trigger `cvas_counters` with.
"""

from airflow.sdk import dag, task
from dagkit import connections, forms, notifications, partitions, policies


@dag(
    schedule=None,
    params={"dry_run": forms.flag_param("Dry run", "Only shows the plan in the log.", on=True)},
    **policies.dag_settings("cvas", __doc__, kind="manual"),
)
def cvas_repair_refunds() -> None:
    @task(pool=policies.CVAS_LAKE)
    def repair_refunds(params: dict) -> dict:
        """Plan, move, verify the totals."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.refunds import JOB, repair_refunds

        day, lake = partitions.today(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = repair_refunds(
            lake,
            day=day,
            now=datetime.now(UTC),
            settings=settings,
            dry_run=params["dry_run"],
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    repair_refunds()


cvas_repair_refunds()
