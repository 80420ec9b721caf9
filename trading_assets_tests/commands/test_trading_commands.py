"""status, explain, halt, resume, guard and reconcile, by hand, against the paper exchange."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from trading_assets.commands.explain import explain
from trading_assets.commands.guard import guard
from trading_assets.commands.halt import halt, resume
from trading_assets.commands.reconcile import reconcile
from trading_assets.commands.trading_status import status
from trading_assets.database import read
from trading_assets.errors import CredentialsRefused, LedgerError
from trading_assets.settings import load_settings
from trading_assets.trading import halts, records
from trading_assets.trading.floor import floor_of
from trading_assets.trading.states import OrderReason, PositionState
from trading_assets.trading.trade import TradeEnd, TradeReport, trade
from trading_assets.world import world_of
from trading_assets_tests.commands.world_rows import prepared
from trading_assets_tests.conftest import MakeExchange
from trading_assets_tests.orchestration.trading_world import (
    ACCESS_KEY,
    MARKET,
    SECRET_KEY,
    TradingWorld,
    open_world,
)


@pytest.fixture
def trading_world(isolated_settings: Path, make_exchange: MakeExchange) -> Iterator[TradingWorld]:
    with dg.DagsterInstance.ephemeral() as instance:
        world = open_world(make_exchange(), instance)
        yield world
        world.engine.dispose()


def meanwhile(condition: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    def watch() -> None:
        for _ in range(1000):
            if condition():
                then()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_guard_holds_an_abandoned_position_until_its_stop(trading_world: TradingWorld) -> None:
    trading_world.enter_and_die()
    said: list[str] = []
    watcher = meanwhile(trading_world.is_guarded, trading_world.fall)
    assert guard(trading_world.settings, trading_world.clock, said.append) == 0
    watcher.join()
    position = trading_world.position()
    assert position is not None
    assert position.exit_reason is OrderReason.STOP_LOSS
    assert said[-1] == "everything is sold"


def test_guard_tells_whatever_ends_a_trade_and_tries_again(
    trading_world: TradingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    trading_world.enter_and_die()
    troubles = [RuntimeError("the heartbeat died")]

    def broken_once(*arguments: Any) -> TradeReport:
        if troubles:
            raise troubles.pop()
        return trade(*arguments)

    monkeypatch.setattr("trading_assets.commands.guard.trade", broken_once)
    said: list[str] = []
    watcher = meanwhile(trading_world.is_guarded, trading_world.fall)
    assert guard(trading_world.settings, trading_world.clock, said.append) == 1
    watcher.join()
    told = f"!! {MARKET}: RuntimeError: the heartbeat died; tried again in a moment"
    assert told in said
    assert said[-1] == "everything is sold"


def test_guard_with_nothing_open_says_so(trading_world: TradingWorld) -> None:
    said: list[str] = []
    assert guard(trading_world.settings, trading_world.clock, said.append) == 0
    assert said == ["no position is open: there is nothing to guard"]


def test_halt_sells_what_nobody_holds_and_entries_wait_for_resume(
    trading_world: TradingWorld,
) -> None:
    trading_world.enter_and_die()
    said: list[str] = []
    settings, clock = trading_world.settings, trading_world.clock
    assert halt(settings, clock, said.append, "looks odd") == 0
    position = trading_world.position()
    assert position is not None
    assert position.state is PositionState.CLOSED
    assert position.exit_reason is OrderReason.HALT
    assert said[-1] == "orders cancelled: 0, positions sold here: 1"

    floor = floor_of(settings, trading_world.engine, clock)
    refused = trade(floor, MARKET, "run-second", signal_id=trading_world.give_signal())
    assert refused.end is TradeEnd.REFUSED
    assert "looks odd" in status(settings, clock)

    assert resume(settings, clock, said.append) == 0
    assert said[-1].startswith("resumed")
    assert "halt       none" in status(settings, clock)
    assert resume(settings, clock, said.append) == 0
    assert said[-1] == f"nothing is halted in the world {world_of(settings).name}"


def test_halt_stops_entries_even_without_keys(isolated_settings: Path) -> None:
    settings = load_settings({"trading_mode": "live", "profile": "swing"})
    _, engine = prepared(settings)
    from trading_assets.clock import SystemClock

    said: list[str] = []
    with pytest.raises(CredentialsRefused, match="needs both UPBIT_ACCESS_KEY"):
        halt(settings, SystemClock(), said.append, "no keys")
    with read(engine) as connection:
        on = halts.active_halt(connection)
    assert on is not None
    assert on.detail == "no keys"


def test_reconcile_says_that_the_books_are_whole(trading_world: TradingWorld) -> None:
    trading_world.enter_and_die()
    said: list[str] = []
    assert reconcile(trading_world.settings, trading_world.clock, said.append) == 0
    assert said[-1].startswith("the account has everything the ledger says")


def test_status_shows_account_position_and_who_holds_nothing(trading_world: TradingWorld) -> None:
    trading_world.enter_and_die()
    shown = status(trading_world.settings, trading_world.clock)
    position = trading_world.position()
    assert position is not None
    assert position.plan is not None
    assert f"{position.bought_volume:,f} SOL" in shown
    assert "ledger     capital 10,000,000 KRW" in shown
    assert f"position   {position.id} {MARKET} scalp open" in shown
    assert f"stop {position.plan.stop_price:,f}" in shown
    assert f"!! {MARKET} has a position and nobody holds it" in shown
    assert "last 24 h  1 traded" in shown
    assert ACCESS_KEY not in shown
    assert SECRET_KEY not in shown


def test_status_answers_while_the_exchange_is_down(isolated_settings: Path) -> None:
    from trading_assets.clock import SystemClock

    settings = load_settings({"exchange_url": "http://127.0.0.1:1"})
    prepared(settings)
    shown = status(settings, SystemClock())
    assert "account    not answered: " in shown
    assert "positions  none" in shown


def test_explain_goes_from_the_order_back_to_the_model(trading_world: TradingWorld) -> None:
    trading_world.enter_and_die()
    position = trading_world.position()
    assert position is not None
    with read(trading_world.engine) as connection:
        (entry,) = records.intents_of(connection, position.id)
    served = trading_world.world.champions / f"{MARKET}.scalp" / str(position.model_version)
    (served / "served").mkdir(parents=True)
    (served / "served" / "model_metadata.json").write_text(
        '{"trained_at": "2026-03-01T03:00:00+00:00", "interval_minutes": 5,'
        '"candle_hash": "c0ffee", "window": {"first_open_time": "2025-11-01T00:00:00+00:00",'
        '"last_open_time": "2026-02-28T00:00:00+00:00", "rows": 34000,'
        '"last_label_end": "2026-02-28T00:30:00+00:00"}}'
    )
    shown = explain(trading_world.settings, trading_world.clock, entry.identifier)
    assert shown == explain(trading_world.settings, trading_world.clock, position.id[:12])
    heads = [line[:10].strip() for line in shown.splitlines()]
    for head in ("trade", "order", "event", "fill", "decision", "signal", "model", "training"):
        assert head in heads
    assert "content hash c0ffee" in shown
    assert "p_buy 0.6500" in shown


def test_explain_of_something_unknown_is_one_sentence(trading_world: TradingWorld) -> None:
    with pytest.raises(LedgerError, match="no order and no trade called nonsense"):
        explain(trading_world.settings, trading_world.clock, "nonsense")
    assert "no trade ended" in explain(trading_world.settings, trading_world.clock, None)
