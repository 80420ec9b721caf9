"""What the tests of the private half share: a signed client, a desk without a server, a still book.

The desk stands at NOW_MS in a market whose book the test sets by hand, so every expected number
can be worked out on paper.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx
import jwt

from trading_assets.paper_exchange.account import Account, OrderEvent
from trading_assets.paper_exchange.desk import Desk
from trading_assets.paper_exchange.liquidity import Liquidity
from trading_assets.paper_exchange.matching import Book

MARKET = "KRW-BTC"
NOW_MS = 1_795_428_425_000  # 2026-11-23 10:07:05 UTC
ACCESS, SECRET = "test-access-key", "test-secret-key-" * 4

Pairs = Sequence[tuple[str, str]]


class Signed:
    """An httpx client that signs as the documents say: independent of upbit-sdk and of auth.py."""

    def __init__(
        self, url: str, *, access: str = ACCESS, secret: str = SECRET, algorithm: str = "HS512"
    ) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        self._access, self._secret, self._algorithm = access, secret, algorithm

    def token(self, query: str, **claims: Any) -> str:
        payload: dict[str, Any] = {"access_key": self._access, "nonce": str(uuid.uuid4())}
        if query:
            payload["query_hash"] = hashlib.sha512(query.encode()).hexdigest()
            payload["query_hash_alg"] = "SHA512"
        return jwt.encode({**payload, **claims}, self._secret, algorithm=self._algorithm)

    def get(self, path: str, pairs: Pairs = (), **claims: Any) -> httpx.Response:
        return self._with_query("GET", path, pairs, claims)

    def delete(self, path: str, pairs: Pairs = (), **claims: Any) -> httpx.Response:
        return self._with_query("DELETE", path, pairs, claims)

    def post(self, path: str, body: Mapping[str, str], **claims: Any) -> httpx.Response:
        query = "&".join(f"{name}={value}" for name, value in body.items())
        return self._http.post(path, json=dict(body), headers=self.headers(query, **claims))

    def headers(self, query: str = "", **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(query, **claims)}"}

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, path, **options)

    def _with_query(
        self, method: str, path: str, pairs: Pairs, claims: Mapping[str, Any]
    ) -> httpx.Response:
        query = "&".join(f"{name}={value}" for name, value in pairs)
        encoded = "&".join(f"{quote(name, safe='[]')}={quote(value)}" for name, value in pairs)
        target = f"{path}?{encoded}" if pairs else path
        return self._http.request(method, target, headers=self.headers(query, **claims))


class NoSource:
    """A book source that has no book of its own: the test sets all of them."""

    markets = (MARKET, "KRW-ETH")

    async def refresh(self, markets: Any, now_ms: int) -> None:
        del markets, now_ms

    def book(self, market: str, now_ms: int) -> Book:
        raise AssertionError(f"no book was set for {market} at {now_ms}")

    def looks(self, *args: Any) -> list[int]:
        del args
        return []


class Hand:
    """A desk with an account in memory, everything that it published, and short words for it."""

    def __init__(self, krw: str = "10000000", coins: str = "0") -> None:
        self.account = Account(starting_krw=Decimal(krw))
        self.liquidity = Liquidity(NoSource())
        self.events: list[OrderEvent] = []
        self.desk = Desk(self.account, self.liquidity, self.events.extend, NOW_MS)
        if Decimal(coins):
            with self.account.change() as change:
                change.deposit("BTC", Decimal(coins))

    def book(self, bids: Pairs, asks: Pairs, now_ms: int = NOW_MS) -> None:
        self.liquidity.pin(MARKET, bids, asks, now_ms)

    def place(self, side: str, ord_type: str, now_ms: int = NOW_MS, **fields: str) -> str:
        """Place an order; returns its uuid."""
        body = {"market": MARKET, "side": side, "ord_type": ord_type, **fields}
        return self.desk.place(body, now_ms).uuid

    def order(self, uuid: str) -> Any:
        return self.account.order(order_uuid=uuid)

    def krw(self) -> tuple[str, str]:
        held = self.account.balance("KRW")
        return format(held.balance, "f"), format(held.locked, "f")

    def btc(self) -> tuple[str, str]:
        held = self.account.balance("BTC")
        return format(held.balance, "f"), format(held.locked, "f")

    def kinds(self) -> list[str]:
        """What was published, in order."""
        return [event.kind.value for event in self.events]
