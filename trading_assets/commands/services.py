"""Which servers a start has, how each is called, when it is ready. Starts nothing."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from trading_assets.commands.ports import LOOPBACK, answers
from trading_assets.commands.supervisor import Service
from trading_assets.settings import Settings, TradingMode
from trading_assets.world import World

# What every child is told, whatever the person's shell says: nobody is called home, and
# LightGBM gets one thread (two OpenMP threads under load were measured to hang).
QUIET_AND_SINGLE_THREADED: Mapping[str, str] = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # The job workers of `mlflow server` serve no purpose here and take 33 MB each.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONUNBUFFERED": "1",
}

TRADING = "trading code server"
RESEARCH = "research code server"
EXCHANGE = "paper exchange"
DAEMON = "Dagster daemon"
WEB = "Dagster web server"
MLFLOW = "MLflow server"

# The stop: first what starts runs, then the runs with their code servers and guards, at last the
# exchange, so that an order that is under way is answered.
STARTS_RUNS, RUNS, ANSWERS_RUNS = 0, 1, 2


def child_environment(settings: Settings, world: World) -> dict[str, str]:
    """The environment of everything that belongs to `world`: the person's, with ours on top."""
    programs = str(Path(sys.executable).parent)
    return {
        **os.environ,
        **QUIET_AND_SINGLE_THREADED,
        "TRADING_ASSETS_HOME": str(settings.root),
        "DAGSTER_HOME": str(world.dagster_home),
        "MLFLOW_TRACKING_URI": world.mlflow_uri,
        # Dagster and MLflow start some of their own children by name.
        "PATH": programs + os.pathsep + os.environ.get("PATH", os.defpath),
    }


def workspace_yaml(trading_port: int, research_port: int) -> str:
    """The workspace of the web server and the daemon: both code servers, trading first."""
    entries = (("trading", trading_port), ("research", research_port))
    return "# Written by `trading-assets run` at each start.\nload_from:\n" + "".join(
        f"  - grpc_server:\n      host: {LOOPBACK}\n      port: {port}\n"
        f"      location_name: {name}\n"
        for name, port in entries
    )


def services(
    settings: Settings,
    world: World,
    *,
    workspace: Path,
    trading_port: int,
    research_port: int,
    first: Service | None = None,
) -> tuple[Service, ...]:
    """The servers of a start under `settings`, in start order.

    first: what the code servers wait for; it may need the exchange.
    """
    python = sys.executable
    dagster_web = (
        *(python, "-m", "dagster_webserver"),
        *("-h", LOOPBACK, "-p", str(settings.dagster_port), "-w", str(workspace)),
    )
    mlflow = (
        *(python, "-m", "mlflow", "server", "--host", LOOPBACK),
        *("--port", str(settings.mlflow_port), "--workers", "1"),
        *("--backend-store-uri", world.mlflow_uri),
        *("--artifacts-destination", str(world.mlflow_artifacts)),
    )
    own_exchange = settings.trading_mode is not TradingMode.LIVE
    exchange = _listening(
        EXCHANGE,
        (python, "-m", "trading_assets.cli", "paper-exchange"),
        settings.paper_exchange_port,
        stop_wave=ANSWERS_RUNS,
    )
    exchanges = (EXCHANGE,) if own_exchange else ()
    firsts = () if first is None else (first,)
    names = tuple(service.name for service in firsts)
    before_work = (TRADING, RESEARCH, *exchanges)
    return (
        *((exchange,) if own_exchange else ()),
        *firsts,
        _code_server(
            TRADING, "trading_assets.orchestration.trading", "trading", trading_port, needs=names
        ),
        _code_server(
            *(RESEARCH, "trading_assets.orchestration.research", "research", research_port),
            needs=names,
        ),
        Service(
            DAEMON,
            (python, "-m", "dagster._daemon", "run", "-w", str(workspace)),
            is_ready=lambda: True,
            needs=before_work,
        ),
        _listening(WEB, dagster_web, settings.dagster_port, needs=before_work),
        _listening(MLFLOW, mlflow, settings.mlflow_port, needs=(WEB,)),
    )


def _code_server(
    name: str, module: str, location: str, port: int, *, needs: tuple[str, ...]
) -> Service:
    command = (
        *(sys.executable, "-m", "dagster", "code-server", "start", "-m", module),
        *("-h", LOOPBACK, "-p", str(port), "--location-name", location),
    )
    return _listening(name, command, port, needs, runs_work=True, stop_wave=RUNS)


def _listening(
    name: str,
    command: tuple[str, ...],
    port: int,
    needs: tuple[str, ...] = (),
    *,
    runs_work: bool = False,
    stop_wave: int = STARTS_RUNS,
) -> Service:
    return Service(
        name, command, lambda: answers(port), needs, runs_work=runs_work, stop_wave=stop_wave
    )
