"""The catalogue: the one table of exactly 46 features.

Names, formulas, sources, warm-up and ranges, in the order of every matrix's columns. The table of
docs/features.md is generated from it. Not here: how they are computed (`matrix.py`).

Notation. O, H, L, C, V: open, high, low, close and volume of the row's candle, C[k] the close k
candles earlier; T = (H + L + C) / 3; r = log(C / C[1]); sum_n, mean_n, min_n, max_n: over the
last n candles, the row's own included. No formula uses a price level or the traded value.
"""

import hashlib
from dataclasses import dataclass
from math import inf, isnan


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature: what it is, and what a right value of it can be.

    formula: in the notation above, with the value where it would be 0/0. source: where the
    formula comes from. warm_up: candles of the same segment before the first usable row. low,
    high: bounds that hold for every possible candle, inclusive; infinite where there is none.
    """

    name: str
    formula: str
    source: str
    warm_up: int
    low: float = -inf
    high: float = inf

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"a feature name must be an identifier, was {self.name!r}")
        if self.warm_up < 0:
            raise ValueError(f"{self.name}: warm_up must not be below 0, was {self.warm_up}")
        if isnan(self.low) or isnan(self.high) or self.low >= self.high:
            raise ValueError(f"{self.name}: low must be below high, was {self.low}, {self.high}")


_RETURNS = "Campbell, Lo & MacKinlay (1997), ch. 1"
_MOMENTUM = "Moskowitz, Ooi & Pedersen (2012), JFE 104: returns over own volatility"
_REALISED = "Andersen & Bollerslev (1998), IER 39: realised volatility"
_WILDER = "Wilder (1978), New Concepts in Technical Trading Systems; TA-Lib"
_APPEL = "Appel (1979), MACD; EMA of TA-Lib"
_AVERAGES = "distance from a moving average; EMA of TA-Lib"
_BOLLINGER = "Bollinger (2001), Bollinger on Bollinger Bands"
_LANE = "Lane (1984), Stochastics"
_MOMENTS = "sample moments with the bias correction of Joanes & Gill (1998), The Statistician 47"
_VOLUME = "sample z-score"
_CANDLE = "candle shape; Nison (1991), Japanese Candlestick Charting Techniques"
_CALENDAR = "open time of the candle in UTC, as a point on the circle"

# Ranges with a square root are the greatest deviation that n numbers allow: one of them differs
# and the others are equal. They are rounded outwards.
FEATURES: tuple[Feature, ...] = (
    Feature("log_return_1", "log(C / C[1])", _RETURNS, 1),
    Feature("log_return_3", "log(C / C[3])", _RETURNS, 3),
    Feature("log_return_6", "log(C / C[6])", _RETURNS, 6),
    Feature("log_return_12", "log(C / C[12])", _RETURNS, 12),
    Feature("log_return_24", "log(C / C[24])", _RETURNS, 24),
    *(
        Feature(
            f"momentum_{n}",
            f"log(C / C[{n}]) / (volatility_72 * sqrt({n})); 0 when volatility_72 is 0",
            _MOMENTUM,
            72,
            -8.5,  # sqrt(72): the n returns are among the 72 that make the denominator
            8.5,
        )
        for n in (1, 3, 6, 12, 24)
    ),
    Feature("sma_gap_50", "C / mean_50(C) - 1", _AVERAGES, 49, -1, 49),
    Feature("ema_gap_9", "C / EMA9(C) - 1", _AVERAGES, 45, -1, 4),
    Feature("ema_gap_21", "C / EMA21(C) - 1", _AVERAGES, 100, -1, 10),
    Feature("ema_gap_55", "C / EMA55(C) - 1", _AVERAGES, 100, -1, 27),
    Feature("ema_ratio_9_21", "EMA9(C) / EMA21(C) - 1", _AVERAGES, 100, -1, 1.2),
    Feature("rsi_7", "RSI7; 50 when C has not moved for 7 candles", _WILDER, 50, 0, 100),
    Feature("rsi_14", "RSI14; 50 when C has not moved for 14 candles", _WILDER, 100, 0, 100),
    Feature("macd_line", "(EMA12(C) - EMA26(C)) / C", _APPEL, 100),
    Feature("macd_histogram", "(M - EMA9(M)) / C, M = EMA12(C) - EMA26(C)", _APPEL, 100),
    Feature(
        "bollinger_percent_b",
        "1/2 + (C - mean_20(C)) / (4 s), s = population sd of 20 closes; 1/2 when s is 0",
        _BOLLINGER,
        19,
        -0.6,
        1.6,
    ),
    Feature("bollinger_width", "4 s / mean_20(C), s as above", _BOLLINGER, 19, 0, 17.5),
    Feature("natr_14", "ATR14 / C (a ratio, not percent)", _WILDER, 100, 0, inf),
    Feature("adx_14", "ADX14; 0 after 14 candles without true range", _WILDER, 100, 0, 100),
    Feature("plus_di_14", "+DI14; 0 after 14 candles without true range", _WILDER, 100, 0, 100),
    Feature("minus_di_14", "-DI14; 0 after 14 candles without true range", _WILDER, 100, 0, 100),
    Feature(
        "stochastic_k",
        "mean_3 of 100 (C - min_14(L)) / (max_14(H) - min_14(L)), 50 where max and min are equal",
        _LANE,
        15,
        0,
        100,
    ),
    Feature("stochastic_d", "mean_3(stochastic_k)", _LANE, 17, 0, 100),
    Feature(
        "cci_20",
        "(T - mean_20(T)) / (0.015 d), d = mean absolute deviation of 20 T; 0 when d is 0",
        "Lambert (1980), Commodities 10",
        19,
        -667,
        667,
    ),
    Feature(
        "mfi_14",
        "100 p / (p + q), p, q = sum_14 of T V where T rose, where it fell; 50 when p + q = 0",
        "Quong & Soudack (1989), Stocks & Commodities 7",
        14,
        0,
        100,
    ),
    Feature(
        "obv_slope_12",
        "sum_12(sign(C - C[1]) V) / sum_12(V); 0 without volume",
        "Granville (1963), on-balance volume over its greatest possible change",
        12,
        -1,
        1,
    ),
    Feature(
        "vwap_gap_24",
        "C / w - 1, w = sum_24(T V) / sum_24(V); 0 without volume",
        "Berkowitz, Logue & Noser (1988), JoF 43: volume-weighted average price",
        23,
        -1,
        inf,
    ),
    Feature("volatility_12", "sqrt(mean_12(r^2))", _REALISED, 12, 0, inf),
    Feature("volatility_24", "sqrt(mean_24(r^2))", _REALISED, 24, 0, inf),
    Feature("volatility_72", "sqrt(mean_72(r^2))", _REALISED, 72, 0, inf),
    Feature(
        "skewness_24",
        "skewness of 24 r; 0 when their sd is below 1 % of their mean's size",
        _MOMENTS,
        24,
        -4.9,
        4.9,
    ),
    Feature(
        "kurtosis_24",
        "excess kurtosis of 24 r; 0 when their sd is below 1 % of their mean's size",
        _MOMENTS,
        24,
        -2.2,
        24.01,
    ),
    Feature("volume_z_24", "(V - mean_24(V)) / sd_24(V); 0 when sd is 0", _VOLUME, 23, -4.7, 4.7),
    Feature("volume_z_72", "(V - mean_72(V)) / sd_72(V); 0 when sd is 0", _VOLUME, 71, -8.4, 8.4),
    Feature("body_share", "(C - O) / (H - L); 0 when H = L", _CANDLE, 0, -1, 1),
    Feature("upper_shadow_share", "(H - max(O, C)) / (H - L); 0 when H = L", _CANDLE, 0, 0, 1),
    Feature("lower_shadow_share", "(min(O, C) - L) / (H - L); 0 when H = L", _CANDLE, 0, 0, 1),
    Feature("range_share", "(H - L) / C", _CANDLE, 0, 0, inf),
    Feature("hour_sin", "sin(2 pi minute of the day / 1440)", _CALENDAR, 0, -1, 1),
    Feature("hour_cos", "cos(2 pi minute of the day / 1440)", _CALENDAR, 0, -1, 1),
    Feature("weekday_sin", "sin(2 pi weekday / 7), Monday = 0", _CALENDAR, 0, -1, 1),
    Feature("weekday_cos", "cos(2 pi weekday / 7), Monday = 0", _CALENDAR, 0, -1, 1),
)

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

# Candles of a segment before its first valid row. A recursive average (EMA, Wilder) never forgets
# its start entirely; at this many candles the start weighs 19 % in EMA55 and at most 0.5 % in
# every other. More would silence a 60-minute profile for longer after each maintenance break:
# with the 24 steps of a sequence it is five days as it is.
WARM_UP: int = max(feature.warm_up for feature in FEATURES)


def _version() -> str:
    """Changes whenever a name, formula, warm-up or the order does, so stored data cannot mix."""
    rows = "\n".join(f"{f.name}|{f.formula}|{f.warm_up}" for f in FEATURES)
    return f"1-{hashlib.sha256(rows.encode()).hexdigest()[:8]}"


CATALOGUE_VERSION: str = _version()


def markdown_table() -> str:
    """The catalogue as the table of docs/features.md, one line a feature, no trailing newline."""
    lines = ["| # | name | formula | source | warm-up | range |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {i} | `{f.name}` | {f.formula} | {f.source} | {f.warm_up} | {_range(f)} |"
        for i, f in enumerate(FEATURES, start=1)
    ]
    return "\n".join(lines)


def _range(feature: Feature) -> str:
    if feature.low == -inf:
        return "any"
    return f"{feature.low:g} to {feature.high:g}" if feature.high < inf else f"≥ {feature.low:g}"
