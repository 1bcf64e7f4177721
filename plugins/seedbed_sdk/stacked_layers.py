"""Chains of common layers, forwards and backwards for several networks at once.

Autograd and `vmap` take longer to decide what to do than such small layers take to do it. Items are
kept last, [K, features, B], which spares most products a transposed operand.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast
from weakref import WeakKeyDictionary

import torch
from torch import fx, nn

from seedbed_sdk.batches import Batch
from seedbed_sdk.stacked import Stack, Tensors

aten = torch.ops.aten

# Tracing takes as long as some steps, and is asked for again whenever a trial has left the batch.
_traces: WeakKeyDictionary[nn.Module, tuple[str, list[str]] | None] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """Networks that pass the input of this name through these layers; `layers` holds the name of
    each and the module of each network."""

    input: str
    layers: list[tuple[str, list[nn.Module]]]

    def suits(self, batch: Batch) -> bool:
        """Whether the input is a table of numbers, [K, B, F] float32."""
        tensor = batch[self.input]
        return tensor.ndim == 3 and tensor.dtype == torch.float32


def chain_of(networks: Sequence[nn.Module]) -> ChainPlan | None:
    """The plan of networks that are a chain of known layers; None for others."""
    first = networks[0]
    if first not in _traces:
        _traces[first] = _traced(first)
    traced = _traces[first]
    if traced is None:
        return None
    name, targets = traced
    layers = [(target, [n.get_submodule(target) for n in networks]) for target in targets]
    if not any(isinstance(modules[0], nn.Linear) for _, modules in layers):
        return None
    used = [f"{target}.{p}" for target, each in layers for p, _ in each[0].named_parameters()]
    own = [name for name, _ in networks[0].named_parameters()]
    if sorted(used) != sorted(own) or not all(_known(modules[0]) for _, modules in layers):
        return None
    return ChainPlan(name, layers)


def drawn_noise(noise: torch.Tensor, p: float, generator: torch.Generator) -> torch.Tensor:
    """`noise` filled with what dropout of a share `p` multiplies by, drawn as it draws on a CPU."""
    if p == 0.0:
        return noise.fill_(1.0)
    return noise.bernoulli_(1.0 - p, generator=generator).div_(1.0 - p)


class Chain:
    """Implements `Passes` by hand."""

    least = 2

    def __init__(
        self, plan: ChainPlan, stack: Stack, generators: Sequence[torch.Generator]
    ) -> None:
        self._input = plan.input
        self._stack = stack
        self._layers = _layers(plan, stack, generators)
        # What comes before the first weights that are trained needs no gradient.
        self._last_backward = next(
            (i for i, layer in enumerate(self._layers) if layer.trained), len(self._layers)
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        x = batch[self._input].transpose(1, 2)
        for layer in self._layers:
            x = layer.forward(x)
        return x.transpose(1, 2)

    def backward(self, gradient: torch.Tensor) -> None:
        below: torch.Tensor | None = gradient.transpose(1, 2)
        for i in range(len(self._layers) - 1, self._last_backward - 1, -1):
            assert below is not None
            below = self._layers[i].backward(below, through=i > self._last_backward)

    def predict(self, batch: Batch) -> torch.Tensor:
        x = batch[self._input].t().expand(len(self._stack), -1, -1)
        for layer in self._layers:
            x = layer.predict(x, self._stack.scored)
        return x.transpose(1, 2)


class _Layer(Protocol):
    """Takes and gives [K, features, B]. `trained` says whether it has weights that are trained."""

    trained: bool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """In training; keeps what `backward` needs."""

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor | None:
        """Puts the gradients of the weights into the stack; that of the inputs if `through`."""

    def predict(self, x: torch.Tensor, state: Tensors) -> torch.Tensor:
        """With the weights in `state`."""


class _Linear:
    def __init__(self, name: str, stack: Stack) -> None:
        weight, bias = f"{name}.weight", f"{name}.bias"
        self._names = weight, bias
        self._weight = stack.state[weight]
        self._turned = self._weight.transpose(1, 2)
        self._bias = stack.state[bias].unsqueeze(2) if bias in stack.state else None
        self._weight_gradient = stack.gradients.get(weight)
        self._bias_gradient = stack.gradients.get(bias)
        self._x: torch.Tensor | None = None
        self.trained = not {weight, bias}.isdisjoint(stack.trained)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._x = x
        return _affine(self._weight, x, self._bias)

    def predict(self, x: torch.Tensor, state: Tensors) -> torch.Tensor:
        weight, bias = self._names
        return _affine(state[weight], x, state[bias].unsqueeze(2) if bias in state else None)

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor | None:
        assert self._x is not None
        if self._weight_gradient is not None:
            torch.bmm(gradient, self._x.transpose(1, 2), out=self._weight_gradient)
        if self._bias_gradient is not None:
            torch.sum(gradient, 2, out=self._bias_gradient)
        return torch.bmm(self._turned, gradient) if through else None


def _affine(weight: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias, weight, x)


class _BatchNorm:
    """Every feature of every network is a channel of one batch normalisation."""

    def __init__(self, name: str, module: nn.BatchNorm1d, stack: Stack) -> None:
        self._weight, self._bias = f"{name}.weight", f"{name}.bias"
        self._mean, self._var = f"{name}.running_mean", f"{name}.running_var"
        self._count = f"{name}.num_batches_tracked"
        self._momentum, self._eps = cast(float, module.momentum), module.eps
        self._stack = stack
        self._kept: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self.trained = not {self._weight, self._bias}.isdisjoint(stack.trained)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(1, -1, x.shape[2])
        self._stack.state[self._count].add_(1)
        y, mean, inverse = self._normalised(flat, self._stack.state, training=True)
        self._kept = flat, mean, inverse
        return y.view(x.shape)

    def predict(self, x: torch.Tensor, state: Tensors) -> torch.Tensor:
        y, _, _ = self._normalised(x.reshape(1, -1, x.shape[2]), state, training=False)
        return y.view(x.shape)

    def _normalised(
        self, flat: torch.Tensor, state: Tensors, *, training: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        result: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = torch.native_batch_norm(
            flat,
            self._flat(self._weight, state),
            self._flat(self._bias, state),
            self._flat(self._mean, state),
            self._flat(self._var, state),
            training,
            self._momentum,
            self._eps,
        )
        return result

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor | None:
        assert self._kept is not None
        flat, mean, inverse = self._kept
        below, weight, bias = aten.native_batch_norm_backward(
            gradient.reshape(flat.shape),
            flat,
            self._flat(self._weight, self._stack.state),
            None,
            None,
            mean,
            inverse,
            True,
            self._eps,
            [through, self._weight in self._stack.gradients, self._bias in self._stack.gradients],
        )
        for name, found in ((self._weight, weight), (self._bias, bias)):
            if name in self._stack.gradients:
                into = self._stack.gradients[name]
                into.copy_(found.view(into.shape))
        return below.view(gradient.shape) if through else None

    def _flat(self, name: str, state: Tensors) -> torch.Tensor | None:
        return state[name].view(-1) if name in state else None


class _Dropout:
    trained = False

    def __init__(self, shares: Sequence[float], generators: Sequence[torch.Generator]) -> None:
        self._shares = shares
        self._generators = generators
        self._noise: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = x.new_empty(x.shape[0], x.shape[2], x.shape[1])
        for own, p, generator in zip(noise, self._shares, self._generators, strict=True):
            drawn_noise(own, p, generator)
        self._noise = noise.transpose(1, 2)
        return x * self._noise

    def predict(self, x: torch.Tensor, state: Tensors) -> torch.Tensor:  # noqa: ARG002
        return x

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor | None:
        assert self._noise is not None
        return gradient * self._noise if through else None


class _ReLU:
    """Overwrites what it is given where it is `alone` in looking at it."""

    trained = False

    def __init__(self, *, alone: bool) -> None:
        self._function = torch.relu_ if alone else torch.relu
        self._y: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._y = self._function(x)
        return self._y

    def predict(self, x: torch.Tensor, state: Tensors) -> torch.Tensor:  # noqa: ARG002
        return self._function(x)

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor | None:
        if not through:
            return None
        below: torch.Tensor = aten.threshold_backward(gradient, self._y, 0, grad_input=gradient)
        return below


Function = Callable[[torch.Tensor], torch.Tensor]
Gradient = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
ACTIVATIONS: dict[type[nn.Module], tuple[Function, Gradient]] = {
    nn.GELU: (nn.functional.gelu, aten.gelu_backward),
    nn.SiLU: (nn.functional.silu, aten.silu_backward),
}
"""What they compute, and the gradient by the input of the gradient and the input."""


class _Activation:
    trained = False

    def __init__(self, kind: type[nn.Module]) -> None:
        self._function, self._gradient = ACTIVATIONS[kind]
        self._x: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._x = x
        return self._function(x)

    def predict(self, x: torch.Tensor, state: Tensors) -> torch.Tensor:  # noqa: ARG002
        return self._function(x)

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor | None:
        assert self._x is not None
        return self._gradient(gradient, self._x) if through else None


def _known(module: nn.Module) -> bool:
    kind = type(module)
    if isinstance(module, nn.BatchNorm1d):
        return kind is nn.BatchNorm1d and module.track_running_stats and module.momentum is not None
    if isinstance(module, nn.GELU):
        return module.approximate == "none"
    if isinstance(module, nn.Dropout):
        return module.p < 1.0
    return kind in (nn.Linear, nn.Identity, nn.ReLU) or kind in ACTIVATIONS


def _layers(plan: ChainPlan, stack: Stack, generators: Sequence[torch.Generator]) -> list[_Layer]:
    """Without those that do nothing."""
    layers: list[_Layer] = []
    for name, modules in plan.layers:
        module = modules[0]
        if isinstance(module, nn.Linear):
            layers.append(_Linear(name, stack))
        elif isinstance(module, nn.BatchNorm1d):
            layers.append(_BatchNorm(name, module, stack))
        elif isinstance(module, nn.Dropout):
            shares = [each.p for each in modules if isinstance(each, nn.Dropout)]
            if any(shares):
                layers.append(_Dropout(shares, generators))
        elif isinstance(module, nn.ReLU):
            fresh = any(isinstance(layer, _Linear | _BatchNorm) for layer in layers)
            layers.append(_ReLU(alone=fresh))
        elif not isinstance(module, nn.Identity):
            layers.append(_Activation(type(module)))
    return layers


def _traced(network: nn.Module) -> tuple[str, list[str]] | None:
    """The input's name and the modules that it goes through one after the other, if that is all
    that the network does."""
    try:
        graph = fx.Tracer().trace(network)
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError, AttributeError, LookupError):
        # What cannot be traced decides by values or calls what takes tensors only.
        return None
    name: str | None = None
    targets: list[str] = []
    last: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "placeholder" and last is None:
            last = node
        elif node.op == "call_function" and node.target is operator.getitem and name is None:
            if node.args[0] is not last or not isinstance(node.args[1], str):
                return None
            name, last = node.args[1], node
        elif node.op == "call_module" and name is not None and node.args == (last,):
            targets.append(str(node.target))
            last = node
        elif node.op != "output" or node.args != (last,):
            return None
    return None if name is None else (name, targets)
