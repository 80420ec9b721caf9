"""A report finds what was planted, and finds nothing where nothing was planted."""

import math
from dataclasses import replace

import numpy as np
import pytest

from trading_assets.backtest import measure as m
from trading_assets.backtest.assess import assess, search_of
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.paths import Signals
from trading_assets.backtest.report import Report
from trading_assets_tests.backtest.planted import RULES, planted, without_signals
from trading_assets_tests.backtest.simulations import SUBJECT
from trading_assets_tests.backtest.test_variants import COSTS

RISE_BP = 200


@pytest.fixture(scope="module")
def found() -> Report:
    return assess(
        SUBJECT,
        Signals(planted(RISE_BP), [planted(RISE_BP, seed) for seed in (2, 3, 4)]),
        RULES,
        COSTS,
        seed=1,
    )


def test_the_planted_rise_is_earned_less_one_round_trip(found: Report) -> None:
    measured = found.measured
    # 200 days x 24 h / 16 h x 2 markets = 600 signals, less the edges.
    assert measured.trades == 598
    assert measured.trades_a_day.value == pytest.approx(3.0, abs=0.02)
    # +200 bp less the even drift that was taken out, less 16 bp; noise 120 bp / sqrt(598) = 5.
    # 200 / 16 h of drift x 4 h = 50.
    assert measured.net_bp.value == pytest.approx(200 - 50 - 16, abs=15)
    assert measured.gross_bp.value - measured.net_bp.value == pytest.approx(16, abs=0.5)
    assert measured.net_bp.low > 0
    assert measured.ends == {"time_limit": 598}
    assert measured.account_return > 0
    assert measured.sharpe.low > 0


def test_costs_take_what_they_say(found: Report) -> None:
    by_cost = {v.round_trip_bp: v.measured for v in found.costs}
    assert by_cost[16].net_bp == found.measured.net_bp
    # Fees are charged on a price that moved, so not to the last hundredth.
    assert found.measured.net_bp.value - by_cost[20].net_bp.value == pytest.approx(4, abs=0.1)
    assert found.measured.net_bp.value - by_cost[40].net_bp.value == pytest.approx(24, abs=0.5)


def test_an_hour_late_misses_the_first_quarter_of_the_rise(found: Report) -> None:
    # A quarter of 200 bp is gone at entry; the fifth hour brings the even drift of -12.5 as did
    # the first.
    missed = found.measured.net_bp.value - found.delayed.net_bp.value
    assert missed == pytest.approx(50, abs=20)


def test_the_next_open_is_the_close_where_candles_join(found: Report) -> None:
    # Entry one candle on at the same price; held from there for the same four hours of closes.
    assert found.next_open.trades == found.measured.trades
    assert found.next_open.net_bp.value == pytest.approx(found.measured.net_bp.value, abs=20)


def test_luck_does_not_reach_the_planted_edge(found: Report) -> None:
    for luck in (found.placebo, found.random):
        assert luck is not None
        assert luck.draws == 40
        assert luck.reached == 0.0
        assert luck.mean == pytest.approx(-16, abs=12)
        assert luck.largest < found.measured.net_bp.value - 50
        assert luck.trades == pytest.approx(598, rel=0.2)  # those within another trade fall away


def test_the_rest_of_the_report(found: Report) -> None:
    assert found.seeds is not None
    assert len(found.seeds.net_bp) == 3
    assert found.seeds.mean == pytest.approx(134, abs=15)
    assert found.without_best.net_bp < found.measured.net_bp.value
    assert found.without_best.trades < found.measured.trades
    assert len(found.months) == 7
    assert Report.from_json(found.to_json()).to_json() == found.to_json()


def test_signals_without_an_edge_earn_minus_the_costs_and_are_not_told_from_luck() -> None:
    reached = []
    for seed in range(6):
        made = assess(SUBJECT, Signals(planted(0, seed)), RULES, COSTS, seed=1, repetitions=20)
        assert made.measured.net_bp.value == pytest.approx(-16, abs=17)  # 3 sd of 5, and spare
        assert made.placebo is not None
        reached.append(made.placebo.reached)
    assert 0.15 < np.mean(reached) < 0.85


def test_an_account_that_never_traded_has_a_report() -> None:
    quiet = [without_signals(path) for path in planted(0, days=60)]
    made = assess(SUBJECT, Signals(quiet), RULES, COSTS, seed=1)
    assert (made.measured.trades, made.placebo, made.random, made.seeds) == (0, None, None, None)
    assert math.isnan(made.without_best.net_bp)
    assert made.measured.account_return == 0


def test_choosing_among_lucky_settings_is_found_out() -> None:
    settings = {f"luck {seed}": simulate(planted(16, seed), RULES, COSTS) for seed in range(12)}
    best = max(settings, key=lambda name: m.mean_net(settings[name].trades.net_bp))
    lucky = search_of(settings, best)
    assert lucky.deflated.probability < 0.95
    assert lucky.overfitting is not None
    assert lucky.overfitting.settings == 12
    # What hardly trades is no choice: it would make the others look better in half of the splits.
    with_idle = settings | {
        f"idle {n}": simulate([without_signals(p) for p in planted(0)], RULES, COSTS)
        for n in range(6)
    }
    idle = search_of(with_idle, best)
    assert idle.overfitting == lucky.overfitting
    assert idle.deflated.trials == lucky.deflated.trials
    settings["edge"] = simulate(planted(RISE_BP, 99), RULES, COSTS)
    real = search_of(settings, "edge")
    assert real.deflated.probability > 0.95
    assert real.overfitting is not None
    assert real.overfitting.probability < 0.05
    alone = search_of({"edge": settings["edge"]} | dict(list(with_idle.items())[12:]), "edge")
    assert alone.overfitting is None


def test_the_same_seed_gives_the_same_report(found: Report) -> None:
    again = assess(
        replace(SUBJECT),
        Signals(planted(RISE_BP), [planted(RISE_BP, seed) for seed in (2, 3, 4)]),
        RULES,
        COSTS,
        seed=1,
    )
    assert again.to_json() == found.to_json()
