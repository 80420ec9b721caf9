"""Writing a small text file whole or not at all."""

import os
from pathlib import Path


def swap_in(path: Path, text: str) -> None:
    """Make `path` hold `text`, in one step; a reader sees the old file or the new one.

    A symbolic link stays one, permissions stay, a new file is readable by its owner's group as
    usual. Nothing is written when nothing changes.
    """
    target = path.resolve()
    try:
        if target.read_text(encoding="utf-8") == text:
            return
        mode = target.stat().st_mode & 0o777
    except FileNotFoundError:
        mode = None
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    if mode is not None:
        draft.chmod(mode)
    draft.replace(target)
