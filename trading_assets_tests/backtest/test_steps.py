"""A table that says which change made the difference, and whether it is more than noise."""

from dataclasses import replace
from datetime import timedelta

from trading_assets.backtest.paths import Signals
from trading_assets.backtest.statistics import Interval
from trading_assets.backtest.steps import Step, largest_change, steps_table
from trading_assets_tests.backtest.planted import RULES, planted
from trading_assets_tests.backtest.test_variants import COSTS


def interval(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half, blocks=100)


def test_the_change_that_moves_most_is_named_and_held_against_the_noise() -> None:
    nets = [interval(9, 20), interval(10, 20), interval(40, 24)]
    said = largest_change(["as traded", "+ no rests", "+ another view"], nets)
    # 10 to 40 is 30; half the narrower interval is 20.
    assert said == (
        "The largest change is 'another view': +10 to +40 bp, more than half the width of an "
        "interval (20 bp)."
    )
    smaller = largest_change(["as traded", "+ no rests"], [interval(9, 20), interval(-11, 30)])
    assert "+9 to -11 bp, within half the width of an interval (20 bp)" in smaller


def test_changes_below_one_basis_point_are_called_none() -> None:
    said = largest_change(["a", "+ b"], [interval(-16, 2), interval(-15.1, 2)])
    assert said == "None of these changes moves the net by 1 bp a trade."


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
