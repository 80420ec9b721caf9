"""The report as a value: it survives JSON and gives the numbers that are compared."""

import json
import math

import pytest
from pydantic import ValidationError

from trading_assets.backtest.report import Report
from trading_assets_tests.backtest.simulations import report


def test_a_report_survives_json_to_the_last_field() -> None:
    made = report()
    document = json.loads(json.dumps(made.to_json(), allow_nan=False))
    back = Report.from_json(document)
    assert back.to_json() == made.to_json()
    assert back.subject == made.subject
    assert back.measured == made.measured
    assert math.isnan(back.predicted.skill[0].auc_direction_high)  # type: ignore[union-attr]


def test_a_report_of_an_older_form_is_refused() -> None:
    document = report().to_json()
    del document["placebo"]
    with pytest.raises(ValidationError, match="placebo"):
        Report.from_json(document)


def test_the_metrics_are_flat_numbers_without_nan() -> None:
    made = report()
    metrics = made.metrics()
    assert metrics["net_bp"] == made.measured.net_bp.value
    assert metrics["cost_40_net_bp"] == made.costs[2].measured.net_bp.value
    assert metrics["seeds_net_bp"] == 11.0  # (9 + 11 + 13) / 3
    assert metrics["seeds_net_bp_sd"] == pytest.approx(2.0)
    assert metrics["placebo_net_bp"] == -10.0  # the repetition without a trade is left out
    assert metrics["random_net_bp_max"] == -14.0
    assert all(math.isfinite(v) for v in metrics.values())
