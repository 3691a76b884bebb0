"""Check the lake, the view and the users: days without rows, duplicates, types, the view against a full rebuild.

**Reads** the whole lake, the view, the snapshots.

**Writes** `Reports/D/*.json`, counts only.

**Re-run** Safe at any time; the day's reports are replaced.

**If it fails** the message names what does not hold; the report has the figures. Missing days: `cvas_backfill` fetches
them, or confirms that the source has nothing. Rows that something else took out of the lake: load or import them again,
or accept the loss with `cvas_process`, `view only` and `force`. Duplicates or another schema: somebody wrote to the
lake by hand; load those days again. A view that differs from a rebuild: trigger `cvas_process` with `full_rebuild`, and
keep the report.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dagkit import connections, forms, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable


@dag(
    schedule=DailyPartitionTimetable(policies.cron("cvas_checks", "0 15 * * 0"), timezone="Europe/Madrid"),
    params={"date": forms.date_param()},
    **policies.dag_settings("cvas", __doc__, kind="monitor", timeout=timedelta(hours=2)),
)
def cvas_checks() -> None:
    @task(pool=policies.CVAS_LAKE)
    def check_transactions() -> dict:
        """Completeness, duplicates, schema, shares of nulls, sizes, timings."""
        from datetime import UTC, datetime

        from include.cvas.checks_transactions import JOB, check_transactions
        from include.cvas.config import ZONE, Lake, Settings

        day, lake = partitions.business_day(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = check_transactions(
            lake,
            day=day,
            now=datetime.now(UTC),
            today=partitions.today(ZONE),
            settings=settings,
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    @task(pool=policies.CVAS_LAKE)
    def check_subscriptions() -> dict:
        """The view's quality, months, money, schema, and the comparison with a full rebuild."""
        from datetime import UTC, datetime

        from include.cvas.checks_subscriptions import JOB, check_subscriptions
        from include.cvas.config import ZONE, Lake, Settings

        day, lake = partitions.business_day(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = check_subscriptions(
            lake,
            day=day,
            now=datetime.now(UTC),
            today=partitions.today(ZONE),
            settings=settings,
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    @task(pool=policies.CVAS_LAKE)
    def check_users() -> dict:
        """Phones and user ids that do not look like one, and those that share another's."""
        from datetime import UTC, datetime

        from include.cvas.checks_users import JOB, check_users
        from include.cvas.config import ZONE, Lake, Settings

        day, lake = partitions.business_day(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = check_users(
            lake,
            day=day,
            now=datetime.now(UTC),
            settings=settings,
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    check_transactions()
    check_subscriptions()
    check_users()


cvas_checks()
