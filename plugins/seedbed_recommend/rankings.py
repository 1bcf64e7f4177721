"""Models that rank items without a network."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_recommend.answers import RankingAnswers
from seedbed_recommend.models import Tensors
from seedbed_sdk.blocks import UserItemBlock
from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.blocks.interaction import NOTHING, RANKED
from seedbed_sdk.blocks.user_item import UNKNOWN
from seedbed_sdk.trainer import Blueprint, Data, EpochReport, Interrupted, Run

if TYPE_CHECKING:
    from scipy import sparse

USERS_AT_ONCE = 256
MAX_DENSE_ITEMS = 6_000
MAX_NEIGHBOURS = 200
ITEMS_AT_ONCE = 512


def top_ranked(scores: Array, history: Array) -> Array:
    """The codes of the 100 items with the highest scores [U, codes], without code 0, those of the
    history [U, S] and those of score -inf, int32 [U, 100] padded with -1. Overwrites `scores`."""
    rows, places = np.nonzero(history > UNKNOWN)
    scores[rows, history[rows, places]] = -np.inf
    scores[:, UNKNOWN] = -np.inf
    width = min(RANKED, scores.shape[1])
    best = np.sort(np.argpartition(-scores, width - 1, axis=1)[:, :width], axis=1)
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    ranked = np.take_along_axis(best, order, axis=1).astype(np.int32)
    ranked[np.isneginf(np.take_along_axis(values, order, axis=1))] = NOTHING
    padding = np.full((len(scores), RANKED - width), NOTHING, dtype=np.int32)
    return np.concatenate([ranked, padding], axis=1)


class Ranker(RankingAnswers):
    """Ranks by `scores`."""

    def predict(self, inputs: Arrays) -> Array:
        """The codes of the items ranked first, int32 [U, 100] padded with -1."""
        users, history = inputs["user"], np.asarray(inputs["history"])
        parts = [np.zeros((0, RANKED), dtype=np.int32)]
        for start in range(0, len(users), USERS_AT_ONCE):
            part = slice(start, start + USERS_AT_ONCE)
            parts.append(top_ranked(self.scores(users[part], history[part]), history[part]))
        return np.concatenate(parts)

    def report(self, data: Data, run: Run) -> None:
        """Tells the rankings of the validation users, at the end of a training in one go."""
        began = time.monotonic()
        outputs = self.predict(data.valid.inputs)
        seconds = time.monotonic() - began
        run.report(EpochReport(1, 1, outputs, len(data.train), predict_seconds=seconds))


class PopularTrainer(Tensors, Ranker):
    """The items with the most interactions, the same for everybody."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.count = _block(blueprint).item_count
        self.tensors = {}

    def fit(self, data: Data, run: Run) -> None:
        """Raises Interrupted where it was stopped before it began."""
        if run.should_stop():
            raise Interrupted("stopped before the items were counted")
        counts = np.bincount(data.train.inputs["item"], minlength=self.count)
        self.tensors = {"counts": counts.astype(np.float64)}
        self.report(data, run)

    def scores(self, users: Array, history: Array) -> Array:  # noqa: ARG002
        return np.tile(self.tensors["counts"], (len(users), 1))


class ItemWeightsTrainer(Ranker):
    """A score is the sum of the weights between the items of a user's history and an item.

    `recency` in [0, 1] is the share of an item's weight that halves every `half_life` items further
    back in the history. `popularity` is what the most popular item gets beside that, and others in
    proportion; it orders what the weights leave equal, and everything for users without a history.
    Subclasses say what the weights are.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.count = _block(blueprint).item_count
        self.parameters = blueprint.parameters
        self.recency = float(self.parameters["recency"])
        self.half_life = float(self.parameters["half_life"])
        self.popularity_share = float(self.parameters["popularity"])
        self.popularity = np.zeros(self.count)
        self.weights: Any = None

    def fit(self, data: Data, run: Run) -> None:
        """Raises Interrupted where it was stopped before it began."""
        if run.should_stop():
            raise Interrupted("stopped before the weights were computed")
        run.log("computing weights between items")
        user, item = data.train.inputs["user"], data.train.inputs["item"]
        counts = np.bincount(item, minlength=self.count)
        self.popularity = counts / counts.max()
        self.learn(self._matrix(user, item, np.ones(len(user))), counts, run)
        self.report(data, run)

    def learn(self, interactions: sparse.csr_matrix, counts: Array, run: Run) -> None:
        """Sets `weights` [codes, codes] from the interactions [users, codes], float32."""
        raise NotImplementedError

    def scores(self, users: Array, history: Array) -> Array:
        rows, places = np.nonzero(history > UNKNOWN)
        age = history.shape[1] - 1 - places
        values = 1.0 - self.recency + self.recency * 0.5 ** (age / self.half_life)
        matrix = self._matrix(rows, history[rows, places], values, len(users))
        return np.asarray(self.weighted(matrix) + self.popularity_share * self.popularity)

    def weighted(self, matrix: sparse.csr_matrix) -> Array:
        """The histories [U, codes] times the weights, dense."""
        return np.asarray((matrix @ self.weights).toarray())

    def _matrix(
        self, rows: Array, items: Array, values: Array, count: int | None = None
    ) -> sparse.csr_matrix:
        from scipy import sparse

        height = int(rows.max(initial=0)) + 1 if count is None else count
        return sparse.csr_matrix(
            (values.astype(np.float32), (rows, items)), shape=(height, self.count)
        )


class EaseTrainer(Tensors, ItemWeightsTrainer):
    """EASE^R (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data"): the ridge
    regression of every item on all others, in closed form. Of the items that occur at least
    `least_interactions` times, the 6,000 most frequent take part; weights are kept as float16."""

    def learn(self, interactions: sparse.csr_matrix, counts: Array, run: Run) -> None:  # noqa: ARG002
        from scipy.linalg import lapack

        frequent = np.argsort(-counts, kind="stable")[:MAX_DENSE_ITEMS]
        least = min(int(self.parameters["least_interactions"]), counts.max())
        taken = np.sort(frequent[counts[frequent] >= least])
        rows = interactions[:, taken]
        gram = (rows.T @ rows).toarray().astype(np.float32, order="F")
        gram[np.diag_indices(len(taken))] += float(self.parameters["regularization"])
        lower, _ = lapack.spotrf(gram, lower=1, overwrite_a=1)
        inverse, _ = lapack.spotri(lower, lower=1, overwrite_c=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        inverse /= -np.diag(inverse).copy()
        inverse[np.diag_indices(len(taken))] = 0.0
        self.tensors = {
            "taken": taken,
            "weights": inverse.astype(np.float16),
            "popularity": self.popularity,
        }
        self.weights = inverse.astype(np.float16).astype(np.float32)

    def weighted(self, matrix: sparse.csr_matrix) -> Array:
        taken = self.tensors["taken"]
        scores = np.zeros((matrix.shape[0], self.count))
        scores[:, taken] = matrix[:, taken] @ self.weights
        return scores

    def load(self, folder: Any) -> None:
        super().load(folder)
        self.weights = self.tensors["weights"].astype(np.float32)
        self.popularity = self.tensors["popularity"]


class NeighbourTrainer(Tensors, ItemWeightsTrainer):
    """Item-based nearest neighbours: the cosine between the sets of users of two items, of which
    each item keeps its 200 nearest. Memory grows with the number of items, not with its square."""

    def learn(self, interactions: sparse.csr_matrix, counts: Array, run: Run) -> None:
        from scipy import sparse

        exponent = float(self.parameters["popularity_exponent"])
        shrinkage = float(self.parameters["shrinkage"])
        scale = np.maximum(counts, 1.0) ** exponent
        columns = interactions.T.tocsr()
        parts = []
        for start in range(0, self.count, ITEMS_AT_ONCE):
            if run.should_stop():
                raise Interrupted("stopped before all neighbours were found")
            dense = (columns[start : start + ITEMS_AT_ONCE] @ interactions).toarray()
            own = np.arange(start, start + len(dense))
            dense[np.arange(len(dense)), own] = 0.0
            dense /= scale[own, None] * scale + shrinkage
            parts.append(_nearest(dense.astype(np.float32)))
        weights = sparse.vstack(parts, format="csr")
        self._set(weights.data, weights.indices, weights.indptr)

    def load(self, folder: Any) -> None:
        super().load(folder)
        self.popularity = self.tensors["popularity"]
        self._set(self.tensors["data"], self.tensors["indices"], self.tensors["indptr"])

    def _set(self, data: Array, indices: Array, indptr: Array) -> None:
        from scipy import sparse

        self.tensors = {
            "data": data,
            "indices": indices,
            "indptr": indptr,
            "popularity": self.popularity,
        }
        self.weights = sparse.csr_matrix((data, indices, indptr), shape=(self.count, self.count))


def _nearest(dense: Array) -> sparse.csr_matrix:
    """The rows with nothing but their 200 highest values."""
    from scipy import sparse

    if dense.shape[1] > MAX_NEIGHBOURS:
        bound = -np.partition(-dense, MAX_NEIGHBOURS, axis=1)[:, MAX_NEIGHBOURS, None]
        dense[dense <= bound] = 0.0
    return sparse.csr_matrix(dense)


def _block(blueprint: Blueprint) -> UserItemBlock:
    (block,) = blueprint.block.inputs
    assert isinstance(block, UserItemBlock)
    return block
