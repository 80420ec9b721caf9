"""A world in which nothing is bought: candles, verdicts, signals, forecast, ledger, by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine

from trading_assets.candles.frame import candle_frame, to_us
from trading_assets.candles.store import CandleStore
from trading_assets.commands.dagster_web import RunLine
from trading_assets.commands.why_hold import why_hold
from trading_assets.database import positions, write
from trading_assets.errors import NotReadyYet
from trading_assets.exchange.model import Interval
from trading_assets.models.verdicts import Verdict, VerdictKind, record_verdict
from trading_assets.settings import Settings, load_settings
from trading_assets.signals.forecast import Forecast, store_forecast
from trading_assets.trading import books
from trading_assets.world import World
from trading_assets_tests.commands.world_rows import prepared
from trading_assets_tests.signals.expected import expected, market_forecast
from trading_assets_tests.signals.said import HOUR, NOW, said_hourly

MARKETS = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL")
# The close of the newest stored candle, ten minutes before NOW is the model's confirmation.
LAST_CLOSE = datetime(2026, 1, 5, 12, tzinfo=UTC)
LIVELY = (0.45, 0.3, 0.25)


@dataclass(frozen=True, slots=True)
class SilentWorld:
    settings: Settings
    world: World
    engine: Engine
    markets: Sequence[str]

    def screen(
        self, now: datetime = NOW, runs: Sequence[RunLine] | None = None
    ) -> tuple[int, list[str]]:
        """Exit code and lines of `why-hold`. runs: of Dagster, None when it does not answer."""

        def asked(_port: int) -> Sequence[RunLine]:
            if runs is None:
                raise NotReadyYet("the Dagster web server on port 1 does not answer")
            return runs

        said: list[str] = []
        code = why_hold(self.settings, now, said.append, asked)
        return code, said

    def collect(self, last_close: datetime = LAST_CLOSE) -> None:
        """Three hourly candles of every market, the last one closed at `last_close`."""
        store = CandleStore(self.world.candles, self.world.name)
        start = last_close - 3 * HOUR
        times = to_us(start) + np.arange(3, dtype=np.int64) * 3_600_000_000
        price = np.full(3, 1e8)
        frame = candle_frame(
            times, open=price, high=price, low=price, close=price, volume=np.ones(3)
        )
        for market in self.markets:
            store.merge(market, Interval.M60, frame, covered=(start, last_close))

    def confirm(self, at: datetime = NOW - timedelta(hours=9)) -> None:
        """A promotion verdict on every market's model."""
        for market in self.markets:
            verdict = Verdict(VerdictKind.PROMOTION, market, "swing", True, (), at)
            record_verdict(self.engine, verdict)

    def say(self, hours: int = 21, **values: Any) -> None:
        """HOLD on the last candles of every market."""
        for market in self.markets:
            said_hourly(self.engine, hours, market=market, **values)

    def expect(self, forecast: Forecast | None = None) -> None:
        """A forecast of every market, the tests' own by default."""
        every = expected(*(market_forecast(m) for m in self.markets))
        store_forecast(self.engine, forecast or every)

    def fund(self) -> None:
        books.declare_capital(self.engine, Decimal(1_000_000), now=NOW, detail="test")

    def lose(self, krw: Decimal) -> None:
        """A trade of today that ended so much lower."""
        with write(self.engine) as connection:
            connection.execute(
                positions.insert().values(
                    id="lost",
                    market=self.markets[0],
                    profile="swing",
                    signal_id=999,
                    state="closed",
                    created_at=NOW - 3 * HOUR,
                    opened_at=NOW - 3 * HOUR,
                    closed_at=NOW - 2 * HOUR,
                    bought_volume=Decimal(1),
                    bought_funds=Decimal(100_000),
                    sold_volume=Decimal(1),
                    sold_funds=Decimal(100_000) - krw,
                    fees=Decimal(0),
                    dust_volume=Decimal(0),
                    stop_loss=Decimal("0.02"),
                    take_profit=Decimal("0.02"),
                    timeout_seconds=43_200,
                    exit_reason="time_limit",
                )
            )


def silent_world(markets: Sequence[str] = MARKETS, **settings: Any) -> SilentWorld:
    """A prepared world without anything in it; profile `swing`, pinned."""
    chosen = load_settings({"markets": markets, "profile": "swing", **settings})
    world, engine = prepared(chosen)
    return SilentWorld(chosen, world, engine, markets)


def healthy_world(markets: Sequence[str] = MARKETS, **settings: Any) -> SilentWorld:
    """Fresh candles, young models, lively predictions, a forecast, capital; and no BUY in 21 h."""
    made = silent_world(markets, **settings)
    made.collect()
    made.confirm()
    made.say(p=LIVELY)
    made.expect()
    made.fund()
    return made
