"""Small programs that stand for servers in the supervisor's tests."""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Listens on the port given, as a server does, until it is asked to end.
LISTENS = """
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen()
while True: s.accept()[0].close()
"""
# Starts a child of its own (its pid goes to the file given) and waits for ever.
HAS_CHILD = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
path = pathlib.Path(sys.argv[1]); draft = path.with_suffix(".draft")
draft.write_text(str(child.pid)); draft.replace(path)
child.wait()
"""
# Hears the request to end and does not obey; says so by making the file given.
STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
# Asked to end, needs a moment for it and then makes the file given.
ENDS_SLOWLY = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.3); pathlib.Path(sys.argv[2]).touch(); sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
# Asked to end, makes the second file given if the third is there already.
ENDS_AFTER = """
import pathlib, signal, sys, time
def end(*_):
    if pathlib.Path(sys.argv[3]).exists(): pathlib.Path(sys.argv[2]).touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""
SLEEPS = "import time; time.sleep(600)"
FAILS = "import sys; print('no such table: candles'); sys.exit(3)"


def python(source: str, *arguments: object) -> tuple[str, ...]:
    """The command that runs `source`."""
    return (sys.executable, "-c", source, *map(str, arguments))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Return as soon as `condition` holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def written_pid(path: Path) -> int:
    until(path.exists)
    return int(path.read_text())
