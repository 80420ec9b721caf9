"""How long the account's key is still good: Upbit's end after a year, and none can be extended.

A key that ends while a position is held takes the stop-loss with it, so a person is told weeks
before. Not here: a key that is refused already (`reconcile`).
"""

from datetime import timedelta

from trading_assets.alerts import Severity
from trading_assets.trading.floor import Floor

_SOON = timedelta(days=30)
_URGENT = timedelta(days=7)


def key_left(floor: Floor) -> timedelta:
    """How long the key is still good; alerts below 30 days once a week, below 7 once a day.

    Raises the errors of asking.
    """
    with floor.step("ask for the key's end"):
        ends_at = floor.account.key_ends_at()
    now = floor.now()
    left = ends_at - now
    if left < _SOON:
        urgent = left < _URGENT
        floor.alert(
            Severity.CRITICAL if urgent else Severity.WARNING,
            "key_ends",
            f"key-ends-{ends_at:%Y-%m-%d}-{now:%Y-%m-%d}"
            if urgent
            else f"key-ends-{ends_at:%Y-%m-%d}-{now:%G-W%V}",
            f"The account's key ends in {left.days} days, at {ends_at:%Y-%m-%d %H:%M} UTC; then "
            "nothing can be bought or sold. Make a new one and set UPBIT_ACCESS_KEY and "
            "UPBIT_SECRET_KEY.",
        )
    return left
