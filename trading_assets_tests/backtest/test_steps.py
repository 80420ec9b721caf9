"""A table that says which change made the difference, and whether it is more than noise."""

from dataclasses import fields, replace
from datetime import timedelta

import numpy as np
import pytest

from trading_assets.backtest.engine import trades_of_each
from trading_assets.backtest.paths import Signals
from trading_assets.backtest.statistics import Interval
from trading_assets.backtest.steps import (
    Step,
    change_text,
    largest_change,
    net_change,
    steps_table,
)
from trading_assets_tests.backtest.planted import RULES, planted
from trading_assets_tests.backtest.test_variants import COSTS


def change(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half, blocks=100)


def test_the_change_that_moves_most_is_named_and_held_against_its_noise() -> None:
    names = ["as traded", "+ no rests", "+ another view"]
    assert largest_change(names, [change(1, 20), change(30, 20)]) == (
        "The largest change is 'another view': +30 [+10, +50] bp a trade in the same weeks, more "
        "than their noise."
    )
    assert largest_change(names, [change(-20, 30), change(1, 1)]) == (
        "The largest change is 'no rests': -20 [-50, +10] bp a trade in the same weeks, no more "
        "than their noise."
    )
    assert "'another view': -20" in largest_change(names, [change(1, 1), change(-20, 5)])


def test_changes_below_one_basis_point_are_called_none() -> None:
    none = "None of these changes moves the net by 1 bp a trade."
    assert largest_change(["a", "+ b"], [change(0.9, 0.1)]) == none
    assert largest_change(["a", "+ b"], [change(float("nan"), 1)]) == none


def test_what_every_trade_earns_more_is_no_noise() -> None:
    """However much the trades of both scatter: they are the same trades."""
    (account,) = trades_of_each([planted(200)], RULES, COSTS)
    better = replace(account, net_bp=account.net_bp + 15)
    found = net_change(account, better, seed=1)
    assert (found.value, found.low, found.high) == pytest.approx((15, 15, 15))
    assert change_text(found).endswith("more than their noise")
    assert change_text(net_change(account, account, seed=1)).endswith("no more than their noise")


def test_against_nothing_there_is_no_change() -> None:
    (account,) = trades_of_each([planted(30)], RULES, COSTS)
    none = replace(account, **{f.name: getattr(account, f.name)[:0] for f in fields(account)})
    assert np.isnan(net_change(account, none, seed=1).value)


def test_each_step_is_simulated_with_its_own_signals_and_rules() -> None:
    """A rise of 200 bp after each signal, 600 of them in 200 days; then a rest of two days."""
    signals = Signals(planted(200), [planted(200, seed) for seed in (2, 3)])
    resting = replace(RULES, limits=replace(RULES.limits, rest=timedelta(days=2)))
    text = steps_table(
        [Step("as traded", signals, RULES), Step("+ two days of rest", signals, resting)],
        COSTS,
        seed=1,
    )
    head, _, first, second = text.splitlines()[:4]
    assert head.startswith("|  | trades a day | net bp a trade | seeds alone | gross less 16 bp |")
    # 598 trades in 200 days; with a rest of two days at most one a market in two days.
    assert first.startswith("| as traded | 2.99 | +")
    cells = [cell.strip() for cell in second.strip("|").split("|")]
    assert cells[0] == "+ two days of rest"
    assert 0.7 < float(cells[1]) <= 1.0
    # Two seeds alone: mean, least and most.
    assert cells[3].count("+") == 3


def test_signals_without_seeds_have_none_alone() -> None:
    step = Step("as traded", Signals(planted(200, days=30), []), RULES)
    row = steps_table([step, replace(step, name="+ nothing")], COSTS, seed=1).splitlines()[2]
    assert row.split("|")[4].strip() == "-"
