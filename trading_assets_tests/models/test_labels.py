"""Labels: worked examples by hand, then the same trade by a plain loop over `rules.exits`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_assets.candles.series import CandleSeries
from trading_assets.exchange import price_units
from trading_assets.exchange.model import Interval
from trading_assets.models import labels as module
from trading_assets.models.labels import EXIT_REASONS, Labels, make_labels
from trading_assets.models.profiles import profile
from trading_assets.rules.costs import Costs
from trading_assets.rules.exits import (
    ExitReason,
    FixedExits,
    VolatilityExits,
    exit_plan,
    exit_reason,
)
from trading_assets.rules.profile import LabelKind, Profile
from trading_assets.settings import ProfileName, Settings

COSTS = Costs(fee_rate=Decimal("0.0005"), min_slippage_rate=Decimal("0.0003"))
START = np.datetime64("2025-01-01T00:00:00", "us")
SELL, HOLD, BUY, NONE = 0, 1, 2, -1


def series_of(
    candles: list[tuple[float, float, float, float]],
    interval: Interval = Interval.M5,
    segment: list[int] | None = None,
    filled: list[bool] | None = None,
) -> CandleSeries:
    """Candles given as (open, high, low, close)."""
    table = np.array(candles, dtype=np.float64).reshape(-1, 4)
    n = len(table)
    return CandleSeries(
        interval=interval,
        open_time=START + np.arange(n) * np.timedelta64(interval.duration),
        open=table[:, 0].copy(),
        high=table[:, 1].copy(),
        low=table[:, 2].copy(),
        close=table[:, 3].copy(),
        volume=np.ones(n),
        filled=np.zeros(n, dtype=np.bool_) if filled is None else np.array(filled),
        segment=np.zeros(n, dtype=np.int64) if segment is None else np.array(segment),
    )


def short_scalp(minutes: int = 10, **changes: object) -> Profile:
    """The user's profile with a shorter path, so that examples fit on a line: 2 % and 2 candles."""
    shipped = profile(Settings(), ProfileName.SCALP)
    exits = FixedExits(Decimal("0.02"), Decimal("0.02"), timedelta(minutes=minutes))
    return replace(shipped, exits=exits, **changes)  # type: ignore[arg-type]


def short_swing() -> Profile:
    shipped = profile(Settings(), ProfileName.SWING)
    exits = VolatilityExits(Decimal(1), 4, timedelta(hours=2), Decimal(2))
    return replace(shipped, exits=exits)


def flat(price: float, n: int) -> list[tuple[float, float, float, float]]:
    return [(price, price, price, price)] * n


def labels_of(series: CandleSeries, chosen: Profile, sigma: float = 0.01) -> Labels:
    return make_labels(series, chosen, COSTS, np.full(len(series), sigma))


# Entry at 100,000 (tick 100): stop 98,000, take 102,000. Costs: half a tick is 50 / 100,000 =
# 0.05 % slippage and 0.05 % fee a side, so a round trip is 0.2 %.


def test_a_close_above_the_costs_is_a_buy_and_the_same_move_down_a_sell() -> None:
    up = labels_of(series_of([*flat(100_000, 1), *flat(100_300, 2)]), short_scalp())
    down = labels_of(series_of([*flat(100_000, 1), *flat(99_700, 2)]), short_scalp())
    # 100,300 / 100,000 - 1 - 0.002 = +0.001; the mirror image: -0.003 - 0.002 = -0.005.
    assert up.label[0] == BUY
    assert up.long_net[0] == pytest.approx(0.001)
    assert up.short_net[0] == pytest.approx(-0.005)
    assert down.label[0] == SELL
    assert down.long_net[0] == pytest.approx(-0.005)
    assert down.short_net[0] == pytest.approx(0.001)
    assert EXIT_REASONS[up.exit_reason[0]] is ExitReason.TIME_LIMIT


def test_a_move_that_only_pays_its_costs_is_a_hold() -> None:
    labels = labels_of(series_of([*flat(100_000, 1), *flat(100_200, 2)]), short_scalp())
    # 0.2 % up, 0.2 % cost: exactly nothing is left, in decimal arithmetic.
    assert labels.label[0] == HOLD


def test_the_stop_comes_first_when_one_candle_touches_both_barriers() -> None:
    both = (100_000, 103_000, 97_000, 100_000)
    swing = short_swing()
    # sigma 0.01, 4 periods: barriers at 2 %.
    touched = labels_of(
        series_of([*flat(100_000, 1), both, *flat(100_000, 1)], Interval.M60), swing
    )
    assert touched.label[0] == SELL
    assert EXIT_REASONS[touched.exit_reason[0]] is ExitReason.STOP_LOSS
    # Both trades meet their stop: -2 % - 0.2 %.
    assert touched.long_net[0] == pytest.approx(-0.022)
    assert touched.short_net[0] == pytest.approx(-0.022)


def test_neither_trade_gains_when_both_are_stopped_out_so_the_net_outcome_is_hold() -> None:
    both = (100_000, 103_000, 97_000, 100_000)
    labels = labels_of(series_of([*flat(100_000, 1), both, *flat(104_000, 1)]), short_scalp())
    assert labels.label[0] == HOLD


def test_a_candle_that_opens_beyond_the_stop_is_left_at_its_open() -> None:
    gap = (96_000, 96_500, 95_000, 96_000)
    labels = labels_of(series_of([*flat(100_000, 1), gap, *flat(96_000, 1)]), short_scalp())
    # -4 % - 0.2 %, not the -2.2 % of the stop's price; the mirror image takes +4 % - 0.2 %.
    assert labels.long_net[0] == pytest.approx(-0.042)
    assert labels.short_net[0] == pytest.approx(0.038)


def test_triple_barrier_says_hold_when_the_time_limit_ends_the_trade() -> None:
    labels = labels_of(
        series_of([*flat(100_000, 1), *flat(101_900, 2)], Interval.M60), short_swing()
    )
    assert labels.label[0] == HOLD
    assert labels.long_net[0] == pytest.approx(0.017)  # 1.9 % - 0.2 %


def test_the_barrier_is_at_least_two_round_trips_of_costs() -> None:
    labels = labels_of(series_of(flat(100_000, 3), Interval.M60), short_swing(), sigma=0.0001)
    assert labels.stop_loss[0] == pytest.approx(0.004)
    assert labels.take_profit[0] == pytest.approx(0.004)


def test_barriers_lie_on_the_price_grid_and_never_further_away_than_the_terms() -> None:
    # 100,300 x 0.98 = 98,294 -> 98,300; x 1.02 = 102,306 -> 102,300. Touched exactly there.
    stopped = [*flat(100_300, 1), (100_300, 100_300, 98_300, 98_300), *flat(100_300, 1)]
    taken = [*flat(100_300, 1), (100_300, 102_300, 100_300, 102_300), *flat(100_300, 1)]
    missed = [*flat(100_300, 1), (100_300, 102_200, 98_400, 100_300), *flat(100_300, 1)]
    reasons = [
        EXIT_REASONS[labels_of(series_of(path), short_scalp()).exit_reason[0]]
        for path in (stopped, taken, missed)
    ]
    assert reasons == [ExitReason.STOP_LOSS, ExitReason.TAKE_PROFIT, ExitReason.TIME_LIMIT]


def test_a_path_that_crosses_a_break_is_unfinished_or_mostly_filled_has_no_label() -> None:
    broken = labels_of(series_of(flat(100.0, 6), segment=[0, 0, 0, 1, 1, 1]), short_scalp())
    assert broken.valid.tolist() == [True, False, False, True, False, False]
    assert broken.label.tolist() == [HOLD, NONE, NONE, HOLD, NONE, NONE]
    assert np.isnan(broken.long_net[1])
    thin = labels_of(
        series_of(flat(100.0, 5), filled=[True, False, False, True, False]), short_scalp()
    )
    # Row 0's own candle is filled, its path of two is not; row 1's path is half filled.
    assert thin.valid.tolist() == [True, False, False, False, False]


def test_one_filled_candle_in_ten_is_still_a_path_and_two_are_not() -> None:
    ten = short_scalp(minutes=50)
    one = [False] * 11
    one[4] = True
    two = one.copy()
    two[7] = True
    assert labels_of(series_of(flat(100.0, 11), filled=one), ten).valid[0]
    assert not labels_of(series_of(flat(100.0, 11), filled=two), ten).valid[0]


def test_volatility_exits_have_no_label_while_the_volatility_is_unknown_and_fixed_ones_do() -> None:
    assert not labels_of(
        series_of(flat(100.0, 3), Interval.M60), short_swing(), sigma=float("nan")
    ).valid.any()
    assert labels_of(series_of(flat(100.0, 3)), short_scalp(), sigma=float("nan")).valid[0]


def test_the_shipped_profiles_have_the_label_of_the_decision() -> None:
    assert profile(Settings(), ProfileName.SCALP).label is LabelKind.NET_OUTCOME
    assert profile(Settings(), ProfileName.SWING).label is LabelKind.TRIPLE_BARRIER


def test_another_interval_or_a_short_sigma_is_refused() -> None:
    with pytest.raises(ValueError, match="5-minute candles, the series has 60m"):
        labels_of(series_of(flat(100.0, 3), Interval.M60), short_scalp())
    with pytest.raises(ValueError, match="sigma must have 3 values, has 2"):
        make_labels(series_of(flat(100.0, 3)), short_scalp(), COSTS, np.ones(2))


def test_labels_survive_a_frame_to_the_bit() -> None:
    labels = labels_of(series_of([*flat(100_000, 1), *flat(100_300, 4)]), short_scalp())
    again = Labels.from_frame(labels.to_frame())
    for name in Labels.__slots__:
        before, after = getattr(labels, name), getattr(again, name)
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)


# --- the same trade, written twice ------------------------------------------------------------


@given(st.lists(st.decimals("0.00002", "200000000", places=8), min_size=1, max_size=20))
def test_the_tick_table_equals_price_units(prices: list[Decimal]) -> None:
    wanted = [float(price_units.tick_size(Decimal(repr(float(p))))) for p in prices]
    assert module.tick_sizes(np.array([float(p) for p in prices])).tolist() == wanted


@given(
    st.sampled_from([tick for _, tick in price_units.KRW_TICKS]),
    st.integers(1, 10**6),
    st.sampled_from(["0.98", "1.02", "0.995", "1.0075", "1"]),
)
def test_rounding_to_ticks_equals_decimal_rounding(tick: Decimal, count: int, factor: str) -> None:
    price = tick * count
    exact = price * Decimal(factor)
    value = np.array([float(price) * float(factor)])
    assert module.floor_to_grid(value)[0] == float(price_units.floor_to_tick(exact))
    assert module.ceil_to_grid(value)[0] == float(price_units.ceil_to_tick(exact))


Path = list[tuple[float, float, float, float]]


@st.composite
def walks(draw: st.DrawFn) -> Path:
    """Candles on the price grid around a start in any band, with gaps between them now and then."""
    price = Decimal(
        draw(st.sampled_from(["150700000", "520000", "99900", "3105", "1500", "850", "101"]))
    )
    price = draw(st.sampled_from([price, Decimal("99.9"), Decimal("0.305")]))
    tick = price_units.tick_size(price)
    scale = draw(st.sampled_from([1, 3, 8]))
    step = max(1, int(price / tick / 400)) * scale
    path: Path = []
    for _ in range(draw(st.integers(3, 14))):
        o, h, low, c = (price + tick * draw(st.integers(-step, step)) for _ in range(4))
        top, bottom = max(o, h, low, c), min(o, h, low, c)
        path.append((float(o), float(top), float(max(bottom, tick)), float(c)))
        price = c
    return path


def outcome(
    series: CandleSeries, t: int, chosen: Profile, sigma: float, *, mirrored: bool
) -> tuple[Decimal, ExitReason]:
    """The trade of row t by `rules` alone: (net return, reason). Mirrored: in reflected prices."""
    price = Decimal(repr(float(series.close[t])))
    tick = price_units.tick_size(price)
    cost = COSTS.round_trip(price, tick)
    terms = chosen.exits.terms(Decimal(repr(sigma)), cost)
    step = series.interval.duration
    opened_at = datetime(2025, 1, 1, tzinfo=UTC) + (t + 1) * step
    plan = exit_plan(terms, price, price_units.tick_size, opened_at)
    if mirrored:
        # The barriers lie on the real prices' grid, beyond a band's edge another than here.
        plan = replace(
            plan,
            stop_price=2 * price - price_units.floor_to_tick(price * (1 + terms.stop_loss)),
            take_price=2 * price - price_units.ceil_to_tick(price * (1 - terms.take_profit)),
        )
    for j in range(t + 1, t + 1 + chosen.horizon_candles):
        o, h, low, c = (
            Decimal(repr(float(v[j]))) for v in (series.open, series.high, series.low, series.close)
        )
        if mirrored:
            o, h, low, c = 2 * price - o, 2 * price - low, 2 * price - h, 2 * price - c
        begins = opened_at + (j - t - 1) * step
        for seen in (low, h):
            reason = exit_reason(plan, seen, begins)
            if reason is ExitReason.STOP_LOSS:
                return min(o, plan.stop_price) / price - 1 - cost, reason
            if reason is ExitReason.TAKE_PROFIT:
                return max(o, plan.take_price) / price - 1 - cost, reason
        if (reason := exit_reason(plan, c, begins + step)) is not None:
            return c / price - 1 - cost, reason
    raise AssertionError("the time limit ends every trade")


@settings(max_examples=300)
@given(walks(), st.sampled_from(["scalp", "swing"]), st.floats(0.0005, 0.03))
def test_labels_equal_a_plain_loop_over_the_rules(path: Path, name: str, sigma: float) -> None:
    chosen = short_scalp() if name == "scalp" else short_swing()
    series = series_of(path, Interval.of_minutes(chosen.interval_minutes))
    labels = labels_of(series, chosen, sigma)
    assert labels.valid.sum() == len(path) - 2
    for t in range(len(path) - 2):
        long_net, reason = outcome(series, t, chosen, sigma, mirrored=False)
        short_net, _ = outcome(series, t, chosen, sigma, mirrored=True)
        assert EXIT_REASONS[labels.exit_reason[t]] is reason
        assert labels.long_net[t] == pytest.approx(float(long_net), abs=1e-12)
        assert labels.short_net[t] == pytest.approx(float(short_net), abs=1e-12)
        if name == "swing":
            wanted = {"take_profit": BUY, "stop_loss": SELL, "time_limit": HOLD}[reason.value]
        else:
            gained = Decimal("1e-12")  # below it is what 28 digits leave of exactly nothing
            wanted = BUY if long_net > gained else SELL if short_net > gained else HOLD
        assert labels.label[t] == wanted


@given(walks(), st.sampled_from(["scalp", "swing"]), st.data())
def test_no_label_looks_beyond_its_end_time(path: Path, name: str, data: st.DataObject) -> None:
    chosen = short_scalp() if name == "scalp" else short_swing()
    interval = Interval.of_minutes(chosen.interval_minutes)
    whole = labels_of(series_of(path, interval), chosen)
    t = data.draw(st.integers(0, len(path) - 3))
    changed = [
        candle
        if START + (j + 1) * np.timedelta64(interval.duration) <= whole.end_time[t]
        else (1.0, 2.0, 0.5, 1.0)
        for j, candle in enumerate(path)
    ]
    other = labels_of(series_of(changed, interval), chosen)
    for column in ("label", "long_net", "short_net", "exit_reason", "valid", "stop_loss"):
        np.testing.assert_array_equal(getattr(other, column)[t], getattr(whole, column)[t])
