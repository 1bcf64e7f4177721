"""Changes to batches of spectrograms, made on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from seedbed_sdk.learner import Batch


@dataclass(frozen=True, slots=True)
class SpecAugment:
    """Masks stretches of time and bands of tones (Park et al. 2019, without the warping), shifts
    sounds in time and tones a little, and mixes pairs of items (mixup, Zhang et al. 2018).

    Takes `image` uint8 [B, mels, frames, 1] and class numbers [B]; gives float32 of the same shape
    and range, and probabilities [B, classes]. `strength` in [0, 1] scales all changes.
    """

    classes: int
    strength: float

    MASKS = 2
    MASKED_SHARE = 0.15
    TIME_SHIFT = 0.08
    TONE_SHIFT = 0.03
    MIXED_SHARE = 0.5

    def __call__(
        self, batch: Batch, target: torch.Tensor, generator: torch.Generator
    ) -> tuple[Batch, torch.Tensor]:
        images = batch["image"].squeeze(3).float()
        count = len(images)
        shares = F.one_hot(target, self.classes).float()
        for axis, shift in ((1, self.TONE_SHIFT), (2, self.TIME_SHIFT)):
            images = _shifted(images, axis, self.strength * shift, generator)
            for _ in range(self.MASKS):
                images = _masked(images, axis, self.strength * self.MASKED_SHARE, generator)
        # Cubed, so that most items are mixed a little and few by half.
        mixed = self.strength * self.MIXED_SHARE * torch.rand(count, generator=generator) ** 3
        mixed = mixed.to(images.device).unsqueeze(1)
        other = torch.randperm(count, generator=generator).to(images.device)
        images = torch.lerp(images, images[other], mixed.unsqueeze(2))
        return {**batch, "image": images.unsqueeze(3)}, torch.lerp(shares, shares[other], mixed)


def _shifted(
    images: torch.Tensor, axis: int, share: float, generator: torch.Generator
) -> torch.Tensor:
    """Each moved along the axis by up to a share of its size, zeros coming in."""
    size = images.shape[axis]
    most = round(share * size)
    if most == 0:
        return images
    by = torch.randint(-most, most + 1, (len(images), 1), generator=generator)
    source = (torch.arange(size) - by).to(images.device)
    inside = (source >= 0) & (source < size)
    moved = images.gather(axis, _along(source.clamp(0, size - 1), axis).expand_as(images))
    return moved * _along(inside, axis)


def _masked(
    images: torch.Tensor, axis: int, share: float, generator: torch.Generator
) -> torch.Tensor:
    """Each with a stretch along the axis set to zero, of up to a share of its size."""
    size = images.shape[axis]
    width = torch.rand(len(images), 1, generator=generator) * share * size
    start = torch.rand(len(images), 1, generator=generator) * (size - width)
    place = torch.arange(size)
    kept = ((place < start) | (place >= start + width)).to(images.device)
    return images * _along(kept, axis)


def _along(values: torch.Tensor, axis: int) -> torch.Tensor:
    """[B, size] as [B, size, 1] or [B, 1, size]."""
    return values.unsqueeze(2) if axis == 1 else values.unsqueeze(1)
