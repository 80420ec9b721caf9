"""What a trade stands on, built from the settings when a run needs it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from trading_assets.trading.floor import Floor

    OpenFloor = Callable[[Callable[[str], None]], Floor]


@dg.resource(
    required_resource_keys={"settings", "clock", "database"},
    description="Opens the exchange and the ledger for a run, given whom to tell its story.",
)
def open_floor_resource(context: dg.InitResourceContext) -> "Iterator[OpenFloor]":
    resources = context.resources
    opened: list[Floor] = []

    def open_floor(tell: Callable[[str], None]) -> "Floor":
        from trading_assets.trading.floor import floor_of

        opened.append(floor_of(resources.settings, resources.database, resources.clock, tell=tell))
        return opened[-1]

    yield open_floor
    for floor in opened:
        for client in (floor.account, floor.quotation):
            close = getattr(client, "close", None)  # a test's client has no connection to close
            if close is not None:
                close()
