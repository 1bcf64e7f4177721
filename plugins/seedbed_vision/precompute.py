"""What a frozen backbone says of all pictures, computed once and kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seedbed_sdk.blocks.base import Array, Arrays
from seedbed_sdk.trainer import SHARED, Data, Interrupted, Run

BATCH = 64
SHARE_OF_TIME = 0.5
SPLITS = ("train", "valid")

Encode = Callable[[Array], Arrays]


@dataclass(frozen=True, slots=True)
class Features:
    """Arrays of both splits, by name. `rows` are the training items they were computed for: all,
    unless the time left allows fewer."""

    train: Arrays
    valid: Arrays
    rows: Array


class _TooLong(Exception):
    """The time left allows the features of `count` training items only."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


def features_of(
    data: Data,
    run: Run,
    key: tuple[str | int | float | bool, ...],
    encode: Encode,
) -> Features:
    """`encode` over the pictures of both splits, in batches, unless that was done before: also in
    another job where all pictures could be afforded.

    Raises Interrupted where the run is to stop.
    """
    images = data.train.inputs["image"]
    everything = np.arange(len(images))
    if (part := data.cache.get((*key, "part"))) is not None:
        assert isinstance(part, Features)
        return part
    count = int(run.decide(_rows_of(key), 0, len(images), lambda: len(images)))
    if count == len(images):
        try:
            return _split(data.stored(key, lambda: _affordable(data, run, key, encode)), everything)
        except _TooLong as error:
            count = error.count
    # Chosen at random, and in the order they lie in, since they may be read from a file.
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
    return data.cached((*key, "part"), lambda: _compute(data, run, key, encode, chosen))


def _rows_of(key: tuple[str | int | float | bool, ...]) -> str:
    """The name of the decision for how many pictures there is time."""
    return f"{SHARED}rows {' '.join(map(str, key))}"


def run_over(images: Array, encode: Encode, run: Run | None = None) -> dict[str, Array]:
    """`encode` in batches, into arrays with a row for each picture.

    Raises Interrupted where the run is to stop.
    """
    results: dict[str, Array] = {}
    for start in range(0, max(1, len(images)), BATCH):
        if run is not None and run.should_stop():
            raise Interrupted("stopped while the features were computed")
        for name, part in encode(images[start : start + BATCH]).items():
            if name not in results:
                results[name] = np.empty((len(images), *part.shape[1:]), dtype=part.dtype)
            results[name][start : start + len(part)] = part
    return results


def _affordable(
    data: Data, run: Run, key: tuple[str | int | float | bool, ...], encode: Encode
) -> dict[str, Array]:
    images = data.train.inputs["image"]

    def measured() -> int:
        seconds = run.seconds_left() * SHARE_OF_TIME
        if math.isinf(seconds):
            return len(images)
        each = _seconds_each(images, encode)
        if each * (len(images) + len(data.valid)) <= seconds:
            return len(images)
        return min(len(images), max(BATCH, int(seconds / each) - len(data.valid)))

    count = int(run.decide(_rows_of(key), 0, len(images), measured))
    if count < len(images):
        run.log(f"time allows {count} of {len(images)} pictures")
        raise _TooLong(count)
    found = _compute(data, run, key, encode, np.arange(len(images)))
    return {
        f"{split}.{name}": array
        for split, arrays in zip(SPLITS, (found.train, found.valid), strict=True)
        for name, array in arrays.items()
    }


def _seconds_each(images: Array, encode: Encode) -> float:
    """By one batch, after a first picture that loads the network."""
    encode(images[:1])
    began = time.monotonic()
    encode(images[:BATCH])
    return (time.monotonic() - began) / min(BATCH, len(images))


def _compute(
    data: Data,
    run: Run,
    key: tuple[str | int | float | bool, ...],
    encode: Encode,
    rows: Array,
) -> Features:
    images = data.train.inputs["image"]
    run.log(f"running {key[1]} over {len(rows) + len(data.valid)} pictures once")

    def of_rows(batch: Array) -> Arrays:
        return encode(images[batch])

    train = run_over(rows, of_rows, run)
    return Features(train, run_over(data.valid.inputs["image"], encode, run), rows)


def _split(arrays: Arrays, rows: Array) -> Features:
    train, valid = (
        {k.removeprefix(f"{s}."): v for k, v in arrays.items() if k.startswith(f"{s}.")}
        for s in SPLITS
    )
    return Features(train, valid, rows)
