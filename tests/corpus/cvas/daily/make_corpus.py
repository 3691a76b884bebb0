"""Makes the bad files of activations beside this file; the name of each says what is wrong with it.

    python -m tests.corpus.cvas.daily.make_corpus

Each is ``ACT.csv`` of 2025-11-10 and proper but for its defect. Equal runs make equal files.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

from include.cvas.contract import ACT
from tests.unit.cvas_helpers import act, csv_text

FOLDER = Path(__file__).parent


def corpus() -> dict[str, bytes]:
    """The content of every file by its name without ``.csv``."""
    good = csv_text(ACT, [act(subscription_id=n) for n in (1, 2, 3)])
    header, *rows = good.splitlines()
    texts = {
        # no such file at all
        "empty": "",
        "html error page": "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head></html>\n",
        "semicolons": good.replace(",", ";"),
        "other line ends": good.replace("\n", "\r"),
        # cut off
        "cut off in the header": header[:40],
        "cut off in a row": good[:-60],
        "cut off in the last value": good[:-2],
        # the header
        "no header": good.partition("\n")[2],
        "columns in upper case": good.replace(header, header.upper()),
        "column renamed": good.replace("subscription_id", "sub_id"),
        "column removed": "\n".join(line.rpartition(",")[0] for line in (header, *rows)) + "\n",
        "column added": "\n".join(f"{line},note" for line in (header, *rows)) + "\n",
        "column doubled": "\n".join(f"{line},cpc" for line in (header, *rows)) + "\n",
        # the lines
        "blank line in the middle": good.replace("\n", "\n\n").replace("\n\n", "\n", 1),
        "blank line at the end": good + "\n",
        "fewer columns in a row": good.replace(rows[1], rows[1].rpartition(",")[0]),
        "delimiter at the end of rows": "\n".join((header, *(f"{row}," for row in rows))) + "\n",
        "decimal comma": good.replace("5.36", "5,36"),
        "quote not closed": good.replace(rows[1], rows[1].replace("campana,", '"campana,')),
        "quote in the middle": good.replace(rows[1], rows[1].replace("campana,", 'camp"ana,')),
        "total at the end": f"{good}Total,16.08\n",
        # the rows
        "another day": _rows(3, trans_date="2025-11-09 16:08:22"),
        "some rows of another day": good
        + "\n".join(csv_text(ACT, [act(trans_date="2025-11-11")]).splitlines()[1:])
        + "\n",
        "rows of another type": _half(trans_type_id=2),
        "bad numbers": _half(rev="5.36 EUR"),
        "bad dates": _half(trans_date="10/11/2025 16:08"),
        "ids missing": _half(subscription_id=None),
    }
    return {
        **{name: text.encode() for name, text in texts.items()},
        "latin-1": good.replace(rows[1], rows[1].replace("campana,", "promoción,")).encode("latin-1"),
        "utf-16": good.encode("utf-16"),
        "compressed": _compressed(good.encode()),
    }


def _rows(count: int, **values: Any) -> str:
    return csv_text(ACT, [act(**{"subscription_id": number, **values}) for number in range(count)])


def _half(**values: Any) -> str:
    """Twelve rows, the first six of them with these values."""
    return csv_text(ACT, [act(**{"subscription_id": n, **(values if n < 6 else {})}) for n in range(12)])


def _compressed(content: bytes) -> bytes:
    """As gzip.compress, whose header is another one in Python 3.13."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def main() -> None:
    for name, content in corpus().items():
        (FOLDER / f"{name}.csv").write_bytes(content)


if __name__ == "__main__":
    main()
