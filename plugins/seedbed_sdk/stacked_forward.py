"""Forwards and backwards through several networks of one shape at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from seedbed_sdk.batches import Batch
from seedbed_sdk.stacked import Stack, Tensors
from seedbed_sdk.stacked_layers import Chain, chain_of, drawn_noise


class Passes(Protocol):
    """How a stack of K networks is run. With fewer than `least` it is no faster than each alone."""

    least: int

    def forward(self, batch: Batch) -> torch.Tensor:
        """Raw outputs [K, B, ...] in training, of inputs [K, B, ...]."""

    def backward(self, gradient: torch.Tensor) -> None:
        """From the gradient [K, B, ...] of the last `forward` into the stack's `gradients`."""

    def predict(self, batch: Batch) -> torch.Tensor:
        """Raw outputs [K, N, ...] of the state that is scored, of the same inputs [N, ...]."""


def passes_of(stack: Stack, generators: Sequence[torch.Generator], batch: Batch) -> Passes:
    """The fastest way through such networks. What a network draws at random in training comes from
    its own generator, in the order in which it draws alone. `batch` [K, B, ...] is an example."""
    chain = chain_of([learner.network for learner in stack.learners])
    if chain is not None and chain.suits(batch) and stack.device.type == "cpu":
        return Chain(chain, stack, generators)
    return _Mapped(stack, generators)


class _Mapped:
    """Any network whose operations `torch.func.vmap` knows."""

    # A step of one takes as long as two and a half steps without vmap.
    least = 4

    def __init__(self, stack: Stack, generators: Sequence[torch.Generator]) -> None:
        self._stack = stack
        self._network = copy.deepcopy(stack.learners[0].network)
        self._draws = _OwnDraws(generators, len(stack), stack.device)
        self._set_dropout([learner.network for learner in stack.learners])
        self._leaves = {n: t.detach().requires_grad_() for n, t in stack.trained.items()}
        self._state: Tensors = {**stack.state, **self._leaves}
        self._raw: torch.Tensor | None = None

    def forward(self, batch: Batch) -> torch.Tensor:
        def one(state: Tensors, inputs: Batch, place: torch.Tensor) -> torch.Tensor:
            with self._draws.at(place):
                raw: torch.Tensor = functional_call(self._network, state, (inputs,))
                return raw

        self._network.train()
        with torch.enable_grad(), self._autocast():
            raw: torch.Tensor = vmap(one, randomness="error")(
                self._state, batch, self._draws.places
            )
            self._raw = raw.float()
        return self._raw.detach()

    def backward(self, gradient: torch.Tensor) -> None:
        assert self._raw is not None
        found: Sequence[torch.Tensor | None] = torch.autograd.grad(
            self._raw, list(self._leaves.values()), gradient, allow_unused=True
        )
        self._raw = None
        for into, new in zip(self._stack.gradients.values(), found, strict=True):
            if new is None:
                into.zero_()
            else:
                into.copy_(new)

    def predict(self, batch: Batch) -> torch.Tensor:
        def one(state: Tensors) -> torch.Tensor:
            raw: torch.Tensor = functional_call(self._network, state, (batch,))
            return raw

        self._network.eval()
        raw: torch.Tensor = vmap(one)(self._stack.scored)
        return raw

    def _set_dropout(self, networks: Sequence[nn.Module]) -> None:
        for name, module in list(self._network.named_modules()):
            if type(module) is nn.Dropout:
                shares = [cast(nn.Dropout, own.get_submodule(name)).p for own in networks]
                self._network.set_submodule(name, _Dropout(shares, self._draws))

    def _autocast(self) -> torch.autocast:
        on = self._stack.device.type == "cuda"
        return torch.autocast(self._stack.device.type, dtype=torch.bfloat16, enabled=on)


class _Dropout(nn.Module):
    """Dropout with a share for each network."""

    def __init__(self, shares: Sequence[float], draws: _OwnDraws) -> None:
        super().__init__()
        self._shares = shares
        self._draws = draws

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._draws.dropout(x, self._shares) if self.training else x


class _OwnDraws(TorchFunctionMode):
    """Within `vmap`, has what is drawn at random drawn for each network from its own generator.
    What it does not know is left to vmap, which refuses it."""

    DRAWS = (torch.randint, torch.rand, torch.randn, torch.randperm)

    def __init__(
        self, generators: Sequence[torch.Generator], count: int, device: torch.device
    ) -> None:
        super().__init__()
        self.places = torch.arange(count, device=device)
        self._place = self.places[0]
        self._generators = generators

    def at(self, place: torch.Tensor) -> _OwnDraws:
        """For use where vmap goes over `places`."""
        self._place = place
        return self

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        if func in self.DRAWS and options.get("generator") is None:
            return self._draw(lambda _, own: func(*args, **{**options, "generator": own}))
        return func(*args, **options)

    def dropout(self, x: torch.Tensor, shares: Sequence[float]) -> torch.Tensor:
        """Leaves a share [K] of what lies in `x` out."""
        if not any(shares):
            return x
        # Within vmap this is the shape for one network.
        shape, dtype, device = x.shape, x.dtype, x.device

        def noise(place: int, own: torch.Generator) -> torch.Tensor:
            return drawn_noise(torch.empty(shape, dtype=dtype, device=device), shares[place], own)

        return x * self._draw(noise)

    def _draw(self, draw: Draw) -> torch.Tensor:
        drawn: torch.Tensor = _Draw.apply(self._place, self._generators, draw)
        return drawn


Draw = Callable[[int, torch.Generator], torch.Tensor]
"""Of the place of a network in the stack, and its generator."""


class _Draw(torch.autograd.Function):
    """A tensor that is drawn for each network by itself."""

    @staticmethod
    def forward(
        place: torch.Tensor,
        generators: Sequence[torch.Generator],
        draw: Draw,
    ) -> torch.Tensor:
        return draw(int(place), generators[int(place)])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:  # noqa: ARG004
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, None, None]:  # noqa: ARG004
        return None, None, None

    @staticmethod
    def vmap(
        info: Any,  # noqa: ARG004
        in_dims: Any,  # noqa: ARG004
        place: torch.Tensor,  # noqa: ARG004
        generators: Sequence[torch.Generator],
        draw: Draw,
    ) -> tuple[torch.Tensor, int]:
        return torch.stack([draw(k, own) for k, own in enumerate(generators)]), 0
