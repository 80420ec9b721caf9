"""Which price source the settings mean."""

from datetime import datetime

from trading_assets.errors import EnvironmentProblem
from trading_assets.paper_exchange.markets import Markets
from trading_assets.paper_exchange.synthetic import SyntheticMarkets, SyntheticParameters
from trading_assets.settings import Settings, TradingMode
from trading_assets.world import World


def markets_of(settings: Settings, world: World, now: datetime) -> Markets:
    """The prices of the sandbox: synthetic, or one recording that was first started at `now`."""
    del world, now
    if settings.trading_mode is TradingMode.PAPER:
        raise EnvironmentProblem(
            "TRADING_MODE=paper (Upbit's prices passed through) is not available yet: use "
            "TRADING_MODE=sandbox"
        )
    s = settings.synthetic
    return SyntheticMarkets(SyntheticParameters(s.seed, s.edge, s.volatility), settings.markets)
