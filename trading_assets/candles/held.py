"""What files held, kept for as long as they are the same files.

For files that are swapped in whole and never written in place (the candle store's): one with the
same inode, time and size has the same content, whoever wrote it. Not here: what is in them.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
_Identity = tuple[int, int, int]


class Held(Generic[T]):
    """The values of the `most` files that were asked for last; safe across threads.

    A value is shared by all who ask, so nobody may change it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[Path, tuple[_Identity, T]] = OrderedDict()

    def get(self, path: Path, read: Callable[[], T]) -> T:
        """The value of the file at `path`: held, or `read` (which may raise; nothing is held then).

        A file that is swapped while it is read is read again the next time. A missing file is
        never held.
        """
        now = _identity(path)
        with self._lock:
            held = self._values.get(path)
            if held is not None and held[0] == now:
                self._values.move_to_end(path)
                return held[1]
        value = read()
        self._keep(path, now, value)
        return value

    def put(self, path: Path, value: T) -> None:
        """Hold `value`, which the caller has just written to `path`, keeping other writers out."""
        self._keep(path, _identity(path), value)

    def _keep(self, path: Path, identity: _Identity | None, value: T) -> None:
        if identity is None:
            return
        with self._lock:
            self._values[path] = identity, value
            self._values.move_to_end(path)
            while len(self._values) > self._most:
                self._values.popitem(last=False)


def _identity(path: Path) -> _Identity | None:
    """Which file lies at `path`, None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
