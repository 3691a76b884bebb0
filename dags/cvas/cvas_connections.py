"""Try the connections to the source and to the reporting host, as the first steps of a day do.

**Reads** every table and column of the source that the six types take, without a row (connections `cvas_nova_ssh` and
`cvas_nova_db`); size and time of the file on the reporting host (`cvas_reporting_sftp`).

**Writes** nothing; what was reached is the tasks' log and return value.

**Re-run** Safe at any time, also while other runs work. The two tasks do not wait for each other.

**If it fails** the message names the connection and what is wrong with it. Unreachable: tried once more after five
minutes, then check VPN, DNS and host. Refused: correct login, key or host key in the connection. Tables or columns: ask
the source's owner.
"""

from airflow.sdk import dag, task
from dagkit import connections, partitions, policies


@dag(schedule=None, **policies.dag_settings("cvas", __doc__, kind="monitor"))
def cvas_connections() -> None:
    @task(pool=policies.CVAS_SOURCE, retries=1)
    def check_source() -> dict:
        """Whether the account can read what a fetch would."""
        from functools import partial

        from include.cvas.config import ZONE, Settings
        from include.cvas.fetch import check_source

        result = check_source(
            partial(connections.open_postgres, connections.CVAS_NOVA_DB, through=connections.CVAS_NOVA_SSH),
            day=partitions.today(ZONE),
            settings=connections.settings("cvas", Settings),
        )
        print(f"The source can be read: {', '.join(result.facts['readable'])}.")
        return result.as_dict()

    @task(pool=policies.CVAS_READERS, retries=1)
    def check_host() -> dict:
        """What the reporting host has at this moment."""
        from include.cvas.config import Settings
        from include.cvas.snapshots import check_host

        result = check_host(
            connections.open_share(connections.CVAS_REPORTING_SFTP), settings=connections.settings("cvas", Settings)
        )
        print(f"{result.where}: {result.bytes:,} bytes, written {result.facts['written_at']}.")
        return result.as_dict()

    check_source()
    check_host()


cvas_connections()
