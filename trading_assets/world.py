"""The world of a start: which prices and whose money everything it makes belongs to.

Every store lies under `data/<world>/` and `mlruns/<world>/`, carries the world's name and refuses
another, so that a model of synthetic prices can never serve real ones.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trading_assets.errors import EnvironmentProblem, WrongWorld
from trading_assets.settings import Settings, TradingMode

# The paper exchange names its world in every answer; Upbit sends no such header.
WORLD_HEADER = "Paper-World"
_MARKER = "WORLD"
# Counted up when the synthetic market gives other prices for the same parameters: a world made
# before keeps its candles and models, and a new start makes another world.
SYNTHETIC_GENERATION = 2


@dataclass(frozen=True, slots=True)
class World:
    """A world's name and its folders (absolute)."""

    name: str
    data: Path
    mlruns: Path

    @property
    def candles(self) -> Path:
        return self.data / "candles"

    @property
    def assets(self) -> Path:
        """Features, sequences and labels."""
        return self.data / "assets"

    @property
    def champions(self) -> Path:
        """The served models."""
        return self.data / "champions"

    @property
    def models(self) -> Path:
        """Challengers and their evaluation, per market and profile."""
        return self.data / "models"

    @property
    def walk_forward(self) -> Path:
        """Out-of-sample predictions and the models that made them."""
        return self.data / "walk_forward"

    @property
    def shadow(self) -> Path:
        """What judged models said of live candles since they were made."""
        return self.data / "shadow"

    @property
    def dagster_home(self) -> Path:
        return self.data / "dagster"

    @property
    def database(self) -> Path:
        return self.data / "trading_assets.sqlite"

    @property
    def exchange(self) -> Path:
        """The paper exchange's own state."""
        return self.data / "paper_exchange"

    @property
    def run(self) -> Path:
        """Process files of `trading-assets run`: configuration, logs, pid."""
        return self.data / "run"

    @property
    def live_start(self) -> Path:
        """Made when a person confirmed the first start with real money; without it no entries."""
        return self.data / "LIVE_START_CONFIRMED"

    @property
    def mlflow_uri(self) -> str:
        return f"sqlite:///{self.mlruns / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.mlruns / "artifacts"


def world_of(settings: Settings) -> World:
    """The world that `settings` describe. Touches no file."""
    name = _name(settings)
    return World(
        name=name,
        data=settings.under_root(settings.data_dir) / name,
        mlruns=settings.under_root(settings.mlruns_dir) / name,
    )


def prices(settings: Settings) -> str:
    """Whose prices a world's numbers come from, in words that nobody takes for something else."""
    if settings.takes_upbits_prices:
        return "Upbit's prices"
    if settings.trading_mode is TradingMode.PAPER:
        return f"prices of {settings.upstream_base_url}, NOT Upbit's"
    if settings.recorded is None:
        return "SYNTHETIC prices"
    return f"RECORDED prices of {settings.recorded}, moved in time"


def _name(settings: Settings) -> str:
    if settings.takes_upbits_prices:
        return settings.trading_mode.value
    if settings.trading_mode is TradingMode.PAPER:
        # A program that speaks Upbit's protocol on this machine: its prices are another world's.
        host = urlsplit(settings.upstream_base_url).netloc
        return f"paper-{re.sub('[^a-z0-9.]+', '-', host).strip('-')}"
    if settings.recorded is not None:
        folder = settings.under_root(settings.recorded).resolve().name
        return f"recorded-{folder}-{settings.recorded_interval_minutes}m"
    parameters = settings.synthetic.model_dump(mode="json") | {"generation": SYNTHETIC_GENERATION}
    text = json.dumps(parameters, sort_keys=True)
    return f"sandbox-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def claim(folder: Path, world: str) -> None:
    """Make `folder` and mark it as `world`'s.

    Raises WrongWorld when it is another's, EnvironmentProblem when it cannot be made. Safe to call
    from several processes at once: the marker is swapped in whole.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise EnvironmentProblem(
            f"the folder {folder} (DATA_DIR, MLRUNS_DIR, TRADING_ASSETS_HOME) cannot be made: "
            f"{exc.strerror}"
        ) from None
    marker = folder / _MARKER
    try:
        owner = marker.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        draft = folder / f".{_MARKER}.{os.getpid()}"
        draft.write_text(world + "\n", encoding="utf-8")
        draft.replace(marker)
        return
    if owner != world:
        raise WrongWorld(f"{folder} belongs to the world {owner}, not to {world}")
