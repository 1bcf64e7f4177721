"""A linear model of what is left of a picture at a few pixels a side: in less than a second, what
every other model has to beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.trainer import Blueprint, Data, Run, SplitArrays
from seedbed_vision.augment import as_colour
from seedbed_vision.networks import FeatureHead, label_smoothing
from seedbed_vision.precompute import run_over

SIDE = 12
CHANNELS = 3


class ThumbnailTrainer:
    """A linear head on the mean colours of the fields of a 12x12 grid."""

    def __init__(self, blueprint: Blueprint) -> None:
        parameters, block = blueprint.parameters, blueprint.block
        torch.manual_seed(blueprint.seed)
        self.learner = Learner(
            FeatureHead(SIDE * SIDE * CHANNELS, block.target.output_size, dropout=0.0),
            block,
            LearnerConfig(
                epochs=int(parameters["epochs"]),
                learning_rate=float(parameters["learning_rate"]),
                weight_decay=float(parameters["weight_decay"]),
                batch_size=128,
                label_smoothing=label_smoothing(block),
            ),
            hardware=blueprint.hardware,
            seed=blueprint.seed,
        )

    def fit(self, data: Data, run: Run) -> None:
        """Makes the thumbnails, once a job, and trains the head on them."""

        def small(name: str, split: SplitArrays) -> SplitArrays:
            features = data.cached(("thumbnails", name), lambda: _of(split.inputs))
            return SplitArrays(features, split.target)

        self.learner.fit(Data(small("train", data.train), small("valid", data.valid)), run)

    def predict(self, inputs: Arrays) -> Array:
        """Activated outputs [N, ...] of uint8 pictures [N, H, W, C]."""
        return self.learner.predict(_of(inputs))

    def save(self, folder: Path) -> None:
        """Writes the head."""
        self.learner.save(folder)

    def load(self, folder: Path) -> None:
        """Reads what `save` wrote."""
        self.learner.load(folder)


def _of(inputs: Arrays) -> dict[str, Array]:
    return run_over(inputs["image"], thumbnails)


def thumbnails(images: Array) -> dict[str, Array]:
    """`features` float32 [B, 1, 432] in [-1, 1] of uint8 pictures [B, H, W, C]."""
    pixels = as_colour(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float())
    small = F.adaptive_avg_pool2d(pixels, SIDE) / 127.5 - 1.0
    return {"features": small.flatten(1).unsqueeze(1).numpy()}
