"""Quotes, balances and orders of Upbit, or of what speaks its protocol, behind api.py.

Reads are repeated a bounded number of times; a POST is sent once and its outcome is told as
accepted, refused or unknown, never guessed. Every amount is exact and sent as plain digits. The SDK
does the transport (upbit_http.py) and is imported when a client is built. Not here: when to order,
and what to do about an unknown outcome (`trading`).
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import ceil, floor
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from trading_assets.clock import Clock, as_utc
from trading_assets.errors import (
    CredentialsRefused,
    ExchangeMaintenance,
    ExchangeUnavailable,
    MalformedAnswer,
    OrderOutcomeUnknown,
    RateLimited,
    TryAgain,
)
from trading_assets.exchange import answers
from trading_assets.exchange.limits import Group, Limits, limits
from trading_assets.exchange.model import (
    Balance,
    Instrument,
    Market,
    MarketRules,
    Order,
    OrderBook,
    OrderRequest,
    check_identifier,
)
from trading_assets.exchange.refusals import Answer, NoAnswer, no_answer, order_refusal, refusal
from trading_assets.settings import LOOPBACK_HOSTS, Settings, TradingMode

READ_ATTEMPTS: Final = 3

# The paper exchange's own account, when the settings name no key: play money needs no secret.
PAPER_ACCESS_KEY = "paper-exchange-access-key"
PAPER_SECRET_KEY = "paper-exchange-secret-key-of-the-sandbox-and-paper-modes"

_NO_KEYS = (SecretStr(""), SecretStr(""))
_FIRST_BACKOFF_SECONDS = 0.2
_OPEN_PAGE = 100
_MOST_ROUNDS = 5
_CLOSED_PAGE = 1000
_CLOSED_WINDOW = timedelta(days=7) - timedelta(seconds=1)  # 7 days at most, rounding included
_MOST_IDENTIFIERS = 100
_START_IT = "start the paper exchange with `make paper-exchange` or `trading-assets paper-exchange`"

_T = TypeVar("_T")
# Takes the SDK's raw-response client, makes one request of it.
SdkCall = Callable[[Any], Any]


class Transport(Protocol):
    """One request, one answer: upbit_http.UpbitHttp."""

    def send(self, call: SdkCall) -> Answer:
        """Raises NoAnswer."""

    def close(self) -> None: ...


class _Requests:
    """Limits, bounded repetition and errors of the requests of one exchange."""

    def __init__(
        self,
        transport: Transport,
        limiters: Limits,
        clock: Clock,
        *,
        where: str,
        attempts: int,
        jitter: random.Random,
    ) -> None:
        self._transport = transport
        self._limits = limiters
        self._clock = clock
        self._where = where
        self._attempts = attempts
        self._jitter = jitter

    def read(self, group: Group, about: str, call: SdkCall, parse: Callable[[bytes], _T]) -> _T:
        """What `parse` makes of the answer, asked again while the failure may pass.

        After 429 once the window is over, after a failed connection, a timeout or a 5xx with a
        growing, jittered wait. Never after maintenance, 418 or another 4xx.
        """
        for attempt in range(1, self._attempts + 1):
            try:
                return parse(self.once(group, about, call))
            except ExchangeMaintenance:
                raise
            except TryAgain as exc:
                if attempt == self._attempts:
                    raise
                if not isinstance(exc, RateLimited):  # the limiter waits for the next window
                    longest = _FIRST_BACKOFF_SECONDS * 2**attempt
                    self._clock.sleep(longest * self._jitter.uniform(0.5, 1.0))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def once(self, group: Group, about: str, call: SdkCall) -> bytes:
        """The body of a successful answer to exactly one request."""
        try:
            answer = self._send(group, call)
        except NoAnswer as exc:
            raise self._no_answer(exc, about) from exc
        if not answer.is_success:
            raise refusal(answer, about)
        return answer.body

    def order(self, about: str, call: SdkCall, parse: Callable[[bytes], _T]) -> _T:
        """What `parse` makes of the answer to a new order, sent once. Raises as Trading.place."""
        self._limits.acquire(Group.ORDER)
        try:
            answer = self._transport.send(call)
            self._limits.heed(Group.ORDER, answer)
        except NoAnswer as exc:
            cause = self._no_answer(exc, about)
            if not exc.sent:
                raise cause from exc
            raise OrderOutcomeUnknown(f"{cause}; the order may or may not exist") from cause
        except Exception as exc:
            # Whatever it was (a full disk under the limiter), the order may have left before it.
            raise OrderOutcomeUnknown(f"{about}: {exc}; the order may or may not exist") from exc
        if not answer.is_success:
            raise order_refusal(answer, about)
        try:
            return parse(answer.body)
        except MalformedAnswer as exc:
            raise OrderOutcomeUnknown(
                f"{about}: answered {answer.status}, but not with the order; it probably exists "
                f"({exc})"
            ) from exc

    def close(self) -> None:
        self._transport.close()

    def _send(self, group: Group, call: SdkCall) -> Answer:
        self._limits.acquire(group)
        answer = self._transport.send(call)
        self._limits.heed(group, answer)
        return answer

    def _no_answer(self, reason: NoAnswer, about: str) -> ExchangeUnavailable:
        if not reason.sent and urlsplit(self._where).hostname in LOOPBACK_HOSTS:
            return ExchangeUnavailable(f"{about}: nothing answers at {self._where}: {_START_IT}")
        return no_answer(reason, f"{about} at {self._where}")


class UpbitQuotation:
    """api.Quotation over REST. Thread-safe. Build with `quotation`."""

    def __init__(self, requests: _Requests, clock: Clock) -> None:
        self._requests = requests
        self._clock = clock

    def markets(self) -> tuple[Market, ...]:
        return self._requests.read(
            Group.MARKET,
            "market/all",
            lambda sdk: sdk.trading_pairs.list(is_details=True),
            answers.markets_of,
        )

    def order_books(self, markets: Sequence[str]) -> tuple[OrderBook, ...]:
        codes = ",".join(_some(markets))
        return self._requests.read(
            Group.ORDERBOOK,
            f"orderbook {codes}",
            lambda sdk: sdk.orderbooks.list(markets=codes),
            lambda body: answers.order_books_of(body, markets, self._clock.now()),
        )

    def instruments(self, markets: Sequence[str]) -> tuple[Instrument, ...]:
        codes = ",".join(_some(markets))
        return self._requests.read(
            Group.ORDERBOOK,
            f"orderbook/instruments {codes}",
            lambda sdk: sdk.orderbooks.list_instruments(markets=codes),
            lambda body: answers.instruments_of(body, markets),
        )

    def close(self) -> None:
        self._requests.close()


class UpbitTrading:
    """api.Trading over REST. Thread-safe. Build with `trading`."""

    def __init__(self, requests: _Requests, access_key: SecretStr) -> None:
        self._requests = requests
        self._access_key = access_key

    def balances(self) -> tuple[Balance, ...]:
        return self._requests.read(
            Group.DEFAULT, "accounts", lambda sdk: sdk.accounts.list(), answers.balances_of
        )

    def key_ends_at(self) -> datetime:
        ends_at = self._requests.read(
            Group.DEFAULT,
            "api_keys",
            lambda sdk: sdk.api_keys.list(),
            lambda body: answers.key_end_of(body, self._access_key.get_secret_value()),
        )
        if ends_at is None:
            raise MalformedAnswer("api_keys: must tell when the key that asks expires")
        return ends_at

    def rules(self, market: str) -> MarketRules:
        return self._requests.read(
            Group.DEFAULT,
            f"orders/chance {market}",
            lambda sdk: sdk.orders.retrieve_chance(market=market),
            lambda body: answers.rules_of(body, market),
        )

    def place(self, request: OrderRequest) -> Order:
        about = _about(request)
        return self._requests.order(
            about,
            lambda sdk: sdk.orders.create(**request.fields()),
            lambda body: _of(request, answers.order_of(body, about), about),
        )

    def test_order(self, request: OrderRequest) -> None:
        about = f"test of {_about(request)}"
        body = self._requests.once(
            Group.ORDER_TEST, about, lambda sdk: sdk.orders.test_create(**request.fields())
        )
        answers.order_of(body, about)

    def order(self, *, uuid: str | None = None, identifier: str | None = None) -> Order:
        name = _one_name(uuid, identifier)
        about = f"order {_only_value(name)}"
        return self._requests.read(
            Group.DEFAULT,
            about,
            lambda sdk: sdk.orders.retrieve(**name),
            lambda body: answers.order_of(body, about, with_fills=True),
        )

    def orders_by_identifier(self, identifiers: Sequence[str]) -> tuple[Order, ...]:
        if not 1 <= len(identifiers) <= _MOST_IDENTIFIERS:
            raise ValueError(
                f"identifiers must be 1 to {_MOST_IDENTIFIERS}, were {len(identifiers)}"
            )
        for identifier in identifiers:
            check_identifier(identifier)
        return self._requests.read(
            Group.DEFAULT,
            "orders/uuids",
            lambda sdk: sdk.orders.list_by_uuids(identifiers=list(identifiers)),
            lambda body: answers.orders_of(body, "orders/uuids"),
        )

    def open_orders(self, market: str | None = None) -> tuple[Order, ...]:
        """As api.Trading. With more than one page, all pages are read until two rounds agree:
        an order that ends meanwhile moves the others over the edge between two pages."""
        orders = self._open_pages(market)
        for _ in range(_MOST_ROUNDS):
            again = orders if len(orders) < _OPEN_PAGE else self._open_pages(market)
            if again.keys() == orders.keys():
                return tuple(again.values())
            orders = again
        raise ExchangeUnavailable(
            f"orders/open: {len(orders)} orders changed in each of {_MOST_ROUNDS} readings"
        )

    def closed_orders(
        self, start: datetime, end: datetime, market: str | None = None
    ) -> tuple[Order, ...]:
        found: dict[str, Order] = {}
        begin, last = as_utc(start), as_utc(end)
        while begin < last:
            until = min(begin + _CLOSED_WINDOW, last)
            for order in self._closed_window(begin, until, market):
                # The exchange's end is inclusive or not, by millisecond: ours decides.
                if as_utc(start) <= order.created_at < last:
                    found[order.uuid] = order
            begin = until
        return tuple(sorted(found.values(), key=lambda order: order.created_at))

    def cancel(self, *, uuid: str | None = None, identifier: str | None = None) -> Order:
        name = _one_name(uuid, identifier)
        about = f"cancel of order {_only_value(name)}"
        body = self._requests.once(Group.DEFAULT, about, lambda sdk: sdk.orders.cancel(**name))
        return answers.order_of(body, about)

    def close(self) -> None:
        self._requests.close()

    def _open_pages(self, market: str | None) -> dict[str, Order]:
        """All open orders by uuid, newest first."""
        found: dict[str, Order] = {}
        page = 1
        while True:
            fields = {"states": ["wait", "watch"], "page": page, "limit": _OPEN_PAGE}
            rows = self._list("open", fields | _of_market(market))
            found |= {order.uuid: order for order in rows}
            if len(rows) < _OPEN_PAGE:
                return found
            page += 1

    def _closed_window(
        self, start: datetime, end: datetime, market: str | None
    ) -> tuple[Order, ...]:
        """The ended orders made in a window of at most 7 days, halved while its list is full."""
        fields = {
            "states": ["done", "cancel"],
            "start_time": str(floor(start.timestamp() * 1000)),
            "end_time": str(ceil(end.timestamp() * 1000)),
            "limit": _CLOSED_PAGE,
            "order_by": "asc",
        }
        rows = self._list("closed", fields | _of_market(market))
        if len(rows) < _CLOSED_PAGE:
            return rows
        middle = start + (end - start) / 2
        if end - start < timedelta(seconds=1):
            raise MalformedAnswer(
                f"orders/closed: {len(rows)} orders within a second of {start.isoformat()}"
            )
        return (
            *self._closed_window(start, middle, market),
            *self._closed_window(middle, end, market),
        )

    def _list(self, kind: str, fields: dict[str, Any]) -> tuple[Order, ...]:
        about = f"orders/{kind}"
        return self._requests.read(
            Group.DEFAULT,
            about,
            lambda sdk: getattr(sdk.orders, f"list_{kind}")(**fields),
            lambda body: answers.orders_of(body, about),
        )


def quotation(settings: Settings, clock: Clock, *, attempts: int = READ_ATTEMPTS) -> UpbitQuotation:
    """The public client of the settings' exchange. Raises SettingsError for a wrong host."""
    return UpbitQuotation(_requests(settings, clock, attempts, keys=_NO_KEYS), clock)


def trading(settings: Settings, clock: Clock, *, attempts: int = READ_ATTEMPTS) -> UpbitTrading:
    """The account's client of the settings' exchange.

    Raises SettingsError for a wrong host, CredentialsRefused without keys in live mode.
    """
    keys = account_keys(settings)
    return UpbitTrading(_requests(settings, clock, attempts, keys=keys), keys[0])


def account_keys(settings: Settings) -> tuple[SecretStr, SecretStr]:
    """Access key and secret key. Without any set, the paper exchange's own account is used.

    Raises CredentialsRefused in live mode, and when only one of the two is set.
    """
    access, secret = settings.upbit_access_key, settings.upbit_secret_key
    if access is not None and secret is not None:
        return access, secret
    if settings.trading_mode is TradingMode.LIVE or access is not None or secret is not None:
        raise CredentialsRefused(
            "the account needs both UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY (in .env): "
            f"{'one' if access or secret else 'neither'} is set"
        )
    return SecretStr(PAPER_ACCESS_KEY), SecretStr(PAPER_SECRET_KEY)


def _requests(
    settings: Settings, clock: Clock, attempts: int, keys: tuple[SecretStr, SecretStr]
) -> _Requests:
    # The SDK and httpx cost half a second of CPU: only a process that asks something pays.
    from trading_assets.exchange.upbit_http import UpbitHttp

    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, was {attempts}")
    transport = UpbitHttp(
        settings.exchange_base_url,
        settings.trading_mode,
        access_key=keys[0],
        secret_key=keys[1],
        timeout_seconds=float(settings.request_timeout_seconds),
        clock=clock,
    )
    return _Requests(
        transport,
        limits(settings, clock),
        clock,
        where=settings.exchange_base_url,
        attempts=attempts,
        # Seeded by the system on purpose: processes that fail together must not retry together.
        jitter=random.Random(),
    )


def _of(request: OrderRequest, order: Order, about: str) -> Order:
    """`order`, which must be the one of `request`. Raises MalformedAnswer."""
    told = (order.market, order.side, order.ord_type, order.identifier or request.identifier)
    asked = (request.market, request.side, request.ord_type, request.identifier)
    if told != asked:
        raise MalformedAnswer(f"{about}: the answer must be about {asked}, was about {told}")
    return order


def _about(request: OrderRequest) -> str:
    return f"order {request.identifier} ({request.market} {request.side} {request.ord_type})"


def _one_name(uuid: str | None, identifier: str | None) -> dict[str, str]:
    if (uuid is None) == (identifier is None):
        raise ValueError("an order is named by exactly one of uuid and identifier")
    name = {"uuid": uuid} if identifier is None else {"identifier": identifier}
    for value in name.values():
        check_identifier(value or "")
    return {key: value for key, value in name.items() if value is not None}


def _only_value(name: dict[str, str]) -> str:
    (value,) = name.values()
    return value


def _of_market(market: str | None) -> dict[str, str]:
    return {} if market is None else {"market": market}


def _some(markets: Sequence[str]) -> Sequence[str]:
    if not markets:
        raise ValueError("at least one market must be asked for")
    return markets
