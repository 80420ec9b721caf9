"""BUY, SELL, HOLD at their exact thresholds, and the reason that names the blocking rule."""

from decimal import Decimal

import pytest

from trading_assets.rules.decision import (
    Action,
    Decision,
    Reason,
    Thresholds,
    confidence,
    decide,
    expire,
    predicted_class,
    withhold,
)
from trading_assets.rules.expected_value import Probabilities

SCALP = Thresholds(min_confidence=0.5, min_ev_net=0.0)
SWING = Thresholds(min_confidence=0.0, min_ev_net=0.0016)


def test_the_thresholds_of_a_profile_count_expected_value_in_round_trips() -> None:
    # swing: 1 x 16 bp; a profile asking for 1.5 round trips of 16 bp asks for 24 bp
    assert Thresholds.of(Decimal(0), Decimal(1), Decimal("0.0016")) == SWING
    assert Thresholds.of(Decimal("0.5"), Decimal("1.5"), Decimal("0.0016")) == Thresholds(
        0.5, 0.0024
    )


def test_buy_needs_the_confidence_exactly_and_more_than_the_expected_value() -> None:
    decision = decide(Probabilities(0.2, 0.3, 0.5), 1e-9, -0.004, SCALP)
    assert (decision.action, decision.reason) == (Action.BUY, Reason.BUY)


def test_an_expected_value_equal_to_the_minimum_does_not_buy() -> None:
    decision = decide(Probabilities(0.2, 0.3, 0.5), 0.0, -0.004, SCALP)
    assert (decision.action, decision.reason) == (Action.HOLD, Reason.EV_TOO_LOW)
    assert decision.detail == "EV 0.00 bp is not above 0.00 bp, p_buy 0.500"


def test_a_buy_class_below_the_confidence_holds() -> None:
    decision = decide(Probabilities(0.201, 0.3, 0.499), 0.01, -0.01, SCALP)
    assert (decision.action, decision.reason) == (Action.HOLD, Reason.BELOW_CONFIDENCE)
    assert decision.detail == "p_buy 0.499 is below 0.500, predicted class BUY"


def test_a_predicted_hold_says_so_when_confidence_is_what_blocks() -> None:
    decision = decide(Probabilities(0.1, 0.8, 0.1), 0.01, 0.01, SCALP)
    assert (decision.action, decision.reason) == (Action.HOLD, Reason.PREDICTED_HOLD)
    assert decision.detail == "p_buy 0.100 is below 0.500, predicted class HOLD"


def test_without_a_confidence_threshold_the_expected_value_alone_decides_on_buying() -> None:
    p = Probabilities(0.3, 0.4, 0.3)
    assert decide(p, 0.00161, -0.005, SWING).action is Action.BUY
    held = decide(p, 0.0016, -0.005, SWING)
    assert (held.action, held.reason) == (Action.HOLD, Reason.EV_TOO_LOW)
    assert held.detail == "EV 16.00 bp is not above 16.00 bp, p_buy 0.300"


def test_sell_needs_the_predicted_class_the_confidence_and_the_mirrored_value() -> None:
    sold = decide(Probabilities(0.5, 0.3, 0.2), -0.01, 1e-9, SCALP)
    assert (sold.action, sold.reason) == (Action.SELL, Reason.SELL)
    assert "only closes a position" in sold.detail


def test_a_sell_class_with_too_little_mirrored_value_holds() -> None:
    held = decide(Probabilities(0.5, 0.3, 0.2), -0.01, 0.0, SCALP)
    assert (held.action, held.reason) == (Action.HOLD, Reason.EV_TOO_LOW)
    assert held.detail == "EV 0.00 bp is not above 0.00 bp, p_sell 0.500"


def test_a_sell_class_below_the_confidence_holds() -> None:
    held = decide(Probabilities(0.499, 0.3, 0.201), -0.01, 0.01, SCALP)
    assert (held.action, held.reason) == (Action.HOLD, Reason.BELOW_CONFIDENCE)


def test_a_mirrored_value_does_not_sell_when_another_class_is_predicted() -> None:
    held = decide(Probabilities(0.39, 0.41, 0.2), -0.01, 0.02, SWING)
    assert (held.action, held.reason) == (Action.HOLD, Reason.EV_TOO_LOW)


def test_buy_is_asked_first() -> None:
    assert decide(Probabilities(0.4, 0.2, 0.4), 0.01, 0.01, SWING).action is Action.BUY


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.2, 0.3, 0.5), Action.BUY),
        ((0.5, 0.3, 0.2), Action.SELL),
        ((0.2, 0.5, 0.3), Action.HOLD),
        ((0.4, 0.2, 0.4), Action.SELL),
        ((0.2, 0.4, 0.4), Action.HOLD),
        ((0.4, 0.4, 0.2), Action.HOLD),
    ],
)
def test_the_predicted_class_is_the_argmax_and_ties_go_to_the_cautious_one(
    values: tuple[float, float, float], expected: Action
) -> None:
    assert predicted_class(Probabilities(*values)) is expected


def test_confidence_is_the_probability_of_the_predicted_class() -> None:
    assert confidence(Probabilities(0.34, 0.33, 0.33)) == 0.34


BUY = Decision(Action.BUY, Reason.BUY, "why")


def test_without_an_edge_nothing_is_entered_and_what_would_have_been_is_told() -> None:
    assert withhold(BUY, "the profiles are not evaluated yet") == Decision(
        Action.HOLD,
        Reason.NO_EDGE,
        "the profiles are not evaluated yet; otherwise buy: why",
    )
    hold = Decision(Action.HOLD, Reason.EV_TOO_LOW, "too low")
    assert withhold(hold, "no edge").detail == "no edge; otherwise ev_too_low: too low"


def test_without_an_edge_a_position_may_still_be_closed() -> None:
    sell = Decision(Action.SELL, Reason.SELL, "why")
    kept = withhold(sell, "swing lost its edge")
    assert (kept.action, kept.reason) == (Action.SELL, Reason.SELL)
    assert kept.detail == "why; no edge: swing lost its edge"


def test_a_model_confirmed_exactly_at_the_limit_still_decides() -> None:
    assert expire(BUY, 48.0, 48.0) == BUY


def test_a_model_unconfirmed_for_longer_stops_entries_and_says_so() -> None:
    assert expire(BUY, 48.1, 48.0) == Decision(
        Action.HOLD,
        Reason.MODEL_EXPIRED,
        "model last confirmed 48.1 h ago, entries stop after 48 h; otherwise buy: why",
    )


def test_a_model_that_was_never_confirmed_stops_entries() -> None:
    assert expire(BUY, None, 48.0).reason is Reason.MODEL_EXPIRED


def test_an_expired_model_may_still_ask_to_close_a_position() -> None:
    sell = Decision(Action.SELL, Reason.SELL, "why")
    expired = expire(sell, 60.0, 48.0)
    assert (expired.action, expired.reason) == (Action.SELL, Reason.SELL)
    assert expired.detail == "why; model last confirmed 60.0 h ago, entries stop after 48 h"
