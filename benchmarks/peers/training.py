"""The PyTorch loop of the scripts that are written by hand."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

Augment = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Makes others of a batch's inputs and goals."""


def fit(
    network: nn.Module,
    inputs: torch.Tensor,
    goals: torch.Tensor,
    *,
    epochs: float,
    rate: float,
    decay: float,
    batch: int,
    until: float,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    augment: Augment | None = None,
) -> bool:
    """Trains in place with AdamW and one cycle of the rate; False where the clock, time.monotonic,
    reached `until` before the end."""
    count = len(inputs)
    batch = min(batch, count)
    steps = max(2, round(epochs * count / batch))
    optimizer = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad], lr=rate, weight_decay=decay
    )
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.2)
    order = torch.randperm(count)
    place = 0
    for _ in range(steps):
        if time.monotonic() > until:
            return False
        if place + batch > count:
            order, place = torch.randperm(count), 0
        rows = order[place : place + batch]
        place += batch
        x, y = inputs[rows], goals[rows]
        if augment is not None:
            x, y = augment(x, y)
        value = loss(network(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        cycle.step()
    return True


@torch.no_grad()
def predict(network: nn.Module, inputs: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """The outputs for all inputs; the network stays in evaluation mode."""
    network.eval()
    return torch.cat([network(part) for part in inputs.split(batch)])
