"""What every price source of the paper exchange can be asked: candles, pages, trades, last price.

A source knows only candles of one base interval (synthetic: 5 minutes; a recording: its own).
Coarser candles are aggregated, finer ones and the open candle come from the trades inside the base
candles (`inside.py`). Nothing here knows HTTP, JSON or the time: `now` is an argument.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trading_assets.errors import MarketNotFound
from trading_assets.exchange.model import Interval
from trading_assets.paper_exchange.grid import FloatArray, IntArray, seed_key
from trading_assets.paper_exchange.inside import (
    BaseCandle,
    Trades,
    concatenate,
    last_trade_ms,
    trades_inside,
)

MINUTE_MS = 60_000
DAY_MS = 86_400_000
FOR_EVER_MS = 2**62
CANDLE_COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "value")


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles as arrays of one length, oldest first, rows without trades absent.

    open_ms, last_ms: ms since the Unix epoch, start of the candle and its last trade. Prices KRW
    per coin, volume coins, value KRW.
    """

    open_ms: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    value: FloatArray
    last_ms: IntArray

    def __len__(self) -> int:
        return len(self.open_ms)

    def rows(self, start: int, stop: int) -> "Candles":
        """Rows `start` to `stop` (exclusive), without a copy."""
        return Candles(*(getattr(self, f.name)[start:stop] for f in fields(self)))

    def where(self, kept: NDArray[np.bool_]) -> "Candles":
        """The rows that are marked."""
        return Candles(*(getattr(self, f.name)[kept] for f in fields(self)))

    def between(self, start_ms: int, end_ms: int) -> "Candles":
        """Those with start_ms <= open_ms < end_ms."""
        start, stop = np.searchsorted(self.open_ms, (start_ms, end_ms))
        return self.rows(int(start), int(stop))

    def frame(self) -> pd.DataFrame:
        """The project's candle columns, `open_time` as datetime64[us, UTC]."""
        times = pd.to_datetime(self.open_ms, unit="ms", utc=True).as_unit("us")
        prices = {name: getattr(self, name) for name in CANDLE_COLUMNS[1:]}
        return pd.DataFrame({"open_time": times, **prices})


def joined(parts: Sequence[Candles]) -> Candles:
    """Consecutive candles as one."""
    if not parts:
        return NO_CANDLES
    if len(parts) == 1:
        return parts[0]
    return Candles(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Candles)))


def aggregated(candles: Candles, duration_ms: int) -> Candles:
    """`candles` joined to candles of `duration_ms`, aligned on the Unix epoch."""
    if not len(candles):
        return candles
    start_ms = candles.open_ms - candles.open_ms % duration_ms
    first = np.flatnonzero(np.diff(start_ms, prepend=start_ms[0] - 1))
    last = np.append(first[1:], len(candles)) - 1
    return Candles(
        open_ms=start_ms[first],
        open=candles.open[first],
        high=np.maximum.reduceat(candles.high, first),
        low=np.minimum.reduceat(candles.low, first),
        close=candles.close[last],
        # Volumes have 8 decimals, a sum of doubles does not.
        volume=np.asarray(np.round(np.add.reduceat(candles.volume, first), 8), dtype=np.float64),
        value=np.add.reduceat(candles.value, first),
        last_ms=candles.last_ms[last],
    )


def candles_of(trades: Trades, duration_ms: int) -> Candles:
    """Candles of `duration_ms` from trades."""
    points = Candles(
        open_ms=trades.time_ms,
        open=trades.price,
        high=trades.price,
        low=trades.price,
        close=trades.price,
        volume=trades.volume,
        value=trades.price * trades.volume,
        last_ms=trades.time_ms,
    )
    return aggregated(points, duration_ms)


NO_CANDLES = Candles(*(np.empty(0, dtype=d) for d in (np.int64, *[np.float64] * 6, np.int64)))


class Markets(ABC):
    """A price source. `now_ms` and other times in ms since the Unix epoch; safe across threads.

    Its history is cut into blocks of `block_ms` from `first_ms` on, so that 200 markets need no
    more memory than the blocks in use.
    """

    def __init__(
        self, markets: Sequence[str], base: Interval, seed: object, *, first_ms: int, block_ms: int
    ) -> None:
        self.markets = tuple(markets)
        self.base = base
        self.seed = seed
        self._first_ms = first_ms
        self._block_ms = block_ms
        self._keys = {m: seed_key(seed, m, "inside") for m in self.markets}
        # Hours and longer: at most 50 kB each, and a year of days for every ticker.
        self._views = lru_cache(maxsize=8192)(self._aggregated_block)
        self._volumes = lru_cache(maxsize=None)(self._median_volume)

    # --- what a source has to know ------------------------------------------------------------

    @abstractmethod
    def block(self, market: str, number: int) -> Candles:
        """The base candles that start in block `number` (0 the first), always the same."""

    @abstractmethod
    def typical_trades(self, market: str) -> int:
        """How many trades a base candle of `market` has on average."""

    def check_now(self, now_ms: int) -> None:
        """Raise when the source has no prices at `now_ms`. A source without an end never does."""
        del now_ms

    # --- what it can be asked -----------------------------------------------------------------

    def candles(
        self, market: str, interval: Interval, start: datetime, end: datetime
    ) -> pd.DataFrame:
        """Candles with start <= open_time < end, oldest first, as if all of them were closed.

        Columns CANDLE_COLUMNS; candles without trades are absent. Raises MarketNotFound,
        IntervalNotServed.
        """
        start_ms, end_ms = to_ms(start), to_ms(end)
        if self._is_finer(market, interval):
            return self._from_trades(market, interval, start_ms, end_ms, FOR_EVER_MS).frame()
        return self._between(market, interval, start_ms, end_ms).frame()

    def page(self, market: str, interval: Interval, to_ms: int, count: int, now_ms: int) -> Candles:
        """The newest `count` candles with open_ms < to_ms that have a trade until `now_ms`.

        Oldest first; the last one may still be open. Raises MarketNotFound, IntervalNotServed.
        """
        finer = self._is_finer(market, interval)
        end_ms = min(to_ms, now_ms + 1)
        if finer:
            return self._finer_page(market, interval, end_ms, count, now_ms)
        duration = interval.minutes * MINUTE_MS
        current_ms = now_ms - now_ms % duration
        page = self._newest(market, interval, min(end_ms, current_ms), count)
        if current_ms < end_ms:
            newest = self._open_candle(market, current_ms, duration, now_ms)
            page = joined([page, newest])
        return page.rows(max(0, len(page) - count), len(page))

    def trades(self, market: str, start_ms: int, end_ms: int) -> Trades:
        """The trades with start_ms <= time < end_ms, oldest first."""
        duration = self.base.minutes * MINUTE_MS
        base = self._between(market, self.base, start_ms - start_ms % duration, end_ms)
        found = concatenate([self._inside(market, base, i) for i in range(len(base))])
        return found.between(start_ms, end_ms)

    def last_trades(self, market: str, end_ms: int, count: int) -> Trades:
        """The newest `count` trades before `end_ms`, oldest first; fewer at the beginning."""
        parts: list[Trades] = []
        have, before_ms = 0, end_ms
        while have < count:
            base = self._newest(market, self.base, before_ms, 8)
            if not len(base):
                break
            for row in reversed(range(len(base))):
                parts.append(self._inside(market, base, row).until(end_ms - 1))
                have += len(parts[-1])
                if have >= count:
                    break
            before_ms = int(base.open_ms[0])
        found = concatenate(parts[::-1])
        return found.rows(max(0, len(found) - count), len(found))

    def trades_before(self, market: str, sequential_id: int, count: int) -> Trades:
        """The newest `count` trades with an id below `sequential_id`, oldest first."""
        # Ids grow with time and position, so those of the id's own ms come with the next ones.
        end_ms = sequential_id // 10_000 + 1
        found = self.last_trades(market, end_ms, count + self.typical_trades(market))
        stop = int(np.searchsorted(found.sequential_id, sequential_id))
        return found.rows(max(0, stop - count), stop)

    def traded_between(self, market: str, start_ms: int, now_ms: int) -> tuple[float, float]:
        """(KRW, coins) traded after `start_ms` and until `now_ms`, by whole base candles."""
        step = self.base.minutes * MINUTE_MS
        span = self._open_candle(market, start_ms - start_ms % step, FOR_EVER_MS, now_ms)
        if not len(span):
            return 0.0, 0.0
        return float(span.value[0]), float(span.volume[0])

    def typical_volume(self, market: str) -> float:
        """Coins in five minutes: the median of the first candles, so that it never changes."""
        return self._volumes(market)

    def check_listed(self, market: str) -> None:
        """Raises MarketNotFound, which names the markets that there are."""
        if market not in self._keys:
            raise MarketNotFound(
                f"there is no market {market!r}; there are {', '.join(self.markets)}"
            )

    # --- how ----------------------------------------------------------------------------------

    def _median_volume(self, market: str) -> float:
        first = self.block(market, 0).rows(0, 2016)
        return float(np.median(first.volume)) * 5 / self.base.minutes

    def _is_finer(self, market: str, interval: Interval) -> bool:
        self.check_listed(market)
        if interval.minutes < self.base.minutes:
            self.check_finer(interval)
            return True
        # 3-minute candles do not fit 5-minute ones.
        return interval.minutes % self.base.minutes != 0

    def check_finer(self, interval: Interval) -> None:
        """Raise IntervalNotServed when the source refuses candles finer than its base."""
        del interval

    def _aggregated_block(self, market: str, interval: Interval, number: int) -> Candles:
        return aggregated(self.block(market, number), interval.minutes * MINUTE_MS)

    def _view(self, market: str, interval: Interval, number: int) -> Candles:
        """The candles of `interval` in a block; blocks are whole days, so none is cut."""
        if interval is self.base:
            return self.block(market, number)
        make = self._aggregated_block if interval.minutes < 60 else self._views
        return make(market, interval, number)

    def _block_number(self, moment_ms: int) -> int:
        return (moment_ms - self._first_ms) // self._block_ms

    def _newest(self, market: str, interval: Interval, before_ms: int, count: int) -> Candles:
        """The newest `count` candles with open_ms < before_ms, oldest first."""
        parts: list[Candles] = []
        have, number = 0, self._block_number(before_ms - 1)
        while number >= 0 and have < count:
            found = self._view(market, interval, number).between(0, before_ms)
            parts.append(found.rows(max(0, len(found) - (count - have)), len(found)))
            have += len(parts[-1])
            number -= 1
        return joined(parts[::-1])

    def _between(self, market: str, interval: Interval, start_ms: int, end_ms: int) -> Candles:
        """The candles with start_ms <= open_ms < end_ms, oldest first."""
        numbers = range(max(0, self._block_number(start_ms)), self._block_number(end_ms - 1) + 1)
        return joined([self._view(market, interval, n).between(start_ms, end_ms) for n in numbers])

    def _open_candle(self, market: str, open_ms: int, duration: int, now_ms: int) -> Candles:
        """The candle that starts at `open_ms` as far as it has been traded; 0 or 1 rows."""
        step = self.base.minutes * MINUTE_MS
        step_ms = now_ms - now_ms % step
        closed = self._between(market, self.base, open_ms, step_ms)
        begun = self._between(market, self.base, step_ms, step_ms + 1)
        parts = [closed]
        if len(begun):
            parts.append(candles_of(self._inside(market, begun, 0).until(now_ms), step))
        return aggregated(joined(parts), duration)

    def _finer_page(
        self, market: str, interval: Interval, end_ms: int, count: int, now_ms: int
    ) -> Candles:
        duration = interval.minutes * MINUTE_MS
        start_ms = end_ms
        parts: list[Candles] = []
        have = 0
        while have < count and start_ms > self._first_ms:
            stop_ms = start_ms
            start_ms = stop_ms - (count - have + 2) * duration
            start_ms -= start_ms % duration
            parts.append(self._from_trades(market, interval, start_ms, stop_ms, now_ms + 1))
            have += len(parts[-1])
        found = joined(parts[::-1])
        return found.rows(max(0, len(found) - count), len(found))

    def _from_trades(
        self, market: str, interval: Interval, start_ms: int, end_ms: int, known_ms: int
    ) -> Candles:
        """Candles with start_ms <= open_ms < end_ms from the trades before `known_ms`.

        start_ms: the start of a candle, so that none is cut off at its beginning.
        """
        duration = interval.minutes * MINUTE_MS
        last_end = -(-end_ms // duration) * duration
        start = -(-start_ms // duration) * duration
        return candles_of(self.trades(market, start, min(last_end, known_ms)), duration)

    def _inside(self, market: str, base: Candles, row: int) -> Trades:
        candle = BaseCandle(
            open_ms=int(base.open_ms[row]),
            duration_ms=self.base.minutes * MINUTE_MS,
            open=float(base.open[row]),
            high=float(base.high[row]),
            low=float(base.low[row]),
            close=float(base.close[row]),
            volume=float(base.volume[row]),
            value=float(base.value[row]),
        )
        return trades_inside(candle, self._keys[market], self.typical_trades(market))

    def _last_trade_ms(self, market: str, open_ms: IntArray) -> IntArray:
        return last_trade_ms(
            self._keys[market],
            open_ms,
            self.base.minutes * MINUTE_MS,
            self.typical_trades(market),
        )


def to_ms(moment: datetime) -> int:
    """Whole ms since the Unix epoch. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"a time needs a time zone, was {moment.isoformat()} without one")
    return (moment - _UNIX) // _MS


def from_ms(moment_ms: int) -> datetime:
    """The aware UTC time."""
    return _UNIX + moment_ms * _MS


_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
