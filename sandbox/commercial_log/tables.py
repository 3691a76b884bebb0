"""Weighted tables: a distribution is written down as data and read with a quantile."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")


class Table(Generic[T]):
    """Values with weights (of any sum), read by quantile."""

    def __init__(self, *weighted: tuple[T, float]) -> None:
        self._values = [value for value, _ in weighted]
        self._upper = list(accumulate(weight for _, weight in weighted))

    def at(self, quantile: float) -> T:
        """The value at ``0 <= quantile < 1``."""
        return self._values[min(bisect_right(self._upper, quantile * self._upper[-1]), len(self._values) - 1)]

    def spread(self, slots: int) -> list[T]:
        """``slots`` values at evenly spaced quantiles: the same distribution as a list."""
        return [self.at((slot + 0.5) / slots) for slot in range(slots)]


def apportion(total: int, shares: Mapping[int, float]) -> dict[int, int]:
    """Split ``total`` by ``shares`` into whole numbers that add up to it exactly (largest remainder)."""
    whole = sum(shares.values())
    exact = {key: total * share / whole for key, share in shares.items()}
    counts = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: counts[key] - exact[key])
    for key in by_remainder[: total - sum(counts.values())]:
        counts[key] += 1
    return counts
