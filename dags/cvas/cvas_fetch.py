"""Fetch a day's transactions of six types out of the operator's database, through SSH.

**Reads** the source tables (connections `cvas_nova_ssh` for the tunnel, `cvas_nova_db` behind it), SELECT only, each
type in one read-only snapshot.

**Writes** `Daily_Data/D/{ACT,RENO,DCT,PPD,CNR,RFND}.csv` and their manifest, each file all at once; when all six are
complete, publishes the day, which starts `cvas_process`.

**Re-run** Safe, for any day, in any order: a type's file is replaced when the new one is complete. A range of days is
fetched oldest first, each day a task of its own.

**If it fails** the types that were fetched stay, the message names the others and why. Unreachable: tried four times,
five minutes apart. A database error: the message carries the database's own; correct it and clear the task, or fetch
only that type (`types`). Neither activations nor renewals on a day that really had none: trigger with `allow_empty`.
"""

from datetime import timedelta

from airflow.sdk import PartitionedAssetTimetable, dag, task
from dagkit import assets, connections, forms, notifications, partitions, policies


@dag(
    schedule=PartitionedAssetTimetable(assets=assets.CVAS_USER_BASE),
    params={
        **forms.range_params(),
        "types": forms.names_param("Types", "ACT, RENO, DCT, PPD, CNR, RFND"),
        "allow_empty": forms.flag_param(
            "Accept a day without any activation and renewal", "Only when the source's owner confirms it."
        ),
        "allow_partial": forms.flag_param(
            "Fetch today as far as it is", "The day is marked incomplete and not loaded by itself."
        ),
    },
    **policies.dag_settings("cvas", __doc__, kind="ingest", timeout=timedelta(hours=2)),
)
def cvas_fetch() -> None:
    @task(pool=policies.CVAS_SOURCE, retries=3)
    def check_source(params: dict) -> list[str]:
        """The days asked for; fails before anything is touched if they make no sense or the source cannot be read."""
        from functools import partial

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.contract import types_named
        from include.cvas.fetch import JOB, check_source

        types_named(params["types"])
        days = partitions.requested_days(ZONE, params, allow_partial=params["allow_partial"])
        with Lake(connections.path_of(connections.CVAS_LAKE)).preparing(JOB, days[0]):
            check_source(
                partial(connections.open_postgres, connections.CVAS_NOVA_DB, through=connections.CVAS_NOVA_SSH),
                day=days[0],
                settings=connections.settings("cvas", Settings),
            )
        return [day.isoformat() for day in days]

    @task(
        outlets=[assets.CVAS_FILES],
        pool=policies.CVAS_SOURCE,
        retries=3,
        max_active_tis_per_dagrun=1,
        doc_md="The six files of one day, straight from COPY.",
        map_index_template="{{ task.op_kwargs['day'] }}",
    )
    def fetch_transactions(day: str, params: dict) -> dict:
        from datetime import UTC, date, datetime
        from functools import partial

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.contract import types_named
        from include.cvas.fetch import JOB, fetch_transactions
        from include.cvas.manifest import is_complete

        lake, about = Lake(connections.path_of(connections.CVAS_LAKE)), date.fromisoformat(day)
        with lake.preparing(JOB, about):
            settings = connections.settings("cvas", Settings)
        result = fetch_transactions(
            partial(connections.open_postgres, connections.CVAS_NOVA_DB, through=connections.CVAS_NOVA_SSH),
            lake,
            day=about,
            types=types_named(params["types"]),
            now=datetime.now(UTC),
            settings=settings,
            allow_empty=params["allow_empty"],
            partial=about == partitions.today(ZONE),
        )
        notifications.tell_warnings(result.warnings)
        if not is_complete(lake, about):
            return result.as_dict()  # a single type of a day whose others are not there yet
        return partitions.publish(assets.CVAS_FILES, about, result.as_dict())

    fetch_transactions.expand(day=check_source())


cvas_fetch()
