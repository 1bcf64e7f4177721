"""Answers to raw examples, for the models of ratings and for those of rankings.

An example names a user, an item or both by the columns of the training data; null is as good as
leaving it out. `top_n` says how many items are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seedbed_recommend.similar import similarities
from seedbed_sdk.blocks import UserItemBlock
from seedbed_sdk.blocks.base import Array, Arrays, Prediction, Ranking
from seedbed_sdk.blocks.user_item import UNKNOWN
from seedbed_sdk.blocks.vocabulary import labels_of
from seedbed_sdk.ensemble import EnsembleTrainer, weighted_mean
from seedbed_sdk.errors import FieldViolation, InvalidArgument

if TYPE_CHECKING:
    from seedbed_sdk.datablock import DataBlock
    from seedbed_sdk.trainer import Trainer

TOP_N = "top_n"
MAX_TOP_N = 1_000


@dataclass(frozen=True, slots=True)
class Question:
    """An example as codes; None for what it does not name."""

    user: int | None
    item: int | None
    top_n: int


class RatingAnswers:
    """Makes a trainer of ratings an AnsweringTrainer: user and item give a rating, a user the
    unseen items with the highest ratings, an item those that are like it."""

    def predict(self, inputs: Arrays) -> Array:
        """Ratings [N, 1]."""
        raise NotImplementedError

    def liking(self, inputs: Arrays) -> Array:
        """What a user's items are ordered by [N]: the rating, where the model can, beyond the end
        of the scale, which many items may reach."""
        return self.predict(inputs)[:, 0].astype(np.float64)

    def answer(self, block: DataBlock, examples: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """Raises InvalidArgument for each field that cannot be used."""
        inputs = _inputs_of(block)
        return [self._answer(block, inputs, q) for q in read(inputs, examples, pairs=True)]

    def together(self, members: Sequence[Trainer], weights: Sequence[float]) -> RatingEnsemble:
        """As `seedbed_sdk.trainer.JoiningTrainer`."""
        return RatingEnsemble(members, weights)

    def _answer(self, block: DataBlock, inputs: UserItemBlock, question: Question) -> Prediction:
        if question.user is None:
            assert question.item is not None
            scores = similarities(inputs, question.item)
        elif question.item is not None:
            pair = {"user": np.array([question.user]), "item": np.array([question.item])}
            return block.target.decode(self.predict(pair))[0]
        else:
            items = np.arange(inputs.item_count)
            users = np.full(len(items), question.user)
            scores = self.liking({"user": users, "item": items})
            scores[UNKNOWN] = -np.inf
            scores[inputs.seen_by(question.user)] = -np.inf
        return best(inputs, scores, question.top_n)


class RatingEnsemble(EnsembleTrainer, RatingAnswers):
    """Models of ratings that answer with their weighted mean."""

    def liking(self, inputs: Arrays) -> Array:
        """As `RatingAnswers`: the mean of the members'."""
        likings = []
        for member in self.members:
            assert isinstance(member, RatingAnswers)
            likings.append(member.liking(inputs))
        return weighted_mean(likings, self.weights)


class RankingAnswers:
    """Makes a trainer of rankings an AnsweringTrainer: a user gives the unseen items ranked first,
    an item those that are like it."""

    def scores(self, users: Array, history: Array) -> Array:
        """How high every item ranks for each user, float64 [U, codes]."""
        raise NotImplementedError

    def answer(self, block: DataBlock, examples: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        """Raises InvalidArgument for each field that cannot be used."""
        inputs = _inputs_of(block)
        return [self._answer(inputs, question) for question in read(inputs, examples, pairs=False)]

    def _answer(self, inputs: UserItemBlock, question: Question) -> Ranking:
        if question.user is None:
            assert question.item is not None
            return best(inputs, similarities(inputs, question.item), question.top_n)
        history = inputs.liked_by(question.user)[None, :]
        scores = self.scores(np.array([question.user]), history)[0].astype(np.float64)
        scores[UNKNOWN] = -np.inf
        scores[inputs.seen_by(question.user)] = -np.inf
        return best(inputs, scores, question.top_n)


def best(inputs: UserItemBlock, scores: Array, count: int) -> Ranking:
    """The items with the highest scores [codes] that are above -inf; of equal ones the first."""
    order = np.argsort(-scores, kind="stable")[:count]
    return Ranking(
        tuple((inputs.items[c - 1], float(scores[c])) for c in order if np.isfinite(scores[c]))
    )


def read(
    inputs: UserItemBlock, examples: Sequence[Mapping[str, Any]], *, pairs: bool
) -> list[Question]:
    """The examples as codes. `pairs` says whether a user and an item may be named together.

    Raises InvalidArgument with a violation for each example or field that cannot be used.
    """
    violations: list[FieldViolation] = []
    questions = []
    for index, example in enumerate(examples):
        place = f"examples[{index}]"
        known = (inputs.user, inputs.item, TOP_N)
        violations += [
            FieldViolation(
                f'{place}.fields["{name}"]',
                f"no such column; the model answers from {', '.join(known)}",
            )
            for name in example
            if name not in known
        ]
        top_n = example.get(TOP_N)
        if top_n is None:
            top_n = inputs.top_n
        elif isinstance(top_n, bool) or not isinstance(top_n, int) or not 1 <= top_n <= MAX_TOP_N:
            given = FieldViolation(
                f'{place}.fields["{TOP_N}"]', f"takes a whole number from 1 to 1000, got {top_n!r}"
            )
            violations.append(given)
            continue
        user = _code(inputs.user_codes, example.get(inputs.user))
        item = _code(inputs.item_codes, example.get(inputs.item))
        if user is None and item is None:
            what = f"name {inputs.user!r} for a ranking or {inputs.item!r} for items like it"
            if pairs:
                what += ", or both for a rating"
            violations.append(FieldViolation(place, what))
        elif user is not None and item is not None and not pairs:
            violations.append(
                FieldViolation(
                    place,
                    f"names {inputs.user!r} and {inputs.item!r}; this model ranks items and does "
                    "not rate them, so name one: a user for a ranking, an item for those like it",
                )
            )
        questions.append(Question(user, item, top_n))
    if violations:
        raise InvalidArgument.of(violations[:20], reason="UNUSABLE_EXAMPLE")
    return questions


def _code(codes: Any, value: Any) -> int | None:
    import pandas as pd

    labels = labels_of(pd.Series([value], dtype=object))
    return None if labels.isna().item() else int(codes(labels)[0])


def _inputs_of(block: DataBlock) -> UserItemBlock:
    (inputs,) = block.inputs
    assert isinstance(inputs, UserItemBlock)
    return inputs
