"""The host's file becomes the snapshot of a day: R6-R9, and section 6 as far as a snapshot is concerned."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from include.common import locks
from include.common.journal import read_journal
from include.common.shares import LocalShare, Share
from include.cvas.config import Settings
from include.cvas.snapshots import check_host, download_snapshot, list_snapshots, read_rows, snapshot_delay
from include.errors import (
    AlreadyRunning,
    ContractViolation,
    RequestRefused,
    SourceChanging,
    SourceMissing,
    SourceUnavailable,
    StaleInput,
    StoreBusy,
    StoreFull,
)
from tests.corpus.cvas.snapshots.make_corpus import FOLDER, corpus
from tests.unit.cvas_snapshot_helpers import DAY, NOW, TODAY, WRITTEN, Reporting, usual
from tests.unit.forked import run_in_child

HOST = "cvas_reporting_sftp:/NBS_Base.csv"
ONE_DAY = timedelta(days=1)
SNAPSHOT = "User_Base/NBS_BASE/20251110_NBS_Base.csv"
STATE = "_state/snapshots.json"


@pytest.fixture
def reporting(tmp_path: Path) -> Reporting:
    return Reporting(tmp_path)


@contextmanager
def closed_share() -> Iterator[Share]:
    pytest.fail("The host was asked.")
    yield


@contextmanager
def unreachable_share() -> Iterator[Share]:
    raise SourceUnavailable("Nobody answers.", next_step="It is tried again.")
    yield


# --- the file of yesterday --------------------------------------------------------------------------------------------


def test_the_hosts_file_is_kept_under_the_day_before(reporting: Reporting) -> None:
    """R6, R8: D, not the day of the download; byte for byte."""
    content = corpus()["windows characters"]
    reporting.write(content)
    result = reporting.download()
    sha256 = hashlib.sha256(content).hexdigest()
    contents = reporting.contents()
    assert contents.keys() == {SNAPSHOT, STATE}
    assert contents[SNAPSHOT] == content
    assert json.loads(contents[STATE]) == {
        "day": "2025-11-10",
        "source": HOST,
        "mtime": WRITTEN.timestamp(),
        "size": len(content),
        "sha256": sha256,
    }
    durations = result["facts"].pop("fetch from the host")
    assert durations >= 0
    assert result == {
        "where": str(reporting.lake.root / SNAPSHOT),
        "read": 3,
        "written": 3,
        "rejected": 0,
        "bytes": len(content),
        "warnings": [],
        "facts": {"action": "created", "day": "2025-11-10", "users": 1000, "sha256": sha256},
    }
    [line] = read_journal(reporting.lake.logs, "cvas_snapshot")
    assert (line.state, line.day, line.detail) == ("SUCCESS", "2025-11-10", "rows: 3 | users: 1000 | snapshot: created")


def test_the_same_file_again_changes_nothing_even_when_it_is_too_old_by_now(reporting: Reporting) -> None:
    """R7, R8: a rerun of the same day is no stale snapshot."""
    reporting.write(usual(), written=NOW - timedelta(hours=23))
    reporting.download()
    before = reporting.files()
    result = reporting.download(now=NOW + timedelta(hours=12))
    assert (result["facts"]["action"], result["written"]) == ("unchanged", 0)
    assert reporting.files() == before


def test_a_newer_file_of_the_same_day_replaces_the_snapshot(reporting: Reporting) -> None:
    """R8."""
    reporting.write(usual(1000))
    reporting.download()
    reporting.write(usual(1001), written=WRITTEN + timedelta(hours=1))
    result = reporting.download()
    assert result["facts"]["action"] == "replaced"
    assert result["warnings"] == [
        "20251110_NBS_Base.csv existed already; it was replaced by the file that the host wrote since."
    ]
    assert reporting.contents()[SNAPSHOT] == usual(1001)


def test_a_snapshot_that_was_put_there_under_another_name_is_the_one_that_is_replaced(reporting: Reporting) -> None:
    """R8, R10: never two of a day."""
    path = reporting.keep(DAY, usual())
    by_hand = path.rename(path.with_name("20251110_by_hand_NBS_Base.csv"))
    reporting.write(usual(1001))
    assert reporting.download()["where"] == str(by_hand)
    assert list_snapshots(reporting.lake) == {DAY: by_hand}
    assert by_hand.read_bytes() == usual(1001)


def test_two_snapshots_of_another_day_do_not_keep_todays_from_being_taken(reporting: Reporting) -> None:
    """R10, B12: the aggregation names both; the total is compared with the newest day that has one."""
    reporting.keep(DAY - 2 * ONE_DAY, usual(990))
    for day in (DAY - ONE_DAY, DAY - 3 * ONE_DAY):
        path = reporting.keep(day, usual(100))
        path.with_name(f"{day:%Y%m%d}_copy_NBS_Base.csv").write_bytes(usual(5000))
    reporting.write(usual(1000))
    assert reporting.delay() is None
    result = reporting.download()
    assert (result["facts"]["action"], result["warnings"]) == ("created", [])
    assert reporting.contents()[SNAPSHOT] == usual(1000)
    with pytest.raises(ContractViolation, match=r"20251107_NBS_Base\.csv and 20251107_copy_NBS_Base\.csv"):
        reporting.aggregate()


def test_two_snapshots_of_the_day_itself_are_an_error_that_names_both(reporting: Reporting) -> None:
    """R10."""
    path = reporting.keep(DAY, usual())
    path.with_name("20251110_copy_NBS_Base.csv").write_bytes(usual())
    reporting.write(usual(1001))
    before = reporting.files()
    with pytest.raises(ContractViolation, match=r"20251110_NBS_Base\.csv and 20251110_copy_NBS_Base\.csv"):
        reporting.download()
    assert reporting.files() == before


def test_a_snapshot_that_got_lost_on_its_day_is_fetched_again(reporting: Reporting) -> None:
    """R78."""
    reporting.write(usual())
    reporting.download()
    before = reporting.contents()
    (reporting.lake.root / SNAPSHOT).unlink()
    assert reporting.download()["facts"]["action"] == "created"
    assert reporting.contents() == before


def test_the_file_is_found_in_a_folder_and_in_another_case(reporting: Reporting) -> None:
    reporting.write(usual())
    folder = reporting.share.root / "Exports"
    folder.mkdir()
    (reporting.share.root / "NBS_Base.csv").rename(folder / "nbs_base.CSV")
    settings = Settings(snapshot_path="exports/NBS_Base.csv")
    assert reporting.download(settings=settings)["facts"]["action"] == "created"


# --- another day ------------------------------------------------------------------------------------------------------


def test_an_old_day_keeps_its_snapshot_and_never_gets_todays_content(reporting: Reporting) -> None:
    """R8, R9."""
    reporting.keep(DAY - ONE_DAY, usual())
    before = reporting.files()
    for day, action, warnings in (
        (DAY - ONE_DAY, "kept", ()),
        (
            DAY - 2 * ONE_DAY,
            "missing",
            (
                "snapshot missing for 2025-11-08: the host only keeps the newest, so it cannot be fetched any more and "
                "the day goes on without it. If somebody has kept that file, store it as "
                f"{reporting.lake.snapshots / '20251108_NBS_Base.csv'} and clear the run.",
            ),
        ),
    ):
        result = download_snapshot(closed_share(), reporting.lake, day=day, now=NOW, today=TODAY, settings=Settings())
        assert (result.facts["action"], result.warnings) == (action, warnings)
    assert reporting.files() == before


def test_a_day_that_is_not_over_is_refused(reporting: Reporting) -> None:
    """R2."""
    with pytest.raises(RequestRefused, match="2025-11-11 is not over"):
        download_snapshot(closed_share(), reporting.lake, day=TODAY, now=NOW, today=TODAY, settings=Settings())
    assert reporting.files() == {}


# --- freshness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            NOW - timedelta(hours=24, minutes=45),
            f"{HOST} was written 2025-11-10 07:20, 25 hours ago; allowed are 24.",
        ),
        (
            NOW + timedelta(days=30),
            f"{HOST} was written 2025-12-11 08:05, 720 hours ahead of this machine's clock; allowed are 24.",
        ),
    ],
)
def test_a_file_older_than_a_day_or_from_the_future_is_stale(
    reporting: Reporting, written: datetime, told: str
) -> None:
    """R7."""
    reporting.write(usual(), written=written)
    assert reporting.delay() == told
    with pytest.raises(StaleInput) as refused:
        reporting.download()
    assert refused.value.what == f"stale snapshot: {told} Nothing was stored for 2025-11-10."
    assert refused.value.next_step.endswith("later it is lost.")
    assert reporting.files() == {}


def test_a_file_of_exactly_a_day_is_fresh(reporting: Reporting) -> None:
    """R7: at most 24 h before the download, across a change of the clocks as well."""
    now = datetime(2025, 10, 26, 23, 30, tzinfo=UTC)  # 0:30 of the 27th, after a day of 25 hours
    reporting.write(usual(), written=now - timedelta(hours=24))
    assert reporting.delay(date(2025, 10, 26), now=now) is None
    assert reporting.download(date(2025, 10, 26), now=now)["facts"]["action"] == "created"


def test_the_file_of_the_day_before_is_stale_although_it_is_young_enough(reporting: Reporting) -> None:
    """R7: later than that of the snapshot before."""
    reporting.write(usual(), written=NOW - timedelta(minutes=5))
    reporting.download()
    before = reporting.files()
    tomorrow = NOW + timedelta(hours=20)
    told = f"{HOST} was written 2025-11-11 08:00, not after the one accepted for 2025-11-10 (2025-11-11 08:00)."
    assert reporting.delay(TODAY, now=tomorrow) == told
    with pytest.raises(StaleInput, match="stale snapshot: ") as refused:
        reporting.download(TODAY, now=tomorrow)
    assert told in refused.value.what
    assert reporting.files() == before


def test_an_older_file_than_the_one_of_the_same_day_is_stale(reporting: Reporting) -> None:
    """R7: the host was restored from a backup."""
    reporting.write(usual())
    reporting.download()
    before = reporting.files()
    reporting.write(usual(1001), written=WRITTEN - timedelta(hours=2))
    with pytest.raises(StaleInput, match=r"not after the one accepted for 2025-11-10 \(2025-11-11 05:10\)"):
        reporting.download()
    assert reporting.files() == before


@pytest.mark.parametrize("note", ["", "[1]", "{}", '{"day": 5', '{"day": "2025-11-09", "other": 1}'])
def test_a_damaged_note_of_the_last_file_leaves_its_age_to_decide(reporting: Reporting, note: str) -> None:
    """Section 6: state file corrupt."""
    state = reporting.lake.root / STATE
    state.parent.mkdir(parents=True)
    state.write_text(note)
    reporting.write(usual())
    assert reporting.download()["warnings"] == [
        f"{state} is damaged; that the host's file is a new one is only known from its age."
    ]
    assert json.loads(state.read_text())["day"] == "2025-11-10"


def test_there_is_nothing_to_wait_for_on_other_days_and_once_the_file_was_taken(reporting: Reporting) -> None:
    """R9, R7: the day is that of Madrid, where it begins two hours earlier in summer."""
    lake, settings = reporting.lake, Settings()
    assert snapshot_delay(closed_share(), lake, day=DAY - ONE_DAY, now=NOW, settings=settings) is None
    assert snapshot_delay(closed_share(), lake, day=TODAY, now=NOW, settings=settings) is None
    midnight = datetime(2025, 7, 1, 22, 1, tzinfo=UTC)
    reporting.write(usual(), written=midnight - timedelta(days=3))
    assert reporting.delay(date(2025, 6, 30), now=midnight) is None
    assert "72 hours ago" in str(reporting.delay(date(2025, 7, 1), now=midnight))
    reporting.write(usual())
    reporting.download()
    assert snapshot_delay(closed_share(), lake, day=DAY, now=NOW, settings=settings) is None


def test_a_file_that_is_not_there_yet_is_waited_for_and_missing_when_it_is_fetched(reporting: Reporting) -> None:
    """Section 6: snapshot missing."""
    (reporting.share.root).mkdir()
    told = "cvas_reporting_sftp: 'NBS_Base.csv' not found in '/'; it holds: nothing."
    assert reporting.delay() == told
    with pytest.raises(SourceMissing) as refused:
        reporting.download()
    assert refused.value.what == told
    assert reporting.files() == {}
    assert read_journal(reporting.lake.logs, "cvas_snapshot")[0].state == "FAILED"


def test_a_host_that_cannot_be_reached_is_waited_for(reporting: Reporting) -> None:
    """R7, B12: until it answers, as the snapshot of a day that nobody fetched is lost for good."""
    lake, settings = reporting.lake, Settings()
    assert snapshot_delay(unreachable_share(), lake, day=DAY, now=NOW, settings=settings) == "Nobody answers."
    with pytest.raises(SourceUnavailable):
        download_snapshot(unreachable_share(), lake, day=DAY, now=NOW, today=TODAY, settings=settings)


@dataclass(frozen=True)
class Busy(LocalShare):
    """The host writes to the file whenever it is opened."""

    def open(self, path: str) -> BinaryIO:
        with (self.root / path).open("ab") as stream:
            stream.write(b"45335,")
        return super().open(path)


def test_a_file_that_is_being_written_is_waited_for_and_read_again(reporting: Reporting) -> None:
    """R6, R7: neither a delay that never ends nor a half snapshot."""
    reporting.write(usual())
    share = Busy("cvas_reporting_sftp", reporting.share.root)
    lake, settings = reporting.lake, Settings()
    delay = snapshot_delay(nullcontext(share), lake, day=DAY, now=NOW, settings=settings)
    assert delay == (
        f"cvas_reporting_sftp: 'NBS_Base.csv' was written to while it was read ({len(usual())} bytes before, "
        f"{len(usual()) + 6} read, {len(usual()) + 6} after)."
    )
    with pytest.raises(SourceChanging):
        download_snapshot(nullcontext(share), lake, day=DAY, now=NOW, today=TODAY, settings=settings)
    assert reporting.files() == {}


def test_a_file_written_a_moment_ago_may_still_grow_and_is_waited_for(reporting: Reporting) -> None:
    """R6, B12: its first half can look like a whole one."""
    reporting.write(usual(), written=NOW - timedelta(seconds=119))
    assert reporting.delay() == f"{HOST} was written 2025-11-11 08:03, less than 2 minutes ago: it may not be all."
    reporting.write(usual(), written=NOW - timedelta(minutes=2))
    assert reporting.delay() is None


def test_what_only_force_takes_is_not_waited_for(reporting: Reporting) -> None:
    """R7: somebody has to decide."""
    reporting.keep(DAY - ONE_DAY, usual(1000))
    reporting.write(usual(400))
    assert reporting.delay() is None
    with pytest.raises(ContractViolation, match=r"trigger with force\."):
        reporting.download()


def test_nothing_is_waited_for_after_eleven_in_the_evening_so_that_the_day_fails_before_it_is_over(
    reporting: Reporting,
) -> None:
    """B12, section 6: until 23:00 by the clock of Madrid, whenever the waiting began."""
    reporting.write(usual(), written=WRITTEN - ONE_DAY)
    reporting.download(DAY - ONE_DAY, now=NOW - ONE_DAY)
    told = "not after the one accepted for 2025-11-09"
    assert told in str(reporting.delay(now=datetime(2025, 11, 11, 21, 59, tzinfo=UTC)))
    eleven = datetime(2025, 11, 11, 22, 0, tzinfo=UTC)
    for now in (eleven, eleven + timedelta(minutes=59)):
        assert snapshot_delay(closed_share(), reporting.lake, day=DAY, now=now, settings=Settings()) is None
        with pytest.raises(StaleInput, match=told):
            reporting.download(now=now)


@pytest.mark.parametrize(
    ("content", "age", "told"),
    [
        (b"<html>maintenance</html>".ljust(200), timedelta(), "line 1: a web page instead of a snapshot"),
        (usual(1003), timedelta(days=3), "75 hours ago"),
        (None, timedelta(), "not found"),
    ],
)
def test_a_file_stored_by_hand_is_the_snapshot_while_the_host_has_no_fit_one(
    reporting: Reporting, content: bytes | None, age: timedelta, told: str
) -> None:
    """B12, R7: the way out that the runbook names works on the day itself."""
    reporting.keep(DAY - ONE_DAY, usual(1000))
    reporting.share.root.mkdir(exist_ok=True)
    if content:
        reporting.write(content, written=WRITTEN - age)
    assert told in str(reporting.delay())
    reporting.keep(DAY, usual(1002))
    assert reporting.delay() is None
    before = reporting.files()
    result = reporting.download()
    assert reporting.files() == before
    assert (result["facts"]["action"], result["facts"]["users"], result["written"]) == ("kept", 1002, 0)
    [warning] = result["warnings"]
    assert warning.startswith(
        "20251110_NBS_Base.csv, which somebody stored, is the snapshot of 2025-11-10; that of the "
    )
    assert told in warning
    reporting.write(usual(1004))
    assert reporting.download()["facts"]["action"] == "replaced"


@pytest.mark.parametrize(
    ("stored", "told"), [(b"cpc\n".ljust(200), "line 1: not the header"), (usual(1300), "30.0% more")]
)
def test_a_file_stored_by_hand_is_held_to_the_same_rules(reporting: Reporting, stored: bytes, told: str) -> None:
    """R6, R7."""
    reporting.keep(DAY - ONE_DAY, usual(1000))
    reporting.keep(DAY, stored)
    reporting.share.root.mkdir(exist_ok=True)
    with pytest.raises(ContractViolation, match=told):
        reporting.download()


def test_the_connection_test_finds_the_file_and_fetches_nothing(reporting: Reporting) -> None:
    """Section 7: SSH reachability."""
    reporting.write(usual())
    settings = Settings(snapshot_path="nbs_base.CSV")
    assert check_host(nullcontext(reporting.share), settings=settings).as_dict() == {
        "where": HOST,
        "read": 0,
        "written": 0,
        "rejected": 0,
        "bytes": len(usual()),
        "warnings": [],
        "facts": {"written_at": "2025-11-11T05:10:00+01:00"},
    }
    assert not reporting.lake.root.exists()


def test_the_connection_test_tells_a_host_without_the_file_from_one_that_is_lost(reporting: Reporting) -> None:
    """Section 7."""
    reporting.write(usual())
    with pytest.raises(SourceMissing, match=r"'other\.csv' not found in '/'; it holds: NBS_Base\.csv"):
        check_host(nullcontext(reporting.share), settings=Settings(snapshot_path="other.csv"))
    with pytest.raises(SourceUnavailable, match="Nobody answers"):
        check_host(unreachable_share(), settings=Settings())

    class Lost(LocalShare):
        def stat(self, path: str) -> os.stat_result:
            raise OSError(errno.ECONNRESET, "reset by peer", path)

    with pytest.raises(SourceUnavailable, match=r"cvas: 'NBS_Base\.csv' cannot be looked at \(ConnectionResetError\)"):
        check_host(nullcontext(Lost("cvas", reporting.share.root)), settings=Settings())


def test_a_fresh_file_is_not_waited_for(reporting: Reporting) -> None:
    reporting.write(usual())
    assert reporting.delay() is None
    assert reporting.files() == {}


# --- the total --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "warnings"),
    [
        (1020, []),
        (980, []),
        (1021, [f"{HOST}: 1,021 users, 2.1% more than the 1,000 of 20251107_NBS_Base.csv."]),
        (800, [f"{HOST}: 800 users, 20.0% less than the 1,000 of 20251107_NBS_Base.csv."]),
        (1200, [f"{HOST}: 1,200 users, 20.0% more than the 1,000 of 20251107_NBS_Base.csv."]),
    ],
)
def test_a_total_that_differs_by_more_than_two_percent_is_a_warning(
    reporting: Reporting, users: int, warnings: list[str]
) -> None:
    """R7: compared with the snapshot before, however long ago that was; never with a later one."""
    reporting.keep(date(2025, 11, 7), usual(1000))
    reporting.keep(date(2025, 11, 11), usual(5000))
    reporting.write(usual(users))
    assert reporting.download()["warnings"] == warnings


@pytest.mark.parametrize(("users", "told"), [(1201, "20.1% more"), (799, "20.1% less"), (400, "60.0% less")])
def test_a_total_that_differs_by_more_than_twenty_percent_is_refused_unless_forced(
    reporting: Reporting, users: int, told: str
) -> None:
    """R7."""
    reporting.keep(DAY - ONE_DAY, usual(1000))
    before = reporting.files()
    reporting.write(usual(users))
    with pytest.raises(ContractViolation) as refused:
        reporting.download()
    what = f"{HOST}: {users:,} users, {told} than the 1,000 of 20251109_NBS_Base.csv"
    assert refused.value.what == f"{what}; allowed are 20%. Nothing was stored."
    assert refused.value.next_step.endswith("trigger with force.")
    assert reporting.files() == before
    again, *warnings = reporting.download(force=True)["warnings"]
    assert again.startswith("cvas_snapshot works again; it had failed for 2025-11-10: ")
    assert warnings == [f"{what}."]
    assert reporting.contents()[SNAPSHOT] == usual(users)


def test_a_damaged_snapshot_before_is_passed_over_when_totals_are_compared(reporting: Reporting) -> None:
    """R7, R15."""
    reporting.keep(DAY - 2 * ONE_DAY, usual(1000))
    reporting.keep(DAY - ONE_DAY, b"<html>")
    reporting.write(usual(1500))
    with pytest.raises(ContractViolation, match=r"1,500 users, 50\.0% more than the 1,000 of 20251108_NBS_Base\.csv"):
        reporting.download()
    assert reporting.download(force=True)["warnings"][1] == (
        f"{HOST} is compared with an earlier snapshot, because of 20251109_NBS_Base.csv, line 1: a web page instead of "
        "a snapshot."
    )


def test_a_new_file_with_the_old_rows_is_worth_a_warning(reporting: Reporting) -> None:
    """R7: the host may have written what it had."""
    reporting.keep(DAY - ONE_DAY, usual())
    reporting.write(usual())
    assert reporting.download()["warnings"] == [
        f"{HOST} holds the same rows as 20251109_NBS_Base.csv; ask the reporting team whether it is new."
    ]


def test_any_user_is_too_many_after_none(reporting: Reporting) -> None:
    """R7: no division by zero."""
    reporting.keep(DAY - ONE_DAY, usual(400).replace(b"ACTIVE,400", b"ACTIVE,0"))
    reporting.write(usual(400))
    with pytest.raises(ContractViolation, match=r"400 users, 100\.0% more than the 0 of"):
        reporting.download()


# --- bad content ------------------------------------------------------------------------------------------------------

COLUMNS_MISSING = (
    "'cpc', 'content_provider', 'service_name', 'last_billed_amount', 'tme_category', 'channel_desc', 'count'"
)
# What is wrong with it as a file that arrives, behind the name of the file.
REFUSED = {
    "zero bytes": ": 0 bytes, a snapshot has at least 100.",
    "header only": ": 85 bytes, a snapshot has at least 100.",
    "less than 100 bytes": ": 95 bytes, a snapshot has at least 100.",
    "header and blank lines": ": no row below the header.",
    "html page": ", line 1: a web page instead of a snapshot.",
    "error text": f", line 1: not the header of a snapshot: {COLUMNS_MISSING} missing, 'ERROR: ORA-12541: ",
    "utf-16": f", line 1: not the header of a snapshot: {COLUMNS_MISSING} missing, ",
    "no header": f", line 1: not the header of a snapshot: {COLUMNS_MISSING} missing, '45335', 'ExampleMedia', ",
    "column renamed": ", line 1: not the header of a snapshot: 'count' missing, 'users' not known.",
    "column added": ", line 1: not the header of a snapshot: 'country' not known.",
    "column removed": ", line 1: not the header of a snapshot: 'channel_desc' missing.",
    "columns swapped": ", line 1: not the header of a snapshot: columns in another order.",
    "upper case header": f", line 1: not the header of a snapshot: {COLUMNS_MISSING} missing, 'CPC', ",
    "semicolons": f", line 1: not the header of a snapshot: {COLUMNS_MISSING} missing, 'cpc;content_provider;",
    "last line without its columns": ", line 5: the line ends after 3 of 7 columns, before column "
    "'last_billed_amount'.",
    "last line without its end": ", line 4: the last line is not complete, it has no end.",
    "count is no number": ", line 5, column 'count': 'many' is no number.",
    "count is empty": ", line 4, column 'count': '' is no number.",
    "count is not finite": ", line 5, column 'count': 'nan' is no number.",
    "count with a thousands separator": ", line 5, column 'count': '1,499' is no number.",
    "count too large": ", line 5, column 'count': '***' is no number.",
    "cpc is no number": ", line 2, column 'cpc': 'all' is no number.",
    "cpc is empty": ", line 5, column 'cpc': '' is no number.",
    "cpc with a fraction": ", line 5, column 'cpc': '45337.5' is no number.",
    "total row at the end": ", line 5, column 'cpc': '' is no number.",
    "header in the middle": ", line 5, column 'cpc': 'cpc' is no number.",
    "comma without quotes": ", line 5: 8 columns instead of 7, the first too many is column 8.",
    "comma at the end of the lines": ", line 2: 8 columns instead of 7, the first too many is column 8.",
    "quote that does not end": ", line 5: the quotes cannot be resolved (unexpected end of data).",
    "text behind a quote": """, line 5: the quotes cannot be resolved (',' expected after '"').""",
    "fault below a name of two lines": ", line 5, column 'count': '-' is no number.",
}
# What is refused on arrival, and counts when it has become a snapshot (R15: no row that cannot be read).
NO_OBSTACLE_LATER = ("less than 100 bytes", "last line without its end")
CORPUS = sorted(path.stem for path in FOLDER.glob("*.csv"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_complete_snapshot_is_refused_and_changes_nothing(reporting: Reporting, name: str) -> None:
    """R6, section 6; a snapshot of the same day that was there stays."""
    reporting.write(usual(), written=WRITTEN - timedelta(hours=1))
    reporting.download()
    before = reporting.files()
    reporting.write((FOLDER / f"{name}.csv").read_bytes())
    with pytest.raises(ContractViolation) as refused:
        reporting.download()
    assert refused.value.what.startswith(f"{HOST}{REFUSED[name]}")
    assert refused.value.next_step == f"Correct {HOST} or get it again from where it came, then clear the task."
    assert reporting.files() == before


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_complete_snapshot_is_waited_for(reporting: Reporting, name: str) -> None:
    """R6, B12: the host may not be done with it, and nobody fetches the day tomorrow."""
    reporting.write((FOLDER / f"{name}.csv").read_bytes())
    assert str(reporting.delay()).startswith(f"{HOST}{REFUSED[name]}")
    assert reporting.files() == {}


@pytest.mark.parametrize("name", [name for name in CORPUS if name not in REFUSED])
def test_what_is_only_unusual_is_taken_as_it_is(reporting: Reporting, name: str) -> None:
    """3.1, R11: line ends, encodings, quotes."""
    content = (FOLDER / f"{name}.csv").read_bytes()
    reporting.write(content)
    assert reporting.download()["warnings"] == []
    assert reporting.contents()[SNAPSHOT] == content


def test_the_rows_of_unusual_files_are_those_that_are_meant() -> None:
    """3.1, R11, R14: the integer part toward zero."""
    usual_rows = [(45335, "Noticias Diarias", "News", 600), (45336, "Noticias Diarias", "News", 100)]
    last = (46109, "Escudo Movil", "Free Time", 300)
    expected = {
        **{name: [*usual_rows, last] for name in CORPUS},
        "count with an exponent": [*usual_rows, last, (45337, "X", "News", 1000)],
        "blank names": [*usual_rows, last, (45337, "", "", 5), (45338, "  ", "", 6)],
        "windows characters": [(cpc, "Canción del Día €", *rest) for cpc, _, *rest in usual_rows] + [last],
        "characters of no code page": [(cpc, "Canción \x81", *rest) for cpc, _, *rest in usual_rows] + [last],
        "quote inside of a name": [*usual_rows, (46109, 'Pantalla 5" y +', "Free Time", 300)],
        "names of two lines": [*usual_rows, (46109, 'Escudo,\r\n"Movil"', "Free Time", 300)],
        "bar inside of a name": [*usual_rows, (46109, "Escudo|Movil", "Free Time", 300)],
        "counts with a fraction": [*usual_rows, last, (45335, "Neg", "", 0)],
    }
    for name in CORPUS:
        if name not in REFUSED:
            assert read_rows((FOLDER / f"{name}.csv").read_bytes(), name=name) == expected[name], name


def test_the_files_are_those_the_script_makes() -> None:
    made = corpus()
    assert sorted(made) == CORPUS
    for name, content in made.items():
        assert (FOLDER / f"{name}.csv").read_bytes() == content


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_a_second_download_is_refused_and_one_beside_the_aggregation_waits(reporting: Reporting) -> None:
    """Section 6: two runs at once."""
    reporting.write(usual())
    with locks.hold(reporting.lake.user_base_lock, "cvas_snapshot"), pytest.raises(AlreadyRunning):
        reporting.download()
    with locks.hold(reporting.lake.user_base_lock, "cvas_user_base"), pytest.raises(StoreBusy):
        reporting.download()
    assert reporting.files() == {}


def test_no_space_left_leaves_nothing_behind(reporting: Reporting) -> None:
    """R69, section 6: disk full during write."""
    reporting.write(usual())

    def fill_the_disk(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and ".fetched.csv.tmp" in str(arguments[0]):
            raise OSError(errno.ENOSPC, "No space left on device")

    assert isinstance(run_in_child(reporting.download, fill_the_disk), StoreFull)
    assert reporting.files() == {}


def test_a_kill_at_any_moment_leaves_a_whole_snapshot_or_none_and_the_next_run_finishes(tmp_path: Path) -> None:
    """R6, R78: killed before every call that opens, renames or removes a file of the lake, until a run gets through."""

    def prepared(root: Path) -> Reporting:
        reporting = Reporting(root)
        root.mkdir()
        reporting.keep(DAY - ONE_DAY, usual(990))
        reporting.write(usual(1000), written=WRITTEN - timedelta(hours=1))
        reporting.download()
        reporting.write(usual(1001))
        return reporting

    undisturbed = prepared(tmp_path / "undisturbed")
    undisturbed.download()
    final = undisturbed.contents()
    for attempt in range(1, 200):
        reporting = prepared(tmp_path / str(attempt))
        calls = 0

        def kill(
            event: str, arguments: tuple[object, ...], *, limit: int = attempt, root: Path = reporting.lake.root
        ) -> None:
            nonlocal calls
            if event in ("open", "os.remove", "os.rename", "os.chmod") and str(root) in str(arguments[0]):
                calls += 1
                if calls == limit:
                    os.kill(os.getpid(), signal.SIGKILL)

        outcome = run_in_child(reporting.download, kill)
        assert reporting.contents()[SNAPSHOT] in (usual(1000), usual(1001))
        reporting.download()
        assert reporting.contents() == final
        if outcome is None:
            assert attempt > 15
            return
        assert outcome == signal.SIGKILL
    pytest.fail("The download never got through.")
