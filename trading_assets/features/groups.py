"""The catalogue's features in groups of the same kind, so that a model can do without one.

Every feature is in exactly one group. Not here: what a feature is (`catalogue`), and who leaves a
group out (setting `WITHOUT_FEATURES` of a profile).
"""

from collections.abc import Collection, Mapping

from trading_assets.settings import FeatureGroup

GROUPS: Mapping[FeatureGroup, tuple[str, ...]] = {
    FeatureGroup.RETURNS: (
        "log_return_1",
        "log_return_3",
        "log_return_6",
        "log_return_12",
        "log_return_24",
    ),
    FeatureGroup.MOMENTUM: (
        "momentum_1",
        "momentum_3",
        "momentum_6",
        "momentum_12",
        "momentum_24",
    ),
    FeatureGroup.AVERAGES: (
        "sma_gap_50",
        "ema_gap_9",
        "ema_gap_21",
        "ema_gap_55",
        "ema_ratio_9_21",
        "macd_line",
        "macd_histogram",
    ),
    FeatureGroup.OSCILLATORS: (
        "rsi_7",
        "rsi_14",
        "stochastic_k",
        "stochastic_d",
        "cci_20",
        "bollinger_percent_b",
    ),
    FeatureGroup.TREND: ("adx_14", "plus_di_14", "minus_di_14"),
    FeatureGroup.VOLATILITY: (
        "volatility_12",
        "volatility_24",
        "volatility_72",
        "natr_14",
        "bollinger_width",
    ),
    FeatureGroup.MOMENTS: ("skewness_24", "kurtosis_24"),
    FeatureGroup.VOLUME: ("mfi_14", "obv_slope_12", "vwap_gap_24", "volume_z_24", "volume_z_72"),
    FeatureGroup.SHAPE: ("body_share", "upper_shadow_share", "lower_shadow_share", "range_share"),
    FeatureGroup.CALENDAR: ("hour_sin", "hour_cos", "weekday_sin", "weekday_cos"),
}


def features_of(groups: Collection[str]) -> frozenset[str]:
    """The features of these groups. Raises ValueError for an unknown group."""
    return frozenset(name for group in groups for name in GROUPS[FeatureGroup(group)])
