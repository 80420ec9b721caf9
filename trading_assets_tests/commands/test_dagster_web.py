"""What is read from Dagster's web server, with its answers replayed by a small server."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from trading_assets.commands import dagster_web
from trading_assets.commands.ports import free_ports
from trading_assets.errors import NotReadyYet


@contextmanager
def answering(body: bytes, status: int = 200, asked: list[Any] | None = None) -> Iterator[int]:
    """The port of a server that gives `body` to every question. asked: gets the questions."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = self.rfile.read(int(self.headers["Content-Length"]))
            if asked is not None:
                asked.append(json.loads(question))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def graphql(**data: Any) -> bytes:
    return json.dumps({"data": data}).encode()


def test_a_run_in_progress_is_told_by_its_market_and_steps() -> None:
    result = {
        "runId": "abc",
        "jobName": "retrain",
        "status": "STARTED",
        "tags": [{"key": "dagster/partition", "value": "KRW-BTC"}],
        "stepStats": [
            {"stepKey": "candles__m5", "status": "SUCCESS"},
            {"stepKey": "scalp__challenger", "status": "IN_PROGRESS"},
            {"stepKey": "swing__labels", "status": "FAILURE"},
        ],
    }
    with answering(graphql(runsOrError={"results": [result]})) as port:
        assert dagster_web.runs_in_progress(port) == (
            dagster_web.RunLine(
                run_id="abc",
                job="retrain",
                status="STARTED",
                partition="KRW-BTC",
                steps_running=("scalp/challenger",),
                steps_failed=("swing/labels",),
            ),
        )


def test_what_failed_since_a_moment_is_told_whenever_it_was_queued() -> None:
    def failed(run_id: str, end_time: float | None) -> dict[str, Any]:
        of_run = {"runId": run_id, "jobName": "retrain", "status": "FAILURE", "endTime": end_time}
        return {**of_run, "tags": [], "stepStats": []}

    # A run has no end when its process never began.
    results = [failed("a", 1767614400.0), failed("b", 1767614399.9), failed("c", None)]
    asked: list[Any] = []
    with answering(graphql(runsOrError={"results": results}), asked=asked) as port:
        found = dagster_web.failed_runs(port, datetime(2026, 1, 5, 12, tzinfo=UTC))
    assert [run.run_id for run in found] == ["a", "c"]
    assert asked[0]["variables"] == {"since": 1767614400.0}
    assert "updatedAfter: $since" in asked[0]["query"]


def test_a_location_that_does_not_load_is_named_with_its_error() -> None:
    entries = [
        {"name": "trading", "locationOrLoadError": {"__typename": "RepositoryLocation"}},
        {
            "name": "research",
            "locationOrLoadError": {"__typename": "PythonError", "message": "no module x\n"},
        },
        {"name": "loading", "locationOrLoadError": None},
    ]
    with answering(graphql(workspaceOrError={"locationEntries": entries})) as port:
        assert dagster_web.broken_locations(port) == {"research": "no module x"}


def test_only_daemons_that_must_run_count() -> None:
    listed = [
        {"daemonType": "SENSOR", "required": True, "healthy": True, "lastHeartbeatErrors": []},
        {
            "daemonType": "SCHEDULER",
            "required": True,
            "healthy": False,
            "lastHeartbeatErrors": [{"message": "locked"}],
        },
        {"daemonType": "ASSET", "required": False, "healthy": None, "lastHeartbeatErrors": []},
    ]
    data = {"daemonHealth": {"allDaemonStatuses": listed}}
    with answering(graphql(instance=data)) as port:
        assert dagster_web.daemons(port) == (
            dagster_web.DaemonLine("SENSOR", healthy=True, detail=""),
            dagster_web.DaemonLine("SCHEDULER", healthy=False, detail="locked"),
        )


@pytest.mark.parametrize("ask", [dagster_web.runs_in_progress, dagster_web.daemons])
@pytest.mark.parametrize("body", [b"<html>", b'{"errors": []}', b""])
def test_an_answer_that_is_none_is_told_as_not_ready(
    ask: Callable[[int], object], body: bytes
) -> None:
    with answering(body) as port, pytest.raises(NotReadyYet):
        ask(port)


def test_a_server_that_is_not_there_is_told_as_not_ready() -> None:
    with pytest.raises(NotReadyYet, match="does not answer"):
        dagster_web.runs_in_progress(free_ports(1)[0])
