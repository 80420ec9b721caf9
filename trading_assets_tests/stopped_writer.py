"""A process that stops amid a write of an SQLite database, as a frozen one would."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WRITER = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("amid a write", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
connection.execute("COMMIT")
"""


@contextmanager
def stopped_writer(database: Path) -> "Iterator[subprocess.Popen[str]]":
    """The process, stopped; `go_on` lets it end its write. Killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(database)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "amid a write\n"
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def go_on(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
