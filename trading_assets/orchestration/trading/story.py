"""The story of a trade for Dagster: sentences into the run's log, facts as asset events.

It is told from a thread of its own, because writing to Dagster's event log takes milliseconds that
a stop-loss does not have. Not here: what happens (`trading`); the ledger is the record, not this.
"""

import queue
import threading
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import dagster as dg
from sqlalchemy.engine import Engine

from trading_assets.database import read
from trading_assets.orchestration.trading.assets import FILLS, ORDERS, POSITIONS
from trading_assets.trading import records
from trading_assets.trading.records import BookedFill, Intent, Position

_END = None
_LAST_WORDS_SECONDS = 10.0


class Story:
    """Use as `with Story(...) as story` around a trade; `tell` returns at once.

    say: one sentence. show: one asset event. since: facts of positions closed before are old.
    After the block nothing is left untold; a failure to tell is raised there, unless the trade
    itself raised.
    """

    def __init__(
        self,
        engine: Engine,
        market: str,
        since: datetime,
        say: Callable[[str], None],
        show: Callable[[dg.AssetMaterialization], None],
    ) -> None:
        self._engine = engine
        self._market = market
        self._since = since
        self._say = say
        self._show = show
        self._sentences: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._shown: set[Hashable] = set()
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._tell_all, name="story", daemon=True)

    def tell(self, sentence: str) -> None:
        self._sentences.put(sentence)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._sentences.put(_END)
        self._thread.join(_LAST_WORDS_SECONDS)
        if exc is None and self._problem is not None:
            raise self._problem

    def _tell_all(self) -> None:
        try:
            while (sentence := self._sentences.get()) is not _END:
                self._say(sentence)
                self._show_news()
            self._show_news()
        except Exception as problem:  # noqa: BLE001  # raised by __exit__, in the run's own thread
            self._problem = problem

    def _show_news(self) -> None:
        """Everything that the ledger has and was not shown by this run yet."""
        for event in self._facts():
            self._show(event)

    def _facts(self) -> list[dg.AssetMaterialization]:
        with read(self._engine) as connection:
            every = (
                *records.live_positions(connection, self._market),
                *(
                    p
                    for p in records.closed_positions(connection, self._since)
                    if p.market == self._market
                ),
            )
            chapters = [
                (p, o, records.fills_of(connection, o.identifier))
                for p in every
                for o in records.intents_of(connection, p.id)
            ]
        events = []
        for held, order, fills in chapters:
            if order.ended_at is not None and self._is_new(("order", order.identifier)):
                events.append(self._event(ORDERS, order_facts(order, held)))
            fresh = [fill for fill in fills if self._is_new(("fill", fill.uuid))]
            events += [self._event(FILLS, fill_facts(fill)) for fill in fresh]
        armed = [p for p in every if p.plan and self._is_new(("position", p.id, p.state))]
        return events + [self._event(POSITIONS, position_facts(p)) for p in armed]

    def _is_new(self, fact: Hashable) -> bool:
        if fact in self._shown:
            return False
        self._shown.add(fact)
        return True

    def _event(self, key: dg.AssetKey, facts: Mapping[str, Any]) -> dg.AssetMaterialization:
        return dg.AssetMaterialization(key, partition=self._market, metadata=facts)


def order_facts(order: Intent, position: Position) -> dict[str, Any]:
    """Amounts as text: exact, and Dagster would round them."""
    return {
        "identifier": order.identifier,
        "uuid": order.uuid or "never known",
        "position": order.position_id,
        "signal": position.signal_id,
        "model_version": position.model_version or "none",
        "leg": order.leg.value,
        "reason": order.reason.value,
        "state": order.state.value,
        "volume": f"{order.volume:f}",
        "executed_volume": f"{order.executed_volume:f}",
        "paid_fee_krw": f"{order.paid_fee:f}",
        "sends": order.sends,
    }


def fill_facts(fill: BookedFill) -> dict[str, Any]:
    return {
        "uuid": fill.uuid,
        "order": fill.identifier,
        "position": fill.position_id,
        "side": fill.side.value,
        "price_krw": f"{fill.price:f}",
        "volume": f"{fill.volume:f}",
        "funds_krw": f"{fill.funds:f}",
        "traded_at": fill.traded_at.isoformat(),
    }


def position_facts(position: Position) -> dict[str, Any]:
    plan, average = position.plan, position.average_price
    assert plan is not None
    assert average is not None
    return {
        "position": position.id,
        "signal": position.signal_id,
        "state": position.state.value,
        "bought_volume": f"{position.bought_volume:f}",
        "average_price_krw": f"{average:f}",
        "stop_price_krw": f"{plan.stop_price:f}",
        "take_price_krw": f"{plan.take_price:f}",
        "deadline": plan.deadline.isoformat(),
        "exit_reason": "still held" if position.exit_reason is None else position.exit_reason.value,
        "fees_krw": f"{position.fees:f}",
        "cash_flow_krw": f"{position.cash_flow:+f}",
    }
