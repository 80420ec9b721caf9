"""What a live check found of the signals of one market, for a person and for Dagster.

Here: the value, the names of the checks and what a person can do about each. Not here: the checks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from trading_assets.rules.check import CheckOutcome, Level
from trading_assets.rules.steps import ALL_MARKETS

_WORST_FIRST = (Level.FAIL, Level.WARN, Level.OK)


class Check(StrEnum):
    """The checks of signals; also the names of Dagster's checks and the kinds of alerts."""

    DECISIONS_MADE = "decisions_made"
    HOLD_SHARE = "hold_share"
    ENTROPY = "entropy"
    CONFIDENCE = "confidence"
    SIGNAL_DROUGHT = "signal_drought"
    TRADE_DROUGHT = "trade_drought"
    CONFIDENCE_STEPS = "confidence_steps"
    INPUT_DRIFT = "input_drift"
    MARKET_REGIME = "market_regime"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. market: ALL_MARKETS for all together. text: one sentence with the
    number and the rule, also when all is well. fix: the command or setting that changes it."""

    check: Check
    market: str
    level: Level
    text: str
    fix: str = ""


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """FAIL, then WARN, then OK; in the given order among equals."""
    return sorted(findings, key=lambda f: _WORST_FIRST.index(f.level))


def as_outcome(check: Check, findings: Iterable[Finding]) -> CheckOutcome:
    """The findings of one check in all markets as one outcome.

    It fails when a market's is not OK, at error level (`blocking`) when one is FAIL. Without any
    finding there was nothing to compare, and it passes saying so.
    """
    every = worst_first(f for f in findings if f.check is check)
    if not every:
        return CheckOutcome(check.value, True, "nothing to compare with yet", blocking=False)
    level = every[0].level
    shown = [f for f in every if f.level is level]
    return CheckOutcome(
        name=check.value,
        passed=level is Level.OK,
        reason="; ".join(_named(f) for f in shown),
        blocking=level is Level.FAIL,
        values={f.market: f"{f.level}: {f.text}" for f in every},
    )


def _named(finding: Finding) -> str:
    market = "all markets" if finding.market == ALL_MARKETS else finding.market
    return f"{market}: {finding.text}"
