"""Networks over time, and changes to training series."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from seedbed_sdk.learner import Batch

KERNELS = (39, 19, 9)
BLOCKS = 3


class InceptionNet(nn.Module):
    """Convolutions of several lengths side by side (InceptionTime, Ismail Fawaz et al. 2020) in
    three residual blocks, the mean over time, and a linear head.

    `series` float32 [B, channels, length] to logits [B, classes]. Of each length and of the pooled
    branch there are `width` filters.
    """

    def __init__(self, channels: int, width: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        size = width * (len(KERNELS) + 1)
        self.blocks = nn.ModuleList(
            _Inception(size if index else channels, width) for index in range(BLOCKS)
        )
        self.skips = nn.ModuleList(
            nn.Conv1d(size if index else channels, size, 1) for index in range(BLOCKS)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(size, classes)

    def forward(self, batch: Batch) -> torch.Tensor:
        x = batch["series"]
        for block, skip in zip(self.blocks, self.skips, strict=True):
            x = F.relu(block(x) + skip(x))
        logits: torch.Tensor = self.head(self.dropout(x.mean(2)))
        return logits


class _Inception(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(inputs, width, 1, bias=False)
        self.branches = nn.ModuleList(
            nn.Conv1d(width, width, size, padding=size // 2, bias=False) for size in KERNELS
        )
        self.pooled = nn.Conv1d(inputs, width, 1, bias=False)
        self.norm = nn.BatchNorm1d(width * (len(KERNELS) + 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow = self.bottleneck(x)
        parts = [branch(narrow) for branch in self.branches]
        parts.append(self.pooled(F.max_pool1d(x, 3, stride=1, padding=1)))
        y: torch.Tensor = self.norm(torch.cat(parts, dim=1))
        return y


@dataclass(frozen=True, slots=True)
class SeriesAugment:
    """Makes training series a little larger or smaller, shifts them in time, the end values going
    on, and adds noise. `strength` in [0, 1] scales all changes."""

    strength: float

    SIZE = 0.1
    SHIFT = 0.05
    NOISE = 0.05

    def __call__(
        self, batch: Batch, target: torch.Tensor, generator: torch.Generator
    ) -> tuple[Batch, torch.Tensor]:
        series = batch["series"]
        count, _, length = series.shape
        device = series.device
        factor = 1.0 + self.strength * self.SIZE * torch.randn(count, 1, 1, generator=generator)
        most = round(self.strength * self.SHIFT * length)
        by = torch.randint(-most, most + 1, (count, 1, 1), generator=generator)
        source = (torch.arange(length) - by).clamp(0, length - 1).to(device)
        noise = self.strength * self.NOISE * torch.randn(series.shape, generator=generator)
        moved = series.gather(2, source.expand_as(series))
        return {**batch, "series": moved * factor.to(device) + noise.to(device)}, target
