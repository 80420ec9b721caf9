"""Models: saved and loaded to the bit, refused when damaged, light to load."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trading_assets.errors import CorruptStore
from trading_assets.models.model import Model
from trading_assets.models.trained import Trained
from trading_assets.models.training import train
from trading_assets.settings import Recipe
from trading_assets_tests.models.examples import small_dataset, small_profile

DATASET = small_dataset()


@pytest.fixture(scope="module")
def ensemble() -> Trained:
    return train(DATASET, small_profile(), Recipe.ENSEMBLE, [1, 2], max_rounds=8)


@pytest.fixture(scope="module")
def model(ensemble: Trained) -> Model:
    return ensemble.served


def test_a_loaded_model_gives_the_same_bits(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "served")
    again = Model.load(tmp_path / "served")
    np.testing.assert_array_equal(again.probabilities(DATASET.x), model.probabilities(DATASET.x))
    assert again.digest == model.digest
    assert again.metadata == model.metadata
    assert again.returns == model.returns


def test_a_saved_model_is_json_and_text_only(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "served")
    names = sorted(path.name for path in (tmp_path / "served").iterdir())
    assert names == ["booster_0.txt", "booster_1.txt", "model.json", "model_metadata.json"]
    for path in (tmp_path / "served").iterdir():
        path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir() if p.name != "home"] == ["served"]


def test_loading_and_predicting_works_without_sklearn_mlflow_and_pandas(
    model: Model, tmp_path: Path
) -> None:
    model.save(tmp_path / "served")
    program = (
        "import sys\n"
        "for name in ('sklearn', 'mlflow', 'pandas', 'dagster'): sys.modules[name] = None\n"
        "from pathlib import Path; import numpy as np\n"
        "from trading_assets.models.model import Model\n"
        f"m = Model.load(Path({str(tmp_path / 'served')!r}))\n"
        "print(m.probabilities(np.zeros((1, len(m.columns)), dtype=np.float32)).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    here = model.probabilities(np.zeros((1, len(model.columns)), dtype=np.float32))
    assert json.loads(done.stdout) == here.tolist()


def test_probabilities_are_distributions_and_expected_values_their_mean_return(
    model: Model,
) -> None:
    p = model.probabilities(DATASET.x)
    assert p.shape == (len(DATASET), 3)
    assert p.sum(axis=1) == pytest.approx(1.0)
    assert p.max(axis=1).min() >= 1 / 3
    one = np.array([[0.2, 0.3, 0.5]])
    sell, hold, buy = model.returns.long
    assert model.ev_long(one)[0] == pytest.approx(0.2 * sell + 0.3 * hold + 0.5 * buy)
    sell, hold, buy = model.returns.short
    assert model.ev_short(one)[0] == pytest.approx(0.2 * sell + 0.3 * hold + 0.5 * buy)


def test_one_row_gets_the_same_bits_as_in_a_batch(model: Model) -> None:
    batch = model.probabilities(DATASET.x[:50])
    for row in (0, 17, 49):
        np.testing.assert_array_equal(model.probabilities(DATASET.x[row : row + 1])[0], batch[row])


def test_a_wrong_shape_or_a_value_that_is_not_finite_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match=r"x must be \(n, 46\), was \(2, 45\)"):
        model.probabilities(DATASET.x[:2, :45])
    bad = DATASET.x[:2].copy()
    bad[1, 3] = np.nan
    with pytest.raises(ValueError, match="row 1 log_return_12 is not"):
        model.probabilities(bad)
    assert model.probabilities(DATASET.x[:0]).shape == (0, 3)


def test_a_damaged_model_is_refused_by_the_name_of_the_file(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "served"
    model.save(folder)
    booster = folder / "booster_1.txt"
    text = booster.read_text()
    booster.write_text(text[: len(text) // 2])
    with pytest.raises(CorruptStore, match=r"booster_1\.txt is not the file that was saved"):
        Model.load(folder)
    booster.unlink()
    with pytest.raises(CorruptStore, match=r"booster_1\.txt cannot be read"):
        Model.load(folder)
    (folder / "model.json").write_text('{"format": 1}')
    with pytest.raises(CorruptStore, match=r"model\.json is not a model"):
        Model.load(folder)
    (folder / "model.json").write_text('{"format": 99}')
    with pytest.raises(CorruptStore, match="format must be 1, was 99"):
        Model.load(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(CorruptStore, match="is not JSON"):
        Model.load(folder)


def test_a_saved_model_is_never_overwritten(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "served")
    with pytest.raises(FileExistsError, match="never overwritten"):
        model.save(tmp_path / "served")


def test_a_whole_training_survives_saving(ensemble: Trained, tmp_path: Path) -> None:
    ensemble.save(tmp_path / "challenger")
    again = Trained.load(tmp_path / "challenger")
    assert again.twin.digest == ensemble.twin.digest
    assert again.served.digest == ensemble.served.digest
    assert again.evaluation.metrics() == ensemble.evaluation.metrics()
    assert again.audit == ensemble.audit
    assert again.split == ensemble.split
    np.testing.assert_array_equal(again.unseen_rows.loss_model, ensemble.unseen_rows.loss_model)
    np.testing.assert_array_equal(again.gate_rows.open_time, ensemble.gate_rows.open_time)
    (tmp_path / "challenger" / "gate_rows.npz").write_bytes(b"half")
    with pytest.raises(CorruptStore, match=r"gate_rows\.npz"):
        Trained.load(tmp_path / "challenger")


def test_the_metadata_says_what_the_model_was_made_of(model: Model) -> None:
    metadata = json.loads(json.dumps(dict(model.metadata)))
    assert metadata["market"] == "KRW-BTC"
    assert metadata["role"] == "served"
    assert metadata["recipe"] == "ensemble"
    assert metadata["window"] == {
        "first_open_time": "2025-01-01T00:00:00+00:00",
        "last_open_time": "2025-03-04T11:00:00+00:00",  # 1,499 hours later
        "last_label_end": "2025-03-04T14:00:00+00:00",
        "rows": 1500,
    }
    assert metadata["trained_at"] == "2025-03-04T12:00:00+00:00"
    assert metadata["label"]["horizon_candles"] == 2
    assert metadata["exits"] == {
        "kind": "FixedExits",
        "stop_loss": "0.02",
        "take_profit": "0.02",
        "timeout_minutes": 120.0,
    }
    assert metadata["costs"] == {"fee_rate": "0.0005", "min_slippage_rate": "0.0003"}
    assert len(metadata["features"]["names"]) == 46
    assert metadata["seeds"] == [1, 2]
    assert metadata["candle_hash"] == "sha256 of the candles"
    assert metadata["sell_decision"].startswith("closes positions only")
