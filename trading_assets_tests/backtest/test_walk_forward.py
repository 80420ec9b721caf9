"""The walk-forward: which rows learn, which are judged, what is kept and when it is made anew.

`walked.py` holds the small world: candles from 2024-01-01, folds from 2024-04-01 on.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trading_assets.backtest import walk_forward as module
from trading_assets.backtest.cadence import Cadence
from trading_assets.backtest.candidates import Candidates
from trading_assets.backtest.predictions import Predictions
from trading_assets.backtest.walk_forward import (
    WalkForwardPlan,
    WalkForwardReport,
    plan_of,
    walk_forward,
)
from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.models.profiles import profile
from trading_assets.rules.exits import FixedExits, VolatilityExits
from trading_assets.settings import ProfileName, Recipe, Settings
from trading_assets_tests.backtest.walked import (
    MARKET,
    PLAN,
    QUICK,
    SWING,
    assert_same_rows,
    candidates,
    series,
    store,
)
from trading_assets_tests.models.gate_world import killed_at, run_in_child

HOUR = timedelta(hours=1)
STARTS = ["2024-04-01", "2024-05-01", "2024-06-01", "2024-07-01", "2024-08-01"]


def walk(
    folder: Path,
    made_of: CandleSeries | Candidates,
    plan: WalkForwardPlan = PLAN,
    on_step: Callable[[str], None] = lambda _: None,
) -> tuple[Predictions, WalkForwardReport]:
    rows = made_of if isinstance(made_of, Candidates) else candidates(made_of)
    return walk_forward(rows, plan, store(folder), on_step)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Predictions:
    """The walk-forward of all candles, from nothing."""
    return walk(tmp_path_factory.mktemp("whole"), series())[0]


def test_folds_begin_with_the_month_once_there_is_enough_to_learn_from(whole: Predictions) -> None:
    # 5.1 days of warm-up, 60 days of rows and 36 hours of purge: 1 March is too early, by a week.
    assert [f"{f.start:%Y-%m-%d}" for f in whole.folds] == STARTS
    assert whole.open_time[0] == np.datetime64("2024-04-01T00:00")
    assert whole.open_time[-1] == series().open_time[-1]


def test_every_row_is_predicted_by_the_fold_of_its_own_month(whole: Predictions) -> None:
    months = whole.open_time.astype("datetime64[M]")
    assert months.tolist() == [whole.folds[f].start.date().replace(day=1) for f in whole.fold]


def test_training_ends_where_the_first_window_of_the_fold_begins(whole: Predictions) -> None:
    for fold in whole.folds:
        # Entry at the close of the row, 12 hours of label, and a window of 24 candles reaches 23
        # hours back: 1 + 12 + 23 = 36 hours before the fold the last training row opens.
        assert fold.start - fold.train_until == 36 * HOUR


def test_the_window_expands_from_the_first_row(whole: Predictions) -> None:
    assert len({f.train_from for f in whole.folds}) == 1
    rows = [f.train_rows for f in whole.folds]
    # April has 30 days of 24 rows each.
    assert rows[1] - rows[0] == 30 * 24
    assert rows == sorted(rows)


def test_a_profile_with_a_history_trains_on_that_much_only(tmp_path: Path) -> None:
    made, _ = walk(tmp_path, series(), replace(QUICK, history=timedelta(days=70)))
    for fold in made.folds:
        # From 70 days before the fold to 36 hours before it, both included.
        assert fold.train_from == fold.start - timedelta(days=70)
        assert fold.train_rows == 70 * 24 - 35


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(24 * 90 + 24 * 61, id="the last candle of May"),
        pytest.param(24 * 91 + 24 * 61 + 1, id="one candle of the fold of June"),
        pytest.param(24 * 91 + 24 * 80 + 13, id="in the middle of a fold"),
    ],
)
def test_predictions_of_candles_that_end_early_are_those_of_all_candles(
    whole: Predictions, tmp_path: Path, cut: int
) -> None:
    early, _ = walk(tmp_path, series().slice(0, cut))
    assert early.open_time[-1] == series().open_time[cut - 1]
    n = len(early)
    assert n > 1000
    for name in ("open_time", "fold", "p", "ev_long", "ev_short", "p_prior", "p_volatility"):
        np.testing.assert_array_equal(getattr(early, name), getattr(whole, name)[:n], err_msg=name)
    np.testing.assert_array_equal(early.p_seeds, whole.p_seeds[:, :n])
    assert early.folds == whole.folds[: len(early.folds)]


def test_a_day_more_fits_nothing_and_gives_what_a_walk_from_nothing_gives(
    whole: Predictions, tmp_path: Path
) -> None:
    first, report = walk(tmp_path, series().slice(0, len(series()) - 24))
    assert (report.fitted, report.reused, report.anew) == (5, 0, ())
    steps: list[str] = []
    again, report = walk(tmp_path, series(), on_step=steps.append)
    assert (report.fitted, report.reused, report.anew) == (0, 5, ())
    # Only the fold that the day belongs to is asked.
    assert steps == ["predict 2024-08-01", "calibrate", "save", "clean"]
    assert_same_rows(again, whole)
    assert len(again) == len(first) + 24


def test_a_new_month_fits_one_fold(whole: Predictions, tmp_path: Path) -> None:
    july = int(np.searchsorted(series().open_time, np.datetime64("2024-08-01")))
    _, report = walk(tmp_path, series().slice(0, july))
    assert report.fitted == 4
    steps: list[str] = []
    again, report = walk(tmp_path, series(), on_step=steps.append)
    assert (report.fitted, report.reused) == (1, 4)
    assert steps[:3] == ["fit 2024-08-01", "store 2024-08-01", "predict 2024-08-01"]
    assert_same_rows(again, whole)


def test_nothing_new_predicts_nothing(tmp_path: Path) -> None:
    walk(tmp_path, series(), QUICK)
    steps: list[str] = []
    walk(tmp_path, series(), QUICK, steps.append)
    assert steps == ["calibrate", "save", "clean"]


def test_what_is_returned_is_what_is_stored(tmp_path: Path) -> None:
    made, _ = walk(tmp_path, series(), QUICK)
    loaded = store(tmp_path).load(MARKET, "swing", "logistic")
    assert loaded is not None
    assert_same_rows(loaded, made)
    assert (loaded.folds, loaded.record) == (made.folds, made.record)


def repaired(made_of: CandleSeries, row: int) -> CandleSeries:
    """One candle closes 1 % higher than it was first stored."""
    close, high = made_of.close.copy(), made_of.high.copy()
    close[row] *= 1.01
    high[row] = max(high[row], close[row])
    return replace(made_of, close=close, high=high)


def test_a_repaired_candle_makes_only_what_comes_after_it_anew(tmp_path: Path) -> None:
    before, _ = walk(tmp_path, series(), QUICK)
    row = int(np.searchsorted(series().open_time, np.datetime64("2024-06-15")))
    changed = repaired(series(), row)
    after, report = walk(tmp_path, changed, QUICK)
    assert (report.fitted, report.reused) == (2, 3)
    assert report.anew == (
        "fold 2024-07-01 was fitted anew: its training rows changed",
        "fold 2024-08-01 was fitted anew: its training rows changed",
    )
    earlier = before.open_time < series().open_time[row]
    np.testing.assert_array_equal(after.p[earlier], before.p[earlier])
    assert (after.p[~earlier] != before.p[~earlier]).any()
    from_nothing, _ = walk(tmp_path / "new", changed, QUICK)
    assert_same_rows(after, from_nothing)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "seeds": ({"seeds": (1, 3)}, "seeds changed"),
    "rounds": ({"max_rounds": 5}, "max_rounds changed"),
    "history": ({"history": timedelta(days=80)}, "history_days changed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_setting_makes_everything_anew_and_says_which(tmp_path: Path, name: str) -> None:
    change, why = CHANGES[name]
    small = series(130)
    walk(tmp_path, small)
    after, report = walk(tmp_path, small, replace(PLAN, **change))
    assert report.fitted == len(after.folds) == 2
    assert report.anew[0] == f"fold 2024-04-01 was fitted anew: {why}"


def test_another_label_makes_everything_anew(tmp_path: Path) -> None:
    small = candidates(series(130))
    walk(tmp_path, small, QUICK)
    exits = SWING.exits
    assert isinstance(exits, VolatilityExits)
    wider = replace(small, profile=replace(SWING, exits=replace(exits, k=Decimal(2))))
    _, report = walk(tmp_path, wider, QUICK)
    assert report.reused == 0
    assert report.anew[0] == "fold 2024-04-01 was fitted anew: exits changed"


def test_another_catalogue_makes_everything_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk(tmp_path, series(130), QUICK)
    monkeypatch.setattr(module, "CATALOGUE_VERSION", "another")
    _, report = walk(tmp_path, series(130), QUICK)
    assert report.anew[0] == "fold 2024-04-01 was fitted anew: catalogue_version changed"


def test_thresholds_change_no_prediction(tmp_path: Path) -> None:
    walk(tmp_path, series(130), QUICK)
    stricter = replace(
        candidates(series(130)), profile=replace(SWING, min_confidence=Decimal("0.6"))
    )
    _, report = walk(tmp_path, stricter, QUICK)
    assert (report.fitted, report.anew) == (0, ())


def test_a_coarser_cadence_uses_the_folds_that_it_shares(tmp_path: Path) -> None:
    walk(tmp_path, series(), QUICK)
    made, report = walk(tmp_path, series(), replace(QUICK, refit=Cadence.parse("2mo")))
    # Every second month from January: May and July are there already.
    assert [f"{f.start:%m}" for f in made.folds] == ["05", "07"]
    assert (report.fitted, report.reused) == (0, 2)


def folds_on_disk(folder: Path, recipe: str) -> list[Path]:
    return sorted((store(folder).folder(MARKET, "swing", recipe) / "folds").iterdir())


def test_folds_that_are_no_longer_used_go_away(tmp_path: Path) -> None:
    walk(tmp_path, series(130))
    walk(tmp_path, series(130), replace(PLAN, seeds=(1, 3)))
    assert [p.name for p in folds_on_disk(tmp_path, "lightgbm")] == ["2024-04-01.1", "2024-05-01.1"]


def test_a_damaged_model_is_fitted_anew_and_said(tmp_path: Path) -> None:
    before, _ = walk(tmp_path, series(130))
    fold = folds_on_disk(tmp_path, "lightgbm")[0]
    (fold / "booster_0.txt").write_text("damaged")
    (fold / "raw.npz").unlink()
    after, report = walk(tmp_path, series(130))
    assert report.fitted == 1
    assert report.anew[0].startswith("fold 2024-04-01 was fitted anew: ")
    assert "is not the file that was saved" in report.anew[0]
    assert_same_rows(after, before)


def test_a_damaged_record_of_a_fold_is_fitted_anew_and_said(tmp_path: Path) -> None:
    before, _ = walk(tmp_path, series(130), QUICK)
    (folds_on_disk(tmp_path, "logistic")[0] / "model_metadata.json").write_text("{")
    after, report = walk(tmp_path, series(130), QUICK)
    assert report.fitted == 1
    assert "fold 2024-04-01 was fitted anew: 2024-04-01.0 cannot be read" in report.anew[0]
    assert_same_rows(after, before)


def test_damaged_raw_predictions_are_predicted_again(tmp_path: Path) -> None:
    before, _ = walk(tmp_path, series(130), QUICK)
    (folds_on_disk(tmp_path, "logistic")[0] / "raw.npz").write_bytes(b"damaged")
    steps: list[str] = []
    after, report = walk(tmp_path, series(130), QUICK, steps.append)
    assert (report.fitted, steps[0]) == (0, "predict 2024-04-01")
    assert_same_rows(after, before)


@pytest.mark.parametrize(
    ("step", "still_to_fit"),
    [
        ("fit 2024-04-01", 2),
        ("store 2024-04-01", 2),
        ("predict 2024-04-01", 1),
        ("fit 2024-05-01", 1),
        ("store 2024-05-01", 1),
        ("predict 2024-05-01", 0),
        ("calibrate", 0),
        ("save", 0),
        ("clean", 0),
    ],
)
def test_a_kill_loses_at_most_the_fold_under_way(
    tmp_path: Path, step: str, still_to_fit: int
) -> None:
    rows = candidates(series(130))
    status = run_in_child(lambda: walk(tmp_path, rows, QUICK, killed_at(step)))
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    stored = store(tmp_path).load(MARKET, "swing", "logistic")
    assert (stored is not None) == (step == "clean")
    made, report = walk(tmp_path, rows, QUICK)
    assert report.fitted == still_to_fit
    assert report.anew == ()
    assert_same_rows(made, walk(tmp_path / "never killed", rows, QUICK)[0])


def test_a_kill_while_a_fold_is_written_leaves_nothing_behind(tmp_path: Path) -> None:
    walk(tmp_path, series(130), QUICK)
    folder = store(tmp_path).folder(MARKET, "swing", "logistic") / "folds"
    draft = folder / ".2024-06-01.0.12345"
    draft.mkdir()
    (draft / "model.json").write_text("{")
    walk(tmp_path, series(130), QUICK)
    assert sorted(p.name for p in folder.iterdir()) == ["2024-04-01.0", "2024-05-01.0"]


def test_old_predictions_stay_readable_until_new_ones_are_whole(tmp_path: Path) -> None:
    first, _ = walk(tmp_path, series(130), QUICK)
    status = run_in_child(lambda: walk(tmp_path, series(), QUICK, killed_at("save")))
    assert os.WIFSIGNALED(status)
    stored = store(tmp_path).load(MARKET, "swing", "logistic")
    assert stored is not None
    assert_same_rows(stored, first)


def test_too_little_history_says_how_much_it_takes(tmp_path: Path) -> None:
    # 1,440 candles less 123 before the first window is whole and 12 whose label is not known.
    with pytest.raises(
        NotEnoughHistory,
        match=r"KRW-BTC swing: not enough history to walk forward, 54\.4 days of usable rows, it "
        r"takes 60 days before a date of the first model \(they come every month\)",
    ):
        walk(tmp_path, series(60), QUICK)
    assert store(tmp_path).load(MARKET, "swing", "logistic") is None


def test_no_rows_at_all_are_too_little_history(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughHistory, match=r"0\.0 days of usable rows"):
        walk(tmp_path, series(60).slice(0, 100), QUICK)


def test_a_history_without_a_date_for_a_model_is_too_little(tmp_path: Path) -> None:
    """23 days of January: the first of a month, when models are made, is not among them."""
    with pytest.raises(NotEnoughHistory, match="before a date of the first model"):
        walk(tmp_path, series(60).slice(24 * 2, 24 * 25), QUICK)


def test_a_standstill_of_months_predicts_nothing_until_there_is_enough_again(
    tmp_path: Path,
) -> None:
    stopped = 24 * 130
    later = np.arange(len(series())) >= stopped
    joined = replace(
        series(),
        open_time=series().open_time + np.where(later, np.timedelta64(150, "D"), 0),
        segment=later.astype(np.int64),
    )
    made, _ = walk(tmp_path, joined, replace(QUICK, history=timedelta(days=70)))
    # 10 May + 150 days = 7 October; 60 days of rows in the last 70 are there on 1 January.
    assert [f"{f.start:%Y-%m-%d}" for f in made.folds] == [
        "2024-04-01",
        "2024-05-01",
        "2025-01-01",
    ]
    assert not ((made.open_time > joined.open_time[stopped - 1]) & (made.fold == 1)).any()


def test_the_mean_of_the_seeds_is_served(whole: Predictions) -> None:
    assert whole.seeds == 2
    # The first 1,500 known rows are not calibrated, so the mean shows as it is.
    np.testing.assert_allclose(
        whole.p[:1000], whole.p_seeds[:, :1000].mean(axis=0), rtol=0, atol=1e-6
    )
    assert np.abs(whole.p_seeds[0] - whole.p_seeds[1]).max() > 0.001


def test_calibration_begins_with_enough_earlier_rows(whole: Predictions) -> None:
    mean = whole.p_seeds.mean(axis=0)
    apart = np.abs(whole.p - mean).max(axis=1) > 1e-5
    first = whole.open_time[np.argmax(apart)]
    # 1,500 rows are 62.5 days, from 1 April to 2 June, and 36 hours of purge; the first step after
    # that: days 19880 and 19890 since 1970 are 6 and 16 June 2024.
    assert first == np.datetime64("2024-06-06T00:00")
    assert whole.record["calibrated_share"] == pytest.approx(
        (whole.open_time >= first).mean(), abs=1e-12
    )


def test_the_baselines_are_the_folds_own(whole: Predictions, tmp_path: Path) -> None:
    rows = candidates(series())
    may = whole.fold == 1
    train = (rows.open_time <= np.datetime64("2024-04-29T12:00")) & rows.known
    counts = [int((rows.labels.label[train] == c).sum()) + 1 for c in range(3)]
    expected = [c / sum(counts) for c in counts]
    np.testing.assert_allclose(whole.p_prior[may], np.tile(expected, (int(may.sum()), 1)))
    assert np.std(whole.p_volatility[may], axis=0).max() > 0.001


@pytest.mark.parametrize(("recipe", "seeds"), [(Recipe.LOGISTIC, 1), (Recipe.ENSEMBLE, 2)])
def test_other_recipes_walk_too(
    whole: Predictions, tmp_path: Path, recipe: Recipe, seeds: int
) -> None:
    made, _ = walk(tmp_path, series(130), replace(PLAN, recipe=recipe))
    assert (made.recipe, made.seeds) == (recipe.value, seeds)
    if recipe is Recipe.ENSEMBLE:
        n = 100
        logistic, _ = walk(tmp_path, series(130), QUICK)
        # A soft vote: half of the trees' mean, half of the logistic regression.
        np.testing.assert_allclose(
            made.p[:n], (whole.p[:n] + logistic.p[:n]) / 2, rtol=0, atol=1e-9
        )


def test_a_profile_of_ones_own_walks_beside_the_shipped_ones(tmp_path: Path) -> None:
    proxy = replace(
        SWING,
        name="proxy",
        exits=FixedExits(Decimal("0.02"), Decimal("0.02"), timedelta(hours=12)),
    )
    made, _ = walk(tmp_path, replace(candidates(series(130)), profile=proxy), QUICK)
    assert made.profile == "proxy"
    assert store(tmp_path).load(MARKET, "proxy", "logistic") is not None
    assert store(tmp_path).load(MARKET, "swing", "logistic") is None


def test_the_record_says_how_often_it_is_refitted_and_how_often_the_bot_does_it(
    whole: Predictions,
) -> None:
    assert whole.record["cadence"] == (
        "models refitted every month and calibrations every 10 days; the bot retrains every 24 "
        "hours"
    )


def test_every_pair_of_rows_is_audited(tmp_path: Path) -> None:
    _, report = walk(tmp_path, series(130), QUICK)
    # Two folds and their early stops, and a calibration step each ten days from 1 April to 9 May:
    # the first row, then 7, 17 and 27 April and 7 May (days 19820, 19830, ...).
    assert report.audit.pairs == 2 + 2 + 5
    assert report.audit.violations == ()
    assert report.audit.smallest_gap == timedelta(0)


def test_the_plans_of_the_shipped_profiles() -> None:
    settings = Settings()
    swing = plan_of(settings, profile(settings, ProfileName.SWING))
    assert str(swing.refit) == "every 3 months"
    assert str(swing.recalibrate) == "every month"
    assert (swing.history, swing.first_fit) == (None, timedelta(days=300))
    assert len(swing.seeds) == 5
    scalp = plan_of(settings, profile(settings, ProfileName.SCALP), Recipe.LOGISTIC)
    assert str(scalp.refit) == "every 10 days"
    assert (scalp.history, scalp.first_fit) == (timedelta(days=120), timedelta(days=60))
    assert scalp.calibration_window == timedelta(days=15)
    # Nothing in a logistic regression is random.
    assert len(scalp.seeds) == 1
