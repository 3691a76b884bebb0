"""The extract of music subscriptions (R65)."""

from __future__ import annotations

import re
from datetime import date, datetime

from include.common import locks
from include.common.files import require_space
from include.common.results import StepResult
from include.cvas.config import Lake, Settings
from include.cvas.engine import open_engine
from include.cvas.mastercpc import read_mastercpc
from include.cvas.stage import stage
from include.cvas.tables import export, rows_of
from include.cvas.view import show_view
from include.errors import CheckFailed, ContractViolation

JOB = "cvas_music_extract"
FILE = "music_subscriptions.csv"
CATEGORY = "music"
TOP = 10


def extract_music(lake: Lake, *, day: date, now: datetime, settings: Settings) -> StepResult:
    """Write the subscriptions that ever had a music CPC to ``Reports/<day>/music_subscriptions.csv``.

    All columns of the view, personal ones included, for the file's group only; facts and log have counts, dates and
    euro. Music is what MASTERCPC.csv calls so, and what ``Music_CPCs.txt`` lists.

    Re-run: safe; the extract is replaced.
    Raises SourceMissing without MASTERCPC.csv or the view, ContractViolation for one that is not as agreed, CheckFailed
    if no CPC is music, StoreFull, StoreBusy while the view is being replaced.
    """
    target = lake.reports(day) / FILE
    with stage(lake, JOB, day, now=now, settings=settings) as run:
        cpcs = _music_cpcs(lake)
        with locks.hold(lake.view_lock, JOB, shared=True), open_engine(lake, settings) as engine:
            show_view(engine, lake)
            require_space(lake.root, lake.subscriptions.stat().st_size)
            with run.phase("extract", percent=70):
                rows = export(engine, "select_music_subscriptions", target, {"cpcs": cpcs})
            with run.phase("summary", percent=100):
                (summary,) = rows_of(engine, "select_music_summary", cpcs=cpcs)
                top = {
                    str(row["cpc"]): row["subscriptions"]
                    for row in rows_of(engine, "select_music_top_cpcs", cpcs=cpcs, top=TOP)
                }
        total, every = summary["subscriptions"], summary["all_subscriptions"]
        summary |= {
            "share": round(total / every, 4) if every else None,
            "revenue_mean": round(summary["revenue"] / total, 2) if total else None,
            "renewals_mean": round(summary["renewals"] / total, 2) if total else None,
            "top_cpcs": top,
        }
        run.say(", ".join(f"{name}: {value}" for name, value in summary.items()))
        run.facts.update(subscriptions=total)
        return StepResult(
            where=str(target),
            read=every,
            written=rows,
            bytes=target.stat().st_size,
            warnings=tuple(run.warnings),
            facts={**summary, "music_cpcs": len(cpcs), **run.durations},
        )


def _music_cpcs(lake: Lake) -> list[int]:
    catalogue = read_mastercpc(lake.mastercpc).frame
    is_music = catalogue["tme_category"].str.to_lowercase() == CATEGORY
    cpcs = set(catalogue.filter(is_music)["cpc"])
    if lake.music_cpcs.exists():
        lines = lake.music_cpcs.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if line.strip() and not re.fullmatch("[0-9]{1,18}", line.strip()):
                raise ContractViolation(
                    f"cvas: {lake.music_cpcs}, line {number}: {line.strip()[:40]!r} is no CPC.",
                    next_step="Write one whole number per line, or remove the line.",
                )
            cpcs |= {int(line)} if line.strip() else set()
    if not cpcs:
        raise CheckFailed(
            f"cvas: no CPC is music: {lake.mastercpc} has no category Music and there is no {lake.music_cpcs.name}.",
            next_step="Correct MASTERCPC.csv, or list the CPCs in Music_CPCs.txt.",
        )
    return sorted(cpcs)
