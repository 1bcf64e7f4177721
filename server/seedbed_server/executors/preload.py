"""Imported once by the fork server, so that its children start with their libraries loaded.

Nothing here may start a thread or touch an accelerator: neither survives a fork.
"""

import importlib
import os

# OpenBLAS starts its threads when it is loaded, and sizes them by this; each child sets its own
# number afterwards.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

for _name in (
    "numpy",
    "torch",
    "pandas",
    "sklearn.linear_model",
    "sklearn.metrics",
    "scipy.stats",
    "optuna",
    "lightgbm",
    "safetensors.torch",
    "seedbed_server.executors.worker",
    "seedbed_server.executors.calls",
    "seedbed_server.search.driver",
):
    try:
        importlib.import_module(_name)
    except ImportError:
        # What is not installed is not needed, or is missed by name where it is.
        continue
