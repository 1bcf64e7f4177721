"""Forwards and backwards through several networks of one shape at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from seedbed_sdk.batches import Batch
from seedbed_sdk.stacked import Stack, Tensors
from seedbed_sdk.stacked_layers import Chain, chain_of


class Passes(Protocol):
    """How a stack of K networks is run."""

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

    def __init__(self, stack: Stack, generators: Sequence[torch.Generator]) -> None:
        self._stack = stack
        self._network = copy.deepcopy(stack.learners[0].network)
        self._leaves = {n: t.detach().requires_grad_() for n, t in stack.trained.items()}
        self._state: Tensors = {**stack.state, **self._leaves}
        self._generators = generators
        self._places = torch.arange(len(stack), device=stack.device)
        self._raw: torch.Tensor | None = None

    def forward(self, batch: Batch) -> torch.Tensor:
        def one(state: Tensors, inputs: Batch, place: torch.Tensor) -> torch.Tensor:
            with _OwnDraws(place, self._generators):
                raw: torch.Tensor = functional_call(self._network, state, (inputs,))
                return raw

        self._network.train()
        with torch.enable_grad(), self._autocast():
            raw: torch.Tensor = vmap(one, randomness="error")(self._state, batch, self._places)
            self._raw = raw.float()
        return self._raw.detach()

    def backward(self, gradient: torch.Tensor) -> None:
        assert self._raw is not None
        found = torch.autograd.grad(
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

    def _autocast(self) -> torch.autocast:
        on = self._stack.device.type == "cuda"
        return torch.autocast(self._stack.device.type, dtype=torch.bfloat16, enabled=on)


class _OwnDraws(TorchFunctionMode):
    """Within `vmap` over `place`, has what is drawn at random drawn for each from its own
    generator. What it does not know is left to vmap, which refuses it."""

    DRAWS = (torch.randint, torch.rand, torch.randn, torch.randperm)

    def __init__(self, place: torch.Tensor, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self._place = place
        self._generators = generators

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401, ARG002
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        options = kwargs or {}
        if func is nn.functional.dropout:
            return self._dropout(*args, **options)
        if func in self.DRAWS and options.get("generator") is None:
            return self._draw(lambda own: func(*args, **{**options, "generator": own}))
        return func(*args, **options)

    def _dropout(
        self, x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        if not training or p == 0.0 or inplace:
            return nn.functional.dropout(x, p, training, inplace)
        shape, dtype, device = x.shape, x.dtype, x.device
        noise = self._draw(lambda own: drawn_noise(shape, p, own, dtype=dtype, device=device))
        return x * noise

    def _draw(self, draw: Callable[[torch.Generator], torch.Tensor]) -> torch.Tensor:
        drawn: torch.Tensor = _Draw.apply(self._place, self._generators, draw)
        return drawn


class _Draw(torch.autograd.Function):
    """A tensor that is drawn for each network by itself."""

    @staticmethod
    def forward(
        place: torch.Tensor,
        generators: Sequence[torch.Generator],
        draw: Callable[[torch.Generator], torch.Tensor],
    ) -> torch.Tensor:
        return draw(generators[int(place)])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: torch.Tensor) -> None:  # noqa: ANN401, ARG004
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, None, None]:  # noqa: ANN401, ARG004
        return None, None, None

    @staticmethod
    def vmap(
        info: Any,  # noqa: ANN401, ARG004
        in_dims: Any,  # noqa: ANN401, ARG004
        place: torch.Tensor,  # noqa: ARG004
        generators: Sequence[torch.Generator],
        draw: Callable[[torch.Generator], torch.Tensor],
    ) -> tuple[torch.Tensor, int]:
        return torch.stack([draw(own) for own in generators]), 0


def drawn_noise(
    shape: Sequence[int],
    p: float,
    generator: torch.Generator,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> torch.Tensor:
    """What dropout multiplies by, drawn as `torch.nn.functional.dropout` draws on a CPU."""
    noise = torch.empty(tuple(shape), dtype=dtype, device=device)
    return noise.bernoulli_(1.0 - p, generator=generator).div_(1.0 - p)
