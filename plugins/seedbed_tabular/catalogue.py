"""The kinds of models for tables, where to search their hyperparameters, and good settings."""

from __future__ import annotations

from seedbed_sdk.space import FloatRange, IntRange
from seedbed_sdk.trainer import Architecture, Blueprint, Trainer

INPUTS = ("tabular",)
TARGETS = ("category", "regression")


def _build_linear(blueprint: Blueprint) -> Trainer:
    from seedbed_tabular.linear import LinearTrainer

    return LinearTrainer(blueprint)


def _build_boosting(blueprint: Blueprint) -> Trainer:
    from seedbed_tabular.boosting import BoostingTrainer

    return BoostingTrainer(blueprint)


LINEAR = Architecture(
    name="linear",
    description="Logistic or ridge regression on standard scores and one-hot categories.",
    input_types=INPUTS,
    target_types=TARGETS,
    build=_build_linear,
    space={"regularization": FloatRange(1e-3, 1e3, log=True)},
    portfolio=({"regularization": 1.0},),
    baseline=True,
)

BOOSTING = Architecture(
    name="lightgbm",
    description="Gradient-boosted trees with native categories and missing values (LightGBM).",
    input_types=INPUTS,
    target_types=TARGETS,
    build=_build_boosting,
    space={
        "learning_rate": FloatRange(0.01, 0.3, log=True),
        "epochs": IntRange(20, 1000, log=True),
        "num_leaves": IntRange(4, 128, log=True),
        "min_child_samples": IntRange(2, 100, log=True),
        "feature_fraction": FloatRange(0.3, 1.0),
        "bagging_fraction": FloatRange(0.5, 1.0),
        "lambda_l2": FloatRange(1e-3, 100.0, log=True),
    },
    portfolio=(
        {
            "learning_rate": 0.1,
            "epochs": 200,
            "num_leaves": 31,
            "min_child_samples": 20,
            "feature_fraction": 0.8,
            "bagging_fraction": 0.9,
            "lambda_l2": 1.0,
        },
        {
            "learning_rate": 0.04,
            "epochs": 500,
            "num_leaves": 16,
            "min_child_samples": 20,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "lambda_l2": 1.0,
        },
    ),
)

ARCHITECTURES = (LINEAR, BOOSTING)
