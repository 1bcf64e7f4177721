"""How many training items there is time for, where taking them apart is slow."""

from __future__ import annotations

import math

import numpy as np

from seedbed_sdk.blocks.base import Array
from seedbed_sdk.trainer import Run

SHARE_OF_TIME = 0.5
MIN_ROWS = 256


def affordable_rows(train: int, valid: int, seconds_each: float, run: Run, seed: int) -> Array:
    """Training items, rising, that together with all validation items take at most half of the time
    left: all of them, or a random choice, of which the user is told."""
    seconds = run.seconds_left() * SHARE_OF_TIME
    if math.isinf(seconds) or seconds_each * (train + valid) <= seconds:
        return np.arange(train)
    wanted = min(train, max(MIN_ROWS, int(seconds / seconds_each) - valid))
    run.log(f"time allows {wanted} of {train} texts")
    return np.sort(np.random.default_rng(seed).permutation(train)[:wanted])
