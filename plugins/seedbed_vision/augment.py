"""Changes to batches of pictures, made on the device, that leave their class what it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from seedbed_sdk.learner import Batch


@dataclass(frozen=True, slots=True)
class Augment:
    """Resizes training pictures and, in the same resampling, zooms, stretches, shifts and mirrors
    them; then changes brightness and contrast.

    Takes `image` as uint8 [B, H, W, 3] and gives float32 [B, resolution, resolution, 3] in the same
    range of values, 0 to 255. `strength` in [0, 1] scales all changes but the mirroring.
    """

    resolution: int
    flip: bool
    strength: float

    ZOOM_IN = 0.25
    ZOOM_OUT = 0.1
    STRETCH = 0.1
    SHIFT = 0.1
    LIGHT = 0.2

    def __call__(
        self, batch: Batch, target: torch.Tensor, generator: torch.Generator
    ) -> tuple[Batch, torch.Tensor]:
        images = batch["image"]
        count = len(images)
        size = [count, 3, self.resolution, self.resolution]
        theta = self._affine(count, generator).to(images.device)
        grid = F.affine_grid(theta, size, align_corners=False)
        pixels = images.permute(0, 3, 1, 2).float()
        pixels = F.grid_sample(
            pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
        light = self.strength * self.LIGHT
        contrast = _uniform(1 - light, 1 + light, count, generator).to(images.device)
        shift = _uniform(-128 * light, 128 * light, count, generator).to(images.device)
        middle = 127.0 * (1 - contrast)
        pixels = pixels * contrast.view(-1, 1, 1, 1) + (middle + shift).view(-1, 1, 1, 1)
        return {**batch, "image": pixels.permute(0, 2, 3, 1).contiguous()}, target

    def _affine(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """From places in the result to places in the source, both in [-1, 1]: [count, 2, 3]."""
        s = self.strength
        zoom = _uniform(1 - s * self.ZOOM_IN, 1 + s * self.ZOOM_OUT, count, generator)
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


def resize(images: torch.Tensor, resolution: int) -> torch.Tensor:
    """uint8 or float pictures [B, H, W, 3] to float32 [B, resolution, resolution, 3]."""
    pixels = images.permute(0, 3, 1, 2).float()
    if pixels.shape[-2:] != (resolution, resolution):
        smaller = min(pixels.shape[-2:]) > resolution
        pixels = F.interpolate(
            pixels,
            (resolution, resolution),
            mode="bilinear",
            align_corners=False,
            antialias=smaller,
        )
    return pixels.permute(0, 2, 3, 1).contiguous()


def _uniform(low: float, high: float, count: int, generator: torch.Generator) -> torch.Tensor:
    if math.isclose(low, high):
        return torch.full((count,), low)
    return torch.rand(count, generator=generator) * (high - low) + low
