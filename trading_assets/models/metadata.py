"""The content of `model_metadata.json`: what a model was made of and what its numbers mean."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import lightgbm as lgb
import numpy as np

from trading_assets.features.sequences import SEQUENCE_LENGTH
from trading_assets.models.calibration import Calibration
from trading_assets.models.dataset import Dataset
from trading_assets.models.model import CLASSES, ClassReturns
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile
from trading_assets.settings import Recipe


def model_metadata(
    rows: Dataset,
    profile: Profile,
    *,
    role: str,
    recipe: Recipe,
    seeds: Sequence[int],
    rounds: int,
    parameters: Mapping[str, Any],
    calibration: Calibration,
    returns: ClassReturns,
    trained_at: datetime,
) -> dict[str, Any]:
    """Plain JSON values; times ISO 8601 UTC, ratios as exact decimal strings.

    rows: what the model was fitted on. role: "twin" or "served".
    """
    shares = np.bincount(rows.y, minlength=3) / len(rows)
    return {
        "market": rows.market,
        "profile": profile.name,
        "role": role,
        "recipe": recipe.value,
        "trained_at": trained_at.astimezone(UTC).isoformat(),
        "interval_minutes": profile.interval_minutes,
        "window": {
            "first_open_time": _iso(rows.open_time[0]),
            "last_open_time": _iso(rows.open_time[-1]),
            "last_label_end": _iso(rows.end_time.max()),
            "rows": len(rows),
        },
        **label_terms(profile, rows.costs),
        "label_shares": [float(share) for share in shares],
        "sell_decision": "closes positions only; backtest and replay include it, labels do not",
        "features": {
            "catalogue_version": rows.catalogue_version,
            "names": list(rows.features),
            "view": rows.view.value,
            "columns": len(rows.columns),
            "sequence_length": SEQUENCE_LENGTH,
        },
        "candle_hash": rows.candle_hash,
        "calibration": calibration.to_json(),
        "class_returns": {"long": list(returns.long), "short": list(returns.short)},
        "seeds": list(seeds),
        "rounds": rounds,
        "parameters": dict(parameters),
        "lightgbm_version": lgb.__version__,
    }


def label_terms(profile: Profile, costs: Costs) -> dict[str, Any]:
    """What decides which trade a label is the outcome of: the same here and in what is traded."""
    return {
        "label": {
            "kind": profile.label.value,
            "classes": list(CLASSES),
            "horizon_candles": profile.horizon_candles,
        },
        "exits": {"kind": type(profile.exits).__name__, **_plain(asdict(profile.exits))},
        "costs": _plain(asdict(costs)),
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Decimals as strings, durations in minutes (`timeout` -> `timeout_minutes`)."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, timedelta):
            plain[f"{name}_minutes"] = value / timedelta(minutes=1)
        else:
            plain[name] = str(value) if isinstance(value, Decimal) else value
    return plain


def _iso(moment: np.datetime64) -> str:
    return f"{np.datetime_as_string(moment, unit='s')}+00:00"
