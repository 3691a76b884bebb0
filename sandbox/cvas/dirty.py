"""The six daily files, as they should be and as they sometimes are.

``write_daily`` writes clean ones. ``spoil`` does one thing to one of them that really happens; ``spoil_day`` does to a
day what its turn in a hundred days brings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random

import numpy as np
import polars as pl

from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TYPES, TransactionType
from sandbox.cvas.draws import Draws
from sandbox.cvas.generator import Frames, Telecom

# In a hundred days: file defects, each on a day of its own.
A_HUNDRED_DAYS = {
    "swapped_columns": 3,
    "renamed_column": 2,
    "truncated_line": 2,
    "stale_content": 2,
    "latin_bytes": 1,
    "html_page": 1,
    "missing_type": 1,
    "corrected_again": 1,
}
# Every day: shares of the rows of every file.
ROW_DEFECTS = {"duplicate_rows": 0.002, "fractional_seconds": 0.001, "bad_numbers": 0.0002, "blank_ids": 0.0001}
EMPTY_DOWNLOADS_OF_FIVE_DAYS = 4

HTML = (
    "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1></body></html>\n"
)
NUMBERS = {ACT: "rev", RENO: "rev", DCT: "cpc", PPD: "rev", CNR: "cpc", RFND: "rfnd_amount"}


@dataclass(frozen=True)
class Damage:
    """What was done: to which type's file, to which lines (the header is line 1), in which column."""

    defect: str
    type_name: str
    lines: tuple[int, ...] = ()
    column: str = ""


def write_daily(folder: Path, events: Frames) -> None:
    """Write ``ACT.csv`` to ``RFND.csv`` as the fetch writes them, without a manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in TYPES:
        rows = events[kind.name]
        if "tef_prov" in rows.columns:
            number = pl.col("tef_prov")
            spelled = pl.when(number == 7).then(pl.lit("007")).otherwise(number.cast(pl.String))
            rows = rows.with_columns(tef_prov=spelled)
        if kind is RFND:
            rows = rows.with_columns(pl.col("refnd_date").dt.date())
        rows.write_csv(folder / f"{kind.name}.csv", datetime_format="%Y-%m-%d %H:%M:%S%.f", float_precision=2)


def corrected(events: Frames, *, seed: int = 1, changed: float = 0.01, removed: float = 0.005) -> Frames:
    """The same day delivered once more: of each type that has money some rows are changed, of all some are gone."""
    frames = {}
    for kind in TYPES:
        rows = events[kind.name]
        chance = pl.Series(Draws(seed).uniform(f"corrected {kind.name}", np.arange(rows.height)))
        amount = NUMBERS[kind]
        if amount != "cpc":
            dearer = (pl.col(amount) + 1).round(2)
            rows = rows.with_columns(pl.when(pl.lit(chance) < changed).then(dearer).otherwise(amount).alias(amount))
        frames[kind.name] = rows.filter(chance < 1 - removed)
    return frames


def spoil(folder: Path, defect: str, *, kind: TransactionType = RENO, seed: int = 1, share: float = 0.01) -> Damage:
    """Do one of the defects to the file of ``kind``; ``share`` is of its rows (at least one), where rows are damaged.

    Raises KeyError for a defect it does not know; stale and corrected content are other events, not another file.
    """
    random = Random(f"{seed} {defect} {kind.name}")
    if defect in ROW_DEFECTS:
        path = _file(folder, kind)
        rows = len(path.read_bytes().splitlines()) - 1
        return _damage_rows(path, kind, defect, max(1, round(rows * share)), random)
    return FILE_DEFECTS[defect](_file(folder, kind), kind, random)


def spoil_day(folder: Path, telecom: Telecom, day: date, *, seed: int = 1) -> list[Damage]:
    """Write the six files of ``day`` with what goes wrong on that day; what was done, in that order."""
    random = Random(f"{seed} {day}")
    defect = defect_of_day(day, seed=seed)
    events = telecom.events(day, day)
    done = []
    if defect == "stale_content":
        before = day - timedelta(days=1)
        events = telecom.events(before, before)
        done.append(Damage(defect, "all"))
    elif defect == "corrected_again":
        events = corrected(events, seed=seed)
        done.append(Damage(defect, "all"))
    if day.toordinal() % 5 < EMPTY_DOWNLOADS_OF_FIVE_DAYS:
        events = {**events, PPD.name: events[PPD.name].clear()}
    write_daily(folder, events)
    for name, share in ROW_DEFECTS.items():
        for kind in TYPES:
            rows = int(events[kind.name].height * share + random.random())
            if rows and events[kind.name].height:
                done.append(_damage_rows(_file(folder, kind), kind, name, rows, random))
    if defect in FILE_DEFECTS:
        kind = random.choice((ACT, RENO, DCT, CNR, RFND))
        done.append(FILE_DEFECTS[defect](_file(folder, kind), kind, random))
    return done


def defect_of_day(day: date, *, seed: int = 1) -> str | None:
    """The file defect whose turn it is, if any: each as often in a hundred days as it should be."""
    hundred, turn = divmod(day.toordinal(), 100)
    defects = [name for name, times in A_HUNDRED_DAYS.items() for _ in range(times)]
    turns = Random(f"{seed} {hundred}").sample(range(100), len(defects))
    return dict(zip(turns, defects, strict=True)).get(turn)


def _file(folder: Path, kind: TransactionType) -> Path:
    return folder / f"{kind.name}.csv"


# --- Rows ------------------------------------------------------------------------------------------------------------


def _damage_rows(path: Path, kind: TransactionType, defect: str, count: int, random: Random) -> Damage:
    header, *lines = path.read_text("utf-8").splitlines()
    columns = header.split(",")
    column = {
        "duplicate_rows": "",
        "fractional_seconds": kind.event_date,
        "bad_numbers": NUMBERS[kind],
        "blank_ids": kind.subscription,
    }[defect]
    chosen = sorted(random.sample(range(len(lines)), min(count, len(lines))))
    if defect == "duplicate_rows":
        lines += [lines[row] for row in chosen]
        chosen = list(range(len(lines) - len(chosen), len(lines)))
    for row in chosen:
        cells = lines[row].split(",")
        position = columns.index(column) if column else 0
        if defect == "fractional_seconds":
            cells[position] += ".500001" if ":" in cells[position] else " 00:00:00.500001"
        elif defect == "bad_numbers":
            cells[position] = random.choice(("n/a", "1.234.567", "5.36 EUR"))
        elif defect == "blank_ids":
            cells[position] = ""
        lines[row] = ",".join(cells)
    path.write_text("\n".join([header, *lines, ""]), "utf-8")
    return Damage(defect, kind.name, tuple(row + 2 for row in chosen), column)


# --- Files -----------------------------------------------------------------------------------------------------------


def _swap_columns(path: Path, kind: TransactionType, random: Random) -> Damage:
    """Two columns have changed places, names and values."""
    rows = [line.split(",") for line in path.read_text("utf-8").splitlines()]
    one, other = random.sample(range(len(rows[0])), 2)
    for row in rows:
        row[one], row[other] = row[other], row[one]
    path.write_text("".join(",".join(row) + "\n" for row in rows), "utf-8")
    return Damage("swapped_columns", kind.name, column=f"{rows[0][one]},{rows[0][other]}")


def _rename_column(path: Path, kind: TransactionType, random: Random) -> Damage:
    header, _, rest = path.read_text("utf-8").partition("\n")
    column = random.choice(kind.column_names)
    names = [f"{name}_new" if name == column else name for name in header.split(",")]
    path.write_text(f"{','.join(names)}\n{rest}", "utf-8")
    return Damage("renamed_column", kind.name, (1,), column)


def _truncate_line(path: Path, kind: TransactionType, random: Random) -> Damage:
    """The connection was lost in the middle of the last line."""
    content = path.read_bytes().rstrip(b"\n")
    last = content.rindex(b"\n") + 1
    path.write_bytes(content[: last + (len(content) - last) // 2])
    return Damage("truncated_line", kind.name, (content.count(b"\n") + 1,))


def _latin_bytes(path: Path, kind: TransactionType, random: Random) -> Damage:
    """A text of the file has an accent in a single-byte encoding."""
    header, *lines = path.read_bytes().splitlines()
    column = {
        ACT: "camp_name",
        RENO: "camp_name",
        DCT: "camp_name",
        PPD: "camp_name",
        CNR: "mode",
        RFND: "instant_rfnd",
    }[kind]
    row, position = random.randrange(len(lines)), kind.column_names.index(column)
    cells = lines[row].split(b",")
    cells[position] = "promoción".encode("cp1252")
    lines[row] = b",".join(cells)
    path.write_bytes(b"\n".join([header, *lines, b""]))
    return Damage("latin_bytes", kind.name, (row + 2,), column)


def _html_page(path: Path, kind: TransactionType, random: Random) -> Damage:
    path.write_text(HTML, "utf-8")
    return Damage("html_page", kind.name)


def _missing_type(path: Path, kind: TransactionType, random: Random) -> Damage:
    path.unlink()
    return Damage("missing_type", kind.name)


FILE_DEFECTS: dict[str, Callable[[Path, TransactionType, Random], Damage]] = {
    "swapped_columns": _swap_columns,
    "renamed_column": _rename_column,
    "truncated_line": _truncate_line,
    "latin_bytes": _latin_bytes,
    "html_page": _html_page,
    "missing_type": _missing_type,
}
