"""What was walked forward of a profile, read from the stores of a world: what conclusions draw on.

A market whose predictions cannot be used is left out and named: one market's trouble must not keep
anybody from concluding anything of the others. Here: which stores belong together. Not here: making
the predictions (`walk_forward.py`), and the conclusions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from trading_assets.backtest.paths import candle_rows
from trading_assets.backtest.predictions import Predictions, PredictionStore
from trading_assets.candles.frame import TIMES, from_us
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.errors import ChecksFailed, CorruptStore
from trading_assets.exchange.model import Interval
from trading_assets.rules.profile import Profile
from trading_assets.settings import Settings
from trading_assets.world import World


@dataclass(frozen=True, slots=True, eq=False)
class WalkedForward:
    """The walk-forwards of one profile under the recipe of the settings.

    predictions: of each usable market, in the order of the settings, with at least one row.
    series: candles of the same markets. left_out: why another market is not among them.
    """

    profile: Profile
    predictions: tuple[Predictions, ...]
    series: Mapping[str, CandleSeries]
    left_out: Mapping[str, str]

    @property
    def last_closes(self) -> dict[str, datetime]:
        """By market: the last decision of its walk-forward, aware UTC."""
        return {
            p.market: from_us(int(p.closes[-1].astype(TIMES).astype(np.int64)))
            for p in self.predictions
        }


def walked_forward(
    settings: Settings, world: World, store: CandleStore, profile: Profile
) -> WalkedForward:
    """`profile` in every market of the settings. Raises WrongWorld."""
    made: list[Predictions] = []
    series: dict[str, CandleSeries] = {}
    left_out: dict[str, str] = {}
    predictions = PredictionStore(world.walk_forward, world.name)
    for market in settings.markets:
        try:
            found = predictions.load(market, profile.name, settings.recipe.value)
            if found is None or not len(found):
                left_out[market] = "not walked forward yet"
                continue
            series[market] = _matching_candles(store, found)
            made.append(found)
        except (CorruptStore, ChecksFailed) as exc:
            left_out[market] = str(exc)
    return WalkedForward(profile, tuple(made), series, left_out)


def _matching_candles(store: CandleStore, predictions: Predictions) -> CandleSeries:
    """The candles that were predicted from. Raises ChecksFailed when they are others by now."""
    interval = Interval.of_minutes(predictions.interval // timedelta(minutes=1))
    market = predictions.market
    found = regular_series(store.read(market, interval), store.gaps(market, interval), interval)
    if not len(found):
        raise ChecksFailed(f"{market} has no {interval} candles")
    try:
        candle_rows(predictions, found)
    except ValueError as exc:
        why = f"{exc}, its candles were corrected after it was walked forward"
        raise ChecksFailed(why) from exc
    return found
