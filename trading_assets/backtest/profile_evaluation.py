"""What each profile would have earned out of sample, and the choice that follows, from the stores.

The walk-forward predictions of all markets become one account by the trader's own rules; the same
number of entries at random is simulated beside it. Not here: reading the stores
(`walked_forward.py`), the choice (`selection.py`), the full report of a profile (`assess.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from trading_assets.backtest.choice_checks import choice_checks
from trading_assets.backtest.comparison import Standing
from trading_assets.backtest.engine import trades_of_each
from trading_assets.backtest.inputs import AccountRules
from trading_assets.backtest.paths import account_rules, market_path
from trading_assets.backtest.predictions import Predictions
from trading_assets.backtest.selection import ProfileEvaluation, choose, gain
from trading_assets.backtest.statistics import Interval
from trading_assets.backtest.variants import all_random
from trading_assets.backtest.walked_forward import WalkedForward, walked_forward
from trading_assets.candles.frame import FloatArray, from_us
from trading_assets.candles.series import CandleSeries
from trading_assets.candles.store import CandleStore
from trading_assets.models.profiles import active_profiles, costs
from trading_assets.models.retrain import Workshop
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile
from trading_assets.settings import Settings
from trading_assets.signals.choices import (
    Choice,
    evaluation_valid_for,
    latest_choice,
    record_choice,
    traded_profile,
)
from trading_assets.world import World

RANDOM_DRAWS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A choice that was made, and what makes one wonder at it."""

    choice: Choice
    checks: tuple[CheckOutcome, ...]


@dataclass(frozen=True, slots=True)
class ProfileGain:
    """What a trade of one profile earns more than one of another, bp, in the weeks of both.

    net_gain: None when there are too few weeks in common.
    """

    profile: str
    against: str
    net_gain: Interval | None

    @property
    def standing(self) -> Standing:
        if self.net_gain is None:
            return Standing.UNKNOWN
        if self.net_gain.low > 0:
            return Standing.BETTER
        return Standing.WORSE if self.net_gain.high < 0 else Standing.NOISE


def compare_profiles(
    settings: Settings, world: World, store: CandleStore
) -> tuple[ProfileGain, ...]:
    """Each profile that was walked forward against the first of PROFILES that was."""
    every = [
        evaluation_of(settings, walked_forward(settings, world, store, profile))
        for profile in active_profiles(settings)
    ]
    there = [e for e in every if e is not None]
    return tuple(
        ProfileGain(other.profile, there[0].profile, gain(other, there[0], settings.base_seed))
        for other in there[1:]
    )


def choose_profile(
    shop: Workshop, store: CandleStore, *, being_evaluated: Sequence[str] = ()
) -> Chosen:
    """Evaluate every profile that was walked forward, choose, and store the choice.

    being_evaluated: profiles with markets to come. One that was never in a choice is left out until
    it is through: its first markets do not stand for all.
    """
    settings, now = shop.settings, shop.clock.now()
    before = latest_choice(shop.engine)
    known = () if before is None else [n.profile for n in before.numbers]
    walked = [
        walked_forward(settings, shop.world, store, profile)
        for profile in active_profiles(settings)
        if profile.name in known or profile.name not in being_evaluated
    ]
    found = {w.profile.name: evaluation_of(settings, w) for w in walked}
    choice = choose(
        [e for e in found.values() if e is not None],
        before,
        now,
        valid_for=evaluation_valid_for(settings),
        seed=settings.base_seed,
        missing=[p for p in settings.active_profiles if found.get(p) is None],
        run_id=shop.run_id,
    )
    record_choice(shop.engine, choice)
    traded = traded_profile(shop.engine, settings, now)
    return Chosen(choice, choice_checks(choice, traded.profile, walked, settings, now))


def evaluation_of(settings: Settings, walked: WalkedForward) -> ProfileEvaluation | None:
    """The account of a profile in all its markets, None when none was walked forward yet."""
    if not walked.predictions:
        return None
    return evaluate_profile(
        walked.profile,
        walked.predictions,
        walked.series,
        costs(settings),
        account_rules(settings),
        seed=settings.base_seed,
    )


def evaluate_profile(
    profile: Profile,
    predictions: Sequence[Predictions],
    series: Mapping[str, CandleSeries],
    costs: Costs,
    rules: AccountRules,
    *,
    seed: int,
) -> ProfileEvaluation:
    """One account over all markets of `predictions`, each with at least one row.

    series: candles by market, those that were predicted from. seed: of the random entries. Markets
    may begin at different times; the stretch goes from the first prediction to the last.
    """
    paths = [market_path(p, series[p.market], profile, costs) for p in predictions]
    (trades,) = trades_of_each([paths], rules, costs)
    start = min(p.open_time[0] for p in predictions)
    end = max(p.closes[-1] for p in predictions)
    drawn = (all_random(paths, trades, seed + draw) for draw in range(RANDOM_DRAWS))
    random = [made.net_bp for made in trades_of_each(drawn, rules, costs)]
    return ProfileEvaluation(
        profile=profile.name,
        markets=tuple(p.market for p in predictions),
        evaluated_at=_moment(end),
        start=_moment(start),
        end=_moment(end) + timedelta(microseconds=1),
        signal_time=trades.signal_time,
        net_bp=trades.net_bp,
        gross_bp=trades.gross_bp,
        random_bp=_mean(random),
    )


def _mean(random: Sequence[FloatArray]) -> float:
    together = np.concatenate(random)
    return float(together.mean()) if len(together) else float("nan")


def _moment(time: np.datetime64) -> datetime:
    return from_us(int(time.astype("datetime64[us]").astype(np.int64)))
