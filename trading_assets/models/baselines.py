"""The models every model is measured against: class prior and logistic regressions.

Fitting takes scikit-learn (imported in the function); using a fitted one takes numpy only. The
logistic regression on all 46 features is also a recipe and one half of the ensemble.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trading_assets.models.calibration import softmax

FloatArray = NDArray[np.float64]

LOGISTIC_C = 0.003
_MAX_ITERATIONS = 200


@dataclass(frozen=True, slots=True, eq=False)
class LogisticModel:
    """Multinomial logistic regression on standardised columns of the design matrix.

    columns: (k,) which columns of x it reads. mean, scale: (k,) of the training rows.
    coefficients: (3, k), intercept: (3,), in the order SELL, HOLD, BUY.
    """

    columns: NDArray[np.intp]
    mean: FloatArray
    scale: FloatArray
    coefficients: FloatArray
    intercept: FloatArray

    def probabilities(self, x: NDArray[np.float32]) -> FloatArray:
        """(n, 3) of the whole design matrix x (n, all columns)."""
        # One live row must get the same bits as in a batch. So no matrix product (BLAS adds in
        # another order for one row than for many), and rows that lie in one piece each.
        chosen = x[:, self.columns].astype(np.float64, order="C")
        z = (chosen - self.mean) / self.scale
        logits = np.stack([(z * c).sum(axis=1) for c in self.coefficients], axis=1)
        return softmax(logits + self.intercept)

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": self.columns.tolist(),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "coefficients": self.coefficients.tolist(),
            "intercept": self.intercept.tolist(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "LogisticModel":
        return cls(
            np.array(values["columns"], dtype=np.intp),
            np.array(values["mean"], dtype=np.float64),
            np.array(values["scale"], dtype=np.float64),
            np.array(values["coefficients"], dtype=np.float64),
            np.array(values["intercept"], dtype=np.float64),
        )


def class_prior(y: NDArray[np.int8]) -> FloatArray:
    """Shares of SELL, HOLD, BUY among the training rows, (3,); one row of each is added first.

    The added row keeps the log loss finite when a class is missing.
    """
    counts = np.bincount(y, minlength=3).astype(np.float64) + 1.0
    shares: FloatArray = counts / counts.sum()
    return shares


def fit_logistic(
    x: NDArray[np.float32], y: NDArray[np.int8], columns: Sequence[int], c: float = LOGISTIC_C
) -> LogisticModel:
    """Logistic regression (L2, inverse strength `c`) on the given columns, standardised.

    One thread, so that the result is the same bits whatever the machine is doing. A class that
    has no row in `y` gets the smoothed prior's logit and no coefficients.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    chosen = np.array(columns, dtype=np.intp)
    values = x[:, chosen].astype(np.float64)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    # A constant column: its differences to the mean are rounding noise, never to be magnified.
    scale = np.where(scale > 1e-12 * (1 + np.abs(mean)), scale, np.inf)
    coefficients = np.zeros((3, len(chosen)))
    intercept = np.log(class_prior(y))
    present = np.unique(y)
    if len(present) > 1:
        with threadpool_limits(limits=1):
            fitted = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS).fit(
                (values - mean) / scale, y
            )
        if len(present) == 2:  # sklearn keeps one row of coefficients for two classes
            coefficients[present[1]] = fitted.coef_[0]
            intercept[present] = 0.0, fitted.intercept_[0]
            intercept[np.setdiff1d([0, 1, 2], present)] = np.log(class_prior(y)).min()
        else:
            coefficients, intercept = fitted.coef_, fitted.intercept_
    finite_scale = np.where(np.isfinite(scale), scale, 1.0)
    coefficients = np.where(np.isfinite(scale), coefficients, 0.0)
    return LogisticModel(chosen, mean, finite_scale, coefficients, intercept)
