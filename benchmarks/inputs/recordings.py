"""The recorded candles that benchmarks measure on: where they lie, and what to do without them.

Not here: what is measured on them, and how a recording is read (`trading_assets.candles.recorded`).
"""

from collections.abc import Sequence
from pathlib import Path

from trading_assets.candles.recorded import read_recordings
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data" / "candles"


def is_missing(folder: Path) -> bool:
    """Whether there are no recordings to measure on; then says that the benchmark is skipped."""
    if folder.is_dir():
        return False
    print(f"skipped: needs recorded candles in {folder}, which is not here")
    return True


def hourly(folder: Path, markets: Sequence[str]) -> dict[str, CandleSeries]:
    """The recorded hours of each market."""
    stored = read_recordings(folder, markets, Interval.M60)
    return {market: candles.series for market, candles in stored.items()}


def world_of(folder: Path) -> str:
    """The world that results of these hours belong to."""
    return f"recorded-{folder.name}-60m"
