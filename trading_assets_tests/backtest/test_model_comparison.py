"""The comparison from the stores of a world to its table and MLflow's runs, without Dagster."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from trading_assets.backtest.comparison_table import markdown
from trading_assets.backtest.model_comparison import compare_models
from trading_assets.candles.frame import candle_frame
from trading_assets.candles.store import CandleStore
from trading_assets.clock import SteppedClock
from trading_assets.exchange.model import Interval
from trading_assets.models.mlflow_store import client_of, experiment_of
from trading_assets.models.retrain import Workshop, judge_challenger, make_challenger
from trading_assets.models.shadow import ShadowStore, meaning_of, score
from trading_assets_tests.models.gate_world import (
    NOW,
    REFERENCE,
    ROUNDS,
    dataset,
    run_in_child,
    small_profile,
    workshop,
)

BTC, ETH, SWING = "KRW-BTC", "KRW-ETH", "swing"
DAY = timedelta(days=1)


def candles(shop: Workshop) -> CandleStore:
    """A random walk of hourly candles under the rows of `dataset`, and five days more."""
    store = CandleStore(shop.world.candles, shop.world.name)
    n = 100 * 24
    first = NOW.replace(minute=0, second=0) - 95 * DAY
    times = int(first.timestamp()) * 1_000_000 + np.arange(n, dtype=np.int64) * 3_600_000_000
    for market, seed in ((BTC, 1), (ETH, 2)):
        rng = np.random.default_rng(seed)
        close = np.round(1e5 * np.exp(np.cumsum(rng.standard_normal(n) * 0.005))) * 1000
        before = np.concatenate([close[:1], close[:-1]])
        frame = candle_frame(
            times,
            open=before,
            high=np.maximum(before, close) + 1000,
            low=np.minimum(before, close) - 1000,
            close=close,
            volume=np.ones(n),
        )
        store.merge(market, Interval.M60, frame, covered=(first, first + timedelta(hours=n)))
    return store


def two_days(shop: Workshop) -> None:
    """Both markets retrained on two days; BTC's second challenger is refused (too good)."""
    for day in range(2):
        today = replace(shop, clock=SteppedClock(NOW + day * DAY))
        for market in (BTC, ETH):
            strength = 4.0 if day and market == BTC else 0.2
            data = dataset(strength=strength, market=market)
            make_challenger(today, data, small_profile(), REFERENCE, max_rounds=ROUNDS)
            judge_challenger(today, market, small_profile())


def live_rows(shop: Workshop) -> None:
    """Four days of matured labels after the second challenger."""
    store = ShadowStore(shop.world.shadow, shop.world.name)
    shift = np.timedelta64(4 * 24 + 13, "h")
    for market in (BTC, ETH):
        judged = [shop.challengers().judgement(c) for c in shop.challengers().all(market, SWING)]
        data = dataset(strength=0.2, market=market)
        late = replace(data, open_time=data.open_time + shift, end_time=data.end_time + shift)
        meaning = meaning_of(judged[0].challenger.record["label"])
        store.save(score(judged, late.take(np.arange(1200, 1440)), None, meaning))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the comparison says, before and after the live rows, and MLflow's children of a day."""
    shop = workshop(tmp_path_factory.mktemp("comparison"))
    shop = replace(shop, settings=shop.settings.model_copy(update={"markets": (BTC, ETH)}))
    answer = shop.world.data / "told.json"

    def work() -> None:
        store = candles(shop)
        two_days(shop)
        first = compare_models(shop, store)
        live_rows(shop)
        found = compare_models(shop, store)
        again = compare_models(shop, store)
        client = client_of(shop.world)
        runs = client.search_runs([experiment_of(client, shop.world, "sandbox")])
        answer.write_text(
            json.dumps(
                {
                    "before": sorted({str(r.stage) for r in first.rows}),
                    "rows": [
                        [str(r.stage), r.name, r.against, r.markets, r.rows] for r in found.rows
                    ],
                    "by_market": [[r.name, r.markets] for r in found.by_market],
                    "left_out": found.left_out,
                    "same": markdown(found, "") == markdown(again, ""),
                    "runs": [
                        {
                            "name": r.info.run_name,
                            "status": r.info.status,
                            "metrics": r.data.metrics,
                            "tags": r.data.tags,
                        }
                        for r in runs
                    ],
                }
            )
        )

    assert run_in_child(work) == 0
    return dict(json.loads(answer.read_text()))


def test_everybody_is_compared_with_the_challenger_on_the_same_rows(told: dict[str, Any]) -> None:
    gate = [row for row in told["rows"] if row[0] == "gate window"]
    assert [(name, against) for _, name, against, _, _ in gate] == [
        ("challenger", None),
        ("champion", "challenger"),
        ("ensemble", "challenger"),
        ("logistic", "challenger"),
        ("volatility", "challenger"),
        ("prior", "challenger"),
    ]
    assert {tuple(markets) for _, _, _, markets, _ in gate} == {(BTC, ETH)}
    assert {rows for *_, rows in gate} == {720}  # 15 days of hourly rows in two markets


def test_each_market_is_also_compared_alone(told: dict[str, Any]) -> None:
    assert [markets for name, markets in told["by_market"] if name == "champion"] == [[BTC], [ETH]]


def test_live_rows_show_what_served_and_what_was_refused(told: dict[str, Any]) -> None:
    assert told["before"] == ["gate window"]  # before anything had matured
    live = [row for row in told["rows"] if row[0] == "live candles"]
    assert [(name, against) for _, name, against, _, _ in live] == [
        ("served", None),
        ("refused challengers", "served"),
    ]
    assert live[1][3] == [BTC]  # only there a challenger was refused
    assert live[1][4] < live[0][4]


def test_who_could_not_take_part_is_named(told: dict[str, Any]) -> None:
    assert "KRW-BTC scalp: no challenger was judged yet" in told["left_out"]
    assert not [line for line in told["left_out"] if "swing" in line]


def test_mlflow_shows_one_run_a_candidate_with_the_same_metric_names(told: dict[str, Any]) -> None:
    runs = [r for r in told["runs"] if r["tags"].get("retraining_day") == "2026-01-03"]
    children = [r for r in runs if r["tags"]["role"] != "retraining_day"]
    assert len(children) == 12  # six in each market
    assert {r["status"] for r in runs} == {"FINISHED"}
    common = {"log_loss", "skill", "ece", "auc_direction", "trades"}
    assert all(common <= set(r["metrics"]) for r in children)
    others = [r for r in children if r["tags"]["candidate"] != "challenger"]
    gains = {"log_loss_gain", "log_loss_gain_low", "log_loss_gain_high"}
    assert all(gains <= set(r["metrics"]) for r in others)
    assert all("verdict_log_loss" in r["tags"] for r in others)
    prior = next(r for r in others if r["tags"]["candidate"] == "prior")
    assert prior["tags"]["compared_with"] == "challenger, 2 markets together"
    # strength 4.0 in one market makes the challenger far better than the prior: by more than noise.
    assert prior["tags"]["verdict_log_loss"].startswith("worse: -")


def test_a_version_goes_on_showing_its_live_results(told: dict[str, Any]) -> None:
    own = [r for r in told["runs"] if r["tags"]["role"] == "challenger"]
    assert len(own) == 4
    assert all(r["metrics"]["live_rows"] > 0 for r in own)
    refused = next(r for r in own if r["tags"]["verdict"] == "refused")
    assert {"live_log_loss", "live_skill", "log_loss"} <= set(refused["metrics"])


def test_repeating_it_changes_nothing(told: dict[str, Any]) -> None:
    assert told["same"]
    names = [(r["tags"].get("retrain_id"), r["name"]) for r in told["runs"]]
    assert len(names) == len(set(names))
