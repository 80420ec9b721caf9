"""What a person is told about the profiles: the table, the doctor, the start with real money."""

from datetime import timedelta
from typing import Any

from trading_assets.clock import SteppedClock
from trading_assets.commands.doctor import Finding, evaluation
from trading_assets.commands.live_start import tell_evaluation
from trading_assets.commands.profiles import profiles
from trading_assets.database import open_database
from trading_assets.rules.check import Level
from trading_assets.settings import Settings, load_settings
from trading_assets.signals.choice_table import as_markdown
from trading_assets.signals.choices import Choice, record_choice
from trading_assets.world import world_of
from trading_assets_tests.commands.world_rows import prepared
from trading_assets_tests.signals.choice_rows import EVALUATED, chosen

NOW = EVALUATED + timedelta(hours=3)


def world_with(*choices: Choice, **values: Any) -> Settings:
    settings = load_settings({"profile": "auto", **values})
    _, engine = prepared(settings)
    for choice in choices:
        record_choice(engine, choice)
    engine.dispose()
    return settings


def finding(*choices: Choice, **values: Any) -> Finding:
    settings = load_settings({"profile": "auto", **values})
    _, engine = prepared(settings)
    for choice in choices:
        record_choice(engine, choice)
    return evaluation(settings, engine, NOW)


def test_before_the_first_evaluation_the_table_says_so() -> None:
    settings = world_with()
    assert profiles(settings, NOW).splitlines() == [
        f"world {world_of(settings).name}, SYNTHETIC prices, PROFILE=auto: nothing is entered, "
        "the profiles are not evaluated yet",
        "no profile is evaluated yet: the job `evaluate` does it, after training",
    ]


def test_the_table_names_world_and_prices_and_gives_each_profile_a_line() -> None:
    settings = world_with(chosen("swing"))
    title, headings, scalp, swing, *said = profiles(settings, NOW).splitlines()
    assert title == (
        f"world {world_of(settings).name}, SYNTHETIC prices, PROFILE=auto: swing is traded"
    )
    assert headings.split()[:4] == ["profile", "trades", "a", "day"]
    assert " ".join(scalp.split()) == (
        "scalp 240 1.20 -9.5 [+4.2, +43.0] -24.0 +40.0 -14.5 2025-06-16 2026-01-01 "
        "2026-01-02 11:30 KST -"
    )
    assert " ".join(swing.split()) == (
        "swing 240 1.20 +24.0 [+4.2, +43.0] +8.0 +40.0 -14.5 2025-06-16 2026-01-01 "
        "2026-01-02 11:30 KST *, auto's, since 2026-01-02 11:30 KST"
    )
    assert said == [
        "scalp: scalp by the test",
        "swing: swing by the test",
        "auto: swing is the best",
    ]


def test_the_same_table_as_markdown() -> None:
    settings = world_with(chosen("swing"))
    engine = open_database(settings, world_of(settings))
    title, table, *said = as_markdown(settings, engine, NOW).split("\n\n")
    engine.dispose()
    assert title.endswith("SYNTHETIC prices, PROFILE=auto: swing is traded**")
    headings, line, scalp, swing = table.splitlines()
    assert headings.startswith("| profile | trades | a day | net bp [90 %] | bound |")
    assert line == "|" + " --- |" * 11
    assert scalp.startswith("| scalp | 240 | 1.20 | -9.5 [+4.2, +43.0] | -24.0 |")
    assert swing.endswith("| *, auto's, since 2026-01-02 11:30 KST |")
    assert said[-1] == "auto: swing is the best"


def test_the_table_says_when_a_pin_is_not_what_auto_would_trade() -> None:
    pinned = world_with(chosen("swing"), profile="scalp")
    assert profiles(pinned, NOW).splitlines()[-1] == (
        "PROFILE=scalp is pinned; auto would trade swing"
    )
    record = world_with(chosen(None, EVALUATED + timedelta(hours=1)), profile="swing")
    assert profiles(record, NOW).splitlines()[-1] == (
        "PROFILE=swing is pinned; auto would trade nothing"
    )


def test_the_doctor_warns_until_the_profiles_are_evaluated() -> None:
    found = finding()
    assert found.level is Level.WARN
    assert "nothing is entered, the profiles are not evaluated yet" in found.text
    assert finding(profile="scalp", synthetic={"seed": 8}).text == (
        "PROFILE=scalp: scalp is traded, not evaluated yet"
    )


def test_to_trade_nothing_for_want_of_an_edge_is_no_fault() -> None:
    found = finding(chosen(None))
    assert (found.level, found.fix) == (Level.OK, "trading-assets profiles")
    assert found.text == "PROFILE=auto: nothing is entered, no profile has an edge"


def test_the_doctor_warns_of_a_pin_against_the_evaluation() -> None:
    agreed = finding(chosen("swing"), profile="swing")
    assert (agreed.level, agreed.fix) == (Level.OK, "")
    assert agreed.text == (
        "PROFILE=swing: swing is traded; evaluated 3 h 0 min ago: swing is the best"
    )
    against = finding(chosen("scalp", EVALUATED + timedelta(hours=1)), profile="swing")
    assert against.level is Level.WARN


def test_a_start_with_real_money_tells_the_evaluation_of_every_profile_first() -> None:
    told: list[str] = []
    live = {"trading_mode": "live", "profile": "swing"}
    settings = load_settings(live)
    tell_evaluation(settings, SteppedClock(NOW), told.append)
    assert told == [
        "live: no profile is evaluated yet, PROFILE=swing is your choice alone. "
        "`trading-assets profiles` shows the evaluation once it is made."
    ]
    world_with(chosen("scalp"), **live)
    tell_evaluation(settings, SteppedClock(NOW), told.append)
    assert "world live, Upbit's prices, PROFILE=swing: swing is traded" in told[1]
    assert "\nscalp " in told[1]
    assert "\nswing " in told[1]
    assert told[1].endswith("PROFILE=swing is pinned; auto would trade scalp")


def test_a_start_with_play_money_tells_nothing() -> None:
    told: list[str] = []
    tell_evaluation(world_with(chosen("swing")), SteppedClock(NOW), told.append)
    assert told == []
