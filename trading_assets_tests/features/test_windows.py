"""Rolling windows against numbers by hand, and their promise: a row is its window's business."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.features.windows import (
    FloatArray,
    window_max,
    window_mean,
    window_min,
    window_moments,
    window_sum,
)
from trading_assets_tests.features.candle_series import seeds

X = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])


def test_window_sums_are_those_by_hand() -> None:
    np.testing.assert_array_equal(window_sum(X, 3), [8, 6, 10, 15])
    np.testing.assert_array_equal(window_sum(X, 5), [14, 20])
    np.testing.assert_array_equal(window_sum(X, 1), X)
    np.testing.assert_array_equal(window_sum(X, 6), [23])


def test_window_means_and_extremes_are_those_by_hand() -> None:
    np.testing.assert_array_equal(window_mean(X, 4), [2.25, 2.75, 4.75])
    np.testing.assert_array_equal(window_min(X, 3), [1, 1, 1, 1])
    np.testing.assert_array_equal(window_max(X, 3), [4, 4, 5, 9])


def test_window_moments_are_those_by_hand() -> None:
    # 3 1 4: mean 8/3, squares 9 + 1 + 16 - 64/3 = 14/3. 1 5 9: mean 5, squares 16 + 0 + 16.
    mean, squares = window_moments(X, 3)
    np.testing.assert_allclose(mean[[0, 3]], [8 / 3, 5], rtol=1e-15)
    np.testing.assert_allclose(squares[[0, 3]], [14 / 3, 32], rtol=1e-15)


def test_windows_of_two_dimensions_go_along_the_rows() -> None:
    pair = np.stack([X, 10 * X], axis=1)
    np.testing.assert_array_equal(window_sum(pair, 3)[:, 1], [80, 60, 100, 150])


@pytest.mark.parametrize("window", [0, -1, 7])
def test_an_impossible_window_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to the 6 rows, was {window}"):
        window_sum(X, window)


@pytest.mark.parametrize("window", [3, 14, 20, 24, 72])
def test_equal_rows_have_exactly_no_spread(window: int) -> None:
    mean, squares = window_moments(np.full(100, 0.1), window)
    assert (mean == 0.1).all()
    assert (squares == 0).all()


def test_small_differences_of_large_numbers_keep_their_digits() -> None:
    # Alternating +-1 around 1e9: each pair has mean 1e9 and squares 2; raw squares of 1e18 in
    # float64 are 128 apart and would lose all of it.
    x = 1e9 + np.tile([1.0, -1.0], 20)
    np.testing.assert_allclose(window_moments(x, 20)[1], 20.0, rtol=1e-12)


def test_a_large_number_leaves_nothing_behind() -> None:
    x = np.zeros(60)
    x[10] = 1e17
    x[30] = 0.1
    assert window_sum(x, 12)[-1] == 0
    assert window_sum(x, 12)[30 - 11] == 0.1  # the window that ends with row 30 begins with 19


def _spread(x: FloatArray, window: int) -> FloatArray:
    return window_moments(x, window)[1]


@given(seeds, st.integers(1, 80), st.integers(0, 300), st.integers(0, 300))
def test_a_window_has_the_same_bits_alone_and_among_others(
    seed: int, window: int, before: int, after: int
) -> None:
    x = np.random.default_rng(seed).lognormal(0, 3, before + window + after)
    functions: tuple[Callable[[FloatArray, int], FloatArray], ...] = (
        window_sum,
        window_mean,
        window_min,
        window_max,
        _spread,
    )
    for function in functions:
        alone = function(x[before : before + window].copy(), window)
        assert function(x, window)[before] == alone[0]
