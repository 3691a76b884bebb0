"""Makes the bad monthly archives beside this file; the name of each says what is wrong with it.

    python -m tests.corpus.commercial_log.archives.make_archives

Equal runs make equal files.
"""

from __future__ import annotations

import io
import zipfile
from datetime import date
from pathlib import Path

from include.commercial_log.workbook import dated_name

FOLDER = Path(__file__).parent
# The days of the workbooks in each archive.
DAYS = (date(2025, 7, 9), date(2025, 7, 10))


def archives() -> dict[str, bytes]:
    """The content of every archive by its name without ``.zip``."""
    good = archive(zipfile.ZIP_STORED)
    return {
        "zero bytes": b"",
        "html error page": b"<!DOCTYPE html>\n<html><head><title>507 Insufficient Storage</title></head></html>\n",
        "cut off": good[: len(good) * 2 // 3],
        "a byte of a workbook lost": _damaged(good),
        "a byte of a compressed workbook lost": _damaged(archive(zipfile.ZIP_DEFLATED)),
        "encrypted by a flipped bit": good.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"),
        "header of a workbook lost": good.replace(b"PK\3\4", b"\0\0\0\0"),
    }


def archive(compression: int) -> bytes:
    """An archive nothing is wrong with."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for day in DAYS:
            package.writestr(zipfile.ZipInfo(dated_name(day)), f"bookings of {day}, " * 20, compression)
    return buffer.getvalue()


def _damaged(content: bytes) -> bytes:
    """The same with the first byte of the last member changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        info = package.infolist()[-1]
    first = info.header_offset + 30 + len(info.filename)
    return content[:first] + b"\xff" + content[first + 1 :]


def main() -> None:
    for old in FOLDER.glob("*.zip"):
        old.unlink()
    for name, content in archives().items():
        (FOLDER / f"{name}.zip").write_bytes(content)


if __name__ == "__main__":
    main()
