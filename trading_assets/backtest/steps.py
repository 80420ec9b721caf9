"""From one result to another by one change at a time: which change made the difference.

Each step is simulated and measured alone; the table says what it moved and whether that is more
than the noise. Not here: the changes themselves (`earlier.py`, `variants.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trading_assets.backtest import measure as m
from trading_assets.backtest.assess import seed_spread
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import AccountRules
from trading_assets.backtest.paths import Signals
from trading_assets.backtest.report_text import interval_text, signed, table
from trading_assets.backtest.statistics import Interval, mean_interval
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
    rows, nets = [], []
    for step in steps:
        account = simulate(step.signals.paths, step.rules, costs)
        blocks = m.blocks_of(account)
        found = m.measure(account, blocks, seed)
        at, gross = account.trades.signal_time, account.trades.gross_bp
        nets.append(found.net_bp)
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
    return f"{table(head, rows)}\n\n{largest_change([s.name for s in steps], nets)}"


def largest_change(names: Sequence[str], nets: Sequence[Interval]) -> str:
    """Which step moved the net most, and whether that is more than the noise."""
    changes = np.abs(np.diff([net.value for net in nets]))
    most = int(changes.argmax())
    if changes[most] < 1:
        return "None of these changes moves the net by 1 bp a trade."
    before, after = nets[most], nets[most + 1]
    noise = min(before.high - before.low, after.high - after.low) / 2
    verdict = "more than" if changes[most] > noise else "within"
    return (
        f"The largest change is '{names[most + 1].removeprefix('+ ')}': {signed(before.value)} to "
        f"{signed(after.value)} bp, {verdict} half the width of an interval ({noise:.0f} bp)."
    )


def _seeds_alone(step: Step, costs: Costs) -> str:
    seeds = seed_spread(step.signals.seed_paths, step.rules, costs)
    if seeds is None:
        return "-"
    values = np.array(seeds.net_bp)
    return f"{signed(seeds.mean)} ({signed(values.min())} to {signed(values.max())})"
