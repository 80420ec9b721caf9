"""The exits' volatility: by hand, against the slow reference, causal and the same live."""

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_assets.exchange.model import Interval
from trading_assets.features.anchors import history_start
from trading_assets.features.volatility import ewm_sigma
from trading_assets_tests.features.candle_series import (
    START,
    broken_at,
    random_series,
    seeds,
    series_of,
)
from trading_assets_tests.features.slow_reference import slow_sigma


def test_alternating_returns_have_their_own_size_as_sigma() -> None:
    # +1 % and -1 % in turns (log): the mean is nearly 0, so sigma is nearly 1 % times the bias
    # correction, which for an even weight is sqrt(n / (n - 1)).
    close = 100 * np.exp(0.01 * (np.arange(2001) % 2))
    assert ewm_sigma(series_of(close))[-1] == pytest.approx(0.01, rel=0.005)


def test_there_is_no_sigma_before_96_returns() -> None:
    sigma = ewm_sigma(random_series(200, 1))
    assert np.isnan(sigma[:96]).all()
    assert np.isfinite(sigma[96:]).all()


def test_each_segment_starts_anew() -> None:
    series = broken_at(random_series(400, 2), [150])
    sigma = ewm_sigma(series)
    assert np.isnan(sigma[150:246]).all()
    np.testing.assert_array_equal(sigma[150:], ewm_sigma(series.slice(150, 400)))


def test_a_price_that_never_moves_has_no_volatility() -> None:
    assert (ewm_sigma(series_of([0.1] * 200))[96:] == 0).all()


@given(seeds, st.integers(100, 399))
@settings(max_examples=20, deadline=None)
def test_sigma_is_that_of_the_slow_reference(seed: int, row: int) -> None:
    series = random_series(400, seed)
    slow = slow_sigma(series.close[: row + 1].tolist(), 168)
    assert math.isclose(ewm_sigma(series)[row], slow, rel_tol=1e-9, abs_tol=1e-15)


@given(seeds, st.integers(0, 19_999))
@settings(max_examples=20, deadline=None)
def test_sigma_has_the_same_bits_live_and_in_training(seed: int, row: int) -> None:
    series = random_series(20_000, seed)
    first = max(
        0, (history_start(START + timedelta(hours=row), Interval.M60) - START) // timedelta(hours=1)
    )
    full = ewm_sigma(series)
    np.testing.assert_array_equal(ewm_sigma(series.slice(0, row + 1)), full[: row + 1])
    np.testing.assert_array_equal(ewm_sigma(series.slice(first, row + 1))[-1], full[row])


def test_a_span_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="span must not be below 1, was 0"):
        ewm_sigma(random_series(200, 1), span=0)
