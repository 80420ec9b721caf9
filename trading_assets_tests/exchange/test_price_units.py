"""Upbit's KRW tick table at the edge of every band, and rounding to it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.exchange.price_units import KRW_TICKS, ceil_to_tick, floor_to_tick, tick_size


@pytest.mark.parametrize(
    ("price", "tick"),
    [
        ("2000000", "1000"),
        ("1000000", "1000"),
        ("999999", "500"),
        ("500000", "500"),
        ("499999", "100"),
        ("100000", "100"),
        ("99999", "50"),
        ("50000", "50"),
        ("49999", "10"),
        ("10000", "10"),
        ("9999", "5"),
        ("5000", "5"),
        ("4999", "1"),
        ("1000", "1"),
        ("999", "1"),
        ("100", "1"),
        ("99.9", "0.1"),
        ("10", "0.1"),
        ("9.99", "0.01"),
        ("1", "0.01"),
        ("0.999", "0.001"),
        ("0.1", "0.001"),
        ("0.0999", "0.0001"),
        ("0.01", "0.0001"),
        ("0.00999", "0.00001"),
        ("0.001", "0.00001"),
        ("0.000999", "0.000001"),
        ("0.0001", "0.000001"),
        ("0.0000999", "0.0000001"),
        ("0.00001", "0.0000001"),
        ("0.00000999", "0.00000001"),
        ("0.00000001", "0.00000001"),
    ],
)
def test_every_band_begins_where_upbit_says(price: str, tick: str) -> None:
    assert tick_size(Decimal(price)) == Decimal(tick)


@pytest.mark.parametrize("price", ["0", "-1", "NaN"])
def test_a_price_that_is_none_has_no_tick(price: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        tick_size(Decimal(price))


def test_rounding_goes_to_the_neighbouring_prices_of_the_grid() -> None:
    assert floor_to_tick(Decimal("123456.7")) == Decimal(123400)
    assert ceil_to_tick(Decimal("123456.7")) == Decimal(123500)


def test_a_price_on_the_grid_stays() -> None:
    assert floor_to_tick(Decimal(123400)) == ceil_to_tick(Decimal(123400)) == Decimal(123400)


def test_rounding_up_may_reach_the_next_band() -> None:
    assert ceil_to_tick(Decimal("99.96")) == Decimal(100)
    assert ceil_to_tick(Decimal(999999)) == Decimal(1000000)


def test_the_bands_begin_on_their_own_grid() -> None:
    assert all(start % tick == 0 for start, tick in KRW_TICKS)


@given(st.decimals(min_value="0.00000001", max_value=10**9, places=8))
def test_a_rounded_price_is_on_the_grid_and_less_than_a_tick_away(price: Decimal) -> None:
    low, high = floor_to_tick(price), ceil_to_tick(price)
    assert low <= price <= high
    assert high - low in (0, tick_size(price))
    assert high % tick_size(high) == 0
