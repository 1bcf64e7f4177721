"""The choice of engine: the same batched small networks in JAX, beside ours.

JAX comes into an environment of its own, under `$XDG_CACHE_HOME`, the first time. Both sides train
the same 8 trials on one core: same shapes, learning rates, decays, schedule and epochs; theirs is
one compiled scan over an epoch's `vmap`ped steps. It compiles once for each network's shape and
number of trials, in each process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from benchmarks.batched_trials import (
    BATCH_SIZE,
    EPOCHS,
    Problem,
    Tracked,
    breast_cancer,
    digits,
    make_learner,
)
from benchmarks.measure import Case, compare
from seedbed_sdk.batched import BatchedLearner
from seedbed_sdk.schedule import Schedule

NAME = "jax"
JAX_VERSION = "0.10.2"
TOGETHER = 8
SCRIPT = Path(__file__).with_name("jax_networks.py")


@dataclass(frozen=True, slots=True)
class Trained:
    """Seconds for the training of all, without and with compiling, and the mean best accuracy."""

    training: float
    compiling: float
    score: float


def run(rounds: int) -> Iterator[Case]:
    """The cases, one after the other."""
    torch.set_num_threads(1)
    python = _environment()
    for problem in (breast_cancer(), digits()):
        rates = np.geomspace(1e-3, 3e-2, TOGETHER).tolist()
        decays = np.geomspace(1e-5, 1e-1, TOGETHER).tolist()
        _ours(problem, rates, decays)
        done = [
            (_ours(problem, rates, decays), _theirs(python, problem, rates, decays))
            for _ in range(rounds)
        ]
        about = f"{problem.about}, K={TOGETHER}, {EPOCHS} epochs, one core"
        yield compare(
            NAME,
            f"{about}, compiling included; theirs: JAX {JAX_VERSION}",
            [(ours.training, theirs.training + theirs.compiling) for ours, theirs in done],
            unit="s",
            limit="none: what the first trials of a shape cost",
        )
        yield compare(
            NAME,
            f"{about}, compiling apart; theirs: JAX {JAX_VERSION}",
            [(ours.training, theirs.training) for ours, theirs in done],
            unit="s",
            limit="none: what further trials of the same shape cost",
        )
        yield compare(
            NAME,
            f"{about}, mean of the trials' best validation accuracies",
            [(ours.score, theirs.score) for ours, theirs in done],
            unit="accuracy",
            limit="none: the same within chance",
            higher_is_better=True,
        )


def _ours(problem: Problem, rates: Sequence[float], decays: Sequence[float]) -> Trained:
    began = time.monotonic()
    learners = [
        make_learner(problem.shape, rate, decay, seed=k)
        for k, (rate, decay) in enumerate(zip(rates, decays, strict=True))
    ]
    runs = [Tracked(problem.data) for _ in learners]
    BatchedLearner(learners).fit(problem.data, runs)
    return Trained(time.monotonic() - began, 0.0, mean(run.best for run in runs))


def _theirs(
    python: Path, problem: Problem, rates: Sequence[float], decays: Sequence[float]
) -> Trained:
    schedule = Schedule()
    settings = {
        "shape": problem.shape,
        "batch_size": BATCH_SIZE,
        "epochs": EPOCHS,
        "learning_rates": rates,
        "weight_decays": decays,
        "warmup": schedule.warmup_fraction,
        "decay": schedule.decay_fraction,
    }
    with tempfile.TemporaryDirectory() as folder:
        arrays, described = Path(folder) / "arrays.npz", Path(folder) / "settings.json"
        train, valid = problem.data.train, problem.data.valid
        np.savez(
            arrays,
            train_x=train.inputs["x"],
            train_y=train.target,
            valid_x=valid.inputs["x"],
            valid_y=valid.target,
        )
        described.write_text(json.dumps(settings))
        done = subprocess.run(
            # Not with this folder on the path, whose modules have names of their own.
            [python, "-P", SCRIPT, described, arrays],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
    told = json.loads(done.stdout)
    return Trained(told["training"], told["starting"] + told["compiling"], mean(told["best"]))


def _environment() -> Path:
    """The interpreter of an environment that has JAX; made where there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "seedbed-benchmarks" / f"jax-{JAX_VERSION}"
    python = folder / "bin" / "python"
    installed = folder / ".installed"
    if not installed.exists():
        print(f"installing JAX {JAX_VERSION} into {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", f"jax[cpu]=={JAX_VERSION}"],
            check=True,
            stdout=sys.stderr,
        )
        installed.touch()
    return python
