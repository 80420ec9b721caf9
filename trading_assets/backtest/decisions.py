"""BUY, SELL or HOLD for many predictions at once: `rules.decision.decide`, on arrays.

A property test holds every row to the rule itself. Not here: the rule's words (`rules.decision`),
where predictions come from, and what a decision is worth (`engine`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trading_assets.candles.frame import BoolArray, FloatArray
from trading_assets.models.model import BUY, HOLD, SELL
from trading_assets.rules.decision import Reason

# What `Decisions.reason` counts; NO_PREDICTION where there was nothing to decide on.
DECISION_REASONS = (
    Reason.BUY,
    Reason.SELL,
    Reason.BELOW_CONFIDENCE,
    Reason.PREDICTED_HOLD,
    Reason.EV_TOO_LOW,
)
NO_PREDICTION = -1
_BUY, _SELL, _BELOW, _PREDICTED_HOLD, _EV = range(len(DECISION_REASONS))
_SUM_TOLERANCE = 1e-6  # as in rules.expected_value.Probabilities


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """(n,) each. buy, sell: never both. reason: index into DECISION_REASONS, or NO_PREDICTION."""

    buy: BoolArray
    sell: BoolArray
    reason: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.buy)


def decisions(
    p: FloatArray,
    ev_long: FloatArray,
    ev_short: FloatArray,
    min_confidence: float,
    min_ev_net: FloatArray,
) -> Decisions:
    """What `decide` says about each row.

    p: (n, 3) calibrated probabilities of SELL, HOLD, BUY; a row of NaN is no prediction. ev_long,
    ev_short, min_ev_net: (n,) ratios. Raises ValueError: a row is neither NaN nor probabilities, or
    a prediction lacks one of the other numbers.
    """
    known = _predicted(p, ev_long, ev_short, min_ev_net)
    p_sell, p_hold, p_buy = p[:, SELL], p[:, HOLD], p[:, BUY]
    best = p.max(axis=1, initial=-np.inf)
    predicts_hold = p_hold == best
    predicts_sell = (p_sell == best) & ~predicts_hold
    buy = (p_buy >= min_confidence) & (ev_long > min_ev_net)
    sell = ~buy & predicts_sell & (p_sell >= min_confidence) & (ev_short > min_ev_net)
    below = np.where(predicts_sell, p_sell, p_buy) < min_confidence
    reason = np.select(
        [~known, buy, sell, below & predicts_hold, below],
        [NO_PREDICTION, _BUY, _SELL, _PREDICTED_HOLD, _BELOW],
        default=_EV,
    )
    return Decisions(buy=buy & known, sell=sell & known, reason=reason.astype(np.int8))


def _predicted(
    p: FloatArray, ev_long: FloatArray, ev_short: FloatArray, min_ev_net: FloatArray
) -> BoolArray:
    """The rows that hold a prediction, (n,)."""
    n = len(ev_long)
    if p.shape != (n, 3) or ev_short.shape != (n,) or min_ev_net.shape != (n,):
        raise ValueError(
            f"p must be of shape ({n}, 3) and the others of ({n},), were {p.shape}, "
            f"{ev_short.shape} and {min_ev_net.shape}"
        )
    nothing = np.asarray(np.isnan(p).all(axis=1))
    in_range = ((p >= 0) & (p <= 1)).all(axis=1)
    bad = ~nothing & ~(in_range & (np.abs(p.sum(axis=1) - 1) <= _SUM_TOLERANCE))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"row {row} must hold probabilities that sum to 1, has {p[row]}")
    for name, values in (("ev_long", ev_long), ("ev_short", ev_short), ("min_ev_net", min_ev_net)):
        bad = ~nothing & ~np.isfinite(values)
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"{name} of a prediction must be finite, row {row} has {values[row]}")
    return np.asarray(~nothing)
