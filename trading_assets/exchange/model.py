"""The exchange as we see it: markets and their rules, prices, balances, orders and fills.

Frozen values that refuse nonsense when they are built; amounts are exact `Decimal`, times aware
UTC. Not here: what fetches them (upbit.py, stream.py), what reads them off an answer (answers.py),
exact sums (amounts.py) and the price grid (price_units.py).
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from trading_assets.exchange.amounts import (
    EXACT,
    VOLUME_STEP,
    check_above_zero,
    check_not_negative,
    cut_volume,
    exact_sum,
    plain,
)

_MARKET = re.compile(r"[A-Z0-9]{1,15}-[A-Z0-9]{1,15}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Interval(StrEnum):
    """A candle interval that Upbit serves and the project uses."""

    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M10 = "10m"
    M15 = "15m"
    M30 = "30m"
    M60 = "60m"
    M240 = "240m"
    D1 = "1d"

    @property
    def minutes(self) -> int:
        return 1440 if self is Interval.D1 else int(self.value[:-1])

    @property
    def duration(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    @property
    def key(self) -> str:
        """The name in asset keys and folders: `m5`, `m60`, `d1`."""
        return "d1" if self is Interval.D1 else f"m{self.minutes}"

    @classmethod
    def of_minutes(cls, minutes: int) -> "Interval":
        """The interval of so many minutes. Raises ValueError when Upbit has none."""
        for interval in cls:
            if interval.minutes == minutes:
                return interval
        raise ValueError(
            f"Upbit has no {minutes}-minute candles; there are {[i.minutes for i in cls]}"
        )


class Side(StrEnum):
    """Upbit's words: a bid buys, an ask sells."""

    BID = "bid"
    ASK = "ask"


class OrderType(StrEnum):
    """PRICE is a market buy for an amount of KRW, MARKET a market sell of a volume."""

    LIMIT = "limit"
    PRICE = "price"
    MARKET = "market"
    BEST = "best"


class TimeInForce(StrEnum):
    IOC = "ioc"
    FOK = "fok"
    POST_ONLY = "post_only"


class SmpType(StrEnum):
    """Self-match prevention. Absent means CANCEL_MAKER since 2026-11-09; NONE switches it off."""

    CANCEL_MAKER = "cancel_maker"
    CANCEL_TAKER = "cancel_taker"
    REDUCE = "reduce"
    NONE = "none"


class OrderState(StrEnum):
    """A partial fill is no state, and CANCEL is also how orders that did trade may end."""

    WAIT = "wait"
    WATCH = "watch"
    DONE = "done"
    CANCEL = "cancel"

    @property
    def is_terminal(self) -> bool:
        return self in (OrderState.DONE, OrderState.CANCEL)


# --- markets --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Market:
    """A market that the exchange lists. cautions: the flags now raised (PRICE_FLUCTUATIONS, ...).

    warning: under review, delisting possible: no new buys.
    """

    code: str
    warning: bool
    cautions: frozenset[str]

    def __post_init__(self) -> None:
        _check_market(self.code)


@dataclass(frozen=True, slots=True)
class Instrument:
    """tick_size: KRW between prices, at the market's present price only (see price_units.py)."""

    market: str
    quote_currency: str
    tick_size: Decimal

    def __post_init__(self) -> None:
        _check_market(self.market)
        check_above_zero("tick_size", self.tick_size)


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has of one currency. balance: free; locked: bound in orders.

    average_buy_price: KRW per coin as the exchange keeps it (not our books); 0 when unknown to it.
    """

    currency: str
    balance: Decimal
    locked: Decimal
    average_buy_price: Decimal

    def __post_init__(self) -> None:
        if not self.currency:
            raise ValueError("currency must not be empty")
        for name in ("balance", "locked", "average_buy_price"):
            check_not_negative(name, getattr(self, name))

    @property
    def total(self) -> Decimal:
        """Free plus locked, exact."""
        return EXACT.add(self.balance, self.locked)


@dataclass(frozen=True, slots=True)
class MarketRules:
    """What an order in a market has to obey now, for this account (orders/chance).

    Fees are ratios of the traded value. min_total, max_total: KRW. bid_types, ask_types: as Upbit
    names them (`limit`, `limit_ioc`, `price`, ...). base and quote: the account's two balances.
    """

    market: str
    state: str
    bid_fee: Decimal
    ask_fee: Decimal
    maker_bid_fee: Decimal
    maker_ask_fee: Decimal
    min_total_bid: Decimal
    min_total_ask: Decimal
    max_total: Decimal
    bid_types: frozenset[str]
    ask_types: frozenset[str]
    quote: Balance
    base: Balance

    def __post_init__(self) -> None:
        _check_market(self.market)
        for name in ("bid_fee", "ask_fee", "maker_bid_fee", "maker_ask_fee"):
            check_not_negative(name, getattr(self, name))
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must be a ratio below 1, was {getattr(self, name)}")
        for name in ("min_total_bid", "min_total_ask", "max_total"):
            check_above_zero(name, getattr(self, name))
        quote, base = self.market.split("-")
        if (self.quote.currency, self.base.currency) != (quote, base):
            raise ValueError(
                f"{self.market} needs balances of {quote} and {base}, were "
                f"{self.quote.currency} and {self.base.currency}"
            )

    @property
    def is_active(self) -> bool:
        return self.state == "active"


# --- prices ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Level:
    """price: KRW per coin. size: coins."""

    price: Decimal
    size: Decimal

    def __post_init__(self) -> None:
        check_above_zero("price", self.price)
        check_not_negative("size", self.size)


@dataclass(frozen=True, slots=True)
class Quote:
    """The best prices of a market: a market sell meets `bid`, a market buy `ask` (KRW per coin).

    exchange_time: when the exchange made the book, by its clock. received_at: when we got it, ours.
    """

    market: str
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal
    exchange_time: datetime
    received_at: datetime

    def __post_init__(self) -> None:
        _check_market(self.market)
        for name in ("bid", "ask"):
            check_above_zero(name, getattr(self, name))
        for name in ("bid_size", "ask_size"):
            check_not_negative(name, getattr(self, name))
        if self.bid >= self.ask:
            raise ValueError(f"bid must be below ask, were {self.bid} and {self.ask}")
        _check_aware("exchange_time", self.exchange_time)
        _check_aware("received_at", self.received_at)

    @property
    def lag(self) -> timedelta:
        """Our time of receipt minus the exchange's time: transport plus the clocks' difference.

        Of a book that has just changed; a quiet market repeats an old exchange_time.
        """
        return self.received_at - self.exchange_time


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The levels of a market, best first: bids fall, asks rise. Neither side is empty."""

    market: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    exchange_time: datetime
    received_at: datetime

    def __post_init__(self) -> None:
        for name, levels, sign in (("bids", self.bids, -1), ("asks", self.asks, 1)):
            if not levels:
                raise ValueError(f"{name} must have a level")
            prices = [sign * level.price for level in levels]
            if any(later <= earlier for earlier, later in pairwise(prices)):
                raise ValueError(f"{name} must be ordered best first, were {_shown(levels)}")
        _ = self.quote  # its rules hold for the book too

    @property
    def quote(self) -> Quote:
        bid, ask = self.bids[0], self.asks[0]
        return Quote(
            market=self.market,
            bid=bid.price,
            bid_size=bid.size,
            ask=ask.price,
            ask_size=ask.size,
            exchange_time=self.exchange_time,
            received_at=self.received_at,
        )


# --- orders ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order to be sent, as Upbit's rules for its type allow; ValueError names the broken rule.

    price: KRW per coin, or the KRW amount of a market buy (PRICE) and of a BEST bid. volume: coins;
    it is cut to 8 decimals here, so that this value, our books and the wire agree. identifier: our
    own name of the order, unique for ever in the account.
    """

    market: str
    side: Side
    ord_type: OrderType
    identifier: str
    volume: Decimal | None = None
    price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    smp_type: SmpType | None = None

    def __post_init__(self) -> None:
        _check_market(self.market)
        check_identifier(self.identifier)
        if self.volume is not None:
            check_above_zero("volume", self.volume)
            object.__setattr__(self, "volume", cut_volume(self.volume))
            if not self.volume:
                raise ValueError(f"volume must be at least {VOLUME_STEP:f} after cutting, was less")
        if self.price is not None:
            check_above_zero("price", self.price)
            if EXACT.remainder(self.price, VOLUME_STEP):
                raise ValueError(f"price must have at most 8 decimals, was {self.price}")
        _check_combination(self)

    def fields(self) -> dict[str, str]:
        """The parameters in Upbit's words, every one a plain string, in the order they are sent."""
        found = {"market": self.market, "side": self.side.value}
        if self.volume is not None:
            found["volume"] = plain(self.volume)
        if self.price is not None:
            found["price"] = plain(self.price)
        found |= {"ord_type": self.ord_type.value, "identifier": self.identifier}
        if self.time_in_force is not None:
            found["time_in_force"] = self.time_in_force.value
        if self.smp_type is not None:
            found["smp_type"] = self.smp_type.value
        return found


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of an order. price: KRW per coin; volume: coins; funds: KRW."""

    uuid: str
    market: str
    side: Side
    price: Decimal
    volume: Decimal
    funds: Decimal
    created_at: datetime

    def __post_init__(self) -> None:
        _check_market(self.market)
        for name in ("price", "volume"):
            check_above_zero(name, getattr(self, name))
        check_not_negative("funds", self.funds)
        _check_aware("created_at", self.created_at)


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the exchange tells it.

    price, volume: None where the type has none (a market sell has no price, a market buy no
    volume). fees, locked: KRW, of an ask `locked` is in coins. fills: None when the call does not
    tell them (only asking for one order does), else all `trades_count` of them.
    """

    market: str
    uuid: str
    side: Side
    ord_type: OrderType
    state: OrderState
    created_at: datetime
    price: Decimal | None
    volume: Decimal | None
    remaining_volume: Decimal | None
    executed_volume: Decimal
    reserved_fee: Decimal
    remaining_fee: Decimal
    paid_fee: Decimal
    locked: Decimal
    prevented_volume: Decimal
    prevented_locked: Decimal
    trades_count: int
    identifier: str | None
    time_in_force: TimeInForce | None
    smp_type: SmpType | None
    fills: tuple[Fill, ...] | None

    def __post_init__(self) -> None:
        _check_market(self.market)
        if not self.uuid:
            raise ValueError("uuid must not be empty")
        _check_aware("created_at", self.created_at)
        for name in ("price", "volume", "remaining_volume"):
            if getattr(self, name) is not None:
                check_not_negative(name, getattr(self, name))
        for name in (
            "executed_volume",
            "reserved_fee",
            "remaining_fee",
            "paid_fee",
            "locked",
            "prevented_volume",
            "prevented_locked",
            "trades_count",
        ):
            check_not_negative(name, Decimal(getattr(self, name)))

    @property
    def is_terminal(self) -> bool:
        """Nothing more happens to it; what happened is in executed_volume and fills."""
        return self.state.is_terminal

    @property
    def has_traded(self) -> bool:
        return self.executed_volume > 0

    @property
    def fills_are_complete(self) -> bool:
        """Whether `fills` tells the whole executed volume; the list may lag behind the order."""
        if self.fills is None:
            return False
        return exact_sum(fill.volume for fill in self.fills) == self.executed_volume

    @property
    def executed_funds(self) -> Decimal:
        """KRW that changed hands, without fees, exact. Raises ValueError without fills."""
        return exact_sum(fill.funds for fill in self._told_fills())

    @property
    def average_price(self) -> Decimal | None:
        """Funds over volume of the fills (KRW per coin, 28 digits); None when nothing traded.

        Never `price`: a limit may fill better, and for a market buy it is the amount.
        """
        volume = exact_sum(fill.volume for fill in self._told_fills())
        return self.executed_funds / volume if volume else None

    def _told_fills(self) -> tuple[Fill, ...]:
        if self.fills is None:
            raise ValueError(f"this answer does not tell the fills of order {self.uuid}: ask again")
        return self.fills


# --- rules ----------------------------------------------------------------------------------


def check_identifier(identifier: str) -> None:
    """Raises ValueError unless `identifier` is one that the wire cannot bend."""
    if not _IDENTIFIER.fullmatch(identifier):
        raise ValueError(
            f"identifier must be 1 to 64 of A-Z, a-z, 0-9, _ and -, was {identifier!r}"
        )


def _check_combination(request: OrderRequest) -> None:
    """The table of docs.upbit.com, new-order: which type goes with which side and amounts."""
    kind, side = request.ord_type, request.side
    needs = {
        (OrderType.LIMIT, Side.BID): ("price", "volume"),
        (OrderType.LIMIT, Side.ASK): ("price", "volume"),
        (OrderType.PRICE, Side.BID): ("price",),
        (OrderType.MARKET, Side.ASK): ("volume",),
        (OrderType.BEST, Side.BID): ("price",),
        (OrderType.BEST, Side.ASK): ("volume",),
    }.get((kind, side))
    if needs is None:
        only = Side.BID if kind is OrderType.PRICE else Side.ASK
        raise ValueError(f"ord_type {kind} goes with side {only} only, was {side}")
    for name in ("price", "volume"):
        given = getattr(request, name) is not None
        if given != (name in needs):
            rule = "needs a" if name in needs else "takes no"
            raise ValueError(f"ord_type {kind} with side {side} {rule} {name}")
    _check_time_in_force(kind, request.time_in_force)
    if request.time_in_force is TimeInForce.POST_ONLY and request.smp_type not in (
        None,
        SmpType.NONE,
    ):
        raise ValueError(f"time_in_force post_only takes no smp_type, was {request.smp_type}")


def _check_time_in_force(kind: OrderType, time_in_force: TimeInForce | None) -> None:
    if kind is OrderType.LIMIT:
        return
    if kind is OrderType.BEST:
        if time_in_force not in (TimeInForce.IOC, TimeInForce.FOK):
            raise ValueError(f"ord_type best needs time_in_force ioc or fok, was {time_in_force}")
    elif time_in_force is not None:
        raise ValueError(f"ord_type {kind} takes no time_in_force, was {time_in_force}")


def _check_market(code: str) -> None:
    if not isinstance(code, str) or not _MARKET.fullmatch(code):
        raise ValueError(f"market must be like KRW-BTC, was {code!r}")


def _check_aware(name: str, moment: datetime) -> None:
    if moment.tzinfo is None:
        raise ValueError(f"{name} needs a time zone, was {moment.isoformat()} without one")


def _shown(levels: tuple[Level, ...]) -> str:
    return ", ".join(plain(level.price) for level in levels[:5])
