"""Findings about labels that a model, having learnt from all others, firmly disagrees with.

After Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels" (2021)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seedbed_server.data.doctor.context import NAMED, Array, Context
from seedbed_server.data.doctor.models import unseen_probabilities
from seedbed_server.jobs.values import Finding

MIN_ITEMS = 100
MIN_CLASS = 8
MAX_CLASSES = 200
GOOD = 0.4
FIRM_SHARE = 0.01
FIRM_RATIO = 0.3
MIN_DOUBTS = 3


def about_labels(context: Context) -> Iterator[Finding]:
    """Silent where the model does not predict well, since its doubts are then worth nothing; and
    where it errs only between classes that overlap, since its doubts are then about hard items."""
    if context.shape.target_types[:1] != ("category",):
        return
    items = context.items.get("train")
    if items is None:
        return
    classes, goal = np.unique(np.array(items.labels), return_inverse=True)
    counts = np.bincount(goal)
    usable = (counts >= MIN_CLASS) & (classes != "")
    rows = np.flatnonzero(usable[goal])
    names = classes[usable]
    if len(rows) < MIN_ITEMS or not 2 <= len(names) <= MAX_CLASSES:
        return
    goal = np.searchsorted(names, classes[goal[rows]])
    probabilities, _ = unseen_probabilities(items.matrix[rows], goal)
    doubts = firm_doubts(probabilities, goal)
    if len(doubts) < MIN_DOUBTS:
        return
    shown = [
        f"{items.names[rows[i]]} is {str(names[goal[i]])!r} and looks like "
        f"{str(names[probabilities[i].argmax()])!r}"
        for i in doubts[:NAMED]
    ]
    more = f"; and {len(doubts) - NAMED:,} more" if len(doubts) > NAMED else ""
    yield Finding(
        "WARNING",
        "suspicious_labels",
        f"a quick model that learnt from the others firmly disagrees with the labels of "
        f"{len(doubts):,} of {len(rows):,} training items that were looked at: "
        f"{'; '.join(shown)}{more}",
        context.shape.target,
        "Look at these and correct their labels.",
    )


def firm_doubts(probabilities: Array, goal: Array) -> Array:
    """The items [D], the surest first, whose labels `goal` [N] a model's unseen probabilities
    [N, C] contradict by confident learning; none where its errors are those of a weak model or of
    classes that overlap.

    Wrong labels are found as often where the model is sure as elsewhere. Hard items are not: they
    are errors near the border between classes.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = predicted != goal
    error = float(wrong.mean())
    by_class = np.bincount(goal, minlength=probabilities.shape[1]) / len(goal)
    if not error or error > GOOD * (1 - by_class.max()):
        return np.zeros(0, dtype=np.int64)
    ordered = np.sort(probabilities, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    sure_error = float(wrong[margin >= np.median(margin)].mean())
    if sure_error < max(FIRM_SHARE, FIRM_RATIO * error):
        return np.zeros(0, dtype=np.int64)
    own = probabilities[np.arange(len(goal)), goal]
    # What the model gives a class on average to the items that have it.
    usual = np.bincount(goal, weights=own, minlength=len(by_class)) / np.bincount(goal)
    found = np.flatnonzero(wrong & (probabilities.max(axis=1) >= usual[predicted]))
    return found[np.argsort(own[found] - probabilities[found].max(axis=1), kind="stable")]
