"""How many learners to train side by side: measured, since it depends on network and machine."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Hashable

import torch

from seedbed_sdk.batched import hindrance
from seedbed_sdk.batches import BatchSource
from seedbed_sdk.learner import Learner
from seedbed_sdk.stacked_steps import Together
from seedbed_sdk.trainer import Data, SplitArrays

SECONDS = 0.16
"""What measuring may take in all; each of its parts may take a step longer."""
LEAST_STEPS = 3
LEAST_GAIN = 1.1
"""Of trials a second, so that errors of measurement do not choose what loses."""
WORTH_DOUBLING = 1.08
MOST_PRODUCTS = 24_000_000
"""Weights times items of a batch, above which a CPU spends its time on the products themselves."""

_known: dict[Hashable, int] = {}


def batch_limit(learner: Learner, data: Data, most: int) -> int:
    """How many learners like this one train fastest together, from 1 to `most`.

    Times a few steps of it alone and of 2, 4, 8, … copies on items of `data`, in 0.2 s at most
    where a step is short, once per kind of network in a process. The learner stays as it is.
    """
    batch_size = min(learner.config.batch_size, len(data.train))
    weights = sum(parameter.numel() for parameter in learner._trained)
    if most < 2 or hindrance([learner]) is not None:
        return 1
    if learner.device.type == "cpu" and weights * batch_size > MOST_PRODUCTS:
        return 1
    key = (
        type(learner),
        repr(learner.network),
        tuple(parameter.shape for parameter in learner.network.parameters()),
        tuple((name, array.shape[1:]) for name, array in data.train.inputs.items()),
        batch_size,
        bool(learner.config.averaging),
        bool(learner.config.clip_norm),
        str(learner.device),
        torch.get_num_threads(),
        most,
    )
    if key not in _known:
        _known[key] = _measured(learner, data.train, batch_size, most)
    return _known[key]


def _measured(learner: Learner, train: SplitArrays, batch_size: int, most: int) -> int:
    rows = torch.arange(batch_size)
    few = SplitArrays(
        {name: array[:batch_size] for name, array in train.inputs.items()},
        train.target[:batch_size],
    )
    batch, target = BatchSource(few, learner.device).take(rows)
    ends = time.monotonic() + SECONDS
    with torch.random.fork_rng(devices=[]):
        lone = _twin(learner)
        alone = _seconds(lambda: lone._step(batch, target), learner.device, SECONDS / 6)
        best, best_gain, count = 1, LEAST_GAIN, 2
        while count <= most and time.monotonic() < ends:
            try:
                together = _seconds(
                    _steps_together(learner, batch, target, count), learner.device, SECONDS / 8
                )
            except RuntimeError:
                # The network does what cannot be done for several at once, or memory is short.
                break
            gain = alone * count / together
            if gain < best_gain:
                break
            best, best_gain, count = count, gain * WORTH_DOUBLING, count * 2
    return best


def _steps_together(
    learner: Learner, batch: dict[str, torch.Tensor], target: torch.Tensor, count: int
) -> Callable[[], object]:
    twins = [_twin(learner) for _ in range(count)]
    generators = [torch.Generator(learner.device) for _ in twins]
    together = Together(twins, generators)
    inputs = {name: torch.stack([tensor] * count) for name, tensor in batch.items()}
    wanted = torch.stack([target] * count)
    return lambda: together.step(inputs, wanted)


def _twin(learner: Learner) -> Learner:
    """A learner that shares nothing that training changes."""
    twin = copy.copy(learner)
    twin.network, twin.optimizer, twin.averaged = copy.deepcopy(
        (learner.network, learner.optimizer, learner.averaged)
    )
    twin._trained = [p for p in twin.network.parameters() if p.requires_grad]
    twin.generator = torch.Generator().manual_seed(learner.seed)
    twin.total_steps = max(1, learner.config.epochs)
    twin.network.train()
    return twin


def _seconds(step: Callable[[], object], device: torch.device, limit: float) -> float:
    """Of the fastest step, which other work on the machine disturbed least. The first ones, which
    warm up, are left out."""
    fastest = float("inf")
    ends = time.monotonic() + limit
    count = 0
    while count < LEAST_STEPS or time.monotonic() < ends:
        began = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if count:
            fastest = min(fastest, time.perf_counter() - began)
        count += 1
    return fastest
