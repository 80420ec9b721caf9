"""Run tags that both code locations and `deploy/local/dagster.yaml` agree on."""

from enum import StrEnum

# What a research run does; dagster.yaml limits how many of each run at once.
RESEARCH = "trading_assets/research"
# The market that a run retrains; dagster.yaml lets one of each run at once.
RETRAIN = "trading_assets/retrain"
MAX_RUNTIME = "dagster/max_runtime"
PARTITION = "dagster/partition"
PARTITION_RANGE_START = "dagster/asset_partition_range_start"
PARTITION_RANGE_END = "dagster/asset_partition_range_end"


class Research(StrEnum):
    TRAIN = "train"
    SIGNAL = "signal"


def attempt(profile: str) -> str:
    """The tag that says on which age and in which hour a retraining of `profile` was asked for."""
    return f"trading_assets/attempt_{profile}"
