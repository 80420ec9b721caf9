"""An exchange in memory for the tests of collection: candles by slot, faults on order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import numpy as np
import pandas as pd

from trading_assets.candles.frame import empty_candles, open_times_us, to_us
from trading_assets.errors import MarketNotFound
from trading_assets.exchange.model import Interval
from trading_assets_tests.candles.tables import candles


@dataclass
class FakeExchange:
    """Serves the candles at the slots of each market like Upbit: newest `count` before `to`.

    It serves what is open or in the future too, as long as it starts before `to`.
    """

    slots: dict[str, Iterable[int]]
    interval: Interval = Interval.M5
    seed: int = 0
    per_second: Decimal = Decimal(10)
    asked: list[tuple[str, datetime | None, int]] = field(default_factory=list)
    before_page: Callable[[int], None] | None = None

    def markets(self) -> tuple[str, ...]:
        return tuple(self.slots)

    def page(
        self, market: str, interval: Interval, *, to: datetime | None = None, count: int = 200
    ) -> pd.DataFrame:
        assert interval is self.interval
        if self.before_page is not None:
            self.before_page(len(self.asked))
        self.asked.append((market, to, count))
        if market not in self.slots:
            raise MarketNotFound(f"the exchange does not know the market {market}")
        frame = self.all_candles(market)
        if to is not None:
            frame = frame[open_times_us(frame) < to_us(to)]
        return frame.tail(count).reset_index(drop=True)

    def all_candles(self, market: str) -> pd.DataFrame:
        slots = np.fromiter(self.slots[market], dtype=np.int64)
        if not len(slots):
            return empty_candles()
        return candles(np.sort(slots).tolist(), self.interval, self.seed)
