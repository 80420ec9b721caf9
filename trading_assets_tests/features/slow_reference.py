"""The catalogue once more, written from its formulas in plain Python, one row at a time.

Slow, without numpy, TA-Lib or shared code: what the fast implementation is compared with. The
candles given are those of one segment up to the row asked for.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise

Numbers = Sequence[float]


def slow_features(
    moment: datetime, *, o: Numbers, h: Numbers, low: Numbers, c: Numbers, v: Numbers
) -> dict[str, float]:
    """The 46 features of the last candle, by name. moment: its open time, UTC."""
    r = [math.log(c[i] / c[i - 1]) for i in range(1, len(c))]
    t = [(h[i] + low[i] + c[i]) / 3 for i in range(len(c))]
    vol = {n: math.sqrt(sum(x * x for x in r[-n:]) / n) for n in (12, 24, 72)}
    ema = {n: _ema(c, n) for n in (9, 12, 21, 26, 55)}
    macd = [a - b for a, b in zip(ema[12][-len(ema[26]) :], ema[26], strict=True)]
    height = h[-1] - low[-1]
    values: dict[str, float] = {}
    for n in (1, 3, 6, 12, 24):
        values[f"log_return_{n}"] = math.log(c[-1] / c[-1 - n])
        values[f"momentum_{n}"] = _over(values[f"log_return_{n}"], vol[72] * math.sqrt(n), 0)
    values["sma_gap_50"] = c[-1] / statistics.fmean(c[-50:]) - 1
    for n in (9, 21, 55):
        values[f"ema_gap_{n}"] = c[-1] / ema[n][-1] - 1
    values["ema_ratio_9_21"] = ema[9][-1] / ema[21][-1] - 1
    values["rsi_7"], values["rsi_14"] = _rsi(c, 7), _rsi(c, 14)
    values["macd_line"] = macd[-1] / c[-1]
    values["macd_histogram"] = (macd[-1] - _ema(macd, 9)[-1]) / c[-1]
    mean, sd = statistics.fmean(c[-20:]), statistics.pstdev(c[-20:])
    values["bollinger_percent_b"] = 0.5 + _over(c[-1] - mean, 4 * sd, 0)
    values["bollinger_width"] = 4 * sd / mean
    values |= _directional(h, low, c)
    k = [_fast_k(h, low, c, i) for i in range(len(c) - 5, len(c))]
    values["stochastic_k"] = statistics.fmean(k[-3:])
    values["stochastic_d"] = statistics.fmean(statistics.fmean(k[i : i + 3]) for i in range(3))
    typical = statistics.fmean(t[-20:])
    deviation = statistics.fmean(abs(x - typical) for x in t[-20:])
    values["cci_20"] = _over(t[-1] - typical, 0.015 * deviation, 0, 1e-12 * typical)
    last_14 = range(len(c) - 14, len(c))
    up = sum(t[i] * v[i] for i in last_14 if t[i] > t[i - 1])
    down = sum(t[i] * v[i] for i in last_14 if t[i] < t[i - 1])
    values["mfi_14"] = _over(100 * up, up + down, 50)
    signed = (math.copysign(v[i], c[i] - c[i - 1]) for i in last_14[2:] if c[i] != c[i - 1])
    values["obv_slope_12"] = _over(sum(signed), sum(v[-12:]), 0)
    value = sum(a * b for a, b in zip(t[-24:], v[-24:], strict=True))
    values["vwap_gap_24"] = c[-1] * sum(v[-24:]) / value - 1 if value else 0.0
    values |= {f"volatility_{n}": x for n, x in vol.items()}
    values["skewness_24"], values["kurtosis_24"] = _higher_moments(r[-24:])
    values["volume_z_24"], values["volume_z_72"] = _z(v[-24:]), _z(v[-72:])
    values["body_share"] = _over(c[-1] - o[-1], height, 0)
    values["upper_shadow_share"] = _over(h[-1] - max(o[-1], c[-1]), height, 0)
    values["lower_shadow_share"] = _over(min(o[-1], c[-1]) - low[-1], height, 0)
    values["range_share"] = height / c[-1]
    of_day = 2 * math.pi * (moment.hour * 60 + moment.minute) / 1440
    of_week = 2 * math.pi * moment.weekday() / 7
    values |= {"hour_sin": math.sin(of_day), "hour_cos": math.cos(of_day)}
    values |= {"weekday_sin": math.sin(of_week), "weekday_cos": math.cos(of_week)}
    return values


def slow_sigma(c: Numbers, span: int) -> float:
    """Exponentially weighted sd of all log returns of `c`, with the bias correction."""
    r = [math.log(c[i] / c[i - 1]) for i in range(1, len(c))]
    weights = [(1 - 2 / (span + 1)) ** age for age in reversed(range(len(r)))]
    total, squares = sum(weights), sum(w * w for w in weights)
    mean = sum(w * x for w, x in zip(weights, r, strict=True)) / total
    variance = sum(w * (x - mean) ** 2 for w, x in zip(weights, r, strict=True)) / total
    return math.sqrt(variance * total * total / (total * total - squares))


def _over(numerator: float, denominator: float, otherwise: float, least: float = 0) -> float:
    return numerator / denominator if denominator > least else otherwise


def _ema(x: Numbers, n: int) -> list[float]:
    """From the n-th value on; starts with the mean of the first n."""
    return _recursive(x, n, lambda before, now: before + (now - before) * 2 / (n + 1))


def _wilder(x: Numbers, n: int) -> list[float]:
    return _recursive(x, n, lambda before, now: (before * (n - 1) + now) / n)


def _recursive(x: Numbers, n: int, step: Callable[[float, float], float]) -> list[float]:
    out = [statistics.fmean(x[:n])]
    for value in x[n:]:
        out.append(step(out[-1], value))
    return out


def _rsi(c: Numbers, n: int) -> float:
    changes = [b - a for a, b in pairwise(c)]
    if not any(changes[-n:]):
        return 50.0
    gain = _wilder([max(x, 0.0) for x in changes], n)[-1]
    loss = _wilder([max(-x, 0.0) for x in changes], n)[-1]
    return 100 * gain / (gain + loss)


def _directional(h: Numbers, low: Numbers, c: Numbers) -> dict[str, float]:
    """Wilder's ATR, ADX and DI of 14, with TA-Lib's starts (13 values in the first sums)."""
    n = 14
    ranges, plus, minus = [], [], []
    for i in range(1, len(c)):
        ranges.append(max(h[i], c[i - 1]) - min(low[i], c[i - 1]))
        rise, fall = h[i] - h[i - 1], low[i - 1] - low[i]
        plus.append(rise if rise > fall and rise > 0 else 0.0)
        minus.append(fall if fall > rise and fall > 0 else 0.0)
    atr = _wilder(ranges, n)[-1] / c[-1]
    if not any(ranges[-n:]):
        return {"natr_14": atr, "adx_14": 0.0, "plus_di_14": 0.0, "minus_di_14": 0.0}
    sums = [_wilder_sums(x, n) for x in (ranges, plus, minus)]
    di = [(100 * p / s, 100 * m / s) if s else (0.0, 0.0) for s, p, m in zip(*sums, strict=True)]
    dx = [100 * abs(p - m) / (p + m) if p + m else math.nan for p, m in di]
    adx = _recursive_without_nan(dx, n)
    return {"natr_14": atr, "adx_14": adx, "plus_di_14": di[-1][0], "minus_di_14": di[-1][1]}


def _wilder_sums(x: Numbers, n: int) -> list[float]:
    total = sum(x[: n - 1])
    out = []
    for value in x[n - 1 :]:
        total = total - total / n + value
        out.append(total)
    return out


def _recursive_without_nan(dx: Numbers, n: int) -> float:
    """Where no direction is defined the average stays as it is."""
    average = statistics.fmean(0.0 if math.isnan(x) else x for x in dx[:n])
    for x in dx[n:]:
        if not math.isnan(x):
            average = (average * (n - 1) + x) / n
    return average


def _fast_k(h: Numbers, low: Numbers, c: Numbers, i: int) -> float:
    highest, lowest = max(h[i - 13 : i + 1]), min(low[i - 13 : i + 1])
    return _over(100 * (c[i] - lowest), highest - lowest, 50)


def _higher_moments(r: Numbers) -> tuple[float, float]:
    n = len(r)
    mean = statistics.fmean(r)
    m2, m3, m4 = (sum((x - mean) ** k for x in r) / n for k in (2, 3, 4))
    if m2 <= 1e-4 * mean * mean:
        return 0.0, 0.0
    skewness = m3 / m2**1.5 * math.sqrt(n * (n - 1)) / (n - 2)
    kurtosis = ((n + 1) * (m4 / m2**2 - 3) + 6) * (n - 1) / ((n - 2) * (n - 3))
    return skewness, kurtosis


def _z(v: Numbers) -> float:
    return _over(v[-1] - statistics.fmean(v), statistics.stdev(v), 0)
