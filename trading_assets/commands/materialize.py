"""`trading-assets materialize`: candles to champion for each market, then signals, without servers.

The same `dagster asset materialize` a person would type, once per market, with a line per step. The
paper exchange is started for the time when none answers.
"""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy.engine import Engine

from trading_assets.clock import Clock
from trading_assets.commands import groups, services, signal_table
from trading_assets.commands.ports import answers, user_of
from trading_assets.commands.prepare import prepare_world
from trading_assets.database import open_database
from trading_assets.errors import EnvironmentProblem
from trading_assets.settings import Settings, TradingMode
from trading_assets.signals.choices import awaits_first_choice, traded_profile
from trading_assets.world import World

_RESEARCH = "trading_assets.orchestration.research"
# Dagster's event lines end in "<step> - STEP_SUCCESS - Finished execution of step ... in 1.2s."
_STEP = re.compile(r" - (?P<step>\S+) - STEP_(?P<what>SUCCESS|FAILURE) - (?P<text>.*)")
# Our errors in a stack trace, without the path to their class.
_OWN_ERROR = re.compile(r"^trading_assets\.errors\.(?P<said>\w+: .+)$", re.MULTILINE)
_TOOK = re.compile(r" in ([\d.]+m?s|\d+m\d+s)")
START_PATIENCE_SECONDS = 60.0
END_PATIENCE_SECONDS = 10.0
UNEVALUATED = (
    "PROFILE=auto enters nothing before the profiles are evaluated: `make evaluate` does it now, "
    "`make run` does it by itself"
)


def materialize(settings: Settings, clock: Clock, say: Callable[[str], None]) -> int:
    """Materialize everything; the exit code is 1 when a market failed.

    One market's failure does not stop the others; each failure is told with its log.
    """
    world = prepare_world(settings, say)
    logs = world.run / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    failed = []
    with paper_exchange(settings, world, clock, say):
        for market in settings.markets:
            command = dagster_command(training_selection(settings), partition=market)
            if not followed(command, market, settings, world, say):
                failed.append(market)
        signals = dagster_command(("signals",), partition_range=settings.markets)
        if not followed(signals, "signals", settings, world, say):
            failed.append("signals")
    engine = open_database(settings, world)
    for line in what_is_there(settings, engine, clock.now()):
        say(line)
    engine.dispose()
    if failed:
        say(f"failed: {', '.join(failed)}; logs in {logs}")
    return 1 if failed else 0


def what_is_there(settings: Settings, engine: Engine, now: datetime) -> Iterator[str]:
    """The table of signals, and the one reason for HOLD that no further signal ends."""
    lines = signal_table.latest(engine, settings.markets, settings.active_profiles)
    traded = traded_profile(engine, settings, now)
    yield (
        signal_table.titled_table(settings, traded, lines, now) if lines else "there are no signals"
    )
    if awaits_first_choice(engine, settings):
        yield UNEVALUATED


def training_selection(settings: Settings) -> tuple[str, ...]:
    """The keys from candles to champion of every active profile, each once."""
    keys: list[str] = []
    for profile in settings.active_profiles:
        minutes = settings.profile_interval_minutes(profile)
        keys += [f"candles/m{minutes}", f"features/m{minutes}"]
        keys += [f"{profile}/{n}" for n in ("sequences", "labels", "challenger", "champion")]
    return tuple(dict.fromkeys(keys))


def dagster_command(
    keys: Sequence[str],
    *,
    partition: str | None = None,
    partition_range: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """`dagster asset materialize` of `keys` for one market, or for all from first to last."""
    select = " or ".join(f'key:"{key}"' for key in keys)
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", select]
    if partition is not None:
        command += ["--partition", partition]
    if partition_range is not None:
        command += ["--partition-range", f"{partition_range[0]}...{partition_range[-1]}"]
    return (*command, "-m", _RESEARCH)


def followed(
    command: tuple[str, ...],
    name: str,
    settings: Settings,
    world: World,
    say: Callable[[str], None],
    *,
    log_name: str = "materialize",
) -> bool:
    """Run `command` telling each step; whether it succeeded."""
    log = world.run / "logs" / f"{log_name}-{name}.log"
    say(f"{name}: started")
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=world.run,
            env=services.child_environment(settings, world),
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                told = step_words(line)
                if told is not None:
                    say(f"{name}: {told}")
        except BaseException:
            _end(process)
            raise
    if process.returncode == 0:
        return True
    say(f"!! {name}: failed (exit code {process.returncode}), from {log}:")
    say("\n".join(f"   | {line}" for line in failure_lines(log.read_text(errors="replace"))))
    return False


def step_words(line: str) -> str | None:
    """What a line of Dagster's log says about a step, None when nothing."""
    found = _STEP.search(line)
    if found is None:
        return None
    step = found["step"].replace("__", "/")
    if found["what"] == "FAILURE":
        return f"{step} FAILED"
    took = _TOOK.search(found["text"])
    return f"{step} done" + (f" in {took[1]}" if took else "")


def failure_lines(text: str, count: int = 8) -> list[str]:
    """What went wrong, of a command's whole output: our own errors, each once, else its end."""
    said = [found["said"] for found in _OWN_ERROR.finditer(text)]
    return list(dict.fromkeys(said)) or text.splitlines()[-count:]


@contextmanager
def paper_exchange(
    settings: Settings, world: World, clock: Clock, say: Callable[[str], None]
) -> Iterator[None]:
    """The paper exchange for the time of the block: the one that answers, else one of our own.

    Raises EnvironmentProblem when another world's answers, or ours does not start.
    """
    if settings.trading_mode is TradingMode.LIVE or settings.exchange_url is not None:
        yield
        return
    port = settings.paper_exchange_port
    if answers(port):
        require_world(port, world)
        yield
        return
    log = world.run / "logs" / "paper exchange.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    say("starting the paper exchange, none answers")
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "trading_assets.cli", "paper-exchange"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=world.run,
            env=services.child_environment(settings, world),
            process_group=0,
        )
    try:
        _wait_for(process, port, log, clock)
        yield
    finally:
        groups.end({process.pid}, patience_seconds=10)
        process.wait()


def _end(process: "subprocess.Popen[str]") -> None:
    """Dagster ends its run in order when it is asked to; whoever was asked alone asks it too."""
    process.terminate()
    try:
        process.wait(END_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path, clock: Clock) -> None:
    deadline = clock.now().timestamp() + START_PATIENCE_SECONDS
    while not answers(port):
        if process.poll() is not None or clock.now().timestamp() > deadline:
            tail = "\n".join(failure_lines(log.read_text(errors="replace")))
            raise EnvironmentProblem(f"the paper exchange did not start; its log {log}:\n{tail}")
        clock.sleep(0.2)


def require_world(port: int, world: World) -> None:
    """Raise EnvironmentProblem unless what answers on `port` is `world`'s paper exchange."""
    url = f"http://127.0.0.1:{port}/health"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            served = json.load(answer).get("world")
    except (OSError, ValueError, AttributeError) as exc:
        raise EnvironmentProblem(
            f"what answers on port {port} is no paper exchange ({exc}) but {user_of(port)}: stop "
            "it, or set PAPER_EXCHANGE_PORT to a free port"
        ) from exc
    if served != world.name:
        raise EnvironmentProblem(
            f"the paper exchange on port {port}, {user_of(port)}, serves the world {served}, not "
            f"{world.name}: stop it, or set PAPER_EXCHANGE_PORT to a free port"
        )
