"""The synthetic market that benchmarks measure on: the sandbox's own, from the generator's epoch.

Not here: the generator (`trading_assets.paper_exchange.synthetic`).
"""

from datetime import timedelta

from trading_assets.candles.frame import open_times_us
from trading_assets.candles.gaps import Gap, GapKind, gap_frame, missing_spans
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.exchange.model import Interval
from trading_assets.paper_exchange.synthetic import EPOCH, SyntheticMarkets, SyntheticParameters
from trading_assets.settings import Settings
from trading_assets.world import SYNTHETIC_GENERATION

DAYS = 120


def five_minutes(settings: Settings) -> dict[str, CandleSeries]:
    """DAYS of 5-minute candles of each market; all that is missing had no trades."""
    s = settings.synthetic
    parameters = SyntheticParameters(s.seed, s.edge, s.volatility)
    market = SyntheticMarkets(parameters, list(settings.markets))
    return {name: _series(market, name) for name in settings.markets}


def world_of(settings: Settings) -> str:
    """The world that results of these candles belong to."""
    s = settings.synthetic
    return f"synthetic-{s.seed}-edge-{s.edge}-generation-{SYNTHETIC_GENERATION}"


def _series(market: SyntheticMarkets, name: str) -> CandleSeries:
    frame = market.candles(name, Interval.M5, EPOCH, EPOCH + timedelta(days=DAYS))
    missing = missing_spans(open_times_us(frame), Interval.M5)
    return regular_series(
        frame, gap_frame(Gap(span, GapKind.NO_TRADES) for span in missing), Interval.M5
    )
