"""How a trade waits for its turn to write the ledger."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from trading_assets.database import connect, read
from trading_assets.errors import DatabaseBusy
from trading_assets.trading import leases
from trading_assets.trading.funnel import end_missed_candidates
from trading_assets.trading.trade import TradeEnd, trade
from trading_assets.trading.waiting import Waiting
from trading_assets_tests.stopped_writer import go_on, stopped_writer
from trading_assets_tests.trading.fake_exchange import BTC, FakeExchange, fake_floor, stepped
from trading_assets_tests.trading.ledger_world import NOW, prepared

BUSY = DatabaseBusy("the database was locked for 10 s by process 7 (python), which is stopped")


@pytest.fixture
def hasty(tmp_path: Path) -> Engine:
    """An empty ledger that waits 10 ms for its turn, where others wait ten seconds."""
    prepared(f"sqlite:///{tmp_path / 'ledger.sqlite'}", tmp_path)
    return connect(f"sqlite:///{tmp_path / 'ledger.sqlite'}", busy_timeout_ms=10)


def test_waiting_is_told_at_first_and_once_a_minute(hasty: Engine) -> None:
    exchange, told = FakeExchange(stepped()), list[str]()
    on_busy = Waiting(replace(fake_floor(hasty, exchange), tell=told.append))
    for _ in range(13):  # at 0, 10, ..., 120 s
        on_busy(BUSY)
        exchange.clock.sleep(10)
    assert told == [f"waiting to write: {BUSY}"] * 3


def test_who_may_not_wait_for_ever_is_told_so_when_the_time_is_over(hasty: Engine) -> None:
    exchange = FakeExchange(stepped())
    on_busy = Waiting(fake_floor(hasty, exchange), timedelta(seconds=90))
    exchange.clock.sleep(89.9)
    on_busy(BUSY)
    exchange.clock.sleep(0.1)
    with pytest.raises(DatabaseBusy, match="process 7"):
        on_busy(BUSY)


def test_a_trade_waits_a_minute_and_a_half_for_its_lease_and_then_says_who_is_in_the_way(
    hasty: Engine, tmp_path: Path
) -> None:
    exchange, told = FakeExchange(stepped()), list[str]()

    def tell(sentence: str) -> None:
        told.append(sentence)

    floor = replace(fake_floor(hasty, exchange), tell=tell, clock=exchange.clock)
    tick = exchange.clock.now

    def now() -> object:  # each look at the clock is ten seconds later
        exchange.clock.sleep(10)
        return tick()

    exchange.clock.now = now  # type: ignore[method-assign, assignment]
    with stopped_writer(tmp_path / "ledger.sqlite"), pytest.raises(DatabaseBusy, match="locked"):
        trade(floor, BTC, "run-2")
    assert told[0].startswith("waiting to write: the database was locked for 0.01 s by ")


def test_a_trade_that_waited_for_its_lease_holds_it_from_the_moment_it_could_write(
    hasty: Engine, tmp_path: Path
) -> None:
    exchange = FakeExchange(stepped())
    with stopped_writer(tmp_path / "ledger.sqlite") as process:

        def tell(_sentence: str) -> None:
            exchange.clock.sleep(30)
            go_on(process)

        floor = replace(fake_floor(hasty, exchange), tell=tell)
        assert trade(floor, BTC, "run-2").end is TradeEnd.NOTHING_TO_DO
    with read(hasty) as connection:
        lease = leases.status_of(connection, BTC)
    assert lease is not None
    assert lease.taken_at == NOW + timedelta(seconds=30)


def test_where_no_candidate_was_missed_nothing_has_to_be_written(
    hasty: Engine, tmp_path: Path
) -> None:
    with stopped_writer(tmp_path / "ledger.sqlite"):
        assert end_missed_candidates(hasty, NOW) == 0
