"""Who is better, and by more than noise: on rows and trades made by hand."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from trading_assets.backtest.comparison import (
    Arena,
    Compared,
    Gain,
    Lines,
    Stage,
    Standing,
    Voice,
    compare,
    gate_voices,
    live_voices,
)
from trading_assets.backtest.comparison_table import markdown, sentences
from trading_assets.backtest.documents import from_json, to_json
from trading_assets.backtest.model_comparison import ModelComparison
from trading_assets.backtest.profile_evaluation import ProfileGain
from trading_assets.backtest.statistics import Interval
from trading_assets.candles.frame import FloatArray
from trading_assets.candles.series import CandleSeries
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.candidates import Candidate, Contest
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import profile
from trading_assets.models.shadow import ShadowRows
from trading_assets.rules.exits import FixedExits
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, load_settings
from trading_assets_tests.backtest.paths import COSTS, RULES, START, series_of

DAYS = 30
BTC, ETH = "KRW-BTC", "KRW-ETH"


def rule() -> Profile:
    """Swing's thresholds with fixed exits of 2 % and one hour, so that a trade is one candle."""
    swing = profile(load_settings({"TRADING_ASSETS_HOME": Path("/nowhere")}), ProfileName.SWING)
    hour = timedelta(hours=1)
    from decimal import Decimal

    return replace(swing, exits=FixedExits(Decimal("0.02"), Decimal("0.02"), hour))


def climbing(step: float = 1000.0) -> CandleSeries:
    """Hourly candles that rise by 1 % and fall back in turn, on a grid of 1,000 KRW."""
    n = DAYS * 24 + 1
    close = np.where(np.arange(n) % 2 == 0, 100_000_000.0, 101_000_000.0)
    before = np.concatenate([close[:1], close[:-1]])
    return series_of(
        [(o, max(o, c) + step, min(o, c) - step, c) for o, c in zip(before, close, strict=True)]
    )


SERIES = climbing()


def lines(
    market: str = BTC, *, every: int = 24, loss: FloatArray | float = 1.0, start: int = 0
) -> Lines:
    """Speaks at every candle, from `start` on; buys at each `every`-th, counted from row 0."""
    rows = np.arange(start, DAYS * 24)
    n = len(rows)
    ev = np.where(rows % every == 0, 0.01, -0.01)
    return Lines(
        market=market,
        open_time=SERIES.open_time[rows],
        close=SERIES.close[rows],
        p=np.tile([0.25, 0.25, 0.5], (n, 1)),
        ev_long=ev,
        ev_short=np.full(n, -0.01),
        stop_loss=np.full(n, 0.02),
        take_profit=np.full(n, 0.02),
        loss=np.broadcast_to(np.asarray(loss, dtype=np.float64), (n,)),
        loss_prior=np.full(n, 1.1),
    )


def voice(name: str, *said: Lines) -> Voice:
    return Voice(name, "lightgbm", {line.market: line for line in said})


@pytest.fixture
def arena() -> Arena:
    return Arena(rule(), {BTC: SERIES, ETH: SERIES}, COSTS, RULES, seed=1)


def test_whoever_is_alone_has_numbers_and_no_difference(arena: Arena) -> None:
    found = compare(arena, Stage.GATE, voice("challenger", lines()))
    assert (found.name, found.against, found.loss_gain, found.net_gain) == (
        "challenger",
        None,
        None,
        None,
    )
    assert (found.rows, found.log_loss) == (720, 1.0)
    assert found.prior_log_loss == pytest.approx(1.1)
    assert found.skill == pytest.approx(1 - 1.0 / 1.1)
    assert found.first == START
    assert found.last == START + timedelta(hours=719)
    # One BUY a day at a close of 100,000,000, left an hour later at 101,000,000: +1 % less about
    # 16 bp of costs.
    assert found.trades == DAYS
    assert found.net_bp == pytest.approx(84, abs=1)


def test_a_lower_loss_in_every_block_is_better_and_a_higher_one_worse(arena: Arena) -> None:
    challenger = voice("challenger", lines())
    better = compare(arena, Stage.GATE, voice("champion", lines(loss=0.98)), challenger)
    assert better.loss_gain is not None
    assert better.loss_gain.mean == pytest.approx(0.02)
    assert better.loss_gain.blocks == 10  # 30 days
    assert better.loss_gain.standing is Standing.BETTER
    worse = compare(arena, Stage.GATE, voice("prior", lines(loss=1.01)), challenger)
    assert worse.loss_gain is not None
    assert worse.loss_gain.standing is Standing.WORSE


def test_a_difference_that_changes_its_sign_from_block_to_block_is_noise(arena: Arena) -> None:
    # Better by 0.10 in the even blocks of three days, worse by 0.09 in the odd ones: +0.005.
    block = np.arange(DAYS * 24) // 72
    loss = np.where(block % 2 == 0, 0.9, 1.09)
    found = compare(
        arena, Stage.GATE, voice("logistic", lines(loss=loss)), voice("challenger", lines())
    )
    assert found.loss_gain is not None
    assert found.loss_gain.mean == pytest.approx(0.005)
    assert found.loss_gain.low < 0 < found.loss_gain.high
    assert found.loss_gain.standing is Standing.NOISE


def test_money_is_compared_by_what_a_trade_earned(arena: Arena) -> None:
    # The challenger buys before the rise, the other (every 24th candle, one later) before the fall.
    up, down = lines(), lines()
    down = replace(down, ev_long=np.roll(down.ev_long, 1))
    found = compare(arena, Stage.GATE, voice("logistic", down), voice("challenger", up))
    assert found.net_gain is not None
    assert found.net_bp == pytest.approx(-115, abs=1)  # 100/101 - 1 = -99 bp, less 16 bp
    assert found.net_gain.mean == pytest.approx(-199, abs=1)
    assert found.net_gain.standing is Standing.WORSE


def test_who_never_trades_cannot_be_said_to_earn_less(arena: Arena) -> None:
    silent = replace(lines(), ev_long=np.full(DAYS * 24, -0.01))
    found = compare(arena, Stage.GATE, voice("prior", silent), voice("challenger", lines()))
    assert (found.trades, math.isnan(found.net_bp)) == (0, True)
    assert found.net_gain is not None
    assert found.net_gain.standing is Standing.UNKNOWN


@pytest.mark.parametrize(("days", "standing"), [(12, Standing.BETTER), (9, Standing.UNKNOWN)])
def test_four_blocks_are_the_least_that_says_something(
    arena: Arena, days: int, standing: Standing
) -> None:
    late = (DAYS - days) * 24
    found = compare(
        arena,
        Stage.GATE,
        voice("champion", lines(loss=0.9, start=late)),
        voice("challenger", lines(start=late)),
    )
    assert found.loss_gain is not None
    assert found.loss_gain.standing is standing


@pytest.mark.parametrize(
    ("low", "high", "standing"),
    [
        (0.001, 0.2, Standing.BETTER),
        (0.0, 0.2, Standing.NOISE),
        (-0.2, 0.0, Standing.NOISE),
        (-0.2, -0.001, Standing.WORSE),
        (math.nan, math.nan, Standing.UNKNOWN),
    ],
)
def test_the_standing_changes_where_the_interval_touches_zero(
    low: float, high: float, standing: Standing
) -> None:
    assert Gain(0.1, low, high, blocks=10).standing is standing


def test_only_candles_and_markets_where_both_spoke_count(arena: Arena) -> None:
    long = voice("challenger", lines(), lines(ETH))
    half = voice("champion", lines(start=360, loss=0.9))
    found = compare(arena, Stage.GATE, half, long)
    assert (found.markets, found.rows, found.trades) == ((BTC,), 360, 15)
    turned = compare(arena, Stage.GATE, long, half)
    assert (turned.rows, turned.trades) == (360, 15)  # of 60 trades in two markets
    both = compare(arena, Stage.GATE, long, voice("other", lines(loss=0.9), lines(ETH, loss=0.9)))
    assert (both.markets, both.rows) == ((BTC, ETH), 1440)
    one = compare(arena, Stage.GATE, long, None, [ETH])
    assert (one.markets, one.rows, one.trades) == ((ETH,), 720, 30)
    with pytest.raises(ValueError, match="no candle in common"):
        compare(arena, Stage.GATE, half, voice("eth", lines(ETH)))


def test_a_result_comes_back_from_its_document(arena: Arena) -> None:
    found = compare(arena, Stage.GATE, voice("prior", lines()), voice("challenger", lines()))
    assert from_json(Compared, to_json(found)) == found


# --- from contests and shadow rows ------------------------------------------------------------


def contest_on(rows: np.ndarray) -> Contest:
    n = len(rows)
    p = np.tile([0.2, 0.3, 0.5], (n, 1))
    even = np.full((n, 3), 1 / 3)
    return Contest(
        market=BTC,
        profile="swing",
        version="v1",
        made_at=datetime(2024, 2, 1, tzinfo=UTC),
        open_time=SERIES.open_time[rows],
        y=np.full(n, 2, np.int8),
        loss_prior=np.full(n, math.log(3)),
        loss_volatility=np.full(n, math.log(3)),
        candidates=(
            Candidate("champion", "lightgbm", even, np.zeros(n), np.zeros(n)),
            Candidate("challenger", "lightgbm", p, np.full(n, 0.01), np.zeros(n)),
        ),
        left_out={},
    )


def test_voices_take_closes_and_exit_terms_of_their_candles() -> None:
    made = make_labels(SERIES, rule(), COSTS, ewm_sigma(SERIES))
    rows = np.arange(700, 720)
    challenger, champion = gate_voices([contest_on(rows)], {BTC: made}, {BTC: SERIES})
    assert (challenger.name, champion.name) == ("challenger", "champion")
    said = challenger.lines[BTC]
    np.testing.assert_array_equal(said.close, SERIES.close[rows])
    np.testing.assert_array_equal(said.stop_loss, np.full(20, 0.02))
    np.testing.assert_allclose(said.loss, np.full(20, -math.log(0.5)))
    np.testing.assert_allclose(champion.lines[BTC].loss, np.full(20, math.log(3)))


def test_a_candle_whose_label_a_correction_took_away_is_left_out() -> None:
    made = make_labels(SERIES, rule(), COSTS, ewm_sigma(SERIES))
    made.valid[705] = False
    (challenger, _) = gate_voices([contest_on(np.arange(700, 720))], {BTC: made}, {BTC: SERIES})
    assert SERIES.open_time[705] not in challenger.lines[BTC].open_time
    assert len(challenger.lines[BTC].open_time) == 19


def shadow(*versions: tuple[str, bool, int]) -> ShadowRows:
    """Rows 600 to 699 of each (version, promoted, hour it was decided)."""
    rows = np.arange(600, 700)
    n, k = len(rows), len(versions)
    hour = np.timedelta64(1, "h")
    start = SERIES.open_time[0]
    return ShadowRows(
        market=BTC,
        profile="swing",
        interval=timedelta(hours=1),
        meaning="test",
        version=np.repeat([v for v, _, _ in versions], n),
        promoted=np.repeat([p for _, p, _ in versions], n),
        decided_at=np.repeat([start + h * hour for _, _, h in versions], n),
        open_time=np.tile(SERIES.open_time[rows], k),
        y=np.full(n * k, 2, np.int8),
        p=np.tile([0.2, 0.3, 0.5], (n * k, 1)),
        ev_long=np.full(n * k, 0.01),
        ev_short=np.zeros(n * k),
        loss_prior=np.full(n * k, math.log(3)),
    )


def test_the_live_voices_are_what_served_and_what_was_refused_since() -> None:
    made = {BTC: make_labels(SERIES, rule(), COSTS, ewm_sigma(SERIES))}
    served, refused = live_voices(
        [shadow(("a", True, 500), ("r", False, 650))], made, {BTC: SERIES}
    )
    assert served is not None
    assert refused is not None
    assert (served.name, len(served.lines[BTC].open_time)) == ("served", 100)
    # From the candle that closed at hour 650 on: that of hour 649.
    assert len(refused.lines[BTC].open_time) == 51
    alone, nobody = live_voices([shadow(("a", True, 500))], made, {BTC: SERIES})
    assert alone is not None
    assert nobody is None
    assert live_voices([], made, {BTC: SERIES}) == (None, None)


# --- the table --------------------------------------------------------------------------------


def test_the_table_says_who_is_better_and_what_is_only_noise(arena: Arena) -> None:
    challenger = voice("challenger", lines())
    rows = (
        compare(arena, Stage.GATE, challenger),
        compare(arena, Stage.GATE, voice("champion", lines(loss=0.98)), challenger),
    )
    left_out = ("KRW-ETH swing: champion: no champion served before it",)
    text = markdown(ModelComparison(rows, (), left_out), "world sandbox-1, SYNTHETIC prices")
    first, second = [line for line in text.splitlines() if line.startswith("| swing ")]
    assert text.startswith("**world sandbox-1, SYNTHETIC prices**")
    assert "| challenger (lightgbm) | 720 | 1.0000 | +9.1% | compared with |" in first
    assert "| +0.0200 [+0.0200, +0.0200] | better | 30 | +83.9 |" in second
    assert "| +0.0 [+0.0, +0.0] | not more than noise |" in second
    assert "Left out: KRW-ETH swing: champion: no champion served before it." in text
    assert "live candles since" not in text
    assert "Nothing to compare yet." in markdown(ModelComparison((), (), ()), "world")


def test_who_is_better_in_sentences_and_a_check(arena: Arena) -> None:
    challenger = voice("challenger", lines())
    rows = (
        compare(arena, Stage.GATE, challenger),
        compare(arena, Stage.GATE, voice("champion", lines(loss=0.98)), challenger),
        compare(arena, Stage.GATE, voice("prior", lines(loss=1.1)), challenger),
    )
    gain = ProfileGain("scalp", "swing", Interval(12.5, 1.0, 24.0, 10, 0.9))
    found = ModelComparison(rows, (), (), (gain, ProfileGain("slow", "swing", None)))
    assert sentences(found) == (
        "swing, gate window: log loss against challenger, better: champion; worse: prior",
        "scalp against swing, net of a trade in the same weeks: better, +12.5 bp [+1.0, +24.0]",
        "slow against swing, net of a trade in the same weeks: too little to say",
    )
    assert sentences(found)[1] in markdown(found, "world")
    assert (found.check.passed, found.check.blocking) == (False, False)
    assert found.check.reason == "swing: champion is better than the challenger on gate window"
    assert ModelComparison(rows[::2], (), ()).check.passed


@pytest.mark.parametrize(
    ("low", "high", "standing"),
    [(0.0, 9.0, Standing.NOISE), (0.1, 9.0, Standing.BETTER), (-9.0, -0.1, Standing.WORSE)],
)
def test_the_standing_of_a_profile(low: float, high: float, standing: Standing) -> None:
    assert ProfileGain("a", "b", Interval(0.0, low, high, 10, 0.9)).standing is standing
