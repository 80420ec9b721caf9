"""The streams at /websocket/v1 and /websocket/v1/private, driven by the exchange's own clock.

A pulse looks at the clock a few times a second, lets the exchange catch up and puts what is new
into the outbox of each connection; a stepped clock is stepped by `PaperExchange.step`. Only the
idle timeout and the pulse itself go by the machine's time: they concern the line, not the market.
Not here: what clients may say (`subscriptions.py`) and what messages look like (`forms.py`,
`stream_forms.py`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from trading_assets.paper_exchange import forms, quotation, stream_forms
from trading_assets.paper_exchange.account import Account, OrderEvent
from trading_assets.paper_exchange.auth import Gate, check_query
from trading_assets.paper_exchange.faults import FaultKind, Faults
from trading_assets.paper_exchange.limits import POCKET, RequestLimits
from trading_assets.paper_exchange.lines import cut, deny, first_of, heard_at
from trading_assets.paper_exchange.liquidity import Liquidity
from trading_assets.paper_exchange.markets import Markets
from trading_assets.paper_exchange.matching import DEPTH
from trading_assets.paper_exchange.recordings import RecordingEnded
from trading_assets.paper_exchange.refusals import Refusal
from trading_assets.paper_exchange.subscriptions import (
    PUBLIC_TYPES,
    Subscription,
    WrongMessage,
    stream_request,
)

PUBLIC_PATH = "/websocket/v1"
PRIVATE_PATH = "/websocket/v1/private"
IDLE_SECONDS = 120.0
PULSE_SECONDS = 0.05
_UP_EVERY_MS = 10_000
# A reader that is this far behind is cut off; real time data of an hour ago serves nobody.
_MOST_WAITING = 10_000

_log = logging.getLogger(__name__)

Json = dict[str, Any]
# Told what leaves and what arrives: ("frame", "orderbook KRW-BTC"), ("order", "/v1/orders").
Observer = Callable[[str, str], None]


@dataclass(eq=False)
class Connection:
    """One open stream. `seen`: the last state of each subscribed thing that it was told."""

    socket: WebSocket
    path: str
    limits: RequestLimits | None
    format: str = "DEFAULT"
    subscriptions: tuple[Subscription, ...] = ()
    seen: dict[tuple[Subscription, str], Any] = field(default_factory=dict)
    outbox: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue)
    up_from_ms: int | None = None
    active_at: float = 0.0

    def put(self, message: Json) -> None:
        """Queue a message in the connection's format; a reader far behind is cut off."""
        about = f"{message.get('type', '')} {message.get('code', '')}".strip()
        if "type" in message or "method" in message:
            if self.format.startswith("SIMPLE"):
                message = stream_forms.shortened(message)
            text = forms.encode([message] if self.format.endswith("LIST") else message)
        else:
            text = forms.encode(message)
        if self.outbox.qsize() >= _MOST_WAITING:
            cut(self.socket)
            return
        self.outbox.put_nowait((about, text))


class Streams:
    """All streams of one exchange.

    markets: the source of public messages, None when /websocket/v1 is served by somebody else.
    now_ms, catch_up: of the exchange. idle_seconds: after how long without traffic a stream ends.
    """

    def __init__(
        self,
        *,
        markets: Markets | None,
        account: Account,
        liquidity: Liquidity,
        gate: Gate,
        faults: Faults,
        limits: RequestLimits | None,
        now_ms: Callable[[], int],
        catch_up: Callable[[], Awaitable[None]],
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._markets = markets
        self._account = account
        self._liquidity = liquidity
        self._gate = gate
        self._faults = faults
        self._limits = limits
        self._now_ms = now_ms
        self._catch_up = catch_up
        self._idle_seconds = idle_seconds
        self._volumes = stream_forms.DayVolumes(markets) if markets is not None else None
        self._connections: set[Connection] = set()
        self._pulse: asyncio.Task[None] | None = None
        self.observer: Observer | None = None

    @property
    def open_count(self) -> int:
        return len(self._connections)

    # --- a connection ---------------------------------------------------------------------------

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream until it ends."""
        socket = WebSocket(scope, receive, send)
        path = scope["path"]
        refused = self._refused(socket, path)
        if refused is not None:
            await deny(socket, refused)
            return
        await socket.accept()
        if path == PRIVATE_PATH and not self._may_enter(socket):
            await socket.send_bytes(forms.encode(_INVALID_AUTH.body).encode())
            await socket.close()
            return
        limits = None if self._limits is None else RequestLimits()
        connection = Connection(socket, path, limits)
        connection.active_at = asyncio.get_running_loop().time()
        self._connections.add(connection)
        self._start_pulse()
        try:
            await first_of(
                self._listen(connection), self._speak(connection), self._end_when_idle(connection)
            )
        finally:
            self._connections.discard(connection)

    def _refused(self, socket: WebSocket, path: str) -> int | None:
        """The HTTP status with which the handshake is refused, or None."""
        now_ms = self._now_ms()
        if self._faults.since(FaultKind.DROP, path, now_ms) is not None:
            return 503
        if self._limits is None:
            return None
        address = socket.client.host if socket.client else "unknown"
        who = POCKET if path == PRIVATE_PATH else address
        status = self._limits.take(who, "websocket-connect", now_ms).status
        return None if status == 200 else status

    def _may_enter(self, socket: WebSocket) -> bool:
        try:
            check_query(self._gate.claims(socket.headers.get("authorization")), "")
        except Refusal:
            return False
        return True

    async def _listen(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = await connection.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            connection.active_at = loop.time()
            text = message.get("text")
            if text is None:
                text = message["bytes"].decode("utf-8", errors="replace")
            try:
                self._hear(connection, text)
            except WrongMessage as wrong:
                connection.put(wrong.body)

    async def _speak(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            about, text = await connection.outbox.get()
            if self.observer is not None and about:
                self.observer("frame", about)
            try:
                await connection.socket.send_bytes(text.encode())
            except (WebSocketDisconnect, RuntimeError):
                return  # the peer has gone; the listener notices as well
            connection.active_at = loop.time()

    async def _end_when_idle(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            quiet = loop.time() - max(connection.active_at, heard_at(connection.socket))
            if quiet >= self._idle_seconds:
                if connection.socket.client_state is WebSocketState.CONNECTED:
                    await connection.socket.close()
                return
            await asyncio.sleep(self._idle_seconds - quiet)

    # --- requests -------------------------------------------------------------------------------

    def _hear(self, connection: Connection, text: str) -> None:
        now_ms = self._now_ms()
        if text.strip() == "PING":
            connection.put({"status": "UP"})
            connection.up_from_ms = now_ms
            return
        self._count(connection, now_ms)
        request = stream_request(
            text,
            private=connection.path == PRIVATE_PATH,
            markets=self._liquidity.source.markets,
        )
        if request.subscriptions is None:
            connection.format = request.format or connection.format
            result = [one.listed() for one in connection.subscriptions]
            connection.put(
                {"method": "LIST_SUBSCRIPTIONS", "result": result, "ticket": request.ticket}
            )
            return
        # A new request takes the place of the one before (inferred).
        connection.format = request.format or "DEFAULT"
        connection.subscriptions = request.subscriptions
        connection.seen = {}
        self._begin(connection, now_ms)

    def _count(self, connection: Connection, now_ms: int) -> None:
        if connection.limits is None:
            return
        for group in ("websocket-message", "websocket-message-minute"):
            if connection.limits.take("connection", group, now_ms).status != 200:
                raise WrongMessage("TOO_MANY_REQUEST", "요청 한도를 초과했습니다.")

    # --- time goes on ---------------------------------------------------------------------------

    def _start_pulse(self) -> None:
        if self._pulse is None or self._pulse.done():
            self._pulse = asyncio.create_task(self._beat())
            self._pulse.add_done_callback(self._report)

    async def _beat(self) -> None:
        while self._connections:
            await self.step()
            await asyncio.sleep(PULSE_SECONDS)

    def _report(self, pulse: asyncio.Task[None]) -> None:
        """A pulse that failed must not leave streams that look alive."""
        if pulse.cancelled() or pulse.exception() is None:
            return
        _log.error("the streams have stopped", exc_info=pulse.exception())
        for connection in tuple(self._connections):
            cut(connection.socket)

    async def step(self) -> None:
        """Let the exchange catch up with its clock and queue whatever is new."""
        try:
            await self._catch_up()
        except RecordingEnded as exc:
            _log.warning("the streams are silent: %s", exc)
            return
        now_ms = self._now_ms()
        for connection in tuple(self._connections):
            self._tell(connection, now_ms)

    def _tell(self, connection: Connection, now_ms: int) -> None:
        if self._faults.since(FaultKind.DROP, connection.path, now_ms) is not None:
            cut(connection.socket)
            return
        if connection.up_from_ms is not None and now_ms - connection.up_from_ms >= _UP_EVERY_MS:
            connection.up_from_ms = now_ms
            connection.put({"status": "UP"})
        if self._is_silent(connection, now_ms):
            return
        for subscription in connection.subscriptions:
            if subscription.wants_realtime and subscription.kind in PUBLIC_TYPES:
                for code in subscription.codes:
                    self._tell_code(connection, subscription, code, now_ms)

    def _is_silent(self, connection: Connection, now_ms: int) -> bool:
        return self._faults.since(FaultKind.SILENT, connection.path, now_ms) is not None

    def _begin(self, connection: Connection, now_ms: int) -> None:
        """Snapshots, and from where the real time messages go on."""
        silent = self._is_silent(connection, now_ms)
        for subscription in connection.subscriptions:
            if subscription.kind not in PUBLIC_TYPES:
                continue
            for code in subscription.codes:
                seen = self._state(subscription, code, now_ms)
                connection.seen[subscription, code] = seen
                if subscription.wants_snapshot and not silent:
                    for message in self._messages(subscription, code, None, now_ms):
                        connection.put(message)

    def _tell_code(
        self, connection: Connection, subscription: Subscription, code: str, now_ms: int
    ) -> None:
        key = (subscription, code)
        before, state = connection.seen.get(key), self._state(subscription, code, now_ms)
        if state == before:
            return
        connection.seen[key] = state
        for message in self._messages(subscription, code, before, now_ms):
            connection.put(message)

    def _prices_ms(self, now_ms: int) -> int:
        """The moment whose prices are shown: an earlier one while the fault `stale` lasts."""
        began = self._faults.since(FaultKind.STALE, PUBLIC_PATH, now_ms)
        if began is None:
            began = self._faults.since(FaultKind.STALE, "/v1/", now_ms)
        return now_ms if began is None else began

    def _state(self, subscription: Subscription, code: str, now_ms: int) -> Any:
        """What changes whenever there is something new to say of a code."""
        assert self._markets is not None
        moment = self._prices_ms(now_ms)
        # Standing prices are repeated each second: a stream can be old without being silent.
        again = now_ms // 1000 if moment != now_ms else None
        market = code.partition(".")[0]
        if subscription.kind == "orderbook":
            return self._liquidity.shown(market, moment).key, again
        last = self._markets.last_trades(market, moment + 1, 1)
        number = int(last.sequential_id[-1]) if len(last) else 0
        return number, again if subscription.kind == "ticker" else None

    def _messages(
        self, subscription: Subscription, code: str, before: Any, now_ms: int
    ) -> list[Json]:
        """What is new since the state `before`, None for a snapshot."""
        assert self._markets is not None
        assert self._volumes is not None
        moment = self._prices_ms(now_ms)
        kind = "SNAPSHOT" if before is None else "REALTIME"
        market, _, depth = code.partition(".")
        if subscription.kind == "orderbook":
            query = {"level": str(subscription.level), "count": depth or str(DEPTH)}
            rows = book_rows(self._markets, self._liquidity, {"markets": market, **query}, moment)
            return [stream_forms.orderbook(row, kind) for row in rows]
        if subscription.kind == "ticker":
            return [stream_forms.ticker(self._markets, self._volumes, market, moment, kind)]
        made = self._markets.last_trades(market, moment + 1, 1)
        if before is not None and len(made):
            # Ids begin with the time in ms of their trade.
            made = self._markets.trades(market, before[0] // 10_000, moment + 1)
            made = made.rows(int(made.sequential_id.searchsorted(before[0], "right")), len(made))
        book = self._liquidity.shown(market, moment)
        return stream_forms.trades(self._markets, made, book, moment, kind)

    # --- the account ----------------------------------------------------------------------------

    def publish(self, events: Sequence[OrderEvent]) -> None:
        """Tell the private streams what has happened; there is no snapshot and no replay."""
        now_ms = self._now_ms()
        for connection in tuple(self._connections):
            if connection.path != PRIVATE_PATH or self._is_silent(connection, now_ms):
                continue
            for subscription in connection.subscriptions:
                if subscription.kind == "myOrder":
                    for event in events:
                        if event.order.terms.market in (subscription.codes or [_market(event)]):
                            connection.put(forms.my_order(event, now_ms))
                elif subscription.kind == "myAsset":
                    self._put_assets(connection, events, now_ms)

    def _put_assets(
        self, connection: Connection, events: Sequence[OrderEvent], now_ms: int
    ) -> None:
        touched = {currency for event in events for currency in forms.touched(event)}
        held = [balance for balance in self._account.balances() if balance.currency in touched]
        if held:
            uuid = self._account.new_uuid("assets", 0)
            made_ms = events[-1].made_us // 1000
            connection.put(forms.my_asset(uuid, held, made_ms, now_ms))


def book_rows(
    markets: Markets, liquidity: Liquidity, query: quotation.Query, now_ms: int
) -> list[Json]:
    """GET /v1/orderbook with the books that were set by hand in their places."""
    rows = quotation.orderbooks(markets, query, now_ms)
    for place, row in enumerate(rows):
        pinned = liquidity.pinned(row["market"])
        if pinned is not None:
            count = int(query.get("count") or DEPTH)
            rows[place] = stream_forms.pinned_orderbook(pinned, count)
    return rows


_INVALID_AUTH = WrongMessage("INVALID_AUTH", "인증 정보가 올바르지 않습니다.")


def _market(event: OrderEvent) -> str:
    return event.order.terms.market
