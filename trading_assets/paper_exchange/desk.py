"""The desk: brings orders, books and the account together as the exchange's clock goes on.

Every call is given the time and leaves the account in a committed state; whatever a stopped clock
or a long step left undone is made up for by `catch_up`, which every private request calls first.
Nothing here waits, reads the time or knows HTTP.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trading_assets.exchange.model import OrderType, Side, TimeInForce
from trading_assets.paper_exchange.account import Account, Change, OrderEvent
from trading_assets.paper_exchange.exact import exactly
from trading_assets.paper_exchange.liquidity import Liquidity
from trading_assets.paper_exchange.matching import Level, Step, StepKind, arrival, crossing, fits
from trading_assets.paper_exchange.orders import (
    OrderTerms,
    PaperOrder,
    check_total,
    identifier_of,
    terms_of,
)
from trading_assets.paper_exchange.refusals import Refusal, duplicated_identifier, order_not_found

_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)
ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Handling:
    """What a fault does to a new order; the default is nothing.

    hidden_ms: how long reads do not show it. share: how much of it may be filled at once; the
    rest of a limit order waits `held_ms`, of any other it is cancelled.
    """

    hidden_ms: int = 0
    share: Decimal = ONE
    held_ms: int = 0


AS_USUAL = Handling()


class Desk:
    """One account at one exchange. `listener` is given what happened, after it was committed."""

    def __init__(
        self,
        account: Account,
        liquidity: Liquidity,
        listener: Callable[[Sequence[OrderEvent]], None],
        now_ms: int,
    ) -> None:
        self.account = account
        self.liquidity = liquidity
        self._listener = listener
        # While the exchange was down nothing was traded, as in a maintenance.
        self._seen_ms = now_ms

    # --- time goes on ---------------------------------------------------------------------------

    def catch_up(self, now_ms: int) -> None:
        """Carry out accepted cancels, then fill the resting orders that the book has crossed."""
        self.carry_out_cancels(now_ms)
        resting = self.account.open_orders()
        for market in dict.fromkeys(order.terms.market for order in resting):
            orders = [order for order in resting if order.terms.market == market]
            for moment in self._looks(market, orders, now_ms):
                self._fill_resting(market, moment)
        self._seen_ms = max(self._seen_ms, now_ms)

    def _looks(self, market: str, orders: Sequence[PaperOrder], now_ms: int) -> list[int]:
        since = max(self._seen_ms, min(order.created_ms for order in orders))
        if now_ms <= since:
            return [now_ms]
        bids = [o.terms.limit for o in orders if o.terms.side is Side.BID and o.terms.limit]
        asks = [o.terms.limit for o in orders if o.terms.side is Side.ASK and o.terms.limit]
        bid, ask = max(bids, default=None), min(asks, default=None)
        return [*self.liquidity.looks(market, since, now_ms, bid, ask), now_ms]

    def carry_out_cancels(self, now_ms: int) -> None:
        """End the orders whose cancel was accepted."""
        orders = [order for order in self.account.open_orders() if order.cancel_asked]
        if not orders:
            return
        with self.account.change() as change:
            for order in orders:
                change.end(order, now_ms * 1000, filled=False)
        self._listener(change.events)

    def _fill_resting(self, market: str, now_ms: int) -> None:
        """Match the open orders of `market` with the book at `now_ms`, best price first."""
        for order in _by_priority(self.account.open_orders(market)):
            if now_ms < max(order.created_ms, order.held_until_ms):
                continue
            side = order.terms.side
            taken = crossing(order, self.liquidity.levels(market, side, now_ms))
            if not taken:
                continue
            with self.account.change() as change:
                _fill_at_its_price(change, order, taken, now_ms)
            self.liquidity.take(market, side, taken, now_ms)
            self._listener(change.events)

    # --- orders ---------------------------------------------------------------------------------

    def place(
        self, fields: Mapping[str, Any], now_ms: int, handling: Handling = AS_USUAL
    ) -> PaperOrder:
        """The order as it was accepted: `wait` and unfilled, whatever happened to it at once.

        Raises Refusal; the identifier is used up all the same.
        """
        return self._place(fields, now_ms, handling, replaced=None)

    def replace(
        self,
        previous: PaperOrder,
        fields: Mapping[str, Any],
        now_ms: int,
        handling: Handling = AS_USUAL,
    ) -> PaperOrder:
        """Cancel `previous` and place the order of `fields`: both or, when refused, neither."""
        return self._place(fields, now_ms, handling, replaced=previous)

    def check(self, fields: Mapping[str, Any], now_ms: int) -> OrderTerms:
        """The checks of `place` without an order and without using up the identifier."""
        identifier = identifier_of(fields)
        if identifier is not None and self.account.knows_identifier(identifier):
            raise duplicated_identifier()
        terms = self._checked(fields, now_ms)
        self.account.reserve(terms)
        return terms

    def cancel(self, order: PaperOrder) -> PaperOrder:
        """Accept a cancel of an open order; it is carried out by the next `catch_up`.

        Returns the order still waiting, as Upbit does. Raises Refusal for one that has ended.
        """
        if not order.is_open:
            raise order_not_found()
        with self.account.change() as change:
            change.ask_cancel(order)
        return order

    def _place(
        self,
        fields: Mapping[str, Any],
        now_ms: int,
        handling: Handling,
        replaced: PaperOrder | None,
    ) -> PaperOrder:
        identifier = identifier_of(fields)
        accepted: PaperOrder | None = None
        refusal: Refusal | None = None
        taken: tuple[Level, ...] = ()
        with self.account.change() as change:
            if identifier is not None:
                change.use_identifier(identifier, now_ms)
            try:
                with change.or_nothing():
                    if replaced is not None:
                        change.end(replaced, now_ms * 1000, filled=False)
                    terms = self._checked(fields, now_ms)
                    accepted = change.accept(
                        terms,
                        now_ms,
                        visible_ms=now_ms + handling.hidden_ms,
                        held_until_ms=now_ms + handling.held_ms,
                    )
                    taken = self._arrive(change, accepted, handling.share, now_ms)
            except Refusal as exc:
                refusal = exc
        if refusal is not None:
            raise refusal
        assert accepted is not None
        self.liquidity.take(terms.market, terms.side, taken, now_ms)
        self._listener(change.events)
        return accepted

    def _checked(self, fields: Mapping[str, Any], now_ms: int) -> OrderTerms:
        terms = terms_of(fields, self.liquidity.source.markets)
        best_bid = self.liquidity.shown(terms.market, now_ms).bids[0].price
        check_total(terms, best_bid)
        if not fits(terms, self.liquidity.levels(terms.market, terms.side, now_ms)):
            raise Refusal(
                400,
                f"create_{terms.side}_error",
                "주문 요청 정보가 올바르지 않습니다: 호가 30단계를 넘는 시장가 주문입니다.",
            )
        return terms

    def _arrive(
        self, change: Change, order: PaperOrder, share: Decimal, now_ms: int
    ) -> tuple[Level, ...]:
        """Let `order` meet the book and our own orders; returns what it took from the book."""
        terms = order.terms
        makers = {
            o.uuid: o
            for o in self.account.open_orders(terms.market)
            if o.terms.side is not terms.side
            and o.uuid != order.uuid
            and not o.cancel_asked
            and o.held_until_ms <= now_ms
        }
        levels = self.liquidity.levels(terms.market, terms.side, now_ms)
        steps = arrival(terms, levels, list(makers.values()), share)
        made_us = now_ms * 1000
        for step in steps:
            order = _step(change, order, makers, step, made_us)
        if order.is_open and order.is_filled:
            traded_last = bool(steps) and steps[-1].kind is StepKind.TRADE
            change.end(order, made_us, filled=traded_last)
        elif order.is_open and not _rests(terms):
            change.end(order, made_us, filled=False)
        return tuple(
            Level(s.price, s.volume) for s in steps if s.kind is StepKind.TRADE and s.maker is None
        )


def _by_priority(orders: Sequence[PaperOrder]) -> list[PaperOrder]:
    """The better price first, then the older order; bids and asks do not meet each other."""

    def key(order: PaperOrder) -> tuple[Decimal, int]:
        price = order.terms.limit or Decimal(0)
        return (-price if order.terms.side is Side.BID else price, order.number)

    return sorted(orders, key=key)


def _rests(terms: OrderTerms) -> bool:
    return terms.ord_type is OrderType.LIMIT and terms.time_in_force not in _AT_ONCE


@exactly
def _fill_at_its_price(
    change: Change, order: PaperOrder, taken: Sequence[Level], now_ms: int
) -> None:
    assert order.terms.limit is not None
    volume = sum((level.size for level in taken), Decimal(0))
    after = change.trade(order, order.terms.limit, volume, now_ms * 1000, is_maker=True)
    if after.is_filled:
        change.end(after, now_ms * 1000, filled=True)


@exactly
def _step(
    change: Change,
    order: PaperOrder,
    makers: Mapping[str, PaperOrder],
    step: Step,
    made_us: int,
) -> PaperOrder:
    """Carry out one step of an arrival; returns the arriving order after it."""
    maker = makers[step.maker] if step.maker is not None else None
    value = step.price * step.volume
    if step.kind is StepKind.CANCEL_TAKER:
        if maker is not None:  # a post_only order is cancelled without having been prevented
            order = _prevent_all(change, order, step.volume, made_us)
        return change.end(order, made_us, filled=False)
    if step.kind is StepKind.CANCEL_MAKER:
        assert maker is not None
        change.end(
            _prevent_all(change, maker, step.volume, made_us),
            made_us,
            filled=False,
        )
        return order
    if step.kind is StepKind.REDUCE:
        assert maker is not None
        smaller = change.prevent(maker, step.volume, value, made_us)
        if smaller.is_filled:
            change.end(smaller, made_us, filled=False)
        return change.prevent(order, step.volume, _own_value(order, step), made_us)
    if maker is not None:
        filled = change.trade(maker, step.price, step.volume, made_us, is_maker=True)
        if filled.is_filled:
            change.end(filled, made_us, filled=True)
    return change.trade(order, step.price, step.volume, made_us, is_maker=False)


def _prevent_all(change: Change, order: PaperOrder, volume: Decimal, made_us: int) -> PaperOrder:
    """`order` with all that remains of it prevented."""
    if order.remaining_volume is None:
        assert order.remaining_funds is not None
        return change.prevent(order, volume, order.remaining_funds, made_us)
    price = order.terms.limit or Decimal(0)
    return change.prevent(order, order.remaining_volume, price * order.remaining_volume, made_us)


def _own_value(order: PaperOrder, step: Step) -> Decimal:
    """What a reduction frees of the arriving order: at its own limit, else at the step's price."""
    return (order.terms.limit or step.price) * step.volume
