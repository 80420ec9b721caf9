"""What must not depend on later candles, nor on how far back one reads: the values of one profile.

From candles to signals, each family computed by the very functions of training, and again as the
live path computes its newest rows. Here: which values. Not here: on which histories they are
computed and how they are compared (`lookahead`, `recursion`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.features.catalogue import FEATURE_NAMES
from trading_assets.features.checks import DRIFT_ROWS
from trading_assets.features.matrix import feature_matrix, latest_features
from trading_assets.features.sequences import (
    SEQUENCE_LENGTH,
    Sequences,
    design_matrix,
    design_names,
    latest_sequences,
    make_sequences,
)
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import exit_ratios, make_labels, round_trip_costs, tick_sizes
from trading_assets.models.model import Model
from trading_assets.rules.costs import Costs
from trading_assets.rules.decision import Action, predicted_class
from trading_assets.rules.profile import Profile
from trading_assets.settings import SequenceView
from trading_assets.signals.prediction import (
    Prediction,
    latest_sigma,
    predict,
    predict_row,
    rule,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Compute = Callable[[CandleSeries, IntArray], FloatArray]

# What the live path reads back: every signal checks the drift of so many rows of features.
LIVE_ROWS = DRIFT_ROWS + SEQUENCE_LENGTH

_ACTIONS = tuple(Action)
_SIGNAL = (
    "p_sell",
    "p_hold",
    "p_buy",
    "ev_long",
    "ev_short",
    "min_ev_net",
    "predicted_class",
    "decision",
    "stop_loss",
    "take_profit",
)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Values that are computed for each candle of a history.

    names: (k,). training: (history, ascending rows of it) -> (len(rows), k) float64, NaN where a
    candle has no value. live: the same for the last rows of a history, as a signal computes them.
    reach: how many candles after a row its values are made of; 0 for whatever must be known at its
    close, the horizon for labels. last_rows: compare so many rows at the end of each history, None
    for all of them. live_rows: so many are read again on a shorter history.
    """

    group: str
    names: tuple[str, ...]
    training: Compute
    live: Compute
    reach: int = 0
    last_rows: int | None = None
    live_rows: int = LIVE_ROWS


def families(
    profile: Profile, costs: Costs, view: SequenceView, model: Model | None
) -> tuple[Family, ...]:
    """Every family of `profile`, from candles to, with a `model`, signals.

    view: what a model is given. costs: of the labels and the rules.
    """
    known = (candles(), features(), model_inputs(view), label_inputs(profile, costs))
    made = (*known, labels(profile, costs))
    return made if model is None else (*made, signals(profile, costs, model))


def candles() -> Family:
    """The regular series itself: what is filled and where it breaks."""
    names = ("open_time", "open", "high", "low", "close", "volume", "filled")

    def values(series: CandleSeries, rows: IntArray) -> FloatArray:
        return np.column_stack([getattr(series, name)[rows].astype(np.float64) for name in names])

    return Family("candle", names, values, values)


def features() -> Family:
    """The catalogue's features."""

    def training(series: CandleSeries, rows: IntArray) -> FloatArray:
        return feature_matrix(series).values[rows]

    def live(series: CandleSeries, rows: IntArray) -> FloatArray:
        first = _first(rows, series)
        return latest_features(series, len(series) - first).values[rows - first]

    return Family("feature", FEATURE_NAMES, training, live)


def model_inputs(view: SequenceView) -> Family:
    """The design matrix: what a model is given of each usable sequence."""
    names = design_names(view)

    def training(series: CandleSeries, rows: IntArray) -> FloatArray:
        return _inputs(make_sequences(feature_matrix(series), series), series, rows, view)

    def live(series: CandleSeries, rows: IntArray) -> FloatArray:
        made = latest_sequences(series, len(series) - _first(rows, series))
        return _inputs(made, series, rows, view)

    return Family("model input", names, training, live, last_rows=24, live_rows=24)


def label_inputs(profile: Profile, costs: Costs) -> Family:
    """What a label is made of and is known at the close: volatility, cost and the barriers."""
    names = ("sigma", "round_trip_cost", "stop_loss", "take_profit")

    def values(series: CandleSeries, rows: IntArray) -> FloatArray:
        sigma = ewm_sigma(series)
        cost = round_trip_costs(costs, series.close, tick_sizes(series.close))
        return np.column_stack([sigma, cost, *exit_ratios(profile, sigma, cost)])[rows]

    return Family("label input", names, values, values, live_rows=1)


def labels(profile: Profile, costs: Costs) -> Family:
    """The labels: made of the horizon's candles after the row, and of none after those."""
    names = ("label", "long_net", "short_net", "exit_reason", "valid")

    def values(series: CandleSeries, rows: IntArray) -> FloatArray:
        made = make_labels(series, profile, costs, ewm_sigma(series))
        return np.column_stack([getattr(made, name).astype(np.float64) for name in names])[rows]

    return Family("label", names, values, values, reach=profile.horizon_candles, live_rows=1)


def signals(profile: Profile, costs: Costs, model: Model) -> Family:
    """What `model` and the rules make of a close: probabilities, EV, decision and exit terms."""
    view = SequenceView(model.metadata["features"]["view"])

    def training(series: CandleSeries, rows: IntArray) -> FloatArray:
        values = np.full((len(rows), len(_SIGNAL)), np.nan)
        inputs = _inputs(make_sequences(feature_matrix(series), series), series, rows, view)
        sigma = ewm_sigma(series)[rows]
        for i in np.flatnonzero(~np.isnan(inputs[:, 0]) & (sigma > 0)):
            prediction = predict_row(model, inputs[i : i + 1].astype(np.float32))
            close = float(series.close[rows[i]])
            values[i] = _ruled(profile, costs, prediction, close, float(sigma[i]))
        return values

    def live(series: CandleSeries, rows: IntArray) -> FloatArray:
        if rows.tolist() != [len(series) - 1]:
            raise ValueError(f"a signal is made of the last of {len(series)} candles, not {rows}")
        try:
            prediction, sigma = predict(model, series), latest_sigma(series)
        except NotEnoughHistory:
            return np.full((1, len(_SIGNAL)), np.nan)
        return _ruled(profile, costs, prediction, float(series.close[-1]), sigma)[None]

    return Family("signal", _SIGNAL, training, live, last_rows=1, live_rows=1)


def _ruled(
    profile: Profile, costs: Costs, prediction: Prediction, close: float, sigma: float
) -> FloatArray:
    """One row of the signal family, shape (k,)."""
    ruling = rule(profile, costs, prediction, close=close, sigma=sigma)
    p = prediction.probabilities
    return np.array(
        [
            p.p_sell,
            p.p_hold,
            p.p_buy,
            prediction.ev_long,
            prediction.ev_short,
            ruling.thresholds.min_ev_net,
            _ACTIONS.index(predicted_class(p)),
            _ACTIONS.index(ruling.decision.action),
            float(ruling.terms.stop_loss),
            float(ruling.terms.take_profit),
        ]
    )


def _inputs(
    sequences: Sequences, series: CandleSeries, rows: IntArray, view: SequenceView
) -> FloatArray:
    """The design matrix of the sequences that end at `rows`, NaN where none does."""
    wanted = series.open_time[rows]
    chosen = np.flatnonzero(np.isin(sequences.open_time, wanted))
    made = design_matrix(
        Sequences(sequences.open_time[chosen], sequences.base, sequences.rows[chosen]), view
    )
    values = np.full((len(rows), len(design_names(view))), np.nan)
    values[np.searchsorted(wanted, sequences.open_time[chosen])] = made
    return values


def _first(rows: IntArray, series: CandleSeries) -> int:
    return int(rows[0]) if len(rows) else len(series)
