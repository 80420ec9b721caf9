"""The states of orders and positions, and the one table of legal changes between them.

Here: values and the table. Not here: writing a change (`ledger`) and deciding on one
(`order_desk`, `trade`).
"""

from enum import StrEnum

from trading_assets.errors import IllegalStateChange
from trading_assets.rules.exits import ExitReason


class Leg(StrEnum):
    """An entry buys, an exit sells."""

    ENTRY = "entry"
    EXIT = "exit"


class OrderReason(StrEnum):
    """Why an order was meant."""

    ENTRY = "entry"
    STOP_LOSS = ExitReason.STOP_LOSS.value
    TAKE_PROFIT = ExitReason.TAKE_PROFIT.value
    TIME_LIMIT = ExitReason.TIME_LIMIT.value
    SELL_SIGNAL = "sell_signal"
    HALT = "halt"
    BY_HAND = "by_hand"


class IntentState(StrEnum):
    """Where our intent to place an order stands (not what the exchange calls its order)."""

    INTENDED = "intended"
    SENT = "sent"
    UNKNOWN = "unknown"
    OPEN = "open"
    CLOSED = "closed"
    REJECTED = "rejected"
    BURNT = "burnt"
    DROPPED = "dropped"

    @property
    def is_live(self) -> bool:
        """Whether an order may exist or come to exist on the exchange."""
        return self in LIVE_ORDERS


class PositionState(StrEnum):
    PLANNED = "planned"
    OPEN = "open"
    CLOSED = "closed"
    VOID = "void"

    @property
    def is_live(self) -> bool:
        return self in LIVE_POSITIONS


LIVE_ORDERS = frozenset(
    {IntentState.INTENDED, IntentState.SENT, IntentState.UNKNOWN, IntentState.OPEN}
)
LIVE_POSITIONS = frozenset({PositionState.PLANNED, PositionState.OPEN})

# What happened when an order goes from the first state to the second. Nothing else may happen.
# A refusal of a resent order proves nothing about the first sending (its own lock may be what the
# money is missing for), so UNKNOWN never becomes REJECTED.
ORDER_CHANGES: dict[tuple[IntentState, IntentState], str] = {
    (IntentState.INTENDED, IntentState.SENT): "about to be posted",
    (IntentState.INTENDED, IntentState.DROPPED): "given up before it was ever posted",
    (IntentState.SENT, IntentState.OPEN): "the exchange took it",
    (IntentState.SENT, IntentState.CLOSED): "the exchange took it and it has ended",
    (IntentState.SENT, IntentState.REJECTED): "the exchange refused it by name",
    (IntentState.SENT, IntentState.UNKNOWN): "no clear answer, or the process died",
    (IntentState.UNKNOWN, IntentState.OPEN): "found on the exchange, or taken when resent",
    (IntentState.UNKNOWN, IntentState.CLOSED): "found on the exchange, ended",
    (IntentState.UNKNOWN, IntentState.BURNT): "proven never to have existed",
    (IntentState.OPEN, IntentState.CLOSED): "done or cancelled, all its fills booked",
    (IntentState.REJECTED, IntentState.OPEN): "found on the exchange after all",
    (IntentState.REJECTED, IntentState.CLOSED): "found on the exchange after all, ended",
    (IntentState.BURNT, IntentState.OPEN): "found on the exchange after all",
    (IntentState.BURNT, IntentState.CLOSED): "found on the exchange after all, ended",
}

POSITION_CHANGES: dict[tuple[PositionState, PositionState], str] = {
    (PositionState.PLANNED, PositionState.OPEN): "the first fill of its entry",
    (PositionState.PLANNED, PositionState.VOID): "its entry ended without a fill",
    (PositionState.OPEN, PositionState.CLOSED): "all sold, or the rest is dust",
    (PositionState.VOID, PositionState.OPEN): "an entry order was found filled after all",
    (PositionState.CLOSED, PositionState.OPEN): "an entry order was found filled after all",
}


def check_order_change(identifier: str, before: IntentState, after: IntentState) -> None:
    """Raises IllegalStateChange when the table has no such change."""
    if (before, after) not in ORDER_CHANGES:
        raise IllegalStateChange(f"order {identifier} cannot go from {before} to {after}")


def check_position_change(position: str, before: PositionState, after: PositionState) -> None:
    """Raises IllegalStateChange when the table has no such change."""
    if (before, after) not in POSITION_CHANGES:
        raise IllegalStateChange(f"position {position} cannot go from {before} to {after}")
