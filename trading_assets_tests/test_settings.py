"""Settings: where they come from, what is refused and how, and that secrets stay hidden."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from trading_assets.errors import SettingsError
from trading_assets.exchange.model import Interval
from trading_assets.settings import (
    CANDLE_MINUTES,
    UPBIT_URL,
    ProfileName,
    TradedProfile,
    TradingMode,
    effective_settings,
    load_settings,
    misnamed,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRADING_ASSETS_HOME", str(tmp_path))
    for name in ("PROFILE", "MARKETS", "TRADING_MODE", "EXCHANGE_URL", "SCALP__STOP_LOSS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_defaults_need_no_file_and_no_environment(home: Path) -> None:
    settings = load_settings()
    assert settings.trading_mode is TradingMode.SANDBOX
    assert settings.profile is TradedProfile.AUTO
    assert settings.markets == ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL")
    assert settings.exchange_base_url == "http://127.0.0.1:8700"
    assert settings.root == home


def test_the_environment_wins_over_the_file_and_an_override_over_both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").write_text("SEEDS=2\nBASE_SEED=11\nRECIPE=logistic\n")
    monkeypatch.setenv("SEEDS", "3")
    monkeypatch.setenv("BASE_SEED", "12")
    settings = load_settings({"base_seed": 13})
    assert (settings.recipe, settings.seeds, settings.base_seed) == ("logistic", 3, 13)


def test_an_empty_variable_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDS", "")
    assert load_settings().seeds == 5


def test_lists_are_comma_separated_and_groups_use_two_underscores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MARKETS", "KRW-BTC, KRW-DOGE")
    monkeypatch.setenv("SCALP__STOP_LOSS", "0.03")
    settings = load_settings()
    assert settings.markets == ("KRW-BTC", "KRW-DOGE")
    assert settings.scalp.stop_loss == Decimal("0.03")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SEEDS", "0", "SEEDS was '0': Input should be greater than or equal to 1"),
        ("SEEDS", "five", "SEEDS was 'five'"),
        ("FEE_RATE", "0.06", "FEE_RATE was '0.06'"),
        ("SCALP__STOP_LOSS", "1", "SCALP__STOP_LOSS was '1': Input should be less than 1"),
        ("SCALP__TAKE_PROFIT", "0", "greater than 0"),
        ("SCALP__TYPO", "1", "SCALP__TYPO is no setting"),
        ("SCALP__STOP_LOS", "1", "SCALP__STOP_LOS is no setting, did you mean SCALP__STOP_LOSS?"),
        ("TRADING_MODE", "real", "TRADING_MODE was 'real'"),
        ("MLFLOW_PORT", "65536", "MLFLOW_PORT was '65536'"),
        ("CANDLE_REQUESTS_PER_SECOND", "10.1", "less than or equal to 10"),
        ("MARKETS", "KRW-BTC,BTC-ETH", "BTC-ETH"),
        ("MARKETS", "KRW-BTC,KRW-BTC", "MARKETS must name each once, has KRW-BTC twice"),
        ("PROFILE", "gamble", "PROFILE was 'gamble': Input should be 'auto', 'scalp' or 'swing'"),
        ("MARKETS", "krw-btc", "MARKETS was 'krw-btc': a market is KRW- and a coin in capitals"),
        ("MARKETS", "KRW-BTC,USDT-ETH", "MARKETS was 'USDT-ETH': a market is KRW-"),
        ("MARKETS", ",", "MARKETS was '': a market is KRW-"),
        ("SCALP__INTERVAL_MINUTES", "7", "was '7': Upbit has candles of 1, 3, 5, 10, 15, 30, 60"),
        ("SWING__INTERVAL_MINUTES", "1440", "was '1440': Upbit has candles of 1, 3, 5"),
        (
            "SCALP__TIMEOUT_MINUTES",
            "33",
            "SCALP__TIMEOUT_MINUTES=33 must be a whole number of candles of "
            "SCALP__INTERVAL_MINUTES=5",
        ),
        ("SCALP__GATE_DAYS", "105", "must leave something of SCALP__HISTORY_DAYS=120 to train on"),
        (
            "SCALP__HISTORY_DAYS",
            "59",
            "SCALP__MIN_HISTORY_DAYS=60 must not be above SCALP__HISTORY",
        ),
        ("SCALP__FIRST_FIT_DAYS", "121", "SCALP__FIRST_FIT_DAYS=121 must not be above"),
        (
            "SCALP__WITHOUT_FEATURES",
            "returns,momentum,averages,oscillators,trend,volatility,moments,volume,shape,calendar",
            "SCALP__WITHOUT_FEATURES must leave a model at least one group of features",
        ),
        (
            "TRADING__LEASE_SECONDS",
            "1",
            "TRADING__HEARTBEAT_SECONDS=2 must be at most half of TRADING__LEASE_SECONDS=1",
        ),
        (
            "TRADING__SIZE_FROM_70",
            "0.2",
            "TRADING__SIZE_FROM_80=0.15 must not be below TRADING__SIZE_FROM_70=0.2",
        ),
        (
            "TRADING__ORDER_POLL_SECONDS",
            "6",
            "TRADING__ORDER_POLL_SECONDS=6 must not be above TRADING__ORDER_POLL_MOST_SECONDS=5",
        ),
        (
            "TRADING__PRICE_CONFIRM_SECONDS",
            "5",
            "TRADING__PRICE_CONFIRM_SECONDS=5 must be below TRADING__MAX_PRICE_AGE_SECONDS=5",
        ),
        (
            "TRADING__BLOCKING_CAUTIONS",
            "PRICE_FLUCTUATION",
            "Upbit's flags are PRICE_FLUCTUATIONS,",
        ),
        ("TRADING__BLOCKING_CAUTIONS", "soaring", "Upbit's flags are"),
        ("TRADING__ORDER_POLL_SECONDS", "0.001", "greater than or equal to 0.01"),
        ("TRADING__CAPITAL_KRW", "NaN", "TRADING__CAPITAL_KRW was 'NaN'"),
        ("TRADING__CAPITAL_KRW", "1e400", "TRADING__CAPITAL_KRW was '1e400'"),
        ("RETRAIN_AFTER_HOURS", "1e30", "RETRAIN_AFTER_HOURS was '1e30'"),
        ("SYNTHETIC__SEED", "99999999999999999999", "SYNTHETIC__SEED was"),
        ("BASE_SEED", "99999999999", "BASE_SEED was"),
        ("MLFLOW_PORT", "3000", "DAGSTER_PORT and MLFLOW_PORT must differ, both were 3000"),
        ("PAPER_EXCHANGE_PORT", "5000", "MLFLOW_PORT and PAPER_EXCHANGE_PORT must differ"),
        ("DATABASE_URL", "sqlite:///x.db", "it must be sqlite:////<absolute path>"),
        ("TRADING", "{lease", "a whole group is JSON"),
        ("ASSETS_URL", "foo://bucket", "ASSETS_URL was 'foo://bucket'"),
        ("EXCHANGE_URL", "127.0.0.1:8700", "must be on this machine (http://127.0.0.1:<port>)"),
        ("EXCHANGE_URL", "http://127.0.0.1:99999", "must be on this machine"),
        ("EXCHANGE_URL", "http://127.0.0.1:8700/v1", "must be on this machine"),
        ("EXCHANGE_URL", "http://a@127.0.0.1:8700", "must be on this machine"),
        ("EXCHANGE_URL", "https://api.upbit.com", "must be on this machine"),
        ("EXCHANGE_URL", "http://127.0.0.1.example.com", "must be on this machine"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_the_value_and_the_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert says in str(refused.value)


def test_a_wrong_database_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://me:hush-hush@127.0.0.1/db")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert "DATABASE_URL was ********: it must be sqlite:////<absolute path> or" in str(
        refused.value
    )
    assert "hush-hush" not in str(refused.value)


def test_every_interval_that_upbit_serves_is_taken() -> None:
    assert tuple(i.minutes for i in Interval if i is not Interval.D1) == CANDLE_MINUTES
    for minutes in CANDLE_MINUTES:
        group = {"interval_minutes": minutes, "timeout_minutes": 720}
        assert load_settings({"scalp": group}).scalp.interval_minutes == minutes


def test_a_flag_that_upbit_adds_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING__BLOCKING_CAUTIONS", "PRICE_FLUCTUATIONS,ORACLE_FAILURE")
    flags = load_settings().trading.blocking_cautions
    assert flags == ("PRICE_FLUCTUATIONS", "ORACLE_FAILURE")


# --- names that are none ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("TRADNG__X=1", "TRADING__X"),
        ("TRADING_LEASE_SECONDS=9", "TRADING__LEASE_SECONDS"),
        ("MARKET=KRW-BTC", "MARKETS"),
        ("seed=3", "SEEDS"),
        ("export PROFLE=swing", "PROFILE"),
        ("UPBIT_ACESS_KEY=abc", "UPBIT_ACCESS_KEY"),
    ],
)
def test_a_mistyped_name_in_the_file_is_told_and_its_value_not(
    home: Path, line: str, meant: str
) -> None:
    (home / ".env").write_text(f"SEEDS=2\n{line}\n")
    (said,) = misnamed()
    name = line.removeprefix("export ").partition("=")[0]
    assert f"{name} in {home / '.env'} is no setting, did you mean {meant}?" in said
    assert "abc" not in said


def test_a_mistyped_name_keeps_no_settings_from_being_read(home: Path) -> None:
    """Or a run could not take over a position because somebody edits `.env`."""
    (home / ".env").write_text("SEEDS=2\nMARKET=KRW-BTC\n")
    assert load_settings().seeds == 2


def test_what_other_programs_read_in_the_file_is_left_alone(home: Path) -> None:
    (home / ".env").write_text(
        "DAGSTER_HOME=/x\nAWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nHTTP_PROXY=c\n"
        "MLFLOW_TRACKING_URI=d\nOMP_NUM_THREADS=1\nTZ=Asia/Seoul\nSEEDS=2\n"
    )
    assert misnamed() == []


def test_every_name_of_the_example_is_a_setting() -> None:
    """It may be copied whole; and it leaves none out."""
    example = Path(__file__).parents[1] / ".env.example"
    names = re.findall(r"^#([A-Z][A-Z0-9_]*)=", example.read_text(), re.MULTILINE)
    assert sorted(names) == sorted({*effective_settings(load_settings()), "DAGSTER_HOME"})


def test_a_home_in_its_own_file_is_told_unless_it_is_the_same(home: Path) -> None:
    (home / ".env").write_text(f"TRADING_ASSETS_HOME={home}\n")
    assert misnamed() == []
    (home / ".env").write_text("TRADING_ASSETS_HOME=/elsewhere\n")
    (said,) = misnamed()
    assert "changes nothing, because it says where .env is" in said


def test_a_file_that_is_no_text_is_one_sentence(home: Path) -> None:
    (home / ".env").write_bytes(b"SEEDS=3\nPROFILE=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env must be UTF-8 text: invalid start byte"):
        load_settings()


def test_names_without_a_value_are_not_given(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".env").write_text("MARKET=\n")
    monkeypatch.setenv("PROFLE", "")
    assert misnamed() == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [("TRADNG__MAX_STOPS", "TRADING__MAX_STOPS"), ("MARKET", "MARKETS"), ("PROFLE", "PROFILE")],
)
def test_a_mistyped_name_in_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "1")
    (said,) = misnamed()
    assert said.startswith(f"{name} in the environment is no setting, did you mean {meant}?")


@pytest.mark.parametrize("name", ["TRACING__MAX_SPANS", "AIRFLOW__CORE__DAGS", "SEED", "PORT"])
def test_what_the_environment_has_for_other_programs_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert misnamed() == []


def test_a_mistyped_argument_of_make_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the environment as well, where SEED alone would be another program's."""
    monkeypatch.setenv("SEED", "3")
    monkeypatch.setenv("MAKEFLAGS", r" -- SEED=3 ARGS=-k\ a\ b")
    (said,) = misnamed()
    assert said.startswith("SEED is no setting, did you mean SEEDS?")


@pytest.mark.parametrize("flags", ["w", "", "-- 'ARGS=", " -j2 -- PROFILE=swing ARGS=-x"])
def test_other_arguments_of_make_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    monkeypatch.setenv("MAKEFLAGS", flags)
    assert misnamed() == []


@pytest.mark.parametrize(
    ("upstream", "says"),
    [
        ("https://api.upbit.com.example.com", "must be https://api.upbit.com or http://127.0.0.1"),
        ("http://api.upbit.com", "must be https://api.upbit.com or http://127.0.0.1"),
        ("http://10.0.0.7:8701", "must be https://api.upbit.com or http://127.0.0.1"),
        ("http://127.0.0.1:8701/v1", "must be https://api.upbit.com or http://127.0.0.1"),
        ("http://localhost:8700", "is the paper exchange itself"),
    ],
)
def test_prices_are_passed_on_from_upbit_or_from_this_machine_alone(
    upstream: str, says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings({"trading_mode": "paper", "upstream_url": upstream})


def test_an_upstream_is_for_paper_mode_only() -> None:
    with pytest.raises(SettingsError, match="only goes with TRADING_MODE=paper, was sandbox"):
        load_settings({"upstream_url": "http://127.0.0.1:8701"})
    paper = load_settings({"trading_mode": "paper"})
    assert paper.upstream_base_url == "https://api.upbit.com"
    assert paper.exchange_base_url == "http://127.0.0.1:8700"
    local = load_settings({"trading_mode": "paper", "upstream_url": "http://127.0.0.1:8701/"})
    assert local.upstream_base_url == "http://127.0.0.1:8701"


def test_no_market_or_no_profile_at_all_is_refused() -> None:
    with pytest.raises(SettingsError, match="MARKETS must name at least one market"):
        load_settings({"markets": ()})
    with pytest.raises(SettingsError, match="PROFILES must name at least one profile"):
        load_settings({"profiles": ()})


def test_a_pinned_profile_is_one_of_the_trained_ones() -> None:
    assert load_settings({"profile": "swing"}).pinned_profile is ProfileName.SWING
    with pytest.raises(SettingsError, match="PROFILE=scalp must be auto or one of PROFILES=swing"):
        load_settings({"profile": "scalp", "profiles": ("swing",)})


@pytest.mark.parametrize("value", ["1", "50"])
def test_the_bounds_of_a_setting_are_allowed(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SEEDS", value)
    assert load_settings().seeds == int(value)


def test_entries_cannot_stop_before_retraining_is_due() -> None:
    same = load_settings({"retrain_after_hours": "24", "entries_stop_after_hours": "24"})
    assert same.entries_stop_after_hours == 24
    with pytest.raises(SettingsError, match="ENTRIES_STOP_AFTER_HOURS=23"):
        load_settings({"entries_stop_after_hours": "23"})


def test_live_speaks_only_to_upbit() -> None:
    assert (
        load_settings({"trading_mode": "live", "profile": "swing"}).exchange_base_url == UPBIT_URL
    )
    for url in ("http://127.0.0.1:8700", "https://api.upbit.com.example.com"):
        with pytest.raises(SettingsError, match=r"must be https://api\.upbit\.com in live mode"):
            load_settings({"trading_mode": "live", "profile": "swing", "exchange_url": url})


def test_live_takes_no_profile_but_a_pinned_one() -> None:
    for unpinned in ({}, {"profile": "auto"}):
        with pytest.raises(SettingsError, match="PROFILE must be pinned in live mode"):
            load_settings({"trading_mode": "live", **unpinned})
    assert load_settings({"trading_mode": "live", "profile": "scalp"}).profile == "scalp"


def test_a_recording_goes_only_with_the_sandbox() -> None:
    with pytest.raises(SettingsError, match="only goes with TRADING_MODE=sandbox"):
        load_settings({"recorded": "candles", "trading_mode": "paper", "profile": "swing"})


def test_a_recording_serves_only_the_profiles_its_interval_divides() -> None:
    with pytest.raises(SettingsError, match="PROFILE=scalp needs 5-minute candles"):
        load_settings({"recorded": "candles", "profile": "scalp"})
    with pytest.raises(SettingsError, match="PROFILES=scalp names no profile that can use"):
        load_settings({"recorded": "candles", "profiles": ("scalp",), "profile": "auto"})
    hourly = load_settings({"recorded": "candles", "profile": "auto"})
    assert hourly.active_profiles == (ProfileName.SWING,)
    assert hourly.live_days == 7
    minutes = load_settings({"recorded": "candles", "recorded_interval_minutes": 1})
    assert minutes.active_profiles == (ProfileName.SCALP, ProfileName.SWING)
    assert minutes.live_days == 3
    with pytest.raises(SettingsError, match="RECORDED_INTERVAL_MINUTES must be 1 or 60, was 15"):
        load_settings({"recorded": "candles", "recorded_interval_minutes": 15})


def test_the_sandbox_may_ask_faster_than_upbit_allows_in_safety() -> None:
    assert load_settings().candle_rate == 10
    assert load_settings({"trading_mode": "paper"}).candle_rate == 8
    assert load_settings({"candle_requests_per_second": "3"}).candle_rate == 3


def test_secrets_are_shown_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPBIT_SECRET_KEY", "hush-hush")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hush-hush@127.0.0.1/db")
    settings = load_settings()
    shown = effective_settings(settings)
    assert shown["UPBIT_SECRET_KEY"] == shown["DATABASE_URL"] == "********"
    assert shown["SCALP__STOP_LOSS"] == "0.02"
    assert "hush-hush" not in repr(settings) + str(shown)


def test_a_wrong_setting_does_not_print_a_secret_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPBIT_SECRET_KEY", "hush-hush")
    monkeypatch.setenv("SEEDS", "0")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert "hush-hush" not in str(refused.value)


def test_relative_folders_are_taken_from_the_home(home: Path) -> None:
    settings = load_settings()
    assert settings.under_root(Path("data")) == home / "data"
    assert settings.under_root(Path("/elsewhere")) == Path("/elsewhere")
