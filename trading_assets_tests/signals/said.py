"""Signal rows by hand: what the database has of a model that judged hourly candles."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine

from trading_assets.database import connect, funnel, positions, prepare, signals, write
from trading_assets.rules.costs import Costs
from trading_assets.rules.funnel import FunnelCode
from trading_assets.signals.recent import BuyRule
from trading_assets.world import World

NOW = datetime(2026, 1, 5, 12, 0, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
# The candle that closed last at NOW.
NEWEST = datetime(2026, 1, 5, 11, tzinfo=UTC)
BTC, ETH = "KRW-BTC", "KRW-ETH"
# 16 bp a round trip at a tick that does not matter.
COSTS = Costs(Decimal("0.0005"), Decimal("0.0003"))
RULE = BuyRule(Decimal(0), Decimal(1), COSTS)


def database(folder: Path) -> Engine:
    world = World("sandbox-test", folder, folder)
    engine = connect(f"sqlite:///{world.database}")
    prepare(engine, world)
    return engine


def said(engine: Engine, candle_time: datetime, **values: Any) -> int:
    """A signal of `swing`, as `row` makes it; its id."""
    with write(engine) as connection:
        done = connection.execute(signals.insert().values(**row(candle_time, **values)))
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def row(
    candle_time: datetime,
    *,
    market: str = BTC,
    p: tuple[float, float, float] | None = (0.25, 0.5, 0.25),
    ev_net: float = 0.0,
    decision: str = "HOLD",
    reason: str = "ev_too_low",
    **values: Any,
) -> dict[str, Any]:
    """A signal of `swing` made ten seconds after its candle closed. p: None when the model was not
    asked."""
    p_sell, p_hold, p_buy = p or (None, None, None)
    return {
        "market": market,
        "profile": "swing",
        "traded": True,
        "candle_time": candle_time,
        "created_at": candle_time + HOUR + timedelta(seconds=10),
        "expires_at": candle_time + 2 * HOUR,
        "p_sell": p_sell,
        "p_hold": p_hold,
        "p_buy": p_buy,
        "ev_net": None if p is None else ev_net,
        "sigma": None if p is None else 0.005,
        "close": Decimal(100_000_000),
        "decision": decision,
        "reason": reason,
        "detail": "",
        **values,
    }


def said_hourly(
    engine: Engine, hours: int, *, market: str = BTC, newest: datetime = NEWEST, **values: Any
) -> None:
    """HOLD at each of the last `hours` candles."""
    rows = [row(newest - ago * HOUR, market=market, **values) for ago in reversed(range(hours))]
    with write(engine) as connection:
        connection.execute(signals.insert(), rows)


def bought(engine: Engine, candle_time: datetime, **values: Any) -> int:
    """A BUY on this candle."""
    return said(
        engine,
        candle_time,
        **{"p": (0.2, 0.2, 0.6), "ev_net": 0.01, "decision": "BUY", "reason": "buy", **values},
    )


def ended(
    engine: Engine, signal_id: int, code: FunnelCode, at: datetime, *, market: str = BTC
) -> None:
    """The end of a BUY signal in the funnel."""
    with write(engine) as connection:
        connection.execute(
            funnel.insert().values(
                signal_id=signal_id,
                market=market,
                profile="swing",
                code=code.value,
                detail="",
                decided_at=at,
            )
        )


def held(
    engine: Engine,
    signal_id: int,
    start: datetime,
    end: datetime | None,
    *,
    market: str = BTC,
) -> None:
    """A position from `start` to `end`, open when that is None."""
    nothing = Decimal(0)
    with write(engine) as connection:
        connection.execute(
            positions.insert().values(
                id=f"p{signal_id}",
                market=market,
                profile="swing",
                signal_id=signal_id,
                state="open" if end is None else "closed",
                created_at=start,
                opened_at=start,
                closed_at=end,
                bought_volume=Decimal(1),
                bought_funds=Decimal(1000),
                sold_volume=nothing if end is None else Decimal(1),
                sold_funds=nothing if end is None else Decimal(1010),
                fees=nothing,
                dust_volume=nothing,
                stop_loss=Decimal("0.02"),
                take_profit=Decimal("0.02"),
                timeout_seconds=43_200,
            )
        )
