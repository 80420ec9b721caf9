"""What must hold of a feature matrix before a model is trained on it or asked with it.

Values in, outcomes out. Not here: where outcomes are shown (`orchestration`), and whether the
newest candle may be used (`sequences.refusal`).

Drift is measured as the population stability index, PSI = sum (q - p) log(q / p) over the tenths
of the training data. Its usual reading (from 0.1 a moderate, from 0.25 a major shift: Siddiqi,
Credit Risk Scorecards, Wiley 2006) is counted and told, but raises no alarm: volatility comes in
clusters, and on real hourly candles a typical month of volatility_72 has a PSI of 1.1 to 1.4
against its own training years, the worst 2.5 to 3.4. So each feature is compared with the worst
month of its training data: a warning above 1.5 times that, and a stop only when a quarter of all
features are beyond 4 times (docs/features.md: how often that was the case).

The stop is for signals: a model is not asked about a market that is unlike every month it learnt
from. It never stops a training, which is what ends the drift: a training on these rows makes them
part of the new model's reference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.features.catalogue import CATALOGUE_VERSION, FEATURE_NAMES, FEATURES
from trading_assets.features.matrix import FeatureMatrix
from trading_assets.features.sequences import MAX_FILLED_SHARE, WINDOW, filled_windows
from trading_assets.features.windows import FloatArray
from trading_assets.rules.check import CheckOutcome

RANGE_TOLERANCE = 1e-9  # of the width of the range (of 1 for open ones): rounding, not values
CONSTANT_MIN_ROWS = 500
CONSTANT_BLOCKS_AT = 5  # columns: one may be a quirk of the market, five are a broken input
DRIFT_ROWS = 720
DRIFT_WARNS_ABOVE = 1.5  # times the worst of training
DRIFT_BLOCKS_ABOVE = 4.0
DRIFT_BLOCKS_AT = 12  # columns
PSI_MODERATE = 0.1
PSI_MAJOR = 0.25
PSI_FLOOR = PSI_MAJOR  # no less is worth a word, however calm the training data were
FILLED_WARNS_ABOVE = 0.05
FILLED_BLOCKS_ABOVE = 0.50

_TENTHS = np.arange(1, 10) / 10
_LEAST_SHARE = 1e-3  # an empty tenth counts as this: PSI stays finite


@dataclass(frozen=True, slots=True)
class FeatureReference:
    """What the features looked like in training, kept with the model.

    edges: per feature the 9 deciles. shares: per feature the 10 shares of training rows between
    them. worst: per feature the highest PSI of any DRIFT_ROWS consecutive training rows.
    """

    catalogue_version: str
    rows: int
    edges: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]
    worst: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers; `from_json` gives it back exactly."""
        return {
            "catalogue_version": self.catalogue_version,
            "rows": self.rows,
            "edges": [list(e) for e in self.edges],
            "shares": [list(s) for s in self.shares],
            "worst": list(self.worst),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Back from `to_json`."""
        return cls(
            catalogue_version=str(data["catalogue_version"]),
            rows=int(data["rows"]),
            edges=tuple(tuple(map(float, e)) for e in data["edges"]),
            shares=tuple(tuple(map(float, s)) for s in data["shares"]),
            worst=tuple(map(float, data["worst"])),
        )


def feature_reference(matrix: FeatureMatrix) -> FeatureReference:
    """The reference of the valid rows of `matrix` (training rows only).

    Raises NotEnoughHistory: there are fewer than DRIFT_ROWS.
    """
    values = matrix.values[matrix.valid]
    if len(values) < DRIFT_ROWS:
        raise NotEnoughHistory(
            f"a drift reference needs {DRIFT_ROWS} rows, there are {len(values)}"
        )
    edges = np.quantile(values, _TENTHS, axis=0).T
    shares = np.stack([_shares(values[:, j], edges[j]) for j in range(len(FEATURES))])
    # The newest rows are always a block: a model that has learnt from them must know them.
    blocks = {*range(0, len(values) - DRIFT_ROWS + 1, DRIFT_ROWS), len(values) - DRIFT_ROWS}
    psi = np.stack([_psi(values[i : i + DRIFT_ROWS], edges, shares) for i in sorted(blocks)])
    return FeatureReference(
        catalogue_version=CATALOGUE_VERSION,
        rows=len(values),
        edges=tuple(map(tuple, edges.tolist())),
        shares=tuple(map(tuple, shares.tolist())),
        worst=tuple(psi.max(axis=0).tolist()),
    )


def check_features(
    matrix: FeatureMatrix, reference: FeatureReference | None
) -> tuple[CheckOutcome, ...]:
    """All checks of `matrix` before the model that `reference` belongs to is asked with it."""
    return (
        check_finite(matrix),
        check_range(matrix),
        check_constant_columns(matrix),
        check_drift(matrix, reference),
    )


def check_training_features(
    matrix: FeatureMatrix, reference: FeatureReference | None
) -> tuple[CheckOutcome, ...]:
    """All checks of `matrix` before a new model learns from it.

    reference: of the model that serves now. Drift from it is told and never stops the training.
    """
    *quality, drift = check_features(matrix, reference)
    return (*quality, replace(drift, blocking=False))


def check_finite(matrix: FeatureMatrix) -> CheckOutcome:
    """Blocking: there are valid rows, and no NaN or infinity in them."""
    values = matrix.values[matrix.valid]
    bad = _names(~np.isfinite(values).all(axis=0))
    if not len(values):
        reason = f"none of the {len(matrix)} rows is valid"
    elif bad:
        reason = f"not finite in valid rows: {_listed(bad)}"
    else:
        reason = f"all {len(values)} valid rows are finite"
    passed = len(values) > 0 and not bad
    return CheckOutcome("features_finite", passed, reason, values={"valid_rows": len(values)})


def check_range(matrix: FeatureMatrix) -> CheckOutcome:
    """Blocking: every value lies in the range that the catalogue proves for it."""
    values = matrix.values[matrix.valid]
    low, high = np.array([f.low for f in FEATURES]), np.array([f.high for f in FEATURES])
    width = np.where(np.isfinite(high - low), high - low, 1.0)
    # `not inside` rather than `outside`: a NaN is neither.
    inside = (values >= low - RANGE_TOLERANCE * width) & (values <= high + RANGE_TOLERANCE * width)
    if inside.all():
        return CheckOutcome("features_in_range", True, "all values lie in the catalogue's ranges")
    row, column = (int(i) for i in np.argwhere(~inside)[0])
    feature = FEATURES[column]
    reason = (
        f"{feature.name} must be from {feature.low:g} to {feature.high:g}, was "
        f"{values[row, column]:g} at {matrix.open_time[matrix.valid][row]}; outside in all: "
        f"{_listed(_names(~inside.all(axis=0)))}"
    )
    return CheckOutcome(
        "features_in_range", False, reason, values={"values_outside": int((~inside).sum())}
    )


def check_constant_columns(matrix: FeatureMatrix) -> CheckOutcome:
    """No column is constant over the valid rows; blocking from CONSTANT_BLOCKS_AT of them on."""
    values = matrix.values[matrix.valid]
    if len(values) < CONSTANT_MIN_ROWS:
        reason = f"{len(values)} valid rows are too few to tell ({CONSTANT_MIN_ROWS} needed)"
        return CheckOutcome("features_not_constant", True, reason, blocking=False)
    constant = _names(values.min(axis=0) == values.max(axis=0))
    reason = f"constant over {len(values)} rows: {_listed(constant)}" if constant else "none is"
    return CheckOutcome(
        "features_not_constant",
        not constant,
        reason,
        blocking=len(constant) >= CONSTANT_BLOCKS_AT,
        values={"constant_columns": len(constant)},
    )


def check_drift(matrix: FeatureMatrix, reference: FeatureReference | None) -> CheckOutcome:
    """The last DRIFT_ROWS valid rows resemble the training data as much as its own months do."""
    name = "features_drift"
    if reference is None:
        return CheckOutcome(name, True, "no model has been trained yet", blocking=False)
    if reference.catalogue_version != CATALOGUE_VERSION:
        reason = (
            f"the model was trained on catalogue {reference.catalogue_version}, these features "
            f"follow {CATALOGUE_VERSION}"
        )
        return CheckOutcome(name, False, reason)
    values = matrix.values[matrix.valid][-DRIFT_ROWS:]
    if len(values) < DRIFT_ROWS:
        reason = f"{len(values)} valid rows are too few to tell ({DRIFT_ROWS} needed)"
        return CheckOutcome(name, True, reason, blocking=False)
    psi = _psi(values, np.array(reference.edges), np.array(reference.shares))
    times_worst = psi / np.maximum(reference.worst, PSI_FLOOR)
    drifted = _names(times_worst > DRIFT_WARNS_ABOVE)
    far = int((times_worst > DRIFT_BLOCKS_ABOVE).sum())
    most = int(np.argmax(times_worst))
    moderate, major = int((psi >= PSI_MODERATE).sum()), int((psi >= PSI_MAJOR).sum())
    reason = (
        f"most: {FEATURE_NAMES[most]} with {times_worst[most]:.1f} times the shift of its worst "
        f"{DRIFT_ROWS} rows of training; above {DRIFT_WARNS_ABOVE:g} times: {_listed(drifted)}; "
        f"PSI of {PSI_MAJOR:g} or more: {major} of {len(psi)}, of {PSI_MODERATE:g}: {moderate}"
    )
    return CheckOutcome(
        name,
        not drifted,
        reason,
        blocking=far >= DRIFT_BLOCKS_AT,
        values={
            "drifted_columns": len(drifted),
            "far_drifted_columns": far,
            "most_drifted": FEATURE_NAMES[most],
            "times_worst": float(times_worst[most]),
            "psi_moderate_columns": moderate,
            "psi_major_columns": major,
        },
    )


def check_filled_windows(series: CandleSeries) -> CheckOutcome:
    """Few windows are refused because more than 10 % of their candles had no trades."""
    refused = filled_windows(series)
    share = float(refused.mean()) if len(refused) else 0.0
    reason = (
        f"{share:.1%} of the windows of {WINDOW} candles have more than {MAX_FILLED_SHARE:.0%} "
        f"without trades; at most {FILLED_WARNS_ABOVE:.0%} is usual, above "
        f"{FILLED_BLOCKS_ABOVE:.0%} the market is too quiet for this interval"
    )
    return CheckOutcome(
        "windows_filled",
        share <= FILLED_WARNS_ABOVE,
        reason,
        blocking=share > FILLED_BLOCKS_ABOVE,
        values={"refused_share": share, "refused_windows": int(refused.sum())},
    )


def _shares(column: FloatArray, edges: FloatArray) -> FloatArray:
    """The share of values in each tenth, none below _LEAST_SHARE."""
    counts = np.bincount(np.searchsorted(edges, column, side="right"), minlength=len(edges) + 1)
    return np.maximum(counts / len(column), _LEAST_SHARE)


def _psi(values: FloatArray, edges: FloatArray, shares: FloatArray) -> FloatArray:
    """Population stability index of each column of `values`, shape (46,)."""
    now = np.stack([_shares(values[:, j], edges[j]) for j in range(values.shape[1])])
    psi: FloatArray = ((now - shares) * np.log(now / shares)).sum(axis=1)
    return psi


def _names(flags: npt.ArrayLike) -> list[str]:
    return [name for name, flag in zip(FEATURE_NAMES, np.asarray(flags), strict=True) if flag]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
