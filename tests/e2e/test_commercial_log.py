"""commercial_log as its operators use it: the CLI, clears, reruns, kills. Each test builds on those before it."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from include.common import locks
from sandbox.airflow import PATIENCE
from sandbox.commercial_log.generator import generate
from sandbox.commercial_log.workbook import write_sheets

from .conftest import BOOKINGS, Station

IMPORT, UPDATE = "commercial_log_import", "commercial_log_update"
SLOW_INSERTS = """
CREATE TRIGGER slow_inserts AFTER INSERT ON spots BEGIN
    SELECT count(*) FROM (
        WITH RECURSIVE ticks (tick) AS (SELECT 1 UNION ALL SELECT tick + 1 FROM ticks WHERE tick < 40000)
        SELECT tick FROM ticks
    );
END
"""


def file_of(estate: Station, age: int = 0):
    day = estate.world.day - timedelta(days=age)
    return estate.world.data.daily / f"Commercial Log {day:%y%m%d}.xlsx"


def traffic_saves_again(estate: Station, days: int) -> None:
    """The workbook on the share moves on as it would in ``days`` days; the station's day stays."""
    estate.world.move_to(estate.world.day + timedelta(days=days))


def undisturbed(estate: Station, before) -> list[tuple]:
    """What the load of today's file makes of the database ``before``, in this process with nothing in its way."""
    from include.commercial_log.config import DataRoot, Settings
    from include.commercial_log.database import open_database
    from include.commercial_log.load import load_bookings

    data = DataRoot(before.parent / "control")
    shutil.copytree(estate.world.data.daily, data.daily, dirs_exist_ok=True)
    with closing(open_database(before)) as db:
        load_bookings(db, data, day=estate.world.day, now=datetime.now(UTC), settings=Settings())
        return db.execute(BOOKINGS).fetchall()


def copy_of_database(estate: Station, to):
    with closing(sqlite3.connect(estate.world.database)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to


def test_a_past_day_keeps_its_file_and_is_loaded_again_without_a_change(estate):
    """R10, R35: an old day is triggered by its date, then its import is cleared."""
    yesterday = estate.world.day - timedelta(days=1)
    file = file_of(estate, age=1)
    before = (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes())
    known = estate.known(UPDATE)
    run_id = estate.trigger_by_command(IMPORT, date=str(yesterday))
    assert estate.finish(IMPORT, run_id) == "success"
    update = estate.next_run(UPDATE, known)
    assert estate.finish(UPDATE, update) == "success"
    assert estate.airflow.api.wait_for_run(UPDATE)["partition_key"] == str(yesterday)
    loaded, ids = estate.bookings(), estate.ids()

    known = estate.known(UPDATE)
    estate.airflow.api.clear(IMPORT, run_id)
    again = estate.next_run(UPDATE, known)
    assert estate.finish(UPDATE, again) == "success"
    assert estate.airflow.api.wait_for_run(UPDATE)["partition_key"] == str(yesterday)
    assert (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) == before
    assert (estate.bookings(), estate.ids()) == (loaded, ids)


def test_one_trigger_imports_and_the_update_of_the_day_follows(estate):
    """Import before update, by the published day; the result is what the generator says it must be."""
    assert estate.import_and_update() == ("success", "success")
    run = estate.airflow.api.wait_for_run(UPDATE)
    assert run["partition_key"] == str(estate.world.day)
    assert estate.world.report()[-3].strip() == (
        "spots and revenue of every open month equal the generator's own calculation, to the cent"
    )
    event = estate.airflow.api.asset_events("commercial_log.curated.spots")[-1]
    assert event["partition_key"] == str(estate.world.day)
    expected = estate.world.expected.as_dict()["rows"]
    assert event["extra"]["written"] == expected["accepted"]
    assert event["extra"]["rejected"] == expected["rejected"]
    assert event["extra"]["facts"]["filtered_trade"] == expected["filtered_trade"] == 44


def test_the_run_ends_with_the_line_operators_search_for(estate):
    """R52"""
    run = estate.airflow.api.wait_for_run(UPDATE)
    log = estate.airflow.api.task_log(UPDATE, run["dag_run_id"], "load_bookings")
    for words in ("25 % | read the workbook", "SUCCESS | Duration: ", "Batch: weekly_update_"):
        assert words in log


def test_clearing_only_the_load_keeps_every_spot_and_assignment(estate):
    """R31, R35"""
    run = estate.airflow.api.wait_for_run(UPDATE)
    loaded, ids = estate.bookings(), estate.ids()
    batches = len(estate.query("SELECT 1 FROM import_batches WHERE status = 'COMPLETED'"))
    estate.airflow.api.clear(UPDATE, run["dag_run_id"], ["load_bookings"])
    assert estate.finish(UPDATE, run["dag_run_id"]) == "success"
    assert len(estate.query("SELECT 1 FROM import_batches WHERE status = 'COMPLETED'")) == batches + 1
    assert (estate.bookings(), estate.ids()) == (loaded, ids)


def test_an_older_day_is_refused_once_a_newer_one_is_loaded(estate):
    """R12, and one message about it with day, cause, next step and link, without any secret (R53)."""
    yesterday = str(estate.world.day - timedelta(days=1))
    loaded = estate.bookings()
    known = estate.known(UPDATE)
    assert estate.run(IMPORT, date=yesterday) == "success"
    run_id = estate.next_run(UPDATE, known)
    assert estate.finish(UPDATE, run_id) == "failed"
    [task] = [t for t in estate.airflow.api.task_instances(UPDATE, run_id) if t["task_id"] == "load_bookings"]
    assert (task["state"], task["try_number"]) == ("failed", 1)
    assert estate.bookings() == loaded
    [message] = estate.messages(UPDATE, run_id)
    for words in (
        "STALE_FILE",
        UPDATE,
        yesterday,
        "load_bookings",
        "Next step: ",
        "force_stale",
        f"{estate.airflow.url}/dags/{UPDATE}/",
    ):
        assert words in message.body
    assert estate.world.smb.password not in message.body


def test_a_kill_in_the_middle_of_the_replacement_leaves_all_old_and_the_retry_all_new(estate, tmp_path):
    """R33, R34: readers never see a part; the retry ends where an undisturbed run ends."""
    traffic_saves_again(estate, days=1)
    assert estate.import_and_update() == ("success", "success")
    traffic_saves_again(estate, days=3)
    old = estate.bookings()
    with closing(sqlite3.connect(estate.world.database, isolation_level=None)) as db:
        db.execute(SLOW_INSERTS)
    known = estate.known(UPDATE)
    assert estate.run(IMPORT) == "success"
    run_id = estate.next_run(UPDATE, known)
    with estate.no_retry(UPDATE, run_id):
        assert estate.kill(UPDATE, run_id, estate.world.data.database_lock, when=lambda: is_replacing(estate))
        assert not is_writing(estate)
        assert estate.bookings() == old
        with closing(sqlite3.connect(estate.world.database, isolation_level=None)) as db:
            db.execute("DROP TRIGGER slow_inserts")
        control = copy_of_database(estate, tmp_path / "control.db")
    assert estate.finish(UPDATE, run_id) == "success"
    assert estate.bookings() == undisturbed(estate, control)
    assert estate.bookings() != old
    statuses = [row[0] for row in estate.query("SELECT status FROM import_batches ORDER BY import_date, batch_id")]
    assert statuses[-2:] == ["FAILED", "COMPLETED"]


def test_a_kill_before_the_rename_shows_no_half_file_and_the_retry_publishes(estate):
    """R6: a reader of the folder sees the old file until it sees the new one."""
    target = file_of(estate)
    temporary = target.with_name(f".{target.name}.tmp")
    for attempt in range(5):
        traffic_saves_again(estate, days=5 - attempt % 2)
        old = target.read_bytes()
        run_id = estate.trigger(IMPORT)
        with estate.no_retry(IMPORT, run_id):
            killed = estate.kill(IMPORT, run_id, estate.world.data.files_lock, when=temporary.exists)
            if killed and temporary.exists():
                assert target.read_bytes() == old
                break
        estate.finish(IMPORT, run_id)
    else:
        pytest.fail("the file was in place before the import could be killed, five times")
    assert estate.finish(IMPORT, run_id) == "success"
    [task] = estate.airflow.api.task_instances(IMPORT, run_id)
    assert task["try_number"] == 2
    assert target.read_bytes() != old
    assert not temporary.exists()


def test_two_updates_at_once_wait_for_each_other(estate):
    first = estate.airflow.api.trigger(UPDATE, {"date": str(estate.world.day)})["dag_run_id"]
    second = estate.airflow.api.trigger(UPDATE, {"date": str(estate.world.day)})["dag_run_id"]
    assert estate.finish(UPDATE, first) == estate.finish(UPDATE, second) == "success"
    runs = [run for run in estate.airflow.api.runs(UPDATE) if run["dag_run_id"] in (first, second)]
    earlier, later = sorted(runs, key=lambda run: run["start_date"])
    assert later["start_date"] >= earlier["end_date"]


def test_a_second_update_from_elsewhere_is_refused_and_told(estate):
    """R51: the store's own lock holds even where the scheduler made a mistake."""
    estate.settle()
    loaded = estate.bookings()
    with locks.hold(estate.world.data.database_lock, UPDATE):
        run_id = estate.trigger(UPDATE, date=str(estate.world.day))
        assert estate.finish(UPDATE, run_id) == "failed"
    assert estate.bookings() == loaded
    [message] = estate.messages(UPDATE, run_id)
    assert "is already running" in message.body
    assert "Next step: Wait for that run to end" in message.body


def test_the_import_waits_for_a_rotation(estate):
    """Section 2: not while the other works; it is tried again by itself and nothing is lost."""
    estate.settle()
    traffic_saves_again(estate, days=6)
    old = file_of(estate).read_bytes()
    with locks.hold(estate.world.data.files_lock, "commercial_log_rotation"):
        run_id = estate.trigger(IMPORT)
        tasks = lambda: estate.airflow.api.task_instances(IMPORT, run_id)  # noqa: E731
        assert estate.airflow.api.wait(lambda: tasks()[0]["state"] == "up_for_retry", PATIENCE)
        assert file_of(estate).read_bytes() == old
    assert estate.finish(IMPORT, run_id) == "success"
    assert file_of(estate).read_bytes() != old


def test_a_missing_workbook_fails_at_once_and_tells_once(estate):
    """Section 6: named part of the path, no retries, yesterday's files untouched, update not started."""
    folder = estate.world.share / "Traffic" / "Media library"
    known, files = estate.known(UPDATE), sorted(estate.world.data.daily.iterdir())
    (folder / "Commercial Log.xlsx").rename(folder / "elsewhere.xlsx")
    try:
        run_id = estate.trigger(IMPORT)
        assert estate.finish(IMPORT, run_id) == "failed"
    finally:
        (folder / "elsewhere.xlsx").rename(folder / "Commercial Log.xlsx")
    [task] = estate.airflow.api.task_instances(IMPORT, run_id)
    assert task["try_number"] == 1
    [message] = estate.messages(IMPORT, run_id)
    for words in ("'Commercial Log.xlsx' not found", "commercial_log_share", "elsewhere.xlsx"):
        assert words in message.body
    assert estate.known(UPDATE) == known
    assert sorted(estate.world.data.daily.iterdir()) == files


def test_a_misspelt_parameter_is_refused(estate):
    run_id = estate.trigger(IMPORT, dat="2025-08-28")
    assert estate.finish(IMPORT, run_id) == "failed"
    assert "has no parameter dat" in estate.airflow.api.task_log(IMPORT, run_id, "copy_workbook")


def test_a_closed_month_is_left_alone_by_the_next_update(estate):
    """R17, R36"""
    traffic_saves_again(estate, days=8)
    [(month,)] = estate.query(
        "SELECT broadcast_month FROM v_month_status WHERE status = 'open' ORDER BY month_start_date LIMIT 1"
    )
    assert estate.run("commercial_log_month_close", months=[month], closed_by="A. Ledger") == "success"
    spots = estate.query("SELECT * FROM spots WHERE broadcast_month = ? ORDER BY spot_id", month)
    assert spots
    assert estate.import_and_update() == ("success", "success")
    assert estate.query("SELECT * FROM spots WHERE broadcast_month = ? ORDER BY spot_id", month) == spots


def test_a_decision_about_a_language_survives_the_next_update(estate):
    """R41"""
    [(spot,)] = estate.query(
        "SELECT s.spot_id FROM spots AS s JOIN spot_language_assignments AS a USING (spot_id)"
        " WHERE a.requires_review = 1 AND s.is_historical = 0 LIMIT 1"
    )
    conf = {"spot_ids": [str(spot)], "language_code": "V", "decided_by": "B. Cue", "note": "heard it"}
    assert estate.run("commercial_log_set_language", **conf) == "success"
    assert estate.run(UPDATE, date=str(estate.world.day)) == "success"
    decision = estate.query(
        "SELECT language_code, assignment_method FROM spot_language_assignments WHERE spot_id = ?", spot
    )
    assert decision == [("V", "manual_override")]


def test_a_backup_can_be_restored(estate):
    """R49, R50"""
    assert estate.run("commercial_log_backup") == "success"
    saved = estate.bookings()
    with closing(sqlite3.connect(estate.world.database)) as db, db:
        db.execute("DELETE FROM spot_language_assignments")
    assert estate.run("commercial_log_restore", confirm=True) == "success"
    assert estate.bookings() == saved


def test_a_recap_of_past_months_replaces_and_closes_them(estate, tmp_path):
    """R19: all months of the file, closed ones too; the second time nothing changes."""
    past = estate.world.day.replace(day=15) - timedelta(days=3 * 365)
    recap = tmp_path / "Recap.xlsx"
    write_sheets({"Data": generate(past, scale=0.005).commercials}, recap, modified=past)
    conf = {"data_file": str(recap), "closed_by": "A. Ledger"}
    assert estate.run("commercial_log_historical_import", **conf) == "success"
    ids = estate.ids()
    [(spots, historical)] = estate.query(
        "SELECT count(*), sum(is_historical) FROM spots WHERE source_file = 'Recap.xlsx:Data'"
    )
    assert spots == historical > 50
    assert estate.run("commercial_log_historical_import", **conf) == "success"
    assert estate.ids() == ids
    assert estate.run("commercial_log_historical_import", **conf, year=past.year + 1) == "failed"


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [
        ("commercial_log_rotation", {}),
        ("commercial_log_status", {}),
        ("commercial_log_review_export", {"filter": "undetermined"}),
        ("commercial_log_recategorise", {"confirm": True}),
    ],
)
def test_the_other_dags_succeed_twice(estate, dag_id, conf):
    assert estate.run(dag_id, **conf) == "success"
    loaded = estate.bookings()
    assert estate.run(dag_id, **conf) == "success"
    assert estate.bookings() == loaded


def test_status_report_is_readable_in_the_log(estate):
    """R48"""
    run = estate.airflow.api.wait_for_run("commercial_log_status")
    log = estate.airflow.api.task_log("commercial_log_status", run["dag_run_id"], "report_status")
    assert "Commercial log, " in log


def is_replacing(estate: Station) -> bool:
    """Whether a batch has begun and keeps the database locked: not the short transactions around the replacement."""

    def probes() -> Iterator[bool]:
        yield bool(estate.query("SELECT 1 FROM import_batches WHERE status = 'RUNNING'"))
        for _ in range(10):
            yield is_writing(estate)
            time.sleep(0.05)

    return all(probes())


def is_writing(estate: Station) -> bool:
    with closing(sqlite3.connect(estate.world.database, timeout=0, isolation_level=None)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        db.execute("ROLLBACK")
        return False
