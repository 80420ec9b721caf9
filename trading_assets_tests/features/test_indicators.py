"""The 46 formulas: numbers by hand, the slow reference, and what a flat market gives."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings

from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.features.catalogue import FEATURE_NAMES, WARM_UP
from trading_assets.features.matrix import feature_matrix, latest_features
from trading_assets_tests.features.candle_series import (
    START,
    appended,
    random_series,
    seeds,
    series_of,
)
from trading_assets_tests.features.slow_reference import slow_features


def last_row(series: CandleSeries) -> dict[str, float]:
    """The features of the last candle, by name."""
    row = latest_features(series, 1).values[0]
    return dict(zip(FEATURE_NAMES, row.tolist(), strict=True))


def ending_with(close: list[float], **columns: list[float]) -> CandleSeries:
    """Enough candles at the first close of `close`, then those closes; columns replace the end."""
    series = series_of([close[0]] * (WARM_UP + 40) + close)
    changed = {}
    for name, values in columns.items():
        column = getattr(series, name).copy()
        column[-len(values) :] = values
        changed[name] = column
    return replace(series, **changed)


def test_returns_and_realised_volatility_by_hand() -> None:
    # 100 -> 110 -> 99: log 1.1 = 0.0953102, log 0.9 = -0.1053605.
    f = last_row(ending_with([100.0, 110.0, 99.0]))
    assert f["log_return_1"] == pytest.approx(-0.1053605, abs=1e-7)
    assert f["log_return_3"] == pytest.approx(-0.0100503, abs=1e-7)  # log 0.99
    # squares 0.00908403 + 0.01110084 = 0.02018487; / 12 = 0.00168207, root 0.0410131.
    assert f["volatility_12"] == pytest.approx(0.0410131, abs=1e-7)
    # / 72 = 0.000280345, root 0.0167435: -0.1053605 / 0.0167435 = -6.29261
    assert f["momentum_1"] == pytest.approx(-6.2926, abs=1e-4)
    # log 0.99 / (0.0167435 * sqrt 3) = -0.0100503 / 0.0290006
    assert f["momentum_3"] == pytest.approx(-0.34656, abs=1e-4)


def test_one_move_in_a_flat_market_by_hand() -> None:
    # A single close of 120 after 100: 20 closes have mean 101 and population sd
    # sqrt(19/400) * 20 = 4.3588990; %b = 1/2 + 19 / (4 * 4.3588990) = 1.5897247.
    f = last_row(ending_with([100.0, 120.0]))
    assert f["bollinger_percent_b"] == pytest.approx(1.5897247, abs=1e-7)
    assert f["bollinger_width"] == pytest.approx(4 * 4.3588990 / 101, abs=1e-7)
    assert f["sma_gap_50"] == pytest.approx(120 / 100.4 - 1)  # mean (49 * 100 + 120) / 50
    assert f["ema_gap_9"] == pytest.approx(120 / 104 - 1)  # 100 + 20 * 2/10
    assert f["rsi_14"] == 100.0  # no loss ever
    # One of 24 returns differs: sample skewness sqrt 24 = 4.8989795, excess kurtosis 24.
    assert f["skewness_24"] == pytest.approx(4.8989795, abs=1e-6)
    assert f["kurtosis_24"] == pytest.approx(24.0, abs=1e-6)
    # The move is in all 24-candle sums: log 1.2 / (log 1.2 / sqrt 72 * sqrt 24) = sqrt 3.
    assert f["momentum_24"] == pytest.approx(math.sqrt(3))
    # T: 19 of 100, then (120 + 100 + 120) / 3 = 113.3333: mean 100.66667, deviation from it
    # (19 * 0.66667 + 12.66667) / 20 = 1.266667: 12.66667 / (0.015 * 1.266667) = 666.667.
    assert f["cci_20"] == pytest.approx(666.6667, abs=1e-3)


def test_volume_features_by_hand() -> None:
    # Twelve candles of volume 1 but the last, which has 13: 11 + 13 = 24; only it moved, upwards.
    series = ending_with([100.0, 120.0], volume=[13.0])
    f = last_row(series)
    assert f["obv_slope_12"] == pytest.approx(13 / 24)
    assert f["mfi_14"] == pytest.approx(100.0)
    # 23 of T = 100 and 13 of T = 340/3: (2300 + 1473.33333) / 36 = 104.8148148.
    assert f["vwap_gap_24"] == pytest.approx(120 / 104.8148148 - 1, abs=1e-9)
    # 23 of 1 and one 13: mean 1.5, sd sqrt((23 * 0.25 + 132.25) / 23) = sqrt 6 = 2.4494897.
    assert f["volume_z_24"] == pytest.approx(11.5 / 2.4494897, abs=1e-7)
    down = last_row(ending_with([100.0, 80.0], volume=[13.0]))
    assert down["obv_slope_12"] == pytest.approx(-13 / 24)
    assert down["mfi_14"] == 0.0


def test_candle_shape_by_hand() -> None:
    # Opens at 100, falls to 98, rises to 108, closes at 104: range 10.
    f = last_row(ending_with([100.0, 104.0], high=[108.0], low=[98.0]))
    assert f["body_share"] == pytest.approx(0.4)
    assert f["upper_shadow_share"] == pytest.approx(0.4)
    assert f["lower_shadow_share"] == pytest.approx(0.2)
    assert f["range_share"] == pytest.approx(10 / 104)
    # Stochastic: (104 - 98) / (108 - 98) = 60, the two candles before are flat: (60 + 50 + 50) / 3.
    assert f["stochastic_k"] == pytest.approx(160 / 3)
    assert f["stochastic_d"] == pytest.approx((160 / 3 + 50 + 50) / 3)


def test_wilders_range_by_hand() -> None:
    # No range until the last candle: true range 10 enters with weight 1/14.
    f = last_row(ending_with([100.0, 104.0], high=[108.0], low=[98.0]))
    assert f["natr_14"] == pytest.approx(10 / 14 / 104)
    # The high rose by 8, the low fell by 2: only the larger counts, 8 of a true range of 10.
    assert f["plus_di_14"] == pytest.approx(80.0)
    assert f["minus_di_14"] == 0.0
    assert f["adx_14"] == pytest.approx(100 / 14)  # the first candle with a direction


@pytest.mark.parametrize(
    ("moment", "hour", "weekday"),
    [
        (datetime(2024, 1, 1, 0, 0, tzinfo=UTC), (0, 1), (0, 1)),  # a Monday, midnight
        (datetime(2024, 1, 3, 6, 0, tzinfo=UTC), (1, 0), (0.9749279, -0.2225209)),  # 2/7 turn
        (datetime(2024, 1, 7, 18, 0, tzinfo=UTC), (-1, 0), (-0.7818315, 0.6234898)),  # 6/7 turn
        (datetime(2024, 1, 1, 1, 30, tzinfo=UTC), (0.3826834, 0.9238795), (0, 1)),  # 22.5 degrees
    ],
)
def test_the_calendar_is_utc(
    moment: datetime, hour: tuple[float, float], weekday: tuple[float, float]
) -> None:
    minutes = Interval.M30.duration
    series = series_of([100.0] * 101, start=moment - 100 * minutes, interval=Interval.M30)
    f = last_row(series)
    assert (f["hour_sin"], f["hour_cos"]) == pytest.approx(hour, abs=1e-7)
    assert (f["weekday_sin"], f["weekday_cos"]) == pytest.approx(weekday, abs=1e-7)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_every_feature_is_that_of_the_slow_reference(seed: int) -> None:
    series = random_series(400, seed)
    values = feature_matrix(series).values
    rows = np.random.default_rng(seed).integers(WARM_UP, 400, 4)
    for row in [WARM_UP, *rows.tolist()]:
        upto = series.slice(0, row + 1)
        slow = slow_features(
            START + timedelta(hours=row),
            o=upto.open.tolist(),
            h=upto.high.tolist(),
            low=upto.low.tolist(),
            c=upto.close.tolist(),
            v=upto.volume.tolist(),
        )
        assert set(slow) == set(FEATURE_NAMES)
        expected = np.array([slow[name] for name in FEATURE_NAMES])
        np.testing.assert_allclose(values[row], expected, rtol=1e-6, atol=1e-9)


NEUTRAL = {"rsi_7": 50, "rsi_14": 50, "mfi_14": 50, "stochastic_k": 50, "stochastic_d": 50}


@pytest.mark.parametrize("price", [0.0005, 0.1, 100.7, 150_000_000.0, 1 / 3])
@pytest.mark.parametrize("volume", [0.0, 0.1])
def test_a_constant_price_gives_exactly_the_documented_values(price: float, volume: float) -> None:
    matrix = feature_matrix(series_of([price] * 300, volume=volume))
    expected = dict.fromkeys(FEATURE_NAMES, 0.0) | NEUTRAL | {"bollinger_percent_b": 0.5}
    for name in FEATURE_NAMES[:-4]:  # all but the calendar
        column = matrix.column(name)[matrix.valid]
        # EMA and VWAP of equal numbers may differ from them in the last bit.
        np.testing.assert_allclose(column, expected[name], atol=1e-14, err_msg=name)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_market_that_falls_silent_ends_at_the_documented_values(seed: int) -> None:
    moving = random_series(300, seed)
    price = float(moving.close[-1])
    silent = series_of([price] * 120, volume=0.0)
    f = last_row(appended(moving, silent))
    for name, value in NEUTRAL.items():
        assert f[name] == value, name
    for name in ("momentum_1", "momentum_24", "adx_14", "plus_di_14", "obv_slope_12", "cci_20"):
        assert f[name] == 0, name
    for name in ("volatility_72", "skewness_24", "volume_z_72", "bollinger_width", "vwap_gap_24"):
        assert f[name] == 0, name
    assert all(math.isfinite(x) for x in f.values())


@pytest.mark.parametrize(("name", "before"), [("rsi_14", 100.0), ("rsi_7", 100.0)])
def test_a_move_shows_until_the_window_is_over(name: str, before: float) -> None:
    window = int(name.removeprefix("rsi_"))
    series = series_of([100.0] * 150 + [101.0] * (window + 1))
    column = feature_matrix(series).column(name)
    assert column[-2] == before  # the move is `window` candles old
    assert column[-1] == 50.0


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_features_do_not_know_the_price_unit(seed: int) -> None:
    series = random_series(300, seed)
    values = feature_matrix(series).values
    for factor in (2.0**20, 2.0**-20):
        scaled = replace(
            series,
            **{name: getattr(series, name) * factor for name in ("open", "high", "low", "close")},
        )
        np.testing.assert_array_equal(feature_matrix(scaled).values, values)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_features_do_not_know_the_volume_unit(seed: int) -> None:
    series = random_series(300, seed)
    values = feature_matrix(series).values
    for factor in (2.0**30, 2.0**-30):
        scaled = feature_matrix(replace(series, volume=series.volume * factor))
        np.testing.assert_array_equal(scaled.values, values)
