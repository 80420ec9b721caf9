"""Whether exchange and ledger tell the same story, to the last digit, once everything has ended.

Here: the comparison that crash tests and soak end with. Not here: what was done to them before.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from trading_assets.database import read
from trading_assets.exchange.amounts import exact_sum
from trading_assets.exchange.model import Order
from trading_assets.trading import records
from trading_assets.trading.floor import Floor
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.states import IntentState
from trading_assets_tests.trading.ledger_world import check_books


@dataclass(frozen=True, slots=True)
class Story:
    """What was found the same on both sides."""

    positions: tuple[Position, ...]
    orders: tuple[Order, ...]
    fills: int


def check_same_story(floor: Floor, start_krw: Decimal) -> Story:
    """Orders, fills, fees and balances of both sides are equal, and nothing is left.

    start_krw: of the account, before the first order. Looks an hour back. Raises AssertionError.
    """
    now = floor.now()
    account = floor.account
    listed = (
        *account.open_orders(),
        *account.closed_orders(now - timedelta(hours=1), now + timedelta(hours=1)),
    )
    on_exchange = {o.identifier: account.order(uuid=o.uuid) for o in listed}
    assert len(on_exchange) == len(listed), "one identifier, two orders"
    with read(floor.engine) as connection:
        check_books(connection)
        every = records.all_positions(connection)
        intents = [o for p in every for o in records.intents_of(connection, p.id)]
        booked = {o.identifier: records.fills_of(connection, o.identifier) for o in intents}
        assert not records.live_intents(connection)
        assert not records.live_positions(connection)
    in_ledger = {o.identifier: o for o in intents if o.state is IntentState.CLOSED}
    assert on_exchange.keys() == in_ledger.keys()
    for identifier, order in on_exchange.items():
        assert identifier is not None
        _check_same(order, in_ledger[identifier])
        assert {f.uuid for f in order.fills or ()} == {f.uuid for f in booked[identifier]}
    _check_balances(floor, every, start_krw)
    return Story(every, tuple(on_exchange.values()), sum(map(len, booked.values())))


def _check_same(order: Order, intent: Intent) -> None:
    assert order.uuid == intent.uuid
    assert order.is_terminal
    assert order.executed_volume == intent.executed_volume
    assert order.paid_fee == intent.paid_fee


def _check_balances(floor: Floor, every: Collection[Position], start_krw: Decimal) -> None:
    balances = {b.currency: b for b in floor.account.balances()}
    assert all(b.locked == 0 for b in balances.values())
    assert balances.pop("KRW").total == start_krw + exact_sum(p.cash_flow for p in every)
    coins = {
        p.market.partition("-")[2]: exact_sum(
            q.bought_volume - q.sold_volume for q in every if q.market == p.market
        )
        for p in every
    }
    there = {currency: b.total for currency, b in balances.items() if b.total}
    assert there == {currency: volume for currency, volume in coins.items() if volume}
