"""What MLflow runs to serve one of our models: loaded by `mlflow.pyfunc`, by nothing else here.

A "model from code": MLflow copies this file beside the model's own folder, so that nothing is
pickled. Input: (n, k) float32 design matrix; output: (n, 3) probabilities of SELL, HOLD, BUY.
"""

from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from trading_assets.models.model import Model


class ServedModel(PythonModel):
    """A thin shell around `Model`."""

    def load_context(self, context: Any) -> None:
        self._model = Model.load(Path(context.artifacts["served"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        # Without type hints: mlflow reads them and warns that it cannot check these.
        del context, params
        return self._model.probabilities(np.asarray(model_input, dtype=np.float32))


set_model(ServedModel())
