"""Frozen values as plain JSON and back: what a report is stored, sent and shown as.

pydantic reads the dataclasses' own annotations, so that a value and its document cannot drift
apart. Here: the two directions and NaN, which JSON does not know. Not here: any value.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

T = TypeVar("T")


def _nan_if_none(value: Any) -> Any:
    return math.nan if value is None else value


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


# A number that may be unknown: NaN as a value, null in a document.
Number = Annotated[
    float, BeforeValidator(_nan_if_none), PlainSerializer(_none_if_nan, when_used="json")
]


def to_json(value: object) -> dict[str, Any]:
    """The dataclass `value` as plain JSON values; times ISO 8601, NaN null."""
    document = TypeAdapter(type(value)).dump_python(value, mode="json")
    assert isinstance(document, dict)
    return document


def from_json(kind: type[T], document: Mapping[str, Any]) -> T:
    """The inverse of `to_json`. Raises pydantic's ValidationError, naming each wrong field."""
    return TypeAdapter(kind).validate_python(document)
