"""Build the lake's history anew from a folder of historical files.

**Reads** `<type>_atlas*.csv` in the folder, as large as they are, in pieces.

**Writes** all partitions of the types that have files, each type's history replaced when all of it is verified; with
`days_only` the days that the files have, and no others.

**Re-run** Safe: the same files make the same lake.

**If it fails** the lake is as it was. A value that cannot be read stops its file; the message names file, line and
column.

**Then** the next `cvas_process` builds the view from nothing; where the files have fewer renewals than the lake had, it
needs `force`. The counters have to be counted again: a warning names the days to trigger `cvas_counters` with.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, task
from dagkit import connections, forms, notifications, partitions, policies


@dag(
    schedule=None,
    params={
        "folder": Param(type="string", minLength=1, title="Folder", description="Full path on the worker."),
        "types": forms.names_param("Types", "ACT, RENO, DCT, PPD, CNR, RFND"),
        "days_only": forms.flag_param(
            "Replace only the days that the files have",
            "To close a gap. Off: the files are all there is; days they do not have go.",
        ),
        "force": forms.flag_param(
            "Accept fewer than half of a day's rows", "Only when the files are known to be right."
        ),
    },
    **policies.dag_settings("cvas", __doc__, kind="manual", timeout=timedelta(hours=2)),
)
def cvas_historical_import() -> None:
    @task(pool=policies.CVAS_LAKE)
    def import_history(params: dict) -> dict:
        """Read, verify, replace; type by type."""
        from datetime import UTC, datetime
        from pathlib import Path

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.contract import types_named
        from include.cvas.history import JOB, import_history

        day, lake = partitions.today(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = import_history(
            lake,
            Path(params["folder"]),
            types=types_named(params["types"]),
            day=day,
            now=datetime.now(UTC),
            settings=settings,
            days_only=params["days_only"],
            force=params["force"],
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    import_history()


cvas_historical_import()
