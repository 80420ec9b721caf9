"""What the body of a `/control` request may say: each reader gives a value or says the rule.

All of them raise ValueError with a sentence for the person who sent the body, values in it as JSON.
Not here: what is done with a value (`control.py`), the parts of a fault (`faults.py`).
"""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

Json = dict[str, Any]

LONGEST_STEP_SECONDS = 31_622_400  # a year of 366 days
# Wider than any market, narrow enough that the account's exact arithmetic never runs out of digits.
_LARGEST = Decimal("1000000000000000")
_MOST_DECIMALS = 30
_SHOWN_CHARACTERS = 80


def object_of(body: bytes) -> Json:
    """The JSON object that `body` is, decimals as Decimal with every digit."""
    try:
        found = json.loads(body, parse_float=Decimal)
        json.dumps(found, default=str, ensure_ascii=False).encode()  # no half characters (\ud800)
    except (ValueError, InvalidOperation, RecursionError):
        sent = body.decode(errors="replace")
        raise ValueError(f"the body must be JSON, was {shown(sent)}") from None
    if not isinstance(found, dict):
        raise ValueError(f"the body must be a JSON object, was {shown(found)}")  # noqa: TRY004  # one kind of refusal for callers
    return found


def check_names(values: Json, *names: str) -> None:
    """Refuses a body that has not just `names`."""
    for name in values:
        if name not in names:
            raise ValueError(f"{shown(name)} is unknown: the body has {', '.join(names)}")
    for name in names:
        if name not in values:
            raise ValueError(f"{name} is missing: the body has {', '.join(names)}")


def text(values: Json, name: str) -> str:
    return _text(name, values[name])


def texts(values: Json, name: str) -> list[str]:
    """A list of texts, which may be empty."""
    found = values[name]
    if not isinstance(found, list):
        raise ValueError(f"{name} must be a list, was {shown(found)}")  # noqa: TRY004  # one kind of refusal for callers
    return [_text(f"each of {name}", value) for value in found]


def amount(values: Json, name: str) -> Decimal:
    """Money, coins or a price: a number, or a number as text."""
    return _amount(name, values[name])


def levels(values: Json, name: str) -> list[tuple[str, str]]:
    """Pairs of price and size. Whether they make a book is for `Liquidity.pin` to say."""
    found = values[name]
    if not isinstance(found, list):
        raise ValueError(f"{name} must be a list of [price, size], was {shown(found)}")  # noqa: TRY004  # one kind of refusal for callers
    for level in found:
        if not isinstance(level, list) or len(level) != 2:
            raise ValueError(f"each of {name} must be [price, size], was {shown(level)}")
    return [
        (str(_amount(f"a price of {name}", price)), str(_amount(f"a size of {name}", size)))
        for price, size in found
    ]


def step_seconds(values: Json, name: str) -> float:
    found = _number(name, values[name])
    if not 0 <= found <= LONGEST_STEP_SECONDS:
        raise ValueError(
            f"{name} must be from 0 to {LONGEST_STEP_SECONDS}, was {shown(values[name])}"
        )
    return float(found)


def shown(value: Any) -> str:
    """`value` as JSON, cut when it is long; a number as it was written."""
    if isinstance(value, Decimal):
        said = str(value)
    else:
        said = json.dumps(value, default=str, ensure_ascii=False)
    return said if len(said) <= _SHOWN_CHARACTERS else f"{said[:_SHOWN_CHARACTERS]}..."


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be text, was {shown(value)}")
    return value


def _amount(name: str, value: Any) -> Decimal:
    found = _number(name, value)
    exponent = found.as_tuple().exponent
    assert isinstance(exponent, int)
    if not -_LARGEST <= found <= _LARGEST or -exponent > _MOST_DECIMALS:
        raise ValueError(
            f"{name} must be from -{_LARGEST} to {_LARGEST} with at most {_MOST_DECIMALS} "
            f"decimals, was {shown(value)}"
        )
    return found


def _number(name: str, value: Any) -> Decimal:
    wrong = ValueError(f"{name} must be a number, was {shown(value)}")
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise wrong
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise wrong from None
    if not found.is_finite():
        raise wrong
    return found
