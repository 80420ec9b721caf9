"""Predictions become decisions at closes, and are held against what happened."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from trading_assets.backtest.earlier import by_difference, without_barriers, without_limits
from trading_assets.backtest.paths import account_rules, market_path, signals_of
from trading_assets.backtest.predicted import bins, outcomes, predicted
from trading_assets.backtest.predictions import FoldFacts, Predictions
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import make_labels
from trading_assets.models.model import ClassReturns
from trading_assets.models.profiles import profile
from trading_assets.rules.exits import FixedExits
from trading_assets.settings import ProfileName, Settings
from trading_assets_tests.backtest.simulations import HOUR, START
from trading_assets_tests.backtest.test_variants import COSTS

RETURNS = ClassReturns((-0.02, 0.0, 0.02), (0.02, 0.0, -0.02))
FOLD = FoldFacts(
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2022, 1, 1, tzinfo=UTC),
    datetime(2023, 12, 1, tzinfo=UTC),
    1000,
    10,
    RETURNS,
)
# Two-hour trades with 2 % barriers; enters above one round trip of 16 bp.
SWING = replace(
    profile(Settings(), ProfileName.SWING),
    exits=FixedExits(Decimal("0.02"), Decimal("0.02"), timedelta(hours=2)),
)
N = 12


def series(close: list[float] | None = None) -> CandleSeries:
    prices = np.array(close or [50_000_000.0] * N)
    n = len(prices)
    return CandleSeries(
        Interval.M60,
        START + np.arange(n) * HOUR,
        prices,
        prices,
        prices,
        prices,
        np.ones(n),
        np.zeros(n, dtype=np.bool_),
        np.zeros(n, dtype=np.int64),
    )


def predictions(
    rows: list[int], p: list[tuple[float, float, float]], **changes: object
) -> Predictions:
    """Predictions of these candles; two seeds, the second the mirror image of the first."""
    triples = np.array(p, dtype=np.float64)
    n = len(rows)
    mirrored = triples[:, ::-1]
    values: dict[str, object] = {
        "market": "KRW-BTC",
        "profile": "swing",
        "recipe": "lightgbm",
        "interval": timedelta(hours=1),
        "open_time": START + np.array(rows) * HOUR,
        "fold": np.zeros(n, dtype=np.int16),
        "p": triples,
        "p_seeds": np.stack([triples, mirrored]).astype(np.float32),
        "ev_long": 0.02 * (triples[:, 2] - triples[:, 0]),
        "ev_short": 0.02 * (triples[:, 0] - triples[:, 2]),
        "p_prior": np.full((n, 3), 1 / 3),
        "p_volatility": np.full((n, 3), 1 / 3),
        "stop_loss": np.full(n, 0.02),
        "take_profit": np.full(n, 0.02),
        "sigma": np.full(n, 0.01),
        "close": np.full(n, 50_000_000.0),
        "folds": (FOLD,),
        "record": {},
    }
    return Predictions(**(values | changes))  # type: ignore[arg-type]


BUY, HOLD, SELL = (0.2, 0.2, 0.6), (0.2, 0.6, 0.2), (0.6, 0.2, 0.2)


def test_a_path_runs_from_the_first_prediction_to_the_last_ones_time_limit() -> None:
    made = market_path(predictions([2, 3, 5], [BUY, HOLD, SELL]), series(), SWING, COSTS)
    # Candles 2 to 5 and, for an entry at the close of 5, two more and one to leave in.
    assert made.series.open_time[0] == START + 2 * HOUR
    assert len(made) == 6
    assert np.flatnonzero(made.buy).tolist() == [0]
    assert np.flatnonzero(made.sell).tolist() == [3]
    assert made.p_buy[0] == 0.6
    assert made.ev_net[0] == pytest.approx(0.008)  # 0.02 x (0.6 - 0.2)
    assert made.min_ev_net[0] == pytest.approx(0.0016)  # one round trip
    assert np.isnan(made.p_buy[2])  # candle 4 was not predicted
    assert made.timeout == timedelta(hours=2)


@pytest.mark.parametrize(("ev", "enters"), [(0.00159, False), (0.00161, True)])
def test_a_buy_needs_an_expected_value_above_one_round_trip(ev: float, enters: bool) -> None:
    made = predictions([2], [BUY], ev_long=np.array([ev]))
    assert market_path(made, series(), SWING, COSTS).buy[0] == enters


def test_predictions_of_other_candles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"KRW-BTC: the prediction of .* has no such candle"):
        market_path(predictions([2], [BUY], close=np.array([1.0])), series(), SWING, COSTS)
    with pytest.raises(ValueError, match="has no such candle"):
        market_path(predictions([N + 3], [BUY]), series(), SWING, COSTS)


def test_each_seed_alone_decides_by_its_own_probabilities() -> None:
    signals = signals_of([predictions([2], [BUY])], {"KRW-BTC": series()}, SWING, COSTS)
    assert signals.paths[0].buy[0]
    first, second = (paths[0] for paths in signals.seed_paths)
    assert first.buy[0]
    assert not second.buy[0]
    assert second.sell[0]


def test_the_account_has_the_traders_own_rules() -> None:
    rules = account_rules(Settings())
    assert rules.starting_krw == 10_000_000
    assert [step.share for step in rules.size.steps] == [
        Decimal(share) for share in ("0.15", "0.10", "0.07", "0.05")
    ]
    assert rules.limits.rest_after_stop == timedelta(hours=1)
    assert rules.min_notional == 5000
    free = without_limits(rules)
    assert free.limits.rest == free.limits.rest_after_stop == timedelta(0)
    assert free.size == rules.size


def test_the_earlier_formula_enters_above_twice_the_cost() -> None:
    # (0.6 - 0.2) x 0.02 - 0.0016 = 0.0064 > 0.0016. A lean of 0.158 gives 0.00316 - 0.0016 =
    # 0.00156, one of 0.162 gives 0.00164.
    p = [BUY, (0.121, 0.6, 0.279), (0.119, 0.6, 0.281), SELL]
    made = market_path(predictions([2, 3, 4, 5], p), series(), SWING, COSTS)
    earlier = by_difference(made, predictions([2, 3, 4, 5], p), COSTS)
    assert earlier.buy[[0, 2]].all()
    assert not earlier.sell.any()
    assert earlier.buy.sum() == 2


def test_without_barriers_no_candle_reaches_them_and_rows_without_a_prediction_stay_so() -> None:
    made = market_path(predictions([2, 4], [BUY, BUY]), series(), SWING, COSTS)
    free = without_barriers(made)
    # The path begins at row 2; row 3 has no prediction.
    assert free.stop_loss[[0, 2]].tolist() == free.take_profit[[0, 2]].tolist() == [0.9, 0.9]
    assert np.isnan(free.stop_loss[1])
    assert free.timeout == made.timeout


def test_outcomes_are_joined_by_candle_time_where_they_are_known() -> None:
    # The path of row 10 is not over in 12 candles; the price rises 3 % at candle 4.
    prices = [50_000_000.0] * 4 + [51_500_000.0] * 8
    candles = series(prices)
    labels = make_labels(candles, SWING, COSTS, ewm_sigma(candles))
    found = outcomes(predictions([2, 3, 10], [BUY, HOLD, SELL]), labels)
    assert found.rows.tolist() == [0, 1]
    assert found.y.tolist() == [2, 2]
    # Taken at the open of candle 4, which lies beyond the 2 % barrier: 3 % less 16 bp.
    assert found.long_net == pytest.approx([0.03 - 0.0016] * 2)


def test_bins_are_of_equal_count_from_the_lowest_promise() -> None:
    found = bins(np.array([0.4, 0.1, 0.2, 0.3]), np.array([1.0, 0.0, 0.0, 1.0]), count=2)
    assert [b.promised for b in found] == pytest.approx([0.15, 0.35])
    assert [(b.happened, b.rows) for b in found] == [(0.0, 2), (1.0, 2)]


def test_skill_is_against_the_folds_own_baselines() -> None:
    prices = [50_000_000.0] * 4 + [51_500_000.0] * 8
    candles = series(prices)
    labels = make_labels(candles, SWING, COSTS, ewm_sigma(candles))
    found = predicted([predictions([2, 3], [BUY, BUY])], {"KRW-BTC": labels}, seed=1)
    (skill,) = found.skill
    assert skill.rows == 2
    assert skill.ratio_prior == pytest.approx(np.log(0.6) / np.log(1 / 3))
    assert skill.hold_share == 0.0
    assert skill.p_hold == pytest.approx(0.2)
    assert [d.happened for d in found.deciles] == pytest.approx([284, 284])  # 300 - 16 bp


def test_without_any_outcome_nothing_is_said() -> None:
    labels = make_labels(series(), SWING, COSTS, ewm_sigma(series()))
    found = predicted([predictions([11], [BUY])], {"KRW-BTC": labels}, seed=1)
    assert (found.skill, found.reliability, found.deciles) == ((), (), ())
