"""The tick grid for arrays agrees with the table, and seeded numbers never change."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.exchange.price_units import ceil_to_tick, floor_to_tick, tick_size
from trading_assets.paper_exchange.grid import round_to_tick, tick_sizes, uniforms


@pytest.mark.parametrize(
    ("price", "tick", "rounded"),
    [
        (108_625_400.0, 1000.0, 108_625_000.0),
        (1_000_000.0, 1000.0, 1_000_000.0),
        (999_800.0, 500.0, 1_000_000.0),  # up into the next band
        (123_456.0, 100.0, 123_500.0),
        (7_777.0, 5.0, 7_775.0),
        (654.3, 1.0, 654.0),
        (12.34, 0.1, 12.3),
        (99.96, 0.1, 100.0),
        (1.234, 0.01, 1.23),
        (0.012345, 0.0001, 0.0123),
    ],
)
def test_prices_are_rounded_to_upbits_grid(price: float, tick: float, rounded: float) -> None:
    assert tick_sizes(np.array([price]))[0] == tick
    assert round_to_tick(np.array([price]))[0] == rounded


@given(st.decimals(min_value="0.00001", max_value="200000000", places=8))
def test_the_array_form_agrees_with_the_table(price: Decimal) -> None:
    at = np.array([float(price)])
    assert tick_sizes(at)[0] == float(tick_size(price))
    neighbours = (float(floor_to_tick(price)), float(ceil_to_tick(price)))
    assert round_to_tick(at)[0] in neighbours


def test_seeded_numbers_are_the_same_for_ever() -> None:
    # splitmix64's first outputs from state 0 are e220a8397b1dcdaf, 6e789e6aa1b965f4
    # (Vigna's reference code); our counter k hashes state k x golden gamma, so they are k = 1, 2.
    expected = [0xE220A8397B1DCDAF >> 11, 0x6E789E6AA1B965F4 >> 11]
    found = uniforms(0, np.array([1, 2], dtype=np.int64))
    assert (found * 2.0**53).astype(np.int64).tolist() == expected
