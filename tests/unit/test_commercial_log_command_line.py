"""The operators' command line: what it prints, what it changes, how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.commercial_log import backup
from include.commercial_log.database import open_database
from include.common import locks
from include.scripts.__main__ import main as dispatch
from include.scripts.commercial_log import main
from tests.unit.commercial_log_helpers import DAY, NOW, Station, row, rows, write_workbook

ROOT = Path(__file__).resolve().parents[2]
TRADE = row(revenue_type="Trade")

Ended = tuple[int, str, str]
Run = Callable[..., Ended]


@pytest.fixture
def run(station: Station, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command at ``now`` with the places in the environment: exit status, standard output, standard error."""
    places = {
        "COMMERCIAL_LOG_DATABASE": str(station.path),
        "COMMERCIAL_LOG_DATA_ROOT": str(station.data.root),
        "COMMERCIAL_LOG_SETTINGS": "{}",
        "USER": "ann",
    }

    def run(*arguments: str, now: datetime = NOW, environment: dict[str, str] | None = None) -> Ended:
        capsys.readouterr()
        status = main(arguments, environment=places if environment is None else environment, now=now)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    folder = tmp_path / "cloud"
    folder.mkdir()
    return folder


def line(output: str, name: str) -> str:
    """The value an output shows for a name."""
    (found,) = [text for text in output.splitlines() if text.startswith(f"{name}  ")]
    return found.removeprefix(name).strip()


# --- a day by hand --------------------------------------------------------------------------------------------------


def test_the_workbook_of_the_share_becomes_bookings(run: Run, station: Station) -> None:
    """Stage 1 and stage 2 without Airflow (section 10: script run by hand)."""
    write_workbook(station.workbook, [*rows("a", "b"), TRADE, row(media="oct", broadcast_month="Oct-25")])
    status, out, err = run("import", "--share", str(station.share.root))
    assert (status, err) == (0, "")
    assert line(out, "where") == str(station.dated())
    assert [line(out, name) for name in ("read", "written", "action", "day")] == ["4", "4", "created", "2025-09-02"]

    status, out, err = run("update")
    assert (status, err) == (0, "")
    assert [line(out, name) for name in ("read", "written", "file", "batch", "filtered trade", "new markets")] == [
        *("4", "3", "Commercial Log 250902.xlsx", "weekly_update_1756801800", "1", "none"),
    ]
    assert "months                    Sep-25: spots 2, gross 170.00\n" in out
    assert "                          Oct-25: spots 1, gross 85.00\n" in out
    assert station.titles() == ["a", "b", "oct"]
    assert station.sql("SELECT started_by, effective_date FROM import_batches, spots GROUP BY 1, 2") == [
        ("ann", "2025-09-02")
    ]


def test_the_same_day_twice_changes_nothing(run: Run, station: Station) -> None:
    """R35."""
    station.put(rows("a", "b"))
    run("update")
    before = station.dump(without=["import_batches"])
    status, out, _ = run("update", now=NOW + timedelta(hours=1))
    assert (status, line(out, "rows inserted"), line(out, "rows removed")) == (0, "0", "0")
    assert station.dump(without=["import_batches"]) == before


def test_a_dry_run_reports_and_writes_nothing(run: Run, station: Station) -> None:
    """R55."""
    station.put(rows("a", "b"))
    before = station.dump(), station.files()
    status, out, _ = run("update", "--dry-run")
    assert (status, line(out, "rows inserted"), line(out, "batch")) == (0, "2", "-")
    assert (station.dump(), station.files()) == before


def test_a_day_and_a_file_can_be_chosen(run: Run, station: Station) -> None:
    """R11, R12."""
    station.put(rows("new"))
    old = station.put(rows("old"), DAY - timedelta(days=3))
    run("update")
    status, _, err = run("update", "--data-file", str(old))
    assert (status, station.titles()) == (1, ["new"])
    assert err == (
        "FAILED: commercial_log STALE_FILE: Commercial Log 250830.xlsx is older than the workbook of 2025-09-02 that "
        "is loaded already; loading it would overwrite newer bookings.\n"
        "Next step: Leave it, or trigger the update with force_stale if the older bookings are what you want.\n"
    )
    status, _, _ = run("update", "--date", "2025-08-30", "--force-stale")
    assert (status, station.titles()) == (0, ["old"])


def test_more_rejects_are_accepted_on_purpose(run: Run, station: Station) -> None:
    """R20."""
    station.put([*rows("fine"), *[row(gross_rate="much")] * 21])
    status, _, err = run("update")
    assert (status, station.titles()) == (1, [])
    assert err.splitlines() == [
        "FAILED: Commercial Log 250902.xlsx, sheet 'Commercials': 21 rows rejected, 20 allowed; the first is Excel row "
        "3, column 'Unit rate Gross', BAD_MONEY: 'much'.",
        "Next step: See import_rejects for all of them; correct the workbook, or raise max_rejects on purpose.",
    ]
    status, out, _ = run("update", "--max-rejects", "21")
    assert (status, line(out, "rejected"), station.titles()) == (0, "21", ["fine"])


def test_settings_are_those_of_the_airflow_variable(run: Run, station: Station) -> None:
    """A run by hand must not replace a month that the installation has decided to leave alone (R19)."""
    station.put([*rows("sep"), row(media="aug", broadcast_month="Aug-25")])
    status, out, _ = run("update", "--settings", '{"previous_month_policy": "skip"}')
    assert (status, line(out, "skipped"), station.titles()) == (0, "Aug-25", ["sep"])
    assert run("update", "--settings", "skip")[::2] == (
        1,
        "FAILED: commercial_log: the settings are not a JSON object.\n"
        "Next step: Correct them in the Airflow variable commercial_log_settings, or in --settings; "
        'for example: {"keep_backups": 7}.\n',
    )


def test_the_programme_grid_follows_the_load_where_the_installation_wants_it(run: Run, station: Station) -> None:
    """Section 5.6: off by default."""
    station.put(rows("a"))
    count = "SELECT count(*) FROM spot_language_blocks"
    assert (run("update")[0], station.sql(count)) == (0, [(0,)])
    settings = ("--settings", '{"grid_classification": true}')
    assert (run("update", "--dry-run", *settings)[0], station.sql(count)) == (0, [(0,)])
    status, out, _ = run("update", *settings)
    assert (status, station.sql(count)) == (0, [(1,)])
    assert out.partition("\n\n")[2].splitlines()[0] == "where               spot_language_blocks"


def test_the_programme_grid_follows_a_historical_import_and_recategorising_too(run: Run, station: Station) -> None:
    """Section 5.6, G14: past months are reported by category as well."""
    settings = ("--settings", '{"grid_classification": true}')
    recap = write_workbook(station.path.with_name("recap.xlsx"), rows("july", broadcast_month="Jul-25"))
    placed = "SELECT media FROM spot_language_blocks JOIN spots USING (spot_id) ORDER BY media"
    given = ("historical-import", "--data-file", str(recap), "--closed-by", "bo")
    assert (run(*given, "--dry-run", *settings)[0], station.sql(placed)) == (0, [])
    assert (run(*given, *settings)[0], station.sql(placed)) == (0, [("july",)])
    station.load(rows("september"))
    assert (run("recategorise", "--confirm")[0], station.sql(placed)) == (0, [("july",)])
    assert (run("recategorise", "--confirm", *settings)[0], station.sql(placed)) == (0, [("july",), ("september",)])


@pytest.mark.parametrize(
    ("option", "status", "titles", "closed"),
    [
        (("--closed-by", "bo", "--confirm-loss"), 0, ["new", "new"], [("Aug-25", "ann"), ("Sep-25", "bo")]),
        (("--closed-by", "bo"), 2, ["old"], [("Aug-25", "ann")]),
        (("--skip-closed",), 0, ["new", "old"], [("Aug-25", "ann")]),
        (("--refuse-closed",), 2, ["old"], [("Aug-25", "ann")]),
        ((), 2, ["old"], [("Aug-25", "ann")]),
        (("--closed-by", "bo", "--year", "2024"), 2, ["old"], [("Aug-25", "ann")]),
        (("--closed-by", "bo", "--confirm-loss", "--dry-run"), 0, ["old"], [("Aug-25", "ann")]),
    ],
)
def test_a_historical_import_says_what_it_does_with_closed_months(
    run: Run,
    station: Station,
    option: tuple[str, ...],
    status: int,
    titles: list[str],
    closed: list[tuple[str, str]],
) -> None:
    """R19 and section 7."""
    station.load([row(media="old", broadcast_month="Aug-25")], DAY - timedelta(days=1))
    run("close-month", "Aug-25", "--closed-by", "ann")
    path = station.put([row(media="new", broadcast_month="Aug-25"), row(media="new", broadcast_month="Sep-25")])
    assert run("historical-import", "--data-file", str(path), *option)[0] == status
    assert station.titles() == titles
    assert station.sql("SELECT broadcast_month, closed_by FROM month_closures ORDER BY 1") == closed


def test_months_are_closed_by_name_and_listed(run: Run, station: Station) -> None:
    """R36 and section 7."""
    station.load([*rows("a", "b"), row(media="c", broadcast_month="Oct-25", gross_rate=None, station_net=None)])
    status, out, _ = run("close-month", "sep-25", "--closed-by", "ann", "--notes", "final")
    assert (status, line(out, "closed")) == (0, "Sep-25")
    assert run("months")[:2] == (
        0,
        "broadcast month  spots  gross sum  net sum  customers  status  closed date  closed by  last load (UTC)\n"
        "Sep-25               2     170.00   144.50          0  closed  2025-09-02   ann        2025-09-02 08:30:00\n"
        "Oct-25               1       0.00     0.00          0  open    -            -          2025-09-02 08:30:00\n",
    )
    status, out, err = run("close-month", "Nov-25", "--closed-by", "ann")
    assert (status, out) == (2, "")
    assert err.splitlines()[0] == (
        "FAILED: commercial_log: not closed: Nov-25 (no spots); closed: none; already closed: none."
    )


# --- files and backups ----------------------------------------------------------------------------------------------


def test_old_workbooks_are_archived_and_counted(run: Run, station: Station) -> None:
    """R44: of Sunday 2025-09-07, what is older than 2025-08-31 goes."""
    for day in (30, 31):
        station.put(rows("a"), DAY.replace(month=8, day=day))
    status, out, _ = run("rotate", "--date", "2025-09-07", now=NOW + timedelta(days=5))
    assert (status, line(out, "archived")) == (0, "commercial-logs-2025-08.zip 1")
    assert sorted(station.files()) == [
        "raw/archive/commercial-logs-2025-08.zip",
        "raw/daily/Commercial Log 250831.xlsx",
    ]
    status, out, _ = run("storage")
    assert status == 0
    assert [text.split(",")[0] for text in out.splitlines()[:2]] == ["Workbooks  1 file", "Archives   1 file"]
    assert out.splitlines()[-2:] == ["Archive    MB", "2025-08  0.01"]


def test_a_backup_is_made_listed_and_restored(run: Run, station: Station, cloud: Path) -> None:
    """R49, R50 and section 7."""
    folder = ("--backup-folder", str(cloud))
    assert run("backups", *folder) == (0, f"There is no backup in {cloud}.\n", "")
    station.load(rows("a"))
    assert run("backup", *folder)[0] == 0
    assert run("backups", *folder) == (0, "database_backup_20250902_013000.db\n", "")
    status, out, _ = run("verify-backup", *folder)
    assert (status, line(out, "backup")) == (0, "database_backup_20250902_013000.db")
    station.load(rows("b"), DAY + timedelta(days=1))
    status, _, err = run("restore", *folder)
    assert (status, station.titles()) == (2, ["b"])
    assert err == (
        "FAILED: commercial_log: restoring replaces the whole database.\n"
        "Next step: Give confirm if that is what you want.\n"
    )
    status, out, _ = run("restore", *folder, "--confirm")
    assert (status, line(out, "backup"), station.titles()) == (0, "database_backup_20250902_013000.db", ["a"])
    assert run("restore", *folder, "--confirm", "--name", "database_backup_19990101_000000.db")[0] == 1


def test_a_second_backup_ends_quietly(run: Run, station: Station, cloud: Path) -> None:
    """R51."""
    with locks.hold(station.data.backup_lock, backup.JOB):
        status, out, err = run("backup", "--backup-folder", str(cloud))
    assert (status, err) == (0, "")
    assert out.startswith(f"Skipped: {backup.JOB} is already running: {backup.JOB} (process ")
    assert list(cloud.iterdir()) == []


# --- questions ------------------------------------------------------------------------------------------------------


def test_the_status_is_what_an_operator_reads_first(run: Run, station: Station, cloud: Path) -> None:
    station.load(rows("a"))
    (station.data.logs / "commercial_log_update.log").write_text(
        "2025-09-02T08:30:05+00:00 | commercial_log_update | 2025-09-02 | SUCCESS | Duration: 5.1s | rows: 1\n"
    )
    status, out, err = run("status", "--backup-folder", str(cloud), now=NOW + timedelta(minutes=90))
    assert (status, err) == (0, "")
    kept = [text for text in out.splitlines() if not text.startswith(("Database", "Disk free"))]
    assert "\n".join(kept) == (
        f"""\
Commercial log, Tuesday 2025-09-02 03:00 station time

All is well.

Data       fresh, Commercial Log 250902.xlsx loaded 2025-09-02 01:30 (1.5 h ago)
Months     1 open, 0 closed
Review     0 spots wait for a language, 0 undetermined at $1,000 or more
Workbooks  1 file, 0.0 MB, 2025-09-02 to 2025-09-02
Archives   0 files, 0.0 MB
Backups    none

Job                      Last result  When                          Last 10 durations (s), newest first (! failed)
commercial_log_import    never ran
commercial_log_update    SUCCESS      2025-09-02 01:30 (1.5 h ago)  5.1
commercial_log_rotation  never ran
{backup.JOB:<23}  never ran

Today:
  01:30  commercial_log_update  SUCCESS  5.1 s  rows: 1"""
    )


def test_the_history_shows_every_load_and_why_one_failed(run: Run, station: Station) -> None:
    """Section 7."""
    assert run("history") == (0, "No workbook has been loaded yet.\n", "")
    station.load([*rows("a"), row(media="b", broadcast_month="Oct-25")])
    station.put([row(broadcast_month="Smarch")], DAY + timedelta(days=1))
    run("update", now=NOW + timedelta(days=1))
    status, out, _ = run("history")
    assert status == 0
    assert out == (
        """\
batch id                  status     source file                 records imported  records deleted  rows inserted  rows removed  months
weekly_update_1756888200  FAILED     Commercial Log 250903.xlsx                 0                0              0             0  -
weekly_update_1756801800  COMPLETED  Commercial Log 250902.xlsx                 2                0              2             0  Sep-25 to Oct-25

weekly_update_1756888200: Commercial Log 250903.xlsx, sheet 'Commercials': no broadcast months found in 1 rows, column 'Month'. Next step: Ask traffic what happened to the Month column.
"""  # noqa: E501
    )
    assert run("history", "--last", "1")[1].count("weekly_update_") == 2


def test_a_check_that_finds_something_ends_with_1(run: Run, station: Station) -> None:
    """Section 7: closed years, all twelve months of past years."""
    station.load([row(broadcast_month="Dec-24", gross_rate=1234.5, station_net=1000.25)])
    assert run("validate") == (
        1,
        "year  closed months  spots     gross       net\n"
        "2024              0      1  1,234.50  1,000.25\n"
        "The file and its references are sound.\n"
        "WARNING: Dec-24 of a past year is open.\n",
        "",
    )
    run("close-month", "Dec-24", "--closed-by", "ann")
    status, out, _ = run("validate")
    assert (status, "WARNING" in out) == (0, False)


def test_languages_are_shown_settled_and_exported(run: Run, station: Station) -> None:
    """Section 7."""
    station.load([row(language_code="13", gross_rate=20.0), row(language_code="L"), row(language_code="V")])
    status, out, _ = run("languages")
    assert status == 0
    head, *table, _, spots, uncategorised, _, queue, _, _, title, codes, code = out.splitlines()
    assert head.split("  ")[0] == "spot category"
    assert [tuple(text.split()) for text in table] == [
        ("language_assignment_required", "direct_mapping", "determined", "1", "85.00", "0", "0", "0"),
        ("language_assignment_required", "invalid_code_flagged", "invalid", "1", "20.00", "1", "0", "0"),
        ("review_category", "undetermined_flagged", "undetermined", "1", "85.00", "1", "0", "0"),
    ]
    assert [spots, uncategorised, queue] == [
        "spots                    3",
        "uncategorised            0",
        "review queue             2",
    ]
    assert [title, codes, code] == [
        "Codes that are no language:",
        "code  spots  gross sum  gross average",
        "13        1      20.00          20.00",
    ]

    decided = ("--decided-by", "Ana Lee", "--note", "client confirmed")
    status, out, _ = run("set-language", "--spots", "1", "2", "--language", "K", *decided)
    assert (status, line(out, "written"), line(out, "language")) == (0, "2", "K")
    status, out, _ = run("review-export", "--filter", "invalid")
    assert (status, line(out, "written")) == (0, "0")
    assert line(out, "where") == str(station.data.exports / "review_queue_invalid_2025-09-02.csv")
    status, _, err = run("set-language", "--spots", "1", "77", "--language", "K", *decided)
    assert (status, err.splitlines()) == (
        2,
        [
            "FAILED: commercial_log: 1 of 2 ids are no spots: 77; nothing was changed.",
            "Next step: Export the review queue again: the workbook may have replaced those spots since.",
        ],
    )
    assert run("recategorise")[0] == 2
    status, out, _ = run("recategorise", "--confirm")
    assert (status, line(out, "processed"), line(out, "manual")) == (0, "1", "2")


def test_a_killed_load_is_cleaned_up(run: Run, station: Station) -> None:
    """R34."""
    station.load(rows("a"))
    station.sql("UPDATE import_batches SET status = 'RUNNING'")
    assert run("clean-up") == (0, "where    import_batches\nread     0\nwritten  1\n", "")
    assert station.sql("SELECT status FROM import_batches") == [("FAILED",)]


# --- places and endings ---------------------------------------------------------------------------------------------


def test_init_makes_the_database_and_the_data_root_and_can_be_repeated(run: Run, tmp_path: Path) -> None:
    path, root = tmp_path / "new" / "bookings.db", tmp_path / "new" / "data"
    places = ("--database", str(path), "--data-root", str(root))
    expected = (0, f"Database {path} and data root {root} are ready.\n", "")
    assert run("init", *places, environment={}) == expected
    assert run("init", *places, environment={}) == expected
    with closing(open_database(path)) as db:
        assert db.execute("SELECT count(*) FROM languages").fetchone() == (11,)
    assert root.is_dir()


@pytest.mark.parametrize(
    ("environment", "err"),
    [
        (
            {"COMMERCIAL_LOG_DATA_ROOT": "data"},
            "FAILED: commercial_log: nobody said where the database is.\n"
            "Next step: Give --database, or set COMMERCIAL_LOG_DATABASE.\n",
        ),
        (
            {"COMMERCIAL_LOG_DATABASE": "", "COMMERCIAL_LOG_DATA_ROOT": "data"},
            "FAILED: commercial_log: nobody said where the database is.\n"
            "Next step: Give --database, or set COMMERCIAL_LOG_DATABASE.\n",
        ),
    ],
)
def test_there_is_no_default_database(run: Run, environment: dict[str, str], err: str) -> None:
    """R54; section 8, 10."""
    assert run("status", environment=environment) == (2, "", err)


def test_there_is_no_default_data_root(run: Run, station: Station) -> None:
    """R54."""
    assert run("storage", environment={"COMMERCIAL_LOG_DATABASE": str(station.path)}) == (
        2,
        "",
        "FAILED: commercial_log: nobody said where the data root is.\n"
        "Next step: Give --data-root, or set COMMERCIAL_LOG_DATA_ROOT.\n",
    )


@pytest.mark.parametrize("command", [("update",), ("rotate",), ("backup", "--backup-folder", "backups")])
def test_nothing_is_done_with_settings_that_nobody_gave(run: Run, station: Station, command: tuple[str, ...]) -> None:
    """R46, R50, R54: the defaults may keep fewer files, or touch months that the installation protects."""
    places = {"COMMERCIAL_LOG_DATABASE": str(station.path), "COMMERCIAL_LOG_DATA_ROOT": str(station.data.root)}
    assert run(*command, environment=places) == (
        2,
        "",
        "FAILED: commercial_log: nobody said what the settings are.\n"
        "Next step: Give --settings, or set COMMERCIAL_LOG_SETTINGS: what the Airflow variable commercial_log_settings "
        "has, or '{}' if there is none.\n",
    )


def test_a_mistyped_place_is_never_created(run: Run, tmp_path: Path) -> None:
    """Section 8, 10: wrong paths wrote into an empty skeleton."""
    nowhere = tmp_path / "nowhere"
    assert run("rotate", "--data-root", str(nowhere)) == (
        2,
        "",
        f"FAILED: commercial_log: there is no folder {nowhere}.\n"
        "Next step: Correct the path, or run the command init first.\n",
    )
    assert run("update", "--database", str(nowhere))[0] == 1
    assert not nowhere.exists()


def test_an_option_wins_over_the_environment(run: Run, station: Station, tmp_path: Path) -> None:
    status, _, err = run("months", "--database", str(tmp_path / "other.db"))
    assert (status, err.splitlines()[0]) == (
        1,
        f"FAILED: There is no booked-business database at {tmp_path / 'other.db'}.",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        ([], "the following arguments are required: COMMAND"),
        (["update", "--date", "2025-13-01"], "argument --date: '2025-13-01' is not a day like 2025-08-28"),
        (["update", "--max-rejects", "-1"], "argument --max-rejects: '-1' is not a number of 0 or more"),
        (["update", "--max-rejects", "some"], "argument --max-rejects: 'some' is not a number of 0 or more"),
        (["import"], "the following arguments are required: --share"),
        (["backup"], "the following arguments are required: --backup-folder"),
        (["review-export", "--filter", "odd"], "argument --filter: invalid choice: 'odd'"),
        (["set-language", "--spots", "x"], "argument --spots: invalid int value: 'x'"),
    ],
)
def test_a_command_that_does_not_exist_ends_with_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments, environment={}, now=datetime.now(UTC))
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"], environment={}, now=datetime.now(UTC))
    assert ended.value.code == 0
    words = capsys.readouterr().out.split()
    commands = (
        "status storage months languages history validate init import update historical-import close-month rotate "
        "backup backups verify-backup restore review-export set-language recategorise clean-up"
    )
    assert [command for command in commands.split() if command not in words] == []


def test_the_first_word_chooses_the_system(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["no_such_system", "status"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()[0]) == (
        "",
        "Usage: python -m include.scripts SYSTEM COMMAND [options]; SYSTEM --help lists its commands.",
    )
    assert "commercial_log" in said.err.splitlines()[1]
    assert dispatch(["--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: ")


def test_from_a_shell_progress_and_errors_go_to_standard_error(station: Station) -> None:
    """No traceback, and the error once."""

    def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
        places = {
            "COMMERCIAL_LOG_DATABASE": str(station.path),
            "COMMERCIAL_LOG_DATA_ROOT": str(station.data.root),
            "COMMERCIAL_LOG_SETTINGS": "{}",
        }
        return subprocess.run(
            [sys.executable, "-m", "include.scripts", "commercial_log", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **places},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    failed = shell("update", "--date", "2025-09-02")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[1:] == [
        f"FAILED: commercial_log: {station.data.daily} holds no dated workbook up to 2025-09-02.",
        "Next step: Run commercial_log_import for that day.",
    ]
    assert failed.stderr.splitlines()[0].endswith(" INFO START | commercial_log_update | 2025-09-02")
    station.put(rows("a"))
    done = shell("update", "--date", "2025-09-02")
    assert (done.returncode, done.stdout.splitlines()[1]) == (0, "read                      1")
    assert " INFO SUCCESS | Duration: " in done.stderr.splitlines()[-1]
