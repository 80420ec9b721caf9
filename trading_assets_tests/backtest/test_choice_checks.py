"""Each check of a choice where it must fire and where it must stay quiet."""

from dataclasses import replace

import pytest

from trading_assets.backtest.choice_checks import beats_random, has_edge
from trading_assets_tests.signals.choice_rows import numbers


def test_a_pinned_profile_without_an_edge_is_a_warning() -> None:
    found = has_edge("swing", numbers("swing", has_edge=False))
    assert (found.passed, found.blocking) == (False, False)
    assert found.reason == "swing: swing by the test"
    assert found.values == {"net_bp": -9.5, "bound_bp": -24.0, "random_bp": -14.5}
    assert has_edge("swing", numbers("swing")).passed


def test_to_trade_nothing_is_what_auto_is_for() -> None:
    assert has_edge(None, None).passed
    assert beats_random(None, None).passed


def test_a_pinned_profile_that_was_never_evaluated_is_a_warning() -> None:
    found = has_edge("scalp", None)
    assert not found.passed
    assert found.reason == "scalp is traded and was never evaluated"


@pytest.mark.parametrize(("random_bp", "passed"), [(23.9, True), (24.0, False), (None, True)])
def test_what_random_entries_earn_too_is_no_skill(random_bp: float | None, passed: bool) -> None:
    found = beats_random("swing", replace(numbers("swing"), random_bp=random_bp))
    assert found.passed is passed
