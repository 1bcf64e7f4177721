"""Findings about held-out data that is not like the training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from seedbed_sdk.blocks.column_types import read_numbers
from seedbed_server.data.doctor.columns import countable, is_id
from seedbed_server.data.doctor.context import HELD_OUT, Context
from seedbed_server.data.doctor.features import column_numbers
from seedbed_server.data.doctor.models import area, unseen_probabilities
from seedbed_server.data.doctor.represent import Items
from seedbed_server.data.shape import class_counts
from seedbed_server.jobs.values import Finding

MIN_ITEMS = 40
CLEAR = 0.7
NOTABLE = 0.62
SIGMAS = 5.0
DIFFERENT_SHARES = 0.1
SHOWN = 3


def about_shift(context: Context) -> Iterator[Finding]:
    """A model that can tell held-out from training items, with what gives them away; and targets
    that are distributed differently."""
    for split in HELD_OUT:
        if context.is_late() or split not in context.shape.dataset.splits:
            continue
        yield from _classes(context, split)
        items = context.items
        if "train" in items and split in items:
            yield from _inputs(context, split, items["train"], items[split])


def _inputs(context: Context, split: str, train: Items, other: Items) -> Iterator[Finding]:
    keep = _comparable(context, split, train)
    if min(len(train.names), len(other.names)) < MIN_ITEMS or not keep.any():
        return
    if hasattr(train.matrix, "tocsr"):
        from scipy.sparse import vstack

        matrix = vstack([train.matrix, other.matrix]).tocsr()
    else:
        matrix = np.concatenate([train.matrix[:, keep], other.matrix[:, keep]])
    held = np.arange(matrix.shape[0]) >= len(train.names)
    probabilities, weights = unseen_probabilities(matrix, held.astype(np.int64))
    score = area(probabilities[:, 1], held)
    n, m = len(train.names), len(other.names)
    sigma = np.sqrt((n + m + 1) / (12 * n * m))
    if score < NOTABLE or (score - 0.5) / sigma < SIGMAS:
        return
    if hasattr(train.matrix, "tocsr"):
        best = np.argsort(-weights, kind="stable")[:SHOWN]
        why = f"words that tell most: {', '.join(repr(train.columns[i]) for i in best)}"
    elif context.layout == "table":
        columns = [name for name, kept in zip(train.columns, keep, strict=True) if kept]
        best = np.argsort(-weights, kind="stable")[:SHOWN]
        why = f"what tells most: {'; '.join(_difference(context, split, columns[i]) for i in best)}"
    else:
        why = f"by itself: {_measure(train, other)}"
    yield Finding(
        "WARNING" if score >= CLEAR else "INFO",
        f"shift_in_{split}",
        f"a quick model tells {split} from training items with ROC AUC {score:.2f}, where 0.5 is "
        f"chance; {why}",
        "",
        f"Validation scores will differ from {split} scores; find out why, and choose a split that "
        "is like what comes later.",
    )


def _comparable(context: Context, split: str, train: Items) -> np.ndarray:
    """Which features may be compared: no identifiers, and no times where the split is by time."""
    keep = np.ones(train.matrix.shape[1], dtype=np.bool_)
    table, other = context.table(), context.table(split)
    if context.layout != "table" or table is None or other is None:
        return keep
    for i, name in enumerate(train.columns[: len(keep)]):
        kind = context.shape.types.get(name, "")
        known = countable(table[name].dropna()) if name in table.columns else pd.Series()
        if kind == "date" or (len(known) and known.is_unique and is_id(known, name, kind)):
            keep[i] = False
    return keep


def _measure(train: Items, other: Items) -> str:
    """The measure of files that alone tells training from held-out ones best."""
    held = np.arange(len(train.names) + len(other.names)) >= len(train.names)
    scores = {}
    for i, name in enumerate(train.columns):
        if name:
            both = np.concatenate([train.matrix[:, i], other.matrix[:, i]])
            scores[i] = abs(area(both, held) - 0.5)
    best = max(scores, key=lambda i: scores[i])
    if scores[best] < NOTABLE - 0.5:
        return "no single measure does, but many together"
    here, there = np.median(train.matrix[:, best]), np.median(other.matrix[:, best])
    return (
        f"the {train.columns[best]}, with ROC AUC {0.5 + scores[best]:.2f} and the median "
        f"{there:.4g} against {here:.4g} in training items"
    )


def _difference(context: Context, split: str, name: str) -> str:
    """How a column differs between the training and the held-out rows."""
    train, other = context.table(), context.table(split)
    assert train is not None
    assert other is not None
    kind = context.shape.types[name]
    if kind != "category":
        here, there = column_numbers([train[name], other[name]], kind)
        if np.isfinite(here).any() and np.isfinite(there).any():
            a, b = np.nanmedian(here), np.nanmedian(there)
            return f"column {name!r} with the median {b:.4g} and {a:.4g} in training rows"
        return f"column {name!r}"
    shares = [t[name].astype(str).value_counts(normalize=True) for t in (train, other)]
    gap = shares[1].sub(shares[0], fill_value=0).abs()
    value = str(gap.idxmax())
    a, b = (float(share.get(value, 0.0)) for share in shares)
    return (
        f"column {name!r} with the value {value[:40]!r} in {b:.0%}, and in {a:.0%} of training rows"
    )


def _classes(context: Context, split: str) -> Iterator[Finding]:
    shape = context.shape
    if context.layout == "image_masks" or (shape.user and shape.rating == shape.target):
        return
    if shape.target_type == "regression":
        yield from _values(context, split)
        return
    here = pd.Series(dict(shape.classes), dtype=np.float64)
    there = _counts(context, split)
    if here.empty or min(here.sum(), there.sum()) < MIN_ITEMS:
        return
    if not set(there.index) <= set(here.index):
        return  # That it has other classes is a finding of its own.
    a, b = here / here.sum(), there / there.sum()
    gap = b.sub(a, fill_value=0)
    label = gap.abs().idxmax()
    p, q = float(a.get(label, 0)), float(b.get(label, 0))
    sigma = np.sqrt(max(p * (1 - p), 1e-9) * (1 / here.sum() + 1 / there.sum()))
    if abs(q - p) >= DIFFERENT_SHARES and abs(q - p) / sigma >= SIGMAS:
        yield _target_finding(
            context,
            split,
            f"the class {label!r} is {q:.0%} of {split} and {p:.0%} of training items",
        )


def _values(context: Context, split: str) -> Iterator[Finding]:
    from scipy.stats import ks_2samp

    target, other = context.shape.target, context.table(split)
    if not target or other is None or target not in other.columns:
        return
    here = read_numbers(context.sample[target])[0]
    there = read_numbers(context.sampled(other)[target])[0]
    here, there = here[np.isfinite(here)], there[np.isfinite(there)]
    if min(len(here), len(there)) < MIN_ITEMS:
        return
    found = ks_2samp(here, there)
    if found.statistic >= 2 * DIFFERENT_SHARES and found.pvalue < 1e-6:
        message = (
            f"the target {target!r} has the median {np.median(there):.4g} in {split} and "
            f"{np.median(here):.4g} in training rows (Kolmogorov-Smirnov {found.statistic:.2f})"
        )
        yield _target_finding(context, split, message)


def _counts(context: Context, split: str) -> pd.Series:
    shape, data = context.shape, context.shape.dataset.splits[split]
    counts: Counter[str] = Counter()
    if context.layout == "class_folders":
        counts = Counter(file.path.parent.name for file in data.files)
    elif data.table is not None and shape.target in data.table.columns:
        counts = class_counts(data.table[shape.target])
    return pd.Series(dict(counts), dtype=np.float64)


def _target_finding(context: Context, split: str, message: str) -> Finding:
    return Finding(
        "WARNING",
        f"target_shift_in_{split}",
        message,
        context.shape.target,
        f"Scores on the {split} data say little of data like the training data; split both from "
        "one set, stratified.",
    )
