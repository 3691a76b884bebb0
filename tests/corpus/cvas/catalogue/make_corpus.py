"""Makes the catalogue workbooks beside this file; the name of each says what is wrong with it, or unusual.

    python -m tests.corpus.cvas.catalogue.make_corpus

Equal runs make workbooks of equal cells.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import openpyxl

FOLDER = Path(__file__).parent
HEADER = ("Provider", "TME Category", "Service Name", "CPC", "CPC to upgrade", "Subscription Model", "Price")
ROWS: tuple[Sequence[object], ...] = (
    ("ExampleMedia", "News", " Noticias Diarias ", 45335, None, "Weekly subscription", 0.99),
    ("Ventana", "Free Time", "Escudo Movil", 46109, "46110", "Monthly subscription", 5.36),
)


def corpus() -> dict[str, bytes]:
    """The content of every file by its name without ``.xlsx``."""
    good = workbook(*ROWS)
    return {
        # no workbook at all
        "zero bytes": b"",
        "html page": b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>\n",
        "comma separated text": ",".join(HEADER).encode(),
        "cut off": good[: len(good) // 2],
        # the wrong sheet
        "wrong sheet first": workbook(*ROWS, before=("Changes", ("who", "when", "what"))),
        "empty sheet": workbook(header=()),
        "title above the header": workbook(HEADER, *ROWS, header=("Catalogue of services",)),
        "column missing": workbook(*(row[:-1] for row in ROWS), header=HEADER[:-1]),
        "columns renamed": workbook(*ROWS, header=(*HEADER[:3], "Code", HEADER[4], "Model", "Price")),
        "column doubled": workbook(*((*row, 1) for row in ROWS), header=(*HEADER, "Price")),
        # rows
        "no row": workbook(),
        "no numeric cpc": workbook((None, "News", "X", "pending", None, "PPD", 1)),
        "rows without numeric cpc": workbook(
            *ROWS,
            (None, "News", "A", "pending", None, "PPD", 1),
            (None, "News", "B", None, None, "PPD", 1),
            (None,) * 7,
            (None, "News", "C", 45336.5, None, "PPD", 1),
            (None, "News", "D", True, None, "PPD", 1),
        ),
        "cpc in two rows": workbook(*ROWS, ("X", "Games", "Otro", 45335, None, "PPD", 9)),
        "prices that are none": workbook(
            *ROWS,
            (None, "News", "A", 1, None, "PPD", "0,99 €"),
            (None, "News", "B", 2, None, "PPD", -1),
            (None, "News", "C", 3, None, "PPD", True),
        ),
        # unusual, and as it should be
        "every model": workbook(
            *(
                (None, "Games", f"Juego {number}", number, None, model, number / 2)
                for number, model in enumerate(
                    (
                        *("PPD", "Weekly subscription", "Monthly subscription", "Trimonthly subscription"),
                        *(
                            "One day subscription",
                            None,
                            "Bimontly subscription",
                            "3 days",
                            "45 days",
                            "Other",
                            "Sesion",
                        ),
                        *(" weekly ", 45),
                    ),
                    1,
                )
            )
        ),
        "numbers as text": workbook(
            (None, "Games", "A", " 46111 ", None, "PPD", "2.5"), (None, "", "B", "7", "", "", "")
        ),
        "header with blanks": workbook(*ROWS, header=tuple(f" {each.replace(' ', '  ')} " for each in HEADER)),
        "second sheet": workbook(*ROWS, after=("Changes", ("who", "when", "what"))),
    }


def workbook(
    *rows: Sequence[object],
    header: Sequence[object] = HEADER,
    before: tuple[str, Sequence[object]] | None = None,
    after: tuple[str, Sequence[object]] | None = None,
) -> bytes:
    """A workbook with the sheet ``Catalogue`` and perhaps one before or after it."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for sheet in (before, ("Catalogue", header, *rows), after):
        if sheet:
            made = book.create_sheet(sheet[0])
            for row in sheet[1:]:
                made.append(list(row))  # type: ignore[arg-type]
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def main() -> None:
    for old in FOLDER.glob("*.xlsx"):
        old.unlink()
    for name, content in corpus().items():
        (FOLDER / f"{name}.xlsx").write_bytes(content)


if __name__ == "__main__":
    main()
