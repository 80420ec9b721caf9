"""Upbit's answers, REST and WebSocket, read into the values of model.py without losing a digit.

JSON numbers become Decimal straight from their text. A missing, mistyped or impossible field raises
MalformedAnswer naming the place, the field, the value and the rule; nothing is ever read as None
or 0 instead. Extra fields are tolerated. Not here: requests, status codes (refusals.py), candles
(raw_candles.py).
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from trading_assets.clock import as_utc
from trading_assets.errors import MalformedAnswer
from trading_assets.exchange.model import (
    Balance,
    Fill,
    Instrument,
    Level,
    Market,
    MarketRules,
    Order,
    OrderBook,
    OrderState,
    OrderType,
    Side,
    SmpType,
    TimeInForce,
)
from trading_assets.exchange.strict_json import SHOWN, parse_json, show

Row = dict[str, Any]

# Sane amounts lie far within; without a bound, 1e999999 in plain digits would fill the memory.
_LARGEST_EXPONENT = 40
_MOST_DIGITS = 60
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)


def exact_json(body: bytes, about: str) -> Any:
    """The JSON value of `body`, fractions as Decimal. Raises MalformedAnswer."""
    return parse_json(body, about, parse_float=Decimal)


# --- quotation ------------------------------------------------------------------------------


def markets_of(body: bytes) -> tuple[Market, ...]:
    """The markets of a market/all answer with details."""
    rows = _list(exact_json(body, "market/all"), "market/all")
    if not rows:
        raise MalformedAnswer("market/all: must list markets, was empty")
    return tuple(_market(row, f"market/all row {n}") for n, row in enumerate(rows))


def order_books_of(
    body: bytes, markets: Sequence[str], received_at: datetime
) -> tuple[OrderBook, ...]:
    """The books of an orderbook answer, in the order of `markets`. received_at: aware, ours."""
    rows = _list(exact_json(body, "orderbook"), "orderbook")
    books = [
        _order_book(row, "market", f"orderbook row {n}", received_at) for n, row in enumerate(rows)
    ]
    return _as_asked(books, markets, "orderbook", lambda book: book.market)


def instruments_of(body: bytes, markets: Sequence[str]) -> tuple[Instrument, ...]:
    """The tick sizes of an orderbook/instruments answer, in the order of `markets`."""
    about = "orderbook/instruments"
    rows = _list(exact_json(body, about), about)
    found = [_instrument(row, f"{about} row {n}") for n, row in enumerate(rows)]
    return _as_asked(found, markets, about, lambda instrument: instrument.market)


def _market(row: Any, place: str) -> Market:
    row = _object(row, place)
    event = _object(_field(row, "market_event", place), f"{place} market_event")
    flags = _object(_field(event, "caution", place), f"{place} caution")
    raised = frozenset(name for name in flags if _flag(flags, name, place))
    warning = _flag(event, "warning", place)
    return _built(place, lambda: Market(_text(row, "market", place), warning, raised))


def _instrument(row: Any, place: str) -> Instrument:
    row = _object(row, place)
    return _built(
        place,
        lambda: Instrument(
            market=_text(row, "market", place),
            quote_currency=_text(row, "quote_currency", place),
            tick_size=_amount(row, "tick_size", place),
        ),
    )


def _order_book(row: Any, market_key: str, place: str, received_at: datetime) -> OrderBook:
    row = _object(row, place)
    units = _list(_field(row, "orderbook_units", place), f"{place} orderbook_units")
    units = [_object(unit, f"{place} unit {n}") for n, unit in enumerate(units)]
    # A `.5` behind the code asks a stream for five levels and is no part of the market.
    market = _text(row, market_key, place).partition(".")[0]
    return _built(
        f"{place} ({market})",
        lambda: OrderBook(
            market=market,
            bids=_levels(units, "bid", place),
            asks=_levels(units, "ask", place),
            exchange_time=_milliseconds(row, "timestamp", place),
            received_at=as_utc(received_at),
        ),
    )


def _levels(units: Sequence[Row], side: str, place: str) -> tuple[Level, ...]:
    """One side's levels; where a side is shorter than the other, Upbit fills up with zeros."""
    pairs = [
        (_amount(unit, f"{side}_price", place), _amount(unit, f"{side}_size", place))
        for unit in units
    ]
    return tuple(Level(price, size) for price, size in pairs if price or size)


# --- the account ----------------------------------------------------------------------------


def balances_of(body: bytes) -> tuple[Balance, ...]:
    """The balances of an accounts answer."""
    rows = _list(exact_json(body, "accounts"), "accounts")
    found = tuple(_balance(row, f"accounts row {n}") for n, row in enumerate(rows))
    currencies = [balance.currency for balance in found]
    if len(set(currencies)) < len(currencies):
        raise MalformedAnswer(f"accounts: each currency must come once, was {currencies}")
    return found


def key_end_of(body: bytes, access_key: str) -> datetime | None:
    """When the key expires, by an api_keys answer; None when that does not tell it.

    Nothing is raised here: every error of this file shows what it read, and that is keys.
    """
    place = "api_keys"
    try:
        rows = _list(exact_json(body, place), place)
        mine = (
            row for row in rows if isinstance(row, dict) and row.get("access_key") == access_key
        )
        return next((_time(row, "expire_at", place) for row in mine), None)
    except MalformedAnswer:
        return None


def rules_of(body: bytes, market: str) -> MarketRules:
    """The rules of an orders/chance answer for `market`."""
    place = f"orders/chance {market}"
    row = _object(exact_json(body, place), place)
    about = _object(_field(row, "market", place), f"{place} market")
    code = _text(about, "id", place)
    if code != market:
        _refuse(place, "id", code, f"must be {market}")
    bid = _object(_field(about, "bid", place), f"{place} bid")
    ask = _object(_field(about, "ask", place), f"{place} ask")
    fees = {
        name: _amount(row, name, place)
        for name in ("bid_fee", "ask_fee", "maker_bid_fee", "maker_ask_fee")
    }
    return _built(
        place,
        lambda: MarketRules(
            market=market,
            state=_text(about, "state", place),
            **fees,
            min_total_bid=_amount(bid, "min_total", f"{place} bid"),
            min_total_ask=_amount(ask, "min_total", f"{place} ask"),
            max_total=_amount(about, "max_total", place),
            bid_types=_texts(about, "bid_types", place),
            ask_types=_texts(about, "ask_types", place),
            quote=_balance(_field(row, "bid_account", place), f"{place} bid_account"),
            base=_balance(_field(row, "ask_account", place), f"{place} ask_account"),
        ),
    )


def _balance(row: Any, place: str) -> Balance:
    row = _object(row, place)
    return _built(
        place,
        lambda: Balance(
            currency=_text(row, "currency", place),
            balance=_amount(row, "balance", place),
            locked=_amount(row, "locked", place),
            average_buy_price=_amount(row, "avg_buy_price", place),
        ),
    )


# --- orders ---------------------------------------------------------------------------------


def order_of(body: bytes, about: str, *, with_fills: bool = False) -> Order:
    """The order of an answer. with_fills: the answer must tell its trades (GET /v1/order)."""
    return _order(exact_json(body, about), about, with_fills=with_fills)


def orders_of(body: bytes, about: str) -> tuple[Order, ...]:
    """The orders of a list, in its order, each once."""
    rows = _list(exact_json(body, about), about)
    found = tuple(_order(row, f"{about} row {n}", with_fills=False) for n, row in enumerate(rows))
    uuids = [order.uuid for order in found]
    if len(set(uuids)) < len(uuids):
        raise MalformedAnswer(f"{about}: each order must come once, was {uuids}")
    return found


def _order(row: Any, about: str, *, with_fills: bool) -> Order:
    row = _object(row, about)
    uuid = _text(row, "uuid", about)
    place = f"{about}, order {uuid}"
    kind = _word(OrderType, row, "ord_type", place)
    side = _word(Side, row, "side", place)
    by_amount = kind is OrderType.PRICE or (kind is OrderType.BEST and side is Side.BID)
    by_volume = kind is OrderType.MARKET or (kind is OrderType.BEST and side is Side.ASK)

    def order() -> Order:
        return Order(
            market=_text(row, "market", place),
            uuid=uuid,
            side=side,
            ord_type=kind,
            state=_word(OrderState, row, "state", place),
            created_at=_time(row, "created_at", place),
            price=_amount_unless(by_volume, row, "price", place),
            volume=_amount_unless(by_amount, row, "volume", place),
            remaining_volume=_amount_unless(by_amount, row, "remaining_volume", place),
            executed_volume=_amount(row, "executed_volume", place),
            reserved_fee=_amount(row, "reserved_fee", place),
            remaining_fee=_amount(row, "remaining_fee", place),
            paid_fee=_amount(row, "paid_fee", place),
            locked=_amount(row, "locked", place),
            prevented_volume=_amount(row, "prevented_volume", place),
            prevented_locked=_amount(row, "prevented_locked", place),
            trades_count=_count(row, "trades_count", place),
            identifier=None if row.get("identifier") is None else _text(row, "identifier", place),
            time_in_force=_perhaps_word(TimeInForce, row, "time_in_force", place),
            smp_type=_perhaps_word(SmpType, row, "smp_type", place),
            fills=_fills(row, place) if with_fills else None,
        )

    return _built(place, order)


def _fills(row: Row, place: str) -> tuple[Fill, ...]:
    rows = _list(_field(row, "trades", place), f"{place} trades")
    found = tuple(_fill(one, f"{place} trade {n}") for n, one in enumerate(rows))
    uuids = [fill.uuid for fill in found]
    if len(set(uuids)) < len(uuids):
        raise MalformedAnswer(f"{place}: each trade must come once, was {uuids}")
    return found


def _fill(row: Any, place: str) -> Fill:
    row = _object(row, place)
    return _built(
        place,
        lambda: Fill(
            uuid=_text(row, "uuid", place),
            market=_text(row, "market", place),
            side=_word(Side, row, "side", place),
            price=_amount(row, "price", place),
            volume=_amount(row, "volume", place),
            funds=_amount(row, "funds", place),
            created_at=_time(row, "created_at", place),
        ),
    )


# --- the stream -----------------------------------------------------------------------------


def stream_frame(frame: bytes) -> Row:
    """The object of one WebSocket frame, text or binary."""
    return _object(exact_json(frame, "frame"), "frame")


def order_book_frame(row: Row, received_at: datetime) -> OrderBook:
    """The book of an orderbook frame in Upbit's DEFAULT format."""
    return _order_book(row, "code", "orderbook frame", received_at)


# --- single fields --------------------------------------------------------------------------


def _as_asked(
    found: Sequence[_T], markets: Sequence[str], about: str, code: Callable[[_T], str]
) -> tuple[_T, ...]:
    by_code = {code(one): one for one in found}
    missing = [market for market in markets if market not in by_code]
    if missing:
        raise MalformedAnswer(
            f"{about}: {', '.join(missing)} is missing, there are {show(sorted(by_code))}"
        )
    return tuple(by_code[market] for market in markets)


def _built(place: str, build: Callable[[], _T]) -> _T:
    """`build()`, its ValueError being a rule of model.py that this answer breaks."""
    try:
        return build()
    except ValueError as exc:
        raise MalformedAnswer(f"{place}: {exc}") from exc


def _field(row: Row, name: str, place: str) -> Any:
    if name not in row:
        raise MalformedAnswer(f"{place}: {name} is missing, there are {show(sorted(row))}")
    return row[name]


def _text(row: Row, name: str, place: str) -> str:
    found = _field(row, name, place)
    if not isinstance(found, str) or not found:
        _refuse(place, name, found, "must be a text")
    return found


def _texts(row: Row, name: str, place: str) -> frozenset[str]:
    found = _list(_field(row, name, place), f"{place} {name}")
    if not all(isinstance(one, str) for one in found):
        _refuse(place, name, found, "must be a list of texts")
    return frozenset(found)


def _flag(row: Row, name: str, place: str) -> bool:
    found = _field(row, name, place)
    if not isinstance(found, bool):
        _refuse(place, name, found, "must be true or false")
    return found


def _count(row: Row, name: str, place: str) -> int:
    found = _field(row, name, place)
    if isinstance(found, bool) or not isinstance(found, int):
        _refuse(place, name, found, "must be a whole number")
    return found


def _amount(row: Row, name: str, place: str) -> Decimal:
    """An amount, which REST sends as text and streams as a number; never below 0."""
    found = _field(row, name, place)
    if isinstance(found, str):
        is_amount = len(found) <= SHOWN and _NUMBER.fullmatch(found) is not None
    else:
        is_amount = isinstance(found, Decimal | int) and not isinstance(found, bool)
    if not is_amount:
        _refuse(place, name, found, "must be an amount")
    number = Decimal(found)
    if abs(number.adjusted()) > _LARGEST_EXPONENT or len(number.as_tuple().digits) > _MOST_DIGITS:
        _refuse(
            place, name, found, f"must lie within 1e±{_LARGEST_EXPONENT}, {_MOST_DIGITS} digits"
        )
    if number < 0:
        _refuse(place, name, found, "must not be negative")
    return number


def _word(kind: type[_E], row: Row, name: str, place: str) -> _E:
    found = _text(row, name, place)
    try:
        return kind(found)
    except ValueError:
        _refuse(place, name, found, f"must be one of {', '.join(kind)}")


def _time(row: Row, name: str, place: str) -> datetime:
    text = _text(row, name, place)
    try:
        return as_utc(datetime.fromisoformat(text))
    except ValueError:
        _refuse(place, name, text, "must be a time with a zone, like 2026-01-02T03:04:05+09:00")


def _milliseconds(row: Row, name: str, place: str) -> datetime:
    found = _count(row, name, place)
    # Seconds or microseconds in place of milliseconds would lie far outside 2001 to 2286.
    if not 10**12 <= found < 10**13:
        _refuse(place, name, found, "must be milliseconds since 1970")
    return _EPOCH + timedelta(milliseconds=found)


def _amount_unless(may_lack: bool, row: Row, name: str, place: str) -> Decimal | None:
    """An amount that orders of some types do not have: absent or null where `may_lack`."""
    return None if may_lack and row.get(name) is None else _amount(row, name, place)


def _perhaps_word(kind: type[_E], row: Row, name: str, place: str) -> _E | None:
    """A word that Upbit leaves out, or sends as null, where it does not apply."""
    return None if row.get(name) is None else _word(kind, row, name, place)


def _object(found: Any, place: str) -> Row:
    if not isinstance(found, dict):
        raise MalformedAnswer(f"{place}: must be an object, was {show(found)}")
    return found


def _list(found: Any, place: str) -> list[Any]:
    if not isinstance(found, list):
        raise MalformedAnswer(f"{place}: must be a list, was {show(found)}")
    return found


def _refuse(place: str, name: str, value: object, rule: str) -> NoReturn:
    raise MalformedAnswer(f"{place}: {name} = {show(value)} {rule}")
