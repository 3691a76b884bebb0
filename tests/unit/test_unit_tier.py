"""The unit tier keeps what it promises: no Airflow, no network."""

from __future__ import annotations

import importlib
import socket

import pytest


def test_airflow_cannot_be_imported() -> None:
    with pytest.raises(ImportError, match=r"airflow\.sdk is imported|airflow is imported"):
        importlib.import_module("airflow.sdk")


def test_no_connection_leaves_the_machine_or_stays_on_it() -> None:
    with pytest.raises(UserWarning, match="tried to use socket"):
        socket.socket(socket.AF_INET)
