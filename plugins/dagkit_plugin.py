"""Makes dagkit's timetables known to every process, and the operations page to the API server."""

import sys

from airflow.plugins_manager import AirflowPlugin
from dagkit.timetables import DailyPartitionTimetable


class DagkitPlugin(AirflowPlugin):
    name = "dagkit"
    timetables = [DailyPartitionTimetable]  # noqa: RUF012 - Airflow reads plain lists
    if sys.argv[1:2] == ["api-server"]:
        from dagkit import operations

        fastapi_apps = [{"app": operations.build_app(), "url_prefix": operations.PREFIX, "name": "Operations"}]
        external_views = [
            {"name": "Operations", "href": f"{operations.PREFIX}/", "destination": "nav", "url_route": "operations"}
        ]
