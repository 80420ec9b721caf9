"""Exact arithmetic for money and coins: a result that would have to be rounded is an error.

Python's default context cuts at 28 digits, silently; a price x volume x fee rate has more. Not
here: what is computed (`matching.py`, `account.py`).
"""

from collections.abc import Callable
from decimal import (
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    localcontext,
)
from functools import wraps
from typing import ParamSpec, TypeVar

_EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, DivisionByZero])
_WIDE = Context(prec=200)
_STEP = Decimal("0.00000001")

P = ParamSpec("P")
R = TypeVar("R")


def exactly(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with Decimal operators that raise decimal.Inexact instead of rounding."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(_EXACT):
            return function(*args, **kwargs)

    return call


def cut(amount: Decimal) -> Decimal:
    """`amount` cut at 8 decimals, never rounded up: what the exchange counts coins in."""
    return _WIDE.multiply(_WIDE.divide_int(amount, _STEP), _STEP)


def affordable(funds: Decimal, price: Decimal) -> Decimal:
    """The coins that `funds` (KRW) buy at `price`, cut at 8 decimals."""
    return _WIDE.multiply(_WIDE.divide_int(_WIDE.divide(funds, _STEP), price), _STEP)


def average(value: Decimal, volume: Decimal) -> Decimal:
    """`value` per coin, rounded to 8 decimals: the one number here that is not exact."""
    return _WIDE.divide(value, volume).quantize(_STEP, rounding=ROUND_HALF_UP, context=_WIDE)


def plain(amount: Decimal) -> str:
    """Upbit's way to write an amount: digits only, no exponent, no trailing zeros."""
    return format(amount.normalize(_WIDE), "f") if amount else "0"
