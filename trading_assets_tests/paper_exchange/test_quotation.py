"""The quotation endpoints over a real socket: shapes, parameters, errors, `to`, gaps."""

import json
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from trading_assets_tests.conftest import RunningExchange
from trading_assets_tests.paper_exchange import documented


def get(exchange: RunningExchange, path: str, **query: Any) -> httpx.Response:
    return httpx.get(exchange.url + path, params=query, timeout=30)


def rows(exchange: RunningExchange, path: str, **query: Any) -> list[dict[str, Any]]:
    response = get(exchange, path, **query)
    assert response.status_code == 200, response.text
    found = response.json()
    assert isinstance(found, list)
    return found


def shape(value: Any) -> Any:
    """The keys in their order and the JSON type of each value; lists by their first element."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [shape(value[0])]
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


SHAPES = [
    ("/v1/market/all", {"is_details": "true"}, documented.MARKET_DETAILS),
    ("/v1/market/all", {"isDetails": "true"}, documented.MARKET_DETAILS),
    ("/v1/market/all", {"is_details": "false"}, documented.MARKET_PLAIN),
    ("/v1/market/all", {}, documented.MARKET_PLAIN),
    ("/v1/candles/minutes/1", {"market": "KRW-BTC"}, documented.MINUTE_CANDLE),
    ("/v1/candles/minutes/240", {"market": "KRW-XRP"}, documented.MINUTE_CANDLE),
    ("/v1/candles/days", {"market": "KRW-BTC"}, documented.DAY_CANDLE),
    ("/v1/ticker", {"markets": "KRW-BTC,KRW-ETH"}, documented.TICKER),
    ("/v1/ticker/all", {"quote_currencies": "KRW"}, documented.TICKER),
    ("/v1/orderbook", {"markets": "KRW-BTC"}, documented.ORDERBOOK),
    ("/v1/orderbook/instruments", {"markets": "KRW-BTC,KRW-ETH"}, documented.INSTRUMENT),
    ("/v1/trades/ticks", {"market": "KRW-BTC", "days_ago": "1"}, documented.TRADE),
]


@pytest.mark.parametrize(("path", "query", "sample"), SHAPES)
def test_answers_have_the_documented_keys_order_and_types(
    exchange: RunningExchange, path: str, query: dict[str, str], sample: documented.Row
) -> None:
    for row in rows(exchange, path, **query):
        assert shape(row) == shape(sample)


@pytest.mark.real_data
@pytest.mark.parametrize("name", sorted(documented.IN_SHARED))
def test_the_copied_samples_are_the_documented_ones(shared_data: Path, name: str) -> None:
    path = shared_data / "upbit_samples" / "rest" / f"{name}.json"
    sample = json.loads(path.read_text(encoding="utf-8"))["response"]
    first = sample[0] if isinstance(sample, list) else sample
    assert first == documented.IN_SHARED[name]
    assert shape(first) == shape(documented.IN_SHARED[name])


WRONG = [
    ("/v1/candles/minutes/5", {}, 400, documented.MISSING),
    ("/v1/candles/minutes/5", {"market": ""}, 400, documented.MISSING),
    ("/v1/candles/minutes/5", {"market": "KRW-NONE"}, 404, documented.NOT_FOUND),
    ("/v1/candles/minutes/5", {"market": "krw-btc"}, 404, documented.NOT_FOUND),
    ("/v1/candles/minutes/5", {"market": "KRW-BTC", "count": "0"}, 400, documented.INVALID),
    ("/v1/candles/minutes/5", {"market": "KRW-BTC", "count": "201"}, 400, documented.INVALID),
    ("/v1/candles/minutes/5", {"market": "KRW-BTC", "count": "ten"}, 400, documented.MISMATCH),
    ("/v1/candles/minutes/5", {"market": "KRW-BTC", "count": "1.5"}, 400, documented.MISMATCH),
    ("/v1/candles/minutes/5", {"market": "KRW-BTC", "to": "today"}, 400, documented.INVALID),
    ("/v1/candles/minutes/7", {"market": "KRW-BTC"}, 400, documented.INVALID),
    ("/v1/candles/minutes/x", {"market": "KRW-BTC"}, 400, documented.MISMATCH),
    ("/v1/candles/days", {"market": "KRW-NONE"}, 404, documented.NOT_FOUND),
    ("/v1/ticker", {}, 400, documented.MISSING),
    ("/v1/ticker", {"markets": "KRW-BTC,KRW-NONE"}, 404, documented.NOT_FOUND),
    ("/v1/orderbook", {"markets": "KRW-BTC", "count": "31"}, 400, documented.INVALID),
    ("/v1/orderbook/instruments", {}, 400, documented.MISSING),
    ("/v1/trades/ticks", {"market": "KRW-BTC", "count": "501"}, 400, documented.INVALID),
    ("/v1/trades/ticks", {"market": "KRW-BTC", "days_ago": "8"}, 400, documented.INVALID),
    ("/v1/trades/ticks", {"market": "KRW-BTC", "to": "25:00:00"}, 400, documented.INVALID),
    ("/v1/market/all", {"is_details": "maybe"}, 400, documented.MISMATCH),
]


@pytest.mark.parametrize(("path", "query", "status", "body"), WRONG)
def test_wrong_requests_get_upbits_error_bodies(
    exchange: RunningExchange, path: str, query: dict[str, str], status: int, body: documented.Row
) -> None:
    response = get(exchange, path, **query)
    assert (response.status_code, response.json()) == (status, body)
    assert response.headers["Remaining-Req"].startswith("group=")


def test_a_colon_that_is_not_encoded_is_refused(exchange: RunningExchange) -> None:
    raw = exchange.url + "/v1/candles/minutes/5?market=KRW-BTC&to=2026-11-23T10:00:00Z"
    # httpx would encode the colon: the request is written by hand.
    host = httpx.URL(exchange.url)
    with socket.create_connection((host.host, host.port or 80), timeout=10) as connection:
        target = raw.removeprefix(exchange.url)
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {host.host}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.endswith(
        b'{"error":{"name":400,"message":"Invalid parameter. Check the given value!"}}'
    )


def times(found: list[dict[str, Any]]) -> list[str]:
    return [row["candle_date_time_utc"] for row in found]


def test_candles_come_newest_first_with_the_open_one_on_top(exchange: RunningExchange) -> None:
    found = rows(exchange, "/v1/candles/minutes/5", market="KRW-BTC", count=3)
    assert times(found) == ["2026-11-23T10:05:00", "2026-11-23T10:00:00", "2026-11-23T09:55:00"]
    assert found[0]["candle_date_time_kst"] == "2026-11-23T19:05:00"
    # 10:05:00 to 10:07:05 UTC in ms since 1970.
    assert 1795428300000 <= found[0]["timestamp"] <= 1795428425000
    assert found[0]["unit"] == 5


def test_without_count_there_is_one_candle(exchange: RunningExchange) -> None:
    assert len(rows(exchange, "/v1/candles/minutes/60", market="KRW-BTC")) == 1


@pytest.mark.parametrize(
    "to",
    [
        "2026-11-23T10:00:00",
        "2026-11-23 10:00:00",
        "2026-11-23T10:00:00Z",
        "2026-11-23T19:00:00+09:00",
    ],
)
def test_to_is_exclusive_and_without_zone_is_utc(exchange: RunningExchange, to: str) -> None:
    found = rows(exchange, "/v1/candles/minutes/5", market="KRW-BTC", count=2, to=to)
    assert times(found) == ["2026-11-23T09:55:00", "2026-11-23T09:50:00"]


def test_a_to_inside_a_candle_returns_that_candle_whole(exchange: RunningExchange) -> None:
    inside = rows(exchange, "/v1/candles/minutes/5", market="KRW-BTC", to="2026-11-23T09:57:00Z")
    after = rows(exchange, "/v1/candles/minutes/5", market="KRW-BTC", to="2026-11-23T10:00:00Z")
    assert times(inside) == ["2026-11-23T09:55:00"]
    assert inside == after


def test_a_to_in_the_future_means_now(exchange: RunningExchange) -> None:
    ahead = rows(
        exchange, "/v1/candles/minutes/5", market="KRW-BTC", count=2, to="2027-01-01T00:00:00Z"
    )
    assert ahead == rows(exchange, "/v1/candles/minutes/5", market="KRW-BTC", count=2)


def test_gaps_are_left_out_and_count_reaches_further_back(exchange: RunningExchange) -> None:
    found = rows(exchange, "/v1/candles/minutes/1", market="KRW-SOL", count=200)
    stamps = [datetime.fromisoformat(t) for t in times(found)]
    assert len(found) == 200
    assert stamps == sorted(stamps, reverse=True)
    # SOL has about 6 % minutes without a trade: 200 candles span more than 200 minutes.
    assert stamps[0] - stamps[-1] > timedelta(minutes=201)


def test_paging_by_the_oldest_candle_meets_every_candle_once(exchange: RunningExchange) -> None:
    one_call = rows(exchange, "/v1/candles/minutes/5", market="KRW-SOL", count=200)
    paged: list[dict[str, Any]] = []
    to = "2026-11-23T10:07:05Z"
    while len(paged) < 200:
        page = rows(exchange, "/v1/candles/minutes/5", market="KRW-SOL", count=40, to=to)
        paged += page
        to = page[-1]["candle_date_time_utc"] + "Z"
    assert paged == one_call


def test_before_the_first_candle_there_is_an_empty_list(exchange: RunningExchange) -> None:
    for unit in (1, 5, 60):
        path = f"/v1/candles/minutes/{unit}"
        assert rows(exchange, path, market="KRW-BTC", count=200, to="2024-05-01T00:00:00Z") == []
        early = rows(exchange, path, market="KRW-BTC", count=200, to="2024-05-01T02:00:00Z")
        assert times(early)[-1] == "2024-05-01T00:00:00"
        assert len(early) <= 120 // unit


def test_a_day_starts_at_midnight_utc_and_changes_against_the_day_before(
    exchange: RunningExchange,
) -> None:
    today, yesterday, before = rows(exchange, "/v1/candles/days", market="KRW-ETH", count=3)
    assert today["candle_date_time_utc"] == "2026-11-23T00:00:00"
    assert today["candle_date_time_kst"] == "2026-11-23T09:00:00"
    assert today["prev_closing_price"] == yesterday["trade_price"]
    assert yesterday["prev_closing_price"] == before["trade_price"]
    assert yesterday["change_price"] == yesterday["trade_price"] - before["trade_price"]
    assert "converted_trade_price" not in today
    converted = rows(exchange, "/v1/candles/days", market="KRW-ETH", converting_price_unit="KRW")[0]
    assert list(converted)[-1] == "converted_trade_price"
    assert converted["converted_trade_price"] == converted["trade_price"]


def test_ticker_candle_trade_and_book_tell_the_same_price(exchange: RunningExchange) -> None:
    for market in ("KRW-BTC", "KRW-SOL"):
        ticker = rows(exchange, "/v1/ticker", markets=market)[0]
        candle = rows(exchange, "/v1/candles/minutes/1", market=market)[0]
        day = rows(exchange, "/v1/candles/days", market=market)[0]
        trade = rows(exchange, "/v1/trades/ticks", market=market)[0]
        best = rows(exchange, "/v1/orderbook", markets=market)[0]["orderbook_units"][0]
        assert ticker["trade_price"] == candle["trade_price"] == trade["trade_price"]
        assert ticker["trade_timestamp"] == trade["timestamp"] == candle["timestamp"]
        assert ticker["high_price"] == day["high_price"]
        assert ticker["acc_trade_volume"] == day["candle_acc_trade_volume"]
        touched = best["ask_price"] if trade["ask_bid"] == "BID" else best["bid_price"]
        assert touched == trade["trade_price"]


def test_all_tickers_are_all_markets_of_the_quote_currency(exchange: RunningExchange) -> None:
    found = rows(exchange, "/v1/ticker/all", quote_currencies="KRW,BTC")
    assert [row["market"] for row in found] == ["KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL"]
    assert rows(exchange, "/v1/ticker/all", quote_currencies="BTC") == []


def test_a_book_has_thirty_levels_on_the_tick_grid_with_a_spread(
    exchange: RunningExchange,
) -> None:
    for book in rows(exchange, "/v1/orderbook", markets="KRW-BTC,KRW-ETH,KRW-XRP,KRW-SOL"):
        tick = int(
            rows(exchange, "/v1/orderbook/instruments", markets=book["market"])[0]["tick_size"]
        )
        units = book["orderbook_units"]
        asks = [unit["ask_price"] for unit in units]
        bids = [unit["bid_price"] for unit in units]
        assert len(units) == 30
        assert asks == sorted(set(asks))
        assert bids == sorted(set(bids), reverse=True)
        assert asks[0] - bids[0] >= tick
        assert all(price % tick == 0 for price in asks + bids)
        assert all(unit["ask_size"] > 0 and unit["bid_size"] > 0 for unit in units)
        total = sum(unit["ask_size"] for unit in units)
        assert book["total_ask_size"] == pytest.approx(total, abs=1e-6)


def test_count_cuts_the_book_and_a_level_groups_it(exchange: RunningExchange) -> None:
    book = rows(exchange, "/v1/orderbook", markets="KRW-BTC", count=5)[0]
    assert len(book["orderbook_units"]) == 5
    grouped = rows(exchange, "/v1/orderbook", markets="KRW-BTC", level="10000", count=5)[0]
    assert grouped["level"] == 10000
    assert all(unit["ask_price"] % 10000 == 0 for unit in grouped["orderbook_units"])
    assert rows(exchange, "/v1/orderbook", markets="KRW-BTC", level="7") == []


def test_trades_page_by_cursor_without_repeats(exchange: RunningExchange) -> None:
    path = "/v1/trades/ticks"
    twenty = rows(exchange, path, market="KRW-BTC", count=20)
    first = rows(exchange, path, market="KRW-BTC", count=8)
    cursor = first[-1]["sequential_id"]
    rest = rows(exchange, path, market="KRW-BTC", count=12, cursor=cursor)
    assert first + rest == twenty
    assert len({row["sequential_id"] for row in twenty}) == 20


def test_trades_of_earlier_days_end_at_their_midnight_or_at_to(exchange: RunningExchange) -> None:
    path = "/v1/trades/ticks"
    last = rows(exchange, path, market="KRW-BTC", days_ago=1)[0]
    assert last["trade_date_utc"] == "2026-11-22"
    assert last["trade_time_utc"] > "23:55:00"
    noon = rows(exchange, path, market="KRW-BTC", days_ago=2, to="12:00:00")[0]
    assert noon["trade_date_utc"] == "2026-11-21"
    assert "11:55:00" < noon["trade_time_utc"] < "12:00:00"
    assert rows(exchange, path, market="KRW-BTC", days_ago=2, to="120000")[0] == noon


def test_an_unknown_path_is_a_json_404_and_health_names_the_world(
    exchange: RunningExchange,
) -> None:
    assert get(exchange, "/v1/nothing").json() == documented.error(404, "Not Found")
    assert get(exchange, "/health").json()["world"] == "test"


def test_every_answer_names_the_world_of_its_prices(exchange: RunningExchange) -> None:
    for path in ("/v1/market/all", "/v1/nothing", "/health"):
        assert get(exchange, path).headers["paper-world"] == "test"
