"""A small convolutional network for pictures that are no photographs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from seedbed_sdk.learner import Batch

CENTRE = 127.0
SCALE = 64.0
SMALLEST_SIDE = 4


class ResidualConvNet(nn.Module):
    """Three residual stages (after He et al. 2016), each half the size and twice the channels of
    the one before, and a linear head on the mean over the picture.

    `image` [B, H, W, channels], of values from 0 to 255, to logits [B, classes]. A picture of more
    than 32 pixels is halved at the first layer.
    """

    def __init__(self, channels: int, width: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.stages = nn.ModuleList(
            [_Residual(width, width), _Residual(width, 2 * width), _Residual(2 * width, 4 * width)]
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * width, classes)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        x = (batch["image"].permute(0, 3, 1, 2).float() - CENTRE) / SCALE
        stride = 2 if min(x.shape[-2:]) > 32 else 1
        x = F.conv2d(x, self.stem.weight, stride=stride, padding=1)
        x = F.relu(self.norm(x))
        for index, stage in enumerate(self.stages):
            if index and min(x.shape[-2:]) >= SMALLEST_SIDE:
                x = F.max_pool2d(x, 2)
            x = stage(x)
        logits: torch.Tensor = self.head(self.dropout(x.mean((2, 3))))
        return logits


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.skip(x) + self.body(x)
        return y
