"""The alert outbox: write an alert in the transaction of the fact it tells.

Here: the row. Not here: sending it (a later part reads rows whose `sent_at` is empty).
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection

from trading_assets.database import alerts


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


def write_alert(
    connection: Connection,
    *,
    severity: Severity,
    kind: str,
    dedupe_key: str,
    message: str,
    now: datetime,
) -> bool:
    """Put one alert into the outbox; False when one with the same key is there already.

    connection: of the transaction that stores the fact, so that both are there or neither is.
    kind: snake_case, at most 40 characters. dedupe_key: names the fact, at most 200. message: for a
    person, without secrets. now: aware UTC.
    """
    insert: Any = sqlite.insert
    if connection.dialect.name != "sqlite":
        # Not at the top: a trade on SQLite must not wait for PostgreSQL's dialect to load.
        from sqlalchemy.dialects import postgresql

        insert = postgresql.insert
    row = {
        "created_at": now,
        "severity": severity.value,
        "kind": kind,
        "dedupe_key": dedupe_key,
        "message": message,
    }
    written: sa.CursorResult[tuple[int]] = connection.execute(
        insert(alerts).values(row).on_conflict_do_nothing(index_elements=["dedupe_key"])
    )
    return written.rowcount == 1
