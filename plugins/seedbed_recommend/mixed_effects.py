"""A linear mixed model of ratings, whose effects are shrunk towards what features say."""

from __future__ import annotations

import time

import numpy as np

from seedbed_recommend.answers import RatingAnswers
from seedbed_recommend.models import Tensors
from seedbed_sdk.blocks import RatingBlock, UserItemBlock
from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.blocks.user_item import UNKNOWN
from seedbed_sdk.trainer import Blueprint, Data, EpochReport, Interrupted, Run

MAX_TASTES = 48
USERS_AT_ONCE = 500
PRIOR_RIDGE = 5.0
COUNT_SCALE = 3.0
FLAG_SPAN = 1.01


class MixedEffectsTrainer(Tensors, RatingAnswers):
    """rating = mean + item effect + user effect + the user's tastes · the item's features.

    Crossed random effects, by alternating ridge regressions: tastes and user effect of each user
    given the item effects, then the item effects. Item effects are shrunk towards what a regression
    on the item's features predicts, and so are user effects where users have features, so that
    what is new or rare is rated as its like. The features are the 48 most frequent ones of the item
    table and the logarithm of how often the item was rated, so that taste for the well-known counts
    without an item table too. An epoch is a round.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        (block,) = blueprint.block.inputs
        assert isinstance(block, UserItemBlock)
        assert isinstance(blueprint.block.target, RatingBlock)
        self.block = block
        self.target = blueprint.block.target
        self.epochs = int(blueprint.parameters["epochs"])
        self.user_regularization = float(blueprint.parameters["user_regularization"])
        self.item_regularization = float(blueprint.parameters["item_regularization"])
        self.taste_regularization = float(blueprint.parameters["taste_regularization"])
        self.tensors = {}

    def fit(self, data: Data, run: Run) -> None:
        """Raises Interrupted where it was stopped before the first round had ended."""
        user, item = data.train.inputs["user"], data.train.inputs["item"]
        ratings = data.train.target.astype(np.float64)
        design = self._design(np.bincount(item, minlength=self.block.item_count))
        order = np.argsort(user, kind="stable")
        current = {
            "mean": np.array([ratings.mean()]),
            "user": np.zeros(self.block.user_count),
            "item": np.zeros(self.block.item_count),
            "tastes": np.zeros((self.block.user_count, design.shape[1])),
            "design": design,
        }
        for epoch in range(1, self.epochs + 1):
            if run.should_stop():
                break
            self._update_items(current, user, item, ratings)
            self._update_users(current, user, item, ratings, order)
            began = time.monotonic()
            outputs = self._outputs(current, data.valid.inputs)
            seconds = time.monotonic() - began
            samples = epoch * len(ratings)
            report = EpochReport(epoch, self.epochs, outputs, samples, predict_seconds=seconds)
            verdict = run.report(report)
            if verdict.best:
                self.tensors = dict(current)
            if verdict.stop:
                break
        if not self.tensors:
            raise Interrupted("stopped before the first round had ended")

    def predict(self, inputs: Arrays) -> Array:
        return self._outputs(self.tensors, inputs)

    def liking(self, inputs: Arrays) -> Array:
        return _expected(self.tensors, inputs)

    def _outputs(self, model: Arrays, inputs: Arrays) -> Array:
        values = _expected(model, inputs)
        return np.asarray(np.clip(values, self.target.low, self.target.high)[:, None])

    def _design(self, counts: Array) -> Array:
        """Features of items, centred on what is rated, float64 [codes, F]. An unknown item is of
        average features and has never been rated."""
        features = self.block.item_features.astype(np.float64)
        rated = np.average(features, axis=0, weights=counts)
        if features.shape[1] > MAX_TASTES:
            spread = np.average((features - rated) ** 2, axis=0, weights=counts)
            kept = np.sort(np.argsort(-spread, kind="stable")[:MAX_TASTES])
            features, rated = features[:, kept], rated[kept]
        often = np.log1p(counts) / COUNT_SCALE
        design = np.column_stack([features - rated, often - np.average(often, weights=counts)])
        design[UNKNOWN, :-1] = 0.0
        return np.asarray(design)

    def _update_items(
        self, model: dict[str, Array], user: Array, item: Array, ratings: Array
    ) -> None:
        rest = ratings - model["mean"] - model["user"][user]
        rest -= np.einsum("nf,nf->n", model["tastes"][user], model["design"][item])
        features = model["design"]
        # Flags span 1 and their squares say nothing new; standard scores span more.
        curved = features[:, np.ptp(features, axis=0) > FLAG_SPAN] ** 2
        model["item"] = _towards(
            np.column_stack([features, curved]), item, rest, self.item_regularization
        )

    def _update_users(
        self, model: dict[str, Array], user: Array, item: Array, ratings: Array, order: Array
    ) -> None:
        rest = ratings - model["mean"] - model["item"][item]
        expected = np.zeros(self.block.user_count)
        if self.block.user_features.shape[1]:
            tastes = np.einsum("nf,nf->n", model["tastes"][user], model["design"][item])
            expected = _prior(
                self.block.user_features, user, rest - tastes, self.user_regularization
            )
        rest -= expected[user]
        columns = np.column_stack([np.ones(len(model["design"])), model["design"]])
        size = columns.shape[1]
        ridge = np.diag([self.user_regularization] + [self.taste_regularization] * (size - 1))
        starts = np.searchsorted(user[order], np.arange(self.block.user_count + 1))
        solved = np.zeros((self.block.user_count, size))
        for first in range(0, self.block.user_count, USERS_AT_ONCE):
            users = range(first, min(first + USERS_AT_ONCE, self.block.user_count))
            squares = np.tile(ridge, (len(users), 1, 1))
            sums = np.zeros((len(users), size))
            for i, number in enumerate(users):
                rows = order[starts[number] : starts[number + 1]]
                rated = columns[item[rows]]
                squares[i] += rated.T @ rated
                sums[i] = rated.T @ rest[rows]
            solved[users.start : users.stop] = np.linalg.solve(squares, sums[:, :, None])[:, :, 0]
        model["user"] = expected + solved[:, 0]
        model["tastes"] = solved[:, 1:]


def _expected(model: Arrays, inputs: Arrays) -> Array:
    """Ratings [N], not cut off at the ends of the scale."""
    user, item = inputs["user"], inputs["item"]
    linear = np.einsum("nf,nf->n", model["tastes"][user], model["design"][item])
    return np.asarray(model["mean"] + model["user"][user] + model["item"][item] + linear)


def _prior(features: Array, codes: Array, rest: Array, regularization: float) -> Array:
    """What a ridge regression on features [codes, F] predicts for each code, from the mean of what
    is left of its ratings; codes with more ratings weigh more."""
    counts = np.bincount(codes, minlength=len(features))
    means = np.bincount(codes, rest, minlength=len(features)) / np.maximum(counts, 1)
    weights = counts / (counts + max(regularization, 1.0))
    columns = np.column_stack([np.ones(len(features)), features])
    square = (columns.T * weights) @ columns + PRIOR_RIDGE * np.eye(columns.shape[1])
    return np.asarray(columns @ np.linalg.solve(square, columns.T @ (weights * means)))


def _towards(features: Array, codes: Array, rest: Array, regularization: float) -> Array:
    """The mean of what is left [N] of the ratings of each code, counted with so many ratings as the
    prior says, float64 [codes]."""
    prior = _prior(features, codes, rest, regularization)
    counts = np.bincount(codes, minlength=len(features))
    sums = np.bincount(codes, rest, minlength=len(features))
    return np.asarray((sums + regularization * prior) / np.maximum(counts + regularization, 1e-9))
