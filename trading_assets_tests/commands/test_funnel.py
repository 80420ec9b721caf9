"""The funnel: from signals to trades, in the last day and the last week."""

from datetime import timedelta

from trading_assets.commands.funnel import funnel
from trading_assets.rules.funnel import FunnelCode
from trading_assets_tests.commands.silent_world import silent_world
from trading_assets_tests.signals.said import HOUR, NEWEST, NOW, bought, ended, held, said

DAYS = timedelta(days=1)


def test_every_signal_of_a_day_and_a_week_is_accounted_for() -> None:
    world = silent_world(("KRW-BTC",))
    engine = world.engine
    for hour in range(3):
        said(engine, NEWEST - hour * HOUR, reason="ev_too_low")
    said(engine, NEWEST - 4 * HOUR, p=None, reason="stale_candles")
    said(engine, NEWEST - 5 * HOUR, traded=False)  # another profile's: not part of it
    said(engine, NEWEST - 8 * DAYS)  # too old
    today = [bought(engine, NEWEST - hours * HOUR) for hours in (10, 9, 8, 7)]
    earlier = bought(engine, NEWEST - 3 * DAYS)
    for number, code in zip(
        today, (FunnelCode.TRADED, FunnelCode.POSITION_OPEN, FunnelCode.NO_CASH), strict=False
    ):
        ended(engine, number, code, NOW - 6 * HOUR)
    ended(engine, earlier, FunnelCode.PRICE_MOVED, NOW - 3 * DAYS)
    held(engine, today[0], NOW - 6 * HOUR, None)

    assert funnel(world.settings, NOW).splitlines() == [
        "world sandbox-f0704435, SYNTHETIC prices, traded profile swing",
        "                   24 h     7 d",
        "signals               8       9  of the traded profile, one a market and candle",
        "judged                7       8  a model was asked",
        "  ev_too_low          3       3  no BUY for this reason",
        "  stale_candles       1       1  no BUY for this reason",
        "BUY                   4       5  candidates for an entry",
        "  traded              1       1  the entry order was filled, in whole or in part; a "
        "position is open",
        "  position_open       1       1  the market already has a position",
        "  price_moved         0       1  at the present ask the expected value is no longer "
        "enough",
        "  no_cash !           1       1  the cash available, fee included, is less than the "
        "smallest order",
        "  undecided           1       1  waiting for a run",
        "trades                1       1  positions opened",
    ]


def test_a_world_without_signals_has_an_empty_funnel() -> None:
    assert funnel(silent_world(("KRW-BTC",)).settings, NOW).splitlines()[1:] == [
        "           24 h     7 d",
        "signals       0       0  of the traded profile, one a market and candle",
        "judged        0       0  a model was asked",
        "BUY           0       0  candidates for an entry",
        "trades        0       0  positions opened",
    ]
