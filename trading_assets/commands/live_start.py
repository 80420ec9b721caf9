"""The first start with real money: says what will be done with how much, and asks for a phrase."""

import sys
from collections.abc import Callable
from decimal import Decimal

from trading_assets.clock import Clock
from trading_assets.commands.files import swap_in
from trading_assets.commands.profiles import profiles
from trading_assets.errors import EnvironmentProblem, MigrationNeeded
from trading_assets.exchange import upbit
from trading_assets.settings import Settings, TradingMode
from trading_assets.trading.entry import LIVE_SWITCH, not_enabled
from trading_assets.world import World, claim, world_of

PHRASE = "trade real money"


def tell_evaluation(settings: Settings, clock: Clock, say: Callable[[str], None]) -> None:
    """What the evaluation says of every profile, before anything is started with real money."""
    if settings.trading_mode is not TradingMode.LIVE:
        return
    try:
        say(profiles(settings, clock.now()))
    except MigrationNeeded:
        say(
            f"live: no profile is evaluated yet, PROFILE={settings.profile} is your choice alone. "
            "`trading-assets profiles` shows the evaluation once it is made."
        )


def confirm_live_start(
    settings: Settings,
    clock: Clock,
    say: Callable[[str], None],
    *,
    yes: bool,
    ask: Callable[[str], str] = input,
) -> None:
    """Ask once per world, before anything is started; other modes and later starts pass.

    yes: take the phrase as typed. Raises CredentialsRefused without keys, EnvironmentProblem when
    the phrase was not typed or nobody can type it; and the errors of asking for the account.
    """
    if settings.trading_mode is not TradingMode.LIVE:
        return
    if settings.enable_live_orders != LIVE_SWITCH:
        say(f"live: signals only. Entries need keys and ENABLE_LIVE_ORDERS={LIVE_SWITCH}.")
        return
    world = world_of(settings)
    if not_enabled(settings) is None:
        return
    for line in intentions(settings, _money(settings, clock)):
        say(line)
    if not yes:
        _require_phrase(ask)
    _confirm(world, f"{clock.now().isoformat()} {'--yes' if yes else 'typed'}\n")


def intentions(settings: Settings, krw: Decimal) -> list[str]:
    """What the bot will do with `krw` KRW, in the numbers of the settings."""
    t = settings.trading
    return [
        f"LIVE: real orders at {settings.exchange_base_url}, profile {settings.profile}, "
        f"markets {', '.join(settings.markets)}.",
        f"  capital {krw:,.0f} KRW; one entry buys for {krw * t.size_below_60:,.0f} to "
        f"{krw * t.size_from_80:,.0f} KRW, at most {t.max_positions} positions and "
        f"{krw * t.max_exposure:,.0f} KRW at a time.",
        f"  Entries stop for the day after a loss of {krw * t.max_day_loss:,.0f} KRW; "
        f"{krw * t.max_peak_loss:,.0f} KRW below the peak everything of ours is sold.",
        "  `trading-assets halt` sells and stops at any time. Money can be lost.",
    ]


def _money(settings: Settings, clock: Clock) -> Decimal:
    client = upbit.trading(settings, clock)
    try:
        balances = client.balances()
    finally:
        client.close()
    if settings.trading.capital_krw is not None:
        return settings.trading.capital_krw
    return next((b.balance for b in balances if b.currency == "KRW"), Decimal(0))


def _require_phrase(ask: Callable[[str], str]) -> None:
    if ask is input and not sys.stdin.isatty():
        raise EnvironmentProblem(
            f"the first live start asks for the phrase {PHRASE!r}: start it in a terminal, or "
            "with `trading-assets run --yes`"
        )
    if ask(f'Type "{PHRASE}" to start: ').strip() != PHRASE:
        raise EnvironmentProblem("the phrase was not typed, nothing was started")


def _confirm(world: World, text: str) -> None:
    claim(world.data, world.name)
    swap_in(world.live_start, text)
