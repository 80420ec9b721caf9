"""Who is compared on a challenger's gate rows, and the MLflow runs that show them."""

import json
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from trading_assets.clock import SteppedClock
from trading_assets.models import comparison_runs, mlflow_store
from trading_assets.models.candidates import Contest, contest
from trading_assets.models.comparison_runs import CandidateRun, log_comparison
from trading_assets.models.mlflow_store import client_of, experiment_of, retraining_day
from trading_assets.models.model import HOLD
from trading_assets.models.retrain import Workshop, judge_challenger, make_challenger
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

MARKET, SWING = "KRW-BTC", "swing"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Two days of retraining: the first promoted, the second refused (too good to be true)."""
    shop = workshop(tmp_path_factory.mktemp("candidates"))

    def work() -> None:
        for day, strength in enumerate((0.2, 4.0)):
            today = replace(shop, clock=SteppedClock(NOW + day * DAY))
            make_challenger(
                today, dataset(strength=strength), small_profile(), REFERENCE, max_rounds=ROUNDS
            )
            judge_challenger(today, MARKET, small_profile())

    assert run_in_child(work) == 0
    return shop


def contest_of(shop: Workshop, day: int) -> Contest:
    challenger = shop.challengers().all(MARKET, SWING)[day]
    before = shop.champions().before(MARKET, SWING, challenger.version)
    return contest(challenger, before)


def test_everybody_predicts_the_challengers_gate_rows(days: Workshop) -> None:
    first = contest_of(days, 0)
    rows = days.challengers().all(MARKET, SWING)[0].trained().gate_rows
    assert [c.name for c in first.candidates] == [
        "challenger",
        "ensemble",
        "logistic",
        "volatility",
        "prior",
    ]
    np.testing.assert_array_equal(first.candidates[0].p, rows.p)
    np.testing.assert_array_equal(first.losses(first.candidates[0]), rows.loss_model)
    np.testing.assert_allclose(first.losses(first.candidates[3]), rows.loss_volatility)
    np.testing.assert_allclose(first.losses(first.candidates[4]), rows.loss_prior)
    assert first.left_out == {"champion": "no champion served before it"}


def test_expected_values_follow_from_the_probabilities(days: Workshop) -> None:
    first = contest_of(days, 0)
    returns = days.challengers().all(MARKET, SWING)[0].trained().twin.returns
    prior = first.candidates[-1]
    expected = sum(p * r for p, r in zip(prior.p[0], returns.long, strict=True))
    assert prior.ev_long[0] == pytest.approx(expected)
    assert np.unique(prior.ev_long).size == 1  # the prior never changes its mind


def test_the_champion_of_that_day_takes_part_also_when_it_was_replaced(days: Workshop) -> None:
    second = contest_of(days, 1)
    champion = second.candidates[1]
    assert (champion.name, champion.recipe) == ("champion", "lightgbm")
    twin = days.challengers().all(MARKET, SWING)[0].trained().twin
    gate_x = days.challengers().all(MARKET, SWING)[1].gate_x()
    np.testing.assert_array_equal(champion.p, twin.probabilities(gate_x))
    assert second.left_out == {}


def test_who_served_before_the_first_is_nobody(days: Workshop) -> None:
    champion = days.champions().current_version(MARKET, SWING)
    assert champion is not None
    assert days.champions().before(MARKET, SWING, champion) is None
    later = days.champions().before(MARKET, SWING, champion + "~")
    assert later is not None
    assert later.version == champion
    assert days.champions().before("KRW-NONE", SWING, champion) is None


def test_a_champion_that_has_seen_gate_rows_is_left_out(days: Workshop) -> None:
    challenger = days.challengers().all(MARKET, SWING)[1]
    champion = days.champions().current(MARKET, SWING)
    assert champion is not None
    late = replace(champion, record={**champion.record, "gate_from": "2026-01-01T00:00:00"})
    assert "has seen some of the gate rows" in contest(challenger, late).left_out["champion"]
    label = {**champion.record["label"], "costs": {}}
    other = replace(champion, record={**champion.record, "label": label})
    assert "predicts another label" in contest(challenger, other).left_out["champion"]


def test_the_same_numbers_are_measured_of_everybody(days: Workshop) -> None:
    second = contest_of(days, 1)
    # Precision is not defined for a class that a candidate never predicts; the others always are.
    names = [set(second.evaluation(c, seed=1).metrics()) for c in second.candidates]
    common = {"log_loss", "skill", "ratio_volatility", "auc_direction", "ece", "accuracy", "n"}
    assert common <= set.intersection(*names)
    prior = second.evaluation(second.candidates[-1], seed=1)
    assert prior.ratio_prior == pytest.approx(1)
    assert np.isfinite(prior.log_loss)
    assert (second.y == HOLD).mean() == pytest.approx(prior.label_shares[1])


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 3, 1, 14, 59, 59, tzinfo=UTC), "2026-03-01"),
        (datetime(2026, 3, 1, 15, 0, tzinfo=UTC), "2026-03-02"),  # midnight in Seoul
    ],
)
def test_a_retraining_day_begins_at_midnight_in_seoul(moment: datetime, day: str) -> None:
    assert retraining_day(moment) == day


# --- MLflow -----------------------------------------------------------------------------------


def runs_of(shop: Workshop, day: int = 1) -> list[CandidateRun]:
    second = contest_of(shop, day)
    return [
        CandidateRun(
            market=MARKET,
            profile=SWING,
            candidate=c.name,
            version=second.version,
            made_at=second.made_at,
            metrics={"log_loss": 1.0 + place, "net_bp": 5.0},
            tags={"verdict_net_bp": "not more than noise"},
        )
        for place, c in enumerate(second.candidates)
    ]


def told(shop: Workshop, work: Any) -> list[dict[str, Any]]:
    """The day's children after `work`, and the parent's files, asked in a child process."""
    answer = shop.world.data / "told.json"

    def look() -> None:
        work()
        client = client_of(shop.world)
        experiment = experiment_of(client, shop.world, "sandbox")
        every = client.search_runs([experiment])
        day = retraining_day(NOW + DAY)
        (parent,) = [
            r
            for r in every
            if r.data.tags["role"] == "retraining_day" and r.data.tags["retraining_day"] == day
        ]
        children = [r for r in every if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        answer.write_text(
            json.dumps(
                [
                    {
                        "name": r.info.run_name,
                        "status": r.info.status,
                        "metrics": r.data.metrics,
                        "tags": r.data.tags,
                        "parent_files": [f.path for f in client.list_artifacts(parent.info.run_id)],
                    }
                    for r in children
                ]
            )
        )

    assert run_in_child(look) == 0
    return list(json.loads(answer.read_text()))


def log(shop: Workshop) -> None:
    day = retraining_day(NOW + DAY)
    log_comparison(shop.world, "sandbox", runs_of(shop), {day: {"rows": []}})


def test_each_candidate_is_one_run_of_the_day_with_the_same_metric_names(days: Workshop) -> None:
    def twice() -> None:
        log(days)
        log(days)

    children = told(days, twice)
    assert sorted(c["name"] for c in children) == [
        "KRW-BTC.swing champion",
        "KRW-BTC.swing ensemble",
        "KRW-BTC.swing lightgbm",  # the challenger's own, from its registration
        "KRW-BTC.swing logistic",
        "KRW-BTC.swing prior",
        "KRW-BTC.swing volatility",
    ]
    assert {c["status"] for c in children} == {"FINISHED"}
    assert all({"log_loss", "net_bp"} <= set(c["metrics"]) for c in children)
    by_candidate = {c["tags"]["candidate"]: c for c in children}
    assert by_candidate["challenger"]["tags"]["verdict"] == "refused"
    assert by_candidate["logistic"]["tags"]["verdict_net_bp"] == "not more than noise"
    assert children[0]["parent_files"] == ["model_comparison.json"]


@pytest.mark.parametrize("after", ["created", "logged"])
def test_a_kill_leaves_nothing_that_the_next_comparison_does_not_finish(
    days: Workshop, after: str
) -> None:
    """The run of a candidate was created (or its numbers logged) when the power went."""
    real = comparison_runs._log

    def dies(client: Any, run_id: str, run: CandidateRun) -> None:
        if run.candidate == "prior" and run.version.startswith("2026"):
            if after == "logged":
                real(client, run_id, run)
                client.update_run(run_id, status="RUNNING")
            killed_at("now")("now")
        real(client, run_id, run)

    def killed() -> None:
        comparison_runs._log = dies
        log(days)

    assert run_in_child(killed) == signal.SIGKILL

    # A retraining that heals meanwhile takes nothing of it for its own.
    def heal_and_log() -> None:
        from trading_assets.models.registry import close_orphans

        assert close_orphans(days.world, "sandbox", MARKET, SWING) == 0
        log(days)

    children = told(days, heal_and_log)
    assert len(children) == 6
    assert {c["status"] for c in children} == {"FINISHED"}


def test_a_day_that_a_kill_left_open_is_finished_by_the_next(days: Workshop) -> None:
    def reopen_and_log() -> None:
        client = client_of(days.world)
        experiment = experiment_of(client, days.world, "sandbox")
        day = retraining_day(NOW + DAY)
        parent = mlflow_store.day_run(client, days.world, experiment, day)
        client.update_run(parent, status="RUNNING")
        assert mlflow_store.day_run(client, days.world, experiment, day) == parent
        assert client.get_run(parent).info.status == "FINISHED"

    assert len(told(days, reopen_and_log)) == 6


def test_a_challenger_that_mlflow_does_not_know_is_refused(days: Workshop) -> None:
    unknown = replace(runs_of(days)[0], version="20300101T000000Z-unknown")

    def work() -> None:
        with pytest.raises(LookupError, match="retrain_id=20300101T000000Z-unknown"):
            log_comparison(days.world, "sandbox", [unknown], {})

    assert run_in_child(work) == 0
