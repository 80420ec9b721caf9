"""The value Predictions and its store."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from trading_assets.backtest.predictions import Predictions, PredictionStore
from trading_assets.errors import CorruptStore, WrongWorld
from trading_assets.features.tables import read_parquet, write_parquet
from trading_assets_tests.backtest.predicted import HOUR, START, predictions


def assert_same(one: Predictions, other: Predictions) -> None:
    for name in Predictions.__slots__:
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right, err_msg=name)
            assert left.dtype == right.dtype, name
        else:
            assert left == right, name


def test_predictions_come_back_from_the_store_to_the_bit(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, "sandbox-1")
    store.save(predictions())
    loaded = store.load("KRW-BTC", "swing", "lightgbm")
    assert loaded is not None
    assert_same(loaded, predictions())


def test_predictions_without_rows_come_back_too(tmp_path: Path) -> None:
    nothing = predictions().between(START + 9 * HOUR, START + 10 * HOUR)
    assert len(nothing) == 0
    store = PredictionStore(tmp_path, "sandbox-1")
    store.save(nothing)
    loaded = store.load("KRW-BTC", "swing", "lightgbm")
    assert loaded is not None
    assert_same(loaded, nothing)


def test_what_was_never_stored_is_none(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, "sandbox-1")
    store.save(predictions())
    assert store.load("KRW-ETH", "swing", "lightgbm") is None
    assert store.load("KRW-BTC", "swing", "logistic") is None


def test_a_second_save_replaces_the_first_and_leaves_no_draft(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, "sandbox-1")
    store.save(predictions())
    store.save(predictions(close=np.array([1.0, 2.0, 3.0, 4.0])))
    loaded = store.load("KRW-BTC", "swing", "lightgbm")
    assert loaded is not None
    assert loaded.close.tolist() == [1, 2, 3, 4]
    folder = store.folder("KRW-BTC", "swing", "lightgbm")
    assert [p.name for p in folder.iterdir()] == ["predictions.parquet"]


def test_a_folder_of_another_world_is_refused(tmp_path: Path) -> None:
    PredictionStore(tmp_path, "sandbox-1")
    with pytest.raises(WrongWorld, match="belongs to the world sandbox-1, not to live"):
        PredictionStore(tmp_path, "live")


def test_a_file_copied_from_another_world_is_refused(tmp_path: Path) -> None:
    theirs = PredictionStore(tmp_path / "sandbox", "sandbox-1")
    ours = PredictionStore(tmp_path / "live", "live")
    written = theirs.save(predictions())
    path = ours.path("KRW-BTC", "swing", "lightgbm")
    path.parent.mkdir()
    path.write_bytes(written.read_bytes())
    with pytest.raises(WrongWorld, match="belongs to the world sandbox-1, not to live"):
        ours.load("KRW-BTC", "swing", "lightgbm")


def test_a_file_of_another_market_is_refused(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, "sandbox-1")
    written = store.save(predictions())
    path = store.path("KRW-ETH", "swing", "lightgbm")
    path.parent.mkdir()
    path.write_bytes(written.read_bytes())
    with pytest.raises(CorruptStore, match="holds predictions of KRW-BTC swing lightgbm"):
        store.load("KRW-ETH", "swing", "lightgbm")


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, "sandbox-1")
    path = store.save(predictions())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CorruptStore, match="cannot be read"):
        store.load("KRW-BTC", "swing", "lightgbm")


def test_a_file_without_a_column_is_refused(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, "sandbox-1")
    path = store.save(predictions())
    write_parquet(read_parquet(path).drop_columns(["seed_1_buy"]), path)
    with pytest.raises(CorruptStore, match=r"does not hold predictions.*seed_1_buy"):
        store.load("KRW-BTC", "swing", "lightgbm")


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path, "sandbox-1")
    write_parquet(pa.table({"a": [1]}), store.path("KRW-BTC", "swing", "lightgbm"))
    with pytest.raises(CorruptStore, match="does not hold predictions"):
        store.load("KRW-BTC", "swing", "lightgbm")


def test_the_expected_value_is_that_of_the_rows_own_fold() -> None:
    made = predictions()
    # Row 1, fold 0: 0.2 x -0.02 + 0.3 x -0.001 + 0.5 x 0.018 = -0.004 - 0.0003 + 0.009 = 0.0047
    assert made.ev_long[1] == pytest.approx(0.0047, abs=1e-15)
    # Row 3, fold 1: 0.25 x -0.01 + 0.25 x -0.002 + 0.5 x 0.01 = 0.002; mirrored -0.003
    assert made.ev_long[3] == pytest.approx(0.002, abs=1e-15)
    assert made.ev_short[3] == pytest.approx(-0.003, abs=1e-15)


def test_one_seed_alone_has_its_own_probabilities_and_expected_values() -> None:
    alone = predictions().of_seed(0)
    assert alone.seeds == 1
    assert alone.p[1] == pytest.approx([0.1, 0.3, 0.6], abs=1e-7)
    # 0.1 x -0.02 + 0.3 x -0.001 + 0.6 x 0.018 = -0.002 - 0.0003 + 0.0108 = 0.0085
    assert alone.ev_long[1] == pytest.approx(0.0085, abs=1e-8)


def test_a_stretch_of_time_keeps_the_folds() -> None:
    part = predictions().between(START + HOUR, START + 3 * HOUR)
    assert part.close.tolist() == [101, 102]
    assert part.fold.tolist() == [0, 1]
    assert part.p_seeds.shape == (2, 2, 3)
    assert part.folds == predictions().folds


def test_a_row_is_known_at_the_close_of_its_candle() -> None:
    assert predictions().closes[0] == np.datetime64("2024-01-01T01:00", "us")
    assert predictions(interval=timedelta(minutes=5)).closes[0] == np.datetime64(
        "2024-01-01T00:05", "us"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"close": np.ones(3)}, r"close must be \(4,\), was \(3,\)"),
        ({"p": np.full((4, 3), 0.5)}, "p must be probabilities that sum to 1"),
        ({"p_prior": np.full((4, 3), np.nan)}, "p_prior must be probabilities"),
        ({"p_seeds": np.empty((0, 4, 3), np.float32)}, "at least one seed"),
        ({"fold": np.array([0, 0, 1, 2], np.int16)}, "fold must be from 0 to 1"),
        ({"sigma": np.array([1.0, np.nan, 1.0, 1.0])}, "sigma must be finite, row 1 has nan"),
        ({"open_time": np.zeros(4, "datetime64[us]")}, "ascending order"),
        ({"open_time": np.arange(4).astype("datetime64[s]")}, "must be datetime64"),
    ],
)
def test_nonsense_is_refused_by_name(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        predictions(**change)
