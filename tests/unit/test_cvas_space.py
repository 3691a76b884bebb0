"""Every step that writes asks for its space first (R69), and a disk that fills all the same is named (section 6)."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from include.common import files
from include.common.files import atomic_write
from include.common.shares import LocalShare
from include.cvas import counters
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.contract import ACT, RENO, RFND, TYPES
from include.cvas.counters import count_transactions
from include.cvas.fetch import fetch_transactions
from include.cvas.history import import_history
from include.cvas.lake import UNDATED, write_parquet
from include.cvas.load import load_transactions
from include.cvas.manifest import daily_file
from include.cvas.mastercpc import convert_catalogue
from include.cvas.monthly import write_reports
from include.cvas.music import extract_music
from include.cvas.refunds import repair_refunds
from include.cvas.snapshots import download_snapshot
from include.cvas.tables import write_csv
from include.cvas.user_base import aggregate_user_base
from include.cvas.view import build_subscriptions
from include.errors import StoreFull
from sandbox.servers.faults import small_disk
from tests.corpus.cvas.catalogue import make_corpus as catalogue
from tests.unit.cvas_helpers import (
    DAY,
    NOW,
    act,
    csv_text,
    data_hashes,
    file_hashes,
    fill_lake,
    reno,
    rfnd,
    write_day,
    write_legacy,
)
from tests.unit.cvas_snapshot_helpers import usual

SETTINGS = Settings()
YESTERDAY = DAY - timedelta(days=1)
PRICES = "cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Escudo Movil,Music,30,5.36\n"


@pytest.fixture(scope="module")
def _worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("worked")
    lake, host, old = Lake(root / "lake"), root / "host", root / "old"
    for folder in (lake.snapshots, host, old):
        folder.mkdir(parents=True)
    lake.mastercpc.write_text(PRICES)
    (lake.snapshots / f"{YESTERDAY:%Y%m%d}_NBS_Base.csv").write_bytes(usual())
    (host / "NBS_Base.csv").write_bytes(usual(1001))
    os.utime(host / "NBS_Base.csv", (NOW.timestamp() - 3600,) * 2)
    (old / "act_atlas.csv").write_text(csv_text(ACT, [act(trans_date="2025-10-01 10:00:00")]))
    before = f"{YESTERDAY} 10:00:00"
    fill_lake(lake, {ACT: [act(trans_date=before)], RENO: [reno(trans_date=before)]})
    build_subscriptions(lake, day=YESTERDAY, now=NOW, settings=SETTINGS)
    count_transactions(lake, days=[YESTERDAY], day=YESTERDAY, now=NOW, settings=SETTINGS)
    fill_lake(lake, {ACT: [act(subscription_id=2)]})
    write_legacy(lake, RFND, UNDATED, [rfnd()], name="data.parquet")
    write_day(lake, {ACT: [act(subscription_id=3)]})
    return root


def unreachable() -> nullcontext[None]:
    raise AssertionError("the source is not asked")


STEPS: dict[str, Callable[[Lake], object]] = {
    "snapshot": lambda lake: download_snapshot(
        nullcontext(LocalShare("host", lake.root.parent / "host")),
        lake,
        day=DAY,
        now=NOW,
        today=NOW.astimezone(ZONE).date(),
        settings=SETTINGS,
    ),
    "user base": lambda lake: aggregate_user_base(lake, day=DAY, now=NOW, settings=SETTINGS),
    "fetch": lambda lake: fetch_transactions(
        unreachable,  # type: ignore[arg-type]
        lake,
        day=DAY,
        types=TYPES,
        now=NOW,
        settings=SETTINGS,
    ),
    "load": lambda lake: load_transactions(lake, day=DAY, now=NOW, settings=SETTINGS),
    "view": lambda lake: build_subscriptions(lake, day=DAY, now=NOW, settings=SETTINGS),
    "counters": lambda lake: count_transactions(lake, days=[DAY], day=DAY, now=NOW, settings=SETTINGS),
    "refunds": lambda lake: repair_refunds(lake, day=DAY, now=NOW, settings=SETTINGS),
    "history": lambda lake: import_history(
        lake, lake.root.parent / "old", types=TYPES, day=DAY, now=NOW, settings=SETTINGS
    ),
    "mastercpc": lambda lake: convert_catalogue(
        catalogue.FOLDER / "second sheet.xlsx", lake, day=DAY, now=NOW, settings=SETTINGS
    ),
    "music": lambda lake: extract_music(lake, day=DAY, now=NOW, settings=SETTINGS),
    "monthly": lambda lake: write_reports(lake, day=DAY, now=NOW, settings=SETTINGS),
}


@pytest.fixture
def lake(tmp_path: Path, _worked: Path) -> Lake:
    """A lake in which every step has something to write."""
    return Lake(Path(shutil.copytree(_worked, tmp_path / "worked")) / "lake")


@pytest.mark.parametrize("step", STEPS)
def test_a_disk_with_too_little_space_is_refused_before_anything_is_written(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """R69."""
    before = data_hashes(lake)
    with monkeypatch.context() as patched:
        patched.setattr(files, "RESERVE", 10**18)
        with pytest.raises(StoreFull, match=r"bytes free, 1,000,[0-9,]+ are needed to go on; nothing was changed\."):
            STEPS[step](lake)
    assert data_hashes(lake) == before
    if step != "fetch":
        STEPS[step](lake)
        assert data_hashes(lake) != before


def test_a_load_needs_space_for_the_partitions_it_writes_anew(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """R34, R69: a day of a few rows rewrites its months."""
    monkeypatch.setattr(files, "RESERVE", 10**18)
    with pytest.raises(StoreFull) as full:
        STEPS["load"](lake)
    needed = re.search(r"free, ([\d,]+) are needed", full.value.what)
    assert needed
    daily = sum(daily_file(lake, DAY, kind).stat().st_size for kind in TYPES)
    months = sum(path.stat().st_size for path in lake.transactions.glob("*/year_month=2025-11/*"))
    assert months > 1000
    assert int(needed[1].replace(",", "")) == 10**18 + 2 * (daily + months)


def test_a_disk_that_fills_while_a_frame_is_written_is_named(tmp_path: Path) -> None:
    """Section 6: the library that writes says it in its own way, for CSV and for Parquet."""
    frame = pl.DataFrame({"a": range(50_000)}).with_columns(b=pl.col("a").hash().cast(pl.String))

    def writing_csv(path: Path) -> None:
        with atomic_write(path) as temporary:
            write_csv(frame, temporary)

    def writing_rejects(path: Path) -> None:
        with atomic_write(path) as temporary:
            frame.write_csv(temporary)

    with small_disk(tmp_path / "disk", 300_000) as disk:
        if not disk:
            pytest.skip("mounting is not allowed here")
        for write in (writing_csv, writing_rejects, lambda path: write_parquet(frame, path)):
            with pytest.raises(StoreFull, match=rf"^No space left for file in {disk}; nothing was changed\."):
                write(disk / "file")
            assert list(disk.iterdir()) == []


def test_a_disk_that_fills_while_counting_leaves_the_counters_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Section 6, R57."""
    monkeypatch.setattr(counters, "require_space", lambda *_: None)
    with small_disk(tmp_path / "disk", 3_000_000) as disk:
        if not disk:
            pytest.skip("mounting is not allowed here")
        lake = Lake(disk / "lake")
        rows = [act(cpc=40_000 + n, subscription_id=n, trans_date=f"2025-11-10 10:00:00.{n:06}") for n in range(9000)]
        fill_lake(lake, {ACT: [act(trans_date="2025-11-09 10:00:00"), *rows]})
        lake.mastercpc.write_text(PRICES)
        count_transactions(lake, days=[YESTERDAY], day=YESTERDAY, now=NOW, settings=SETTINGS)
        before = file_hashes(lake.counters)
        (disk / "ballast").write_bytes(bytes(max(0, shutil.disk_usage(disk).free - 120_000)))
        with pytest.raises(StoreFull, match=r"^No space left for Counters_(CPC\.parquet|Service\.csv) in "):
            count_transactions(lake, days=[DAY], day=DAY, now=NOW, settings=SETTINGS)
        assert file_hashes(lake.counters) == before
        assert not (lake.staging / "counters").exists()
