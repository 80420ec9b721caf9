"""Values survive JSON, NaN included, and a wrong document is refused by field."""

import json
import math

import pytest
from pydantic import ValidationError

from trading_assets.backtest.documents import from_json, to_json
from trading_assets.backtest.statistics import Interval


def test_a_number_that_is_not_known_is_null_and_comes_back_as_nan() -> None:
    document = to_json(Interval(1.5, math.nan, 2.5, 7))
    assert document == {"value": 1.5, "low": None, "high": 2.5, "blocks": 7, "coverage": 0.95}
    back = from_json(Interval, json.loads(json.dumps(document, allow_nan=False)))
    assert (back.value, back.high, back.blocks) == (1.5, 2.5, 7)
    assert math.isnan(back.low)


def test_a_document_of_another_form_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="blocks"):
        from_json(Interval, {"value": 1.0, "low": 0.0, "high": 2.0})
