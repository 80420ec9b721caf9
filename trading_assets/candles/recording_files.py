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
            f"{_other_interval(folder, settings, interval)}"
        )


def _other_interval(folder: Path, settings: Settings, interval: Interval) -> str:
    """The way out when the files are there, of the other interval that a recording may have."""
    other = Interval.M1 if interval is Interval.M60 else Interval.M60
    if not all(recording_path(folder, m, other).is_file() for m in settings.markets):
        return ""
    return (
        f" but {other.minutes}-minute candles of each: set RECORDED_INTERVAL_MINUTES="
        f"{other.minutes}"
    )
