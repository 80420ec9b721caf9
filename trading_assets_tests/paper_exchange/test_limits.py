"""Request limits: ten a second per group and address, 429, then growing blocks."""

from datetime import UTC, datetime, timedelta

import httpx

from trading_assets.clock import SteppedClock
from trading_assets.paper_exchange.limits import Allowance, RequestLimits
from trading_assets_tests.conftest import MakeExchange

START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
T0 = 1_795_428_000_000  # START in ms, the beginning of a second


def statuses(limits: RequestLimits, moments_ms: list[int], group: str = "candles") -> list[int]:
    return [limits.take("1.2.3.4", group, ms).status for ms in moments_ms]


def test_ten_requests_fit_into_a_second_and_the_eleventh_does_not() -> None:
    limits = RequestLimits()
    assert [limits.take("a", "candles", T0).remaining for _ in range(10)] == [
        9, 8, 7, 6, 5, 4, 3, 2, 1, 0,
    ]  # fmt: skip
    assert limits.take("a", "candles", T0 + 999) == Allowance(429, 0)
    assert limits.take("a", "candles", T0 + 1000) == Allowance(200, 9)


def test_groups_and_addresses_are_counted_apart() -> None:
    limits = RequestLimits()
    assert statuses(limits, [T0] * 10) == [200] * 10
    assert limits.take("1.2.3.4", "ticker", T0).status == 200
    assert limits.take("5.6.7.8", "candles", T0).status == 200


def test_repeated_refusals_block_the_address_longer_each_time() -> None:
    limits = RequestLimits()
    # 10 answered, 9 refused, the 10th refusal within ten seconds is the block of 10 s.
    found = statuses(limits, [T0] * 20)
    assert found == [200] * 10 + [429] * 9 + [418]
    assert limits.take("1.2.3.4", "ticker", T0 + 9_999) == Allowance(418, 0, 1)
    assert limits.take("5.6.7.8", "candles", T0).status == 200
    again = T0 + 10_000
    assert statuses(limits, [again] * 20) == [200] * 10 + [429] * 9 + [418]
    # Twice as long: 20 s.
    assert limits.take("1.2.3.4", "candles", again + 19_999) == Allowance(418, 0, 1)
    assert limits.take("1.2.3.4", "candles", again + 20_000).status == 200


def test_refusals_far_apart_do_not_block() -> None:
    limits = RequestLimits()
    for second in range(0, 110, 5):  # one refusal every 5 s: never ten within ten seconds
        found = statuses(limits, [T0 + second * 1000] * 11)
        assert found == [200] * 10 + [429]


def test_an_origin_header_means_one_request_in_ten_seconds() -> None:
    limits = RequestLimits()
    assert statuses(limits, [T0, T0 + 9_999, T0 + 10_000], "origin") == [200, 429, 200]


def test_the_server_answers_429_as_text_and_418_as_a_block(make_exchange: MakeExchange) -> None:
    clock = SteppedClock(START)
    url = make_exchange(clock=clock, limited=True).url + "/v1/candles/minutes/60"
    query = {"market": "KRW-BTC"}
    with httpx.Client(timeout=30) as client:
        first = [client.get(url, params=query) for _ in range(10)]
        assert [r.headers["Remaining-Req"] for r in first[:2]] == [
            "group=candles; min=600; sec=9",
            "group=candles; min=600; sec=8",
        ]
        assert {r.status_code for r in first} == {200}
        assert first[-1].headers["Remaining-Req"] == "group=candles; min=600; sec=0"
        refused = client.get(url, params=query)
        assert (refused.status_code, refused.text) == (429, "Too many API requests.")
        assert refused.headers["Remaining-Req"] == "group=candles; min=600; sec=0"
        for _ in range(9):
            blocked = client.get(url, params=query)
        assert blocked.status_code == 418
        assert blocked.json()["error"]["message"] == "Blocked for 10 seconds."
        clock.advance(timedelta(seconds=10))
        assert client.get(url, params=query).status_code == 200


def test_the_server_counts_an_origin_header_in_its_own_group(make_exchange: MakeExchange) -> None:
    url = make_exchange(clock=SteppedClock(START), limited=True).url + "/v1/market/all"
    origin = {"Origin": "https://example.com"}
    answer = httpx.get(url, headers=origin, timeout=30)
    assert answer.headers["Remaining-Req"] == "group=origin; min=600; sec=0"
    assert httpx.get(url, headers=origin, timeout=30).status_code == 429
    assert httpx.get(url, timeout=30).status_code == 200
