"""A real trade against a real paper exchange, each in a process of its own, to be killed at will.

The parts are imported once, in a fork server; every case forks an exchange (with an account of its
own) and traders from it. Not here: the cases (`test_crash.py`).
"""

import json
import multiprocessing as mp
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.clock import SystemClock
from trading_assets.database import funnel, read, signals, write
from trading_assets.database import leases as lease_table
from trading_assets.paper_exchange.account import Account
from trading_assets.paper_exchange.application import PaperExchange
from trading_assets.paper_exchange.markets import to_ms
from trading_assets.paper_exchange.server import create_app, server_config
from trading_assets.paper_exchange.synthetic import SyntheticMarkets, SyntheticParameters
from trading_assets.trading import leases, records
from trading_assets.trading.floor import Floor
from trading_assets.trading.leases import LeaseStatus
from trading_assets.trading.reconcile import open_books
from trading_assets.trading.records import Position
from trading_assets.trading.states import PositionState
from trading_assets_tests.trading.crash_trader import (
    CALM,
    MARKET,
    Fate,
    Pace,
    Trader,
    make_floor,
    run_trader,
)
from trading_assets_tests.trading.same_story import check_same_story

START_KRW = Decimal(10_000_000)
# The entry takes 3 coins at 100,000 and the rest of its 700,000 KRW at 100,100. The average lies
# at 100,057, so the stop at 98,100, which the low book is below, and the take above the high one.
HIGH = {
    "bids": [("99900", "50")],
    "asks": [("100000", "3"), ("100100", "50")],
}
LOW = {
    "bids": [("98000", "4"), ("97950", "50")],
    "asks": [("98100", "50")],
}
_LONGEST_SECONDS = 60.0
_SERVER_MODULE = "trading_assets_tests.trading.crash_world"


def fork_server() -> mp.context.ForkServerContext:
    """Where children come from: a process with everything imported and the prices made."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([_SERVER_MODULE, "trading_assets_tests.trading.crash_preload"])
    return context


# --- the children ---------------------------------------------------------------------------


def serve(folder: Path, port_file: Path) -> None:
    """The exchange's process."""
    announce(exchange_app(folder), port_file)


def exchange_app(folder: Path) -> PaperExchange:
    """The exchange over the prices that are made already, its book pinned."""
    from trading_assets_tests.trading.crash_preload import MARKETS

    app = create_app(
        MARKETS,
        SystemClock(),
        world="test",
        limited=False,
        account=Account(folder / "account.sqlite", starting_krw=START_KRW),
    )
    app.liquidity.pin(MARKET, HIGH["bids"], HIGH["asks"], to_ms(SystemClock().now()))
    return app


def announce(app: PaperExchange, port_file: Path) -> None:
    """Serve `app` on a port that the system chooses, which goes to the file; never returns."""
    import uvicorn

    server = uvicorn.Server(server_config(app, 0))
    startup = server.startup

    async def announced(*args: Any, **kwargs: Any) -> None:
        await startup(*args, **kwargs)
        port = server.servers[0].sockets[0].getsockname()[1]
        port_file.with_suffix(".new").write_text(str(port))
        port_file.with_suffix(".new").rename(port_file)

    server.startup = announced  # type: ignore[method-assign]
    server.run()


# --- a case ---------------------------------------------------------------------------------


@dataclass(slots=True)
class CrashWorld:
    """One exchange, one ledger, one signal, and the traders that come and go."""

    folder: Path
    context: mp.context.ForkServerContext
    traders: mp.context.SpawnContext | None = None
    serve: Callable[[Path, Path], None] = serve
    url: str = ""
    signal_id: int = 0
    floor: Floor = field(init=False)
    _exchange: BaseProcess = field(init=False)
    _traders: list[BaseProcess] = field(default_factory=list)

    def open(self, template: Path) -> None:
        (self.folder / "ledger.sqlite").write_bytes(template.read_bytes())
        port_file = self.folder / "port"
        self._exchange = self.context.Process(target=self.serve, args=(self.folder, port_file))
        self._exchange.start()
        wait_for(port_file.exists, "the exchange")
        self.url = f"http://127.0.0.1:{port_file.read_text()}"
        self.floor = make_floor(self.folder, self.url)
        open_books(self.floor, "setup")
        self.signal_id = self.give_signal("BUY")

    def close(self) -> None:
        for process in [*self._traders, self._exchange]:
            if process.is_alive():
                process.kill()
            process.join()
        self.floor.engine.dispose()

    @property
    def engine(self) -> Engine:
        return self.floor.engine

    # --- what happens ---------------------------------------------------------------------------

    def give_signal(self, decision: str) -> int:
        return give_signal(self.engine, decision=decision, reason=decision.lower())

    def start_trader(
        self,
        holder: str,
        fate: Fate | None = None,
        *,
        takeover: bool = False,
        pace: Pace = CALM,
    ) -> BaseProcess:
        signal_id = None if takeover else self.signal_id
        process: BaseProcess = (self.traders or self.context).Process(
            target=run_trader,
            args=(self.folder, self.url, Trader(holder, signal_id, fate or Fate(), pace)),
        )
        process.start()
        self._traders.append(process)
        return process

    def control(self, path: str, values: dict[str, Any] | None = None) -> None:
        """Post to the exchange's control; without values, delete."""
        control(self.url, path, values)

    def set_book(self, book: dict[str, list[tuple[str, str]]]) -> None:
        self.control("books", {"market": MARKET, **book})

    # --- what is there --------------------------------------------------------------------------

    def position(self) -> Position | None:
        with read(self.engine) as connection:
            return records.position_of_signal(connection, self.signal_id)

    def lease(self) -> LeaseStatus | None:
        with read(self.engine) as connection:
            return leases.status_of(connection, MARKET)

    def is_decided(self) -> bool:
        with read(self.engine) as connection:
            rows = connection.execute(
                sa.select(funnel.c.code).where(funnel.c.signal_id == self.signal_id)
            ).all()
        return bool(rows)

    def is_guarded(self, since: datetime) -> bool:
        """Whether a live holder has judged a price since then."""
        lease = self.lease()
        if lease is None or lease.progress_at is None:
            return False
        return lease.is_live(SystemClock().now()) and lease.progress_at > since

    def steps(self, holder: str) -> list[str]:
        return self._lines(f"steps-{holder}")

    def story(self, holder: str) -> list[str]:
        """The sentences that a trader told."""
        return self._lines(f"story-{holder}")

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    # --- the course of a case -------------------------------------------------------------------

    def finish(self, process: BaseProcess) -> int:
        """Let `process` run to its end; once it guards a position, the price falls through the
        stop. Returns its exit code."""
        begun = SystemClock().now()
        fallen = False

        def ended() -> bool:
            nonlocal fallen
            if not fallen and self.is_guarded(begun):
                position = self.position()
                if position is not None and position.state is PositionState.OPEN:
                    self.set_book(LOW)
                    fallen = True
            return not process.is_alive()

        wait_for(ended, "the trader's end")
        process.join()
        assert process.exitcode is not None
        return process.exitcode

    def let_time_pass(self) -> None:
        """The dead holder's lease is over at once: to wait for that would show nothing more."""
        with write(self.engine) as connection:
            connection.execute(lease_table.update().values(expires_at=SystemClock().now()))

    def wait_until_free(self) -> None:
        """Until the lease of a holder that only sleeps is over."""

        def free() -> bool:
            lease = self.lease()
            return lease is None or not lease.is_live(SystemClock().now())

        wait_for(free, "the lease's end")

    def take_over(self, holder: str = "second") -> None:
        """Start again after a death, as the sensor does, and run to the end."""
        undecided = self.position() is None and not self.is_decided()
        assert self.finish(self.start_trader(holder, takeover=not undecided)) == 0

    def check(self) -> None:
        """Exchange and ledger tell the same story, to the last digit, and nothing is left."""
        check_same_story(self.floor, START_KRW)
        assert self.is_decided()
        lease = self.lease()
        assert lease is not None
        assert lease.released_at is not None


def give_signal(engine: Engine, **values: object) -> int:
    """Write a signal, BUY in KRW-SOL unless `values` say otherwise; its id."""
    now = SystemClock().now()
    row = {
        "market": MARKET,
        "profile": "scalp",
        "traded": True,
        "created_at": now,
        "expires_at": now + timedelta(minutes=5),
        "p_sell": 0.1,
        "p_hold": 0.25,
        "p_buy": 0.65,
        "decision": "BUY",
        "reason": "buy",
        "detail": "",
        "ev_net": 0.02,
        "close": Decimal(100_000),
        "stop_loss": Decimal("0.02"),
        "take_profit": Decimal("0.02"),
        "timeout_seconds": 1800,
        "model_version": "v1",
        "model_confirmed_at": now,
    }
    with write(engine) as connection:
        done = connection.execute(signals.insert().values(**(row | values)))
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def control(url: str, path: str, values: dict[str, Any] | None = None) -> None:
    """Post to the control of the exchange at `url`; without values, delete."""
    request = urllib.request.Request(
        f"{url}/control/{path}",
        data=None if values is None else json.dumps(values).encode(),
        method="DELETE" if values is None else "POST",
        headers={"content-type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=5).close()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Look until `condition` holds. Raises TimeoutError after a minute."""
    end = time.monotonic() + _LONGEST_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {_LONGEST_SECONDS} s for {what}")
        time.sleep(0.02)


def resume_process(process: BaseProcess) -> None:
    """Wake a stopped process."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)


def made_markets() -> SyntheticMarkets:
    """The default market with its present prices made, so that no child has to."""
    markets = SyntheticMarkets(SyntheticParameters(), (MARKET,))
    markets.last_trades(MARKET, to_ms(SystemClock().now()), 1)
    return markets
