"""What the rest of the program may ask of an exchange: prices without a key, orders with one.

Protocols only: upbit.py and stream.py implement them, tests may do so too. Every method may also
raise CredentialsRefused or IpBlocked (a person has to act) where it needs a key or sends anything;
what else each may raise is said at each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from trading_assets.exchange.model import (
    Balance,
    Instrument,
    Market,
    MarketRules,
    Order,
    OrderBook,
    OrderRequest,
    Quote,
)


class Quotation(Protocol):
    """Public facts. Every method reads only and has been retried when it raises.

    Each may raise ExchangeUnavailable (also its kinds ExchangeTimeout, ExchangeMaintenance),
    RateLimited, MalformedAnswer, BadRequest.
    """

    def markets(self) -> tuple[Market, ...]:
        """Every listed market with its warning and caution flags."""

    def order_books(self, markets: Sequence[str]) -> tuple[OrderBook, ...]:
        """The book of each of `markets`, in their order. Raises MarketNotFound for all of them
        when one is not listed."""

    def instruments(self, markets: Sequence[str]) -> tuple[Instrument, ...]:
        """The tick size of each of `markets`, in their order. Raises MarketNotFound."""


class Trading(Protocol):
    """The account and its orders.

    Reads are retried and may raise what Quotation's do. `place`, `test_order` and `cancel` send
    exactly one request, never a second.
    """

    def balances(self) -> tuple[Balance, ...]:
        """Every currency the account has ever held, free and locked."""

    def key_ends_at(self) -> datetime:
        """When the account's key expires (aware UTC): Upbit's are good for a year.

        Raises MalformedAnswer when the exchange lists its keys without this one."""

    def rules(self, market: str) -> MarketRules:
        """Fees, minimum, types and state of a market for this account. Raises OrderRejected for a
        market that there is not."""

    def place(self, request: OrderRequest) -> Order:
        """Send `request` once; the order as accepted, normally still waiting.

        Raises, when no order was made: OrderRejected (InsufficientFunds, UnderMinimum),
        ExchangeMaintenance, CredentialsRefused; ExchangeUnavailable, RateLimited or IpBlocked when
        nothing was sent.
        Raises OrderOutcomeUnknown in every other case: sent, and nobody knows. DuplicatedIdentifier
        is one of them: an order of that name was sent before.
        """

    def test_order(self, request: OrderRequest) -> None:
        """Have the exchange check `request` without making an order. Raises like `place`, but
        never OrderOutcomeUnknown: a test has no outcome."""

    def order(self, *, uuid: str | None = None, identifier: str | None = None) -> Order:
        """One order by exactly one of its names, with its fills. Raises OrderNotFound, which
        straight after `place` may be lag."""

    def orders_by_identifier(self, identifiers: Sequence[str]) -> tuple[Order, ...]:
        """The orders of up to 100 identifiers, without fills; unknown ones are left out."""

    def open_orders(self, market: str | None = None) -> tuple[Order, ...]:
        """All waiting and reserved orders, newest first, without fills; the user's own too."""

    def closed_orders(
        self, start: datetime, end: datetime, market: str | None = None
    ) -> tuple[Order, ...]:
        """All ended orders made in start <= created_at < end (aware), oldest first, no fills."""

    def cancel(self, *, uuid: str | None = None, identifier: str | None = None) -> Order:
        """Ask for an order's cancel; the answer still says `wait`. Read `order` until it ends.

        Raises OrderNotFound, OrderRejected; ExchangeUnavailable or RateLimited, after which the
        cancel may or may not have been accepted: read the order, asking again does no harm.
        """


class PriceSource(StrEnum):
    STREAM = "stream"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Price:
    """A quote and the last moment at which the exchange said that it still holds.

    number: counts the confirmations of this market; confirmed_at: aware UTC, our clock.
    """

    quote: Quote
    number: int
    confirmed_at: datetime
    source: PriceSource

    def age(self, now: datetime) -> timedelta:
        """Time since the last confirmation. After the clock was set back nobody knows it: the time
        that is between the two, so that what was confirmed before does not stay fresh for hours."""
        return abs(now - self.confirmed_at)


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """How a stream is doing. last_problem: the newest one, with its time, or "".

    lag: our time minus the exchange's at the freshest of the last frames: transport plus skew of
    the two clocks (below 0 when the exchange's is ahead); None before the first.
    """

    connected: bool
    running: bool
    connections: int
    frames: int
    refused_frames: int
    rest_answers: int
    lag: timedelta | None
    last_problem: str


class PriceStream(Protocol):
    """The best prices of some markets, as fresh as the exchange gives them. Thread-safe.

    Nothing here raises for the exchange's faults: the price grows old and `health` says why.
    """

    def start(self) -> None:
        """Begin to listen. Raises RuntimeError when started before."""

    def stop(self) -> None:
        """End all threads and connections; the last prices stay readable."""

    def latest(self, market: str) -> Price | None:
        """The last price, or None before the first. Raises KeyError for another market."""

    def wait_for_next(self, market: str, after: int, timeout_seconds: float) -> Price | None:
        """The latest price as soon as its number is above `after`, or None after
        `timeout_seconds` (real ones, of the machine) and once stopped."""

    def health(self) -> StreamHealth: ...
