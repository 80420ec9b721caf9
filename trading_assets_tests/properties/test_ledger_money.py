"""Money is conserved to the last digit, whatever fills come, in whatever order, however often."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from trading_assets.database import read
from trading_assets.exchange.amounts import EXACT, exact_sum
from trading_assets.exchange.model import Fill, OrderState
from trading_assets.trading import booking, books, ledger, records
from trading_assets.trading.books import Outside
from trading_assets.trading.leases import Lease
from trading_assets.trading.records import Intent
from trading_assets.trading.states import OrderReason, PositionState
from trading_assets_tests.trading.ledger_world import (
    NOW,
    check_books,
    emptied,
    entered,
    exit_of,
    fill,
    lease_of,
    told,
)

UNIT = Decimal("0.00000001")
# Parts of an order in units of 1e-8 coins: from dust to 100,000 coins.
parts = st.lists(st.integers(min_value=1, max_value=10**13), min_size=1, max_size=4)
prices = st.decimals(min_value=UNIT, max_value=Decimal(10**9), places=8)
fees = st.decimals(min_value=0, max_value=Decimal(10**9), places=16)


def coins(units: int) -> Decimal:
    return EXACT.multiply(Decimal(units), UNIT)


def fills_of(data: st.DataObject, intent: Intent, units: list[int]) -> list[Fill]:
    """One fill for each number of units, at any price, funds exact to 16 decimals."""
    made = []
    for number, unit in enumerate(units):
        price = data.draw(prices)
        name = f"{intent.identifier}-{number}"
        part = fill(intent, name, format(coins(unit), "f"), format(price, "f"))
        made.append(replace(part, funds=EXACT.multiply(price, part.volume)))
    return made


def tell(
    data: st.DataObject, engine: Engine, lease: Lease, intent: Intent, made: list[Fill]
) -> Decimal:
    """The exchange's answers, some of them twice and out of order; says the fee paid in the end."""
    fee = data.draw(fees)
    heard: set[str] = set()
    for _ in range(data.draw(st.integers(min_value=0, max_value=3))):
        some = data.draw(st.lists(st.sampled_from(made), max_size=6))
        heard |= {f.uuid for f in some}
        executed = exact_sum(f.volume for f in made if f.uuid in heard)
        answer = told(intent, OrderState.WAIT, *some, executed=format(executed, "f"))
        booking.book(engine, lease, replace(answer, paid_fee=fee / 2), NOW)
    last = told(intent, OrderState.CANCEL, *data.draw(st.permutations(made)))
    last = replace(last, paid_fee=max(fee, fee / 2))
    for _ in range(data.draw(st.integers(min_value=1, max_value=2))):
        booking.book(engine, lease, last, NOW)
    return last.paid_fee


@given(data=st.data(), bought=parts, unfilled=st.integers(min_value=0, max_value=10**9))
def test_every_won_and_every_coin_is_where_the_fills_put_it(
    ledger_engine: Engine, data: st.DataObject, bought: list[int], unfilled: int
) -> None:
    engine = emptied(ledger_engine)
    lease = lease_of(engine)
    start = Outside(data.draw(st.decimals(0, 10**12, places=8)), coins(data.draw(parts)[0]))
    intent = entered(engine, lease, volume=format(coins(sum(bought) + unfilled), "f"))
    intent = booking.mark_sent(engine, lease, intent.identifier, NOW)
    buys = fills_of(data, intent, bought)
    fees_paid = [tell(data, engine, lease, intent, buys)]

    sells: list[Fill] = []
    left = sum(bought)
    while left and len(fees_paid) < 4:
        with read(engine) as connection:
            position = records.position(connection, intent.position_id)
        order = exit_of(engine, lease, position)
        assert order.volume == coins(left)
        units = data.draw(st.lists(st.integers(1, left), min_size=1, max_size=3))
        units = [u for n, u in enumerate(units) if sum(units[: n + 1]) <= left]
        fills = fills_of(data, order, units)
        fees_paid.append(tell(data, engine, lease, order, fills))
        sells += fills
        left -= sum(units)
    if left:
        ledger.close_as_dust(
            engine,
            lease,
            intent.position_id,
            OrderReason.TIME_LIMIT,
            bid=UNIT,
            min_notional=Decimal(10**9),
            now=NOW,
        )

    spent = exact_sum(f.funds for f in buys)
    earned = exact_sum(f.funds for f in sells)
    paid = exact_sum(fees_paid)
    # The account, kept by hand from the fills alone, and what the ledger makes of it.
    account = Outside(
        exact_sum([start.quote, earned, EXACT.minus(spent), EXACT.minus(paid)]),
        exact_sum([start.base, coins(left)]),
    )
    with read(engine) as connection:
        check_books(connection)
        assert books.outside(connection, "KRW-BTC", account) == start
        position = records.position(connection, intent.position_id)
    assert position.state is PositionState.CLOSED
    assert position.dust_volume == coins(left)
    assert position.cash_flow == exact_sum([earned, EXACT.minus(spent), EXACT.minus(paid)])
    assert len(fees_paid) == 1 + len({f.uuid.rsplit("-", 1)[0] for f in sells})
