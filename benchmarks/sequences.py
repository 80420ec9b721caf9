"""How fast what a model is given is built: against a plain copy of the same bytes.

CPU seconds of this process, medians, one run, one thread. 35,000 sequences (four years of hourly
candles) of 24 x 46. The goal is for the flat matrix; the summary, which computes instead of
copying, is listed in seconds.

    python benchmarks/sequences.py
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from trading_assets.features.sequences import SEQUENCE_LENGTH, Sequences, design_matrix
from trading_assets.settings import SequenceView

ROWS = 35_000
FEATURES = 46
GOAL = 1.5
REPEATS = 25


def main() -> None:
    whole = random_sequences(np.arange(SEQUENCE_LENGTH - 1, ROWS))
    broken = random_sequences(with_breaks())
    print(f"{len(whole):,} sequences of {SEQUENCE_LENGTH} x {FEATURES}; CPU, medians of {REPEATS}")
    for name, sequences in (("without breaks", whole), ("with 20 breaks", broken)):
        # Each pass makes a new array, as a training run does; so does the copy.
        flat = design_matrix(sequences, SequenceView.FLAT)
        build = partial(design_matrix, sequences, SequenceView.FLAT)
        copied, built = alternating(flat.copy, build)
        ratio = built / copied
        print(
            f"  flat matrix {name:16}{built * 1e3:8.1f} ms   memcpy {copied * 1e3:8.1f} ms"
            f"{ratio:8.2f} x   goal <= {GOAL:g} {'met' if ratio <= GOAL else 'MISSED'}"
        )
    for view in (SequenceView.SUMMARY, SequenceView.LAST):
        seconds, _ = alternating(partial(design_matrix, whole, view), lambda: None)
        print(f"  {view.value:28}{seconds * 1e3:8.1f} ms")
    seconds, _ = alternating(lambda: whole.tensor, lambda: None)
    print(f"  {'tensor (a view)':28}{seconds * 1e3:8.3f} ms")


def alternating(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Median CPU seconds of both, measured in turns so that both meet the same neighbours."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS + 1):
        for call, seconds in zip((one, other), taken, strict=True):
            start = time.process_time()
            call()
            seconds.append(time.process_time() - start)
    return statistics.median(taken[0][1:]), statistics.median(taken[1][1:])


def random_sequences(rows: np.ndarray) -> Sequences:
    base = np.random.default_rng(20260101).standard_normal((ROWS, FEATURES)).astype(np.float32)
    times = np.datetime64("2022-01-01", "us") + rows * np.timedelta64(1, "h")
    return Sequences(times, base, rows)


def with_breaks() -> np.ndarray:
    """As after 20 maintenance breaks: each costs 123 sequences."""
    rows = np.arange(SEQUENCE_LENGTH - 1, ROWS)
    starts = np.linspace(0, ROWS, 21, dtype=int)[:-1]
    return rows[~np.isin(rows, (starts[:, None] + np.arange(123)).ravel())]


if __name__ == "__main__":
    main()
