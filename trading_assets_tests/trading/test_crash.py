"""Real trades killed at every step, started again, and compared with the exchange to the digit.

Every case is a trade that enters, guards and leaves by its stop-loss, against the paper exchange
over HTTP and its stream. A step is a database write or a request; `#2` is its second time.
"""

import multiprocessing as mp
import random
import sys
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from trading_assets.database import read
from trading_assets.rules.funnel import FunnelCode
from trading_assets.trading import records
from trading_assets.trading.funnel import outcome_of
from trading_assets.trading.reconcile import reconcile
from trading_assets.trading.states import IntentState, Leg, OrderReason
from trading_assets_tests.trading.crash_trader import AMID_A_WRITE, CALM, HASTY, SLEEPY, Fate
from trading_assets_tests.trading.crash_world import (
    LOW,
    CrashWorld,
    fork_server,
    resume_process,
    wait_for,
)
from trading_assets_tests.trading.ledger_world import prepared

STEPS = (
    "take the lease#1",
    "read the lists of orders#1",
    "read the account#1",
    "ask what the market takes#1",
    "ask for the market's flags#1",
    "ask for the tick size#1",
    "write the entry's decision#1",
    "test the order#1",
    "mark the order sent#1",
    "post the order#1",
    "book the order#1",
    "look the order up#1",
    "book the order#2",
    "arm the position#1",
    "write the equity mark#1",
    "ask what the market takes#2",
    "read the lists of orders#2",
    "read the account#2",
    "write the exit's intent#1",
    "mark the order sent#2",
    "post the order#2",
    "book the order#3",
    "look the order up#2",
    "book the order#4",
    "write the equity mark#2",
    "release the lease#1",
)
POINTS = tuple(f"{when} {step}" for step in STEPS for when in ("before", "after"))

# Where a holder is put to sleep while another takes over.
SLEEPS = (
    "after take the lease#1",
    "after write the entry's decision#1",
    "after mark the order sent#1",
    "after post the order#1",
    "before arm the position#1",
    "after write the equity mark#1",
    "after write the exit's intent#1",
    "after mark the order sent#2",
    "before post the order#2",
    "after post the order#2",
)
# From where on a holder is stopped amid the next write of any of its threads.
FREEZES = (
    "after write the entry's decision#1",
    "after arm the position#1",
    "before write the exit's intent#1",
)
SLEEPER = "sleeper"
WRITTEN = tuple(f"after {verb}" for verb in ("write", "mark", "book", "arm", "give", "close"))
AT_THE_EXIT = (*SLEEPS[6:], FREEZES[2])

# Faults of a POST of an order, as the exchange's control takes them.
UNCLEAR: dict[str, dict[str, object]] = {
    "accept-then-500": {"kind": "error_after"},
    "500-without-order": {"kind": "error_before"},
    "accept-then-hang": {"kind": "hang", "seconds": 1.5},
    "accept-then-reset": {"kind": "reset"},
    "reset-without-order": {"kind": "lost"},
    "half-an-answer": {"kind": "truncate"},
    "too-many-requests": {"kind": "too_many"},
    "blocked": {"kind": "blocked", "seconds": 1},
    "visible-late": {"kind": "late", "seconds": 0.5},
}
# Faults with a clear outcome: refused by name, or filled by half.
CLEAR: dict[str, dict[str, object]] = {
    "maintenance": {"kind": "maintenance"},
    "refused": {"kind": "refuse", "status": 400, "name": "create_ask_error"},
    "filled-by-half": {"kind": "partial", "share": "0.5"},
}
# Faults of prices, while a position is held.
PRICES: dict[str, dict[str, object]] = {
    "silent-stream": {"kind": "silent", "seconds": 3600},
    "dropped-stream": {"kind": "drop", "seconds": 3600},
    "stale-prices": {"kind": "stale", "seconds": 1.5},
}


@pytest.fixture(scope="session")
def ledger_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, prepared ledger to copy."""
    folder = tmp_path_factory.mktemp("template")
    engine = prepared(f"sqlite:///{folder / 'ledger.sqlite'}", folder)
    engine.dispose()
    return folder / "ledger.sqlite"


@pytest.fixture
def crash_world(tmp_path: Path, ledger_template: Path) -> Iterator[CrashWorld]:
    world = CrashWorld(tmp_path, fork_server())
    try:
        world.open(ledger_template)
        yield world
    finally:
        world.close()


def test_the_crash_points_are_all_that_a_trade_passes(crash_world: CrashWorld) -> None:
    assert crash_world.finish(crash_world.start_trader("first")) == 0
    crash_world.check()
    assert crash_world.steps("first") == list(POINTS)
    position = crash_world.position()
    assert position is not None
    assert position.exit_reason is OrderReason.STOP_LOSS


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_step_loses_nothing(crash_world: CrashWorld, point: str) -> None:
    assert crash_world.finish(crash_world.start_trader("first", Fate(point))) == -9
    assert crash_world.steps("first")[-1] == point
    crash_world.let_time_pass()
    crash_world.take_over()
    crash_world.check()


@pytest.mark.parametrize("point", POINTS[2::5])
def test_a_crash_by_terminate_loses_nothing(crash_world: CrashWorld, point: str) -> None:
    assert crash_world.finish(crash_world.start_trader("first", Fate(point, "terminate"))) == 3
    assert crash_world.steps("first")[-1] == point  # nothing is written or sent on the way out
    crash_world.take_over()  # at once: the lease was given back
    crash_world.check()


@pytest.mark.parametrize("point", SLEEPS)
def test_a_crash_that_was_only_sleep_does_nothing_when_it_wakes(
    crash_world: CrashWorld, point: str
) -> None:
    sleeper = _fall_asleep(crash_world, point)
    crash_world.wait_until_free()
    crash_world.take_over()
    resume_process(sleeper)
    assert crash_world.finish(sleeper) in (0, 4)
    assert not _written_after(crash_world, point)
    crash_world.check()


@pytest.mark.parametrize("point", SLEEPS[2:])
def test_a_crash_that_was_only_sleep_wakes_amid_the_takeover(
    crash_world: CrashWorld, point: str
) -> None:
    sleeper = _fall_asleep(crash_world, point)
    crash_world.wait_until_free()
    second = crash_world.start_trader("second", takeover=True)
    wait_for(lambda: _holder(crash_world) == "second", "the takeover")
    resume_process(sleeper)
    assert crash_world.finish(second) == 0
    assert crash_world.finish(sleeper) in (0, 4)
    assert not _written_after(crash_world, point)
    crash_world.check()


def test_a_crash_that_slept_into_its_request_is_adopted(crash_world: CrashWorld) -> None:
    """It wakes right in front of the socket, long after its order was given up as lost."""
    point = "before post the order#1"
    sleeper = _fall_asleep(crash_world, point)
    crash_world.wait_until_free()
    crash_world.take_over()
    position = crash_world.position()
    assert position is not None
    with read(crash_world.engine) as connection:
        (entry,) = records.intents_of(connection, position.id, Leg.ENTRY)
        outcome = outcome_of(connection, crash_world.signal_id)
    assert entry.state is IntentState.BURNT
    assert outcome is not None
    assert outcome.code is FunnelCode.ORDER_LOST

    resume_process(sleeper)
    assert crash_world.finish(sleeper) == 4
    found = reconcile(crash_world.floor, "reconciler")
    assert found.adopted == (entry.identifier,)
    crash_world.take_over("third")
    crash_world.check()


@pytest.mark.parametrize("end", ["wakes", "is killed"])
@pytest.mark.parametrize("point", FREEZES)
def test_a_crash_amid_a_write_keeps_its_successor_waiting_and_loses_nothing(
    crash_world: CrashWorld, point: str, end: str
) -> None:
    """It is stopped with the database's write lock in its hand, so nobody else can write."""
    frozen = _fall_asleep(crash_world, point, "freeze")
    wait_for(lambda: AMID_A_WRITE in crash_world.steps(SLEEPER), "the write")
    crash_world.wait_until_free()
    second = crash_world.start_trader("second", takeover=True, pace=HASTY)
    wait_for(lambda: bool(crash_world.story("second")), "the successor's word that it waits")
    (told,) = crash_world.story("second")
    assert told.startswith("waiting to write: the database was locked for 0.2 s by ")
    if sys.platform == "linux":
        assert f"process {frozen.pid} " in told
        assert told.endswith(f"end it with `kill -9 {frozen.pid}`, its transaction is then undone")
    assert _holder(crash_world) == SLEEPER

    if end == "wakes":
        # Whoever writes first holds the lease from then on; the other one ends.
        resume_process(frozen)
        assert crash_world.finish(second) == 0
        if crash_world.finish(frozen) != 0:
            # It held on, but too late to send; as the sensor does, send the next takeover.
            crash_world.take_over("third")
    else:
        frozen.kill()
        assert crash_world.finish(second) == 0
        assert _holder(crash_world) == "second"
    crash_world.check()


@pytest.mark.parametrize("leg", ["entry", "exit"])
@pytest.mark.parametrize("fault", UNCLEAR)
def test_a_fault_without_a_crash_ends_in_one_order(
    crash_world: CrashWorld, fault: str, leg: str
) -> None:
    _play_fault(crash_world, UNCLEAR[fault], leg, Fate())
    crash_world.check()
    now = crash_world.floor.now()
    hour = timedelta(hours=1)
    assert len(crash_world.floor.account.closed_orders(now - hour, now + hour)) == 2


@pytest.mark.parametrize("leg", ["entry", "exit"])
@pytest.mark.parametrize("fault", UNCLEAR)
def test_a_crash_amid_a_fault_loses_nothing(crash_world: CrashWorld, fault: str, leg: str) -> None:
    point = f"before look the order up#{1 if leg == 'entry' else 2}"
    _play_fault(crash_world, UNCLEAR[fault], leg, Fate(point))
    crash_world.let_time_pass()
    crash_world.take_over()
    crash_world.check()


@pytest.mark.parametrize("leg", ["entry", "exit"])
@pytest.mark.parametrize("fault", CLEAR)
def test_a_clear_fault_without_a_crash_leaves_nothing_behind(
    crash_world: CrashWorld, fault: str, leg: str
) -> None:
    _play_fault(crash_world, CLEAR[fault], leg, Fate())
    crash_world.check()
    position = crash_world.position()
    assert position is not None
    refused_entry = leg == "entry" and fault != "filled-by-half"
    assert bool(position.bought_volume) != refused_entry


@pytest.mark.parametrize("fault", PRICES)
def test_prices_that_fail_without_a_crash_only_delay_the_stop(
    crash_world: CrashWorld, fault: str
) -> None:
    trader = crash_world.start_trader("first")
    wait_for(lambda: _armed(crash_world), "the position")
    crash_world.control("faults", PRICES[fault])
    assert crash_world.finish(trader) == 0
    crash_world.check()
    position = crash_world.position()
    assert position is not None
    assert position.exit_reason is OrderReason.STOP_LOSS


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(100))
def test_random_crashes_amid_random_faults_lose_nothing(crash_world: CrashWorld, seed: int) -> None:
    """Up to four deaths in a row, each with a fault on the way to it or not."""
    dice = random.Random(seed)
    faults = [*UNCLEAR.values(), *CLEAR.values(), None]
    for number in range(dice.randint(1, 4)):
        fault = dice.choice(faults)
        if fault is not None:
            crash_world.control("faults", {"path": "/v1/orders$", "method": "POST", **fault})
        crash_world.let_time_pass()
        fate = Fate(dice.choice(POINTS), dice.choice(["kill", "terminate"]))
        undecided = crash_world.position() is None and not crash_world.is_decided()
        trader = crash_world.start_trader(f"number-{number}", fate, takeover=not undecided)
        assert crash_world.finish(trader) in (0, 3, -9)
    crash_world.control("faults")
    crash_world.let_time_pass()
    crash_world.take_over("last")
    reconcile(crash_world.floor, "reconciler")
    crash_world.take_over("after-reconcile")
    crash_world.check()


def _play_fault(world: CrashWorld, fault: dict[str, object], leg: str, fate: Fate) -> None:
    """A trade whose order of `leg` meets `fault`; ends when its trader does."""
    told = {"path": "/v1/orders$", "method": "POST", "times": 1, **fault}
    if leg == "entry":
        world.control("faults", told)
    pace = HASTY if fault["kind"] == "hang" else CALM
    trader = world.start_trader("first", fate, pace=pace)
    if leg == "exit":
        wait_for(lambda: _armed(world), "the position")
        world.control("faults", told)
    assert world.finish(trader) == (-9 if fate.step else 0)


def _fall_asleep(world: CrashWorld, point: str, act: str = "stop") -> BaseProcess:
    """A trader that stops at `point`, or amid a write soon after; at points of the exit the price
    falls as soon as it holds a position."""
    sleeper = world.start_trader(SLEEPER, Fate(point, act), pace=SLEEPY)
    if point in AT_THE_EXIT:
        wait_for(lambda: _armed(world), "the position")
        world.set_book(LOW)
    wait_for(lambda: point in world.steps(SLEEPER), "the sleep")
    return sleeper


def _written_after(world: CrashWorld, point: str) -> list[str]:
    """What the sleeper wrote into the ledger after it woke; it may well have asked something."""
    steps = world.steps(SLEEPER)
    woken = steps[steps.index(point) + 1 :]
    return [step for step in woken if step.startswith(WRITTEN)]


def _holder(world: CrashWorld) -> str:
    lease = world.lease()
    return "" if lease is None else lease.holder


def _armed(world: CrashWorld) -> bool:
    position = world.position()
    return position is not None and position.plan is not None


@pytest.mark.parametrize("point", POINTS[::5])
def test_a_crash_and_a_cold_start_lose_nothing(
    tmp_path: Path, ledger_template: Path, point: str
) -> None:
    """As above with processes that import everything themselves, as a new run does."""
    world = CrashWorld(tmp_path, fork_server(), traders=mp.get_context("spawn"))
    try:
        world.open(ledger_template)
        assert world.finish(world.start_trader("first", Fate(point))) == -9
        world.let_time_pass()
        world.take_over()
        world.check()
    finally:
        world.close()
