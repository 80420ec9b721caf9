"""Calibration: it finds what was done to good probabilities, and leaves good ones alone."""

import numpy as np
import pytest

from trading_assets.models.calibration import (
    NOT_CALIBRATED,
    Calibration,
    fit_calibration,
    softmax,
)
from trading_assets.models.evaluation import row_losses


def drawn(n: int, temperature: float, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """(p, y): y is drawn from honest probabilities, p is them distorted."""
    rng = np.random.default_rng(4)
    honest = rng.dirichlet((3, 5, 3), n)
    u = rng.random(n)
    y = (u > honest[:, 0]).astype(np.int8) + (u > honest[:, 0] + honest[:, 1]).astype(np.int8)
    logits = np.log(honest) - np.array([0.0, 0.0, bias])
    return softmax(logits * temperature), y.astype(np.int8)


def test_it_undoes_overconfidence_and_a_bias() -> None:
    p, y = drawn(200_000, temperature=2.0, bias=0.3)
    found = fit_calibration(p, y, overlap=1)
    assert found.temperature == pytest.approx(2.0, abs=0.1)
    assert found.bias == pytest.approx((0.0, 0.0, 0.3), abs=0.05)
    assert found.rows == 200_000
    assert row_losses(found.apply(p), y).mean() < row_losses(p, y).mean() - 0.05


def test_overlapping_labels_move_it_less() -> None:
    p, y = drawn(3_000, temperature=2.0, bias=0.0)
    alone, overlapping = fit_calibration(p, y, overlap=1), fit_calibration(p, y, overlap=100)
    assert 1 < overlapping.temperature < alone.temperature


def test_below_1500_rows_it_is_skipped_and_at_1500_it_is_not() -> None:
    p, y = drawn(1_500, temperature=2.0, bias=0.0)
    assert fit_calibration(p[:-1], y[:-1], overlap=1) is NOT_CALIBRATED
    assert fit_calibration(p, y, overlap=1).rows == 1_500


def test_it_survives_probabilities_of_zero_and_a_class_that_never_happens() -> None:
    p = np.tile([0.0, 1.0, 0.0], (2_000, 1))
    found = fit_calibration(p, np.full(2_000, 1, dtype=np.int8), overlap=12)
    calibrated = found.apply(p)
    assert np.isfinite(calibrated).all()
    assert calibrated.sum(axis=1) == pytest.approx(1.0)


def test_the_identity_changes_nothing_and_json_keeps_every_bit() -> None:
    p, _ = drawn(100, temperature=1.3, bias=0.1)
    assert NOT_CALIBRATED.apply(p) == pytest.approx(p)
    calibration = Calibration(1 / 3, (0.1, 0.0, -0.2), 77)
    assert Calibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Calibration(temperature)
