"""The guardian: ends what `trading-assets run` started when `run` itself was killed.

A killed process can clean up nothing, so `run` starts this one beside it and tells it, through a
pipe, each process group it starts (`+123`) and each that has ended (`-123`). When the pipe closes
without the word `done`, `run` is gone: the guardian asks the groups to end, waits, and kills the
rest. Standard library only.
"""

import signal
import sys
from typing import TextIO

from trading_assets.commands import groups

DONE = "done"
PATIENCE_SECONDS = 20.0


def watch(lines: TextIO) -> set[int]:
    """Read until the end; the groups to end: none after `done`."""
    alive: set[int] = set()
    for line in lines:
        word = line.strip()
        if word == DONE:
            return set()
        if word.startswith("+"):
            alive.add(int(word[1:]))
        elif word.startswith("-"):
            alive.discard(int(word[1:]))
    return alive


def main() -> int:
    """Watch standard input; exit code 1 when something could not be ended."""
    # Only the end of the pipe ends the guardian: a Ctrl-C is for `run`.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return 1 if groups.end(watch(sys.stdin), PATIENCE_SECONDS) else 0


if __name__ == "__main__":
    sys.exit(main())
