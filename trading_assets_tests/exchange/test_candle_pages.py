"""Pages through the real pyupbit over a real socket: what is sent, what comes back, retries."""

import json
import socket
import threading
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from trading_assets.candles.frame import CANDLE_COLUMNS, check_candles
from trading_assets.clock import SteppedClock, SystemClock
from trading_assets.errors import (
    ExchangeTimeout,
    ExchangeUnavailable,
    IpBlocked,
    WrongWorld,
)
from trading_assets.exchange import refusals
from trading_assets.exchange.candle_pages import CandlePages, candle_pages
from trading_assets.exchange.limits import Group, Limits
from trading_assets.exchange.model import Interval
from trading_assets.exchange.rate_limit import RateLimiter
from trading_assets.settings import load_settings
from trading_assets_tests.conftest import RunningExchange
from trading_assets_tests.exchange.hostile import (
    NOW,
    Answer,
    candle_rows,
    gzipped,
    json_answer,
    markets_answer,
    serving,
)

BTC = "KRW-BTC"
M5 = Interval.M5


def _pages(url: str, folder: Path, clock: SteppedClock | SystemClock | None = None) -> CandlePages:
    clock = clock or SteppedClock(NOW)
    return CandlePages(url, RateLimiter(folder, "candle", Decimal(10), clock), clock, 2.0)


def test_a_page_is_utc_oldest_first_and_asked_with_an_explicit_utc_end(tmp_path: Path) -> None:
    with serving(lambda _p, _q: json_answer(candle_rows(range(3)))) as server:
        seoul = datetime(2026, 3, 2, 21, 0, tzinfo=timezone(timedelta(hours=9)))
        frame = _pages(server.url, tmp_path).page(BTC, M5, to=seoul, count=3)
    assert server.asked == [
        ("/v1/candles/minutes/5", {"market": BTC, "count": "3", "to": "2026-03-02T12:00:00Z"})
    ]
    assert tuple(frame.columns) == CANDLE_COLUMNS
    assert str(frame["open_time"].dtype) == "datetime64[us, UTC]"
    assert frame["open_time"].tolist() == [
        pd.Timestamp(f"2026-03-02T11:{m}:00Z") for m in (45, 50, 55)
    ]
    # The row of 11:55: minute 354491 * 5 since 1970 (mod 17 gives the close, mod 5 the volume).
    number = int(datetime(2026, 3, 2, 11, 55, tzinfo=UTC).timestamp()) // 300
    assert frame["close"].iloc[-1] == 1000 + number % 17
    assert frame["open"].iloc[-1] == 1005.0
    check_candles(frame, M5)


def test_without_an_end_the_present_moment_is_asked_for(tmp_path: Path) -> None:
    with serving(lambda _p, _q: json_answer([])) as server:
        frame = _pages(server.url, tmp_path).page(BTC, M5)
    assert server.asked[0][1]["to"] == "2026-03-02T12:03:20Z"
    assert frame.empty
    assert str(frame["open_time"].dtype) == "datetime64[us, UTC]"
    check_candles(frame, M5)


def test_the_open_candle_may_be_in_a_page(tmp_path: Path) -> None:
    rows = candle_rows(range(-1, 2))
    with serving(lambda _p, _q: json_answer(rows)) as server:
        frame = _pages(server.url, tmp_path).page(BTC, M5, count=3)
    assert frame["open_time"].iloc[-1] == pd.Timestamp("2026-03-02T12:00:00Z")


def test_day_candles_have_no_unit(tmp_path: Path) -> None:
    rows = candle_rows(range(3), unit=1440)
    for row in rows:
        del row["unit"]
    with serving(lambda _p, _q: json_answer(rows)) as server:
        frame = _pages(server.url, tmp_path).page(BTC, Interval.D1, count=3)
    assert server.asked[0][0] == "/v1/candles/days"
    assert frame["open_time"].iloc[-1] == pd.Timestamp("2026-03-01T00:00:00Z")


def test_a_good_answer_without_a_limit_header_is_a_good_answer(tmp_path: Path) -> None:
    answer = json_answer(candle_rows(range(3)), headers=())
    with serving(lambda _p, _q: answer) as server:
        assert len(_pages(server.url, tmp_path).page(BTC, M5, count=3)) == 3


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_page_may_come_in_chunks_and_compressed_over_one_connection(
    tmp_path: Path, chunked: bool, compressed: bool
) -> None:
    body = json.dumps(candle_rows(range(100))).encode()
    headers = (("Content-Encoding", "gzip"),) if compressed else ()
    answer = Answer(gzipped(body) if compressed else body, headers=headers, chunked=chunked)
    with serving(lambda _p, _q: answer) as server:
        pages = _pages(server.url, tmp_path)
        frames = [pages.page(BTC, M5, count=100) for _ in range(3)]
    assert [len(frame) for frame in frames] == [100, 100, 100]
    assert server.connections == 1


class _ImpatientClock(SystemClock):
    """The machine's time, without the waits between retries."""

    def sleep(self, seconds: float) -> None:
        del seconds


def test_a_drip_of_bytes_is_a_timeout_although_the_socket_is_never_silent(tmp_path: Path) -> None:
    clock = _ImpatientClock()
    with serving(lambda _p, _q: Answer(b"[" + b" " * 999 + b"]", drip=0.02)) as server:
        limiter = RateLimiter(tmp_path, "candle", Decimal(10), clock)
        pages = CandlePages(server.url, limiter, clock, 0.1)
        with pytest.raises(ExchangeTimeout, match=r"did not answer within 0\.1 s"):
            pages.page(BTC, M5)


@pytest.mark.parametrize("trouble", [429, 500, "reset"])
def test_a_trouble_that_passes_is_retried_and_not_seen(tmp_path: Path, trouble: int | str) -> None:
    answers = [
        Answer(b"", reset=True) if trouble == "reset" else Answer(b"x", status=int(trouble)),
        json_answer(candle_rows(range(3))),
    ]
    with serving(lambda _p, _q: answers.pop(0)) as server:
        clock = SteppedClock(NOW + timedelta(milliseconds=100))
        frame = _pages(server.url, tmp_path, clock).page(BTC, M5, count=3)
    assert len(frame) == 3
    waited = clock.now() - NOW
    # After 429 the next whole second (0.9 s away); after the others half a second.
    expected = timedelta(seconds=1.0 if trouble == 429 else 0.6)
    assert abs(waited - expected) < timedelta(milliseconds=1)


def test_nothing_left_in_this_second_waits_for_the_next(tmp_path: Path) -> None:
    headers = (("Remaining-Req", "group=some-new-name; min=1; sec=0"),)
    with serving(lambda _p, _q: json_answer([], headers=headers)) as server:
        clock = SteppedClock(NOW)
        pages = _pages(server.url, tmp_path, clock)
        pages.page(BTC, M5)
        assert clock.now() == NOW
        pages.page(BTC, M5)
        assert clock.now() >= NOW + timedelta(seconds=1)


def test_after_a_block_nobody_sends_until_it_is_over(tmp_path: Path) -> None:
    blocked = json_answer({"error": {"name": 418, "message": "for 90 seconds"}}, status=418)
    answers = [blocked, json_answer([])]
    with serving(lambda _p, _q: answers.pop(0)) as server:
        clock = SteppedClock(NOW)
        with pytest.raises(IpBlocked, match="for 90 seconds"):
            _pages(server.url, tmp_path, clock).page(BTC, M5)
        clock.advance(timedelta(seconds=89))
        with pytest.raises(IpBlocked, match="nothing is sent before that"):
            _pages(server.url, tmp_path, clock).page(BTC, M5)
        assert len(server.asked) == 1
        clock.advance(timedelta(seconds=1))
        assert _pages(server.url, tmp_path, clock).page(BTC, M5).empty


def test_a_block_met_by_candles_stops_books_and_streams_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    """One address, one block: whoever goes on asking makes it longer."""
    blocked = json_answer({"error": {"name": 418, "message": "for 90 seconds"}}, status=418)
    clock = SteppedClock(NOW)

    def limiter(group: Group) -> RateLimiter:
        return RateLimiter(tmp_path, group.value, Decimal(10), clock)

    with serving(lambda _p, _q: blocked) as server:
        with pytest.raises(IpBlocked, match="for 90 seconds"):
            _pages(server.url, tmp_path, clock).page(BTC, M5)
        for group in (Group.MARKET, Group.ORDERBOOK, Group.WEBSOCKET_CONNECT):
            with pytest.raises(IpBlocked, match="nothing is sent before that"):
                limiter(group).acquire()
        limiter(Group.ORDER).acquire()  # counted by account
        clock.advance(timedelta(seconds=90))
        every = Limits({group: limiter(group) for group in Group})
        every.heed(Group.ORDERBOOK, refusals.Answer(418, {"retry-after": "60"}, b""))
        with pytest.raises(IpBlocked, match="nothing is sent before that"):
            _pages(server.url, tmp_path, clock).page(BTC, M5)
        assert len(server.asked) == 1


def test_a_paper_exchange_that_is_not_there_is_named_with_the_way_to_start_it(
    tmp_path: Path,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ExchangeUnavailable) as raised:
        _pages(url, tmp_path).page(BTC, M5)
    assert str(raised.value) == (
        f"nothing listens at {url}: start the paper exchange with `make paper-exchange` or "
        "`trading-assets paper-exchange`"
    )


@pytest.mark.parametrize("status", [200, 503])
def test_an_exchange_of_another_world_is_refused_whatever_it_answers(
    tmp_path: Path, status: int
) -> None:
    clock = SteppedClock(NOW)
    limiter = RateLimiter(tmp_path, "candle", Decimal(10), clock)
    answer = json_answer([], status=status, headers=(("Paper-World", "recorded-candles-60m"),))
    with serving(lambda _p, _q: answer) as server:
        pages = CandlePages(server.url, limiter, clock, 2.0, world="sandbox-1")
        with pytest.raises(WrongWorld, match=r"recorded-candles-60m, wanted are .* of sandbox-1"):
            pages.page(BTC, M5)
    with serving(lambda _p, _q: json_answer([])) as server:  # Upbit names no world
        assert len(CandlePages(server.url, limiter, clock, 2.0, world="live").page(BTC, M5)) == 0


def test_the_environments_proxy_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(lambda _p, _q: json_answer([])) as server:
        assert _pages(server.url, tmp_path).page(BTC, M5).empty


def test_the_markets_are_the_codes_of_market_all(tmp_path: Path) -> None:
    with serving(lambda _p, _q: markets_answer("KRW-BTC", "BTC-ETH", "KRW-1INCH")) as server:
        assert _pages(server.url, tmp_path).markets() == ("KRW-BTC", "BTC-ETH", "KRW-1INCH")


def test_threads_with_different_exchanges_do_not_get_each_others_answers(tmp_path: Path) -> None:
    def answer_for(market: str) -> Answer:
        return json_answer(candle_rows(range(3), market=market))

    failures: list[BaseException] = []

    def ask(pages: CandlePages, market: str) -> None:
        try:
            for _ in range(10):
                assert len(pages.page(market, M5, count=3)) == 3
        except BaseException as exc:  # noqa: BLE001  # shown below, in the test's own thread
            failures.append(exc)

    with (
        serving(lambda _p, _q: answer_for("KRW-AAA")) as one,
        serving(lambda _p, _q: answer_for("KRW-BBB")) as two,
    ):
        threads = [
            threading.Thread(target=ask, args=(_pages(server.url, tmp_path / market), market))
            for server, market in ((one, "KRW-AAA"), (two, "KRW-BBB"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_page_of_the_paper_exchange_is_what_its_source_says(
    paper_exchange: RunningExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXCHANGE_URL", paper_exchange.url)
    pages = candle_pages(load_settings(), SystemClock())
    end = datetime(2026, 6, 1, tzinfo=UTC)
    frame = pages.page("KRW-ETH", Interval.M60, to=end, count=200)
    assert len(frame) == 200
    assert frame["open_time"].iloc[-1] < pd.Timestamp(end)
    check_candles(frame, Interval.M60)
    assert set(pages.markets()) >= {"KRW-BTC", "KRW-ETH"}
