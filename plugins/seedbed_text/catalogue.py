"""The architectures for text, and where to search."""

from __future__ import annotations

from seedbed_sdk.datablock import DataBlock
from seedbed_sdk.space import Choices, FloatRange, IntRange
from seedbed_sdk.trainer import Architecture, Blueprint, Hardware, Trainer
from seedbed_text import encoders

TYPES = (("text",), ("category", "multi_category", "regression"))
CLASS_WEIGHTS = Choices(("none", "balanced"))
MAX_TOKENS = Choices((64, 128, 256))
REGULARIZATION = FloatRange(1e-3, 10.0, log=True)
ENCODERS = Choices(tuple(encoders.SHAPES))


def _encoder_is_installed(block: DataBlock, hardware: Hardware) -> bool:  # noqa: ARG001
    return bool(encoders.available())


def _build_linear(blueprint: Blueprint) -> Trainer:
    from seedbed_text.linear import LinearTextTrainer

    return LinearTextTrainer(blueprint)


def _build_bag(blueprint: Blueprint) -> Trainer:
    from seedbed_text.bag import BagTrainer

    return BagTrainer(blueprint)


def _build_fine_tuned(blueprint: Blueprint) -> Trainer:
    from seedbed_text.fine_tuned import FineTunedTrainer

    return FineTunedTrainer(blueprint)


TFIDF = Architecture(
    name="tfidf_linear",
    description="Logistic or ridge regression on weighted counts of words, pairs of words and runs "
    "of characters.",
    input_types=TYPES[0],
    target_types=TYPES[1],
    build=_build_linear,
    space={"regularization": REGULARIZATION, "class_weight": CLASS_WEIGHTS},
    portfolio=(
        {"regularization": 0.1, "class_weight": "balanced"},
        {"regularization": 0.02, "class_weight": "none"},
    ),
    baseline=True,
    refits=True,
)

BAG = Architecture(
    name="bag_of_embeddings",
    description="A light network that adds up learned vectors of words and runs of characters.",
    input_types=TYPES[0],
    target_types=TYPES[1],
    build=_build_bag,
    space={
        "learning_rate": FloatRange(1e-3, 5e-2, log=True),
        "epochs": IntRange(2, 40, log=True),
        "weight_decay": FloatRange(1e-3, 1.0, log=True),
        "width": Choices((16, 32, 64)),
        "dropout": FloatRange(0.0, 0.6),
    },
    memory_grows_with=("width",),
    portfolio=(
        {"learning_rate": 1e-2, "epochs": 10, "weight_decay": 0.1, "width": 32, "dropout": 0.3},
    ),
)

FROZEN = Architecture(
    name="frozen_encoder",
    description="A linear head on the vectors of a pretrained sentence encoder, which is run once, "
    "with counts of words and runs of characters beside them or without.",
    input_types=TYPES[0],
    target_types=TYPES[1],
    build=_build_linear,
    space={
        "regularization": REGULARIZATION,
        "class_weight": CLASS_WEIGHTS,
        "ngrams": Choices((True, False)),
        "encoder": ENCODERS,
        "max_tokens": MAX_TOKENS,
    },
    memory_grows_with=("max_tokens",),
    portfolio=(
        {
            "regularization": 0.1,
            "class_weight": "balanced",
            "ngrams": True,
            "encoder": encoders.MINILM,
            "max_tokens": 128,
        },
        {
            "regularization": 0.02,
            "class_weight": "none",
            "ngrams": False,
            "encoder": encoders.MINILM,
            "max_tokens": 128,
        },
    ),
    fits=_encoder_is_installed,
)

FINE_TUNED = Architecture(
    name="fine_tuned_encoder",
    description="A pretrained sentence encoder and a head, unfrozen layer by layer and trained "
    "together (ULMFiT).",
    input_types=TYPES[0],
    target_types=TYPES[1],
    build=_build_fine_tuned,
    space={
        "learning_rate": FloatRange(2e-5, 1e-3, log=True),
        "epochs": IntRange(1, 10, log=True),
        "weight_decay": FloatRange(1e-3, 0.3, log=True),
        "dropout": FloatRange(0.0, 0.5),
        "trained_layers": Choices((2, 4, 6)),
        "encoder": ENCODERS,
        "max_tokens": MAX_TOKENS,
    },
    memory_grows_with=("max_tokens", "trained_layers"),
    portfolio=(
        {
            "learning_rate": 2e-4,
            "epochs": 2,
            "weight_decay": 0.01,
            "dropout": 0.1,
            "trained_layers": 4,
            "encoder": encoders.MINILM,
            "max_tokens": 128,
        },
    ),
    fits=_encoder_is_installed,
)

ARCHITECTURES = (TFIDF, BAG, FROZEN, FINE_TUNED)
