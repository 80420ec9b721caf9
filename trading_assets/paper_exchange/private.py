"""The private endpoints: what each asks of the desk and how its answer is put together.

An endpoint takes parameters and gives (status, JSON) or raises Refusal. Not here: tokens
(`auth.py`), request limits and bytes (`server.py`).
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trading_assets.exchange.model import OrderState, Side
from trading_assets.paper_exchange import forms
from trading_assets.paper_exchange.account import unfilled
from trading_assets.paper_exchange.desk import AS_USUAL, Desk, Handling
from trading_assets.paper_exchange.markets import to_ms
from trading_assets.paper_exchange.orders import PaperOrder
from trading_assets.paper_exchange.refusals import (
    Refusal,
    invalid_parameter,
    order_not_found,
    unknown_market,
)

WEEK_MS = 7 * 86_400_000
# Upbit's keys are good for a year; those of play money always have a whole one left.
_KEY_LASTS_MS = 365 * 86_400_000
_MOST_IDS = 100
_MOST_CANCELLED_IDS = 20
_MOST_CANCELLED = 300
_MOST_PAIRS = 20
_OPEN_LIMIT = 100
_CLOSED_LIMIT = 1000
_CANCEL_AND_NEW = (
    ("new_ord_type", "ord_type"),
    ("new_volume", "volume"),
    ("new_price", "price"),
    ("new_identifier", "identifier"),
    ("new_time_in_force", "time_in_force"),
    ("new_smp_type", "smp_type"),
)

Answer = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A private request. now_ms: the exchange's time. fields: of a POST's body, else empty.

    pairs: of the query, in its order, names without `[]`. access_key: whose token it carries.
    """

    desk: Desk
    now_ms: int
    pairs: Sequence[tuple[str, str]]
    fields: Mapping[str, Any]
    handling: Handling = AS_USUAL
    access_key: str = ""

    def one(self, name: str) -> str | None:
        """The last value of a parameter; an empty one counts as absent."""
        found = self.many(name)
        return found[-1] if found else None

    def many(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name and value]

    def words(self, name: str, allowed: Sequence[str], default: str) -> str:
        found = self.one(name) or default
        if found not in allowed:
            raise invalid_parameter(f"{name} must be one of {', '.join(allowed)}")
        return found

    def whole(self, name: str, default: int, highest: int) -> int:
        text = self.one(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= highest:
            raise invalid_parameter(f"{name} must be 1 to {highest}")
        return int(text)

    def comma_separated(self, name: str) -> list[str]:
        return [part for text in self.many(name) for part in text.split(",") if part]


# --- reading ------------------------------------------------------------------------------------


async def accounts(call: Call) -> Answer:
    return 200, forms.account_rows(call.desk.account.balances())


async def api_keys(call: Call) -> Answer:
    return 200, [forms.api_key(call.access_key, call.now_ms + _KEY_LASTS_MS)]


async def order_chance(call: Call) -> Answer:
    market = call.one("market")
    if market is None:
        raise invalid_parameter("market is missing")
    if "-" not in market:
        raise unknown_market(market)
    await call.desk.liquidity.source.refresh([market], call.now_ms)
    quote, _, base = market.partition("-")
    account = call.desk.account
    return 200, forms.chance(
        market, account.fee_rate, account.balance(quote), account.balance(base)
    )


async def order(call: Call) -> Answer:
    found = _find(call, call.one("uuid"), call.one("identifier"))
    return 200, forms.order_with_trades(found, call.desk.account.trades(found.uuid))


async def orders_by_ids(call: Call) -> Answer:
    market = call.one("market")
    found = [o for o in _by_ids(call, _MOST_IDS) if market in (None, o.terms.market)]
    return 200, [forms.order_row(o) for o in _ordered(call, found)]


async def open_orders(call: Call) -> Answer:
    states = _states(call, (OrderState.WAIT, OrderState.WATCH), default=(OrderState.WAIT,))
    limit = call.whole("limit", _OPEN_LIMIT, _OPEN_LIMIT)
    first = (call.whole("page", 1, 10**6) - 1) * limit
    market = call.one("market")
    waiting = call.desk.account.open_orders(market) if OrderState.WAIT in states else ()
    shown = _ordered(call, [o for o in waiting if o.visible_ms <= call.now_ms])
    return 200, [forms.order_row(o) for o in shown[first : first + limit]]


async def closed_orders(call: Call) -> Answer:
    terminal = (OrderState.DONE, OrderState.CANCEL)
    states = _states(call, terminal, default=terminal)
    limit = call.whole("limit", _OPEN_LIMIT, _CLOSED_LIMIT)
    start_ms, end_ms = _window(call)
    market = call.one("market")
    found = [
        o
        for o in call.desk.account.orders(states, start_ms, end_ms)
        if market in (None, o.terms.market) and o.visible_ms <= call.now_ms
    ]
    return 200, [forms.order_row(o) for o in _ordered(call, found)[:limit]]


# --- ordering -----------------------------------------------------------------------------------


async def create_order(call: Call) -> Answer:
    await _know_market(call, call.fields.get("market"))
    accepted = call.desk.place(call.fields, call.now_ms, call.handling)
    return 201, forms.order_row(accepted)


async def create_test_order(call: Call) -> Answer:
    await _know_market(call, call.fields.get("market"))
    terms = call.desk.check(call.fields, call.now_ms)
    locked, fee = call.desk.account.reserve(terms)
    return 201, forms.order_row(unfilled(terms, str(uuid.uuid4()), call.now_ms, locked, fee))


async def cancel_and_new(call: Call) -> Answer:
    fields = call.fields
    previous = _find(call, fields.get("prev_order_uuid"), fields.get("prev_order_identifier"))
    if not previous.is_open or previous.cancel_asked:
        raise order_not_found()
    wanted: dict[str, Any] = {"market": previous.terms.market, "side": previous.terms.side.value}
    wanted |= {name: fields[key] for key, name in _CANCEL_AND_NEW if fields.get(key) is not None}
    if wanted.get("volume") == "remain_only":
        if previous.remaining_volume is None:
            raise invalid_parameter("remain_only needs an order with a volume")
        wanted["volume"] = format(previous.remaining_volume, "f")
    await _know_market(call, previous.terms.market)
    new = call.desk.replace(previous, wanted, call.now_ms, call.handling)
    answer = {**forms.order_row(previous), "new_order_uuid": new.uuid}
    if new.terms.identifier is not None:
        answer["new_order_identifier"] = new.terms.identifier
    return 201, answer


# --- cancelling ---------------------------------------------------------------------------------


async def cancel_order(call: Call) -> Answer:
    found = _find(call, call.one("uuid"), call.one("identifier"))
    return 200, forms.order_row(call.desk.cancel(found))


async def cancel_by_ids(call: Call) -> Answer:
    return 200, _cancel_all(call, _by_ids(call, _MOST_CANCELLED_IDS))


async def cancel_open(call: Call) -> Answer:
    side = call.words("cancel_side", ("all", *Side), "all")
    pairs, excluded = call.comma_separated("pairs"), call.comma_separated("excluded_pairs")
    quotes = call.comma_separated("quote_currencies")
    if pairs and quotes:
        raise invalid_parameter("pairs and quote_currencies do not go together")
    if max(len(pairs), len(excluded)) > _MOST_PAIRS:
        raise invalid_parameter(f"at most {_MOST_PAIRS} pairs")
    chosen = [
        o
        for o in call.desk.account.open_orders()
        if side in ("all", o.terms.side)
        and (not pairs or o.terms.market in pairs)
        and (not quotes or o.terms.quote in quotes)
        and o.terms.market not in excluded
        and o.visible_ms <= call.now_ms
    ]
    count = call.whole("count", 20, _MOST_CANCELLED)
    return 200, _cancel_all(call, _ordered(call, chosen)[:count])


def _cancel_all(call: Call, orders: Sequence[PaperOrder]) -> forms.Json:
    success = [call.desk.cancel(o) for o in orders if o.is_open]
    return forms.cancelled_rows(success, [o for o in orders if not o.is_open])


# --- how ----------------------------------------------------------------------------------------


async def _know_market(call: Call, market: Any) -> None:
    """Make the market's book known before anything is decided; a wrong name is refused later."""
    if isinstance(market, str) and market:
        await call.desk.liquidity.source.refresh([market], call.now_ms)


def _find(call: Call, order_uuid: Any, identifier: Any) -> PaperOrder:
    """The order of a uuid or an identifier (the uuid wins). Raises Refusal."""
    if not order_uuid and not identifier:
        raise invalid_parameter("uuid or identifier is missing")
    account = call.desk.account
    try:
        if order_uuid:
            found = account.order(order_uuid=str(order_uuid))
        else:
            found = account.order(identifier=str(identifier))
    except KeyError:
        raise order_not_found() from None
    if found.visible_ms > call.now_ms:
        raise order_not_found()
    return found


def _by_ids(call: Call, most: int) -> list[PaperOrder]:
    """The orders of `uuids[]` or `identifiers[]`; unknown ones are left out."""
    uuids, identifiers = call.many("uuids"), call.many("identifiers")
    if bool(uuids) == bool(identifiers):
        raise invalid_parameter("uuids or identifiers, one of them, must be given")
    if len(uuids or identifiers) > most:
        raise invalid_parameter(f"at most {most} at once")
    found = []
    for one in dict.fromkeys(uuids or identifiers):
        try:
            found.append(_find(call, one, None) if uuids else _find(call, None, one))
        except Refusal:
            continue  # documented: what is not found is simply not in the list
    return found


def _states(
    call: Call, allowed: Sequence[OrderState], default: Sequence[OrderState]
) -> Sequence[OrderState]:
    given = call.many("states") or call.many("state")
    if call.many("states") and call.many("state"):
        raise invalid_parameter("state and states do not go together")
    if not set(given) <= set(allowed):
        raise invalid_parameter(f"states must be among {', '.join(allowed)}")
    return [OrderState(text) for text in given] or default


def _ordered(call: Call, orders: Sequence[PaperOrder]) -> list[PaperOrder]:
    newest_first = call.words("order_by", ("asc", "desc"), "desc") == "desc"
    return sorted(orders, key=lambda o: o.number, reverse=newest_first)


def _window(call: Call) -> tuple[int, int]:
    """The window of creation times, both ends included; seven days at most."""
    start, end = _moment(call, "start_time"), _moment(call, "end_time")
    if end is None:
        end = call.now_ms if start is None else start + WEEK_MS
    if start is None:
        start = end - WEEK_MS
    if not 0 <= end - start <= WEEK_MS:
        raise invalid_parameter("start_time and end_time must be 0 to 7 days apart")
    return start, end


def _moment(call: Call, name: str) -> int | None:
    text = call.one(name)
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise invalid_parameter(f"{name} must be ISO 8601 or milliseconds") from None
    return to_ms(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A private endpoint: its limit group and what answers."""

    method: str
    path: str
    group: str
    answer: Callable[[Call], Awaitable[Answer]]


ENDPOINTS = (
    Endpoint("GET", "/v1/accounts", "default", accounts),
    Endpoint("GET", "/v1/api_keys", "default", api_keys),
    Endpoint("GET", "/v1/orders/chance", "default", order_chance),
    Endpoint("GET", "/v1/order", "default", order),
    Endpoint("GET", "/v1/orders/uuids", "default", orders_by_ids),
    Endpoint("GET", "/v1/orders/open", "default", open_orders),
    Endpoint("GET", "/v1/orders/closed", "default", closed_orders),
    Endpoint("POST", "/v1/orders", "order", create_order),
    Endpoint("POST", "/v1/orders/test", "order-test", create_test_order),
    Endpoint("POST", "/v1/orders/cancel_and_new", "order", cancel_and_new),
    Endpoint("DELETE", "/v1/order", "default", cancel_order),
    Endpoint("DELETE", "/v1/orders/uuids", "default", cancel_by_ids),
    Endpoint("DELETE", "/v1/orders/open", "order-cancel-all", cancel_open),
)
