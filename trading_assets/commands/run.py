"""`trading-assets run`: the whole project in the foreground, until Ctrl-C.

Checks, prepares, starts the servers in order, tells what the pipeline waits for, prints the table
of signals when the first are out, and stops everything to the last process.
"""

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import FrameType

from sqlalchemy.engine import Engine

from trading_assets.candles.recording_files import require_recording
from trading_assets.clock import Clock
from trading_assets.commands import dagster_web, services, signal_table
from trading_assets.commands.first_guard import first_guard
from trading_assets.commands.groups import ending_signals
from trading_assets.commands.live_start import confirm_live_start, tell_evaluation
from trading_assets.commands.only_one import OnlyOne
from trading_assets.commands.ports import free_ports, require_free_ports
from trading_assets.commands.prepare import prepare_world
from trading_assets.commands.supervisor import Guardian, Supervisor
from trading_assets.commands.unguarded import (
    left_open,
    release_dead_runs,
    release_gone_guards,
    unguarded,
)
from trading_assets.database import open_database
from trading_assets.errors import NotReadyYet
from trading_assets.models.verdicts import training_verdict
from trading_assets.settings import ProfileName, Settings, TradingMode
from trading_assets.signals import choice_table
from trading_assets.signals.choices import latest_choice, leading_profile, traded_profile
from trading_assets.world import World, world_of

STEP_SECONDS = 0.2
PROGRESS_EVERY = timedelta(seconds=15)
LOOK_EVERY = timedelta(seconds=2)
STOP_PATIENCE_SECONDS = 20.0


@dataclass(slots=True)
class StopRequest:
    """How often a person asked to stop: once politely, twice in a hurry."""

    times: int = 0

    def install(self) -> None:
        for number in ending_signals():
            signal.signal(number, self._asked)

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self.times += 1


def run(settings: Settings, clock: Clock, say: Callable[[str], None], *, yes: bool = False) -> int:
    """Run until asked to stop; the exit code: 0, or 1 when a process would not end.

    yes: the first start with real money does not ask for its phrase.

    Raises EnvironmentProblem (a port in use, another start, left-over processes), SettingsError (no
    such recording) and WrongWorld before anything is started.
    """
    require_recording(settings)
    tell_evaluation(settings, clock, say)
    confirm_live_start(settings, clock, say, yes=yes)
    world = world_of(settings)
    only_one = OnlyOne(world.run)
    lock = only_one.take(clock)
    require_free_ports(settings)
    only_one.starting(clock.now())
    asked = StopRequest()
    asked.install()
    say(_opening(settings, world))
    prepare_world(settings, say, close_runs_since=only_one.previous_stop(clock.now()))
    only_one.forget_stop()
    engine = open_database(settings, world)
    release_gone_guards(engine, clock.now())
    for line in left_open(engine):
        say(line)
    supervisor = _supervisor(
        settings,
        world,
        engine=engine,
        clock=clock,
        say=say,
        make_guardian=lambda: Guardian(keep_open=(lock,)),
        on_change=only_one.write,
    )
    story = _Story(settings, engine, clock.now())
    try:
        while not asked.times:
            supervisor.step()
            for line in story.news(clock.now(), supervisor):
                say(line)
            clock.sleep(STEP_SECONDS)
    finally:
        # Also on an error of ours: never leave servers behind without their keeper.
        only_one.stopping(clock.now())
        say("stopping")
        left = supervisor.stop(STOP_PATIENCE_SECONDS, lambda: asked.times < 2)
        if not left:
            release_dead_runs(engine, clock.now())
        for line in unguarded(settings, engine, clock.now()):
            say(line)
        engine.dispose()
    if left:
        for member in left:
            say(f"!! pid {member.pid} would not end: {member.command}")
        return 1
    only_one.clear()
    os.close(lock)
    say("stopped, nothing is left running")
    return 0


def _opening(settings: Settings, world: World) -> str:
    return (
        f"trading-assets: mode {settings.trading_mode}, world {world.name}, profile "
        f"{settings.profile}, markets {', '.join(settings.markets)}. Ctrl-C stops everything."
    )


def _supervisor(
    settings: Settings,
    world: World,
    *,
    engine: Engine,
    clock: Clock,
    say: Callable[[str], None],
    make_guardian: Callable[[], Guardian],
    on_change: Callable[[frozenset[int]], None],
) -> Supervisor:
    trading_port, research_port = free_ports(2)
    workspace = world.run / "workspace.yaml"
    workspace.write_text(services.workspace_yaml(trading_port, research_port), encoding="utf-8")
    return Supervisor(
        services.services(
            settings,
            world,
            workspace=workspace,
            trading_port=trading_port,
            research_port=research_port,
            first=first_guard(settings, engine, clock),
        ),
        logs=world.run / "logs",
        # Not the checkout: Dagster's servers believe an `.env` where they start more than their
        # environment, so it would beat `make run PROFILE=swing`, and another world's DAGSTER_HOME
        # would be theirs after a restart.
        folder=world.run,
        environment=services.child_environment(settings, world),
        clock=clock,
        say=say,
        make_guardian=make_guardian,
        on_change=on_change,
    )


@dataclass(slots=True)
class _Story:
    """What a person is told between start and first signals; nothing is repeated."""

    settings: Settings
    engine: Engine
    started_at: datetime
    told_urls: bool = False
    told_table: bool = False
    told_choice: bool = False
    last_look: datetime | None = None
    last_progress: datetime = field(init=False)
    failures_told: set[str] = field(default_factory=set)
    refusals_told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.last_progress = self.started_at

    def news(self, now: datetime, supervisor: Supervisor) -> Iterable[str]:
        """Lines to print now."""
        if self.told_choice or (self.last_look is not None and now - self.last_look < LOOK_EVERY):
            return
        self.last_look = now
        if self.told_table:
            yield from self._choice(now)
            return
        if not self.told_urls and supervisor.all_ready:
            self.told_urls = True
            yield urls(self.settings)
        lines = signal_table.latest(
            self.engine, self.settings.markets, self.settings.active_profiles
        )
        traded = traded_profile(self.engine, self.settings, now)
        leading = leading_profile(traded, self.settings)
        waiting = unsettled_markets(self.settings, self.engine, lines, leading)
        if not waiting:
            self.told_table = True
            yield f"the first signals are out ({_elapsed(now - self.started_at)}):"
            yield signal_table.titled_table(self.settings, traded, lines, now)
            yield urls(self.settings)
            yield "* traded profile. `trading-assets status` prints this table again."
            return
        if now - self.last_progress >= PROGRESS_EVERY:
            self.last_progress = now
            yield from self._progress(now, supervisor, waiting, leading)

    def _choice(self, now: datetime) -> Iterable[str]:
        """The first evaluation of the profiles, once it is there."""
        if latest_choice(self.engine) is None:
            return
        self.told_choice = True
        yield f"the profiles are evaluated ({_elapsed(now - self.started_at)}):"
        yield choice_table.as_text(self.settings, self.engine, now)
        yield "`trading-assets profiles` prints this again."

    def _progress(
        self, now: datetime, supervisor: Supervisor, waiting: tuple[str, ...], leading: ProfileName
    ) -> Iterable[str]:
        since = _elapsed(now - self.started_at)
        if not supervisor.is_ready(services.WEB):
            yield f"{since}: waiting for {', '.join(supervisor.waiting_for())}"
            return
        try:
            runs = dagster_web.runs_in_progress(self.settings.dagster_port)
            failed = dagster_web.failed_runs(self.settings.dagster_port, self.started_at)
            broken = dagster_web.broken_locations(self.settings.dagster_port)
        except NotReadyYet as exc:
            yield f"{since}: {exc}"
            return
        doing = dagster_web.runs_in_words(runs)
        yield f"{since}: waiting for signals of {', '.join(waiting)}. Now: {doing}"
        yield from self._refusals(waiting, leading)
        for location, error in broken.items():
            yield f"!! the code location {location} does not load: {error}"
        for run in failed:
            if run.run_id not in self.failures_told:
                self.failures_told.add(run.run_id)
                yield _failure_words(self.settings, run)

    def _refusals(self, waiting: tuple[str, ...], leading: ProfileName) -> Iterable[str]:
        for market in waiting:
            verdict = training_verdict(self.engine, market, leading)
            if market in self.refusals_told or verdict is None or verdict.passed:
                continue
            self.refusals_told.add(market)
            yield (
                f"{market}: training ended without a model ({'; '.join(verdict.reasons)}); "
                "its HOLD signal comes with the next candle close"
            )


def urls(settings: Settings) -> str:
    """Where a person looks."""
    lines = [
        f"  Dagster  http://127.0.0.1:{settings.dagster_port}",
        f"  MLflow   http://127.0.0.1:{settings.mlflow_port}",
    ]
    if settings.trading_mode is not TradingMode.LIVE:
        lines.append(
            f"  paper exchange  http://127.0.0.1:{settings.paper_exchange_port}/v1/market/all"
        )
    return "\n".join(lines)


def unsettled_markets(
    settings: Settings,
    engine: Engine,
    lines: Iterable[signal_table.SignalLine],
    profile: ProfileName,
) -> tuple[str, ...]:
    """Markets whose `profile` has no signal that knows the outcome of its first training.

    A signal with probabilities knows it. One without counts when it is younger than the promotion
    of its model (it says what else is wrong), or when training ended without a model.
    """
    made = {line.market: line for line in lines if line.profile == profile}
    return tuple(
        market
        for market in settings.markets
        if market not in made or not _is_settled(engine, made[market])
    )


def _is_settled(engine: Engine, line: signal_table.SignalLine) -> bool:
    if line.p_buy is not None:
        return True
    verdict = training_verdict(engine, line.market, line.profile)
    return verdict is not None and (not verdict.passed or line.created_at >= verdict.decided_at)


def _elapsed(span: timedelta) -> str:
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    return f"{minutes}:{seconds:02d}"


def _failure_words(settings: Settings, run: dagster_web.RunLine) -> str:
    steps = ", ".join(run.steps_failed) or "before its first step"
    return (
        f"!! {run.job} of {run.partition or 'all markets'} failed ({steps}): "
        f"http://127.0.0.1:{settings.dagster_port}/runs/{run.run_id}"
    )
