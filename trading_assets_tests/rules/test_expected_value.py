"""Expected value by hand, and the probabilities it refuses."""

import math

import pytest

from trading_assets.rules.expected_value import ClassReturns, Probabilities, expected_value


def test_the_expected_value_is_the_sum_of_probability_times_mean_return() -> None:
    p = Probabilities(p_sell=0.2, p_hold=0.3, p_buy=0.5)
    returns = ClassReturns(sell=-0.0216, hold=-0.0016, buy=0.0184)
    # 0.2 x -216 + 0.3 x -16 + 0.5 x 184 = -43.2 - 4.8 + 92 = 44 bp
    assert expected_value(p, returns) == pytest.approx(0.0044, abs=1e-15)


def test_a_sure_hold_costs_what_holding_cost_in_training() -> None:
    returns = ClassReturns(sell=-0.02, hold=-0.0016, buy=0.02)
    assert expected_value(Probabilities(0.0, 1.0, 0.0), returns) == -0.0016


@pytest.mark.parametrize(
    "values",
    [
        (math.nan, 0.5, 0.5),
        (math.inf, 0.0, 0.0),
        (-0.1, 0.6, 0.5),
        (0.0, 1.1, -0.1),
        (0.3, 0.3, 0.3),
        (0.2, 0.3, 0.500002),
    ],
)
def test_probabilities_that_are_none_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="probabilities must"):
        Probabilities(*values)


def test_rounding_in_the_last_digits_is_no_reason_to_refuse() -> None:
    assert Probabilities(0.2, 0.3, 0.5000009).p_buy == 0.5000009


def test_a_mean_return_must_be_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        ClassReturns(sell=0.0, hold=math.nan, buy=0.0)
