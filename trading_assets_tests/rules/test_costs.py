"""What a trade costs, by hand."""

from decimal import Decimal

import pytest

from trading_assets.rules.costs import Costs

COSTS = Costs(fee_rate=Decimal("0.0005"), min_slippage_rate=Decimal("0.0003"))


def test_a_round_trip_is_two_fees_and_two_slippages() -> None:
    # tick 1,000 at 100,000,000: half a tick is 0.000005, below the least slippage of 0.0003
    assert COSTS.round_trip(Decimal(100_000_000), Decimal(1000)) == Decimal("0.0016")


def test_half_a_tick_is_the_slippage_where_the_grid_is_coarse() -> None:
    # XRP at 700 with a tick of 1: 1 / 1400 = 7.14 bp a side
    assert COSTS.slippage_rate(Decimal(700), Decimal(1)) == Decimal(1) / Decimal(1400)
    # 2 x (0.0005 + 0.0005) with a tick of 1 at 1,000
    assert COSTS.round_trip(Decimal(1000), Decimal(1)) == Decimal("0.0020")


def test_the_least_slippage_rules_exactly_where_half_a_tick_equals_it() -> None:
    # 0.3 / (2 x 500) = 0.0003
    assert COSTS.slippage_rate(Decimal(500), Decimal("0.3")) == Decimal("0.0003")


@pytest.mark.parametrize("name", ["fee_rate", "min_slippage_rate"])
@pytest.mark.parametrize("rate", ["-0.0001", "0.0500001"])
def test_a_rate_outside_its_bounds_is_refused_by_name(name: str, rate: str) -> None:
    rates = {"fee_rate": Decimal(0), "min_slippage_rate": Decimal(0)} | {name: Decimal(rate)}
    with pytest.raises(ValueError, match=f"{name} must be between 0 and 0.05"):
        Costs(**rates)


@pytest.mark.parametrize("rate", ["0", "0.05"])
def test_the_bounds_themselves_are_allowed(rate: str) -> None:
    assert Costs(Decimal(rate), Decimal(rate)).fee_rate == Decimal(rate)
