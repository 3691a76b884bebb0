"""The records of a small CSV text, and on which line each begins: what an error has to name."""

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

from include.errors import ContractViolation


class Record(NamedTuple):
    """Cells as they stand between the commas, quotes resolved; ``line`` is 1-based."""

    line: int
    cells: list[str]


def read_records(text: str, *, name: str) -> Iterator[Record]:
    """The header and the records below it, blank lines left out; errors call the text ``name``.

    Raises ContractViolation for a record that has not as many cells as the header, and for quotes that do not end.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise unreadable(f"{name}, line {line}: the quotes cannot be resolved ({error})", name) from None
        if cells is None:
            return
        if not any(map(str.strip, cells)) and len(cells) < 2:
            continue
        header = header or cells
        if len(cells) < len(header):
            missing = header[len(cells)].strip()
            what = f"the line ends after {len(cells)} of {len(header)} columns, before column '{missing}'"
            raise unreadable(f"{name}, line {line}: {what}", name)
        if len(cells) > len(header):
            what = f"{len(cells)} columns instead of {len(header)}, the first too many is column {len(header) + 1}"
            raise unreadable(f"{name}, line {line}: {what}", name)
        yield Record(line, cells)


def unreadable(what: str, name: str) -> ContractViolation:
    """The error for a file somebody has to correct."""
    return ContractViolation(
        f"{what}.", next_step=f"Correct {name} or get it again from where it came, then clear the task."
    )
