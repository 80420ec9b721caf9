"""From the close of a candle to its signal in the database, for 4 and for 200 markets.

The real path: 5-minute candles over a real socket from a paper exchange in another process (10
requests a second, enforced on both sides), candle store, features, a LightGBM of five seeds,
SQLite with synchronous=FULL. Both clocks are the machine's, shifted so that the run starts exactly
at a close. The floor is what no code could beat: the 5 s that the closing candle is given to
appear, and the request's turn under the rate limit.

    python benchmarks/signal_latency.py [MARKETS ...]
"""

import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa
import uvicorn

from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.clock import SystemClock
from trading_assets.database import connect, prepare
from trading_assets.exchange.candle_pages import candle_pages
from trading_assets.exchange.model import Interval
from trading_assets.features.checks import feature_reference
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.challengers import ChallengerStore
from trading_assets.models.champions import ChampionStore
from trading_assets.models.dataset import make_dataset
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.models.training import train
from trading_assets.models.verdicts import Verdict, VerdictKind, record_verdict
from trading_assets.paper_exchange.server import create_app
from trading_assets.paper_exchange.synthetic import EPOCH, SyntheticMarkets, SyntheticParameters
from trading_assets.settings import ProfileName, Settings, load_settings
from trading_assets.signals.produce import produce_signals
from trading_assets.world import World

INTERVAL = Interval.M5
HISTORY = timedelta(days=75)
CLOSE = EPOCH + HISTORY


class ShiftedClock(SystemClock):
    """The machine's clock, moved by a fixed step."""

    def __init__(self, now: datetime) -> None:
        self._shift = now - datetime.now(UTC)

    def now(self) -> datetime:
        return super().now() + self._shift


def main() -> None:
    sizes = [int(a) for a in sys.argv[1:]] or [4, 200]
    names = tuple(f"KRW-M{i:03}" for i in range(max(sizes)))
    source = SyntheticMarkets(SyntheticParameters(), names)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        store = CandleStore(folder / "candles", "bench")
        for name in names:
            fill(store, source, name)
        print(f"{len(names)} markets collected; seconds from candle close to row:")
        print(
            f"{'markets':>8}{'p50':>8}{'p99':>8}{'last':>8}{'floor':>8}{'floor share':>13}"
            f"{'CPU ms a signal':>17}"
        )
        for number, size in enumerate(sizes):
            measure(folder / str(number), store, source, names[:size])


def measure(
    folder: Path, store: CandleStore, source: SyntheticMarkets, names: tuple[str, ...]
) -> None:
    port = free_port()
    settings = load_settings(
        {
            "TRADING_ASSETS_HOME": folder,
            "markets": ",".join(names),
            "profiles": "scalp",
            "exchange_url": f"http://127.0.0.1:{port}",
        }
    )
    world = World("bench", folder / "data", folder / "mlruns")
    engine = connect(f"sqlite:///{world.database}")
    prepare(engine, world)
    champions = ChampionStore(world.champions, world.name)
    promote(settings, world, champions, engine, store=store, names=names)
    # The first call of a process pays for imports; a signal run would count them as start-up.
    settings_warm = settings.model_copy(update={"markets": names[:1]})
    with exchange(source, port, CLOSE - timedelta(seconds=30)) as clock:
        pages = candle_pages(settings, clock)
        produce_signals(settings_warm, world, clock, pages, store, champions, engine)
        time.sleep(max(0.0, (CLOSE - clock.now()).total_seconds()))
        written: list[float] = []
        sa.event.listen(
            engine, "commit", lambda _: written.append((clock.now() - CLOSE).total_seconds())
        )
        cpu = time.process_time()
        report = produce_signals(settings, world, clock, pages, store, champions, engine)
        cpu = time.process_time() - cpu
    unsound = [s for s in report.rows if s.p_buy is None]
    if report.failures or unsound or len(written) != len(names):
        sys.exit(f"not every market was decided: {report.failures or unsound}")
    delay = float(settings.closing_candle_delay_seconds)
    # The first ten requests may leave at once, each next one a tenth of a second later.
    turns = delay + np.maximum(0, np.arange(len(names)) - 9) / float(settings.candle_rate)
    shares = turns / np.array(written)
    p50, p99 = np.percentile(written, [50, 99])
    print(
        f"{len(names):>8}{p50:>8.2f}{p99:>8.2f}{written[-1]:>8.2f}{turns[-1]:>8.2f}"
        f"{shares.mean():>12.0%} {cpu / len(names) * 1000:>16.0f}"
    )


def promote(
    settings: Settings,
    world: World,
    champions: ChampionStore,
    engine: sa.Engine,
    *,
    store: CandleStore,
    names: tuple[str, ...],
) -> None:
    """One model, trained on the first market, for all of them."""
    scalp = profile(settings, ProfileName.SCALP)
    series = series_of(store, names[0])
    sequences = make_sequences(feature_matrix(series), series)
    labels = make_labels(series, scalp, costs(settings), ewm_sigma(series))
    dataset = make_dataset(names[0], scalp, sequences, labels, costs=costs(settings))
    trained = train(dataset, scalp, settings.recipe, range(settings.seeds), trained_at=CLOSE)
    for name in names:
        made = ChallengerStore(world.models, world.name).save(
            trained,
            market=name,
            profile="scalp",
            version="bench",
            gate_x=dataset.x[:1],
            reference=feature_reference(feature_matrix(series_of(store, name))),
            record={"trained_at": CLOSE.isoformat(), "skill": trained.evaluation.skill},
        )
        champions.promote(name, "scalp", "bench", made.folder)
        verdict = Verdict(VerdictKind.PROMOTION, name, "scalp", True, (), CLOSE)
        record_verdict(engine, verdict)


def fill(store: CandleStore, source: SyntheticMarkets, name: str) -> None:
    """All candles but the two that the warm-up and the measured run will ask for."""
    end = CLOSE - 2 * INTERVAL.duration
    frame = source.candles(name, INTERVAL, EPOCH, end)
    store.merge(name, INTERVAL, frame, covered=(EPOCH, end))


def series_of(store: CandleStore, name: str) -> CandleSeries:
    return regular_series(store.read(name, INTERVAL), store.gaps(name, INTERVAL), INTERVAL)


@contextmanager
def exchange(source: SyntheticMarkets, port: int, now: datetime) -> Iterator[ShiftedClock]:
    """A paper exchange in a process of its own, at the time of the clock that is yielded."""
    clock = ShiftedClock(now)

    def serve(**options: Any) -> None:
        uvicorn.run(create_app(source, clock), **options)

    process = multiprocessing.get_context("fork").Process(
        target=serve, kwargs={"port": port, "log_level": "error"}
    )
    process.start()
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://127.0.0.1:{port}/v1/market/all")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield clock
    finally:
        process.kill()
        process.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
