"""The exchange killed with SIGKILL and started again: what it had said still holds."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from trading_assets.clock import SystemClock
from trading_assets.exchange.model import OrderState
from trading_assets.paper_exchange.account import Account
from trading_assets_tests.paper_exchange.trading_by_hand import MARKET, Hand, Signed

# Serves on a port of the system's choice, which it prints, with the world's own account file.
SERVER = """
import socket, sys
import uvicorn
from trading_assets.clock import SystemClock
from trading_assets.paper_exchange.server import create_app, open_account, server_config
from trading_assets.paper_exchange.sources import markets_of
from trading_assets.settings import load_settings
from trading_assets.world import world_of

settings = load_settings({"markets": ("KRW-BTC",)})
world, clock = world_of(settings), SystemClock()
app = create_app(
    markets_of(settings, world, clock.now()), clock, limited=False,
    account=open_account(settings, world),
)
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(server_config(app, 0)).run([listening])
"""


class Process:
    """The exchange in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, env=dict(os.environ), text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        clock = SystemClock()
        while True:
            try:
                httpx.get(self.url + "/health", timeout=30)
            except httpx.ConnectError:
                assert self._process.poll() is None, "the exchange did not start"
                clock.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()


def start(started: list[Process]) -> tuple[Process, Signed]:
    started.append(Process())
    control = {"market": MARKET, "bids": [["29990", "100"]], "asks": [["30000", "100"]]}
    httpx.post(started[-1].url + "/control/books", json=control, timeout=30)
    return started[-1], Signed(started[-1].url)


def everything(client: Signed) -> dict[str, Any]:
    orders = [*client.get("/v1/orders/open").json(), *client.get("/v1/orders/closed").json()]
    return {
        "accounts": client.get("/v1/accounts").json(),
        "orders": [client.get("/v1/order", [("uuid", o["uuid"])]).json() for o in orders],
    }


def test_balances_orders_and_identifiers_survive_a_kill(started: list[Process]) -> None:
    first, client = start(started)
    buy = {"market": MARKET, "side": "bid", "ord_type": "price", "price": "10000"}
    client.post("/v1/orders", {**buy, "identifier": "filled"})
    resting = {"market": MARKET, "side": "bid", "ord_type": "limit", "price": "20000"}
    client.post("/v1/orders", {**resting, "volume": "1", "identifier": "resting"})
    client.post("/v1/orders", {**resting, "volume": "9999", "identifier": "refused"})
    before = everything(client)
    first.kill()
    _, client = start(started)
    assert everything(client) == before
    assert [order["state"] for order in before["orders"]] == ["wait", "cancel"]
    for identifier in ("filled", "resting", "refused"):
        again = client.post("/v1/orders", {**buy, "identifier": identifier})
        assert again.json()["error"]["name"] == "duplicated_identifier"
    client.delete("/v1/order", [("identifier", "resting")])
    assert client.get("/v1/order", [("identifier", "resting")]).json()["state"] == "cancel"


def test_a_cancel_that_was_accepted_before_the_kill_is_carried_out_after_it(
    started: list[Process],
) -> None:
    first, client = start(started)
    body = {"market": MARKET, "side": "bid", "ord_type": "limit", "price": "20000", "volume": "1"}
    uuid = client.post("/v1/orders", body).json()["uuid"]
    assert client.delete("/v1/order", [("uuid", uuid)]).json()["state"] == "wait"
    first.kill()
    _, client = start(started)
    assert client.get("/v1/order", [("uuid", uuid)]).json()["state"] == "cancel"
    assert client.get("/v1/accounts").json()[0]["balance"] == "10000000"


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("after", range(1, 16))
def test_a_change_cut_off_after_any_statement_leaves_nothing_behind(
    tmp_path: Path, after: int
) -> None:
    path = tmp_path / "account.sqlite"
    hand = Hand()
    hand.account = hand.desk.account = Account(path)
    hand.book([("29990", "100")], [("30000", "0.1"), ("30010", "100")])
    hand.place("bid", "limit", price="20000", volume="1", identifier="earlier")
    before = hand.account.balances(), hand.account.orders(list(OrderState))
    statements = 0

    def count(statement: str) -> None:
        nonlocal statements
        if statement.startswith(("INSERT", "UPDATE")):
            statements += 1
            if statements == after:
                raise Killed

    class Cut:
        """The account's connection, cut off at the chosen statement."""

        def __init__(self, real: Any) -> None:
            self._real = real

        def execute(self, statement: str, *values: Any) -> Any:
            count(statement)
            return self._real.execute(statement, *values)

    hand.account._db = Cut(hand.account._db)  # type: ignore[assignment]
    try:
        hand.place("bid", "limit", price="30010", volume="0.5", identifier="cut")
    except Killed:
        reopened = Account(path)
        assert (reopened.balances(), reopened.orders(list(OrderState))) == before
        assert not reopened.knows_identifier("cut")
    else:
        assert after > statements  # the order was through before the cut
        assert Account(path).balance("BTC").balance == Decimal("0.5")
