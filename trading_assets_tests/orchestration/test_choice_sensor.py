"""Signals follow a choice of profile at once, and only then."""

from datetime import timedelta

import dagster as dg
import pytest

from trading_assets.models.champions import ChampionStore
from trading_assets.orchestration.research.sensors import champion_sensor
from trading_assets.signals.choices import record_choice
from trading_assets_tests.commands.world_rows import signal_row
from trading_assets_tests.orchestration.conftest import START, Location
from trading_assets_tests.signals.choice_rows import chosen

MINUTE = timedelta(minutes=1)


def tick(location: Location) -> list[dg.RunRequest]:
    context = dg.build_sensor_context(
        instance=location.instance,
        definitions=location.defs,
        resources={
            "settings": location.settings,
            "clock": location.clock,
            "champions": ChampionStore(location.world.champions, location.world.name),
            "database": location.engine,
        },
    )
    return list(champion_sensor.evaluate_tick(context).run_requests or [])


def signals_made(location: Location, traded: str | None) -> None:
    """Both profiles of both markets have a signal, made while `traded` was traded."""
    for market in location.settings.markets:
        for profile in ("scalp", "swing"):
            signal_row(
                location.engine,
                market,
                location.clock.now(),
                profile=profile,
                traded=profile == traded,
            )


def test_signals_that_agree_with_the_choice_are_left_alone(location: Location) -> None:
    signals_made(location, None)
    assert tick(location) == []  # nothing is evaluated, nothing is traded


@pytest.mark.parametrize(
    ("before", "after"), [(None, "swing"), ("swing", None), ("scalp", "swing")]
)
def test_another_choice_asks_for_signals_once(
    location: Location, before: str | None, after: str | None
) -> None:
    record_choice(location.engine, chosen(before, START))
    signals_made(location, before)
    assert tick(location) == []
    location.clock.advance(MINUTE)
    record_choice(location.engine, chosen(after, START + MINUTE))
    (asked,) = tick(location)
    (again,) = tick(location)
    assert again.run_key == asked.run_key  # one run, however often the sensor looks
    signals_made(location, after)
    assert tick(location) == []


def test_a_choice_that_comes_back_is_asked_for_again(location: Location) -> None:
    keys = []
    record_choice(location.engine, chosen("swing", START))
    signals_made(location, "swing")
    for day, profile in enumerate(["scalp", "swing", "scalp"], start=1):
        location.clock.advance(MINUTE)
        record_choice(location.engine, chosen(profile, START + day * MINUTE))
        keys += [request.run_key for request in tick(location)]
        signals_made(location, profile)
    assert len(set(keys)) == 3


def test_an_evaluation_that_grows_too_old_asks_for_signals(location: Location) -> None:
    record_choice(location.engine, chosen("swing", START))
    signals_made(location, "swing")
    location.clock.advance(timedelta(days=7))
    assert tick(location) == []
    location.clock.advance(timedelta(seconds=1))
    assert len(tick(location)) == 1
