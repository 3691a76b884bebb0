"""The Chromium that is installed on this machine, signed in to an Airflow as its operator."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, sync_playwright

from sandbox.airflow import Airflow

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 60_000  # ms, for a machine that is busy with the rest of the estate


def chromium() -> str | None:
    """Where the browser is, None where there is none: Playwright is never asked to download its own."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def operator(airflow: Airflow, *, zone: str = "UTC") -> Iterator[Page]:
    """A page of a browser without a past, with the clock of ``zone``, after the login page let the admin in."""
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile, sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium(),
            args=ARGUMENTS,
            viewport={"width": 1440, "height": 900},
            locale="en-US",
            timezone_id=zone,
        )
        try:
            browser.set_default_timeout(PATIENCE)
            page = browser.pages[0]
            page.goto(airflow.url)
            page.get_by_label("Username").fill(airflow.user)
            page.get_by_label("Password").fill(airflow.password)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"{airflow.url}/")
            yield page
        finally:
            browser.close()
