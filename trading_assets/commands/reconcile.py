"""`trading-assets reconcile`: the ledger against the account and its orders, once, in words."""

from collections.abc import Callable

from trading_assets.clock import Clock
from trading_assets.commands.halt import holder
from trading_assets.database import open_database
from trading_assets.settings import Settings
from trading_assets.trading.floor import floor_of
from trading_assets.trading.reconcile import open_books
from trading_assets.trading.reconcile import reconcile as reconcile_books
from trading_assets.world import world_of


def reconcile(settings: Settings, clock: Clock, say: Callable[[str], None]) -> int:
    """Adopt our strays, record flows, tell the rest; 1 when the account lacks something."""
    engine = open_database(settings, world_of(settings))
    try:
        floor = floor_of(settings, engine, clock, tell=say)
        open_books(floor, holder())
        found = reconcile_books(floor, holder())
    finally:
        engine.dispose()
    for report in found.reports:
        say(report)
    if found.flow:
        say(f"{found.flow:+,f} KRW moved without the bot; its capital follows")
    if found.account.missing is not None:
        say(f"!! the account lacks {found.account.missing}: no entries until it is back")
        return 1
    adopted = len(found.adopted)
    say(f"the account has everything the ledger says; stray orders of ours booked: {adopted}")
    return 0
