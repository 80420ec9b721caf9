"""The books that orders meet: the source's or one pinned by hand, less what our orders have taken.

A source makes its books without knowing our orders, so the same level could be bought twice. What
was taken from a book stays taken until the source shows another book. Not here: the shapes that
clients see (`quotation.py`, `streams.py`).
"""

import threading
from collections.abc import Collection, Sequence
from decimal import Decimal
from itertools import count
from typing import Protocol

from trading_assets.exchange.model import Side
from trading_assets.paper_exchange.books import order_book
from trading_assets.paper_exchange.exact import exactly
from trading_assets.paper_exchange.grid import FloatArray
from trading_assets.paper_exchange.markets import Markets
from trading_assets.paper_exchange.matching import DEPTH, Book, Level
from trading_assets.paper_exchange.quotation import number

# A longer jump of a stepped clock is looked at where trades could have filled an order, at most
# this often: enough for hours, and bounded for weeks.
_MOST_LOOKS = 2_000


class BookSource(Protocol):
    """Where books come from. `markets`: all there are, None when only the source's answer tells."""

    @property
    def markets(self) -> tuple[str, ...] | None: ...

    async def refresh(self, markets: Collection[str], now_ms: int) -> None:
        """Make the present books of `markets` known. Raises MarketNotFound, ExchangeUnavailable."""

    def book(self, market: str, now_ms: int) -> Book:
        """The book at `now_ms`; a source of real books knows the refreshed one only."""

    def looks(
        self, market: str, after_ms: int, now_ms: int, bid: Decimal | None, ask: Decimal | None
    ) -> list[int]:
        """Moments in (after_ms, now_ms) at which a bid at `bid` or an ask at `ask` may be met."""


class LocalBooks:
    """The books of a price source of our own, at any moment."""

    def __init__(self, markets: Markets) -> None:
        self._markets = markets
        # Each market's last book: streams ask for it many times while it stays the same.
        self._made: dict[str, Book] = {}

    @property
    def markets(self) -> tuple[str, ...]:
        return self._markets.markets

    async def refresh(self, markets: Collection[str], now_ms: int) -> None:
        del now_ms
        for market in markets:
            self._markets.check_listed(market)

    def book(self, market: str, now_ms: int) -> Book:
        last = self._markets.last_trades(market, now_ms + 1, 1)
        # All that `order_book` depends on: the second and the last trade.
        key = (now_ms // 1000, int(last.sequential_id[0]) if len(last) else 0)
        made = self._made.get(market)
        if made is None or made.key != key:
            found = order_book(self._markets, market, now_ms, 0.0, DEPTH)
            bids = _levels(found.bid_price, found.bid_size)
            asks = _levels(found.ask_price, found.ask_size)
            made = self._made[market] = Book(market, found.time_ms, key, bids, asks)
        return made

    def looks(
        self, market: str, after_ms: int, now_ms: int, bid: Decimal | None, ask: Decimal | None
    ) -> list[int]:
        """Where the last price reaches the order: only then can the other side of the book."""
        trades = self._markets.trades(market, after_ms + 1, now_ms)
        meets = trades.price < 0
        if bid is not None:
            meets = meets | (trades.price <= float(bid))
        if ask is not None:
            meets = meets | (trades.price >= float(ask))
        return [int(moment) for moment in trades.time_ms[meets][:_MOST_LOOKS]]


def _levels(prices: FloatArray, sizes: FloatArray) -> tuple[Level, ...]:
    return tuple(
        Level(Decimal(str(number(price))), Decimal(str(number(size))))
        for price, size in zip(prices.tolist(), sizes.tolist(), strict=True)
    )


class Liquidity:
    """The books of one exchange. Pinning is safe from other threads."""

    def __init__(self, source: BookSource) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._pinned: dict[str, Book] = {}
        self._pins = count(1)
        self._taken: dict[str, tuple[object, dict[tuple[Side, Decimal], Decimal]]] = {}

    # --- by hand --------------------------------------------------------------------------------

    def pin(
        self,
        market: str,
        bids: Sequence[tuple[str, str]],
        asks: Sequence[tuple[str, str]],
        now_ms: int,
    ) -> None:
        """Set the book of `market` by hand until `unpin`: (price, size) as text, best first.

        Shown by /v1/orderbook and the stream, and met by orders; ticker and trades stay the
        source's. Raises ValueError when it is no book.
        """
        book = Book(market, now_ms, ("pin", next(self._pins)), _by_hand(bids), _by_hand(asks))
        _check_book(book)
        with self._lock:
            self._pinned[market] = book

    def unpin(self, market: str) -> None:
        with self._lock:
            self._pinned.pop(market, None)

    def pinned(self, market: str) -> Book | None:
        with self._lock:
            return self._pinned.get(market)

    # --- for the exchange -----------------------------------------------------------------------

    def shown(self, market: str, now_ms: int) -> Book:
        """The book as clients see it: what our own orders took is not missing from it."""
        return self.pinned(market) or self.source.book(market, now_ms)

    def levels(self, market: str, side: Side, now_ms: int) -> tuple[Level, ...]:
        """What an order of `side` can still meet, best first."""
        book = self.shown(market, now_ms)
        taken = self._taken_from(book)
        left = (
            _without(level, taken.get((side, level.price), Decimal(0)))
            for level in book.against(side)
        )
        return tuple(level for level in left if level.size > 0)

    def looks(
        self, market: str, after_ms: int, now_ms: int, bid: Decimal | None, ask: Decimal | None
    ) -> list[int]:
        if self.pinned(market) is not None:
            return []
        return self.source.looks(market, after_ms, now_ms, bid, ask)

    @exactly
    def take(self, market: str, side: Side, levels: Sequence[Level], now_ms: int) -> None:
        """Remember that an order of `side` took `levels` out of the present book."""
        taken = self._taken_from(self.shown(market, now_ms))
        for level in levels:
            before = taken.get((side, level.price), Decimal(0))
            taken[side, level.price] = before + level.size

    def _taken_from(self, book: Book) -> dict[tuple[Side, Decimal], Decimal]:
        key, taken = self._taken.get(book.market, (None, {}))
        if key != book.key:
            taken = {}
            self._taken[book.market] = (book.key, taken)
        return taken


@exactly
def _without(level: Level, taken: Decimal) -> Level:
    return Level(level.price, max(level.size - taken, Decimal(0)))


def _by_hand(levels: Sequence[tuple[str, str]]) -> tuple[Level, ...]:
    return tuple(Level(Decimal(price), Decimal(size)) for price, size in levels)


def _check_book(book: Book) -> None:
    for name, levels, rises in (("bids", book.bids, False), ("asks", book.asks, True)):
        prices = [level.price for level in levels]
        if not 1 <= len(levels) <= DEPTH or sorted(set(prices), reverse=not rises) != prices:
            said = ", ".join(map(str, prices)) or "none"
            raise ValueError(f"{name} must be 1 to {DEPTH} prices, best first, were {said}")
        if min(prices) <= 0 or any(level.size <= 0 for level in levels):
            said = ", ".join(f"{level.size} at {level.price}" for level in levels)
            raise ValueError(f"{name} must have prices and sizes above 0, were {said}")
    if book.bids[0].price >= book.asks[0].price:
        raise ValueError(
            f"the best bid must be below the best ask, were {book.bids[0].price} and "
            f"{book.asks[0].price}"
        )
