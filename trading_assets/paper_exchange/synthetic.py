"""The synthetic market of the sandbox: prices as a function of seed, parameters, market and time.

Base candles of 5 minutes from a fixed epoch, made in blocks of 32 days whose random numbers come
from a counter-based generator keyed by (seed, market, block); what one block hands to the next are
the states of linear recursions, so every process computes the same history, whatever it was asked
first and whenever it was started. Finer prices are bridges inside the candles (`inside.py`).
Whoever changes what the same parameters give counts up `world.SYNTHETIC_GENERATION`.

The model, per step of 5 minutes:

    b   = 1 while the market stands at the place that is being bought, else 0
    r   = sigma z + edge k sqrt(base sigma) (b - 1/4)       z has variance 1
    sigma = base x season x exp(h - var h)
    h   = slow and fast autoregressions, in part common to all markets (clustered volatility)
    x   = rho x + r                                         log price around the market's level

z is the common factor, the market's own noise and rare jumps. The only predictability is the
*rotation*: money buys one of four places at a time and moves to another with probability 1/5 a
step. The market there rises, the others fall a little (over the four it adds up to nothing), and
its volume is several times its usual: what a model can see of it. The drift grows with the root of
the volatility, so that calm hours are not much easier to trade than wild ones. (The pull of `rho`
to the level, a half-life of 200 days, keeps prices at realistic levels for years; at 12 hours it
explains about a thousandth of a return's variance, no scale-free feature sees it.)
"""

import threading
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from trading_assets.exchange.model import Interval
from trading_assets.paper_exchange.grid import (
    FloatArray,
    round_to_tick,
    seed_key,
    tick_sizes,
)
from trading_assets.paper_exchange.markets import DAY_MS, MINUTE_MS, Candles, Markets, to_ms

# Fixed for ever: moving it would rewrite every sandbox's history. On 2026-11-23 it lies
# 936 days (2.56 years) back.
EPOCH = datetime(2024, 5, 1, tzinfo=UTC)

STEP_MINUTES = 5
_STEP_MS = STEP_MINUTES * MINUTE_MS
_EPOCH_MS = to_ms(EPOCH)
_BLOCK_DAYS = 32
_BLOCK_STEPS = _BLOCK_DAYS * 1440 // STEP_MINUTES
_STEPS_A_DAY = 1440 // STEP_MINUTES

# 30-minute standard deviation of about 60 bp over six steps (the rotation makes it 66).
_SIGMA = 0.0059 / np.sqrt(6)
_FACTOR_SHARE = 0.68  # of the variance of z
_JUMPS_A_DAY = 0.6
_COMMON_JUMPS_A_DAY = 0.15
_JUMP_SIZE = 6.0  # standard deviation, in steps' standard deviations
_PULL_HALF_LIFE_DAYS = 200


def _decay(half_life_steps: float) -> float:
    return float(0.5 ** (1.0 / half_life_steps))


# The rotation: one of _PLACES is being bought, and each step it may be another's turn.
_PLACES = 4
_MOVES = 1 / 5  # chance of a move a step: a market is bought for 25 minutes on average
_STAYS = 1 - _MOVES * _PLACES / (_PLACES - 1)  # decay of what is known of the place, a step
_DRIFT = 0.69  # of a bought market, in sqrt(base sigma)
_BOUGHT_LOG_VOLUME = 2.0
_MEAN_LOG_VOLUME = 1.1  # log of the mean of all that makes the volume, so that it has its level

# Log-volatility: (half-life in steps, standard deviation, whether all markets share it).
_VOLATILITIES = ((432.0, 0.24, True), (288.0, 0.19, False), (12.0, 0.17, False))
_LOG_VOLATILITY_VARIANCE = sum(sd**2 for _, sd, _ in _VOLATILITIES)


@dataclass(frozen=True, slots=True)
class SyntheticParameters:
    """What may be chosen about the synthetic market.

    edge: strength of the planted predictability, 1 the default, 0 none. volatility: 1 is a
    30-minute standard deviation of about 66 bp.
    """

    seed: int = 7
    edge: Decimal = Decimal(1)
    volatility: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if not 0 <= self.edge <= 1:
            raise ValueError(f"edge must be between 0 and 1, was {self.edge}")
        if not 0 < self.volatility <= 100:
            raise ValueError(f"volatility must be above 0 and at most 100, was {self.volatility}")


@dataclass(frozen=True, slots=True)
class MarketCharacter:
    """A market's level (KRW), 5-minute volume (coins), trades, spread and chance of no trade."""

    level: float
    volume: float
    trades: int
    empty_share: float


_CHARACTERS = {
    "KRW-BTC": MarketCharacter(80_000_000.0, 6.0, 80, 0.0),
    "KRW-ETH": MarketCharacter(3_000_000.0, 120.0, 70, 0.0),
    "KRW-XRP": MarketCharacter(2_000.0, 200_000.0, 60, 0.0005),
    "KRW-SOL": MarketCharacter(160_000.0, 900.0, 30, 0.003),
}


def character(seed: int, market: str) -> MarketCharacter:
    """Known for the four default markets, seeded for any other."""
    if market in _CHARACTERS:
        return _CHARACTERS[market]
    rng = np.random.Generator(np.random.Philox(key=seed_key(seed, market, "character")))
    level = float(np.exp(rng.uniform(np.log(1_500), np.log(600_000))))
    traded_krw = float(np.exp(rng.uniform(np.log(20e6), np.log(300e6))))
    return MarketCharacter(
        level, traded_krw / level, int(rng.integers(10, 30)), float(rng.uniform(0.002, 0.015))
    )


@dataclass(frozen=True, slots=True)
class Oracle:
    """What one who knows the generator expects of the log return over a horizon.

    open_times of the caller's order: expected: the conditional mean, sigma: the conditional
    standard deviation were the volatility to stay as it is. Shape (n,), dimensionless.
    """

    expected: FloatArray
    sigma: FloatArray

    @property
    def score(self) -> FloatArray:
        """Expected return in standard deviations: ranks directions."""
        return self.expected / self.sigma


@dataclass(slots=True)
class _State:
    """What one block hands to the next: the place that is bought, the states of the filters."""

    place: int
    volatility: list[FloatArray]
    price: FloatArray
    volume: FloatArray
    last_log_price: float = 0.0


@dataclass(frozen=True, slots=True)
class _Path:
    """One block without its candles, per step (n,): what the recursions give.

    before, after: log price over the market's level. bought: 1 in a step in which the market is
    bought, else 0.
    """

    before: FloatArray
    after: FloatArray
    sigma: FloatArray
    h: FloatArray
    z: FloatArray
    bought: FloatArray
    log_volume: FloatArray


class SyntheticMarkets(Markets):
    """The synthetic markets; usable in-process and behind the paper exchange."""

    def __init__(self, parameters: SyntheticParameters, markets: Sequence[str]) -> None:
        super().__init__(
            markets,
            Interval.M5,
            (parameters.seed, str(parameters.edge), str(parameters.volatility)),
            first_ms=_EPOCH_MS,
            block_ms=_BLOCK_DAYS * DAY_MS,
        )
        self.parameters = parameters
        self._edge = float(parameters.edge)
        self._sigma = _SIGMA * float(parameters.volatility)
        self._characters = {m: character(parameters.seed, m) for m in markets}
        self._places = {m: _place(parameters.seed, m) for m in markets}
        # The state before each block, as far as it has been needed; a block is made from its own.
        self._states = {m: [_fresh_state(parameters.seed)] for m in markets}
        self._lock = threading.Lock()
        # About 0.8 MB each; 4 markets have 30 each by the end of 2026, 200 need their newest.
        self._blocks = lru_cache(maxsize=512)(self._make_block)

    def block(self, market: str, number: int) -> Candles:
        return self._blocks(market, number)[0]

    def typical_trades(self, market: str) -> int:
        return self._characters[market].trades

    def oracle(self, market: str, times: NDArray[np.datetime64], horizon: timedelta) -> Oracle:
        """The generator's own expectation at `times` of the log return over `horizon`.

        times: shape (n,), naive datetime64 meaning UTC, ends of steps of 5 minutes (the close of a
        candle), after EPOCH. Only what has happened by then is used: it is the best any model
        could know of the direction. Raises ValueError for times off the grid.
        """
        times_ms = times.astype("datetime64[ms]").astype(np.int64)
        rows, rest = np.divmod(times_ms - _EPOCH_MS, _STEP_MS)
        if len(rows) == 0:
            return Oracle(np.empty(0), np.empty(0))
        if rest.any() or rows.min() < 1:
            raise ValueError("oracle times must be ends of 5-minute candles after the epoch")
        bought, sigma = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
        blocks, places = np.divmod(rows - 1, _BLOCK_STEPS)
        for number in np.unique(blocks).tolist():
            here = blocks == number
            path = self._blocks(market, number)[1]
            bought[here] = path.bought[places[here]]
            sigma[here] = path.sigma[places[here]]
        steps = round(horizon / timedelta(minutes=STEP_MINUTES))
        mean, variance = (known[bought] for known in _drift_to_come(steps))
        drift = self._drift(sigma)
        return Oracle(drift * mean, np.sqrt(steps * sigma**2 + drift**2 * variance))

    def _drift(self, sigma: FloatArray) -> FloatArray:
        """Log return of a step that a market gains by being bought, at a volatility of `sigma`."""
        return np.asarray(self._edge * _DRIFT * np.sqrt(self._sigma * sigma))

    # --- generation ---------------------------------------------------------------------------

    def _make_block(self, market: str, number: int) -> tuple[Candles, _Path]:
        state = self._state_before(market, number)
        path = self._path(market, number, state)
        return self._candles(market, number, path), path

    def _state_before(self, market: str, number: int) -> _State:
        """A copy of the state before block `number`, after making all earlier ones once."""
        with self._lock:
            states = self._states[market]
            while len(states) <= number:
                state = deepcopy(states[-1])
                self._path(market, len(states) - 1, state)
                states.append(state)
            return deepcopy(states[number])

    def _path(self, market: str, number: int, state: _State) -> _Path:
        """The recursions over one block; `state` is moved to its end."""
        common = _generator(self.parameters.seed, "common", number)
        own = _generator(self.parameters.seed, market, number)
        z = _innovations(common, own)
        h = _log_volatility(common, own, state)
        sigma = self._sigma * _season() * np.exp(h - _LOG_VOLATILITY_VARIANCE)
        rotation = _generator(self.parameters.seed, "rotation", number)
        bought = (_bought_places(rotation, state) == self._places[market]).astype(np.float64)
        after = _log_price(sigma * z + self._drift(sigma) * (bought - 1 / _PLACES), state)
        before = np.concatenate(([state.last_log_price], after[:-1]))
        state.last_log_price = float(after[-1])
        return _Path(before, after, sigma, h, z, bought, _slow_volume(own, state))

    def _candles(self, market: str, number: int, path: _Path) -> Candles:
        rng = _generator(self.parameters.seed, f"{market} candles", number)
        traits = self._characters[market]
        n = _BLOCK_STEPS
        open_ms = _EPOCH_MS + (number * n + np.arange(n, dtype=np.int64)) * _STEP_MS
        high, low = _extremes(path.before, path.after, path.sigma, rng)
        o = round_to_tick(traits.level * np.exp(path.before))
        # The first trade of a candle often meets the other side of the book.
        o += rng.choice((-1.0, 0.0, 1.0), size=n, p=(0.2, 0.6, 0.2)) * tick_sizes(o)
        o = round_to_tick(o)
        c = round_to_tick(traits.level * np.exp(path.after))
        hi = np.maximum(round_to_tick(traits.level * np.exp(high)), np.maximum(o, c))
        lo = np.minimum(round_to_tick(traits.level * np.exp(low)), np.minimum(o, c))
        volume = _volume(traits.volume, path, rng)
        value = volume * (o + hi + lo + c) / 4
        last = self._last_trade_ms(market, open_ms)
        traded = rng.random(n) >= traits.empty_share
        return Candles(open_ms, o, hi, lo, c, volume, value, last).where(traded)


def _fresh_state(seed: int) -> _State:
    return _State(
        place=seed_key(seed, "first place") % _PLACES,
        volatility=[np.zeros(1) for _ in _VOLATILITIES],
        price=np.zeros(1),
        volume=np.zeros(1),
    )


def _place(seed: int, market: str) -> int:
    """Where a market stands: the four default markets apart, any other where its name puts it."""
    if market in _CHARACTERS:
        return list(_CHARACTERS).index(market) % _PLACES
    return seed_key(seed, market, "place") % _PLACES


def _generator(seed: int, name: str, block: int) -> np.random.Generator:
    key = [seed_key(seed, name, "low"), seed_key(seed, name, "high")]
    # The block is the highest word of the counter: blocks never share random numbers.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, block]))


def _jumps(rng: np.random.Generator, a_day: float) -> FloatArray:
    happens = rng.random(_BLOCK_STEPS) < a_day / _STEPS_A_DAY
    return np.where(happens, _JUMP_SIZE * rng.standard_normal(_BLOCK_STEPS), 0.0)


def _innovations(common: np.random.Generator, own: np.random.Generator) -> FloatArray:
    """z: the common factor, own noise and jumps, together of variance 1."""
    factor = common.standard_normal(_BLOCK_STEPS)
    jumps = _jumps(common, _COMMON_JUMPS_A_DAY) + _jumps(own, _JUMPS_A_DAY)
    noise = own.standard_normal(_BLOCK_STEPS)
    z = np.sqrt(_FACTOR_SHARE) * factor + np.sqrt(1 - _FACTOR_SHARE) * noise + jumps
    jump_variance = (_COMMON_JUMPS_A_DAY + _JUMPS_A_DAY) / _STEPS_A_DAY * _JUMP_SIZE**2
    return np.asarray(z / np.sqrt(1 + jump_variance))


def _filtered(b: Any, a: Any, x: FloatArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
    y, end = lfilter(b, a, x, zi=state)
    return np.asarray(y), np.asarray(end)


def _log_volatility(
    common: np.random.Generator, own: np.random.Generator, state: _State
) -> FloatArray:
    h = np.zeros(_BLOCK_STEPS)
    for i, (half_life, deviation, shared) in enumerate(_VOLATILITIES):
        decay = _decay(half_life)
        shock = (common if shared else own).standard_normal(_BLOCK_STEPS)
        gain = deviation * np.sqrt(1 - decay**2)
        part, state.volatility[i] = _filtered([gain], [1.0, -decay], shock, state.volatility[i])
        h += part
    return h


def _season() -> FloatArray:
    """Volatility by the hour of the day: 15 % more around 14:00 UTC, mean square 1."""
    hour = np.arange(_BLOCK_STEPS) * STEP_MINUTES / 60
    return np.asarray((1 + 0.15 * np.cos(2 * np.pi * (hour - 14) / 24)) / np.sqrt(1.01125))


def _bought_places(rng: np.random.Generator, state: _State) -> NDArray[np.int64]:
    """The place that is bought in each step: it stays, or moves to one of the others."""
    moves = rng.random(_BLOCK_STEPS) < _MOVES
    by = rng.integers(1, _PLACES, _BLOCK_STEPS)
    places = (state.place + np.cumsum(np.where(moves, by, 0))) % _PLACES
    state.place = int(places[-1])
    return places


def _drift_to_come(steps: int) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of the sum of b - 1/4 over the next `steps`, each for b = 0 and 1 now."""
    share = 1 / _PLACES
    far = np.array([-share, 1 - share])
    fading = _STAYS ** np.arange(1, steps + 1)
    there = share + far[:, None] * fading  # (2, steps): the chance to be bought then
    squares = there * (1 - share) ** 2 + (1 - there) * share**2
    # Of two steps, the later one's mean given the earlier one is that one's own, faded.
    after = np.array([fading[: steps - k].sum() for k in range(1, steps + 1)])
    mean = far * fading.sum()
    return mean, (squares * (1 + 2 * after)).sum(axis=1) - mean**2


def _log_price(returns: FloatArray, state: _State) -> FloatArray:
    pull = _decay(_PULL_HALF_LIFE_DAYS * _STEPS_A_DAY)
    price, state.price = _filtered([1.0], [1.0, -pull], returns, state.price)
    return price


def _extremes(
    before: FloatArray, after: FloatArray, sigma: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Highest and lowest log price of a Brownian bridge (each exact, drawn independently).

    Source: Karatzas & Shreve (1991), section 4.3.C: the maximum of a bridge.
    """
    square = (after - before) ** 2
    spread = 2 * (0.8 * sigma) ** 2  # trades meet only a part of the path
    middle = before + after
    high = (middle + np.sqrt(square - spread * np.log1p(-rng.random(len(after))))) / 2
    low = (middle - np.sqrt(square - spread * np.log1p(-rng.random(len(after))))) / 2
    return high, low


def _slow_volume(rng: np.random.Generator, state: _State) -> FloatArray:
    """The persistent part of log volume: standard deviation 0.15, half-life two hours."""
    decay = _decay(24)
    shock = rng.standard_normal(_BLOCK_STEPS) * 0.15 * np.sqrt(1 - decay**2)
    slow, state.volume = _filtered([1.0], [1.0, -decay], shock, state.volume)
    return slow


def _volume(typical: float, path: _Path, rng: np.random.Generator) -> FloatArray:
    """Coins traded: lognormal, several times as many while bought, more when prices move."""
    noise = path.log_volume + 0.25 * rng.standard_normal(_BLOCK_STEPS)
    moved = 0.5 * path.h + 0.1 * np.minimum(np.abs(path.z), 5.0)
    log_volume = noise + moved + _BOUGHT_LOG_VOLUME * path.bought
    return np.asarray(np.round(typical * np.exp(log_volume - _MEAN_LOG_VOLUME), 8))
