"""One start per world: the lock that `run` and its guardian hold, and what a killed start left.

The lock is a file lock that the guardian inherits, so it is free only when both are gone: a start
after a SIGKILL waits until the guardian has ended the old servers.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trading_assets.clock import Clock
from trading_assets.commands import groups
from trading_assets.commands.files import swap_in
from trading_assets.commands.guardian import PATIENCE_SECONDS
from trading_assets.errors import EnvironmentProblem

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class OnlyOne:
    """The files in `folder` (the world's `run`) by which starts know of each other."""

    folder: Path

    @property
    def _state(self) -> Path:
        return self.folder / "run.json"

    @property
    def _started(self) -> Path:
        return self.folder / "started_at"

    @property
    def _stopped(self) -> Path:
        return self.folder / "stopped_at"

    def take(self, clock: Clock) -> int:
        """The lock, as a file descriptor to hold until the end.

        Raises EnvironmentProblem when another start lives, or left processes behind.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._wait_for(descriptor, clock)
            self._refuse_leftovers()
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _wait_for(self, descriptor: int, clock: Clock) -> None:
        deadline = clock.now().timestamp() + PATIENCE_SECONDS + 10
        while not _lock(descriptor):
            pid = self._pid()
            if pid is not None and _lives(pid):
                raise EnvironmentProblem(
                    f"`trading-assets run` already runs for this world (pid {pid}): stop it with "
                    f"Ctrl-C in its terminal, or `kill {pid}`"
                )
            if clock.now().timestamp() > deadline:
                raise EnvironmentProblem(
                    f"the start before this one (pid {pid}) was killed and its servers do not end; "
                    f"look at {self._state}"
                )
            clock.sleep(_POLL_SECONDS)

    def write(self, alive: Iterable[int]) -> None:
        """Record this process and the groups it has started."""
        state = {"pid": os.getpid(), "groups": sorted(alive)}
        swap_in(self._state, json.dumps(state, indent=1) + "\n")

    def starting(self, now: datetime) -> None:
        """Record when this start began, and that it is this process; it has no groups yet."""
        swap_in(self._started, now.isoformat() + "\n")
        self.write(())

    def running_pid(self) -> int | None:
        """The process of the start that lives now; None when none does."""
        pid = self._pid()
        return pid if pid is not None and _lives(pid) else None

    def running_since(self) -> datetime | None:
        """When the start that lives now began; None when none does."""
        if self.running_pid() is None:
            return None
        try:
            return datetime.fromisoformat(self._started.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return None

    def stopping(self, now: datetime) -> None:
        """Record that the stop began: runs that end from now on are its doing."""
        swap_in(self._stopped, now.isoformat() + "\n")

    def previous_stop(self, now: datetime) -> datetime:
        """When the previous start was asked to stop; `now` when it never was, or was killed."""
        try:
            return datetime.fromisoformat(self._stopped.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return now

    def forget_stop(self) -> None:
        self._stopped.unlink(missing_ok=True)

    def clear(self) -> None:
        """Nothing runs any more."""
        self._state.unlink(missing_ok=True)

    def _pid(self) -> int | None:
        state = self._read()
        return None if state is None else int(state["pid"])

    def _read(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return state

    def _refuse_leftovers(self) -> None:
        state = self._read()
        if state is None:
            return
        # A number may have been given to a stranger since: it has to be of this environment, too.
        programs = str(Path(sys.executable).parent)
        left = [m for m in groups.members(state["groups"]) if programs in m.command]
        if left:
            listed = "\n".join(f"  pid {m.pid}: {m.command}" for m in left)
            killing = " ".join(f"-{g}" for g in sorted({m.group for m in left}))
            raise EnvironmentProblem(
                f"processes of an earlier start, which was killed, still run:\n{listed}\n"
                f"end them with `kill -- {killing}`, then start again"
            )


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
