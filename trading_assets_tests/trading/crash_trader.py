"""The trader's process of the crash tests: a trade that dies, is ended or sleeps at a step.

A module of its own, and as light as the trading location, because a cold start imports it.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from trading_assets.clock import SystemClock
from trading_assets.database import connect
from trading_assets.errors import TradingAssetsError
from trading_assets.settings import load_settings
from trading_assets.trading.floor import Floor, at_once, floor_of
from trading_assets.trading.trade import trade

MARKET = "KRW-SOL"
# What takes seconds with money at stake takes fractions here.
WAITS = {
    "lease_seconds": "0.4",
    "heartbeat_seconds": "0.1",
    "lost_order_seconds": "1",
    "order_poll_seconds": "0.02",
    "order_poll_most_seconds": "0.2",
    "price_confirm_seconds": "1",
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to a trader at a step, named like `before post the order#2`.

    act: `kill`, `terminate` (a BaseException there, as Dagster's) or `stop` (SIGSTOP).
    """

    step: str = ""
    act: str = "kill"


class Terminated(BaseException):
    """What Dagster's Terminate looks like from inside."""


def run_trader(folder: Path, url: str, signal_id: int | None, holder: str, fate: Fate) -> None:
    """The trader's process. Appends the steps it passes to a file of its own."""
    seen: Counter[str] = Counter()
    log = (folder / f"steps-{holder}").open("a", buffering=1)

    def on_step(name: str) -> None:
        seen[name] += 1
        numbered = f"{name}#{seen[name]}"
        log.write(numbered + "\n")
        if numbered != fate.step:
            return
        if fate.act == "terminate":
            raise Terminated
        os.kill(os.getpid(), signal.SIGKILL if fate.act == "kill" else signal.SIGSTOP)

    floor = make_floor(folder, url, on_step)
    try:
        trade(floor, MARKET, holder, signal_id=signal_id)
    except Terminated:
        os._exit(3)
    except TradingAssetsError as exc:
        (folder / f"error-{holder}").write_text(f"{type(exc).__name__}: {exc}")
        os._exit(4)
    os._exit(0)


def make_floor(
    folder: Path, url: str, on_step: Callable[[str], None] = lambda _name: None
) -> Floor:
    os.environ["TRADING_ASSETS_HOME"] = str(folder)
    settings = load_settings(
        {"exchange_url": url, "trading": WAITS, "request_timeout_seconds": Decimal("0.7")}
    )
    engine = connect(f"sqlite:///{folder / 'ledger.sqlite'}")
    # In one order, so that a step's name says when it is.
    return replace(floor_of(settings, engine, SystemClock(), on_step=on_step), aside=at_once)
