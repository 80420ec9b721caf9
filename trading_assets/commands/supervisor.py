"""Keeps the servers of `trading-assets run` alive: start in order, restart, stop to the last one.

Not here: which servers there are (`services`) and what a person is told about the pipeline (`run`).
Why not supervisord: docs/decisions/0001-own-supervisor.md.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

from trading_assets.clock import Clock
from trading_assets.commands import groups
from trading_assets.commands.guardian import DONE

# Waits before the next attempt after 1, 2, 3, 4 exits in a row; then it is told, and slower.
BACKOFF = tuple(timedelta(seconds=s) for s in (1, 2, 4, 8))
SLOW_BACKOFF = timedelta(seconds=60)
EXITS_BEFORE_ALARM = 5
# A server that was ready for this long has earned its first quick restart again.
PROVEN_AFTER = timedelta(seconds=60)
READY_POLL = timedelta(milliseconds=500)
# At the stop a later wave gets this much even when the earlier ones used all the time there was.
LEAST_PATIENCE_SECONDS = 1.0
LOG_LIMIT_BYTES = 20_000_000
LOG_CHECK = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Service:
    """One server.

    needs: names of the services that must be ready before this one starts.
    is_ready: asked until it answers True; must return within a second and raise nothing.
    runs_work: its process group also holds work (Dagster runs) that outlives a crash of the
        server and goes on; the group of any other crashed server is ended before its restart,
        because a left-over child would hold the port.
    once: it does one thing and ends. Exit code 0 is the end of it, any other starts it again;
        whoever needs it waits until it is ready or has ended in whatever way.
    stop_wave: at the stop, all of a lower wave have ended before those of a higher are asked to.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool]
    needs: tuple[str, ...] = ()
    runs_work: bool = False
    once: bool = False
    stop_wave: int = 0


@dataclass(slots=True)
class _Child:
    """What is known of a service now."""

    service: Service
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: datetime | None = None
    ready_at: datetime | None = None
    asked_at: datetime | None = None
    exits: int = 0
    next_start: datetime | None = None
    is_done: bool = False
    groups: set[int] = field(default_factory=set)

    @property
    def is_ready(self) -> bool:
        if self.service.once and (self.is_done or self.exits > 0):
            return True
        return self.process is not None and self.ready_at is not None


class Guardian:
    """The guardian process, seen from `run`; it holds the files `keep_open` open as it lives."""

    def __init__(self, keep_open: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trading_assets.commands.guardian"],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def tell(self, word: str) -> None:
        """Send one line. A guardian that was killed is replaced by the supervisor's next step."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def dismiss(self) -> None:
        """Everything ended in order."""
        self.tell(DONE)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Supervisor:
    """Runs `services`; call `step` a few times a second and `stop` at the end.

    say: takes one line for the person. logs: a folder, one file per service. environment: whole,
    for the children. make_guardian: starts what cleans up after a SIGKILL of this process.
    on_change: called with the process groups that live, after each change.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        logs: Path,
        folder: Path,
        environment: Mapping[str, str],
        clock: Clock,
        say: Callable[[str], None],
        make_guardian: Callable[[], Guardian] = Guardian,
        on_change: Callable[[frozenset[int]], None] = lambda _: None,
    ) -> None:
        known: set[str] = set()
        for service in services:
            unknown = set(service.needs) - known
            if unknown:
                raise ValueError(f"{service.name} needs {unknown}, which must come before it")
            known.add(service.name)
        logs.mkdir(parents=True, exist_ok=True)
        self._children = {s.name: _Child(s, logs / f"{s.name}.log") for s in services}
        self._folder = folder
        self._environment = dict(environment)
        self._clock = clock
        self._say = say
        self._make_guardian = make_guardian
        self._guardian: Guardian | None = None
        self._on_change = on_change
        self._groups: set[int] = set()
        self._logs_checked_at = clock.now()

    @property
    def all_ready(self) -> bool:
        return all(child.is_ready for child in self._children.values())

    def is_ready(self, name: str) -> bool:
        return self._children[name].is_ready

    def pid(self, name: str) -> int | None:
        """The process id of a service, None while it does not run."""
        process = self._children[name].process
        return None if process is None else process.pid

    def waiting_for(self) -> tuple[str, ...]:
        """Services that are not ready, in start order."""
        return tuple(name for name, child in self._children.items() if not child.is_ready)

    def step(self) -> None:
        """Notice exits, start what is due, ask what is starting whether it is ready."""
        self._keep_guardian()
        now = self._clock.now()
        for child in self._children.values():
            self._notice_exit(child, now)
            if child.process is None and not child.is_done and self._may_start(child, now):
                self._start(child, now)
            self._ask(child, now)
        self._keep_logs_small(now)

    def stop(
        self, patience_seconds: float, still_patient: Callable[[], bool] = lambda: True
    ) -> tuple[groups.Member, ...]:
        """End every process that was started, work included; returns those that would not end.

        Wave after wave; patience_seconds: for all of them together.
        """
        deadline = time.monotonic() + patience_seconds
        least = min(patience_seconds, LEAST_PATIENCE_SECONDS)
        left: tuple[groups.Member, ...] = ()
        for wave in sorted({child.service.stop_wave for child in self._children.values()}):
            theirs = {
                group
                for child in self._children.values()
                if child.service.stop_wave == wave
                for group in child.groups & self._groups
            }
            left += groups.end(theirs, max(least, deadline - time.monotonic()), still_patient)
        for child in self._children.values():
            if child.process is not None and not any(m.pid == child.process.pid for m in left):
                child.process.wait()
                child.process = None
                child.ready_at = None
        self._forget({g for g in self._groups if not any(m.group == g for m in left)})
        if self._guardian is not None and not left:
            self._guardian.dismiss()
            self._guardian = None
        return left

    def _keep_guardian(self) -> None:
        if self._guardian is not None and self._guardian.is_alive():
            return
        self._guardian = self._make_guardian()
        for group in self._groups:
            self._guardian.tell(f"+{group}")

    def _may_start(self, child: _Child, now: datetime) -> bool:
        if child.next_start is not None and now < child.next_start:
            return False
        # Only the first start waits for others; a restart has clients that wait for it.
        return child.exits > 0 or all(self._children[n].is_ready for n in child.service.needs)

    def _start(self, child: _Child, now: datetime) -> None:
        with child.log.open("ab") as log:
            _write_line(log, f"--- {now.isoformat(timespec='seconds')} start\n")
            child.process = subprocess.Popen(
                child.service.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                # A group of its own: Ctrl-C in the terminal reaches `run` alone, which asks.
                process_group=0,
            )
        child.started_at, child.ready_at, child.asked_at = now, None, None
        child.groups.add(child.process.pid)
        self._groups.add(child.process.pid)
        assert self._guardian is not None
        self._guardian.tell(f"+{child.process.pid}")
        self._on_change(frozenset(self._groups))

    def _ask(self, child: _Child, now: datetime) -> None:
        if child.process is None or child.ready_at is not None:
            return
        if child.asked_at is not None and now - child.asked_at < READY_POLL:
            return
        child.asked_at = now
        if child.service.is_ready():
            child.ready_at = now
            assert child.started_at is not None
            seconds = (now - child.started_at).total_seconds()
            again = "runs again" if child.exits else "is ready"
            self._say(f"{child.service.name} {again} ({seconds:.0f} s)")

    def _notice_exit(self, child: _Child, now: datetime) -> None:
        if child.process is None or child.process.poll() is None:
            return
        code, group = child.process.returncode, child.process.pid
        if child.ready_at is not None and now - child.ready_at >= PROVEN_AFTER:
            child.exits = 0
        child.process, child.ready_at = None, None
        if child.service.once and code == 0:
            child.is_done = True
            self._forget({group})
            self._say(f"{child.service.name} has done its work")
            return
        child.exits += 1
        if not child.service.runs_work:
            groups.end({group}, patience_seconds=2)
        if not groups.members({group}):
            self._forget({group})
        if child.exits < EXITS_BEFORE_ALARM:
            wait = BACKOFF[child.exits - 1]
            self._say(
                f"!! {child.service.name} ended by itself ({_why(code)}), starting it again; "
                f"its log: {child.log}"
            )
        else:
            wait = SLOW_BACKOFF
            self._say(
                f"!! {child.service.name} ended {child.exits} times in a row ({_why(code)}) and "
                f"does not run. Its log: {child.log}\n{_tail(child.log)}\n"
                f"!! Next attempt in {wait.total_seconds():.0f} s; Ctrl-C stops everything."
            )
        child.next_start = now + wait

    def _forget(self, ended: set[int]) -> None:
        self._groups -= ended
        if self._guardian is not None:
            for group in ended:
                self._guardian.tell(f"-{group}")
        self._on_change(frozenset(self._groups))

    def _keep_logs_small(self, now: datetime) -> None:
        """Move a long log aside. Children append, so the file can be emptied under them."""
        if now - self._logs_checked_at < LOG_CHECK:
            return
        self._logs_checked_at = now
        for child in self._children.values():
            if child.log.exists() and child.log.stat().st_size > LOG_LIMIT_BYTES:
                child.log.with_suffix(".log.1").write_bytes(child.log.read_bytes())
                os.truncate(child.log, 0)


def _write_line(log: IO[bytes], line: str) -> None:
    log.write(line.encode())
    log.flush()


def _why(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _tail(log: Path, lines: int = 5) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    return "\n".join(f"   | {line}" for line in text.splitlines()[-lines:])
