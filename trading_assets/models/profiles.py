"""The two shipped profiles, built from the settings.

`rules.profile` says what a profile is; here its numbers meet the settings.
"""

from datetime import timedelta
from decimal import Decimal

from trading_assets.rules.costs import Costs
from trading_assets.rules.exits import FixedExits, VolatilityExits
from trading_assets.rules.profile import LabelKind, ModelShape, Profile
from trading_assets.settings import ProfileName, ScalpSettings, Settings, SwingSettings


def profile(settings: Settings, name: ProfileName) -> Profile:
    """The profile called `name` under `settings`."""
    return _scalp(settings) if name is ProfileName.SCALP else _swing(settings)


def active_profiles(settings: Settings) -> tuple[Profile, ...]:
    """The profiles that are collected, trained and evaluated."""
    return tuple(profile(settings, name) for name in settings.active_profiles)


def costs(settings: Settings) -> Costs:
    """Costs per side under `settings`."""
    return Costs(fee_rate=settings.fee_rate, min_slippage_rate=settings.min_slippage_rate)


def _scalp(settings: Settings) -> Profile:
    s = settings.scalp
    return Profile(
        name=ProfileName.SCALP.value,
        interval_minutes=s.interval_minutes,
        label=LabelKind.NET_OUTCOME,
        exits=FixedExits(s.stop_loss, s.take_profit, timedelta(minutes=s.timeout_minutes)),
        min_confidence=s.min_confidence,
        min_ev_costs=s.min_ev_costs,
        history=timedelta(days=s.history_days),
        min_history=timedelta(days=s.min_history_days),
        calibration_window=timedelta(days=s.calibration_days),
        gate_window=timedelta(days=s.gate_days),
        shape=_shape(s),
    )


def _swing(settings: Settings) -> Profile:
    s = settings.swing
    return Profile(
        name=ProfileName.SWING.value,
        interval_minutes=s.interval_minutes,
        label=LabelKind.TRIPLE_BARRIER,
        exits=VolatilityExits(
            k=s.barrier_k,
            periods=s.timeout_minutes // s.interval_minutes,
            timeout=timedelta(minutes=s.timeout_minutes),
            floor_costs=s.barrier_floor_costs,
        ),
        min_confidence=Decimal(s.min_confidence),
        min_ev_costs=s.min_ev_costs,
        history=None if s.history_days is None else timedelta(days=s.history_days),
        min_history=timedelta(days=s.min_history_days),
        calibration_window=timedelta(days=s.calibration_days),
        gate_window=timedelta(days=s.gate_days),
        shape=_shape(s),
    )


def _shape(s: ScalpSettings | SwingSettings) -> ModelShape:
    return ModelShape(s.num_leaves, tuple(sorted({group.value for group in s.without_features})))
