"""How a candidate entry ends: traded, or one coded reason why not.

Here: the codes, what each means, and the refusal that carries one. Not here: the rules that refuse
(`entry`, `limits`, `sizing`) and the rows (`trading.funnel`).
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class FunnelCode(StrEnum):
    """Where a candidate entry ended. Every candidate ends in exactly one."""

    TRADED = "traded"
    # The signal.
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    MODEL_UNCONFIRMED = "model_unconfirmed"
    # The bot.
    HALTED = "halted"
    NOT_ENABLED = "not_enabled"
    ACCOUNT_SHORT = "account_short"
    POSITION_OPEN = "position_open"
    ORDER_LIVE = "order_live"
    ORDER_UNKNOWN = "order_unknown"
    # The market.
    MARKET_INACTIVE = "market_inactive"
    MARKET_WARNING = "market_warning"
    MARKET_CAUTION = "market_caution"
    PRICE_OLD = "price_old"
    # The limits.
    PEAK_LOSS = "peak_loss"
    DAY_LOSS = "day_loss"
    STOP_STREAK = "stop_streak"
    RESTING = "resting"
    MAX_POSITIONS = "max_positions"
    MAX_EXPOSURE = "max_exposure"
    # The price and the size.
    PRICE_MOVED = "price_moved"
    ACCOUNT_TOO_SMALL = "account_too_small"
    NO_CASH = "no_cash"
    # The order.
    REJECTED = "rejected"
    NOT_FILLED = "not_filled"
    ORDER_LOST = "order_lost"
    STOPPED = "stopped"


MEANINGS: dict[FunnelCode, str] = {
    FunnelCode.TRADED: "the entry order was filled, in whole or in part; a position is open",
    FunnelCode.EXPIRED: "the signal expired before its entry was decided",
    FunnelCode.SUPERSEDED: "a newer signal of the market replaced this one",
    FunnelCode.MODEL_UNCONFIRMED: "no retraining has confirmed the model for too long",
    FunnelCode.HALTED: "a halt is on; `resume` ends it",
    FunnelCode.NOT_ENABLED: "live mode places no entries without ENABLE_LIVE_ORDERS and the phrase",
    FunnelCode.ACCOUNT_SHORT: "the account holds less than the ledger says",
    FunnelCode.POSITION_OPEN: "the market already has a position",
    FunnelCode.ORDER_LIVE: "an order of the market has not ended yet",
    FunnelCode.ORDER_UNKNOWN: "the outcome of an order of the market is unknown",
    FunnelCode.MARKET_INACTIVE: "the exchange says that the market does not trade now",
    FunnelCode.MARKET_WARNING: "the exchange has put the market under review",
    FunnelCode.MARKET_CAUTION: "the market carries a caution flag that the settings block",
    FunnelCode.PRICE_OLD: "the last confirmation of the price is too old",
    FunnelCode.PEAK_LOSS: "equity has fallen too far from its peak; the bot halts",
    FunnelCode.DAY_LOSS: "equity has fallen too far on this day (Korean time); until the next day",
    FunnelCode.STOP_STREAK: "too many stop-losses in a short time; all entries pause",
    FunnelCode.RESTING: "the market rests after an exit",
    FunnelCode.MAX_POSITIONS: "as many positions as allowed are open",
    FunnelCode.MAX_EXPOSURE: "what may still be invested is less than the smallest order",
    FunnelCode.PRICE_MOVED: "at the present ask the expected value is no longer enough",
    FunnelCode.ACCOUNT_TOO_SMALL: "the size step is below the smallest order; says what it needs",
    FunnelCode.NO_CASH: "the cash available, fee included, is less than the smallest order",
    FunnelCode.REJECTED: "the exchange refused the entry order and said why",
    FunnelCode.NOT_FILLED: "the entry order ended without a fill: nobody sold within its limit",
    FunnelCode.ORDER_LOST: "the entry order was sent and proven never to have existed",
    FunnelCode.STOPPED: "the run ended before its order was sent",
}


class FunnelKind(StrEnum):
    """What an end says about the bot: whether silence is its rules or a fault."""

    TRADED = "traded"
    BUSY = "busy"  # there is a trade, or there just was one
    LIMIT = "limit"  # a limit on losses holds entries back and lets go by itself
    PRICE = "price"  # the market went away before it was bought
    LATE = "late"  # nobody decided in time: as it should be only while the market has a position
    STOPPED = "stopped"  # somebody has to do something before this one trades


KINDS: dict[FunnelCode, FunnelKind] = dict.fromkeys(FunnelCode, FunnelKind.STOPPED) | {
    FunnelCode.TRADED: FunnelKind.TRADED,
    FunnelCode.POSITION_OPEN: FunnelKind.BUSY,
    FunnelCode.ORDER_LIVE: FunnelKind.BUSY,
    FunnelCode.RESTING: FunnelKind.BUSY,
    FunnelCode.MAX_POSITIONS: FunnelKind.BUSY,
    FunnelCode.MAX_EXPOSURE: FunnelKind.BUSY,
    FunnelCode.DAY_LOSS: FunnelKind.LIMIT,
    FunnelCode.STOP_STREAK: FunnelKind.LIMIT,
    FunnelCode.PRICE_MOVED: FunnelKind.PRICE,
    FunnelCode.NOT_FILLED: FunnelKind.PRICE,
    FunnelCode.EXPIRED: FunnelKind.LATE,
    FunnelCode.SUPERSEDED: FunnelKind.LATE,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """No entry, and why.

    detail: one sentence with the value and the rule. needed_krw: equity that the size step needs,
    when the account was too small for it.
    """

    code: FunnelCode
    detail: str
    needed_krw: Decimal | None = None

    def __post_init__(self) -> None:
        if self.code is FunnelCode.TRADED:
            raise ValueError("a refusal needs a reason, was traded")
