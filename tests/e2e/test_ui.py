"""The web UI as operators see it in a browser: what they look for is there, what they fill in arrives."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from sandbox.browser import PATIENCE, chromium, operator

from .conftest import Estate

IMPORT, UPDATE = "commercial_log_import", "commercial_log_update"
MONTH_CLOSE, RESTORE = "commercial_log_month_close", "commercial_log_restore"

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt install chromium)")
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def page(estate: Estate) -> Iterator[Page]:
    """One browser for all tests: each goes where it wants to look."""
    with operator(estate.airflow) as page:
        yield page


@pytest.fixture(scope="module")
def night(estate: Estate) -> dict[str, str]:
    """The newest import and update that succeeded, by DAG; made here if there was none yet."""

    def succeeded() -> dict[str, str]:
        runs = [run for dag_id in (IMPORT, UPDATE) for run in estate.airflow.api.runs(dag_id)]
        return {run["dag_id"]: run["dag_run_id"] for run in runs if run["state"] == "success"}

    if len(succeeded()) < 2:
        assert estate.import_and_update() == ("success", "success")
    return succeeded()


def show(page: Page, estate: Estate, path: str) -> None:
    page.goto(f"{estate.airflow.url}/{path}")


def trigger_form(page: Page, estate: Estate, dag_id: str) -> Locator:
    show(page, estate, f"dags/{dag_id}")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_role("heading", name=f"Trigger Dag - {dag_id}")).to_be_visible()
    return form


def field(form: Locator, title: str) -> Locator:
    """The group of a field's title, input and help."""
    return form.get_by_role("group").filter(has=form.page.get_by_text(title, exact=True))


def submit(form: Locator, dag_id: str) -> str:
    """Press the form's button; the id of the run to which the UI goes on."""
    form.get_by_role("button", name="Trigger", exact=True).click()
    form.page.wait_for_url(re.compile(rf"/dags/{dag_id}/runs/[^/]+$"))
    return form.page.url.rpartition("/")[2]


def test_the_form_starts_the_import_of_a_day_and_the_page_follows_it(page, estate):
    form = trigger_form(page, estate, IMPORT)
    expect(field(form, "Business day")).to_contain_text("Empty: the day of this run.")
    shrink = field(form, "Accept fewer than half of the earlier rows")
    expect(shrink).to_contain_text("Only when traffic confirms that the rows are really gone.")
    expect(shrink.get_by_role("checkbox")).not_to_be_checked()
    field(form, "Business day").get_by_role("textbox").fill(str(estate.world.today))
    known = estate.known(UPDATE)
    run_id = submit(form, IMPORT)
    expect(page.get_by_test_id("state-badge").first).to_have_text("Success")
    run = estate.airflow.api.request("GET", f"dags/{IMPORT}/dagRuns/{run_id}")
    assert run["conf"] == {"date": str(estate.world.today), "allow_shrink": False}
    assert estate.finish(UPDATE, estate.next_run(UPDATE, known)) == "success"


def test_the_tag_lists_the_dags_of_the_system(page, estate):
    show(page, estate, "dags")
    page.get_by_role("combobox", name="Filter Dags by tag").fill("commercial_log")
    page.get_by_role("option", name="commercial_log").click()
    expect(page.get_by_role("heading", name=re.compile(r"^\d+ Dags$"))).to_have_text("11 Dags")
    dag_ids = page.get_by_role("link", name=re.compile(r"^commercial_log_\w+$"))
    assert dag_ids.all_inner_texts() == sorted(estate.airflow.api.dag_ids())


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
    page.get_by_role("button", name="Show Graph").click()
    graph = page.get_by_role("application")
    for task, state in states.items():
        node = graph.locator(".react-flow__node").filter(has=page.get_by_role("link", name=task))
        expect(node).to_contain_text(state)
