"""An exchange in memory, obedient to the letter: for tests of single steps on a stepped clock.

The real parts together are in `test_crash.py`; here every answer can be chosen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import cast

from sqlalchemy.engine import Engine

from trading_assets.clock import SteppedClock
from trading_assets.errors import DuplicatedIdentifier, InsufficientFunds, OrderNotFound
from trading_assets.exchange.amounts import cut_volume
from trading_assets.exchange.api import Price, PriceSource, PriceStream, Quotation, StreamHealth
from trading_assets.exchange.model import (
    Balance,
    Fill,
    Instrument,
    Market,
    MarketRules,
    Order,
    OrderBook,
    OrderRequest,
    OrderState,
    Quote,
    Side,
)
from trading_assets.settings import Settings, load_settings
from trading_assets.trading.floor import Floor, at_once
from trading_assets_tests.trading.ledger_world import NOW

BTC = "KRW-BTC"
NOTHING = Decimal(0)
# What place() does: make the order (or not), then raise (or answer).
Outcome = tuple[bool, Exception | None]
ACCEPT: Outcome = (True, None)


@dataclass
class FakeExchange:
    """One account. outcomes: of the next POSTs, then all are accepted.

    price: what everything trades at, without fee. share: of an order that is filled. visible_after:
    how long after its POST an order is shown. reading: raised by every read while it is set.
    """

    clock: SteppedClock
    outcomes: list[Outcome] = field(default_factory=list)
    price: Decimal = Decimal(1000)
    share: Decimal = Decimal(1)
    rests: bool = False
    visible_after: timedelta = timedelta(0)
    reading: Exception | None = None
    posts: list[OrderRequest] = field(default_factory=list)
    tests: list[OrderRequest] = field(default_factory=list)
    test_error: Exception | None = None
    cancels: list[str] = field(default_factory=list)
    made: dict[str, Order] = field(default_factory=dict)
    totals: dict[str, Decimal] = field(
        default_factory=lambda: {"KRW": Decimal(1_000_000), "BTC": NOTHING}
    )
    listed: tuple[Market, ...] = (Market(BTC, warning=False, cautions=frozenset()),)
    tick: Decimal = Decimal(1)
    refuses_short_sales: bool = False
    key_ends: datetime = NOW + timedelta(days=365)

    # --- Trading ------------------------------------------------------------------------------

    def balances(self) -> tuple[Balance, ...]:
        self._read()
        return tuple(
            Balance(c, total - self._locked(c), self._locked(c), NOTHING)
            for c, total in self.totals.items()
        )

    def key_ends_at(self) -> datetime:
        self._read()
        return self.key_ends

    def rules(self, market: str) -> MarketRules:
        self._read()
        nothing = Decimal("0.0005")
        return MarketRules(
            market=market,
            state="active",
            bid_fee=nothing,
            ask_fee=nothing,
            maker_bid_fee=nothing,
            maker_ask_fee=nothing,
            min_total_bid=Decimal(5000),
            min_total_ask=Decimal(5000),
            max_total=Decimal(10**9),
            bid_types=frozenset({"limit"}),
            ask_types=frozenset({"market"}),
            quote=Balance("KRW", self.totals["KRW"], NOTHING, NOTHING),
            base=Balance("BTC", self.totals["BTC"], NOTHING, NOTHING),
        )

    def place(self, request: OrderRequest) -> Order:
        self.posts.append(request)
        self._check_coins(request)
        makes, error = self.outcomes.pop(0) if self.outcomes else ACCEPT
        if request.identifier in self.made:
            raise DuplicatedIdentifier("duplicated_identifier")
        if makes:
            self.make(request)
        if error is not None:
            raise error
        return self._waiting(self.made[request.identifier])

    def make(self, request: OrderRequest) -> None:
        """The order as the exchange has it, traded at once."""
        volume = cast(Decimal, request.volume)
        traded = NOTHING if self.rests else cut_volume(volume * self.share)
        sign = 1 if request.side is Side.BID else -1
        self.totals["BTC"] += sign * traded
        self.totals["KRW"] -= sign * traded * self.price
        number = len(self.made) + 1
        fill = Fill(
            uuid=f"fill-{number}",
            market=request.market,
            side=request.side,
            price=self.price,
            volume=traded or Decimal(1),
            funds=traded * self.price,
            created_at=self.clock.now(),
        )
        state = OrderState.DONE if self.share == 1 else OrderState.CANCEL
        self.made[request.identifier] = Order(
            market=request.market,
            uuid=f"order-{number}",
            side=request.side,
            ord_type=request.ord_type,
            state=OrderState.WAIT if self.rests else state,
            created_at=self.clock.now(),
            price=request.price,
            volume=volume,
            remaining_volume=max(NOTHING, volume - traded),
            executed_volume=traded,
            reserved_fee=NOTHING,
            remaining_fee=NOTHING,
            paid_fee=NOTHING,
            locked=self._bound(request) if self.rests else NOTHING,
            prevented_volume=NOTHING,
            prevented_locked=NOTHING,
            trades_count=1 if traded else 0,
            identifier=request.identifier,
            time_in_force=request.time_in_force,
            smp_type=None,
            fills=(fill,) if traded else (),
        )

    def test_order(self, request: OrderRequest) -> None:
        self.tests.append(request)
        self._check_coins(request)
        if self.test_error is not None:
            raise self.test_error

    def order(self, *, uuid: str | None = None, identifier: str | None = None) -> Order:
        self._read()
        for order in self._shown():
            if order.uuid == uuid or order.identifier == identifier:
                return order
        raise OrderNotFound("order_not_found")

    def orders_by_identifier(self, identifiers: Sequence[str]) -> tuple[Order, ...]:
        self._read()
        return tuple(o for o in self._shown() if o.identifier in identifiers)

    def open_orders(self, market: str | None = None) -> tuple[Order, ...]:
        self._read()
        return tuple(o for o in self._shown() if not o.is_terminal)

    def closed_orders(
        self, start: datetime, end: datetime, market: str | None = None
    ) -> tuple[Order, ...]:
        self._read()
        return tuple(o for o in self._shown() if o.is_terminal and start <= o.created_at < end)

    def cancel(self, *, uuid: str | None = None, identifier: str | None = None) -> Order:
        assert uuid is not None
        self.cancels.append(uuid)
        (found,) = (o for o in self.made.values() if o.uuid == uuid)
        assert found.identifier is not None
        self.made[found.identifier] = replace(found, state=OrderState.CANCEL)
        return found

    # --- Quotation ----------------------------------------------------------------------------

    def markets(self) -> tuple[Market, ...]:
        self._read()
        return self.listed

    def order_books(self, markets: Sequence[str]) -> tuple[OrderBook, ...]:
        raise AssertionError("the stream has the price")

    def instruments(self, markets: Sequence[str]) -> tuple[Instrument, ...]:
        self._read()
        return tuple(Instrument(market, "KRW", self.tick) for market in markets)

    def _check_coins(self, request: OrderRequest) -> None:
        short = request.side is Side.ASK and cast(Decimal, request.volume) > self.totals["BTC"]
        if self.refuses_short_sales and short:
            raise InsufficientFunds("not so many", "insufficient_funds_ask")

    def _bound(self, request: OrderRequest) -> Decimal:
        """What an order of that request binds while it waits: KRW, or coins."""
        volume = cast(Decimal, request.volume)
        return volume * (request.price or self.price) if request.side is Side.BID else volume

    def _locked(self, currency: str) -> Decimal:
        """Of all orders that wait, also of those that are not shown yet."""
        side = Side.BID if currency == "KRW" else Side.ASK
        waiting = (o for o in self.made.values() if not o.is_terminal and o.side is side)
        return sum((o.locked for o in waiting), NOTHING)

    # --- how ----------------------------------------------------------------------------------

    def _read(self) -> None:
        if self.reading is not None:
            raise self.reading

    def _shown(self) -> list[Order]:
        now = self.clock.now()
        return [o for o in self.made.values() if now >= o.created_at + self.visible_after]

    @staticmethod
    def _waiting(order: Order) -> Order:
        """The answer to a POST: taken, nothing filled yet."""
        return replace(
            order,
            state=OrderState.WAIT,
            executed_volume=NOTHING,
            remaining_volume=order.volume,
            trades_count=0,
            fills=None,
        )


@dataclass
class FakePrices:
    """A stream that says `script`, one step a wait: (seconds later, bid, or None for silence)."""

    clock: SteppedClock
    script: list[tuple[float, str | None]]
    on_wait: Callable[[int], None] = lambda _number: None
    lag: timedelta | None = None
    running: bool = True
    waits: int = 0
    _price: Price | None = None

    def start(self) -> None:
        self._say(self.script.pop(0))

    def stop(self) -> None:
        return None

    def latest(self, market: str) -> Price | None:
        return self._price

    def wait_for_next(self, market: str, after: int, timeout_seconds: float) -> Price | None:
        if not self.script:
            raise AssertionError("the story is over and the position is still held")
        self.waits += 1
        self.on_wait(self.waits)
        self._say(self.script.pop(0))
        return self._price

    def health(self) -> StreamHealth:
        return StreamHealth(
            connected=True,
            running=self.running,
            connections=1,
            frames=self.waits,
            refused_frames=0,
            rest_answers=0,
            lag=self.lag,
            last_problem="",
        )

    def _say(self, line: tuple[float, str | None]) -> None:
        later, bid = line
        self.clock.advance(timedelta(seconds=later))
        if bid is None:
            return
        now = self.clock.now()
        price = Decimal(bid)
        quote = Quote(BTC, price, Decimal(100), price + 1, Decimal(100), now, now)
        number = 1 if self._price is None else self._price.number + 1
        self._price = Price(quote, number, now, PriceSource.STREAM)


def fake_floor(
    engine: Engine,
    exchange: FakeExchange,
    prices: FakePrices | None = None,
    **trading: str,
) -> Floor:
    settings: Settings = load_settings({"trading": trading})
    return Floor(
        engine=engine,
        account=exchange,
        quotation=cast(Quotation, exchange),
        open_prices=lambda _markets: cast(PriceStream, prices),
        clock=exchange.clock,
        settings=settings,
        aside=at_once,
    )


def stepped() -> SteppedClock:
    return SteppedClock(NOW)
