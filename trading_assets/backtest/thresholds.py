"""The thresholds around those of a profile, all simulated: what choosing among them is worth.

Not here: a search for better settings (`tuning.py`); nothing is chosen by these numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import product

from trading_assets.backtest import measure
from trading_assets.backtest.assess import search_of
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import AccountRules
from trading_assets.backtest.overfitting import PARTITIONS
from trading_assets.backtest.paths import market_path
from trading_assets.backtest.predictions import Predictions
from trading_assets.backtest.report import Search
from trading_assets.candles.series import CandleSeries
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile

EV_COSTS = tuple(Decimal(n) for n in ("0", "0.5", "1", "1.5", "2"))
CONFIDENCES = tuple(Decimal(p) for p in ("0", "0.4", "0.5"))
_LEAST_DAYS = 2 * PARTITIONS  # the probability of overfitting needs two in each block


def threshold_search(
    predictions: Sequence[Predictions],
    series: Mapping[str, CandleSeries],
    profile: Profile,
    rules: AccountRules,
    costs: Costs,
) -> Search | None:
    """`profile` among its neighbours; None on fewer than 32 days.

    series: candles by market. Fifteen settings, or sixteen when the profile's own is none of them.
    """
    own = (profile.min_ev_costs, profile.min_confidence)
    # Equal decimals are one key, so the own thresholds are simulated once.
    tried = dict.fromkeys((*product(EV_COSTS, CONFIDENCES), own))
    simulations = {}
    for ev, confidence in tried:
        traded = replace(profile, min_ev_costs=ev, min_confidence=confidence)
        paths = [market_path(p, series[p.market], traded, costs) for p in predictions]
        simulations[_name(ev, confidence)] = simulate(paths, rules, costs)
    days, _ = measure.account_days(next(iter(simulations.values())))
    if len(days) < _LEAST_DAYS:
        return None
    shipped = next(key for key in tried if key == own)
    return search_of(simulations, _name(*shipped))


def _name(ev_costs: Decimal, confidence: Decimal) -> str:
    return f"EV > {ev_costs} costs, p_buy >= {confidence}"
