"""When a position is left: exit terms (ratios), exit plan (prices) and the decision itself.

Pure values in, values out. Labels, backtest and trader all use these, so they mean one trade.
Entry, sizes and limits have files of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

# The tick size at a price: the market's own in its present band, the table's in the others.
TickAt = Callable[[Decimal], Decimal]


class ExitReason(StrEnum):
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TIME_LIMIT = "time_limit"


@dataclass(frozen=True, slots=True)
class ExitTerms:
    """The three barriers relative to the average fill price: what a signal carries.

    stop_loss, take_profit: positive ratios (0.02 is 2 %). timeout: counted from the entry.
    """

    stop_loss: Decimal
    take_profit: Decimal
    timeout: timedelta

    def __post_init__(self) -> None:
        if not Decimal(0) < self.stop_loss < 1:
            raise ValueError(f"stop_loss must be above 0 and below 1, was {self.stop_loss}")
        if self.take_profit <= 0:
            raise ValueError(f"take_profit must be above 0, was {self.take_profit}")
        if self.timeout <= timedelta(0):
            raise ValueError(f"timeout must be above 0, was {self.timeout}")


@dataclass(frozen=True, slots=True)
class ExitPlan:
    """The barriers of one position, computed once at entry. Prices: KRW per coin, on the grid."""

    stop_price: Decimal
    take_price: Decimal
    deadline: datetime


@dataclass(frozen=True, slots=True)
class FixedExits:
    """The same barriers for every trade (profile `scalp`)."""

    stop_loss: Decimal
    take_profit: Decimal
    timeout: timedelta

    def terms(self, sigma: Decimal, round_trip_cost: Decimal) -> ExitTerms:
        """The terms; volatility and cost play no part."""
        del sigma, round_trip_cost
        return ExitTerms(self.stop_loss, self.take_profit, self.timeout)


@dataclass(frozen=True, slots=True)
class VolatilityExits:
    """Symmetric barriers scaled by volatility (profile `swing`).

    barrier = max(k x sigma x sqrt(periods), floor_costs x round-trip cost), where sigma is the
    per-candle standard deviation of log returns. Source: Lopez de Prado (2018), ch. 3.
    """

    k: Decimal
    periods: int
    timeout: timedelta
    floor_costs: Decimal

    def terms(self, sigma: Decimal, round_trip_cost: Decimal) -> ExitTerms:
        """The terms at a volatility of `sigma` per candle (ratio, above 0)."""
        if not sigma > 0:
            raise ValueError(f"sigma must be above 0, was {sigma}")
        barrier = max(
            self.k * sigma * Decimal(self.periods).sqrt(), self.floor_costs * round_trip_cost
        )
        return ExitTerms(barrier, barrier, self.timeout)


Exits = FixedExits | VolatilityExits


def exit_plan(
    terms: ExitTerms, average_price: Decimal, tick_at: TickAt, entered_at: datetime
) -> ExitPlan:
    """The barriers as prices, from the average fill price.

    The stop is rounded up and the take down, each to the tick grid of its own price band: a
    barrier never lies further away than the terms say, and less than one such tick nearer.
    """
    stop = average_price * (1 - terms.stop_loss)
    take = average_price * (1 + terms.take_profit)
    return ExitPlan(
        stop_price=_on_grid(stop, tick_at(stop), ROUND_CEILING),
        take_price=_on_grid(take, tick_at(take), ROUND_FLOOR),
        deadline=entered_at + terms.timeout,
    )


def exit_reason(plan: ExitPlan, bid: Decimal, now: datetime) -> ExitReason | None:
    """Why the position under `plan` should be closed now, or None to keep holding it.

    bid: KRW per coin, what a market sell would meet first. now: aware UTC. The stop-loss is asked
    first, so a position that is both losing and expired is recorded as a loss.
    """
    if bid <= plan.stop_price:
        return ExitReason.STOP_LOSS
    if bid >= plan.take_price:
        return ExitReason.TAKE_PROFIT
    if now >= plan.deadline:
        return ExitReason.TIME_LIMIT
    return None


def _on_grid(price: Decimal, tick_size: Decimal, rounding: str) -> Decimal:
    return (price / tick_size).to_integral_value(rounding=rounding) * tick_size
