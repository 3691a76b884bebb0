"""Dated workbooks older than a week move into monthly ZIP archives, archives older than a year go (R44-R47)."""

from datetime import date
from pathlib import Path

from include.commercial_log.config import DataRoot


def archive_of(data: DataRoot, day: date) -> Path:
    """Where the workbook of a day lies once it is archived."""
    return data.archive / f"commercial-logs-{day:%Y-%m}.zip"
