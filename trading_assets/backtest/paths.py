"""From predictions and settings to what the engine takes: paths and the rules of an account.

Here: joining a market's predictions with its candles, the decision at each close, and the numbers
of the settings. Not here: the decision rule (`decisions.py`), the simulation (`engine.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

import numpy as np

from trading_assets.backtest.decisions import decisions
from trading_assets.backtest.inputs import AccountRules, MarketPath
from trading_assets.backtest.predictions import Predictions
from trading_assets.candles.frame import FloatArray, TimeArray
from trading_assets.candles.series import CandleSeries
from trading_assets.models.labels import round_trip_costs, tick_sizes
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile
from trading_assets.settings import Settings
from trading_assets.trading.rules import entry_rules

# Upbit's smallest order in every KRW market (docs/exchange.md).
MIN_NOTIONAL = Decimal(5000)
# A loss from the peak halts the bot until a person has looked; here: the next day, every time.
RESUME_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """What is judged. paths: by the averaged model; seed_paths: by each seed's model alone."""

    paths: Sequence[MarketPath]
    seed_paths: Sequence[Sequence[MarketPath]] = ()


def account_rules(settings: Settings) -> AccountRules:
    """The trader's own rules, with the capital of the settings (the sandbox's without)."""
    entry = entry_rules(settings)
    return AccountRules(
        size=entry.size,
        limits=entry.limits,
        starting_krw=settings.trading.capital_krw or settings.paper_starting_krw,
        min_notional=MIN_NOTIONAL,
        max_slippage=entry.max_slippage,
        resume_after=RESUME_AFTER,
    )


def signals_of(
    predictions: Sequence[Predictions],
    series: Mapping[str, CandleSeries],
    profile: Profile,
    costs: Costs,
) -> Signals:
    """The decisions of `profile` in every market: by the averaged model, and by each seed's alone.

    series: candles by market. The seeds are those that all markets have.
    """
    seeds = min(p.seeds for p in predictions)
    alone = range(seeds) if seeds > 1 else range(0)
    return Signals(
        [market_path(p, series[p.market], profile, costs) for p in predictions],
        [
            [market_path(p.of_seed(i), series[p.market], profile, costs) for p in predictions]
            for i in alone
        ],
    )


class Said(Protocol):
    """What a model said at the closes of candles of one market: `Predictions`, or like them.

    open_time: (n,) ascending. close: (n,) KRW. p: (n, 3). ev_long, ev_short, stop_loss,
    take_profit: (n,) ratios.
    """

    @property
    def market(self) -> str: ...
    @property
    def open_time(self) -> TimeArray: ...
    @property
    def close(self) -> FloatArray: ...
    @property
    def p(self) -> FloatArray: ...
    @property
    def ev_long(self) -> FloatArray: ...
    @property
    def ev_short(self) -> FloatArray: ...
    @property
    def stop_loss(self) -> FloatArray: ...
    @property
    def take_profit(self) -> FloatArray: ...


def market_path(
    predictions: Said, series: CandleSeries, profile: Profile, costs: Costs
) -> MarketPath:
    """The candles from the first prediction to the last one's time limit, with decisions.

    Raises ValueError when a prediction has no candle or the candle closed at another price: then
    the candles are not those that were predicted from.
    """
    rows = candle_rows(predictions, series)
    first = rows[0] if len(rows) else 0
    last = min(rows[-1] + profile.horizon_candles + 1, len(series)) if len(rows) else 0
    cut, at = series.slice(first, last), rows - first

    def spread(values: FloatArray) -> FloatArray:
        whole = np.full((len(cut), *values.shape[1:]), np.nan)
        whole[at] = values
        return whole

    close = predictions.close
    least = float(profile.min_ev_costs) * round_trip_costs(costs, close, tick_sizes(close))
    p, ev_long, ev_short = (
        spread(predictions.p),
        spread(predictions.ev_long),
        spread(predictions.ev_short),
    )
    decided = decisions(p, ev_long, ev_short, float(profile.min_confidence), spread(least))
    return MarketPath(
        market=predictions.market,
        series=cut,
        buy=decided.buy,
        sell=decided.sell,
        p_buy=np.ascontiguousarray(p[:, 2]),
        ev_net=ev_long,
        min_ev_net=spread(least),
        stop_loss=spread(predictions.stop_loss),
        take_profit=spread(predictions.take_profit),
        timeout=profile.exits.timeout,
    )


def candle_rows(predictions: Said, series: CandleSeries) -> np.ndarray:
    """(n,) where each prediction's candle is in `series`."""
    rows = np.searchsorted(series.open_time, predictions.open_time)
    inside = np.minimum(rows, len(series) - 1)
    same = (series.open_time[inside] == predictions.open_time) & (
        series.close[inside] == predictions.close
    )
    if not same.all():
        wrong = int(np.argmax(~same))
        raise ValueError(
            f"{predictions.market}: the prediction of {predictions.open_time[wrong]} at "
            f"{predictions.close[wrong]:,.8g} KRW has no such candle in the series"
        )
    return inside
