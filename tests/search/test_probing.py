"""What a trial is said to take, by training it for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner import Batch, Learner, LearnerConfig
from seedbed_sdk.metrics import Metric
from seedbed_sdk.registry import load
from seedbed_sdk.space import IntRange
from seedbed_sdk.trainer import (
    Architecture,
    Blueprint,
    Data,
    Diverged,
    EpochReport,
    Hardware,
    Interrupted,
    Run,
    SplitArrays,
    Trainer,
)
from seedbed_server.search.probing import NOT_IN_TIME, TrialCost, probe, probe_on_parts

ITEMS, VALID = 1000, 100
ACCURACY = Metric("accuracy", True, ("category",), lambda target, outputs: 0.5)


class Slow:
    """Takes a certain time for features of each item, kept under a key, for each epoch, and for
    each validation pass, which comes after the first epoch, every so many, and at the end."""

    def __init__(
        self,
        epochs: int,
        *,
        item: float = 0.0,
        epoch: float = 0.0,
        every: int = 1,
        validating: float = 0.0,
    ) -> None:
        self.epochs, self.item, self.epoch = epochs, item, epoch
        self.every, self.validating = every, validating

    def fit(self, data: Data, run: Run) -> None:
        def compute() -> Arrays:
            for start in range(0, len(data.train), 50):
                if run.should_stop():
                    raise Interrupted("stopped while computing")
                spend(self.item * min(50, len(data.train) - start))
            return {"features": np.zeros(len(data.train))}

        data.stored(("features",), compute)
        outputs = np.zeros((len(data.valid), 2))
        for epoch in range(1, self.epochs + 1):
            spend(self.epoch * len(data.train) / ITEMS)
            due = epoch in (1, self.epochs) or epoch % self.every == 0
            if not due and not run.should_stop():
                continue
            spend(self.validating)
            report = EpochReport(
                epoch,
                self.epochs,
                outputs,
                epoch * len(data.train),
                predict_seconds=3 * self.validating,
                validation_seconds=self.validating,
                every=self.every,
            )
            if run.report(report).stop:
                return

    def predict(self, inputs: Arrays) -> Array:
        return np.zeros((len(inputs["x"]), 2))

    def save(self, folder: Path) -> None:
        """Nothing."""

    def load(self, folder: Path) -> None:
        """Nothing."""


def spend(seconds: float) -> None:
    """Works for a time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def assert_about(measured: float, true: float) -> None:
    """It takes no less, and where the machine is busy it may take a good deal more."""
    assert 0.5 * true <= measured <= 10 * true


class Line(nn.Module):
    """Two outputs of the two numbers of `split`."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(2, 2)

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.line(batch["x"].float())  # type: ignore[no-any-return]


class Steps(Learner):
    """A network whose steps and validation passes take a certain time."""

    def step_at(self, rate: float, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        spend(0.01)
        return super().step_at(rate, batch, target)

    def predict(self, inputs: Arrays) -> Array:
        spend(0.02)
        return super().predict(inputs)


class Clock:
    """Goes on only where somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In the place of the real one."""
    clock = Clock()

    def work(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(f"{__name__}.spend", work)
    monkeypatch.setattr("seedbed_server.search.probing.time", clock)
    monkeypatch.setattr("seedbed_sdk.learner.time", clock)
    return clock


def split(count: int) -> SplitArrays:
    return SplitArrays({"x": np.zeros((count, 2))}, np.zeros(count, dtype=np.int64))


@pytest.fixture
def block() -> DataBlock:
    blocks = load().blocks
    frame = pd.DataFrame({"x": [1.0, 2.0] * 4, "y": ["a", "b"] * 4})
    made = DataBlock([blocks["tabular"]()], blocks["category"]("y"), {"train": frame})
    made.target.fit(frame)
    return made


def measured(
    block: DataBlock, build: Callable[[Blueprint], Trainer], how: Callable[..., TrialCost] = probe
) -> TrialCost:
    space = {"epochs": IntRange(1, 100)}
    slow = Architecture("slow", "Slow.", ("tabular",), ("category",), build, space, ())
    data = Data(split(ITEMS), split(VALID))
    return how(slow, {}, block, data, ACCURACY, hardware=Hardware(), seed=0, limit=0.3, longest=0.6)


def test_a_short_trial_is_trained_to_its_end(block: DataBlock) -> None:
    cost = measured(block, lambda _: Slow(5, epoch=0.01))
    assert cost.problem == ""
    assert cost.epochs == 5
    assert cost.samples == 5 * ITEMS
    assert_about(cost.seconds, 0.05)
    assert cost.memory_bytes > 10**7


def test_a_long_trial_is_told_from_its_first_epochs(block: DataBlock) -> None:
    cost = measured(block, lambda _: Slow(100, epoch=0.05))
    assert cost.epochs == 100
    assert cost.samples == 100 * ITEMS
    assert_about(cost.epoch_seconds, 0.05)
    assert_about(cost.seconds, 5.0)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("epoch", [0.002, 0.02, 0.05, 0.4])
@pytest.mark.parametrize("validating", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("every", [1, 4, 30])
def test_validation_passes_count_as_often_as_they_come(
    block: DataBlock, epoch: float, validating: float, every: int
) -> None:
    cost = measured(block, lambda _: Slow(90, epoch=epoch, every=every, validating=validating))
    passes = {1, *range(every, 91, every), 90}
    assert cost.seconds == pytest.approx(90 * epoch + len(passes) * validating)
    assert cost.epoch_seconds == pytest.approx(cost.seconds / 90)
    assert cost.reports() == [number / 90 for number in sorted(passes)]
    assert (cost.epochs, cost.samples, cost.begin_seconds) == (90, 90 * ITEMS, pytest.approx(0.0))


@pytest.mark.usefixtures("clock")
def test_an_epoch_that_was_cut_short_counts_as_far_as_it_went(block: DataBlock) -> None:
    config = LearnerConfig(epochs=40, learning_rate=1e-3, batch_size=100, validate_every=10)

    def build(blueprint: Blueprint) -> Trainer:
        return Steps(Line(), blueprint.block, config)

    cost = measured(block, build)
    # Ten steps an epoch, and five validation passes.
    assert cost.seconds == pytest.approx(40 * 10 * 0.01 + 5 * 0.02, rel=0.01)
    assert cost.samples == pytest.approx(40 * ITEMS)
    assert cost.continues


def test_what_is_computed_once_is_told_apart(block: DataBlock) -> None:
    cost = measured(block, lambda _: Slow(5, item=2e-4, epoch=0.01))
    assert_about(cost.seconds, 0.05)
    assert_about(dict(cost.shared)["('features',)"], 0.2)


def test_what_takes_long_before_the_first_epoch_is_told_from_few_items(block: DataBlock) -> None:
    def build(_: Blueprint) -> Trainer:
        return Slow(10, item=1e-3, epoch=0.1)

    assert measured(block, build).problem.startswith(NOT_IN_TIME)
    cost = measured(block, build, probe_on_parts)
    assert cost.problem == ""
    assert_about(dict(cost.shared)["('features',)"], 1.0)
    assert_about(cost.seconds, 1.0)
    assert cost.samples == pytest.approx(10 * ITEMS)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Diverged("the loss is nan"), "diverges: the loss is nan"),
        (MemoryError(), "needs more memory than there is"),
        (ZeroDivisionError("by zero"), "crashes: ZeroDivisionError: by zero"),
    ],
)
def test_a_trial_that_fails_is_named(block: DataBlock, error: Exception, said: str) -> None:
    def build(_: Blueprint) -> Trainer:
        raise error

    assert measured(block, build).problem == said
