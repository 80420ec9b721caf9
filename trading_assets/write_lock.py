"""Which process holds the write lock of an SQLite database, so that a sentence can name it.

SQLite has one writer. A process that was stopped (SIGSTOP, Ctrl-Z) amid a write keeps the lock
until it goes on or dies, and SQLite only says "database is locked". Linux tells more, in /proc;
elsewhere nothing is known. Not here: waiting for the lock (`database`), ending anybody.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# In WAL mode the writer locks this byte of the `-shm` file: sqlite.org/walformat.html, 2.3.
_WRITER_BYTE = 120
_STATES = {"T": "stopped", "t": "stopped by a debugger"}


@dataclass(frozen=True, slots=True)
class Writer:
    """A process amid a write. name: of its program. is_stopped: it does not go on by itself."""

    pid: int
    name: str
    state: str

    @property
    def is_stopped(self) -> bool:
        return self.state in _STATES

    def __str__(self) -> str:
        stopped = f", which is {_STATES[self.state]}" if self.is_stopped else ""
        return f"process {self.pid} ({self.name}){stopped}"


def writer_of(database: Path, proc: Path = Path("/proc")) -> Writer | None:
    """The process that is amid a write to `database`, None when there is none or it is not known.

    proc: where Linux tells about processes. One of another user or container is not seen.
    """
    shared = database.with_name(database.name + "-shm")
    # What disappears while it is looked at is not a writer any more.
    with suppress(OSError, ValueError):
        inode = shared.stat().st_ino
        for line in (proc / "locks").read_text(encoding="ascii").splitlines():
            pid = _writer_pid(line, inode)
            # An inode is unique on its file system only, so the open file decides.
            if pid is not None and _has_open(proc / str(pid), shared):
                return _described(proc, pid)
    return None


def _writer_pid(line: str, inode: int) -> int | None:
    """From `1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120`; None for every other lock.

    A blocked request has an arrow as its second field.
    """
    fields = line.split()
    if len(fields) != 8 or fields[1] != "POSIX" or fields[3] != "WRITE":
        return None
    pid, place, first, last = fields[4:]
    if int(place.rpartition(":")[2]) != inode or last == "EOF":
        return None
    return int(pid) if int(first) <= _WRITER_BYTE <= int(last) else None


def _has_open(process: Path, file: Path) -> bool:
    for link in (process / "fd").iterdir():
        with suppress(OSError):
            if link.samefile(file):
                return True
    return False


def _described(proc: Path, pid: int) -> Writer:
    # `4711 (a name) T 1 ...`: the name may hold anything, so the last bracket ends it.
    told = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    name, _, rest = told.partition("(")[2].rpartition(")")
    return Writer(pid, name, rest.split()[0])
