"""The network for tables: embeddings of categories and of numbers, then residual blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from seedbed_sdk.blocks.tabular import CategoryFeature, NumericFeature, TabularBlock
from seedbed_sdk.learner import Learner, LearnerConfig
from seedbed_sdk.trainer import Blueprint, Data, Run

MAX_EMBEDDING = 600
BINS = 32
NUMBER_SIZE = 8
SCORE_LIMIT = 5.0
MIN_STEPS = 32
MIN_BATCH = 8


class NumberEncoder(nn.Module):
    """Numbers as embeddings [B, F * (NUMBER_SIZE + 2)] of their place between training quantiles.

    After Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular Deep Learning":
    piecewise linear encoding, then a linear map and a ReLU per feature. Beside it stand the
    standard score, cut off at 5, and whether the value is missing (which zeroes the rest).
    """

    mean: torch.Tensor
    std: torch.Tensor
    low: torch.Tensor
    width: torch.Tensor

    def __init__(self, features: tuple[NumericFeature, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([f.mean for f in features]))
        self.register_buffer("std", torch.tensor([f.std for f in features]))
        edges = [_bins(feature.edges) for feature in features]
        low = torch.zeros(len(features), BINS)
        width = torch.full((len(features), BINS), torch.inf)
        for i, rising in enumerate(edges):
            low[i, : len(rising) - 1] = rising[:-1]
            width[i, : len(rising) - 1] = rising.diff()
        self.register_buffer("low", low)
        self.register_buffer("width", width)
        self.weight = nn.Parameter(torch.empty(len(features), BINS, NUMBER_SIZE))
        self.bias = nn.Parameter(torch.zeros(len(features), NUMBER_SIZE))
        nn.init.uniform_(self.weight, -(BINS**-0.5), BINS**-0.5)
        self.output_size = len(features) * (NUMBER_SIZE + 2)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        missing = numbers.isnan()  # [B, F]
        known = torch.where(missing, self.mean, numbers)
        scores = ((known - self.mean) / self.std).clamp(-SCORE_LIMIT, SCORE_LIMIT)
        places = ((known[:, :, None] - self.low) / self.width).clamp(0.0, 1.0)  # [B, F, BINS]
        embedded = torch.einsum("bfi,fio->bfo", places, self.weight) + self.bias
        embedded = embedded.relu() * ~missing[:, :, None]
        flags = missing.to(scores.dtype)
        return torch.cat([embedded.flatten(1), scores, flags], dim=1)


class CategoryEncoder(nn.Module):
    """Codes [B, K] as embeddings [B, sum of sizes], of a size that grows with the vocabulary."""

    def __init__(self, features: tuple[CategoryFeature, ...]) -> None:
        super().__init__()
        sizes = [embedding_size(feature.cardinality) for feature in features]
        tables = [
            nn.Embedding(feature.cardinality, size)
            for feature, size in zip(features, sizes, strict=True)
        ]
        for table in tables:
            nn.init.normal_(table.weight, std=0.05)
        self.tables = nn.ModuleList(tables)
        self.output_size = sum(sizes)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        parts = [table(codes[:, i]) for i, table in enumerate(self.tables)]
        return torch.cat(parts, dim=1)


class ResidualBlock(nn.Module):
    """x + f(x) with f a normalised hidden layer, [B, width] to [B, width]."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Linear(width, width * 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width * 2, width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.body(x)
        return y


class TabularNetwork(nn.Module):
    """From `numeric` float32 [B, F] with NaN and `categorical` int64 [B, K] to raw outputs."""

    def __init__(
        self, block: TabularBlock, output_size: int, *, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__()
        self.numbers = NumberEncoder(block.numeric) if block.numeric else None
        self.categories = CategoryEncoder(block.categorical) if block.categorical else None
        encoders = (self.numbers, self.categories)
        size = sum(encoder.output_size for encoder in encoders if encoder is not None)
        self.first = nn.Sequential(nn.Dropout(dropout / 2), nn.Linear(size, width))
        self.blocks = nn.Sequential(*(ResidualBlock(width, dropout) for _ in range(depth)))
        self.head = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, output_size))

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        parts = []
        if self.numbers is not None:
            parts.append(self.numbers(inputs["numeric"]))
        if self.categories is not None:
            parts.append(self.categories(inputs["categorical"]))
        raw: torch.Tensor = self.head(self.blocks(self.first(torch.cat(parts, dim=1))))
        return raw


class TabularLearner(Learner):
    """Takes smaller batches where a table is so small that an epoch would have less than 32."""

    def fit(self, data: Data, run: Run) -> None:
        limit = max(MIN_BATCH, len(data.train) // MIN_STEPS)
        batch_size = min(self.config.batch_size, limit)
        self.config = replace(self.config, batch_size=batch_size)
        # Layers this narrow lose more to waking threads than they gain: measured on two cores, five
        # epochs took 2.5 s on one thread and 7.3 s on two.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            super().fit(data, run)
        finally:
            torch.set_num_threads(threads)


def embedding_size(cardinality: int) -> int:
    """fast.ai's rule for the length of a category's embedding."""
    return min(MAX_EMBEDDING, round(1.6 * float(cardinality**0.56)))


def build(blueprint: Blueprint) -> Learner:
    """A learner with freshly initialised weights, the same for the same seed."""
    (block,) = blueprint.block.inputs
    assert isinstance(block, TabularBlock)
    parameters = blueprint.parameters
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(blueprint.seed)
        network = TabularNetwork(
            block,
            blueprint.block.target.output_size,
            width=int(parameters["width"]),
            depth=int(parameters["depth"]),
            dropout=float(parameters["dropout"]),
        )
    config = LearnerConfig(
        epochs=int(parameters["epochs"]),
        learning_rate=float(parameters["learning_rate"]),
        weight_decay=float(parameters["weight_decay"]),
        batch_size=int(parameters["batch_size"]),
        clip_norm=1.0,
    )
    return TabularLearner(
        network, blueprint.block, config, hardware=blueprint.hardware, seed=blueprint.seed
    )


def _bins(edges: tuple[float, ...]) -> torch.Tensor:
    """At most BINS + 1 of the rising edges; one edge alone gets a second one."""
    rising = np.unique(np.array(edges, dtype=np.float32))
    if len(rising) == 1:
        rising = np.array([rising[0], rising[0] + 1.0], dtype=np.float32)
    if len(rising) > BINS + 1:
        rising = rising[np.linspace(0, len(rising) - 1, BINS + 1).round().astype(int)]
    return torch.from_numpy(rising)
