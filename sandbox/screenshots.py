"""``python -m sandbox screenshots FOLDER``: the pictures of the documents, taken from a running Airflow."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

from sandbox.airflow import Airflow, AirflowError
from sandbox.browser import operator
from sandbox.commercial_log.estate import CommercialLog
from sandbox.demo import running_estate

IMPORT, UPDATE = "commercial_log_import", "commercial_log_update"


def main(arguments: list[str]) -> int:
    """Start an estate of its own, let three nights pass, take the pictures."""
    parser = ArgumentParser(prog="python -m sandbox screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="estate-") as state,
        running_estate(Path(state), [world := CommercialLog(Path(state) / "commercial_log", history=2_000)]) as (
            airflow,
            _,
        ),
    ):
        run_id = _three_nights(airflow, world)
        with operator(airflow, zone="America/Los_Angeles") as page:
            for name, show in (
                ("grid", _show_grid),
                ("graph", _show_graph),
                ("trigger-form", _show_trigger_form),
                ("asset-event", _show_asset_event),
            ):
                show(page, airflow.url, run_id)
                page.wait_for_load_state("networkidle")
                page.screenshot(path=folder / f"{name}.png", animations="disabled", caret="hide")
                print(f"- {folder / name}.png")
    return 0


def _three_nights(airflow: Airflow, world: CommercialLog) -> str:
    """Run the import of three days, oldest first; the update of the last."""
    airflow.wait_for_dags([IMPORT, UPDATE])
    for dag_id in airflow.api.dag_ids():
        airflow.api.unpause(dag_id)
    run_id = ""
    for age in (2, 1, 0):
        day = str(world.day - timedelta(days=age))
        airflow.api.trigger(IMPORT, {"date": day})
        run_id = airflow.api.wait_for_run(UPDATE, partition_key=day)["dag_run_id"]
        if (state := airflow.api.wait_run(UPDATE, run_id, timeout=300)) != "success":
            raise AirflowError(f"{UPDATE} of {day} ended as {state}")
    return run_id


def _show_grid(page: Page, url: str, run_id: str) -> None:
    page.goto(f"{url}/dags/{UPDATE}/runs/{run_id}")
    page.get_by_role("button", name="Show Grid").click()
    page.get_by_role("cell", name="load_bookings").wait_for()


def _show_graph(page: Page, url: str, run_id: str) -> None:
    page.goto(f"{url}/dags/{UPDATE}/runs/{run_id}")
    page.get_by_role("button", name="Show Graph").click()
    page.get_by_role("application").get_by_test_id("state-badge").first.wait_for()


def _show_trigger_form(page: Page, url: str, _: str) -> None:
    page.goto(f"{url}/dags/{IMPORT}")
    page.get_by_role("button", name="Show Grid").click()
    page.get_by_role("button", name="Trigger Dag").click()
    page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).wait_for()


def _show_asset_event(page: Page, url: str, _: str) -> None:
    page.goto(f"{url}/assets")
    page.get_by_role("link", name="commercial_log.curated.spots").click()
    page.get_by_role("button", name="Task Dependencies").click()
    page.get_by_role("application").get_by_role("link", name="load_bookings").wait_for()
    page.get_by_role("button", name="Fit View").click()
    page.locator(".monaco-editor .codicon-folding-collapsed").first.click()
