"""The trading client over real sockets: what arrives, and what every kind of answer becomes."""

import json
import logging
import os
import random
import shutil
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trading_assets.clock import SteppedClock, SystemClock
from trading_assets.errors import (
    BadRequest,
    CredentialsRefused,
    DuplicatedIdentifier,
    ExchangeMaintenance,
    ExchangeTimeout,
    ExchangeUnavailable,
    InsufficientFunds,
    IpBlocked,
    MalformedAnswer,
    MarketNotFound,
    OrderNotFound,
    OrderOutcomeUnknown,
    OrderRejected,
    RateLimited,
    SettingsError,
    TradingAssetsError,
    UnderMinimum,
)
from trading_assets.exchange import upbit
from trading_assets.exchange.limits import Group
from trading_assets.exchange.model import OrderRequest, OrderType, Side, TimeInForce
from trading_assets.exchange.price_units import tick_size
from trading_assets.exchange.upbit import UpbitQuotation, UpbitTrading, account_keys
from trading_assets.settings import Settings, load_settings
from trading_assets_tests.conftest import FOUR_MARKETS, RunningExchange
from trading_assets_tests.exchange.scripted import (
    ACCESS_KEY,
    SECRET_KEY,
    Reply,
    Request,
    Respond,
    Scripted,
    book_body,
    exchange,
    in_turn,
    order_body,
    refused,
    told,
)

NOW = datetime(2026, 11, 20, 3, 0, 0, 250_000, tzinfo=UTC)
D = Decimal

BUY = OrderRequest(
    market="KRW-BTC",
    side=Side.BID,
    ord_type=OrderType.LIMIT,
    identifier="ta-7",
    volume=D("0.0001"),
    price=D("155772000"),
    time_in_force=TimeInForce.IOC,
)
SELL = OrderRequest("KRW-BTC", Side.ASK, OrderType.MARKET, "ta-8", volume=D("0.0001"))


# Where an answer never comes; everywhere else a slow machine must not look like a silent one.
IMPATIENT = {"request_timeout_seconds": "0.3"}


def _patience(reply: Reply) -> dict[str, str]:
    return IMPATIENT if reply.hang else {}


def settings_for(url: str, **overrides: Any) -> Settings:
    return load_settings(
        {
            "exchange_url": url,
            "upbit_access_key": ACCESS_KEY,
            "upbit_secret_key": SECRET_KEY,
            "request_timeout_seconds": "20",
            **overrides,
        }
    )


@contextmanager
def account(
    respond: Respond, **overrides: Any
) -> Iterator[tuple[UpbitTrading, Scripted, SteppedClock]]:
    clock = SteppedClock(NOW)
    with exchange(respond) as server:
        client = upbit.trading(settings_for(server.url, **overrides), clock)
        try:
            yield client, server, clock
        finally:
            client.close()


@contextmanager
def public(respond: Respond) -> Iterator[tuple[UpbitQuotation, Scripted, SteppedClock]]:
    clock = SteppedClock(NOW)
    with exchange(respond) as server:
        client = upbit.quotation(settings_for(server.url), clock)
        try:
            yield client, server, clock
        finally:
            client.close()


def accepted(request: Request) -> Reply:
    return told(order_body(request), 201)


# --- what arrives ---------------------------------------------------------------------------


def test_an_order_arrives_as_signed_plain_strings_with_its_identifier() -> None:
    with account(accepted) as (client, server, _):
        order = client.place(BUY)
    (request,) = server.sent("POST", "/v1/orders")
    assert json.loads(request.body) == {
        "market": "KRW-BTC",
        "side": "bid",
        "volume": "0.00010000",
        "price": "155772000",
        "ord_type": "limit",
        "identifier": "ta-7",
        "time_in_force": "ioc",
    }
    assert request.claims["access_key"] == ACCESS_KEY
    assert request.query == ""
    assert request.header("content-type") == "application/json"
    assert request.header("origin") is None
    assert order.identifier == "ta-7"


def test_every_request_of_the_account_verifies_and_no_nonce_is_used_twice() -> None:
    def respond(request: Request) -> Reply:
        if request.path == "/v1/orders/chance":
            return refused(404, "notfoundmarket")
        if request.path in ("/v1/order", "/v1/orders"):
            body = order_body(request) if request.method == "POST" else order_body(trades=[])
            return told(body, 201 if request.method == "POST" else 200)
        if request.path == "/v1/orders/test":
            return told(order_body(request), 201)
        return told([])

    with account(respond) as (client, server, _):
        client.balances()
        with pytest.raises(OrderRejected):
            client.rules("KRW-BTC")
        client.place(BUY)
        client.test_order(SELL)
        client.order(identifier="ta-7")
        client.order(uuid="5d303952-8be9-41e6-915b-121a90026248")
        client.orders_by_identifier(["ta-7", "ta-8"])
        client.open_orders("KRW-BTC")
        client.closed_orders(NOW - timedelta(days=1), NOW)
        client.cancel(identifier="ta-7")
    claims = [request.claims for request in server.requests]
    assert len({claim["nonce"] for claim in claims}) == len(claims) == 10
    assert all(not request.body for request in server.requests if request.method != "POST")
    by_identifier = server.sent("GET", "/v1/orders/uuids")[0]
    assert by_identifier.parameters == "identifiers[]=ta-7&identifiers[]=ta-8"
    open_list = server.sent("GET", "/v1/orders/open")[0].parameters
    assert open_list.startswith("states[]=wait&states[]=watch") or "market=KRW-BTC" in open_list


@pytest.mark.real_data
def test_the_query_hashes_of_the_documents_are_what_the_test_server_demands(
    shared_data: Path,
) -> None:
    """The server's check is Upbit's: it accepts exactly the documented hash of each string."""
    path = shared_data / "upbit_samples" / "auth" / "query_strings.json"
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]:
        body = json.dumps(case["body"]).encode() if "body" in case else b""
        query = "" if body else case["query_string"]
        token = _token({"query_hash": case["query_hash"], "query_hash_alg": "SHA512"})
        headers = (("authorization", f"Bearer {token}"),)
        request = Request("GET", "/v1/x", query, headers, body)
        assert request.parameters == case["query_string"]
        assert request.claims["query_hash"] == case["query_hash"]


@pytest.mark.real_data
def test_what_the_client_sends_carries_the_documented_hash(shared_data: Path) -> None:
    """The documented list request, sent by our client's SDK, hashes as the documents say."""
    path = shared_data / "upbit_samples" / "auth" / "query_strings.json"
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    documented = next(c for c in cases if "states[]" in c["query_string"])
    with account(lambda _: told([])) as (client, server, _clock):
        client._requests.once(
            Group.DEFAULT,
            "open",
            lambda sdk: sdk.orders.list_open(
                extra_query={"market": "KRW-BTC", "states": ["wait", "watch"]}
            ),
        )
    (request,) = server.requests
    assert request.parameters == documented["query_string"]
    assert request.claims["query_hash"] == documented["query_hash"]


def test_the_key_that_asks_is_found_among_the_accounts_keys() -> None:
    def respond(request: Request) -> Reply:
        assert request.path == "/v1/api_keys"
        return told(
            [
                {"access_key": "another", "expire_at": "2026-01-01T00:00:00+09:00"},
                {"access_key": ACCESS_KEY, "expire_at": "2027-03-02T09:00:00+09:00"},
            ]
        )

    with account(respond) as (client, _, _):
        assert client.key_ends_at() == datetime(2027, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "answer",
    [
        told([{"access_key": ACCESS_KEY + "-not", "expire_at": "2027-03-02T09:00:00+09:00"}]),
        told([{"access_key": ACCESS_KEY, "expire_at": "2027-03-02"}]),
        told([{"access_key": ACCESS_KEY}]),
        told({"access_key": ACCESS_KEY}),
        Reply(200, json.dumps([{"access_key": ACCESS_KEY}]).encode()[:-3]),
    ],
    ids=["another's", "no zone", "no end", "no list", "half"],
)
def test_a_list_of_keys_that_makes_no_sense_is_refused_without_showing_a_key(
    answer: Reply,
) -> None:
    with account(lambda _: answer) as (client, _, _):
        told_of_it = _everything_about(client.key_ends_at)
    assert "MalformedAnswer: api_keys: must tell when the key that asks expires" in told_of_it
    assert ACCESS_KEY not in told_of_it


def test_reads_share_one_connection() -> None:
    with account(lambda _: told([])) as (client, server, _):
        for _n in range(5):
            client.balances()
    assert (len(server.requests), server.connections) == (5, 1)


def test_public_facts_are_asked_without_any_token() -> None:
    body = book_body(["KRW-BTC"], time=1787729042606)
    with public(lambda _: told(body)) as (client, server, _):
        (book,) = client.order_books(["KRW-BTC"])
    assert book.quote.bid == D(100_000)
    assert book.received_at == NOW
    (request,) = server.requests
    assert request.header("authorization") is None
    assert request.parameters == "markets=KRW-BTC"


def test_the_paper_exchange_tells_markets_books_and_tick_sizes_to_this_client(
    paper_exchange: RunningExchange,
) -> None:
    client = upbit.quotation(settings_for(paper_exchange.url), SystemClock())
    codes = [market.code for market in client.markets()]
    assert set(FOUR_MARKETS) <= set(codes)
    books = client.order_books(FOUR_MARKETS)
    assert [book.market for book in books] == list(FOUR_MARKETS)
    for book, instrument in zip(books, client.instruments(FOUR_MARKETS), strict=True):
        assert instrument.market == book.market
        assert instrument.tick_size == tick_size(book.quote.bid)
        assert book.quote.bid % instrument.tick_size == 0
    with pytest.raises(MarketNotFound, match="KRW-NOPE"):
        client.order_books(["KRW-NOPE"])
    client.close()


# --- an order's outcome ---------------------------------------------------------------------


UNKNOWN = {
    "accept, then 500": refused(500, "internal_server_error"),
    "502 from a proxy": Reply(502, b"<html>Bad Gateway</html>"),
    "accept, then hang": Reply(hang=True),
    "accept, then reset": Reply(reset=True),
    "answer cut off": Reply(201, b'{"uuid": "x"}' + b" " * 50, cut=10),
    "201 that is not JSON": Reply(201, b"OK"),
    "201 with an empty body": Reply(201, b""),
    "201 that is a list": told([], 201),
    "201 without a field": told({k: v for k, v in order_body().items() if k != "locked"}, 201),
    "201 about another order": told(order_body(identifier="ta-9"), 201),
    "201 about another market": told(order_body(market="KRW-ETH"), 201),
    "429 with a name": refused(429, "too_many_requests"),
    "429 as text": Reply(429, b"Too many API requests."),
    "418": refused(418, "blocked"),
    "400 without Upbit's JSON": Reply(400, b"<html>Bad Request</html>"),
    "404 of a web server": Reply(404, b"not found"),
    "408": refused(408, "request_timeout"),
    "a redirect": Reply(307, b"", (("Location", "http://127.0.0.1:1/v1/orders"),)),
    "nonce used: it arrived before": refused(401, "nonce_used"),
    "gzip that is none": Reply(201, b"nonsense", (("Content-Encoding", "gzip"),)),
}


@pytest.mark.parametrize("name", list(UNKNOWN))
def test_after_an_unclear_answer_the_order_is_unknown_and_was_sent_once(name: str) -> None:
    with (
        account(lambda _: UNKNOWN[name], **_patience(UNKNOWN[name])) as (client, server, _),
        pytest.raises(OrderOutcomeUnknown, match="ta-7") as caught,
    ):
        client.place(BUY)
    assert not isinstance(caught.value, DuplicatedIdentifier)
    assert caught.value.__cause__ is not None
    assert len(server.sent("POST", "/v1/orders")) == 1


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "insufficient_funds_bid", InsufficientFunds),
        (400, "insufficient_funds_ask", InsufficientFunds),
        (400, "under_min_total_ask", UnderMinimum),
        (400, "invalid_price_bid", OrderRejected),
        (400, "over_krw_funds_bid", OrderRejected),
        (400, "notfoundmarket", OrderRejected),
        (400, "some_name_of_the_future", OrderRejected),
        (404, "currency_not_found", OrderRejected),
        (401, "invalid_query_payload", CredentialsRefused),
        (401, "expired_access_key", CredentialsRefused),
        (403, "out_of_scope", CredentialsRefused),
        (403, "market_offline", ExchangeMaintenance),
    ],
)
def test_a_refusal_by_name_says_that_there_is_no_order(
    status: int, name: str, kind: type[TradingAssetsError]
) -> None:
    with (
        account(lambda _: refused(status, name)) as (client, server, _),
        pytest.raises(kind, match=name) as caught,
    ):
        client.place(BUY)
    assert type(caught.value) is kind
    assert getattr(caught.value, "name", name) == name
    assert len(server.requests) == 1


def test_a_duplicated_identifier_is_an_unknown_outcome_and_no_refusal() -> None:
    with (
        account(lambda _: refused(400, "duplicated_identifier")) as (client, _, _clock),
        pytest.raises(DuplicatedIdentifier, match="look it up") as caught,
    ):
        client.place(BUY)
    assert isinstance(caught.value, OrderOutcomeUnknown)
    assert not isinstance(caught.value, OrderRejected)


@pytest.mark.real_data
def test_the_documented_refusals_become_the_right_errors(shared_data: Path) -> None:
    kinds = {
        "400_insufficient_funds_bid": InsufficientFunds,
        "401_invalid_query_payload": CredentialsRefused,
        "401_no_authorization_ip": CredentialsRefused,
        "403_market_offline": ExchangeMaintenance,
        "500_internal_server_error": OrderOutcomeUnknown,
    }
    for path in sorted((shared_data / "upbit_samples" / "errors").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        reply = told(found["response"], found["status"])
        with (
            account(lambda _, reply=reply: reply) as (client, _, _clock),  # type: ignore[misc]
            pytest.raises(kinds.get(path.stem, OrderRejected)),
        ):
            client.place(BUY)


def test_an_order_to_nobody_was_never_sent_and_says_how_to_start_the_exchange() -> None:
    with exchange(accepted) as server:
        pass  # its port is closed now
    client = upbit.trading(settings_for(server.url), SteppedClock(NOW))
    with pytest.raises(ExchangeUnavailable, match="trading-assets paper-exchange") as caught:
        client.place(BUY)
    assert not isinstance(caught.value, OrderOutcomeUnknown)


def test_an_order_accepted_behind_a_500_is_found_by_its_identifier_when_visible() -> None:
    """Late visibility: unknown, then 404 for a while, then there it is."""
    live: list[Request] = []
    looks: list[Request] = []

    def respond(request: Request) -> Reply:
        if request.method == "POST":
            live.append(request)
            return refused(500, "internal_server_error")
        looks.append(request)
        if len(looks) < 3:
            return refused(404, "order_not_found")
        return told(order_body(live[0], trades=[]))

    with account(respond) as (client, _, _clock):
        with pytest.raises(OrderOutcomeUnknown):
            client.place(BUY)
        for _n in range(2):
            with pytest.raises(OrderNotFound):
                client.order(identifier="ta-7")
        assert client.order(identifier="ta-7").identifier == "ta-7"
    assert (len(live), len(looks)) == (1, 3)  # a 404 is not repeated by the client either


def test_a_failure_of_our_own_after_the_order_has_left_is_an_unknown_outcome_too(
    isolated_settings: Path,
) -> None:
    """The answer says sec=0, and the folder where that is to be kept has gone."""
    folder = isolated_settings / "data" / "limits"

    def respond(request: Request) -> Reply:
        shutil.rmtree(folder)
        folder.write_text("not a folder")
        return told(order_body(request), 201, headers=(("Remaining-Req", "sec=0"),))

    with (
        account(respond) as (client, server, _),
        pytest.raises(OrderOutcomeUnknown, match="ta-7"),
    ):
        client.place(BUY)
    assert len(server.requests) == 1


def test_a_test_order_has_no_unknown_outcome_and_is_not_repeated() -> None:
    with (
        account(lambda _: refused(500, "internal_server_error")) as (client, server, _),
        pytest.raises(ExchangeUnavailable),
    ):
        client.test_order(BUY)
    assert len(server.sent("POST", "/v1/orders/test")) == 1


# --- reads ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (refused(500, "internal_server_error"), ExchangeUnavailable),
        (Reply(503, b"busy"), ExchangeUnavailable),
        (Reply(hang=True), ExchangeTimeout),
        (Reply(reset=True), ExchangeUnavailable),
        (refused(429, "too_many_requests"), RateLimited),
    ],
)
def test_a_read_is_repeated_and_succeeds_or_gives_up_after_three(
    bad: Reply, kind: type[TradingAssetsError]
) -> None:
    with account(in_turn(bad, bad, told([])), **_patience(bad)) as (client, server, _):
        assert client.balances() == ()
        assert len(server.requests) == 3
    with account(in_turn(bad), **_patience(bad)) as (client, server, _):
        with pytest.raises(kind):
            client.balances()
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refused(418, "blocked"), IpBlocked),
        (refused(403, "market_offline"), ExchangeMaintenance),
        (refused(401, "jwt_verification"), CredentialsRefused),
        (refused(400, "invalid_parameter"), OrderRejected),
        (Reply(403, b"<html>"), BadRequest),
        (Reply(200, b"<html>"), MalformedAnswer),
        (Reply(302, b"", (("Location", "http://127.0.0.1:1/"),)), MalformedAnswer),
        (told({"not": "a list"}), MalformedAnswer),
        (told([{"currency": "KRW"}]), MalformedAnswer),
    ],
)
def test_a_read_that_a_repeat_cannot_help_is_asked_once(
    reply: Reply, kind: type[TradingAssetsError]
) -> None:
    with account(lambda _: reply) as (client, server, _), pytest.raises(kind):
        client.balances()
    assert len(server.requests) == 1


def test_the_waits_between_reads_grow_and_are_jittered() -> None:
    def waited(seed: int) -> float:
        with account(lambda _: refused(500, "x")) as (client, _, clock):
            client._requests._jitter = random.Random(seed)
            with pytest.raises(ExchangeUnavailable):
                client.balances()
            return (clock.now() - NOW).total_seconds()

    # 0.4 and 0.8 s, each times 0.5 to 1; the limiter of 24/s may add its spacing of 29 ms twice.
    assert 0.6 <= waited(1) <= 1.2 + 0.1
    assert waited(1) != waited(2)


def test_a_market_that_is_not_listed_is_named_so() -> None:
    with (
        public(lambda _: refused(404, 404, "Code not found")) as (client, _, _clock),
        pytest.raises(MarketNotFound, match="KRW-NOPE"),
    ):
        client.instruments(["KRW-NOPE"])


def test_an_answer_that_drips_for_ever_is_a_timeout() -> None:
    clock = SteppedClock(NOW)

    def drip() -> bool:
        clock.advance(timedelta(milliseconds=100))
        return True

    body = json.dumps([]).encode() + b" " * 5000
    with exchange(lambda _: Reply(200, body, drip=drip)) as server:
        client = upbit.trading(settings_for(server.url, **IMPATIENT), clock, attempts=1)
        with pytest.raises(ExchangeTimeout, match=r"did not end within 0\.3 s"):
            client.balances()
        client.close()


def test_an_answer_without_end_is_cut_at_its_size() -> None:
    with (
        account(lambda _: Reply(200, b" " * 9_000_000)) as (client, _, _clock),
        pytest.raises(ExchangeUnavailable, match="longer than 8000000 bytes"),
    ):
        client.balances()


# --- lists ----------------------------------------------------------------------------------


def _open_pages(pages: Callable[[int], list[str]]) -> Respond:
    def respond(request: Request) -> Reply:
        page = int(dict(pair.split("=") for pair in request.parameters.split("&"))["page"])
        return told([order_body(uuid=uuid) for uuid in pages(page)])

    return respond


def test_all_open_orders_are_read_over_all_pages_until_two_rounds_agree() -> None:
    def pages(page: int) -> list[str]:
        return {1: [f"a{n}" for n in range(100)], 2: ["b0", "b1"]}[page]

    with account(_open_pages(pages)) as (client, server, _):
        assert len(client.open_orders()) == 102
    assert len(server.requests) == 4


def test_an_order_that_moves_over_the_page_edge_is_not_lost() -> None:
    """While page 1 is read, one of its orders ends: b0 moves from page 2 to the end of page 1."""
    rounds: list[int] = []

    def pages(page: int) -> list[str]:
        if page == 1:
            rounds.append(1)
        first = [f"a{n}" for n in range(100)]
        if len(rounds) == 1:
            return first if page == 1 else ["b1"]
        return [*first[1:], "b0"] if page == 1 else ["b1"]

    with account(_open_pages(pages)) as (client, _, _clock):
        assert "b0" in {order.uuid for order in client.open_orders()}


def test_open_orders_that_never_hold_still_are_an_error_and_no_endless_loop() -> None:
    calls: list[int] = []

    def pages(page: int) -> list[str]:
        calls.append(page)
        return [f"{len(calls)}-{n}" for n in range(100 if page == 1 else 1)]

    with (
        account(_open_pages(pages)) as (client, _, _clock),
        pytest.raises(ExchangeUnavailable, match="changed in each of 5 readings"),
    ):
        client.open_orders()
    assert len(calls) == 12  # a first reading and five more, of two pages each


def test_closed_orders_are_asked_in_windows_below_seven_days_and_told_oldest_first() -> None:
    made = {"2026-11-01T09:00:00+09:00": "old", "2026-11-19T09:00:00+09:00": "new"}

    def respond(request: Request) -> Reply:
        query = dict(pair.split("=") for pair in request.parameters.split("&"))
        start, end = int(query["start_time"]), int(query["end_time"])
        assert end - start <= 7 * 86_400_000
        rows = [
            order_body(uuid=uuid, created_at=at, state="done")
            for at, uuid in made.items()
            if start <= datetime.fromisoformat(at).timestamp() * 1000 <= end
        ]
        return told(rows)

    with account(respond) as (client, server, _):
        found = client.closed_orders(NOW - timedelta(days=21), NOW)
    assert [order.uuid for order in found] == ["old", "new"]
    assert len(server.requests) == 4  # 21 days in windows of a second less than 7


def test_a_full_list_of_closed_orders_is_asked_again_in_halves() -> None:
    def respond(request: Request) -> Reply:
        query = dict(pair.split("=") for pair in request.parameters.split("&"))
        hours = (int(query["end_time"]) - int(query["start_time"])) / 3_600_000
        count = 1000 if hours > 13 else 3
        start = datetime.fromtimestamp(int(query["start_time"]) / 1000 + 60, UTC).isoformat()
        return told([order_body(uuid=f"{start}-{n}", created_at=start) for n in range(count)])

    with account(respond) as (client, server, _):
        assert len(client.closed_orders(NOW - timedelta(hours=24), NOW)) == 6
    assert len(server.requests) == 3


# --- limits ---------------------------------------------------------------------------------


def test_orders_of_one_second_stay_below_the_limit_of_their_group() -> None:
    with account(accepted) as (client, server, clock):
        for _n in range(18):
            client.place(BUY)
        seconds = (clock.now() - NOW).total_seconds()
    # 9 a second: the 18th may leave one second (and a bit) after the 9th.
    assert seconds >= 1.0
    assert len(server.requests) == 18


def test_nothing_left_in_this_second_makes_the_next_request_wait_for_the_next() -> None:
    empty = (("Remaining-Req", "group=default; min=1800; sec=0"),)
    with account(in_turn(told([], headers=empty), told([]))) as (client, _, clock):
        client.balances()
        assert clock.now() == NOW
        client.balances()
        assert NOW + timedelta(seconds=0.75) <= clock.now() < NOW + timedelta(seconds=0.8)


def test_a_418_blocks_the_account_for_the_stated_time_in_every_client_but_not_the_prices() -> None:
    def respond(request: Request) -> Reply:
        if request.path == "/v1/orderbook":
            return told(book_body(["KRW-BTC"], time=1787729042606))
        return refused(418, "blocked", headers=(("Retry-After", "120"),))

    with account(respond) as (client, server, clock):
        with pytest.raises(IpBlocked):
            client.balances()
        # Another client, as in another process: the same files.
        other = upbit.trading(settings_for(server.url), clock)
        with pytest.raises(IpBlocked, match="418"):
            other.place(BUY)
        assert len(server.requests) == 1
        prices = upbit.quotation(settings_for(server.url), clock)
        assert prices.order_books(["KRW-BTC"])
        clock.advance(timedelta(seconds=121))
        with pytest.raises(IpBlocked):
            other.balances()
        assert len(server.requests) == 3


def test_limits_that_cannot_be_kept_are_an_exchange_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A full disk: nothing is sent, and an exit that meets it tries again."""

    def full(_self: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with account(in_turn(told([]))) as (client, server, _):
        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(ExchangeUnavailable, match=r"limits cannot be kept.*No space left"):
            client.balances()
        assert server.requests == []


# --- where it goes, and secrets -------------------------------------------------------------


def stray(settings: Settings, url: str) -> Settings:
    """Settings whose host was changed behind the validation's back."""
    return settings.model_copy(update={"exchange_url": url})


@pytest.mark.parametrize(
    "url",
    [
        "https://sg-api.upbit.com",
        "https://api.upbit.com.evil.example",
        "http://127.0.0.1:1",
        "http://api.upbit.com",
    ],
)
def test_live_refuses_every_host_but_upbits(url: str) -> None:
    live = load_settings(
        {
            "trading_mode": "live",
            "profile": "swing",
            "upbit_access_key": "a",
            "upbit_secret_key": SECRET_KEY,
        }
    )
    for build in (upbit.trading, upbit.quotation):
        with pytest.raises(SettingsError, match=r"only reaches https://api\.upbit\.com, not"):
            build(stray(live, url), SteppedClock(NOW))


@pytest.mark.parametrize("mode", ["sandbox", "paper"])
@pytest.mark.parametrize("url", ["https://api.upbit.com", "http://192.168.1.5:8700"])
def test_every_other_mode_refuses_every_host_but_this_machine(mode: str, url: str) -> None:
    settings = load_settings({"trading_mode": mode})
    for build in (upbit.trading, upbit.quotation):
        with pytest.raises(SettingsError, match=r"127\.0\.0\.1"):
            build(stray(settings, url), SteppedClock(NOW))


def test_live_builds_a_client_of_upbits_own_address_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UPBIT_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    live = load_settings(
        {
            "trading_mode": "live",
            "profile": "swing",
            "upbit_access_key": "a",
            "upbit_secret_key": SECRET_KEY,
        }
    )
    client = upbit.trading(live, SteppedClock(NOW))
    transport: Any = client._requests._transport
    assert str(transport._sdk.base_url) == "https://api.upbit.com"
    assert transport._sdk.max_retries == 0
    assert transport._sdk._client.follow_redirects is False
    assert transport._sdk._client.trust_env is False
    client.close()


def test_the_account_needs_both_keys_in_live_and_none_of_them_in_the_sandbox() -> None:
    sandbox = [key.get_secret_value() for key in account_keys(load_settings())]
    assert sandbox == [upbit.PAPER_ACCESS_KEY, upbit.PAPER_SECRET_KEY]
    with pytest.raises(
        CredentialsRefused, match=r"UPBIT_ACCESS_KEY and UPBIT_SECRET_KEY .*neither"
    ):
        account_keys(load_settings({"trading_mode": "live", "profile": "swing"}))
    with pytest.raises(CredentialsRefused, match="one is set"):
        account_keys(load_settings({"upbit_access_key": "a"}))


def _everything_about(act: Callable[[], object]) -> str:
    """The error of `act` with its causes and the local variables of every frame."""
    try:
        act()
    except TradingAssetsError as exc:
        found = traceback.TracebackException.from_exception(exc, capture_locals=True)
        return "".join(found.format())
    return "no error"


def test_keys_appear_in_no_error_traceback_repr_or_log(caplog: pytest.LogCaptureFixture) -> None:
    """The whole tree of each error with all local variables, at the most talkative log level."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    replies = [*UNKNOWN.values(), refused(401, "jwt_verification"), refused(400, "x"), told({})]
    for reply in replies:
        with account(lambda _, reply=reply: reply, **_patience(reply)) as (client, _, _clock):  # type: ignore[misc]
            shown += [repr(client), repr(client._requests), repr(vars(client))]
            shown += [
                _everything_about(act) for act in (lambda: client.place(BUY), client.balances)
            ]
    text = "\n".join(shown) + caplog.text
    looked_into_locals = "identifier='ta-7'" in text
    assert looked_into_locals
    for key in (SECRET_KEY, ACCESS_KEY):
        places = [line for line in text.splitlines() if key in line]
        assert places == []


def test_importing_the_trading_path_imports_no_sdk_http_client_or_data_stack() -> None:
    code = (
        "import sys\n"
        "from trading_assets.exchange import answers, api, limits, model, refusals, stream, upbit\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    loaded = set(done.stdout.split())
    heavy = {"pandas", "numpy", "pyupbit", "upbit", "httpx", "requests", "aiohttp", "dagster"}
    assert "trading_assets" in loaded
    assert not loaded & heavy


def test_two_threads_may_use_one_client() -> None:
    results: list[int] = []
    with account(lambda _: told([])) as (client, server, _):
        threads = [
            threading.Thread(target=lambda: results.append(len(client.balances())))
            for _n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [0, 0, 0, 0]
    assert len(server.requests) == 4


def _token(claims: dict[str, str]) -> str:
    import jwt

    return jwt.encode({"access_key": ACCESS_KEY, "nonce": "n", **claims}, SECRET_KEY, "HS256")
