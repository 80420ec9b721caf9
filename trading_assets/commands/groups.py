"""Process groups: who is in one, asking it to end, ending it.

Standard library only: the guardian uses it, and must start in a moment and need little memory.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_PROC = Path("/proc")
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Member:
    """A living process of a group."""

    pid: int
    group: int
    command: str


def ending_signals() -> tuple[signal.Signals, ...]:
    """What asks a program to end: Ctrl-C, `kill`, and the end of its terminal.

    Not the last one where it is ignored: who started the program with nohup wants it to go on.
    """
    asked = (signal.SIGINT, signal.SIGTERM)
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return asked if ignored else (*asked, signal.SIGHUP)


def end_as_by_ctrl_c() -> None:
    """Let every one of them raise KeyboardInterrupt, so that what was begun is ended in order."""
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)


def end_once_as_by_ctrl_c() -> None:
    """As above, and not be disturbed by the next one while ending, which takes seconds.

    `timeout make materialize` and a terminal that closes ask twice: once through their child. Not
    for what may have to wait for somebody, which a person could then not leave.
    """
    asked = ending_signals()

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in asked:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in asked:
        signal.signal(number, end)


def members(groups: Iterable[int]) -> tuple[Member, ...]:
    """The living processes of `groups`; zombies, which hold nothing any more, do not count."""
    wanted = set(groups)
    if not wanted:
        return ()
    found = _from_proc() if (_PROC / "self" / "stat").exists() else _from_ps()
    return tuple(member for member in found if member.group in wanted)


def send(groups: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to every process of `groups`; a group that is gone is none the worse."""
    for group in groups:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            continue
        except PermissionError:
            # macOS says so for a group of nothing but zombies.
            continue


def end(
    groups: Iterable[int],
    patience_seconds: float,
    still_patient: Callable[[], bool] = lambda: True,
) -> tuple[Member, ...]:
    """Ask `groups` to end, wait, kill what is left; returns what even that did not end.

    `still_patient` is asked while waiting; False ends the waiting at once (a second Ctrl-C).
    """
    wanted = set(groups)
    send(wanted, signal.SIGTERM)
    deadline = time.monotonic() + patience_seconds
    while members(wanted) and time.monotonic() < deadline and still_patient():
        time.sleep(_POLL_SECONDS)
    left = {member.group for member in members(wanted)}
    send(left, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while members(left) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return members(left)


def _from_proc() -> Iterable[Member]:
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name in brackets may hold spaces and brackets itself: read after the last one.
            state, _parent, group, *_ = (
                (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            ).split()
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we looked
        if state not in {"Z", "X"}:
            text = command.replace(b"\0", b" ").decode(errors="replace").strip()
            yield Member(int(folder.name), int(group), text)


def _from_ps() -> Iterable[Member]:
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat=,command="], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        pid, group, state, command = line.split(None, 3)
        if not state.startswith("Z"):
            yield Member(int(pid), int(group), command)
