"""What must happen before any other library is loaded; `__init__` imports this first.

One thread for each numeric library: two OpenMP threads on a busy machine were measured to hang
(15 s of work did not finish in 100 s), so two trainings run side by side as processes instead. The
libraries read these variables once, while they load. And a command that would execute in a Dagster
home nobody looks at, or read from an exchange that is not there, ends here, before it has waited
ten seconds for imports.
"""

import os
import sys

from trading_assets.orchestration.shared.dagster_home import (
    stop_command_without_exchange,
    stop_lost_command,
)
from trading_assets.settings import load_settings

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Nothing calls home.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

_settings = load_settings()
stop_lost_command(_settings, sys.argv)
stop_command_without_exchange(_settings, sys.argv)
