"""A light network that learns a vector for every n-gram and adds them up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from seedbed_sdk.blocks.base import Arrays
from seedbed_sdk.blocks.text import texts_of
from seedbed_sdk.learner import Batch, Learner, LearnerConfig
from seedbed_sdk.trainer import Blueprint, Data, Run, SplitArrays
from seedbed_text.converted import ConvertedTrainer
from seedbed_text.ngrams import NGrams, ngram_splits

if TYPE_CHECKING:
    from scipy import sparse

MAX_NGRAMS = 25_000
MAX_PLACES = 1_024
BATCH_SIZE = 64


class BagOfEmbeddings(nn.Module):
    """The weighted sum of the n-grams' vectors and a linear layer (after fastText, Joulin et al.
    2016). Takes `ids`, integers [B, L], 0 where there is none, and their `weights` [B, L]; gives
    raw outputs [B, outputs]. In training a share `dropout` of the n-grams is left out."""

    def __init__(self, ngrams: int, width: int, outputs: int, *, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Embedding(ngrams + 1, width)
        self.dropout = nn.Dropout(dropout)
        self.hidden_dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)
        nn.init.normal_(self.vectors.weight, std=0.1)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        longest = max(1, int((batch["ids"] > 0).sum(1).max()))
        weights = self.dropout(batch["weights"][:, :longest])
        summed = F.embedding_bag(
            batch["ids"][:, :longest].long(),
            self.vectors.weight,
            per_sample_weights=weights,
            mode="sum",
        )
        raw: torch.Tensor = self.head(self.hidden_dropout(summed))
        return raw


class BagTrainer(ConvertedTrainer):
    """Learns the n-grams of the training texts, then their vectors."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.ngrams = NGrams(MAX_NGRAMS)

    def splits(self, data: Data, run: Run) -> tuple[SplitArrays, Arrays]:
        rows = np.arange(len(data.train))
        counts = ngram_splits(data, MAX_NGRAMS, run, rows)
        self.ngrams = counts.ngrams
        self.learner = self._learner()
        train = SplitArrays(_padded(counts.train), data.train.target[counts.rows])
        return train, _padded(counts.valid)

    def convert(self, inputs: Arrays) -> Arrays:
        return _padded(self.ngrams.transform(texts_of(inputs)))

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.ngrams.save(folder)

    def load(self, folder: Path) -> None:
        self.ngrams.load(folder)
        self.learner = self._learner()
        super().load(folder)

    def _learner(self) -> Learner:
        parameters = self.blueprint.parameters
        torch.manual_seed(self.blueprint.seed)
        network = BagOfEmbeddings(
            self.ngrams.size,
            int(parameters["width"]),
            self.blueprint.block.target.output_size,
            dropout=float(parameters["dropout"]),
        )
        return Learner(
            network,
            self.blueprint.block,
            LearnerConfig(
                epochs=int(parameters["epochs"]),
                learning_rate=float(parameters["learning_rate"]),
                weight_decay=float(parameters["weight_decay"]),
                batch_size=BATCH_SIZE,
            ),
            hardware=self.blueprint.hardware,
            seed=self.blueprint.seed,
        )


def _padded(features: sparse.csr_matrix) -> dict[str, np.ndarray]:
    """`ids`, int32 [N, L], from 1 and with zeros behind, and `weights`, float32 [N, L], of the
    n-grams in each text; of the 1024 that weigh most where there are more."""
    counts = np.minimum(np.diff(features.indptr), MAX_PLACES)
    places = max(1, int(counts.max(initial=1)))
    ids = np.zeros((features.shape[0], places), dtype=np.int32)
    weights = np.zeros((features.shape[0], places), dtype=np.float32)
    for row, count in enumerate(counts):
        start, end = features.indptr[row : row + 2]
        chosen = np.arange(start, end)
        if end - start > count:
            chosen = np.sort(chosen[np.argsort(-features.data[start:end], kind="stable")[:count]])
        ids[row, :count] = features.indices[chosen] + 1
        weights[row, :count] = features.data[chosen]
    return {"ids": ids, "weights": weights}
