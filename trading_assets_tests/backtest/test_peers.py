"""Where vectorbt and backtesting.py can express a case, they make the same trades as the engine."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import TRADE_ENDS, EntryAt, TradeEnd
from trading_assets_tests.backtest import peers

_NO_REST = timedelta(0)
# vectorbt makes one order a candle: after an exit, the next entry is the next candle's.
_ONE_ORDER_A_CANDLE = timedelta(microseconds=1)


def _same(theirs: pd.DataFrame, ours: pd.DataFrame, tolerance: float = 1e-9) -> None:
    """tolerance: of what a trade left, as a share of its funds."""
    theirs = theirs.sort_values(["market", "entry_row"], ignore_index=True)
    for name in ("market", "entry_row", "exit_row"):
        np.testing.assert_array_equal(theirs[name], ours[name], err_msg=name)
    for name in theirs.columns.intersection(["entry_price", "exit_price", "volume", "fees_krw"]):
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-9, err_msg=name)
    funds = ours["volume"] * ours["entry_price"]
    np.testing.assert_allclose(
        theirs["net_krw"] / funds, ours["net_krw"] / funds, rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("entry", list(EntryAt))
def test_backtesting_py_makes_the_same_trades(entry: EntryAt) -> None:
    pytest.importorskip("backtesting", reason="the extra `bench` is not installed")
    (drawn,) = peers.random_paths(1500, 1, seed=11, often=0.15, sells=0.0, barrier=0.01)
    path = peers.without_sells(drawn)
    made = simulate([path], peers.free_rules(1, _NO_REST), peers.COSTS, entry=entry)
    ended = [TRADE_ENDS[reason] for reason in made.trades.reason]
    assert {TradeEnd.STOP_LOSS, TradeEnd.TAKE_PROFIT} <= set(ended)
    ours = peers.our_trades([path], made, entry)
    whole = ours[np.array(ended) != TradeEnd.END_OF_DATA]  # which theirs leaves open
    assert len(whole) > 100
    # No move between two barriers of 1 % and the gaps beyond them is above 3 %.
    tolerance = 1e-9 + 0.03 * peers.FEE_ON_SLIPPAGE
    _same(peers.backtesting_trades(path, made, entry), whole, tolerance)


@pytest.mark.deep  # vectorbt compiles for half a minute
def test_vectorbt_makes_the_same_trades_in_markets_that_share_cash() -> None:
    pytest.importorskip("vectorbt", reason="the extra `bench` is not installed")
    paths = peers.random_paths(1500, 3, seed=12, often=0.1, sells=0.03, barrier=0.01)
    made = simulate(paths, peers.free_rules(3, _ONE_ORDER_A_CANDLE), peers.COSTS)
    ends = {TRADE_ENDS[reason] for reason in made.trades.reason}
    assert ends == {TradeEnd.STOP_LOSS, TradeEnd.TAKE_PROFIT, TradeEnd.SELL_SIGNAL}
    assert len(made.trades) > 300
    ours = peers.our_trades(paths, made, EntryAt.CLOSE)
    portfolio = peers.vectorbt_portfolio(peers.inputs_for_our_trades(paths, made))
    _same(peers.vectorbt_trades(portfolio), ours)
