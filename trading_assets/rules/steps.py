"""Whether a confidence step pays: the evidence of its matured signals, and when the verdict turns.

Pure values in, values out, standard library only. Here: the mean of what the signals of a step
earned, how sure it is, and the rule with two different bounds, so that noise does not turn it back
and forth. Not here: where the outcomes come from (`signals.steps`) and the smaller size of a step
that does not pay (`sizing.paying_sizes`).
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

# The verdict row by which research tells trading: its kind, its market, and the field of `details`
# that lists the p_buy at which the steps that do not pay begin, as decimal strings.
VERDICT = "confidence_steps"
ALL_MARKETS = "all"
UNPAID = "unpaid"

# Fewer days with a signal than this say nothing about the spread between days.
LEAST_DAYS = 10
# One-sided 90 %: chance alone goes that far in one of ten.
STOPS_PAYING_BELOW = -1.28
# One-sided 70 %: a step that was paying needs no proof, one that was not needs a little.
PAYS_AGAIN_ABOVE = 0.52


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a signal became. day: the UTC day it was given. net: of its long trade, a ratio after
    costs. claimed: its p_buy. came_true: whether its class was BUY."""

    day: date
    net: float
    claimed: float
    came_true: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the signals of one step earned.

    signals, days: how many there were, on how many days. mean_net, standard_error: of the net
    return of a signal, ratios. claimed, came_true: mean p_buy, and the share that was BUY.
    standard_error is infinite below two days.
    """

    signals: int
    days: int
    mean_net: float
    standard_error: float
    claimed: float
    came_true: float

    @property
    def score(self) -> float:
        """How many standard errors the mean lies above 0; 0 without a spread and without a mean."""
        if self.standard_error > 0:
            return self.mean_net / self.standard_error
        return math.copysign(math.inf, self.mean_net) if self.mean_net else 0.0


NO_EVIDENCE = Evidence(0, 0, 0.0, math.inf, 0.0, 0.0)


def evidence(outcomes: Iterable[Outcome]) -> Evidence:
    """The mean of `outcomes` with a standard error that knows that signals of a day go together.

    Signals of neighbouring candles share most of their path and markets move together, so the days
    are the independent parts: se^2 = G / (G - 1) x sum over days of (sum of deviations)^2 / n^2
    with G days and n signals. Source: Cameron and Miller (2015), A Practitioner's Guide to
    Cluster-Robust Inference, Journal of Human Resources 50(2), section II.
    """
    every = tuple(outcomes)
    n = len(every)
    if not n:
        return NO_EVIDENCE
    mean = math.fsum(o.net for o in every) / n
    by_day: dict[date, list[float]] = defaultdict(list)
    for outcome in every:
        by_day[outcome.day].append(outcome.net - mean)
    days = len(by_day)
    spread = math.fsum(math.fsum(rest) ** 2 for rest in by_day.values())
    error = math.inf if days < 2 else math.sqrt(days / (days - 1) * spread) / n
    return Evidence(
        signals=n,
        days=days,
        mean_net=mean,
        standard_error=error,
        claimed=math.fsum(o.claimed for o in every) / n,
        came_true=sum(o.came_true for o in every) / n,
    )


def step_pays(found: Evidence, *, paid_before: bool) -> bool:
    """Whether the step pays, given whether it did by the last verdict.

    It stops when its mean is significantly below 0 (score < -1.28) and begins again when it is
    somewhat above 0 (score > 0.52). In between, and with fewer than 10 days, the verdict stands.
    """
    if found.days < LEAST_DAYS:
        return paid_before
    if paid_before:
        return not found.score < STOPS_PAYING_BELOW
    return found.score > PAYS_AGAIN_ABOVE
