"""Checks of labels, splits, models and predictions: each finds one thing that has fooled people.

Pure: values in, `CheckOutcome` out, in the same words for a Dagster asset check, a verdict row and
a refused promotion. The thresholds are measured (docs/models.md). Not here: checks of
candles and features (their own rooms), the comparison with the champion (`promotion.py`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trading_assets.models.dataset import Dataset
from trading_assets.models.evaluation import Evaluation
from trading_assets.models.metadata import label_terms
from trading_assets.models.model import CLASSES
from trading_assets.models.splits import Split, SplitAudit
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile

FloatArray = NDArray[np.float64]

MIN_CLASS_SHARE = 0.03
MAX_CLASS_SHARE = 0.90
MAX_SKILL = 0.25
MAX_ACCURACY_GAIN = 0.12
MAX_DIRECTION_AUC = 0.65
# A direction AUC known to +-0.05 is judged by its value, a vaguer one by its lower bound: on 30
# days of 12-hour labels the 90 % intervals were 0.15 to 0.29 wide (real candles, four markets).
SHARP_AUC = 0.05


def check_label_shares(y: NDArray[np.int8]) -> CheckOutcome:
    """Every class between 3 % and 90 %: below or above, a model of the prior looks excellent.

    A +-2 % barrier within 30 minutes gives 99.4 to 100 % HOLD.
    """
    if len(y) == 0:
        return CheckOutcome("label_shares", False, "there is no row with a valid label", values={})
    shares = np.bincount(y, minlength=3) / len(y)
    passed = bool(shares.min() >= MIN_CLASS_SHARE and shares.max() <= MAX_CLASS_SHARE)
    text = ", ".join(f"{c} {s:.1%}" for c, s in zip(CLASSES, shares, strict=True))
    return CheckOutcome(
        "label_shares",
        passed,
        f"label shares must be from {MIN_CLASS_SHARE:.0%} to {MAX_CLASS_SHARE:.0%}, are {text}",
        values={f"share_{c.lower()}": float(s) for c, s in zip(CLASSES, shares, strict=True)},
    )


def check_history(dataset: Dataset, profile: Profile) -> CheckOutcome:
    """At least the profile's minimum of usable rows."""
    days, least = (
        dataset.usable.total_seconds() / 86400,
        profile.min_history.total_seconds() / 86400,
    )
    verdict = "enough history" if days >= least else "not enough history"
    return CheckOutcome(
        "enough_history",
        days >= least,
        f"{verdict}: {days:.1f} days of usable rows ({len(dataset)}), it takes {least:.1f} days",
        values={"days": days, "least_days": least, "rows": len(dataset)},
    )


def check_classes(dataset: Dataset, split: Split) -> CheckOutcome:
    """Each part that trains a model holds all three classes."""
    lacking = [
        f"{name}: {', '.join(CLASSES[c] for c in missing)}"
        for name, pair in split.pairs
        if (missing := sorted({0, 1, 2} - set(dataset.y[pair.train].tolist())))
    ]
    return CheckOutcome(
        "missing_classes",
        not lacking,
        f"training parts without a class: {'; '.join(lacking)}"
        if lacking
        else f"all {len(split.pairs)} training parts hold SELL, HOLD and BUY",
        values={"parts": len(split.pairs), "lacking": len(lacking)},
    )


def check_label_rule(metadata: Mapping[str, Any], profile: Profile, costs: Costs) -> CheckOutcome:
    """The trade that the model learnt is the trade that would be made now.

    Label kind, horizon, exits and costs of the model's metadata against the profile and costs in
    force: a changed setting makes the stored model one of another trade.
    """
    now = label_terms(profile, costs)
    differing = [
        f"{name} was {metadata.get(name)!r}, is {value!r}"
        for name, value in now.items()
        if metadata.get(name) != value
    ]
    return CheckOutcome(
        "label_is_traded_rule",
        not differing,
        f"the model learnt another trade: {'; '.join(differing)}"
        if differing
        else "label, exits and costs of the model are those in force",
        values={"differences": len(differing)},
    )


def check_too_good(evaluation: Evaluation) -> CheckOutcome:
    """Better than any honest model was: a leak is suspected.

    Honest models reach skill 16 %, 9 points of accuracy over the majority and a direction AUC of
    0.60; leaky ones started at 42 %. Give it as many unseen rows as there are.
    """
    gain = evaluation.accuracy - evaluation.majority_accuracy
    spread = evaluation.auc_direction - evaluation.auc_direction_low
    sharp = bool(spread <= SHARP_AUC)
    direction = evaluation.auc_direction if sharp else evaluation.auc_direction_low
    suspicions = [
        text
        for is_suspicious, text in (
            (evaluation.skill > MAX_SKILL, f"skill {evaluation.skill:.1%} > {MAX_SKILL:.0%}"),
            (
                gain > MAX_ACCURACY_GAIN,
                f"accuracy {100 * gain:.1f} points over the majority > "
                f"{100 * MAX_ACCURACY_GAIN:.0f}",
            ),
            (
                direction > MAX_DIRECTION_AUC,
                f"direction AUC {'' if sharp else 'at least '}{direction:.3f} > "
                f"{MAX_DIRECTION_AUC}",
            ),
        )
        if is_suspicious
    ]
    return CheckOutcome(
        "not_too_good",
        not suspicions,
        f"LEAK suspected: {'; '.join(suspicions)}"
        if suspicions
        else f"skill {evaluation.skill:.1%}, {100 * gain:.1f} points over the majority, direction "
        f"AUC {evaluation.auc_direction:.3f}: within what honest models reach",
        values=_finite(
            {
                "skill": evaluation.skill,
                "accuracy_gain": gain,
                "auc_direction": evaluation.auc_direction,
                "auc_direction_low": evaluation.auc_direction_low,
            }
        ),
    )


def check_split(audit: SplitAudit) -> CheckOutcome:
    """No test row's window or label interval touches a training label."""
    return CheckOutcome(
        "split_audit",
        not audit.violations,
        "; ".join(audit.violations)
        if audit.violations
        else f"none of {audit.test_rows} test rows in {audit.pairs} parts touches a training label",
        values={
            "parts": audit.pairs,
            "test_rows": audit.test_rows,
            "violations": len(audit.violations),
            "smallest_gap_hours": audit.smallest_gap.total_seconds() / 3600,
        },
    )


def check_probabilities(p: FloatArray) -> CheckOutcome:
    """Finite, within 0 to 1, rows that sum to 1 (so that the greatest is never below a third)."""
    finite = bool(np.isfinite(p).all())
    worst_sum = float(np.abs(p.sum(axis=1) - 1).max()) if finite and len(p) else 0.0
    inside = finite and bool(((p >= 0) & (p <= 1)).all())
    least_top = float(p.max(axis=1).min()) if finite and len(p) else float("nan")
    passed = len(p) > 0 and inside and worst_sum <= 1e-9 and least_top >= 1 / 3 - 1e-9
    return CheckOutcome(
        "probabilities",
        passed,
        f"{len(p)} rows must be finite, from 0 to 1 and sum to 1: finite {finite}, inside "
        f"{inside}, largest error of a sum {worst_sum:.1e}, least top probability {least_top:.3f}",
        values=_finite({"rows": len(p), "worst_sum": worst_sum, "least_top": least_top}),
    )


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if np.isfinite(value)}
