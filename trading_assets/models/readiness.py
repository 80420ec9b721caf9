"""Whether a market's data may train a profile: the checks together, as one verdict.

Also what must hold of the trained model, whoever judges it.

The checks are the pure functions of their rooms, so that a Dagster asset check and the verdict row
say the same. Not here: what each check asks, and whether a trained model may serve (promotion.py).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np

from trading_assets.errors import ChecksFailed, NotEnoughHistory
from trading_assets.features.checks import FeatureReference, feature_reference
from trading_assets.features.matrix import FeatureMatrix
from trading_assets.models.challengers import Judgement
from trading_assets.models.checks import (
    check_classes,
    check_history,
    check_label_rule,
    check_probabilities,
    check_split,
    check_too_good,
)
from trading_assets.models.dataset import Dataset, split_of
from trading_assets.models.retrain import Workshop, refuse_untrained
from trading_assets.models.trained import Trained
from trading_assets.models.verdicts import VerdictKind, record_verdict, verdict_of_checks
from trading_assets.rules.check import CheckOutcome, blocking_failures
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile

# A retraining may run for an hour; features older than twice that are another run's.
LONGEST_PREPARATION = timedelta(hours=2)


def check_dataset(dataset: Dataset, profile: Profile) -> tuple[CheckOutcome, ...]:
    """Enough history, and every class in each part that trains."""
    history = check_history(dataset, profile)
    if not history.passed:
        return (history,)  # too few rows to split
    return history, check_classes(dataset, split_of(dataset, profile))


def check_age(last_close: datetime, interval: timedelta, now: datetime) -> CheckOutcome:
    """The features are of this retraining, not left over from an old one.

    last_close: of the newest candle that they were made from.
    """
    age, most = now - last_close, interval + LONGEST_PREPARATION
    return CheckOutcome(
        "features_age",
        passed=age <= most,
        reason=f"the features end with the candle that closed at {last_close.isoformat()}, "
        f"{age} ago; at most {most} is usual",
        values={"age_hours": age / timedelta(hours=1)},
    )


def stop_if_blocked(
    shop: Workshop, market: str, profiles: Iterable[str], outcomes: Sequence[CheckOutcome]
) -> None:
    """Write may_train = false for `profiles` when one of `outcomes` blocks; else leave it alone.

    For data that several steps share: the step that trains may never run to say it itself.
    """
    if blocking_failures(outcomes):
        for profile in profiles:
            _record(shop, market, profile, outcomes)


def require_trainable(
    shop: Workshop, market: str, profile: str, outcomes: Sequence[CheckOutcome]
) -> None:
    """Write the may_train verdict of `outcomes`, then raise when it is false.

    Raises NotEnoughHistory or ChecksFailed, naming each failed check. While nothing serves yet,
    too little history is also a verdict on the model: it is asked again after a day, not hourly.
    """
    _record(shop, market, profile, outcomes)
    failed = blocking_failures(outcomes)
    if not failed:
        return
    why = f"{market} {profile}: " + "; ".join(f"{o.name}: {o.reason}" for o in failed)
    if any(o.name == "enough_history" for o in failed):
        refuse_untrained(shop, market, profile, why)
        raise NotEnoughHistory(why)
    raise ChecksFailed(why)


def _record(shop: Workshop, market: str, profile: str, outcomes: Sequence[CheckOutcome]) -> None:
    verdict = verdict_of_checks(
        VerdictKind.MAY_TRAIN,
        market,
        profile,
        outcomes,
        now=shop.clock.now(),
        run_id=shop.run_id,
    )
    record_verdict(shop.engine, verdict)


def training_reference(matrix: FeatureMatrix, dataset: Dataset) -> FeatureReference:
    """What the features look like in the time that `dataset` covers.

    matrix: of the same market and interval. Raises NotEnoughHistory below 720 valid rows.
    """
    covered = len(matrix) - int(np.searchsorted(matrix.open_time, dataset.open_time[0]))
    return feature_reference(matrix.tail(covered))


def check_trained(
    trained: Trained, profile: Profile, costs: Costs, seed: int
) -> tuple[CheckOutcome, ...]:
    """What must hold of any trained model, whether or not it may serve. seed: of resampling."""
    return (
        check_split(trained.audit),
        check_too_good(trained.unseen_evaluation(seed)),
        check_probabilities(trained.gate_rows.p),
        check_label_rule(trained.served.metadata, profile, costs),
    )


def gate_outcome(judgement: Judgement) -> CheckOutcome:
    """The gate's verdict as one check. A refusal warns: the champion before goes on serving."""
    verdict = judgement.verdict
    return CheckOutcome(
        "challenger_passed_the_gate",
        verdict.promoted,
        "; ".join(verdict.reasons),
        blocking=False,
        values=verdict.values,
    )
