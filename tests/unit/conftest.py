"""The unit tier: no Airflow, no network, real files and real databases."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import pytest_socket
from hypothesis import settings

from include.commercial_log.config import DataRoot
from include.commercial_log.database import open_database
from include.common.shares import LocalShare
from tests.unit.commercial_log_helpers import Station

# The same examples in every run: what passes today passes tomorrow.
settings.register_profile("unit", database=None, deadline=None, derandomize=True, max_examples=50)
settings.load_profile("unit")


class _NoAirflow:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] == "airflow":
            raise ImportError(f"{name} is imported in a unit test; what it tests has to work without Airflow.")
        return None


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "meta_path", [_NoAirflow(), *sys.meta_path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "airflow"]:
        monkeypatch.delitem(sys.modules, name)
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A booked-business database with its reference data, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "production.db"
    with closing(open_database(path, create=True)):
        pass
    return path


@pytest.fixture
def station(tmp_path: Path, empty_database: Path) -> Station:
    """A data folder, a share and an empty database."""
    data = DataRoot(tmp_path / "data")
    data.root.mkdir()
    share = LocalShare("K drive", tmp_path / "K Drive")
    (share.root / "Traffic" / "Media Library").mkdir(parents=True)
    path = tmp_path / "database" / "production.db"
    path.parent.mkdir()
    shutil.copyfile(empty_database, path)
    return Station(data, share, path)
