"""The architectures for sounds, and where to search."""

from __future__ import annotations

from seedbed_sdk.space import Choices, FloatRange, IntRange
from seedbed_sdk.trainer import Architecture, Blueprint, Trainer

TYPES = (("audio",), ("category",))


def architectures() -> list[Architecture]:
    """All of them; the networks for pictures come from elsewhere."""
    return [
        Architecture(
            "spectral_linear",
            "Ridge regression on statistics of the log-mel spectrogram.",
            *TYPES,
            build=_build_linear,
            space={"segments": Choices((1, 2, 4, 8))},
            memory_grows_with=("segments",),
            portfolio=[{"segments": 4}],
            baseline=True,
            refits=True,
        ),
        Architecture(
            "spectral_kernel",
            "Gaussian kernel ridge regression on statistics of the log-mel spectrogram.",
            *TYPES,
            build=_build_kernel,
            space={
                "segments": Choices((1, 2, 4, 8)),
                "kernel_width": FloatRange(0.05, 2.0, log=True),
            },
            memory_grows_with=("segments",),
            portfolio=[{"segments": 4, "kernel_width": 0.25}],
            refits=True,
        ),
        Architecture(
            "spectrogram_convnet",
            "A small residual network on the log-mel spectrogram, trained with SpecAugment.",
            *TYPES,
            build=_build_convnet,
            space={
                "learning_rate": FloatRange(5e-4, 2e-2, log=True),
                "epochs": IntRange(5, 80, log=True),
                "weight_decay": FloatRange(1e-3, 0.3, log=True),
                "width": Choices((16, 24, 32, 48)),
                "dropout": FloatRange(0.0, 0.5),
                "augmentation": FloatRange(0.0, 1.0),
            },
            memory_grows_with=("width",),
            portfolio=[
                {
                    "learning_rate": 5e-3,
                    "epochs": 25,
                    "weight_decay": 0.05,
                    "width": 24,
                    "dropout": 0.1,
                    "augmentation": 1.0,
                }
            ],
        ),
    ]


def _build_linear(blueprint: Blueprint) -> Trainer:
    from seedbed_audio.statistics import SpectralStatistics
    from seedbed_sdk.features import FeatureTrainer

    return FeatureTrainer(blueprint, SpectralStatistics(int(blueprint.parameters["segments"])))


def _build_kernel(blueprint: Blueprint) -> Trainer:
    from seedbed_audio.statistics import SpectralStatistics
    from seedbed_sdk.features import FeatureTrainer

    return FeatureTrainer(
        blueprint,
        SpectralStatistics(int(blueprint.parameters["segments"])),
        width=float(blueprint.parameters["kernel_width"]),
    )


def _build_convnet(blueprint: Blueprint) -> Trainer:
    import torch

    from seedbed_audio.augment import SpecAugment
    from seedbed_sdk.convnet import ResidualConvNet
    from seedbed_sdk.learner import Learner, LearnerConfig
    from seedbed_sdk.schedule import Schedule

    parameters = blueprint.parameters
    classes = blueprint.block.target.output_size
    torch.manual_seed(blueprint.seed)
    network = ResidualConvNet(
        1, int(parameters["width"]), classes, dropout=float(parameters["dropout"])
    )
    return Learner(
        network,
        blueprint.block,
        LearnerConfig(
            epochs=int(parameters["epochs"]),
            learning_rate=float(parameters["learning_rate"]),
            weight_decay=float(parameters["weight_decay"]),
            batch_size=64,
            predict_batch_size=256,
            label_smoothing=0.1,
            averaging=0.99,
            schedule=Schedule(warmup_fraction=0.05, decay_fraction=0.8),
        ),
        hardware=blueprint.hardware,
        seed=blueprint.seed,
        transform=SpecAugment(classes, float(parameters["augmentation"])),
    )
