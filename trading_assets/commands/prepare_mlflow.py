"""Makes the MLflow database of the world; `trading-assets setup` runs this as a program.

A program of its own because importing MLflow takes seconds and much memory, which `run` would hold
as long as it lives.
"""

from trading_assets.models.mlflow_store import prepare_mlflow
from trading_assets.settings import load_settings
from trading_assets.world import world_of


def main() -> None:
    prepare_mlflow(world_of(load_settings()))


if __name__ == "__main__":
    main()
