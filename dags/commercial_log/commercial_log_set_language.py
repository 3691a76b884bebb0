"""Record a person's decision about the language of spots; no update changes it again.

**Reads** `spots`, `languages`.

**Writes** `manual_override` assignments with who and why, all spots or none.

**Re-run** Safe: the same decision changes nothing.

**If it fails** nothing was changed; the message names the unknown spot ids or the unknown language code.
"""

from airflow.sdk import Param, dag, task
from dagkit import connections, partitions, policies


@dag(
    schedule=None,
    params={
        "spot_ids": Param(
            type="array",
            items={"type": "string", "pattern": "^[0-9]+$"},
            minItems=1,
            title="Spot ids",
            description="Numbers as in the review export, one per line.",
        ),
        "language_code": Param(type="string", minLength=1, title="Language code", examples=["V", "M", "T", "E"]),
        "decided_by": Param(type="string", minLength=1, title="Decided by", description="Your name."),
        "note": Param(type="string", minLength=1, title="Why"),
    },
    **policies.dag_settings("commercial_log", __doc__, kind="manual"),
)
def commercial_log_set_language() -> None:
    @task(pool=policies.COMMERCIAL_LOG_DB)
    def set_language(params: dict) -> dict:
        """Assign the language to the spots in the name of the given person."""
        from datetime import UTC, datetime

        from include.commercial_log.config import ZONE, DataRoot
        from include.commercial_log.database import open_database
        from include.commercial_log.review import set_language

        return set_language(
            connections.open_sqlite(connections.COMMERCIAL_LOG_DB, open_database),
            DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES)),
            spot_ids=[int(spot) for spot in params["spot_ids"]],
            language_code=params["language_code"],
            decided_by=params["decided_by"],
            note=params["note"],
            now=datetime.now(UTC),
            day=partitions.today(ZONE),
        ).as_dict()

    set_language()


commercial_log_set_language()
