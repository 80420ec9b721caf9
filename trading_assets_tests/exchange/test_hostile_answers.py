"""Hostile answers over a real socket: a typed error naming the value, an untouched store."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trading_assets.candles.collection import collect, top_up
from trading_assets.candles.store import CandleStore
from trading_assets.clock import SteppedClock
from trading_assets.errors import (
    BadRequest,
    ExchangeMaintenance,
    ExchangeTimeout,
    ExchangeUnavailable,
    ImpossibleCandle,
    IntervalNotServed,
    IpBlocked,
    MalformedAnswer,
    MarketNotFound,
    RateLimited,
    TradingAssetsError,
)
from trading_assets.exchange.candle_pages import CandlePages
from trading_assets.exchange.model import Interval
from trading_assets.exchange.rate_limit import RateLimiter
from trading_assets_tests.exchange.hostile import (
    NOW,
    Answer,
    Hostile,
    Row,
    candle_rows,
    gzipped,
    json_answer,
    markets_answer,
    serving,
)

BTC = "KRW-BTC"
M5 = Interval.M5

Change = Callable[[list[Row]], Any]


def _set(row: int, **values: Any) -> Change:
    """The good answer with some values of one row replaced."""

    def change(rows: list[Row]) -> list[Row]:
        rows[row].update(values)
        return rows

    return change


def _without(row: int, name: str) -> Change:
    def change(rows: list[Row]) -> list[Row]:
        del rows[row][name]
        return rows

    return change


def _swapped(rows: list[Row]) -> list[Row]:
    rows[1], rows[2] = rows[2], rows[1]
    return rows


def _later(rows: list[Row], **by: float) -> list[Row]:
    return candle_rows(range(-1, len(rows) - 1), end=NOW + timedelta(**by))


def _raw(text: str) -> Change:
    """The good answer with the first opening price as this text, which is no JSON number."""

    def change(rows: list[Row]) -> Answer:
        body = json.dumps(rows).replace('"opening_price": 1005', f'"opening_price": {text}', 1)
        return Answer(body.encode())

    return change


def _body(body: bytes, **kwargs: Any) -> Change:
    return lambda _rows: Answer(body, **kwargs)


def _cut(rows: list[Row]) -> Answer:
    body = json.dumps(rows).encode()
    return Answer(body, cut=len(body) // 2)


def _half(rows: list[Row]) -> Answer:
    body = json.dumps(rows).encode()
    return Answer(body[: len(body) // 2])


def _error(status: int, name: object, message: str) -> Change:
    return lambda _rows: json_answer({"error": {"name": name, "message": message}}, status=status)


@dataclass(frozen=True)
class Case:
    """One hostile answer, the error it must become, what the message must name, and how often it
    is asked: 1 for what a repeat cannot change, 4 for what may pass."""

    change: Change
    error: type[TradingAssetsError]
    names: str
    asked: int = 1


CASES = {
    "html instead of json": Case(
        _body(b"<html><body>Bad gateway</body></html>"), MalformedAnswer, "<html><body>Bad gateway"
    ),
    "an empty body": Case(_body(b""), MalformedAnswer, "was 0 bytes"),
    "json cut in the middle": Case(_half, MalformedAnswer, "the answer must be JSON"),
    "a body that ends before its announced length": Case(
        _cut, ExchangeUnavailable, "IncompleteRead", asked=4
    ),
    "an object instead of a list": Case(
        lambda rows: {"candles": rows}, MalformedAnswer, 'must be a list, was {"candles"'
    ),
    "null instead of a list": Case(lambda _: None, MalformedAnswer, "must be a list, was null"),
    "one list too many around the rows": Case(
        lambda rows: [rows], MalformedAnswer, "row 0 must be an object, was [{"
    ),
    "a number for a row": Case(
        lambda rows: [*rows[:2], 42], MalformedAnswer, "row 2 must be an object, was 42"
    ),
    "deeply nested lists": Case(
        _body(b"[" * 100_000), MalformedAnswer, "was 100000 bytes that begin with '[[[["
    ),
    "bytes that are not utf-8": Case(_body(b"[\xff\xfe]"), MalformedAnswer, "must be JSON"),
    "a key twice": Case(
        _body(b'[{"market": "KRW-BTC", "market": "KRW-ETH"}]'), MalformedAnswer, "['market']"
    ),
    "NaN": Case(_raw("NaN"), MalformedAnswer, "NaN is not JSON"),
    "Infinity": Case(_raw("-Infinity"), MalformedAnswer, "-Infinity is not JSON"),
    "a number beyond float64": Case(_raw("1e999"), ImpossibleCandle, "must be finite"),
    "an integer of 400 digits": Case(_raw("9" * 400), ImpossibleCandle, "must be finite"),
    "an integer of 5000 digits": Case(_raw("9" * 5000), MalformedAnswer, "must be JSON"),
    "a price in quotes": Case(
        _set(1, trade_price="1000"), MalformedAnswer, 'trade_price = "1000" must be a JSON number'
    ),
    "a price that is null": Case(
        _set(1, low_price=None), MalformedAnswer, "low_price = null must be a JSON number"
    ),
    "a price that is true": Case(
        _set(1, high_price=True), MalformedAnswer, "high_price = true must be a JSON number"
    ),
    "a price in a list": Case(
        _set(1, opening_price=[1005]), MalformedAnswer, "opening_price = [1005] must be"
    ),
    "a negative price": Case(
        _set(1, low_price=-990), ImpossibleCandle, "low_price = -990.0 must be above 0"
    ),
    "a price of zero": Case(
        _set(1, low_price=0), ImpossibleCandle, "low_price = 0.0 must be above 0"
    ),
    "a high below the low": Case(
        _set(1, high_price=900), ImpossibleCandle, "high_price = 900.0 is below low_price = 990.0"
    ),
    "an open above the high": Case(
        _set(1, opening_price=1021), ImpossibleCandle, "opening_price = 1021.0 is above"
    ),
    "a close below the low": Case(
        _set(1, trade_price=989), ImpossibleCandle, "trade_price = 989.0 is below"
    ),
    "a negative volume": Case(
        _set(2, candle_acc_trade_volume=-1),
        ImpossibleCandle,
        "candle_acc_trade_volume = -1.0 must not be negative",
    ),
    "a negative value": Case(
        _set(2, candle_acc_trade_price=-0.5), ImpossibleCandle, "candle_acc_trade_price = -0.5"
    ),
    "a missing field": Case(
        _without(1, "trade_price"), MalformedAnswer, "trade_price is missing, there are"
    ),
    "another market": Case(
        _set(1, market="KRW-ETH"), MalformedAnswer, "market = \"KRW-ETH\" must be 'KRW-BTC'"
    ),
    "another interval": Case(_set(1, unit=1), MalformedAnswer, "unit = 1 must be 5"),
    "an interval that is a float": Case(_set(1, unit=5.0), MalformedAnswer, "unit = 5.0 must be 5"),
    "a time that is off the grid": Case(
        _set(
            0,
            candle_date_time_utc="2026-03-02T11:56:00",
            candle_date_time_kst="2026-03-02T20:56:00",
        ),
        ImpossibleCandle,
        'candle_date_time_utc = "2026-03-02T11:56:00" is off the candle grid',
    ),
    "utc in the place of kst": Case(
        _set(0, candle_date_time_kst="2026-03-02T11:55:00"),
        MalformedAnswer,
        "candle_date_time_kst = 2026-03-02T11:55:00 must be 9 hours after",
    ),
    "kst in the place of utc": Case(
        _set(
            0,
            candle_date_time_utc="2026-03-02T20:55:00",
            candle_date_time_kst="2026-03-03T05:55:00",
        ),
        ImpossibleCandle,
        'candle_date_time_utc = "2026-03-02T20:55:00" is not before the asked `to`',
    ),
    "a time with a zone": Case(
        _set(0, candle_date_time_utc="2026-03-02T11:55:00Z"),
        MalformedAnswer,
        'candle_date_time_utc = "2026-03-02T11:55:00Z" must be a time like',
    ),
    "a day that does not exist": Case(
        _set(0, candle_date_time_utc="2026-02-30T11:55:00"),
        MalformedAnswer,
        '"2026-02-30T11:55:00" must be a time that exists',
    ),
    "a time that is a number": Case(
        _set(0, candle_date_time_utc=1772452500), MalformedAnswer, "= 1772452500 must be a time"
    ),
    "candles from the future": Case(
        lambda rows: _later(rows, hours=1), ImpossibleCandle, '"2026-03-02T13:00:00" is not before'
    ),
    "a row at the asked end": Case(
        lambda rows: _later(rows, minutes=0), ImpossibleCandle, '"2026-03-02T12:00:00" is not'
    ),
    "a candle twice": Case(
        lambda rows: [rows[0], *rows[:-1]],
        MalformedAnswer,
        "candle_date_time_utc = 2026-03-02T11:55:00+00:00 appears twice",
    ),
    "oldest first": Case(
        lambda rows: rows[::-1], MalformedAnswer, "2026-03-02T11:40:00+00:00 is not newest first"
    ),
    "two rows swapped": Case(_swapped, MalformedAnswer, "is not newest first"),
    "more rows than asked": Case(
        lambda _: candle_rows(range(250)), MalformedAnswer, "rows were asked, got 250"
    ),
    "a timestamp that is text": Case(
        _set(0, timestamp="now"), MalformedAnswer, 'timestamp = "now" must be whole milliseconds'
    ),
    "five megabytes": Case(
        _body(b"[" + b" " * 5_000_000 + b"]"), MalformedAnswer, "must be below 4000000 bytes"
    ),
    "gzip that is no gzip": Case(
        _body(b"not gzip at all", headers=(("Content-Encoding", "gzip"),)),
        MalformedAnswer,
        "compression is broken",
    ),
    "a gzip bomb": Case(
        _body(gzipped(b" " * 50_000_000), headers=(("Content-Encoding", "gzip"),)),
        MalformedAnswer,
        "must be below 4000000 bytes",
    ),
    "a redirect to another host": Case(
        _body(b"", status=302, headers=(("Location", "http://203.0.113.9/steal"),)),
        MalformedAnswer,
        "redirect to http://203.0.113.9/steal",
    ),
    "no content": Case(_body(b"", status=204), MalformedAnswer, "204"),
    "400 with an integer name": Case(
        _error(400, 400, "Invalid parameter. Check the given value!"),
        BadRequest,
        "400 400: Invalid parameter",
    ),
    "401": Case(_error(401, "no_authorization_ip", "not you"), BadRequest, "no_authorization_ip"),
    "404 code not found": Case(
        _error(404, 404, "Code not found"), MarketNotFound, "does not know the market KRW-BTC"
    ),
    "404 for the interval": Case(
        _error(404, 404, "this recording has 60m candles"), IntervalNotServed, "recording has 60m"
    ),
    "404 of some other server": Case(
        _body(b"<h1>nginx</h1>", status=404), BadRequest, "404 '<h1>nginx"
    ),
    "403 maintenance": Case(
        _error(403, "market_offline", "closed"), ExchangeMaintenance, "market_offline: closed"
    ),
    "429 as text": Case(
        _body(b"Too many API requests.", status=429), RateLimited, "Too many API", asked=4
    ),
    "429 as json": Case(
        _error(429, "too_many_requests", "slow down"), RateLimited, "slow down", asked=4
    ),
    "418": Case(_error(418, 418, "Blocked for 90 seconds."), IpBlocked, "Blocked for 90 seconds"),
    "500 as json": Case(
        _error(500, "internal_server_error", "oops"), ExchangeUnavailable, "500", asked=4
    ),
    "502 as html": Case(
        _body(b"<html>502</html>", status=502), ExchangeUnavailable, "502 '<html>", asked=4
    ),
    "a connection that is reset": Case(
        _body(b"", reset=True), ExchangeUnavailable, "the connection to", asked=4
    ),
    "a socket that hangs": Case(
        _body(b"", silent=True), ExchangeTimeout, "did not answer within 0.2 s", asked=4
    ),
    "an empty list where the store has candles": Case(
        lambda _: [], MalformedAnswer, "has no candle before 2026-03-02T12:00:00", asked=1
    ),
}


def _pages(server: Hostile, folder: Path, clock: SteppedClock) -> CandlePages:
    limiter = RateLimiter(folder / "limits", "candle", Decimal(10), clock)
    return CandlePages(server.url, limiter, clock, 0.2)


def _bytes(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def test_there_are_at_least_thirty_hostile_answers() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_answer_is_a_typed_error_and_the_store_is_unchanged(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    hostile = False

    def respond(path: str, query: dict[str, str]) -> Answer:
        if path == "/v1/market/all":
            return markets_answer("KRW-BTC", "KRW-ETH")
        rows = candle_rows(range(min(9, int(query["count"]))))
        if not hostile:
            return json_answer(rows)
        changed = case.change(rows)
        return changed if isinstance(changed, Answer) else json_answer(changed)

    clock = SteppedClock(NOW)
    store = CandleStore(tmp_path / "candles", "test")
    with serving(respond) as server:
        pages = _pages(server, tmp_path, clock)
        top_up(BTC, M5, pages=pages, store=store, clock=clock)
        before = _bytes(tmp_path / "candles")
        assert len(store.read(BTC, M5)) == 9
        hostile = True
        server.asked.clear()
        with pytest.raises(case.error) as raised:
            top_up(BTC, M5, pages=pages, store=store, clock=clock)
        assert type(raised.value) is case.error
        assert case.names in str(raised.value)
        assert len(server.asked) == case.asked
        assert _bytes(tmp_path / "candles") == before


@pytest.mark.parametrize("name", ["a negative price", "NaN", "oldest first", "418", "502 as html"])
def test_a_collection_that_meets_a_hostile_page_stores_nothing_of_it(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]

    def respond(path: str, query: dict[str, str]) -> Answer:
        if path == "/v1/market/all":
            return markets_answer(BTC)
        changed = case.change(candle_rows(range(9)))
        return changed if isinstance(changed, Answer) else json_answer(changed)

    clock = SteppedClock(NOW)
    store = CandleStore(tmp_path / "candles", "test")
    with serving(respond) as server, pytest.raises(case.error, match=r"\S"):
        collect(
            BTC,
            M5,
            pages=_pages(server, tmp_path, clock),
            store=store,
            clock=clock,
            history=timedelta(hours=1),
        )
    assert list(_bytes(tmp_path / "candles")) == ["WORLD"]
