"""Load a day's six files into the lake, and bring the subscription view up to date.

**Reads** `Daily_Data/D/*.csv` and their manifest; for the view all partitions, the user base, `MASTERCPC.csv`.

**Writes** the months of the six types that hold the day, all or none, and publishes the day, which starts
`cvas_counters`; then `Parquet_Data/aggregated/subscriptions.parquet`, one row per subscription, readers see the old or
the new one.

**Re-run** Safe, for any day, in any order. The same files change no byte; corrected files leave exactly the corrected
rows. The view recomputes the subscriptions that were touched and equals a full rebuild in every column.

**If it fails** lake and view are as they were; a kill between the renames is completed by the next run. Missing or
altered files: run `cvas_fetch` for the day. Rejected rows are in `Daily_Data/D/_rejects/`. Fewer than half of a day's
rows really gone, fewer subscriptions or renewals than before: trigger with `force`, which also accepts what something
else took out of the lake. An unreadable partition: the message names it; move it away, then fetch and load that month
again.
"""

from datetime import timedelta

from airflow.sdk import Param, PartitionedAssetTimetable, dag, task
from dagkit import assets, connections, forms, notifications, partitions, policies


@dag(
    schedule=PartitionedAssetTimetable(assets=assets.CVAS_FILES),
    params={
        **forms.range_params(),
        "steps": Param(
            "load and view", type="string", enum=["load and view", "load only", "view only"], title="What to do"
        ),
        "full_rebuild": forms.flag_param(
            "Build the view from nothing", "Off: only the subscriptions whose events changed."
        ),
        "upsert": forms.flag_param(
            "Keep rows the files do not have", "For special imports; normally a day becomes exactly what its files say."
        ),
        "allow_partial": forms.flag_param("Load files of a day that was not over"),
        "force": forms.flag_param(
            "Accept fewer than half of a day's rows, fewer subscriptions or renewals, lost rows",
            "Only when the source's owner confirms it.",
        ),
    },
    **policies.dag_settings("cvas", __doc__, kind="transform", timeout=timedelta(hours=2)),
)
def cvas_process() -> None:
    @task(pool=policies.CVAS_READERS)
    def choose_days(params: dict) -> list[str]:
        """The days to load, oldest first; none where only the view is asked for."""
        from include.cvas.config import ZONE

        days = partitions.requested_days(ZONE, params, allow_partial=params["allow_partial"])
        return [] if params["steps"] == "view only" else [day.isoformat() for day in days]

    @task(
        outlets=[assets.CVAS_LAKE],
        pool=policies.CVAS_LAKE,
        max_active_tis_per_dagrun=1,
        doc_md="Replace one day in the partitions of all six types.",
        map_index_template="{{ task.op_kwargs['day'] }}",
    )
    def load_transactions(day: str, params: dict) -> dict:
        from datetime import UTC, date, datetime

        from include.cvas.config import Lake, Settings
        from include.cvas.load import JOB, load_transactions

        lake, about = Lake(connections.path_of(connections.CVAS_LAKE)), date.fromisoformat(day)
        with lake.preparing(JOB, about):
            settings = connections.settings("cvas", Settings)
        result = load_transactions(
            lake,
            day=about,
            now=datetime.now(UTC),
            settings=settings,
            force=params["force"],
            upsert=params["upsert"],
            allow_partial=params["allow_partial"],
        )
        notifications.tell_warnings(result.warnings)
        return partitions.publish(assets.CVAS_LAKE, about, result.as_dict())

    @task(outlets=[assets.CVAS_SUBSCRIPTIONS], pool=policies.CVAS_LAKE, trigger_rule="none_failed")
    def build_subscriptions(params: dict) -> dict:
        """One row per subscription, checked before it replaces the last one."""
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.view import JOB, build_subscriptions

        if params["steps"] == "load only":
            raise AirflowSkipException("Only the load was asked for.")
        day = partitions.requested_days(ZONE, params, allow_partial=params["allow_partial"])[-1]
        lake = Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = build_subscriptions(
            lake,
            day=day,
            now=datetime.now(UTC),
            settings=settings,
            full=params["full_rebuild"],
            force=params["force"],
        )
        notifications.tell_warnings(result.warnings)
        return partitions.publish(assets.CVAS_SUBSCRIPTIONS, day, result.as_dict())

    load_transactions.expand(day=choose_days()) >> build_subscriptions()


cvas_process()
