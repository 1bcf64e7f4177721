"""The kinds of models for users and items, where to search their hyperparameters, good settings."""

from __future__ import annotations

from seedbed_sdk.space import Choices, FloatRange, IntRange
from seedbed_sdk.trainer import Architecture, Blueprint, Trainer

INPUTS = ("user_item",)
RATINGS = ("rating",)
RANKINGS = ("interaction",)
MANY = 10_000_000


def _build_biases(blueprint: Blueprint) -> Trainer:
    from seedbed_recommend.biases import BiasTrainer

    return BiasTrainer(blueprint)


def _build_mixed_effects(blueprint: Blueprint) -> Trainer:
    from seedbed_recommend.mixed_effects import MixedEffectsTrainer

    return MixedEffectsTrainer(blueprint)


def _build_rating_network(blueprint: Blueprint) -> Trainer:
    from seedbed_recommend.networks import build_rating

    return build_rating(blueprint)


def _build_popular(blueprint: Blueprint) -> Trainer:
    from seedbed_recommend.rankings import PopularTrainer

    return PopularTrainer(blueprint)


def _build_ease(blueprint: Blueprint) -> Trainer:
    from seedbed_recommend.rankings import EaseTrainer

    return EaseTrainer(blueprint)


def _build_neighbours(blueprint: Blueprint) -> Trainer:
    from seedbed_recommend.rankings import NeighbourTrainer

    return NeighbourTrainer(blueprint)


def _build_ranking_network(blueprint: Blueprint) -> Trainer:
    from seedbed_recommend.networks import build_ranking

    return build_ranking(blueprint)


GLOBAL_MEAN = Architecture(
    name="global_mean",
    description="The mean rating, for every user and item.",
    input_types=INPUTS,
    target_types=RATINGS,
    build=_build_biases,
    space={},
    portfolio=({},),
    baseline=True,
    refits=True,
    refit_items=MANY,
)

BIAS_ONLY = Architecture(
    name="bias_only",
    description="The mean rating plus a regularised bias of the user and one of the item.",
    input_types=INPUTS,
    target_types=RATINGS,
    build=_build_biases,
    space={
        "user_regularization": FloatRange(0.1, 100.0, log=True),
        "item_regularization": FloatRange(0.1, 100.0, log=True),
    },
    portfolio=({"user_regularization": 5.0, "item_regularization": 3.0},),
    baseline=True,
    refits=True,
    refit_items=MANY,
)

MIXED_EFFECTS = Architecture(
    name="mixed_effects",
    description="Effects of users and items shrunk towards what their features say, and each "
    "user's taste for the items' features: a linear mixed model.",
    input_types=INPUTS,
    target_types=RATINGS,
    build=_build_mixed_effects,
    space={
        "epochs": IntRange(1, 8),
        "user_regularization": FloatRange(0.5, 50.0, log=True),
        "item_regularization": FloatRange(0.5, 50.0, log=True),
        "taste_regularization": FloatRange(1.0, 200.0, log=True),
    },
    portfolio=(
        {
            "epochs": 3,
            "user_regularization": 5.0,
            "item_regularization": 4.0,
            "taste_regularization": 20.0,
        },
    ),
    refits=True,
    refit_items=MANY,
)

DOT_PRODUCT = Architecture(
    name="dot_product_bias",
    description="The dot product of embeddings of user and item plus their biases.",
    input_types=INPUTS,
    target_types=RATINGS,
    build=_build_rating_network,
    space={
        "learning_rate": FloatRange(5e-4, 3e-2, log=True),
        "epochs": IntRange(2, 20, log=True),
        "weight_decay": FloatRange(1e-3, 2.0, log=True),
        "embedding_size": Choices((8, 16, 32, 64)),
        "dropout": FloatRange(0.0, 0.5),
        "batch_size": Choices((256, 1024, 4096)),
    },
    memory_grows_with=("batch_size", "embedding_size"),
    portfolio=(
        {
            "learning_rate": 5e-3,
            "epochs": 6,
            "weight_decay": 0.3,
            "embedding_size": 32,
            "dropout": 0.2,
            "batch_size": 1024,
        },
    ),
    refits=True,
    refit_items=MANY,
)

NEURAL = Architecture(
    name="neural_collaborative",
    description="Embeddings and features of user and item through a dot product and a network.",
    input_types=INPUTS,
    target_types=RATINGS,
    build=_build_rating_network,
    space={
        **DOT_PRODUCT.space,
        "hidden": Choices((32, 64, 128)),
    },
    memory_grows_with=("batch_size", "embedding_size", "hidden"),
    portfolio=({**DOT_PRODUCT.portfolio[0], "hidden": 64},),
    refits=True,
    refit_items=MANY,
)

MOST_POPULAR = Architecture(
    name="most_popular",
    description="The items with the most interactions that the user has not seen.",
    input_types=INPUTS,
    target_types=RANKINGS,
    build=_build_popular,
    space={},
    portfolio=({},),
    baseline=True,
    refits=True,
    refit_items=MANY,
)

# How a user's history is weighted, and how much what everybody likes counts beside it.
HISTORY_SPACE = {
    "recency": FloatRange(0.0, 1.0),
    "half_life": FloatRange(3.0, 300.0, log=True),
    "popularity": FloatRange(1e-3, 1.0, log=True),
}

EASE = Architecture(
    name="ease",
    description="A linear autoencoder in closed form over the most frequent items (EASE^R).",
    input_types=INPUTS,
    target_types=RANKINGS,
    build=_build_ease,
    space={
        "regularization": FloatRange(1.0, 5_000.0, log=True),
        "least_interactions": IntRange(2, 12),
        **HISTORY_SPACE,
    },
    portfolio=(
        {
            "regularization": 200.0,
            "least_interactions": 2,
            "recency": 0.7,
            "half_life": 30.0,
            "popularity": 1e-3,
        },
    ),
    refits=True,
    refit_items=MANY,
)

ITEM_NEIGHBOURS = Architecture(
    name="item_neighbours",
    description="Items with the same users as those of the user's history: nearest neighbours by "
    "cosine.",
    input_types=INPUTS,
    target_types=RANKINGS,
    build=_build_neighbours,
    space={
        "popularity_exponent": FloatRange(0.1, 0.7),
        "shrinkage": FloatRange(0.1, 100.0, log=True),
        **HISTORY_SPACE,
    },
    portfolio=(
        {
            "popularity_exponent": 0.5,
            "shrinkage": 20.0,
            "recency": 0.9,
            "half_life": 30.0,
            "popularity": 1e-3,
        },
    ),
    refits=True,
    refit_items=MANY,
)

RANKING_NETWORK = Architecture(
    name="dot_product_ranking",
    description="Embeddings and features of user and item, trained to tell a user's items from "
    "others.",
    input_types=INPUTS,
    target_types=RANKINGS,
    build=_build_ranking_network,
    space={
        "learning_rate": FloatRange(5e-4, 3e-2, log=True),
        "epochs": IntRange(2, 40, log=True),
        "weight_decay": FloatRange(1e-3, 2.0, log=True),
        "embedding_size": Choices((16, 32, 64)),
        "dropout": FloatRange(0.0, 0.5),
        "batch_size": Choices((256, 1024)),
    },
    memory_grows_with=("batch_size", "embedding_size"),
    portfolio=(
        {
            "learning_rate": 1e-2,
            "epochs": 12,
            "weight_decay": 0.2,
            "embedding_size": 32,
            "dropout": 0.2,
            "batch_size": 1024,
        },
    ),
    refits=True,
    refit_items=MANY,
)

ARCHITECTURES = (
    GLOBAL_MEAN,
    BIAS_ONLY,
    MIXED_EFFECTS,
    DOT_PRODUCT,
    NEURAL,
    MOST_POPULAR,
    EASE,
    ITEM_NEIGHBOURS,
    RANKING_NETWORK,
)
