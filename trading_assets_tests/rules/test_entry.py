"""Entries: every rule that forbids one, where it fires and where it stays quiet."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.exchange.price_units import tick_size
from trading_assets.rules.costs import Costs
from trading_assets.rules.decision import Action
from trading_assets.rules.entry import (
    BotView,
    Candidate,
    Entry,
    EntryRules,
    MarketView,
    decide_entry,
    entry_limit_price,
    ev_at_ask,
)
from trading_assets.rules.exits import ExitTerms
from trading_assets.rules.funnel import MEANINGS, FunnelCode, Refusal
from trading_assets.rules.limits import PastExit, first_mark
from trading_assets_tests.rules.test_limits import LIMITS
from trading_assets_tests.rules.test_sizing import SKIP

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
COSTS = Costs(fee_rate=Decimal("0.0005"), min_slippage_rate=Decimal("0.0003"))
RULES = EntryRules(
    limits=LIMITS,
    size=SKIP,
    max_price_age=timedelta(seconds=5),
    max_model_age=timedelta(hours=48),
    blocking_cautions=frozenset({"PRICE_FLUCTUATIONS"}),
    max_slippage=Decimal("0.002"),
)
CANDIDATE = Candidate(
    signal_id=7,
    market="KRW-BTC",
    action=Action.BUY,
    expires_at=NOW + SECOND,
    p_buy=0.7,
    ev_net=0.0020,
    min_ev_net=0.0010,
    close=Decimal(100_000_000),
    terms=ExitTerms(Decimal("0.02"), Decimal("0.02"), timedelta(minutes=30)),
    model_confirmed_at=NOW - timedelta(hours=48),
)
MARKET = MarketView(
    ask=Decimal(100_030_000),
    confirmed_at=NOW - 5 * SECOND,
    tick_at=tick_size,
    costs=COSTS,
    min_notional=Decimal(5000),
    active=True,
    warning=False,
    cautions=frozenset({"TRADING_VOLUME_SOARING"}),
    newest_signal_id=7,
)
BOT = BotView(
    halt=None,
    not_enabled=None,
    missing=None,
    position_open=False,
    live_order=False,
    unknown_order=False,
    live_positions=0,
    past_exits=(),
    mark=first_mark(NOW, Decimal(1_000_000), Decimal(0)),
    exposure=Decimal(0),
    available=Decimal(1_000_000),
)


def decide(
    candidate: Candidate = CANDIDATE, market: MarketView = MARKET, bot: BotView = BOT
) -> Entry | Refusal:
    return decide_entry(RULES, candidate, market, bot, NOW)


def test_a_good_candidate_becomes_a_limit_order_above_the_ask() -> None:
    entry = decide()
    assert isinstance(entry, Entry)
    # 100,030,000 x 1.002 = 100,230,060, on the grid of 1,000: 100,230,000.
    assert entry.limit_price == 100_230_000
    # p_buy 0.7: 10 % of 1,000,000; 100,000 / 100,230,000 = 0.00099770...
    assert entry.size.volume == Decimal("0.00099770")


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (replace(CANDIDATE, expires_at=NOW), FunnelCode.EXPIRED),
        (replace(CANDIDATE, signal_id=6), FunnelCode.SUPERSEDED),
        (replace(CANDIDATE, model_confirmed_at=None), FunnelCode.MODEL_UNCONFIRMED),
        (
            replace(CANDIDATE, model_confirmed_at=NOW - timedelta(hours=48) - MICROSECOND),
            FunnelCode.MODEL_UNCONFIRMED,
        ),
    ],
)
def test_a_signal_that_is_over_or_unconfirmed_is_refused(
    candidate: Candidate, expected: FunnelCode
) -> None:
    refusal = decide(candidate)
    assert isinstance(refusal, Refusal)
    assert refusal.code is expected


@pytest.mark.parametrize(
    ("market", "expected"),
    [
        (replace(MARKET, active=False), FunnelCode.MARKET_INACTIVE),
        (replace(MARKET, warning=True), FunnelCode.MARKET_WARNING),
        (replace(MARKET, cautions=frozenset({"PRICE_FLUCTUATIONS"})), FunnelCode.MARKET_CAUTION),
        (replace(MARKET, confirmed_at=NOW - 5 * SECOND - MICROSECOND), FunnelCode.PRICE_OLD),
        # The clock was set back since, by who knows how much.
        (replace(MARKET, confirmed_at=NOW + 5 * SECOND + MICROSECOND), FunnelCode.PRICE_OLD),
    ],
)
def test_a_market_in_trouble_is_refused(market: MarketView, expected: FunnelCode) -> None:
    refusal = decide(market=market)
    assert isinstance(refusal, Refusal)
    assert refusal.code is expected


@pytest.mark.parametrize(
    ("bot", "expected"),
    [
        (replace(BOT, halt="by_hand: I am away"), FunnelCode.HALTED),
        (replace(BOT, not_enabled="live entries need ENABLE_LIVE_ORDERS"), FunnelCode.NOT_ENABLED),
        (replace(BOT, missing="0.1 BTC"), FunnelCode.ACCOUNT_SHORT),
        (replace(BOT, position_open=True), FunnelCode.POSITION_OPEN),
        (replace(BOT, live_order=True), FunnelCode.ORDER_LIVE),
        (replace(BOT, live_order=True, unknown_order=True), FunnelCode.ORDER_UNKNOWN),
        (replace(BOT, live_positions=5), FunnelCode.MAX_POSITIONS),
        (
            replace(BOT, past_exits=(PastExit("KRW-BTC", NOW - timedelta(minutes=14), False),)),
            FunnelCode.RESTING,
        ),
        (replace(BOT, exposure=Decimal(495_000)), FunnelCode.MAX_EXPOSURE),
        (replace(BOT, available=Decimal(5_000)), FunnelCode.NO_CASH),
        (
            replace(BOT, mark=first_mark(NOW, Decimal(1_000_000), Decimal(-70_000))),
            FunnelCode.PEAK_LOSS,
        ),
        (
            replace(BOT, mark=first_mark(NOW, Decimal(1_000_000), Decimal(-30_000))),
            FunnelCode.DAY_LOSS,
        ),
        (
            replace(BOT, mark=first_mark(NOW, Decimal(50_000), Decimal(0))),
            FunnelCode.ACCOUNT_TOO_SMALL,
        ),
    ],
)
def test_the_bots_own_state_can_forbid_an_entry(bot: BotView, expected: FunnelCode) -> None:
    refusal = decide(bot=bot)
    assert isinstance(refusal, Refusal)
    assert refusal.code is expected


def test_a_halt_is_named_before_anything_else() -> None:
    refusal = decide(
        replace(CANDIDATE, expires_at=NOW),
        replace(MARKET, warning=True),
        replace(BOT, halt="peak_loss: -7 %", live_positions=9),
    )
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.detail) == (FunnelCode.HALTED, "halted: peak_loss: -7 %")


@pytest.mark.parametrize("action", [Action.SELL, Action.HOLD])
def test_only_a_buy_is_a_candidate(action: Action) -> None:
    with pytest.raises(ValueError, match="only a BUY is a candidate entry"):
        decide(replace(CANDIDATE, action=action))


def test_an_ask_one_slippage_above_the_close_leaves_the_value_as_it_was() -> None:
    # Slippage is 3 bp of 100,000,000 = 30,000: the ask of MARKET. Left is the second order only.
    ev = ev_at_ask(
        0.002, close=CANDIDATE.close, ask=MARKET.ask, tick_size=Decimal(1000), costs=COSTS
    )
    assert ev == pytest.approx(0.002, abs=2e-6)


def test_the_expected_value_at_the_ask_is_what_the_trade_would_then_bring() -> None:
    # Round trip 2 x (5 + 3) = 16 bp. The judged exit is 1 + 0.002 + 0.0016 = 1.0036 of the close.
    # Bought 1 % higher: 1.0036 / 1.01 - 1 - (0.0016 - 0.0003) = -0.0063366... - 0.0013.
    ev = ev_at_ask(
        0.002,
        close=Decimal(100_000_000),
        ask=Decimal(101_000_000),
        tick_size=Decimal(1000),
        costs=COSTS,
    )
    assert ev == pytest.approx(-0.0076366, abs=1e-7)


def test_a_price_that_ran_away_is_refused_and_one_that_came_down_is_not() -> None:
    moved = decide(market=replace(MARKET, ask=Decimal(100_140_000)))
    assert isinstance(moved, Refusal)
    assert moved.code is FunnelCode.PRICE_MOVED
    assert "100,140,000" in moved.detail
    assert isinstance(decide(market=replace(MARKET, ask=Decimal(99_000_000))), Entry)


def test_an_expected_value_equal_to_the_threshold_is_not_enough() -> None:
    ev = ev_at_ask(
        0.002, close=CANDIDATE.close, ask=MARKET.ask, tick_size=Decimal(1000), costs=COSTS
    )
    refused = decide(replace(CANDIDATE, min_ev_net=ev))
    assert isinstance(refused, Refusal)
    assert refused.code is FunnelCode.PRICE_MOVED
    assert isinstance(decide(replace(CANDIDATE, min_ev_net=ev - 1e-12)), Entry)


@pytest.mark.parametrize(
    ("ask", "limit"),
    [
        ("100030000", "100230000"),  # x 1.002 = 100,230,060, tick 1,000
        ("99.9", "100"),  # x 1.002 = 100.0998: the next band, whose tick is 1
        ("101", "101"),  # x 1.002 = 101.202: one tick of 1 is wider than the bound
        ("0.5", "0.501"),
        ("9999", "10010"),  # x 1.002 = 10,018.998, tick 10 from 10,000 on
    ],
)
def test_the_limit_is_the_highest_grid_price_within_the_bound(ask: str, limit: str) -> None:
    assert entry_limit_price(Decimal(ask), Decimal("0.002"), tick_size) == Decimal(limit)


def test_a_price_of_nothing_has_no_limit() -> None:
    with pytest.raises(ValueError, match="ask must be above 0"):
        entry_limit_price(Decimal(0), Decimal("0.002"), tick_size)


@given(
    start=st.decimals(min_value=Decimal("0.0000001"), max_value=200_000_000, places=8),
    slippage=st.decimals(min_value=0, max_value=Decimal("0.05"), places=4),
)
def test_rounding_never_leaves_the_tick_grid_nor_the_bound(
    start: Decimal, slippage: Decimal
) -> None:
    tick = tick_size(start)
    ask = (start // tick) * tick  # on the grid
    limit = entry_limit_price(ask, slippage, tick_size)
    assert limit % tick_size(limit) == 0
    assert ask <= limit <= max(ask, ask * (1 + slippage))


def test_every_funnel_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(FunnelCode)
    assert all(MEANINGS.values())


def test_a_refusal_cannot_be_traded() -> None:
    make: Callable[[FunnelCode, str], Refusal] = Refusal
    with pytest.raises(ValueError, match="a refusal needs a reason"):
        make(FunnelCode.TRADED, "")
