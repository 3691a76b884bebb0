"""Random numbers that belong to what they are drawn for: the same thing gets the same number, whoever asks, whenever.

Every draw is a hash of the seed, a word that says what is drawn, and the numbers of the things. So any row of a world
is made directly, without those before it.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bits = NDArray[np.uint64]
Numbers = NDArray[np.int64]
Reals = NDArray[np.float64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Draws:
    """The draws of one seed. ``things`` are arrays of integers of one length; the result has that length."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def bits(self, what: str, *things: ArrayLike) -> Bits:
        """64 random bits for each thing."""
        salt = int.from_bytes(blake2b(f"{self._seed} {what}".encode(), digest_size=8).digest(), "big")
        mixed = np.full(1, salt, np.uint64)
        for each in things:
            mixed = _mix(np.atleast_1d(np.asarray(each)).astype(np.uint64) * _STEP + mixed)
        return mixed

    def uniform(self, what: str, *things: ArrayLike) -> Reals:
        """Evenly spread over 0 <= u < 1."""
        return unit(self.bits(what, *things))

    def one(self, what: str, *things: int) -> float:
        """The same for one thing."""
        return float(self.uniform(what, *things)[0])

    def pick(self, what: str, weights: ArrayLike, *things: ArrayLike) -> Numbers:
        """Positions in ``weights``, each as likely as its weight."""
        return pick(self.uniform(what, *things), weights)


def unit(bits: Bits) -> Reals:
    """The upper 53 of 64 random bits as a number from 0 to below 1."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def pick(uniform: Reals, weights: ArrayLike) -> Numbers:
    """The position in ``weights`` that each quantile falls on."""
    upper = np.cumsum(np.asarray(weights, np.float64))
    return np.searchsorted(upper[:-1] / upper[-1], uniform, side="right").astype(np.int64)


def sixteenth(bits: Bits, part: int) -> Reals:
    """One of four independent numbers, 0 <= u < 1 in steps of 2**-16, of the same 64 bits."""
    return ((bits >> np.uint64(16 * part)) & np.uint64(0xFFFF)).astype(np.float64) / 65_536


def _mix(value: Bits) -> Bits:
    value ^= value >> np.uint64(30)
    value *= _FIRST
    value ^= value >> np.uint64(27)
    value *= _SECOND
    value ^= value >> np.uint64(31)
    return value
