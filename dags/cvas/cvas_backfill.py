"""Find days of which the lake has no rows, and fetch them again, oldest first.

**Reads** the lake's days of each type, from its first to yesterday, or those from `start_date` to `end_date`.

**Writes** nothing with `dry_run`. Without it, it starts `cvas_fetch` for each range of missing days, all six types, and
the chain follows; or, with `confirm_empty`, it records that the source has nothing for those days, but for days after
the newest one that is loaded from its files and for days whose rows were lost.

**Re-run** Safe: days that were filled in the meantime are not asked for again.

**If it fails** nothing was started. A type that is unknown is named; otherwise the message says what cannot be read.
"""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, task
from dagkit import connections, forms, notifications, partitions, policies


@dag(
    schedule=None,
    params={
        "types": forms.names_param("Types to look at", "ACT, RENO, DCT, PPD, CNR, RFND"),
        **forms.bounds_params(
            "First day to look at. Empty, like the last one: as far back as there are days.",
            "Last day to look at. Empty, like the first one: yesterday.",
        ),
        "dry_run": forms.flag_param("Dry run", "Only lists the days in the log, whatever else is ticked.", on=True),
        "confirm_empty": forms.flag_param(
            "Record the missing days as empty", "When the source's owner confirms that it has nothing."
        ),
    },
    **policies.dag_settings("cvas", __doc__, kind="manual"),
)
def cvas_backfill() -> None:
    @task(pool=policies.CVAS_LAKE)
    def find_gaps(params: dict) -> list[dict]:
        """What to trigger the fetch with, range by range; nothing in a dry run."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.contract import types_named
        from include.cvas.gaps import JOB, find_gaps

        since, until = partitions.requested_bounds(ZONE, params)
        lake = Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, until):
            settings = connections.settings("cvas", Settings)
        result = find_gaps(
            lake,
            since=since,
            until=until,
            types=types_named(params["types"]),
            now=datetime.now(UTC),
            settings=settings,
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
