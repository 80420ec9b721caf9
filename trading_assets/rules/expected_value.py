"""Expected value of a trade, from class probabilities and what each class paid in training.

Pure values in, values out, standard library only. Here: the formula. Not here: how the mean
returns are estimated (`models.training`) and what is done with the result (`rules.decision`).
"""

import math
from dataclasses import dataclass

_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Probabilities:
    """Calibrated class probabilities of one prediction; they are finite and sum to 1."""

    p_sell: float
    p_hold: float
    p_buy: float

    def __post_init__(self) -> None:
        values = (self.p_sell, self.p_hold, self.p_buy)
        if not all(math.isfinite(p) and 0 <= p <= 1 for p in values):
            raise ValueError(f"probabilities must be between 0 and 1, were {values}")
        if abs(math.fsum(values) - 1) > _SUM_TOLERANCE:
            raise ValueError(f"probabilities must sum to 1, {values} sum to {math.fsum(values)}")


@dataclass(frozen=True, slots=True)
class ClassReturns:
    """Mean net return of one kind of trade given each class, ratios after one round trip.

    Of the long trade, or of its mirror image. Finite.
    """

    sell: float
    hold: float
    buy: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(r) for r in (self.sell, self.hold, self.buy)):
            raise ValueError(f"mean returns must be finite, were {self}")


def expected_value(p: Probabilities, returns: ClassReturns) -> float:
    """EV_net: sum over classes of p_class x mean net return given that class (a ratio)."""
    return math.fsum(
        (p.p_sell * returns.sell, p.p_hold * returns.hold, p.p_buy * returns.buy),
    )
