"""Find days of which the lake has no rows, and fetch them again, oldest first.

**Reads** the lake's days of each type, from its first to yesterday, or those from `start_date` to `end_date`.

**Writes** nothing with `dry_run`. Without it, it starts `cvas_fetch` for each range of missing days, all six types, and
the chain follows; or, with `confirm_empty`, it records that the source has nothing for those days, but for days after the
newest one that is loaded from its files and for days whose rows were lost.

**Re-run** Safe: days that were filled in the meantime are not asked for again.

**If it fails** nothing was started. A type that is unknown is named; otherwise the message says what cannot be read.
"""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Param, dag, task
from dagkit import connections, notifications, partitions, policies


@dag(
    schedule=None,
    params={
        "types": Param(
            "all",
            type="string",
            title="Types to look at",
            description="all, or some of: ACT, RENO, DCT, PPD, CNR, RFND",
        ),
        **partitions.bounds_params(
            "First day to look at. Empty, like the last one: as far back as there are days.",
            "Last day to look at. Empty, like the first one: yesterday.",
        ),
        "dry_run": Param(
            True,
            type="boolean",
            title="Dry run",
            description="Only lists the days in the log, whatever else is ticked.",
        ),
        "confirm_empty": Param(
            False,
            type="boolean",
            title="Record the missing days as empty",
            description="When the source's owner confirms that it has nothing.",
        ),
    },
    **policies.dag_settings("cvas", __doc__, kind="manual"),
)
def cvas_backfill() -> None:
    @task(pool=policies.CVAS_LAKE)
    def find_gaps(params: dict) -> list[dict]:
        """What to trigger the fetch with, range by range; nothing in a dry run."""
        from datetime import UTC, datetime

        from include.common.days import requested_bounds
        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.contract import types_named
        from include.cvas.gaps import find_gaps

        since, until = requested_bounds(
            start=params["start_date"], end=params["end_date"], today=partitions.today(ZONE)
        )
        result = find_gaps(
            Lake(connections.path_of(connections.CVAS_LAKE)),
            since=since,
            until=until,
            types=types_named(params["types"]),
            now=datetime.now(UTC),
            settings=Settings.from_mapping(connections.settings("cvas")),
            confirm_empty=params["confirm_empty"] and not params["dry_run"],
        )
        notifications.tell_warnings(result.warnings)
        if params["dry_run"] or params["confirm_empty"]:
            return []
        return [{"start_date": first, "end_date": last} for first, last in result.facts["ranges"]]

    TriggerDagRunOperator.partial(
        task_id="start_fetch",
        trigger_dag_id="cvas_fetch",
        pool=policies.CVAS_READERS,
        doc_md="Start the fetch of one range of days.",
    ).expand(conf=find_gaps())


cvas_backfill()
