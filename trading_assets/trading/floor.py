"""The floor a trade stands on: ledger, account, prices, clock and settings in one value.

Everything that acts takes a `Floor`, so that a test can give it fakes, a stepped clock, or a hook
that dies at a named step. Here: the value and building it from the settings. Not here: what is
done with it.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy.engine import Engine

from trading_assets.alerts import Severity, write_alert
from trading_assets.clock import Clock
from trading_assets.database import write
from trading_assets.exchange.api import PriceStream, Quotation, Trading
from trading_assets.settings import Settings, TradingSettings


def _quiet(_text: str) -> None:
    return None


def in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread of its own, without waiting for it."""
    threading.Thread(target=work, name="aside", daemon=True).start()


def at_once(work: Callable[[], None]) -> None:
    """Run `work` here and now: for tests, whose steps must come in one order."""
    work()


@dataclass(frozen=True, slots=True)
class Floor:
    """What a trade works with.

    open_prices: makes a price stream of some markets, not started. on_step: told the name of each
    database write and each request right before and right after it; only tests listen. tell: one
    sentence of a trade's story, for whoever shows it. aside: runs what must not hold up a guard.
    """

    engine: Engine
    account: Trading
    quotation: Quotation
    open_prices: Callable[[Sequence[str]], PriceStream]
    clock: Clock
    settings: Settings
    on_step: Callable[[str], None] = field(default=_quiet)
    tell: Callable[[str], None] = field(default=_quiet)
    aside: Callable[[Callable[[], None]], None] = field(default=in_thread)

    @property
    def knobs(self) -> TradingSettings:
        return self.settings.trading

    def now(self) -> datetime:
        return self.clock.now()

    def pause(self, seconds: Decimal) -> None:
        self.clock.sleep(float(seconds))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Around one write or one request: the places where dying must lose nothing."""
        self.on_step(f"before {name}")
        yield
        self.on_step(f"after {name}")

    def alert(self, severity: Severity, kind: str, key: str, message: str) -> None:
        """Put an alert into the outbox, once per `key`."""
        with write(self.engine) as connection:
            write_alert(
                connection,
                severity=severity,
                kind=kind,
                dedupe_key=key,
                message=message,
                now=self.now(),
            )


def seconds(amount: Decimal) -> timedelta:
    """A setting in seconds as a duration."""
    return timedelta(seconds=float(amount))


def floor_of(
    settings: Settings,
    engine: Engine,
    clock: Clock,
    *,
    on_step: Callable[[str], None] = _quiet,
    tell: Callable[[str], None] = _quiet,
) -> Floor:
    """The floor of the settings' exchange.

    Raises SettingsError for a wrong host, CredentialsRefused without keys in live mode.
    """
    from trading_assets.exchange import upbit
    from trading_assets.exchange.stream import StreamTimes, price_stream

    # The stream asks again by itself, and must not be held up by repetitions.
    asked_once = upbit.quotation(settings, clock, attempts=1)
    confirm = float(settings.trading.price_confirm_seconds)
    times = StreamTimes(rest_after=min(2.0, confirm * 2 / 3))
    return Floor(
        engine=engine,
        account=upbit.trading(settings, clock),
        quotation=upbit.quotation(settings, clock),
        open_prices=lambda markets: price_stream(
            settings, clock, markets, asked_once, depth=1, times=times
        ),
        clock=clock,
        settings=settings,
        on_step=on_step,
        tell=tell,
    )
