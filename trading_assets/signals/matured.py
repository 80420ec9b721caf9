"""What the BUY signals of the last 90 days became, and which confidence steps pay.

Each signal whose horizon has passed gets the outcome of its long trade from the labels, that is by
the rules it would have been traded with, whether it was traded or not. Here: joining the two and
the verdict on the steps. Not here: the rule of the verdict (`rules.steps`) and the sizes
(`rules.sizing`, by trading).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np

from trading_assets.candles.frame import to_us
from trading_assets.candles.series import CandleSeries
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import Labels, make_labels
from trading_assets.models.model import BUY
from trading_assets.models.verdicts import Verdict, VerdictKind
from trading_assets.rules.check import Level
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile
from trading_assets.rules.sizing import STEP_STARTS
from trading_assets.rules.steps import (
    ALL_MARKETS,
    UNPAID,
    Evidence,
    Outcome,
    evidence,
    step_pays,
)
from trading_assets.signals.health import LEVEL
from trading_assets.signals.recent import Decided

LOOKED_AT = timedelta(days=90)
# One-sided 99 %: below it the lowest step, which has no smaller size to fall to, is an error.
LOSES_BELOW = -2.33


def matured_outcomes(
    bought: Iterable[Decided], series: CandleSeries, profile: Profile, costs: Costs
) -> tuple[Outcome, ...]:
    """What those BUY signals of one market became whose horizon has passed.

    series: the market's candles, from `anchors.history_start` of the oldest signal on.
    """
    return outcomes_of(bought, make_labels(series, profile, costs, ewm_sigma(series)))


def outcomes_of(bought: Iterable[Decided], labels: Labels) -> tuple[Outcome, ...]:
    """BUY signals joined with their labels by candle; those without a valid one fall out: not
    matured yet, or a path with holes."""
    times = labels.open_time.astype(np.int64)
    found = []
    for signal in bought:
        predicted = signal.predicted
        at = to_us(predicted.candle_time)
        place = int(np.searchsorted(times, at))
        if place < len(times) and times[place] == at and labels.valid[place]:
            found.append(
                Outcome(
                    day=predicted.candle_time.date(),
                    net=float(labels.long_net[place]),
                    claimed=predicted.p_buy,
                    came_true=bool(labels.label[place] == BUY),
                )
            )
    return tuple(found)


def by_step(
    outcomes: Iterable[Outcome], starts: Sequence[Decimal] = STEP_STARTS
) -> dict[Decimal, Evidence]:
    """The evidence of each size step, highest first. starts: p_buy from which each counts."""
    parts: dict[Decimal, list[Outcome]] = {start: [] for start in starts}
    for outcome in outcomes:
        parts[next(s for s in starts if outcome.claimed >= float(s))].append(outcome)
    return {start: evidence(part) for start, part in parts.items()}


def unpaid_before(last: Verdict | None) -> frozenset[Decimal]:
    """The steps that did not pay by the last verdict; none before the first."""
    return frozenset() if last is None else frozenset(map(Decimal, last.details[UNPAID]))


def judge_steps(
    profile: str,
    found: Mapping[Decimal, Evidence],
    last: Verdict | None,
    *,
    now: datetime,
    run_id: str | None = None,
) -> Verdict:
    """The verdict row that trading's sizes follow.

    It warns while a step has lost its size, and fails when the lowest one, which cannot fall, loses
    at a level that chance reaches in 1 of 100.
    """
    before = unpaid_before(last)
    lowest = min(found)
    unpaid = [
        start
        for start, seen in found.items()
        if start != lowest and not step_pays(seen, paid_before=start not in before)
    ]
    loses = found[lowest].days >= 2 and found[lowest].score < LOSES_BELOW
    level = Level.FAIL if loses else Level.WARN if unpaid else Level.OK
    return Verdict(
        kind=VerdictKind.CONFIDENCE_STEPS,
        market=ALL_MARKETS,
        profile=profile,
        passed=level is Level.OK,
        reasons=tuple(_told(start, seen, start in unpaid) for start, seen in found.items()),
        decided_at=now,
        details={
            LEVEL: level.value,
            UNPAID: [str(start) for start in unpaid],
            "steps": {str(start): _plain(seen) for start, seen in found.items()},
        },
        run_id=run_id,
    )


def _told(start: Decimal, seen: Evidence, is_unpaid: bool) -> str:
    name = f"from {start:.0%}" if start else "below"
    if not seen.signals:
        text = f"{name} no BUY"
    else:
        text = (
            f"{name} {seen.signals} BUY on {seen.days} days {seen.mean_net * 1e4:+.0f} bp, "
            f"{seen.claimed:.0%} claimed {seen.came_true:.0%} true"
        )
    return f"{text}, size lowered" if is_unpaid else text


def _plain(seen: Evidence) -> dict[str, float | None]:
    """JSON has no infinity."""
    return {k: v if np.isfinite(v) else None for k, v in asdict(seen).items()}
