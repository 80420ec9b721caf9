"""How good predictions are: log loss against baselines, AUC, calibration error, confusion.

Values in, values out; nothing here decides (promotion and checks do). Intervals resample blocks of
three days, because neighbouring rows share most of their label.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trading_assets.models.model import BUY, CLASSES, HOLD, SELL

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int8]
TimeArray = NDArray[np.datetime64]

BLOCK = np.timedelta64(3, "D")
BOOTSTRAP_DRAWS = 400
ECE_BINS = 10
_FLOOR = 1e-12

Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a set of unseen rows says about a model. NaN where the rows cannot say (no such class).

    Losses are mean natural-log losses (nats). ratio_*: model / baseline, below 1 is better. skill:
    1 - ratio_prior. auc: SELL, HOLD, BUY against the rest. auc_direction: AUC of
    p_buy / (p_buy + p_sell) among rows that were not HOLD, with its 90 % block-bootstrap interval.
    ece: mean over classes of the expected calibration error in ten equal-count bins; ece_bound:
    what a perfectly calibrated model stays below in 95 % of draws of this many rows. Triples are
    SELL, HOLD, BUY; confusion[i][j]: rows of class i predicted as j (argmax). importance: share of
    the total gain per feature of the catalogue (absent for a model without trees).
    """

    n: int
    log_loss: float
    prior_log_loss: float
    volatility_log_loss: float
    logistic_log_loss: float
    accuracy: float
    majority_accuracy: float
    auc: Three
    auc_direction: float
    auc_direction_low: float
    auc_direction_high: float
    ece: float
    ece_bound: float
    precision: Three
    recall: Three
    f1: Three
    confusion: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
    label_shares: Three
    predicted_shares: Three
    mean_probabilities: Three
    importance: Mapping[str, float]

    @property
    def ratio_prior(self) -> float:
        return self.log_loss / self.prior_log_loss

    @property
    def ratio_volatility(self) -> float:
        return self.log_loss / self.volatility_log_loss

    @property
    def skill(self) -> float:
        return 1.0 - self.ratio_prior

    def metrics(self) -> dict[str, float]:
        """Every number under a flat name (`auc_buy`, `f1_sell`, ...); NaN ones are left out."""
        flat = {"ratio_prior": self.ratio_prior, "ratio_volatility": self.ratio_volatility}
        flat["skill"] = self.skill
        for name, value in asdict(self).items():
            if name in {"confusion", "importance"}:
                continue
            if isinstance(value, tuple):
                flat |= {f"{name}_{c.lower()}": v for c, v in zip(CLASSES, value, strict=True)}
            else:
                flat[name] = float(value)
        return {name: value for name, value in flat.items() if np.isfinite(value)}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; NaN becomes null."""
        return {k: _nan_to_none(v) for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Evaluation":
        return cls(**{f.name: _none_to_nan(values[f.name]) for f in fields(cls)})


def evaluate(
    *,
    open_time: TimeArray,
    y: IntArray,
    p: FloatArray,
    loss_prior: FloatArray,
    loss_volatility: FloatArray,
    loss_logistic: FloatArray | None = None,
    importance: Mapping[str, float],
    seed: int,
) -> Evaluation:
    """The Evaluation of probabilities `p` (n, 3) of the rows opening at `open_time` (n,).

    loss_*: (n,) losses of the baselines on the same rows, if they were
    fitted. seed: of the resampling. Raises
    ValueError for no rows.
    """
    if len(y) == 0:
        raise ValueError("an evaluation needs at least one row")
    predicted = p.argmax(axis=1).astype(np.int8)
    table = np.zeros((3, 3), dtype=np.int64)
    np.add.at(table, (y, predicted), 1)
    right = np.diag(table).astype(np.float64)
    precision, recall = _ratio(right, table.sum(axis=0)), _ratio(right, table.sum(axis=1))
    low, high = direction_interval(open_time, y, p, seed)
    return Evaluation(
        n=len(y),
        log_loss=float(row_losses(p, y).mean()),
        prior_log_loss=float(loss_prior.mean()),
        volatility_log_loss=float(loss_volatility.mean()),
        logistic_log_loss=float("nan") if loss_logistic is None else float(loss_logistic.mean()),
        accuracy=float((predicted == y).mean()),
        majority_accuracy=float(np.bincount(y, minlength=3).max() / len(y)),
        auc=_three(auc(p[:, c], y == c) for c in (SELL, HOLD, BUY)),
        auc_direction=direction_auc(y, p),
        auc_direction_low=low,
        auc_direction_high=high,
        ece=expected_calibration_error(p, y),
        ece_bound=ece_noise_bound(p, seed),
        precision=_three(precision),
        recall=_three(recall),
        f1=_three(2 * right / np.maximum(table.sum(axis=0) + table.sum(axis=1), 1)),
        confusion=tuple(tuple(int(v) for v in row) for row in table),  # type: ignore[arg-type]
        label_shares=_three(np.bincount(y, minlength=3) / len(y)),
        predicted_shares=_three(np.bincount(predicted, minlength=3) / len(y)),
        mean_probabilities=_three(p.mean(axis=0)),
        importance=dict(importance),
    )


def row_losses(p: FloatArray, y: IntArray) -> FloatArray:
    """-log of the probability given to what happened, (n,) nats; p (n, 3) or one row (3,)."""
    chosen = p[y] if p.ndim == 1 else p[np.arange(len(y)), y]
    return np.asarray(-np.log(np.maximum(chosen, _FLOOR)))


def auc(score: FloatArray, positive: NDArray[np.bool_]) -> float:
    """Probability that a positive row scores above a negative one, ties count half.

    The Mann-Whitney statistic by average ranks; NaN without both classes.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    total = float(rank[place][positive].sum())
    return (total - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def direction_auc(y: IntArray, p: FloatArray) -> float:
    """AUC of p_buy / (p_buy + p_sell) among the rows that were not HOLD."""
    moved = y != HOLD
    return auc(_lean(p[moved]), y[moved] == BUY)


def direction_interval(
    open_time: TimeArray, y: IntArray, p: FloatArray, seed: int, draws: int = BOOTSTRAP_DRAWS
) -> tuple[float, float]:
    """90 % interval (5th and 95th percentile) of the direction AUC, by resampling 3-day blocks.

    (NaN, NaN) with fewer than two blocks or one direction only. The one-sided bounds at 95 % are
    its two ends.
    """
    moved = y != HOLD
    block = np.unique(block_numbers(open_time[moved]), return_inverse=True)[1]
    score, positive = _lean(p[moved]), y[moved] == BUY
    n_blocks = int(block.max()) + 1 if len(block) else 0
    if n_blocks < 2 or positive.all() or not positive.any():
        return float("nan"), float("nan")
    values = _weighted_auc(score, positive, block, _block_draws(n_blocks, draws, seed))
    low, high = np.nanpercentile(values, [5, 95])
    return float(low), float(high)


def expected_calibration_error(p: FloatArray, y: IntArray, bins: int = ECE_BINS) -> float:
    """Mean over the classes of sum over bins of share x |mean probability - frequency|.

    Bins of equal count per class; fewer when there are fewer rows.
    """
    happened = (y[:, None] == np.arange(3)[None, :]).astype(np.float64)
    return float(_binned_error(p, happened[None], bins)[0])


def ece_noise_bound(p: FloatArray, seed: int, draws: int = 200, bins: int = ECE_BINS) -> float:
    """95th percentile of the calibration error when classes are drawn from `p` itself.

    Rows are drawn independently, so overlapping labels make the true bound wider still.
    """
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(0, draws, 20):
        u = rng.random((20, len(p)))
        sell, not_buy = p[:, 0], p[:, 0] + p[:, 1]
        drawn = np.stack([u < sell, (u >= sell) & (u < not_buy), u >= not_buy], axis=2)
        errors.append(_binned_error(p, drawn.astype(np.float64), bins))
    return float(np.percentile(np.concatenate(errors), 95))


def block_numbers(open_time: TimeArray) -> NDArray[np.int64]:
    """Which 3-day block since 1970 each time lies in, (n,)."""
    since = open_time.astype("datetime64[us]") - np.datetime64(0, "us")
    return np.asarray(since // BLOCK, dtype=np.int64)


def _binned_error(p: FloatArray, happened: FloatArray, bins: int) -> FloatArray:
    """(draws,) calibration errors; happened: (draws, n, 3) of 0 and 1."""
    n = len(p)
    edges = np.linspace(0, n, min(bins, n) + 1).astype(np.intp)[:-1]
    total = np.zeros(len(happened))
    for c in range(3):
        order = np.argsort(p[:, c], kind="stable")
        difference = p[order, c][None, :] - happened[:, order, c]
        total += np.abs(np.add.reduceat(difference, edges, axis=1)).sum(axis=1) / n
    return total / 3


def _block_draws(n_blocks: int, draws: int, seed: int) -> FloatArray:
    """(draws, n_blocks): how often each block is in each resample."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), draws).astype(np.float64)


def _weighted_auc(
    score: FloatArray, positive: NDArray[np.bool_], block: NDArray[np.intp], weights: FloatArray
) -> FloatArray:
    """(draws,) AUC with each row counted as often as its block was drawn; NaN without both classes.

    One matrix per pair of blocks (how many positive-negative pairs are in order, ties half), so a
    resample is a quadratic form: exact, and independent of the number of rows.
    """
    n_blocks = weights.shape[1]
    order = np.argsort(score, kind="stable")
    score, positive, block = score[order], positive[order], block[order]
    # For a positive row: negatives of each block strictly below it, plus half of the equal ones.
    negatives = np.zeros((len(score) + 1, n_blocks), dtype=np.float64)
    rows = np.flatnonzero(~positive)
    negatives[rows + 1, block[rows]] = 1.0
    negatives = np.cumsum(negatives, axis=0)
    at = np.flatnonzero(positive)
    below = negatives[np.searchsorted(score, score[at], side="left")]
    up_to = negatives[np.searchsorted(score, score[at], side="right")]
    wins = np.zeros((n_blocks, n_blocks))
    np.add.at(wins, block[at], (below + up_to) / 2)
    count_positive = np.bincount(block[positive], minlength=n_blocks)
    count_negative = np.bincount(block[~positive], minlength=n_blocks)
    pairs = (weights @ count_positive) * (weights @ count_negative)
    won = np.einsum("di,ij,dj->d", weights, wins, weights, optimize=True)
    return np.asarray(np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0))


def _lean(p: FloatArray) -> FloatArray:
    return np.asarray(p[:, BUY] / np.maximum(p[:, BUY] + p[:, SELL], _FLOOR))


def _ratio(part: FloatArray, whole: NDArray[np.int64]) -> FloatArray:
    return np.asarray(np.divide(part, whole, out=np.full(3, np.nan), where=whole > 0))


def _three(values: Iterable[float]) -> Three:
    first, second, third = (float(v) for v in values)
    return first, second, third


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, (tuple, list)):
        return [_nan_to_none(v) for v in value]
    return value


def _none_to_nan(value: Any) -> Any:
    if value is None:
        return float("nan")
    if isinstance(value, list):
        return tuple(_none_to_nan(v) for v in value)
    return value
