"""Small tables of candles and gaps for the tests of this folder."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from trading_assets.candles.frame import candle_frame, step_us, to_us
from trading_assets.candles.gaps import Gap, GapKind, Span, gap_frame
from trading_assets.exchange.model import Interval

EPOCH = datetime(2026, 3, 2, tzinfo=UTC)


def at(slot: int, interval: Interval = Interval.M5) -> datetime:
    """The open time of the `slot`-th candle after EPOCH."""
    return EPOCH + slot * interval.duration


def span(start: int, end: int, interval: Interval = Interval.M5) -> Span:
    """Slots start <= i < end as a span."""
    return Span(to_us(at(start, interval)), to_us(at(end, interval)))


def candles(slots: Sequence[int], interval: Interval = Interval.M5, seed: int = 0) -> pd.DataFrame:
    """Candles at `slots`; prices depend on slot and seed only."""
    i = np.asarray(slots, dtype=np.int64)
    close = 1000.0 + (i * 37 + seed * 11) % 101
    opens = 1000.0 + (i * 53 + seed * 7) % 97
    return candle_frame(
        i * step_us(interval) + to_us(EPOCH),
        open=opens,
        high=np.maximum(opens, close) + 2,
        low=np.minimum(opens, close) - 3,
        close=close,
        volume=1.0 + i % 5,
        value=(1.0 + i % 5) * close,
    )


def gaps(*rows: tuple[int, int, str], interval: Interval = Interval.M5) -> pd.DataFrame:
    """A gap table from (start slot, end slot, kind)."""
    return gap_frame([Gap(span(a, b, interval), GapKind(kind)) for a, b, kind in rows])


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)
