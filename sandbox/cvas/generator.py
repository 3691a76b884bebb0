"""Every transaction of the telecom from a seed, one day or 680 of them.

An event is a pure function of its subscription and of how many came before. So any day is made directly, and what
happened on it depends neither on the window asked for nor on how long the world goes on; it does depend on seed, scale
and the world's first day.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from math import exp, factorial
from typing import Any

import numpy as np
import polars as pl

from include.common.journal import RunLog
from include.cvas.config import Lake
from include.cvas.contract import ACT, CNR, DCT, PPD, RENO, RFND, TYPES, TransactionType
from include.cvas.lake import LoadedDay, month_of, writing
from sandbox.cvas.draws import Numbers, Reals, pick, sixteenth
from sandbox.cvas.subscribers import (
    BURST,
    BURST_FIRST,
    BURST_KNOWN,
    DAY,
    NEVER,
    Flags,
    Subscribers,
    age,
    due,
    level,
    moment,
    periods,
    timestamps,
)

Frames = dict[str, pl.DataFrame]

JITTER = 7  # seconds a renewal is late at most; with the 7.5 of every period that is 0 to 15 more each time
SKIPPED_SHARE = 0.05
OUTAGE_EVERY, REFUND_FREE_EVERY = 120, 220  # days
NO_CHANNEL_ID, NO_CHANNEL_SHARE = 991, 0.005  # a number that no table of channels knows
UPGRADE, UPGRADE_ID = "UPGRADE", 3
MODES, MODE_WEIGHTS = ("WAP-CR", "CCC-CR", "SMS-CR"), (45, 40, 15)
END_CHANNELS, END_CHANNEL_WEIGHTS = ("CCC-BL", "CCC-CR", "WAP-CR", "SMS-CR"), (55, 25, 12, 8)

REFUNDS = (320.0, 850.0, 300.0)  # rows a day: see subscribers.level
REFUND_COUNT, AUTOMATIC_SHARE, REFUND_TWINS, REFUND_WITHOUT_ID = 5.6, 0.27, 0.007, 0.01
DOWNLOADS, EARLY_DOWNLOADS, EARLY_DAYS = 0.35, 3.0, 366  # a day, at every scale; early is 2024
TOGETHER_DAY, TOGETHER_SECOND = 5, 43_200  # two users buy the same at noon of the world's sixth day
UNKNOWN_IDS, UNKNOWN_USERS = 5_000_000, 90_000_000


class Telecom(Subscribers):
    """One world from ``first`` (2023 or later) to ``last``. Nothing is made before it is asked for.

    ``scale`` 1.0 is the real operator: 680 days from 2024-01-01 are 31 M events. At scale 8 a Monday of late 2025 has
    as many rows as the largest day that was ever spoken of.
    """

    def events(self, first: date, last: date) -> Frames:
        """Every event from ``first`` to ``last`` (both included) by type, each sorted by time and subscription.

        Columns and types are the contract's. Days outside the world have none.
        """
        start, end = moment(max(first, self.first)), moment(min(last, self.last)) + DAY
        end = max(start, end)
        return {
            ACT.name: self._activations(start, end),
            RENO.name: self._renewals(start, end),
            DCT.name: self._deactivations(start, end),
            PPD.name: self._downloads(start, end),
            CNR.name: self._cancellations(start, end),
            RFND.name: self._refunds(start, end),
        }

    def test_users(self, count: int = 88) -> list[tuple[str, str | None]]:
        """Phone and user id of subscribers who are the operator's own people; every fourth id is not known."""
        some = (self.draws.uniform("test user", np.arange(count)) * len(self.subscriptions.user)).astype(np.int64)
        users = np.unique(self.subscriptions.user[some])
        pairs = zip(self.phones(users), self.user_ids(users), strict=True)
        return [(phone, None if position % 4 == 3 else user) for position, (phone, user) in enumerate(pairs) if phone]

    def write_lake(self, lake: Lake, until: date, *, delivered: Callable[[Frames], Frames] = lambda rows: rows) -> None:
        """Write all events up to ``until`` as the partitions of an empty lake, with the state that goes with them.

        A month at a time is in memory. ``delivered`` turns events into what arrives of them; see
        :func:`sandbox.cvas.source.delivered`.
        """
        with writing(lake, "sandbox", RunLog()) as change:
            for first, last in _months(self.first, min(until, self.last)):
                frames = delivered(self.events(first, last))
                for kind in TYPES:
                    rows = frames[kind.name]
                    change.write(kind, month_of(first), rows)
                    counts = dict(rows[kind.event_date].dt.date().value_counts().iter_rows())
                    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
                        count = counts.get(day, 0)
                        change.state.record(day, kind, LoadedDay(count, "historical" if count else "empty"))
            change.publish(None)

    def _rows(
        self, kind: TransactionType, number: Numbers, no_channel: Flags | None = None, **more: Any
    ) -> pl.DataFrame:
        """Rows of one type about these subscriptions; ``more`` are columns that differ from event to event."""
        wanted = kind.column_names
        rows = self.about.select(name for name in self.about.columns if name in wanted)[number]
        rows = rows.with_columns(pl.lit(kind.trans_type_id).alias("trans_type_id"), **more)
        if no_channel is not None:
            lost = pl.lit(pl.Series(no_channel))
            rows = rows.with_columns(
                channel_id=pl.when(lost).then(NO_CHANNEL_ID).otherwise("channel_id"),
                channel_act=pl.when(lost).then(None).otherwise("channel_act"),
            )
        return rows.select(wanted).cast(kind.schema())  # type: ignore[arg-type]

    def _happening(self, start: int, end: int, *times: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Who has one of the times in the window: number, time and which of the times, in the order of events."""
        found = [np.flatnonzero((at >= start) & (at < end)) for at in times]
        number = np.concatenate(found)
        at = np.concatenate([at[those] for at, those in zip(times, found, strict=True)])
        which = np.repeat(np.arange(len(times)), [len(those) for those in found])
        order = np.lexsort((self.subscriptions.id[number], at))
        return number[order], at[order], which[order]

    def _activations(self, start: int, end: int) -> pl.DataFrame:
        every = self.subscriptions
        number, at, which = self._happening(start, end, every.born, every.upgraded, every.upgraded_again)
        free = (which == 0) & every.free[number]
        point = np.where(which == 2, every.last_point[number], every.point[number])
        upgrade = pl.lit(pl.Series(which > 0))
        return self._rows(
            ACT,
            number,
            no_channel=(which == 0) & (self.draws.uniform("no channel", number) < NO_CHANNEL_SHARE),
            trans_date=timestamps(at),
            reno_date=timestamps(at + np.where(free, self.trial[point], self.period[point])),
            cpc=np.where(free, self.free_cpc[point], self.cpc[point]),
            rev=np.where(free, 0.0, self.price[point]),
            channel_id=pl.when(upgrade).then(UPGRADE_ID).otherwise("channel_id"),
            channel_act=pl.when(upgrade).then(pl.lit(UPGRADE)).otherwise("channel_act"),
        )

    def _renewals(self, start: int, end: int) -> pl.DataFrame:
        every = self.stretches
        alive = np.flatnonzero((every.stop > start) & (every.phase < end))
        phase, period = every.phase[alive], every.period[alive]
        first = np.maximum(1, periods(start - JITTER - phase, period))
        times = np.maximum(0, periods(np.minimum(end, every.stop[alive]) - phase, period) + 1 - first)
        stretch, nth = each(alive, times)
        nth += np.repeat(first, times)
        bits = self.draws.bits("renewal", every.phase[stretch], every.subscription[stretch], nth)
        at = due(every.phase[stretch], every.period[stretch], nth) + (bits % np.uint64(JITTER + 1)).astype(np.int64)
        inside = (at >= start) & (at < end) & (at < every.stop[stretch])
        works = self._working_share(np.arange(start // DAY, end // DAY + 1))[np.where(inside, (at - start) // DAY, 0)]
        happens = np.flatnonzero(inside & (sixteenth(bits, 1) >= SKIPPED_SHARE) & (sixteenth(bits, 2) < works))
        number = every.subscription[stretch[happens]]
        happens = happens[np.lexsort((self.subscriptions.id[number], at[happens]))]
        stretch, at, nth, bits = stretch[happens], at[happens], nth[happens], bits[happens]
        return self._rows(
            RENO,
            every.subscription[stretch],
            no_channel=sixteenth(bits, 3) < NO_CHANNEL_SHARE,
            trans_date=timestamps(at),
            reno_date=timestamps(due(every.phase[stretch], every.period[stretch], nth + 1)),
            cpc=self.cpc[every.point[stretch]],
            rev=self.price[every.point[stretch]],
        )

    def _working_share(self, days: Numbers) -> Reals:
        """How much of a day's renewals get through: all, but on an outage day hardly any."""
        out = self.draws.uniform("outage", days) < 1 / OUTAGE_EVERY
        return np.where(out, 0.01 + 0.025 * self.draws.uniform("outage share", days), 1.0)

    def _deactivations(self, start: int, end: int) -> pl.DataFrame:
        every = self.subscriptions
        number, at, which = self._happening(start, end, every.upgraded, every.upgraded_again, every.deactivated)
        over = which == 2
        again = over & (every.upgraded_again[number] < NEVER)
        point = np.where(again, every.last_point[number], every.point[number])
        on_trial = (which == 0) | (every.paid[number] == NEVER)
        cancelled = every.cancelled[number] == every.stop[number]
        by_operator = len(MODES) + self.draws.pick("end", END_CHANNEL_WEIGHTS, number)
        channels = [*MODES, *END_CHANNELS, UPGRADE, None]
        channel = np.where(cancelled, self._mode(number), by_operator)
        channel[self.draws.uniform("no end channel", number) < NO_CHANNEL_SHARE] = channels.index(None)
        channel[~over] = channels.index(UPGRADE)
        return self._rows(
            DCT,
            number,
            trans_date=timestamps(at),
            reno_date=timestamps(np.where(over, NEVER, at + self.period[point])),
            cpc=np.where(on_trial, self.free_cpc[point], self.cpc[point]),
            channel_dct=pl.Series(channels).gather(channel),
        )

    def _mode(self, number: Numbers) -> Numbers:
        """By which of MODES a subscription is cancelled, if it is."""
        return self.draws.pick("mode", MODE_WEIGHTS, number)

    def _cancellations(self, start: int, end: int) -> pl.DataFrame:
        every = self.subscriptions
        number, at, _ = self._happening(start, end, every.cancelled)
        point = np.where(every.upgraded_again[number] < at, every.last_point[number], every.point[number])
        known = pl.DataFrame(
            {
                "cancel_date": timestamps(at),
                "sbn_id": every.id[number],
                "tmuserid": self.about["tmuserid"].gather(number),
                "cpc": np.where(every.paid[number] < at, self.cpc[point], self.free_cpc[point]),
                "mode": pl.Series(MODES).gather(self._mode(number)),
            }
        )
        both = pl.concat([known, self._unknown_cancellations(start, end)], how="vertical_relaxed")
        return both.unique(CNR.key, keep="first", maintain_order=True).sort(CNR.key[::-1]).cast(CNR.schema())  # type: ignore[arg-type]

    def _unknown_cancellations(self, start: int, end: int) -> pl.DataFrame:
        """Those of the burst whose subscriptions had ended before anything that is known."""
        days = np.arange(start // DAY, end // DAY)
        of_burst = days - moment(BURST_FIRST) // DAY
        share = self.scale * (1 - BURST_KNOWN / BURST.sum())
        inside = (of_burst >= 0) & (of_burst < len(BURST))
        day, row = each(days, np.where(inside, BURST[of_burst % len(BURST)] * share, 0).astype(np.int64))
        bits = self.draws.bits("unknown", day, row)
        return pl.DataFrame(
            {
                "cancel_date": timestamps(day * DAY + (DAY * sixteenth(bits, 0)).astype(np.int64)),
                "sbn_id": UNKNOWN_IDS + (bits % np.uint64(1_000_003)).astype(np.int64),
                "tmuserid": self.user_ids(UNKNOWN_USERS + row),
                "cpc": self.cpc[pick(sixteenth(bits, 1), np.ones_like(self.cpc))],
                "mode": pl.Series(MODES).gather(pick(sixteenth(bits, 2), MODE_WEIGHTS)),
            }
        )

    def _refunds(self, start: int, end: int) -> pl.DataFrame:
        """Of what was charged before; most of it is over."""
        every, draw = self.subscriptions, self.draws
        days, existing = self.growth
        asked = (days * DAY >= start) & (days * DAY < end)
        days, existing = days[asked], existing[:-1][asked]
        sizes = self.volume("refunds", level(REFUNDS, days) * self.scale, days)
        sizes[draw.uniform("no refunds", days) < 1 / REFUND_FREE_EVERY] = 0
        day, row = each(days, sizes)
        number = np.zeros_like(day)
        for attempt in range(3):
            number = np.where(
                (attempt > 0) & (every.paid[number] < day * DAY),
                number,
                (draw.uniform("refunded", day, row, attempt) * np.repeat(existing, sizes)).astype(np.int64),
            )
        charged = np.flatnonzero(every.paid[number] < day * DAY)
        _, once = np.unique(np.stack([day[charged], number[charged]]), axis=1, return_index=True)
        day, row, number = day[charged[once]], row[charged[once]], number[charged[once]]

        again = every.upgraded_again[number] < day * DAY
        point = np.where(again, every.last_point[number], every.point[number])
        times = 1 + np.floor(np.log1p(-draw.uniform("times", day, row)) / np.log1p(-1 / REFUND_COUNT))
        named, twin = draw.uniform("refund id", day, row) >= REFUND_WITHOUT_ID, draw.uniform("refund twin", day, row)
        automatic = pl.Series(draw.uniform("automatic", day, row) < AUTOMATIC_SHARE)
        rows = pl.DataFrame(
            {
                "tmuserid": self.about["tmuserid"].gather(number),
                "cpc": self.cpc[point],
                "refnd_date": timestamps(day * DAY),
                "rfnd_amount": np.round(times * self.price[point], 2),
                "rfnd_cnt": times.astype(np.int64),
                "sbnid": pl.Series(every.id[number]).zip_with(pl.Series(named), pl.Series([None], dtype=pl.Int64)),
                "instant_rfnd": pl.Series(["f", "t"]).gather(automatic.cast(pl.UInt32)),
            }
        )
        flipped = rows.filter(pl.Series(twin < REFUND_TWINS / 2)).with_columns(
            instant_rfnd=pl.col("instant_rfnd").replace({"t": "f", "f": "t"})
        )
        moves = (twin >= REFUND_TWINS / 2) & (twin < REFUND_TWINS)
        moved = rows.filter(pl.Series(moves)).with_columns(cpc=pl.Series(self.cpc[(point[moves] + 1) % len(self.cpc)]))
        order = (RFND.event_date, *(name for name in RFND.key if name != RFND.event_date))
        return pl.concat([rows, flipped, moved]).sort(order, nulls_last=True).cast(RFND.schema())  # type: ignore[arg-type]

    def _downloads(self, start: int, end: int) -> pl.DataFrame:
        draw = self.draws
        days, existing = self.growth
        together = days[TOGETHER_DAY : TOGETHER_DAY + 1]
        asked = (days * DAY >= start) & (days * DAY < end)
        sizes = np.zeros_like(days)
        for mean, those in ((EARLY_DOWNLOADS, age(days) < EARLY_DAYS), (DOWNLOADS, age(days) >= EARLY_DAYS)):
            chances = [exp(-mean) * mean**count / factorial(count) for count in range(9)]
            sizes[those & asked] = draw.pick("downloads", chances, days[those & asked])
        day, row = each(days, sizes)
        second = draw.pick("download second", np.ones(DAY), day, row)
        what = draw.pick("download", np.ones(len(self.catalogue.downloads)), day, row)
        if np.isin(together, days[asked]).any():
            day, row = np.append(day, [*together, *together]), np.append(row, [100, 101])
            second, what = np.append(second, [TOGETHER_SECOND] * 2), np.append(what, [0, 0])
        at = day * DAY + second
        number = (draw.uniform("downloader", day, row) * existing[day - days[0]]).astype(np.int64)
        cpc, cents = (np.array([getattr(each, name) for each in self.catalogue.downloads]) for name in ("cpc", "cents"))
        rows = self._rows(
            PPD,
            number,
            trans_date=timestamps(at),
            act_date=timestamps(at),
            reno_date=timestamps(np.full_like(at, NEVER)),
            cpc=cpc[what],
            rev=cents[what] / 100,
            subscription_id=UNKNOWN_IDS - 1 - at % 1_000_000,
        )
        return rows.sort("trans_date", "subscription_id", "tmuserid")


def each(things: Numbers, times: Numbers) -> tuple[Numbers, Numbers]:
    """Every thing so many times, and beside it 0, 1, 2, ... for every time."""
    before = np.cumsum(times) - times
    return np.repeat(things, times), np.arange(times.sum()) - np.repeat(before, times)


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """The first and last day of every month, cut off at both ends."""
    while first <= last:
        end = first.replace(day=monthrange(first.year, first.month)[1])
        yield first, min(end, last)
        first = end + timedelta(days=1)
