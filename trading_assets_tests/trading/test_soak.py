"""The soak for some seconds and with short waits: its rules about money, none about seconds."""

from pathlib import Path

from trading_assets_tests.trading.soak import Course, Soak

# What a trade waits for in seconds takes fractions, so that much happens in a short time.
SHORT = Course(
    seconds=12.0,
    seed=3,
    exit_seconds=4,
    signal_seconds=8.0,
    sensor_seconds=0.5,
    mean_fault_seconds=1.0,
    mean_kill_seconds=1.5,
    reconcile_every_seconds=4.0,
    with_blocks=False,
    waits={
        "lease_seconds": "2",
        "heartbeat_seconds": "0.5",
        "lost_order_seconds": "3",
        "order_poll_seconds": "0.1",
        "order_poll_most_seconds": "0.5",
        "price_confirm_seconds": "1",
        "reconcile_seconds": "3",
    },
)


def test_a_short_soak_with_a_crash_every_second_loses_nothing(tmp_path: Path) -> None:
    soak = Soak(SHORT, tmp_path)
    soak.go()
    assert soak.broken == [], soak.table()
    assert soak.story is not None
    assert soak.story.orders
    assert soak.kills.total() >= 1
    assert soak.deck.dealt.total() >= 5
