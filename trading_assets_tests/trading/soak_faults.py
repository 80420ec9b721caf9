"""Random faults for the soak: every mode that the paper exchange has, dealt like cards.

Here: what goes wrong next. Not here: when (`soak`), and what it does (`paper_exchange.faults`).
"""

import random
from collections import Counter
from collections.abc import Callable

from trading_assets.paper_exchange.faults import LASTING, OF_ORDERS, FaultKind

Values = dict[str, object]

# A 418 stops every request of the machine for a minute, so it is dealt once in so many rounds.
_ROUNDS_PER_BLOCK = 6
_LONGEST_SECONDS = 8.0
# None is a plausible lie: what an exchange that only seems to answer says is not a fault of ours.
_BODIES = ("{}", "null", "[{", "<html>busy</html>", "")
_READS = ("/v1/", "/v1/order", "/v1/accounts", "/v1/orders/", "/v1/orderbook", "/v1/market")


class Deck:
    """Every kind once per round, in random order, with random details. Deterministic by `dice`."""

    def __init__(self, dice: random.Random, *, with_blocks: bool) -> None:
        self._dice, self._with_blocks = dice, with_blocks
        self._left: list[FaultKind] = []
        self._round = 0
        self.dealt: Counter[FaultKind] = Counter()

    def deal(self) -> Values:
        """The next fault, as the exchange's control takes it."""
        if not self._left:
            self._left = [
                k for k in FaultKind if k is not FaultKind.BLOCKED or self._is_block_due()
            ]
            self._dice.shuffle(self._left)
            self._round += 1
        kind = self._left.pop()
        self.dealt[kind] += 1
        return {"kind": kind.value, **self._details(kind)}

    def _is_block_due(self) -> bool:
        return self._with_blocks and self._round % _ROUNDS_PER_BLOCK == 1

    def _details(self, kind: FaultKind) -> Values:
        if kind in LASTING:
            return {"seconds": self._seconds()}
        if kind in OF_ORDERS:
            details: Values = {"seconds": self._seconds()}
            if kind is FaultKind.PARTIAL:
                details["share"] = str(self._dice.choice(("0", "0.1", "0.5", "0.9")))
            return details
        aim: Values = {"path": "/v1/orders$", "method": "POST"}
        if self._dice.random() < 0.4:
            aim = {"path": self._dice.choice(_READS), "method": "GET"}
        more: dict[FaultKind, Callable[[], Values]] = {
            FaultKind.HANG: lambda: {"seconds": self._seconds()},
            FaultKind.BODY: lambda: {"body": self._dice.choice(_BODIES)},
            FaultKind.REFUSE: self._refusal,
        }
        return {**aim, "times": self._dice.randint(1, 2), **more.get(kind, dict)()}

    def _refusal(self) -> Values:
        status, name = self._dice.choice(((400, "create_ask_error"), (401, "expired_access_key")))
        return {"status": status, "name": name}

    def _seconds(self) -> str:
        return f"{self._dice.uniform(0.2, _LONGEST_SECONDS):.1f}"
