"""The supervisor with small real processes: order, restart, alarm, and the last one out."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trading_assets.clock import SteppedClock
from trading_assets.commands import groups
from trading_assets.commands.ports import answers
from trading_assets.commands.supervisor import Guardian, Service, Supervisor
from trading_assets_tests.commands.children import (
    ENDS_AFTER,
    ENDS_SLOWLY,
    FAILS,
    HAS_CHILD,
    LISTENS,
    SLEEPS,
    STUBBORN,
    free_port,
    python,
    until,
    written_pid,
)

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
Make = Callable[[Sequence[Service]], Supervisor]


def service(
    name: str,
    command: tuple[str, ...],
    needs: tuple[str, ...] = (),
    is_ready: Callable[[], bool] = lambda: True,
    *,
    runs_work: bool = False,
    once: bool = False,
    stop_wave: int = 0,
) -> Service:
    return Service(
        name, command, is_ready, needs, runs_work=runs_work, once=once, stop_wave=stop_wave
    )


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(START)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervise(tmp_path: Path, clock: SteppedClock, said: list[str]) -> Iterator[Make]:
    made: list[Supervisor] = []

    def make(services: Sequence[Service]) -> Supervisor:
        supervisor = Supervisor(
            services,
            logs=tmp_path / "logs",
            folder=tmp_path,
            environment=os.environ,
            clock=clock,
            say=said.append,
        )
        made.append(supervisor)
        return supervisor

    yield make
    for supervisor in made:
        assert supervisor.stop(0) == ()


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def step_until(supervisor: Supervisor, condition: Callable[[], object]) -> None:
    def stepped() -> object:
        supervisor.step()
        return condition()

    until(stepped)


def is_ready_later(supervisor: Supervisor, clock: SteppedClock) -> bool:
    """Whether all is ready, half a second of the stepped clock later."""
    clock.advance(timedelta(seconds=0.5))
    return supervisor.all_ready


def test_a_service_starts_only_when_those_it_needs_are_ready(
    supervise: Make, clock: SteppedClock
) -> None:
    is_up = False
    first = service("first", python(SLEEPS), is_ready=lambda: is_up)
    supervisor = supervise([first, service("second", python(SLEEPS), needs=("first",))])
    supervisor.step()
    assert supervisor.pid("first") is not None
    assert supervisor.pid("second") is None
    assert supervisor.waiting_for() == ("first", "second")
    is_up = True
    clock.advance(timedelta(seconds=1))
    supervisor.step()
    assert supervisor.pid("second") is not None
    assert supervisor.all_ready


def test_a_service_that_needs_a_later_one_is_refused(supervise: Make) -> None:
    with pytest.raises(ValueError, match="must come before"):
        supervise([service("a", ("true",), needs=("b",)), service("b", ("true",))])


def test_a_killed_service_is_told_and_started_again_after_its_wait(
    supervise: Make, clock: SteppedClock, said: list[str]
) -> None:
    port = free_port()
    server = service("server", python(LISTENS, port), is_ready=lambda: answers(port))
    supervisor = supervise([server])
    step_until(supervisor, lambda: is_ready_later(supervisor, clock))
    first = supervisor.pid("server")
    kill(supervisor.pid("server"))
    step_until(supervisor, lambda: supervisor.pid("server") is None)
    assert any("server ended by itself (signal 9)" in line for line in said)
    supervisor.step()
    assert supervisor.pid("server") is None  # the first wait is 1 s and no time has passed
    clock.advance(timedelta(seconds=1))
    supervisor.step()
    assert supervisor.pid("server") not in {None, first}
    step_until(supervisor, lambda: is_ready_later(supervisor, clock))
    assert said[-1].startswith("server runs again")


def test_five_exits_in_a_row_name_the_log_and_slow_the_attempts_down(
    supervise: Make, clock: SteppedClock, said: list[str], tmp_path: Path
) -> None:
    supervisor = supervise([service("broken", python(FAILS), is_ready=lambda: False)])
    for wait in (1, 2, 4, 8):
        supervisor.step()
        step_until(supervisor, lambda: supervisor.pid("broken") is None)
        clock.advance(timedelta(seconds=wait))
    supervisor.step()
    step_until(supervisor, lambda: supervisor.pid("broken") is None)
    alarm = said[-1]
    assert "broken ended 5 times in a row (exit code 3)" in alarm
    assert str(tmp_path / "logs" / "broken.log") in alarm
    assert "no such table: candles" in alarm
    clock.advance(timedelta(seconds=59))
    supervisor.step()
    assert supervisor.pid("broken") is None
    clock.advance(timedelta(seconds=1))
    supervisor.step()
    assert supervisor.pid("broken") is not None


def test_a_service_that_ran_well_for_a_minute_starts_its_count_again(
    supervise: Make, clock: SteppedClock, said: list[str]
) -> None:
    supervisor = supervise([service("server", python(SLEEPS))])
    for _ in range(6):
        supervisor.step()
        clock.advance(timedelta(seconds=60))
        kill(supervisor.pid("server"))
        step_until(supervisor, lambda: supervisor.pid("server") is None)
        clock.advance(timedelta(seconds=1))
    assert not any("in a row" in line for line in said)


def test_what_a_crashed_server_leaves_is_ended_before_its_restart(
    supervise: Make, tmp_path: Path
) -> None:
    note = tmp_path / "child"
    supervisor = supervise([service("server", python(HAS_CHILD, note))])
    supervisor.step()
    group, left = supervisor.pid("server"), written_pid(note)
    assert group is not None
    kill(group)
    step_until(supervisor, lambda: supervisor.pid("server") is None)
    assert left not in {m.pid for m in groups.members({group})}


def test_work_in_the_group_of_a_crashed_code_server_goes_on_until_the_stop(
    supervise: Make, tmp_path: Path
) -> None:
    note = tmp_path / "child"
    supervisor = supervise([service("code server", python(HAS_CHILD, note), runs_work=True)])
    supervisor.step()
    group, work = supervisor.pid("code server"), written_pid(note)
    assert group is not None
    kill(group)
    step_until(supervisor, lambda: supervisor.pid("code server") is None)
    assert [m.pid for m in groups.members({group})] == [work]
    assert supervisor.stop(patience_seconds=20) == ()
    assert groups.members({group}) == ()


def test_what_does_one_thing_is_not_started_again_once_it_is_done(
    supervise: Make, clock: SteppedClock, said: list[str]
) -> None:
    first = service("first", python("pass"), is_ready=lambda: False, once=True)
    supervisor = supervise([first, service("second", python(SLEEPS), needs=("first",))])
    step_until(supervisor, lambda: supervisor.pid("second") is not None)
    clock.advance(timedelta(minutes=5))
    supervisor.step()
    assert supervisor.pid("first") is None
    assert supervisor.all_ready
    assert said == ["first has done its work", "second is ready (0 s)"]


def test_what_cannot_do_its_one_thing_is_tried_again_and_holds_nobody_up(
    supervise: Make, clock: SteppedClock, said: list[str]
) -> None:
    first = service("first", python(FAILS), is_ready=lambda: False, once=True)
    supervisor = supervise([first, service("second", python(SLEEPS), needs=("first",))])
    supervisor.step()
    assert supervisor.pid("second") is None
    step_until(supervisor, lambda: supervisor.pid("second") is not None)
    assert any("first ended by itself (exit code 3)" in line for line in said)
    clock.advance(timedelta(seconds=1))
    supervisor.step()
    assert supervisor.pid("first") is not None


def test_a_later_wave_is_asked_to_end_when_the_earlier_has_ended(
    supervise: Make, tmp_path: Path
) -> None:
    up, ended, saw_it = tmp_path / "up", tmp_path / "ended", tmp_path / "saw_it"
    exchange = python(ENDS_AFTER, up, saw_it, ended)
    daemon = python(ENDS_SLOWLY, tmp_path / "up too", ended)
    supervisor = supervise([service("exchange", exchange, stop_wave=1), service("daemon", daemon)])
    supervisor.step()
    until(lambda: up.exists() and (tmp_path / "up too").exists())
    assert supervisor.stop(patience_seconds=20) == ()
    assert saw_it.exists()


def test_stop_kills_what_does_not_obey(supervise: Make, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    supervisor = supervise([service("stubborn", python(STUBBORN, deaf))])
    supervisor.step()
    group = supervisor.pid("stubborn")
    assert group is not None
    until(deaf.exists)
    assert supervisor.stop(patience_seconds=0.2) == ()
    assert groups.members({group}) == ()


def test_a_second_request_to_stop_ends_the_waiting(supervise: Make, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    supervisor = supervise([service("stubborn", python(STUBBORN, deaf))])
    supervisor.step()
    until(deaf.exists)
    # Without the second request this would wait ten minutes and the test would time out.
    assert supervisor.stop(patience_seconds=600, still_patient=lambda: False) == ()


def test_a_long_log_is_moved_aside(
    supervise: Make, clock: SteppedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading_assets.commands.supervisor.LOG_LIMIT_BYTES", 100)
    supervisor = supervise([service("server", python(SLEEPS))])
    supervisor.step()
    log = tmp_path / "logs" / "server.log"
    with log.open("a") as file:
        file.write("x" * 101)
    clock.advance(timedelta(seconds=60))
    supervisor.step()
    assert log.stat().st_size == 0
    assert log.with_suffix(".log.1").read_text().endswith("x" * 101)


def test_the_guardian_ends_the_groups_when_its_starter_is_killed() -> None:
    starter = """
import subprocess, sys, time
from trading_assets.commands.supervisor import Guardian
guardian = Guardian()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=0)
guardian.tell(f"+{child.pid}")
print(child.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert groups.members({child}) != ()
        process.kill()
    until(lambda: groups.members({child}) == ())


def test_a_dismissed_guardian_touches_nothing() -> None:
    child = subprocess.Popen(python(SLEEPS), process_group=0)
    try:
        guardian = Guardian()
        guardian.tell(f"+{child.pid}")
        guardian.dismiss()
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


class NotedGuardian(Guardian):
    """A real guardian that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def tell(self, word: str) -> None:
        self.told.append(word)
        super().tell(word)

    def die(self) -> None:
        self._process.kill()
        self._process.wait()


def test_a_killed_guardian_is_replaced_and_knows_the_groups(
    tmp_path: Path, clock: SteppedClock
) -> None:
    guardians: list[NotedGuardian] = []

    def make_guardian() -> Guardian:
        guardians.append(NotedGuardian())
        return guardians[-1]

    supervisor = Supervisor(
        [service("server", python(SLEEPS))],
        logs=tmp_path,
        folder=tmp_path,
        environment=os.environ,
        clock=clock,
        say=lambda _: None,
        make_guardian=make_guardian,
    )
    supervisor.step()
    guardians[0].die()
    supervisor.step()
    assert guardians[1].told == [f"+{supervisor.pid('server')}"]
    assert supervisor.stop(patience_seconds=20) == ()
