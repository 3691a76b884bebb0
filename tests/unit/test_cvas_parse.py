"""One CSV of transactions becomes typed rows, rejects and warnings (R5, R21, R25-R27; section 3.3, 6)."""

from __future__ import annotations

import csv
import io
import os
import random
import threading
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.cvas import parse
from include.cvas.config import Settings
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TransactionType
from include.cvas.parse import check_rejects, parse_in_blocks, parse_transactions
from include.errors import ContractViolation, SourceMissing
from tests.unit.cvas_helpers import (
    DAY,
    PHONE,
    USER,
    Row,
    act,
    at,
    cnr,
    csv_text,
    dct,
    frame,
    ppd,
    reno,
    rfnd,
)

CNR_HEADER = "cancel_date,sbn_id,tmuserid,cpc,mode\n"
CNR_ROW = f"2025-11-10 12:00:00,900001,{USER},46109,CCC-CR\n"
REFETCH = "Get the file again from its source, then clear the task."


class Folder:
    """Where the files of a test lie, as in the lake."""

    def __init__(self, root: Path) -> None:
        self.path = root / str(DAY)
        self.path.mkdir()

    def file(self, content: str | bytes, kind: TransactionType = CNR) -> Path:
        path = self.path / f"{kind.name}.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def parse(self, content: str | bytes, kind: TransactionType = CNR, **options: object) -> parse.Parsed:
        return parse_transactions(self.file(content, kind), kind, **options)  # type: ignore[arg-type]

    def refusal(self, content: str | bytes, kind: TransactionType = CNR, **options: object) -> ContractViolation:
        with pytest.raises(ContractViolation) as refused:
            self.parse(content, kind, **options)
        assert USER not in str(refused.value)
        assert PHONE not in str(refused.value)
        return refused.value


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# --- what is in order -----------------------------------------------------------------------------------------------


def test_every_type_is_read_as_agreed(folder: Folder) -> None:
    """Section 3.3, R26: the whole row, typed."""
    proper: dict[TransactionType, list[Row]] = {
        ACT: [act(), act(tmuserid="0340000000000000018", trans_date="2025-11-10 21:00:02.250000", rev=0.0)],
        RENO: [reno(act_date="2009-03-01 10:00:00"), reno(msisdn=None, cpc=None, rev=None)],
        DCT: [dct(channel_dct="CCC-CR"), dct(channel_dct=None, reno_date=None)],
        PPD: [ppd(), ppd(subscription_id=None)],
        CNR: [cnr(mode="SMS-CR")],
        RFND: [rfnd(instant_rfnd="t"), rfnd(sbnid=None, rfnd_amount=-1.5, instant_rfnd=None)],
    }
    for kind, rows in proper.items():
        parsed = folder.parse(csv_text(kind, rows), kind, days=(DAY, DAY))
        assert parsed.frame.equals(frame(kind, rows))
        assert dict(parsed.frame.schema) == kind.schema()
        assert (parsed.read, parsed.rejected, parsed.rejects.height) == (len(rows), 0, 0)
        assert parsed.where == f"cvas {kind.name}: 2025-11-10/{kind.name}.csv"


def test_a_file_with_a_header_only_has_no_rows(folder: Folder) -> None:
    """Section 3.3: normal for PPD."""
    for kind in (PPD, ACT):
        parsed = folder.parse(csv_text(kind, []), kind, days=(DAY, DAY))
        assert (parsed.frame.height, dict(parsed.frame.schema)) == (0, kind.schema())
        assert (parsed.read, parsed.rejected, parsed.warnings) == (0, 0, [])


def test_columns_go_by_name_whatever_their_order(folder: Folder) -> None:
    """R25: the original loaded swapped columns silently."""
    rows = [act(), act(subscription_id=2, act_date="2025-01-01 00:00:00", reno_date=None)]
    shuffled = random.Random(5).sample(ACT.column_names, len(ACT.column_names))
    assert folder.parse(csv_text(ACT, rows, columns=shuffled), ACT).frame.equals(frame(ACT, rows))


def test_nothing_and_empty_text_and_the_word_null_are_null(folder: Folder) -> None:
    """Section 3.3, in columns of every kind."""
    for null in ("", '""', "NULL", "null", '"NULL"'):
        parsed = folder.parse(
            f"{','.join(ACT.column_names)}\n{USER},{null},{null},1,{null},{null},2025-11-10,{null},{null},"
            f"{null},{null},{null},{null},1,{null}\n",
            ACT,
        )
        values = {name: value for name, value in parsed.frame.row(0, named=True).items() if value is not None}
        assert values == {
            "tmuserid": USER,
            "trans_type_id": 1,
            "trans_date": datetime(2025, 11, 10),  # noqa: DTZ001 - as stored
            "subscription_id": 1,
        }
        assert parsed.warnings == [f"{parsed.where}: 1 rows without cpc, kept."]


def test_leading_zeros_of_user_ids_stay_and_those_of_providers_go(folder: Folder) -> None:
    """Section 3.3."""
    row = folder.parse(csv_text(ACT, [act(tmuserid="0000000000000000007", tef_prov="007")]), ACT).frame.row(
        0, named=True
    )
    assert (row["tmuserid"], row["tef_prov"]) == ("0000000000000000007", 7)


def test_text_in_quotes_is_what_is_between_them(folder: Folder) -> None:
    """Section 3.3: PostgreSQL's rules."""
    texts = ["a,b", 'say "no"', "two\nlines", '"', " padded ", "'", "\\N", "Ñandú ☎", "null and void", "\u2028", "#1"]
    parsed = folder.parse(csv_text(CNR, [cnr(mode=text) for text in texts]))
    assert parsed.frame["mode"].to_list() == texts


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(folder: Folder) -> None:
    """Files placed by hand (R24)."""
    rows = [cnr(), cnr(mode="a,b"), cnr(mode=None)]
    text = csv_text(CNR, rows)
    for content in (text.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + text.encode()):
        assert folder.parse(content).frame.equals(frame(CNR, rows))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-11-10 21:00:02", "2025-11-10 21:00:02"),
        ("2025-11-10", "2025-11-10 00:00:00"),
        ("2025-11-10 21:00:02.5", "2025-11-10 21:00:02.500000"),
        ("2025-11-10 21:00:02.000001", "2025-11-10 21:00:02.000001"),
        ("2024-02-29 23:59:59", "2024-02-29 23:59:59"),
        # The hour that daylight saving leaves out: the feed has no zone.
        ("2025-03-30 02:30:00", "2025-03-30 02:30:00"),
        ("1999-12-31 00:00:00", "1999-12-31 00:00:00"),
    ],
)
def test_times_have_two_forms_and_keep_their_fractions(folder: Folder, text: str, expected: str) -> None:
    """R26."""
    assert folder.parse(csv_text(CNR, [cnr(cancel_date=text)])).frame["cancel_date"].to_list() == [at(expected)]


def test_all_forms_of_times_may_stand_in_one_column(folder: Folder) -> None:
    """R26."""
    texts = ["2025-11-10", None, "2025-11-10 10:00:00", "2025-11-10 10:00:00.123", "2025-13-10"]
    parsed = folder.parse(csv_text(ACT, [act(act_date=text) for text in texts]), ACT)
    assert parsed.frame["act_date"].to_list() == [
        at("2025-11-10"),
        None,
        at("2025-11-10 10:00:00"),
        at("2025-11-10 10:00:00.123"),
    ]
    assert parsed.rejects.rows() == [(6, "act_date", "not a date or time", "2025-13-10")]


# --- rows that are rejected -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "2025-02-29 10:00:00",
        "2025-11-31",
        "2025-11-10 24:00:00",
        "2025-11-10 10:60:00",
        "2025-11-10 23:59:60",
        "2025-11-10 21:00:02.1234567",
        "2025-11-10 21:00:02.",
        "2025-11-10T21:00:02",
        "2025-11-10 21:00",
        "2025-11-10 21:00:02+01",
        "2025-11-10 ",
        " 2025-11-10",
        "2025-1-5 1:2:3",
        "+2025-11-10 10:00:00",
        "10/11/2025",
        "20251110",
        "infinity",
        "2025-11-1٠",
    ],
)
def test_what_is_no_time_rejects_its_row(folder: Folder, text: str) -> None:
    """R26, R27: in an event date as in an optional one; the original made it null."""
    for values in ({"trans_date": text}, {"reno_date": text}):
        [name] = values
        parsed = folder.parse(csv_text(ACT, [act(**values), act(subscription_id=2)]), ACT)
        assert parsed.rejects.rows() == [(2, name, "not a date or time", text)]
        assert parsed.frame["subscription_id"].to_list() == [2]


@pytest.mark.parametrize("text", ["x", "5.0", "1e3", " 5", "5 ", "1,5", "0x10", "9223372036854775808", "-", "٣", "1_0"])
def test_what_is_no_integer_rejects_its_row(folder: Folder, text: str) -> None:
    """R27."""
    parsed = folder.parse(csv_text(CNR, [cnr(cpc=text)]))
    assert parsed.rejects.rows() == [
        (2, "cpc", "not an integer", "***" if text == "9223372036854775808" else text),
    ]


@pytest.mark.parametrize("text", ["x", "nan", "NaN", "inf", "-Infinity", "1,5", " 5", "5€", "1e400", "1.2.3", "--1"])
def test_what_is_no_number_rejects_its_row(folder: Folder, text: str) -> None:
    """R27."""
    parsed = folder.parse(csv_text(RFND, [rfnd(rfnd_amount=text)]), RFND)
    assert parsed.rejects.rows() == [(2, "rfnd_amount", "not a number", text)]


def test_amounts_that_sums_cannot_hold_are_rejected_and_smaller_ones_are_not(folder: Folder) -> None:
    """R27, R48: the view could not be built as long as such a row is in the lake."""
    rows = [rfnd(rfnd_amount=amount) for amount in ("1e12", "-1e12", "999999999999", "-999999999999")]
    parsed = folder.parse(csv_text(RFND, rows), RFND)
    assert parsed.rejects["row"].to_list() == [2, 3]
    assert parsed.frame["rfnd_amount"].to_list() == [999999999999.0, -999999999999.0]


def test_required_values_that_are_missing_reject_their_rows(folder: Folder) -> None:
    """R27, R28: the key is optional for RFND and PPD only; a refund without a date has no place in the lake."""
    required = {
        ACT: ["trans_type_id", "trans_date", "subscription_id"],
        DCT: ["trans_type_id", "trans_date", "subscription_id"],
        PPD: ["trans_type_id", "trans_date"],
        CNR: ["cancel_date", "sbn_id"],
        RFND: ["refnd_date", "rfnd_amount", "rfnd_cnt"],
    }
    proper = {ACT: act(), DCT: dct(), PPD: ppd(), CNR: cnr(), RFND: rfnd()}
    for kind, names in required.items():
        rows = [{**proper[kind], name: None} for name in kind.column_names]
        parsed = folder.parse(csv_text(kind, rows), kind)
        numbers = {name: 2 + number for number, name in enumerate(kind.column_names)}
        assert sorted(parsed.rejects.rows()) == sorted((numbers[name], name, "missing", None) for name in names)
        assert parsed.frame.height == len(rows) - len(names)


def test_a_row_of_another_type_is_rejected(folder: Folder) -> None:
    """R27: trans_type_id must fit."""
    parsed = folder.parse(csv_text(ACT, [act(), act(trans_type_id=2), act(trans_type_id="1")]), ACT)
    assert parsed.rejects.rows() == [(3, "trans_type_id", "not 1, the type of ACT", "2")]
    assert parsed.frame.height == 2


def test_rejects_name_line_column_and_reason_and_hide_numbers_of_subscribers(folder: Folder) -> None:
    """R5, R27: lines are those of the file, also where a text has several."""
    rows = [
        act(camp_name="two\nlines", cpc="x" * 50),
        act(),
        act(rev=f"{PHONE}x", trans_date=None, trans_type_id="one"),
        act(subscription_id="9" * 20),
    ]
    parsed = folder.parse(csv_text(ACT, rows), ACT)
    assert parsed.rejects.to_dicts() == [
        {"row": 2, "column": "cpc", "reason": "not an integer", "value": "x" * 40},
        {"row": 5, "column": "trans_type_id", "reason": "not an integer", "value": "one"},
        {"row": 5, "column": "trans_date", "reason": "missing", "value": None},
        {"row": 5, "column": "rev", "reason": "not a number", "value": "***x"},
        {"row": 6, "column": "subscription_id", "reason": "not an integer", "value": "***"},
    ]
    assert (parsed.read, parsed.rejected, parsed.frame.height) == (4, 3, 1)


def test_what_was_kept_all_the_same_is_counted(folder: Folder) -> None:
    """R27: money must not disappear; rejected rows are not counted twice."""
    rows = [
        act(tmuserid=None),
        act(cpc=None, tmuserid=""),
        act(channel_id="abc", tef_prov="7a"),
        act(channel_id="4.5"),
        act(channel_id="x", cpc=None, rev="x"),
    ]
    parsed = folder.parse(csv_text(ACT, rows), ACT)
    assert parsed.warnings == [
        f"{parsed.where}: 2 rows with a channel_id that is not an integer, which is left empty.",
        f"{parsed.where}: 1 rows with a tef_prov that is not an integer, which is left empty.",
        f"{parsed.where}: 1 rows without cpc, kept.",
        f"{parsed.where}: 2 rows without tmuserid, kept.",
    ]
    assert parsed.frame["channel_id"].to_list() == [45, 45, None, None]
    assert parsed.frame["tef_prov"].to_list() == [7, 7, None, 7]
    assert parsed.rejected == 1


@pytest.mark.parametrize(
    ("rows", "rejected", "fails"),
    [(6, 5, False), (6, 6, True), (10_000, 10, False), (10_000, 11, True), (5_999, 6, True)],
)
def test_a_few_rejects_are_accepted_and_more_are_not(folder: Folder, rows: int, rejected: int, *, fails: bool) -> None:
    """R27: more than max(5 rows, 0.1 %)."""
    parsed = folder.parse(csv_text(CNR, [cnr(cpc="x" if n < rejected else 1) for n in range(rows)]))
    if not fails:
        check_rejects(parsed, Settings())
        return
    with pytest.raises(ContractViolation) as refused:
        check_rejects(parsed, Settings())
    allowed = max(5, rows // 1000)
    assert refused.value.what == (
        f"cvas CNR: 2025-11-10/CNR.csv: {rejected:,} of {rows:,} rows rejected, {allowed:,} allowed; the first is line "
        "2, column 'cpc', not an integer: 'x'."
    )
    check_rejects(parsed, Settings(max_reject_rows=rejected))
    check_rejects(parsed, Settings(max_reject_share=1.0))


def test_a_strict_reader_stops_at_the_first_bad_row(folder: Folder) -> None:
    """R59."""
    refused = folder.refusal(csv_text(ACT, [act(), act(rev=f"{PHONE} EUR"), act(cpc="x")]), ACT, strict=True)
    assert refused.what == "cvas ACT: 2025-11-10/ACT.csv, line 3, column 'rev': not a number: '*** EUR'."
    assert refused.next_step == "Correct the row or take it out, then start again."
    missing = folder.refusal(csv_text(ACT, [act(trans_date=None)]), ACT, strict=True)
    assert missing.what == "cvas ACT: 2025-11-10/ACT.csv, line 2, column 'trans_date': missing."
    # Lenient columns stay lenient.
    assert folder.parse(csv_text(ACT, [act(tef_prov="x")]), ACT, strict=True).frame["tef_prov"].to_list() == [None]


# --- files that are none --------------------------------------------------------------------------------------------


def header(*, without: str = "", rename: str = "", more: str = "") -> str:
    names = [name for name in CNR.column_names if name != without]
    return ",".join([name.upper() if name == rename else name for name in names] + ([more] if more else [])) + "\n"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (header(without="mode"), ": the header is not as agreed, columns missing: mode."),
        (header(rename="mode"), ": the header is not as agreed, columns missing: mode; unknown: MODE."),
        (header(more="note"), ": the header is not as agreed, columns unknown: note."),
        (header(more="cpc"), ": the header is not as agreed, columns there more than once: cpc."),
        (header(more=""), None),
        (header(more=" "), ": the header is not as agreed, columns unknown:  ."),
        (header(more=f"{PHONE}"), ": the header is not as agreed, columns unknown: ***."),
        (header().replace(",", ";"), ": the first line has none of the agreed columns."),
        (header().replace(",", "\t"), ": the first line has none of the agreed columns."),
        ("\n" + header(), ": the first line has none of the agreed columns."),
        (CNR_ROW, ": the first line has none of the agreed columns."),
        ("<!DOCTYPE html>\n<html></html>\n", ": the first line has none of the agreed columns."),
        (header().rstrip("\n"), ": it is empty or has no complete header line."),
        ("", ": it is empty or has no complete header line."),
        (header().encode("utf-16"), ": the header is no line of a CSV in UTF-8."),
        ('"' + header(), ": the header is no line of a CSV in UTF-8."),
    ],
)
def test_the_header_is_exactly_the_agreed_columns(folder: Folder, content: str | bytes, what: str | None) -> None:
    """R25, section 6: what differs is named."""
    if what is None:
        assert folder.parse(content).read == 0
    else:
        assert folder.refusal(content).what == f"cvas CNR: 2025-11-10/CNR.csv{what}"


MIDDLE = "a quote stands in the middle of a field or is not closed"
LAYOUT = [
    # (content after the header, line, what)
    (CNR_ROW.rstrip("\n"), 2, "the row has no end, the file is cut off"),
    (CNR_ROW + "2025-11-10 12:00:00,9000", 3, "the row has no end, the file is cut off"),
    (CNR_ROW * 3 + "2025-11-10 12:00:00,900001\n", 5, "2 fields instead of 5"),
    (CNR_ROW + CNR_ROW.replace("\n", ",\n"), 3, "6 fields instead of 5"),
    (CNR_ROW + "\n" + CNR_ROW, 3, "1 fields instead of 5"),
    (CNR_ROW + "\n", 3, "1 fields instead of 5"),
    (CNR_ROW.replace("CCC-CR", "a,b"), 2, "6 fields instead of 5"),
    (CNR_ROW.replace("CCC-CR", '"a\nb"') + "1,2\n", 4, "2 fields instead of 5"),
    (CNR_ROW.replace("CCC-CR", '"CCC'), 2, "the row has no end, the file is cut off"),
    (CNR_ROW.replace("CCC-CR", '"CCC') + CNR_ROW, 2, "the row has no end, the file is cut off"),
    (CNR_ROW.replace("CCC-CR", '"CCC') + CNR_ROW.replace("CCC-CR", '"x"'), 3, MIDDLE),
    (CNR_ROW.replace("CCC-CR", 'a"b"'), 2, MIDDLE),
    (CNR_ROW + CNR_ROW.replace("CCC-CR", '"a"b'), 3, MIDDLE),
    (CNR_ROW.replace("CCC-CR", '""a'), 2, MIDDLE),
    (CNR_ROW.replace("CCC-CR", 'a""'), 2, MIDDLE),
    (CNR_ROW.replace("46109", ' "46109"'), 2, MIDDLE),
    (CNR_ROW.encode() * 2 + CNR_ROW.replace("CCC", "Ñ").encode("latin-1"), 4, "the byte 0xd1 is not UTF-8"),
    (CNR_ROW.replace("\n", "\r").encode() + b"\n", 2, None),
]


@pytest.mark.parametrize(("content", "line", "what"), LAYOUT)
def test_lines_that_are_no_rows_are_named(folder: Folder, content: str | bytes, line: int, what: str | None) -> None:
    """Section 6; a fast reader fills short lines, drops long ones, and takes stray quotes for text."""
    data = CNR_HEADER.encode() + (content if isinstance(content, bytes) else content.encode())
    if what is None:
        assert folder.parse(data).read == 1
        return
    refused = folder.refusal(data)
    assert refused.what == f"cvas CNR: 2025-11-10/CNR.csv, line {line}: {what}."
    assert refused.next_step == REFETCH


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing) as missing:
        parse_transactions(tmp_path / "RENO.csv", RENO)
    assert missing.value.what == f"cvas RENO: {tmp_path.name}/RENO.csv is not there."


def test_events_of_another_day_are_refused_with_what_was_found(folder: Folder) -> None:
    """R21: the original loaded the file of another day unnoticed."""
    first, last = "2025-11-10 00:00:00", "2025-11-10 23:59:59.999999"
    proper = csv_text(CNR, [cnr(cancel_date=last), cnr(cancel_date=first)])
    assert folder.parse(proper, days=(DAY, DAY)).read == 2
    for other in ("2025-11-09 23:59:59.999999", "2025-11-11 00:00:00"):
        found = sorted([first, other])
        refused = folder.refusal(csv_text(CNR, [cnr(cancel_date=first), cnr(cancel_date=other)]), days=(DAY, DAY))
        assert refused.what == (
            f"cvas CNR: 2025-11-10/CNR.csv: its events are of {found[0]} to {found[1]}, not of 2025-11-10."
        )
        assert refused.next_step == "Fetch CNR of 2025-11-10 again."
    span = (date(2025, 11, 9), date(2025, 11, 11))
    assert folder.parse(csv_text(CNR, [cnr(cancel_date="2025-11-11 23:59:59")]), days=span).read == 1
    assert (
        "not of 2025-11-09 to 2025-11-11."
        in folder.refusal(csv_text(CNR, [cnr(cancel_date="2025-11-12")]), days=span).what
    )


# --- any content, any size ------------------------------------------------------------------------------------------

CELLS = st.text(st.sampled_from('ab,"\n é\u2028#\\'), max_size=6)


def read_by_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


@given(
    st.lists(st.tuples(CELLS, CELLS), max_size=12),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 120),
)
def test_any_text_arrives_as_it_was_written_whatever_is_read_at_a_time(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]], quoting: int, end: str, block: int
) -> None:
    """Section 3.3, R59: a block may end anywhere."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(CNR.column_names)
    writer.writerows([["2025-11-10", str(number), user, "", mode] for number, (user, mode) in enumerate(texts)])
    file = tmp_path_factory.mktemp("day") / "CNR.csv"
    file.write_text(buffer.getvalue(), newline="", encoding="utf-8")
    longest = max(map(len, buffer.getvalue().encode().splitlines(keepends=True)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parse, "BLOCK", longest * 12 + block)
        parsed = parse_transactions(file, CNR)
    assert parsed.frame["tmuserid"].to_list() == [user or None for user, _ in texts]
    assert parsed.frame["mode"].to_list() == [mode or None for _, mode in texts]
    assert parsed.frame["sbn_id"].to_list() == list(range(len(texts)))
    assert parsed.read == len(texts)


@given(st.data())
def test_a_damaged_file_is_refused_or_says_exactly_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Section 6: no row is dropped, completed or split unnoticed, whatever happens to the bytes."""
    text = CNR_HEADER + "".join(f'2025-11-10 12:00:0{n},{n},"0{n}",,"a,{n}""x"\n' for n in range(6))
    content = list(text)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(len(CNR_HEADER), len(content) - 1))
        length = data.draw(st.sampled_from([0, 1, 1, 5]))
        content[place : place + length] = data.draw(st.sampled_from(["", '"', ",", "\n", "x", '""', "é"]))
    damaged = "".join(content)
    file = tmp_path_factory.mktemp("day") / "CNR.csv"
    file.write_text(damaged, newline="", encoding="utf-8")
    refused = ""
    try:
        parsed = parse_transactions(file, CNR)
    except ContractViolation as error:
        refused = error.what
    if refused:
        assert refused.startswith(f"cvas CNR: {file.parent.name}/CNR.csv, line ")
        return
    _, *rows = read_by_csv(damaged)
    assert damaged.endswith("\n")
    assert all(len(row) == 5 for row in rows)
    assert parsed.read == len(rows)
    if not parsed.rejected:
        assert parsed.frame["tmuserid"].to_list() == [row[2] or None for row in rows]
        assert parsed.frame["mode"].to_list() == [row[4] or None for row in rows]


def test_a_file_cut_off_anywhere_is_refused_or_short_of_whole_rows(folder: Folder) -> None:
    """Section 6: truncated; what is short of whole rows differs from the manifest's count."""
    text = csv_text(ACT, [act(camp_name='a "b", c'), act(subscription_id=2)])
    whole = [end for end in range(len(text) + 1) if text[:end].endswith("\n")]
    for length in range(len(text)):
        if length in whole:
            assert folder.parse(text[:length], ACT).read == whole.index(length)
        else:
            folder.refusal(text[:length], ACT)


def test_a_large_file_is_read_in_parts_that_together_are_all_of_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R59: lines are counted through."""
    rows = [cnr(sbn_id=n, mode=None if n % 7 else 'x\n"y"', cpc="bad" if n in (3, 900) else n) for n in range(1_000)]
    file = folder.file(csv_text(CNR, rows))
    whole = parse_transactions(file, CNR)
    monkeypatch.setattr(parse, "BLOCK", 1_000)
    parts = list(parse_in_blocks(file, CNR, strict=False))
    assert len(parts) > 40
    together = parse_transactions(file, CNR)
    assert together.frame.equals(whole.frame)
    assert together.rejects.equals(whole.rejects)
    assert together.remarks == whole.remarks
    lines = [2 + n + sum(1 for each in range(n) if not each % 7) for n in (3, 900)]
    assert whole.rejects["row"].to_list() == lines
    with pytest.raises(ContractViolation, match=f"line {lines[0]}, column 'cpc'"):
        list(parse_in_blocks(file, CNR, strict=True))


def test_a_quote_that_swallows_more_than_a_block_is_refused_before_the_end(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R59: memory stays bounded; here the end never comes."""
    monkeypatch.setattr(parse, "BLOCK", 200)
    endless = folder.path / "CNR.csv"
    os.mkfifo(endless)
    refused, waited_in_vain = threading.Event(), []

    def write() -> None:
        with endless.open("wb") as stream:
            stream.write((CNR_HEADER + CNR_ROW + CNR_ROW.replace("CCC", '"') + CNR_ROW * 100).encode())
            stream.flush()
            waited_in_vain.append(not refused.wait(20))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(ContractViolation) as refusal:
            parse_transactions(endless, CNR)
    finally:
        refused.set()
        writer.join()
    assert refusal.value.what == "cvas CNR: 2025-11-10/CNR.csv, line 3: the row has no end, the file is cut off."
    assert waited_in_vain == [False]


def test_a_day_of_usual_size_is_read_exactly(folder: Folder) -> None:
    """Section 2: sums of 57,177 renewals."""
    rows = pl.DataFrame(
        {name: [None] * 57_177 for name in RENO.column_names}, schema=dict.fromkeys(RENO.column_names, pl.String)
    )
    numbers = pl.int_range(57_177, dtype=pl.Int64)
    rows = rows.with_columns(
        subscription_id=numbers.cast(pl.String),
        trans_type_id=pl.lit("2"),
        trans_date=pl.datetime(2025, 11, 10).dt.offset_by(pl.format("{}s", numbers)).dt.strftime("%Y-%m-%d %H:%M:%S"),
        rev=pl.lit("0.99"),
        cpc=pl.lit("46109"),
        tmuserid=pl.lit(USER),
    )
    rows.write_csv(folder.path / "RENO.csv")
    parsed = parse_transactions(folder.path / "RENO.csv", RENO, days=(DAY, DAY))
    assert (parsed.read, parsed.rejected, parsed.warnings) == (57_177, 0, [])
    assert parsed.frame["subscription_id"].sum() == 57_177 * 57_176 // 2
    assert round((parsed.frame["rev"] * 100).sum()) == 57_177 * 99
    assert parsed.frame["trans_date"].max() == at("2025-11-10 15:52:56")
