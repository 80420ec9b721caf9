"""One writer of the ledger at a time, on SQLite and on PostgreSQL alike.

What the ledger checks before it writes must still hold when it writes. In SQLite BEGIN IMMEDIATE
sees to that; in PostgreSQL one advisory lock does, held until the transaction ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.database import write

_LEDGER_LOCK = 0x1ED6E5  # any number that nothing else in the database locks


@contextmanager
def change(engine: Engine) -> Iterator[Connection]:
    """One change of the ledger: waits for its turn, then all of it happens or nothing."""
    with write(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LEDGER_LOCK)))
        yield connection
