"""Stage 1, second half: all snapshots become users per service, category and price point of every day (R10-R17).

Only days whose snapshot changed are read. Their lines take the place of the old ones in three files sorted by day; what
comes out is byte for byte what reading every snapshot again would give.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from include.common.files import require_space, sha256_of
from include.common.filesets import JOURNAL, publish_together, write_staged
from include.common.journal import RunLog
from include.common.results import StepResult
from include.cvas.config import ZONE, Lake, Settings
from include.cvas.counter_files import told_outdated_of_counted
from include.cvas.privacy import masked
from include.cvas.snapshots import (
    COLUMNS,
    LARGEST,
    decode,
    ends_complete,
    list_snapshots,
    list_strangers,
    read_rows,
    writing_user_base,
)
from include.cvas.stage import stage
from include.errors import CheckFailed, ContractViolation, RequestRefused

if TYPE_CHECKING:
    import polars as pl

JOB = "cvas_user_base"
# Of the rules in this file; what older ones made is made anew.
VERSION = 1
CATEGORIES = {"education": "Edu_Ima", "images": "Edu_Ima", "news": "News_Sport", "sports": "News_Sport"}
BY_SERVICE, BY_CATEGORY, BY_CPC = "user_base_by_service.csv", "user_base_by_category.csv", "user_base_by_cpc.csv"
KEYS = {BY_SERVICE: ("service_name", "tme_category"), BY_CATEGORY: ("tme_category",), BY_CPC: ("cpc",)}
# Of snapshots that are parsed at once: more takes memory and saves no time.
BATCH_BYTES = 16 * 1024**2
NAMED = 10

_HEADERS = (",".join(COLUMNS).encode(), ",".join(f'"{column}"' for column in COLUMNS).encode())
_UNSAFE = re.compile(r"\r\n|[|\r\n]")


class Fingerprint(NamedTuple):
    """How a file is recognised; while size and time are the same, the hash is not calculated again."""

    size: int
    mtime_ns: int
    sha256: str


class Ledger(NamedTuple):
    """What the three files were made of, by day, and how they were left; ``definition`` stands for the rules."""

    definition: str
    snapshots: dict[date, Fingerprint]
    outputs: dict[str, Fingerprint]


class Snapshot(NamedTuple):
    """A snapshot as it was read from the disk."""

    day: date
    name: str
    data: bytes
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Changes:
    """The sorted lines for each of the three files of the ``days`` that are new, different or gone; a day without
    lines is gone. ``snapshots`` are the fingerprints of all that count, ``faults`` tell of those that do not."""

    days: set[date]
    lines: Mapping[str, bytes]
    snapshots: dict[date, Fingerprint]
    faults: Sequence[ContractViolation]


def newest_snapshot(lake: Lake, until: date) -> Path | None:
    """The newest snapshot of ``until`` or a day before it. Raises ContractViolation if a day has two."""
    return next((path for day, path in reversed(list_snapshots(lake).items()) if day <= until), None)


def snapshot_services(path: Path, settings: Settings) -> pl.DataFrame:
    """What a snapshot calls each price point: ``cpc``, ``service_name``, ``tme_category``, one row per cpc, sorted.

    Names are trimmed, categories are those of the file. The first row of a cpc counts; excluded services and blank
    names are left out. Raises ContractViolation if the snapshot cannot be read.
    """
    import polars as pl

    services: dict[int, tuple[str, str]] = {}
    for row in read_rows(path.read_bytes(), name=path.name):
        service = _clean(row.service)
        if service and not settings.excludes(service):
            services.setdefault(row.cpc, (service, _clean(row.category)))
    rows = [(cpc, *names) for cpc, names in sorted(services.items())]
    return pl.DataFrame(rows, {"cpc": pl.Int64, "service_name": pl.String, "tme_category": pl.String}, orient="row")


def read_user_base_by_cpc(lake: Lake) -> pl.DataFrame:
    """Users per day and price point: ``date``, ``cpc``, ``user_base``; empty before the first aggregation.

    Raises ContractViolation if somebody else changed the file and it cannot be read any more.
    """
    import polars as pl

    schema = {"date": pl.Date, "cpc": pl.Int64, "User_Base": pl.Int64}
    path = lake.user_base / BY_CPC
    try:
        frame = pl.read_csv(path, separator="|", schema=schema) if path.exists() else pl.DataFrame(schema=schema)
    except pl.exceptions.PolarsError as error:
        raise ContractViolation(
            f"{path} cannot be read ({masked(str(error).splitlines()[0])}).",
            next_step="Run cvas_user_base without the download; it makes the file anew.",
        ) from None
    return frame.rename({"User_Base": "user_base"})


def aggregate_user_base(lake: Lake, *, day: date, now: datetime, settings: Settings) -> StepResult:
    """Bring the three files up to date with the snapshots; ``day`` is the one whose snapshot is expected.

    A snapshot that cannot be read counts nothing, and fails the run once everything else is in place (R15). A warning
    names the days that were counted with other users.

    Re-run: safe; nothing is written if no snapshot changed.
    Raises ContractViolation for such snapshots and, before anything is written, for two of the same day; RequestRefused
    for a ``day`` that is not over; CheckFailed if the three files do not agree on a day's total (R14); AlreadyRunning,
    StoreBusy, StoreFull.
    """
    with stage(lake, JOB, day, now=now, settings=settings) as run, writing_user_base(lake, JOB, run) as staging:
        if day >= (today := now.astimezone(ZONE).date()):
            raise RequestRefused(f"cvas: {day} is not over (today is {today}).", next_step="Use a day before today.")
        snapshots = list_snapshots(lake)
        for name in list_strangers(lake):
            run.warn(f"{lake.snapshots / name} is not named like a snapshot; it is ignored.")
        if day not in snapshots:
            run.warn(f"snapshot missing for {day}; the days that are there are aggregated.")
        ledger = _trusted_ledger(lake, settings, run)
        with run.phase("aggregate what changed", percent=60):
            changes = _find_changes(snapshots, ledger, settings, run)
        for each in sorted(changes.days & ledger.snapshots.keys() - {day}):
            fate = "was replaced" if each in snapshots else "is gone"
            run.warn(f"The snapshot of {each}, which should never change, {fate} since it was aggregated.")
        with run.phase("write", percent=95):
            written = _write(lake, staging, ledger, changes)
        # The KPIs of a day take the users of the day before as well (R54).
        affected = changes.days | {each + timedelta(days=1) for each in changes.days}
        if outdated := told_outdated_of_counted(lake, affected):
            run.warn(outdated)
        if faults := changes.faults:
            raise ContractViolation(
                f"{len(faults)} of {len(snapshots)} snapshots count nothing, the others are aggregated: "
                + " ".join(fault.what for fault in faults[:NAMED]),
                next_step="Correct or restore the files that are named, then clear the task.",
            )
        run.say(
            f"100 % | {len(snapshots):,} snapshots, {len(changes.days):,} days made anew, {written:,} bytes written"
        )
        run.facts.update(snapshots=len(snapshots), days=len(changes.days))
        return StepResult(
            where=str(lake.user_base),
            read=len(snapshots),
            written=len(changes.days),
            bytes=written,
            warnings=tuple(run.warnings),
            facts={"day": str(day), "snapshot": day in snapshots, **run.durations},
        )


# --- what changed -----------------------------------------------------------------------------------------------------


def _trusted_ledger(lake: Lake, settings: Settings, run: RunLog) -> Ledger:
    """The ledger of the last run; an empty one, so that every snapshot is read, if it does not hold any more."""
    definition = _definition(settings)
    path = _ledger_path(lake)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ledger = Ledger(
            content["definition"],
            {date.fromisoformat(day): Fingerprint(*values) for day, values in content["snapshots"].items()},
            {name: Fingerprint(*values) for name, values in content["outputs"].items()},
        )
    except FileNotFoundError:
        reason = "nothing is known of an earlier run"
    except (ValueError, TypeError, LookupError, AttributeError):
        reason = f"{path.name} is damaged"
        run.warn(f"{path} is damaged; the three files are made anew from every snapshot.")
    else:
        if ledger.definition != definition:
            reason = "the excluded services or the rules changed"
        elif altered := [name for name in KEYS if not _is_intact(lake.user_base / name, ledger.outputs.get(name))]:
            reason = f"{', '.join(altered)} is not as it was left"
            run.warn(f"{lake.user_base}: {reason}; the three files are made anew from every snapshot.")
        else:
            return ledger
    run.say(f"every snapshot is read: {reason}")
    return Ledger(definition, {}, {})


def _ledger_path(lake: Lake) -> Path:
    return lake.state / "user_base.json"


def _definition(settings: Settings) -> str:
    rules = [VERSION, CATEGORIES, settings.excluded_words]
    return hashlib.sha256(json.dumps(rules).encode()).hexdigest()


def _is_intact(path: Path, known: Fingerprint | None) -> bool:
    if known is None or not path.exists():
        return False
    return _looks_like(path, known) or sha256_of(path) == known.sha256


def _looks_like(path: Path, known: Fingerprint) -> bool:
    stat = path.stat()
    return (stat.st_size, stat.st_mtime_ns) == (known.size, known.mtime_ns)


def _find_changes(snapshots: Mapping[date, Path], ledger: Ledger, settings: Settings, run: RunLog) -> Changes:
    """Aggregate the days whose snapshot is not the one that the ledger knows."""
    known = ledger.snapshots
    count = {day: known[day] for day, path in snapshots.items() if day in known and _looks_like(path, known[day])}
    days = known.keys() - snapshots.keys()
    lines: dict[str, list[bytes]] = {name: [] for name in KEYS}
    faults: list[ContractViolation] = []
    for batch in _batches({day: path for day, path in snapshots.items() if day not in count}):
        changed = [each for each in batch if each.day not in known or known[each.day].sha256 != each.fingerprint.sha256]
        rows, rejected = _read(changed, run)
        count |= {each.day: each.fingerprint for each in batch if each.day not in rejected}
        days |= {each.day for each in changed}
        faults += rejected.values()
        for name, text in _lines(rows, settings, run).items():
            lines[name].append(text)
    return Changes(days, {name: b"".join(parts) for name, parts in lines.items()}, count, faults)


def _batches(paths: Mapping[date, Path]) -> Iterator[list[Snapshot]]:
    batch: list[Snapshot] = []
    size = 0
    for day, path in paths.items():
        stat, data = path.stat(), path.read_bytes()
        batch.append(Snapshot(day, path.name, data, _fingerprint(stat, data)))
        size += len(data)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


# --- snapshots to rows ------------------------------------------------------------------------------------------------

# Two ways that agree: the exact one knows every line, the plain one takes a tenth of the time. A file that leaves the
# plain one in doubt goes the exact way, which says where the fault is, or that there is none.


def _read(snapshots: Sequence[Snapshot], run: RunLog) -> tuple[pl.DataFrame, dict[date, ContractViolation]]:
    """``day``, ``cpc``, ``service``, ``category``, ``users`` of every row, and why some files count nothing (R15)."""
    import polars as pl

    plain, doubtful = _read_plain(snapshots)
    exact: list[tuple[object, ...]] = []
    rejected: dict[date, ContractViolation] = {}
    for each in doubtful:
        try:
            exact += [(each.day, *row) for row in read_rows(each.data, name=each.name)]
        except ContractViolation as fault:
            rejected[each.day] = fault
        else:
            if not ends_complete(each.data):
                run.warn(f"{each.name}: the last line has no end; its number may have lost digits.")
    return pl.concat([plain, pl.DataFrame(exact, plain.schema, orient="row")]), rejected


def _read_plain(snapshots: Sequence[Snapshot]) -> tuple[pl.DataFrame, list[Snapshot]]:
    """The rows of all snapshots that are beyond doubt, and the snapshots that are not."""
    import polars as pl

    texts = {each.day: text for each in snapshots if (text := _plain_lines(each.data))}
    rows = _parse(texts)
    numbers = pl.all_horizontal(pl.col("cpc", "users").is_between(1 - LARGEST, LARGEST - 1).fill_null(value=False))
    doubtful = rows.filter(~numbers)["day"].unique()
    sure = set(rows["day"].unique()) - set(doubtful)
    if not doubtful.is_empty():
        rows = rows.filter(pl.col("day").is_in(sure))
    rows = rows.with_columns(pl.col("users").cast(pl.Int64))
    return rows, [each for each in snapshots if each.day not in sure]


def _plain_lines(data: bytes) -> bytes | None:
    """The lines below the header as UTF-8 with ``\\n``, None unless each of them is one record with regular quotes."""
    try:
        data.decode()
        text = data.removeprefix(codecs.BOM_UTF8)
    except UnicodeDecodeError:
        text = decode(data).encode()
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
        if b"\r" in text:
            return None
    header, _, lines = text.partition(b"\n")
    if header not in _HEADERS or not lines.endswith(b"\n"):
        return None
    if b'"' in lines:
        pieces = lines.split(b'"')
        outside, inside = pieces[::2], pieces[1::2]
        # A quote begins and ends a cell, or stands twice: then there is nothing between the two.
        begins = all(piece[-1:] in b",\n" for piece in outside[:-1])
        ends = all(piece[:1] in b",\n" for piece in outside[1:])
        if len(outside) == len(inside) or not (begins and ends) or any(b"\n" in piece for piece in inside):
            return None
    return lines


def _parse(texts: Mapping[date, bytes]) -> pl.DataFrame:
    """The rows of all texts, users with their fraction; no row at all if one text is in the way of the others."""
    import polars as pl

    counts = pl.DataFrame(
        [(day, text.count(b"\n")) for day, text in texts.items()], {"day": pl.Date, "lines": pl.UInt32}, orient="row"
    )
    days = counts.select(pl.col("day").repeat_by("lines").explode()).to_series()
    table = pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.String) | {"cpc": pl.Int64, "count": pl.Float64})
    # A number that is none, a line with too many columns, a first one with too few: the library does not say which.
    with suppress(pl.exceptions.ComputeError, pl.exceptions.SchemaError):
        joined = b"".join(texts.values())
        table = pl.read_csv(joined, has_header=False, schema=table.schema, empty_string_is_null=False)
    if table.height != days.len():
        table, days = table.clear(), days.clear()
    return table.select(days, "cpc", service="service_name", category="tme_category", users="count")


# --- rows to lines ----------------------------------------------------------------------------------------------------


def _lines(rows: pl.DataFrame, settings: Settings, run: RunLog) -> dict[str, bytes]:
    """The lines of each of the three files, sorted by day and by the code points of its other keys (4.3)."""
    import polars as pl

    sums = rows.lazy().group_by("day", "cpc", "service", "category").agg(pl.col("users").sum())
    summed = sums.collect(engine="streaming")
    users = summed.join(_names(summed, settings, run), on=["service", "category"])
    lines: dict[str, bytes] = {}
    for name, keys in KEYS.items():
        order = [pl.col(key).cast(pl.String) if key == "cpc" else pl.col(key) for key in keys]
        table = users.group_by("day", *keys).agg(pl.col("users").sum()).sort("day", *order)
        lines[name] = table.write_csv(include_header=False, separator="|", quote_style="never").encode()
    return lines


def _names(rows: pl.DataFrame, settings: Settings, run: RunLog) -> pl.DataFrame:
    """What each pair of ``service`` and ``category`` is called in the three files, excluded services left out; as
    enumerations, which sort by the code points of the names without comparing them (R12, R13, R16)."""
    import polars as pl

    names: list[tuple[str, str, str, str]] = []
    unsafe: set[str] = set()
    for pair in rows.select("service", "category").unique().iter_rows():
        service, category = map(_clean, pair)
        if not settings.excludes(service):
            names.append((*pair, service, CATEGORIES.get(category.casefold(), category)))
            unsafe |= {name for name in pair if _UNSAFE.search(name)}
    if unsafe:
        shown = ", ".join(map(repr, sorted(unsafe)[:NAMED]))
        run.warn(f"{len(unsafe)} names hold a '|' or a line break, which became a space: {shown}.")
    return pl.DataFrame(
        names,
        {
            "service": pl.String,
            "category": pl.String,
            "service_name": pl.Enum(sorted({name[2] for name in names})),
            "tme_category": pl.Enum(sorted({name[3] for name in names})),
        },
        orient="row",
    )


def _clean(name: str) -> str:
    return _UNSAFE.sub(" ", name).strip()


# --- lines to files ---------------------------------------------------------------------------------------------------


def _write(lake: Lake, staging: Path, ledger: Ledger, changes: Changes) -> int:
    """Publish what is different of the three files and the ledger, all at once (R17); the bytes of the three files."""
    outputs = ledger.outputs
    files: dict[Path, Path] = {}
    written = 0
    if changes.days or not outputs:
        before = {name: _content(lake.user_base / name) for name in KEYS}
        after = {name: _updated(name, before[name] if outputs else None, changes) for name in KEYS}
        _check_totals(after)
        different = {name: text for name, text in after.items() if text != before[name]}
        written = sum(map(len, different.values()))
        require_space(lake.root, written)
        files = {lake.user_base / name: write_staged(staging / name, text) for name, text in different.items()}
        paths = {name: files.get(lake.user_base / name, lake.user_base / name) for name in KEYS}
        outputs = {name: _fingerprint(path.stat(), after[name]) for name, path in paths.items()}
    new = Ledger(ledger.definition, dict(sorted(changes.snapshots.items())), outputs)
    if new != ledger:
        content = new._asdict() | {"snapshots": {str(day): each for day, each in new.snapshots.items()}}
        path = _ledger_path(lake)
        files[path] = write_staged(staging / path.name, json.dumps(content).encode())
        publish_together(staging / JOURNAL, files)
    return written


def _updated(name: str, before: bytes | None, changes: Changes) -> bytes:
    """The content of one of the three files with the lines of the changed days in place of the old ones."""
    header = "|".join(["date", *KEYS[name], "User_Base"]).encode() + b"\n"
    old, new = (before or b"").removeprefix(header), changes.lines[name]
    parts = [header]
    at = 0
    for day in sorted(changes.days) if old else ():
        start, end = _span(old, day)
        parts += [old[at:start], new[slice(*_span(new, day))]]
        at = end
    return b"".join([*parts, old[at:] if old else new])


def _span(lines: bytes, day: date) -> tuple[int, int]:
    """Where the lines of a day begin and end, or would, among lines sorted by day."""

    def day_at(position: int) -> bytes:
        start = lines.rfind(b"\n", 0, position) + 1
        return lines[start : start + len("2025-11-10")]

    wanted, positions = str(day).encode(), range(len(lines))
    return bisect_left(positions, wanted, key=day_at), bisect_right(positions, wanted, key=day_at)


def _check_totals(texts: Mapping[str, bytes]) -> None:
    """Make sure that each file has the same number of users on each day (R14)."""
    import polars as pl

    schema = {"date": pl.String, "User_Base": pl.Int64}
    reference, *others = (
        pl.read_csv(text, separator="|", quote_char=None, columns=[*schema], schema_overrides=schema)
        .group_by("date")
        .agg(pl.col("User_Base").sum())
        .sort("date")
        for text in texts.values()
    )
    for name, other in zip([*texts][1:], others, strict=True):
        if not reference.equals(other):
            days = pl.concat([reference, other]).unique(keep="none")["date"].unique().sort()
            raise CheckFailed(
                f"{name} and {BY_SERVICE} would not agree on the users of {', '.join(days.head(NAMED))}; nothing was "
                "changed.",
                next_step="Remove _state/user_base.json and clear the task; if it stays, report this text.",
            )


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _fingerprint(stat: os.stat_result, content: bytes) -> Fingerprint:
    return Fingerprint(stat.st_size, stat.st_mtime_ns, hashlib.sha256(content).hexdigest())
