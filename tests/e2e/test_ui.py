"""The web UI as operators see it in a browser: what they look for is there, what they fill in arrives."""

import re
from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from include.commercial_log.config import ZONE
from sandbox.browser import PATIENCE, chromium, operator

from .conftest import Station

IMPORT, UPDATE = "commercial_log_import", "commercial_log_update"
MONTH_CLOSE, RESTORE = "commercial_log_month_close", "commercial_log_restore"

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt install chromium)")
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def page(estate: Station) -> Iterator[Page]:
    """One browser for all tests: each goes where it wants to look."""
    with operator(estate.airflow, zone=ZONE.key) as page:
        yield page


@pytest.fixture(scope="module")
def night(estate: Station) -> dict[str, str]:
    """The newest import and update that succeeded, by DAG; made here if there was none yet."""

    def succeeded() -> dict[str, str]:
        runs = [run for dag_id in (IMPORT, UPDATE) for run in estate.airflow.api.runs(dag_id)]
        return {run["dag_id"]: run["dag_run_id"] for run in runs if run["state"] == "success"}

    if len(succeeded()) < 2:
        assert estate.import_and_update() == ("success", "success")
    return succeeded()


def show(page: Page, estate: Station, path: str) -> None:
    page.goto(f"{estate.airflow.url}/{path}")


def trigger_form(page: Page, estate: Station, dag_id: str) -> Locator:
    show(page, estate, f"dags/{dag_id}")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_role("heading", name=f"Trigger Dag - {dag_id}")).to_be_visible()
    return form


def field(form: Locator, title: str) -> Locator:
    """The group of a field's title, input and help."""
    return form.get_by_role("group").filter(has_text=re.compile(f"^{title}"))


def submit(form: Locator, dag_id: str) -> str:
    """Press the form's button; the id of the run to which the UI goes on."""
    form.get_by_role("button", name="Trigger", exact=True).click()
    form.page.wait_for_url(re.compile(rf"/dags/{dag_id}/runs/[^/]+$"))
    return form.page.url.rpartition("/")[2]


def log_of(page: Page, estate: Station, dag_id: str, run_id: str, task_id: str) -> Locator:
    show(page, estate, f"dags/{dag_id}/runs/{run_id}/tasks/{task_id}")
    return page.get_by_role("code").first


def test_the_form_starts_the_import_of_a_day_and_its_page_follows(page, estate):
    form = trigger_form(page, estate, IMPORT)
    expect(field(form, "Business day")).to_contain_text("Empty: the day of this run.")
    shrink = field(form, "Accept fewer than half of the earlier rows")
    expect(shrink).to_contain_text("Only when traffic confirms that the rows are really gone.")
    expect(shrink.get_by_role("checkbox")).not_to_be_checked()
    field(form, "Business day").get_by_role("textbox").fill(str(estate.world.day))
    known = estate.known(UPDATE)
    run_id = submit(form, IMPORT)
    assert estate.finish(IMPORT, run_id) == "success"
    expect(page.get_by_role("row").filter(has_text="copy_workbook")).to_contain_text("Success")
    run = estate.airflow.api.request("GET", f"dags/{IMPORT}/dagRuns/{run_id}")
    assert run["conf"] == {"date": str(estate.world.day), "allow_shrink": False}
    assert estate.finish(UPDATE, estate.next_run(UPDATE, known)) == "success"


def test_the_tag_lists_the_dags_of_the_system(page, estate):
    show(page, estate, "dags")
    page.get_by_role("combobox", name="Filter Dags by tag").fill("commercial_log")
    page.get_by_role("option", name="commercial_log").click()
    page.wait_for_url("**/dags?tags=commercial_log")
    known = sorted(dag_id for dag_id in estate.airflow.api.dag_ids() if dag_id.startswith("commercial_log_"))
    expect(page.get_by_role("heading", name=f"{len(known)} Dags")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile(r"^commercial_log_"))).to_have_text(known)


@pytest.mark.parametrize(
    ("dag_id", "states"),
    [
        (IMPORT, {"copy_workbook": "Success"}),
        (UPDATE, {"load_bookings": "Success", "classify_grid": "Skipped"}),
    ],
)
def test_grid_and_graph_show_the_state_of_every_task(page, estate, night, dag_id, states):
    show(page, estate, f"dags/{dag_id}/runs/{night[dag_id]}")
    page.get_by_role("button", name="Show Grid").click()
    for task, state in states.items():
        page.get_by_test_id(f"grid-{night[dag_id]}-{task}").hover()
        expect(page.get_by_role("tooltip").filter(has_text=f"Task ID: {task}")).to_contain_text(f"State: {state}")
        page.mouse.move(0, 0)  # the tooltip covers the next task
    page.get_by_role("button", name="Show Graph").click()
    graph = page.get_by_role("application")
    expect(graph.get_by_test_id("state-badge")).to_have_text(list(states.values()), ignore_case=True)
    expect(graph.get_by_role("link", name=re.compile("_"))).to_have_text(list(states))
    labels = [f"Edge from {before} to {after}" for before, after in pairwise(states)]
    edges = graph.get_by_role("img", name="Edge from")
    expect(edges).to_have_count(len(labels))
    assert [edge.get_attribute("aria-label") for edge in edges.all()] == labels


@pytest.mark.parametrize(
    ("dag_id", "task_id", "does"),
    [
        (IMPORT, "copy_workbook", "Publish the dated workbook of the run's day."),
        (UPDATE, "load_bookings", "Markets, month replacement, categories and languages in one transaction."),
    ],
)
def test_dag_and_task_explain_themselves(page, estate, dag_id, task_id, does):
    show(page, estate, f"dags/{dag_id}")
    page.get_by_role("button", name="Dag Docs").click()
    docs = page.get_by_role("dialog")
    expect(docs.get_by_role("strong")).to_have_text(["Reads", "Writes", "Re-run", "If it fails"])
    show(page, estate, f"dags/{dag_id}/tasks/{task_id}")
    page.get_by_role("button", name="Documentation").click()
    expect(docs).to_contain_text(does)


def test_the_log_shows_the_line_operators_search_for(page, estate, night):
    """R52"""
    log = log_of(page, estate, UPDATE, night[UPDATE], "load_bookings")
    expect(log).to_contain_text(re.compile(r"SUCCESS \| Duration: [\d.]+s \| Batch: weekly_update_\d+ \| rows: \d+"))


def test_the_asset_shows_what_its_newest_event_did(page, estate, night):
    [*_, event] = estate.airflow.api.asset_events("commercial_log.curated.spots")
    show(page, estate, "assets")
    page.get_by_role("link", name="commercial_log.curated.spots").click()
    expect(page.get_by_text(f"Partition Key: {event['partition_key']}").first).to_be_visible()
    counts = page.locator(".monaco-editor").first
    counts.locator(".codicon-folding-collapsed").first.click()
    for name in ("read", "written", "rejected"):
        expect(counts).to_contain_text(re.compile(rf'"{name}":\s*{event["extra"][name]},'))


def test_the_operations_page_shows_how_far_every_store_is_and_what_failed(page, estate, night):
    [*_, event] = estate.airflow.api.asset_events("commercial_log.curated.spots")
    refused = estate.run(MONTH_CLOSE, months=["Jan-01"], closed_by="A. Ledger")
    assert refused == "failed"
    show(page, estate, "")
    page.get_by_role("link", name="Operations").click()
    shown = page.frame_locator("iframe")
    store = shown.get_by_role("row").filter(has_text="commercial_log.curated.spots")
    counts = [f"{event['extra'][name]:,}" for name in ("read", "written", "rejected")]
    expect(store.get_by_role("cell")).to_contain_text(
        ["commercial_log.curated.spots", str(estate.world.day), event["partition_key"], "", *counts, "", UPDATE]
    )
    expect(shown.get_by_role("link", name=MONTH_CLOSE)).to_be_visible()
    store.get_by_role("link", name=UPDATE).click()
    page.wait_for_url(re.compile(rf"/dags/{UPDATE}/runs/[^/]+$"))
    expect(page.get_by_role("button", name="Show Graph")).to_be_visible()


def test_the_operations_page_is_for_those_who_are_logged_in(estate):
    assert httpx.get(f"{estate.airflow.url}/operations/", timeout=60, trust_env=False).status_code == 401


def test_months_are_typed_one_per_line_and_a_refusal_is_read_in_the_log(page, estate):
    """R36"""
    form = trigger_form(page, estate, MONTH_CLOSE)
    expect(form.get_by_role("button", name="Trigger", exact=True)).to_be_disabled()
    expect(field(form, "Months")).to_contain_text("One per line, like Sep-25.")
    field(form, "Months").get_by_role("textbox").fill("Jan-01\nFeb-01")
    field(form, "Closed by").get_by_role("textbox").fill("A. Ledger")
    run_id = submit(form, MONTH_CLOSE)
    run = estate.airflow.api.request("GET", f"dags/{MONTH_CLOSE}/dagRuns/{run_id}")
    assert run["conf"] == {"months": ["Jan-01", "Feb-01"], "closed_by": "A. Ledger", "notes": None}
    assert estate.finish(MONTH_CLOSE, run_id) == "failed"
    log = log_of(page, estate, MONTH_CLOSE, run_id, "close_months")
    expect(log).to_contain_text("Jan-01")


def test_a_restore_has_to_be_confirmed(page, estate):
    """R50: the form lets nobody in by mistake, and everybody who means it."""
    form = trigger_form(page, estate, RESTORE)
    run_id = submit(form, RESTORE)
    assert estate.finish(RESTORE, run_id) == "failed"
    log = log_of(page, estate, RESTORE, run_id, "restore_database")
    expect(log).to_contain_text("Next step: Give confirm if that is what you want.")

    form = trigger_form(page, estate, RESTORE)
    confirm = field(form, "Yes, replace the database")
    confirm.get_by_text("Yes, replace the database").click()
    expect(confirm.get_by_role("checkbox")).to_be_checked()
    expect(form.get_by_role("button", name="Trigger", exact=True)).to_be_enabled()
