"""The price stream over real sockets: connections that end, refuse, are silent or talk nonsense."""

import json
import random
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.sync.server import Server, ServerConnection, serve

from trading_assets.clock import Clock, SteppedClock, SystemClock
from trading_assets.errors import ExchangeTimeout, MarketNotFound, SettingsError
from trading_assets.exchange import upbit
from trading_assets.exchange.answers import order_books_of
from trading_assets.exchange.api import Price, PriceSource, PriceStream, Quotation
from trading_assets.exchange.limits import limits
from trading_assets.exchange.model import Instrument, Market, OrderBook
from trading_assets.exchange.stream import StreamTimes, UpbitPriceStream, price_stream, stream_url
from trading_assets.settings import load_settings
from trading_assets_tests.exchange.scripted import Reply, Request, book_body, exchange, told

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
T0 = 1_787_729_042_606  # the exchange's time of the first book, milliseconds
LONG = 20.0  # seconds that no working test waits for
FAST = StreamTimes(rest_after=0.05, silence=5, ping=5, first_backoff=0.01, longest_backoff=0.05)
NO_REST = StreamTimes(rest_after=3600, silence=5, ping=5, first_backoff=0.01, longest_backoff=0.05)
D = Decimal


def frame(bid: int, time: int = T0, market: str = "KRW-BTC", kind: str = "REALTIME") -> str:
    (book,) = book_body([market], bid=bid, time=time)
    code = book.pop("market")
    return json.dumps({"type": "orderbook", "code": code, **book, "stream_type": kind})


@dataclass
class Books:
    """Quotation whose books a test sets: a bid by market, or an error to raise."""

    bids: dict[str, int] = field(default_factory=dict)
    time: int = T0
    error: Exception | None = None
    clock: Clock = field(default_factory=SystemClock)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def order_books(self, markets: Sequence[str]) -> tuple[OrderBook, ...]:
        self.asked.append(tuple(markets))
        if self.error is not None:
            raise self.error
        unknown = [market for market in markets if market not in self.bids]
        if unknown:
            raise MarketNotFound(f"{unknown} are not listed")
        rows = [book_body([m], bid=self.bids[m], time=self.time)[0] for m in markets]
        return order_books_of(json.dumps(rows).encode(), markets, self.clock.now())

    def markets(self) -> tuple[Market, ...]:
        raise NotImplementedError

    def instruments(self, markets: Sequence[str]) -> tuple[Instrument, ...]:
        raise NotImplementedError


Handler = Callable[[ServerConnection, int], None]


@dataclass
class Feed:
    """A running WebSocket server; `subscriptions` are the first frames of its clients."""

    url: str
    subscriptions: list[Any]
    handshakes: list[Handshake]


@contextmanager
def feed(
    handler: Handler, refuse: Callable[[int], int | None] = lambda _: None, port: int = 0
) -> Iterator[Feed]:
    """`handler(connection, n)` for the n-th client (from 0) after its subscription has come.

    refuse: the HTTP status that the n-th handshake gets in place of a connection, or None.
    """
    subscriptions: list[Any] = []
    handshakes: list[Handshake] = []
    lock = threading.Lock()

    def handle(connection: ServerConnection) -> None:
        first = json.loads(connection.recv())
        with lock:
            subscriptions.append(first)
            number = len(subscriptions) - 1
        handler(connection, number)

    def check(connection: ServerConnection, request: Handshake) -> Response | None:
        with lock:
            handshakes.append(request)
            status = refuse(len(handshakes) - 1)
        return None if status is None else connection.respond(HTTPStatus(status), "no")

    server: Server = serve(
        handle, "127.0.0.1", port, process_request=check, compression=None, close_timeout=0.2
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        found = server.socket.getsockname()[1]
        yield Feed(f"ws://127.0.0.1:{found}/websocket/v1", subscriptions, handshakes)
    finally:
        server.shutdown()
        thread.join(timeout=10)


def stay(connection: ServerConnection) -> None:
    """Keep the connection until the other side ends it."""
    for _ in connection:
        pass


@contextmanager
def listening(
    url: str,
    quotation: Quotation | None = None,
    *,
    markets: Sequence[str] = ("KRW-BTC",),
    clock: Clock | None = None,
    times: StreamTimes = NO_REST,
    depth: int | None = None,
) -> Iterator[UpbitPriceStream]:
    clock = clock or SystemClock()
    stream = UpbitPriceStream(
        url,
        markets,
        quotation or Books(),
        # The limiter of connects has its own tests; a stepped clock makes its waits free here.
        limits(load_settings(), SteppedClock(NOW)),
        clock,
        depth=depth,
        times=times,
        jitter=random.Random(1),
    )
    with stream:
        yield stream


def until(stream: PriceStream, bid: int, market: str = "KRW-BTC") -> Price:
    """The first price with that bid."""
    number = 0
    while True:
        price = stream.wait_for_next(market, number, LONG)
        assert price is not None, f"no bid of {bid}: {stream.health()}"
        if price.quote.bid == bid:
            return price
        number = price.number


def nothing_listens() -> tuple[str, int]:
    """The address of a port that was just free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"ws://127.0.0.1:{port}/websocket/v1", port


# --- frames ---------------------------------------------------------------------------------


def test_binary_and_text_frames_become_prices_in_their_order() -> None:
    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(100_000, kind="SNAPSHOT").encode())  # binary, as Upbit sends
        connection.send(frame(101_000, T0 + 1))
        stay(connection)

    with feed(handler) as server, listening(server.url) as stream:
        price = until(stream, 101_000)
    assert price.number == 2
    assert price.source is PriceSource.STREAM
    assert (price.quote.ask, price.quote.bid_size) == (D(101_100), D("0.5"))
    assert price.quote.exchange_time == datetime(2026, 8, 26, 7, 24, 2, 607_000, tzinfo=UTC)
    assert stream.latest("KRW-BTC") == price


def test_the_subscription_names_its_markets_levels_and_a_ticket_and_no_origin() -> None:
    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(100_000))
        stay(connection)

    with (
        feed(handler) as server,
        listening(server.url, markets=("KRW-BTC", "KRW-ETH"), depth=5) as stream,
    ):
        until(stream, 100_000)
    ticket, wanted, form = server.subscriptions[0]
    assert list(ticket) == ["ticket"]
    assert wanted == {"type": "orderbook", "codes": ["KRW-BTC.5", "KRW-ETH.5"]}
    assert form == {"format": "DEFAULT"}
    assert "origin" not in {name.lower() for name in server.handshakes[0].headers}


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff\xfe\x00",
        b"",
        "not json",
        "[]",
        "{}",
        '{"type": "orderbook", "code": "KRW-BTC"}',
        '{"type": "ticker", "code": "KRW-BTC", "trade_price": 1}',
        '{"error": {"name": "WRONG_FORMAT", "message": "no"}}',
        frame(200_000).replace("200000", "-1"),
        frame(200_000).replace("200000", "NaN"),
        frame(200_000).replace("0.5", '"much"'),
        frame(200_000, market="KRW-XRP"),
        frame(200_000, time=17),
    ],
)
def test_a_frame_of_nonsense_confirms_nothing_and_the_next_good_one_does(
    nonsense: str | bytes,
) -> None:
    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(nonsense)
        connection.send(frame(101_000, T0 + 1))
        stay(connection)

    with feed(handler) as server, listening(server.url) as stream:
        price = until(stream, 101_000)
        health = stream.health()
    assert price.number == 1
    assert health.refused_frames == 1
    assert "MalformedAnswer" in health.last_problem
    assert health.connections == 1


def test_the_answer_to_a_text_ping_is_no_price_and_no_nonsense() -> None:
    def handler(connection: ServerConnection, _: int) -> None:
        connection.send('{"status": "UP"}')
        connection.send(frame(101_000))
        stay(connection)

    with feed(handler) as server, listening(server.url) as stream:
        until(stream, 101_000)
        assert stream.health().refused_frames == 0


def test_a_frame_that_arrives_out_of_order_does_not_bring_an_old_price_back() -> None:
    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(101_000, T0 + 10))
        connection.send(frame(99_000, T0 + 5))
        connection.send(frame(102_000, T0 + 11))
        stay(connection)

    with feed(handler) as server, listening(server.url) as stream:
        assert until(stream, 102_000).number == 2


def test_a_repeated_frame_confirms_the_price_it_repeats() -> None:
    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(100_000))
        connection.send(frame(100_000))
        stay(connection)

    with feed(handler) as server, listening(server.url) as stream:
        assert stream.wait_for_next("KRW-BTC", 1, LONG) is not None


# --- connections ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1011])
def test_it_reconnects_after_every_close_also_a_clean_one(code: int) -> None:
    def handler(connection: ServerConnection, number: int) -> None:
        connection.send(frame(100_000 + 1000 * number, T0 + number))
        if number < 3:
            connection.close(code)
        else:
            stay(connection)

    with feed(handler) as server, listening(server.url) as stream:
        until(stream, 103_000)
        assert stream.health().connections == 4


def test_it_reconnects_after_the_connection_is_torn() -> None:
    def handler(connection: ServerConnection, number: int) -> None:
        connection.send(frame(100_000 + 1000 * number, T0 + number))
        if number == 0:
            connection.socket.shutdown(socket.SHUT_RDWR)
        else:
            stay(connection)

    with feed(handler) as server, listening(server.url) as stream:
        until(stream, 101_000)


def test_it_keeps_trying_while_nobody_listens_and_while_it_is_refused() -> None:
    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(100_000))
        stay(connection)

    def refuse(number: int) -> int | None:
        return 503 if number < 3 else None

    url, port = nothing_listens()
    with listening(url) as stream:
        while "refused" not in stream.health().last_problem.lower():
            assert stream.wait_for_next("KRW-BTC", 0, 0.01) is None
        with feed(handler, refuse, port) as server:
            until(stream, 100_000)
            assert len(server.handshakes) == 4
            assert "503" in stream.health().last_problem


def test_a_server_that_never_answers_the_handshake_is_given_up() -> None:
    times = StreamTimes(
        rest_after=3600, silence=5, ping=5, connect=0.1, first_backoff=0.01, longest_backoff=0.05
    )
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"ws://127.0.0.1:{mute.getsockname()[1]}/websocket/v1"
        with listening(url, times=times) as stream:
            while "Timeout" not in stream.health().last_problem:
                assert stream.wait_for_next("KRW-BTC", 0, 0.01) is None
            assert stream.health().connections == 0


def test_a_server_that_falls_silent_is_left_for_a_new_connection() -> None:
    times = StreamTimes(
        rest_after=3600, silence=0.2, ping=60, first_backoff=0.01, longest_backoff=0.05
    )

    def handler(connection: ServerConnection, number: int) -> None:
        if number > 0:
            connection.send(frame(100_000))
        stay(connection)

    with feed(handler) as server, listening(server.url, times=times) as stream:
        until(stream, 100_000)
        assert "no frame for 0.2 s" in stream.health().last_problem


def test_a_server_that_answers_no_ping_is_left_for_a_new_connection() -> None:
    """A frozen server: the kernel takes our pings, nobody answers them."""
    times = StreamTimes(
        rest_after=3600, silence=60, ping=0.1, first_backoff=0.01, longest_backoff=0.05
    )

    def handler(connection: ServerConnection, number: int) -> None:
        connection.send(frame(100_000 + 1000 * number, T0 + number))
        if number == 0:
            connection.protocol.receive_data = lambda data: None  # type: ignore[method-assign]
        stay(connection)

    with feed(handler) as server, listening(server.url, times=times) as stream:
        until(stream, 101_000)
        assert "ping timeout" in stream.health().last_problem


def test_it_sends_pings_long_before_the_exchange_ends_an_idle_connection() -> None:
    pinged = threading.Event()

    def handler(connection: ServerConnection, _: int) -> None:
        receive = connection.protocol.receive_data

        def watch(data: bytes) -> None:
            if data[:1] == b"\x89":  # a final frame with the opcode of a ping
                pinged.set()
            receive(data)

        connection.protocol.receive_data = watch  # type: ignore[method-assign]
        stay(connection)

    times = StreamTimes(rest_after=3600, silence=60, ping=0.05)
    with feed(handler) as server, listening(server.url, times=times):
        assert pinged.wait(LONG)
    assert StreamTimes().ping < 120


def test_a_418_keeps_every_process_from_connecting_again() -> None:
    settings = load_settings()
    clock = SteppedClock(NOW)

    with feed(lambda *_: None, lambda _: 418) as server:
        stream = UpbitPriceStream(
            server.url, ["KRW-BTC"], Books(), limits(settings, clock), clock, times=NO_REST
        )
        with stream:
            while "IpBlocked" not in stream.health().last_problem:
                assert stream.wait_for_next("KRW-BTC", 0, 0.01) is None
        assert len(server.handshakes) == 1


def test_the_waits_between_connects_double_up_to_their_limit_and_are_jittered() -> None:
    times = StreamTimes(first_backoff=0.25, longest_backoff=10)
    stream = UpbitPriceStream(
        "ws://127.0.0.1:1/",
        ["KRW-BTC"],
        Books(),
        limits(load_settings(), SteppedClock(NOW)),
        SteppedClock(NOW),
        times=times,
        jitter=random.Random(3),
    )
    waits = [stream._backoff(failures) for failures in (0, 1, 2, 5, 6, 1000)]
    # 0.25 x 2^n, at most 10, each times 0.5 to 1.
    for wait, longest in zip(waits, (0.25, 0.5, 1.0, 8.0, 10.0, 10.0), strict=True):
        assert longest / 2 <= wait <= longest


# --- REST -----------------------------------------------------------------------------------


def test_while_the_stream_is_down_the_book_is_asked_for_by_rest() -> None:
    url, _ = nothing_listens()
    books = Books({"KRW-BTC": 100_000})
    with listening(url, books, times=FAST) as stream:
        price = until(stream, 100_000)
        assert price.source is PriceSource.REST
        books.time, books.bids = T0 + 1, {"KRW-BTC": 99_000}
        until(stream, 99_000)
        assert not stream.health().connected


def test_a_silent_stream_is_confirmed_by_rest_and_the_stream_takes_over_again() -> None:
    go_on = threading.Event()

    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(100_000, kind="SNAPSHOT"))
        go_on.wait(LONG)
        connection.send(frame(101_000, T0 + 10))
        stay(connection)

    books = Books({"KRW-BTC": 100_000})
    with feed(handler) as server, listening(server.url, books, times=FAST) as stream:
        price = until(stream, 100_000)
        while price.source is PriceSource.STREAM:
            price = stream.wait_for_next("KRW-BTC", price.number, LONG) or price
        assert price.quote.bid == 100_000
        go_on.set()
        assert until(stream, 101_000).source is PriceSource.STREAM
        # From here on the REST book of T0 is older than the frame of T0 + 10: it confirms nothing.
        rest_answers = stream.health().rest_answers
        while stream.health().rest_answers < rest_answers + 2:
            assert stream.wait_for_next("KRW-BTC", 10**9, 0.01) is None
        latest = stream.latest("KRW-BTC")
        assert latest is not None
        assert (latest.quote.bid, latest.source) == (D(101_000), PriceSource.STREAM)


def test_rest_is_not_asked_while_frames_confirm_the_price() -> None:
    """The clock stands still, so the frame stays fresh for ever."""

    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(100_000))
        stay(connection)

    clock = SteppedClock(NOW)
    books = Books({"KRW-BTC": 100_000}, clock=clock)
    with feed(handler) as server, listening(server.url, books, times=FAST, clock=clock) as stream:
        price = until(stream, 100_000)
        asked = len(books.asked)  # before the first frame it may have been asked
        assert stream.wait_for_next("KRW-BTC", price.number + 5, 0.3) is None
        assert len(books.asked) == asked
        # The frame may have come after a book of the same price.
        newest = stream.latest("KRW-BTC")
        assert newest is not None
        clock.advance(timedelta(milliseconds=50))
        assert stream.wait_for_next("KRW-BTC", newest.number, LONG) is not None
        assert len(books.asked) > asked


def test_a_price_that_nobody_confirms_grows_old_and_health_says_why() -> None:
    def handler(connection: ServerConnection, number: int) -> None:
        if number == 0:
            connection.send(frame(100_000))
        stay(connection)

    clock = SteppedClock(NOW)
    books = Books(error=ExchangeTimeout("the exchange did not answer"))
    with feed(handler) as server, listening(server.url, books, times=FAST, clock=clock) as stream:
        price = until(stream, 100_000)
        assert price.age(clock.now()) == timedelta(0)
        clock.advance(timedelta(seconds=5))
        while "did not answer" not in stream.health().last_problem:
            assert stream.wait_for_next("KRW-BTC", price.number, 0.01) is None
        latest = stream.latest("KRW-BTC")
        assert latest is not None
        assert latest.age(clock.now()) == timedelta(seconds=5)
        assert stream.health().running
    assert price.age(NOW - timedelta(hours=9)) == timedelta(hours=9)  # a clock that was set back


def test_a_failure_of_the_machine_does_not_end_the_asking_by_rest() -> None:
    """No file can be opened for a while: neither the limiter's nor a socket."""
    url, _ = nothing_listens()
    books = Books({"KRW-BTC": 100_000}, error=OSError(24, "Too many open files"))
    with listening(url, books, times=FAST) as stream:
        while len(books.asked) < 3:
            assert stream.wait_for_next("KRW-BTC", 0, 0.01) is None
            assert stream.health().running
        books.error = None
        assert until(stream, 100_000).source is PriceSource.REST


def test_one_market_that_is_gone_does_not_hide_the_others() -> None:
    url, _ = nothing_listens()
    books = Books({"KRW-BTC": 100_000})
    with listening(url, books, markets=("KRW-GONE", "KRW-BTC"), times=FAST) as stream:
        until(stream, 100_000)
        assert stream.latest("KRW-GONE") is None
    assert ("KRW-GONE", "KRW-BTC") in books.asked
    assert ("KRW-BTC",) in books.asked


def test_it_works_with_the_real_client_as_its_rest_side() -> None:
    def respond(_: Request) -> Reply:
        return told(book_body(["KRW-BTC"], bid=100_000, time=T0))

    with exchange(respond) as server:
        settings = load_settings({"exchange_url": server.url})
        clock = SystemClock()
        client = upbit.quotation(settings, clock, attempts=1)
        with price_stream(settings, clock, ["KRW-BTC"], client, times=FAST) as stream:
            assert until(stream, 100_000).source is PriceSource.REST
        client.close()


# --- waiting, clocks, stopping --------------------------------------------------------------


def test_waiting_ends_with_the_next_confirmation_or_with_its_time() -> None:
    send = threading.Event()

    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(100_000))
        send.wait(LONG)
        connection.send(frame(101_000, T0 + 1))
        stay(connection)

    with feed(handler) as server, listening(server.url) as stream:
        price = until(stream, 100_000)
        assert stream.wait_for_next("KRW-BTC", price.number, 0.01) is None
        send.set()
        following = stream.wait_for_next("KRW-BTC", price.number, LONG)
        assert following is not None
        assert following.quote.bid == 101_000
        with pytest.raises(KeyError):
            stream.wait_for_next("KRW-XRP", 0, 0.01)


def test_the_lag_is_that_of_the_freshest_frame_and_snapshots_do_not_count() -> None:
    """Our clock stands 3,000 ms after T0: lags of 3,000 (snapshot), 500 and 2,000 ms."""
    clock = SteppedClock(datetime.fromtimestamp(T0 / 1000, UTC) + timedelta(seconds=3))

    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(100_000, T0, kind="SNAPSHOT"))
        connection.send(frame(101_000, T0 + 2500))
        connection.send(frame(102_000, T0 + 2501))
        stay(connection)

    with feed(handler) as server, listening(server.url, clock=clock) as stream:
        assert stream.health().lag in (
            None,
            timedelta(milliseconds=500),
            timedelta(milliseconds=499),
        )
        price = until(stream, 102_000)
        assert stream.health().lag == timedelta(milliseconds=499)
        assert price.quote.lag == timedelta(milliseconds=499)


def test_stopping_ends_threads_and_waiting_and_keeps_the_last_price() -> None:
    def handler(connection: ServerConnection, _: int) -> None:
        connection.send(frame(100_000))
        stay(connection)

    with feed(handler) as server:
        with listening(server.url) as stream:
            price = until(stream, 100_000)
            waiting: list[Price | None] = []
            waiter = threading.Thread(
                target=lambda: waiting.append(stream.wait_for_next("KRW-BTC", 10**9, 3600))
            )
            waiter.start()
        waiter.join(timeout=LONG)
        assert waiting == [None]
        assert stream.latest("KRW-BTC") == price
        health = stream.health()
        assert (health.running, health.connected) == (False, False)
        assert not [t for t in threading.enumerate() if t.name.startswith("prices ")]
        with pytest.raises(RuntimeError, match="started once"):
            stream.start()


def test_stopping_does_not_wait_for_a_handshake_that_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"ws://127.0.0.1:{mute.getsockname()[1]}/websocket/v1"
        times = StreamTimes(rest_after=3600, connect=3600)
        with listening(url, times=times):
            mute.accept()  # it has connected and now waits for the answer
        assert not [t for t in threading.enumerate() if t.name.startswith("prices ")]


def test_the_stream_goes_to_upbit_in_live_and_to_this_machine_otherwise() -> None:
    live = load_settings({"trading_mode": "live", "profile": "swing"})
    assert stream_url(live) == "wss://api.upbit.com/websocket/v1"
    sandbox = load_settings()
    assert stream_url(sandbox) == "ws://127.0.0.1:8700/websocket/v1"
    for settings, other in ((live, "http://127.0.0.1:8700"), (sandbox, "https://api.upbit.com")):
        with pytest.raises(SettingsError, match="only listens to"):
            stream_url(settings.model_copy(update={"exchange_url": other}))


@pytest.mark.parametrize(
    "wrong",
    [{"rest_after": 0}, {"silence": -1}, {"ping": 0}, {"first_backoff": 2, "longest_backoff": 1}],
)
def test_times_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        StreamTimes(**wrong)
