"""A forecast in words: the sentence a person reads, and the table on the asset.

Not here: the value (`forecast`) and the sentence on one market now (`drought`).
"""

from collections.abc import Sequence

from trading_assets.signals.forecast import (
    DROUGHT_HOURS,
    PROFILE_RULE,
    THRESHOLDS,
    Forecast,
    MarketForecast,
    Rate,
    threshold_rule,
)


def rule_name(forecast: Forecast, rule: str) -> str:
    """What a rule is called: `at 50 %` for p_buy alone, the profile's with its numbers."""
    for threshold in THRESHOLDS:
        if rule == threshold_rule(threshold):
            return f"at {threshold * 100:.0f} %"
    parts = [f"EV above {forecast.min_ev_costs:g} x costs"]
    if forecast.min_confidence > 0:
        parts.insert(0, f"p_buy from {forecast.min_confidence * 100:g} %")
    return f"{forecast.profile}'s rule ({', '.join(parts)})"


def expectation(name: str, rate: Rate) -> str:
    """`at 50 %: 0.4 BUY a day expected, no BUY in 21 h happens in 71 % of windows`."""
    return (
        f"{name}: {rate.buys_a_day} expected, no BUY in {DROUGHT_HOURS} h happens "
        f"in {percent(rate.no_signal)} of windows"
    )


def sentences(forecast: Forecast) -> tuple[str, ...]:
    """One sentence a rule, the profile's own first, for all markets together."""
    whole = forecast.whole
    rules = [PROFILE_RULE, *(threshold_rule(t) for t in THRESHOLDS)]
    return tuple(expectation(rule_name(forecast, r), whole.rates[r]) for r in rules)


def percent(share: float) -> str:
    """Whole percents; a share that is not all or nothing is never shown as 0 or 100."""
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{share:.0%}".replace("%", " %")


def markdown(forecast: Forecast) -> str:
    """Everything that is compared with live signals, for the asset's page."""
    markets = list(forecast.markets.values())
    whole = forecast.whole
    return "\n\n".join(
        [
            "\n".join(f"- {s}" for s in sentences(forecast)),
            f"{whole.windows:,} windows of {DROUGHT_HOURS} h from {whole.first:%Y-%m-%d} to "
            f"{whole.last:%Y-%m-%d}, one ending at each candle; {whole.independent} of them fit "
            "side by side.",
            _rates_table(forecast, markets),
            _bands_table(markets),
            _shares_table(markets),
            _steps_table(markets),
        ]
    )


def _rates_table(forecast: Forecast, markets: Sequence[MarketForecast]) -> str:
    rows = [
        (
            market.market,
            rule_name(forecast, rule),
            f"{rate.signals_a_day:.2f}",
            _or_dash(rate.trades_a_day, "{:.2f}"),
            percent(rate.no_signal),
            "-" if rate.no_trade is None else percent(rate.no_trade),
            f"{rate.signal_silence.five:.0f} / {rate.signal_silence.one:.0f} / "
            f"{rate.signal_silence.longest:.0f}",
            f"{rate.signal_silence.warn:.0f} / {rate.signal_silence.error:.0f}",
        )
        for market in markets
        for rule, rate in market.rates.items()
    ]
    none = f"in {DROUGHT_HOURS} h"
    head = (
        "market",
        "rule",
        "BUY a day",
        "trades a day",
        f"no BUY {none}",
        f"no trade {none}",
        "silence h: 5 % / 1 % / longest",
        "alarm h: warn / fail",
    )
    return _table(head, rows)


def _bands_table(markets: Sequence[MarketForecast]) -> str:
    rows = [
        (
            market.market,
            statistic.replace("_", " "),
            f"{hours} h",
            *(f"{value:.3f}" for value in (band.usual, band.five, band.one, band.warn, band.error)),
        )
        for market in markets
        for statistic, by_hours in market.bands.items()
        for hours, band in by_hours.items()
    ]
    head = ("market", "mean of", "window", "median", "5 %", "1 %", "warn beyond", "fail beyond")
    return _table(head, rows)


def _shares_table(markets: Sequence[MarketForecast]) -> str:
    rows = [
        (
            market.market,
            " / ".join(percent(s) for s in market.label_shares),
            " / ".join(percent(s) for s in market.predicted_shares),
            f"{market.highest_p_buy:.3f}",
            " / ".join(f"{market.volatility[i]:.3%}" for i in (5, 50, 95))
            if market.volatility
            else "-",
        )
        for market in markets
    ]
    head = (
        "market",
        "outcome SELL / HOLD / BUY",
        "predicted SELL / HOLD / BUY",
        "highest p_buy",
        "volatility a candle: 5 / 50 / 95 %",
    )
    return _table(head, rows)


def _steps_table(markets: Sequence[MarketForecast]) -> str:
    rows = [
        (
            market.market,
            f"from {step.p_buy * 100:.0f} %",
            str(step.signals),
            f"{step.claimed:.1%}",
            f"{step.came_true:.1%}",
            f"{step.mean_net * 1e4:+.1f}",
        )
        for market in markets
        for step in market.steps
        if step.signals
    ]
    return _table(("market", "step", "BUY", "claimed", "came true", "net bp"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(line)} |" for line in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
