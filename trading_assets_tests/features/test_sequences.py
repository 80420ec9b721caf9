"""Sequences: which are usable, what a model is given of them, and how they are stored."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from trading_assets.candles.series import CandleSeries
from trading_assets.features.matrix import feature_matrix, latest_features
from trading_assets.features.sequences import (
    SEQUENCE_LENGTH,
    WINDOW,
    Sequences,
    design_matrix,
    design_names,
    filled_windows,
    latest_sequences,
    make_sequences,
    refusal,
    usable_windows,
)
from trading_assets.settings import SequenceView
from trading_assets_tests.features.candle_series import (
    broken_at,
    random_series,
    seeds,
    series_of,
)


def sequences_of(series: CandleSeries) -> Sequences:
    return make_sequences(feature_matrix(series), series)


def with_filled(series: CandleSeries, rows: list[int]) -> CandleSeries:
    filled = series.filled.copy()
    filled[rows] = True
    return replace(series, filled=filled)


def small(rows: list[int], length: int = 60) -> Sequences:
    """Sequences over a base whose row i holds 46 i, 46 i + 1, ..."""
    base = np.arange(length * 46, dtype=np.float32).reshape(length, 46)
    times = np.datetime64("2024-01-01", "us") + np.array(rows) * np.timedelta64(1, "h")
    return Sequences(times, base, np.array(rows, dtype=np.int64))


def test_a_sequence_is_its_24_feature_rows_oldest_first() -> None:
    series = random_series(200, 1)
    matrix = feature_matrix(series)
    sequences = make_sequences(matrix, series)
    # The first has 100 candles of warm-up and 24 steps: it ends with candle 123.
    np.testing.assert_array_equal(sequences.rows, np.arange(123, 200))
    np.testing.assert_array_equal(sequences.open_time, series.open_time[123:])
    for i in (0, 40, 76):
        end = 123 + i
        expected = matrix.values[end - 23 : end + 1].astype(np.float32)
        np.testing.assert_array_equal(sequences.tensor[i], expected)
        np.testing.assert_array_equal(sequences.flat[i], expected.ravel())
        np.testing.assert_array_equal(sequences.last[i], expected[-1])


def test_sequences_without_holes_are_a_view_that_cannot_be_written() -> None:
    sequences = small(list(range(23, 60)))
    for view in (sequences.tensor, sequences.flat):
        assert np.shares_memory(view, sequences.base)
        assert not view.flags.writeable
    assert not np.shares_memory(sequences.flat_copy(), sequences.base)


def test_sequences_with_holes_are_gathered() -> None:
    sequences = small([23, 24, 40, 59])
    np.testing.assert_array_equal(sequences.tensor[:, -1, 0], [23 * 46, 24 * 46, 40 * 46, 59 * 46])
    np.testing.assert_array_equal(sequences.tensor[:, 0, 0], [0, 46, 17 * 46, 36 * 46])
    np.testing.assert_array_equal(sequences.flat, sequences.flat_copy())


def test_no_sequences_have_empty_views() -> None:
    sequences = small([])
    assert sequences.tensor.shape == (0, 24, 46)
    assert sequences.flat.shape == (0, 1104)
    for view, width in zip(SequenceView, (230, 46, 1104), strict=True):
        assert design_matrix(sequences, view).shape == (0, width)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([22], "rows must be from 23 to 59"),
        ([60], "rows must be from 23 to 59"),
        ([30, 30], "strictly increasing"),
        ([40, 39], "strictly increasing"),
    ],
)
def test_rows_that_cannot_be_are_refused(rows: list[int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        small(rows)


def test_a_base_of_another_type_or_width_is_refused() -> None:
    sequences = small([30])
    with pytest.raises(ValueError, match="float32 in C order, was float64"):
        replace(sequences, base=sequences.base.astype(np.float64))
    with pytest.raises(ValueError, match="46 columns"):
        replace(sequences, base=sequences.base[:, :45])
    with pytest.raises(ValueError, match="1 rows but 0 open times"):
        replace(sequences, open_time=sequences.open_time[:0])


def test_ten_percent_of_filled_candles_are_allowed_and_no_more() -> None:
    # The window has 124 candles, 10 % of which are 12.4.
    series = random_series(WINDOW, 2)
    twelve = with_filled(series, list(range(10, 22)))
    thirteen = with_filled(series, list(range(10, 23)))
    assert len(sequences_of(twelve)) == 1
    assert refusal(twelve) is None
    assert len(sequences_of(thirteen)) == 0
    assert refusal(thirteen) == "13 of the last 124 candles are without trades, more than 10%"


def test_a_filled_candle_counts_until_it_leaves_the_window() -> None:
    series = with_filled(random_series(WINDOW + 2, 3), list(range(1, 14)))
    # Windows begin with candles 0, 1 and 2: 13, 13 and 12 filled ones.
    assert usable_windows(series)[-3:].tolist() == [False, False, True]
    assert filled_windows(series)[-3:].tolist() == [True, True, False]


def test_a_window_is_whole_from_its_124th_candle_after_a_break() -> None:
    series = broken_at(random_series(400, 4), [200])
    rows = sequences_of(series).rows.tolist()
    assert rows == [*range(123, 200), *range(200 + 123, 400)]
    assert refusal(series.slice(0, 200 + 123)) == (
        "a sequence needs 124 candles since the last break, there are 123"
    )
    assert refusal(series.slice(0, 200 + 124)) is None
    assert refusal(series.slice(0, 0)) == "there are no candles"


@given(seeds, st.lists(st.integers(1, 599), max_size=3, unique=True), st.floats(0, 0.2))
@settings(max_examples=40, deadline=None)
def test_usable_windows_are_those_that_a_loop_finds(
    seed: int, breaks: list[int], filled: float
) -> None:
    series = broken_at(random_series(600, seed), sorted(breaks))
    quiet = np.random.default_rng(seed).random(600) < filled
    series = replace(series, filled=quiet)
    expected = []
    for row in range(WINDOW - 1, 600):
        window = slice(row - WINDOW + 1, row + 1)
        one_segment = len(set(series.segment[window].tolist())) == 1
        if one_segment and sum(quiet[window].tolist()) * 10 <= WINDOW:
            expected.append(row)
    sequences = sequences_of(series)
    assert sequences.rows.tolist() == expected
    assert np.isfinite(sequences.flat_copy()).all()


@given(seeds, st.integers(WINDOW, 599), st.sampled_from(list(SequenceView)))
@settings(max_examples=40, deadline=None)
def test_later_candles_change_no_model_input(seed: int, cut: int, view: SequenceView) -> None:
    series = with_filled(random_series(600, seed), [150, 151, 300])
    full = design_matrix(sequences_of(series), view)
    early = design_matrix(sequences_of(series.slice(0, cut)), view)
    np.testing.assert_array_equal(early, full[: len(early)])
    live = latest_sequences(series.slice(0, cut))
    assert len(live) == 1
    np.testing.assert_array_equal(design_matrix(live, view), early[-1:])


@given(seeds, st.lists(st.integers(23, 1999), min_size=1, max_size=200, unique=True))
@settings(max_examples=25, deadline=None)
def test_the_summary_is_that_of_each_sequence_by_itself(seed: int, rows: list[int]) -> None:
    rng = np.random.default_rng(seed)
    base = (rng.standard_normal((2000, 46)) * rng.lognormal(0, 4, 46)).astype(np.float32)
    base[:, 5] = 0.1  # a constant column
    picked = np.array(sorted(rows))
    times = np.datetime64("2024-01-01", "us") + picked * np.timedelta64(1, "h")
    sequences = Sequences(times, base, picked)
    summary = design_matrix(sequences, SequenceView.SUMMARY)
    steps = sequences.tensor.astype(np.float64)
    for i, plain in enumerate(
        (steps.mean(1), steps.std(1), steps[:, -1], steps.min(1), steps.max(1))
    ):
        np.testing.assert_allclose(summary[:, i * 46 : (i + 1) * 46], plain, rtol=2e-7, atol=1e-9)
    assert (summary[:, 46 + 5] == 0).all()
    for i in (0, len(picked) - 1):
        alone = design_matrix(
            replace(sequences, open_time=times[[i]], rows=picked[[i]]), SequenceView.SUMMARY
        )
        np.testing.assert_array_equal(alone[0], summary[i])


def test_the_columns_are_named_as_they_lie() -> None:
    sequences = small([30])
    summary = design_names(SequenceView.SUMMARY)
    assert (summary[0], summary[46], summary[229]) == (
        "log_return_1_mean",
        "log_return_1_sd",
        "weekday_cos_max",
    )
    flat = design_names(SequenceView.FLAT)
    assert (flat[0], flat[-1]) == ("log_return_1_lag_23", "weekday_cos_lag_0")
    last = design_matrix(sequences, SequenceView.LAST)[0]
    assert last[design_names(SequenceView.LAST).index("rsi_14")] == last[16]
    assert (
        design_matrix(sequences, SequenceView.SUMMARY)[0][summary.index("rsi_14_last")] == last[16]
    )
    assert design_matrix(sequences, SequenceView.FLAT)[0][flat.index("rsi_14_lag_0")] == last[16]


def test_a_matrix_that_is_not_the_end_of_the_series_is_refused() -> None:
    series = random_series(300, 5)
    with pytest.raises(ValueError, match="must be the last of the 299 candles"):
        make_sequences(latest_features(series, 50), series.slice(0, 299))


def test_the_latest_of_several_sequences_are_those_of_the_whole() -> None:
    series = random_series(300, 6)
    several = latest_sequences(series, 5)
    np.testing.assert_array_equal(several.open_time, series.open_time[-5:])
    np.testing.assert_array_equal(several.tensor, sequences_of(series).tail(5).tensor)
    assert len(latest_sequences(series.slice(0, WINDOW - 1))) == 0
    assert several.base.shape == (5 + SEQUENCE_LENGTH - 1, 46)


@pytest.mark.parametrize("folder_type", [Path, UPath])
def test_sequences_are_the_same_after_storing(
    tmp_path: Path, folder_type: Callable[[Path], Path | UPath]
) -> None:
    series = broken_at(random_series(500, 7), [250])
    sequences = sequences_of(series)
    folder = folder_type(tmp_path) / "KRW-BTC"
    sequences.save(folder)
    back = Sequences.load(folder)
    np.testing.assert_array_equal(back.open_time, sequences.open_time)
    np.testing.assert_array_equal(back.rows, sequences.rows)
    np.testing.assert_array_equal(back.base, sequences.base)
    assert back.open_time.dtype == np.dtype("datetime64[us]")
    assert back.base.flags.c_contiguous


def test_sequences_are_the_same_after_an_object_store() -> None:
    sequences = sequences_of(random_series(200, 8))
    folder = UPath("memory://sequences/KRW-BTC")
    sequences.save(folder)
    np.testing.assert_array_equal(Sequences.load(folder).flat, sequences.flat)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = sequences_of(random_series(200, 9))
    folder = tmp_path / "sequences"
    old.save(folder)

    def half_a_file(table: pa.Table, file: pa.NativeFile, **_options: str) -> None:
        del table
        file.write(b"PAR1 half")
        raise OSError("no space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", half_a_file)
    with pytest.raises(OSError, match="no space left"):
        sequences_of(random_series(300, 10)).save(folder)
    assert [p.name for p in folder.iterdir()] == ["sequences.parquet"]
    np.testing.assert_array_equal(Sequences.load(folder).flat, old.flat)


def test_sequences_of_another_catalogue_are_refused() -> None:
    table = sequences_of(random_series(200, 11)).to_table()
    with pytest.raises(ValueError, match="follow catalogue 0-old"):
        Sequences.from_table(table.replace_schema_metadata({"catalogue_version": "0-old"}))
    with pytest.raises(ValueError, match="columns must be"):
        Sequences.from_table(table.drop_columns(["rsi_14"]))


def test_a_flat_market_gives_finite_model_inputs() -> None:
    sequences = sequences_of(series_of([700.0] * 200, volume=0.0))
    for view in SequenceView:
        assert np.isfinite(design_matrix(sequences, view)).all()
