"""Every knob, typed and validated, from the environment and `.env`.

A wrong value is refused at start with its name, the value and the rule. Secrets are `SecretStr`
and are never printed. What a setting is used for is said beside it; nothing else reads the
environment.
"""

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableValue

from trading_assets.errors import SettingsError
from trading_assets.setting_names import mistyped, most_like, written_in

UPBIT_URL = "https://api.upbit.com"
LEAST_LOST_ORDER_SECONDS = 60
# The intervals of `exchange.model.Interval` below a day.
CANDLE_MINUTES = (1, 3, 5, 10, 15, 30, 60, 240)
# The flags that Upbit raises on a market. One that it adds may be named before it is here.
CAUTIONS = (
    "PRICE_FLUCTUATIONS",
    "TRADING_VOLUME_SOARING",
    "DEPOSIT_AMOUNT_SOARING",
    "GLOBAL_PRICE_DIFFERENCES",
    "CONCENTRATION_OF_SMALL_ACCOUNTS",
)
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class TradingMode(StrEnum):
    """Whose prices, whose money: see docs/architecture.md."""

    SANDBOX = "sandbox"
    PAPER = "paper"
    LIVE = "live"


class ProfileName(StrEnum):
    SCALP = "scalp"
    SWING = "swing"


class TradedProfile(StrEnum):
    """Whose signals count: those of the profile that the evaluation chose, or of a pinned one."""

    AUTO = "auto"
    SCALP = ProfileName.SCALP.value
    SWING = ProfileName.SWING.value


class Recipe(StrEnum):
    """How a model is made."""

    LIGHTGBM = "lightgbm"
    LOGISTIC = "logistic"
    ENSEMBLE = "ensemble"


class SequenceView(StrEnum):
    """What a model is given of the 24 x 46 sequence."""

    SUMMARY = "summary"
    LAST = "last"
    FLAT = "flat"


class FeatureGroup(StrEnum):
    """Features of one kind; which ones is said in features/groups.py."""

    RETURNS = "returns"
    MOMENTUM = "momentum"
    AVERAGES = "averages"
    OSCILLATORS = "oscillators"
    TREND = "trend"
    VOLATILITY = "volatility"
    MOMENTS = "moments"
    VOLUME = "volume"
    SHAPE = "shape"
    CALENDAR = "calendar"


def _market(code: str) -> str:
    if re.fullmatch(r"KRW-[A-Z0-9]{1,15}", code) is None:
        raise ValueError("a market is KRW- and a coin in capitals, like KRW-BTC")
    return code


def _caution(name: str) -> str:
    close = None if name in CAUTIONS else most_like(name, CAUTIONS)
    if close is not None or re.fullmatch(r"[A-Z][A-Z_]*", name) is None:
        raise ValueError(f"Upbit's flags are {', '.join(CAUTIONS)}")
    return name


def _database(url: SecretStr) -> SecretStr:
    """Processes start in different folders: a path that is not absolute would be several files."""
    if re.match(r"(sqlite:////.|postgresql(\+psycopg2)?://.)", url.get_secret_value()) is None:
        raise ValueError("it must be sqlite:////<absolute path> or postgresql://...")
    return url


def _place(url: str) -> str:
    from upath import UPath  # only where it is set

    UPath(url)  # raises ValueError for a protocol that it does not know
    return url


def _comma_separated(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",")) if value.strip() else ()


# The bounds of a size, a time or a count are far from any sense; beyond them arithmetic ends.
Ratio = Annotated[Decimal, Field(gt=0, lt=1)]
Krw = Annotated[Decimal, Field(gt=0, le=10**15)]
Hours = Annotated[Decimal, Field(gt=0, le=8760)]
Days = Annotated[int, Field(gt=0, le=36500)]
Minutes = Annotated[int, Field(gt=0, le=525_600)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Count = Annotated[int, Field(ge=1, le=10**6)]
Factor = Annotated[Decimal, Field(ge=0, le=1000)]
Share = Annotated[Decimal, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
MarketCode = Annotated[str, AfterValidator(_market)]


class _Group(BaseModel):
    """Settings of one kind. What its rules say of its fields is told by their whole names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _served(minutes: int) -> int:
    if minutes not in CANDLE_MINUTES:
        raise ValueError(
            "Upbit has candles of " + ", ".join(str(m) for m in CANDLE_MINUTES) + " minutes"
        )
    return minutes


CandleMinutes = Annotated[int, AfterValidator(_served)]
# Every so many days or calendar months: backtest/cadence.py.
CadenceText = Annotated[str, Field(pattern=r"^[1-9]\d{0,3}(d|mo)$")]


class _ProfileGroup(_Group):
    """What both profiles have: how large their models are and what those never see."""

    num_leaves: Annotated[int, Field(ge=2, le=63)] = 5
    without_features: Annotated[
        tuple[FeatureGroup, ...], NoDecode, BeforeValidator(_comma_separated)
    ] = ()

    @model_validator(mode="after")
    def _something_is_left_to_see(self) -> Self:
        if len(set(self.without_features)) >= len(FeatureGroup):
            raise ValueError("without_features must leave a model at least one group of features")
        return self


def _check_windows(
    group: "ScalpSettings | SwingSettings",
) -> None:
    """A position lasts whole candles, and the windows of training fit into each other."""
    if group.timeout_minutes % group.interval_minutes:
        raise ValueError(
            f"timeout_minutes={group.timeout_minutes} must be a whole number of candles of "
            f"interval_minutes={group.interval_minutes}"
        )
    if group.history_days is None:
        return
    if group.calibration_days + group.gate_days >= group.history_days:
        raise ValueError(
            f"calibration_days={group.calibration_days} and gate_days={group.gate_days} must leave "
            f"something of history_days={group.history_days} to train on"
        )
    for name in ("min_history_days", "first_fit_days"):
        if getattr(group, name) > group.history_days:
            raise ValueError(
                f"{name}={getattr(group, name)} must not be above history_days="
                f"{group.history_days}: no model would ever be made"
            )


class ScalpSettings(_ProfileGroup):
    """Profile `scalp`: the user's rules."""

    interval_minutes: CandleMinutes = 5
    stop_loss: Ratio = Decimal("0.02")
    take_profit: Ratio = Decimal("0.02")
    timeout_minutes: Minutes = 30
    min_confidence: Share = Decimal("0.5")
    min_ev_costs: Factor = Decimal(0)
    history_days: Days = 120
    min_history_days: Days = 60
    calibration_days: Days = 15
    gate_days: Days = 14
    # The walk-forward: the first model after so many days, then one each so often.
    first_fit_days: Days = 60
    refit_every: CadenceText = "10d"
    recalibrate_every: CadenceText = "5d"

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        _check_windows(self)
        return self


class SwingSettings(_ProfileGroup):
    """Profile `swing`: what the measurements support."""

    interval_minutes: CandleMinutes = 60
    barrier_k: Annotated[Decimal, Field(gt=0, le=1000)] = Decimal(1)
    barrier_floor_costs: Annotated[Decimal, Field(gt=0, le=1000)] = Decimal(2)
    timeout_minutes: Minutes = 720
    min_confidence: Share = Decimal(0)
    min_ev_costs: Factor = Decimal(1)
    history_days: Days | None = None
    min_history_days: Days = 400
    calibration_days: Days = 180
    gate_days: Days = 30
    first_fit_days: Days = 300
    refit_every: CadenceText = "3mo"
    recalibrate_every: CadenceText = "1mo"

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        _check_windows(self)
        return self


class SmallAccount(StrEnum):
    """What to do when a size step is below the smallest order."""

    SKIP = "skip"
    RAISE_TO_MINIMUM = "raise_to_minimum"


class TradingSettings(_Group):
    """Entries, sizes, limits, leases and waits: docs/trading_rules.md."""

    # What the bot works with. Default: the account's KRW at the first start.
    capital_krw: Krw | None = None
    # Size of an entry by p_buy, shares of equity.
    size_from_80: Ratio = Decimal("0.15")
    size_from_70: Ratio = Decimal("0.10")
    size_from_60: Ratio = Decimal("0.07")
    size_below_60: Ratio = Decimal("0.05")
    small_account: SmallAccount = SmallAccount.SKIP
    minimum_buffer: Share = Decimal("0.05")
    # Limits. Exits are looked at for seven days back, so no rest or streak may be longer.
    max_exposure: Share = Decimal("0.5")
    max_positions: Count = 5
    rest_minutes: Annotated[Decimal, Field(ge=0, le=10080)] = Decimal(15)
    rest_after_stop_minutes: Annotated[Decimal, Field(ge=0, le=10080)] = Decimal(60)
    max_stops: Count = 4
    stop_window_hours: Annotated[Decimal, Field(gt=0, le=120)] = Decimal(24)
    stop_pause_hours: Annotated[Decimal, Field(ge=0, le=48)] = Decimal(2)
    max_day_loss: Ratio = Decimal("0.03")
    max_peak_loss: Ratio = Decimal("0.07")
    # Entries.
    max_price_age_seconds: Annotated[Decimal, Field(ge=Decimal("0.1"), le=60)] = Decimal(5)
    max_entry_slippage: Annotated[Decimal, Field(ge=0, le=Decimal("0.05"))] = Decimal("0.002")
    blocking_cautions: Annotated[
        tuple[Annotated[str, AfterValidator(_caution)], ...],
        NoDecode,
        BeforeValidator(_comma_separated),
    ] = (
        "PRICE_FLUCTUATIONS",
        "GLOBAL_PRICE_DIFFERENCES",
        "CONCENTRATION_OF_SMALL_ACCOUNTS",
    )
    # Orders. The prefix marks the orders that are ours; never change it with orders open.
    order_prefix: Annotated[str, Field(pattern=r"^[a-z0-9]{1,12}$")] = "ta"
    order_poll_seconds: Annotated[Decimal, Field(ge=Decimal("0.01"), le=60)] = Decimal("0.5")
    order_poll_most_seconds: Annotated[Decimal, Field(ge=Decimal("0.01"), le=60)] = Decimal(5)
    lost_order_seconds: Annotated[Decimal, Field(gt=0, le=3600)] = Decimal(60)
    # The guard.
    lease_seconds: Annotated[Decimal, Field(gt=0, le=60)] = Decimal(8)
    heartbeat_seconds: Annotated[Decimal, Field(ge=Decimal("0.001"), le=60)] = Decimal(2)
    price_confirm_seconds: Annotated[Decimal, Field(ge=Decimal("0.1"), le=60)] = Decimal(3)
    max_clock_skew_seconds: Annotated[Decimal, Field(gt=0, le=3600)] = Decimal(2)
    reconcile_seconds: Annotated[Decimal, Field(gt=0, le=3600)] = Decimal(60)

    @model_validator(mode="after")
    def _rules_between_settings(self) -> Self:
        names = ("size_from_80", "size_from_70", "size_from_60", "size_below_60")
        for higher, lower in itertools.pairwise(names):
            if getattr(self, higher) < getattr(self, lower):
                raise ValueError(
                    f"{higher}={getattr(self, higher)} must not be below "
                    f"{lower}={getattr(self, lower)}"
                )
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError(
                f"heartbeat_seconds={self.heartbeat_seconds} must be at most half of "
                f"lease_seconds={self.lease_seconds}: one late heartbeat must not lose the lease"
            )
        if self.order_poll_seconds > self.order_poll_most_seconds:
            raise ValueError(
                f"order_poll_seconds={self.order_poll_seconds} must not be above "
                f"order_poll_most_seconds={self.order_poll_most_seconds}"
            )
        if self.price_confirm_seconds >= self.max_price_age_seconds:
            raise ValueError(
                f"price_confirm_seconds={self.price_confirm_seconds} must be below "
                f"max_price_age_seconds={self.max_price_age_seconds}: the price of a calm market "
                "would be too old to judge a stop by"
            )
        return self


class SyntheticSettings(_Group):
    """The synthetic market of the sandbox; each change of these is another world."""

    seed: Seed = 7
    edge: Annotated[Decimal, Field(ge=0, le=1)] = Decimal(1)
    volatility: Annotated[Decimal, Field(gt=0, le=100)] = Decimal(1)


class Settings(BaseSettings):
    """The effective settings of this process. Build with `load_settings`."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__", env_ignore_empty=True, extra="ignore", frozen=True
    )

    # Where things are. Relative folders are taken from `home`.
    home: Path = Field(default=Path(), validation_alias="TRADING_ASSETS_HOME")
    data_dir: Path = Path("data")
    mlruns_dir: Path = Path("mlruns")
    # Default: SQLite in the world's folder.
    database_url: Annotated[SecretStr, AfterValidator(_database)] | None = None
    # Features, sequences and labels; default: the world's folder.
    assets_url: Annotated[str, AfterValidator(_place)] | None = None

    # What is traded, and how.
    trading_mode: TradingMode = TradingMode.SANDBOX
    profile: TradedProfile = TradedProfile.AUTO
    profiles: Annotated[tuple[ProfileName, ...], NoDecode, BeforeValidator(_comma_separated)] = (
        ProfileName.SCALP,
        ProfileName.SWING,
    )
    markets: Annotated[tuple[MarketCode, ...], NoDecode, BeforeValidator(_comma_separated)] = (
        "KRW-BTC",
        "KRW-ETH",
        "KRW-XRP",
        "KRW-SOL",
    )
    scalp: ScalpSettings = ScalpSettings()
    swing: SwingSettings = SwingSettings()
    fee_rate: Annotated[Decimal, Field(ge=0, le=Decimal("0.05"))] = Decimal("0.0005")
    min_slippage_rate: Annotated[Decimal, Field(ge=0, le=Decimal("0.05"))] = Decimal("0.0003")

    # Models.
    recipe: Recipe = Recipe.LIGHTGBM
    sequence_view: SequenceView = SequenceView.SUMMARY
    seeds: Annotated[int, Field(ge=1, le=50)] = 5
    base_seed: Annotated[int, Field(ge=0, lt=10**9)] = 20260101
    retrain_after_hours: Hours = Decimal(24)
    entries_stop_after_hours: Hours = Decimal(48)
    evaluate_after_hours: Hours = Decimal(24)
    # An evaluation older than this proves no edge any more (PROFILE=auto).
    evaluation_valid_days: Annotated[Decimal, Field(gt=0, le=36500)] = Decimal(7)

    # The exchange.
    exchange_url: str | None = None  # default: the paper exchange, in `live` Upbit
    # Whose public prices the paper exchange passes on in `paper`; default Upbit's.
    upstream_url: str | None = None
    candle_requests_per_second: Annotated[Decimal, Field(ge=Decimal("0.1"), le=10)] | None = None
    request_timeout_seconds: Annotated[Decimal, Field(ge=Decimal("0.1"), le=60)] = Decimal(5)
    upbit_access_key: SecretStr | None = None
    upbit_secret_key: SecretStr | None = None
    enable_live_orders: str | None = None

    # The sandbox's prices: synthetic, or one recording.
    synthetic: SyntheticSettings = SyntheticSettings()
    recorded: Path | None = None  # a folder of <market>-<interval>.parquet
    recorded_interval_minutes: int = 60
    recorded_live_days: Annotated[int, Field(ge=0, le=36500)] | None = (
        None  # default 7 (60m), 3 (1m)
    )
    # The paper exchange's account at its first start, in sandbox and paper mode.
    paper_starting_krw: Krw = Decimal(10_000_000)

    # Signals.
    closing_candle_delay_seconds: Annotated[Decimal, Field(ge=0, le=60)] = Decimal(5)
    closing_candle_wait_seconds: Annotated[Decimal, Field(ge=0, le=120)] = Decimal(20)

    # Trading: entries, sizes, limits, leases.
    trading: TradingSettings = TradingSettings()

    # Servers, all on 127.0.0.1.
    dagster_port: Port = 3000
    mlflow_port: Port = 5000
    paper_exchange_port: Port = 8700

    @model_validator(mode="after")
    def _rules_between_settings(self) -> Self:
        if not self.markets:
            raise ValueError("MARKETS must name at least one market")
        if not self.profiles:
            raise ValueError("PROFILES must name at least one profile")
        for name, values in (("MARKETS", self.markets), ("PROFILES", self.profiles)):
            twice = sorted({str(v) for v in values if values.count(v) > 1})
            if twice:
                raise ValueError(f"{name} must name each once, has {', '.join(twice)} twice")
        if self.recorded is not None:
            if self.trading_mode is not TradingMode.SANDBOX:
                raise ValueError(
                    f"RECORDED={self.recorded} only goes with TRADING_MODE=sandbox, "
                    f"was {self.trading_mode}"
                )
            if self.recorded_interval_minutes not in (1, 60):
                raise ValueError(
                    "RECORDED_INTERVAL_MINUTES must be 1 or 60, was "
                    f"{self.recorded_interval_minutes}"
                )
        self._check_profile()
        if self.entries_stop_after_hours < self.retrain_after_hours:
            raise ValueError(
                f"ENTRIES_STOP_AFTER_HOURS={self.entries_stop_after_hours} must not be below "
                f"RETRAIN_AFTER_HOURS={self.retrain_after_hours}"
            )
        lost_after = self.trading.lost_order_seconds
        if self.trading_mode is TradingMode.LIVE and lost_after < LEAST_LOST_ORDER_SECONDS:
            raise ValueError(
                f"TRADING__LOST_ORDER_SECONDS must be at least {LEAST_LOST_ORDER_SECONDS} in live "
                f"mode, was {lost_after}: Upbit may show an order late"
            )
        self._check_ports()
        self._check_exchange_host()
        self._check_upstream()
        return self

    def _check_ports(self) -> None:
        """Three servers, three ports."""
        ports = {
            "DAGSTER_PORT": self.dagster_port,
            "MLFLOW_PORT": self.mlflow_port,
            "PAPER_EXCHANGE_PORT": self.paper_exchange_port,
        }
        for (one, port), (other, its) in itertools.combinations(ports.items(), 2):
            if port == its:
                raise ValueError(f"{one} and {other} must differ, both were {port}")

    def _check_profile(self) -> None:
        """A pinned profile is trained and has its candles; `live` takes no other than a pinned."""
        pinned = self.pinned_profile
        if pinned is None and self.trading_mode is TradingMode.LIVE:
            raise ValueError(
                "PROFILE must be pinned in live mode: real money follows a chosen profile, "
                f"set PROFILE={' or PROFILE='.join(self.profiles)}"
            )
        if pinned is not None and pinned not in self.profiles:
            raise ValueError(
                f"PROFILE={pinned} must be auto or one of PROFILES={','.join(self.profiles)}"
            )
        candles = f"{self.recorded_interval_minutes}-minute"
        if pinned is not None and pinned not in self.active_profiles:
            raise ValueError(
                f"PROFILE={pinned} needs {self.profile_interval_minutes(pinned)}-minute candles, "
                f"the recording has {candles} ones: set PROFILE=swing"
            )
        if not self.active_profiles:
            raise ValueError(
                f"PROFILES={','.join(self.profiles)} names no profile that can use a recording of "
                f"{candles} candles: add swing"
            )

    def _check_exchange_host(self) -> None:
        """A real host only in `live`, and only Upbit's; anything else is a wrong order away."""
        if self.trading_mode is TradingMode.LIVE:
            if self.exchange_base_url != UPBIT_URL:
                raise ValueError(
                    f"EXCHANGE_URL must be {UPBIT_URL} in live mode, was {self.exchange_base_url}"
                )
        elif not _is_here(self.exchange_base_url):
            raise ValueError(
                f"EXCHANGE_URL must be on this machine (http://127.0.0.1:<port>) in "
                f"{self.trading_mode} mode, was {self.exchange_base_url}"
            )

    def _check_upstream(self) -> None:
        """Prices are taken from Upbit, else only from this machine; never from ourselves."""
        if self.upstream_url is None:
            return
        if self.trading_mode is not TradingMode.PAPER:
            raise ValueError(
                f"UPSTREAM_URL={self.upstream_url} only goes with TRADING_MODE=paper, was "
                f"{self.trading_mode}"
            )
        if self.takes_upbits_prices:
            return
        if not _is_here(self.upstream_base_url):
            raise ValueError(
                f"UPSTREAM_URL must be {UPBIT_URL} or http://127.0.0.1:<port>, was "
                f"{self.upstream_url}"
            )
        if urlsplit(self.upstream_base_url).port == self.paper_exchange_port:
            raise ValueError(
                f"UPSTREAM_URL={self.upstream_url} is the paper exchange itself "
                f"(PAPER_EXCHANGE_PORT={self.paper_exchange_port})"
            )

    @property
    def upstream_base_url(self) -> str:
        """Scheme, host and port of whose prices `paper` passes on, no trailing slash."""
        return UPBIT_URL if self.upstream_url is None else self.upstream_url.rstrip("/")

    @property
    def takes_upbits_prices(self) -> bool:
        """Whether prices are Upbit's own: not the sandbox's, nor another upstream's."""
        if self.trading_mode is TradingMode.PAPER:
            return self.upstream_base_url == UPBIT_URL
        return self.trading_mode is TradingMode.LIVE

    @property
    def exchange_base_url(self) -> str:
        """Scheme, host and port of the exchange, no trailing slash."""
        if self.exchange_url is not None:
            return self.exchange_url.rstrip("/")
        if self.trading_mode is TradingMode.LIVE:
            return UPBIT_URL
        return f"http://127.0.0.1:{self.paper_exchange_port}"

    @property
    def candle_rate(self) -> Decimal:
        """Candle requests a second: below Upbit's 10 against Upbit, 10 in the sandbox."""
        if self.candle_requests_per_second is not None:
            return self.candle_requests_per_second
        return Decimal(10) if self.trading_mode is TradingMode.SANDBOX else Decimal(8)

    def profile_interval_minutes(self, name: ProfileName) -> int:
        group = self.scalp if name is ProfileName.SCALP else self.swing
        return group.interval_minutes

    @property
    def pinned_profile(self) -> ProfileName | None:
        """The profile that PROFILE names, None for `auto`: then the evaluation's choice holds."""
        return None if self.profile is TradedProfile.AUTO else ProfileName(self.profile)

    @property
    def active_profiles(self) -> tuple[ProfileName, ...]:
        """The profiles that the price source can serve: a recording has no finer candles."""
        if self.recorded is None:
            return self.profiles
        return tuple(
            p
            for p in self.profiles
            if self.profile_interval_minutes(p) % self.recorded_interval_minutes == 0
        )

    @property
    def live_days(self) -> int:
        """Days of a recording that lie ahead of its first start."""
        if self.recorded_live_days is not None:
            return self.recorded_live_days
        return 7 if self.recorded_interval_minutes == 60 else 3

    @cached_property
    def root(self) -> Path:
        """The project's folder, absolute."""
        return self.home.expanduser().resolve()

    def under_root(self, path: Path) -> Path:
        """`path`, absolute; relative ones are taken from the project's folder."""
        expanded = path.expanduser()
        return expanded if expanded.is_absolute() else self.root / expanded


def _is_here(url: str) -> bool:
    """Whether `url` is scheme, host and perhaps port of a server of this machine, and no more."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises when it is no port
    except ValueError:
        return False
    return (
        parts.scheme == "http"
        and parts.hostname in LOOPBACK_HOSTS
        and parts.netloc.rpartition("@")[1] == ""
        and not (parts.path or parts.query or parts.fragment)
    )


def project_home() -> Path:
    """The project's folder: TRADING_ASSETS_HOME, else the checkout this package lies in."""
    named = os.environ.get("TRADING_ASSETS_HOME")
    if named:
        return Path(named).expanduser().resolve()
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "workspace.yaml").exists() else Path.cwd()


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from `overrides` (by field name), the environment, then `.env` of the home folder.

    Raises SettingsError naming each wrong setting, its value and the rule it breaks. Names that are
    no settings are `misnamed`'s: a process that takes a position over must not stumble over them.
    """
    home = project_home()
    env_file = home / ".env"
    written_in(env_file)  # raises when it is no text
    values: dict[str, Any] = {"TRADING_ASSETS_HOME": home, **(overrides or {})}
    try:
        return Settings(_env_file=env_file, **values)
    except ValidationError as exc:
        raise SettingsError(_explain(exc)) from None
    except UnreadableValue as exc:
        # Its own words name the field and not the value.
        raise SettingsError(
            f"{exc}: a whole group is JSON, set what is in it one by one, for example "
            "SCALP__STOP_LOSS=0.02"
        ) from None


def misnamed() -> list[str]:
    """A sentence for each name in the environment or `.env` that was meant as a setting and sets
    nothing. Raises SettingsError when `.env` is no text."""
    home = project_home()
    env_file = home / ".env"
    written = written_in(env_file)
    wrong = mistyped(_NAMES, written, env_file)
    named = written.get("TRADING_ASSETS_HOME")
    if named is not None and Path(named).expanduser().resolve() != home:
        wrong.append(
            f"TRADING_ASSETS_HOME={named} in {env_file} changes nothing, because it says where "
            ".env is: set it in the environment"
        )
    return wrong


def effective_settings(settings: Settings) -> dict[str, str]:
    """Every setting by its environment name, secrets hidden, for a person to read."""
    shown: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        label = _label(name)
        if isinstance(value, BaseModel):
            for inner, inner_value in value:
                shown[f"{label}__{inner.upper()}"] = _shown(inner_value)
        else:
            shown[label] = _shown(value)
    return shown


def _label(name: str) -> str:
    """The environment's name of a field."""
    return "TRADING_ASSETS_HOME" if name == "home" else name.upper()


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple):
        return ",".join(str(v) for v in value)
    return str(value)


def _names() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        label = _label(name)
        if isinstance(field.default, BaseModel):
            yield from (f"{label}__{inner.upper()}" for inner in type(field.default).model_fields)
        yield label


_NAMES = frozenset(_names())
# Fields of each group, by its field.
_GROUPS = {
    name: tuple(type(field.default).model_fields)
    for name, field in Settings.model_fields.items()
    if isinstance(field.default, BaseModel)
}
_SECRET_NAMES = frozenset({"UPBIT_ACCESS_KEY", "UPBIT_SECRET_KEY", "DATABASE_URL"})


def _explain(error: ValidationError) -> str:
    said: dict[str, None] = {}  # in order, each once
    for problem in error.errors(include_url=False, include_context=False):
        place = "__".join(str(p) for p in problem["loc"] if not isinstance(p, int)).upper()
        rule = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            close = most_like(place, _NAMES)
            said[f"{place} is no setting" + (f", did you mean {close}?" if close else "")] = None
        elif problem["type"] == "value_error" and place.lower() in _GROUPS:
            said[_by_whole_names(rule, place)] = None
        elif not place:
            said[rule] = None
        else:
            value = "********" if place in _SECRET_NAMES else repr(problem["input"])
            said[f"{place} was {value}: {rule}"] = None
    return "\n".join(said)


def _by_whole_names(rule: str, group: str) -> str:
    """`rule` of a group's validator with its fields as a person sets them."""
    fields = "|".join(sorted(_GROUPS[group.lower()], key=len, reverse=True))
    return re.sub(rf"\b({fields})\b", lambda m: f"{group}__{m[1].upper()}", rule)
