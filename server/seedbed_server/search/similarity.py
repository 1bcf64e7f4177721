"""What a data set is like, in a few numbers that are cheap to have, and how far two are apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from seedbed_sdk.blocks.base import Array, TargetBlock
from seedbed_sdk.datablock import DataBlock, PreparedData

# Items that are looked at, evenly from the whole training split.
LOOKED_AT = 2_000

Features = Mapping[str, float]


def describe(block: DataBlock, prepared: PreparedData) -> dict[str, float]:
    """The features of encoded data, each finite and scaled so that a difference of 1 is a large
    one: sizes are decimal logarithms, shares are from 0 to 1.

    A name with a colon, such as `column:numeric`, is a share, and 0 where the name is not there.
    """
    train = prepared.train
    step = math.ceil(len(train) / LOOKED_AT)
    found = {
        "items": _log(len(train) + len(prepared.valid)),
        "input_size": _log(sum(math.prod(array.shape[1:]) for array in train.inputs.values())),
        "outputs": _log(block.target.output_size),
        **_kinds(block),
        **_missing([a[::step] for a in train.inputs.values() if a.ndim == 2]),
        **{name: _typical(a[::step]) for name, a in train.inputs.items() if a.ndim == 1},
        **{name: _side(a) for name, a in train.inputs.items() if a.ndim == 4},
        **_balance(block.target, train.target[::step]),
    }
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


def distance(one: Features, other: Features) -> float:
    """The Euclidean distance over the features that both have, and over all shares."""
    shares = {name for name in (*one, *other) if ":" in name}
    names = (one.keys() & other.keys()) | shares
    return math.dist(*[[of.get(name, 0.0) for name in sorted(names)] for of in (one, other)])


def _kinds(block: DataBlock) -> dict[str, float]:
    """Which types of data there are, and which share of the columns is of each type."""
    fields = Counter(field.type for field in block.fields())
    blocks = {f"input:{name}": 1.0 for name in block.input_types}
    return blocks | {f"column:{name}": n / fields.total() for name, n in fields.items()}


def _missing(arrays: Sequence[Array]) -> dict[str, float]:
    """The share of numbers that are missing, of those arrays that hold real numbers."""
    numbers = [array for array in arrays if array.dtype.kind == "f" and array.size]
    if not numbers:
        return {}
    return {"missing": sum(np.isnan(a).sum() for a in numbers) / sum(a.size for a in numbers)}


def _typical(array: Array) -> float:
    """Of one number for each item, such as a text's length or a user's number."""
    return _log(float(np.maximum(array, 0).mean()))


def _side(array: Array) -> float:
    """Of pictures [N, H, W, C]."""
    return _log(math.sqrt(array.shape[1] * array.shape[2]))


def _balance(block: TargetBlock, target: Array) -> dict[str, float]:
    """The entropy of the classes, 1 where all are as frequent; for several labels an item, the
    share of them that applies."""
    classes = len(block.labels)
    if classes < 2:
        return {}
    if target.ndim == 2 and target.shape[1] == classes:
        return {"labels": float(target.mean())}
    if target.ndim != 1 or target.dtype.kind not in "iu":
        return {}
    shares = np.bincount(target, minlength=classes) / len(target)
    shares = shares[shares > 0]
    return {"balance": float(-(shares * np.log(shares)).sum() / math.log(classes))}


def _log(value: float) -> float:
    return math.log10(1.0 + value)
