"""The architectures that segment pictures, and where to search."""

from __future__ import annotations

from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.space import Choices, FloatRange, IntRange
from seedbed_sdk.trainer import Architecture, Blueprint, Hardware, Trainer
from seedbed_vision import backbones

TYPES = (("image",), ("mask",))
RESOLUTIONS = (96, 128, 160, 192, 224, 256, 320)
KEPT_BYTES = 2 * 2**30
# Of the four levels, 16 bits a number, by the pixels of the working size.
BYTES_A_PIXEL = 6


def architectures() -> list[Architecture]:
    """What can be trained here: without pretrained weights, the U-Net starts from scratch."""
    names = backbones.available()
    linear = Architecture(
        "pixel_linear",
        "A linear model of each pixel's colour, surroundings and place.",
        *TYPES,
        build=_build_linear,
        space={
            "learning_rate": FloatRange(1e-3, 0.1, log=True),
            "epochs": IntRange(1, 20, log=True),
            "weight_decay": FloatRange(1e-4, 0.1, log=True),
        },
        portfolio=[{"learning_rate": 0.02, "epochs": 1, "weight_decay": 1e-3}],
        baseline=True,
    )
    return [linear, *([_frozen(names)] if names else []), _u_net(names or (backbones.LITE,))]


def _frozen(names: tuple[str, ...]) -> Architecture:
    defaults = {
        "learning_rate": 3e-3,
        "epochs": 8,
        "weight_decay": 0.05,
        "dropout": 0.1,
        "width": 64,
        "backbone": names[0],
        "resolution": 160,
        "flip": True,
    }
    return Architecture(
        "frozen_pyramid",
        "A light decoder on four scales of a pretrained backbone, which is run once.",
        *TYPES,
        build=_build_frozen,
        space={
            "learning_rate": FloatRange(3e-4, 1e-2, log=True),
            "epochs": IntRange(5, 80, log=True),
            "weight_decay": FloatRange(1e-3, 0.3, log=True),
            "dropout": FloatRange(0.0, 0.4),
            "width": Choices((32, 48, 64, 96)),
            "backbone": Choices(names),
            "resolution": Choices(RESOLUTIONS),
            "flip": Choices((True, False)),
        },
        memory_grows_with=("resolution", "width"),
        portfolio=[defaults],
        fits=_can_be_kept,
    )


def _u_net(names: tuple[str, ...]) -> Architecture:
    defaults = {
        "learning_rate": 1e-3,
        "epochs": 60,
        "weight_decay": 0.05,
        "dropout": 0.1,
        "width": 64,
        "backbone": names[0],
        "resolution": 160,
        "augmentation": 1.0,
        "flip": True,
        "trained_layers": "upper",
    }
    return Architecture(
        "unet",
        "A U-Net whose encoder is a pretrained backbone, trained together with its decoder.",
        *TYPES,
        build=_build_u_net,
        space={
            "learning_rate": FloatRange(2e-4, 4e-3, log=True),
            "epochs": IntRange(5, 120, log=True),
            "weight_decay": FloatRange(1e-3, 0.3, log=True),
            "dropout": FloatRange(0.0, 0.4),
            "width": Choices((32, 48, 64, 96)),
            "backbone": Choices(names),
            "resolution": Choices(RESOLUTIONS),
            "augmentation": FloatRange(0.0, 1.0),
            "flip": Choices((True, False)),
            "trained_layers": Choices(backbones.TRAINED_LAYERS),
        },
        memory_grows_with=("resolution", "width"),
        portfolio=[defaults, {**defaults, "resolution": 224, "epochs": 80}],
    )


def _can_be_kept(block: DataBlock, hardware: Hardware) -> bool:  # noqa: ARG001
    """Whether the features of all pictures and their mirror images stay within a bound."""
    pictures = sum(len(items) for items in block.items.values())
    return 2 * pictures * BYTES_A_PIXEL * max(RESOLUTIONS) ** 2 <= KEPT_BYTES


def _build_linear(blueprint: Blueprint) -> Trainer:
    from seedbed_vision.segment_trainers import Segmenter, pixel_linear

    return Segmenter(pixel_linear(blueprint))


def _build_frozen(blueprint: Blueprint) -> Trainer:
    from seedbed_vision.segment_trainers import FrozenPyramidTrainer, Segmenter

    return Segmenter(FrozenPyramidTrainer(blueprint))


def _build_u_net(blueprint: Blueprint) -> Trainer:
    from seedbed_vision.segment_trainers import Segmenter, u_net

    return Segmenter(u_net(blueprint))
