"""One exchange for all tests that only read it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from trading_assets.clock import SteppedClock
from trading_assets.paper_exchange.server import create_app
from trading_assets.paper_exchange.synthetic import SyntheticMarkets
from trading_assets_tests.conftest import ExchangeServer, RunningExchange

# A Monday, 2 min 5 s into a 5-minute candle, so that the newest candle is open.
NOW = datetime(2026, 11, 23, 10, 7, 5, tzinfo=UTC)


@pytest.fixture(scope="session")
def exchange(synthetic_markets: SyntheticMarkets) -> Iterator[RunningExchange]:
    """The default synthetic exchange, standing still at NOW."""
    server = ExchangeServer(
        create_app(synthetic_markets, SteppedClock(NOW), world="test", limited=False)
    )
    yield server.start()
    server.stop()
