"""Signals end to end on real candles, features and models: what is written, and when."""

import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from trading_assets.database import read
from trading_assets.database import signals as table
from trading_assets.errors import (
    ExchangeTimeout,
    ImpossibleCandle,
    IpBlocked,
    MarketNotFound,
    NotEnoughHistory,
    RateLimited,
)
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import design_matrix, make_sequences
from trading_assets.models.calibration import Calibration
from trading_assets.models.model import ClassReturns, Model
from trading_assets.models.trained import Trained
from trading_assets.models.verdicts import Verdict, VerdictKind, record_verdict
from trading_assets.rules.decision import Action, Reason
from trading_assets.settings import SequenceView
from trading_assets.signals.choices import record_choice
from trading_assets.signals.prediction import latest_sigma, predict
from trading_assets.signals.store import Signal, latest_signals, live_signals
from trading_assets_tests.signals.choice_rows import chosen
from trading_assets_tests.signals.market_world import (
    BTC,
    CLOSE,
    CLOSING,
    ETH,
    NOW,
    VERSION,
    Desk,
    dataset,
    desk,
    series,
    small_model,
)

HOUR = timedelta(hours=1)


@pytest.fixture
def made(tmp_path: Path) -> Desk:
    return desk(tmp_path)


@pytest.fixture
def served(made: Desk) -> Desk:
    """Both markets have a champion, confirmed an hour ago."""
    for market in (BTC, ETH):
        made.promote(market)
        made.confirm(market, NOW - HOUR)
    return made


def of(market: str, rows: tuple[Signal, ...]) -> Signal:
    return next(s for s in rows if s.market == market)


def count(made: Desk) -> int:
    with read(made.engine) as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def generous(low: float = 0.02) -> Model:
    """The small model with class returns under which every trade looks good."""
    model = small_model().served
    return Model(
        recipe=model.recipe,
        columns=model.columns,
        boosters=model.boosters,
        logistic=model.logistic,
        calibration=model.calibration,
        returns=ClassReturns(long=(low, low, low), short=(-0.02, -0.02, -0.02)),
        metadata=model.metadata,
    )


def test_a_champion_decides_on_the_closing_candle(served: Desk) -> None:
    report = served.produce()
    assert report.failures == ()
    assert [s.market for s in report.rows] == [BTC, ETH]
    assert report.inserted == report.rows
    signal = of(BTC, report.rows)
    assert (signal.candle_time, signal.expires_at) == (CLOSING, CLOSE + HOUR)
    assert signal.created_at == NOW
    assert signal.traded
    assert signal.reason in {Reason.BUY, Reason.SELL, Reason.EV_TOO_LOW}
    assert signal.p_sell is not None
    assert signal.p_hold is not None
    assert signal.p_buy is not None
    assert signal.p_sell + signal.p_hold + signal.p_buy == pytest.approx(1, abs=1e-12)
    assert signal.confidence == max(signal.p_sell, signal.p_hold, signal.p_buy)
    assert (signal.model_version, signal.skill, signal.run_id) == (VERSION, 0.05, "run-1")
    assert (signal.model_trained_at, signal.model_confirmed_at) == (NOW, NOW - HOUR)


def test_the_live_row_is_the_training_row_to_the_bit(served: Desk) -> None:
    signal = of(BTC, served.produce().rows)
    whole = make_sequences(feature_matrix(series()), series())
    assert whole.open_time[-1] == np.datetime64(CLOSING.replace(tzinfo=None))
    row = design_matrix(whole, SequenceView.SUMMARY)[-1:]
    p = small_model().served.probabilities(row)[0]
    assert (signal.p_sell, signal.p_hold, signal.p_buy) == tuple(float(v) for v in p)


def test_the_exit_plan_is_the_one_of_the_labels(served: Desk) -> None:
    signal = of(BTC, served.produce().rows)
    sigma = latest_sigma(series())
    assert signal.sigma == sigma
    # One sigma of 12 hours, above the floor of two round trips of 16 bp.
    barrier = Decimal(str(sigma)) * Decimal(12).sqrt()
    assert signal.stop_loss == signal.take_profit
    assert signal.stop_loss is not None
    assert abs(signal.stop_loss - max(barrier, Decimal("0.0032"))) <= Decimal("5e-9")
    assert signal.timeout_seconds == 12 * 3600
    assert signal.close == Decimal(repr(float(series().close[-1])))


def test_a_row_comes_back_as_it_was_written(served: Desk) -> None:
    report = served.produce()
    assert latest_signals(served.engine, NOW) == tuple(report.rows)


def test_running_again_writes_nothing_and_asks_nothing(served: Desk) -> None:
    first = served.produce()
    asked = len(served.book.asked)
    served.clock.advance(timedelta(minutes=1))
    second = served.produce()
    assert second.inserted == ()
    assert second.rows == first.rows
    assert (count(served), len(served.book.asked)) == (2, asked)


def test_a_new_champion_decides_on_the_same_candle_anew(served: Desk) -> None:
    served.produce()
    served.promote(BTC, "20260102T030001Z-newer")
    assert [s.market for s in served.produce().inserted] == [BTC]
    newest = of(BTC, latest_signals(served.engine, NOW))
    assert newest.model_version == "20260102T030001Z-newer"


def test_the_next_candle_gets_its_own_row(served: Desk) -> None:
    served.produce()
    served.clock.advance(HOUR)
    assert {s.candle_time for s in served.produce().inserted} == {CLOSE}
    assert count(served) == 4


def test_it_waits_until_the_closing_candle_may_be_there(served: Desk) -> None:
    served.clock = type(served.clock)(CLOSE + timedelta(seconds=1))
    signal = of(BTC, served.produce().rows)
    assert signal.created_at == CLOSE + timedelta(seconds=5)


def cut(made: Desk, market: str, until: datetime) -> None:
    """From `until` on the exchange has no candle of `market`."""
    frame = made.book.frames[market]
    made.book.frames[market] = frame[frame["open_time"] < pd.Timestamp(until)]


def test_a_candle_without_trades_is_decided_on_after_the_wait(served: Desk) -> None:
    cut(served, BTC, CLOSING)  # ETH was traded: the exchange is awake, nobody traded BTC
    signal = of(BTC, served.produce().rows)
    assert (signal.candle_time, signal.created_at) == (CLOSING, CLOSE + timedelta(seconds=20))
    assert signal.p_buy is not None


def test_what_stands_on_an_old_candle_says_so_and_never_trades(served: Desk) -> None:
    for market in (BTC, ETH):
        cut(served, market, CLOSING)  # nobody shows that the exchange is awake
    report = served.produce()
    assert report.failures == ()
    for signal in report.rows:
        assert (signal.decision, signal.reason) == (Action.HOLD, Reason.STALE_CANDLES)
        assert signal.detail == (
            "the newest closed candle starts 2026-01-02T01:00:00+00:00, "
            "it should be 2026-01-02T02:00:00+00:00"
        )
        assert (signal.candle_time, signal.expires_at) == (CLOSING - HOUR, CLOSE)
        assert not signal.is_live(signal.created_at)
        assert signal.p_buy is None


def test_stale_candles_are_told_anew_in_each_candle(served: Desk) -> None:
    for market in (BTC, ETH):
        cut(served, market, CLOSING)
    assert len(served.produce().inserted) == 2
    assert served.produce().inserted == ()
    served.clock.advance(HOUR)
    assert {s.reason for s in served.produce().inserted} == {Reason.STALE_CANDLES}


def test_a_candle_that_comes_late_is_still_decided_on(served: Desk) -> None:
    whole = dict(served.book.frames)
    for market in (BTC, ETH):
        cut(served, market, CLOSING)
    served.produce()
    served.book.frames.update(whole)
    late = served.produce()
    assert {s.candle_time for s in late.inserted} == {CLOSING}
    assert {s.p_buy is not None for s in late.inserted} == {True}


def test_without_a_champion_the_answer_is_hold_and_the_run_does_not_fail(made: Desk) -> None:
    report = made.produce()
    assert report.failures == ()
    assert {s.reason for s in report.rows} == {Reason.NO_CHAMPION}
    assert {s.candle_time for s in report.rows} == {CLOSING}
    assert made.produce().inserted == ()
    made.clock.advance(HOUR)
    assert len(made.produce().inserted) == 2


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("history: 7.0 days of usable rows (2029), it takes 60.0 days", Reason.NOT_ENOUGH_HISTORY),
        ("log_loss: 1.02 x the class prior's", Reason.NO_CHAMPION),
    ],
)
def test_without_a_champion_the_signal_says_what_the_last_training_said(
    made: Desk, said: str, reason: Reason
) -> None:
    refused = Verdict(VerdictKind.PROMOTION, BTC, "swing", False, (said,), made.clock.now())
    record_verdict(made.engine, refused)
    btc, eth = made.produce().rows
    assert (btc.reason, eth.reason) == (reason, Reason.NO_CHAMPION)
    assert said in btc.detail
    assert eth.detail == "no model has been trained yet"


def test_both_profiles_are_asked_and_the_traded_one_first(tmp_path: Path) -> None:
    made = desk(tmp_path, profiles="scalp,swing")
    report = made.produce()
    assert [(s.profile, s.traded) for s in report.rows] == [
        ("swing", True),
        ("swing", True),
        ("scalp", False),
        ("scalp", False),
    ]


def test_a_model_confirmed_48_hours_ago_still_enters(served: Desk) -> None:
    served.promote(BTC, "20260102T000000Z-generous", model=replace_served(generous()))
    served.confirm(BTC, NOW - HOUR)
    assert of(BTC, served.produce().rows).decision is Action.BUY


def replace_served(model: Model) -> Trained:
    return replace(small_model(), served=model)


@pytest.mark.parametrize(
    ("age", "reason"),
    [(timedelta(hours=48), Reason.BUY), (timedelta(hours=48, seconds=1), Reason.MODEL_EXPIRED)],
)
def test_entries_stop_when_no_verdict_came_for_48_hours(
    made: Desk, age: timedelta, reason: Reason
) -> None:
    made.promote(BTC, model=replace_served(generous()))
    made.confirm(BTC, NOW - age)
    signal = of(BTC, made.produce().rows)
    assert signal.reason is reason
    assert signal.p_buy is not None


def test_a_model_that_expires_within_a_candle_says_so_at_once(made: Desk) -> None:
    made.promote(BTC, model=replace_served(generous()))
    made.confirm(BTC, NOW - timedelta(hours=47, minutes=59))
    assert of(BTC, made.produce().rows).decision is Action.BUY
    made.clock.advance(timedelta(minutes=2))
    again = made.produce()
    assert of(BTC, again.inserted).reason is Reason.MODEL_EXPIRED
    assert of(BTC, latest_signals(made.engine, made.clock.now())).decision is Action.HOLD


def test_a_model_of_another_trade_is_not_asked(made: Desk, tmp_path: Path) -> None:
    dearer = desk(tmp_path / "dearer", fee_rate="0.001")
    dearer.promote(BTC)
    dearer.confirm(BTC)
    signal = of(BTC, dearer.produce().rows)
    assert (signal.decision, signal.reason) == (Action.HOLD, Reason.CHECKS_FAILED)
    assert "label_is_traded_rule: the model learnt another trade" in signal.detail


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ExchangeTimeout("no answer within 5 s"), Reason.EXCHANGE_UNAVAILABLE),
        (RateLimited("429"), Reason.EXCHANGE_UNAVAILABLE),
        (MarketNotFound("KRW-BTC"), Reason.MARKET_MISSING),
        (ImpossibleCandle("high 1 below low 2"), Reason.ERROR),
        (ZeroDivisionError("a bug"), Reason.ERROR),
    ],
)
def test_the_failure_of_one_market_is_a_row_and_stops_no_other(
    served: Desk, error: Exception, reason: Reason
) -> None:
    def fault(market: str) -> None:
        if market == BTC:
            raise error

    served.book.fault = fault
    report = served.produce()
    failed, sound = of(BTC, report.rows), of(ETH, report.rows)
    assert (failed.decision, failed.reason) == (Action.HOLD, reason)
    assert failed.detail == f"{type(error).__name__}: {error}"
    assert (failed.candle_time, failed.expires_at) == (None, CLOSE + HOUR)
    assert [(f.market, f.profile) for f in report.failures] == [(BTC, "swing")]
    assert sound.p_buy is not None


def test_a_failure_is_told_once_a_candle_and_again_in_the_next(served: Desk) -> None:
    def fault(market: str) -> None:
        raise ExchangeTimeout(market)

    served.book.fault = fault
    assert len(served.produce().inserted) == 2
    served.clock.advance(timedelta(minutes=5))
    again = served.produce()
    assert (again.inserted, len(again.failures)) == ((), 2)
    served.clock.advance(HOUR)
    assert len(served.produce().inserted) == 2


def test_after_a_failure_the_same_candle_is_asked_again(served: Desk) -> None:
    def fault(market: str) -> None:
        raise ExchangeTimeout(market)

    served.book.fault = fault
    served.produce()
    served.book.fault = lambda market: None
    assert {s.p_buy is not None for s in served.produce().inserted} == {True}


def test_a_blocked_address_asks_no_further(served: Desk) -> None:
    def fault(market: str) -> None:
        raise IpBlocked("418 for 60 s")

    served.book.fault = fault
    report = served.produce()
    assert {s.reason for s in report.rows} == {Reason.EXCHANGE_UNAVAILABLE}
    assert len(report.failures) == 2
    assert len(served.book.asked) == 1


def test_a_signal_lives_until_one_interval_after_its_candle_closed(served: Desk) -> None:
    served.produce()
    assert len(live_signals(served.engine, CLOSE + HOUR - timedelta(microseconds=1))) == 2
    assert live_signals(served.engine, CLOSE + HOUR) == ()


def test_too_short_a_series_says_how_much_is_missing() -> None:
    with pytest.raises(NotEnoughHistory, match="a sequence needs"):
        predict(small_model().served, series().tail(50))


def test_the_volatility_needs_its_returns() -> None:
    with pytest.raises(NotEnoughHistory, match="volatility at"):
        latest_sigma(series().tail(50))


def test_the_expected_values_are_those_of_the_model() -> None:
    model = small_model().served
    prediction = predict(model, series())
    p = np.array([[getattr(prediction.probabilities, n) for n in ("p_sell", "p_hold", "p_buy")]])
    assert prediction.ev_long == pytest.approx(float(model.ev_long(p)[0]), abs=1e-15)
    assert prediction.ev_short == pytest.approx(float(model.ev_short(p)[0]), abs=1e-15)
    assert len(dataset()) > 1500


def test_reading_signals_loads_neither_numpy_nor_pandas() -> None:
    code = (
        "import sys, trading_assets.signals.store, trading_assets.rules.decision;"
        "print(sorted({'numpy','pandas','lightgbm','mlflow','sklearn','talib'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_producing_signals_does_not_load_mlflow() -> None:
    code = "import sys, trading_assets.signals.produce; print('mlflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.fixture
def unpinned(tmp_path: Path) -> Desk:
    """PROFILE=auto, a champion that would buy, nothing evaluated yet."""
    made = desk(tmp_path, profile="auto")
    made.promote(BTC, model=replace_served(generous()))
    made.confirm(BTC, NOW - HOUR)
    return made


def selling() -> Model:
    """The small model, sure of SELL and of what the mirrored trade would earn."""
    model = generous()
    return replace(
        model,
        calibration=Calibration(1.0, (5.0, 0.0, 0.0)),
        returns=ClassReturns(long=(-0.02, -0.02, -0.02), short=(0.02, 0.02, 0.02)),
    )


def test_before_the_first_evaluation_a_buy_is_held_back_and_says_why(unpinned: Desk) -> None:
    signal = of(BTC, unpinned.produce().rows)
    assert (signal.decision, signal.reason, signal.traded) == (Action.HOLD, Reason.NO_EDGE, False)
    assert signal.detail.startswith("the profiles are not evaluated yet; otherwise buy: p_buy ")
    assert signal.p_buy is not None
    assert signal.stop_loss is not None


def test_the_first_choice_is_acted_on_within_the_candle(unpinned: Desk) -> None:
    unpinned.produce()
    unpinned.clock.advance(timedelta(minutes=20))
    record_choice(unpinned.engine, chosen("swing", unpinned.clock.now()))
    signal = of(BTC, unpinned.produce().inserted)
    assert (signal.decision, signal.traded, signal.candle_time) == (Action.BUY, True, CLOSING)
    assert unpinned.produce().inserted == ()


def test_a_lost_edge_takes_a_buy_back_within_the_candle(unpinned: Desk) -> None:
    record_choice(unpinned.engine, chosen("swing", NOW))
    assert of(BTC, unpinned.produce().rows).decision is Action.BUY
    unpinned.clock.advance(timedelta(minutes=20))
    record_choice(unpinned.engine, chosen(None, unpinned.clock.now()))
    signal = of(BTC, unpinned.produce().inserted)
    assert (signal.reason, signal.traded) == (Reason.NO_EDGE, False)
    assert signal.detail.startswith("no profile has an edge; otherwise buy: ")
    unpinned.clock.advance(timedelta(minutes=20))
    assert unpinned.produce().inserted == ()  # asked again, said once


def test_a_market_that_drops_out_of_the_evaluation_is_not_entered_from_then_on(
    unpinned: Desk,
) -> None:
    record_choice(unpinned.engine, chosen("swing", NOW))
    assert of(BTC, unpinned.produce().rows).decision is Action.BUY
    unpinned.clock.advance(timedelta(minutes=20))
    record_choice(unpinned.engine, chosen("swing", unpinned.clock.now(), markets=("KRW-ETH",)))
    signal = of(BTC, unpinned.produce().inserted)
    assert (signal.decision, signal.reason) == (Action.HOLD, Reason.NO_EDGE)
    assert signal.detail.startswith("the evaluation of swing does not cover KRW-BTC; otherwise buy")
    assert unpinned.produce().inserted == ()


def test_positions_are_closed_by_sell_signals_whatever_is_traded(tmp_path: Path) -> None:
    made = desk(tmp_path, profile="auto")
    made.promote(BTC, model=replace_served(selling()))
    made.confirm(BTC, NOW - HOUR)
    record_choice(made.engine, chosen(None, NOW))
    signal = of(BTC, made.produce().rows)
    assert (signal.decision, signal.reason) == (Action.SELL, Reason.SELL)
    assert signal.detail.endswith("only closes a position; no edge: no profile has an edge")
    # Under another choice the profile's signals go on, and do not count.
    record_choice(made.engine, chosen("scalp", NOW + HOUR))
    other = of(BTC, made.produce().rows)
    assert (other.decision, other.traded) == (Action.SELL, False)


def test_a_pinned_profile_is_traded_whatever_the_evaluation_says(served: Desk) -> None:
    served.promote(BTC, "20260102T000000Z-generous", model=replace_served(generous()))
    record_choice(served.engine, chosen(None, NOW))
    signal = of(BTC, served.produce().rows)
    assert (signal.decision, signal.traded) == (Action.BUY, True)
