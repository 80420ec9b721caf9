"""From one result to another by one change at a time: which change made the difference.

Each step is simulated and measured alone; the table says what it moved and whether that is more
than the noise. Not here: the changes themselves (`earlier.py`, `variants.py`).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trading_assets.backtest import measure as m
from trading_assets.backtest.assess import seed_spread
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import AccountRules, Trades
from trading_assets.backtest.paths import Signals
from trading_assets.backtest.report_text import interval_text, signed, table
from trading_assets.backtest.statistics import (
    Blocks,
    Interval,
    mean_difference_interval,
    mean_interval,
)
from trading_assets.rules.costs import Costs

FLAT_BP = 16


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Signals under rules. name: what is new in it; "+ ..." when it adds to the step before."""

    name: str
    signals: Signals
    rules: AccountRules


def steps_table(steps: Sequence[Step], costs: Costs, seed: int) -> str:
    """The steps as Markdown, a sentence on the largest change below; at least two steps.

    Of each: trades a day, net, the seeds alone (mean, least to most), and the gross less a flat
    16 bp, which ignores that half a tick may cost more.
    """
    rows, trades = [], []
    for step in steps:
        account = simulate(step.signals.paths, step.rules, costs)
        blocks = m.blocks_of(account)
        found = m.measure(account, blocks, seed)
        at, gross = account.trades.signal_time, account.trades.gross_bp
        trades.append(account.trades)
        rows.append(
            (
                step.name,
                f"{found.trades_a_day.value:.2f}",
                interval_text(found.net_bp),
                _seeds_alone(step, costs),
                interval_text(mean_interval(at, gross - FLAT_BP, blocks, seed)),
            )
        )
    head = ("", "trades a day", "net bp a trade", "seeds alone", f"gross less {FLAT_BP} bp")
    changes = [net_change(*pair, seed) for pair in itertools.pairwise(trades)]
    return f"{table(head, rows)}\n\n{largest_change([s.name for s in steps], changes)}"


def net_change(before: Trades, after: Trades, seed: int) -> Interval:
    """How much more a trade of `after` earns, bp, by the weeks of both: what they share cancels.

    NaN when one of the two is empty.
    """
    times = np.concatenate([before.signal_time, after.signal_time])
    if not (len(before) and len(after)):
        return Interval(math.nan, math.nan, math.nan, 0)
    first = times.min().astype("datetime64[D]").astype(times.dtype)
    return mean_difference_interval(
        (after.signal_time, after.net_bp),
        (before.signal_time, before.net_bp),
        Blocks(first, times.max() + np.timedelta64(1, "us")),
        seed,
    )


def largest_change(names: Sequence[str], changes: Sequence[Interval]) -> str:
    """Which step moved the net most, and whether that is more than noise.

    changes: of each step but the first against the one before it.
    """
    sizes = [abs(change.value) for change in changes]
    most = int(np.nanargmax(sizes)) if not np.isnan(sizes).all() else -1
    if most < 0 or sizes[most] < 1:
        return "None of these changes moves the net by 1 bp a trade."
    name = names[most + 1].removeprefix("+ ")
    return f"The largest change is '{name}': {change_text(changes[most])}."


def change_text(change: Interval) -> str:
    """`+16 [+2, +30] bp a trade in the same weeks, more than their noise`."""
    beyond = change.low > 0 or change.high < 0
    verdict = "more than their noise" if beyond else "no more than their noise"
    return f"{interval_text(change)} bp a trade in the same weeks, {verdict}"


def _seeds_alone(step: Step, costs: Costs) -> str:
    seeds = seed_spread(step.signals.seed_paths, step.rules, costs)
    if seeds is None:
        return "-"
    values = np.array(seeds.net_bp)
    return f"{signed(seeds.mean)} ({signed(values.min())} to {signed(values.max())})"
