"""Candle series for the tests of this room: made by hand, at random, or from real candles."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from trading_assets.candles.gaps import GapKind
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.exchange.model import Interval

START = datetime(2024, 1, 1, tzinfo=UTC)
REAL = Path(__file__).parents[3] / "shared" / "data" / "candles"
REAL_MARKETS = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL")

real_data = pytest.mark.real_data
needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason="real candles are not there: ../shared/data/candles"
)


def series_of(
    close: Sequence[float] | npt.NDArray[np.float64],
    *,
    spread: float = 0.0,
    volume: Sequence[float] | float = 1.0,
    start: datetime = START,
    interval: Interval = Interval.M60,
) -> CandleSeries:
    """Candles that open at the previous close and reach `spread` (a ratio) beyond open, close."""
    closes = np.asarray(close, dtype=np.float64)
    opens = np.concatenate((closes[:1], closes[:-1]))
    n = len(closes)
    first = np.datetime64(start.replace(tzinfo=None), "us")
    step = np.timedelta64(interval.minutes * 60_000_000, "us")
    return CandleSeries(
        interval=interval,
        open_time=first + np.arange(n) * step,
        open=opens,
        high=np.maximum(opens, closes) * (1 + spread),
        low=np.minimum(opens, closes) * (1 - spread),
        close=closes,
        volume=np.broadcast_to(np.asarray(volume, dtype=np.float64), n).copy(),
        filled=np.zeros(n, dtype=np.bool_),
        segment=np.zeros(n, dtype=np.int64),
    )


def random_series(
    rows: int, seed: int, *, interval: Interval = Interval.M60, start: datetime = START
) -> CandleSeries:
    """A walk on a tick grid with clustered volatility, jumps, flat stretches and quiet candles."""
    rng = np.random.default_rng(seed)
    calm_or_wild = np.repeat(rng.choice([0.0005, 0.004, 0.03], rows // 50 + 1), 50)[:rows]
    steps = rng.standard_t(3, rows) * calm_or_wild / 2
    flat = np.repeat(rng.random(rows // 30 + 1) < 0.15, 30)[:rows]
    steps[flat] = 0.0
    price = float(rng.choice([0.0005, 3.0, 700.0, 150_000_000.0]))
    tick = price * 1e-4
    close = np.maximum(np.round(price * np.exp(np.cumsum(np.clip(steps, -0.5, 0.5))) / tick), 1)
    close *= tick
    opens = np.concatenate((close[:1], close[:-1]))
    reach = np.where(flat, 0.0, rng.integers(0, 6, rows) * tick)
    volume = rng.lognormal(0, 2, rows) * (rng.random(rows) > 0.05)
    volume[np.repeat(rng.random(rows // 40 + 1) < 0.1, 40)[:rows]] = 0.0
    plain = series_of(close, start=start, interval=interval)
    low = np.maximum(np.minimum(opens, close) - reach, np.minimum(np.minimum(opens, close), tick))
    return replace(plain, high=np.maximum(opens, close) + reach, low=low, volume=volume)


def broken_at(series: CandleSeries, rows: Sequence[int], missing: int = 5) -> CandleSeries:
    """`series` with a break of `missing` candles before each of `rows`, which start segments."""
    late = np.zeros(len(series), dtype=np.int64)
    late[list(rows)] = 1
    segment = np.cumsum(late)
    step = np.timedelta64(series.interval.minutes * 60_000_000, "us")
    return replace(series, open_time=series.open_time + segment * missing * step, segment=segment)


def appended(first: CandleSeries, *others: CandleSeries) -> CandleSeries:
    """The candles of all as consecutive ones of one segment; times go on from `first`."""
    n = sum(len(s) for s in (first, *others))
    base = series_of(np.ones(n), interval=first.interval)
    names = ("open", "high", "low", "close", "volume", "filled")
    columns: dict[str, Any] = {
        m: np.concatenate([getattr(s, m) for s in (first, *others)]) for m in names
    }
    step = np.timedelta64(first.interval.minutes * 60_000_000, "us")
    return replace(base, open_time=first.open_time[0] + np.arange(n) * step, **columns)


def real_series(market: str, interval: Interval) -> CandleSeries:
    """Real candles; single missing ones count as quiet, longer holes as breaks."""
    frame = pd.read_parquet(REAL / f"{market}-{interval.value}.parquet")
    frame = frame.rename(columns={"time": "open_time"})
    times, step = pd.DatetimeIndex(frame["open_time"]), interval.duration
    quiet = np.flatnonzero((times[1:] - times[:-1]) == 2 * step)
    gaps = pd.DataFrame({"start": times[quiet] + step, "end": times[quiet + 1]})
    gaps["kind"] = GapKind.NO_TRADES.value
    return regular_series(frame, gaps, interval)


seeds = st.integers(min_value=0, max_value=2**32 - 1)
