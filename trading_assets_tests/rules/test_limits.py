"""The limits on the bot's own money, each at its exact boundary."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.rules.limits import (
    EquityMark,
    Limits,
    PastExit,
    exposure_room,
    first_mark,
    korean_day,
    limit_refusal,
    mark_after_resume,
    next_mark,
)

LIMITS = Limits(
    max_exposure=Decimal("0.5"),
    max_positions=5,
    rest=timedelta(minutes=15),
    rest_after_stop=timedelta(minutes=60),
    max_stops=4,
    stop_window=timedelta(hours=24),
    stop_pause=timedelta(hours=2),
    max_day_loss=Decimal("0.03"),
    max_peak_loss=Decimal("0.07"),
)
NOON = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)  # 12:00 in Korea
MILLION = Decimal(1_000_000)
CALM = first_mark(NOON, MILLION, Decimal(0))
MICROSECOND = timedelta(microseconds=1)


def refusal(
    *,
    market: str = "KRW-BTC",
    mark: EquityMark = CALM,
    live_positions: int = 0,
    past_exits: tuple[PastExit, ...] = (),
    now: datetime = NOON,
) -> Refusal | None:
    return limit_refusal(
        LIMITS,
        market=market,
        mark=mark,
        live_positions=live_positions,
        past_exits=past_exits,
        now=now,
    )


def code(found: Refusal | None) -> FunnelCode | None:
    return None if found is None else found.code


def test_without_trades_nothing_is_limited() -> None:
    assert refusal() is None


def test_five_positions_are_the_most() -> None:
    assert refusal(live_positions=4) is None
    assert code(refusal(live_positions=5)) is FunnelCode.MAX_POSITIONS


@pytest.mark.parametrize(("was_stop", "minutes"), [(False, 15), (True, 60)])
def test_a_market_rests_after_an_exit_and_longer_after_a_stop(was_stop: bool, minutes: int) -> None:
    left = PastExit("KRW-BTC", NOON, was_stop)
    end = NOON + timedelta(minutes=minutes)
    assert code(refusal(past_exits=(left,), now=end - MICROSECOND)) is FunnelCode.RESTING
    assert refusal(past_exits=(left,), now=end) is None
    assert refusal(market="KRW-ETH", past_exits=(left,), now=NOON) is None


def test_the_rest_after_a_stop_is_not_cut_short_by_a_later_exit() -> None:
    exits = (
        PastExit("KRW-BTC", NOON, True),
        PastExit("KRW-BTC", NOON + timedelta(minutes=10), False),
    )
    found = refusal(past_exits=exits, now=NOON + timedelta(minutes=59))
    assert code(found) is FunnelCode.RESTING


def stops(*hours: float) -> tuple[PastExit, ...]:
    return tuple(PastExit("KRW-XRP", NOON + timedelta(hours=h), True) for h in hours)


def test_four_stops_in_24_hours_pause_all_entries_for_two_hours() -> None:
    four = stops(0, 8, 16, 24)
    end = NOON + timedelta(hours=26)
    assert code(refusal(past_exits=four, now=end - MICROSECOND)) is FunnelCode.STOP_STREAK
    assert refusal(past_exits=four, now=end) is None


def test_three_stops_or_four_in_more_than_24_hours_pause_nothing() -> None:
    assert refusal(past_exits=stops(0, 1, 2), now=NOON + timedelta(hours=2)) is None
    wide = (*stops(0, 8, 16), PastExit("KRW-XRP", NOON + timedelta(hours=24) + MICROSECOND, True))
    assert refusal(past_exits=wide, now=NOON + timedelta(hours=25)) is None


def test_a_streak_is_found_whatever_came_before_and_in_any_order() -> None:
    exits = stops(25, 0, 24.5, -30, 24)
    assert code(refusal(past_exits=exits, now=NOON + timedelta(hours=25))) is None
    assert (
        code(refusal(past_exits=(*exits, *stops(23)), now=NOON + timedelta(hours=25)))
        is FunnelCode.STOP_STREAK
    )


def test_exits_that_were_no_stops_make_no_streak() -> None:
    exits = tuple(replace(s, was_stop=False) for s in stops(0, 1, 2, 3))
    assert refusal(past_exits=exits, now=NOON + timedelta(hours=3)) is None


def test_three_percent_lost_on_the_day_stops_entries() -> None:
    # 3 % of 1,000,000 = 30,000.
    less = next_mark(CALM, NOON, MILLION, Decimal("-29999.99"))
    assert refusal(mark=less) is None
    assert code(refusal(mark=next_mark(CALM, NOON, MILLION, Decimal(-30_000)))) is (
        FunnelCode.DAY_LOSS
    )


def test_a_loss_of_the_day_is_measured_from_the_equity_at_its_beginning() -> None:
    yesterday = first_mark(NOON - timedelta(days=1), MILLION, Decimal(100_000))
    # 3 % of 1,100,000 = 33,000, so from 100,000 down to 67,000.
    assert refusal(mark=next_mark(yesterday, NOON, MILLION, Decimal("67000.01"))) is None
    lost = next_mark(yesterday, NOON, MILLION, Decimal(67_000))
    assert code(refusal(mark=lost)) is FunnelCode.DAY_LOSS


def test_a_recovery_does_not_bring_the_days_entries_back_but_the_next_day_does() -> None:
    lost = next_mark(CALM, NOON, MILLION, Decimal(-30_000))
    recovered = next_mark(lost, NOON + timedelta(hours=1), MILLION, Decimal(-1_000))
    assert code(refusal(mark=recovered)) is FunnelCode.DAY_LOSS
    midnight = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)  # 00:00 in Korea
    before = next_mark(recovered, midnight - MICROSECOND, MILLION, Decimal(-1_000))
    assert code(refusal(mark=before)) is FunnelCode.DAY_LOSS
    assert refusal(mark=next_mark(before, midnight, MILLION, Decimal(-1_000))) is None


def test_the_day_is_koreas() -> None:
    assert korean_day(datetime(2026, 3, 1, 14, 59, 59, 999_999, tzinfo=UTC)) == date(2026, 3, 1)
    assert korean_day(datetime(2026, 3, 1, 15, 0, tzinfo=UTC)) == date(2026, 3, 2)


def test_seven_percent_below_the_peak_is_too_much() -> None:
    # Spread over days, so that no day loses 3 %: peak 1,000,000, -25,000 a day.
    mark = CALM
    for day, pnl in enumerate(("-25000", "-50000", "-69999.99"), start=1):
        mark = next_mark(mark, NOON + timedelta(days=day), MILLION, Decimal(pnl))
        assert refusal(mark=mark) is None
    fallen = next_mark(mark, NOON + timedelta(days=4), MILLION, Decimal(-70_000))
    assert code(refusal(mark=fallen)) is FunnelCode.PEAK_LOSS
    assert refusal(mark=mark_after_resume(fallen)) is None


def test_the_peak_includes_profit() -> None:
    rich = next_mark(CALM, NOON, MILLION, Decimal(1_000_000))
    # 7 % of 2,000,000 = 140,000.
    tomorrow = NOON + timedelta(days=1)
    poorer = next_mark(rich, tomorrow, MILLION, Decimal(860_000))
    assert poorer.peak_loss_reaches(LIMITS.max_peak_loss)
    almost = next_mark(rich, tomorrow, MILLION, Decimal("860000.01"))
    assert not almost.peak_loss_reaches(LIMITS.max_peak_loss)


def test_money_taken_out_is_no_loss_and_money_put_in_no_profit() -> None:
    taken = next_mark(CALM, NOON, Decimal(100_000), Decimal(0))
    assert refusal(mark=taken) is None
    assert taken.equity == 100_000
    assert taken.peak_pnl == 0
    put_in = next_mark(taken, NOON, Decimal(5_000_000), Decimal(-2_999))
    # 3 % of 5,000,000 = 150,000: 2,999 is nothing now, it would have been 3 % of 100,000 nearly.
    assert refusal(mark=put_in) is None


def test_without_any_equity_every_loss_is_too_much_and_none_is_not() -> None:
    empty = first_mark(NOON, Decimal(0), Decimal(0))
    assert refusal(mark=empty) is None
    assert code(refusal(mark=next_mark(empty, NOON, Decimal(0), Decimal(-1)))) is (
        FunnelCode.PEAK_LOSS
    )


def test_marks_do_not_go_back_in_time() -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        next_mark(CALM, NOON - MICROSECOND, MILLION, Decimal(0))


def test_half_of_equity_may_be_invested() -> None:
    assert exposure_room(LIMITS, MILLION, Decimal(123_456)) == 376_544
    assert exposure_room(LIMITS, MILLION, Decimal(600_000)) == -100_000
