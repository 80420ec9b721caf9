"""Orders, trades and balances as the exchange keeps them, and what a request for an order must be.

Frozen values; amounts are exact Decimals, times whole ms or microseconds since the Unix epoch. What
does not need the account or the book is checked here; funds are checked by `account.py`, the book
by `desk.py`, filling is `matching.py`.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from trading_assets.exchange.model import OrderState, OrderType, Side, SmpType, TimeInForce
from trading_assets.exchange.price_units import tick_size
from trading_assets.paper_exchange.exact import cut, exactly
from trading_assets.paper_exchange.refusals import (
    Refusal,
    invalid_parameter,
    unknown_market,
    validation_error,
)

MIN_TOTAL = Decimal(5_000)
MAX_TOTAL = Decimal(1_000_000_000)
LONGEST_IDENTIFIER = 64
_NUMBER = re.compile(r"\d{1,30}(\.\d{1,30})?")
_SIDES = {OrderType.PRICE: Side.BID, OrderType.MARKET: Side.ASK}
_WITH_MODE = (TimeInForce.IOC, TimeInForce.FOK)

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """What a new order asks for; every rule that needs no account and no book holds.

    price: KRW per coin of a limit order, the KRW amount of a market or best bid. volume: coins.
    smp_type: never absent; CANCEL_MAKER is the default since 2026-11-09.
    """

    market: str
    side: Side
    ord_type: OrderType
    price: Decimal | None
    volume: Decimal | None
    time_in_force: TimeInForce | None
    smp_type: SmpType
    identifier: str | None

    @property
    def spends_amount(self) -> bool:
        """Whether `price` is an amount of KRW to spend: a market or best bid."""
        return self.volume is None

    @property
    def limit(self) -> Decimal | None:
        """The worst price per coin it accepts, None for market and best orders."""
        return self.price if self.ord_type is OrderType.LIMIT else None

    @property
    def base(self) -> str:
        return self.market.partition("-")[2]

    @property
    def quote(self) -> str:
        return self.market.partition("-")[0]

    @property
    def currency(self) -> str:
        """What the order locks: KRW for a bid, the coin for an ask."""
        return self.quote if self.side is Side.BID else self.base


@dataclass(frozen=True, slots=True)
class PaperOrder:
    """An order as the exchange keeps it. `number` grows with time; `state` as Upbit's REST says it.

    remaining_volume: coins, None where only an amount is spent; remaining_funds: KRW, the opposite.
    locked: KRW with the fee of a bid, coins of an ask. visible_ms: reads show it from then on.
    held_until_ms: it is not matched before (the fault `partial`). cancel_asked: a cancel was
    accepted and is carried out by the next change.
    """

    number: int
    uuid: str
    terms: OrderTerms
    state: OrderState
    created_ms: int
    remaining_volume: Decimal | None
    remaining_funds: Decimal | None
    executed_volume: Decimal
    executed_funds: Decimal
    reserved_fee: Decimal
    remaining_fee: Decimal
    paid_fee: Decimal
    locked: Decimal
    trades_count: int
    prevented_volume: Decimal
    prevented_locked: Decimal
    visible_ms: int
    held_until_ms: int
    cancel_asked: bool

    @property
    def is_open(self) -> bool:
        return self.state is OrderState.WAIT

    @property
    def is_filled(self) -> bool:
        """Nothing is left to buy or to sell, not even a KRW that buys no coin."""
        return not (self.remaining_volume or self.remaining_funds)


@dataclass(frozen=True, slots=True)
class PaperTrade:
    """One fill of one order. funds, fee: KRW. taker_bought: whose initiative it was."""

    uuid: str
    order_uuid: str
    market: str
    side: Side
    price: Decimal
    volume: Decimal
    funds: Decimal
    fee: Decimal
    made_us: int
    is_maker: bool

    @property
    def taker_bought(self) -> bool:
        return (self.side is Side.BID) != self.is_maker


@dataclass(frozen=True, slots=True)
class PaperBalance:
    """balance: free; locked: bound in orders. average_buy_price: KRW per coin, fees left out."""

    currency: str
    balance: Decimal
    locked: Decimal
    average_buy_price: Decimal


# --- reading a request --------------------------------------------------------------------------


@exactly
def terms_of(fields: Mapping[str, Any], markets: Collection[str] | None) -> OrderTerms:
    """The order that the body of POST /v1/orders asks for. Raises Refusal.

    markets: those that exist; None when the book will tell (Upbit's own markets).
    """
    market = _text(fields, "market", required=True)
    side = _word(Side, fields, "side", required=True)
    ord_type = _word(OrderType, fields, "ord_type", required=True)
    assert market is not None
    assert side is not None
    assert ord_type is not None
    if markets is not None and market not in markets:
        raise unknown_market(market)
    if _SIDES.get(ord_type, side) is not side:
        raise invalid_parameter(f"ord_type {ord_type} is not for side {side}")
    time_in_force = _time_in_force(fields, ord_type)
    price, volume = _amounts(fields, ord_type, side)
    terms = OrderTerms(
        market=market,
        side=side,
        ord_type=ord_type,
        price=price,
        volume=volume,
        time_in_force=time_in_force,
        smp_type=_smp_type(fields, time_in_force),
        identifier=identifier_of(fields),
    )
    _check_price(terms)
    return terms


def identifier_of(fields: Mapping[str, Any], name: str = "identifier") -> str | None:
    """The client's own name for the order. Raises Refusal for one of a wrong form."""
    identifier = _text(fields, name)
    if identifier is not None and len(identifier) > LONGEST_IDENTIFIER:
        raise invalid_parameter(f"{name} has more than {LONGEST_IDENTIFIER} characters")
    return identifier


@exactly
def check_total(terms: OrderTerms, best_bid: Decimal) -> None:
    """Raise Refusal for an order worth too little or too much. best_bid: values a market ask."""
    if terms.volume is None:
        assert terms.price is not None
        total = terms.price
    else:
        total = (terms.limit or best_bid) * terms.volume
    if total < MIN_TOTAL:
        raise Refusal(
            400,
            f"under_min_total_{terms.side}",
            f"최소주문금액 이상으로 주문해주세요: {MIN_TOTAL} KRW",
        )
    if terms.side is Side.BID and total > MAX_TOTAL:
        raise Refusal(
            400,
            "over_krw_funds_bid",
            f"최대 주문 가능 금액 {MAX_TOTAL} KRW 보다 작은 주문을 입력해 주세요.",
        )


def _text(fields: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    value = fields.get(name)
    if value is None or value == "":
        if required:
            raise validation_error(f"{name} is missing")
        return None
    if not isinstance(value, str):
        raise invalid_parameter(f"{name} must be a text")
    return value


def _word(
    kind: type[E], fields: Mapping[str, Any], name: str, *, required: bool = False
) -> E | None:
    text = _text(fields, name, required=required)
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise invalid_parameter(f"{name} must be one of {', '.join(kind)}") from None


def _time_in_force(fields: Mapping[str, Any], ord_type: OrderType) -> TimeInForce | None:
    refusal = Refusal(400, "invalid_time_in_force", "주문조건을 다시 확인해 주세요.")
    try:
        found = _word(TimeInForce, fields, "time_in_force")
    except Refusal:
        raise refusal from None
    allowed: tuple[TimeInForce | None, ...] = (None,)
    if ord_type is OrderType.LIMIT:
        allowed = (None, *TimeInForce)
    elif ord_type is OrderType.BEST:
        allowed = _WITH_MODE
    if found not in allowed:
        raise refusal
    return found


def _smp_type(fields: Mapping[str, Any], time_in_force: TimeInForce | None) -> SmpType:
    found = _word(SmpType, fields, "smp_type")
    if time_in_force is not TimeInForce.POST_ONLY:
        return found or SmpType.CANCEL_MAKER
    if found not in (None, SmpType.NONE):
        raise Refusal(
            400, "invalid_post_only", "post_only 주문은 smp_type과 함께 사용할 수 없습니다."
        )
    return SmpType.NONE


def _amounts(
    fields: Mapping[str, Any], ord_type: OrderType, side: Side
) -> tuple[Decimal | None, Decimal | None]:
    """(price, volume): one of them, or for a limit order both."""
    price, volume = _number(fields, "price"), _number(fields, "volume")
    wants_price = ord_type in (OrderType.LIMIT, OrderType.PRICE) or (
        ord_type is OrderType.BEST and side is Side.BID
    )
    wants_volume = ord_type is OrderType.LIMIT or not wants_price
    for name, found, wanted in (("price", price, wants_price), ("volume", volume, wants_volume)):
        if wanted and found is None:
            raise validation_error(f"{name} is missing")
        if found is not None and not wanted:
            raise invalid_parameter(f"{name} does not go with ord_type {ord_type}, side {side}")
    return price, volume


def _number(fields: Mapping[str, Any], name: str) -> Decimal | None:
    """An amount above 0; coins and KRW amounts are counted in 8 decimals, the rest is cut."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise invalid_parameter(f"{name} must be a number")
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    if not _NUMBER.fullmatch(text):
        raise invalid_parameter(f"{name} must be a number above 0 in plain digits")
    amount = cut(Decimal(text))
    if not amount:
        raise invalid_parameter(f"{name} must be above 0")
    return amount


def _check_price(terms: OrderTerms) -> None:
    if terms.limit is not None and terms.limit % tick_size(terms.limit):
        raise Refusal(
            400,
            f"invalid_price_{terms.side}",
            "주문가격 단위를 잘못 입력하셨습니다. 확인 후 시도해주세요.",
        )
