"""Copy tonight's commercial log from the traffic department's share.

**Reads** the sheet `Commercials` of `Commercial Log.xlsx` on the share (connection `commercial_log_share`).

**Writes** `raw/daily/Commercial Log YYMMDD.xlsx`, every cell exact, all at once; publishes its day, which starts
`commercial_log_update`.

**Re-run** Safe. The same content leaves the file as it is, newer content of the same day replaces it. A day that is
over keeps its file: the share only holds the present. Its update runs again.

**If it fails** nothing was written and yesterday's file is still there. Unreachable share: retried twice, five minutes
apart, then check VPN and server. Workbook refused (sheet, header, rows): the message says what traffic has to restore;
then clear the task. Half of the rows really gone: trigger with `allow_shrink`.
"""

from datetime import timedelta

from airflow.sdk import dag, task
from dagkit import assets, connections, forms, notifications, partitions, policies
from dagkit.timetables import DailyPartitionTimetable


@dag(
    schedule=DailyPartitionTimetable(
        policies.cron("commercial_log_import", "0 1 * * *"),
        timezone="America/Los_Angeles",
        jitter=timedelta(minutes=5),
    ),
    params={
        "date": forms.date_param(),
        "allow_shrink": forms.flag_param(
            "Accept fewer than half of the earlier rows", "Only when traffic confirms that the rows are really gone."
        ),
    },
    **policies.dag_settings("commercial_log", __doc__, kind="ingest"),
)
def commercial_log_import() -> None:
    @task(outlets=[assets.COMMERCIAL_LOG_WORKBOOK], pool=policies.COMMERCIAL_LOG_FILES)
    def copy_workbook(params: dict) -> dict:
        """Publish the dated workbook of the run's day."""
        from include.commercial_log.config import ZONE, DataRoot, Settings
        from include.commercial_log.extract import JOB, copy_workbook

        day = partitions.business_day(ZONE)
        data = DataRoot(connections.path_of(connections.COMMERCIAL_LOG_FILES))
        with data.preparing(JOB, day):
            settings = connections.settings("commercial_log", Settings)
        result = copy_workbook(
            connections.open_share(connections.COMMERCIAL_LOG_SHARE),
            data,
            day=day,
            today=partitions.today(ZONE),
            settings=settings,
            allow_shrink=params["allow_shrink"],
        )
        notifications.tell_warnings(result.warnings)
        return partitions.publish(assets.COMMERCIAL_LOG_WORKBOOK, day, result.as_dict())

    copy_workbook()


commercial_log_import()
