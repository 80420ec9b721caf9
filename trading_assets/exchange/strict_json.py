"""JSON of the exchange, read strictly, and values shown in errors.

Python's own parser accepts NaN, Infinity and repeated keys; here they are refused. What the values
mean is for the files that check them (`raw_candles.py`, `answers.py`).
"""

import json
from collections.abc import Callable
from typing import Any, NoReturn

from trading_assets.errors import MalformedAnswer

SHOWN = 80


def parse_json(body: bytes, about: str, *, parse_float: Callable[[str], Any] = float) -> Any:
    """The JSON value of `body`. Raises MalformedAnswer showing how the text begins.

    about: what was asked, for the error. parse_float: Decimal keeps every digit.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=parse_float,
            parse_constant=_no_constant,
            object_pairs_hook=_unique_keys,
        )
    except (ValueError, ArithmeticError, RecursionError) as exc:
        begins = body[:SHOWN].decode("utf-8", errors="replace")
        raise MalformedAnswer(
            f"{about}: the answer must be JSON, was {len(body)} bytes that begin with "
            f"{begins!r} ({short(str(exc))})"
        ) from exc


def show(value: object) -> str:
    """`value` as JSON would show it, short."""
    try:
        return short(json.dumps(value, ensure_ascii=False, default=str))
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"


def short(text: str) -> str:
    """The first SHOWN characters of `text`."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ValueError(f"the keys {twice} appear twice in one object")
    return found
