"""Upbit's tick grid for arrays of prices, and seeded numbers that need no state.

The table itself is `exchange.price_units`; here is only its vectorised form, because the trading
path that uses the table imports no numpy.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from trading_assets.exchange.price_units import KRW_TICKS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_ASCENDING = KRW_TICKS[::-1]
_STARTS = np.array([float(start) for start, _ in _ASCENDING])
_TICKS = np.array([float(tick) for _, tick in _ASCENDING])
# Ticks below 1 as whole numbers of parts, so that 12.3 is the double nearest to 12.3.
_PARTS = np.array([float(1 / tick) for _, tick in _ASCENDING])


def tick_sizes(prices: FloatArray) -> FloatArray:
    """The distance between neighbouring prices at each of `prices` (KRW per coin, above 0)."""
    sizes: FloatArray = _TICKS[np.searchsorted(_STARTS, prices, side="right") - 1]
    return sizes


def round_to_tick(prices: FloatArray) -> FloatArray:
    """The nearest price on the grid, at least one smallest tick."""
    band = np.searchsorted(_STARTS, prices, side="right") - 1
    ticks, parts = _TICKS[band], _PARTS[band]
    fine = np.rint(prices * parts) / parts
    rounded = np.where(ticks >= 1, np.rint(prices / ticks) * ticks, fine)
    return np.asarray(np.maximum(rounded, _TICKS[0]), dtype=np.float64)


def seed_key(*parts: object) -> int:
    """A 64-bit key from the names and numbers that identify a stream of random numbers."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def uniforms(key: int, counters: IntArray) -> FloatArray:
    """One number in [0, 1) per counter, the same for the same (key, counter) for ever.

    Source: splitmix64, Steele, Lea & Flood (2014), used as a hash.
    """
    x = counters.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)).astype(np.float64) * 2.0**-53)
