"""Temperature (+ bias) calibration of class probabilities.

p = softmax(log(p_raw) / temperature + bias). Three numbers, fitted on predictions of rows that the
model had not seen. Never isotonic: on overlapping labels it always cost log loss here (measured).
Not here: which rows it is fitted on (`training.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MIN_CALIBRATION_ROWS = 1500
_PRIOR_SD = 0.25
_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Calibration:
    """Scale and shift of log probabilities.

    temperature: above 1 makes a model less sure. bias: added to the logits of SELL, HOLD, BUY;
    HOLD's is always 0. rows: how many rows it was fitted on, 0 = not calibrated.
    """

    temperature: float = 1.0
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rows: int = 0

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not np.isfinite(self.temperature):
            raise ValueError(f"temperature must be above 0 and finite, was {self.temperature}")
        if len(self.bias) != 3 or not all(np.isfinite(b) for b in self.bias):
            raise ValueError(f"bias must be three finite numbers, was {self.bias}")

    def apply(self, p: FloatArray) -> FloatArray:
        """Calibrated probabilities. p: (n, 3), rows sum to 1. Returns the same shape."""
        return softmax(np.log(np.maximum(p, _FLOOR)) / self.temperature + np.asarray(self.bias))

    def to_json(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "bias": list(self.bias), "rows": self.rows}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Calibration":
        sell, hold, buy = (float(b) for b in values["bias"])
        return cls(float(values["temperature"]), (sell, hold, buy), int(values["rows"]))


NOT_CALIBRATED = Calibration()


def softmax(logits: FloatArray) -> FloatArray:
    """Rows of exp(logits) scaled to sum to 1; safe for large logits."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: FloatArray = shifted / shifted.sum(axis=1, keepdims=True)
    return scaled


def fit_calibration(p: FloatArray, y: NDArray[np.int8], overlap: int) -> Calibration:
    """The calibration that makes `p` (n, 3) fit the classes `y` (n,) best.

    overlap: candles in a label's path. Neighbouring labels share most of their path, so n rows
    carry the information of about n / overlap; the likelihood is divided by it and met by a
    normal prior around "no change" (sd 0.25 on 1/temperature and on each bias). Newton's method
    on a convex loss in three unknowns. Below MIN_CALIBRATION_ROWS rows: NOT_CALIBRATED.
    """
    if overlap < 1:
        raise ValueError(f"overlap must be at least 1 candle, was {overlap}")
    if len(y) < MIN_CALIBRATION_ROWS:
        return NOT_CALIBRATED
    logits = np.log(np.maximum(p, _FLOOR))
    # One column of derivatives per unknown: 1/temperature, SELL bias, BUY bias.
    basis = np.zeros((3, len(y), 3))
    basis[0], basis[1, :, 0], basis[2, :, 2] = logits, 1.0, 1.0
    chosen = basis[:, np.arange(len(y)), y].sum(axis=1)
    start = np.array([1.0, 0.0, 0.0])
    theta = start.copy()
    for _ in range(50):
        q = softmax(np.einsum("k,knc->nc", theta, basis))
        expected = np.einsum("knc,nc->kn", basis, q)
        gradient = (expected.sum(axis=1) - chosen) / overlap + (theta - start) / _PRIOR_SD**2
        second = np.einsum("knc,jnc,nc->kj", basis, basis, q) - expected @ expected.T
        step = np.linalg.solve(second / overlap + np.eye(3) / _PRIOR_SD**2, gradient)
        step *= min(1.0, 0.5 / max(float(np.abs(step).max()), 1e-300))
        theta = theta - step
        theta[0] = max(theta[0], 0.05)
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(float(1 / theta[0]), (float(theta[1]), 0.0, float(theta[2])), len(y))
