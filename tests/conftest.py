"""Temporary files lie in memory where there is room: a fifth of the time of the quick tiers was waiting for a disk."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder with a name of its own is made in it
ENOUGH = 4_000_000_000


def pytest_configure(config: pytest.Config) -> None:
    """To look at the files of a test that failed, say where they shall be: ``TMPDIR=/tmp make test-unit``."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ENOUGH:
        return
    folder = tempfile.mkdtemp(prefix="estate-tests-", dir=MEMORY)
    os.environ["TMPDIR"], tempfile.tempdir = folder, None  # for processes to come, and for this one
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
