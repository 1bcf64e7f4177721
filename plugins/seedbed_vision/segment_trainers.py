"""Trainers of networks that segment pictures, and how they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seedbed_sdk.blocks import ImageBlock, MaskBlock, Prediction
from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.blocks.mask_pictures import enlarge, segmentation
from seedbed_sdk.bundle import encode_raw
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.schedule import Schedule
from seedbed_sdk.trainer import Blueprint, Data, Run, Trainer
from seedbed_vision import backbones
from seedbed_vision.augment import Augment
from seedbed_vision.frozen import OnFrozenBackbone
from seedbed_vision.segment_networks import (
    QUICK_SCALES,
    SCALES,
    FeatureSegmenter,
    PixelLinear,
    SegmentationNetwork,
    as_arrays,
    pick_view,
)

AVERAGING = 0.99
# Predicting takes a fifth of an epoch of a small set of pictures.
VALIDATIONS = 20
CLIP_NORM = 5.0
PREDICTED_AT_ONCE = 16
ZOOM_IN = 0.4
TINT = 0.08


class Segmenter:
    """A trainer whose answers are masks at the pictures' own sizes, drawn over them."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def fit(self, data: Data, run: Run) -> None:
        """As the trainer does."""
        self.trainer.fit(data, run)

    def predict(self, inputs: Arrays) -> Array:
        """Class numbers, uint8 [N, H, W], for pictures uint8 [N, H, W, 3]."""
        return self.trainer.predict(inputs)

    def save(self, folder: Path) -> None:
        """As the trainer does."""
        self.trainer.save(folder)

    def load(self, folder: Path) -> None:
        """As the trainer does."""
        self.trainer.load(folder)

    def answer(self, block: DataBlock, examples: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """One Segmentation for each example.

        Raises InvalidArgument where columns are missing or a picture cannot be read.
        """
        (image,), target = block.inputs, block.target
        assert isinstance(image, ImageBlock) and isinstance(target, MaskBlock)
        outputs = self.predict(encode_raw(block, examples))
        answers: list[Prediction] = []
        for numbers, example in zip(outputs, examples, strict=True):
            picture = image.pixels(example[image.column])
            own = enlarge(numbers, picture.shape[:2])
            answers.append(segmentation(own, target.classes, picture))
        return answers


class FrozenPyramidTrainer(OnFrozenBackbone):
    """A decoder on the levels of the pyramid."""

    features = "pyramid"

    def _make_learner(self) -> Learner:
        parameters, block = self.blueprint.parameters, self.blueprint.block
        assert isinstance(block.target, MaskBlock)
        backbone: Any = backbones.build(self.name, pretrained=False)
        network = FeatureSegmenter(
            backbone.pyramid_channels,
            int(parameters["width"]),
            block.target.output_size,
            block.target.size,
            dropout=float(parameters["dropout"]),
        )
        return Learner(
            network,
            block,
            _config(self.blueprint, batch_size=16),
            hardware=self.blueprint.hardware,
            seed=self.blueprint.seed,
            transform=pick_view,
        )

    def _encode(self, images: Array) -> dict[str, Array]:
        network: Any = self._network()
        with torch.inference_mode():
            return as_arrays([network.pyramid(view) for view in self._views(images)])


class UNetLearner(Learner):
    """Looks at pictures of one size while it trains, and of several once it is trained."""

    def predict(self, inputs: Arrays) -> Array:
        """Class numbers, uint8 [N, H, W], for pictures uint8 [N, H, W, 3]."""
        # While it trains, the averaged weights are asked, which are in a network of their own.
        network = self._scored() if self.fitting else self.network
        assert isinstance(network, SegmentationNetwork)
        network.scales = QUICK_SCALES if self.fitting else SCALES
        return super().predict(inputs)


def u_net(blueprint: Blueprint) -> Learner:
    """A learner of backbone and decoder together."""
    parameters = blueprint.parameters
    torch.manual_seed(blueprint.seed)
    flip, resolution = bool(parameters["flip"]), int(parameters["resolution"])
    backbone = backbones.trainable(
        str(parameters["backbone"]), str(parameters["trained_layers"]), blueprint.hardware
    )
    network = SegmentationNetwork(
        backbone,
        int(parameters["width"]),
        blueprint.block.target.output_size,
        resolution,
        dropout=float(parameters["dropout"]),
        flip=flip,
    )
    strength = float(parameters["augmentation"])
    config = _config(blueprint, batch_size=8)
    cost = sum(scale**2 for scale in SCALES) / sum(scale**2 for scale in QUICK_SCALES)
    return UNetLearner(
        network,
        blueprint.block,
        replace(
            config,
            final_predict_cost=cost,
            validate_every=max(1, config.epochs // VALIDATIONS),
        ),
        hardware=blueprint.hardware,
        seed=blueprint.seed,
        transform=Augment(resolution, flip, strength, zoom_in=ZOOM_IN, tint=TINT),
        groups=[("decoder.", 3.0)],
    )


def pixel_linear(blueprint: Blueprint) -> Learner:
    """A learner of the linear model."""
    torch.manual_seed(blueprint.seed)
    return Learner(
        PixelLinear(blueprint.block.target.output_size),
        blueprint.block,
        _config(blueprint, batch_size=8),
        hardware=blueprint.hardware,
        seed=blueprint.seed,
    )


def _config(blueprint: Blueprint, *, batch_size: int) -> LearnerConfig:
    parameters = blueprint.parameters
    return LearnerConfig(
        epochs=int(parameters["epochs"]),
        learning_rate=float(parameters["learning_rate"]),
        weight_decay=float(parameters["weight_decay"]),
        batch_size=batch_size,
        predict_batch_size=PREDICTED_AT_ONCE,
        averaging=AVERAGING,
        clip_norm=CLIP_NORM,
        schedule=Schedule(warmup_fraction=0.05, decay_fraction=0.8),
    )
