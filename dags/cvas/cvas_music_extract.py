"""Extract the subscriptions of music services.

**Reads** the subscription view, `MASTERCPC.csv`, `Music_CPCs.txt` where there is one.

**Writes** `Reports/D/music_subscriptions.csv`. It holds personal data: the log and this page only show counts.

**Re-run** Safe: the day's extract is replaced.

**If it fails** no extract was written. No view: run `cvas_process` first.
"""

from airflow.sdk import dag, task
from dagkit import connections, forms, notifications, partitions, policies


@dag(
    schedule=None,
    params={"date": forms.date_param()},
    **policies.dag_settings("cvas", __doc__, kind="manual"),
)
def cvas_music_extract() -> None:
    @task(pool=policies.CVAS_LAKE)
    def extract_music() -> dict:
        """The rows of the view with a price point of a music service, and their summary."""
        from datetime import UTC, datetime

        from include.cvas.config import ZONE, Lake, Settings
        from include.cvas.music import JOB, extract_music

        day, lake = partitions.business_day(ZONE), Lake(connections.path_of(connections.CVAS_LAKE))
        with lake.preparing(JOB, day):
            settings = connections.settings("cvas", Settings)
        result = extract_music(
            lake,
            day=day,
            now=datetime.now(UTC),
            settings=settings,
        )
        notifications.tell_warnings(result.warnings)
        return result.as_dict()

    extract_music()


cvas_music_extract()
