"""Importing without what a trade would wait for and never use: optional parts, the collector."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """In the block, importing one of `modules` raises ImportError unless it is loaded already.

    Only for parts whose import the library itself expects to fail.
    """
    kept_out = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(kept_out))  # type: ignore[arg-type]  # None: Python's own way
    try:
        yield
    finally:
        for name in kept_out:
            sys.modules.pop(name, None)


@contextmanager
def uncollected() -> Iterator[None]:
    """The garbage collector rests in the block and never looks at what was made by its end.

    What is imported lives as long as the process. Dagster alone is 175,000 objects, which each
    full collection while a trade starts would look through again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
