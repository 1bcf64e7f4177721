"""How many training items there is time for, where taking them apart is slow."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.trainer import SHARED, Run

SHARE_OF_TIME = 0.5
MIN_ROWS = 256


def affordable_rows(
    what: str, train: int, valid: int, seconds_each: Callable[[], float], run: Run
) -> Array:
    """Training items, rising, that together with all validation items take at most half of the time
    left: all of them, or a random choice, of which the user is told. `what` names what they are
    for, which all trials share."""

    def measured() -> int:
        seconds = run.seconds_left() * SHARE_OF_TIME
        if math.isinf(seconds):
            return train
        each = seconds_each()
        if each * (train + valid) <= seconds:
            return train
        return min(train, max(MIN_ROWS, int(seconds / each) - valid))

    wanted = int(run.decide(f"{SHARED}rows {what}", 0, train, measured))
    if wanted == train:
        return np.arange(train)
    run.log(f"time allows {wanted} of {train} texts")
    return np.sort(np.random.default_rng(0).permutation(train)[:wanted])
