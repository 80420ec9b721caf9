"""What makes one wonder at a choice of profile: values in, check outcomes out.

None of them blocks: the choice itself says what may be entered. Not here: the choice
(`selection.py`) and the live checks of signals (`signals.watch`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from trading_assets.backtest.walked_forward import WalkedForward
from trading_assets.rules.check import CheckOutcome
from trading_assets.settings import Settings
from trading_assets.signals.choices import Choice, ProfileNumbers, evaluation_valid_for

EVERY_MARKET, HAS_EDGE, BEATS_RANDOM = (
    "every_market_evaluated",
    "traded_profile_has_edge",
    "better_than_random_entries",
)
CHECKS = (EVERY_MARKET, HAS_EDGE, BEATS_RANDOM)


def choice_checks(
    choice: Choice,
    traded: str | None,
    walked: Sequence[WalkedForward],
    settings: Settings,
    now: datetime,
) -> tuple[CheckOutcome, ...]:
    """In the order of CHECKS. traded: the profile whose signals count, pinned or chosen."""
    numbers = {n.profile: n for n in choice.numbers}
    return (
        every_market(walked, now, evaluation_valid_for(settings)),
        has_edge(traded, numbers.get(traded or "")),
        beats_random(traded, numbers.get(traded or "")),
    )


def every_market(
    walked: Sequence[WalkedForward], now: datetime, valid_for: timedelta
) -> CheckOutcome:
    """Whether each profile was walked forward in each market, and not too long ago.

    Fails when a market is missing from an account that judges the trades of all: then `auto` enters
    nothing there, and a pinned profile trades there what was never evaluated.
    """
    missing = [
        f"{w.profile.name} {market}: {why}" for w in walked for market, why in w.left_out.items()
    ]
    old = [
        f"{w.profile.name} {market}: its last decision is {age / timedelta(days=1):.1f} days old"
        for w in walked
        for market, last in w.last_closes.items()
        if (age := now - last) > valid_for
    ]
    found = [*missing, *old]
    markets = sum(len(w.predictions) for w in walked)
    return CheckOutcome(
        name=EVERY_MARKET,
        passed=not found,
        reason="; ".join(found) or f"all {markets} walk-forwards are there and young enough",
        blocking=False,
        values={"evaluated": markets, "missing": len(missing), "old": len(old)},
    )


def has_edge(traded: str | None, numbers: ProfileNumbers | None) -> CheckOutcome:
    """Whether the profile whose signals count earns more than its costs.

    Nothing traded is no failure: that is what `auto` is for. It fails for a pinned profile.
    """
    if traded is None:
        return _passed(HAS_EDGE, "nothing is entered")
    if numbers is None:
        return _failed(HAS_EDGE, f"{traded} is traded and was never evaluated")
    return CheckOutcome(
        HAS_EDGE, numbers.has_edge, f"{traded}: {numbers.verdict}", False, _said(numbers)
    )


def beats_random(traded: str | None, numbers: ProfileNumbers | None) -> CheckOutcome:
    """Whether it earns more than as many entries at random: in a rising market those earn too."""
    if traded is None or numbers is None or numbers.net_bp is None or numbers.random_bp is None:
        return _passed(BEATS_RANDOM, "nothing to compare")
    return CheckOutcome(
        BEATS_RANDOM,
        numbers.net_bp > numbers.random_bp,
        f"{traded}: {numbers.net_bp:+.1f} bp a trade after costs, entries at random "
        f"{numbers.random_bp:+.1f} bp",
        False,
        _said(numbers),
    )


def _said(numbers: ProfileNumbers) -> dict[str, float]:
    every = {"net_bp": numbers.net_bp, "bound_bp": numbers.bound_bp, "random_bp": numbers.random_bp}
    return {name: value for name, value in every.items() if value is not None}


def _passed(name: str, reason: str) -> CheckOutcome:
    return CheckOutcome(name, True, reason, blocking=False)


def _failed(name: str, reason: str) -> CheckOutcome:
    return CheckOutcome(name, False, reason, blocking=False)
