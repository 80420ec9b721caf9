"""Identifiers and the table of legal changes."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.errors import IllegalStateChange
from trading_assets.exchange.model import check_identifier
from trading_assets.rules.exits import ExitReason
from trading_assets.trading.identifiers import is_ours, order_identifier, position_id
from trading_assets.trading.states import (
    LIVE_ORDERS,
    ORDER_CHANGES,
    POSITION_CHANGES,
    IntentState,
    OrderReason,
    PositionState,
    check_order_change,
    check_position_change,
)

AT = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def test_an_identifier_never_changes() -> None:
    # Written down: a new version must find the orders of the old one.
    position = position_id("KRW-BTC", 7, AT)
    assert position == "0427972234bfe8ee7341600730a7b860"
    assert (
        order_identifier("ta", position, "entry", 1)
        == "ta-5d3a233bb89b9fddaaa93f4db5ad3c39f27402e4"
    )


def test_the_same_moment_in_another_zone_is_the_same_position() -> None:
    korea = AT.astimezone(timezone(timedelta(hours=9)))
    assert position_id("KRW-BTC", 7, korea) == position_id("KRW-BTC", 7, AT)


def test_a_new_database_that_counts_again_gets_other_positions() -> None:
    later = AT + timedelta(microseconds=1)
    assert position_id("KRW-BTC", 7, AT) != position_id("KRW-BTC", 7, later)


@given(
    prefix=st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True),
    position=st.text(min_size=1, max_size=40),
    leg=st.sampled_from(["entry", "exit"]),
    attempt=st.integers(min_value=1, max_value=10**9),
)
def test_every_identifier_fits_the_exchange_and_is_ours(
    prefix: str, position: str, leg: str, attempt: int
) -> None:
    identifier = order_identifier(prefix, position, leg, attempt)
    check_identifier(identifier)
    assert is_ours(identifier, prefix)


def test_different_orders_have_different_identifiers() -> None:
    made = {
        order_identifier(prefix, position, leg, attempt)
        for prefix in ("ta", "tb")
        for position in ("a", "ab")
        for leg in ("entry", "exit")
        for attempt in (1, 2, 11)
    }
    assert len(made) == 2 * 2 * 2 * 3


@pytest.mark.parametrize(
    "foreign", [None, "", "ta", "ta-", "ta-by-hand", "tb-" + "0" * 40, "ta-" + "G" * 40]
)
def test_orders_of_others_are_not_ours(foreign: str | None) -> None:
    assert not is_ours(foreign, "ta")


@pytest.mark.parametrize("prefix", ["", "TA", "t-a", "a" * 13])
def test_a_prefix_that_would_bend_the_identifier_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix must be"):
        order_identifier(prefix, "a", "entry", 1)


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="attempt must be at least 1"):
        order_identifier("ta", "a", "entry", 0)


@pytest.mark.parametrize("before", list(IntentState))
@pytest.mark.parametrize("after", list(IntentState))
def test_an_order_changes_only_as_the_table_says(before: IntentState, after: IntentState) -> None:
    if (before, after) in ORDER_CHANGES:
        check_order_change("ta-1", before, after)
        return
    with pytest.raises(IllegalStateChange, match=f"cannot go from {before} to {after}"):
        check_order_change("ta-1", before, after)


@pytest.mark.parametrize("before", list(PositionState))
@pytest.mark.parametrize("after", list(PositionState))
def test_a_position_changes_only_as_the_table_says(
    before: PositionState, after: PositionState
) -> None:
    if (before, after) in POSITION_CHANGES:
        check_position_change("p", before, after)
        return
    with pytest.raises(IllegalStateChange, match=f"cannot go from {before} to {after}"):
        check_position_change("p", before, after)


def test_an_unknown_order_is_never_called_rejected_and_a_closed_one_is_final() -> None:
    assert (IntentState.UNKNOWN, IntentState.REJECTED) not in ORDER_CHANGES
    assert all(before is not IntentState.CLOSED for before, _after in ORDER_CHANGES)


def test_every_live_order_has_a_way_to_end() -> None:
    for state in LIVE_ORDERS:
        reached = {state}
        while True:
            more = {after for before, after in ORDER_CHANGES if before in reached} - reached
            if not more:
                break
            reached |= more
        assert reached - LIVE_ORDERS, state


def test_every_exit_reason_is_an_order_reason() -> None:
    assert {r.value for r in ExitReason} < {r.value for r in OrderReason}
