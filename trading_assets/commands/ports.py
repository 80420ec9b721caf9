"""Ports on 127.0.0.1: which are free, which are taken, and which setting changes each."""

import shlex
import socket
import textwrap
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

from trading_assets.errors import EnvironmentProblem
from trading_assets.settings import Settings, TradingMode

if TYPE_CHECKING:
    import psutil

LOOPBACK = "127.0.0.1"
_SHOWN = 100  # characters of a command
_WITH_SERVERS = ("run", "materialize", "paper-exchange")


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        # As servers do: a connection of a server that has just ended must not count.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int, timeout_seconds: float = 0.5) -> bool:
    """Whether something accepts connections on 127.0.0.1:`port`."""
    try:
        socket.create_connection((LOOPBACK, port), timeout_seconds).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> tuple[int, ...]:
    """`count` different free ports, chosen by the operating system."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind((LOOPBACK, 0))
        return tuple(sock.getsockname()[1] for sock in sockets)
    finally:
        for sock in sockets:
            sock.close()


def server_ports(settings: Settings) -> dict[str, int]:
    """The ports a start under `settings` listens on, by the name of their setting."""
    ports = {"DAGSTER_PORT": settings.dagster_port, "MLFLOW_PORT": settings.mlflow_port}
    if settings.trading_mode is not TradingMode.LIVE:
        ports["PAPER_EXCHANGE_PORT"] = settings.paper_exchange_port
    return ports


def require_free_ports(settings: Settings) -> None:
    """Raise EnvironmentProblem naming each port that is taken, its setting and a way out."""
    ports = server_ports(settings)
    taken = {name: port for name, port in ports.items() if not is_free(port)}
    if taken:
        raise EnvironmentProblem(
            "\n".join(
                f"port {port} is in use by {user_of(port)}: stop it, or set {name} to a free "
                f"port (for example {name}={free_ports(1)[0]})"
                for name, port in taken.items()
            )
        )


def user_of(port: int) -> str:
    """Who listens on `port`, for a person: pid and command where the system tells them."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if listens and connection.pid is not None:
                return _named(psutil.Process(connection.pid))
    except (psutil.Error, OSError):
        pass  # another user's, or gone meanwhile
    return "another program"


def _named(process: "psutil.Process") -> str:
    command = shlex.join(process.cmdline())
    named = f"pid {process.pid} (`{textwrap.shorten(command, _SHOWN, placeholder=' ...')}`)"
    ours = [(p.pid, _own_command(p.cmdline())) for p in (process, *process.parents())]
    # The outermost: what it started it would start again, or be of no use without.
    for pid, name in reversed(ours):
        if name == "paper-exchange":
            return f"{named}, a paper exchange of ours that `kill {pid}` stops"
        if name is not None:
            return f"{named}, of the `make {name}` that `kill {pid}` stops"
    return named


def _own_command(words: Sequence[str]) -> str | None:
    """Which of our commands that have servers this command line is, if any."""
    for program, name in pairwise(words):
        if program.endswith(("trading-assets", "trading_assets.cli")) and name in _WITH_SERVERS:
            return name
    return None
