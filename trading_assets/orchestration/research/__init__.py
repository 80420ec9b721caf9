"""The research code location: `dagster ... -m trading_assets.orchestration.research`."""

from trading_assets.orchestration.research import _before  # noqa: F401  # before all others
from trading_assets.orchestration.research.definitions import defs

__all__ = ["defs"]
