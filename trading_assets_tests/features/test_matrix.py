"""The matrix: no look-ahead, live = training, segments apart, ranges, storage. To the bit."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_assets.candles.series import CandleSeries
from trading_assets.errors import ImpossibleCandle
from trading_assets.exchange.model import Interval
from trading_assets.features.anchors import CHUNK, LEAD, Piece, history_start, pieces, segments
from trading_assets.features.catalogue import FEATURE_NAMES, FEATURES, WARM_UP
from trading_assets.features.checks import check_features
from trading_assets.features.matrix import FeatureMatrix, feature_matrix, latest_features
from trading_assets_tests.features.candle_series import (
    REAL_MARKETS,
    START,
    broken_at,
    needs_real_data,
    random_series,
    real_data,
    real_series,
    seeds,
    series_of,
)

HISTORY = 20_000  # candles: three chunks


def pieces_of(series: CandleSeries, since: int = 0) -> list[Piece]:
    return [piece for segment in segments(series, since) for piece in pieces(segment, since)]


def assert_same_bits(left: FeatureMatrix, right: FeatureMatrix) -> None:
    np.testing.assert_array_equal(left.open_time, right.open_time)
    np.testing.assert_array_equal(left.valid, right.valid)
    np.testing.assert_array_equal(left.values, right.values)


@given(seeds, st.integers(0, 600), st.lists(st.integers(1, 599), max_size=3, unique=True))
@settings(max_examples=60, deadline=None)
def test_later_candles_change_no_feature(seed: int, cut: int, breaks: list[int]) -> None:
    series = broken_at(random_series(600, seed), sorted(breaks))
    early, full = feature_matrix(series.slice(0, cut)), feature_matrix(series)
    np.testing.assert_array_equal(early.values, full.values[:cut])
    np.testing.assert_array_equal(early.valid, full.valid[:cut])


@given(seeds, st.integers(1, HISTORY), st.integers(0, 300))
@settings(max_examples=15, deadline=None)
def test_the_live_path_gives_the_bits_of_the_training_path(seed: int, cut: int, rows: int) -> None:
    series = random_series(HISTORY, seed)
    live = latest_features(series.slice(0, cut), rows)
    full = feature_matrix(series).values[max(0, cut - rows) : cut]
    np.testing.assert_array_equal(live.values, full)


@given(seeds, st.integers(0, HISTORY - 1))
@settings(max_examples=15, deadline=None)
def test_reading_from_the_history_start_is_enough(seed: int, row: int) -> None:
    series = random_series(HISTORY, seed)
    last = START + timedelta(hours=row)
    first = max(0, (history_start(last, Interval.M60, rows=24) - START) // timedelta(hours=1))
    read = series.slice(first, row + 1)
    assert len(read) <= CHUNK + LEAD + 1024 + 24
    assert_same_bits(latest_features(read, 24), feature_matrix(series.slice(0, row + 1)).tail(24))


def test_the_end_of_a_chunk_cannot_be_seen_in_the_values() -> None:
    # The same candles, once cut at the chunk's edge and once shifted so that they are not.
    rows = CHUNK + 3000
    series = random_series(rows, 5)
    shifted = replace(series, open_time=series.open_time + np.timedelta64(4000, "h"))
    edges = [p.start for p in pieces_of(series)], [p.start for p in pieces_of(shifted)]
    assert set(edges[0][1:]).isdisjoint(edges[1][1:])
    calendar = 4
    one, other = feature_matrix(series), feature_matrix(shifted)
    np.testing.assert_allclose(
        one.values[WARM_UP:, :-calendar], other.values[WARM_UP:, :-calendar], rtol=1e-7, atol=1e-10
    )


def test_a_chunk_begins_at_fixed_times() -> None:
    # 2024-01-01 00:00 is hour 473,352 since the Unix epoch: 57 * 8192 = 466,944, 58 * 8192 =
    # 475,136, so the next piece begins 1,784 hours later and looks back as far as it can.
    series = series_of(np.ones(5000))
    first, second = pieces_of(series)
    assert (first.lead_start, first.start, first.stop) == (0, 0, 1784)
    assert (second.lead_start, second.start, second.stop) == (0, 1784, 5000)
    late = series_of(np.ones(9000), start=START - timedelta(hours=4000))
    assert [(p.lead_start, p.start) for p in pieces_of(late)] == [(0, 0), (5784 - LEAD, 5784)]
    assert [p.start for p in pieces_of(late, since=6000)] == [6000]


def test_a_segment_with_a_hole_is_refused() -> None:
    series = series_of(np.ones(300))
    late = series.open_time.copy()
    late[200:] += np.timedelta64(1, "h")
    with pytest.raises(ValueError, match=r"segment 0 from .* has a hole: 300 rows"):
        feature_matrix(replace(series, open_time=late))


@given(seeds, st.integers(1, 399))
@settings(max_examples=40, deadline=None)
def test_segments_never_mix(seed: int, start: int) -> None:
    series = broken_at(random_series(400, seed), [start])
    matrix = feature_matrix(series)
    np.testing.assert_array_equal(
        matrix.values[start:], feature_matrix(series.slice(start, 400)).values
    )
    position = np.concatenate((np.arange(start), np.arange(400 - start)))
    np.testing.assert_array_equal(matrix.valid, position >= WARM_UP)


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_features_are_finite_and_in_range_whatever_the_candles(seed: int) -> None:
    matrix = feature_matrix(random_series(500, seed))
    for outcome in check_features(matrix, None)[:2]:
        assert outcome.passed, outcome.reason


prices = st.floats(min_value=1e-8, max_value=1e9)


@given(st.lists(st.tuples(prices, prices, prices, prices, st.floats(0, 1e15)), min_size=1), seeds)
@settings(max_examples=60, deadline=None)
def test_wild_candles_stay_finite_and_in_range(
    wild: list[tuple[float, float, float, float, float]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    picked = np.array(wild)[rng.integers(0, len(wild), 180)]
    series = replace(
        series_of(picked[:, 3]),
        open=picked[:, 0].copy(),
        high=picked[:, :4].max(axis=1),
        low=picked[:, :4].min(axis=1),
        volume=picked[:, 4].copy(),
    )
    for outcome in check_features(feature_matrix(series), None)[:2]:
        assert outcome.passed, outcome.reason


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
def test_an_impossible_price_is_refused(name: str, bad: float) -> None:
    series = series_of(np.full(200, 100.0))
    getattr(series, name)[150] = bad
    with pytest.raises(ImpossibleCandle, match=rf"{name} must be .* was {bad} at 2024-01-07T06"):
        feature_matrix(series)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_an_impossible_volume_is_refused(bad: float) -> None:
    series = series_of(np.full(200, 100.0), volume=0.0)
    series.volume[150] = bad
    with pytest.raises(ImpossibleCandle, match=rf"volume must be .* was {bad} at 2024-01-07T06"):
        feature_matrix(series)


def test_too_few_candles_give_no_valid_row() -> None:
    assert feature_matrix(series_of(np.full(WARM_UP, 1.0))).valid.sum() == 0
    assert feature_matrix(series_of(np.full(WARM_UP + 1, 1.0))).valid.tolist()[-2:] == [False, True]
    assert len(feature_matrix(series_of([]))) == 0


def test_a_matrix_is_the_same_after_a_frame_and_after_a_table(tmp_path: Path) -> None:
    series = broken_at(random_series(400, 3), [150])
    matrix = feature_matrix(series)
    matrix.to_frame().to_parquet(tmp_path / "table.parquet")
    for back in (
        FeatureMatrix.from_frame(matrix.to_frame()),
        FeatureMatrix.from_table(matrix.to_table()),
        FeatureMatrix.from_frame(pd.read_parquet(tmp_path / "table.parquet")),
    ):
        assert_same_bits(back, matrix)
        np.testing.assert_array_equal(back.segment, matrix.segment)
        assert back.open_time.dtype == matrix.open_time.dtype
    assert str(matrix.to_frame()["open_time"].dtype) == "datetime64[us, UTC]"


def test_features_of_another_catalogue_are_refused() -> None:
    table = feature_matrix(random_series(200, 3)).to_table()
    old = table.replace_schema_metadata({"catalogue_version": "0-old"})
    with pytest.raises(ValueError, match="follow catalogue 0-old, this program has 1-"):
        FeatureMatrix.from_table(old)
    with pytest.raises(ValueError, match="columns must be"):
        FeatureMatrix.from_table(table.drop_columns(["rsi_14"]))
    with pytest.raises(ValueError, match="follow catalogue none"):
        FeatureMatrix.from_table(table.replace_schema_metadata(None))
    with pytest.raises(ValueError, match="follow catalogue None"):
        FeatureMatrix.from_frame(pd.DataFrame({"rsi_14": [50.0]}))


def test_a_matrix_of_the_wrong_shape_is_refused() -> None:
    matrix = feature_matrix(random_series(200, 3))
    with pytest.raises(ValueError, match=r"values must be of shape \(200, 46\), was \(200, 45\)"):
        replace(matrix, values=matrix.values[:, :45])
    with pytest.raises(ValueError, match="valid must have 200 rows"):
        replace(matrix, valid=matrix.valid[1:])


@real_data
@needs_real_data
@pytest.mark.parametrize("interval", [Interval.M60, Interval.M1])
@pytest.mark.parametrize("market", REAL_MARKETS)
def test_real_candles_keep_every_promise(market: str, interval: Interval) -> None:
    series = real_series(market, interval)
    matrix = feature_matrix(series)
    for outcome in check_features(matrix, None):
        assert outcome.passed, outcome.reason
    rng = np.random.default_rng(20260101)
    for cut in rng.integers(1, len(series), 6).tolist():
        early = series.slice(0, cut)
        np.testing.assert_array_equal(feature_matrix(early).values, matrix.values[:cut])
        last: datetime = early.open_time[-1].astype("datetime64[us]").item()
        start = history_start(last.replace(tzinfo=START.tzinfo), interval, rows=24)
        first = int(
            np.searchsorted(early.open_time, np.datetime64(start.replace(tzinfo=None), "us"))
        )
        live = latest_features(early.slice(first, cut), 24)
        np.testing.assert_array_equal(live.values, matrix.values[max(0, cut - 24) : cut])


@real_data
@needs_real_data
def test_the_ranges_are_not_idle() -> None:
    """On real candles each bounded feature uses more than a twentieth of its range."""
    values = feature_matrix(real_series("KRW-XRP", Interval.M60)).values
    for i, feature in enumerate(FEATURES):
        column = values[np.isfinite(values[:, i]), i]
        if np.isfinite(feature.high - feature.low) and feature.name not in WIDE:
            assert np.ptp(column) > (feature.high - feature.low) / 20, FEATURE_NAMES[i]


# A single close may be 50 times the others; it just never is.
WIDE = {"sma_gap_50", "ema_gap_9", "ema_gap_21", "ema_gap_55", "ema_ratio_9_21", "bollinger_width"}
