"""From signals to a report: the account as it would have been, and every doubt about it.

Each variant is one pass of the engine (milliseconds), so all of them are run every time. Not here:
where signals come from (`predictions.py`, `paths.py`), what a number is (`measure.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import numpy as np

from trading_assets.backtest import measure as m
from trading_assets.backtest.engine import simulate, trades_of_each
from trading_assets.backtest.inputs import AccountRules, EntryAt, MarketPath, Simulation, Trades
from trading_assets.backtest.overfitting import (
    LEAST_TRADES,
    deflated_sharpe,
    probability_of_overfitting,
)
from trading_assets.backtest.paths import Signals
from trading_assets.backtest.report import (
    CostVariant,
    Luck,
    Measured,
    Predicted,
    Report,
    Search,
    SeedSpread,
    Subject,
)
from trading_assets.backtest.statistics import WEEK
from trading_assets.backtest.variants import all_random, all_rolled, costs_of, shifts
from trading_assets.rules.costs import Costs

COST_VARIANTS_BP = (16, 20, 40)
DELAY = timedelta(hours=1)
REPETITIONS = 40


def assess(
    subject: Subject,
    signals: Signals,
    rules: AccountRules,
    costs: Costs,
    *,
    seed: int,
    predicted: Predicted | None = None,
    search: Search | None = None,
    block: np.timedelta64 = WEEK,
    repetitions: int = REPETITIONS,
) -> Report:
    """The report on `signals`. seed: of resampling, shifts and random entries.

    block: what is resampled; a week, but a stretch of two weeks has only days. Raises ValueError
    when there are no candles.
    """
    paths = list(signals.paths)
    base = simulate(paths, rules, costs)
    blocks = m.blocks_of(base, block)
    interval = paths[0].series.interval.duration

    def measured(simulation: Simulation) -> Measured:
        return m.measure(simulation, blocks, seed)

    return Report(
        subject=subject,
        measured=measured(base),
        next_open=measured(simulate(paths, rules, costs, entry=EntryAt.NEXT_OPEN)),
        delayed=measured(simulate(paths, rules, costs, delay_candles=max(1, DELAY // interval))),
        costs=tuple(
            CostVariant(bp, measured(simulate(paths, rules, costs_of(costs, bp))))
            for bp in COST_VARIANTS_BP
        ),
        seeds=seed_spread(signals.seed_paths, rules, costs),
        without_best=m.best_weeks(base, blocks),
        placebo=placebo(paths, rules, costs, base, seed=seed, draws=repetitions),
        random=random_luck(paths, rules, costs, base, seed=seed, draws=repetitions),
        held=m.buy_and_hold(paths, costs),
        months=m.months(base),
        histogram=m.histogram(base),
        curve=m.curve(base),
        predicted=predicted,
        search=search,
    )


def seed_spread(
    seed_paths: Sequence[Sequence[MarketPath]], rules: AccountRules, costs: Costs
) -> SeedSpread | None:
    """Each seed's model traded alone; None without seeds."""
    if not seed_paths:
        return None
    made = [(m.mean_net(t.net_bp), len(t)) for t in trades_of_each(seed_paths, rules, costs)]
    nets, counts = zip(*made, strict=True)
    return SeedSpread(nets, counts)


def placebo(
    paths: Sequence[MarketPath],
    rules: AccountRules,
    costs: Costs,
    base: Simulation,
    *,
    seed: int,
    draws: int = REPETITIONS,
) -> Luck | None:
    """The same signals at the wrong time; None when there are none or no room to move them.

    What is left of their profit did not come from knowing when.
    """
    shortest = min(paths, key=len)
    interval = shortest.series.interval.duration
    if len(base.trades) == 0 or len(shortest) < 8:
        return None
    rng = np.random.default_rng(seed)
    moved = (all_rolled(paths, n) for n in shifts(len(shortest), interval, draws, rng))
    return _luck(base, trades_of_each(moved, rules, costs))


def random_luck(
    paths: Sequence[MarketPath],
    rules: AccountRules,
    costs: Costs,
    base: Simulation,
    *,
    seed: int,
    draws: int = REPETITIONS,
) -> Luck | None:
    """As many entries a market at random times with the same exits; None without trades."""
    if len(base.trades) == 0:
        return None
    drawn = (all_random(paths, base.trades, seed + draw) for draw in range(draws))
    return _luck(base, trades_of_each(drawn, rules, costs))


def search_of(
    simulations: Mapping[str, Simulation], chosen: str, trials: float | None = None
) -> Search:
    """What choosing `chosen` among several simulated settings does to its result.

    trials: independent attempts when more were made than are given. All over the same days, at
    least 32.
    """
    names = tuple(simulations)
    returns = np.stack([m.account_days(s)[1] for s in simulations.values()], axis=1)
    judged = returns[:, [len(s.trades) >= LEAST_TRADES for s in simulations.values()]]
    return Search(
        settings=names,
        net_bp=tuple(m.mean_net(s.trades.net_bp) for s in simulations.values()),
        chosen=chosen,
        deflated=deflated_sharpe(returns, names.index(chosen), trials),
        overfitting=probability_of_overfitting(judged) if judged.shape[1] > 1 else None,
    )


def _luck(base: Simulation, repetitions: Iterable[Trades]) -> Luck:
    ours = m.mean_net(base.trades.net_bp)
    nets, counts = zip(*((m.mean_net(t.net_bp), len(t)) for t in repetitions), strict=True)
    found = np.array(nets)
    known = found[np.isfinite(found)]
    return Luck(
        net_bp=tuple(float(v) for v in found),
        trades=float(np.mean(counts)),
        reached=float((known >= ours).mean()) if len(known) else float("nan"),
    )
