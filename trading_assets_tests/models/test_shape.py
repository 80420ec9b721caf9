"""How large a profile's models are and what they never see: from the settings to the trees."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from trading_assets.errors import SettingsError
from trading_assets.features.catalogue import FEATURE_NAMES
from trading_assets.features.groups import features_of
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import design_names, make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.dataset import Dataset, make_dataset
from trading_assets.models.fitting import LIGHTGBM_PARAMETERS, tree_parameters
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import profile
from trading_assets.models.trained import Trained
from trading_assets.models.training import feature_importance, train
from trading_assets.rules.profile import ModelShape
from trading_assets.settings import ProfileName, Recipe, SequenceView, load_settings
from trading_assets_tests.backtest.leaks import COSTS, MARKET, SCALP, small, synthetic_history

QUIET = ("calendar", "volatility")


@cache
def dataset() -> Dataset:
    series = synthetic_history().series
    labels = make_labels(series, SCALP, COSTS, ewm_sigma(series))
    sequences = make_sequences(feature_matrix(series), series)
    return make_dataset(MARKET, small(SCALP), sequences, labels, costs=COSTS)


@cache
def trained(shape: ModelShape) -> Trained:
    chosen = replace(small(SCALP), shape=shape)
    return train(dataset(), chosen, Recipe.ENSEMBLE, (1,), max_rounds=12)


def test_the_shipped_shape_is_that_of_the_measurements() -> None:
    names = design_names(SequenceView.SUMMARY)
    assert tree_parameters(ModelShape(), FEATURE_NAMES, len(names)) == LIGHTGBM_PARAMETERS
    assert LIGHTGBM_PARAMETERS["num_leaves"] == 5


def test_a_group_that_is_left_out_is_in_no_tree_and_no_coefficient() -> None:
    everything, without = trained(ModelShape()), trained(ModelShape(without=QUIET))
    unseen = features_of(QUIET)
    before = feature_importance(everything.served._loaded, dataset())
    after = feature_importance(without.served._loaded, dataset())
    assert sum(before[name] for name in unseen) > 0.1
    assert {name for name in unseen if after[name] > 0} == set()
    logistic = without.served.logistic
    assert logistic is not None
    read = {dataset().columns[column].removesuffix("_last") for column in logistic.columns}
    assert read == set(FEATURE_NAMES) - unseen


def test_what_is_left_out_does_not_change_the_answer() -> None:
    """Neither a tree nor a coefficient reads it, so another value there changes no bit."""
    model = trained(ModelShape(without=QUIET)).served
    x = dataset().x[-50:].copy()
    before = model.probabilities(x)
    for j, column in enumerate(dataset().columns):
        if FEATURE_NAMES[j % len(FEATURE_NAMES)] in features_of(QUIET):
            assert FEATURE_NAMES[j % len(FEATURE_NAMES)] in column
            x[:, j] = 7.0
    np.testing.assert_array_equal(model.probabilities(x), before)


def test_trees_have_as_many_leaves_as_asked_for() -> None:
    model = trained(ModelShape(num_leaves=9)).served
    leaves = [tree["num_leaves"] for b in model._loaded for tree in b.dump_model()["tree_info"]]
    assert max(leaves) == 9
    assert model.metadata["parameters"]["num_leaves"] == 9


def test_the_settings_say_the_shape_of_a_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWING__NUM_LEAVES", "9")
    monkeypatch.setenv("SWING__WITHOUT_FEATURES", "volume, moments")
    settings = load_settings()
    swing = profile(settings, ProfileName.SWING).shape
    assert swing == ModelShape(9, ("moments", "volume"))
    assert profile(settings, ProfileName.SCALP).shape == ModelShape(5, ())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SWING__NUM_LEAVES", "1", "greater than or equal to 2"),
        ("SWING__WITHOUT_FEATURES", "tides", "Input should be 'returns', 'momentum'"),
        (
            "SCALP__WITHOUT_FEATURES",
            "returns,momentum,averages,oscillators,trend,volatility,moments,volume,shape,calendar",
            "must leave a model at least one group of features",
        ),
    ],
)
def test_a_shape_that_cannot_be_is_refused(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        load_settings()


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"num_leaves": 1}, "num_leaves must be at least 2, was 1"),
        ({"without": ("volume", "moments")}, "without must be sorted, each once"),
    ],
)
def test_a_shape_says_what_is_wrong_with_it(shape: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ModelShape(**shape)  # type: ignore[arg-type]
