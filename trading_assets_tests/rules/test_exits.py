"""The three barriers: terms, prices on the grid, and which one closes a position."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.exchange.price_units import floor_to_tick, tick_size
from trading_assets.rules.exits import (
    ExitPlan,
    ExitReason,
    ExitTerms,
    FixedExits,
    VolatilityExits,
    exit_plan,
    exit_reason,
)

ENTERED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
PLAN = ExitPlan(Decimal(98000), Decimal(102000), ENTERED + HALF_HOUR)


@pytest.mark.parametrize("stop", ["0", "-0.01", "1", "1.5"])
def test_a_stop_loss_outside_zero_to_one_is_refused(stop: str) -> None:
    with pytest.raises(ValueError, match="stop_loss must be above 0 and below 1"):
        ExitTerms(Decimal(stop), Decimal("0.02"), HALF_HOUR)


@pytest.mark.parametrize("take", ["0", "-0.02"])
def test_a_take_profit_of_nothing_is_refused(take: str) -> None:
    with pytest.raises(ValueError, match="take_profit must be above 0"):
        ExitTerms(Decimal("0.02"), Decimal(take), HALF_HOUR)


def test_a_take_profit_above_one_is_allowed() -> None:
    assert ExitTerms(Decimal("0.02"), Decimal("1.5"), HALF_HOUR).take_profit == Decimal("1.5")


def test_a_timeout_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout must be above 0"):
        ExitTerms(Decimal("0.02"), Decimal("0.02"), timedelta(0))


def test_fixed_exits_do_not_depend_on_volatility_or_cost() -> None:
    exits = FixedExits(Decimal("0.02"), Decimal("0.03"), HALF_HOUR)
    assert exits.terms(Decimal("0.5"), Decimal("0.1")) == ExitTerms(
        Decimal("0.02"), Decimal("0.03"), HALF_HOUR
    )


VOLATILITY = VolatilityExits(Decimal(2), 9, timedelta(hours=9), Decimal(2))


def test_volatility_exits_grow_with_the_root_of_the_periods() -> None:
    # 2 x 0.005 x sqrt(9) = 0.03
    assert VOLATILITY.terms(Decimal("0.005"), Decimal("0.0016")).stop_loss == Decimal("0.03")
    assert VOLATILITY.terms(Decimal("0.005"), Decimal("0.0016")).take_profit == Decimal("0.03")


def test_volatility_exits_never_lie_nearer_than_the_floor() -> None:
    # 2 x 0.0005 x 3 = 0.003; the floor is 2 x 0.0016 = 0.0032
    assert VOLATILITY.terms(Decimal("0.0005"), Decimal("0.0016")).stop_loss == Decimal("0.0032")
    # exactly at the floor: 2 x sigma x 3 = 0.003 with costs of 0.0015
    assert VOLATILITY.terms(Decimal("0.0005"), Decimal("0.0015")).stop_loss == Decimal("0.003")


@pytest.mark.parametrize("sigma", ["0", "-0.001", "NaN"])
def test_volatility_exits_refuse_a_volatility_that_is_none(sigma: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        VOLATILITY.terms(Decimal(sigma), Decimal("0.0016"))


def test_barriers_are_rounded_towards_the_entry_price() -> None:
    terms = ExitTerms(Decimal("0.02"), Decimal("0.02"), HALF_HOUR)
    # 100,050 x 0.98 = 98,049 -> up to 98,050; 100,050 x 1.02 = 102,051 -> down to 102,050
    plan = exit_plan(terms, Decimal(100050), lambda _: Decimal(50), ENTERED)
    assert plan == ExitPlan(Decimal(98050), Decimal(102050), ENTERED + HALF_HOUR)


def test_barriers_on_the_grid_stay_where_they_are() -> None:
    terms = ExitTerms(Decimal("0.02"), Decimal("0.02"), HALF_HOUR)
    plan = exit_plan(terms, Decimal(100000), lambda _: Decimal(100), ENTERED)
    assert (plan.stop_price, plan.take_price) == (Decimal(98000), Decimal(102000))


@pytest.mark.parametrize(
    ("bid", "seconds", "expected"),
    [
        ("98000", 0, ExitReason.STOP_LOSS),
        ("98000.00000001", 0, None),
        ("101999.99999999", 0, None),
        ("102000", 0, ExitReason.TAKE_PROFIT),
        ("100000", 1799, None),
        ("100000", 1800, ExitReason.TIME_LIMIT),
        ("98000", 1800, ExitReason.STOP_LOSS),
        ("102000", 1800, ExitReason.TAKE_PROFIT),
    ],
)
def test_each_barrier_fires_exactly_at_its_boundary(
    bid: str, seconds: int, expected: ExitReason | None
) -> None:
    assert exit_reason(PLAN, Decimal(bid), ENTERED + timedelta(seconds=seconds)) is expected


@given(
    price=st.decimals(min_value=1000, max_value=10**8, places=0),
    ratio=st.decimals(min_value="0.001", max_value="0.5", places=4),
    tick=st.sampled_from([Decimal(1), Decimal(10), Decimal(500), Decimal(1000)]),
)
def test_a_barrier_never_lies_further_away_than_the_terms_say(
    price: Decimal, ratio: Decimal, tick: Decimal
) -> None:
    plan = exit_plan(ExitTerms(ratio, ratio, HALF_HOUR), price, lambda _: tick, ENTERED)
    assert price * (1 - ratio) <= plan.stop_price < price * (1 - ratio) + tick
    assert price * (1 + ratio) - tick < plan.take_price <= price * (1 + ratio)
    assert plan.stop_price % tick == 0
    assert plan.take_price % tick == 0


@given(
    price=st.one_of(
        st.decimals(min_value="0.01", max_value="2", places=4),
        st.decimals(min_value=90, max_value=120, places=1),
        st.decimals(min_value=900_000, max_value=1_100_000, places=0),
    ),
    ratio=st.decimals(min_value="0.001", max_value="0.5", places=4),
)
def test_each_barrier_lies_on_the_grid_of_its_own_band(price: Decimal, ratio: Decimal) -> None:
    plan = exit_plan(ExitTerms(ratio, ratio, HALF_HOUR), price, tick_size, ENTERED)
    stop, take = price * (1 - ratio), price * (1 + ratio)
    assert stop <= plan.stop_price < stop + tick_size(stop)
    assert take - tick_size(take) < plan.take_price <= take
    assert plan.stop_price == floor_to_tick(plan.stop_price)
    assert plan.take_price == floor_to_tick(plan.take_price)


@pytest.mark.parametrize(
    ("average", "stop", "take"),
    [
        ("101.5", "99.5", "103"),  # 99.47 up by 0.1 (by the entry's tick of 1: 100), 103.53 down
        ("99.9", "98", "101"),  # 97.902 up by 0.1, 101.898 down by 1 (by the entry's tick: 101.8)
        ("1010000", "990000", "1030000"),  # 989,800 up by 500, 1,030,200 down by 1,000
        ("1015000", "995000", "1035000"),  # 994,700 up by 500, 1,035,300 down by 1,000
        ("1015700", "995500", "1036000"),  # 995,386 up by 500 (by 1,000: 996,000), 1,036,014 down
        ("0.1001", "0.0981", "0.102"),  # 0.098098 up by 0.0001 (by 0.001: 0.099), 0.102102 down
    ],
)
def test_barriers_beside_a_band_s_edge(average: str, stop: str, take: str) -> None:
    terms = ExitTerms(Decimal("0.02"), Decimal("0.02"), HALF_HOUR)
    plan = exit_plan(terms, Decimal(average), tick_size, ENTERED)
    assert (plan.stop_price, plan.take_price) == (Decimal(stop), Decimal(take))
