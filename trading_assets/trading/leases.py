"""Who may write about a market: one holder at a time, told apart by a growing token.

A lease ends when it is released or when its heartbeat stops for longer than its duration; then
anyone may take it and gets a higher token. Whoever writes to the ledger shows its lease in the
same transaction: a holder that was only asleep finds its token outdated and stops. Looking things
up needs no lease.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.database import leases, read
from trading_assets.errors import LeaseLost
from trading_assets.trading.transactions import change


@dataclass(frozen=True, slots=True)
class Lease:
    """What a holder shows. subject: the market. holder: of the process, unique."""

    subject: str
    holder: str
    token: int


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """A lease as anyone sees it. progress_at, bid: the last price that any holder judged."""

    subject: str
    holder: str
    token: int
    taken_at: datetime
    heartbeat_at: datetime
    progress_at: datetime | None
    bid: Decimal | None
    expires_at: datetime
    released_at: datetime | None

    def is_live(self, now: datetime) -> bool:
        """Whether its holder has beaten within the time that it lasts, in either direction: a beat
        from further ahead was made before the clock was set back, and would last till it is there
        again. A holder that lives beats anew."""
        lasts = self.expires_at - self.heartbeat_at
        return self.released_at is None and self.heartbeat_at - lasts <= now < self.expires_at


def take(
    engine: Engine, subject: str, holder: str, *, now: datetime, duration: timedelta
) -> Lease | None:
    """The lease of `subject`, or None while another one is live (also one of the same holder)."""
    with change(engine) as connection:
        before = status_of(connection, subject)
        if before is not None and before.is_live(now):
            return None
        lease = Lease(subject, holder, before.token + 1 if before else 1)
        values = {
            "holder": holder,
            "token": lease.token,
            "taken_at": now,
            "heartbeat_at": now,
            "expires_at": now + duration,
            "released_at": None,
        }
        if before is None:
            connection.execute(leases.insert().values(subject=subject, **values))
        else:
            connection.execute(leases.update().where(leases.c.subject == subject).values(values))
        return lease


def renew(
    engine: Engine,
    lease: Lease,
    *,
    now: datetime,
    duration: timedelta,
    judged: tuple[datetime, Decimal] | None = None,
) -> None:
    """A heartbeat. judged: when a price was last judged, and the bid that was.

    A late holder keeps its lease as long as nobody has taken it. Raises LeaseLost otherwise.
    """
    values: dict[str, object] = {"heartbeat_at": now, "expires_at": now + duration}
    if judged is not None:
        values["progress_at"], values["bid"] = judged
    with change(engine) as connection:
        require(connection, lease)
        connection.execute(leases.update().where(leases.c.subject == lease.subject).values(values))


def release(engine: Engine, lease: Lease, now: datetime) -> bool:
    """Give the lease back at once; False when it was not this holder's any more."""
    with change(engine) as connection:
        try:
            require(connection, lease)
        except LeaseLost:
            return False
        connection.execute(
            leases.update().where(leases.c.subject == lease.subject).values(released_at=now)
        )
        return True


def give_back(engine: Engine, holder: str, now: datetime) -> None:
    """Release everything that `holder` has, so that the next one need not wait."""
    for lease in all_leases(engine):
        if lease.holder == holder and lease.released_at is None:
            release(engine, Lease(lease.subject, lease.holder, lease.token), now)


def require(connection: Connection, lease: Lease) -> None:
    """Raises LeaseLost unless `lease` is the present one. Call it inside the writing transaction.

    An expired lease that nobody has taken still counts: there is no second writer.
    """
    present = status_of(connection, lease.subject)
    if present is None or present.token != lease.token or present.holder != lease.holder:
        owner = "nobody" if present is None else f"{present.holder} (token {present.token})"
        raise LeaseLost(
            f"the lease of {lease.subject} belongs to {owner}, not to {lease.holder} "
            f"(token {lease.token})"
        )
    if present.released_at is not None:
        raise LeaseLost(f"the lease of {lease.subject} was released by {lease.holder}")


def status_of(connection: Connection, subject: str) -> LeaseStatus | None:
    """The lease of `subject` as it stands, live or not; None when it was never taken."""
    row = connection.execute(sa.select(leases).where(leases.c.subject == subject)).one_or_none()
    return None if row is None else LeaseStatus(**row._mapping)


def all_leases(engine: Engine) -> tuple[LeaseStatus, ...]:
    """Every lease ever taken, by subject."""
    with read(engine) as connection:
        rows = connection.execute(sa.select(leases).order_by(leases.c.subject))
        return tuple(LeaseStatus(**row._mapping) for row in rows)
