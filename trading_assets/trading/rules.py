"""The rules of `rules/` with the numbers of the settings.

Only here do the two meet: the rules know no settings, the settings no rules.
"""

from collections.abc import Collection
from datetime import timedelta
from decimal import Decimal

from trading_assets.rules.entry import EntryRules
from trading_assets.rules.limits import Limits
from trading_assets.rules.sizing import STEP_STARTS, SizeRules, SizeStep, paying_sizes
from trading_assets.settings import Settings, SmallAccount


def entry_rules(settings: Settings, unpaid: Collection[Decimal] = ()) -> EntryRules:
    """The user's rules for entries. unpaid: p_buy at which steps begin that do not pay."""
    t = settings.trading
    return EntryRules(
        limits=limits(settings),
        size=paying_sizes(size_rules(settings), unpaid),
        max_price_age=_seconds(t.max_price_age_seconds),
        max_model_age=timedelta(hours=float(settings.entries_stop_after_hours)),
        blocking_cautions=frozenset(t.blocking_cautions),
        max_slippage=t.max_entry_slippage,
    )


def size_rules(settings: Settings) -> SizeRules:
    """The sizes as the user set them."""
    t = settings.trading
    shares = (t.size_from_80, t.size_from_70, t.size_from_60, t.size_below_60)
    return SizeRules(
        steps=tuple(map(SizeStep, STEP_STARTS, shares)),
        raise_to_minimum=t.small_account is SmallAccount.RAISE_TO_MINIMUM,
        minimum_buffer=t.minimum_buffer,
    )


def limits(settings: Settings) -> Limits:
    """The limits on the bot's own money."""
    t = settings.trading
    return Limits(
        max_exposure=t.max_exposure,
        max_positions=t.max_positions,
        rest=_seconds(t.rest_minutes * 60),
        rest_after_stop=_seconds(t.rest_after_stop_minutes * 60),
        max_stops=t.max_stops,
        stop_window=_seconds(t.stop_window_hours * 3600),
        stop_pause=_seconds(t.stop_pause_hours * 3600),
        max_day_loss=t.max_day_loss,
        max_peak_loss=t.max_peak_loss,
    )


def _seconds(seconds: Decimal) -> timedelta:
    return timedelta(seconds=float(seconds))
