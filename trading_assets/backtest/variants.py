"""The same signals under other circumstances, and signals that know nothing.

Here: changed `MarketPath`s and costs. Each is simulated like the original, so the difference is
the change alone. Not here: simulating and measuring them (`assess.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np

from trading_assets.backtest.inputs import MarketPath, Trades
from trading_assets.rules.costs import Costs

LEAST_SHIFT = timedelta(days=20)
MOST_SHIFT = timedelta(days=120)


def shifts(candles: int, interval: timedelta, draws: int, rng: np.random.Generator) -> list[int]:
    """`draws` numbers of candles to roll signals by: 20 to 120 days, each another.

    On a short stretch a quarter to three quarters of it, so that no shift comes back near 0.
    Source: the placebo of docs/evaluation.md.
    """
    least = min(LEAST_SHIFT // interval, candles // 4)
    most = min(MOST_SHIFT // interval, 3 * candles // 4)
    if not 0 < least < most:
        raise ValueError(f"{candles} candles are too few to roll signals on")
    return sorted(
        int(n) + least for n in rng.choice(most - least, min(draws, most - least), replace=False)
    )


def rolled(path: MarketPath, candles: int) -> MarketPath:
    """The decisions `candles` later (those of the end come at the start), prices where they were.

    A decision keeps its probability and expected value and takes the exit terms of the candle it
    lands on; where there are none (no prediction was made there) it falls away.
    """
    known = np.isfinite(path.stop_loss)
    return replace(
        path,
        buy=np.roll(path.buy, candles) & known,
        sell=np.roll(path.sell, candles),
        p_buy=np.roll(path.p_buy, candles),
        ev_net=np.roll(path.ev_net, candles),
        min_ev_net=np.roll(path.min_ev_net, candles),
    )


def random_entries(path: MarketPath, traded: Trades, index: int, seed: int) -> MarketPath:
    """As many entries as market `index` has in `traded`, at random candles with a prediction.

    Sizes are drawn from the real ones; exits (barriers, time limit, SELL decisions) stay as they
    are. The expected value is set to pass, since a random entry expects nothing.
    """
    own = np.flatnonzero(traded.market == index)
    rng = np.random.default_rng([seed, index])
    possible = np.flatnonzero(np.isfinite(path.stop_loss) & ~path.sell)
    chosen = rng.choice(possible, min(len(own), len(possible)), replace=False)
    n = len(path)
    buy, p_buy = np.zeros(n, dtype=np.bool_), np.full(n, np.nan)
    buy[chosen] = True
    p_buy[chosen] = rng.permutation(traded.p_buy[own])[: len(chosen)]
    return replace(
        path, buy=buy, p_buy=p_buy, ev_net=np.where(buy, 1.0, np.nan), min_ev_net=np.zeros(n)
    )


def costs_of(costs: Costs, round_trip_bp: int) -> Costs:
    """`costs` with the slippage that makes a round trip at least `round_trip_bp`.

    Half a tick of the price may cost more, in this as in every other case. Raises ValueError when
    the fees alone are more.
    """
    slippage = Decimal(round_trip_bp) / 20000 - costs.fee_rate
    if slippage < 0:
        raise ValueError(
            f"a round trip of {round_trip_bp} bp is less than two fees of {costs.fee_rate}"
        )
    return replace(costs, min_slippage_rate=slippage)


def all_rolled(paths: Sequence[MarketPath], candles: int) -> list[MarketPath]:
    """Every market rolled by the same time, so that what they share stays shared."""
    return [rolled(path, candles) for path in paths]


def all_random(paths: Sequence[MarketPath], traded: Trades, seed: int) -> list[MarketPath]:
    """Random entries in every market."""
    return [random_entries(path, traded, i, seed) for i, path in enumerate(paths)]
