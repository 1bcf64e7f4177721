"""What a model costs where it is used: the time of an answer and the room of its files."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from seedbed_sdk import bundle
from seedbed_sdk.blocks.base import Arrays
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.dataset import FileRef
from seedbed_sdk.errors import SeedbedError
from seedbed_sdk.registry import Registry
from seedbed_sdk.trainer import Blueprint, Hardware, Trainer
from seedbed_server.jobs.values import Constraints
from seedbed_server.store.files import full_disk_is_an_error

WARM_UP = 3
MOST_ANSWERS = 30
ENOUGH_SECONDS = 0.3
MOMENT = 0.15


@dataclass(frozen=True, slots=True)
class Cost:
    """The median seconds of answering one example, None where that could not be measured, and the
    bytes of the bundle's files."""

    latency_seconds: float | None
    size_bytes: int

    def share(self, constraints: Constraints) -> float:
        """Of the limit that is nearest: at most 1 where all are met, infinite where a limit is set
        on what could not be measured."""
        shares = [0.0]
        if constraints.max_latency_seconds is not None:
            latency = math.inf if self.latency_seconds is None else self.latency_seconds
            shares.append(latency / constraints.max_latency_seconds)
        if constraints.max_size_bytes is not None:
            shares.append(self.size_bytes / constraints.max_size_bytes)
        return max(shares)

    def text(self) -> str:
        """For a sentence: `1.25 ms for one example and 12,345 bytes`."""
        took = "an unknown time" if self.latency_seconds is None else milliseconds(self)
        return f"{took} for one example and {self.size_bytes:,} bytes"


def milliseconds(cost: Cost) -> str:
    """The latency for people."""
    return f"{(cost.latency_seconds or 0.0) * 1e3:.3g} ms"


def raw_example(block: DataBlock) -> Mapping[str, Any]:
    """The first training item as somebody would ask about it, by column."""
    items = block.items["train"]
    names = [name for name in items.columns if name not in block.target.columns]
    values = {str(name): items[name].iloc[0] for name in names}
    return {k: v.read() if isinstance(v, FileRef) else v for k, v in values.items()}


def seconds_for_an_item(trainer: Trainer, inputs: Arrays) -> float:
    """How long predicting takes for each item of many, from its encoded inputs on, by a batch as
    large as takes a moment to predict; what a call takes that does not grow with the batch is left
    out."""
    count = len(next(iter(inputs.values())))

    def seconds_of(size: int) -> float:
        batch = {name: array[:size] for name, array in inputs.items()}
        began = time.perf_counter()
        trainer.predict(batch)
        return time.perf_counter() - began

    # The first call may load what training did not need, such as a backbone.
    seconds_of(1)
    alone = seconds = seconds_of(1)
    size = 1
    while seconds <= MOMENT and size < count:
        size = min(4 * size, count)
        seconds = seconds_of(size)
    if seconds > 2 * alone:
        return (seconds - alone) / (size - 1)
    return seconds / size


@dataclass(frozen=True)
class Meter:
    """Measures bundles as they will be served: opened anew, on a processor and one thread.
    `example` is a raw item, with columns that a model may not need."""

    registry: Registry
    example: Mapping[str, Any]

    def measure(self, folder: Path) -> Cost:
        """The cost of the bundle in a folder. Takes about a third of a second, longer where an
        answer does."""
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return Cost(self._latency(folder), size)

    def measure_trainer(
        self, folder: Path, trainer: Trainer, architecture: str, blueprint: Blueprint
    ) -> Cost:
        """The cost of the bundle of a trainer alone, which is written into `folder` for that and
        removed. Raises ResourceExhausted where the disk is full."""
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with full_disk_is_an_error(folder.parent):
                folder.mkdir(parents=True)
                bundle.write(
                    folder,
                    block=blueprint.block,
                    trainer=trainer,
                    architecture=architecture,
                    parameters=blueprint.parameters,
                    seed=blueprint.seed,
                    about={},
                )
            return self.measure(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _latency(self, folder: Path) -> float | None:
        predictor = bundle.open_bundle(folder, self.registry, Hardware())
        names = [field.name for field in predictor.block.fields()]
        if not set(names) <= self.example.keys():
            return None
        example = {name: self.example[name] for name in names}
        taken: list[float] = []
        began = time.monotonic()
        try:
            while len(taken) < WARM_UP + MOST_ANSWERS:
                start = time.perf_counter()
                predictor.predict([example])
                taken.append(time.perf_counter() - start)
                if len(taken) > WARM_UP and time.monotonic() - began > ENOUGH_SECONDS:
                    break
        except SeedbedError:
            # This very item may be one of those that cannot be used.
            return None
        return median(taken[WARM_UP:])
