"""Halts: entries stopped until a person resumes.

Here: the row and its alert. Not here: selling positions and cancelling orders when one begins.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.alerts import Severity, write_alert
from trading_assets.database import halts
from trading_assets.trading.transactions import change


@dataclass(frozen=True, slots=True)
class Halt:
    """reason: snake_case (`peak_loss`, `by_hand`). resumed_at: None while it is on."""

    id: int
    started_at: datetime
    reason: str
    detail: str
    resumed_at: datetime | None
    resumed_by: str | None


def active_halt(connection: Connection) -> Halt | None:
    """The halt that is on, None when entries are free."""
    query = sa.select(halts).where(halts.c.resumed_at.is_(None)).order_by(halts.c.id)
    row = connection.execute(query).first()
    return None if row is None else Halt(**row._mapping)


def halt(engine: Engine, *, reason: str, detail: str, now: datetime) -> Halt:
    """Stop entries, with an alert. While a halt is on, that one stays and is the answer."""
    with change(engine) as connection:
        before = active_halt(connection)
        if before is not None:
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
