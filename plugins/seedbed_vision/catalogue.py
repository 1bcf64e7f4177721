"""The architectures for pictures, and where to search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedbed_sdk.blocks import ImageBlock
from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.space import Choices, FloatRange, IntRange
from seedbed_sdk.trainer import Architecture, Blueprint, Hardware, Trainer
from seedbed_vision import backbones

if TYPE_CHECKING:
    from torch import nn

    from seedbed_sdk.learner import Learner

TYPES = (("image",), ("category", "multi_category", "regression"))
TINY = 64
DETAILED = 16
RESOLUTIONS = (64, 96, 128, 160)


def architectures() -> list[Architecture]:
    """What can be trained here: without pretrained weights, only what starts from scratch."""
    names = backbones.available()
    scratch = Architecture(
        "small_convnet",
        "A small residual network from scratch, for pictures of at most 64 pixels a side.",
        *TYPES,
        build=_build_small,
        space={
            "learning_rate": FloatRange(3e-4, 2e-2, log=True),
            "epochs": IntRange(5, 100, log=True),
            "weight_decay": FloatRange(1e-3, 0.3, log=True),
            "width": Choices((16, 32, 64)),
            "augmentation": FloatRange(0.0, 1.0),
            "flip": Choices((True, False)),
        },
        memory_grows_with=("width",),
        portfolio=[
            {
                "learning_rate": 4e-3,
                "epochs": 30,
                "weight_decay": 0.05,
                "width": 32,
                "augmentation": 0.5,
                "flip": False,
            }
        ],
        fits=_is_small,
    )
    thumbnails = Architecture(
        "thumbnail_linear",
        "A linear model of the mean colours of a 12x12 grid.",
        *TYPES,
        build=_build_thumbnails,
        space={
            "learning_rate": FloatRange(1e-3, 3e-2, log=True),
            "epochs": IntRange(5, 60, log=True),
            "weight_decay": FloatRange(1e-3, 3.0, log=True),
        },
        portfolio=[{"learning_rate": 3e-3, "epochs": 20, "weight_decay": 1.0}],
        baseline=True,
        fits=_is_of_pictures,
    )
    pretrained = [_frozen(names), _fine_tuned(names)] if names else []
    return [thumbnails, *pretrained, scratch]


def _frozen(names: tuple[str, ...]) -> Architecture:
    return Architecture(
        "frozen_backbone",
        "A linear head on the features of a pretrained backbone, which is run once a job.",
        *TYPES,
        build=_build_frozen,
        space={
            "learning_rate": FloatRange(1e-4, 3e-2, log=True),
            "epochs": IntRange(5, 60, log=True),
            "weight_decay": FloatRange(1e-3, 1.0, log=True),
            "dropout": FloatRange(0.0, 0.6),
            "backbone": Choices(names),
            "resolution": Choices(RESOLUTIONS),
            "flip": Choices((True, False)),
        },
        memory_grows_with=("resolution",),
        portfolio=[
            {
                "learning_rate": 2e-3,
                "epochs": 20,
                "weight_decay": 0.1,
                "dropout": 0.3,
                "backbone": names[0],
                "resolution": 96,
                "flip": True,
            }
        ],
        baseline=True,
    )


def _fine_tuned(names: tuple[str, ...]) -> Architecture:
    defaults = {
        "learning_rate": 4e-4,
        "epochs": 8,
        "weight_decay": 0.05,
        "dropout": 0.2,
        "backbone": names[0],
        "resolution": 96,
        "augmentation": 1.0,
        "flip": True,
        "trained_layers": "upper",
    }
    return Architecture(
        "fine_tuned",
        "A pretrained backbone with a new head, trained together.",
        *TYPES,
        build=_build_fine_tuned,
        space={
            "learning_rate": FloatRange(5e-5, 3e-3, log=True),
            "epochs": IntRange(2, 40, log=True),
            "weight_decay": FloatRange(1e-3, 0.3, log=True),
            "dropout": FloatRange(0.0, 0.5),
            "backbone": Choices(names),
            "resolution": Choices(RESOLUTIONS),
            "augmentation": FloatRange(0.0, 1.0),
            "flip": Choices((True, False)),
            "trained_layers": Choices(backbones.TRAINED_LAYERS),
        },
        memory_grows_with=("resolution",),
        portfolio=[defaults, {**defaults, "resolution": 128, "epochs": 16}],
        fits=_shows_something,
    )


def _is_of_pictures(block: DataBlock, hardware: Hardware) -> bool:  # noqa: ARG001
    """Whether the items are pictures, and not made into some: those have baselines of their own."""
    return isinstance(block.inputs[0], ImageBlock)


def _is_small(block: DataBlock, hardware: Hardware) -> bool:  # noqa: ARG001
    """Whether the training pictures are tiny, or no photographs and so of the size that their block
    made them."""
    (image,) = block.inputs
    return image.side <= TINY if isinstance(image, ImageBlock) else not image.natural


def _shows_something(block: DataBlock, hardware: Hardware) -> bool:  # noqa: ARG001
    """Whether pictures have the detail that the first layers of a backbone look for; training a
    whole backbone on icons takes long and gains nothing over a small network."""
    (image,) = block.inputs
    return not isinstance(image, ImageBlock) or image.side >= DETAILED


def _build_thumbnails(blueprint: Blueprint) -> Trainer:
    from seedbed_vision.thumbnails import ThumbnailTrainer

    return ThumbnailTrainer(blueprint)


def _build_frozen(blueprint: Blueprint) -> Trainer:
    from seedbed_vision.frozen import FrozenBackboneTrainer

    return FrozenBackboneTrainer(blueprint)


def _build_fine_tuned(blueprint: Blueprint) -> Trainer:
    import torch

    parameters = blueprint.parameters
    torch.manual_seed(blueprint.seed)
    backbone = backbones.trainable(
        str(parameters["backbone"]), str(parameters["trained_layers"]), blueprint.hardware
    )
    return _learner(blueprint, backbone, int(parameters["resolution"]), groups=[("head.", 3.0)])


def _build_small(blueprint: Blueprint) -> Trainer:
    import torch

    from seedbed_vision.networks import SmallConvNet

    torch.manual_seed(blueprint.seed)
    backbone = SmallConvNet(int(blueprint.parameters["width"]))
    return _learner(blueprint, backbone, None, batch_size=64)


def _learner(
    blueprint: Blueprint,
    backbone: nn.Module,
    resolution: int | None,
    *,
    groups: list[tuple[str, float]] | None = None,
    batch_size: int = 32,
) -> Learner:
    from seedbed_sdk.learner import Learner, LearnerConfig
    from seedbed_sdk.schedule import Schedule
    from seedbed_vision.augment import Augment
    from seedbed_vision.networks import ImageClassifier, is_natural, label_smoothing

    parameters = blueprint.parameters
    natural = is_natural(blueprint.block)
    flip = natural and bool(parameters["flip"])
    network = ImageClassifier(
        backbone,
        blueprint.block.target.output_size,
        resolution,
        dropout=float(parameters.get("dropout", 0.0)),
        flip=flip,
    )
    return Learner(
        network,
        blueprint.block,
        LearnerConfig(
            epochs=int(parameters["epochs"]),
            learning_rate=float(parameters["learning_rate"]),
            weight_decay=float(parameters["weight_decay"]),
            batch_size=batch_size,
            predict_batch_size=64,
            label_smoothing=label_smoothing(blueprint.block),
            averaging=0.99,
            schedule=Schedule(warmup_fraction=0.05, decay_fraction=0.8),
        ),
        hardware=blueprint.hardware,
        seed=blueprint.seed,
        transform=Augment(resolution, flip, float(parameters["augmentation"])) if natural else None,
        groups=groups or [],
    )
