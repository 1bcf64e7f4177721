"""The weights of several networks of one shape in one tensor each, and their AdamW as one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from seedbed_sdk.learner import Learner, share_kept

Tensors = dict[str, torch.Tensor]


class Stack:
    """K learners' networks, optimisers and averages, [K, ...] for each tensor of one network.

    Until `release` the learners' own tensors are views of these, so that a learner's network,
    optimiser and average are up to date after each step. What is trained lies behind each other in
    one flat buffer, so that AdamW is a handful of operations for all of it.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        self.learners = list(learners)
        self.device = learners[0].device
        named = [dict(learner.network.named_parameters()) for learner in learners]
        self._trained = {
            name: [parameters[name] for parameters in named]
            for name, parameter in named[0].items()
            if parameter.requires_grad
        }
        frozen = {
            name: torch.stack([parameters[name].detach() for parameters in named])
            for name, parameter in named[0].items()
            if not parameter.requires_grad
        }
        self._flat, self.trained = self._joined(self._trained)
        self._gradient, self.gradients = self._zeros()
        self._update, self._updates = self._zeros()
        self._first, self._firsts = self._joined(self._moments("exp_avg"))
        self._second, self._seconds = self._joined(self._moments("exp_avg_sq"))
        self._steps = torch.tensor(float(learners[0].step), device=self.device)
        self._buffers = _buffers([learner.network for learner in learners])
        self.buffers = {name: torch.stack(each) for name, each in self._buffers.items()}
        self.state: Tensors = {**self.trained, **frozen, **self.buffers}
        self._along = _Along(self._grouped(named), self.trained, self._updates, self._flat)
        norms = [learner.config.clip_norm or math.inf for learner in learners]
        self._norms = None if min(norms) == math.inf else torch.tensor(norms, device=self.device)
        self._betas: tuple[float, float] = learners[0].optimizer.defaults["betas"]
        self._eps: float = learners[0].optimizer.defaults["eps"]
        self._average = _Average(self) if any(learner.averaged for learner in learners) else None
        self._bind()

    def __len__(self) -> int:
        return len(self.learners)

    @property
    def scored(self) -> Tensors:
        """The state that is scored and kept: of the averages where there are such."""
        return self.state if self._average is None else self._average.state

    # --- one step of the optimiser ---------------------------------------------------------------

    def apply(self, rates: Sequence[float]) -> None:
        """AdamW with the learning rate of each, on the gradients that lie in `gradients`."""
        if self._norms is not None:
            self._clip(self._norms)
        # From zero, with rate 1 and no decay, this leaves the step that AdamW would take; how far
        # each goes along it and how much it decays before then differs.
        self._update.zero_()
        self._steps.add_(1.0)
        torch._fused_adamw_(
            [self._update],
            [self._gradient],
            [self._first],
            [self._second],
            [],
            [self._steps],
            lr=1.0,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=0.0,
            eps=self._eps,
            amsgrad=False,
            maximize=False,
        )
        self._along.step(rates)
        if self._average is not None:
            self._average.take()

    def _clip(self, most: torch.Tensor) -> None:
        """Bounds the norms of the gradients by `most` [K], as `clip_grad_norm_` does."""
        parts = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in self.gradients.values()]
        norms = torch.linalg.vector_norm(torch.stack(parts), dim=0)
        shares = (most / (norms + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(
            list(self.gradients.values()),
            [_beside(shares, gradient) for gradient in self.gradients.values()],
        )

    # --- joining and releasing -------------------------------------------------------------------

    def release(self) -> None:
        """Gives every learner tensors of its own; the stack is of no use any more."""
        for tensors in self._trained.values():
            for parameter in tensors:
                parameter.data = parameter.data.clone()
        for learner in self.learners:
            for state in learner.optimizer.state.values():
                for key, tensor in state.items():
                    state[key] = tensor.clone()
        _put_buffers([learner.network for learner in self.learners], self.buffers, copied=True)
        if self._average is not None:
            self._average.release()

    def _bind(self) -> None:
        for name, tensors in self._trained.items():
            for k, (learner, parameter) in enumerate(zip(self.learners, tensors, strict=True)):
                parameter.data = self.trained[name][k]
                learner.optimizer.state[parameter] = {
                    "step": self._steps,
                    "exp_avg": self._firsts[name][k],
                    "exp_avg_sq": self._seconds[name][k],
                }
        _put_buffers([learner.network for learner in self.learners], self.buffers)

    def _moments(self, key: str) -> dict[str, list[torch.Tensor]]:
        """Of the learners' optimisers; zero before the first step."""
        return {
            name: [
                learner.optimizer.state[parameter][key]
                if learner.optimizer.state.get(parameter)
                else torch.zeros_like(parameter)
                for learner, parameter in zip(self.learners, tensors, strict=True)
            ]
            for name, tensors in self._trained.items()
        }

    def _joined(
        self, tensors: Mapping[str, Iterable[torch.Tensor]]
    ) -> tuple[torch.Tensor, Tensors]:
        """A flat copy, and views [K, ...] of it by name."""
        stacked = {name: torch.stack([t.detach() for t in each]) for name, each in tensors.items()}
        flat = torch.cat([tensor.flatten() for tensor in stacked.values()])
        return flat, self._views(flat)

    def _zeros(self) -> tuple[torch.Tensor, Tensors]:
        flat = torch.zeros_like(self._flat)
        return flat, self._views(flat)

    def _views(self, flat: torch.Tensor) -> Tensors:
        views, start = {}, 0
        for name, tensors in self._trained.items():
            count = len(tensors) * tensors[0].numel()
            views[name] = flat[start : start + count].view(len(tensors), *tensors[0].shape)
            start += count
        return views

    def _grouped(self, named: Sequence[Mapping[str, nn.Parameter]]) -> list[_Group]:
        """The parameters whose learning rate and decay are the same."""
        found: dict[tuple[float, tuple[float, ...]], list[str]] = {}
        places = [
            {id(p): group for group in learner.optimizer.param_groups for p in group["params"]}
            for learner in self.learners
        ]
        for name in self._trained:
            groups = [
                place[id(parameters[name])] for place, parameters in zip(places, named, strict=True)
            ]
            key = groups[0]["scale"], tuple(group["weight_decay"] for group in groups)
            found.setdefault(key, []).append(name)
        return [_Group(scale, decays, names) for (scale, decays), names in found.items()]


class _Along:
    """Moves parameters [K, ...] along the updates, each network at its learning rate."""

    def __init__(
        self, groups: Sequence[_Group], values: Tensors, updates: Tensors, like: torch.Tensor
    ) -> None:
        self._groups = groups
        count = len(groups[0].decays)
        # For each group the learning rates, and the shares that decay leaves.
        self._numbers = like.new_zeros(2 * len(groups), count)
        self._values, self._updates, self._rates = [], [], []
        self._decaying, self._kept = [], []
        for place, group in enumerate(groups):
            rates, kept = self._numbers[2 * place : 2 * place + 2]
            for name in group.names:
                value = values[name]
                self._values.append(value)
                self._updates.append(updates[name])
                self._rates.append(_beside(rates, value))
                if any(group.decays):
                    self._decaying.append(value)
                    self._kept.append(_beside(kept, value))

    def step(self, rates: Sequence[float]) -> None:
        """Decays, then moves."""
        numbers = []
        for group in self._groups:
            own = [rate * group.scale for rate in rates]
            numbers.append(own)
            numbers.append(
                [1.0 - rate * decay for rate, decay in zip(own, group.decays, strict=True)]
            )
        self._numbers.copy_(torch.tensor(numbers))
        if self._decaying:
            torch._foreach_mul_(self._decaying, self._kept)
        torch._foreach_addcmul_(self._values, self._updates, self._rates)


@dataclass(frozen=True, slots=True)
class _Group:
    """Parameters that share a factor of the learning rate and the decays [K]."""

    scale: float
    decays: tuple[float, ...]
    names: list[str]


class _Average:
    """The learners' moving averages, [K, ...]; of those without one, the weights themselves."""

    def __init__(self, stack: Stack) -> None:
        self._learners = stack.learners
        self._decays = [learner.config.averaging for learner in stack.learners]
        self._counts = [
            0 if learner.averaged is None else int(learner.averaged.n_averaged)
            for learner in stack.learners
        ]
        self._source = stack.state
        scored = [learner._scored() for learner in stack.learners]
        named = [
            dict(itertools.chain(module.named_parameters(), module.named_buffers()))
            for module in scored
        ]
        self.state = {
            name: torch.stack([tensors[name].detach() for tensors in named]) for name in stack.state
        }
        self._floating = [n for n, tensor in self.state.items() if tensor.is_floating_point()]
        for k, module in enumerate(scored):
            if stack.learners[k].averaged is not None:
                for name, parameter in module.named_parameters():
                    parameter.data = self.state[name][k]
        self._averaging = [learner for learner in stack.learners if learner.averaged is not None]
        self._put(copied=False)

    def take(self) -> None:
        """Takes the weights after a step in."""
        new = [
            1.0 - share_kept(decay, count)
            for decay, count in zip(self._decays, self._counts, strict=True)
        ]
        self._counts = [count + 1 for count in self._counts]
        first = next(iter(self.state.values()))
        weights = torch.tensor(new, device=first.device)
        torch._foreach_lerp_(
            [self.state[name] for name in self._floating],
            [self._source[name] for name in self._floating],
            [_beside(weights, self.state[name]) for name in self._floating],
        )
        for name, tensor in self.state.items():
            if not tensor.is_floating_point():
                tensor.copy_(self._source[name])

    def release(self) -> None:
        """Gives the learners averages of their own."""
        for learner, count in zip(self._learners, self._counts, strict=True):
            if learner.averaged is not None:
                learner.averaged.n_averaged.fill_(count)
                for parameter in learner.averaged.module.parameters():
                    parameter.data = parameter.data.clone()
        self._put(copied=True)

    def _put(self, *, copied: bool) -> None:
        for k, learner in enumerate(self._learners):
            if learner.averaged is not None:
                own = {name: tensor[k : k + 1] for name, tensor in self.state.items()}
                _put_buffers([learner.averaged.module], own, copied=copied)


def _beside(each: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A number [K] for each network, so that it goes with [K, ...]."""
    return each.view(-1, *[1] * (like.ndim - 1))


def _buffers(networks: Sequence[nn.Module]) -> dict[str, list[torch.Tensor]]:
    named = [dict(network.named_buffers()) for network in networks]
    return {name: [buffers[name] for buffers in named] for name in named[0]}


def _put_buffers(
    networks: Sequence[nn.Module], stacked: Mapping[str, torch.Tensor], *, copied: bool = False
) -> None:
    """Puts row k of each stacked buffer into network k, or a copy of it."""
    for k, network in enumerate(networks):
        for name, _ in list(network.named_buffers()):
            owner, _, leaf = name.rpartition(".")
            own = stacked[name][k]
            network.get_submodule(owner)._buffers[leaf] = own.clone() if copied else own
