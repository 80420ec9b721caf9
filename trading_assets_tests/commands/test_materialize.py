"""What the commands without servers ask Dagster for, and what they say at the end."""

import pytest

from trading_assets.commands.evaluate import evaluation_commands, failures
from trading_assets.commands.materialize import UNEVALUATED, dagster_command, what_is_there
from trading_assets.orchestration.research.keys import CONCLUSIONS, evaluation_keys
from trading_assets.settings import load_settings
from trading_assets.signals.choices import record_choice
from trading_assets_tests.commands.world_rows import prepared, signal_row
from trading_assets_tests.signals.choice_rows import EVALUATED, chosen


@pytest.mark.parametrize(
    ("profile", "evaluated", "told"),
    [("auto", False, True), ("auto", True, False), ("swing", False, False)],
)
def test_materialize_says_that_nothing_is_entered_before_the_profiles_are_evaluated(
    profile: str, evaluated: bool, told: bool
) -> None:
    settings = load_settings({"profile": profile})
    _, engine = prepared(settings)
    signal_row(engine, "KRW-BTC", EVALUATED)
    if evaluated:
        record_choice(engine, chosen(None))
    table, *more = what_is_there(settings, engine, EVALUATED)
    assert "KRW-BTC  scalp" in table
    assert more == ([UNEVALUATED] if told else [])


def test_evaluate_walks_each_market_forward_and_draws_the_conclusions_last() -> None:
    settings = load_settings({"markets": ["KRW-BTC", "KRW-ETH"], "profiles": ["swing"]})
    keys = [key.to_user_string() for key in evaluation_keys("swing")]
    conclusions = [key.to_user_string() for key in CONCLUSIONS]
    assert list(evaluation_commands(settings)) == [
        ("KRW-BTC", dagster_command(keys, partition="KRW-BTC")),
        ("KRW-ETH", dagster_command(keys, partition="KRW-ETH")),
        ("conclusions", dagster_command(conclusions)),
    ]


def test_evaluate_goes_on_after_a_failure_and_names_it() -> None:
    settings = load_settings({"markets": ["KRW-BTC", "KRW-ETH"]})
    asked: list[str] = []

    def fails_for_btc(name: str, _: tuple[str, ...]) -> bool:
        asked.append(name)
        return name != "KRW-BTC"

    assert failures(settings, fails_for_btc) == ["KRW-BTC"]
    assert asked == ["KRW-BTC", "KRW-ETH", "conclusions"]
