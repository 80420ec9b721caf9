"""A replayed day ends the same at the paper exchange, by the real trade code, and in the engine.

The same entries, refusals and reasons to leave; the same money but for what the fills differ. They
differ because the engine fills at the candle's price and half a tick, and the trader at the bids
and asks of the book while the recording plays:

- an entry by half a tick (0.03 bp here), and its barriers by the tick that this may round to: at
  most 0.1 bp;
- a barrier by how far the price jumped past it, inside the candle in which it did. The engine takes
  the stop first where a candle touches both; the recording takes one of them first (no such candle
  comes up here);
- a deadline or SELL by what a second moved: at most 0.2 bp.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_assets.backtest.inputs import TRADE_ENDS, TradeEnd, Trades
from trading_assets.candles.frame import from_us
from trading_assets.exchange.model import Interval
from trading_assets.rules.funnel import FunnelCode
from trading_assets.trading.records import Position
from trading_assets.trading.states import OrderReason
from trading_assets_tests.conftest import FOUR_MARKETS, MakeExchange
from trading_assets_tests.end_to_end.replay_world import COSTS, TIMEOUT, Replay, replay

BTC = "KRW-BTC"
ENTRY = 1e-5
NEAR = 2e-5
FEE = float(COSTS.fee_rate)
# A BUY that comes while its market has a position or rests. Which of them it ends as hangs on the
# second of the exit: the run that holds may still be at it, so that a newer signal replaces it.
_BUSY = {
    FunnelCode.POSITION_OPEN,
    FunnelCode.RESTING,
    FunnelCode.SUPERSEDED,
    FunnelCode.EXPIRED,
}


@pytest.fixture(scope="module")
def made_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SYNTHETIC 1-minute candles of a day, in the shape of a recording of KRW-BTC."""
    folder = tmp_path_factory.mktemp("made") / "synthetic"
    folder.mkdir()
    rng = np.random.default_rng(7)
    n = 1440
    close = 160e6 * np.exp(np.cumsum(rng.standard_t(4, n) * 3e-4))
    opened = np.concatenate([close[:1], close[:-1]])
    wide = np.abs(rng.standard_normal((2, n))) * 2e-4
    prices = {
        "open": opened,
        "high": np.maximum(opened, close) * np.exp(wide[0]),
        "low": np.minimum(opened, close) * np.exp(-wide[1]),
        "close": close,
    }
    frame = pd.DataFrame(
        {
            "time": pd.date_range("2025-09-01", periods=n, freq="1min", tz="UTC").as_unit("us"),
            **{name: np.round(values, -3) for name, values in prices.items()},
            "volume": np.round(rng.gamma(2.0, 0.5, n) + 0.01, 8),
        }
    )
    frame.to_parquet(folder / f"{BTC}-{Interval.M1.value}.parquet")
    return folder


def test_a_synthetic_day_ends_the_same(made_recording: Path, make_exchange: MakeExchange) -> None:
    day = replay(made_recording, (BTC,), BTC, datetime(2025, 9, 1, tzinfo=UTC), make_exchange)
    _same(day)


@pytest.mark.real_data
def test_a_recorded_day_ends_the_same(shared_data: Path, make_exchange: MakeExchange) -> None:
    start = datetime(2025, 9, 3, tzinfo=UTC)
    _same(replay(shared_data / "candles", FOUR_MARKETS, BTC, start, make_exchange))


def _same(day: Replay) -> None:
    _every_buy_ended_the_same(day.simulated, day.traded)
    trades = day.simulation.trades
    ends = [TRADE_ENDS[reason] for reason in trades.reason]
    # Or the day would show less than it says.
    assert set(ends) == set(TradeEnd) - {TradeEnd.HALT, TradeEnd.END_OF_DATA}
    assert len(trades) == len(day.positions) >= 12
    for i, end in enumerate(ends):
        position = day.positions[from_us(int(trades.signal_time[i].astype(np.int64)))]
        assert position.exit_reason is not None
        assert position.exit_reason.value == end.value or _sold_at_its_deadline(trades, i, position)
        _same_entry(trades, i, position)
        _same_exit(day, i, position)
        _same_money(trades, i, position)


def _sold_at_its_deadline(trades: Trades, i: int, position: Position) -> bool:
    """Whether a SELL came at the very close at which the time was over: both mean to leave then."""
    deadline = trades.entry_time[i] + np.timedelta64(TIMEOUT)
    return (
        TRADE_ENDS[trades.reason[i]] is TradeEnd.TIME_LIMIT
        and position.exit_reason is OrderReason.SELL_SIGNAL
        and bool(trades.exit_time[i] == deadline)
    )


def _every_buy_ended_the_same(
    simulated: dict[datetime, FunnelCode], traded: dict[datetime, FunnelCode]
) -> None:
    assert simulated.keys() == traded.keys()
    for time, code in simulated.items():
        if code in _BUSY:
            assert traded[time] in _BUSY, time
        else:
            assert traded[time] is code, time
    assert {FunnelCode.TRADED, FunnelCode.RESTING, FunnelCode.POSITION_OPEN} <= {
        *simulated.values()
    }


def _same_entry(trades: Trades, i: int, position: Position) -> None:
    assert position.average_price is not None
    assert position.opened_at is not None
    assert float(position.average_price) == pytest.approx(trades.entry_price[i], rel=ENTRY)
    # The volume follows equity, which the fills before have moved by some basis points of a trade.
    assert float(position.bought_volume) == pytest.approx(trades.volume[i], rel=5e-4)
    entered = from_us(int(trades.entry_time[i].astype(np.int64)))
    assert timedelta(0) <= position.opened_at - entered < timedelta(seconds=1)
    assert position.plan is not None
    assert float(position.plan.stop_price) == pytest.approx(trades.stop_price[i], rel=ENTRY)
    assert float(position.plan.take_price) == pytest.approx(trades.take_price[i], rel=ENTRY)


def _same_exit(day: Replay, i: int, position: Position) -> None:
    """At the same time and price, or each where the other's barrier was near."""
    trades, series = day.simulation.trades, day.path.series
    assert position.closed_at is not None
    end = TRADE_ENDS[trades.reason[i]]
    left = from_us(int(trades.exit_time[i].astype(np.int64)))
    price = float(position.sold_funds / position.sold_volume)
    row = int(np.searchsorted(series.open_time, _stamp(position.closed_at), side="right")) - 1
    if end is TradeEnd.STOP_LOSS:
        assert series.low[row] <= trades.stop_price[i] * (1 + NEAR)
    elif end is TradeEnd.TAKE_PROFIT:
        assert series.high[row] >= trades.take_price[i] * (1 - NEAR)
    else:
        assert timedelta(0) <= position.closed_at - left < timedelta(seconds=2)
        row -= 1  # the close that both have seen
        assert price == pytest.approx(series.close[row], rel=NEAR)
    assert series.low[row] * (1 - NEAR) <= price <= series.high[row] * (1 + NEAR)


def _same_money(trades: Trades, i: int, position: Position) -> None:
    """The engine's volume at the trader's prices makes the trader's money, to 0.01 bp."""
    assert position.average_price is not None
    paid, got = float(position.average_price), float(position.sold_funds / position.sold_volume)
    expected = (got * (1 - FEE) - paid * (1 + FEE)) / paid
    assert float(position.cash_flow / position.bought_funds) == pytest.approx(expected, abs=1e-6)
    assert trades.net_krw[i] / trades.funds_krw[i] == pytest.approx(
        (trades.exit_price[i] * (1 - FEE) - trades.entry_price[i] * (1 + FEE))
        / trades.entry_price[i],
        abs=1e-6,
    )
    assert float(position.fees) == pytest.approx(
        FEE * float(position.bought_funds + position.sold_funds), rel=1e-6
    )


def _stamp(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
