"""Makes the bad files beside this file; the name of each says what is wrong with it, its folder what it stands for.

    python -m tests.corpus.cvas.inputs.make_corpus

Refunds and cancellations are those of 2025-11-10. Each file is proper but for its defect. Equal runs make equal files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from include.cvas.contract import ACT, CNR, RFND, TYPES
from tests.unit.cvas_helpers import PHONE, USER, act, cnr, csv_text, rfnd

FOLDER = Path(__file__).parent


def corpus() -> dict[str, bytes]:
    """The content of every file by its path below this folder."""
    folders: dict[str, Mapping[str, str | bytes]] = {
        "refunds": _refunds(),
        "cancellations": _cancellations(),
        "history": _history(),
        "partitions": _partitions(),
        "lake_state": _states(),
        "view_state": _states() | {"other fields.json": '{"as_of": "2025-12-31", "renewals": {}, "rows": 3}'},
        "manifests": _manifests(),
        "excluded_users": _excluded_users(),
        "music_cpcs": _music_cpcs(),
    }
    return {
        f"{folder}/{name}": content if isinstance(content, bytes) else content.encode()
        for folder, files in folders.items()
        for name, content in files.items()
    }


def _refunds() -> dict[str, str]:
    def half(**values: object) -> str:
        return csv_text(RFND, [rfnd(sbnid=number, **(values if number < 6 else {})) for number in range(12)])

    good = csv_text(RFND, [rfnd(sbnid=number) for number in (1, 2, 3)])
    return {
        "amount missing.csv": half(rfnd_amount=None),
        "amount with a currency.csv": half(rfnd_amount="3.69 EUR"),
        "another day.csv": good.replace("2025-11-10", "2025-11-09"),
        "count with a fraction.csv": half(rfnd_cnt="2.5"),
        "date missing.csv": half(refnd_date=None),
        "dates of another order.csv": half(refnd_date="10-11-2025"),
        "flag removed.csv": good.replace(",instant_rfnd", "").replace(",f\n", "\n"),
        "total at the end.csv": f"{good},,2025-11-10,11.07,9\n",
        "columns of cancellations.csv": csv_text(CNR, [cnr()]),
    }


def _cancellations() -> dict[str, str | bytes]:
    def half(**values: object) -> str:
        return csv_text(CNR, [cnr(**{"sbn_id": number, **(values if number < 6 else {})}) for number in range(12)])

    good = csv_text(CNR, [cnr(sbn_id=number) for number in (1, 2, 3)])
    return {
        "column named as in refunds.csv": good.replace("sbn_id", "sbnid"),
        "cut off in the mode.csv": good[:-3],
        "dates missing.csv": half(cancel_date=None),
        "hours of 24.csv": half(cancel_date="2025-11-10 24:00:00"),
        "latin-1.csv": good.replace("CCC-CR", "TELÉFONO", 1).encode("latin-1"),
        "midnight of the next day.csv": good
        + csv_text(CNR, [cnr(cancel_date="2025-11-11 00:00:00")]).partition("\n")[2],
        "subscriptions missing.csv": half(sbn_id=None),
        "subscriptions with a letter.csv": half(sbn_id="90000A"),
    }


def _history() -> dict[str, str | bytes]:
    rows = [act(subscription_id=number, trans_date=f"2025-0{number}-01 10:00:00") for number in (1, 2, 3)]
    good = csv_text(ACT, rows)
    last = good.splitlines()[-1]
    return {
        "amount with a comma.csv": csv_text(ACT, [*rows[:2], rows[2] | {"rev": "5,36"}]),
        "column removed.csv": good.replace(",channel_id", "").replace(",45,", ","),
        "cut off in the last row.csv": good[:-20],
        "date of another order.csv": csv_text(ACT, [*rows[:2], rows[2] | {"trans_date": "01/03/2025 10:00"}]),
        "empty.csv": "",
        "latin-1.csv": good.replace(last, last.replace("campana,", "promoción,")).encode("latin-1"),
        "quote not closed.csv": good.replace(last, last.replace("campana,", '"campana,')),
        "rows of renewals.csv": good.replace(last, last.replace(",1,45,", ",2,45,")),
        "subscription missing.csv": csv_text(ACT, [*rows[:2], rows[2] | {"subscription_id": None}]),
    }


def _partitions() -> dict[str, str | bytes]:
    return {
        "cut off.parquet": b"PAR1" + bytes(range(200)),
        "empty.parquet": b"",
        "html error page.parquet": "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head></html>\n",
        "rows as text.parquet": csv_text(ACT, [act()]),
        "zeros.parquet": bytes(400),
    }


def _states() -> dict[str, str | bytes]:
    return {
        "a list.json": "[]",
        "cut off.json": '{"change": 1, "days": {"2025-11-10": {"ACT": {"rows": 1, "so',
        "empty.json": "",
        "null.json": "null",
        "of no day.json": '{"change": 1, "days": {"2025-11-31": {}}, "partitions": {}, "as_of": "2025-11-31"}',
        "utf-16.json": json.dumps({"change": 1, "days": {}, "partitions": {}}).encode("utf-16"),
        "without anything.json": "{}",
        "zeros.json": bytes(40),
    }


def _manifests() -> dict[str, str | bytes]:
    entry = {"rows": 1, "bytes": 100, "sha256": "ab" * 32}
    whole = {kind.name: entry for kind in TYPES}
    return {
        "a list.json": "[]",
        "cut off.json": json.dumps(whole)[:60],
        "empty.json": "",
        "of other files.json": json.dumps(whole),
        "rows as text.json": json.dumps(whole | {"ACT": entry | {"rows": "1"}}),
        "time that is none.json": json.dumps(whole | {"ACT": entry | {"first_event": "2025-11-10T25:00"}}),
        "unknown field.json": json.dumps(whole | {"ACT": entry | {"checksum": "x"}}),
        "without hashes.json": json.dumps({name: {"rows": 1, "bytes": 100} for name in whole}),
    }


def _excluded_users() -> dict[str, str | bytes]:
    return {
        "as a spreadsheet leaves numbers.csv": "msisdn,tmuserid\n3.46E+10,3.4E+16\n",
        "comment at the top.csv": f"internal users\nmsisdn,tmuserid\n{PHONE},{USER}\n",
        "header and blank lines.csv": "msisdn,tmuserid\n\n,\n",
        "semicolons.csv": f"msisdn;tmuserid\n{PHONE};{USER}\n",
        "utf-16.csv": f"msisdn,tmuserid\n{PHONE},{USER}\n".encode("utf-16"),
        "zeros.csv": bytes(40),
    }


def _music_cpcs() -> dict[str, str | bytes]:
    return {
        "a header.txt": "cpc\n45530\n",
        "comma at the end.txt": "45530,\n",
        "decimal number.txt": "45530\n45531.0\n",
        "html error page.txt": "<!DOCTYPE html>\n",
        "negative.txt": "45530\n\n-1\n",
        "utf-16.txt": "45530\n".encode("utf-16"),
    }


def main() -> None:
    for name, content in corpus().items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
