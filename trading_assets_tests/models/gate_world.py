"""A small world for the tests of the gate: synthetic data sets, quick training, kills.

Four features instead of 46, hourly rows, one seed and a handful of rounds: a training takes a
fraction of a second. `killed_at` runs a retraining in a forked child that kills itself with
SIGKILL at a named step, as a power cut would.
"""

import importlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from trading_assets.clock import Clock, SteppedClock
from trading_assets.database import connect, prepare
from trading_assets.features.checks import FeatureReference
from trading_assets.models.dataset import Dataset
from trading_assets.models.mlflow_store import prepare_mlflow
from trading_assets.models.profiles import profile
from trading_assets.models.retrain import Workshop
from trading_assets.models.trained import Trained
from trading_assets.models.training import train
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, Recipe, SequenceView, load_settings
from trading_assets.world import World

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
_HEAVY = (
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "sklearn.linear_model",
)
FEATURES = ("trend", "calm", "volatility", "noise")
ROUNDS = 4

REFERENCE = FeatureReference("test", 720, ((0.0,) * 9,) * 4, ((0.1,) * 10,) * 4, (0.5,) * 4)


def small_profile(**changes: object) -> Profile:
    """Profile `swing` with windows that a few weeks of rows fill."""
    swing = profile(load_settings({"TRADING_ASSETS_HOME": Path("/nowhere")}), ProfileName.SWING)
    small = replace(
        swing,
        min_history=timedelta(days=30),
        calibration_window=timedelta(days=20),
        gate_window=timedelta(days=15),
    )
    return replace(small, **changes)  # type: ignore[arg-type]


def dataset(
    days: int = 60, *, seed: int = 1, strength: float = 0.8, market: str = "KRW-BTC"
) -> Dataset:
    """Hourly rows ending at NOW whose class leans on the feature `trend` by `strength`."""
    n = days * 24
    rng = np.random.default_rng(seed)
    last = np.datetime64(NOW.replace(tzinfo=None), "h") - np.timedelta64(13, "h")
    open_time = (last - np.arange(n)[::-1] * np.timedelta64(1, "h")).astype("datetime64[us]")
    x = rng.standard_normal((n, len(FEATURES))).astype(np.float32)
    score = strength * x[:, 0] + rng.standard_normal(n)
    y = np.where(score < -0.6, 0, np.where(score > 0.6, 2, 1)).astype(np.int8)
    long_net = np.array([-0.0116, -0.0016, 0.0084])[y]
    return Dataset(
        market=market,
        profile="swing",
        interval=HOUR,
        open_time=open_time,
        x=x,
        y=y,
        end_time=np.asarray(open_time + np.timedelta64(13, "h"), dtype=open_time.dtype),
        long_net=long_net,
        short_net=np.array([0.0084, -0.0016, -0.0116])[y],
        columns=FEATURES,
        features=FEATURES,
        last_columns=(0, 1, 2, 3),
        volatility_columns=(1, 2),
        view=SequenceView.LAST,
        costs=Costs(Decimal("0.0005"), Decimal("0.0003")),
        catalogue_version="test",
        candle_hash="hash",
    )


def trained(data: Dataset, seed: int = 7) -> Trained:
    return train(data, small_profile(), Recipe.LIGHTGBM, (seed,), trained_at=NOW, max_rounds=ROUNDS)


@cache
def _migrated() -> Path:
    """One prepared MLflow store and database; creating them takes seconds, a copy does not."""
    # Imported once here, inherited by every forked child.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    for module in _HEAVY:
        importlib.import_module(module)
    # Scans every installed package once per process (4 s): children inherit the answer.
    importlib.import_module("mlflow.utils.requirements_utils")._init_packages_to_modules_map()
    folder = Path(tempfile.mkdtemp(prefix="gate-world-"))
    world = World("sandbox-test", folder / "data", folder / "mlruns")
    # In a child: a connection that mlflow holds in this process would be shared by later forks.
    run_in_child(lambda: _prepare(world))
    return folder


def _prepare(world: World) -> None:
    prepare_mlflow(world)
    prepare(connect(f"sqlite:///{world.database}"), world)


def workshop(folder: Path, clock: Clock | None = None) -> Workshop:
    """The world under `folder`, made when there is none; the clock stands at NOW."""
    world = World("sandbox-test", folder / "data", folder / "mlruns")
    if not world.mlruns.exists():
        shutil.copytree(_migrated() / "data", world.data)
        shutil.copytree(_migrated() / "mlruns", world.mlruns)
    settings = load_settings({"TRADING_ASSETS_HOME": folder, "seeds": 1})
    engine = connect(f"sqlite:///{world.database}")
    return Workshop(settings, world, clock or SteppedClock(NOW), engine)


def run_in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked child; its wait status (0 when it returned, SIGKILL when killed)."""
    pid = os.fork()
    if pid == 0:
        code = 1
        # OpenMP's pool of threads does not survive a fork: one thread needs none.
        threadpool_limits(1)
        try:
            work()
            code = 0
        finally:
            # No pytest teardown in the child; an exception has printed itself by then.
            if code:
                import traceback

                traceback.print_exc()
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def killed_at(step: str) -> Callable[[str], None]:
    """An `on_step` that kills its own process with SIGKILL right before `step` is taken."""

    def on_step(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_step
