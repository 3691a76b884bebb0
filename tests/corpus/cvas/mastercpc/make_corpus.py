"""Makes the lists of price points beside this file; the name of each says what is wrong with it, or unusual.

    python -m tests.corpus.cvas.mastercpc.make_corpus

Equal runs make equal files.
"""

from __future__ import annotations

from pathlib import Path

from include.cvas.mastercpc import LAYOUT_A, LAYOUT_B

FOLDER = Path(__file__).parent
A, B = ",".join(LAYOUT_A), ",".join(LAYOUT_B)
ROWS_A = (
    'Ritmo Latino,Music,35872,7,35357,30,0.99,"{35872, 35357}"',
    '"Bailes, Fiesta y Más",Music,,,44009,7,1.64,{44009}',
)
ROWS_B = ("46109,Escudo Movil,Free Time,30,5.36", "45335,Noticias Diarias,News,7,0.99")


def corpus() -> dict[str, bytes]:
    """The content of every file by its name without ``.csv``."""
    return {
        "zero bytes": b"",
        "html page": b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>\n",
        "layout a without rows": lines(A),
        "layout b without rows": lines(B),
        "unknown layout": lines("cpc,name,category", "46109,Escudo Movil,Free Time"),
        "layout b in upper case": lines(B.upper(), *ROWS_B),
        "layout a without its last column": lines(A.removesuffix(",CPCs"), "Ritmo Latino,Music,35872,7,35357,30,0.99"),
        "list that is not closed": lines(A, *ROWS_A, 'X,Music,,,1,7,0.99,"{1, 2"'),
        "list without braces": lines(A, ROWS_A[0], 'X,Music,,,1,7,0.99,"1, 2"'),
        "list of words": lines(A, 'X,Music,,,1,7,0.99,"{1, two}"', *ROWS_A),
        "list with a comma too many": lines(A, *ROWS_A, 'X,Music,,,1,7,0.99,"{1, }"'),
        "list within a list": lines(A, *ROWS_A, 'X,Music,,,1,7,0.99,"{1, {2}}"'),
        "list without quotes": lines(A, "X,Music,,,1,7,0.99,{1, 2}"),
        "free cpc is no number": lines(A, *ROWS_A, "X,Music,none,7,1,7,0.99,{1}"),
        "period is no number": lines(A, *ROWS_A, "X,Music,,,1,weekly,0.99,{1}"),
        "price with a comma": lines(A, *ROWS_A, 'X,Music,,,1,7,"0,99",{1}'),
        "price below zero": lines(B, *ROWS_B, "1,X,Music,7,-1.00"),
        "cpc is no number": lines(B, *ROWS_B, "all,X,Music,7,1.00"),
        "cpc is empty": lines(B, ROWS_B[0], ",X,Music,7,1.00", ROWS_B[1]),
        "cpc with a fraction": lines(B, *ROWS_B, "1.5,X,Music,7,1.00"),
        "comma without quotes": lines(B, *ROWS_B, "1,Bailes, Fiesta y Más,Music,7,1.00"),
        "line that is cut off": lines(B, *ROWS_B, "1,Bai")[:-1],
        "quote that does not end": lines(B, '1,"Bailes,Music,7,1.00', *ROWS_B),
        "latin characters": lines(B, *ROWS_B, "1,Canción,Music,7,1.00").decode().encode("latin-1"),
        # unusual, and as it should be
        "layout a": lines(
            A,
            *ROWS_A,
            " Viajes y + ,Free Time,,,,1,,{46000}",
            ",,,,46001,,,",
            'Sin Precio,Light,46002.0,3,46003,7.0,.5,"{ 46002.0,46003 }"',
        ),
        "layout b": lines(B, *ROWS_B, "45001, Tonos ,Images ,99999,", "45002,,,,1", "45003.0,Sin nada,,0.0,2."),
        "cpc in two rows": lines(B, *ROWS_B, "46109,Otro,Games,7,9.99", "45335,Otro,Games,7,9.99"),
        "line without cpc": lines(A, ROWS_A[0], "Sin CPC,Games,,,,7,1.00,{}"),
        "free cpc outside of the list": lines(A, 'X,Music,5,7,1,30,0.99,"{1, 2}"'),
        "byte order mark and windows line ends": b"\xef\xbb\xbf" + lines(B, *ROWS_B, "").replace(b"\n", b"\r\n"),
    }


def lines(*rows: str) -> bytes:
    return "\n".join([*rows, ""]).encode()


def main() -> None:
    for old in FOLDER.glob("*.csv"):
        old.unlink()
    for name, content in corpus().items():
        (FOLDER / f"{name}.csv").write_bytes(content)


if __name__ == "__main__":
    main()
