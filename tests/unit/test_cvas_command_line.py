"""The operators' command line of cvas: what it prints, what it changes, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from openpyxl import Workbook

from include.common import locks
from include.cvas.config import Lake
from include.cvas.contract import ACT, CNR, DCT, RENO, RFND
from include.cvas.counter_files import read_counters
from include.cvas.lake import read_state
from include.scripts.cvas import main
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    PHONE,
    USER,
    Rows,
    act,
    cnr,
    csv_text,
    data_hashes,
    dct,
    fill_lake,
    reno,
    rfnd,
    stored,
    write_daily,
    write_day,
    write_legacy,
)

ROOT = Path(__file__).resolve().parents[2]
DAY_BEFORE = DAY - timedelta(days=1)
CATALOGUE = "cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Ritmo Latino,Music,30,5.36\n"
SNAPSHOT = (
    "cpc,content_provider,service_name,last_billed_amount,tme_category,channel_desc,count\n"
    "46109,ExampleMedia,Ritmo Latino,5.36,Music,ACTIVE,910\n"
    "45335,ExampleMedia,Noticias Diarias,2.99,News,ACTIVE,1499\n"
)
COMMANDS = [
    *("status", "deadlines", "look-up", "user-base", "fetch", "load", "view", "count", "check", "gaps"),
    *(
        "clear-day",
        "mastercpc",
        "historical-import",
        "repair-refunds",
        "music",
        "monthly-reports",
        "clean-up",
        "backup",
        "backups",
        "restore",
    ),
]

Ended = tuple[int, str, str]
Run = Callable[..., Ended]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    made.root.mkdir()
    made.mastercpc.write_text(CATALOGUE, encoding="utf-8")
    return made


def places(lake: Lake) -> dict[str, str]:
    return {"CVAS_LAKE": str(lake.root), "CVAS_SETTINGS": "{}"}


@pytest.fixture
def run(lake: Lake, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command at ``now`` with the lake in the environment: exit status, standard output, standard error."""

    def run(*arguments: str, now: datetime = NOW, environment: dict[str, str] | None = None) -> Ended:
        capsys.readouterr()
        status = main(arguments, environment=places(lake) if environment is None else environment, now=now)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def line(output: str, name: str) -> str:
    """The value an output shows for a name."""
    (found,) = [text for text in output.splitlines() if text.startswith(f"{name}  ")]
    return found.removeprefix(name).strip()


def of(day: date) -> Rows:
    """A day's transactions: two subscriptions begin, one of them is cancelled and refunded, a third renews and ends."""
    return {
        ACT: [
            act(trans_date=f"{day} 16:08:22"),
            act(trans_date=f"{day} 16:09:22", subscription_id=900002, tmuserid="0340000000000000018"),
        ],
        RENO: [reno(trans_date=f"{day} 10:00:00", subscription_id=900003)],
        DCT: [dct(trans_date=f"{day} 11:00:00", subscription_id=900003)],
        CNR: [cnr(cancel_date=f"{day} 18:00:00")],
        RFND: [rfnd(refnd_date=f"{day}")],
    }


@pytest.fixture
def loaded(lake: Lake, run: Run) -> Lake:
    """A lake with one day that went through load, view and count."""
    write_day(lake, of(DAY))
    for command in ("load", "view", "count"):
        assert run(command)[0] == 0
    return lake


# --- a day by hand --------------------------------------------------------------------------------------------------


def test_a_day_goes_from_the_host_to_the_counters(run: Run, lake: Lake, tmp_path: Path) -> None:
    """Section 10: manual run the same as scheduled; the day is yesterday in Madrid (R1)."""
    share = tmp_path / "host"
    share.mkdir()
    (share / "NBS_Base.csv").write_text(SNAPSHOT, encoding="utf-8")
    os.utime(share / "NBS_Base.csv", (NOW.timestamp() - 3600, NOW.timestamp() - 3600))
    status, out, err = run("user-base", "--share", str(share))
    assert (status, err) == (0, "")
    assert f"where                {lake.snapshots / '20251110_NBS_Base.csv'}\n" in out
    assert (lake.user_base / "user_base_by_cpc.csv").read_text("utf-8").splitlines() == [
        "date|cpc|User_Base",
        "2025-11-10|45335|1499",
        "2025-11-10|46109|910",
    ]
    assert run("user-base")[0] == 0  # only aggregates

    write_day(lake, of(DAY))
    status, out, err = run("load")
    assert (status, err, line(out, "day"), line(out, "read")) == (0, "", "2025-11-10", "6")
    assert "ACT: read 2, rejected 0, duplicates 0, inserted 2, replaced 0, partitions act/2025-11, bytes" in out
    status, out, err = run("view")
    assert (status, err, line(out, "written"), line(out, "mode")) == (0, "", "3", "full")
    status, out, err = run("count")
    assert (status, err, line(out, "transactions"), line(out, "unknown cpcs")) == (0, "", "6", "none")
    assert run("deadlines", now=NOW + timedelta(hours=2)) == (0, "Everything that is due is done.\n", "")


def test_the_same_day_twice_changes_nothing(run: Run, loaded: Lake) -> None:
    """R32, G7."""
    before = data_hashes(loaded)
    assert run("load")[0] == 0
    status, out, _ = run("view")
    assert (status, line(out, "mode")) == (0, "unchanged")
    status, out, _ = run("count", "--force")
    assert (status, line(out, "changed files")) == (0, "none")
    assert data_hashes(loaded) == before


def test_days_can_be_a_range_oldest_first(run: Run, lake: Lake) -> None:
    """R1."""
    for day in (DAY_BEFORE, DAY):
        write_day(lake, of(day), day=day)
    status, out, _ = run("load", "--start", "2025-11-09", "--end", "2025-11-10")
    assert status == 0
    assert [text.split()[1] for text in out.splitlines() if text.startswith("day ")] == ["2025-11-09", "2025-11-10"]
    status, out, _ = run("count", "--missing")
    assert (status, line(out, "days"), line(out, "first"), line(out, "last")) == (0, "2", "2025-11-09", "2025-11-10")
    assert set(read_counters(lake).by_cpc["date"]) == {DAY_BEFORE, DAY}


def test_fewer_rows_and_kept_rows_are_accepted_on_purpose(run: Run, lake: Lake) -> None:
    """R33, R32: force and upsert."""
    rows = [act(trans_date=f"2025-11-10 10:00:{second:02}", subscription_id=second) for second in range(30)]
    write_day(lake, {ACT: rows})
    assert run("load")[0] == 0
    write_day(lake, {ACT: rows[:3]})
    status, out, err = run("load")
    assert (status, out) == (1, "")
    assert err == (
        "FAILED: cvas ACT: the lake has 30 rows of 2025-11-10 and would have 3, less than half; nothing was changed.\n"
        "Next step: Ask whether the source still has that day; load it with force if the rows are gone on purpose.\n"
    )
    assert run("load", "--upsert")[0] == 0
    assert len(stored(lake, ACT)) == 30
    assert run("load", "--force")[0] == 0
    assert len(stored(lake, ACT)) == 3


def test_a_day_that_is_not_over_is_loaded_on_purpose(run: Run, lake: Lake) -> None:
    """R2: the next step that its refusal names can be followed."""
    today = date(2025, 11, 11)
    write_day(lake, of(today), day=today, complete=False)
    status, _, err = run("load", "--date", "2025-11-11")
    assert (status, "is not over" in err, "allow_partial" in err) == (2, True, True)
    assert run("load", "--date", "2025-11-11", "--allow-partial")[0] == 0
    assert read_state(lake).days[today]["ACT"].source == "partial"
    tomorrow = NOW + timedelta(days=1)
    status, _, err = run("load", "--date", "2025-11-11", now=tomorrow)
    assert (status, "load it with allow_partial" in err) == (2, True)
    assert run("load", "--date", "2025-11-11", "--allow-partial", now=tomorrow)[0] == 0


def test_the_view_is_built_from_nothing_and_as_of_any_day(run: Run, loaded: Lake) -> None:
    """R47, R52."""
    status, out, _ = run("view", "--full", "--as-of", "2025-11-20")
    assert (status, line(out, "mode"), line(out, "as of")) == (0, "full", "2025-11-20")
    view = pl.read_parquet(loaded.subscriptions).filter(subscription_id=900002)
    assert view["lifetime_days"].to_list() == [10]


def test_a_day_is_not_fetched_without_a_source(run: Run, lake: Lake) -> None:
    """R72: the address comes from the environment, and is repeated nowhere (section 6)."""
    assert run("fetch") == (
        2,
        "",
        "FAILED: cvas: nobody said where the source is.\n"
        "Next step: Set CVAS_SOURCE to the address of a PostgreSQL database.\n",
    )
    for address in ("postgresql://reader:s3cret@127.0.0.1:1/nova", "s3cret of nova"):
        status, out, err = run("fetch", environment=places(lake) | {"CVAS_SOURCE": address})
        assert (status > 0, out) == (True, "")
        assert "0/6 successful" in err
        assert "CVAS_SOURCE" in err
        assert "s3cret" not in err
    assert not any(lake.daily(DAY).glob("*.csv"))


# --- what operators ask ---------------------------------------------------------------------------------------------


def test_today_is_fetched_on_purpose_only(run: Run, lake: Lake) -> None:
    """R2."""
    source = places(lake) | {"CVAS_SOURCE": "postgresql://reader@127.0.0.1:1/nova"}
    status, _, err = run("fetch", "--date", "2025-11-11", environment=source)
    assert (status, "is not over" in err) == (2, True)
    status, _, err = run("fetch", "--date", "2025-11-11", "--allow-partial", environment=source)
    assert (status > 0, "0/6 successful" in err) == (True, True)


def test_the_status_is_what_an_operator_reads_first(run: Run, loaded: Lake) -> None:
    """Section 7: per stage the last day, the result, the age, the rows; what needs attention comes first."""
    status, out, err = run("status", now=NOW + timedelta(hours=2))
    assert (status, err) == (0, "")
    head = out.splitlines()
    assert head[0].startswith("Subscriptions (cvas), Tuesday 2025-11-11 14:00 ")
    assert head[2:4] == [
        "Needs attention:",
        "  ! There is no user-base snapshot of 2025-11-10, which was due at 08:25.",
    ]
    assert {text.split()[0]: text.split()[1:4] for text in head if text.startswith(("cvas_load", "cvas_view"))} == {
        "cvas_load": ["2025-11-10", "6", "SUCCESS"],
        "cvas_view": ["2025-11-10", "3", "SUCCESS"],
    }


def test_a_day_is_compared_type_by_type(run: Run, loaded: Lake) -> None:
    """Section 7: status --data D."""
    write_daily(loaded, ACT, csv_text(ACT, [act()]))
    status, out, err = run("status", "--data", "2025-11-10")
    assert (status, err) == (0, "")
    assert out == (
        f"""\
2025-11-10 in {loaded.daily(DAY)}

Type  Rows fetched  Rows loaded  Rows in the lake  Verdict
ACT              2            2                 2  the file was altered after it was fetched
RENO             1            1                 1  loaded
DCT              1            1                 1  loaded
PPD              0            0                 0  loaded
CNR              1            1                 1  loaded
RFND             1            1                 1  loaded
"""
    )


def test_what_is_late_ends_with_1(run: Run) -> None:
    """R3, B15."""
    assert run("deadlines", now=datetime(2025, 11, 11, 7, 30, tzinfo=UTC)) == (
        1,
        "There is no user-base snapshot of 2025-11-10, which was due at 08:25.\n",
        "",
    )


def test_missing_days_are_listed_and_confirmed(run: Run, lake: Lake) -> None:
    """R60."""
    fill_lake(lake, {ACT: [act(trans_date="2025-11-06 10:00:00"), act()]})
    status, out, _ = run("gaps", "--types", "act")
    assert (status, line(out, "gaps")) == (0, "ACT 2025-11-07, 2025-11-09")
    status, out, _ = run("gaps", "--types", "act", "--start", "2025-11-08", "--end", "2025-11-08")
    assert (status, line(out, "gaps")) == (0, "ACT 2025-11-08, 2025-11-08")
    status, _, err = run("gaps", "--start", "2025-11-08")
    assert (status, "Only one of start_date (2025-11-08) and end_date (None) is given" in err) == (2, True)
    assert run("gaps", "--types", "ACT", "--confirm-empty")[0] == 0
    status, out, _ = run("gaps", "--types", "act")
    assert (status, line(out, "gaps")) == (0, "ACT none")
    status, _, err = run("gaps", "--types", "act,sms")
    assert (status, err.splitlines()[0]) == (2, "FAILED: cvas has no transaction type SMS.")


def test_a_check_that_finds_something_ends_with_1_and_the_others_run_all_the_same(run: Run, loaded: Lake) -> None:
    """R64: the exit status tells."""
    assert run("check", "users", "subscriptions")[0] == 0
    write_legacy(loaded, CNR, "2025-11", [cnr(cancel_date="2025-11-10 18:00:00")], name="part-0.parquet")
    status, out, err = run("check")
    assert status == 1
    assert "CNR has 1 rows whose key another row has." in err
    assert [text for text in out.splitlines() if text.startswith("check")] == [
        "check    subscriptions",
        "check    users",
    ]
    assert json.loads((loaded.reports(DAY) / "transactions.json").read_text("utf-8"))["result"] == "failed"


def test_a_check_that_does_not_exist_is_refused_once(run: Run) -> None:
    """R64: nothing half-checked ends well."""
    assert run("check", "users", "stuff") == (
        2,
        "",
        "FAILED: cvas has no check stuff.\nNext step: Use some of: transactions, subscriptions, users.\n",
    )


# --- personal data --------------------------------------------------------------------------------------------------


def test_a_look_up_shows_who_it_is_and_leaves_no_trace(run: Run, loaded: Lake) -> None:
    """R66, R5."""
    for asked in (("--phone", PHONE[2:]), ("--phone", f"+{PHONE}"), ("--user", USER), ("--subscription", "900001")):
        status, out, err = run("look-up", *asked)
        assert (status, err) == (0, "")
        assert USER in out
        assert PHONE in out
        assert "=== Subscription 900001 ===" in out
    texts = [path.read_bytes() for path in loaded.logs.rglob("*") if path.is_file()]
    assert texts
    assert not any(number.encode() in text for number in (USER, PHONE) for text in texts)
    status, out, err = run("look-up", "--subscription", str(2**63))
    assert (status, out, err.splitlines()[0]) == (2, "", "FAILED: cvas: what was given as subscription is none.")


def test_nothing_else_shows_who_it_is(run: Run, loaded: Lake, tmp_path: Path) -> None:
    """R5: output and errors of every other command, of good and of bad days."""
    store = tmp_path / "store"
    store.mkdir()
    write_day(loaded, of(DAY_BEFORE), day=DAY_BEFORE)
    write_daily(loaded, ACT, csv_text(ACT, [act(cpc=USER * 2, rev=PHONE + "x")] * 9), day=DAY_BEFORE)
    folder = ("--backup-folder", str(store))
    commands: tuple[tuple[str, ...], ...] = (
        *(("status",), ("status", "--data", "2025-11-10"), ("deadlines",), ("user-base",), ("load",)),
        *(("load", "--date", "2025-11-09"), ("view", "--full"), ("count", "--force"), ("check",), ("gaps",)),
        *(("repair-refunds",), ("music",), ("monthly-reports",), ("clean-up",), ("backup", *folder)),
        *(("backups", *folder), ("restore", *folder, "--confirm"), ("clear-day", "2025-11-10")),
    )
    for command in commands:
        _, out, err = run(*command)
        assert not [number for number in (USER, PHONE) if number in out + err], command


# --- by hand, now and then ------------------------------------------------------------------------------------------


def test_a_day_is_thrown_away_and_said_so(run: Run, loaded: Lake) -> None:
    """Section 7: clear removes the day's files only."""
    before = stored(loaded, ACT)
    status, out, _ = run("clear-day", "2025-11-10")
    assert (status, line(out, "action"), loaded.daily(DAY).exists()) == (0, "removed", False)
    status, out, _ = run("clear-day", "2025-11-01")
    assert (status, line(out, "action")) == (0, "there was nothing")
    assert stored(loaded, ACT) == before
    status, _, err = run("load")
    assert (status, "missing: ACT.csv, RENO.csv" in err) == (1, True)


def test_the_catalogue_becomes_the_list_of_price_points(run: Run, lake: Lake, tmp_path: Path) -> None:
    """R58: nothing is lost without confirmation."""
    book = Workbook()
    assert book.active
    book.active.append(["TME Category", "Service Name", "CPC", "Subscription Model", "Price"])
    book.active.append(["News", "Noticias", 45335, "Weekly subscription", 2.99])
    book.save(tmp_path / "Catalogue.xlsx")
    book.close()
    status, _, err = run("mastercpc", str(tmp_path / "Catalogue.xlsx"))
    assert (status, lake.mastercpc.read_text("utf-8")) == (1, CATALOGUE)
    assert err.startswith("FAILED: 1 CPCs of MASTERCPC.csv would be lost: 46109; nothing was changed.\n")
    status, out, _ = run("mastercpc", str(tmp_path / "Catalogue.xlsx"), "--allow-lost")
    assert (status, line(out, "action")) == (0, "written")
    assert lake.mastercpc.read_text("utf-8").splitlines()[1:] == ["45335,Noticias,News,7,2.99"]


def test_history_is_imported_from_a_folder(run: Run, lake: Lake, tmp_path: Path) -> None:
    """R59: a missing folder fails; types without files are told."""
    folder = tmp_path / "Historical_Data"
    status, _, err = run("historical-import", str(folder))
    assert (status, err.splitlines()[0]) == (1, f"FAILED: cvas: there is no folder {folder}.")
    folder.mkdir()
    (folder / "act_atlas_2025.csv").write_text(csv_text(ACT, [act(), act(subscription_id=900002)]), encoding="utf-8")
    assert run("historical-import", str(folder), "--types", "act")[0] == 0
    assert [row["subscription_id"] for row in stored(lake, ACT)] == [900001, 900002]
    assert read_state(lake).days[DAY]["ACT"].source == "historical"


def test_refunds_are_planned_first_and_moved_then(run: Run, lake: Lake) -> None:
    """R29."""
    write_legacy(lake, RFND, "__HIVE_DEFAULT_PARTITION__", [rfnd()], name="part-0.parquet")
    status, out, _ = run("repair-refunds", "--dry-run")
    assert (status, line(out, "dry run")) == (0, "yes")
    assert "moved: rows 1, amount 3.69" in out
    assert not (lake.transactions / "rfnd" / "year_month=2025-11").exists()
    assert run("repair-refunds")[0] == 0
    assert sorted(path.name for path in (lake.transactions / "rfnd").iterdir()) == ["year_month=2025-11"]


def test_extract_and_reports_tell_counts_and_whole_numbers(run: Run, loaded: Lake) -> None:
    """R65, section 7: a CPC is a name and has no thousands."""
    status, out, _ = run("music")
    assert (status, line(out, "written"), line(out, "top cpcs")) == (0, "3", "46109 3")
    assert line(out, "where") == str(loaded.reports(DAY) / "music_subscriptions.csv")
    status, out, _ = run("monthly-reports", "--date", "2025-11-11")
    assert (status, line(out, "rows")) == (
        0,
        "lifetime_monthly.csv 1, refunds_monthly.csv 1, revenue_monthly.csv 1",
    )
    assert (loaded.reports(DAY + timedelta(days=1)) / "refunds_monthly.csv").exists()


def test_a_price_point_nobody_knows_is_named_as_it_is_written(run: Run, lake: Lake) -> None:
    """R56: 39,179 would be two of them."""
    write_day(lake, {ACT: [act(cpc=39179)]})
    assert run("load")[0] == 0
    status, out, _ = run("count")
    assert (status, line(out, "unknown cpcs")) == (0, "39179")


def test_a_backup_is_made_listed_and_restored(run: Run, loaded: Lake, tmp_path: Path) -> None:
    """Section 7."""
    store = tmp_path / "store"
    folder = ("--backup-folder", str(store))
    status, _, err = run("backup", *folder)
    assert (status, err.splitlines()[0]) == (1, f"FAILED: The backup folder {store} is not there.")
    store.mkdir()
    assert run("backups", *folder) == (0, f"There is no backup in {store}.\n", "")
    status, out, _ = run("backup", *folder)
    assert (status, line(out, "backup")) == (0, "cvas_backup_20251111_120000.zip")
    assert run("backups", *folder) == (0, "cvas_backup_20251111_120000.zip\n", "")
    loaded.mastercpc.write_text("something else", encoding="utf-8")
    status, _, err = run("restore", *folder)
    assert (status, loaded.mastercpc.read_text("utf-8")) == (2, "something else")
    assert err == (
        "FAILED: cvas: restoring replaces view, catalogue and state.\n"
        "Next step: Give confirm if that is what you want.\n"
    )
    status, out, _ = run("restore", *folder, "--confirm")
    assert (status, line(out, "backup")) == (0, "cvas_backup_20251111_120000.zip")
    assert loaded.mastercpc.read_text("utf-8") == CATALOGUE
    assert run("restore", *folder, "--confirm", "--name", "cvas_backup_19990101_000000.zip")[0] == 1


def test_cleaning_up_finds_nothing_that_runs_left(run: Run, loaded: Lake) -> None:
    """R67, R68."""
    status, out, _ = run("clean-up")
    assert (status, line(out, "days removed"), line(out, "leftovers removed")) == (0, "none", "none")
    assert line(out, "disk mb").startswith("Parquet_Data 0.")


# --- places and endings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("status",), ("check",), ("load",), ("look-up", "--phone", "600000017")])
def test_there_is_no_default_lake(run: Run, command: tuple[str, ...]) -> None:
    """R72."""
    assert run(*command, environment={}) == (
        2,
        "",
        "FAILED: cvas: nobody said where the lake is.\nNext step: Give --lake, or set CVAS_LAKE.\n",
    )


def test_a_mistyped_lake_is_never_created(run: Run, tmp_path: Path) -> None:
    """R72: an option wins over the environment."""
    nowhere = tmp_path / "nowhere"
    assert run("clean-up", "--lake", str(nowhere)) == (
        2,
        "",
        f"FAILED: cvas: there is no folder {nowhere}.\nNext step: Correct the path, or make the folder.\n",
    )
    assert not nowhere.exists()


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--settings", '{"keep_day": 1}'), 1, "FAILED: cvas has no setting 'keep_day'."),
        (("--settings", "15"), 1, "FAILED: cvas: the settings are not a JSON object."),
        (("--date", "2025-11-11"), 2, "FAILED: 2025-11-11 is not over (today is 2025-11-11)."),
        (
            ("--start", "2025-11-10"),
            2,
            "FAILED: Only one of start_date (2025-11-10) and end_date (None) is given.",
        ),
        (
            ("--start", "2025-11-10", "--end", "2025-11-09"),
            2,
            "FAILED: end_date 2025-11-09 lies before start_date 2025-11-10.",
        ),
        (
            ("--date", "2025-11-01", "--start", "2025-11-09", "--end", "2025-11-10"),
            2,
            "FAILED: Both a date (2025-11-01) and a range (2025-11-09 to 2025-11-10) are given.",
        ),
    ],
)
def test_a_request_that_makes_no_sense_touches_nothing(
    run: Run, loaded: Lake, options: tuple[str, ...], status: int, said: str
) -> None:
    """R2."""
    before = data_hashes(loaded)
    ended, out, err = run("load", *options)
    assert (ended, out, err.splitlines()[0]) == (status, "", said)
    assert data_hashes(loaded) == before


def test_a_lake_at_work_is_left_alone(run: Run, loaded: Lake) -> None:
    """R3."""
    with locks.hold(loaded.lock, "cvas_load"):
        status, _, err = run("load")
        assert (status, err.startswith("FAILED: cvas_load is already running: cvas_load (process ")) == (1, True)
        status, _, err = run("gaps")
        assert (status, err.startswith("FAILED: cvas_backfill has to wait: cvas_load (process ")) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        ([], "the following arguments are required: COMMAND"),
        (["load", "--date", "2025-13-01"], "argument --date: '2025-13-01' is not a day like 2025-08-28"),
        (["load", "--date", "20251110"], "argument --date: '20251110' is not a day like 2025-08-28"),
        (["load", "--end", "2025-11-31"], "argument --end: '2025-11-31' is not a day like 2025-08-28"),
        (["load", "--start", "yesterday"], "argument --start: 'yesterday' is not a day like 2025-08-28"),
        (["clear-day"], "the following arguments are required: YYYY-MM-DD"),
        (["backup"], "the following arguments are required: --backup-folder"),
        (["mastercpc"], "the following arguments are required: FILE"),
        (["historical-import"], "the following arguments are required: FOLDER"),
        (["look-up"], "one of the arguments --subscription --user --phone is required"),
        (["look-up", "--user", "1", "--phone", "2"], "argument --phone: not allowed with argument --user"),
        (["look-up", "--subscription", "x"], "argument --subscription: invalid int value: 'x'"),
    ],
)
def test_a_command_that_does_not_exist_ends_with_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """R2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments, environment={}, now=NOW)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Section 7."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"], environment={}, now=NOW)
    assert ended.value.code == 0
    text = capsys.readouterr().out
    commands = [each.split()[0] for each in text.splitlines() if each[:4] == "    " and each[4:5].strip()]
    assert commands == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where a text has a per cent sign, which argparse takes for a place to fill."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"], environment={}, now=NOW)
    assert ended.value.code == 0
    assert "--lake LAKE" in capsys.readouterr().out


def test_from_a_shell_progress_and_errors_go_to_standard_error(lake: Lake) -> None:
    """No traceback, and the error once."""

    def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "include.scripts", "cvas", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **places(lake)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    failed = shell("load", "--date", "2025-11-10")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[0].endswith(" INFO START | cvas_load | 2025-11-10")
    assert failed.stderr.splitlines()[1].startswith("FAILED: cvas: the files of 2025-11-10 are not complete; missing: ")
    assert len(failed.stderr.splitlines()) == 3
    write_day(lake, of(DAY))
    done = shell("load", "--date", "2025-11-10")
    assert (done.returncode, done.stdout.splitlines()[1].split()) == (0, ["read", "6"])
    assert " INFO SUCCESS | Duration: " in done.stderr.splitlines()[-1]
