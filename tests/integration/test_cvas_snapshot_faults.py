"""What goes wrong between cvas and the reporting host leaves every snapshot as it was (R6, R7, section 6).

The real download through its own connection, against our server and, where installed, OpenSSH.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dagkit import connections

from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.snapshots import download_snapshot, snapshot_path
from include.errors import ContractViolation, CredentialRefused, PipelineError, SourceMissing, SourceUnavailable
from sandbox.servers.base import HOST
from sandbox.servers.faults import FaultProxy
from sandbox.servers.real import OpenSsh
from sandbox.servers.ssh import SshServer
from tests.unit.cvas_helpers import data_hashes
from tests.unit.cvas_snapshot_helpers import DAY, NOW, TODAY, WRITTEN, snapshot

SFTP = connections.CVAS_REPORTING_SFTP
ROWS = 6_000  # more than any proxy here lets through
CONTENT = snapshot(*((40_000 + n, f"Noticias {n}", "News", 10) for n in range(ROWS)))
BEFORE = snapshot(*((40_000 + n, f"Noticias {n}", "News", 10) for n in range(ROWS - 1)))

# The thread with which paramiko reads ahead may be the one that meets the end of the connection.
pytestmark = pytest.mark.filterwarnings(r"ignore:Exception in thread .*\(_prefetch_thread\)")


@dataclass
class Host:
    """The reporting host behind a proxy, and the connection that leads to it."""

    server: SshServer | OpenSsh
    proxy: FaultProxy
    root: Path
    define: Callable[..., None]

    def write(self, content: bytes) -> None:
        path = self.root / "NBS_Base.csv"
        path.write_bytes(content)
        os.utime(path, (WRITTEN.timestamp(), WRITTEN.timestamp()))


@pytest.fixture(
    params=[
        SshServer,
        pytest.param(OpenSsh, marks=pytest.mark.skipif(not OpenSsh.available(), reason="sshd is not installed")),
    ]
)
def host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    served = tmp_path / "served"
    root = served / "reports"
    root.mkdir(parents=True)
    with request.param(served, keys=tmp_path / "keys") as server, FaultProxy(server.port) as proxy:

        def define(**changed: Any) -> None:
            key = server.client_key.read_text()
            extra = {"path": "reports", "private_key": key, "host_key": server.host_key, "look_for_keys": False}
            connection = {"conn_type": "sftp", "host": HOST, "port": proxy.port, "login": server.user}
            monkeypatch.setenv(
                f"AIRFLOW_CONN_{SFTP.upper()}", json.dumps({**connection, "extra": {**extra, **changed}})
            )

        define()
        host = Host(server, proxy, root, define)
        host.write(CONTENT)
        yield host


@pytest.fixture
def lake(host: Host, tmp_path: Path) -> Lake:
    """The day before was fetched from the host, and a file lies there that somebody stored long ago."""
    lake = Lake(tmp_path / "lake")
    lake.snapshots.mkdir(parents=True)
    snapshot_path(lake, DAY - timedelta(days=9)).write_bytes(BEFORE)
    host.write(BEFORE)
    yesterday = NOW - timedelta(days=1)
    written = WRITTEN - timedelta(days=1)
    os.utime(host.root / "NBS_Base.csv", (written.timestamp(), written.timestamp()))
    day = DAY - timedelta(days=1)
    share = connections.open_share(SFTP)
    download_snapshot(share, lake, day=day, now=yesterday, today=DAY, settings=Settings())
    host.write(CONTENT)
    return lake


def download(lake: Lake) -> StepResult:
    return download_snapshot(connections.open_share(SFTP), lake, day=DAY, now=NOW, today=TODAY, settings=Settings())


def other_key(tmp_path: Path) -> SshServer:
    """A server that nobody starts, for its keys."""
    return SshServer(tmp_path, keys=tmp_path / "other keys")


def truncated(host: Host, _: Path) -> None:
    host.proxy.truncate_after(60_000)


def broken_off(host: Host, _: Path) -> None:
    host.proxy.reset_after(60_000)


def not_answering(host: Host, _: Path) -> None:
    host.proxy.refuse()


def unknown_host(host: Host, tmp_path: Path) -> None:
    host.define(host_key=other_key(tmp_path).host_key)


def no_host_key(host: Host, _: Path) -> None:
    host.define(host_key=None)


def refused_key(host: Host, tmp_path: Path) -> None:
    host.define(private_key=other_key(tmp_path).client_key.read_text())


def no_file(host: Host, _: Path) -> None:
    (host.root / "NBS_Base.csv").rename(host.root / "NBS_Base.old")


def half_written(host: Host, _: Path) -> None:
    host.write(CONTENT[:-7])


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (truncated, SourceUnavailable, rf"{SFTP}: reading 'NBS_Base\.csv' broke off \(.+\)\."),
        (broken_off, SourceUnavailable, rf"{SFTP}: reading 'NBS_Base\.csv' broke off \(.+\)\."),
        (not_answering, SourceUnavailable, rf"Cannot reach the server of {SFTP} \(Connection refused\)\."),
        (unknown_host, CredentialRefused, rf"{SFTP}: the server's host key is not the one on record\."),
        (no_host_key, CredentialRefused, rf"{SFTP}: the server's host key is not the one on record\."),
        (refused_key, CredentialRefused, rf"{SFTP}: authentication was refused \(.+\)\."),
        (no_file, SourceMissing, rf"{SFTP}: 'NBS_Base\.csv' not found in '/'; it holds: NBS_Base\.old\."),
        (
            half_written,
            ContractViolation,
            rf"{SFTP}:/NBS_Base\.csv, line 6001: the line ends after 6 of 7 columns, before column 'count'\.",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_download_that_fails_leaves_snapshots_and_state_as_they_were(
    host: Host,
    lake: Lake,
    tmp_path: Path,
    fault: Callable[[Host, Path], None],
    kind: type[PipelineError],
    told: str,
) -> None:
    """R6, R7, section 6: class and text; nothing unfinished is left; when it is put right, the next one succeeds."""
    before = data_hashes(lake)
    fault(host, tmp_path)
    with pytest.raises(kind) as failed:
        download(lake)
    assert type(failed.value) is kind
    assert re.fullmatch(told, failed.value.what)
    assert HOST not in str(failed.value)
    assert data_hashes(lake) == before

    host.proxy.heal()
    host.define()
    host.write(CONTENT)
    assert download(lake).facts["action"] == "created"
    assert snapshot_path(lake, DAY).read_bytes() == CONTENT
