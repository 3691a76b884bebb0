"""Makes dagkit's timetables known to every process, and the operations page to the API server."""

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from dagkit.timetables import DailyPartitionTimetable

_page: dict[str, Any] = {}
if sys.argv[1:2] == ["api-server"]:
    from dagkit.operations import registration

    _page = dict(registration())


class DagkitPlugin(AirflowPlugin):
    name = "dagkit"
    timetables = [DailyPartitionTimetable]  # noqa: RUF012 - Airflow reads plain lists
    fastapi_apps = _page.get("fastapi_apps", [])
    external_views = _page.get("external_views", [])
