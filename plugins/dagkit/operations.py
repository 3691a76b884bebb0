"""The operations page: how far every store is and which runs ended badly, in one look. Reads Airflow's database only.

Imported by the API server alone; the other processes have no use for a web application.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_view
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dagrun import DagRun
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from sqlalchemy import func, select
from sqlalchemy.orm import Session

PREFIX = "/operations"
COUNTS = ("read", "written", "rejected")
PAGE = Path(__file__).with_name("operations.html")


@dataclass(frozen=True)
class Store:
    """One asset as its newest event tells: ``day`` is the newest business day ever published, ``about`` the one of that
    event, ``counts`` what its step read, wrote and rejected; None where nothing is known."""

    name: str
    day: str | None
    about: str | None
    at: datetime
    counts: Sequence[int | None]
    warnings: int
    dag_id: str | None
    run: str | None


@dataclass(frozen=True)
class FailedRun:
    """A DAG whose newest run failed."""

    dag_id: str
    day: str | None
    at: datetime
    run: str


def stores(session: Session) -> list[Store]:
    """Every asset that was ever published and still is, by name."""
    newest = select(
        AssetEvent.asset_id, func.max(AssetEvent.id).label("event"), func.max(AssetEvent.partition_key).label("day")
    )
    by_asset = newest.group_by(AssetEvent.asset_id).subquery()
    found = session.execute(
        select(AssetModel.name, by_asset.c.day, AssetEvent)
        .join(by_asset, by_asset.c.asset_id == AssetModel.id)
        .join(AssetEvent, AssetEvent.id == by_asset.c.event)
        .where(AssetModel.active.has())
        .order_by(AssetModel.name)
    )
    return [
        Store(
            name=name,
            day=day,
            about=event.partition_key,
            at=event.timestamp,
            counts=[event.extra.get(count) for count in COUNTS],
            warnings=len(event.extra.get("warnings", ())),
            dag_id=event.source_dag_id,
            run=_link(event.source_dag_id, event.source_run_id),
        )
        for name, day, event in found
    ]


def failed_runs(session: Session) -> list[FailedRun]:
    """The DAGs whose newest run that ended has failed, the latest first."""
    newest = select(func.max(DagRun.id)).where(DagRun.state.in_(("success", "failed"))).group_by(DagRun.dag_id)
    runs = session.scalars(
        select(DagRun).where(DagRun.id.in_(newest), DagRun.state == "failed").order_by(DagRun.end_date.desc())
    )
    return [
        FailedRun(
            dag_id=run.dag_id,
            day=run.partition_key or (run.conf or {}).get("date"),
            at=run.end_date or run.run_after,
            run=str(_link(run.dag_id, run.run_id)),
        )
        for run in runs
    ]


def render(found: Sequence[Store], failed: Sequence[FailedRun], *, now: datetime) -> str:
    """The page as HTML."""
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(PAGE.read_text("utf-8"))
    return page.render(stores=found, failed=failed, now=now, age=lambda at: _age(now, at), counts=COUNTS)


def build_app() -> FastAPI:
    """The web application behind the page; whoever may see plugins may see it. It belongs below ``PREFIX``."""
    app = FastAPI(dependencies=[Depends(requires_access_view(AccessView.PLUGINS))], docs_url=None, openapi_url=None)

    @app.get("/", response_class=HTMLResponse)
    def operations(session: SessionDep) -> str:
        return render(stores(session), failed_runs(session), now=datetime.now(UTC))

    return app


def _link(dag_id: str | None, run_id: str | None) -> str | None:
    return f"/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}" if dag_id and run_id else None


def _age(now: datetime, at: datetime) -> str:
    minutes = max(0, round((now - at).total_seconds() / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"
