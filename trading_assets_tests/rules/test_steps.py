"""Whether a confidence step pays: the mean and its error by hand, and the two bounds."""

import math
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.rules.sizing import SizeRules, SizeStep, paying_sizes
from trading_assets.rules.steps import (
    NO_EVIDENCE,
    Evidence,
    Outcome,
    evidence,
    step_pays,
)

DAY = date(2026, 1, 1)


def outcome(day: int, net: float, *, claimed: float = 0.6, came_true: bool = True) -> Outcome:
    return Outcome(DAY + timedelta(days=day), net, claimed, came_true)


def scored(score: float, days: int = 10) -> Evidence:
    """Evidence whose mean lies `score` standard errors above 0."""
    return Evidence(30, days, score * 0.01, 0.01, 0.6, 0.5)


def test_signals_of_one_day_count_as_one_when_they_go_together() -> None:
    # Net 1, 1 on day 0 and -1, -1 on day 1: mean 0. Deviations by day: +2 and -2, squares 4 + 4.
    # se^2 = 2 / (2 - 1) x 8 / 4^2 = 1. As four independent signals it would be 4 / 3 / 4 = 1/3.
    found = evidence([outcome(0, 1), outcome(0, 1), outcome(1, -1), outcome(1, -1)])
    assert (found.signals, found.days) == (4, 2)
    assert found.mean_net == 0
    assert found.standard_error == pytest.approx(1.0)
    assert found.score == 0


def test_evidence_holds_what_was_claimed_against_what_came_true() -> None:
    # Claimed 0.6 and 0.8: 0.7 on average; one of the two was a BUY.
    found = evidence(
        [outcome(0, 0.02, claimed=0.6), outcome(1, -0.01, claimed=0.8, came_true=False)]
    )
    assert found.claimed == pytest.approx(0.7)
    assert found.came_true == 0.5
    assert found.mean_net == pytest.approx(0.005)


def test_without_signals_or_with_one_day_nothing_is_known_of_the_spread() -> None:
    assert evidence([]) == NO_EVIDENCE
    assert evidence([outcome(0, 0.01), outcome(0, 0.03)]).standard_error == math.inf
    assert evidence([outcome(0, 0.01), outcome(0, 0.03)]).score == 0


def test_equal_returns_on_every_day_are_as_sure_as_can_be() -> None:
    assert evidence([outcome(day, -0.5) for day in range(4)]).score == -math.inf


@pytest.mark.parametrize(
    ("score", "paid_before", "pays"),
    [
        (-1.28, True, True),  # at the bound it still pays
        (-1.2801, True, False),
        (-1.28, False, False),
        (0.52, False, False),  # at the bound it does not pay yet
        (0.5201, False, True),
        (0.52, True, True),
        (0.0, True, True),  # in between the last verdict stands
        (0.0, False, False),
    ],
)
def test_a_verdict_turns_only_beyond_its_own_bound(
    score: float, paid_before: bool, pays: bool
) -> None:
    assert step_pays(scored(score), paid_before=paid_before) is pays


@pytest.mark.parametrize("paid_before", [True, False])
def test_nine_days_turn_nothing_and_ten_do(paid_before: bool) -> None:
    against = -9.0 if paid_before else 9.0
    assert step_pays(scored(against, days=9), paid_before=paid_before) is paid_before
    assert step_pays(scored(against, days=10), paid_before=paid_before) is not paid_before
    assert step_pays(NO_EVIDENCE, paid_before=paid_before) is paid_before


# --- the sizes that follow ----------------------------------------------------------------------

RULES = SizeRules(
    (
        SizeStep(Decimal("0.8"), Decimal("0.15")),
        SizeStep(Decimal("0.7"), Decimal("0.10")),
        SizeStep(Decimal("0.6"), Decimal("0.07")),
        SizeStep(Decimal(0), Decimal("0.05")),
    ),
    raise_to_minimum=False,
    minimum_buffer=Decimal("0.05"),
)


def shares(*unpaid: str) -> list[str]:
    rules = paying_sizes(RULES, [Decimal(p) for p in unpaid])
    return [str(step.share) for step in rules.steps]


def test_a_step_that_does_not_pay_has_the_share_of_the_next_lower_one() -> None:
    assert shares() == ["0.15", "0.10", "0.07", "0.05"]
    assert shares("0.8") == ["0.10", "0.10", "0.07", "0.05"]
    assert shares("0.7") == ["0.15", "0.07", "0.07", "0.05"]
    assert shares("0.6") == ["0.15", "0.10", "0.05", "0.05"]


def test_steps_that_do_not_pay_fall_through_to_one_that_does() -> None:
    assert shares("0.8", "0.7") == ["0.07", "0.07", "0.07", "0.05"]
    assert shares("0.8", "0.7", "0.6") == ["0.05", "0.05", "0.05", "0.05"]


def test_the_lowest_step_and_a_step_that_is_none_change_nothing() -> None:
    assert shares("0", "0.65") == shares()


@given(
    unpaid=st.sets(st.sampled_from(["0.8", "0.7", "0.6", "0", "0.5"])),
    p_buy=st.decimals(0, 1, places=4),
)
def test_no_verdict_ever_raises_a_size(unpaid: set[str], p_buy: Decimal) -> None:
    rules = paying_sizes(RULES, [Decimal(p) for p in unpaid])
    assert rules.step(p_buy).share <= RULES.step(p_buy).share
    assert rules.step(p_buy).p_buy == RULES.step(p_buy).p_buy
