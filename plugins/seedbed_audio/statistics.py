"""Spectrograms summed up in a fixed number of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays


@dataclass(frozen=True, slots=True)
class SpectralStatistics:
    """Of each mel band over time: mean and standard deviation of the level and of its change from
    frame to frame, and the mean level in each of `segments` equal parts of the sound. Silence
    before and after the sound is left out. Learns nothing.

    `image` uint8 [N, mels, frames, 1] to float32 [N, (4 + segments) * mels].
    """

    segments: int

    def fit(self, inputs: Arrays, seed: int) -> None:
        """Nothing to learn."""

    def features(self, inputs: Arrays) -> Array:
        images = inputs["image"]
        size = (4 + self.segments) * images.shape[1]
        features = np.zeros((len(images), size), dtype=np.float32)
        for row, image in enumerate(images):
            features[row] = self._summed_up(image[:, :, 0].astype(np.float32) / 255.0)
        return features

    def tensors(self) -> dict[str, Array]:
        return {}

    def restore(self, tensors: Arrays) -> None:
        """Nothing was learned."""

    def _summed_up(self, levels: Array) -> Array:
        """[mels, frames] to one row of features."""
        sounding = np.flatnonzero(levels.any(axis=0))
        if len(sounding):
            levels = levels[:, sounding[0] : sounding[-1] + 1]
        changes = np.diff(levels, axis=1) if levels.shape[1] > 1 else np.zeros_like(levels)
        # Segments may begin and end between frames, so that short sounds have as many.
        total = np.pad(np.cumsum(levels, axis=1), ((0, 0), (1, 0)))
        borders = np.linspace(0, levels.shape[1], self.segments + 1)
        left = np.minimum(borders.astype(np.int64), levels.shape[1] - 1)
        at = total[:, left] + (borders - left) * (total[:, left + 1] - total[:, left])
        means = np.diff(at, axis=1) / (levels.shape[1] / self.segments)
        parts = [levels.mean(1), levels.std(1), changes.mean(1), changes.std(1), means.T.ravel()]
        return np.concatenate(parts)
