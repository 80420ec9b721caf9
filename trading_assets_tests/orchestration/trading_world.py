"""A trading location with an exchange, a ledger and a signal of its own, ready to trade."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.clock import Clock, SteppedClock, SystemClock
from trading_assets.database import (
    connect,
    database_url,
    open_database,
    prepare,
    read,
    signals,
    write,
)
from trading_assets.database import leases as lease_table
from trading_assets.orchestration.trading.definitions import trading_definitions
from trading_assets.orchestration.trading.resources import open_floor_resource
from trading_assets.orchestration.trading.sensors import trading_sensor
from trading_assets.settings import Settings, load_settings
from trading_assets.trading import books, leases, records
from trading_assets.trading.floor import floor_of
from trading_assets.trading.leases import LeaseStatus
from trading_assets.trading.reconcile import open_books
from trading_assets.trading.records import Position
from trading_assets.trading.states import PositionState
from trading_assets.trading.trade import trade
from trading_assets.world import World, claim, world_of
from trading_assets_tests.conftest import RunningExchange
from trading_assets_tests.trading.ledger_world import bought

MARKET = "KRW-SOL"
START_KRW = Decimal(10_000_000)
ACCESS_KEY = "acc3ss-key-of-this-test-alone-0123456789"
SECRET_KEY = "s3cret-key-of-this-test-alone-0123456789-0123456789-0123456789-0123"
# 700,000 KRW buy 7 coins less what the fee leaves; the stop lies at 98,000, the take at 102,000.
HIGH = ([("99900", "50")], [("100000", "50")])
LOW = ([("97900", "50")], [("98000", "50")])
# What takes seconds with money at stake takes fractions here.
WAITS = {
    "lease_seconds": "1",
    "heartbeat_seconds": "0.2",
    "order_poll_seconds": "0.02",
    "order_poll_most_seconds": "0.2",
    "price_confirm_seconds": "1",
}


class Died(BaseException):
    """Ends a holder at once, as a kill does, but for the lease it gives back."""


@dataclass(frozen=True, slots=True)
class TradingWorld:
    """Everything of one test; prices are set by hand."""

    settings: Settings
    world: World
    clock: Clock
    engine: Engine
    exchange: RunningExchange
    instance: dg.DagsterInstance
    defs: dg.Definitions

    def tick(
        self, sensor: dg.SensorDefinition, later_seconds: int = 0
    ) -> tuple[list[dg.RunRequest], str | None]:
        """What a sensor asks for now, or so many seconds from now, and why it asks for nothing."""
        clock = SteppedClock(self.clock.now() + timedelta(seconds=later_seconds))
        with dg.build_sensor_context(
            instance=self.instance,
            definitions=self.defs,
            resources={**self.resources(), "clock": clock},
        ) as context:
            answer = sensor.evaluate_tick(context)
        return list(answer.run_requests or []), answer.skip_message

    def resources(self) -> dict[str, object]:
        return {
            "settings": self.settings,
            "world": self.world,
            "clock": self.clock,
            "database": self.engine,
            "open_floor": open_floor_resource,
        }

    def requests(self, later_seconds: int = 0) -> list[dg.RunRequest]:
        """The trades that trading_sensor asks for."""
        return self.tick(trading_sensor, later_seconds)[0]

    def hold_abandoned_position(self, since: timedelta = timedelta(0)) -> None:
        """A position whose holder gave its lease back that long ago."""
        then = self.clock.now() - since
        books.declare_capital(self.engine, START_KRW, now=then, detail="test")
        lease = leases.take(
            self.engine, MARKET, "run-dead", now=then, duration=timedelta(minutes=1)
        )
        assert lease is not None
        bought(self.engine, lease)
        leases.release(self.engine, lease, then)

    def enter_and_die(self) -> None:
        """Enter for a signal; the holder dies as soon as the position is armed, but gives back."""

        def tell(sentence: str) -> None:
            if ": holding " in sentence:
                raise Died

        floor = floor_of(self.settings, self.engine, self.clock, tell=tell)
        open_books(floor, "run-first")
        with pytest.raises(Died):
            trade(floor, MARKET, "run-first", signal_id=self.give_signal())
        position = self.position()
        assert position is not None
        assert position.state is PositionState.OPEN

    def stepped_clock(self) -> SteppedClock:
        """A clock that stands at the present moment."""
        return SteppedClock(self.clock.now())

    def execute(self, request: dg.RunRequest, *, fails: bool = False) -> dg.ExecuteInProcessResult:
        """Run what the sensor asked for, in this process."""
        assert request.job_name is not None
        return self.defs.resolve_job_def(request.job_name).execute_in_process(
            run_config=request.run_config,
            tags=dict(request.tags),
            instance=self.instance,
            raise_on_error=not fails,
        )

    def give_signal(self, decision: str = "BUY", market: str = MARKET, **values: object) -> int:
        now = self.clock.now()
        row = {
            "market": market,
            "profile": "scalp",
            "traded": True,
            "candle_time": now - timedelta(minutes=5),
            "created_at": now,
            "expires_at": now + timedelta(minutes=5),
            "p_sell": 0.1,
            "p_hold": 0.25,
            "p_buy": 0.65,
            "decision": decision,
            "reason": decision.lower(),
            "detail": "",
            "ev_net": 0.02,
            "close": Decimal(100_000),
            "stop_loss": Decimal("0.02"),
            "take_profit": Decimal("0.02"),
            "timeout_seconds": 1800,
            "model_version": "20260301T030000-abcdef12",
            "model_trained_at": now,
            "model_confirmed_at": now,
        }
        with write(self.engine) as connection:
            done = connection.execute(signals.insert().values(**(row | values)))
        assert done.inserted_primary_key is not None
        return int(done.inserted_primary_key[0])

    def position(self) -> Position | None:
        """The only position there ever was."""
        with read(self.engine) as connection:
            every = records.all_positions(connection)
        return every[0] if every else None

    def lease(self) -> LeaseStatus:
        """The only lease there is."""
        with read(self.engine) as connection:
            found = leases.status_of(connection, MARKET)
        assert found is not None
        return found

    def is_guarded(self) -> bool:
        """Whether the position is open and a live holder has judged a price of it."""
        position = self.position()
        if position is None or position.state is not PositionState.OPEN:
            return False
        with read(self.engine) as connection:
            lease = connection.execute(sa.select(lease_table)).first()
        if lease is None or lease.progress_at is None or lease.released_at is not None:
            return False
        return bool(lease.progress_at >= lease.taken_at)

    def fall(self) -> None:
        """The price falls through the stop."""
        self.exchange.set_book(MARKET, *LOW)


def open_world(exchange: RunningExchange, instance: dg.DagsterInstance) -> TradingWorld:
    settings = load_settings(
        {
            "exchange_url": exchange.url,
            "trading": WAITS,
            "markets": (MARKET,),
            "upbit_access_key": ACCESS_KEY,
            "upbit_secret_key": SECRET_KEY,
        }
    )
    world, clock = world_of(settings), SystemClock()
    claim(world.data, world.name)
    setup = connect(database_url(settings, world))
    prepare(setup, world)
    setup.dispose()
    engine = open_database(settings, world)
    exchange.set_book(MARKET, *HIGH)
    replaced = {"settings": settings, "clock": clock, "world": world, "database": engine}
    defs = trading_definitions(settings, replaced)
    return TradingWorld(settings, world, clock, engine, exchange, instance, defs)
