"""One CSV of transactions becomes typed rows, rows that were rejected, and what is to be said about it (R25-R27).

Columns go by their names. The layout is checked byte by byte before the rows are split, because a reader that is fast
is one that forgives: it fills lines that end early, and takes a stray quote for text.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING

from include.cvas.config import Settings
from include.cvas.contract import LARGEST_AMOUNT, Kind, TransactionType
from include.cvas.privacy import masked
from include.errors import ContractViolation, SourceMissing

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

# How much of a file is in memory at a time.
BLOCK = 1 << 24
SHOWN = 40
NULLS = ["", "NULL", "null"]
_NEWLINE, _RETURN, _QUOTE, _COMMA = b'\n\r",'
_SECONDS = "%Y-%m-%d %H:%M:%S"
# What chrono takes beyond this: single digits, signs, the 60th second, more digits than are kept.
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?)?$"
_NOT = {Kind.INTEGER: "not an integer", Kind.AMOUNT: "not a number", Kind.TIMESTAMP: "not a date or time"}
_REFETCH = "Get the file again from its source, then clear the task."


@dataclass(frozen=True)
class Parsed:
    """What a file, or a part of it, holds.

    ``frame``: the valid rows in file order, columns and types of the contract. ``rejects``: row (its line in the file),
    column, reason, value (masked), one per fault. ``remarks``: how often something was noted about rows that were kept.
    ``read`` counts all rows.
    """

    where: str
    frame: pl.DataFrame
    rejects: pl.DataFrame
    remarks: Counter[str]
    read: int

    @property
    def rejected(self) -> int:
        """How many rows were rejected, for one fault or several."""
        return self.rejects["row"].n_unique()

    @property
    def warnings(self) -> list[str]:
        return warnings_about(self.where, self.remarks)


def parse_transactions(
    file: Path, kind: TransactionType, *, days: tuple[date, date] | None = None, strict: bool = False
) -> Parsed:
    """All rows of a file; with ``days``, the first and the last, every event must lie in them (R21).

    Raises SourceMissing; ContractViolation naming type, file and line for what is no such file: header, encoding,
    quotes, number of fields, an incomplete last line, events outside of ``days``, and, if ``strict``, a rejected row.
    """
    import polars as pl

    parts = list(parse_in_blocks(file, kind, strict=strict))
    parsed = Parsed(
        where=parts[0].where,
        frame=pl.concat([part.frame for part in parts]),
        rejects=pl.concat([part.rejects for part in parts]),
        remarks=sum((part.remarks for part in parts), Counter()),
        read=sum(part.read for part in parts),
    )
    if days:
        _refuse_other_days(parsed, kind, *days)
    return parsed


def parse_in_blocks(file: Path, kind: TransactionType, *, strict: bool) -> Iterator[Parsed]:
    """The file part by part, at least one, so that its size does not matter; see :func:`parse_transactions`."""
    where = f"cvas {kind.name}: {file.parent.name}/{file.name}"
    try:
        with file.open("rb") as stream:
            columns = _header(stream.readline(BLOCK).removeprefix(b"\xef\xbb\xbf"), kind, where)
            rest, line, at_end = b"", 2, False
            while not at_end:
                data = stream.read(BLOCK)
                at_end = len(data) < BLOCK
                block = _Block(rest + data, line, where)
                rest = block.data[block.end :]
                block.check_fields(len(columns))
                if rest and (at_end or len(rest) > BLOCK):
                    raise _refused(block.where_is(block.end), "the row has no end, the file is cut off")
                yield _parse(block, columns, kind, where, strict=strict)
                line = block.line_at(block.end)
    except FileNotFoundError:
        raise SourceMissing(f"{where} is not there.", next_step=_REFETCH) from None


def warnings_about(where: str, remarks: Counter[str]) -> list[str]:
    """A sentence per remark about the rows of a file that were kept."""
    return [f"{where}: {count:,} rows {remark}." for remark, count in sorted(remarks.items())]


def check_rejects(parsed: Parsed, settings: Settings) -> None:
    """Raises ContractViolation if more rows were rejected than ``max_reject_rows`` and ``max_reject_share`` allow."""
    allowed = max(settings.max_reject_rows, int(settings.max_reject_share * parsed.read))
    if parsed.rejected > allowed:
        row, column, reason, value = parsed.rejects.row(0)
        raise _refused(
            parsed.where,
            f"{parsed.rejected:,} of {parsed.read:,} rows rejected, {allowed:,} allowed; the first is line {row}, "
            f"column '{column}', {reason}{f': {value!r}' if value else ''}",
            "See the day's folder _rejects for all of them; have the source corrected, or raise max_reject_rows on "
            "purpose.",
        )


def _refuse_other_days(parsed: Parsed, kind: TransactionType, first: date, last: date) -> None:
    found = parsed.frame[kind.event_date]
    earliest, latest = found.min(), found.max()
    begin, end = datetime.combine(first, time()), datetime.combine(last + timedelta(days=1), time())
    if isinstance(earliest, datetime) and isinstance(latest, datetime) and not begin <= earliest <= latest < end:
        asked = f"{first}" if first == last else f"{first} to {last}"
        raise _refused(
            parsed.where,
            f"its events are of {earliest} to {latest}, not of {asked}",
            f"Fetch {kind.name} of {asked} again.",
        )


def _refused(where: str, what: str, next_step: str = _REFETCH) -> ContractViolation:
    return ContractViolation(f"{where}: {what}.", next_step=next_step)


# --- layout -------------------------------------------------------------------------------------------------------


def _header(line: bytes, kind: TransactionType, where: str) -> list[str]:
    """The names of the columns in file order."""
    if not line.endswith(b"\n"):
        raise _refused(where, "it is empty or has no complete header line")
    try:
        names = next(csv.reader([line.decode("utf-8").rstrip("\r\n")], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        raise _refused(where, "the header is no line of a CSV in UTF-8") from None
    agreed = set(kind.column_names)
    missing = [name for name in kind.column_names if name not in names]
    if len(missing) == len(agreed):
        # Without a header the first line is a row, and not to be shown.
        raise _refused(where, "the first line has none of the agreed columns")
    unknown = [masked(name)[:SHOWN] for name in names if name not in agreed]
    doubled = sorted({name for name in names if names.count(name) > 1} & agreed)
    faults = (("missing", missing), ("unknown", unknown), ("there more than once", doubled))
    if any(columns for _, columns in faults):
        text = "; ".join(f"{fault}: {', '.join(columns)}" for fault, columns in faults if columns)
        raise _refused(where, f"the header is not as agreed, columns {text}", "Ask who runs the source what changed.")
    return names


class _Block:
    """Some bytes of a file, beginning with a record; ``end`` is where its last whole record ends."""

    def __init__(self, data: bytes, first_line: int, where: str) -> None:
        import numpy as np

        self.data = data
        self._first_line = first_line
        self._where = where
        characters = np.frombuffer(data, np.uint8)
        self._newlines = np.flatnonzero(characters == _NEWLINE)
        commas = np.flatnonzero(characters == _COMMA)
        quotes = np.flatnonzero(characters == _QUOTE)
        ends = self._newlines
        self._check_quotes(characters, quotes)
        # Mostly quotes are empty texts, with nothing between them.
        if quotes.size % 2 or (quotes[1::2] - quotes[::2] > 1).any():
            inside = np.cumsum(characters == _QUOTE, dtype=np.uint8) & 1
            ends, commas = ends[inside[ends] == 0], commas[inside[commas] == 0]
        self.records = int(ends.size)
        self.end = int(ends[-1]) + 1 if ends.size else 0
        self._starts = np.concatenate(([0], ends[:-1] + 1)) if ends.size else ends
        self._fields = np.diff(np.searchsorted(commas, ends), prepend=0) + 1
        self._check_encoding()

    def line_at(self, position: int) -> int:
        """The line of the file that a byte belongs to."""
        import numpy as np

        return self._first_line + int(np.searchsorted(self._newlines, position))

    def lines_of(self, records: NDArray[np.intp]) -> NDArray[np.intp]:
        """The lines where records begin, by their numbers in the block."""
        import numpy as np

        return self._first_line + np.searchsorted(self._newlines, self._starts[records])

    def where_is(self, position: int) -> str:
        return f"{self._where}, line {self.line_at(position)}"

    def check_fields(self, expected: int) -> None:
        wrong = self._fields != expected
        if wrong.any():
            record = int(wrong.argmax())
            raise _refused(
                self.where_is(int(self._starts[record])), f"{self._fields[record]} fields instead of {expected}"
            )

    def _check_quotes(self, characters: NDArray[np.uint8], quotes: NDArray[np.intp]) -> None:
        """A quote opens at the begin of a field and closes at its end, or is doubled."""
        import numpy as np

        opening, closing = quotes[::2], quotes[1::2]
        opening, closing = opening[opening > 0], closing[closing < characters.size - 1]
        opening = opening[~np.isin(characters[opening - 1], (_NEWLINE, _COMMA, _QUOTE))]
        closing = closing[~np.isin(characters[closing + 1], (_NEWLINE, _RETURN, _COMMA, _QUOTE))]
        if opening.size or closing.size:
            astray = int(np.concatenate((opening, closing)).min())
            raise _refused(self.where_is(astray), "a quote stands in the middle of a field or is not closed")

    def _check_encoding(self) -> None:
        try:
            self.data[: self.end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise _refused(
                self.where_is(error.start), f"the byte 0x{self.data[error.start]:02x} is not UTF-8"
            ) from None


# --- values -------------------------------------------------------------------------------------------------------


def _parse(block: _Block, columns: list[str], kind: TransactionType, where: str, *, strict: bool) -> Parsed:
    import polars as pl

    try:
        text = pl.read_csv(
            block.data[: block.end],
            has_header=False,
            schema=dict.fromkeys(columns, pl.String()),
            null_values=NULLS,
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError as error:
        raise _refused(block.where_is(0), f"cannot be split into rows ({type(error).__name__})") from None
    if text.height != block.records:
        raise _refused(block.where_is(0), f"{block.records:,} rows were split into {text.height:,}")
    typed = pl.DataFrame([_typed(text[column.name], column.kind) for column in kind.columns])
    faults = list(_faults(text, typed, kind))
    rejects = _rejects(block, text, faults)
    if strict and not rejects.is_empty():
        row, column, reason, value = rejects.row(0)
        raise _refused(
            f"{where}, line {row}, column '{column}'",
            f"{reason}{f': {value!r}' if value else ''}",
            "Correct the row or take it out, then start again.",
        )
    remarks = Counter[str]()
    if faults:
        bad = reduce(or_, (mask for _, _, mask in faults))
        text, typed = text.filter(~bad), typed.filter(~bad)
    for column in kind.columns:
        blank, unread = text[column.name].null_count(), typed[column.name].null_count()
        if column.lenient and unread > blank:
            remarks[f"with a {column.name} that is {_NOT[column.kind]}, which is left empty"] = unread - blank
        if blank and column.name in ("tmuserid", "cpc"):
            remarks[f"without {column.name}, kept"] = blank
    return Parsed(where, typed, rejects, remarks, block.records)


def _typed(text: pl.Series, kind: Kind) -> pl.Series:
    """The values of a column; null for what is none."""
    import polars as pl

    match kind:
        case Kind.TEXT:
            return text
        case Kind.INTEGER:
            return text.cast(pl.Int64, strict=False)
        case Kind.AMOUNT:
            amounts = text.cast(pl.Float64, strict=False)
            return _only(amounts, amounts.abs() < LARGEST_AMOUNT)
        case Kind.TIMESTAMP:
            times = text.str.to_datetime(_SECONDS, time_unit="us", strict=False)
            if times.null_count() > text.null_count():
                # Rare in all types but the refunds, and far slower.
                fractions = text.str.to_datetime(f"{_SECONDS}%.f", time_unit="us", strict=False)
                midnights = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
                times = pl.select(pl.coalesce(times, fractions, midnights)).to_series()
            return _only(times, text.str.contains(_TIME))


def _only(values: pl.Series, valid: pl.Series) -> pl.Series:
    import polars as pl

    return values if valid.all() else pl.select(pl.when(valid).then(values).alias(values.name)).to_series()


def _faults(text: pl.DataFrame, typed: pl.DataFrame, kind: TransactionType) -> Iterator[tuple[str, str, pl.Series]]:
    """Column, reason, and which rows; nothing for what is in order."""
    for column in kind.columns:
        raw, values = text[column.name], typed[column.name]
        if column.required and raw.null_count():
            yield column.name, "missing", raw.is_null()
        if not column.lenient and values.null_count() > raw.null_count():
            yield column.name, _NOT[column.kind], values.is_null() & raw.is_not_null()
        if column.name == "trans_type_id":
            other = (values != kind.trans_type_id).fill_null(value=False)
            if other.any():
                yield column.name, f"not {kind.trans_type_id}, the type of {kind.name}", other


def _rejects(block: _Block, text: pl.DataFrame, faults: list[tuple[str, str, pl.Series]]) -> pl.DataFrame:
    import polars as pl

    parts = [pl.DataFrame(schema={"row": pl.Int64, "column": pl.String, "reason": pl.String, "value": pl.String})]
    for column, reason, mask in faults:
        rows = mask.arg_true()
        values = [None if value is None else masked(value)[:SHOWN] for value in text[column].gather(rows)]
        parts.append(
            pl.DataFrame({"row": block.lines_of(rows.to_numpy())}, schema={"row": pl.Int64}).with_columns(
                pl.lit(column).alias("column"),
                pl.lit(reason).alias("reason"),
                pl.Series("value", values, dtype=pl.String),
            )
        )
    return pl.concat(parts).sort("row", maintain_order=True)
