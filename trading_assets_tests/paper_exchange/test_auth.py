"""Tokens, nonces and query hashes: what Upbit refuses, refused by the same name and status."""

import hashlib
import json
from pathlib import Path

import httpx
import jwt
import pytest

from trading_assets.paper_exchange.auth import Keys, query_of_body, query_of_url
from trading_assets_tests.conftest import MakeExchange, RunningExchange
from trading_assets_tests.paper_exchange.trading_by_hand import ACCESS, SECRET, Signed

LIMIT_BID = {"market": "KRW-BTC", "side": "bid", "volume": "0.01", "price": "100.0"}


@pytest.fixture
def guarded(make_exchange: MakeExchange) -> RunningExchange:
    """An exchange that knows one pair of keys only."""
    return make_exchange(keys=Keys({ACCESS: SECRET}, any_pair=False))


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["name"]


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_both_algorithms_are_accepted(guarded: RunningExchange, algorithm: str) -> None:
    assert Signed(guarded.url, algorithm=algorithm).get("/v1/accounts").status_code == 200


def test_a_request_without_a_token_is_refused(guarded: RunningExchange) -> None:
    answer = httpx.get(guarded.url + "/v1/accounts", timeout=30)
    assert refused(answer) == (401, "no_authorization_token")


def test_a_wrong_signature_is_refused(guarded: RunningExchange) -> None:
    wrong = Signed(guarded.url, secret="another-secret" * 5)
    assert refused(wrong.get("/v1/accounts")) == (401, "jwt_verification")


def test_an_unknown_access_key_is_refused(guarded: RunningExchange) -> None:
    stranger = Signed(guarded.url, access="stranger")
    assert refused(stranger.get("/v1/accounts")) == (401, "invalid_access_key")


@pytest.mark.parametrize(
    "token", ["Bearer", "Bearer x", "Bearer a.b.c", "Basic abc", "Bearer ?.?.?"]
)
def test_what_is_no_token_is_refused(guarded: RunningExchange, token: str) -> None:
    headers = {"Authorization": token}
    answer = httpx.get(guarded.url + "/v1/accounts", headers=headers, timeout=30)
    assert refused(answer) == (401, "jwt_verification")


def test_an_unsigned_token_is_refused(guarded: RunningExchange) -> None:
    token = jwt.encode({"access_key": ACCESS, "nonce": "n"}, "", algorithm="none")
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(guarded.url + "/v1/accounts", headers=headers, timeout=30)
    assert refused(answer) == (401, "jwt_verification")


def test_a_nonce_serves_once(guarded: RunningExchange) -> None:
    client = Signed(guarded.url)
    assert client.get("/v1/accounts", nonce="once").status_code == 200
    assert refused(client.get("/v1/accounts", nonce="once")) == (401, "nonce_used")
    assert client.get("/v1/accounts", nonce="twice").status_code == 200


def test_a_hash_of_another_query_is_refused(guarded: RunningExchange) -> None:
    client = Signed(guarded.url)
    other = hashlib.sha512(b"market=KRW-ETH").hexdigest()
    pairs = [("market", "KRW-BTC")]
    answer = client.get("/v1/orders/chance", pairs, query_hash=other)
    assert refused(answer) == (401, "invalid_query_payload")
    unhashed = client.raw(
        "GET", "/v1/orders/chance?market=KRW-BTC", headers=client.headers(query="")
    )
    assert refused(unhashed) == (401, "invalid_query_payload")
    assert client.get("/v1/orders/chance", pairs).status_code == 200


def test_a_hash_of_another_body_is_refused(guarded: RunningExchange) -> None:
    client = Signed(guarded.url)
    other = hashlib.sha512(b"market=KRW-BTC&side=bid").hexdigest()
    answer = client.post("/v1/orders", {**LIMIT_BID, "ord_type": "limit"}, query_hash=other)
    assert refused(answer) == (401, "invalid_query_payload")


def test_a_body_must_be_json(guarded: RunningExchange) -> None:
    client = Signed(guarded.url)
    form = client.raw("POST", "/v1/orders", data=LIMIT_BID, headers=client.headers())
    assert refused(form) == (400, "bad_request")
    headers = {**client.headers(), "Content-Type": "application/json"}
    broken = client.raw("POST", "/v1/orders", content=b"{", headers=headers)
    assert refused(broken) == (400, "bad_request")


def test_without_keys_in_the_settings_any_pair_may_use_the_play_money(
    make_exchange: MakeExchange,
) -> None:
    client = Signed(make_exchange().url, access="whoever", secret="x" * 64)
    assert client.get("/v1/accounts").status_code == 200
    assert client.get("/v1/accounts", nonce="n").status_code == 200
    assert refused(client.get("/v1/accounts", nonce="n")) == (401, "nonce_used")


def test_keys_do_not_show_in_their_text() -> None:
    assert SECRET not in repr(Keys({ACCESS: SECRET}, any_pair=False))


def test_the_hashed_text_is_the_unencoded_query_in_the_order_sent() -> None:
    raw = b"market=KRW-BTC&states%5B%5D=wait&states[]=watch&to=2026-01-01T00%3A00%3A00%2B09%3A00"
    assert query_of_url(raw) == (
        "market=KRW-BTC&states[]=wait&states[]=watch&to=2026-01-01T00:00:00+09:00"
    )


def test_the_hashed_text_of_a_body_keeps_numbers_as_they_were_written() -> None:
    fields = [("market", "KRW-BTC"), ("volume", "0.010"), ("uuids", ["a", "b"]), ("price", None)]
    assert query_of_body(fields) == "market=KRW-BTC&volume=0.010&uuids[]=a&uuids[]=b"


@pytest.mark.real_data
def test_the_documented_hashes_come_out(shared_data: Path) -> None:
    sample = json.loads((shared_data / "upbit_samples/auth/query_strings.json").read_text("utf-8"))
    for case in sample["cases"]:
        text = case["query_string"]
        if "body" in case:
            assert query_of_body(list(case["body"].items())) == text
        assert hashlib.sha512(text.encode()).hexdigest() == case["query_hash"]
