"""The synthetic market: the same for ever, consistent, realistic, and with the edge it says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kurtosis
from sklearn.metrics import roc_auc_score

from trading_assets.errors import MarketNotFound
from trading_assets.exchange.model import Interval
from trading_assets.paper_exchange.grid import round_to_tick
from trading_assets.paper_exchange.markets import CANDLE_COLUMNS, to_ms
from trading_assets.paper_exchange.synthetic import EPOCH, SyntheticMarkets, SyntheticParameters
from trading_assets_tests.conftest import FOUR_MARKETS

NOW = datetime(2026, 11, 23, 10, 7, 5, tzinfo=UTC)
DAY = timedelta(days=1)
PRICES = ["open", "high", "low", "close"]


def fresh(seed: int = 7, edge: str = "1", volatility: str = "1") -> SyntheticMarkets:
    parameters = SyntheticParameters(seed, Decimal(edge), Decimal(volatility))
    return SyntheticMarkets(parameters, FOUR_MARKETS)


def test_history_reaches_back_two_and_a_half_years() -> None:
    assert datetime(2026, 11, 23, tzinfo=UTC) - EPOCH > timedelta(days=2.5 * 365.25)


def test_candles_have_the_projects_columns_and_types(synthetic_markets: SyntheticMarkets) -> None:
    frame = synthetic_markets.candles("KRW-BTC", Interval.M5, NOW - DAY, NOW)
    assert tuple(frame.columns) == CANDLE_COLUMNS
    assert str(frame["open_time"].dtype) == "datetime64[us, UTC]"
    assert {str(t) for t in frame.dtypes[1:]} == {"float64"}
    # From 10:07:05 the day before: the first start after it is 10:10, the last before now 10:05.
    assert frame["open_time"].iloc[0] == pd.Timestamp("2026-11-22 10:10", tz="UTC")
    assert frame["open_time"].iloc[-1] == pd.Timestamp("2026-11-23 10:05", tz="UTC")


def test_two_instances_asked_in_different_orders_tell_the_same_history() -> None:
    start = datetime(2025, 3, 1, tzinfo=UTC)
    one, other = fresh(), fresh()
    first = {m: one.candles(m, Interval.M5, start, start + 3 * DAY) for m in FOUR_MARKETS}
    other.candles("KRW-SOL", Interval.M1, start + 400 * DAY, start + 401 * DAY)
    for market in reversed(FOUR_MARKETS):
        other.candles(market, Interval.M60, start + 20 * DAY, start + 21 * DAY)
        again = other.candles(market, Interval.M5, start, start + 3 * DAY)
        pd.testing.assert_frame_equal(first[market], again, check_exact=True)


def test_a_market_does_not_depend_on_the_others_in_the_settings() -> None:
    alone = SyntheticMarkets(SyntheticParameters(), ("KRW-SOL",))
    pd.testing.assert_frame_equal(
        alone.candles("KRW-SOL", Interval.M5, EPOCH, EPOCH + 9 * DAY),
        fresh().candles("KRW-SOL", Interval.M5, EPOCH, EPOCH + 9 * DAY),
        check_exact=True,
    )


def test_time_passing_and_restarts_never_rewrite_closed_candles() -> None:
    # Blocks of 32 days begin on 2024-06-02, 07-04, 08-05, 09-06: the steps cross all four, each
    # also with an instance that was started only then.
    living = fresh()
    day = datetime(2024, 6, 1, tzinfo=UTC)
    seen = living.candles("KRW-ETH", Interval.M5, EPOCH, day)
    for later in (day + 10 * DAY, day + 45 * DAY, day + 100 * DAY):
        for markets in (living, fresh()):
            again = markets.candles("KRW-ETH", Interval.M5, EPOCH, later)
            pd.testing.assert_frame_equal(seen, again.iloc[: len(seen)], check_exact=True)
        seen = again


@pytest.mark.parametrize("interval", [Interval.M1, Interval.M5, Interval.M60])
def test_a_candle_served_as_closed_is_never_served_differently(
    synthetic_markets: SyntheticMarkets, interval: Interval
) -> None:
    then, later = to_ms(NOW), to_ms(NOW + timedelta(hours=7))
    early = synthetic_markets.page("KRW-SOL", interval, then + 1, 100, then).frame()
    closed = early[early["open_time"] + interval.duration <= NOW]
    full = synthetic_markets.page("KRW-SOL", interval, then + 1, 110, later).frame()
    merged = closed.merge(full, on="open_time", suffixes=("", "_later"))
    assert len(merged) == len(closed) >= 98
    for name in [*PRICES, "volume", "value"]:
        assert merged[name].tolist() == merged[f"{name}_later"].tolist()


def test_the_open_candle_grows_into_the_closed_one(synthetic_markets: SyntheticMarkets) -> None:
    start = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    seen = []
    for minutes in range(1, 61, 3):
        now_ms = to_ms(start + timedelta(minutes=minutes, seconds=-1))
        page = synthetic_markets.page("KRW-BTC", Interval.M60, now_ms + 1, 1, now_ms)
        assert page.open_ms[0] == to_ms(start)
        assert page.last_ms[0] <= now_ms
        seen.append((page.open[0], page.high[0], page.low[0], page.volume[0]))
    opens, highs, lows, volumes = (np.array(column) for column in zip(*seen, strict=True))
    assert len(set(opens.tolist())) == 1
    assert (np.diff(highs) >= 0).all()
    assert (np.diff(lows) <= 0).all()
    assert (np.diff(volumes) > 0).all()
    whole = synthetic_markets.candles("KRW-BTC", Interval.M60, start, start + timedelta(hours=1))
    assert whole["high"][0] >= highs[-1]
    assert whole["volume"][0] >= volumes[-1]


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [
        (Interval.M1, Interval.M3),
        (Interval.M1, Interval.M5),
        (Interval.M1, Interval.M15),
        (Interval.M5, Interval.M60),
        (Interval.M60, Interval.M240),
        (Interval.M60, Interval.D1),
    ],
)
@pytest.mark.parametrize("market", ["KRW-BTC", "KRW-SOL"])
def test_coarser_candles_are_their_finer_ones_joined(
    synthetic_markets: SyntheticMarkets, market: str, fine: Interval, coarse: Interval
) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    small = synthetic_markets.candles(market, fine, start, start + 2 * DAY)
    big = synthetic_markets.candles(market, coarse, start, start + 2 * DAY)
    bucket = small["open_time"].dt.floor(f"{coarse.minutes}min")
    joined = small.groupby(bucket).agg(
        open=("open", "first"),
        high=("high", "max"),
        low=("low", "min"),
        close=("close", "last"),
        volume=("volume", "sum"),
        value=("value", "sum"),
    )
    assert joined.index.tolist() == big["open_time"].tolist()
    for name in PRICES:
        assert joined[name].tolist() == big[name].tolist()
    np.testing.assert_allclose(joined["volume"], big["volume"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(joined["value"], big["value"], rtol=1e-9)


def test_candles_are_possible_and_on_the_tick_grid(synthetic_markets: SyntheticMarkets) -> None:
    for market in FOUR_MARKETS:
        frame = synthetic_markets.candles(market, Interval.M5, EPOCH, NOW)
        prices = frame[PRICES].to_numpy()
        assert (round_to_tick(prices) == prices).all()
        assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
        assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
        assert (frame["low"] > 0).all()
        assert (frame["volume"] > 0).all()
        assert (
            frame["value"]
            .between(
                frame["low"] * frame["volume"] * (1 - 1e-12),
                frame["high"] * frame["volume"] * (1 + 1e-12),
            )
            .all()
        )


def test_liquid_markets_trade_always_and_others_pause(synthetic_markets: SyntheticMarkets) -> None:
    steps = 120 * 288  # 120 days of 5 minutes
    share = {}
    for market in FOUR_MARKETS:
        frame = synthetic_markets.candles(market, Interval.M5, NOW - 120 * DAY, NOW)
        share[market] = 1 - len(frame) / steps
    assert share["KRW-BTC"] == share["KRW-ETH"] == 0
    # 0.3 % of SOL's, far below the 10 % that make a row unusable; sd 0.03 %.
    assert 0.002 < share["KRW-SOL"] < 0.004
    week = NOW - 7 * DAY
    minutes = len(synthetic_markets.candles("KRW-SOL", Interval.M1, week, NOW)) / (7 * 1440)
    assert 0.90 < minutes < 0.97


def test_a_market_unknown_to_us_gets_a_seeded_character() -> None:
    markets = SyntheticMarkets(SyntheticParameters(), ("KRW-ABC", "KRW-XYZ"))
    same = SyntheticMarkets(SyntheticParameters(), ("KRW-XYZ", "KRW-ABC"))
    levels = []
    for market in markets.markets:
        frame = markets.candles(market, Interval.M5, EPOCH, EPOCH + 3 * DAY)
        again = same.candles(market, Interval.M5, EPOCH, EPOCH + 3 * DAY)
        pd.testing.assert_frame_equal(frame, again)
        levels.append(frame["open"].iloc[0])
        assert 1_000 < levels[-1] < 1_000_000
    assert levels[0] != levels[1]
    with pytest.raises(MarketNotFound, match="KRW-BTC"):
        markets.candles("KRW-BTC", Interval.M5, EPOCH, NOW)


def half_hour_returns(markets: SyntheticMarkets, market: str) -> pd.Series:
    frame = markets.candles(market, Interval.M30, EPOCH, NOW)
    close = frame.set_index("open_time")["close"]
    return pd.Series(np.log(close.to_numpy()), index=close.index).diff().dropna()


def test_thirty_minutes_move_by_about_66_basis_points(synthetic_markets: SyntheticMarkets) -> None:
    deviations = [half_hour_returns(synthetic_markets, m).std() * 1e4 for m in FOUR_MARKETS]
    assert all(55 < deviation < 70 for deviation in deviations)


def test_the_volatility_parameter_scales_the_moves() -> None:
    calm = half_hour_returns(fresh(volatility="0.25"), "KRW-BTC").std()
    usual = half_hour_returns(fresh(), "KRW-BTC").std()
    # A quarter; BTC's tick is too small to matter.
    assert calm / usual == pytest.approx(0.25, abs=0.01)


def test_markets_move_together_in_clusters_and_with_jumps(
    synthetic_markets: SyntheticMarkets,
) -> None:
    returns = pd.DataFrame({m: half_hour_returns(synthetic_markets, m) for m in FOUR_MARKETS})
    returns = returns.dropna()
    correlation = returns.corr().to_numpy()[np.triu_indices(4, 1)]
    # Over half of the noise is common; that one market is bought at a time sets them apart.
    assert (correlation > 0.35).all()
    assert (correlation < 0.65).all()
    for market in FOUR_MARKETS:
        size = returns[market].abs()
        assert kurtosis(returns[market]) > 2  # heavier tails than normal (0)
        # Clusters: large moves follow large moves, an hour and a day later.
        assert size.autocorr(2) > 0.1
        assert size.autocorr(48) > 0.05


# --- the edge ---------------------------------------------------------------------------------


def scalp_outcomes(frame: pd.DataFrame) -> tuple[Any, Any]:
    """(+1, 0, -1 per candle for BUY, HOLD, SELL; moments): 30 minutes, 16 bp, no barriers.

    2 % barriers are touched by about 1 % of trades: for the direction they do not matter.
    """
    close = frame["close"].to_numpy()
    ahead = np.log(close[6:] / close[:-6])
    outcome = np.where(ahead > 0.0016, 1, np.where(ahead < -0.0016, -1, 0))
    moments = (frame["open_time"] + timedelta(minutes=5)).dt.tz_localize(None).to_numpy()[:-6]
    return outcome, moments


def oracle_direction_auc(markets: SyntheticMarkets, market: str, days: int) -> float:
    frame = markets.candles(market, Interval.M5, NOW - days * DAY, NOW)
    outcome, moments = scalp_outcomes(frame)
    score = markets.oracle(market, moments, timedelta(minutes=30)).score
    moved = outcome != 0
    return float(roc_auc_score(outcome[moved] > 0, score[moved]))


def test_an_oracles_direction_auc_is_between_60_and_63_percent() -> None:
    # Mean of 4 seeds x 2 markets of a year each: standard error about 0.002.
    found = [
        oracle_direction_auc(fresh(seed), market, 365)
        for seed in (7, 8, 9, 10)
        for market in ("KRW-BTC", "KRW-SOL")
    ]
    assert 0.60 <= float(np.mean(found)) <= 0.63


def volume_z(frame: pd.DataFrame) -> Any:
    """(n - 6,) the catalogue's `volume_z_24`: volume against that of the last two hours."""
    volume = frame["volume"].rolling(24)
    score = (frame["volume"] - volume.mean()) / volume.std(ddof=0)
    return score.fillna(0).to_numpy()[:-6]


def test_volume_seen_in_closed_candles_comes_close_to_the_oracle() -> None:
    """The simplest feature, one of the 46, no fitting at all."""
    differences = []
    for seed in (7, 8, 9, 10):
        markets = fresh(seed)
        frame = markets.candles("KRW-BTC", Interval.M5, NOW - 365 * DAY, NOW)
        outcome, moments = scalp_outcomes(frame)
        usable = outcome != 0
        score = markets.oracle("KRW-BTC", moments, timedelta(minutes=30)).score
        oracle = roc_auc_score(outcome[usable] > 0, score[usable])
        differences.append(oracle - roc_auc_score(outcome[usable] > 0, volume_z(frame)[usable]))
    assert -0.005 < float(np.mean(differences)) < 0.03


def test_one_of_the_four_markets_is_being_bought_and_trades_more() -> None:
    markets = fresh()
    moments = pd.date_range("2026-10-01", "2026-11-01", freq="5min", inclusive="left").to_numpy()
    horizon = timedelta(minutes=30)
    bought = np.array([markets.oracle(m, moments, horizon).expected > 0 for m in FOUR_MARKETS])
    assert (bought.sum(axis=0) == 1).all()
    # A month of stays of 25 minutes on average: about 450 of them in each market.
    assert 0.20 < bought.mean(axis=1).min() <= bought.mean(axis=1).max() < 0.30
    for market, here in zip(FOUR_MARKETS[:2], bought, strict=False):
        start = datetime(2026, 9, 30, 23, 55, tzinfo=UTC)
        frame = markets.candles(market, Interval.M5, start, start + len(moments) * DAY / 288)
        volume = np.log(frame["volume"].to_numpy())
        # exp(2) = 7.4 times as much, and some more because prices move.
        assert 1.9 < volume[here].mean() - volume[~here].mean() < 2.2


def test_without_edge_nothing_is_to_be_known() -> None:
    markets = fresh(edge="0")
    frame = markets.candles("KRW-BTC", Interval.M5, NOW - 365 * DAY, NOW)
    outcome, moments = scalp_outcomes(frame)
    assert (markets.oracle("KRW-BTC", moments, timedelta(minutes=30)).expected == 0).all()
    returns = np.log(frame["close"]).diff().fillna(0)
    usable = outcome != 0
    # 105,000 rows, about 13,000 independent: standard error of the AUC about 0.005.
    for feature in (volume_z(frame), returns.ewm(halflife=12).mean().to_numpy()[:-6]):
        assert abs(roc_auc_score(outcome[usable] > 0, feature[usable]) - 0.5) < 0.015


@pytest.mark.parametrize(("minutes", "interval"), [(30, Interval.M5), (720, Interval.M60)])
def test_the_oracle_expects_what_happens_on_average(minutes: int, interval: Interval) -> None:
    """Realised returns regressed on expected ones: slope 1, standard error about 0.06 to 0.1."""
    expected, realised = [], []
    for seed in range(7, 12):
        markets = fresh(seed)
        frame = markets.candles("KRW-ETH", interval, EPOCH, NOW)
        steps = minutes // interval.minutes
        close = np.log(frame["close"].to_numpy())
        moments = (frame["open_time"] + interval.duration).dt.tz_localize(None).to_numpy()
        known = markets.oracle("KRW-ETH", moments[:-steps], timedelta(minutes=minutes))
        expected.append(known.score)
        realised.append((close[steps:] - close[:-steps]) / known.sigma)
    x, y = np.concatenate(expected), np.concatenate(realised)
    slope = float(x @ y / (x @ x))
    assert 0.8 < slope < 1.2
    # The claimed deviation is the realised one, as far as volatility stays what it was.
    assert 0.9 < float(np.std(y - x)) < 1.1


def test_the_oracle_refuses_moments_between_candles(synthetic_markets: SyntheticMarkets) -> None:
    between = np.array(["2026-11-23T10:07"], dtype="datetime64[us]")
    with pytest.raises(ValueError, match="ends of 5-minute candles"):
        synthetic_markets.oracle("KRW-BTC", between, timedelta(minutes=30))


@pytest.mark.parametrize(
    ("edge", "volatility", "message"),
    [
        ("-0.1", "1", "edge must be .* was -0.1"),
        ("1.1", "1", "edge must be .* was 1.1"),
        ("1", "0", "volatility must be .* was 0"),
        ("1", "101", "volatility must be .* was 101"),
    ],
)
def test_impossible_parameters_are_refused(edge: str, volatility: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticParameters(7, Decimal(edge), Decimal(volatility))
