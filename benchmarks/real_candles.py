"""What the shipped profiles learn from the real candles beside the repository (../shared/data).

`swing` on all hourly candles of the four markets: rows, label shares and, on the gate window and on
the calibration window, log loss against the class prior and the volatility-only baseline,
direction AUC with its 90 % interval, calibration error with its noise bound. `scalp` on the
fortnight of 1-minute candles as 5-minute ones: its label mix and its verdict. The gate window (30
days, about 60 independent outcomes a market) proves little; the calibration window (180 days,
predicted by monthly purged refits) is what the yardsticks are held against.

    python benchmarks/real_candles.py [FOLDER]
"""

import sys
import time
from pathlib import Path

import numpy as np
from inputs.recordings import SHARED, is_missing

from trading_assets.candles.recorded import read_recordings
from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.exchange.model import Interval
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.checks import check_label_shares, check_split, check_too_good
from trading_assets.models.dataset import Dataset, make_dataset
from trading_assets.models.evaluation import Evaluation
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.models.split_gap import split_gap
from trading_assets.models.trained import Trained
from trading_assets.models.training import train
from trading_assets.settings import ProfileName, Settings

YARDSTICKS = {"log loss / prior": 0.97, "log loss / volatility": 0.985, "ECE": 0.05}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED
    if is_missing(folder):
        return
    settings = Settings()
    swing(folder, settings)
    scalp(folder, settings)


def swing(folder: Path, settings: Settings) -> None:
    recordings = read_recordings(folder, settings.markets, Interval.M60)
    print("swing, hourly candles; SELL/HOLD/BUY in %")
    head = f"{'':9}{'rows':>7}{'labels':>10}{'window':>13}{'n':>6}{'/prior':>8}{'/vol.':>8}"
    print(f"{head}{'direction AUC':>21}{'ECE':>7}{'bound':>7}{'rounds':>8}{'CPU s':>7}")
    found: list[tuple[Trained, Dataset]] = []
    for market in settings.markets:
        dataset = dataset_of(market, recordings[market].series, ProfileName.SWING, settings)
        start = time.process_time()
        made = train(
            dataset, profile(settings, ProfileName.SWING), settings.recipe, seeds(settings)
        )
        spent = time.process_time() - start
        found.append((made, dataset))
        shares = "/".join(f"{s:.0f}" for s in 100 * np.bincount(dataset.y) / len(dataset))
        unseen = line("calibration", made.calibration_evaluation)
        print(f"{market:9}{len(dataset):7}{shares:>10}{unseen}{made.rounds:8}{spent:7.0f}")
        print(f"{'':26}{line('gate', made.evaluation)}")
    means([m.calibration_evaluation for m, _ in found])
    for (made, dataset), market in zip(found, settings.markets, strict=True):
        details(market, made, dataset, settings)


def line(window: str, e: Evaluation) -> str:
    direction = f"{e.auc_direction:.3f} [{e.auc_direction_low:.2f}, {e.auc_direction_high:.2f}]"
    return (
        f"{window:>13}{e.n:6}{e.ratio_prior:8.3f}{e.ratio_volatility:8.3f}{direction:>21}"
        f"{e.ece:7.3f}{e.ece_bound:7.3f}"
    )


def means(evaluations: list[Evaluation]) -> None:
    values = {
        "log loss / prior": np.mean([e.ratio_prior for e in evaluations]),
        "log loss / volatility": np.mean([e.ratio_volatility for e in evaluations]),
        "ECE": np.mean([e.ece for e in evaluations]),
    }
    print("means of the calibration windows:", end=" ")
    print(
        "; ".join(
            f"{name} {value:.3f} (yardstick <= {YARDSTICKS[name]}"
            f"{'' if value <= YARDSTICKS[name] else ', MISSED'})"
            for name, value in values.items()
        )
    )
    print(f"mean direction AUC {np.mean([e.auc_direction for e in evaluations]):.3f}")


def details(market: str, made: Trained, dataset: Dataset, settings: Settings) -> None:
    """What the checks say, the careless split, and the return of the most promising tenth."""
    outcomes = (
        check_label_shares(dataset.y),
        check_split(made.audit),
        check_too_good(made.unseen_evaluation()),
    )
    for outcome in outcomes:
        print(
            f"{market} {'passed' if outcome.passed else 'FAILED'} {outcome.name}: {outcome.reason}"
        )
    gap = split_gap(dataset, profile(settings, ProfileName.SWING), seeds(settings)[0])
    print(
        f"{market} 63 leaves, log loss: random split {gap.random_log_loss:.3f}, "
        f"purged split {gap.purged_log_loss:.3f}"
    )
    rows = made.unseen_rows
    expected = made.twin.ev_long(rows.p)
    best = expected >= np.quantile(expected, 0.9)
    print(
        f"{market} unseen rows, mean net return of a long trade: highest tenth by expected value "
        f"{1e4 * rows.long_net[best].mean():+.0f} bp, all {1e4 * rows.long_net.mean():+.0f} bp"
    )
    top = sorted(made.evaluation.importance.items(), key=lambda item: -item[1])[:5]
    print(f"{market} gain: " + ", ".join(f"{name} {share:.0%}" for name, share in top))


def scalp(folder: Path, settings: Settings) -> None:
    recordings = read_recordings(folder, settings.markets, Interval.M5)
    print("scalp, 1-minute candles as 5-minute ones; SELL/HOLD/BUY in %")
    chosen = profile(settings, ProfileName.SCALP)
    for market in settings.markets:
        series = recordings[market].series
        labels = make_labels(series, chosen, costs(settings), ewm_sigma(series))
        shares = 100 * np.bincount(labels.label[labels.valid]) / labels.valid.sum()
        text = "/".join(f"{s:.0f}" for s in shares)
        dataset = dataset_of(market, series, ProfileName.SCALP, settings)
        try:
            train(dataset, chosen, settings.recipe, seeds(settings))
            verdict = "trained"
        except NotEnoughHistory as problem:
            verdict = str(problem)
        print(f"{market:9}{int(labels.valid.sum()):7} labels {text:>9}  {verdict}")


def dataset_of(market: str, series: CandleSeries, name: ProfileName, settings: Settings) -> Dataset:
    chosen, charges = profile(settings, name), costs(settings)
    labels = make_labels(series, chosen, charges, ewm_sigma(series))
    sequences = make_sequences(feature_matrix(series), series)
    return make_dataset(
        market, chosen, sequences, labels, costs=charges, view=settings.sequence_view
    )


def seeds(settings: Settings) -> range:
    return range(settings.base_seed, settings.base_seed + settings.seeds)


if __name__ == "__main__":
    main()
