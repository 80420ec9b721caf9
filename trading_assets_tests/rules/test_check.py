"""Which outcomes stop what follows."""

from trading_assets.rules.check import CheckOutcome, blocking_failures


def test_only_failed_blocking_checks_stop_and_keep_their_order() -> None:
    outcomes = (
        CheckOutcome("fresh", False, "old"),
        CheckOutcome("finite", True, "fine"),
        CheckOutcome("drift", False, "moved", blocking=False),
        CheckOutcome("gaps", False, "three"),
    )
    assert [o.name for o in blocking_failures(outcomes)] == ["fresh", "gaps"]


def test_no_outcome_stops_nothing() -> None:
    assert blocking_failures(()) == ()
