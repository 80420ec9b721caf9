"""What an order meets in the book: pure, nothing here knows the account, a file or the time.

An arriving order walks the opposite levels and our own resting orders, best price first; the book
comes first at the same price. A resting order is filled at its own price once the book crosses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trading_assets.exchange.model import OrderType, Side, SmpType, TimeInForce
from trading_assets.paper_exchange.exact import affordable, cut, exactly
from trading_assets.paper_exchange.orders import OrderTerms, PaperOrder

DEPTH = 30


@dataclass(frozen=True, slots=True)
class Level:
    """price: KRW per coin; size: coins."""

    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """Levels of a market, best first, at most DEPTH a side. key: changes whenever the book does."""

    market: str
    time_ms: int
    key: object
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    def against(self, side: Side) -> tuple[Level, ...]:
        """What an order of `side` meets."""
        return self.asks if side is Side.BID else self.bids


class StepKind(StrEnum):
    TRADE = "trade"
    CANCEL_MAKER = "cancel_maker"
    CANCEL_TAKER = "cancel_taker"
    REDUCE = "reduce"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens to an arriving order.

    maker: the uuid of our own resting order that it met, None for the book.
    """

    kind: StepKind
    price: Decimal
    volume: Decimal
    maker: str | None = None


@dataclass(frozen=True, slots=True)
class _Offer:
    price: Decimal
    size: Decimal
    maker: str | None


@exactly
def arrival(
    terms: OrderTerms,
    levels: Sequence[Level],
    makers: Sequence[PaperOrder],
    share: Decimal = Decimal(1),
) -> tuple[Step, ...]:
    """What happens to an order of `terms` at once. Empty when it meets nothing it accepts.

    levels: the opposite side, best first, without what was taken before. makers: our own open
    limit orders of the opposite side, oldest first. share: of the order that may be filled now
    (the fault `partial`).
    """
    offers = _offers(terms.side, levels, makers)
    if terms.time_in_force is TimeInForce.POST_ONLY:
        return _cancelled_if_it_takes(terms, offers)
    limit = terms.limit
    if terms.ord_type is OrderType.BEST:
        limit = levels[0].price if levels else Decimal(0)
    volume, funds = terms.volume, terms.price if terms.spends_amount else None
    if share < 1:
        volume = cut(volume * share) if volume is not None else None
        funds = cut(funds * share) if funds is not None else None
    steps, is_whole = _walk(terms, offers, limit, volume, funds)
    if terms.time_in_force is TimeInForce.FOK and (share < 1 or not is_whole):
        return ()
    return steps


@exactly
def crossing(order: PaperOrder, levels: Sequence[Level]) -> tuple[Level, ...]:
    """The parts of the opposite `levels` that fill a resting limit order, at its own price."""
    assert order.terms.limit is not None
    assert order.remaining_volume is not None
    taken: list[Level] = []
    left = order.remaining_volume
    for level in levels:
        if not left or not _accepts(order.terms.side, order.terms.limit, level.price):
            break
        volume = min(left, level.size)
        left -= volume
        taken.append(Level(level.price, volume))
    return tuple(taken)


@exactly
def fits(terms: OrderTerms, levels: Sequence[Level]) -> bool:
    """Whether the opposite levels hold a whole market order."""
    if terms.ord_type is OrderType.PRICE:
        assert terms.price is not None
        return sum((level.price * level.size for level in levels), Decimal(0)) >= terms.price
    if terms.ord_type is OrderType.MARKET:
        assert terms.volume is not None
        return sum((level.size for level in levels), Decimal(0)) >= terms.volume
    return True


def _accepts(side: Side, limit: Decimal | None, price: Decimal) -> bool:
    if limit is None:
        return True
    return price <= limit if side is Side.BID else price >= limit


def _offers(side: Side, levels: Sequence[Level], makers: Sequence[PaperOrder]) -> list[_Offer]:
    offers = [_Offer(level.price, level.size, None) for level in levels]
    for maker in makers:
        assert maker.terms.limit is not None
        assert maker.remaining_volume is not None
        offers.append(_Offer(maker.terms.limit, maker.remaining_volume, maker.uuid))
    # A stable sort: at one price the book first, then our orders by age.
    return sorted(offers, key=lambda offer: offer.price, reverse=side is Side.ASK)


def _cancelled_if_it_takes(terms: OrderTerms, offers: Sequence[_Offer]) -> tuple[Step, ...]:
    if not offers or not _accepts(terms.side, terms.limit, offers[0].price):
        return ()
    assert terms.volume is not None
    return (Step(StepKind.CANCEL_TAKER, offers[0].price, Decimal(0)),)


def _walk(
    terms: OrderTerms,
    offers: Sequence[_Offer],
    limit: Decimal | None,
    volume: Decimal | None,
    funds: Decimal | None,
) -> tuple[tuple[Step, ...], bool]:
    """The steps, and whether trades alone filled the order."""
    steps: list[Step] = []
    for offer in offers:
        wanted = _wanted(volume, funds, offer.price)
        if not wanted or not _accepts(terms.side, limit, offer.price):
            break
        kind = _meeting(terms.smp_type, offer)
        size = min(wanted, offer.size)
        if kind is StepKind.CANCEL_TAKER:
            steps.append(Step(kind, offer.price, wanted, offer.maker))
            return tuple(steps), False
        if kind is StepKind.CANCEL_MAKER:
            steps.append(Step(kind, offer.price, offer.size, offer.maker))
            continue
        steps.append(Step(kind, offer.price, size, offer.maker))
        volume = volume - size if volume is not None else None
        funds = funds - size * offer.price if funds is not None else None
    last = steps[-1].price if steps else (offers[0].price if offers else None)
    is_whole = last is not None and not _wanted(volume, funds, last)
    return tuple(steps), is_whole and all(s.kind is not StepKind.REDUCE for s in steps)


def _wanted(volume: Decimal | None, funds: Decimal | None, price: Decimal) -> Decimal:
    if volume is not None:
        return volume
    assert funds is not None
    return affordable(funds, price)


def _meeting(smp_type: SmpType, offer: _Offer) -> StepKind:
    """What happens when the order meets `offer`: the arriving order's mode decides."""
    if offer.maker is None or smp_type is SmpType.NONE:
        return StepKind.TRADE
    return StepKind(smp_type.value)
