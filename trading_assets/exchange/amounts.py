"""Exact amounts: Decimal sums that never round, the exchange's 8 decimals, plain digits.

What the values of model.py and their readers share. Not here: prices on the tick grid
(price_units.py).
"""

from collections.abc import Iterable
from decimal import ROUND_DOWN, Context, Decimal, Inexact

# Upbit sends amounts of up to 27 digits; Python's default context would round sums of them.
EXACT = Context(prec=100, traps=[Inexact])
VOLUME_STEP = Decimal("0.00000001")

_WIDE = Context(prec=100)
_READABLE = Context(prec=10)


def cut_volume(volume: Decimal) -> Decimal:
    """`volume` (coins) cut to the 8 decimals that the exchange counts; never rounded up."""
    return volume.quantize(VOLUME_STEP, rounding=ROUND_DOWN, context=_WIDE)


def plain(amount: Decimal) -> str:
    """`amount` in digits, without an exponent: 1E+3 is "1000", 1E-8 is "0.00000001"."""
    return format(amount, "f")


def price_text(price: Decimal) -> str:
    """A price as people read it, thousands apart, to 10 digits: an average may have any number."""
    return f"{price.normalize(_READABLE):,f}"


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum to the last digit. Raises decimal.Inexact beyond 100 digits rather than round."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def check_finite(name: str, amount: Decimal) -> None:
    if not isinstance(amount, Decimal):
        raise ValueError(f"{name} must be a Decimal, was {amount!r}")  # noqa: TRY004  # one kind of refusal for callers
    if not amount.is_finite():
        raise ValueError(f"{name} must be finite, was {amount}")


def check_not_negative(name: str, amount: Decimal) -> None:
    check_finite(name, amount)
    if amount < 0:
        raise ValueError(f"{name} must not be negative, was {amount}")


def check_above_zero(name: str, amount: Decimal) -> None:
    check_finite(name, amount)
    if amount <= 0:
        raise ValueError(f"{name} must be above 0, was {amount}")
