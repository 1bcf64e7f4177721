"""Findings about what is to be predicted: its values, and its classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seedbed_sdk.blocks.column_types import read_numbers
from seedbed_server.data.doctor.context import HELD_OUT, MIN_ROWS, NAMED, Context, named, number
from seedbed_server.data.shape import class_counts
from seedbed_server.jobs.values import Finding

RARE_SHARE = 0.01
MIN_CLASS_ITEMS = 3
SKEWED = 5.0
MAX_RATINGS = 21


def about_target(context: Context) -> Iterator[Finding]:
    """No value, or values of a kind that cannot be predicted; a few values far above the rest."""
    table, target = context.table(), context.shape.target
    if table is None or not target or context.layout == "image_masks":
        return
    missing = int(table[target].isna().sum())
    if missing:
        yield Finding(
            "ERROR" if missing == len(table) else "WARNING",
            "target_missing",
            f"{missing:,} of {len(table):,} rows have no value in the target {target!r}",
            target,
            "Rows without a target are left out; fill them in, or name another column.",
        )
    if not context.shape.target_types and context.shape.types[target] in ("text", "date"):
        yield Finding(
            "WARNING",
            "target_unsuitable",
            f"the target {target!r} holds values of type {context.shape.types[target]}, of which "
            f"{table[target].astype(str).nunique():,} are different",
            target,
            "Name a column of classes or numbers.",
        )
    if context.shape.target_type == "regression" and target != context.shape.rating:
        yield from _skew(context, target)


def _skew(context: Context, target: str) -> Iterator[Finding]:
    table = context.table()
    assert table is not None
    values = read_numbers(table[target])[0]
    values = values[np.isfinite(values)]
    if len(values) < MIN_ROWS or not values.std():
        return
    skew = float((((values - values.mean()) / values.std()) ** 3).mean())
    if abs(skew) >= SKEWED:
        median, most = np.median(values), values.max() if skew > 0 else values.min()
        yield Finding(
            "INFO",
            "target_skew",
            f"the target {target!r} is far from symmetric (skewness {skew:.1f}): its median is "
            f"{median:,.4g} and its {'largest' if skew > 0 else 'smallest'} value {most:,.4g}",
            target,
            "A few values decide the squared error: predict the logarithm, or choose mae.",
        )


def about_classes(context: Context) -> Iterator[Finding]:
    """Classes that are too few, too small or too rare, or that only held-out data has."""
    classes = context.shape.classes
    total, target = classes.total(), context.shape.target
    if len(classes) == 1:
        yield Finding(
            "ERROR",
            "single_class",
            f"all {total:,} training items are of the class {next(iter(classes))!r}",
            target,
            "Add items of at least one other class.",
        )
        return
    small = [label for label, count in classes.items() if count < MIN_CLASS_ITEMS]
    if small:
        yield Finding(
            "WARNING",
            "small_class",
            f"{len(small):,} of {len(classes):,} classes have fewer than {MIN_CLASS_ITEMS} items: "
            f"{named(small)}",
            target,
            "They cannot be in the training, validation and test data at once; add items, or take "
            "such classes together.",
        )
    rare = [c for c, n in classes.items() if n < RARE_SHARE * total and n >= MIN_CLASS_ITEMS]
    if rare and len(classes) < 1 / RARE_SHARE:
        counts = ", ".join(f"{label!r} {classes[label]:,}" for label in rare[:NAMED])
        yield Finding(
            "WARNING",
            "class_imbalance",
            f"{len(rare):,} of {len(classes):,} classes have less than {RARE_SHARE:.0%} of "
            f"{total:,} items each: {counts}",
            target,
            "Add items, or choose a metric such as balanced_accuracy that counts classes equally.",
        )
    yield from _new_classes(context)


def _new_classes(context: Context) -> Iterator[Finding]:
    shape = context.shape
    for split in HELD_OUT:
        data = shape.dataset.splits.get(split)
        if data is None or not shape.classes:
            continue
        labels: set[str] = set()
        if context.layout == "class_folders":
            labels = {file.path.parent.name for file in data.files}
        elif data.table is not None and shape.target in data.table.columns:
            labels = set(class_counts(data.table[shape.target]))
        new = sorted(labels - set(shape.classes))
        if new:
            yield Finding(
                "WARNING",
                f"classes_only_in_{split}",
                f"the {split} data has {number(new, 'class', 'classes')} that the training data "
                f"lacks: {named(new)}",
                shape.target,
                "They can never be predicted; add training items, or remove them.",
            )


def about_ratings(context: Context) -> Iterator[Finding]:
    """Ratings on no scale that can be told, or with a value far outside the others."""
    table, rating = context.table(), context.shape.rating
    if table is None or not rating:
        return
    values = read_numbers(table[rating])[0]
    found = np.unique(values[np.isfinite(values)])
    if len(found) < 2:
        return
    steps = np.diff(found)
    step = steps.min()
    whole = np.allclose(steps / step, np.round(steps / step), atol=1e-6)
    if len(found) > MAX_RATINGS or not whole:
        what = f"has {len(found):,} different values between {found[0]:g} and {found[-1]:g}"
        what += "" if whole else ", in unequal steps"
    elif found[0] < 0 or (len(found) > 2 and steps.max() > 3 * np.median(steps)):
        shown = ", ".join(f"{value:g}" for value in found)
        what = f"has the values {shown}, of which some may mean that there is no rating"
    else:
        return
    yield Finding(
        "WARNING",
        "rating_scale",
        f"the scale of ratings in column {rating!r} is not known: it {what}",
        rating,
        "Remove values that are no ratings and bring the others to one scale; counts or seconds "
        "are implicit feedback (option feedback=implicit).",
    )
