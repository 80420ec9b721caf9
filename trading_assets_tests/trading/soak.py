"""Four markets at 60-fold price variance for ten minutes, amid faults and kills: `make soak`.

Real trades in processes of their own, the paper exchange in another, one ledger. This process does
what Dagster does (`trading_sensor`'s decisions every five seconds, the job `reconcile`), gives the
signals, and does what nobody should: deals faults and kills processes. At the end nothing may be
lost: a table says what happened, and the exit code is 1 when a rule was broken.

    python -m trading_assets_tests.trading.soak [--seconds 600] [--seed 1]
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from multiprocessing.process import BaseProcess
from pathlib import Path

import sqlalchemy as sa

from trading_assets.database import alerts, capital_changes, read, signals
from trading_assets.errors import TradingAssetsError
from trading_assets.orchestration.trading.sensors import trading_sensor
from trading_assets.orchestration.trading.watch import (
    TAKEOVERS_COUNTED,
    Takeover,
    may_take_over,
    wanted_entries,
    wanted_takeovers,
)
from trading_assets.rules.funnel import FunnelCode
from trading_assets.trading import funnel, records
from trading_assets.trading.emergency import Patience, Scene, read_scene
from trading_assets.trading.floor import Floor
from trading_assets.trading.halts import active_halt
from trading_assets.trading.reconcile import open_books
from trading_assets_tests.conftest import FOUR_MARKETS
from trading_assets_tests.trading.crash_world import (
    START_KRW,
    control,
    fork_server,
    give_signal,
    wait_for,
)
from trading_assets_tests.trading.ledger_world import prepared
from trading_assets_tests.trading.same_story import Story, check_same_story
from trading_assets_tests.trading.soak_faults import Deck
from trading_assets_tests.trading.soak_parts import (
    ENDED,
    GAVE_UP,
    LOST,
    Place,
    run_reconcile,
    run_trade,
    serve_wild,
)
from trading_assets_tests.trading.soak_watch import MarketWatch

SENSOR_SECONDS = float(trading_sensor.minimum_interval_seconds or 0)
KILLED = -9
# What nobody did to the account, so what nobody may be told of it.
FALSE_ALARMS = frozenset({"external_flow", "account_short", "stray_order", "order_stuck"})


@dataclass(frozen=True, slots=True)
class Course:
    """How a soak goes. The means are of exponential waits.

    exit_seconds: of an exit plan. signal_seconds: how long a signal counts. takeover_seconds: how
    long a position may be unguarded after a kill. with_blocks: whether a 418, which stops
    everything for a minute, is among the faults. waits: of the trades, as settings of TRADING__;
    without any, the shipped ones.
    """

    seconds: float = 600.0
    seed: int = 1
    exit_seconds: int = 30
    signal_seconds: float = 20.0
    sensor_seconds: float = SENSOR_SECONDS
    mean_fault_seconds: float = 5.0
    mean_kill_seconds: float = 10.0
    reconcile_every_seconds: float = 20.0
    takeover_seconds: float = 30.0
    with_blocks: bool = True
    waits: Mapping[str, str] = field(default_factory=dict)

    @property
    def end_within(self) -> timedelta:
        """After the last fault: a plan, a 418's minute, and what proves an order lost."""
        return timedelta(seconds=self.exit_seconds + 180)


@dataclass(slots=True)
class Run:
    """A process of a trade or a reconcile. lost_token: of the lease that a takeover follows."""

    process: BaseProcess
    holder: str
    market: str
    started_at: datetime
    lost_token: int | None = None
    ended_at: datetime | None = None

    @property
    def takeover(self) -> Takeover | None:
        if self.lost_token is None:
            return None
        return Takeover(self.lost_token, self.started_at, self.ended_at)


class Timer:
    """Says when something is due: at random with a mean, or evenly without dice."""

    def __init__(self, mean_seconds: float, dice: random.Random | None = None) -> None:
        self._mean, self._dice = mean_seconds, dice
        self._due: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        if self._due is not None and now < self._due:
            return False
        was_set = self._due is not None
        wait = self._mean if self._dice is None else self._dice.expovariate(1 / self._mean)
        self._due = now + timedelta(seconds=wait)
        return was_set or self._dice is None


class Soak:
    """One soak in a folder of its own."""

    def __init__(self, course: Course, folder: Path) -> None:
        self.course = course
        self.place = Place(folder, course.seed, course.waits)
        self.dice = random.Random(course.seed)
        self.deck = Deck(self.dice, with_blocks=course.with_blocks)
        self.watches = {market: MarketWatch(market) for market in FOUR_MARKETS}
        self.runs: list[Run] = []
        self.kills: Counter[str] = Counter()
        self.broken: list[str] = []
        self.story: Story | None = None
        self.alerts: Counter[str] = Counter()
        self._context = fork_server()
        self._asked: set[int] = set()
        self.blocked_at: datetime | None = None
        self._victim: str | None = None
        self._last_killed: str | None = None
        # Asking for a price may hang, which must not hold up what a sensor does.
        self._asking = ThreadPoolExecutor(1)
        self._asked_price: Future[None] | None = None
        self._quiet_until: dict[str, datetime] = {}

    # --- the course -----------------------------------------------------------------------------

    def go(self) -> None:
        """From the first process to the last comparison; what was broken is in `broken`."""
        prepared(f"sqlite:///{self.place.folder / 'ledger.sqlite'}", self.place.folder).dispose()
        exchange = self._context.Process(target=serve_wild, args=(self.place,))
        exchange.start()
        try:
            wait_for(self.place.port_file.exists, "the exchange")
            self.floor: Floor = self.place.floor("soak")
            open_books(self.floor, "setup")
            self._trouble()
            self._calm_down()
            self._judge()
        finally:
            self._asking.shutdown()
            for run in self.runs:
                run.process.kill()
                run.process.join()
            exchange.kill()
            exchange.join()

    def _trouble(self) -> None:
        course, dice = self.course, self.dice
        end = self.floor.now() + timedelta(seconds=course.seconds)
        sensor = Timer(course.sensor_seconds)
        reconciles = Timer(course.reconcile_every_seconds, dice)
        faults = Timer(course.mean_fault_seconds, dice)
        kills = Timer(course.mean_kill_seconds, dice)
        while (now := self.floor.now()) < end or self._needs_more_time(now, end):
            scene = self._look()
            if sensor.is_due(now):
                self._start_wanted(now)
            if reconciles.is_due(now):
                self._start(run_reconcile, "", None, None)
            if faults.is_due(now):
                control(self.place.url, "faults", self.deck.deal())
            if kills.is_due(now):
                self._victim = dice.choice(("any", "starting", "ordering"))
            self._kill_one(scene, now)
            self._give_signals(scene, now)
            time.sleep(0.1)

    def _needs_more_time(self, now: datetime, end: datetime) -> bool:
        """On a machine so busy that nothing was traded or nothing killed yet."""
        if now > end + timedelta(minutes=2):
            return False
        with read(self.floor.engine) as connection:
            traded = any(p.bought_volume for p in records.all_positions(connection))
        return not traded or not self.kills

    def _calm_down(self) -> None:
        """No more faults, kills and signals: everything must come to its end by itself."""
        control(self.place.url, "faults")
        self._asking.shutdown()
        end = self.floor.now() + self.course.end_within
        sensor = Timer(self.course.sensor_seconds)
        while (now := self.floor.now()) < end:
            scene = self._look()
            if sensor.is_due(now):
                self._start_wanted(now, entries=False)
            alive = any(run.ended_at is None for run in self.runs)
            leased = any(lease.is_live(now) for lease in scene.leases.values())
            if not alive and not leased and not scene.positions and not scene.orders:
                funnel.end_missed_candidates(self.floor.engine, now + timedelta(minutes=1))
                return
            time.sleep(0.1)
        self.broken.append(
            f"positions, orders or leases are open {self.course.end_within} after the last fault"
        )

    # --- what Dagster does ----------------------------------------------------------------------

    def _start_wanted(self, now: datetime, *, entries: bool = True) -> None:
        engine = self.floor.engine
        for wanted in wanted_takeovers(engine, now):
            assert wanted.lost_token is not None
            earlier = [
                run.takeover
                for run in self.runs
                if run.market == wanted.market and now - run.started_at < TAKEOVERS_COUNTED
            ]
            if may_take_over(wanted.lost_token, [t for t in earlier if t is not None], now):
                self._start(run_trade, wanted.market, None, wanted.lost_token)
        funnel.end_missed_candidates(engine, now)
        if not entries:
            return
        for wanted in wanted_entries(engine, self.floor.settings, now):
            assert wanted.signal_id is not None
            if wanted.signal_id not in self._asked:  # a run key is used once
                self._asked.add(wanted.signal_id)
                self._start(run_trade, wanted.market, wanted.signal_id, None)

    def _start(
        self,
        target: Callable[..., None],
        market: str,
        signal_id: int | None,
        lost_token: int | None,
    ) -> None:
        holder = f"{market or 'reconcile'}-{len(self.runs)}"
        about = (market, holder, signal_id) if market else (holder,)
        process = self._context.Process(target=target, args=(self.place, *about))
        process.start()
        self.runs.append(Run(process, holder, market, self.floor.now(), lost_token))

    # --- what happens to them -------------------------------------------------------------------

    def _kill_one(self, scene: Scene, now: datetime) -> None:
        """Kill a process that is as wanted, as soon as there is one."""
        # Not the same market twice in a row: one that hangs in an order would draw all the kills.
        living = [r for r in self.runs if r.ended_at is None and r.market != self._last_killed]
        if self._victim == "starting":
            living = [r for r in living if now - r.started_at < timedelta(seconds=1)]
        elif self._victim == "ordering":
            ordering = {order.market for order in scene.orders}
            living = [r for r in living if r.market in ordering]
        elif self._victim is None:
            return
        if not living:
            return
        run = self.dice.choice(living)
        run.process.kill()
        run.process.join()
        self.kills[run.market or "reconcile"] += 1
        self._last_killed = run.market
        self._victim = None
        if run.market:
            self.watches[run.market].unguarded.begin_again(now)

    def _give_signals(self, scene: Scene, now: datetime) -> None:
        """A BUY where nothing is going on; now and then a SELL where something is held."""
        busy = {p.market for p in scene.positions} | {o.market for o in scene.orders}
        for market in FOUR_MARKETS:
            if self._quiet_until.get(market, now) > now:
                continue
            self._quiet_until[market] = now + timedelta(seconds=self.dice.uniform(1, 4))
            if market not in busy and not self._is_undecided(market):
                if self._is_free_to_ask():
                    p_buy = self.dice.choice((0.55, 0.65, 0.75, 0.85))
                    self._asked_price = self._asking.submit(self._buy, market, p_buy)
            elif market in busy and self.dice.random() < 0.02:
                give_signal(self.floor.engine, market=market, decision="SELL", reason="sell")

    def _is_free_to_ask(self) -> bool:
        if self._asked_price is None:
            return True
        if not self._asked_price.done():
            return False
        self._asked_price.result()  # raises what was no fault of the exchange
        return True

    def _buy(self, market: str, p_buy: float) -> None:
        try:
            (book,) = self.floor.quotation.order_books([market])
        except TradingAssetsError:
            return  # a fault; asked again in a moment
        give_signal(
            self.floor.engine,
            market=market,
            expires_at=self.floor.now() + timedelta(seconds=self.course.signal_seconds),
            p_buy=p_buy,
            close=book.quote.ask,
            stop_loss=Decimal("0.006"),
            take_profit=Decimal("0.006"),
            timeout_seconds=self.course.exit_seconds,
        )

    def _is_undecided(self, market: str) -> bool:
        with read(self.floor.engine) as connection:
            newest = connection.execute(
                sa.select(signals.c.id, signals.c.expires_at)
                .where(signals.c.market == market, signals.c.decision == "BUY")
                .order_by(signals.c.id.desc())
                .limit(1)
            ).one_or_none()
            return (
                newest is not None
                and newest.expires_at > self.floor.now()
                and funnel.outcome_of(connection, newest.id) is None
            )

    # --- what is seen of them -------------------------------------------------------------------

    def _look(self) -> Scene:
        scene = read_scene(self.floor.engine)
        now = self.floor.now()
        for run in self.runs:
            if run.ended_at is None and not run.process.is_alive():
                run.ended_at = now
                self._judge_end(run, scene)
        alive = {r.holder for r in self.runs if r.ended_at is None and r.market}
        if self.place.blocked_until() > now.timestamp():
            self.blocked_at = now
        for watch in self.watches.values():
            watch.look(scene, alive, now, excused=self.blocked_at == now)
        return scene

    def _judge_end(self, run: Run, scene: Scene) -> None:
        code = run.process.exitcode
        if code in (ENDED, KILLED, LOST):
            return
        told = self.place.error_file(run.holder)
        error = told.read_text().strip() if told.exists() else f"exit code {code}"
        held = any(p.market == run.market for p in scene.positions)
        if code == GAVE_UP and not held:
            return
        at = "with a position open" if held else "unexpectedly"
        self.broken.append(f"{run.holder} ended {at}:\n{error}")

    def _judge(self) -> None:
        try:
            self.story = check_same_story(self.floor, START_KRW)
        except AssertionError as exc:
            self.broken.append(f"exchange and ledger differ: {exc}")
        with read(self.floor.engine) as connection:
            halt = active_halt(connection)
            flows = connection.execute(
                sa.select(capital_changes.c.amount).where(capital_changes.c.kind == "flow")
            ).all()
            told = connection.execute(sa.select(alerts.c.kind, alerts.c.message)).all()
            asked = connection.execute(sa.select(signals.c.id).where(signals.c.decision == "BUY"))
            undecided = [i for i in asked.scalars() if funnel.outcome_of(connection, i) is None]
        self.broken += [f"halted: {halt.reason}, {halt.detail}"] if halt else []
        self.broken += [f"a flow of {amount} KRW that nobody made" for (amount,) in flows]
        self.broken += [f"false alarm: {m}" for kind, m in told if kind in FALSE_ALARMS]
        self.broken += [f"signal {number} has no outcome" for number in undecided]
        self.alerts = Counter(kind for kind, _ in told)

    def broken_times(self) -> list[str]:
        """The rules that only a machine with time and a long soak can keep."""
        blind = Patience().blind.total_seconds()
        late = [
            f"{w.market} was unguarded for {w.unguarded.longest:.1f} s after the last kill (until "
            f"{w.unguarded.until:%H:%M:%S} UTC), more than {self.course.takeover_seconds:.0f} s"
            for w in self.watches.values()
            if w.unguarded.longest > self.course.takeover_seconds
        ]
        if self.story is not None and not (self.story.orders and self.kills):
            late.append("nothing was traded, or nothing was killed: this soak shows nothing")
        return late + [
            f"{w.market}: a living guard judged no price for {w.blind_seconds:.1f} s"
            for w in self.watches.values()
            if w.blind_seconds > blind
        ]

    # --- the table ------------------------------------------------------------------------------

    def table(self) -> str:
        """What happened, a column a market."""
        story = self.story or Story((), (), 0)
        rows: dict[str, list[object]] = {}

        def row(name: str, value: Callable[[str], object], total: object = None) -> None:
            found = [value(market) for market in FOUR_MARKETS]
            whole = sum(found) if total is None else total  # type: ignore[arg-type]
            rows[name] = [*found, whole]

        for code, count in self._codes().items():
            row(f"signals: {code}", lambda m, c=count: c[m])  # type: ignore[misc]
        with read(self.floor.engine) as connection:
            every = records.all_positions(connection)
        for reason in sorted({str(p.exit_reason) for p in every if p.bought_volume}):
            row(
                f"trades left: {reason}",
                lambda m, r=reason: sum(  # type: ignore[misc]
                    p.market == m and str(p.exit_reason) == r for p in every if p.bought_volume
                ),
            )
        row("orders, same on both sides", lambda m: sum(o.market == m for o in story.orders))
        row(
            "trade processes",
            lambda m: sum(r.market == m for r in self.runs),
        )
        row(
            "  of them takeovers",
            lambda m: sum(r.market == m and r.lost_token is not None for r in self.runs),
        )
        row("  of them killed", lambda m: self.kills[m])
        row("times without a guard", lambda m: self.watches[m].unguarded.count)
        blocked = max(w.excused.longest for w in self.watches.values())
        row(
            "longest amid a 418, s",
            lambda m: f"{self.watches[m].excused.longest:.1f}",
            f"{blocked:.1f}",
        )
        longest = max(w.unguarded.longest for w in self.watches.values())
        row(
            "longest, s since a kill",
            lambda m: f"{self.watches[m].unguarded.longest:.1f}",
            f"{longest:.1f}",
        )
        blind = max(w.blind_seconds for w in self.watches.values())
        row(
            "longest between prices, s",
            lambda m: f"{self.watches[m].blind_seconds:.1f}",
            f"{blind:.1f}",
        )
        earned = {
            m: sum((p.cash_flow for p in every if p.market == m), Decimal(0)) for m in FOUR_MARKETS
        }
        row("earned, KRW", lambda m: f"{earned[m]:,.0f}", f"{sum(earned.values()):,.0f}")
        heads = [*FOUR_MARKETS, "all"]
        lines = ["".join([" " * 30, *(f"{h:>12}" for h in heads)])]
        lines += [
            "".join([f"{n:<30}", *(f"{v!s:>12}" for v in values)]) for n, values in rows.items()
        ]
        lines.append(
            f"fills, same on both sides: {story.fills}; "
            f"reconciles killed: {self.kills['reconcile']}"
        )
        lines.append("faults: " + _counted({k.value: n for k, n in self.deck.dealt.items()}))
        lines.append("alerts: " + _counted(self.alerts))
        return "\n".join(lines)

    def _codes(self) -> dict[FunnelCode, Counter[str]]:
        codes: dict[FunnelCode, Counter[str]] = {}
        for outcome in funnel.outcomes(
            self.floor.engine, datetime.min.replace(tzinfo=self.floor.now().tzinfo)
        ):
            codes.setdefault(outcome.code, Counter())[outcome.market] += 1
        return codes


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items())) or "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=float(os.environ.get("SOAK_SECONDS") or 600)
    )
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SOAK_SEED") or 1))
    parser.add_argument("--keep", type=Path, help="a new folder to work in and to keep")
    chosen = parser.parse_args()
    course = Course(seconds=chosen.seconds, seed=chosen.seed)
    if chosen.keep:
        chosen.keep.mkdir(parents=True)
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    soak = _soaked(course, folder)
    if soak.broken:
        print(f"its ledger and what its processes said are kept in {folder}")
        return 1
    if not chosen.keep:
        shutil.rmtree(folder)
    return 0


def _soaked(course: Course, folder: Path) -> Soak:
    print(
        f"soak of {course.seconds:.0f} s, seed {course.seed}: {len(FOUR_MARKETS)} markets, 60-fold "
        f"price variance (synthetic), exit plans of {course.exit_seconds} s",
        flush=True,
    )
    soak = Soak(course, folder)
    soak.go()
    soak.broken += soak.broken_times()
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    print(soak.table())
    print(f"{os.cpu_count()} cores, load average {load} (the soak included)")
    for rule in soak.broken:
        print(f"BROKEN: {rule}")
    print("nothing lost" if not soak.broken else f"{len(soak.broken)} rules broken")
    return soak


if __name__ == "__main__":
    sys.exit(main())
