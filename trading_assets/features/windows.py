"""Rolling sums, moments and extremes whose value for a row depends on that row's window only.

Built by doubling: the sums of 2, 4, 8, ... rows come from pairs of the sums before, and a window
of 24 is one of 16 and one of 8. So the additions of a window always happen in the same order,
whatever came before it or is computed beside it: a row has the same bits in a training matrix and
alone. A running sum, which is what most libraries use, has neither that nor exact zeros on flat
stretches. Work on axis 0 of arrays of one or two dimensions. Not here: what the features mean.

Every result is right-aligned: n rows and a window of w give n - w + 1 rows, the last of which is
the last row's. Each raises ValueError when the window is below 1 or longer than the data.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
_Blocks = tuple[FloatArray, ...]
_Merge = Callable[[_Blocks, int, _Blocks, int], _Blocks]


def window_sum(x: FloatArray, window: int) -> FloatArray:
    """Sums of `window` rows. Exactly 0 for zeros, never negative for non-negative rows."""
    return _by_doubling((x,), (window,), _merge_sums)[0][0]


def window_sums(x: FloatArray, windows: Sequence[int]) -> list[FloatArray]:
    """`window_sum` for several windows, which share their parts."""
    return [sums for (sums,) in _by_doubling((x,), windows, _merge_sums)]


def window_mean(x: FloatArray, window: int) -> FloatArray:
    """Means of `window` rows."""
    return window_sum(x, window) / window


def window_moments(x: FloatArray, window: int) -> tuple[FloatArray, FloatArray]:
    """(means, sums of squared deviations from them) of `window` rows.

    Merges the moments of neighbouring blocks, so no large squares cancel, and where all rows of
    the window are equal the mean is exactly that value and the sum exactly 0.
    Source: Chan, Golub & LeVeque (1983), The American Statistician 37(3), 242-247.
    """
    return moments_of_windows(x, (window,))[0]


def moments_of_windows(
    x: FloatArray, windows: Sequence[int]
) -> list[tuple[FloatArray, FloatArray]]:
    """`window_moments` for several windows, which share their parts."""
    return [(m, q) for m, q in _by_doubling((x, np.zeros_like(x)), windows, _merge_moments)]


def window_min(x: FloatArray, window: int) -> FloatArray:
    """Least values of `window` rows."""
    return _by_doubling((x,), (window,), _merge_min)[0][0]


def window_max(x: FloatArray, window: int) -> FloatArray:
    """Greatest values of `window` rows."""
    return _by_doubling((x,), (window,), _merge_max)[0][0]


def _by_doubling(rows: _Blocks, windows: Sequence[int], merge: _Merge) -> list[_Blocks]:
    """`merge` over each of `windows`, where merge(older, their length, newer, theirs) joins.

    rows: the blocks of length 1. The binary digits of a window say which block lengths are
    joined, the shortest being the newest rows.
    """
    count = len(rows[0])
    for window in windows:
        if not 1 <= window <= count:
            raise ValueError(f"a window must be from 1 to the {count} rows, was {window}")
    joined: list[_Blocks | None] = [None] * len(windows)
    block, length = rows, 1
    while True:
        for i, window in enumerate(windows):
            if window & length:
                newer, covered = joined[i], window & (length - 1)
                joined[i] = block if newer is None else _join(block, length, newer, covered, merge)
        if 2 * length > max(windows):
            return [blocks for blocks in joined if blocks is not None]
        block = _join(block, length, block, length, merge)
        length *= 2


def _join(older: _Blocks, n_older: int, newer: _Blocks, n_newer: int, merge: _Merge) -> _Blocks:
    """Blocks of `n_older` rows with the blocks of `n_newer` rows that follow them.

    Row i of blocks of k rows starts at row i of the data and there are as many as fit.
    """
    count = min(len(newer[0]) - n_older, len(older[0]))
    return merge(
        tuple(a[:count] for a in older),
        n_older,
        tuple(b[n_older : n_older + count] for b in newer),
        n_newer,
    )


def _merge_sums(older: _Blocks, _n_older: int, newer: _Blocks, _n_newer: int) -> _Blocks:
    return (older[0] + newer[0],)


def _merge_min(older: _Blocks, _n_older: int, newer: _Blocks, _n_newer: int) -> _Blocks:
    return (np.minimum(older[0], newer[0]),)


def _merge_max(older: _Blocks, _n_older: int, newer: _Blocks, _n_newer: int) -> _Blocks:
    return (np.maximum(older[0], newer[0]),)


def _merge_moments(older: _Blocks, n_older: int, newer: _Blocks, n_newer: int) -> _Blocks:
    """In place where it can be: this is the inner loop of the summary of sequences."""
    total = n_older + n_newer
    squares = newer[0] - older[0]
    mean = squares * (n_newer / total)
    mean += older[0]
    squares *= squares
    squares *= n_older * n_newer / total
    squares += older[1]
    squares += newer[1]
    return mean, squares
