"""The limits on the bot's own money: exposure, positions, rests, losses.

Pure values in, values out, standard library only. Losses are measured on the bot's own profit and
loss over its capital, so that money moved in or out by a person is neither a loss nor a profit.
Not here: where the numbers come from (`trading.books`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

from trading_assets.rules.funnel import FunnelCode, Refusal

KOREA = timezone(timedelta(hours=9), "KST")  # no daylight saving since 1988


@dataclass(frozen=True, slots=True)
class Limits:
    """max_exposure, max_day_loss, max_peak_loss: ratios of equity.

    rest, rest_after_stop: per market, after an exit. stop_pause: no entries at all after
    `max_stops` stop-losses within `stop_window`.
    """

    max_exposure: Decimal
    max_positions: int
    rest: timedelta
    rest_after_stop: timedelta
    max_stops: int
    stop_window: timedelta
    stop_pause: timedelta
    max_day_loss: Decimal
    max_peak_loss: Decimal


@dataclass(frozen=True, slots=True)
class PastExit:
    """A position that was left. at: when its last sell was booked, aware UTC."""

    market: str
    at: datetime
    was_stop: bool


@dataclass(frozen=True, slots=True)
class EquityMark:
    """The bot's equity at a moment, with the marks that its losses are measured from. KRW.

    capital: what the bot works with, moved by external flows only. pnl: realised + unrealised at
    the bid - fees, since the beginning. peak_pnl: highest pnl since the last resume. day_start_pnl:
    the last one known before the Korean day began. day_low_pnl: lowest of that day.
    """

    at: datetime
    capital: Decimal
    pnl: Decimal
    peak_pnl: Decimal
    day_start_pnl: Decimal
    day_low_pnl: Decimal

    @property
    def equity(self) -> Decimal:
        return self.capital + self.pnl

    @property
    def day(self) -> date:
        return korean_day(self.at)

    def day_loss_reaches(self, ratio: Decimal) -> bool:
        """Whether at any mark of the day the loss was `ratio` of the day's first equity or more.

        A later recovery does not undo it.
        """
        return _lost(self.day_start_pnl, self.day_low_pnl, self.capital, ratio)

    def peak_loss_reaches(self, ratio: Decimal) -> bool:
        """Whether equity is `ratio` or more below its peak."""
        return _lost(self.peak_pnl, self.pnl, self.capital, ratio)


def korean_day(moment: datetime) -> date:
    """The calendar day in Korea at `moment` (aware)."""
    return moment.astimezone(KOREA).date()


def first_mark(at: datetime, capital: Decimal, pnl: Decimal) -> EquityMark:
    """The first mark of all: peak and day are measured from a profit of nothing."""
    nothing = Decimal(0)
    return EquityMark(at, capital, pnl, max(nothing, pnl), nothing, min(nothing, pnl))


def next_mark(last: EquityMark, at: datetime, capital: Decimal, pnl: Decimal) -> EquityMark:
    """The mark after `last`. A change of capital moves neither peak nor day: no profit, no loss.

    Raises ValueError: `at` is before `last`.
    """
    if at < last.at:
        raise ValueError(f"a mark at {at} cannot follow one at {last.at}")
    same_day = korean_day(at) == last.day
    day_start = last.day_start_pnl if same_day else last.pnl
    day_low = min(last.day_low_pnl, pnl) if same_day else min(day_start, pnl)
    return EquityMark(at, capital, pnl, max(last.peak_pnl, pnl), day_start, day_low)


def mark_after_resume(mark: EquityMark) -> EquityMark:
    """`mark` with its peak where it is now: a person has looked at the loss and accepted it."""
    return replace(mark, peak_pnl=mark.pnl)


def exposure_room(limits: Limits, equity: Decimal, exposure: Decimal) -> Decimal:
    """KRW that may still be invested; negative when more than allowed already is."""
    return limits.max_exposure * equity - exposure


def limit_refusal(
    limits: Limits,
    *,
    market: str,
    mark: EquityMark,
    live_positions: int,
    past_exits: Sequence[PastExit],
    now: datetime,
) -> Refusal | None:
    """The first limit that forbids an entry in `market` now, or None.

    past_exits: at least those of the last stop_window + stop_pause, in any order. live_positions:
    open ones and those whose entry is under way. The exposure is judged with the size.
    """
    if mark.peak_loss_reaches(limits.max_peak_loss):
        return Refusal(
            FunnelCode.PEAK_LOSS,
            f"profit {mark.pnl:,.0f} KRW is {limits.max_peak_loss:%} of equity or more below its "
            f"peak of {mark.peak_pnl:,.0f} KRW",
        )
    if mark.day_loss_reaches(limits.max_day_loss):
        return Refusal(
            FunnelCode.DAY_LOSS,
            f"the day's lowest profit {mark.day_low_pnl:,.0f} KRW is {limits.max_day_loss:%} of "
            f"equity or more below its first, {mark.day_start_pnl:,.0f} KRW",
        )
    pause_end = stop_pause_end(limits, past_exits)
    if pause_end is not None and now < pause_end:
        return Refusal(
            FunnelCode.STOP_STREAK,
            f"{limits.max_stops} stop-losses within {limits.stop_window}: no entries until "
            f"{pause_end:%Y-%m-%d %H:%M:%S} UTC",
        )
    rest_end = market_rest_end(limits, market, past_exits)
    if rest_end is not None and now < rest_end:
        return Refusal(FunnelCode.RESTING, f"{market} rests until {rest_end:%Y-%m-%d %H:%M:%S} UTC")
    if live_positions >= limits.max_positions:
        return Refusal(
            FunnelCode.MAX_POSITIONS,
            f"{live_positions} positions are open, {limits.max_positions} are allowed",
        )
    return None


def market_rest_end(limits: Limits, market: str, past_exits: Sequence[PastExit]) -> datetime | None:
    """When `market` has rested from all its exits; None when it had none."""
    ends = (
        past.at + (limits.rest_after_stop if past.was_stop else limits.rest)
        for past in past_exits
        if past.market == market
    )
    return max(ends, default=None)


def stop_pause_end(limits: Limits, past_exits: Sequence[PastExit]) -> datetime | None:
    """When the pause after the latest streak of stops ends; None when there was no streak.

    A streak is `max_stops` stop-losses no more than `stop_window` apart; the pause counts from the
    last of them.
    """
    stops = sorted(past.at for past in past_exits if past.was_stop)
    before = limits.max_stops - 1
    streaks = (
        last + limits.stop_pause
        for first, last in zip(stops, stops[before:], strict=False)
        if last - first <= limits.stop_window
    )
    return max(streaks, default=None)


def _lost(start: Decimal, now: Decimal, capital: Decimal, ratio: Decimal) -> bool:
    """Whether the fall from `start` to `now` is at least `ratio` of the equity at `start`.

    Without equity any fall is too much, and none is not a loss.
    """
    fall = start - now
    return fall > 0 and fall >= ratio * (capital + start)
