"""Importing a library without its optional parts, which a trade would wait for and never use.

Only for parts whose import the library itself expects to fail.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """In the block, importing one of `modules` raises ImportError unless it is loaded already."""
    kept_out = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(kept_out))  # type: ignore[arg-type]  # None: Python's own way
    try:
        yield
    finally:
        for name in kept_out:
            sys.modules.pop(name, None)
