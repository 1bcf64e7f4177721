"""A baseline stays unless it is beaten by more than chance."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed_sdk.metrics import METRICS
from seedbed_server.search.choosing import MAX_ITEMS, beats_by_more_than_chance


def answers(target: np.ndarray, wrong: int, seed: int) -> np.ndarray:
    """Sure probabilities of two classes, wrong on so many random items."""
    said = target.copy()
    rows = np.random.default_rng(seed).permutation(len(target))[:wrong]
    said[rows] = 1 - said[rows]
    return np.eye(2)[said]


@pytest.mark.parametrize(
    ("count", "wrong", "wrong_of_simple", "expected"),
    [
        (100, 10, 11, False),
        (100, 10, 30, True),
        (100, 11, 10, False),
        (MAX_ITEMS + 1, 200, 201, True),
        (MAX_ITEMS + 1, 201, 200, False),
    ],
)
def test_a_difference_must_be_larger_than_its_error(
    count: int, wrong: int, wrong_of_simple: int, expected: bool
) -> None:
    target = np.random.default_rng(0).integers(0, 2, count)
    better = beats_by_more_than_chance(
        METRICS["accuracy"],
        target,
        answers(target, wrong, 1),
        answers(target, wrong_of_simple, 2),
        seed=0,
    )
    assert better is expected


def test_items_that_both_get_wrong_do_not_blur_the_difference() -> None:
    target = np.random.default_rng(0).normal(size=(80,)).astype(np.float32)
    simple = target + np.random.default_rng(1).normal(size=80)
    closer = target + 0.9 * (simple - target)
    assert beats_by_more_than_chance(
        METRICS["rmse"], target, closer[:, None], simple[:, None], seed=0
    )
