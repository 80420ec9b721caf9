"""What a champion says about the newest closed candle, and what follows from it by the rules.

The same features, sequences and design matrix as in training, for one row. Not here: where the
candles come from, and what else may turn a decision into HOLD (`produce`).
"""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from numpy.typing import NDArray

from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.exchange.price_units import tick_size
from trading_assets.features.sequences import design_matrix, latest_sequences, refusal
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.model import Model
from trading_assets.rules.costs import Costs
from trading_assets.rules.decision import Decision, Thresholds, decide
from trading_assets.rules.exits import ExitTerms
from trading_assets.rules.expected_value import ClassReturns, Probabilities, expected_value
from trading_assets.rules.profile import Profile
from trading_assets.settings import SequenceView

_RATIO_DIGITS = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class Prediction:
    """Calibrated probabilities; net expected value of the long trade and of its mirror image."""

    probabilities: Probabilities
    ev_long: float
    ev_short: float


def predict(model: Model, series: CandleSeries) -> Prediction:
    """`model` on the last candle of `series`.

    Raises NotEnoughHistory when no whole, traded window ends there, saying why.
    """
    why_not = refusal(series)
    if why_not is not None:
        raise NotEnoughHistory(why_not)
    view = SequenceView(model.metadata["features"]["view"])
    return predict_row(model, design_matrix(latest_sequences(series), view))


def predict_row(model: Model, row: NDArray[np.float32]) -> Prediction:
    """`model` on one row of the design matrix, shape (1, k)."""
    sell, hold, buy = (float(p) for p in model.probabilities(row)[0])
    probabilities = Probabilities(sell, hold, buy)
    returns = model.returns
    return Prediction(
        probabilities,
        ev_long=expected_value(probabilities, ClassReturns(*returns.long)),
        ev_short=expected_value(probabilities, ClassReturns(*returns.short)),
    )


def latest_sigma(series: CandleSeries) -> float:
    """Volatility per candle at the last candle, as in the labels.

    Raises NotEnoughHistory when too few returns lie in its segment or the price never moved.
    """
    sigma = float(ewm_sigma(series)[-1])
    if math.isnan(sigma) or sigma <= 0:
        raise NotEnoughHistory(
            f"volatility at {series.open_time[-1]} must be above 0, was {sigma}: too few candles "
            "since the last break, or a price that never moved"
        )
    return sigma


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules make of a prediction at one close.

    thresholds: what it took. terms: the exits of a trade that began now, ratios to 1e-8 (far below
    a tick), as a signal carries them.
    """

    decision: Decision
    thresholds: Thresholds
    terms: ExitTerms


def rule(
    profile: Profile, costs: Costs, prediction: Prediction, *, close: float, sigma: float
) -> Ruling:
    """BUY, SELL or HOLD, and the exit terms, at a close (KRW) and a volatility per candle."""
    price = Decimal(repr(close))
    round_trip = costs.round_trip(price, tick_size(price))
    terms = profile.exits.terms(Decimal(repr(sigma)), round_trip)
    thresholds = Thresholds.of(profile.min_confidence, profile.min_ev_costs, round_trip)
    decision = decide(prediction.probabilities, prediction.ev_long, prediction.ev_short, thresholds)
    return Ruling(
        decision,
        thresholds,
        ExitTerms(_rounded(terms.stop_loss), _rounded(terms.take_profit), terms.timeout),
    )


def _rounded(ratio: Decimal) -> Decimal:
    return ratio.quantize(_RATIO_DIGITS, rounding=ROUND_HALF_EVEN)
