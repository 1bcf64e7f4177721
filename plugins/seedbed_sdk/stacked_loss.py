"""The losses of several networks at once, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from seedbed_sdk.blocks.category import CategoryBlock
from seedbed_sdk.blocks.regression import RegressionBlock
from seedbed_sdk.learner import Learner

Loss = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Of raw outputs [K, B, ...] and targets [K, B, ...]: the losses [K], and their gradients by the
raw outputs [K, B, ...]."""


def loss_of(learners: Sequence[Learner]) -> Loss:
    """Computes what each learner's `_criterion` would, written out for the usual targets."""
    if all(type(learner)._criterion is Learner._criterion for learner in learners):
        kinds = {type(learner.block.target) for learner in learners}
        if kinds == {CategoryBlock}:
            return _CrossEntropy(learners)
        if kinds == {RegressionBlock}:
            return _SquaredError(learners)
    return _Each(learners)


class _Each:
    """One after the other."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        self._learners = list(learners)

    def __call__(
        self, raw: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            leaf = raw.detach().requires_grad_()
            losses = torch.stack(
                [
                    learner._criterion(outputs, wanted)
                    for learner, outputs, wanted in zip(
                        self._learners, leaf.unbind(), target.unbind(), strict=True
                    )
                ]
            )
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), gradient


class _CrossEntropy:
    """Of class numbers; with `s` of label smoothing the wanted probabilities are 1 - s + s / C for
    the class and s / C for the others."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        smoothing = [learner.config.label_smoothing for learner in learners]
        shares = torch.tensor(smoothing, device=learners[0].device)
        self._smoothing = shares if any(smoothing) else None
        self._less = (shares - 1.0)[:, None, None]
        self._other = _Each(learners)

    def __call__(
        self, raw: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if target.is_floating_point() or raw.ndim != 3:
            return self._other(raw, target)
        logs = raw.transpose(1, 2).log_softmax(1)  # [K, C, B]
        classes, count = logs.shape[1:]
        numbers = target.unsqueeze(1)
        losses = logs.gather(1, numbers).sum(dim=(1, 2)).mul_(-1.0 / count)
        if self._smoothing is not None:
            losses = losses * (1.0 - self._smoothing) - self._smoothing * logs.mean(dim=(1, 2))
        gradient = logs.exp_()
        if self._smoothing is not None:
            gradient.sub_(self._smoothing[:, None, None] / classes)
        gradient.scatter_add_(1, numbers, self._less.expand(numbers.shape))
        return losses, gradient.div_(count).transpose(1, 2)


class _SquaredError:
    """Of the standard scores."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        blocks = [learner.block.target for learner in learners]
        scaling = [(b.mean, b.scale) for b in blocks if isinstance(b, RegressionBlock)]
        self._mean, self._scale = torch.tensor(scaling, device=learners[0].device).unbind(1)

    def __call__(
        self, raw: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        scores = (target - self._mean[:, None]) / self._scale[:, None]
        errors = raw[:, :, 0] - scores.to(raw.dtype)
        return errors.square().mean(1), errors.mul_(2.0 / errors.shape[1]).unsqueeze(2)
