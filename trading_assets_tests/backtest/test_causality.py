"""The checks of a retraining: quiet on honest values, blocking and by name on others."""

import numpy as np
import pytest

from trading_assets.backtest.causality import check_features_cut, check_labels_cut
from trading_assets.backtest.quantities import FloatArray
from trading_assets.features import indicators, matrix
from trading_assets.features.anchors import Piece, Segment
from trading_assets.features.indicators import Candles, Columns
from trading_assets.models import labels
from trading_assets.rules.check import blocking_failures
from trading_assets_tests.backtest.leaks import (
    COSTS,
    SCALP,
    SWING,
    broken_history,
    long_history,
    synthetic_history,
)


def test_honest_features_and_labels_pass() -> None:
    outcomes = (
        *check_features_cut(long_history(), 1),
        check_labels_cut(long_history(), SWING, COSTS, 1),
        *check_features_cut(synthetic_history(), 1),
        check_labels_cut(synthetic_history(), SCALP, COSTS, 1),
    )
    assert [o.name for o in outcomes[:3]] == [
        "features_lookahead",
        "features_recursion",
        "labels_lookahead",
    ]
    assert all(o.passed and o.blocking for o in outcomes), [o.reason for o in outcomes]
    assert all(int(o.values["compared"]) > 100_000 for o in outcomes)


def test_a_feature_that_looks_ahead_blocks_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = indicators._calendar

    def leaky(c: Candles, rows: int) -> Columns:
        columns = honest(c, rows)
        columns["hour_sin"] = np.append(columns["hour_sin"][1:], 0.0)
        return columns

    families = tuple(leaky if f is honest else f for f in indicators._WINDOWED)
    monkeypatch.setattr(indicators, "_WINDOWED", families)
    outcomes = check_features_cut(long_history(), 1)
    (failed,) = blocking_failures(outcomes[:1])
    assert failed.name == "features_lookahead"
    assert failed.reason.startswith("hour_sin sees a later candle: 2024-")
    assert failed.values["wrong_values"] == 1


def test_a_feature_that_remembers_its_first_candle_blocks_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An average of 2,000 candles, from wherever the computation began."""
    honest = indicators._averages

    def slow(c: Candles, rows: int) -> Columns:
        columns = honest(c, rows)
        average = np.cumsum(c.close) / np.arange(1, len(c.close) + 1)
        columns["macd_line"] = c.close[-rows:] / average[-rows:] - 1
        return columns

    families = tuple(slow if f is honest else f for f in indicators._RECURSIVE)
    monkeypatch.setattr(indicators, "_RECURSIVE", families)

    def from_the_first(segment: Segment, since: int = 0) -> list[Piece]:
        """Without fixed starts: one piece from the segment's first candle read."""
        return [Piece(segment.start, max(segment.start, since), segment.stop)]

    monkeypatch.setattr(matrix, "pieces", from_the_first)
    lookahead, recursion = check_features_cut(long_history(), 1)
    assert lookahead.passed
    (failed,) = blocking_failures((recursion,))
    assert failed.name == "features_recursion"
    assert failed.reason.startswith("macd_line depends on how far back is read: 2025-")


def test_a_label_of_a_longer_path_than_it_says_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = labels._exits

    def one_candle_more(entry: FloatArray, **given: object) -> object:
        return honest(entry, **{**given, "h": given["h"] + 1})  # type: ignore[operator, arg-type]

    monkeypatch.setattr(labels, "_exits", one_candle_more)
    (failed,) = blocking_failures((check_labels_cut(long_history(), SWING, COSTS, 1),))
    assert failed.name == "labels_lookahead"
    assert "long_net sees a later candle" in failed.reason


def test_too_short_a_history_says_so_and_stops_nothing() -> None:
    recursion = check_features_cut(broken_history(), 1)[1]
    assert (recursion.passed, recursion.blocking) == (True, False)
    assert "no more than a signal reads" in recursion.reason
