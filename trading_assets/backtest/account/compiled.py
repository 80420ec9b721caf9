"""How the functions of this folder are compiled, and when a compiled one on disk is too old.

numba's cache knows a function by the file it stands in: it would go on running what a change in
another file has made wrong. So only the outermost function is cached (`run.simulate_account`), and
the digest of the whole folder is part of its key.

Nothing that is compiled here makes an array, so references need not be counted (`_nrt`): counting
those of the arrays that a function is given takes longer than a step of the simulation (measured:
75 ns a candle against 9). Nor is there a denominator that can be 0, so none is asked about.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"_nrt": False, "error_model": "numpy"}


def compiled(function: Function) -> Function:
    """`function`, compiled as a part of what calls it."""
    return cast(Function, njit(forceinline=True, **_OPTIONS)(function))


def compiled_on_disk(function: Function) -> Function:
    """`function`, compiled at its first call and kept where there is a place for it.

    That is `__pycache__` beside its file, else the user's cache folder; where neither can be
    written, each process compiles anew.
    """
    try:
        return cast(Function, njit(cache=True, **_OPTIONS)(function))
    except RuntimeError as exc:
        if "no locator available" not in str(exc):
            raise
        return cast(Function, njit(**_OPTIONS)(function))


def source_digest() -> str:
    """Of every file of this folder: another one means another program."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
