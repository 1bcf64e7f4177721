"""How the network for tables reads numbers and categories."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from seedbed_sdk.blocks.column_features import CategoryFeature, NumericFeature

MAX_EMBEDDING = 600
BINS = 32
NUMBER_SIZE = 8
SCORE_LIMIT = 3.0


class NumberEncoder(nn.Module):
    """Numbers as embeddings [B, F * (NUMBER_SIZE + 2)] of their place between training quantiles.

    After Gorishniy et al. 2022, "On Embeddings for Numerical Features in Tabular Deep Learning":
    piecewise linear encoding, then a linear map and a ReLU per feature. Beside it stand the
    standard score, smoothly kept within 3 as in RealMLP (Holzmüller et al. 2024), and whether the
    value is missing (which zeroes the rest).
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
        scores = (known - self.mean) / self.std
        scores = scores / (1.0 + (scores / SCORE_LIMIT).square()).sqrt()
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


def embedding_size(cardinality: int) -> int:
    """fast.ai's rule for the length of a category's embedding."""
    return min(MAX_EMBEDDING, round(1.6 * float(cardinality**0.56)))


def _bins(edges: tuple[float, ...]) -> torch.Tensor:
    """At most BINS + 1 of the rising edges; one edge alone gets a second one."""
    rising = np.unique(np.array(edges, dtype=np.float32))
    if len(rising) == 1:
        rising = np.array([rising[0], rising[0] + 1.0], dtype=np.float32)
    if len(rising) > BINS + 1:
        rising = rising[np.linspace(0, len(rising) - 1, BINS + 1).round().astype(int)]
    return torch.from_numpy(rising)
