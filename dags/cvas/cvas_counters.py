"""Count a day's transactions and money per price point and service, with the services' KPIs.

**Reads** the day's months in the lake, `MASTERCPC.csv`, the user base, the list of excluded users.

**Writes** `Counters/Counters_CPC.parquet`, `Counters_Service.csv` and `Service_KPI.csv`, all at once; of each the rows
of the day are replaced, all others stay.

**Re-run** Safe: a day counted again replaces its own rows. By hand, a day that is there is left alone unless `force`.

**If it fails** the three files are as they were. `MASTERCPC.csv` missing or refused: the message names line and column;
put it right (`cvas_mastercpc` makes it from the catalogue) and clear the task. Price points it does not know are only
a warning; they count as `UNKNOWN`.
"""

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task
from dagkit import assets, connections, forms, notifications, partitions, policies


@dag(
    schedule=PartitionedAssetTimetable(assets=assets.CVAS_LAKE),
    params={
        **forms.range_params(),
        "missing": forms.flag_param(
            "All missing days", "Those of the lake that were never counted, instead of the above."
        ),
        "force": forms.flag_param("Count again what is there"),
    },
    **policies.dag_settings("cvas", __doc__, kind="publish"),
)
def cvas_counters() -> None:
    @task(outlets=[assets.CVAS_COUNTERS], pool=policies.CVAS_LAKE)
    def count_transactions(params: dict) -> dict:
        """Counts and money per price point and per service, KPIs."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.counters import JOB, count_transactions, missing_days

        lake = Lake(connections.path_of(connections.CVAS_LAKE))
        loaded = bool(get_current_context().get("partition_key"))
        # Who loaded a day that is not over said so.
        requested = partitions.requested_days(ZONE, params, allow_partial=loaded)
        with lake.preparing(JOB, requested[-1]):
            settings = connections.settings("cvas", Settings)
            days = missing_days(lake) if params["missing"] else requested
        result = count_transactions(
            lake,
            days=days,
            day=requested[-1],
            now=datetime.now(UTC),
            settings=settings,
            # A day that was loaded again has to be counted again.
            force=params["force"] or loaded,
        )
        notifications.tell_warnings(result.warnings)
        return partitions.publish(assets.CVAS_COUNTERS, days[-1], result.as_dict()) if days else result.as_dict()

    count_transactions()


cvas_counters()
