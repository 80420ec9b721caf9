"""The rules of the earlier measurements, to explain by them what differs from ours.

The measurements that `swing` was designed on (docs/results.md) traded by another formula of the
expected value, without the trader's rests and limits and at a flat cost. Each step from our rules
to theirs is one function here, so that a table can take them one by one. Nothing trades by these.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np

from trading_assets.backtest.inputs import AccountRules, MarketPath
from trading_assets.backtest.predictions import Predictions
from trading_assets.models.labels import round_trip_costs, tick_sizes
from trading_assets.models.model import BUY, SELL
from trading_assets.rules.costs import Costs

_NEVER = timedelta(0)
_FAR = 0.9


def by_difference(path: MarketPath, predictions: Predictions, costs: Costs) -> MarketPath:
    """`path` with the earlier formula: EV = (p_buy - p_sell) x barrier - cost, traded above cost.

    The barrier is the take, equal to the stop in `swing`. No SELL decisions: positions were left
    at their barriers and time limit only. The expected value is set to pass at the ask, since that
    formula was asked at the close alone.
    """
    rows = np.searchsorted(path.series.open_time, predictions.open_time)
    close = predictions.close
    cost = round_trip_costs(costs, close, tick_sizes(close))
    lean = predictions.p[:, BUY] - predictions.p[:, SELL]
    traded = lean * predictions.take_profit - cost > cost
    buy = np.zeros(len(path), dtype=np.bool_)
    buy[rows] = traded
    return replace(
        path,
        buy=buy,
        sell=np.zeros(len(path), dtype=np.bool_),
        ev_net=np.where(buy, 1.0, np.nan),
        min_ev_net=np.where(buy, 0.0, np.nan),
    )


def without_barriers(path: MarketPath) -> MarketPath:
    """`path` with barriers that no candle reaches, so that only the time limit ends a trade."""
    far = np.where(np.isfinite(path.stop_loss), _FAR, np.nan)
    return path.with_exits(far, far)


def without_limits(rules: AccountRules) -> AccountRules:
    """`rules` without rests, pauses, loss limits and caps: one position a market is all that is
    left, and the sizes."""
    limits = replace(
        rules.limits,
        max_exposure=Decimal(1),
        max_positions=1000,
        rest=_NEVER,
        rest_after_stop=_NEVER,
        max_stops=1_000_000,
        stop_pause=_NEVER,
        max_day_loss=Decimal("0.999"),
        max_peak_loss=Decimal("0.999"),
    )
    return replace(rules, limits=limits)


def all_by_difference(
    paths: Sequence[MarketPath], predictions: Sequence[Predictions], costs: Costs
) -> list[MarketPath]:
    """`by_difference` for each market."""
    return [by_difference(p, q, costs) for p, q in zip(paths, predictions, strict=True)]
