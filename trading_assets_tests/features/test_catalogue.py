"""The catalogue: exactly 46 everywhere, and the document says the same as the code."""

from math import inf

import numpy as np
import pytest

from trading_assets.features.catalogue import FEATURE_NAMES, FEATURES, WARM_UP, Feature
from trading_assets.features.document import DOCUMENT, with_table
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import SEQUENCE_LENGTH, design_names, make_sequences
from trading_assets.settings import SequenceView
from trading_assets_tests.features.candle_series import random_series


def test_there_are_exactly_46_features_in_every_place() -> None:
    series = random_series(300, 1)
    matrix = feature_matrix(series)
    sequences = make_sequences(matrix, series)
    assert len(FEATURES) == len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == 46
    assert matrix.values.shape == (300, 46)
    assert sequences.tensor.shape[1:] == (24, 46)
    assert SEQUENCE_LENGTH == 24
    assert [len(design_names(view)) for view in SequenceView] == [230, 46, 1104]
    assert DOCUMENT.read_text(encoding="utf-8").count("\n| ") - 7 - 1 == 46  # 7 of checks, 1 head


def test_every_column_is_written_in_every_valid_row() -> None:
    matrix = feature_matrix(random_series(300, 2))
    assert matrix.valid.sum() == 200
    assert np.isfinite(matrix.values[matrix.valid]).all()
    assert np.isnan(matrix.values[~matrix.valid]).all()


def test_the_document_says_what_the_catalogue_says() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(text) == text, "run python -m trading_assets.features.document"


def test_a_document_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have .* once, has it 0 times"):
        with_table("# Features\n")


def test_a_maintenance_break_silences_an_hourly_profile_for_about_five_days() -> None:
    assert WARM_UP == 100
    assert (WARM_UP + SEQUENCE_LENGTH - 1) / 24 < 5.2


def test_no_formula_uses_the_traded_value() -> None:
    assert not [f.name for f in FEATURES if "value" in f.formula.lower()]


@pytest.mark.parametrize(
    ("name", "warm_up", "low", "high", "complaint"),
    [
        ("rsi 14", 0, 0, 1, "identifier"),
        ("rsi", -1, 0, 1, "warm_up"),
        ("rsi", 0, 1, 1, "low must be below high"),
        ("rsi", 0, float("nan"), inf, "low must be below high"),
    ],
)
def test_a_nonsense_feature_is_refused(
    name: str, warm_up: int, low: float, high: float, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Feature(name, "", "", warm_up, low, high)
