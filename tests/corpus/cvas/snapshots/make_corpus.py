"""Makes the snapshots beside this file; the name of each says what is wrong with it, or unusual.

    python -m tests.corpus.cvas.snapshots.make_corpus

Equal runs make equal files.
"""

from __future__ import annotations

from pathlib import Path

from include.cvas.snapshots import COLUMNS

FOLDER = Path(__file__).parent
HEADER = ",".join(COLUMNS)
ROWS = (
    "45335,ExampleMedia,Noticias Diarias,2.99,News,ACTIVE,600",
    "45336,ExampleMedia,Noticias Diarias,0.99,News,CCC-CR,100",
    "46109,Ventana,Escudo Movil,5.36,Free Time,ACTIVE,300",
)


def corpus() -> dict[str, bytes]:
    """The content of every file by its name without ``.csv``."""
    return {
        # no snapshot at all
        "zero bytes": b"",
        "header only": lines(),
        "header and blank lines": lines(*[""] * 20),
        "less than 100 bytes": lines("1,,X,,,,5"),
        "html page": b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n"
        b"<body><h1>The report server does not answer</h1></body></html>\n",
        "error text": b"ERROR: ORA-12541: TNS:no listener, the report NBS_Base could not be made on this host; "
        b"ask the owner of the database\n",
        "utf-16": "\n".join([HEADER, *ROWS, ""]).encode("utf-16"),
        # the wrong header
        "no header": lines(*ROWS[1:], header=ROWS[0]),
        "column renamed": lines(*ROWS, header=HEADER.replace("count", "users")),
        "column added": lines(*(f"{row},x" for row in ROWS), header=f"{HEADER},country"),
        "column removed": lines(
            *(row.replace(",ACTIVE", "") for row in ROWS), header=HEADER.replace(",channel_desc", "")
        ),
        "columns swapped": lines(*ROWS, header=HEADER.replace("cpc,content_provider", "content_provider,cpc")),
        "upper case header": lines(*ROWS, header=HEADER.upper()),
        "semicolons": lines(*(row.replace(",", ";") for row in ROWS), header=HEADER.replace(",", ";")),
        # the wrong end
        "last line without its columns": lines(*ROWS, "45335,ExampleMedia,Noti")[:-1],
        "last line without its end": lines(*ROWS)[:-2],
        # rows
        "count is no number": lines(*ROWS, "45337,ExampleMedia,X,2.99,News,ACTIVE,many"),
        "count is empty": lines(*ROWS[:2], "45337,ExampleMedia,X,2.99,News,ACTIVE,", ROWS[2]),
        "count is not finite": lines(*ROWS, "45337,ExampleMedia,X,2.99,News,ACTIVE,nan"),
        "count with a thousands separator": lines(*ROWS, '45337,ExampleMedia,X,2.99,News,ACTIVE,"1,499"'),
        "count too large": lines(*ROWS, f"45337,ExampleMedia,X,2.99,News,ACTIVE,{10**12}"),
        "cpc is no number": lines("all,ExampleMedia,X,2.99,News,ACTIVE,5", *ROWS),
        "cpc is empty": lines(*ROWS, ",ExampleMedia,X,2.99,News,ACTIVE,5"),
        "cpc with a fraction": lines(*ROWS, "45337.5,ExampleMedia,X,2.99,News,ACTIVE,5"),
        "total row at the end": lines(*ROWS, ",,,,,,1000"),
        "header in the middle": lines(*ROWS, HEADER, ROWS[0]),
        "comma without quotes": lines(*ROWS, "45337,ExampleMedia,Viajes, playas y +,2.99,News,ACTIVE,5"),
        "comma at the end of the lines": lines(*(f"{row}," for row in ROWS)),
        "quote that does not end": lines(*ROWS, '45337,ExampleMedia,"Viajes y +,2.99,News,ACTIVE,5', *ROWS),
        "text behind a quote": lines(*ROWS, '45337,ExampleMedia,"Viajes" y +,2.99,News,ACTIVE,5'),
        "fault below a name of two lines": lines(
            ROWS[0], '1,M,"Viajes,\ny ""+""",2.99,News,ACTIVE,5', "1,M,X,1,News,A,-"
        ),
        # unusual, and as it should be
        "all quoted": lines(*(quoted(row) for row in ROWS), header=quoted(HEADER)),
        "byte order mark": b"\xef\xbb\xbf" + lines(*ROWS),
        "windows line ends": lines(*ROWS).replace(b"\n", b"\r\n"),
        "old mac line ends": lines(*ROWS).replace(b"\n", b"\r"),
        "blank lines": lines(ROWS[0], "", *ROWS[1:], "  ", ""),
        "windows characters": lines(*ROWS).replace(b"Noticias Diarias", "Canción del Día €".encode("cp1252")),
        "characters of no code page": lines(*ROWS).replace(b"Noticias Diarias", b"Canci\xf3n \x81"),
        "quote inside of a name": lines(*ROWS).replace(b"Escudo Movil", b'Pantalla 5" y +'),
        "names of two lines": lines(*ROWS).replace(b"Escudo Movil", b'"Escudo,\r\n""Movil"""'),
        "bar inside of a name": lines(*ROWS).replace(b"Escudo Movil", b"Escudo|Movil"),
        "counts with a fraction": lines(*(f"{row}.0" for row in ROWS[:2]), f"{ROWS[2]}.99", "45335,,Neg,,,,-0.7"),
        "numbers with blanks": lines(*ROWS).replace(b"45335", b" 45335 ").replace(b"600", b" +600 "),
        "count with an exponent": lines(*ROWS, "45337,ExampleMedia,X,2.99,News,ACTIVE,1e3"),
        "cpc as a decimal number": lines(*ROWS).replace(b"45335", b"45335.0"),
        "blank names": lines(*ROWS, "45337,,,,,,5", '45338,,"  ",,"",,6'),
    }


def lines(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def quoted(row: str) -> str:
    return ",".join(f'"{cell}"' for cell in row.split(","))


def main() -> None:
    for old in FOLDER.glob("*.csv"):
        old.unlink()
    for name, content in corpus().items():
        (FOLDER / f"{name}.csv").write_bytes(content)


if __name__ == "__main__":
    main()
