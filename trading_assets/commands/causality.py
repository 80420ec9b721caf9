"""`trading-assets lookahead` and `recursion`: nothing sees the future, nothing remembers the start.

On the world's stored candles through its champions, or on a folder of recorded candles. A table of
every value, and exit code 1 with the names of those that are wrong. Here: what is read and what is
printed. Not here: the analyses (`backtest.lookahead`, `backtest.recursion`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from trading_assets.backtest.lookahead import LookaheadFinding
from trading_assets.backtest.lookahead import lookahead as find_lookahead
from trading_assets.backtest.quantities import Family, families
from trading_assets.backtest.recursion import SHORTER, RecursionFinding
from trading_assets.backtest.recursion import recursion as find_recursion
from trading_assets.candles.recorded import StoredCandles, read_recordings
from trading_assets.candles.store import CandleStore
from trading_assets.errors import EnvironmentProblem, NotEnoughHistory, NotReadyYet
from trading_assets.exchange.model import Interval
from trading_assets.models.champions import Champion, ChampionStore
from trading_assets.models.profiles import active_profiles, costs
from trading_assets.rules.profile import Profile
from trading_assets.settings import Settings
from trading_assets.world import prices, world_of

Say = Callable[[str], None]
# Too many to print one by one while all is well.
_TOLD_TOGETHER = "model input"
_ABOUT_SHORTER = (
    "N read: largest difference of the newest value when only N candles are read (told, not "
    "judged); the other columns are judged, from what a signal reads on"
)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One market under one profile: its candles, and the champion that signals it, if any."""

    profile: Profile
    stored: StoredCandles
    champion: Champion | None

    def families(self, settings: Settings) -> tuple[Family, ...]:
        """What is computed for it."""
        model = None if self.champion is None else self.champion.served
        return families(self.profile, costs(settings), settings.sequence_view, model)


@dataclass(slots=True)
class Line:
    """One value over all markets of a profile."""

    group: str
    name: str
    compared: int = 0
    differing: int = 0
    largest: float = 0.0
    first: str = ""
    passed: bool = True
    shorter: Mapping[int, float] | None = None

    def add(self, market: str, found: LookaheadFinding | RecursionFinding) -> None:
        self.compared += found.compared
        self.differing += found.differing
        self.largest = max(self.largest, found.largest)
        self.passed = self.passed and found.passed
        if not found.passed and not self.first:
            apart = f"{found.first}, {_difference(found.largest)} apart"
            self.first = f"{market} {apart if found.differing else 'has no value to compare'}"
        if isinstance(found, RecursionFinding):
            before = self.shorter or dict.fromkeys(found.shorter, 0.0)
            self.shorter = {n: max(before[n], value) for n, value in found.shorter.items()}


Compute = Callable[[Subject], Sequence[LookaheadFinding | RecursionFinding]]


def lookahead(settings: Settings, say: Say, *, folder: Path | None, cuts: int, every: bool) -> int:
    """Print the look-ahead analysis; 1 when a value looks ahead.

    folder: of recorded candles, None for the world's own. cuts: histories at random, per market.
    every: also each column that a model is given. Raises NotReadyYet, EnvironmentProblem or
    NotEnoughHistory when there is nothing to analyse.
    """

    def compute(subject: Subject) -> Sequence[LookaheadFinding]:
        made = subject.families(settings)
        return find_lookahead(subject.stored, made, cuts=cuts, seed=settings.base_seed)

    return _analysed(
        settings, say, folder, compute, every=every, wrong="look ahead", right="nothing looks ahead"
    )


def recursion(settings: Settings, say: Say, *, folder: Path | None, cuts: int, every: bool) -> int:
    """Print the recursion analysis; 1 when a value depends on how far back is read.

    Parameters and errors as `lookahead`.
    """

    def compute(subject: Subject) -> Sequence[RecursionFinding]:
        made = subject.families(settings)
        return find_recursion(subject.stored, made, count=cuts, seed=settings.base_seed)

    return _analysed(
        settings,
        say,
        folder,
        compute,
        every=every,
        wrong="depend on how far back is read",
        right="nothing depends on how far back is read",
    )


def _analysed(
    settings: Settings,
    say: Say,
    folder: Path | None,
    compute: Compute,
    *,
    every: bool,
    wrong: str,
    right: str,
) -> int:
    found = list(subjects(settings, folder, say))
    failures, done = 0, 0
    for profile, group in groupby(found, key=lambda s: s.profile.name):
        lines: dict[tuple[str, str], Line] = {}
        for subject in group:
            try:
                findings = compute(subject)
            except NotEnoughHistory as exc:
                say(f"{profile}: not analysed, {exc}")
                continue
            say(f"{profile}: {_described(subject)}")
            for finding in findings:
                key = finding.group, finding.name
                lines.setdefault(key, Line(*key)).add(subject.stored.market, finding)
        if not lines:
            continue
        done += 1
        failed = [line for line in lines.values() if not line.passed]
        failures += len(failed)
        if any(line.shorter is not None for line in lines.values()):
            say(_ABOUT_SHORTER)
        say("\n".join(_table(list(lines.values()), every=every)))
        if failed:
            say(f"{profile}: {len(failed)} of {len(lines)} values {wrong}:")
            for line in failed:
                say(f"  {line.group} {line.name}: {line.first}")
        else:
            say(f"{profile}: {right} ({len(lines)} values)")
    if not done:
        raise NotEnoughHistory("nothing was analysed: no market has enough candles")
    return 1 if failures else 0


def subjects(settings: Settings, folder: Path | None, say: Say) -> Iterator[Subject]:
    """The markets of each active profile that have candles, profile by profile.

    Raises NotReadyYet when the world has none at all, EnvironmentProblem when the folder has none.
    """
    if folder is not None:
        yield from _recorded(settings, folder, say)
        return
    world = world_of(settings)
    say(f"world {world.name}, {prices(settings)}")
    store = CandleStore(world.candles, world.name)
    champions = ChampionStore(world.champions, world.name)
    there = False
    for profile in active_profiles(settings):
        interval = Interval.of_minutes(profile.interval_minutes)
        for market in settings.markets:
            frame = store.read(market, interval)
            if frame.empty:
                say(f"{profile.name}: {market} has no {interval} candles yet")
                continue
            there = True
            stored = StoredCandles(market, interval, frame, store.gaps(market, interval))
            yield Subject(profile, stored, champions.current(market, profile.name))
    if not there:
        raise NotReadyYet(
            f"the world {world.name} has no candles yet: `make materialize`, or --candles FOLDER"
        )


def _recorded(settings: Settings, folder: Path, say: Say) -> Iterator[Subject]:
    say(f"recorded candles in {folder}; no champion belongs to them")
    refused = []
    for profile in active_profiles(settings):
        interval = Interval.of_minutes(profile.interval_minutes)
        try:
            recordings = read_recordings(folder, settings.markets, interval)
        except EnvironmentProblem as exc:
            refused.append(exc)
            say(f"{profile.name}: not analysed, {exc}")
            continue
        for stored in recordings.values():
            yield Subject(profile, stored, None)
    if len(refused) == len(active_profiles(settings)):
        raise refused[0]


def _described(subject: Subject) -> str:
    times = subject.stored.frame["open_time"]
    champion = subject.champion
    by = (
        "no champion, so no signal is compared"
        if champion is None
        else f"champion {champion.version}"
    )
    return (
        f"{subject.stored.market}, {len(times):,} {subject.stored.interval} candles from "
        f"{times.iloc[0]:%Y-%m-%d} to {times.iloc[-1]:%Y-%m-%d}, {by}"
    )


def _table(lines: list[Line], *, every: bool) -> Iterator[str]:
    told = lines if every else _shortened(lines)
    remembers = any(line.shorter is not None for line in told)
    head = ["group", "value"]
    head += [f"{rows} read" for rows in SHORTER] if remembers else []
    head += ["compared", "differing", "largest difference", "passed"]
    rows = [head]
    for line in told:
        cells = [line.group, line.name]
        cells += [_difference(value) for value in (line.shorter or {}).values()]
        cells += [f"{line.compared:,}", f"{line.differing:,}", _difference(line.largest)]
        rows.append([*cells, "yes" if line.passed else "NO"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _shortened(lines: list[Line]) -> list[Line]:
    """`lines`, those of the model's inputs that passed as a single one."""
    together = [x for x in lines if x.group == _TOLD_TOGETHER and x.passed]
    if not together:
        return lines
    place = lines.index(together[0])
    told = [x for x in lines if x not in together]
    return [*told[:place], _together(together), *told[place:]]


def _together(lines: Sequence[Line]) -> Line:
    shorter = None
    if lines[0].shorter is not None:
        shorter = {n: max((x.shorter or {})[n] for x in lines) for n in lines[0].shorter}
    return Line(
        _TOLD_TOGETHER,
        f"{len(lines)} columns",
        compared=sum(line.compared for line in lines),
        shorter=shorter,
    )


def _difference(value: float) -> str:
    """A difference for a person: 0, 1.2e-05, or infinite because one side had no value."""
    if value == float("inf"):
        return "infinitely"
    return "0" if value == 0 else f"{value:.1e}"
