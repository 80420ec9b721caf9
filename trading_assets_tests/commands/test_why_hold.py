"""The whole screen of `why-hold`, for each way to be silent."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from trading_assets.commands.dagster_web import RunLine
from trading_assets.commands.only_one import OnlyOne
from trading_assets.commands.why_hold import why_hold
from trading_assets.database import verdicts, write
from trading_assets.errors import MigrationNeeded
from trading_assets.models.verdicts import Verdict, VerdictKind, record_verdict
from trading_assets.rules.funnel import FunnelCode
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.settings import load_settings
from trading_assets.signals.choices import record_choice
from trading_assets.signals.forecast import PROFILE_RULE, THRESHOLDS, threshold_rule
from trading_assets.trading import halts
from trading_assets.world import world_of
from trading_assets_tests.commands.silent_world import (
    LIVELY,
    MARKETS,
    SilentWorld,
    healthy_world,
    silent_world,
)
from trading_assets_tests.signals.choice_rows import chosen
from trading_assets_tests.signals.expected import RATE, expected, market_forecast
from trading_assets_tests.signals.said import HOUR, NEWEST, NOW, bought, ended, said

TWO = ("KRW-BTC", "KRW-ETH")
# The lines of a healthy world of two markets; a test replaces what is different in its own.
HEALTHY = {
    "world": "world sandbox-f0704435, SYNTHETIC prices, traded profile swing",
    "summary": "2026-01-05 12:00 UTC, last 21 h: 0 BUY, 42 HOLD, 0 SELL; last BUY not in 21 h, "
    "last trade never",
    "data": "OK    data      since the newest close: BTC 10 s, ETH 10 s",
    "model": "OK    model     since it was confirmed: BTC 9 h 0 min, ETH 9 h 0 min",
    "market": "OK    market    percentile of volatility: BTC 50, ETH 50",
    "predicted": "OK    predicted mean confidence: BTC 0.45, ETH 0.45",
    # 0 expected, one round trip of 16 bp needed.
    "best": "OK    best      p_buy, and EV over its minimum in bp: BTC 0.25 -16, ETH 0.25 -16",
    "threshold": "OK    threshold p_buy 0%, EV 1 x costs: 0.4 BUY a day expected",
    "rule": "OK    rule      the last signal says: BTC ev_too_low, ETH ev_too_low",
    "blocked": "",
    "signals": "OK    signals   21 h and never a BUY; within the 5 % bound of 80 h, 0.4 BUY a day "
    "expected",
    "trades": "OK    trades    no BUY waits for a trade",
    "verdict": "normal: none in 21 h happens in 71 % of windows (0.4 BUY a day expected)",
}


def screen(**changed: str) -> list[str]:
    """The healthy screen with some lines replaced; `\\n` in between several, empty for none."""
    return [line for text in (HEALTHY | changed).values() for line in text.splitlines()]


def alike(line: str) -> str:
    """The same line for both markets."""
    return f"{line}\n{line.replace('KRW-BTC', 'KRW-ETH')}"


def test_a_silence_of_21_hours_in_a_healthy_system_is_normal() -> None:
    assert healthy_world(TWO).screen() == (0, screen())


def test_a_quiet_market_explains_silence_and_is_normal() -> None:
    world = silent_world(TWO)
    world.collect()
    world.confirm()
    world.say(p=LIVELY, sigma=0.0004)
    world.expect()
    world.fund()
    line = (
        "WARN  market    KRW-BTC volatility 0.040%, percentile 4, below 5 is quiet: fewer signals "
        "-> wait"
    )
    assert world.screen() == (0, screen(market=alike(line)))


def test_stale_candles_are_sick() -> None:
    code, lines = healthy_world(TWO).screen(NOW + 5 * HOUR)
    assert code == 1
    assert lines == screen(
        summary="2026-01-05 17:00 UTC, last 21 h: 0 BUY, 32 HOLD, 0 SELL; last BUY not in 21 h, "
        "last trade never",
        data=alike(
            "FAIL  data      KRW-BTC newest candle closed 5 h 0 min ago, at most 2 h -> make run; "
            "make doctor"
        ),
        model="OK    model     since it was confirmed: BTC 14 h 0 min, ETH 14 h 0 min",
        verdict="sick: data KRW-BTC: newest candle closed 5 h 0 min ago, at most 2 h",
    )


def test_candles_are_stale_after_two_intervals_and_not_at_them() -> None:
    world = healthy_world(("KRW-BTC",))
    # The newest closed at 12:00; at 14:00:00 exactly two intervals have passed. What a decision is
    # missing for by then is another line's.
    at_limit = world.screen(NOW + 2 * HOUR - timedelta(seconds=10))[1]
    beyond = world.screen(NOW + 2 * HOUR)[1]
    assert not any("newest candle closed" in line for line in at_limit)
    assert any("newest candle closed 2 h 0 min ago, at most 2 h" in line for line in beyond)


@pytest.mark.parametrize(
    ("age", "code", "line"),
    [
        (timedelta(hours=24), 0, "OK    model     since it was confirmed: BTC 1 d 0 h"),
        (
            timedelta(hours=24, seconds=1),
            0,
            "WARN  model     KRW-BTC confirmed 1 d 0 h ago, retraining is due after 24 h -> make "
            "run",
        ),
        (
            timedelta(hours=48),
            0,
            "WARN  model     KRW-BTC confirmed 2 d 0 h ago, retraining is due after 24 h -> make "
            "run",
        ),
        (
            timedelta(hours=48, seconds=1),
            1,
            "FAIL  model     KRW-BTC confirmed 2 d 0 h ago, entries stop after 48 h -> make run, "
            "see `retrain`",
        ),
    ],
)
def test_an_old_model_warns_after_a_day_and_is_sick_after_two(
    age: timedelta, code: int, line: str
) -> None:
    world = healthy_world(("KRW-BTC",))
    with write(world.engine) as connection:
        connection.execute(verdicts.delete())
    world.confirm(NOW - age)
    found, lines = world.screen()
    assert found == code
    assert line in lines


def test_flat_probabilities_are_sick() -> None:
    world = silent_world(TWO)
    world.collect()
    world.confirm()
    world.say(p=(0.34, 0.33, 0.33))
    world.expect()
    world.fund()
    flat = (
        "FAIL  predicted KRW-BTC flat: confidence 0.340 in 21 h, 1 % bound 0.360, usua... -> make "
        "materialize"
    )
    together = flat.replace("KRW-BTC", "together").replace("usua...", "usu...")
    assert world.screen() == (
        1,
        screen(
            predicted=f"{alike(flat)}\n{together}",
            best=HEALTHY["best"].replace("0.25", "0.33"),
            verdict="sick: predicted KRW-BTC: flat: confidence 0.340 in 21 h, 1 % bound 0.360, "
            "usual 0.500",
        ),
    )


def test_a_threshold_above_everything_the_model_ever_said_is_sick() -> None:
    world = healthy_world(TWO, swing={"min_confidence": Decimal("0.73")})
    assert world.screen() == (
        1,
        screen(
            threshold="FAIL  threshold p_buy from 73% is needed, the highest ever was 72.0% -> "
            "SWING__MIN_CONFIDENCE",
            verdict="sick: threshold: p_buy from 73% is needed, the highest ever was 72.0%",
        ),
    )


def with_rate(world: SilentWorld, **changes: float) -> None:
    """A newer forecast whose own rule gives what `changes` say, in every market."""
    rates = {
        PROFILE_RULE: replace(RATE, **changes),  # type: ignore[arg-type]
        **{threshold_rule(t): RATE for t in THRESHOLDS},
    }
    markets = (market_forecast(m, rates=rates) for m in (*world.markets, ALL_MARKETS))
    world.expect(expected(*markets))


def test_a_rule_that_never_bought_in_the_walk_forward_is_sick() -> None:
    world = healthy_world(TWO)
    with_rate(world, signals_a_day=0.0, no_signal=1.0)
    none = "none in 18000 candles"
    assert world.screen() == (
        1,
        screen(
            threshold=f"FAIL  threshold p_buy 0%, EV 1 x costs: {none} -> SWING__MIN_EV_COSTS",
            signals="WARN  signals   21 h and never a BUY; the walk-forward had none in 18000 "
            "candles",
            verdict=f"sick: threshold: p_buy 0%, EV 1 x costs: {none}",
        ),
    )


@pytest.mark.parametrize(("no_signal", "rare"), [(0.9499, False), (0.95, True)])
def test_a_rule_that_is_silent_in_19_of_20_windows_is_a_drought_by_design(
    no_signal: float, rare: bool
) -> None:
    world = healthy_world(("KRW-BTC",))
    with_rate(world, no_signal=no_signal)
    code, lines = world.screen()
    assert code == 0
    assert (
        any(
            line
            == "WARN  threshold p_buy 0%, EV 1 x costs: 0.4 BUY a day, none in 95 % of 21 h -> "
            "SWING__MIN_EV_COSTS"
            for line in lines
        )
        is rare
    )


def test_other_settings_than_were_evaluated_are_told() -> None:
    world = healthy_world(TWO, swing={"min_confidence": Decimal("0.4")})
    assert world.screen() == (
        0,
        screen(
            threshold="WARN  threshold p_buy 0.4, EV 1 x costs; evaluated was 0, 1 x costs -> the "
            "job `evaluate`"
        ),
    )


# --- blocked ------------------------------------------------------------------------------------


def test_a_halt_is_sick_until_a_person_resumes() -> None:
    world = healthy_world(TWO)
    halts.halt(world.engine, reason="by_hand", detail="looks odd", now=NOW)
    assert world.screen() == (
        1,
        screen(
            blocked="FAIL  blocked   halted, by_hand: looks odd -> trading-assets resume",
            verdict="sick: blocked: halted, by_hand: looks odd",
        ),
    )


def test_a_loss_of_the_day_blocks_until_tomorrow_and_is_normal() -> None:
    world = healthy_world(TWO)
    world.lose(Decimal(30_000))  # of 1,000,000 KRW: exactly 3 %
    code, lines = world.screen()
    assert code == 0
    (line,) = (line for line in lines if line.startswith("WARN"))
    assert line.startswith(
        "WARN  blocked   day_loss: the day's lowest profit -30,000 KRW is 3% of equity"
    )
    assert line.endswith("-> wait, it passes")


def test_without_a_proven_edge_nothing_is_entered_and_that_is_normal() -> None:
    world = healthy_world(TWO, profile="auto", profiles=("swing",))
    record_choice(world.engine, chosen(None))
    code, lines = world.screen()
    assert code == 0
    (line,) = (line for line in lines if "blocked" in line)
    assert line.startswith("WARN  blocked   no_edge, ")
    assert line.endswith("-> trading-assets profiles")
    assert lines[-1].startswith("normal: nothing is entered, ")


def test_failed_checks_are_the_rule_that_blocks() -> None:
    world = healthy_world(("KRW-BTC",))
    said(world.engine, NEWEST, p=None, reason="checks_failed", detail="candle_gaps: 12 %")
    code, lines = world.screen()
    assert code == 1
    assert "FAIL  rule      KRW-BTC HOLD checks_failed: candle_gaps: 12 % -> make doctor" in lines
    assert lines[-1] == "sick: rule KRW-BTC: HOLD checks_failed: candle_gaps: 12 %"


def test_signals_that_become_no_trades_are_told_from_no_signals() -> None:
    world = healthy_world(("KRW-BTC",))
    for ago in (9, 6, 3):
        number = bought(world.engine, NOW.replace(minute=0, second=0) - ago * HOUR)
        ended(world.engine, number, FunnelCode.NO_CASH, NOW - (ago - 1) * HOUR)
    code, lines = world.screen()
    assert code == 1
    assert "last BUY 2 h 0 min ago" in lines[1]
    assert (
        "FAIL  trades    3 BUY in 8 h, no trade: 3 no_cash; 3 faults, 2 may be -> "
        "trading-assets funnel"
    ) in lines
    assert any(line.startswith("OK    signals   2 h since the last BUY") for line in lines)


def test_a_step_that_lost_its_size_is_told() -> None:
    world = healthy_world(("KRW-BTC",))
    record_verdict(
        world.engine,
        Verdict(
            VerdictKind.CONFIDENCE_STEPS,
            ALL_MARKETS,
            "swing",
            False,
            ("from 60% 30 BUY on 12 days -40 bp, size lowered",),
            NOW,
            {"level": "WARN", "unpaid": ["0.6"]},
        ),
    )
    code, lines = world.screen()
    assert code == 0
    assert any(line.startswith("WARN  size      from 60% 30 BUY on 12 days") for line in lines)


# --- what is not there --------------------------------------------------------------------------


def test_a_world_in_which_nothing_happened_yet_says_what_is_missing() -> None:
    code, lines = silent_world(("KRW-BTC",)).screen()
    assert code == 1
    assert lines == [
        HEALTHY["world"],
        "2026-01-05 12:00 UTC, last 21 h: 0 BUY, 0 HOLD, 0 SELL; last BUY not in 21 h, last trade "
        "never",
        "FAIL  data      KRW-BTC no candles collected yet -> make run",
        "FAIL  model     KRW-BTC never trained -> make materialize",
        "WARN  forecast  no evaluation has said yet what is usual -> make run: the job `evaluate`",
        "WARN  rule      KRW-BTC no signal yet -> make run",
        "WARN  blocked   the ledger knows no capital before the first trade or reconcile -> make "
        "run",
        "OK    trades    no BUY waits for a trade",
        "sick: data KRW-BTC: no candles collected yet; also model",
    ]


def test_without_an_evaluation_it_says_what_it_can() -> None:
    world = silent_world(TWO)
    world.collect()
    world.confirm()
    world.say(p=LIVELY)
    world.fund()
    assert world.screen() == (
        0,
        screen(
            market="",
            predicted="WARN  forecast  no evaluation has said yet what is usual -> make run: the "
            "job `evaluate`",
            threshold="",
            signals="",
            verdict="normal as far as can be told: no evaluation has said how rare a BUY is",
        ),
    )


def test_without_a_champion_the_gate_is_the_reason() -> None:
    world = silent_world(("KRW-BTC",))
    world.collect()
    world.confirm()
    world.say(p=None, reason="no_champion", detail="no model has passed the gate yet: history")
    code, lines = world.screen()
    assert code == 1
    assert lines[-1] == "sick: model KRW-BTC: no model has passed the gate yet: history"


def test_a_world_that_was_never_prepared_says_how() -> None:
    with pytest.raises(MigrationNeeded, match="make setup"):
        why_hold(load_settings(), NOW, print)


def test_a_world_that_make_run_prepares_just_now_is_normal() -> None:
    settings, said = load_settings(), list[str]()
    folder = world_of(settings).run
    folder.mkdir(parents=True)
    OnlyOne(folder).starting(NOW - timedelta(seconds=4))
    assert why_hold(settings, NOW, said.append) == 0
    assert said == ["normal: `make run` began 4 s ago and prepares the world"]


def test_live_without_keys_and_switch_answers_without_network() -> None:
    world = healthy_world(TWO, trading_mode="live")
    code, lines = world.screen()
    assert code == 0
    assert lines[0].startswith("world live, ")
    assert "WARN  blocked   live entries need ENABLE_LIVE_ORDERS" in lines
    assert lines[-1] == "normal: live entries need ENABLE_LIVE_ORDERS"


# --- the user's story, and the size of the screen -----------------------------------------------


def test_a_model_of_two_weeks_that_says_hold_at_1_to_40_percent_is_sick() -> None:
    """As reported: HOLD at 1 to 40 %, a threshold of 50 %, no trade for 21 hours, models of two
    weeks; nothing failed, nothing was said."""
    world = silent_world(("KRW-BTC",), swing={"min_confidence": Decimal("0.5")})
    world.collect()
    world.confirm(NOW - timedelta(days=14))
    world.fund()
    world.expect(replace(expected(market_forecast()), min_confidence=Decimal("0.5")))
    for n in range(21):
        p_buy = 0.01 + 0.39 * n / 20
        said(
            world.engine,
            NOW.replace(minute=0, second=0) - (21 - n) * HOUR,
            p=(0.05, 0.95 - p_buy, p_buy),
            reason="model_expired",
        )
    code, lines = world.screen()
    assert code == 1
    assert lines == [
        HEALTHY["world"],
        "2026-01-05 12:00 UTC, last 21 h: 0 BUY, 21 HOLD, 0 SELL; last BUY not in 21 h, last trade "
        "never",
        "OK    data      since the newest close: BTC 10 s",
        "FAIL  model     KRW-BTC confirmed 14 d 0 h ago, entries stop after 48 h -> make run, see "
        "`retrain`",
        "OK    market    percentile of volatility: BTC 50",
        "FAIL  predicted KRW-BTC too much HOLD: hold share 1.000 in 21 h, 1 % bound 0.... -> make "
        "materialize",
        "FAIL  predicted together too much HOLD: hold share 1.000 in 21 h, 1 % bound 0... -> make "
        "materialize",
        "OK    best      p_buy, and EV over its minimum in bp: BTC 0.40 -16",
        "OK    threshold p_buy 50%, EV 1 x costs: 0.4 BUY a day expected",
        "OK    rule      the last signal says: BTC model_expired",
        HEALTHY["signals"],
        "OK    trades    no BUY waits for a trade",
        "sick: model KRW-BTC: confirmed 14 d 0 h ago, entries stop after 48 h; also predicted",
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: healthy_world(MARKETS),
        lambda: silent_world(MARKETS),
        lambda: healthy_world(tuple(f"KRW-{n:03d}" for n in range(12))),
        lambda: silent_world(tuple(f"KRW-{n:03d}" for n in range(12))),
    ],
)
@pytest.mark.parametrize("later", [0, 60])
def test_it_is_one_screen_whatever_is_wrong(make: Callable[[], SilentWorld], later: int) -> None:
    world = make()
    halts.halt(world.engine, reason="by_hand", detail="x" * 300, now=NOW)
    _, lines = world.screen(NOW + later * HOUR)
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


# --- the first training ---------------------------------------------------------------------------


def started(world: SilentWorld, ago: timedelta) -> None:
    """`make run` of this world runs: it is this process, and began so long ago."""
    only_one = OnlyOne(world.world.run)
    world.world.run.mkdir(parents=True, exist_ok=True)
    only_one.starting(NOW - ago)


def test_the_first_minutes_of_a_start_are_normal() -> None:
    world = silent_world(TWO)
    started(world, timedelta(minutes=1))
    code, lines = world.screen()
    assert code == 0
    assert "WARN  data      KRW-BTC its candles are being collected -> wait" in lines
    assert "WARN  model     KRW-BTC its first model is being trained -> wait" in lines
    assert lines[-1] == (
        "normal: `make run` began 1 min ago and trains the first models, 2 of 2 markets have none "
        "yet"
    )


def test_during_the_first_training_it_says_what_runs() -> None:
    world = silent_world(TWO)
    started(world, timedelta(minutes=1))
    runs = (
        RunLine("1", "retrain", "STARTED", "KRW-BTC", ("swing/challenger",), ()),
        RunLine("2", "retrain", "QUEUED", "KRW-ETH", (), ()),
    )
    _, lines = world.screen(runs=runs)
    assert lines[-2] == "OK    now       KRW-BTC swing/challenger; 1 x retrain queued"
    assert world.screen()[1][-2] == "OK    now       Dagster's web server does not answer yet"


def test_the_first_training_is_told_per_market() -> None:
    world = silent_world(TWO)
    world.collect()
    record_verdict(world.engine, Verdict(VerdictKind.PROMOTION, "KRW-BTC", "swing", True, (), NOW))
    world.say(hours=1, p=None, reason="no_champion", detail="no model has passed the gate yet")
    started(world, timedelta(minutes=3))
    _, lines = world.screen()
    assert "WARN  model     KRW-ETH its first model is being trained -> wait" in lines
    assert not any("KRW-BTC its first model" in line for line in lines)


@pytest.mark.parametrize(("minutes", "code"), [(5, 0), (6, 1)])
def test_a_first_model_that_was_not_asked_yet_is_normal_for_five_minutes(
    minutes: int, code: int
) -> None:
    """The signal of before its training is still the newest until the sensor has looked."""
    world = silent_world(TWO)
    world.collect()
    ended = NOW - timedelta(minutes=minutes)
    said_before = {"reason": "no_champion", "created_at": ended - timedelta(seconds=1)}
    world.say(hours=1, p=None, detail="no model has been trained yet", **said_before)
    world.confirm(ended)
    started(world, timedelta(minutes=8))
    found, lines = world.screen()
    assert found == code
    wait = "WARN  model     KRW-BTC its first model is there, asked next -> wait"
    assert (wait in lines) is (code == 0)
    assert code or lines[-1] == (
        "normal: `make run` began 8 min ago, the first models are there, 2 of 2 give no signal yet"
    )


def test_a_training_without_a_model_is_told_before_the_next_signal_is() -> None:
    world = silent_world(("KRW-BTC",))
    world.collect()
    before = NOW - timedelta(minutes=2)
    world.say(hours=1, p=None, reason="no_champion", detail="none trained", created_at=before)
    worse = ("log loss 1.01 of the prior's",)
    record_verdict(
        world.engine, Verdict(VerdictKind.PROMOTION, "KRW-BTC", "swing", False, worse, NOW)
    )
    code, lines = world.screen()
    assert code == 1
    said = "training ended without a model: log loss 1.01 of the prior's"
    assert lines[-1] == f"sick: model KRW-BTC: {said}"


def test_a_first_training_that_takes_more_than_an_hour_is_sick() -> None:
    world = silent_world(TWO)
    started(world, timedelta(hours=1, seconds=1))
    code, lines = world.screen()
    assert code == 1
    assert lines[-1].startswith("sick: data KRW-BTC: no candles collected yet")


def test_without_a_start_that_runs_the_first_model_is_missing() -> None:
    code, lines = silent_world(TWO).screen()
    assert code == 1
    assert lines[-1].startswith("sick: data KRW-BTC: no candles collected yet")
