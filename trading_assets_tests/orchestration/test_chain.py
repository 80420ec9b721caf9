"""The chain from candles to signals, run by Dagster in this process on the paper exchange.

Little history and one seed: what is tested is that the parts fit, not what the models are worth.
It is always the same day, so that the same models are made, and promoted, every time.
"""

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.backtest.predictions import PredictionStore
from trading_assets.database import connect, database_url, open_database, prepare, read, signals
from trading_assets.models.challengers import ChallengerStore
from trading_assets.models.champions import ChampionStore
from trading_assets.models.mlflow_store import client_of, experiment_of, prepare_mlflow
from trading_assets.models.shadow import ShadowStore
from trading_assets.models.verdicts import Verdict, VerdictKind, latest_verdict
from trading_assets.orchestration.research.definitions import research_definitions
from trading_assets.orchestration.research.jobs import evaluation_request, signals_request
from trading_assets.orchestration.research.keys import (
    CONCLUSIONS,
    PROFILE_CHOICE,
    candles_key,
    features_key,
    profile_key,
)
from trading_assets.orchestration.research.sensors import champion_sensor
from trading_assets.orchestration.shared.tags import BEING_EVALUATED
from trading_assets.paper_exchange.server import create_app
from trading_assets.paper_exchange.synthetic import SyntheticMarkets
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.settings import Settings, load_settings
from trading_assets.signals.choices import latest_choice
from trading_assets.signals.forecast import latest_forecast
from trading_assets.world import World, world_of
from trading_assets_tests.conftest import ExchangeServer, RunningExchange

START = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
LITTLE: dict[str, Any] = {
    "seeds": 1,
    "scalp": {
        "history_days": 14,
        "min_history_days": 5,
        "calibration_days": 3,
        "gate_days": 3,
        "first_fit_days": 5,
        "refit_every": "2d",
    },
    "swing": {
        "history_days": 120,
        "min_history_days": 60,
        "calibration_days": 30,
        "gate_days": 14,
        "first_fit_days": 60,
        "refit_every": "20d",
    },
}


class SameDayClock:
    """Runs on from START, as the system's clock does, whatever day it is. ahead: moved on by."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return START + self.ahead + timedelta(seconds=time.monotonic() - self._begun)

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


CLOCK = SameDayClock()


@dataclass(frozen=True, slots=True)
class Place:
    """A prepared world and the research location in it."""

    settings: Settings
    world: World
    engine: Engine
    defs: dg.Definitions
    instance: dg.DagsterInstance

    def retrain(self, market: str, *assets: dg.AssetKey) -> dg.ExecuteInProcessResult:
        """A retraining, or `assets` of it."""
        return self.defs.resolve_job_def("retrain").execute_in_process(
            instance=self.instance,
            partition_key=market,
            asset_selection=list(assets) or None,
            raise_on_error=False,
        )

    def evaluate(self, market: str, *assets: dg.AssetKey) -> dg.ExecuteInProcessResult:
        """The run of `market` (all of it, or `assets`) that the sensor asks for."""
        request = evaluation_request(market, self.settings.active_profiles, run_key="by the test")
        return self.defs.resolve_job_def("evaluate").execute_in_process(
            instance=self.instance,
            partition_key=market,
            asset_selection=list(assets or request.asset_selection or []),
            raise_on_error=False,
        )

    def conclude(
        self, *assets: dg.AssetKey, tags: dict[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """The run of conclusions (all of them, or `assets`) that the sensor asks for."""
        return self.defs.resolve_job_def("evaluate").execute_in_process(
            instance=self.instance,
            asset_selection=list(assets or CONCLUSIONS),
            tags=tags,
            raise_on_error=False,
        )

    def produce_signals(self) -> dg.ExecuteInProcessResult:
        request = signals_request(self.settings, run_key="by the test")
        return self.defs.resolve_job_def("produce_signals").execute_in_process(
            instance=self.instance, tags=dict(request.tags), raise_on_error=False
        )

    def materialized(self, asset: str) -> set[str]:
        key = dg.AssetKey(asset.split("/"))
        return set(self.instance.get_materialized_partitions(key))

    def may_train(self, market: str, profile: str) -> Verdict | None:
        return latest_verdict(self.engine, VerdictKind.MAY_TRAIN, market, profile)

    def signal_rows(self) -> dict[tuple[str, str], Any]:
        with read(self.engine) as connection:
            rows = connection.execute(sa.select(signals).order_by(signals.c.id)).all()
        return {(row.market, row.profile): row for row in rows}


@pytest.fixture(scope="module")
def that_days_exchange(synthetic_markets: SyntheticMarkets) -> Iterator[RunningExchange]:
    """The default synthetic exchange, on that day."""
    server = ExchangeServer(create_app(synthetic_markets, CLOCK, limited=False))
    yield server.start()
    server.stop()


def _place(
    home: Path, exchange: RunningExchange, clock: SameDayClock = CLOCK, **values: Any
) -> Iterator[Place]:
    settings = load_settings(
        {"TRADING_ASSETS_HOME": home, "exchange_url": exchange.url, **LITTLE, **values}
    )
    world = world_of(settings)
    setup = connect(database_url(settings, world))
    prepare(setup, world)
    setup.dispose()
    prepare_mlflow(world)
    engine = open_database(settings, world)
    with dg.DagsterInstance.ephemeral() as instance:
        # The process of the tests keeps its priority.
        replaced = {"world": world, "clock": clock, "background": lambda: None}
        defs = research_definitions(settings, replaced)
        yield Place(settings, world, engine, defs, instance)
    engine.dispose()


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, that_days_exchange: RunningExchange
) -> Iterator[Place]:
    """KRW-BTC exists; KRW-GONE is not (or no longer) listed by the exchange."""
    home = tmp_path_factory.mktemp("chain")
    yield from _place(home, that_days_exchange, markets=("KRW-BTC", "KRW-GONE"), profile="auto")


@pytest.fixture(scope="module")
def retrained(place: Place) -> dg.ExecuteInProcessResult:
    return place.retrain("KRW-BTC")


@pytest.fixture(scope="module")
def gone(place: Place) -> dg.ExecuteInProcessResult:
    return place.retrain("KRW-GONE")


@pytest.fixture(scope="module")
def evaluated(place: Place, retrained: dg.ExecuteInProcessResult) -> dg.ExecuteInProcessResult:
    assert retrained.success
    return place.evaluate("KRW-BTC")


@pytest.fixture(scope="module")
def signalled(
    place: Place, retrained: dg.ExecuteInProcessResult, gone: dg.ExecuteInProcessResult
) -> dg.ExecuteInProcessResult:
    assert retrained.success
    assert not gone.success
    return place.produce_signals()


def test_one_run_retrains_both_profiles_of_a_market(
    place: Place, retrained: dg.ExecuteInProcessResult
) -> None:
    assert retrained.success
    steps = {event.step_key for event in retrained.get_step_success_events()}
    assert {"scalp__champion", "swing__champion", "candles__m5", "candles__m60"} <= steps
    assert len(steps) == 12  # candles and features of two intervals, four assets of two profiles


def test_the_promoted_models_serve(place: Place, retrained: dg.ExecuteInProcessResult) -> None:
    del retrained
    champions = ChampionStore(place.world.champions, place.world.name)
    for profile in ("scalp", "swing"):
        verdict = latest_verdict(place.engine, VerdictKind.PROMOTION, "KRW-BTC", profile)
        assert verdict is not None
        serving = champions.current_version("KRW-BTC", profile)
        assert serving == (verdict.model_version if verdict.passed else None)


def test_every_check_carries_its_market(retrained: dg.ExecuteInProcessResult) -> None:
    checks = retrained.get_asset_check_evaluations()
    assert {check.partition for check in checks} == {"KRW-BTC"}
    found = {f"{c.asset_key.to_user_string()}: {c.check_name}" for c in checks}
    assert {
        "candles/m5: candle_schema",
        "candles/m60: candle_freshness",
        "features/m5: features_drift",
        "scalp/labels: label_shares",
        "swing/challenger: not_too_good",
        "swing/champion: challenger_passed_the_gate",
    } <= found


def test_what_the_checks_decided_together_is_in_the_database(
    place: Place, retrained: dg.ExecuteInProcessResult
) -> None:
    for profile in ("scalp", "swing"):
        verdict = place.may_train("KRW-BTC", profile)
        assert verdict is not None
        assert verdict.passed
        assert verdict.run_id == retrained.run_id
        assert {"candle_schema", "features_finite", "label_shares", "enough_history"} <= set(
            verdict.details
        )


def test_a_program_with_another_catalogue_of_features_can_train(
    place: Place, retrained: dg.ExecuteInProcessResult
) -> None:
    """Its champion's reference differs, which stops signals; a training would end that."""
    assert retrained.success
    champions = ChampionStore(place.world.champions, place.world.name)
    version = champions.current_version("KRW-BTC", "scalp")
    assert version is not None
    path = champions.folder("KRW-BTC", "scalp") / version / "reference.json"
    kept = path.read_text(encoding="utf-8")
    path.write_text(kept.replace('"catalogue_version": "', '"catalogue_version": "0-old-'))
    try:
        result = place.defs.resolve_job_def("retrain").execute_in_process(
            instance=place.instance,
            partition_key="KRW-BTC",
            asset_selection=[dg.AssetKey(["features", "m5"])],
        )
    finally:
        path.write_text(kept, encoding="utf-8")
    checks = {c.check_name: c for c in result.get_asset_check_evaluations()}
    drift = checks["features_drift"]
    assert (drift.passed, drift.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "trained on catalogue 0-old-" in str(drift.description)
    assert result.success


def test_a_market_that_the_exchange_does_not_list_fails_alone_and_in_plain_words(
    place: Place, gone: dg.ExecuteInProcessResult, retrained: dg.ExecuteInProcessResult
) -> None:
    assert retrained.success
    failures = {e.step_key: e.step_failure_data for e in gone.get_step_failure_events()}
    assert set(failures) == {"candles__m5", "candles__m60"}
    error = failures["candles__m5"].error
    assert error is not None
    assert "does not list KRW-GONE" in error.message
    assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in {e.event_type for e in gone.all_events}
    assert place.materialized("scalp/champion") == {"KRW-BTC"}


def _tick(place: Place) -> tuple[list[dg.RunRequest], str | None]:
    """What the champion sensor asks for, or why it does not."""
    context = dg.build_sensor_context(
        instance=place.instance,
        definitions=place.defs,
        resources={
            "settings": place.settings,
            "clock": CLOCK,
            "champions": ChampionStore(place.world.champions, place.world.name),
            "database": place.engine,
        },
    )
    tick = champion_sensor.evaluate_tick(context)
    return list(tick.run_requests or []), tick.skip_message


def test_first_signals_are_asked_for_as_soon_as_there_is_a_champion(
    place: Place, retrained: dg.ExecuteInProcessResult, request: pytest.FixtureRequest
) -> None:
    assert retrained.success
    (asked,), _ = _tick(place)
    assert asked.tags["dagster/asset_partition_range_start"] == "KRW-BTC"
    assert asked.tags["dagster/asset_partition_range_end"] == "KRW-GONE"
    (again,), _ = _tick(place)
    assert again.run_key == asked.run_key
    request.getfixturevalue("signalled")
    assert _tick(place) == ([], "every champion has signals, of the profile that is traded")


def test_signals_of_the_good_market_stand_although_the_other_fails_the_run(
    place: Place, signalled: dg.ExecuteInProcessResult
) -> None:
    assert not signalled.success
    rows = place.signal_rows()
    good, bad = rows["KRW-BTC", "scalp"], rows["KRW-GONE", "scalp"]
    assert good.p_sell + good.p_hold + good.p_buy == pytest.approx(1, abs=1e-9)
    assert good.run_id == signalled.run_id
    assert (bad.decision, bad.p_buy) == ("HOLD", None)
    assert bad.reason
    assert place.materialized("signals") == {"KRW-BTC"}


def test_a_market_is_evaluated_and_its_predictions_kept(
    place: Place, evaluated: dg.ExecuteInProcessResult
) -> None:
    result = evaluated
    assert result.success
    assert place.materialized("scalp/walk_forward") == {"KRW-BTC"}
    assert place.materialized("swing/shadow") == {"KRW-BTC"}
    store = PredictionStore(place.world.walk_forward, place.world.name)
    for profile in ("scalp", "swing"):
        made = store.load("KRW-BTC", profile, "lightgbm")
        assert made is not None
        (shown,) = [
            m.metadata
            for m in result.asset_materializations_for_node(f"{profile}__walk_forward")
            if m.asset_key == dg.AssetKey([profile, "walk_forward"])
        ]
        assert shown["dagster/row_count"].value == len(made) > 500
        assert shown["cadence"].value == made.record["cadence"]
        assert "the bot retrains every 24 hours" in str(shown["cadence"].value)
        assert shown["folds"].value == shown["folds_fitted"].value == len(made.folds) > 1
        assert 0.5 < float(str(shown["log_loss_over_prior"].value)) < 1.5
        assert {"log_loss_over_volatility", "direction_auc", "ece", "buy_and_hold_return"} <= set(
            shown
        )
        verdict = latest_verdict(place.engine, VerdictKind.EVALUATION, "KRW-BTC", profile)
        assert verdict is not None
        assert verdict.run_id == result.run_id
    checks = {
        f"{c.asset_key.to_user_string()}: {c.check_name}"
        for c in result.get_asset_check_evaluations()
        if c.passed and c.partition == "KRW-BTC"
    }
    assert "scalp/walk_forward: split_audit" in checks


def test_models_go_on_being_scored_on_the_candles_that_came_after_them(
    tmp_path: Path, synthetic_markets: SyntheticMarkets
) -> None:
    clock = SameDayClock()
    server = ExchangeServer(create_app(synthetic_markets, clock, limited=False))
    scalp: dict[str, Any] = {"markets": ("KRW-BTC",), "profiles": ("scalp",)}
    inputs = (
        candles_key(5),
        features_key(5),
        *(profile_key("scalp", name) for name in ("sequences", "labels")),
    )
    shadow = profile_key("scalp", "shadow")
    for place in _place(tmp_path, server.start(), clock, **scalp):
        assert place.retrain("KRW-BTC").success
        store = ShadowStore(place.world.shadow, place.world.name)
        assert place.evaluate("KRW-BTC", shadow).success
        nothing_yet = store.load("KRW-BTC", "scalp")
        assert nothing_yet is not None
        assert len(nothing_yet) == 0
        clock.ahead = timedelta(hours=3)
        assert place.retrain("KRW-BTC", *inputs).success
        result = place.evaluate("KRW-BTC", shadow)
        assert result.success
        rows = store.load("KRW-BTC", "scalp")
        assert rows is not None
        (model,) = ChallengerStore(place.world.models, place.world.name).all("KRW-BTC", "scalp")
        # It is 15:00: the candle of 14:25 is the last with an outcome, 30 minutes after its close.
        first, last = rows.open_time.min(), rows.open_time.max()
        assert np.datetime64(model.made_at.replace(tzinfo=None)) <= first
        assert last == np.datetime64("2026-11-20T14:25")
        assert set(rows.version) == {model.version}
        assert 20 < len(rows) < 30
        (shown,) = result.asset_materializations_for_node("scalp__shadow")
        assert shown.metadata["dagster/row_count"].value == len(rows)
        assert model.version in str(shown.metadata["live"].value)
    server.stop()


def test_a_market_without_candles_fails_its_own_evaluation_only(
    place: Place, gone: dg.ExecuteInProcessResult
) -> None:
    assert not gone.success
    result = place.evaluate("KRW-GONE")
    assert not result.success
    assert latest_verdict(place.engine, VerdictKind.EVALUATION, "KRW-GONE", "scalp") is None


@pytest.fixture(scope="module")
def concluded(place: Place, request: pytest.FixtureRequest) -> dg.ExecuteInProcessResult:
    """The conclusions of a market that was walked forward and one that could not be."""
    for name in ("retrained", "gone", "evaluated"):
        request.getfixturevalue(name)
    return place.conclude()


def test_a_profile_that_is_being_evaluated_for_the_first_time_is_not_chosen_yet(
    place: Place, evaluated: dg.ExecuteInProcessResult
) -> None:
    assert evaluated.success
    result = place.conclude(PROFILE_CHOICE, tags={BEING_EVALUATED: "swing"})
    assert result.success
    choice = latest_choice(place.engine)
    assert choice is not None
    assert [n.profile for n in choice.numbers] == ["scalp"]
    assert choice.detail.endswith("swing: not evaluated yet")


def test_the_profile_is_chosen_and_told_whatever_became_of_the_other_market(
    place: Place, concluded: dg.ExecuteInProcessResult
) -> None:
    choice = latest_choice(place.engine)
    assert choice is not None
    assert choice.run_id == concluded.run_id
    assert [n.profile for n in choice.numbers] == ["scalp", "swing"]
    (shown,) = concluded.asset_materializations_for_node("profile_choice")
    assert shown.metadata["verdict"].value == choice.detail
    assert shown.metadata["profile"].value == (choice.profile or "none")
    assert shown.metadata["scalp_trades"].value == choice.numbers[0].trades
    table = str(shown.metadata["table"].value)
    assert "SYNTHETIC prices, PROFILE=auto" in table
    assert "| scalp |" in table
    checks = {c.check_name: c for c in concluded.get_asset_check_evaluations()}
    missing = checks["every_market_evaluated"]
    assert (missing.passed, missing.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "KRW-GONE: not walked forward yet" in str(missing.description)


def test_a_forecast_is_stored_where_the_live_checks_read_it(
    place: Place, concluded: dg.ExecuteInProcessResult
) -> None:
    (shown,) = concluded.asset_materializations_for_node("forecast")
    for profile in ("scalp", "swing"):
        stored = latest_forecast(place.engine, profile)
        assert stored is not None
        assert set(stored.markets) == {"KRW-BTC", ALL_MARKETS}
        for rule in ("own_rule", "p_buy_40", "p_buy_50", "p_buy_60"):
            assert f"{profile}_{rule}_trades_a_day" in shown.metadata
        own = shown.metadata[f"{profile}_own_rule_signals_a_day"].value
        assert own == stored.whole.rate.signals_a_day
        assert "windows of 21 h" in str(shown.metadata[profile].value)
    checks = {c.check_name: c for c in concluded.get_asset_check_evaluations()}
    assert checks["every_profile_forecast"].passed


def test_models_recipes_and_profiles_are_compared_and_told_to_mlflow(
    place: Place, concluded: dg.ExecuteInProcessResult
) -> None:
    (shown,) = concluded.asset_materializations_for_node("model_comparison")
    verdict = str(shown.metadata["verdict"].value)
    for profile in ("scalp", "swing"):
        assert f"{profile}, gate window: log loss against challenger" in verdict
        for name in ("logistic", "ensemble", "prior", "volatility"):
            assert f"{profile}_gate_{name}_log_loss_gain" in shown.metadata
    assert "swing against scalp, net of a trade in the same weeks" in verdict
    assert "KRW-GONE swing: no challenger was judged yet" in str(shown.metadata["table"].value)
    client = client_of(place.world)
    runs = client.search_runs([experiment_of(client, place.world, "sandbox")])
    candidates = {r.info.run_name for r in runs if r.data.tags.get("role") == "candidate"}
    assert {"KRW-BTC.scalp logistic", "KRW-BTC.swing prior"} <= candidates


def test_what_profiles_would_have_earned_is_shown_and_in_mlflow(
    place: Place, concluded: dg.ExecuteInProcessResult
) -> None:
    assert concluded.success
    (shown,) = concluded.asset_materializations_for_node("report")
    client = client_of(place.world)
    runs = client.search_runs([experiment_of(client, place.world, "sandbox")])
    reports = {str(r.data.tags["profile"]): r for r in runs if r.data.tags.get("role") == "report"}
    assert set(reports) == {"scalp", "swing"}
    for profile, run in reports.items():
        text = str(shown.metadata[profile].value)
        assert "SYNTHETIC prices" in text
        assert "same signals at the wrong time" in text
        plot = str(shown.metadata[f"{profile}_equity_plot"].value)
        assert base64.b64decode(plot.split("base64,")[1].rstrip(")")).startswith(b"\x89PNG")
        assert run.info.status == "FINISHED"
        assert f"{profile}_delayed_trades" not in shown.metadata  # in the table and in MLflow
        assert "delayed_trades" in run.data.metrics
        assert run.data.metrics["trades"] == shown.metadata[f"{profile}_trades"].value
        names = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"report.md", "report.json", "equity.png", "reliability.png"} <= names
    again = place.conclude(dg.AssetKey("report"))
    assert again.success
    repeated = client.search_runs([experiment_of(client, place.world, "sandbox")])
    assert len(repeated) == len(runs)


def test_a_failed_blocking_check_stops_training_and_says_so_in_the_database(
    tmp_path: Path, that_days_exchange: RunningExchange
) -> None:
    # At 5 % a side no trade ends above its costs: every label is HOLD.
    for place in _place(
        tmp_path,
        that_days_exchange,
        markets=("KRW-ETH",),
        profiles=("scalp",),
        fee_rate=Decimal("0.05"),
    ):
        result = place.retrain("KRW-ETH")
        assert not result.success
        (failed,) = [c for c in result.get_asset_check_evaluations() if not c.passed]
        assert (failed.check_name, failed.partition) == ("label_shares", "KRW-ETH")
        assert failed.description is not None
        assert "HOLD 100.0%" in failed.description
        assert place.materialized("scalp/labels") == {"KRW-ETH"}
        started = {e.step_key for e in result.all_events if e.is_step_start}
        assert "scalp__challenger" not in started
        verdict = place.may_train("KRW-ETH", "scalp")
        assert verdict is not None
        assert not verdict.passed
        assert verdict.reasons[0].startswith("label_shares: ")
