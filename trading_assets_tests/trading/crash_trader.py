"""The trader's process of the crash tests: a trade that dies, is ended or sleeps at a step.

A module of its own, and as light as the trading location, because a cold start imports it.
"""

import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.clock import SystemClock
from trading_assets.database import connect
from trading_assets.errors import TradingAssetsError
from trading_assets.settings import load_settings
from trading_assets.trading.floor import Floor, at_once, floor_of
from trading_assets.trading.trade import trade

MARKET = "KRW-SOL"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long this trader waits for what, where seconds of the real one would be too long to test.

    Nothing here is shorter than what a busy machine may take for a step, or a case would fail by
    that alone. lease_seconds: of a trader that dies it does not matter, nobody waits for its end.
    """

    lease_seconds: str = "8"
    request_timeout_seconds: str = "3"
    busy_timeout_ms: int = 10_000

    @property
    def settings(self) -> dict[str, object]:
        waits = {
            "lease_seconds": self.lease_seconds,
            "heartbeat_seconds": "0.1",
            "lost_order_seconds": "1",
            "order_poll_seconds": "0.02",
            "order_poll_most_seconds": "0.2",
            "price_confirm_seconds": "1",
        }
        return {"trading": waits, "request_timeout_seconds": self.request_timeout_seconds}


CALM = Pace()
# Of one that is only stopped: its lease has to run out by itself.
SLEEPY = Pace(lease_seconds="1")
# Where the exchange hangs, or the database is locked, on purpose.
HASTY = Pace(request_timeout_seconds="1", busy_timeout_ms=200)


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to a trader at a step, named like `before post the order#2`.

    act: `kill`, `terminate` (a BaseException there, as Dagster's), `stop` (SIGSTOP between two
    transactions) or `freeze` (SIGSTOP amid the next write of any of its threads).
    """

    step: str = ""
    act: str = "kill"


@dataclass(frozen=True, slots=True)
class Trader:
    """One process. signal_id: None to take over what is there."""

    holder: str
    signal_id: int | None = None
    fate: Fate = field(default_factory=Fate)
    pace: Pace = CALM


class Terminated(BaseException):
    """What Dagster's Terminate looks like from inside."""


class BetweenTransactions:
    """`with` it, no other thread of this process is inside a transaction.

    A process stopped while its heartbeat writes keeps the database's write lock: that is a case of
    its own, which must not come over the others by chance.
    """

    def __init__(self, engine: Engine) -> None:
        self._turn = threading.RLock()
        # From the pool, because the connection is given back only after its commit.
        sa.event.listen(engine, "checkout", lambda *_: self._turn.acquire())
        sa.event.listen(engine, "checkin", lambda *_: self._turn.release())

    def __enter__(self) -> None:
        self._turn.acquire()

    def __exit__(self, *_: object) -> None:
        self._turn.release()


def stop_here() -> None:
    """Stop the process before this thread's next instruction. Sent to the process, the signal may
    go to another thread, and this one ran on until that one had its turn (seen: it committed)."""
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


AMID_A_WRITE = "amid a write"


def freeze_amid_the_next_write(engine: Engine, log: TextIO) -> None:
    """Stop this process as soon as one of its threads has written something it has not committed,
    the database's write lock in its hand."""

    first = iter([True])

    def on_statement(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(("INSERT", "UPDATE")) and next(first, False):
            log.write(AMID_A_WRITE + "\n")
            stop_here()

    sa.event.listen(engine, "after_cursor_execute", on_statement)


def run_trader(folder: Path, url: str, trader: Trader) -> None:
    """The trader's process. Appends the steps it passes, and what it tells, to files of its own."""
    holder, fate = trader.holder, trader.fate
    seen: Counter[str] = Counter()
    log = (folder / f"steps-{holder}").open("a", buffering=1)
    story = (folder / f"story-{holder}").open("a", buffering=1)

    def on_step(name: str) -> None:
        seen[name] += 1
        numbered = f"{name}#{seen[name]}"
        log.write(numbered + "\n")
        if numbered != fate.step:
            return
        if fate.act == "terminate":
            raise Terminated
        if fate.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fate.act == "freeze":
            freeze_amid_the_next_write(floor.engine, log)
            return
        with between_transactions:
            stop_here()

    floor = replace(
        make_floor(folder, url, trader.pace),
        on_step=on_step,
        tell=lambda sentence: print(sentence, file=story),
    )
    between_transactions = BetweenTransactions(floor.engine)
    try:
        trade(floor, MARKET, holder, signal_id=trader.signal_id)
    except Terminated:
        os._exit(3)
    except TradingAssetsError as exc:
        (folder / f"error-{holder}").write_text(f"{type(exc).__name__}: {exc}")
        os._exit(4)
    os._exit(0)


def make_floor(folder: Path, url: str, pace: Pace = CALM) -> Floor:
    os.environ["TRADING_ASSETS_HOME"] = str(folder)
    settings = load_settings({"exchange_url": url, **pace.settings})
    engine = connect(f"sqlite:///{folder / 'ledger.sqlite'}", busy_timeout_ms=pace.busy_timeout_ms)
    # In one order, so that a step's name says when it is.
    return replace(floor_of(settings, engine, SystemClock()), aside=at_once)
