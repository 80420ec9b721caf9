"""What must be done now, judged from the books alone; halting and resuming.

`emergencies` is pure: the hourly check, the sensor and a person get the same answer from it. Here:
judging, the halt and its end. Not here: starting the runs that take over (orchestration, `guard`).
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from sqlalchemy.engine import Connection, Engine

from trading_assets.database import read
from trading_assets.errors import OrderNotFound, OrderRejected, TradingAssetsError
from trading_assets.trading import books, halts, leases, records
from trading_assets.trading.floor import Floor
from trading_assets.trading.halts import Halt
from trading_assets.trading.identifiers import is_ours
from trading_assets.trading.leases import LeaseStatus
from trading_assets.trading.reconcile import entries_stopped_by
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.states import IntentState
from trading_assets.trading.trade import TradeEnd, trade


class Kind(StrEnum):
    """What is wrong."""

    UNGUARDED_POSITION = "unguarded_position"
    ORPHANED_ORDER = "orphaned_order"
    UNKNOWN_ORDER = "unknown_order"
    ENDLESS_ORDER = "endless_order"
    BLIND_GUARD = "blind_guard"
    HALTED_WITH_POSITION = "halted_with_position"
    ACCOUNT_SHORT = "account_short"


class Remedy(StrEnum):
    """What to do about it."""

    TAKE_OVER = "take_over"
    TELL = "tell"


@dataclass(frozen=True, slots=True)
class Emergency:
    """One thing to do. market: None for the account as a whole. lost_token: of the lease that a
    takeover follows (0: there never was one), so that the same one is started once."""

    kind: Kind
    remedy: Remedy
    market: str | None
    detail: str
    lost_token: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """The books at one moment. leases: by market."""

    positions: tuple[Position, ...]
    orders: tuple[Intent, ...]
    leases: Mapping[str, LeaseStatus]
    halt: Halt | None
    missing: str | None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what may pass by itself is left alone.

    order: of one that somebody is working on; ours are all to end at once. blind: of a guard that
    lives and judges no price. halted: of positions that their guards are selling.
    """

    order: timedelta = timedelta(minutes=2)
    blind: timedelta = timedelta(seconds=30)
    halted: timedelta = timedelta(minutes=1)


def read_scene(engine: Engine) -> Scene:
    """The books as they are, in one view."""
    statuses = {lease.subject: lease for lease in leases.all_leases(engine)}
    with read(engine) as connection:
        return _scene(connection, statuses)


def _scene(connection: Connection, statuses: Mapping[str, LeaseStatus]) -> Scene:
    return Scene(
        positions=records.live_positions(connection),
        orders=records.live_intents(connection),
        leases=statuses,
        halt=halts.active_halt(connection),
        missing=entries_stopped_by(connection),
    )


def emergencies(
    scene: Scene, now: datetime, patience: Patience | None = None
) -> tuple[Emergency, ...]:
    """Everything that needs doing, takeovers first; empty when all is well."""
    waits = patience or Patience()
    found = [
        *_unguarded(scene, now),
        *_stuck_orders(scene, now, waits),
        *_blind_guards(scene, now, waits),
        *_halted_positions(scene, now, waits),
    ]
    if scene.missing is not None:
        found.append(
            Emergency(Kind.ACCOUNT_SHORT, Remedy.TELL, None, f"the account lacks {scene.missing}")
        )
    return tuple(sorted(found, key=lambda e: e.remedy is not Remedy.TAKE_OVER))


def _unguarded(scene: Scene, now: datetime) -> list[Emergency]:
    """Markets with something alive in them and nobody who holds them, each once."""
    with_positions = {p.market for p in scene.positions}
    with_orders = {o.market for o in scene.orders}
    found = []
    for market in sorted(with_positions | with_orders):
        lease = scene.leases.get(market)
        if lease is not None and lease.is_live(now):
            continue
        has_position = market in with_positions
        kind = Kind.UNGUARDED_POSITION if has_position else Kind.ORPHANED_ORDER
        what = "a position" if has_position else "an order"
        since = "never" if lease is None else f"not since {lease.heartbeat_at:%H:%M:%S} UTC"
        found.append(
            Emergency(
                kind,
                Remedy.TAKE_OVER,
                market,
                f"{market} has {what} and nobody holds it ({since})",
                0 if lease is None else lease.token,
            )
        )
    return found


def _stuck_orders(scene: Scene, now: datetime, waits: Patience) -> list[Emergency]:
    """UNKNOWN ones, and such as the exchange took and neither shows nor ends."""
    found = []
    for order in scene.orders:
        is_unknown = order.state is IntentState.UNKNOWN
        since = (order.unknown_since if is_unknown else order.sent_at) or order.created_at
        if now - since >= waits.order:
            found.append(
                Emergency(
                    Kind.UNKNOWN_ORDER if is_unknown else Kind.ENDLESS_ORDER,
                    Remedy.TELL,
                    order.market,
                    f"order {order.identifier} of {order.market} is {order.state.upper()} since "
                    f"{since}",
                )
            )
    return found


def _blind_guards(scene: Scene, now: datetime, waits: Patience) -> list[Emergency]:
    """Guards that are alive and judge no price: their stop cannot fire. One that has no barriers
    yet, because its entry has not ended, judges none either."""
    found = []
    for position in scene.positions:
        lease = scene.leases.get(position.market)
        if lease is None or not lease.is_live(now) or position.opened_at is None:
            continue
        held_since = max(lease.taken_at, position.opened_at)
        seen = max(lease.progress_at or held_since, held_since)
        if now - seen >= waits.blind:
            found.append(
                Emergency(
                    Kind.BLIND_GUARD,
                    Remedy.TELL,
                    position.market,
                    f"the guard of {position.market} lives and has judged no price since {seen}",
                )
            )
    return found


def _halted_positions(scene: Scene, now: datetime, waits: Patience) -> list[Emergency]:
    on = scene.halt
    if on is None or not on.sells or now - on.started_at < waits.halted:
        return []
    return [
        Emergency(
            Kind.HALTED_WITH_POSITION,
            Remedy.TELL,
            position.market,
            f"halted since {on.started_at} and {position.market} is not sold yet",
        )
        for position in scene.positions
    ]


# --- halt and resume ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Halted:
    """What a halt did. left_to_guards: markets whose live guards are selling by themselves."""

    halt: Halt
    sold: tuple[str, ...]
    left_to_guards: tuple[str, ...]
    cancelled: tuple[str, ...]
    problems: tuple[str, ...]


def halt(floor: Floor, holder: str, *, detail: str, reason: str = "by_hand") -> Halted:
    """Stop entries, cancel our orders and sell our positions.

    Live guards sell as soon as they see the halt; positions that nobody holds are taken over and
    sold here, all at once: a sale never gives up, and one that cannot be made must not keep the
    others waiting. Returns when all have ended; an interrupt gives back what is not sold.
    """
    begun = halts.halt(floor.engine, reason=reason, detail=detail, now=floor.now())
    cancelled, problems = _cancel_ours(floor)
    sold: list[str] = []
    left: list[str] = []
    with read(floor.engine) as connection:
        markets = records.markets_in_play(connection)
    for market, end in _traded(floor, markets, holder).items():
        if isinstance(end, Exception):
            problems.append(f"{market}: {type(end).__name__}: {end}")
        elif end is TradeEnd.HELD_BY_ANOTHER:
            left.append(market)
        elif end is TradeEnd.LEFT:
            sold.append(market)
    return Halted(begun, tuple(sold), tuple(left), tuple(cancelled), tuple(problems))


def _traded(
    floor: Floor, markets: Sequence[str], holder: str
) -> Mapping[str, TradeEnd | Exception]:
    """How the trade of each market ended, each in a thread of its own."""
    ends: dict[str, TradeEnd | Exception] = {}

    def hold(market: str) -> None:
        try:
            ends[market] = trade(floor, market, holder).end
        except Exception as exc:  # noqa: BLE001  # told as this market's problem
            ends[market] = exc

    threads = [
        threading.Thread(target=hold, args=(market,), name=f"halt {market}", daemon=True)
        for market in markets
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:
        leases.give_back(floor.engine, holder, floor.now())
        raise
    return {market: ends[market] for market in markets}


def _cancel_ours(floor: Floor) -> tuple[list[str], list[str]]:
    """(uuids cancelled, problems). A person's orders are left alone."""
    cancelled: list[str] = []
    problems: list[str] = []
    try:
        waiting = floor.account.open_orders()
    except TradingAssetsError as exc:
        return [], [f"open orders could not be read: {exc}"]
    for order in waiting:
        if not is_ours(order.identifier, floor.knobs.order_prefix):
            continue
        try:
            with floor.step("cancel the order"):
                floor.account.cancel(uuid=order.uuid)
            cancelled.append(order.uuid)
        except (OrderNotFound, OrderRejected):
            continue  # it has ended meanwhile
        except TradingAssetsError as exc:
            problems.append(f"{order.market}: order {order.uuid} was not cancelled: {exc}")
    return cancelled, problems


def resume(floor: Floor, by: str, bids: Mapping[str, Decimal] | None = None) -> bool:
    """End the halt; False when none is on. The peak that losses are measured from starts anew."""
    return books.resume(floor.engine, by=by, now=floor.now(), bids=bids or {})
