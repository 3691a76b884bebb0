"""Commercial log's outside world on this machine: the K drive, the cloud folder, the station's data folder."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from include.commercial_log.config import ZONE, DataRoot
from include.commercial_log.database import open_database
from sandbox.commercial_log.expected import Expected
from sandbox.commercial_log.history import fill_history
from sandbox.commercial_log.people import load_people, make_people
from sandbox.commercial_log.share import dated_history, publish
from sandbox.servers.s3 import S3Server
from sandbox.servers.smb import SmbServer

BUCKET = "booked-business"
EARLIER_DAYS = 16


class CommercialLog:
    """The world of one business day; ``state`` keeps it over restarts.

    ``scale`` 1.0 is the workbook's real size. ``history`` is how many closed spots a new database starts with.
    """

    chains = (
        ("commercial_log_import", "commercial_log_update"),
        ("commercial_log_rotation",),
        ("commercial_log_backup",),
        ("commercial_log_status",),
    )

    def __init__(self, state: Path, *, scale: float = 1.0, history: int = 100_000) -> None:
        self.share = state / "share" / "K Drive"
        self.data = DataRoot(state / "station")
        self.database = state / "station" / "production.db"
        self.scale, self.history = scale, history
        self.expected: Expected | None = None
        self._smb: SmbServer | None = None
        self._s3: S3Server | None = None

    @property
    def smb(self) -> SmbServer:
        assert self._smb is not None, "the world is not running"
        return self._smb

    @property
    def day(self) -> date:
        """The station's calendar day: the share holds the present, so the present is what the world plays."""
        return datetime.now(ZONE).date()

    @contextmanager
    def running(self) -> Iterator[CommercialLog]:
        """Start the servers and bring the world to today."""
        self.share.mkdir(parents=True, exist_ok=True)
        with (
            SmbServer({"K Drive": self.share}, user="svc_log", password=secrets.token_urlsafe(12)) as self._smb,
            S3Server() as self._s3,
        ):
            self._s3.create_bucket(BUCKET)
            self._fill_station()
            self.move_to(self.day)
            yield self

    def move_to(self, day: date) -> None:
        """Let traffic save the workbook of ``day`` on the share."""
        if not self.database.exists():
            self._fill_station()
        self.expected = publish(self.share, day, scale=self.scale, closed_months=self._closed()).expected

    def _closed(self) -> list[str]:
        with closing(open_database(self.database, read_only=True)) as db:
            return [month for (month,) in db.execute("SELECT broadcast_month FROM month_closures")]

    def _fill_station(self) -> None:
        """What a station that has run for years has: a database with closed months, dated files of the last weeks."""
        if self.database.exists():
            with closing(open_database(self.database, create=True)):
                return  # as an upgrade does: what an older version made gets the tables it lacks
        building = self.database.with_suffix(".building")
        building.unlink(missing_ok=True)
        with closing(open_database(building, create=True)) as db:
            load_people(db, make_people(1))
            if self.history:
                before = (self.day.replace(day=1) - timedelta(days=1)).replace(day=1)
                fill_history(db, months=24, spots=self.history, before=before)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.data.daily.mkdir(parents=True, exist_ok=True)
        dated_history(self.data.daily, (self.day - timedelta(days=age) for age in range(EARLIER_DAYS, 0, -1)))
        building.rename(self.database)

    @property
    def places(self) -> dict[str, str]:
        """What the operators' commands find in their environment."""
        return {
            "COMMERCIAL_LOG_DATABASE": str(self.database),
            "COMMERCIAL_LOG_DATA_ROOT": str(self.data.root),
            "COMMERCIAL_LOG_SETTINGS": "{}",
        }

    def connections(self) -> dict[str, dict[str, Any]]:
        """Airflow connections to this world, by connection id."""
        assert self._s3 is not None, "the world is not running"
        return {
            "commercial_log_share": {
                "conn_type": "samba",
                "host": "127.0.0.1",
                "port": self.smb.port,
                "schema": "K Drive",
                "login": f"STATION\\{self.smb.user}",
                "password": self.smb.password,
            },
            "commercial_log_db": {"conn_type": "sqlite", "host": str(self.database)},
            "commercial_log_files": {"conn_type": "fs", "extra": {"path": str(self.data.root)}},
            "commercial_log_backup": {
                "conn_type": "aws",
                "login": "sandbox",
                "password": "sandbox",
                "extra": {
                    "endpoint_url": self._s3.endpoint_url,
                    "region_name": "us-east-1",
                    "bucket": BUCKET,
                    "prefix": "backups/",
                },
            },
        }

    def report(self) -> list[str]:
        """What came out, for the terminal, checked against what the generator says must come out.

        Raises AssertionError with both figures where they differ.
        """
        assert self.expected is not None, "the world is not running"
        with closing(open_database(self.database, read_only=True)) as db:
            months = db.execute(
                "SELECT broadcast_month, spots, gross_sum, net_sum, customers, status = 'closed' FROM v_month_status"
            ).fetchall()
            batch = db.execute(
                "SELECT batch_id, records_imported, rows_inserted, rows_removed, rows_unchanged, rows_filtered_trade,"
                " rows_rejected FROM import_batches WHERE status = 'COMPLETED' AND import_mode = 'WEEKLY_UPDATE'"
                " ORDER BY import_date DESC, batch_id DESC LIMIT 1"
            ).fetchone()
        found = {month: (spots, round(gross, 2)) for month, spots, gross, *_, closed in months if not closed}
        due = {
            month: (each["rows"], round(each["gross"], 2)) for month, each in self.expected.as_dict()["months"].items()
        }
        assert {month: found.get(month) for month in due} == due, (
            f"expected {json.dumps(due)}, found {json.dumps(found)}"
        )
        lines = [f"  {'month':<8}{'spots':>8}{'gross $':>16}{'net $':>16}{'customers':>11}"]
        lines += [
            f"  {month:<8}{spots:>8,}{gross:>16,.2f}{net:>16,.2f}{customers:>11}"
            for month, spots, gross, net, customers, closed in months
            if not closed
        ]
        closed_spots = sum(row[1] for row in months if row[5])
        lines.append(f"  and {sum(1 for row in months if row[5])} closed months with {closed_spots:,} spots, untouched")
        name, imported, inserted, removed, unchanged, trade, rejected = batch
        lines.append(
            f"  {name}: {imported:,} spots ({inserted:,} inserted, {removed:,} removed, {unchanged:,} unchanged), "
            f"{trade} Trade rows left out, {rejected} rows rejected with their reasons in import_rejects"
        )
        lines.append("  spots and revenue of every open month equal the generator's own calculation, to the cent")
        lines.append(f"  database  {self.database}")
        lines.append(f"  files     {self.data.root / 'raw'}")
        return lines
