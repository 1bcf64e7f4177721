"""The learning rate range test: which rate suits a network, found in a few steps."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from seedbed_sdk.batches import BatchSource
from seedbed_sdk.learner import Learner
from seedbed_sdk.trainer import SplitArrays

STEPS = 100
LOWEST, HIGHEST = 1e-6, 1.0
# Of the exponential moving average of the losses.
SMOOTHING = 0.9
# The loss has left the valley for good where it is so many times what it was at its lowest.
DIVERGED = 4.0
# The warm-up of the optimiser's moments tells nothing of the rates.
LEAST_STEPS = 12
# The first step, which warms up, is not the pace.
PACE_STEPS = 6
OF_THE_LOWEST = 0.1


@dataclass(frozen=True, slots=True)
class RangeTest:
    """The rates that were tried, growing, and the smoothed loss after each. `suggested` is the rate
    to train with; None where no rate brought the loss down. `samples` is how many training items
    were passed."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float | None
    samples: int


def range_test(
    learner: Learner,
    train: SplitArrays,
    *,
    steps: int = STEPS,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    seconds: float = math.inf,
) -> RangeTest:
    """Trains for up to `steps` steps, each with a rate larger than the one before by the same
    factor, and leaves the learner as it was (Smith 2017, "Cyclical Learning Rates for Training
    Neural Networks").

    Suggested is a tenth of the rate at which the loss was lowest, which is fastai's `minimum`.
    Where by the pace of the first steps all would take more than `seconds`, nothing is. Otherwise
    it is the same for the same seed, whatever the clock says. To be used before `fit`.
    """
    rates: list[float] = []
    losses: list[float] = []
    source = BatchSource(train, learner.device)
    size = min(learner.config.batch_size, len(train))
    average, least, samples = 0.0, math.inf, 0
    suggested: float | None = None
    with _left_as_it_was(learner):
        began = time.monotonic()
        for step, rows in zip(range(steps), _batches(len(train), size, learner.seed), strict=False):
            rate = lowest * (highest / lowest) ** (step / max(1, steps - 1))
            loss = learner.step_at(rate, *source.take(rows.to(source.place)))
            samples += len(rows)
            average = SMOOTHING * average + (1.0 - SMOOTHING) * float(loss)
            smoothed = average / (1.0 - SMOOTHING ** (step + 1))
            if not math.isfinite(smoothed):
                break
            rates.append(rate)
            losses.append(smoothed)
            least = min(least, smoothed)
            if smoothed == least and step >= LEAST_STEPS:
                suggested = rate * OF_THE_LOWEST
            if step > LEAST_STEPS and smoothed > DIVERGED * least:
                break
            if step == PACE_STEPS and (time.monotonic() - began) * steps > seconds * step:
                return RangeTest(tuple(rates), tuple(losses), None, samples)
    return RangeTest(tuple(rates), tuple(losses), suggested, samples)


def _batches(count: int, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Numbers of rows, each row once before any comes again."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=generator)
        yield from (order[start : start + size] for start in range(0, count - size + 1, size))


@contextmanager
def _left_as_it_was(learner: Learner) -> Iterator[None]:
    """Takes back what the block does to weights, optimiser, counters and random states."""
    network = copy.deepcopy(learner.network.state_dict())
    optimizer = copy.deepcopy(learner.optimizer.state_dict())
    averaged = None if learner.averaged is None else copy.deepcopy(learner.averaged.state_dict())
    batches, micro_batch = learner.generator.get_state(), learner.micro_batch
    devices = [learner.device] if learner.device.type == "cuda" else []
    training = learner.network.training
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(learner.seed)
            learner.network.train()
            yield
    finally:
        learner.network.load_state_dict(network)
        learner.network.train(training)
        learner.optimizer.load_state_dict(optimizer)
        if learner.averaged is not None and averaged is not None:
            learner.averaged.load_state_dict(averaged)
        learner.generator.set_state(batches)
        learner.micro_batch = micro_batch
