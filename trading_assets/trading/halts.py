"""Halts: entries stopped until a person resumes.

Here: the row and its alert, and which halts sell. Not here: selling positions and cancelling orders
when one begins.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.alerts import Severity, write_alert
from trading_assets.database import halts
from trading_assets.trading.transactions import change

# The exchange said what the ledger cannot contain: one of the two is wrong.
LEDGER_MISMATCH = "ledger_mismatch"


@dataclass(frozen=True, slots=True)
class Halt:
    """reason: snake_case (`peak_loss`, `by_hand`). resumed_at: None while it is on."""

    id: int
    started_at: datetime
    reason: str
    detail: str
    resumed_at: datetime | None
    resumed_by: str | None

    @property
    def sells(self) -> bool:
        """Whether guards sell what they hold. Books in doubt are no reason to sell by them."""
        return self.reason != LEDGER_MISMATCH


def active_halt(connection: Connection) -> Halt | None:
    """The halt that is on, None when entries are free. One that sells goes before one that does
    not."""
    query = sa.select(halts).where(halts.c.resumed_at.is_(None)).order_by(halts.c.id)
    on = [Halt(**row._mapping) for row in connection.execute(query)]
    return next((halt for halt in on if halt.sells), on[0] if on else None)


def halt(engine: Engine, *, reason: str, detail: str, now: datetime) -> Halt:
    """Stop entries, with an alert. While a halt is on, that one stays and is the answer, unless
    this one would sell and that one does not: then both are on, and a resume ends both."""
    with change(engine) as connection:
        before = active_halt(connection)
        if before is not None and (before.sells or reason == LEDGER_MISMATCH):
            return before
        connection.execute(halts.insert().values(started_at=now, reason=reason, detail=detail))
        begun = active_halt(connection)
        assert begun is not None
        write_alert(
            connection,
            severity=Severity.CRITICAL,
            kind="halt",
            dedupe_key=f"halt-{begun.id}",
            message=f"Halted ({reason}): {detail}. No entries until `trading-assets resume`.",
            now=now,
        )
        return begun
