"""Faults on order are real: a client over a socket sees what a broken exchange does."""

import httpx
import pytest

from trading_assets.paper_exchange.faults import Fault, FaultKind, Faults
from trading_assets_tests.conftest import MakeExchange, RunningExchange

PATH = "/v1/candles/minutes/60?market=KRW-BTC"


@pytest.fixture
def faulty(make_exchange: MakeExchange) -> RunningExchange:
    return make_exchange()


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        (FaultKind.ERROR_AFTER, 500, "internal_server_error"),
        (FaultKind.TOO_MANY, 429, "Too many API requests."),
        (FaultKind.BLOCKED, 418, "Blocked for 60 seconds."),
        (FaultKind.MAINTENANCE, 403, "market_offline"),
    ],
)
def test_a_fault_is_answered_once_and_then_all_is_well(
    faulty: RunningExchange, kind: FaultKind, status: int, text: str
) -> None:
    faulty.faults.add(Fault(kind))
    broken = httpx.get(faulty.url + PATH, timeout=30)
    assert broken.status_code == status
    assert text in broken.text
    assert httpx.get(faulty.url + PATH, timeout=30).status_code == 200


def test_a_hanging_answer_runs_into_the_clients_timeout(faulty: RunningExchange) -> None:
    faulty.faults.add(Fault(FaultKind.HANG, seconds=60))
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(faulty.url + PATH, timeout=0.2)


def test_a_reset_connection_gives_no_answer_at_all(faulty: RunningExchange) -> None:
    faulty.faults.add(Fault(FaultKind.RESET))
    with pytest.raises(httpx.ReadError, match="reset"):
        httpx.get(faulty.url + PATH, timeout=30)


def test_a_truncated_body_is_noticed(faulty: RunningExchange) -> None:
    faulty.faults.add(Fault(FaultKind.TRUNCATE))
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(faulty.url + PATH, timeout=30)


def test_any_body_can_be_answered(faulty: RunningExchange) -> None:
    faulty.faults.add(Fault(FaultKind.BODY, body=b"<html>maintenance</html>"))
    assert httpx.get(faulty.url + PATH, timeout=30).text == "<html>maintenance</html>"


@pytest.mark.parametrize(("seconds", "told"), [(0.5, 1), (20.0, 20), (3600.0, 60)])
def test_a_block_says_how_long_it_lasts(faulty: RunningExchange, seconds: float, told: int) -> None:
    faulty.faults.add(Fault(FaultKind.BLOCKED, seconds=seconds))
    answer = httpx.get(faulty.url + PATH, timeout=30)
    assert answer.status_code == 418
    assert answer.json()["error"]["message"] == f"Blocked for {told} seconds."


def test_a_fault_waits_for_its_path_and_lasts_its_times() -> None:
    faults = Faults()
    faults.add(Fault(FaultKind.TOO_MANY, path="/v1/candles", times=2))
    assert faults.take("/v1/ticker") is None
    first, second = faults.take("/v1/candles/days"), faults.take("/v1/candles/minutes/1")
    assert first == second == Fault(FaultKind.TOO_MANY, path="/v1/candles", times=2)
    assert faults.take("/v1/candles/days") is None


def test_cleared_faults_do_not_happen() -> None:
    faults = Faults()
    faults.add(Fault(FaultKind.RESET))
    faults.clear()
    assert faults.take("/v1/ticker") is None


def test_a_fault_that_never_happens_is_refused() -> None:
    with pytest.raises(ValueError, match="times must be at least 1, was 0"):
        Fault(FaultKind.RESET, times=0)
