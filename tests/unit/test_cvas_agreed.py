"""What other systems rely on: the compression of files, text months, whole categories (R16, R30, R61, R65, R71)."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import polars as pl
import pytest

from include.cvas import user_base
from include.cvas.checks_transactions import check_transactions
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, DCT, PPD, RENO
from include.cvas.counters import count_transactions
from include.cvas.lake import partition_path
from include.cvas.music import FILE, extract_music
from include.cvas.user_base import aggregate_user_base
from include.errors import CheckFailed
from tests.unit.cvas_helpers import DAY, NOW, act, dct, fill_lake, reno
from tests.unit.cvas_view_helpers import subscription, write_view

CATALOGUE = "cpc,service_name,tme_category,cpc_period,cpc_price\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.snapshots.mkdir(parents=True)
    return lake


def test_the_counters_are_snappy(lake: Lake) -> None:
    """R71, 4.4."""
    lake.mastercpc.write_text(CATALOGUE + "46109,Escudo Movil,Free Time,30,5.36\n", encoding="utf-8")
    fill_lake(lake, {ACT: [act()]})
    count_transactions(lake, days=[DAY], day=DAY, now=NOW, settings=Settings(), force=False)
    with duckdb.connect() as engine:
        metadata = "SELECT DISTINCT compression FROM parquet_metadata(?)"
        assert engine.execute(metadata, [str(lake.counters / "Counters_CPC.parquet")]).fetchall() == [("SNAPPY",)]


def test_another_mapping_of_categories_makes_every_day_anew(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """R13, R16: also of days whose snapshot is the same; the file is that of a full recompute."""

    def aggregate() -> tuple[int | None, str]:
        result = aggregate_user_base(lake, day=DAY, now=NOW, settings=Settings())
        return result.written, (lake.user_base / "user_base_by_category.csv").read_text("utf-8")

    columns = "cpc,content_provider,service_name,last_billed_amount,tme_category,channel_desc,count\n"
    for day in ("20251109", "20251110"):
        rows = "45335,P,Cuentos,2.99,Kids,ACTIVE,5\n45336,P,Noticias,2.99,News,ACTIVE,7\n"
        (lake.snapshots / f"{day}_NBS_Base.csv").write_text(columns + rows, encoding="utf-8")
    header, days = "date|tme_category|User_Base\n", ("2025-11-09", "2025-11-10")
    assert aggregate() == (2, header + "".join(f"{day}|Kids|5\n{day}|News_Sport|7\n" for day in days))
    assert aggregate()[0] == 0
    monkeypatch.setitem(user_base.CATEGORIES, "kids", "News_Sport")
    assert aggregate() == (2, header + "".join(f"{day}|News_Sport|12\n" for day in days))


def test_months_that_readers_would_not_see_as_text_fail_the_check(tmp_path: Path) -> None:
    """R30, R61, R64: the first folder of that name on the way to a file is the one that readers see."""
    lake = Lake(tmp_path / "year_month=2025" / "lake")
    fill_lake(lake, {ACT: [act()], RENO: [reno()], DCT: [dct()]})
    with pytest.raises(CheckFailed) as failed:
        check_transactions(lake, day=DAY, now=NOW, today=DAY, settings=Settings())
    fault = "is not as agreed: readers see year_month as BIGINT instead of text."
    assert failed.value.what == (f"cvas: the check of the transactions failed: ACT {fault} RENO {fault} DCT {fault}")


def test_a_type_whose_partitions_are_empty_has_no_month_to_be_wrong(lake: Lake) -> None:
    """R61: the system before left such files behind."""
    fill_lake(lake, {ACT: [act()], RENO: [reno()], DCT: [dct()]})
    empty = partition_path(lake, PPD, "2025-11")
    empty.parent.mkdir(parents=True)
    pl.DataFrame(schema=PPD.schema()).write_parquet(empty)
    check_transactions(lake, day=DAY, now=NOW, today=DAY, settings=Settings())
    report = json.loads((lake.reports(DAY) / "transactions.json").read_text(encoding="utf-8"))
    assert report["types"]["PPD"]["year_month"] is None


def test_only_the_whole_category_is_music(lake: Lake) -> None:
    """R65: in any case; not one that merely has the word in it."""
    categories = ("Music", " mUSIC ", "Music Videos", "No Music", "Musical", "")
    rows = "".join(f"{cpc},S{cpc},{category},30,1\n" for cpc, category in enumerate(categories, start=1))
    lake.mastercpc.write_text(CATALOGUE + rows, encoding="utf-8")
    write_view(lake, [subscription(subscription_id=cpc, cpc_list=[cpc]) for cpc in range(1, 7)])
    result = extract_music(lake, day=DAY, now=NOW, settings=Settings())
    assert pl.read_csv(lake.reports(DAY) / FILE)["subscription_id"].to_list() == [1, 2]
    assert (result.facts["music_cpcs"], result.facts["subscriptions"]) == (2, 2)
