"""Networks from pictures to a class for every pixel."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.learner import Batch
from seedbed_vision.augment import resize

LEVEL = "level_{}"
VIEWS = 2
NEAR, FAR = 5, 15
# Training zooms in at random, so that things look larger to it than they are; looking at enlarged
# pictures makes up for that (Touvron et al. 2019, "Fixing the train-test resolution discrepancy").
QUICK_SCALES = (1.2,)
SCALES = (1.2, 1.4)


class PyramidDecoder(nn.Module):
    """Levels [B, h, w, C], the finest first, to logits [B, classes, h, w] of the finest one.

    As in a U-Net (Ronneberger et al. 2015), each level is joined to the enlarged sum of the coarser
    ones by a 3x3 convolution; levels are added rather than stacked (Lin et al. 2017, feature
    pyramids), which is lighter. The coarsest also takes its mean over the picture.
    """

    def __init__(
        self, channels: tuple[int, ...], width: int, classes: int, *, dropout: float
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(c, width, 1, bias=False), nn.BatchNorm2d(width))
                for c in channels
            ]
        )
        self.join = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(width, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                )
                for _ in channels
            ]
        )
        self.context = nn.Sequential(nn.Linear(channels[-1], width), nn.ReLU())
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        x = self.context(levels[-1].mean((1, 2)))[:, :, None, None]
        for level, lateral, join in zip(
            reversed(levels), reversed(self.lateral), reversed(self.join), strict=True
        ):
            own = lateral(level.permute(0, 3, 1, 2))
            if x.shape[-2:] != own.shape[-2:] and x.shape[-1] > 1:
                x = enlarge(x, (own.shape[2], own.shape[3]))
            x = join(F.relu(own + x))
        logits: torch.Tensor = self.classify(self.dropout(x))
        return logits


class SegmentationNetwork(nn.Module):
    """A backbone and a decoder. `image` uint8 [B, H, W, 3], or float in the working size already
    from augmentation, to logits [B, classes, H, W]. When it does not train, they are the mean over
    the picture at `scales` times the resolution and, if `flip` is set, over its mirror images."""

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        classes: int,
        resolution: int,
        *,
        dropout: float,
        flip: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.resolution = resolution
        self.flip = flip
        self.scales: tuple[float, ...] = SCALES
        channels = cast(Any, backbone).pyramid_channels
        self.decoder = PyramidDecoder(channels, width, classes, dropout=dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        images = batch["image"]
        size = (images.shape[1], images.shape[2])
        if self.training:
            if images.dtype == torch.uint8:
                images = resize(images, self.resolution)
            return enlarge(self._logits(images), size)
        seen = [resize(images, round(scale * self.resolution)) for scale in self.scales]
        each = [enlarge(self._seen(pixels), size) for pixels in seen]
        return torch.stack(each).mean(0)

    def _seen(self, images: torch.Tensor) -> torch.Tensor:
        logits = self._logits(images)
        if self.flip:
            logits = (logits + self._logits(images.flip(2)).flip(3)) / VIEWS
        return logits

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.decoder(cast(Any, self.backbone).pyramid(images))
        return logits


class FeatureSegmenter(nn.Module):
    """A decoder on levels that were computed before, of the picture and, if `views` is 2, its
    mirror image: `level_0` and so on, float16 [B, views, h, w, C]. Gives logits
    [B, classes, *size], the mean over the views. Where `pick_view` has chosen one,
    levels are [B, h, w, C] and logits of half the size."""

    def __init__(
        self,
        channels: tuple[int, ...],
        width: int,
        classes: int,
        size: tuple[int, int],
        *,
        dropout: float,
    ) -> None:
        super().__init__()
        self.count = len(channels)
        self.size = size
        self.decoder = PyramidDecoder(channels, width, classes, dropout=dropout)

    def forward(self, batch: Batch) -> torch.Tensor:
        levels = [batch[LEVEL.format(i)].float() for i in range(self.count)]
        if levels[0].ndim == 4:
            height, width = self.size
            return enlarge(self.decoder(levels), ((height + 1) // 2, (width + 1) // 2))
        logits = self.decoder([level[:, 0] for level in levels])
        if levels[0].shape[1] == VIEWS:
            mirrored = self.decoder([level[:, 1] for level in levels])
            logits = (logits + mirrored.flip(3)) / VIEWS
        return enlarge(logits, self.size)


def pick_view(
    batch: Batch, target: torch.Tensor, generator: torch.Generator
) -> tuple[Batch, torch.Tensor]:
    """One view of each picture at random, and its map of classes mirrored where the view is. Every
    other pixel of the map in both directions is enough to learn from, since levels are coarser."""
    views = next(iter(batch.values())).shape[1]
    chosen = torch.randint(0, views, (len(target),), generator=generator).to(target.device)
    rows = torch.arange(len(target), device=target.device)
    picked = {name: level[rows, chosen] for name, level in batch.items()}
    mirrored = torch.where(chosen.view(-1, 1, 1) == 1, target.flip(2), target)
    return picked, mirrored[:, ::2, ::2]


class PixelLinear(nn.Module):
    """A linear model of the colour, the surroundings and the place of each 2x2 pixels. `image`
    uint8 [B, H, W, 3] to logits [B, classes, H, W]."""

    FEATURES = 20

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(self.FEATURES, affine=False)
        self.classify = nn.Conv2d(self.FEATURES, classes, 1)
        nn.init.zeros_(self.classify.weight)
        nn.init.zeros_(cast(torch.Tensor, self.classify.bias))

    def forward(self, batch: Batch) -> torch.Tensor:
        images = batch["image"]
        logits = self.classify(self.norm(self._features(images)))
        return enlarge(logits, (images.shape[1], images.shape[2]))

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        """[B, 20, H / 2, W / 2]: colour and its square, its mean and spread near by, its mean
        further off, and the place with its products."""
        x = F.avg_pool2d(resize(images, None).permute(0, 3, 1, 2), 2) / 127.5 - 1.0
        near = _mean_around(x, NEAR)
        spread = (_mean_around(x * x, NEAR) - near * near).clamp(min=0).sqrt()
        height, width = x.shape[-2:]
        down = torch.linspace(-1, 1, height, device=x.device).view(-1, 1).expand(height, width)
        across = torch.linspace(-1, 1, width, device=x.device).expand(height, width)
        place = torch.stack([down, across, down * down, across * across, down * across])
        return torch.cat(
            [x, x * x, near, spread, _mean_around(x, FAR), place.expand(len(x), -1, -1, -1)], dim=1
        )


def _mean_around(x: torch.Tensor, side: int) -> torch.Tensor:
    """The mean over a square, as two means over a line, which is cheaper."""
    half = side // 2
    x = F.avg_pool2d(x, (side, 1), stride=1, padding=(half, 0), count_include_pad=False)
    return F.avg_pool2d(x, (1, side), stride=1, padding=(0, half), count_include_pad=False)


def enlarge(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """[B, C, h, w] to [B, C, *size]."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def as_arrays(views: list[list[torch.Tensor]]) -> dict[str, Array]:
    """The levels of each view, [B, h, w, C], by name as float16 [B, views, h, w, C]."""
    levels = zip(*views, strict=True)
    return {
        LEVEL.format(i): torch.stack(list(level), dim=1).half().cpu().numpy()
        for i, level in enumerate(levels)
    }
