"""Sizes: the step of p_buy, the smallest order, and what shrinks or refuses a size."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.rules.sizing import (
    Funds,
    Size,
    SizeRules,
    SizeStep,
    minimum_order,
    size_entry,
    truncate_volume,
)

STEPS = (
    SizeStep(Decimal("0.8"), Decimal("0.15")),
    SizeStep(Decimal("0.7"), Decimal("0.10")),
    SizeStep(Decimal("0.6"), Decimal("0.07")),
    SizeStep(Decimal(0), Decimal("0.05")),
)
SKIP = SizeRules(STEPS, raise_to_minimum=False, minimum_buffer=Decimal("0.05"))
RAISE = SizeRules(STEPS, raise_to_minimum=True, minimum_buffer=Decimal("0.05"))
FEE = Decimal("0.0005")


def sized(
    rules: SizeRules = SKIP,
    *,
    p_buy: str = "0.55",
    equity: str = "1000000",
    room: str = "500000",
    available: str = "1000000",
    price: str = "1000",
    fee_rate: Decimal = FEE,
    stop_loss: str = "0.02",
) -> Size | Refusal:
    return size_entry(
        rules,
        p_buy=Decimal(p_buy),
        funds=Funds(Decimal(equity), Decimal(room), Decimal(available)),
        limit_price=Decimal(price),
        fee_rate=fee_rate,
        min_notional=Decimal(5000),
        stop_loss=Decimal(stop_loss),
    )


@pytest.mark.parametrize(
    ("p_buy", "krw"),
    [
        ("1", 150_000),
        ("0.8", 150_000),
        ("0.79999999", 100_000),
        ("0.7", 100_000),
        ("0.69999999", 70_000),
        ("0.6", 70_000),
        ("0.59999999", 50_000),
        ("0", 50_000),
    ],
)
def test_the_share_of_equity_grows_with_p_buy_at_exact_boundaries(p_buy: str, krw: int) -> None:
    size = sized(p_buy=p_buy)
    assert isinstance(size, Size)
    assert size.funds_krw == krw
    assert size.volume == krw // 1000
    assert not size.raised


@pytest.mark.parametrize("p_buy", ["-0.01", "1.01"])
def test_a_probability_outside_zero_to_one_is_refused(p_buy: str) -> None:
    with pytest.raises(ValueError, match="p_buy must be between 0 and 1"):
        sized(p_buy=p_buy)


def test_the_smallest_order_can_still_be_sold_after_the_stop() -> None:
    # 5,000 x 1.05 / 0.98 = 5,357.14..., whole KRW upwards.
    assert minimum_order(Decimal(5000), Decimal("0.02"), Decimal("0.05")) == 5358
    # At the stop 5,358 x 0.98 = 5,250.84: above 5,000 with 5 % to spare.
    assert minimum_order(Decimal(5000), Decimal("0.5"), Decimal(0)) == 10_000


def test_an_account_of_107160_krw_is_the_smallest_for_five_percent() -> None:
    # 5 % of 107,160 = 5,358.
    enough = sized(equity="107160")
    assert isinstance(enough, Size)
    assert enough.funds_krw == 5358
    short = sized(equity="107159")
    assert isinstance(short, Refusal)
    assert short.code is FunnelCode.ACCOUNT_TOO_SMALL
    assert short.needed_krw == 107_160
    assert "107,160 KRW" in short.detail


def test_a_higher_step_needs_a_smaller_account() -> None:
    # 5,358 / 0.15 = 35,720.
    assert isinstance(sized(p_buy="0.8", equity="35720"), Size)
    short = sized(p_buy="0.8", equity="35719")
    assert isinstance(short, Refusal)
    assert short.needed_krw == 35_720


def test_raising_to_the_minimum_stops_at_the_next_step() -> None:
    # The next step is 7 %: 7 % of 76,543 = 5,358.01 is enough for 5,358, of 76,542 (5,357.94) not.
    raised = sized(RAISE, equity="76543", room="50000")
    assert isinstance(raised, Size)
    assert raised.funds_krw == 5358
    assert raised.raised
    refused = sized(RAISE, equity="76542", room="50000")
    assert isinstance(refused, Refusal)
    assert refused.code is FunnelCode.ACCOUNT_TOO_SMALL
    assert refused.needed_krw == 107_160


def test_the_highest_step_is_never_raised() -> None:
    refused = sized(RAISE, p_buy="0.9", equity="35719")
    assert isinstance(refused, Refusal)
    assert refused.code is FunnelCode.ACCOUNT_TOO_SMALL


def test_an_account_in_debt_gets_no_order() -> None:
    refused = sized(RAISE, equity="-1", room="-1")
    assert isinstance(refused, Refusal)
    assert refused.code is FunnelCode.ACCOUNT_TOO_SMALL


def test_the_room_that_the_exposure_leaves_shrinks_the_size() -> None:
    size = sized(room="20000.5")
    assert isinstance(size, Size)
    assert size.funds_krw == Decimal("20000.5")
    # 5,358 KRW is the least that makes sense; 1 KRW less is no order.
    assert isinstance(sized(room="5358"), Size)
    refused = sized(room="5357")
    assert isinstance(refused, Refusal)
    assert refused.code is FunnelCode.MAX_EXPOSURE


def test_cash_must_cover_the_fee_too() -> None:
    # 50,000 x 1.0005 = 50,025.
    whole = sized(available="50025")
    assert isinstance(whole, Size)
    assert whole.funds_krw == 50_000
    assert whole.cost_krw == 50_025
    less = sized(available="50024", price="1")
    assert isinstance(less, Size)
    # 50,024 / 1.0005 = 49,999.00049975..., cut at 8 decimals.
    assert less.volume == Decimal("49999.00049975")
    assert less.cost_krw <= 50_024


def test_too_little_cash_for_the_smallest_order_says_so() -> None:
    # 5,358 x 1.0005 = 5,360.679.
    assert isinstance(sized(available="5360.679"), Size)
    refused = sized(available="5360.678")
    assert isinstance(refused, Refusal)
    assert refused.code is FunnelCode.NO_CASH


def test_a_volume_is_cut_never_rounded_up() -> None:
    assert truncate_volume(Decimal("0.999999999")) == Decimal("0.99999999")
    # 50,000 / 150,000,000 = 0.000333333...
    size = sized(price="150000000")
    assert isinstance(size, Size)
    assert size.volume == Decimal("0.00033333")
    assert size.funds_krw == Decimal("49999.5")


def test_a_price_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="limit_price must be above 0"):
        sized(price="0")


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((), "last size step must start at p_buy 0"),
        ((SizeStep(Decimal("0.5"), Decimal("0.1")),), "last size step must start at p_buy 0"),
        (tuple(reversed(STEPS)), "last size step must start at p_buy 0"),
        (
            (SizeStep(Decimal("0.5"), Decimal("0.1")), SizeStep(Decimal(0), Decimal("0.2"))),
            "size steps must fall",
        ),
        ((SizeStep(Decimal(0), Decimal("1.1")),), "share must be above 0 and at most 1"),
    ],
)
def test_size_steps_that_make_no_sense_are_refused(steps: tuple[SizeStep, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SizeRules(steps, raise_to_minimum=False, minimum_buffer=Decimal("0.05"))


krw = st.decimals(min_value=-10_000, max_value=10**12, places=8, allow_nan=False)


@given(
    rules=st.sampled_from([SKIP, RAISE]),
    p_buy=st.decimals(min_value=0, max_value=1, places=6),
    equity=krw,
    room=krw,
    available=krw,
    price=st.decimals(min_value=Decimal("0.00000001"), max_value=10**9, places=8),
    fee_rate=st.sampled_from([Decimal(0), FEE, Decimal("0.0025")]),
)
def test_a_size_never_exceeds_the_limits_the_cash_or_the_next_step(
    *,
    rules: SizeRules,
    p_buy: Decimal,
    equity: Decimal,
    room: Decimal,
    available: Decimal,
    price: Decimal,
    fee_rate: Decimal,
) -> None:
    size = size_entry(
        rules,
        p_buy=p_buy,
        funds=Funds(equity, room, available),
        limit_price=price,
        fee_rate=fee_rate,
        min_notional=Decimal(5000),
        stop_loss=Decimal("0.02"),
    )
    if isinstance(size, Refusal):
        return
    with localcontext(prec=100):
        assert size.funds_krw == size.volume * price
        assert size.cost_krw == size.funds_krw * (1 + fee_rate)
    assert size.funds_krw <= room
    assert size.cost_krw <= available
    assert size.volume == truncate_volume(size.volume)
    assert size.funds_krw >= 5358
    step = rules.step(p_buy)
    allowed = step if not size.raised else rules.next_step(step)
    assert allowed is not None
    assert size.funds_krw <= allowed.share * equity
