"""The stored forecast comes back as it was, and says in words what it expects."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import forecasts, read
from trading_assets.errors import CorruptStore
from trading_assets.signals.forecast import (
    KEPT,
    PROFILE_RULE,
    Forecast,
    latest_forecast,
    store_forecast,
    threshold_rule,
)
from trading_assets.signals.forecast_words import expectation, markdown, percent, sentences
from trading_assets_tests.signals.expected import ETH, MADE, RATE, expected, market_forecast


def test_a_stored_forecast_comes_back_to_the_bit(engine: Engine) -> None:
    made = expected(market_forecast(), market_forecast(ETH, highest_p_buy=0.1 + 0.2))
    store_forecast(engine, made)
    assert latest_forecast(engine, "swing") == made


def test_a_forecast_without_an_account_has_no_trades(engine: Engine) -> None:
    silent = replace(RATE, trades_a_day=None, no_trade=None, trade_silence=None)
    made = expected(market_forecast(rates={PROFILE_RULE: silent}))
    store_forecast(engine, made)
    assert latest_forecast(engine, "swing") == made


def test_the_newest_forecast_of_the_profile_counts(engine: Engine) -> None:
    old, new = expected(), replace(expected(), made_at=MADE + timedelta(days=1))
    other = replace(expected(profile="scalp"), made_at=MADE + timedelta(days=2))
    for one in (new, other, old):
        store_forecast(engine, one)
    assert latest_forecast(engine, "swing") == new
    assert latest_forecast(engine, "scalp") == other
    assert latest_forecast(engine, "none") is None


def test_the_newest_forecasts_of_each_profile_stay_and_older_ones_go(engine: Engine) -> None:
    store_forecast(engine, expected(profile="scalp"))
    days = [MADE + timedelta(days=n) for n in range(KEPT + 2)]
    # The newest comes first: what stays is decided by the time it was made, not by its number.
    for made_at in reversed(days):
        store_forecast(engine, replace(expected(), made_at=made_at))
    with read(engine) as connection:
        query = sa.select(forecasts.c.profile, forecasts.c.made_at).order_by(forecasts.c.made_at)
        rows = [tuple(row) for row in connection.execute(query)]
    assert rows == [("scalp", MADE), *(("swing", made_at) for made_at in days[2:])]


def test_a_document_that_is_no_forecast_is_refused() -> None:
    with pytest.raises(CorruptStore, match="format must be 1, was None"):
        Forecast.from_json({})
    broken = expected().to_json()
    del broken["markets"][0]["rates"]
    with pytest.raises(CorruptStore, match="KeyError"):
        Forecast.from_json(broken)


def test_it_says_what_a_person_wants_to_know() -> None:
    assert (
        expectation("at 50 %", RATE)
        == "at 50 %: 0.4 BUY a day expected, no BUY in 21 h happens in 71 % of windows"
    )
    said = sentences(expected())
    assert said[0].startswith("swing's rule (EV above 1 x costs): 0.4 BUY a day")
    # 2 x (0.7 - 0.4) = 0.6 and 2 x (0.7 - 0.6) = 0.2, as the forecast of the tests has it.
    assert said[1].startswith("at 40 %: 0.6 BUY a day")
    assert said[3].startswith("at 60 %: 0.2 BUY a day")
    assert list(expected().whole.rates) == [PROFILE_RULE, "p_buy_40", "p_buy_50", "p_buy_60"]
    assert threshold_rule(0.5) == "p_buy_50"


def test_the_table_tells_how_many_windows_there_were() -> None:
    page = markdown(expected())
    assert "17,900 windows of 21 h from 2024-01-01 to 2025-12-31" in page
    assert "857 of them fit side by side" in page
    assert "| KRW-BTC | at 50 % | 0.40 | 0.30 | 71 % | 77 % | 60 / 90 / 120 | 80 / 100 |" in page
    assert "| KRW-BTC | confidence | 21 h | 0.500 | 0.420 | 0.400 | 0.390 | 0.360 |" in page
    assert "| KRW-BTC | from 60 % | 40 | 64.0% | 60.0% | +20.0 |" in page


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.001, "under 1 %"),
        (0.01, "1 %"),
        (0.705, "70 %"),
        (0.995, "over 99 %"),
        (1, "100 %"),
    ],
)
def test_a_share_that_is_not_all_or_nothing_is_not_shown_as_such(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(("a_day", "text"), [(0.456, "0.46"), (9.5, "9.5"), (182.47, "182")])
def test_many_signals_a_day_are_counted_without_an_exponent(a_day: float, text: str) -> None:
    assert replace(RATE, signals_a_day=a_day).buys_a_day == f"{text} BUY a day"
