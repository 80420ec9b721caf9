"""A report in words: every number where a reader looks for it."""

import math

from trading_assets.backtest.report_text import interval_text, report_text, signed, table
from trading_assets.backtest.statistics import Interval
from trading_assets_tests.backtest.simulations import report, simulation, trades


def test_numbers_carry_their_sign_and_zero_none() -> None:
    assert [signed(v) for v in (12.4, -0.4, 0.0, -7.6, math.nan)] == ["+12", "0", "0", "-8", "-"]
    assert signed(0.04, 1) == "0.0"
    assert interval_text(Interval(24.2, 4.0, 43.0, 100)) == "+24 [+4, +43]"
    assert interval_text(Interval(24.2, math.nan, math.nan, 1)) == "+24"
    assert interval_text(Interval(math.nan, math.nan, math.nan, 0)) == "-"


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n|---|---:|\n| x | 1 |"


def test_the_text_names_subject_variants_and_doubts() -> None:
    text = report_text(report())
    assert text.startswith(
        "**swing (lightgbm), recorded prices, world recorded-example-60m**\n\n"
        "KRW-BTC, KRW-ETH; 2024-01-01 00:00 to 2024-03-01 00:00 UTC; EV after costs above one more "
        "round trip; barriers 1 sigma, 12 h.\n"
    )
    assert "| as traded | 120 | 2.00 |" in text
    assert "| entry at the next open | 119 | 2.00 |" in text
    assert "| round trip 40 bp | 120 |" in text
    assert "| seeds alone, net bp a trade | mean +11, sd 2 (+9, +11, +13) |" in text
    # Of -12 and -8: the mean, and 4 over the root of 2.
    placebo = "mean -10, sd 3, max -8 (3 times, 100 trades, 0 % reached ours)"
    assert f"| same signals at the wrong time, net bp | {placebo} |" in text
    assert "| buy and hold, equal weights | 150.0 %, draw-down 40.0 % |" in text
    assert "| BUYs the trader's rules stopped | resting 3 |" in text
    assert "| KRW-BTC | 1000 | 0.960 | 0.980 | 0.550 [0.520, nan] |" in text


def test_an_account_without_trades_is_printed_with_dashes() -> None:
    text = report_text(report(simulation([1e7] * 48, trades([], [], []))))
    assert "| as traded | 0 | 0.00 | - | - | - | 0.0 % | 0.0 % |" in text
