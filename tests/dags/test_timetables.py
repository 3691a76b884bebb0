"""When the nightly DAGs start, on every kind of night."""

from datetime import UTC, datetime, timedelta

import pendulum
import pytest
from airflow.timetables.base import TimeRestriction
from dagkit.timetables import DailyPartitionTimetable

ZONE = "America/Los_Angeles"


def starts(timetable, first, count):
    """The next ``count`` starts after ``first`` (UTC), as (local time, partition)."""
    found = []
    info = None
    restriction = TimeRestriction(earliest=pendulum.instance(first), latest=None, catchup=True)
    for _ in range(count):
        info = timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)
        found.append((info.run_after.in_timezone(ZONE).strftime("%Y-%m-%d %H:%M"), info.partition_key))
    return found


def test_the_partition_is_the_local_day_of_the_start():
    """R5: not of the data interval, not UTC."""
    timetable = DailyPartitionTimetable("0 1 * * *", timezone=ZONE)
    assert starts(timetable, datetime(2025, 8, 28, tzinfo=UTC), 3) == [
        ("2025-08-28 01:00", "2025-08-28"),
        ("2025-08-29 01:00", "2025-08-29"),
        ("2025-08-30 01:00", "2025-08-30"),
    ]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        (
            "0 1 * * *",
            [
                ("2026-03-07 01:00", "2026-03-07"),
                ("2026-03-08 01:00", "2026-03-08"),
                ("2026-03-09 01:00", "2026-03-09"),
            ],
        ),
        (
            "5 2 * * *",
            [
                ("2026-03-07 02:05", "2026-03-07"),
                ("2026-03-08 03:05", "2026-03-08"),
                ("2026-03-09 02:05", "2026-03-09"),
            ],
        ),
        (
            "30 2 * * 0",
            [
                ("2026-03-08 03:30", "2026-03-08"),
                ("2026-03-15 02:30", "2026-03-15"),
                ("2026-03-22 02:30", "2026-03-22"),
            ],
        ),
    ],
)
def test_a_slot_in_the_skipped_hour_runs_once_right_after_it(cron, expected):
    """Section 2: 02:05 and 02:30 do not exist on 8 March 2026."""
    timetable = DailyPartitionTimetable(cron, timezone=ZONE)
    assert starts(timetable, datetime(2026, 3, 7, 9, tzinfo=UTC), 3) == expected


def test_a_slot_in_the_doubled_hour_runs_once():
    """Section 2: 01:00 stands twice on the clock of 1 November 2026."""
    timetable = DailyPartitionTimetable("0 1 * * *", timezone=ZONE, jitter=timedelta(minutes=5))
    found = [day for _, day in starts(timetable, datetime(2026, 10, 31, 8, tzinfo=UTC), 4)]
    assert found == ["2026-10-31", "2026-11-01", "2026-11-02", "2026-11-03"]


def test_the_delay_is_spread_within_its_bounds_and_the_same_for_everybody():
    first = starts(
        DailyPartitionTimetable("0 1 * * *", timezone=ZONE, jitter=timedelta(minutes=5)),
        datetime(2025, 1, 1, tzinfo=UTC),
        60,
    )
    again = starts(
        DailyPartitionTimetable("0 1 * * *", timezone=ZONE, jitter=timedelta(minutes=5)),
        datetime(2025, 1, 1, tzinfo=UTC),
        60,
    )
    assert first == again
    minutes = {int(local[-2:]) for local, _ in first}
    assert minutes <= {0, 1, 2, 3, 4, 5}
    assert len(minutes) >= 4
    assert len({day for _, day in first}) == 60


def test_the_timetable_survives_serialisation():
    timetable = DailyPartitionTimetable("0 1 * * *", timezone=ZONE, jitter=timedelta(minutes=5))
    copy = DailyPartitionTimetable.deserialize(timetable.serialize())
    first = datetime(2025, 1, 1, tzinfo=UTC)
    assert starts(copy, first, 5) == starts(timetable, first, 5)


def test_a_scheduler_that_was_down_does_not_catch_up_days():
    """R10: the share only holds the present, so only the newest day is run."""
    timetable = DailyPartitionTimetable("0 1 * * *", timezone=ZONE, jitter=timedelta(minutes=5))
    long_ago = timetable.next_dagrun_info_v2(
        last_dagrun_info=None,
        restriction=TimeRestriction(earliest=pendulum.datetime(2025, 1, 1), latest=None, catchup=True),
    )
    info = timetable.next_dagrun_info_v2(
        last_dagrun_info=long_ago, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )
    assert pendulum.now(ZONE).subtract(days=2) < info.run_after < pendulum.now(ZONE).add(days=1, minutes=6)
