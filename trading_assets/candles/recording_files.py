"""Where the files of a recording lie, and whether they are there; what is in them: recorded.py.

Light, because every start asks.
"""

from pathlib import Path

from trading_assets.errors import SettingsError
from trading_assets.exchange.model import Interval
from trading_assets.settings import Settings


def recording_path(folder: Path, market: str, interval: Interval) -> Path:
    """Where the candles of `market` lie."""
    return folder / f"{market}-{interval.value}.parquet"


def require_recording(settings: Settings) -> None:
    """Raise SettingsError unless RECORDED, when it is set, has a file for each of MARKETS.

    Looks at names alone, so that every start can ask before it makes anything.
    """
    if settings.recorded is None:
        return
    folder = settings.under_root(settings.recorded)
    interval = Interval.of_minutes(settings.recorded_interval_minutes)
    rule = f"it must be a folder with <market>-{interval.value}.parquet for each of MARKETS"
    if not folder.is_dir():
        raise SettingsError(f"RECORDED was '{settings.recorded}': {rule}; {folder} is no folder")
    paths = (recording_path(folder, market, interval) for market in settings.markets)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise SettingsError(
            f"RECORDED was '{settings.recorded}': {rule}; {folder} has no {', '.join(missing)}"
        )
