"""The heartbeat of a lease, from a thread of its own.

It says every two seconds that the holder lives and which price it last judged, and it learns first
when the lease is somebody else's. Not here: taking and releasing (`leases`).
"""

import threading
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Self

from sqlalchemy.exc import OperationalError

from trading_assets.database import impatient
from trading_assets.errors import DatabaseBusy, LeaseLost
from trading_assets.trading import leases
from trading_assets.trading.floor import Floor, seconds
from trading_assets.trading.leases import Lease


class Heart:
    """Beats while its `with` block runs. Thread-safe."""

    def __init__(self, floor: Floor, lease: Lease) -> None:
        self._floor = floor
        self._lease = lease
        self._stopping = threading.Event()
        self._judged: tuple[datetime, Decimal] | None = None
        self._end: BaseException | None = None
        self._thread = threading.Thread(
            target=self._beat_for_ever, name=f"heart {lease.subject}", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def judged(self, moment: datetime, bid: Decimal) -> None:
        """Remember what the next beat tells: when a price was last judged, and which."""
        self._judged = (moment, bid)

    def check(self) -> None:
        """Raises LeaseLost when another holder has the lease; RuntimeError when the heart died."""
        if isinstance(self._end, LeaseLost):
            raise LeaseLost(str(self._end)) from self._end
        if self._end is not None:
            raise RuntimeError("the heartbeat died") from self._end

    def _beat_for_ever(self) -> None:
        every = float(self._floor.knobs.heartbeat_seconds)
        while not self._stopping.wait(every):
            try:
                self._beat()
            except (DatabaseBusy, OperationalError):
                continue  # busy or away: the lease lives on for several beats
            except Exception as exc:  # noqa: BLE001  # told by `check`, to the thread that trades
                self._end = exc
                return

    def _beat(self) -> None:
        leases.renew(
            impatient(self._floor.engine),  # to stop means to join: no beat may wait for ever
            self._lease,
            now=self._floor.now(),
            duration=seconds(self._floor.knobs.lease_seconds),
            judged=self._judged,
        )
