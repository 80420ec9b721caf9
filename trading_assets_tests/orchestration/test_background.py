"""Evaluations make way for signals and trades, unless those wait for the first evaluation."""

import os

import dagster as dg
import pytest

from trading_assets.orchestration.research.resources import BACKGROUND_NICENESS, background_resource
from trading_assets.signals.choices import record_choice
from trading_assets_tests.orchestration.conftest import START, Location
from trading_assets_tests.signals.choice_rows import chosen


def priorities_set(location: Location, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the resource would make of this process, which keeps its own priority."""
    found: list[int] = []
    monkeypatch.setattr(os, "setpriority", lambda *given: found.append(given[-1]))
    context = dg.build_init_resource_context(
        resources={"settings": location.settings, "database": location.engine}
    )
    with context as given:
        background_resource(given)()
    return found


def test_the_first_evaluation_keeps_its_priority_and_later_ones_give_way(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert priorities_set(location, monkeypatch) == []
    record_choice(location.engine, chosen("swing", START))
    (lowered,) = priorities_set(location, monkeypatch)
    assert lowered >= BACKGROUND_NICENESS
