"""Makes dagkit's timetables known to the scheduler and the web server."""

from airflow.plugins_manager import AirflowPlugin
from dagkit.timetables import DailyPartitionTimetable


class DagkitPlugin(AirflowPlugin):
    name = "dagkit"
    timetables = [DailyPartitionTimetable]  # noqa: RUF012 - Airflow reads a plain list
