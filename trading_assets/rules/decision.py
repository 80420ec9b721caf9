"""BUY, SELL or HOLD, and the coded reason why.

Pure values in, values out, standard library only. docs/signals.md says the rule in words.
Not here: sizes, limits and whether a position exists; SELL only ever closes one.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trading_assets.rules.expected_value import Probabilities


class Action(StrEnum):
    """What a signal asks for; also the name of a class."""

    SELL = "SELL"
    HOLD = "HOLD"
    BUY = "BUY"


CLASSES = (Action.SELL, Action.HOLD, Action.BUY)


class Reason(StrEnum):
    """Why a signal is what it is. The first five come from the rule, the others from its inputs."""

    BUY = "buy"
    SELL = "sell"
    BELOW_CONFIDENCE = "below_confidence"
    PREDICTED_HOLD = "predicted_hold"
    EV_TOO_LOW = "ev_too_low"
    NO_EDGE = "no_edge"
    MODEL_EXPIRED = "model_expired"
    NO_CHAMPION = "no_champion"
    STALE_CANDLES = "stale_candles"
    CHECKS_FAILED = "checks_failed"
    NOT_ENOUGH_HISTORY = "not_enough_history"
    MARKET_MISSING = "market_missing"
    EXCHANGE_UNAVAILABLE = "exchange_unavailable"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What it takes to act.

    min_confidence: least p_buy (p_sell) to act, inclusive. min_ev_net: expected value after costs
    must be above this, a ratio.
    """

    min_confidence: float
    min_ev_net: float

    @classmethod
    def of(
        cls, min_confidence: Decimal, min_ev_costs: Decimal, round_trip: Decimal
    ) -> "Thresholds":
        """From a profile: min_ev_net = min_ev_costs x round-trip cost."""
        return cls(float(min_confidence), float(min_ev_costs * round_trip))


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, the rule that decided it and the numbers it compared."""

    action: Action
    reason: Reason
    detail: str


def predicted_class(p: Probabilities) -> Action:
    """The most probable class; of equal ones the more cautious: HOLD, then SELL."""
    best = max(p.p_sell, p.p_hold, p.p_buy)
    if p.p_hold == best:
        return Action.HOLD
    return Action.SELL if p.p_sell == best else Action.BUY


def confidence(p: Probabilities) -> float:
    """Probability of the predicted class; never below 1/3."""
    return max(p.p_sell, p.p_hold, p.p_buy)


def decide(p: Probabilities, ev_long: float, ev_short: float, thresholds: Thresholds) -> Decision:
    """BUY, SELL or HOLD for one prediction.

    BUY: p_buy >= min_confidence and ev_long > min_ev_net. SELL: the predicted class is SELL,
    p_sell >= min_confidence and ev_short > min_ev_net. BUY is asked first. ev_long, ev_short: net
    expected value of the long trade and of its mirror image, ratios.
    """
    least, floor = thresholds.min_confidence, thresholds.min_ev_net
    if p.p_buy >= least and ev_long > floor:
        return Decision(
            Action.BUY,
            Reason.BUY,
            f"{_at_least('p_buy', p.p_buy, least)}, {_above(ev_long, floor)}",
        )
    predicted = predicted_class(p)
    if predicted is not Action.SELL:
        return _blocked(predicted, "p_buy", p.p_buy, ev_long, thresholds)
    if p.p_sell >= least and ev_short > floor:
        return Decision(
            Action.SELL,
            Reason.SELL,
            f"{_at_least('p_sell', p.p_sell, least)}, mirrored {_above(ev_short, floor)}; "
            "only closes a position",
        )
    return _blocked(predicted, "p_sell", p.p_sell, ev_short, thresholds)


def withhold(decision: Decision, why: str) -> Decision:
    """`decision` while no profile has an edge to trade on, for the reason `why`.

    Nothing is entered: everything but SELL, which only closes a position, becomes HOLD.
    """
    if decision.action is Action.SELL:
        return Decision(decision.action, decision.reason, f"{decision.detail}; no edge: {why}")
    return Decision(
        Action.HOLD, Reason.NO_EDGE, f"{why}; otherwise {decision.reason}: {decision.detail}"
    )


def expire(decision: Decision, age_hours: float | None, limit_hours: float) -> Decision:
    """`decision` under a model that no retraining has confirmed for longer than the limit.

    Entries stop: everything but SELL, which only closes a position, becomes HOLD. age_hours: since
    the last verdict, None when there never was one.
    """
    if age_hours is not None and age_hours <= limit_hours:
        return decision
    age = "never confirmed" if age_hours is None else f"last confirmed {age_hours:.1f} h ago"
    note = f"model {age}, entries stop after {limit_hours:g} h"
    if decision.action is Action.SELL:
        return Decision(decision.action, decision.reason, f"{decision.detail}; {note}")
    return Decision(
        Action.HOLD, Reason.MODEL_EXPIRED, f"{note}; otherwise {decision.reason}: {decision.detail}"
    )


def _blocked(
    predicted: Action, name: str, probability: float, ev: float, thresholds: Thresholds
) -> Decision:
    least, floor = thresholds.min_confidence, thresholds.min_ev_net
    if probability < least:
        reason = Reason.PREDICTED_HOLD if predicted is Action.HOLD else Reason.BELOW_CONFIDENCE
        detail = f"{name} {probability:.3f} is below {least:.3f}, predicted class {predicted}"
        return Decision(Action.HOLD, reason, detail)
    return Decision(
        Action.HOLD,
        Reason.EV_TOO_LOW,
        f"EV {_basis_points(ev)} is not above {_basis_points(floor)}, {name} {probability:.3f}",
    )


def _at_least(name: str, value: float, least: float) -> str:
    return f"{name} {value:.3f} >= {least:.3f}"


def _above(ev: float, floor: float) -> str:
    return f"EV {_basis_points(ev)} > {_basis_points(floor)}"


def _basis_points(ratio: float) -> str:
    return f"{ratio * 1e4:.2f} bp"
