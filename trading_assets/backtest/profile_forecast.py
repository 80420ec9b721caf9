"""What to expect of each profile, from its walk-forward in the stores to a row of the database.

BUYs become trades in the trader's own account, so that "trades a day" knows of positions that are
held, rests and limits. Not here: how a forecast is measured (`forecast.py`), and what is compared
with it (`signals.health`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from trading_assets.backtest.engine import trades_of_each
from trading_assets.backtest.forecast import TradesOf, forecast, walk
from trading_assets.backtest.inputs import AccountRules, MarketPath
from trading_assets.backtest.paths import account_rules, candle_rows, market_path
from trading_assets.backtest.predictions import Predictions
from trading_assets.backtest.walked_forward import WalkedForward, walked_forward
from trading_assets.candles.frame import BoolArray
from trading_assets.candles.store import CandleStore
from trading_assets.errors import NotEnoughHistory
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import active_profiles, costs
from trading_assets.models.retrain import Workshop
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.costs import Costs
from trading_assets.settings import Settings
from trading_assets.signals.forecast import DROUGHT_HOURS, Forecast, store_forecast

EVERY_PROFILE, BUYS_EXPECTED = "every_profile_forecast", "buys_expected"
CHECKS = (EVERY_PROFILE, BUYS_EXPECTED)


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What was made. left_out: by profile, why there is none."""

    made: tuple[Forecast, ...]
    left_out: Mapping[str, str]
    checks: tuple[CheckOutcome, ...]


def forecast_profiles(shop: Workshop, store: CandleStore) -> Forecasts:
    """Measure and store a forecast of every profile that was walked forward."""
    settings, now = shop.settings, shop.clock.now()
    made: list[Forecast] = []
    left_out: dict[str, str] = {}
    for profile in active_profiles(settings):
        try:
            walked = walked_forward(settings, shop.world, store, profile)
            found = forecast_of(settings, walked, now)
        except NotEnoughHistory as exc:
            left_out[profile.name] = str(exc)
            continue
        store_forecast(shop.engine, found)
        made.append(found)
    return Forecasts(tuple(made), left_out, forecast_checks(made, left_out))


def forecast_of(settings: Settings, walked: WalkedForward, now: datetime) -> Forecast:
    """What to expect of one profile. Raises NotEnoughHistory without a whole window of hours."""
    profile, charges = walked.profile, costs(settings)
    walks = {}
    for predictions in walked.predictions:
        series = walked.series[predictions.market]
        labels = make_labels(series, profile, charges, ewm_sigma(series))
        walks[predictions.market] = walk(predictions, labels, profile, charges)
    return forecast(
        walks,
        profile,
        made_at=now,
        trades_of=account_of(walked, account_rules(settings), charges),
    )


def account_of(walked: WalkedForward, rules: AccountRules, charges: Costs) -> TradesOf:
    """Which BUYs one account over all markets enters.

    A BUY of the profile's own rule has to pass its expected value again, as always; one of another
    rule ignores it. SELLs are the profile's own; where a rule says BUY against one, it is BUY.
    """
    paths = [
        market_path(p, walked.series[p.market], walked.profile, charges) for p in walked.predictions
    ]
    rows = [_rows(p, walked) for p in walked.predictions]

    def entered(buys: Mapping[str, BoolArray]) -> Mapping[str, BoolArray]:
        changed = [
            _buying(path, at, buys[path.market]) for path, at in zip(paths, rows, strict=True)
        ]
        (trades,) = trades_of_each([changed], rules, charges)
        return {
            p.market: np.isin(p.closes, trades.signal_time[trades.market == i])
            for i, p in enumerate(walked.predictions)
        }

    return entered


def forecast_checks(
    made: Sequence[Forecast], left_out: Mapping[str, str]
) -> tuple[CheckOutcome, ...]:
    """In the order of CHECKS. A profile whose rule never says BUY is silent for ever."""
    silent = [f.profile for f in made if f.whole.rate.signals_a_day == 0]
    missing = "; ".join(f"{profile}: {why}" for profile, why in left_out.items())
    expected = "; ".join(
        f"{f.profile}: {f.whole.rate.buys_a_day}, none in {DROUGHT_HOURS} h in "
        f"{f.whole.rate.no_signal:.0%} of windows"
        for f in made
    )
    return (
        CheckOutcome(
            EVERY_PROFILE,
            passed=not left_out,
            reason=missing or f"{len(made)} profiles",
            blocking=False,
        ),
        CheckOutcome(
            BUYS_EXPECTED,
            passed=not silent,
            reason=expected or "nothing was walked forward yet",
            blocking=False,
            values={f.profile: f.whole.rate.signals_a_day for f in made},
        ),
    )


def _rows(predictions: Predictions, walked: WalkedForward) -> np.ndarray:
    """(n,) where each prediction is in its market's path, which begins with the first of them."""
    rows = candle_rows(predictions, walked.series[predictions.market])
    return np.asarray(rows - rows[0])


def _buying(path: MarketPath, rows: np.ndarray, buys: BoolArray) -> MarketPath:
    buy = np.zeros(len(path), dtype=np.bool_)
    buy[rows] = buys
    other = buy & ~path.buy
    return replace(
        path,
        buy=buy,
        sell=path.sell & ~buy,
        ev_net=np.where(other, 1.0, path.ev_net),
        min_ev_net=np.where(other, 0.0, path.min_ev_net),
    )
