"""What Dagster is doing, asked of its web server: runs in progress and the daemons' health.

The command line must not import Dagster (seconds, and only `orchestration` may), so it reads what
every other client reads: GraphQL.
"""

import http.client
import json
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trading_assets.errors import NotReadyYet

_TIMEOUT_SECONDS = 3.0
_RUNS = """{ runsOrError(filter: {statuses: [QUEUED, NOT_STARTED, STARTING, STARTED]}, limit: 50) {
  ... on Runs { results { runId jobName status tags { key value }
                          stepStats { stepKey status } } } } }"""
_FAILED = """query($since: Float) {
  runsOrError(filter: {statuses: [FAILURE], updatedAfter: $since}, limit: 10) {
  ... on Runs { results { runId jobName status endTime tags { key value }
                          stepStats { stepKey status } } } } }"""
_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
_DAEMONS = """{ instance { daemonHealth { allDaemonStatuses {
  daemonType required healthy lastHeartbeatErrors { message } } } } }"""


@dataclass(frozen=True, slots=True)
class RunLine:
    """A Dagster run in a few words. steps_running: names as `swing/challenger`."""

    run_id: str
    job: str
    status: str
    partition: str | None
    steps_running: tuple[str, ...]
    steps_failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DaemonLine:
    name: str
    healthy: bool
    detail: str


def runs_in_progress(port: int) -> tuple[RunLine, ...]:
    """Queued and started runs. Raises NotReadyYet when the web server does not answer."""
    return tuple(_run(result) for result in _ask(port, _RUNS)["runsOrError"].get("results", ()))


def failed_runs(port: int, since: datetime) -> tuple[RunLine, ...]:
    """The newest runs that failed after `since` (aware), newest first.

    Also those that an earlier start had queued: a queue outlives a stop. What had failed before
    and was only tagged since does not count. Raises NotReadyYet as above.
    """
    moment = since.timestamp()
    answer = _ask(port, _FAILED, {"since": moment})
    results = answer["runsOrError"].get("results", ())
    return tuple(_run(result) for result in results if (result["endTime"] or moment) >= moment)


def broken_locations(port: int) -> dict[str, str]:
    """Code locations that do not load, each with its error. Raises NotReadyYet as above."""
    entries = _ask(port, _LOCATIONS)["workspaceOrError"].get("locationEntries", ())
    return {
        entry["name"]: entry["locationOrLoadError"]["message"].strip()
        for entry in entries
        if (entry["locationOrLoadError"] or {}).get("__typename") == "PythonError"
    }


def daemons(port: int) -> tuple[DaemonLine, ...]:
    """The daemons that must run. Raises NotReadyYet as above."""
    listed = _ask(port, _DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
    return tuple(
        DaemonLine(
            name=one["daemonType"],
            healthy=bool(one["healthy"]),
            detail="; ".join(e["message"] for e in one["lastHeartbeatErrors"] or ()),
        )
        for one in listed
        if one["required"]
    )


def runs_in_words(runs: Sequence[RunLine]) -> str:
    """What is being done, each run by itself, and how many more of each job wait for their turn."""
    queued = Counter(run.job for run in runs if run.status == "QUEUED")
    doing = [_run_words(run) for run in runs if run.status != "QUEUED"]
    doing += [f"{count} x {job} queued" for job, count in queued.items()]
    return "; ".join(doing) or "no Dagster run yet"


def _run_words(run: RunLine) -> str:
    subject = run.partition or "all markets"
    if run.steps_running:
        return f"{subject} {', '.join(run.steps_running)}"
    return f"{subject} {run.job} {run.status.lower()}"


def _run(result: dict[str, Any]) -> RunLine:
    tags = {tag["key"]: tag["value"] for tag in result["tags"]}
    steps = result["stepStats"] or ()
    return RunLine(
        run_id=result["runId"],
        job=result["jobName"],
        status=result["status"],
        partition=tags.get("dagster/partition"),
        steps_running=_named(steps, "IN_PROGRESS"),
        steps_failed=_named(steps, "FAILURE"),
    )


def _named(steps: Any, status: str) -> tuple[str, ...]:
    return tuple(s["stepKey"].replace("__", "/") for s in steps if s["status"] == status)


def _ask(port: int, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query, "variables": variables or {}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            data = json.load(answer).get("data")
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise NotReadyYet(f"the Dagster web server on port {port} does not answer: {exc}") from exc
    if not data:
        raise NotReadyYet(f"the Dagster web server on port {port} gave no data")
    answer_data: dict[str, Any] = data
    return answer_data
