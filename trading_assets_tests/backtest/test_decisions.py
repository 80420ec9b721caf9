"""Decisions on arrays are those of the rule, row by row, at its boundaries too."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from trading_assets.backtest.decisions import DECISION_REASONS, NO_PREDICTION, decisions
from trading_assets.rules.decision import Action, Thresholds, decide
from trading_assets.rules.expected_value import Probabilities

NAN = float("nan")
# Few values, so that equal probabilities and values exactly at a threshold are common.
_quarters = st.sampled_from(
    [
        (0.25, 0.25, 0.5),
        (0.5, 0.25, 0.25),
        (0.25, 0.5, 0.25),
        (0.375, 0.25, 0.375),
        (0.5, 0.5, 0.0),
        (0.5, 0.0, 0.5),
        (0.0, 0.5, 0.5),
        (1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0),
        (0.0, 0.0, 1.0),
    ]
)
_weights = st.tuples(*[st.floats(0.01, 1)] * 3).map(lambda w: tuple(x / sum(w) for x in w))
_values = st.sampled_from([-0.001, 0.0, 0.0016, 0.0032, -0.02, 0.02]) | st.floats(-0.05, 0.05)
_row = st.tuples(_quarters | _weights, _values, _values, _values)


@given(st.lists(_row, min_size=1, max_size=30), st.sampled_from([0.0, 0.25, 0.375, 0.5, 0.6, 1.0]))
def test_every_row_is_decided_as_the_rule_decides_it(
    rows: list[tuple[tuple[float, float, float], float, float, float]], min_confidence: float
) -> None:
    p, ev_long, ev_short, floor = (np.array(column) for column in zip(*rows, strict=True))
    made = decisions(p, ev_long, ev_short, min_confidence, floor)
    for i, (probabilities, long, short, least) in enumerate(rows):
        expected = decide(
            Probabilities(*probabilities), long, short, Thresholds(min_confidence, least)
        )
        assert made.buy[i] == (expected.action is Action.BUY)
        assert made.sell[i] == (expected.action is Action.SELL)
        assert DECISION_REASONS[made.reason[i]] is expected.reason


def test_the_confidence_is_inclusive_and_the_value_is_not() -> None:
    # Of both rows p_buy is just the confidence asked for; only the second is worth more than asked.
    made = decisions(
        np.array([[0.2, 0.3, 0.5]] * 2),
        np.array([0.002, 0.0021]),
        np.zeros(2),
        0.5,
        np.full(2, 0.002),
    )
    np.testing.assert_array_equal(made.buy, [False, True])


def test_a_row_without_a_prediction_is_no_decision() -> None:
    made = decisions(
        np.array([[NAN, NAN, NAN], [0.1, 0.1, 0.8]]),
        np.array([NAN, 0.01]),
        np.array([NAN, -0.01]),
        0.0,
        np.zeros(2),
    )
    np.testing.assert_array_equal(made.buy, [False, True])
    np.testing.assert_array_equal(made.sell, [False, False])
    np.testing.assert_array_equal(made.reason, [NO_PREDICTION, 0])


def test_no_rows_give_no_decisions() -> None:
    nothing = np.empty(0)
    assert len(decisions(np.empty((0, 3)), nothing, nothing, 0.5, nothing)) == 0


def test_what_is_no_probability_is_refused_with_its_row() -> None:
    ones = np.ones(2)
    with pytest.raises(ValueError, match="row 1 must hold probabilities that sum to 1"):
        decisions(np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.6]]), ones, ones, 0.0, ones)
    with pytest.raises(ValueError, match="row 0 must hold probabilities"):
        decisions(np.array([[NAN, 0.3, 0.7], [0.2, 0.3, 0.5]]), ones, ones, 0.0, ones)
    with pytest.raises(ValueError, match="ev_short of a prediction must be finite, row 1 has nan"):
        decisions(np.array([[0.2, 0.3, 0.5]] * 2), ones, np.array([0.0, NAN]), 0.0, ones)
    with pytest.raises(ValueError, match=r"p must be of shape \(2, 3\)"):
        decisions(np.array([[0.2, 0.8]] * 2), ones, ones, 0.0, ones)
