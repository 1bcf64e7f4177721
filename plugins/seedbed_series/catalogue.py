"""The architectures for time series, and where to search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seedbed_sdk.blocks.series import SeriesBlock
from seedbed_sdk.space import Choices, FloatRange, IntRange, Space
from seedbed_sdk.trainer import Architecture, Blueprint, Trainer

if TYPE_CHECKING:
    from torch import nn

    from seedbed_sdk.learner import Transform

TYPES = (("series",), ("category",))


def architectures() -> list[Architecture]:
    """All of them; the networks for pictures come from elsewhere."""
    return [
        Architecture(
            "series_linear",
            "Ridge regression on the standardised values of the series.",
            *TYPES,
            build=_build_linear,
            space={"pooled": Choices((1, 2, 4, 8))},
            portfolio=[{"pooled": 1}],
            baseline=True,
            refits=True,
        ),
        Architecture(
            "rocket_linear",
            "Ridge regression on the features of many random convolutions (MiniRocket).",
            *TYPES,
            build=_build_rocket,
            space={"features": Choices((2_000, 5_000, 10_000))},
            memory_grows_with=("features",),
            portfolio=[{"features": 10_000}],
            refits=True,
        ),
        Architecture(
            "series_convnet",
            "A residual network of convolutions of several lengths over time (InceptionTime).",
            *TYPES,
            build=_build_convnet,
            space={**_network_space(), "augmentation": FloatRange(0.0, 1.0)},
            memory_grows_with=("width",),
            portfolio=[
                {
                    "learning_rate": 3e-3,
                    "epochs": 60,
                    "weight_decay": 0.02,
                    "width": 16,
                    "dropout": 0.1,
                    "augmentation": 0.5,
                }
            ],
        ),
        Architecture(
            "gaf_convnet",
            "A small residual network on pictures of the series: Gramian angular fields and a "
            "recurrence plot.",
            *TYPES,
            build=_build_pictures,
            space=_network_space(),
            memory_grows_with=("width",),
            portfolio=[
                {
                    "learning_rate": 3e-3,
                    "epochs": 30,
                    "weight_decay": 0.05,
                    "width": 16,
                    "dropout": 0.2,
                }
            ],
        ),
    ]


def _network_space() -> Space:
    return {
        "learning_rate": FloatRange(3e-4, 1e-2, log=True),
        "epochs": IntRange(10, 200, log=True),
        "weight_decay": FloatRange(1e-3, 0.3, log=True),
        "width": Choices((8, 16, 32)),
        "dropout": FloatRange(0.0, 0.5),
    }


def _series(blueprint: Blueprint) -> SeriesBlock:
    (series,) = blueprint.block.inputs
    assert isinstance(series, SeriesBlock)
    return series


def _build_linear(blueprint: Blueprint) -> Trainer:
    from seedbed_sdk.features import FeatureTrainer
    from seedbed_series.rocket import RawValues

    return FeatureTrainer(blueprint, RawValues(int(blueprint.parameters["pooled"])))


def _build_rocket(blueprint: Blueprint) -> Trainer:
    from seedbed_sdk.features import FeatureTrainer
    from seedbed_series.rocket import MiniRocket

    series = _series(blueprint)
    count = int(blueprint.parameters["features"])
    return FeatureTrainer(
        blueprint, MiniRocket(series.channels, series.length, count, blueprint.seed)
    )


def _build_convnet(blueprint: Blueprint) -> Trainer:
    import torch

    from seedbed_series.networks import InceptionNet, SeriesAugment

    parameters = blueprint.parameters
    torch.manual_seed(blueprint.seed)
    network = InceptionNet(
        _series(blueprint).channels,
        int(parameters["width"]),
        blueprint.block.target.output_size,
        dropout=float(parameters["dropout"]),
    )
    return _learner(blueprint, network, SeriesAugment(float(parameters["augmentation"])))


def _build_pictures(blueprint: Blueprint) -> Trainer:
    import torch

    from seedbed_sdk.convnet import ResidualConvNet

    parameters = blueprint.parameters
    torch.manual_seed(blueprint.seed)
    network = ResidualConvNet(
        3,
        int(parameters["width"]),
        blueprint.block.target.output_size,
        dropout=float(parameters["dropout"]),
    )
    return _learner(blueprint, network, None)


def _learner(blueprint: Blueprint, network: nn.Module, transform: Transform | None) -> Trainer:
    from seedbed_sdk.learner import Learner, LearnerConfig
    from seedbed_sdk.schedule import Schedule

    parameters = blueprint.parameters
    return Learner(
        network,
        blueprint.block,
        LearnerConfig(
            epochs=int(parameters["epochs"]),
            learning_rate=float(parameters["learning_rate"]),
            weight_decay=float(parameters["weight_decay"]),
            batch_size=32,
            predict_batch_size=128,
            label_smoothing=0.1,
            averaging=0.98,
            schedule=Schedule(warmup_fraction=0.05, decay_fraction=0.8),
        ),
        hardware=blueprint.hardware,
        seed=blueprint.seed,
        transform=transform,
    )
