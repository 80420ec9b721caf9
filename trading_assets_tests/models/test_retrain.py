"""Making and judging challengers, and that a SIGKILL at any step heals on the next run."""

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from trading_assets.clock import SteppedClock
from trading_assets.database import alerts, read, verdicts
from trading_assets.errors import CorruptStore, NotEnoughHistory, NotReadyYet, WrongWorld
from trading_assets.models.champions import ChampionStore
from trading_assets.models.retrain import (
    Workshop,
    heal,
    judge_challenger,
    make_challenger,
    refuse_untrained,
)
from trading_assets.models.staleness import confirmed_at
from trading_assets_tests.models.gate_world import (
    NOW,
    REFERENCE,
    ROUNDS,
    dataset,
    killed_at,
    run_in_child,
    small_profile,
    workshop,
)

MARKET = "KRW-BTC"
PROFILE = small_profile()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    made = workshop(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def world_with_champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    made = workshop(folder)
    assert in_child(made) == 0
    made.engine.dispose()
    return folder


@pytest.fixture
def serving(tmp_path: Path, world_with_champion: Path) -> Iterator[Workshop]:
    """A world of its own in which a champion serves already."""
    shutil.copytree(world_with_champion, tmp_path, dirs_exist_ok=True)
    made = workshop(tmp_path)
    yield made
    made.engine.dispose()


def retrain(shop: Workshop, **data: Any) -> tuple[str, bool]:
    """One whole retraining: (version, promoted)."""
    made = make_challenger(
        shop, dataset(**{"strength": 0.2} | data), PROFILE, REFERENCE, max_rounds=ROUNDS
    )
    judged = judge_challenger(shop, made.market, PROFILE)
    assert judged.challenger.version == made.version
    return made.version, judged.verdict.promoted


def on_the_next_day(shop: Workshop) -> Workshop:
    return replace(shop, clock=SteppedClock(shop.clock.now() + timedelta(days=1)))


def verdict_rows(shop: Workshop) -> list[tuple[str | None, bool]]:
    with read(shop.engine) as connection:
        query = sa.select(verdicts.c.model_version, verdicts.c.passed).order_by(verdicts.c.id)
        return [(version, passed) for version, passed in connection.execute(query)]


def mlflow_state(shop: Workshop) -> dict[str, Any]:
    """Aliases, runs and versions as MLflow tells them, asked in a child (see gate_world)."""
    answer = shop.world.data / "mlflow_state.json"
    assert run_in_child(lambda: answer.write_text(json.dumps(_mlflow_state(shop)))) == 0
    return dict(json.loads(answer.read_text()))


def state_after(shop: Workshop, **data: Any) -> dict[str, Any]:
    """One whole retraining that nothing disturbs, then MLflow's state, in one child."""
    answer = shop.world.data / "mlflow_state.json"
    quiet = workshop(shop.settings.root, clock=shop.clock)

    def work() -> None:
        retrain(quiet, **data)
        answer.write_text(json.dumps(_mlflow_state(quiet)))

    assert run_in_child(work) == 0
    return dict(json.loads(answer.read_text()))


def _mlflow_state(shop: Workshop) -> dict[str, Any]:
    from mlflow import MlflowClient

    from trading_assets.models.registry import aliases

    client = MlflowClient(shop.world.mlflow_uri, shop.world.mlflow_uri)
    experiment = client.get_experiment_by_name("sandbox")
    runs = [] if experiment is None else client.search_runs([experiment.experiment_id])
    days = [run for run in runs if run.data.tags["role"] == "retraining_day"]
    assert len(days) == len({run.data.tags["retraining_day"] for run in days})
    assert all(run.info.status == "FINISHED" for run in days)
    runs = [run for run in runs if run not in days]
    return {
        "aliases": aliases(shop.world, f"{MARKET}.swing"),
        "runs": sorted((r.info.status, r.data.tags["verdict"]) for r in runs),
        "versions": sorted(
            (v.tags["retrain_id"], v.tags["verdict"])
            for v in client.search_model_versions(f"name = '{MARKET}.swing'")
        ),
    }


def in_child(shop: Workshop, **data: Any) -> int:
    """A whole retraining in a process of its own, as every Dagster run is."""
    return run_in_child(lambda: retrain(shop, **data))


def test_the_first_sound_challenger_becomes_champion_everywhere(shop: Workshop) -> None:
    assert in_child(shop) == 0
    champion = ChampionStore(shop.world.champions, shop.world.name).current(MARKET, "swing")
    assert champion is not None
    assert verdict_rows(shop) == [(champion.version, True)]
    assert confirmed_at(shop.engine, MARKET, "swing") == NOW
    assert champion.trained_at == NOW
    assert champion.reference == REFERENCE
    assert mlflow_state(shop) == {
        "aliases": {"challenger": champion.version, "champion": champion.version},
        "runs": [["FINISHED", "promoted"]],
        "versions": [[champion.version, "promoted"]],
    }


def test_a_refused_challenger_stays_visible_and_confirms_the_champion(serving: Workshop) -> None:
    champion = serving.champions().current_version(MARKET, "swing")
    next_day = on_the_next_day(serving)
    assert in_child(next_day, strength=4.0) == 0  # too good: a leak is suspected
    assert serving.champions().current_version(MARKET, "swing") == champion
    (first, promoted), (refused, second_promoted) = verdict_rows(serving)
    assert (first, promoted, second_promoted) == (champion, True, False)
    assert confirmed_at(serving.engine, MARKET, "swing") == NOW + timedelta(days=1)
    state = mlflow_state(serving)
    assert state["aliases"] == {"challenger": refused, "champion": champion}
    assert [refused, "refused"] in state["versions"]
    with read(serving.engine) as connection:
        (message,) = connection.execute(sa.select(alerts.c.message)).scalars()
    assert "not_too_good: LEAK suspected" in message


def test_a_second_sound_challenger_is_compared_and_replaces_the_first(serving: Workshop) -> None:
    assert in_child(on_the_next_day(serving), seed=2) == 0
    (first, _), (second, promoted) = verdict_rows(serving)
    assert promoted
    assert serving.champions().current_version(MARKET, "swing") == second
    judged = serving.challengers().judgement(serving.challengers().all(MARKET, "swing")[-1])
    paired = judged.verdict.gates[-1]
    assert (paired.name, paired.values["rows"]) == ("paired_log_loss", 360)
    assert first != second


def test_another_market_stores_its_differences_for_the_pool(shop: Workshop) -> None:
    def two_markets_twice() -> None:
        for day in (shop, on_the_next_day(shop)):
            for market in (MARKET, "KRW-ETH"):
                retrain(day, market=market)

    assert run_in_child(two_markets_twice) == 0
    judged = shop.challengers().judgement(shop.challengers().all("KRW-ETH", "swing")[-1])
    assert judged.verdict.gates[-1].values["markets"] == "KRW-BTC,KRW-ETH"
    # The same data and seed give the same twin: no row differs.
    assert judged.verdict.gates[-1].values["mean"] == 0


def test_a_champion_of_another_label_is_no_comparison(serving: Workshop) -> None:
    (champion,) = serving.champions().folder(MARKET, "swing").glob("2*/champion.json")
    record = json.loads(champion.read_text())
    record["label"]["costs"]["fee_rate"] = "0.0025"
    champion.write_text(json.dumps(record))
    assert in_child(on_the_next_day(serving)) == 0
    newest = serving.challengers().all(MARKET, "swing")[-1]
    reasons = serving.challengers().judgement(newest).verdict.reasons
    assert "predicts another label, absolute gates only" in reasons[0]


def test_judging_again_changes_nothing(shop: Workshop) -> None:
    def judge_twice() -> None:
        retrain(shop)
        judge_challenger(on_the_next_day(shop), MARKET, PROFILE)

    assert run_in_child(judge_twice) == 0
    assert len(verdict_rows(shop)) == 1
    assert confirmed_at(shop.engine, MARKET, "swing") == NOW


def test_without_a_challenger_there_is_nothing_to_judge(shop: Workshop) -> None:
    with pytest.raises(NotReadyYet, match="KRW-BTC swing has no challenger"):
        judge_challenger(shop, MARKET, PROFILE)


def test_too_little_history_is_a_verdict_while_nothing_serves(shop: Workshop) -> None:
    with pytest.raises(NotEnoughHistory, match=r"not enough history, 29\.0 days"):
        make_challenger(shop, dataset(days=29), PROFILE, REFERENCE)
    assert verdict_rows(shop) == [(None, False)]
    assert confirmed_at(shop.engine, MARKET, "swing") == NOW


def test_too_little_history_confirms_no_champion(serving: Workshop) -> None:
    assert not refuse_untrained(on_the_next_day(serving), MARKET, "swing", "29 days")
    assert confirmed_at(serving.engine, MARKET, "swing") == NOW


def test_the_same_input_makes_the_same_model(shop: Workshop) -> None:
    first = make_and_digest(shop)
    assert make_and_digest(on_the_next_day(shop)) == first


def make_and_digest(shop: Workshop) -> str:
    assert run_in_child(lambda: retrain(shop)) == 0
    return shop.challengers().all(MARKET, "swing")[-1].version.split("-")[1]


STEPS = (
    "train",
    "store_challenger",
    "register_challenger",
    "mlflow:before_run",
    "mlflow:run_created",
    "mlflow:numbers_logged",
    "mlflow:model_logged",
    "mlflow:version_created",
    "mlflow:run_finished",
    "judge",
    "write_verdict",
    "install_champion",
    "swap_pointer",
    "prune_champions",
    "register_verdict",
    "verdict_row",
    "mark_applied",
)


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_before_any_step_heals_on_the_next_run(serving: Workshop, step: str) -> None:
    """Before the kill a champion serves; it or its successor does at every moment after."""
    first = serving.champions().current_version(MARKET, "swing")
    killed = replace(on_the_next_day(serving), on_step=killed_at(step))
    assert in_child(killed, seed=2) == signal.SIGKILL

    between = serving.champions().current(MARKET, "swing")
    assert between is not None
    assert (between.version != first) is (STEPS.index(step) > STEPS.index("swap_pointer"))
    decided = STEPS.index(step) > STEPS.index("write_verdict")

    state = state_after(on_the_next_day(killed), seed=3)
    newest = serving.champions().current_version(MARKET, "swing")
    rows = verdict_rows(serving)
    assert rows[0] == (first, True)
    assert rows[-1] == (newest, True)
    # The killed one reached its verdict row exactly when its decision stood.
    assert len(rows) == (3 if decided else 2)
    assert state["aliases"] == {"challenger": newest, "champion": newest}
    assert not [status for status, _ in state["runs"] if status == "RUNNING"]
    assert len(state["versions"]) == len({version for version, _ in state["versions"]})
    promoted = [version for version, verdict in state["versions"] if verdict == "promoted"]
    assert promoted == [version for version, _ in rows]
    for store in (serving.world.champions, serving.world.models):
        assert list((store / f"{MARKET}.swing").glob(".*")) == []


def test_healing_alone_carries_a_decision_out(shop: Workshop) -> None:
    killed = replace(shop, on_step=killed_at("swap_pointer"))
    assert in_child(killed) == signal.SIGKILL
    assert shop.champions().current_version(MARKET, "swing") is None
    assert verdict_rows(shop) == []
    assert run_in_child(lambda: heal(on_the_next_day(shop), MARKET, "swing")) == 0
    version = shop.champions().current_version(MARKET, "swing")
    assert verdict_rows(shop) == [(version, True)]
    # The decision keeps its own moment, however late it is carried out.
    assert confirmed_at(shop.engine, MARKET, "swing") == NOW


def test_a_kill_in_the_middle_of_training_leaves_nothing(shop: Workshop) -> None:
    def die_after_two_fits() -> None:
        def on_fit(progress: Any) -> None:
            if progress.done == 2:
                killed_at("now")("now")

        make_challenger(shop, dataset(), PROFILE, REFERENCE, on_fit=on_fit, max_rounds=ROUNDS)

    assert run_in_child(die_after_two_fits) == signal.SIGKILL
    assert shop.challengers().all(MARKET, "swing") == ()
    assert in_child(shop) == 0
    assert len(verdict_rows(shop)) == 1


def test_a_version_that_was_not_installed_cannot_become_current(tmp_path: Path) -> None:
    store = ChampionStore(tmp_path, "sandbox-test")
    (tmp_path / "KRW-BTC.swing").mkdir()
    with pytest.raises(CorruptStore, match="not an installed version"):
        store.point_to(MARKET, "swing", "v1")
    assert store.current(MARKET, "swing") is None


def test_champions_of_another_world_are_refused(serving: Workshop, tmp_path: Path) -> None:
    with pytest.raises(WrongWorld, match="belongs to the world sandbox-test, not to live"):
        ChampionStore(serving.world.champions, "live")
    # Folders copied by hand into another world's store are refused one by one.
    foreign = ChampionStore(tmp_path / "live", "live")
    (serving.world.champions / f"{MARKET}.swing").rename(tmp_path / "live" / f"{MARKET}.swing")
    with pytest.raises(WrongWorld, match="was made in sandbox-test, this is live"):
        foreign.current(MARKET, "swing")


def test_a_reader_sees_a_new_champion_and_reads_an_old_one_once(serving: Workshop) -> None:
    reader = ChampionStore(serving.world.champions, serving.world.name)
    first = reader.current(MARKET, "swing")
    assert reader.current(MARKET, "swing") is first
    assert in_child(on_the_next_day(serving)) == 0
    second = reader.current(MARKET, "swing")
    assert first is not None
    assert second is not None
    assert first.version < second.version


def test_the_champion_and_the_last_five_are_kept(serving: Workshop) -> None:
    source = serving.challengers().all(MARKET, "swing")[0].folder
    store = serving.champions()
    versions = [f"20270101T00000{i}Z-0" for i in range(8)]
    for version in versions:
        store.promote(MARKET, "swing", version, source)
    kept = sorted(p.name for p in store.folder(MARKET, "swing").iterdir() if p.is_dir())
    assert kept == versions[2:]


def test_a_champion_answers_as_the_model_that_was_trained(serving: Workshop) -> None:
    champion = serving.champions().current(MARKET, "swing")
    assert champion is not None
    challenger = serving.challengers().all(MARKET, "swing")[0]
    x = challenger.gate_x()
    trained = challenger.trained()
    np.testing.assert_array_equal(champion.served.probabilities(x), trained.served.probabilities(x))
    np.testing.assert_array_equal(champion.twin().probabilities(x), trained.gate_rows.p)
