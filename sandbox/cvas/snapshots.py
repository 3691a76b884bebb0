"""``NBS_Base.csv``: how many users every price point has, as the reporting host writes it each morning.

A day's snapshot is a pure function of day and seed. Users fall from 417,000 in November 2022 to 282,000 in January 2026
and little after that, by about 0.1 % up or down from day to day.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

from include.common.files import atomic_write
from sandbox.commercial_log.tables import apportion
from sandbox.cvas.catalogue import PROVIDERS, PricePoint, make_catalogue

HEADER = (*("cpc", "content_provider", "service_name", "last_billed_amount", "tme_category", "channel_desc", "count"),)
Row = tuple[str, ...]

FIRST_DAY, LAST_DAY = date(2022, 11, 14), date(2026, 1, 27)  # of the real history
# Days on which the download failed; on the last the clocks were set forward.
MISSING_DAYS = frozenset(
    date.fromisoformat(day)
    for day in ("2023-02-18", "2023-07-02", "2023-07-03", "2024-01-14", "2024-09-29", "2025-05-11", "2024-03-31")
)
USERS = (417_000, 282_000)
LATER_LOSS = 0.0001  # a day, after LAST_DAY
UNEVEN, JUMP, JUMP_EVERY = 0.001, 0.005, 400
CPCS = (126, 168)

# Users by rank of the price point, as shares before they are scaled to 1; log-linear between the ranks.
POPULARITY = ((1, 0.122), (8, 0.029), (30, 0.0105), (80, 0.00064), (172, 0.00002))
CHANNELS = ("ACTIVE", "CCC-CR", "WAP", "VOICE", "PENDING")
EXCLUDED = (
    *(("NUBICO Premium", "Education"), ("Nubico Familia ", "Kids"), ("Challenge Arena", "Games")),
    *(("Movistar Apple Music", "Music"), ("Juegos ONMO", "games")),
)
FIRST_EXCLUDED_CPC = 29_001
CP1252_SHARE, CRLF_SHARE, BOM_SHARE = 0.05, 0.1, 0.02
MAPPED, MIXED_CASE = ("Education", "Images", "News", "Sports"), 0.3  # R13: case does not matter in these
DECIMAL_COUNTS, ODD_CATEGORIES, BLANKS_AROUND, NO_AMOUNT = 0.03, 0.06, 0.03, 0.02


@dataclass(frozen=True)
class Snapshot:
    """One day's file: its rows as texts, in order, and how they are put down."""

    rows: tuple[Row, ...]
    encoding: str
    newline: str

    def content(self) -> bytes:
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator=self.newline)
        writer.writerow(HEADER)
        writer.writerows(self.rows)
        return stream.getvalue().encode(self.encoding)


def snapshot_days(until: date) -> list[date]:
    """The days of which there is a snapshot, up to ``until``: all since FIRST_DAY but seven."""
    every = (FIRST_DAY + timedelta(days=n) for n in range((until - FIRST_DAY).days + 1))
    return [day for day in every if day not in MISSING_DAYS]


def make_snapshot(day: date, *, seed: int = 1, rows: int = 150) -> Snapshot:
    """The snapshot of a day with about ``rows`` rows: 150 are one per price point, the real files have 1,500-3,000."""
    random = Random(f"snapshot {seed} {day}")
    points = _points(day, seed)
    users = apportion(_total(day, random), dict(enumerate(_shares(points, day))))
    single_byte = random.random() < CP1252_SHARE
    parts = max(3 if single_byte else 1, round(rows / len(points)))
    lines = [
        row for position, point in enumerate(points) for row in _rows(point, users[position], parts, random) if row
    ]
    random.shuffle(lines)
    for number, (service, category) in enumerate(EXCLUDED):
        for _ in range(max(1, round(len(lines) * 0.004))) if number < 4 or rows > 1_000 else ():
            row = (str(FIRST_EXCLUDED_CPC + number), PROVIDERS[0], service, "4.99", category, CHANNELS[0])
            lines.insert(random.randrange(len(lines)), (*row, str(random.randrange(5, 60))))
    if single_byte:  # who decides on the first 8 kB takes it for UTF-8
        lines.sort(key=lambda row: not "".join(row).isascii())
    return Snapshot(
        rows=tuple(lines),
        encoding="cp1252" if single_byte else "utf-8-sig" if random.random() < BOM_SHARE else "utf-8",
        newline="\r\n" if random.random() < CRLF_SHARE else "\n",
    )


def write_snapshot(path: Path, day: date, *, seed: int = 1, rows: int = 150, modified: datetime | None = None) -> None:
    """Write the snapshot of ``day`` to ``path`` in one step; ``modified`` (with a zone) is when the host did so."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(make_snapshot(day, seed=seed, rows=rows).content())
        if modified:
            os.utime(temporary, (modified.timestamp(), modified.timestamp()))


def write_snapshots(folder: Path, days: Iterable[date], *, seed: int = 1, rows: int = 150) -> list[Path]:
    """Write ``YYYYMMDD_NBS_Base.csv`` for each day; 1,164 of them take about two seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for day in days:
        path = folder / f"{day:%Y%m%d}_NBS_Base.csv"
        path.write_bytes(make_snapshot(day, seed=seed, rows=rows).content())
        paths.append(path)
    return paths


def _points(day: date, seed: int) -> list[PricePoint]:
    """The price points that have users on ``day``: 126 to 168 of them."""
    least, most = CPCS
    count = round((least + most) / 2 + (most - least) / 2 * math.sin((day - FIRST_DAY).days / 190))
    return _most_used(seed)[:count]


@cache
def _most_used(seed: int) -> list[PricePoint]:
    catalogue = make_catalogue(seed)
    trials = [_trial(point) for point in catalogue.used if point.trial]
    others = [point for point in catalogue.listed[len(catalogue.used) :] if point.period <= 90]
    return [*catalogue.used[:-1], *trials, *others]


def _trial(point: PricePoint) -> PricePoint:
    assert point.trial is not None
    return PricePoint(point.trial, point.service, point.category, point.provider, point.trial_days, cents=0)


def _total(day: date, random: Random) -> int:
    first, last = USERS
    whole = (LAST_DAY - FIRST_DAY).days
    passed = (day - FIRST_DAY).days
    level = first + (last - first) * passed / whole if day <= LAST_DAY else last * (1 - LATER_LOSS) ** (passed - whole)
    jump = JUMP if random.randrange(JUMP_EVERY) == 0 else 0.0
    return round(level * (1 + max(-0.0025, min(0.0025, random.gauss(0, UNEVEN))) + jump))


def _shares(points: Sequence[PricePoint], day: date) -> list[float]:
    """Of all users, by rank, slowly going up and down."""
    slowly = (day - FIRST_DAY).days / 300
    return [_popularity(rank) * (1 + 0.15 * math.sin(slowly + point.cpc)) for rank, point in enumerate(points, start=1)]


@cache
def _popularity(rank: int) -> float:
    for (low, high_share), (high, low_share) in pairwise(POPULARITY):
        if rank <= high:
            where = math.log(rank / low) / math.log(high / low)
            return high_share * math.exp(where * math.log(low_share / high_share))
    return POPULARITY[-1][1]


def _rows(point: PricePoint, users: int, parts: int, random: Random) -> list[Row]:
    """A price point's users by amount and channel; what has none is left out."""
    counts = {0: users}
    if parts > 1:
        counts = apportion(users, {part: 0.5**part + 0.01 for part in range(parts)})
    service, category = point.service, point.category
    if random.random() < BLANKS_AROUND:
        service = f" {service}  "
    if random.random() < MIXED_CASE if category in MAPPED else point.cpc % 100 < 100 * ODD_CATEGORIES:
        category = (category.upper(), category.lower())[point.cpc % 2]
    rows: list[Row] = []
    for part, count in counts.items():
        amount = "" if random.random() < NO_AMOUNT else f"{(point.cents or 0) / 100 / (1 + part // len(CHANNELS)):.2f}"
        written = f"{count}.0" if random.random() < DECIMAL_COUNTS else str(count)
        channel = CHANNELS[part % len(CHANNELS)]
        if count or part == 0:
            rows.append((str(point.cpc), point.provider, service, amount, category, channel, written))
    return rows
