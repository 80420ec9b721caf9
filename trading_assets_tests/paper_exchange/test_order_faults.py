"""Faults of orders: what a client is told, and what the exchange has really done."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import upbit

from trading_assets.clock import SteppedClock
from trading_assets.exchange.model import OrderState
from trading_assets.paper_exchange.faults import Fault, FaultKind, Faults, parse_fault
from trading_assets_tests.conftest import MakeExchange, RunningExchange
from trading_assets_tests.paper_exchange.conftest import NOW
from trading_assets_tests.paper_exchange.trading_by_hand import ACCESS, SECRET, Signed

BTC = "KRW-BTC"
BUY = {"market": BTC, "side": "bid", "ord_type": "price", "price": "15000"}


@pytest.fixture
def running(make_exchange: MakeExchange) -> RunningExchange:
    exchange = make_exchange(clock=SteppedClock(NOW))
    exchange.set_book(BTC, [("29990", "100")], [("30000", "100")])
    return exchange


@pytest.fixture
def client(running: RunningExchange) -> Signed:
    return Signed(running.url)


@pytest.fixture
def sdk(running: RunningExchange) -> Iterator[upbit.Upbit]:
    with upbit.Upbit(
        access_key=ACCESS, secret_key=SECRET, base_url=running.url, max_retries=0, timeout=5
    ) as made:
        yield made


def buy(sdk: upbit.Upbit, identifier: str) -> None:
    sdk.orders.create(
        market=BTC, side="bid", ord_type="price", price="15000", identifier=identifier
    )


@pytest.mark.parametrize(
    ("kind", "error", "is_done"),
    [
        (FaultKind.ERROR_AFTER, upbit.InternalServerError, True),
        (FaultKind.ERROR_BEFORE, upbit.InternalServerError, False),
        (FaultKind.RESET, upbit.APIConnectionError, True),
        (FaultKind.LOST, upbit.APIConnectionError, False),
        (FaultKind.HANG, upbit.APITimeoutError, True),
        (FaultKind.TOO_MANY, upbit.RateLimitError, False),
        (FaultKind.BLOCKED, upbit.APIStatusError, False),
        (FaultKind.MAINTENANCE, upbit.PermissionDeniedError, False),
        (FaultKind.REFUSE, upbit.AuthenticationError, False),
    ],
)
def test_an_order_that_failed_was_made_or_not_as_the_fault_says(
    running: RunningExchange,
    sdk: upbit.Upbit,
    kind: FaultKind,
    error: type[Exception],
    is_done: bool,
) -> None:
    running.faults.add(Fault(kind, path="/v1/orders$", method="POST"))
    fast = sdk.with_options(timeout=0.5) if kind is FaultKind.HANG else sdk
    with pytest.raises(error):
        buy(fast, "once")
    if not is_done:
        with pytest.raises(upbit.NotFoundError):
            sdk.orders.retrieve(identifier="once")
        buy(sdk, "once")  # and the identifier is still free
    assert sdk.orders.retrieve(identifier="once").state == "done"
    with pytest.raises(upbit.BadRequestError, match="duplicated_identifier"):
        buy(sdk, "once")
    assert [str(t.volume) for o in running.account.orders([OrderState.DONE]) for t in
            running.account.trades(o.uuid)] == ["0.5"]  # fmt: skip


def test_a_hanging_answer_comes_in_the_end(running: RunningExchange, client: Signed) -> None:
    running.faults.add(Fault(FaultKind.HANG, path="/v1/orders$", seconds=0.05))
    answer = client.post("/v1/orders", BUY)
    assert (answer.status_code, answer.json()["state"]) == (201, "wait")


def test_a_late_order_is_seen_only_after_its_time(running: RunningExchange, client: Signed) -> None:
    running.faults.add(Fault(FaultKind.LATE, seconds=10))
    body = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "29000", "volume": "1"}
    client.post("/v1/orders/test", body)  # not the order that the fault waits for
    uuid = client.post("/v1/orders", {**body, "identifier": "late"}).json()["uuid"]

    def seen() -> list[bool]:
        one = client.get("/v1/order", [("uuid", uuid)]).status_code == 200
        named = client.get("/v1/order", [("identifier", "late")]).status_code == 200
        listed = client.get("/v1/orders/uuids", [("uuids[]", uuid)]).json() != []
        is_open = client.get("/v1/orders/open").json() != []
        return [one, named, listed, is_open]

    assert seen() == [False] * 4
    # The money is bound all the same, and the identifier is taken.
    assert client.get("/v1/accounts").json()[0]["locked"] == "29014.5"
    again = client.post("/v1/orders", {**body, "identifier": "late"}).json()
    assert again["error"]["name"] == "duplicated_identifier"
    running.app.advance(timedelta(seconds=9.999))
    assert seen() == [False] * 4
    running.app.advance(timedelta(seconds=0.001))
    assert seen() == [True] * 4


def test_a_late_filled_order_is_missing_from_the_closed_ones_too(
    running: RunningExchange, client: Signed
) -> None:
    running.faults.add(Fault(FaultKind.LATE, seconds=10))
    client.post("/v1/orders", BUY)
    assert client.get("/v1/orders/closed").json() == []
    running.app.advance(timedelta(seconds=10))
    assert len(client.get("/v1/orders/closed").json()) == 1


def test_a_partial_fill_waits_with_its_rest(running: RunningExchange, client: Signed) -> None:
    running.faults.add(Fault(FaultKind.PARTIAL, share=Decimal("0.4"), seconds=10))
    body = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "30000", "volume": "1"}
    uuid = client.post("/v1/orders", body).json()["uuid"]

    def state() -> tuple[str, str]:
        found = client.get("/v1/order", [("uuid", uuid)]).json()
        return found["state"], found["executed_volume"]

    assert state() == ("wait", "0.4")
    running.app.advance(timedelta(seconds=10))
    assert state() == ("done", "1")


def test_a_partial_ioc_ends_as_cancel(running: RunningExchange, client: Signed) -> None:
    running.faults.add(Fault(FaultKind.PARTIAL, share=Decimal("0.4")))
    body = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "30000", "volume": "1"}
    uuid = client.post("/v1/orders", {**body, "time_in_force": "ioc"}).json()["uuid"]
    found = client.get("/v1/order", [("uuid", uuid)]).json()
    assert (found["state"], found["executed_volume"], found["locked"]) == ("cancel", "0.4", "0")


def test_maintenance_lasts_until_it_is_cleared(running: RunningExchange, client: Signed) -> None:
    running.faults.add(Fault(FaultKind.MAINTENANCE, path="/v1/orders", times=None))
    for _ in range(3):
        answer = client.post("/v1/orders", BUY)
        assert (answer.status_code, answer.json()["error"]["name"]) == (403, "market_offline")
    assert client.get("/v1/accounts").status_code == 200
    running.faults.clear()
    assert client.post("/v1/orders", BUY).status_code == 201


# --- as a person writes them --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("maintenance", Fault(FaultKind.MAINTENANCE, path="/v1/", times=1)),
        ("late,seconds=5", Fault(FaultKind.LATE, path="/v1/orders$", seconds=5)),
        (
            "error_after,path=/v1/orders$,method=POST,times=always",
            Fault(FaultKind.ERROR_AFTER, path="/v1/orders$", method="POST", times=None),
        ),
        ("partial, share=0.25, times=3", Fault(FaultKind.PARTIAL, share=Decimal("0.25"), times=3)),
        ("silent,seconds=30", Fault(FaultKind.SILENT, path="/websocket/v1", seconds=30)),
        (
            "refuse,status=401,name=expired_access_key",
            Fault(FaultKind.REFUSE, status=401, name="expired_access_key"),
        ),
        ("body,times=2,body=", Fault(FaultKind.BODY, times=2)),
        (
            'body, path=/v1/accounts, body={"a": 1, "times": 2}, times=3',
            Fault(FaultKind.BODY, path="/v1/accounts", body=b'{"a": 1, "times": 2}, times=3'),
        ),
    ],
)
def test_a_fault_is_read_from_text(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("explode", "must be one of error_after, "),
        ("late,5", "must be name=value of path, "),
        ("late,speed=5", "must be name=value of path, "),
        ("late,seconds=soon", "seconds must be a number, was 'soon'"),
        ("late,times=0", "times must be at least 1, was 0"),
        ("late,times=-1", "times must be a whole number, was '-1'"),
        ("partial,share=1", "share must be from 0 to below 1, was 1"),
        ("hang,seconds=-1", "seconds must be from 0 to 1000000000, was -1"),
        ("hang,seconds=1e400", "seconds must be from 0 to 1000000000, was inf"),
        ("partial,share=1e-9", "share must have at most 8 decimals, was 1E-9"),
        ("partial,share=1e-99999", "share must have at most 8 decimals"),
        ("refuse,status=204", "status must be from 400 to 599, was 204"),
        ("reset,path=v1/orders", "path must begin with /, was 'v1/orders'"),
        ("reset,method=post", "method must be GET, POST or DELETE, was 'post'"),
        ("late,times=" + "9" * 5000, "times must be below 1000000000, was 9999"),
    ],
)
def test_a_wrong_fault_is_refused_with_its_rule(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        parse_fault(text)


def test_a_lasting_fault_begins_when_it_is_first_looked_for() -> None:
    faults = Faults()
    faults.add(Fault(FaultKind.SILENT, seconds=2))
    assert faults.since(FaultKind.DROP, "/websocket/v1", 500) is None
    assert faults.since(FaultKind.SILENT, "/websocket/v1", 1_000) == 1_000
    assert faults.since(FaultKind.SILENT, "/websocket/v1/private", 3_000) == 1_000
    assert faults.names() == ["silent"]
    assert faults.since(FaultKind.SILENT, "/websocket/v1", 3_001) is None
    assert faults.names() == []


# --- from outside the process -------------------------------------------------------------------


def test_faults_are_given_from_outside(running: RunningExchange, client: Signed) -> None:
    control = running.url + "/control"
    fault = {"kind": "too_many", "path": "/v1/accounts", "times": None}
    assert httpx.post(control + "/faults", json=fault, timeout=30).status_code == 204
    assert httpx.get(control, timeout=30).json()["faults"] == ["too_many"]
    assert [client.get("/v1/accounts").status_code for _ in range(2)] == [429, 429]
    assert httpx.delete(control + "/faults", timeout=30).status_code == 204
    assert client.get("/v1/accounts").status_code == 200
    wrong = httpx.post(control + "/faults", json={"kind": "explode"}, timeout=30)
    assert (wrong.status_code, "must be one of" in wrong.json()["error"]) == (400, True)


def test_a_body_with_commas_is_given_from_outside(running: RunningExchange, client: Signed) -> None:
    body = '[{"currency": "KRW", "balance": "1"},{}]'
    fault = {"kind": "body", "body": body, "times": 1}
    assert httpx.post(running.url + "/control/faults", json=fault, timeout=30).status_code == 204
    assert client.get("/v1/accounts").text == body
    assert client.get("/v1/accounts").json()[0]["balance"] == "10000000"


def test_books_deposits_and_steps_are_given_from_outside(
    running: RunningExchange, client: Signed
) -> None:
    control = running.url + "/control"
    body = {"market": BTC, "side": "ask", "ord_type": "limit", "price": "40000", "volume": "2"}
    coins = {"currency": "BTC", "amount": "2"}
    assert httpx.post(control + "/deposits", json=coins, timeout=30).status_code == 204
    uuid = client.post("/v1/orders", body).json()["uuid"]
    book = {"market": BTC, "bids": [["40000", "9"]], "asks": [["41000", "1"]]}
    assert httpx.post(control + "/books", json=book, timeout=30).status_code == 204
    assert httpx.post(control + "/steps", json={"seconds": 60}, timeout=30).status_code == 204
    assert running.app.clock.now() == NOW + timedelta(seconds=60)
    assert client.get("/v1/order", [("uuid", uuid)]).json()["state"] == "done"
    crossed = {**book, "bids": [["41000", "1"]]}
    answer = httpx.post(control + "/books", json=crossed, timeout=30)
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "the best bid must be below the best ask, were 41000 and 41000",
    )
    missing = httpx.post(control + "/books", json={"market": BTC}, timeout=30)
    assert missing.json() == {"error": "bids is missing: the body has market, bids, asks"}


def test_flags_of_a_market_are_raised_and_cleared(running: RunningExchange) -> None:
    def event() -> dict[str, Any]:
        url = running.url + "/v1/market/all?is_details=true"
        found: dict[str, Any] = httpx.get(url, timeout=30).json()[0]["market_event"]
        return found

    control = running.url + "/control/flags"
    flags = {"market": BTC, "flags": ["warning", "PRICE_FLUCTUATIONS"]}
    assert httpx.post(control, json=flags, timeout=30).status_code == 204
    assert event()["warning"] is True
    assert [name for name, is_up in event()["caution"].items() if is_up] == ["PRICE_FLUCTUATIONS"]
    running.app.flag(BTC)
    assert not any([event()["warning"], *event()["caution"].values()])
    wrong = httpx.post(control, json={**flags, "flags": ["DOOM"]}, timeout=30)
    assert (wrong.status_code, "flags must be among" in wrong.json()["error"]) == (400, True)


def test_a_web_page_cannot_give_faults(running: RunningExchange) -> None:
    # What a form or a simple cross-origin request can send: text, without asking first.
    answer = httpx.post(
        running.url + "/control/faults",
        content=b'{"kind":"reset"}',
        headers={"Content-Type": "text/plain"},
        timeout=30,
    )
    assert (answer.status_code, running.faults.names()) == (415, [])


def test_a_clock_that_runs_by_itself_is_not_stepped(make_exchange: MakeExchange) -> None:
    url = make_exchange().url + "/control/steps"
    answer = httpx.post(url, json={"seconds": 1}, timeout=30)
    assert (answer.status_code, "stepped clock" in answer.json()["error"]) == (400, True)
