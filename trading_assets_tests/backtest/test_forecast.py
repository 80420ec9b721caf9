"""A forecast counts what the walk-forward shows, by hand on small walks."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from trading_assets.backtest.forecast import Walk, forecast, quiet_rows
from trading_assets.backtest.forecast_bands import (
    LEAST_WINDOWS,
    Seen,
    bands,
    statistics_of,
    window_sums,
)
from trading_assets.backtest.forward import allowance, forward_parts
from trading_assets.candles.frame import BoolArray, FloatArray
from trading_assets.errors import NotEnoughHistory
from trading_assets.models.profiles import profile
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.settings import ProfileName, Settings
from trading_assets.signals.bands import Predicted, statistic
from trading_assets.signals.forecast import PROFILE_RULE, Forecast, Statistic
from trading_assets_tests.backtest.predicted import RETURNS, predictions

BTC, ETH = "KRW-BTC", "KRW-ETH"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = np.timedelta64(1, "h")
START = np.datetime64("2024-01-01T00:00", "us")
SWING = profile(Settings(), ProfileName.SWING)
QUIET, BUYS = (0.2, 0.6, 0.2), (0.2, 0.25, 0.55)


def hours(n: int, skip: Sequence[int] = ()) -> np.ndarray:
    """Open times of n hourly candles without those at the places `skip`."""
    return START + np.array([i for i in range(n) if i not in skip]) * HOUR


def walk_of(
    p: Sequence[tuple[float, float, float]],
    *,
    market: str = BTC,
    times: np.ndarray | None = None,
    label: Sequence[int] | None = None,
    net: float = 0.01,
) -> Walk:
    """A walk whose rows say BUY by the profile's rule where p_buy is above 0.5."""
    n = len(p)
    shares = np.array(p)
    ev_long = np.where(shares[:, 2] > 0.5, 0.01, -0.01)
    made = predictions(
        market=market,
        open_time=hours(n) if times is None else times,
        fold=np.zeros(n, np.int16),
        p=shares,
        p_seeds=shares[None].astype(np.float32),
        ev_long=ev_long,
        ev_short=-ev_long,
        p_prior=shares,
        p_volatility=shares,
        stop_loss=np.full(n, 0.02),
        take_profit=np.full(n, 0.02),
        sigma=np.linspace(0.001, 0.002, n),
        close=np.full(n, 1e8),
    )
    assert len(made.folds) == len(RETURNS)
    y = np.full(n, -1) if label is None else np.array(label)
    return Walk(made, np.full(n, 0.0016), y.astype(np.int8), np.where(y < 0, np.nan, net))


def buying_at(n: int, *places: int) -> list[tuple[float, float, float]]:
    return [BUYS if i in places else QUIET for i in range(n)]


def forecast_of(*walks: Walk) -> Forecast:
    return forecast({w.predictions.market: w for w in walks}, SWING, made_at=NOW)


# --- rates --------------------------------------------------------------------------------------


def test_a_rate_counts_buys_and_empty_windows() -> None:
    # 48 hours, BUY at 10 and 30. Windows of 21 h end at 20..47: 28 of them. Without a BUY are those
    # that lie in 11..29 (19 hours: none) and in 31..47 (17: none); so no window is empty.
    found = forecast_of(walk_of(buying_at(48, 10, 30))).markets[BTC]
    assert (found.rows, found.windows, found.independent) == (48, 28, 2)
    assert found.rate.signals_a_day == 1.0
    assert found.rate.no_signal == 0.0
    # BUY at 10 alone: empty are the windows that end at 31..47, 17 of 28.
    later = forecast_of(walk_of(buying_at(48, 10))).markets[BTC]
    assert later.rate.no_signal == pytest.approx(17 / 28)
    assert later.rate.signals_a_day == 0.5


def test_thresholds_ask_for_p_buy_alone_and_at_the_threshold_it_counts() -> None:
    p = [(0.3, 0.3, 0.4), (0.1, 0.3, 0.6), (0.25, 0.25, 0.5), *[QUIET] * 45]
    rates = forecast_of(walk_of(p)).markets[BTC].rates
    assert {rule: rate.signals_a_day for rule, rate in rates.items()} == {
        PROFILE_RULE: 0.5,  # 0.6 alone has an expected value above its costs
        "p_buy_40": 1.5,
        "p_buy_50": 1.0,
        "p_buy_60": 0.5,
    }


def test_a_window_across_a_hole_is_none() -> None:
    # Hour 24 is missing: windows of 21 whole hours end at 20..23 and 45..47.
    times = hours(48, skip=[24])
    found = forecast_of(walk_of(buying_at(47), times=times)).markets[BTC]
    assert found.windows == 4 + 3
    assert found.rate.no_signal == 1.0


def test_silence_is_counted_at_every_row_and_from_the_beginning() -> None:
    counts = np.array([0, 0, 1, 0, 0, 0, 1, 1])
    assert quiet_rows(counts).tolist() == [1, 2, 0, 1, 2, 3, 0, 0]
    found = forecast_of(walk_of(buying_at(48, 10))).markets[BTC].rate.signal_silence
    # 1..10 hours before the BUY, 0 at it, then 1..37.
    assert found.longest == 37
    # 48 values: a share of 5 % is 2.4 of them, so 2 may be longer (36 and 37).
    assert found.five == 35


def test_all_markets_together_are_silent_only_where_each_is() -> None:
    one = walk_of(buying_at(48, 10), market=BTC)
    other = walk_of(buying_at(48, 30), market=ETH)
    whole = forecast_of(one, other).whole
    assert whole.rate.signals_a_day == 1.0
    assert whole.rate.no_signal == 0.0
    assert whole.rate.signal_silence.longest == 19  # between them
    assert whole.volatility == ()


def test_all_markets_together_look_at_the_candles_that_each_has() -> None:
    one = walk_of(buying_at(48, 40), market=BTC)
    other = walk_of(buying_at(30), market=ETH)
    found = forecast_of(one, other)
    assert found.markets[BTC].rows == 48
    assert found.whole.rows == 30
    assert found.whole.rate.signals_a_day == 0.0


def test_trades_are_those_of_the_account() -> None:
    """The account takes every second BUY here; it is asked for each rule."""

    def every_second(buys: dict[str, BoolArray]) -> dict[str, BoolArray]:
        return {m: of & (np.cumsum(of) % 2 == 1) for m, of in buys.items()}

    w = walk_of(buying_at(48, 10, 11))
    found = forecast({BTC: w}, SWING, made_at=NOW, trades_of=every_second).markets[BTC]  # type: ignore[arg-type]
    assert (found.rate.signals_a_day, found.rate.trades_a_day) == (1.0, 0.5)
    # A trade at 10 alone: as above.
    assert found.rate.no_trade == pytest.approx(17 / 28)
    assert found.rate.trade_silence is not None
    assert found.rate.trade_silence.longest == 37
    assert found.rates["p_buy_60"].trades_a_day == 0.0


# --- shares, steps, percentiles -----------------------------------------------------------------


def test_shares_are_of_known_labels_and_of_predicted_classes() -> None:
    label = [0, 1, 1, 2, *[-1] * 44]
    found = forecast_of(walk_of(buying_at(48, 1, 2, 3), label=label)).markets[BTC]
    assert found.label_shares == (0.25, 0.5, 0.25)
    assert found.predicted_shares == (0.0, 45 / 48, 3 / 48)
    assert found.highest_p_buy == 0.55
    assert found.volatility[0] == 0.001
    assert found.volatility[50] == pytest.approx(0.0015)
    assert found.volatility[100] == 0.002


def test_a_step_says_what_was_claimed_and_what_came_true() -> None:
    high = (0.1, 0.25, 0.65)
    p = [high, high, BUYS, BUYS, *[QUIET] * 44]
    label = [2, 0, 2, -1, *[1] * 44]
    steps = forecast_of(walk_of(p, label=label, net=0.002)).markets[BTC].steps
    # The last BUY has no outcome yet.
    assert [(s.p_buy, s.signals) for s in steps] == [(0.8, 0), (0.7, 0), (0.6, 2), (0.0, 1)]
    assert steps[2].claimed == pytest.approx(0.65)
    assert steps[2].came_true == 0.5
    assert steps[2].mean_net == pytest.approx(0.002)


def test_too_little_history_is_said_with_numbers() -> None:
    with pytest.raises(NotEnoughHistory, match=r"KRW-BTC: .* no whole window of 21 h in 20"):
        forecast_of(walk_of(buying_at(20)))
    with pytest.raises(NotEnoughHistory, match="at least one market"):
        forecast({}, SWING, made_at=NOW)


def test_two_recipes_are_no_forecast() -> None:
    one, other = walk_of(buying_at(48)), walk_of(buying_at(48), market=ETH)
    other = replace(other, predictions=replace(other.predictions, recipe="logistic"))
    with pytest.raises(ValueError, match="of one recipe, was of lightgbm, logistic"):
        forecast_of(one, other)


# --- bands --------------------------------------------------------------------------------------


def test_statistics_are_those_of_the_live_check() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet((1, 1, 1), 50)
    p[0], p[1] = (0.4, 0.4, 0.2), (1.0, 0.0, 0.0)
    made = statistics_of(p)
    for name in Statistic:
        live = [statistic(name, [Predicted(BTC, NOW, *map(float, row))]) for row in p]
        np.testing.assert_allclose(made[name], live, atol=1e-12)


def test_a_window_sum_is_of_whole_windows() -> None:
    values = np.array([1.0, 2, 4, 8, 16])
    assert window_sums(values, hours(5), HOUR, 2).tolist()[1:] == [3, 6, 12, 24]
    assert np.isnan(window_sums(values, hours(5), HOUR, 2)[0])
    broken = window_sums(values, hours(6, skip=[3]), HOUR, 2)
    assert np.isnan(broken[3])  # 2 and 4 o'clock are no neighbours
    assert np.isnan(window_sums(values, hours(5), HOUR, 6)).all()


def test_each_later_tenth_is_the_future_of_all_before_it() -> None:
    parts = list(forward_parts(100))
    assert parts[0] == (slice(0, 30), slice(30, 40))
    assert parts[-1] == (slice(0, 90), slice(90, 100))
    assert len(parts) == 7
    assert list(forward_parts(9)) == []


def test_an_allowance_is_the_distance_that_few_later_rows_exceeded() -> None:
    # 100 rows at distances 0.03, 0.06, ..., 3: five of them are above 2.85, one is above 2.97.
    allowed = allowance([0.03 * np.arange(1.0, 101.0), np.array([np.nan])], warn=0.05, error=0.01)
    assert allowed is not None
    assert allowed.warn == pytest.approx(2.88)
    assert allowed.error == pytest.approx(3.0)
    # A future that never came near the bounds does not pull them in.
    near = allowance([np.full(50, 0.5)], warn=0.05, error=0.01)
    assert near is not None
    assert (near.warn, near.error) == (1.0, 1.0)
    assert allowance([], warn=0.05, error=0.01) is None


def seen(values: FloatArray) -> Seen:
    return Seen(hours(len(values)), dict.fromkeys(Statistic, values))


def test_the_bounds_of_a_steady_market_lie_beyond_nearly_all_that_follows() -> None:
    rng = np.random.default_rng(11)
    past, future = (0.5 + 0.05 * rng.standard_normal(n) for n in (20_000, 20_000))
    band = bands({BTC: seen(past)}, timedelta(hours=1))[BTC][Statistic.CONFIDENCE][1]
    assert band.usual == pytest.approx(0.5, abs=0.002)
    assert band.five == pytest.approx(0.5 - 1.645 * 0.05, abs=0.003)
    assert band.one == pytest.approx(0.5 - 2.326 * 0.05, abs=0.004)
    assert band.error < band.warn < band.five
    # One statistic of three: a third of 1 % and of 5 %, for all window lengths; the shortest,
    # which has nearly all of the independent windows, comes close to that.
    assert 0.001 < (future < band.error).mean() < 0.005
    assert 0.010 < (future < band.warn).mean() < 0.020


def test_too_much_hold_is_bounded_from_above() -> None:
    rng = np.random.default_rng(5)
    share = np.clip(0.5 + 0.1 * rng.standard_normal(5000), 0, 1)
    band = bands({BTC: seen(share)}, timedelta(hours=1))[BTC][Statistic.HOLD_SHARE][1]
    assert band.usual < band.five < band.one
    assert band.five < band.warn < band.error < 1


def test_where_all_hold_is_usual_it_is_never_odd() -> None:
    always = bands({BTC: seen(np.ones(5000))}, timedelta(hours=1))[BTC]
    hold = always[Statistic.HOLD_SHARE][21]
    assert (hold.usual, hold.five, hold.error) == (1.0, 1.0, 1.0)
    # Nor is a confidence that never moved: its bounds lie below what is possible.
    assert always[Statistic.CONFIDENCE][21].error == pytest.approx(1 / 3)


def test_too_few_windows_have_no_band() -> None:
    few = bands({BTC: seen(np.linspace(0.4, 0.6, LEAST_WINDOWS + 100))}, timedelta(hours=1))[BTC]
    assert 1 in few[Statistic.ENTROPY]
    assert 168 not in few[Statistic.ENTROPY]  # 200 - 167 = 33 windows


def test_the_wildest_market_sets_the_allowance_of_all() -> None:
    rng = np.random.default_rng(2)
    calm = 0.5 + 0.01 * rng.standard_normal(5000)
    jumps = calm - 0.1 * (np.arange(5000) % 1000 > 900) * (np.arange(5000) > 3000)
    alone = bands({BTC: seen(calm)}, timedelta(hours=1))[BTC][Statistic.CONFIDENCE][1]
    beside = bands({BTC: seen(calm), ETH: seen(jumps)}, timedelta(hours=1))[BTC]
    assert beside[Statistic.CONFIDENCE][1].error < alone.error
    assert ALL_MARKETS not in beside
