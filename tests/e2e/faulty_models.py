"""A plugin whose models go wrong, each in a way of its own and for real. Never installed: a test
puts it on a server's path."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

from seedbed_sdk import hookimpl
from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.space import Choices
from seedbed_sdk.trainer import (
    Architecture,
    Blueprint,
    Data,
    EpochReport,
    Interrupted,
    Run,
    Trainer,
)

GIB = 2**30
# The most files that a process may open here, at least.
MANY = 1_000_000


class Guess:
    """A model that says the same of every item, and derives the ways to fail from itself."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.classes = blueprint.block.target.output_size

    def fit(self, data: Data, run: Run) -> None:
        run.report(EpochReport(1, 1, self.predict(data.valid.inputs), len(data.train)))

    def predict(self, inputs: Arrays) -> Array:
        return np.full((len(inputs["numeric"]), self.classes), 1.0 / self.classes)

    def save(self, folder: Path) -> None:
        (folder / "guess.txt").write_text("nothing to keep")

    def load(self, folder: Path) -> None:
        """There is nothing to read."""


def fitting(go_wrong: Callable[[], None]) -> Callable[[Blueprint], Trainer]:
    """Builds models that do this before they report."""

    class Faulty(Guess):
        def fit(self, data: Data, run: Run) -> None:
            go_wrong()
            super().fit(data, run)

    return Faulty


def putting_out(outputs: Callable[[Array], Any]) -> Callable[[Blueprint], Trainer]:
    """Builds models that put out this in place of probabilities [N, classes]."""

    class Faulty(Guess):
        def predict(self, inputs: Arrays) -> Array:
            found: Array = outputs(super().predict(inputs))
            return found

    return Faulty


class Hungry(Guess):
    """Takes memory until there is none, unless its batches are small."""

    def fit(self, data: Data, run: Run) -> None:
        if self.blueprint.parameters["batch_size"] > 16:
            taken = []
            # Never touched, so that only the account is full and not the machine.
            for _ in range(4 * psutil.virtual_memory().total // GIB):
                taken.append(np.empty(GIB, dtype=np.uint8))
            raise AssertionError(f"there was no limit, and {len(taken)} GiB were taken")
        super().fit(data, run)


class Slow(Guess):
    """Takes longer than the shortest budget before it has anything to report."""

    def fit(self, data: Data, run: Run) -> None:
        until = time.monotonic() + 6.0
        while time.monotonic() < until:
            if run.should_stop():
                raise Interrupted("it was too slow")
        super().fit(data, run)


class Overfed(Guess):
    """The best of all, and no good for what it has not seen."""

    def fit(self, data: Data, run: Run) -> None:
        self.known = {"valid": data.valid}
        super().fit(data, run)

    def predict(self, inputs: Arrays) -> Array:
        valid = self.known["valid"]
        if inputs is not valid.inputs:
            raise LookupError("never seen")
        return np.eye(self.classes)[valid.target]


class Unsaveable(Guess):
    """Trains, and cannot be written."""

    def save(self, folder: Path) -> None:
        raise TypeError("a lock cannot be written")


class Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = self.layer(torch.nan_to_num(batch["numeric"]))
        return found


def too_fast(blueprint: Blueprint) -> Trainer:
    """A network whose first steps lead out of all numbers."""
    block = blueprint.block
    network = Linear(len(block.fields()), block.target.output_size)
    return Learner(network, block, LearnerConfig(3, 1e37, weight_decay=0.0, batch_size=8))


def read_null() -> None:
    ctypes.string_at(0)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    raise ZeroDivisionError("no items of class 7")


def interrupt() -> None:
    raise KeyboardInterrupt


def lack_accelerator_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def lose_accelerator() -> None:
    raise torch.AcceleratorError("CUDA error: unspecified launch failure\nFor debugging ...")


def hang() -> None:
    """In foreign code that keeps the interpreter's lock, so that no thread runs."""
    ctypes.PyDLL(None).pause()


LEAKED: list[int] = []


def leak_files() -> None:
    for _ in range(MANY):
        LEAKED.append(os.open(os.devnull, os.O_RDONLY))


ONE: dict[str, Any] = {"space": {}, "portfolio": ({},)}
HUNGRY: dict[str, Any] = {
    "space": {"batch_size": Choices((16, 32, 64))},
    "portfolio": ({"batch_size": 64},),
    "memory_grows_with": ("batch_size",),
}
FAULTS: dict[str, Callable[[Blueprint], Trainer]] = {
    "is_killed": fitting(be_killed),
    "reads_null": fitting(read_null),
    "ends_process": fitting(lambda: os._exit(3)),
    "calls_exit": fitting(lambda: sys.exit("done")),
    "crashes": fitting(crash),
    "interrupts": fitting(interrupt),
    "lacks_gpu_memory": fitting(lack_accelerator_memory),
    "loses_gpu": fitting(lose_accelerator),
    "leaks_files": fitting(leak_files),
    "diverges": too_fast,
    "puts_out_nan": putting_out(lambda right: right * np.nan),
    "puts_out_scores": putting_out(lambda right: right * 10.0 - 7.0),
    "puts_out_too_few": putting_out(lambda right: right[:-1]),
    "puts_out_words": putting_out(lambda right: right.astype(str)),
    "cannot_be_saved": Unsaveable,
    "hangs": fitting(hang),
}


@hookimpl
def register_architectures(register: Callable[[Architecture], None]) -> None:
    """All of them, for tables with classes."""
    types = (("tabular",), ("category",))
    for name, build in FAULTS.items():
        register(Architecture(name, "Goes wrong.", *types, build=build, **ONE))
    register(Architecture("hungry", "Wants memory.", *types, build=Hungry, **HUNGRY))
    register(Architecture("overfed", "Knows too much.", *types, build=Overfed, **ONE))
    register(Architecture("slow", "Takes its time.", *types, build=Slow, **ONE, baseline=True))
