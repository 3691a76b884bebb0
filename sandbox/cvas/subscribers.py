"""Who subscribes to what and for how long: everything of a world that is no event yet.

Subscriptions are numbered in the order of their start, and each is a pure function of its number. A subscription starts
free or paid. A free one is upgraded to its paid sibling when the trial is over, or ends; a few of those are upgraded
once more. On the world's first day most of what it will see for long is there already.

Volumes follow the calendar from 2024-01-01 on: they fall fast in the first year and little afterwards. Times are
seconds since 1970 on the source's wall clock.
"""

from __future__ import annotations

from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sandbox.cvas.catalogue import Catalogue, make_catalogue
from sandbox.cvas.draws import Draws, Numbers, Reals, pick

Flags = NDArray[np.bool_]

DAY = 86_400
NEVER = np.int64(2**60)
CALENDAR = date(2024, 1, 1)
OLDEST = date(2006, 3, 1)

# Levels at scale 1 by days since CALENDAR: what is left in the end, what there is more in the beginning, in how many
# days that falls to 37 %.
SUBSCRIBERS = (285_000.0, 140_000.0, 300.0)
STARTS = (425.0, 1_580.0, 235.0)  # a day
ENDS = (640.0, 900.0, 260.0)  # of paid ones a day
NOISE = 0.08  # half the width of what a day is above or below its level

AGE_DAYS, LONG_AGE_DAYS, LONG_AGE_SHARE = 400.0, 1_500.0, 0.04
FREE_SHARE, UPGRADED_SHARE, UPGRADED_AGAIN_SHARE, THIRD_CPC_SHARE = 0.49, 0.49, 0.58, 0.08
LIFE_DAYS, SHORT_LIFE_DAYS, SHORT_LIFE_SHARE = 600.0, 25.0, 0.28
STOCK_LIFE_DAYS = 395.0  # of those that are there on the first day
WEEKEND_ENDS_KEPT = 0.55
RENEWALS_BY_WEEKDAY = (57, 41, 22, 19, 50, 29, 6)
WEEKLY_SHARE = 0.942  # of the renewals; the others care for no day of the week

ORDERLY, SILENT, IN_VAIN = 84.0, 28.0, 28.0  # cancellations a day at scale 1
BURST_FIRST = date(2025, 3, 10)
BURST = np.array([4_000, 21_000, 38_000, 38_000, 38_000, 38_000, 36_000, 27_000])
BURST_KNOWN = 98_000  # of them; the others had ended before anything that is known

SAME_USER_SHARE = 0.41
FIRST_ID, FIRST_ID_OF_CALENDAR, IDS_A_DAY = 7_000_000, 9_200_000, 5_150
NO_PHONE_SHARE = 0.01
CAMPAIGNS, CAMPAIGN_ZIPF, OTHER_CAMPAIGN_ID_SHARE = 1_200, 0.87, 0.15
NO_CAMPAIGN_SHARE, NAMED_CAMPAIGNS = 0.15, {"normal": 0.05, "destacado": 0.03, "-": 0.03}
PROVIDERS, PROVIDER_WEIGHTS = (2, 7, 28, None), (40, 35, 15, 10)
CHANNELS = {"WAP": 7, "WEB": 12, "VOICE": 45, "ACT_DFT": 46, "ORGANIC": 87}
CHANNEL_WEIGHTS = (26, 30, 20, 9, 15)
HOURS = (3, 2, 1, 1, 1, 2, 4, 6, 9, 11, 13, 14, 14, 13, 12, 13, 14, 15, 16, 17, 16, 14, 10, 6)


def moment(day: date) -> int:
    """Midnight at the start of ``day``, in seconds."""
    return (day - date(1970, 1, 1)).days * DAY


def age(days: Any) -> Any:
    """Days since CALENDAR of days since 1970."""
    return days - moment(CALENDAR) // DAY


def level(of: tuple[float, float, float], days: Any) -> Any:
    """A level on ``days`` since 1970; before CALENDAR it is what it was then."""
    end, more, fall = of
    return end + more * np.exp(-np.maximum(age(days), 0) / fall)


def weekday(at: Numbers) -> Numbers:
    """0 is Monday."""
    return (at // DAY + 3) % 7


def periods(elapsed: Numbers, period: Numbers) -> Numbers:
    """How often a period has passed; each takes 7.5 seconds more than it should."""
    return 2 * elapsed // (2 * period + 15)


def due(phase: Numbers, period: Numbers, nth: Numbers) -> Numbers:
    """When the nth period after ``phase`` is over."""
    return phase + nth * (2 * period + 15) // 2


def timestamps(at: Numbers) -> pl.Series:
    """Seconds as microsecond timestamps; null for NEVER."""
    known = pl.Series(at != NEVER)
    return pl.select(pl.when(known).then(pl.Series(at * 1_000_000))).to_series().cast(pl.Datetime("us"))


class Subscriptions(NamedTuple):
    """All subscriptions of a world, by number; what does not happen is at NEVER."""

    id: Numbers
    user: Numbers  # named by the number of one of the user's subscriptions
    born: Numbers
    point: Numbers  # positions in the catalogue: the first price point that costs something, and the last
    last_point: Numbers
    free: Flags  # started with a trial
    paid: Numbers  # from when on
    upgraded: Numbers
    upgraded_again: Numbers
    stop: Numbers  # no renewal from here on
    deactivated: Numbers
    cancelled: Numbers


class Stretches(NamedTuple):
    """Times with renewals: from the start or the trial's end on, and again from the second upgrade on."""

    subscription: Numbers  # its number
    phase: Numbers  # renewals are due one, two, ... periods after it
    period: Numbers  # seconds
    stop: Numbers  # the first moment without a renewal
    point: Numbers  # position in the catalogue


class Subscribers:
    """The subscriptions of a world whose first day is ``first`` (2023 or later); it has new ones until ``last``."""

    def __init__(self, seed: int, scale: float, first: date, last: date) -> None:
        self.scale, self.first, self.last = scale, first, last
        self.draws = Draws(seed)
        self.catalogue: Catalogue = make_catalogue(seed)
        used = self.catalogue.used
        self.cpc = np.array([point.cpc for point in used])
        self.price = np.array([point.cents or 0 for point in used]) / 100
        self.period = np.array([point.period for point in used]) * DAY
        self.free_cpc = np.array([point.trial or 0 for point in used])
        self.trial = np.array([point.trial_days for point in used]) * DAY

    @cached_property
    def growth(self) -> tuple[Numbers, Numbers]:
        """The world's days since 1970, and how many subscriptions have started before each of them and in all."""
        days = np.arange(moment(self.first) // DAY, moment(self.last) // DAY + 1)
        starts = self.volume("starts", level(STARTS, days) * self.scale, days)
        stock = round(self.scale * level(SUBSCRIBERS, days[0]))
        return days, stock + np.concatenate([[0], np.cumsum(starts)])

    def volume(self, what: str, levels: Reals, days: Numbers) -> Numbers:
        """How many there are on each day: near the level, and not the same every day."""
        uneven = 1 + NOISE * (2 * self.draws.uniform(f"{what}, uneven", days) - 1)
        return np.floor(levels * uneven + self.draws.uniform(f"{what}, rounded", days)).astype(np.int64)

    @cached_property
    def subscriptions(self) -> Subscriptions:
        draw, begin = self.draws, moment(self.first)
        born = self._starts()
        number = np.arange(len(born))
        point = draw.pick("price point", self._popularity, number)
        free = (draw.uniform("free", number) < FREE_SHARE) & (self.free_cpc[point] > 0)
        trial_end = born + self.trial[point] + draw.pick("trial end", (1,) * 7, number) - 1
        upgraded = draw.uniform("upgraded", number) < UPGRADED_SHARE
        stays = ~free | upgraded | (trial_end < begin)  # or it would not be there any more on the first day
        paid = np.where(free, trial_end, born)

        short = draw.uniform("short life", number) < SHORT_LIFE_SHARE
        mean = np.where(born < begin, STOCK_LIFE_DAYS, np.where(short, SHORT_LIFE_DAYS, LIFE_DAYS))
        life = -mean * DAY * np.log1p(-draw.uniform("life", number))
        there = np.maximum(born, begin)
        trial = (trial_end - there) * draw.uniform("trial", number) ** 0.4
        stop = np.where(stays, np.maximum(paid, begin) + life.astype(np.int64), there + trial.astype(np.int64))
        stop = self._off_weekend(stop)

        wait = (30 + 170 * draw.uniform("upgraded again", number)) * DAY
        again = np.where(free & stays, paid + wait.astype(np.int64), NEVER)
        again[(again >= stop) | (draw.uniform("twice", number) >= UPGRADED_AGAIN_SHARE)] = NEVER
        third = (again < NEVER) & (draw.uniform("third", number) < THIRD_CPC_SHARE)
        other = draw.pick("third price point", self._popularity, number)
        ended = Subscriptions(
            id=self._ids(),
            user=self._users(number),
            born=born,
            point=point,
            last_point=np.where(third, other, point),
            free=free,
            paid=np.where(stays, paid, NEVER),
            upgraded=np.where(free & stays, paid, NEVER),
            upgraded_again=again,
            stop=stop,
            deactivated=stop,
            cancelled=np.full_like(stop, NEVER),
        )
        return self._with_late_cancellations(self._with_cancellations(ended))

    def _starts(self) -> Numbers:
        days, existing = self.growth
        number = np.arange(existing[-1])
        stock = number[: existing[0]]
        long = self.draws.uniform("long age", stock) < LONG_AGE_SHARE
        old = -np.where(long, LONG_AGE_DAYS, AGE_DAYS) * np.log1p(-self.draws.uniform("age", stock))
        old %= (self.first - OLDEST).days
        day = np.concatenate([np.sort(days[0] - 1 - old.astype(np.int64)), np.repeat(days, np.diff(existing))])
        upper = np.concatenate([[0], np.cumsum(HOURS) / sum(HOURS)])
        second = np.interp(self.draws.uniform("second", number), upper, np.arange(len(upper)) * 3_600.0)
        return np.sort(day * DAY + second.astype(np.int64))

    def _ids(self) -> Numbers:
        """Rising, with gaps."""
        days, existing = self.growth
        stock, starts = existing[0], np.diff(existing)
        wide = max(1, int(np.ceil(self.scale)))  # room for what a larger operator has
        block = FIRST_ID + wide * (FIRST_ID_OF_CALENDAR - FIRST_ID + age(days) * IDS_A_DAY)
        of_day = np.repeat(np.arange(len(days)), starts)
        position = np.arange(stock, existing[-1]) - existing[:-1][of_day]
        old = FIRST_ID + np.arange(stock) * (block[0] - FIRST_ID) // max(1, stock)
        return np.concatenate([old, block[of_day] + position * wide * IDS_A_DAY // starts[of_day]])

    def _users(self, number: Numbers) -> Numbers:
        """1.4 subscriptions have the same user."""
        other = (self.draws.uniform("whose", number) * number).astype(np.int64)
        return np.where(self.draws.uniform("same user", number) < SAME_USER_SHARE, other, number)

    @cached_property
    def _popularity(self) -> Reals:
        """How often each price point is chosen, so that renewals are shared out as the catalogue says."""
        lost = np.where(self.free_cpc > 0, FREE_SHARE * (1 - UPGRADED_SHARE), 0.0)
        popularity: Reals = np.array(self.catalogue.renewal_shares) * self.period / (1 - lost)
        return popularity

    def _off_weekend(self, stop: Numbers) -> Numbers:
        """Fewer subscriptions end on a weekend: some wait for one of the five days after."""
        number = np.arange(len(stop))
        waits = (weekday(stop) >= 5) & (self.draws.uniform("weekend", number) >= WEEKEND_ENDS_KEPT)
        days = 7 - weekday(stop) + self.draws.pick("working day", (1,) * 5, number)
        return stop + np.where(waits, days * DAY, 0)

    def _with_cancellations(self, of: Subscriptions) -> Subscriptions:
        """Some ends begin with a cancellation by the user: the deactivation follows at the period's end, or never
        does. Others cancel, and nothing comes of it."""
        draw, number = self.draws, np.arange(len(of.id))
        paid = of.paid < NEVER
        how = np.where(paid, draw.uniform("how it ends", number) * level(ENDS, of.stop // DAY), np.inf)
        orderly, silent = how < ORDERLY, (how >= ORDERLY) & (how < ORDERLY + SILENT)
        seen = np.maximum(np.where(paid, of.paid, of.born), moment(self.first))
        wait = -level(SUBSCRIBERS, seen // DAY) / IN_VAIN * DAY * np.log1p(-draw.uniform("in vain", number))
        in_vain = seen + wait.astype(np.int64)
        in_vain[~paid | (in_vain >= of.stop)] = NEVER

        again = of.upgraded_again < NEVER
        period = self.period[np.where(again, of.last_point, of.point)]
        phase = self._phase(np.where(again, of.upgraded_again, seen), period, number, again)
        period_end = due(phase, period, periods(of.stop - phase, period) + 1)
        return of._replace(
            cancelled=np.where(orderly | silent, of.stop, in_vain),
            deactivated=np.where(orderly, period_end, np.where(silent, NEVER, of.stop)),
        )

    def _with_late_cancellations(self, of: Subscriptions) -> Subscriptions:
        """Once, within eight days, very many cancel what had ended long before."""
        draw, number, begin = self.draws, np.arange(len(of.id)), moment(BURST_FIRST)
        ended = (of.deactivated < begin) & (of.cancelled == NEVER)
        chosen = ended & (draw.uniform("burst", number) < BURST_KNOWN * self.scale / max(1, ended.sum()))
        second = (DAY * draw.uniform("burst second", number)).astype(np.int64)
        at = begin + draw.pick("burst day", BURST, number) * DAY + second
        return of._replace(cancelled=np.where(chosen, at, of.cancelled))

    def _phase(self, anchor: Numbers, period: Numbers, number: Numbers, again: Flags) -> Numbers:
        """Where periods are counted from: most weekly ones stay on their day of the week, the others are moved to one
        of the days on which the operator charges more."""
        uniform = self.draws.uniform("charging day", number, again)
        stays = np.minimum(1, 7 * CHARGING_DAYS)[weekday(anchor)]
        to = pick((uniform - stays) / np.maximum(1 - stays, 1e-9), np.maximum(CHARGING_DAYS - 1 / 7, 0))
        moves = (period == 7 * DAY) & (uniform >= stays)
        phase: Numbers = anchor + np.where(moves, (to - weekday(anchor)) % 7, 0) * DAY
        return phase

    @cached_property
    def stretches(self) -> Stretches:
        every = self.subscriptions
        once, twice = every.paid < every.stop, every.upgraded_again < NEVER

        def both(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([first[once], second[twice]])

        number = np.arange(len(every.id))
        subscription, point = both(number, number), both(every.point, every.last_point)
        anchor, period = both(every.paid, every.upgraded_again), self.period[point]
        return Stretches(
            subscription=subscription,
            phase=self._phase(anchor, period, subscription, both(np.zeros_like(once), np.ones_like(once))),
            period=period,
            stop=both(np.minimum(every.stop, every.upgraded_again), every.stop),
            point=point,
        )

    @cached_property
    def about(self) -> pl.DataFrame:
        """What every event of a subscription says of it, by number."""
        every, draw = self.subscriptions, self.draws
        number = np.arange(len(every.id))
        channel = draw.pick("channel", CHANNEL_WEIGHTS, number)
        campaigns, weights = self._campaigns()
        about = pl.DataFrame(
            {
                "tmuserid": self.user_ids(every.user),
                "msisdn": self.phones(every.user),
                "channel_id": pl.Series(list(CHANNELS.values())).gather(channel),
                "channel_act": pl.Series(list(CHANNELS)).gather(channel),
                "act_date": timestamps(every.born - draw.pick("act date", (1,) * 4, number)),
                "tef_prov": pl.Series(PROVIDERS).gather(draw.pick("provider", PROVIDER_WEIGHTS, number)),
                "subscription_id": every.id,
            }
        )
        return about.hstack(campaigns[draw.pick("campaign", weights, number)])

    def _campaigns(self) -> tuple[pl.DataFrame, Reals]:
        """Campaigns as events tell them, and how often each occurs."""
        ranks = np.arange(1, CAMPAIGNS + 1)
        codes = [f"{bits % 16**7:07x}" for bits in self.draws.bits("campaign code", ranks).tolist()]
        rows: list[tuple[str | None, ...]] = [(None, None, None)]
        rows += [(name, "organico", None) for name in NAMED_CAMPAIGNS]
        rows += [(code, "campana", code) for code in codes]
        rows += [(code, "campana", other) for code, other in zip(codes, reversed(codes), strict=True)]
        others = [NO_CAMPAIGN_SHARE, *NAMED_CAMPAIGNS.values()]
        coded = (1 - sum(others)) * ranks**-CAMPAIGN_ZIPF / (ranks**-CAMPAIGN_ZIPF).sum()
        shares = [*others, *(1 - OTHER_CAMPAIGN_ID_SHARE) * coded, *OTHER_CAMPAIGN_ID_SHARE * coded]
        names = dict.fromkeys(("camp_name", "campana_medium", "campana_id"), pl.String)
        return pl.DataFrame(rows, schema=names, orient="row"), np.array(shares)

    def user_ids(self, users: Numbers) -> pl.Series:
        """19 digits; every tenth begins with a zero."""
        first = pl.Series(self.draws.pick("first digit", (1,) * 10, users)).cast(pl.String)
        rest = pl.Series(self.draws.bits("user id", users) % np.uint64(10**18))
        return first + rest.cast(pl.String).str.zfill(18)

    def phones(self, users: Numbers) -> pl.Series:
        """``346`` and eight digits, others for every user; null for the few who have none."""
        phone = pl.Series(34_600_000_000 + users * 61_803_399 % 10**8).cast(pl.String)
        known = pl.Series(self.draws.uniform("phone", users) >= NO_PHONE_SHARE)
        return phone.zip_with(known, pl.Series([None], dtype=pl.String))


def _charging_days() -> Reals:
    """How weekly renewals are spread over Monday to Sunday, given that the others are spread evenly."""
    wanted = np.array(RENEWALS_BY_WEEKDAY) / sum(RENEWALS_BY_WEEKDAY)
    weekly: Reals = (wanted - (1 - WEEKLY_SHARE) / 7) / WEEKLY_SHARE
    return weekly


CHARGING_DAYS = _charging_days()
