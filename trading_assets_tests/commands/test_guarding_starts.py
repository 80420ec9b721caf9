"""One start per world: ports, the lock, and what a killed start leaves behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trading_assets.clock import SteppedClock, SystemClock
from trading_assets.commands import groups
from trading_assets.commands.only_one import OnlyOne
from trading_assets.commands.ports import free_ports, require_free_ports, server_ports, user_of
from trading_assets.errors import EnvironmentProblem, SettingsError
from trading_assets.settings import Settings, load_settings
from trading_assets_tests.commands.children import SLEEPS, python

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
LISTENER = """
import socket, time
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True); time.sleep(600)
"""
# Takes the lock of the folder given, says so, and waits.
HOLDER = """
import pathlib, sys, time
from trading_assets.clock import SystemClock
from trading_assets.commands.only_one import OnlyOne
one = OnlyOne(pathlib.Path(sys.argv[1])); one.take(SystemClock()); one.write([])
print("holds", flush=True); time.sleep(600)
"""


def settings_with(ports: tuple[int, ...]) -> Settings:
    names = ("dagster_port", "mlflow_port", "paper_exchange_port")
    return load_settings(dict(zip(names, ports, strict=True)))


def test_free_ports_pass() -> None:
    require_free_ports(settings_with(free_ports(3)))


def test_a_port_in_use_is_named_with_its_setting() -> None:
    first, second, third = free_ports(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", second))
        taken.listen()
        with pytest.raises(EnvironmentProblem) as refused:
            require_free_ports(settings_with((first, second, third)))
    assert f"port {second} is in use" in str(refused.value)
    assert "MLFLOW_PORT" in str(refused.value)
    assert "DAGSTER_PORT" not in str(refused.value)


def test_two_servers_on_one_port_are_refused() -> None:
    with pytest.raises(SettingsError, match="DAGSTER_PORT and MLFLOW_PORT must differ"):
        settings_with((4001, 4001, 4002))


def test_who_listens_on_a_port_is_named() -> None:
    with subprocess.Popen(python(LISTENER), stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        said = user_of(port)
        other.kill()
    assert said.startswith(f"pid {other.pid} (`{sys.executable}")


@pytest.mark.parametrize("name", ["run", "materialize"])
def test_of_a_server_that_a_command_started_the_pid_of_the_command_is_named(name: str) -> None:
    """`make run` would only start its server again."""
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[3:]])"
    exchange = ("trading_assets.cli", "paper-exchange")
    command = python(parent, "/bin/trading-assets", name, LISTENER, *exchange)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as ours:
        assert ours.stdout is not None
        said = user_of(int(ours.stdout.readline()))
        groups.end({ours.pid}, patience_seconds=10)
    assert said.endswith(f", of the `make {name}` that `kill {ours.pid}` stops")


def test_a_paper_exchange_that_nothing_started_is_named_as_ours() -> None:
    command = python(LISTENER, "trading_assets.cli", "paper-exchange")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as alone:
        assert alone.stdout is not None
        said = user_of(int(alone.stdout.readline()))
        alone.kill()
    assert said.endswith(f", a paper exchange of ours that `kill {alone.pid}` stops")


def test_who_cannot_be_named_is_another_program() -> None:
    assert user_of(free_ports(1)[0]) == "another program"


def test_live_needs_no_port_for_the_paper_exchange() -> None:
    live = load_settings({"trading_mode": "live", "profile": "swing"})
    assert set(server_ports(live)) == {"DAGSTER_PORT", "MLFLOW_PORT"}


def test_a_second_start_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    with subprocess.Popen(python(HOLDER, tmp_path), stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "holds\n"
        with pytest.raises(EnvironmentProblem, match=rf"already runs .*pid {first.pid}"):
            OnlyOne(tmp_path).take(SystemClock())
        first.kill()
    os.close(OnlyOne(tmp_path).take(SystemClock()))


def test_processes_of_a_killed_start_are_named_with_the_command_that_ends_them(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(python(SLEEPS), process_group=0) as left:
        state = {"pid": 1, "groups": [left.pid]}
        (tmp_path / "run.json").write_text(json.dumps(state))
        with pytest.raises(EnvironmentProblem) as refused:
            OnlyOne(tmp_path).take(SystemClock())
        assert f"pid {left.pid}: {sys.executable}" in str(refused.value)
        assert f"kill -- -{left.pid}" in str(refused.value)
        groups.send([left.pid], signal.SIGKILL)
    os.close(OnlyOne(tmp_path).take(SystemClock()))


def test_a_strangers_group_with_a_reused_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], process_group=0) as stranger:
        state = {"pid": 1, "groups": [stranger.pid]}
        (tmp_path / "run.json").write_text(json.dumps(state))
        os.close(OnlyOne(tmp_path).take(SystemClock()))
        stranger.kill()


def test_the_moment_of_the_stop_is_kept_for_the_next_start(tmp_path: Path) -> None:
    one = OnlyOne(tmp_path)
    later = datetime(2026, 1, 5, 13, tzinfo=UTC)
    assert one.previous_stop(later) == later
    one.stopping(NOW)
    assert one.previous_stop(later) == NOW
    one.forget_stop()
    assert one.previous_stop(later) == later


def test_waiting_for_the_guardian_ends(tmp_path: Path) -> None:
    # The lock is held, but by nobody who has written a pid: the guardian of a killed start.
    holder = OnlyOne(tmp_path).take(SystemClock())
    with pytest.raises(EnvironmentProblem, match="was killed and its servers do not end"):
        OnlyOne(tmp_path).take(SteppedClock(NOW))
    os.close(holder)
