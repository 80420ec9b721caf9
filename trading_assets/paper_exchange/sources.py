"""Which price source the settings mean."""

from datetime import datetime

from trading_assets.candles.recording_files import require_recording
from trading_assets.errors import EnvironmentProblem
from trading_assets.exchange.model import Interval
from trading_assets.paper_exchange.markets import Markets
from trading_assets.paper_exchange.recordings import RecordedMarkets, fixed_move
from trading_assets.paper_exchange.synthetic import SyntheticMarkets, SyntheticParameters
from trading_assets.settings import Settings, TradingMode
from trading_assets.world import World, claim

MOVE_FILE = "recording.json"


def markets_of(settings: Settings, world: World, now: datetime) -> Markets:
    """The prices of the sandbox: synthetic, or one recording.

    now: decides how far a recording is moved if this is the world's first start. Raises
    EnvironmentProblem when the mode has no price source, SettingsError when the recording's files
    are not there, CorruptStore when they cannot be used, WrongWorld when the state folder is
    another world's.
    """
    if settings.trading_mode is not TradingMode.SANDBOX:
        raise EnvironmentProblem(
            f"TRADING_MODE={settings.trading_mode} has no paper exchange with prices of its own: "
            "use TRADING_MODE=sandbox"
        )
    if settings.recorded is None:
        s = settings.synthetic
        return SyntheticMarkets(SyntheticParameters(s.seed, s.edge, s.volatility), settings.markets)
    return _recorded(settings, world, now)


def _recorded(settings: Settings, world: World, now: datetime) -> RecordedMarkets:
    assert settings.recorded is not None  # the caller asked
    require_recording(settings)
    folder = settings.under_root(settings.recorded).resolve()
    interval = Interval.of_minutes(settings.recorded_interval_minutes)
    claim(world.exchange, world.name)
    move = fixed_move(
        world.exchange / MOVE_FILE,
        folder,
        interval,
        settings.markets,
        now=now,
        live_days=settings.live_days,
    )
    return RecordedMarkets(folder, interval, settings.markets, move, world.name)
