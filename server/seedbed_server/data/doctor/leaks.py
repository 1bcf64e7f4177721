"""Findings about columns that give the target away."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seedbed_sdk.blocks.column_types import read_numbers
from seedbed_server.data.doctor.columns import countable, shortened
from seedbed_server.data.doctor.context import SEED, Array, Context
from seedbed_server.data.doctor.features import labels_of
from seedbed_server.jobs.values import Finding

ALMOST_ACCURATE = 0.99
ALMOST_EXACT = 0.998
MIN_ROWS = 40
MIN_CLASS = 5
FOLDS = 3
MAX_COLUMNS = 300


def about_leaks(context: Context) -> Iterator[Finding]:
    """Columns each of which predicts the target almost perfectly, in rows it was not told of."""
    shape = context.shape
    if shape.table is None or not shape.target or shape.user or not context.features:
        return
    if context.layout == "image_masks" or shape.target_type not in ("category", "regression"):
        return
    yield from shortened(list(_leaking(context)))


def _leaking(context: Context) -> Iterator[Finding]:
    shape = context.shape
    target = context.sample[shape.target]
    is_category = shape.target_type == "category"
    goal = labels_of(target) if is_category else _ranks(read_numbers(target)[0])
    known = goal >= 0
    if is_category:
        counts = np.bincount(goal[known]) if known.any() else np.zeros(0)
        known &= np.isin(goal, np.flatnonzero(counts >= MIN_CLASS))
    if known.sum() < MIN_ROWS or len(np.unique(goal[known])) < 2:
        return
    for i, name in enumerate(context.features[:MAX_COLUMNS]):
        if context.is_late():
            return
        if _is_renamed(context, name):
            distinct = countable(context.sample[name]).nunique()
            message = (
                f"each of the {distinct:,} values of column {name!r} stands for one value of the "
                f"target {shape.target!r} and the other way round"
            )
        else:
            score = _score(context.sample_features[known, i], goal[known], is_category)
            if score < (ALMOST_ACCURATE if is_category else ALMOST_EXACT):
                continue
            what = "balanced accuracy" if is_category else "R² of ranks"
            message = (
                f"column {name!r} alone predicts the target {shape.target!r} with {what} "
                f"{score:.3f} in rows that were held out"
            )
        yield Finding(
            "WARNING",
            "leaking_column",
            message,
            name,
            "If it is not known when predicting, leave it out.",
        )


def _is_renamed(context: Context, name: str) -> bool:
    """Whether the values of a column and those of the target go together one to one."""
    if context.shape.target_type != "category":
        return False
    both = context.sample[[name, context.shape.target]].apply(countable)
    distinct = both[name].nunique()
    if not 2 <= distinct <= len(both) // 2 or distinct != both[context.shape.target].nunique():
        return False
    return bool(both[name].notna().all()) and len(both.dropna().drop_duplicates()) == distinct


def _ranks(values: Array) -> Array:
    """Numbers as their place in the order, from 0 to 1; -1 where there is none."""
    known = np.isfinite(values)
    ranks = np.full(len(values), -1.0)
    _, inverse, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    ranks[known] = middle[inverse] / max(1, known.sum())
    return ranks


def _score(feature: Array, goal: Array, is_category: bool) -> float:
    """How well a small tree on one column does in rows it did not see: the mean recall of the
    classes, or R²."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if feature.min() == feature.max():
        return 0.0
    folds = np.random.default_rng(SEED).permutation(len(goal)) % FOLDS
    predicted = np.empty(len(goal), dtype=np.float64)
    for fold in range(FOLDS):
        inside, outside = folds != fold, folds == fold
        if is_category:
            tree = DecisionTreeClassifier(min_samples_leaf=2, max_leaf_nodes=128, random_state=0)
        else:
            tree = DecisionTreeRegressor(min_samples_leaf=2, max_leaf_nodes=256, random_state=0)
        tree.fit(feature[inside, None], goal[inside])
        predicted[outside] = tree.predict(feature[outside, None])
    if is_category:
        return float(np.mean([(predicted[goal == c] == c).mean() for c in np.unique(goal)]))
    spread = ((goal - goal.mean()) ** 2).sum()
    return float(1 - ((goal - predicted) ** 2).sum() / spread)
