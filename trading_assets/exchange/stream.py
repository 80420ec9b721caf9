"""The freshest prices: order books over a WebSocket, by REST whenever that is silent.

One thread listens and reconnects for ever, another asks for the book of every market that no frame
has confirmed for two seconds. A price is as old as its last confirmation, by either; a stream
without frames and without REST answers simply grows old, and says why. Waiting here is on sockets
and threads, so its time-outs are real seconds; ages are by the clock handed in. Not here: what to
do about a price.
"""

import json
import random
import socket
import threading
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ldexp
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from trading_assets.clock import Clock
from trading_assets.errors import (
    ExchangeUnavailable,
    MalformedAnswer,
    MarketNotFound,
    SettingsError,
    TradingAssetsError,
)
from trading_assets.exchange.answers import order_book_frame, stream_frame
from trading_assets.exchange.api import Price, PriceSource, Quotation, StreamHealth
from trading_assets.exchange.limits import Group, Limits, limits
from trading_assets.exchange.model import Quote
from trading_assets.exchange.refusals import Answer
from trading_assets.settings import LOOPBACK_HOSTS, UPBIT_URL, Settings, TradingMode

_PATH = "/websocket/v1"
_LAGS_KEPT = 50
_MAX_FRAME_BYTES = 2**20
_CLOSE_SECONDS = 1.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """When a stream does what, in seconds.

    rest_after: without a confirmation, a market's book is asked for by REST. silence: without any
    frame, the connection is given up. ping: between our pings (Upbit ends idle connections after
    120). first_backoff, longest_backoff: before a reconnect, doubling, times a jitter of 0.5 to 1.
    """

    rest_after: float = 2.0
    silence: float = 30.0
    ping: float = 20.0
    connect: float = 5.0
    first_backoff: float = 0.25
    longest_backoff: float = 10.0

    def __post_init__(self) -> None:
        for name in ("rest_after", "silence", "ping", "connect", "first_backoff"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, was {getattr(self, name)}")
        if self.longest_backoff < self.first_backoff:
            raise ValueError("longest_backoff must not be below first_backoff")


class UpbitPriceStream:
    """api.PriceStream over Upbit's WebSocket. Build with `price_stream`; use `with` to stop it."""

    def __init__(
        self,
        url: str,
        markets: Sequence[str],
        quotation: Quotation,
        limiters: Limits,
        clock: Clock,
        *,
        depth: int | None = None,
        times: StreamTimes | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        """url: ws:// or wss://, with the path. depth: levels in a frame (1, 5, 15; None: 30)."""
        if not markets:
            raise ValueError("a price stream needs at least one market")
        self._url = url
        self._codes = [market if depth is None else f"{market}.{depth}" for market in markets]
        self._quotation = quotation
        self._limits = limiters
        self._clock = clock
        self._times = times or StreamTimes()
        self._jitter = jitter or random.Random()
        self._board = _Board(markets, clock)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._socket_lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._connection: ClientConnection | None = None

    def start(self) -> None:
        if self._threads or self._stopping.is_set():
            raise RuntimeError("a price stream is started once")
        for run in (self._listen_for_ever, self._ask_for_ever):
            thread = threading.Thread(target=run, name=f"prices {run.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._board.stop()
        with self._socket_lock:
            connection, raw = self._connection, self._socket
        if connection is not None:
            connection.close()
        elif raw is not None:
            _shut(raw)
        for thread in self._threads:
            thread.join(timeout=_STOP_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    def latest(self, market: str) -> Price | None:
        return self._board.latest(market)

    def wait_for_next(self, market: str, after: int, timeout_seconds: float) -> Price | None:
        return self._board.wait_for_next(market, after, timeout_seconds)

    def health(self) -> StreamHealth:
        running = bool(self._threads) and all(thread.is_alive() for thread in self._threads)
        return self._board.health(running=running)

    # --- the WebSocket ------------------------------------------------------------------------

    def _listen_for_ever(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            frames = self._board.frames
            try:
                self._listen_once()
            except (OSError, EOFError, WebSocketException, TradingAssetsError) as exc:
                self._note(exc)
            # A connection that brought frames was a good one: begin again with the short wait.
            failures = 0 if self._board.frames > frames else failures + 1
            self._stopping.wait(self._backoff(failures))

    def _listen_once(self) -> None:
        """Connect, subscribe and read until the connection ends, however it ends."""
        self._limits.acquire(Group.WEBSOCKET_CONNECT)
        connection = self._opened()
        with connection:
            connection.send(self._subscription())
            self._board.connected()
            try:
                self._read(connection)
            finally:
                self._board.disconnected()
                self._hold(None, None)

    def _opened(self) -> ClientConnection:
        target = urlsplit(self._url)
        port = target.port or (443 if target.scheme == "wss" else 80)
        # Our own socket, so that stop() can end a handshake that the other side never answers.
        raw = socket.create_connection((target.hostname or "", port), self._times.connect)
        self._hold(raw, None)
        try:
            connection = connect(
                self._url,
                sock=raw,
                compression=None,  # a book is small; inflating it would cost more than sending it
                proxy=None,
                open_timeout=self._times.connect,
                ping_interval=self._times.ping,
                ping_timeout=self._times.ping,
                close_timeout=_CLOSE_SECONDS,
                max_size=_MAX_FRAME_BYTES,
            )
            self._hold(raw, connection)
            return connection
        except InvalidStatus as exc:
            response = exc.response
            headers = {name.lower(): value for name, value in response.headers.raw_items()}
            answer = Answer(response.status_code, headers, response.body or b"")
            self._limits.heed(Group.WEBSOCKET_CONNECT, answer)
            raise ExchangeUnavailable(f"the stream was refused: {answer.words}") from exc

    def _hold(self, raw: socket.socket | None, connection: ClientConnection | None) -> None:
        """Keep what stop() has to end; end it here when stop() came first."""
        with self._socket_lock:
            self._socket, self._connection = raw, connection
            if self._stopping.is_set() and raw is not None:
                _shut(raw)

    def _subscription(self) -> str:
        return json.dumps(
            [
                {"ticket": str(uuid.uuid4())},
                {"type": "orderbook", "codes": self._codes},
                {"format": "DEFAULT"},
            ]
        )

    def _read(self, connection: ClientConnection) -> None:
        """Take frames until the connection ends. Raises what ended it."""
        while not self._stopping.is_set():
            try:
                frame = connection.recv(timeout=self._times.silence, decode=False)
            except TimeoutError:
                raise ExchangeUnavailable(
                    f"no frame for {self._times.silence:g} s, connecting anew"
                ) from None
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        received_at = self._clock.now()
        try:
            row = stream_frame(frame)
            if row.get("type") == "orderbook":
                quote = order_book_frame(row, received_at).quote
                self._board.take_frame(quote, is_snapshot=row.get("stream_type") == "SNAPSHOT")
            elif "error" in row:
                raise MalformedAnswer(f"the stream says {row['error']}")
            elif row.get("status") != "UP":
                raise MalformedAnswer(f"a frame of an unknown kind: {sorted(row)}")
        except MalformedAnswer as exc:
            # The price is not confirmed by it and grows old; the next frame may be good.
            self._board.refuse_frame()
            self._note(exc)

    def _backoff(self, failures: int) -> float:
        doubled = ldexp(self._times.first_backoff, min(failures, 20))
        return min(doubled, self._times.longest_backoff) * self._jitter.uniform(0.5, 1.0)

    # --- REST ---------------------------------------------------------------------------------

    def _ask_for_ever(self) -> None:
        """Ask for the books of the markets without a fresh confirmation, several times in the
        time after which one is due."""
        wait = self._times.rest_after / 4
        while not self._stopping.wait(wait):
            old = self._board.unconfirmed_for(timedelta(seconds=self._times.rest_after))
            if old:
                self._ask(old)

    def _ask(self, markets: Sequence[str]) -> None:
        try:
            for book in self._quotation.order_books(markets):
                self._board.take_rest(book.quote)
        except MarketNotFound as exc:
            self._note(exc)
            if len(markets) > 1:  # one unknown market must not hide the others
                for market in markets:
                    self._ask([market])
        except (TradingAssetsError, OSError) as exc:
            self._note(exc)

    def _note(self, problem: BaseException) -> None:
        if not self._stopping.is_set():
            self._board.note(f"{type(problem).__name__}: {problem}")


class _Board:
    """The last price of each market, and who waits for the next one. Thread-safe."""

    def __init__(self, markets: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._prices: dict[str, Price | None] = dict.fromkeys(markets)
        self._lags: deque[timedelta] = deque(maxlen=_LAGS_KEPT)
        self._connected = False
        self._stopped = False
        self._connections = self._frames = self._refused = self._rest_answers = 0
        self._last_problem = ""

    @property
    def frames(self) -> int:
        return self._frames

    def latest(self, market: str) -> Price | None:
        with self._changed:
            return self._prices[market]

    def wait_for_next(self, market: str, after: int, timeout_seconds: float) -> Price | None:
        def newer() -> Price | None:
            price = self._prices[market]
            return price if price is not None and price.number > after else None

        with self._changed:
            self._changed.wait_for(lambda: newer() or self._stopped, timeout_seconds)
            return newer()

    def unconfirmed_for(self, longest: timedelta) -> list[str]:
        """The markets without a price or with one that old."""
        now = self._clock.now()
        with self._changed:
            return [
                market
                for market, price in self._prices.items()
                if price is None or price.age(now) >= longest
            ]

    def take_frame(self, quote: Quote, *, is_snapshot: bool) -> None:
        """A frame of the stream. A snapshot is the present book by definition; any other one that
        is older than what we have arrived out of order and says nothing."""
        with self._changed:
            self._check_known(quote)
            self._frames += 1
            if not is_snapshot:
                self._lags.append(quote.lag)
            if is_snapshot or not self._is_older(quote):
                self._put(quote, PriceSource.STREAM)

    def take_rest(self, quote: Quote) -> None:
        """A book asked for by REST; one from a cache behind the stream confirms nothing."""
        with self._changed:
            self._check_known(quote)
            self._rest_answers += 1
            if not self._is_older(quote):
                self._put(quote, PriceSource.REST)

    def refuse_frame(self) -> None:
        with self._changed:
            self._refused += 1

    def connected(self) -> None:
        with self._changed:
            self._connected = True
            self._connections += 1

    def disconnected(self) -> None:
        with self._changed:
            self._connected = False

    def note(self, problem: str) -> None:
        with self._changed:
            self._last_problem = f"{self._clock.now().isoformat(timespec='seconds')} {problem}"

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def health(self, *, running: bool) -> StreamHealth:
        with self._changed:
            return StreamHealth(
                connected=self._connected,
                running=running,
                connections=self._connections,
                frames=self._frames,
                refused_frames=self._refused,
                rest_answers=self._rest_answers,
                lag=min(self._lags, default=None),
                last_problem=self._last_problem,
            )

    def _check_known(self, quote: Quote) -> None:
        if quote.market not in self._prices:
            raise MalformedAnswer(f"{quote.market} was not asked for")

    def _is_older(self, quote: Quote) -> bool:
        price = self._prices[quote.market]
        return price is not None and quote.exchange_time < price.quote.exchange_time

    def _put(self, quote: Quote, source: PriceSource) -> None:
        before = self._prices[quote.market]
        number = 1 if before is None else before.number + 1
        self._prices[quote.market] = Price(quote, number, quote.received_at, source)
        self._changed.notify_all()


def price_stream(
    settings: Settings,
    clock: Clock,
    markets: Sequence[str],
    quotation: Quotation,
    *,
    depth: int | None = None,
    times: StreamTimes | None = None,
) -> UpbitPriceStream:
    """The stream of the settings' exchange, not started.

    quotation: what asks by REST; build it with attempts=1, the stream itself asks again.
    Raises SettingsError for a wrong host.
    """
    return UpbitPriceStream(
        stream_url(settings),
        markets,
        quotation,
        limits(settings, clock),
        clock,
        depth=depth,
        times=times,
    )


def stream_url(settings: Settings) -> str:
    """The address of the public stream; in live only Upbit's, otherwise only this machine's.

    Raises SettingsError.
    """
    base = settings.exchange_base_url
    if settings.trading_mode is TradingMode.LIVE:
        if base != UPBIT_URL:
            raise SettingsError(f"live mode only listens to {UPBIT_URL}, not to {base}")
    elif urlsplit(base).hostname not in LOOPBACK_HOSTS:
        raise SettingsError(
            f"{settings.trading_mode} mode only listens to an exchange on this machine "
            f"(127.0.0.1), not to {base}"
        )
    scheme, _, rest = base.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{_PATH}"


def _shut(raw: socket.socket) -> None:
    """Wake whoever reads or writes there; the connection's owner closes it."""
    try:
        raw.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it ended by itself
