"""The steps of several learners at once, and the batches for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from seedbed_sdk.batches import Batch, BatchSource, tensor_of_rows
from seedbed_sdk.blocks.base import Array
from seedbed_sdk.learner import Learner
from seedbed_sdk.stacked import Stack
from seedbed_sdk.stacked_forward import Passes, passes_of
from seedbed_sdk.stacked_loss import loss_of
from seedbed_sdk.trainer import SplitArrays

# As much as a core's own cache holds beside the weights.
GATHERED_BYTES = 2**20


class Together:
    """The steps of learners that are in the batch now; what they draw at random in a step comes
    from `generators`."""

    def __init__(self, learners: Sequence[Learner], generators: Sequence[torch.Generator]) -> None:
        self._learners = list(learners)
        self._generators = list(generators)
        self.stack = Stack(self._learners)
        self._loss = loss_of(self._learners)
        self._losses = torch.zeros(len(learners), device=self.stack.device)
        self._passes: Passes | None = None
        self._transforms = any(learner.transform is not None for learner in self._learners)
        # One block without ways of its own activates for all at once.
        self._alike = all(
            own.block is self._learners[0].block and type(own)._activate is Learner._activate
            for own in self._learners
        )

    @torch.no_grad()
    def step(self, batch: Batch, target: torch.Tensor) -> None:
        """One step of each, on inputs and target [K, B, ...]."""
        if self._transforms:
            batch, target = self._transformed(batch, target)
        if self._passes is None:
            self._passes = passes_of(self.stack, self._generators, batch)
        raw = self._passes.forward(batch)
        losses, gradient = self._loss(raw, target)
        self._passes.backward(gradient)
        self.stack.apply([learner._rate() for learner in self._learners])
        self._losses += losses

    @property
    def least(self) -> int:
        """With fewer learners it is no faster than each alone; known after the first step."""
        return 1 if self._passes is None else self._passes.least

    def take_losses(self) -> list[float]:
        """The sum of each one's losses since it was last asked for."""
        losses: list[float] = self._losses.tolist()
        self._losses.zero_()
        return losses

    @torch.no_grad()
    def predict(self, split: SplitArrays) -> list[Array]:
        """The activated outputs [N, ...] of each."""
        assert self._passes is not None
        size = self._learners[0].config.predict_batch_size
        parts = []
        for start in range(0, len(split), size):
            part = slice(start, start + size)
            batch = {
                name: tensor_of_rows(array, part, self.stack.device)
                for name, array in split.inputs.items()
            }
            parts.append(self._activated(self._passes.predict(batch)).cpu())
        outputs = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        # Copies, since the one who keeps one of them would keep all.
        return [own.copy() for own in outputs.numpy()]

    def _activated(self, raw: torch.Tensor) -> torch.Tensor:
        """Of raw outputs [K, N, ...]."""
        if self._alike and raw.ndim > 2:
            flat = self._learners[0]._activate(raw.flatten(0, 1))
            return flat.view(*raw.shape[:2], *flat.shape[1:])
        each = zip(self._learners, raw.unbind(), strict=True)
        return torch.stack([learner._activate(own) for learner, own in each])

    def _transformed(self, batch: Batch, target: torch.Tensor) -> tuple[Batch, torch.Tensor]:
        done = []
        for k, learner in enumerate(self._learners):
            own = {name: tensor[k] for name, tensor in batch.items()}, target[k]
            if learner.transform is not None:
                own = learner.transform(*own, learner.generator)
            done.append(own)
        names = done[0][0]
        inputs = {name: torch.stack([own[name] for own, _ in done]) for name in names}
        return inputs, torch.stack([wanted for _, wanted in done])


class Feed:
    """One epoch's batches of every learner, in the orders that they draw; some steps are gathered
    at once."""

    def __init__(
        self,
        source: BatchSource,
        split: SplitArrays,
        learners: Sequence[Learner],
        batch_size: int,
    ) -> None:
        self._source = source
        self._batch_size = batch_size
        self._order = torch.stack(
            [torch.randperm(len(source), generator=own.generator) for own in learners]
        )
        arrays = (*split.inputs.values(), split.target)
        self._row_bytes = sum(array[:1].nbytes for array in arrays)
        self.keep(range(len(learners)))

    def keep(self, places: Sequence[int]) -> None:
        """Goes on for those at these places alone."""
        self._order = self._order[list(places)]
        step_bytes = self._row_bytes * self._batch_size * len(places)
        self._ahead = max(1, GATHERED_BYTES // max(1, step_bytes))
        self._start = self._end = 0

    def take(self, index: int) -> tuple[Batch, torch.Tensor]:
        """Inputs and target [K, B, ...] of a step of the epoch."""
        if not self._start <= index < self._end:
            self._gather(index)
        batch = {name: tensor[index - self._start] for name, tensor in self._inputs.items()}
        return batch, self._target[index - self._start]

    def _gather(self, index: int) -> None:
        members, items = self._order.shape
        steps = min(self._ahead, max(1, items // self._batch_size - index))
        begin = index * self._batch_size
        rows = self._order[:, begin : begin + steps * self._batch_size]
        in_turn = rows.view(members, steps, -1).transpose(0, 1).reshape(-1)
        batch, target = self._source.take(in_turn.to(self._source.place))
        # Given as a number, since what has no columns leaves it open.
        shape = steps, members, self._batch_size
        self._inputs = {
            name: tensor.view(*shape, *tensor.shape[1:]) for name, tensor in batch.items()
        }
        self._target = target.view(*shape, *target.shape[1:])
        self._start, self._end = index, index + steps
