"""The trades inside one candle: a seeded bridge through its open, high, low and close.

A candle of the base interval is all that a price source knows; whatever happens inside it is made
up here, always the same way for the same (key, candle). Finer candles, the open candle, the ticker
and the list of trades are all read off these trades, so they agree with each other. The path
inside a candle is synthetic even when the candle is a recorded one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trading_assets.paper_exchange.grid import FloatArray, IntArray, round_to_tick, uniforms

_VOLUME_DECIMALS = 8
# Every trade gets at least this share of an equal split, so that none rounds to volume 0.
_EQUAL_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class BaseCandle:
    """One candle: open time in ms since the Unix epoch, prices KRW, volume coins, value KRW."""

    open_ms: int
    duration_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    value: float


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades, oldest first: time in ms since the Unix epoch, KRW, coins, taker bought.

    sequential_id: unique per market, the same whatever part of the trades is asked for.
    """

    time_ms: IntArray
    price: FloatArray
    volume: FloatArray
    taker_bought: NDArray[np.bool_]
    sequential_id: IntArray

    def __len__(self) -> int:
        return len(self.time_ms)

    def rows(self, start: int, stop: int) -> "Trades":
        """Rows `start` to `stop` (exclusive), without a copy."""
        return Trades(*(getattr(self, f.name)[start:stop] for f in fields(self)))

    def between(self, start_ms: int, end_ms: int) -> "Trades":
        """Those with start_ms <= time_ms < end_ms."""
        start, stop = np.searchsorted(self.time_ms, (start_ms, end_ms))
        return self.rows(int(start), int(stop))

    def until(self, moment_ms: int) -> "Trades":
        """Those that have happened at `moment_ms`."""
        return self.rows(0, int(np.searchsorted(self.time_ms, moment_ms, side="right")))


NO_TRADES = Trades(
    np.empty(0, dtype=np.int64),
    np.empty(0),
    np.empty(0),
    np.empty(0, dtype=np.bool_),
    np.empty(0, dtype=np.int64),
)


def concatenate(parts: Sequence[Trades]) -> Trades:
    """Trades of consecutive candles as one."""
    if not parts:
        return NO_TRADES
    return Trades(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Trades)))


def last_trade_ms(key: int, open_ms: IntArray, duration_ms: int, typical: int) -> IntArray:
    """When the last trade of each candle happens, without making its trades."""
    waits = -np.log1p(-uniforms(key, open_ms)) / typical
    offset = np.floor(duration_ms * (1.0 - np.minimum(waits, 0.95)))
    return open_ms + np.minimum(offset, duration_ms - 1).astype(np.int64)


@lru_cache(maxsize=512)  # one ticker asks for the newest candle's trades three times
def trades_inside(candle: BaseCandle, key: int, typical: int) -> Trades:
    """The trades of `candle`; their open, high, low, close, volume and value are the candle's.

    key: of the market. typical: how many trades a candle of this market has on average. The
    arrays are shared between callers and read-only.
    """
    rng = np.random.Generator(np.random.Philox(key=[key, candle.open_ms]))
    extremes = _extremes(candle, rng)
    n = max(2 + len(extremes), int(rng.poisson(typical * rng.gamma(2.0, 0.5))))
    if not extremes and candle.open == candle.close and rng.random() < 1 / typical:
        n = 1
    price = _bridge(candle, extremes, n, rng)
    volume = _volumes(candle, price, rng)
    times = _times(candle, key, typical, n, rng)
    # The form of Upbit's ids: the time in ms, then a number that sets trades of one ms apart.
    ids = times * 10_000 + np.arange(n)
    trades = Trades(times, price, volume, _taker_bought(price, rng), ids)
    for field in fields(trades):
        getattr(trades, field.name).flags.writeable = False
    return trades


def _extremes(candle: BaseCandle, rng: np.random.Generator) -> list[float]:
    """The high and the low, where neither end of the candle is one, in the order of the path."""
    found = []
    if candle.low < min(candle.open, candle.close):
        found.append(candle.low)
    if candle.high > max(candle.open, candle.close):
        found.append(candle.high)
    # A rising candle more often starts with its dip: the shorter way round.
    dip_first = rng.random() < (0.7 if candle.close >= candle.open else 0.3)
    return found if dip_first else found[::-1]


def _bridge(
    candle: BaseCandle, extremes: list[float], n: int, rng: np.random.Generator
) -> FloatArray:
    """Prices of `n` trades: a random walk tied to the open, the extremes and the close."""
    if n == 1:
        return np.array([candle.close])
    places = np.sort(rng.permutation(n - 2)[: len(extremes)]) + 1
    knots = np.concatenate(([0], places, [n - 1]))
    knot_prices = np.array([candle.open, *extremes, candle.close])
    steps = np.arange(n)
    walk = np.cumsum(rng.standard_normal(n)) * (candle.high - candle.low) * 0.5 / np.sqrt(n)
    tied = walk - np.interp(steps, knots, walk[knots])
    path = np.interp(steps, knots, knot_prices) + tied
    rounded = round_to_tick(np.clip(path, candle.low, candle.high))
    # Recorded prices may lie on an older grid: the candle's own prices stay as they are.
    price = np.clip(rounded, candle.low, candle.high)
    price[knots] = knot_prices
    return price


def _volumes(candle: BaseCandle, price: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A random split of the candle's volume whose average price is the candle's."""
    n = len(price)
    weight = rng.standard_exponential(n)
    weight = (1 - _EQUAL_SHARE) * weight / weight.sum() + _EQUAL_SHARE / n
    if candle.volume > 0:
        weight = _tilted(weight, price, candle.value / candle.volume)
    running = np.round(candle.volume * np.cumsum(weight), _VOLUME_DECIMALS)
    running[-1] = candle.volume
    return np.round(np.diff(running, prepend=0.0), _VOLUME_DECIMALS)


def _tilted(weight: FloatArray, price: FloatArray, target: float) -> FloatArray:
    """`weight` moved towards the dearest or the cheapest trade until the mean price is `target`."""
    if price.min() == price.max():
        return weight  # nothing to move to; rounding of the mean would move everything
    mean = float(weight @ price)
    place = int(price.argmax()) if target > mean else int(price.argmin())
    # At most 3/4: the low (or high) is itself a quarter of a candle's mean price.
    share = min(max((target - mean) / (float(price[place]) - mean), 0.0), 0.75)
    moved = (1 - share) * weight
    moved[place] += share
    return moved


def _times(
    candle: BaseCandle, key: int, typical: int, n: int, rng: np.random.Generator
) -> IntArray:
    last = last_trade_ms(
        key, np.array([candle.open_ms], dtype=np.int64), candle.duration_ms, typical
    )[0]
    earlier = np.sort(rng.random(n - 1)) * (last - candle.open_ms)
    return np.append(candle.open_ms + earlier.astype(np.int64), last)


def _taker_bought(price: FloatArray, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whether the taker bought: yes when the price rose, by chance when it stood still."""
    change = np.diff(price, prepend=price[0])
    return np.where(change == 0, rng.random(len(price)) < 0.5, change > 0)
