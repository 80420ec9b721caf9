"""The private endpoints over a real socket, against Upbit's documented shapes and names."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from trading_assets.clock import SteppedClock
from trading_assets_tests.conftest import MakeExchange, RunningExchange
from trading_assets_tests.paper_exchange import documented_private
from trading_assets_tests.paper_exchange.conftest import NOW
from trading_assets_tests.paper_exchange.trading_by_hand import ACCESS, Signed

BTC = "KRW-BTC"
ORDER_KEYS = set(documented_private.ORDER_WAITING) - {"trades"} | {"smp_type"}
BID = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "29000", "volume": "1"}


@pytest.fixture
def running(make_exchange: MakeExchange) -> Iterator[RunningExchange]:
    """An exchange standing still at NOW with a book set by hand: 29,990 / 30,000."""
    exchange = make_exchange(clock=SteppedClock(NOW))
    exchange.set_book(BTC, [("29990", "100")], [("30000", "100")])
    yield exchange
    exchange.app.liquidity.unpin(BTC)


@pytest.fixture
def client(running: RunningExchange) -> Signed:
    return Signed(running.url)


def made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def rows(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["name"]


def bid(client: Signed, **changes: str) -> dict[str, Any]:
    return made(client.post("/v1/orders", {**BID, **changes}))


# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize("name", documented_private.IN_SHARED)
def test_our_copies_are_the_documented_answers(shared_data: Path, name: str) -> None:
    sample = json.loads((shared_data / f"upbit_samples/{name}.json").read_text("utf-8"))
    key, copy = documented_private.IN_SHARED[name]
    assert sample[key] == copy


def test_accounts_have_the_documented_shape(client: Signed) -> None:
    (krw,) = rows(client.get("/v1/accounts"))
    assert list(krw) == list(documented_private.ACCOUNT)
    assert krw == {
        "currency": "KRW",
        "balance": "10000000",
        "locked": "0",
        "avg_buy_price": "0",
        "avg_buy_price_modified": False,
        "unit_currency": "KRW",
    }


def test_a_key_of_play_money_has_a_year_left(client: Signed) -> None:
    (key,) = rows(client.get("/v1/api_keys"))
    assert key == {"access_key": ACCESS, "expire_at": "2027-11-23T19:07:05+09:00"}


def test_chance_has_the_documented_shape(client: Signed) -> None:
    found = client.get("/v1/orders/chance", [("market", BTC)]).json()
    assert list(found) == list(documented_private.CHANCE)
    assert found["market"] == documented_private.CHANCE["market"]
    assert found["bid_fee"] == "0.0005"
    assert (found["bid_account"]["balance"], found["ask_account"]["balance"]) == ("10000000", "0")
    assert found["ask_account"]["currency"] == "BTC"


def test_a_new_order_is_201_and_waits_unfilled_whatever_it_met(client: Signed) -> None:
    answer = made(client.post("/v1/orders", {**BID, "price": "30000", "identifier": "mine-1"}))
    assert set(answer) == ORDER_KEYS | {"identifier"}
    assert (answer["state"], answer["executed_volume"], answer["trades_count"]) == ("wait", "0", 0)
    assert answer["created_at"] == "2026-11-23T19:07:05+09:00"
    after = client.get("/v1/order", [("identifier", "mine-1")]).json()
    assert (after["state"], after["executed_volume"], after["trades_count"]) == ("done", "1", 1)


def test_one_order_carries_its_trades_in_the_documented_shape(client: Signed) -> None:
    bid(client, price="30000")
    sold = {"market": BTC, "side": "ask", "ord_type": "market", "volume": "1"}
    uuid = made(client.post("/v1/orders", sold))["uuid"]
    found = client.get("/v1/order", [("uuid", uuid)]).json()
    assert set(found) == set(documented_private.ORDER_SOLD) | {"smp_type"}
    assert "price" not in found
    (trade,) = found["trades"]
    assert list(trade) == list(documented_private.ORDER_SOLD["trades"][0])
    assert trade["created_at"] == "2026-11-23T19:07:05.000000+09:00"
    assert (trade["price"], trade["funds"], trade["trend"]) == ("29990", "29990", "down")
    assert found["paid_fee"] == "14.995"


def test_a_purchase_for_an_amount_has_no_volume(client: Signed) -> None:
    body = {"market": BTC, "side": "bid", "ord_type": "price", "price": "10000"}
    answer = made(client.post("/v1/orders", body))
    assert set(answer) == ORDER_KEYS - {"volume", "remaining_volume"}
    assert (answer["price"], answer["locked"], answer["reserved_fee"]) == ("10000", "10005", "5")


def test_lists_carry_no_trades_and_leave_out_what_is_unknown(client: Signed) -> None:
    first, second = bid(client), bid(client, identifier="b")
    pairs = [("uuids[]", first["uuid"]), ("uuids[]", "unknown"), ("uuids[]", second["uuid"])]
    found = rows(client.get("/v1/orders/uuids", pairs))
    assert [row["uuid"] for row in found] == [second["uuid"], first["uuid"]]
    assert all("trades" not in row for row in found)
    by_name = rows(client.get("/v1/orders/uuids", [("identifiers[]", "b")]))
    assert [row["uuid"] for row in by_name] == [second["uuid"]]


def test_a_test_order_is_checked_but_never_made(client: Signed) -> None:
    answer = made(client.post("/v1/orders/test", {**BID, "identifier": "tried"}))
    assert set(answer) == ORDER_KEYS | {"identifier"}
    assert refused(client.get("/v1/order", [("uuid", answer["uuid"])])) == (404, "order_not_found")
    assert rows(client.get("/v1/orders/open")) == []
    assert rows(client.get("/v1/accounts"))[0]["locked"] == "0"
    bid(client, identifier="tried")  # not used up
    again = client.post("/v1/orders/test", {**BID, "identifier": "tried"})
    assert refused(again) == (400, "duplicated_identifier")
    poor = client.post("/v1/orders/test", {**BID, "volume": "1000"})
    assert refused(poor) == (400, "insufficient_funds_bid")


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"market": "KRW-NONE"}, "notfoundmarket"),
        ({"market": ""}, "validation_error"),
        ({"side": "buy"}, "invalid_parameter"),
        ({"ord_type": "stop"}, "invalid_parameter"),
        ({"price": "29005"}, "invalid_price_bid"),
        ({"price": ""}, "validation_error"),
        ({"price": "1e4"}, "invalid_parameter"),
        ({"price": "-1"}, "invalid_parameter"),
        ({"price": "NaN"}, "invalid_parameter"),
        ({"volume": "0"}, "invalid_parameter"),
        ({"volume": "0.000000001"}, "invalid_parameter"),
        ({"volume": "0.17"}, "under_min_total_bid"),  # 29,000 x 0.17 = 4,930
        ({"price": "1000000", "volume": "1001"}, "over_krw_funds_bid"),
        ({"volume": "345"}, "insufficient_funds_bid"),  # 10,005,000 and the fee
        ({"time_in_force": "gtc"}, "invalid_time_in_force"),
        ({"time_in_force": "post_only", "smp_type": "reduce"}, "invalid_post_only"),
        ({"smp_type": "sometimes"}, "invalid_parameter"),
        ({"ord_type": "price", "volume": "", "time_in_force": "ioc"}, "invalid_time_in_force"),
        ({"ord_type": "price"}, "invalid_parameter"),  # with a volume
        ({"ord_type": "market"}, "invalid_parameter"),  # a bid
        ({"ord_type": "best", "volume": ""}, "invalid_time_in_force"),
        ({"ord_type": "best", "volume": "", "time_in_force": "post_only"}, "invalid_time_in_force"),
        ({"identifier": "x" * 65}, "invalid_parameter"),
    ],
)
def test_a_wrong_order_is_refused_by_its_documented_name(
    client: Signed, changes: dict[str, str], name: str
) -> None:
    body = {key: value for key, value in {**BID, **changes}.items() if value}
    assert refused(client.post("/v1/orders", body)) == (400, name)
    assert rows(client.get("/v1/accounts"))[0]["balance"] == "10000000"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"price": "29005"}, "invalid_price_ask"),
        ({"volume": "0.1"}, "under_min_total_ask"),
        ({"volume": "2"}, "insufficient_funds_ask"),
        ({"ord_type": "price", "volume": "", "price": "10000"}, "invalid_parameter"),
        ({"ord_type": "market", "price": "", "volume": "0.16"}, "under_min_total_ask"),
    ],
)
def test_a_wrong_sale_is_refused_by_its_documented_name(
    running: RunningExchange, client: Signed, changes: dict[str, str], name: str
) -> None:
    bid(client, price="30000")
    body = {**BID, "side": "ask", **changes}
    body = {key: value for key, value in body.items() if value}
    assert refused(client.post("/v1/orders", body)) == (400, name)
    assert running.account.balance("BTC").locked == 0


def test_the_minimum_and_the_last_allowed_amount_are_inside(client: Signed) -> None:
    assert bid(client, price="20000", volume="0.25")["locked"] == "5002.5"
    # 10,000,000 - 5,002.5 = 9,994,997.5; / 1.0005 = 9,990,002.49...
    body = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "1000"}
    assert made(client.post("/v1/orders", {**body, "volume": "9990.002"}))["state"] == "wait"


def test_documented_messages_are_ours(client: Signed) -> None:
    answer = client.post("/v1/orders", {**BID, "market": "KRW-BTCs"})
    assert answer.json()["error"] == {
        "name": "notfoundmarket",
        "message": "다음 마켓에 없는 종목입니다: KRW-BTCs",
    }


# --- identifiers --------------------------------------------------------------------------------


def test_an_identifier_serves_once_for_ever(client: Signed) -> None:
    uuid = bid(client, identifier="once")["uuid"]
    assert refused(client.post("/v1/orders", {**BID, "identifier": "once"})) == (
        400,
        "duplicated_identifier",
    )
    client.delete("/v1/order", [("uuid", uuid)])
    assert client.get("/v1/order", [("uuid", uuid)]).json()["state"] == "cancel"
    assert refused(client.post("/v1/orders", {**BID, "identifier": "once"})) == (
        400,
        "duplicated_identifier",
    )


@pytest.mark.parametrize("changes", [{"volume": "1000"}, {"price": "29005"}, {"volume": "0.01"}])
def test_a_refused_order_uses_its_identifier_up_as_well(
    client: Signed, changes: dict[str, str]
) -> None:
    assert client.post("/v1/orders", {**BID, **changes, "identifier": "spent"}).status_code == 400
    again = client.post("/v1/orders", {**BID, "identifier": "spent"})
    assert refused(again) == (400, "duplicated_identifier")
    assert refused(client.get("/v1/order", [("identifier", "spent")])) == (404, "order_not_found")


def test_a_request_that_never_reached_the_desk_uses_nothing_up(client: Signed) -> None:
    wrong = client.post("/v1/orders", {**BID, "identifier": "kept"}, query_hash="0")
    assert wrong.status_code == 401
    bid(client, identifier="kept")


# --- reading ------------------------------------------------------------------------------------


def test_the_uuid_wins_over_the_identifier(client: Signed) -> None:
    first, _ = bid(client, identifier="a"), bid(client, identifier="b")
    found = client.get("/v1/order", [("uuid", first["uuid"]), ("identifier", "b")]).json()
    assert found["uuid"] == first["uuid"]
    assert refused(client.get("/v1/order")) == (400, "invalid_parameter")


def test_open_orders_come_in_pages_newest_first(client: Signed) -> None:
    uuids = [bid(client, price="20000")["uuid"] for _ in range(5)]
    newest = rows(client.get("/v1/orders/open", [("limit", "2")]))
    assert [row["uuid"] for row in newest] == [uuids[4], uuids[3]]
    last = rows(client.get("/v1/orders/open", [("limit", "2"), ("page", "3")]))
    assert [row["uuid"] for row in last] == [uuids[0]]
    oldest = rows(client.get("/v1/orders/open", [("order_by", "asc"), ("limit", "1")]))
    assert [row["uuid"] for row in oldest] == [uuids[0]]
    assert rows(client.get("/v1/orders/open", [("market", "KRW-ETH")])) == []
    both = [("states[]", "wait"), ("states[]", "watch")]
    assert len(rows(client.get("/v1/orders/open", both))) == 5
    assert rows(client.get("/v1/orders/open", [("state", "watch")])) == []


@pytest.mark.parametrize(
    "pairs",
    [
        [("limit", "101")],
        [("limit", "x")],
        [("state", "done")],
        [("state", "wait"), ("states[]", "wait")],
        [("order_by", "up")],
    ],
)
def test_wrong_filters_are_refused(client: Signed, pairs: list[tuple[str, str]]) -> None:
    assert refused(client.get("/v1/orders/open", pairs)) == (400, "invalid_parameter")


def test_closed_orders_are_found_by_creation_time_within_seven_days(
    running: RunningExchange, client: Signed
) -> None:
    uuid = bid(client, price="30000")["uuid"]
    running.app.advance(timedelta(days=6, hours=23))
    client.delete("/v1/order", [("uuid", bid(client)["uuid"])])
    assert [row["state"] for row in rows(client.get("/v1/orders/closed"))] == ["cancel", "done"]
    done = rows(client.get("/v1/orders/closed", [("state", "done")]))
    assert [row["uuid"] for row in done] == [uuid]
    running.app.advance(timedelta(hours=2))
    assert [row["state"] for row in rows(client.get("/v1/orders/closed"))] == ["cancel"]
    window = [("start_time", "2026-11-23T19:00:00+09:00"), ("end_time", "1795428425000")]
    assert [row["uuid"] for row in rows(client.get("/v1/orders/closed", window))] == [uuid]
    before = [("end_time", "1795428424999")]
    assert rows(client.get("/v1/orders/closed", before)) == []
    too_long = [("start_time", "2026-11-01T00:00:00Z"), ("end_time", "2026-11-08T00:00:01Z")]
    assert refused(client.get("/v1/orders/closed", too_long)) == (400, "invalid_parameter")


def test_the_retired_list_is_gone(client: Signed) -> None:
    assert client.get("/v1/orders").status_code == 404


# --- cancelling ---------------------------------------------------------------------------------


def test_a_cancel_is_accepted_first_and_carried_out_then(client: Signed) -> None:
    uuid = bid(client)["uuid"]
    answer = client.delete("/v1/order", [("uuid", uuid)])
    assert (answer.status_code, answer.json()["state"], answer.json()["locked"]) == (
        200,
        "wait",
        "29014.5",
    )
    after = client.get("/v1/order", [("uuid", uuid)]).json()
    assert (after["state"], after["locked"], after["remaining_fee"]) == ("cancel", "0", "0")
    assert refused(client.delete("/v1/order", [("uuid", uuid)])) == (404, "order_not_found")
    assert refused(client.delete("/v1/order", [("uuid", "none")])) == (404, "order_not_found")


@pytest.mark.parametrize("path", ["/v1/order", "/v1/orders/uuids", "/v1/orders/open"])
def test_a_cancel_takes_no_values_from_its_body(client: Signed, path: str) -> None:
    answer = client.raw("DELETE", path, json={"uuid": "x"}, headers=client.headers("uuid=x"))
    assert refused(answer) == (400, "QUERY_PARAMETER_NOT_SUPPORTED")


def test_a_list_of_orders_is_cancelled(client: Signed) -> None:
    waiting = bid(client, identifier="w")["uuid"]
    done = bid(client, price="30000")["uuid"]
    pairs = [("uuids[]", waiting), ("uuids[]", done), ("uuids[]", "unknown")]
    found = client.delete("/v1/orders/uuids", pairs).json()
    assert found == {
        "success": {
            "count": 1,
            "orders": [{"uuid": waiting, "market": BTC, "identifier": "w"}],
        },
        "failed": {"count": 1, "orders": [{"uuid": done, "market": BTC}]},
    }
    assert rows(client.get("/v1/orders/open")) == []
    many = [("uuids[]", str(i)) for i in range(21)]
    assert refused(client.delete("/v1/orders/uuids", many)) == (400, "invalid_parameter")


def test_all_open_orders_of_a_side_are_cancelled(client: Signed) -> None:
    bid(client, price="30000", volume="3")
    bids = [bid(client, price="20000")["uuid"] for _ in range(3)]
    ask = {"market": BTC, "side": "ask", "ord_type": "limit", "price": "31000", "volume": "1"}
    sale = made(client.post("/v1/orders", ask))["uuid"]
    found = client.delete("/v1/orders/open", [("cancel_side", "bid"), ("count", "2")]).json()
    assert [row["uuid"] for row in found["success"]["orders"]] == [bids[2], bids[1]]
    left = [row["uuid"] for row in rows(client.get("/v1/orders/open"))]
    assert left == [sale, bids[0]]
    none = client.delete("/v1/orders/open", [("excluded_pairs", BTC)]).json()
    assert none["success"]["count"] == 0
    both = [("pairs", BTC), ("quote_currencies", "KRW")]
    assert refused(client.delete("/v1/orders/open", both)) == (400, "invalid_parameter")
    assert client.delete("/v1/orders/open").json()["success"]["count"] == 2
    assert rows(client.get("/v1/orders/open")) == []


def test_an_order_is_replaced_by_another(client: Signed) -> None:
    old = bid(client, identifier="old")
    body = {
        "prev_order_identifier": "old",
        "new_ord_type": "limit",
        "new_price": "28000",
        "new_volume": "remain_only",
        "new_identifier": "new",
    }
    answer = made(client.post("/v1/orders/cancel_and_new", body))
    assert (answer["uuid"], answer["state"], answer["new_order_identifier"]) == (
        old["uuid"],
        "wait",
        "new",
    )
    new = client.get("/v1/order", [("uuid", answer["new_order_uuid"])]).json()
    assert (new["price"], new["volume"], new["side"], new["state"]) == ("28000", "1", "bid", "wait")
    assert client.get("/v1/order", [("identifier", "old")]).json()["state"] == "cancel"
    again = client.post("/v1/orders/cancel_and_new", {**body, "new_identifier": "newer"})
    assert refused(again) == (404, "order_not_found")


def test_a_refused_replacement_leaves_the_old_order(client: Signed) -> None:
    old = bid(client)
    body = {
        "prev_order_uuid": old["uuid"],
        "new_ord_type": "limit",
        "new_price": "28000",
        "new_volume": "1000",
    }
    answer = client.post("/v1/orders/cancel_and_new", body)
    assert refused(answer) == (400, "insufficient_funds_bid")
    assert client.get("/v1/order", [("uuid", old["uuid"])]).json()["state"] == "wait"


# --- time ---------------------------------------------------------------------------------------


def test_a_resting_order_is_filled_as_the_synthetic_price_moves(
    make_exchange: MakeExchange,
) -> None:
    exchange = make_exchange(clock=SteppedClock(NOW))
    client = Signed(exchange.url)
    query = {"markets": BTC, "count": "1"}
    best = httpx.get(exchange.url + "/v1/orderbook", params=query, timeout=30).json()[0]
    bid_price = best["orderbook_units"][0]["bid_price"]
    # Half a percent below the best bid: passed within a day, with a standard deviation of 4 %.
    limit = str(int(bid_price * 0.995) // 1000 * 1000)
    body = {"market": BTC, "side": "bid", "ord_type": "limit", "price": limit, "volume": "0.001"}
    uuid = made(client.post("/v1/orders", body))["uuid"]
    assert client.get("/v1/order", [("uuid", uuid)]).json()["state"] == "wait"
    for _ in range(24):
        exchange.app.advance(timedelta(hours=1))
    found = client.get("/v1/order", [("uuid", uuid)]).json()
    assert (found["state"], found["trades"][0]["price"]) == ("done", limit)
    assert found["trades"][0]["created_at"] < found["created_at"].replace("11-23", "11-25")


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "limit", "minute", "path"),
    [
        ("default", 30, 1800, "/v1/accounts"),
        ("order", 12, 720, "/v1/orders"),
        ("order-test", 8, 480, "/v1/orders/test"),
        ("order-cancel-all", 1, 60, "/v1/orders/open"),
    ],
)
def test_each_group_has_its_own_limit(
    make_exchange: MakeExchange, group: str, limit: int, minute: int, path: str
) -> None:
    clock = SteppedClock(NOW)
    client = Signed(make_exchange(clock=clock, limited=True).url)

    def ask() -> httpx.Response:
        if group == "default":
            return client.get(path)
        return client.delete(path) if path.endswith("open") else client.post(path, {})

    answers = [ask() for _ in range(limit)]
    assert [answer.headers["Remaining-Req"] for answer in answers] == [
        f"group={group}; min={minute}; sec={limit - 1 - i}" for i in range(limit)
    ]
    refusal = ask()
    assert (refusal.status_code, refusal.text) == (429, "Too many API requests.")
    clock.advance(timedelta(seconds=2 if group == "order-cancel-all" else 1))
    assert ask().status_code != 429
