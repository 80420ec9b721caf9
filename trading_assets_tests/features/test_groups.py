"""Groups of features: a partition of the catalogue, as the setting names them."""

import pytest

from trading_assets.features.catalogue import FEATURE_NAMES
from trading_assets.features.groups import GROUPS, features_of
from trading_assets.settings import FeatureGroup


def test_every_feature_is_in_exactly_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(FEATURE_NAMES)
    assert set(GROUPS) == set(FeatureGroup)


def test_the_features_of_groups_are_those_of_each() -> None:
    assert features_of(()) == frozenset()
    assert features_of(("trend", "moments")) == {
        "adx_14",
        "plus_di_14",
        "minus_di_14",
        "skewness_24",
        "kurtosis_24",
    }
    with pytest.raises(ValueError, match="'tides' is not a valid FeatureGroup"):
        features_of(("tides",))
