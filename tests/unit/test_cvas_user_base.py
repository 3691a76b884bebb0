"""All snapshots become users per service, category and price point of every day: R10-R17, G9."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import tempfile
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.common import locks
from include.common.filesets import JOURNAL
from include.common.journal import read_journal
from include.cvas.config import Settings
from include.cvas.contract import ACT
from include.cvas.counters import count_transactions
from include.cvas.snapshots import read_rows
from include.cvas.user_base import (
    Fingerprint,
    Snapshot,
    _read_plain,
    newest_snapshot,
    read_user_base_by_cpc,
    snapshot_services,
)
from include.errors import AlreadyRunning, CheckFailed, ContractViolation, RequestRefused, StoreBusy, StoreFull
from tests.corpus.cvas.snapshots.make_corpus import FOLDER
from tests.unit.cvas_helpers import act, fill_lake
from tests.unit.cvas_snapshot_helpers import (
    DAY,
    HEADER,
    NOW,
    TODAY,
    DiskFull,
    Killed,
    Reporting,
    in_new_process,
    snapshot,
    usual,
)
from tests.unit.test_cvas_snapshots import CORPUS, NO_OBSTACLE_LATER, REFUSED

BEFORE = DAY - timedelta(days=1)
LEDGER = "_state/user_base.json"
G9 = snapshot((45335, " X ", "education", "2.0"), (45335, "X", "Images", 3), (45336, "Nubico Promo", "Kids", 9))


@pytest.fixture
def reporting(tmp_path: Path) -> Reporting:
    return Reporting(tmp_path)


def rewrite(path: Path, content: bytes) -> None:
    """Another file of the same name, as every writer that cares makes it."""
    new = path.with_name("new")
    new.write_bytes(content)
    new.replace(path)


# --- what counts ------------------------------------------------------------------------------------------------------


def test_users_are_counted_by_service_category_and_price_point(reporting: Reporting) -> None:
    """G9, R12-R14, 4.3: whole files."""
    reporting.keep(DAY, G9)
    result = reporting.aggregate()
    contents = reporting.contents()
    assert contents["User_Base/user_base_by_service.csv"] == (
        b"date|service_name|tme_category|User_Base\n2025-11-10|X|Edu_Ima|5\n"
    )
    assert contents["User_Base/user_base_by_category.csv"] == b"date|tme_category|User_Base\n2025-11-10|Edu_Ima|5\n"
    assert contents["User_Base/user_base_by_cpc.csv"] == b"date|cpc|User_Base\n2025-11-10|45335|5\n"
    assert contents.keys() == {
        "User_Base/NBS_BASE/20251110_NBS_Base.csv",
        "User_Base/user_base_by_service.csv",
        "User_Base/user_base_by_category.csv",
        "User_Base/user_base_by_cpc.csv",
        LEDGER,
    }
    assert set(result["facts"]) == {"day", "snapshot", "aggregate what changed", "write"}
    assert (result["read"], result["written"], result["bytes"], result["warnings"]) == (1, 1, 151, [])
    [line] = read_journal(reporting.lake.logs, "cvas_user_base")
    assert (line.state, line.detail) == ("SUCCESS", "snapshots: 1 | days: 1")


def test_a_file_with_one_accent_at_its_end_is_not_counted_twice(reporting: Reporting) -> None:
    """R11: the original reported 11,595."""
    rows = [(40000 + number, "Noticias", "News", 10) for number in range(600)]
    content = snapshot(*rows, (45335, "Canción", "Music", 5)).decode().encode("cp1252")
    assert len(content) > 8192
    reporting.keep(DAY, content)
    reporting.aggregate()
    outputs = reporting.outputs()
    assert outputs["category"] == "2025-11-10|Music|5\n2025-11-10|News_Sport|6000\n"
    assert outputs["service"] == "2025-11-10|Canción|Music|5\n2025-11-10|Noticias|News_Sport|6000\n"


def test_excluded_services_are_known_by_a_part_of_their_name_in_any_case(reporting: Reporting) -> None:
    """R12."""
    names = ("NUBICO", "x Challenge Arena 2", "Movistar Apple Music", "Juegos Onmo+", "Juegos", "Apple Music", "")
    reporting.keep(DAY, snapshot(*((number, name, "Games", 1) for number, name in enumerate(names))))
    reporting.aggregate()
    assert reporting.outputs() == {
        "service": "2025-11-10||Games|1\n2025-11-10|Apple Music|Games|1\n2025-11-10|Juegos|Games|1\n",
        "category": "2025-11-10|Games|3\n",
        "cpc": "2025-11-10|4|1\n2025-11-10|5|1\n2025-11-10|6|1\n",
    }


def test_an_empty_word_in_the_list_excludes_nothing(reporting: Reporting) -> None:
    """R12: configuration."""
    reporting.keep(DAY, snapshot((1, "Nubico", "Kids", 9), (2, "Club", "Kids", 1)))
    reporting.aggregate(settings=Settings(excluded_services=("", " ", "CLUB")))
    assert reporting.outputs()["cpc"] == "2025-11-10|1|9\n"


def test_four_categories_are_merged_whatever_their_case_and_the_others_stay_as_they_are(reporting: Reporting) -> None:
    """R13."""
    categories = (" EDUCATION", "images", "News ", "sPORTS", "music", "Music", "", "Free Time", "Edu_Ima")
    reporting.keep(DAY, snapshot(*((1, "X", category, 1) for category in categories)))
    reporting.aggregate()
    assert reporting.outputs()["category"].splitlines() == [
        "2025-11-10||1",
        "2025-11-10|Edu_Ima|3",
        "2025-11-10|Free Time|1",
        "2025-11-10|Music|1",
        "2025-11-10|News_Sport|2",
        "2025-11-10|music|1",
    ]


def test_fractions_go_toward_zero_row_by_row(reporting: Reporting) -> None:
    """R14."""
    counts = ("1.9", "1.9", "-1.9", "12.0", "7.", "0.99", "+3", "-0.5", "007")
    reporting.keep(DAY, snapshot(*((1, "X", "Y", count) for count in counts)))
    reporting.aggregate()
    assert set(reporting.outputs().values()) == {
        "2025-11-10|X|Y|30\n",
        "2025-11-10|Y|30\n",
        "2025-11-10|1|30\n",
    }


def test_lines_are_sorted_by_day_and_by_the_code_points_of_what_follows(reporting: Reporting) -> None:
    """4.3; names that begin alike, accents, digits; a cpc as well."""
    names = ("b", "B", "á", "a b", "a", "Ž", "ab", "10", "9", "😀", "\ufffd")
    cpcs = (45335, 1, 10, 9, 100, 2)
    reporting.keep(DAY, snapshot(*((cpcs[number % len(cpcs)], name, "x", 1) for number, name in enumerate(names))))
    reporting.keep(BEFORE, snapshot((7, "z", "z", 1)))
    reporting.aggregate()
    lines = reporting.outputs()["service"].splitlines()
    assert lines[0] == "2025-11-09|z|z|1"
    assert [line.split("|")[1] for line in lines[1:]] == [
        "10",
        "9",
        "B",
        "a",
        "a b",
        "ab",
        "b",
        "á",
        "Ž",
        "\ufffd",
        "😀",
    ]
    assert [line.split("|")[1] for line in reporting.outputs()["cpc"].splitlines()] == [
        *("7", "1", "10", "100", "2", "45335", "9"),
    ]


def test_bars_and_line_breaks_inside_of_names_become_spaces(reporting: Reporting) -> None:
    """R16, 4.3: no quotes in these files."""
    names = ("A|B", "A\nB", "A\r\nB", "A@B", "|A B\n")
    content = snapshot(*((1, name, "x|y", 1) for name in names), (1, 'Pantalla 5"', "x y", 1))
    reporting.keep(DAY, content.replace(b"A@B", b'"A\rB"'))
    result = reporting.aggregate()
    assert reporting.outputs() == {
        "service": '2025-11-10|A B|x y|5\n2025-11-10|Pantalla 5"|x y|1\n',
        "category": "2025-11-10|x y|6\n",
        "cpc": "2025-11-10|1|6\n",
    }
    assert result["warnings"] == [
        "6 names hold a '|' or a line break, which became a space: "
        r"'A\nB', 'A\r\nB', 'A\rB', 'A|B', 'x|y', '|A B\n'."
    ]


def test_a_day_whose_services_are_all_excluded_has_no_line(reporting: Reporting) -> None:
    """R12."""
    reporting.keep(DAY, snapshot((1, "Nubico", "Kids", 9)))
    reporting.aggregate()
    assert set(reporting.outputs().values()) == {""}
    before = reporting.files()
    reporting.aggregate()
    assert reporting.files() == before


def test_without_any_snapshot_there_are_three_files_with_nothing_but_headers(reporting: Reporting) -> None:
    assert reporting.aggregate()["warnings"] == [
        "snapshot missing for 2025-11-10; the days that are there are aggregated."
    ]
    assert reporting.outputs() == {"service": "", "category": "", "cpc": ""}
    assert read_user_base_by_cpc(reporting.lake).rows() == []


# --- which files ------------------------------------------------------------------------------------------------------


def test_other_files_in_the_folder_are_ignored_with_a_warning(reporting: Reporting) -> None:
    """R10; hidden files are nobody's concern."""
    kept = reporting.keep(DAY, usual())
    strangers = (
        *("20251301_NBS_Base.csv", "2025111_NBS_Base.csv", "NBS_Base.csv", "20251109_NBS_Base.csv.bak"),
        *("20251109_nbs_base.csv", "20251109_NBS_Base (1).csv", "notes.txt"),
    )
    for name in (*strangers, ".20251109_NBS_Base.csv.tmp"):
        kept.with_name(name).write_bytes(usual(5000))
    assert reporting.aggregate()["warnings"] == [
        f"{kept.with_name(name)} is not named like a snapshot; it is ignored." for name in sorted(strangers)
    ]
    assert reporting.outputs()["category"] == "2025-11-10|Free Time|400\n2025-11-10|News_Sport|600\n"


def test_two_files_of_one_day_are_an_error_that_names_both_and_changes_nothing(reporting: Reporting) -> None:
    """R10."""
    reporting.keep(BEFORE, usual())
    reporting.aggregate(BEFORE)
    path = reporting.keep(DAY, usual())
    path.with_name("20251110_again_NBS_Base.csv").write_bytes(usual(1001))
    before = reporting.files()
    with pytest.raises(ContractViolation) as refused:
        reporting.aggregate()
    assert refused.value.what == (
        f"{path.parent} holds 2 snapshots of 2025-11-10: 20251110_NBS_Base.csv and 20251110_again_NBS_Base.csv; "
        "nothing was changed."
    )
    assert reporting.files() == before


def test_a_missing_snapshot_of_the_day_is_told_and_the_others_are_aggregated(reporting: Reporting) -> None:
    """R9."""
    reporting.keep(BEFORE, usual())
    result = reporting.aggregate()
    assert result["warnings"] == ["snapshot missing for 2025-11-10; the days that are there are aggregated."]
    assert result["facts"]["snapshot"] is False
    assert reporting.outputs()["cpc"] == "2025-11-09|45335|600\n2025-11-09|46109|400\n"


# --- bad snapshots ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in REFUSED if name not in NO_OBSTACLE_LATER])
def test_a_bad_snapshot_counts_nothing_the_others_do_and_the_run_fails(reporting: Reporting, name: str) -> None:
    """R15, section 6: one old snapshot corrupt."""
    good = usual(1001)
    reporting.keep(BEFORE, good)
    bad = reporting.keep(DAY - timedelta(days=400), (FOLDER / f"{name}.csv").read_bytes())
    reporting.keep(DAY, usual(1002))
    for _ in range(2):
        with pytest.raises(ContractViolation) as refused:
            reporting.aggregate()
        fault = REFUSED[name] if ": 85 bytes" not in REFUSED[name] else ": no row below the header."
        if name == "zero bytes":
            fault = ", line 1: not the header of a snapshot: "
        told = f"1 of 3 snapshots count nothing, the others are aggregated: {bad.name}{fault}"
        assert refused.value.what.startswith(told)
        assert refused.value.next_step == "Correct or restore the files that are named, then clear the task."
        assert reporting.outputs()["cpc"].splitlines() == [
            "2025-11-09|45335|601",
            "2025-11-09|46109|400",
            "2025-11-10|45335|602",
            "2025-11-10|46109|400",
        ]
    before = reporting.files()
    with pytest.raises(ContractViolation):
        reporting.aggregate()
    assert reporting.files() == before
    rewrite(bad, usual())
    [again] = reporting.aggregate()["warnings"]
    assert again.startswith("cvas_user_base works again; it had failed for 2025-11-10: ")
    assert reporting.outputs()["cpc"].startswith("2024-10-06|45335|600\n")


def test_a_snapshot_that_goes_bad_takes_its_day_with_it(reporting: Reporting) -> None:
    """R15, R16: no partial contribution, not even of what was counted before."""
    reporting.keep(BEFORE, usual())
    path = reporting.keep(DAY, usual())
    reporting.aggregate()
    rewrite(path, usual() + b"45335,ExampleMedia,Noti")
    with pytest.raises(ContractViolation, match=r"20251110_NBS_Base\.csv, line 4: the line ends after 3 of 7 columns"):
        reporting.aggregate()
    assert reporting.outputs()["cpc"] == "2025-11-09|45335|600\n2025-11-09|46109|400\n"


def test_all_bad_snapshots_are_named_up_to_ten(reporting: Reporting) -> None:
    """R15."""
    for number in range(12):
        reporting.keep(DAY - timedelta(days=number), b"<html>")
    with pytest.raises(ContractViolation) as refused:
        reporting.aggregate()
    assert refused.value.what.startswith("12 of 12 snapshots count nothing")
    assert refused.value.what.count("a web page instead of a snapshot") == 10


@pytest.mark.parametrize("name", [*(name for name in CORPUS if name not in REFUSED), *NO_OBSTACLE_LATER])
def test_an_unusual_snapshot_counts_like_any_other(reporting: Reporting, name: str) -> None:
    """3.1, R11."""
    content = (FOLDER / f"{name}.csv").read_bytes()
    reporting.keep(DAY, content)
    warnings = reporting.aggregate()["warnings"]
    expected = sum(row.users for row in read_rows(content, name=name))
    for text in reporting.outputs().values():
        assert sum(int(line.rpartition("|")[2]) for line in text.splitlines()) == expected
    if name == "last line without its end":
        assert warnings == ["20251110_NBS_Base.csv: the last line has no end; its number may have lost digits."]


def test_plain_files_are_read_all_at_once_whatever_their_line_ends_quotes_and_encoding() -> None:
    """R11, R16: the way that is ten times as fast is not left without need; a bad file costs the others nothing but
    time."""
    names = ("all quoted", "byte order mark", "windows line ends", "windows characters", "characters of no code page")
    files = [_as_snapshot(number, (FOLDER / f"{name}.csv").read_bytes()) for number, name in enumerate(names)]
    rows, doubtful = _read_plain(files)
    assert doubtful == []
    assert rows.height == 15
    empty = _as_snapshot(50, (FOLDER / "count is empty.csv").read_bytes())
    rows, doubtful = _read_plain([empty, *files])
    assert doubtful == [empty]
    assert rows.height == 15
    too_long = _as_snapshot(51, (FOLDER / "comma without quotes.csv").read_bytes())
    rows, doubtful = _read_plain([*files, too_long])
    assert doubtful == [*files, too_long]
    assert rows.height == 0


def _as_snapshot(number: int, data: bytes) -> Snapshot:
    return Snapshot(DAY + timedelta(days=number), f"{number}", data, Fingerprint(0, 0, ""))


GOOD_NAME = st.sampled_from(
    ["", "News", "á", "\xa0", " x ", "|", "'", "#", "cpc", '""', '"a"', '"a,b"', '"a""b"', '""""', '",,"', "\x00", "٣"]
)
GOOD_LINE = st.tuples(
    st.sampled_from(["1", "45335", '"7"', "0" * 20 + "5", "-4", "cpc"]),
    *[GOOD_NAME] * 5,
    st.sampled_from(
        ["1", "12.0", "+2", "-3", '"5"', "9" * 12, "-" + "9" * 12, "3.50", "-0.7", "7.", ".5", "1e3", "1E-2"]
    ),
)
ANY_CELL = GOOD_NAME | st.sampled_from(
    [
        "1",
        "5.",
        " 7 ",
        "1e3",
        "nan",
        "1_0",
        "9" * 13,
        "9" * 19,
        "1.0.0",
        ".0",
        '"',
        'a"b',
        '"a"b',
        ' "a"',
        '"a\nb"',
        "\r",
    ]
)
LINE = st.one_of(GOOD_LINE, GOOD_LINE, GOOD_LINE, st.tuples(*[ANY_CELL] * 7), st.lists(ANY_CELL, max_size=9))
TEXT = st.builds(
    lambda *made: _text(*made),
    st.sampled_from([HEADER, HEADER, "\ufeff" + HEADER, HEADER.upper(), '"' + HEADER.replace(",", '","') + '"']),
    st.lists(GOOD_LINE, max_size=6) | st.lists(LINE, max_size=6),
    st.sampled_from(["\n", "\n", "\r\n"]),
    st.sampled_from([1, 1, 0]),
    st.sampled_from(["utf-8", "latin-1"]),
)


def _text(header: str, lines: list[tuple[str, ...]], end: str, ends: int, encoding: str) -> bytes:
    text = end.join([header, *map(",".join, lines)]) + end * ends
    return text.encode(encoding, errors="replace")


@settings(max_examples=200)
@given(st.lists(TEXT, min_size=1, max_size=3))
def test_what_is_read_all_at_once_is_what_a_reading_line_by_line_gives(texts: list[bytes]) -> None:
    """R11, R15: any file, good or bad; the plain way never accepts what the exact one refuses."""
    files = [_as_snapshot(number, text) for number, text in enumerate(texts)]
    rows, doubtful = _read_plain(files)
    for file in files:
        if file not in doubtful:
            expected = [(file.day, *row) for row in read_rows(file.data, name="x")]
            assert rows.filter(pl.col("day") == file.day).rows() == expected


# --- what changed -----------------------------------------------------------------------------------------------------


def test_a_run_without_a_new_snapshot_writes_nothing(reporting: Reporting) -> None:
    """R16."""
    reporting.keep(BEFORE, usual())
    reporting.keep(DAY, usual())
    assert reporting.aggregate()["written"] == 2
    before = reporting.files()
    result = reporting.aggregate()
    assert (result["read"], result["written"], result["bytes"]) == (2, 0, 0)
    assert reporting.files() == before


def test_only_the_new_day_is_read(reporting: Reporting) -> None:
    """R16: what the others hold does not matter as long as nothing says that it changed."""
    old = reporting.keep(BEFORE, usual(1000))
    reporting.aggregate(BEFORE)
    stat = old.stat()
    old.write_bytes(usual(1100))  # as many bytes
    os.utime(old, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    reporting.keep(DAY, usual(1001))
    assert reporting.aggregate()["written"] == 1
    assert reporting.outputs()["category"].splitlines() == [
        "2025-11-09|Free Time|400",
        "2025-11-09|News_Sport|600",
        "2025-11-10|Free Time|400",
        "2025-11-10|News_Sport|601",
    ]


def test_a_snapshot_that_was_only_touched_is_not_made_anew(reporting: Reporting) -> None:
    """R16: the hash decides when size or time differ."""
    path = reporting.keep(DAY, usual())
    reporting.aggregate()
    outputs = {name: content for name, content in reporting.files().items() if name.endswith(".csv")}
    os.utime(path, (5, 5))
    outputs[str(path.relative_to(reporting.lake.root))] = reporting.files()[str(path.relative_to(reporting.lake.root))]
    result = reporting.aggregate()
    assert (result["written"], result["bytes"]) == (0, 0)
    assert {name: content for name, content in reporting.files().items() if name.endswith(".csv")} == outputs
    ledger = json.loads(reporting.contents()[LEDGER])
    assert ledger["snapshots"]["2025-11-10"] == [len(usual()), 5_000_000_000, hashlib.sha256(usual()).hexdigest()]


def test_history_that_changes_is_followed_and_told(reporting: Reporting) -> None:
    """R8, R16: snapshots are immutable, so a change is worth a warning; that of the run's day is not."""
    days = [DAY - timedelta(days=number) for number in range(4)]
    paths = [reporting.keep(day, usual()) for day in days]
    reporting.aggregate()
    rewrite(paths[0], usual(1500))
    rewrite(paths[1], usual(2000))
    paths[3].unlink()
    assert reporting.aggregate()["warnings"] == [
        "The snapshot of 2025-11-07, which should never change, is gone since it was aggregated.",
        "The snapshot of 2025-11-09, which should never change, was replaced since it was aggregated.",
    ]
    assert reporting.outputs()["category"].splitlines() == [
        "2025-11-08|Free Time|400",
        "2025-11-08|News_Sport|600",
        "2025-11-09|Free Time|400",
        "2025-11-09|News_Sport|1600",
        "2025-11-10|Free Time|400",
        "2025-11-10|News_Sport|1100",
    ]
    before = reporting.files()
    assert reporting.aggregate()["warnings"] == []
    assert reporting.files() == before


@pytest.mark.parametrize("excluded", [("escudo",), ()])
def test_another_list_of_excluded_services_makes_every_day_anew(
    reporting: Reporting, excluded: tuple[str, ...]
) -> None:
    """R16."""
    reporting.keep(BEFORE, G9)
    reporting.keep(DAY, usual())
    reporting.aggregate()
    assert reporting.aggregate(settings=Settings(excluded_services=excluded))["written"] == 2
    other = Reporting(reporting.root / "other")
    other.keep(BEFORE, G9)
    other.keep(DAY, usual())
    other.aggregate(settings=Settings(excluded_services=excluded))
    assert reporting.outputs() == other.outputs()
    same = Settings(excluded_services=tuple(reversed(excluded)))
    assert reporting.aggregate(settings=same)["written"] == 0


@pytest.mark.parametrize("change", ["removed", "altered", "cut", "touched"])
def test_an_output_that_is_not_as_it_was_left_is_made_anew(reporting: Reporting, change: str) -> None:
    """R16: incremental work needs the files it goes on from."""
    reporting.keep(DAY, usual())
    reporting.aggregate()
    contents = {name: content for name, content in reporting.contents().items() if name != LEDGER}
    output = reporting.lake.user_base / "user_base_by_service.csv"
    altered = {
        "altered": output.read_bytes().replace(b"600", b"700"),
        "cut": output.read_bytes()[:-4],
        "touched": output.read_bytes(),
    }
    output.unlink()
    if change in altered:
        output.write_bytes(altered[change])
    warnings = reporting.aggregate()["warnings"]
    told = [
        f"{output.parent}: user_base_by_service.csv is not as it was left; the three files are made anew from every "
        "snapshot."
    ]
    assert warnings == ([] if change == "touched" else told)
    assert {name: content for name, content in reporting.contents().items() if name != LEDGER} == contents
    before = reporting.files()
    assert reporting.aggregate()["warnings"] == []
    assert reporting.files() == before


LEDGERS = [
    "",
    "[]",
    "{}",
    '{"definition": 1, "snapshots": [], "outputs": {}}',
    '{"definition": "x", "snapshots": {"a": [1]}',
]


@pytest.mark.parametrize("content", LEDGERS)
def test_a_damaged_ledger_makes_every_day_anew_with_a_warning(reporting: Reporting, content: str) -> None:
    """Section 6, R53 h."""
    reporting.keep(DAY, usual())
    reporting.aggregate()
    outputs = {name: content for name, content in reporting.files().items() if name != LEDGER}
    ledger = reporting.lake.root / LEDGER
    ledger.write_text(content)
    assert reporting.aggregate()["warnings"] == [
        f"{ledger} is damaged; the three files are made anew from every snapshot."
    ]
    assert {name: content for name, content in reporting.files().items() if name != LEDGER} == outputs
    assert reporting.aggregate()["warnings"] == []


POOL = (
    usual(),
    usual(5000),
    G9,
    snapshot((1, "A|B", "x", 1), (10, "z", "", 2)),
    snapshot((1, "Nubico", "Kids", 9)),
    snapshot(*((40000 + number, f"Servicio {number % 7}", "Sports", number) for number in range(50)), end="\r\n"),
    b"<html>",
    b"",
)
STEP = st.dictionaries(st.integers(0, 5), st.one_of(st.none(), st.integers(0, len(POOL) - 1)), min_size=1, max_size=3)


@settings(max_examples=30)
@given(st.lists(STEP, min_size=1, max_size=5))
def test_following_changes_gives_the_bytes_that_reading_everything_gives(steps: list[dict[int, int | None]]) -> None:
    """R16: snapshots that come, change, go bad and go, in any order."""
    with tempfile.TemporaryDirectory() as folder:
        followed, whole = Reporting(Path(folder, "followed")), Reporting(Path(folder, "whole"))
        for step in steps:
            for number, content in step.items():
                for each in (followed, whole):
                    path = each.keep(DAY - timedelta(days=number), b"")
                    path.unlink()
                    if content is not None:
                        path.write_bytes(POOL[content])
            (whole.lake.root / LEDGER).unlink(missing_ok=True)
            assert _refused(followed) == _refused(whole)
            assert followed.outputs() == whole.outputs()


def _refused(reporting: Reporting) -> str:
    try:
        reporting.aggregate()
    except ContractViolation as fault:
        return fault.what
    return ""


def test_many_days_are_spliced_into_their_places(reporting: Reporting) -> None:
    """R16: the lines of a day stand between those of its neighbours, which need not be there."""
    chance = random.Random(1)
    days = [date(2022, 11, 14) + timedelta(days=number) for number in range(0, 300, 2)]
    for day in days:
        rows = [
            (chance.randrange(9000, 11000), f"S{chance.randrange(99)}", "x", chance.randrange(99)) for _ in range(30)
        ]
        reporting.keep(day, snapshot(*rows))
    reporting.aggregate()
    for day in (days[0] - timedelta(days=9), days[0], days[70], days[70] + timedelta(days=1), days[-1], DAY):
        path = reporting.keep(day, b"")
        rewrite(path, snapshot((1, "New", "x", day.day), (99999, "Newer", "y", 1)))
    assert reporting.aggregate()["written"] == 6
    outputs = reporting.outputs()
    (reporting.lake.root / LEDGER).unlink()
    for name in ("service", "category", "cpc"):
        (reporting.lake.user_base / f"user_base_by_{name}.csv").unlink()
    reporting.aggregate()
    assert reporting.outputs() == outputs
    assert outputs["service"].splitlines() == sorted(
        outputs["service"].splitlines(), key=lambda line: tuple(line.split("|")[:3])
    )


# --- all of it or nothing ---------------------------------------------------------------------------------------------


def test_files_that_do_not_agree_on_a_total_are_not_written(reporting: Reporting) -> None:
    """R14: an earlier output was changed, and so was what the ledger says about it."""
    reporting.keep(BEFORE, usual())
    reporting.aggregate(BEFORE)
    output, ledger = reporting.lake.user_base / "user_base_by_cpc.csv", reporting.lake.root / LEDGER
    output.write_bytes(output.read_bytes().replace(b"600", b"601"))
    content = json.loads(ledger.read_text())
    content["outputs"][output.name] = [
        output.stat().st_size,
        output.stat().st_mtime_ns,
        hashlib.sha256(output.read_bytes()).hexdigest(),
    ]
    ledger.write_text(json.dumps(content))
    reporting.keep(DAY, usual())
    before = reporting.files()
    with pytest.raises(CheckFailed) as failed:
        reporting.aggregate()
    assert failed.value.what == (
        "user_base_by_cpc.csv and user_base_by_service.csv would not agree on the users of 2025-11-09; nothing was "
        "changed."
    )
    assert reporting.files() == before


def test_a_second_aggregation_is_refused_and_one_beside_the_download_waits(reporting: Reporting) -> None:
    """Section 6: two runs at once."""
    with locks.hold(reporting.lake.user_base_lock, "cvas_user_base"), pytest.raises(AlreadyRunning):
        reporting.aggregate()
    with locks.hold(reporting.lake.user_base_lock, "cvas_snapshot"), pytest.raises(StoreBusy):
        reporting.aggregate()
    assert reporting.files() == {}


def test_no_space_left_keeps_the_old_files(reporting: Reporting) -> None:
    """R69, section 6."""
    reporting.keep(BEFORE, usual())
    reporting.aggregate(BEFORE)
    reporting.keep(DAY, usual())
    before = reporting.files()

    full = DiskFull(".user_base_by_cpc.csv.tmp")
    assert isinstance(in_new_process(reporting.aggregate, full), StoreFull)
    assert reporting.files() == before


def test_a_kill_at_any_moment_is_finished_by_the_next_run(tmp_path: Path) -> None:
    """R17, R78: killed before every change of a name in the lake, until a run gets through. Each file is the old or the
    new one all the time; between the renames the next run says that it finished them."""

    def prepared(root: Path) -> Reporting:
        root.mkdir()
        reporting = Reporting(root)
        reporting.keep(BEFORE, usual(990))
        reporting.aggregate(BEFORE)
        reporting.keep(DAY, usual(1000))
        return reporting

    undisturbed = prepared(tmp_path / "undisturbed")
    old = undisturbed.outputs()
    undisturbed.aggregate()
    new = undisturbed.outputs()
    mixed = 0
    for attempt in range(1, 100):
        reporting = prepared(tmp_path / str(attempt))
        outcome = in_new_process(reporting.aggregate, Killed(str(reporting.lake.root), attempt))
        found = reporting.outputs()
        assert all(found[name] in (old[name], new[name]) for name in new)
        mixed += found not in (old, new)
        journaled = (reporting.lake.staging / "user_base" / JOURNAL).exists()
        warnings = reporting.aggregate()["warnings"]
        assert reporting.outputs() == new
        told = "while its files were put in place" if journaled else "before any of its files were in place"
        assert all(f"A run of the user base had been killed {told}" in warning for warning in warnings)
        assert warnings or found in (old, new)
        assert {name.partition("/")[0] for name in reporting.contents()} == {"User_Base", "_state"}
        before = reporting.files()
        reporting.aggregate()
        assert reporting.files() == before
        if outcome is None:
            assert attempt > 10
            assert mixed == 2
            return
        assert outcome == signal.SIGKILL
    pytest.fail("The aggregation never got through.")


# --- for the others ---------------------------------------------------------------------------------------------------


def test_the_newest_snapshot_until_a_day_is_found(reporting: Reporting) -> None:
    assert newest_snapshot(reporting.lake, DAY) is None
    first, second = reporting.keep(date(2025, 1, 31), usual()), reporting.keep(date(2025, 2, 2), usual())
    assert [newest_snapshot(reporting.lake, date(2025, 2, day)) for day in (1, 2, 28)] == [first, second, second]
    assert newest_snapshot(reporting.lake, date(2025, 1, 30)) is None


def test_a_snapshot_names_the_service_of_each_price_point(tmp_path: Path) -> None:
    """4.2, columns 42-43: categories as they stand there; no excluded service and no blank name."""
    path = tmp_path / "20251110_NBS_Base.csv"
    path.write_bytes(
        snapshot(
            (45336, " Noticias|Diarias ", " News ", 1),
            (45336, "Another", "Games", 9),
            (45335, "", "Games", 1),
            (45335, "Escudo Movil", "", 1),
            (45337, "Nubico Promo", "Kids", 9),
        )
    )
    frame = snapshot_services(path, Settings())
    assert frame.schema == {"cpc": pl.Int64, "service_name": pl.String, "tme_category": pl.String}
    assert frame.rows() == [(45335, "Escudo Movil", ""), (45336, "Noticias Diarias", "News")]


def test_users_by_price_point_are_read_back(reporting: Reporting) -> None:
    """4.2, column 44; R54."""
    schema = {"date": pl.Date, "cpc": pl.Int64, "user_base": pl.Int64}
    assert read_user_base_by_cpc(reporting.lake).schema == schema
    reporting.keep(DAY, usual())
    reporting.aggregate()
    frame = read_user_base_by_cpc(reporting.lake)
    assert frame.schema == schema
    assert frame.rows() == [(DAY, 45335, 600), (DAY, 46109, 400)]


@pytest.mark.parametrize("content", ["", "date|cpc\n", "date|cpc|User_Base\n2025-11-10|x|1\n", "<html>\n"])
def test_users_by_price_point_that_somebody_damaged_are_refused_and_can_be_made_anew(
    reporting: Reporting, content: str
) -> None:
    reporting.keep(DAY, usual())
    reporting.aggregate()
    (reporting.lake.user_base / "user_base_by_cpc.csv").write_text(content)
    with pytest.raises(ContractViolation, match=r"user_base_by_cpc\.csv cannot be read"):
        read_user_base_by_cpc(reporting.lake)
    reporting.aggregate()
    assert read_user_base_by_cpc(reporting.lake).height == 2


def test_the_columns_are_those_of_the_contract() -> None:
    """3.1."""
    assert HEADER == "cpc,content_provider,service_name,last_billed_amount,tme_category,channel_desc,count"


# --- what follows -----------------------------------------------------------------------------------------------------


def test_a_day_that_is_not_over_is_refused(reporting: Reporting) -> None:
    """R2, R4: also where nothing is downloaded."""
    reporting.keep(DAY, usual())
    for day in (TODAY, TODAY + timedelta(days=30)):
        with pytest.raises(RequestRefused, match=f"cvas: {day} is not over"):
            reporting.aggregate(day)
    assert reporting.outputs() == {}


def test_a_late_snapshot_tells_the_counted_days_whose_kpis_it_changes(reporting: Reporting) -> None:
    """R9, R54: those of its day and, for which it is the day before, of the next one."""
    lake, days = reporting.lake, [BEFORE, DAY]
    fill_lake(lake, {ACT: [act(), act(trans_date="2025-11-09 10:00:00", subscription_id=2)]})
    lake.mastercpc.write_text("cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Escudo,Free Time,30,5.36\n")
    reporting.keep(DAY, usual())
    assert reporting.aggregate()["warnings"] == []
    count_transactions(lake, days=days, day=DAY, now=NOW, settings=Settings())
    reporting.keep(BEFORE, usual())
    told = (
        "The counters do not know that days from {0} to 2025-11-10 have changed: trigger cvas_counters with "
        "start_date {0}, end_date 2025-11-10 and force."
    )
    assert reporting.aggregate(BEFORE)["warnings"] == [told.format(BEFORE)]
    assert reporting.aggregate(BEFORE)["warnings"] == []
    reporting.keep(BEFORE - timedelta(days=1), usual())
    assert reporting.aggregate(BEFORE - timedelta(days=1))["warnings"] == [
        told.format(BEFORE).replace(str(DAY), str(BEFORE))
    ]
    count_transactions(lake, days=days, day=DAY, now=NOW, settings=Settings(), force=True)
    kpis = (lake.counters / "Service_KPI.csv").read_text().splitlines()
    assert kpis[1:] == [
        "2025-11-09,Escudo,Free Time,400,400,1,0,5.36,1,0.0,0.0134",
        "2025-11-10,Escudo,Free Time,400,400,1,0,5.36,1,0.0,0.0134",
    ]
