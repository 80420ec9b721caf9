"""Names that look like settings and are none: what nobody reads must not be taken for obeyed.

`.env` is read by Dagster too and the environment belongs to every program, so a name that is far
from all of ours is somebody else's. Not here: the settings themselves, and their values.
"""

import difflib
import os
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from trading_assets.errors import SettingsError

# How alike two names are when one is taken for the other mistyped (difflib's ratio: SEED and SEEDS
# are 0.89). What a person wrote for us is judged more strictly than what the environment happens
# to have.
_ALIKE_FOR_US, _ALIKE_BY_CHANCE = 0.8, 0.9
_ALIKE_GROUPS = 0.7
# Near ours and another program's: Dagster's home is written into `.env` by `setup`.
_OTHERS = frozenset({"DAGSTER_HOME"})
_IF_OTHERS = " If another program reads it, unset it for this one."


def mistyped(
    known: Collection[str],
    written: Mapping[str, str],
    env_file: Path,
    environment: Mapping[str, str] = os.environ,
) -> list[str]:
    """A sentence for each name in `.env`, in make's arguments or in the environment that looks like
    one of `known` and is none.

    known: every setting in capitals, those of a group with it (`TRADING__LEASE_SECONDS`). written:
    what `env_file` sets.
    """
    given = [name for name, value in environment.items() if value]
    said: dict[str, str] = {}
    for names, where, alike in (
        (written, f" in {env_file}", _ALIKE_FOR_US),
        (_given_to_make(environment), "", _ALIKE_FOR_US),
        (given, " in the environment", _ALIKE_BY_CHANCE),
    ):
        for name in names:
            close = _taken_for(name.upper(), known, alike)
            if close is not None:
                said.setdefault(
                    name, f"{name}{where} is no setting, did you mean {close}?{_IF_OTHERS}"
                )
    return list(said.values())


def written_in(env_file: Path) -> dict[str, str]:
    """What `.env` sets, by name; an empty value counts as not given.

    Raises SettingsError when it is no text.
    """
    if not env_file.is_file():
        return {}
    try:
        values = dotenv_values(env_file, encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise SettingsError(
            f"{env_file} must be UTF-8 text: {exc.reason} at byte {exc.start}"
        ) from None
    return {name: value for name, value in values.items() if value}


def most_like(name: str, known: Iterable[str], alike: float = _ALIKE_FOR_US) -> str | None:
    """The one of `known` that `name` is most like, None when none is like it."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=alike)
    return found[0] if found else None


def _taken_for(name: str, known: Collection[str], alike: float) -> str | None:
    """What `name` was probably meant to be, None when it is one of ours or nothing like them."""
    if name in known or name in _OTHERS:
        return None
    group, is_inside, inner = name.partition("__")
    groups = {k.partition("__")[0] for k in known if "__" in k}
    if group in groups and is_inside:
        return None  # the group itself refuses what it does not know
    close = most_like(name, known, alike)
    if close is not None or not is_inside or alike > _ALIKE_FOR_US:
        return close
    near = most_like(group, groups, _ALIKE_GROUPS)
    return None if near is None else f"{near}__{inner}"


def _given_to_make(environment: Mapping[str, str]) -> list[str]:
    """Names of variables on make's command line, which it exports: `make run MARKET=KRW-BTC`."""
    _, is_there, arguments = environment.get("MAKEFLAGS", "").partition("-- ")
    if not is_there:
        return []
    try:
        words = shlex.split(arguments)
    except ValueError:
        return []  # make's own quoting, not the shell's: better not understood than refused
    return [word.partition("=")[0] for word in words if "=" in word]
