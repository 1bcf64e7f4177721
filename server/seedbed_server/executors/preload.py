"""Imported once by the fork server, so that its children start with their libraries loaded.

Nothing here may start a thread or touch an accelerator: neither survives a fork.
"""

import importlib
import os

from seedbed_server import logs
from seedbed_server.executors.memory import keep_freed_memory

# What libraries warn of while they are loaded is logged like all else.
logs.configure()
keep_freed_memory()

# OpenBLAS starts its threads when it is loaded, and sizes them by this; each child sets its own
# number afterwards.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Arrow carries an allocator that would start a thread of its own.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
# Threads that wait for work sleep instead of spinning, so that jobs side by side do not starve each
# other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

for _name in (
    "numpy",
    "torch",
    # The first optimiser of a process loads it, which takes more than a second.
    "torch._dynamo",
    "pandas",
    "sklearn.linear_model",
    "sklearn.metrics",
    "scipy.stats",
    # What the data doctor's quick models need.
    "sklearn.ensemble",
    "sklearn.feature_extraction.text",
    "sklearn.model_selection",
    "sklearn.tree",
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
