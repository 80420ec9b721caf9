"""The gate, gate by gate, each where it must refuse and where it must not."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from trading_assets.models.evaluation import row_losses
from trading_assets.models.promotion import (
    PromotionVerdict,
    TwinDifferences,
    block_bootstrap_mean,
    judge,
    pooled,
    twin_differences,
)
from trading_assets.models.trained import GateRows, Trained
from trading_assets.rules.check import CheckOutcome
from trading_assets_tests.models.gate_world import HOUR, NOW, dataset, small_profile, trained

START = np.datetime64("2025-12-05T00:00:00", "us")  # on a border of 3-day blocks


@pytest.fixture(scope="module")
def sound() -> Trained:
    """A challenger with real, modest skill on 35 days of unseen rows."""
    return trained(dataset(strength=0.2))


def differences(
    mean: float, *, days: int = 15, market: str = "KRW-BTC", start: np.datetime64 = START
) -> TwinDifferences:
    """Constant differences: the bootstrap of a constant is the constant."""
    times = start + np.arange(days * 24) * np.timedelta64(1, "h")
    return TwinDifferences(market, "swing", times, np.full(days * 24, mean), NOW)


def verdict_on(
    challenger: Trained, own: TwinDifferences | None = None, **more: Any
) -> PromotionVerdict:
    values: dict[str, Any] = {
        "served_p": challenger.gate_rows.p,
        "own": own,
        "others": (),
        "now": NOW,
        "seed": 1,
    } | more
    return judge(challenger, values.pop("profile", small_profile()), **values)


def gate(verdict: PromotionVerdict, name: str) -> CheckOutcome:
    return next(g for g in verdict.gates if g.name == name)


def rows(p: Any, y: Any, *, days: float = 100, long_run: int = 1) -> GateRows:
    """Rows spread evenly over `days` with the class shares as prior."""
    n = len(y)
    p, y = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.int8)
    prior = np.bincount(y, minlength=3) / n
    step = np.timedelta64(math.ceil(days * 86_400e6 / (n - 1)), "us")
    loss = row_losses(prior, y)
    return GateRows(
        START + np.arange(n) * step, y, p, row_losses(p, y), loss, loss, np.zeros(n), np.zeros(n)
    )


def with_unseen(challenger: Trained, unseen: GateRows) -> Trained:
    """`challenger` whose calibration window says `unseen`, one row of it in the gate window."""

    def part(chosen: slice) -> GateRows:
        return GateRows(*(getattr(unseen, name)[chosen] for name in GateRows.__slots__))

    return replace(challenger, calibration_rows=part(slice(0, -1)), gate_rows=part(slice(-1, None)))


def test_a_sound_first_challenger_is_promoted_on_the_absolute_gates(sound: Trained) -> None:
    verdict = verdict_on(sound)
    assert verdict.promoted
    assert verdict.reasons[0] == "promoted: no champion yet, absolute gates only"
    assert [g.name for g in verdict.gates] == [
        "probabilities",
        "served_probabilities",
        "split_audit",
        "label_shares",
        "log_loss",
        "not_too_good",
        "direction",
        "calibration",
        "history",
        "paired_log_loss",
    ]


def test_what_could_not_be_judged_is_said(sound: Trained) -> None:
    notes = verdict_on(sound).reasons[1:]
    assert [n.split(":")[0] for n in notes] == ["direction not judged", "calibration not judged"]
    assert all("fewer than the 90 it takes" in n for n in notes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.2])
def test_a_served_probability_that_is_none_is_refused(sound: Trained, bad: float) -> None:
    served = sound.gate_rows.p.copy()
    served[3, 1] = bad
    verdict = verdict_on(sound, served_p=served)
    assert not verdict.promoted
    assert verdict.reasons[0].startswith("served_probabilities: ")


def test_served_probabilities_must_sum_to_one_up_to_rounding(sound: Trained) -> None:
    served = sound.gate_rows.p.copy()
    served[0] = (0.2, 0.3, 0.5 + 0.9e-9)
    assert verdict_on(sound, served_p=served).promoted
    served[0] = (0.2, 0.3, 0.5 + 1.1e-9)
    assert not verdict_on(sound, served_p=served).promoted


@pytest.mark.parametrize(
    ("shares", "passes"),
    [
        ([0.03, 0.87, 0.10], True),
        ([0.029, 0.871, 0.10], False),
        ([0.05, 0.90, 0.05], True),
        ([0.049, 0.901, 0.05], False),
    ],
)
def test_class_shares_must_be_3_to_90_percent(
    sound: Trained, shares: list[float], passes: bool
) -> None:
    served = replace_metadata(sound.served, {"label_shares": shares})
    verdict = verdict_on(replace(sound, served=served))
    assert gate(verdict, "label_shares").passed is passes
    assert verdict.promoted is passes


def replace_metadata(model: Any, change: dict[str, Any]) -> Any:
    return type(model)(
        recipe=model.recipe,
        columns=model.columns,
        boosters=model.boosters,
        logistic=model.logistic,
        calibration=model.calibration,
        returns=model.returns,
        metadata={**model.metadata, **change},
    )


@pytest.mark.parametrize(("loss", "passes"), [(1.01, True), (1.0101, False), (0.9, True)])
def test_log_loss_may_be_at_most_one_percent_above_the_prior(
    sound: Trained, loss: float, passes: bool
) -> None:
    evaluation = replace(sound.evaluation, log_loss=loss, prior_log_loss=1.0)
    verdict = verdict_on(replace(sound, evaluation=evaluation))
    assert gate(verdict, "log_loss").passed is passes


def test_a_model_that_knows_too_much_is_suspected_of_a_leak() -> None:
    leaky = trained(dataset(strength=4.0))
    verdict = verdict_on(leaky)
    assert not verdict.promoted
    assert verdict.reasons[0].startswith("not_too_good: LEAK suspected: ")


def test_a_split_that_touches_a_training_label_is_refused(sound: Trained) -> None:
    audit = replace(sound.audit, violations=("gate: 1 of 360 test rows touch",))
    verdict = verdict_on(replace(sound, audit=audit))
    assert verdict.reasons[0] == "split_audit: gate: 1 of 360 test rows touch"


def directed(lean: float, days: float) -> GateRows:
    """Unseen rows of BUY and SELL in turn; p_buy - p_sell agrees (lean > 0) or is reversed."""
    rng = np.random.default_rng(3)
    y = rng.choice([0, 1, 2], 3000, p=[0.3, 0.4, 0.3])
    side = np.where(rng.random(3000) < 0.5 + abs(lean), np.sign(lean), -np.sign(lean)) * (y - 1)
    p = np.stack([0.3 - 0.02 * side, np.full(3000, 0.4), 0.3 + 0.02 * side], axis=1)
    return rows(p, y, days=days)


def test_a_reversed_direction_is_refused_on_90_days_and_only_told_on_fewer(
    sound: Trained,
) -> None:
    long = gate(verdict_on(with_unseen(sound, directed(-0.1, 90))), "direction")
    assert (long.passed, long.blocking) == (False, True)
    short = gate(verdict_on(with_unseen(sound, directed(-0.1, 89.9))), "direction")
    assert (short.passed, short.blocking) == (True, False)
    right = gate(verdict_on(with_unseen(sound, directed(0.1, 90))), "direction")
    assert (right.passed, right.blocking) == (True, True)


def test_no_direction_at_all_is_not_a_reversed_one(sound: Trained) -> None:
    coin = gate(verdict_on(with_unseen(sound, directed(1e-9, 100))), "direction")
    assert coin.passed
    assert float(coin.values["upper_bound"]) >= 0.5


def test_a_badly_calibrated_model_is_refused_on_90_days_and_a_calibrated_one_is_not(
    sound: Trained,
) -> None:
    rng = np.random.default_rng(5)
    y = rng.choice([0, 1, 2], 4000, p=[0.25, 0.5, 0.25])
    honest = np.tile([0.25, 0.5, 0.25], (4000, 1))
    boastful = np.tile([0.10, 0.8, 0.10], (4000, 1))
    assert gate(verdict_on(with_unseen(sound, rows(honest, y))), "calibration").passed
    # off by .15, .30, .15: an error of .20 against .05 plus noise
    refused = gate(verdict_on(with_unseen(sound, rows(boastful, y))), "calibration")
    assert not refused.passed
    assert float(refused.values["ece"]) == pytest.approx(0.2, abs=0.02)


def test_history_must_reach_the_minimum_of_the_profile(sound: Trained) -> None:
    # 60 days of rows
    assert verdict_on(sound, profile=small_profile(min_history=timedelta(days=60))).promoted
    verdict = verdict_on(sound, profile=small_profile(min_history=timedelta(days=60, hours=1)))
    assert not verdict.promoted
    assert verdict.reasons[0] == "history: 60.0 days of usable rows (at least 60)"


@pytest.mark.parametrize(
    ("mean", "passes"), [(0.01, True), (0.0, True), (-0.0001, False), (-0.006, False)]
)
def test_a_challenger_that_is_surely_worse_than_the_champion_is_refused(
    sound: Trained, mean: float, passes: bool
) -> None:
    verdict = verdict_on(sound, differences(mean))
    assert verdict.promoted is passes
    assert gate(verdict, "paired_log_loss").values["mean"] == pytest.approx(mean)


def noisy(mean: float, noise: float) -> TwinDifferences:
    """Blocks of three days alternate around `mean` by `noise`."""
    base = differences(mean, days=18)
    sign = np.where(np.arange(18 * 24) // 72 % 2, 1.0, -1.0)
    return replace(base, difference=base.difference + noise * sign)


def test_a_challenger_that_may_be_better_is_promoted_unless_it_is_much_worse(
    sound: Trained,
) -> None:
    assert verdict_on(sound, noisy(-0.004, 0.03)).promoted
    much_worse = verdict_on(sound, noisy(-0.0051, 0.03))
    assert not much_worse.promoted
    assert float(gate(much_worse, "paired_log_loss").values["upper_bound"]) > 0


def test_fewer_than_four_blocks_decide_nothing(sound: Trained) -> None:
    verdict = verdict_on(sound, differences(-0.1, days=9))
    assert verdict.promoted
    assert "paired_log_loss not judged" in verdict.reasons[-1]
    assert not verdict_on(sound, differences(-0.1, days=12)).promoted


def test_a_champion_that_has_seen_every_gate_row_is_no_comparison(sound: Trained) -> None:
    empty = replace(
        differences(0.0), open_time=np.empty(0, dtype=START.dtype), difference=np.empty(0)
    )
    verdict = verdict_on(sound, empty)
    assert verdict.promoted
    assert "the champion's twin has seen every gate row" in verdict.reasons[-1]


def test_other_markets_are_pooled_row_by_row(sound: Trained) -> None:
    # own 360 rows at -0.004, another 360 at +0.006: (-0.004 + 0.006) / 2 = +0.001
    verdict = verdict_on(sound, differences(-0.004), others=(differences(0.006, market="KRW-ETH"),))
    assert verdict.promoted
    paired = gate(verdict, "paired_log_loss")
    assert paired.values["mean"] == pytest.approx(0.001)
    assert paired.values["own_mean"] == pytest.approx(-0.004)
    assert paired.values["markets"] == "KRW-BTC,KRW-ETH"


def test_only_differences_of_the_same_profile_time_and_last_48_hours_are_pooled() -> None:
    own = differences(0.0)
    good = differences(0.0, market="KRW-ETH")
    assert pooled(own, (good,), NOW + timedelta(hours=48)) == (own, good)
    assert pooled(own, (good,), NOW + timedelta(hours=48, seconds=1)) == (own,)
    assert pooled(own, (replace(good, profile="scalp"),), NOW) == (own,)
    assert pooled(own, (differences(0.0),), NOW) == (own,)
    touching = differences(0.0, market="KRW-XRP", start=own.open_time[-1])
    assert pooled(own, (touching,), NOW) == (own, touching)
    after = differences(0.0, market="KRW-XRP", start=own.open_time[-1] + np.timedelta64(1, "h"))
    assert pooled(own, (after,), NOW) == (own,)


def test_of_one_market_the_newest_differences_are_pooled() -> None:
    older = replace(differences(0.1, market="KRW-ETH"), decided_at=NOW - HOUR)
    newer = differences(0.2, market="KRW-ETH")
    assert pooled(differences(0.0), (newer, older), NOW)[1] is newer


def test_the_bootstrap_draws_whole_blocks_of_three_days() -> None:
    values = noisy(0.0, 1.0)  # six blocks of -1 and +1 in turn
    means = block_bootstrap_mean(values.open_time, values.difference, seed=1, draws=5000)
    # The mean of six blocks of +-1 lies on the grid of sixths of 2, with variance 1/6.
    assert set(np.round(means * 3)) <= {-3, -2, -1, 0, 1, 2, 3}
    assert means.var() == pytest.approx(1 / 6, rel=0.1)
    again = block_bootstrap_mean(values.open_time, values.difference, seed=1, draws=5000)
    np.testing.assert_array_equal(means, again)


def test_twins_are_compared_on_rows_that_both_are_blind_for(sound: Trained) -> None:
    data = dataset(strength=0.2)
    gate_x = data.x[np.searchsorted(data.open_time, sound.gate_rows.open_time)]
    times, same = twin_differences(sound, sound.twin, gate_x, sound.gate_rows.open_time[0])
    assert len(times) == 360
    np.testing.assert_allclose(same, 0, atol=1e-12)
    later = sound.gate_rows.open_time[300]
    times, _ = twin_differences(sound, sound.twin, gate_x, later)
    assert (len(times), times[0]) == (60, later)
    times, none = twin_differences(sound, sound.twin, gate_x, later + np.timedelta64(99, "D"))
    assert len(times) == len(none) == 0


def test_a_worse_champion_gives_positive_differences() -> None:
    data = dataset(strength=1.5)
    knowing = trained(data)
    gate_x = data.x[np.searchsorted(data.open_time, knowing.gate_rows.open_time)]
    ignorant = trained(replace(data, y=np.random.default_rng(1).permutation(data.y))).twin
    _, difference = twin_differences(knowing, ignorant, gate_x, knowing.gate_rows.open_time[0])
    assert difference.mean() > 0.02


def test_twins_that_read_other_columns_are_not_compared(sound: Trained) -> None:
    data = dataset(strength=0.2)
    renamed = trained(replace(data, columns=("a", "b", "c", "d"))).twin
    with pytest.raises(ValueError, match="other columns"):
        twin_differences(sound, renamed, data.x[:1], START)
