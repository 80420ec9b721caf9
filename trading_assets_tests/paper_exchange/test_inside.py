"""The trades inside a candle add up to the candle, whatever the candle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_assets.paper_exchange.inside import (
    BaseCandle,
    concatenate,
    last_trade_ms,
    trades_inside,
)
from trading_assets.paper_exchange.markets import candles_of

MINUTE = 60_000
OPEN_MS = 1_795_428_300_000  # 2026-11-23 10:05 UTC


def candle(prices: tuple[float, float, float, float], volume: float = 6.0) -> BaseCandle:
    """Five minutes; prices: open, high, low, close."""
    return BaseCandle(OPEN_MS, 5 * MINUTE, *prices, volume, volume * sum(prices) / 4)


@st.composite
def candles(draw: st.DrawFn) -> BaseCandle:
    prices = st.integers(min_value=2_000, max_value=2_060).map(float)
    o, c, a, b = (draw(prices) for _ in range(4))
    volume = draw(st.integers(min_value=1, max_value=10**7)) / 1000
    return candle((o, max(o, c, a, b), min(o, c, a, b), c), volume)


@settings(max_examples=200, deadline=None)
@given(candles(), st.integers(min_value=0, max_value=2**63), st.integers(min_value=1, max_value=90))
def test_the_trades_add_up_to_the_candle(given_candle: BaseCandle, key: int, typical: int) -> None:
    trades = trades_inside(given_candle, key, typical)
    whole = candles_of(trades, given_candle.duration_ms)
    assert len(whole) == 1
    assert whole.open_ms[0] == OPEN_MS
    assert (whole.open[0], whole.high[0], whole.low[0], whole.close[0]) == (
        given_candle.open,
        given_candle.high,
        given_candle.low,
        given_candle.close,
    )
    assert whole.volume[0] == given_candle.volume
    assert whole.value[0] == pytest.approx(given_candle.value, rel=1e-6)
    assert (trades.volume > 0).all()
    assert (np.diff(trades.time_ms) >= 0).all()
    assert len(set(trades.sequential_id.tolist())) == len(trades)


@settings(deadline=None)
@given(candles(), st.integers(min_value=0, max_value=2**63))
def test_the_last_trades_time_needs_no_trades(given_candle: BaseCandle, key: int) -> None:
    opens = np.array([given_candle.open_ms], dtype=np.int64)
    foretold = last_trade_ms(key, opens, given_candle.duration_ms, 30)
    assert trades_inside(given_candle, key, 30).time_ms[-1] == foretold[0]
    assert OPEN_MS <= foretold[0] < OPEN_MS + given_candle.duration_ms


def test_the_same_candle_always_has_the_same_trades_and_another_market_others() -> None:
    first = trades_inside(candle((2_000, 2_020, 1_990, 2_010)), 1, 40)
    again = trades_inside(candle((2_000, 2_020, 1_990, 2_010)), 1, 40)
    other = trades_inside(candle((2_000, 2_020, 1_990, 2_010)), 2, 40)
    assert first.price.tolist() == again.price.tolist()
    assert first.time_ms.tolist() == again.time_ms.tolist()
    assert first.time_ms.tolist() != other.time_ms.tolist()


def test_prices_between_the_candles_own_lie_on_the_grid() -> None:
    trades = trades_inside(candle((12.3, 13.9, 12.1, 13.0)), 5, 700)
    tenths = trades.price * 10
    assert np.allclose(tenths, np.rint(tenths), atol=1e-9)
    assert len(trades) > 100


def test_prices_recorded_on_an_older_grid_stay_as_they_are() -> None:
    # 230,050 was on the grid of 2024, today's tick there is 100.
    trades = trades_inside(candle((230_050, 230_150, 230_050, 230_150)), 5, 30)
    assert (trades.price[0], trades.price[-1]) == (230_050, 230_150)
    assert trades.price.min() == 230_050
    assert trades.price.max() == 230_150


def test_no_trades_at_all_are_an_empty_list() -> None:
    assert len(concatenate([])) == 0
