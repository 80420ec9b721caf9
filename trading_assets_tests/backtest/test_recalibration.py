"""Calibration on earlier predictions only."""

from datetime import UTC, datetime, timedelta

import numpy as np

from trading_assets.backtest.recalibration import calibration_steps, recalibrated
from trading_assets.models.splits import Purge

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
# Labels last 2 hours from the close; a window is 3 candles, so it reaches 2 hours back.
PURGE = Purge(HOUR, 3)


def hours(*numbers: float) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    first = np.datetime64("2024-01-01T00:00", "us")
    return np.array([first + np.timedelta64(int(n * 60), "m") for n in numbers])


def steps(
    n: int, at: list[int], *, window: int = 100, unknown: tuple[int, ...] = ()
) -> list[tuple[list[int], list[int]]]:
    known = np.ones(n, dtype=np.bool_)
    known[list(unknown)] = False
    found = calibration_steps(
        [START + h * HOUR for h in at],
        hours(*range(n)),
        hours(*(h + 3 for h in range(n))),
        known,
        window=window * HOUR,
        purge=PURGE,
    )
    return [(s.rows.train.tolist(), s.rows.test.tolist()) for s in found]


def test_a_step_learns_only_labels_that_were_over_before_the_windows_it_judges() -> None:
    first, second = steps(12, [0, 8])
    assert first == ([], [0, 1, 2, 3, 4, 5, 6, 7])
    # The window of row 8 begins at 06:00; row 3 opens at 03:00 and its label ends at 06:00.
    assert second == ([0, 1, 2, 3], [8, 9, 10, 11])


def test_a_step_looks_back_its_window_only() -> None:
    # 6 hours back from 08:00: rows from 02:00 on.
    assert steps(12, [0, 8], window=6)[1][0] == [2, 3]


def test_a_step_learns_no_row_whose_outcome_is_unknown() -> None:
    assert steps(12, [0, 8], unknown=(1, 2))[1][0] == [0, 3]


def test_a_step_between_two_rows_begins_with_the_later_one() -> None:
    known = np.ones(3, dtype=np.bool_)
    found = calibration_steps(
        [START, START + timedelta(minutes=90)],
        hours(0, 1, 2),
        hours(3, 4, 5),
        known,
        window=HOUR,
        purge=PURGE,
    )
    assert found[1].rows.test.tolist() == [2]


def test_an_overconfident_model_is_made_less_sure_from_the_second_step_on() -> None:
    rng = np.random.default_rng(1)
    n = 4000
    true = np.tile([0.25, 0.5, 0.25], (n, 1))
    y = rng.choice(3, n, p=true[0]).astype(np.int8)
    noise = rng.normal(0, 1.5, (n, 3))
    raw = np.exp(np.log(true) + noise)
    raw /= raw.sum(axis=1, keepdims=True)
    found = calibration_steps(
        [START, START + 2000 * HOUR],
        hours(*range(n)),
        hours(*(h + 3 for h in range(n))),
        np.ones(n, dtype=np.bool_),
        window=5000 * HOUR,
        purge=PURGE,
    )
    p, fitted = recalibrated(raw, y, found, overlap=1)
    np.testing.assert_allclose(p[:2000], raw[:2000], rtol=1e-12)
    assert (fitted[0].temperature, fitted[0].rows) == (1.0, 0)
    # Rows 0 to 1995: their labels are over two hours before row 2000 opens (1995 + 3 = 1998).
    assert fitted[1].rows == 1996
    assert fitted[1].temperature > 1.5

    def loss(q: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
        return float(-np.log(q[np.arange(2000, n), y[2000:]]).mean())

    assert loss(p) < loss(raw) - 0.1


def test_what_a_step_calibrates_does_not_depend_on_later_outcomes() -> None:
    rng = np.random.default_rng(2)
    n = 3500
    raw = rng.dirichlet([2, 3, 2], n)
    y = rng.integers(0, 3, n).astype(np.int8)
    later = y.copy()
    later[1998:] = 2 - later[1998:]
    found = calibration_steps(
        [START, START + 2000 * HOUR, START + 3000 * HOUR],
        hours(*range(n)),
        hours(*(h + 3 for h in range(n))),
        np.ones(n, dtype=np.bool_),
        window=5000 * HOUR,
        purge=PURGE,
    )
    p, _ = recalibrated(raw, y, found, overlap=1)
    q, _ = recalibrated(raw, later, found, overlap=1)
    np.testing.assert_array_equal(p[:3000], q[:3000])
    assert np.abs(p[3000:] - q[3000:]).max() > 0.001  # and what comes after does
