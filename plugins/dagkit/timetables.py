"""Schedules Airflow does not have."""

import hashlib
from datetime import timedelta
from typing import Any

from airflow.timetables.base import DagRunInfo, TimeRestriction, Timetable
from airflow.timetables.trigger import CronPartitionTimetable

DAY_KEY = "%Y-%m-%d"


class DailyPartitionTimetable(CronPartitionTimetable):
    """A cron schedule in a local zone whose partition is the local day and whose start is delayed by up to ``jitter``.

    The delay is a hash of schedule and day: it spreads the load like a random one, yet every scheduler computes the
    same start for the same day. ``jitter`` has to be shorter than the time between two runs.
    """

    def __init__(self, cron: str, *, timezone: Any, jitter: timedelta = timedelta(0), **settings: Any) -> None:
        settings.setdefault("key_format", DAY_KEY)
        super().__init__(cron, timezone=timezone, **settings)
        self._jitter = jitter

    @property
    def summary(self) -> str:
        """What the web UI shows as the schedule: a time is worth little without its zone."""
        return f"{self._expression} {self._timezone}"

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        info = super().next_dagrun_info_v2(last_dagrun_info=last_dagrun_info, restriction=restriction)
        if info is None or not self._jitter:
            return info
        return info._replace(run_after=info.run_after + self._delay(str(info.partition_key)))

    def _delay(self, day: str) -> timedelta:
        digest = hashlib.sha256(f"{self._expression} {day}".encode()).digest()
        seconds = int.from_bytes(digest[:4], "big") % (int(self._jitter.total_seconds()) + 1)
        return timedelta(seconds=seconds)

    def serialize(self) -> dict[str, Any]:
        return {**super().serialize(), "jitter_seconds": self._jitter.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        timetable = super().deserialize(data)
        assert isinstance(timetable, cls)  # noqa: S101 - built by this class
        timetable._jitter = timedelta(seconds=data["jitter_seconds"])
        return timetable
