"""Networks of embeddings, for ratings and for rankings."""

from __future__ import annotations

import math

import torch
from torch import nn

from seedbed_recommend.answers import RatingAnswers
from seedbed_recommend.rankings import Ranker
from seedbed_sdk.blocks import RatingBlock, UserItemBlock
from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.blocks.user_item import UNKNOWN
from seedbed_sdk.learner import Batch, Learner, LearnerConfig
from seedbed_sdk.schedule import Schedule
from seedbed_sdk.trainer import Blueprint, Data, Run

FORGOTTEN = 0.02
RANGE_MARGIN = 0.1
NEGATIVES = 256
EMBEDDING_STD = 0.05


class Described(nn.Module):
    """Codes [B] to vectors [B, size] and biases [B]: an embedding, plus a linear map of the
    features, so that what has no history still has a vector."""

    features: torch.Tensor

    def __init__(self, features: Array, size: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.from_numpy(features.copy()), persistent=False)
        count, width = features.shape
        self.embedding = nn.Embedding(count, size + 1)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        self.linear = nn.Linear(width, size + 1, bias=False) if width else None
        if self.linear is not None:
            nn.init.normal_(self.linear.weight, std=EMBEDDING_STD / math.sqrt(width))

    def forward(self, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        both = self.embedding(codes)
        if self.linear is not None:
            both = both + self.linear(self.features[codes])
        return both[..., :-1], both[..., -1]


class RatingNetwork(nn.Module):
    """Dot product of the vectors of user and item plus their biases, squashed into the scale of the
    ratings as in fast.ai's `EmbeddingDotBias`. With `hidden` above 0, a network with a hidden layer
    on vectors and features is added (after He et al. 2017, "Neural Collaborative Filtering").
    From `user` and `item` int64 [B] to a standard score [B, 1]."""

    def __init__(
        self, block: UserItemBlock, target: RatingBlock, size: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        bare = hidden == 0
        users, items = block.user_features, block.item_features
        self.users = Described(users[:, :0] if bare else users, size)
        self.items = Described(items[:, :0] if bare else items, size)
        self.mixer = None
        if not bare:
            self.mixer = nn.Sequential(
                nn.Linear(2 * size, hidden),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, 1),
            )
        margin = RANGE_MARGIN * (target.high - target.low)
        self.low = (target.low - margin - target.mean) / target.scale
        self.width = (target.high - target.low + 2 * margin) / target.scale
        # The logit of the place of the mean rating.
        place = -self.low / self.width
        self.mean = math.log(place / (1.0 - place))
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Batch) -> torch.Tensor:
        user, user_bias = self.users(inputs["user"])
        item, item_bias = self.items(inputs["item"])
        score = self.mean + user_bias + item_bias + (self.dropout(user) * item).sum(dim=1)
        if self.mixer is not None:
            score = score + self.mixer(torch.cat([user, item], dim=1))[:, 0]
        raw: torch.Tensor = (self.low + self.width * score.sigmoid())[:, None]
        return raw


class RankingNetwork(nn.Module):
    """Scores of items for users: the dot product of their vectors plus the bias of the item. From
    `user` int64 [B] and `item` int64 [B, 1 + K], whose columns after the first hold the same item
    in every row, to [B, 1 + K]."""

    def __init__(self, block: UserItemBlock, size: int, dropout: float) -> None:
        super().__init__()
        self.users = Described(block.user_features, size)
        self.items = Described(block.item_features, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Batch) -> torch.Tensor:
        user, _ = self.users(inputs["user"])
        user = self.dropout(user)
        item, bias = self.items(inputs["item"][:, 0])
        others, other_biases = self.items(inputs["item"][0, 1:])
        own = (user * item).sum(dim=1) + bias
        return torch.cat([own[:, None], user @ others.T + other_biases], dim=1)


class RatingLearner(RatingAnswers, Learner):
    """A network of ratings."""

    def predict(self, inputs: Arrays) -> Array:
        """Ratings float32 [N, 1]."""
        return Learner.predict(self, inputs)


class RankingLearner(Ranker, Learner):
    """A network of rankings."""

    def fit(self, data: Data, run: Run) -> None:
        """Raises as `Learner.fit` does."""
        Learner.fit(self, data, run)

    def predict(self, inputs: Arrays) -> Array:
        return Ranker.predict(self, inputs)

    def scores(self, users: Array, history: Array) -> Array:  # noqa: ARG002
        network = self._scored() if self.fitting else self.network
        assert isinstance(network, RankingNetwork)
        network.eval()
        with torch.inference_mode():
            vectors, _ = network.users(torch.from_numpy(users.copy()).to(self.device))
            count = len(network.items.features)
            items, bias = network.items(torch.arange(count, device=self.device))
            scores: Array = (vectors @ items.T + bias).cpu().numpy()
            return scores


def build_rating(blueprint: Blueprint) -> Learner:
    """A learner with freshly initialised weights, the same for the same seed."""
    (block,), target, parameters = blueprint.block.inputs, blueprint.block.target, _of(blueprint)
    assert isinstance(block, UserItemBlock)
    assert isinstance(target, RatingBlock)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(blueprint.seed)
        network = RatingNetwork(
            block,
            target,
            int(parameters["embedding_size"]),
            int(parameters.get("hidden", 0)),
            parameters["dropout"],
        )
    return RatingLearner(
        network,
        blueprint.block,
        _config(blueprint, predict_batch_size=16_384),
        hardware=blueprint.hardware,
        seed=blueprint.seed,
        transform=_forget,
    )


def build_ranking(blueprint: Blueprint) -> Learner:
    """A learner with freshly initialised weights, the same for the same seed."""
    (block,), parameters = blueprint.block.inputs, _of(blueprint)
    assert isinstance(block, UserItemBlock)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(blueprint.seed)
        network = RankingNetwork(block, int(parameters["embedding_size"]), parameters["dropout"])

    def contrast(
        inputs: Batch, target: torch.Tensor, generator: torch.Generator
    ) -> tuple[Batch, torch.Tensor]:
        """Beside the item of each row, the same items drawn at random for all rows."""
        inputs, target = _forget(inputs, target, generator)
        drawn = torch.randint(1, block.item_count, (NEGATIVES,), generator=generator)
        others = drawn.to(target.device).expand(len(target), -1)
        return {**inputs, "item": torch.cat([inputs["item"][:, None], others], dim=1)}, target

    return RankingLearner(
        network,
        blueprint.block,
        _config(blueprint),
        hardware=blueprint.hardware,
        seed=blueprint.seed,
        transform=contrast,
    )


def _forget(
    inputs: Batch, target: torch.Tensor, generator: torch.Generator
) -> tuple[Batch, torch.Tensor]:
    """Some users and items are taken for unknown ones, so that code 0 is learned."""
    forgetful = {}
    for name, codes in inputs.items():
        known = torch.rand(len(codes), generator=generator) >= FORGOTTEN
        forgetful[name] = torch.where(known.to(codes.device), codes, UNKNOWN)
    return forgetful, target


def _of(blueprint: Blueprint) -> dict[str, float]:
    return {name: float(value) for name, value in blueprint.parameters.items()}


def _config(blueprint: Blueprint, predict_batch_size: int = 1024) -> LearnerConfig:
    parameters = _of(blueprint)
    return LearnerConfig(
        epochs=int(parameters["epochs"]),
        learning_rate=parameters["learning_rate"],
        weight_decay=parameters["weight_decay"],
        batch_size=int(parameters["batch_size"]),
        predict_batch_size=predict_batch_size,
        schedule=Schedule(decay_fraction=0.6),
    )
