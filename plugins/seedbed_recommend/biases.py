"""The baselines of ratings: the mean, and how generous a user and how liked an item is."""

from __future__ import annotations

import time

import numpy as np

from seedbed_recommend.answers import RatingAnswers
from seedbed_recommend.models import Tensors
from seedbed_sdk.blocks import RatingBlock, UserItemBlock
from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.trainer import Blueprint, Data, EpochReport, Interrupted, Run

ROUNDS = 10


class BiasTrainer(Tensors, RatingAnswers):
    """Mean, plus a bias of the user and one of the item, each shrunk by as many ratings of 0 as its
    regularization says: alternating least squares. Without regularizations, the mean alone."""

    def __init__(self, blueprint: Blueprint) -> None:
        (block,) = blueprint.block.inputs
        assert isinstance(block, UserItemBlock)
        assert isinstance(blueprint.block.target, RatingBlock)
        self.target = blueprint.block.target
        self.sizes = (block.user_count, block.item_count)
        self.regularization = [
            float(blueprint.parameters.get(f"{noun}_regularization", np.inf))
            for noun in ("user", "item")
        ]
        self.tensors = {}

    def fit(self, data: Data, run: Run) -> None:
        """Raises Interrupted where it was stopped before it began."""
        if run.should_stop():
            raise Interrupted("stopped before the biases were computed")
        user, item = data.train.inputs["user"], data.train.inputs["item"]
        ratings = data.train.target.astype(np.float64)
        mean = float(ratings.mean())
        biases = [np.zeros(size) for size in self.sizes]
        for _ in range(ROUNDS):
            for codes, others, of, by in ((item, user, 1, 0), (user, item, 0, 1)):
                rest = ratings - mean - biases[by][others]
                biases[of] = shrunk_mean(codes, rest, self.sizes[of], self.regularization[of])
        self.tensors = {"mean": np.array([mean]), "user": biases[0], "item": biases[1]}
        began = time.monotonic()
        outputs = self.predict(data.valid.inputs)
        seconds = time.monotonic() - began
        run.report(EpochReport(1, 1, outputs, ROUNDS * len(ratings), predict_seconds=seconds))

    def predict(self, inputs: Arrays) -> Array:
        return np.asarray(np.clip(self.liking(inputs), self.target.low, self.target.high)[:, None])

    def liking(self, inputs: Arrays) -> Array:
        users, items = self.tensors["user"], self.tensors["item"]
        return np.asarray(self.tensors["mean"] + users[inputs["user"]] + items[inputs["item"]])


def shrunk_mean(codes: Array, values: Array, size: int, regularization: float) -> Array:
    """The mean of the values [N] of each code [N], counted with so many zeros, float64 [size]."""
    if np.isinf(regularization):
        return np.zeros(size)
    counts = np.bincount(codes, minlength=size)
    # Without zeros, codes that do not occur would be 0 / 0.
    sums = np.bincount(codes, values, minlength=size)
    return np.asarray(sums / np.maximum(counts + regularization, 1e-9))
