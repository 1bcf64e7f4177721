"""How many learners to train side by side: measured, since it depends on network and machine."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seedbed_sdk.batched import hindrance
from seedbed_sdk.batches import Batch, BatchSource
from seedbed_sdk.learner import Learner, limited_threads
from seedbed_sdk.stacked_layers import chain_of
from seedbed_sdk.stacked_steps import Together
from seedbed_sdk.trainer import Data, SplitArrays

SECONDS = 0.3
"""What measuring may take in all; each of its parts may take a step longer."""
LEAST_STEPS = 3
LEAST_GAIN = 1.1
"""Of trials a second, so that errors of measurement do not choose what loses."""
WORTH_DOUBLING = 1.08
MOST_PRODUCTS = 24_000_000
"""Weights times items of a batch, above which a CPU spends its time on the products themselves."""
MOST_WEIGHTS = 90_000
"""Above which a CPU, where nothing was timed, is taken to spend its time on moving them."""
MOST_NUMBERS = 9_500
"""That an operation gives on average, above which a CPU spends its time on them and no longer on
deciding what to do. For networks that go through vmap: of 8 together, TabM with 8 members of 64
gains 1.6 times with 11 items in a batch, and nothing with 35. Chains of layers gain also above."""

_known: dict[Hashable, int] = {}


def batch_limit(learner: Learner, data: Data, most: int, *, timed: bool = True) -> int:
    """How many learners like this one train fastest together, from 1 to `most`. The learner stays
    as it is.

    Where they are small enough to gain, times a few steps of one alone and of 2, 4, 8, … copies on
    items of `data`, in 0.4 s at most where a step is short, once per kind of network in a process.
    If not `timed`, the answer depends on their sizes alone, and is the same each time: `most` or 1,
    and always 1 on an accelerator.
    """
    batch_size = learner.batch_size_for(len(data.train))
    if most < 2 or hindrance([learner]) is not None:
        return 1
    on_cpu = learner.device.type == "cpu"
    if not on_cpu and not timed:
        return 1
    weights = sum(parameter.numel() for parameter in learner._trained)
    if on_cpu and (weights * batch_size > MOST_PRODUCTS or (weights > MOST_WEIGHTS and not timed)):
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
        timed,
    )
    if key not in _known:
        example = _example(learner, data.train, batch_size)
        with torch.random.fork_rng(devices=[]):
            if on_cpu and not _is_small(learner, example):
                _known[key] = 1
            elif timed:
                _known[key] = _measured(learner, example, most)
            else:
                _known[key] = most if _can_be_stacked(learner, example) else 1
    return _known[key]


Example = tuple[Batch, torch.Tensor]
"""Inputs and target of a batch."""


def _example(learner: Learner, train: SplitArrays, batch_size: int) -> Example:
    few = SplitArrays(
        {name: array[:batch_size] for name, array in train.inputs.items()},
        train.target[:batch_size],
    )
    return BatchSource(few, learner.device).take(torch.arange(batch_size))


class _Numbers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and the numbers that they give."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: int = 0
        self.numbers: int = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        self.numbers += sum(x.numel() for x in tree_leaves(result) if isinstance(x, torch.Tensor))
        return result


def _is_small(learner: Learner, example: Example) -> bool:
    """Whether a forward pass is a chain of layers, or rather many operations than large ones."""
    if chain_of([learner.network]) is not None:
        return True
    twin, (batch, target) = _twin(learner), example
    if twin.transform is not None:
        batch, target = twin.transform(batch, target, twin.generator)
    with torch.no_grad(), _Numbers() as counted:
        twin.network(batch)
    small: bool = counted.numbers <= MOST_NUMBERS * counted.operations
    return small


def _can_be_stacked(learner: Learner, example: Example) -> bool:
    try:
        _steps_together(learner, example, 2)()
    except RuntimeError:
        # The network does what cannot be done for several at once.
        return False
    return True


def _measured(learner: Learner, example: Example, most: int) -> int:
    ends = time.monotonic() + SECONDS
    items = len(example[1])
    with limited_threads(learner.threads_for(items)):
        lone = _twin(learner)
        alone = _seconds(lambda: lone._step(*example), learner.device, SECONDS / 6)
    best, best_gain, count, before = 1, LEAST_GAIN, 2, 0.0
    while count <= most and time.monotonic() < ends:
        try:
            step = _steps_together(learner, example, count)
            with limited_threads(learner.threads_for(items * count)):
                together = _seconds(step, learner.device, SECONDS / 8)
        except RuntimeError:
            # The network does what cannot be done for several at once, or memory is short.
            break
        gain = alone * count / together
        if gain > best_gain:
            best, best_gain = count, gain * WORTH_DOUBLING
        # Part of a step takes as long however few there are, so that two may lose where eight gain.
        each = 2 * (together - before) / count if before else 0.0
        if alone * most < LEAST_GAIN * (together + each * (most - count)):
            break
        before, count = together, count * 2
    return best


def _steps_together(learner: Learner, example: Example, count: int) -> Callable[[], object]:
    twins = [_twin(learner) for _ in range(count)]
    generators = [torch.Generator(learner.device) for _ in twins]
    together = Together(twins, generators)
    batch, target = example
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
