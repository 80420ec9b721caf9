"""Whole trades as Dagster runs against the paper exchange over HTTP: signal to booked profit."""

import _thread
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from trading_assets.database import alerts, connect, database_url, read
from trading_assets.errors import CredentialsRefused, ExchangeUnavailable, LedgerMismatch
from trading_assets.orchestration.trading.assets import FILLS, ORDERS, POSITIONS
from trading_assets.orchestration.trading.sensors import emergency_sensor, reconcile_sensor
from trading_assets.paper_exchange.faults import parse_fault
from trading_assets.rules.funnel import FunnelCode
from trading_assets.settings import effective_settings
from trading_assets.trading import books, halts, leases, records
from trading_assets.trading.funnel import outcome_of
from trading_assets.trading.states import Leg, OrderReason, PositionState
from trading_assets_tests.conftest import MakeExchange
from trading_assets_tests.orchestration.trading_world import (
    ACCESS_KEY,
    MARKET,
    SECRET_KEY,
    START_KRW,
    TradingWorld,
    open_world,
)
from trading_assets_tests.stopped_writer import stopped_writer


@pytest.fixture
def trading_world(isolated_settings: Path, make_exchange: MakeExchange) -> Iterator[TradingWorld]:
    with dg.DagsterInstance.ephemeral() as instance:
        world = open_world(make_exchange(), instance)
        yield world
        world.engine.dispose()


@contextmanager
def once(condition: Callable[[], bool], then: Callable[[], None]) -> Iterator[None]:
    """Meanwhile: as soon as `condition` holds, `then`; it must have happened by the end."""
    over, done = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            if condition():
                then()
                done.set()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert done.is_set()


def materialized(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> list[dict[str, object]]:
    """The facts of each event of an asset, in order."""
    return [
        {
            name: value.value
            for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.all_events
        if event.is_step_materialization and event.asset_key == key
    ]


def test_a_signal_becomes_a_run_an_order_fills_an_exit_and_a_booked_loss(
    trading_world: TradingWorld,
) -> None:
    signal_id = trading_world.give_signal()
    (request,) = trading_world.requests()
    assert request.run_key == f"signal {signal_id}"
    assert request.tags == {
        "trading_assets/market": MARKET,
        "trading_assets/signal": str(signal_id),
        "trading_assets/model_version": "20260301T030000-abcdef12",
        "dagster/max_retries": "0",
        "dagster/max_runtime": str(1800 + 6 * 3600),
        "dagster/sensor_name": "trading_sensor",
    }
    with once(trading_world.is_guarded, trading_world.fall):
        result = trading_world.execute(request)
    assert result.success

    position = trading_world.position()
    assert position is not None
    assert position.signal_id == signal_id
    assert position.state is PositionState.CLOSED
    assert position.exit_reason is OrderReason.STOP_LOSS
    with read(trading_world.engine) as connection:
        (entry,) = records.intents_of(connection, position.id, Leg.ENTRY)
        (leave,) = records.intents_of(connection, position.id, Leg.EXIT)
        outcome = outcome_of(connection, signal_id)
    assert outcome is not None
    assert outcome.code is FunnelCode.TRADED
    # 7 % of the equity at 65 %, bought at 100,000 and sold at 97,900, 0.05 % fee on both.
    assert position.bought_funds == Decimal(100_000) * position.bought_volume
    assert Decimal(690_000) < position.bought_funds <= Decimal(700_000)
    assert position.sold_funds == Decimal(97_900) * position.bought_volume
    fees = (position.bought_funds + position.sold_funds) * Decimal("0.0005")
    assert position.cash_flow == position.sold_funds - position.bought_funds - fees
    balances = {b.currency: b for b in trading_world.exchange.account.balances()}
    assert balances["KRW"].locked == 0
    assert balances["KRW"].balance == START_KRW + position.cash_flow

    orders = materialized(result, ORDERS)
    assert [o["identifier"] for o in orders] == [entry.identifier, leave.identifier]
    assert [o["reason"] for o in orders] == ["entry", "stop_loss"]
    assert {o["signal"] for o in orders} == {signal_id}
    fills = materialized(result, FILLS)
    assert [f["order"] for f in fills] == [entry.identifier, leave.identifier]
    held, left = materialized(result, POSITIONS)
    assert (held["state"], left["state"]) == ("open", "closed")
    assert left["cash_flow_krw"] == f"{position.cash_flow:+f}"
    # The signal is used up.
    assert trading_world.requests() == []


def test_a_position_whose_run_was_terminated_is_taken_over_and_its_stop_fires(
    trading_world: TradingWorld,
) -> None:
    trading_world.give_signal()
    (request,) = trading_world.requests()
    # What Dagster's Terminate is in the run's process: an interrupt at any instruction.
    with once(trading_world.is_guarded, _thread.interrupt_main):
        result = trading_world.execute(request, fails=True)
    assert not result.success
    held = trading_world.position()
    assert held is not None
    assert held.state is PositionState.OPEN

    (takeover,) = trading_world.requests()
    assert takeover.run_key == f"takeover {MARKET} 1 first"
    assert takeover.run_config == {
        "ops": {"hold_trade": {"config": {"market": MARKET, "signal_id": None}}}
    }
    assert takeover.tags["trading_assets/lost_token"] == "1"
    lost = trading_world.lease()
    assert takeover.tags["trading_assets/lost_at"] == lost.heartbeat_at.isoformat()
    with once(trading_world.is_guarded, trading_world.fall):
        assert trading_world.execute(takeover).success
    left = trading_world.position()
    assert left is not None
    assert left.id == held.id
    assert left.exit_reason is OrderReason.STOP_LOSS
    assert trading_world.requests() == []


def test_a_takeover_that_died_before_its_lease_is_followed_by_another_under_a_new_key(
    trading_world: TradingWorld,
) -> None:
    trading_world.hold_abandoned_position()
    (first,) = trading_world.requests()
    run = trading_world.instance.create_run_for_job(
        trading_world.defs.resolve_job_def("trade"),
        run_config=first.run_config,
        tags=dict(first.tags),
    )
    assert trading_world.requests() == []  # it may still begin
    trading_world.instance.report_run_failed(run)
    assert trading_world.requests() == []  # not at once
    (again,) = trading_world.requests(later_seconds=6)
    assert again.run_key != first.run_key
    assert again.tags == first.tags


def test_a_takeover_starts_although_nobody_can_write_now(trading_world: TradingWorld) -> None:
    """Its run waits for the lock. The missed candidate, which would be written down, waits too."""
    trading_world.hold_abandoned_position()
    trading_world.give_signal(expires_at=trading_world.clock.now() - timedelta(seconds=1))
    url = database_url(trading_world.settings, trading_world.world)
    hasty = replace(trading_world, engine=connect(url, busy_timeout_ms=50))
    with stopped_writer(trading_world.world.database):
        (takeover,) = hasty.requests()
    assert takeover.run_key == f"takeover {MARKET} 1 first"


def test_a_takeover_starts_although_the_candidates_cannot_be_read(
    trading_world: TradingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise LedgerMismatch("a candidate makes no sense")

    monkeypatch.setattr("trading_assets.trading.funnel.end_missed_candidates", fails)
    with pytest.raises(LedgerMismatch):
        trading_world.requests()  # nothing else to do: the tick fails and is seen
    trading_world.hold_abandoned_position()
    (takeover,) = trading_world.requests()
    assert takeover.run_key == f"takeover {MARKET} 1 first"


def test_a_market_that_is_held_starts_no_second_run(trading_world: TradingWorld) -> None:
    trading_world.hold_abandoned_position()
    lease = leases.take(
        trading_world.engine,
        MARKET,
        "guard-by-hand",
        now=trading_world.clock.now(),
        duration=timedelta(minutes=1),
    )
    assert lease is not None
    trading_world.give_signal()
    assert trading_world.requests() == []


def test_signals_that_ask_for_no_entry_start_no_run(trading_world: TradingWorld) -> None:
    now = trading_world.clock.now()
    trading_world.give_signal("HOLD")
    trading_world.give_signal(traded=False, profile="swing")
    trading_world.give_signal(market="KRW-DOGE")  # not in the settings
    assert trading_world.requests() == []
    expired = trading_world.give_signal(expires_at=now - timedelta(seconds=1))
    assert trading_world.requests() == []
    with read(trading_world.engine) as connection:
        outcome = outcome_of(connection, expired)
    assert outcome is not None
    assert outcome.code is FunnelCode.EXPIRED


def test_a_refused_entry_is_a_run_that_says_why(trading_world: TradingWorld) -> None:
    halts.halt(
        trading_world.engine, reason="by_hand", detail="a test", now=trading_world.clock.now()
    )
    trading_world.give_signal()
    (request,) = trading_world.requests()
    result = trading_world.execute(request)
    assert result.success
    (end,) = [e for e in result.all_events if e.is_successful_output]
    told = {n: v.value for n, v in end.step_output_data.metadata.items()}
    assert told["end"] == "refused"
    assert told["refused"] == "halted"
    assert trading_world.position() is None


def test_a_candidate_whose_run_failed_before_it_decided_ends_with_a_row_that_says_so(
    trading_world: TradingWorld,
) -> None:
    signal = trading_world.give_signal()
    (request,) = trading_world.requests()
    trading_world.exchange.faults.add(parse_fault("maintenance,times=100"))
    assert not trading_world.execute(request, fails=True).success
    (again,) = trading_world.requests()
    assert again.run_key == request.run_key  # which Dagster starts once
    assert trading_world.requests(later_seconds=301) == []
    with read(trading_world.engine) as connection:
        outcome = outcome_of(connection, signal)
    assert outcome is not None
    assert outcome.code is FunnelCode.EXPIRED
    assert "its run ended before it decided (it is not tried again)" in outcome.detail


def test_reconcile_declares_the_capital_and_compares_the_account(
    trading_world: TradingWorld,
) -> None:
    job = trading_world.defs.resolve_job_def("reconcile")
    assert job.execute_in_process(instance=trading_world.instance).success
    with read(trading_world.engine) as connection:
        assert books.capital(connection) == START_KRW


def test_the_reconcile_sensor_leaves_it_to_a_live_guard(trading_world: TradingWorld) -> None:
    _, said = trading_world.tick(reconcile_sensor)
    assert said == "0 orders adopted, missing: nothing"
    now = trading_world.clock.now()
    leases.take(trading_world.engine, MARKET, "g", now=now, duration=timedelta(minutes=1))
    _, said = trading_world.tick(reconcile_sensor)
    assert said == "a trade run holds a position and reconciles itself"


def test_an_emergency_check_starts_only_when_there_is_something_to_tell(
    trading_world: TradingWorld,
) -> None:
    assert trading_world.tick(emergency_sensor) == ([], "all is well")
    trading_world.hold_abandoned_position(since=timedelta(minutes=2))
    (request,), _ = trading_world.tick(emergency_sensor)
    assert request.job_name == "emergency_check"
    assert request.run_key is not None
    assert request.run_key.startswith(f"unguarded_position {MARKET} ")
    trading_world.execute(request)
    with read(trading_world.engine) as connection:
        (message,) = connection.execute(sa.select(alerts.c.message)).scalars().all()
    assert message.startswith(f"{MARKET} has a position and nobody holds it")
    assert "`trading-assets guard`" in message


def test_no_secret_is_in_any_event_run_config_tag_or_error(
    trading_world: TradingWorld, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    trading_world.give_signal()
    (request,) = trading_world.requests()
    with once(trading_world.is_guarded, _thread.interrupt_main):
        trading_world.execute(request, fails=True)
    trading_world.exchange.faults.add(parse_fault("maintenance,times=100"))
    failed = trading_world.defs.resolve_job_def("reconcile").execute_in_process(
        instance=trading_world.instance, raise_on_error=False
    )
    assert not failed.success
    runs = trading_world.instance.get_runs()
    assert len(runs) == 2
    shown = [repr(run) for run in runs]
    for run in runs:
        shown += [repr(entry) for entry in trading_world.instance.all_logs(run.run_id)]
    told = capfd.readouterr()
    shown += [caplog.text, told.out, told.err, repr(effective_settings(trading_world.settings))]
    everything = "\n".join(shown)
    assert "hold_trade" in everything  # there was something to search
    for secret in (ACCESS_KEY, SECRET_KEY):
        assert secret not in everything


@pytest.mark.parametrize(
    ("trouble", "is_seen"),
    [
        (ExchangeUnavailable("down"), False),
        (LedgerMismatch("less"), True),
        (CredentialsRefused("less", "expired_access_key"), True),
    ],
)
def test_the_reconcile_sensor_skips_only_what_the_next_minute_may_mend(
    trading_world: TradingWorld,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Exception,
    is_seen: bool,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise trouble

    monkeypatch.setattr("trading_assets.trading.reconcile.open_books", fails)
    if is_seen:
        with pytest.raises(Exception, match="less"):
            trading_world.tick(reconcile_sensor)
        with read(trading_world.engine) as connection:
            told = connection.execute(sa.select(alerts.c.kind)).scalars().all()
        assert list(told) == (["key_refused"] if isinstance(trouble, CredentialsRefused) else [])
    else:
        _, said = trading_world.tick(reconcile_sensor)
        assert said == "not reconciled: down"
