"""The gate: may a challenger become champion?

Pure values in, a verdict out; docs/models.md has the table of gates. Only twins are compared, on
rows that neither has seen. Promote unless worse: a gate window is too short to show that a slightly
better model is better, so demanding significance would freeze the champion. Whether a model is
worth trading is the evaluation's question (docs/evaluation.md) and never a gate. Not here: carrying
a verdict out (`retrain.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from trading_assets.models.checks import (
    MAX_CLASS_SHARE,
    MIN_CLASS_SHARE,
    check_probabilities,
    check_split,
    check_too_good,
)
from trading_assets.models.evaluation import (
    BLOCK,
    Evaluation,
    block_numbers,
    row_losses,
)
from trading_assets.models.model import CLASSES, Model
from trading_assets.models.trained import Trained
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.profile import Profile

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]

LARGEST_RATIO_TO_PRIOR = 1.01
LARGEST_ECE = 0.05
# Direction and calibration are judged on at least so many days of twin predictions.
JUDGED_DAYS = 90
# Paired comparison: the least mean (nats), the bound that must not lie below 0, and how much
# evidence it takes: the mean of fewer blocks of 3 days is mostly luck, so they decide nothing.
LEAST_MEAN_GAIN = -0.005
UPPER_PERCENTILE = 90
LEAST_BLOCKS = 4
OLDEST_DIFFERENCES = timedelta(hours=48)
BOOTSTRAP_DRAWS = 2000

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, slots=True, eq=False)
class TwinDifferences:
    """Loss of the champion's twin minus loss of the challenger's, row by row; above 0 is better.

    open_time, difference: (n,), nats. decided_at: when they served a verdict.
    """

    market: str
    profile: str
    open_time: TimeArray
    difference: FloatArray
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class PromotionVerdict:
    """Whether a challenger is promoted, and everything that was looked at.

    reasons: every gate that refused, or why it was promoted; then what could not be judged.
    gates: each gate's outcome with its numbers; those that are not `blocking` were not judged.
    """

    promoted: bool
    reasons: tuple[str, ...]
    gates: tuple[CheckOutcome, ...]

    @property
    def values(self) -> dict[str, bool | int | float | str]:
        """Every gate's numbers under `gate.number`."""
        return {f"{g.name}.{key}": value for g in self.gates for key, value in g.values.items()}


def twin_differences(
    challenger: Trained,
    champion_twin: Model,
    gate_x: NDArray[np.float32],
    blind_from: np.datetime64,
) -> tuple[TimeArray, FloatArray]:
    """(open_time, difference) on those gate rows that the champion's twin has not seen either.

    gate_x: (n, k) inputs of `challenger.gate_rows`. blind_from: rows that open before it are left
    out. Raises ValueError when the twin reads other columns than the challenger.
    """
    if champion_twin.columns != challenger.twin.columns:
        raise ValueError("the champion's twin reads other columns than the challenger's")
    rows = challenger.gate_rows
    blind = np.flatnonzero(rows.open_time >= blind_from)
    if len(blind) == 0:
        return rows.open_time[blind], np.empty(0)
    theirs = row_losses(champion_twin.probabilities(gate_x[blind]), rows.y[blind])
    return rows.open_time[blind], theirs - rows.loss_model[blind]


def judge(
    challenger: Trained,
    profile: Profile,
    *,
    served_p: FloatArray,
    own: TwinDifferences | None,
    others: Sequence[TwinDifferences],
    now: datetime,
    seed: int,
    nothing_to_compare: str = "no champion yet",
) -> PromotionVerdict:
    """The verdict on `challenger`.

    served_p: (n, 3) of the served refit on the gate rows: judged for form only, it has seen them.
    own: against the champion's twin; empty when no row is blind for both; None when there is
    nothing to compare with, for the reason given (absolute gates only). others: the newest
    differences of other markets; those of another profile, older than 48 h or of another time are
    left out. seed: of the resampling.
    """
    evaluation = challenger.unseen_evaluation(seed)
    days = judged_days(challenger)
    gates = (
        check_probabilities(challenger.unseen_rows.p),
        _served_probabilities(served_p),
        check_split(challenger.audit),
        _label_shares(challenger),
        _log_loss(challenger.evaluation),
        check_too_good(evaluation),
        _direction(evaluation, days),
        _calibration(evaluation, days),
        _history(challenger, profile),
        _paired(own, others, now, seed, nothing_to_compare),
    )
    refused = tuple(f"{g.name}: {g.reason}" for g in gates if g.blocking and not g.passed)
    notes = tuple(f"{g.name} not judged: {g.reason}" for g in gates if not g.blocking)
    verdict = refused or (f"promoted: {gates[-1].reason}",)
    return PromotionVerdict(not refused, verdict + notes, gates)


def judged_days(challenger: Trained) -> float:
    """Days from the first to the last row predicted unseen."""
    times = challenger.unseen_rows.open_time
    return float((times[-1] - times[0]) / _DAY)


def pooled(
    own: TwinDifferences, others: Sequence[TwinDifferences], now: datetime
) -> tuple[TwinDifferences, ...]:
    """`own` and those of `others` that may be pooled with it.

    Same profile, another market (each once), a window that overlaps, at most 48 h old.
    """
    chosen = {own.market: own}
    for other in sorted(others, key=lambda o: o.decided_at):
        usable = (
            other.market != own.market
            and other.profile == own.profile
            and len(other.open_time) > 0
            and now - other.decided_at <= OLDEST_DIFFERENCES
            and other.open_time[0] <= own.open_time[-1]
            and other.open_time[-1] >= own.open_time[0]
        )
        if usable:
            chosen[other.market] = other
    return tuple(chosen.values())


def block_bootstrap_mean(
    open_time: TimeArray, values: FloatArray, seed: int, draws: int = BOOTSTRAP_DRAWS
) -> FloatArray:
    """(draws,) means of `values` when whole 3-day blocks are drawn with replacement.

    All markets' rows of the same three days are one block: they move together.
    """
    block = np.unique(block_numbers(open_time), return_inverse=True)[1]
    sums, counts = np.bincount(block, values), np.bincount(block)
    weights = np.random.default_rng(seed).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), draws
    )
    return np.asarray((weights @ sums) / (weights @ counts))


def _served_probabilities(p: FloatArray) -> CheckOutcome:
    return replace(check_probabilities(p), name="served_probabilities")


def _label_shares(challenger: Trained) -> CheckOutcome:
    """Every class is 3 to 90 % of the rows the model learnt from."""
    shares = [float(share) for share in challenger.served.metadata["label_shares"]]
    shown = ", ".join(f"{name} {share:.1%}" for name, share in zip(CLASSES, shares, strict=True))
    return CheckOutcome(
        "label_shares",
        min(shares) >= MIN_CLASS_SHARE and max(shares) <= MAX_CLASS_SHARE,
        f"{shown} (each must be {MIN_CLASS_SHARE:.0%} to {MAX_CLASS_SHARE:.0%})",
        values={name.lower(): share for name, share in zip(CLASSES, shares, strict=True)},
    )


def _log_loss(gate: Evaluation) -> CheckOutcome:
    return CheckOutcome(
        "log_loss",
        gate.ratio_prior <= LARGEST_RATIO_TO_PRIOR,
        f"{gate.log_loss:.4f} on {gate.n} gate rows is {gate.ratio_prior:.4f} x the class prior's "
        f"{gate.prior_log_loss:.4f} (at most {LARGEST_RATIO_TO_PRIOR})",
        values={"ratio_prior": gate.ratio_prior, "log_loss": gate.log_loss, "rows": gate.n},
    )


def _direction(unseen: Evaluation, days: float) -> CheckOutcome:
    high = unseen.auc_direction_high
    enough = days >= JUDGED_DAYS
    # NaN (one direction only) is no evidence of a reversal.
    reversed_ = bool(high < 0.5)
    return CheckOutcome(
        "direction",
        not (enough and reversed_),
        f"direction AUC {unseen.auc_direction:.3f}, at most {high:.3f} (must reach 0.5)"
        f"{_on_days(days)}",
        blocking=enough,
        values={"auc_direction": unseen.auc_direction, "upper_bound": high, "days": days},
    )


def _calibration(unseen: Evaluation, days: float) -> CheckOutcome:
    limit = LARGEST_ECE + unseen.ece_bound
    enough = days >= JUDGED_DAYS
    return CheckOutcome(
        "calibration",
        not (enough and unseen.ece > limit),
        f"ECE {unseen.ece:.4f} (at most {LARGEST_ECE} + {unseen.ece_bound:.4f} of noise)"
        f"{_on_days(days)}",
        blocking=enough,
        values={"ece": unseen.ece, "noise_bound": unseen.ece_bound, "days": days},
    )


def _on_days(days: float) -> str:
    short = f", fewer than the {JUDGED_DAYS} it takes" if days < JUDGED_DAYS else ""
    return f" on {days:.0f} days of unseen predictions{short}"


def _history(challenger: Trained, profile: Profile) -> CheckOutcome:
    rows = int(challenger.served.metadata["window"]["rows"])
    days = rows * profile.interval / timedelta(days=1)
    least = profile.min_history / timedelta(days=1)
    return CheckOutcome(
        "history",
        rows * profile.interval >= profile.min_history,
        f"{days:.1f} days of usable rows (at least {least:.0f})",
        values={"days": days, "rows": rows},
    )


def _paired(
    own: TwinDifferences | None,
    others: Sequence[TwinDifferences],
    now: datetime,
    seed: int,
    nothing_to_compare: str,
) -> CheckOutcome:
    name = "paired_log_loss"
    if own is None:
        return CheckOutcome(name, True, f"{nothing_to_compare}, absolute gates only")
    if len(own.open_time) == 0:
        return CheckOutcome(
            name, True, "the champion's twin has seen every gate row", blocking=False
        )
    pool = pooled(own, others, now)
    open_time = np.concatenate([d.open_time for d in pool])
    difference = np.concatenate([d.difference for d in pool])
    means = block_bootstrap_mean(open_time, difference, seed)
    mean, upper = float(difference.mean()), float(np.percentile(means, UPPER_PERCENTILE))
    blocks = len(np.unique(block_numbers(open_time)))
    values: dict[str, bool | int | float | str] = {
        "mean": mean,
        "own_mean": float(own.difference.mean()),
        "upper_bound": upper,
        "rows": len(difference),
        "blocks": blocks,
        "markets": ",".join(sorted(d.market for d in pool)),
    }
    text = (
        f"{mean:+.4f} nats a row against the champion, at most {upper:+.4f} (must not be below "
        f"{LEAST_MEAN_GAIN} and 0), {len(difference)} rows of {len(pool)} markets in {blocks} "
        f"blocks of {BLOCK / _DAY:.0f} days"
    )
    if blocks < LEAST_BLOCKS:
        return CheckOutcome(
            name, True, f"{text}, fewer than the {LEAST_BLOCKS} it takes", False, values
        )
    return CheckOutcome(name, mean >= LEAST_MEAN_GAIN and upper >= 0, text, values=values)
