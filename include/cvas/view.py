"""Stage 3b: the lake becomes ``subscriptions.parquet``, one row per subscription, 45 columns (R37-R53).

A normal day makes the rows of those subscriptions alone whose events have changed, by the same statement as a full
rebuild, and carries over the others. What the view was built from is kept in ``_state/view.json``; where that does not
account for every file that takes part, every row is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from include.common import locks
from include.common.files import require_space, sha256_of
from include.common.filesets import JOURNAL, publish_together, staging, write_staged
from include.common.journal import RunLog
from include.common.results import StepResult
from include.common.sql import read_sql
from include.common.tables import render_some
from include.cvas import view_query
from include.cvas.config import Lake, Settings
from include.cvas.contract import ACT, RENO
from include.cvas.engine import open_engine, scratch_of
from include.cvas.lake import (
    LakeState,
    accept_losses,
    check_fingerprints,
    partition_files,
    partition_name,
    read_state,
    reading,
    touched_file,
)
from include.cvas.stage import stage
from include.cvas.statistics import statistics_lines, view_statistics
from include.cvas.tables import rows_of, show_subscriptions, show_transactions
from include.errors import CheckFailed, ContractViolation, SourceMissing, StaleInput

if TYPE_CHECKING:
    import duckdb

JOB = "cvas_view"
COMPARISON = "cvas_view_comparison"
NAMED = 5


class Renewals(NamedTuple):
    """What a month of renewals whose partition has this SHA-256 holds; ``revenue`` in euro, a decimal as text."""

    sha256: str
    rows: int
    revenue: str


@dataclass(frozen=True)
class ViewState:
    """What ``_state/view.json`` tells about ``subscriptions.parquet``.

    ``definition`` stands for the rules, ``catalogue`` for services and users by price point; ``change`` is the last
    change of the lake that is in it. ``foreign``: partitions were not as the pipeline had left them, so that changes do
    not tell what becomes of them. ``renewals`` are the months with which the view was compared (R50).
    """

    definition: str
    engine: str
    as_of: date
    catalogue: str
    change: int
    foreign: bool
    renewals: dict[str, Renewals]
    rows: int
    bytes: int
    sha256: str
    mtime_ns: int

    def describes(self, view: Path) -> bool:
        """Whether this is the file that was built; size and time decide, where they differ the SHA-256."""
        try:
            found = view.stat()
        except FileNotFoundError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.bytes, self.mtime_ns) or sha256_of(view) == self.sha256


def read_view_state(lake: Lake) -> ViewState | None:
    """What the view was built from; None if that is not known."""
    try:
        stored = json.loads(_state_file(lake).read_text(encoding="utf-8"))
        as_of = date.fromisoformat(stored.pop("as_of"))
        renewals = {month: Renewals(*values) for month, values in stored.pop("renewals").items()}
        return ViewState(as_of=as_of, renewals=renewals, **stored)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def build_subscriptions(
    lake: Lake,
    *,
    day: date,
    now: datetime,
    settings: Settings,
    as_of: date | None = None,
    full: bool = False,
    force: bool = False,
) -> StepResult:
    """Make ``subscriptions.parquet`` what the lake says; readers see the old file or the new one.

    ``day`` is the run's. ``as_of`` is the day to which the life of active subscriptions is counted; without it the one
    after the newest that is fully loaded (R47). ``full`` makes every row anew; ``force`` lets that end with fewer rows
    or renewals than before (R50), which on a normal day only loading a day again can do, with a warning, and accepts
    what was lost of the lake (:func:`include.cvas.lake.accept_losses`). ``written`` counts the view's rows; ``facts``
    has ``mode`` (full, incremental, unchanged), ``as_of`` and the ``statistics`` of R51.

    Re-run: safe; where nothing has changed the file stays as it is.
    Raises SourceMissing for a lake without any event, ContractViolation for a partition that cannot be
    read, CheckFailed if view and lake do not agree, StoreFull, StoreBusy, AlreadyRunning; the old view stays then.
    """
    with stage(lake, JOB, day, now=now, settings=settings) as run, locks.hold(lake.view_lock, JOB):
        if force:
            accept_losses(lake, JOB, run)
        with (
            reading(lake, JOB),
            staging(_journal(lake).parent, run, what="A build of the view") as staged,
            open_engine(lake, settings) as engine,
            view_query.naming_partitions(lake),
        ):
            return _Build(lake, settings, run, engine, staged).perform(as_of, full=full, force=force)


def show_view(engine: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Let SQL see the view as ``subscriptions`` with all its columns; the caller holds its lock.

    Raises what ``show_subscriptions`` does, ContractViolation too for a view with other columns: that of the system
    before has 34.
    """
    show_subscriptions(engine, lake)
    if fault := view_query.other_columns(engine, "subscriptions"):
        raise ContractViolation(
            f"cvas: {lake.subscriptions} has {fault}.",
            next_step="Build it from nothing (cvas_process, 'view only' and full_rebuild), then try again.",
        )


def compare_with_rebuild(lake: Lake, *, settings: Settings) -> list[str]:
    """One sentence per column in which the view differs from a full rebuild, with up to five subscriptions; ``[]`` if
    they are equal. Services and users are left out if catalogue or user base have changed since it was built.

    Re-run: read only, but for temporary files.
    Raises SourceMissing if there is no view, StaleInput if the lake has changed since, and what a build raises.
    """
    with (
        locks.hold(lake.view_lock, COMPARISON, shared=True),
        reading(lake, COMPARISON),
        open_engine(lake, settings) as engine,
        view_query.naming_partitions(lake),
    ):
        built = read_view_state(lake)
        if built is None or not lake.subscriptions.exists():
            raise SourceMissing("cvas: there is no view to compare.", next_step="Build it (cvas_process), then retry.")
        if _journal(lake).exists() or built.change != read_state(lake).change:
            raise StaleInput(
                "cvas: the lake has changed since the view was built.", next_step="Build the view, then retry."
            )
        view_query.check_columns(lake)
        show_transactions(engine, lake, view_query.KINDS)
        catalogue = view_query.show_catalogue(engine, lake, as_of=built.as_of, settings=settings, run=RunLog())
        rebuilt = scratch_of(engine) / "subscriptions.part"
        view_query.write_view(engine, rebuilt, as_of=built.as_of, before=None)
        left_out = () if catalogue == built.catalogue else view_query.FROM_CATALOGUE
        compared = [name for name in view_query.COLUMNS if name not in left_out]
        return view_query.differences(engine, lake.subscriptions, rebuilt, compared, named=NAMED)


class _Reason(NamedTuple):
    """Why every row is made anew; a strange one deserves a notification."""

    text: str
    strange: bool = False


@dataclass
class _Build:
    """One run of the stage, under its locks; ``staged`` is the folder for what is not finished."""

    lake: Lake
    settings: Settings
    run: RunLog
    engine: duckdb.DuckDBPyConnection
    staged: Path

    def __post_init__(self) -> None:
        self.before = read_view_state(self.lake)
        try:
            self.state = read_state(self.lake)
        except CheckFailed as damaged:
            self.run.warn(f"{damaged.what} The partitions are taken as they are.")
            self.state = LakeState()
        self.foreign = check_fingerprints(self.lake, self.state)

    def perform(self, as_of: date | None, *, full: bool, force: bool) -> StepResult:
        lake, run, engine = self.lake, self.run, self.engine
        with run.phase("see what has changed", percent=5):
            view_query.check_columns(lake)
            show_transactions(engine, lake, view_query.KINDS)
            until = as_of or self._as_of()
            catalogue = view_query.show_catalogue(engine, lake, as_of=until, settings=self.settings, run=run)
            before = None if full else self._show_touched()
        if before and (before.change, before.as_of, before.catalogue) == (self.state.change, until, catalogue):
            return self._report("unchanged", until, before.rows)
        require_space(lake.staging, self._size())
        new = self.staged / "subscriptions.part"
        with run.phase("make the view", percent=75):
            view_query.write_view(engine, new, as_of=until, before=lake.subscriptions if before else None)
        with run.phase("compare it with the lake", percent=90):
            renewals = self._renewals(before)
            rows = self._check(new, renewals, incremental=before is not None, force=force)
        with run.phase("put it in place", percent=100):
            self._publish(new, as_of=until, catalogue=catalogue, renewals=renewals, rows=rows)
        return self._report("incremental" if before else "full", until, rows)

    def _as_of(self) -> date:
        """R47: the day after the newest that is fully loaded."""
        if newest := self.state.newest_full_day():
            as_of = newest + timedelta(days=1)
            if (last := max(self.state.days)) > as_of:
                self.run.warn(
                    f"Lives are counted to {as_of}, although the lake has rows up to {last}: no day after {newest} is "
                    "loaded with all its types. Load the newest day."
                )
            return as_of
        ((event_day,),) = self.engine.execute(read_sql("cvas", "select_newest_event")).fetchall()
        if event_day is None:
            raise SourceMissing(
                f"cvas: there is no transaction with a date in {self.lake.transactions}.",
                next_step="Load a day or import the history, then build the view.",
            )
        self.run.say(f"No day is loaded with all its types; the as-of date follows the newest event, of {event_day}.")
        newest_event: date = event_day
        return newest_event + timedelta(days=1)

    def _show_touched(self) -> ViewState | None:
        """Make the table ``touched`` of the subscriptions whose rows have to be made, and return what is known of the
        view that has all others; None if every row has to be made, and the log says why."""
        if reason := self._why_all():
            (self.run.warn if reason.strange else self.run.say)(f"Every row of the view is made anew: {reason.text}.")
            return None
        return self.before

    def _why_all(self) -> _Reason | None:
        import duckdb

        before, lake = self.before, self.lake
        if before is None:
            return _Reason("what the view was built from is not known", strange=_state_file(lake).exists())
        if not before.describes(lake.subscriptions):
            return _Reason(f"{lake.subscriptions.name} is not the file that was built", strange=True)
        if (before.definition, before.engine) != (view_query.definition(), duckdb.__version__):
            return _Reason("the rules or the engine are not those of the view there is")
        if self.foreign:
            changed = render_some(self.foreign, NAMED)
            return _Reason(f"something else than the pipeline changed {changed}", strange=True)
        files = [touched_file(lake, change) for change in range(before.change + 1, self.state.change + 1)]
        if before.foreign or before.change > self.state.change or not all(file.exists() for file in files):
            return _Reason("history was rewritten since")
        try:
            if files:
                self.engine.execute(read_sql("cvas", "create_touched"), {"files": [str(file) for file in files]})
            else:
                self.engine.execute("CREATE TABLE touched (subscription_id BIGINT)")
        except duckdb.Error:
            return _Reason("the list of subscriptions that have changed cannot be read", strange=True)
        return None

    def _size(self) -> int:
        """Bytes to be written: those of the view before; the first one takes less than what it is made from."""
        if self.lake.subscriptions.exists():
            return self.lake.subscriptions.stat().st_size
        events = [files for kind in (ACT, RENO) for files in partition_files(self.lake, kind).values()]
        return sum(path.stat().st_size for files in events for path in files)

    def _renewals(self, before: ViewState | None) -> dict[str, Renewals]:
        """What the months of renewals hold. Those that have not changed since they were compared with the view before
        are not read again; the others become the table ``changed_reno``."""
        known = before.renewals if before else {}
        found, changed = {}, []
        for month, files in partition_files(self.lake, RENO).items():
            name = partition_name(RENO, month)
            sha256 = self.state.partitions[name].sha256 if name not in self.foreign else ""
            if month in known and known[month].sha256 == sha256:
                found[month] = known[month]
                continue
            paths = [str(path) for path in files]
            totals = self.engine.execute(read_sql("cvas", "select_renewal_totals"), {"files": paths}).fetchall()
            ((count, revenue),) = totals
            found[month] = Renewals(sha256, count, str(revenue))
            changed += paths
        if changed:
            self.engine.read_parquet(changed, hive_partitioning=False).create_view("changed_reno")
        else:
            self.engine.execute("CREATE TABLE changed_reno (subscription_id BIGINT)")
        return found

    def _check(self, new: Path, renewals: Mapping[str, Renewals], *, incremental: bool, force: bool) -> int:
        """Compare the new view with the lake (R50); the number of its rows. Raises CheckFailed.

        That the ids are those of the lake is shown without gathering the lake's again: each of them is in the view,
        each of the view's has an event, and activations and renewals add up.
        """
        self.engine.read_parquet(str(new)).create_view("built")
        (built,) = rows_of(self.engine, "check_built")
        rows = int(built["subscriptions"])
        columns = view_query.other_columns(self.engine, "built")
        count = sum(each.rows for each in renewals.values())
        revenue = sum((Decimal(each.revenue) for each in renewals.values()), Decimal(0))
        pairs = (
            (rows, built["ids"], "rows with {} ids"),
            (built["activated"], built["expected_activated"], "subscriptions with an activation instead of {}"),
            (built["renewals"], count, "renewals instead of {}"),
            (built["revenue"], revenue, "euro of renewals instead of {}"),
            (built["not_in_view"], 0, "events of subscriptions that it lacks"),
            (built["without_event"], 0, "subscriptions without an event"),
            (built["other_statuses"], 0, "rows without a proper status"),
        )
        faults = [columns] if columns else []
        faults += [f"{found:,} {text.format(f'{expected:,}')}" for found, expected, text in pairs if found != expected]
        if faults:
            raise CheckFailed(
                f"cvas: the new view does not agree with the lake, it has {'; '.join(faults)}. The old one stays.",
                next_step="Build it with full; if that fails too, see what cvas_checks says about the lake.",
            )
        gone = self._rows_before() - rows
        if gone > 0 and incremental:  # all but those that a load touched were carried over
            self.run.warn(f"{gone:,} subscriptions are gone: no event of them is left in the days loaded again.")
        elif gone > 0 and not force:
            raise CheckFailed(
                f"cvas: the new view has {rows:,} subscriptions, the old one {rows + gone:,}; the old one stays.",
                next_step="If rows were taken out of the lake on purpose, build it with force; else find out who did.",
            )
        if not incremental and not force:
            self._require_renewals(renewals)
        return rows

    def _require_renewals(self, renewals: Mapping[str, Renewals]) -> None:
        """Raise CheckFailed for renewals that the old view has and the lake has no more: where months are missing the
        number of subscriptions may well stay the same."""
        before = self.before.renewals if self.before else {}
        months = sorted(before.keys() - renewals.keys())
        then, now = (sum(each.rows for each in totals.values()) for totals in (before, renewals))
        faults = [f"no renewals of {render_some(months, NAMED)} any more"]
        faults = (faults if months else []) + ([f"{now:,} renewals instead of {then:,}"] if now < then else [])
        if faults:
            raise CheckFailed(
                f"cvas: the lake has {' and '.join(faults)}; the old view stays.",
                next_step="Fetch and load those days again (cvas_backfill lists days without rows), or import them; if "
                "history was replaced on purpose, build the view with force.",
            )

    def _rows_before(self) -> int:
        """Of the view there is, whoever made it."""
        if not self.lake.subscriptions.exists():
            return 0
        ((rows,),) = self.engine.read_parquet(str(self.lake.subscriptions)).count("*").fetchall()
        return int(rows)

    def _publish(self, new: Path, *, as_of: date, catalogue: str, renewals: dict[str, Renewals], rows: int) -> None:
        import duckdb

        lake, file = self.lake, new.stat()
        state = ViewState(
            definition=view_query.definition(),
            engine=duckdb.__version__,
            as_of=as_of,
            catalogue=catalogue,
            change=self.state.change,
            foreign=bool(self.foreign),
            renewals=renewals,
            rows=rows,
            bytes=file.st_size,
            sha256=sha256_of(new),
            mtime_ns=file.st_mtime_ns,
        )
        content = json.dumps({**asdict(state), "as_of": as_of.isoformat()})
        staged_state = write_staged(self.staged / "view.json", content.encode())
        consumed = [
            path
            for path in (lake.state / "touched").glob("*.parquet")
            if path.stem.isdigit() and int(path.stem) <= state.change
        ]
        publish_together(_journal(lake), {lake.subscriptions: new, _state_file(lake): staged_state}, remove=consumed)

    def _report(self, mode: str, as_of: date, rows: int) -> StepResult:
        show_subscriptions(self.engine, self.lake)
        statistics = view_statistics(self.engine)
        for line in statistics_lines(statistics):
            self.run.say(line)
        self.run.facts.update(mode=mode, as_of=as_of, rows=rows)
        return StepResult(
            where=str(self.lake.subscriptions),
            written=rows,
            bytes=self.lake.subscriptions.stat().st_size,
            warnings=tuple(self.run.warnings),
            facts={"mode": mode, "as_of": as_of.isoformat(), "statistics": statistics, **self.run.durations},
        )


def _state_file(lake: Lake) -> Path:
    return lake.state / "view.json"


def _journal(lake: Lake) -> Path:
    return lake.staging / "view" / JOURNAL
