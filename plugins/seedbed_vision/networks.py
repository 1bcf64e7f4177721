"""Networks from pictures to classes and numbers."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner import Batch
from seedbed_vision.augment import resize

SMOOTHING = 0.1


def is_natural(block: DataBlock) -> bool:
    """Whether all pictures may be mirrored, cropped and coloured differently."""
    return all(part.natural for part in block.inputs)


def label_smoothing(block: DataBlock) -> float:
    """For one class out of several; the other targets have no labels to smooth."""
    return SMOOTHING if block.target.type == "category" else 0.0


class ImageClassifier(nn.Module):
    """A backbone and a linear head. `image` uint8 [B, H, W, C], or float in the working size
    already from augmentation, to raw outputs [B, outputs]. When it does not train and `flip` is
    set, these are the mean over the picture and its mirror image."""

    def __init__(
        self,
        backbone: nn.Module,
        outputs: int,
        resolution: int | None,
        *,
        dropout: float,
        flip: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.resolution = resolution
        self.dropout = nn.Dropout(dropout)
        self.flip = flip
        self.head = nn.Linear(cast(int, backbone.feature_size), outputs)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        images = batch["image"]
        if images.dtype == torch.uint8:
            images = resize(images, self.resolution)
        logits = self._logits(images)
        if not self.training and self.flip:
            logits = (logits + self._logits(images.flip(2))) / 2
        return logits

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.dropout(self.backbone(images)))
        return logits


class FeatureHead(nn.Module):
    """A linear classifier on the features of several views of a picture.

    `features` [B, views, F] to logits [B, classes]: of one random view in training, which stands
    for augmentation, and the mean over all views else.
    """

    def __init__(self, size: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(size, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(size, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        features = batch["features"]
        count, views, size = features.shape
        if self.training:
            chosen = torch.randint(0, views, (count,)).to(features.device)
            picked = features[torch.arange(count, device=features.device), chosen]
            logits: torch.Tensor = self.linear(self.dropout(self.norm(picked)))
            return logits
        all_logits = self.linear(self.norm(features.reshape(count * views, size)))
        return cast(torch.Tensor, all_logits.view(count, views, -1).mean(1))


class SmallConvNet(nn.Module):
    """A residual network for tiny pictures, trained from scratch: three stages of two convolutions,
    each stage half the size and twice the channels (after He et al. 2016)."""

    feature_size: int

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = _conv(3, width)
        self.stages = nn.ModuleList(
            [_Residual(width, width), _Residual(width, 2 * width), _Residual(2 * width, 4 * width)]
        )
        self.feature_size = 4 * width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.stem((images.permute(0, 3, 1, 2) - 127.0) / 64.0)
        for index, stage in enumerate(self.stages):
            if index and min(x.shape[-2:]) > 2:
                x = F.max_pool2d(x, 2)
            x = stage(x)
        return x.mean((2, 3))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs)
        self.second = _conv(outputs, outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.skip(x) + self.second(self.first(x))
        return y


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
