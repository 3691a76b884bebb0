"""The DAG tier: Airflow with a metadata database of its own, no scheduler."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HOME = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

# Airflow reads these when it is first imported, so they are set before any test module is.
os.environ.update(
    AIRFLOW_HOME=HOME,
    AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(REPOSITORY / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
)

import pytest  # noqa: E402
import pytest_socket  # noqa: E402


@pytest.fixture(autouse=True)
def _nothing_leaves_the_machine():
    """Receivers of notifications are on it. After each test pytest-socket itself opens everything again."""
    pytest_socket.socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)


@pytest.fixture(scope="session")
def dags():
    """Every DAG of the estate by id."""
    from dagkit.docs import load_dags

    return load_dags()
