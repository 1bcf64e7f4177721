"""Changes to batches of pictures, made on the device, that leave their class what it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from seedbed_sdk.learner import Batch
from seedbed_sdk.segmentation_metrics import VOID

STRIDE = 16


@dataclass(frozen=True, slots=True)
class Augment:
    """Resizes training pictures and, in the same resampling, zooms, stretches, shifts and mirrors
    them; then changes brightness, contrast and tint.

    Takes `image` as uint8 [B, H, W, C] and gives float32 [B, h, w, 3] in the same range of values,
    0 to 255, with h and w as `working_size` says. `strength` in [0, 1] scales all changes but the
    mirroring. Where the target is a map of classes [B, H, W], it goes through the same changes, and
    `VOID` is what comes into view from outside.
    """

    resolution: int | None
    flip: bool
    strength: float
    zoom_in: float = 0.25
    tint: float = 0.0

    ZOOM_OUT = 0.1
    STRETCH = 0.1
    SHIFT = 0.1
    LIGHT = 0.2

    def __call__(
        self, batch: Batch, target: torch.Tensor, generator: torch.Generator
    ) -> tuple[Batch, torch.Tensor]:
        images = batch["image"]
        count = len(images)
        size = working_size(images.shape[1], images.shape[2], self.resolution)
        theta = self._affine(count, generator).to(images.device)
        grid = F.affine_grid(theta, [count, 1, *size], align_corners=False)
        pixels = as_colour(images.permute(0, 3, 1, 2).float())
        pixels = F.grid_sample(
            pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
        if target.shape[1:] == images.shape[1:3]:
            target = _resampled(target, grid)
        light = self.strength * self.LIGHT
        contrast = _uniform(1 - light, 1 + light, count, generator).to(images.device)
        shift = _uniform(-128 * light, 128 * light, count, generator).to(images.device)
        middle = 127.0 * (1 - contrast)
        pixels = pixels * contrast.view(-1, 1, 1, 1) + (middle + shift).view(-1, 1, 1, 1)
        if self.tint:
            bound = 128 * self.strength * self.tint
            tint = _uniform(-bound, bound, 3 * count, generator).to(images.device)
            pixels = pixels + tint.view(-1, 3, 1, 1)
        return {**batch, "image": pixels.permute(0, 2, 3, 1).contiguous()}, target

    def _affine(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """From places in the result to places in the source, both in [-1, 1]: [count, 2, 3]."""
        s = self.strength
        zoom = _uniform(1 - s * self.zoom_in, 1 + s * self.ZOOM_OUT, count, generator)
        stretch = torch.exp(_uniform(-s * self.STRETCH, s * self.STRETCH, count, generator))
        room = (1 - zoom).clamp(min=0) + s * self.SHIFT
        mirror = torch.ones(count)
        if self.flip:
            mirror[torch.rand(count, generator=generator) < 0.5] = -1.0
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = zoom * stretch * mirror
        theta[:, 1, 1] = zoom / stretch
        theta[:, 0, 2] = _uniform(-1, 1, count, generator) * room
        theta[:, 1, 2] = _uniform(-1, 1, count, generator) * room
        return theta


def working_size(height: int, width: int, resolution: int | None) -> tuple[int, int]:
    """Height and width in which a network sees pictures: of as many pixels as a square of
    `resolution`, in about their own shape, in multiples of 16, since backbones shrink by powers of
    two; as they are where there is no resolution."""
    if resolution is None:
        return height, width
    scale = resolution / math.sqrt(height * width)
    return (
        max(STRIDE, round(height * scale / STRIDE) * STRIDE),
        max(STRIDE, round(width * scale / STRIDE) * STRIDE),
    )


def resize(images: torch.Tensor, resolution: int | None) -> torch.Tensor:
    """uint8 or float pictures [B, H, W, C], C 1 or 3, to float32 [B, h, w, 3] in the size that
    `working_size` says."""
    pixels = as_colour(images.permute(0, 3, 1, 2).float())
    size = working_size(images.shape[1], images.shape[2], resolution)
    if pixels.shape[-2:] != size:
        smaller = pixels.shape[-2] > size[0] or pixels.shape[-1] > size[1]
        pixels = F.interpolate(
            pixels, size, mode="bilinear", align_corners=False, antialias=smaller
        )
    return pixels.permute(0, 2, 3, 1).contiguous()


def as_colour(pixels: torch.Tensor) -> torch.Tensor:
    """[B, C, H, W] with one channel made three."""
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels


def _resampled(maps: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Class numbers uint8 [B, H, W] at the places of the grid."""
    # Outside is filled with zeros, so void is made zero for the resampling.
    shifted = maps.float().unsqueeze(1) - VOID
    taken = F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return (taken.squeeze(1) + VOID).round().to(maps.dtype)


def _uniform(low: float, high: float, count: int, generator: torch.Generator) -> torch.Tensor:
    if math.isclose(low, high):
        return torch.full((count,), low)
    return torch.rand(count, generator=generator) * (high - low) + low
