"""Names that are the same whoever computes them: position ids and order identifiers.

They depend on what is written in the database, never on the lease, the run or the clock. So a
stale holder and its successor produce the same identifier, and the exchange, which takes each once
for ever, refuses the second: the fence that holds even when a process was only asleep.
"""

import hashlib
import re
from datetime import datetime

from trading_assets.clock import as_utc

_PREFIX = re.compile(r"[a-z0-9]{1,12}")
_DIGITS = 40  # 160 bits of SHA-256; with the longest prefix 53 of the 64 characters allowed


def position_id(market: str, signal_id: int, signal_created_at: datetime) -> str:
    """The id of the position that a signal may become.

    The signal's time is part of it, because a new database counts its signals from 1 again while
    the exchange remembers old identifiers for ever.
    """
    moment = as_utc(signal_created_at).isoformat(timespec="microseconds")
    return _digest(market, str(signal_id), moment)[:32]


def order_identifier(prefix: str, position: str, leg: str, attempt: int) -> str:
    """The identifier of the `attempt`-th order (from 1) of a position's leg, <= 64 characters."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"prefix must be 1 to 12 of a-z and 0-9, was {prefix!r}")
    if attempt < 1:
        raise ValueError(f"attempt must be at least 1, was {attempt}")
    return f"{prefix}-{_digest(prefix, position, leg, str(attempt))}"


def is_ours(identifier: str | None, prefix: str) -> bool:
    """Whether an order of the account carries our prefix and the shape of our identifiers."""
    if identifier is None or not identifier.startswith(f"{prefix}-"):
        return False
    return re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", identifier[len(prefix) + 1 :]) is not None


def _digest(*parts: str) -> str:
    # Lengths keep ("a", "bc") and ("ab", "c") apart.
    text = "|".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
