"""What the view says about price points (columns 42-44), as far as snapshots are in the way of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from include.common.journal import RunLog
from include.cvas.config import Settings
from include.cvas.services import describe_price_points
from tests.unit.cvas_snapshot_helpers import DAY, Reporting, usual


def test_two_snapshots_of_one_day_cost_only_the_names_that_the_catalogue_lacks(tmp_path: Path) -> None:
    """R10, section 6: the view is built all the same, with a warning that names both."""
    reporting = Reporting(tmp_path)
    reporting.keep(DAY, usual())
    old = reporting.keep(date(2023, 1, 1), usual())
    old.with_name("20230101_copy_NBS_Base.csv").write_bytes(usual())
    reporting.lake.mastercpc.write_text(
        "cpc,service_name,tme_category,cpc_period,cpc_price\n46109,Escudo Movil,Free Time,30,5.36\n"
    )
    run = RunLog()
    found = describe_price_points(reporting.lake, as_of=DAY, settings=Settings(), run=run)
    assert found.rows() == [(46109, "Escudo Movil", "Free Time", None)]
    assert len(run.warnings) == 1
    assert run.warnings[0].startswith("Price points that MASTERCPC.csv lacks stay UNKNOWN in the view: ")
    assert "20230101_NBS_Base.csv and 20230101_copy_NBS_Base.csv" in run.warnings[0]
